// SPDX-License-Identifier: BSD-3-Clause
/* The packed ring: sizes of any kind; positions run through it twice. */
#include "tests/cbmc/rings.h"

#include "virtio/vq_packed.c"

static void any_ring(void)
{
	vq.packed = true;
	vq.num = any_u16();
	assume(vq.num && vq.num <= RING);
	vq.span = 2U * vq.num;
	any_state();
	map_parts(&vq_ring_packed);
}

/* of any size that the specification has */
void harness_steps(void)
{
	vq.num = any_u16();
	assume(vq.num && vq.num <= 32768);
	vq.span = 2U * vq.num;
	check_steps();
}

/* What is told to vhost and to the guest as offset and wrap counter, and back */
void harness_off_wrap(void)
{
	uint32_t pos = any_u32();
	uint16_t v = any_u16();

	vq.num = any_u16();
	assume(vq.num && vq.num <= 32768);
	vq.span = 2U * vq.num;
	if (pos < vq.span)
		assert(vq_packed_pos(&vq, vq_packed_off_wrap(&vq, pos)) == pos);
	pos = vq_packed_pos(&vq, v);
	assert(pos == VQ_NOWHERE || pos < vq.span);
	assert((pos == VQ_NOWHERE) == ((v & 0x7fff) >= vq.num));
	if (pos != VQ_NOWHERE)
		assert(vq_packed_off_wrap(&vq, pos) == v);
}

void harness_memory(void)
{
	any_ring();
	check_ring(&vq_ring_packed);
}

/* An entry that was put is used, for the guest, in this pass through the ring, not in the next. */
void harness_put(void)
{
	uint32_t pos = any_u32();
	uint16_t flags;

	any_ring();
	assume(pos < vq.span);
	packed_put(&vq, pos, any_u16(), any_u32());
	if (pos == vq.published)
		packed_publish(&vq);
	flags = desc_at(&vq, pos)->flags;
	assert(!!(flags & F_AVAIL) == (pos < vq.num) && !!(flags & F_USED) == (pos < vq.num));
	assert(!is_avail(&vq, pos, flags));
	assert(!is_avail(&vq, vq_forward(&vq, pos, vq.num), flags));
}
