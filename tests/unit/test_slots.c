// SPDX-License-Identifier: BSD-3-Clause
/* Memslots that are cut and joined, checked against a byte per granule and KVM's own rules. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "realm/slots.h"

#define BASE	UINT64_C(0x80000000)
#define PAGES	256
#define MAX_SLOTS	64

struct model {
	struct {
		ipa_t base;
		uint64_t len;
	} slot[MAX_SLOTS];
	int fail_after;		/* calls that succeed, -1: all */
};

static int set(void *ctx, unsigned int slot, ipa_t base, uint64_t len)
{
	struct model *m = ctx;

	assert_in_range(slot, 10, 10 + MAX_SLOTS - 1);
	slot -= 10;
	if (m->fail_after == 0)
		return -ENOMEM;
	if (m->fail_after > 0)
		m->fail_after--;
	if (!len) {
		assert_int_not_equal(m->slot[slot].len, 0);	/* delete what is there */
	} else {
		assert_int_equal(m->slot[slot].len, 0);		/* KVM cannot resize */
		for (unsigned int i = 0; i < MAX_SLOTS; i++)		/* KVM refuses overlaps */
			assert_false(m->slot[i].len && m->slot[i].base < base + len &&
				     base < m->slot[i].base + m->slot[i].len);
	}
	m->slot[slot].base = base;
	m->slot[slot].len = len;
	return 0;
}

static bool mapped(const struct model *m, ipa_t ipa)
{
	for (unsigned int i = 0; i < MAX_SLOTS; i++)
		if (m->slot[i].len && ipa >= m->slot[i].base &&
		    ipa - m->slot[i].base < m->slot[i].len)
			return true;
	return false;
}

static void random_cuts(void **state)
{
	static uint8_t want[PAGES];
	struct model m = { .fail_after = -1 };
	const struct slots_ops ops = { set, &m };
	struct slots *s = slots_new(&ops, 10, MAX_SLOTS);
	unsigned int seed = 7;

	(void)state;
	assert_non_null(s);
	assert_int_equal(slots_add(s, BASE, PAGES * GRANULE_SIZE), 0);
	memset(want, 1, sizeof(want));
	for (int round = 0; round < 5000; round++) {
		unsigned int a = rand_r(&seed) % PAGES, n = rand_r(&seed) % MIN(PAGES - a, 24U) + 1;
		bool add = rand_r(&seed) % 2;
		unsigned int runs = 0;

		assert_int_equal((add ? slots_add : slots_cut)(s, BASE + a * GRANULE_SIZE,
							       n * GRANULE_SIZE), 0);
		memset(want + a, add, n);
		for (unsigned int i = 0; i < PAGES; i++) {
			assert_int_equal(mapped(&m, BASE + i * GRANULE_SIZE), want[i]);
			runs += want[i] && (i == 0 || !want[i - 1]);
		}
		/* neighbours are joined: as few slots as there are stretches */
		assert_int_equal(slots_count(s), runs);
	}
	slots_free(s);
}

static void too_many(void **state)
{
	struct model m = { .fail_after = -1 };
	const struct slots_ops ops = { set, &m };
	struct slots *s = slots_new(&ops, 10, 4);
	int ret = 0;

	(void)state;
	assert_int_equal(slots_add(s, BASE, PAGES * GRANULE_SIZE), 0);
	for (unsigned int i = 1; i < 16 && !ret; i += 2)
		ret = slots_cut(s, BASE + i * GRANULE_SIZE, GRANULE_SIZE);
	assert_int_equal(ret, -ENOSPC);
	/* refused before anything was taken apart */
	for (unsigned int i = 7; i < PAGES; i++)
		assert_true(mapped(&m, BASE + i * GRANULE_SIZE));
	slots_free(s);
}

static void kernel_says_no(void **state)
{
	for (int n = 0; n < 6; n++) {
		struct model m = { .fail_after = -1 };
		const struct slots_ops ops = { set, &m };
		struct slots *s = slots_new(&ops, 10, MAX_SLOTS);
		int ret;

		(void)state;
		assert_int_equal(slots_add(s, BASE, PAGES * GRANULE_SIZE), 0);
		m.fail_after = n;
		ret = slots_cut(s, BASE + 8 * GRANULE_SIZE, GRANULE_SIZE);
		assert_int_equal(ret, n < 3 ? -ENOMEM : 0);
		if (n)
			assert_false(mapped(&m, BASE + 8 * GRANULE_SIZE));
		slots_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_cuts),
		cmocka_unit_test(too_many),
		cmocka_unit_test(kernel_says_no),
	};

	return cmocka_run_group_tests_name("slots", tests, NULL, NULL);
}
