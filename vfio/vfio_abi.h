/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VFIO and iommufd as this project speaks them. What is newer than Linux 6.1 (the headers of
 * Debian 12) stands here under #ifndef with the version that brought it. Debian 12 has no
 * <linux/iommufd.h> at all, so that a header may be there or not: all of it is spelled out under
 * names of our own (IOMMUFD_*, struct iommufd_*).
 */
#ifndef VFIO_VFIO_ABI_H
#define VFIO_VFIO_ABI_H

#include <linux/kvm.h>
#include <linux/vfio.h>

#include "vmm/core/types.h"

/* ---- devices by their character device (Linux 6.6) ------------------------------------------- */

#ifndef VFIO_DEVICE_BIND_IOMMUFD
struct vfio_device_bind_iommufd {
	__u32 argsz;
	__u32 flags;
	__s32 iommufd;
	__u32 out_devid;
};
#define VFIO_DEVICE_BIND_IOMMUFD	_IO(VFIO_TYPE, VFIO_BASE + 18)

struct vfio_device_attach_iommufd_pt {
	__u32 argsz;
	__u32 flags;
	__u32 pt_id;
};
#define VFIO_DEVICE_ATTACH_IOMMUFD_PT	_IO(VFIO_TYPE, VFIO_BASE + 19)

struct vfio_device_detach_iommufd_pt {
	__u32 argsz;
	__u32 flags;
};
#define VFIO_DEVICE_DETACH_IOMMUFD_PT	_IO(VFIO_TYPE, VFIO_BASE + 20)
#endif

/*
 * Hot reset of a device that was opened by its character device: group_id of struct
 * vfio_pci_dependent_device is an iommufd device id then.
 */
#ifndef VFIO_PCI_HOT_RESET_FLAG_DEV_ID
#define VFIO_PCI_HOT_RESET_FLAG_DEV_ID		(1 << 0)
#define VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED	(1 << 1)
#define VFIO_PCI_DEVID_OWNED			0
#define VFIO_PCI_DEVID_NOT_OWNED		-1
#endif

/* ---- KVM's VFIO device: the numbers are those of groups, which came first (Linux 6.6) -------- */

#ifndef KVM_DEV_VFIO_FILE
#define KVM_DEV_VFIO_FILE	1
#define KVM_DEV_VFIO_FILE_ADD	1
#define KVM_DEV_VFIO_FILE_DEL	2
#endif

/* ---- iommufd (Linux 6.2): <linux/iommufd.h> -------------------------------------------------- */

#define IOMMUFD_IO(nr)		_IO(';', nr)

struct iommufd_destroy {
	uint32_t size;
	uint32_t id;
};
#define IOMMUFD_DESTROY		IOMMUFD_IO(0x80)

struct iommufd_ioas_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t out_ioas_id;
};
#define IOMMUFD_IOAS_ALLOC	IOMMUFD_IO(0x81)

struct iommufd_iova_range {
	uint64_t start;
	uint64_t last;
};

/* -EMSGSIZE: num_iovas says how many there are */
struct iommufd_ioas_iova_ranges {
	uint32_t size;
	uint32_t ioas_id;
	uint32_t num_iovas;
	uint32_t reserved;
	uint64_t allowed_iovas;
	uint64_t out_iova_alignment;
};
#define IOMMUFD_IOAS_IOVA_RANGES IOMMUFD_IO(0x84)

struct iommufd_ioas_map {
	uint32_t size;
	uint32_t flags;
	uint32_t ioas_id;
	uint32_t reserved;
	uint64_t user_va;
	uint64_t length;
	uint64_t iova;
};
#define IOMMUFD_MAP_FIXED_IOVA	(1U << 0)
#define IOMMUFD_MAP_WRITEABLE	(1U << 1)
#define IOMMUFD_MAP_READABLE	(1U << 2)
#define IOMMUFD_IOAS_MAP	IOMMUFD_IO(0x85)

/* length: comes back as the number of bytes that were unmapped */
struct iommufd_ioas_unmap {
	uint32_t size;
	uint32_t ioas_id;
	uint64_t iova;
	uint64_t length;
};
#define IOMMUFD_IOAS_UNMAP	IOMMUFD_IO(0x86)

#endif
