/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A model of VFIO and iommufd behind struct vfio_sys: groups, containers with a type1v2 IOMMU,
 * I/O address spaces of iommufd, character devices, hot resets, and the part of sysfs that goes
 * with them, in a temporary folder. What a device itself answers is struct fake_dev's.
 *
 * State machines and errors are the kernel's (drivers/vfio/{group,container,device_cdev}.c,
 * vfio_iommu_type1.c, pci/vfio_pci_core.c, drivers/iommu/iommufd/). A descriptor is a memfd, so
 * that the model sees by its inode when one was closed.
 */
#ifndef TESTS_FAKE_VFIO_H
#define TESTS_FAKE_VFIO_H

#include "tests/fakevfio/fake_dev.h"
#include "vfio/sysfs.h"

#define FAKE_VFIO_FNS	16

/**
 * struct fake_fn - a PCI function of the host
 * @driver:  it is bound to; "": none. fake_vfio_bind() changes it
 * @group:   its IOMMU group; -1: none
 * @slot:    functions of the same slot are reset together; -1: there is no hot reset
 * @physfn:  it is a virtual function of this one, NULL
 * @dev:     what it is; NULL: a function that only the host uses
 * @hole:    I/O addresses that no mapping may have while this device is attached; both 0: none
 * @taken:   another program has it
 * @token:   opening it needs a VF token
 * @no_msi_isolation: its platform lets it raise any interrupt
 * @alien:   its IOMMU cannot share an address space with others
 * @no_pci:  VFIO_DEVICE_GET_INFO does not say that it is a PCI function
 */
struct fake_fn {
	char name[PCI_NAME_SIZE];
	char driver[32];
	int group, slot;
	const char *physfn;
	struct fake_dev *dev;
	struct iova_range hole;
	bool taken, token, no_msi_isolation, alien, no_pci;
	unsigned int hot_resets;
};

/** struct fake_vfio_map - a mapping that is in force */
struct fake_vfio_map {
	uint64_t iova, len;
	void *host;
	uint64_t space;			/* inode of the container, or of the iommufd */
};

/**
 * struct fake_vfio - a host
 * @sys:       its kernel, for vfio_new()
 * @root:      the temporary folder; sysfs and device nodes are below
 * @containers, @type1, @iommufd, @cdevs, @groups: what the kernel has
 * @caps:      VFIO_IOMMU_GET_INFO has capabilities (Linux 5.4)
 * @last:      the highest I/O address
 * @page_sizes: of type1
 * @alignment: of iommufd
 * @entries:   most mappings in a container
 * @memlock:   most bytes that can be pinned
 * @rewrite_info, @rewrite_ranges: change what the kernel says of the IOMMU, NULL: leave it
 */
struct fake_vfio {
	struct vfio_sys sys;
	char root[64], sysfs[80], devs[80];
	struct fake_fn fn[FAKE_VFIO_FNS];
	unsigned int nr_fns;
	bool containers, type1, iommufd, cdevs, groups, caps;
	uint64_t last, page_sizes, alignment, memlock;
	uint32_t entries;
	void (*rewrite_info)(struct vfio_iommu_type1_info *info, uint32_t argsz);
	void (*rewrite_ranges)(uint32_t *nr, struct iova_range *r, uint32_t room);
	struct fake_vfio_map *map;
	unsigned int nr_maps, maps, unmaps;
	unsigned int calls;		/* since fake_vfio_init() */
	unsigned int fail_at;		/* the n-th call from now on (1: the next) fails; 0: none */
	int fail_errno;
	struct fake_vfio_obj *obj;
	struct {
		char path[64];
		int err;
	} deny[8];
	unsigned int nr_deny;
	char complaint[160];
};

/** fake_vfio_init() - a host with all of it, an MSI window at 128 MiB, and no device */
void fake_vfio_init(struct fake_vfio *f);
/**
 * fake_vfio_destroy() - take it away
 * Return: NULL, or what is wrong at the end: an open descriptor, a call that makes no sense.
 */
const char *fake_vfio_destroy(struct fake_vfio *f);

/**
 * fake_vfio_add() - one more function, alone in its slot, bound to vfio-pci if there is a @dev
 * (else to "host"). Fields that are no part of sysfs can be changed at any time.
 */
struct fake_fn *fake_vfio_add(struct fake_vfio *f, const char *name, int group,
			      struct fake_dev *dev);
/** fake_vfio_bind() - to another driver; "": to none */
void fake_vfio_bind(struct fake_vfio *f, struct fake_fn *fn, const char *driver);
/** fake_vfio_virtual() - make it a virtual function of another one */
void fake_vfio_virtual(struct fake_vfio *f, struct fake_fn *fn, const struct fake_fn *pf);
/** fake_vfio_file() - make a file below the folder, with the folders on the way to it */
void fake_vfio_file(struct fake_vfio *f, const char *path, const char *text);
/** fake_vfio_remove() - remove a file, a link or a folder with all that is in it */
void fake_vfio_remove(struct fake_vfio *f, const char *path);
/** fake_vfio_deny() - opening a node ("vfio/7", "iommu") fails */
void fake_vfio_deny(struct fake_vfio *f, const char *node, int err);

/** fake_vfio_open() - descriptors of the model that are open now */
unsigned int fake_vfio_open(struct fake_vfio *f);
/** fake_vfio_at() - where a device ends that reads at @iova. NULL: it faults */
void *fake_vfio_at(struct fake_vfio *f, uint64_t iova);
/** fake_vfio_maps() - mappings in force */
unsigned int fake_vfio_maps(struct fake_vfio *f);

#endif
