// SPDX-License-Identifier: BSD-3-Clause
/* Generation C, series v14: a VM type bit of its own, memory attributes of the VM. */
#include "realm/rmi.h"

int rmi_populate(struct rmi *m, struct a64_rmi_populate *p)
{
	return kvm_ioctl_vm(m->r->kvm, A64_RMI_POPULATE, p);
}

static const int c_caps[] = { A64_CAP_RMI_V14, 0 };

const struct rmi_gen rmi_gen_c = {
	.name = "c",
	.series = "v14, Linux 7.1 based",
	.vm_type = A64_VM_TYPE_REALM,
	.caps = c_caps,
	.measures = { RIM_B, RIM_RIPAS_LAST, true },
	.algos = 1U << REALM_SHA256,
	.privacy = RMI_VM_ATTR,
	.slots_are_ripas = true,
	.populate = rmi_populate,
};
