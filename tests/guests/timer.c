// SPDX-License-Identifier: BSD-3-Clause
/* The virtual timer: frequency, counter, the interrupt, and WFI that ends with it. */
#include "guest.h"

static void hook(unsigned int intid)
{
	if (intid == INTID_VTIMER)
		write_sysreg(cntv_ctl_el0, 0);
	if (intid == INTID_PTIMER)
		write_sysreg(cntp_ctl_el0, 0);
}

/* The physical timer, which the guest has as well. */
static void test_physical(void)
{
	u64 t0 = now();

	gic_enable(INTID_PTIMER);
	write_sysreg(cntp_tval_el0, ticks_ms(20));
	write_sysreg(cntp_ctl_el0, 1);
	__asm__ volatile("wfi");
	check(now() - t0 < ticks_ms(10000), "WFI ends with the physical timer, too");
	irqs_on();
	check(wait_until(irq_seen(INTID_PTIMER), 1000), "and its interrupt arrives");
	irqs_off();
}

/* A wait that ends by itself (FEAT_WFxT), with no timer set. */
static void test_timed_wait(void)
{
	u64 t0 = now();
	register u64 end __asm__("x8") = t0 + ticks_ms(20);
	bool has = (read_sysreg(S3_0_C0_C6_2) & 0xf) >= 2;	/* ID_AA64ISAR2_EL1.WFxT */

	if (has)
		__asm__ volatile(".inst 0xd5031028" : : "r"(end));	/* wfit x8 */
	else
		print("# no FEAT_WFxT\n");
	check(now() - t0 < ticks_ms(10000), "WFIT ends, where the CPU has it");
}

void guest_main(void)
{
	u64 f = read_sysreg(cntfrq_el0), t0, t1;

	check(f >= 1000000 && f <= 2000000000, "counter frequency is plausible");
	t0 = now();
	check(wait_until(now() > t0 + 100, 1000) && now() > t0, "the counter counts");

	if (!check(gic_init(), "GICv3 answers"))
		return;
	irq_hook = hook;
	gic_enable(INTID_VTIMER);

	t0 = now();
	write_sysreg(cntv_tval_el0, ticks_ms(20));
	write_sysreg(cntv_ctl_el0, 1);
	__asm__ volatile("wfi");
	t1 = now();
	check(t1 - t0 < ticks_ms(10000), "WFI ends");
	check(wait_until(read_sysreg(cntv_ctl_el0) & 4, 1000), "the timer's condition is met");
	check(!irq_seen(INTID_VTIMER), "no interrupt while they are masked");
	irqs_on();
	check(wait_until(irq_seen(INTID_VTIMER), 1000), "the interrupt arrives once they are not");
	irqs_off();

	irq_clear();
	write_sysreg(cntv_tval_el0, ticks_ms(20));
	write_sysreg(cntv_ctl_el0, 3);		/* IMASK */
	irqs_on();
	wait_until(false, 100);
	irqs_off();
	check(!irq_seen(INTID_VTIMER), "a masked timer is silent");
	write_sysreg(cntv_ctl_el0, 0);

	/* a hundred in a row: no lost wake-up */
	irqs_on();
	for (int i = 0; i < 100; i++) {
		this_cpu()->nr_irqs = 0;
		write_sysreg(cntv_tval_el0, ticks_ms(1));
		write_sysreg(cntv_ctl_el0, 1);
		if (!wait_until(this_cpu()->nr_irqs == 1, 2000)) {
			check(false, "a hundred timer interrupts (stuck at %u)", (unsigned int)i);
			return;
		}
	}
	check(true, "a hundred timer interrupts");
	irqs_off();
	test_physical();
	test_timed_wait();
}
