// SPDX-License-Identifier: BSD-3-Clause
/*
 * Requests of the block device (virtio 1.2, section 5.2.6).
 *
 * The life of a request: blk_parse() checks it and pins its buffers -> step_*() hands the next
 * piece to the engine -> blk_io_done() counts what came back -> step_*() ... -> finish() unpins,
 * writes the status byte and gives the chain back. A piece is what one system call does: reads and
 * writes come back short, a discard has several ranges, and a bounced request moves in BOUNCE_SIZE
 * steps.
 *
 * Order: a flush is one fdatasync, which covers all writes that were completed before it arrived,
 * on whichever queue. Nothing else is ordered, and the driver expects nothing else (section
 * 5.2.6.2).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/blk_int.h"
#include "vmm/core/trace.h"

/* A guest can have a queue's size of these allocated, with `direct` and bad alignment only. */
#define BOUNCE_SIZE	(128u << 10)
#define BOUNCE_ALIGN	4096u
#define RETRIES		8

static const uint8_t zeroes[SZ_64K] __attribute__((aligned(SZ_4K)));

struct blk_pin {
	struct gmem_pin pin;
	struct blk_req *req;
};

/**
 * struct blk_req - a request
 * @pos, @left:  where on the disk, and how many bytes are still to do (of the current range)
 * @in_len:      bytes written for the guest if it succeeds, beside the status byte
 * @status:      where the status byte goes
 * @iov:         what is left of the pinned buffers
 * @piece:       the one buffer of a bounced request, or zeroes
 * @range:       a copy of what a discard or write-zeroes wants, the current one first
 * @cancel:      set by the thread that needs our memory
 * @began:       when it was taken, and
 * @at, @bytes:  what it was about, all for --trace
 */
struct blk_req {
	struct blkio_req io;
	struct blk_queue *bq;
	struct blk_req *next, **pprev;
	struct vq_head head;
	uint32_t type;
	uint64_t pos, left;
	uint64_t in_len;
	ipa_t status;
	unsigned int retries;
	_Atomic bool cancel;
	struct iovec *iov;
	unsigned int nr_iov;
	struct blk_pin *pin;
	unsigned int nr_pins;
	uint8_t *bounce;
	struct iovec piece;
	struct virtio_blk_discard_write_zeroes *range;
	unsigned int nr_ranges;
	bool syncing;
	uint64_t began, at, bytes;
};

static struct virtio_blk *blk_of(const struct blk_req *r)
{
	return r->bq->blk;
}

static const char *request_name(uint32_t type)
{
	switch (type) {
	case VIRTIO_BLK_T_IN: return "read";
	case VIRTIO_BLK_T_OUT: return "write";
	case VIRTIO_BLK_T_FLUSH: return "flush";
	case VIRTIO_BLK_T_DISCARD: return "discard";
	case VIRTIO_BLK_T_WRITE_ZEROES: return "write zeroes";
	case VIRTIO_BLK_T_GET_ID: return "get ID";
	default: return "unknown";
	}
}

/* Of discard and write zeroes: the first range. */
static const struct trace_kind request_kind = {
	.cat = "blk", .text = "device", .arg = { "offset", "bytes", "status" },
};

/* ---- the end of a request ---- */

static void complete(struct vq *vq, const struct vq_head *head, ipa_t where, uint8_t status,
		     uint64_t in_len)
{
	void *p;
	int ret = gmem_map(vq->gm, where, 1, &p);

	if (ret < 0) {
		vq_log_addr(vq, where, 1, ret);
		vq_push(vq, head, 0);
		return;
	}
	*(uint8_t *)p = status;
	ret = gmem_check(vq->gm, where, 1);
	if (ret < 0) {
		vq_log_addr(vq, where, 1, ret);
		vq_push(vq, head, 0);
		return;
	}
	/* After an error nobody knows how much of the data is good: none is. */
	vq_push(vq, head, status == VIRTIO_BLK_S_OK ? in_len + 1 : 1);
}

/* -EIO: some of its memory was lost while the kernel or we used it */
static int unpin(struct blk_req *r)
{
	int ret = 0;

	for (unsigned int i = 0; i < r->nr_pins; i++)
		if (gmem_unpin(blk_of(r)->dev.env.gm, &r->pin[i].pin) < 0)
			ret = -EIO;
	r->nr_pins = 0;
	return ret;
}

static void free_req(struct blk_req *r)
{
	unpin(r);
	free(r->bounce);
	free(r);
}

static void finish(struct blk_req *r, uint8_t status)
{
	struct blk_queue *bq = r->bq;
	struct vq *vq = &bq->q->vq;

	*r->pprev = r->next;
	if (r->next)
		r->next->pprev = r->pprev;
	bq->inflight--;
	if (unpin(r) < 0 && status == VIRTIO_BLK_S_OK)
		status = VIRTIO_BLK_S_IOERR;
	/* A queue that was reset or broken meanwhile gets no answer; its memory is not ours. */
	if (bq->section && r->head.epoch == vq->epoch && !vq->broken)
		complete(vq, &r->head, r->status, status, r->in_len);
	trace_async(&request_kind, request_name(r->type), r->began, blk_of(r)->dev.name, r->at,
		    r->bytes, status);
	free_req(r);
}

static uint8_t to_status(int error)
{
	return error == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

/* ---- data ---- */

/*
 * Move @n bytes between the front of the buffers and a bounce buffer. Pins keep them shared; the
 * section is for memory that is lost all the same. False: some of it was.
 */
static bool bounce_copy(struct blk_req *r, uint8_t *buf, size_t n, bool to_guest)
{
	struct gmem *gm = blk_of(r)->dev.env.gm;
	bool outside = !r->bq->section, intact = true;

	if (outside)
		gmem_enter(gm);
	for (struct iovec *v = r->iov; n; v++) {
		size_t part = MIN(n, v->iov_len);

		if (to_guest)
			memcpy(v->iov_base, buf, part);
		else
			memcpy(buf, v->iov_base, part);
		buf += part;
		n -= part;
	}
	for (unsigned int i = 0; i < r->nr_pins; i++)
		intact &= !gmem_check(gm, r->pin[i].pin.base, r->pin[i].pin.len);
	if (outside)
		gmem_leave(gm);
	return intact;
}

static void advance(struct blk_req *r, size_t n)
{
	r->pos += n;
	r->left -= n;
	while (n) {
		size_t part = MIN(n, r->iov->iov_len);

		r->iov->iov_base = (uint8_t *)r->iov->iov_base + part;
		r->iov->iov_len -= part;
		n -= part;
		if (!r->iov->iov_len) {
			r->iov++;
			r->nr_iov--;
		}
	}
}

static bool needs_bounce(const struct virtio_blk *blk, const struct blk_req *r)
{
	if (!blk->dio_mem)
		return false;
	for (unsigned int i = 0; i < r->nr_iov; i++)
		if (!IS_ALIGNED((uintptr_t)r->iov[i].iov_base, (uintptr_t)blk->dio_mem) ||
		    !IS_ALIGNED(r->iov[i].iov_len, (size_t)blk->dio_off))
			return true;
	return false;
}

static bool make_bounce(struct blk_req *r)
{
	size_t size = ALIGN_UP(MIN(r->left, BOUNCE_SIZE), BOUNCE_ALIGN);
	void *p;

	if (posix_memalign(&p, BOUNCE_ALIGN, size))
		return false;
	r->bounce = p;
	return true;
}

static void step_data(struct blk_req *r)
{
	struct virtio_blk *blk = blk_of(r);

	r->io.op = r->type == VIRTIO_BLK_T_IN ? BLKIO_READ : BLKIO_WRITE;
	r->io.flags = r->type == VIRTIO_BLK_T_OUT && !blk->writeback ? RWF_DSYNC : 0;
	r->io.off = r->pos;
	if (r->bounce) {
		r->piece.iov_base = r->bounce;
		r->piece.iov_len = MIN(r->left, BOUNCE_SIZE);
		if (r->type == VIRTIO_BLK_T_OUT &&
		    !bounce_copy(r, r->bounce, r->piece.iov_len, false)) {
			finish(r, VIRTIO_BLK_S_IOERR);
			return;
		}
		r->io.iov = &r->piece;
		r->io.nr_iov = 1;
	} else {
		r->io.iov = r->iov;
		r->io.nr_iov = r->nr_iov;
	}
	blkio_queue(r->bq->io, &r->io);
}

static void data_done(struct blk_req *r, int res)
{
	/* Some alignment rules of O_DIRECT cannot be asked for beforehand. */
	if (res == -EINVAL && blk_of(r)->dio_mem && !r->bounce) {
		if (!make_bounce(r)) {
			finish(r, VIRTIO_BLK_S_IOERR);
			return;
		}
		step_data(r);
		return;
	}
	if (res <= 0 || (uint64_t)res > r->left) {
		log_rated(&blk_of(r)->dev.rate, LOG_WARNING, "%s: %s of %" PRIu64 " bytes at %" PRIu64
			  ": %s", blk_of(r)->dev.name, r->type == VIRTIO_BLK_T_IN ? "read" : "write",
			  r->left, r->pos, res < 0 ? strerror(-res) :
			  "the image is shorter than it was");
		finish(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (r->bounce && r->type == VIRTIO_BLK_T_IN && !bounce_copy(r, r->bounce, res, true)) {
		finish(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	advance(r, res);
	if (r->left)
		step_data(r);
	else
		finish(r, VIRTIO_BLK_S_OK);
}

/* ---- discard and write zeroes ---- */

static bool next_range(struct blk_req *r)
{
	for (; r->nr_ranges; r->range++, r->nr_ranges--) {
		if (!r->range->num_sectors)
			continue;
		r->pos = r->range->sector * BLK_SECTOR;
		r->left = (uint64_t)r->range->num_sectors * BLK_SECTOR;
		return true;
	}
	return false;
}

/* Zeroes where nothing better works: write them, a piece at a time. */
static void step_write_zeroes(struct blk_req *r)
{
	r->piece.iov_base = (void *)(uintptr_t)zeroes;
	r->piece.iov_len = MIN(r->left, sizeof(zeroes));
	r->io.op = BLKIO_WRITE;
	r->io.flags = 0;
	r->io.off = r->pos;
	r->io.iov = &r->piece;
	r->io.nr_iov = 1;
	blkio_queue(r->bq->io, &r->io);
}

static void step_range(struct blk_req *r)
{
	struct virtio_blk *blk = blk_of(r);
	bool unmap = r->type == VIRTIO_BLK_T_DISCARD ||
		     ((r->range->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) && !blk->no_discard);

	if (r->type == VIRTIO_BLK_T_WRITE_ZEROES &&
	    (unmap || blk->no_zero_range) && (blk->no_punch || blk->no_discard)) {
		step_write_zeroes(r);
		return;
	}
	r->io.op = BLKIO_FALLOCATE;
	/* A hole reads as zeroes, too, and more file systems can punch one. */
	r->io.flags = FALLOC_FL_KEEP_SIZE |
		      (unmap || blk->no_zero_range ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
	r->io.off = r->pos;
	r->io.len = r->left;
	blkio_queue(r->bq->io, &r->io);
}

static void ranges_done(struct blk_req *r, int res)
{
	struct virtio_blk *blk = blk_of(r);

	if (r->syncing) {
		finish(r, res < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
		return;
	}
	if (res == -EOPNOTSUPP && r->io.op == BLKIO_FALLOCATE) {
		if (r->io.flags & FALLOC_FL_ZERO_RANGE)
			blk->no_zero_range = true;
		else
			blk->no_punch = true;
		if (r->type == VIRTIO_BLK_T_WRITE_ZEROES) {
			step_range(r);	/* the next best way */
			return;
		}
	}
	if (r->io.op == BLKIO_FALLOCATE && res >= 0) {
		r->left = 0;
	} else if (res > 0 && (uint64_t)res <= r->left) {
		r->pos += res;
		r->left -= res;
	} else {
		if (res != -EOPNOTSUPP)
			log_rated(&blk->dev.rate, LOG_WARNING, "%s: %s at %" PRIu64 ": %s",
				  blk->dev.name,
				  r->type == VIRTIO_BLK_T_DISCARD ? "discard" : "write zeroes",
				  r->pos, strerror(res < 0 ? -res : EIO));
		finish(r, to_status(res));
		return;
	}
	if (!r->left) {
		r->range++;
		r->nr_ranges--;
		if (!next_range(r)) {
			if (blk->writeback) {
				finish(r, VIRTIO_BLK_S_OK);
				return;
			}
			r->syncing = true;
			r->io.op = BLKIO_FLUSH;
			blkio_queue(r->bq->io, &r->io);
			return;
		}
	}
	step_range(r);
}

void blk_io_done(struct blkio_owner *o, struct blkio_req *io, int res)
{
	struct blk_req *r = container_of(io, struct blk_req, io);

	/* Cancelled though we did not ask: the thread that had started it has ended. */
	if ((res == -EINTR || res == -EAGAIN || res == -ECANCELED) && !r->cancel &&
	    r->retries++ < RETRIES) {
		blkio_queue(r->bq->io, io);
		return;
	}
	if (r->cancel && r->type != VIRTIO_BLK_T_FLUSH && (res < 0 || (uint64_t)res < r->left))
		res = -ECANCELED;	/* nothing more is started on this memory */
	switch (r->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		data_done(r, res);
		break;
	case VIRTIO_BLK_T_FLUSH:
		if (res < 0)
			log_rated(&blk_of(r)->dev.rate, LOG_ERROR, "%s: flush: %s",
				  blk_of(r)->dev.name, strerror(-res));
		finish(r, res < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
		break;
	default:
		ranges_done(r, res);
		break;
	}
}

/* ---- the begin of a request ---- */

/* From the thread that converts memory, which holds gmem's pin lock: only leave word. */
static void pin_cancel(struct gmem_pin *pin)
{
	struct blk_req *r = container_of(pin, struct blk_pin, pin)->req;

	atomic_store(&r->cancel, true);
	atomic_store(&r->bq->cancel_wanted, true);
	blkio_wake(r->bq->io);
}

void blk_cancel_reqs(struct blk_queue *bq, bool all)
{
	for (struct blk_req *r = bq->reqs; r; r = r->next) {
		if (all)
			r->cancel = true;
		if (r->cancel)
			blkio_cancel(bq->io, &r->io);
	}
}

static struct blk_req *new_req(struct blk_queue *bq, const struct vq_chain *c, uint32_t type,
			       ipa_t status, unsigned int nr_seg, unsigned int nr_ranges)
{
	size_t tail = MAX(nr_seg * (sizeof(struct iovec) + sizeof(struct blk_pin)),
			  nr_ranges * sizeof(struct virtio_blk_discard_write_zeroes));
	struct blk_req *r = malloc(sizeof(*r) + tail);

	if (!r)
		return NULL;
	memset(r, 0, sizeof(*r));
	r->bq = bq;
	r->began = bq->popped;
	r->head = c->head;
	r->type = type;
	r->status = status;
	r->pin = (struct blk_pin *)(r + 1);
	r->iov = (struct iovec *)(r->pin + nr_seg);
	r->range = (struct virtio_blk_discard_write_zeroes *)(r + 1);
	return r;
}

static void begin(struct blk_req *r)
{
	struct blk_queue *bq = r->bq;

	r->at = r->pos;
	r->bytes = r->left;
	r->next = bq->reqs;
	r->pprev = &bq->reqs;
	if (r->next)
		r->next->pprev = &r->next;
	bq->reqs = r;
	bq->inflight++;
}

/* Read and write. Returns 0, or the status to answer with at once. */
static int parse_data(struct blk_queue *bq, const struct vq_chain *c,
		      const struct virtio_blk_outhdr *hdr, ipa_t status)
{
	struct virtio_blk *blk = bq->blk;
	struct vq *vq = &bq->q->vq;
	uint64_t capacity = blk->capacity;
	bool in = hdr->type == VIRTIO_BLK_T_IN;
	uint64_t len = in ? c->in_len - 1 : c->out_len - sizeof(*hdr);
	unsigned int nr = in ? c->nr_in : c->nr_out;
	struct vq_seg few[16], *seg = few;
	struct blk_req *r = NULL;
	int answer = VIRTIO_BLK_S_IOERR;

	if (!in && blk->readonly)
		return VIRTIO_BLK_S_IOERR;
	if (len % BLK_SECTOR || hdr->sector > capacity / BLK_SECTOR ||
	    len > capacity - hdr->sector * BLK_SECTOR)
		return VIRTIO_BLK_S_IOERR;
	if (!len)
		return VIRTIO_BLK_S_OK;

	if (nr > ARRAY_SIZE(few)) {
		seg = malloc(nr * sizeof(*seg));
		if (!seg)
			return VIRTIO_BLK_S_IOERR;
	}
	nr = vq_slice(c, in, in ? 0 : sizeof(*hdr), len, seg);
	r = new_req(bq, c, hdr->type, status, nr, 0);
	if (!r)
		goto out;
	r->pos = hdr->sector * BLK_SECTOR;
	r->left = len;
	r->in_len = in ? len : 0;
	for (unsigned int i = 0; i < nr; i++) {
		struct blk_pin *pin = &r->pin[i];
		int ret;

		*pin = (struct blk_pin){ .pin.cancel = pin_cancel, .req = r };
		ret = gmem_pin(vq->gm, &pin->pin, seg[i].addr, seg[i].len, &r->iov[i].iov_base);
		if (ret < 0) {
			vq_log_addr(vq, seg[i].addr, seg[i].len, ret);
			goto out;
		}
		r->nr_pins++;
		r->iov[i].iov_len = seg[i].len;
		r->nr_iov++;
	}
	if (needs_bounce(blk, r) && !make_bounce(r))
		goto out;
	begin(r);
	step_data(r);
	r = NULL;
	answer = -1;
out:
	if (r)
		free_req(r);
	if (seg != few)
		free(seg);
	return answer;
}

static int parse_ranges(struct blk_queue *bq, const struct vq_chain *c,
			const struct virtio_blk_outhdr *hdr, ipa_t status)
{
	struct virtio_blk *blk = bq->blk;
	uint64_t len = c->out_len - sizeof(*hdr);
	unsigned int nr = len / sizeof(struct virtio_blk_discard_write_zeroes);
	uint64_t sectors = blk->capacity / BLK_SECTOR;
	struct blk_req *r;
	int answer = -1;

	if (blk->readonly)
		return VIRTIO_BLK_S_IOERR;
	if (!len || len % sizeof(struct virtio_blk_discard_write_zeroes) ||
	    len > BLK_MAX_RANGES * sizeof(struct virtio_blk_discard_write_zeroes))
		return VIRTIO_BLK_S_IOERR;
	r = new_req(bq, c, hdr->type, status, 0, nr);
	if (!r)
		return VIRTIO_BLK_S_IOERR;
	r->nr_ranges = nr;
	if (vq_read(&bq->q->vq, c, sizeof(*hdr), r->range, len) < 0)
		answer = VIRTIO_BLK_S_IOERR;
	/* All is checked before anything is done; on the copy, the guest may change its own. */
	for (unsigned int i = 0; i < nr && answer < 0; i++) {
		const struct virtio_blk_discard_write_zeroes *z = &r->range[i];

		if ((z->flags & ~VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) ||
		    (z->flags && hdr->type == VIRTIO_BLK_T_DISCARD))
			answer = VIRTIO_BLK_S_UNSUPP;	/* section 5.2.6.2 */
		else if (z->num_sectors > BLK_MAX_RANGE_SECTORS || z->sector > sectors ||
			 z->num_sectors > sectors - z->sector)
			answer = VIRTIO_BLK_S_IOERR;
	}
	if (answer < 0 && hdr->type == VIRTIO_BLK_T_DISCARD && (blk->no_punch || blk->no_discard))
		answer = VIRTIO_BLK_S_UNSUPP;
	if (answer < 0 && !next_range(r))
		answer = VIRTIO_BLK_S_OK;
	if (answer >= 0) {
		free_req(r);
		return answer;
	}
	begin(r);
	step_range(r);
	return -1;
}

static int parse_flush(struct blk_queue *bq, const struct vq_chain *c,
		       const struct virtio_blk_outhdr *hdr, ipa_t status)
{
	struct virtio_blk *blk = bq->blk;
	struct blk_req *r;

	if (blk->readonly || blk->cache == VIRTIO_BLK_CACHE_UNSAFE)
		return VIRTIO_BLK_S_OK;
	r = new_req(bq, c, hdr->type, status, 0, 0);
	if (!r)
		return VIRTIO_BLK_S_IOERR;
	r->io.op = BLKIO_FLUSH;
	begin(r);
	blkio_queue(bq->io, &r->io);
	return -1;
}

void blk_parse(struct blk_queue *bq, const struct vq_chain *c)
{
	struct virtio_blk *blk = bq->blk;
	struct vq *vq = &bq->q->vq;
	struct virtio_blk_outhdr hdr;
	uint64_t in_len = 0;
	struct vq_seg last;
	int answer;

	bq->popped = trace_begin();
	/* The status byte is the last of the writable part, however that is cut into pieces. */
	if (!c->in_len || c->out_len < sizeof(hdr) || vq_read(vq, c, 0, &hdr, sizeof(hdr)) < 0) {
		if (c->in_len) {
			vq_slice(c, true, c->in_len - 1, 1, &last);
			complete(vq, &c->head, last.addr, VIRTIO_BLK_S_IOERR, 0);
		} else {
			vq_push(vq, &c->head, 0);	/* nowhere to put an answer */
		}
		return;
	}
	vq_slice(c, true, c->in_len - 1, 1, &last);

	switch (hdr.type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		answer = parse_data(bq, c, &hdr, last.addr);
		break;
	case VIRTIO_BLK_T_FLUSH:
		answer = parse_flush(bq, c, &hdr, last.addr);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		answer = parse_ranges(bq, c, &hdr, last.addr);
		break;
	case VIRTIO_BLK_T_GET_ID:
		in_len = MIN(c->in_len - 1, sizeof(blk->serial));
		answer = vq_write(vq, c, 0, blk->serial, in_len) < 0 ? VIRTIO_BLK_S_IOERR :
								      VIRTIO_BLK_S_OK;
		break;
	default:
		answer = VIRTIO_BLK_S_UNSUPP;
		break;
	}
	if (answer < 0)
		return;
	complete(vq, &c->head, last.addr, answer, in_len);
	trace_async(&request_kind, request_name(hdr.type), bq->popped, blk->dev.name, 0, 0, answer);
}
