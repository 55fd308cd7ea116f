/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An I/O address space: what the devices of one guest can reach. Back ends: iommufd.c, type1.c.
 *
 * A mapping is taken back as it was made, whole: the kernel refuses to split one. Who maps keeps
 * the list (dma.h).
 */
#ifndef VFIO_IOMMU_H
#define VFIO_IOMMU_H

#include "vmm/core/types.h"

struct err;
struct iommu;

/** struct iova_range - addresses that can be mapped, both ends inclusive */
struct iova_range {
	uint64_t first, last;
};

/**
 * struct iommu_ops - a back end
 * @map:   let devices read and write [host, host + len) at @iova; pins the pages. -ENOMEM: the
 *         limit of locked memory; -ENOSPC: no more mappings; -EINVAL: reserved, or beyond the
 *         aperture; -EEXIST: overlaps another. @e has one line with the remedy
 * @unmap: take one mapping back; returns when no device can reach it any more
 * @free:  close the address space; devices are detached already
 */
struct iommu_ops {
	const char *name;
	int (*map)(struct iommu *io, uint64_t iova, uint64_t len, void *host, struct err *e);
	int (*unmap)(struct iommu *io, uint64_t iova, uint64_t len, struct err *e);
	void (*free)(struct iommu *io);
};

/**
 * struct iommu - the common part of a back end's object
 * @page_sizes: bit n: it can map 2^n bytes; the smallest is what addresses are aligned to
 * @range, @nr: addresses that can be mapped, in ascending order, with what is reserved (the window
 *         of messages, regions of firmware) left out; of all devices attached so far
 */
struct iommu {
	const struct iommu_ops *ops;
	uint64_t page_sizes;
	struct iova_range *range;
	unsigned int nr;
};

/** iommu_allows() - can all of [iova, iova + len) be mapped? */
bool iommu_allows(const struct iommu *io, uint64_t iova, uint64_t len);

#endif
