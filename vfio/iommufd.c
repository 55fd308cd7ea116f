// SPDX-License-Identifier: BSD-3-Clause
/*
 * The newer interface: an I/O address space of iommufd, and devices by their character devices
 * (Documentation/userspace-api/iommufd.rst; errors: drivers/iommu/iommufd/io_pagetable.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vfio/iommu.h"
#include "vfio/sys.h"
#include "vfio/vfio_abi.h"
#include "vmm/core/err.h"

/*
 * #syscalls main,vcpu?vfio: ioctl=IOMMUFD_IOAS_MAP|IOMMUFD_IOAS_UNMAP
 * #syscalls main?vfio: ioctl=IOMMUFD_IOAS_IOVA_RANGES|VFIO_DEVICE_ATTACH_IOMMUFD_PT
 */

#define RANGES_MAX	(1U << 16)	/* more than any host has holes in its I/O addresses */

struct iommufd {
	struct iommu io;
	const struct vfio_sys *sys;
	int fd;
	uint32_t ioas;
};

static struct iommufd *to_iommufd(struct iommu *io)
{
	return container_of(io, struct iommufd, io);
}

static int iommufd_map(struct iommu *io, uint64_t iova, uint64_t len, void *host, struct err *e)
{
	struct iommufd *f = to_iommufd(io);
	struct iommufd_ioas_map m = {
		.size = sizeof(m),
		.flags = IOMMUFD_MAP_FIXED_IOVA | IOMMUFD_MAP_READABLE | IOMMUFD_MAP_WRITEABLE,
		.ioas_id = f->ioas,
		.user_va = (uintptr_t)host,
		.length = len,
		.iova = iova,
	};
	int ret = iommu_map_check(io, iova, len, host, e);

	if (ret < 0)
		return ret;
	ret = f->sys->ioctl(f->sys, f->fd, IOMMUFD_IOAS_MAP, &m);
	if (ret < 0)
		return iommu_map_failed(io, iova, len, ret, e);
	io->pinned += len;
	return 0;
}

static int iommufd_unmap(struct iommu *io, uint64_t iova, uint64_t len, struct err *e)
{
	struct iommufd *f = to_iommufd(io);
	struct iommufd_ioas_unmap u = {
		.size = sizeof(u),
		.ioas_id = f->ioas,
		.iova = iova,
		.length = len,
	};
	int ret = f->sys->ioctl(f->sys, f->fd, IOMMUFD_IOAS_UNMAP, &u);

	if (ret == 0 && u.length != len)
		ret = u.length ? -EIO : -ENOENT;
	if (ret < 0)
		return err_set(e, ret, "iommufd: DMA unmap of %#" PRIx64 " bytes at %#" PRIx64 ": %s",
			       len, iova, strerror(-ret));
	io->pinned -= MIN(len, io->pinned);
	return 0;
}

static void iommufd_free(struct iommu *io)
{
	struct iommufd *f = to_iommufd(io);

	close(f->fd);
	free(io->range);
	free(f);
}

static const struct iommu_ops iommufd_ops = {
	.name = "iommufd",
	.map = iommufd_map,
	.unmap = iommufd_unmap,
	.free = iommufd_free,
};

static int learn(struct iommufd *f, struct err *e)
{
	uint32_t room = 16;

	for (unsigned int tries = 0; tries < 4; tries++) {
		struct iova_range *r = calloc(room, sizeof(*r));
		struct iommufd_ioas_iova_ranges q = {
			.size = sizeof(q),
			.ioas_id = f->ioas,
			.num_iovas = room,
			.allowed_iovas = (uintptr_t)r,
		};
		int ret;

		/* what the kernel writes is what is kept */
		_Static_assert(sizeof(*r) == sizeof(struct iommufd_iova_range) &&
			       offsetof(struct iova_range, last) ==
			       offsetof(struct iommufd_iova_range, last), "layout of a range");
		if (!r)
			return err_set(e, -ENOMEM, "iommufd: out of memory");
		ret = f->sys->ioctl(f->sys, f->fd, IOMMUFD_IOAS_IOVA_RANGES, &q);
		if (ret == 0 && q.num_iovas <= room) {
			/*
			 * Any alignment is fine for the kernel where it says 1; whole pages of the
			 * host are what can be pinned.
			 */
			f->io.page_sizes = -MAX((uint64_t)sysconf(_SC_PAGESIZE),
						q.out_iova_alignment);
			ret = iommu_set_ranges(&f->io, r, q.num_iovas, e);
			free(r);
			return ret;
		}
		free(r);
		if (ret != 0 && ret != -EMSGSIZE)
			return err_set(e, ret, "IOMMU_IOAS_IOVA_RANGES: %s", strerror(-ret));
		room = q.num_iovas;
		if (room > RANGES_MAX)
			break;
	}
	return err_set(e, -EPROTO, "IOMMU_IOAS_IOVA_RANGES: the kernel's answer has no sensible size (%u "
		       "ranges)", room);
}

int iommufd_new(const struct vfio_sys *sys, struct iommu **out, struct err *e)
{
	struct iommufd_ioas_alloc a = { .size = sizeof(a) };
	struct iommufd *f;
	char path[256];
	int ret;

	snprintf(path, sizeof(path), "%s/iommu", sys->dev);
	f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(e, -ENOMEM, "%s: out of memory", path);
	f->io.ops = &iommufd_ops;
	f->sys = sys;
	f->fd = sys->open(sys, path, O_RDWR);
	if (f->fd == -ENOENT || f->fd == -ENODEV || f->fd == -ENXIO) {
		ret = err_set(e, f->fd, "%s is missing: modprobe iommufd (CONFIG_IOMMUFD and "
			      "CONFIG_VFIO_DEVICE_CDEV, Linux 6.6 or later), or take --vfio-backend group",
			      path);
		goto fail;
	} else if (f->fd == -EACCES || f->fd == -EPERM) {
		ret = err_set(e, f->fd, "%s: permission denied; give it to the user or a group (chgrp "
			      "GROUP %s; chmod 660 %s; a udev rule makes it last)", path, path, path);
		goto fail;
	} else if (f->fd < 0) {
		ret = err_set(e, f->fd, "%s: %s", path, strerror(-f->fd));
		goto fail;
	}
	ret = sys->ioctl(sys, f->fd, IOMMUFD_IOAS_ALLOC, &a);
	if (ret < 0) {
		ret = err_set(e, ret, "%s: IOMMU_IOAS_ALLOC: %s", path, strerror(-ret));
		goto fail;
	}
	f->ioas = a.out_ioas_id;
	*out = &f->io;
	return 0;

fail:
	if (f->fd >= 0)
		close(f->fd);
	free(f);
	return ret;
}

int iommufd_bind(struct iommu *io, int device, uint32_t *id)
{
	struct iommufd *f = to_iommufd(io);
	struct vfio_device_bind_iommufd b = { .argsz = sizeof(b), .iommufd = f->fd };
	int ret = f->sys->ioctl(f->sys, device, VFIO_DEVICE_BIND_IOMMUFD, &b);

	if (ret == 0)
		*id = b.out_devid;
	return ret;
}

int iommufd_attach(struct iommu *io, int device, struct err *e)
{
	struct iommufd *f = to_iommufd(io);
	struct vfio_device_attach_iommufd_pt a = { .argsz = sizeof(a), .pt_id = f->ioas };
	int ret = f->sys->ioctl(f->sys, device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &a);

	if (ret == -EPERM)
		return err_set(e, ret, "iommufd: this platform does not isolate messages (MSIs) of devices, "
			       "so the guest could raise interrupts of the host; if you trust it: echo Y > "
			       "/sys/module/iommufd/parameters/allow_unsafe_interrupts");
	if (ret == -EINVAL)
		return err_set(e, ret, "VFIO_DEVICE_ATTACH_IOMMUFD_PT: %s; perhaps its IOMMU cannot share an "
			       "address space with that of the devices before it", strerror(-ret));
	if (ret < 0)
		return err_set(e, ret, "VFIO_DEVICE_ATTACH_IOMMUFD_PT: %s", strerror(-ret));
	return learn(f, e);
}

void iommufd_detached(struct iommu *io)
{
	learn(to_iommufd(io), NULL);
}
