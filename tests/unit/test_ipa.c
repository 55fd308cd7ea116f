// SPDX-License-Identifier: BSD-3-Clause
/* Arithmetic of the split IPA space. */
#include "tests/unit/unit.h"

#include "realm/ipa.h"

static void alias_and_back(void **state)
{
	static const unsigned int widths[] = { 33, 36, 40, 48, 52 };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(widths); i++) {
		struct ipa_split s = ipa_split(widths[i], true);
		ipa_t bit = UINT64_C(1) << (widths[i] - 1), last = bit - 1;

		assert_int_equal(s.shared, bit);
		assert_int_equal(ipa_to_alias(&s, 0x1000000), bit + 0x1000000);
		assert_int_equal(ipa_canonical(&s, bit + 0x1000000), 0x1000000);
		assert_int_equal(ipa_canonical(&s, 0x1000000), 0x1000000);
		/* the edges */
		assert_int_equal(ipa_to_alias(&s, last), bit + last);
		assert_int_equal(ipa_canonical(&s, bit + last), last);
		assert_int_equal(ipa_to_alias(&s, 0), bit);
		assert_false(ipa_is_alias(&s, last));
		assert_true(ipa_is_alias(&s, bit));
		/* once is enough */
		assert_int_equal(ipa_to_alias(&s, ipa_to_alias(&s, last)), bit + last);
	}
}

static void plain_has_no_split(void **state)
{
	struct ipa_split s = ipa_split(40, false);

	(void)state;
	assert_int_equal(s.shared, 0);
	assert_int_equal(ipa_to_alias(&s, 0x80000000), 0x80000000);
	assert_int_equal(ipa_canonical(&s, UINT64_C(1) << 39), UINT64_C(1) << 39);
	assert_false(ipa_is_alias(&s, UINT64_C(1) << 39));
	assert_int_equal(ipa_limit(&s), UINT64_C(1) << 40);
}

static void protected_range(void **state)
{
	struct ipa_split s = ipa_split(33, true);
	ipa_t half = UINT64_C(1) << 32;

	(void)state;
	assert_true(ipa_range_protected(&s, 0, half));
	assert_true(ipa_range_protected(&s, half - 0x1000, half));
	assert_false(ipa_range_protected(&s, half - 0x1000, half + 0x1000));
	assert_false(ipa_range_protected(&s, half, half + 0x1000));
	assert_false(ipa_range_protected(&s, 0x1000, 0x1000));
	assert_false(ipa_range_protected(&s, 0x2000, 0x1000));
	assert_false(ipa_range_protected(&s, 0x1000, 0));
	assert_false(ipa_range_protected(&s, UINT64_MAX - 0xfff, 0));
}

static void width_is_chosen(void **state)
{
	(void)state;
	assert_int_equal(ipa_bits_needed(UINT64_C(0xa0000000), true), 33);
	assert_int_equal(ipa_bits_needed(UINT64_C(0x100000000), true), 33);
	assert_int_equal(ipa_bits_needed(UINT64_C(0x100000001), true), 34);
	assert_int_equal(ipa_bits_needed(UINT64_C(0x100001000), true), 34);
	assert_int_equal(ipa_bits_needed(UINT64_C(0xa0000000), false), 32);
	assert_int_equal(ipa_bits_needed(UINT64_C(1) << 40, false), 40);
	assert_int_equal(ipa_bits_needed(UINT64_C(1) << 40, true), 41);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alias_and_back),
		cmocka_unit_test(plain_has_no_split),
		cmocka_unit_test(protected_range),
		cmocka_unit_test(width_is_chosen),
	};

	return cmocka_run_group_tests_name("ipa", tests, NULL, NULL);
}
