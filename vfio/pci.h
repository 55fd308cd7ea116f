/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI function of the host on the guest's bus: configuration space (pci_cfg.c), BARs and ROM
 * (pci_bar.c), interrupts (pci_irq.c), reset and errors (pci.c).
 */
#ifndef VFIO_PCI_H
#define VFIO_PCI_H

#include "vfio/vfio.h"
#include "vmm/board/pci.h"
#include "vmm/core/loop.h"

struct vfio_pci;

/**
 * struct vfio_pci_cfg - what the user says of it
 * @rom:    file with an expansion ROM instead of the device's own; NULL: the device's
 * @no_rom: the guest sees none
 */
struct vfio_pci_cfg {
	const char *rom;
	bool no_rom;
};

/**
 * struct vfio_pci_env - the machine
 * @host: the bus
 * @msi:  routes of messages; NULL: no ITS, the guest sees no MSI and no MSI-X
 * @kvm:  for INTx by irqfd
 * @loop: of the main thread: errors and unplug requests of the kernel arrive there
 * @intx_exits: kvm_forgets_eoi(): while INTx is in use, accesses to BARs are exits. A handler asks
 *        its device, and that is the exit that KVM needs
 * @map_bar: let the guest reach [host, host + size) at @ipa without exits, *slot is for unmap_bar;
 *        NULL: this kind of guest cannot (a KVM realm): all accesses are exits
 * @unmap_bar: undo it
 * @failed: the device is lost, or the host wants it back: the machine cannot go on
 */
struct vfio_pci_env {
	struct pci_host *host;
	struct msi *msi;
	struct kvm *kvm;
	struct loop *loop;
	bool intx_exits;
	int (*map_bar)(void *ctx, ipa_t ipa, uint64_t size, void *host, unsigned int *slot);
	void (*unmap_bar)(void *ctx, unsigned int slot);
	void (*failed)(void *ctx, const char *why);
	void *ctx;
};

/**
 * vfio_pci_new() - reset a device and put it on the bus
 *
 * Bus mastering is off until the guest's driver switches it on, so there is no DMA before.
 */
int vfio_pci_new(struct vfio_device *dev, const struct vfio_pci_cfg *cfg,
		 const struct vfio_pci_env *env, struct vfio_pci **out, struct err *e);
/**
 * vfio_pci_stop() - no DMA and no interrupts from here on; no vCPU runs, memory is still mapped
 * Before dma_free(). Resets the device, so that nothing of the guest's is left in it.
 */
void vfio_pci_stop(struct vfio_pci *p);
/** vfio_pci_free() - take it off the bus; after vfio_pci_stop(), and before the bus is gone */
void vfio_pci_free(struct vfio_pci *p);

/** enum vfio_pci_irq - means of interrupting that are on in the device, one at a time */
enum vfio_pci_irq {
	VFIO_PCI_NO_IRQ,
	VFIO_PCI_INTX,
	VFIO_PCI_MSI,
	VFIO_PCI_MSIX,
};

/** struct vfio_pci_stat - for `stat`. Interrupts are not counted: they never pass through here */
struct vfio_pci_stat {
	_Atomic uint64_t bar_exits;	/* accesses to BARs that were exits */
	_Atomic uint64_t cfg_exits;	/* to configuration space that went to the device */
	_Atomic uint32_t irq;		/* enum vfio_pci_irq */
	_Atomic uint32_t vectors;	/* that are on */
};
/** vfio_pci_stat() - the counters; vfio_pci_name() - "0000:01:00.0" */
const struct vfio_pci_stat *vfio_pci_stat(const struct vfio_pci *p);
const char *vfio_pci_name(const struct vfio_pci *p);

#endif
