/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a service manager is told (sd_notify(3)): lines of NAME=VALUE in a datagram to the socket
 * that NOTIFY_SOCKET names. Main thread only.
 */
#ifndef VMM_NOTIFY_H
#define VMM_NOTIFY_H

#include <sys/socket.h>
#include <sys/un.h>

#include "vmm/core/types.h"

/**
 * struct notify - the way to a service manager
 * @fd:          -1: there is none
 * @connected:   to @addr
 * @watchdog_ns: it wants to hear something this often; 0: it does not
 */
struct notify {
	int fd;
	bool connected;
	struct sockaddr_un addr;
	socklen_t len;
	uint64_t watchdog_ns;
};

/**
 * notify_open() - read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID
 *
 * They are removed from the environment: programs that are started later are not the service. What
 * cannot be used is said in a warning; the guest runs all the same.
 */
void notify_open(struct notify *n);

/** notify_send() - send lines; nothing happens without a service manager */
void notify_send(const struct notify *n, const char *fmt, ...) PRINTF_LIKE(2, 3);

/** notify_close() - forget it; the environment stays without the variables */
void notify_close(struct notify *n);

#endif
