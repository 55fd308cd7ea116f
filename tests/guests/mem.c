// SPDX-License-Identifier: BSD-3-Clause
/* Every page of RAM that the devicetree promises is there, zero at entry, and its own. */
#include "guest.h"

extern char _start[], _end[];

/* Pages that belong to somebody: this payload, the devicetree. */
static bool taken(u64 a)
{
	return (a + PAGE > (u64)_start - PAGE && a < (u64)_end) ||
	       (a + PAGE > guest.dtb && a < guest.dtb + 0x10000);
}

void guest_main(void)
{
	u64 a, end = guest.ram_base + guest.ram_size, wrong = 0, dirty = 0;
	/* all pages of a small guest, a sample with odd distances of a large one */
	u64 step = guest.ram_size > (64UL << 20) ? 37 * PAGE : PAGE;

	check_eq(guest.ram_size >> 20, arg_num("mem", guest.ram_size >> 20),
		 "as much RAM as was asked for");
	for (a = guest.ram_base; a < end; a += step) {
		if (taken(a))
			continue;
		if (rd64(a) || rd64(a + PAGE - 8))
			dirty++;
		wr64(a, a ^ 0x1234);
		wr64(a + PAGE - 8, ~a);
	}
	for (a = guest.ram_base; a < end; a += step)
		if (!taken(a) && (rd64(a) != (a ^ 0x1234) || rd64(a + PAGE - 8) != ~a))
			wrong++;
	check_eq(dirty, 0, "memory is zero at entry");
	check_eq(wrong, 0, "every page keeps what is written");
	check_eq(guest.dtb & 0x1fffff, 0, "the devicetree is 2 MiB aligned");
	check(guest.dtb >= guest.ram_base && guest.dtb + 0x10000 <= end, "the devicetree is in RAM");
}
