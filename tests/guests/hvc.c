// SPDX-License-Identifier: BSD-3-Clause
/* HVC: the conduit of a plain VM, undefined in a realm. */
#include "guest.h"

void guest_main(void)
{
	u64 r[18] = { PSCI_VERSION };

	trap_arm();
	call_hvc(r);
	if (guest.realm) {
		check(trap_end() == 1 && esr_ec(this_cpu()->esr) == EC_UNKNOWN,
		      "realm: HVC is undefined");
		check_eq(r[0], PSCI_VERSION, "realm: HVC changes no register");
	} else {
		check(trap_end() == 0 && r[0] >= 0x10000, "VM: HVC answers PSCI_VERSION");
	}
}
