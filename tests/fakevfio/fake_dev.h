/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A model of a PCI device behind VFIO: what a device descriptor of vfio-pci answers (regions,
 * configuration space, interrupts by eventfd, reset), with memory in place of registers. What binds
 * it to a group or to iommufd is fake_vfio's.
 */
#ifndef TESTS_FAKE_DEV_H
#define TESTS_FAKE_DEV_H

#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <pthread.h>

#include "vfio/vfio.h"

#define FAKE_DEV_VECTORS	128	/* eventfds per kind of interrupt */
#define FAKE_DEV_AREAS		4
#define FAKE_DEV_MAPS		32
#define FAKE_DEV_REGION_SHIFT	40	/* offset in the file, as the kernel has it */

/**
 * struct fake_region - a region
 * @size, @flags: as VFIO_DEVICE_GET_REGION_INFO says; memory is there up to 16 MiB only
 * @mem:   contents, the same bytes that mmap shows
 * @nr_areas: > 0: the sparse mmap capability with these
 * @msix_mappable: the capability of this name
 * @caps, @caps_len: instead of the two above: raw bytes behind the structure (hostile ones)
 */
struct fake_region {
	uint64_t size;
	uint32_t flags;
	uint8_t *mem;
	uint64_t mem_len;
	int memfd;
	unsigned int nr_areas;
	struct vfio_region_sparse_mmap_area area[FAKE_DEV_AREAS];
	bool msix_mappable;
	const uint8_t *caps;
	unsigned int caps_len;
	unsigned int reads, writes, mapped;	/* mapped: mmaps that are still there */
};

/**
 * struct fake_irq - an index of interrupts
 * @count, @flags: as VFIO_DEVICE_GET_IRQ_INFO says
 * @limit:  the host has so many, which SET_IRQS tells who wants more; 0: as many as wanted
 * @nr:     how many are enabled, as the kernel counts: up to the highest that was ever set
 * @fd:     the model's own duplicates of eventfds, -1: none
 * @unmask: INTx: the eventfd that unmasks it, -1: none
 * @masked: INTx: masked by being sent, or by SET_IRQS
 * @sets:   calls of SET_IRQS for this index
 */
struct fake_irq {
	uint32_t count, flags, limit;
	unsigned int nr;
	int fd[FAKE_DEV_VECTORS];
	int unmask;
	bool masked;
	unsigned int sets;
};

/**
 * struct fake_dev - the device
 * @fd:       a descriptor that stands for it
 * @cfg:      configuration space as the hardware has it
 * @wmask:    the bits of it that a write changes
 * @cfg_size: 256 or 4096
 * @can_reset: VFIO_DEVICE_RESET works
 * @resets:   how often it was
 * @broken:   all reads and writes fail with -EIO
 * @fail_at:  the n-th call from now on (1: the next) fails with @fail_errno; 0: none
 * @on_write: told of each write to a region after it was done
 */
struct fake_dev {
	const char *name;
	int fd;
	uint8_t cfg[4096], wmask[4096], reset_cfg[4096];
	unsigned int cfg_size;
	struct fake_region region[VFIO_PCI_NUM_REGIONS];
	struct fake_irq irq[VFIO_PCI_NUM_IRQS];
	bool can_reset, broken;
	unsigned int resets, calls;
	unsigned int fail_at;
	int fail_errno;
	void (*on_write)(struct fake_dev *f, unsigned int region, uint64_t off, unsigned int len);
	void *ctx;
	struct fake_map {
		void *addr;
		size_t len;
		int prot;
		unsigned int region;
	} map[FAKE_DEV_MAPS];
	struct vfio_sys sys;
	pthread_mutex_t lock;
};

/** fake_dev_init() - a type 0 function without BARs, interrupts and capabilities */
void fake_dev_init(struct fake_dev *f, const char *name, uint16_t vendor, uint16_t device,
		   uint32_t class);
/** fake_dev_destroy() - free it. Return: what is left behind that should not be, NULL: nothing */
const char *fake_dev_destroy(struct fake_dev *f);

/** fake_dev_bar() - @type: PCI_BASE_ADDRESS_*; @flags: VFIO_REGION_INFO_FLAG_* */
void fake_dev_bar(struct fake_dev *f, unsigned int bar, uint64_t size, uint32_t type,
		  uint32_t flags);
/** fake_dev_rom() - an expansion ROM; a correct image of it if @image */
void fake_dev_rom(struct fake_dev *f, uint64_t size, bool image);
/** fake_dev_cap() - put a capability at an offset of the hardware's, at the end of the list */
void fake_dev_cap(struct fake_dev *f, unsigned int off, uint8_t id, const void *body,
		  unsigned int len);
/** fake_dev_ext_cap() - the same of an extended one, header included in @len */
void fake_dev_ext_cap(struct fake_dev *f, unsigned int off, uint16_t id, unsigned int len);
/** fake_dev_irqs() - an index with @count interrupts */
void fake_dev_irqs(struct fake_dev *f, unsigned int index, uint32_t count, uint32_t flags);
/** fake_dev_msix() - capability at @off and the interrupts of it */
void fake_dev_msix(struct fake_dev *f, unsigned int off, unsigned int nr, unsigned int bar,
		   uint32_t table, uint32_t pba, uint32_t flags);
/** fake_dev_msi() - @control: PCI_MSI_FLAGS_64BIT, PCI_MSI_FLAGS_MASKBIT; @log2: messages */
void fake_dev_msi(struct fake_dev *f, unsigned int off, uint16_t control, unsigned int log2);
/** fake_dev_intx() - pin A, automasked level interrupt */
void fake_dev_intx(struct fake_dev *f);
/** fake_dev_sealed() - what it looks like now is what a reset brings back */
void fake_dev_sealed(struct fake_dev *f);

/* Devices that are worth a name. Configuration spaces after what QEMU's devices have. */
void fake_nvme(struct fake_dev *f);	/* BAR 0 of 16 KiB, MSI-X table in it at 0x2000 */
void fake_e1000e(struct fake_dev *f);	/* BARs 0, 1, 3, I/O BAR 2, ROM, MSI, MSI-X, AER */
void fake_virtio_net(struct fake_dev *f); /* vendor capabilities, 64-bit BAR 4, MSI-X in BAR 1 */
void fake_edu(struct fake_dev *f);	/* BAR 0 of 1 MiB, MSI, INTx */

/** fake_dev_put() - set bytes of configuration space; fake_dev_get(): read them */
void fake_dev_put(struct fake_dev *f, unsigned int off, unsigned int len, uint32_t val);
uint32_t fake_dev_get(const struct fake_dev *f, unsigned int off, unsigned int len);

/** fake_dev_fire() - the device interrupts. Return: somebody listens and it is not masked */
bool fake_dev_fire(struct fake_dev *f, unsigned int index, unsigned int n);
/** fake_dev_unmasked() - did the unmask eventfd come? Takes it, and INTx is not masked any more */
bool fake_dev_unmasked(struct fake_dev *f);

/* The system calls on its descriptor, as in struct vfio_sys. */
int fake_dev_ioctl(struct fake_dev *f, unsigned long req, void *arg);
ssize_t fake_dev_pread(struct fake_dev *f, void *buf, size_t len, off_t off);
ssize_t fake_dev_pwrite(struct fake_dev *f, const void *buf, size_t len, off_t off);
void *fake_dev_mmap(struct fake_dev *f, size_t len, int prot, int flags, off_t off);
int fake_dev_munmap(struct fake_dev *f, void *addr, size_t len);

/** fake_dev_open() - a struct vfio_device whose system calls, of any thread, go to this device */
void fake_dev_open(struct fake_dev *f, struct vfio_device *d);

#endif
