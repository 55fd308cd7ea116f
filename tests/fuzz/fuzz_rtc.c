// SPDX-License-Identifier: BSD-3-Clause
/*
 * The clock: accesses of a guest while the host's clock goes on and jumps. What it tells is a time
 * that was, or is; the guest's own bytes are kept, and the fixed bits are fixed.
 */
#include "tests/fuzz/fuzz.h"

#include <time.h>

#include "vmm/board/rtc.h"
#include "vmm/core/err.h"
#include "vmm/core/mmio.h"

#define BASE	0x1010000
#define LAST	253402300799	/* the last second of the year 9999 */

static int64_t host_time;

static int64_t now(void)
{
	return host_time;
}

static unsigned int get(struct mmio_bus *bus, unsigned int off)
{
	uint8_t val = 0;

	PROPERTY(mmio_access(bus, BASE + off, &val, 1, false));
	return val;
}

static void put(struct mmio_bus *bus, unsigned int off, uint8_t val)
{
	PROPERTY(mmio_access(bus, BASE + off, &val, 1, true));
}

static unsigned int cmos(struct mmio_bus *bus, unsigned int reg)
{
	put(bus, 0, reg);
	PROPERTY(get(bus, 0) == (reg & 0x7f));
	return get(bus, 1);
}

static int number(struct mmio_bus *bus, unsigned int reg)
{
	unsigned int bcd = cmos(bus, reg);

	PROPERTY((bcd & 0xf) < 10 && bcd >> 4 < 10);
	return (bcd >> 4) * 10 + (bcd & 0xf);
}

/* As a driver reads it: seconds first. Then it is this very second, even if that has passed. */
static void read_clock(struct mmio_bus *bus, bool late)
{
	struct tm tm;
	time_t t = host_time;

	PROPERTY(gmtime_r(&t, &tm));
	PROPERTY(number(bus, 0) == tm.tm_sec);
	host_time += late;
	PROPERTY(number(bus, 2) == tm.tm_min && number(bus, 4) == tm.tm_hour);
	PROPERTY((int)cmos(bus, 6) == tm.tm_wday + 1 && number(bus, 7) == tm.tm_mday);
	PROPERTY(number(bus, 8) == tm.tm_mon + 1);
	PROPERTY(number(bus, 0x32) * 100 + number(bus, 9) == tm.tm_year + 1900);
}

static bool has_meaning(unsigned int reg)
{
	return reg == 0x32 || (reg <= 0xd && reg != 1 && reg != 3 && reg != 5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct mmio_bus bus = { .nr = 0 };
	uint8_t kept[128] = { 0 };
	struct rtc *r;
	struct err e;

	host_time = in_u64(&in) % LAST;
	PROPERTY(!rtc_new(&bus, BASE, now, &r, &e));
	while (in.left) {
		uint8_t op = in_u8(&in), reg = in_u8(&in), val = in_u8(&in), any[8];
		unsigned int len = 1 + (val & 7);

		switch (op % 8) {
		case 0:
			host_time = (host_time + val) % LAST;
			break;
		case 1:
			host_time = in_u64(&in) % LAST;
			break;
		case 2:
			read_clock(&bus, val & 1);
			break;
		case 3 ... 4:
			put(&bus, 0, reg);
			put(&bus, 1, val);
			kept[reg & 0x7f] = val;
			break;
		case 5:
			reg &= 0x7f;
			if (!has_meaning(reg))
				PROPERTY(cmos(&bus, reg) == kept[reg]);
			break;
		case 6:
			/* any width, anywhere */
			in_bytes(&in, any, sizeof(any));
			PROPERTY(mmio_access(&bus, BASE + 2 + reg % 16, any, len, op & 8) ==
				 (reg % 16 + len <= 6));
			break;
		case 7:
			PROPERTY(!(cmos(&bus, 0xa) & 0x80) && (cmos(&bus, 0xb) & 6) == 2 &&
				 cmos(&bus, 0xd) == 0x80 && !cmos(&bus, 0xc));
			break;
		}
	}
	rtc_free(r);
	return 0;
}
