// SPDX-License-Identifier: BSD-3-Clause
/*
 * The socket device (virtio 1.2, section 5.10) on the kernel's vhost-vsock: connections between
 * AF_VSOCK sockets of guest and host. The kernel serves the queues for data; the third one, for
 * events, is ours and has nothing to say: a guest is not migrated.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/vhost.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_vsock.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/vhost_kernel.h"
#include "vmm/core/err.h"

/* #syscalls main,vcpu?vhost: ioctl=VHOST_VSOCK_SET_RUNNING|VHOST_VSOCK_SET_GUEST_CID */

/* Linux 5.18 and later */
#ifndef VIRTIO_VSOCK_F_SEQPACKET
#define VIRTIO_VSOCK_F_SEQPACKET 1
#endif

#define RINGS 2		/* receive, transmit */

struct vhost_vsock {
	struct vhost_kernel k;
	struct vhost_backend *backend;
	uint64_t cid;
};

struct vsock_dev {
	struct vhost_dev d;
	struct virtio_vsock_config config;
};

/* Both rings begin together, and end with the first of them that does. */
static int vsock_run(struct vhost_kernel *k, unsigned int ring, bool on)
{
	int run = on;

	if (on ? (k->up | VIRTIO_F(ring)) != VIRTIO_F(RINGS) - 1 : k->up != VIRTIO_F(RINGS) - 1)
		return 0;
	return vhost_ioctl(k, VHOST_VSOCK_SET_RUNNING, &run);
}

int vhost_vsock_new(const struct vhost_sys *sys, int fd, uint64_t cid, struct vhost_vsock **out,
		    struct err *e)
{
	struct vhost_vsock *s = calloc(1, sizeof(*s));
	int ret;

	*out = NULL;
	if (!s)
		return err_set(e, -ENOMEM, "vsock: no memory");
	ret = vhost_kernel_init(&s->k, sys ? sys : &vhost_sys_real, fd, "vhost-vsock", vsock_run, e);
	if (!ret) {
		ret = vhost_ioctl(&s->k, VHOST_VSOCK_SET_GUEST_CID, &cid);
		if (ret == -EADDRINUSE)
			err_set(e, ret, "--vsock %" PRIu64 ": another VM of this host has this CID; "
				"give another one", cid);
		else if (ret)
			err_set(e, ret, "--vsock %" PRIu64 ": %s", cid, strerror(-ret));
	}
	if (ret < 0) {
		free(s);
		return ret;
	}
	s->backend = &s->k.b;
	s->cid = cid;
	*out = s;
	return 0;
}

void vhost_vsock_free(struct vhost_vsock *s)
{
	free(s);
}

static void vsock_free(struct virtio_dev *dev)
{
	struct vsock_dev *vs = container_of(vhost_dev_of(dev), struct vsock_dev, d);

	vhost_dev_destroy(&vs->d);
	free(vs);
}

static const struct virtio_dev_ops vsock_ops = {
	.id = VIRTIO_ID_VSOCK,
	.kick = vhost_dev_kick,
	.start = vhost_dev_start,
	.queue = vhost_dev_queue,
	.queue_fd = vhost_dev_queue_fd,
	.free = vsock_free,
};

/*
 * The driver fills the receive queue with buffers of 4 KiB and a header at once, and in a realm
 * each of them takes up some of a bounce pool that may be small: less than a quarter of it.
 */
static uint16_t queue_size(const struct virtio_env *env)
{
	uint16_t size = 128;

	while (env->max_request && size > 16 && size * 4 * SZ_4K > env->max_request)
		size /= 2;
	return size;
}

int virtio_vhost_vsock_new(const struct virtio_env *env, struct vhost_vsock *s,
			   struct virtio_dev **out, struct err *e)
{
	struct vsock_dev *vs = calloc(1, sizeof(*vs));
	struct virtio_dev_init init = {
		.name = "vsock",
		.ops = &vsock_ops,
		.env = env,
		.features = VIRTIO_F(VIRTIO_VSOCK_F_SEQPACKET),
		.nr_queues = RINGS + 1,
		.queue_size = queue_size(env),
	};
	int ret;

	*out = NULL;
	if (!vs)
		return err_set(e, -ENOMEM, "vsock: no memory");
	vs->config.guest_cid = htole64(s->cid);
	init.config = &vs->config;
	init.config_len = sizeof(vs->config);
	ret = vhost_dev_init(&vs->d, &init, 0, &s->backend, RINGS, e);
	if (ret < 0) {
		free(vs);
		return ret;
	}
	*out = &vs->d.dev;
	return 0;
}
