// SPDX-License-Identifier: BSD-3-Clause
/*
 * Tokens and keys. What realmtool makes is read back by the second reader; what it reads and never
 * makes (older forms, damage) is written by the second writer. With TOKEN_OUT=FOLDER in the
 * environment a token and its keys are left there, for tests/token/check.sh.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "realm/attest.h"
#include "realm/token.h"
#include "tests/unit/cborread.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"

static struct {
	char dir[64];
	struct key *realm, *platform;
	struct key_pub realm_pub, platform_pub;
	bool none;			/* built without what it takes */
} f;

static void path_of(const char *name, char out[128])
{
	snprintf(out, 128, "%s/%s", f.dir, name);
}

static int group_setup(void **state)
{
	uint8_t buf[TOKEN_MAX];
	struct token t;
	struct err e;

	(void)state;
	log_set_level(LOG_ERROR);
	strcpy(f.dir, "/tmp/test_token.XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	if (token_read(&t, buf, 0, &e) == -ENOSYS) {
		f.none = true;
		return 0;
	}
	assert_int_equal(key_make(&f.realm, &e), 0);
	assert_int_equal(key_make(&f.platform, &e), 0);
	key_public(f.realm, &f.realm_pub);
	key_public(f.platform, &f.platform_pub);
	return 0;
}

static int group_teardown(void **state)
{
	char cmd[128];

	(void)state;
	key_free(f.realm);
	key_free(f.platform);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", f.dir);
	return system(cmd);
}

#define NEEDS_LIBRARIES() do { if (f.none) skip(); } while (0)

static struct token_request request(enum token_form form, enum realm_hash algo)
{
	struct token_request rq = { .form = form, .algo = algo };

	for (unsigned int i = 0; i < 64; i++) {
		rq.challenge[i] = 1 + i;
		rq.rpv[i] = 0x40 + i;
		rq.rim[i] = i < realm_hash_len(algo) ? 0x80 + i : 0;
		for (unsigned int k = 0; k < TOKEN_NR_REMS; k++)
			rq.rem[k][i] = i < realm_hash_len(algo) ? 0xc0 + k : 0;
	}
	rq.instance[0] = 1;
	memset(rq.instance + 1, 0x77, TOKEN_ID - 1);
	return rq;
}

static size_t make(const struct token_request *rq, uint8_t buf[TOKEN_MAX])
{
	struct err e;
	size_t len;

	assert_int_equal(token_make(rq, f.realm, f.platform, buf, &len, &e), 0);
	return len;
}

/* ---- what is made ---------------------------------------------------------------------------- */

/* SHA-384 of the Sig_structure, put together as RFC 9052 has it */
static void sig_structure(const uint8_t *protect, size_t plen, const uint8_t *payload, size_t len,
			  uint8_t digest[REALM_HASH_MAX])
{
	struct cw w = { .len = 0 };

	cw_head(&w, CR_ARRAY, 4);
	cw_text(&w, "Signature1");
	cw_bytes(&w, protect, plen);
	cw_bytes(&w, "", 0);
	cw_bytes(&w, payload, len);
	assert_int_equal(realm_hash2(REALM_SHA384, w.buf, w.len, "", 0, digest), 0);
}

/* Return: a reader of the claims */
static struct cr sign1(struct cr r, const struct key_pub *pub)
{
	static const uint8_t protect[] = { 0xa1, 0x01, 0x38, 0x22 };	/* { 1: -35 } */
	uint8_t digest[REALM_HASH_MAX];
	const uint8_t *sig;
	struct cr claims;

	cr_tag(&r, 18);
	cr_array(&r, 4);
	cr_bytes(&r, protect, sizeof(protect));
	cr_map(&r, 0);
	claims = cr_open(&r);
	sig = cr_bytes(&r, NULL, 96);
	cr_end(&r);
	sig_structure(protect, sizeof(protect), claims.p, claims.end - claims.p, digest);
	assert_int_equal(key_verify(pub, digest, 48, sig, 96), 0);
	return claims;
}

static void cose_key(uint8_t out[128], size_t *len, const struct key_pub *pub)
{
	struct cw w = { .len = 0 };

	cw_head(&w, CR_MAP, 4);
	cw_int(&w, 1);
	cw_int(&w, 2);
	cw_int(&w, -1);
	cw_int(&w, 2);
	cw_int(&w, -2);
	cw_bytes(&w, pub->point + 1, 48);
	cw_int(&w, -3);
	cw_bytes(&w, pub->point + 49, 48);
	memcpy(out, w.buf, w.len);
	*len = w.len;
}

static void platform_claims(struct cr r, const uint8_t *rak, size_t rlen)
{
	uint8_t hash[REALM_HASH_MAX], id[TOKEN_ID + 32] = { 1 }, zero[32] = { 0 };
	const char *impl = "realmtool rehearsal: NO SECURITY";

	realm_hash2(REALM_SHA256, f.platform_pub.point, f.platform_pub.len, "", 0, id + 1);
	realm_hash2(REALM_SHA256, rak, rlen, "", 0, hash);
	cr_map(&r, 8);
	cr_int(&r, 10);
	cr_bytes(&r, hash, 32);
	cr_int(&r, 256);
	cr_bytes(&r, id, 33);
	cr_int(&r, 265);
	cr_text(&r, "tag:arm.com,2023:cca_platform#1.0.0");
	cr_int(&r, 2395);
	cr_int(&r, 0x1000);			/* not 0x3000, "secured" */
	cr_int(&r, 2396);
	cr_bytes(&r, impl, 32);
	cr_int(&r, 2399);
	cr_array(&r, 1);
	cr_map(&r, 4);
	cr_int(&r, 1);
	cr_text(&r, "realmtool, not measured");
	cr_int(&r, 2);
	cr_bytes(&r, zero, 32);
	cr_int(&r, 4);
	cr_text(&r, REALMTOOL_VERSION);
	cr_int(&r, 5);
	cr_bytes(&r, zero, 32);
	cr_int(&r, 2401);
	cr_bytes(&r, "emulated", 8);
	cr_int(&r, 2402);
	cr_text(&r, "sha-256");
	cr_end(&r);
}

static void realm_claims(struct cr r, const struct token_request *rq, const uint8_t *rak,
			 size_t rlen)
{
	static const char *const names[] = {
		[REALM_SHA256] = "sha-256", [REALM_SHA512] = "sha-512", [REALM_SHA384] = "sha-384",
	};
	bool v2 = rq->form == TOKEN_RMM_2_0;
	size_t n = realm_hash_len(rq->algo);

	cr_map(&r, v2 ? 10 : 8);
	cr_int(&r, 10);
	cr_bytes(&r, rq->challenge, 64);
	if (v2) {
		cr_int(&r, 256);
		cr_bytes(&r, rq->instance, 33);
	}
	cr_int(&r, 265);
	cr_text(&r, v2 ? "tag:arm.com,2024:realm#2.0.0" : "tag:arm.com,2023:realm#1.0.0");
	cr_int(&r, 44235);
	cr_bytes(&r, rq->rpv, 64);
	cr_int(&r, 44236);
	cr_text(&r, names[rq->algo]);
	cr_int(&r, 44237);
	cr_bytes(&r, rak, rlen);
	cr_int(&r, 44238);
	cr_bytes(&r, rq->rim, n);
	cr_int(&r, 44239);
	cr_array(&r, 4);
	for (unsigned int i = 0; i < 4; i++)
		cr_bytes(&r, rq->rem[i], n);
	cr_int(&r, 44240);
	cr_text(&r, "sha-256");
	if (v2) {
		cr_int(&r, 44243);
		cr_int(&r, 0);
	}
	cr_end(&r);
}

static void made(void **state)
{
	(void)state;
	NEEDS_LIBRARIES();
	for (unsigned int form = TOKEN_RMM_1_0; form <= TOKEN_RMM_2_0; form++) {
		for (unsigned int algo = REALM_SHA256; algo <= REALM_SHA384; algo++) {
			struct token_request rq = request(form, algo);
			uint8_t buf[TOKEN_MAX], rak[128];
			struct cr r, platform, realm;
			size_t rlen;

			r = (struct cr){ buf, buf + make(&rq, buf) };
			cose_key(rak, &rlen, &f.realm_pub);
			cr_tag(&r, 907);
			cr_map(&r, 2);
			cr_int(&r, 44234);
			cr_array(&r, 2);
			cr_int(&r, 263);
			platform = cr_open(&r);
			cr_int(&r, 44241);
			cr_array(&r, 2);
			cr_int(&r, 263);
			realm = cr_open(&r);
			cr_end(&r);
			platform_claims(sign1(platform, &f.platform_pub), rak, rlen);
			realm_claims(sign1(realm, &f.realm_pub), &rq, rak, rlen);
		}
	}
}

static void is_blob(const struct token_blob *b, const void *want, size_t len)
{
	assert_non_null(b->p);
	assert_int_equal(b->len, len);
	assert_memory_equal(b->p, want, len);
}

static void read_again(void **state)
{
	struct token_request rq = request(TOKEN_RMM_2_0, REALM_SHA512);
	uint8_t buf[TOKEN_MAX], *exact;
	struct key_pub other;
	struct token t;
	struct err e;
	size_t len;

	(void)state;
	NEEDS_LIBRARIES();
	len = make(&rq, buf);
	exact = malloc(len);		/* ASan sees a byte too many */
	memcpy(exact, buf, len);
	assert_int_equal(token_read(&t, exact, len, &e), 0);
	assert_int_equal(t.tag, 907);
	assert_int_equal(token_check_realm(&t, &e), 0);
	assert_int_equal(token_check_binding(&t, &e), 0);
	assert_int_equal(token_check_platform(&t, &f.platform_pub, &e), 0);
	assert_int_equal(token_check_platform(&t, &f.realm_pub, &e), -EBADMSG);
	assert_true(token_is_rehearsal(&t));
	is_blob(&t.realm.challenge, rq.challenge, 64);
	is_blob(&t.realm.rpv, rq.rpv, 64);
	is_blob(&t.realm.rim, rq.rim, 64);
	for (unsigned int i = 0; i < 4; i++)
		is_blob(&t.realm.rem[i], rq.rem[i], 64);
	is_blob(&t.realm.instance, rq.instance, 33);
	is_blob(&t.realm.hash, "sha-512", 7);
	is_blob(&t.platform.implementation, TOKEN_REHEARSAL, 32);
	assert_true(t.realm.has_mec);
	assert_int_equal(t.realm.mec, 0);
	assert_int_equal(t.platform.nr_components, 1);
	assert_string_equal(token_lifecycle(t.platform.lifecycle), "assembly and test");
	assert_string_equal(token_lifecycle(0x3003), "secured");
	assert_string_equal(token_lifecycle(0x3103), "invalid");
	assert_string_equal(token_lifecycle(0x7000), "invalid");
	assert_string_equal(token_lifecycle(~UINT64_C(0)), "invalid");
	/* a key that is no point */
	other = f.platform_pub;
	other.point[50] ^= 1;
	assert_int_equal(token_check_platform(&t, &other, &e), -EBADMSG);
	other.len = 96;
	assert_int_not_equal(token_check_platform(&t, &other, &e), 0);
	free(exact);
}

/* ---- older forms, and all that can be wrong -------------------------------------------------- */

enum { OLD_NONE, OLD_BSTR = 1, OLD_TAG = 2, OLD_RAW_KEY = 4, OLD_UNTAGGED = 8 };

struct writer {
	unsigned int old;
	uint64_t tag;			/* instead of 907 or 399 */
	uint64_t cose_tag;		/* instead of 18 */
	int64_t alg;			/* instead of -35 */
	uint64_t type;			/* instead of 263 */
	int64_t skip, twice;		/* leave a claim out; give it twice */
	const char *hash, *rak_hash;
	size_t rim_len, challenge_len, impl_len;
	unsigned int rems;
	bool more, text_key, no_realm, wrong_signer, unbound, int_challenge;
	int64_t kty, crv;
	size_t x_len;
};

static void cose(const struct writer *o, const struct key *k, const struct cw *claims,
		 struct cw *out)
{
	uint8_t digest[REALM_HASH_MAX], sig[KEY_P384_SIG];
	struct cw protect = { .len = 0 };

	cw_head(&protect, CR_MAP, 1);
	cw_int(&protect, 1);
	cw_int(&protect, o->alg ? o->alg : -35);
	sig_structure(protect.buf, protect.len, claims->buf, claims->len, digest);
	assert_int_equal(key_sign(k, digest, sig), 0);
	if (!(o->old & OLD_UNTAGGED))
		cw_head(out, CR_TAG, o->cose_tag ? o->cose_tag : 18);
	cw_head(out, CR_ARRAY, 4);
	cw_bytes(out, protect.buf, protect.len);
	cw_head(out, CR_MAP, 0);
	cw_bytes(out, claims->buf, claims->len);
	cw_bytes(out, sig, sizeof(sig));
}

/* A claim's label; the caller writes the value if this says so (and again, for a second time). */
static unsigned int label(const struct writer *o, struct cw *w, int64_t n)
{
	if (o->skip == n)
		return 0;
	cw_int(w, n);
	return o->twice == n ? 2 : 1;
}

static void claim(const struct writer *o, struct cw *w, int64_t n, const void *p, size_t len)
{
	unsigned int times = label(o, w, n);

	for (; times; times--) {
		if (p)
			cw_bytes(w, p, len);
		else
			cw_int(w, len);
		if (times > 1)
			cw_int(w, n);
	}
}

static void text_claim(const struct writer *o, struct cw *w, int64_t n, const char *text)
{
	if (label(o, w, n))
		cw_text(w, text);
}

static unsigned int members(const struct writer *o, unsigned int n, bool has_skip, bool has_twice)
{
	return n - has_skip + has_twice + (o->more ? 3 : 0);
}

/* Claims that nobody knows: skipped, but counted */
static void unknown(const struct writer *o, struct cw *w)
{
	if (!o->more)
		return;
	cw_int(w, 70000);
	cw_head(w, CR_TAG, 1234);	/* a tag, an array in it */
	cw_head(w, CR_ARRAY, 2);
	cw_int(w, 1);
	cw_head(w, CR_MAP, 0);
	cw_text(w, "name");
	cw_int(w, -5);
	cw_int(w, -70001);
	cw_head(w, CR_TAG, 2);
	cw_head(w, CR_TAG, 3);
	cw_bytes(w, "x", 1);
}

static void write_token(const struct writer *o, struct cw *out)
{
	struct cw claims = { .len = 0 }, platform = { .len = 0 }, realm = { .len = 0 };
	struct token_request rq = request(TOKEN_RMM_1_0, REALM_SHA256);
	uint8_t rak[512], hash[REALM_HASH_MAX];
	struct cw kw = { .len = 0 };
	size_t rlen, n = o->rim_len ? o->rim_len : 32;
	bool old = o->old & OLD_TAG;

	if (o->old & OLD_RAW_KEY) {
		rlen = f.realm_pub.len;
		memcpy(rak, f.realm_pub.point, rlen);
	} else {
		cw_head(&kw, CR_MAP, 5);
		cw_int(&kw, 1);
		cw_int(&kw, o->kty ? o->kty : 2);
		cw_int(&kw, 2);			/* kid: nobody asked for it */
		cw_bytes(&kw, "me", 2);
		cw_int(&kw, -1);
		cw_int(&kw, o->crv ? o->crv : 2);
		cw_int(&kw, -2);
		cw_bytes(&kw, f.realm_pub.point + 1, o->x_len ? o->x_len : 48);
		cw_int(&kw, -3);
		cw_bytes(&kw, f.realm_pub.point + 49, 48);
		rlen = kw.len;
		memcpy(rak, kw.buf, rlen);
	}
	realm_hash2(REALM_SHA256, rak, rlen, "", 0, hash);
	if (o->unbound)
		hash[31] ^= 1;

	cw_head(&claims, CR_MAP, members(o, 5, o->skip && o->skip <= 2400 && o->skip != 10,
					 o->twice && o->twice <= 2400 && o->twice != 10));
	cw_int(&claims, 10);
	cw_bytes(&claims, hash, 32);
	claim(o, &claims, 256, rq.instance, 33);
	text_claim(o, &claims, 265, old ? "http://arm.com/CCA-SSD/1.0.0" :
		   "tag:arm.com,2024:cca_platform#2.0.0");
	claim(o, &claims, 2395, NULL, 0x3001);
	claim(o, &claims, 2396, rq.rim, o->impl_len ? o->impl_len : 32);
	unknown(o, &claims);
	cose(o, o->wrong_signer ? f.realm : f.platform, &claims, &platform);

	claims.len = 0;
	cw_head(&claims, CR_MAP, members(o, 7, o->skip > 44000 || o->skip == 10,
					 o->twice > 44000 || o->twice == 10));
	if (o->int_challenge) {
		cw_int(&claims, 10);
		cw_int(&claims, 64);
	} else {
		claim(o, &claims, 10, rq.challenge, o->challenge_len ? o->challenge_len : 64);
	}
	claim(o, &claims, 44235, rq.rpv, 64);
	text_claim(o, &claims, 44236, o->hash ? o->hash : "sha-256");
	claim(o, &claims, 44237, rak, rlen);
	claim(o, &claims, 44238, rq.rim, n);
	if (label(o, &claims, 44239)) {
		cw_head(&claims, CR_ARRAY, o->rems ? o->rems : 4);
		for (unsigned int i = 0; i < (o->rems ? o->rems : 4); i++)
			cw_bytes(&claims, rq.rem[i % 4], n);
	}
	text_claim(o, &claims, 44240, o->rak_hash ? o->rak_hash : "sha-256");
	unknown(o, &claims);
	cose(o, o->wrong_signer ? f.platform : f.realm, &claims, &realm);

	out->len = 0;
	cw_head(out, CR_TAG, o->tag ? o->tag : old ? 399 : 907);
	cw_head(out, CR_MAP, o->no_realm ? 1 : o->text_key ? 3 : 2);
	for (unsigned int i = 0; i < (o->no_realm ? 1U : 2U); i++) {
		const struct cw *part = i ? &realm : &platform;

		cw_int(out, i ? 44241 : 44234);
		if (!(o->old & OLD_BSTR)) {
			cw_head(out, CR_ARRAY, 2);
			cw_int(out, o->type ? o->type : 263);
		}
		cw_bytes(out, part->buf, part->len);
	}
	if (o->text_key) {
		cw_text(out, "more");
		cw_head(out, CR_ARRAY, 0);
	}
}

/* Was the last one of a rehearsal? What a token points at goes with its bytes. */
static bool rehearsal;

static int read_it(const struct cw *w, struct token *t, struct err *e)
{
	uint8_t *exact = malloc(w->len + !w->len);
	struct err none;
	int ret;

	memcpy(exact, w->buf, w->len);
	memset(e, 0, sizeof(*e));
	ret = token_read(t, exact, w->len, e);
	if (ret < 0) {
		/* one line, and something in it */
		assert_int_equal(ret, -EINVAL);
		assert_null(strchr(e->msg, '\n'));
		assert_true(strlen(e->msg) > 20);
	} else {
		ret = token_check_realm(t, e);
		if (!ret)
			ret = token_check_binding(t, e);
		if (!ret)
			ret = token_check_platform(t, &f.platform_pub, &none);
	}
	rehearsal = !ret && token_is_rehearsal(t);
	free(exact);
	return ret;
}

static void old_forms(void **state)
{
	struct cw w;
	struct token t;
	struct err e;

	(void)state;
	NEEDS_LIBRARIES();
	for (unsigned int old = 0; old < 16; old++) {
		const struct writer o = { .old = old, .more = old & 1, .text_key = old & 2 };

		write_token(&o, &w);
		assert_int_equal(read_it(&w, &t, &e), 0);
		assert_int_equal(t.tag, old & OLD_TAG ? 399 : 907);
		assert_int_equal(t.rak.len, 97);
		assert_memory_equal(t.rak.point, f.realm_pub.point, 97);
		assert_false(rehearsal);
		assert_int_equal(t.realm.part.others, o.more ? 3 : 0);
		if (o.more) {
			assert_int_equal(t.realm.part.other[0], 70000);
			assert_int_equal(t.realm.part.other[1], 0);
			assert_int_equal(t.realm.part.other[2], -70001);
		}
	}
}

static void refused(void **state)
{
	static const struct {
		struct writer o;
		const char *why;
	} cases[] = {
		{ { .tag = 398 }, "907" },
		{ { .tag = 18 }, "907" },
		{ { .cose_tag = 17 }, "COSE_Sign1" },
		{ { .type = 262 }, "263" },
		{ { .no_realm = true }, "realm token (44241) is not there" },
		{ { .skip = 256 }, "instance is not there" },
		{ { .skip = 2395 }, "lifecycle is not there" },
		{ { .skip = 2396 }, "implementation is not there" },
		{ { .skip = 10 }, "challenge is not there" },
		{ { .skip = 44235 }, "personalization" },
		{ { .skip = 44236 }, "hash algorithm is not there" },
		{ { .skip = 44237 }, "key is not there" },
		{ { .skip = 44238 }, "initial measurement is not there" },
		{ { .skip = 44239 }, "extensible measurements is not there" },
		{ { .skip = 44240 }, "is not there" },
		{ { .twice = 10 }, "challenge twice" },
		{ { .twice = 44238 }, "initial measurement twice" },
		{ { .twice = 2396 }, "implementation twice" },
		{ { .hash = "sha-1" }, "not known" },
		{ { .hash = "sha-2560" }, "not known" },
		{ { .rak_hash = "md5" }, "not known" },
		{ { .rim_len = 31 }, "31 bytes" },
		{ { .rim_len = 48 }, "48 bytes" },
		{ { .challenge_len = 63 }, "63 bytes" },
		{ { .impl_len = 33 }, "33 bytes" },
		{ { .int_challenge = true }, "wrong type" },
		{ { .rems = 3 }, "wrong type or number" },
		{ { .rems = 5 }, "wrong type or number" },
		{ { .kty = 1 }, "not on P-256" },
		{ { .crv = 8 }, "not on P-256" },
		{ { .crv = 4 }, "not on P-256" },
		{ { .crv = -1 }, "not on P-256" },
		{ { .crv = 3 }, "coordinates" },
		{ { .x_len = 47 }, "coordinates" },
	};
	struct token t;
	struct err e;
	struct cw w;

	(void)state;
	NEEDS_LIBRARIES();
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		write_token(&cases[i].o, &w);
		assert_int_equal(read_it(&w, &t, &e), -EINVAL);
		if (!strstr(e.msg, cases[i].why))
			fail_msg("case %u: \"%s\" has no \"%s\"", i, e.msg, cases[i].why);
	}
}

/* Well-formed, but not what it says it is. */
static void unverified(void **state)
{
	static const struct {
		struct writer o;
		int code;
	} cases[] = {
		{ { .wrong_signer = true }, -EBADMSG },
		{ { .unbound = true }, -EBADMSG },
		{ { .alg = -7 }, -EBADMSG },		/* ES256: another digest */
		{ { .alg = -36 }, -EBADMSG },
		{ { .alg = -37 }, -ENOTSUP },		/* PS256 */
		{ { .alg = 5 }, -ENOTSUP },		/* an HMAC */
		{ { .rak_hash = "sha-512" }, -EBADMSG },
	};
	struct token t;
	struct err e;
	struct cw w;

	(void)state;
	NEEDS_LIBRARIES();
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		write_token(&cases[i].o, &w);
		assert_int_equal(read_it(&w, &t, &e), cases[i].code);
		assert_null(strchr(e.msg, '\n'));
	}
}

/* Cut at every byte, with something behind, and with each byte changed: never taken for good. */
static void damaged(void **state)
{
	struct token_request rq = request(TOKEN_RMM_2_0, REALM_SHA256);
	struct token t;
	struct cw w;
	struct err e;
	size_t len;

	(void)state;
	NEEDS_LIBRARIES();
	len = make(&rq, w.buf);
	for (w.len = 0; w.len < len; w.len++)
		assert_int_equal(read_it(&w, &t, &e), -EINVAL);
	w.buf[len] = 0;
	w.len = len + 1;
	assert_int_equal(read_it(&w, &t, &e), -EINVAL);
	w.len = len;
	assert_int_equal(read_it(&w, &t, &e), 0);
	for (size_t i = 0; i < len; i++) {
		w.buf[i] ^= 1 << i % 8;
		if (!read_it(&w, &t, &e))
			fail_msg("byte %zu was changed, and nobody noticed", i);
		w.buf[i] ^= 1 << i % 8;
	}
}

static void bombs(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} heads[] = {
#define H(s) { s, sizeof(s) - 1 }
		H(""), H("\x00"), H("\xff"), H("\xf6"),
		H("\xd9\x03\x8b"),					/* a tag of nothing */
		H("\xd9\x03\x8b\xa2"),
		H("\xd9\x03\x8b\xbb\xff\xff\xff\xff\xff\xff\xff\xff"),	/* 2^64 - 1 pairs */
		H("\xd9\x03\x8b\x9b\xff\xff\xff\xff\xff\xff\xff\xff"),
		H("\xd9\x03\x8b\xba\x7f\xff\xff\xff\x00\x00"),
		H("\xd9\x03\x8b\x5b\xff\xff\xff\xff\xff\xff\xff\xff"),	/* so many bytes */
		H("\xd9\x03\x8b\xbf"), H("\xd9\x03\x8b\xbf\xff"),	/* no end; at once */
		H("\xd9\x03\x8b\xa1\x19\xac\xca\x5b\x80\x00\x00\x00\x00\x00\x00\x00"),
		H("\xd9\x03\x8b\xa1\x19\xac\xca\x5f\x41\x00\xff"),	/* in pieces */
		H("\xd9\x03\x8b\xa1\x19\xac\xca\x40"),			/* an empty token */
		H("\xd9\x03\x8b\xa1\x3b\xff\xff\xff\xff\xff\xff\xff\xff\x00"),
		H("\x1c"), H("\x1d\x00\x00"), H("\x7c"), H("\xdc"),	/* lengths that are none */
		H("\xdb\xff\xff\xff\xff\xff\xff\xff\xff\x00"),
	};
	static const uint8_t nests[] = { 0x81, 0xa1, 0xc6, 0x9f, 0xbf };
	uint8_t *deep = malloc(TOKEN_FILE_MAX + 1);
	struct token t;
	struct cw w;
	struct err e;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(heads) && !f.none; i++) {
		memcpy(w.buf, heads[i].bytes, heads[i].len);
		w.len = heads[i].len;
		assert_int_equal(read_it(&w, &t, &e), -EINVAL);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(nests) && !f.none; i++) {
		memset(deep, nests[i], TOKEN_FILE_MAX);
		memcpy(deep, "\xd9\x03\x8b", 3);
		assert_int_equal(token_read(&t, deep, TOKEN_FILE_MAX, &e), -EINVAL);
		memcpy(deep, "\xd9\x03\x8b\xa1\x01", 5);
		assert_int_equal(token_read(&t, deep, TOKEN_FILE_MAX, &e), -EINVAL);
	}
	if (!f.none) {
		assert_int_equal(token_read(&t, deep, TOKEN_FILE_MAX + 1, &e), -EINVAL);
		assert_non_null(strstr(e.msg, "more than"));
	}
	free(deep);
	NEEDS_LIBRARIES();
}

/* ---- keys ------------------------------------------------------------------------------------ */

static size_t unhex(const char *hex, uint8_t *out)
{
	unsigned int byte;
	size_t n = strlen(hex) / 2;

	for (size_t i = 0; i < n; i++) {
		sscanf(hex + 2 * i, "%2x", &byte);
		out[i] = byte;
	}
	return n;
}

/* Made with "openssl dgst -sign" over the text "realmtool". */
static void curves(void **state)
{
	static const struct {
		enum key_curve curve;
		enum realm_hash hash;
		const char *point, *sig;
	} known[] = {
		{ KEY_P256, REALM_SHA256,
		  "04b41063b5be4979b6257ff30d0e459ab4d12005fbd730eeb2a1b90bea785298742d907d99bf63219555d9"
		  "89448c3c4e70c85f50e2fae7f975b7f29bf06781b235",
		  "3c7ec289ab2b9739567b22d95a8f6527fe945264a0f204c58e2e9f4332e6c02c"
		  "4ab56f3f9cf2dd341e34b2c4dc39403b869bbe78ef8403e05067e65d44f8c682" },
		{ KEY_P521, REALM_SHA512,
		  "04008ab784f3b6a88304f81cc7b9b36d3d09a3c1c3e082cb8c682bce0b63dadb6aee90e8647beac0cbbfc5"
		  "902c8ca6126d9de03788d238059cbbf0e7ff931fc41bd480013e48f3320afbbbee13ccc34c3d2ba1af4440"
		  "2d2f0f48c946f2ac79e6e8136a127100a65198d8e1f2fd2f64b9e6c5f2791e8ab6e5581e1476518e29b641"
		  "0098301e",
		  "01cdcd4b1a733d86172691533c5b1b47e67dc71482d1e31442a7c2c3cba5853b07e029d1af08915f06c41d"
		  "fab2b7b627156c7f3d27f10d7cfeca89c03cceff76e71a"
		  "00b29dd51088ef27a916ec82e6a5997eb6f66a0ebcbb73c683aea4e1ba17944225794bf36f675561c03da3"
		  "d912ef05890d85c3eafce520d7b268714b4438ca120405" },
	};
	uint8_t digest[REALM_HASH_MAX], sig[132];
	struct key_pub pub;
	size_t n, d;

	(void)state;
	NEEDS_LIBRARIES();
	for (unsigned int i = 0; i < ARRAY_SIZE(known); i++) {
		pub.curve = known[i].curve;
		pub.len = unhex(known[i].point, pub.point);
		n = unhex(known[i].sig, sig);
		d = realm_hash_len(known[i].hash);
		realm_hash2(known[i].hash, "realmtool", 9, "", 0, digest);
		assert_int_equal(key_verify(&pub, digest, d, sig, n), 0);
		assert_int_equal(key_verify(&pub, digest, d, sig, n - 1), -EBADMSG);
		digest[0] ^= 1;
		assert_int_equal(key_verify(&pub, digest, d, sig, n), -EBADMSG);
		digest[0] ^= 1;
		memset(sig, 0, sizeof(sig));
		assert_int_equal(key_verify(&pub, digest, d, sig, n), -EBADMSG);
		memset(sig, 0xff, sizeof(sig));
		assert_int_equal(key_verify(&pub, digest, d, sig, n), -EBADMSG);
		pub.point[0] = 2;
		assert_int_equal(key_verify(&pub, digest, d, sig, n), -EINVAL);
		pub.point[0] = 4;
		pub.point[1] ^= 1;
		assert_int_equal(key_verify(&pub, digest, d, sig, n), -EINVAL);
	}
}

static void put(const char *name, const char *text)
{
	char path[128];
	FILE *file;

	path_of(name, path);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
	fclose(file);
}

/* From "openssl genpkey"; they protect nothing. The password of the third is x. */
#define P256_PEM \
	"-----BEGIN PRIVATE KEY-----\n" \
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRrnn9R/KVKEB3OmL\n" \
	"ItfwNM7VA+QyfhtLf+8v1QAPdK2hRANCAAQfzQjA+CrLUQdQsGnOgXAWHYELZaNW\n" \
	"NHyqhtTT+2p5mpAA8eA8nloXAoTsSoUdbJb1uiE6iDZkiPaHOohJZYDd\n" \
	"-----END PRIVATE KEY-----\n"
#define ED25519_PEM \
	"-----BEGIN PRIVATE KEY-----\n" \
	"MC4CAQAwBQYDK2VwBCIEINwYjAzs60MAlkg4pAxSlB1w7XLlpm777VEtJxgL1m/5\n" \
	"-----END PRIVATE KEY-----\n"
#define ENCRYPTED_PEM \
	"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" \
	"MIIBHDBXBgkqhkiG9w0BBQ0wSjApBgkqhkiG9w0BBQwwHAQIjNymRPFSkusCAggA\n" \
	"MAwGCCqGSIb3DQIJBQAwHQYJYIZIAWUDBAECBBDXKGmYpxjouEMXhjBrkl6lBIHA\n" \
	"5bO+ctZjWie7QOT8nA2fM4jxcry/Vpr4GthcZQUJg3aWO7MJRB0uqhirstGoon12\n" \
	"MTobhDlwVePqndpWL4Ygznfs7qyd8jjTLAJ00scfzjuzozR7M8vbHvGMfzeOokGm\n" \
	"buTMuj3bffBCa4lxIpi3C1C488pPshrwG/gp5QGVTfJUvM7pJ826Ht4DOinwKGEu\n" \
	"VOtXm7Uzf5wO3HyDYm5G0vM1GxF/DcAumTg1wClET/cGzc0YH6pUW9T5WTsHy6u5\n" \
	"-----END ENCRYPTED PRIVATE KEY-----\n"

static void key_files(void **state)
{
	char dir[128], path[192], again[192];
	struct key_pub a, b;
	struct key *k;
	struct stat st;
	struct err e;

	(void)state;
	NEEDS_LIBRARIES();
	path_of("keys", dir);
	assert_int_equal(key_open(dir, "k.pem", &k, &e), 0);
	key_public(k, &a);
	key_free(k);
	assert_int_equal(a.len, 97);
	snprintf(path, sizeof(path), "%s/k.pem", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	/* the same key another time, and its public half */
	assert_int_equal(key_open(dir, "k.pem", &k, &e), 0);
	key_public(k, &b);
	key_free(k);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(key_pub_load(path, &b, &e), 0);
	assert_int_equal(b.curve, KEY_P384);
	assert_memory_equal(a.point, b.point, a.len);
	/* nothing is left of the making */
	snprintf(again, sizeof(again), "test $(ls -A %s | wc -l) = 1", dir);
	assert_int_equal(system(again), 0);
	/* a folder that cannot be made */
	path_of("no/such/folder", dir);
	assert_int_equal(key_open(dir, "k.pem", &k, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "no/such/folder"));
}

static void bad_key_files(void **state)
{
	static const char *const texts[] = {
		"", "text\n", "-----BEGIN PRIVATE KEY-----\n", ED25519_PEM, ENCRYPTED_PEM,
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	};
	char path[128], big[20000];
	struct key_pub pub;
	struct key *k;
	struct err e;

	(void)state;
	NEEDS_LIBRARIES();
	for (unsigned int i = 0; i < ARRAY_SIZE(texts); i++) {
		put("bad.pem", texts[i]);
		assert_int_equal(key_open(f.dir, "bad.pem", &k, &e), -EINVAL);
		assert_non_null(strstr(e.msg, "bad.pem"));
		assert_null(strchr(e.msg, '\n'));
		path_of("bad.pem", path);
		assert_int_equal(key_pub_load(path, &pub, &e), -EINVAL);
	}
	/* good for checking a platform token, not for making one */
	put("bad.pem", P256_PEM);
	assert_int_equal(key_open(f.dir, "bad.pem", &k, &e), -EINVAL);
	path_of("bad.pem", path);
	assert_int_equal(key_pub_load(path, &pub, &e), 0);
	assert_int_equal(pub.curve, KEY_P256);
	assert_int_equal(pub.len, 65);
	memset(big, '\n', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	put("bad.pem", big);
	assert_int_equal(key_open(f.dir, "bad.pem", &k, &e), -EINVAL);
	path_of("pipe", path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(key_pub_load(path, &pub, &e), -EINVAL);
	assert_int_equal(key_pub_load(f.dir, &pub, &e), -EINVAL);
	path_of("none", path);
	assert_int_equal(key_pub_load(path, &pub, &e), -ENOENT);
}

/* Who comes first makes the key; all the others use that one. */
static void many_at_once(void **state)
{
	char dir[128];
	struct key_pub first, pub;
	int pipes[2], status;
	struct err e;

	(void)state;
	NEEDS_LIBRARIES();
	path_of("race", dir);
	assert_int_equal(pipe(pipes), 0);
	for (unsigned int i = 0; i < 8; i++) {
		struct key *k;

		if (fork())
			continue;
		if (key_open(dir, "k.pem", &k, &e) < 0)
			_exit(1);
		key_public(k, &pub);
		_exit(write(pipes[1], &pub, sizeof(pub)) != sizeof(pub));
	}
	for (unsigned int i = 0; i < 8; i++) {
		assert_int_equal(read(pipes[0], &pub, sizeof(pub)), sizeof(pub));
		if (!i)
			first = pub;
		assert_memory_equal(&pub, &first, sizeof(pub));
	}
	while (wait(&status) > 0)
		assert_int_equal(status, 0);
	close(pipes[0]);
	close(pipes[1]);
}

/* ---- attestation of a realm ------------------------------------------------------------------ */

static void token_of(const char *dir, struct key_pub *platform, uint8_t instance[TOKEN_ID])
{
	struct token_request rq = request(TOKEN_RMM_1_0, REALM_SHA256);
	uint8_t buf[TOKEN_MAX];
	struct attest *a;
	struct token t;
	struct err e;
	size_t len;

	assert_int_equal(attest_open(dir, TOKEN_RMM_2_0, &a, &e), 0);
	assert_non_null(attest_rec(a, 0));
	assert_non_null(attest_rec(a, 511));
	assert_null(attest_rec(a, 512));
	assert_int_equal(attest_token(a, &rq, buf, &len, &e), 0);
	assert_int_equal(token_read(&t, buf, len, &e), 0);
	assert_int_equal(token_check_realm(&t, &e), 0);
	assert_int_equal(token_check_binding(&t, &e), 0);
	if (platform)
		assert_int_equal(token_check_platform(&t, platform, &e), 0);
	assert_int_equal(t.realm.instance.len, TOKEN_ID);
	assert_int_equal(t.realm.instance.p[0], 1);
	memcpy(instance, t.realm.instance.p, TOKEN_ID);
	attest_close(a);
}

static void attestation(void **state)
{
	uint8_t one[TOKEN_ID], two[TOKEN_ID];
	char dir[128], path[192];
	struct key_pub pub;
	struct attest *a;
	struct err e;

	(void)state;
	NEEDS_LIBRARIES();
	/* a folder that was given */
	path_of("given", dir);
	token_of(dir, NULL, one);
	snprintf(path, sizeof(path), "%s/platform.pem", dir);
	assert_int_equal(key_pub_load(path, &pub, &e), 0);
	token_of(dir, &pub, two);
	assert_memory_not_equal(one, two, TOKEN_ID);	/* two realms */
	put("given/realm.pem", "junk");
	assert_int_equal(attest_open(dir, TOKEN_RMM_1_0, &a, &e), -EINVAL);
	/* the user's own; looked at no sooner than needed */
	path_of("state", dir);
	assert_int_equal(setenv("XDG_STATE_HOME", dir, 1), 0);
	assert_int_equal(attest_open(NULL, TOKEN_RMM_1_0, &a, &e), 0);
	attest_close(a);
	assert_int_not_equal(access(dir, F_OK), 0);
	token_of(NULL, NULL, one);
	snprintf(path, sizeof(path), "%s/realmtool/emulated-keys/platform.pem", dir);
	assert_int_equal(key_pub_load(path, &pub, &e), 0);
	token_of(NULL, &pub, one);
	/* no absolute path: HOME counts */
	assert_int_equal(setenv("XDG_STATE_HOME", "relative", 1), 0);
	path_of("home", dir);
	assert_int_equal(setenv("HOME", dir, 1), 0);
	token_of(NULL, NULL, one);
	snprintf(path, sizeof(path), "%s/.local/state/realmtool/emulated-keys/platform.pem", dir);
	assert_int_equal(key_pub_load(path, &pub, &e), 0);
	/* nowhere to keep keys, or damaged ones: tokens all the same */
	unsetenv("HOME");
	token_of(NULL, NULL, one);
	path_of("bad.pem", dir);
	put("bad.pem", "a file, no folder");
	assert_int_equal(setenv("XDG_STATE_HOME", dir, 1), 0);
	token_of(NULL, NULL, one);
}

/* For tests/token/check.sh */
static void leave(void **state)
{
	const char *dir = getenv("TOKEN_OUT");
	uint8_t buf[TOKEN_MAX];
	struct token_request rq = request(TOKEN_RMM_2_0, REALM_SHA512);
	struct key *realm, *platform;
	char path[4096];
	struct err e;
	size_t len;
	FILE *file;

	(void)state;
	NEEDS_LIBRARIES();
	if (!dir)
		return;
	assert_int_equal(key_open(dir, "realm.pem", &realm, &e), 0);
	assert_int_equal(key_open(dir, "platform.pem", &platform, &e), 0);
	assert_int_equal(token_make(&rq, realm, platform, buf, &len, &e), 0);
	snprintf(path, sizeof(path), "%s/token.cbor", dir);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(buf, 1, len, file), len);
	fclose(file);
	key_free(realm);
	key_free(platform);
}

int main(void)
{
#define T(fn) cmocka_unit_test(fn)
	const struct CMUnitTest tests[] = {
		T(made), T(read_again), T(old_forms), T(refused), T(unverified), T(damaged),
		T(bombs), T(curves), T(key_files), T(bad_key_files), T(many_at_once),
		T(attestation), T(leave),
	};

	return cmocka_run_group_tests_name("token", tests, group_setup, group_teardown);
}
