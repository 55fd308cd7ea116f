// SPDX-License-Identifier: BSD-3-Clause
/* What split and packed rings have in common: sections, chains, and what a device sees. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>

#include "virtio/vq_ring.h"

/* A position is as wide as the index of a split ring until the driver has decided. */
#define SPAN_SPLIT (UINT16_MAX + 1U)

static bool has(uint64_t features, unsigned int bit)
{
	return features >> bit & 1;
}

static void restart(struct vq *vq)
{
	vq->ring = &vq_ring_split;
	vq->span = SPAN_SPLIT;
	vq->num = vq->max;
	vq->desc_addr = vq->driver_addr = vq->device_addr = 0;
	vq->ready = vq->broken = vq->batch_open = false;
	vq->avail_idx = 0;
	vq->last_avail = vq->used = vq->published = vq->inuse = 0;
	vq->kick_at = VQ_NOWHERE;
}

void vq_init(struct vq *vq, const struct vq_ops *ops, struct gmem *gm, const char *name,
	     uint16_t index, uint16_t max)
{
	memset(vq, 0, sizeof(*vq));
	vq->ops = ops;
	vq->gm = gm;
	vq->name = name;
	vq->index = index;
	vq->max = max;
	restart(vq);
}

void vq_destroy(struct vq *vq)
{
	free(vq->seg);
	vq->seg = NULL;
	vq->seg_room = 0;
}

static int give_up(struct vq *vq, const char *who, const char *why)
{
	if (!vq->broken) {
		vq->broken = true;
		log_rated(&vq->rate, LOG_WARNING, "%s: %s broke queue %u: %s", vq->name, who,
			  vq->index, why);
		vq->ops->broken(vq, why);
	}
	return E_RING;
}

int vq_break(struct vq *vq, const char *why)
{
	return give_up(vq, "the guest", why);
}

int vq_enable(struct vq *vq, uint64_t features)
{
	const char *wrong;

	vq->packed = has(features, VIRTIO_F_RING_PACKED);
	vq->event_idx = has(features, VIRTIO_RING_F_EVENT_IDX);
	vq->indirect = has(features, VIRTIO_RING_F_INDIRECT_DESC);
	vq->in_order = has(features, VIRTIO_F_IN_ORDER);
	vq->ring = vq->packed ? &vq_ring_packed : &vq_ring_split;
	wrong = !vq->num || vq->num > vq->max ? "its size is 0 or too large" : vq->ring->check(vq);
	if (wrong) {
		vq_break(vq, wrong);
		return -EINVAL;
	}
	vq->span = vq->packed ? 2U * vq->num : SPAN_SPLIT;
	vq->kicks_on = true;
	vq->ready = true;
	return 0;
}

void vq_disable(struct vq *vq)
{
	restart(vq);
	vq->epoch++;
}

void vq_parts(const struct vq *vq, struct vq_part part[3])
{
	vq->ring->parts(vq, part);
}

uint32_t vq_base(const struct vq *vq)
{
	if (!vq->packed)
		return vq->last_avail;
	return vq_packed_off_wrap(vq, vq->last_avail) |
	       (uint32_t)vq_packed_off_wrap(vq, vq->used) << 16;
}

int vq_set_base(struct vq *vq, uint32_t base)
{
	uint32_t avail = base & UINT16_MAX, used = base >> 16;
	uint16_t idx;
	int ret;

	if (vq->packed) {
		avail = vq_packed_pos(vq, avail);
		used = vq_packed_pos(vq, used);
		if (avail == VQ_NOWHERE || used == VQ_NOWHERE)
			return -EINVAL;
	} else {
		if (used)
			return -EINVAL;
		ret = gmem_read(vq->gm, vq->device_addr + offsetof(struct vring_used, idx), &idx,
				sizeof(idx));
		if (ret < 0) {
			vq_break(vq, "the ring is not in memory, or in private memory");
			return ret;
		}
		used = idx;
	}
	vq->last_avail = vq->avail_idx = avail;
	vq->used = vq->published = used;
	/* Whatever was asked of the guest, another has asked since. */
	vq->kick_at = VQ_NOWHERE;
	vq->kicks_on = true;
	return 0;
}

int vq_begin(struct vq *vq)
{
	struct vq_part part[3];

	if (!vq->ready || vq->broken)
		return -EIO;
	vq->ring->parts(vq, part);
	gmem_enter(vq->gm);
	if (gmem_map(vq->gm, part[0].addr, part[0].len, &vq->desc) < 0 ||
	    gmem_map(vq->gm, part[1].addr, part[1].len, &vq->driver) < 0 ||
	    gmem_map(vq->gm, part[2].addr, part[2].len, &vq->device) < 0) {
		vq->desc = vq->driver = vq->device = NULL;
		gmem_leave(vq->gm);
		return vq_break(vq, "the ring is not in memory, or in private memory");
	}
	return 0;
}

/* Is the memory of the ring gone, or some that a device has used and not asked for? */
static bool ring_lost(struct vq *vq)
{
	struct vq_part part[3];

	if (gmem_intact(vq->gm))
		return false;
	vq->ring->parts(vq, part);
	if (!gmem_hit(vq->gm) && !gmem_check(vq->gm, part[0].addr, part[0].len) &&
	    !gmem_check(vq->gm, part[1].addr, part[1].len) &&
	    !gmem_check(vq->gm, part[2].addr, part[2].len))
		return false;
	vq_break(vq, "its memory was lost while it was in use");
	return true;
}

static void close_batch(struct vq *vq)
{
	if (vq->batch_open)
		vq->ring->put(vq, vq->batch_pos, vq->batch_id, vq->batch_len);
	vq->batch_open = false;
}

void vq_end(struct vq *vq)
{
	bool notify = false;

	ring_lost(vq);
	if (!vq->broken && vq->used != vq->published) {
		close_batch(vq);
		vq->ring->publish(vq);
		/*
		 * Full barrier: what was published must be out before we look whether the guest
		 * wants an interrupt. The guest does it the other way round (asks, barrier, looks
		 * for used entries), so one of the two notices the other.
		 */
		ring_fence();
		notify = vq->ring->wants_irq(vq);
		vq->published = vq->used;
		if (ring_lost(vq))
			notify = false;
	}
	vq->desc = vq->driver = vq->device = NULL;
	gmem_leave(vq->gm);
	if (notify)
		vq->ops->notify(vq);
}

int vq_add_seg(struct vq *vq, struct vq_chain *c, uint64_t addr, uint32_t len, bool in)
{
	unsigned int n = c->nr_out + c->nr_in;

	if (!in && c->nr_in)
		return vq_break(vq, "a readable descriptor follows a writable one");
	if (!len)
		return 0;	/* not forbidden, and carries nothing */
	if (n == VQ_CHAIN_MAX)
		return vq_break(vq, "a chain is too long");
	if (addr + len - 1 < addr) {
		vq_log_addr(vq, addr, len, -EINVAL);
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
	vq->seg[n] = (struct vq_seg){ addr, len };
	if (in) {
		c->nr_in++;
		c->in_len += len;
	} else {
		c->nr_out++;
		c->out_len += len;
	}
	/* Section 2.7.5.2: 4 GiB at most in all. */
	if (c->out_len + c->in_len > 1ULL << 32)
		return vq_break(vq, "a chain is longer than 4 GiB");
	return 0;
}

int vq_table(struct vq *vq, uint64_t addr, uint32_t len, const void **table, uint32_t *nr)
{
	void *p;
	int ret;

	if (!len || len % 16 || len / 16 > VQ_CHAIN_MAX)
		return vq_break(vq, "an indirect table has a bad size");
	ret = gmem_map(vq->gm, addr, len, &p);
	if (ret < 0) {
		vq_log_addr(vq, addr, len, ret);
		return E_ADDR;
	}
	*table = p;
	*nr = len / 16;
	return 0;
}

static void ask_for_kicks(struct vq *vq, uint32_t pos)
{
	vq->ring->ask(vq, pos);
	vq->kicks_on = true;
	vq->kick_at = pos;
	/*
	 * Full barrier: the wish must be out before we look for entries again. The driver makes
	 * an entry available, then looks at the wish; one of the two notices the other.
	 */
	ring_fence();
}

bool vq_more(struct vq *vq)
{
	return !vq->broken && vq->ring->look(vq) > 0;
}

bool vq_ask(struct vq *vq, unsigned int n)
{
	uint32_t pos = vq->last_avail;

	if (vq->broken)
		return false;
	if (vq->event_idx)
		pos = vq_forward(vq, pos, MIN(MAX(n, 1U), (unsigned int)vq->num) - 1);
	ask_for_kicks(vq, pos);
	return vq->ring->there(vq, pos);
}

int vq_pop(struct vq *vq, struct vq_chain *c)
{
	int ret;

	if (vq->broken)
		return -EIO;
	ret = vq->ring->look(vq);
	if (!ret) {
		/* The wish stands, and was out before we looked: whatever comes brings a kick. */
		if (vq->kicks_on && vq->kick_at == vq->last_avail)
			return 0;
		ask_for_kicks(vq, vq->last_avail);
		ret = vq->ring->look(vq);
	}
	if (ret <= 0)
		return ret;
	if (vq->kicks_on) {
		vq->ring->silence(vq);
		vq->kicks_on = false;
	}

	memset(c, 0, sizeof(*c));
	ret = vq->ring->take(vq, c);
	if (ring_lost(vq))
		return E_RING;
	if (ret == E_RING)
		return ret;
	/* Else a guest that offers one buffer again and again has no end of requests in flight. */
	if (vq->inuse + c->head.slots > vq->num)
		return vq_break(vq, "more buffers are available than the queue can hold");
	if (ret == E_ADDR) {
		c->nr_out = c->nr_in = 0;
		c->out_len = c->in_len = 0;
	}
	c->head.epoch = vq->epoch;
	c->head.pos = vq->last_avail;
	c->head.in_len = MIN(c->in_len, UINT32_MAX);
	c->seg = vq->seg;
	vq->last_avail = vq_forward(vq, vq->last_avail, c->head.slots);
	vq->inuse += c->head.slots;
	vq_count_add(&vq->count.requests, 1);
	vq_count_add(&vq->count.from_guest, c->out_len);
	return 1;
}

void vq_rewind(struct vq *vq, const struct vq_head *head)
{
	if (vq->broken || head->epoch != vq->epoch)
		return;
	vq->inuse -= vq_distance(vq, head->pos, vq->last_avail);
	vq->last_avail = head->pos;
}

/*
 * Sections 2.7.9 and 2.8.8: one used entry can stand for several chains, with the id of the last of
 * them and where the first would have stood. The guest takes it that the others were written to
 * their end, so a chain that was not ends a batch.
 */
static void push_in_order(struct vq *vq, const struct vq_head *head, uint32_t len)
{
	if (head->pos != vq->used) {
		give_up(vq, "the device", "it promised to complete in order and did not");
		return;
	}
	if (!vq->batch_open)
		vq->batch_pos = vq->used;
	vq->batch_open = true;
	vq->batch_id = head->id;
	vq->batch_len = len;
	if (len != head->in_len)
		close_batch(vq);
}

void vq_push(struct vq *vq, const struct vq_head *head, uint64_t len)
{
	uint32_t len32 = MIN(len, UINT32_MAX);

	if (vq->broken || !vq->device || head->epoch != vq->epoch)
		return;
	if (vq->in_order)
		push_in_order(vq, head, len32);
	else
		vq->ring->put(vq, vq->used, head->id, len32);
	vq->used = vq_forward(vq, vq->used, head->slots);
	vq->inuse -= head->slots;
	vq_count_add(&vq->count.to_guest, len);
}

/* A chain that could not be read has no segments, and no array of them. */
static const struct vq_seg *part_of(const struct vq_chain *c, bool in)
{
	return in && c->nr_out ? c->seg + c->nr_out : c->seg;
}

unsigned int vq_slice(const struct vq_chain *c, bool in, uint64_t off, uint64_t len,
		      struct vq_seg *out)
{
	const struct vq_seg *s = part_of(c, in);
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
	const struct vq_seg *s = part_of(c, in);
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
