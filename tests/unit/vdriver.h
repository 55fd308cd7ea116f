/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plays the guest in plain memory: its RAM, its virtqueues and, through the register window, its
 * virtio-mmio driver. The one thread of a test is vCPU and event loop in turn.
 *
 * RAM is two adjacent regions, so that a buffer can straddle them. In a realm bit 32 of an address
 * is the shared bit, all of RAM is shared but for the private range that a test sets.
 *
 * Whether its rings are split or packed is what was negotiated; vd_add(), vd_used(), vd_wait() and
 * vd_wants_kick() do not differ, so that a test of a device can run on both.
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
#define VD_QUEUES	12
#define VD_RING_MAX	1024	/* entries, so that the rings fit below VD_DATA */
#define VD_F(bit)	(1ULL << (bit))
#define VD_F_MODERN	(VD_F(VIRTIO_F_VERSION_1) | VD_F(VIRTIO_F_ACCESS_PLATFORM))
#define VD_F_ALL	(VD_F_MODERN | VD_F(VIRTIO_RING_F_EVENT_IDX) | \
			 VD_F(VIRTIO_RING_F_INDIRECT_DESC))
#define VD_F_PACKED	VD_F(VIRTIO_F_RING_PACKED)
#define VD_F_IN_ORDER	VD_F(VIRTIO_F_IN_ORDER)

/**
 * struct vd_ring - the driver's side of a ring
 * @desc, @avail, @used: of a split ring
 * @pdesc, @driver_event, @device_event: of a packed one
 * @next_desc: vd_add() takes descriptors from here on, of those that are not @busy
 * @last_used: split: index; packed: entry, from 0 to 2 * num - 1 as in struct vq
 * @next_avail: packed: the entry that vd_add() fills next, counted likewise
 * @kicked:   what had been made available at the last vd_wants_kick()
 * @slots, @in_len: by id, of chains that are out; slots 0: not out
 * @order:    ids of vd_add(), oldest first
 * @batch:    in order: chains that the last used entry stands for and vd_used() has not told yet
 */
struct vd_ring {
	uint16_t num;
	bool packed, event_idx, in_order;
	ipa_t desc_ipa, avail_ipa, used_ipa;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	struct vring_packed_desc *pdesc;
	struct vring_packed_desc_event *driver_event, *device_event;
	uint16_t next_desc;
	uint32_t last_used, next_avail, kicked;
	bool busy[VD_RING_MAX];
	uint16_t slots[VD_RING_MAX];
	uint32_t in_len[VD_RING_MAX];
	uint16_t order[VD_RING_MAX];
	uint32_t order_head, order_tail;
	uint32_t batch, batch_len;
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
	uint64_t features;		/* of the rings, that vd_ring_init() follows */
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

/** vd_ring_init() - lay out queue @q with @num entries, all zero; of the kind in vd->features */
void vd_ring_init(struct vdriver *vd, unsigned int q, uint16_t num);
/** vd_features() - the 64 bits that the device offers */
uint64_t vd_features(struct vdriver *vd);
/** vd_negotiate() - reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK; returns the status */
uint32_t vd_negotiate(struct vdriver *vd, uint64_t features);
/** vd_queue() - tell the device about queue @q (after vd_ring_init()) and make it ready */
void vd_queue(struct vdriver *vd, unsigned int q);
/** vd_start() - all of it: negotiate, @nr queues of @num entries, DRIVER_OK */
void vd_start(struct vdriver *vd, uint64_t features, unsigned int nr, uint16_t num);

/** vd_desc() - fill one descriptor of a split ring */
void vd_desc(struct vdriver *vd, unsigned int q, uint16_t i, ipa_t addr, uint32_t len,
	     uint16_t flags, uint16_t next);
/**
 * vd_packed_desc() - fill one descriptor of a packed ring and make it available
 * @pos: entry, from 0 to 2 * num - 1
 */
void vd_packed_desc(struct vdriver *vd, unsigned int q, uint32_t pos, ipa_t addr, uint32_t len,
		    uint16_t flags, uint16_t id);
/** vd_offer() - make a head of a split ring available, without a kick */
void vd_offer(struct vdriver *vd, unsigned int q, uint16_t head);
/** vd_add() - offer a chain of @nr segments, the first @out of them readable; returns its head */
uint16_t vd_add(struct vdriver *vd, unsigned int q, const struct vq_seg *seg, unsigned int nr,
		unsigned int out);
/** vd_add_indirect() - the same with all segments in a table at @table, 16 bytes each */
uint16_t vd_add_indirect(struct vdriver *vd, unsigned int q, const struct vq_seg *seg,
			 unsigned int nr, unsigned int out, ipa_t table);
/** vd_wants_kick() - does the device ask for a kick for what was added since the last call? */
bool vd_wants_kick(struct vdriver *vd, unsigned int q);
/** vd_ask_irq() - have the device interrupt with the next used chain, or (@on false) not at all */
void vd_ask_irq(struct vdriver *vd, unsigned int q, bool on);
/** vd_kick() - through the QueueNotify register */
void vd_kick(struct vdriver *vd, unsigned int q);
/** vd_pump() - serve the loop until nothing happens for @quiet_ms */
void vd_pump(struct vdriver *vd, int quiet_ms);
/** vd_used() - next used element if there is one */
bool vd_used(struct vdriver *vd, unsigned int q, struct vring_used_elem *elem);
/** vd_wait() - serve the loop until there is a used element; fails the test after 10 s */
struct vring_used_elem vd_wait(struct vdriver *vd, unsigned int q);

#endif
