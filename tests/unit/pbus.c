// SPDX-License-Identifier: BSD-3-Clause
#include "tests/unit/unit.h"

#include <string.h>

#include "tests/unit/pbus.h"

ipa_t pb_kernel_io(const void *ctx, ipa_t ipa)
{
	const struct pbus *pb = ctx;

	return pb->realm ? ipa | PB_SHARED : ipa;
}

static ipa_t doorbell(const void *ctx, ipa_t ipa)
{
	return pb_kernel_io(ctx, ipa & ~PB_SHARED);
}

void pb_init(struct pbus *pb, bool realm, unsigned int nr)
{
	struct irq_line line[PCI_NR_DEVICES];
	struct err e;

	memset(pb, 0, sizeof(*pb));
	pb->realm = realm;
	fake_reset(&fake_linux_7_3);
	assert_int_equal(kvm_open(&pb->kvm, &fake_sys, NULL, &e), 0);
	assert_int_equal(kvm_vm_create(&pb->kvm, A64_VM_TYPE_IPA_SIZE(33), &e), 0);
	assert_int_equal(kvm_vcpu_create(&pb->kvm, 0, &pb->vcpu, &e), 0);
	gic_place(&pb->gic, 1, true);
	assert_int_equal(gic_create(&pb->gic, &pb->kvm, 1, pb_kernel_io, pb, &e), 0);
	assert_int_equal(msi_init(&pb->msi, &pb->kvm, doorbell, pb, &e), 0);
	for (unsigned int i = 0; i < PCI_NR_DEVICES; i++)
		gic_level_line(&pb->gic, MAP_PCI_SPI + i, &line[i]);
	assert_int_equal(pci_host_init(&pb->host, &pb->bus, line, nr, 0, 0, 0, &e), 0);
}

void pb_destroy(struct pbus *pb)
{
	const char *why;

	pci_host_destroy(&pb->host);
	msi_destroy(&pb->msi);
	gic_destroy(&pb->gic);
	kvm_vcpu_close(&pb->vcpu);
	kvm_close(&pb->kvm);
	why = fake_verdict();
	if (why)
		fail_msg("%s", why);
}

uint64_t pb_access(struct pbus *pb, ipa_t ipa, uint64_t val, unsigned int len, bool write)
{
	uint64_t out = 0;
	uint8_t data[8];

	memcpy(data, &val, sizeof(data));
	assert_true(mmio_access(&pb->bus, ipa, data, len, write));
	memcpy(&out, data, len);
	return out;
}

uint64_t pb_read(struct pbus *pb, ipa_t ipa, unsigned int len)
{
	return pb_access(pb, ipa, 0, len, false);
}

void pb_write(struct pbus *pb, ipa_t ipa, uint64_t val, unsigned int len)
{
	pb_access(pb, ipa, val, len, true);
}

uint32_t pb_cfg(struct pbus *pb, unsigned int devfn, unsigned int off, unsigned int len)
{
	return pb_read(pb, MAP_ECAM_BASE + devfn * 4096UL + off, len);
}

void pb_set_cfg(struct pbus *pb, unsigned int devfn, unsigned int off, uint32_t val,
		unsigned int len)
{
	pb_write(pb, MAP_ECAM_BASE + devfn * 4096UL + off, val, len);
}

unsigned int pb_cap(struct pbus *pb, unsigned int devfn, uint8_t id, unsigned int n)
{
	unsigned int at = pb_cfg(pb, devfn, PCI_CAPABILITY_LIST, 1);

	for (unsigned int i = 0; at && i < 48; i++, at = pb_cfg(pb, devfn, at + 1, 1))
		if (pb_cfg(pb, devfn, at, 1) == id && !n--)
			return at;
	return 0;
}
