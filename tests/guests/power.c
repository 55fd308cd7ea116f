// SPDX-License-Identifier: BSD-3-Clause
/*
 * The power button: a PL061 at 0x1020000, line 3, SPI 96. Says "# ready", and switches itself off when
 * the button was pressed and released. bootargs: deaf (never does), reset (resets instead).
 */
#include "guest.h"

enum { BUTTON = 1 << 3, DATA = BUTTON << 2, IBE = 0x408, IE = 0x410, RIS = 0x414, MIS = 0x418,
       IC = 0x41c, ID = 0xfe0 };

#define GPIO		0x01020000UL
#define INTID_GPIO	(INTID_SPI0 + 96)

static u64 g;
static volatile u8 seen[2], edges;

static void hook(unsigned int intid)
{
	if (intid != INTID_GPIO)
		return;
	if (edges < 2)
		seen[edges] = rd8(g + DATA) | (rd8(g + MIS) & BUTTON) >> 3;
	edges++;
	wr8(g + IC, BUTTON);
}

void guest_main(void)
{
	u32 id = 0;

	g = io(GPIO);
	for (int i = 7; i >= 4; i--)
		id = id << 8 | rd8(g + ID + i * 4);
	check_eq(id, 0xb105f00d, "a PrimeCell");
	check_eq(rd32(g + ID) | rd32(g + ID + 4) << 8, 0x1061, "it is a PL061");
	check_eq(rd8(g + DATA), 0, "the button is not pressed");
	if (!check(gic_init(), "GICv3 answers"))
		return;
	irq_hook = hook;
	gic_enable(INTID_GPIO);
	wr8(g + IBE, BUTTON);
	wr8(g + IC, 0xff);
	wr8(g + IE, BUTTON);
	irqs_on();
	print("# ready\n");
	wait_until(edges == 2 && !arg_has("deaf"), 60000);
	irqs_off();
	check_eq(edges, 2, "two interrupts");
	check_eq(seen[0], BUTTON | 1, "pressed");
	check_eq(seen[1], 1, "released");
	if (arg_has("reset"))
		psci(PSCI_SYSTEM_RESET, 0, 0, 0);
}
