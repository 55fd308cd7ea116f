// SPDX-License-Identifier: BSD-3-Clause
/* The balloon: what is given up is gone from the host, nothing else is; statistics; bad input. */
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/vdriver.h"

enum { INFLATE, DEFLATE, STATS, REPORT, REPORT_FIXED };

#define PAGE		4096
#define STAT		sizeof(struct virtio_balloon_stat)
#define LIST		(VD_DATA + 0x10000)	/* page numbers */
#define VICTIM		(VD_DATA + 0x100000)	/* pages to give up */
#define F(bit)		VD_F(VIRTIO_BALLOON_F_##bit)
#define MODERN		(VD_F_MODERN | (packed ? VD_F_PACKED | VD_F_IN_ORDER : 0))

static bool packed;

static int setup_common(void **state, bool realm)
{
	struct vdriver *vd = calloc(1, sizeof(*vd));
	const struct virtio_balloon_cfg cfg = { .pages = 7, .max_pages = 1000 };
	struct virtio_dev *dev;
	struct err e;

	vd_init(vd, realm);
	vd->env.packed = packed;
	assert_int_equal(virtio_balloon_new(&vd->env, &cfg, &dev, &e), 0);
	vd_attach(vd, dev);
	memset(vd_ptr(vd, VICTIM), 0xaa, 64 * PAGE);
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

static void start(struct vdriver *vd, uint64_t features)
{
	vd_start(vd, MODERN | features, 5, 16);
	vd_pump(vd, 0);
}

/* Is page @n of the victims still what it was? */
static bool intact(struct vdriver *vd, unsigned int n)
{
	const uint8_t *p = vd_ptr(vd, VICTIM + n * PAGE);

	for (unsigned int i = 0; i < PAGE; i++)
		if (p[i] != 0xaa)
			return false;
	return true;
}

static bool resident(struct vdriver *vd, unsigned int n)
{
	unsigned char vec;

	assert_int_equal(mincore(vd_ptr(vd, VICTIM + n * PAGE), PAGE, &vec), 0);
	return vec & 1;
}

/* Inflate with these pages, numbered from the first victim. */
static void inflate(struct vdriver *vd, const int *page, unsigned int nr)
{
	uint32_t *list = vd_ptr(vd, LIST);

	for (unsigned int i = 0; i < nr; i++)
		list[i] = VICTIM / PAGE + page[i];
	vd_add(vd, INFLATE, &(struct vq_seg){ LIST, nr * 4 }, 1, 1);
	vd_kick(vd, INFLATE);
	assert_int_equal(vd_wait(vd, INFLATE).len, 0);
}

static void config(void **state)
{
	struct vdriver *vd = *state;
	struct virtio_balloon_stats s;

	assert_int_equal(vd_get(vd, VIRTIO_MMIO_DEVICE_ID), 5);
	assert_int_equal(vd_features(vd) & 0x3f, F(STATS_VQ) | F(DEFLATE_ON_OOM) | F(PAGE_POISON) |
			 F(REPORTING));
	start(vd, F(STATS_VQ));
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_CONFIG), 7);
	assert_int_equal(virtio_balloon_set(vd->dev, 500), 0);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_CONFIG), 500);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG,
			 VIRTIO_MMIO_INT_CONFIG);
	assert_int_equal(virtio_balloon_set(vd->dev, 1001), -ERANGE);

	vd_set(vd, VIRTIO_MMIO_CONFIG + 4, 321);	/* actual */
	vd_set(vd, VIRTIO_MMIO_CONFIG, 999);		/* not the driver's */
	vd_access(vd, VIRTIO_MMIO_CONFIG + 6, 1, 2, true);
	virtio_balloon_stats(vd->dev, &s);
	assert_int_equal(s.target, 500);
	assert_int_equal(s.actual, 0x10000 + 321);
	assert_int_equal(s.seen, 0);
	vd_set(vd, VIRTIO_MMIO_STATUS, 0);
	virtio_balloon_stats(vd->dev, &s);
	assert_int_equal(s.actual, 0);
	assert_int_equal(s.target, 500);
}

static void inflate_and_deflate(void **state)
{
	struct vdriver *vd = *state;
	struct virtio_balloon_stats s;

	start(vd, 0);
	inflate(vd, (int[]){ 5, 4, 3, 10, 20, 21, 22, 3 }, 8);
	for (unsigned int i = 0; i < 30; i++) {
		bool given = (i >= 3 && i <= 5) || i == 10 || (i >= 20 && i <= 22);

		assert_int_equal(resident(vd, i), !given);
	}
	for (unsigned int i = 0; i < 30; i++) {
		bool given = (i >= 3 && i <= 5) || i == 10 || (i >= 20 && i <= 22);

		assert_int_equal(intact(vd, i), !given);
	}
	virtio_balloon_stats(vd->dev, &s);
	assert_int_equal(s.discarded, 8 * PAGE);

	vd_add(vd, DEFLATE, &(struct vq_seg){ LIST, 32 }, 1, 1);
	vd_kick(vd, DEFLATE);
	assert_int_equal(vd_wait(vd, DEFLATE).len, 0);
}

/* Addresses of nothing, of everything, half words, unreadable lists. */
static void hostile_pages(void **state)
{
	struct vdriver *vd = *state;
	uint32_t *list = vd_ptr(vd, LIST);

	start(vd, 0);
	list[0] = 0;
	list[1] = UINT32_MAX;
	list[2] = VD_RAM / PAGE - 1;
	list[3] = (VD_RAM2 + VD_RAM2_SIZE) / PAGE;
	list[4] = VICTIM / PAGE;
	vd_add(vd, INFLATE, &(struct vq_seg){ LIST, 4 * 5 + 3 }, 1, 1);
	vd_add(vd, INFLATE, &(struct vq_seg){ 0x1000, 16 }, 1, 1);	/* no memory */
	vd_add(vd, INFLATE, &(struct vq_seg){ LIST, 16 }, 1, 0);	/* the wrong way */
	vd_kick(vd, INFLATE);
	for (int i = 0; i < 3; i++)
		vd_wait(vd, INFLATE);
	assert_false(intact(vd, 0));
	assert_true(intact(vd, 1));
	assert_false(vd_get(vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* A list far longer than what one turn takes: the loop gets its turn, and the device lives. */
static void work_is_bounded(void **state)
{
	struct vdriver *vd = *state;
	uint32_t *list = vd_ptr(vd, VD_DATA + 0x200000);
	struct vring_used_elem u;

	start(vd, 0);
	for (unsigned int i = 0; i < 100000; i++)
		list[i] = VICTIM / PAGE + 32 + i % 2;
	list[99999] = VICTIM / PAGE;
	for (int i = 0; i < 3; i++)
		vd_add(vd, INFLATE, &(struct vq_seg){ VD_DATA + 0x200000, 400000 }, 1, 1);
	vd_kick(vd, INFLATE);
	assert_int_equal(loop_once(&vd->loop, 1000), 1);
	assert_true(vd_used(vd, INFLATE, &u));
	assert_false(vd_used(vd, INFLATE, &u));
	for (int i = 0; i < 2; i++)
		vd_wait(vd, INFLATE);
	assert_true(intact(vd, 0));
}

/* What a request in flight uses stays. */
static void pinned(void **state)
{
	struct vdriver *vd = *state;
	struct gmem_pin pin = { .cancel = NULL };
	void *p;

	start(vd, F(REPORTING));
	gmem_enter(&vd->gm);
	assert_int_equal(gmem_pin(&vd->gm, &pin, VICTIM + 2 * PAGE + 100, 10, &p), 0);
	gmem_leave(&vd->gm);
	inflate(vd, (int[]){ 1, 2, 3 }, 3);
	assert_true(intact(vd, 2));
	vd_add(vd, STATS, &(struct vq_seg){ VICTIM, 8 * PAGE }, 1, 0);	/* is the one for reports */
	vd_kick(vd, STATS);
	vd_wait(vd, STATS);
	assert_true(intact(vd, 2));
	gmem_unpin(&vd->gm, &pin);
	inflate(vd, (int[]){ 2 }, 1);
	assert_false(intact(vd, 2));
}

/* Where the queue is: behind those that were negotiated, or where the specification counts it. */
static void reporting(void **state)
{
	struct vdriver *vd = *state;
	static const unsigned int queue[] = { REPORT, REPORT_FIXED, STATS };

	for (unsigned int i = 0; i < ARRAY_SIZE(queue); i++) {
		memset(vd_ptr(vd, VICTIM), 0xaa, 8 * PAGE);
		vd_set(vd, VIRTIO_MMIO_STATUS, 0);
		start(vd, F(REPORTING) | (queue[i] == STATS ? 0 : F(STATS_VQ)));
		/* Only whole pages of it. */
		vd_add(vd, queue[i], (struct vq_seg[]){ { VICTIM + 10, 2 * PAGE },
							{ VICTIM + 4 * PAGE, PAGE } }, 2, 0);
		vd_kick(vd, queue[i]);
		assert_int_equal(vd_wait(vd, queue[i]).len, 0);
		assert_true(intact(vd, 0));
		assert_false(intact(vd, 1));
		assert_true(intact(vd, 2));
		assert_true(intact(vd, 3));
		assert_false(intact(vd, 4));
	}
	/* Not negotiated: not even looked at. */
	memset(vd_ptr(vd, VICTIM), 0xaa, 8 * PAGE);
	vd_set(vd, VIRTIO_MMIO_STATUS, 0);
	start(vd, 0);
	vd_add(vd, REPORT_FIXED, &(struct vq_seg){ VICTIM, PAGE }, 1, 0);
	vd_kick(vd, REPORT_FIXED);
	vd_pump(vd, 0);
	assert_true(intact(vd, 0));
}

/* A guest that fills its free pages wants to find them as they were. */
static void poison(void **state)
{
	struct vdriver *vd = *state;

	for (int value = 0; value < 2; value++) {
		vd_set(vd, VIRTIO_MMIO_STATUS, 0);
		vd_negotiate(vd, MODERN | F(REPORTING) | F(PAGE_POISON) | F(STATS_VQ));
		vd_set(vd, VIRTIO_MMIO_CONFIG + 12, value ? 0 : 0xaaaaaaaa);
		for (unsigned int q = 0; q < 5; q++) {
			vd_ring_init(vd, q, 16);
			vd_queue(vd, q);
		}
		vd_set(vd, VIRTIO_MMIO_STATUS,
		       VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
		       VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
		vd_add(vd, REPORT, &(struct vq_seg){ VICTIM, PAGE }, 1, 0);
		vd_kick(vd, REPORT);
		vd_wait(vd, REPORT);
		assert_int_equal(intact(vd, 0), !value);
	}
}

static void put_stat(struct vdriver *vd, unsigned int at, uint16_t tag, uint64_t val)
{
	struct virtio_balloon_stat s = { .tag = tag, .val = val };

	memcpy((uint8_t *)vd_ptr(vd, LIST) + at * sizeof(s), &s, sizeof(s));
}

static void statistics(void **state)
{
	struct vdriver *vd = *state;
	struct virtio_balloon_stats s;
	struct vring_used_elem u;

	assert_int_equal(virtio_balloon_ask(vd->dev), -EAGAIN);
	start(vd, F(STATS_VQ));
	assert_int_equal(virtio_balloon_ask(vd->dev), -EAGAIN);
	put_stat(vd, 0, VIRTIO_BALLOON_S_MEMFREE, 1234567890123);
	put_stat(vd, 1, VIRTIO_BALLOON_S_MEMTOT, 99);
	put_stat(vd, 2, 60000, 1);	/* nobody knows */
	vd_add(vd, STATS, &(struct vq_seg){ LIST, 3 * STAT + 5 }, 1, 1);
	vd_kick(vd, STATS);
	vd_pump(vd, 0);
	assert_false(vd_used(vd, STATS, &u));	/* kept until there is a question */
	virtio_balloon_stats(vd->dev, &s);
	assert_int_equal(s.seen, 1);
	assert_int_equal(s.have, 1 << VIRTIO_BALLOON_S_MEMFREE | 1 << VIRTIO_BALLOON_S_MEMTOT);
	assert_int_equal(s.value[VIRTIO_BALLOON_S_MEMFREE], 1234567890123);

	assert_int_equal(virtio_balloon_ask(vd->dev), 0);
	assert_true(vd_used(vd, STATS, &u));
	assert_int_equal(virtio_balloon_ask(vd->dev), -EAGAIN);	/* until it has answered */
	put_stat(vd, 0, VIRTIO_BALLOON_S_AVAIL, 5);
	for (int i = 0; i < 2; i++)	/* a second buffer, which nobody needs */
		vd_add(vd, STATS, &(struct vq_seg){ LIST, STAT }, 1, 1);
	vd_kick(vd, STATS);
	vd_wait(vd, STATS);
	vd_pump(vd, 0);
	assert_false(vd_used(vd, STATS, &u));
	virtio_balloon_stats(vd->dev, &s);
	assert_int_equal(s.have, 1 << VIRTIO_BALLOON_S_AVAIL);

	/* A reset takes the buffer away. */
	vd_set(vd, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(virtio_balloon_ask(vd->dev), -EAGAIN);
	start(vd, F(STATS_VQ));
	assert_int_equal(virtio_balloon_ask(vd->dev), -EAGAIN);
	assert_false(vd_used(vd, STATS, &u));
}

/* The door: what is private is not given up, whoever names it. */
static void private_pages(void **state)
{
	struct vdriver *vd = *state;

	vd->private_base = VICTIM;
	vd->private_len = PAGE;
	start(vd, F(REPORTING));
	inflate(vd, (int[]){ 0 }, 1);
	assert_true(intact(vd, 0));
	vd_add(vd, STATS, &(struct vq_seg){ VICTIM, PAGE }, 1, 0);
	vd_kick(vd, STATS);
	vd_wait(vd, STATS);
	assert_true(intact(vd, 0));
	inflate(vd, (int[]){ 1 }, 1);
	assert_false(intact(vd, 1));
}

/* A region of somebody's file. */
static void kept_region(void **state)
{
	struct vdriver *vd = *state;

	gmem_keep(&vd->gm, VD_RAM);
	start(vd, F(REPORTING));
	inflate(vd, (int[]){ 0 }, 1);
	assert_true(intact(vd, 0));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(config), T(inflate_and_deflate), T(hostile_pages), T(work_is_bounded), T(pinned),
		T(reporting), T(poison), T(statistics), T(kept_region),
		cmocka_unit_test_setup_teardown(private_pages, setup_realm, teardown),
	};
	int failed;

	log_set_level(LOG_ERROR);
	failed = cmocka_run_group_tests_name("split", tests, NULL, NULL);
	packed = true;
	return failed + cmocka_run_group_tests_name("packed", tests, NULL, NULL);
}
