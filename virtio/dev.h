/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What all virtio devices have in common: queues, kicks, feature negotiation, the status register,
 * reset. A device is one file with a struct virtio_dev_ops; a transport is one file with a struct
 * virtio_transport. Neither sees the other.
 *
 * Locking. dev->lock guards a device; a queue's lock, which is the same unless the device asked for
 * locks of their own, guards that queue and the device's work for it. A loop's thread holds the
 * queue's lock while it works for it, a vCPU thread holds dev->lock while it reads or writes a
 * register. Order: dev->lock, then the queue's, then gmem. A reset on a vCPU thread takes the locks
 * and ends the requests in flight by itself: it waits for the disk, never for a loop's thread, so
 * it works whether the loop runs or not and cannot meet a conversion (which waits for requests in
 * flight, too) in a deadlock.
 */
#ifndef VIRTIO_DEV_H
#define VIRTIO_DEV_H

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <pthread.h>

#include "virtio/virtio.h"
#include "virtio/vq.h"
#include "vmm/core/log.h"

struct err;

#define VIRTIO_F(bit) (1ULL << (bit))

/**
 * struct virtio_dev_ops - a kind of device; @kick runs with the queue's lock held, all others with
 * dev->lock
 * @id:       virtio device ID (section 5)
 * @kick:     loop thread: the guest made buffers available in queue @q; may come spuriously
 * @start:    DRIVER_OK: the features are final; a negative errno makes the device need a reset
 * @queue:    queue @q begins (@on) or ends to be in use: told at DRIVER_OK for all that are ready,
 *            and whenever one is switched on or off while the device runs; before its rings are
 *            given up. For back ends that serve rings by themselves; a negative errno makes the
 *            device need a reset
 * @queue_fd: the transport has another eventfd for queue @q (virtio_dev_queue_fd())
 * @reset:    the driver is gone, nothing is in flight
 * @config_write: the driver wrote @len (1, 2, 4) bytes of configuration space at @off; all in it
 * @inflight: number of requests that use guest memory; NULL for a device that has none
 * @reap:     finish requests that have ended; any thread; NULL like @inflight, and the next two
 * @cancel:   ask all requests in flight to end soon
 * @queue_inflight: like @inflight, of queue @q alone: then it can be reset alone
 * @queue_cancel: like @cancel, of queue @q alone
 * @wait:     wait up to @ms for something to reap. Called WITHOUT the lock.
 * @free:     free what the device holds, then the device
 *
 * All but @id, @kick and @free may be NULL.
 */
struct virtio_dev_ops {
	uint32_t id;
	void (*kick)(struct virtio_dev *dev, unsigned int q);
	int (*start)(struct virtio_dev *dev);
	int (*queue)(struct virtio_dev *dev, unsigned int q, bool on);
	void (*queue_fd)(struct virtio_dev *dev, unsigned int q);
	void (*reset)(struct virtio_dev *dev);
	void (*config_write)(struct virtio_dev *dev, uint32_t off, unsigned int len, uint32_t val);
	unsigned int (*inflight)(struct virtio_dev *dev);
	void (*reap)(struct virtio_dev *dev);
	void (*cancel)(struct virtio_dev *dev);
	unsigned int (*queue_inflight)(struct virtio_dev *dev, unsigned int q);
	void (*queue_cancel)(struct virtio_dev *dev, unsigned int q);
	void (*wait)(struct virtio_dev *dev, unsigned int ms);
	void (*free)(struct virtio_dev *dev);
};

/**
 * struct virtio_transport - what a device needs from its transport; any thread
 * @queue_irq:  used buffers wait in queue @q; its lock is held
 * @config_irq: the configuration changed, or the device needs a reset
 * @queue_fd:   an eventfd that interrupts the guest for queue @q when somebody else writes to it,
 *              or -1: only queue_irq() can; dev->lock is held
 * @reset:      the device was reset; dev->lock is held
 */
struct virtio_transport {
	void (*queue_irq)(struct virtio_transport *t, unsigned int q);
	void (*config_irq)(struct virtio_transport *t);
	int (*queue_fd)(struct virtio_transport *t, unsigned int q);
	void (*reset)(struct virtio_transport *t);
};

/**
 * struct virtio_queue - a queue of a device
 * @loop: that serves it
 * @lock: guards @vq: dev->lock, or @own for a device that serves its queues in parallel
 * @kick: eventfd: the guest made buffers available
 * @external: somebody else reads @kick (a back end outside of realmtool)
 * @started: the device was told by ops->queue()
 * @in_reset: requests did not end in time after a reset of this queue; it stays off until they have
 */
struct virtio_queue {
	struct vq vq;
	struct virtio_dev *dev;
	struct loop *loop;
	pthread_mutex_t *lock, own;
	struct loop_src kick;
	bool external, started, in_reset;
};

/**
 * struct virtio_dev - a device
 * @name:       for messages
 * @features:   offered
 * @config:     configuration space, little-endian; belongs to the device
 * @driver_features: accepted by the driver, final once FEATURES_OK is set
 * @running:    between DRIVER_OK and a reset or a failure: the device may use its queues
 * @draining:   a thread waits for requests in flight with the lock dropped
 * @stuck:      requests did not end in time; the device stays in reset until they have
 * @stopped:    virtio_dev_stop() was called
 */
struct virtio_dev {
	const struct virtio_dev_ops *ops;
	struct virtio_env env;
	char name[64];
	pthread_mutex_t lock;
	uint64_t features, driver_features;
	const void *config;
	uint32_t config_len;
	_Atomic uint32_t config_gen;
	_Atomic uint8_t status;
	_Atomic bool running;
	bool draining, stuck, stopped;
	unsigned int nr_queues;
	struct virtio_queue *queue;
	struct virtio_transport *transport;
	struct log_rate rate;
};

/* ---- for devices ---- */

/**
 * struct virtio_dev_init - arguments of virtio_dev_init()
 * @name:       for messages
 * @features:   of the device. Those of the transport and the rings are added: VERSION_1,
 *              ACCESS_PLATFORM, EVENT_IDX and INDIRECT_DESC always, RING_PACKED if the machine
 *              wants it, IN_ORDER with @in_order, RING_RESET if the requests of one queue can be
 *              waited for
 * @nr_queues:  number of queues
 * @queue_size: largest size of each, a power of 2
 * @allowed:    features that may be offered at all, beside VERSION_1 and ACCESS_PLATFORM, because a
 *              back end outside of realmtool knows no others; 0: no limit
 * @external:   a bit per queue that such a back end serves: its kicks do not come here
 * @own_locks:  each queue has a lock of its own, so several threads can serve the device
 * @in_order:   buffers of a queue are given back in the order in which they were taken
 */
struct virtio_dev_init {
	const char *name;
	const struct virtio_dev_ops *ops;
	const struct virtio_env *env;
	uint64_t features;
	const void *config;
	uint32_t config_len;
	unsigned int nr_queues;
	uint16_t queue_size;
	uint64_t allowed;
	uint64_t external;
	bool own_locks;
	bool in_order;
};

/** virtio_dev_init() - the common part of a device's constructor */
int virtio_dev_init(struct virtio_dev *dev, const struct virtio_dev_init *init, struct err *e);
/** virtio_dev_destroy() - undo virtio_dev_init() */
void virtio_dev_destroy(struct virtio_dev *dev);
/** virtio_dev_kick() - have the device look at a queue (again), from the loop; any thread */
void virtio_dev_kick(struct virtio_dev *dev, unsigned int q);
/** virtio_dev_config_changed() - tell the driver that @config changed; lock held */
void virtio_dev_config_changed(struct virtio_dev *dev);
/**
 * virtio_dev_queue_fd() - eventfd that interrupts the guest for a queue, or -1; lock held
 *
 * For back ends outside of realmtool. It can change: ops->queue_fd() tells. With -1 the back end
 * gets an eventfd of the device, which calls virtio_dev_queue_irq() when it is written to.
 */
int virtio_dev_queue_fd(struct virtio_dev *dev, unsigned int q);
/** virtio_dev_queue_irq() - interrupt the guest for a queue of a back end; any thread */
void virtio_dev_queue_irq(struct virtio_dev *dev, unsigned int q);
/** virtio_dev_fail() - the device needs a reset; @why is for the log; any thread */
void virtio_dev_fail(struct virtio_dev *dev, const char *why);

static inline void virtio_dev_lock(struct virtio_dev *dev)
{
	pthread_mutex_lock(&dev->lock);
}

static inline void virtio_dev_unlock(struct virtio_dev *dev)
{
	pthread_mutex_unlock(&dev->lock);
}

/* ---- for transports; each takes the lock ---- */

/** virtio_dev_features() - 32 bits of the offered features, 0 beyond those that exist */
uint32_t virtio_dev_features(struct virtio_dev *dev, uint32_t word);
/** virtio_dev_set_features() - the driver accepts these; ignored once FEATURES_OK is set */
void virtio_dev_set_features(struct virtio_dev *dev, uint32_t word, uint32_t bits);
/** virtio_dev_status() - read the status register */
uint8_t virtio_dev_status(struct virtio_dev *dev);
/**
 * virtio_dev_set_status() - write the status register (section 3.1.1)
 *
 * Writing 0 resets the device: it returns when no request uses guest memory any more or, after
 * some seconds, with the status at DEVICE_NEEDS_RESET, where it stays until the requests have
 * ended.
 */
void virtio_dev_set_status(struct virtio_dev *dev, uint8_t status);
/** virtio_dev_queue_ready() - is a queue ready? */
bool virtio_dev_queue_ready(struct virtio_dev *dev, uint32_t q);
/** virtio_dev_set_queue_ready() - the driver starts or stops a queue */
void virtio_dev_set_queue_ready(struct virtio_dev *dev, uint32_t q, bool ready);
/**
 * virtio_dev_queue_reset() - reset one queue (section 2.6.1), if VIRTIO_F_RING_RESET was negotiated
 *
 * Returns when no request of this queue uses guest memory any more or, after some seconds, with
 * virtio_dev_queue_in_reset() still true. The others go on meanwhile.
 */
void virtio_dev_queue_reset(struct virtio_dev *dev, uint32_t q);
/** virtio_dev_queue_in_reset() - is a reset of this queue under way? What the register reads */
bool virtio_dev_queue_in_reset(struct virtio_dev *dev, uint32_t q);
/** enum virtio_queue_reg - registers of a queue, that can be written while it is not ready */
enum virtio_queue_reg { VQ_REG_NUM, VQ_REG_DESC, VQ_REG_DRIVER, VQ_REG_DEVICE };
/**
 * virtio_dev_queue_write() - write a register of a queue
 * @mask: which bits of it are written; @val has them in their place
 *
 * Too large a number of entries becomes 0, which makes the queue unusable.
 */
void virtio_dev_queue_write(struct virtio_dev *dev, uint32_t q, enum virtio_queue_reg reg,
			    uint64_t val, uint64_t mask);
/** virtio_dev_queue_read() - read it back; 0 for a queue that does not exist */
uint64_t virtio_dev_queue_read(struct virtio_dev *dev, uint32_t q, enum virtio_queue_reg reg);
/** virtio_dev_queue_fd_changed() - queue_fd() of the transport gives another descriptor now */
void virtio_dev_queue_fd_changed(struct virtio_dev *dev, uint32_t q);
/** virtio_dev_config_write() - write 1, 2 or 4 bytes of configuration space; ignored beyond it */
void virtio_dev_config_write(struct virtio_dev *dev, uint64_t off, unsigned int len, uint32_t val);
/** virtio_dev_config_read() - 1, 2 or 4 bytes of configuration space; 0 beyond its end */
uint32_t virtio_dev_config_read(struct virtio_dev *dev, uint64_t off, unsigned int len);
/** virtio_dev_config_gen() - changes whenever the configuration does */
uint32_t virtio_dev_config_gen(struct virtio_dev *dev);

#endif
