// SPDX-License-Identifier: BSD-3-Clause
/*
 * Configuration space, BARs that move, INTx and MSI-X, on the model of KVM. Input: how the bus is,
 * then accesses of the guest and interrupts of the functions.
 */
#include "tests/unit/unit.h"

#include "tests/fuzz/fuzz.h"
#include "tests/unit/pbus.h"
#include "vmm/core/log.h"

#define FUNCS		4
#define VECTORS		70
#define MAX_ACTIONS	256
#define TABLE		0x1000
#define PBA		0x2000
#define MEM64		UINT64_C(0x1000000000)

struct toy {
	struct pci_dev pci;
	ipa_t at[PCI_NR_BARS];
	bool on;
};

static struct toy *toy_of(struct pci_dev *d)
{
	return container_of(d, struct toy, pci);
}

static uint64_t toy_read(struct pci_dev *d, unsigned int bar, uint64_t off, unsigned int len)
{
	PROPERTY(bar < PCI_NR_BARS && off + len <= d->bar[bar].size && len && len <= 8);
	/* the table is not the owner's */
	PROPERTY(bar || !pci_msix_vectors(d) || off + len <= TABLE ||
		 off >= TABLE + 16 * VECTORS);
	return off;
}

static void toy_write(struct pci_dev *d, unsigned int bar, uint64_t off, uint64_t val,
		      unsigned int len)
{
	toy_read(d, bar, off, len);
}

static void toy_mapped(struct pci_dev *d, unsigned int bar, ipa_t addr)
{
	struct toy *t = toy_of(d);

	/* told of 0 before of another address, and naturally aligned */
	PROPERTY(bar < PCI_NR_BARS && (!addr || !t->at[bar]));
	PROPERTY(!(addr & (d->bar[bar].size - 1)));
	t->at[bar] = addr;
}

static void toy_switched(struct pci_dev *d, bool on)
{
	PROPERTY(pci_msix_on(d) == on && toy_of(d)->on != on);
	toy_of(d)->on = on;
}

static bool toy_cfg_read(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t *val)
{
	PROPERTY(len == 1 || len == 2 || len == 4);
	PROPERTY(off % len == 0 && off + len <= PCI_CFG_SPACE);
	return false;
}

static bool toy_cfg_write(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t val)
{
	return toy_cfg_read(d, off, len, &val);
}

static const struct pci_ops toy_ops = {
	.bar_read = toy_read,
	.bar_write = toy_write,
	.bar_mapped = toy_mapped,
	.cfg_read = toy_cfg_read,
	.cfg_write = toy_cfg_write,
	.msix_enabled = toy_switched,
};

static struct pbus pb;
static struct toy toys[FUNCS];
static unsigned int nr_toys;

static void add(unsigned int i, uint8_t how)
{
	static const struct pci_ids ids = { .vendor = 0x1234, .device = 0x5678, .class = 0x10802 };
	static const struct pci_msix_cfg msix = {
		.nr = VECTORS, .table_off = TABLE, .pba_off = PBA,
	};
	struct toy *t = &toys[i];
	struct err e;
	int ret;

	memset(t, 0, sizeof(*t));
	pci_dev_init(&t->pci, &toy_ops, "toy", &ids);
	pci_add_bar(&t->pci, 0, 0x4000, false, false);
	if (how & 1)
		pci_add_bar(&t->pci, 2, UINT64_C(1) << (12 + (how >> 4)), true, how & 2);
	if (how & 4)
		pci_add_bar(&t->pci, PCI_ROM_BAR, 0x800, false, false);
	pci_use_intx(&t->pci);
	if (how & 8)
		PROPERTY(!pci_add_msix(&t->pci, &pb.msi, &msix, &e));
	/* the last two share a device */
	ret = i < 2 ? pci_add(&pb.host, &t->pci, &e) :
	      pci_add_function(&pb.host, &t->pci, i == 3 ? &toys[2].pci : NULL, &e);
	PROPERTY(!ret);
	nr_toys++;
}

/* The list ends and lies where it may; ids and header never change. */
static void walk(const struct toy *t)
{
	unsigned int devfn = t->pci.devfn, at = pb_cfg(&pb, devfn, PCI_CAPABILITY_LIST, 1), n = 0;

	PROPERTY(pb_cfg(&pb, devfn, 0, 4) == 0x56781234);
	for (; at; at = pb_cfg(&pb, devfn, at + 1, 1))
		PROPERTY(at >= PCI_STD_HEADER_SIZEOF && ++n <= 48);
}

static void set_command(const struct toy *t, uint16_t val)
{
	pb_set_cfg(&pb, t->pci.devfn, PCI_COMMAND, val, 2);
}

static void act(struct input *in)
{
	static const uint8_t width[] = { 1, 2, 4, 4, 8, 4, 2, 4 };
	uint8_t what = in_u8(in), how = in_u8(in);
	struct toy *t = &toys[how % nr_toys];
	unsigned int len = width[how >> 2 & 7], off = in_u16(in);
	unsigned int devfn = how & 0x80 ? off >> 12 : t->pci.devfn, cap;
	uint64_t val = how & 0x40 ? in_u64(in) : in_u8(in);
	bool write = what & 0x80;
	ipa_t at;

	switch ((what & 0x7f) % 9) {
	case 0:		/* ECAM, any offset and width */
		pb_access(&pb, MAP_ECAM_BASE + devfn * 4096ULL + off % 4096, val, len, write);
		break;
	case 1:		/* the header: BARs, command */
		off = PCI_COMMAND + off % 0x30;
		pb_access(&pb, MAP_ECAM_BASE + devfn * 4096ULL + off, val, MIN(len, 4U), write);
		break;
	case 2:		/* a BAR at an address that it can have, or one for its size */
		val = how & 0x40 ? val : MAP_PCI_MEM_BASE + (val << 14);
		if (write)
			val = UINT32_MAX;
		pb_set_cfg(&pb, devfn, PCI_BASE_ADDRESS_0 + off % 6 * 4, val, 4);
		break;
	case 3:
		set_command(t, val);
		break;
	case 4:		/* into a BAR, where it is */
		at = t->at[off >> 12 & 3];
		if (at)
			pb_access(&pb, at + off % 0x1000, val, len, write);
		break;
	case 5:		/* the MSI-X table and its pending bits */
		if (t->at[0])
			pb_access(&pb, t->at[0] + TABLE + off % 0x1400, val, len, write);
		break;
	case 6:		/* a vector that the ITS knows */
		if (!t->at[0])
			break;
		at = t->at[0] + TABLE + off % VECTORS * 16;
		pb_write(&pb, at, PB_DOORBELL, 8);
		pb_write(&pb, at + 8, val, 4);
		pb_write(&pb, at + 12, write, 4);
		break;
	case 7:		/* MSI-X: on, masked, off */
		cap = pb_cap(&pb, t->pci.devfn, PCI_CAP_ID_MSIX, 0);
		if (cap)
			pb_set_cfg(&pb, t->pci.devfn, cap + PCI_MSIX_FLAGS, off, 2);
		break;
	default:	/* the function's own doing */
		if (val & 1)
			pci_intx(&t->pci, write);
		if (val & 2)
			pci_msix_raise(&t->pci, off % (VECTORS + 2));
		if (val & 4)
			pci_set_asleep(&t->pci, write);
		if (val & 8)
			PROPERTY(pci_msix_owns(&t->pci, 0, TABLE, 1) ==
				 !!pci_msix_vectors(&t->pci));
		if (val & 16)
			pb_access(&pb, MAP_PCI_MEM_BASE + off * UINT64_C(0x1000), val, len, write);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct irq_line line[PCI_NR_DEVICES];
	uint8_t bus = in_u8(&in);
	struct err e;

	pb_init(&pb, bus & 1, 2);
	/* another bridge: with room for functions of all kinds, and perhaps a window above 4 GiB */
	pci_host_destroy(&pb.host);
	memset(&pb.bus, 0, sizeof(pb.bus));
	for (unsigned int i = 0; i < PCI_NR_DEVICES; i++)
		gic_level_line(&pb.gic, MAP_PCI_SPI + i, &line[i]);
	PROPERTY(!pci_host_init(&pb.host, &pb.bus, line, 2, 1, bus & 2 ? MEM64 : 0,
				bus & 2 ? MEM64 : 0, &e));
	nr_toys = 0;
	for (unsigned int i = 0; i < FUNCS; i++)
		add(i, in_u8(&in));
	for (unsigned int i = 0; i < nr_toys; i++)
		set_command(&toys[i], PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	for (unsigned int i = 0; i < MAX_ACTIONS && in.left; i++)
		act(&in);
	for (unsigned int i = 0; i < nr_toys; i++)
		walk(&toys[i]);
	while (nr_toys--) {
		pci_remove(&toys[nr_toys].pci);
		pci_dev_destroy(&toys[nr_toys].pci);
	}
	pb_destroy(&pb);
	return 0;
}

static size_t put(uint8_t *p, uint8_t what, uint8_t how, uint16_t off, uint8_t val)
{
	const uint8_t a[] = { what, how, off & 0xff, off >> 8, val };

	memcpy(p, a, sizeof(a));
	return sizeof(a);
}

void fuzz_seeds(void)
{
	uint8_t s[2048];
	char name[] = "a";

	for (unsigned int i = 0; i < 8; i++, name[0]++) {
		size_t n = 0;

		s[n++] = i;
		for (unsigned int f = 0; f < FUNCS; f++)
			s[n++] = f & 1 ? 0x1f : 0x2f;
		for (unsigned int off = 0; off < 0x40; off += 4) {
			n += put(s + n, 0, i % 4 | 2 << 2, off, 0);
			n += put(s + n, 0x80, i % 4 | (i & 1 ? 0 : 2 << 2), off, i);
		}
		n += put(s + n, 3, i % 4, 0, 6);
		for (unsigned int bar = 0; bar < 6; bar++) {
			n += put(s + n, 0x82, i % 4, bar, 0);
			n += put(s + n, 2, i % 4, bar, bar + i);
		}
		n += put(s + n, 7, i % 4, PCI_MSIX_FLAGS_ENABLE, 0);
		for (unsigned int v = 0; v < 4; v++) {
			n += put(s + n, 6, i % 4, v, v);
			n += put(s + n, 8, i % 4, v, 2 | 8);
			n += put(s + n, 0x86, i % 4, v, v);
			n += put(s + n, 8, i % 4, v, 3);
			n += put(s + n, 5, i % 4 | 2 << 2, 0x1000 + v, 0);
			n += put(s + n, 0x85, i % 4 | 4 << 2, 16 * v + 8, 0);
		}
		n += put(s + n, 7, i % 4, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 0);
		n += put(s + n, 8, i % 4, 1, 2);
		n += put(s + n, 7, i % 4, PCI_MSIX_FLAGS_ENABLE, 0);
		n += put(s + n, 7, i % 4, 0, 0);
		n += put(s + n, 0x88, i % 4, 0, 1);
		n += put(s + n, 8, i % 4, 0, 1 | 16);
		n += put(s + n, 4, i % 4 | 2 << 2, 0x10, 1);
		n += put(s + n, 0x84, i % 4 | 4 << 2, 0x2010, 1);
		n += put(s + n, 0x88, i % 4, 0, 4);
		n += put(s + n, 8, i % 4, 0, 4);
		n += put(s + n, 3, i % 4, 0, 0);
		fuzz_seed(name, s, n);
	}
}
