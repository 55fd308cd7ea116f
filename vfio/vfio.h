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
struct kvm;
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
 * @reset_done: a hot reset of another function has reset this one, and nobody asked for it yet
 * @reset_warned: the user knows that it cannot be reset
 */
struct vfio_device {
	const struct vfio_sys *sys;
	char name[20];
	int fd;
	unsigned int group;
	bool can_reset;
	bool reset_done;
	bool reset_warned;
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
 * vfio_tell_kvm() - tell a VM's KVM which devices its guest has (Documentation/virt/kvm/devices/
 * vfio.rst), for what kernels make of that; arm64's does without
 *
 * Return: a descriptor that the caller closes before the VM; -1: this KVM does not want to know.
 */
int vfio_tell_kvm(struct vfio *v, struct kvm *k);

/**
 * vfio_find_cap() - look for a capability in what the kernel said of a device or an IOMMU
 * @info:  the structure; @size: bytes that were allocated for it
 * @first: offset of the first capability, 0: none
 * @min:   bytes that it must have, its header included
 *
 * Offsets that lead out of the structure, or in a circle, end the search.
 *
 * Return: the capability; from there to the end of the structure is how much there is of it. NULL:
 * there is none.
 */
const void *vfio_find_cap(const void *info, size_t size, uint32_t first, uint16_t id, size_t min);

/**
 * vfio_region() - VFIO_DEVICE_GET_REGION_INFO with all its capabilities
 * @out: allocated, for free(); its argsz is how much
 */
int vfio_region(struct vfio_device *d, unsigned int index, struct vfio_region_info **out,
		struct err *e);
/** vfio_irq() - VFIO_DEVICE_GET_IRQ_INFO. Return: 0; -EINVAL: the device has no such interrupts */
int vfio_irq(struct vfio_device *d, unsigned int index, struct vfio_irq_info *out);
/**
 * vfio_set_irqs() - VFIO_DEVICE_SET_IRQS with eventfds
 * @fd: @nr descriptors, -1: none; NULL: no descriptors, and with @nr 0 and ACTION_TRIGGER the whole
 *      index is switched off
 * @action: VFIO_IRQ_SET_ACTION_*
 *
 * Return: 0; > 0: the host has only so many for MSI or MSI-X, none is on; a negative errno.
 */
int vfio_set_irqs(struct vfio_device *d, unsigned int index, unsigned int start, unsigned int nr,
		  const int *fd, uint32_t action, struct err *e);

/**
 * vfio_reset() - bring a device to the state after power-on, with the best means it has
 *
 * Its own reset (FLR, ...), else a hot reset of its slot or bus when all functions behind it belong
 * to this VM. For a time when no device is in use: before the guest starts, and after it ended, for
 * all devices. A function that was reset together with another one before it is not reset again
 * when its turn comes.
 *
 * Return: 0; -EOPNOTSUPP: it has none, or others are in the way: @e names them.
 */
int vfio_reset(struct vfio_device *d, struct err *e);
/**
 * vfio_reset_own() - reset this function and no other, while others are in use
 * Return: 0; -EOPNOTSUPP: it cannot be reset alone; ...
 */
int vfio_reset_own(struct vfio_device *d, struct err *e);

#endif
