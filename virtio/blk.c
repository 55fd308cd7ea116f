// SPDX-License-Identifier: BSD-3-Clause
/*
 * Block device (virtio 1.2, section 5.2) on a file or a block device of the host.
 *
 * The life of a request: kick -> parse() checks it and pins its buffers -> step() hands the next
 * piece to the engine -> io_done() counts what came back -> step() ... -> finish() unpins, writes
 * the status byte and gives the chain back. A piece is what one system call did: reads and writes
 * come back short, a discard has several ranges, and a bounced request moves in BOUNCE_SIZE steps.
 *
 * Order: a flush is one fdatasync, which covers all writes that were completed before it arrived.
 * Nothing else is ordered, and the driver expects nothing else (section 5.2.6.2).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtio/blkio.h"
#include "virtio/dev.h"
#include "vmm/core/err.h"

#define SECTOR		512u
/* Header and status take a descriptor each in the usual layout. */
#define SEG_MAX		(VQ_SIZE_DEFAULT - 2)
/*
 * A request that is larger than the guest's pool of bounce pages is tried for ever. Segments are
 * not cut below 64 KiB: Linux with pages of that size refuses a disk that wants smaller ones.
 */
#define SEG_SIZE_BOUNCED 0x10000u
#define MAX_RANGES	32u
/* 1 GiB in sectors: some file systems need long for more. */
#define MAX_RANGE_SECTORS 0x200000u
/* A guest can have VQ_SIZE_DEFAULT of these allocated, with `direct` and bad alignment only. */
#define BOUNCE_SIZE	(128u << 10)
#define BOUNCE_ALIGN	4096u
#define ZERO_IOVS	64u
#define RETRIES		8

static const uint8_t zero_page[SZ_4K] __attribute__((aligned(SZ_4K)));

struct blk_req;

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
 */
struct blk_req {
	struct blkio_req io;
	struct virtio_blk *blk;
	struct blk_req *next, **pprev;
	struct vq *vq;
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
};

/**
 * struct virtio_blk - a disk
 * @capacity:   bytes
 * @dio_mem:    alignment of buffers for O_DIRECT, 0 without it
 * @dio_off:    alignment of offsets and lengths for O_DIRECT
 * @no_zero_range, @no_punch: the file system cannot do this; found out on first use
 * @writethrough: the driver knows no flush, so each write has to reach the disk
 * @section:    the queue's section that finish() may use, or NULL
 * @cancel_wanted: some request has its @cancel set
 */
struct virtio_blk {
	struct virtio_dev dev;
	struct blkio_owner owner;
	struct blkio *io;
	struct virtio_blk_config config;
	uint64_t capacity;
	uint32_t dio_mem, dio_off;
	char serial[VIRTIO_BLK_ID_BYTES];
	bool readonly, no_zero_range, no_punch, writethrough;
	struct vq *section;
	struct blk_req *reqs;
	unsigned int inflight;
	_Atomic bool cancel_wanted;
	struct iovec *zero_iov;
};

static struct virtio_blk *to_blk(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_blk, dev);
}

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
		if (gmem_unpin(r->blk->dev.env.gm, &r->pin[i].pin) < 0)
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
	struct virtio_blk *blk = r->blk;

	*r->pprev = r->next;
	if (r->next)
		r->next->pprev = r->pprev;
	blk->inflight--;
	if (unpin(r) < 0 && status == VIRTIO_BLK_S_OK)
		status = VIRTIO_BLK_S_IOERR;
	/* A queue that was reset or broken meanwhile gets no answer; its memory is not ours. */
	if (blk->section == r->vq && r->head.epoch == r->vq->epoch && !r->vq->broken)
		complete(r->vq, &r->head, r->status, status, r->in_len);
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
	struct gmem *gm = r->blk->dev.env.gm;
	bool outside = !r->blk->section, intact = true;

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
	struct virtio_blk *blk = r->blk;

	r->io.op = r->type == VIRTIO_BLK_T_IN ? BLKIO_READ : BLKIO_WRITE;
	r->io.flags = r->type == VIRTIO_BLK_T_OUT && blk->writethrough ? RWF_DSYNC : 0;
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
	blkio_queue(blk->io, &r->io);
}

static void data_done(struct blk_req *r, int res)
{
	/* Some alignment rules of O_DIRECT cannot be asked for beforehand. */
	if (res == -EINVAL && r->blk->dio_mem && !r->bounce) {
		if (!make_bounce(r)) {
			finish(r, VIRTIO_BLK_S_IOERR);
			return;
		}
		step_data(r);
		return;
	}
	if (res <= 0 || (uint64_t)res > r->left) {
		log_rated(&r->blk->dev.rate, LOG_WARNING, "%s: %s of %" PRIu64 " bytes at %" PRIu64
			  ": %s", r->blk->dev.name, r->type == VIRTIO_BLK_T_IN ? "read" : "write",
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
		r->pos = r->range->sector * SECTOR;
		r->left = (uint64_t)r->range->num_sectors * SECTOR;
		return true;
	}
	return false;
}

/* Zeroes where nothing better works: write them, a piece at a time. */
static bool step_write_zeroes(struct blk_req *r)
{
	struct virtio_blk *blk = r->blk;
	unsigned int n = MIN(r->left / sizeof(zero_page), ZERO_IOVS);

	if (!blk->zero_iov) {
		blk->zero_iov = calloc(ZERO_IOVS, sizeof(*blk->zero_iov));
		if (!blk->zero_iov)
			return false;
		for (unsigned int i = 0; i < ZERO_IOVS; i++)
			blk->zero_iov[i] = (struct iovec){ (void *)(uintptr_t)zero_page,
							   sizeof(zero_page) };
	}
	r->io.op = BLKIO_WRITE;
	r->io.flags = 0;
	r->io.off = r->pos;
	r->io.iov = blk->zero_iov;
	r->io.nr_iov = n;
	if (!n) {
		r->piece = (struct iovec){ (void *)(uintptr_t)zero_page, r->left };
		r->io.iov = &r->piece;
		r->io.nr_iov = 1;
	}
	blkio_queue(blk->io, &r->io);
	return true;
}

static void step_range(struct blk_req *r)
{
	struct virtio_blk *blk = r->blk;
	bool unmap = r->type == VIRTIO_BLK_T_DISCARD ||
		     (r->range->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);

	if (r->type == VIRTIO_BLK_T_WRITE_ZEROES && blk->no_punch &&
	    (unmap || blk->no_zero_range)) {
		if (!step_write_zeroes(r))
			finish(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	r->io.op = BLKIO_FALLOCATE;
	/* A hole reads as zeroes, too, and more file systems can punch one. */
	r->io.flags = FALLOC_FL_KEEP_SIZE |
		      (unmap || blk->no_zero_range ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
	r->io.off = r->pos;
	r->io.len = r->left;
	blkio_queue(blk->io, &r->io);
}

static void ranges_done(struct blk_req *r, int res)
{
	struct virtio_blk *blk = r->blk;

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
			if (!blk->writethrough) {
				finish(r, VIRTIO_BLK_S_OK);
				return;
			}
			r->syncing = true;
			r->io.op = BLKIO_FLUSH;
			blkio_queue(blk->io, &r->io);
			return;
		}
	}
	step_range(r);
}

static void io_done(struct blkio_owner *o, struct blkio_req *io, int res)
{
	struct blk_req *r = container_of(io, struct blk_req, io);

	if ((res == -EINTR || res == -EAGAIN) && !r->cancel && r->retries++ < RETRIES) {
		blkio_queue(r->blk->io, io);
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
			log_rated(&r->blk->dev.rate, LOG_ERROR, "%s: flush: %s",
				  r->blk->dev.name, strerror(-res));
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
	atomic_store(&r->blk->cancel_wanted, true);
	blkio_wake(r->blk->io);
}

static struct blk_req *new_req(struct virtio_blk *blk, struct vq *vq, const struct vq_chain *c,
			       uint32_t type, ipa_t status, unsigned int nr_seg,
			       unsigned int nr_ranges)
{
	size_t tail = MAX(nr_seg * (sizeof(struct iovec) + sizeof(struct blk_pin)),
			  nr_ranges * sizeof(struct virtio_blk_discard_write_zeroes));
	struct blk_req *r = malloc(sizeof(*r) + tail);

	if (!r)
		return NULL;
	memset(r, 0, sizeof(*r));
	r->blk = blk;
	r->vq = vq;
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
	struct virtio_blk *blk = r->blk;

	r->next = blk->reqs;
	r->pprev = &blk->reqs;
	if (r->next)
		r->next->pprev = &r->next;
	blk->reqs = r;
	blk->inflight++;
}

/* Read and write. Returns 0, or the status to answer with at once. */
static int parse_data(struct virtio_blk *blk, struct vq *vq, const struct vq_chain *c,
		      const struct virtio_blk_outhdr *hdr, ipa_t status)
{
	bool in = hdr->type == VIRTIO_BLK_T_IN;
	uint64_t len = in ? c->in_len - 1 : c->out_len - sizeof(*hdr);
	unsigned int nr = in ? c->nr_in : c->nr_out;
	struct vq_seg few[16], *seg = few;
	struct blk_req *r = NULL;
	int answer = VIRTIO_BLK_S_IOERR;

	if (!in && blk->readonly)
		return VIRTIO_BLK_S_IOERR;
	if (len % SECTOR || hdr->sector > blk->capacity / SECTOR ||
	    len > blk->capacity - hdr->sector * SECTOR)
		return VIRTIO_BLK_S_IOERR;
	if (!len)
		return VIRTIO_BLK_S_OK;

	if (nr > ARRAY_SIZE(few)) {
		seg = malloc(nr * sizeof(*seg));
		if (!seg)
			return VIRTIO_BLK_S_IOERR;
	}
	nr = vq_slice(c, in, in ? 0 : sizeof(*hdr), len, seg);
	r = new_req(blk, vq, c, hdr->type, status, nr, 0);
	if (!r)
		goto out;
	r->pos = hdr->sector * SECTOR;
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

static int parse_ranges(struct virtio_blk *blk, struct vq *vq, const struct vq_chain *c,
			const struct virtio_blk_outhdr *hdr, ipa_t status)
{
	uint64_t len = c->out_len - sizeof(*hdr);
	unsigned int nr = len / sizeof(struct virtio_blk_discard_write_zeroes);
	uint64_t sectors = blk->capacity / SECTOR;
	struct blk_req *r;
	int answer = -1;

	if (blk->readonly)
		return VIRTIO_BLK_S_IOERR;
	if (!len || len % sizeof(struct virtio_blk_discard_write_zeroes) ||
	    len > MAX_RANGES * sizeof(struct virtio_blk_discard_write_zeroes))
		return VIRTIO_BLK_S_IOERR;
	r = new_req(blk, vq, c, hdr->type, status, 0, nr);
	if (!r)
		return VIRTIO_BLK_S_IOERR;
	r->nr_ranges = nr;
	if (vq_read(vq, c, sizeof(*hdr), r->range, len) < 0)
		answer = VIRTIO_BLK_S_IOERR;
	/* All is checked before anything is done; on the copy, the guest may change its own. */
	for (unsigned int i = 0; i < nr && answer < 0; i++) {
		const struct virtio_blk_discard_write_zeroes *z = &r->range[i];

		if ((z->flags & ~VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) ||
		    (z->flags && hdr->type == VIRTIO_BLK_T_DISCARD))
			answer = VIRTIO_BLK_S_UNSUPP;	/* section 5.2.6.2 */
		else if (z->num_sectors > MAX_RANGE_SECTORS || z->sector > sectors ||
			 z->num_sectors > sectors - z->sector)
			answer = VIRTIO_BLK_S_IOERR;
	}
	if (answer < 0 && hdr->type == VIRTIO_BLK_T_DISCARD && blk->no_punch)
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

static int parse_flush(struct virtio_blk *blk, struct vq *vq, const struct vq_chain *c,
		       const struct virtio_blk_outhdr *hdr, ipa_t status)
{
	struct blk_req *r;

	if (blk->readonly)
		return VIRTIO_BLK_S_OK;
	r = new_req(blk, vq, c, hdr->type, status, 0, 0);
	if (!r)
		return VIRTIO_BLK_S_IOERR;
	r->io.op = BLKIO_FLUSH;
	begin(r);
	blkio_queue(blk->io, &r->io);
	return -1;
}

static void parse(struct virtio_blk *blk, struct vq *vq, const struct vq_chain *c)
{
	struct virtio_blk_outhdr hdr;
	uint64_t in_len = 0;
	struct vq_seg last;
	int answer;

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
		answer = parse_data(blk, vq, c, &hdr, last.addr);
		break;
	case VIRTIO_BLK_T_FLUSH:
		answer = parse_flush(blk, vq, c, &hdr, last.addr);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		answer = parse_ranges(blk, vq, c, &hdr, last.addr);
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
	if (answer >= 0)
		complete(vq, &c->head, last.addr, answer, in_len);
}

/* ---- called by the common part ---- */

static void blk_reap(struct virtio_dev *dev)
{
	struct virtio_blk *blk = to_blk(dev);
	struct vq *vq = &dev->queue[0].vq;

	if (atomic_exchange(&blk->cancel_wanted, false))
		for (struct blk_req *r = blk->reqs; r; r = r->next)
			if (r->cancel)
				blkio_cancel(blk->io, &r->io);
	/* A queue without a section gets no answers, but its requests end all the same. */
	if (blk->inflight && vq_begin(vq) == 0)
		blk->section = vq;
	blkio_reap(blk->io);
	if (blk->section)
		vq_end(vq);
	blk->section = NULL;
	blkio_submit(blk->io);
}

static void blk_kick(struct virtio_dev *dev, unsigned int q)
{
	struct virtio_blk *blk = to_blk(dev);
	struct vq *vq = &dev->queue[q].vq;
	unsigned int budget = vq->num;
	struct vq_chain c;

	/* Section 5.2.6.2: without flush there is no volatile write cache. */
	blk->writethrough = !(dev->driver_features & VIRTIO_F(VIRTIO_BLK_F_FLUSH));
	if (vq_begin(vq) < 0)
		return;
	blk->section = vq;
	while (budget && vq_pop(vq, &c) > 0) {
		parse(blk, vq, &c);
		budget--;
	}
	if (!budget)
		virtio_dev_kick(dev, q);
	blk->section = NULL;
	vq_end(vq);
	/* Outside of the section: the system call may take its time, a conversion need not wait. */
	blkio_submit(blk->io);
	/* What the page cache had is done already. */
	blk_reap(dev);
}

static void io_event(struct blkio_owner *o)
{
	struct virtio_blk *blk = container_of(o, struct virtio_blk, owner);

	virtio_dev_lock(&blk->dev);
	blk_reap(&blk->dev);
	virtio_dev_unlock(&blk->dev);
}

static unsigned int blk_inflight(struct virtio_dev *dev)
{
	return to_blk(dev)->inflight;
}

static void blk_cancel(struct virtio_dev *dev)
{
	struct virtio_blk *blk = to_blk(dev);

	for (struct blk_req *r = blk->reqs; r; r = r->next) {
		r->cancel = true;
		blkio_cancel(blk->io, &r->io);
	}
}

static void blk_wait(struct virtio_dev *dev, unsigned int ms)
{
	blkio_wait(to_blk(dev)->io, ms);
}

static void blk_free(struct virtio_dev *dev)
{
	struct virtio_blk *blk = to_blk(dev);

	if (blk->inflight)
		return;		/* the kernel still writes there: better lost than reused */
	blkio_free(blk->io);
	virtio_dev_destroy(dev);
	free(blk->zero_iov);
	free(blk);
}

static const struct virtio_dev_ops blk_ops = {
	.id = VIRTIO_ID_BLOCK,
	.kick = blk_kick,
	.inflight = blk_inflight,
	.reap = blk_reap,
	.cancel = blk_cancel,
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

static int measure(struct virtio_blk *blk, const struct virtio_blk_cfg *cfg, struct geometry *g,
		   struct err *e)
{
	struct stat st;

	*g = (struct geometry){ .logical = SECTOR, .physical = SECTOR };
	if (fstat(cfg->fd, &st) < 0)
		return err_set(e, -errno, "disk %s: %s", cfg->path, strerror(errno));
	if (S_ISBLK(st.st_mode)) {
		unsigned int phys = 0, opt = 0;
		int logical = 0;

		if (ioctl(cfg->fd, BLKGETSIZE64, &g->size) < 0 ||
		    ioctl(cfg->fd, BLKSSZGET, &logical) < 0)
			return err_set(e, -errno, "disk %s: size of the block device: %s",
				       cfg->path, strerror(errno));
		if (ioctl(cfg->fd, BLKPBSZGET, &phys) < 0 || ioctl(cfg->fd, BLKIOOPT, &opt) < 0)
			phys = opt = 0;
		g->logical = logical;
		g->physical = MAX(phys, g->logical);
		g->optimal = opt;
		g->topology = true;
	} else if (S_ISREG(st.st_mode)) {
		g->size = st.st_size;
		/* Network file systems name the size of their packets here. */
		g->physical = MIN((uint32_t)st.st_blksize, (uint32_t)SZ_4K);
		g->topology = cfg->direct;
	} else {
		return err_set(e, -EINVAL, "disk %s: neither a file nor a block device", cfg->path);
	}
	if (cfg->direct) {
		blk->dio_mem = blk->dio_off = g->logical;
		ask_dio_alignment(cfg->fd, &blk->dio_mem, &blk->dio_off);
		g->logical = MAX(g->logical, blk->dio_off);
	}
	if (g->logical < SECTOR || (g->logical & (g->logical - 1)) || g->logical > SZ_64K)
		return err_set(e, -EINVAL, "disk %s: a block size of %u bytes is not supported",
			       cfg->path, g->logical);
	if (g->physical < g->logical || (g->physical & (g->physical - 1)))
		g->physical = g->logical;
	return 0;
}

static void fill_config(struct virtio_blk *blk, const struct geometry *g, uint32_t max_request)
{
	struct virtio_blk_config *c = &blk->config;

	c->capacity = blk->capacity / SECTOR;
	c->seg_max = SEG_MAX;
	if (max_request) {
		c->size_max = SEG_SIZE_BOUNCED;
		c->seg_max = MIN(MAX(max_request / SEG_SIZE_BOUNCED, 1U), SEG_MAX);
	}
	c->blk_size = g->logical;
	c->physical_block_exp = log2_ratio(g->physical, g->logical);
	c->min_io_size = MIN(g->physical / g->logical, UINT16_MAX);
	c->opt_io_size = g->optimal / g->logical;
	c->num_queues = 1;
	c->max_discard_sectors = MAX_RANGE_SECTORS;
	c->max_discard_seg = MAX_RANGES;
	c->discard_sector_alignment = g->physical / SECTOR;
	c->max_write_zeroes_sectors = MAX_RANGE_SECTORS;
	c->max_write_zeroes_seg = MAX_RANGES;
	c->write_zeroes_may_unmap = 1;
}

int virtio_blk_new(const struct virtio_env *env, const struct virtio_blk_cfg *cfg,
		   struct virtio_dev **out, struct err *e)
{
	struct virtio_dev_init init = {
		.name = cfg->path,
		.ops = &blk_ops,
		.env = env,
		.features = VIRTIO_F(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_F(VIRTIO_BLK_F_BLK_SIZE) |
			    VIRTIO_F(VIRTIO_BLK_F_FLUSH),
		.config_len = sizeof(struct virtio_blk_config),
		.nr_queues = 1,
		.queue_size = VQ_SIZE_DEFAULT,
	};
	struct virtio_blk *blk;
	struct geometry g;
	char name[64];
	int ret;

	*out = NULL;
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return err_set(e, -ENOMEM, "disk %s: no memory", cfg->path);
	ret = measure(blk, cfg, &g, e);
	if (ret < 0)
		goto free_blk;
	blk->readonly = cfg->readonly;
	blk->capacity = ALIGN_DOWN(g.size, (uint64_t)g.logical);
	if (blk->capacity != g.size)
		log_warning("disk %s: its size is not a multiple of %u; the guest does not see "
			    "the last %" PRIu64 " bytes", cfg->path, g.logical,
			    g.size - blk->capacity);
	if (cfg->serial)
		memcpy(blk->serial, cfg->serial, strnlen(cfg->serial, sizeof(blk->serial)));
	fill_config(blk, &g, env->max_request);

	snprintf(name, sizeof(name), "disk %s", cfg->path);
	init.name = name;
	init.config = &blk->config;
	if (env->max_request)
		init.features |= VIRTIO_F(VIRTIO_BLK_F_SIZE_MAX);
	if (g.topology)
		init.features |= VIRTIO_F(VIRTIO_BLK_F_TOPOLOGY);
	if (cfg->readonly)
		init.features |= VIRTIO_F(VIRTIO_BLK_F_RO);
	else
		init.features |= VIRTIO_F(VIRTIO_BLK_F_DISCARD) |
				 VIRTIO_F(VIRTIO_BLK_F_WRITE_ZEROES);
	ret = virtio_dev_init(&blk->dev, &init, e);
	if (ret < 0)
		goto free_blk;
	blk->owner = (struct blkio_owner){ .done = io_done, .event = io_event };
	ret = blkio_new(env->loop, cfg->fd, blk->dev.name, VQ_SIZE_DEFAULT, cfg->no_uring,
			&blk->owner, &blk->io, e);
	if (ret < 0) {
		err_prefix(e, "disk %s", cfg->path);
		goto destroy_dev;
	}
	*out = &blk->dev;
	return 0;

destroy_dev:
	virtio_dev_destroy(&blk->dev);
free_blk:
	free(blk);
	return ret;
}
