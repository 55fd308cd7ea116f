/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Realms of the host: the KVM RMI interface in all its generations. rmi.c is the back end
 * (realm_kvm) and does what they have in common, rmi_probe.c finds out what the host speaks, and a
 * file per generation has what differs. Nothing outside realm/ includes this.
 */
#ifndef REALM_RMI_H
#define REALM_RMI_H

#include "realm/host.h"
#include "realm/realm.h"
#include "realm/rmi_abi.h"

struct rmi;

/* How pages are told to be private. */
enum rmi_privacy {
	RMI_VM_ATTR,		/* attributes of the VM, two backings (v5 to v14) */
	RMI_BORN_PRIVATE,	/* a guest_memfd without flags is private for good, two backings */
	RMI_IN_PLACE,		/* attributes of the guest_memfd, which is the shared side too */
};

/**
 * struct rmi_gen - a generation of the interface
 * @name:    for --rmi-generation
 * @series:  the patch series and kernels that speak it, for the user
 * @vm_type: realm bit of KVM_CREATE_VM's type word
 * @caps:    numbers its capability has had, 0 ends the list
 * @measures: how the RMMs of its time measure what it launches
 * @algos:   measurement algorithms that can be asked for, a bit per enum realm_hash
 * @rpv:     a personalization value can be given
 * @pmu:     the guest can have a PMU
 * @slots_are_ripas: at activation every slot with guest_memfd becomes RIPAS RAM; otherwise
 *           @init_ripas says which ranges
 * @ripas_last: the RIPAS step comes after the contents
 * @source_in_slot: populate takes the contents from the slot's shared side, at the same IPA
 * @begin:   all vCPUs exist: create the realm where that is a call of its own; may be NULL
 * @populate: like KVM_ARM_RMI_POPULATE since v13: advances *@p by what was done, which may be
 *           less than all
 * @init_ripas: make a range RIPAS RAM; NULL where @slots_are_ripas
 * @activate: create RECs and activate; NULL: the first KVM_RUN does it
 * @psci_complete: tell the RMM the outcome of a PSCI call about another vCPU that was answered in
 *           user space; NULL: the kernel does it
 */
struct rmi_gen {
	const char *name;
	const char *series;
	unsigned long vm_type;
	const int *caps;
	struct realm_measures measures;
	unsigned int algos;
	bool rpv, pmu;
	enum rmi_privacy privacy;
	bool slots_are_ripas, ripas_last, source_in_slot;
	int (*begin)(struct rmi *m, struct err *e);
	int (*populate)(struct rmi *m, struct a64_rmi_populate *p);
	int (*init_ripas)(struct rmi *m, ipa_t base, uint64_t len);
	int (*activate)(struct rmi *m, struct err *e);
	int (*psci_complete)(struct rmi *m, struct kvm_vcpu *caller, uint64_t mpidr,
			     int32_t status);
};

extern const struct rmi_gen rmi_gen_a;
extern const struct rmi_gen rmi_gen_v12, rmi_gen_v13;
extern const struct rmi_gen rmi_gen_c;
extern const struct rmi_gen rmi_gen_d, rmi_gen_d2, rmi_gen_e;

/**
 * struct rmi_found - what the host speaks
 * @gen:        NULL: no realms, and @why says what is missing and what helps
 * @cap:        capability number, 0: not known and not needed
 * @rec_bit:    generation A: the vCPU feature bit of a REC
 * @ripas_nr:   number of KVM_ARM_RMI_INIT_RIPAS, 0: none
 */
struct rmi_found {
	const struct rmi_gen *gen;
	int cap;
	const char *cap_from;
	unsigned int rec_bit;
	unsigned int ripas_nr;
	char how[160];
	char why[256];
};

/**
 * rmi_probe() - find the generation by behaviour, on a VM that is thrown away
 * @k:    open, without a VM; stays so
 * @want: what the user says of it; NULL: nothing
 * @bits: keep the VM in @k if it can be used, with so many address bits; 0: throw it away. Series
 *        v12 makes its host WARN when a realm's VM is closed that was never populated
 *
 * Return: 0 with @f filled (f->gen NULL if there are no realms); a negative errno if @want makes
 * no sense.
 */
int rmi_probe(struct kvm *k, const struct realm_host_want *want, unsigned int bits,
	      struct rmi_found *f, struct err *e);

#define RMI_MAX_SLOTS 64
#define RMI_MAX_VCPUS 512	/* KVM_MAX_VCPUS of arm64 */

/**
 * struct rmi_slot - a memslot of RAM
 * @gmem: it takes private pages; without, its range starts EMPTY and gets them when the guest asks
 */
struct rmi_slot {
	unsigned int nr;
	ipa_t base;
	uint64_t size;
	bool gmem;
};

/* State of the back end, r->rmi. */
struct rmi {
	struct realm *r;
	struct rmi_found found;
	const struct rmi_gen *gen;
	struct rmi_slot slot[RMI_MAX_SLOTS];
	unsigned int nr_slots;
	unsigned int vcpus;		/* that exist; ids 0 to vcpus - 1 */
	ipa_t fault_ipa;			/* of the last MEMORY_FAULT; under realm.lock */
	_Atomic unsigned int fault_repeats;	/* and how often it came in a row */
	_Atomic unsigned int rejected;		/* KVM_RUN's EINVAL in a row */
	/* PSCI in user space, under realm.lock: see on_again() */
	uint64_t on_again[RMI_MAX_VCPUS / 64], maybe_off[RMI_MAX_VCPUS / 64];
	uint16_t asks_on[RMI_MAX_VCPUS];	/* per caller: the CPU it switches on, plus 1 */
};

/* The generations by name, newest first; NULL ends. */
extern const struct rmi_gen *const rmi_gens[];

/* KVM_ARM_RMI_POPULATE as it is since v13: the kernel advances the structure. */
int rmi_populate(struct rmi *m, struct a64_rmi_populate *p);
/* KVM_ARM_VCPU_RMI_PSCI_COMPLETE (v5 to v13) */
int rmi_psci_complete(struct rmi *m, struct kvm_vcpu *caller, uint64_t mpidr, int32_t status);

/** rmi_dead() - the realm cannot go on; @why is one line */
void rmi_dead(struct rmi *m, const char *why);

/** rmi_hypercall() - an exit with a call that KVM forwards: PSCI in user space */
enum realm_exit rmi_hypercall(struct rmi *m, struct kvm_vcpu *v);
/**
 * rmi_was_off() - the RMM did not let a CPU in: had it switched itself off?
 *
 * Return: true: it had. It is off now, or on if another one has switched it on in the meantime;
 * while it is not known it is let in once more.
 */
bool rmi_was_off(struct rmi *m, unsigned int cpu);
/** rmi_came_in() - the RMM did let it in, so it was not off, and what it asked for is done */
void rmi_came_in(struct rmi *m, unsigned int cpu);

/** rmi_enable_cap() - generation A: a sub-command. Return: 0 or negative errno */
int rmi_enable_cap(struct kvm *k, int cap, unsigned int cmd, const void *arg);

#endif
