// SPDX-License-Identifier: BSD-3-Clause
/* All devices, and the small ones: entropy, balloon, 9P, persistent memory. */
#include <fcntl.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pmem.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/conformance/conf.h"

#define AT(n)	(DATA + (n) * PAGE)

/* ---- entropy (section 5.4) ---- */

static void rng_make(struct vm *vm)
{
	struct err e;

	assert_int_equal(virtio_rng_new(&vm->env, &vm->dev, &e), 0);
}

static void rng_good(struct vm *vm)
{
	static const uint8_t none[64];
	uint32_t n;

	vm_put(vm, AT(0), none, sizeof(none));
	n = ring_do(vm, 0, &(struct buf){ AT(0), 64, true }, 1);
	assert_in_range(n, 1, 64);
	/* 64 random bytes are all zero once in 2^512 runs. */
	assert_memory_not_equal(vm_at(vm, AT(0)), none, n);
}

static const struct kind rng = {
	.name = "rng",
	.id = VIRTIO_ID_RNG,
	.queues = 1,
	.lane = { { 0, true, 64 } },
	.make = rng_make,
	.good = rng_good,
};

/* ---- balloon (section 5.5) ---- */

enum { INFLATE, DEFLATE, STATS };

static void balloon_make(struct vm *vm)
{
	const struct virtio_balloon_cfg cfg = { .pages = 4, .max_pages = 1000 };
	struct err e;

	assert_int_equal(virtio_balloon_new(&vm->env, &cfg, &vm->dev, &e), 0);
}

/* Two pages go, and are zero when they are used again; the rest of memory is as it was. */
static void balloon_good(struct vm *vm)
{
	static const uint8_t none[PAGE];
	const uint32_t pfn[] = { AT(16) / PAGE, AT(17) / PAGE };
	struct virtio_balloon_stat stat = { VIRTIO_BALLOON_S_MEMFREE, vm->count + 1 };
	struct virtio_balloon_stats seen;
	uint16_t id;

	vm_put(vm, AT(16), "not zero", 8);
	vm_put(vm, AT(0), pfn, sizeof(pfn));
	vm_allow(vm, AT(16), 2 * PAGE);
	ring_do(vm, INFLATE, &(struct buf){ AT(0), sizeof(pfn), false }, 1);
	assert_memory_equal(vm_at(vm, AT(16)), none, PAGE);
	assert_memory_equal(vm_at(vm, AT(17)), none, PAGE);
	ring_do(vm, DEFLATE, &(struct buf){ AT(0), sizeof(pfn), false }, 1);

	if (!(vm->features >> VIRTIO_BALLOON_F_STATS_VQ & 1))
		return;
	/* The buffer stays until the host wants new ones. */
	vm->count++;
	vm_put(vm, AT(1), &stat, sizeof(stat));
	id = ring_add(vm, STATS, &(struct buf){ AT(1), sizeof(stat), false }, 1);
	vm->t->kick(vm, STATS);
	vm_pump(vm, 0);
	virtio_balloon_stats(vm->dev, &seen);
	assert_int_equal(seen.value[VIRTIO_BALLOON_S_MEMFREE], vm->count);
	assert_int_equal(virtio_balloon_ask(vm->dev), 0);
	ring_wait(vm, STATS, id);
}

static void balloon_change(struct vm *vm)
{
	assert_int_equal(virtio_balloon_set(vm->dev, 10 + ++vm->count % 100), 0);
}

static bool balloon_writable(uint32_t off)
{
	return (off >= offsetof(struct virtio_balloon_config, actual) &&
		off < offsetof(struct virtio_balloon_config, actual) + 4) ||
	       (off >= offsetof(struct virtio_balloon_config, poison_val) &&
		off < offsetof(struct virtio_balloon_config, poison_val) + 4);
}

static const struct kind balloon = {
	.name = "balloon",
	.id = VIRTIO_ID_BALLOON,
	.queues = 2,
	.config_len = sizeof(struct virtio_balloon_config),
	.lane = { { INFLATE, false, 16 }, { DEFLATE, false, 16 } },
	.make = balloon_make,
	.good = balloon_good,
	.change = balloon_change,
	.config_mask = balloon_writable,
	.alone = true,
	.no_realm = true,
};

/* ---- 9P (section 5.9, and 9P2000.L) ---- */

#define TAG	"conformance"
#define P9_TVERSION	100
#define P9_TATTACH	104

static void p9_make(struct vm *vm)
{
	static int root;
	struct virtio_9p_cfg cfg = { .tag = TAG, .readonly = true, .max_fds = 256 };
	struct err e;

	vm->ctx = &root;
	cfg.root_fd = root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(root >= 0);
	assert_int_equal(virtio_9p_new(&vm->env, &cfg, &vm->dev, &e), 0);
}

static void close_fd(struct vm *vm)
{
	close(*(int *)vm->ctx);
}

/* A message to the server; its answer has the next type, and @len bytes. */
static void p9_call(struct vm *vm, uint8_t *msg, uint32_t size, uint32_t len)
{
	struct buf b[] = { { AT(0), size, false }, { AT(1), 256, true } };
	uint32_t n;

	memcpy(msg, &size, 4);
	vm_put(vm, AT(0), msg, size);
	assert_int_equal(ring_do(vm, 0, b, 2), len);
	memcpy(&n, vm_at(vm, AT(1)), 4);
	assert_int_equal(n, len);
	assert_int_equal(((uint8_t *)vm_at(vm, AT(1)))[4], msg[4] + 1);
}

static void p9_good(struct vm *vm)
{
	uint8_t version[] = "\0\0\0\0\144\377\377\0\20\0\0\10\0" "9P2000.L";
	uint8_t attach[] = "\0\0\0\0\150\1\0\1\0\0\0\377\377\377\377\0\0\0\0\0\0\0\0";

	assert_int_equal(version[4], P9_TVERSION);
	assert_int_equal(attach[4], P9_TATTACH);
	p9_call(vm, version, sizeof(version) - 1, 21);
	p9_call(vm, attach, sizeof(attach) - 1, 20);
}

static const struct kind p9 = {
	.name = "9p",
	.id = VIRTIO_ID_9P,
	.queues = 1,
	.config_len = 2 + sizeof(TAG) - 1,
	.lane = { { 0, false, 16 } },
	.make = p9_make,
	.good = p9_good,
	.free = close_fd,
};

/* ---- persistent memory (section 5.19) ---- */

static void pmem_make(struct vm *vm)
{
	struct virtio_pmem_cfg cfg = { .start = UINT64_C(1) << 36, .size = SZ_2M };
	static int fd;
	struct err e;

	vm->ctx = &fd;
	cfg.fd = fd = memfd_create("pmem", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(virtio_pmem_new(&vm->env, &cfg, &vm->dev, &e), 0);
}

static void pmem_good(struct vm *vm)
{
	const uint32_t flush = VIRTIO_PMEM_REQ_TYPE_FLUSH, none = UINT32_MAX;
	struct buf b[] = { { AT(0), 4, false }, { AT(1), 4, true } };

	vm_put(vm, AT(0), &flush, 4);
	vm_put(vm, AT(1), &none, 4);
	assert_int_equal(ring_do(vm, 0, b, 2), 4);
	assert_int_equal(*(uint32_t *)vm_at(vm, AT(1)), 0);
}

static const struct kind pmem = {
	.name = "pmem",
	.id = VIRTIO_ID_PMEM,
	.queues = 1,
	.config_len = sizeof(struct virtio_pmem_config),
	.lane = { { 0, false, 16 }, { 0, true, 16 } },
	.make = pmem_make,
	.good = pmem_good,
	.free = close_fd,
	.no_realm = true,
};

const struct kind *const kinds[] = {
	&rng, &kind_blk, &kind_blk_thread, &kind_blk_mq, &kind_console, &kind_console_ports,
	&kind_net, &kind_net_stream, &kind_vsock, &balloon, &p9, &pmem, NULL,
};
