/* SPDX-License-Identifier: BSD-3-Clause */
/* The kernel's command line: as the user gave it, or with what lkvm appends. It is measured. */
#ifndef VMM_CMDLINE_H
#define VMM_CMDLINE_H

#include "realm/ipa.h"
#include "vmm/config.h"

struct err;

/**
 * cmdline_make() - compose the kernel's command line
 * @c:     options
 * @split: for the alias of an early console
 * @out:   CFG_CMDLINE_MAX bytes
 *
 * As realmtool the parameters are passed as given (--swiotlb adds one); an earlycon that cannot
 * work in a realm gets a warning with the right string. As lkvm the console and the root device
 * are put before them as lkvm does, and a bare "earlycon" is completed.
 *
 * Return: 0; -E2BIG.
 */
int cmdline_make(const struct vm_config *c, const struct ipa_split *split, char *out,
		 struct err *e);

/** cmdline_earlycon() - "earlycon=uart,mmio,0x..." for UART 0; @out: 64 bytes */
void cmdline_earlycon(const struct ipa_split *split, char *out);

#endif
