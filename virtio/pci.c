// SPDX-License-Identifier: BSD-3-Clause
#include "virtio/pci.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/dev.h"
#include "vmm/core/err.h"

#define VENDOR		0x1af4			/* section 4.1.2 */
#define DEVICE_BASE	0x1040
#define REVISION	1			/* 1 and above: not transitional */

#define REGION_SIZE	0x1000			/* of each kind of register in the BAR */
#define MAX_QUEUES	(REGION_SIZE / VIRTIO_PCI_NOTIFY_STEP)
#define MAX_VECTORS	((VIRTIO_PCI_PBA_OFF - VIRTIO_PCI_MSIX_OFF) / PCI_MSIX_ENTRY_SIZE)

#define ISR_QUEUE	1
#define ISR_CONFIG	2

/* The two fields of virtio 1.2 behind struct virtio_pci_common_cfg (section 4.1.4.3). */
#define COMMON_NOTIFY_DATA	0x38
#define COMMON_QUEUE_RESET	0x3a
#define COMMON_SIZE		0x3c

/**
 * struct pci_queue - a queue's part of the transport
 * @vector: of MSI-X, or VIRTIO_MSI_NO_VECTOR
 * @sized:  the driver wrote a size; else it is the largest
 * @eventfd: kicks are an ioeventfd at the present address of the BAR
 */
struct pci_queue {
	_Atomic uint16_t vector;
	_Atomic bool sized;
	bool eventfd;
};

struct virtio_pci {
	struct virtio_transport transport;
	struct virtio_dev *dev;
	struct pci_dev pci;
	struct virtio_pci_env env;
	unsigned int cfg_cap;		/* VIRTIO_PCI_CAP_PCI_CFG */
	pthread_mutex_t isr_lock;	/* ISR and INTx change together; before host->intx_lock */
	uint8_t isr;
	_Atomic uint32_t feature_sel, driver_feature_sel;
	_Atomic uint16_t queue_sel, config_vector;
	ipa_t notify;			/* where the ioeventfds are, 0: there are none */
	struct pci_queue queue[];
};

/* ---- interrupts ------------------------------------------------------------------------------ */

static void set_isr(struct virtio_pci *p, uint8_t cause)
{
	pthread_mutex_lock(&p->isr_lock);
	p->isr |= cause;
	pci_intx(&p->pci, true);
	pthread_mutex_unlock(&p->isr_lock);
}

static uint8_t take_isr(struct virtio_pci *p)
{
	uint8_t isr;

	pthread_mutex_lock(&p->isr_lock);
	isr = p->isr;
	p->isr = 0;
	pci_intx(&p->pci, false);
	pthread_mutex_unlock(&p->isr_lock);
	return isr;
}

static void raise_irq(struct virtio_pci *p, uint16_t vector, uint8_t cause)
{
	if (!pci_msix_on(&p->pci))
		set_isr(p, cause);
	else if (vector != VIRTIO_MSI_NO_VECTOR)
		pci_msix_raise(&p->pci, vector);
}

static void queue_irq(struct virtio_transport *t, unsigned int q)
{
	struct virtio_pci *p = container_of(t, struct virtio_pci, transport);

	raise_irq(p, atomic_load(&p->queue[q].vector), ISR_QUEUE);
}

static void config_irq(struct virtio_transport *t)
{
	struct virtio_pci *p = container_of(t, struct virtio_pci, transport);

	/* This bit is there with MSI-X, too (section 4.1.4.5.1); the wire is not driven then. */
	if (pci_msix_on(&p->pci))
		set_isr(p, ISR_CONFIG);
	raise_irq(p, atomic_load(&p->config_vector), ISR_CONFIG);
}

static int queue_fd(struct virtio_transport *t, unsigned int q)
{
	struct virtio_pci *p = container_of(t, struct virtio_pci, transport);
	uint16_t vector = atomic_load(&p->queue[q].vector);

	if (!pci_msix_on(&p->pci) || vector == VIRTIO_MSI_NO_VECTOR)
		return -1;
	return MAX(pci_msix_fd(&p->pci, vector), -1);
}

static void transport_reset(struct virtio_transport *t)
{
	struct virtio_pci *p = container_of(t, struct virtio_pci, transport);

	atomic_store(&p->feature_sel, 0);
	atomic_store(&p->driver_feature_sel, 0);
	atomic_store(&p->queue_sel, 0);
	atomic_store(&p->config_vector, VIRTIO_MSI_NO_VECTOR);
	for (unsigned int q = 0; q < p->dev->nr_queues; q++) {
		atomic_store(&p->queue[q].vector, VIRTIO_MSI_NO_VECTOR);
		atomic_store(&p->queue[q].sized, false);
	}
	take_isr(p);
}

/* A vector that cannot be had reads back as none (section 4.1.5.1.2.1). */
static uint16_t usable_vector(struct virtio_pci *p, uint32_t val)
{
	return pci_msix_fd(&p->pci, val) < 0 ? VIRTIO_MSI_NO_VECTOR : val;
}

static void msix_enabled(struct pci_dev *d, bool on)
{
	struct virtio_pci *p = container_of(d, struct virtio_pci, pci);

	for (unsigned int q = 0; q < p->dev->nr_queues; q++)
		virtio_dev_queue_fd_changed(p->dev, q);
}

/* ---- kicks ----------------------------------------------------------------------------------- */

static void kick_fd(struct virtio_pci *p, unsigned int q, bool assign)
{
	ipa_t at = p->env.kernel_io(p->env.ctx, p->notify + q * VIRTIO_PCI_NOTIFY_STEP);
	int fd = p->dev->queue[q].kick.fd, ret;
	struct err e;

	ret = kvm_ioeventfd_any(p->env.kvm, fd, at, 2, assign, &e);
	if (ret < 0)
		log_rated(&p->dev->rate, LOG_WARNING, "%s: queue %u: %s%s", p->dev->name, q, e.msg,
			  assign ? "; its kicks take the long way" : "");
	p->queue[q].eventfd = assign && !ret;
}

static void bar_mapped(struct pci_dev *d, unsigned int bar, ipa_t addr)
{
	struct virtio_pci *p = container_of(d, struct virtio_pci, pci);

	if (!p->env.kvm)
		return;
	for (unsigned int q = 0; q < p->dev->nr_queues; q++)
		if (p->queue[q].eventfd)
			kick_fd(p, q, false);
	p->notify = addr ? addr + VIRTIO_PCI_NOTIFY_OFF : 0;
	for (unsigned int q = 0; q < p->dev->nr_queues && addr; q++)
		kick_fd(p, q, true);
}

/* ---- registers ------------------------------------------------------------------------------- */

static uint32_t accepted(struct virtio_dev *dev, uint32_t word)
{
	uint32_t val;

	virtio_dev_lock(dev);
	val = word < 2 ? dev->driver_features >> (32 * word) : 0;
	virtio_dev_unlock(dev);
	return val;
}

static uint32_t common_read(struct virtio_pci *p, unsigned int off, unsigned int len)
{
	struct virtio_dev *dev = p->dev;
	uint32_t q = atomic_load(&p->queue_sel);
	bool there = q < dev->nr_queues;
	uint64_t val;

	switch (off << 4 | len) {
	case VIRTIO_PCI_COMMON_DFSELECT << 4 | 4:
		return atomic_load(&p->feature_sel);
	case VIRTIO_PCI_COMMON_DF << 4 | 4:
		return virtio_dev_features(dev, atomic_load(&p->feature_sel));
	case VIRTIO_PCI_COMMON_GFSELECT << 4 | 4:
		return atomic_load(&p->driver_feature_sel);
	case VIRTIO_PCI_COMMON_GF << 4 | 4:
		return accepted(dev, atomic_load(&p->driver_feature_sel));
	case VIRTIO_PCI_COMMON_MSIX << 4 | 2:
		return atomic_load(&p->config_vector);
	case VIRTIO_PCI_COMMON_NUMQ << 4 | 2:
		return dev->nr_queues;
	case VIRTIO_PCI_COMMON_STATUS << 4 | 1:
		return virtio_dev_status(dev);
	case VIRTIO_PCI_COMMON_CFGGENERATION << 4 | 1:
		return virtio_dev_config_gen(dev) & 0xff;
	case VIRTIO_PCI_COMMON_Q_SELECT << 4 | 2:
		return q;
	case VIRTIO_PCI_COMMON_Q_SIZE << 4 | 2:
		val = virtio_dev_queue_read(dev, q, VQ_REG_NUM);
		return val || !there ? val : dev->queue[q].vq.max;
	case VIRTIO_PCI_COMMON_Q_MSIX << 4 | 2:
		return there ? atomic_load(&p->queue[q].vector) : VIRTIO_MSI_NO_VECTOR;
	case VIRTIO_PCI_COMMON_Q_ENABLE << 4 | 2:
		return virtio_dev_queue_ready(dev, q);
	case VIRTIO_PCI_COMMON_Q_NOFF << 4 | 2:
		return there ? q : 0;
	case COMMON_NOTIFY_DATA << 4 | 2:
		return there ? q : 0;
	case COMMON_QUEUE_RESET << 4 | 2:
		return virtio_dev_queue_in_reset(dev, q);
	case VIRTIO_PCI_COMMON_Q_DESCLO << 4 | 4:
		return virtio_dev_queue_read(dev, q, VQ_REG_DESC);
	case VIRTIO_PCI_COMMON_Q_DESCHI << 4 | 4:
		return virtio_dev_queue_read(dev, q, VQ_REG_DESC) >> 32;
	case VIRTIO_PCI_COMMON_Q_AVAILLO << 4 | 4:
		return virtio_dev_queue_read(dev, q, VQ_REG_DRIVER);
	case VIRTIO_PCI_COMMON_Q_AVAILHI << 4 | 4:
		return virtio_dev_queue_read(dev, q, VQ_REG_DRIVER) >> 32;
	case VIRTIO_PCI_COMMON_Q_USEDLO << 4 | 4:
		return virtio_dev_queue_read(dev, q, VQ_REG_DEVICE);
	case VIRTIO_PCI_COMMON_Q_USEDHI << 4 | 4:
		return virtio_dev_queue_read(dev, q, VQ_REG_DEVICE) >> 32;
	default:
		return 0;
	}
}

static void write_half(struct virtio_pci *p, enum virtio_queue_reg reg, uint32_t val, bool high)
{
	virtio_dev_queue_write(p->dev, atomic_load(&p->queue_sel), reg,
			       (uint64_t)val << (high ? 32 : 0), 0xffffffffULL << (high ? 32 : 0));
}

static void enable_queue(struct virtio_pci *p, uint32_t q)
{
	if (q >= p->dev->nr_queues)
		return;
	if (!atomic_load(&p->queue[q].sized))
		virtio_dev_queue_write(p->dev, q, VQ_REG_NUM, p->dev->queue[q].vq.max, UINT16_MAX);
	virtio_dev_set_queue_ready(p->dev, q, true);
}

static void reset_queue(struct virtio_pci *p, uint32_t q)
{
	virtio_dev_queue_reset(p->dev, q);
	/* without the feature it is ignored */
	if (virtio_dev_queue_ready(p->dev, q))
		return;
	atomic_store(&p->queue[q].sized, false);
	atomic_store(&p->queue[q].vector, VIRTIO_MSI_NO_VECTOR);
}

static void common_write(struct virtio_pci *p, unsigned int off, uint32_t val, unsigned int len)
{
	struct virtio_dev *dev = p->dev;
	uint32_t q = atomic_load(&p->queue_sel);
	bool there = q < dev->nr_queues;

	switch (off << 4 | len) {
	case VIRTIO_PCI_COMMON_DFSELECT << 4 | 4:
		atomic_store(&p->feature_sel, val);
		break;
	case VIRTIO_PCI_COMMON_GFSELECT << 4 | 4:
		atomic_store(&p->driver_feature_sel, val);
		break;
	case VIRTIO_PCI_COMMON_GF << 4 | 4:
		virtio_dev_set_features(dev, atomic_load(&p->driver_feature_sel), val);
		break;
	case VIRTIO_PCI_COMMON_MSIX << 4 | 2:
		atomic_store(&p->config_vector, usable_vector(p, val));
		break;
	case VIRTIO_PCI_COMMON_STATUS << 4 | 1:
		virtio_dev_set_status(dev, val);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT << 4 | 2:
		atomic_store(&p->queue_sel, val);
		break;
	case VIRTIO_PCI_COMMON_Q_SIZE << 4 | 2:
		if (there && !virtio_dev_queue_ready(dev, q)) {
			atomic_store(&p->queue[q].sized, true);
			virtio_dev_queue_write(dev, q, VQ_REG_NUM, val, UINT16_MAX);
		}
		break;
	case VIRTIO_PCI_COMMON_Q_MSIX << 4 | 2:
		if (there) {
			atomic_store(&p->queue[q].vector, usable_vector(p, val));
			virtio_dev_queue_fd_changed(dev, q);
		}
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE << 4 | 2:
		if (val == 1)	/* section 4.1.4.3.2: a driver does not write 0 */
			enable_queue(p, q);
		break;
	case VIRTIO_PCI_COMMON_Q_DESCLO << 4 | 4:
		write_half(p, VQ_REG_DESC, val, false);
		break;
	case VIRTIO_PCI_COMMON_Q_DESCHI << 4 | 4:
		write_half(p, VQ_REG_DESC, val, true);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO << 4 | 4:
		write_half(p, VQ_REG_DRIVER, val, false);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILHI << 4 | 4:
		write_half(p, VQ_REG_DRIVER, val, true);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDLO << 4 | 4:
		write_half(p, VQ_REG_DEVICE, val, false);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDHI << 4 | 4:
		write_half(p, VQ_REG_DEVICE, val, true);
		break;
	case COMMON_QUEUE_RESET << 4 | 2:
		if (val == 1 && there)
			reset_queue(p, q);
		break;
	default:
		break;
	}
}

static uint64_t bar_read(struct pci_dev *d, unsigned int bar, uint64_t off, unsigned int len)
{
	struct virtio_pci *p = container_of(d, struct virtio_pci, pci);
	unsigned int reg = off % REGION_SIZE;
	uint64_t val;

	/* Wider fields are read in halves (section 4.1.3.1); a driver that does not is served. */
	if (len == 8 && off % 4 == 0) {
		val = bar_read(d, bar, off, 4);
		return val | bar_read(d, bar, off + 4, 4) << 32;
	}
	if ((len != 1 && len != 2 && len != 4) || off % len)
		return 0;
	switch (off - reg) {
	case VIRTIO_PCI_COMMON_OFF:
		return common_read(p, reg, len);
	case VIRTIO_PCI_ISR_OFF:
		return reg == 0 ? take_isr(p) : 0;
	case VIRTIO_PCI_DEVICE_OFF:
		return virtio_dev_config_read(p->dev, reg, len);
	default:
		return 0;
	}
}

static void bar_write(struct pci_dev *d, unsigned int bar, uint64_t off, uint64_t val,
		      unsigned int len)
{
	struct virtio_pci *p = container_of(d, struct virtio_pci, pci);
	unsigned int reg = off % REGION_SIZE;

	if (len == 8 && off % 4 == 0) {
		bar_write(d, bar, off, (uint32_t)val, 4);
		bar_write(d, bar, off + 4, val >> 32, 4);
		return;
	}
	if ((len != 1 && len != 2 && len != 4) || off % len)
		return;
	switch (off - reg) {
	case VIRTIO_PCI_COMMON_OFF:
		common_write(p, reg, val, len);
		break;
	case VIRTIO_PCI_DEVICE_OFF:
		virtio_dev_config_write(p->dev, reg, len, val);
		break;
	case VIRTIO_PCI_NOTIFY_OFF:
		/* Which queue it is says the address; the value would say it once more. */
		if (reg % VIRTIO_PCI_NOTIFY_STEP == 0 &&
		    reg / VIRTIO_PCI_NOTIFY_STEP < p->dev->nr_queues)
			virtio_dev_kick(p->dev, reg / VIRTIO_PCI_NOTIFY_STEP);
		break;
	default:
		break;
	}
}

/*
 * The window to the BAR in configuration space (section 4.1.4.9), for drivers that cannot reach
 * memory yet.
 */
static bool cfg_window(struct virtio_pci *p, unsigned int off, uint32_t *bar, uint32_t *at,
		       uint32_t *len)
{
	unsigned int data = p->cfg_cap + sizeof(struct virtio_pci_cap);

	if (off < data || off >= data + 4)
		return false;
	*bar = pci_cfg_read(&p->pci, p->cfg_cap + offsetof(struct virtio_pci_cap, bar), 1);
	*at = pci_cfg_read(&p->pci, p->cfg_cap + offsetof(struct virtio_pci_cap, offset), 4);
	*len = pci_cfg_read(&p->pci, p->cfg_cap + offsetof(struct virtio_pci_cap, length), 4);
	return (*len == 1 || *len == 2 || *len == 4) && *at % *len == 0;
}

static bool cfg_read(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t *val)
{
	struct virtio_pci *p = container_of(d, struct virtio_pci, pci);
	uint32_t bar, at, n;

	if (cfg_window(p, off, &bar, &at, &n))
		pci_cfg_write(d, p->cfg_cap + sizeof(struct virtio_pci_cap), n,
			      pci_bar_access(d, bar, at, 0, n, false));
	return false;		/* what is there now is the answer */
}

static bool cfg_write(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t val)
{
	struct virtio_pci *p = container_of(d, struct virtio_pci, pci);
	uint32_t bar, at, n;

	if (!cfg_window(p, off, &bar, &at, &n))
		return false;
	pci_cfg_write(d, off, len, val);
	val = pci_cfg_read(d, p->cfg_cap + sizeof(struct virtio_pci_cap), n);
	pci_bar_access(d, bar, at, val, n, true);
	return true;
}

static const struct pci_ops pci_ops = {
	.bar_read = bar_read,
	.bar_write = bar_write,
	.cfg_read = cfg_read,
	.cfg_write = cfg_write,
	.bar_mapped = bar_mapped,
	.msix_enabled = msix_enabled,
};

/* ---- construction ---------------------------------------------------------------------------- */

/* Base class and sub class of the PCI Code and ID Assignment Specification. */
static uint32_t class_of(uint32_t id)
{
	switch (id) {
	case VIRTIO_ID_NET:
		return 0x020000;	/* Ethernet */
	case VIRTIO_ID_BLOCK:
	case VIRTIO_ID_FS:
		return 0x018000;	/* other mass storage */
	case VIRTIO_ID_CONSOLE:
	case VIRTIO_ID_VSOCK:
		return 0x078000;	/* other communication controller */
	default:
		return 0xff0000;	/* fits in no class */
	}
}

static unsigned int add_cap(struct virtio_pci *p, uint8_t type, uint32_t off, uint32_t size,
			    unsigned int len)
{
	unsigned int cap = pci_add_cap(&p->pci, PCI_CAP_ID_VNDR, len);

	pci_put(&p->pci, cap + offsetof(struct virtio_pci_cap, cap_len), 1, len);
	pci_put(&p->pci, cap + offsetof(struct virtio_pci_cap, cfg_type), 1, type);
	pci_put(&p->pci, cap + offsetof(struct virtio_pci_cap, bar), 1, VIRTIO_PCI_BAR);
	pci_put(&p->pci, cap + offsetof(struct virtio_pci_cap, offset), 4, off);
	pci_put(&p->pci, cap + offsetof(struct virtio_pci_cap, length), 4, size);
	return cap;
}

static void add_caps(struct virtio_pci *p)
{
	const unsigned int plain = sizeof(struct virtio_pci_cap);
	uint32_t notify = p->dev->nr_queues * VIRTIO_PCI_NOTIFY_STEP;
	unsigned int cap;

	add_cap(p, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_COMMON_OFF, COMMON_SIZE, plain);
	add_cap(p, VIRTIO_PCI_CAP_ISR_CFG, VIRTIO_PCI_ISR_OFF, 1, plain);
	if (p->dev->config_len)
		add_cap(p, VIRTIO_PCI_CAP_DEVICE_CFG, VIRTIO_PCI_DEVICE_OFF,
			ALIGN_UP(p->dev->config_len, 4U), plain);
	cap = add_cap(p, VIRTIO_PCI_CAP_NOTIFY_CFG, VIRTIO_PCI_NOTIFY_OFF, notify,
		      sizeof(struct virtio_pci_notify_cap));
	pci_put(&p->pci, cap + offsetof(struct virtio_pci_notify_cap, notify_off_multiplier), 4,
		VIRTIO_PCI_NOTIFY_STEP);
	cap = add_cap(p, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, sizeof(struct virtio_pci_cfg_cap));
	p->pci.wmask[cap + offsetof(struct virtio_pci_cap, bar)] = 0xff;
	memset(&p->pci.wmask[cap + offsetof(struct virtio_pci_cap, offset)], 0xff, 4 + 4 + 4);
	p->cfg_cap = cap;
}

int virtio_pci_new(struct virtio_dev *dev, const struct virtio_pci_env *env,
		   struct virtio_pci **out, struct err *e)
{
	const struct pci_ids ids = {
		.vendor = VENDOR,
		.device = DEVICE_BASE + dev->ops->id,
		.sub_vendor = VENDOR,
		.sub_device = DEVICE_BASE + dev->ops->id,
		.class = class_of(dev->ops->id),
		.revision = REVISION,
	};
	/* one for each queue and one for changes of the configuration */
	unsigned int vectors = MIN(dev->nr_queues + 1, (unsigned int)MAX_VECTORS);
	const struct pci_msix_cfg msix = {
		.nr = vectors,
		.table_bar = VIRTIO_PCI_BAR,
		.table_off = VIRTIO_PCI_MSIX_OFF,
		.pba_bar = VIRTIO_PCI_BAR,
		.pba_off = VIRTIO_PCI_PBA_OFF,
	};
	struct virtio_pci *p;
	int ret = 0;

	*out = NULL;
	if (dev->nr_queues > MAX_QUEUES || dev->config_len > REGION_SIZE)
		return err_set(e, -E2BIG, "%s: %u queues are too many for PCI (%u at most)",
			       dev->name, dev->nr_queues, MAX_QUEUES);
	p = calloc(1, sizeof(*p) + dev->nr_queues * sizeof(p->queue[0]));
	if (!p)
		return err_set(e, -ENOMEM, "%s: no memory for its registers", dev->name);
	p->transport = (struct virtio_transport){
		.queue_irq = queue_irq,
		.config_irq = config_irq,
		.queue_fd = queue_fd,
		.reset = transport_reset,
	};
	p->dev = dev;
	p->env = *env;
	pthread_mutex_init(&p->isr_lock, NULL);
	atomic_init(&p->config_vector, VIRTIO_MSI_NO_VECTOR);
	for (unsigned int q = 0; q < dev->nr_queues; q++)
		atomic_init(&p->queue[q].vector, VIRTIO_MSI_NO_VECTOR);
	pci_dev_init(&p->pci, &pci_ops, dev->name, &ids);
	pci_add_bar(&p->pci, VIRTIO_PCI_BAR, VIRTIO_PCI_BAR_SIZE, false, false);
	pci_use_intx(&p->pci);
	add_caps(p);
	if (env->msi)
		ret = pci_add_msix(&p->pci, env->msi, &msix, e);
	if (!ret)
		ret = pci_add(env->host, &p->pci, e);
	if (ret < 0) {
		virtio_pci_free(p);
		return ret;
	}
	dev->transport = &p->transport;
	*out = p;
	return 0;
}

void virtio_pci_free(struct virtio_pci *p)
{
	/* The device may be gone already, so it is not touched; stopped, it does not call us. */
	pci_dev_destroy(&p->pci);
	pthread_mutex_destroy(&p->isr_lock);
	free(p);
}
