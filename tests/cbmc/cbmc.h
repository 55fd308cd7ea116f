/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the proofs share. Each harness_NAME() is a program for CBMC: any value that any_*() may
 * return is tried, assume() leaves out those that the callers exclude, and assert() must hold for
 * all the others. The sources are included as they are, so that their static functions can be
 * called.
 */
#ifndef TESTS_CBMC_H
#define TESTS_CBMC_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void __CPROVER_assume(_Bool condition);
#define assume(c) __CPROVER_assume(c)

/* CBMC takes a function without body by this prefix for one that may return anything. */
#define ANY(name, type)			\
	type nondet_##name(void);	\
	static inline type any_##name(void) { return nondet_##name(); }

ANY(bool, bool)
ANY(int, int)
ANY(u16, uint16_t)
ANY(u32, uint32_t)
ANY(u64, uint64_t)

#endif
