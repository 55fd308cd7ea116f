/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Helper processes: programs of others that do a device's work (passt, virtiofsd,
 * qemu-storage-daemon). They are started from the main thread, belong to this process and end with
 * it. They get the descriptors that they are meant to have and no others, a few variables of the
 * environment (scripts: all of it), and no_new_privs (scripts: not). What they say goes to the log.
 *
 * A helper that ends on its own account is a warning here; its device finds out by itself, from the
 * end of its socket.
 */
#ifndef VMM_HELPER_H
#define VMM_HELPER_H

#include "vmm/core/log.h"
#include "vmm/core/types.h"

struct err;
struct helper;

/**
 * struct helper_cfg - what to start
 * @argv:    program (looked for by helper_find() unless it has a slash) and arguments, NULL at the
 *           end; its name is the prefix of its lines in the log
 * @package: where a user gets the program, for the message if it is missing
 * @instead: what a user can do without it, for the same message; NULL: nothing
 * @fd:      descriptors for it, which have the same numbers there
 * @nr_fds:  their number
 * @level:   level of its lines in the log
 * @ends:    it does its work and ends, see helper_wait()
 */
struct helper_cfg {
	const char *const *argv;
	const char *package;
	const char *instead;
	const int *fd;
	unsigned int nr_fds;
	enum log_level level;
	bool ends;
};

/**
 * helper_find() - where a program is: in $PATH, beside this program, or where Debian keeps
 * virtiofsd
 *
 * Return: its path, to be freed; NULL: nowhere, or no memory.
 */
char *helper_find(const char *name);

/**
 * helper_start() - start a helper
 *
 * To be called from the main thread: the helper gets SIGTERM when the thread that started it ends.
 * The descriptors can be closed here afterwards.
 *
 * Return: 0; -ENOENT: it is not there, @e says where to get it; or what fork() and the like say.
 */
int helper_start(const struct helper_cfg *cfg, struct helper **out, struct err *e);

/**
 * helpers_defer() - there may be no threads yet: what helpers say waits in their pipes
 *
 * But for those that end by themselves (@ends of their cfg).
 */
void helpers_defer(void);
/** helpers_listen() - from now on, and to those that were started before */
int helpers_listen(struct err *e);
/**
 * helpers_apart() - in a process that was forked off: those that were started before are the other
 * one's to listen to
 */
void helpers_apart(void);

/** helper_pidfd() - readable once the helper has ended; belongs to the helper */
int helper_pidfd(const struct helper *h);

/** helper_alive() - it has not ended yet */
bool helper_alive(const struct helper *h);

/**
 * helper_wait() - wait for the end of one that does its work and ends (@ends of its cfg)
 * @ms: at most
 *
 * Return: 0: it ended with code 0; -EPIPE: otherwise; -ETIMEDOUT: not yet.
 */
int helper_wait(struct helper *h, unsigned int ms, struct err *e);

/**
 * helper_error() - why a helper did not do what it should: @what, how it ended, its last words
 *
 * Return: -EPIPE if it has ended, else -ETIMEDOUT.
 */
int helper_error(struct helper *h, const char *what, struct err *e);

/**
 * helper_stop() - end a helper (SIGTERM; SIGKILL after @patience_ms) and free it; NULL is fine
 *
 * A helper that ends when its socket is closed is best stopped after that.
 */
void helper_stop(struct helper *h, unsigned int patience_ms);

/**
 * helper_socket() - a stream socket that listens, for a helper to accept on, and its only client
 * @listener: for the helper, close it here after helper_start()
 * @conn:     our end; what is sent waits until the helper accepts
 *
 * Nobody else can connect: the socket has no name any more when this returns.
 */
int helper_socket(int *listener, int *conn, struct err *e);

#endif
