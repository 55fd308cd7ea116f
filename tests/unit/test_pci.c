// SPDX-License-Identifier: BSD-3-Clause
/* The PCI host bridge: configuration space, BARs that move, INTx, MSI-X. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/pbus.h"
#include "vmm/core/log.h"

#define DEVFN(d)	((d) << 3)
#define MEM		PCI_COMMAND_MEMORY
#define MASTER		PCI_COMMAND_MASTER

/* A function that remembers what it was told: BAR 0 of 16 KiB, BAR 2 of 64 bit, a ROM. */
struct toy {
	struct pci_dev pci;
	uint8_t reg[0x4000];
	ipa_t at[PCI_NR_BARS];
	unsigned int told, switched;
	bool hook;
};

static uint64_t toy_read(struct pci_dev *d, unsigned int bar, uint64_t off, unsigned int len)
{
	struct toy *t = container_of(d, struct toy, pci);
	uint64_t val = 0;

	assert_true(off + len <= d->bar[bar].size);
	if (bar)
		return off;
	memcpy(&val, t->reg + off, len);
	return val;
}

static void toy_write(struct pci_dev *d, unsigned int bar, uint64_t off, uint64_t val,
		      unsigned int len)
{
	struct toy *t = container_of(d, struct toy, pci);

	assert_true(off + len <= d->bar[bar].size);
	if (!bar)
		memcpy(t->reg + off, &val, len);
}

static void toy_mapped(struct pci_dev *d, unsigned int bar, ipa_t addr)
{
	struct toy *t = container_of(d, struct toy, pci);

	/* never from one address to another without 0 between them */
	assert_true(!addr || !t->at[bar]);
	t->at[bar] = addr;
	t->told++;
}

static void toy_switched(struct pci_dev *d, bool on)
{
	struct toy *t = container_of(d, struct toy, pci);

	assert_int_equal(pci_msix_on(d), on);
	t->switched++;
}

static bool toy_cfg_read(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t *val)
{
	struct toy *t = container_of(d, struct toy, pci);

	if (!t->hook || off != 0x80)
		return false;
	*val = pci_cfg_read(d, 0, len) + 1;
	return true;
}

static bool toy_cfg_write(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t val)
{
	struct toy *t = container_of(d, struct toy, pci);

	if (t->hook && off == 0x80)
		pci_cfg_write(d, PCI_INTERRUPT_LINE, 1, val);
	return t->hook && off == 0x80;
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
static struct toy *toys[PCI_MAX_FUNCS + 1];
static unsigned int nr_toys;

static struct toy *add_toy(int want)
{
	static const struct pci_ids ids = {
		.vendor = 0x1234,
		.device = 0x5678,
		.sub_vendor = 0x9abc,
		.sub_device = 0xdef0,
		.class = 0x010802,
		.revision = 7,
	};
	static const struct pci_msix_cfg msix = {
		.nr = 70,
		.table_off = 0x1000,
		.pba_off = 0x2000,
	};
	struct toy *t = calloc(1, sizeof(*t));
	struct err e;

	pci_dev_init(&t->pci, &toy_ops, "toy", &ids);
	pci_add_bar(&t->pci, 0, 0x4000, false, false);
	pci_add_bar(&t->pci, 2, 0x10000, true, true);
	pci_add_bar(&t->pci, PCI_ROM_BAR, 0x800, false, false);
	pci_use_intx(&t->pci);
	assert_int_equal(pci_add_msix(&t->pci, &pb.msi, &msix, &e), 0);
	assert_int_equal(pci_add(&pb.host, &t->pci, &e), want);
	toys[nr_toys++] = t;
	return t;
}

static int setup(void **state)
{
	(void)state;
	pb_init(&pb, false, 31);
	nr_toys = 0;
	return 0;
}

static int setup_crowd(void **state)
{
	(void)state;
	pb_init(&pb, false, PCI_MAX_FUNCS);
	nr_toys = 0;
	return 0;
}

static int setup_realm(void **state)
{
	(void)state;
	pb_init(&pb, true, 31);
	nr_toys = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < nr_toys; i++) {
		pci_dev_destroy(&toys[i]->pci);
		free(toys[i]);
	}
	pb_destroy(&pb);
	return 0;
}

static void header(void **state)
{
	unsigned int fn = DEVFN(1);

	(void)state;
	add_toy(0);
	assert_int_equal(pb_cfg(&pb, 0, 0, 4), 0x00081b36);
	assert_int_equal(pb_cfg(&pb, 0, PCI_CLASS_REVISION, 4) >> 8, 0x060000);
	assert_int_equal(pb_cfg(&pb, fn, PCI_VENDOR_ID, 4), 0x56781234);
	assert_int_equal(pb_cfg(&pb, fn, PCI_DEVICE_ID, 2), 0x5678);
	assert_int_equal(pb_cfg(&pb, fn, PCI_DEVICE_ID + 1, 1), 0x56);
	assert_int_equal(pb_cfg(&pb, fn, PCI_CLASS_REVISION, 4), 0x01080207);
	assert_int_equal(pb_cfg(&pb, fn, PCI_SUBSYSTEM_VENDOR_ID, 4), 0xdef09abc);
	assert_int_equal(pb_cfg(&pb, fn, PCI_HEADER_TYPE, 1), 0);
	assert_int_equal(pb_cfg(&pb, fn, PCI_INTERRUPT_PIN, 1), 1);
	assert_int_equal(pb_cfg(&pb, fn, PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	/* what nobody is at, other buses, strange widths */
	assert_int_equal(pb_cfg(&pb, DEVFN(2), 0, 4), 0xffffffff);
	assert_int_equal(pb_cfg(&pb, fn + 1, 0, 2), 0xffff);
	assert_int_equal(pb_read(&pb, MAP_ECAM_BASE + SZ_1M, 4), 0xffffffff);
	assert_int_equal(pb_read(&pb, MAP_ECAM_BASE + MAP_ECAM_SIZE - 8, 8), UINT64_MAX);
	assert_int_equal(pb_cfg(&pb, fn, 1, 2), 0xffff);
	assert_int_equal(pb_cfg(&pb, fn, 2, 4), 0xffffffff);
	assert_int_equal(pb_read(&pb, MAP_ECAM_BASE + fn * 4096, 8), UINT64_MAX);
	assert_int_equal(pb_read(&pb, MAP_PCI_IO_BASE + 0x60, 1), 0xff);
	pb_write(&pb, MAP_PCI_IO_BASE + 0x60, 0, 1);
	/* nothing but what is writable can be written */
	for (unsigned int off = 0; off < PCI_CFG_SPACE; off += 4) {
		uint32_t was = pb_cfg(&pb, fn, off, 4), diff;

		if (off == PCI_COMMAND)
			continue;
		pb_set_cfg(&pb, fn, off, ~was, 4);
		diff = was ^ pb_cfg(&pb, fn, off, 4);
		for (unsigned int i = 0; i < 4; i++, diff >>= 8)
			assert_int_equal(diff & 0xff & ~toys[0]->pci.wmask[off + i], 0);
		pb_set_cfg(&pb, fn, off, was, 4);
		assert_int_equal(pb_cfg(&pb, fn, off, 4), was);
	}
}

static void hooks(void **state)
{
	struct toy *t = add_toy(0);

	(void)state;
	assert_int_equal(pb_cfg(&pb, DEVFN(1), 0x80, 2), 0);
	t->hook = true;
	assert_int_equal(pb_cfg(&pb, DEVFN(1), 0x80, 2), 0x1235);
	pb_set_cfg(&pb, DEVFN(1), 0x80, 0x42, 1);
	assert_int_equal(pb_cfg(&pb, DEVFN(1), PCI_INTERRUPT_LINE, 1), 0x42);
}

static void places(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < PCI_MAX_FUNCS; i++) {
		struct toy *t = add_toy(0);

		assert_int_equal(t->pci.devfn, DEVFN(1) + i);
	}
	add_toy(-ENOSPC);
	for (unsigned int devfn = 0; devfn < 256; devfn++)
		assert_int_equal(pb_cfg(&pb, devfn, 0, 4) == 0xffffffff, devfn && devfn < 8);
	for (unsigned int d = 1; d < 32; d++)
		assert_int_equal(pb_cfg(&pb, DEVFN(d), PCI_HEADER_TYPE, 1), 0x80);
	/* all at once: no BAR meets another */
	for (unsigned int i = 0; i < PCI_MAX_FUNCS; i++)
		pb_set_cfg(&pb, toys[i]->pci.devfn, PCI_COMMAND, MEM, 2);
	for (unsigned int i = 0; i < PCI_MAX_FUNCS; i++) {
		ipa_t at = toys[i]->at[0];

		assert_int_equal(at, pb_cfg(&pb, toys[i]->pci.devfn, PCI_BASE_ADDRESS_0, 4));
		pb_write(&pb, at + 0x18, i, 2);
		assert_int_equal(pb_read(&pb, toys[i]->at[2] + 0x1230, 4), 0x1230);
	}
	for (unsigned int i = 0; i < PCI_MAX_FUNCS; i++)
		assert_int_equal(toys[i]->reg[0x18], i);
}

/* ---- functions with devices of their own, windows -------------------------------------------- */

#define MEM64	0x800000000ULL

/* The bus anew, with places kept free and a 64-bit window. */
static void rebuild(unsigned int expected, unsigned int reserve, uint64_t mem64)
{
	struct irq_line line[PCI_NR_DEVICES];
	struct err e;

	for (unsigned int i = 0; i < PCI_NR_DEVICES; i++)
		gic_level_line(&pb.gic, MAP_PCI_SPI + i, &line[i]);
	pci_host_destroy(&pb.host);
	memset(&pb.bus, 0, sizeof(pb.bus));
	assert_int_equal(pci_host_init(&pb.host, &pb.bus, line, expected, reserve,
				       mem64 ? MEM64 : 0, mem64, &e), 0);
}

/* A function whose BARs have these sizes; 64-bit ones are told by @is64's bits. */
static struct toy *new_toy(const uint64_t *size, unsigned int nr, unsigned int is64)
{
	static const struct pci_ids ids = { .vendor = 1 };
	struct toy *t = calloc(1, sizeof(*t));

	pci_dev_init(&t->pci, &toy_ops, "own", &ids);
	for (unsigned int i = 0; i < nr; i++)
		if (size[i])
			pci_add_bar(&t->pci, i, size[i], is64 >> i & 1, false);
	toys[nr_toys++] = t;
	return t;
}

static ipa_t home(const struct toy *t, unsigned int bar)
{
	ipa_t at = pci_get(&t->pci, PCI_BASE_ADDRESS_0 + 4 * bar, 4) & ~0xfU;

	if (t->pci.bar[bar].is64)
		at |= (ipa_t)pci_get(&t->pci, PCI_BASE_ADDRESS_0 + 4 * bar + 4, 4) << 32;
	return at;
}

static void own_devices(void **state)
{
	static const uint64_t size = 0x1000;
	struct toy *own[3];
	struct err e;

	(void)state;
	rebuild(40, 2, 0);
	for (unsigned int i = 0; i < 3; i++)
		own[i] = new_toy(&size, 1, 0);
	assert_int_equal(add_toy(0)->pci.devfn, DEVFN(1));
	assert_int_equal(pci_add_function(&pb.host, &own[0]->pci, NULL, &e), 0);
	assert_int_equal(own[0]->pci.devfn, DEVFN(2));
	/* the others go on where they were, two in a device */
	assert_int_equal(add_toy(0)->pci.devfn, DEVFN(1) + 1);
	assert_int_equal(add_toy(0)->pci.devfn, DEVFN(3));
	assert_int_equal(pci_add_function(&pb.host, &own[1]->pci, &own[0]->pci, &e), 0);
	assert_int_equal(own[1]->pci.devfn, DEVFN(2) + 1);
	assert_int_equal(pb_cfg(&pb, DEVFN(2), PCI_HEADER_TYPE, 1), 0x80);
	for (unsigned int i = 3; i < 40; i++)
		add_toy(0);
	assert_int_equal(pci_add_function(&pb.host, &own[2]->pci, NULL, &e), 0);
	assert_int_equal(own[2]->pci.devfn, DEVFN(22));
	/* off the bus: nobody there, and the address is free again */
	pb_set_cfg(&pb, DEVFN(22), PCI_COMMAND, MEM, 2);
	assert_int_equal(own[2]->at[0], home(own[2], 0));
	pci_remove(&own[2]->pci);
	assert_int_equal(own[2]->at[0], 0);
	assert_int_equal(pb_cfg(&pb, DEVFN(22), 0, 4), 0xffffffff);
	pci_remove(&own[2]->pci);
	/* seven brothers are all that it can have */
	for (unsigned int i = 2; i < 8; i++)
		assert_int_equal(pci_add_function(&pb.host, &new_toy(&size, 1, 0)->pci,
						  &own[0]->pci, &e), 0);
	assert_int_equal(pci_add_function(&pb.host, &new_toy(&size, 1, 0)->pci, &own[0]->pci, &e),
			 -ENOSPC);
}

/* All 31 can be kept free, and one less is what is left for any number of others. */
static void kept_places(void **state)
{
	static const uint64_t size = 0x1000;
	struct err e;

	(void)state;
	rebuild(8, 30, 0);
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(add_toy(0)->pci.devfn, DEVFN(1) + i);
	for (unsigned int i = 0; i < 30; i++)
		assert_int_equal(pci_add_function(&pb.host, &new_toy(&size, 1, 0)->pci, NULL, &e),
				 0);
	assert_int_equal(pci_add_function(&pb.host, &new_toy(&size, 1, 0)->pci, NULL, &e), -ENOSPC);
	assert_non_null(strstr(e.msg, "31 devices"));
}

/* Small ones first would cost 16 MiB of alignment here; holes are filled. */
static void no_waste(void **state)
{
	static const uint64_t size[] = { 0x1000, 16 * SZ_1M, 0x2000 };
	static const uint64_t large = SZ_1G;
	struct toy *a, *b;
	struct err e;

	(void)state;
	rebuild(4, 0, 0);
	a = new_toy(size, 3, 0);
	b = new_toy(size, 3, 0);
	assert_int_equal(pci_add(&pb.host, &a->pci, &e), 0);
	assert_int_equal(pci_add(&pb.host, &b->pci, &e), 0);
	assert_int_equal(home(a, 1), MAP_PCI_MEM_BASE);
	assert_int_equal(home(a, 2), MAP_PCI_MEM_BASE + 16 * SZ_1M);
	assert_int_equal(home(a, 0), MAP_PCI_MEM_BASE + 16 * SZ_1M + 0x2000);
	assert_int_equal(home(b, 1), MAP_PCI_MEM_BASE + 32 * SZ_1M);
	assert_int_equal(home(b, 2), MAP_PCI_MEM_BASE + 16 * SZ_1M + 0x4000);
	assert_int_equal(home(b, 0), MAP_PCI_MEM_BASE + 16 * SZ_1M + 0x3000);
	/* what does not fit leaves nothing behind */
	assert_int_equal(pci_add(&pb.host, &new_toy(&large, 1, 0)->pci, &e), -ENOSPC);
	assert_non_null(strstr(e.msg, "use fewer"));
}

static void mem64(void **state)
{
	static const uint64_t big[] = { 0x1000, 0, 4 * SZ_1G, 0, 0x4000 };
	struct toy *a, *b;
	struct err e;

	(void)state;
	rebuild(4, 0, 0);
	assert_int_equal(pci_add(&pb.host, &new_toy(big, 5, 0x14)->pci, &e), -ENOSPC);
	assert_non_null(strstr(e.msg, "--pci-mem64 8G"));
	rebuild(4, 0, 8 * SZ_1G);
	a = new_toy(big, 5, 0x14);
	b = new_toy(big, 5, 0x14);
	assert_int_equal(pci_add(&pb.host, &a->pci, &e), 0);
	assert_int_equal(home(a, 2), MEM64);
	assert_int_equal(home(a, 4), MEM64 + 4 * SZ_1G);
	assert_int_equal(home(a, 0), MAP_PCI_MEM_BASE);
	assert_int_equal(pci_add(&pb.host, &b->pci, &e), -ENOSPC);
	assert_non_null(strstr(e.msg, "--pci-mem64 16G"));
	pb_set_cfg(&pb, DEVFN(1), PCI_COMMAND, MEM, 2);
	assert_int_equal(a->at[2], MEM64);
	assert_int_equal(pb_read(&pb, MEM64 + 0xfffff000, 8), 0xfffff000);
	/* sizing: the whole low half is address */
	pb_set_cfg(&pb, DEVFN(1), PCI_BASE_ADDRESS_2, 0xffffffff, 4);
	pb_set_cfg(&pb, DEVFN(1), PCI_BASE_ADDRESS_3, 0xffffffff, 4);
	assert_int_equal(pb_cfg(&pb, DEVFN(1), PCI_BASE_ADDRESS_2, 4), 4);
	assert_int_equal(pb_cfg(&pb, DEVFN(1), PCI_BASE_ADDRESS_3, 4), 0xffffffff);
	assert_int_equal(a->at[2], 0);
	rebuild(4, 0, 16 * SZ_1G);
	assert_int_equal(pci_add(&pb.host, &new_toy(big, 5, 0x14)->pci, &e), 0);
	assert_int_equal(pci_add(&pb.host, &new_toy(big, 5, 0x14)->pci, &e), 0);
}

static void asleep(void **state)
{
	struct toy *t = add_toy(0);
	ipa_t at;

	(void)state;
	pb_set_cfg(&pb, DEVFN(1), PCI_COMMAND, MEM, 2);
	at = t->at[0];
	pci_set_asleep(&t->pci, true);
	assert_int_equal(t->at[0], 0);
	assert_int_equal(pb_read(&pb, at, 4), 0xffffffff);
	pb_set_cfg(&pb, DEVFN(1), PCI_COMMAND, MEM | MASTER, 2);
	assert_int_equal(t->at[0], 0);
	pci_set_asleep(&t->pci, false);
	assert_int_equal(t->at[0], at);
}

static void sizing(void **state)
{
	unsigned int fn = DEVFN(1), bar = PCI_BASE_ADDRESS_0;

	(void)state;
	add_toy(0);
	for (unsigned int i = 0; i < 6; i++)
		pb_set_cfg(&pb, fn, bar + 4 * i, 0xffffffff, 4);
	pb_set_cfg(&pb, fn, PCI_ROM_ADDRESS, 0xffffffff, 4);
	assert_int_equal(pb_cfg(&pb, fn, bar, 4), 0xffffc000);
	assert_int_equal(pb_cfg(&pb, fn, bar + 4, 4), 0);
	assert_int_equal(pb_cfg(&pb, fn, bar + 8, 4), 0xffff000c);
	assert_int_equal(pb_cfg(&pb, fn, bar + 12, 4), 0xffffffff);
	assert_int_equal(pb_cfg(&pb, fn, bar + 16, 4), 0);
	assert_int_equal(pb_cfg(&pb, fn, PCI_ROM_ADDRESS, 4), 0xfffff801);
	/* at such addresses nothing answers, even if it is switched on */
	pb_set_cfg(&pb, fn, PCI_COMMAND, MEM, 2);
	assert_int_equal(toys[0]->told, 0);
}

static void moving(void **state)
{
	ipa_t a = MAP_PCI_MEM_BASE + 0x100000, b = MAP_PCI_MEM_END - 0x4000;
	struct toy *t = add_toy(0), *other = add_toy(0);
	unsigned int fn = DEVFN(1), bar = PCI_BASE_ADDRESS_0;
	ipa_t first;

	(void)state;
	first = pb_cfg(&pb, fn, bar, 4);
	assert_int_equal(t->told, 0);
	assert_int_equal(pb_read(&pb, first, 4), 0xffffffff);
	pb_set_cfg(&pb, fn, PCI_COMMAND, MEM, 2);
	assert_int_equal(t->told, 2);		/* the ROM has a switch of its own */
	assert_int_equal(t->at[0], first);
	pb_set_cfg(&pb, fn, PCI_ROM_ADDRESS, pb_cfg(&pb, fn, PCI_ROM_ADDRESS, 4) | 1, 4);
	assert_int_equal(t->told, 3);
	assert_int_equal(t->at[PCI_ROM_BAR] & 0x7ff, 0);
	assert_int_not_equal(t->at[PCI_ROM_BAR], 0);

	pb_write(&pb, first + 8, 0x1122334455667788, 8);
	assert_int_equal(pb_read(&pb, first + 8, 8), 0x1122334455667788);
	assert_int_equal(pb_read(&pb, first + 9, 2), 0x6677);
	/* across the end of a BAR */
	assert_int_equal(pb_read(&pb, first + 0x4000 - 2, 4), 0xffffffff);
	pb_write(&pb, first + 0x4000 - 2, 0, 4);

	pb_set_cfg(&pb, fn, bar, a, 4);
	assert_int_equal(t->at[0], a);
	assert_int_equal(pb_read(&pb, first + 8, 8), UINT64_MAX);
	assert_int_equal(pb_read(&pb, a + 8, 8), 0x1122334455667788);
	/* byte by byte, to the very end of the window, where it just fits */
	for (unsigned int i = 0; i < 4; i++)
		pb_set_cfg(&pb, fn, bar + i, b >> (8 * i), 1);
	assert_int_equal(t->at[0], b);
	assert_int_equal(pb_read(&pb, b + 8, 4), 0x55667788);

	/* outside of the window, above RAM, below it, and at 0: nowhere */
	pb_set_cfg(&pb, fn, bar, 0x80000000, 4);
	assert_int_equal(t->at[0], 0);
	pb_set_cfg(&pb, fn, bar, 0x40000000, 4);
	assert_int_equal(t->at[0], 0);
	pb_set_cfg(&pb, fn, bar, 0, 4);
	assert_int_equal(t->at[0], 0);
	pb_set_cfg(&pb, fn, bar + 12, 1, 4);	/* high half of BAR 2 */
	assert_int_equal(t->at[2], 0);
	pb_set_cfg(&pb, fn, bar + 12, 0, 4);
	assert_int_not_equal(t->at[2], 0);

	/* two at one address: the first function has it, the other gets it when that goes */
	pb_set_cfg(&pb, DEVFN(2), PCI_COMMAND, MEM, 2);
	pb_set_cfg(&pb, DEVFN(2), bar, a, 4);
	assert_int_equal(other->at[0], a);
	pb_set_cfg(&pb, fn, bar, a, 4);
	assert_int_equal(t->at[0], a);
	assert_int_equal(other->at[0], 0);
	/* around another one's */
	pb_set_cfg(&pb, fn, bar, a + 0x104000, 4);
	assert_int_equal(t->at[0], a + 0x104000);
	pb_set_cfg(&pb, DEVFN(2), bar + 8, a + 0x100000, 4);
	assert_int_equal(other->at[2], 0);
	pb_set_cfg(&pb, fn, bar, a, 4);
	assert_int_equal(other->at[2], a + 0x100000);
	pb_set_cfg(&pb, fn, PCI_COMMAND, 0, 2);
	assert_int_equal(t->at[0], 0);
	assert_int_equal(t->at[2], 0);
	assert_int_equal(other->at[0], a);
	pb_write(&pb, a, 0x77, 1);
	assert_int_equal(other->reg[0], 0x77);
}

/* As few as possible share a device, in order. */
static void few_per_device(void **state)
{
	static const struct { unsigned int nr, per; } want[] = {
		{ 0, 1 }, { 1, 1 }, { 31, 1 }, { 32, 2 }, { 62, 2 }, { 63, 3 }, { 217, 7 },
		{ 218, 8 }, { 248, 8 }, { 1000, 8 },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(want); i++) {
		pb_init(&pb, false, want[i].nr);
		assert_int_equal(pb.host.per_device, want[i].per);
		nr_toys = 0;
		for (unsigned int k = 0; k < MIN(want[i].nr, 4U); k++)
			assert_int_equal(add_toy(0)->pci.devfn,
					 DEVFN(1 + k / want[i].per) | k % want[i].per);
		teardown(state);
	}
}

static void intx(void **state)
{
	struct toy *first = add_toy(0), *second = add_toy(0);
	unsigned int msix, spi = MAP_PCI_SPI + 1;

	(void)state;
	assert_int_equal(second->pci.devfn, DEVFN(1) | 1);
	assert_int_equal(fake_irq_level(spi), 0);
	pci_intx(&first->pci, true);
	assert_int_equal(fake_irq_level(spi), 1);
	assert_int_equal(fake_irq_level(spi + 1), 0);
	assert_int_equal(pb_cfg(&pb, DEVFN(1), PCI_STATUS, 2),
			 PCI_STATUS_CAP_LIST | PCI_STATUS_INTERRUPT);
	assert_int_equal(pb_cfg(&pb, DEVFN(1), PCI_COMMAND, 4) >> 16,
			 PCI_STATUS_CAP_LIST | PCI_STATUS_INTERRUPT);
	assert_int_equal(pb_cfg(&pb, DEVFN(1), PCI_STATUS + 1, 1), 0);
	/* the wire is shared */
	pci_intx(&second->pci, true);
	pci_intx(&first->pci, false);
	assert_int_equal(fake_irq_level(spi), 1);
	assert_int_equal(pb_cfg(&pb, DEVFN(1), PCI_STATUS, 1) & PCI_STATUS_INTERRUPT, 0);
	pci_intx(&second->pci, false);
	assert_int_equal(fake_irq_level(spi), 0);
	/* disabled: the status tells, the wire does not */
	pb_set_cfg(&pb, DEVFN(1), PCI_COMMAND, PCI_COMMAND_INTX_DISABLE, 2);
	pci_intx(&first->pci, true);
	assert_int_equal(fake_irq_level(spi), 0);
	assert_int_equal(pb_cfg(&pb, DEVFN(1), PCI_STATUS, 1) & PCI_STATUS_INTERRUPT,
			 PCI_STATUS_INTERRUPT);
	pb_set_cfg(&pb, DEVFN(1), PCI_COMMAND, 0, 2);
	assert_int_equal(fake_irq_level(spi), 1);
	/* with MSI-X there is no INTx */
	msix = pb_cap(&pb, DEVFN(1), PCI_CAP_ID_MSIX, 0);
	pb_set_cfg(&pb, DEVFN(1), msix + 2, PCI_MSIX_FLAGS_ENABLE, 2);
	assert_int_equal(fake_irq_level(spi), 0);
	pb_set_cfg(&pb, DEVFN(1), msix + 2, 0, 2);
	assert_int_equal(fake_irq_level(spi), 1);
	pci_intx(&first->pci, false);
}

/* ---- MSI-X ----------------------------------------------------------------------------------- */

static struct toy *msix_toy(unsigned int *cap, ipa_t *table)
{
	struct toy *t = add_toy(0);

	*cap = pb_cap(&pb, t->pci.devfn, PCI_CAP_ID_MSIX, 0);
	assert_int_not_equal(*cap, 0);
	pb_set_cfg(&pb, t->pci.devfn, PCI_COMMAND, MEM | MASTER, 2);
	assert_int_equal(pb_cfg(&pb, t->pci.devfn, *cap + PCI_MSIX_FLAGS, 2), 69);
	assert_int_equal(pb_cfg(&pb, t->pci.devfn, *cap + PCI_MSIX_TABLE, 4), 0x1000);
	assert_int_equal(pb_cfg(&pb, t->pci.devfn, *cap + PCI_MSIX_PBA, 4), 0x2000);
	*table = t->at[0] + 0x1000;
	return t;
}

static void entry(ipa_t table, unsigned int v, uint64_t addr, uint32_t data, uint32_t ctrl)
{
	pb_write(&pb, table + 16 * v, addr, 4);
	pb_write(&pb, table + 16 * v + 4, addr >> 32, 4);
	pb_write(&pb, table + 16 * v + 8, data, 4);
	pb_write(&pb, table + 16 * v + 12, ctrl, 4);
}

static void assert_route(uint32_t gsi, uint64_t addr, uint32_t data, uint32_t devid)
{
	struct kvm_irq_routing_entry r;

	assert_true(fake_route(gsi, &r));
	assert_int_equal(r.type, KVM_IRQ_ROUTING_MSI);
	assert_int_equal(r.flags, KVM_MSI_VALID_DEVID);
	assert_int_equal(r.u.msi.address_lo | (uint64_t)r.u.msi.address_hi << 32, addr);
	assert_int_equal(r.u.msi.data, data);
	assert_int_equal(r.u.msi.devid, devid);
}

static void messages(void **state)
{
	unsigned int cap, gsi = MAP_NR_SPIS;
	struct toy *t;
	ipa_t table;
	int irqfd;

	(void)state;
	irqfd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(kvm_irqfd(&pb.kvm, irqfd, 7, NULL), 0);
	t = msix_toy(&cap, &table);
	assert_int_equal(fake_routes(), 0);
	/* all entries begin masked */
	for (unsigned int v = 0; v < 70; v++)
		assert_int_equal(pb_read(&pb, table + 16 * v + 12, 4), 1);
	entry(table, 3, PB_DOORBELL, 0x33, 0);
	assert_int_equal(fake_routes(), 0);
	pb_set_cfg(&pb, t->pci.devfn, cap + 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 2);
	assert_int_equal(t->switched, 1);
	assert_int_equal(fake_routes(), 0);
	pb_set_cfg(&pb, t->pci.devfn, cap + 2, PCI_MSIX_FLAGS_ENABLE, 2);
	assert_int_equal(t->switched, 1);
	assert_int_equal(fake_routes(), MAP_NR_SPIS + 1);
	assert_route(gsi, pb_kernel_io(&pb, PB_DOORBELL), 0x33, DEVFN(1));
	assert_int_equal(fake_gsi_count(gsi), 0);
	pci_msix_raise(&t->pci, 3);
	assert_int_equal(fake_gsi_count(gsi), 1);
	/* the SPIs kept their routes, or the model would have complained */
	for (unsigned int i = 0; i < MAP_NR_SPIS; i++) {
		struct kvm_irq_routing_entry r;

		assert_true(fake_route(i, &r));
		assert_int_equal(r.type, KVM_IRQ_ROUTING_IRQCHIP);
		assert_int_equal(r.u.irqchip.pin, i);
	}
	/* with the shared bit, in one access of 8 bytes; the two low bits of an address are 0 */
	pb_write(&pb, table + 16 * 5, (PB_DOORBELL | (pb.realm ? PB_SHARED : 0)) | 3, 8);
	pb_write(&pb, table + 16 * 5 + 8, 0x55, 8);
	assert_int_equal(pb_read(&pb, table + 16 * 5, 4), PB_DOORBELL);
	assert_route(gsi + 1, pb_kernel_io(&pb, PB_DOORBELL), 0x55, DEVFN(1));
	/* another message while it is unmasked */
	pb_write(&pb, table + 16 * 5 + 8, 0x56, 4);
	assert_route(gsi + 1, pb_kernel_io(&pb, PB_DOORBELL), 0x56, DEVFN(1));
	/* what is not there */
	assert_int_equal(pci_msix_fd(&t->pci, 70), -EINVAL);
	pci_msix_raise(&t->pci, 70);
	pci_msix_raise(&t->pci, UINT32_MAX);
	close(irqfd);
}

static void pending(void **state)
{
	unsigned int cap, gsi = MAP_NR_SPIS;
	ipa_t table, pba;
	struct toy *t;

	(void)state;
	t = msix_toy(&cap, &table);
	pba = table + 0x1000;
	entry(table, 64, PB_DOORBELL, 1, 0);
	entry(table, 2, PB_DOORBELL, 2, 0);
	pb_set_cfg(&pb, t->pci.devfn, cap + 2, PCI_MSIX_FLAGS_ENABLE, 2);
	assert_int_equal(pb_read(&pb, pba, 8), 0);
	/* masked: it waits, however often it came */
	pb_write(&pb, table + 16 * 64 + 12, 1, 4);
	pci_msix_raise(&t->pci, 64);
	pci_msix_raise(&t->pci, 64);
	assert_int_equal(fake_gsi_count(gsi + 1), -1);
	assert_int_equal(pb_read(&pb, pba, 8), 0);
	assert_int_equal(pb_read(&pb, pba + 8, 8), 1);
	assert_int_equal(pb_read(&pb, pba + 8, 4), 1);
	pb_write(&pb, pba + 8, 0, 8);		/* read-only */
	assert_int_equal(pb_read(&pb, pba + 8, 8), 1);
	pb_write(&pb, table + 16 * 64 + 12, 0, 4);
	assert_int_equal(fake_gsi_count(gsi + 1), 1);
	assert_int_equal(fake_gsi_count(gsi), 0);
	/* the whole function */
	pb_set_cfg(&pb, t->pci.devfn, cap + 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 2);
	pci_msix_raise(&t->pci, 2);
	assert_int_equal(pb_read(&pb, pba, 8), 4);
	pb_set_cfg(&pb, t->pci.devfn, cap + 2, PCI_MSIX_FLAGS_ENABLE, 2);
	assert_int_equal(fake_gsi_count(gsi), 1);
	/* no bus master: no writes, and messages are some */
	pb_set_cfg(&pb, t->pci.devfn, PCI_COMMAND, MEM, 2);
	pci_msix_raise(&t->pci, 2);
	assert_int_equal(fake_gsi_count(gsi), -1);
	pb_set_cfg(&pb, t->pci.devfn, PCI_COMMAND, MEM | MASTER, 2);
	assert_int_equal(fake_gsi_count(gsi), 1);
	/* switched off: forgotten */
	pb_write(&pb, table + 16 * 2 + 12, 1, 4);
	pci_msix_raise(&t->pci, 2);
	pb_set_cfg(&pb, t->pci.devfn, cap + 2, 0, 2);
	assert_int_equal(t->switched, 2);
	assert_int_equal(pb_read(&pb, pba, 8), 0);
	pb_set_cfg(&pb, t->pci.devfn, cap + 2, PCI_MSIX_FLAGS_ENABLE, 2);
	pb_write(&pb, table + 16 * 2 + 12, 0, 4);
	assert_int_equal(fake_gsi_count(gsi) + fake_gsi_count(gsi + 1), 0);
}

/* Accesses of any kind to table and pending bits: nothing breaks, nothing else is reached. */
static void odd_accesses(void **state)
{
	unsigned int cap;
	struct toy *t;
	ipa_t table;

	(void)state;
	t = msix_toy(&cap, &table);
	memset(t->reg, 0xee, sizeof(t->reg));
	pb_set_cfg(&pb, t->pci.devfn, cap + 2, PCI_MSIX_FLAGS_ENABLE, 2);
	for (ipa_t at = table - 8; at < table + 0x1018; at++)
		for (unsigned int len = 1; len <= 8; len++) {
			uint64_t val = pb_read(&pb, at, len);

			pb_write(&pb, at, val, len);
		}
	for (unsigned int v = 0; v < 70; v++)
		assert_int_equal(pb_read(&pb, table + 16 * v + 12, 4), 1);
	/* what lies beside the table is the device's */
	assert_int_equal(pb_read(&pb, table - 4, 4), 0xeeeeeeee);
	assert_int_equal(pb_read(&pb, table + 16 * 70, 4), 0xeeeeeeee);
}

/* All of KVM's routes in use: messages that find none wait, everything goes on. */
static void all_routes(void **state)
{
	unsigned int cap, nr = (4096 - MAP_NR_SPIS) / 70 + 2;

	(void)state;
	for (unsigned int i = 0; i < nr; i++) {
		ipa_t table;
		struct toy *t = msix_toy(&cap, &table);

		for (unsigned int v = 0; v < 70; v++)
			entry(table, v, PB_DOORBELL, v, 0);
		pb_set_cfg(&pb, t->pci.devfn, cap + 2, PCI_MSIX_FLAGS_ENABLE, 2);
	}
	assert_int_equal(fake_routes(), 4096);
	pci_msix_raise(&toys[nr - 1]->pci, 69);
	assert_int_equal(pb_read(&pb, toys[nr - 1]->at[0] + 0x2008, 8), 1 << 5);
	/* the first lets go of its own */
	pb_set_cfg(&pb, DEVFN(1), cap + 2, 0, 2);
	pb_set_cfg(&pb, toys[nr - 1]->pci.devfn, cap + 2, 0, 2);
	pb_set_cfg(&pb, toys[nr - 1]->pci.devfn, cap + 2, PCI_MSIX_FLAGS_ENABLE, 2);
	pci_msix_raise(&toys[nr - 1]->pci, 69);
	assert_int_equal(pb_read(&pb, toys[nr - 1]->at[0] + 0x2008, 8), 0);
}

static void kvm_fails(void **state)
{
	unsigned int cap;
	struct toy *t;
	ipa_t table;

	(void)state;
	t = msix_toy(&cap, &table);
	entry(table, 0, PB_DOORBELL, 1, 0);
	fake_fail_ioctl(KVM_SET_GSI_ROUTING, 1, ENOMEM);
	pb_set_cfg(&pb, t->pci.devfn, cap + 2, PCI_MSIX_FLAGS_ENABLE, 2);
	assert_int_equal(fake_gsi_count(MAP_NR_SPIS), -1);
	pci_msix_raise(&t->pci, 0);
	/* the next attempt makes up for it */
	pb_write(&pb, table + 12, 0, 4);
	assert_int_equal(fake_gsi_count(MAP_NR_SPIS), 1);
	pb_write(&pb, table + 12, 1, 4);
	fake_fail_ioctl(KVM_IRQFD, 1, EINVAL);
	pb_write(&pb, table + 12, 0, 4);
	assert_int_equal(fake_gsi_count(MAP_NR_SPIS), -1);
	pb_write(&pb, table + 12, 0, 4);
	assert_int_equal(fake_gsi_count(MAP_NR_SPIS), 0);
}

/* ---- several vCPUs --------------------------------------------------------------------------- */

static _Atomic bool over;

static void *mover(void *arg)
{
	unsigned int fn = (uintptr_t)arg, seed = fn;

	while (!over) {
		ipa_t at = MAP_PCI_MEM_BASE + (rand_r(&seed) % 64) * 0x4000;

		pb_set_cfg(&pb, fn, PCI_COMMAND, rand_r(&seed) % 4 ? MEM | MASTER : 0, 2);
		pb_set_cfg(&pb, fn, PCI_BASE_ADDRESS_0, at, 4);
		pb_write(&pb, at + 0x1000 + 16 * (rand_r(&seed) % 70) + 12, rand_r(&seed) & 1, 4);
	}
	return NULL;
}

static void *user(void *arg)
{
	unsigned int seed = (uintptr_t)arg;

	while (!over) {
		ipa_t at = MAP_PCI_MEM_BASE + rand_r(&seed) % (64 * 0x4000);

		pb_read(&pb, at, 1 + rand_r(&seed) % 8);
		pci_intx(&toys[rand_r(&seed) % 4]->pci, rand_r(&seed) & 1);
		pci_msix_raise(&toys[rand_r(&seed) % 4]->pci, rand_r(&seed) % 70);
		pb_cfg(&pb, DEVFN(1 + rand_r(&seed) % 4), rand_r(&seed) % 256 & ~3U, 4);
	}
	return NULL;
}

static void many_at_once(void **state)
{
	static const struct timespec while_long = { .tv_nsec = 300000000 };
	pthread_t thread[6];

	(void)state;
	over = false;
	for (unsigned int i = 0; i < 4; i++) {
		unsigned int cap;
		ipa_t table;
		struct toy *t = msix_toy(&cap, &table);

		entry(table, 1, PB_DOORBELL, 1, 0);
		pb_set_cfg(&pb, t->pci.devfn, cap + 2, PCI_MSIX_FLAGS_ENABLE, 2);
	}
	for (uintptr_t i = 0; i < 6; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, i < 4 ? mover : user,
						(void *)(i < 4 ? DEVFN(1 + i) : i)), 0);
	nanosleep(&while_long, NULL);
	over = true;
	for (unsigned int i = 0; i < 6; i++)
		pthread_join(thread[i], NULL);
	for (unsigned int i = 0; i < 4; i++) {
		pb_set_cfg(&pb, DEVFN(1 + i), PCI_COMMAND, 0, 2);
		assert_int_equal(toys[i]->at[0], 0);
	}
	assert_int_equal(pb.host.nr_map, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(header, setup, teardown),
		cmocka_unit_test_setup_teardown(hooks, setup, teardown),
		cmocka_unit_test_setup_teardown(places, setup_crowd, teardown),
		cmocka_unit_test(few_per_device),
		cmocka_unit_test_setup_teardown(own_devices, setup, teardown),
		cmocka_unit_test_setup_teardown(kept_places, setup, teardown),
		cmocka_unit_test_setup_teardown(no_waste, setup, teardown),
		cmocka_unit_test_setup_teardown(mem64, setup, teardown),
		cmocka_unit_test_setup_teardown(asleep, setup, teardown),
		cmocka_unit_test_setup_teardown(sizing, setup, teardown),
		cmocka_unit_test_setup_teardown(moving, setup, teardown),
		cmocka_unit_test_setup_teardown(intx, setup_crowd, teardown),
		cmocka_unit_test_setup_teardown(messages, setup, teardown),
		cmocka_unit_test_setup_teardown(messages, setup_realm, teardown),
		cmocka_unit_test_setup_teardown(pending, setup, teardown),
		cmocka_unit_test_setup_teardown(odd_accesses, setup, teardown),
		cmocka_unit_test_setup_teardown(all_routes, setup_crowd, teardown),
		cmocka_unit_test_setup_teardown(kvm_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(many_at_once, setup, teardown),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("pci", tests, NULL, NULL);
}
