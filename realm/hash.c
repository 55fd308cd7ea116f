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

int realm_hash2(enum realm_hash algo, const void *a, size_t alen, const void *b, size_t blen,
		uint8_t *out)
{
	memset(out, 0, REALM_HASH_MAX);
#ifdef HAVE_CRYPTO
	if (algo == REALM_SHA256) {
		SHA256_CTX c;

		SHA256_Init(&c);
		SHA256_Update(&c, a, alen);
		SHA256_Update(&c, b, blen);
		SHA256_Final(out, &c);
	} else {
		SHA512_CTX c;

		if (algo == REALM_SHA512)
			SHA512_Init(&c);
		else
			SHA384_Init(&c);
		SHA512_Update(&c, a, alen);
		SHA512_Update(&c, b, blen);
		/* writes as many bytes as the initialisation chose */
		SHA512_Final(out, &c);
	}
	return 0;
#else
	(void)a;
	(void)alen;
	(void)b;
	(void)blen;
	return -ENOSYS;
#endif
}
