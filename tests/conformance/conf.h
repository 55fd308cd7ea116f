/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The conformance driver: a guest's virtio driver in C that plays each device of realmtool through
 * each transport and both kinds of rings, in plain memory and without KVM. It knows the devices
 * from the specification only (virtio 1.2; sections are named where a property comes from): it
 * shares no code with virtio/ but the headers of the kernel, and reaches a device through registers
 * and guest memory alone. Real are the devices, their transports, the PCI host bridge, the rings,
 * the door to guest memory; played are KVM's interrupts and ioeventfds, and the realm's map of
 * private pages.
 *
 * A test is one property of one device behind one transport with one kind of ring, in a plain VM or
 * in a realm. All of guest memory is watched: a byte that the device was not given and that changed
 * fails the test. The thread of a test is vCPU and event loop in turn, but for the races.
 *
 *	conformance [PATTERN]	tests whose name matches: DEVICE.TRANSPORT.RING.MODE.PROPERTY
 */
#ifndef TESTS_CONFORMANCE_H
#define TESTS_CONFORMANCE_H

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"
#include "virtio/virtio.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"

/*
 * Guest memory. The last page of RAM has nothing behind it. In a realm bit 32 of an address is the
 * shared bit, and the driver sets it in all addresses that it gives to a device, as Linux does.
 */
#define RAM		UINT64_C(0x80000000)
#define RAM_SIZE	UINT64_C(0x200000)
#define RAM_END		(RAM + RAM_SIZE)
#define RINGS		RAM			/* of queue n at + n * RING_ROOM */
#define RING_ROOM	UINT64_C(0x8000)	/* for up to RING_NUM entries */
#define RING_NUM	512
#define DATA		(RAM + 0x80000)		/* for requests */
#define DATA_SIZE	UINT64_C(0x80000)
#define BIG		(RAM + 0x100000)	/* for rings with more entries */
#define PAGE		UINT64_C(4096)
#define SHARED_BIT	(UINT64_C(1) << 32)
#define MAX_QUEUES	16
#define PATIENCE_MS	10000	/* nothing takes that long; a slow machine is no failure */

#define F(bit)		(UINT64_C(1) << (bit))
#ifndef VIRTIO_F_RING_RESET		/* Linux 6.1 */
#define VIRTIO_F_RING_RESET 40
#endif
#ifndef VIRTIO_F_NOTIFICATION_DATA		/* Linux 6.4 */
#define VIRTIO_F_NOTIFICATION_DATA 38
#endif
#define F_NEEDED	(F(VIRTIO_F_VERSION_1) | F(VIRTIO_F_ACCESS_PLATFORM))

#define S_ACK		VIRTIO_CONFIG_S_ACKNOWLEDGE
#define S_DRIVER	VIRTIO_CONFIG_S_DRIVER
#define S_OK		VIRTIO_CONFIG_S_DRIVER_OK
#define S_FEATURES	VIRTIO_CONFIG_S_FEATURES_OK
#define S_NEEDS_RESET	VIRTIO_CONFIG_S_NEEDS_RESET
#define S_FAILED	VIRTIO_CONFIG_S_FAILED

#define D_NEXT		VRING_DESC_F_NEXT
#define D_WRITE		VRING_DESC_F_WRITE
#define D_INDIRECT	VRING_DESC_F_INDIRECT

struct vm;

/** struct irqs - interrupts since the last look; with virtio-mmio those of all queues are one */
struct irqs {
	unsigned int queue, config;
};

/**
 * struct transport - registers as the driver sees them; @q may be any number
 * @attach:   put vm->dev behind it; @detach: the opposite, the device is stopped
 * @setup:    what a driver does before it touches virtio's registers; again after a fuzzing
 * @identify: check everything by which a driver finds the device
 * @queue_reset: as VIRTIO_F_RING_RESET has it
 * @irqs:     count and acknowledge
 * @fuzz:     one access to any of its registers, of any width, at any offset
 */
struct transport {
	const char *name;
	void (*attach)(struct vm *vm);
	void (*detach)(struct vm *vm);
	void (*setup)(struct vm *vm);
	void (*identify)(struct vm *vm);
	uint32_t (*features)(struct vm *vm, uint32_t word);
	void (*accept)(struct vm *vm, uint32_t word, uint32_t bits);
	uint8_t (*status)(struct vm *vm);
	void (*set_status)(struct vm *vm, uint8_t status);
	uint32_t (*queue_max)(struct vm *vm, uint32_t q);
	void (*queue_place)(struct vm *vm, uint32_t q, uint32_t num, ipa_t desc, ipa_t driver,
			    ipa_t device);
	void (*queue_enable)(struct vm *vm, uint32_t q);
	bool (*queue_enabled)(struct vm *vm, uint32_t q);
	void (*queue_reset)(struct vm *vm, uint32_t q);
	void (*kick)(struct vm *vm, uint32_t q);
	uint64_t (*config)(struct vm *vm, uint32_t off, uint64_t val, unsigned int len, bool write);
	uint32_t config_room;		/* bytes that the driver can reach */
	uint32_t (*generation)(struct vm *vm);
	struct irqs (*irqs)(struct vm *vm);
	void (*fuzz)(struct vm *vm, unsigned int *seed);
};

extern const struct transport transport_mmio, transport_pci;

/**
 * struct lane - a queue whose buffers the device takes as soon as it can
 * @in:   it writes into them, else it reads
 * @len:   bytes of a good buffer, at least
 * @poked: only if the host has something for it: kind->poke()
 */
struct lane {
	uint16_t q;
	bool in;
	uint32_t len;
	bool poked;
};

/**
 * struct kind - a device
 * @id:     its number in the specification
 * @queues: how many it must have at least
 * @config_len: bytes of configuration space
 * @lane:   for hostile buffers; ends with a @len of 0
 * @make:   make vm->dev
 * @good:   the driver has started: real work, whose outcome is checked, through all its queues
 * @poke:   give the device a reason to look at queue @q beside the kick; for lanes that need it
 * @change: change the configuration from the host; NULL: cannot change
 * @config_mask: may the driver write byte @off of the configuration? NULL: none
 * @free:   free what make() made, after the device
 * @alone:  good() belongs on the loop's thread
 * @no_realm: there is none of it in a realm
 */
struct kind {
	const char *name;
	uint32_t id;
	unsigned int queues;
	uint32_t config_len;
	struct lane lane[4];
	void (*make)(struct vm *vm);
	void (*good)(struct vm *vm);
	void (*poke)(struct vm *vm, unsigned int q);
	void (*change)(struct vm *vm);
	bool (*config_mask)(uint32_t off);
	void (*free)(struct vm *vm);
	bool alone, no_realm;
};

extern const struct kind kind_blk, kind_blk_thread, kind_blk_mq, kind_console, kind_console_ports;
extern const struct kind kind_net, kind_net_stream, kind_vsock;
extern const struct kind *const kinds[];

/** struct ring - the driver's side of a queue */
struct ring {
	uint32_t num;
	bool packed, event_idx;
	ipa_t desc, driver, device;
	uint16_t avail;			/* split: index; packed: next entry, */
	bool wrap;			/* and its wrap counter */
	uint16_t used;
	bool used_wrap;
	uint32_t added;			/* entries since the last ring_wants_kick() */
	uint16_t free;			/* split: next descriptor to fill */
	uint16_t *slots;		/* packed, by id: entries of a chain that is out */
};

struct vm {
	const struct kind *kind;
	const struct transport *t;
	bool packed, realm;
	struct gmem gm;
	struct mmio_bus bus;
	struct loop loop;
	struct virtio_env env;
	struct virtio_dev *dev;
	uint8_t *map, *ram, *want, *may;
	bool is_private[RAM_SIZE / PAGE], dirty[RAM_SIZE / PAGE];
	uint64_t offered, features;
	unsigned int nr_queues;
	struct ring ring[MAX_QUEUES];
	struct vmio *io;		/* of the transport */
	void *ctx;			/* of the kind */
	unsigned int seed, count;
	const char *doing;		/* for messages */
	bool certain;			/* that a chain has an id */
	_Atomic bool threaded, over;	/* another thread serves the loop */
};

/* ---- machine.c ---- */

struct vm *vm_new(const struct kind *kind, const struct transport *t, bool packed, bool realm);
void vm_free(struct vm *vm);
/** vm_at() - where a canonical address lies in this process */
void *vm_at(struct vm *vm, ipa_t ipa);
/** vm_addr() - an address as the driver gives it to a device */
uint64_t vm_addr(const struct vm *vm, ipa_t ipa);
/** vm_put() - the driver writes to its memory */
void vm_put(struct vm *vm, ipa_t ipa, const void *p, size_t len);
/** vm_put16() - a single store, after all that came before */
void vm_put16(struct vm *vm, ipa_t ipa, uint16_t val);
/** vm_allow() - the device may write there, until the next vm_check() */
void vm_allow(struct vm *vm, ipa_t ipa, uint64_t len);
/** vm_check() - nothing else has changed; from here on nothing may */
void vm_check(struct vm *vm);
/** vm_private() - turn pages of a realm private or shared again */
void vm_private(struct vm *vm, ipa_t ipa, uint64_t len, bool on);
/** vm_io() - one access of a vCPU. Return: what it read */
uint64_t vm_io(struct vm *vm, ipa_t ipa, uint64_t val, unsigned int len, bool write);
/** vm_pump() - let the device work until nothing happens for @quiet_ms */
void vm_pump(struct vm *vm, int quiet_ms);
/** vm_wait() - let the device work until @done says so; false: it never did */
bool vm_wait(struct vm *vm, bool (*done)(struct vm *vm, unsigned int arg), unsigned int arg);
unsigned int vm_random(struct vm *vm);

/* ---- driver.c ---- */

/** drv_reset() - reset, and check memory */
void drv_reset(struct vm *vm);
/** drv_features() - what a sensible driver accepts of what is offered */
uint64_t drv_features(const struct vm *vm);
/** drv_accept() - the two words of features */
void drv_accept(struct vm *vm, uint64_t features);
/** drv_negotiate() - ACKNOWLEDGE, DRIVER, features, FEATURES_OK. Return: is FEATURES_OK set? */
bool drv_negotiate(struct vm *vm, uint64_t features);
/** drv_queue() - lay out a queue of @num entries at @base and enable it */
void drv_queue(struct vm *vm, unsigned int q, uint32_t num, ipa_t base);
/** drv_queues() - all of them; @num 0: 64 entries, or as many as there can be */
void drv_queues(struct vm *vm, uint32_t num);
void drv_ok(struct vm *vm);
/** drv_start() - all of it from the reset on */
void drv_start(struct vm *vm);
/** drv_good() - the device does its work */
void drv_good(struct vm *vm);
/** drv_recover() - reset, start, and the device does its work again */
void drv_recover(struct vm *vm);
/** drv_poke() - the host has something for a lane that waits for it */
void drv_poke(struct vm *vm, const struct lane *l);
bool drv_needs_reset(struct vm *vm, unsigned int unused);

/** struct buf - a piece of a chain; @addr is canonical */
struct buf {
	ipa_t addr;
	uint32_t len;
	bool in;
};

/** struct desc - a descriptor as it is in memory; @next: split only */
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

/** ring_lay() - where the parts of a ring of @num entries are */
void ring_lay(struct vm *vm, unsigned int q, uint32_t num, ipa_t base);
/** ring_allow() - the device may write to its part of a ring (again, after vm_check()) */
void ring_allow(struct vm *vm, unsigned int q);
/** ring_free() - forget what the driver knows of its rings */
void ring_free(struct vm *vm);
/** ring_desc() - fill an entry of a split ring */
void ring_desc(struct vm *vm, unsigned int q, uint16_t i, const struct desc *d);
/** ring_offer() - make a chain of a split ring available */
void ring_offer(struct vm *vm, unsigned int q, uint16_t head);
/**
 * ring_chain() - make descriptors available one after another as they are, good or bad
 *
 * Split: a descriptor whose @next is 0 goes to the one after it, else to entry @next - 1.
 * Return: the id.
 */
uint16_t ring_chain(struct vm *vm, unsigned int q, const struct desc *d, unsigned int nr);
/** ring_add() - a good chain */
uint16_t ring_add(struct vm *vm, unsigned int q, const struct buf *b, unsigned int nr);
/** ring_add_table() - the same through an indirect table at @table */
uint16_t ring_add_table(struct vm *vm, unsigned int q, const struct buf *b, unsigned int nr,
			ipa_t table);
/** ring_used() - take the next used chain if there is one */
bool ring_used(struct vm *vm, unsigned int q, uint16_t *id, uint32_t *len);
/** ring_wants_kick() - does the device ask for a kick for what was added since the last call? */
bool ring_wants_kick(struct vm *vm, unsigned int q);
/** ring_ask_irq() - ask for an interrupt with the @after'th used entry from now, < 0: none */
void ring_ask_irq(struct vm *vm, unsigned int q, int after);
/** ring_wait() - until a chain comes back; fails the test if none does. Return: its length */
uint32_t ring_wait(struct vm *vm, unsigned int q, uint16_t id);
/** ring_do() - add, kick, wait */
uint32_t ring_do(struct vm *vm, unsigned int q, const struct buf *b, unsigned int nr);

/* ---- properties ---- */

#define ON_MMIO		1u
#define ON_PCI		2u
#define ON_SPLIT	4u
#define ON_PACKED	8u
#define IN_VM		16u
#define IN_REALM	32u
#define ANY		(ON_MMIO | ON_PCI | ON_SPLIT | ON_PACKED | IN_VM | IN_REALM)
#define SPLIT_ONLY	(ANY & ~ON_PACKED)
#define PACKED_ONLY	(ANY & ~ON_SPLIT)
#define REALM_ONLY	(ANY & ~IN_VM)

/** struct property - @fn gets a machine with its device, the driver has done nothing yet */
struct property {
	const char *name;
	void (*fn)(struct vm *vm);
	unsigned int where;
};

/* a table for each file, ends with a NULL name */
extern const struct property props_init[], props_queue[], props_ring[], props_config[];
extern const struct property props_race[], props_pci[];

#endif
