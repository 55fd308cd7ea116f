/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files of an assigned PCI function. */
#ifndef VFIO_PCI_INT_H
#define VFIO_PCI_INT_H

#include "vfio/pci.h"

struct vfio_irqs;

struct vfio_pci {
	struct pci_dev pci;		/* on the guest's bus */
	struct vfio_device *dev;
	struct vfio_pci_env env;
	struct vfio_pci_stat stat;
	struct vfio_irqs *irq;
	bool stopped;
};

/* ---- pci_irq.c ------------------------------------------------------------------------------- */

/**
 * vfio_irqs_init() - INTx, MSI, MSI-X as the device has them, errors and unplug requests
 *
 * Called when p->pci.cfg holds the device's configuration space with its capabilities where the
 * hardware has them, and before the function is added to the bus. Takes the MSI and MSI-X
 * capabilities over (pci_add_msix() at the place where the hardware has it, and its own MSI), or
 * removes them from the list when there is no ITS.
 */
int vfio_irqs_init(struct vfio_pci *p, struct err *e);
/** vfio_irqs_start() - the function is on the bus and has its number: INTx gets its wire */
int vfio_irqs_start(struct vfio_pci *p, struct err *e);
/** vfio_irqs_cfg() - after the guest wrote to configuration space; no lock is held */
void vfio_irqs_cfg(struct vfio_pci *p, unsigned int off, unsigned int len);
/** vfio_irqs_msix() - struct pci_ops.msix_enabled */
void vfio_irqs_msix(struct pci_dev *d, bool on);
/** vfio_irqs_stop() - none any more; vfio_irqs_free() - after that; fine if there are none */
void vfio_irqs_stop(struct vfio_pci *p);
void vfio_irqs_free(struct vfio_pci *p);

#endif
