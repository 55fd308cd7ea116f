/* SPDX-License-Identifier: BSD-3-Clause */
/* What sysfs says of the host's PCI functions and of their IOMMU groups. */
#ifndef VFIO_SYSFS_H
#define VFIO_SYSFS_H

#include "vmm/core/types.h"

struct err;
struct vfio_sys;

#define PCI_NAME_SIZE	20	/* "ffffffff:ff:1f.7" and the NUL */

/**
 * struct host_pci - a PCI function of the host
 * @name:   "0000:01:00.0"
 * @driver: that it is bound to; empty: none
 * @cdev:   its character device below /dev/vfio/devices; empty: none
 * @physfn: of an SR-IOV virtual function: the physical one; else empty
 * @grouped: it has an IOMMU group
 * @noiommu: the group is one of VFIO's without an IOMMU
 */
struct host_pci {
	char name[PCI_NAME_SIZE];
	char driver[64];
	char cdev[32];
	char physfn[PCI_NAME_SIZE];
	unsigned int group;
	bool grouped, noiommu;
};

/**
 * sysfs_pci_parse() - "[DOMAIN:]BB:DD.F", hexadecimal, in the form that sysfs has
 * @out: PCI_NAME_SIZE bytes
 */
bool sysfs_pci_parse(const char *text, char *out);

/**
 * sysfs_pci_find() - the device that a user means
 * @where: "[DOMAIN:]BB:DD.F", or the path of its folder in sysfs
 *
 * Return: 0; -EINVAL: neither; -ENODEV: there is none; -ENOTSUP: a device, but no PCI function.
 */
int sysfs_pci_find(const struct vfio_sys *s, const char *where, struct host_pci *out,
		   struct err *e);
/** sysfs_pci_read() - what there is of a name. Return: 0, -ENODEV */
int sysfs_pci_read(const struct vfio_sys *s, const char *name, struct host_pci *out);

/** sysfs_is_vfio() - is it bound to vfio-pci, or to a driver that is made from it? */
bool sysfs_is_vfio(const struct host_pci *p);
/** sysfs_has_pci() - can the host's PCI bus be seen at all? */
bool sysfs_has_pci(const struct vfio_sys *s);
/** sysfs_has_groups() - does the host have any IOMMU group? */
bool sysfs_has_groups(const struct vfio_sys *s);

/**
 * sysfs_group_others() - who keeps a group from being given to a guest
 * @with:  "0000:01:00.1 (driver nvme), ...", cut where the buffer ends
 * @names: "0000:01:00.1 ...", for sysfs_bind_hint()
 *
 * Functions without a driver, and bridges with the PCI core's own, are no obstacle
 * (Documentation/driver-api/vfio.rst).
 *
 * Return: how many.
 */
unsigned int sysfs_group_others(const struct vfio_sys *s, unsigned int group, char *with,
				size_t with_size, char *names, size_t names_size);
/**
 * sysfs_bind_hint() - the commands that bind functions to vfio-pci
 * @names: separated by spaces
 * @bound: some of them are bound to another driver
 */
void sysfs_bind_hint(const struct vfio_sys *s, const char *names, bool bound, char *out,
		     size_t size);

#endif
