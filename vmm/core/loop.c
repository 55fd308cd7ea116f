// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/loop.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "vmm/core/err.h"

/*
 * #syscalls main,io: epoll_pwait epoll_wait epoll_pwait2 read
 * #syscalls main: epoll_create1 timerfd_create eventfd2 close
 * #syscalls all: epoll_ctl timerfd_settime write
 */

#define BATCH 16
#define NSEC_PER_SEC 1000000000ULL

static void stop_event(struct loop_src *src, uint32_t events)
{
	(void)src;
	(void)events;		/* left readable: a stopped loop stays stopped */
}

int loop_init(struct loop *l, struct err *e)
{
	int ret;

	memset(l, 0, sizeof(*l));
	l->stopfd = -1;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0)
		goto fail;
	l->stopfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->stopfd < 0)
		goto fail;
	l->stop_src = (struct loop_src){ l->stopfd, stop_event };
	ret = loop_add(l, &l->stop_src, EPOLLIN);
	if (ret < 0) {
		errno = -ret;
		goto fail;
	}
	return 0;

fail:
	ret = -errno;
	loop_destroy(l);
	return err_set(e, ret, "event loop: %s", strerror(-ret));
}

void loop_destroy(struct loop *l)
{
	if (l->stopfd >= 0)
		close(l->stopfd);
	if (l->epfd >= 0)
		close(l->epfd);
	l->stopfd = l->epfd = -1;
}

static int ctl(struct loop *l, int op, struct loop_src *src, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	return epoll_ctl(l->epfd, op, src->fd, &ev) < 0 ? -errno : 0;
}

int loop_add(struct loop *l, struct loop_src *src, uint32_t events)
{
	return ctl(l, EPOLL_CTL_ADD, src, events);
}

int loop_mod(struct loop *l, struct loop_src *src, uint32_t events)
{
	return ctl(l, EPOLL_CTL_MOD, src, events);
}

void loop_del(struct loop *l, struct loop_src *src)
{
	ctl(l, EPOLL_CTL_DEL, src, 0);
	for (int i = 0; i < l->batch_len; i++)
		if (l->batch[i].data.ptr == src)
			l->batch[i].data.ptr = NULL;
}

static void timer_event(struct loop_src *src, uint32_t events)
{
	struct loop_timer *t = container_of(src, struct loop_timer, src);
	uint64_t n;

	(void)events;
	if (read(src->fd, &n, sizeof(n)) == sizeof(n))	/* else it was re-armed meanwhile */
		t->fn(t);
}

int loop_timer_add(struct loop *l, struct loop_timer *t, void (*fn)(struct loop_timer *t))
{
	int ret;

	t->fn = fn;
	t->src.fn = timer_event;
	t->src.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (t->src.fd < 0)
		return -errno;
	ret = loop_add(l, &t->src, EPOLLIN);
	if (ret < 0) {
		close(t->src.fd);
		t->src.fd = -1;
	}
	return ret;
}

void loop_timer_set(struct loop_timer *t, uint64_t ns)
{
	struct itimerspec its = {
		.it_value = { .tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC },
	};

	timerfd_settime(t->src.fd, 0, &its, NULL);
}

void loop_timer_del(struct loop *l, struct loop_timer *t)
{
	if (t->src.fd < 0)
		return;
	loop_del(l, &t->src);
	close(t->src.fd);
	t->src.fd = -1;
}

uint64_t loop_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

void loop_soon_set(struct loop *l, struct loop_soon *soon, uint64_t ns)
{
	if (!soon->at) {
		soon->next = l->soon;
		l->soon = soon;
	}
	soon->at = loop_now() + ns;
}

void loop_soon_cancel(struct loop *l, struct loop_soon *soon)
{
	struct loop_soon **p = &l->soon;

	if (!soon->at)
		return;
	while (*p != soon)
		p = &(*p)->next;
	*p = soon->next;
	soon->at = 0;
}

/* Call what is due, one after the other: a call may set and cancel others. */
static int call_soon(struct loop *l)
{
	uint64_t now = loop_now();
	int n = 0;

	for (struct loop_soon *s = l->soon; s;) {
		if (s->at > now) {
			s = s->next;
			continue;
		}
		loop_soon_cancel(l, s);
		s->fn(s);
		n++;
		s = l->soon;
	}
	return n;
}

/* epoll_pwait2() is younger (Linux 5.11) than what else is needed here: then to the millisecond. */
static int wait_until(struct loop *l, struct epoll_event *ev, uint64_t at, int timeout_ms)
{
	uint64_t now = loop_now(), ns = at > now ? at - now : 0;
	struct timespec ts;
	int n;

	if (timeout_ms >= 0)
		ns = MIN(ns, (uint64_t)timeout_ms * 1000000);
	ts = (struct timespec){ ns / NSEC_PER_SEC, ns % NSEC_PER_SEC };
	n = epoll_pwait2(l->epfd, ev, BATCH, &ts, NULL);
	if (n < 0 && errno == ENOSYS)
		n = epoll_wait(l->epfd, ev, BATCH, (ns + 999999) / 1000000);
	return n;
}

static int wait_events(struct loop *l, struct epoll_event *ev, int timeout_ms)
{
	uint64_t at = UINT64_MAX;

	l->waits++;
	if (!l->soon)
		return epoll_wait(l->epfd, ev, BATCH, timeout_ms);
	for (struct loop_soon *s = l->soon; s; s = s->next)
		at = MIN(at, s->at);
	return wait_until(l, ev, at, timeout_ms);
}

int loop_once(struct loop *l, int timeout_ms)
{
	struct epoll_event ev[BATCH];
	int n;

	n = wait_events(l, ev, timeout_ms);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	l->batch = ev;
	l->batch_len = n;
	for (int i = 0; i < n; i++) {
		struct loop_src *src = ev[i].data.ptr;

		if (src)
			src->fn(src, ev[i].events);
	}
	l->batch = NULL;
	l->batch_len = 0;
	return l->soon ? n + call_soon(l) : n;
}

int loop_run(struct loop *l)
{
	int ret = 0;

	while (!atomic_load(&l->stopped) && ret >= 0)
		ret = loop_once(l, -1);
	return MIN(ret, 0);
}

void loop_stop(struct loop *l)
{
	uint64_t one = 1;

	if (atomic_exchange(&l->stopped, true))
		return;		/* whoever was first has woken it */
	if (write(l->stopfd, &one, sizeof(one)) < 0)
		return;		/* full counter: readable already */
}

void loop_rearm(struct loop *l)
{
	uint64_t n;

	atomic_store(&l->stopped, false);
	if (read(l->stopfd, &n, sizeof(n)) < 0)
		return;		/* it was not stopped */
}
