// SPDX-License-Identifier: BSD-3-Clause
/*
 * How long it takes to share memory and to take it back: bootargs mib=N (64) in one piece, the same
 * in pieces of 4 KiB, where it is (RAM from 128 MiB on). Times in microseconds: "# result NAME=US".
 * The first round counts the pages' first use, too.
 */
#include "guest.h"

static u64 us(u64 ticks)
{
	return ticks * 1000000 / read_sysreg(cntfrq_el0);
}

static bool measured(const char *name, u64 base, u64 size, u64 piece, u64 ripas)
{
	u64 t = now();

	for (u64 at = base; at < base + size; at += piece)
		if (ripas_set(at, at + piece, ripas) != RSI_SUCCESS)
			return false;
	print("# result %s=%lu\n", name, us(now() - t));
	return true;
}

void guest_main(void)
{
	u64 size = arg_num("mib", 64) << 20, base = guest.ram_base + (128UL << 20);

	if (!guest.realm) {
		skip("only a realm converts");
		return;
	}
	if (!check(size && base + size <= guest.ram_base + guest.ram_size, "there is that much"))
		return;
	check(measured("first_share", base, size, size, RIPAS_EMPTY) &&
	      measured("first_take", base, size, size, RIPAS_RAM) &&
	      measured("one_share", base, size, size, RIPAS_EMPTY) &&
	      measured("one_take", base, size, size, RIPAS_RAM) &&
	      measured("many_share", base, size, PAGE, RIPAS_EMPTY) &&
	      measured("many_take", base, size, PAGE, RIPAS_RAM), "memory shared and taken back");
}
