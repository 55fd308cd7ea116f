// SPDX-License-Identifier: BSD-3-Clause
/* Says what it found about itself and powers off. */
#include "guest.h"

void guest_main(void)
{
	print("# realm %u width %u ram 0x%lx+0x%lx cpus %u virtio %u conduit %s dtb 0x%lx\n",
	      guest.realm, guest.ipa_width, guest.ram_base, guest.ram_size, guest.nr_cpus,
	      guest.nr_virtio, guest.smc ? "smc" : "hvc", guest.dtb);
	print("# args [%s]\n", guest.args);
	check(guest.ram_base == RAM_BASE, "hello: RAM at 0x80000000");
}
