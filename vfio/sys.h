/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel as VFIO and iommufd show it, behind one seam: every system call on their objects, and
 * every look at sysfs, goes through this table, so that a model can stand in for the kernel
 * (tests/fakevfio).
 */
#ifndef VFIO_SYS_H
#define VFIO_SYS_H

#include <sys/types.h>

#include "vmm/core/types.h"

/**
 * struct vfio_sys - the system calls
 * Each returns what the system call returns, with -errno for errors; mmap returns MAP_FAILED with
 * errno set. Descriptors are real ones, so close(2) closes them.
 * @open:  flags of open(2); O_CLOEXEC is added
 * @sysfs: where sysfs is mounted, without a slash at the end ("/sys")
 * @dev:   the same of device nodes ("/dev")
 * @ctx:   for a model
 */
struct vfio_sys {
	int (*open)(const struct vfio_sys *s, const char *path, int flags);
	int (*ioctl)(const struct vfio_sys *s, int fd, unsigned long req, void *arg);
	void *(*mmap)(const struct vfio_sys *s, size_t len, int prot, int flags, int fd, off_t off);
	int (*munmap)(const struct vfio_sys *s, void *addr, size_t len);
	ssize_t (*pread)(const struct vfio_sys *s, int fd, void *buf, size_t len, off_t off);
	ssize_t (*pwrite)(const struct vfio_sys *s, int fd, const void *buf, size_t len, off_t off);
	const char *sysfs, *dev;
	void *ctx;
};

/** vfio_host - the real kernel */
extern const struct vfio_sys vfio_host;

#endif
