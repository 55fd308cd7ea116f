/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The block device behind its constructor: blk.c has the device and its queues, blk_req.c the life
 * of a request, blk_pace.c how many of them are dealt with at a time.
 *
 * Each queue is served by its loop's thread under its own lock, with an I/O engine of its own. What
 * queues share is atomic or does not change.
 */
#ifndef VIRTIO_BLK_INT_H
#define VIRTIO_BLK_INT_H

#include <linux/virtio_blk.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "virtio/blkio.h"
#include "virtio/dev.h"

#define BLK_SECTOR	512u
#define BLK_MAX_QUEUES	64u
/* Ranges of one discard or write-zeroes request. */
#define BLK_MAX_RANGES	32u
/* 1 GiB in sectors: some file systems need long for more. */
#define BLK_MAX_RANGE_SECTORS 0x200000u

struct blk_req;
struct virtio_blk;

/**
 * struct blk_pace - how much is worth a kick, and how much is worth an interrupt
 * @cost:   what it takes to tell the guest of used buffers, nanoseconds, smoothed
 * @want:   entries to ask a kick for
 * @calm:   successes until @want may grow again
 * @grown:  @want has just grown
 * @fails:  how often that was wrong, in a row: time was up before so many came
 * @skip:   rounds in which completions are not waited for
 * @misses: waits in a row that were in vain
 */
struct blk_pace {
	uint64_t cost;
	unsigned int want, calm, fails;
	bool grown;
	unsigned int skip, misses;
};

/**
 * struct blk_queue - what a queue has beside its ring; under the lock of @q
 * @reqs:     requests in flight
 * @section:  the ring is in a section: finish() may give chains back
 * @cancel_wanted: some request has its @cancel set
 * @soon:     look at the ring although there was no kick
 * @asked:    entries that a kick was last asked for
 * @rounds:   how often used buffers were given back
 * @popped:   when the chain at hand was taken, for --trace
 */
struct blk_queue {
	struct virtio_blk *blk;
	struct virtio_queue *q;
	struct blkio_owner owner;
	struct blkio *io;
	struct blk_req *reqs;
	unsigned int inflight;
	bool section;
	_Atomic bool cancel_wanted;
	struct loop_soon soon;
	struct blk_pace pace;
	unsigned int asked;
	uint64_t rounds;
	uint64_t popped;
};

/**
 * struct virtio_blk - a disk
 * @fd:         file or block device, not ours
 * @capacity:   bytes
 * @block:      logical block size, bytes
 * @dio_mem:    alignment of buffers for O_DIRECT, 0 without it
 * @dio_off:    alignment of offsets and lengths for O_DIRECT
 * @no_zero_range, @no_punch: the file system cannot do this; found out on first use
 * @writeback:  flushes are awaited from the driver; else each write has to reach the disk
 */
struct virtio_blk {
	struct virtio_dev dev;
	struct virtio_blk_config config;
	int fd;
	_Atomic uint64_t capacity;
	uint32_t block, dio_mem, dio_off;
	char serial[VIRTIO_BLK_ID_BYTES];
	bool readonly, direct, no_discard;
	enum virtio_blk_cache cache;
	_Atomic bool no_zero_range, no_punch, writeback;
	struct blk_queue *queue;
};

/** blk_parse() - begin a request, or answer it at once; in a section */
void blk_parse(struct blk_queue *bq, const struct vq_chain *c);
/** blk_io_done() - for struct blkio_owner */
void blk_io_done(struct blkio_owner *o, struct blkio_req *io, int res);
/** blk_cancel_reqs() - cancel those requests of a queue that are marked, or (@all) every one */
void blk_cancel_reqs(struct blk_queue *bq, bool all);

/* ---- pace ---- */

/** blk_pace_init() - begin without any patience */
void blk_pace_init(struct blk_pace *p);
/**
 * blk_pace_came() - requests have come
 * @n:     how many
 * @asked: how many a kick was asked for
 * @late:  there was no kick, time was up
 */
void blk_pace_came(struct blk_pace *p, unsigned int n, unsigned int asked, bool late);
/** blk_pace_ask() - how many entries to ask a kick for, with @inflight requests at the disk */
unsigned int blk_pace_ask(const struct blk_pace *p, unsigned int inflight);
/** blk_pace_patience() - nanoseconds to wait for as many as were asked for */
uint64_t blk_pace_patience(const struct blk_pace *p);
/** blk_pace_hold() - nanoseconds for which what has ended may wait for more */
uint64_t blk_pace_hold(const struct blk_pace *p);
/**
 * blk_pace_want() - how many of @inflight requests to wait for before the guest is told, for no
 * longer than blk_pace_hold()
 */
unsigned int blk_pace_want(struct blk_pace *p, unsigned int inflight);
/** blk_pace_waited() - so many were there in the end */
void blk_pace_waited(struct blk_pace *p, unsigned int want, unsigned int ready);
/** blk_pace_told() - it took @ns to give chains back */
void blk_pace_told(struct blk_pace *p, uint64_t ns);

#endif
