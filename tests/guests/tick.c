// SPDX-License-Identifier: BSD-3-Clause
/*
 * Looks at the counter again and again until q comes on the console, then says how much it advanced
 * in all and at most between two looks, in milliseconds. A guest that was kept from running and
 * whose clock went on has a gap.
 */
#include "guest.h"

void guest_main(void)
{
	u64 u = io(UART0), begin = now(), last = begin, gap = 0;

	print("# ready\n");
	while (!(rd8(u + 5) & 1) || rd8(u) != 'q') {
		u64 t = now();

		if (t - last > gap)
			gap = t - last;
		last = t;
	}
	print("# ticked %u ms, gap %u ms\n", (unsigned int)((last - begin) / ticks_ms(1)),
	      (unsigned int)(gap / ticks_ms(1)));
	check(true, "tick: q came");
}
