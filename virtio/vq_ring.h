/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between vq.c, which has what both kinds of rings share, and vq_split.c and vq_packed.c.
 *
 * The guest runs while we read: each field of a ring is read exactly once, through the accessors
 * below, and it is the copy that gets checked and used.
 */
#ifndef VIRTIO_VQ_RING_H
#define VIRTIO_VQ_RING_H

#include <linux/virtio_ring.h>
#include <string.h>

#include "virtio/vq.h"

/* Virtio is little-endian, and so are the hosts that this runs on. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian hosts are not supported");

/* Outcomes of reading a chain, beside 0. */
#define E_ADDR	(-EFAULT)	/* the request is lost */
#define E_RING	(-EIO)		/* the queue is lost */

/**
 * struct vq_ring - a kind of ring; all but @check and @parts run in a section
 * @check:   size and alignment; NULL if they are right, else what is wrong
 * @parts:   addresses and lengths
 * @look:    is there an entry to take? 1, 0, E_RING
 * @take:    read the chain at @last_avail into @c: id, slots, segments; 0, E_ADDR (id and slots
 *           are there all the same), E_RING
 * @put:     write a used entry for the guest to see later
 * @publish: let the guest see all entries from @published to @used
 * @wants_irq: does the guest want to be interrupted for these?
 * @ask:     ask for a kick with the entry at @pos
 * @there:   is the entry at @pos available? It is @last_avail or comes after it
 * @silence: ask for no kicks
 */
struct vq_ring {
	const char *(*check)(const struct vq *vq);
	void (*parts)(const struct vq *vq, struct vq_part part[3]);
	int (*look)(struct vq *vq);
	int (*take)(struct vq *vq, struct vq_chain *c);
	void (*put)(struct vq *vq, uint32_t pos, uint16_t id, uint32_t len);
	void (*publish)(struct vq *vq);
	bool (*wants_irq)(struct vq *vq);
	void (*ask)(struct vq *vq, uint32_t pos);
	bool (*there)(const struct vq *vq, uint32_t pos);
	void (*silence)(struct vq *vq);
};

extern const struct vq_ring vq_ring_split, vq_ring_packed;

/** vq_break() - the guest broke the queue; @why: static text. Return: E_RING. */
int vq_break(struct vq *vq, const char *why);

/**
 * vq_add_seg() - one more segment of the chain that is being read
 *
 * Return: 0; E_ADDR: it cannot be used; E_RING: the chain is too long.
 */
int vq_add_seg(struct vq *vq, struct vq_chain *c, uint64_t addr, uint32_t len, bool in);

/**
 * vq_table() - map an indirect table
 * @nr: entries
 *
 * Return: 0; E_ADDR: its memory cannot be used; E_RING: its size is wrong.
 */
int vq_table(struct vq *vq, uint64_t addr, uint32_t len, const void **table, uint32_t *nr);

/**
 * vq_packed_pos() - the position in a packed ring that the guest or vhost calls : offset,
 * wrap counter in bit 15 (section 2.8.14)
 *
 * Return: VQ_NOWHERE if there is none.
 */
uint32_t vq_packed_pos(const struct vq *vq, uint16_t off_wrap);
/** vq_packed_off_wrap() - the opposite */
uint16_t vq_packed_off_wrap(const struct vq *vq, uint32_t pos);

/** vq_forward() - the position @n entries after @pos; @n is smaller than span */
static inline uint32_t vq_forward(const struct vq *vq, uint32_t pos, uint32_t n)
{
	pos += n;
	return pos >= vq->span ? pos - vq->span : pos;
}

/** vq_distance() - how many entries @to comes after @from */
static inline uint32_t vq_distance(const struct vq *vq, uint32_t from, uint32_t to)
{
	return to >= from ? to - from : to + vq->span - from;
}

/**
 * vq_entry() - one copy of an entry of an indirect table
 *
 * Tables need no alignment, so this is no atomic load: if the guest changes the entry meanwhile
 * the copy may be torn, which does not matter, as what is checked is the copy. The barrier keeps
 * the compiler from reading twice.
 */
static inline void vq_entry(void *copy, const void *table, uint32_t i)
{
	memcpy(copy, (const uint8_t *)table + 16ULL * i, 16);
	__asm__ volatile("" : : : "memory");
}

/*
 * Ring memory. The guest's accesses to one field race with ours by design: all are atomic.
 * tests/unit/test_litmus.c defines VQ_TRACE to see which accesses are made, in which order and how
 * they are ordered; it tries each barrier of the three files in a model of weak memory.
 */
#ifndef VQ_TRACE
#define VQ_TRACE(op, p, v) ((void)0)
#endif

#define ring_load(p)		(VQ_TRACE(LOAD, p, 0), __atomic_load_n(p, __ATOMIC_RELAXED))
#define ring_load_acquire(p)	(VQ_TRACE(ACQUIRE, p, 0), __atomic_load_n(p, __ATOMIC_ACQUIRE))
#define ring_store(p, v)	(VQ_TRACE(STORE, p, v), __atomic_store_n(p, v, __ATOMIC_RELAXED))
#define ring_store_release(p, v) (VQ_TRACE(RELEASE, p, v), __atomic_store_n(p, v, __ATOMIC_RELEASE))
#define ring_fence()		(VQ_TRACE(FENCE, NULL, 0), __atomic_thread_fence(__ATOMIC_SEQ_CST))

#endif
