/* SPDX-License-Identifier: BSD-3-Clause */
/* The hash algorithms of a realm, from libcrypto. */
#ifndef REALM_HASH_H
#define REALM_HASH_H

#include "vmm/core/types.h"

/* Values of RmiHashAlgorithm; SHA-384 came with RMM 2.0. */
enum realm_hash {
	REALM_SHA256 = 0,
	REALM_SHA512 = 1,
	REALM_SHA384 = 2,
};

#define REALM_HASH_MAX 64	/* bytes a measurement occupies whatever the algorithm */

/** realm_hash_len() - digest length in bytes */
unsigned int realm_hash_len(enum realm_hash algo);
/** realm_hash_name() - "sha-256", as tokens and reference values have it */
const char *realm_hash_name(enum realm_hash algo);

/**
 * realm_hash2() - digest of two pieces of memory, one after the other
 * @out: REALM_HASH_MAX bytes; those behind the digest are zero
 *
 * Return: 0; -ENOSYS: built without libcrypto.
 */
int realm_hash2(enum realm_hash algo, const void *a, size_t alen, const void *b, size_t blen,
		uint8_t *out);

/**
 * struct realm_hash_ctx - a digest in the making; may be copied
 * @opaque: the library's state (SHA512_CTX has 216 bytes)
 */
struct realm_hash_ctx {
	enum realm_hash algo;
	uint64_t opaque[28];
};

/**
 * realm_hash_init(), realm_hash_update(), realm_hash_final() - a digest of data that comes in parts
 * @out: as for realm_hash2()
 *
 * Built without libcrypto the digest is zero; realm_hash2() tells.
 */
void realm_hash_init(struct realm_hash_ctx *c, enum realm_hash algo);
void realm_hash_update(struct realm_hash_ctx *c, const void *p, size_t len);
void realm_hash_final(struct realm_hash_ctx *c, uint8_t *out);

#endif
