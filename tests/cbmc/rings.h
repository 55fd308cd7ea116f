/* SPDX-License-Identifier: BSD-3-Clause */
/* The guest's side of both rings: memory with any contents, just as large as it is said to be. */
#ifndef TESTS_CBMC_RINGS_H
#define TESTS_CBMC_RINGS_H

#include <errno.h>

#include "tests/cbmc/cbmc.h"

#include "virtio/vq_ring.h"

#define RING 4		/* entries; loops over chains are unwound as often */
#define TABLE 2		/* entries of an indirect table */

static struct vq vq;
static unsigned int segs;

int vq_break(struct vq *q, const char *why)
{
	q->broken = true;
	return E_RING;
}

int vq_add_seg(struct vq *q, struct vq_chain *c, uint64_t addr, uint32_t len, bool in)
{
	int ret = any_int();

	assume(ret == 0 || ret == E_ADDR || ret == E_RING);
	segs++;
	return ret;
}

int vq_table(struct vq *q, uint64_t addr, uint32_t len, const void **table, uint32_t *nr)
{
	static uint8_t entries[16 * TABLE];

	if (any_bool())
		return any_bool() ? E_ADDR : E_RING;
	__CPROVER_havoc_object(entries);
	*nr = TABLE;
	*table = entries;
	return 0;
}

/* Each part has the length that the ring itself asks to be mapped. */
static void map_parts(const struct vq_ring *ring)
{
	struct vq_part part[3];

	ring->parts(&vq, part);
	vq.desc = __CPROVER_allocate(part[0].len, 0);
	vq.driver = __CPROVER_allocate(part[1].len, 0);
	vq.device = __CPROVER_allocate(part[2].len, 0);
}

static void any_state(void)
{
	vq.avail_idx = any_u16();
	vq.first_flags = any_u16();
	vq.last_avail = any_u32();
	vq.used = any_u32();
	vq.published = any_u32();
	vq.kick_at = any_u32();
	vq.event_idx = any_bool();
	vq.indirect = any_bool();
	assume(vq.last_avail < vq.span && vq.used < vq.span && vq.published < vq.span);
	assume(vq.kick_at < vq.span || vq.kick_at == VQ_NOWHERE);
}

/* Forward and distance are each other's opposite, and stay inside. */
static void check_steps(void)
{
	uint32_t from = any_u32(), to = any_u32(), n = any_u32(), d;

	assume(from < vq.span && to < vq.span && n < vq.span);
	d = vq_distance(&vq, from, to);
	assert(d < vq.span);
	assert(vq_forward(&vq, from, d) == to);
	assert(vq_forward(&vq, from, n) < vq.span);
	assert(vq_distance(&vq, from, vq_forward(&vq, from, n)) == n);
}

/* All that a ring does, with any contents of its memory: accesses inside, results in range */
static void check_ring(const struct vq_ring *ring)
{
	struct vq_chain c = { 0 };
	uint32_t pos = any_u32();
	int ret;

	assume(pos < vq.span);
	ret = ring->look(&vq);
	assert(ret == 0 || ret == 1 || (ret == E_RING && vq.broken));
	if (ret == 1) {
		ret = ring->take(&vq, &c);
		assert(ret == 0 || ret == E_ADDR || ret == E_RING);
		if (ret != E_RING) {
			assert(c.head.slots >= 1 && c.head.slots <= vq.num);
			assert(vq_forward(&vq, vq.last_avail, c.head.slots) < vq.span);
		}
		assert(segs <= (vq.num > TABLE ? vq.num : TABLE));
	}
	ring->put(&vq, pos, any_u16(), any_u32());
	ring->publish(&vq);
	ring->wants_irq(&vq);
	ring->ask(&vq, pos);
	ring->there(&vq, pos);
	ring->silence(&vq);
}

#endif
