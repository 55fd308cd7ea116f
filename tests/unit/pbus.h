/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI bus on the model of KVM, and the guest's accesses to it. In a realm bit 32 of an address is
 * the shared bit, which is where KVM knows the devices.
 */
#ifndef TESTS_PBUS_H
#define TESTS_PBUS_H

#include "tests/fakekvm/fakekvm.h"
#include "vmm/board/gic.h"
#include "vmm/board/pci.h"
#include "vmm/core/err.h"

#define PB_SHARED	(1ULL << 32)
#define PB_DOORBELL	(MAP_GICD_BASE - MAP_GICR_SIZE - MAP_GITS_SIZE + 0x10040)

struct pbus {
	struct kvm kvm;
	struct kvm_vcpu vcpu;
	struct gic gic;
	struct mmio_bus bus;
	struct msi msi;
	struct pci_host host;
	bool realm;
};

/** pb_init() - a VM with GIC and ITS, and an empty bus for @nr functions */
void pb_init(struct pbus *pb, bool realm, unsigned int nr);
/** pb_destroy() - end it; fails the test if the model has complaints */
void pb_destroy(struct pbus *pb);
/** pb_kernel_io() - for struct virtio_pci_env; @ctx: the bus */
ipa_t pb_kernel_io(const void *ctx, ipa_t ipa);

/** pb_access() - one access at an address */
uint64_t pb_access(struct pbus *pb, ipa_t ipa, uint64_t val, unsigned int len, bool write);
uint64_t pb_read(struct pbus *pb, ipa_t ipa, unsigned int len);
void pb_write(struct pbus *pb, ipa_t ipa, uint64_t val, unsigned int len);
/** pb_cfg() - read configuration space of @devfn; pb_set_cfg(): write it */
uint32_t pb_cfg(struct pbus *pb, unsigned int devfn, unsigned int off, unsigned int len);
void pb_set_cfg(struct pbus *pb, unsigned int devfn, unsigned int off, uint32_t val,
		unsigned int len);
/** pb_cap() - offset of the @n-th capability with this id, 0: there is none */
unsigned int pb_cap(struct pbus *pb, unsigned int devfn, uint8_t id, unsigned int n);

#endif
