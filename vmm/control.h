/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket of a guest. A client sends a JSON object per line and gets one per line back:
 *
 *	{"v":1,"cmd":"pause"}
 *	{"v":1,"ok":true,"result":{"changed":true}}
 *	{"v":1,"ok":false,"error":"...","errno":22}
 *
 * "id", a number or a short string, comes back in the answer. Two commands are served here, all
 * others by struct control_ops:
 *
 *	wait		answered at once; a second line says how the guest ended
 *	console		answered at once; then the connection is the console, byte by byte: first
 *			what is left of the last 64 KiB of output, then what comes. "input":true:
 *			what the client sends is typed; "replay":false: only what comes;
 *			"follow":false: only what is left
 *
 * All of it runs on the loop's thread and never waits: a client that is slow, silent or talks
 * nonsense is its own problem. What a client can make us keep is bounded: a line, an answer.
 * Viewers of the console share one log; who falls behind misses the oldest.
 */
#ifndef VMM_CONTROL_H
#define VMM_CONTROL_H

#include "vmm/core/types.h"

struct control;
struct err;
struct json_t;
struct loop;

#define CONTROL_VERSION	1
#define CONTROL_LINE	4096		/* longest request, line feed included */
#define CONTROL_REPLY	SZ_1M		/* longest answer */
#define CONTROL_CLIENTS	48		/* at a time */
#define CONTROL_LOG	SZ_64K		/* output of the console that is kept */
#define CONTROL_IDLE_S	60		/* a client that asks nothing is dropped */
#define CONTROL_STUCK_S	10		/* and one that does not read its answer */

/**
 * struct control_ops - who answers; all on the loop's thread, none may wait
 * @request: a command; @req is the whole request. *result becomes the answer's "result" (a new
 *           reference), or stays NULL. A negative errno and @e: the request failed. -ENOENT with no
 *           text in @e: there is no such command
 * @input:   bytes typed by a viewer: how many were taken; the rest is offered again after
 *           control_input_ready()
 */
struct control_ops {
	int (*request)(void *ctx, const char *cmd, const struct json_t *req, struct json_t **result,
		       struct err *e);
	size_t (*input)(void *ctx, const void *buf, size_t len);
	void *ctx;
};

/** struct control_limits - for tests; zeros: those above */
struct control_limits {
	unsigned int clients, idle_ms, stuck_ms;
};

/**
 * control_open() - make the socket of a guest
 * @lkvm: it is lkvm's kind of guest
 *
 * Return: 0; -EBUSY: a guest of this name runs; -ENOSYS: built without jansson; another negative
 * errno: there can be no socket.
 */
int control_open(struct loop *loop, const char *name, bool lkvm, const struct control_ops *ops,
		 const struct control_limits *limits, struct control **out, struct err *e);

/** control_output() - output of the console, for log and viewers; any thread, never waits */
void control_output(struct control *c, const void *buf, size_t len);
/** control_input_ready() - the console takes input again; any thread */
void control_input_ready(struct control *c);

/**
 * control_end() - the guest ended: tell who waits, and close
 * @reason: poweroff, reset, stop, signal or failed
 * @status: exit code of the run
 *
 * NULL is fine. Waits up to a tenth of a second for clients that read slowly.
 */
void control_end(struct control *c, const char *reason, int status);

#endif
