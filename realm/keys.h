/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ECDSA keys, from libcrypto: the test keys (P-384) that sign an emulated realm's tokens, and the
 * public keys of any token.
 */
#ifndef REALM_KEYS_H
#define REALM_KEYS_H

#include "vmm/core/types.h"

struct err;
struct key;			/* a private key on P-384 */

enum key_curve { KEY_P256, KEY_P384, KEY_P521 };

#define KEY_POINT_MAX	133	/* 4, x and y of P-521 */
#define KEY_P384_POINT	97
#define KEY_P384_SIG	96

/**
 * struct key_pub - a public key
 * @point: 4, x, y (SEC 1, uncompressed); not yet known to be on the curve
 */
struct key_pub {
	enum key_curve curve;
	uint8_t point[KEY_POINT_MAX];
	size_t len;
};

/** key_coord_len() - bytes of a coordinate, and of each half of a signature */
size_t key_coord_len(enum key_curve c);

/**
 * key_make() - a new key, in memory only
 * key_open() - the key in @dir/@name (PEM, not encrypted). If there is none it is made: for its
 *              owner only, and whole or not at all, whoever else does the same now. @dir too.
 *
 * Return: 0, or a negative errno with @e filled. -ENOSYS: built without libcrypto.
 */
int key_make(struct key **k, struct err *e);
int key_open(const char *dir, const char *name, struct key **k, struct err *e);
void key_free(struct key *k);

/** key_public() - the public half */
void key_public(const struct key *k, struct key_pub *pub);

/**
 * key_sign() - ECDSA
 * @digest: SHA-384 of what is signed, 48 bytes
 * @sig:    r and s, KEY_P384_SIG bytes
 *
 * Return: 0, -EIO, -ENOSYS.
 */
int key_sign(const struct key *k, const uint8_t *digest, uint8_t *sig);

/**
 * key_verify() - ECDSA
 * @sig: r and s
 *
 * Return: 0: good; -EBADMSG: not made by this key over this digest; -EINVAL: the key is no point
 * of its curve; -ENOSYS.
 */
int key_verify(const struct key_pub *pub, const uint8_t *digest, size_t dlen, const uint8_t *sig,
	       size_t slen);

/** key_pub_load() - a public key, or the public half of a private one, from a PEM file */
int key_pub_load(const char *path, struct key_pub *pub, struct err *e);

#endif
