/* SPDX-License-Identifier: BSD-3-Clause */
/* One virtqueue without a device, for the tests of the rings: queue 0 of a vdriver. */
#ifndef TESTS_VQ_FIXTURE_H
#define TESTS_VQ_FIXTURE_H

#include "tests/unit/vdriver.h"

#define VQF_NUM 8

/** struct vqf - @notified, @broken: how often the queue called its device */
struct vqf {
	struct vdriver vd;
	struct vq vq;
	unsigned int notified, broken;
};

extern const struct vq_ops vqf_ops;

/** vqf_ready() - a fresh ring of @num entries, of the kind that is in @features */
void vqf_ready(struct vqf *f, uint16_t num, uint64_t features);
/** vqf_serve() - take all chains and give them back; returns how many */
unsigned int vqf_serve(struct vqf *f);

/* Setups for cmocka: VQF_NUM entries and indirect descriptors. */
int vqf_setup(void **state);
int vqf_setup_packed(void **state);
int vqf_setup_realm(void **state);
int vqf_setup_realm_packed(void **state);
int vqf_teardown(void **state);

#endif
