// SPDX-License-Identifier: BSD-3-Clause
/* Gives back what comes in on the console, in brackets, until q. bootargs: irq (waits in WFI). */
#include "guest.h"

void guest_main(void)
{
	u64 u = io(UART0);
	u8 c = 0;

	if (arg_has("irq")) {
		if (!gic_init()) {
			check(false, "GICv3 answers");
			return;
		}
		gic_enable(INTID_SPI0);
		wr8(u + 4, 0x08);		/* OUT2: the interrupt line is driven */
		wr8(u + 1, 1);			/* received data */
	}
	print("# ready\n");
	while (c != 'q') {
		while (!(rd8(u + 5) & 1)) {
			if (arg_has("irq")) {
				__asm__ volatile("wfi");
				/* level: taken here once, acknowledged by reading the byte */
				break;
			}
		}
		if (!(rd8(u + 5) & 1))
			continue;
		c = rd8(u);
		print("[%c]", c);
	}
	print("\n");
	check(true, "echo: q came");
}
