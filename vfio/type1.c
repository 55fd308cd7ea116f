// SPDX-License-Identifier: BSD-3-Clause
/*
 * The older interface: groups in a container, with a type1v2 IOMMU
 * (Documentation/driver-api/vfio.rst; limits and errors: drivers/vfio/vfio_iommu_type1.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vfio/iommu.h"
#include "vfio/vfio.h"
#include "vfio/vfio_abi.h"
#include "vmm/core/err.h"

/*
 * #syscalls main,vcpu?vfio: ioctl=VFIO_IOMMU_MAP_DMA|VFIO_IOMMU_UNMAP_DMA
 * #syscalls main?vfio: ioctl=VFIO_IOMMU_GET_INFO|VFIO_GROUP_UNSET_CONTAINER
 */

#define INFO_MAX	(1U << 20)	/* more than any kernel says of an IOMMU */

struct type1 {
	struct iommu io;
	const struct vfio_sys *sys;
	int fd;
	unsigned int groups;
};

static struct type1 *to_type1(struct iommu *io)
{
	return container_of(io, struct type1, io);
}

static int type1_map(struct iommu *io, uint64_t iova, uint64_t len, void *host, struct err *e)
{
	struct type1 *t = to_type1(io);
	struct vfio_iommu_type1_dma_map m = {
		.argsz = sizeof(m),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)host,
		.iova = iova,
		.size = len,
	};
	int ret = iommu_map_check(io, iova, len, host, e);

	if (ret < 0)
		return ret;
	ret = t->sys->ioctl(t->sys, t->fd, VFIO_IOMMU_MAP_DMA, &m);
	if (ret == -ENOSPC)
		return err_set(e, ret, "type1: DMA map of %#" PRIx64 " bytes at %#" PRIx64 ": all %u "
			       "mappings are in use; take --vfio-backend iommufd, or raise the limit "
			       "(/sys/module/vfio_iommu_type1/parameters/dma_entry_limit) and start again",
			       len, iova, io->limit);
	if (ret < 0)
		return iommu_map_failed(io, iova, len, ret, e);
	io->pinned += len;
	return 0;
}

static int type1_unmap(struct iommu *io, uint64_t iova, uint64_t len, struct err *e)
{
	struct type1 *t = to_type1(io);
	struct vfio_iommu_type1_dma_unmap u = { .argsz = sizeof(u), .iova = iova, .size = len };
	int ret = t->sys->ioctl(t->sys, t->fd, VFIO_IOMMU_UNMAP_DMA, &u);

	/* Where nothing is mapped the kernel says yes, and 0 bytes. */
	if (ret == 0 && u.size != len)
		ret = u.size ? -EIO : -ENOENT;
	if (ret < 0)
		return err_set(e, ret, "type1: DMA unmap of %#" PRIx64 " bytes at %#" PRIx64 ": %s", len,
			       iova, strerror(-ret));
	io->pinned -= MIN(len, io->pinned);
	return 0;
}

static void type1_free(struct iommu *io)
{
	struct type1 *t = to_type1(io);

	close(t->fd);
	free(io->range);
	free(t);
}

static const struct iommu_ops type1_ops = {
	.name = "type1",
	.map = type1_map,
	.unmap = type1_unmap,
	.free = type1_free,
};

/* VFIO_IOMMU_GET_INFO with all its capabilities; *size is what was allocated */
static int get_info(struct type1 *t, struct vfio_iommu_type1_info **out, uint32_t *size,
		    struct err *e)
{
	uint32_t want = sizeof(**out);

	for (unsigned int tries = 0; tries < 4; tries++) {
		struct vfio_iommu_type1_info *info = calloc(1, want);
		int ret;

		if (!info)
			return err_set(e, -ENOMEM, "type1: out of memory");
		info->argsz = want;
		ret = t->sys->ioctl(t->sys, t->fd, VFIO_IOMMU_GET_INFO, info);
		if (ret < 0) {
			free(info);
			return err_set(e, ret, "VFIO_IOMMU_GET_INFO: %s", strerror(-ret));
		}
		if (info->argsz <= want) {
			*size = want;
			*out = info;
			return 0;
		}
		want = info->argsz;
		free(info);
		if (want > INFO_MAX)
			break;
	}
	return err_set(e, -EPROTO, "VFIO_IOMMU_GET_INFO: the kernel's answer has no sensible size (%u "
		       "bytes)", want);
}

static int learn_ranges(struct type1 *t, const struct vfio_iommu_type1_info *info, uint32_t size,
			struct err *e)
{
	/* Kernels before 5.4 do not say: the whole space then, and a map may be refused. */
	static const struct iova_range all = { 0, UINT64_MAX };
	const struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iova_range *r;
	size_t room;
	int ret;

	cap = vfio_find_cap(info, size, info->cap_offset, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
			    sizeof(*cap));
	if (!cap)
		return iommu_set_ranges(&t->io, &all, 1, e);
	room = (size - ((const char *)cap->iova_ranges - (const char *)info)) /
	       sizeof(cap->iova_ranges[0]);
	if (cap->nr_iovas > room)
		return err_set(e, -EPROTO, "VFIO_IOMMU_GET_INFO: %u ranges of addresses in room for %zu",
			       cap->nr_iovas, room);
	r = calloc(cap->nr_iovas + 1, sizeof(*r));
	if (!r)
		return err_set(e, -ENOMEM, "type1: out of memory");
	for (uint32_t i = 0; i < cap->nr_iovas; i++)
		r[i] = (struct iova_range){ cap->iova_ranges[i].start, cap->iova_ranges[i].end };
	ret = iommu_set_ranges(&t->io, r, cap->nr_iovas, e);
	free(r);
	return ret;
}

static int learn(struct type1 *t, struct err *e)
{
	const struct vfio_iommu_type1_info_dma_avail *avail;
	struct vfio_iommu_type1_info *info = NULL;
	uint32_t size = 0;
	int ret = get_info(t, &info, &size, e);

	if (ret < 0)
		return ret;
	t->io.page_sizes = info->flags & VFIO_IOMMU_INFO_PGSIZES ? info->iova_pgsizes : 0;
	if (!t->io.page_sizes)
		t->io.page_sizes = -(uint64_t)sysconf(_SC_PAGESIZE);
	if (!(info->flags & VFIO_IOMMU_INFO_CAPS))
		info->cap_offset = 0;
	ret = learn_ranges(t, info, size, e);
	avail = vfio_find_cap(info, size, info->cap_offset, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
			      sizeof(*avail));
	/* Before 5.10: U16_MAX is what it was and is, unless the module was told otherwise. */
	if (!t->io.pinned)
		t->io.limit = avail ? avail->avail : UINT16_MAX;
	free(info);
	return ret;
}

int type1_new(const struct vfio_sys *sys, struct iommu **out, struct err *e)
{
	struct type1 *t;
	char path[256];
	int ret;

	snprintf(path, sizeof(path), "%s/vfio/vfio", sys->dev);
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(e, -ENOMEM, "%s: out of memory", path);
	t->io.ops = &type1_ops;
	t->sys = sys;
	t->fd = sys->open(sys, path, O_RDWR);
	if (t->fd == -ENOENT || t->fd == -ENODEV || t->fd == -ENXIO) {
		ret = err_set(e, t->fd, "%s is missing: load VFIO's containers (modprobe vfio_iommu_type1; "
			      "CONFIG_VFIO_CONTAINER)", path);
		goto fail;
	} else if (t->fd == -EACCES || t->fd == -EPERM) {
		ret = err_set(e, t->fd, "%s: permission denied; every user may open it by default "
			      "(chmod 666 %s)", path, path);
		goto fail;
	} else if (t->fd < 0) {
		ret = err_set(e, t->fd, "%s: %s", path, strerror(-t->fd));
		goto fail;
	}
	ret = sys->ioctl(sys, t->fd, VFIO_GET_API_VERSION, NULL);
	if (ret != VFIO_API_VERSION) {
		ret = err_set(e, -ENOSYS, "%s does not speak version %d of VFIO's API; is it VFIO's node "
			      "(char 10:196)?", path, VFIO_API_VERSION);
		goto fail;
	}
	if (sys->ioctl(sys, t->fd, VFIO_CHECK_EXTENSION, (void *)VFIO_TYPE1v2_IOMMU) <= 0) {
		ret = err_set(e, -ENOTSUP, "VFIO has no type1v2 IOMMU here: modprobe vfio_iommu_type1 "
			      "(CONFIG_VFIO_IOMMU_TYPE1)");
		goto fail;
	}
	*out = &t->io;
	return 0;

fail:
	if (t->fd >= 0)
		close(t->fd);
	free(t);
	return ret;
}

/* The group enters a container that has its IOMMU already, or gives it one. */
static int enter(struct type1 *t, int group, struct err *e)
{
	int ret = t->sys->ioctl(t->sys, group, VFIO_GROUP_SET_CONTAINER, &t->fd);

	if (ret < 0 && (ret != -EPERM || !t->groups))
		return err_set(e, ret, "VFIO_GROUP_SET_CONTAINER: %s%s", strerror(-ret), t->groups ?
			       "; perhaps its IOMMU cannot share an address space with that of the "
			       "devices before it" : "");
	if (ret == 0 && !t->groups)
		ret = t->sys->ioctl(t->sys, t->fd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1v2_IOMMU);
	if (ret == -EPERM)
		err_set(e, ret, "this platform does not isolate messages (MSIs) of devices, so the guest "
			"could raise interrupts of the host; if you trust it: echo Y > "
			"/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts");
	else if (ret < 0)
		err_set(e, ret, "VFIO_SET_IOMMU (type1v2): %s", strerror(-ret));
	return ret;
}

int type1_attach(struct iommu *io, int group, struct err *e)
{
	struct type1 *t = to_type1(io);
	int ret = enter(t, group, e);

	if (ret == 0)
		ret = learn(t, e);
	if (ret == 0)
		t->groups++;
	else
		t->sys->ioctl(t->sys, group, VFIO_GROUP_UNSET_CONTAINER, NULL);
	return ret;
}

void type1_detach(struct iommu *io, int group)
{
	struct type1 *t = to_type1(io);

	t->sys->ioctl(t->sys, group, VFIO_GROUP_UNSET_CONTAINER, NULL);
	t->groups--;
	/* without groups there is no IOMMU, and nothing to ask */
	if (t->groups)
		learn(t, NULL);
}
