// SPDX-License-Identifier: BSD-3-Clause
/* Packed rings. Input: what ring_run() takes. */
#include "tests/fuzz/ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ring_run(true, data, size);
	return 0;
}

void fuzz_seeds(void)
{
	ring_seeds();
}
