// SPDX-License-Identifier: BSD-3-Clause
/*
 * Each kick is an exit of the guest and a wake-up here, each interrupt a system call here and more
 * exits there. A guest with many requests on their way needs neither for each of them: with
 * EVENT_IDX it can be asked to kick when a certain number has come, and what has ended can be held
 * back until there is more. Both must not cost a guest that waits for every single request.
 *
 * Kicks: @want grows only on evidence that requests come without an answer to those before, and
 * falls when fewer came in time. After a failure it grows again only after some successes, and more
 * of them each time, so a wrong guess costs little over time.
 *
 * Interrupts: a disk that ends requests about as fast as we can tell the guest of them is waited
 * for a little, until half of them are there, so that neither it nor the guest runs dry; one that
 * is slower is soon not waited for any more. While it has something to do every new request goes to
 * it at once.
 *
 * Below DEEP requests there is little to gain, and a parallel disk would have much to lose.
 *
 * How long is measured by what telling the guest takes: waiting a few times that long cannot make
 * much difference to the guest, on a fast machine or on a slow one.
 */
#include "virtio/blk_int.h"

/* In units of what telling the guest takes. */
#define PATIENCE_KICK	32
#define PATIENCE_DONE	8
/* Bounds of that, nanoseconds: an exit and the way back; what an emulated machine needs. */
#define COST_MIN	2000
#define COST_MAX	200000
/* More than this is no better: the cost of an exit is shared by so many already. */
#define WANT_MAX	64u
#define DEEP		8u
#define CALM		16u
#define FAILS_MAX	6u	/* calm << fails: 1024 rounds */
#define MISSES_MAX	10u	/* 1 << misses: 1024 rounds */

void blk_pace_init(struct blk_pace *p)
{
	*p = (struct blk_pace){ .cost = COST_MIN, .want = 1 };
}

void blk_pace_came(struct blk_pace *p, unsigned int n, unsigned int asked, bool late)
{
	if (late && asked > 1 && n < asked) {
		/* Nothing at all: the guest rests, which says nothing of what it does next. */
		if (n)
			p->want = MAX(n - n / 4 - (n < 4), 1U);
		p->calm = CALM << p->fails;
		p->fails = MIN(p->fails + 1, FAILS_MAX);
		p->grown = false;
		return;
	}
	if (n < 2 || n < asked)
		return;
	if (p->grown)
		p->fails = 0;	/* that was right */
	p->grown = false;
	if (p->calm) {
		p->calm--;
		return;
	}
	p->grown = p->want < WANT_MAX;
	p->want = MIN(MIN(MAX(p->want, n) + p->want / 4 + 1, n + n / 2), WANT_MAX);
}

unsigned int blk_pace_ask(const struct blk_pace *p, unsigned int inflight)
{
	return inflight || p->want < DEEP ? 1 : p->want;
}

uint64_t blk_pace_patience(const struct blk_pace *p)
{
	return p->cost * PATIENCE_KICK;
}

uint64_t blk_pace_hold(const struct blk_pace *p)
{
	return p->cost * PATIENCE_DONE;
}

unsigned int blk_pace_want(struct blk_pace *p, unsigned int inflight)
{
	if (inflight < DEEP)
		return 0;
	if (p->skip) {
		p->skip--;
		return 0;
	}
	return MIN(inflight / 2, WANT_MAX);
}

void blk_pace_waited(struct blk_pace *p, unsigned int want, unsigned int ready)
{
	if (!want)
		return;
	if (2 * ready >= want) {
		p->misses = 0;
		return;
	}
	p->misses = MIN(p->misses + 1, MISSES_MAX);
	p->skip = 1U << p->misses;
}

void blk_pace_told(struct blk_pace *p, uint64_t ns)
{
	/* One that is far beyond was not the interrupt but another thread that had its turn. */
	ns = MIN(MIN(MAX(ns, (uint64_t)COST_MIN), (uint64_t)COST_MAX), 4 * p->cost);
	/* Up quickly and down slowly: those without an interrupt are cheap and do not count. */
	if (ns > p->cost)
		p->cost += (ns - p->cost) / 8;
	else
		p->cost -= (p->cost - ns) / 32;
}
