// SPDX-License-Identifier: BSD-3-Clause
/*
 * Generation D, series v15, v16 and the trees on Linux 7.3: the VM has no memory attributes any
 * more. Either the guest_memfd has them and its pages change sides in place, or it is private for
 * good and the shared side is other memory. A later tree (E) makes the RIPAS step explicit; the
 * number of its ioctl is not fixed, so the user has to give it (--rmi-generation e:NR).
 */
#include "realm/rmi.h"

static int e_init_ripas(struct rmi *m, ipa_t base, uint64_t len)
{
	struct a64_rmi_init_ripas a = { .base = base, .size = len };

	return kvm_ioctl_vm(m->r->kvm, A64_RMI_INIT_RIPAS(m->found.ripas_nr), &a);
}

static const int d_caps[] = { A64_CAP_RMI_LATER, A64_CAP_RMI_V15, 0 };

const struct rmi_gen rmi_gen_d = {
	.name = "d",
	.series = "v15 and later, Linux 7.2 and 7.3 based",
	.vm_type = A64_VM_TYPE_REALM,
	.caps = d_caps,
	.measures = { RIM_B, RIM_RIPAS_LAST, false },
	.algos = 1U << REALM_SHA256,
	.privacy = RMI_IN_PLACE,
	.slots_are_ripas = true,
	.populate = rmi_populate,
};

const struct rmi_gen rmi_gen_d2 = {
	.name = "d2",
	.series = "v15 and later with two backings, Linux 7.2 based",
	.vm_type = A64_VM_TYPE_REALM,
	.caps = d_caps,
	.measures = { RIM_B, RIM_RIPAS_LAST, false },
	.algos = 1U << REALM_SHA256,
	.privacy = RMI_BORN_PRIVATE,
	.slots_are_ripas = true,
	.populate = rmi_populate,
};

const struct rmi_gen rmi_gen_e = {
	.name = "e",
	.series = "trees after v16 with an explicit RIPAS step",
	.vm_type = A64_VM_TYPE_REALM,
	.caps = d_caps,
	.measures = { RIM_B, RIM_RIPAS_LAST, false },
	.algos = 1U << REALM_SHA256,
	.privacy = RMI_IN_PLACE,
	.ripas_last = true,
	.populate = rmi_populate,
	.init_ripas = e_init_ripas,
};
