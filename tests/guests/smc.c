// SPDX-License-Identifier: BSD-3-Clause
/*
 * Calls that nobody answers, in every range of owners (SMC Calling Convention, Arm DEN0028, section
 * 6.1), 32 and 64 bits, fast and yielding, by the conduit that the devicetree names. What a range
 * does define (PSCI, RSI, the architecture's and the hypervisor's own calls) has other numbers.
 */
#include "guest.h"

/* in no range is one of these a function */
static const u16 numbers[] = { 0x7e57, 0xfeff };

static bool refused(u64 fn)
{
	u64 r[18];
	bool ok;

	for (unsigned int i = 1; i < 18; i++)
		r[i] = 0xc0de000000000000 + i;
	r[0] = fn;
	if (guest.smc)
		call_smc(r);
	else
		call_hvc(r);
	/* results are x0 to x3 at most; of a 32-bit call w0 alone is one */
	ok = (u32)r[0] == (u32)NOT_SUPPORTED && (!(fn & 1UL << 30) || r[0] == NOT_SUPPORTED);
	for (unsigned int i = 4; i < 18; i++)
		ok &= r[i] == 0xc0de000000000000 + i;
	if (!ok)
		print("# function 0x%lx: x0 0x%lx\n", fn, r[0]);
	return ok;
}

void guest_main(void)
{
	static const char *const kind[] = {
		"yielding, 32 bits", "yielding, 64 bits", "fast, 32 bits", "fast, 64 bits",
	};
	u64 r[18] = { PSCI_VERSION };
	bool ok;

	for (unsigned int k = 0; k < ARRAY_LEN(kind); k++) {
		ok = true;
		for (u64 owner = 0; owner < 64; owner++)
			for (unsigned int i = 0; i < ARRAY_LEN(numbers); i++)
				ok &= refused((u64)k << 30 | owner << 24 | numbers[i]);
		check(ok, "unknown functions of all owners, %s: not supported, x4 and up kept",
		      kind[k]);
	}
	/* bits 23 to 17 are to be zero in a fast call: with one set it is another function */
	ok = true;
	for (unsigned int bit = 17; bit < 24; bit++)
		ok &= refused(0xc4000190UL | 1UL << bit);
	check(ok, "a function's number with a reserved bit: not supported");
	if (guest.realm) {
		/* the monitor's own interfaces to others */
		ok = true;
		for (u64 fn = 0xc4000150; fn < 0xc4000180; fn++)
			ok &= refused(fn);
		check(ok, "calls of the host to the monitor (RMI): not supported");
		ok = true;
		for (u64 fn = 0x84000060; fn < 0x84000080; fn++)
			ok &= refused(fn);
		check(ok, "calls between partitions (FF-A): not supported");
	}
	if (guest.smc)
		call_smc(r);
	else
		call_hvc(r);
	check(r[0] >= 0x10000 && r[0] < 0x20000, "PSCI answers as before");
}
