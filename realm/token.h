/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CCA attestation tokens: made for emulated realms, read and checked for any realm. A CCA token
 * holds two signed tokens: the platform's, and the realm's, whose key the platform's vouches for.
 *
 * Source: RMM specification (Arm DEN0137) 1.0 and 2.0-bet2, A7.2; draft-ffm-rats-cca-token.
 */
#ifndef REALM_TOKEN_H
#define REALM_TOKEN_H

#include "realm/hash.h"
#include "realm/keys.h"

struct err;

#define TOKEN_MAX		4096	/* of ours; it has about 1300 bytes */
#define TOKEN_FILE_MAX		65536	/* of anybody's */
#define TOKEN_CHALLENGE		64
#define TOKEN_RPV		64
#define TOKEN_ID		33	/* an EAT UEID: its type, 32 bytes */
#define TOKEN_NR_REMS		4

/* The implementation of a platform that is none: every token of an emulated realm has it. */
#define TOKEN_REHEARSAL		"realmtool rehearsal: NO SECURITY"

/* What a token of an emulated realm says of itself: the claims of which RMM. */
enum token_form {
	TOKEN_RMM_1_0,		/* tag:arm.com,2023:realm#1.0.0 */
	TOKEN_RMM_2_0,		/* tag:arm.com,2024:realm#2.0.0: instance and MEC policy too */
};

/**
 * struct token_request - what a realm's token shall say
 * @instance: of this realm, the first byte 1 (random); only said with TOKEN_RMM_2_0
 * @rim:      and @rem: realm_hash_len(@algo) bytes each count
 */
struct token_request {
	enum token_form form;
	uint8_t challenge[TOKEN_CHALLENGE];
	uint8_t instance[TOKEN_ID];
	uint8_t rpv[TOKEN_RPV];
	enum realm_hash algo;
	uint8_t rim[REALM_HASH_MAX];
	uint8_t rem[TOKEN_NR_REMS][REALM_HASH_MAX];
};

/**
 * token_make() - a CCA token of an emulated realm
 * @realm, @platform: keys that sign
 * @buf: TOKEN_MAX bytes
 *
 * The platform token is a rehearsal's: TOKEN_REHEARSAL, not secured.
 *
 * Return: 0; -ENOSYS: built without tinycbor or libcrypto; -EIO: libcrypto failed.
 */
int token_make(const struct token_request *rq, const struct key *realm, const struct key *platform,
	       uint8_t *buf, size_t *len, struct err *e);

/* Bytes inside of the token that was read; p is NULL if the claim is not there. */
struct token_blob {
	const uint8_t *p;
	size_t len;
};

/**
 * struct token_part - one of the two signed tokens
 * @alg:     COSE algorithm: -7 ES256, -35 ES384, -36 ES512
 * @protect: protected header; @payload: the claims; @sig: r and s
 * @others:  claims that are not in the tables below; @other: labels of the first of them
 */
#define TOKEN_OTHERS_MAX	8
struct token_part {
	int64_t alg;
	struct token_blob protect, payload, sig;
	unsigned int others;
	int64_t other[TOKEN_OTHERS_MAX];
};

struct token_component {		/* software of the platform */
	struct token_blob type, measurement, version, signer, hash;
};

#define TOKEN_COMPONENTS_MAX	32

/**
 * struct token - a CCA token that was read
 * @tag:  907, or 399 of older ones
 * @rak:  key of the realm token, from its claims
 *
 * Texts are not checked UTF-8: whoever prints them escapes.
 */
struct token {
	uint64_t tag;
	struct {
		struct token_part part;
		struct token_blob profile, challenge, implementation, instance, config, service,
			hash, manufacturing, peers;
		bool has_lifecycle, has_client;
		uint64_t lifecycle;
		int64_t client;
		unsigned int nr_components;
		struct token_component component[TOKEN_COMPONENTS_MAX];
	} platform;
	struct {
		struct token_part part;
		struct token_blob profile, challenge, instance, rpv, hash, rak, rim,
			rem[TOKEN_NR_REMS], rak_hash, devices;
		bool has_mec, has_lfa;
		struct token_blob mec_text;
		int64_t mec, lfa;
	} realm;
	struct key_pub rak;
};

/**
 * token_read() - take a CCA token apart; its signatures are not looked at
 * @buf: stays, and stays as it is, while @t is used
 *
 * What the claims of a realm token must be (lengths, a usable key) is checked; so is the platform
 * token, but for what its profiles differ in.
 *
 * Return: 0, -EINVAL: not a well-formed CCA token; -ENOSYS: built without tinycbor.
 */
int token_read(struct token *t, const uint8_t *buf, size_t len, struct err *e);

/**
 * token_check_realm() - is the realm token signed with the key that it names?
 * token_check_binding() - is that the key which the platform token vouches for?
 * token_check_platform() - is the platform token signed with @pub?
 *
 * Return: 0: yes. -EBADMSG: no; other errors: it cannot be told. Then @e has the reason.
 */
int token_check_realm(const struct token *t, struct err *e);
int token_check_binding(const struct token *t, struct err *e);
int token_check_platform(const struct token *t, const struct key_pub *pub, struct err *e);

/** token_is_rehearsal() - it says that it comes from an emulated realm */
bool token_is_rehearsal(const struct token *t);

/** token_lifecycle() - name of a platform's lifecycle state (RMM 1.0 A7.2.4.2.7) */
const char *token_lifecycle(uint64_t value);

#endif
