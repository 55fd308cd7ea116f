// SPDX-License-Identifier: BSD-3-Clause
/*
 * What a PCI device and its driver in the kernel say of themselves, and what a guest does with it
 * on the model of KVM. Input: a byte that names a device, what is different about it, then accesses
 * of the guest and interrupts. Device 0 is all the input's: 64 bytes of regions and interrupts, so
 * many bytes of configuration space as two more say, bytes behind a region's description.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fakevfio/fake_dev.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/pbus.h"
#include "vfio/pci.h"
#include "vmm/core/log.h"

#define HEAD	64
#define CAPS	128
#define MAX_ACTIONS 200

static unsigned int slots;

static int map_bar(void *ctx, ipa_t ipa, uint64_t size, void *host, unsigned int *slot)
{
	/* all of it is there, and it is pages */
	if ((ipa | size | (uintptr_t)host) % 4096 || !size)
		abort();
	*slot = slots++;
	return 0;
}

static void unmap_bar(void *ctx, unsigned int slot)
{
}

static void failed(void *ctx, const char *why)
{
}

/* The list ends, and lies where it may. */
static void walk(struct pbus *pb)
{
	unsigned int at = pb_cfg(pb, 8, PCI_CAPABILITY_LIST, 1), n = 0;

	for (; at; at = pb_cfg(pb, 8, at + 1, 1))
		if (at < PCI_STD_HEADER_SIZEOF || ++n > 48)
			abort();
	for (at = 0x100, n = 0; at; at = pb_cfg(pb, 8, at, 4) >> 20)
		if (at < 0x100 || at % 4 || ++n > 961)
			abort();
}

static void describe(struct fake_dev *f, const uint8_t *head)
{
	for (unsigned int bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		const uint8_t *h = head + 4 * bar;

		if (h[0] & 1)
			fake_dev_bar(f, bar, (UINT64_C(1) << h[1] % 24) + (h[0] & 2 ? h[2] : 0),
				     0, h[3] & 7);
	}
	if (head[24] & 1)
		fake_dev_rom(f, 1 << (11 + head[25] % 4), head[24] & 2);
	for (unsigned int i = 0; i <= VFIO_PCI_MSIX_IRQ_INDEX; i++)
		fake_dev_irqs(f, i, head[32 + i], head[36 + i] & 0xf);
	f->can_reset = !(head[40] & 1);
}

/* All of a device's description is the input's. */
static void make_any(struct fake_dev *f, struct input *in, uint8_t *caps)
{
	uint8_t head[HEAD];
	unsigned int n;

	in_bytes(in, head, sizeof(head));
	fake_dev_init(f, "0000:00:04.0", 0x1234, 1, 0xff0000);
	describe(f, head);
	n = in_u16(in) % (sizeof(f->cfg) + 1);
	f->cfg_size = n > 256 ? 4096 : 256;
	f->region[VFIO_PCI_CONFIG_REGION_INDEX].size = f->cfg_size;
	in_bytes(in, f->cfg, n);
	if (head[40] & 2)
		f->cfg[PCI_HEADER_TYPE] = 0;
	memset(f->wmask, head[41], sizeof(f->wmask));
	if (head[40] & 4) {
		f->region[head[42] % 6].caps_len = head[43] % CAPS;
		in_bytes(in, caps, f->region[head[42] % 6].caps_len);
		f->region[head[42] % 6].caps = caps;
	}
}

/* A device that there is, but for some bytes of it. */
static void make_known(struct fake_dev *f, struct input *in, uint8_t which, uint8_t *caps)
{
	static void (*const known[])(struct fake_dev *f) = {
		fake_nvme, fake_e1000e, fake_virtio_net, fake_edu,
	};
	unsigned int n = in_u8(in) % 32;

	known[which % ARRAY_SIZE(known)](f);
	for (; n; n--) {
		uint8_t how = in_u8(in);
		unsigned int off = in_u16(in);
		struct fake_region *g = &f->region[how % VFIO_PCI_NUM_REGIONS];

		switch (how >> 5) {
		case 0:		/* of a region: what can be done with it */
			g->flags = off & 0xf;
			break;
		case 1:		/* pages that can be mapped */
			if (g->nr_areas < FAKE_DEV_AREAS)
				g->area[g->nr_areas++] = (struct vfio_region_sparse_mmap_area){
					(off >> 8) * UINT64_C(1024), (off & 0xff) * UINT64_C(1024),
				};
			break;
		case 2:
			g->msix_mappable = true;
			break;
		case 3:		/* interrupts of an index */
			fake_dev_irqs(f, how % VFIO_PCI_NUM_IRQS, off & 0xff, off >> 8 & 0xf);
			f->irq[how % VFIO_PCI_NUM_IRQS].limit = off >> 12;
			break;
		case 4:
			g->caps_len = off % CAPS;
			in_bytes(in, caps, g->caps_len);
			g->caps = caps;
			break;
		case 5:
			f->can_reset = off & 1;
			f->cfg_size = off & 2 ? 256 : 4096;
			break;
		default:	/* configuration space */
			f->cfg[off % sizeof(f->cfg)] = in_u8(in);
			break;
		}
	}
}

static void act(struct pbus *pb, struct fake_dev *f, struct loop *loop, struct input *in)
{
	static const uint8_t width[] = { 1, 2, 4, 4, 8, 4, 2, 4 };
	uint8_t what = in_u8(in);
	unsigned int len = width[what >> 4 & 7], off = in_u16(in), bar, cap;
	bool write = what & 0x80;
	uint64_t val, at;

	switch (what & 0xf) {
	case 0:
	case 1:
		val = in_u32(in);
		pb_access(pb, MAP_ECAM_BASE + 8 * 4096ULL + off % (what & 1 ? 256 : 4096), val, len,
			  write);
		break;
	case 2:		/* a BAR, where it is */
		bar = off % 6;
		at = pb_cfg(pb, 8, PCI_BASE_ADDRESS_0 + 4 * bar, 4) & ~15U;
		val = in_u64(in);
		if (at >= MAP_PCI_MEM_BASE && at < MAP_PCI_MEM_END - SZ_64K)
			pb_access(pb, at + off / 6, val, len, write);
		break;
	case 3:		/* moves it */
		pb_set_cfg(pb, 8, PCI_BASE_ADDRESS_0 + 4 * (off % 6),
			   MAP_PCI_MEM_BASE + (off << 14), 4);
		break;
	case 4:		/* the device interrupts; or fails */
		fake_dev_fire(f, off % VFIO_PCI_NUM_IRQS, off >> 8);
		break;
	case 5:
		f->fail_at = off % 8;
		f->fail_errno = EIO;
		break;
	case 6:		/* the control words of MSI and MSI-X */
		cap = pb_cap(pb, 8, off & 1 ? PCI_CAP_ID_MSI : PCI_CAP_ID_MSIX, 0);
		if (cap)
			pb_set_cfg(pb, 8, cap + 2, off, 2);
		break;
	case 7:		/* a message that the ITS knows */
		cap = pb_cap(pb, 8, PCI_CAP_ID_MSI, 0);
		if (!cap)
			break;
		pb_set_cfg(pb, 8, cap + PCI_MSI_ADDRESS_LO, PB_DOORBELL, 4);
		pb_set_cfg(pb, 8, cap + PCI_MSI_DATA_64, off, 2);
		break;
	case 8:		/* the same in an entry of the table, wherever that is */
		cap = pb_cap(pb, 8, PCI_CAP_ID_MSIX, 0);
		if (!cap)
			break;
		val = pb_cfg(pb, 8, cap + PCI_MSIX_TABLE, 4);
		at = pb_cfg(pb, 8, PCI_BASE_ADDRESS_0 + 4 * (val % 8 % 6), 4) & ~15U;
		at += (val & ~7ULL) + off % 128 * 16;
		if (at < MAP_PCI_MEM_BASE || at >= MAP_PCI_MEM_END - 16)
			break;
		pb_write(pb, at, PB_DOORBELL, 8);
		pb_write(pb, at + 8, off, 4);
		pb_write(pb, at + 12, write, 4);
		break;
	case 9:		/* the same bits of the command register as before, others */
		pb_set_cfg(pb, 8, PCI_COMMAND, off, 2);
		break;
	default:
		loop_once(loop, 0);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vfio_pci_cfg cfg;
	static struct fake_dev f;
	static struct pbus pb;
	struct input in = { data, size };
	uint8_t caps[CAPS] = { 0 }, how = in_u8(&in);
	struct vfio_pci_env env = {
		.host = &pb.host,
		.msi = how & 0x40 ? NULL : &pb.msi,
		.kvm = &pb.kvm,
		.intx_exits = how & 0x20,
		.map_bar = how & 0x10 ? NULL : map_bar,
		.unmap_bar = unmap_bar,
		.failed = failed,
	};
	struct vfio_device dev;
	struct vfio_pci *p;
	struct loop loop;
	struct err e;

	cfg.no_rom = how & 0x80;
	pb_init(&pb, how & 8, 1);
	PROPERTY(!loop_init(&loop, &e));
	env.loop = &loop;
	if (how & 7)
		make_known(&f, &in, how & 7, caps);
	else
		make_any(&f, &in, caps);
	fake_dev_sealed(&f);
	fake_dev_open(&f, &dev);
	if (!vfio_pci_new(&dev, &cfg, &env, &p, &e)) {
		walk(&pb);
		pb_set_cfg(&pb, 8, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
		for (unsigned int off = 0; off < 4096; off += off < 256 ? 4 : 64)
			pb_set_cfg(&pb, 8, off, pb_cfg(&pb, 8, off, 4), 4);
		for (unsigned int i = 0; i < MAX_ACTIONS && in.left; i++)
			act(&pb, &f, &loop, &in);
		walk(&pb);
		vfio_pci_stop(p);
	} else {
		ERROR_IS_A_LINE(e);
	}
	vfio_pci_free(p);
	fake_dev_destroy(&f);
	loop_destroy(&loop);
	pb_destroy(&pb);
	return 0;
}

static size_t put(uint8_t *s, uint8_t what, uint16_t off)
{
	s[0] = what;
	s[1] = off;
	s[2] = off >> 8;
	return 3;
}

void fuzz_seeds(void)
{
	uint8_t s[4096];
	char name[] = "a";

	for (unsigned int i = 0; i < 16; i++, name[0]++) {
		size_t n = 0;

		s[n++] = (i % 4 + 1) | (uint8_t[]){ 0, 0x10, 0x20, 0x88 }[i / 4];
		s[n++] = 6;		/* what is different */
		n += put(s + n, 0x20, 0x0004);
		n += put(s + n, 0x40, 0);
		n += put(s + n, 0x60 | VFIO_PCI_ERR_IRQ_INDEX, 0x0101);
		n += put(s + n, 0x60 | VFIO_PCI_REQ_IRQ_INDEX, 0x0101);
		n += put(s + n, 0xa0, i & 1);
		n += put(s + n, 0xe0, 0x0e);
		s[n++] = 0;
		for (unsigned int off = 0; off < 64; off += 4) {
			n += put(s + n, 0x21, off);
			memset(s + n, 0, 4);
			n += 4;
		}
		n += put(s + n, 6, PCI_MSIX_FLAGS_ENABLE);
		for (unsigned int v = 0; v < 3; v++) {
			n += put(s + n, 8, v);
			n += put(s + n, 4, VFIO_PCI_MSIX_IRQ_INDEX | v << 8);
		}
		n += put(s + n, 0x88, 1);
		n += put(s + n, 6, 0);
		n += put(s + n, 7, 5);
		n += put(s + n, 6, PCI_MSI_FLAGS_ENABLE);
		n += put(s + n, 4, VFIO_PCI_MSI_IRQ_INDEX);
		n += put(s + n, 0x0f, 0);
		for (unsigned int bar = 0; bar < 6; bar++) {
			for (unsigned int how = 0; how < 4; how++) {
				n += put(s + n, 2 | how << 4 | (how & 1) << 7, bar + 6 * 64 * how);
				memset(s + n, 0, 8);
				n += 8;
			}
		}
		n += put(s + n, 4, VFIO_PCI_INTX_IRQ_INDEX);
		n += put(s + n, 9, PCI_COMMAND_INTX_DISABLE | PCI_COMMAND_MEMORY);
		n += put(s + n, 9, 0);
		n += put(s + n, 9, PCI_COMMAND_MEMORY);
		n += put(s + n, 3, 6);
		/* power management, resets by the function's own registers */
		for (unsigned int off = 0x40; off < 0x100; off += 4) {
			n += put(s + n, 0xa1, off);
			memset(s + n, off & 8 ? 0xff : 0x80, 4);
			n += 4;
		}
		n += put(s + n, 4, VFIO_PCI_ERR_IRQ_INDEX);
		n += put(s + n, 0x0f, 0);
		n += put(s + n, 4, VFIO_PCI_REQ_IRQ_INDEX);
		n += put(s + n, 0x0f, 0);
		n += put(s + n, 5, 2);
		PROPERTY(n < sizeof(s));
		fuzz_seed(name, s, n);
	}
	/* all of it from bytes: nothing at all, and a small device */
	memset(s, 0, sizeof(s));
	fuzz_seed("none", s, 200);
	s[1] = 1;
	s[2] = 14;
	s[4] = 7;
	s[1 + 40] = 2;
	s[1 + HEAD] = 64;
	fuzz_seed("small", s, 300);
}
