// SPDX-License-Identifier: BSD-3-Clause
/*
 * The registers of virtio-pci on the model of KVM, and what they do to a device. Input: what
 * vrig_run() takes; "the host" is configuration space here.
 */
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include "tests/fuzz/vrig.h"
#include "tests/unit/pbus.h"
#include "virtio/pci.h"

static size_t host_write(void *ctx, const void *buf, size_t len)
{
	return len;
}

static void make(struct vrig *r, struct input *in)
{
	struct virtio_console_io io = { .write = host_write };
	struct err e;

	PROPERTY(!virtio_console_new(&r->env, &io, &r->dev, &e));
}

static void host(struct vrig *r, struct input *in)
{
	static const uint8_t width[] = { 1, 2, 4, 4 };
	uint8_t how = in_u8(in);
	unsigned int off = in_u8(in), at;
	uint32_t val = how & 0x10 ? in_u32(in) : in_u8(in);

	switch (how >> 5) {
	case 0:
		virtio_console_resize(r->dev, how, how);
		virtio_console_input(r->dev, "x", 1);
		return;
	case 1:		/* MSI-X on or off */
		at = pb_cap(r->pb, 8, PCI_CAP_ID_MSIX, 0);
		if (at)
			pb_set_cfg(r->pb, 8, at + PCI_MSIX_FLAGS, val << 8, 2);
		return;
	case 2:		/* a vector with the ITS's address */
		at = off % 4 * 16;
		vrig_access(r, MAP_PCI_MEM_BASE + VIRTIO_PCI_MSIX_OFF + at, PB_DOORBELL, 4, true);
		vrig_access(r, MAP_PCI_MEM_BASE + VIRTIO_PCI_MSIX_OFF + at + 4,
			   PB_DOORBELL >> 32, 4, true);
		vrig_access(r, MAP_PCI_MEM_BASE + VIRTIO_PCI_MSIX_OFF + at + 8, val, 4, true);
		vrig_access(r, MAP_PCI_MEM_BASE + VIRTIO_PCI_MSIX_OFF + at + 12, 0, 4, true);
		return;
	default:
		if (how & 4)
			pb_set_cfg(r->pb, 8, off, val, width[how & 3]);
		else
			pb_cfg(r->pb, 8, off, width[how & 3]);
		return;
	}
}

static const struct vrig_kind kind = { .make = make, .host = host, .pci = true };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	vrig_run(&kind, data, size);
	return 0;
}

void fuzz_seeds(void)
{
	static const uint16_t some[] = { 64, 0 };
	static const uint16_t bases[] = { VIRTIO_PCI_COMMON_OFF, VIRTIO_PCI_ISR_OFF,
		VIRTIO_PCI_DEVICE_OFF, VIRTIO_PCI_NOTIFY_OFF };
	struct vrig_seed s;
	char name[] = "a";

	for (unsigned int i = 0; i < 4; i++, name[0]++) {
		vrig_seed_start(&s, i & 1, i & 2, NULL, 0);
		for (uint8_t v = 0; v < 3; v++)
			vrig_seed_host(&s, (uint8_t[]){ 0x40, v, v }, 3);
		vrig_seed_host(&s, (uint8_t[]){ 0x20, 0, PCI_MSIX_FLAGS_ENABLE >> 8 }, 3);
		vrig_seed_chain(&s, 1, (uint8_t[]){ 2, 'a', 'b' }, 3, some, NULL);
		vrig_seed_kick(&s, 1);
		vrig_seed_host(&s, (uint8_t[]){ 7, 0, 0 }, 3);
		vrig_seed_host(&s, (uint8_t[]){ 0x20, 0, PCI_MSIX_FLAGS_MASKALL >> 8 }, 3);
		vrig_seed_host(&s, (uint8_t[]){ 7, 0, 0 }, 3);
		/* memory off and on */
		vrig_seed_host(&s, (uint8_t[]){ 0x65, PCI_COMMAND, 0 }, 3);
		vrig_seed_host(&s, (uint8_t[]){ 0x65, PCI_COMMAND, 6 }, 3);
		vrig_seed_rest(&s);
		vrig_seed_end(&s, name);
	}
	/* each register; what the window in configuration space reaches */
	for (unsigned int half = 0; half < 8; half++, name[0]++) {
		vrig_seed_start(&s, half & 1, half & 2, NULL, 0);
		for (uint16_t off = 0; off < 0x40; off += 2) {
			const uint16_t at = bases[half >> 1] + off;
			const uint8_t how = (half & 1 ? 8 : 0) | 0x20 | (off % 4 ? 4 : 0);

			vrig_seed_bytes(&s, (uint8_t[]){ 5, how, at & 0xff, at >> 8, half & 1 }, 5);
			vrig_seed_host(&s, (uint8_t[]){ 0x60 | (half & 1 ? 6 : 2),
					      0x40 + 4 * (off / 2), half }, 3);
		}
		vrig_seed_end(&s, name);
	}
}
