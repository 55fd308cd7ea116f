// SPDX-License-Identifier: BSD-3-Clause
#include "virtio/vhost.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/core/err.h"

/* #syscalls main,vcpu?vhost,backend: eventfd2 read close */

/* Of the ring and the transport; the device's own features are its constructor's. */
#define RING_FEATURES (VIRTIO_F(VIRTIO_RING_F_INDIRECT_DESC) | VIRTIO_F(VIRTIO_RING_F_EVENT_IDX) | \
		       VIRTIO_F(VIRTIO_F_RING_PACKED) | VIRTIO_F(VIRTIO_F_IN_ORDER) | \
		       VIRTIO_F(VIRTIO_F_VERSION_1))

static struct vhost_backend *backend_of(const struct vhost *v, unsigned int q)
{
	return v->backend[q / v->per_backend];
}

static void drain_eventfd(int fd)
{
	uint64_t n;

	while (read(fd, &n, sizeof(n)) < 0 && errno == EINTR)
		;
}

/* ---- on the loop's thread -------------------------------------------------------------------- */

static void on_call(struct loop_src *src, uint32_t events)
{
	struct vhost_queue *q = container_of(src, struct vhost_queue, call);

	(void)events;
	drain_eventfd(src->fd);
	virtio_dev_queue_irq(q->v->dev, q - q->v->queue);
}

static void on_err(struct loop_src *src, uint32_t events)
{
	struct vhost *v = container_of(src, struct vhost, err);

	(void)events;
	drain_eventfd(src->fd);
	virtio_dev_fail(v->dev, "its back end cannot go on with a queue (a bad ring, or a buffer that "
			"is not in shared memory)");
}

static void on_hup(struct loop_src *src, uint32_t events)
{
	struct vhost_backend *b = container_of(src, struct vhost_backend, hup);
	struct virtio_dev *dev;

	if (!(events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)))
		return;
	/* level triggered: once is enough */
	loop_del(b->v->env.loop, src);
	dev = b->v->dev;
	if (dev)
		virtio_dev_fail(dev, "its back end is gone");
}

/* ---- life ------------------------------------------------------------------------------------ */

uint64_t vhost_features(const struct vhost *v)
{
	uint64_t f = ~0ULL;

	for (unsigned int i = 0; i < v->nr_backends; i++)
		f &= v->backend[i]->features;
	return f;
}

void vhost_negotiate(const struct vhost *v, struct virtio_dev_init *init, uint64_t own)
{
	uint64_t has = vhost_features(v);

	init->features = (init->features & has) | own;
	/* The reset of a single queue is a matter between driver and transport. */
	init->allowed = (RING_FEATURES & has) | init->features | VIRTIO_F(VIRTIO_F_RING_RESET);
	init->external = v->nr_rings < 64 ? VIRTIO_F(v->nr_rings) - 1 : ~0ULL;
	init->in_order = has & VIRTIO_F(VIRTIO_F_IN_ORDER);
}

static int add_eventfd(struct loop *loop, struct loop_src *src,
		       void (*fn)(struct loop_src *, uint32_t))
{
	int ret;

	src->fn = fn;
	src->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (src->fd < 0)
		return -errno;
	ret = loop_add(loop, src, EPOLLIN);
	if (ret < 0) {
		close(src->fd);
		src->fd = -1;
	}
	return ret;
}

static void del_eventfd(struct loop *loop, struct loop_src *src)
{
	if (src->fd < 0)
		return;
	loop_del(loop, src);
	close(src->fd);
}

int vhost_init(struct vhost *v, const char *name, const struct virtio_env *env,
	       struct vhost_backend *const *backend, unsigned int nr_backends,
	       unsigned int per_backend, struct err *e)
{
	int ret = 0;

	memset(v, 0, sizeof(*v));
	v->env = *env;
	v->backend = backend;
	v->nr_backends = nr_backends;
	v->per_backend = per_backend;
	v->nr_rings = nr_backends * per_backend;
	v->err.fd = -1;
	if (!(vhost_features(v) & VIRTIO_F(VIRTIO_F_VERSION_1)))
		return err_set(e, -EPROTO, "%s: its back end knows only the virtio of 2008 (no "
			       "VIRTIO_F_VERSION_1); use a newer one", name);
	v->queue = calloc(v->nr_rings, sizeof(*v->queue));
	if (!v->queue)
		return err_set(e, -ENOMEM, "%s: no memory for its queues", name);
	for (unsigned int q = 0; q < v->nr_rings; q++) {
		v->queue[q].v = v;
		v->queue[q].enabled = true;
		v->queue[q].call.fd = -1;
	}
	for (unsigned int q = 0; q < v->nr_rings && !ret; q++)
		ret = add_eventfd(virtio_env_loop(env, q), &v->queue[q].call, on_call);
	if (!ret)
		ret = add_eventfd(env->loop, &v->err, on_err);
	for (unsigned int i = 0; i < nr_backends && !ret; i++) {
		backend[i]->v = v;
		backend[i]->hup.fn = on_hup;
		if (backend[i]->hup.fd >= 0)
			ret = loop_add(env->loop, &backend[i]->hup, EPOLLRDHUP);
	}
	if (ret < 0) {
		vhost_destroy(v);
		return err_set(e, ret, "%s: event loop: %s", name, strerror(-ret));
	}
	return 0;
}

void vhost_destroy(struct vhost *v)
{
	for (unsigned int i = 0; i < v->nr_backends; i++) {
		struct vhost_backend *b = v->backend[i];

		if (b->v != v)
			continue;
		if (b->hup.fd >= 0)
			loop_del(v->env.loop, &b->hup);
		b->v = NULL;
	}
	for (unsigned int q = 0; q < v->nr_rings; q++)
		del_eventfd(virtio_env_loop(&v->env, q), &v->queue[q].call);
	del_eventfd(v->env.loop, &v->err);
	free(v->queue);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static unsigned int regions(const struct vhost *v, const struct vhost_backend *b,
			    struct vhost_region *out)
{
	ipa_t alias = v->env.alias;
	unsigned int nr, n = 0;
	const struct gmem_region *all = gmem_regions(v->env.gm, &nr);

	/* In ascending order of addresses, which some back ends insist on. */
	for (int upper = 0; upper <= 1; upper++) {
		/* Without the shared bit only if there is room, or if there is no such bit. */
		if (upper ? !alias : alias && 2 * nr > b->max_regions)
			continue;
		for (unsigned int i = 0; i < nr; i++) {
			const struct gmem_region *r = &all[i];
			ipa_t guest = r->base | (upper ? alias : 0);

			/* what no other process can have: private pages of a file, say */
			if (r->fd < 0 && !b->ops->by_pointer)
				continue;
			out[n++] = (struct vhost_region){
				.guest = guest,
				.size = r->size,
				.user = b->ops->by_pointer ? (uintptr_t)r->host : guest,
				.fd = r->fd,
			};
		}
	}
	for (unsigned int i = 1; i < n; i++)
		for (unsigned int j = i; j > 0 && out[j].guest < out[j - 1].guest; j--) {
			struct vhost_region tmp = out[j];

			out[j] = out[j - 1];
			out[j - 1] = tmp;
		}
	return n;
}

/* A piece of a ring: is all of it shared memory now, and what does the back end call it? */
static int ring_address(const struct vhost *v, const struct vhost_backend *b,
			const struct vq_part *part, uint64_t *out)
{
	unsigned int nr;
	const struct gmem_region *all = gmem_regions(v->env.gm, &nr);
	void *p;
	int ret = gmem_map(v->env.gm, part->addr, part->len, &p);

	for (unsigned int i = 0; i < nr && !ret; i++) {
		const struct gmem_region *r = &all[i];
		uint64_t off = (uintptr_t)p - (uintptr_t)r->host;

		if ((uint8_t *)p < r->host || off >= r->size)
			continue;
		*out = b->ops->by_pointer ? (uintptr_t)p : (r->base + off) | v->env.alias;
		return 0;
	}
	return ret < 0 ? ret : -EFAULT;
}

static int ring_addresses(const struct vhost *v, const struct vhost_backend *b,
			  const struct vq *vq, struct vhost_ring *ring)
{
	struct gmem *gm = v->env.gm;
	struct vq_part part[3];
	int ret;

	vq_parts(vq, part);
	gmem_enter(gm);
	ret = ring_address(v, b, &part[0], &ring->desc);
	if (!ret)
		ret = ring_address(v, b, &part[1], &ring->driver);
	if (!ret)
		ret = ring_address(v, b, &part[2], &ring->device);
	gmem_leave(gm);
	return ret;
}

/* ---- work ------------------------------------------------------------------------------------ */

int vhost_start(struct vhost *v, struct virtio_dev *dev)
{
	struct vhost_region r[VHOST_MAX_REGIONS];

	v->dev = dev;
	for (unsigned int i = 0; i < v->nr_backends; i++) {
		struct vhost_backend *b = v->backend[i];
		uint64_t features = dev->driver_features & b->features &
				    ~VIRTIO_F(VIRTIO_F_ACCESS_PLATFORM);
		unsigned int nr = regions(v, b, r);
		int ret = !nr ? -EBADF : nr > b->max_regions ? -ENOSPC :
			  b->ops->setup(b, features, r, nr);

		if (ret < 0) {
			log_rated(&dev->rate, LOG_ERROR, "%s: its back end does not start: %s",
				  dev->name, strerror(-ret));
			return ret;
		}
	}
	return 0;
}

static int call_fd(struct vhost *v, unsigned int q)
{
	int fd = virtio_dev_queue_fd(v->dev, q);

	return fd >= 0 ? fd : v->queue[q].call.fd;
}

static int queue_stop(struct vhost *v, unsigned int q)
{
	struct vhost_backend *b = backend_of(v, q);
	struct virtio_dev *dev = v->dev;
	int ret;

	v->queue[q].up = false;
	ret = b->ops->stop(b, q % v->per_backend);
	if (ret < 0)
		log_rated(&dev->rate, LOG_WARNING, "%s: queue %u: its back end did not stop in order: %s",
			  dev->name, q, strerror(-ret));
	return ret;
}

static int queue_start(struct vhost *v, unsigned int q)
{
	struct vhost_backend *b = backend_of(v, q);
	struct virtio_dev *dev = v->dev;
	const struct virtio_queue *vq = &dev->queue[q];
	struct vhost_ring ring = {
		.index = q % v->per_backend,
		.num = vq->vq.num,
		.base = vq_base(&vq->vq),
		.kick = vq->kick.fd,
		.call = call_fd(v, q),
		.err = v->err.fd,
		.enabled = v->queue[q].enabled,
	};
	int ret = ring_addresses(v, b, &vq->vq, &ring);

	if (ret < 0) {
		log_rated(&dev->rate, LOG_WARNING, "%s: the guest broke queue %u: the ring is not in "
			  "memory, or in private memory", dev->name, q);
		return ret;
	}
	log_rated(&dev->rate, LOG_DEBUG, "%s: queue %u: ring at %" PRIipa ", %u entries, interrupts %s",
		  dev->name, q, vq->vq.desc_addr, ring.num,
		  ring.call == v->queue[q].call.fd ? "through realmtool" : "direct");
	ret = b->ops->start(b, &ring);
	if (ret < 0) {
		log_rated(&dev->rate, LOG_ERROR, "%s: queue %u: its back end refuses it: %s", dev->name,
			  q, strerror(-ret));
		b->ops->stop(b, ring.index);
		return ret;
	}
	v->queue[q].up = true;
	return 0;
}

int vhost_queue(struct vhost *v, unsigned int q, bool on)
{
	if (q >= v->nr_rings || v->queue[q].up == on)
		return 0;
	return on ? queue_start(v, q) : queue_stop(v, q);
}

void vhost_queue_fd(struct vhost *v, unsigned int q)
{
	struct vhost_backend *b;

	if (q >= v->nr_rings || !v->queue[q].up)
		return;
	b = backend_of(v, q);
	if (b->ops->call(b, q % v->per_backend, call_fd(v, q)) < 0)
		virtio_dev_fail(v->dev, "its back end does not take an interrupt line");
}

int vhost_enable(struct vhost *v, unsigned int q, bool on)
{
	struct vhost_backend *b = backend_of(v, q);
	bool was = v->queue[q].enabled;

	v->queue[q].enabled = on;
	if (was == on || !v->queue[q].up || !b->ops->enable)
		return 0;
	return b->ops->enable(b, q % v->per_backend, on);
}

/* ---- devices that have nothing to do by themselves ------------------------------------------- */

int vhost_dev_start(struct virtio_dev *dev)
{
	return vhost_start(&vhost_dev_of(dev)->v, dev);
}

int vhost_dev_queue(struct virtio_dev *dev, unsigned int q, bool on)
{
	return vhost_queue(&vhost_dev_of(dev)->v, q, on);
}

void vhost_dev_queue_fd(struct virtio_dev *dev, unsigned int q)
{
	vhost_queue_fd(&vhost_dev_of(dev)->v, q);
}

void vhost_dev_kick(struct virtio_dev *dev, unsigned int q)
{
	(void)dev;
	(void)q;
}

int vhost_dev_init(struct vhost_dev *d, const struct virtio_dev_init *init, uint64_t own,
		   struct vhost_backend *const *backend, unsigned int rings, struct err *e)
{
	struct virtio_dev_init with = *init;
	int ret = vhost_init(&d->v, init->name, init->env, backend, 1, rings, e);

	if (ret < 0)
		return ret;
	vhost_negotiate(&d->v, &with, own);
	ret = virtio_dev_init(&d->dev, &with, e);
	if (ret < 0)
		vhost_destroy(&d->v);
	return ret;
}

void vhost_dev_destroy(struct vhost_dev *d)
{
	vhost_destroy(&d->v);
	virtio_dev_destroy(&d->dev);
}
