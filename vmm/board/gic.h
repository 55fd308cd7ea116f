/* SPDX-License-Identifier: BSD-3-Clause */
/* The interrupt controller: KVM's GICv3 and ITS, placed as the memory map says. */
#ifndef BOARD_GIC_H
#define BOARD_GIC_H

#include "vmm/core/irq.h"
#include "vmm/core/kvm.h"

/**
 * struct gic - in-kernel GICv3
 * @dist, @redist, @its_base: canonical addresses, for the devicetree
 */
struct gic {
	struct kvm *kvm;
	int fd, its_fd;
	ipa_t dist, redist, its_base;
	uint64_t redist_size;
	bool its;
};

/** gic_place() - addresses for a number of CPUs; needs no KVM */
void gic_place(struct gic *g, unsigned int nr_cpus, bool its);

/**
 * gic_create() - make the devices in KVM; after all vCPUs, before they run
 * @to_kernel: address at which KVM shall register a canonical one (realm_kernel_io())
 *
 * Return: 0; -ENODEV with the option that helps if the host has no GICv3 or ITS.
 */
int gic_create(struct gic *g, struct kvm *kvm, unsigned int nr_cpus,
	       ipa_t (*to_kernel)(const void *ctx, ipa_t ipa), const void *ctx, struct err *e);

/** gic_destroy() - close the descriptors */
void gic_destroy(struct gic *g);

/** gic_level_line() - a level-triggered line through KVM_IRQ_LINE */
void gic_level_line(struct gic *g, uint32_t spi, struct irq_line *line);

/**
 * struct gic_edge - an edge-triggered line through an irqfd
 * @line: what the device gets; first member
 */
struct gic_edge {
	struct irq_line line;
	int fd;
};
/** gic_edge_line() - make one */
int gic_edge_line(struct gic *g, uint32_t spi, struct gic_edge *edge, struct err *e);
/** gic_edge_free() - close it */
void gic_edge_free(struct gic_edge *edge);

#endif
