/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --trace: the launch and the life of a VM as a trace that Perfetto and Chrome show ("Trace Event
 * Format", the array form of its JSON).
 *
 * Theory of operation
 *  - Off: trace_begin() and its like are a relaxed load and a branch.
 *  - On: each thread fills a ring of its own, without a lock. One thread writes what is in the
 *    rings to the file, at once when a ring is half full, else ten times a second. A ring that is
 *    full takes no more; what it did not take is counted and said in the trace and in a warning.
 *  - Memory is bounded: TRACE_THREADS rings. So is the file: TRACE_FILE_MAX.
 *  - The array is closed by trace_close(). A file whose process was killed lacks that; viewers of
 *    this format do without.
 *
 * Names, categories and keys are string constants. Any other text is copied (TRACE_TEXT bytes of
 * it) and escaped when it is written.
 */
#ifndef CORE_TRACE_H
#define CORE_TRACE_H

#include <stdatomic.h>

#include "vmm/core/types.h"

struct err;

#define TRACE_ARGS	3
#define TRACE_TEXT	24			/* with the NUL */
#define TRACE_RING	8192			/* events; a power of 2 */
#define TRACE_THREADS	128			/* at a time; 88 MiB if all of them fill theirs */
#define TRACE_FILE_MAX	(UINT64_C(1) << 30)	/* no viewer takes more */

/**
 * struct trace_kind - what is the same in all events of a kind; static
 * @cat:  category
 * @text: name of the text, NULL: there is none
 * @arg:  names of the numbers, NULL: no more; one that begins with '#' is shown in hexadecimal
 */
struct trace_kind {
	const char *cat;
	const char *text;
	const char *arg[TRACE_ARGS];
};

enum trace_phase {
	TRACE_SPAN,	/* something that the thread did, inside of what else it did meanwhile */
	TRACE_ASYNC,	/* something that went on beside other things: an I/O request */
	TRACE_MARK,	/* a moment */
};

extern _Atomic bool trace_is_on;

/** trace_on() - is there anybody who wants to know? */
static inline bool trace_on(void)
{
	return __builtin_expect(atomic_load_explicit(&trace_is_on, memory_order_relaxed), false);
}

/** trace_now() - nanoseconds of CLOCK_MONOTONIC, which is what a trace counts in */
uint64_t trace_now(void);

/** trace_put() - record an event; use the functions below */
void trace_put(enum trace_phase phase, const struct trace_kind *k, const char *name, uint64_t began,
	       const char *text, uint64_t a, uint64_t b, uint64_t c);

/** trace_begin() - something begins. Return: when, for trace_span() or trace_async(); 0: off */
static inline uint64_t trace_begin(void)
{
	return trace_on() ? trace_now() : 0;
}

/**
 * trace_span() - what began at @began on this thread has ended
 * @name:    string constant
 * @began:   of trace_begin(); 0: nothing is recorded
 * @text:    for @k->text, or NULL
 * @a, @b, @c: for @k->arg
 */
static inline void trace_span(const struct trace_kind *k, const char *name, uint64_t began,
			      const char *text, uint64_t a, uint64_t b, uint64_t c)
{
	if (__builtin_expect(began != 0, false))
		trace_put(TRACE_SPAN, k, name, began, text, a, b, c);
}

/** trace_async() - the same for what overlaps with others on its thread, or began on another */
static inline void trace_async(const struct trace_kind *k, const char *name, uint64_t began,
			       const char *text, uint64_t a, uint64_t b, uint64_t c)
{
	if (__builtin_expect(began != 0, false))
		trace_put(TRACE_ASYNC, k, name, began, text, a, b, c);
}

/** trace_mark() - something happened */
static inline void trace_mark(const struct trace_kind *k, const char *name, const char *text,
			      uint64_t a, uint64_t b, uint64_t c)
{
	if (trace_on())
		trace_put(TRACE_MARK, k, name, 0, text, a, b, c);
}

/**
 * trace_open() - begin a trace
 * @path:  file that is made or overwritten
 * @title: name of the process in the trace, NULL: none but the program's
 *
 * One at a time. Return: 0, or a negative errno with @e set.
 */
int trace_open(const char *path, const char *title, struct err *e);
/**
 * trace_prepare() - the first half of trace_open(): events are recorded, no thread writes them yet
 *
 * For as long as there may be no threads; what does not fit into the rings meanwhile is lost.
 */
int trace_prepare(const char *path, const char *title, struct err *e);
/** trace_start() - the second half; nothing to do without the first */
int trace_start(struct err *e);

/** trace_close() - write the rest and close the file; nothing to do without trace_open() */
void trace_close(void);

#endif
