// SPDX-License-Identifier: BSD-3-Clause
/* The MC146818 at 0x1010000: index register, data register behind it. */
#include "guest.h"

static u8 rtc(u8 index)
{
	wr8(io(RTC), index);
	return rd8(io(RTC) + 1);
}

static unsigned int num(u8 v, bool binary)
{
	return binary ? v : (v >> 4) * 10U + (v & 0xf);
}

void guest_main(void)
{
	bool bin = rtc(0x0b) & 4;
	unsigned int s0, s1, min, hour, day, mon, year;

	check_eq(rtc(0x0d) & 0x80, 0x80, "register D: time is valid");
	check_eq(rtc(0x0a) & 0x80, 0, "register A: no update in progress");
	s0 = num(rtc(0), bin);
	min = num(rtc(2), bin);
	hour = num(rtc(4) & 0x7f, bin);
	day = num(rtc(7), bin);
	mon = num(rtc(8), bin);
	year = num(rtc(9), bin);
	print("# %02u-%02u-%02u %02u:%02u:%02u\n", year, mon, day, hour, min, s0);
	check(s0 < 60 && min < 60 && hour < 24 && day >= 1 && day <= 31 && mon >= 1 && mon <= 12 &&
	      year < 100, "date and time are possible ones");
	check(wait_until((s1 = num(rtc(0), bin)) != s0, 3000), "the seconds go on");
}
