// SPDX-License-Identifier: BSD-3-Clause
#include "virtio/vhost_kernel.h"

#include <errno.h>
#include <linux/vhost.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/core/err.h"

/*
 * #syscalls main,vcpu?vhost: ioctl=VHOST_SET_FEATURES|VHOST_SET_MEM_TABLE|VHOST_SET_VRING_NUM
 * #syscalls main,vcpu?vhost: ioctl=VHOST_SET_VRING_BASE|VHOST_GET_VRING_BASE|VHOST_SET_VRING_ADDR
 * #syscalls main,vcpu?vhost: ioctl=VHOST_SET_VRING_KICK|VHOST_SET_VRING_CALL|VHOST_SET_VRING_ERR
 * #syscalls main,vcpu?vhost: ioctl=VHOST_SET_OWNER|VHOST_GET_FEATURES
 */

/* Default of the module's parameter max_mem_regions; far more than there are. */
#define KERNEL_REGIONS 64

_Static_assert(VHOST_MAX_REGIONS <= KERNEL_REGIONS, "regions");

static int real_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

const struct vhost_sys vhost_sys_real = { real_ioctl };

int vhost_ioctl(const struct vhost_kernel *k, unsigned long request, void *arg)
{
	return k->sys->ioctl(k->fd, request, arg);
}

static struct vhost_kernel *kernel_of(struct vhost_backend *b)
{
	return container_of(b, struct vhost_kernel, b);
}

static int kernel_setup(struct vhost_backend *b, uint64_t features, const struct vhost_region *r,
			unsigned int nr)
{
	union {
		struct vhost_memory head;
		uint8_t room[sizeof(struct vhost_memory) +
			     VHOST_MAX_REGIONS * sizeof(struct vhost_memory_region)];
	} m;
	struct vhost_kernel *k = kernel_of(b);
	int ret;

	memset(&m, 0, sizeof(m));
	m.head.nregions = nr;
	for (unsigned int i = 0; i < nr; i++)
		m.head.regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = r[i].guest,
			.memory_size = r[i].size,
			.userspace_addr = r[i].user,
		};
	ret = vhost_ioctl(k, VHOST_SET_FEATURES, &features);
	return ret ? ret : vhost_ioctl(k, VHOST_SET_MEM_TABLE, &m);
}

static int set_file(struct vhost_kernel *k, unsigned long request, unsigned int ring, int fd)
{
	struct vhost_vring_file f = { .index = ring, .fd = fd };

	return vhost_ioctl(k, request, &f);
}

static int kernel_start(struct vhost_backend *b, const struct vhost_ring *ring)
{
	struct vhost_kernel *k = kernel_of(b);
	struct vhost_vring_state num = { ring->index, ring->num };
	struct vhost_vring_state base = { ring->index, ring->base };
	struct vhost_vring_addr addr = {
		.index = ring->index,
		.desc_user_addr = ring->desc,
		.avail_user_addr = ring->driver,
		.used_user_addr = ring->device,
	};
	int ret = vhost_ioctl(k, VHOST_SET_VRING_NUM, &num);

	if (!ret)
		ret = vhost_ioctl(k, VHOST_SET_VRING_BASE, &base);
	if (!ret)
		ret = vhost_ioctl(k, VHOST_SET_VRING_ADDR, &addr);
	if (!ret)
		ret = set_file(k, VHOST_SET_VRING_CALL, ring->index, ring->call);
	if (!ret)
		ret = set_file(k, VHOST_SET_VRING_ERR, ring->index, ring->err);
	if (!ret)
		ret = set_file(k, VHOST_SET_VRING_KICK, ring->index, ring->kick);
	if (!ret)
		ret = k->run(k, ring->index, true);
	if (!ret)
		k->up |= VIRTIO_F(ring->index);
	return ret;
}

static int kernel_stop(struct vhost_backend *b, unsigned int ring)
{
	struct vhost_kernel *k = kernel_of(b);
	int ret = k->run(k, ring, false);

	k->up &= ~VIRTIO_F(ring);
	/* The kernel holds on to eventfds until it gets others. */
	set_file(k, VHOST_SET_VRING_KICK, ring, -1);
	set_file(k, VHOST_SET_VRING_CALL, ring, -1);
	set_file(k, VHOST_SET_VRING_ERR, ring, -1);
	return ret;
}

static int kernel_call(struct vhost_backend *b, unsigned int ring, int fd)
{
	return set_file(kernel_of(b), VHOST_SET_VRING_CALL, ring, fd);
}

static const struct vhost_backend_ops kernel_ops = {
	.by_pointer = true,
	.setup = kernel_setup,
	.start = kernel_start,
	.stop = kernel_stop,
	.call = kernel_call,
};

int vhost_kernel_init(struct vhost_kernel *k, const struct vhost_sys *sys, int fd, const char *name,
		      int (*run)(struct vhost_kernel *k, unsigned int ring, bool on), struct err *e)
{
	int ret;

	memset(k, 0, sizeof(*k));
	k->b.ops = &kernel_ops;
	k->b.max_regions = KERNEL_REGIONS;
	k->b.hup.fd = -1;
	k->sys = sys;
	k->name = name;
	k->fd = fd;
	k->run = run;
	ret = vhost_ioctl(k, VHOST_SET_OWNER, NULL);
	if (!ret)
		ret = vhost_ioctl(k, VHOST_GET_FEATURES, &k->b.features);
	if (ret < 0)
		return err_set(e, ret, "%s: the kernel's vhost refuses: %s", name, strerror(-ret));
	/* Of this interface, not of virtio: a log of what was written, a header of vhost's own */
	k->b.features &= ~(VIRTIO_F(VHOST_F_LOG_ALL) | VIRTIO_F(VHOST_NET_F_VIRTIO_NET_HDR));
	return 0;
}
