/* SPDX-License-Identifier: BSD-3-Clause */
/* The native benchmark: devices driven through rings in memory, without KVM. */
#ifndef TESTS_VBENCH_H
#define TESTS_VBENCH_H

#include "tests/unit/vdriver.h"

#define VB_NSEC		300000000ULL	/* how long each measure takes, about */
#define VB_F_SPLIT	VD_F_ALL
#define VB_F_PACKED	(VD_F_ALL | VD_F_PACKED)

/**
 * struct vb_run - one measure, begun by vb_begin()
 * @calls: system calls that the device made beside those of its loop, or 0
 */
struct vb_run {
	uint64_t wall, cpu, waits;
	unsigned int irqs;
	uint64_t calls;
};

/** vb_now() - nanoseconds of CLOCK_MONOTONIC */
uint64_t vb_now(void);
/** vb_init() - vd_init() of a plain VM, packed rings offered, interrupts through an eventfd */
void vb_init(struct vdriver *vd);
/** vb_begin() - begin a measure */
void vb_begin(struct vb_run *r, const struct vdriver *vd);
/** vb_end() - end it, print its line: @name, and per request what it took; @n: requests done */
void vb_end(struct vb_run *r, const struct vdriver *vd, const char *name, uint64_t n);
/** vb_serve() - one turn of the loop, which must not wait for more than a moment */
void vb_serve(struct vdriver *vd);

/** vb_ring() - what the ring alone costs: a device that gives each buffer back */
void vb_ring(void);
/** vb_blk() - the block device, on a file in the page cache */
void vb_blk(void);
/** vb_net() - the network device, between sockets and on a tap */
void vb_net(void);

#endif
