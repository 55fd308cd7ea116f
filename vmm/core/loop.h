/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The event loop: descriptors and timers served by one thread. All callbacks of a loop run on the
 * thread that is in loop_run(); loop_stop() may be used from any thread and from
 * signal handlers.
 */
#ifndef CORE_LOOP_H
#define CORE_LOOP_H

#include <sys/epoll.h>

#include "vmm/core/types.h"

struct err;

/**
 * struct loop_src - a descriptor that the loop watches
 * @fd: descriptor
 * @fn: called with the EPOLL* bits that are set; may delete any source, its own too
 *
 * Embed it in the object it belongs to (container_of). Storage must live until loop_del().
 */
struct loop_src {
	int fd;
	void (*fn)(struct loop_src *src, uint32_t events);
};

/**
 * struct loop_soon - a call after a short while
 * @at: when, nanoseconds of CLOCK_MONOTONIC; 0: not set
 *
 * Unlike a timer it costs no system call of its own: the loop waits no longer than until then. It
 * belongs to the loop's thread, no other may set or cancel it while that runs.
 */
struct loop_soon {
	void (*fn)(struct loop_soon *soon);
	uint64_t at;
	struct loop_soon *next;
};

struct loop {
	int epfd;
	int stopfd;			/* eventfd: loop_stop() */
	struct loop_src stop_src;
	_Atomic bool stopped;
	struct epoll_event *batch;	/* events being delivered, for loop_del() in a callback */
	int batch_len;
	struct loop_soon *soon;		/* those that are set */
	uint64_t waits;			/* how often the loop's thread has asked for events */
};

/** loop_init() - make an empty loop */
int loop_init(struct loop *l, struct err *e);
/** loop_destroy() - close it; sources belong to their owners */
void loop_destroy(struct loop *l);

/**
 * loop_add() - watch a descriptor
 * @events: EPOLLIN, EPOLLOUT, EPOLLET, ...
 *
 * Return: 0 or a negative errno; -EPERM: a regular file, which is always ready (epoll(7)).
 */
int loop_add(struct loop *l, struct loop_src *src, uint32_t events);
/** loop_mod() - change the events of a source; 0 pauses it (hang-ups are still told) */
int loop_mod(struct loop *l, struct loop_src *src, uint32_t events);
/** loop_del() - forget a source; also from callbacks: it gets no event of this round any more */
void loop_del(struct loop *l, struct loop_src *src);

/**
 * struct loop_timer - a timer of a loop (CLOCK_MONOTONIC)
 * @src: its timerfd
 * @fn:  called when it expires
 */
struct loop_timer {
	struct loop_src src;
	void (*fn)(struct loop_timer *t);
};

/** loop_timer_add() - make a timer, not yet running */
int loop_timer_add(struct loop *l, struct loop_timer *t, void (*fn)(struct loop_timer *t));
/** loop_timer_set() - expire once in @ns nanoseconds from now; 0 stops it */
void loop_timer_set(struct loop_timer *t, uint64_t ns);
/** loop_timer_del() - stop and free */
void loop_timer_del(struct loop *l, struct loop_timer *t);

/** loop_now() - the time that loop_soon_set() counts from, nanoseconds */
uint64_t loop_now(void);
/** loop_soon_set() - call @fn in @ns nanoseconds, again from now if it was set already */
void loop_soon_set(struct loop *l, struct loop_soon *soon, uint64_t ns);
/** loop_soon_cancel() - do not call it */
void loop_soon_cancel(struct loop *l, struct loop_soon *soon);

/** loop_run() - serve until loop_stop(). Return: 0 or a negative errno */
int loop_run(struct loop *l);
/** loop_once() - serve what is ready, wait up to @timeout_ms for it. Return: events served, < 0 */
int loop_once(struct loop *l, int timeout_ms);
/** loop_stop() - make loop_run() return, at once also when it is called later; any thread */
void loop_stop(struct loop *l);
/** loop_rearm() - a stopped loop can run again (the guest was reset) */
void loop_rearm(struct loop *l);

#endif
