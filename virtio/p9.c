// SPDX-License-Identifier: BSD-3-Clause
/*
 * 9P transport (virtio 1.2, section 5.9 leaves it to Linux: trans_virtio): a queue of requests. A
 * chain carries a message to the device and has room for the reply; the mount tag is in the
 * configuration.
 *
 * All work on files happens on the loop's thread, one request after the other, with the queue's own
 * lock held: a vCPU that reads a register does not wait for a file, a reset of the device waits for
 * the one request that is being served. Guest memory that a request's data go to or come from is
 * pinned meanwhile, and no section is open, so that a conversion of other memory waits for nothing.
 */
#include <errno.h>
#include <linux/virtio_9p.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/dev.h"
#include "virtio/p9srv.h"
#include "vmm/core/err.h"

#define QUEUE_SIZE	128
/* Requests after which others on the loop have their turn. */
#define BATCH		32
/* Messages in flight at once share the guest's pool of bounce pages. */
#define POOL_SHARES	8

/**
 * struct virtio_9p - a share
 * @req, @rep: of the request that is being served; @msg, @reply are their memory
 * @chain: its buffers
 * @pin, @iov: its data, @nr_pins of them
 */
struct virtio_9p {
	struct virtio_dev dev;
	struct p9srv *srv;
	struct virtio_9p_config *config;
	struct p9_req req;
	struct p9_rep rep;
	struct vq_chain chain;
	unsigned int nr_pins;
	struct gmem_pin pin[VQ_CHAIN_MAX];
	struct iovec iov[VQ_CHAIN_MAX];
	struct vq_seg seg[VQ_CHAIN_MAX];
	uint8_t msg[P9_REQ_MAX];
	uint8_t reply[P9_REP_MAX];
};

static struct virtio_9p *to_9p(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_9p, dev);
}

/* Were the pages there all the time? */
static int unpin(struct virtio_9p *p)
{
	int ret = 0;

	while (p->nr_pins)
		if (gmem_unpin(p->dev.env.gm, &p->pin[--p->nr_pins]) < 0)
			ret = -EIO;
	return ret;
}

static int pin(struct virtio_9p *p, struct vq *vq, bool in, uint64_t off, uint64_t len)
{
	unsigned int nr = len ? vq_slice(&p->chain, in, off, len, p->seg) : 0;
	void *ptr;
	int ret;

	for (unsigned int i = 0; i < nr; i++) {
		p->pin[i] = (struct gmem_pin){ 0 };
		ret = gmem_pin(vq->gm, &p->pin[i], p->seg[i].addr, p->seg[i].len, &ptr);
		if (ret < 0) {
			vq_log_addr(vq, p->seg[i].addr, p->seg[i].len, ret);
			unpin(p);
			return ret;
		}
		p->nr_pins++;
		p->iov[i] = (struct iovec){ .iov_base = ptr, .iov_len = p->seg[i].len };
	}
	return 0;
}

/* The data of a request that are not for a file, in a section of their own. */
static int fetch(const struct p9_req *req, uint8_t *buf)
{
	struct virtio_9p *p = container_of(req, struct virtio_9p, req);
	struct vq *vq = &p->dev.queue[0].vq;
	int ret;

	if (vq_begin(vq) < 0)
		return -EIO;
	ret = vq_read(vq, &p->chain, P9_WRITE_HEAD, buf, req->data_len);
	vq_end(vq);
	return ret;
}

/*
 * Copy a request out of the chain and pin its data; in a section. Each byte is read once.
 * Return: 0; -EIO: there is no way to answer it; 1: it is answered in p->reply already.
 */
static int prepare(struct virtio_9p *p, struct vq *vq)
{
	const struct vq_chain *c = &p->chain;
	struct p9_plan plan;
	uint32_t first;
	uint64_t in;
	int ret;

	p->req = (struct p9_req){ .msg = p->msg, .data = p->iov, .fetch = fetch };
	p->rep = (struct p9_rep){ .buf = p->reply, .data = p->iov };
	p->rep.room = MIN(c->in_len, (uint64_t)P9_MSIZE_MAX);
	if (c->in_len < P9_ERROR_LEN)
		return -EIO;
	first = MIN(c->out_len, (uint64_t)P9_WRITE_HEAD);
	if (!first || vq_read(vq, c, 0, p->msg, first) < 0)
		return -EIO;
	p9srv_plan(p->msg, first, &plan);
	plan.head = MIN((uint64_t)plan.head, c->out_len);
	if (plan.head > first && vq_read(vq, c, first, p->msg + first, plan.head - first) < 0)
		return -EIO;
	p->req.len = MAX(plan.head, first);
	if (plan.out) {
		p->req.data_len = MIN((uint64_t)plan.out, c->out_len - P9_WRITE_HEAD);
		ret = pin(p, vq, false, P9_WRITE_HEAD, p->req.data_len);
		p->req.nr = p->nr_pins;
	} else {
		in = MIN((uint64_t)plan.in, c->in_len - P9_READ_HEAD);
		p->rep.data_room = MIN(in, (uint64_t)P9_MSIZE_MAX);
		ret = pin(p, vq, true, P9_READ_HEAD, p->rep.data_room);
		p->rep.nr = p->nr_pins;
	}
	if (ret < 0) {
		p9srv_refuse(&p->req, -EFAULT, &p->rep);
		return 1;
	}
	return 0;
}

/* Give the chain back with p->reply in it, and what was read straight into it; in a section. */
static void answer(struct virtio_9p *p, struct vq *vq)
{
	uint64_t len;

	if (unpin(p) < 0)
		p9srv_refuse(&p->req, -EIO, &p->rep);
	len = (uint64_t)p->rep.len + p->rep.data_len;
	if (vq_write(vq, &p->chain, 0, p->reply, p->rep.len) < 0)
		len = 0;
	vq_push(vq, &p->chain.head, len);
}

static void p9_kick(struct virtio_dev *dev, unsigned int q)
{
	struct virtio_9p *p = to_9p(dev);
	struct vq *vq = &dev->queue[q].vq;
	unsigned int nr = 0;
	int ret;

	if (vq_begin(vq) < 0)
		return;
	while (vq_pop(vq, &p->chain) > 0) {
		ret = prepare(p, vq);
		if (ret < 0) {
			log_rated(&dev->rate, LOG_WARNING, "%s: a request without a message or "
				  "without room for an answer", dev->name);
			vq_push(vq, &p->chain.head, 0);
		} else {
			if (!ret) {
				vq_end(vq);
				p9srv_serve(p->srv, &p->req, &p->rep);
				if (vq_begin(vq) < 0) {
					unpin(p);
					return;
				}
			}
			answer(p, vq);
		}
		if (++nr >= BATCH) {
			virtio_dev_kick(dev, q);
			break;
		}
	}
	vq_end(vq);
}

static void p9_reset(struct virtio_dev *dev)
{
	p9srv_reset(to_9p(dev)->srv);
}

static void p9_free(struct virtio_dev *dev)
{
	struct virtio_9p *p = to_9p(dev);

	virtio_dev_destroy(dev);
	p9srv_free(p->srv);
	free(p->config);
	free(p);
}

static const struct virtio_dev_ops p9_ops = {
	.id = VIRTIO_ID_9P,
	.kick = p9_kick,
	.reset = p9_reset,
	.free = p9_free,
};

int virtio_9p_new(const struct virtio_env *env, const struct virtio_9p_cfg *cfg,
		  struct virtio_dev **out, struct err *e)
{
	size_t tag_len = strlen(cfg->tag);
	char name[64];
	struct virtio_dev_init init = {
		.name = name,
		.ops = &p9_ops,
		.env = env,
		.features = VIRTIO_F(VIRTIO_9P_MOUNT_TAG),
		.config_len = sizeof(struct virtio_9p_config) + tag_len,
		.nr_queues = 1,
		.queue_size = QUEUE_SIZE,
		.own_locks = true,
		.in_order = true,
	};
	struct p9srv_cfg srv = {
		.root_fd = cfg->root_fd,
		.name = cfg->tag,
		.readonly = cfg->readonly,
		.max_fds = cfg->max_fds,
	};
	struct virtio_9p *p;
	int ret;

	*out = NULL;
	if (env->max_request)
		srv.max_msize = MAX(env->max_request / POOL_SHARES, P9_MSIZE_MIN);
	if (!tag_len || tag_len > UINT16_MAX)
		return err_set(e, -EINVAL, "9p share: a mount tag has 1 to %u bytes", UINT16_MAX);
	snprintf(name, sizeof(name), "9p share %s", cfg->tag);
	p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(e, -ENOMEM, "9p share %s: no memory", cfg->tag);
	p->config = calloc(1, init.config_len);
	if (!p->config) {
		ret = err_set(e, -ENOMEM, "9p share %s: no memory", cfg->tag);
		goto free_p;
	}
	/* little-endian, whatever this host is */
	((uint8_t *)p->config)[0] = tag_len;
	((uint8_t *)p->config)[1] = tag_len >> 8;
	memcpy(p->config->tag, cfg->tag, tag_len);
	init.config = p->config;
	ret = p9srv_new(&srv, &p->srv, e);
	if (ret < 0) {
		err_prefix(e, "9p share %s", cfg->tag);
		goto free_config;
	}
	ret = virtio_dev_init(&p->dev, &init, e);
	if (ret < 0)
		goto free_srv;
	*out = &p->dev;
	return 0;

free_srv:
	p9srv_free(p->srv);
free_config:
	free(p->config);
free_p:
	free(p);
	return ret;
}
