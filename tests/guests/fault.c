// SPDX-License-Identifier: BSD-3-Clause
/*
 * Goes wrong on purpose, for crash reports. bootargs: jump (fetch from nowhere, with the vectors
 * there too), undef (undefined instruction for ever), nisv (device access without a syndrome),
 * spin (runs and never says anything), wait (says so, then sleeps for ever).
 */
#include "guest.h"

void guest_main(void)
{
	if (arg_has("spin"))
		for (;;)
			__asm__ volatile("" ::: "memory");
	print("# going wrong: %s\n", guest.args);
	if (arg_has("wait"))
		for (;;)
			__asm__ volatile("wfi");
	if (arg_has("nisv")) {
		trap_arm();
		__asm__ volatile("ldp xzr, x9, [%0]" : : "r"(io(UART0)) : "x9", "memory");
		print("# nisv: %u exceptions, ESR 0x%lx\n", trap_end(), this_cpu()->esr);
		check(this_cpu()->traps == 1, "fault: LDP on a device is an abort");
		return;
	}
	write_sysreg(vbar_el1, HOLE);
	if (arg_has("undef"))
		__asm__ volatile("udf #0");
	((void (*)(void))HOLE)();
}
