// SPDX-License-Identifier: BSD-3-Clause
/*
 * Rings (sections 2.7 and 2.8), good and bad. What a bad one may bring about is written down for
 * each case: the device needs a reset, or the request comes back and all goes on, and nothing else.
 */
#include "tests/conformance/conf.h"

#define NUM	16u		/* entries of the rings here, or as many as there can be */
#define BUF(n)	(DATA + 0x40000 + (n) * PAGE)
#define TABLE	(DATA + 0x60000)
#define PRIV	(DATA + 0x70000)	/* private in a realm */

/**
 * enum outcome - of a hostile case
 * @BREAKS:  the device sets DEVICE_NEEDS_RESET
 * @RETURNS: the chain comes back, and the device works on
 * @IGNORED: the device sees nothing
 * @EITHER:  BREAKS or RETURNS or IGNORED, as the device likes, but one of them
 */
enum outcome { BREAKS, RETURNS, IGNORED, EITHER };

/** struct hostile - @make puts something bad into a queue of NUM entries */
struct hostile {
	const char *name;
	void (*make)(struct vm *vm, const struct lane *l);
	enum outcome outcome;
	unsigned int where;
};

static uint64_t a(const struct vm *vm, ipa_t ipa)
{
	return vm_addr(vm, ipa);
}

static unsigned int entries(const struct vm *vm, const struct lane *l)
{
	return vm->ring[l->q].num;
}

static uint16_t dir(const struct lane *l)
{
	return l->in ? D_WRITE : 0;
}

/* NEXT for all descriptors but the last of as many as the queue has. */
static uint16_t next(const struct vm *vm, const struct lane *l, unsigned int i)
{
	return i + 1 < entries(vm, l) ? D_NEXT : 0;
}

/* One descriptor. */
static void single(struct vm *vm, const struct lane *l, uint64_t addr, uint32_t len, uint16_t flags)
{
	ring_chain(vm, l->q, &(struct desc){ addr, len, flags, 0 }, 1);
}

/* ---- indices ---- */

static void index_jumps_by_one(struct vm *vm, const struct lane *l)
{
	struct ring *r = &vm->ring[l->q];

	vm_put16(vm, r->driver + 2, r->avail + r->num + 1);
}

static void index_jumps_far(struct vm *vm, const struct lane *l)
{
	struct ring *r = &vm->ring[l->q];

	vm_put16(vm, r->driver + 2, r->avail + 0x8000);
}

static void index_goes_back(struct vm *vm, const struct lane *l)
{
	struct ring *r = &vm->ring[l->q];

	vm_put16(vm, r->driver + 2, r->avail - 1);
}

static void head_out_of_range(struct vm *vm, const struct lane *l)
{
	ring_offer(vm, l->q, entries(vm, l));
}

static void head_far_out(struct vm *vm, const struct lane *l)
{
	ring_offer(vm, l->q, 0xffff);
}

static void next_out_of_range(struct vm *vm, const struct lane *l)
{
	struct desc d = { a(vm, BUF(0)), 16, dir(l) | D_NEXT, 1 + entries(vm, l) };

	ring_chain(vm, l->q, &d, 1);
}

static void next_far_out(struct vm *vm, const struct lane *l)
{
	struct desc d = { a(vm, BUF(0)), 16, dir(l) | D_NEXT, 0xffff };

	ring_chain(vm, l->q, &d, 1);
}

/* ---- loops and lengths of chains ---- */

static void loop_of_one(struct vm *vm, const struct lane *l)
{
	uint16_t at = vm->ring[l->q].free;
	struct desc d = { a(vm, BUF(0)), 16, dir(l) | D_NEXT, 1 + at };

	ring_chain(vm, l->q, &d, 1);
}

static void loop_of_two(struct vm *vm, const struct lane *l)
{
	uint16_t at = vm->ring[l->q].free;
	struct desc d[] = {
		{ a(vm, BUF(0)), 16, dir(l) | D_NEXT, 0 },
		{ a(vm, BUF(1)), 16, dir(l) | D_NEXT, 1 + at },
	};

	ring_chain(vm, l->q, d, 2);
}

static void loop_of_empty(struct vm *vm, const struct lane *l)
{
	uint16_t at = vm->ring[l->q].free;
	struct desc d = { a(vm, BUF(0)), 0, dir(l) | D_NEXT, 1 + at };

	ring_chain(vm, l->q, &d, 1);
}

/* Each descriptor has a successor: in a split ring a loop, in a packed one no end. */
static void no_end(struct vm *vm, const struct lane *l)
{
	struct desc d[NUM];

	for (unsigned int i = 0; i < entries(vm, l); i++)
		d[i] = (struct desc){ a(vm, BUF(i)), 16, dir(l) | D_NEXT, 0 };
	ring_chain(vm, l->q, d, entries(vm, l));
}

/* As long as the queue, which is allowed. */
static void as_long_as_the_queue(struct vm *vm, const struct lane *l)
{
	struct desc d[NUM];

	for (unsigned int i = 0; i < entries(vm, l); i++)
		d[i] = (struct desc){ a(vm, BUF(i)), 64, dir(l) | next(vm, l, i), 0 };
	ring_chain(vm, l->q, d, entries(vm, l));
}

/* A chain that never ends because the driver stopped in the middle: its tail is not available. */
static void tail_missing(struct vm *vm, const struct lane *l)
{
	struct desc d = { a(vm, BUF(0)), 16, dir(l) | D_NEXT, 0 };

	ring_chain(vm, l->q, &d, 1);
}

static void readable_after_writable(struct vm *vm, const struct lane *l)
{
	struct desc d[] = {
		{ a(vm, BUF(0)), 16, D_WRITE | D_NEXT, 0 },
		{ a(vm, BUF(1)), 16, 0, 0 },
	};

	ring_chain(vm, l->q, d, 2);
}

static void alternating(struct vm *vm, const struct lane *l)
{
	struct desc d[NUM];

	for (unsigned int i = 0; i < entries(vm, l); i++)
		d[i] = (struct desc){ a(vm, BUF(i)), 16,
				      (i & 1 ? D_WRITE : 0) | next(vm, l, i), 0 };
	ring_chain(vm, l->q, d, entries(vm, l));
}

/* The wrong way round for this queue: the device can do nothing with it, and says so. */
static void wrong_direction(struct vm *vm, const struct lane *l)
{
	single(vm, l, a(vm, BUF(0)), 64, l->in ? 0 : D_WRITE);
}

/* ---- lengths ---- */

static void no_length(struct vm *vm, const struct lane *l)
{
	single(vm, l, a(vm, BUF(0)), 0, dir(l));
}

static void no_length_anywhere(struct vm *vm, const struct lane *l)
{
	struct desc d[] = {
		{ 0, 0, D_NEXT, 0 },
		{ UINT64_MAX, 0, D_NEXT, 0 },
		{ a(vm, RAM_END), 0, D_WRITE, 0 },
	};

	ring_chain(vm, l->q, d, 3);
}

static void four_gib_less_one(struct vm *vm, const struct lane *l)
{
	single(vm, l, a(vm, BUF(0)), UINT32_MAX, dir(l));
}

static void four_gib(struct vm *vm, const struct lane *l)
{
	struct desc d[] = {
		{ a(vm, BUF(0)), 0x80000000, dir(l) | D_NEXT, 0 },
		{ a(vm, BUF(0)), 0x80000000, dir(l), 0 },
	};

	ring_chain(vm, l->q, d, 2);
}

static void many_gib(struct vm *vm, const struct lane *l)
{
	struct desc d[NUM];

	for (unsigned int i = 0; i < entries(vm, l); i++)
		d[i] = (struct desc){ a(vm, BUF(0)), UINT32_MAX,
				      dir(l) | next(vm, l, i), 0 };
	ring_chain(vm, l->q, d, entries(vm, l));
}

/* ---- addresses ---- */

static void nowhere(struct vm *vm, const struct lane *l)
{
	single(vm, l, 0x1000, 64, dir(l));
}

static void null_address(struct vm *vm, const struct lane *l)
{
	single(vm, l, 0, 64, dir(l));
}

static void before_ram(struct vm *vm, const struct lane *l)
{
	single(vm, l, a(vm, RAM) - 8, 64, dir(l));
}

static void across_the_end(struct vm *vm, const struct lane *l)
{
	single(vm, l, a(vm, RAM_END) - 8, 16, dir(l));
}

static void behind_the_end(struct vm *vm, const struct lane *l)
{
	single(vm, l, a(vm, RAM_END), 16, dir(l));
}

static void wraps_around(struct vm *vm, const struct lane *l)
{
	single(vm, l, UINT64_MAX - 7, 64, dir(l));
}

static void wraps_into_ram(struct vm *vm, const struct lane *l)
{
	single(vm, l, UINT64_MAX - 0x7fffffff + 1, UINT32_MAX, dir(l));
}

static void above_the_split(struct vm *vm, const struct lane *l)
{
	single(vm, l, RAM | SHARED_BIT << 1, 64, dir(l));
}

static void good_then_nowhere(struct vm *vm, const struct lane *l)
{
	struct desc d[] = {
		{ a(vm, BUF(0)), l->len - 1, dir(l) | D_NEXT, 0 }, { 0x1000, 64, dir(l), 0 },
	};

	ring_chain(vm, l->q, d, 2);
}

static void in_private(struct vm *vm, const struct lane *l)
{
	vm_private(vm, PRIV, 1, true);
	single(vm, l, a(vm, PRIV), 600, dir(l));
}

/* The same by the other name: without the shared bit it is the same page. */
static void in_private_lower_half(struct vm *vm, const struct lane *l)
{
	vm_private(vm, PRIV, 1, true);
	single(vm, l, PRIV, 600, dir(l));
}

static void into_private(struct vm *vm, const struct lane *l)
{
	vm_private(vm, PRIV, 1, true);
	single(vm, l, a(vm, PRIV - 8), 600, dir(l));
}

static void out_of_private(struct vm *vm, const struct lane *l)
{
	vm_private(vm, PRIV, 1, true);
	single(vm, l, a(vm, PRIV + PAGE - 8), 600, dir(l));
}

static void around_private(struct vm *vm, const struct lane *l)
{
	vm_private(vm, PRIV, 1, true);
	single(vm, l, a(vm, PRIV - PAGE), 3 * PAGE, dir(l));
}

static void shared_then_private(struct vm *vm, const struct lane *l)
{
	struct desc d[] = {
		{ a(vm, BUF(0)), l->len - 1, dir(l) | D_NEXT, 0 },
		{ a(vm, PRIV), 64, dir(l), 0 },
	};

	vm_private(vm, PRIV, 1, true);
	ring_chain(vm, l->q, d, 2);
}

/* ---- indirect ---- */

static void table_entry(struct vm *vm, unsigned int i, uint64_t addr, uint32_t len, uint16_t flags,
			uint16_t next)
{
	struct vring_desc v = { addr, len, flags, next };
	struct vring_packed_desc p = { addr, len, 0, flags };

	vm_put(vm, TABLE + 16 * (uint64_t)i, vm->packed ? (void *)&p : (void *)&v, 16);
}

static void good_table(struct vm *vm, const struct lane *l)
{
	table_entry(vm, 0, a(vm, BUF(0)), l->len, dir(l), 0);
	if (l->in)
		vm_allow(vm, BUF(0), l->len);
}

static void table_nested(struct vm *vm, const struct lane *l)
{
	table_entry(vm, 0, a(vm, TABLE), 16, D_INDIRECT, 0);
	single(vm, l, a(vm, TABLE), 16, D_INDIRECT);
}

static void table_with_next(struct vm *vm, const struct lane *l)
{
	struct desc d[] = {
		{ a(vm, TABLE), 16, D_INDIRECT | D_NEXT, 0 }, { a(vm, BUF(1)), 16, dir(l), 0 },
	};

	good_table(vm, l);
	ring_chain(vm, l->q, d, 2);
}

static void table_empty(struct vm *vm, const struct lane *l)
{
	good_table(vm, l);
	single(vm, l, a(vm, TABLE), 0, D_INDIRECT);
}

static void table_odd_size(struct vm *vm, const struct lane *l)
{
	good_table(vm, l);
	single(vm, l, a(vm, TABLE), 17, D_INDIRECT);
}

static void table_short(struct vm *vm, const struct lane *l)
{
	good_table(vm, l);
	single(vm, l, a(vm, TABLE), 15, D_INDIRECT);
}

static void table_huge(struct vm *vm, const struct lane *l)
{
	good_table(vm, l);
	single(vm, l, a(vm, TABLE), 0xfffffff0, D_INDIRECT);
}

static void table_nowhere(struct vm *vm, const struct lane *l)
{
	single(vm, l, 0x1000, 32, D_INDIRECT);
}

static void table_across_the_end(struct vm *vm, const struct lane *l)
{
	single(vm, l, a(vm, RAM_END - 16), 32, D_INDIRECT);
}

static void table_wraps(struct vm *vm, const struct lane *l)
{
	single(vm, l, UINT64_MAX - 15, 32, D_INDIRECT);
}

static void table_private(struct vm *vm, const struct lane *l)
{
	vm_private(vm, TABLE, 1, true);
	good_table(vm, l);
	single(vm, l, a(vm, TABLE), 16, D_INDIRECT);
}

static void table_into_private(struct vm *vm, const struct lane *l)
{
	vm_private(vm, PRIV, 1, true);
	single(vm, l, a(vm, PRIV - 16), 32, D_INDIRECT);
}

static void table_next_out_of_range(struct vm *vm, const struct lane *l)
{
	table_entry(vm, 0, a(vm, BUF(0)), 16, dir(l) | D_NEXT, 2);
	table_entry(vm, 1, a(vm, BUF(1)), 16, dir(l), 0);
	single(vm, l, a(vm, TABLE), 32, D_INDIRECT);
}

static void table_loops(struct vm *vm, const struct lane *l)
{
	table_entry(vm, 0, a(vm, BUF(0)), 16, dir(l) | D_NEXT, 1);
	table_entry(vm, 1, a(vm, BUF(1)), 16, dir(l) | D_NEXT, 0);
	single(vm, l, a(vm, TABLE), 32, D_INDIRECT);
}

/* The WRITE flag of what names the table means nothing (section 2.7.5.3.2). */
static void table_with_write(struct vm *vm, const struct lane *l)
{
	good_table(vm, l);
	single(vm, l, a(vm, TABLE), 16, D_INDIRECT | D_WRITE);
}

/* Tables need no alignment. */
static void table_unaligned(struct vm *vm, const struct lane *l)
{
	uint8_t copy[16];

	good_table(vm, l);
	memcpy(copy, vm_at(vm, TABLE), 16);
	vm_put(vm, TABLE + 129, copy, 16);
	single(vm, l, a(vm, TABLE + 129), 16, D_INDIRECT);
}

/* Section 2.7.5.3.2: normal descriptors, then a table, are one chain in a split ring. */
static void table_behind_a_chain(struct vm *vm, const struct lane *l)
{
	struct desc d[] = {
		{ a(vm, BUF(1)), 16, dir(l) | D_NEXT, 0 }, { a(vm, TABLE), 16, D_INDIRECT, 0 },
	};

	good_table(vm, l);
	ring_chain(vm, l->q, d, 2);
}

/* ---- packed only ---- */

static void wrap_counter_wrong(struct vm *vm, const struct lane *l)
{
	struct ring *r = &vm->ring[l->q];

	/* As if the driver had gone once round the ring already. */
	r->wrap = !r->wrap;
	single(vm, l, a(vm, BUF(0)), l->len, dir(l));
	vm_check(vm);
	ring_allow(vm, l->q);
}

static void used_already(struct vm *vm, const struct lane *l)
{
	struct ring *r = &vm->ring[l->q];

	vm_put16(vm, r->desc + 16 * (uint64_t)r->avail + 14,
		 1 << VRING_PACKED_DESC_F_AVAIL | 1 << VRING_PACKED_DESC_F_USED);
}

/* An entry in the middle of nothing: the one before it is not available. */
static void a_gap(struct vm *vm, const struct lane *l)
{
	struct ring *r = &vm->ring[l->q];

	vm_put16(vm, r->desc + 16 * (uint64_t)(r->avail + 1) + 14,
		 1 << VRING_PACKED_DESC_F_AVAIL | dir(l));
}

/* ---- more than there is ---- */

static void one_head_everywhere(struct vm *vm, const struct lane *l)
{
	struct desc d = { a(vm, BUF(0)), l->len, dir(l), 0 };
	uint16_t head = ring_chain(vm, l->q, &d, 1);

	for (unsigned int i = 1; i < entries(vm, l); i++)
		ring_offer(vm, l->q, head);
}

/* Reserved flags mean nothing. */
static void all_flags(struct vm *vm, const struct lane *l)
{
	single(vm, l, a(vm, BUF(0)), l->len, dir(l) | 0x3f78);
}

static const struct hostile hostile[] = {
	{ "index_jumps_by_one_too_many", index_jumps_by_one, BREAKS, SPLIT_ONLY },
	{ "index_jumps_far", index_jumps_far, BREAKS, SPLIT_ONLY },
	{ "index_goes_back", index_goes_back, BREAKS, SPLIT_ONLY },
	{ "head_out_of_range", head_out_of_range, BREAKS, SPLIT_ONLY },
	{ "head_far_out", head_far_out, BREAKS, SPLIT_ONLY },
	{ "next_out_of_range", next_out_of_range, BREAKS, SPLIT_ONLY },
	{ "next_far_out", next_far_out, BREAKS, SPLIT_ONLY },
	{ "loop_of_one", loop_of_one, BREAKS, SPLIT_ONLY },
	{ "loop_of_two", loop_of_two, BREAKS, SPLIT_ONLY },
	{ "loop_of_empty", loop_of_empty, BREAKS, SPLIT_ONLY },
	{ "chain_without_end", no_end, BREAKS, ANY },
	{ "chain_as_long_as_the_queue", as_long_as_the_queue, RETURNS, ANY },
	{ "chain_without_its_tail", tail_missing, EITHER, PACKED_ONLY },
	{ "readable_after_writable", readable_after_writable, BREAKS, ANY },
	{ "readable_and_writable_in_turn", alternating, BREAKS, ANY },
	{ "wrong_direction", wrong_direction, EITHER, ANY },
	{ "no_length", no_length, EITHER, ANY },
	{ "no_length_anywhere", no_length_anywhere, EITHER, ANY },
	{ "4_gib_less_one", four_gib_less_one, RETURNS, ANY },
	{ "4_gib", four_gib, RETURNS, ANY },
	{ "64_gib", many_gib, EITHER, ANY },
	{ "nowhere", nowhere, RETURNS, ANY },
	{ "null", null_address, RETURNS, ANY },
	{ "before_ram", before_ram, RETURNS, ANY },
	{ "across_the_end_of_ram", across_the_end, RETURNS, ANY },
	{ "behind_the_end_of_ram", behind_the_end, RETURNS, ANY },
	{ "wraps_around", wraps_around, RETURNS, ANY },
	{ "wraps_into_ram", wraps_into_ram, RETURNS, ANY },
	{ "above_the_split", above_the_split, RETURNS, ANY },
	{ "good_then_nowhere", good_then_nowhere, RETURNS, ANY },
	{ "private", in_private, RETURNS, REALM_ONLY },
	{ "private_without_shared_bit", in_private_lower_half, RETURNS, REALM_ONLY },
	{ "into_private", into_private, RETURNS, REALM_ONLY },
	{ "out_of_private", out_of_private, RETURNS, REALM_ONLY },
	{ "around_private", around_private, RETURNS, REALM_ONLY },
	{ "shared_then_private", shared_then_private, RETURNS, REALM_ONLY },
	{ "table_nested", table_nested, BREAKS, SPLIT_ONLY },
	{ "table_nested", table_nested, EITHER, PACKED_ONLY },
	{ "table_with_next", table_with_next, BREAKS, ANY },
	{ "table_empty", table_empty, BREAKS, ANY },
	{ "table_of_odd_size", table_odd_size, BREAKS, ANY },
	{ "table_too_short", table_short, BREAKS, ANY },
	{ "table_of_4_gib", table_huge, BREAKS, ANY },
	{ "table_nowhere", table_nowhere, RETURNS, ANY },
	{ "table_across_the_end_of_ram", table_across_the_end, RETURNS, ANY },
	{ "table_wraps_around", table_wraps, RETURNS, ANY },
	{ "table_private", table_private, RETURNS, REALM_ONLY },
	{ "table_into_private", table_into_private, RETURNS, REALM_ONLY },
	{ "table_next_out_of_range", table_next_out_of_range, BREAKS, SPLIT_ONLY },
	{ "table_loops", table_loops, BREAKS, SPLIT_ONLY },
	{ "table_with_write", table_with_write, RETURNS, ANY },
	{ "table_unaligned", table_unaligned, RETURNS, ANY },
	{ "table_behind_a_chain", table_behind_a_chain, RETURNS, SPLIT_ONLY },
	{ "wrap_counter_wrong", wrap_counter_wrong, IGNORED, PACKED_ONLY },
	{ "used_already", used_already, IGNORED, PACKED_ONLY },
	{ "gap", a_gap, IGNORED, PACKED_ONLY },
	{ "one_head_in_all_entries", one_head_everywhere, EITHER, SPLIT_ONLY },
	{ "reserved_flags", all_flags, RETURNS, ANY },
};

static void all_queues(struct vm *vm, uint64_t features)
{
	drv_reset(vm);
	assert_true(drv_negotiate(vm, features));
	drv_queues(vm, NUM);
	drv_ok(vm);
	vm_pump(vm, 0);
	vm->t->irqs(vm);
}

/* Of a bad chain the device may not even know the name. */
static bool came_back(struct vm *vm, unsigned int q)
{
	struct ring *r = &vm->ring[q];
	uint16_t id, flags = 1 << VRING_PACKED_DESC_F_AVAIL | 1 << VRING_PACKED_DESC_F_USED;
	uint32_t len;

	if (r->packed && !vm->certain)
		return (*(uint16_t *)vm_at(vm, r->desc + 16 * (uint64_t)r->used + 14) & flags) ==
		       flags || drv_needs_reset(vm, 0);
	return ring_used(vm, q, &id, &len) || drv_needs_reset(vm, 0);
}

static void kick(struct vm *vm, const struct lane *l)
{
	vm->t->kick(vm, l->q);
	vm_pump(vm, 0);
	drv_poke(vm, l);
}

/* The queue is broken: the device says so, once, and touches nothing until it is reset. */
static void is_broken(struct vm *vm, const struct lane *l, const char *name)
{
	if (!vm_wait(vm, drv_needs_reset, 0))
		fail_msg("%s: the device did not ask for a reset", name);
	vm_pump(vm, 0);
	/* Section 2.1.2: with a notification, as the driver was running. */
	assert_true(vm->t->irqs(vm).config > 0);
	vm_check(vm);
	for (unsigned int q = 0; q < vm->nr_queues; q++)
		vm->t->kick(vm, q);
	vm->t->set_status(vm, S_ACK | S_DRIVER | S_FEATURES | S_OK);
	vm_pump(vm, 1);
	assert_true(vm->t->status(vm) & S_NEEDS_RESET);
	vm_check(vm);
}

static void one_hostile(struct vm *vm, const struct hostile *h, const struct lane *l)
{
	enum outcome outcome = h->outcome;

	vm->doing = h->name;
	vm->certain = outcome != EITHER;
	all_queues(vm, drv_features(vm));
	h->make(vm, l);
	kick(vm, l);
	if (outcome == EITHER) {
		vm_pump(vm, 5);
		outcome = drv_needs_reset(vm, 0) ? BREAKS : came_back(vm, l->q) ? RETURNS : EITHER;
	}
	switch (outcome) {
	case BREAKS:
		is_broken(vm, l, h->name);
		break;
	case RETURNS:
		if (h->outcome != EITHER && !vm_wait(vm, came_back, l->q))
			fail_msg("%s: nothing came back", h->name);
		if (drv_needs_reset(vm, 0))
			fail_msg("%s: the device needs a reset", h->name);
		vm_pump(vm, 0);
		/* No harm done: the same rings serve the next one. */
		if (h->outcome != EITHER)
			drv_good(vm);
		break;
	case IGNORED:
		vm_pump(vm, 5);
		assert_false(drv_needs_reset(vm, 0));
		assert_memory_equal(vm_at(vm, vm->ring[l->q].desc),
				    vm->want + (vm->ring[l->q].desc - RAM), 16 * entries(vm, l));
		break;
	case EITHER:
		break;
	}
	drv_reset(vm);
	vm_private(vm, PRIV, 1, false);
	vm_private(vm, TABLE, 1, false);
	drv_recover(vm);
	vm->doing = NULL;
}

static void hostile_lane(struct vm *vm, unsigned int nr)
{
	unsigned int where = (vm->packed ? ON_PACKED : ON_SPLIT) | (vm->realm ? IN_REALM : IN_VM);
	const struct lane *l = &vm->kind->lane[nr];

	for (unsigned int i = 0; i < nr; i++)
		if (!vm->kind->lane[i].len)
			return;
	for (size_t i = 0; l->len && i < ARRAY_SIZE(hostile); i++)
		if ((hostile[i].where & where) == where)
			one_hostile(vm, &hostile[i], l);
}

static void hostile_0(struct vm *vm) { hostile_lane(vm, 0); }
static void hostile_1(struct vm *vm) { hostile_lane(vm, 1); }
static void hostile_2(struct vm *vm) { hostile_lane(vm, 2); }

/* INDIRECT without the feature is no table (section 2.7.5.3.1). */
static void indirect_not_negotiated(struct vm *vm)
{
	const struct lane *l = &vm->kind->lane[0];

	all_queues(vm, drv_features(vm) & ~F(VIRTIO_RING_F_INDIRECT_DESC));
	good_table(vm, l);
	single(vm, l, a(vm, TABLE), 16, D_INDIRECT);
	kick(vm, l);
	is_broken(vm, l, "indirect");
	drv_recover(vm);
}

/* An id is the driver's name for a chain, any 16 bits of it (section 2.8.6). */
static void any_id(struct vm *vm)
{
	static const uint16_t id[] = { 0, NUM - 1, NUM, 0x7fff, 0x8000, 0xffff };
	const struct lane *l = &vm->kind->lane[0];
	struct vring_packed_desc *d;
	struct ring *r;

	all_queues(vm, drv_features(vm));
	r = &vm->ring[l->q];
	for (size_t i = 0; i < ARRAY_SIZE(id); i++) {
		uint64_t at = r->desc + 16 * (uint64_t)i;
		struct vring_packed_desc p = { a(vm, BUF(0)), l->len, id[i], 0 };

		vm_allow(vm, BUF(0), l->in ? l->len : 0);
		vm_put(vm, at, &p, 14);
		vm_put16(vm, at + 14, dir(l) | 1 << VRING_PACKED_DESC_F_AVAIL);
		kick(vm, l);
		d = vm_at(vm, at);
		for (int n = 0; n < 1000 && !(__atomic_load_n(&d->flags, __ATOMIC_ACQUIRE) >>
					      VRING_PACKED_DESC_F_USED & 1); n++)
			loop_once(&vm->loop, 10);
		assert_int_equal(d->flags >> VRING_PACKED_DESC_F_AVAIL & 1, 1);
		assert_int_equal(d->id, id[i]);
	}
	drv_recover(vm);
}

/* ---- notifications ---- */

/* A request that every device answers at once, in any number; not all have one. */
static uint16_t ping(struct vm *vm, const struct lane *l)
{
	return ring_add(vm, l->q, &(struct buf){ BUF(0), l->len, l->in }, 1);
}

/*
 * Through the wrap of the index (65535 to 0), or twice round a packed ring: an interrupt comes with
 * the used entry that the driver named and with no other (sections 2.7.10 and 2.8.14).
 */
static void wrap(struct vm *vm, uint64_t features, unsigned int fast, unsigned int exact)
{
	const struct lane *l = &vm->kind->lane[0];
	bool exactly = features >> VIRTIO_RING_F_EVENT_IDX & 1;
	uint16_t id[8];

	all_queues(vm, features);
	ring_ask_irq(vm, l->q, -1);
	for (unsigned int i = 0; i < fast; i += ARRAY_SIZE(id)) {
		for (size_t n = 0; n < ARRAY_SIZE(id); n++)
			id[n] = ping(vm, l);
		if (ring_wants_kick(vm, l->q))
			vm->t->kick(vm, l->q);
		for (size_t n = 0; n < ARRAY_SIZE(id); n++)
			ring_wait(vm, l->q, id[n]);
	}
	assert_int_equal(vm->t->irqs(vm).queue, 0);
	for (unsigned int i = 0; i < exact; i++) {
		unsigned int wait = i % 3;

		vm_pump(vm, 0);
		if (exactly)
			ring_ask_irq(vm, l->q, wait);
		else
			ring_ask_irq(vm, l->q, wait ? -1 : 0);
		for (unsigned int n = 0; n <= wait; n++) {
			id[0] = ping(vm, l);
			if (ring_wants_kick(vm, l->q))
				vm->t->kick(vm, l->q);
			ring_wait(vm, l->q, id[0]);
			vm_pump(vm, 0);
			if (exactly)
				assert_int_equal(vm->t->irqs(vm).queue, n == wait);
			else
				assert_int_equal(vm->t->irqs(vm).queue, !wait);
		}
	}
	assert_false(vm->t->status(vm) & S_NEEDS_RESET);
	drv_recover(vm);
}

static void event_idx_wrap(struct vm *vm)
{
	if (vm->kind->lane[0].poked)
		return;
	/* Two rounds of a packed ring are a wrap; an index of a split one needs 65536. */
	wrap(vm, drv_features(vm), vm->packed ? 0 : 65536 - 48, 64);
}

static void flags_wrap(struct vm *vm)
{
	if (!vm->kind->lane[0].poked)
		wrap(vm, drv_features(vm) & ~F(VIRTIO_RING_F_EVENT_IDX), 0, 64);
}

/* Chains of any length in turn, so that they end at, and go over, the end of a packed ring. */
static void any_length_any_place(struct vm *vm)
{
	const struct lane *l = &vm->kind->lane[0];
	struct buf b[5];

	all_queues(vm, drv_features(vm));
	for (unsigned int i = 0; i < 200; i++) {
		unsigned int nr = 1 + vm_random(vm) % ARRAY_SIZE(b), each = l->len / nr + 1;
		uint16_t id;

		for (unsigned int n = 0; n < nr; n++)
			b[n] = (struct buf){ BUF(n), each, l->in };
		id = i % 4 ? ring_add(vm, l->q, b, nr) : ring_add_table(vm, l->q, b, nr, TABLE);
		kick(vm, l);
		ring_wait(vm, l->q, id);
	}
	drv_recover(vm);
}

/* A full ring, again and again. */
static void full(struct vm *vm)
{
	const struct lane *l = &vm->kind->lane[0];
	uint16_t id[NUM];

	if (l->poked)
		return;
	all_queues(vm, drv_features(vm));
	for (int round = 0; round < 5; round++) {
		for (unsigned int n = 0; n < entries(vm, l); n++)
			id[n] = ping(vm, l);
		if (ring_wants_kick(vm, l->q))
			vm->t->kick(vm, l->q);
		for (unsigned int n = 0; n < entries(vm, l); n++)
			ring_wait(vm, l->q, id[n]);
	}
	drv_recover(vm);
}

/*
 * In order (sections 2.7.9 and 2.8.8): one used entry can stand for all chains up to the one that
 * it names; in a split ring the index moves on by all of them.
 */
static bool in_order_round(struct vm *vm, const struct lane *l, const uint16_t *id, unsigned int nr)
{
	struct ring *r = &vm->ring[l->q];
	unsigned int head = 0;
	uint16_t got;
	uint32_t len;

	while (head < nr) {
		unsigned int last = head;
		uint16_t before = r->used;

		for (int i = 0; i < 500 && !ring_used(vm, l->q, &got, &len); i++)
			loop_once(&vm->loop, 10);
		if (r->used == before)
			return false;
		while (last < nr && id[last] != got)
			last++;
		if (last == nr)
			return false;		/* out of order */
		/* Those that have no entry of their own: each is one descriptor here. */
		for (unsigned int i = head; i < last; i++) {
			if (!r->packed) {
				r->used++;
				continue;
			}
			r->slots[id[i]] = 0;
			r->used_wrap ^= r->used + 1U >= r->num;
			r->used = (r->used + 1U) % r->num;
		}
		head = last + 1;
	}
	return true;
}

static void in_order(struct vm *vm)
{
	const struct lane *l = &vm->kind->lane[0];
	uint16_t id[NUM];

	if (!(vm->offered & F(VIRTIO_F_IN_ORDER)) || l->poked)
		return;
	all_queues(vm, drv_features(vm) | F(VIRTIO_F_IN_ORDER));
	for (unsigned int round = 0; round < 40; round++) {
		unsigned int nr = 1 + vm_random(vm) % entries(vm, l);

		for (unsigned int n = 0; n < nr; n++)
			id[n] = ping(vm, l);
		vm->t->kick(vm, l->q);
		if (!in_order_round(vm, l, id, nr))
			fail_msg("%u chains did not come back in order", nr);
	}
	drv_recover(vm);
}

const struct property props_ring[] = {
	{ "hostile_buffers", hostile_0, ANY },
	{ "hostile_buffers_2", hostile_1, ANY },
	{ "hostile_buffers_3", hostile_2, ANY },
	{ "indirect_not_negotiated", indirect_not_negotiated, ANY },
	{ "packed_any_id", any_id, PACKED_ONLY },
	{ "event_idx_at_the_wrap", event_idx_wrap, ANY },
	{ "flags_at_the_wrap", flags_wrap, ANY },
	{ "chains_of_any_length_at_any_place", any_length_any_place, ANY },
	{ "full_ring", full, ANY },
	{ "in_order", in_order, ANY },
	{ NULL },
};
