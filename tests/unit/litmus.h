/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small model checker for weak memory: it runs the steps of a few threads in every order that a
 * memory model allows and looks for an outcome that must not be.
 *
 * There is one memory that all threads see alike, as on Arm (version 8) and on x86. What is weak is
 * the order in which a thread's accesses reach it:
 *  - LITMUS_ARM: any order, but for a fence, an acquiring load (before all that follows), a
 *    releasing store (after all that precedes), accesses to the same variable, and a store that
 *    depends on the outcome of a load. Acquire after release is not ordered, as with LDAPR.
 *  - LITMUS_TSO: program order, but a load may overtake stores.
 * A load may take the value of a store of its own thread that has not reached the memory yet.
 */
#ifndef TESTS_LITMUS_H
#define TESTS_LITMUS_H

#include <stdbool.h>
#include <stdint.h>

#define LITMUS_THREADS	2
#define LITMUS_STEPS	24
#define LITMUS_VARS	24
#define LITMUS_CLAUSES	8

enum litmus_model { LITMUS_ARM, LITMUS_TSO };
enum litmus_op { LITMUS_LOAD, LITMUS_ACQUIRE, LITMUS_STORE, LITMUS_RELEASE, LITMUS_FENCE,
		 LITMUS_NOTHING };

/**
 * struct litmus_step - one access
 * @val:     of a store
 * @guarded: a store that is made only if step @guard, a load, has found @guard_val
 * @decides: a load on which the thread branches: stores after it wait for its outcome
 * @site:    where it stands in the source, for who makes the steps
 */
struct litmus_step {
	enum litmus_op op;
	unsigned int var;
	uint64_t val;
	bool guarded, decides;
	unsigned int guard;
	uint64_t guard_val;
	int site;
};

/** struct litmus_clause - load @step of @thread found @val (@equal), or something else */
struct litmus_clause {
	unsigned int thread, step;
	bool equal;
	uint64_t val;
};

/**
 * struct litmus - a test
 * @init:    initial values
 * @all:     the outcome is bad if all of these hold
 * @any:     and at least one of these, if there are any
 */
struct litmus {
	struct litmus_step step[LITMUS_THREADS][LITMUS_STEPS];
	unsigned int nr_steps[LITMUS_THREADS];
	uint64_t init[LITMUS_VARS];
	unsigned int nr_vars;
	struct litmus_clause all[LITMUS_CLAUSES], any[LITMUS_CLAUSES];
	unsigned int nr_all, nr_any;
};

/**
 * litmus_bad() - is there an execution with a bad outcome?
 * @states: how many states were looked at; may be NULL
 */
bool litmus_bad(const struct litmus *l, enum litmus_model model, unsigned long *states);

#endif
