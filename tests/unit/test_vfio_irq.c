// SPDX-License-Identifier: BSD-3-Clause
/*
 * Interrupts of assigned functions: from the model of a device, through the model of KVM, to what
 * a guest would see of them.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/fakevfio/fake_dev.h"
#include "tests/unit/pbus.h"
#include "vfio/pci_int.h"
#include "vmm/core/log.h"

#define DEV	1			/* number of the first device on the bus */
#define FN	(DEV << 3)
#define SPI	(MAP_PCI_SPI + DEV)
#define ON	(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)
#define INTX	VFIO_PCI_INTX_IRQ_INDEX
#define MSI	VFIO_PCI_MSI_IRQ_INDEX
#define MSIX	VFIO_PCI_MSIX_IRQ_INDEX
#define ERR	VFIO_PCI_ERR_IRQ_INDEX
#define REQ	VFIO_PCI_REQ_IRQ_INDEX

/* A function with the interrupts that are tested, and the rest of it as simple as can be. */
struct func {
	struct fake_dev hw;
	struct vfio_device dev;
	struct vfio_pci p;
};

static struct pbus pb;
static struct loop loop;
static char failure[256];
static unsigned int failures;

static bool cfg_read(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t *val)
{
	vfio_irqs_refresh(container_of(d, struct vfio_pci, pci), off, len);
	return false;
}

static bool cfg_write(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t val)
{
	pci_cfg_write(d, off, len, val);
	vfio_irqs_cfg(container_of(d, struct vfio_pci, pci), off, len);
	return true;
}

static const struct pci_ops ops = {
	.cfg_read = cfg_read,
	.cfg_write = cfg_write,
	.bar_mapped = vfio_bar_mapped,
	.msix_used = vfio_irqs_msix_used,
};

static void failed(void *ctx, const char *why)
{
	snprintf(failure, sizeof(failure), "%s", why);
	failures++;
}

/* The configuration space of the device with its capabilities, and its BARs. */
static void make(struct func *f)
{
	static const struct pci_ids none;

	memset(&f->p, 0, sizeof(f->p));
	fake_dev_open(&f->hw, &f->dev);
	f->p.dev = &f->dev;
	f->p.env = (struct vfio_pci_env){
		.host = &pb.host,
		.msi = &pb.msi,
		.kvm = &pb.kvm,
		.loop = &loop,
		.failed = failed,
	};
	pci_dev_init(&f->p.pci, &ops, f->hw.name, &none);
	pci_put(&f->p.pci, PCI_STATUS, 2, PCI_STATUS_CAP_LIST);
	f->p.pci.cfg[PCI_CAPABILITY_LIST] = f->hw.cfg[PCI_CAPABILITY_LIST];
	memcpy(f->p.pci.cfg + PCI_STD_HEADER_SIZEOF, f->hw.cfg + PCI_STD_HEADER_SIZEOF,
	       PCI_CFG_SPACE_SIZE - PCI_STD_HEADER_SIZEOF);
	for (unsigned int bar = 0; bar < 6; bar++)
		if (f->hw.region[bar].size)
			pci_add_bar(&f->p.pci, bar, f->hw.region[bar].size, false, false);
}

static int start(struct func *f, struct err *e)
{
	int ret = vfio_irqs_init(&f->p, e);

	if (!ret)
		ret = pci_add(&pb.host, &f->p.pci, e);
	if (!ret)
		ret = vfio_irqs_start(&f->p, e);
	return ret;
}

static void end(struct func *f)
{
	const char *left;

	vfio_irqs_stop(&f->p);
	pci_dev_destroy(&f->p.pci);
	vfio_irqs_free(&f->p);
	left = fake_dev_destroy(&f->hw);
	if (left)
		fail_msg("%s", left);
	close(f->hw.fd);
}

static void ready(struct func *f)
{
	struct err e;

	make(f);
	if (start(f, &e) < 0)
		fail_msg("%s", e.msg);
	pb_set_cfg(&pb, f->p.pci.devfn, PCI_COMMAND, ON, 2);
}

static int setup(void **state)
{
	(void)state;
	pb_init(&pb, false, 31);
	assert_int_equal(loop_init(&loop, NULL), 0);
	failures = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	loop_destroy(&loop);
	pb_destroy(&pb);
	return 0;
}

static uint32_t cfg(const struct func *f, unsigned int off, unsigned int len)
{
	return pb_cfg(&pb, f->p.pci.devfn, off, len);
}

static void put(const struct func *f, unsigned int off, uint32_t val, unsigned int len)
{
	pb_set_cfg(&pb, f->p.pci.devfn, off, val, len);
}

/* The GSI that sends this data, -1: none. */
static int gsi_of(uint32_t data, uint32_t devid)
{
	struct kvm_irq_routing_entry r;

	for (uint32_t gsi = MAP_NR_SPIS; gsi < MAP_NR_SPIS + 200; gsi++)
		if (fake_route(gsi, &r) && r.type == KVM_IRQ_ROUTING_MSI &&
		    r.u.msi.data == data && r.u.msi.devid == devid)
			return gsi;
	return -1;
}

static int count_of(const struct func *f, uint32_t data)
{
	int gsi = gsi_of(data, f->p.pci.devfn);

	return gsi < 0 ? -1 : fake_gsi_count(gsi);
}

/* ---- MSI-X ----------------------------------------------------------------------------------- */

#define CAP	0x50			/* of MSI-X, and of MSI where there is no MSI-X */
#define TABLE	0x2000
#define PBA	0x3000

static ipa_t bar_at(const struct func *f, unsigned int off)
{
	return f->p.pci.bar[0].addr + off;
}

static void entry(const struct func *f, unsigned int vector, uint64_t addr, uint32_t data)
{
	ipa_t at = bar_at(f, TABLE + 16 * vector);

	pb_write(&pb, at, addr, 8);
	pb_write(&pb, at + 8, data, 4);
}

static void mask(const struct func *f, unsigned int vector, bool on)
{
	pb_write(&pb, bar_at(f, TABLE + 16 * vector + 12), on, 4);
}

static bool pending(const struct func *f, unsigned int vector)
{
	return pb_read(&pb, bar_at(f, PBA + vector / 64 * 8), 8) >> (vector % 64) & 1;
}

static void msix_func(struct func *f, unsigned int nr, uint32_t flags)
{
	fake_dev_init(&f->hw, "0000:01:00.0", 0x1234, 0x5678, 0x020000);
	fake_dev_bar(&f->hw, 0, SZ_64K, 0, VFIO_REGION_INFO_FLAG_READ);
	fake_dev_msix(&f->hw, CAP, nr, 0, TABLE, PBA, VFIO_IRQ_INFO_EVENTFD | flags);
	fake_dev_intx(&f->hw);
}

/* As Linux does it: everything is masked while the table is written, then vectors one by one. */
static void linux_msix(const struct func *f, unsigned int nr)
{
	put(f, CAP + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 2);
	put(f, PCI_COMMAND, ON | PCI_COMMAND_INTX_DISABLE, 2);
	for (unsigned int i = 0; i < nr; i++)
		entry(f, i, PB_DOORBELL, 0x100 + i);
	put(f, CAP + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	for (unsigned int i = 0; i < nr; i++)
		mask(f, i, false);
}

static void msix_one_by_one(void **state)
{
	struct func f;

	(void)state;
	msix_func(&f, 8, 0);
	ready(&f);
	assert_int_equal(cfg(&f, PCI_CAPABILITY_LIST, 1), CAP);
	assert_int_equal(f.hw.irq[INTX].nr, 1);
	/* on as the guest has it, with no vector in use */
	put(&f, CAP + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 2);
	assert_int_equal(f.hw.irq[INTX].nr, 0);
	assert_int_equal(f.hw.irq[MSIX].nr, 1);
	assert_int_equal(f.hw.irq[MSIX].fd[0], -1);
	assert_int_equal(f.p.stat.irq, VFIO_PCI_MSIX);
	assert_int_equal(f.p.stat.vectors, 0);
	entry(&f, 3, PB_DOORBELL, 0x33);
	mask(&f, 3, false);
	assert_true(f.hw.irq[MSIX].fd[3] >= 0);
	assert_int_equal(f.hw.irq[MSIX].fd[2], -1);
	assert_int_equal(f.p.stat.vectors, 1);
	/* the function mask keeps it back */
	assert_true(fake_dev_fire(&f.hw, MSIX, 3));
	assert_true(pending(&f, 3));
	assert_int_equal(count_of(&f, 0x33), -1);
	put(&f, CAP + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	assert_int_equal(count_of(&f, 0x33), 1);
	assert_false(pending(&f, 3));
	/* masks cost the device nothing */
	mask(&f, 3, true);
	assert_true(fake_dev_fire(&f.hw, MSIX, 3));
	assert_true(pending(&f, 3));
	mask(&f, 3, false);
	assert_int_equal(count_of(&f, 0x33), 1);
	assert_int_equal(f.hw.irq[MSIX].sets, 2);
	/* another one */
	entry(&f, 7, PB_DOORBELL, 0x77);
	mask(&f, 7, false);
	assert_true(fake_dev_fire(&f.hw, MSIX, 7));
	assert_int_equal(count_of(&f, 0x77), 1);
	assert_int_equal(count_of(&f, 0x33), 0);
	assert_int_equal(f.p.stat.vectors, 2);
	/* off, and on again: nothing is left of it */
	assert_true(fake_dev_fire(&f.hw, MSIX, 7));
	put(&f, CAP + PCI_MSIX_FLAGS, 0, 2);
	assert_int_equal(f.hw.irq[MSIX].nr, 0);
	assert_int_equal(f.hw.irq[INTX].nr, 1);
	mask(&f, 7, true);
	put(&f, CAP + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	assert_true(f.hw.irq[MSIX].fd[3] >= 0);	/* it is still unmasked in the table */
	assert_int_equal(f.hw.irq[MSIX].fd[7], -1);
	assert_false(pending(&f, 7));
	end(&f);
}

/* A host that cannot add vectors later has all of them ready, and none of them in use. */
static void msix_noresize(void **state)
{
	struct func f;

	(void)state;
	msix_func(&f, 65, VFIO_IRQ_INFO_NORESIZE);
	ready(&f);
	linux_msix(&f, 0);
	assert_int_equal(f.hw.irq[MSIX].nr, 65);
	for (unsigned int i = 0; i < 65; i++)
		assert_int_equal(f.hw.irq[MSIX].fd[i], -1);
	for (unsigned int i = 0; i < 65; i += 32) {
		entry(&f, i, PB_DOORBELL, i);
		mask(&f, i, false);
		for (unsigned int k = 0; k <= i; k += 32) {
			assert_true(fake_dev_fire(&f.hw, MSIX, k));
			assert_int_equal(count_of(&f, k), 1);
		}
	}
	assert_int_equal(f.p.stat.vectors, 3);
	/* never switched off in between */
	assert_int_equal(f.hw.irq[MSIX].sets, 4);
	end(&f);
}

static void msix_host_is_short(void **state)
{
	struct func f;

	(void)state;
	msix_func(&f, 16, VFIO_IRQ_INFO_NORESIZE);
	f.hw.irq[MSIX].limit = 5;
	ready(&f);
	linux_msix(&f, 8);
	assert_int_equal(f.hw.irq[MSIX].nr, 5);
	assert_int_equal(f.p.stat.vectors, 5);
	assert_true(fake_dev_fire(&f.hw, MSIX, 4));
	assert_int_equal(count_of(&f, 0x104), 1);
	assert_false(fake_dev_fire(&f.hw, MSIX, 5));
	end(&f);
}

/* Unmasked before MSI-X is on, in one write for all. */
static void msix_at_once(void **state)
{
	struct func f;

	(void)state;
	msix_func(&f, 4, 0);
	ready(&f);
	for (unsigned int i = 0; i < 4; i++) {
		entry(&f, i, PB_DOORBELL, i);
		mask(&f, i, false);
	}
	assert_int_equal(f.hw.irq[MSIX].sets, 0);
	put(&f, CAP + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	for (unsigned int i = 0; i < 4; i++) {
		assert_true(fake_dev_fire(&f.hw, MSIX, i));
		assert_int_equal(count_of(&f, i), 1);
	}
	assert_int_equal(f.p.stat.vectors, 4);
	/* nobody wants the wire yet, so it is not switched on */
	put(&f, PCI_COMMAND, ON | PCI_COMMAND_INTX_DISABLE, 2);
	put(&f, CAP + PCI_MSIX_FLAGS, 0, 2);
	assert_int_equal(f.p.stat.irq, VFIO_PCI_NO_IRQ);
	put(&f, PCI_COMMAND, ON, 2);
	assert_int_equal(f.p.stat.irq, VFIO_PCI_INTX);
	end(&f);
}

static void msix_needs_the_master(void **state)
{
	struct func f;

	(void)state;
	msix_func(&f, 4, 0);
	ready(&f);
	linux_msix(&f, 2);
	put(&f, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_true(fake_dev_fire(&f.hw, MSIX, 1));
	assert_true(pending(&f, 1));
	assert_int_equal(count_of(&f, 0x101), -1);
	put(&f, PCI_COMMAND, ON, 2);
	assert_int_equal(count_of(&f, 0x101), 1);
	end(&f);
}

/* The message is what the table says at the moment, and the function that sends it. */
static void msix_message_changes(void **state)
{
	struct kvm_irq_routing_entry r;
	struct func f;
	int gsi;

	(void)state;
	msix_func(&f, 4, 0);
	ready(&f);
	linux_msix(&f, 1);
	gsi = gsi_of(0x100, FN);
	assert_true(gsi >= 0);
	entry(&f, 0, PB_DOORBELL | 0x4600000000, 0x200);
	assert_true(fake_route(gsi, &r));
	assert_int_equal(r.u.msi.data, 0x200);
	assert_int_equal(r.u.msi.address_hi, 0x46);
	assert_int_equal(r.u.msi.devid, FN);
	assert_true(fake_dev_fire(&f.hw, MSIX, 0));
	assert_int_equal(fake_gsi_count(gsi), 1);
	end(&f);
}

static void msix_two_bars(void **state)
{
	struct func f;

	(void)state;
	fake_dev_init(&f.hw, "0000:01:00.0", 0x1234, 0x5678, 0x020000);
	fake_dev_bar(&f.hw, 0, SZ_64K, 0, VFIO_REGION_INFO_FLAG_READ);
	fake_dev_bar(&f.hw, 2, SZ_4K, 0, VFIO_REGION_INFO_FLAG_READ);
	fake_dev_msix(&f.hw, CAP, 32, 0, TABLE, 0x800, VFIO_IRQ_INFO_EVENTFD);
	fake_dev_put(&f.hw, CAP + PCI_MSIX_PBA, 4, 0x800 | 2);
	ready(&f);
	assert_int_equal(cfg(&f, CAP + PCI_MSIX_TABLE, 4), TABLE);
	assert_int_equal(cfg(&f, CAP + PCI_MSIX_PBA, 4), 0x802);
	linux_msix(&f, 2);
	mask(&f, 1, true);
	assert_true(fake_dev_fire(&f.hw, MSIX, 1));
	assert_int_equal(pb_read(&pb, f.p.pci.bar[2].addr + 0x800, 4), 2);
	assert_true(pci_msix_owns(&f.p.pci, 0, TABLE + 32 * 16 - 1, 1));
	assert_false(pci_msix_owns(&f.p.pci, 0, TABLE + 32 * 16, SZ_4K));
	assert_false(pci_msix_owns(&f.p.pci, 0, 0x800, 8));
	assert_true(pci_msix_owns(&f.p.pci, 2, 0, SZ_4K));
	end(&f);
}

/* What devices say of themselves is checked; what is wrong is not shown to the guest. */
static void msix_impossible(void **state)
{
	static const struct {
		uint32_t table, pba;
	} bad[] = {
		{ 0x10000, PBA },		/* beyond the BAR */
		{ 0xfff0, PBA },		/* runs over its end */
		{ TABLE, 0xfffffff8 },
		{ TABLE, TABLE + 0x10 },	/* one in the other */
		{ TABLE | 1, PBA | 1 },		/* no such BAR */
		{ TABLE | 7, PBA },
		{ TABLE, PBA | 6 },
	};
	struct func f;

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		setup(state);
		msix_func(&f, 8, 0);
		fake_dev_cap(&f.hw, 0x70, PCI_CAP_ID_PM, NULL, 0);
		fake_dev_put(&f.hw, CAP + PCI_MSIX_TABLE, 4, bad[i].table);
		fake_dev_put(&f.hw, CAP + PCI_MSIX_PBA, 4, bad[i].pba);
		ready(&f);
		assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_MSIX, 0), 0);
		assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_PM, 0), 0x70);
		put(&f, CAP + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
		assert_int_equal(f.p.stat.irq, VFIO_PCI_INTX);
		end(&f);
		teardown(state);
	}
	/* fewer at the host than in the device */
	setup(state);
	msix_func(&f, 8, 0);
	f.hw.irq[MSIX].count = 3;
	ready(&f);
	assert_int_equal(cfg(&f, CAP + PCI_MSIX_FLAGS, 2), 2);
	end(&f);
	teardown(state);
	setup(state);
	msix_func(&f, 8, 0);
	f.hw.irq[MSIX].count = 0;
	ready(&f);
	assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_MSIX, 0), 0);
	end(&f);
	teardown(state);
	/* a capability that runs out of the 256 bytes, and a list that goes in circles */
	setup(state);
	msix_func(&f, 8, 0);
	f.hw.cfg[CAP + 1] = 0xfc;
	f.hw.cfg[0xfc] = PCI_CAP_ID_MSIX;
	f.hw.cfg[0xfd] = CAP;
	f.hw.cfg[CAP] = PCI_CAP_ID_PM;
	ready(&f);
	assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_MSIX, 0), 0);
	end(&f);
	teardown(state);
}

/* ---- MSI ------------------------------------------------------------------------------------- */

static void msi_func(struct func *f, uint16_t control, unsigned int log)
{
	fake_dev_init(&f->hw, "0000:02:00.0", 0x1234, 0x11e8, 0x00ff00);
	fake_dev_bar(&f->hw, 0, SZ_4K, 0, VFIO_REGION_INFO_FLAG_READ);
	fake_dev_msi(&f->hw, CAP, control, log);
	fake_dev_intx(&f->hw);
}

static void msi_single(void **state)
{
	struct kvm_irq_routing_entry r;
	struct func f;
	int gsi;

	(void)state;
	msi_func(&f, PCI_MSI_FLAGS_64BIT, 0);
	ready(&f);
	assert_int_equal(cfg(&f, CAP + PCI_MSI_FLAGS, 2), PCI_MSI_FLAGS_64BIT);
	put(&f, CAP + PCI_MSI_ADDRESS_LO, PB_DOORBELL, 4);
	put(&f, CAP + PCI_MSI_ADDRESS_HI, 2, 4);
	put(&f, CAP + PCI_MSI_DATA_64, 0x41, 2);
	assert_int_equal(f.hw.irq[MSI].nr, 0);
	put(&f, CAP + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE, 2);
	assert_int_equal(cfg(&f, CAP + PCI_MSI_FLAGS, 2),
			 PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_ENABLE);
	assert_int_equal(f.hw.irq[MSI].nr, 1);
	assert_int_equal(f.hw.irq[INTX].nr, 0);
	assert_int_equal(f.p.stat.irq, VFIO_PCI_MSI);
	assert_int_equal(f.p.stat.vectors, 1);
	gsi = gsi_of(0x41, FN);
	assert_true(fake_route(gsi, &r));
	assert_int_equal(r.u.msi.address_lo, PB_DOORBELL);
	assert_int_equal(r.u.msi.address_hi, 2);
	assert_true(fake_dev_fire(&f.hw, MSI, 0));
	assert_int_equal(fake_gsi_count(gsi), 1);
	/* the message changes while it is on */
	put(&f, CAP + PCI_MSI_DATA_64, 0x42, 2);
	assert_true(fake_route(gsi, &r));
	assert_int_equal(r.u.msi.data, 0x42);
	/* no master, no message; none is lost */
	put(&f, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_true(fake_dev_fire(&f.hw, MSI, 0));
	assert_int_equal(fake_gsi_count(gsi), -1);
	put(&f, PCI_COMMAND, ON, 2);
	assert_int_equal(fake_gsi_count(gsi), 1);
	assert_int_equal(f.hw.irq[MSI].sets, 1);
	/* nothing of another enabling is left */
	put(&f, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_true(fake_dev_fire(&f.hw, MSI, 0));
	put(&f, CAP + PCI_MSI_FLAGS, 0, 2);
	assert_int_equal(f.hw.irq[MSI].nr, 0);
	assert_int_equal(f.hw.irq[INTX].nr, 1);
	put(&f, PCI_COMMAND, ON, 2);
	put(&f, CAP + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE, 2);
	assert_int_equal(count_of(&f, 0x42), 0);
	end(&f);
}

/* Several messages differ in the low bits of the data, masks and pending bits are per message. */
static void msi_several(void **state)
{
	for (unsigned int wide = 0; wide < 2; wide++) {
		uint16_t control = PCI_MSI_FLAGS_MASKBIT | (wide ? PCI_MSI_FLAGS_64BIT : 0);
		unsigned int data = CAP + (wide ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32);
		unsigned int masks = CAP + (wide ? PCI_MSI_MASK_64 : PCI_MSI_MASK_32);
		unsigned int bits = CAP + (wide ? PCI_MSI_PENDING_64 : PCI_MSI_PENDING_32);
		struct func f;

		setup(state);
		msi_func(&f, control, 3);
		ready(&f);
		put(&f, masks, 0xffffffff, 4);
		assert_int_equal(cfg(&f, masks, 4), 0xff);
		put(&f, masks, 0, 4);
		put(&f, CAP + PCI_MSI_ADDRESS_LO, PB_DOORBELL | 3, 4);
		assert_int_equal(cfg(&f, CAP + PCI_MSI_ADDRESS_LO, 4), PB_DOORBELL);
		put(&f, data, 0x1237, 2);
		/* four of eight */
		put(&f, CAP + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE | 2 << 4, 2);
		assert_int_equal(f.hw.irq[MSI].nr, 4);
		for (unsigned int i = 0; i < 4; i++) {
			assert_true(fake_dev_fire(&f.hw, MSI, i));
			assert_int_equal(count_of(&f, 0x1234 + i), 1);
		}
		assert_int_equal(gsi_of(0x1238, FN), -1);
		put(&f, masks, 1 << 2, 4);
		assert_true(fake_dev_fire(&f.hw, MSI, 2));
		assert_true(fake_dev_fire(&f.hw, MSI, 3));
		assert_int_equal(cfg(&f, bits, 4), 1 << 2);
		assert_int_equal(cfg(&f, bits, 1), 1 << 2);
		put(&f, bits, 0xffffffff, 4);
		assert_int_equal(cfg(&f, bits, 4), 1 << 2);
		assert_int_equal(count_of(&f, 0x1236), -1);
		assert_int_equal(count_of(&f, 0x1237), 1);
		put(&f, masks, 0, 1);
		assert_int_equal(count_of(&f, 0x1236), 1);
		assert_int_equal(cfg(&f, bits, 4), 0);
		/* another number of them, while on; more than there are is as many as there are */
		put(&f, CAP + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE | 5 << 4, 2);
		assert_int_equal(f.hw.irq[MSI].nr, 8);
		assert_true(fake_dev_fire(&f.hw, MSI, 7));
		assert_int_equal(count_of(&f, 0x1237), 1);
		end(&f);
		teardown(state);
	}
}

static void msi_host_is_short(void **state)
{
	struct func f;

	(void)state;
	msi_func(&f, 0, 5);
	f.hw.irq[MSI].limit = 7;
	ready(&f);
	put(&f, CAP + PCI_MSI_ADDRESS_LO, PB_DOORBELL, 4);
	put(&f, CAP + PCI_MSI_DATA_32, 0x40, 2);
	put(&f, CAP + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE | 5 << 4, 2);
	assert_int_equal(f.hw.irq[MSI].nr, 4);
	assert_int_equal(f.p.stat.vectors, 4);
	assert_true(fake_dev_fire(&f.hw, MSI, 3));
	assert_int_equal(count_of(&f, 0x43), 1);
	end(&f);
}

static void msi_impossible(void **state)
{
	/* messages at the host, and what it makes of 2^7, which is reserved */
	static const unsigned int count[][2] = { { 31, 4 }, { 32, 5 }, { 200, 5 } };
	struct func f;

	setup(state);
	msi_func(&f, PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT, 0);
	f.hw.cfg[PCI_CAPABILITY_LIST] = 0xec;
	f.hw.cfg[0xec] = PCI_CAP_ID_MSI;
	f.hw.cfg[0xec + PCI_MSI_FLAGS] = PCI_MSI_FLAGS_64BIT;
	f.hw.cfg[0xed + PCI_MSI_FLAGS] = PCI_MSI_FLAGS_MASKBIT >> 8;
	ready(&f);
	assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_MSI, 0), 0);
	for (unsigned int off = 0; off < PCI_CFG_SPACE; off += 4)
		cfg(&f, off, 4);
	end(&f);
	teardown(state);
	for (unsigned int i = 0; i < ARRAY_SIZE(count); i++) {
		setup(state);
		msi_func(&f, PCI_MSI_FLAGS_MASKBIT, 5);
		fake_dev_put(&f.hw, CAP + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_MASKBIT | 7 << 1);
		f.hw.irq[MSI].count = count[i][0];
		ready(&f);
		assert_int_equal(cfg(&f, CAP + PCI_MSI_FLAGS, 2) & PCI_MSI_FLAGS_QMASK,
				 count[i][1] << 1);
		put(&f, CAP + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE | 7 << 4, 2);
		assert_int_equal(f.p.stat.vectors, 1 << count[i][1]);
		put(&f, CAP + PCI_MSI_MASK_32, 0xffffffff, 4);
		assert_int_equal(cfg(&f, CAP + PCI_MSI_MASK_32, 4),
				 UINT32_MAX >> (32 - (1 << count[i][1])));
		end(&f);
		teardown(state);
	}
}

/* ---- INTx ------------------------------------------------------------------------------------ */

static void intx_func(struct func *f, const char *name)
{
	fake_dev_init(&f->hw, name, 0x1234, 0x11e8, 0x00ff00);
	fake_dev_bar(&f->hw, 0, SZ_4K, 0, VFIO_REGION_INFO_FLAG_READ);
	fake_dev_intx(&f->hw);
}

static void intx(void **state)
{
	struct func f;

	(void)state;
	intx_func(&f, "0000:03:00.0");
	ready(&f);
	assert_int_equal(cfg(&f, PCI_INTERRUPT_PIN, 1), 1);
	assert_int_equal(f.p.stat.irq, VFIO_PCI_INTX);
	assert_int_equal(fake_resamplers(SPI), 1);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(fake_irq_level(SPI), 0);
		assert_true(fake_dev_fire(&f.hw, INTX, 0));
		/* the host's kernel has masked it until the guest is done */
		assert_false(fake_dev_fire(&f.hw, INTX, 0));
		assert_int_equal(fake_irq_level(SPI), 1);
		fake_eoi(SPI);
		assert_true(fake_dev_unmasked(&f.hw));
	}
	/* the guest does not want it */
	assert_true(fake_dev_fire(&f.hw, INTX, 0));
	assert_int_equal(fake_irq_level(SPI), 1);
	put(&f, PCI_COMMAND, ON | PCI_COMMAND_INTX_DISABLE, 2);
	assert_int_equal(fake_irq_level(SPI), 0);
	assert_int_equal(fake_resamplers(SPI), 0);
	assert_true(f.hw.irq[INTX].masked);
	put(&f, PCI_COMMAND, ON | PCI_COMMAND_INTX_DISABLE, 2);
	/* and now again: a device that still has something to say does so */
	put(&f, PCI_COMMAND, ON, 2);
	assert_int_equal(fake_resamplers(SPI), 1);
	assert_false(f.hw.irq[INTX].masked);
	assert_true(fake_dev_fire(&f.hw, INTX, 0));
	assert_int_equal(fake_irq_level(SPI), 1);
	end(&f);
	assert_int_equal(fake_irq_level(SPI), 0);
}

/*
 * A host whose KVM needs an exit in the handler: what is mapped of BARs is taken away while the
 * wire is in use.
 */
static unsigned int slots;

static int map_bar(void *ctx, ipa_t ipa, uint64_t size, void *host, unsigned int *slot)
{
	slots++;
	return 0;
}

static void unmap_bar(void *ctx, unsigned int slot)
{
	slots--;
}

static void intx_by_exits(void **state)
{
	for (unsigned int needed = 0; needed < 2; needed++) {
		struct vfio_area area = { .off = 0, .size = SZ_4K, .host = (uint8_t *)&area };
		struct func f;
		struct err e;

		setup(state);
		slots = 0;
		msi_func(&f, 0, 0);
		make(&f);
		f.p.env.map_bar = map_bar;
		f.p.env.unmap_bar = unmap_bar;
		f.p.env.intx_exits = needed;
		f.p.bar[0].nr = 1;
		f.p.bar[0].area = &area;
		assert_int_equal(start(&f, &e), 0);
		put(&f, PCI_COMMAND, ON, 2);
		assert_int_equal(slots, !needed);
		put(&f, PCI_COMMAND, ON | PCI_COMMAND_INTX_DISABLE, 2);
		assert_int_equal(slots, 1);
		put(&f, PCI_COMMAND, ON, 2);
		assert_int_equal(slots, !needed);
		put(&f, CAP + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE, 2);
		assert_int_equal(slots, 1);
		put(&f, PCI_COMMAND, PCI_COMMAND_MASTER, 2);
		assert_int_equal(slots, 0);
		put(&f, CAP + PCI_MSI_FLAGS, 0, 2);
		put(&f, PCI_COMMAND, ON, 2);
		assert_int_equal(slots, !needed);
		end(&f);
		/* the end of interrupts is no reason to map it again */
		assert_int_equal(slots, !needed);
		teardown(state);
	}
}

static int setup_shared(void **state)
{
	(void)state;
	pb_init(&pb, false, 62);	/* two functions in a device */
	assert_int_equal(loop_init(&loop, NULL), 0);
	return 0;
}

static void intx_shared(void **state)
{
	struct func a, b;

	(void)state;
	intx_func(&a, "0000:03:00.0");
	intx_func(&b, "0000:03:00.1");
	ready(&a);
	ready(&b);
	assert_int_equal(a.p.pci.devfn >> 3, b.p.pci.devfn >> 3);
	assert_int_equal(fake_resamplers(SPI), 2);
	assert_true(fake_dev_fire(&a.hw, INTX, 0));
	assert_int_equal(fake_irq_level(SPI), 1);
	assert_true(fake_dev_fire(&b.hw, INTX, 0));
	/* the end of it is told to both, and who is not done says so */
	fake_eoi(SPI);
	assert_true(fake_dev_unmasked(&a.hw));
	assert_true(fake_dev_unmasked(&b.hw));
	assert_int_equal(fake_irq_level(SPI), 0);
	assert_true(fake_dev_fire(&b.hw, INTX, 0));
	assert_int_equal(fake_irq_level(SPI), 1);
	/* one leaves the wire: the other has it asserted still, and it ends as usual */
	put(&a, PCI_COMMAND, ON | PCI_COMMAND_INTX_DISABLE, 2);
	assert_int_equal(fake_irq_level(SPI), 1);
	fake_eoi(SPI);
	assert_true(fake_dev_unmasked(&b.hw));
	assert_false(fake_dev_unmasked(&a.hw));
	assert_true(a.hw.irq[INTX].masked);
	assert_int_equal(fake_irq_level(SPI), 0);
	end(&a);
	assert_int_equal(fake_resamplers(SPI), 1);
	end(&b);
}

static void no_resampling(void **state)
{
	struct func f;

	(void)state;
	fake_host.cap[KVM_CAP_IRQFD_RESAMPLE] = 0;
	msi_func(&f, 0, 0);
	ready(&f);
	assert_int_equal(cfg(&f, PCI_INTERRUPT_PIN, 1), 0);
	assert_int_equal(f.p.stat.irq, VFIO_PCI_NO_IRQ);
	assert_int_equal(f.hw.irq[INTX].sets, 0);
	put(&f, CAP + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE, 2);
	assert_int_equal(f.p.stat.irq, VFIO_PCI_MSI);
	put(&f, CAP + PCI_MSI_FLAGS, 0, 2);
	assert_int_equal(f.p.stat.irq, VFIO_PCI_NO_IRQ);
	end(&f);
}

/* Without an ITS there are no messages, and no capability that promises them. */
static void no_its(void **state)
{
	struct func f;
	struct err e;

	(void)state;
	msix_func(&f, 8, 0);
	fake_dev_cap(&f.hw, 0x70, PCI_CAP_ID_PM, NULL, 0);
	fake_dev_msi(&f.hw, 0x80, PCI_MSI_FLAGS_64BIT, 0);
	make(&f);
	f.p.env.msi = NULL;
	assert_int_equal(start(&f, &e), 0);
	assert_int_equal(cfg(&f, PCI_CAPABILITY_LIST, 1), 0x70);
	assert_int_equal(cfg(&f, 0x71, 1), 0);
	assert_int_equal(pci_msix_vectors(&f.p.pci), 0);
	put(&f, CAP + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	put(&f, 0x80 + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE, 2);
	assert_int_equal(f.p.stat.irq, VFIO_PCI_INTX);
	assert_true(fake_dev_fire(&f.hw, INTX, 0));
	assert_int_equal(fake_irq_level(SPI), 1);
	end(&f);
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* The device never has two of them on; the model of it refuses that. */
static void from_one_to_another(void **state)
{
	enum { MSI_CAP = 0x80, NR = 4 };
	uint32_t seed = 12345;
	struct func f;

	(void)state;
	msix_func(&f, NR, 0);
	fake_dev_msi(&f.hw, MSI_CAP, PCI_MSI_FLAGS_64BIT, 2);
	ready(&f);
	for (unsigned int i = 0; i < NR; i++) {
		entry(&f, i, PB_DOORBELL, 0x100 + i);
		mask(&f, i, false);
	}
	put(&f, MSI_CAP + PCI_MSI_ADDRESS_LO, PB_DOORBELL, 4);
	put(&f, MSI_CAP + PCI_MSI_DATA_64, 0x80, 2);
	for (unsigned int i = 0; i < 500; i++) {
		bool x, m, off, master;

		seed = seed * 1103515245 + 12345;
		x = seed >> 16 & 1;
		m = seed >> 17 & 1;
		off = seed >> 18 & 1;
		master = seed >> 19 & 3;
		put(&f, MSI_CAP + PCI_MSI_FLAGS, m ? PCI_MSI_FLAGS_ENABLE | 2 << 4 : 0, 2);
		put(&f, CAP + PCI_MSIX_FLAGS, x ? PCI_MSIX_FLAGS_ENABLE : 0, 2);
		put(&f, PCI_COMMAND, PCI_COMMAND_MEMORY | (master ? PCI_COMMAND_MASTER : 0) |
				     (off ? PCI_COMMAND_INTX_DISABLE : 0), 2);
		assert_int_equal(f.hw.irq[MSIX].nr != 0, x);
		assert_int_equal(f.hw.irq[MSI].nr != 0, m && !x);
		if (m || x)
			assert_int_equal(f.hw.irq[INTX].nr, 0);
		assert_int_equal(fake_resamplers(SPI), !m && !x && !off);
		if (x && master) {
			assert_true(fake_dev_fire(&f.hw, MSIX, 1));
			assert_int_equal(count_of(&f, 0x101), 1);
		} else if (m && master) {
			assert_true(fake_dev_fire(&f.hw, MSI, 3));
			assert_int_equal(count_of(&f, 0x83), 1);
		} else if (!x && !m && !off) {
			assert_true(fake_dev_fire(&f.hw, INTX, 0));
			assert_int_equal(fake_irq_level(SPI), 1);
			fake_eoi(SPI);
			assert_true(fake_dev_unmasked(&f.hw));
		}
	}
	end(&f);
}

/* The guest resets the function while interrupts are on their way. */
static void reset(void **state)
{
	struct func f;
	struct err e;

	(void)state;
	msix_func(&f, 4, 0);
	fake_dev_msi(&f.hw, 0x80, PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT, 0);
	ready(&f);
	linux_msix(&f, 2);
	mask(&f, 1, true);
	assert_true(fake_dev_fire(&f.hw, MSIX, 0));
	assert_int_equal(count_of(&f, 0x100), 1);
	assert_true(fake_dev_fire(&f.hw, MSIX, 1));
	put(&f, 0x80 + PCI_MSI_DATA_64, 5, 2);
	vfio_irqs_reset(&f.p);
	for (unsigned int i = INTX; i <= MSIX; i++)
		assert_int_equal(f.hw.irq[i].nr, 0);
	assert_int_equal(f.p.stat.irq, VFIO_PCI_NO_IRQ);
	put(&f, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_int_equal(f.p.stat.irq, VFIO_PCI_NO_IRQ);
	assert_int_equal(vfio_irqs_start(&f.p, &e), 0);
	assert_int_equal(f.p.stat.irq, VFIO_PCI_INTX);
	assert_int_equal(cfg(&f, CAP + PCI_MSIX_FLAGS, 2), 3);
	assert_int_equal(cfg(&f, 0x80 + PCI_MSI_DATA_64, 2), 0);
	assert_int_equal(pb_read(&pb, bar_at(&f, TABLE), 8), 0);
	assert_int_equal(pb_read(&pb, bar_at(&f, TABLE + 8), 8), 1ULL << 32);
	assert_false(pending(&f, 1));
	/* the driver begins anew */
	put(&f, PCI_COMMAND, ON, 2);
	linux_msix(&f, 2);
	assert_int_equal(count_of(&f, 0x100), 0);
	assert_true(fake_dev_fire(&f.hw, MSIX, 1));
	assert_int_equal(count_of(&f, 0x101), 1);
	end(&f);
}

static void notices(void **state)
{
	static const unsigned int index[] = { ERR, REQ };
	static const char *const what[] = { "error", "wants the device back" };
	struct func f;

	for (unsigned int i = 0; i < 2; i++) {
		setup(state);
		intx_func(&f, "0000:03:00.0");
		fake_dev_irqs(&f.hw, ERR, 1, VFIO_IRQ_INFO_EVENTFD);
		fake_dev_irqs(&f.hw, REQ, 1, VFIO_IRQ_INFO_EVENTFD);
		ready(&f);
		assert_int_equal(loop_once(&loop, 0), 0);
		assert_true(fake_dev_fire(&f.hw, index[i], 0));
		assert_int_equal(loop_once(&loop, 0), 1);
		assert_int_equal(failures, 1);
		assert_non_null(strstr(failure, "0000:03:00.0: "));
		assert_non_null(strstr(failure, what[i]));
		/* once is enough; the kernel repeats it */
		fake_dev_fire(&f.hw, index[i], 0);
		loop_once(&loop, 0);
		assert_int_equal(failures, 1);
		end(&f);
		teardown(state);
	}
	/* both at once: two devices of a bus that is lost */
	setup(state);
	intx_func(&f, "0000:03:00.0");
	fake_dev_irqs(&f.hw, ERR, 1, VFIO_IRQ_INFO_EVENTFD);
	fake_dev_irqs(&f.hw, REQ, 1, VFIO_IRQ_INFO_EVENTFD);
	ready(&f);
	assert_true(fake_dev_fire(&f.hw, ERR, 0));
	assert_true(fake_dev_fire(&f.hw, REQ, 0));
	assert_int_equal(loop_once(&loop, 0), 2);
	assert_int_equal(failures, 2);
	end(&f);
	teardown(state);
}

static void none_at_all(void **state)
{
	struct func f;

	(void)state;
	fake_dev_init(&f.hw, "0000:03:00.0", 0x1234, 0x11e8, 0x00ff00);
	ready(&f);
	assert_int_equal(cfg(&f, PCI_INTERRUPT_PIN, 1), 0);
	assert_int_equal(f.p.stat.irq, VFIO_PCI_NO_IRQ);
	end(&f);
}

/* What a guest does with all kinds of interrupts, whatever fails. */
static bool life(unsigned int hw_call, unsigned long req, unsigned int nth)
{
	bool ok, more;
	struct func f;
	struct err e;

	msix_func(&f, 4, nth & 1 ? VFIO_IRQ_INFO_NORESIZE : 0);
	fake_dev_msi(&f.hw, 0x80, PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT, 2);
	fake_dev_irqs(&f.hw, ERR, 1, VFIO_IRQ_INFO_EVENTFD);
	fake_dev_irqs(&f.hw, REQ, 1, VFIO_IRQ_INFO_EVENTFD);
	make(&f);
	f.hw.fail_at = hw_call;
	f.hw.fail_errno = EIO;
	if (req)
		fake_fail_ioctl(req, nth, EIO);
	ok = start(&f, &e) == 0;
	if (ok) {
		put(&f, PCI_COMMAND, ON, 2);
		put(&f, PCI_COMMAND, ON | PCI_COMMAND_INTX_DISABLE, 2);
		put(&f, PCI_COMMAND, ON, 2);
		linux_msix(&f, 3);
		mask(&f, 1, true);
		mask(&f, 1, false);
		put(&f, CAP + PCI_MSIX_FLAGS, 0, 2);
		put(&f, 0x80 + PCI_MSI_ADDRESS_LO, PB_DOORBELL, 4);
		put(&f, 0x80 + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE | 1 << 4, 2);
		put(&f, 0x80 + PCI_MSI_MASK_64, 1, 4);
		put(&f, 0x80 + PCI_MSI_MASK_64, 0, 4);
		put(&f, 0x80 + PCI_MSI_FLAGS, 0, 2);
		linux_msix(&f, 4);
	} else {
		assert_int_equal(e.code, -EIO);
		assert_true(strlen(e.msg) > 10);
	}
	more = hw_call ? !f.hw.fail_at : fake_failed() != NULL;
	f.hw.fail_at = 0;
	/* a switch that could not be thrown leaves the device as it is: then the model drops it */
	vfio_irqs_stop(&f.p);
	pci_dev_destroy(&f.p.pci);
	vfio_irqs_free(&f.p);
	for (unsigned int i = 0; i < VFIO_PCI_NUM_IRQS; i++)
		if (f.hw.irq[i].nr && !more)
			fail_msg("index %u is still on", i);
	fake_dev_destroy(&f.hw);
	close(f.hw.fd);
	return more;
}

static unsigned int open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static bool fails(unsigned int hw_call, unsigned long req, unsigned int nth)
{
	unsigned int fds = open_fds();
	bool more;

	setup(NULL);
	more = life(hw_call, req, nth);
	fake_fail_ioctl(0, 0, 0);
	teardown(NULL);
	assert_int_equal(open_fds(), fds);
	return more;
}

static void each_call_fails(void **state)
{
	/* INTx, again when the guest wants it back, three vectors; those between are taken away */
	static const unsigned int made[] = { 1, 3, 5, 6, 7 };
	unsigned int n;

	(void)state;
	for (n = 1; n < 200 && fails(n, 0, n); n++)
		;
	assert_in_range(n, 20, 199);
	for (n = 1; n < 200 && fails(0, KVM_SET_GSI_ROUTING, n); n++)
		;
	assert_in_range(n, 3, 199);
	for (unsigned int i = 0; i < ARRAY_SIZE(made); i++)
		assert_true(fails(0, KVM_IRQFD, made[i]));
}

/* ---- two vCPUs ------------------------------------------------------------------------------- */

struct worker {
	struct func *f;
	unsigned int first;
	bool switches;
};

/* Each owns some vectors; in the second half MSI-X goes off and on meanwhile. */
static void *work(void *arg)
{
	const struct worker *w = arg;

	for (unsigned int i = 0; i < 300; i++) {
		unsigned int v = w->first + i % 4;

		entry(w->f, v, PB_DOORBELL, v << 8 | (i & 0xff));
		mask(w->f, v, false);
		if (!w->switches) {
			fake_dev_fire(&w->f->hw, MSIX, v);
		} else {
			put(w->f, CAP + PCI_MSIX_FLAGS, 0, 2);
			put(w->f, CAP + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
		}
		pending(w->f, v);
		mask(w->f, v, true);
	}
	return NULL;
}

static void two_vcpus(void **state)
{
	for (unsigned int same = 0; same < 2; same++) {
		struct worker w[2];
		struct func f[2];
		pthread_t t[2];

		setup(state);
		for (unsigned int i = 0; i < 2; i++) {
			msix_func(&f[i], 8, 0);
			ready(&f[i]);
			put(&f[i], CAP + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
		}
		for (unsigned int i = 0; i < 2; i++) {
			w[i] = (struct worker){ &f[same ? 0 : i], 4 * i, same };
			assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
		}
		for (unsigned int i = 0; i < 2; i++)
			pthread_join(t[i], NULL);
		/* it still works */
		for (unsigned int i = 0; i < 2; i++) {
			entry(&f[i], 5, PB_DOORBELL, 0x7000 + i);
			mask(&f[i], 5, false);
			count_of(&f[i], 0x7000 + i);
			assert_true(fake_dev_fire(&f[i].hw, MSIX, 5));
			assert_int_equal(count_of(&f[i], 0x7000 + i), 1);
		}
		end(&f[0]);
		end(&f[1]);
		teardown(state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(msix_one_by_one, setup, teardown),
		cmocka_unit_test_setup_teardown(msix_noresize, setup, teardown),
		cmocka_unit_test_setup_teardown(msix_host_is_short, setup, teardown),
		cmocka_unit_test_setup_teardown(msix_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(msix_needs_the_master, setup, teardown),
		cmocka_unit_test_setup_teardown(msix_message_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(msix_two_bars, setup, teardown),
		cmocka_unit_test(msix_impossible),
		cmocka_unit_test_setup_teardown(msi_single, setup, teardown),
		cmocka_unit_test(msi_several),
		cmocka_unit_test_setup_teardown(msi_host_is_short, setup, teardown),
		cmocka_unit_test(msi_impossible),
		cmocka_unit_test_setup_teardown(intx, setup, teardown),
		cmocka_unit_test_setup_teardown(intx_shared, setup_shared, teardown),
		cmocka_unit_test(intx_by_exits),
		cmocka_unit_test_setup_teardown(no_resampling, setup, teardown),
		cmocka_unit_test_setup_teardown(no_its, setup, teardown),
		cmocka_unit_test_setup_teardown(from_one_to_another, setup, teardown),
		cmocka_unit_test_setup_teardown(reset, setup, teardown),
		cmocka_unit_test(notices),
		cmocka_unit_test_setup_teardown(none_at_all, setup, teardown),
		cmocka_unit_test(each_call_fails),
		cmocka_unit_test(two_vcpus),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("vfio_irq", tests, NULL, NULL);
}
