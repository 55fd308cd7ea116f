// SPDX-License-Identifier: BSD-3-Clause
#include "guest.h"

#define ECAM	0x40000000UL

/* PCI Local Bus Specification 3.0, section 6.1: header of type 0 */
enum { ID = 0, COMMAND = 4, BAR0 = 0x10 };

u64 pci_find(u32 id, unsigned int nth, unsigned int *slot)
{
	for (unsigned int d = 0; d < 32; d++) {
		u64 fn = io(ECAM + (u64)(d << 15));

		if (rd32(fn + ID) == id && !nth--) {
			*slot = d;
			return fn;
		}
	}
	return 0;
}

u64 pci_bar(u64 fn)
{
	u32 low = rd32(fn + BAR0);
	u64 at = low & ~0xfU;

	if ((low & 6) == 4)
		at |= (u64)rd32(fn + BAR0 + 4) << 32;
	return at ? io(at) : 0;
}

void pci_command(u64 fn, u16 bits)
{
	wr16(fn + COMMAND, bits);
}
