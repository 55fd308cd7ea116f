/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Back ends in the kernel: /dev/vhost-net, /dev/vhost-vsock. A thread of the kernel's that uses
 * this process's memory serves the rings; addresses in its table are pointers.
 */
#ifndef VIRTIO_VHOST_KERNEL_H
#define VIRTIO_VHOST_KERNEL_H

#include "virtio/vhost.h"

/** struct vhost_sys - the one system call, so that a test can play the kernel */
struct vhost_sys {
	int (*ioctl)(int fd, unsigned long request, void *arg);
};

/** vhost_sys_real - ioctl(2) */
extern const struct vhost_sys vhost_sys_real;

/**
 * struct vhost_kernel - such a back end
 * @fd:   of the device file; belongs to the caller
 * @run:  the kind's own call that has the kernel begin with a ring, or end; all of the ring is set
 * @up:   a bit per ring that was started
 */
struct vhost_kernel {
	struct vhost_backend b;
	const struct vhost_sys *sys;
	const char *name;
	int fd;
	int (*run)(struct vhost_kernel *k, unsigned int ring, bool on);
	uint64_t up;
};

/**
 * vhost_kernel_init() - take possession of a back end
 * @name: for messages; static
 *
 * Return: 0; -EBUSY: the descriptor has an owner already; or what the kernel says.
 */
int vhost_kernel_init(struct vhost_kernel *k, const struct vhost_sys *sys, int fd, const char *name,
		      int (*run)(struct vhost_kernel *k, unsigned int ring, bool on),
		      struct err *e);

/** vhost_ioctl() - a call on it; 0 or a negative errno */
int vhost_ioctl(const struct vhost_kernel *k, unsigned long request, void *arg);

#endif
