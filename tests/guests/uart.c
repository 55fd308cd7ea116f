// SPDX-License-Identifier: BSD-3-Clause
/* The 16550 at 0x1000000: registers as the PC16550D data sheet has them, and its interrupt. */
#include "guest.h"

enum { THR = 0, RBR = 0, DLL = 0, IER = 1, DLM = 1, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5,
       MSR = 6, SCR = 7 };

static u64 u;

static void hook(unsigned int intid)
{
	if (intid == INTID_SPI0)
		wr8(u + IER, 0);
}

void guest_main(void)
{
	u8 v, ier;

	u = io(UART0);
	wr8(u + IER, 0);
	wr8(u + FCR, 0x07);			/* FIFOs on, cleared */
	wr8(u + SCR, 0x5a);
	v = rd8(u + SCR);
	wr8(u + SCR, 0xa5);
	check(v == 0x5a && rd8(u + SCR) == 0xa5, "scratch register keeps what is written");
	check(wait_until((rd8(u + LSR) & 0x60) == 0x60, 1000), "transmitter gets empty");
	check_eq(rd8(u + IIR) & 0x0f, 1, "no interrupt pending");
	check_eq(rd8(u + IIR) & 0xc0, 0xc0, "FIFOs are reported on");

	/* no output between the two: the divisor latch stands where THR is */
	wr8(u + LCR, 0x83);
	wr8(u + DLL, 0x12);
	wr8(u + DLM, 0x34);
	v = rd8(u + DLL);
	ier = rd8(u + DLM);
	wr8(u + DLL, 1);
	wr8(u + DLM, 0);
	wr8(u + LCR, 0x03);
	check(v == 0x12 && ier == 0x34, "divisor latch keeps what is written");
	check_eq(rd8(u + LCR), 0x03, "line control reads back");
	check_eq(rd8(u + IER), 0, "the divisor did not end up in the interrupt enable register");

	if (!arg_has("input"))
		check_eq(rd8(u + LSR) & 0x01, 0, "no input waits");
	else
		skip("no input waits");

	/* loopback: MCR outputs appear at the MSR inputs, sent bytes come back */
	wr8(u + MCR, 0x10 | 0x0a);		/* LOOP, RTS, OUT2 */
	v = rd8(u + MSR) & 0xf0;
	wr8(u + MCR, 0x0b);
	check_eq(v, 0x90, "loopback: RTS and OUT2 are seen as CTS and DCD");
	wr8(u + MCR, 0x10);
	wr8(u + THR, 'L');
	wait_until(rd8(u + LSR) & 1, 200);
	v = rd8(u + LSR) & 1 ? rd8(u + RBR) : 0;
	wr8(u + MCR, 0x0b);
	check_eq(v, 'L', "loopback: a byte comes back");

	/* other widths of access than a byte must not break anything */
	(void)rd32(u + 4);
	(void)rd16(u + 2);
	check_eq(rd8(u + SCR), 0xa5, "wider reads change nothing");

	if (!check(gic_init(), "GICv3 answers"))
		return;
	irq_hook = hook;
	gic_enable(INTID_SPI0);
	irqs_on();
	wr8(u + MCR, 0x0b);
	wr8(u + IER, 0x02);			/* transmitter empty */
	check(wait_until(irq_seen(INTID_SPI0), 1000), "transmitter empty raises SPI 0");
	irqs_off();
	wr8(u + IER, 0);
	check_eq(rd8(u + IIR) & 0x0f, 1, "and is gone when it is disabled");
}
