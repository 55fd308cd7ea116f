// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * #syscalls main,vcpu,io?vfio: pread64 pwrite64
 * #syscalls main,vcpu?vfio: close
 */

static int host_open(const struct vfio_sys *s, const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int host_ioctl(const struct vfio_sys *s, int fd, unsigned long req, void *arg)
{
	int ret = ioctl(fd, req, arg);

	return ret < 0 ? -errno : ret;
}

static void *host_mmap(const struct vfio_sys *s, size_t len, int prot, int flags, int fd, off_t off)
{
	return mmap(NULL, len, prot, flags, fd, off);
}

static int host_munmap(const struct vfio_sys *s, void *addr, size_t len)
{
	return munmap(addr, len) < 0 ? -errno : 0;
}

static ssize_t host_pread(const struct vfio_sys *s, int fd, void *buf, size_t len, off_t off)
{
	ssize_t n = pread(fd, buf, len, off);

	return n < 0 ? -errno : n;
}

static ssize_t host_pwrite(const struct vfio_sys *s, int fd, const void *buf, size_t len, off_t off)
{
	ssize_t n = pwrite(fd, buf, len, off);

	return n < 0 ? -errno : n;
}

const struct vfio_sys vfio_host = {
	.open = host_open,
	.ioctl = host_ioctl,
	.mmap = host_mmap,
	.munmap = host_munmap,
	.pread = host_pread,
	.pwrite = host_pwrite,
	.sysfs = "/sys",
	.dev = "/dev",
};
