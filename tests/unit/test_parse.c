// SPDX-License-Identifier: BSD-3-Clause
/* Text to values: what is accepted, and that everything else is refused whole. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "vmm/core/parse.h"

#define UNTOUCHED 0x1234567890abcdefULL

static void u64_ok(const char *text, uint64_t want)
{
	uint64_t v = UNTOUCHED;

	if (parse_u64(text, &v) || v != want)
		fail_msg("\"%s\" became %" PRIu64, text, v);
}

static void u64_bad(const char *text, int want)
{
	uint64_t v = UNTOUCHED;
	int ret = parse_u64(text, &v);

	if (ret != want || v != UNTOUCHED)
		fail_msg("\"%s\" returned %d, value %" PRIu64, text, ret, v);
}

static void numbers(void **state)
{
	u64_ok("0", 0);
	u64_ok("00", 0);
	u64_ok("1", 1);
	u64_ok("4294967296", 1ULL << 32);
	u64_ok("18446744073709551615", UINT64_MAX);
	u64_ok("0x0", 0);
	u64_ok("0xfF", 255);
	u64_ok("0XffffFFFFffffFFFF", UINT64_MAX);
	u64_ok("0777", 0777);
	u64_ok("01777777777777777777777", UINT64_MAX);
}

static void not_numbers(void **state)
{
	static const char *const bad[] = {
		"",	" ",  "x",  "-1",  "+1",  " 1",	 "1 ", "4x",  "0x",  "0xg",
		"0x-1", "08", "09", "1.5", "1e3", "1,2", "٣",  "0b1", "1\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		u64_bad(bad[i], -EINVAL);
}

static void too_large_numbers(void **state)
{
	u64_bad("18446744073709551616", -ERANGE);
	u64_bad("99999999999999999999999999999999", -ERANGE);
	u64_bad("0x10000000000000000", -ERANGE);
	u64_bad("02000000000000000000000", -ERANGE);
}

static void size_ok(const char *text, uint64_t want)
{
	uint64_t v = UNTOUCHED;

	if (parse_size(text, SZ_1M, &v) || v != want)
		fail_msg("\"%s\" became %" PRIu64, text, v);
}

static void sizes(void **state)
{
	uint64_t v;

	size_ok("512", 512 * SZ_1M);
	size_ok("256m", 256 * SZ_1M);
	size_ok("256M", 256 * SZ_1M);
	size_ok("4096b", 4096);
	size_ok("4096B", 4096);
	size_ok("64k", SZ_64K);
	size_ok("1G", SZ_1G);
	size_ok("2t", 2048 * SZ_1G);
	size_ok("1P", SZ_1G * SZ_1M);
	size_ok("0x200", 512 * SZ_1M);
	size_ok("0x10K", 16384);
	size_ok("0x1b", 27 * SZ_1M); /* the b is a digit */
	size_ok("010", 8 * SZ_1M);
	size_ok("0", 0);
	size_ok("16383P", 16383ULL << 50);
	assert_int_equal(parse_size("7", 1, &v), 0);
	assert_int_equal(v, 7);
}

static void not_sizes(void **state)
{
	static const char *const bad[] = {
		"",    "M",  "-1M", "1MM",  "1MiB", "1 M",   "1x",
		"1M ", "1@", "1E",  "1.5G", "0xM",  "1\x8d", /* 0x8d | 0x20 must not pass for a unit
							      */
	};
	uint64_t v = UNTOUCHED;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse_size(bad[i], SZ_1M, &v) != -EINVAL)
			fail_msg("\"%s\" is accepted", bad[i]);
	assert_int_equal(parse_size("16384P", SZ_1M, &v), -ERANGE);
	assert_int_equal(parse_size("17592186044416", SZ_1M, &v), -ERANGE); /* 2^44 MiB */
	assert_int_equal(parse_size("18446744073709551616", 1, &v), -ERANGE);
	assert_true(v == UNTOUCHED);
}

static void bools(void **state)
{
	bool v = false;

	assert_int_equal(parse_bool("yes", &v), 0);
	assert_true(v);
	assert_int_equal(parse_bool("off", &v), 0);
	assert_false(v);
	assert_int_equal(parse_bool("1", &v), 0);
	assert_true(v);
	assert_int_equal(parse_bool("false", &v), 0);
	assert_false(v);
	assert_int_equal(parse_bool("", &v), -EINVAL);
	assert_int_equal(parse_bool("yess", &v), -EINVAL);
	assert_int_equal(parse_bool("Yes", &v), -EINVAL);
}

static void cpu_lists(void **state)
{
	static const char *const bad[] = {
		"", ",", "1,", ",1", "1,,2", "1-", "-1", "3-1", "1-2-3", "a", "1 ", "1;2", "0-3:2",
	};
	cpu_set_t s;

	assert_int_equal(parse_cpu_list("0", &s), 0);
	assert_int_equal(CPU_COUNT(&s), 1);
	assert_true(CPU_ISSET(0, &s));
	assert_int_equal(parse_cpu_list("0-3,5,4-5,1023", &s), 0);
	assert_int_equal(CPU_COUNT(&s), 7);
	assert_true(CPU_ISSET(3, &s) && CPU_ISSET(5, &s) && CPU_ISSET(1023, &s));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse_cpu_list(bad[i], &s) != -EINVAL)
			fail_msg("\"%s\" is accepted", bad[i]);
	assert_int_equal(parse_cpu_list("1024", &s), -ERANGE);
	assert_int_equal(parse_cpu_list("0-18446744073709551615", &s), -ERANGE);
	assert_int_equal(parse_cpu_list("0-18446744073709551616", &s), -ERANGE);
}

static void hex(void **state)
{
	uint8_t b[4] = {0};
	size_t n = 99;

	assert_int_equal(parse_hex("00fFa5", b, sizeof(b), &n), 0);
	assert_int_equal(n, 3);
	assert_memory_equal(b, "\x00\xff\xa5", 3);
	assert_int_equal(parse_hex("01020304", b, sizeof(b), &n), 0);
	assert_int_equal(n, 4);
	assert_int_equal(parse_hex("0102030405", b, sizeof(b), &n), -ERANGE);
	assert_int_equal(parse_hex("", b, sizeof(b), &n), -EINVAL);
	assert_int_equal(parse_hex("012", b, sizeof(b), &n), -EINVAL);
	assert_int_equal(parse_hex("0g", b, sizeof(b), &n), -EINVAL);
	assert_int_equal(parse_hex("0x11", b, sizeof(b), &n), -EINVAL);
}

static const char *nearest_of(const char *word)
{
	static const char *const names[] = {
		"mem",	 "kernel",     "initrd", "params", "firmware", "firmware-address",
		"debug", "debug-mmio", "disk",	 "cpus",   "realm",    "realm-pv",
	};
	struct nearest n = {.word = word};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		nearest_offer(&n, names[i]);
	return n.best ? n.best : "none";
}

static void near_words(void **state)
{
	assert_string_equal(nearest_of("kernal"), "kernel");
	assert_string_equal(nearest_of("kenrel"), "kernel"); /* a swap */
	assert_string_equal(nearest_of("kernell"), "kernel");
	assert_string_equal(nearest_of("kern"), "kernel");   /* cut short */
	assert_string_equal(nearest_of("memory"), "mem");    /* spelt out */
	assert_string_equal(nearest_of("firm"), "firmware"); /* the shorter of two */
	assert_string_equal(nearest_of("debug-mimo"), "debug-mmio");
	assert_string_equal(nearest_of("cpu"), "cpus");
	assert_string_equal(nearest_of("disc"), "disk");
	assert_string_equal(nearest_of("realmpv"), "realm-pv");
}

static void far_words(void **state)
{
	static const char long_word[] =
		"kernelkernelkernelkernelkernelkernelkernelkernelkernelkernelkernelkernelkernel";

	assert_string_equal(nearest_of(""), "none");
	assert_string_equal(nearest_of("smp"), "none");
	assert_string_equal(nearest_of("z"), "none");
	assert_string_equal(nearest_of("machine"), "none");
	assert_string_equal(nearest_of("xkxexrxnxexl"), "none");
	assert_string_equal(nearest_of(long_word), "none");
}

static void base64(void **state)
{
	uint8_t b[4];
	size_t n;

	assert_int_equal(parse_base64("AP8Q", b, sizeof(b), &n), 0);
	assert_int_equal(n, 3);
	assert_memory_equal(b, "\x00\xff\x10", 3);
	assert_int_equal(parse_base64("+/-_", b, sizeof(b), &n), 0);	/* both alphabets */
	assert_memory_equal(b, "\xfb\xff\xbf", 3);
	assert_int_equal(parse_base64("AA==", b, sizeof(b), &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(parse_base64("AAA", b, sizeof(b), &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(parse_base64("AAAAAA", b, sizeof(b), &n), 0);
	assert_int_equal(n, 4);
	assert_int_equal(parse_base64("AAAAAAA", b, sizeof(b), &n), -ERANGE);
	assert_int_equal(parse_base64("", b, sizeof(b), &n), -EINVAL);
	assert_int_equal(parse_base64("A", b, sizeof(b), &n), -EINVAL);
	assert_int_equal(parse_base64("AA=", b, sizeof(b), &n), -EINVAL);
	assert_int_equal(parse_base64("AA==A", b, sizeof(b), &n), -EINVAL);
	assert_int_equal(parse_base64("AB==", b, sizeof(b), &n), -EINVAL);	/* stray bits */
	assert_int_equal(parse_base64("AA A", b, sizeof(b), &n), -EINVAL);
}

static void base64_out(void **state)
{
	uint8_t in[10], back[10];
	char text[BASE64_SIZE(sizeof(in))];
	size_t n;

	format_base64((const uint8_t *)"\xfb\xff", 2, false, text);
	assert_string_equal(text, "+/8=");
	format_base64((const uint8_t *)"\xfb\xff", 2, true, text);
	assert_string_equal(text, "-_8");
	format_base64(in, 0, false, text);
	assert_string_equal(text, "");
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = 0xf3 - 29 * i;
	for (size_t len = 1; len <= sizeof(in); len++) {
		for (int url = 0; url < 2; url++) {
			format_base64(in, len, url, text);
			assert_true(strlen(text) < BASE64_SIZE(len));
			assert_int_equal(parse_base64(text, back, sizeof(back), &n), 0);
			assert_int_equal(n, len);
			assert_memory_equal(in, back, len);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),	     cmocka_unit_test(not_numbers),
		cmocka_unit_test(too_large_numbers), cmocka_unit_test(sizes),
		cmocka_unit_test(not_sizes),	     cmocka_unit_test(bools),
		cmocka_unit_test(cpu_lists),	     cmocka_unit_test(hex),
		cmocka_unit_test(base64),	     cmocka_unit_test(base64_out),
		cmocka_unit_test(near_words),	     cmocka_unit_test(far_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
