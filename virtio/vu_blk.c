// SPDX-License-Identifier: BSD-3-Clause
/*
 * The block device (virtio 1.2, section 5.2) of a vhost-user back end, such as qemu-storage-daemon.
 * Its configuration space is the back end's, read once; a disk that is resized while the guest runs
 * keeps its size until the next boot.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/vhost_user.h"
#include "vmm/core/err.h"

/* Up to unused1, and no more than every back end has: later fields came with features not used. */
#define CONFIG_LEN	60

#define SECTOR		512
/* In a realm each segment is bounced; as in blk.c. */
#define SEG_SIZE_BOUNCED 65536u

#define FEATURES (VIRTIO_F(VIRTIO_BLK_F_SIZE_MAX) | VIRTIO_F(VIRTIO_BLK_F_SEG_MAX) | \
		  VIRTIO_F(VIRTIO_BLK_F_GEOMETRY) | VIRTIO_F(VIRTIO_BLK_F_RO) | \
		  VIRTIO_F(VIRTIO_BLK_F_BLK_SIZE) | VIRTIO_F(VIRTIO_BLK_F_FLUSH) | \
		  VIRTIO_F(VIRTIO_BLK_F_TOPOLOGY))

_Static_assert(sizeof(struct virtio_blk_config) >= CONFIG_LEN, "layout of the configuration space");

struct vu_blk {
	struct vhost_dev d;
	union {
		struct virtio_blk_config config;
		uint8_t raw[sizeof(struct virtio_blk_config)];
	};
};

static void blk_free(struct virtio_dev *dev)
{
	struct vu_blk *b = container_of(vhost_dev_of(dev), struct vu_blk, d);

	vhost_dev_destroy(&b->d);
	free(b);
}

static const struct virtio_dev_ops blk_ops = {
	.id = VIRTIO_ID_BLOCK,
	.kick = vhost_dev_kick,
	.start = vhost_dev_start,
	.queue = vhost_dev_queue,
	.queue_fd = vhost_dev_queue_fd,
	.free = blk_free,
};

/* What the driver may put into one request, if it bounces it through a small pool. */
static uint64_t bound_requests(struct vu_blk *b, uint64_t has, const struct virtio_env *env,
			       unsigned int queue_size)
{
	uint32_t segs = queue_size - 2, size = UINT32_MAX;	/* beside header and status */

	if (has & VIRTIO_F(VIRTIO_BLK_F_SEG_MAX))
		segs = MIN(le32toh(b->config.seg_max), segs);
	if (has & VIRTIO_F(VIRTIO_BLK_F_SIZE_MAX))
		size = le32toh(b->config.size_max);
	if (env->max_request) {
		size = MIN(size, SEG_SIZE_BOUNCED);
		segs = MIN(segs, env->max_request / SEG_SIZE_BOUNCED);
	}
	b->config.seg_max = htole32(MAX(segs, 1U));
	b->config.size_max = htole32(size);
	return VIRTIO_F(VIRTIO_BLK_F_SEG_MAX) |
	       (size != UINT32_MAX ? VIRTIO_F(VIRTIO_BLK_F_SIZE_MAX) : 0);
}

int virtio_vu_blk_new(const struct virtio_env *env, struct vhost_user *u,
		      const struct virtio_vu_blk_cfg *cfg, struct virtio_dev **out, struct err *e)
{
	uint64_t has = vhost_user_backend(u)[0]->features;
	struct vu_blk *b = calloc(1, sizeof(*b));
	struct virtio_dev_init init = {
		.ops = &blk_ops,
		.env = env,
		.features = FEATURES,
		.nr_queues = cfg->queues,
		.queue_size = cfg->queue_size ? cfg->queue_size : VQ_SIZE_DEFAULT,
	};
	uint64_t own;
	char name[64];
	int ret;

	*out = NULL;
	if (!b)
		return err_set(e, -ENOMEM, "disk %s: no memory", cfg->path);
	ret = vhost_user_config(u, b->raw, CONFIG_LEN, e);
	if (ret < 0)
		goto fail;
	if (cfg->readonly && !(has & VIRTIO_F(VIRTIO_BLK_F_RO))) {
		ret = err_set(e, -EPERM, "disk %s: \"ro\", but its back end would let the guest write; "
			      "start that read-only", cfg->path);
		goto fail;
	}
	if (le64toh(b->config.capacity) > UINT64_MAX / SECTOR) {
		ret = err_set(e, -EPROTO, "disk %s: its back end claims %" PRIu64 " sectors", cfg->path,
			      (uint64_t)le64toh(b->config.capacity));
		goto fail;
	}
	own = bound_requests(b, has, env, init.queue_size);
	if (cfg->queues > 1) {
		init.features |= VIRTIO_F(VIRTIO_BLK_F_MQ);
		if (!(has & VIRTIO_F(VIRTIO_BLK_F_MQ))) {
			ret = err_set(e, -E2BIG, "disk %s: its back end has only one queue; leave out "
				      "queues=%u", cfg->path, cfg->queues);
			goto fail;
		}
	}
	b->config.num_queues = htole16(cfg->queues);
	if (!cfg->no_discard)
		init.features |= VIRTIO_F(VIRTIO_BLK_F_DISCARD) |
				     VIRTIO_F(VIRTIO_BLK_F_WRITE_ZEROES);
	snprintf(name, sizeof(name), "disk %s", cfg->path);
	init.name = name;
	init.config = &b->config;
	init.config_len = CONFIG_LEN;
	ret = vhost_dev_init(&b->d, &init, own, vhost_user_backend(u), cfg->queues, e);
	if (ret < 0)
		goto fail;
	*out = &b->d.dev;
	return 0;

fail:
	free(b);
	return ret;
}
