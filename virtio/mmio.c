// SPDX-License-Identifier: BSD-3-Clause
/*
 * virtio over MMIO, the modern register layout (virtio 1.2, section 4.2.2).
 *
 * Interrupt status and kicks take no lock: a vCPU that serves an interrupt does not wait for the
 * thread that is busy producing the next one.
 */
#include <errno.h>
#include <linux/virtio_mmio.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "virtio/dev.h"
#include "vmm/core/err.h"

#define WINDOW_SIZE	0x200
#define MAGIC		0x74726976	/* "virt" */
#define VERSION		2
#define VENDOR		0x544d4c52	/* "RLMT"; section 4.2.2 leaves it to us */
#define QUEUE_RESET	0x0c0		/* virtio 1.2; Linux has no name for it yet */

struct virtio_mmio {
	struct virtio_transport transport;
	struct virtio_dev *dev;
	struct irq_line irq;
	_Atomic uint32_t irq_status;
	_Atomic uint32_t feature_sel, driver_feature_sel, queue_sel;
};

static void raise_irq(struct virtio_mmio *m, uint32_t cause)
{
	/*
	 * The cause is there before the edge. It is not skipped if an edge is still pending: the
	 * driver may have read the status already and not yet acknowledged it.
	 */
	atomic_fetch_or(&m->irq_status, cause);
	irq_set(&m->irq, 1);
}

static void queue_irq(struct virtio_transport *t, unsigned int q)
{
	raise_irq(container_of(t, struct virtio_mmio, transport), VIRTIO_MMIO_INT_VRING);
}

static void config_irq(struct virtio_transport *t)
{
	raise_irq(container_of(t, struct virtio_mmio, transport), VIRTIO_MMIO_INT_CONFIG);
}

static void transport_reset(struct virtio_transport *t)
{
	struct virtio_mmio *m = container_of(t, struct virtio_mmio, transport);

	atomic_store(&m->irq_status, 0);
	atomic_store(&m->feature_sel, 0);
	atomic_store(&m->driver_feature_sel, 0);
	atomic_store(&m->queue_sel, 0);
}

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned int len)
{
	struct virtio_mmio *m = opaque;
	struct virtio_dev *dev = m->dev;
	uint32_t q = atomic_load(&m->queue_sel);

	if ((len != 1 && len != 2 && len != 4) || off % len)
		return 0;
	if (off >= VIRTIO_MMIO_CONFIG)
		return virtio_dev_config_read(dev, off - VIRTIO_MMIO_CONFIG, len);
	if (len != 4)		/* section 4.2.2.2 */
		return 0;

	switch (off) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return dev->ops->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return virtio_dev_features(dev, atomic_load(&m->feature_sel));
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return q < dev->nr_queues ? dev->queue[q].vq.max : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return virtio_dev_queue_ready(dev, q);
	case QUEUE_RESET:
		return virtio_dev_queue_in_reset(dev, q);
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return atomic_load(&m->irq_status);
	case VIRTIO_MMIO_STATUS:
		return virtio_dev_status(dev);
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX;	/* no such region */
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return virtio_dev_config_gen(dev);
	default:
		return 0;
	}
}

/* Size and addresses of the selected queue. */
static void queue_write(struct virtio_mmio *m, uint64_t off, uint32_t val)
{
	static const struct {
		uint64_t off;
		enum virtio_queue_reg reg;
		bool high;
	} regs[] = {
		{ VIRTIO_MMIO_QUEUE_NUM, VQ_REG_NUM, false },
		{ VIRTIO_MMIO_QUEUE_DESC_LOW, VQ_REG_DESC, false },
		{ VIRTIO_MMIO_QUEUE_DESC_HIGH, VQ_REG_DESC, true },
		{ VIRTIO_MMIO_QUEUE_AVAIL_LOW, VQ_REG_DRIVER, false },
		{ VIRTIO_MMIO_QUEUE_AVAIL_HIGH, VQ_REG_DRIVER, true },
		{ VIRTIO_MMIO_QUEUE_USED_LOW, VQ_REG_DEVICE, false },
		{ VIRTIO_MMIO_QUEUE_USED_HIGH, VQ_REG_DEVICE, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(regs); i++) {
		unsigned int shift = regs[i].high ? 32 : 0;

		if (regs[i].off == off)
			virtio_dev_queue_write(m->dev, atomic_load(&m->queue_sel), regs[i].reg,
					       (uint64_t)val << shift, 0xffffffffULL << shift);
	}
}

static void mmio_write(void *opaque, uint64_t off, uint64_t val64, unsigned int len)
{
	struct virtio_mmio *m = opaque;
	uint32_t val = val64;

	if (off >= VIRTIO_MMIO_CONFIG) {
		if ((len == 1 || len == 2 || len == 4) && off % len == 0)
			virtio_dev_config_write(m->dev, off - VIRTIO_MMIO_CONFIG, len, val);
		return;
	}
	if (len != 4 || off % 4)	/* section 4.2.2.2 */
		return;

	switch (off) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		atomic_store(&m->feature_sel, val);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		atomic_store(&m->driver_feature_sel, val);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		virtio_dev_set_features(m->dev, atomic_load(&m->driver_feature_sel), val);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		atomic_store(&m->queue_sel, val);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		virtio_dev_set_queue_ready(m->dev, atomic_load(&m->queue_sel), val & 1);
		break;
	case QUEUE_RESET:
		if (val == 1)
			virtio_dev_queue_reset(m->dev, atomic_load(&m->queue_sel));
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		if (val < m->dev->nr_queues)
			virtio_dev_kick(m->dev, val);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		atomic_fetch_and(&m->irq_status, ~val);
		break;
	case VIRTIO_MMIO_STATUS:
		if (!val || (val & 0xff))	/* 8 bits; 0x100 is no reset */
			virtio_dev_set_status(m->dev, val);
		break;
	default:
		queue_write(m, off, val);
		break;
	}
}

static const struct mmio_ops mmio_ops = { .read = mmio_read, .write = mmio_write };

int virtio_mmio_new(struct virtio_dev *dev, struct mmio_bus *bus, ipa_t base,
		    const struct irq_line *irq, struct virtio_mmio **out, struct err *e)
{
	struct virtio_mmio *m;
	int ret;

	*out = NULL;
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(e, -ENOMEM, "%s: no memory for its registers", dev->name);
	m->transport = (struct virtio_transport){
		.queue_irq = queue_irq,
		.config_irq = config_irq,
		.reset = transport_reset,
	};
	m->dev = dev;
	m->irq = *irq;
	ret = mmio_add(bus, base, WINDOW_SIZE, &mmio_ops, m, dev->name, e);
	if (ret < 0) {
		free(m);
		return ret;
	}
	dev->transport = &m->transport;
	*out = m;
	return 0;
}

void virtio_mmio_free(struct virtio_mmio *t)
{
	/* The device may be gone already, so it is not touched; stopped, it does not call us. */
	free(t);
}

int virtio_mmio_kick_fd(const struct virtio_mmio *t, unsigned int queue)
{
	return queue < t->dev->nr_queues ? t->dev->queue[queue].kick.fd : -1;
}
