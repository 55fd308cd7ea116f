/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices of the host that were given to realmtool (bound to a VFIO driver), and the one I/O
 * address space that they all share. A session opens them once; they outlive resets of the guest.
 *
 * Two interfaces of the kernel (Documentation/driver-api/vfio.rst, .../userspace-api/iommufd.rst):
 * iommufd with a character device per device (Linux 6.6, CONFIG_VFIO_DEVICE_CDEV), and groups in a
 * container with type1v2. The first is tried first; which one is in use nobody above knows.
 */
#ifndef VFIO_VFIO_H
#define VFIO_VFIO_H

#include <linux/vfio.h>

#include "vfio/iommu.h"
#include "vfio/sys.h"

struct err;
struct vfio;
struct vfio_group;

enum vfio_backend {
	VFIO_AUTO,		/* iommufd if the host has it, else a group */
	VFIO_IOMMUFD,
	VFIO_GROUP,
};

/**
 * struct vfio_device - an open device
 * @name:   "0000:01:00.0"
 * @fd:     of the device
 * @group:  number of its IOMMU group
 * @can_reset: the kernel has a way to reset this function alone (VFIO_DEVICE_FLAGS_RESET)
 * @nr_regions, @nr_irqs: VFIO_DEVICE_GET_INFO
 * @v:      the set it belongs to
 */
struct vfio_device {
	const struct vfio_sys *sys;
	char name[16];
	int fd;
	unsigned int group;
	bool can_reset;
	unsigned int nr_regions, nr_irqs;
	struct vfio *v;
	struct vfio_group *container_group;	/* NULL with iommufd */
	uint32_t devid;				/* with iommufd */
	struct vfio_device *next;
};

/** vfio_new() - nothing is opened yet. @sys: NULL: the real kernel */
int vfio_new(const struct vfio_sys *sys, enum vfio_backend want, struct vfio **out, struct err *e);
/** vfio_free() - close all devices and the address space; all mappings are gone; NULL is fine */
void vfio_free(struct vfio *v);

/**
 * vfio_add() - open a device and attach it
 * @where: "[DOMAIN:]BB:DD.F", or the path of its folder in sysfs
 *
 * What is missing on the host is said with the remedy: no such device, bound to another driver (how
 * to bind it), no IOMMU, a group that is not viable (which devices must be bound, too), a device
 * node that cannot be opened, another program that has it.
 *
 * Return: 0 or a negative errno.
 */
int vfio_add(struct vfio *v, const char *where, struct vfio_device **out, struct err *e);

/** vfio_iommu() - the address space; after the first vfio_add() */
struct iommu *vfio_iommu(struct vfio *v);
/** vfio_backend_name() - "iommufd" or "group (type1v2)", for messages and `stat` */
const char *vfio_backend_name(const struct vfio *v);

/**
 * vfio_region() - VFIO_DEVICE_GET_REGION_INFO with all its capabilities
 * @out: allocated, for free()
 */
int vfio_region(struct vfio_device *d, unsigned int index, struct vfio_region_info **out,
		struct err *e);
/** vfio_irq() - VFIO_DEVICE_GET_IRQ_INFO. Return: 0; -EINVAL: the device has no such interrupts */
int vfio_irq(struct vfio_device *d, unsigned int index, struct vfio_irq_info *out);
/**
 * vfio_set_irqs() - VFIO_DEVICE_SET_IRQS with eventfds
 * @fd: @nr descriptors, -1: none; NULL with @nr 0: switch the whole index off
 * @flags: VFIO_IRQ_SET_ACTION_*
 */
int vfio_set_irqs(struct vfio_device *d, unsigned int index, unsigned int start, unsigned int nr,
		  const int *fd, uint32_t action, struct err *e);

/**
 * vfio_reset() - bring a device to the state after power-on, with the best means it has
 *
 * Its own reset (FLR, ...), else a hot reset of its slot or bus when all functions behind it belong
 * to this VM. Functions that are reset together are reset once for each call of vfio_reset() on any
 * of them.
 *
 * Return: 0; -EOPNOTSUPP: it has none, or others are in the way: @e names them.
 */
int vfio_reset(struct vfio_device *d, struct err *e);

#endif
