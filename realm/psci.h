/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PSCI in user space, with the answers of the RMM rather than KVM's (Arm DEN0022, and the RMM
 * specification's chapter on PSCI). Pure, like realm/rsi.h.
 */
#ifndef REALM_PSCI_H
#define REALM_PSCI_H

#include "realm/ipa.h"

#define PSCI_NR_REGS 4		/* x0..x3 */

enum psci_status {
	PSCI_SUCCESS = 0,
	PSCI_NOT_SUPPORTED = -1,
	PSCI_INVALID_PARAMETERS = -2,
	PSCI_DENIED = -3,
	PSCI_ALREADY_ON = -4,
	PSCI_INTERNAL_FAILURE = -6,
	PSCI_INVALID_ADDRESS = -9,
};

/* What becomes of the calling vCPU. */
enum psci_next {
	PSCI_RETURN,		/* x0..x3 are the answer */
	PSCI_CPU_IS_OFF,	/* it is switched off */
	PSCI_WAIT,		/* x0..x3 are the answer, when an interrupt comes */
	PSCI_SYSTEM_OFF,
	PSCI_SYSTEM_RESET,
};

/**
 * struct psci_ops - the machine's CPUs
 * @find:  index of the CPU with an affinity value, or -1
 * @is_on: is it switched on?
 * @on:    switch it on: reset, @entry in pc, @arg in x0. Return: 0 or a negative errno
 */
struct psci_ops {
	int (*find)(void *ctx, uint64_t mpidr);
	bool (*is_on)(void *ctx, unsigned int cpu);
	int (*on)(void *ctx, unsigned int cpu, ipa_t entry, uint64_t arg);
};

/** psci_is_call() - is this function identifier PSCI's, implemented or not? */
bool psci_is_call(uint32_t fid);

/** psci_name() - a function identifier in words */
const char *psci_name(uint32_t fid);

/** psci_names_cpu() - is it CPU_ON or AFFINITY_INFO, which the RMM lets the host complete? */
bool psci_names_cpu(uint32_t fid);

/**
 * psci_call() - answer a call
 * @x: x0..x3, in and out
 *
 * The caller serialises.
 */
enum psci_next psci_call(const struct psci_ops *ops, void *ctx, const struct ipa_split *split,
			 uint64_t x[PSCI_NR_REGS]);

#endif
