// SPDX-License-Identifier: BSD-3-Clause
/*
 * What it costs to share memory with assigned devices and to take it back: 64 MiB in one piece and
 * in pieces of 4 KiB, through the DMA map of a realm.
 *
 *   vfiobench                             an IOMMU that does nothing: the map's own part
 *   vfiobench iommufd|group DEVICE        the host's, with a device that is bound to vfio-pci
 *
 * "fresh": the pages are made while they are mapped, as those of a guest's first request are.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vfio/dma.h"
#include "vfio/vfio.h"
#include "vmm/core/err.h"
#include "vmm/core/gmem.h"

#define RAM	UINT64_C(0x80000000)
#define BITS	33
#define SIZE	(64 * SZ_1M)
#define ROUNDS	3

static struct err e;

static void must(int ret)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "vfiobench: %s\n", e.msg);
	exit(1);
}

static int no_map(struct iommu *io, uint64_t iova, uint64_t len, void *host, struct err *err)
{
	return 0;
}

static int no_unmap(struct iommu *io, uint64_t iova, uint64_t len, struct err *err)
{
	return 0;
}

static const struct iommu_ops no_ops = { .name = "none", .map = no_map, .unmap = no_unmap };

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

/* Microseconds for all of it, in pieces of @step bytes. */
static double all(struct dma *d, uint64_t step,
		  int (*op)(struct dma *, ipa_t, uint64_t, struct err *))
{
	double from = now_us();

	for (uint64_t at = 0; at < SIZE; at += step)
		must(op(d, RAM + at, step, &e));
	return now_us() - from;
}

static void round_of(struct dma *d, const char *what, uint64_t step)
{
	double share = all(d, step, dma_share), take = all(d, step, dma_unshare);

	printf("%-8s %6" PRIu64 " KiB x %-6" PRIu64 " share %10.1f us  take back %10.1f us\n", what,
	       step / 1024, SIZE / step, share, take);
}

int main(int argc, char **argv)
{
	struct iova_range everything = { 0, UINT64_MAX };
	struct iommu none = { &no_ops, SZ_4K, &everything, 1 };
	struct dma_cfg cfg = {
		.iommu = &none,
		.split = ipa_split(BITS, true),
		.mode = DMA_DYNAMIC,
	};
	int fd = memfd_create("vfiobench", MFD_CLOEXEC);
	struct vfio_device *dev;
	struct vfio *v = NULL;
	struct gmem gm;
	struct dma *d;
	void *p;

	if (argc == 3 && (!strcmp(argv[1], "iommufd") || !strcmp(argv[1], "group"))) {
		must(vfio_new(NULL, *argv[1] == 'i' ? VFIO_IOMMUFD : VFIO_GROUP, &v, &e));
		must(vfio_add(v, argv[2], &dev, &e));
		cfg.iommu = vfio_iommu(v);
	} else if (argc != 1) {
		fprintf(stderr, "usage: vfiobench [iommufd|group DEVICE]\n");
		return 2;
	}
	if (fd < 0 || ftruncate(fd, SIZE) < 0) {
		perror("vfiobench: memfd");
		return 1;
	}
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED) {
		perror("vfiobench: mmap");
		return 1;
	}
	madvise(p, SIZE, MADV_NOHUGEPAGE);
	must(gmem_init(&gm, &e));
	must(gmem_add(&gm, RAM, SIZE, p, fd, &e));
	cfg.gm = &gm;
	must(dma_new(&cfg, &d, &e));
	must(dma_start(d, &e));
	printf("%s\n", v ? vfio_backend_name(v) : "no IOMMU");
	round_of(d, "fresh", SIZE);
	for (unsigned int i = 0; i < ROUNDS; i++)
		round_of(d, "again", SIZE);
	for (unsigned int i = 0; i < ROUNDS; i++)
		round_of(d, "again", SZ_4K);
	dma_free(d);
	gmem_destroy(&gm);
	munmap(p, SIZE);
	close(fd);
	vfio_free(v);
	return 0;
}
