/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtqueues (virtio 1.2, sections 2.6 to 2.8). A device takes chains of buffers from a queue and
 * gives them back; it knows neither the layout of the ring, split or packed, nor the transport.
 *
 * All work happens in a section: vq_begin(), any number of vq_pop() and vq_push(), vq_end().
 * Ring memory is mapped through gmem's door anew for each section, so a ring whose pages turn
 * private is noticed, and no pointer survives. vq_end() publishes what was pushed, all of it at
 * once, and interrupts the guest if it wants that.
 *
 * What a guest can do wrong, and what comes of it:
 *  - a malformed ring (an index that jumps, a chain that loops, ...): the queue is broken for
 *    good, the device asks for a reset;
 *  - a buffer address that cannot be used: the request fails, nothing else.
 * Memory that is lost in the middle of an access (see gmem.h) ends in the same two ways. A device
 * that uses pointers from gmem_map() asks gmem_check() before it pushes; if it does not, and was
 * hit, vq_end() breaks the queue rather than publish.
 *
 * A queue belongs to one thread at a time: whoever holds the lock that guards it.
 */
#ifndef VIRTIO_VQ_H
#define VIRTIO_VQ_H

#include <stdatomic.h>

#include "vmm/core/gmem.h"
#include "vmm/core/log.h"

/* Largest size of a queue that the specification knows (sections 2.7 and 2.8). */
#define VQ_SIZE_MAX 32768
/* Size offered for a queue unless the device wants another. */
#define VQ_SIZE_DEFAULT 256
/* Most segments of one chain: what fits into one iovec of the kernel (IOV_MAX). */
#define VQ_CHAIN_MAX 1024

struct vq;
struct vq_ring;

/**
 * struct vq_ops - what a queue needs from its device
 * @notify: interrupt the guest: used buffers wait
 * @broken: the guest broke the queue; @why is a static text
 */
struct vq_ops {
	void (*notify)(struct vq *vq);
	void (*broken)(struct vq *vq, const char *why);
};

/** struct vq_seg - a piece of a buffer: address as the guest gave it, length never 0 */
struct vq_seg {
	ipa_t addr;
	uint32_t len;
};

/**
 * struct vq_head - what is needed to give a chain back, however much later
 * @epoch:  of the queue when the chain was taken; another one now: the queue was reset meanwhile
 * @in_len: bytes that may be written, UINT32_MAX at most
 * @id:     the guest's name for the chain
 * @slots:  entries of the ring that it takes up
 * @pos:    where in the ring it was found
 *
 * A device keeps it as it is; only @epoch means something outside of the rings.
 */
struct vq_head {
	uint32_t epoch;
	uint32_t in_len;
	uint16_t id;
	uint16_t slots;
	uint16_t pos;
};

/**
 * struct vq_chain - a chain of buffers
 * @head:    for vq_push()
 * @nr_out:  number of segments that the device reads
 * @nr_in:   number of segments that the device writes
 * @out_len: bytes to read
 * @in_len:  bytes that may be written
 * @seg:     the @nr_out segments to read, then the @nr_in to write; good until the next vq_pop()
 *
 * Addresses do not wrap around but are otherwise unchecked until they pass gmem_map(). A chain
 * that could not be read (its indirect table is private, say) has no segments.
 */
struct vq_chain {
	struct vq_head head;
	uint16_t nr_out, nr_in;
	uint64_t out_len, in_len;
	const struct vq_seg *seg;
};

/** struct vq_part - one of the three pieces of ring memory, for who hands it to a back end */
struct vq_part {
	ipa_t addr;
	uint64_t len;
};

/**
 * struct vq_count - what went through a queue; only grows, a reset leaves it alone
 * @requests:   chains that were taken; those of vq_rewind() count again
 * @from_guest: bytes in their readable parts
 * @to_guest:   bytes written into them
 * @kicks:      the guest asked to look
 * @interrupts: it was told of used buffers
 *
 * Of a queue that a back end outside of realmtool serves only the interrupts pass through here, if
 * any do. Read by any thread.
 */
struct vq_count {
	_Atomic uint64_t requests, from_guest, to_guest, kicks, interrupts;
};

/** vq_count_add() - add to a counter that nobody else writes now */
static inline void vq_count_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/**
 * struct vq - a virtqueue
 *
 * The owner of the queue's lock owns all of it. The transport writes @num and the three addresses
 * while the queue is not @ready; everything else changes in the rings only.
 *
 * A position (@last_avail, @used, @published, @kick_at) counts entries of the ring from 0 to
 * @span - 1 and starts again: in a split ring it is the 16 bit index of the specification, in a
 * packed one it runs through the ring twice, the first time with wrap counter 1, then with 0.
 */
struct vq {
	const struct vq_ops *ops;
	struct gmem *gm;
	const char *name;	/* of the device, for messages */
	uint16_t index;		/* of the queue in its device */
	uint16_t max;		/* largest @num */
	uint16_t num;
	ipa_t desc_addr, driver_addr, device_addr;
	bool ready, broken;

	const struct vq_ring *ring;		/* split or packed */
	bool packed, event_idx, indirect, in_order;	/* features, as negotiated */
	bool kicks_on;			/* the guest has been asked to kick */
	uint16_t avail_idx;		/* split: index of the guest, packed: flags, last seen */
	uint16_t first_flags;		/* packed: flags of the entry at @published, held back */
	uint32_t span;
	uint32_t last_avail;		/* next entry to take */
	uint32_t used;			/* next entry to fill */
	uint32_t published;		/* the guest has seen all before it */
	uint32_t kick_at;		/* entry for which a kick was last asked; VQ_NOWHERE */
	uint32_t inuse;			/* entries taken and not given back */
	uint32_t epoch;			/* counts vq_disable() */

	/* In order: chains that will share one used entry, the one of the last of them. */
	bool batch_open;
	uint16_t batch_id;
	uint32_t batch_pos, batch_len;

	void *desc, *driver, *device;	/* NULL outside of a section */

	struct vq_seg *seg;
	unsigned int seg_room;
	struct vq_count count;
	struct log_rate rate;
};

#define VQ_NOWHERE UINT32_MAX

/** vq_init() - a queue that is not ready; @max: a power of 2 up to VQ_SIZE_MAX */
void vq_init(struct vq *vq, const struct vq_ops *ops, struct gmem *gm, const char *name,
	     uint16_t index, uint16_t max);
/** vq_destroy() - free what the queue holds */
void vq_destroy(struct vq *vq);

/**
 * vq_enable() - the driver has written size and addresses and declares the queue ready
 * @features: as negotiated; RING_PACKED, EVENT_IDX, INDIRECT_DESC and IN_ORDER matter
 *
 * Return: 0, or -EINVAL: size or alignment are wrong; the queue is broken.
 */
int vq_enable(struct vq *vq, uint64_t features);
/** vq_disable() - back to the state after vq_init(); chains still out are forgotten */
void vq_disable(struct vq *vq);

/**
 * vq_parts() - where the ring lies and how long it is: descriptors, driver area, device area
 *
 * Addresses are the guest's, unchecked. The queue is ready.
 */
void vq_parts(const struct vq *vq, struct vq_part part[3]);

/**
 * vq_base() - where the next chain will be taken, as vhost's SET_VRING_BASE wants it
 *
 * Split: the available index. Packed: offset and wrap counter (bit 15) of the next available
 * entry, and in the upper half the same of the next used one. No chain is out.
 */
uint32_t vq_base(const struct vq *vq);
/**
 * vq_set_base() - go on where a back end stopped; @base: as vq_base(), from GET_VRING_BASE
 *
 * The queue is ready, no chain is out, and there is no section. In a split ring the used index is
 * read back from the ring, where the back end left it.
 *
 * Return: 0; -EINVAL: no position of this ring; else as gmem_map(): the queue is broken.
 */
int vq_set_base(struct vq *vq, uint32_t base);

/**
 * vq_begin() - begin a section
 *
 * Return: 0, or -EIO: the queue is not ready or broken; then there is no section to end.
 */
int vq_begin(struct vq *vq);
/** vq_end() - publish what was pushed, interrupt the guest if it asked for it, end the section */
void vq_end(struct vq *vq);

/**
 * vq_pop() - take the next chain
 *
 * When there is none the guest is asked to kick. While there are some it is asked not to.
 *
 * Return: 1; 0: none; -EIO: the queue is broken.
 */
int vq_pop(struct vq *vq, struct vq_chain *c);

/**
 * vq_more() - is there a chain to take? In a section
 *
 * Unlike vq_pop() it does not ask the guest to kick when there is none: for who looks again soon.
 */
bool vq_more(struct vq *vq);
/**
 * vq_ask() - ask for a kick when @n more entries are there, counted from the next chain
 *
 * In a section. As vq_pop() does with 1 when it finds none. Only who looks by itself after a while
 * can ask for more than 1. Without EVENT_IDX it is always 1.
 *
 * Return: true: they are there already, and there may be no kick.
 */
bool vq_ask(struct vq *vq, unsigned int n);

/**
 * vq_rewind() - as if a chain had not been taken, nor any that was taken after it
 * @head: from its vq_pop(); ignored if the queue was reset meanwhile
 *
 * None of them was pushed. The next vq_pop() returns this chain again, as it is in the ring then.
 * Inside a section or outside.
 */
void vq_rewind(struct vq *vq, const struct vq_head *head);

/**
 * vq_push() - give a chain back
 * @head: from its vq_pop(), which may lie sections back; ignored if the queue was reset meanwhile
 * @len:  bytes written into its writable part
 *
 * What is pushed in a section becomes visible to the guest together. With VIRTIO_F_IN_ORDER,
 * which only a device that asked for it meets, chains come back in the order of vq_pop().
 */
void vq_push(struct vq *vq, const struct vq_head *head, uint64_t len);

/**
 * vq_slice() - the segments that make up a part of a chain
 * @in:  of the writable part instead of the readable one
 * @off: offset in that part
 * @len: bytes; @off + @len must lie in the part
 * @out: room for nr_in (or nr_out) segments
 *
 * Return: number of segments.
 */
unsigned int vq_slice(const struct vq_chain *c, bool in, uint64_t off, uint64_t len,
		      struct vq_seg *out);

/**
 * vq_read() - copy from the readable part of a chain, in a section
 *
 * Return: 0; -EINVAL: the part is shorter; else as gmem_map().
 */
int vq_read(struct vq *vq, const struct vq_chain *c, uint64_t off, void *buf, uint64_t len);
/** vq_write() - copy into the writable part of a chain, in a section; errors as vq_read() */
int vq_write(struct vq *vq, const struct vq_chain *c, uint64_t off, const void *buf, uint64_t len);

/** vq_log_addr() - tell the user, rate limited, that an address of the guest was refused */
void vq_log_addr(struct vq *vq, ipa_t addr, uint64_t len, int error);

#endif
