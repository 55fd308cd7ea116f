// SPDX-License-Identifier: BSD-3-Clause
/*
 * CPUs that never leave the guest by themselves: no call, no device, interrupts masked. Says
 * "# ready" first. Whoever runs it must be able to end it.
 */
#include "guest.h"

static void spin(struct cpu *c)
{
	irqs_off();
	c->data[0] = 1;
	barrier();
	for (;;)
		__asm__ volatile("nop");
}

void guest_main(void)
{
	bool ok = true;

	for (unsigned int i = 1; i < guest.nr_cpus; i++)
		ok &= cpu_on(i, spin) == 0 && wait_until(cpu_nr(i)->data[0], 20000);
	check(ok, "every CPU spins");
	print("# ready\n");
	spin(this_cpu());
}
