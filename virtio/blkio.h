/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The I/O engine of a disk: asynchronous reads, writes, flushes and hole punching on one file. It
 * uses io_uring or, where that is missing or forbidden, one worker thread. It knows nothing of
 * virtio or of guest memory.
 *
 * A request is one system call's worth: it may end short, and its owner carries on from there.
 * All functions but blkio_wait() and blkio_wake() are called with the owner's lock held; that lock
 * is all that keeps threads apart. An engine is used by the loop's thread, but in a reset by a
 * vCPU's and at the end by the main thread.
 */
#ifndef VIRTIO_BLKIO_H
#define VIRTIO_BLKIO_H

#include <poll.h>
#include <sys/uio.h>

#include "vmm/core/loop.h"

struct err;
struct blkio;

enum blkio_op {
	BLKIO_READ,
	BLKIO_WRITE,
	BLKIO_FLUSH,		/* fdatasync */
	BLKIO_FALLOCATE,
};

/**
 * struct blkio_req - a request; lives in its owner until it is done
 * @op:     what to do
 * @flags:  RWF_* of a write, mode of a fallocate
 * @iov:    buffers of a read or write
 * @nr_iov: 1 to IOV_MAX
 * @off:    offset in the file, bytes
 * @len:    bytes, of a fallocate only
 * @res:    for the engine, like @next and @queued
 */
struct blkio_req {
	enum blkio_op op;
	int flags;
	const struct iovec *iov;
	unsigned int nr_iov;
	uint64_t off, len;
	int res;
	bool queued;
	struct blkio_req *next;
};

/**
 * struct blkio_owner - who gets to know
 * @done:  a request ended; @res: bytes, 0 or a negative errno; from blkio_reap() only. It may
 *         queue the request again.
 * @event: on the loop's thread, without lock: there is something for blkio_reap()
 */
struct blkio_owner {
	void (*done)(struct blkio_owner *o, struct blkio_req *req, int res);
	void (*event)(struct blkio_owner *o);
};

/**
 * struct blkio_stat - what an engine has done since its start
 * @reqs:  requests started
 * @calls: system calls that started or waited for requests
 */
struct blkio_stat {
	uint64_t reqs, calls;
};

/**
 * blkio_new() - start an engine
 * @fd:      the file; not closed by blkio_free()
 * @name:    for the message when there is no io_uring
 * @depth:   most requests at a time that are worth room in the ring; more may be queued
 * @threads: use the worker thread in any case
 */
int blkio_new(struct loop *loop, int fd, const char *name, unsigned int depth, bool threads,
	      struct blkio_owner *owner, struct blkio **out, struct err *e);
/** blkio_free() - stop; requests still in flight belong to the kernel and must not be freed */
void blkio_free(struct blkio *io);
/** blkio_uses_uring() - io_uring or the worker thread? */
bool blkio_uses_uring(const struct blkio *io);

/** blkio_queue() - add a request; it starts at the next blkio_submit() at the latest */
void blkio_queue(struct blkio *io, struct blkio_req *req);
/**
 * blkio_submit() - start what was queued and wait a little, in one system call
 * @want: how many of those in flight, old and new, to wait for; 0: do not wait
 * @ns:   no longer than that
 *
 * The worker thread starts requests by itself and is not waited for.
 */
void blkio_submit(struct blkio *io, unsigned int want, uint64_t ns);
/** blkio_started() - requests that the kernel has and blkio_reap() has not yet seen */
unsigned int blkio_started(const struct blkio *io);
/** blkio_ready() - how many of them have ended */
unsigned int blkio_ready(const struct blkio *io);
/** blkio_reap() - call done() for all that have ended; what they queue waits for a submit */
void blkio_reap(struct blkio *io);
/** blkio_cancel() - have a request end soon, if the kernel lets it (res: -ECANCELED) */
void blkio_cancel(struct blkio *io, struct blkio_req *req);
/**
 * blkio_wait() - wait up to @ms until one of @nr engines has something to reap; any thread
 *
 * NULLs are skipped. It may return early.
 */
void blkio_wait(struct blkio *const *io, unsigned int nr, unsigned int ms);
/** blkio_stat() - counters, since the start */
const struct blkio_stat *blkio_stat(const struct blkio *io);
/** blkio_wake() - cause event(); any thread, takes no lock */
void blkio_wake(struct blkio *io);

#endif
