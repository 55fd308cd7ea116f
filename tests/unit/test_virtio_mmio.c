// SPDX-License-Identifier: BSD-3-Clause
/* The register window and the status machine, with a device that does nothing of use. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/vdriver.h"
#include "virtio/dev.h"

#define DEVICE_FEATURE	VD_F(3)
#define QUEUE_SIZE	64
#define QUEUE_RESET	0x0c0
#define F_RESET		VD_F(VIRTIO_F_RING_RESET)
#define S_ACK		VIRTIO_CONFIG_S_ACKNOWLEDGE
#define S_DRIVER	VIRTIO_CONFIG_S_DRIVER
#define S_FEATURES_OK	VIRTIO_CONFIG_S_FEATURES_OK
#define S_DRIVER_OK	VIRTIO_CONFIG_S_DRIVER_OK
#define S_NEEDS_RESET	VIRTIO_CONFIG_S_NEEDS_RESET
#define S_RUNNING	(S_ACK | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK)

/* Keeps what it takes from queue 0 for as long as the test wants, gives back what is in queue 1. */
struct dummy {
	struct virtio_dev dev;
	uint8_t config[10];
	unsigned int kicks[2], resets, cancels, queue_cancels[2], taken, writes;
	uint32_t written, written_off, written_len;
	bool on[2];
	_Atomic unsigned int inflight;
	_Atomic bool let_go;		/* requests end when asked for */
	bool let_go_when_cancelled;
};

struct fixture {
	struct vdriver vd;
	struct dummy *d;
};

static struct dummy *to_dummy(struct virtio_dev *dev)
{
	return container_of(dev, struct dummy, dev);
}

static void dummy_kick(struct virtio_dev *dev, unsigned int q)
{
	struct vq *vq = &dev->queue[q].vq;
	struct vq_chain c;

	to_dummy(dev)->kicks[q]++;
	if (vq_begin(vq) < 0)
		return;
	while (vq_pop(vq, &c) > 0) {
		if (q == 0)
			to_dummy(dev)->inflight++;
		else
			vq_push(vq, &c.head, 0);
		to_dummy(dev)->taken++;
	}
	vq_end(vq);
}

static void dummy_reset(struct virtio_dev *dev)
{
	to_dummy(dev)->resets++;
}

static unsigned int dummy_inflight(struct virtio_dev *dev)
{
	return to_dummy(dev)->inflight;
}

static void dummy_reap(struct virtio_dev *dev)
{
	if (to_dummy(dev)->let_go)
		to_dummy(dev)->inflight = 0;
}

static void dummy_cancel(struct virtio_dev *dev)
{
	to_dummy(dev)->cancels++;
	if (to_dummy(dev)->let_go_when_cancelled)
		to_dummy(dev)->let_go = true;
}

static void dummy_wait(struct virtio_dev *dev, unsigned int ms)
{
	usleep(1000 * ms);
}

static void dummy_free(struct virtio_dev *dev)
{
	virtio_dev_destroy(dev);
	free(to_dummy(dev));
}

static const struct virtio_dev_ops dummy_ops = {
	.id = 42, .kick = dummy_kick, .reset = dummy_reset, .inflight = dummy_inflight,
	.reap = dummy_reap, .cancel = dummy_cancel, .wait = dummy_wait, .free = dummy_free,
};

static unsigned int dummy_queue_inflight(struct virtio_dev *dev, unsigned int q)
{
	return q == 0 ? dummy_inflight(dev) : 0;
}

static void dummy_queue_cancel(struct virtio_dev *dev, unsigned int q)
{
	to_dummy(dev)->queue_cancels[q]++;
	if (to_dummy(dev)->let_go_when_cancelled)
		to_dummy(dev)->let_go = true;
}

static int dummy_queue(struct virtio_dev *dev, unsigned int q, bool on)
{
	assert_int_not_equal(to_dummy(dev)->on[q], on);
	assert_true(dev->queue[q].vq.ready);	/* it is there when it is told */
	to_dummy(dev)->on[q] = on;
	return 0;
}

static void dummy_config_write(struct virtio_dev *dev, uint32_t off, unsigned int len,
			       uint32_t val)
{
	struct dummy *d = to_dummy(dev);

	d->writes++;
	d->written = val;
	d->written_off = off;
	d->written_len = len;
}

/* One whose queues can be reset one by one. */
static const struct virtio_dev_ops dummy_queue_ops = {
	.id = 42, .kick = dummy_kick, .reset = dummy_reset, .inflight = dummy_inflight,
	.reap = dummy_reap, .cancel = dummy_cancel, .wait = dummy_wait, .free = dummy_free,
	.queue = dummy_queue, .queue_inflight = dummy_queue_inflight,
	.queue_cancel = dummy_queue_cancel, .config_write = dummy_config_write,
};

static int setup_common(void **state, bool realm, bool packed, const struct virtio_dev_ops *ops,
			uint64_t allowed)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct virtio_dev_init init = {
		.name = "dummy", .ops = ops, .in_order = packed, .allowed = allowed,
		.features = DEVICE_FEATURE,
		.nr_queues = 2, .queue_size = QUEUE_SIZE,
	};
	struct err e;

	vd_init(&f->vd, realm);
	f->vd.env.packed = packed;
	f->d = calloc(1, sizeof(*f->d));
	memcpy(f->d->config, "\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19", 10);
	f->d->let_go = true;
	init.env = &f->vd.env;
	init.config = f->d->config;
	init.config_len = sizeof(f->d->config);
	assert_int_equal(virtio_dev_init(&f->d->dev, &init, &e), 0);
	vd_attach(&f->vd, &f->d->dev);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_common(state, false, false, &dummy_ops, 0);
}

static int setup_queues(void **state)
{
	return setup_common(state, false, false, &dummy_queue_ops, 0);
}

static int setup_packed(void **state)
{
	return setup_common(state, false, true, &dummy_queue_ops, 0);
}

static int setup_limited(void **state)
{
	return setup_common(state, false, true, &dummy_queue_ops,
			    VD_F(VIRTIO_RING_F_INDIRECT_DESC) | VD_F(5));
}

static int setup_realm(void **state)
{
	return setup_common(state, true, false, &dummy_ops, 0);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vd_destroy(&f->vd);
	free(f);
	return 0;
}

static uint32_t status(struct fixture *f)
{
	return vd_get(&f->vd, VIRTIO_MMIO_STATUS);
}

static void identification(void **state)
{
	struct fixture *f = *state;
	struct vdriver *vd = &f->vd;

	assert_int_equal(vd_get(vd, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_DEVICE_ID), 42);
	assert_int_not_equal(vd_get(vd, VIRTIO_MMIO_VENDOR_ID), 0);
	assert_int_equal(status(f), 0);
	for (uint64_t off = VIRTIO_MMIO_SHM_LEN_LOW; off <= VIRTIO_MMIO_SHM_BASE_HIGH; off += 4)
		assert_int_equal(vd_get(vd, off), UINT32_MAX);
	assert_int_equal(vd_get(vd, 0x0f8), 0);		/* no register there */
	assert_int_equal(virtio_dev_queues(vd->dev), 2);
	assert_int_equal(virtio_mmio_kick_fd(vd->mmio, 2), -1);
}

static void widths(void **state)
{
	struct fixture *f = *state;
	struct vdriver *vd = &f->vd;
	static const unsigned int bad[] = { 1, 2, 8 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(vd_access(vd, VIRTIO_MMIO_MAGIC_VALUE, 0, bad[i], false), 0);
		vd_access(vd, VIRTIO_MMIO_STATUS, S_ACK, bad[i], true);
		assert_int_equal(status(f), 0);
	}
	assert_int_equal(vd_access(vd, 2, 0, 4, false), 0);
	vd_access(vd, VIRTIO_MMIO_STATUS - 2, S_ACK << 16, 4, true);
	assert_int_equal(status(f), 0);
	/* An access across the end of the window is none of ours. */
	assert_false(mmio_access(&vd->bus, VD_WINDOW + 0x1fe, (uint8_t[4]){ 0 }, 4, false));

	assert_int_equal(vd_access(vd, 0x100, 0, 1, false), 0x10);
	assert_int_equal(vd_access(vd, 0x103, 0, 1, false), 0x13);
	assert_int_equal(vd_access(vd, 0x102, 0, 2, false), 0x1312);
	assert_int_equal(vd_access(vd, 0x104, 0, 4, false), 0x17161514);
	assert_int_equal(vd_access(vd, 0x108, 0, 4, false), 0x1918);	/* half beyond the end */
	assert_int_equal(vd_access(vd, 0x10a, 0, 1, false), 0);
	assert_int_equal(vd_access(vd, 0x1fc, 0, 4, false), 0);
	assert_int_equal(vd_access(vd, 0x100, 0, 8, false), 0);
	assert_int_equal(vd_access(vd, 0x101, 0, 2, false), 0);
	vd_access(vd, 0x100, 0xff, 1, true);
	assert_int_equal(vd_access(vd, 0x100, 0, 1, false), 0x10);
}

static void negotiation(void **state)
{
	struct fixture *f = *state;
	struct vdriver *vd = &f->vd;

	assert_int_equal(vd_features(vd), VD_F_ALL | DEVICE_FEATURE);
	vd_set(vd, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_DEVICE_FEATURES), 0);
	vd_set(vd, VIRTIO_MMIO_DEVICE_FEATURES_SEL, UINT32_MAX);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_DEVICE_FEATURES), 0);

	assert_int_equal(vd_negotiate(vd, VD_F_ALL | DEVICE_FEATURE),
			 S_ACK | S_DRIVER | S_FEATURES_OK);
	assert_int_equal(f->d->dev.driver_features, VD_F_ALL | DEVICE_FEATURE);
	/* What has been agreed on stands. */
	vd_set(vd, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	vd_set(vd, VIRTIO_MMIO_DRIVER_FEATURES, 0);
	assert_int_equal(f->d->dev.driver_features, VD_F_ALL | DEVICE_FEATURE);

	assert_int_equal(vd_negotiate(vd, VD_F_ALL | VD_F(4)), S_ACK | S_DRIVER);
	assert_int_equal(vd_negotiate(vd, VD_F_ALL & ~VD_F(VIRTIO_F_VERSION_1)), S_ACK | S_DRIVER);
	/* A refusal is not the end: less may do. */
	vd_set(vd, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	vd_set(vd, VIRTIO_MMIO_DRIVER_FEATURES, VD_F_MODERN >> 32);
	vd_set(vd, VIRTIO_MMIO_STATUS, S_ACK | S_DRIVER | S_FEATURES_OK);
	assert_int_equal(status(f), S_ACK | S_DRIVER | S_FEATURES_OK);
	assert_int_equal(vd_negotiate(vd, VD_F(VIRTIO_F_VERSION_1)),
			 S_ACK | S_DRIVER | S_FEATURES_OK);
}

static void negotiation_in_realm(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(vd_negotiate(&f->vd, VD_F(VIRTIO_F_VERSION_1)), S_ACK | S_DRIVER);
	assert_int_equal(vd_negotiate(&f->vd, VD_F(VIRTIO_F_ACCESS_PLATFORM)), S_ACK | S_DRIVER);
	assert_int_equal(vd_negotiate(&f->vd, VD_F_MODERN), S_ACK | S_DRIVER | S_FEATURES_OK);
}

static void status_rules(void **state)
{
	struct fixture *f = *state;
	struct vdriver *vd = &f->vd;

	vd_set(vd, VIRTIO_MMIO_STATUS, S_FEATURES_OK);		/* without DRIVER */
	assert_int_equal(status(f), 0);
	vd_set(vd, VIRTIO_MMIO_STATUS, S_ACK | S_DRIVER | S_DRIVER_OK);	/* without FEATURES_OK */
	assert_int_equal(status(f), S_ACK | S_DRIVER);
	vd_set(vd, VIRTIO_MMIO_STATUS, S_ACK);			/* clears a bit */
	assert_int_equal(status(f), S_ACK | S_DRIVER);
	vd_set(vd, VIRTIO_MMIO_STATUS, S_ACK | VIRTIO_CONFIG_S_FAILED);	/* and sets one */
	assert_int_equal(status(f), S_ACK | S_DRIVER);
	vd_set(vd, VIRTIO_MMIO_STATUS, 0x100);			/* not 0 */
	assert_int_equal(status(f), S_ACK | S_DRIVER);
	vd_set(vd, VIRTIO_MMIO_STATUS, S_ACK | S_DRIVER | S_NEEDS_RESET | 0x30);
	assert_int_equal(status(f), S_ACK | S_DRIVER);		/* not for the driver to set */
	vd_set(vd, VIRTIO_MMIO_STATUS, S_ACK | S_DRIVER | VIRTIO_CONFIG_S_FAILED);
	assert_int_equal(status(f), S_ACK | S_DRIVER | VIRTIO_CONFIG_S_FAILED);
	vd_set(vd, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(status(f), 0);
	assert_int_equal(f->d->resets, 1);
}

static void queue_registers(void **state)
{
	struct fixture *f = *state;
	struct vdriver *vd = &f->vd;

	vd_ring_init(vd, 0, 8);
	vd_set(vd, VIRTIO_MMIO_QUEUE_SEL, 1);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_QUEUE_NUM_MAX), QUEUE_SIZE);
	vd_queue(vd, 0);				/* before FEATURES_OK */
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_QUEUE_READY), 0);
	vd_negotiate(vd, VD_F_ALL);
	vd_queue(vd, 0);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_QUEUE_READY), 1);
	assert_int_equal(f->d->dev.queue[0].vq.num, 8);
	assert_int_equal(f->d->dev.queue[0].vq.device_addr, vd->ring[0].used_ipa);

	/* Ready means fixed. */
	vd_set(vd, VIRTIO_MMIO_QUEUE_NUM, 16);
	vd_set(vd, VIRTIO_MMIO_QUEUE_DESC_HIGH, 1);
	assert_int_equal(f->d->dev.queue[0].vq.num, 8);
	assert_int_equal(f->d->dev.queue[0].vq.desc_addr, vd->ring[0].desc_ipa);
	vd_set(vd, VIRTIO_MMIO_QUEUE_READY, 0);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_QUEUE_READY), 0);
	vd_set(vd, VIRTIO_MMIO_QUEUE_DESC_LOW, 0x89abcde0);
	vd_set(vd, VIRTIO_MMIO_QUEUE_DESC_HIGH, 0x01234567);
	assert_int_equal(f->d->dev.queue[0].vq.desc_addr, 0x0123456789abcde0);

	/* There is no queue 2. */
	vd_set(vd, VIRTIO_MMIO_QUEUE_SEL, 2);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	vd_set(vd, VIRTIO_MMIO_QUEUE_NUM, 8);
	vd_set(vd, VIRTIO_MMIO_QUEUE_DESC_LOW, 0x1000);
	vd_set(vd, VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_QUEUE_READY), 0);
	vd_set(vd, VIRTIO_MMIO_QUEUE_SEL, UINT32_MAX);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_QUEUE_READY), 0);
}

static void queue_of_bad_size(void **state)
{
	struct fixture *f = *state;
	static const uint32_t bad[] = { 0, 12, QUEUE_SIZE * 2, 0x10008, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		vd_ring_init(&f->vd, 0, 8);
		vd_negotiate(&f->vd, VD_F_ALL);
		vd_queue(&f->vd, 0);
		vd_set(&f->vd, VIRTIO_MMIO_QUEUE_READY, 0);
		vd_set(&f->vd, VIRTIO_MMIO_QUEUE_NUM, bad[i]);
		vd_set(&f->vd, VIRTIO_MMIO_QUEUE_READY, 1);
		assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_QUEUE_READY), 0);
		assert_true(status(f) & S_NEEDS_RESET);
		/* And it cannot be started like this. */
		vd_set(&f->vd, VIRTIO_MMIO_STATUS, S_RUNNING);
		assert_false(f->d->dev.running);
		assert_int_equal(f->vd.irqs, 0);
	}
}

static void kicks(void **state)
{
	struct fixture *f = *state;
	struct vdriver *vd = &f->vd;
	uint64_t one = 1;

	vd_kick(vd, 0);			/* nobody is there */
	vd_pump(vd, 0);
	vd_start(vd, VD_F_ALL, 2, 8);
	vd_kick(vd, 2);			/* no such queue */
	vd_kick(vd, UINT32_MAX);
	vd_pump(vd, 0);
	/* DRIVER_OK has each queue looked at once. */
	assert_int_equal(f->d->kicks[0], 1);
	assert_int_equal(f->d->kicks[1], 1);
	vd_kick(vd, 1);
	vd_pump(vd, 0);
	assert_int_equal(f->d->kicks[0], 1);
	assert_int_equal(f->d->kicks[1], 2);
	/* As KVM does it for an ioeventfd. */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(write(virtio_mmio_kick_fd(vd->mmio, 0), &one, 8), 8);
		vd_pump(vd, 0);
		assert_int_equal(f->d->kicks[0], 2 + i);
	}
	vd_set(vd, VIRTIO_MMIO_STATUS, 0);
	vd_kick(vd, 0);
	vd_pump(vd, 0);
	assert_int_equal(f->d->kicks[0], 4);
}

static void buffers_before_driver_ok(void **state)
{
	struct fixture *f = *state;
	struct vdriver *vd = &f->vd;
	struct vring_used_elem u;

	vd_negotiate(vd, VD_F_MODERN);
	vd_ring_init(vd, 1, 8);
	vd_queue(vd, 1);
	vd_add(vd, 1, &(struct vq_seg){ VD_DATA, 8 }, 1, 0);
	vd_kick(vd, 1);
	vd_pump(vd, 0);
	assert_false(vd_used(vd, 1, &u));
	vd_set(vd, VIRTIO_MMIO_STATUS, S_RUNNING);
	u = vd_wait(vd, 1);
	assert_int_equal(u.id, 0);
}

static void interrupts(void **state)
{
	struct fixture *f = *state;
	struct vdriver *vd = &f->vd;

	vd_start(vd, VD_F_MODERN, 2, 8);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	vd_add(vd, 1, &(struct vq_seg){ VD_DATA, 8 }, 1, 0);
	vd_kick(vd, 1);
	vd_wait(vd, 1);
	assert_int_equal(vd->irqs, 1);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);

	virtio_dev_lock(&f->d->dev);
	f->d->config[0] = 0x55;
	virtio_dev_config_changed(&f->d->dev);
	virtio_dev_unlock(&f->d->dev);
	assert_int_equal(vd->irqs, 2);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_INTERRUPT_STATUS), 3);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_CONFIG_GENERATION), 1);
	assert_int_equal(vd_access(vd, VIRTIO_MMIO_CONFIG, 0, 1, false), 0x55);

	vd_set(vd, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING | 0xf0);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	vd_set(vd, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	/* Nobody to tell. */
	virtio_dev_lock(&f->d->dev);
	virtio_dev_config_changed(&f->d->dev);
	virtio_dev_unlock(&f->d->dev);
	assert_int_equal(vd->irqs, 2);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_CONFIG_GENERATION), 2);
}

static void broken_queue(void **state)
{
	struct fixture *f = *state;
	struct vdriver *vd = &f->vd;
	struct vring_used_elem u;

	vd_start(vd, VD_F_MODERN, 2, 8);
	vd_pump(vd, 0);
	vd->ring[1].avail->idx = 100;
	vd_kick(vd, 1);
	vd_pump(vd, 0);
	assert_int_equal(status(f), S_RUNNING | S_NEEDS_RESET);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	assert_int_equal(vd->irqs, 1);
	vd_kick(vd, 0);			/* the whole device rests */
	vd_pump(vd, 0);
	assert_int_equal(f->d->kicks[0], 1);

	vd_start(vd, VD_F_MODERN, 2, 8);
	assert_int_equal(status(f), S_RUNNING);
	vd_add(vd, 1, &(struct vq_seg){ VD_DATA, 8 }, 1, 0);
	vd_kick(vd, 1);
	u = vd_wait(vd, 1);
	assert_int_equal(u.id, 0);
}

static uint64_t ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

static void put_in_flight(struct fixture *f, unsigned int n)
{
	f->d->let_go = false;
	vd_start(&f->vd, VD_F_MODERN, 2, 8);
	for (unsigned int i = 0; i < n; i++)
		vd_add(&f->vd, 0, &(struct vq_seg){ VD_DATA + 8 * i, 8 }, 1, 0);
	vd_kick(&f->vd, 0);
	vd_pump(&f->vd, 0);
	assert_int_equal(f->d->inflight, n);
}

static void reset_cancels(void **state)
{
	struct fixture *f = *state;
	uint64_t start;

	put_in_flight(f, 3);
	f->d->let_go_when_cancelled = true;
	start = ms();
	vd_set(&f->vd, VIRTIO_MMIO_STATUS, 0);
	assert_in_range(ms() - start, 1000, 3500);	/* it was given time to finish by itself */
	assert_int_equal(f->d->cancels, 1);
	assert_int_equal(f->d->inflight, 0);
	assert_int_equal(status(f), 0);
	assert_int_equal(f->d->resets, 2);
}

static void reset_gives_up(void **state)
{
	struct fixture *f = *state;
	uint64_t start;

	put_in_flight(f, 3);
	start = ms();
	vd_set(&f->vd, VIRTIO_MMIO_STATUS, 0);
	assert_in_range(ms() - start, 3000, 8000);
	/* Out of service: the old requests may still write to memory. */
	assert_int_equal(status(f), S_NEEDS_RESET);
	vd_set(&f->vd, VIRTIO_MMIO_STATUS, S_NEEDS_RESET | S_ACK | S_DRIVER);
	assert_int_equal(status(f), S_NEEDS_RESET);
	vd_queue(&f->vd, 0);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_QUEUE_READY), 0);

	f->d->let_go = true;
	assert_int_equal(status(f), 0);
	vd_start(&f->vd, VD_F_MODERN, 2, 8);
	assert_int_equal(status(f), S_RUNNING);
}

static void stopping_a_queue_drains(void **state)
{
	struct fixture *f = *state;

	put_in_flight(f, 2);
	f->d->let_go_when_cancelled = true;
	vd_set(&f->vd, VIRTIO_MMIO_QUEUE_SEL, 0);
	vd_set(&f->vd, VIRTIO_MMIO_QUEUE_READY, 0);
	assert_int_equal(f->d->inflight, 0);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_QUEUE_READY), 0);
	assert_int_equal(status(f), S_RUNNING);
	vd_ring_init(&f->vd, 0, 8);
	vd_queue(&f->vd, 0);
	vd_add(&f->vd, 0, &(struct vq_seg){ VD_DATA, 8 }, 1, 0);
	vd_kick(&f->vd, 0);
	vd_pump(&f->vd, 0);
	assert_int_equal(f->d->taken, 3);
	f->d->let_go = true;
}

/* ---- single queues (section 2.6.1) ---- */

static void queue_reset(struct fixture *f, uint32_t q, uint32_t val)
{
	vd_set(&f->vd, VIRTIO_MMIO_QUEUE_SEL, q);
	vd_set(&f->vd, QUEUE_RESET, val);
}

static void resetting_one_queue(void **state)
{
	struct fixture *f = *state;
	struct vdriver *vd = &f->vd;
	uint32_t epoch;

	f->d->let_go = false;
	vd_start(vd, VD_F_MODERN | F_RESET, 2, 8);
	assert_true(f->d->on[0] && f->d->on[1]);
	for (unsigned int i = 0; i < 3; i++)
		vd_add(vd, 0, &(struct vq_seg){ VD_DATA + 8 * i, 8 }, 1, 0);
	vd_kick(vd, 0);
	vd_pump(vd, 0);
	assert_int_equal(f->d->inflight, 3);
	epoch = f->d->dev.queue[0].vq.epoch;

	/* The other queue, while these are in flight. */
	queue_reset(f, 1, 0);
	queue_reset(f, 1, 2);
	queue_reset(f, 7, 1);
	assert_int_equal(vd_get(vd, QUEUE_RESET), 0);
	vd_set(vd, VIRTIO_MMIO_QUEUE_SEL, 1);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_QUEUE_READY), 1);
	queue_reset(f, 1, 1);
	assert_int_equal(vd_get(vd, QUEUE_RESET), 0);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_QUEUE_READY), 0);
	assert_int_equal(f->d->inflight, 3);
	assert_int_equal(f->d->dev.queue[0].vq.epoch, epoch);
	assert_true(f->d->on[0] && !f->d->on[1]);
	assert_int_equal(status(f), S_RUNNING);
	vd_kick(vd, 1);		/* nothing is served there */
	vd_pump(vd, 0);
	assert_int_equal(f->d->kicks[1], 1);

	/* It begins anew, with another size. */
	vd_ring_init(vd, 1, 16);
	vd_queue(vd, 1);
	assert_true(f->d->on[1]);
	for (int i = 0; i < 20; i++) {
		vd_add(vd, 1, &(struct vq_seg){ VD_DATA, 8 }, 1, 0);
		vd_kick(vd, 1);
		vd_wait(vd, 1);
	}

	/* Now the one that is busy: it waits for these, and asks for nothing but their end. */
	f->d->let_go_when_cancelled = true;
	queue_reset(f, 0, 1);
	assert_int_equal(vd_get(vd, QUEUE_RESET), 0);
	assert_int_equal(f->d->inflight, 0);
	assert_int_equal(f->d->queue_cancels[0], 1);
	assert_int_equal(f->d->cancels, 0);
	assert_true(!f->d->on[0] && f->d->on[1]);
	assert_int_equal(status(f), S_RUNNING);
	vd_set(vd, VIRTIO_MMIO_STATUS, 0);
	assert_false(f->d->on[1]);
}

static void resetting_takes_longer(void **state)
{
	struct fixture *f = *state;
	struct vdriver *vd = &f->vd;

	vd_start(vd, VD_F_MODERN | F_RESET, 2, 8);
	f->d->let_go = false;
	vd_add(vd, 0, &(struct vq_seg){ VD_DATA, 8 }, 1, 0);
	vd_kick(vd, 0);
	vd_pump(vd, 0);
	queue_reset(f, 0, 1);
	/* Still at it: the driver goes on asking. It cannot start the queue; the other works. */
	assert_int_equal(vd_get(vd, QUEUE_RESET), 1);
	assert_int_equal(status(f), S_RUNNING);
	vd_ring_init(vd, 0, 8);
	vd_queue(vd, 0);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_QUEUE_READY), 0);
	vd_add(vd, 1, &(struct vq_seg){ VD_DATA, 8 }, 1, 0);
	vd_kick(vd, 1);
	vd_wait(vd, 1);

	f->d->let_go = true;
	vd_set(vd, VIRTIO_MMIO_QUEUE_SEL, 0);
	assert_int_equal(vd_get(vd, QUEUE_RESET), 0);
	vd_queue(vd, 0);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_QUEUE_READY), 1);
	assert_int_equal(vd_get(vd, QUEUE_RESET), 0);

	/* A reset of the device ends one of a queue, too. */
	f->d->let_go = false;
	vd_add(vd, 0, &(struct vq_seg){ VD_DATA, 8 }, 1, 0);
	vd_kick(vd, 0);
	vd_pump(vd, 0);
	queue_reset(f, 0, 1);
	assert_int_equal(vd_get(vd, QUEUE_RESET), 1);
	f->d->let_go = true;
	vd_set(vd, VIRTIO_MMIO_STATUS, 0);
	vd_set(vd, VIRTIO_MMIO_QUEUE_SEL, 0);
	assert_int_equal(vd_get(vd, QUEUE_RESET), 0);
	vd_start(vd, VD_F_MODERN, 2, 8);
}

static void resetting_must_be_agreed_on(void **state)
{
	struct fixture *f = *state;
	struct vdriver *vd = &f->vd;

	queue_reset(f, 1, 1);		/* no driver yet */
	vd_start(vd, VD_F_MODERN, 2, 8);
	queue_reset(f, 1, 1);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_QUEUE_READY), 1);
	assert_true(f->d->on[1]);
}

static void offers(void **state)
{
	struct fixture *f = *state;

	/* Packed rings and a device that says that it keeps the order. */
	assert_int_equal(vd_features(&f->vd), VD_F_ALL | DEVICE_FEATURE | F_RESET | VD_F_PACKED |
			 VD_F_IN_ORDER);
	for (int i = 0; i < 4; i++) {
		uint64_t features = VD_F_MODERN | (i & 1 ? VD_F_PACKED : 0) |
				    (i & 2 ? VD_F_IN_ORDER : 0);

		vd_start(&f->vd, features, 2, 8);
		assert_int_equal(f->d->dev.queue[1].vq.packed, i & 1);
		for (int j = 0; j < 20; j++) {
			vd_add(&f->vd, 1, &(struct vq_seg){ VD_DATA, 8 }, 1, 0);
			vd_add(&f->vd, 1, &(struct vq_seg){ VD_DATA, 8 }, 1, 1);
			vd_kick(&f->vd, 1);
			vd_wait(&f->vd, 1);
			vd_wait(&f->vd, 1);
		}
	}
	assert_int_equal(vd_negotiate(&f->vd, VD_F_MODERN | VD_F_PACKED | VD_F(38)),
			 S_ACK | S_DRIVER);	/* NOTIFICATION_DATA */
}

static void offers_with_a_limit(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(vd_features(&f->vd), VD_F_MODERN | VD_F(VIRTIO_RING_F_INDIRECT_DESC));
	assert_int_equal(vd_negotiate(&f->vd, VD_F_MODERN | VD_F_PACKED), S_ACK | S_DRIVER);
}

static void configuration_writes(void **state)
{
	struct fixture *f = *state;
	struct vdriver *vd = &f->vd;

	vd_start(vd, VD_F_MODERN, 2, 8);
	vd_access(vd, 0x100, 0x12345678, 4, true);
	assert_int_equal(f->d->writes, 1);
	assert_int_equal(f->d->written, 0x12345678);
	assert_int_equal(f->d->written_off, 0);
	assert_int_equal(f->d->written_len, 4);
	vd_access(vd, 0x106, 0x4321, 2, true);
	assert_int_equal(f->d->written, 0x4321);
	assert_int_equal(f->d->written_off, 6);
	assert_int_equal(f->d->written_len, 2);
	vd_access(vd, 0x109, 0xab, 1, true);
	assert_int_equal(f->d->written, 0xab);
	assert_int_equal(f->d->writes, 3);
	/* Beyond the end, in part or in full, not aligned, too wide. */
	vd_access(vd, 0x108, 0, 4, true);
	vd_access(vd, 0x10a, 0, 1, true);
	vd_access(vd, 0x1fc, 0, 4, true);
	vd_access(vd, 0x101, 0, 2, true);
	vd_access(vd, 0x102, 0, 4, true);
	vd_access(vd, 0x100, 0, 8, true);
	assert_int_equal(f->d->writes, 3);
	assert_int_equal(vd_access(vd, 0x100, 0, 1, false), 0x10);	/* what it makes of it */
}

static void *run_loop(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void *kick_hard(void *arg)
{
	struct vdriver *vd = arg;

	for (int i = 0; i < 20000; i++)
		vd_kick(vd, i & 1);
	return NULL;
}

/* Resets on one vCPU, kicks from another, and the loop's thread at work between them. */
static void reset_under_load(void **state)
{
	struct fixture *f = *state;
	struct vdriver *vd = &f->vd;
	pthread_t loop, kicker;

	f->d->let_go = true;
	assert_int_equal(pthread_create(&loop, NULL, run_loop, &vd->loop), 0);
	assert_int_equal(pthread_create(&kicker, NULL, kick_hard, vd), 0);
	for (int i = 0; i < 200; i++) {
		vd_start(vd, VD_F_MODERN, 2, 8);
		for (int j = 0; j < 4; j++) {
			vd_add(vd, 0, &(struct vq_seg){ VD_DATA, 8 }, 1, 0);
			vd_add(vd, 1, &(struct vq_seg){ VD_DATA, 8 }, 1, 0);
		}
		vd_kick(vd, 1);
		vd_set(vd, VIRTIO_MMIO_STATUS, 0);
		assert_int_equal(status(f), 0);
		assert_int_equal(f->d->inflight, 0);
		/* Nothing is written after a reset. */
		memset(vd->ring[1].used, 0xa5, 64);
		usleep(50);
		assert_int_equal(vd->ring[1].used->idx, 0xa5a5);
	}
	pthread_join(kicker, NULL);
	loop_stop(&vd->loop);
	pthread_join(loop, NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define Q(name) cmocka_unit_test_setup_teardown(name, setup_queues, teardown)
	const struct CMUnitTest tests[] = {
		T(identification), T(widths), T(negotiation),
		cmocka_unit_test_setup_teardown(negotiation_in_realm, setup_realm, teardown),
		T(status_rules), T(queue_registers), T(queue_of_bad_size), T(kicks),
		T(buffers_before_driver_ok), T(interrupts), T(broken_queue), T(reset_cancels),
		T(reset_gives_up), T(stopping_a_queue_drains), T(reset_under_load),
		Q(resetting_one_queue), Q(resetting_takes_longer), Q(resetting_must_be_agreed_on),
		Q(configuration_writes),
		cmocka_unit_test_setup_teardown(offers, setup_packed, teardown),
		cmocka_unit_test_setup_teardown(offers_with_a_limit, setup_limited, teardown),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
