/* SPDX-License-Identifier: BSD-3-Clause */
/* Unix stream sockets by path. All descriptors are non-blocking and close-on-exec. */
#ifndef CORE_USOCK_H
#define CORE_USOCK_H

#include <sys/types.h>
#include <time.h>

#include "vmm/core/types.h"

struct err;

/**
 * struct usock - a listening socket
 * @fd:   -1: none
 * @path: the caller's
 * @dev, @ino, @made: of the socket in the file system, so that no other one is removed in its
 *         place; a number is used again at once by some file systems
 */
struct usock {
	int fd;
	const char *path;
	dev_t dev;
	ino_t ino;
	struct timespec made;
};

/**
 * usock_listen() - listen; only this user can connect
 * @what: names the option in errors
 * @path: a socket that nobody listens on any more is replaced, nothing else is
 *
 * Return: 0; -EBUSY: somebody listens there; -ENAMETOOLONG; or another negative errno.
 */
int usock_listen(struct usock *s, const char *what, const char *path, struct err *e);
/** usock_close() - stop listening, remove the socket; @fd may be -1 */
void usock_close(struct usock *s);
/** usock_remove_all() - remove the names of all sockets that listen; they go on listening */
void usock_remove_all(void);
/** usock_accept() - the next client: a descriptor or a negative errno, -EAGAIN: there is none */
int usock_accept(int fd);
/**
 * usock_connect() - connect without waiting
 *
 * Return: a descriptor or a negative errno; -EAGAIN: too many others wait there.
 */
int usock_connect(const char *path);

#endif
