// SPDX-License-Identifier: BSD-3-Clause
/* Persistent memory: where it is, flushes in their order, a reset meanwhile, bad requests. */
#include <linux/virtio_pmem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/vdriver.h"

#define START	0x100000000ULL
#define SIZE	0x400000ULL
#define REQ(n)	(VD_DATA + 64 * (n))
#define RESP(n)	(VD_DATA + 64 * (n) + 32)
#define MODERN	(VD_F_MODERN | (packed ? VD_F_PACKED | VD_F_IN_ORDER : 0))

static bool packed;

struct fixture {
	struct vdriver vd;
	int fd;
};

static int setup_fd(void **state, int fd)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct virtio_pmem_cfg cfg = { fd, START, SIZE };
	struct virtio_dev *dev;
	struct err e;

	f->fd = fd;
	vd_init(&f->vd, false);
	f->vd.env.packed = packed;
	assert_int_equal(virtio_pmem_new(&f->vd.env, &cfg, &dev, &e), 0);
	vd_attach(&f->vd, dev);
	vd_start(&f->vd, MODERN, 1, 32);
	vd_pump(&f->vd, 0);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	int fd = memfd_create("pmem", 0);

	assert_true(fd >= 0);
	return setup_fd(state, fd);
}

static int setup_readonly(void **state)
{
	return setup_fd(state, -1);
}

/* A pipe cannot be brought to a disk. */
static int setup_failing(void **state)
{
	int fd[2];

	assert_int_equal(pipe(fd), 0);
	close(fd[1]);
	return setup_fd(state, fd[0]);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vd_destroy(&f->vd);
	if (f->fd >= 0)
		close(f->fd);
	free(f);
	return 0;
}

static void offer(struct fixture *f, unsigned int n, uint32_t type)
{
	memcpy(vd_ptr(&f->vd, REQ(n)), &type, 4);
	memset(vd_ptr(&f->vd, RESP(n)), 0xff, 4);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ(n), 4 }, { RESP(n), 4 } }, 2, 1);
}

static void expect(struct fixture *f, unsigned int n, uint32_t ret)
{
	struct vring_used_elem u = vd_wait(&f->vd, 0);

	assert_int_equal(u.len, 4);
	assert_memory_equal(vd_ptr(&f->vd, RESP(n)), &ret, 4);
}

static void config(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_DEVICE_ID), 27);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG), (uint32_t)START);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG + 4), START >> 32);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG + 8), SIZE);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG + 12), 0);
}

static void flushes(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 5; i++)
		offer(f, i, VIRTIO_PMEM_REQ_TYPE_FLUSH);
	vd_kick(&f->vd, 0);
	for (unsigned int i = 0; i < 5; i++)
		expect(f, i, 0);
}

static void failing(void **state)
{
	struct fixture *f = *state;

	offer(f, 0, VIRTIO_PMEM_REQ_TYPE_FLUSH);
	vd_kick(&f->vd, 0);
	expect(f, 0, 1);
}

static void bad_requests(void **state)
{
	struct fixture *f = *state;
	struct vring_used_elem u;

	offer(f, 0, 77);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ(1), 3 }, { RESP(1), 4 } }, 2, 1);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { 0x1000, 4 }, { RESP(2), 4 } }, 2, 1);
	vd_kick(&f->vd, 0);
	expect(f, 0, 1);
	expect(f, 1, 1);
	expect(f, 2, 1);
	/* No room for the answer: nothing is written. */
	memset(vd_ptr(&f->vd, REQ(3)), 0, 4);
	vd_add(&f->vd, 0, &(struct vq_seg){ REQ(3), 4 }, 1, 1);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ(3), 4 }, { 0x1000, 4 } }, 2, 1);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ(3), 4 }, { RESP(3), 3 } }, 2, 1);
	vd_kick(&f->vd, 0);
	for (int i = 0; i < 3; i++) {
		u = vd_wait(&f->vd, 0);
		assert_int_equal(u.len, 0);
	}
	offer(f, 4, VIRTIO_PMEM_REQ_TYPE_FLUSH);
	vd_kick(&f->vd, 0);
	expect(f, 4, 0);
	assert_false(vd_get(&f->vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* The driver is gone, or there again, when the worker has finished. */
static void reset_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct vring_used_elem u;

	for (int again = 0; again < 20; again++) {
		offer(f, 0, VIRTIO_PMEM_REQ_TYPE_FLUSH);
		vd_kick(&f->vd, 0);
		loop_once(&f->vd.loop, 100);	/* the worker may have it now */
		vd_set(&f->vd, VIRTIO_MMIO_STATUS, 0);
		memset(vd_ptr(&f->vd, RESP(0)), 0xee, 4);	/* the driver's own again */
		if (again % 2)
			vd_pump(&f->vd, 2);
		vd_start(&f->vd, MODERN, 1, 32);
		offer(f, 1, VIRTIO_PMEM_REQ_TYPE_FLUSH);
		vd_kick(&f->vd, 0);
		expect(f, 1, 0);
		vd_pump(&f->vd, 2);
		assert_false(vd_used(&f->vd, 0, &u));
		assert_memory_equal(vd_ptr(&f->vd, RESP(0)), "\xee\xee\xee\xee", 4);
	}
	offer(f, 2, VIRTIO_PMEM_REQ_TYPE_FLUSH);	/* under way at the end */
	vd_kick(&f->vd, 0);
	loop_once(&f->vd.loop, 100);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(config), T(flushes), T(bad_requests), T(reset_meanwhile),
		cmocka_unit_test_setup_teardown(flushes, setup_readonly, teardown),
		cmocka_unit_test_setup_teardown(failing, setup_failing, teardown),
	};
	int failed;

	log_set_level(LOG_ERROR);
	failed = cmocka_run_group_tests_name("split", tests, NULL, NULL);
	packed = true;
	return failed + cmocka_run_group_tests_name("packed", tests, NULL, NULL);
}
