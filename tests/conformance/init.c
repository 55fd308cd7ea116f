// SPDX-License-Identifier: BSD-3-Clause
/* Identification, features, and the status register (sections 2.1, 2.2, 3.1). */
#include "tests/conformance/conf.h"

#define S_ALL	(S_ACK | S_DRIVER | S_FEATURES | S_OK)

static void identify(struct vm *vm)
{
	vm->t->identify(vm);
	assert_true(vm->nr_queues >= vm->kind->queues);
	drv_recover(vm);
}

/* The device may do nothing now, whatever lies in its queues. */
static void assert_idle(struct vm *vm)
{
	for (unsigned int q = 0; q < vm->nr_queues; q++)
		vm->t->kick(vm, q);
	vm_pump(vm, 1);
	vm_check(vm);
}

/* ---- features ---- */

static void feature_words(struct vm *vm)
{
	static const uint32_t beyond[] = { 2, 3, 31, 32, 0x7fffffff, 0x80000000, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(beyond); i++)
		assert_int_equal(vm->t->features(vm, beyond[i]), 0);
	assert_int_equal(vm->offered & F_NEEDED, F_NEEDED);
	assert_int_equal(vm->offered >> VIRTIO_F_RING_PACKED & 1, vm->packed);
	assert_true(vm->offered & F(VIRTIO_RING_F_EVENT_IDX));
	assert_true(vm->offered & F(VIRTIO_RING_F_INDIRECT_DESC));
	/* Bits 42 and up are reserved (section 6). */
	assert_int_equal(vm->offered >> 42, 0);
	drv_recover(vm);
}

static void not_offered(struct vm *vm)
{
	for (unsigned int bit = 0; bit < 64; bit++) {
		if (vm->offered & F(bit))
			continue;
		drv_reset(vm);
		assert_false(drv_negotiate(vm, F_NEEDED | F(bit)));
		vm->t->set_status(vm, S_ALL);
		assert_false(vm->t->status(vm) & (S_OK | S_FEATURES));
	}
	drv_recover(vm);
}

/* Bits 64 and up do not exist: they cannot be accepted, and change nothing below. */
static void beyond_the_words(struct vm *vm)
{
	drv_reset(vm);
	vm->t->set_status(vm, S_ACK | S_DRIVER);
	drv_accept(vm, drv_features(vm));
	for (uint32_t word = 2; word; word <<= 1)
		vm->t->accept(vm, word, UINT32_MAX);
	vm->t->accept(vm, UINT32_MAX, UINT32_MAX);
	vm->t->set_status(vm, S_ACK | S_DRIVER | S_FEATURES);
	if (vm->t->status(vm) & S_FEATURES) {
		vm->features = drv_features(vm);
		drv_queues(vm, 0);
		drv_ok(vm);
		drv_good(vm);
	}
	drv_recover(vm);
}

static void version_1_declined(struct vm *vm)
{
	drv_reset(vm);
	assert_false(drv_negotiate(vm, vm->offered & ~F(VIRTIO_F_VERSION_1)));
	drv_reset(vm);
	assert_false(drv_negotiate(vm, 0));
	drv_recover(vm);
}

/* In a realm the device cannot reach what such a driver would give to it. */
static void access_platform_declined(struct vm *vm)
{
	drv_reset(vm);
	if (drv_negotiate(vm, drv_features(vm) & ~F(VIRTIO_F_ACCESS_PLATFORM))) {
		assert_false(vm->realm);
		drv_queues(vm, 0);
		drv_ok(vm);
		drv_good(vm);
	} else {
		assert_true(vm->realm);
	}
	drv_recover(vm);
}

static void too_late(struct vm *vm)
{
	drv_reset(vm);
	assert_true(drv_negotiate(vm, drv_features(vm)));
	drv_accept(vm, 0);
	drv_queues(vm, 0);
	vm->t->accept(vm, 1, ~drv_features(vm) >> 32);
	drv_ok(vm);
	vm->t->accept(vm, 0, ~drv_features(vm));
	drv_good(vm);
	drv_recover(vm);
}

/* Before DRIVER is set the device need not listen, and is sane all the same. */
static void too_early(struct vm *vm)
{
	drv_reset(vm);
	vm->t->accept(vm, 0, UINT32_MAX);
	vm->t->accept(vm, 1, UINT32_MAX);
	vm->t->set_status(vm, S_FEATURES);
	assert_false(vm->t->status(vm) & S_FEATURES);
	assert_true(drv_negotiate(vm, drv_features(vm)));
	drv_recover(vm);
}

static void try_features(struct vm *vm, uint64_t features)
{
	drv_reset(vm);
	/* A device may refuse what makes no sense together. */
	if (!drv_negotiate(vm, features))
		return;
	drv_queues(vm, 0);
	drv_ok(vm);
	drv_good(vm);
}

static void each_feature(struct vm *vm)
{
	drv_reset(vm);
	assert_true(drv_negotiate(vm, F_NEEDED));
	try_features(vm, F_NEEDED);
	for (unsigned int bit = 0; bit < 64; bit++) {
		if (!(vm->offered & F(bit)) || bit == VIRTIO_F_NOTIFICATION_DATA)
			continue;
		try_features(vm, F_NEEDED | F(bit));
		try_features(vm, (drv_features(vm) & ~F(bit)) | F_NEEDED);
		try_features(vm, drv_features(vm) | F(bit));
	}
	drv_recover(vm);
}

/* ---- status ---- */

/* What must hold after each write, from what stood there before. */
static void check_status(struct vm *vm, uint8_t old, uint8_t wrote)
{
	uint8_t now = vm->t->status(vm);

	if (!wrote) {
		assert_int_equal(now, 0);
		return;
	}
	assert_int_equal(now & old, old);			/* only a reset clears */
	assert_int_equal(now & ~(old | wrote), 0);		/* nothing comes by itself */
	assert_false(now & ~(S_ALL | S_FAILED));		/* NEEDS_RESET is not its own */
	if (now & S_FEATURES)
		assert_true(now & S_DRIVER);
	if (now & S_OK)
		assert_true(now & S_FEATURES);
}

static void orders(struct vm *vm, const uint8_t *bit, unsigned int left, uint8_t so_far)
{
	uint8_t rest[5], old = vm->t->status(vm);

	for (unsigned int i = 0; i < left; i++) {
		vm->t->set_status(vm, old | bit[i]);
		check_status(vm, old, old | bit[i]);
		memcpy(rest, bit, left);
		rest[i] = rest[left - 1];
		orders(vm, rest, left - 1, so_far | bit[i]);
		/* Once more up to here, bit by bit from below. */
		vm->t->set_status(vm, 0);
		assert_int_equal(vm->t->status(vm), 0);
		drv_accept(vm, F_NEEDED);
		for (uint8_t b = 1; b; b <<= 1)
			if (old & b)
				vm->t->set_status(vm, vm->t->status(vm) | b);
		old = vm->t->status(vm);
	}
}

static void status_orders(struct vm *vm)
{
	static const uint8_t bit[] = { S_ACK, S_DRIVER, S_FEATURES, S_OK, S_FAILED };

	drv_reset(vm);
	drv_accept(vm, F_NEEDED);
	orders(vm, bit, ARRAY_SIZE(bit), 0);
	assert_idle(vm);
	drv_recover(vm);
}

/* Every value on top of every state that can be reached. */
static void status_values(struct vm *vm)
{
	static const uint8_t state[] = {
		0, S_ACK, S_DRIVER, S_ACK | S_DRIVER, S_ACK | S_DRIVER | S_FEATURES, S_ALL,
		S_ALL | S_FAILED, S_FAILED,
	};

	for (size_t i = 0; i < ARRAY_SIZE(state); i++)
		for (unsigned int val = 0; val < 256; val++) {
			uint8_t old;

			vm->t->set_status(vm, 0);
			drv_accept(vm, F_NEEDED);
			if (state[i])
				vm->t->set_status(vm, state[i]);
			old = vm->t->status(vm);
			assert_int_equal(old, state[i]);
			vm->t->set_status(vm, val);
			check_status(vm, old, val);
		}
	assert_idle(vm);
	drv_recover(vm);
}

static void ok_without_features_ok(struct vm *vm)
{
	const struct lane *lane = &vm->kind->lane[0];

	drv_reset(vm);
	vm->t->set_status(vm, S_ACK | S_DRIVER);
	drv_accept(vm, drv_features(vm));
	vm->features = drv_features(vm);
	drv_queue(vm, lane->q, MIN(16u, vm->t->queue_max(vm, lane->q)), RINGS);
	vm->t->set_status(vm, S_ACK | S_DRIVER | S_OK);
	assert_false(vm->t->status(vm) & S_OK);
	ring_add(vm, lane->q, &(struct buf){ DATA, lane->len, lane->in }, 1);
	vm_check(vm);
	assert_idle(vm);
	drv_recover(vm);
}

static void clear_bits(struct vm *vm)
{
	static const uint8_t less[] = {
		S_ACK, S_DRIVER, S_FEATURES, S_OK, S_ACK | S_DRIVER, S_ACK | S_DRIVER | S_FEATURES,
		S_NEEDS_RESET, S_FAILED & 0x7f, 0x10, 0x20,
	};

	drv_start(vm);
	for (size_t i = 0; i < ARRAY_SIZE(less); i++) {
		if (!less[i])
			continue;
		vm->t->set_status(vm, less[i]);
		assert_int_equal(vm->t->status(vm), S_ALL);
		drv_good(vm);
	}
	drv_recover(vm);
}

static void reset_everywhere(struct vm *vm)
{
	static const uint8_t state[] = {
		0, S_ACK, S_ACK | S_DRIVER, S_ACK | S_DRIVER | S_FEATURES, S_ALL, S_ALL | S_FAILED,
	};

	for (size_t i = 0; i < ARRAY_SIZE(state); i++) {
		drv_reset(vm);
		if (state[i] & S_FEATURES) {
			assert_true(drv_negotiate(vm, drv_features(vm)));
			drv_queues(vm, 0);
		}
		if (state[i])
			vm->t->set_status(vm, state[i]);
		assert_int_equal(vm->t->status(vm), state[i]);
		drv_reset(vm);
		for (unsigned int q = 0; q < vm->nr_queues; q++)
			assert_false(vm->t->queue_enabled(vm, q));
		/* What was negotiated is gone, too. */
		vm->t->set_status(vm, S_ACK);
		vm->t->set_status(vm, S_ACK | S_DRIVER);
		vm->t->set_status(vm, S_ACK | S_DRIVER | S_FEATURES);
		assert_false(vm->t->status(vm) & S_FEATURES);
		drv_recover(vm);
	}
}

static void reset_twice(struct vm *vm)
{
	drv_start(vm);
	for (int i = 0; i < 3; i++) {
		vm->t->set_status(vm, 0);
		assert_int_equal(vm->t->status(vm), 0);
	}
	assert_idle(vm);
	drv_recover(vm);
}

/* In the middle of the negotiation, the queues, the start: nothing happens, then it begins anew. */
static void stops_half_way(struct vm *vm)
{
	const struct lane *lane = &vm->kind->lane[0];

	for (int step = 0; step < 6; step++) {
		drv_reset(vm);
		vm->t->set_status(vm, S_ACK);
		if (step > 0)
			vm->t->set_status(vm, S_ACK | S_DRIVER);
		if (step > 1)
			vm->t->accept(vm, 0, drv_features(vm));
		if (step > 2)
			drv_negotiate(vm, drv_features(vm));
		if (step == 4) {
			vm->t->queue_place(vm, lane->q, 16, vm_addr(vm, RINGS), 0, 0);
		} else if (step > 4) {
			drv_queue(vm, lane->q, MIN(16u, vm->t->queue_max(vm, lane->q)), RINGS);
			ring_add(vm, lane->q, &(struct buf){ DATA, lane->len, lane->in }, 1);
		}
		/* Before DRIVER_OK the device consumes no buffer (section 3.1.1). */
		vm_check(vm);
		assert_idle(vm);
		assert_false(vm->t->status(vm) & S_NEEDS_RESET);
	}
	drv_recover(vm);
}

/* What was made available before DRIVER_OK needs no second kick once it is set. */
static void early_buffers(struct vm *vm)
{
	const struct lane *lane = &vm->kind->lane[0];
	uint16_t id;

	drv_reset(vm);
	assert_true(drv_negotiate(vm, drv_features(vm)));
	drv_queues(vm, 0);
	id = ring_add(vm, lane->q, &(struct buf){ DATA, lane->len, lane->in }, 1);
	vm->t->kick(vm, lane->q);
	vm_pump(vm, 1);
	drv_ok(vm);
	drv_poke(vm, lane);
	ring_wait(vm, lane->q, id);
	drv_recover(vm);
}

static void failed(struct vm *vm)
{
	drv_start(vm);
	vm->t->set_status(vm, S_ALL | S_FAILED);
	assert_true(vm->t->status(vm) & S_FAILED);
	drv_recover(vm);
}

const struct property props_init[] = {
	{ "identify", identify, ANY },
	{ "feature_words", feature_words, ANY },
	{ "features_not_offered", not_offered, ANY },
	{ "features_beyond_64", beyond_the_words, ANY },
	{ "features_version_1_declined", version_1_declined, ANY },
	{ "features_access_platform_declined", access_platform_declined, ANY },
	{ "features_too_late", too_late, ANY },
	{ "features_too_early", too_early, ANY },
	{ "features_each", each_feature, ANY },
	{ "status_orders", status_orders, ANY },
	{ "status_values", status_values, ANY },
	{ "status_driver_ok_without_features_ok", ok_without_features_ok, ANY },
	{ "status_bits_cleared", clear_bits, ANY },
	{ "status_failed", failed, ANY },
	{ "reset_in_every_state", reset_everywhere, ANY },
	{ "reset_again", reset_twice, ANY },
	{ "driver_stops_half_way", stops_half_way, ANY },
	{ "buffers_before_driver_ok", early_buffers, ANY },
	{ NULL },
};
