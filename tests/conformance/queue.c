// SPDX-License-Identifier: BSD-3-Clause
/* How queues are set up, reset, kicked (sections 3.1, 2.6, 4.1.5.1, 4.2.3.2). */
#include "tests/conformance/conf.h"

/* Negotiated, and nothing else. */
static void begin(struct vm *vm)
{
	drv_reset(vm);
	assert_true(drv_negotiate(vm, drv_features(vm)));
}

/* All queues but @q as they should be. */
static void others(struct vm *vm, unsigned int q)
{
	for (unsigned int i = 0; i < vm->nr_queues; i++)
		if (i != q)
			drv_queue(vm, i, MIN(64u, vm->t->queue_max(vm, i)), RINGS + i * RING_ROOM);
}

/* A size that every queue can have. */
static uint32_t small(struct vm *vm, unsigned int q)
{
	return MIN(16u, vm->t->queue_max(vm, q));
}

/* Nothing is written from here on but by the other queues. */
static void watch(struct vm *vm, unsigned int q)
{
	vm_check(vm);
	for (unsigned int i = 0; i < vm->nr_queues; i++)
		if (i != q)
			ring_allow(vm, i);
}

static void sizes(struct vm *vm)
{
	static const uint32_t some[] = { 0, 1, 2, 3, 4, 5, 7, 8, 63, 64, 96, 100, 128, 255, 256 };
	static const uint32_t much[] = {
		511, 512, 1000, 1024, 4096, 32767, 32768, 32769, 40000, 65535, 65536, 65537,
		1 << 20, 0x80000000, UINT32_MAX,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(some) + ARRAY_SIZE(much) + 2; i++) {
		unsigned int q = i % vm->nr_queues;
		uint32_t max, num;
		bool good;

		begin(vm);
		max = vm->t->queue_max(vm, q);
		num = i < ARRAY_SIZE(some) ? some[i] :
		      i < ARRAY_SIZE(some) + ARRAY_SIZE(much) ? much[i - ARRAY_SIZE(some)] :
		      max + i % 2;
		/* A register of PCI has 16 bits, and the driver does not mean what it writes. */
		if (vm->t == &transport_pci && num > UINT16_MAX)
			continue;
		good = num && num <= max && (vm->packed || !(num & (num - 1)));
		others(vm, q);
		if (!good) {
			ipa_t at = vm_addr(vm, BIG);

			vm->t->queue_place(vm, q, num, at, at, at);
			vm->t->queue_enable(vm, q);
			if (vm->t->queue_enabled(vm, q))
				fail_msg("a queue of %u entries was enabled", num);
			watch(vm, q);
			vm->t->set_status(vm, S_ACK | S_DRIVER | S_FEATURES | S_OK);
			vm->t->kick(vm, q);
			vm_pump(vm, 0);
			continue;
		}
		drv_queue(vm, q, num, num > RING_NUM ? BIG : RINGS + q * RING_ROOM);
		assert_true(vm->t->queue_enabled(vm, q));
		drv_ok(vm);
		drv_good(vm);
		if (num < 8)
			for (uint32_t n = 0; n < 2 * num + 1; n++)
				drv_good(vm);
	}
	drv_recover(vm);
}

static void misaligned(struct vm *vm)
{
	static const unsigned int split[] = { 16, 2, 4 }, packed[] = { 16, 4, 4 };
	const unsigned int *align = vm->packed ? packed : split;
	unsigned int q = vm->nr_queues - 1;

	for (unsigned int part = 0; part < 3; part++)
		for (unsigned int by = 1; by < align[part]; by <<= 1) {
			ipa_t at[] = { RINGS, RINGS + PAGE, RINGS + 2 * PAGE };

			begin(vm);
			at[part] += by;
			vm->t->queue_place(vm, q, small(vm, q), vm_addr(vm, at[0]),
					   vm_addr(vm, at[1]), vm_addr(vm, at[2]));
			vm->t->queue_enable(vm, q);
			assert_false(vm->t->queue_enabled(vm, q));
			vm->t->set_status(vm, S_ACK | S_DRIVER | S_FEATURES | S_OK);
			vm->t->kick(vm, q);
			vm_pump(vm, 0);
		}
	drv_recover(vm);
}

/* Aligned as much as need be and no more. */
static void barely_aligned(struct vm *vm)
{
	static const uint8_t none[6 + 8 * 8];
	struct ring *r;

	for (unsigned int q = 0; q < vm->nr_queues; q++) {
		begin(vm);
		others(vm, q);
		ring_lay(vm, q, 8, RINGS + q * RING_ROOM + 16);
		r = &vm->ring[q];
		watch(vm, q);
		r->driver = r->desc + 16 * 8 + (vm->packed ? 4 : 2);
		r->device = r->driver + (vm->packed ? 4 : 2 * 8 + 6 + 4);
		vm_put(vm, r->driver, none, 6 + 2 * 8);
		vm_put(vm, r->device, none, vm->packed ? 4 : 6 + 8 * 8);
		vm_allow(vm, r->device, vm->packed ? 4 : 6 + 8 * 8);
		if (vm->packed)
			vm_allow(vm, r->desc, 16 * 8);
		vm->t->queue_place(vm, q, 8, vm_addr(vm, r->desc), vm_addr(vm, r->driver),
				   vm_addr(vm, r->device));
		vm->t->queue_enable(vm, q);
		assert_true(vm->t->queue_enabled(vm, q));
		drv_ok(vm);
		drv_good(vm);
	}
	drv_recover(vm);
}

/* The last bytes of RAM are as good as any, one byte more is not. */
static void bad_places(struct vm *vm)
{
	static const ipa_t place[] = {
		0, 0x1000, RAM - 16, RAM - PAGE, RAM_END - 16, RAM_END, RAM_END + PAGE,
		UINT64_C(0x40000000), UINT64_C(0x3000000), UINT64_C(1) << 40,
		UINT64_C(0x7ffffffffffffff0), UINT64_C(0x8000000000000000),
		UINT64_C(0xfffffffffffff000), UINT64_C(0xfffffffffffffff0),
	};
	const struct lane *lane = &vm->kind->lane[0];

	for (unsigned int part = 0; part < 3; part++)
		for (size_t i = 0; i < ARRAY_SIZE(place); i++) {
			ipa_t at[] = { RINGS, RINGS + PAGE, RINGS + 2 * PAGE };
			bool fits = place[i] == RAM_END - 16 && vm->packed && part > 0;

			if (fits)
				continue;	/* four bytes are all of this part */
			begin(vm);
			others(vm, lane->q);
			ring_lay(vm, lane->q, small(vm, lane->q), RINGS);
			at[part] = place[i];
			vm->t->queue_place(vm, lane->q, vm->ring[lane->q].num, vm_addr(vm, at[0]),
					   vm_addr(vm, at[1]), vm_addr(vm, at[2]));
			vm->t->queue_enable(vm, lane->q);
			watch(vm, lane->q);
			vm->t->set_status(vm, S_ACK | S_DRIVER | S_FEATURES | S_OK);
			vm->t->kick(vm, lane->q);
			vm_pump(vm, 0);
			drv_poke(vm, lane);
			assert_true(vm_wait(vm, drv_needs_reset, 0));
		}
	drv_recover(vm);
}

/* A part of the ring private, then a part of it turning private while the queue is in use. */
static void private_ring(struct vm *vm)
{
	const struct lane *lane = &vm->kind->lane[0];
	ipa_t at;

	for (unsigned int part = 0; part < 3; part++)
		for (int late = 0; late < 2; late++) {
			begin(vm);
			others(vm, lane->q);
			drv_queue(vm, lane->q, MIN(vm->t->queue_max(vm, lane->q), 256u),
				  RINGS + lane->q * RING_ROOM);
			at = part == 0 ? vm->ring[lane->q].desc : part == 1 ?
			     vm->ring[lane->q].driver : vm->ring[lane->q].device;
			if (!late) {
				vm_private(vm, at, 1, true);
				watch(vm, lane->q);
				vm->t->set_status(vm, S_ACK | S_DRIVER | S_FEATURES | S_OK);
			} else {
				drv_ok(vm);
				drv_good(vm);
				vm_private(vm, at, 1, true);
				watch(vm, lane->q);
				ring_add(vm, lane->q,
					 &(struct buf){ DATA, lane->len, lane->in }, 1);
				watch(vm, lane->q);
			}
			vm->t->kick(vm, lane->q);
			vm_pump(vm, 0);
			drv_poke(vm, lane);
			assert_true(vm_wait(vm, drv_needs_reset, 0));
			drv_reset(vm);
			vm_private(vm, at, 1, false);
			drv_recover(vm);
		}
}

static void not_there(struct vm *vm)
{
	static const uint32_t big[] = { 64, 255, 256, 1023, 1024, 4096, 0x7fff, 0xffff };
	uint32_t q[ARRAY_SIZE(big) + 2];

	q[0] = vm->nr_queues;
	q[1] = vm->nr_queues + 1;
	memcpy(&q[2], big, sizeof(big));
	if (vm->nr_queues == MAX_QUEUES)
		return;		/* there may be more than this driver uses */
	drv_start(vm);
	for (size_t i = 0; i < ARRAY_SIZE(q); i++) {
		if (q[i] < vm->nr_queues)
			continue;
		assert_int_equal(vm->t->queue_max(vm, q[i]), 0);
		assert_false(vm->t->queue_enabled(vm, q[i]));
		vm->t->queue_place(vm, q[i], 16, DATA, DATA + PAGE, DATA + 2 * PAGE);
		vm->t->queue_enable(vm, q[i]);
		assert_false(vm->t->queue_enabled(vm, q[i]));
		vm->t->queue_reset(vm, q[i]);
		vm->t->kick(vm, q[i]);
		vm_pump(vm, 0);
		drv_good(vm);
	}
	drv_recover(vm);
}

/* Section 4.2.2.2, 4.1.4.3.2: size and places are written before the queue is enabled, or not. */
static void fixed_while_enabled(struct vm *vm)
{
	drv_start(vm);
	for (unsigned int q = 0; q < vm->nr_queues; q++) {
		vm->t->queue_place(vm, q, 8, vm_addr(vm, DATA), vm_addr(vm, DATA + PAGE),
				   vm_addr(vm, DATA + 2 * PAGE));
		vm->t->queue_enable(vm, q);
		assert_true(vm->t->queue_enabled(vm, q));
	}
	drv_good(vm);
	drv_recover(vm);
}

static void not_before_features_ok(struct vm *vm)
{
	drv_reset(vm);
	vm->t->set_status(vm, S_ACK | S_DRIVER);
	vm->features = drv_features(vm);
	for (unsigned int q = 0; q < vm->nr_queues; q++) {
		drv_queue(vm, q, 8, RINGS + q * RING_ROOM);
		assert_false(vm->t->queue_enabled(vm, q));
		vm->t->kick(vm, q);
	}
	vm_check(vm);
	vm_pump(vm, 1);
	drv_recover(vm);
}

/* A driver may use fewer queues than there are. */
static void only_some(struct vm *vm)
{
	for (unsigned int q = 0; q < vm->nr_queues; q++) {
		begin(vm);
		others(vm, q);
		drv_ok(vm);
		vm->t->kick(vm, q);
		vm_pump(vm, 1);
		assert_false(drv_needs_reset(vm, 0));
	}
	begin(vm);
	drv_ok(vm);
	for (unsigned int q = 0; q < vm->nr_queues; q++)
		vm->t->kick(vm, q);
	vm_pump(vm, 1);
	drv_recover(vm);
}

/* Stopped one by one, with buffers in them, and used again with another size. */
static void reset_one(struct vm *vm)
{
	static const uint32_t size[] = { 32, 8, 64 };

	if (!(vm->offered & F(VIRTIO_F_RING_RESET)))
		return;
	drv_start(vm);
	for (unsigned int round = 0; round < ARRAY_SIZE(size); round++)
		for (unsigned int q = 0; q < vm->nr_queues; q++) {
			for (const struct lane *l = vm->kind->lane; l->len; l++)
				if (l->q == q && round == 1) {
					ring_add(vm, q, &(struct buf){ DATA, l->len, l->in }, 1);
					vm->t->kick(vm, q);
					break;
				}
			vm->t->queue_reset(vm, q);
			assert_false(vm->t->queue_enabled(vm, q));
			/* From here on the memory is the driver's again (section 2.6.1). */
			watch(vm, q);
			vm->t->kick(vm, q);
			vm_pump(vm, 1);
			watch(vm, q);
			drv_queue(vm, q, MIN(size[round], vm->t->queue_max(vm, q)),
				  RINGS + q * RING_ROOM);
			assert_true(vm->t->queue_enabled(vm, q));
			drv_good(vm);
		}
	drv_recover(vm);
}

/* Declined, the register is not there. */
static void reset_not_negotiated(struct vm *vm)
{
	if (vm->t == &transport_mmio)
		return;		/* which has QueueReady all the same */
	drv_reset(vm);
	assert_true(drv_negotiate(vm, drv_features(vm) & ~F(VIRTIO_F_RING_RESET)));
	drv_queues(vm, 0);
	drv_ok(vm);
	for (unsigned int q = 0; q < vm->nr_queues; q++) {
		vm->t->queue_reset(vm, q);
		assert_true(vm->t->queue_enabled(vm, q));
	}
	drv_good(vm);
	drv_recover(vm);
}

static void kicks_at_any_time(struct vm *vm)
{
	drv_reset(vm);
	for (int step = 0; step < 4; step++) {
		for (unsigned int n = 0; n < 3; n++)
			for (unsigned int q = 0; q < vm->nr_queues + 2; q++)
				vm->t->kick(vm, q);
		vm_pump(vm, 0);
		if (step == 0)
			assert_true(drv_negotiate(vm, drv_features(vm)));
		else if (step == 1)
			drv_queues(vm, 0);
		else if (step == 2)
			drv_ok(vm);
	}
	drv_good(vm);
	vm->t->set_status(vm, 0);
	for (unsigned int q = 0; q < vm->nr_queues; q++)
		vm->t->kick(vm, q);
	vm_pump(vm, 1);
	drv_recover(vm);
}

/* Kicked before the reset, served after it. */
static void kick_then_reset(struct vm *vm)
{
	for (int i = 0; i < 8; i++) {
		drv_start(vm);
		for (const struct lane *l = vm->kind->lane; l->len; l++) {
			ring_add(vm, l->q, &(struct buf){ DATA, l->len, l->in }, 1);
			vm->t->kick(vm, l->q);
		}
		if (i & 1)
			loop_once(&vm->loop, 0);
		vm->t->set_status(vm, 0);
		assert_int_equal(vm->t->status(vm), 0);
		vm_check(vm);
		vm_pump(vm, 1);
		vm_check(vm);
	}
	drv_recover(vm);
}

const struct property props_queue[] = {
	{ "queue_sizes", sizes, ANY },
	{ "queue_misaligned", misaligned, ANY },
	{ "queue_barely_aligned", barely_aligned, ANY },
	{ "queue_outside_of_memory", bad_places, ANY },
	{ "queue_in_private_memory", private_ring, REALM_ONLY },
	{ "queue_that_does_not_exist", not_there, ANY },
	{ "queue_fixed_while_enabled", fixed_while_enabled, ANY },
	{ "queue_before_features_ok", not_before_features_ok, ANY },
	{ "queue_unused", only_some, ANY },
	{ "queue_reset", reset_one, ANY },
	{ "queue_reset_not_negotiated", reset_not_negotiated, ANY },
	{ "kicks_at_any_time", kicks_at_any_time, ANY },
	{ "kick_then_reset", kick_then_reset, ANY },
	{ NULL },
};
