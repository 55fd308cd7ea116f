/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_FUZZ_RING_H
#define TESTS_FUZZ_RING_H

#include "tests/fuzz/vrig.h"

/**
 * ring_run() - a virtqueue without a device, for LLVMFuzzerTestOneInput(): the input says what the
 * driver does to the ring and what a device does with the queue
 */
void ring_run(bool packed, const uint8_t *data, size_t size);
/** ring_seeds() - for fuzz_seeds() */
void ring_seeds(void);

#endif
