// SPDX-License-Identifier: BSD-3-Clause
/*
 * Memory balloon (virtio 1.2, section 5.5). For a plain VM: the driver hands out physical addresses
 * of its choice, and which page of a realm has memory is between the realm and its monitor.
 *
 * What the guest gives up, the pages in its balloon and those it reports as free, goes back to the
 * host (gmem_discard()). Taking a page out of the balloon needs no work: its first use brings a
 * page of zeros.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "virtio/dev.h"
#include "vmm/core/err.h"

#define QUEUE_SIZE	128	/* chains of 256 page numbers are what Linux sends */
#define PAGE		(UINT64_C(1) << VIRTIO_BALLOON_PFN_SHIFT)
#define CHUNK		1024	/* page numbers that are looked at together */
/* Of one turn on the loop, and of one chain: Linux has 256 page numbers in one. */
#define PFN_BUDGET	16384
/* Reports of one turn: each is a range of any length. */
#define RANGE_BUDGET	256
/* Statistics of one buffer that are looked at; Linux has 16. */
#define STATS_LOOK	64
#define NSEC_PER_SEC	UINT64_C(1000000000)

/* Where queues are that not every driver has: behind those it has negotiated. */
enum { INFLATE, DEFLATE, OTHERS, NR_QUEUES = 5 };
/* ... or where section 5.5.2 counts them, which drivers that follow it to the letter use. */
#define REPORTING_FIXED	4

struct balloon {
	struct virtio_dev dev;
	struct virtio_balloon_config config;
	struct loop_timer timer;
	unsigned int period;		/* seconds between two questions for statistics; 0: none */
	uint64_t max_pages;
	struct vq_head stats_head;	/* the buffer that the driver waits for */
	bool have_stats_head;
	struct virtio_balloon_stats stats;
	uint64_t stats_ms;		/* when they came */
};

static struct balloon *to_balloon(struct virtio_dev *dev)
{
	return container_of(dev, struct balloon, dev);
}

static bool has(const struct balloon *b, unsigned int bit)
{
	return b->dev.driver_features & VIRTIO_F(bit);
}

static int stats_queue(const struct balloon *b)
{
	return has(b, VIRTIO_BALLOON_F_STATS_VQ) ? OTHERS : -1;
}

static bool is_reporting(const struct balloon *b, unsigned int q)
{
	unsigned int next = has(b, VIRTIO_BALLOON_F_STATS_VQ) ? OTHERS + 1 : OTHERS;

	return has(b, VIRTIO_BALLOON_F_REPORTING) && (q == next || q == REPORTING_FIXED);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * UINT64_C(1000) + ts.tv_nsec / 1000000;
}

/* ---- giving up memory ---- */

static void discard(struct balloon *b, struct vq *vq, ipa_t ipa, uint64_t len)
{
	uint64_t done = 0;
	int ret = gmem_discard(vq->gm, ipa, len, &done);

	b->stats.discarded += done;
	if (ret == -EBUSY)
		log_rated(&b->dev.rate, LOG_WARNING, "%s: the guest gives up memory at %" PRIipa
			  " that a request in flight uses; it is kept", b->dev.name, ipa);
	else if (ret == -EOPNOTSUPP)
		log_rated(&b->dev.rate, LOG_INFO, "%s: the memory at %" PRIipa " cannot be given "
			  "back to the host", b->dev.name, ipa);
	else if (ret < 0)
		vq_log_addr(vq, ipa, len, ret);
}

/* Page numbers, in runs as long as they are: Linux has them going up or down. */
static void inflate_pages(struct balloon *b, struct vq *vq, const __le32 *pfn, unsigned int nr)
{
	for (unsigned int i = 0, end; i < nr; i = end) {
		uint64_t low = le32toh(pfn[i]), high = low;

		for (end = i + 1; end < nr; end++) {
			uint64_t n = le32toh(pfn[end]);

			if (n == high + 1)
				high = n;
			else if (n + 1 == low)
				low = n;
			else
				break;
		}
		discard(b, vq, low * PAGE, (high - low + 1) * PAGE);
	}
}

/* Return: page numbers that were looked at. */
static unsigned int inflate_chain(struct balloon *b, struct vq *vq, const struct vq_chain *c)
{
	uint64_t nr = c->out_len / sizeof(__le32);
	unsigned int done = 0;
	__le32 pfn[CHUNK];

	if (nr > PFN_BUDGET) {
		log_rated(&b->dev.rate, LOG_WARNING, "%s: of %" PRIu64 " pages in one buffer %d are "
			  "taken", b->dev.name, nr, PFN_BUDGET);
		nr = PFN_BUDGET;
	}
	while (done < nr) {
		unsigned int n = MIN(nr - done, (uint64_t)CHUNK);

		if (vq_read(vq, c, done * sizeof(pfn[0]), pfn, n * sizeof(pfn[0])) < 0)
			break;
		inflate_pages(b, vq, pfn, n);
		done += n;
	}
	return done + 1;
}

static void inflate_kick(struct balloon *b, struct vq *vq)
{
	unsigned int done = 0;
	struct vq_chain c;

	if (vq_begin(vq) < 0)
		return;
	while (vq_pop(vq, &c) > 0) {
		done += inflate_chain(b, vq, &c);
		vq_push(vq, &c.head, 0);
		if (done >= PFN_BUDGET) {
			virtio_dev_kick(&b->dev, vq->index);
			break;
		}
	}
	vq_end(vq);
}

/* The guest takes pages back: it only wants to hear that this is fine. */
static void deflate_kick(struct balloon *b, struct vq *vq)
{
	unsigned int budget = vq->num;
	struct vq_chain c;

	if (vq_begin(vq) < 0)
		return;
	while (budget && vq_pop(vq, &c) > 0) {
		vq_push(vq, &c.head, 0);
		budget--;
	}
	if (!budget)
		virtio_dev_kick(&b->dev, vq->index);
	vq_end(vq);
}

/*
 * Free pages, whose contents come back as they are or as zeros. A guest that fills them with
 * another value wants to find that (section 5.5.6.7.2): nothing is done then.
 */
static void report_kick(struct balloon *b, struct vq *vq)
{
	bool keep = has(b, VIRTIO_BALLOON_F_PAGE_POISON) && b->config.poison_val;
	unsigned int ranges = 0;
	struct vq_chain c;

	if (vq_begin(vq) < 0)
		return;
	while (vq_pop(vq, &c) > 0) {
		for (unsigned int i = 0; i < c.nr_in && !keep; i++)
			discard(b, vq, c.seg[c.nr_out + i].addr, c.seg[c.nr_out + i].len);
		vq_push(vq, &c.head, 0);
		ranges += c.nr_in + 1;
		if (ranges >= RANGE_BUDGET) {
			virtio_dev_kick(&b->dev, vq->index);
			break;
		}
	}
	vq_end(vq);
}

/* ---- statistics ---- */

static void take_stats(struct balloon *b, struct vq *vq, const struct vq_chain *c)
{
	struct virtio_balloon_stat s[STATS_LOOK];
	uint64_t nr = MIN(c->out_len / sizeof(s[0]), (uint64_t)STATS_LOOK);

	if (!nr || vq_read(vq, c, 0, s, nr * sizeof(s[0])) < 0)
		return;
	b->stats.have = 0;
	for (unsigned int i = 0; i < nr; i++) {
		uint16_t tag = le16toh(s[i].tag);

		if (tag >= VIRTIO_BALLOON_STATS)
			continue;
		b->stats.value[tag] = le64toh(s[i].val);
		b->stats.have |= UINT32_C(1) << tag;
	}
	b->stats_ms = now_ms();
	b->stats.seen++;
	log_debug("%s: statistics %" PRIu64 ": total %" PRIu64 ", free %" PRIu64 ", available %" PRIu64
		  " bytes; balloon %" PRIu64 ", given back %" PRIu64 " bytes", b->dev.name,
		  b->stats.seen, b->stats.value[VIRTIO_BALLOON_S_MEMTOT],
		  b->stats.value[VIRTIO_BALLOON_S_MEMFREE], b->stats.value[VIRTIO_BALLOON_S_AVAIL],
		  le32toh(b->config.actual) * PAGE, b->stats.discarded);
}

/* The driver puts a buffer here and gets it back when new statistics are wanted. */
static void stats_kick(struct balloon *b, struct vq *vq)
{
	unsigned int budget = vq->num;
	struct vq_chain c;

	if (vq_begin(vq) < 0)
		return;
	while (budget && vq_pop(vq, &c) > 0) {
		take_stats(b, vq, &c);
		if (b->have_stats_head && b->stats_head.epoch == vq->epoch)
			vq_push(vq, &b->stats_head, 0);		/* one is enough */
		b->stats_head = c.head;
		b->have_stats_head = true;
		budget--;
	}
	if (!budget)
		virtio_dev_kick(&b->dev, vq->index);
	vq_end(vq);
}

/* The lock is held. */
static bool ask(struct balloon *b)
{
	int q = stats_queue(b);
	struct vq *vq;

	if (q < 0 || !b->dev.running || !b->have_stats_head)
		return false;
	vq = &b->dev.queue[q].vq;
	if (vq_begin(vq) < 0)
		return false;
	b->have_stats_head = false;
	vq_push(vq, &b->stats_head, 0);
	vq_end(vq);
	return true;
}

static void on_timer(struct loop_timer *t)
{
	struct balloon *b = container_of(t, struct balloon, timer);

	virtio_dev_lock(&b->dev);
	ask(b);
	if (b->period)
		loop_timer_set(t, b->period * NSEC_PER_SEC);
	virtio_dev_unlock(&b->dev);
}

/* ---- for the host ---- */

int virtio_balloon_set(struct virtio_dev *dev, uint64_t pages)
{
	struct balloon *b = to_balloon(dev);

	if (pages > b->max_pages)
		return -ERANGE;
	virtio_dev_lock(dev);
	if (le32toh(b->config.num_pages) != pages) {
		b->config.num_pages = htole32(pages);
		virtio_dev_config_changed(dev);
	}
	virtio_dev_unlock(dev);
	return 0;
}

int virtio_balloon_ask(struct virtio_dev *dev)
{
	bool asked;

	virtio_dev_lock(dev);
	asked = ask(to_balloon(dev));
	virtio_dev_unlock(dev);
	return asked ? 0 : -EAGAIN;
}

void virtio_balloon_stats(struct virtio_dev *dev, struct virtio_balloon_stats *out)
{
	struct balloon *b = to_balloon(dev);

	virtio_dev_lock(dev);
	*out = b->stats;
	out->target = le32toh(b->config.num_pages);
	out->actual = le32toh(b->config.actual);
	out->age_ms = b->stats.seen ? now_ms() - b->stats_ms : 0;
	virtio_dev_unlock(dev);
}

/* ---- the rest ---- */

static void balloon_kick(struct virtio_dev *dev, unsigned int q)
{
	struct balloon *b = to_balloon(dev);
	struct vq *vq = &dev->queue[q].vq;

	if (q == INFLATE)
		inflate_kick(b, vq);
	else if (q == DEFLATE)
		deflate_kick(b, vq);
	else if ((int)q == stats_queue(b))
		stats_kick(b, vq);
	else if (is_reporting(b, q))
		report_kick(b, vq);
}

static void balloon_config_write(struct virtio_dev *dev, uint32_t off, unsigned int len,
				 uint32_t val)
{
	struct balloon *b = to_balloon(dev);
	static const uint32_t writable[] = {
		offsetof(struct virtio_balloon_config, actual),
		offsetof(struct virtio_balloon_config, poison_val),
	};
	const __le32 bytes = htole32(val);

	for (size_t i = 0; i < ARRAY_SIZE(writable); i++)
		if (off >= writable[i] && off + len <= writable[i] + sizeof(__le32))
			memcpy((uint8_t *)&b->config + off, &bytes, len);
}

static void balloon_reset(struct virtio_dev *dev)
{
	struct balloon *b = to_balloon(dev);

	/* The new driver starts with an empty balloon, and inflates it to what is wanted. */
	b->config.actual = 0;
	b->config.poison_val = 0;
	b->have_stats_head = false;
}

static void balloon_free(struct virtio_dev *dev)
{
	struct balloon *b = to_balloon(dev);

	loop_timer_del(dev->queue[INFLATE].loop, &b->timer);
	virtio_dev_destroy(dev);
	free(b);
}

static const struct virtio_dev_ops balloon_ops = {
	.id = VIRTIO_ID_BALLOON,
	.kick = balloon_kick,
	.config_write = balloon_config_write,
	.reset = balloon_reset,
	.free = balloon_free,
};

int virtio_balloon_new(const struct virtio_env *env, const struct virtio_balloon_cfg *cfg,
		       struct virtio_dev **out, struct err *e)
{
	struct balloon *b = calloc(1, sizeof(*b));
	const struct virtio_dev_init init = {
		.name = "virtio-balloon",
		.ops = &balloon_ops,
		.env = env,
		.features = VIRTIO_F(VIRTIO_BALLOON_F_STATS_VQ) |
			    VIRTIO_F(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) |
			    VIRTIO_F(VIRTIO_BALLOON_F_PAGE_POISON) |
			    VIRTIO_F(VIRTIO_BALLOON_F_REPORTING),
		.config = b ? &b->config : NULL,
		.config_len = sizeof(struct virtio_balloon_config),
		.nr_queues = NR_QUEUES,
		.queue_size = QUEUE_SIZE,
		.in_order = true,
	};
	int ret;

	*out = NULL;
	if (!b)
		return err_set(e, -ENOMEM, "virtio-balloon: no memory");
	b->period = cfg->stats_period;
	b->max_pages = cfg->max_pages;
	b->config.num_pages = htole32(MIN(cfg->pages, cfg->max_pages));
	b->timer.src.fd = -1;
	ret = virtio_dev_init(&b->dev, &init, e);
	if (ret < 0) {
		free(b);
		return ret;
	}
	ret = loop_timer_add(b->dev.queue[INFLATE].loop, &b->timer, on_timer);
	if (ret < 0) {
		err_set(e, ret, "virtio-balloon: timer: %s", strerror(-ret));
		balloon_free(&b->dev);
		return ret;
	}
	if (b->period)
		loop_timer_set(&b->timer, b->period * NSEC_PER_SEC);
	*out = &b->dev;
	return 0;
}
