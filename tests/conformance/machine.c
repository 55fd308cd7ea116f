// SPDX-License-Identifier: BSD-3-Clause
/* Guest memory that is watched, a realm's private pages, time. */
#include "tests/conformance/conf.h"

#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#define FENCE	UINT64_C(0x10000)	/* around RAM: whoever runs over its end faults */

static ipa_t canonical(const void *ctx, ipa_t ipa)
{
	return ipa & ~SHARED_BIT;
}

static bool shared(const void *ctx, ipa_t ipa, uint64_t len)
{
	const struct vm *vm = ctx;

	for (uint64_t page = (ipa - RAM) / PAGE; page <= (ipa + len - 1 - RAM) / PAGE; page++)
		if (vm->is_private[page])
			return false;
	return true;
}

struct vm *vm_new(const struct kind *kind, const struct transport *t, bool packed, bool realm)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	struct err e;

	assert_non_null(vm);
	vm->kind = kind;
	vm->t = t;
	vm->packed = packed;
	vm->realm = realm;
	vm->seed = 1;
	assert_int_equal(gmem_init(&vm->gm, &e), 0);
	assert_int_equal(loop_init(&vm->loop, &e), 0);
	vm->map = mmap(NULL, RAM_SIZE + 2 * FENCE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(vm->map, MAP_FAILED);
	vm->ram = vm->map + FENCE;
	assert_int_equal(mprotect(vm->ram, RAM_SIZE, PROT_READ | PROT_WRITE), 0);
	vm->want = malloc(RAM_SIZE);
	vm->may = calloc(1, RAM_SIZE);
	assert_non_null(vm->want);
	assert_non_null(vm->may);
	for (uint64_t i = 0; i < RAM_SIZE; i += 4)
		memcpy(vm->ram + i, &(uint32_t){ 0xa5000000 | i }, 4);
	memcpy(vm->want, vm->ram, RAM_SIZE);
	assert_int_equal(gmem_add(&vm->gm, RAM, RAM_SIZE, vm->ram, -1, &e), 0);
	if (realm)
		gmem_set_guard(&vm->gm, &(struct gmem_guard){ canonical, shared, vm });
	vm->env = (struct virtio_env){
		.gm = &vm->gm,
		.loop = &vm->loop,
		.realm = realm,
		.packed = packed,
	};
	kind->make(vm);
	assert_non_null(vm->dev);
	t->attach(vm);
	t->setup(vm);
	vm->offered = t->features(vm, 0) | (uint64_t)t->features(vm, 1) << 32;
	while (vm->nr_queues < MAX_QUEUES && t->queue_max(vm, vm->nr_queues))
		vm->nr_queues++;
	return vm;
}

void vm_free(struct vm *vm)
{
	virtio_dev_stop(vm->dev);
	vm_check(vm);
	vm->t->detach(vm);
	virtio_dev_free(vm->dev);
	if (vm->kind->free)
		vm->kind->free(vm);
	assert_null(vm->gm.pins);	/* each request gave its memory back */
	ring_free(vm);
	loop_destroy(&vm->loop);
	gmem_destroy(&vm->gm);
	munmap(vm->map, RAM_SIZE + 2 * FENCE);
	free(vm->want);
	free(vm->may);
	free(vm);
}

static uint64_t offset(ipa_t ipa, uint64_t len)
{
	assert_true(ipa >= RAM && ipa < RAM_END && len <= RAM_END - ipa);
	return ipa - RAM;
}

void *vm_at(struct vm *vm, ipa_t ipa)
{
	return vm->ram + offset(ipa, 1);
}

uint64_t vm_addr(const struct vm *vm, ipa_t ipa)
{
	return vm->realm ? ipa | SHARED_BIT : ipa;
}

static uint64_t touch(struct vm *vm, ipa_t ipa, uint64_t len)
{
	uint64_t off = offset(ipa, len);

	for (uint64_t i = off / PAGE; len && i <= (off + len - 1) / PAGE; i++)
		vm->dirty[i] = true;
	return off;
}

void vm_put(struct vm *vm, ipa_t ipa, const void *p, size_t len)
{
	uint64_t off = touch(vm, ipa, len);

	memcpy(vm->ram + off, p, len);
	memcpy(vm->want + off, p, len);
}

void vm_put16(struct vm *vm, ipa_t ipa, uint16_t val)
{
	uint64_t off = touch(vm, ipa, 2);

	memcpy(vm->want + off, &val, 2);
	__atomic_store_n((uint16_t *)(vm->ram + off), val, __ATOMIC_RELEASE);
}

void vm_allow(struct vm *vm, ipa_t ipa, uint64_t len)
{
	uint64_t off = touch(vm, ipa, len);

	memset(vm->may + off, 1, len);
}

void vm_check(struct vm *vm)
{
	for (uint64_t page = 0; page < RAM_SIZE; page += PAGE) {
		if (memcmp(vm->ram + page, vm->want + page, PAGE))
			for (uint64_t i = page; i < page + PAGE; i++)
				if (vm->ram[i] != vm->want[i] &&
				    (!vm->may[i] || vm->is_private[page / PAGE]))
					fail_msg("%s: the device changed a byte at %#" PRIx64
						 " from %#x to %#x", vm->doing ? vm->doing : "",
						 RAM + i, vm->want[i], vm->ram[i]);
		if (vm->dirty[page / PAGE]) {
			memcpy(vm->want + page, vm->ram + page, PAGE);
			memset(vm->may + page, 0, PAGE);
			vm->dirty[page / PAGE] = false;
		}
	}
}

void vm_private(struct vm *vm, ipa_t ipa, uint64_t len, bool on)
{
	uint64_t off = offset(ipa, len);

	/* As a conversion does it: while no device is in a section. */
	gmem_exclude(&vm->gm);
	for (uint64_t i = off / PAGE; i <= (off + len - 1) / PAGE; i++) {
		vm->is_private[i] = on;
		/* What the device wrote there until now was its good right. */
		memcpy(vm->want + i * PAGE, vm->ram + i * PAGE, PAGE);
	}
	gmem_admit(&vm->gm);
}

uint64_t vm_io(struct vm *vm, ipa_t ipa, uint64_t val, unsigned int len, bool write)
{
	uint8_t data[8];
	uint64_t out = 0;

	memcpy(data, &val, sizeof(data));
	if (!mmio_access(&vm->bus, ipa, data, len, write))
		return 0;
	memcpy(&out, data, len);
	return out;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * UINT64_C(1000) + ts.tv_nsec / 1000000;
}

static void rest(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
}

void vm_pump(struct vm *vm, int quiet_ms)
{
	uint64_t end = now_ms() + PATIENCE_MS;

	while (!vm->threaded && loop_once(&vm->loop, quiet_ms) > 0)
		if (now_ms() > end)
			fail_msg("the device does not come to rest");
}

bool vm_wait(struct vm *vm, bool (*done)(struct vm *vm, unsigned int arg), unsigned int arg)
{
	uint64_t end = now_ms() + PATIENCE_MS;

	while (!done(vm, arg)) {
		if (now_ms() > end)
			return false;
		if (vm->threaded)
			rest();
		else
			loop_once(&vm->loop, 20);
	}
	return true;
}

unsigned int vm_random(struct vm *vm)
{
	/* Two of them, as the low bits of one are worth little. */
	return (unsigned int)rand_r(&vm->seed) >> 4 ^ (unsigned int)rand_r(&vm->seed) << 12;
}
