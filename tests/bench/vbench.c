// SPDX-License-Identifier: BSD-3-Clause
/*
 * vbench [NAME...]: the device engines driven through a ring in memory, on this machine, without
 * KVM. Driver and device take turns in one thread, so what is measured is the work of both; the
 * line of the ring alone, of the same depth, is what to take off. No figure makes it fail.
 *
 * Columns: requests per second, nanoseconds and CPU nanoseconds per request; system calls per
 * request: those of the loop, of the engine, and one for each interrupt, which is an eventfd as in
 * a machine (but nobody reads it).
 */
#include "tests/bench/vbench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "virtio/dev.h"

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

uint64_t vb_now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

void vb_begin(struct vb_run *r, const struct vdriver *vd)
{
	*r = (struct vb_run){
		.wall = vb_now(),
		.cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID),
		.waits = vd->loop.waits,
		.irqs = vd->irqs,
	};
}

void vb_end(struct vb_run *r, const struct vdriver *vd, const char *name, uint64_t n)
{
	uint64_t wall = vb_now() - r->wall, cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - r->cpu;
	uint64_t calls = vd->loop.waits - r->waits + vd->irqs - r->irqs + r->calls;

	printf("%-28s %10.0f/s %8.0f ns %8.0f cpu-ns %7.3f calls\n", name, n * 1e9 / wall,
	       (double)wall / n, (double)cpu / n, (double)calls / n);
	fflush(stdout);
}

void vb_serve(struct vdriver *vd)
{
	assert_true(loop_once(&vd->loop, 1000) >= 0);
}

static void raise_irq(struct irq_line *line, int level)
{
	static int fd = -1;
	uint64_t one = 1;

	if (fd < 0)
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
	((struct vdriver *)line->ctx)->irqs++;
}

void vb_init(struct vdriver *vd)
{
	vd_init(vd, false);
	vd->env.packed = true;
	vd->irq.set = raise_irq;
}

/* ---- the ring alone ---- */

static void null_kick(struct virtio_dev *dev, unsigned int q)
{
	struct vq *vq = &dev->queue[q].vq;
	struct vq_chain c;

	if (vq_begin(vq) < 0)
		return;
	while (vq_pop(vq, &c) > 0)
		vq_push(vq, &c.head, 1);
	vq_end(vq);
}

static void null_free(struct virtio_dev *dev)
{
	virtio_dev_destroy(dev);
	free(dev);
}

static const struct virtio_dev_ops null_ops = { .id = 2, .kick = null_kick, .free = null_free };

static void ring(const char *kind, uint64_t features, unsigned int depth)
{
	struct virtio_dev_init init = { .name = "null", .ops = &null_ops, .nr_queues = 1,
					.queue_size = 256 };
	/* as the block device has it: header, data, status */
	static const struct vq_seg seg[3] = { { VD_DATA, 16 }, { VD_DATA + 4096, 4096 },
					      { VD_DATA + 16, 1 } };
	struct virtio_dev *dev = calloc(1, sizeof(*dev));
	struct vring_used_elem u;
	struct vdriver vd;
	struct vb_run run;
	uint64_t n = 0;
	char name[64];
	struct err e;

	vb_init(&vd);
	init.env = &vd.env;
	assert_int_equal(virtio_dev_init(dev, &init, &e), 0);
	vd_attach(&vd, dev);
	vd_start(&vd, features, 1, 256);
	vb_begin(&run, &vd);
	for (unsigned int i = 0; vb_now() - run.wall < VB_NSEC; i++, n += depth) {
		for (unsigned int k = 0; k < depth; k++)
			vd_add_indirect(&vd, 0, seg, 3, 1, VD_DATA + 0x10000 + 48 * k);
		vd_ask_irq(&vd, 0, true);
		if (vd_wants_kick(&vd, 0))
			virtio_dev_kick(dev, 0);
		for (unsigned int k = 0; k < depth;)
			if (vd_used(&vd, 0, &u))
				k++;
			else
				vb_serve(&vd);
	}
	snprintf(name, sizeof(name), "ring %s depth %u", kind, depth);
	vb_end(&run, &vd, name, n);
	vd_destroy(&vd);
}

void vb_ring(void)
{
	static const unsigned int depth[] = { 1, 32, 128 };

	for (size_t i = 0; i < ARRAY_SIZE(depth); i++) {
		ring("split", VB_F_SPLIT, depth[i]);
		ring("packed", VB_F_PACKED, depth[i]);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} all[] = {
		{ "ring", vb_ring },
		{ "blk", vb_blk },
		{ "net", vb_net },
	};

	log_set_level(LOG_ERROR);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		bool wanted = argc < 2;

		for (int a = 1; a < argc; a++)
			wanted |= !strcmp(argv[a], all[i].name);
		if (wanted)
			all[i].run();
	}
	return 0;
}
