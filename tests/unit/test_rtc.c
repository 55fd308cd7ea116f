// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "vmm/board/memmap.h"
#include "vmm/board/rtc.h"
#include "vmm/core/err.h"
#include "vmm/core/mmio.h"

static int64_t fake_time;

static int64_t fake_now(void)
{
	return fake_time;
}

struct fixture {
	struct mmio_bus bus;
	struct rtc *rtc;
};

static int setup(void **state)
{
	static struct fixture f;
	struct err e;

	f = (struct fixture){ 0 };
	*state = &f;
	return rtc_new(&f.bus, MAP_RTC_BASE, fake_now, &f.rtc, &e);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rtc_free(f->rtc);
	return 0;
}

static uint8_t get(struct fixture *f, uint8_t reg)
{
	uint8_t val = 0xee;

	assert_true(mmio_access(&f->bus, MAP_RTC_BASE, &reg, 1, true));
	assert_true(mmio_access(&f->bus, MAP_RTC_BASE + 1, &val, 1, false));
	return val;
}

static void set(struct fixture *f, uint8_t reg, uint8_t val)
{
	assert_true(mmio_access(&f->bus, MAP_RTC_BASE, &reg, 1, true));
	assert_true(mmio_access(&f->bus, MAP_RTC_BASE + 1, &val, 1, true));
}

static void assert_time(struct fixture *f, int century, int year, int month, int day, int wday,
			int hour, int min, int sec)
{
	assert_int_equal(get(f, 0x00), sec);
	assert_int_equal(get(f, 0x02), min);
	assert_int_equal(get(f, 0x04), hour);
	assert_int_equal(get(f, 0x06), wday);
	assert_int_equal(get(f, 0x07), day);
	assert_int_equal(get(f, 0x08), month);
	assert_int_equal(get(f, 0x09), year);
	assert_int_equal(get(f, 0x32), century);
}

static void time_is_bcd_and_24h(void **state)
{
	fake_time = 1798761599;		/* Thu 2026-12-31 23:59:59 UTC */
	assert_time(*state, 0x20, 0x26, 0x12, 0x31, 5, 0x23, 0x59, 0x59);
	fake_time = 951782400;		/* Tue 2000-02-29 00:00:00 UTC */
	assert_time(*state, 0x20, 0x00, 0x02, 0x29, 3, 0x00, 0x00, 0x00);
	fake_time = 4102444800;		/* Fri 2100-01-01 00:00:00 UTC */
	assert_time(*state, 0x21, 0x00, 0x01, 0x01, 6, 0x00, 0x00, 0x00);
	assert_int_equal(get(*state, 0x0b) & 0x06, 0x02);
}

static void time_is_not_torn(void **state)
{
	fake_time = 1798761599;
	assert_int_equal(get(*state, 0x00), 0x59);
	fake_time++;			/* a new year between two registers */
	assert_int_equal(get(*state, 0x02), 0x59);
	assert_int_equal(get(*state, 0x09), 0x26);
	/* The next reading begins with the seconds and sees it. */
	assert_int_equal(get(*state, 0x00), 0x00);
	assert_int_equal(get(*state, 0x09), 0x27);
	/* One that does not begin with them gets the time too, if it comes late enough. */
	fake_time += 120;
	assert_int_equal(get(*state, 0x02), 0x02);
	/* The host's clock went back. */
	fake_time -= 3600;
	assert_int_equal(get(*state, 0x04), 0x23);
}

static void time_cannot_be_set(void **state)
{
	static const uint8_t regs[] = { 0, 2, 4, 6, 7, 8, 9, 0x32 };

	fake_time = 1798761599;
	for (unsigned int i = 0; i < ARRAY_SIZE(regs); i++)
		set(*state, regs[i], 0x11);
	assert_time(*state, 0x20, 0x26, 0x12, 0x31, 5, 0x23, 0x59, 0x59);
}

static void control_registers(void **state)
{
	/* UIP is never set, whatever is written. */
	assert_int_equal(get(*state, 0x0a), 0x26);
	set(*state, 0x0a, 0xff);
	assert_int_equal(get(*state, 0x0a), 0x7f);
	/* The format stays. */
	set(*state, 0x0b, 0x84);
	assert_int_equal(get(*state, 0x0b), 0x82);
	/* C: no interrupt; D: valid; both read-only. */
	set(*state, 0x0c, 0xff);
	assert_int_equal(get(*state, 0x0c), 0);
	set(*state, 0x0d, 0);
	assert_int_equal(get(*state, 0x0d), 0x80);
	/* The alarm is stored, the memory too. */
	set(*state, 0x05, 0x12);
	assert_int_equal(get(*state, 0x05), 0x12);
	set(*state, 0x7f, 0xa5);
	assert_int_equal(get(*state, 0x7f), 0xa5);
}

static void index_is_masked(void **state)
{
	set(*state, 0x80 | 0x40, 0x77);		/* bit 7: the PC's NMI mask */
	assert_int_equal(get(*state, 0x40), 0x77);
	for (unsigned int reg = 0; reg < 256; reg++)
		get(*state, reg);
}

static void odd_accesses(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[8];

	for (unsigned int off = 0; off < MAP_RTC_SIZE; off++) {
		for (unsigned int len = 1; off + len <= MAP_RTC_SIZE; len++) {
			memset(buf, 0xff, sizeof(buf));
			assert_true(mmio_access(&f->bus, MAP_RTC_BASE + off, buf, len, true));
			assert_true(mmio_access(&f->bus, MAP_RTC_BASE + off, buf, len, false));
			if (off > 1)
				assert_int_equal(buf[0], 0);
		}
	}
	assert_false(mmio_access(&f->bus, MAP_RTC_BASE + 7, buf, 2, false));
}

static void host_clock(void **state)
{
	struct mmio_bus bus = { 0 };
	struct fixture f = { 0 };
	time_t before = time(NULL), after;
	struct tm lo, hi;
	struct err e;
	uint8_t year;

	(void)state;
	assert_int_equal(rtc_new(&bus, MAP_RTC_BASE, NULL, &f.rtc, &e), 0);
	f.bus = bus;
	get(&f, 0);
	year = get(&f, 9);
	after = time(NULL);
	gmtime_r(&before, &lo);
	gmtime_r(&after, &hi);
	year = (year >> 4) * 10 + (year & 15);
	assert_in_range(year, lo.tm_year % 100, hi.tm_year % 100);
	rtc_free(f.rtc);
}

static void occupied_window(void **state)
{
	struct fixture *f = *state;
	struct rtc *second;
	struct err e;

	assert_int_equal(rtc_new(&f->bus, MAP_RTC_BASE, NULL, &second, &e), -EINVAL);
	assert_null(second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(time_is_bcd_and_24h, setup, teardown),
		cmocka_unit_test_setup_teardown(time_is_not_torn, setup, teardown),
		cmocka_unit_test_setup_teardown(time_cannot_be_set, setup, teardown),
		cmocka_unit_test_setup_teardown(control_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(index_is_masked, setup, teardown),
		cmocka_unit_test_setup_teardown(odd_accesses, setup, teardown),
		cmocka_unit_test(host_clock),
		cmocka_unit_test_setup_teardown(occupied_window, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
