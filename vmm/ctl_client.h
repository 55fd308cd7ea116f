/* SPDX-License-Identifier: BSD-3-Clause */
/* The other end of the control socket: what the commands list, stop, pause, ... have in common. */
#ifndef VMM_CTL_CLIENT_H
#define VMM_CTL_CLIENT_H

#include <stdio.h>

#include "vmm/ctl_options.h"

struct cmd_ctx;
struct json_t;

#define CTL_TIMEOUT_MS	5000	/* a guest that does not answer for so long hangs */

/**
 * struct ctl_conn - a connection to a guest
 * @name: of the guest; the caller's
 * @buf:  what was received beyond the last line, @len bytes
 */
struct ctl_conn {
	int fd;
	const char *name;
	char *buf;
	size_t len, room;
};

/** ctl_connect() - to the guest of this name; -ENOENT: there is none */
int ctl_connect(struct ctl_conn *c, const char *name, struct err *e);
/** ctl_close() - a connection that failed is fine */
void ctl_close(struct ctl_conn *c);
/** ctl_send() - send a request; takes @req over. "v" and "cmd" are set here */
int ctl_send(struct ctl_conn *c, const char *cmd, struct json_t *req, struct err *e);
/**
 * ctl_receive() - the next line, an object; a new reference
 * @timeout_ms: -1: none
 *
 * Return: 0; -ETIMEDOUT; -ECONNRESET: the guest is gone; -EPROTO: this is no answer.
 */
int ctl_receive(struct ctl_conn *c, int timeout_ms, struct json_t **out, struct err *e);
/**
 * ctl_request() - ask, and wait for the answer
 * @req:    NULL, or members of the request; taken over
 * @result: of the answer, a new reference; may be NULL
 *
 * Return: 0; a negative errno: the guest's, or why it could not be asked.
 */
int ctl_request(struct ctl_conn *c, const char *cmd, struct json_t *req, struct json_t **result,
		struct err *e);

/** ctl_ask() - connect, ask, close */
int ctl_ask(const char *name, const char *cmd, struct json_t *req, struct json_t **result,
	    struct err *e);

/** ctl_u64(), ctl_str() - members of an object; 0 and "" if they are missing or of another kind */
uint64_t ctl_u64(const struct json_t *o, const char *key);
const char *ctl_str(const struct json_t *o, const char *key);
/** ctl_print() - print what a guest says: no control character reaches the terminal */
void ctl_print(FILE *f, int width, const char *text);
/** ctl_dump() - print JSON on stdout; takes @o over */
void ctl_dump(struct json_t *o);

/**
 * ctl_options() - parse the options of a command
 * @sel:  the base object
 * @one:  there must be a name (or --all, if the table has it)
 *
 * Return: 0; 1: --help was given; a negative errno.
 */
int ctl_options(const struct opt_table *t, struct ctl_sel *sel, bool one, int argc, char **argv,
		struct err *e);

/**
 * ctl_each() - call @fn for the guest of --name, or for all of --all
 *
 * With --all a guest that ended meanwhile is passed over, any other failure is logged and the first
 * of them returned when all were asked.
 */
int ctl_each(const struct ctl_sel *sel, int (*fn)(void *ctx, struct ctl_conn *c, struct err *e),
	     void *ctx, struct err *e);

#endif
