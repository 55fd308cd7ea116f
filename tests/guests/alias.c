// SPDX-License-Identifier: BSD-3-Clause
/* Every device answers at its alias, and the edges of the two halves are where the width says. */
#include "guest.h"

static bool aborts(u64 a)
{
	trap_arm();
	(void)rd64(a);
	trap_end();
	return trap_is_sea(a);
}

void guest_main(void)
{
	bool magic = true, lower = true;

	if (guest.realm) {
		check(guest.ipa_width >= 33 && guest.ram_base + guest.ram_size <= guest.shared,
		      "all RAM is below the shared bit");
		if (arg_has("width"))
			check_eq(guest.ipa_width, arg_num("width", 0), "IPA width as asked for");
		else
			check_eq(guest.ipa_width, 33, "IPA width is 33");
	}
	wr8(io(UART0) + 7, 0x3c);
	check_eq(rd8(io(UART0) + 7), 0x3c, "UART answers");
	check_eq(rd32(io(GICD) + 0xffe8) >> 4 & 0xf, 3, "the distributor is a GICv3's");
	for (unsigned int i = 0; i < guest.nr_virtio; i++) {
		magic &= rd32(io(guest.virtio[i])) == 0x74726976;
		if (guest.realm)
			lower &= aborts(guest.virtio[i]);
	}
	check(magic, "every virtio-mmio device has its magic number");
	check_eq(guest.nr_virtio, arg_num("virtio", guest.nr_virtio),
		 "as many of them as were asked for");
	if (!guest.realm)
		return;
	check(lower, "none of them answers in the lower half");
	check(aborts(0), "address 0 is nothing");
	check(aborts(guest.shared - 8), "the last word below the shared bit is nothing");
	/* between the PCI I/O window and the first UART */
	check(aborts(guest.shared + 0x800000), "a shared address between devices is nothing");
	check(aborts(guest.shared * 2 - 8), "the last word of the IPA space is nothing");
}
