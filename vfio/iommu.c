// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/iommu.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/core/err.h"

/* #syscalls main?vfio: capget prlimit64 getrlimit */

#define KIB(bytes)	(((bytes) + 1023) / 1024)

bool iommu_allows(const struct iommu *io, uint64_t iova, uint64_t len)
{
	if (!len || iova + (len - 1) < iova)
		return false;
	for (unsigned int i = 0; i < io->nr; i++)
		if (iova >= io->range[i].first && iova <= io->range[i].last)
			return iova + (len - 1) <= io->range[i].last;
	return false;
}

uint64_t iommu_page(const struct iommu *io)
{
	return io->page_sizes & -io->page_sizes;
}

static int by_first(const void *a, const void *b)
{
	const struct iova_range *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

int iommu_set_ranges(struct iommu *io, const struct iova_range *r, size_t nr, struct err *e)
{
	struct iova_range *list;
	unsigned int n = 0;

	for (size_t i = 0; i < nr; i++)
		if (r[i].last < r[i].first)
			return err_set(e, -EPROTO, "%s: the kernel reports usable I/O addresses that end "
				       "before they begin: %#" PRIx64 " to %#" PRIx64, io->ops->name,
				       r[i].first, r[i].last);
	list = calloc(nr ? nr : 1, sizeof(*list));
	if (!list)
		return err_set(e, -ENOMEM, "%s: out of memory", io->ops->name);
	if (nr)
		memcpy(list, r, nr * sizeof(*list));
	qsort(list, nr, sizeof(*list), by_first);
	for (size_t i = 0; i < nr; i++) {
		/* the end of the space has no successor */
		if (n && (list[n - 1].last == UINT64_MAX || list[i].first <= list[n - 1].last + 1))
			list[n - 1].last = MAX(list[n - 1].last, list[i].last);
		else
			list[n++] = list[i];
	}
	free(io->range);
	io->range = list;
	io->nr = n;
	return 0;
}

/* CAP_IPC_LOCK, asked of the kernel: root in a container may lack it. */
static bool may_lock(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return syscall(SYS_capget, &h, d) == 0 &&
	       d[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK);
}

int iommu_memlock(uint64_t bytes, struct err *e)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_MEMLOCK, &rl) < 0 || rl.rlim_cur == RLIM_INFINITY ||
	    bytes <= rl.rlim_cur || may_lock())
		return 0;
	return err_set(e, -ENOMEM, "assigned devices need %" PRIu64 " KiB of the guest's memory locked, "
		       "the limit is %" PRIu64 " KiB: raise it (ulimit -l %" PRIu64 ", LimitMEMLOCK= in a "
		       "systemd unit, memlock in /etc/security/limits.conf), or give CAP_IPC_LOCK",
		       KIB(bytes), (uint64_t)rl.rlim_cur / 1024, KIB(bytes));
}

int iommu_map_check(const struct iommu *io, uint64_t iova, uint64_t len, const void *host,
		    struct err *e)
{
	uint64_t page = iommu_page(io);

	if (!len || !IS_ALIGNED(iova, page) || !IS_ALIGNED(len, page) ||
	    !IS_ALIGNED((uintptr_t)host, page))
		return err_set(e, -EINVAL, "%s: DMA map of %#" PRIx64 " bytes at %#" PRIx64 ": the IOMMU "
			       "maps multiples of %" PRIu64 " KiB", io->ops->name, len, iova,
			       page / 1024);
	if (!iommu_allows(io, iova, len))
		return err_set(e, -EINVAL, "%s: DMA map of %#" PRIx64 " bytes at %#" PRIx64 ": reserved, "
			       "or beyond what the IOMMU can address", io->ops->name, len, iova);
	return 0;
}

int iommu_map_failed(const struct iommu *io, uint64_t iova, uint64_t len, int ret, struct err *e)
{
	switch (ret) {
	case -ENOMEM:
		if (iommu_memlock(io->pinned + len, e) < 0)
			return ret;
		return err_set(e, ret, "%s: cannot pin %" PRIu64 " KiB for DMA besides the %" PRIu64
			       " KiB that are pinned: the host is out of memory, or other programs of "
			       "this user have locked what ulimit -l allows", io->ops->name, KIB(len),
			       KIB(io->pinned));
	case -EFAULT:
		return err_set(e, ret, "%s: DMA map of %#" PRIx64 " bytes at %#" PRIx64 ": the host "
			       "cannot pin this memory; is the file behind it shorter, or of a kind that "
			       "allows no long-term pins (a DAX file system)?", io->ops->name, len, iova);
	default:
		return err_set(e, ret, "%s: DMA map of %#" PRIx64 " bytes at %#" PRIx64 ": %s",
			       io->ops->name, len, iova, strerror(-ret));
	}
}
