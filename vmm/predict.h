/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a launch will measure, before it is launched: for `measure`, which asks on any machine, and
 * for `run`, which compares.
 */
#ifndef VMM_PREDICT_H
#define VMM_PREDICT_H

#include "realm/measure.h"
#include "vmm/layout.h"

/**
 * predict() - measure a launch
 * @c:          after profile_apply()
 * @generation: name of the kernel's interface for realms, once it is known; NULL: what
 *              --rmi-generation says, and without it the newest
 *
 * Return: 0; a negative errno and the reason why it cannot be predicted.
 */
int predict(const struct vm_config *c, const struct layout *l, const char *generation,
	    struct measurement *m, struct err *e);

struct machine;

/**
 * predict_launch() - measure what a host is about to launch, which need not be what was asked for:
 * it may have more breakpoints, and use LPA2
 * @machine: a KVM realm's, its vCPUs exist
 *
 * Return: 0; -ENODEV: it is not the host of --host-profile; else as predict().
 */
int predict_launch(const struct vm_config *c, const struct layout *l, struct machine *machine,
		   struct measurement *m, struct err *e);
/** predict_check_host() - is it the host of --host-profile? 0, -ENODEV, or what is wrong with it */
int predict_check_host(const struct vm_config *c, struct machine *machine, struct err *e);

/**
 * predict_expect() - compare with --expect-rim
 * @m: from predict()
 *
 * Return: 0: as expected, or nothing was; -EKEYREJECTED: another one (EXIT_RIM); else what is wrong
 * with the option.
 */
int predict_expect(const struct vm_config *c, const struct measurement *m, struct err *e);

#endif
