// SPDX-License-Identifier: BSD-3-Clause
/*
 * Who serves the packets of a network device (net.c) in its place: the kernel's vhost-net between
 * the rings and a tap, or a vhost-user back end. Control queue and configuration space stay there.
 */
#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/netif.h"
#include "virtio/vhost_kernel.h"
#include "virtio/vhost_user.h"
#include "vmm/core/err.h"

/* #syscalls main,vcpu?vhost: ioctl=VHOST_NET_SET_BACKEND */

#define NET_F(bit) VIRTIO_F(VIRTIO_NET_F_##bit)
#define RINGS 2		/* of a pair */

/* Of the packets; a tap has those that are its own (struct netif) */
#define PACKETS (NET_F(CSUM) | NET_F(GUEST_CSUM) | NET_F(GUEST_TSO4) | NET_F(GUEST_TSO6) | \
		 NET_F(GUEST_ECN) | NET_F(GUEST_UFO) | NET_F(HOST_TSO4) | NET_F(HOST_TSO6) | \
		 NET_F(HOST_ECN) | NET_F(HOST_UFO) | NET_F(GUEST_USO4) | NET_F(GUEST_USO6) | \
		 NET_F(HOST_USO))

struct vhost_net_pair {
	struct vhost_kernel k;
	int tap;
};

struct vhost_net {
	unsigned int pairs;
	struct vhost_backend **backend;
	struct vhost_net_pair pair[];
};

/* What stands between a net device and its back ends; its ops' ctx */
struct link {
	struct virtio_net_backend ops;
	struct vhost v;
};

/* ---- the kernel ------------------------------------------------------------------------------ */

static int net_run(struct vhost_kernel *k, unsigned int ring, bool on)
{
	struct vhost_net_pair *p = container_of(k, struct vhost_net_pair, k);
	struct vhost_vring_file f = { .index = ring, .fd = on ? p->tap : -1 };

	return vhost_ioctl(k, VHOST_NET_SET_BACKEND, &f);
}

int vhost_net_new(const struct vhost_sys *sys, const int *fd, const struct netif *nif,
		  struct vhost_net **out, struct err *e)
{
	struct vhost_net *n = calloc(1, sizeof(*n) + nif->pairs * sizeof(n->pair[0]));
	int ret = 0;

	*out = NULL;
	if (n)
		n->backend = calloc(nif->pairs, sizeof(*n->backend));
	if (!n || !n->backend) {
		free(n);
		return err_set(e, -ENOMEM, "vhost-net: no memory");
	}
	n->pairs = nif->pairs;
	for (unsigned int i = 0; i < nif->pairs && !ret; i++) {
		n->pair[i].tap = nif->fd[i];
		n->backend[i] = &n->pair[i].k.b;
		ret = vhost_kernel_init(&n->pair[i].k, sys ? sys : &vhost_sys_real, fd[i],
					"vhost-net", net_run, e);
	}
	if (ret < 0)
		vhost_net_free(n);
	else
		*out = n;
	return ret;
}

void vhost_net_free(struct vhost_net *n)
{
	if (!n)
		return;
	free(n->backend);
	free(n);
}

/* ---- between the device and both kinds ------------------------------------------------------- */

static int link_start(void *ctx, struct virtio_dev *dev)
{
	struct link *l = ctx;

	return vhost_start(&l->v, dev);
}

static int link_queue(void *ctx, struct virtio_dev *dev, unsigned int q, bool on)
{
	struct link *l = ctx;

	(void)dev;
	return vhost_queue(&l->v, q, on);
}

static void link_queue_fd(void *ctx, struct virtio_dev *dev, unsigned int q)
{
	struct link *l = ctx;

	(void)dev;
	vhost_queue_fd(&l->v, q);
}

static void link_pairs(void *ctx, struct virtio_dev *dev, unsigned int n)
{
	struct link *l = ctx;
	int ret = 0;

	for (unsigned int q = 0; q < l->v.nr_rings && !ret; q++)
		ret = vhost_enable(&l->v, q, q < RINGS * n);
	if (ret < 0)
		virtio_dev_fail(dev, "its back end does not take another number of queues");
}

static void link_free(void *ctx)
{
	struct link *l = ctx;

	vhost_destroy(&l->v);
	free(l);
}

static int net_new(const struct virtio_env *env, const struct virtio_net_cfg *base,
		   struct vhost_backend *const *backend, unsigned int nr, unsigned int per_backend,
		   uint64_t packets, struct virtio_dev **out, struct err *e)
{
	struct virtio_dev_init init = { .features = packets | NET_F(MRG_RXBUF) };
	struct virtio_net_cfg cfg = *base;
	struct link *l = calloc(1, sizeof(*l));
	int ret;

	*out = NULL;
	if (!l)
		return err_set(e, -ENOMEM, "%s: no memory", cfg.name);
	ret = vhost_init(&l->v, cfg.name, env, backend, nr, per_backend, e);
	if (ret < 0) {
		free(l);
		return ret;
	}
	/* Until the driver asks for more it uses the first pair. */
	for (unsigned int q = RINGS; q < l->v.nr_rings; q++)
		vhost_enable(&l->v, q, false);
	vhost_negotiate(&l->v, &init, 0);
	l->ops = (struct virtio_net_backend){
		.allowed = init.allowed,
		.features = init.features & packets,
		.start = link_start,
		.queue = link_queue,
		.queue_fd = link_queue_fd,
		.pairs = link_pairs,
		.free = link_free,
	};
	cfg.backend = &l->ops;
	cfg.backend_ctx = l;
	ret = virtio_net_new(env, &cfg, out, e);
	if (ret < 0)
		link_free(l);
	return ret;
}

int virtio_vhost_net_new(const struct virtio_env *env, struct vhost_net *n,
			 const struct virtio_net_cfg *cfg, struct virtio_dev **out, struct err *e)
{
	return net_new(env, cfg, n->backend, n->pairs, RINGS, 0, out, e);
}

int virtio_vu_net_new(const struct virtio_env *env, struct vhost_user *u,
		      const struct virtio_net_cfg *cfg, struct virtio_dev **out, struct err *e)
{
	return net_new(env, cfg, vhost_user_backend(u), 1, RINGS * cfg->pairs, PACKETS, out, e);
}
