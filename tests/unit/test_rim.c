// SPDX-License-Identifier: BSD-3-Clause
/* The measurement against values that TF-RMM's own code produced, step by step. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "realm/rim.h"
#include "vmm/core/err.h"

static const struct rim_params params = {
	.algo = REALM_SHA256, .s2sz = 40, .num_bps = 5, .num_wps = 3,
};

/* content of granule g: byte k is 7k + 3 + g */
static void pattern(uint8_t *page, unsigned int g)
{
	for (unsigned int k = 0; k < GRANULE_SIZE; k++)
		page[k] = 7 * k + 3 + g;
}

static void check(const struct rim *r, const char *hex)
{
	char got[2 * REALM_HASH_MAX + 1];
	unsigned int n = strlen(hex) / 2;

	for (unsigned int i = 0; i < n; i++)
		sprintf(got + 2 * i, "%02x", r->value[i]);
	assert_string_equal(got, hex);
	for (unsigned int i = n; i < REALM_HASH_MAX; i++)
		assert_int_equal(r->value[i], 0);
}

static void step_by_step(void **state)
{
	uint64_t x[8] = { 0x8fe00000 };
	uint8_t page[GRANULE_SIZE];
	struct rim r;

	(void)state;
	assert_int_equal(rim_create(&r, &params), 0);
	check(&r, "f33498f22eed8d51fb28b95769b27275a8c69a469e26b0050f1e809c4e0146b4");
	pattern(page, 0);
	assert_int_equal(rim_data(&r, 0x80000000, page), 0);
	check(&r, "da692031b0574009a88a15ac3f38c0808c1fbba4d197ae607a9de5e18fa776af");
	pattern(page, 1);
	assert_int_equal(rim_data(&r, 0x80001000, page), 0);
	check(&r, "776a9af1dc059830025cccd09237171bbeda6fc008d1be3747ac4393e5162da5");
	assert_int_equal(rim_data(&r, 0x8fe00000, NULL), 0);
	check(&r, "fb86ad357c21cc2fc82a919349999686ec4e61ce4a1e7f8f36b526bd8728bd56");
	assert_int_equal(rim_rec(&r, 0x80000000, x), 0);
	check(&r, "26527c111778d7fe434b698028e6a4c11a2ff6b15e2ae843bb32d141ab62e9a2");
}

static void parameters(void **state)
{
	struct rim_params p = { .algo = REALM_SHA256, .s2sz = 48, .num_bps = 1, .num_wps = 1 };
	struct rim r;

	(void)state;
	assert_int_equal(rim_create(&r, &p), 0);
	check(&r, "6739dfb22b75ee1268d08dfa8369f501bc0b066243553f069f560d1fa1172973");
	p.algo = REALM_SHA512;
	assert_int_equal(rim_create(&r, &p), 0);
	check(&r, "799e434048fb57eb9d4f0e2a2b98158720377252deab2bdfcd69b5a8f82237f4"
		  "34bd6bb1c75bf160a2d49382f733b3439a3ff769e4ea5dd9a6f72239d44bbbab");
	p = (struct rim_params){ .algo = REALM_SHA256, .s2sz = 48, .num_bps = 5, .num_wps = 3 };
	assert_int_equal(rim_create(&r, &p), 0);
	check(&r, "8960d56826370aaa6fc9b3a041d4240689582ba41e2ad8bb8f9adf6d2a0cd5e7");
}

/* the same steps as a plan, with its pieces in the wrong order */
static void a_plan(void **state)
{
	static uint8_t image[2 * GRANULE_SIZE];
	static const uint8_t dtb[100];
	struct plan_piece d = { .name = "dtb", .ipa = 0x8fe00000, .len = sizeof(dtb),
				.span = GRANULE_SIZE, .buf = dtb, .fd = -1 };
	struct plan_piece k = { .name = "kernel", .ipa = 0x80000000, .len = sizeof(image),
				.span = sizeof(image), .buf = image, .fd = -1, .measured = true };
	struct plan p = { .pc = 0x80000000, .x = { 0x8fe00000 } };
	struct rim r;
	struct err e;

	(void)state;
	pattern(image, 0);
	pattern(image + GRANULE_SIZE, 1);
	assert_int_equal(plan_add(&p, &d, &e), 0);
	assert_int_equal(plan_add(&p, &k, &e), 0);
	assert_int_equal(plan_check(&p, 0x80000000, 0x20000000, &e), 0);
	assert_int_equal(rim_of_plan(&r, &params, &p, &e), 0);
	check(&r, "26527c111778d7fe434b698028e6a4c11a2ff6b15e2ae843bb32d141ab62e9a2");
	plan_clear(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(step_by_step),
		cmocka_unit_test(parameters),
		cmocka_unit_test(a_plan),
	};

	return cmocka_run_group_tests_name("rim", tests, NULL, NULL);
}
