// SPDX-License-Identifier: BSD-3-Clause
/*
 * Resets. bootargs: silent (resets at once, without a byte on the console), ask (waits for input:
 * r resets, o powers off). Without: says "boot" and resets.
 */
#include "guest.h"

void guest_main(void)
{
	if (arg_has("silent")) {
		psci(PSCI_SYSTEM_RESET, 0, 0, 0);
		for (;;)
			__asm__ volatile("wfi");
	}
	print("# boot, realm %u\n", guest.realm);
	/* what a boot leaves in memory must not be there after a reset */
	{
		volatile u64 *mark = (volatile u64 *)(guest.ram_base + guest.ram_size - PAGE);

		check_eq(*mark, 0, "memory is clean");
		*mark = 0x5a5a5a5a5a5a5a5a;
	}
	if (arg_has("ask")) {
		for (;;) {
			u8 c;

			while (!(rd8(io(UART0) + 5) & 1))
				;
			c = rd8(io(UART0));
			if (c == 'o')
				return;
			if (c == 'r')
				break;
		}
	}
	psci(PSCI_SYSTEM_RESET, 0, 0, 0);
	check(false, "SYSTEM_RESET does not return");
}
