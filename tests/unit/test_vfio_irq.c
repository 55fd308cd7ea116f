// SPDX-License-Identifier: BSD-3-Clause
/*
 * Interrupts of assigned functions: from the model of a device, through the model of KVM, to what
 * a guest would see of them.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
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

/* Messages that came with this data since the last look; -1: no irqfd leads there. */
static int came(uint32_t data)
{
	struct kvm_irq_routing_entry r;

	for (uint32_t gsi = MAP_NR_SPIS; gsi < MAP_NR_SPIS + 200; gsi++)
		if (fake_route(gsi, &r) && r.type == KVM_IRQ_ROUTING_MSI && r.u.msi.data == data &&
		    fake_gsi_count(gsi) >= 0)
			fail_msg("counted, and lost");
	return 0;
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
