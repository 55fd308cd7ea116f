// SPDX-License-Identifier: BSD-3-Clause
/*
 * Generation A, series v5 to v11: each step is a sub-command of KVM_ENABLE_CAP. NVIDIA's 6.17 and
 * 6.18 kernels carry it. Contents are taken from the slot's shared side, and the order of the steps
 * (RIPAS of all RAM, contents ascending, RECs in the order of their MPIDR, activation) is what the
 * VMMs of its time did, because RIPAS enters the measurement of RMM 1.0.
 */
#include <string.h>

#include "realm/rmi.h"
#include "vmm/core/err.h"

static int a_begin(struct rmi *m, struct err *e)
{
	int ret = rmi_enable_cap(m->r->kvm, m->found.cap, A64_RME_CREATE, NULL);

	if (ret < 0)
		return err_set(e, ret, "the RMM does not create the realm: %s (address bits, vectors, "
			       "counters or algorithm that it lacks?)", strerror(-ret));
	return 0;
}

static int a_init_ripas(struct rmi *m, ipa_t base, uint64_t len)
{
	struct a64_rme_range a = { .base = base, .size = len };

	return rmi_enable_cap(m->r->kvm, m->found.cap, A64_RME_INIT_RIPAS, &a);
}

/* All or nothing: the call does not say how far it came. */
static int a_populate(struct rmi *m, struct a64_rmi_populate *p)
{
	struct a64_rme_populate a = { .base = p->base, .size = p->size, .flags = p->flags };
	int ret = rmi_enable_cap(m->r->kvm, m->found.cap, A64_RME_POPULATE, &a);

	if (ret < 0)
		return ret;
	p->base += p->size;
	p->source += p->size;
	p->size = 0;
	return 0;
}

static int a_activate(struct rmi *m, struct err *e)
{
	int rec = m->found.rec_bit, ret;

	for (unsigned int i = 0; i < m->vcpus; i++) {
		struct kvm_vcpu *v = m->r->hooks.vcpu(m->r->hooks.ctx, i);

		ret = kvm_vcpu_ioctl(v, A64_VCPU_FINALIZE, &rec);
		if (ret < 0)
			return err_set(e, ret, "vCPU %u: the RMM does not create its REC: %s", i,
				       strerror(-ret));
	}
	ret = rmi_enable_cap(m->r->kvm, m->found.cap, A64_RME_ACTIVATE, NULL);
	if (ret < 0)
		return err_set(e, ret, "the realm cannot be activated: %s", strerror(-ret));
	return 0;
}

static const int a_caps[] = {
	A64_CAP_RME_V7, A64_CAP_RME_V8, A64_CAP_RME_V10, 245, 246, A64_CAP_RME_RFC, 0,
};

const struct rmi_gen rmi_gen_a = {
	.name = "a",
	.series = "v5 to v11, NVIDIA 6.17 and 6.18",
	.vm_type = A64_VM_TYPE_REALM_OLD,
	.caps = a_caps,
	.measures = { RIM_A, RIM_RIPAS_FIRST, false },
	.algos = 1U << REALM_SHA256 | 1U << REALM_SHA512,
	.rpv = true,
	.pmu = true,
	.privacy = RMI_VM_ATTR,
	.source_in_slot = true,
	.begin = a_begin,
	.populate = a_populate,
	.init_ripas = a_init_ripas,
	.activate = a_activate,
	.psci_complete = rmi_psci_complete,
};
