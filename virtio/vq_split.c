// SPDX-License-Identifier: BSD-3-Clause
/* The split ring (virtio 1.2, section 2.7). */
#include <errno.h>

#include "virtio/vq_ring.h"

static struct vring_avail *avail_of(const struct vq *vq)
{
	return vq->driver;
}

static struct vring_used *used_of(const struct vq *vq)
{
	return vq->device;
}

/* Behind the last used element: for which entry we want a kick. */
static uint16_t *avail_event(const struct vq *vq)
{
	return (uint16_t *)((uint8_t *)vq->device + 4 + 8ULL * vq->num);
}

static uint16_t slot(const struct vq *vq, uint32_t pos)
{
	return pos & (vq->num - 1);
}

static const char *split_check(const struct vq *vq)
{
	if (vq->num & (vq->num - 1))
		return "its size is no power of 2";
	if (!IS_ALIGNED(vq->desc_addr, 16) || !IS_ALIGNED(vq->driver_addr, 2) ||
	    !IS_ALIGNED(vq->device_addr, 4))
		return "its address is not aligned";
	return NULL;
}

static void split_parts(const struct vq *vq, struct vq_part part[3])
{
	part[0] = (struct vq_part){ vq->desc_addr, 16ULL * vq->num };
	/* With the event index at the end, which is there with or without the feature. */
	part[1] = (struct vq_part){ vq->driver_addr, 6 + 2ULL * vq->num };
	part[2] = (struct vq_part){ vq->device_addr, 6 + 8ULL * vq->num };
}

static int split_look(struct vq *vq)
{
	if (vq->avail_idx == vq->last_avail) {
		/* Acquire: entries and descriptors are read after the index that covers them. */
		vq->avail_idx = ring_load_acquire(&avail_of(vq)->idx);
		if (vq_distance(vq, vq->last_avail, vq->avail_idx) > vq->num)
			return vq_break(vq, "the available index jumped");
	}
	return vq->avail_idx != vq->last_avail;
}

/* The entries of the ring's own table are aligned, those of an indirect one need not be. */
static struct vring_desc read_desc(const void *table, uint32_t i, bool indirect)
{
	const struct vring_desc *p = (const struct vring_desc *)table + i;
	struct vring_desc d;

	if (indirect) {
		vq_entry(&d, table, i);
		return d;
	}
	d.addr = ring_load(&p->addr);
	d.len = ring_load(&p->len);
	d.flags = ring_load(&p->flags);
	d.next = ring_load(&p->next);
	return d;
}

static int split_take(struct vq *vq, struct vq_chain *c)
{
	const void *table = vq->desc;
	uint32_t size = vq->num, i, steps = 0;
	bool indirect = false;
	struct vring_desc d;
	int ret;

	i = ring_load(&avail_of(vq)->ring[slot(vq, vq->last_avail)]);
	c->head.id = i;
	c->head.slots = 1;
	for (;;) {
		if (i >= size)
			return vq_break(vq, "a descriptor index is out of range");
		/* A chain cannot be longer than its table: this ends loops. */
		if (steps++ >= MIN(size, (uint32_t)VQ_CHAIN_MAX))
			return vq_break(vq, "a chain loops or is too long");
		d = read_desc(table, i, indirect);

		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (indirect || !vq->indirect)
				return vq_break(vq, "an indirect descriptor where none may be");
			if (d.flags & VRING_DESC_F_NEXT)
				return vq_break(vq, "an indirect descriptor has a successor");
			ret = vq_table(vq, d.addr, d.len, &table, &size);
			if (ret < 0)
				return ret;
			i = 0;
			steps = 0;
			indirect = true;
			continue;
		}
		ret = vq_add_seg(vq, c, d.addr, d.len, d.flags & VRING_DESC_F_WRITE);
		if (ret < 0)
			return ret;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		i = d.next;
	}
}

static void split_put(struct vq *vq, uint32_t pos, uint16_t id, uint32_t len)
{
	struct vring_used_elem *elem = &used_of(vq)->ring[slot(vq, pos)];

	ring_store(&elem->id, id);
	ring_store(&elem->len, len);
}

static void split_publish(struct vq *vq)
{
	/*
	 * Release: the entries and the data behind them are seen before the index; and we have
	 * read all descriptors of these chains before the guest may use them anew.
	 */
	ring_store_release(&used_of(vq)->idx, vq->used);
}

static bool split_wants_irq(struct vq *vq)
{
	struct vring_avail *avail = avail_of(vq);

	if (!vq->event_idx)
		return !(ring_load(&avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	return vring_need_event(ring_load(&avail->ring[vq->num]), vq->used, vq->published);
}

static void split_ask(struct vq *vq, uint32_t pos)
{
	if (vq->event_idx)
		ring_store(avail_event(vq), pos);
	else
		ring_store(&used_of(vq)->flags, 0);
}

static bool split_there(const struct vq *vq, uint32_t pos)
{
	/* No order is needed: whoever takes entries looks again, with split_look(). */
	uint16_t idx = ring_load(&avail_of(vq)->idx);

	return vq_distance(vq, vq->last_avail, idx) > vq_distance(vq, vq->last_avail, pos);
}

static void split_silence(struct vq *vq)
{
	/* With EVENT_IDX an index that stays behind is silence enough. */
	if (!vq->event_idx)
		ring_store(&used_of(vq)->flags, VRING_USED_F_NO_NOTIFY);
}

const struct vq_ring vq_ring_split = {
	.check = split_check,
	.parts = split_parts,
	.look = split_look,
	.take = split_take,
	.put = split_put,
	.publish = split_publish,
	.wants_irq = split_wants_irq,
	.ask = split_ask,
	.there = split_there,
	.silence = split_silence,
};
