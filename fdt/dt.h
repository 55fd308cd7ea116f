/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The devicetree of a machine. It is measured, so it is a pure function of struct dt_machine: the
 * same description gives the same bytes on every host, on every day, for every user.
 */
#ifndef FDT_DT_H
#define FDT_DT_H

#include "vmm/core/types.h"

struct err;

#define DT_MAX_CPUS 512

struct dt_virtio {
	ipa_t base;
	uint32_t spi;
};

/**
 * struct dt_machine - all that the devicetree says
 * All addresses are canonical. Pointers are only read during dt_build().
 */
struct dt_machine {
	unsigned int nr_cpus;
	const uint64_t *mpidr;		/* nr_cpus affinity values, as the vCPUs report them */
	bool psci_smc;			/* conduit smc (realms), else hvc */
	bool pmu;

	ipa_t ram_base;
	uint64_t ram_size;

	bool its;
	ipa_t gicd_base, gicr_base, gits_base;
	uint64_t gicr_size;		/* all redistributors together */

	unsigned int nr_uarts;
	bool rtc;
	bool flash;
	uint64_t flash_size;		/* bytes, one bank at MAP_FLASH_BASE */
	bool power_button;		/* at MAP_GPIO_BASE */

	unsigned int nr_virtio;
	const struct dt_virtio *virtio;

	bool pci;			/* the host bridge; what is on its bus is not told here */
	ipa_t pci_mem64_base;		/* 64-bit window; size 0: none */
	uint64_t pci_mem64_size;

	const char *cmdline;		/* bootargs, may be "" */
	const char *stdout_path;	/* node path, or NULL: "serial0" when there is a UART */
	ipa_t initrd_start, initrd_end;	/* end is exclusive; 0,0: none */
	bool kaslr_seed_set;
	uint64_t kaslr_seed;
};

/**
 * dt_build() - write the devicetree
 * @m:    the machine
 * @buf:  MAP_DTB_SIZE bytes; all of them are written (zero padded)
 * @size: size of @buf
 *
 * Return: 0 or a negative errno: -ENOSPC (does not fit: command line too long, too many devices).
 */
int dt_build(const struct dt_machine *m, void *buf, size_t size, struct err *e);

/**
 * struct dt_user - what realmtool needs from a devicetree that the user brought (--dtb)
 * @initrd_start, @initrd_end: of /chosen, 0 if it has none
 * @psci_method: "smc", "hvc" or NULL (points into the blob)
 * @bootargs:    of /chosen, NULL if it has none (points into the blob)
 * @nr_cpus:     nodes of /cpus whose device_type is "cpu"
 * @mem_base, @mem_size: first memory range, 0, 0 if it has none
 * @size:        bytes the blob occupies, at most what the file has
 */
struct dt_user {
	ipa_t initrd_start, initrd_end;
	const char *psci_method;
	const char *bootargs;
	unsigned int nr_cpus;
	ipa_t mem_base;
	uint64_t mem_size;
	size_t size;
};

/**
 * dt_parse_user() - check a devicetree from a file and find what matters here
 * @blob: untrusted bytes
 * @size: their number
 * @out:  result
 *
 * Return: 0; -EINVAL: not a valid devicetree (the error says what is wrong).
 */
int dt_parse_user(const void *blob, size_t size, struct dt_user *out, struct err *e);

#endif
