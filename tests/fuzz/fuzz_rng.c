// SPDX-License-Identifier: BSD-3-Clause
/* The entropy device. Input: what vrig_run() takes. */
#include "tests/fuzz/vrig.h"

static void make(struct vrig *r, struct input *how)
{
	struct err e;

	PROPERTY(!virtio_rng_new(&r->env, &r->dev, &e));
}

static const struct vrig_kind kind = { .make = make };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	vrig_run(&kind, data, size);
	return 0;
}

void fuzz_seeds(void)
{
	static const uint16_t small[] = { 64, 4096, 0 }, large[] = { 65535, 65535, 65535, 0 };
	struct vrig_seed s;

	for (unsigned int i = 0; i < 4; i++) {
		vrig_seed_start(&s, i & 1, i & 2, NULL, 0);
		for (unsigned int n = 0; n < 4; n++)
			vrig_seed_chain(&s, 0, "", 1, NULL, n & 1 ? large : small);
		vrig_seed_kick(&s, 0);
		vrig_seed_private(&s, 30, true);
		vrig_seed_chain(&s, 0, "", 1, small, large);
		vrig_seed_kick(&s, 0);
		vrig_seed_private(&s, 30, false);
		vrig_seed_rest(&s);
		vrig_seed_end(&s, (const char *[]){ "a", "b", "c", "d" }[i]);
	}
}
