// SPDX-License-Identifier: BSD-3-Clause
/* 4 KiB requests at random places of a file in the page cache. */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/bench/vbench.h"
#include "virtio/blk_int.h"

#define FILE_SIZE	(64u << 20)
#define BYTES		4096u
#define HDR		VD_DATA
#define STATUS		(VD_DATA + 0x8000)
#define TABLE		(VD_DATA + 0x10000)
#define BUF		(VD_DATA + 0x20000)

struct load {
	struct vdriver vd;
	struct virtio_blk *blk;
	uint32_t type;
	unsigned int place[256];	/* by the ring's name of a chain: whose buffers it has */
	unsigned int seed;
};

static void add(struct load *l, unsigned int k)
{
	struct virtio_blk_outhdr hdr = {
		.type = l->type,
		.sector = (uint64_t)(rand_r(&l->seed) % (FILE_SIZE / BYTES)) * (BYTES / BLK_SECTOR),
	};
	struct vq_seg seg[3] = { { HDR + 16 * k, 16 }, { BUF + BYTES * k, BYTES },
				 { STATUS + k, 1 } };

	memcpy(vd_ptr(&l->vd, HDR + 16 * k), &hdr, sizeof(hdr));
	l->place[vd_add_indirect(&l->vd, 0, seg, 3, l->type == VIRTIO_BLK_T_IN ? 1 : 2,
				 TABLE + 48 * k)] = k;
}

static uint64_t engine_calls(const struct load *l)
{
	return blkio_stat(l->blk->queue[0].io)->calls;
}

/* Always @depth on their way: whatever comes back is offered again, with one kick at most. */
static void measure(struct load *l, const char *name, unsigned int depth)
{
	struct vring_used_elem u;
	uint64_t n = 0, calls = engine_calls(l);
	struct vb_run run;

	vb_begin(&run, &l->vd);
	for (unsigned int k = 0; k < depth; k++)
		add(l, k);
	for (unsigned int out = depth; out;) {
		bool more = vb_now() - run.wall < VB_NSEC;

		if (vd_wants_kick(&l->vd, 0))
			virtio_dev_kick(l->vd.dev, 0);
		vd_ask_irq(&l->vd, 0, true);
		if (!vd_used(&l->vd, 0, &u)) {
			vb_serve(&l->vd);
			continue;
		}
		do {
			unsigned int k = l->place[u.id];

			assert_int_equal(*(uint8_t *)vd_ptr(&l->vd, STATUS + k), VIRTIO_BLK_S_OK);
			n++;
			if (more)
				add(l, k);
			else
				out--;
		} while (vd_used(&l->vd, 0, &u));
	}
	run.calls = engine_calls(l) - calls;
	vb_end(&run, &l->vd, name, n);
}

static void bench(int fd, const char *kind, uint64_t features, bool worker, unsigned int depth,
		  uint32_t type)
{
	struct virtio_blk_cfg cfg = { .fd = fd, .path = "bench", .no_uring = worker };
	struct load *l = calloc(1, sizeof(*l));
	struct virtio_dev *dev;
	char name[64];
	struct err e;

	l->type = type;
	l->seed = 1;
	vb_init(&l->vd);
	assert_int_equal(virtio_blk_new(&l->vd.env, &cfg, &dev, &e), 0);
	l->blk = container_of(dev, struct virtio_blk, dev);
	vd_attach(&l->vd, dev);
	vd_start(&l->vd, features | VD_F(VIRTIO_BLK_F_FLUSH), 1, 256);
	snprintf(name, sizeof(name), "blk %s %s%s depth %u", kind,
		 type == VIRTIO_BLK_T_IN ? "read" : "write", worker ? " worker" : "", depth);
	measure(l, name, depth);
	vd_destroy(&l->vd);
	free(l);
}

void vb_blk(void)
{
	static const unsigned int depth[] = { 1, 32, 128 };
	FILE *f = tmpfile();
	int fd = f ? fileno(f) : -1;
	uint8_t *block = calloc(1, 1 << 20);

	if (fd < 0 || !block) {
		printf("blk: no temporary file: %s\n", strerror(errno));
		exit(1);
	}
	for (unsigned int i = 0; i < FILE_SIZE >> 20; i++)
		assert_int_equal(write(fd, block, 1 << 20), 1 << 20);
	for (size_t i = 0; i < ARRAY_SIZE(depth); i++) {
		bench(fd, "split", VB_F_SPLIT, false, depth[i], VIRTIO_BLK_T_IN);
		bench(fd, "packed", VB_F_PACKED, false, depth[i], VIRTIO_BLK_T_IN);
		bench(fd, "split", VB_F_SPLIT, false, depth[i], VIRTIO_BLK_T_OUT);
		bench(fd, "split", VB_F_SPLIT, true, depth[i], VIRTIO_BLK_T_IN);
	}
	free(block);
	fclose(f);
}
