/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the frame offers to targets, beside input.h. A target is one file fuzz_NAME.c with
 * LLVMFuzzerTestOneInput() and a row in the table tests/fuzz/targets.
 *
 * Seeds come from a target's fuzz_seeds(), which is called instead of the fuzzer when FUZZ_SEEDS in
 * the environment names a directory, and from a function of that name in tests/fuzz/seeds.sh.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "tests/fuzz/input.h"

/** fuzz_seeds() - of a target: calls fuzz_seed() for each input to begin with; may be missing */
void fuzz_seeds(void);
/** fuzz_seed() - write one seed */
void fuzz_seed(const char *name, const void *data, size_t len);

#endif
