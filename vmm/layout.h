/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The layout: everything about a machine that is known before KVM is asked for anything. It is a
 * pure function of the options and the user's files, on every host and architecture, because a
 * realm's measurement is a function of it.
 */
#ifndef VMM_LAYOUT_H
#define VMM_LAYOUT_H

#include "fdt/dt.h"
#include "realm/ipa.h"
#include "realm/rim.h"
#include "vmm/board/gic.h"
#include "vmm/board/memmap.h"
#include "vmm/config.h"
#include "vmm/loader.h"

/**
 * struct layout - where everything is
 * @load:      plan of the initial image, DTB included
 * @pmem:      files in the address space, above RAM
 * @cmdline:   final kernel command line
 * @pci:       there is a PCI bus
 * @virtio_pci: the virtio devices are on it
 * @mem64:     its 64-bit window; size 0: none
 * @nr_virtio: windows in use, in the order of the table in devices.c
 * @dtb:       MAP_DTB_SIZE bytes
 */
struct layout {
	struct ipa_split split;
	struct gic gic;
	uint64_t flash_size;
	bool pci, virtio_pci;
	struct cfg_range mem64;
	unsigned int nr_virtio;
	struct dt_virtio virtio[MAP_VIRTIO_COUNT];
	struct cfg_range pmem[CFG_MAX_PMEMS];
	char cmdline[CFG_CMDLINE_MAX];
	struct loader_out load;
	uint8_t *dtb;
};

/**
 * layout_make() - work it out
 * @files:      opened by loader_open()
 * @flash_size: bytes of the flash file, 0: none
 *
 * Return: 0 or a negative errno with one line in @e.
 */
int layout_make(const struct vm_config *c, const struct loader_files *files, uint64_t flash_size,
		struct layout *out, struct err *e);
/** layout_free() - free what it holds */
void layout_free(struct layout *l);

/** layout_dump_dtb() - write the devicetree to the file of --dump-dtb */
int layout_dump_dtb(const struct vm_config *c, const struct layout *l, struct err *e);

/** layout_rim_params() - the realm parameters that are measured, of the newest kernels */
void layout_rim_params(const struct vm_config *c, const struct layout *l, struct rim_params *p);

/** layout_mpidr() - the affinity KVM gives vCPU @id (checked against KVM when it runs) */
uint64_t layout_mpidr(unsigned int id);

#endif
