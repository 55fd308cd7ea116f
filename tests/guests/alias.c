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

/* Whatever it is, an abort on data, and no device's answer. */
static bool refused(u64 a)
{
	trap_arm();
	(void)rd64(a);
	if (trap_end() == 1 && esr_ec(this_cpu()->esr) == EC_DABT)
		return true;
	print("# 0x%lx: traps %u, ESR 0x%lx\n", a, this_cpu()->traps, this_cpu()->esr);
	return false;
}

/* The shared bit is one bit: no other makes an alias, and it makes no other. */
static void test_bits(void)
{
	u64 ram_end = guest.ram_base + guest.ram_size;
	bool with = true, without = true;

	for (unsigned int bit = 32; bit < 64; bit++) {
		u64 a = 1UL << bit;

		if (a == guest.shared || a < ram_end)
			continue;
		without &= refused(UART0 | a);
		with &= refused(io(UART0) | a);
	}
	check(without, "no address bit but the shared one leads to a device");
	check(with, "nor does one beside it");
}

/* RAM's edges on both sides of the bit */
static void test_edges(void)
{
	u64 end = guest.ram_base + guest.ram_size, last = end - PAGE;

	wr64(end - 8, 0x0123456789abcdef);
	check_eq(ripas_set(last, end, RIPAS_EMPTY), 0, "the last page of RAM is shared");
	wr64(io(end - 8), 0xfedcba9876543210);
	check_eq(rd64(io(end - 8)), 0xfedcba9876543210, "its last word is at the alias");
	check(aborts(io(end)), "the next one is nothing");
	check_eq(ripas_set(last, end, RIPAS_RAM), 0, "and private again");
	wr64(end - 8, 1);
	check_eq(rd64(end - 8), 1, "its last word is there");
	check(aborts(end), "the next one is nothing");
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
	test_bits();
	test_edges();
}
