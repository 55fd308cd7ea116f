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
struct vfio_sys;

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
 * @limit: most mappings there can be at a time; 0: no limit
 * @pinned: bytes in mappings now; memory that is mapped twice counts twice, as the kernel counts
 */
struct iommu {
	const struct iommu_ops *ops;
	uint64_t page_sizes;
	struct iova_range *range;
	unsigned int nr;
	uint32_t limit;
	uint64_t pinned;
};

/** iommu_allows() - can all of [iova, iova + len) be mapped? */
bool iommu_allows(const struct iommu *io, uint64_t iova, uint64_t len);
/** iommu_page() - bytes that addresses and lengths are aligned to */
uint64_t iommu_page(const struct iommu *io);

/**
 * iommu_memlock() - may this process pin so much memory?
 * @bytes: in all, with what is pinned already
 *
 * Return: 0, also where CAP_IPC_LOCK lifts the limit; -ENOMEM with the figure that is needed.
 */
int iommu_memlock(uint64_t bytes, struct err *e);

/* ---- for the back ends ----------------------------------------------------------------------- */

/**
 * iommu_set_ranges() - replace the list of usable addresses
 * @r: as the kernel has them: sorted and merged here, refused if one ends before it begins
 */
int iommu_set_ranges(struct iommu *io, const struct iova_range *r, size_t nr, struct err *e);
/** iommu_map_check() - refuse what the kernel would, with words. Return: 0, -EINVAL */
int iommu_map_check(const struct iommu *io, uint64_t iova, uint64_t len, const void *host,
		    struct err *e);
/** iommu_map_failed() - the kernel refused a mapping with @ret: say why. Return: @ret */
int iommu_map_failed(const struct iommu *io, uint64_t iova, uint64_t len, int ret, struct err *e);

/** type1_new() - a container, without groups yet */
int type1_new(const struct vfio_sys *sys, struct iommu **out, struct err *e);
/**
 * type1_attach() - put a group into the container, and learn the addresses that all of them can use
 * On failure the group is outside. type1_detach() takes one out whose devices are closed.
 */
int type1_attach(struct iommu *io, int group, struct err *e);
void type1_detach(struct iommu *io, int group);

/** iommufd_new() - an I/O address space without devices */
int iommufd_new(const struct vfio_sys *sys, struct iommu **out, struct err *e);
/**
 * iommufd_bind() - make a device ours; until then the kernel refuses all other calls on it
 * @id: the device's id in the iommufd
 *
 * Return: 0; -EBUSY, -EINVAL: it or its group is in use; -EACCES: it wants a token; ... without
 * text: the caller knows the device.
 */
int iommufd_bind(struct iommu *io, int device, uint32_t *id);
/** iommufd_attach() - put a bound device into the address space, and learn what it can use */
int iommufd_attach(struct iommu *io, int device, struct err *e);
/** iommufd_detached() - a device was closed, others are left: perhaps they can use more */
void iommufd_detached(struct iommu *io);

#endif
