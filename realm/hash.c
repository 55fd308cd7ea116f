// SPDX-License-Identifier: BSD-3-Clause
/*
 * The low-level SHA calls of libcrypto: the EVP layer in front of them would set up providers and
 * configuration files, which costs more than all the hashing a launch needs.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "realm/hash.h"

#include <errno.h>
#include <string.h>

#ifdef HAVE_CRYPTO
#include <openssl/sha.h>
#endif

unsigned int realm_hash_len(enum realm_hash algo)
{
	return algo == REALM_SHA512 ? 64 : algo == REALM_SHA384 ? 48 : 32;
}

const char *realm_hash_name(enum realm_hash algo)
{
	return algo == REALM_SHA512 ? "sha-512" : algo == REALM_SHA384 ? "sha-384" : "sha-256";
}

#ifdef HAVE_CRYPTO

_Static_assert(sizeof(SHA256_CTX) <= sizeof(((struct realm_hash_ctx *)0)->opaque), "room");
_Static_assert(sizeof(SHA512_CTX) <= sizeof(((struct realm_hash_ctx *)0)->opaque), "room");

void realm_hash_init(struct realm_hash_ctx *c, enum realm_hash algo)
{
	c->algo = algo;
	if (algo == REALM_SHA256)
		SHA256_Init((SHA256_CTX *)c->opaque);
	else if (algo == REALM_SHA512)
		SHA512_Init((SHA512_CTX *)c->opaque);
	else
		SHA384_Init((SHA512_CTX *)c->opaque);
}

void realm_hash_update(struct realm_hash_ctx *c, const void *p, size_t len)
{
	if (c->algo == REALM_SHA256)
		SHA256_Update((SHA256_CTX *)c->opaque, p, len);
	else
		SHA512_Update((SHA512_CTX *)c->opaque, p, len);
}

void realm_hash_final(struct realm_hash_ctx *c, uint8_t *out)
{
	memset(out, 0, REALM_HASH_MAX);
	if (c->algo == REALM_SHA256)
		SHA256_Final(out, (SHA256_CTX *)c->opaque);
	else	/* writes as many bytes as the initialisation chose */
		SHA512_Final(out, (SHA512_CTX *)c->opaque);
}

int realm_hash2(enum realm_hash algo, const void *a, size_t alen, const void *b, size_t blen,
		uint8_t *out)
{
	struct realm_hash_ctx c;

	realm_hash_init(&c, algo);
	realm_hash_update(&c, a, alen);
	if (blen)
		realm_hash_update(&c, b, blen);
	realm_hash_final(&c, out);
	return 0;
}

#else

void realm_hash_init(struct realm_hash_ctx *c, enum realm_hash algo)
{
	c->algo = algo;
}

void realm_hash_update(struct realm_hash_ctx *c, const void *p, size_t len)
{
	(void)c;
	(void)p;
	(void)len;
}

void realm_hash_final(struct realm_hash_ctx *c, uint8_t *out)
{
	(void)c;
	memset(out, 0, REALM_HASH_MAX);
}

int realm_hash2(enum realm_hash algo, const void *a, size_t alen, const void *b, size_t blen,
		uint8_t *out)
{
	(void)algo;
	(void)a;
	(void)alen;
	(void)b;
	(void)blen;
	memset(out, 0, REALM_HASH_MAX);
	return -ENOSYS;
}

#endif
