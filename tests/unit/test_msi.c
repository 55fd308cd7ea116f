// SPDX-License-Identifier: BSD-3-Clause
/* The GSI routing table. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/pbus.h"
#include "vmm/core/log.h"

#define FIRST	MAP_NR_SPIS
#define ROOM	(KVM_ROUTES_MAX - MAP_NR_SPIS)

static struct pbus pb;

/* What a message must have in it; how many SPIs there are is the board's affair. */
static const char *text(const char *fmt, unsigned int n)
{
	static char buf[32];

	snprintf(buf, sizeof(buf), fmt, n);
	return buf;
}

static int setup(void **state)
{
	(void)state;
	pb_init(&pb, true, 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pb_destroy(&pb);
	return 0;
}

static void numbers(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < ROOM; i++)
		assert_int_equal(msi_alloc(&pb.msi), FIRST + i);
	assert_int_equal(msi_alloc(&pb.msi), -ENOSPC);
	msi_free(&pb.msi, FIRST + 100);
	msi_free(&pb.msi, FIRST + ROOM - 1);
	assert_int_equal(msi_alloc(&pb.msi), FIRST + 100);
	assert_int_equal(msi_alloc(&pb.msi), FIRST + ROOM - 1);
	assert_int_equal(msi_alloc(&pb.msi), -ENOSPC);
	/* without a message KVM keeps its own table */
	assert_int_equal(msi_commit(&pb.msi, NULL), 0);
	assert_int_equal(fake_count(KVM_SET_GSI_ROUTING), 0);
}

/* Many changes are one call, and no change is none. */
static void batches(void **state)
{
	int gsi[50];

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(gsi); i++) {
		gsi[i] = msi_alloc(&pb.msi);
		msi_set(&pb.msi, gsi[i], PB_DOORBELL, i, 8);
	}
	assert_int_equal(fake_count(KVM_SET_GSI_ROUTING), 0);
	assert_int_equal(msi_commit(&pb.msi, NULL), 0);
	assert_int_equal(fake_count(KVM_SET_GSI_ROUTING), 1);
	assert_int_equal(fake_routes(), MAP_NR_SPIS + ARRAY_SIZE(gsi));
	for (unsigned int i = 0; i < ARRAY_SIZE(gsi); i++)
		msi_set(&pb.msi, gsi[i], PB_DOORBELL | PB_SHARED, i, 8);
	assert_int_equal(msi_commit(&pb.msi, NULL), 0);
	assert_int_equal(fake_count(KVM_SET_GSI_ROUTING), 1);
	msi_free(&pb.msi, gsi[7]);
	assert_int_equal(msi_commit(&pb.msi, NULL), 0);
	assert_int_equal(fake_count(KVM_SET_GSI_ROUTING), 2);
	assert_int_equal(fake_routes(), MAP_NR_SPIS + ARRAY_SIZE(gsi) - 1);
}

static void fields(void **state)
{
	struct kvm_irq_routing_entry r;
	int gsi = msi_alloc(&pb.msi);

	(void)state;
	msi_set(&pb.msi, gsi, 0x40123456789cULL, 0x89abcdef, 0xf8);
	assert_int_equal(msi_commit(&pb.msi, NULL), 0);
	assert_true(fake_route(gsi, &r));
	assert_int_equal(r.type, KVM_IRQ_ROUTING_MSI);
	assert_int_equal(r.flags, KVM_MSI_VALID_DEVID);
	/* where KVM knows the doorbell: at the alias */
	assert_int_equal(r.u.msi.address_hi, 0x4012 | PB_SHARED >> 32);
	assert_int_equal(r.u.msi.address_lo, 0x3456789c);
	assert_int_equal(r.u.msi.data, 0x89abcdef);
	assert_int_equal(r.u.msi.devid, 0xf8);
}

static void attached(void **state)
{
	int gsi = msi_alloc(&pb.msi), fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct err e;

	(void)state;
	msi_set(&pb.msi, gsi, PB_DOORBELL, 1, 8);
	assert_int_equal(msi_commit(&pb.msi, &e), 0);
	eventfd_write(fd, 1);
	assert_int_equal(fake_gsi_count(gsi), -1);
	assert_int_equal(msi_attach(&pb.msi, gsi, fd, &e), 0);
	assert_int_equal(fake_gsi_count(gsi), 1);
	assert_int_equal(msi_attach(&pb.msi, gsi, fd, &e), -EBUSY);
	assert_non_null(strstr(e.msg, text("GSI %u", FIRST)));
	msi_detach(&pb.msi, gsi, fd);
	eventfd_write(fd, 1);
	assert_int_equal(fake_gsi_count(gsi), -1);
	close(fd);
}

static void refused(void **state)
{
	int gsi = msi_alloc(&pb.msi);
	struct err e;

	(void)state;
	msi_set(&pb.msi, gsi, PB_DOORBELL, 1, 8);
	fake_fail_ioctl(KVM_SET_GSI_ROUTING, 1, EINVAL);
	assert_int_equal(msi_commit(&pb.msi, &e), -EINVAL);
	assert_non_null(strstr(e.msg, text("%u routes", FIRST + 1)));
	/* not forgotten */
	assert_int_equal(msi_commit(&pb.msi, &e), 0);
	assert_int_equal(fake_routes(), FIRST + 1);
}

/* A vCPU that sets up messages: KVM takes the whole table, so it is never seen half made. */
static void *vcpu(void *arg)
{
	uint32_t who = *(const uint32_t *)arg;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	for (unsigned int i = 0; i < 200; i++) {
		struct kvm_irq_routing_entry r;
		int gsi[3];

		for (unsigned int k = 0; k < ARRAY_SIZE(gsi); k++) {
			gsi[k] = msi_alloc(&pb.msi);
			msi_set(&pb.msi, gsi[k], PB_DOORBELL, who << 16 | i << 2 | k, who);
		}
		fake_expect_eq(msi_commit(&pb.msi, NULL), 0);
		for (unsigned int k = 0; k < ARRAY_SIZE(gsi); k++) {
			fake_expect(fake_route(gsi[k], &r));
			fake_expect_eq(r.u.msi.data, who << 16 | i << 2 | k);
			fake_expect_eq(r.u.msi.devid, who);
			fake_expect_eq(msi_attach(&pb.msi, gsi[k], fd, NULL), 0);
			eventfd_write(fd, 1);
			fake_expect_eq(fake_gsi_count(gsi[k]), 1);
			msi_detach(&pb.msi, gsi[k], fd);
			msi_free(&pb.msi, gsi[k]);
		}
	}
	close(fd);
	return NULL;
}

static void two_at_once(void **state)
{
	static const uint32_t who[] = { 8, 16, 24 };
	pthread_t t[ARRAY_SIZE(who)];

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(who); i++)
		assert_int_equal(pthread_create(&t[i], NULL, vcpu, (void *)&who[i]), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(who); i++)
		pthread_join(t[i], NULL);
	assert_int_equal(msi_commit(&pb.msi, NULL), 0);
	assert_int_equal(fake_routes(), MAP_NR_SPIS);
}

static void never_made(void **state)
{
	struct msi m = { 0 };
	struct pci_host h = { 0 };

	(void)state;
	msi_destroy(&m);
	pci_host_destroy(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(batches, setup, teardown),
		cmocka_unit_test_setup_teardown(fields, setup, teardown),
		cmocka_unit_test_setup_teardown(attached, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(two_at_once, setup, teardown),
		cmocka_unit_test(never_made),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("msi", tests, NULL, NULL);
}
