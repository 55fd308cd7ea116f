// SPDX-License-Identifier: BSD-3-Clause
/*
 * Two ways to do I/O behind one interface.
 *
 * io_uring: requests wait in a list until there is a free entry in the ring, so a burst larger
 * than the ring needs no error path. The ring's descriptor is in the event loop by itself: it is
 * readable while there are completions, so those reaped right after their submission (a read from
 * the page cache ends there) cost no wake-up, as one through an eventfd would. The file is
 * registered with the ring. Buffers are not: they are the guest's, and must not stay pinned.
 * The ring starts disabled and is given restrictions first: the operations named in ops[], on that
 * one file, and no registration but the end of that file's. Whoever gets hold of the ring can do no
 * more with it than what a disk does.
 *
 * Several threads use a ring, one after the other (blkio.h), and completions must reach whichever
 * does: so neither SINGLE_ISSUER nor DEFER_TASKRUN, with which only the first could. COOP_TASKRUN
 * spares the loop's thread an interruption when a request ends while it is busy: its next system
 * call brings the completion.
 *
 * Worker thread: takes requests from the same list, one at a time, in order.
 */
#include "virtio/blkio.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef HAVE_URING
#include <liburing.h>
#endif

#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/thread.h"

/*
 * #syscalls io: preadv pwritev2 fdatasync fallocate
 * #syscalls main,vcpu,io?uring: io_uring_enter
 * #syscalls main?uring: io_uring_setup io_uring_register
 * #syscalls main,io: read eventfd2
 * #syscalls main,vcpu,io: write close
 */

/* What a ring is good for: a burst of more costs a second system call, no more. */
#define SQ_MAX	128u
#define CQ_MAX	4096u

struct list {
	struct blkio_req *head, **tail;
};

struct blkio {
	int fd;
	struct loop *loop;
	struct blkio_owner *owner;
	struct loop_src wake;		/* eventfd: worker, blkio_wake() */
	struct list waiting;		/* not started; the worker's list, too */
	struct list ended;		/* not yet told to the owner; the worker's, too */
	bool uring, fixed;
	bool restricted;		/* the ring takes nothing but what is used here */
	bool timed;			/* the kernel can wait for a while in one call */
	unsigned int started;		/* entries that the ring has taken and not given back */
	struct blkio_stat stat;
#ifdef HAVE_URING
	struct io_uring ring;
	struct loop_src ring_src;
#endif
	/* worker; the lock guards both lists */
	pthread_mutex_t lock;
	pthread_cond_t more;
	pthread_t thread;
	bool stop;
};

static void list_init(struct list *l)
{
	l->head = NULL;
	l->tail = &l->head;
}

static void list_add(struct list *l, struct blkio_req *req)
{
	req->next = NULL;
	*l->tail = req;
	l->tail = &req->next;
}

static struct blkio_req *list_take(struct list *l)
{
	struct blkio_req *req = l->head;

	if (req) {
		l->head = req->next;
		if (!l->head)
			l->tail = &l->head;
	}
	return req;
}

static void list_del(struct list *l, struct blkio_req *req)
{
	struct blkio_req **p = &l->head;

	while (*p != req)
		p = &(*p)->next;
	*p = req->next;
	if (!*p)
		l->tail = p;
}

void blkio_wake(struct blkio *io)
{
	uint64_t one = 1;

	if (write(io->wake.fd, &one, sizeof(one)) < 0)
		return;		/* the counter is full, so the event is there */
}

static void wake_event(struct loop_src *src, uint32_t events)
{
	struct blkio *io = container_of(src, struct blkio, wake);

	io->owner->event(io->owner);
}

/* ---- worker thread ---- */

static int perform(int fd, struct blkio_req *req)
{
	ssize_t n = -EINVAL;

	switch (req->op) {
	case BLKIO_READ:
		n = preadv(fd, req->iov, req->nr_iov, req->off);
		break;
	case BLKIO_WRITE:
		n = pwritev2(fd, req->iov, req->nr_iov, req->off, req->flags);
		break;
	case BLKIO_FLUSH:
		n = fdatasync(fd);
		break;
	case BLKIO_FALLOCATE:
		n = fallocate(fd, req->flags, req->off, req->len);
		break;
	}
	return n < 0 ? -errno : n;	/* Linux moves less than 2 GiB per call */
}

static void *worker(void *arg)
{
	struct blkio *io = arg;
	struct blkio_req *req;

	pthread_mutex_lock(&io->lock);
	while (!io->stop) {
		req = list_take(&io->waiting);
		if (!req) {
			pthread_cond_wait(&io->more, &io->lock);
			continue;
		}
		req->queued = false;
		io->stat.reqs++;
		io->stat.calls++;
		pthread_mutex_unlock(&io->lock);
		req->res = perform(io->fd, req);
		pthread_mutex_lock(&io->lock);
		list_add(&io->ended, req);
		if (io->ended.head == req)	/* else they have been woken already */
			blkio_wake(io);
	}
	pthread_mutex_unlock(&io->lock);
	return NULL;
}

static int worker_start(struct blkio *io, struct err *e)
{
	int ret = thread_start(&io->thread, THREAD_IO, "blk", worker, io);

	if (ret < 0)
		return err_set(e, ret, "I/O thread: %s", strerror(-ret));
	return 0;
}

/* ---- io_uring ---- */

#ifdef HAVE_URING

static void ring_event(struct loop_src *src, uint32_t events)
{
	struct blkio *io = container_of(src, struct blkio, ring_src);

	io->owner->event(io->owner);
}

static const int ops[] = {
	IORING_OP_READ, IORING_OP_READV, IORING_OP_WRITE, IORING_OP_WRITEV, IORING_OP_FSYNC,
	IORING_OP_FALLOCATE, IORING_OP_ASYNC_CANCEL,
};

static bool uring_has_ops(struct io_uring *ring)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	bool all = probe;

	for (size_t i = 0; probe && i < ARRAY_SIZE(ops); i++)
		all = all && io_uring_opcode_supported(probe, ops[i]);
	io_uring_free_probe(probe);
	return all;
}

/*
 * Linux before 5.19 does not know COOP_TASKRUN. It refuses a cancellation that names a registered
 * file, as the restrictions want it of each entry, so there the ring has none.
 */
static int uring_setup(struct io_uring *ring, unsigned int depth, unsigned int *features)
{
	unsigned int cq = MIN(2 * depth, CQ_MAX);
	struct io_uring_params p = { .flags = 0 };
	int ret = -EINVAL;

	for (int old = 0; old < 2 && ret == -EINVAL; old++) {
		p = (struct io_uring_params){
			.flags = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE |
				 (old ? 0 : IORING_SETUP_COOP_TASKRUN | IORING_SETUP_R_DISABLED),
			.cq_entries = cq,
		};
		ret = io_uring_queue_init_params(MIN(depth, SQ_MAX), ring, &p);
	}
	*features = p.features;
	return ret;
}

/* The shared liburing of Debian 12 leaves out its functions for these two. */
static int uring_register(struct blkio *io, unsigned int what, const void *arg, unsigned int n)
{
	return syscall(SYS_io_uring_register, io->ring.ring_fd, what, arg, n) < 0 ? -errno : 0;
}

/* Return: 0 or a negative errno; the ring is not enabled then */
static int uring_restrict(struct blkio *io)
{
	struct io_uring_restriction r[ARRAY_SIZE(ops) + 3] = { 0 };
	unsigned int n = 0;

	for (; n < ARRAY_SIZE(ops); n++) {
		r[n].opcode = IORING_RESTRICTION_SQE_OP;
		r[n].sqe_op = ops[n];
	}
	r[n].opcode = IORING_RESTRICTION_REGISTER_OP;
	r[n++].register_op = IORING_UNREGISTER_FILES;
	r[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	r[n++].sqe_flags = IOSQE_FIXED_FILE;
	if (io->fixed) {
		r[n].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
		r[n++].sqe_flags = IOSQE_FIXED_FILE;
	}
	io->restricted = !uring_register(io, IORING_REGISTER_RESTRICTIONS, r, n) && io->fixed;
	return uring_register(io, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

/* Returns 0 or a negative errno, which is the reason for using the worker. */
static int uring_start(struct blkio *io, unsigned int depth)
{
	unsigned int features;
	int ret;

	ret = uring_setup(&io->ring, depth, &features);
	if (ret < 0)
		return ret;
	ret = -EOPNOTSUPP;
	if (!uring_has_ops(&io->ring))
		goto fail;
	io->timed = features & IORING_FEAT_EXT_ARG;
	/* Saves a reference count per request; no harm if it fails. */
	io->fixed = io_uring_register_files(&io->ring, &io->fd, 1) == 0;
	if (io->ring.flags & IORING_SETUP_R_DISABLED) {
		ret = uring_restrict(io);
		if (ret < 0)
			goto fail;
	}
	io->ring_src.fd = io->ring.ring_fd;
	io->ring_src.fn = ring_event;
	ret = loop_add(io->loop, &io->ring_src, EPOLLIN);
	if (ret < 0)
		goto fail;
	io->uring = true;
	return 0;

fail:
	io_uring_queue_exit(&io->ring);
	return ret;
}

static void prepare(struct blkio *io, struct io_uring_sqe *sqe, struct blkio_req *req)
{
	int fd = io->fixed ? 0 : io->fd;

	switch (req->op) {
	case BLKIO_READ:
		if (req->nr_iov == 1)
			io_uring_prep_read(sqe, fd, req->iov->iov_base,
					   MIN(req->iov->iov_len, 1u << 30), req->off);
		else
			io_uring_prep_readv(sqe, fd, req->iov, req->nr_iov, req->off);
		break;
	case BLKIO_WRITE:
		if (req->nr_iov == 1)
			io_uring_prep_write(sqe, fd, req->iov->iov_base,
					    MIN(req->iov->iov_len, 1u << 30), req->off);
		else
			io_uring_prep_writev(sqe, fd, req->iov, req->nr_iov, req->off);
		sqe->rw_flags = req->flags;
		break;
	case BLKIO_FLUSH:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	case BLKIO_FALLOCATE:
		io_uring_prep_fallocate(sqe, fd, req->flags, req->off, req->len);
		break;
	}
	if (io->fixed)
		sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(sqe, req);
}

/* One system call. Returns what io_uring_submit() does; that time was up is no error. */
static int enter(struct blkio *io, unsigned int want, uint64_t ns)
{
	struct __kernel_timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
	struct io_uring_cqe *cqe;
	int ret;

	io->stat.calls++;
	if (!want || !io->timed)
		return io_uring_submit(&io->ring);
	ret = io_uring_submit_and_wait_timeout(&io->ring, &cqe, want, &ts, NULL);
	return ret == -ETIME ? 0 : ret;
}

static void uring_submit(struct blkio *io, unsigned int want, uint64_t ns)
{
	for (;;) {
		struct io_uring_sqe *sqe;
		unsigned int wait = 0, ready;
		int ret;

		while (io->waiting.head && (sqe = io_uring_get_sqe(&io->ring))) {
			struct blkio_req *req = list_take(&io->waiting);

			req->queued = false;
			io->started++;
			io->stat.reqs++;
			prepare(io, sqe, req);
		}
		ready = io_uring_sq_ready(&io->ring);
		/* Wait with the last call, and only if there is something to wait for. */
		if (!io->waiting.head && io->timed)
			wait = MIN(want, io->started);
		if (!ready && io_uring_cq_ready(&io->ring) >= wait)
			return;
		ret = enter(io, wait, ns);
		want = 0;
		if (ret == -EINTR)
			continue;
		if (ret < 0 || (!ret && ready)) {
			/*
			 * Out of memory, or completions overflowed (EAGAIN, EBUSY): what was not
			 * taken stays in the ring, and the loop comes back for it.
			 */
			blkio_wake(io);
			return;
		}
	}
}

static void uring_reap(struct blkio *io)
{
	struct io_uring_cqe *cqe;

	while (!io_uring_peek_cqe(&io->ring, &cqe)) {
		struct blkio_req *req = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&io->ring, cqe);
		io->started--;
		if (req)	/* else the result of a cancellation */
			io->owner->done(io->owner, req, res);
	}
}

static unsigned int uring_ready(const struct blkio *io)
{
	return io_uring_cq_ready(&io->ring);
}

static void uring_cancel(struct blkio *io, struct blkio_req *req)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);

	if (!sqe) {
		uring_submit(io, 0, 0);
		sqe = io_uring_get_sqe(&io->ring);
	}
	if (!sqe)
		return;		/* it ends in its own time */
	io_uring_prep_cancel(sqe, req, 0);
	if (io->fixed)
		sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(sqe, NULL);
	io->started++;
	uring_submit(io, 0, 0);
}

#else

static int uring_start(struct blkio *io, unsigned int depth)
{
	return -ENOSYS;
}

static void uring_submit(struct blkio *io, unsigned int want, uint64_t ns)
{
}

static void uring_reap(struct blkio *io)
{
}

static void uring_cancel(struct blkio *io, struct blkio_req *req)
{
}

static unsigned int uring_ready(const struct blkio *io)
{
	return 0;
}

#endif

/* ---- the interface ---- */

int blkio_new(struct loop *loop, int fd, const char *name, unsigned int depth, bool threads,
	      struct blkio_owner *owner, struct blkio **out, struct err *e)
{
	struct blkio *io;
	int ret;

	*out = NULL;
	io = calloc(1, sizeof(*io));
	if (!io)
		return err_set(e, -ENOMEM, "no memory");
	io->fd = fd;
	io->loop = loop;
	io->owner = owner;
	list_init(&io->waiting);
	list_init(&io->ended);
	pthread_mutex_init(&io->lock, NULL);
	pthread_cond_init(&io->more, NULL);
	io->wake.fn = wake_event;
	io->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (io->wake.fd < 0) {
		ret = err_set(e, -errno, "eventfd: %s", strerror(errno));
		goto free_io;
	}
	ret = loop_add(loop, &io->wake, EPOLLIN | EPOLLET);
	if (ret < 0) {
		err_set(e, ret, "event loop: %s", strerror(-ret));
		goto close_wake;
	}
	if (!threads) {
		ret = uring_start(io, depth);
		if (ret < 0)
			log_info("%s: no io_uring (%s): a thread does the I/O", name,
				 ret == -EPERM ? "the host forbids it" : strerror(-ret));
		else if (!io->restricted)
			log_info("%s: this kernel does not restrict an io_uring to what disks need "
				 "(Linux 5.19)", name);
	}
	if (!io->uring) {
		ret = worker_start(io, e);
		if (ret < 0)
			goto del_wake;
	}
	*out = io;
	return 0;

del_wake:
	loop_del(loop, &io->wake);
close_wake:
	close(io->wake.fd);
free_io:
	pthread_cond_destroy(&io->more);
	pthread_mutex_destroy(&io->lock);
	free(io);
	return ret;
}

void blkio_free(struct blkio *io)
{
	if (!io)
		return;
	if (!io->uring) {
		pthread_mutex_lock(&io->lock);
		io->stop = true;
		pthread_cond_signal(&io->more);
		pthread_mutex_unlock(&io->lock);
		pthread_join(io->thread, NULL);
	}
#ifdef HAVE_URING
	if (io->uring) {
		loop_del(io->loop, &io->ring_src);
		/*
		 * The kernel takes its time to end a ring, which would keep the file open and its
		 * lock in force: the next to open it would find it in use.
		 */
		if (io->fixed)
			io_uring_unregister_files(&io->ring);
		io_uring_queue_exit(&io->ring);
	}
#endif
	loop_del(io->loop, &io->wake);
	close(io->wake.fd);
	pthread_cond_destroy(&io->more);
	pthread_mutex_destroy(&io->lock);
	free(io);
}

bool blkio_uses_uring(const struct blkio *io)
{
	return io->uring;
}

void blkio_queue(struct blkio *io, struct blkio_req *req)
{
	req->queued = true;
	if (io->uring) {
		list_add(&io->waiting, req);
		return;
	}
	pthread_mutex_lock(&io->lock);
	list_add(&io->waiting, req);
	pthread_cond_signal(&io->more);
	pthread_mutex_unlock(&io->lock);
}

void blkio_submit(struct blkio *io, unsigned int want, uint64_t ns)
{
	if (io->uring)
		uring_submit(io, want, ns);
}

unsigned int blkio_started(const struct blkio *io)
{
	return io->started;
}

unsigned int blkio_ready(const struct blkio *io)
{
	return io->uring ? uring_ready(io) : 0;
}

const struct blkio_stat *blkio_stat(const struct blkio *io)
{
	return &io->stat;
}

void blkio_reap(struct blkio *io)
{
	struct blkio_req *req, *next;

	if (io->uring)
		uring_reap(io);
	pthread_mutex_lock(&io->lock);
	req = io->ended.head;
	list_init(&io->ended);
	pthread_mutex_unlock(&io->lock);
	for (; req; req = next) {
		next = req->next;
		io->owner->done(io->owner, req, req->res);
	}
}

void blkio_cancel(struct blkio *io, struct blkio_req *req)
{
	bool mine;

	pthread_mutex_lock(&io->lock);
	mine = req->queued;
	if (mine) {		/* not started: it ends here */
		list_del(&io->waiting, req);
		req->queued = false;
		req->res = -ECANCELED;
		list_add(&io->ended, req);
	}
	pthread_mutex_unlock(&io->lock);
	if (mine)
		blkio_wake(io);
	else if (io->uring)
		uring_cancel(io, req);
}

void blkio_wait(struct blkio *const *io, unsigned int nr, unsigned int ms)
{
	struct pollfd *fds = calloc(2 * nr + 1, sizeof(*fds));
	unsigned int n = 0;
	uint64_t count;
	bool woken = false;

	if (!fds)
		return;
	for (unsigned int i = 0; i < nr; i++) {
		if (!io[i])
			continue;
		fds[n++] = (struct pollfd){ .fd = io[i]->wake.fd, .events = POLLIN };
#ifdef HAVE_URING
		if (io[i]->uring)
			fds[n++] = (struct pollfd){ .fd = io[i]->ring_src.fd, .events = POLLIN };
#endif
		/*
		 * The counter of the eventfd is never read otherwise: take old events out, or
		 * poll() would not wait. One that comes in between costs a slice of waiting, no
		 * more.
		 */
		woken |= read(io[i]->wake.fd, &count, sizeof(count)) == sizeof(count);
	}
	if (!woken)
		poll(fds, n, ms);
	free(fds);
}
