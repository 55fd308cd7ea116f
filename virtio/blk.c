// SPDX-License-Identifier: BSD-3-Clause
/*
 * Block device (virtio 1.2, section 5.2) on a file or a block device of the host: the device and
 * its queues. Requests: blk_req.c.
 *
 * A queue is served in rounds: take what the guest has made available, start it with one system
 * call, give back what has ended with one interrupt at most. While there is something to do the
 * guest is not asked for kicks; when there is not, blk_pace.c says how many requests are worth one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtio/blk_int.h"
#include "vmm/core/err.h"

/* #syscalls main,io: statx ioctl=BLKGETSIZE64|BLKSSZGET|BLKPBSZGET|BLKIOOPT */

/*
 * Segments of one request: 1 MiB of single pages, and header and status take a descriptor each in
 * the usual layout. A longer queue makes for more requests, not for larger ones.
 */
#define SEG_MAX		254u
/*
 * A request that is larger than the guest's pool of bounce pages is tried for ever. Segments are
 * not cut below 64 KiB: Linux with pages of that size refuses a disk that wants smaller ones.
 */
#define SEG_SIZE_BOUNCED 0x10000u
/* Requests in one go, before others who share the loop have their turn. */
#define BUDGET		256u

static const struct virtio_dev_ops blk_ops;

static struct virtio_blk *to_blk(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_blk, dev);
}

/* ---- rounds ---- */

/* Nothing is there: when to look again? Returns true: at once. */
static bool rest(struct blk_queue *bq, bool idle)
{
	struct vq *vq = &bq->q->vq;
	bool there;

	if (vq_begin(vq) < 0)
		return false;
	bq->asked = idle || !vq->event_idx ? 1 :
		    MIN(blk_pace_ask(&bq->pace, bq->inflight), (unsigned int)vq->num);
	there = vq_ask(vq, bq->asked);
	vq_end(vq);
	if (!there && bq->asked > 1)
		loop_soon_set(bq->q->loop, &bq->soon, blk_pace_patience(&bq->pace));
	return there;
}

static unsigned int take(struct blk_queue *bq, unsigned int budget)
{
	struct vq *vq = &bq->q->vq;
	struct vq_chain c;
	unsigned int n = 0;

	if (vq_begin(vq) < 0)
		return 0;
	bq->section = true;
	while (n < budget && vq_more(vq) && vq_pop(vq, &c) > 0) {
		blk_parse(bq, &c);
		n++;
	}
	bq->section = false;
	vq_end(vq);
	return n;
}

/* Give back what has ended. A queue without a ring gets no answers, but its requests end. */
static void tell(struct blk_queue *bq)
{
	struct vq *vq = &bq->q->vq;
	uint32_t used;
	uint64_t begin;

	bq->section = bq->inflight && vq_begin(vq) == 0;
	used = vq->used;
	blkio_reap(bq->io);
	if (!bq->section)
		return;
	bq->section = false;
	if (used == vq->used) {
		vq_end(vq);
		return;
	}
	begin = loop_now();
	vq_end(vq);
	blk_pace_told(&bq->pace, loop_now() - begin);
	bq->rounds++;
}

/* Start what was taken, or is to go on, and wait for a part of it if that is soon there. */
static void start(struct blk_queue *bq)
{
	unsigned int want = 0;

	if (blkio_uses_uring(bq->io) && bq->inflight)
		want = blk_pace_want(&bq->pace, bq->inflight);
	blkio_submit(bq->io, want, blk_pace_hold(&bq->pace));
	blk_pace_waited(&bq->pace, want, blkio_ready(bq->io));
}

/*
 * Take and start requests for as long as they come, but what has ended should not wait long for
 * them. Returns how many were taken.
 */
static unsigned int gather(struct blk_queue *bq, unsigned int budget)
{
	unsigned int total = 0, n;
	uint64_t until = 0;

	while (total < budget && (n = take(bq, budget - total))) {
		total += n;
		start(bq);
		if (!until)
			until = loop_now() + blk_pace_hold(&bq->pace);
		else if (loop_now() >= until)
			break;
	}
	return total;
}

/* On the loop's thread; @late: without a kick, because it was time */
static void serve(struct blk_queue *bq, bool late)
{
	unsigned int budget = BUDGET, asked = bq->asked, n;
	bool first = true, there = false, idle;

	loop_soon_cancel(bq->q->loop, &bq->soon);
	bq->asked = 1;
	do {
		n = gather(bq, budget);
		budget -= n;
		if (first)
			blk_pace_came(&bq->pace, n, asked, late);
		idle = first && late && !n;
		first = false;
		if (!n)
			start(bq);	/* what was started before */
		tell(bq);
		/* A ring that has the last entry, but not the first: not worth another look now. */
		if (there && !n) {
			loop_soon_set(bq->q->loop, &bq->soon, blk_pace_patience(&bq->pace));
			break;
		}
		there = !n && rest(bq, idle);
	} while (budget && (n || there));
	/* Pieces that follow those which have just ended. */
	blkio_submit(bq->io, 0, 0);
	if (!budget)
		virtio_dev_kick(&bq->blk->dev, bq->q->vq.index);
}

static bool in_use(const struct blk_queue *bq)
{
	return bq->blk->dev.running && bq->q->vq.ready && !bq->q->vq.broken;
}

/* Whatever has ended, without taking more; any thread, with the queue's lock. */
static void reap_queue(struct blk_queue *bq)
{
	if (atomic_exchange(&bq->cancel_wanted, false))
		blk_cancel_reqs(bq, false);
	tell(bq);
	blkio_submit(bq->io, 0, 0);
}

static void io_event(struct blkio_owner *o)
{
	struct blk_queue *bq = container_of(o, struct blk_queue, owner);

	pthread_mutex_lock(bq->q->lock);
	if (atomic_exchange(&bq->cancel_wanted, false))
		blk_cancel_reqs(bq, false);
	if (in_use(bq))
		serve(bq, false);
	else
		reap_queue(bq);
	pthread_mutex_unlock(bq->q->lock);
}

static void soon_event(struct loop_soon *soon)
{
	struct blk_queue *bq = container_of(soon, struct blk_queue, soon);

	pthread_mutex_lock(bq->q->lock);
	if (in_use(bq))
		serve(bq, true);
	pthread_mutex_unlock(bq->q->lock);
}

/* ---- called by the common part ---- */

static void blk_kick(struct virtio_dev *dev, unsigned int q)
{
	serve(&to_blk(dev)->queue[q], false);
}

static int blk_start(struct virtio_dev *dev)
{
	struct virtio_blk *blk = to_blk(dev);
	bool flush = dev->driver_features & VIRTIO_F(VIRTIO_BLK_F_FLUSH);

	/* Section 5.2.5.2: a driver that does not flush cannot have a volatile cache. */
	if (!flush)
		blk->config.wce = 0;
	blk->writeback = blk->config.wce || blk->cache == VIRTIO_BLK_CACHE_UNSAFE;
	return 0;
}

static void blk_reset(struct virtio_dev *dev)
{
	struct virtio_blk *blk = to_blk(dev);

	blk->config.wce = blk->cache == VIRTIO_BLK_CACHE_WRITEBACK;
}

static void blk_config_write(struct virtio_dev *dev, uint32_t off, unsigned int len, uint32_t val)
{
	struct virtio_blk *blk = to_blk(dev);
	uint64_t both = VIRTIO_F(VIRTIO_BLK_F_CONFIG_WCE) | VIRTIO_F(VIRTIO_BLK_F_FLUSH);

	if (off != offsetof(struct virtio_blk_config, wce) || len != 1 ||
	    (dev->driver_features & both) != both)
		return;
	blk->config.wce = !!(val & 0xff);
	blk->writeback = blk->config.wce;
}

static unsigned int blk_queue_inflight(struct virtio_dev *dev, unsigned int q)
{
	struct blk_queue *bq = &to_blk(dev)->queue[q];
	unsigned int n;

	pthread_mutex_lock(bq->q->lock);
	n = bq->inflight;
	pthread_mutex_unlock(bq->q->lock);
	return n;
}

static unsigned int blk_inflight(struct virtio_dev *dev)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < dev->nr_queues; i++)
		n += blk_queue_inflight(dev, i);
	return n;
}

static void blk_reap(struct virtio_dev *dev)
{
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		struct blk_queue *bq = &to_blk(dev)->queue[i];

		pthread_mutex_lock(bq->q->lock);
		reap_queue(bq);
		pthread_mutex_unlock(bq->q->lock);
	}
}

static void blk_queue_cancel(struct virtio_dev *dev, unsigned int q)
{
	struct blk_queue *bq = &to_blk(dev)->queue[q];

	pthread_mutex_lock(bq->q->lock);
	blk_cancel_reqs(bq, true);
	pthread_mutex_unlock(bq->q->lock);
}

static void blk_cancel(struct virtio_dev *dev)
{
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		blk_queue_cancel(dev, i);
}

static void blk_wait(struct virtio_dev *dev, unsigned int ms)
{
	struct virtio_blk *blk = to_blk(dev);
	struct blkio *io[BLK_MAX_QUEUES];

	for (unsigned int i = 0; i < dev->nr_queues; i++)
		io[i] = blk->queue[i].io;
	blkio_wait(io, dev->nr_queues, ms);
}

static void log_stats(struct virtio_blk *blk)
{
	uint64_t reqs = 0, calls = 0, rounds = 0;

	for (unsigned int i = 0; i < blk->dev.nr_queues; i++) {
		const struct blkio_stat *s = blkio_stat(blk->queue[i].io);

		reqs += s->reqs;
		calls += s->calls;
		rounds += blk->queue[i].rounds;
	}
	log_debug("%s: %" PRIu64 " requests to the host with %" PRIu64 " system calls, given back in "
		  "%" PRIu64 " rounds", blk->dev.name, reqs, calls, rounds);
	log_debug("%s: telling the guest takes %" PRIu64 " ns, a kick is for %u", blk->dev.name,
		  blk->queue[0].pace.cost, blk->queue[0].pace.want);
}

static void free_queues(struct virtio_blk *blk)
{
	for (unsigned int i = 0; i < blk->dev.nr_queues; i++) {
		struct blk_queue *bq = &blk->queue[i];

		if (bq->q)
			loop_soon_cancel(bq->q->loop, &bq->soon);
		blkio_free(bq->io);
	}
	free(blk->queue);
}

static void blk_free(struct virtio_dev *dev)
{
	struct virtio_blk *blk = to_blk(dev);

	if (blk_inflight(dev))
		return;		/* the kernel still writes there: better lost than reused */
	log_stats(blk);
	free_queues(blk);
	virtio_dev_destroy(dev);
	free(blk);
}

static const struct virtio_dev_ops blk_ops = {
	.id = VIRTIO_ID_BLOCK,
	.kick = blk_kick,
	.start = blk_start,
	.reset = blk_reset,
	.config_write = blk_config_write,
	.inflight = blk_inflight,
	.reap = blk_reap,
	.cancel = blk_cancel,
	.queue_inflight = blk_queue_inflight,
	.queue_cancel = blk_queue_cancel,
	.wait = blk_wait,
	.free = blk_free,
};

/* ---- the constructor ---- */

static uint8_t log2_ratio(uint32_t big, uint32_t small)
{
	uint8_t n = 0;

	while (small < big) {
		small <<= 1;
		n++;
	}
	return n;
}

struct geometry {
	uint64_t size;
	uint32_t logical, physical, optimal;	/* block sizes, bytes */
	bool topology;
};

/* Leaves the defaults alone where the kernel (before 6.1) or the file system does not tell. */
static void ask_dio_alignment(int fd, uint32_t *mem, uint32_t *off)
{
#ifdef STATX_DIOALIGN
	struct statx sx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
	    (sx.stx_mask & STATX_DIOALIGN) && sx.stx_dio_mem_align && sx.stx_dio_offset_align) {
		*mem = sx.stx_dio_mem_align;
		*off = sx.stx_dio_offset_align;
	}
#endif
}

/* Bytes of a file or a block device. Return: 0 or a negative errno */
static int disk_size(int fd, const struct stat *st, uint64_t *size)
{
	if (S_ISBLK(st->st_mode))
		return ioctl(fd, BLKGETSIZE64, size) < 0 ? -errno : 0;
	*size = st->st_size;
	return 0;
}

static int measure(struct virtio_blk *blk, const struct virtio_blk_cfg *cfg, struct geometry *g,
		   struct err *e)
{
	struct stat st;

	*g = (struct geometry){ .logical = BLK_SECTOR, .physical = BLK_SECTOR };
	if (fstat(cfg->fd, &st) < 0)
		return err_set(e, -errno, "disk %s: %s", cfg->path, strerror(errno));
	if (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "disk %s: neither a file nor a block device", cfg->path);
	if (disk_size(cfg->fd, &st, &g->size) < 0)
		return err_set(e, -errno, "disk %s: size of the block device: %s", cfg->path,
			       strerror(errno));
	if (S_ISBLK(st.st_mode)) {
		unsigned int phys = 0, opt = 0;
		int logical = 0;

		if (ioctl(cfg->fd, BLKSSZGET, &logical) < 0)
			return err_set(e, -errno, "disk %s: block size of the block device: %s",
				       cfg->path, strerror(errno));
		if (ioctl(cfg->fd, BLKPBSZGET, &phys) < 0 || ioctl(cfg->fd, BLKIOOPT, &opt) < 0)
			phys = opt = 0;
		g->logical = logical;
		g->physical = MAX(phys, g->logical);
		g->optimal = opt;
		g->topology = true;
	} else {
		/* Network file systems name the size of their packets here. */
		g->physical = MIN((uint32_t)st.st_blksize, (uint32_t)SZ_4K);
		g->topology = cfg->direct;
	}
	if (cfg->direct) {
		blk->dio_mem = blk->dio_off = g->logical;
		ask_dio_alignment(cfg->fd, &blk->dio_mem, &blk->dio_off);
		g->logical = MAX(g->logical, blk->dio_off);
	}
	if (g->logical < BLK_SECTOR || (g->logical & (g->logical - 1)) || g->logical > SZ_64K)
		return err_set(e, -EINVAL, "disk %s: a block size of %u bytes is not supported",
			       cfg->path, g->logical);
	if (g->physical < g->logical || (g->physical & (g->physical - 1)))
		g->physical = g->logical;
	return 0;
}

/* Returns whether the driver sees another size. */
static bool set_size(struct virtio_blk *blk, uint64_t size)
{
	uint64_t capacity = ALIGN_DOWN(size, (uint64_t)blk->block);
	bool changed = capacity != blk->capacity;

	if (capacity != size)
		log_warning("%s: its size is not a multiple of %u; the guest does not see the last "
			    "%" PRIu64 " bytes", blk->dev.name, blk->block, size - capacity);
	blk->capacity = capacity;
	blk->config.capacity = capacity / BLK_SECTOR;
	return changed;
}

int virtio_blk_resize(struct virtio_dev *dev)
{
	struct virtio_blk *blk = to_blk(dev);
	struct stat st;
	uint64_t size = 0;
	int ret;

	if (dev->ops != &blk_ops)
		return -ENOTTY;
	ret = fstat(blk->fd, &st) < 0 ? -errno : disk_size(blk->fd, &st, &size);
	if (ret < 0)
		return ret;
	virtio_dev_lock(dev);
	ret = set_size(blk, size);
	if (ret)
		virtio_dev_config_changed(dev);
	virtio_dev_unlock(dev);
	if (ret)
		log_info("%s: its size is %" PRIu64 " bytes now", dev->name, size);
	return ret;
}

static void fill_config(struct virtio_blk *blk, const struct geometry *g, unsigned int queue_size,
			uint32_t max_request)
{
	struct virtio_blk_config *c = &blk->config;

	c->seg_max = MIN(queue_size - 2, SEG_MAX);
	if (max_request) {
		c->size_max = SEG_SIZE_BOUNCED;
		c->seg_max = MIN(MAX(max_request / SEG_SIZE_BOUNCED, 1U), c->seg_max);
	}
	c->blk_size = g->logical;
	c->physical_block_exp = log2_ratio(g->physical, g->logical);
	c->min_io_size = MIN(g->physical / g->logical, UINT16_MAX);
	c->opt_io_size = g->optimal / g->logical;
	c->wce = blk->cache == VIRTIO_BLK_CACHE_WRITEBACK;
	c->num_queues = blk->dev.nr_queues;
	c->max_discard_sectors = BLK_MAX_RANGE_SECTORS;
	c->max_discard_seg = BLK_MAX_RANGES;
	c->discard_sector_alignment = g->physical / BLK_SECTOR;
	c->max_write_zeroes_sectors = BLK_MAX_RANGE_SECTORS;
	c->max_write_zeroes_seg = BLK_MAX_RANGES;
	c->write_zeroes_may_unmap = !blk->no_discard;
}

static uint64_t features(const struct virtio_blk_cfg *cfg, const struct virtio_env *env,
			 const struct geometry *g)
{
	uint64_t f = VIRTIO_F(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_F(VIRTIO_BLK_F_BLK_SIZE);

	if (env->max_request)
		f |= VIRTIO_F(VIRTIO_BLK_F_SIZE_MAX);
	if (g->topology)
		f |= VIRTIO_F(VIRTIO_BLK_F_TOPOLOGY);
	if (cfg->queues > 1)
		f |= VIRTIO_F(VIRTIO_BLK_F_MQ);
	if (cfg->readonly)
		return f | VIRTIO_F(VIRTIO_BLK_F_RO) | VIRTIO_F(VIRTIO_BLK_F_FLUSH);
	f |= VIRTIO_F(VIRTIO_BLK_F_WRITE_ZEROES);
	if (!cfg->no_discard)
		f |= VIRTIO_F(VIRTIO_BLK_F_DISCARD);
	if (cfg->cache != VIRTIO_BLK_CACHE_UNSAFE)
		f |= VIRTIO_F(VIRTIO_BLK_F_FLUSH) | VIRTIO_F(VIRTIO_BLK_F_CONFIG_WCE);
	return f;
}

static int make_queues(struct virtio_blk *blk, const struct virtio_blk_cfg *cfg,
		       unsigned int queue_size, struct err *e)
{
	blk->queue = calloc(blk->dev.nr_queues, sizeof(*blk->queue));
	if (!blk->queue)
		return err_set(e, -ENOMEM, "no memory for its queues");
	for (unsigned int i = 0; i < blk->dev.nr_queues; i++) {
		struct blk_queue *bq = &blk->queue[i];
		int ret;

		bq->blk = blk;
		bq->q = &blk->dev.queue[i];
		bq->owner = (struct blkio_owner){ .done = blk_io_done, .event = io_event };
		bq->soon.fn = soon_event;
		bq->asked = 1;
		blk_pace_init(&bq->pace);
		ret = blkio_new(bq->q->loop, cfg->fd, blk->dev.name, queue_size, cfg->no_uring,
				&bq->owner, &bq->io, e);
		if (ret < 0)
			return ret;
	}
	return 0;
}

int virtio_blk_new(const struct virtio_env *env, const struct virtio_blk_cfg *cfg,
		   struct virtio_dev **out, struct err *e)
{
	struct virtio_dev_init init = {
		.ops = &blk_ops,
		.env = env,
		.config_len = sizeof(struct virtio_blk_config),
		.nr_queues = cfg->queues ? cfg->queues : 1,
		.queue_size = cfg->queue_size ? cfg->queue_size : VQ_SIZE_DEFAULT,
		.own_locks = true,
	};
	struct virtio_blk *blk;
	struct geometry g;
	char name[64];
	int ret;

	*out = NULL;
	if (init.nr_queues > BLK_MAX_QUEUES)
		return err_set(e, -EINVAL, "disk %s: %u queues; give at most %u", cfg->path,
			       init.nr_queues, BLK_MAX_QUEUES);
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return err_set(e, -ENOMEM, "disk %s: no memory", cfg->path);
	ret = measure(blk, cfg, &g, e);
	if (ret < 0)
		goto free_blk;
	snprintf(name, sizeof(name), "disk %s", cfg->path);
	init.name = name;
	init.config = &blk->config;
	init.features = features(cfg, env, &g);
	ret = virtio_dev_init(&blk->dev, &init, e);
	if (ret < 0)
		goto free_blk;
	blk->fd = cfg->fd;
	blk->block = g.logical;
	blk->readonly = cfg->readonly;
	blk->no_discard = cfg->no_discard;
	blk->cache = cfg->cache;
	if (cfg->serial)
		memcpy(blk->serial, cfg->serial, strnlen(cfg->serial, sizeof(blk->serial)));
	fill_config(blk, &g, init.queue_size, env->max_request);
	set_size(blk, g.size);
	ret = make_queues(blk, cfg, init.queue_size, e);
	if (ret < 0) {
		err_prefix(e, "disk %s", cfg->path);
		goto free_queues;
	}
	*out = &blk->dev;
	return 0;

free_queues:
	if (blk->queue)
		free_queues(blk);
	virtio_dev_destroy(&blk->dev);
free_blk:
	free(blk);
	return ret;
}
