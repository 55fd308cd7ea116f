/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio over PCI (virtio 1.2, section 4.1), modern only.
 *
 * A kick is an ioeventfd per queue, an interrupt an MSI-X vector per queue, so neither takes an
 * exit to user space; where there is no ITS or the driver wants none, INTx with the ISR register.
 */
#ifndef VIRTIO_PCI_H
#define VIRTIO_PCI_H

#include "virtio/virtio.h"
#include "vmm/board/pci.h"

struct virtio_pci;

/**
 * struct virtio_pci_env - what the transport needs of the machine
 * @host:      the bus
 * @msi:       for MSI-X; NULL: INTx only
 * @kvm:       for ioeventfds; NULL: kicks arrive by exits
 * @kernel_io: where KVM registers what is at a canonical address (realm_kernel_io()); @ctx: for it
 */
struct virtio_pci_env {
	struct pci_host *host;
	struct msi *msi;
	struct kvm *kvm;
	ipa_t (*kernel_io)(const void *ctx, ipa_t ipa);
	const void *ctx;
};

/**
 * virtio_pci_new() - put a device on the PCI bus, at its next place; before vCPUs run
 * Return: 0; -ENOSPC: the bus or its window is full; ...
 */
int virtio_pci_new(struct virtio_dev *dev, const struct virtio_pci_env *env,
		   struct virtio_pci **out, struct err *e);
/** virtio_pci_free() - after virtio_dev_stop(), while KVM and the bus are still there */
void virtio_pci_free(struct virtio_pci *p);

/* Where the registers are in BAR 0. */
#define VIRTIO_PCI_BAR		0
#define VIRTIO_PCI_COMMON_OFF	0x0000
#define VIRTIO_PCI_ISR_OFF	0x1000
#define VIRTIO_PCI_DEVICE_OFF	0x2000
#define VIRTIO_PCI_NOTIFY_OFF	0x3000	/* queue n at + n * VIRTIO_PCI_NOTIFY_STEP */
#define VIRTIO_PCI_NOTIFY_STEP	4
#define VIRTIO_PCI_MSIX_OFF	0x4000
#define VIRTIO_PCI_PBA_OFF	0x6000
#define VIRTIO_PCI_BAR_SIZE	0x8000

#endif
