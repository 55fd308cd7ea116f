// SPDX-License-Identifier: BSD-3-Clause
/* The RIPAS map, against a byte per granule. */
#include "tests/unit/unit.h"

#include <errno.h>

#include <stdlib.h>
#include <string.h>

#include "realm/ripas.h"
#include "vmm/core/err.h"

#define BASE	UINT64_C(0x80000000)
#define PAGES	1000		/* no multiple of 64 */
#define SIZE	(PAGES * GRANULE_SIZE)

static void starts_as_asked(void **state)
{
	struct ripas r;
	enum ripas_state s;

	(void)state;
	assert_int_equal(ripas_init(&r, BASE, SIZE, RIPAS_RAM, NULL), 0);
	assert_int_equal(ripas_run(&r, BASE, BASE + SIZE, &s), BASE + SIZE);
	assert_int_equal(s, RIPAS_RAM);
	assert_int_equal(r.ram, PAGES);
	ripas_destroy(&r);
	assert_int_equal(ripas_init(&r, BASE, SIZE, RIPAS_EMPTY, NULL), 0);
	assert_true(ripas_is_shared(&r, BASE, SIZE));
	assert_int_equal(r.ram, 0);
	ripas_destroy(&r);
}

static void bad_sizes(void **state)
{
	struct ripas r;
	struct err e;

	(void)state;
	assert_int_equal(ripas_init(&r, BASE, 0, RIPAS_RAM, &e), -EINVAL);
	assert_int_equal(ripas_init(&r, BASE + 1, SIZE, RIPAS_RAM, &e), -EINVAL);
	assert_int_equal(ripas_init(&r, BASE, SIZE + 1, RIPAS_RAM, &e), -EINVAL);
}

static void outside_is_empty(void **state)
{
	struct ripas r;
	enum ripas_state s;

	(void)state;
	assert_int_equal(ripas_init(&r, BASE, SIZE, RIPAS_RAM, NULL), 0);
	assert_int_equal(ripas_get(&r, BASE - 1), RIPAS_EMPTY);
	assert_int_equal(ripas_get(&r, BASE + SIZE), RIPAS_EMPTY);
	assert_int_equal(ripas_get(&r, UINT64_MAX), RIPAS_EMPTY);
	/* a run stops where RAM begins, and where the map ends */
	assert_int_equal(ripas_run(&r, 0x1000, BASE + SIZE, &s), BASE);
	assert_int_equal(s, RIPAS_EMPTY);
	assert_int_equal(ripas_run(&r, BASE, BASE + SIZE + 0x5000, &s), BASE + SIZE);
	assert_int_equal(s, RIPAS_RAM);
	assert_int_equal(ripas_run(&r, BASE + SIZE, BASE + SIZE + 0x5000, &s),
			 BASE + SIZE + 0x5000);
	assert_int_equal(s, RIPAS_EMPTY);
	/* EMPTY but no RAM: nothing that a device may touch */
	assert_false(ripas_is_shared(&r, 0x1000, 1));
	assert_false(ripas_is_shared(&r, BASE + SIZE, 1));
	ripas_destroy(&r);
}

static void shared_to_the_byte(void **state)
{
	struct ripas r;

	(void)state;
	assert_int_equal(ripas_init(&r, BASE, SIZE, RIPAS_RAM, NULL), 0);
	ripas_set(&r, BASE + 0x3000, 0x2000, RIPAS_EMPTY);
	assert_true(ripas_is_shared(&r, BASE + 0x3000, 0x2000));
	assert_true(ripas_is_shared(&r, BASE + 0x3fff, 2));
	assert_true(ripas_is_shared(&r, BASE + 0x4fff, 1));
	assert_false(ripas_is_shared(&r, BASE + 0x4fff, 2));
	assert_false(ripas_is_shared(&r, BASE + 0x2fff, 2));
	assert_false(ripas_is_shared(&r, BASE + 0x3000, 0x2001));
	assert_false(ripas_is_shared(&r, BASE + 0x3000, 0));
	assert_false(ripas_is_shared(&r, BASE + 0x3000, UINT64_MAX));
	assert_false(ripas_is_shared(&r, BASE + 0x3000, UINT64_MAX - BASE));
	ripas_destroy(&r);
}

/* Random sets and questions, answered by a byte per granule as well. */
static void against_a_simple_model(void **state)
{
	static uint8_t model[PAGES];
	struct ripas r;
	unsigned int seed = 1;

	(void)state;
	assert_int_equal(ripas_init(&r, BASE, SIZE, RIPAS_RAM, NULL), 0);
	memset(model, RIPAS_RAM, sizeof(model));
	for (int round = 0; round < 20000; round++) {
		unsigned int a = rand_r(&seed) % PAGES, n = rand_r(&seed) % (PAGES - a) + 1;
		enum ripas_state want = rand_r(&seed) % 2, s;
		unsigned int ram = 0, end;
		bool shared = true;
		ipa_t top;

		if (round % 4 == 0) {
			ripas_set(&r, BASE + a * GRANULE_SIZE, n * GRANULE_SIZE, want);
			memset(model + a, want, n);
		}
		a = rand_r(&seed) % PAGES;
		n = rand_r(&seed) % (PAGES - a) + 1;
		for (end = a + 1; end < a + n && model[end] == model[a]; end++)
			;
		top = ripas_run(&r, BASE + a * GRANULE_SIZE, BASE + (a + n) * GRANULE_SIZE, &s);
		assert_int_equal(s, model[a]);
		assert_int_equal(top, BASE + end * GRANULE_SIZE);
		for (unsigned int i = a; i < a + n; i++)
			shared &= model[i] == RIPAS_EMPTY;
		assert_int_equal(ripas_is_shared(&r, BASE + a * GRANULE_SIZE, n * GRANULE_SIZE),
				 shared);
		for (unsigned int i = 0; i < PAGES; i++)
			ram += model[i];
		assert_int_equal(r.ram, ram);
	}
	ripas_destroy(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_as_asked),
		cmocka_unit_test(bad_sizes),
		cmocka_unit_test(outside_is_empty),
		cmocka_unit_test(shared_to_the_byte),
		cmocka_unit_test(against_a_simple_model),
	};

	return cmocka_run_group_tests_name("ripas", tests, NULL, NULL);
}
