// SPDX-License-Identifier: BSD-3-Clause
/* Every CPU: its redistributor, its virtual timer, and a software interrupt from CPU 0. */
#include "guest.h"

#define SGI 5

static void worker(struct cpu *c)
{
	c->data[1] = gic_init();
	gic_enable(SGI);
	gic_enable(INTID_VTIMER);
	irqs_on();
	c->data[0] = 1;
	barrier();
	c->data[2] = wait_until(irq_seen(SGI), 5000);
	irqs_off();
	irq_clear();
	write_sysreg(cntv_tval_el0, ticks_ms(5));
	write_sysreg(cntv_ctl_el0, 1);
	/* A pending interrupt ends WFI though it is masked. */
	__asm__ volatile("wfi");
	irqs_on();
	c->data[3] = wait_until(irq_seen(INTID_VTIMER), 5000);
	barrier();
	c->data[4] = 1;
}

/* The timer's output is a level: switched off where it is taken. */
static void hook(unsigned int intid)
{
	if (intid == INTID_VTIMER)
		write_sysreg(cntv_ctl_el0, 0);
}

void guest_main(void)
{
	bool gic = true, sgi = true, timer = true, done_ = true;

	irq_hook = hook;
	check_eq(guest.nr_cpus, arg_num("cpus", guest.nr_cpus), "as many CPUs as were asked for");
	check(gic_init(), "CPU 0 has its redistributor");
	for (unsigned int i = 1; i < guest.nr_cpus; i++) {
		struct cpu *c = cpu_nr(i);
		u64 m = guest.mpidr[i];

		if (cpu_on(i, worker) || !wait_until(c->data[0], 5000)) {
			print("# CPU %u does not start\n", i);
			done_ = false;
			continue;
		}
		/* ICC_SGI1R_EL1: target list of 16, the affinities above it */
		write_sysreg(S3_0_C12_C11_5, (m >> 32 & 0xff) << 48 | (m >> 16 & 0xff) << 32 |
			     (u64)SGI << 24 | (m >> 8 & 0xff) << 16 | 1UL << (m & 0xf));
		done_ &= wait_until(c->data[4], 12000);
		gic &= c->data[1];
		sgi &= c->data[2];
		timer &= c->data[3];
	}
	check(done_, "every CPU came to the end of its part");
	check(gic, "every CPU has its redistributor");
	check(sgi, "every CPU gets a software interrupt from CPU 0");
	check(timer, "every CPU's virtual timer wakes it from WFI");
}
