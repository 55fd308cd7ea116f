// SPDX-License-Identifier: BSD-3-Clause
#include "tests/unit/vdriver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

static ipa_t canonical(const void *ctx, ipa_t ipa)
{
	return ipa & ~VD_SHARED;
}

static bool shared(const void *ctx, ipa_t ipa, uint64_t len)
{
	const struct vdriver *vd = ctx;

	return ipa >= vd->private_base + vd->private_len || vd->private_base >= ipa + len;
}

static void count_irq(struct irq_line *line, int level)
{
	struct vdriver *vd = line->ctx;

	if (level)
		vd->irqs++;
}

void vd_init(struct vdriver *vd, bool realm)
{
	struct err e;

	memset(vd, 0, sizeof(*vd));
	vd->realm = realm;
	assert_int_equal(gmem_init(&vd->gm, &e), 0);
	assert_int_equal(loop_init(&vd->loop, &e), 0);
	vd->ram = mmap(NULL, VD_RAM_SIZE + VD_RAM2_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(vd->ram, MAP_FAILED);
	assert_int_equal(gmem_add(&vd->gm, VD_RAM, VD_RAM_SIZE, vd->ram, -1, &e), 0);
	assert_int_equal(gmem_add(&vd->gm, VD_RAM2, VD_RAM2_SIZE, vd->ram + VD_RAM_SIZE, -1, &e),
			 0);
	if (realm)
		gmem_set_guard(&vd->gm, &(struct gmem_guard){ canonical, shared, vd });
	vd->irq = (struct irq_line){ .set = count_irq, .ctx = vd };
	vd->env = (struct virtio_env){ &vd->gm, &vd->loop, realm };
}

void vd_destroy(struct vdriver *vd)
{
	if (vd->dev) {
		virtio_dev_stop(vd->dev);
		virtio_mmio_free(vd->mmio);
		virtio_dev_free(vd->dev);
	}
	assert_null(vd->gm.pins);	/* each request gave its memory back */
	loop_destroy(&vd->loop);
	gmem_destroy(&vd->gm);
	munmap(vd->ram, VD_RAM_SIZE + VD_RAM2_SIZE);
}

void vd_attach(struct vdriver *vd, struct virtio_dev *dev)
{
	struct err e;

	vd->dev = dev;
	assert_int_equal(virtio_mmio_new(dev, &vd->bus, VD_WINDOW, &vd->irq, &vd->mmio, &e), 0);
}

void *vd_ptr(struct vdriver *vd, ipa_t ipa)
{
	ipa &= ~VD_SHARED;
	assert_in_range(ipa, VD_RAM, VD_RAM2 + VD_RAM2_SIZE - 1);
	return vd->ram + (ipa - VD_RAM);
}

uint64_t vd_access(struct vdriver *vd, uint64_t off, uint64_t val, unsigned int len, bool write)
{
	uint8_t data[8];
	uint64_t out = 0;

	memcpy(data, &val, sizeof(data));
	assert_true(mmio_access(&vd->bus, VD_WINDOW + off, data, len, write));
	memcpy(&out, data, len);
	return out;
}

uint32_t vd_get(struct vdriver *vd, uint64_t off)
{
	return vd_access(vd, off, 0, 4, false);
}

void vd_set(struct vdriver *vd, uint64_t off, uint32_t val)
{
	vd_access(vd, off, val, 4, true);
}

void vd_ring_init(struct vdriver *vd, unsigned int q, uint16_t num)
{
	struct vd_ring *r = &vd->ring[q];
	ipa_t base = VD_RAM + 0x10000 * (q + 1);

	assert_true(num <= 1024);
	memset(r, 0, sizeof(*r));
	r->num = num;
	r->desc_ipa = base;
	r->avail_ipa = base + 0x8000;
	r->used_ipa = base + 0xc000;
	r->desc = vd_ptr(vd, r->desc_ipa);
	r->avail = vd_ptr(vd, r->avail_ipa);
	r->used = vd_ptr(vd, r->used_ipa);
	memset(r->desc, 0, 0x10000);
}

uint64_t vd_features(struct vdriver *vd)
{
	uint64_t f;

	vd_set(vd, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	f = (uint64_t)vd_get(vd, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	vd_set(vd, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	return f | vd_get(vd, VIRTIO_MMIO_DEVICE_FEATURES);
}

uint32_t vd_negotiate(struct vdriver *vd, uint64_t features)
{
	uint32_t s = 0;

	vd_set(vd, VIRTIO_MMIO_STATUS, 0);
	vd_set(vd, VIRTIO_MMIO_STATUS, s |= VIRTIO_CONFIG_S_ACKNOWLEDGE);
	vd_set(vd, VIRTIO_MMIO_STATUS, s |= VIRTIO_CONFIG_S_DRIVER);
	vd_set(vd, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	vd_set(vd, VIRTIO_MMIO_DRIVER_FEATURES, features);
	vd_set(vd, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	vd_set(vd, VIRTIO_MMIO_DRIVER_FEATURES, features >> 32);
	vd_set(vd, VIRTIO_MMIO_STATUS, s | VIRTIO_CONFIG_S_FEATURES_OK);
	return vd_get(vd, VIRTIO_MMIO_STATUS);
}

void vd_queue(struct vdriver *vd, unsigned int q)
{
	const struct vd_ring *r = &vd->ring[q];
	/* As Linux does it in a realm: the addresses that it gives out are shared ones. */
	ipa_t s = vd->realm ? VD_SHARED : 0;

	vd_set(vd, VIRTIO_MMIO_QUEUE_SEL, q);
	vd_set(vd, VIRTIO_MMIO_QUEUE_NUM, r->num);
	vd_set(vd, VIRTIO_MMIO_QUEUE_DESC_LOW, r->desc_ipa | s);
	vd_set(vd, VIRTIO_MMIO_QUEUE_DESC_HIGH, (r->desc_ipa | s) >> 32);
	vd_set(vd, VIRTIO_MMIO_QUEUE_AVAIL_LOW, r->avail_ipa | s);
	vd_set(vd, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (r->avail_ipa | s) >> 32);
	vd_set(vd, VIRTIO_MMIO_QUEUE_USED_LOW, r->used_ipa | s);
	vd_set(vd, VIRTIO_MMIO_QUEUE_USED_HIGH, (r->used_ipa | s) >> 32);
	vd_set(vd, VIRTIO_MMIO_QUEUE_READY, 1);
}

void vd_start(struct vdriver *vd, uint64_t features, unsigned int nr, uint16_t num)
{
	uint32_t s = vd_negotiate(vd, features);

	assert_true(s & VIRTIO_CONFIG_S_FEATURES_OK);
	for (unsigned int q = 0; q < nr; q++) {
		vd_ring_init(vd, q, num);
		vd_queue(vd, q);
		assert_int_equal(vd_get(vd, VIRTIO_MMIO_QUEUE_READY), 1);
	}
	vd_set(vd, VIRTIO_MMIO_STATUS, s | VIRTIO_CONFIG_S_DRIVER_OK);
	assert_true(vd_get(vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_DRIVER_OK);
}

void vd_desc(struct vdriver *vd, unsigned int q, uint16_t i, ipa_t addr, uint32_t len,
	     uint16_t flags, uint16_t next)
{
	vd->ring[q].desc[i] = (struct vring_desc){ addr, len, flags, next };
}

void vd_offer(struct vdriver *vd, unsigned int q, uint16_t head)
{
	struct vd_ring *r = &vd->ring[q];
	uint16_t idx = __atomic_load_n(&r->avail->idx, __ATOMIC_RELAXED);

	r->avail->ring[idx % r->num] = head;
	/* Release: the descriptors and the entry come first. */
	__atomic_store_n(&r->avail->idx, idx + 1, __ATOMIC_RELEASE);
}

uint16_t vd_add(struct vdriver *vd, unsigned int q, const struct vq_seg *seg, unsigned int nr,
		unsigned int out)
{
	struct vd_ring *r = &vd->ring[q];
	uint16_t head = r->next_desc % r->num;

	for (unsigned int i = 0; i < nr; i++) {
		uint16_t at = r->next_desc++ % r->num;

		vd_desc(vd, q, at, seg[i].addr, seg[i].len,
			(i >= out ? VRING_DESC_F_WRITE : 0) | (i + 1 < nr ? VRING_DESC_F_NEXT : 0),
			(at + 1) % r->num);
	}
	vd_offer(vd, q, head);
	return head;
}

void vd_kick(struct vdriver *vd, unsigned int q)
{
	vd_set(vd, VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

void vd_pump(struct vdriver *vd, int quiet_ms)
{
	while (loop_once(&vd->loop, quiet_ms) > 0)
		;
}

bool vd_used(struct vdriver *vd, unsigned int q, struct vring_used_elem *elem)
{
	struct vd_ring *r = &vd->ring[q];

	/* Acquire: the entry and the data are read after the index. */
	if (__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) == r->last_used)
		return false;
	*elem = r->used->ring[r->last_used++ % r->num];
	return true;
}

struct vring_used_elem vd_wait(struct vdriver *vd, unsigned int q)
{
	struct vring_used_elem elem = { 0 };
	struct timespec ts;
	time_t end;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	end = ts.tv_sec + 10;
	while (!vd_used(vd, q, &elem)) {
		assert_true(loop_once(&vd->loop, 100) >= 0);
		clock_gettime(CLOCK_MONOTONIC, &ts);
		if (ts.tv_sec > end)
			fail_msg("queue %u: nothing came back", q);
	}
	return elem;
}
