/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the roof sees of virtio: make a device, give it to a transport, tell the machine where the
 * kick and interrupt lines are. Rings, feature bits and register layouts stay inside this room.
 *
 * Every device offers VIRTIO_F_VERSION_1 and VIRTIO_F_ACCESS_PLATFORM; in a realm both are
 * required (FEATURES_OK is refused without them). All guest addresses pass gmem_map().
 *
 * Device work runs on the threads of the loops, never on a vCPU thread.
 */
#ifndef VIRTIO_VIRTIO_H
#define VIRTIO_VIRTIO_H

#include "vmm/core/gmem.h"
#include "vmm/core/irq.h"
#include "vmm/core/loop.h"
#include "vmm/core/mmio.h"

struct virtio_dev;
struct virtio_mmio;

/**
 * struct virtio_env - what a device may know of the machine
 * @gm:    guest memory
 * @loop:  its thread does the work of the device
 * @loops: queue q is served by loops[(first_loop + q) % nr_loops]; NULL: all of them by @loop
 * @realm: refuse a driver that declines ACCESS_PLATFORM
 * @packed: offer packed rings
 * @max_request: bytes that one request may carry, because the guest bounces it through a pool of
 *         shared pages that may be small; 0: no limit
 */
struct virtio_env {
	struct gmem *gm;
	struct loop *loop;
	struct loop *const *loops;
	unsigned int nr_loops, first_loop;
	bool realm;
	bool packed;
	uint32_t max_request;
};

/** virtio_env_loop() - the loop that serves a queue */
static inline struct loop *virtio_env_loop(const struct virtio_env *env, unsigned int queue)
{
	return env->nr_loops ? env->loops[(env->first_loop + queue) % env->nr_loops] : env->loop;
}

/**
 * struct virtio_blk_cfg - a disk
 * @fd:       open file or block device; the device does not close it
 * @path:     for messages
 * @serial:   20 bytes at most (VIRTIO_BLK_T_GET_ID), "" for none
 * @readonly: VIRTIO_BLK_F_RO, writes fail
 * @direct:   @fd was opened with O_DIRECT
 * @no_uring: use a worker thread even where io_uring is there
 */
struct virtio_blk_cfg {
	int fd;
	const char *path;
	const char *serial;
	bool readonly;
	bool direct;
	bool no_uring;
};

/** virtio_blk_new() - block device on io_uring, or on a worker thread where that is forbidden */
int virtio_blk_new(const struct virtio_env *env, const struct virtio_blk_cfg *cfg,
		   struct virtio_dev **out, struct err *e);

/** virtio_rng_new() - entropy device, fed by getrandom(2) */
int virtio_rng_new(const struct virtio_env *env, struct virtio_dev **out, struct err *e);

/**
 * struct virtio_console_io - the host's end of a console
 * @write: guest output; returns how many bytes were taken (0: full, try again after
 *         virtio_console_writable()); called with the device locked, on the loop thread: it must
 *         not call back into the device
 * @ctx:   argument of both
 * @readable: may be NULL. virtio_console_input() had taken less than it was given, now there is
 *         room again; must not call back into the device either: resume polling, say
 */
struct virtio_console_io {
	size_t (*write)(void *ctx, const void *buf, size_t len);
	void *ctx;
	void (*readable)(void *ctx);
};

/** virtio_console_new() - one port; VIRTIO_CONSOLE_F_SIZE */
int virtio_console_new(const struct virtio_env *env, const struct virtio_console_io *io,
		       struct virtio_dev **out, struct err *e);
/** virtio_console_input() - bytes for the guest; returns how many fit (loop thread only) */
size_t virtio_console_input(struct virtio_dev *dev, const void *buf, size_t len);
/** virtio_console_resize() - the terminal has this size now (loop thread only) */
void virtio_console_resize(struct virtio_dev *dev, uint16_t cols, uint16_t rows);
/** virtio_console_writable() - the host's end takes output again (loop thread only) */
void virtio_console_writable(struct virtio_dev *dev);

/** virtio_dev_queues() - number of queues of a device */
unsigned int virtio_dev_queues(const struct virtio_dev *dev);
/**
 * virtio_dev_stop() - stop all I/O of a device and wait for what is in flight
 *
 * The loop is not running any more. Flushed data are on the disk afterwards.
 */
void virtio_dev_stop(struct virtio_dev *dev);
/** virtio_dev_free() - free a stopped device (and its rings) */
void virtio_dev_free(struct virtio_dev *dev);

/**
 * virtio_mmio_new() - put a device behind a virtio-mmio (modern, version 2) window
 * @dev:  the device
 * @bus:  bus to register the 0x200 bytes window on
 * @base: canonical address of the window
 * @irq:  edge line; copied
 *
 * Kicks arrive through virtio_mmio_kick_fd() if the machine made an ioeventfd of it, else by the
 * QueueNotify register; both end on the loop's thread.
 */
int virtio_mmio_new(struct virtio_dev *dev, struct mmio_bus *bus, ipa_t base,
		    const struct irq_line *irq, struct virtio_mmio **out, struct err *e);
/** virtio_mmio_free() - after virtio_dev_stop() */
void virtio_mmio_free(struct virtio_mmio *t);
/** virtio_mmio_queues() - number of queues of the device behind the window */
unsigned int virtio_mmio_queues(const struct virtio_mmio *t);
/** virtio_mmio_kick_fd() - eventfd of a queue: write by KVM, 4 bytes at base + 0x50, datamatch q */
int virtio_mmio_kick_fd(const struct virtio_mmio *t, unsigned int queue);

/* As in linux/virtio_mmio.h, letter for letter: both may be included. */
#define VIRTIO_MMIO_QUEUE_NOTIFY	0x050

#endif
