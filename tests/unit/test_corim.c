// SPDX-License-Identifier: BSD-3-Clause
/*
 * Reference values, read back field by field. The structure is that of the valid example in
 * Veraison's corim module (profiles/cca); the texts of the JSON forms are as Veraison's services
 * and Trustee read them.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "realm/corim.h"
#include "tests/unit/cborread.h"
#include "vmm/core/err.h"

static struct refvals values(enum realm_hash algo)
{
	struct refvals v = { .algo = algo };

	for (unsigned int i = 0; i < realm_hash_len(algo); i++) {
		v.rim[i] = i * 5 + algo;
		for (unsigned int k = 0; k < RSI_NR_REMS; k++)
			v.rem[k][i] = 0xf0 - k - i;
	}
	for (unsigned int i = 0; i < RSI_RPV_SIZE; i++)
		v.rpv[i] = 0x80 + i;
	return v;
}

static void identifier(struct cr *r, const char *prefix, const struct refvals *v)
{
	char want[160];
	int n = sprintf(want, "%s", prefix);

	for (unsigned int i = 0; i < realm_hash_len(v->algo); i++)
		n += sprintf(want + n, "%02x", v->rim[i]);
	cr_text(r, want);
}

static void digest(struct cr *r, const char *key, const struct refvals *v, const uint8_t *want)
{
	static const int number[] = { [REALM_SHA256] = 1, [REALM_SHA512] = 8, [REALM_SHA384] = 7 };

	cr_map(r, 2);
	cr_int(r, 0);
	cr_text(r, key);
	cr_int(r, 1);
	cr_map(r, 1);
	cr_int(r, 2);
	cr_array(r, 1);
	cr_array(r, 2);
	cr_int(r, number[v->algo]);
	cr_bytes(r, want, realm_hash_len(v->algo));
}

static void comid(struct cr r, const struct refvals *v)
{
	char key[16];

	cr_map(&r, 2);
	cr_int(&r, 1);
	cr_map(&r, 1);
	cr_int(&r, 0);
	identifier(&r, "cca-realm-comid-", v);
	cr_int(&r, 4);
	cr_map(&r, 1);
	cr_int(&r, 0);
	cr_array(&r, 1);
	cr_array(&r, 2);
	cr_map(&r, 1);
	cr_int(&r, 0);
	cr_map(&r, 1);
	cr_int(&r, 0);
	cr_tag(&r, 560);
	cr_bytes(&r, v->rim, realm_hash_len(v->algo));
	cr_array(&r, 1 + __builtin_popcount(v->rem_set) + v->rpv_set);
	digest(&r, "cca.rim", v, v->rim);
	for (unsigned int i = 0; i < RSI_NR_REMS; i++) {
		if (!(v->rem_set & 1U << i))
			continue;
		sprintf(key, "cca.rem%u", i);
		digest(&r, key, v, v->rem[i]);
	}
	if (v->rpv_set) {
		cr_map(&r, 2);
		cr_int(&r, 0);
		cr_text(&r, "cca.rpv");
		cr_int(&r, 1);
		cr_map(&r, 1);
		cr_int(&r, 4);
		cr_tag(&r, 560);
		cr_bytes(&r, v->rpv, RSI_RPV_SIZE);
	}
	cr_end(&r);
}

static void read_back(const struct refvals *v)
{
	uint8_t buf[CORIM_MAX], again[CORIM_MAX], *small;
	size_t len, len2;
	struct err e;
	struct cr r;
	int ret;

	ret = corim_cbor(v, buf, sizeof(buf), &len, &e);
	if (ret == -ENOSYS)
		skip();		/* built without tinycbor */
	assert_int_equal(ret, 0);
	r = (struct cr){ buf, buf + len };
	cr_tag(&r, 501);
	cr_map(&r, 3);
	cr_int(&r, 0);
	identifier(&r, "cca-realm-corim-", v);
	cr_int(&r, 1);
	cr_array(&r, 1);
	cr_tag(&r, 506);
	comid(cr_open(&r), v);
	cr_int(&r, 3);
	cr_tag(&r, 32);
	cr_text(&r, "tag:arm.com,2025:cca_realm#1.0.0");
	cr_end(&r);
	/* the same another time, whatever was in the buffer */
	memset(again, 0xa5, sizeof(again));
	assert_int_equal(corim_cbor(v, again, sizeof(again), &len2, &e), 0);
	assert_int_equal(len2, len);
	assert_memory_equal(again, buf, len);
	/* just enough room, and too little */
	small = malloc(len);
	assert_int_equal(corim_cbor(v, small, len, &len2, &e), 0);
	assert_memory_equal(small, buf, len);
	free(small);
	for (size_t n = 1; n < len; n += 13) {
		small = malloc(n);
		assert_int_equal(corim_cbor(v, small, n, &len2, &e), -ENOBUFS);
		free(small);
	}
}

static void cbor(void **state)
{
	static const enum realm_hash algos[] = { REALM_SHA256, REALM_SHA384, REALM_SHA512 };

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		struct refvals v = values(algos[i]);

		read_back(&v);
		v.rpv_set = true;
		read_back(&v);
		v.rem_set = 5;
		read_back(&v);
		v.rem_set = 15;
		read_back(&v);
		v.rpv_set = false;
		read_back(&v);
	}
}

/* ---- JSON: the text without its blanks ------------------------------------------------------- */

static void text(void (*fn)(const struct refvals *, FILE *), const struct refvals *v,
		 char out[4096])
{
	char *buf = NULL, *o = out;
	size_t len;
	FILE *f = open_memstream(&buf, &len);

	fn(v, f);
	assert_int_equal(ferror(f), 0);
	fclose(f);
	for (char *p = buf; *p; p++)
		if (*p != ' ' && *p != '\n')
			*o++ = *p;
	*o = '\0';
	free(buf);
}

#define B64	"UFVaX2RpbnN4fYKHjJGWm6ClqrS5vsPIzdLX3OHm6+8="	/* of the 32 bytes below */
#define B64URL	"UFVaX2RpbnN4fYKHjJGWm6ClqrS5vsPIzdLX3OHm6-8"
#define HEX	"50555a5f64696e73787d82878c91969ba0a5aab4b9bec3c8cdd2d7dce1e6ebef"
#define ZERO8	"0000000000000000"
#define ZERO64	ZERO8 ZERO8 ZERO8 ZERO8
#define ZERO128	ZERO64 ZERO64

static struct refvals known(void)
{
	struct refvals v = { .algo = REALM_SHA256 };
	unsigned int byte;

	for (unsigned int i = 0; i < 32; i++) {
		sscanf(&HEX[2 * i], "%2x", &byte);
		v.rim[i] = byte;
	}
	return v;
}

static void comid_json(void **state)
{
	struct refvals v = known();
	char got[4096];

	(void)state;
	text(corim_comid_json, &v, got);
	assert_string_equal(got,
		"{\"tag-identity\":{\"id\":\"cca-realm-comid-" HEX "\",\"version\":0},"
		"\"triples\":{\"reference-values\":[{"
		"\"environment\":{\"class\":{\"id\":{\"type\":\"bytes\",\"value\":\"" B64 "\"}}},"
		"\"measurements\":[{\"key\":{\"type\":\"string\",\"value\":\"cca.rim\"},"
		"\"value\":{\"digests\":[[1,\"" B64URL "\"]]}}]}]}}");
	v.rpv_set = true;
	v.rem_set = 2;
	memcpy(v.rem[1], v.rim, 32);
	text(corim_comid_json, &v, got);
	assert_non_null(strstr(got, "{\"key\":{\"type\":\"string\",\"value\":\"cca.rem1\"},"
			       "\"value\":{\"digests\":[[1,\"" B64URL "\"]]}},"));
	/* 64 zero bytes are 85 times A, and one more A with == */
	assert_non_null(strstr(got, "{\"key\":{\"type\":\"string\",\"value\":\"cca.rpv\"},"
			       "\"value\":{\"raw-value\":{\"type\":\"bytes\",\"value\":\"AAAA"));
	assert_non_null(strstr(got, "AAAAAA==\"}}}]}]}}"));
}

static void trustee_json(void **state)
{
	struct refvals v = known();
	char got[4096];

	(void)state;
	text(corim_rvps_json, &v, got);
	assert_string_equal(got, "{\"cca.realm.cca-realm-initial-measurement\":[\"" B64 "\"]}");
	text(corim_store_json, &v, got);
	assert_string_equal(got,
		"{\"platform\":[],\"realm\":[{\"initial-measurement\":\"" HEX "\","
		"\"rak-hash-algorithm\":\"sha-256\",\"extensible-measurements\":["
		"\"" ZERO64 "\",\"" ZERO64 "\",\"" ZERO64 "\",\"" ZERO64 "\"],"
		"\"personalization-value\":\"" ZERO128 "\"}]}");
	v.algo = REALM_SHA512;
	v.rpv_set = true;
	v.rpv[0] = 0xab;
	v.rem_set = 8;
	v.rem[3][63] = 0xcd;
	text(corim_store_json, &v, got);
	assert_non_null(strstr(got, "\"initial-measurement\":\"" HEX ZERO64 "\""));
	assert_non_null(strstr(got, "00cd\"],"));
	assert_non_null(strstr(got, "\"personalization-value\":\"ab00"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cbor), cmocka_unit_test(comid_json),
		cmocka_unit_test(trustee_json),
	};

	return cmocka_run_group_tests_name("corim", tests, NULL, NULL);
}
