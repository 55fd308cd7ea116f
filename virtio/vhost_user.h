/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The front end of vhost-user: another process serves the rings. The protocol is QEMU's
 * (docs/interop/vhost-user), spoken by virtiofsd, qemu-storage-daemon, passt, DPDK and others.
 *
 * The process on the other side is not trusted more than it must be: it can read and write all of
 * the guest's shared memory, so it can do to the guest what any device can, but nothing to this
 * process. Its replies are checked for kind, length and content, descriptors that it sends are
 * never taken, and it has LIMIT_MS to answer. Who breaks a rule, is late, or hangs up is gone for
 * good: the device needs a reset and stays that way, the guest lives. There is no reconnection
 * while the guest runs; the next boot of the guest begins with a new connection where there is a
 * way to get one (vmm/vu_host.h).
 *
 * A process that does not let go of a ring when it is told to still has the memory mapped, and no
 * message can change that. It costs the guest what it finds in its buffers, and is said in the log.
 */
#ifndef VIRTIO_VHOST_USER_H
#define VIRTIO_VHOST_USER_H

#include "virtio/vhost.h"

struct vhost_user;

/**
 * vhost_user_new() - begin to speak on a connected socket
 * @fd:    socket; belongs to the connection if this returns 0
 * @name:  for messages
 * @rings: how many will be used
 * @limit_ms: for the first answer: a program that was just started may take its time
 *
 * Return: 0; -EPIPE: it hung up; -ETIMEDOUT; -EPROTO: it does not keep to the protocol; -E2BIG: it
 * has fewer rings.
 */
int vhost_user_new(int fd, const char *name, unsigned int rings, unsigned int limit_ms,
		   struct vhost_user **out, struct err *e);
/** vhost_user_free() - hang up; no device uses it any more; NULL is fine */
void vhost_user_free(struct vhost_user *u);

/** vhost_user_backend() - for struct vhost_dev_init */
struct vhost_backend *const *vhost_user_backend(struct vhost_user *u);
/** vhost_user_alive() - the other side has not hung up, as far as is known here */
bool vhost_user_alive(struct vhost_user *u);

/**
 * vhost_user_config() - read the device's configuration space
 * @len: 256 at most
 *
 * Return: 0; -EOPNOTSUPP: the back end has none to give; or as vhost_user_new().
 */
int vhost_user_config(struct vhost_user *u, void *buf, uint32_t len, struct err *e);

#endif
