// SPDX-License-Identifier: BSD-3-Clause
/* Many numbered lines on the console (bootargs lines=N): nothing may be lost or reordered. */
#include "guest.h"

void guest_main(void)
{
	unsigned int n = (unsigned int)arg_num("lines", 1000);

	for (unsigned int i = 0; i < n; i++)
		print("# line %06u 0123456789012345678901234567890123456789\n", i);
	check(true, "flood: all lines sent");
}
