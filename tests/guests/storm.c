// SPDX-License-Identifier: BSD-3-Clause
/*
 * More interrupts than CPU 0 can like: software interrupts of all other CPUs, each sent as soon as
 * the one before was seen, its timer, and its UART, which it provokes whenever it comes to it. None
 * may be lost.
 */
#include "guest.h"

enum { IER = 1, IIR = 2, IER_THRE = 2 };

#define ROUNDS		100UL
#define TIMER_US	1000UL

static volatile u64 seen[16], timer, uart;

static void again(void)
{
	write_sysreg(cntv_tval_el0, read_sysreg(cntfrq_el0) * TIMER_US / 1000000);
	write_sysreg(cntv_ctl_el0, 1);
}

static void hook(unsigned int intid)
{
	u64 u = io(UART0);

	if (intid < 16) {
		seen[intid]++;
	} else if (intid == INTID_VTIMER) {
		timer++;
		again();
	} else if (intid == INTID_SPI0) {
		uart += (rd8(u + IIR) & 0xf) == IER_THRE;
		wr8(u + IER, 0);
	}
}

/* SGI number c->nr to CPU 0 */
static void sender(struct cpu *c)
{
	u64 m = guest.mpidr[0];

	write_sysreg(S3_0_C12_C12_5, 7);				/* ICC_SRE_EL1 */
	while (c->data[0] < ROUNDS) {
		/* ICC_SGI1R_EL1 */
		write_sysreg(S3_0_C12_C11_5, (m >> 32 & 0xff) << 48 | (m >> 16 & 0xff) << 32 |
			     (u64)c->nr << 24 | (m >> 8 & 0xff) << 16 | 1UL << (m & 0xf));
		if (!wait_until(seen[c->nr] > c->data[0], 20000))
			break;
		c->data[0]++;
	}
	c->data[1] = 1;
}

void guest_main(void)
{
	unsigned int n = guest.nr_cpus < 16 ? guest.nr_cpus : 16, done_ = 0, lost = 0, started = 0;
	u64 provoked = 0, u = io(UART0);

	if (!check(n >= 2, "two CPUs or more") || !check(gic_init(), "GICv3 answers"))
		return;
	irq_hook = hook;
	for (unsigned int i = 1; i < n; i++)
		gic_enable(i);
	gic_enable(INTID_VTIMER);
	gic_enable(INTID_SPI0);
	wr8(u + 4, 0x08);						/* OUT2 drives the line */
	irqs_on();
	again();
	for (unsigned int i = 1; i < n; i++)
		started += cpu_on(i, sender) == 0;
	while (done_ < started) {
		/* enabled with an empty transmitter, the interrupt comes at once */
		if (uart == provoked) {
			provoked++;
			wr8(u + IER, IER_THRE);
		}
		done_ = 0;
		for (unsigned int i = 1; i < n; i++)
			done_ += cpu_nr(i)->data[1];
	}
	wait_until(uart == provoked, 5000);
	irqs_off();
	write_sysreg(cntv_ctl_el0, 0);

	print("# %lu of the timer, %lu of the UART\n", timer, uart);
	check_eq(started, n - 1, "the other CPUs start");
	for (unsigned int i = 1; i < n; i++)
		lost += cpu_nr(i)->data[0] != ROUNDS || seen[i] != ROUNDS;
	check_eq(lost, 0, "each of their hundred interrupts arrives, once");
	check(timer > 0, "the timer's go on");
	check_eq(uart, provoked, "the UART's arrive, once each");
}
