// SPDX-License-Identifier: BSD-3-Clause
/*
 * Persistent memory (virtio 1.2, section 5.19): a file that the machine has mapped into the guest's
 * address space. The device itself only says where, and brings what the guest has written to the
 * disk when it asks for that.
 *
 * That may take its time, so a thread of its own does it, one request after another: what arrives
 * meanwhile stays in the ring. A request in flight holds no memory of the guest.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pmem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "virtio/dev.h"
#include "vmm/core/err.h"
#include "vmm/core/thread.h"

/* #syscalls main,io: fdatasync read eventfd2 */

#define QUEUE_SIZE	64
/* Section 5.19.6.1 */
#define RESP_OK		0
#define RESP_EIO	1

/**
 * struct pmem - the device
 * @fd:     -1: nothing is kept, a flush is done at once
 * @cur, @busy: the request that the worker has
 * @work, @quit: for the worker; @result: its answer; guarded by @mutex
 * @done:   eventfd: the worker has finished
 */
struct pmem {
	struct virtio_dev dev;
	struct virtio_pmem_config config;
	int fd;
	struct vq_chain cur;
	bool busy;
	struct loop_src done;
	pthread_t worker;
	bool has_worker;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool work, quit;
	int result;
};

static struct pmem *to_pmem(struct virtio_dev *dev)
{
	return container_of(dev, struct pmem, dev);
}

static void *worker(void *arg)
{
	struct pmem *p = arg;
	const uint64_t one = 1;
	int ret;

	pthread_mutex_lock(&p->mutex);
	for (;;) {
		while (!p->work && !p->quit)
			pthread_cond_wait(&p->cond, &p->mutex);
		if (p->quit)
			break;
		p->work = false;
		pthread_mutex_unlock(&p->mutex);
		ret = fdatasync(p->fd) < 0 ? -errno : 0;
		pthread_mutex_lock(&p->mutex);
		p->result = ret;
		if (write(p->done.fd, &one, sizeof(one)) < 0)
			continue;	/* the counter is full: it will be read */
	}
	pthread_mutex_unlock(&p->mutex);
	return NULL;
}

static void answer(struct vq *vq, const struct vq_chain *c, uint32_t ret)
{
	const struct virtio_pmem_resp resp = { htole32(ret) };

	vq_push(vq, &c->head, vq_write(vq, c, 0, &resp, sizeof(resp)) < 0 ? 0 : sizeof(resp));
}

static void pmem_kick(struct virtio_dev *dev, unsigned int q)
{
	struct pmem *p = to_pmem(dev);
	struct vq *vq = &dev->queue[q].vq;
	unsigned int budget = vq->num;

	if (p->busy || vq_begin(vq) < 0)
		return;
	while (!p->busy && budget && vq_pop(vq, &p->cur) > 0) {
		struct virtio_pmem_req req;

		budget--;
		if (vq_read(vq, &p->cur, 0, &req, sizeof(req)) < 0 ||
		    req.type != htole32(VIRTIO_PMEM_REQ_TYPE_FLUSH)) {
			log_rated(&dev->rate, LOG_WARNING, "%s: the driver sends a request that nobody "
				  "knows", dev->name);
			answer(vq, &p->cur, RESP_EIO);
		} else if (p->fd < 0) {
			answer(vq, &p->cur, RESP_OK);
		} else {
			p->busy = true;
			pthread_mutex_lock(&p->mutex);
			p->work = true;
			pthread_cond_signal(&p->cond);
			pthread_mutex_unlock(&p->mutex);
		}
	}
	if (!budget)
		virtio_dev_kick(dev, q);
	vq_end(vq);
}

static void done_event(struct loop_src *src, uint32_t events)
{
	struct pmem *p = container_of(src, struct pmem, done);
	struct vq *vq = &p->dev.queue[0].vq;
	uint64_t n;
	int ret;

	if (read(src->fd, &n, sizeof(n)) != sizeof(n))
		return;
	pthread_mutex_lock(&p->mutex);
	ret = p->result;
	pthread_mutex_unlock(&p->mutex);
	if (ret < 0)
		log_rated(&p->dev.rate, LOG_ERROR, "%s: the file cannot be written to the disk: %s",
			  p->dev.name, strerror(-ret));
	virtio_dev_lock(&p->dev);
	p->busy = false;
	/* Of a queue that was reset meanwhile there is nobody to answer to. */
	if (p->dev.running && p->cur.head.epoch == vq->epoch && vq_begin(vq) == 0) {
		answer(vq, &p->cur, ret < 0 ? RESP_EIO : RESP_OK);
		vq_end(vq);
	}
	if (p->dev.running && vq->ready && !vq->broken)
		pmem_kick(&p->dev, 0);
	virtio_dev_unlock(&p->dev);
}

static void pmem_free(struct virtio_dev *dev)
{
	struct pmem *p = to_pmem(dev);

	if (p->has_worker) {
		pthread_mutex_lock(&p->mutex);
		p->quit = true;
		pthread_cond_signal(&p->cond);
		pthread_mutex_unlock(&p->mutex);
		pthread_join(p->worker, NULL);
	}
	if (p->done.fd >= 0) {
		loop_del(dev->queue[0].loop, &p->done);
		close(p->done.fd);
	}
	virtio_dev_destroy(dev);
	pthread_cond_destroy(&p->cond);
	pthread_mutex_destroy(&p->mutex);
	free(p);
}

static const struct virtio_dev_ops pmem_ops = {
	.id = VIRTIO_ID_PMEM,
	.kick = pmem_kick,
	.free = pmem_free,
};

int virtio_pmem_new(const struct virtio_env *env, const struct virtio_pmem_cfg *cfg,
		    struct virtio_dev **out, struct err *e)
{
	struct pmem *p = calloc(1, sizeof(*p));
	const struct virtio_dev_init init = {
		.name = "virtio-pmem",
		.ops = &pmem_ops,
		.env = env,
		.config = p ? &p->config : NULL,
		.config_len = sizeof(struct virtio_pmem_config),
		.nr_queues = 1,
		.queue_size = QUEUE_SIZE,
		.in_order = true,
	};
	int ret;

	*out = NULL;
	if (!p)
		return err_set(e, -ENOMEM, "virtio-pmem: no memory");
	p->fd = cfg->fd;
	p->config.start = htole64(cfg->start);
	p->config.size = htole64(cfg->size);
	p->done = (struct loop_src){ -1, done_event };
	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->cond, NULL);
	ret = virtio_dev_init(&p->dev, &init, e);
	if (ret < 0) {
		pthread_cond_destroy(&p->cond);
		pthread_mutex_destroy(&p->mutex);
		free(p);
		return ret;
	}
	p->done.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = p->done.fd < 0 ? -errno : loop_add(p->dev.queue[0].loop, &p->done, EPOLLIN);
	if (!ret && p->fd >= 0) {
		ret = thread_start(&p->worker, THREAD_IO, "pmem", worker, p);
		p->has_worker = !ret;
	}
	if (ret < 0) {
		err_set(e, ret, "virtio-pmem: worker thread: %s", strerror(-ret));
		pmem_free(&p->dev);
		return ret;
	}
	*out = &p->dev;
	return 0;
}
