// SPDX-License-Identifier: BSD-3-Clause
#include "realm/corim.h"

#include <errno.h>
#include <string.h>

#include "vmm/core/err.h"
#include "vmm/core/parse.h"
#include "vmm/core/json.h"

/* IANA "Named Information Hash Algorithm": what verifiers know a digest's algorithm by */
static unsigned int hash_number(enum realm_hash algo)
{
	return algo == REALM_SHA256 ? 1 : algo == REALM_SHA384 ? 7 : 8;
}

#define TEXT_SIZE	BASE64_SIZE(REALM_HASH_MAX)

/* Identifiers: the same launch has the same ones, another launch others. */
#define ID_SIZE		(sizeof("cca-realm-corim-") + 2 * REALM_HASH_MAX)

static void identifier(const struct refvals *v, const char *prefix, char id[ID_SIZE])
{
	size_t n = strlen(prefix);

	memcpy(id, prefix, n + 1);
	for (unsigned int i = 0; i < realm_hash_len(v->algo); i++)
		snprintf(id + n + 2 * i, 3, "%02x", v->rim[i]);
}

static void rem_key(unsigned int i, char key[16])
{
	snprintf(key, 16, "cca.rem%u", i);
}

#ifdef HAVE_CBOR
#include <tinycbor/cbor.h>

#define TAG_CORIM	501
#define TAG_COMID	506
#define TAG_BYTES	560
#define TAG_URI		32

/* Labels of the maps, from the CDDL of draft-ietf-rats-corim. */
enum {
	CORIM_ID = 0, CORIM_TAGS = 1, CORIM_PROFILES = 3,
	COMID_IDENTITY = 1, COMID_TRIPLES = 4,
	IDENTITY_ID = 0,
	TRIPLES_REFERENCE = 0,
	ENVIRONMENT_CLASS = 0,
	CLASS_ID = 0,
	MEASUREMENT_KEY = 0, MEASUREMENT_VALUE = 1,
	VALUE_DIGESTS = 2, VALUE_RAW = 4,
};

/* { label: value }, opened: the outer map with one member, and that member's label */
static int open_single(CborEncoder *outer, CborEncoder *map, unsigned int label)
{
	return cbor_encoder_create_map(outer, map, 1) | cbor_encode_uint(map, label);
}

static int tagged_bytes(CborEncoder *e, const uint8_t *p, size_t len)
{
	return cbor_encode_tag(e, TAG_BYTES) | cbor_encode_byte_string(e, p, len);
}

/* { 0: key, 1: { 2: [[algorithm, digest]] } } */
static int digest(CborEncoder *list, const char *key, enum realm_hash algo, const uint8_t *value)
{
	CborEncoder m, mval, digests, one;
	int err;

	err = cbor_encoder_create_map(list, &m, 2);
	err |= cbor_encode_uint(&m, MEASUREMENT_KEY) | cbor_encode_text_stringz(&m, key);
	err |= cbor_encode_uint(&m, MEASUREMENT_VALUE) | open_single(&m, &mval, VALUE_DIGESTS);
	err |= cbor_encoder_create_array(&mval, &digests, 1);
	err |= cbor_encoder_create_array(&digests, &one, 2);
	err |= cbor_encode_uint(&one, hash_number(algo));
	err |= cbor_encode_byte_string(&one, value, realm_hash_len(algo));
	err |= cbor_encoder_close_container(&digests, &one);
	err |= cbor_encoder_close_container(&mval, &digests);
	err |= cbor_encoder_close_container(&m, &mval);
	return err | cbor_encoder_close_container(list, &m);
}

/* { 0: "cca.rpv", 1: { 4: 560(bytes) } } */
static int rpv(CborEncoder *list, const uint8_t *value)
{
	CborEncoder m, mval;
	int err;

	err = cbor_encoder_create_map(list, &m, 2);
	err |= cbor_encode_uint(&m, MEASUREMENT_KEY) | cbor_encode_text_stringz(&m, "cca.rpv");
	err |= cbor_encode_uint(&m, MEASUREMENT_VALUE) | open_single(&m, &mval, VALUE_RAW);
	err |= tagged_bytes(&mval, value, RSI_RPV_SIZE);
	err |= cbor_encoder_close_container(&m, &mval);
	return err | cbor_encoder_close_container(list, &m);
}

static int measurements(CborEncoder *triple, const struct refvals *v)
{
	unsigned int n = 1 + __builtin_popcount(v->rem_set) + v->rpv_set;
	CborEncoder list;
	char key[16];
	int err;

	err = cbor_encoder_create_array(triple, &list, n);
	err |= digest(&list, "cca.rim", v->algo, v->rim);
	for (unsigned int i = 0; i < RSI_NR_REMS; i++) {
		if (!(v->rem_set & 1U << i))
			continue;
		rem_key(i, key);
		err |= digest(&list, key, v->algo, v->rem[i]);
	}
	if (v->rpv_set)
		err |= rpv(&list, v->rpv);
	return err | cbor_encoder_close_container(triple, &list);
}

/* { 1: { 0: tag-id }, 4: { 0: [[ environment, measurements ]] } } */
static int comid(const struct refvals *v, uint8_t *buf, size_t size, size_t *len)
{
	CborEncoder e, map, sub, list, triple, env, class;
	char id[ID_SIZE];
	int err;

	identifier(v, "cca-realm-comid-", id);
	cbor_encoder_init(&e, buf, size, 0);
	err = cbor_encoder_create_map(&e, &map, 2);
	err |= cbor_encode_uint(&map, COMID_IDENTITY) | open_single(&map, &sub, IDENTITY_ID);
	err |= cbor_encode_text_stringz(&sub, id);
	err |= cbor_encoder_close_container(&map, &sub);
	err |= cbor_encode_uint(&map, COMID_TRIPLES) | open_single(&map, &sub, TRIPLES_REFERENCE);
	err |= cbor_encoder_create_array(&sub, &list, 1);
	err |= cbor_encoder_create_array(&list, &triple, 2);
	err |= open_single(&triple, &env, ENVIRONMENT_CLASS) | open_single(&env, &class, CLASS_ID);
	err |= tagged_bytes(&class, v->rim, realm_hash_len(v->algo));
	err |= cbor_encoder_close_container(&env, &class);
	err |= cbor_encoder_close_container(&triple, &env);
	err |= measurements(&triple, v);
	err |= cbor_encoder_close_container(&list, &triple);
	err |= cbor_encoder_close_container(&sub, &list);
	err |= cbor_encoder_close_container(&map, &sub);
	err |= cbor_encoder_close_container(&e, &map);
	*len = err ? 0 : cbor_encoder_get_buffer_size(&e, buf);
	return err;
}

/* 501({ 0: id, 1: [506(bstr)], 3: 32(profile) }) */
int corim_cbor(const struct refvals *v, uint8_t *buf, size_t size, size_t *len, struct err *e)
{
	uint8_t inner[CORIM_MAX];
	CborEncoder enc, map, tags;
	char id[ID_SIZE];
	size_t ilen;
	int err;

	identifier(v, "cca-realm-corim-", id);
	err = comid(v, inner, sizeof(inner), &ilen);
	cbor_encoder_init(&enc, buf, size, 0);
	err |= cbor_encode_tag(&enc, TAG_CORIM);
	err |= cbor_encoder_create_map(&enc, &map, 3);
	err |= cbor_encode_uint(&map, CORIM_ID) | cbor_encode_text_stringz(&map, id);
	err |= cbor_encode_uint(&map, CORIM_TAGS) | cbor_encoder_create_array(&map, &tags, 1);
	err |= cbor_encode_tag(&tags, TAG_COMID) | cbor_encode_byte_string(&tags, inner, ilen);
	err |= cbor_encoder_close_container(&map, &tags);
	err |= cbor_encode_uint(&map, CORIM_PROFILES) | cbor_encode_tag(&map, TAG_URI);
	err |= cbor_encode_text_stringz(&map, CORIM_PROFILE);
	err |= cbor_encoder_close_container(&enc, &map);
	if (err)
		return err_set(e, -ENOBUFS, "the CoRIM does not fit into %zu bytes", size);
	*len = cbor_encoder_get_buffer_size(&enc, buf);
	return 0;
}

#else

int corim_cbor(const struct refvals *v, uint8_t *buf, size_t size, size_t *len, struct err *e)
{
	return err_set(e, -ENOSYS, "this realmtool was built without tinycbor: it writes no CoRIM");
}

#endif

/* ---- JSON ------------------------------------------------------------------------------------ */

static void typed_bytes(struct json *j, const char *key, const uint8_t *p, size_t len)
{
	char text[TEXT_SIZE];

	format_base64(p, len, false, text);
	json_object_begin(j, key);
	json_str(j, "type", "bytes");
	json_str(j, "value", text);
	json_object_end(j);
}

static void open_measurement(struct json *j, const char *key)
{
	json_object_begin(j, NULL);
	json_object_begin(j, "key");
	json_str(j, "type", "string");
	json_str(j, "value", key);
	json_object_end(j);
	json_object_begin(j, "value");
}

static void json_digest(struct json *j, const char *key, enum realm_hash algo, const uint8_t *value)
{
	char text[TEXT_SIZE];

	format_base64(value, realm_hash_len(algo), true, text);
	open_measurement(j, key);
	json_array_begin(j, "digests");
	json_array_begin(j, NULL);
	json_u64(j, NULL, hash_number(algo));
	json_str(j, NULL, text);
	json_array_end(j);
	json_array_end(j);
	json_object_end(j);
	json_object_end(j);
}

void corim_comid_json(const struct refvals *v, FILE *f)
{
	struct json j = { .f = f };
	char id[ID_SIZE], key[16];

	identifier(v, "cca-realm-comid-", id);
	json_object_begin(&j, NULL);
	json_object_begin(&j, "tag-identity");
	json_str(&j, "id", id);
	json_u64(&j, "version", 0);
	json_object_end(&j);
	json_object_begin(&j, "triples");
	json_array_begin(&j, "reference-values");
	json_object_begin(&j, NULL);
	json_object_begin(&j, "environment");
	json_object_begin(&j, "class");
	typed_bytes(&j, "id", v->rim, realm_hash_len(v->algo));
	json_object_end(&j);
	json_object_end(&j);
	json_array_begin(&j, "measurements");
	json_digest(&j, "cca.rim", v->algo, v->rim);
	for (unsigned int i = 0; i < RSI_NR_REMS; i++) {
		if (!(v->rem_set & 1U << i))
			continue;
		rem_key(i, key);
		json_digest(&j, key, v->algo, v->rem[i]);
	}
	if (v->rpv_set) {
		open_measurement(&j, "cca.rpv");
		typed_bytes(&j, "raw-value", v->rpv, RSI_RPV_SIZE);
		json_object_end(&j);
		json_object_end(&j);
	}
	json_array_end(&j);
	json_object_end(&j);
	json_array_end(&j);
	json_object_end(&j);
	json_object_end(&j);
}

void corim_rvps_json(const struct refvals *v, FILE *f)
{
	struct json j = { .f = f };
	char text[TEXT_SIZE];

	format_base64(v->rim, realm_hash_len(v->algo), false, text);
	json_object_begin(&j, NULL);
	json_array_begin(&j, "cca.realm.cca-realm-initial-measurement");
	json_str(&j, NULL, text);
	json_array_end(&j);
	json_object_end(&j);
}

/* The store knows no "any": measurements and RPV that are not given are zero, as at the start. */
void corim_store_json(const struct refvals *v, FILE *f)
{
	static const uint8_t zero[REALM_HASH_MAX];
	struct json j = { .f = f };
	size_t n = realm_hash_len(v->algo);

	json_object_begin(&j, NULL);
	json_array_begin(&j, "platform");
	json_array_end(&j);
	json_array_begin(&j, "realm");
	json_object_begin(&j, NULL);
	json_hex(&j, "initial-measurement", v->rim, n);
	json_str(&j, "rak-hash-algorithm", "sha-256");
	json_array_begin(&j, "extensible-measurements");
	for (unsigned int i = 0; i < RSI_NR_REMS; i++)
		json_hex(&j, NULL, v->rem_set & 1U << i ? v->rem[i] : zero, n);
	json_array_end(&j);
	json_hex(&j, "personalization-value", v->rpv_set ? v->rpv : zero, RSI_RPV_SIZE);
	json_object_end(&j);
	json_array_end(&j);
	json_object_end(&j);
}
