/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a host can do for realms, in words: for `realmtool check` and for whoever must tell the user
 * why a realm cannot be launched. Generations of the kernel's interface are strings here.
 */
#ifndef REALM_HOST_H
#define REALM_HOST_H

#include "realm/rim.h"
#include "vmm/core/kvm.h"

/**
 * struct realm_host_want - what the user says of the host (--rmi-generation, --rmi-cap)
 * @generation: name, NULL: find out
 * @cap:        capability number, 0: find out
 */
struct realm_host_want {
	const char *generation;
	int cap;
};

/**
 * struct realm_host - what was found
 * @realms:     realms can be launched; if not, @why tells why and what helps
 * @generation: its name; @series: kernels that speak it; @how: how it was recognised
 * @cap:        number of KVM_CAP_ARM_RMI (_RME), 0: not known; @cap_from: where it is from
 * @privacy:    how memory is told to be private, for the user
 * @algos:      bit per enum realm_hash
 * @pmu:        a realm can have a PMU; @pmu_possible: at least the generation has the means
 * @ipa_bits:   widest IPA space a realm can have, shared bit included
 * @sve_vl:     longest SVE vectors in bits, 0: none
 * @breakpoints, @watchpoints: how many a realm can have, 0: could not be found out
 */
struct realm_host {
	bool realms;
	char generation[16], series[96], how[160], why[256];
	int cap;
	char cap_from[64];
	const char *privacy;
	unsigned int algos;
	bool rpv, pmu, pmu_possible;
	unsigned int ipa_bits, sve_vl, breakpoints, watchpoints;
};

/**
 * realm_host_probe() - ask, on VMs that are thrown away; nothing of the host is changed
 * @k: open, without a VM; stays so
 *
 * Return: 0; a negative errno if @want makes no sense.
 */
int realm_host_probe(struct kvm *k, const struct realm_host_want *want, struct realm_host *h,
		     struct err *e);

/**
 * struct realm_measures - how what a generation launches is measured
 * @lpa2: the realm has the LPA2 flag if the host's KVM uses LPA2
 */
struct realm_measures {
	enum rim_dialect dialect;
	enum rim_order order;
	bool lpa2;
};

/**
 * realm_measures() - of a generation by its name
 * @generation: as --rmi-generation has it; NULL, or not known: the newest
 */
void realm_measures(const char *generation, struct realm_measures *m);

/** realm_host_check_want() - does --rmi-generation name one? For config_check(). */
int realm_host_check_want(const struct realm_host_want *want, struct err *e);

#endif
