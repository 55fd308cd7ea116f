/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtqueues (virtio 1.2, section 2.6 and 2.7). A device takes chains of buffers from a queue and
 * gives them back; it knows neither the layout of the ring nor the transport.
 *
 * All work happens in a section: vq_begin(), any number of vq_pop() and vq_push(), vq_end().
 * Ring memory is mapped through gmem's door anew for each section, so a ring whose pages turn
 * private is noticed, and no pointer survives. vq_end() publishes what was pushed and interrupts
 * the guest if it wants that.
 *
 * What a guest can do wrong, and what comes of it:
 *  - a malformed ring (an index that jumps, a chain that loops, ...): the queue is broken for
 *    good, the device asks for a reset;
 *  - a buffer address that cannot be used: the request fails, nothing else.
 * Memory that is lost in the middle of an access (see gmem.h) ends in the same two ways. A device
 * that uses pointers from gmem_map() asks gmem_check() before it pushes; if it does not, and was
 * hit, vq_end() breaks the queue rather than publish.
 */
#ifndef VIRTIO_VQ_H
#define VIRTIO_VQ_H

#include "vmm/core/gmem.h"
#include "vmm/core/log.h"

/* Largest size of a queue that the specification knows (section 2.7). */
#define VQ_SIZE_MAX 32768
/* Size offered for a queue unless the device wants another. */
#define VQ_SIZE_DEFAULT 256
/* Most segments of one chain: what fits into one iovec of the kernel (IOV_MAX). */
#define VQ_CHAIN_MAX 1024

struct vq;

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

/** struct vq_head - what is needed to give a chain back, however much later */
struct vq_head {
	uint32_t epoch;		/* of the queue when the chain was taken */
	uint16_t id;
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

struct vring_desc;
struct vring_avail;
struct vring_used;

/**
 * struct vq - a virtqueue
 *
 * The owner of the device's lock owns all of it. The transport writes @num and the three addresses
 * while the queue is not @ready; everything else changes in vq.c only.
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

	bool event_idx, indirect;	/* features, as negotiated */
	bool kicks_on;			/* the guest has been asked to kick */
	uint16_t avail_idx;		/* of the guest, last seen */
	uint16_t last_avail;		/* next entry to take */
	uint16_t used_idx;		/* next entry to fill */
	uint16_t published;		/* the index the guest has seen */
	uint16_t inuse;			/* chains taken and not given back */
	uint32_t epoch;			/* counts vq_disable() */

	struct vring_desc *desc;	/* NULL outside of a section, like the next two */
	struct vring_avail *avail;
	struct vring_used *used;

	struct vq_seg *seg;
	unsigned int seg_room;
	struct log_rate rate;
};

/** vq_init() - a queue that is not ready; @max: a power of 2 up to VQ_SIZE_MAX */
void vq_init(struct vq *vq, const struct vq_ops *ops, struct gmem *gm, const char *name,
	     uint16_t index, uint16_t max);
/** vq_destroy() - free what the queue holds */
void vq_destroy(struct vq *vq);

/**
 * vq_enable() - the driver has written size and addresses and declares the queue ready
 * @features: as negotiated
 *
 * Return: 0, or -EINVAL: size or alignment are wrong; the queue is broken.
 */
int vq_enable(struct vq *vq, uint64_t features);
/** vq_disable() - back to the state after vq_init(); chains still out are forgotten */
void vq_disable(struct vq *vq);

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
 * vq_push() - give a chain back
 * @head: from its vq_pop(), which may lie sections back; ignored if the queue was reset meanwhile
 * @len:  bytes written into its writable part
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
