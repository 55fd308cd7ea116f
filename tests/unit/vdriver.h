/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plays the guest in plain memory: its RAM, its virtqueues and, through the register window, its
 * virtio-mmio driver. The one thread of a test is vCPU and event loop in turn.
 *
 * RAM is two adjacent regions, so that a buffer can straddle them. In a realm bit 32 of an address
 * is the shared bit, all of RAM is shared but for the private range that a test sets.
 */
#ifndef TESTS_VDRIVER_H
#define TESTS_VDRIVER_H

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

#include "virtio/virtio.h"
#include "virtio/vq.h"
#include "vmm/core/err.h"

#define VD_RAM		0x80000000ULL
#define VD_RAM_SIZE	(8ULL << 20)
#define VD_RAM2		(VD_RAM + VD_RAM_SIZE)
#define VD_RAM2_SIZE	(1ULL << 20)
#define VD_SHARED	(1ULL << 32)
#define VD_WINDOW	0x3000000ULL
#define VD_DATA		(VD_RAM + 0x100000)	/* free for the test, up to the end of RAM */
#define VD_QUEUES	4
#define VD_F(bit)	(1ULL << (bit))
#define VD_F_MODERN	(VD_F(VIRTIO_F_VERSION_1) | VD_F(VIRTIO_F_ACCESS_PLATFORM))
#define VD_F_ALL	(VD_F_MODERN | VD_F(VIRTIO_RING_F_EVENT_IDX) | \
			 VD_F(VIRTIO_RING_F_INDIRECT_DESC))

/** struct vd_ring - the driver's side of a split ring */
struct vd_ring {
	uint16_t num;
	ipa_t desc_ipa, avail_ipa, used_ipa;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t next_desc;	/* vd_add() takes descriptors from here on */
	uint16_t last_used;
};

struct vdriver {
	struct gmem gm;
	struct mmio_bus bus;
	struct loop loop;
	struct irq_line irq;
	_Atomic unsigned int irqs;
	struct virtio_env env;
	uint8_t *ram;
	bool realm;
	ipa_t private_base;
	uint64_t private_len;
	struct virtio_dev *dev;
	struct virtio_mmio *mmio;
	struct vd_ring ring[VD_QUEUES];
};

/** vd_init() - RAM, loop, bus; all zero */
void vd_init(struct vdriver *vd, bool realm);
/** vd_destroy() - the opposite; stops and frees the device that vd_attach() got, too */
void vd_destroy(struct vdriver *vd);
/** vd_attach() - put a device behind the register window */
void vd_attach(struct vdriver *vd, struct virtio_dev *dev);
/** vd_ptr() - where an address lies in this process */
void *vd_ptr(struct vdriver *vd, ipa_t ipa);

/** vd_access() - one access of the guest to the register window */
uint64_t vd_access(struct vdriver *vd, uint64_t off, uint64_t val, unsigned int len, bool write);
uint32_t vd_get(struct vdriver *vd, uint64_t off);
void vd_set(struct vdriver *vd, uint64_t off, uint32_t val);

/** vd_ring_init() - lay out queue @q with @num entries, all zero */
void vd_ring_init(struct vdriver *vd, unsigned int q, uint16_t num);
/** vd_features() - the 64 bits that the device offers */
uint64_t vd_features(struct vdriver *vd);
/** vd_negotiate() - reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK; returns the status */
uint32_t vd_negotiate(struct vdriver *vd, uint64_t features);
/** vd_queue() - tell the device about queue @q (after vd_ring_init()) and make it ready */
void vd_queue(struct vdriver *vd, unsigned int q);
/** vd_start() - all of it: negotiate, @nr queues of @num entries, DRIVER_OK */
void vd_start(struct vdriver *vd, uint64_t features, unsigned int nr, uint16_t num);

/** vd_desc() - fill one descriptor */
void vd_desc(struct vdriver *vd, unsigned int q, uint16_t i, ipa_t addr, uint32_t len,
	     uint16_t flags, uint16_t next);
/** vd_offer() - make a head available, without a kick */
void vd_offer(struct vdriver *vd, unsigned int q, uint16_t head);
/** vd_add() - offer a chain of @nr segments, the first @out of them readable; returns its head */
uint16_t vd_add(struct vdriver *vd, unsigned int q, const struct vq_seg *seg, unsigned int nr,
		unsigned int out);
/** vd_kick() - through the QueueNotify register */
void vd_kick(struct vdriver *vd, unsigned int q);
/** vd_pump() - serve the loop until nothing happens for @quiet_ms */
void vd_pump(struct vdriver *vd, int quiet_ms);
/** vd_used() - next used element if there is one */
bool vd_used(struct vdriver *vd, unsigned int q, struct vring_used_elem *elem);
/** vd_wait() - serve the loop until there is a used element; fails the test after 10 s */
struct vring_used_elem vd_wait(struct vdriver *vd, unsigned int q);

#endif
