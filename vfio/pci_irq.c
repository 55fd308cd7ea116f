// SPDX-License-Identifier: BSD-3-Clause
/*
 * Interrupts of an assigned function.
 *
 * The kernel signals an eventfd, and the eventfd is an irqfd of KVM: an interrupt takes no exit, no
 * thread and no code of ours. What is done here is to keep the device's means (none, INTx, MSI,
 * MSI-X; the kernel allows one at a time) the one that the guest has switched on, and irqfds in
 * line with the guest's masks. What is masked has no irqfd: its eventfd remembers, which is what
 * pending bits show.
 *
 * MSI-X: the table is the board's (vmm/board/msix.c), which tells us when a vector is first used.
 * Hosts that can add vectors later (Linux 6.5, VFIO_IRQ_INFO_NORESIZE is clear) get those in use
 * only; for others all vectors of the device are reserved when the guest switches MSI-X on, because
 * enabling more would mean to switch all of them off for a moment, and to lose what comes then.
 *
 * INTx: the kernel masks the device when it signals; the guest's end of interrupt makes KVM signal
 * a second eventfd (resampling), which unmasks the device. All functions of a device share a wire;
 * KVM lowers it and asks all of them again.
 *
 * All state is guarded by host->lock, but for what belongs to the main thread (errors, requests).
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vfio/pci_int.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"

/* #syscalls main,vcpu,io?vfio: eventfd2 close read write poll ppoll */

#define MSI_MAX		32		/* messages of MSI (PCI Local Bus 3.0, section 6.8.1.3) */
#define NR_CAPS		48		/* as many as there can be */

struct message {
	int fd, gsi;			/* -1: none yet */
	bool attached;
};

struct notice {
	struct loop_src src;
	struct vfio_pci *p;
	unsigned int index;
	const char *what;
};

struct vfio_irqs {
	enum vfio_pci_irq kind;		/* what is on in the device */
	bool held;			/* nothing may be on: not started, in a reset, stopped */
	struct log_rate rate;
	struct {
		bool usable, attached;
		int fd, resample;
		uint32_t spi;
	} intx;
	struct {
		unsigned int cap, nr;
		unsigned int data, mask, pending;	/* registers; 0: there is none */
		unsigned int on;			/* messages that are on in the device */
		struct message msg[MSI_MAX];
	} msi;
	struct {
		unsigned int cap, nr;
		unsigned int reserved;		/* vectors that the host has for it */
		bool resize;			/* vectors can be added while others are on */
	} msix;
	struct notice err, req;
	char why[256];
};

static const char *name_of(const struct vfio_pci *p)
{
	return p->dev->name;
}

static void set_wmask(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t mask)
{
	for (unsigned int i = 0; i < len; i++)
		d->wmask[off + i] = mask >> (8 * i);
}

static void count(struct vfio_pci *p, enum vfio_pci_irq kind, unsigned int vectors)
{
	p->irq->kind = kind;
	atomic_store_explicit(&p->stat.irq, kind, memory_order_relaxed);
	atomic_store_explicit(&p->stat.vectors, vectors, memory_order_relaxed);
}

static int new_event(const struct vfio_pci *p, struct err *e)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return err_set(e, -errno, "%s: eventfd: %s; raise the limit of open files (ulimit "
			       "-n)", name_of(p), strerror(errno));
	return fd;
}

static void drain(int fd)
{
	uint64_t n;

	if (fd >= 0 && read(fd, &n, sizeof(n)) < 0)
		return;			/* nothing was in it */
}

/* No such interrupts: a count of 0. */
static int irq_info(struct vfio_pci *p, unsigned int index, struct vfio_irq_info *info,
		    struct err *e)
{
	int ret = vfio_irq(p->dev, index, info);

	if (ret == -EINVAL)
		info->count = 0;
	else if (ret < 0)
		return err_set(e, ret, "%s: VFIO_DEVICE_GET_IRQ_INFO: %s", name_of(p),
			       strerror(-ret));
	return 0;
}

static void switch_off(struct vfio_pci *p, unsigned int index)
{
	struct err e;

	if (vfio_set_irqs(p->dev, index, 0, 0, NULL, VFIO_IRQ_SET_ACTION_TRIGGER, &e) < 0)
		log_rated(&p->irq->rate, LOG_ERROR, "%s", e.msg);
}

/* ---- INTx ------------------------------------------------------------------------------------ */

static void intx_detach(struct vfio_pci *p)
{
	struct vfio_irqs *q = p->irq;
	struct err e;

	if (!q->intx.attached)
		return;
	q->intx.attached = false;
	if (kvm_irqfd_gsi(p->env.kvm, q->intx.fd, q->intx.spi, false, &e) < 0)
		log_rated(&q->rate, LOG_ERROR, "%s: INTx: %s", name_of(p), e.msg);
}

static int intx_attach(struct vfio_pci *p, struct err *e)
{
	struct vfio_irqs *q = p->irq;
	int ret = kvm_irqfd_resample(p->env.kvm, q->intx.fd, q->intx.resample, q->intx.spi, e);

	if (ret < 0)
		return err_prefix(e, "%s", name_of(p));
	q->intx.attached = true;
	return 0;
}

static int intx_on(struct vfio_pci *p, struct err *e)
{
	struct vfio_irqs *q = p->irq;
	int ret = intx_attach(p, e);

	if (!ret)
		ret = vfio_set_irqs(p->dev, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &q->intx.fd,
				    VFIO_IRQ_SET_ACTION_TRIGGER, e);
	if (ret < 0)
		goto detach;
	count(p, VFIO_PCI_INTX, 1);
	/* What the guest has ended before this is in the eventfd, and the kernel looks. */
	ret = vfio_set_irqs(p->dev, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &q->intx.resample,
			    VFIO_IRQ_SET_ACTION_UNMASK, e);
	if (ret < 0)
		goto off;
	return 0;

off:
	switch_off(p, VFIO_PCI_INTX_IRQ_INDEX);
	count(p, VFIO_PCI_NO_IRQ, 0);
detach:
	intx_detach(p);
	return ret;
}

static void intx_off(struct vfio_pci *p)
{
	switch_off(p, VFIO_PCI_INTX_IRQ_INDEX);
	intx_detach(p);
	drain(p->irq->intx.fd);
	drain(p->irq->intx.resample);
	count(p, VFIO_PCI_NO_IRQ, 0);
}

/*
 * INTX_DISABLE. The irqfd goes first: while it is there, an end of interrupt of another function on
 * the wire unmasks this one. When it goes, KVM lowers the wire, unless others have theirs on it.
 */
static void intx_mask(struct vfio_pci *p, bool mask)
{
	struct vfio_irqs *q = p->irq;
	struct err e;
	int ret = 0;

	if (mask == !q->intx.attached)
		return;
	if (mask)
		intx_detach(p);
	else
		ret = intx_attach(p, &e);
	if (!ret)
		ret = vfio_set_irqs(p->dev, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL, mask ?
				    VFIO_IRQ_SET_ACTION_MASK : VFIO_IRQ_SET_ACTION_UNMASK, &e);
	if (ret < 0)
		log_rated(&q->rate, LOG_ERROR, "%s; INTx stays %s", e.msg,
			  mask ? "unmasked" : "masked");
}

static bool intx_disabled(const struct vfio_pci *p)
{
	return pci_get(&p->pci, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE;
}

static int intx_setup(struct vfio_pci *p, struct err *e)
{
	struct vfio_irqs *q = p->irq;
	struct vfio_irq_info info;
	int ret = irq_info(p, VFIO_PCI_INTX_IRQ_INDEX, &info, e);

	pci_put(&p->pci, PCI_INTERRUPT_PIN, 1, 0);
	if (ret < 0 || !info.count)
		return ret;
	if (!kvm_cap(p->env.kvm, KVM_CAP_IRQFD_RESAMPLE)) {
		/* Nothing else tells when the guest is done with an interrupt. */
		log_warning("%s: the host's KVM has no resampling irqfds, so the guest sees no INTx "
			    "of the device; its driver needs MSI or MSI-X", name_of(p));
		return 0;
	}
	q->intx.fd = new_event(p, e);
	if (q->intx.fd < 0)
		return q->intx.fd;
	q->intx.resample = new_event(p, e);
	if (q->intx.resample < 0)
		return q->intx.resample;
	q->intx.usable = true;
	/* Whatever pin it is at the host, here it is A. */
	pci_use_intx(&p->pci);
	return 0;
}

/* ---- capabilities ---------------------------------------------------------------------------- */

/*
 * Where a capability is, 0: nowhere. With @remove it is taken out of the list.
 */
static unsigned int find_cap(struct pci_dev *d, uint8_t id, bool remove)
{
	unsigned int link = PCI_CAPABILITY_LIST;

	if (!(pci_get(d, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST))
		return 0;
	for (unsigned int i = 0; i < NR_CAPS; i++) {
		unsigned int at = pci_get(d, link, 1) & ~3U;

		if (at < PCI_STD_HEADER_SIZEOF)
			return 0;
		if (pci_get(d, at, 1) == id) {
			if (remove)
				pci_put(d, link, 1, pci_get(d, at + PCI_CAP_LIST_NEXT, 1));
			return at;
		}
		link = at + PCI_CAP_LIST_NEXT;
	}
	return 0;
}

static void hide(struct vfio_pci *p, uint8_t id, const char *what, const char *why)
{
	unsigned int at;

	log_warning("%s: the guest sees no %s: %s", name_of(p), what, why);
	for (unsigned int i = 0; i < NR_CAPS; i++) {
		at = find_cap(&p->pci, id, true);
		if (!at)
			break;
	}
}

/* ---- MSI ------------------------------------------------------------------------------------- */

/* Messages that the guest has enabled; a number beyond what the device has is undefined. */
static unsigned int msi_wanted(const struct vfio_pci *p)
{
	uint16_t flags = pci_get(&p->pci, p->irq->msi.cap + PCI_MSI_FLAGS, 2);

	return MIN(1U << ((flags & PCI_MSI_FLAGS_QSIZE) >> 4), p->irq->msi.nr);
}

static bool msi_enabled(const struct vfio_pci *p)
{
	return p->irq->msi.cap &&
	       (pci_get(&p->pci, p->irq->msi.cap + PCI_MSI_FLAGS, 2) & PCI_MSI_FLAGS_ENABLE);
}

static bool message_ready(struct vfio_pci *p, unsigned int n, uint64_t addr, uint32_t data)
{
	struct message *m = &p->irq->msi.msg[n];

	if (m->gsi < 0)
		m->gsi = msi_alloc(p->env.msi);
	if (m->gsi < 0) {
		log_rated(&p->irq->rate, LOG_ERROR, "%s: MSI %u: all of KVM's MSI routes are in use",
			  name_of(p), n);
		m->gsi = -1;
		return false;
	}
	msi_set(p->env.msi, m->gsi, addr, data, p->pci.devfn);
	return true;
}

/* Irqfds as the registers want them; the device is switched on. */
static void msi_apply(struct vfio_pci *p)
{
	struct vfio_irqs *q = p->irq;
	const struct pci_dev *d = &p->pci;
	bool master = pci_get(d, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
	uint64_t addr = pci_get(d, q->msi.cap + PCI_MSI_ADDRESS_LO, 4);
	uint32_t data = pci_get(d, q->msi.data, 2), ready = 0;
	uint32_t masked = q->msi.mask ? pci_get(d, q->msi.mask, 4) : 0;
	unsigned int nr = msi_wanted(p);
	struct err e = { 0 };

	if (pci_get(d, q->msi.cap + PCI_MSI_FLAGS, 2) & PCI_MSI_FLAGS_64BIT)
		addr |= (uint64_t)pci_get(d, q->msi.cap + PCI_MSI_ADDRESS_HI, 4) << 32;
	for (unsigned int i = 0; i < q->msi.nr; i++) {
		struct message *m = &q->msi.msg[i];

		if (master && i < nr && !(masked >> i & 1)) {
			/* A device changes the low bits of the data (section 6.8.1.6). */
			if (message_ready(p, i, addr, (data & ~(nr - 1)) | i))
				ready |= UINT32_C(1) << i;
		} else if (m->attached) {
			msi_detach(p->env.msi, m->gsi, m->fd);
			m->attached = false;
		}
	}
	if (ready && msi_commit(p->env.msi, &e) < 0)
		ready = 0;
	for (unsigned int i = 0; i < q->msi.nr; i++) {
		struct message *m = &q->msi.msg[i];

		if ((ready >> i & 1) && !m->attached)
			m->attached = !msi_attach(p->env.msi, m->gsi, m->fd, &e);
	}
	if (e.code)
		log_rated(&q->rate, LOG_ERROR, "%s: MSI: %s", name_of(p), e.msg);
}

static int msi_on(struct vfio_pci *p, struct err *e)
{
	unsigned int nr = msi_wanted(p), less = nr;
	int fd[MSI_MAX], ret;

	for (unsigned int i = 0; i < nr; i++) {
		struct message *m = &p->irq->msi.msg[i];

		if (m->fd < 0)
			m->fd = new_event(p, e);
		if (m->fd < 0)
			return m->fd;
		fd[i] = m->fd;
	}
	ret = vfio_set_irqs(p->dev, VFIO_PCI_MSI_IRQ_INDEX, 0, nr, fd, VFIO_IRQ_SET_ACTION_TRIGGER,
			    e);
	if (ret > 0) {
		/* That many there are. Messages come in powers of two. */
		less = 1;
		while (2 * less <= MIN((unsigned int)ret, nr - 1))
			less *= 2;
		log_rated(&p->irq->rate, LOG_WARNING, "%s: the host has %d of the %u MSI messages "
			  "that the guest wants; it uses %u", name_of(p), ret, nr, less);
		ret = vfio_set_irqs(p->dev, VFIO_PCI_MSI_IRQ_INDEX, 0, less, fd,
				    VFIO_IRQ_SET_ACTION_TRIGGER, e);
		if (ret > 0)
			ret = err_set(e, -ENOSPC, "%s: the host has no messages for it",
				      name_of(p));
	}
	if (ret < 0)
		return ret;
	p->irq->msi.on = nr;
	count(p, VFIO_PCI_MSI, less);
	msi_apply(p);
	return 0;
}

/* First the device, then what is behind it. */
static void msi_off(struct vfio_pci *p)
{
	struct vfio_irqs *q = p->irq;

	switch_off(p, VFIO_PCI_MSI_IRQ_INDEX);
	for (unsigned int i = 0; i < q->msi.nr; i++) {
		struct message *m = &q->msi.msg[i];

		if (m->attached)
			msi_detach(p->env.msi, m->gsi, m->fd);
		if (m->gsi >= 0)
			msi_free(p->env.msi, m->gsi);
		drain(m->fd);
		m->attached = false;
		m->gsi = -1;
	}
	q->msi.on = 0;
	count(p, VFIO_PCI_NO_IRQ, 0);
}

static void msi_reset(struct vfio_pci *p)
{
	struct vfio_irqs *q = p->irq;
	struct pci_dev *d = &p->pci;
	unsigned int cap = q->msi.cap;

	if (!cap)
		return;
	pci_put(d, cap + PCI_MSI_FLAGS, 2, pci_get(d, cap + PCI_MSI_FLAGS, 2) &
		(PCI_MSI_FLAGS_QMASK | PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT));
	for (unsigned int at = cap + PCI_MSI_ADDRESS_LO; at < q->msi.data; at += 4)
		pci_put(d, at, 4, 0);
	pci_put(d, q->msi.data, 2, 0);
	if (q->msi.mask)
		pci_put(d, q->msi.mask, 4, 0);
	if (q->msi.pending)
		pci_put(d, q->msi.pending, 4, 0);
}

static int msi_setup(struct vfio_pci *p, struct err *e)
{
	struct vfio_irqs *q = p->irq;
	struct pci_dev *d = &p->pci;
	unsigned int cap = find_cap(d, PCI_CAP_ID_MSI, false), log, data;
	struct vfio_irq_info info;
	uint16_t flags;
	bool masks;
	int ret;

	if (!cap)
		return 0;
	flags = pci_get(d, cap + PCI_MSI_FLAGS, 2);
	masks = flags & PCI_MSI_FLAGS_MASKBIT;
	data = cap + (flags & PCI_MSI_FLAGS_64BIT ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32);
	/* mask and pending bits come after the data */
	if (data + (masks ? 12 : 2) > PCI_CFG_SPACE_SIZE) {
		hide(p, PCI_CAP_ID_MSI, "MSI",
		     "its capability does not fit in configuration space");
		return 0;
	}
	ret = irq_info(p, VFIO_PCI_MSI_IRQ_INDEX, &info, e);
	if (ret < 0)
		return ret;
	if (!info.count) {
		hide(p, PCI_CAP_ID_MSI, "MSI", "the host does not use it");
		return 0;
	}
	log = MIN((flags & PCI_MSI_FLAGS_QMASK) >> 1, 5);
	while (1U << log > info.count)
		log--;
	q->msi.cap = cap;
	q->msi.nr = 1U << log;
	q->msi.data = data;
	q->msi.mask = masks ? data + 4 : 0;
	q->msi.pending = masks ? data + 8 : 0;
	pci_put(d, cap + PCI_MSI_FLAGS, 2, (flags & ~PCI_MSI_FLAGS_QMASK) | log << 1);
	msi_reset(p);
	set_wmask(d, cap + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
	set_wmask(d, cap + PCI_MSI_ADDRESS_LO, 4, ~UINT32_C(3));
	if (flags & PCI_MSI_FLAGS_64BIT)
		set_wmask(d, cap + PCI_MSI_ADDRESS_HI, 4, ~UINT32_C(0));
	set_wmask(d, q->msi.data, 2, 0xffff);
	if (q->msi.mask)
		set_wmask(d, q->msi.mask, 4, UINT32_MAX >> (32 - q->msi.nr));
	return 0;
}

void vfio_irqs_refresh(struct vfio_pci *p, unsigned int off, unsigned int len)
{
	struct vfio_irqs *q = p->irq;
	uint32_t bits = 0;

	if (!q || !q->msi.pending || off >= q->msi.pending + 4 || off + len <= q->msi.pending)
		return;
	pthread_mutex_lock(&p->pci.host->lock);
	for (unsigned int i = 0; i < q->msi.on; i++) {
		struct pollfd pfd = { .fd = q->msi.msg[i].fd, .events = POLLIN };

		if (!q->msi.msg[i].attached && poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLIN))
			bits |= UINT32_C(1) << i;
	}
	pci_put(&p->pci, q->msi.pending, 4, bits);
	pthread_mutex_unlock(&p->pci.host->lock);
}

/* ---- MSI-X ----------------------------------------------------------------------------------- */

/* Switched on with no vector in use, as the guest has it. */
static int msix_on(struct vfio_pci *p, struct err *e)
{
	struct vfio_irqs *q = p->irq;
	unsigned int nr = q->msix.resize ? 1 : q->msix.nr;
	int none[PCI_MSIX_MAX], ret;

	memset(none, 0xff, sizeof(none));
	ret = vfio_set_irqs(p->dev, VFIO_PCI_MSIX_IRQ_INDEX, 0, nr, none,
			    VFIO_IRQ_SET_ACTION_TRIGGER, e);
	if (ret > 0 && (unsigned int)ret < nr) {
		log_rated(&q->rate, LOG_WARNING, "%s: the host has %d interrupts for the %u MSI-X "
			  "vectors of the device", name_of(p), ret, nr);
		nr = ret;
		ret = vfio_set_irqs(p->dev, VFIO_PCI_MSIX_IRQ_INDEX, 0, nr, none,
				    VFIO_IRQ_SET_ACTION_TRIGGER, e);
	}
	if (ret > 0)
		ret = err_set(e, -ENOSPC, "%s: the host has no interrupts for it", name_of(p));
	if (ret < 0)
		return ret;
	q->msix.reserved = q->msix.resize ? q->msix.nr : nr;
	count(p, VFIO_PCI_MSIX, 0);
	return 0;
}

static void msix_off(struct vfio_pci *p)
{
	switch_off(p, VFIO_PCI_MSIX_IRQ_INDEX);
	count(p, VFIO_PCI_NO_IRQ, 0);
}

static bool fits(const struct pci_dev *d, unsigned int bar, uint64_t off, uint64_t len)
{
	return bar < PCI_ROM_BAR && off <= d->bar[bar].size && len <= d->bar[bar].size - off;
}

static int msix_setup(struct vfio_pci *p, struct err *e)
{
	struct vfio_irqs *q = p->irq;
	struct pci_dev *d = &p->pci;
	struct pci_msix_cfg c = { .cap = find_cap(d, PCI_CAP_ID_MSIX, false) };
	uint64_t table_end, pba_end;
	struct vfio_irq_info info;
	uint32_t table, pba;
	int ret;

	if (!c.cap)
		return 0;
	if (c.cap + PCI_CAP_MSIX_SIZEOF > PCI_CFG_SPACE_SIZE) {
		hide(p, PCI_CAP_ID_MSIX, "MSI-X",
		     "its capability does not fit in configuration space");
		return 0;
	}
	ret = irq_info(p, VFIO_PCI_MSIX_IRQ_INDEX, &info, e);
	if (ret < 0)
		return ret;
	if (!info.count) {
		hide(p, PCI_CAP_ID_MSIX, "MSI-X", "the host does not use it");
		return 0;
	}
	c.nr = (pci_get(d, c.cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1;
	c.nr = MIN(c.nr, info.count);
	table = pci_get(d, c.cap + PCI_MSIX_TABLE, 4);
	pba = pci_get(d, c.cap + PCI_MSIX_PBA, 4);
	c.table_bar = table & PCI_MSIX_TABLE_BIR;
	c.table_off = table & PCI_MSIX_TABLE_OFFSET;
	c.pba_bar = pba & PCI_MSIX_PBA_BIR;
	c.pba_off = pba & PCI_MSIX_PBA_OFFSET;
	table_end = (uint64_t)c.table_off + c.nr * PCI_MSIX_ENTRY_SIZE;
	pba_end = (uint64_t)c.pba_off + (c.nr + 63) / 64 * 8;
	if (!fits(d, c.table_bar, c.table_off, table_end - c.table_off) ||
	    !fits(d, c.pba_bar, c.pba_off, pba_end - c.pba_off) ||
	    (c.table_bar == c.pba_bar && c.table_off < pba_end && c.pba_off < table_end)) {
		hide(p, PCI_CAP_ID_MSIX, "MSI-X", "its table is in no memory BAR of the device");
		return 0;
	}
	q->msix.cap = c.cap;
	q->msix.nr = c.nr;
	q->msix.resize = !(info.flags & VFIO_IRQ_INFO_NORESIZE);
	return pci_add_msix(d, p->env.msi, &c, e);
}

/* ---- which of them is on --------------------------------------------------------------------- */

static enum vfio_pci_irq wanted(const struct vfio_pci *p)
{
	if (p->irq->held)
		return VFIO_PCI_NO_IRQ;
	if (pci_msix_on(&p->pci))
		return VFIO_PCI_MSIX;
	if (msi_enabled(p))
		return VFIO_PCI_MSI;
	if (!p->irq->intx.usable)
		return VFIO_PCI_NO_IRQ;
	/* Where it is on already it is masked only, which is what guests do often. */
	return p->irq->kind == VFIO_PCI_INTX || !intx_disabled(p) ? VFIO_PCI_INTX :
	       VFIO_PCI_NO_IRQ;
}

/* host->lock is held. Return: 0 or a negative errno: nothing is on */
static int update(struct vfio_pci *p, struct err *e)
{
	static void (*const off[])(struct vfio_pci *p) = {
		[VFIO_PCI_INTX] = intx_off,
		[VFIO_PCI_MSI] = msi_off,
		[VFIO_PCI_MSIX] = msix_off,
	};
	static int (*const on[])(struct vfio_pci *p, struct err *e) = {
		[VFIO_PCI_INTX] = intx_on,
		[VFIO_PCI_MSI] = msi_on,
		[VFIO_PCI_MSIX] = msix_on,
	};
	struct vfio_irqs *q = p->irq;
	enum vfio_pci_irq want = wanted(p);
	int ret = 0;

	if (q->kind != VFIO_PCI_NO_IRQ &&
	    (q->kind != want || (want == VFIO_PCI_MSI && q->msi.on != msi_wanted(p))))
		off[q->kind](p);
	if (want != VFIO_PCI_NO_IRQ && q->kind != want)
		ret = on[want](p, e);
	else if (want == VFIO_PCI_MSI)
		msi_apply(p);
	if (q->kind == VFIO_PCI_INTX)
		intx_mask(p, intx_disabled(p));
	if (p->env.intx_exits && !q->held)
		vfio_bars_by_exits(p, q->intx.attached);
	return ret;
}

static void update_logged(struct vfio_pci *p)
{
	struct err e;

	if (update(p, &e) < 0)
		log_rated(&p->irq->rate, LOG_ERROR, "%s; the device has no interrupts", e.msg);
}

static bool touches(unsigned int off, unsigned int len, unsigned int reg, unsigned int reg_len)
{
	return reg && off < reg + reg_len && reg < off + len;
}

void vfio_irqs_cfg(struct vfio_pci *p, unsigned int off, unsigned int len)
{
	const struct vfio_irqs *q = p->irq;

	if (!q || !(touches(off, len, PCI_COMMAND, 2) ||
		    touches(off, len, q->msi.cap, PCI_MSI_PENDING_64) ||
		    touches(off, len, q->msix.cap, PCI_CAP_MSIX_SIZEOF)))
		return;
	pthread_mutex_lock(&p->pci.host->lock);
	update_logged(p);
	pthread_mutex_unlock(&p->pci.host->lock);
}

void vfio_irqs_msix_used(struct pci_dev *d, unsigned int vector)
{
	struct vfio_pci *p = container_of(d, struct vfio_pci, pci);
	struct vfio_irqs *q = p->irq;
	struct err e;
	int ret, fd;

	/* The guest has unmasked it before, or in the write that switched MSI-X on. */
	ret = update(p, &e);
	if (!ret && q->kind != VFIO_PCI_MSIX)
		return;
	if (!ret && vector >= q->msix.reserved)
		ret = err_set(&e, -ENOSPC, "%s: the host has %u interrupts for the device",
			      name_of(p), q->msix.reserved);
	if (!ret) {
		fd = pci_msix_fd(d, vector);
		if (fd < 0)
			return;			/* it said why */
		ret = vfio_set_irqs(p->dev, VFIO_PCI_MSIX_IRQ_INDEX, vector, 1, &fd,
				    VFIO_IRQ_SET_ACTION_TRIGGER, &e);
	}
	if (ret > 0)
		ret = err_set(&e, -ENOSPC, "%s: the host has no more interrupts", name_of(p));
	if (ret < 0)
		log_rated(&q->rate, LOG_ERROR, "%s; MSI-X vector %u does not work", e.msg, vector);
	else
		atomic_fetch_add_explicit(&p->stat.vectors, 1, memory_order_relaxed);
}

/* ---- what the kernel has to say -------------------------------------------------------------- */

static void on_notice(struct loop_src *src, uint32_t events)
{
	struct notice *n = container_of(src, struct notice, src);
	struct vfio_pci *p = n->p;

	drain(src->fd);
	loop_del(p->env.loop, src);
	vfio_set_irqs(p->dev, n->index, 0, 0, NULL, VFIO_IRQ_SET_ACTION_TRIGGER, NULL);
	close(src->fd);
	src->fd = -1;
	snprintf(p->irq->why, sizeof(p->irq->why), "%s: %s", name_of(p), n->what);
	p->env.failed(p->env.ctx, p->irq->why);
}

/* A kernel that has no such notice is no error. */
static int notice_init(struct vfio_pci *p, struct notice *n, unsigned int index, const char *what,
		       struct err *e)
{
	struct vfio_irq_info info;
	int ret;

	*n = (struct notice){ .src = { -1, on_notice }, .p = p, .index = index, .what = what };
	ret = irq_info(p, index, &info, e);
	if (ret < 0 || !info.count)
		return ret;
	n->src.fd = new_event(p, e);
	if (n->src.fd < 0)
		return n->src.fd;
	ret = vfio_set_irqs(p->dev, index, 0, 1, &n->src.fd, VFIO_IRQ_SET_ACTION_TRIGGER, e);
	if (ret < 0)
		goto close;
	ret = loop_add(p->env.loop, &n->src, EPOLLIN);
	if (ret < 0) {
		err_set(e, ret, "%s: event loop: %s", name_of(p), strerror(-ret));
		goto off;
	}
	return 0;

off:
	switch_off(p, index);
close:
	close(n->src.fd);
	n->src.fd = -1;
	return ret;
}

static void notice_stop(struct vfio_pci *p, struct notice *n)
{
	if (n->src.fd < 0)
		return;
	loop_del(p->env.loop, &n->src);
	switch_off(p, n->index);
	close(n->src.fd);
	n->src.fd = -1;
}

/* ---- life ------------------------------------------------------------------------------------ */

int vfio_irqs_init(struct vfio_pci *p, struct err *e)
{
	struct vfio_irqs *q = calloc(1, sizeof(*q));
	int ret;

	if (!q)
		return err_set(e, -ENOMEM, "%s: no memory for its interrupts", name_of(p));
	p->irq = q;
	q->held = true;
	q->intx.fd = q->intx.resample = -1;
	q->err.src.fd = q->req.src.fd = -1;
	for (unsigned int i = 0; i < MSI_MAX; i++)
		q->msi.msg[i].fd = q->msi.msg[i].gsi = -1;
	ret = intx_setup(p, e);
	if (!ret && p->env.msi) {
		ret = msi_setup(p, e);
		if (!ret)
			ret = msix_setup(p, e);
	} else if (!ret) {
		while (find_cap(&p->pci, PCI_CAP_ID_MSI, true) ||
		       find_cap(&p->pci, PCI_CAP_ID_MSIX, true))
			;
	}
	if (!ret && !q->intx.usable && !q->msi.cap && !q->msix.cap)
		log_warning("%s: the guest sees no interrupt of the device%s", name_of(p),
			    p->env.msi ? "" : "; MSI needs an ITS (--irqchip gicv3-its)");
	if (!ret)
		ret = notice_init(p, &q->err, VFIO_PCI_ERR_IRQ_INDEX, "the device reported an error "
				  "that only a reset can mend, so the guest cannot go on with it; the "
				  "host's kernel log has the details", e);
	if (!ret)
		ret = notice_init(p, &q->req, VFIO_PCI_REQ_IRQ_INDEX, "the host's kernel wants the "
				  "device back: it is being removed, or unbound from its driver, and "
				  "that waits for this guest to end", e);
	if (ret < 0) {
		vfio_irqs_stop(p);
		vfio_irqs_free(p);
	}
	return ret;
}

int vfio_irqs_start(struct vfio_pci *p, struct err *e)
{
	struct vfio_irqs *q = p->irq;
	int ret;

	pthread_mutex_lock(&p->pci.host->lock);
	q->intx.spi = p->pci.host->line[p->pci.devfn >> 3].spi;
	q->held = false;
	ret = update(p, e);
	pthread_mutex_unlock(&p->pci.host->lock);
	return ret;
}

void vfio_irqs_reset(struct vfio_pci *p)
{
	struct err e;

	pthread_mutex_lock(&p->pci.host->lock);
	p->irq->held = true;
	msi_reset(p);
	pci_msix_reset(&p->pci);
	update(p, &e);
	pthread_mutex_unlock(&p->pci.host->lock);
}

void vfio_irqs_stop(struct vfio_pci *p)
{
	struct vfio_irqs *q = p->irq;
	struct err e;

	if (!q)
		return;
	notice_stop(p, &q->err);
	notice_stop(p, &q->req);
	/* No vCPU runs, so there is no lock to take; the function may not even be on the bus. */
	q->held = true;
	update(p, &e);
}

void vfio_irqs_free(struct vfio_pci *p)
{
	struct vfio_irqs *q = p->irq;

	if (!q)
		return;
	for (unsigned int i = 0; i < MSI_MAX; i++)
		if (q->msi.msg[i].fd >= 0)
			close(q->msi.msg[i].fd);
	if (q->intx.fd >= 0)
		close(q->intx.fd);
	if (q->intx.resample >= 0)
		close(q->intx.resample);
	free(q);
	p->irq = NULL;
}
