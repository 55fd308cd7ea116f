// SPDX-License-Identifier: BSD-3-Clause
/* The entropy device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vdriver.h"

#define CHUNK 4096

static bool packed;		/* all tests run on both kinds of rings */

static int setup_common(void **state, bool realm)
{
	struct vdriver *vd = malloc(sizeof(*vd));
	struct virtio_dev *dev;
	struct err e;

	vd_init(vd, realm);
	vd->env.packed = packed;
	assert_int_equal(virtio_rng_new(&vd->env, &dev, &e), 0);
	vd_attach(vd, dev);
	vd_start(vd, VD_F_ALL | (packed ? VD_F_PACKED | VD_F_IN_ORDER : 0), 1, 64);
	*state = vd;
	return 0;
}

static int setup(void **state)
{
	return setup_common(state, false);
}

static int setup_realm(void **state)
{
	return setup_common(state, true);
}

static int teardown(void **state)
{
	vd_destroy(*state);
	free(*state);
	return 0;
}

static unsigned int zeroes(const uint8_t *p, size_t len)
{
	unsigned int n = 0;

	while (len--)
		n += !*p++;
	return n;
}

static void random_bytes(void **state)
{
	struct vdriver *vd = *state;
	uint8_t *buf = vd_ptr(vd, VD_DATA);
	uint8_t first[1024];
	struct vring_used_elem u;

	assert_int_equal(vd_get(vd, VIRTIO_MMIO_DEVICE_ID), 4);
	for (int i = 0; i < 2; i++) {
		vd_add(vd, 0, (struct vq_seg[]){ { VD_DATA, 1000 }, { VD_DATA + 1000, 24 } }, 2, 0);
		vd_kick(vd, 0);
		u = vd_wait(vd, 0);
		assert_int_equal(u.len, 1024);
		/* 1024 random bytes hold 4 zeroes, and 40 or more never. */
		assert_true(zeroes(buf, 1024) < 40);
		assert_int_equal(zeroes(buf + 1024, 1024), 1024);
		if (i)
			assert_memory_not_equal(buf, first, 1024);
		memcpy(first, buf, 1024);
	}
	/* A split ring: used_event stayed at 0; a packed one: events were not switched off. */
	assert_int_equal(vd->irqs, packed ? 2 : 1);
}

static void amount_is_bounded(void **state)
{
	struct vdriver *vd = *state;
	struct vring_used_elem u;
	unsigned int n = 0;

	vd_pump(vd, 0);
	for (int i = 0; i < 64; i++)
		vd_add(vd, 0, &(struct vq_seg){ VD_DATA, 1 << 20 }, 1, 0);
	vd_kick(vd, 0);
	/* One turn on the loop does not serve all of them ... */
	assert_int_equal(loop_once(&vd->loop, 100), 1);
	while (vd_used(vd, 0, &u))
		n++;
	assert_in_range(n, 1, 63);
	/* ... but they get served, and by less than was asked for. */
	for (; n < 64; n++) {
		u = vd_wait(vd, 0);
		assert_int_equal(u.len, CHUNK);
	}
	assert_int_equal(zeroes(vd_ptr(vd, VD_DATA + CHUNK), 1 << 16), 1 << 16);
}

static void bad_buffers(void **state)
{
	struct vdriver *vd = *state;
	struct vring_used_elem u;

	vd->private_base = VD_DATA;
	vd->private_len = 0x1000;
	vd_add(vd, 0, &(struct vq_seg){ VD_DATA, 64 }, 1, 0);		/* private */
	vd_add(vd, 0, &(struct vq_seg){ VD_DATA + 0x1000, 64 }, 1, 1);	/* not writable */
	vd_add(vd, 0, &(struct vq_seg){ 0x1000, 64 }, 1, 0);		/* no memory */
	vd_add(vd, 0, &(struct vq_seg){ VD_DATA + 0x1000, 0 }, 1, 0);	/* no length */
	/* The first half is good. */
	vd_add(vd, 0, (struct vq_seg[]){ { VD_DATA + 0x1000, 64 }, { VD_DATA, 64 } }, 2, 0);
	vd_kick(vd, 0);
	for (int i = 0; i < 4; i++) {
		u = vd_wait(vd, 0);
		assert_int_equal(u.len, 0);
	}
	u = vd_wait(vd, 0);
	assert_int_equal(u.len, 64);
	assert_int_equal(zeroes(vd_ptr(vd, VD_DATA), 0x1000), 0x1000);
	assert_false(vd_get(vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(random_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(amount_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_buffers, setup_realm, teardown),
	};
	int failed;

	log_set_level(LOG_ERROR);
	failed = cmocka_run_group_tests_name("split", tests, NULL, NULL);
	packed = true;
	return failed + cmocka_run_group_tests_name("packed", tests, NULL, NULL);
}
