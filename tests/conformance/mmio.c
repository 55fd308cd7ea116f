// SPDX-License-Identifier: BSD-3-Clause
/* virtio-mmio as a driver sees it (section 4.2). */
#include <linux/virtio_mmio.h>
#include <stdatomic.h>

#include "tests/conformance/conf.h"

#define WINDOW	UINT64_C(0x3000000)
#define SIZE	0x200u
#define QUEUE_RESET 0x0c0	/* virtio 1.2 */

struct vmio {
	struct virtio_mmio *mmio;
	_Atomic unsigned int edges;
};

static void edge(struct irq_line *line, int level)
{
	struct vmio *io = line->ctx;

	if (level)
		atomic_fetch_add(&io->edges, 1);
}

static uint32_t get(struct vm *vm, uint32_t reg)
{
	return vm_io(vm, WINDOW + reg, 0, 4, false);
}

static void set(struct vm *vm, uint32_t reg, uint32_t val)
{
	vm_io(vm, WINDOW + reg, val, 4, true);
}

static void attach(struct vm *vm)
{
	struct irq_line irq = { .set = edge };
	struct err e;

	vm->io = irq.ctx = calloc(1, sizeof(*vm->io));
	assert_non_null(vm->io);
	assert_int_equal(virtio_mmio_new(vm->dev, &vm->bus, WINDOW, &irq, &vm->io->mmio, &e), 0);
}

static void detach(struct vm *vm)
{
	virtio_mmio_free(vm->io->mmio);
	free(vm->io);
}

static void setup(struct vm *vm)
{
}

static void identify(struct vm *vm)
{
	assert_int_equal(get(vm, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	assert_int_equal(get(vm, VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(get(vm, VIRTIO_MMIO_DEVICE_ID), vm->kind->id);
	/* Write-only registers, and those of version 1, read as nothing in particular: no crash. */
	for (uint32_t reg = 0; reg < SIZE; reg += 4)
		get(vm, reg);
	/* No shared memory (section 4.2.2): a length of -1. */
	set(vm, VIRTIO_MMIO_SHM_SEL, 0);
	assert_int_equal(get(vm, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
	assert_int_equal(get(vm, VIRTIO_MMIO_SHM_LEN_HIGH), UINT32_MAX);
}

static uint32_t features(struct vm *vm, uint32_t word)
{
	set(vm, VIRTIO_MMIO_DEVICE_FEATURES_SEL, word);
	return get(vm, VIRTIO_MMIO_DEVICE_FEATURES);
}

static void accept_features(struct vm *vm, uint32_t word, uint32_t bits)
{
	set(vm, VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
	set(vm, VIRTIO_MMIO_DRIVER_FEATURES, bits);
}

static uint8_t status(struct vm *vm)
{
	uint32_t val = get(vm, VIRTIO_MMIO_STATUS);

	assert_in_range(val, 0, 0xff);
	return val;
}

static void set_status(struct vm *vm, uint8_t val)
{
	set(vm, VIRTIO_MMIO_STATUS, val);
}

static uint32_t queue_max(struct vm *vm, uint32_t q)
{
	set(vm, VIRTIO_MMIO_QUEUE_SEL, q);
	return get(vm, VIRTIO_MMIO_QUEUE_NUM_MAX);
}

static void queue_place(struct vm *vm, uint32_t q, uint32_t num, ipa_t desc, ipa_t driver,
			ipa_t device)
{
	set(vm, VIRTIO_MMIO_QUEUE_SEL, q);
	set(vm, VIRTIO_MMIO_QUEUE_NUM, num);
	set(vm, VIRTIO_MMIO_QUEUE_DESC_LOW, desc);
	set(vm, VIRTIO_MMIO_QUEUE_DESC_HIGH, desc >> 32);
	set(vm, VIRTIO_MMIO_QUEUE_AVAIL_LOW, driver);
	set(vm, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, driver >> 32);
	set(vm, VIRTIO_MMIO_QUEUE_USED_LOW, device);
	set(vm, VIRTIO_MMIO_QUEUE_USED_HIGH, device >> 32);
}

static void queue_enable(struct vm *vm, uint32_t q)
{
	set(vm, VIRTIO_MMIO_QUEUE_SEL, q);
	set(vm, VIRTIO_MMIO_QUEUE_READY, 1);
}

static bool queue_enabled(struct vm *vm, uint32_t q)
{
	uint32_t val;

	set(vm, VIRTIO_MMIO_QUEUE_SEL, q);
	val = get(vm, VIRTIO_MMIO_QUEUE_READY);
	assert_in_range(val, 0, 1);
	return val;
}

/* QueueReset (section 4.2.2.1). Without the feature QueueReady of 0 stops a queue, too. */
static void queue_reset(struct vm *vm, uint32_t q)
{
	set(vm, VIRTIO_MMIO_QUEUE_SEL, q);
	set(vm, QUEUE_RESET, 1);
	for (int i = 0; i < 1000 && get(vm, QUEUE_RESET); i++)
		vm_pump(vm, 1);
	if (!(vm->features & F(VIRTIO_F_RING_RESET)))
		set(vm, VIRTIO_MMIO_QUEUE_READY, 0);
}

static void kick(struct vm *vm, uint32_t q)
{
	set(vm, VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

static uint64_t config(struct vm *vm, uint32_t off, uint64_t val, unsigned int len, bool write)
{
	return vm_io(vm, WINDOW + VIRTIO_MMIO_CONFIG + off, val, len, write);
}

static uint32_t generation(struct vm *vm)
{
	return get(vm, VIRTIO_MMIO_CONFIG_GENERATION);
}

static struct irqs irqs(struct vm *vm)
{
	uint32_t cause = get(vm, VIRTIO_MMIO_INTERRUPT_STATUS);
	unsigned int n = atomic_exchange(&vm->io->edges, 0);

	set(vm, VIRTIO_MMIO_INTERRUPT_ACK, cause);
	assert_int_equal(get(vm, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	assert_in_range(cause, 0, 3);
	/* A cause without an edge is not seen; an edge without one was before a reset. */
	assert_true(!cause || n);
	if (cause == (VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG))
		return (struct irqs){ n - 1, 1 };
	return cause == VIRTIO_MMIO_INT_VRING ? (struct irqs){ n, 0 } : (struct irqs){ 0, n };
}

static void fuzz(struct vm *vm, unsigned int *seed)
{
	static const uint8_t len[] = { 1, 2, 4, 4, 4, 8 };
	uint32_t off = (uint32_t)rand_r(seed) % SIZE;
	unsigned int n = len[rand_r(seed) % ARRAY_SIZE(len)];
	uint64_t val = (uint64_t)rand_r(seed) << 33 ^ rand_r(seed);

	if (rand_r(seed) % 2)
		off &= ~3u;
	if (rand_r(seed) % 2)
		val &= 0xff;
	/* Not across its end: there the bus answers. */
	vm_io(vm, WINDOW + MIN(off, SIZE - n), val, n, rand_r(seed) % 2);
}

const struct transport transport_mmio = {
	.name = "mmio",
	.attach = attach,
	.detach = detach,
	.setup = setup,
	.identify = identify,
	.features = features,
	.accept = accept_features,
	.status = status,
	.set_status = set_status,
	.queue_max = queue_max,
	.queue_place = queue_place,
	.queue_enable = queue_enable,
	.queue_enabled = queue_enabled,
	.queue_reset = queue_reset,
	.kick = kick,
	.config = config,
	.config_room = SIZE - VIRTIO_MMIO_CONFIG,
	.generation = generation,
	.irqs = irqs,
	.fuzz = fuzz,
};
