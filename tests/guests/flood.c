// SPDX-License-Identifier: BSD-3-Clause
/*
 * Many numbered lines of 58 bytes on the console (bootargs lines=N): nothing may be lost or
 * reordered. Looks at the line status once for 16 bytes, a FIFO's length.
 */
#include "guest.h"

void guest_main(void)
{
	unsigned int n = (unsigned int)arg_num("lines", 1000), room = 0;
	char line[] = "# line 000000 0123456789012345678901234567890123456789012\n";
	u64 u = io(UART0);

	wr8(u + 2, 1);			/* FIFO on */
	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int j = 12, v = i; j > 6; j--, v /= 10)
			line[j] = (char)('0' + v % 10);
		for (const char *p = line; *p; p++, room--) {
			if (!room) {
				wait_until(rd8(u + 5) & 0x20, 10000);
				room = 16;
			}
			wr8(u, (u8)*p);
		}
	}
	check(true, "flood: all lines sent");
}
