// SPDX-License-Identifier: BSD-3-Clause
/*
 * Theory of operation
 *  - A CCA token is CBOR: tag 907 over a map of the platform's token (44234) and the realm's
 *    (44241), each [263, bstr]; older ones have tag 399 and the plain bstr. In each bstr is a
 *    COSE_Sign1 (RFC 9052), whose payload is a map of claims with integer labels.
 *  - The realm token names the key it is signed with (RAK). The platform token's challenge is the
 *    hash of that claim: so the platform's signature covers the realm's.
 *  - What is read is hostile: the whole is checked for well-formedness first (with tinycbor's
 *    limit of nesting), each claim is looked at once, and all that stays are pointers into it.
 */
#include "realm/token.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/core/err.h"

#ifndef REALMTOOL_VERSION
#define REALMTOOL_VERSION "unknown"
#endif

#define TAG_CCA			907
#define TAG_CCA_OLD		399
#define TAG_SIGN1		18	/* COSE_Sign1, RFC 9052 */
#define COAP_EAT_CWT		263	/* CoAP content format "application/eat+cwt" */
#define LABEL_PLATFORM		44234
#define LABEL_REALM		44241

#define COSE_HDR_ALG		1
#define COSE_ES256		(-7)
#define COSE_ES384		(-35)
#define COSE_ES512		(-36)

#define COSE_KTY		1	/* labels and values of COSE_Key, RFC 9053 */
#define COSE_CRV		(-1)
#define COSE_X			(-2)
#define COSE_Y			(-3)
#define COSE_KTY_EC2		2

/* claims of RFC 9711 (EAT) */
#define CLAIM_CHALLENGE		10
#define CLAIM_INSTANCE		256
#define CLAIM_PROFILE		265
/* of the platform */
#define CLAIM_CLIENT		2394
#define CLAIM_LIFECYCLE		2395
#define CLAIM_IMPLEMENTATION	2396
#define CLAIM_COMPONENTS	2399
#define CLAIM_SERVICE		2400
#define CLAIM_CONFIG		2401
#define CLAIM_HASH		2402
#define CLAIM_MANUFACTURING	2403
#define CLAIM_PEERS		2406
/* of the realm */
#define CLAIM_RPV		44235
#define CLAIM_REALM_HASH	44236
#define CLAIM_RAK		44237
#define CLAIM_RIM		44238
#define CLAIM_REMS		44239
#define CLAIM_RAK_HASH		44240
#define CLAIM_MEC		44243
#define CLAIM_LFA		44244
#define CLAIM_DEVICES		44257

#define LIFECYCLE_TEST		0x1000	/* assembly and test: not secured */

bool token_is_rehearsal(const struct token *t)
{
	const struct token_blob *id = &t->platform.implementation;

	return id->len == strlen(TOKEN_REHEARSAL) && !memcmp(id->p, TOKEN_REHEARSAL, id->len);
}

const char *token_lifecycle(uint64_t value)
{
	static const char *const name[] = {
		"unknown", "assembly and test", "provisioning of the root of trust", "secured",
		"debug of other than the root of trust", "recoverable debug of the root of trust",
		"decommissioned",
	};

	/* the low byte belongs to the platform */
	return value >> 12 < ARRAY_SIZE(name) && !(value & 0xf00) ? name[value >> 12] : "invalid";
}

/* ---- signatures ------------------------------------------------------------------------------ */

static const struct {
	int64_t alg;
	enum realm_hash hash;
} algs[] = {
	{ COSE_ES256, REALM_SHA256 },
	{ COSE_ES384, REALM_SHA384 },
	{ COSE_ES512, REALM_SHA512 },
};

/* Head of a CBOR byte string of less than 64 KiB, in the shortest form. */
static size_t bstr_head(uint8_t *p, size_t len)
{
	if (len < 24) {
		p[0] = 0x40 | len;
		return 1;
	}
	if (len < 256) {
		p[0] = 0x58;
		p[1] = len;
		return 2;
	}
	p[0] = 0x59;
	p[1] = len >> 8;
	p[2] = len;
	return 3;
}

/*
 * Digest of the Sig_structure (RFC 9052, 4.4): ["Signature1", protected header, no external data,
 * payload].
 */
static int signed_digest(enum realm_hash hash, const struct token_blob *protect,
			 const struct token_blob *payload, uint8_t digest[REALM_HASH_MAX])
{
	static const char context[] = "\x84\x6aSignature1";
	uint8_t head[64];
	size_t n = sizeof(context) - 1;

	if (protect->len > 24 || payload->len > UINT16_MAX)
		return -E2BIG;
	memcpy(head, context, n);
	n += bstr_head(head + n, protect->len);
	memcpy(head + n, protect->p, protect->len);
	n += protect->len;
	head[n++] = 0x40;
	n += bstr_head(head + n, payload->len);
	return realm_hash2(hash, head, n, payload->p, payload->len, digest);
}

static int check_signature(const char *what, const struct token_part *part,
			   const struct key_pub *pub, struct err *e)
{
	uint8_t digest[REALM_HASH_MAX];
	unsigned int i = 0;
	int ret;

	while (i < ARRAY_SIZE(algs) && algs[i].alg != part->alg)
		i++;
	if (i == ARRAY_SIZE(algs))
		return err_set(e, -ENOTSUP, "the %s token is signed with COSE algorithm %lld: known are "
			       "ES256, ES384 and ES512", what, (long long)part->alg);
	ret = signed_digest(algs[i].hash, &part->protect, &part->payload, digest);
	if (!ret)
		ret = key_verify(pub, digest, realm_hash_len(algs[i].hash), part->sig.p,
				 part->sig.len);
	switch (ret) {
	case 0:
		return 0;
	case -EBADMSG:
		return err_set(e, ret, "the %s token is not signed with this key", what);
	case -EINVAL:
		return err_set(e, -EBADMSG, "the key of the %s token is no point of its curve", what);
	case -E2BIG:
		return err_set(e, -ENOTSUP, "the protected header of the %s token is longer than an "
			       "algorithm needs", what);
	case -ENOSYS:
		return err_set(e, ret, "this realmtool was built without libcrypto: it cannot check "
			       "signatures");
	default:
		return err_set(e, ret, "libcrypto failed to check the %s token", what);
	}
}

int token_check_realm(const struct token *t, struct err *e)
{
	return check_signature("realm", &t->realm.part, &t->rak, e);
}

int token_check_platform(const struct token *t, const struct key_pub *pub, struct err *e)
{
	return check_signature("platform", &t->platform.part, pub, e);
}

static const struct {
	const char *name;
	enum realm_hash algo;
} hash_names[] = {
	{ "sha-256", REALM_SHA256 }, { "sha-384", REALM_SHA384 }, { "sha-512", REALM_SHA512 },
};

static bool hash_of(const struct token_blob *name, enum realm_hash *algo)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(hash_names); i++) {
		if (name->len == strlen(hash_names[i].name) &&
		    !memcmp(name->p, hash_names[i].name, name->len)) {
			*algo = hash_names[i].algo;
			return true;
		}
	}
	return false;
}

int token_check_binding(const struct token *t, struct err *e)
{
	const struct token_blob *rak = &t->realm.rak, *got = &t->platform.challenge;
	uint8_t want[REALM_HASH_MAX];
	enum realm_hash algo;
	int ret;

	if (!hash_of(&t->realm.rak_hash, &algo))
		return err_set(e, -ENOTSUP, "the hash algorithm of the realm's key is not known");
	ret = realm_hash2(algo, rak->p, rak->len, "", 0, want);
	if (ret < 0)
		return err_set(e, ret, "this realmtool was built without libcrypto: it cannot check "
			       "the binding");
	if (got->len != realm_hash_len(algo) || memcmp(got->p, want, got->len))
		return err_set(e, -EBADMSG, "the platform token vouches for another realm key: its "
			       "challenge is not the hash of this one");
	return 0;
}

#if defined(HAVE_CBOR) && defined(HAVE_CRYPTO)
#include <tinycbor/cbor.h>

/* ---- making ---------------------------------------------------------------------------------- */

static const char *hash_name(enum realm_hash algo)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(hash_names); i++)
		if (hash_names[i].algo == algo)
			return hash_names[i].name;
	return NULL;
}

/* A claim: label and value. Errors of the encoder stay: they are or'ed, and looked at once. */
static int claim_bytes(CborEncoder *map, int64_t label, const void *p, size_t len)
{
	return cbor_encode_int(map, label) | cbor_encode_byte_string(map, p, len);
}

static int claim_text(CborEncoder *map, int64_t label, const char *text)
{
	return cbor_encode_int(map, label) | cbor_encode_text_stringz(map, text);
}

static int claim_int(CborEncoder *map, int64_t label, int64_t value)
{
	return cbor_encode_int(map, label) | cbor_encode_int(map, value);
}

/* A COSE_Key with a public key of P-384 */
static int cose_key(const struct key *k, uint8_t *buf, size_t size, size_t *len)
{
	struct key_pub pub;
	CborEncoder e, map;
	int err;

	key_public(k, &pub);
	if (pub.len != KEY_P384_POINT)
		return -EIO;
	cbor_encoder_init(&e, buf, size, 0);
	err = cbor_encoder_create_map(&e, &map, 4);
	err |= claim_int(&map, COSE_KTY, COSE_KTY_EC2);
	err |= claim_int(&map, COSE_CRV, 2);		/* P-384 */
	err |= claim_bytes(&map, COSE_X, pub.point + 1, 48);
	err |= claim_bytes(&map, COSE_Y, pub.point + 49, 48);
	err |= cbor_encoder_close_container(&e, &map);
	*len = err ? 0 : cbor_encoder_get_buffer_size(&e, buf);
	return err ? -EIO : 0;
}

/* Tagged COSE_Sign1 over @payload, ES384 */
static int sign1(const struct key *k, const uint8_t *payload, size_t plen, uint8_t *buf,
		 size_t size, size_t *len)
{
	static const uint8_t protect[] = { 0xa1, COSE_HDR_ALG, 0x38, -1 - COSE_ES384 };
	const struct token_blob head = { protect, sizeof(protect) }, body = { payload, plen };
	uint8_t digest[REALM_HASH_MAX], sig[KEY_P384_SIG];
	CborEncoder e, array, map;
	int err;

	if (signed_digest(REALM_SHA384, &head, &body, digest) < 0 || key_sign(k, digest, sig) < 0)
		return -EIO;
	cbor_encoder_init(&e, buf, size, 0);
	err = cbor_encode_tag(&e, TAG_SIGN1);
	err |= cbor_encoder_create_array(&e, &array, 4);
	err |= cbor_encode_byte_string(&array, protect, sizeof(protect));
	err |= cbor_encoder_create_map(&array, &map, 0);
	err |= cbor_encoder_close_container(&array, &map);
	err |= cbor_encode_byte_string(&array, payload, plen);
	err |= cbor_encode_byte_string(&array, sig, sizeof(sig));
	err |= cbor_encoder_close_container(&e, &array);
	*len = err ? 0 : cbor_encoder_get_buffer_size(&e, buf);
	return err ? -EIO : 0;
}

/* Labels ascend: the deterministic order of RFC 8949. */
static int realm_claims(const struct token_request *rq, const uint8_t *rak, size_t rlen,
			uint8_t *buf, size_t size, size_t *len)
{
	bool v2 = rq->form == TOKEN_RMM_2_0;
	size_t n = realm_hash_len(rq->algo);
	CborEncoder e, map, rems;
	int err;

	cbor_encoder_init(&e, buf, size, 0);
	err = cbor_encoder_create_map(&e, &map, v2 ? 10 : 8);
	err |= claim_bytes(&map, CLAIM_CHALLENGE, rq->challenge, sizeof(rq->challenge));
	if (v2)
		err |= claim_bytes(&map, CLAIM_INSTANCE, rq->instance, sizeof(rq->instance));
	err |= claim_text(&map, CLAIM_PROFILE, v2 ? "tag:arm.com,2024:realm#2.0.0" :
			  "tag:arm.com,2023:realm#1.0.0");
	err |= claim_bytes(&map, CLAIM_RPV, rq->rpv, sizeof(rq->rpv));
	err |= claim_text(&map, CLAIM_REALM_HASH, hash_name(rq->algo));
	err |= claim_bytes(&map, CLAIM_RAK, rak, rlen);
	err |= claim_bytes(&map, CLAIM_RIM, rq->rim, n);
	err |= cbor_encode_int(&map, CLAIM_REMS);
	err |= cbor_encoder_create_array(&map, &rems, TOKEN_NR_REMS);
	for (unsigned int i = 0; i < TOKEN_NR_REMS; i++)
		err |= cbor_encode_byte_string(&rems, rq->rem[i], n);
	err |= cbor_encoder_close_container(&map, &rems);
	err |= claim_text(&map, CLAIM_RAK_HASH, "sha-256");
	if (v2)
		err |= claim_int(&map, CLAIM_MEC, 0);	/* shared: there is no memory encryption */
	err |= cbor_encoder_close_container(&e, &map);
	*len = err ? 0 : cbor_encoder_get_buffer_size(&e, buf);
	return err ? -EIO : 0;
}

/*
 * Nothing of it can be taken for a platform: the implementation says in words what it is, the
 * lifecycle is not "secured", and the one component was measured by nobody.
 */
static int platform_claims(const struct key *k, const uint8_t *rak, size_t rlen, uint8_t *buf,
			   size_t size, size_t *len)
{
	static const uint8_t zero[32];
	uint8_t challenge[REALM_HASH_MAX], id[TOKEN_ID - 1 + REALM_HASH_MAX] = { 1 };
	CborEncoder e, map, list, component;
	struct key_pub pub;
	int err;

	key_public(k, &pub);
	/* an instance is what has this key */
	if (realm_hash2(REALM_SHA256, rak, rlen, "", 0, challenge) < 0 ||
	    realm_hash2(REALM_SHA256, pub.point, pub.len, "", 0, id + 1) < 0)
		return -EIO;
	cbor_encoder_init(&e, buf, size, 0);
	err = cbor_encoder_create_map(&e, &map, 8);
	err |= claim_bytes(&map, CLAIM_CHALLENGE, challenge, 32);
	err |= claim_bytes(&map, CLAIM_INSTANCE, id, TOKEN_ID);
	err |= claim_text(&map, CLAIM_PROFILE, "tag:arm.com,2023:cca_platform#1.0.0");
	err |= claim_int(&map, CLAIM_LIFECYCLE, LIFECYCLE_TEST);
	err |= claim_bytes(&map, CLAIM_IMPLEMENTATION, TOKEN_REHEARSAL, strlen(TOKEN_REHEARSAL));
	err |= cbor_encode_int(&map, CLAIM_COMPONENTS);
	err |= cbor_encoder_create_array(&map, &list, 1);
	err |= cbor_encoder_create_map(&list, &component, 4);
	err |= claim_text(&component, 1, "realmtool, not measured");
	err |= claim_bytes(&component, 2, zero, sizeof(zero));
	err |= claim_text(&component, 4, REALMTOOL_VERSION);
	err |= claim_bytes(&component, 5, zero, sizeof(zero));
	err |= cbor_encoder_close_container(&list, &component);
	err |= cbor_encoder_close_container(&map, &list);
	err |= claim_bytes(&map, CLAIM_CONFIG, "emulated", strlen("emulated"));
	err |= claim_text(&map, CLAIM_HASH, "sha-256");
	err |= cbor_encoder_close_container(&e, &map);
	*len = err ? 0 : cbor_encoder_get_buffer_size(&e, buf);
	return err ? -EIO : 0;
}

int token_make(const struct token_request *rq, const struct key *realm, const struct key *platform,
	       uint8_t *buf, size_t *len, struct err *e)
{
	uint8_t rak[128], claims[1536], part[2][TOKEN_MAX / 2];
	size_t rlen, n, plen[2];
	CborEncoder enc, map, array;
	int err;

	if (cose_key(realm, rak, sizeof(rak), &rlen) < 0 ||
	    platform_claims(platform, rak, rlen, claims, sizeof(claims), &n) < 0 ||
	    sign1(platform, claims, n, part[0], sizeof(part[0]), &plen[0]) < 0 ||
	    realm_claims(rq, rak, rlen, claims, sizeof(claims), &n) < 0 ||
	    sign1(realm, claims, n, part[1], sizeof(part[1]), &plen[1]) < 0)
		return err_set(e, -EIO, "the attestation token cannot be signed");
	cbor_encoder_init(&enc, buf, TOKEN_MAX, 0);
	err = cbor_encode_tag(&enc, TAG_CCA);
	err |= cbor_encoder_create_map(&enc, &map, 2);
	for (unsigned int i = 0; i < 2; i++) {
		err |= cbor_encode_int(&map, i ? LABEL_REALM : LABEL_PLATFORM);
		err |= cbor_encoder_create_array(&map, &array, 2);
		err |= cbor_encode_int(&array, COAP_EAT_CWT);
		err |= cbor_encode_byte_string(&array, part[i], plen[i]);
		err |= cbor_encoder_close_container(&map, &array);
	}
	err |= cbor_encoder_close_container(&enc, &map);
	if (err)
		return err_set(e, -EIO, "the attestation token cannot be encoded");
	*len = cbor_encoder_get_buffer_size(&enc, buf);
	return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int bad(struct err *e, const char *what, const char *why)
{
	return err_set(e, -EINVAL, "no CCA token: %s %s", what, why);
}

/* A byte or text string of known length, where it stands. */
static bool blob(const CborValue *v, CborType type, struct token_blob *b)
{
	CborValue it = *v, next;
	CborError err;

	if (cbor_value_get_type(v) != type || !cbor_value_is_length_known(v) ||
	    cbor_value_begin_string_iteration(&it))
		return false;
	if (type == CborByteStringType) {
		err = cbor_value_get_byte_string_chunk(&it, &b->p, &b->len, &next);
	} else {
		const char *text;

		err = cbor_value_get_text_string_chunk(&it, &text, &b->len, &next);
		b->p = (const uint8_t *)text;
	}
	return !err && b->p;
}

/* Behind an item, with its tags and all that is in it. False: it is not well-formed. */
static bool next_item(CborValue *v)
{
	/* of a tag tinycbor steps over nothing but itself */
	while (cbor_value_is_tag(v))
		if (cbor_value_skip_tag(v))
			return false;
	return cbor_value_is_valid(v) && !cbor_value_advance(v);
}

/* The one item that fills @b, well-formed. */
static int open_item(const struct token_blob *b, CborParser *parser, CborValue *v, const char *what,
		     struct err *e)
{
	CborValue end;

	if (cbor_parser_init(b->p, b->len, 0, parser, v) || (end = *v, !next_item(&end)))
		return bad(e, what, "is not well-formed CBOR (cut short, or nested too deep)");
	if (cbor_value_get_next_byte(&end) != b->p + b->len)
		return bad(e, what, "has something behind its end");
	return 0;
}

enum kind { BYTES, TEXT, UINT, INT, MEC, COMPONENTS, REMS };

/* A claim: where its value goes, and where a bool says that it is there (0: nowhere). */
struct claim {
	int64_t label;
	enum kind kind;
	size_t off, has;
	const char *name;
};

#define P(field) offsetof(struct token, platform.field)
#define R(field) offsetof(struct token, realm.field)

static const struct claim platform_table[] = {
	{ CLAIM_CHALLENGE, BYTES, P(challenge), 0, "challenge" },
	{ CLAIM_INSTANCE, BYTES, P(instance), 0, "instance" },
	{ CLAIM_PROFILE, TEXT, P(profile), 0, "profile" },
	{ CLAIM_CLIENT, INT, P(client), P(has_client), "client" },
	{ CLAIM_LIFECYCLE, UINT, P(lifecycle), P(has_lifecycle), "lifecycle" },
	{ CLAIM_IMPLEMENTATION, BYTES, P(implementation), 0, "implementation" },
	{ CLAIM_COMPONENTS, COMPONENTS, 0, 0, "list of software" },
	{ CLAIM_SERVICE, TEXT, P(service), 0, "verification service" },
	{ CLAIM_CONFIG, BYTES, P(config), 0, "configuration" },
	{ CLAIM_HASH, TEXT, P(hash), 0, "hash algorithm" },
	{ CLAIM_MANUFACTURING, BYTES, P(manufacturing), 0, "manufacturing configuration" },
	{ CLAIM_PEERS, BYTES, P(peers), 0, "list of peer signers" },
	{ 0 }
};

static const struct claim realm_table[] = {
	{ CLAIM_CHALLENGE, BYTES, R(challenge), 0, "challenge" },
	{ CLAIM_INSTANCE, BYTES, R(instance), 0, "instance" },
	{ CLAIM_PROFILE, TEXT, R(profile), 0, "profile" },
	{ CLAIM_RPV, BYTES, R(rpv), 0, "personalization value" },
	{ CLAIM_REALM_HASH, TEXT, R(hash), 0, "hash algorithm" },
	{ CLAIM_RAK, BYTES, R(rak), 0, "public key" },
	{ CLAIM_RIM, BYTES, R(rim), 0, "initial measurement" },
	{ CLAIM_REMS, REMS, 0, 0, "extensible measurements" },
	{ CLAIM_RAK_HASH, TEXT, R(rak_hash), 0, "hash algorithm of its key" },
	{ CLAIM_MEC, MEC, 0, 0, "MEC policy" },
	{ CLAIM_LFA, INT, R(lfa), R(has_lfa), "LFA policy" },
	{ CLAIM_DEVICES, BYTES, R(devices), 0, "hash of the devices' tokens" },
	{ 0 }
};

static const struct claim component_table[] = {
	{ 1, TEXT, offsetof(struct token_component, type), 0, "type" },
	{ 2, BYTES, offsetof(struct token_component, measurement), 0, "measurement" },
	{ 4, TEXT, offsetof(struct token_component, version), 0, "version" },
	{ 5, BYTES, offsetof(struct token_component, signer), 0, "signer" },
	{ 6, TEXT, offsetof(struct token_component, hash), 0, "hash algorithm" },
	{ 0 }
};

static int read_map(CborValue *v, const struct claim *table, void *out, struct token_part *part,
		    const char *what, struct err *e);

static bool read_rems(CborValue *v, struct token *t)
{
	unsigned int n = 0;
	CborValue it;

	if (!cbor_value_is_array(v) || cbor_value_enter_container(v, &it))
		return false;
	for (; !cbor_value_at_end(&it); n++)
		if (n == TOKEN_NR_REMS || !blob(&it, CborByteStringType, &t->realm.rem[n]) ||
		    !next_item(&it))
			return false;
	return n == TOKEN_NR_REMS;
}

static int read_components(CborValue *v, struct token *t, struct err *e)
{
	CborValue it;

	if (!cbor_value_is_array(v) || cbor_value_enter_container(v, &it))
		return bad(e, "the platform token's list of software", "is no array");
	while (!cbor_value_at_end(&it)) {
		int ret;

		if (t->platform.nr_components == TOKEN_COMPONENTS_MAX)
			return bad(e, "the platform token's list of software", "is too long");
		ret = read_map(&it, component_table,
			       &t->platform.component[t->platform.nr_components++], NULL,
			       "the platform token's software", e);
		if (ret < 0)
			return ret;
		if (!next_item(&it))
			return bad(e, "the platform token's list of software", "is damaged");
	}
	return 0;
}

static int read_claim(CborValue *v, const struct claim *c, void *out, const char *what,
		      struct err *e)
{
	void *field = (char *)out + c->off;
	struct token *t = out;
	bool ok = false;

	switch (c->kind) {
	case BYTES:
		ok = blob(v, CborByteStringType, field);
		break;
	case TEXT:
		ok = blob(v, CborTextStringType, field);
		break;
	case UINT:
		ok = cbor_value_is_unsigned_integer(v) && !cbor_value_get_uint64(v, field);
		break;
	case INT:
		ok = cbor_value_is_integer(v) && !cbor_value_get_int64_checked(v, field);
		break;
	case MEC:
		/* a text before RMM 2.0 */
		if (cbor_value_is_integer(v))
			ok = t->realm.has_mec = !cbor_value_get_int64_checked(v, &t->realm.mec);
		else
			ok = blob(v, CborTextStringType, &t->realm.mec_text);
		break;
	case REMS:
		ok = read_rems(v, t);
		break;
	case COMPONENTS:
		return read_components(v, t, e);
	}
	if (!ok)
		return err_set(e, -EINVAL, "no CCA token: %s has a %s of the wrong type or number", what,
			       c->name);
	if (c->has)
		*(bool *)((char *)out + c->has) = true;
	return 0;
}

/* A map of claims, each at most once. */
static int read_map(CborValue *v, const struct claim *table, void *out, struct token_part *part,
		    const char *what, struct err *e)
{
	uint32_t seen = 0;
	CborValue it;

	if (!cbor_value_is_map(v) || cbor_value_enter_container(v, &it))
		return bad(e, what, "is no map");
	while (!cbor_value_at_end(&it)) {
		int64_t label = 0;
		unsigned int i = 0;
		int ret;

		if (cbor_value_is_integer(&it) && !cbor_value_get_int64_checked(&it, &label))
			while (table[i].label && table[i].label != label)
				i++;
		else
			label = 0;
		if (!next_item(&it))
			return bad(e, what, "is damaged");
		if (label && table[i].label) {
			if (seen & UINT32_C(1) << i)
				return err_set(e, -EINVAL, "no CCA token: %s has its %s twice", what,
					       table[i].name);
			seen |= UINT32_C(1) << i;
			ret = read_claim(&it, &table[i], out, what, e);
			if (ret < 0)
				return ret;
		} else if (part) {
			if (part->others < TOKEN_OTHERS_MAX)
				part->other[part->others] = label;
			part->others++;
		}
		if (!next_item(&it))
			return bad(e, what, "is damaged");
	}
	return 0;
}

static int read_alg(struct token_part *part, const char *what, struct err *e)
{
	static const struct claim header[] = {
		{ COSE_HDR_ALG, INT, offsetof(struct token_part, alg), 0, "algorithm" },
		{ 0 }
	};
	CborParser parser;
	CborValue v;
	int ret;

	if (!part->protect.len)
		return bad(e, what, "does not say how it is signed");
	ret = open_item(&part->protect, &parser, &v, what, e);
	if (!ret)
		ret = read_map(&v, header, part, NULL, what, e);
	if (!ret && !part->alg)
		ret = bad(e, what, "does not say how it is signed");
	return ret;
}

/* COSE_Sign1, with its tag or without */
static int read_sign1(const struct token_blob *b, const struct claim *table, struct token *t,
		      struct token_part *part, const char *what, struct err *e)
{
	CborParser parser;
	CborValue v, it;
	CborTag tag;
	size_t n;
	int ret;

	ret = open_item(b, &parser, &v, what, e);
	if (ret < 0)
		return ret;
	if (cbor_value_is_tag(&v) && (cbor_value_get_tag(&v, &tag) || tag != TAG_SIGN1 ||
				      cbor_value_skip_tag(&v)))
		return bad(e, what, "has a tag that is not COSE_Sign1's (18)");
	if (!cbor_value_is_array(&v) || cbor_value_get_array_length(&v, &n) || n != 4 ||
	    cbor_value_enter_container(&v, &it) ||
	    !blob(&it, CborByteStringType, &part->protect) || !next_item(&it) ||
	    !cbor_value_is_map(&it) || !next_item(&it) ||
	    !blob(&it, CborByteStringType, &part->payload) || !next_item(&it) ||
	    !blob(&it, CborByteStringType, &part->sig))
		return bad(e, what, "is no COSE_Sign1");
	ret = read_alg(part, what, e);
	if (!ret)
		ret = open_item(&part->payload, &parser, &v, what, e);
	return ret < 0 ? ret : read_map(&v, table, t, part, what, e);
}

/* [263, bstr]; of older tokens the bstr */
static bool read_member(CborValue *v, struct token_blob *b)
{
	uint64_t type;
	CborValue it;
	size_t n;

	if (cbor_value_is_byte_string(v))
		return blob(v, CborByteStringType, b);
	return cbor_value_is_array(v) && !cbor_value_get_array_length(v, &n) && n == 2 &&
	       !cbor_value_enter_container(v, &it) && cbor_value_is_unsigned_integer(&it) &&
	       !cbor_value_get_uint64(&it, &type) && type == COAP_EAT_CWT &&
	       next_item(&it) && blob(&it, CborByteStringType, b);
}

static int read_outer(struct token *t, const struct token_blob *all, struct token_blob *platform,
		      struct token_blob *realm, struct err *e)
{
	CborParser parser;
	CborValue v, it;
	int ret;

	ret = open_item(all, &parser, &v, "the input", e);
	if (ret < 0)
		return ret;
	if (!cbor_value_is_tag(&v) || cbor_value_get_tag(&v, &t->tag) ||
	    (t->tag != TAG_CCA && t->tag != TAG_CCA_OLD) || cbor_value_skip_tag(&v))
		return bad(e, "the input", "does not begin with its tag, 907 or 399");
	if (!cbor_value_is_map(&v) || cbor_value_enter_container(&v, &it))
		return bad(e, "what is tagged", "is no map");
	while (!cbor_value_at_end(&it)) {
		struct token_blob *b = NULL;
		int64_t label;

		if (cbor_value_is_integer(&it) && !cbor_value_get_int64_checked(&it, &label))
			b = label == LABEL_PLATFORM ? platform :
			    label == LABEL_REALM ? realm : NULL;
		if (!next_item(&it))
			return bad(e, "its map", "is damaged");
		if (b && b->p)
			return bad(e, "its map", "has one of the two tokens twice");
		if (b && !read_member(&it, b))
			return bad(e, b == realm ? "the realm token" : "the platform token",
				   "is neither [263, bstr] nor a bstr");
		if (!next_item(&it))
			return bad(e, "its map", "is damaged");
	}
	if (!platform->p)
		return bad(e, "the platform token (44234)", "is not there");
	if (!realm->p)
		return bad(e, "the realm token (44241)", "is not there");
	return 0;
}

/* The realm's key: a COSE_Key, or of older tokens the point alone. */
static int read_rak(struct token *t, struct err *e)
{
	static const char what[] = "the realm token's key";
	struct cose {
		int64_t kty, crv;
		struct token_blob x, y;
	} k = { 0 };
	static const struct claim table[] = {
		{ COSE_KTY, INT, offsetof(struct cose, kty), 0, "type" },
		{ COSE_CRV, INT, offsetof(struct cose, crv), 0, "curve" },
		{ COSE_X, BYTES, offsetof(struct cose, x), 0, "x" },
		{ COSE_Y, BYTES, offsetof(struct cose, y), 0, "y" },
		{ 0 }
	};
	const struct token_blob *b = &t->realm.rak;
	CborParser parser;
	CborValue v;
	size_t n;
	int ret;

	if (b->len == KEY_P384_POINT && b->p[0] == 4) {
		t->rak.curve = KEY_P384;
		t->rak.len = b->len;
		memcpy(t->rak.point, b->p, b->len);
		return 0;
	}
	ret = open_item(b, &parser, &v, what, e);
	if (!ret)
		ret = read_map(&v, table, &k, NULL, what, e);
	if (ret < 0)
		return ret;
	/* curves 1 to 3: P-256, P-384, P-521 */
	if (k.kty != COSE_KTY_EC2 || k.crv < 1 || k.crv > 3)
		return bad(e, what, "is not on P-256, P-384 or P-521");
	t->rak.curve = KEY_P256 + (k.crv - 1);
	n = key_coord_len(t->rak.curve);
	if (k.x.len != n || k.y.len != n)
		return bad(e, what, "has coordinates of another length than its curve's");
	t->rak.len = 1 + 2 * n;
	t->rak.point[0] = 4;
	memcpy(t->rak.point + 1, k.x.p, n);
	memcpy(t->rak.point + 1 + n, k.y.p, n);
	return 0;
}

/* What must be there and how long it is, in both tokens. */
static int check_claims(const struct token *t, struct err *e)
{
	const struct {
		const struct token_blob *b;
		size_t len;		/* 0: any */
		const char *what;
	} must[] = {
		{ &t->platform.challenge, 0, "the platform token's challenge" },
		{ &t->platform.implementation, 32, "the platform token's implementation" },
		{ &t->platform.instance, TOKEN_ID, "the platform token's instance" },
		{ &t->realm.challenge, TOKEN_CHALLENGE, "the realm token's challenge" },
		{ &t->realm.rpv, TOKEN_RPV, "the realm token's personalization value" },
		{ &t->realm.hash, 0, "the realm token's hash algorithm" },
		{ &t->realm.rak, 0, "the realm token's key" },
		{ &t->realm.rak_hash, 0, "the hash algorithm of the realm token's key" },
		{ &t->realm.rim, 0, "the realm token's initial measurement" },
		{ &t->realm.rem[0], 0, "the realm token's list of extensible measurements" },
	};
	enum realm_hash algo;

	for (unsigned int i = 0; i < ARRAY_SIZE(must); i++) {
		if (!must[i].b->p)
			return bad(e, must[i].what, "is not there");
		if (!must[i].b->len || (must[i].len && must[i].b->len != must[i].len))
			return err_set(e, -EINVAL, "no CCA token: %s has %zu bytes", must[i].what,
				       must[i].b->len);
	}
	if (!t->platform.has_lifecycle)
		return bad(e, "the platform token's lifecycle", "is not there");
	if (!hash_of(&t->realm.rak_hash, &algo))
		return bad(e, "the hash algorithm of the realm token's key", "is not known");
	if (!hash_of(&t->realm.hash, &algo))
		return bad(e, "the realm token's hash algorithm", "is not known");
	for (int i = -1; i < TOKEN_NR_REMS; i++) {
		const struct token_blob *m = i < 0 ? &t->realm.rim : &t->realm.rem[i];

		/* older ones are as long as the largest, with zeros behind the digest */
		if (m->len != realm_hash_len(algo) && m->len != REALM_HASH_MAX)
			return err_set(e, -EINVAL, "no CCA token: a measurement of the realm token has "
				       "%zu bytes, its hash algorithm makes %u", m->len,
				       realm_hash_len(algo));
	}
	return 0;
}

int token_read(struct token *t, const uint8_t *buf, size_t len, struct err *e)
{
	const struct token_blob all = { buf, len };
	struct token_blob platform = { 0 }, realm = { 0 };
	int ret;

	memset(t, 0, sizeof(*t));
	if (!len)
		return bad(e, "the input", "is empty");
	if (len > TOKEN_FILE_MAX)
		return err_set(e, -EINVAL, "no CCA token: the input has more than %u bytes",
			       TOKEN_FILE_MAX);
	ret = read_outer(t, &all, &platform, &realm, e);
	if (!ret)
		ret = read_sign1(&platform, platform_table, t, &t->platform.part,
				 "the platform token", e);
	if (!ret)
		ret = read_sign1(&realm, realm_table, t, &t->realm.part, "the realm token", e);
	if (!ret)
		ret = check_claims(t, e);
	return ret < 0 ? ret : read_rak(t, e);
}

#else /* !(HAVE_CBOR && HAVE_CRYPTO) */

static int not_built(struct err *e)
{
	return err_set(e, -ENOSYS, "this realmtool was built without tinycbor or libcrypto: it has no "
		       "attestation tokens");
}

int token_make(const struct token_request *rq, const struct key *realm, const struct key *platform,
	       uint8_t *buf, size_t *len, struct err *e)
{
	return not_built(e);
}

int token_read(struct token *t, const uint8_t *buf, size_t len, struct err *e)
{
	return not_built(e);
}

#endif
