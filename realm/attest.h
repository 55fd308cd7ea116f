/* SPDX-License-Identifier: BSD-3-Clause */
/* Attestation of an emulated realm: its keys, its identity, and the token in hand of each vCPU. */
#ifndef REALM_ATTEST_H
#define REALM_ATTEST_H

#include <limits.h>

#include "realm/rsi.h"
#include "realm/token.h"

struct attest;

/**
 * attest_open() - prepare for the tokens of one realm
 * @dir: folder with realm.pem and platform.pem, which are made if they are not there. NULL: the
 *       user's own, $XDG_STATE_HOME/realmtool/emulated-keys, looked at when the guest first asks;
 *       where there can be none, keys that last as long as the realm
 *
 * Return: 0, or a negative errno with @e filled.
 */
int attest_open(const char *dir, enum token_form form, struct attest **a, struct err *e);
void attest_close(struct attest *a);

#define ATTEST_KEYS 2	/* of the realm, of the platform */

/** attest_key_paths() - the files of the keys; @dir as for attest_open(). Nothing is looked at */
int attest_key_paths(const char *dir, char path[ATTEST_KEYS][PATH_MAX]);
/** attest_make_keys() - have the keys there, make them if need be; @dir as for attest_open() */
int attest_make_keys(const char *dir, struct err *e);

/** attest_rec() - the state of vCPU @vcpu for rsi_call(); NULL: it has none */
struct rsi_rec *attest_rec(struct attest *a, unsigned int vcpu);

/**
 * attest_token() - make a token: struct rsi_ops
 * @rq: challenge and measurements; the rest is filled in
 */
int attest_token(struct attest *a, struct token_request *rq, uint8_t *token, size_t *len,
		 struct err *e);

#endif
