// SPDX-License-Identifier: BSD-3-Clause
/* Entropy device (virtio 1.2, section 5.4). */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <sys/random.h>

#include "virtio/dev.h"
#include "vmm/core/err.h"

/* #syscalls main,io: getrandom */

/*
 * The guest names the amount: a request gets CHUNK bytes at most (less than asked for is allowed),
 * and after BATCH bytes the others on the loop have their turn.
 */
#define CHUNK	4096
#define BATCH	(16 * CHUNK)

/* Random bytes for the front of a chain. Returns how many, 0 if its memory cannot be used. */
static uint32_t fill(struct vq *vq, const struct vq_chain *c)
{
	uint32_t done = 0;

	for (unsigned int i = c->nr_out; i < (unsigned int)c->nr_out + c->nr_in; i++) {
		uint32_t len = MIN(c->seg[i].len, CHUNK - done);
		ssize_t n;
		void *p;
		int ret;

		if (!len)
			break;
		ret = gmem_map(vq->gm, c->seg[i].addr, len, &p);
		if (ret < 0) {
			vq_log_addr(vq, c->seg[i].addr, len, ret);
			break;
		}
		n = getrandom(p, len, 0);
		if (n < 0 || gmem_check(vq->gm, c->seg[i].addr, n) < 0)
			break;
		done += n;
		if (n < (ssize_t)len)
			break;		/* a signal; what is there will do */
	}
	return done;
}

static void rng_kick(struct virtio_dev *dev, unsigned int q)
{
	struct vq *vq = &dev->queue[q].vq;
	unsigned int bytes = 0, chains = 0;
	struct vq_chain c;

	if (vq_begin(vq) < 0)
		return;
	while (vq_pop(vq, &c) > 0) {
		uint32_t n = fill(vq, &c);

		vq_push(vq, &c.head, n);
		bytes += n;
		if (bytes >= BATCH || ++chains >= vq->num) {
			virtio_dev_kick(dev, q);
			break;
		}
	}
	vq_end(vq);
}

static void rng_free(struct virtio_dev *dev)
{
	virtio_dev_destroy(dev);
	free(dev);
}

static const struct virtio_dev_ops rng_ops = {
	.id = VIRTIO_ID_RNG,
	.kick = rng_kick,
	.free = rng_free,
};

int virtio_rng_new(const struct virtio_env *env, struct virtio_dev **out, struct err *e)
{
	const struct virtio_dev_init init = {
		.name = "virtio-rng",
		.ops = &rng_ops,
		.env = env,
		.nr_queues = 1,
		.queue_size = VQ_SIZE_DEFAULT,
		.in_order = true,
	};
	struct virtio_dev *dev;
	int ret;

	*out = NULL;
	dev = malloc(sizeof(*dev));
	if (!dev)
		return err_set(e, -ENOMEM, "virtio-rng: no memory");
	ret = virtio_dev_init(dev, &init, e);
	if (ret < 0) {
		free(dev);
		return ret;
	}
	*out = dev;
	return 0;
}
