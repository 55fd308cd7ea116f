/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Host profiles: what a host has of that which a realm's measurement depends on, from a file and
 * never from the machine this runs on. Those of configs/profiles/ are compiled in.
 */
#ifndef VMM_PROFILE_H
#define VMM_PROFILE_H

#include "vmm/core/types.h"

struct err;
struct vm_config;

#define PROFILE_NONE (-1)	/* the profile does not say */

/**
 * struct host_profile - numbers of the host, PROFILE_NONE: not said
 * @breakpoints, @watchpoints: 1 to 16
 * @breakpoints_fixed: KVM cannot give a guest fewer, so the host's number is measured
 * @pmu_counters: 0: no PMU
 * @sve_vl:       longest vectors in bits, 0: no SVE
 * @ipa_bits:     widest IPA space of a realm, shared bit included
 * @lpa2:         KVM uses LPA2 for stage 2
 * @rmm:          enum rim_dialect
 * @generation:   name of the kernel's interface for realms, as --rmi-generation has it; "": not said
 */
struct host_profile {
	int breakpoints, watchpoints, breakpoints_fixed;
	int pmu_counters, sve_vl, ipa_bits, lpa2, rmm;
	char generation[16];
};

/**
 * profile_parse() - read the text of a profile: lines "key = value", "#" begins a comment
 * @name: of the file, for errors, which say NAME:LINE
 */
int profile_parse(const char *name, const char *text, size_t len, struct host_profile *p,
		  struct err *e);

/** profile_load() - a profile that is compiled in (fvp, qemu-max, generic), or else a file */
int profile_load(const char *what, struct host_profile *p, struct err *e);

/**
 * profile_apply() - load --host-profile, if there is one, and let the options follow it: what they
 * leave open is taken from it, what it cannot give is refused
 * @c: checked
 *
 * Return: 0 or a negative errno.
 */
int profile_apply(struct vm_config *c, struct err *e);

/**
 * profile_check_host() - is this the host that the profile describes?
 * @host: what was found; PROFILE_NONE: could not be found out, and is not compared. Of the profile
 *        @breakpoints_fixed, @rmm and @generation are not looked at
 *
 * Return: 0; -ENODEV: the text names what differs.
 */
int profile_check_host(const struct host_profile *p, const struct host_profile *host,
		       struct err *e);

#endif
