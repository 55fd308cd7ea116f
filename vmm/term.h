/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The user's end of the consoles: the terminal (raw mode, escape keys, window size) and ptys.
 * The terminal is restored on every way out: return, signal, crash.
 */
#ifndef VMM_TERM_H
#define VMM_TERM_H

#include "vmm/core/loop.h"

#define TERM_MAX 4		/* as many as there are UARTs */

struct err;
struct term;

/**
 * struct term_client - the device behind a terminal; all calls on the loop's thread
 * @input:  bytes from the user; returns how many were taken, the rest is offered again after
 *          term_input_ready()
 * @resize: window size changed (also once at the start if it is known); may be NULL
 * @leave:  ctrl-a x was typed; may be NULL
 * @writable: output that term_write() refused may be tried again; may be NULL
 */
struct term_client {
	size_t (*input)(void *ctx, const void *buf, size_t len);
	void (*resize)(void *ctx, uint16_t cols, uint16_t rows);
	void (*leave)(void *ctx);
	void (*writable)(void *ctx);
	void *ctx;
};

/**
 * term_reserve_stdio() - open /dev/null where stdin, stdout or stderr are closed
 *
 * First thing in main(): no other file may end up as the console by its number.
 *
 * Return: 0 or a negative errno.
 */
int term_reserve_stdio(void);

/**
 * term_open_stdio() - terminal on stdin and stdout
 *
 * Works with stdin closed, /dev/null, a pipe, a file (read to its end, then silent) or a terminal
 * (raw mode while the loop runs; ctrl-a x leaves, ctrl-a h prints help, ctrl-a a or ctrl-a ctrl-a
 * sends ctrl-a; ctrl-a with any other key: both go to the guest). Raw mode and escape keys need a
 * terminal at both ends; with stdout redirected the terminal keeps line editing and ctrl-c.
 * Once in a process. Ignores SIGPIPE.
 */
int term_open_stdio(struct loop *l, const struct term_client *c, struct term **out, struct err *e);

/** struct term_pty - both ends, -1: none, and the name of the user's one */
struct term_pty {
	int master, slave;
	char name[64];
};

/** term_make_pty() - a pty whose terminal comes later, by term_open_pty() or not at all */
int term_make_pty(struct term_pty *p, struct err *e);
/** term_drop_pty() - close what is open of it */
void term_drop_pty(struct term_pty *p);
/**
 * term_open_pty() - a terminal on a pty; its name is logged at info level and in term_name()
 * @made: belongs to the terminal afterwards, or is closed; NULL: a new one
 */
int term_open_pty(struct loop *l, const struct term_client *c, struct term_pty *made,
		  struct term **out, struct err *e);

/** term_name() - "stdio" or the pty's path */
const char *term_name(const struct term *t);

/**
 * term_write() - output of the guest; any thread, never blocks for ever
 *
 * Return: how many bytes were taken. A slow reader (a stopped pipe) is buffered up to 64 KiB;
 * then less than @len is taken and term_client.writable is called when there is room again.
 * A reader that is gone (EPIPE, EIO) takes everything silently. On a pty that nobody has read for
 * a second the oldest output gives way instead.
 */
size_t term_write(struct term *t, const void *buf, size_t len);

/** term_input_ready() - the device has room for input again; any thread */
void term_input_ready(struct term *t);

/** term_bytes_out() - bytes written so far ("no byte on the console yet?"); any thread */
uint64_t term_bytes_out(const struct term *t);

/**
 * term_size() - window size, for a device that is made anew (reboot); the loop's thread
 *
 * Return: false if it is not known.
 */
bool term_size(const struct term *t, uint16_t *cols, uint16_t *rows);

/** term_flush() - write out what is buffered, waiting up to @timeout_ms (at the end of a run) */
void term_flush(struct term *t, int timeout_ms);

/** term_close() - restore the terminal, close a pty; NULL is fine; not from a callback */
void term_close(struct term *t);

/** term_restore_now() - restore the terminal from a signal handler (async-signal-safe) */
void term_restore_now(void);

#endif
