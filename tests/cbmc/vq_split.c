// SPDX-License-Identifier: BSD-3-Clause
/* The split ring: sizes that are powers of 2; positions of all 16 bits. */
#include "tests/cbmc/rings.h"

#include "virtio/vq_split.c"

static void any_ring(void)
{
	vq.num = any_u16();
	vq.span = UINT16_MAX + 1U;
	assume(vq.num && vq.num <= RING && !(vq.num & (vq.num - 1)));
	any_state();
	map_parts(&vq_ring_split);
}

void harness_steps(void)
{
	vq.span = UINT16_MAX + 1U;
	check_steps();
}

/* without indirect tables, and with them in a smaller ring: they multiply the work */
void harness_memory(void)
{
	any_ring();
	vq.indirect = false;
	check_ring(&vq_ring_split);
}

void harness_indirect(void)
{
	struct vq_chain c = { 0 };

	vq.num = 1;
	vq.span = UINT16_MAX + 1U;
	any_state();
	vq.indirect = true;
	map_parts(&vq_ring_split);
	split_take(&vq, &c);
	assert(segs <= TABLE);
}

/* The guest may be as many entries ahead as the ring has, and no more. */
void harness_look(void)
{
	uint32_t ahead;

	any_ring();
	/* what was seen before was looked at before */
	assume(vq_distance(&vq, vq.last_avail, vq.avail_idx) <= vq.num);
	if (split_look(&vq) == 1) {
		ahead = vq_distance(&vq, vq.last_avail, vq.avail_idx);
		assert(ahead >= 1 && ahead <= vq.num);
	}
}

/* A chain that was taken has a head that the guest's own table has. */
void harness_head(void)
{
	struct vq_chain c = { 0 };

	any_ring();
	vq.indirect = false;
	if (split_take(&vq, &c) != E_RING)
		assert(c.head.id < vq.num && c.head.slots == 1);
}

/* Sizes that are no power of 2 do not pass. */
void harness_check(void)
{
	vq.num = any_u16();
	vq.desc_addr = any_u64();
	vq.driver_addr = any_u64();
	vq.device_addr = any_u64();
	if (!split_check(&vq) && vq.num)
		assert(__builtin_popcount(vq.num) == 1 && vq.desc_addr % 16 == 0 &&
		       vq.driver_addr % 2 == 0 && vq.device_addr % 4 == 0);
}
