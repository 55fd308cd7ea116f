// SPDX-License-Identifier: BSD-3-Clause
/*
 * The packed ring (virtio 1.2, section 2.8): driver and device write into the same descriptors. An
 * entry is available if its AVAIL flag equals the wrap counter of the driver's pass through the
 * ring and its USED flag does not, and used if both equal the counter of the device's.
 */
#include <errno.h>

#include "virtio/vq_ring.h"

#define F_AVAIL	(1U << VRING_PACKED_DESC_F_AVAIL)
#define F_USED	(1U << VRING_PACKED_DESC_F_USED)
#define WRAP	(1U << VRING_PACKED_EVENT_F_WRAP_CTR)

static struct vring_packed_desc *desc_at(const struct vq *vq, uint32_t pos)
{
	return (struct vring_packed_desc *)vq->desc + (pos < vq->num ? pos : pos - vq->num);
}

static bool wrap_of(const struct vq *vq, uint32_t pos)
{
	return pos < vq->num;
}

uint32_t vq_packed_pos(const struct vq *vq, uint16_t off_wrap)
{
	uint32_t off = off_wrap & ~WRAP;

	if (off >= vq->num)
		return VQ_NOWHERE;
	return off_wrap & WRAP ? off : off + vq->num;
}

uint16_t vq_packed_off_wrap(const struct vq *vq, uint32_t pos)
{
	return wrap_of(vq, pos) ? pos | WRAP : pos - vq->num;
}

static const char *packed_check(const struct vq *vq)
{
	if (!IS_ALIGNED(vq->desc_addr, 16) || !IS_ALIGNED(vq->driver_addr, 4) ||
	    !IS_ALIGNED(vq->device_addr, 4))
		return "its address is not aligned";
	return NULL;
}

static void packed_parts(const struct vq *vq, struct vq_part part[3])
{
	part[0] = (struct vq_part){ vq->desc_addr, 16ULL * vq->num };
	part[1] = (struct vq_part){ vq->driver_addr, sizeof(struct vring_packed_desc_event) };
	part[2] = (struct vq_part){ vq->device_addr, sizeof(struct vring_packed_desc_event) };
}

static bool is_avail(const struct vq *vq, uint32_t pos, uint16_t flags)
{
	bool wrap = wrap_of(vq, pos);

	return !!(flags & F_AVAIL) == wrap && !!(flags & F_USED) != wrap;
}

static int packed_look(struct vq *vq)
{
	/* Acquire: the driver writes these flags last of the whole chain; the rest comes after. */
	vq->avail_idx = ring_load_acquire(&desc_at(vq, vq->last_avail)->flags);
	return is_avail(vq, vq->last_avail, vq->avail_idx);
}

static bool packed_there(const struct vq *vq, uint32_t pos)
{
	/* No order is needed: whoever takes entries looks again, with packed_look(). */
	return is_avail(vq, pos, ring_load(&desc_at(vq, pos)->flags));
}

/* Section 2.8.7: an array, in which no flag but WRITE means anything. */
static int read_table(struct vq *vq, struct vq_chain *c, uint64_t addr, uint32_t len)
{
	struct vring_packed_desc d;
	const void *table;
	uint32_t nr;
	int ret;

	ret = vq_table(vq, addr, len, &table, &nr);
	for (uint32_t i = 0; !ret && i < nr; i++) {
		vq_entry(&d, table, i);
		ret = vq_add_seg(vq, c, d.addr, d.len, d.flags & VRING_DESC_F_WRITE);
	}
	return ret;
}

static int packed_take(struct vq *vq, struct vq_chain *c)
{
	uint16_t flags = vq->avail_idx;		/* packed_look() has read them */
	uint32_t pos = vq->last_avail, n = 0;
	int lost = 0;

	for (;;) {
		struct vring_packed_desc *d = desc_at(vq, pos);
		uint64_t addr = ring_load(&d->addr);
		uint32_t len = ring_load(&d->len);
		int ret = 0;

		/* A chain cannot be longer than the ring: this ends one that never does. */
		if (n++ >= MIN((uint32_t)vq->num, (uint32_t)VQ_CHAIN_MAX))
			return vq_break(vq, "a chain is too long");
		/* The name of a chain stands in its last descriptor. */
		c->head.id = ring_load(&d->id);
		c->head.slots = n;

		if (flags & VRING_DESC_F_INDIRECT) {
			/* Section 2.8.19: alone, not one of a chain. */
			if (!vq->indirect || n > 1 || flags & VRING_DESC_F_NEXT)
				return vq_break(vq, "an indirect descriptor where none may be");
			return read_table(vq, c, addr, len);
		}
		/* What cannot be used loses the request, but its end must be found all the same. */
		if (!lost)
			ret = vq_add_seg(vq, c, addr, len, flags & VRING_DESC_F_WRITE);
		if (ret == E_RING)
			return ret;
		if (ret < 0)
			lost = ret;
		if (!(flags & VRING_DESC_F_NEXT))
			return lost;
		pos = vq_forward(vq, pos, 1);
		flags = ring_load(&desc_at(vq, pos)->flags);
	}
}

static void packed_put(struct vq *vq, uint32_t pos, uint16_t id, uint32_t len)
{
	struct vring_packed_desc *d = desc_at(vq, pos);
	/* Section 2.8.3: WRITE says that there is something, so the length counts. */
	uint16_t flags = (wrap_of(vq, pos) ? F_AVAIL | F_USED : 0) | (len ? VRING_DESC_F_WRITE : 0);

	ring_store(&d->id, id);
	ring_store(&d->len, len);
	/* The guest looks at entries in their order: without the first it sees none. */
	if (pos == vq->published)
		vq->first_flags = flags;
	else
		ring_store(&d->flags, flags);
}

static void packed_publish(struct vq *vq)
{
	/*
	 * Release: the other entries, and the data behind all of them, are seen before the flags
	 * of the first; and we have read all descriptors of these chains before the guest may use
	 * them anew.
	 */
	ring_store_release(&desc_at(vq, vq->published)->flags, vq->first_flags);
}

static bool packed_wants_irq(struct vq *vq)
{
	struct vring_packed_desc_event *e = vq->driver;
	uint32_t pos;
	uint16_t flags;

	/*
	 * No order between the two: a driver that changes them looks for used entries once more
	 * afterwards, behind a full barrier, so if either is an old one it finds ours there.
	 */
	flags = ring_load(&e->flags) & 3;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !vq->event_idx)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	pos = vq_packed_pos(vq, ring_load(&e->off_wrap));
	/* A place that does not exist gets an interrupt: better one too many than none. */
	return pos == VQ_NOWHERE || vq_distance(vq, vq->published, pos) <
				    vq_distance(vq, vq->published, vq->used);
}

static void packed_ask(struct vq *vq, uint32_t pos)
{
	struct vring_packed_desc_event *e = vq->device;

	if (!vq->event_idx) {
		ring_store(&e->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
		return;
	}
	/* In any order: the barrier behind them counts, see packed_wants_irq() for its like. */
	ring_store(&e->off_wrap, vq_packed_off_wrap(vq, pos));
	ring_store(&e->flags, VRING_PACKED_EVENT_FLAG_DESC);
}

static void packed_silence(struct vq *vq)
{
	struct vring_packed_desc_event *e = vq->device;

	/* Once a place was named one that stays behind is silence enough. */
	if (!vq->event_idx || vq->kick_at == VQ_NOWHERE)
		ring_store(&e->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
}

const struct vq_ring vq_ring_packed = {
	.check = packed_check,
	.parts = packed_parts,
	.look = packed_look,
	.take = packed_take,
	.put = packed_put,
	.publish = packed_publish,
	.wants_irq = packed_wants_irq,
	.ask = packed_ask,
	.there = packed_there,
	.silence = packed_silence,
};
