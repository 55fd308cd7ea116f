// SPDX-License-Identifier: BSD-3-Clause
#include "virtio/dev.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "vmm/core/err.h"

/*
 * #syscalls main,vcpu,io: clock_nanosleep nanosleep write
 * #syscalls main,vcpu: eventfd2 close
 */

/*
 * A reset lets requests in flight finish, as they may be writes that the guest counts on. After
 * PATIENCE they are cancelled, after LIMIT the device is given up: a vCPU waits here, and Linux
 * calls a CPU stuck after 10 to 20 s.
 */
#define RESET_PATIENCE_MS	2000
#define RESET_LIMIT_MS		4000
/* When the machine ends nothing is cancelled: it waits as long as a slow disk may take. */
#define STOP_LIMIT_MS		30000
#define WAIT_SLICE_MS		10

#define STATUS_KNOWN (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | \
		      VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FEATURES_OK | \
		      VIRTIO_CONFIG_S_FAILED)

static void queue_notify(struct vq *vq)
{
	struct virtio_dev *dev = container_of(vq, struct virtio_queue, vq)->dev;

	if (!dev->transport || !dev->running)
		return;
	/* any thread, for a back end */
	atomic_fetch_add_explicit(&vq->count.interrupts, 1, memory_order_relaxed);
	dev->transport->queue_irq(dev->transport, vq->index);
}

/* Any thread, with or without locks: what it touches is atomic. */
static void needs_reset(struct virtio_dev *dev)
{
	uint8_t old = atomic_fetch_or(&dev->status, VIRTIO_CONFIG_S_NEEDS_RESET);

	dev->running = false;
	/* Section 2.1.2: a change notification only after DRIVER_OK. */
	if ((old & VIRTIO_CONFIG_S_DRIVER_OK) && dev->transport)
		dev->transport->config_irq(dev->transport);
}

static void queue_broken(struct vq *vq, const char *why)
{
	needs_reset(container_of(vq, struct virtio_queue, vq)->dev);
}

void virtio_dev_fail(struct virtio_dev *dev, const char *why)
{
	log_rated(&dev->rate, LOG_ERROR, "%s: %s; the device needs a reset", dev->name, why);
	needs_reset(dev);
}

static const struct vq_ops vq_ops = { .notify = queue_notify, .broken = queue_broken };

/* For the holder of dev->lock, which may be the queue's lock too. */
static void lock_queue(struct virtio_queue *q)
{
	if (q->lock != &q->dev->lock)
		pthread_mutex_lock(q->lock);
}

static void unlock_queue(struct virtio_queue *q)
{
	if (q->lock != &q->dev->lock)
		pthread_mutex_unlock(q->lock);
}

static void kick_event(struct loop_src *src, uint32_t events)
{
	struct virtio_queue *q = container_of(src, struct virtio_queue, kick);
	struct virtio_dev *dev = q->dev;

	pthread_mutex_lock(q->lock);
	vq_count_add(&q->vq.count.kicks, 1);
	if (dev->running && q->vq.ready && !q->vq.broken)
		dev->ops->kick(dev, q->vq.index);
	pthread_mutex_unlock(q->lock);
}

void virtio_dev_kick(struct virtio_dev *dev, unsigned int q)
{
	uint64_t one = 1;

	if (write(dev->queue[q].kick.fd, &one, sizeof(one)) < 0)
		return;		/* the counter is full, so the event is there */
}

/* NOTIFICATION_DATA is not offered: the eventfd of a kick carries none. */
static uint64_t offered(const struct virtio_dev_init *init)
{
	uint64_t f = init->features | VIRTIO_F(VIRTIO_RING_F_EVENT_IDX) |
		     VIRTIO_F(VIRTIO_RING_F_INDIRECT_DESC);

	if (init->env->packed)
		f |= VIRTIO_F(VIRTIO_F_RING_PACKED);
	if (init->in_order)
		f |= VIRTIO_F(VIRTIO_F_IN_ORDER);
	if (!init->ops->inflight || init->ops->queue_inflight)
		f |= VIRTIO_F(VIRTIO_F_RING_RESET);
	if (init->allowed)
		f &= init->allowed;
	return f | VIRTIO_F(VIRTIO_F_VERSION_1) | VIRTIO_F(VIRTIO_F_ACCESS_PLATFORM);
}

int virtio_dev_init(struct virtio_dev *dev, const struct virtio_dev_init *init, struct err *e)
{
	unsigned int i;
	int ret;

	memset(dev, 0, sizeof(*dev));
	dev->ops = init->ops;
	dev->env = *init->env;
	snprintf(dev->name, sizeof(dev->name), "%s", init->name);
	dev->features = offered(init);
	dev->config = init->config;
	dev->config_len = init->config_len;
	pthread_mutex_init(&dev->lock, NULL);

	dev->queue = calloc(init->nr_queues, sizeof(*dev->queue));
	if (!dev->queue) {
		ret = err_set(e, -ENOMEM, "%s: no memory for its queues", dev->name);
		goto fail;
	}
	for (i = 0; i < init->nr_queues; i++) {
		struct virtio_queue *q = &dev->queue[i];

		vq_init(&q->vq, &vq_ops, dev->env.gm, dev->name, i, init->queue_size);
		q->dev = dev;
		q->loop = virtio_env_loop(&dev->env, i);
		pthread_mutex_init(&q->own, NULL);
		q->lock = init->own_locks ? &q->own : &dev->lock;
		q->external = init->external >> i & 1;
		q->kick.fn = kick_event;
		q->kick.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (q->kick.fd < 0) {
			ret = err_set(e, -errno, "%s: eventfd: %s", dev->name, strerror(errno));
			goto fail;
		}
		dev->nr_queues++;
		/* Edge triggered: each write is an event, and none has to be read back. */
		ret = q->external ? 0 : loop_add(q->loop, &q->kick, EPOLLIN | EPOLLET);
		if (ret < 0) {
			err_set(e, ret, "%s: event loop: %s", dev->name, strerror(-ret));
			goto fail;
		}
	}
	return 0;

fail:
	virtio_dev_destroy(dev);
	return ret;
}

void virtio_dev_destroy(struct virtio_dev *dev)
{
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		struct virtio_queue *q = &dev->queue[i];

		if (!q->external)
			loop_del(q->loop, &q->kick);
		close(q->kick.fd);
		vq_destroy(&q->vq);
		pthread_mutex_destroy(&q->own);
	}
	free(dev->queue);
	dev->queue = NULL;
	dev->nr_queues = 0;
	pthread_mutex_destroy(&dev->lock);
}

void virtio_dev_config_changed(struct virtio_dev *dev)
{
	dev->config_gen++;
	if (dev->running && dev->transport)
		dev->transport->config_irq(dev->transport);
}

int virtio_dev_queue_fd(struct virtio_dev *dev, unsigned int q)
{
	if (!dev->transport || !dev->transport->queue_fd)
		return -1;
	return dev->transport->queue_fd(dev->transport, q);
}

void virtio_dev_queue_irq(struct virtio_dev *dev, unsigned int q)
{
	queue_notify(&dev->queue[q].vq);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

/* Requests in flight: of queue @q if there is one and the device can tell, else of all. */
static unsigned int inflight(struct virtio_dev *dev, const struct virtio_queue *q)
{
	if (q && dev->ops->queue_inflight)
		return dev->ops->queue_inflight(dev, q->vq.index);
	return dev->ops->inflight ? dev->ops->inflight(dev) : 0;
}

static void cancel(struct virtio_dev *dev, const struct virtio_queue *q)
{
	if (!q || !dev->ops->queue_inflight)
		dev->ops->cancel(dev);
	else if (dev->ops->queue_cancel)
		dev->ops->queue_cancel(dev, q->vq.index);
}

/*
 * Wait until no request (of queue @q, if there is one) is in flight. The lock is dropped while
 * waiting, so the loop's thread may reap as well. Returns false if there are still some after
 * @limit_ms.
 */
static bool drain(struct virtio_dev *dev, const struct virtio_queue *q, unsigned int patience_ms,
		  unsigned int limit_ms)
{
	uint64_t start = now_ms();
	bool cancelled = false;
	bool done = true;

	if (!dev->ops->inflight)
		return true;
	dev->draining = true;
	dev->ops->reap(dev);
	while (inflight(dev, q)) {
		uint64_t waited = now_ms() - start;

		if (waited >= limit_ms) {
			done = false;
			break;
		}
		if (waited >= patience_ms && !cancelled) {
			cancel(dev, q);
			cancelled = true;
		}
		virtio_dev_unlock(dev);
		dev->ops->wait(dev, WAIT_SLICE_MS);
		virtio_dev_lock(dev);
		dev->ops->reap(dev);
	}
	dev->draining = false;
	return done;
}

/* Another vCPU may be draining; each such wait is bounded. */
static void wait_for_drain(struct virtio_dev *dev)
{
	static const struct timespec slice = { .tv_nsec = 1000000 };

	while (dev->draining) {
		virtio_dev_unlock(dev);
		nanosleep(&slice, NULL);
		virtio_dev_lock(dev);
	}
}

static void finish_reset(struct virtio_dev *dev)
{
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		dev->queue[i].in_reset = false;
	dev->stuck = false;
	dev->status = 0;
	dev->driver_features = 0;
	if (dev->ops->reset)
		dev->ops->reset(dev);
	if (dev->transport)
		dev->transport->reset(dev->transport);
}

/* Tell a device with a back end of its own that a queue begins or ends to be in use. */
static int tell_queue(struct virtio_dev *dev, struct virtio_queue *q, bool on)
{
	if (!dev->ops->queue || q->started == on)
		return 0;
	q->started = on;
	return dev->ops->queue(dev, q->vq.index, on);
}

/* From here on nothing is written to its rings. */
static void disable_queue(struct virtio_dev *dev, struct virtio_queue *q)
{
	tell_queue(dev, q, false);
	lock_queue(q);
	vq_disable(&q->vq);
	unlock_queue(q);
}

static void reset(struct virtio_dev *dev)
{
	wait_for_drain(dev);
	dev->running = false;
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		disable_queue(dev, &dev->queue[i]);
	if (!drain(dev, NULL, RESET_PATIENCE_MS, RESET_LIMIT_MS)) {
		log_rated(&dev->rate, LOG_ERROR, "%s: %u requests did not end within %d ms after a "
			  "reset; the device stays out of service until they have", dev->name,
			  dev->ops->inflight(dev), RESET_LIMIT_MS);
		dev->stuck = true;
		dev->status = VIRTIO_CONFIG_S_NEEDS_RESET;
		return;
	}
	finish_reset(dev);
}

/* After a reset that gave up: is it over now? */
static void settle(struct virtio_dev *dev)
{
	if (!dev->stuck || dev->draining)
		return;
	dev->ops->reap(dev);
	if (!dev->ops->inflight(dev))
		finish_reset(dev);
}

static bool features_acceptable(struct virtio_dev *dev)
{
	static const struct {
		unsigned int bit;
		bool realm_only;
		const char *name;
	} required[] = {
		/* Without it the driver expects the register layout of 2008. */
		{ VIRTIO_F_VERSION_1, false, "VIRTIO_F_VERSION_1" },
		/* Without it the driver hands out addresses of private memory. */
		{ VIRTIO_F_ACCESS_PLATFORM, true, "VIRTIO_F_ACCESS_PLATFORM" },
	};

	if (dev->driver_features & ~dev->features) {
		log_rated(&dev->rate, LOG_WARNING, "%s: the driver accepts features that were not "
			  "offered (%#" PRIx64 ")", dev->name,
			  dev->driver_features & ~dev->features);
		return false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(required); i++) {
		if (dev->driver_features & VIRTIO_F(required[i].bit))
			continue;
		if (required[i].realm_only && !dev->env.realm)
			continue;
		log_rated(&dev->rate, LOG_WARNING, "%s: the driver declines %s, which %s needs",
			  dev->name, required[i].name,
			  required[i].realm_only ? "a realm" : "every driver");
		return false;
	}
	return true;
}

static void start(struct virtio_dev *dev)
{
	int ret = dev->ops->start ? dev->ops->start(dev) : 0;

	for (unsigned int i = 0; i < dev->nr_queues && ret >= 0; i++)
		if (dev->queue[i].vq.ready)
			ret = tell_queue(dev, &dev->queue[i], true);
	if (ret < 0) {
		needs_reset(dev);
		return;
	}
	dev->running = true;
	/* Buffers may be there already, and kicks that came too early were ignored. */
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		virtio_dev_kick(dev, i);
}

static void advance_status(struct virtio_dev *dev, uint8_t new)
{
	uint8_t old = dev->status, set;

	if (dev->draining || dev->stuck)
		return;
	if (old & ~VIRTIO_CONFIG_S_NEEDS_RESET & ~new) {
		log_rated(&dev->rate, LOG_WARNING, "%s: the driver tried to clear bits of status "
			  "%#x by writing %#x", dev->name, old, new);
		return;
	}
	set = new & ~old & STATUS_KNOWN;
	if ((set & VIRTIO_CONFIG_S_FEATURES_OK) &&
	    (!(new & VIRTIO_CONFIG_S_DRIVER) || !features_acceptable(dev)))
		set &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	if ((set & VIRTIO_CONFIG_S_DRIVER_OK) && !((old | set) & VIRTIO_CONFIG_S_FEATURES_OK)) {
		log_rated(&dev->rate, LOG_WARNING, "%s: DRIVER_OK without FEATURES_OK ignored",
			  dev->name);
		set &= ~VIRTIO_CONFIG_S_DRIVER_OK;
	}
	atomic_fetch_or(&dev->status, set);
	if ((set & VIRTIO_CONFIG_S_DRIVER_OK) && !(dev->status & VIRTIO_CONFIG_S_NEEDS_RESET) &&
	    !dev->stopped)
		start(dev);
	if (set & VIRTIO_CONFIG_S_FAILED)
		log_rated(&dev->rate, LOG_WARNING, "%s: the driver gave up on the device",
			  dev->name);
}

uint32_t virtio_dev_features(struct virtio_dev *dev, uint32_t word)
{
	return word < 2 ? dev->features >> (32 * word) : 0;
}

void virtio_dev_set_features(struct virtio_dev *dev, uint32_t word, uint32_t bits)
{
	virtio_dev_lock(dev);
	if (!(dev->status & VIRTIO_CONFIG_S_FEATURES_OK) && !dev->draining) {
		if (word < 2) {
			dev->driver_features &= ~(0xffffffffULL << (32 * word));
			dev->driver_features |= (uint64_t)bits << (32 * word);
		} else if (bits) {
			log_rated(&dev->rate, LOG_WARNING,
				  "%s: the driver accepts features beyond bit 63", dev->name);
		}
	}
	virtio_dev_unlock(dev);
}

uint8_t virtio_dev_status(struct virtio_dev *dev)
{
	uint8_t status;

	virtio_dev_lock(dev);
	settle(dev);
	status = dev->status;
	virtio_dev_unlock(dev);
	return status;
}

void virtio_dev_set_status(struct virtio_dev *dev, uint8_t status)
{
	virtio_dev_lock(dev);
	if (!status)
		reset(dev);
	else
		advance_status(dev, status);
	virtio_dev_unlock(dev);
}

bool virtio_dev_queue_ready(struct virtio_dev *dev, uint32_t q)
{
	bool ready;

	if (q >= dev->nr_queues)
		return false;
	virtio_dev_lock(dev);
	ready = dev->queue[q].vq.ready;
	virtio_dev_unlock(dev);
	return ready;
}

static bool start_queue(struct virtio_dev *dev, struct virtio_queue *q)
{
	bool ok;

	lock_queue(q);
	ok = !q->vq.broken && !vq_enable(&q->vq, dev->driver_features);
	unlock_queue(q);
	return ok;
}

void virtio_dev_set_queue_ready(struct virtio_dev *dev, uint32_t nr, bool ready)
{
	struct virtio_queue *q;

	if (nr >= dev->nr_queues)
		return;
	virtio_dev_lock(dev);
	q = &dev->queue[nr];
	wait_for_drain(dev);
	if (dev->stuck || q->in_reset || q->vq.ready == ready)
		goto out;
	if (!ready) {
		/* The driver takes the buffers back when this returns. */
		disable_queue(dev, q);
		if (!drain(dev, q, RESET_PATIENCE_MS, RESET_LIMIT_MS))
			virtio_dev_fail(dev, "requests in flight did not end");
	} else if (!(dev->status & VIRTIO_CONFIG_S_FEATURES_OK)) {
		log_rated(&dev->rate, LOG_WARNING,
			  "%s: queue %u made ready before FEATURES_OK, ignored", dev->name, nr);
	} else if (start_queue(dev, q) && dev->running) {
		if (tell_queue(dev, q, true) < 0)
			needs_reset(dev);
		else
			virtio_dev_kick(dev, nr);
	}
out:
	virtio_dev_unlock(dev);
}

void virtio_dev_queue_reset(struct virtio_dev *dev, uint32_t nr)
{
	struct virtio_queue *q;

	if (nr >= dev->nr_queues)
		return;
	virtio_dev_lock(dev);
	q = &dev->queue[nr];
	wait_for_drain(dev);
	if (dev->stuck || q->in_reset)
		goto out;
	if (!(dev->status & VIRTIO_CONFIG_S_FEATURES_OK) ||
	    !(dev->driver_features & VIRTIO_F(VIRTIO_F_RING_RESET))) {
		log_rated(&dev->rate, LOG_WARNING, "%s: reset of queue %u without "
			  "VIRTIO_F_RING_RESET ignored", dev->name, nr);
		goto out;
	}
	disable_queue(dev, q);
	/* What the driver reads from the register says whether it is over. */
	q->in_reset = true;
	q->in_reset = !drain(dev, q, RESET_PATIENCE_MS, RESET_LIMIT_MS);
	if (q->in_reset)
		log_rated(&dev->rate, LOG_ERROR, "%s: %u requests did not end within %d ms after a "
			  "reset of queue %u; it stays out of service until they have", dev->name,
			  inflight(dev, q), RESET_LIMIT_MS, nr);
out:
	virtio_dev_unlock(dev);
}

bool virtio_dev_queue_in_reset(struct virtio_dev *dev, uint32_t nr)
{
	struct virtio_queue *q;
	bool in_reset;

	if (nr >= dev->nr_queues)
		return false;
	virtio_dev_lock(dev);
	q = &dev->queue[nr];
	if (q->in_reset && !dev->draining) {
		dev->ops->reap(dev);
		q->in_reset = inflight(dev, q) != 0;
	}
	in_reset = q->in_reset;
	virtio_dev_unlock(dev);
	return in_reset;
}

static uint64_t *queue_reg(struct vq *vq, enum virtio_queue_reg reg)
{
	return reg == VQ_REG_DESC ? &vq->desc_addr :
	       reg == VQ_REG_DRIVER ? &vq->driver_addr : &vq->device_addr;
}

void virtio_dev_queue_write(struct virtio_dev *dev, uint32_t nr, enum virtio_queue_reg reg,
			    uint64_t val, uint64_t mask)
{
	struct virtio_queue *q;

	if (nr >= dev->nr_queues)
		return;
	virtio_dev_lock(dev);
	q = &dev->queue[nr];
	lock_queue(q);
	if (!q->vq.ready && reg == VQ_REG_NUM) {
		q->vq.num = (val & mask) <= q->vq.max ? val & mask : 0;
	} else if (!q->vq.ready) {
		uint64_t *p = queue_reg(&q->vq, reg);

		*p = (*p & ~mask) | (val & mask);
	}
	unlock_queue(q);
	virtio_dev_unlock(dev);
}

uint64_t virtio_dev_queue_read(struct virtio_dev *dev, uint32_t nr, enum virtio_queue_reg reg)
{
	struct virtio_queue *q;
	uint64_t val;

	if (nr >= dev->nr_queues)
		return 0;
	virtio_dev_lock(dev);
	q = &dev->queue[nr];
	lock_queue(q);
	val = reg == VQ_REG_NUM ? q->vq.num : *queue_reg(&q->vq, reg);
	unlock_queue(q);
	virtio_dev_unlock(dev);
	return val;
}

void virtio_dev_queue_fd_changed(struct virtio_dev *dev, uint32_t q)
{
	virtio_dev_lock(dev);
	if (dev->ops->queue_fd && q < dev->nr_queues)
		dev->ops->queue_fd(dev, q);
	virtio_dev_unlock(dev);
}

uint32_t virtio_dev_config_read(struct virtio_dev *dev, uint64_t off, unsigned int len)
{
	uint32_t val = 0;

	if (len > 4 || off >= dev->config_len)
		return 0;
	virtio_dev_lock(dev);
	memcpy(&val, (const uint8_t *)dev->config + off, MIN(len, dev->config_len - off));
	virtio_dev_unlock(dev);
	return val;
}

void virtio_dev_config_write(struct virtio_dev *dev, uint64_t off, unsigned int len, uint32_t val)
{
	if ((len != 1 && len != 2 && len != 4) || off >= dev->config_len ||
	    len > dev->config_len - off)
		return;
	virtio_dev_lock(dev);
	if (dev->ops->config_write && !dev->stuck)
		dev->ops->config_write(dev, off, len, val);
	virtio_dev_unlock(dev);
}

uint32_t virtio_dev_config_gen(struct virtio_dev *dev)
{
	return dev->config_gen;
}

unsigned int virtio_dev_queues(const struct virtio_dev *dev)
{
	return dev->nr_queues;
}

void virtio_dev_queue_stat(const struct virtio_dev *dev, unsigned int q,
			   struct virtio_queue_stat *out)
{
	const struct vq_count *c = &dev->queue[q].vq.count;

	*out = (struct virtio_queue_stat){
		.external = dev->queue[q].external,
		.requests = atomic_load_explicit(&c->requests, memory_order_relaxed),
		.from_guest = atomic_load_explicit(&c->from_guest, memory_order_relaxed),
		.to_guest = atomic_load_explicit(&c->to_guest, memory_order_relaxed),
		.kicks = atomic_load_explicit(&c->kicks, memory_order_relaxed),
		.interrupts = atomic_load_explicit(&c->interrupts, memory_order_relaxed),
	};
}

const char *virtio_dev_state(const struct virtio_dev *dev)
{
	uint8_t status = atomic_load(&dev->status);

	if (status & (VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED))
		return "failed";
	return status & VIRTIO_CONFIG_S_DRIVER_OK ? "running" : "idle";
}

void virtio_dev_stop(struct virtio_dev *dev)
{
	virtio_dev_lock(dev);
	dev->stopped = true;
	dev->running = false;
	wait_for_drain(dev);
	/* Who serves rings from outside must let go of them; ours stay for requests in flight. */
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		tell_queue(dev, &dev->queue[i], false);
	if (!drain(dev, NULL, STOP_LIMIT_MS, STOP_LIMIT_MS))
		log_error("%s: %u requests did not end within %d s", dev->name,
			  dev->ops->inflight(dev), STOP_LIMIT_MS / 1000);
	virtio_dev_unlock(dev);
}

void virtio_dev_free(struct virtio_dev *dev)
{
	if (dev)
		dev->ops->free(dev);
}
