// SPDX-License-Identifier: BSD-3-Clause
/* Configuration space (section 2.5), and registers under fire. */
#include "tests/conformance/conf.h"

static const uint8_t width[] = { 1, 2, 4, 8 };

static uint64_t get(struct vm *vm, uint32_t off, unsigned int len)
{
	return vm->t->config(vm, off, 0, len, false);
}

static void snapshot(struct vm *vm, uint8_t *to, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		to[i] = get(vm, i, 1);
}

/* All widths at all offsets: what is aligned agrees with the bytes; beyond the end are zeroes. */
static void reads(struct vm *vm)
{
	uint8_t byte[4096] = { 0 };
	uint32_t room = vm->t->config_room;

	assert_in_range(room, 1, sizeof(byte));
	snapshot(vm, byte, room);
	for (uint32_t i = vm->kind->config_len; i < room; i++)
		assert_int_equal(byte[i], 0);
	for (size_t w = 0; w < ARRAY_SIZE(width); w++)
		for (uint32_t off = 0; off + width[w] <= room; off++) {
			uint64_t want = 0, got = get(vm, off, width[w]);

			memcpy(&want, byte + off, width[w]);
			if (off % width[w] || width[w] == 8)
				assert_true(got == want || !got);	/* no driver does that */
			else
				assert_true(got == want);
			/* What goes a little way, or all the way, past the end. */
			if (off > vm->kind->config_len + 16 && off + 16 < room)
				off += 13;
		}
	drv_recover(vm);
}

static void writes(struct vm *vm)
{
	const uint64_t junk = UINT64_C(0xfedcba9876543210);
	uint8_t before[4096], after[4096];
	uint32_t room = vm->t->config_room;

	for (int started = 0; started < 2; started++) {
		drv_reset(vm);
		if (started)
			drv_start(vm);
		snapshot(vm, before, room);
		for (size_t w = 0; w < ARRAY_SIZE(width); w++)
			for (uint32_t off = 0; off + width[w] <= room; off++) {
				vm->t->config(vm, off, junk, width[w], true);
				if (off > vm->kind->config_len + 16)
					off += 7;
			}
		vm->t->config(vm, 0, UINT64_MAX, 4, true);
		vm_pump(vm, 0);
		snapshot(vm, after, room);
		for (uint32_t i = 0; i < room; i++)
			if (!vm->kind->config_mask || !vm->kind->config_mask(i))
				assert_int_equal(before[i], after[i]);
		drv_recover(vm);
	}
}

static void changes(struct vm *vm)
{
	uint32_t gen;
	struct irqs n;

	if (!vm->kind->change)
		return;
	/* Before DRIVER_OK there is nobody to tell, the generation changes all the same (2.5.1). */
	drv_reset(vm);
	gen = vm->t->generation(vm);
	vm->kind->change(vm);
	vm_pump(vm, 0);
	assert_int_not_equal(gen, vm->t->generation(vm));
	n = vm->t->irqs(vm);
	assert_int_equal(n.config, 0);

	drv_start(vm);
	vm_pump(vm, 0);
	vm->t->irqs(vm);
	for (int i = 0; i < 3; i++) {
		gen = vm->t->generation(vm);
		vm->kind->change(vm);
		vm_pump(vm, 0);
		n = vm->t->irqs(vm);
		assert_true(n.config > 0);
		assert_int_equal(n.queue, 0);
		assert_int_not_equal(gen, vm->t->generation(vm));
		/* It does not change by being read. */
		gen = vm->t->generation(vm);
		get(vm, 0, 4);
		assert_int_equal(gen, vm->t->generation(vm));
	}
	drv_good(vm);
	drv_recover(vm);
}

/*
 * A driver gone mad: registers of all kinds in any order and width, any values. Rings it declares
 * lie in memory that nobody minds, or nowhere.
 */
static void registers(struct vm *vm)
{
	for (unsigned int round = 0; round < 6; round++) {
		vm->seed = 1000 + round;
		if (round & 1)
			drv_start(vm);
		vm_allow(vm, RAM, RAM_SIZE);
		for (int i = 0; i < 1500; i++) {
			vm->t->fuzz(vm, &vm->seed);
			if (i % 16 == 0)
				vm_pump(vm, 0);
		}
		vm_pump(vm, 0);
		vm->t->setup(vm);
		drv_recover(vm);
	}
}

const struct property props_config[] = {
	{ "config_reads", reads, ANY },
	{ "config_writes", writes, ANY },
	{ "config_changes", changes, ANY },
	{ "registers_at_random", registers, ANY },
	{ NULL },
};
