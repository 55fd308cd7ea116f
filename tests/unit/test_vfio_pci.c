// SPDX-License-Identifier: BSD-3-Clause
/* An assigned PCI function as its guest sees it: configuration space, BARs, ROM, reset. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fakevfio/fake_dev.h"
#include "tests/unit/pbus.h"
#include "vfio/pci.h"
#include "vmm/core/log.h"

#define MEM	PCI_COMMAND_MEMORY
#define MASTER	PCI_COMMAND_MASTER
#define RW	(VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE)
#define MMAP	VFIO_REGION_INFO_FLAG_MMAP

#define NR_SLOTS	16

/* Memory that the guest reaches without exits. */
struct slot {
	ipa_t ipa;
	uint64_t size;
	uint8_t *host;
};

static struct pbus pb;
static struct loop loop;
static struct fake_dev *f;
static struct vfio_device dev;
static struct vfio_pci *p;
static struct slot slot[NR_SLOTS];
static unsigned int nr_slots;
static int map_fails;
static struct vfio_pci_cfg cfg;

static int map_bar(void *ctx, ipa_t ipa, uint64_t size, void *host, unsigned int *out)
{
	(void)ctx;
	if (map_fails)
		return map_fails;
	for (unsigned int i = 0; i < NR_SLOTS; i++) {
		if (slot[i].size) {
			/* as KVM wants it: no two at one address */
			assert_true(ipa + size <= slot[i].ipa || slot[i].ipa + slot[i].size <= ipa);
			continue;
		}
		assert_int_equal((ipa | size | (uintptr_t)host) % 4096, 0);
		slot[i] = (struct slot){ ipa, size, host };
		*out = i;
		nr_slots++;
		return 0;
	}
	return -ENOSPC;
}

static void unmap_bar(void *ctx, unsigned int n)
{
	(void)ctx;
	assert_true(slot[n].size);
	slot[n].size = 0;
	nr_slots--;
}

static void failed(void *ctx, const char *why)
{
	(void)ctx;
	fail_msg("the machine failed: %s", why);
}

static struct vfio_pci_env make_env(bool maps)
{
	struct vfio_pci_env env = {
		.host = &pb.host,
		.msi = &pb.msi,
		.kvm = &pb.kvm,
		.loop = &loop,
		.map_bar = maps ? map_bar : NULL,
		.unmap_bar = unmap_bar,
		.failed = failed,
	};

	return env;
}

static int new_function(bool maps, struct err *e)
{
	struct vfio_pci_env env = make_env(maps);

	fake_dev_open(f, &dev);
	return vfio_pci_new(&dev, &cfg, &env, &p, e);
}

static void start(bool maps)
{
	struct err e = { 0 };

	if (new_function(maps, &e) < 0)
		fail_msg("%s", e.msg);
}

/* The function is refused, and says why. */
static void refused(int code, const char *part)
{
	struct err e = { 0 };

	assert_int_equal(new_function(true, &e), code);
	assert_null(p);
	if (!strstr(e.msg, part))
		fail_msg("\"%s\" lacks \"%s\"", e.msg, part);
}

static int setup(void **state)
{
	struct err e;

	(void)state;
	pb_init(&pb, false, 1);
	assert_int_equal(loop_init(&loop, &e), 0);
	f = calloc(1, sizeof(*f));
	memset(slot, 0, sizeof(slot));
	memset(&cfg, 0, sizeof(cfg));
	nr_slots = 0;
	map_fails = 0;
	p = NULL;
	return 0;
}

static int teardown(void **state)
{
	const char *left;

	(void)state;
	vfio_pci_free(p);
	left = fake_dev_destroy(f);
	if (left)
		fail_msg("%s", left);
	free(f);
	assert_int_equal(nr_slots, 0);
	loop_destroy(&loop);
	pb_destroy(&pb);
	return 0;
}

/* ---- the guest's side ------------------------------------------------------------------------ */

#define FN	(1 << 3)	/* device 1, function 0 */

static uint32_t get(unsigned int off, unsigned int len)
{
	return pb_cfg(&pb, FN, off, len);
}

static void set(unsigned int off, uint32_t val, unsigned int len)
{
	pb_set_cfg(&pb, FN, off, val, len);
}

static ipa_t bar_at(unsigned int bar)
{
	uint32_t reg = get(PCI_BASE_ADDRESS_0 + 4 * bar, 4);
	ipa_t at = reg & ~0xfU;

	if ((reg & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64)
		at |= (ipa_t)get(PCI_BASE_ADDRESS_0 + 4 * bar + 4, 4) << 32;
	return at;
}

/* Memory at an address, NULL: accesses are exits. */
static uint8_t *memory_at(ipa_t ipa)
{
	for (unsigned int i = 0; i < NR_SLOTS; i++)
		if (slot[i].size && ipa - slot[i].ipa < slot[i].size)
			return slot[i].host + (ipa - slot[i].ipa);
	return NULL;
}

static unsigned int ext_cap(uint16_t id)
{
	unsigned int at = 0x100;

	for (unsigned int i = 0; at && i < 960; i++, at = get(at, 4) >> 20)
		if ((get(at, 4) & 0xffff) == id)
			return at;
	return 0;
}

/* Lists end, whatever the device says. */
static void walk(void)
{
	unsigned int at = get(PCI_CAPABILITY_LIST, 1), i;

	for (i = 0; at && i <= 48; i++, at = get(at + 1, 1))
		assert_in_range(at, 0x40, 0xfc);
	assert_true(i <= 48);
	for (at = 0x100, i = 0; at && i <= 960; i++, at = get(at, 4) >> 20)
		assert_in_range(at, 0x100, 0xffc);
	assert_true(i <= 960);
}

/* ---- devices that people have ---------------------------------------------------------------- */

static void nvme(void **state)
{
	ipa_t bar;

	(void)state;
	fake_nvme(f);
	fake_dev_put(f, PCI_COMMAND, 2, MASTER);	/* whoever had it before left it so */
	start(true);
	assert_int_equal(f->resets, 1);
	assert_int_equal(get(PCI_VENDOR_ID, 4), 0x00101b36);
	assert_int_equal(get(PCI_CLASS_REVISION, 4), 0x01080202);
	assert_int_equal(get(PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af4);
	assert_int_equal(get(PCI_HEADER_TYPE, 1), 0);
	assert_int_equal(get(PCI_INTERRUPT_PIN, 1), 1);
	assert_int_equal(get(PCI_COMMAND, 2), 0);
	assert_int_equal(fake_dev_get(f, PCI_COMMAND, 2) & (MEM | MASTER), MEM);
	/* capabilities are where the hardware has them */
	assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_MSIX, 0), 0x40);
	assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_PM, 0), 0x60);
	assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_EXP, 0), 0x80);
	/* an endpoint of the root complex has no link */
	assert_int_equal(get(0x80 + PCI_EXP_FLAGS, 2), PCI_EXP_TYPE_RC_END << 4 | 2);
	assert_int_equal(get(0x80 + PCI_EXP_LNKCAP, 4), 0);
	assert_int_equal(get(0x80 + PCI_EXP_LNKSTA, 2), 0);
	assert_true(get(0x80 + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_FLR);
	/* off: nobody reaches a register, and nobody asks the device */
	assert_int_equal(nr_slots, 0);
	bar = bar_at(0);
	assert_int_equal(pb_read(&pb, bar, 4), UINT32_MAX);
	assert_int_equal(f->region[0].reads, 0);
	set(PCI_COMMAND, MEM | MASTER, 2);
	assert_int_equal(fake_dev_get(f, PCI_COMMAND, 2) & (MEM | MASTER), MEM | MASTER);
	/* the registers are memory, the MSI-X table behind them is not */
	assert_int_equal(nr_slots, 1);
	assert_ptr_equal(memory_at(bar + 0x1ffc) - 0x1ffc, memory_at(bar));
	assert_null(memory_at(bar + 0x2000));
	assert_null(memory_at(bar + 0x3000));
	memory_at(bar)[0x14] = 0x5a;
	assert_int_equal(f->region[0].mem[0x14], 0x5a);
	assert_int_equal(pb_read(&pb, bar + 0x14, 1), 0x5a);
	/* the table is the board's: all masked, as after power-on */
	assert_int_equal(pb_read(&pb, bar + 0x2000 + PCI_MSIX_ENTRY_VECTOR_CTRL, 4), 1);
	pb_write(&pb, bar + 0x2000, 0x12345678, 4);
	assert_int_equal(pb_read(&pb, bar + 0x2000, 4), 0x12345678);
	assert_int_equal(f->region[0].mem[0x2000], 0);
	/* behind the table, in its page, is the device again */
	f->region[0].mem[0x2500] = 0x77;
	assert_int_equal(pb_read(&pb, bar + 0x2500, 1), 0x77);
	assert_true(vfio_pci_stat(p)->bar_exits > 0);
	assert_string_equal(vfio_pci_name(p), "0000:00:04.0");
	/* off again: the device goes on decoding, the guest's mapping is gone */
	set(PCI_COMMAND, 0, 2);
	assert_int_equal(nr_slots, 0);
	assert_int_equal(fake_dev_get(f, PCI_COMMAND, 2) & (MEM | MASTER), MEM);
}

static void bars_move(void **state)
{
	ipa_t bar;

	(void)state;
	fake_nvme(f);
	start(true);
	set(PCI_COMMAND, MEM, 2);
	bar = bar_at(0);
	assert_non_null(memory_at(bar));
	set(PCI_BASE_ADDRESS_0, UINT32_MAX, 4);		/* how large is it? */
	assert_int_equal(get(PCI_BASE_ADDRESS_0, 4), 0xffffc004);
	assert_int_equal(nr_slots, 0);
	set(PCI_BASE_ADDRESS_0, 0x60000000, 4);
	assert_int_equal(bar_at(0), 0x60000000);
	assert_null(memory_at(bar));
	assert_int_equal(nr_slots, 1);
	f->region[0].mem[0x1000] = 0x11;
	assert_int_equal(*memory_at(0x60001000), 0x11);
	/* a place that is none */
	set(PCI_BASE_ADDRESS_0 + 4, 1, 4);
	assert_int_equal(nr_slots, 0);
	for (unsigned int i = 0; i < 1000; i++)
		set(PCI_BASE_ADDRESS_0 + i % 8, 0x50000000 + i * 7919, 1 << (i % 8 % 4 ? 0 : 2));
}

static void virtio_net(void **state)
{
	static const uint8_t at[] = { 0x84, 0x70, 0x60, 0x50, 0x40 };

	(void)state;
	fake_virtio_net(f);
	start(true);
	for (unsigned int i = 0; i < ARRAY_SIZE(at); i++) {
		unsigned int cap = pb_cap(&pb, FN, PCI_CAP_ID_VNDR, i);

		assert_int_equal(cap, at[i]);
		for (unsigned int k = 2; k < f->cfg[cap + 2]; k++)
			assert_int_equal(get(cap + k, 1), f->cfg[cap + k]);
	}
	assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_MSIX, 0), 0x98);
	/* the window to the BARs is the device's */
	set(0x84 + 4, 4, 1);
	set(0x84 + 8, 0x1234, 4);
	set(0x84 + 12, 0xabcd, 2);
	assert_int_equal(f->cfg[0x88], 4);
	assert_int_equal(fake_dev_get(f, 0x8c, 4), 0x1234);
	assert_int_equal(get(0x84 + 12, 2), 0xabcd);
	fake_dev_put(f, 0x84 + 16, 4, 0xfeedface);
	assert_int_equal(get(0x84 + 16, 4), 0xfeedface);
	/* 64-bit BAR 4; BAR 1 is nothing but the MSI-X table */
	assert_int_equal(get(PCI_BASE_ADDRESS_4, 4) & 0xf, 0xc);
	set(PCI_COMMAND, MEM, 2);
	assert_int_equal(nr_slots, 1);
	assert_non_null(memory_at(bar_at(4) + 0x3fff));
	assert_null(memory_at(bar_at(1)));
}

static void e1000e(void **state)
{
	ipa_t rom = 0x70000000;

	(void)state;
	fake_e1000e(f);
	start(true);
	assert_int_equal(get(PCI_BASE_ADDRESS_2, 4), 0);
	set(PCI_BASE_ADDRESS_2, UINT32_MAX, 4);
	assert_int_equal(get(PCI_BASE_ADDRESS_2, 4), 0);
	assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_PM, 0), 0xc8);
	assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_MSI, 0), 0xd0);
	assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_EXP, 0), 0xe0);
	assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_MSIX, 0), 0xa0);
	/* of the first version: there is no second half */
	assert_int_equal(get(0xe0 + PCI_EXP_FLAGS, 2), PCI_EXP_TYPE_RC_END << 4 | 1);
	assert_int_equal(ext_cap(PCI_EXT_CAP_ID_ERR), 0x100);
	assert_int_equal(ext_cap(PCI_EXT_CAP_ID_DSN), 0x140);
	assert_int_equal(get(0x144, 4), fake_dev_get(f, 0x144, 4));
	f->cfg[0x104] = 0x99;
	assert_int_equal(get(0x104, 1), 0x99);
	set(0x104, 0, 1);
	assert_int_equal(f->cfg[0x104], 0x99);
	set(PCI_COMMAND, MEM, 2);
	assert_int_equal(nr_slots, 4);		/* 0, 1, two pages of 3 */
	/* the ROM */
	set(PCI_ROM_ADDRESS, UINT32_MAX & ~1U, 4);
	assert_int_equal(get(PCI_ROM_ADDRESS, 4), 0xfffc0000);
	set(PCI_ROM_ADDRESS, rom | PCI_ROM_ADDRESS_ENABLE, 4);
	assert_int_equal(pb_read(&pb, rom, 2), 0xaa55);
	assert_int_equal(pb_read(&pb, rom + 0x40, 4), 0x52494350);
	pb_write(&pb, rom, 0, 2);
	assert_int_equal(pb_read(&pb, rom, 2), 0xaa55);
	assert_int_equal(pb_read(&pb, rom + 0x3fff8, 8), UINT64_MAX);
	set(PCI_ROM_ADDRESS, rom, 4);
	assert_int_equal(pb_read(&pb, rom, 2), 0xffff);
}

static void edu(void **state)
{
	ipa_t bar;

	(void)state;
	fake_edu(f);
	start(false);			/* a kind of guest without device memory */
	set(PCI_COMMAND, MEM, 2);
	bar = bar_at(0);
	assert_int_equal(nr_slots, 0);
	pb_write(&pb, bar + 8, 0x1122334455667788, 8);
	assert_memory_equal(f->region[0].mem + 8, "\x88\x77\x66\x55\x44\x33\x22\x11", 8);
	assert_int_equal(pb_read(&pb, bar + 10, 2), 0x5566);
	assert_int_equal(pb_read(&pb, bar + 11, 1), 0x55);
	assert_int_equal(pb_read(&pb, bar + 12, 4), 0x11223344);
	/* each was one access of the device */
	assert_int_equal(f->region[0].reads, 3);
	assert_int_equal(f->region[0].writes, 1);
	assert_int_equal(vfio_pci_stat(p)->bar_exits, 4);
	/* lost */
	f->broken = true;
	assert_int_equal(pb_read(&pb, bar, 4), UINT32_MAX);
	pb_write(&pb, bar, 0, 4);
	assert_int_equal(get(PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, PCI_STATUS_INTERRUPT);
	f->broken = false;
}

/* ---- configuration space --------------------------------------------------------------------- */

/* Writes of every width and place: nothing but what is meant to reaches the device. */
static void all_widths(void **state)
{
	uint8_t before[4096];
	uint32_t seed = 12345;

	(void)state;
	fake_e1000e(f);
	memset(f->wmask, 0xff, sizeof(f->wmask));	/* all of it would change */
	start(true);
	memcpy(before, f->cfg, sizeof(before));
	for (unsigned int i = 0; i < 20000; i++) {
		unsigned int len = 1 << (seed >> 8) % 3;
		unsigned int off = (seed >> 10) % (4096 / len) * len;

		seed = seed * 1103515245 + 12345;
		/* not a reset, which brings everything back, nor a power state */
		if ((off <= 0xe9 && off + len > 0xe8) || (off <= 0xcd && off + len > 0xcc))
			continue;
		set(off, seed, len);
	}
	set(PCI_COMMAND, 0, 2);
	for (unsigned int i = 0; i < sizeof(before); i++) {
		if (i < 6 && i >= 4)
			continue;
		/* MSI and MSI-X of the device are the kernel's, by other means */
		if (before[i] != f->cfg[i])
			fail_msg("byte %#x of the device was written", i);
	}
	walk();
}

static void device_control(void **state)
{
	(void)state;
	fake_nvme(f);
	start(true);
	assert_int_equal(get(0x88, 2), 0x2810);
	set(0x88, 0x583f, 2);		/* all errors, larger requests, no relaxed order */
	assert_int_equal(get(0x88, 2), 0x583f);
	assert_int_equal(fake_dev_get(f, 0x88, 2), 0x5810 | (0x583f & 0x10));
	set(0x88, 0x00, 1);
	assert_int_equal(fake_dev_get(f, 0x88, 2), 0x5800);
	assert_int_equal(f->resets, 1);
}

static void function_reset(void **state)
{
	ipa_t bar;

	(void)state;
	fake_nvme(f);
	start(true);
	bar = bar_at(0);
	set(PCI_COMMAND, MEM | MASTER, 2);
	pb_write(&pb, bar + 0x2000 + 12, 0, 4);
	set(0x42, PCI_MSIX_FLAGS_ENABLE, 2);
	memory_at(bar)[0] = 1;
	set(0x89, 0x80 | get(0x89, 1), 1);	/* the bit's own byte is enough */
	assert_int_equal(f->resets, 2);
	assert_int_equal(nr_slots, 0);
	assert_int_equal(get(PCI_COMMAND, 2), 0);
	assert_int_equal(fake_dev_get(f, PCI_COMMAND, 2) & (MEM | MASTER), MEM);
	assert_int_equal(get(0x42, 2) & PCI_MSIX_FLAGS_ENABLE, 0);
	assert_int_equal(get(0x88, 2), 0x2810);
	assert_int_equal(bar_at(0), 0);
	/* the driver puts it back */
	set(PCI_BASE_ADDRESS_0, bar, 4);
	set(PCI_COMMAND, MEM | MASTER, 2);
	assert_int_equal(memory_at(bar)[0], 0);
	assert_int_equal(pb_read(&pb, bar + 0x2000 + 12, 4), 1);
	set(0x88, 0x80, 1);			/* not that bit */
	assert_int_equal(f->resets, 2);
}

/* Advanced features have a reset of their own. */
static void af_reset(void **state)
{
	static const uint8_t body[4] = { 6, PCI_AF_CAP_TP | PCI_AF_CAP_FLR };

	(void)state;
	fake_edu(f);
	fake_dev_cap(f, 0x60, PCI_CAP_ID_AF, body, 6);
	start(true);
	assert_int_equal(get(0x63, 1), PCI_AF_CAP_TP | PCI_AF_CAP_FLR);
	set(0x64, PCI_AF_CTRL_FLR, 1);
	assert_int_equal(f->resets, 2);
	assert_int_equal(get(0x64, 1), 0);
}

static void no_reset(void **state)
{
	static const uint8_t body[4] = { 6, PCI_AF_CAP_TP | PCI_AF_CAP_FLR };

	(void)state;
	fake_nvme(f);
	fake_dev_cap(f, 0x30 + 0x80, PCI_CAP_ID_VPD, NULL, 0);
	fake_dev_cap(f, 0xf0, PCI_CAP_ID_AF, body, 6);
	f->can_reset = false;
	log_set_level(LOG_ERROR);
	start(true);
	log_set_level(LOG_WARNING);
	assert_false(get(0x80 + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_FLR);
	assert_int_equal(get(0xf3, 1), PCI_AF_CAP_TP);
	set(PCI_COMMAND, MEM, 2);
	set(0x88, PCI_EXP_DEVCTL_BCR_FLR, 2);
	set(0xf4, PCI_AF_CTRL_FLR, 1);
	assert_int_equal(nr_slots, 1);
	assert_int_equal(f->resets, 0);
}

static void power(void **state)
{
	ipa_t bar;

	(void)state;
	fake_nvme(f);
	f->cfg[0x64] |= 3;		/* it sleeps */
	f->can_reset = false;
	log_set_level(LOG_ERROR);
	start(true);
	log_set_level(LOG_WARNING);
	assert_int_equal(f->cfg[0x64] & 3, 0);
	assert_int_equal(get(0x62, 2), 3);		/* no wake-up */
	assert_int_equal(get(0x64, 2), 0x8);
	set(PCI_COMMAND, MEM, 2);
	bar = bar_at(0);
	memory_at(bar)[0x18] = 0x42;
	set(0x64, 3, 2);
	assert_int_equal(f->cfg[0x64] & 3, 3);
	assert_int_equal(get(0x64, 1) & 3, 3);
	assert_int_equal(nr_slots, 0);
	assert_int_equal(pb_read(&pb, bar + 0x18, 4), UINT32_MAX);
	set(PCI_COMMAND, 0, 2);
	set(PCI_COMMAND, MEM, 2);
	assert_int_equal(nr_slots, 0);
	set(0x64, 0, 1);
	assert_int_equal(get(0x64, 1) & 3, 0);
	assert_int_equal(memory_at(bar)[0x18], 0x42);
}

static void vpd(void **state)
{
	(void)state;
	fake_edu(f);
	fake_dev_cap(f, 0x60, PCI_CAP_ID_VPD, NULL, 0);
	memset(f->wmask + 0x62, 0xff, 6);
	start(true);
	set(0x62, 0x0010, 2);
	assert_int_equal(fake_dev_get(f, 0x62, 2), 0x10);
	fake_dev_put(f, 0x62, 2, 0x8010);		/* the data are there */
	fake_dev_put(f, 0x64, 4, 0xcafe1234);
	assert_int_equal(get(0x62, 2), 0x8010);
	assert_int_equal(get(0x64, 4), 0xcafe1234);
	set(0x60, 0x00200000, 4);
	assert_int_equal(fake_dev_get(f, 0x62, 2), 0x20);
	/* writing them would outlive the guest */
	set(0x64, 0, 4);
	set(0x62, 0x8010, 2);
	assert_int_equal(fake_dev_get(f, 0x64, 4), 0xcafe1234);
	assert_int_equal(fake_dev_get(f, 0x62, 2), 0x20);
}

static void hidden_ext(void **state)
{
	(void)state;
	fake_edu(f);
	fake_dev_ext_cap(f, 0x100, PCI_EXT_CAP_ID_SRIOV, 0x40);
	fake_dev_ext_cap(f, 0x300, PCI_EXT_CAP_ID_DSN, 12);
	fake_dev_ext_cap(f, 0x200, PCI_EXT_CAP_ID_ATS, 8);
	fake_dev_ext_cap(f, 0x240, PCI_EXT_CAP_ID_LTR, 8);
	fake_dev_ext_cap(f, 0x280, 0x7777, 8);
	fake_dev_ext_cap(f, 0x400, PCI_EXT_CAP_ID_VNDR, 0x10);
	fake_dev_put(f, 0x404, 4, 0x01000001);	/* 16 bytes */
	memset(f->wmask + 0x100, 0xff, 0xf00);
	fake_dev_sealed(f);
	start(true);
	/* the list begins with a null capability */
	assert_int_equal(get(0x100, 4), 0x30000000);
	assert_int_equal(get(0x300, 4), 0x24010003);
	assert_int_equal(get(0x240, 4), 0x40010018);
	assert_int_equal(get(0x400, 4), 0x0001000b);
	for (unsigned int i = 4; i < 0x40; i++)
		assert_int_equal(get(0x100 + i, 1), 0);
	assert_int_equal(get(0x204, 4), 0);
	assert_int_equal(get(0x284, 4), 0);
	set(0x204, UINT32_MAX, 4);
	assert_int_not_equal(fake_dev_get(f, 0x204, 4), UINT32_MAX);
	/* a vendor's own goes through, as far as it says it goes */
	set(0x40c, 0x87654321, 4);
	assert_int_equal(fake_dev_get(f, 0x40c, 4), 0x87654321);
	set(0x410, 1, 4);
	assert_int_equal(fake_dev_get(f, 0x410, 4), 0);
}

/* Only what is unknown: then there is none. */
static void no_ext(void **state)
{
	(void)state;
	fake_edu(f);
	fake_dev_ext_cap(f, 0x100, PCI_EXT_CAP_ID_PASID, 8);
	start(true);
	assert_int_equal(get(0x100, 4), 0);
	assert_int_equal(get(0x104, 4), 0);
	assert_int_equal(get(0xffc, 4), 0);
}

/* Lists that the hardware should not have. */
static void hostile_lists(void **state)
{
	(void)state;
	fake_edu(f);
	f->cfg[PCI_CAPABILITY_LIST] = 0x43;		/* the low bits are reserved */
	f->cfg[0x41] = 0x80;
	f->cfg[0x80] = PCI_CAP_ID_PM;			/* two bytes before the next */
	f->cfg[0x81] = 0x84;
	f->cfg[0x84] = PCI_CAP_ID_VNDR;
	f->cfg[0x85] = 0xfc;
	f->cfg[0x86] = 0xff;				/* longer than there is room */
	f->cfg[0xfc] = PCI_CAP_ID_EXP;			/* beyond the end */
	f->cfg[0xfd] = 0x40;				/* in a circle */
	fake_dev_ext_cap(f, 0x100, PCI_EXT_CAP_ID_DSN, 12);
	fake_dev_put(f, 0x100, 4, 0x20010003);
	fake_dev_put(f, 0x200, 4, 0xffc1000b);		/* a vendor's, of no size */
	fake_dev_put(f, 0xffc, 4, 0x10010001);		/* AER in four bytes, and back */
	fake_dev_sealed(f);
	start(true);
	walk();
	assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_MSI, 0), 0x40);
	assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_PM, 0), 0);
	assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_VNDR, 0), 0x84);
	assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_EXP, 0), 0);
	assert_int_equal(get(0x100, 4), 0x20010003);
	assert_int_equal(get(0x200, 4), 0x0001000b);
}

/* Random bytes for a configuration space: whatever happens, lists end and nothing is overrun. */
static void random_lists(void **state)
{
	uint32_t seed = 99;

	(void)state;
	log_set_level(LOG_ERROR);
	for (unsigned int n = 0; n < 300; n++) {
		struct err e = { 0 };

		fake_edu(f);
		fake_dev_ext_cap(f, 0x100, PCI_EXT_CAP_ID_DSN, 12);
		for (unsigned int i = 0x40; i < 4096; i++) {
			seed = seed * 1103515245 + 12345;
			f->cfg[i] = seed >> 16;
			/* mostly what could be one */
			if (seed >> 28)
				f->cfg[i] = i % 4 == 0 ? seed >> 16 & 0x1f : f->cfg[i];
		}
		f->irq[VFIO_PCI_MSIX_IRQ_INDEX].count = seed >> 20 & 0xff;
		f->irq[VFIO_PCI_MSIX_IRQ_INDEX].flags = VFIO_IRQ_INFO_EVENTFD;
		fake_dev_sealed(f);
		if (!new_function(true, &e)) {
			walk();
			for (unsigned int i = 0; i < 4096; i += 4) {
				seed = seed * 1103515245 + 12345;
				set(i, seed, 4);
			}
			set(PCI_COMMAND, 0, 2);
			walk();
		} else {
			assert_true(e.code < 0 && e.msg[0]);
		}
		vfio_pci_free(p);
		p = NULL;
		f->cfg[PCI_COMMAND] = 0;
		assert_null(fake_dev_destroy(f));
		pb.host.next = 1;
	}
	log_set_level(LOG_WARNING);
	fake_edu(f);
}

static void refusals(void **state)
{
	(void)state;
	fake_edu(f);
	f->cfg[PCI_HEADER_TYPE] = PCI_HEADER_TYPE_BRIDGE;
	fake_dev_sealed(f);
	refused(-EINVAL, "bridge");
	f->cfg[PCI_HEADER_TYPE] = 0x80;			/* one of several functions is fine */
	fake_dev_put(f, PCI_VENDOR_ID, 2, 0xffff);
	fake_dev_sealed(f);
	refused(-ENODEV, "does not answer");
	fake_dev_put(f, PCI_VENDOR_ID, 2, 0x1234);
	fake_dev_sealed(f);
	f->region[0].size = 0x3000;
	refused(-EINVAL, "BAR 0 of 12288 bytes makes no sense");
	f->region[0].size = 8;
	refused(-EINVAL, "makes no sense");
	f->region[0].size = SZ_1M;
	f->region[0].flags = 0;
	refused(-EOPNOTSUPP, "can be neither read nor mapped");
	f->region[0].flags = RW;
	fake_dev_bar(f, 5, 0x1000, PCI_BASE_ADDRESS_MEM_TYPE_64, RW);
	refused(-EINVAL, "BAR 5");
	f->region[5].size = 0;
	f->region[VFIO_PCI_CONFIG_REGION_INDEX].size = 64;
	refused(-EINVAL, "no configuration space");
	f->region[VFIO_PCI_CONFIG_REGION_INDEX].size = 256;
	f->broken = true;
	log_set_level(LOG_ERROR);
	refused(-EIO, "command register");
	log_set_level(LOG_WARNING);
	f->broken = false;
	start(true);
	assert_int_equal(get(PCI_HEADER_TYPE, 1), 0);
	/* no extended capabilities in 256 bytes */
	assert_int_equal(get(0x100, 4), 0);
}

/* Each call of the kernel fails once: an error that says something, and nothing is left behind. */
static void calls_fail(void **state)
{
	unsigned int n;
	struct err e;

	(void)state;
	fake_e1000e(f);
	log_set_level(LOG_ERROR - 1);
	for (n = 1; n < 200; n++) {
		e.code = 0;
		e.msg[0] = 0;
		f->fail_at = n;
		f->fail_errno = EIO;
		if (new_function(true, &e) < 0) {
			assert_true(e.code < 0 && e.msg[0] && !strchr(e.msg, '\n'));
		} else {
			set(PCI_COMMAND, MEM | MASTER, 2);
			vfio_pci_free(p);
		}
		p = NULL;
		assert_int_equal(nr_slots, 0);
		for (unsigned int i = 0; i < VFIO_PCI_NUM_REGIONS; i++)
			assert_int_equal(f->region[i].mapped, 0);
		pb.host.next = 1;
		if (f->fail_at)
			break;
	}
	log_set_level(LOG_WARNING);
	assert_in_range(n, 20, 199);
	f->fail_at = 0;
	fake_dev_put(f, PCI_COMMAND, 2, 0);
}

/* ---- BARs ------------------------------------------------------------------------------------ */

static void small_bar(void **state)
{
	ipa_t bar;

	(void)state;
	fake_edu(f);
	fake_dev_bar(f, 1, 0x100, PCI_BASE_ADDRESS_SPACE_MEMORY, RW | MMAP);
	start(true);
	set(PCI_COMMAND, MEM, 2);
	bar = bar_at(1);
	assert_int_equal(nr_slots, 1);
	assert_null(memory_at(bar));
	pb_write(&pb, bar + 0xfc, 0x01020304, 4);
	assert_int_equal(f->region[1].mem[0xfc], 4);
	assert_int_equal(pb_read(&pb, bar + 0xfc, 4), 0x01020304);
}

static void sparse(void **state)
{
	ipa_t bar;

	(void)state;
	fake_edu(f);
	f->region[0].nr_areas = 4;
	f->region[0].area[0] = (struct vfio_region_sparse_mmap_area){ 0x1000, 0x2000 };
	f->region[0].area[1] = (struct vfio_region_sparse_mmap_area){ 0x2000, 0x1000 };	/* twice */
	f->region[0].area[2] = (struct vfio_region_sparse_mmap_area){ 0x4000, 0x800 };	/* half */
	f->region[0].area[3] = (struct vfio_region_sparse_mmap_area){ 0xff000, 0x1000 };
	start(true);
	set(PCI_COMMAND, MEM, 2);
	bar = bar_at(0);
	assert_int_equal(nr_slots, 2);
	assert_null(memory_at(bar));
	assert_non_null(memory_at(bar + 0x1000));
	assert_null(memory_at(bar + 0x3000));
	assert_null(memory_at(bar + 0x4000));
	assert_ptr_equal(memory_at(bar + 0xff000) + 0xfff, memory_at(bar + 0xfffff));
	f->region[0].mem[0x4000] = 9;
	assert_int_equal(pb_read(&pb, bar + 0x4000, 1), 9);
}

/* None of it can be mapped: an empty list of areas is a list. */
static void sparse_none(void **state)
{
	static const uint32_t caps[] = { 1 | 1 << 16, 0, 0, 0 };

	(void)state;
	fake_edu(f);
	f->region[0].caps = (const uint8_t *)caps;
	f->region[0].caps_len = sizeof(caps);
	start(true);
	set(PCI_COMMAND, MEM, 2);
	assert_int_equal(nr_slots, 0);
	assert_int_equal(pb_read(&pb, bar_at(0), 4), 0);
}

static void sparse_hostile(void **state)
{
	/* more areas than there are bytes; the last one wraps */
	static const uint32_t caps[] = {
		1 | 1 << 16, 32, 0x10000000, 0,
		0x1000, 0, 0x1000, 0,
		0xfffff000, 0xffffffff, 0x2000, 0,
	};

	(void)state;
	fake_edu(f);
	f->region[0].caps = (const uint8_t *)caps;
	f->region[0].caps_len = sizeof(caps);
	start(true);
	set(PCI_COMMAND, MEM, 2);
	assert_int_equal(nr_slots, 1);
	assert_non_null(memory_at(bar_at(0) + 0x1000));
}

/* A region that has no file operations: all accesses go through the mapping. */
static void direct(void **state)
{
	ipa_t bar;

	(void)state;
	fake_nvme(f);
	f->region[0].flags = MMAP;
	start(false);
	set(PCI_COMMAND, MEM, 2);
	bar = bar_at(0);
	assert_int_equal(nr_slots, 0);
	pb_write(&pb, bar + 0x1000, 0x8877665544332211, 8);
	assert_int_equal(f->region[0].mem[0x1007], 0x88);
	assert_int_equal(pb_read(&pb, bar + 0x1004, 4), 0x88776655);
	assert_int_equal(pb_read(&pb, bar + 0x1006, 2), 0x8877);
	assert_int_equal(pb_read(&pb, bar + 0x1001, 4), 0x55443322);
	assert_int_equal(pb_read(&pb, bar + 0x1001, 1), 0x22);
	assert_int_equal(pb_read(&pb, bar + 0x2800, 4), UINT32_MAX);	/* the table's page */
	assert_int_equal(f->region[0].reads + f->region[0].writes, 0);
	/* it must not sleep: nobody else stops us from touching the mapping */
	set(0x64, 3, 1);
	assert_int_equal(f->cfg[0x64] & 3, 0);
	assert_int_equal(get(0x64, 1) & 3, 3);
	assert_int_equal(pb_read(&pb, bar + 0x1001, 1), 0x22);
}

static void direct_fails(void **state)
{
	(void)state;
	fake_edu(f);
	f->region[0].flags = MMAP;
	f->region[0].mem_len = 0x1000;			/* mmap of 1 MiB of it fails */
	refused(-EOPNOTSUPP, "can only be mapped");
	f->region[0].mem_len = SZ_1M;
}

static void read_only(void **state)
{
	(void)state;
	fake_edu(f);
	f->region[0].flags = VFIO_REGION_INFO_FLAG_READ | MMAP;
	f->region[0].mem[4] = 0x44;
	start(true);
	f->region[0].mem[4] = 0x44;
	set(PCI_COMMAND, MEM, 2);
	assert_int_equal(nr_slots, 0);
	pb_write(&pb, bar_at(0) + 4, 0, 4);
	assert_int_equal(pb_read(&pb, bar_at(0) + 4, 4), 0x44);
}

static void slots_fail(void **state)
{
	ipa_t bar;

	(void)state;
	fake_nvme(f);
	start(true);
	map_fails = -ENOMEM;
	log_set_level(LOG_ERROR);
	set(PCI_COMMAND, MEM, 2);
	log_set_level(LOG_WARNING);
	bar = bar_at(0);
	assert_int_equal(nr_slots, 0);
	f->region[0].mem[0x10] = 0x21;
	assert_int_equal(pb_read(&pb, bar + 0x10, 1), 0x21);
}

/* ---- ROM ------------------------------------------------------------------------------------- */

static char *rom_file(const void *data, size_t len)
{
	static char path[] = "/tmp/test_vfio_pci.XXXXXX";
	int fd;

	memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
	return path;
}

static void rom_of_file(void **state)
{
	uint8_t image[3000] = { 0x55, 0xaa, 0x77 };
	ipa_t rom = 0x70000000;

	(void)state;
	fake_e1000e(f);
	cfg.rom = rom_file(image, sizeof(image));
	start(true);
	unlink(cfg.rom);
	set(PCI_COMMAND, MEM, 2);
	set(PCI_ROM_ADDRESS, UINT32_MAX, 4);
	assert_int_equal(get(PCI_ROM_ADDRESS, 4), 0xfffff001);		/* 4 KiB */
	set(PCI_ROM_ADDRESS, rom | 1, 4);
	assert_int_equal(pb_read(&pb, rom, 4), 0x0077aa55);
	assert_int_equal(pb_read(&pb, rom + 2998, 4), 0xffff0000);
	assert_int_equal(f->region[VFIO_PCI_ROM_REGION_INDEX].reads, 0);
}

static void rom_refused(void **state)
{
	static char none[] = "/nonexistent/rom", dir[] = "/tmp";

	(void)state;
	fake_e1000e(f);
	cfg.rom = rom_file("\x7f" "ELF", 4);
	refused(-EINVAL, "55 aa");
	unlink(cfg.rom);
	cfg.rom = rom_file("", 0);
	refused(-EINVAL, "2 bytes to 16 MiB");
	unlink(cfg.rom);
	cfg.rom = none;
	refused(-ENOENT, "No such file");
	cfg.rom = dir;
	refused(-EINVAL, "is no file");
	cfg.rom = NULL;
	cfg.no_rom = true;
	start(true);
	set(PCI_ROM_ADDRESS, UINT32_MAX, 4);
	assert_int_equal(get(PCI_ROM_ADDRESS, 4), 0);
}

/* What is there but no image, or cannot be read, is not shown. */
static void rom_broken(void **state)
{
	(void)state;
	fake_edu(f);
	fake_dev_rom(f, 0x1000, false);
	start(true);
	set(PCI_ROM_ADDRESS, UINT32_MAX, 4);
	assert_int_equal(get(PCI_ROM_ADDRESS, 4), 0);
}

/* ---- several --------------------------------------------------------------------------------- */

static void functions(void **state)
{
	static const char *const name[] = { "0000:00:07.0", "0000:00:07.3", "0000:00:08.0",
					    "0000:00:07.5" };
	static const uint8_t at[] = { 1 << 3, 1 << 3 | 1, 2 << 3, 1 << 3 | 2 };
	struct vfio_pci_env env = make_env(true);
	struct fake_dev *fd = calloc(4, sizeof(*fd));
	struct vfio_device vd[4];
	struct vfio_pci *fn[4];
	struct err e;

	(void)state;
	fake_edu(f);
	for (unsigned int i = 0; i < 4; i++) {
		fake_edu(&fd[i]);
		fd[i].name = name[i];
		fake_dev_open(&fd[i], &vd[i]);
		assert_int_equal(vfio_pci_new(&vd[i], &cfg, &env, &fn[i], &e), 0);
		assert_int_equal(pb_cfg(&pb, at[i], PCI_VENDOR_ID, 4), 0x11e81234);
	}
	assert_int_equal(pb_cfg(&pb, 1 << 3, PCI_HEADER_TYPE, 1), 0x80);
	assert_int_equal(pb_cfg(&pb, 2 << 3, PCI_HEADER_TYPE, 1), 0);
	for (unsigned int i = 0; i < 4; i++) {
		vfio_pci_free(fn[i]);
		assert_int_equal(fd[i].resets, 2);
		assert_null(fake_dev_destroy(&fd[i]));
	}
	free(fd);
}

/* ---- several vCPUs --------------------------------------------------------------------------- */

static _Atomic bool over;

static void *masters(void *arg)
{
	(void)arg;
	for (unsigned int i = 0; !over; i++)
		set(PCI_COMMAND, i % 3 ? MEM | MASTER : 0, 2);
	return NULL;
}

static void *movers(void *arg)
{
	(void)arg;
	for (unsigned int i = 0; !over; i++)
		set(PCI_BASE_ADDRESS_0, 0x60000000 + i % 4 * 0x4000, 4);
	return NULL;
}

static void *sleepers(void *arg)
{
	(void)arg;
	for (unsigned int i = 0; !over; i++)
		set(0x64, i % 2 ? 3 : 0, 1);
	return NULL;
}

static void *readers(void *arg)
{
	(void)arg;
	for (unsigned int i = 0; !over; i++) {
		pb_read(&pb, 0x60000000 + i * 4 % 0x10000, 4);
		pb_write(&pb, 0x60002000 + i % 4 * 0x4000, i, 4);
		get(i * 4 % 256, 4);
	}
	return NULL;
}

static void all_at_once(void **state)
{
	void *(*const fn[])(void *) = { masters, movers, sleepers, readers, readers };
	pthread_t thread[ARRAY_SIZE(fn)];

	(void)state;
	fake_nvme(f);
	start(true);
	log_set_level(LOG_ERROR);
	over = false;
	for (unsigned int i = 0; i < ARRAY_SIZE(fn); i++)
		assert_int_equal(pthread_create(&thread[i], NULL, fn[i], NULL), 0);
	for (unsigned int i = 0; i < 20; i++) {
		usleep(5000);
		set(0x88, PCI_EXP_DEVCTL_BCR_FLR, 2);
	}
	over = true;
	for (unsigned int i = 0; i < ARRAY_SIZE(fn); i++)
		pthread_join(thread[i], NULL);
	log_set_level(LOG_WARNING);
	assert_int_equal(f->resets, 21);
	/* the last word of each counts */
	set(0x64, 0, 1);
	set(PCI_BASE_ADDRESS_0, 0x60000000, 4);
	set(PCI_COMMAND, MEM | MASTER, 2);
	assert_int_equal(nr_slots, 1);
	assert_non_null(memory_at(0x60000000));
	assert_int_equal(fake_dev_get(f, PCI_COMMAND, 2) & (MEM | MASTER), MEM | MASTER);
	assert_int_equal(f->cfg[0x64] & 3, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(nvme),
		T(bars_move),
		T(virtio_net),
		T(e1000e),
		T(edu),
		T(all_widths),
		T(device_control),
		T(function_reset),
		T(af_reset),
		T(no_reset),
		T(power),
		T(vpd),
		T(hidden_ext),
		T(no_ext),
		T(hostile_lists),
		T(random_lists),
		T(refusals),
		T(calls_fail),
		T(small_bar),
		T(sparse),
		T(sparse_none),
		T(sparse_hostile),
		T(direct),
		T(direct_fails),
		T(read_only),
		T(slots_fail),
		T(rom_of_file),
		T(rom_refused),
		T(rom_broken),
		T(functions),
		T(all_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
