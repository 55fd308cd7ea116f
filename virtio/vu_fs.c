// SPDX-License-Identifier: BSD-3-Clause
/*
 * The file system device (virtio 1.2, section 5.11) of a vhost-user back end: virtiofsd. The guest
 * speaks FUSE with it; nothing of that is seen here.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/vhost_user.h"
#include "vmm/core/err.h"

#define RINGS		2	/* one for what cannot wait, one for requests */
#define QUEUE_SIZE_MIN	64
#define QUEUE_SIZE_MAX	1024	/* the most that all versions of virtiofsd take */

struct vu_fs {
	struct vhost_dev d;
	struct virtio_fs_config config;
};

static void fs_free(struct virtio_dev *dev)
{
	struct vu_fs *f = container_of(vhost_dev_of(dev), struct vu_fs, d);

	vhost_dev_destroy(&f->d);
	free(f);
}

static const struct virtio_dev_ops fs_ops = {
	.id = VIRTIO_ID_FS,
	.kick = vhost_dev_kick,
	.start = vhost_dev_start,
	.queue = vhost_dev_queue,
	.queue_fd = vhost_dev_queue_fd,
	.free = fs_free,
};

/*
 * The driver's largest request has a descriptor for each page of 4 KiB and fits into the queue, so
 * the queue's size is what bounds the memory that a request is bounced through. A power of 2.
 */
static uint16_t queue_size(const struct virtio_env *env)
{
	uint16_t size = QUEUE_SIZE_MAX;

	while (env->max_request && size > QUEUE_SIZE_MIN && size * SZ_4K > env->max_request)
		size /= 2;
	return size;
}

int virtio_vu_fs_new(const struct virtio_env *env, struct vhost_user *u, const char *tag,
		     struct virtio_dev **out, struct err *e)
{
	struct vu_fs *f = calloc(1, sizeof(*f));
	struct virtio_dev_init init = {
		.ops = &fs_ops,
		.env = env,
		.nr_queues = RINGS,
		.queue_size = queue_size(env),
	};
	char name[64];
	int ret;

	*out = NULL;
	if (!f)
		return err_set(e, -ENOMEM, "share %s: no memory", tag);
	/* padded with zeros, and without one if it is as long as it can be */
	memcpy(f->config.tag, tag, strnlen(tag, sizeof(f->config.tag)));
	f->config.num_request_queues = htole32(RINGS - 1);
	snprintf(name, sizeof(name), "share %s", tag);
	init.name = name;
	init.config = &f->config;
	init.config_len = sizeof(f->config);
	ret = vhost_dev_init(&f->d, &init, 0, vhost_user_backend(u), RINGS, e);
	if (ret < 0) {
		free(f);
		return ret;
	}
	*out = &f->d.dev;
	return 0;
}
