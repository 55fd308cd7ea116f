// SPDX-License-Identifier: BSD-3-Clause
/* The PCI transport: every register, kicks, both kinds of interrupt, what a driver does wrong. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/pbus.h"
#include "tests/unit/vdriver.h"
#include "virtio/dev.h"
#include "virtio/pci.h"

#define FN		(1 << 3)
#define SPI		(MAP_PCI_SPI + 1)
#define QUEUES		3
#define BAR		MAP_PCI_MEM_BASE
#define COMMON		(bar + VIRTIO_PCI_COMMON_OFF)
#define NOTIFY(q)	(bar + VIRTIO_PCI_NOTIFY_OFF + 4 * (q))
#define VECTOR(v)	(bar + VIRTIO_PCI_MSIX_OFF + 16 * (v))
#define GSI		MAP_NR_SPIS

/* A device that does nothing but remember; its first queue gives back what it gets. */
struct toy {
	struct virtio_dev dev;
	uint8_t config[10];
	unsigned int kicks[QUEUES], fds[QUEUES], resets;
	int on[QUEUES];
	uint32_t written_off, written_len, written;
};

static void toy_kick(struct virtio_dev *dev, unsigned int q)
{
	struct toy *t = container_of(dev, struct toy, dev);
	struct vq *vq = &dev->queue[q].vq;
	struct vq_chain c;

	t->kicks[q]++;
	if (vq_begin(vq) < 0)
		return;
	while (vq_pop(vq, &c) > 0)
		vq_push(vq, &c.head, 0);
	vq_end(vq);
}

static int toy_queue(struct virtio_dev *dev, unsigned int q, bool on)
{
	container_of(dev, struct toy, dev)->on[q] = on;
	return 0;
}

static void toy_fd(struct virtio_dev *dev, unsigned int q)
{
	container_of(dev, struct toy, dev)->fds[q]++;
}

static void toy_reset(struct virtio_dev *dev)
{
	container_of(dev, struct toy, dev)->resets++;
}

static void toy_config(struct virtio_dev *dev, uint32_t off, unsigned int len, uint32_t val)
{
	struct toy *t = container_of(dev, struct toy, dev);

	t->written_off = off;
	t->written_len = len;
	t->written = val;
}

static void toy_free(struct virtio_dev *dev)
{
	struct toy *t = container_of(dev, struct toy, dev);

	virtio_dev_destroy(dev);
	free(t);
}

static const struct virtio_dev_ops toy_ops = {
	.id = VIRTIO_ID_BLOCK,
	.kick = toy_kick,
	.queue = toy_queue,
	.queue_fd = toy_fd,
	.reset = toy_reset,
	.config_write = toy_config,
	.free = toy_free,
};

static struct pbus pb;
static struct vdriver vd;
static struct toy *toy;
static struct virtio_pci *vp;
static ipa_t bar;

static void make(bool realm, bool msi)
{
	const struct virtio_pci_env env = {
		.host = &pb.host,
		.msi = msi ? &pb.msi : NULL,
		.kvm = &pb.kvm,
		.kernel_io = pb_kernel_io,
		.ctx = &pb,
	};
	struct virtio_dev_init init = {
		.name = "toy",
		.ops = &toy_ops,
		.env = &vd.env,
		.features = 0x5a,
		.nr_queues = QUEUES,
		.queue_size = 256,
		.config_len = sizeof(toy->config),
	};
	struct err e;

	pb_init(&pb, realm, 1);
	vd_init(&vd, realm);
	toy = calloc(1, sizeof(*toy));
	for (unsigned int i = 0; i < sizeof(toy->config); i++)
		toy->config[i] = 0x10 + i;
	init.config = toy->config;
	assert_int_equal(virtio_dev_init(&toy->dev, &init, &e), 0);
	vd.dev = &toy->dev;
	assert_int_equal(virtio_pci_new(&toy->dev, &env, &vp, &e), 0);
	bar = pb_cfg(&pb, FN, PCI_BASE_ADDRESS_0, 4);
	assert_int_equal(bar, BAR);
	pb_set_cfg(&pb, FN, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
}

static int setup(void **state)
{
	(void)state;
	make(false, true);
	return 0;
}

static int setup_realm(void **state)
{
	(void)state;
	make(true, true);
	return 0;
}

static int setup_intx(void **state)
{
	(void)state;
	make(false, false);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	virtio_dev_stop(&toy->dev);
	virtio_pci_free(vp);
	vd_destroy(&vd);
	pb_destroy(&pb);
	return 0;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static uint32_t get(unsigned int off, unsigned int len)
{
	return pb_read(&pb, COMMON + off, len);
}

static void set(unsigned int off, uint32_t val, unsigned int len)
{
	pb_write(&pb, COMMON + off, val, len);
}

static uint64_t features(void)
{
	uint64_t f;

	set(VIRTIO_PCI_COMMON_DFSELECT, 1, 4);
	f = (uint64_t)get(VIRTIO_PCI_COMMON_DF, 4) << 32;
	set(VIRTIO_PCI_COMMON_DFSELECT, 0, 4);
	return f | get(VIRTIO_PCI_COMMON_DF, 4);
}

static uint32_t negotiate(uint64_t f)
{
	set(VIRTIO_PCI_COMMON_STATUS, 0, 1);
	assert_int_equal(get(VIRTIO_PCI_COMMON_STATUS, 1), 0);
	set(VIRTIO_PCI_COMMON_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE, 1);
	set(VIRTIO_PCI_COMMON_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER, 1);
	set(VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	set(VIRTIO_PCI_COMMON_GF, f, 4);
	set(VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	set(VIRTIO_PCI_COMMON_GF, f >> 32, 4);
	set(VIRTIO_PCI_COMMON_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
				      VIRTIO_CONFIG_S_FEATURES_OK, 1);
	return get(VIRTIO_PCI_COMMON_STATUS, 1);
}

static void start_queue(unsigned int q, uint16_t vector)
{
	ipa_t s = vd.realm ? VD_SHARED : 0;
	const struct vd_ring *r = &vd.ring[q];

	vd_ring_init(&vd, q, 16);
	set(VIRTIO_PCI_COMMON_Q_SELECT, q, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
	set(VIRTIO_PCI_COMMON_Q_SIZE, 16, 2);
	set(VIRTIO_PCI_COMMON_Q_DESCLO, r->desc_ipa | s, 4);
	set(VIRTIO_PCI_COMMON_Q_DESCHI, (r->desc_ipa | s) >> 32, 4);
	set(VIRTIO_PCI_COMMON_Q_AVAILLO, r->avail_ipa | s, 4);
	set(VIRTIO_PCI_COMMON_Q_AVAILHI, (r->avail_ipa | s) >> 32, 4);
	/* a driver that writes all 64 bits at once is understood */
	pb_write(&pb, COMMON + VIRTIO_PCI_COMMON_Q_USEDLO, r->used_ipa | s, 8);
	set(VIRTIO_PCI_COMMON_Q_MSIX, vector, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	set(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 16);
}

static void driver_ok(void)
{
	set(VIRTIO_PCI_COMMON_STATUS, get(VIRTIO_PCI_COMMON_STATUS, 1) | VIRTIO_CONFIG_S_DRIVER_OK,
	    1);
	assert_int_equal(get(VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
}

/* All vectors of the table: vector v sends 0x100 + v. */
static void use_msix(void)
{
	unsigned int cap = pb_cap(&pb, FN, PCI_CAP_ID_MSIX, 0);

	assert_int_not_equal(cap, 0);
	assert_int_equal(pb_cfg(&pb, FN, cap + PCI_MSIX_FLAGS, 2), QUEUES);	/* number - 1 */
	for (unsigned int v = 0; v <= QUEUES; v++) {
		pb_write(&pb, VECTOR(v), PB_DOORBELL, 8);
		pb_write(&pb, VECTOR(v) + 8, 0x100 + v, 4);
		pb_write(&pb, VECTOR(v) + 12, 0, 4);
	}
	pb_set_cfg(&pb, FN, cap + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
}

static void request(unsigned int q)
{
	struct vq_seg seg = { VD_DATA | (vd.realm ? VD_SHARED : 0), 64 };

	vd_add(&vd, q, &seg, 1, 0);
}

/* A kick as KVM delivers it: through the eventfd at the address where it is registered. */
static void kick(unsigned int q)
{
	uint64_t one = 1;

	assert_true(fake_ioeventfd_at(pb_kernel_io(&pb, NOTIFY(q)), 2));
	assert_int_equal(write(toy->dev.queue[q].kick.fd, &one, sizeof(one)), sizeof(one));
	vd_pump(&vd, 0);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static unsigned int find_cap(uint8_t type)
{
	unsigned int at;

	for (unsigned int i = 0; (at = pb_cap(&pb, FN, PCI_CAP_ID_VNDR, i)); i++)
		if (pb_cfg(&pb, FN, at + offsetof(struct virtio_pci_cap, cfg_type), 1) == type)
			return at;
	return 0;
}

static void assert_cap(uint8_t type, unsigned int len, uint32_t off, uint32_t size)
{
	unsigned int at = find_cap(type);

	assert_int_not_equal(at, 0);
	assert_int_equal(pb_cfg(&pb, FN, at + 2, 1), len);
	assert_int_equal(pb_cfg(&pb, FN, at + 4, 1), 0);
	assert_int_equal(pb_cfg(&pb, FN, at + 8, 4), off);
	assert_int_equal(pb_cfg(&pb, FN, at + 12, 4), size);
}

static void identity(void **state)
{
	(void)state;
	assert_int_equal(pb_cfg(&pb, FN, PCI_VENDOR_ID, 4), 0x10421af4);
	assert_int_equal(pb_cfg(&pb, FN, PCI_CLASS_REVISION, 4), 0x01800001);
	assert_int_equal(pb_cfg(&pb, FN, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x10421af4);
	assert_int_equal(pb_cfg(&pb, FN, PCI_INTERRUPT_PIN, 1), 1);
	assert_cap(VIRTIO_PCI_CAP_COMMON_CFG, 16, 0, 0x3c);
	assert_cap(VIRTIO_PCI_CAP_ISR_CFG, 16, 0x1000, 1);
	assert_cap(VIRTIO_PCI_CAP_DEVICE_CFG, 16, 0x2000, 12);
	assert_cap(VIRTIO_PCI_CAP_NOTIFY_CFG, 20, 0x3000, 4 * QUEUES);
	assert_int_equal(pb_cfg(&pb, FN, find_cap(VIRTIO_PCI_CAP_NOTIFY_CFG) + 16, 4), 4);
	assert_cap(VIRTIO_PCI_CAP_PCI_CFG, 20, 0, 0);
}

static void registers(void **state)
{
	(void)state;
	assert_int_equal(get(VIRTIO_PCI_COMMON_NUMQ, 2), QUEUES);
	assert_int_equal(features() & 0xff, 0x5a);
	assert_int_equal(features() & VD_F_MODERN, VD_F_MODERN);
	set(VIRTIO_PCI_COMMON_DFSELECT, 2, 4);
	assert_int_equal(get(VIRTIO_PCI_COMMON_DF, 4), 0);
	assert_int_equal(get(VIRTIO_PCI_COMMON_DFSELECT, 4), 2);
	for (unsigned int q = 0; q < QUEUES; q++) {
		set(VIRTIO_PCI_COMMON_Q_SELECT, q, 2);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SELECT, 2), q);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_NOFF, 2), q);
		assert_int_equal(get(0x38, 2), q);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	}
	set(VIRTIO_PCI_COMMON_Q_SELECT, QUEUES, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	/* the queue that is not there takes anything */
	for (unsigned int off = VIRTIO_PCI_COMMON_Q_SIZE; off < 0x40; off += 2) {
		set(off, 1, 2);
		set(off & ~3U, 1, 4);
	}
	set(VIRTIO_PCI_COMMON_Q_SELECT, 1, 2);
	set(VIRTIO_PCI_COMMON_Q_DESCHI, 0x12345678, 4);
	set(VIRTIO_PCI_COMMON_Q_DESCLO, 0x9abcdef0, 4);
	assert_int_equal(pb_read(&pb, COMMON + VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0x123456789abcdef0);
	pb_write(&pb, COMMON + VIRTIO_PCI_COMMON_Q_AVAILLO, 0x1122334455667788, 8);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_AVAILHI, 4), 0x11223344);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_AVAILLO, 4), 0x55667788);
	/* the device's own */
	assert_int_equal(pb_read(&pb, bar + 0x2000, 4), 0x13121110);
	assert_int_equal(pb_read(&pb, bar + 0x2008, 2), 0x1918);
	assert_int_equal(pb_read(&pb, bar + 0x2009, 1), 0x19);
	assert_int_equal(pb_read(&pb, bar + 0x200a, 2), 0);
	pb_write(&pb, bar + 0x2004, 0xabcd, 2);
	assert_int_equal(toy->written_off, 4);
	assert_int_equal(toy->written_len, 2);
	assert_int_equal(toy->written, 0xabcd);
	pb_write(&pb, bar + 0x2008, 0, 4);	/* beyond its end */
	assert_int_equal(toy->written_off, 4);
	/* features of the driver read back */
	negotiate(VD_F_MODERN | 0x2);
	set(VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	assert_int_equal(get(VIRTIO_PCI_COMMON_GF, 4), 2);
	set(VIRTIO_PCI_COMMON_GFSELECT, 9, 4);
	assert_int_equal(get(VIRTIO_PCI_COMMON_GF, 4), 0);
}

static void generation(void **state)
{
	uint8_t gen = get(VIRTIO_PCI_COMMON_CFGGENERATION, 1);

	(void)state;
	virtio_dev_lock(&toy->dev);
	virtio_dev_config_changed(&toy->dev);
	virtio_dev_unlock(&toy->dev);
	assert_int_not_equal(get(VIRTIO_PCI_COMMON_CFGGENERATION, 1), gen);
}

static void with_msix(void **state)
{
	struct vring_used_elem u;

	(void)state;
	use_msix();
	assert_int_equal(negotiate(VD_F_MODERN) & VIRTIO_CONFIG_S_FEATURES_OK,
			 VIRTIO_CONFIG_S_FEATURES_OK);
	set(VIRTIO_PCI_COMMON_MSIX, 0, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_MSIX, 2), 0);
	start_queue(0, 1);
	start_queue(1, 3);
	start_queue(2, VIRTIO_MSI_NO_VECTOR);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	assert_int_equal(toy->on[0], 0);
	driver_ok();
	assert_int_equal(toy->on[0] + toy->on[1] + toy->on[2], 3);
	vd_pump(&vd, 0);
	for (unsigned int q = 0; q < QUEUES; q++) {
		request(q);
		kick(q);
		assert_true(vd_used(&vd, q, &u));
	}
	assert_int_equal(fake_gsi_count(GSI + 0), 0);
	assert_int_equal(fake_gsi_count(GSI + 1), 1);
	assert_int_equal(fake_gsi_count(GSI + 2), 0);
	assert_int_equal(fake_gsi_count(GSI + 3), 1);
	/* a back end outside writes to the same vectors */
	virtio_dev_lock(&toy->dev);
	assert_int_equal(virtio_dev_queue_fd(&toy->dev, 1), pci_msix_fd(pb.host.func[FN], 3));
	assert_int_equal(virtio_dev_queue_fd(&toy->dev, 2), -1);
	virtio_dev_config_changed(&toy->dev);
	virtio_dev_unlock(&toy->dev);
	assert_int_equal(fake_gsi_count(GSI + 0), 1);
	/* the wire has no part in it, and the ISR tells of the configuration only */
	assert_int_equal(fake_irq_level(SPI), 0);
	assert_int_equal(pb_cfg(&pb, FN, PCI_STATUS, 1) & PCI_STATUS_INTERRUPT, 0);
	assert_int_equal(pb_read(&pb, bar + VIRTIO_PCI_ISR_OFF, 1), 2);
	assert_int_equal(pb_read(&pb, bar + VIRTIO_PCI_ISR_OFF, 1), 0);
	/* MSI-X off: queue_fd() is another one, and the device is told */
	memset(toy->fds, 0, sizeof(toy->fds));
	pb_set_cfg(&pb, FN, pb_cap(&pb, FN, PCI_CAP_ID_MSIX, 0) + PCI_MSIX_FLAGS, 0, 2);
	assert_int_equal(toy->fds[0] + toy->fds[1] + toy->fds[2], 3);
	virtio_dev_lock(&toy->dev);
	assert_int_equal(virtio_dev_queue_fd(&toy->dev, 1), -1);
	virtio_dev_unlock(&toy->dev);
}

static void bad_vectors(void **state)
{
	static const uint16_t bad[] = { QUEUES + 1, 0x7fff, 0xfffe, 0xffff };

	(void)state;
	use_msix();
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		set(VIRTIO_PCI_COMMON_MSIX, 1, 2);
		assert_int_equal(get(VIRTIO_PCI_COMMON_MSIX, 2), 1);
		set(VIRTIO_PCI_COMMON_MSIX, bad[i], 2);
		assert_int_equal(get(VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
		set(VIRTIO_PCI_COMMON_Q_MSIX, 1, 2);
		set(VIRTIO_PCI_COMMON_Q_MSIX, bad[i], 2);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	}
}

static void with_intx(void **state)
{
	struct vring_used_elem u;

	(void)state;
	negotiate(VD_F_MODERN);
	start_queue(0, VIRTIO_MSI_NO_VECTOR);
	driver_ok();
	assert_int_equal(fake_irq_level(SPI), 0);
	request(0);
	kick(0);
	assert_true(vd_used(&vd, 0, &u));
	assert_int_equal(fake_irq_level(SPI), 1);
	assert_int_equal(pb_cfg(&pb, FN, PCI_STATUS, 1) & PCI_STATUS_INTERRUPT,
			 PCI_STATUS_INTERRUPT);
	assert_int_equal(pb_read(&pb, bar + VIRTIO_PCI_ISR_OFF, 1), 1);
	assert_int_equal(fake_irq_level(SPI), 0);
	assert_int_equal(pb_read(&pb, bar + VIRTIO_PCI_ISR_OFF, 1), 0);
	virtio_dev_lock(&toy->dev);
	virtio_dev_config_changed(&toy->dev);
	virtio_dev_unlock(&toy->dev);
	request(0);
	kick(0);
	assert_int_equal(pb_read(&pb, bar + VIRTIO_PCI_ISR_OFF, 1), 3);
	/* a reset takes the interrupt back */
	request(0);
	kick(0);
	assert_int_equal(fake_irq_level(SPI), 1);
	set(VIRTIO_PCI_COMMON_STATUS, 0, 1);
	assert_int_equal(fake_irq_level(SPI), 0);
	assert_int_equal(pb_read(&pb, bar + VIRTIO_PCI_ISR_OFF, 1), 0);
}

static void no_msix(void **state)
{
	(void)state;
	assert_int_equal(pb_cap(&pb, FN, PCI_CAP_ID_MSIX, 0), 0);
	set(VIRTIO_PCI_COMMON_MSIX, 0, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	with_intx(state);
}

static void resets(void **state)
{
	(void)state;
	use_msix();
	negotiate(VD_F_MODERN);
	set(VIRTIO_PCI_COMMON_MSIX, 0, 2);
	start_queue(2, 2);
	driver_ok();
	set(VIRTIO_PCI_COMMON_STATUS, 0, 1);
	assert_int_equal(toy->on[2], 0);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SELECT, 2), 0);
	assert_int_equal(get(VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	set(VIRTIO_PCI_COMMON_Q_SELECT, 2, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	/* and once more */
	negotiate(VD_F_MODERN);
	start_queue(2, 2);
	driver_ok();
	assert_int_equal(toy->on[2], 1);
}

static void queue_reset(void **state)
{
	struct vring_used_elem u;

	(void)state;
	use_msix();
	/* not negotiated, it does nothing */
	negotiate(VD_F_MODERN);
	start_queue(1, 2);
	driver_ok();
	set(0x3a, 1, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), 2);

	assert_true(features() & VD_F(VIRTIO_F_RING_RESET));
	negotiate(VD_F_MODERN | VD_F(VIRTIO_F_RING_RESET));
	start_queue(0, 1);
	start_queue(1, 2);
	driver_ok();
	set(VIRTIO_PCI_COMMON_Q_SELECT, 1, 2);
	set(0x3a, 1, 2);
	assert_int_equal(get(0x3a, 2), 0);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	assert_int_equal(toy->on[1], 0);
	assert_int_equal(toy->on[0], 1);
	request(0);
	kick(0);
	assert_true(vd_used(&vd, 0, &u));
	start_queue(1, 2);
	assert_int_equal(toy->on[1], 1);
	request(1);
	kick(1);
	assert_true(vd_used(&vd, 1, &u));
	assert_int_equal(fake_gsi_count(GSI + 2), 1);
}

/* A queue that keeps its size is the largest; one that asks for too much never starts. */
static void sizes(void **state)
{
	(void)state;
	negotiate(VD_F_MODERN);
	set(VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	vd_ring_init(&vd, 0, 256);
	set(VIRTIO_PCI_COMMON_Q_DESCLO, vd.ring[0].desc_ipa, 4);
	set(VIRTIO_PCI_COMMON_Q_AVAILLO, vd.ring[0].avail_ipa, 4);
	set(VIRTIO_PCI_COMMON_Q_USEDLO, vd.ring[0].used_ipa, 4);
	set(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	assert_int_equal(toy->dev.queue[0].vq.num, 256);
	set(VIRTIO_PCI_COMMON_Q_SELECT, 1, 2);
	set(VIRTIO_PCI_COMMON_Q_SIZE, 512, 2);
	set(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
}

static void moving(void **state)
{
	ipa_t to = MAP_PCI_MEM_BASE + 0x7000000;

	(void)state;
	assert_int_equal(fake_ioeventfds(), QUEUES);
	pb_set_cfg(&pb, FN, PCI_BASE_ADDRESS_0, to, 4);
	assert_int_equal(fake_ioeventfds(), QUEUES);
	assert_false(fake_ioeventfd_at(pb_kernel_io(&pb, NOTIFY(0)), 2));
	bar = to;
	for (unsigned int q = 0; q < QUEUES; q++)
		assert_true(fake_ioeventfd_at(pb_kernel_io(&pb, NOTIFY(q)), 2));
	pb_set_cfg(&pb, FN, PCI_COMMAND, 0, 2);
	assert_int_equal(fake_ioeventfds(), 0);
	pb_set_cfg(&pb, FN, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_int_equal(fake_ioeventfds(), QUEUES);
	assert_int_equal(get(VIRTIO_PCI_COMMON_NUMQ, 2), QUEUES);
}

/* KVM has no place for an ioeventfd: the kick comes by an exit. */
static void long_way(void **state)
{
	struct vring_used_elem u;

	(void)state;
	pb_set_cfg(&pb, FN, PCI_COMMAND, 0, 2);
	fake_fail_ioctl(KVM_IOEVENTFD, 2, ENOSPC);
	pb_set_cfg(&pb, FN, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_int_equal(fake_ioeventfds(), QUEUES - 1);
	assert_false(fake_ioeventfd_at(pb_kernel_io(&pb, NOTIFY(1)), 2));
	negotiate(VD_F_MODERN);
	start_queue(1, VIRTIO_MSI_NO_VECTOR);
	driver_ok();
	vd_pump(&vd, 0);
	request(1);
	pb_write(&pb, NOTIFY(1), 1, 2);
	vd_pump(&vd, 0);
	assert_true(vd_used(&vd, 1, &u));
	/* queues that are not there, and places between them */
	for (unsigned int off = 0; off < 0x1000; off++)
		pb_write(&pb, NOTIFY(0) + off, off, 1);
	vd_pump(&vd, 0);
	/* what was not there is not taken away either */
	pb_set_cfg(&pb, FN, PCI_COMMAND, 0, 2);
	assert_int_equal(fake_ioeventfds(), 0);
}

/* The window in configuration space does what an access to the BAR does. */
static void cfg_window(void **state)
{
	unsigned int cap = find_cap(VIRTIO_PCI_CAP_PCI_CFG), data = cap + 16;

	(void)state;
	pb_set_cfg(&pb, FN, cap + 4, 0, 1);
	pb_set_cfg(&pb, FN, cap + 8, VIRTIO_PCI_COMMON_NUMQ, 4);
	pb_set_cfg(&pb, FN, cap + 12, 2, 4);
	assert_int_equal(pb_cfg(&pb, FN, data, 2), QUEUES);
	/* even while the BAR is off */
	pb_set_cfg(&pb, FN, PCI_COMMAND, 0, 2);
	pb_set_cfg(&pb, FN, cap + 8, VIRTIO_PCI_COMMON_Q_SELECT, 4);
	pb_set_cfg(&pb, FN, data, 2, 2);
	assert_int_equal(pb_cfg(&pb, FN, data, 4) & 0xffff, 2);
	pb_set_cfg(&pb, FN, cap + 8, VIRTIO_PCI_COMMON_STATUS, 4);
	pb_set_cfg(&pb, FN, cap + 12, 1, 4);
	pb_set_cfg(&pb, FN, data, VIRTIO_CONFIG_S_ACKNOWLEDGE, 1);
	assert_int_equal(toy->dev.status, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	/* nonsense in it does nothing */
	for (unsigned int len = 0; len < 12; len++)
		for (unsigned int b = 0; b < 256; b += 5) {
			pb_set_cfg(&pb, FN, cap + 4, b, 1);
			pb_set_cfg(&pb, FN, cap + 12, len, 4);
			pb_set_cfg(&pb, FN, cap + 8, 0xfffffffc, 4);
			pb_set_cfg(&pb, FN, data, 0, 4);
			pb_cfg(&pb, FN, data, 4);
			pb_set_cfg(&pb, FN, cap + 8, 0x7ffe, 4);
			pb_set_cfg(&pb, FN, data + 2, 0, 2);
			pb_cfg(&pb, FN, data + 3, 1);
		}
}

/* Every width at every place of the BAR, with the driver in every state. */
static void odd_accesses(void **state)
{
	(void)state;
	use_msix();
	for (unsigned int round = 0; round < 3; round++) {
		for (ipa_t off = 0; off < VIRTIO_PCI_BAR_SIZE; off++) {
			unsigned int len = 1 + (off + round * 3) % 8;

			if (off >= 0x80 && off < 0x1000)
				off = 0x1000;
			if (off >= 0x1010 && off < 0x2000)
				off = 0x2000;
			pb_read(&pb, bar + off, len);
			pb_write(&pb, bar + off, 0x0101010101010101 * (round ? 0xff : off), len);
		}
		vd_pump(&vd, 0);
	}
	set(VIRTIO_PCI_COMMON_STATUS, 0, 1);
	assert_int_equal(get(VIRTIO_PCI_COMMON_STATUS, 1), 0);
	assert_int_equal(get(VIRTIO_PCI_COMMON_NUMQ, 2), QUEUES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(identity, setup, teardown),
		cmocka_unit_test_setup_teardown(registers, setup, teardown),
		cmocka_unit_test_setup_teardown(generation, setup, teardown),
		cmocka_unit_test_setup_teardown(with_msix, setup, teardown),
		cmocka_unit_test_setup_teardown(with_msix, setup_realm, teardown),
		cmocka_unit_test_setup_teardown(bad_vectors, setup, teardown),
		cmocka_unit_test_setup_teardown(with_intx, setup, teardown),
		cmocka_unit_test_setup_teardown(with_intx, setup_realm, teardown),
		cmocka_unit_test_setup_teardown(no_msix, setup_intx, teardown),
		cmocka_unit_test_setup_teardown(resets, setup, teardown),
		cmocka_unit_test_setup_teardown(queue_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(moving, setup, teardown),
		cmocka_unit_test_setup_teardown(moving, setup_realm, teardown),
		cmocka_unit_test_setup_teardown(long_way, setup, teardown),
		cmocka_unit_test_setup_teardown(cfg_window, setup, teardown),
		cmocka_unit_test_setup_teardown(odd_accesses, setup, teardown),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("virtio-pci", tests, NULL, NULL);
}
