// SPDX-License-Identifier: BSD-3-Clause
/* The ITS (GIC architecture specification, chapter 5): one collection, on CPU 0. */
#include "guest.h"

/* KVM rounds the addresses of tables and commands down to 64 KiB. */
enum { M_DEVICES = 0, M_COLLECTIONS = 0x10000, M_PENDING = 0x20000, M_PROPERTIES = 0x30000,
       M_COMMANDS = 0x40000, M_ITT = 0x50000, M_SIZE = 0x51000 };

static u64 its, its_mem, cmd_at;

static void its_command(u64 a, u64 b, u64 c)
{
	u64 at = io(its_mem + M_COMMANDS) + cmd_at;

	wr64(at, a);
	wr64(at + 8, b);
	wr64(at + 16, c);
	wr64(at + 24, 0);
	barrier();
	cmd_at += 32;
	wr64(its + 0x88, cmd_at);					/* GITS_CWRITER */
}

bool its_init(u64 devid, unsigned int nr)
{
	u64 redist = io(GICD - guest.nr_cpus * 0x20000UL);	/* CPU 0 has the first one */
	u64 valid = 1UL << 63;

	its = redist - 0x20000;
	if (rd32(its + 0xffe8) >> 4 != 3)				/* GITS_PIDR2 */
		return false;
	/* KVM reads its tables at the canonical address, and only what is shared */
	its_mem = guest.ram_base + (16UL << 20);
	share((void *)its_mem, M_SIZE);
	for (u64 i = 0; i < M_SIZE; i += 8)
		wr64(io(its_mem) + i, 0);
	for (u64 i = 0; i < nr; i++)
		wr8(io(its_mem + M_PROPERTIES) + i, 0xa1);	/* enabled, priority 0xa0 */
	barrier();
	wr64(redist + 0x70, (its_mem + M_PROPERTIES) | 13);		/* GICR_PROPBASER */
	wr64(redist + 0x78, (its_mem + M_PENDING) | 1UL << 62);		/* GICR_PENDBASER */
	wr32(redist, rd32(redist) | 1);					/* GICR_CTLR.EnableLPIs */
	for (unsigned int i = 0; i < 8; i++) {
		u64 reg = its + 0x100 + i * 8UL, kind = rd64(reg) >> 56 & 7;

		if (kind == 1)
			wr64(reg, valid | 2 << 8 | (its_mem + M_DEVICES));
		else if (kind == 4)
			wr64(reg, valid | 2 << 8 | (its_mem + M_COLLECTIONS));
	}
	wr64(its + 0x80, valid | (its_mem + M_COMMANDS));		/* GITS_CBASER */
	wr32(its, 1);							/* GITS_CTLR.Enabled */
	its_command(0x09, 0, valid);					/* MAPC */
	its_command(0x08 | devid << 32, 4 - 1, valid | (its_mem + M_ITT));	/* MAPD */
	for (u64 i = 0; i < nr; i++)
		its_command(0x0a | devid << 32, i | (FIRST_LPI + i) << 32, 0);	/* MAPTI */
	its_command(0x0d, 0, 0);					/* INVALL */
	return wait_until(rd64(its + 0x90) == cmd_at, 1000);		/* GITS_CREADR */
}

u64 its_doorbell(void)
{
	return its - guest.shared + 0x10040;				/* GITS_TRANSLATER */
}
