/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reference values of a realm, in the forms that verifiers take. The same values give the same
 * bytes: identifiers come from the measurement, nothing is random and nothing has a date.
 */
#ifndef REALM_CORIM_H
#define REALM_CORIM_H

#include <stdio.h>

#include "realm/hash.h"
#include "realm/rsi.h"

struct err;

#define CORIM_MAX	2048		/* a CoRIM of the largest values has less than 1100 bytes */
#define CORIM_PROFILE	"tag:arm.com,2025:cca_realm#1.0.0"

/**
 * struct refvals - what a verifier shall expect of a realm
 * @algo:  algorithm of @rim and @rem
 * @rim:   realm_hash_len(@algo) bytes count
 * @rpv:   personalization value; without @rpv_set any value is fine
 * @rem:   extensible measurements; bit n of @rem_set: @rem[n] counts
 */
struct refvals {
	enum realm_hash algo;
	uint8_t rim[REALM_HASH_MAX];
	bool rpv_set;
	uint8_t rpv[RSI_RPV_SIZE];
	unsigned int rem_set;
	uint8_t rem[RSI_NR_REMS][REALM_HASH_MAX];
};

/**
 * corim_cbor() - an unsigned CoRIM with one CoMID, profile CORIM_PROFILE
 * @size: room in @buf; CORIM_MAX is enough
 * @len:  bytes written
 *
 * Source: draft-ietf-rats-corim, draft-ydb-rats-cca-endorsements.
 *
 * Return: 0; -ENOSYS: built without tinycbor.
 */
int corim_cbor(const struct refvals *v, uint8_t *buf, size_t size, size_t *len, struct err *e);

/**
 * corim_comid_json() - the same as a CoMID template for cocli and Veraison's services
 * corim_rvps_json() - for Trustee's reference value provider: its key for the measurement
 * corim_store_json() - for Trustee's local verifier: the reference values of its store; the
 *                      platform's are for the platform's owner to add
 *
 * What the stream did not take is for ferror() to tell.
 */
void corim_comid_json(const struct refvals *v, FILE *f);
void corim_rvps_json(const struct refvals *v, FILE *f);
void corim_store_json(const struct refvals *v, FILE *f);

#endif
