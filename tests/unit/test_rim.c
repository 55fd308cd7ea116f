// SPDX-License-Identifier: BSD-3-Clause
/*
 * The measurement against known answers, step by step. Those of dialect B and the first value are
 * from TF-RMM's own code, those of dialect C from the same code begun with zeros, and three first
 * values are the ones that Veraison's cca-realm-measurements has in its tests. What TF-RMM did not
 * give (RIPAS, the longer digests) was computed with tests/measure/recompute.pl.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "realm/rim.h"
#include "vmm/core/err.h"

static const struct rim_params params = {
	.dialect = RIM_B, .algo = REALM_SHA256, .s2sz = 40, .num_bps = 5, .num_wps = 3,
};

/* content of granule g: byte k is 7k + 3 + g */
static void pattern(uint8_t *page, unsigned int g)
{
	for (unsigned int k = 0; k < GRANULE_SIZE; k++)
		page[k] = 7 * k + 3 + g;
}

static void check_hex(const uint8_t *value, const char *hex)
{
	char got[2 * REALM_HASH_MAX + 1];
	unsigned int n = strlen(hex) / 2;

	for (unsigned int i = 0; i < n; i++)
		sprintf(got + 2 * i, "%02x", value[i]);
	assert_string_equal(got, hex);
	for (unsigned int i = n; i < REALM_HASH_MAX; i++)
		assert_int_equal(value[i], 0);
}

static void check(const struct rim *r, const char *hex)
{
	check_hex(r->value, hex);
}

/* create, two measured granules, one that is not, REC */
struct answers {
	enum rim_dialect dialect;
	enum realm_hash algo;
	const char *create, *data0, *data1, *unmeasured, *rec;
};

static const struct answers answers[] = {
	{ RIM_B, REALM_SHA256,
	  "f33498f22eed8d51fb28b95769b27275a8c69a469e26b0050f1e809c4e0146b4",
	  "da692031b0574009a88a15ac3f38c0808c1fbba4d197ae607a9de5e18fa776af",
	  "776a9af1dc059830025cccd09237171bbeda6fc008d1be3747ac4393e5162da5",
	  "fb86ad357c21cc2fc82a919349999686ec4e61ce4a1e7f8f36b526bd8728bd56",
	  "26527c111778d7fe434b698028e6a4c11a2ff6b15e2ae843bb32d141ab62e9a2" },
	{ RIM_C, REALM_SHA256,
	  "0000000000000000000000000000000000000000000000000000000000000000",
	  "6b9a46ff7b59c4c4b3d0f5188696fa1fd5bdce6d29885a15c9983ee187744992",
	  "ffc388f01f27a5dd994c576cfc4f1b957ad328bf10ffcc96a2eb6c0040d9c762",
	  "9a62731199fa279951924bc1cde1353c9dc765c8078436e12a3cbe0a9155aa37",
	  "f1bebf9d77dd94a5486cee0032a3cd0ececc2fa1738b349366aa51c0ef4ba64d" },
	{ RIM_B, REALM_SHA384,
	  "3909bb92dac4472b41663c6c7f4d55abb08b36b37a16894dcffef974e551b810"
	  "76f28de3ac16dbcf8389f621cb5f1837",
	  "706980d6d8e52f46241d36eeda12236c78312ba3c878cd2c9bdf3d6429924aa2"
	  "5eacf6300993e1fe631c66a15b79a87a",
	  "40a286fe73b260cfd78fd86f6e407c2b24ec3e314719b8dcffb67a468c647663"
	  "29516fa22a7127aa3dc108cb55a31d6b",
	  "d6c431c14214b4420bee4c2bf504e2f9a0b1ef10dc1e3b53f228830dbf8e719b"
	  "2511b8282d5b28e61808158673a431fe",
	  "ead88ff29028d54b025e7f3f9fa077edb5c6cf11f83a1b42440223c53077e54f"
	  "1db28b60f12adede846347b7dca84e9e" },
	{ RIM_B, REALM_SHA512,
	  "1cda1fc639e5604da537f04e7f2d6f8e18894c86f4b64f3397783b090053ba0d"
	  "81dd585810b5aad1e5c2ac5c65fa0c8ad8b125031ae2d3a987f0d84dd775c4c6",
	  "221920b10c13fde18b81fc2ab9214f3d773e6471f1aab4a61d2b5efe963c6a89"
	  "26ed2a9fa65c135971b1c46b9597d35bfce631d04ea27397c8d61d999ed6e057",
	  "7600909df0fca4fa98c9a316b281a3dc58c46a144c5c18a2670fb59ea374b46b"
	  "c26fd9f19cabfaba2aa4dc54e8778275777ac76df2167b9459c139d1711a5f51",
	  "ee1090b518ba913b2aea163eb4401c08ef2a55d941634fc48f8c72f0bf7ba3b7"
	  "e9fde92773ea0fedf7cbfa4f4e5356babd71bfd7e40311f48b19e6eb907bfce4",
	  "98df26c7138045d4d6f6638d54829ff73bc2f22beb0726c59d7352820fad4f59"
	  "19e7157f096c56de479d8872cde9c9d07fee54a48761e12bcdad1318e928cb8b" },
};

static void step_by_step(void **state)
{
	uint64_t x[8] = { 0x8fe00000 };
	uint8_t page[GRANULE_SIZE], digest[REALM_HASH_MAX];
	struct rim r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		const struct answers *a = &answers[i];
		struct rim_params p = params;

		p.dialect = a->dialect;
		p.algo = a->algo;
		memset(&r, 0xff, sizeof(r));
		if (rim_create(&r, &p) == -ENOSYS)
			skip();
		check(&r, a->create);
		pattern(page, 0);
		assert_int_equal(realm_hash2(a->algo, page, sizeof(page), NULL, 0, digest), 0);
		if (a->algo == REALM_SHA256)
			check_hex(digest, "7486da8f1e13943fae21a0b043f1e996"
					  "40d7d8ebafb25266478b5cddae1272b5");
		assert_int_equal(rim_data(&r, 0x80000000, digest), 0);
		check(&r, a->data0);
		pattern(page, 1);
		assert_int_equal(realm_hash2(a->algo, page, sizeof(page), NULL, 0, digest), 0);
		if (a->algo == REALM_SHA256)
			check_hex(digest, "009b1f759201410dfb43f931383f6b8a"
					  "abd6b226b05f8cff77123f4cd405f8e1");
		assert_int_equal(rim_data(&r, 0x80001000, digest), 0);
		check(&r, a->data1);
		assert_int_equal(rim_data(&r, 0x8fe00000, NULL), 0);
		check(&r, a->unmeasured);
		assert_int_equal(rim_rec(&r, 0x80000000, x), 0);
		check(&r, a->rec);
	}
}

static void parameters(void **state)
{
	struct rim_params p = { .algo = REALM_SHA256, .s2sz = 48, .num_bps = 1, .num_wps = 1 };
	struct rim r, other;

	(void)state;
	if (rim_create(&r, &p) == -ENOSYS)
		skip();
	check(&r, "6739dfb22b75ee1268d08dfa8369f501bc0b066243553f069f560d1fa1172973");
	/* dialects A and B begin with the same value */
	p.dialect = RIM_B;
	assert_int_equal(rim_create(&other, &p), 0);
	assert_memory_equal(r.value, other.value, REALM_HASH_MAX);
	p.algo = REALM_SHA512;
	assert_int_equal(rim_create(&r, &p), 0);
	check(&r, "799e434048fb57eb9d4f0e2a2b98158720377252deab2bdfcd69b5a8f82237f4"
		  "34bd6bb1c75bf160a2d49382f733b3439a3ff769e4ea5dd9a6f72239d44bbbab");
	p = (struct rim_params){ .algo = REALM_SHA256, .s2sz = 48, .num_bps = 5, .num_wps = 3 };
	assert_int_equal(rim_create(&r, &p), 0);
	check(&r, "8960d56826370aaa6fc9b3a041d4240689582ba41e2ad8bb8f9adf6d2a0cd5e7");
	/* each of the others counts, and the version 1.0 has no SHA-384 */
	for (int i = 0; i < 6; i++) {
		struct rim_params q = p;

		switch (i) {
		case 0: q.lpa2 = true; break;
		case 1: q.sve = true; break;
		case 2: q.pmu = true; break;
		case 3: q.sve_vl = 1; break;
		case 4: q.pmu_ctrs = 1; break;
		case 5: q.s2sz = 49; break;
		}
		assert_int_equal(rim_create(&other, &q), 0);
		assert_memory_not_equal(r.value, other.value, REALM_HASH_MAX);
	}
	p.dialect = RIM_A;
	p.algo = REALM_SHA384;
	assert_int_equal(rim_create(&r, &p), -EINVAL);
}

static void ripas(void **state)
{
	struct rim_params p = params;
	struct rim r;

	(void)state;
	p.dialect = RIM_A;
	if (rim_create(&r, &p) == -ENOSYS)
		skip();
	check(&r, answers[0].create);
	assert_int_equal(rim_ripas(&r, 0x80000000, 0xc0000000), 0);
	check(&r, "dc6b7982b1824655e510f8e6a9f77fa2ac0c868b653a5ab05d4ee355fc2d346d");
	p.algo = REALM_SHA512;
	assert_int_equal(rim_create(&r, &p), 0);
	assert_int_equal(rim_ripas(&r, 0x80000000, 0xc0000000), 0);
	check(&r, "7562d4bbc191cd96d5282727031c6a705f1bcb2d996f7f079f282554ca3e7693"
	  "6301a2a324ef10cc1d67785c2eeef47f620940a6a214558a422e1eeacc197e23");
}

/* KVM's first level: 2 from 26 bits on, 1 from 35, 0 from 44 */
static void blocks(void **state)
{
	uint64_t far = UINT64_C(1) << 45;

	(void)state;
	assert_int_equal(rim_block(25, 0, far), SZ_4K);
	assert_int_equal(rim_block(26, 0, far), SZ_2M);
	assert_int_equal(rim_block(33, 0x80000000, far), SZ_2M);
	assert_int_equal(rim_block(34, 0, far), SZ_2M);
	assert_int_equal(rim_block(35, 0, far), SZ_1G);
	assert_int_equal(rim_block(43, 0, far), SZ_1G);
	assert_int_equal(rim_block(44, 0, far), 512 * SZ_1G);
	assert_int_equal(rim_block(52, 0, far), 512 * SZ_1G);
	/* neither beyond the end nor across what it does not begin at */
	assert_int_equal(rim_block(48, 0, 512 * SZ_1G - SZ_4K), SZ_1G);
	assert_int_equal(rim_block(48, 0, SZ_1G - SZ_4K), SZ_2M);
	assert_int_equal(rim_block(48, 0, SZ_2M - SZ_4K), SZ_4K);
	assert_int_equal(rim_block(48, SZ_4K, far), SZ_4K);
	assert_int_equal(rim_block(48, SZ_2M, far), SZ_2M);
	assert_int_equal(rim_block(48, SZ_1G, far), SZ_1G);
	assert_int_equal(rim_block(48, SZ_1G, SZ_1G + SZ_4K), SZ_4K);
}

static void in_parts(void **state)
{
	uint8_t page[GRANULE_SIZE], whole[REALM_HASH_MAX], parts[REALM_HASH_MAX];
	struct realm_hash_ctx c, copy;

	(void)state;
	pattern(page, 3);
	for (enum realm_hash a = REALM_SHA256; a <= REALM_SHA384; a++) {
		if (realm_hash2(a, page, sizeof(page), NULL, 0, whole) == -ENOSYS)
			skip();
		realm_hash_init(&c, a);
		realm_hash_update(&c, page, 1);
		copy = c;
		realm_hash_update(&c, page + 1, 1000);
		realm_hash_update(&c, page + 1001, sizeof(page) - 1001);
		realm_hash_final(&c, parts);
		assert_memory_equal(parts, whole, REALM_HASH_MAX);
		realm_hash_update(&copy, page + 1, sizeof(page) - 1);
		realm_hash_final(&copy, parts);
		assert_memory_equal(parts, whole, REALM_HASH_MAX);
	}
	assert_string_equal(realm_hash_name(REALM_SHA256), "sha-256");
	assert_string_equal(realm_hash_name(REALM_SHA384), "sha-384");
	assert_string_equal(realm_hash_name(REALM_SHA512), "sha-512");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(step_by_step),
		cmocka_unit_test(parameters),
		cmocka_unit_test(ripas),
		cmocka_unit_test(blocks),
		cmocka_unit_test(in_parts),
	};

	return cmocka_run_group_tests_name("rim", tests, NULL, NULL);
}
