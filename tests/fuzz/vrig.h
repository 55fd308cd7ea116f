/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtio device and a driver that does what the input says: writes registers, offers chains, good
 * and bad ones, kicks, has the device's loop run, turns pages private under it and shared again.
 * The one thread of a target is vCPU, loop and whoever is at the host's end in turn.
 *
 * Memory that is private cannot be touched by this process at all, nor what lies around the guest's
 * RAM: a device that does crashes the target. All else the sanitizers see.
 */
#ifndef TESTS_FUZZ_VRIG_H
#define TESTS_FUZZ_VRIG_H

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "tests/fuzz/fuzz.h"
#include "virtio/dev.h"
#include "vmm/core/err.h"

struct pbus;
struct virtio_pci;

#define RIG_PAGE	UINT64_C(4096)
#define RIG_RAM		UINT64_C(0x80000000)
#define RIG_RAM_SIZE	UINT64_C(0x30000)
#define RIG_RAM2	(RIG_RAM + RIG_RAM_SIZE)
#define RIG_RAM2_SIZE	UINT64_C(0x10000)
#define RIG_SIZE	(RIG_RAM_SIZE + RIG_RAM2_SIZE)
#define RIG_PAGES	(RIG_SIZE / RIG_PAGE)
#define RIG_RING	UINT64_C(0x2000)	/* of queue q at RAM + q of these */
#define RIG_QUEUES	12
#define RIG_DATA	(RIG_RAM + RIG_QUEUES * RIG_RING)
#define RIG_DATA_SIZE	(RIG_SIZE - RIG_QUEUES * RIG_RING)
#define RIG_SHARED	(UINT64_C(1) << 32)
#define RIG_WINDOW	UINT64_C(0x3000000)
#define RIG_F(bit)	(UINT64_C(1) << (bit))

struct vrig;

/**
 * struct vrig_kind - a device
 * @make:    make r->dev, of the input as all that is; none is no failure
 * @fill:    write what a chain of queue @q begins with into @buf; returns how much; NULL: input
 * @host:    something happens at the host's end; may be NULL
 * @gone:    free what @make made, after the device
 * @no_realm: there is none of it in a realm
 * @pci:     on the PCI bus; else behind virtio-mmio
 */
struct vrig_kind {
	void (*make)(struct vrig *r, struct input *how);
	size_t (*fill)(struct vrig *r, struct input *in, unsigned int q, uint8_t *buf, size_t room);
	void (*host)(struct vrig *r, struct input *in);
	void (*gone)(struct vrig *r);
	bool no_realm, pci;
};

/** struct vrig_ring - the driver's side of a queue; @last_used, @next: counted as in struct vq */
struct vrig_ring {
	ipa_t desc, driver, device;
	uint16_t num, free, avail;
	uint32_t next;
};

struct vrig {
	const struct vrig_kind *kind;
	struct gmem gm;
	struct mmio_bus *bus, own_bus;
	struct loop loop;
	struct irq_line irq;
	struct virtio_env env;
	struct virtio_dev *dev;
	struct virtio_mmio *mmio;
	struct pbus *pb;
	struct virtio_pci *pci;
	uint8_t *ram;
	bool is_private[RIG_PAGES];
	bool realm, packed;
	uint64_t accepted;
	unsigned int irqs, nr_queues;
	struct vrig_ring ring[RIG_QUEUES];
	void *ctx;		/* of the kind */
};

/** vrig_run() - all of it, for LLVMFuzzerTestOneInput() */
void vrig_run(const struct vrig_kind *kind, const uint8_t *data, size_t size);

/* ---- the pieces ---- */

/** vrig_memory() - guest memory, loop, all shared and zero; vrig_memory_end() the opposite */
void vrig_memory(struct vrig *r, bool realm);
void vrig_memory_end(struct vrig *r);
/** vrig_put() - the driver writes to its memory; where it is not shared nothing happens */
void vrig_put(struct vrig *r, ipa_t ipa, const void *buf, size_t len);
/** vrig_convert() - a page turns private or shared; requests in flight may prevent it */
void vrig_convert(struct vrig *r, unsigned int page, bool private);
/** vrig_access() - an access of a vCPU */
uint64_t vrig_access(struct vrig *r, ipa_t ipa, uint64_t val, unsigned int len, bool write);
/** vrig_pump() - the loop serves what is ready, for a while */
void vrig_pump(struct vrig *r);

/** vrig_lay() - lay out a ring of @num entries, empty */
void vrig_lay(struct vrig *r, unsigned int q, uint16_t num);
/** vrig_chain() - offer a chain: from the input, with @head in front of what the device reads */
void vrig_chain(struct vrig *r, struct input *in, unsigned int q, const uint8_t *head, size_t len);
/** vrig_poke() - a few bytes of the input somewhere into memory, rings for preference */
void vrig_poke(struct vrig *r, struct input *in);

/* ---- seeds: actions of vrig_run() in words ---- */

/** struct vrig_seed - an input that grows */
struct vrig_seed {
	uint8_t buf[4096];
	size_t len;
};

/** vrig_seed_start() - the device and its rings; @how: bytes for make() */
void vrig_seed_start(struct vrig_seed *s, bool realm, bool packed, const void *how, size_t len);
/**
 * vrig_seed_chain() - one chain
 * @fill:  bytes that fill() takes, or what the device reads
 * @out:   lengths of what follows the head, 0 ends; @in: of what the device writes
 */
void vrig_seed_chain(struct vrig_seed *s, unsigned int q, const void *fill, size_t len,
		    const uint16_t *out, const uint16_t *in);
/** vrig_seed_bytes() - raw */
void vrig_seed_bytes(struct vrig_seed *s, const void *p, size_t len);
void vrig_seed_kick(struct vrig_seed *s, unsigned int q);
void vrig_seed_wait(struct vrig_seed *s);
void vrig_seed_host(struct vrig_seed *s, const void *p, size_t len);
void vrig_seed_private(struct vrig_seed *s, unsigned int page, bool private);
void vrig_seed_restart(struct vrig_seed *s, uint64_t decline);
void vrig_seed_config(struct vrig_seed *s, uint16_t off, uint32_t val);
/** vrig_seed_rest() - one action of each kind that has no function above */
void vrig_seed_rest(struct vrig_seed *s);
void vrig_seed_end(struct vrig_seed *s, const char *name);

#endif
