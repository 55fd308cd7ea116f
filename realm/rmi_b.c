// SPDX-License-Identifier: BSD-3-Clause
/*
 * Generation B, series v12 and v13: populate is the only call, all else happens at the first
 * KVM_RUN. In v12 populate returns the bytes it has done and leaves its argument alone.
 */
#include "realm/rmi.h"

/* #syscalls main,vcpu?realm: ioctl=A64_RMI_PSCI_COMPLETE */

static int v12_populate(struct rmi *m, struct a64_rmi_populate *p)
{
	int ret = kvm_ioctl_vm(m->r->kvm, A64_RMI_POPULATE_V12, p);

	if (ret < 0)
		return ret;
	/* no progress is the caller's to see; more than was asked for cannot be */
	ret = MIN((uint64_t)ret, p->size);
	p->base += ret;
	p->source += ret;
	p->size -= ret;
	return 0;
}

int rmi_psci_complete(struct rmi *m, struct kvm_vcpu *caller, uint64_t mpidr, int32_t status)
{
	struct a64_rmi_psci_complete a = { .target_mpidr = mpidr, .psci_status = status };

	(void)m;
	return kvm_vcpu_ioctl(caller, A64_RMI_PSCI_COMPLETE, &a);
}

static const int v12_caps[] = { A64_CAP_RMI_V12, 0 };
static const int v13_caps[] = { A64_CAP_RMI_V13, 0 };

const struct rmi_gen rmi_gen_v12 = {
	.name = "v12",
	.series = "v12, Linux 6.19 based",
	.vm_type = A64_VM_TYPE_REALM_OLD,
	.caps = v12_caps,
	.measures = { RIM_A, RIM_RIPAS_LAST, false },
	.algos = 1U << REALM_SHA256,
	.pmu = true,
	.privacy = RMI_VM_ATTR,
	.slots_are_ripas = true,
	.populate = v12_populate,
	.psci_complete = rmi_psci_complete,
};

const struct rmi_gen rmi_gen_v13 = {
	.name = "v13",
	.series = "v13, Linux 7.0 based",
	.vm_type = A64_VM_TYPE_REALM_OLD,
	.caps = v13_caps,
	.measures = { RIM_B, RIM_RIPAS_LAST, true },
	.algos = 1U << REALM_SHA256,
	.pmu = true,
	.privacy = RMI_VM_ATTR,
	.slots_are_ripas = true,
	.populate = rmi_populate,
	.psci_complete = rmi_psci_complete,
};
