// SPDX-License-Identifier: BSD-3-Clause
/*
 * The split ring (virtio 1.2, section 2.7).
 *
 * The guest runs while we read: each field of the ring is read exactly once into a local copy, and
 * it is the copy that gets checked and used.
 */
#include "virtio/vq.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Virtio is little-endian, and so are the hosts that this runs on. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian hosts are not supported");

/* Outcomes of reading a chain, beside 0. */
#define E_ADDR	(-EFAULT)	/* the request is lost */
#define E_RING	(-EIO)		/* the queue is lost */

static uint16_t ring_load(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void ring_store(uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

void vq_init(struct vq *vq, const struct vq_ops *ops, struct gmem *gm, const char *name,
	     uint16_t index, uint16_t max)
{
	memset(vq, 0, sizeof(*vq));
	vq->ops = ops;
	vq->gm = gm;
	vq->name = name;
	vq->index = index;
	vq->max = vq->num = max;
}

void vq_destroy(struct vq *vq)
{
	free(vq->seg);
	vq->seg = NULL;
	vq->seg_room = 0;
}

static int vq_break(struct vq *vq, const char *why)
{
	if (!vq->broken) {
		vq->broken = true;
		log_rated(&vq->rate, LOG_WARNING, "%s: the guest broke queue %u: %s", vq->name,
			  vq->index, why);
		vq->ops->broken(vq, why);
	}
	return E_RING;
}

int vq_enable(struct vq *vq, uint64_t features)
{
	if (!vq->num || vq->num > vq->max || (vq->num & (vq->num - 1))) {
		vq_break(vq, "its size is no power of 2 or too large");
		return -EINVAL;
	}
	/* Section 2.7: alignment of the three parts. */
	if (!IS_ALIGNED(vq->desc_addr, 16) || !IS_ALIGNED(vq->driver_addr, 2) ||
	    !IS_ALIGNED(vq->device_addr, 4)) {
		vq_break(vq, "its address is not aligned");
		return -EINVAL;
	}
	vq->event_idx = features & (1ULL << VIRTIO_RING_F_EVENT_IDX);
	vq->indirect = features & (1ULL << VIRTIO_RING_F_INDIRECT_DESC);
	vq->kicks_on = true;
	vq->ready = true;
	return 0;
}

void vq_disable(struct vq *vq)
{
	vq->ready = vq->broken = false;
	vq->num = vq->max;
	vq->desc_addr = vq->driver_addr = vq->device_addr = 0;
	vq->avail_idx = vq->last_avail = vq->used_idx = vq->published = vq->inuse = 0;
	vq->epoch++;
}

int vq_begin(struct vq *vq)
{
	void *desc, *avail, *used;

	if (!vq->ready || vq->broken)
		return -EIO;
	gmem_enter(vq->gm);
	/* Sizes with the event index at the end, which is there with or without the feature. */
	if (gmem_map(vq->gm, vq->desc_addr, 16ULL * vq->num, &desc) < 0 ||
	    gmem_map(vq->gm, vq->driver_addr, 6 + 2ULL * vq->num, &avail) < 0 ||
	    gmem_map(vq->gm, vq->device_addr, 6 + 8ULL * vq->num, &used) < 0) {
		gmem_leave(vq->gm);
		return vq_break(vq, "the ring is not in memory, or in private memory");
	}
	vq->desc = desc;
	vq->avail = avail;
	vq->used = used;
	return 0;
}

/* Is the memory of the ring gone, or some that a device has used and not asked for? */
static bool ring_lost(struct vq *vq)
{
	if (gmem_intact(vq->gm))
		return false;
	if (!gmem_hit(vq->gm) && !gmem_check(vq->gm, vq->desc_addr, 16ULL * vq->num) &&
	    !gmem_check(vq->gm, vq->driver_addr, 6 + 2ULL * vq->num) &&
	    !gmem_check(vq->gm, vq->device_addr, 6 + 8ULL * vq->num))
		return false;
	vq_break(vq, "its memory was lost while it was in use");
	return true;
}

void vq_end(struct vq *vq)
{
	uint16_t old = vq->published, new = vq->used_idx;
	bool notify = false;

	ring_lost(vq);
	if (!vq->broken && old != new) {
		/* Release: the entries and the data behind them are seen before the index. */
		__atomic_store_n(&vq->used->idx, new, __ATOMIC_RELEASE);
		/*
		 * Full barrier: the index must be out before we look whether the guest wants an
		 * interrupt. The guest does it the other way round (asks, barrier, looks at the
		 * index), so one of the two notices the other.
		 */
		atomic_thread_fence(memory_order_seq_cst);
		if (vq->event_idx)
			notify = vring_need_event(ring_load(&vq->avail->ring[vq->num]), new, old);
		else
			notify = !(ring_load(&vq->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
		vq->published = new;
		if (ring_lost(vq))
			notify = false;
	}
	vq->desc = NULL;
	vq->avail = NULL;
	vq->used = NULL;
	gmem_leave(vq->gm);
	if (notify)
		vq->ops->notify(vq);
}

static void ask_for_kicks(struct vq *vq)
{
	if (vq->event_idx)
		ring_store((uint16_t *)&vq->used->ring[vq->num], vq->last_avail);
	else
		ring_store(&vq->used->flags, 0);
	vq->kicks_on = true;
	/*
	 * Full barrier: the wish must be out before the caller looks at the index again. The
	 * driver stores the index, then looks at the wish; one of the two notices the other.
	 */
	atomic_thread_fence(memory_order_seq_cst);
}

static void ask_for_silence(struct vq *vq)
{
	/* With EVENT_IDX an index that stays behind is silence enough. */
	if (!vq->event_idx)
		ring_store(&vq->used->flags, VRING_USED_F_NO_NOTIFY);
	vq->kicks_on = false;
}

/* Is there an entry to take? 1, 0, E_RING. */
static int look(struct vq *vq)
{
	if (vq->avail_idx == vq->last_avail) {
		/* Acquire: entries and descriptors are read after the index that covers them. */
		vq->avail_idx = __atomic_load_n(&vq->avail->idx, __ATOMIC_ACQUIRE);
		if ((uint16_t)(vq->avail_idx - vq->last_avail) > vq->num)
			return vq_break(vq, "the available index jumped");
	}
	return vq->avail_idx != vq->last_avail;
}

/*
 * One copy of a descriptor: the guest may change it under us. It may be torn then, which does not
 * matter, as what is checked is the copy. The barrier keeps the compiler from reading twice.
 */
static struct vring_desc copy_desc(const uint8_t *table, uint32_t i)
{
	struct vring_desc d;

	memcpy(&d, table + 16ULL * i, sizeof(d));
	__asm__ volatile("" : : : "memory");
	return d;
}

static int add_seg(struct vq *vq, struct vq_chain *c, const struct vring_desc *d)
{
	unsigned int n = c->nr_out + c->nr_in;

	if (!d->len)
		return 0;	/* not forbidden, and carries nothing */
	if (d->addr + d->len - 1 < d->addr) {
		vq_log_addr(vq, d->addr, d->len, -EINVAL);
		return E_ADDR;
	}
	if (n == vq->seg_room) {
		unsigned int room = n ? 2 * n : 8;
		struct vq_seg *p = realloc(vq->seg, room * sizeof(*p));

		if (!p)
			return E_ADDR;
		vq->seg = p;
		vq->seg_room = room;
	}
	vq->seg[n] = (struct vq_seg){ d->addr, d->len };
	if (d->flags & VRING_DESC_F_WRITE) {
		c->nr_in++;
		c->in_len += d->len;
	} else {
		c->nr_out++;
		c->out_len += d->len;
	}
	/* Section 2.7.5.2: 4 GiB at most in all. */
	if (c->out_len + c->in_len > 1ULL << 32)
		return vq_break(vq, "a chain is longer than 4 GiB");
	return 0;
}

static int read_chain(struct vq *vq, uint16_t head, struct vq_chain *c)
{
	const uint8_t *table = (const uint8_t *)vq->desc;
	bool indirect = false, writable = false;
	uint32_t size = vq->num, i = head, steps = 0;
	struct vring_desc d;
	void *p;
	int ret;

	for (;;) {
		if (i >= size)
			return vq_break(vq, "a descriptor index is out of range");
		/* A chain cannot be longer than its table: this ends loops. */
		if (steps++ >= MIN(size, (uint32_t)VQ_CHAIN_MAX))
			return vq_break(vq, "a chain loops or is too long");
		d = copy_desc(table, i);

		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (indirect || !vq->indirect)
				return vq_break(vq, "an indirect descriptor where none may be");
			if (d.flags & VRING_DESC_F_NEXT)
				return vq_break(vq, "an indirect descriptor has a successor");
			if (!d.len || d.len % 16 || d.len / 16 > VQ_CHAIN_MAX)
				return vq_break(vq, "an indirect table has a bad size");
			ret = gmem_map(vq->gm, d.addr, d.len, &p);
			if (ret < 0) {
				vq_log_addr(vq, d.addr, d.len, ret);
				return E_ADDR;
			}
			table = p;
			size = d.len / 16;
			i = 0;
			steps = 0;
			indirect = true;
			continue;
		}

		if (d.flags & VRING_DESC_F_WRITE)
			writable = true;
		else if (writable)
			return vq_break(vq, "a readable descriptor follows a writable one");
		if (c->nr_out + c->nr_in == VQ_CHAIN_MAX)
			return vq_break(vq, "a chain is too long");
		ret = add_seg(vq, c, &d);
		if (ret < 0)
			return ret;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		i = d.next;
	}
}

int vq_pop(struct vq *vq, struct vq_chain *c)
{
	uint16_t head;
	int ret;

	if (vq->broken)
		return -EIO;
	ret = look(vq);
	if (!ret) {
		ask_for_kicks(vq);
		ret = look(vq);
	}
	if (ret <= 0)
		return ret;
	if (vq->kicks_on)
		ask_for_silence(vq);

	/* Else a guest that offers one buffer again and again has no end of requests in flight. */
	if (vq->inuse >= vq->num)
		return vq_break(vq, "more buffers are available than the queue can hold");

	head = ring_load(&vq->avail->ring[vq->last_avail & (vq->num - 1)]);
	memset(c, 0, sizeof(*c));
	ret = read_chain(vq, head, c);
	if (ring_lost(vq))
		return E_RING;
	if (ret == E_RING)
		return ret;
	if (ret == E_ADDR)
		memset(c, 0, sizeof(*c));
	c->head = (struct vq_head){ .epoch = vq->epoch, .id = head };
	c->seg = vq->seg;
	vq->last_avail++;
	vq->inuse++;
	return 1;
}

void vq_push(struct vq *vq, const struct vq_head *head, uint64_t len)
{
	struct vring_used_elem *elem;

	if (vq->broken || !vq->used || head->epoch != vq->epoch)
		return;
	elem = &vq->used->ring[vq->used_idx & (vq->num - 1)];
	__atomic_store_n(&elem->id, head->id, __ATOMIC_RELAXED);
	__atomic_store_n(&elem->len, (uint32_t)MIN(len, UINT32_MAX), __ATOMIC_RELAXED);
	vq->used_idx++;
	vq->inuse--;
}

unsigned int vq_slice(const struct vq_chain *c, bool in, uint64_t off, uint64_t len,
		      struct vq_seg *out)
{
	const struct vq_seg *s = c->seg + (in ? c->nr_out : 0);
	unsigned int nr = in ? c->nr_in : c->nr_out, n = 0;

	for (; nr && len; nr--, s++) {
		uint64_t part;

		if (off >= s->len) {
			off -= s->len;
			continue;
		}
		part = MIN(s->len - off, len);
		out[n++] = (struct vq_seg){ s->addr + off, part };
		len -= part;
		off = 0;
	}
	return n;
}

static int copy(struct vq *vq, const struct vq_chain *c, bool in, uint64_t off, uint8_t *buf,
		uint64_t len)
{
	const struct vq_seg *s = c->seg + (in ? c->nr_out : 0);
	unsigned int nr = in ? c->nr_in : c->nr_out;
	void *p;
	int ret;

	for (; nr && len; nr--, s++) {
		uint64_t part;

		if (off >= s->len) {
			off -= s->len;
			continue;
		}
		part = MIN(s->len - off, len);
		ret = gmem_map(vq->gm, s->addr + off, part, &p);
		if (ret < 0) {
			vq_log_addr(vq, s->addr + off, part, ret);
			return ret;
		}
		if (in)
			memcpy(p, buf, part);
		else
			memcpy(buf, p, part);
		ret = gmem_check(vq->gm, s->addr + off, part);
		if (ret < 0) {
			vq_log_addr(vq, s->addr + off, part, ret);
			return ret;
		}
		buf += part;
		len -= part;
		off = 0;
	}
	return len ? -EINVAL : 0;
}

int vq_read(struct vq *vq, const struct vq_chain *c, uint64_t off, void *buf, uint64_t len)
{
	return copy(vq, c, false, off, buf, len);
}

int vq_write(struct vq *vq, const struct vq_chain *c, uint64_t off, const void *buf, uint64_t len)
{
	return copy(vq, c, true, off, (uint8_t *)(uintptr_t)buf, len);
}

void vq_log_addr(struct vq *vq, ipa_t addr, uint64_t len, int error)
{
	log_rated(&vq->rate, LOG_WARNING,
		  "%s: the guest gave a buffer of %" PRIu64 " bytes at %" PRIipa " that %s; the "
		  "request fails", vq->name, len, addr,
		  error == -EACCES ? "is private to the realm" :
		  error == -EIO ? "was lost" :
		  error == -EINVAL ? "wraps around" : "is not in its memory");
}
