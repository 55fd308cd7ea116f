/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The model's realms: KVM's interface for them in each of its generations, and the RMM under it.
 *
 * KVM's side (fake_rmi.c) keeps the order of calls, memory attributes, partial progress and
 * errors; the RMM's side (fake_rmm.c) keeps granules, RIPAS, RECs and the Realm Initial
 * Measurement, which it computes from the calls it gets with code of its own. What would kill or
 * warn a real host, leak its memory or stall it, is a complaint.
 *
 * A guest in a realm is a guest like others: fake_smc() reaches the RMM first, fake_read() and
 * fake_write() go where RIPAS and the shared bit say.
 */
#ifndef TESTS_FAKE_RMI_H
#define TESTS_FAKE_RMI_H

#include "realm/hash.h"
#include "tests/fakekvm/fakekvm.h"

/* Generations of KVM's interface, in the order of time. */
enum fake_api {
	FAKE_API_NONE,		/* a kernel without realms */
	FAKE_API_PLUMBING,	/* VM type, and nothing else */
	FAKE_API_A,		/* v5 to v11: sub-commands of KVM_ENABLE_CAP */
	FAKE_API_V12,		/* populate returns bytes */
	FAKE_API_V13,
	FAKE_API_C,		/* v14 */
	FAKE_API_D,		/* v15 and later */
	FAKE_API_E,		/* an explicit RIPAS step */
};

/* How the measurement is computed: see realm/rim.h. */
enum fake_dialect { FAKE_RIM_A, FAKE_RIM_B, FAKE_RIM_C };

#define FAKE_RIPAS_NR	0xd8	/* of KVM_ARM_RMI_INIT_RIPAS, in this model alone */

/**
 * struct fake_rmi - what kernel and RMM offer; tests change it after fake_reset()
 * @rmm:          firmware has started an RMM
 * @type:         realm bit of KVM_CREATE_VM
 * @cap:          number of KVM_CAP_ARM_RME or KVM_CAP_ARM_RMI
 * @attr_cap:     number of the capability that reports memory attributes
 * @rec_bit:      vCPU feature of generation A
 * @ipa_bits:     S2SZ of the RMM
 * @breakpoints, @watchpoints, @algos, @sve_vq: the RMM's limits; @algos: a bit per enum realm_hash
 * @in_place:     module parameter gmem_in_place_conversion
 * @gmem_only:    shared faults of any slot with a guest_memfd are served from it
 * @recheck:      a RIPAS change is committed only where the guest_memfd's attributes agree
 * @fault_is_0:   the exit after an incomplete conversion is a successful KVM_RUN
 * @populate_max: bytes a populate call does at most, 0: no limit
 * @populate_eintr: each n-th populate is interrupted, 0: none is
 * @populate_stuck: populate succeeds and does nothing
 * @ripas_max:    bytes of a RIPAS change that the RMM commits at a time, 0: no limit
 * @ripas_reject: so many RIPAS changes end in KVM_RUN's EINVAL and a rejection
 * @change_again: so many RIPAS changes are exited with once more, as if attributes did not agree
 * @attr_again:   so many calls that set attributes of a guest_memfd come half way, with EAGAIN
 * @fail_activate: activation fails with this errno
 * @fixed_breakpoints: their number in ID_AA64DFR0_EL1 cannot be lowered
 */
struct fake_rmi {
	enum fake_api api;
	bool rmm;
	enum fake_dialect dialect;
	unsigned long type;
	int cap, attr_cap;
	unsigned int rec_bit;
	unsigned int ipa_bits, breakpoints, watchpoints, algos;
	uint64_t sve_vq;
	bool in_place, gmem_only, recheck, fault_is_0;
	uint64_t populate_max;
	unsigned int populate_eintr;
	bool populate_stuck;
	uint64_t ripas_max;
	unsigned int ripas_reject, change_again, attr_again;
	int fail_activate;
	bool fixed_breakpoints;
};
extern struct fake_rmi fake_rmi;

extern const struct fake_gen fake_rmi_v8;	/* A on 6.16: number 243, REC is feature 9 */
extern const struct fake_gen fake_rmi_v10;	/* A on 6.17: 244, told by _rme, feature 8 */
extern const struct fake_gen fake_rmi_v11;	/* A on 6.18: a number that only _rmi tells */
extern const struct fake_gen fake_rmi_v12;
extern const struct fake_gen fake_rmi_v13;
extern const struct fake_gen fake_rmi_v14;
extern const struct fake_gen fake_rmi_v14_no_rmm;
extern const struct fake_gen fake_rmi_v15;	/* two backings, or in place */
extern const struct fake_gen fake_rmi_kamalca;	/* on 7.3: in place only */
extern const struct fake_gen fake_rmi_e;
extern const struct fake_gen fake_rmi_plumbing;	/* v17 to v21 */

/* ---- what became of the realm; the newest VM, any thread ------------------------------------- */

enum fake_realm_state {
	FAKE_REALM_NONE, FAKE_REALM_NEW, FAKE_REALM_ACTIVE, FAKE_REALM_OFF, FAKE_REALM_DEAD,
};
enum fake_ripas { FAKE_EMPTY, FAKE_RAM, FAKE_DESTROYED };

enum fake_realm_state fake_realm_state(void);
/** fake_rim() - the measurement so far. Return: digest length, 0: there is no realm */
unsigned int fake_rim(uint8_t rim[REALM_HASH_MAX]);
enum fake_ripas fake_ripas(ipa_t ipa);
/** fake_private() - do the attributes (of the VM or of the guest_memfd) say so? */
bool fake_private(ipa_t ipa);
/** fake_gmem_at() - is there a memslot with a guest_memfd? */
bool fake_gmem_at(ipa_t ipa);
/** fake_delegated() - pages of guest_memfds that are the RMM's */
unsigned int fake_delegated(void);
/** fake_realm_mem() - private contents (canonical address) or shared ones (with the bit) */
bool fake_realm_mem(ipa_t ipa, void *buf, size_t len);
/** fake_kill_realm() - KVM marks the VM dead: everything is -EIO from now on */
void fake_kill_realm(void);
/**
 * fake_fault() - the guest is at a KVM_EXIT_MEMORY_FAULT; it goes on when the vCPU runs again
 * @err: of KVM_RUN, 0 or EFAULT
 */
void fake_fault(struct fake_cpu *c, uint64_t flags, ipa_t gpa, uint64_t size, int err);

/* ---- trace ----------------------------------------------------------------------------------- */

/**
 * struct fake_call - a call that concerns the shape of a VM, since fake_reset()
 * @name: "vm", "gmem", "slot", "attr", "gmem-attr", "vcpu", "init", "finalize", "device",
 *        "gic-init", "config", "create", "ripas", "populate", "activate", "reg", "run", "punch",
 *        "psci", "cap", "close-gmem"
 * @base, @size, @flags: of the range or slot; of vCPU calls @base is the vCPU's number, of "reg"
 *        @size the register; of "vm" @base is the type
 * @ret:  what it returned
 * @nr:   the how many-th seam call it is, for fake_fail_nth()
 *
 * KVM_RUN of one vCPU after the other is one entry.
 */
struct fake_call {
	const char *name;
	uint64_t base, size, flags;
	int ret;
	unsigned int nr;
};

/** fake_trace() - the @n-th call, NULL: there are not so many (or more than are kept) */
const struct fake_call *fake_trace(unsigned int n);

#endif
