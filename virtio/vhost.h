/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices whose rings somebody else serves: the kernel (vhost-net, vhost-vsock) or another process
 * (vhost-user). Here is what both have in common: which memory they get, when a ring begins and
 * ends to be theirs, where kicks and interrupts go. A back end is a struct vhost_backend; struct
 * vhost stands between a device and its back ends, of which it has one, or one for each pair of
 * queues.
 *
 * What a back end gets
 *  - The shared memory, nothing else: the regions of struct gmem, in a realm the shared side. An
 *    address of the guest is there with the shared bit, as Linux since 6.15 gives it to a device,
 *    and without, as older ones do. Both are the same bytes, so that gives nothing away.
 *  - Features that it offers itself and that this program knows. Never ACCESS_PLATFORM: the driver
 *    needs it to bounce its buffers, but a back end would take it as the request to have each
 *    address translated (an IOTLB).
 *  - Rings that were in shared memory, all of them, when it got them.
 *
 * What a conversion means to it. A back end looks at the ring by itself and works through a mapping
 * of its own (vhost-user) or through this process's (the kernel), which a page that turns private
 * does not leave. No pin keeps track of it, a conversion does not wait. Who is hurt?
 *  - Shared memory that has pages of its own (emulated realm with guest_memfd; KVM realms with two
 *    backings): the page was punched out of the shared file. A later access fills the hole again:
 *    some memory of the host's is in use twice, until the page is shared again or the realm ends.
 *    What is written there is what the host was about to tell the guest anyhow, what is read is
 *    zeros. Private memory is out of reach.
 *  - Guest_memfd in place: such an access faults. The kernel's vhost fails that request, a process
 *    gets SIGBUS; the device needs a reset, the realm lives.
 *  - One memory under both addresses (emulated realm without guest_memfd): the back end sees what
 *    the guest calls private, as all of this process does. The user is told once.
 * A driver that follows the rules takes buffers and rings back before it makes them private, and
 * then none of this happens: a reset and the reset of a queue return when the back end has let go.
 *
 * All functions but the callbacks of loops run with dev->lock held.
 */
#ifndef VIRTIO_VHOST_H
#define VIRTIO_VHOST_H

#include "virtio/dev.h"

#define VHOST_MAX_REGIONS (2 * GMEM_MAX_REGIONS)

/**
 * struct vhost_region - a piece of guest memory as a back end sees it
 * @guest: address that the driver uses
 * @user:  how addresses of rings in it are named: pointers here (@by_pointer), or @guest
 * @fd:    file behind it, from its offset 0; -1: none
 */
struct vhost_region {
	ipa_t guest;
	uint64_t size;
	uint64_t user;
	int fd;
};

/**
 * struct vhost_ring - a ring as a back end gets it
 * @index: of the back end's rings
 * @base:  where it begins (vq_base())
 * @desc, @driver, @device: addresses, in the way of struct vhost_region's @user
 * @kick, @call, @err: eventfds
 * @enabled: it may be used at once; else after ops->enable()
 */
struct vhost_ring {
	unsigned int index;
	uint16_t num;
	uint32_t base;
	uint64_t desc, driver, device;
	int kick, call, err;
	bool enabled;
};

struct vhost_backend;

/**
 * struct vhost_backend_ops - a kind of back end; each returns 0 or a negative errno
 * @by_pointer: rings are named by pointers into this process
 * @setup:  what the driver accepted, and the guest's memory; no ring is in use
 * @start:  use a ring
 * @stop:   let go of a ring; it has when this returns, whatever this returns
 * @call:   a ring in use has another interrupt eventfd
 * @enable: a ring in use is to be served or not; NULL: it always is
 */
struct vhost_backend_ops {
	bool by_pointer;
	int (*setup)(struct vhost_backend *b, uint64_t features, const struct vhost_region *r,
		     unsigned int nr);
	int (*start)(struct vhost_backend *b, const struct vhost_ring *ring);
	int (*stop)(struct vhost_backend *b, unsigned int ring);
	int (*call)(struct vhost_backend *b, unsigned int ring, int fd);
	int (*enable)(struct vhost_backend *b, unsigned int ring, bool on);
};

/**
 * struct vhost_backend - a back end; it outlives the device of one boot
 * @features: that it offers
 * @max_regions: of memory that it takes
 * @hup: its @fd hangs up when the back end is gone; -1: it cannot go
 * @v:   who uses it now
 */
struct vhost_backend {
	const struct vhost_backend_ops *ops;
	uint64_t features;
	unsigned int max_regions;
	struct loop_src hup;
	struct vhost *v;
};

/**
 * struct vhost_queue - a queue that a back end serves
 * @call: eventfd for interrupts, where the transport has none of its own
 * @up:   the back end has it
 * @enabled: see vhost_enable()
 */
struct vhost_queue {
	struct loop_src call;
	struct vhost *v;
	bool up, enabled;
};

/**
 * struct vhost - the back ends of a device, of which they serve the first queues
 * @dev:  the device, once it was started; the loops' threads look at it without the lock
 * @per_backend: queue q is ring q % @per_backend of back end q / @per_backend
 * @nr_rings: that many queues; those behind are the device's own
 * @err:  eventfd that a back end writes to if it cannot go on with a ring
 */
struct vhost {
	struct virtio_dev *_Atomic dev;
	struct virtio_env env;
	struct vhost_backend *const *backend;
	unsigned int nr_backends, per_backend, nr_rings;
	struct vhost_queue *queue;
	struct loop_src err;
};

/**
 * vhost_init() - bring a device and its back ends together, before the device is made
 * @name: for messages
 * @backend: @nr_backends of them; they stay the caller's, who keeps them as long as @v lives
 *
 * Return: 0; -EPROTO: a back end is too old; or what the kernel says.
 */
int vhost_init(struct vhost *v, const char *name, const struct virtio_env *env,
	       struct vhost_backend *const *backend, unsigned int nr_backends,
	       unsigned int per_backend, struct err *e);
/** vhost_destroy() - undo it; the device is stopped */
void vhost_destroy(struct vhost *v);

/** vhost_features() - what all back ends offer */
uint64_t vhost_features(const struct vhost *v);
/**
 * vhost_negotiate() - fill in what the device may offer
 * @init: its features are those of the device's class that this program knows, of which the back
 *        ends' remain; allowed, external and in_order are set
 * @own:  features that are offered without the back ends, and not told to them
 */
void vhost_negotiate(const struct vhost *v, struct virtio_dev_init *init, uint64_t own);

/** vhost_start() - for the start() of struct virtio_dev_ops */
int vhost_start(struct vhost *v, struct virtio_dev *dev);
/** vhost_queue() - for queue() there; queues of the device's own are ignored */
int vhost_queue(struct vhost *v, unsigned int q, bool on);
/** vhost_queue_fd() - for queue_fd() there */
void vhost_queue_fd(struct vhost *v, unsigned int q);
/** vhost_enable() - whether a queue is to be served while it is in use; true at the start */
int vhost_enable(struct vhost *v, unsigned int q, bool on);

/** struct vhost_dev - a device that has nothing to do by itself; with its ops */
struct vhost_dev {
	struct virtio_dev dev;
	struct vhost v;
};

int vhost_dev_start(struct virtio_dev *dev);
int vhost_dev_queue(struct virtio_dev *dev, unsigned int q, bool on);
void vhost_dev_queue_fd(struct virtio_dev *dev, unsigned int q);
void vhost_dev_kick(struct virtio_dev *dev, unsigned int q);

/**
 * vhost_dev_init() - make such a device: vhost_init(), vhost_negotiate(), virtio_dev_init()
 * @init: its features are as for vhost_negotiate()
 */
int vhost_dev_init(struct vhost_dev *d, const struct virtio_dev_init *init, uint64_t own,
		   struct vhost_backend *const *backend, unsigned int rings, struct err *e);
/** vhost_dev_destroy() - undo it */
void vhost_dev_destroy(struct vhost_dev *d);

static inline struct vhost_dev *vhost_dev_of(struct virtio_dev *dev)
{
	return container_of(dev, struct vhost_dev, dev);
}

#endif
