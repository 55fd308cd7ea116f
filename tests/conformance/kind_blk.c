// SPDX-License-Identifier: BSD-3-Clause
/* The block device (section 5.2): with io_uring and without, and with several long queues. */
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/conformance/conf.h"

#define AT(n)	(DATA + (n) * PAGE)
#define DISK_SECTORS	256
#define SERIAL		"conformance"

struct disk {
	int fd;
};

static void make_with(struct vm *vm, struct virtio_blk_cfg cfg)
{
	struct disk *d = calloc(1, sizeof(*d));
	struct err e;

	assert_non_null(d);
	vm->ctx = d;
	cfg.path = "disk";
	cfg.serial = SERIAL;
	cfg.fd = d->fd = memfd_create("disk", MFD_CLOEXEC);
	assert_true(d->fd >= 0);
	assert_int_equal(ftruncate(d->fd, DISK_SECTORS * 512), 0);
	assert_int_equal(virtio_blk_new(&vm->env, &cfg, &vm->dev, &e), 0);
}

static void blk_make(struct vm *vm)
{
	make_with(vm, (struct virtio_blk_cfg){ 0 });
}

static void blk_thread_make(struct vm *vm)
{
	make_with(vm, (struct virtio_blk_cfg){ .no_uring = true });
}

/* The longest queues there can be. */
static void blk_mq_make(struct vm *vm)
{
	make_with(vm, (struct virtio_blk_cfg){ .queues = 3, .queue_size = 32768 });
}

static void blk_free(struct vm *vm)
{
	close(((struct disk *)vm->ctx)->fd);
	free(vm->ctx);
}

static uint8_t blk_request(struct vm *vm, unsigned int q, uint32_t type, uint64_t sector,
			   ipa_t data, uint32_t len, bool in)
{
	struct virtio_blk_outhdr hdr = { .type = type, .sector = sector };
	struct buf b[] = { { AT(1), sizeof(hdr), false }, { data, len, in }, { AT(2), 1, true } };
	uint32_t n;

	vm_put(vm, AT(1), &hdr, sizeof(hdr));
	vm_put(vm, AT(2), &(uint8_t){ 0xff }, 1);
	n = ring_do(vm, q, b, 3);
	assert_int_equal(n, 1 + (in ? len : 0));
	return *(uint8_t *)vm_at(vm, AT(2));
}

static void blk_good(struct vm *vm)
{
	struct disk *d = vm->ctx;
	uint64_t sector = vm->count++ % DISK_SECTORS;
	uint8_t text[512], back[512];

	for (unsigned int i = 0; i < sizeof(text); i++)
		text[i] = vm->count * 7 + i;
	for (unsigned int q = 0; q < vm->nr_queues; q++) {
		vm_put(vm, AT(3), text, sizeof(text));
		assert_int_equal(blk_request(vm, q, VIRTIO_BLK_T_OUT, sector, AT(3), 512, false),
				 VIRTIO_BLK_S_OK);
		assert_int_equal(pread(d->fd, back, 512, sector * 512), 512);
		assert_memory_equal(text, back, 512);
		assert_int_equal(blk_request(vm, q, VIRTIO_BLK_T_IN, sector, AT(4), 512, true),
				 VIRTIO_BLK_S_OK);
		assert_memory_equal(vm_at(vm, AT(4)), text, 512);
		assert_int_equal(blk_request(vm, q, VIRTIO_BLK_T_GET_ID, 0, AT(4), 20, true),
				 VIRTIO_BLK_S_OK);
		assert_memory_equal(vm_at(vm, AT(4)), SERIAL, sizeof(SERIAL));
	}
}

static void blk_change(struct vm *vm)
{
	struct disk *d = vm->ctx;

	vm->count++;
	assert_int_equal(ftruncate(d->fd, (DISK_SECTORS + vm->count % 8 + 1) * 512), 0);
	assert_int_equal(virtio_blk_resize(vm->dev), 1);
}

/* The driver may choose the write cache (section 5.2.4). */
static bool blk_writable(uint32_t off)
{
	return off == offsetof(struct virtio_blk_config, wce);
}

const struct kind kind_blk = {
	.name = "blk",
	.id = VIRTIO_ID_BLOCK,
	.queues = 1,
	.config_len = sizeof(struct virtio_blk_config),
	.lane = { { 0, true, 513 }, { 0, false, 16 } },
	.make = blk_make,
	.good = blk_good,
	.change = blk_change,
	.config_mask = blk_writable,
	.free = blk_free,
};

const struct kind kind_blk_thread = {
	.name = "blk-thread",		/* without io_uring */
	.id = VIRTIO_ID_BLOCK,
	.queues = 1,
	.config_len = sizeof(struct virtio_blk_config),
	.lane = { { 0, true, 513 } },
	.make = blk_thread_make,
	.good = blk_good,
	.change = blk_change,
	.config_mask = blk_writable,
	.free = blk_free,
};

const struct kind kind_blk_mq = {
	.name = "blk-mq",
	.id = VIRTIO_ID_BLOCK,
	.queues = 3,
	.config_len = sizeof(struct virtio_blk_config),
	.lane = { { 0, true, 513 }, { 2, true, 513 } },
	.make = blk_mq_make,
	.good = blk_good,
	.change = blk_change,
	.config_mask = blk_writable,
	.free = blk_free,
};
