/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When is a guest up? When it has written a line on its console, one that matches, or has said so
 * on a vsock port (READY=1 in a line, as systemd says it to vmm.notify_socket).
 */
#ifndef VMM_READY_H
#define VMM_READY_H

#include "vmm/core/types.h"

struct err;
struct loop;
struct ready;
struct vm_config;

/**
 * ready_open() - start to look
 * @fn: called once on the loop's thread, when the guest is up
 *
 * Return: 0 or a negative errno: the vsock port is in use, for instance.
 */
int ready_open(struct loop *loop, const struct vm_config *c, void (*fn)(void *ctx), void *ctx,
	       struct ready **out, struct err *e);

/** ready_output() - output of the guest's console; any thread; NULL is fine */
void ready_output(struct ready *r, const void *buf, size_t len);
/** ready_boot() - the vCPUs run; the loop's thread; NULL is fine */
void ready_boot(struct ready *r);

/** ready_close() - stop looking; no vCPU runs any more; NULL is fine */
void ready_close(struct ready *r);

#endif
