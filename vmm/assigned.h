/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Assigned devices (--vfio-pci): the host's ends, which the session opens once, and what each
 * machine makes of them.
 */
#ifndef VMM_ASSIGNED_H
#define VMM_ASSIGNED_H

#include "vfio/dma.h"
#include "vfio/pci.h"
#include "vmm/config.h"

struct machine;
struct realm_hooks;

/**
 * struct assigned - the host's ends
 * @nr: in the order of the options
 */
struct assigned {
	struct vfio *vfio;
	struct vfio_device *dev[CFG_MAX_VFIOS];
	unsigned int nr;
};

/** assigned_open() - open all devices. @sys: the seam, NULL: the real kernel */
int assigned_open(const struct vm_config *c, const struct vfio_sys *sys, struct assigned *a,
		  struct err *e);
/** assigned_close() - give them back to the host; also what is all zero */
void assigned_close(struct assigned *a);

/** assigned_places() - how many devices of the guest they will be; functions of one share it */
unsigned int assigned_places(const struct assigned *a);
/**
 * assigned_make() - the DMA map and the functions on the bus
 * Refuses what the IOMMU cannot reach. Nothing is mapped yet.
 */
int assigned_make(struct machine *m, struct err *e);
/** assigned_start() - memory is what it is at the start: map it, before the vCPUs run */
int assigned_start(struct machine *m, struct err *e);
/** assigned_stop() - no DMA and no interrupts any more; vCPUs are stopped */
void assigned_stop(struct machine *m);
/** assigned_free() - before the bus and the memory go; stops what runs */
void assigned_free(struct machine *m);

/** assigned_hooks() - the part of struct realm_hooks that has to do with DMA */
void assigned_hooks(struct realm_hooks *h);

/** assigned_log_stats() - at debug level */
void assigned_log_stats(const struct machine *m);

#endif
