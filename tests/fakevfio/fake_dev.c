// SPDX-License-Identifier: BSD-3-Clause
#include "tests/fakevfio/fake_dev.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEM_MAX		(16 * SZ_1M)
#define RW		(VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE)
#define RWM		(RW | VFIO_REGION_INFO_FLAG_MMAP)
#define IRQ_PLAIN	VFIO_IRQ_INFO_EVENTFD

/* ---- building one ---------------------------------------------------------------------------- */

void fake_dev_put(struct fake_dev *f, unsigned int off, unsigned int len, uint32_t val)
{
	for (unsigned int i = 0; i < len; i++)
		f->cfg[off + i] = val >> (8 * i);
}

uint32_t fake_dev_get(const struct fake_dev *f, unsigned int off, unsigned int len)
{
	uint32_t val = 0;

	for (unsigned int i = 0; i < len; i++)
		val |= (uint32_t)f->cfg[off + i] << (8 * i);
	return val;
}

void fake_dev_init(struct fake_dev *f, const char *name, uint16_t vendor, uint16_t device,
		   uint32_t class)
{
	memset(f, 0, sizeof(*f));
	pthread_mutex_init(&f->lock, NULL);
	f->name = name;
	f->fd = -1;
	f->cfg_size = 256;
	f->can_reset = true;
	fake_dev_put(f, PCI_VENDOR_ID, 2, vendor);
	fake_dev_put(f, PCI_DEVICE_ID, 2, device);
	fake_dev_put(f, PCI_CLASS_REVISION, 4, class << 8 | 2);
	fake_dev_put(f, PCI_SUBSYSTEM_VENDOR_ID, 2, 0x1af4);
	fake_dev_put(f, PCI_SUBSYSTEM_ID, 2, 0x1100);
	/* what may be written in the kernel's driver goes to the hardware; here the hardware is */
	f->wmask[PCI_COMMAND] = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_IO;
	f->wmask[PCI_COMMAND + 1] = PCI_COMMAND_INTX_DISABLE >> 8;
	for (unsigned int i = 0; i < VFIO_PCI_NUM_REGIONS; i++)
		f->region[i].memfd = -1;
	for (unsigned int i = 0; i < VFIO_PCI_NUM_IRQS; i++) {
		f->irq[i].unmask = -1;
		for (unsigned int n = 0; n < FAKE_DEV_VECTORS; n++)
			f->irq[i].fd[n] = -1;
	}
	f->region[VFIO_PCI_CONFIG_REGION_INDEX].size = f->cfg_size;
	f->region[VFIO_PCI_CONFIG_REGION_INDEX].flags = RW;
	fake_dev_irqs(f, VFIO_PCI_ERR_IRQ_INDEX, 1, IRQ_PLAIN | VFIO_IRQ_INFO_NORESIZE);
	fake_dev_irqs(f, VFIO_PCI_REQ_IRQ_INDEX, 1, IRQ_PLAIN | VFIO_IRQ_INFO_NORESIZE);
	fake_dev_sealed(f);
}

static void back(struct fake_region *r, uint64_t size)
{
	r->mem_len = MIN(ALIGN_UP(size, SZ_4K), MEM_MAX);
	r->memfd = memfd_create("BAR", MFD_CLOEXEC);
	if (r->memfd < 0 || ftruncate(r->memfd, r->mem_len) < 0)
		abort();
	r->mem = mmap(NULL, r->mem_len, PROT_READ | PROT_WRITE, MAP_SHARED, r->memfd, 0);
	if (r->mem == MAP_FAILED)
		abort();
}

void fake_dev_bar(struct fake_dev *f, unsigned int bar, uint64_t size, uint32_t type,
		  uint32_t flags)
{
	f->region[bar].size = size;
	f->region[bar].flags = flags;
	back(&f->region[bar], size);
	fake_dev_put(f, PCI_BASE_ADDRESS_0 + 4 * bar, 4, type);
	fake_dev_sealed(f);
}

void fake_dev_rom(struct fake_dev *f, uint64_t size, bool image)
{
	struct fake_region *r = &f->region[VFIO_PCI_ROM_REGION_INDEX];

	r->size = size;
	r->flags = VFIO_REGION_INFO_FLAG_READ;
	back(r, size);
	memset(r->mem, 0xff, size);
	if (!image)
		return;
	/* PCI Firmware Specification 3.0, section 5.1: signature, PCIR pointer, PCIR */
	memset(r->mem, 0, 512);
	r->mem[0] = 0x55;
	r->mem[1] = 0xaa;
	r->mem[2] = 1;
	r->mem[0x18] = 0x40;
	memcpy(r->mem + 0x40, "PCIR", 4);
	memcpy(r->mem + 0x44, f->cfg + PCI_VENDOR_ID, 4);
	r->mem[0x4a] = 0x18;
	r->mem[0x50] = 1;
	r->mem[0x55] = 0x80;
}

void fake_dev_cap(struct fake_dev *f, unsigned int off, uint8_t id, const void *body,
		  unsigned int len)
{
	unsigned int at = PCI_CAPABILITY_LIST;

	while (f->cfg[at])
		at = f->cfg[at] + PCI_CAP_LIST_NEXT;
	f->cfg[at] = off;
	f->cfg[off] = id;
	f->cfg[off + PCI_CAP_LIST_NEXT] = 0;
	if (body)
		memcpy(f->cfg + off + 2, body, len - 2);
	f->cfg[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	fake_dev_sealed(f);
}

void fake_dev_ext_cap(struct fake_dev *f, unsigned int off, uint16_t id, unsigned int len)
{
	unsigned int at = PCI_CFG_SPACE_SIZE;

	f->cfg_size = sizeof(f->cfg);
	f->region[VFIO_PCI_CONFIG_REGION_INDEX].size = f->cfg_size;
	if (off != at) {
		while (PCI_EXT_CAP_NEXT(fake_dev_get(f, at, 4)))
			at = PCI_EXT_CAP_NEXT(fake_dev_get(f, at, 4));
		fake_dev_put(f, at + 2, 2, (fake_dev_get(f, at + 2, 2) & 0xf) | off << 4);
	}
	fake_dev_put(f, off, 4, id | 1 << 16);
	for (unsigned int i = 4; i < len; i++)
		f->cfg[off + i] = off / 4 + i;
	fake_dev_sealed(f);
}

void fake_dev_irqs(struct fake_dev *f, unsigned int index, uint32_t count, uint32_t flags)
{
	f->irq[index].count = count;
	f->irq[index].flags = flags;
}

void fake_dev_msix(struct fake_dev *f, unsigned int off, unsigned int nr, unsigned int bar,
		   uint32_t table, uint32_t pba, uint32_t flags)
{
	fake_dev_cap(f, off, PCI_CAP_ID_MSIX, NULL, 0);
	fake_dev_put(f, off + PCI_MSIX_FLAGS, 2, nr - 1);
	fake_dev_put(f, off + PCI_MSIX_TABLE, 4, table | bar);
	fake_dev_put(f, off + PCI_MSIX_PBA, 4, pba | bar);
	f->wmask[off + PCI_MSIX_FLAGS + 1] = 0xc0;
	fake_dev_irqs(f, VFIO_PCI_MSIX_IRQ_INDEX, nr, flags);
	f->region[bar].msix_mappable = true;
	fake_dev_sealed(f);
}

void fake_dev_msi(struct fake_dev *f, unsigned int off, uint16_t control, unsigned int log2)
{
	fake_dev_cap(f, off, PCI_CAP_ID_MSI, NULL, 0);
	fake_dev_put(f, off + PCI_MSI_FLAGS, 2, control | log2 << 1);
	memset(f->wmask + off + PCI_MSI_ADDRESS_LO, 0xff, control & PCI_MSI_FLAGS_64BIT ? 10 : 6);
	fake_dev_irqs(f, VFIO_PCI_MSI_IRQ_INDEX, 1U << log2, IRQ_PLAIN | VFIO_IRQ_INFO_NORESIZE);
	fake_dev_sealed(f);
}

void fake_dev_intx(struct fake_dev *f)
{
	fake_dev_put(f, PCI_INTERRUPT_PIN, 1, 1);
	fake_dev_irqs(f, VFIO_PCI_INTX_IRQ_INDEX, 1,
		      IRQ_PLAIN | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED);
	fake_dev_sealed(f);
}

void fake_dev_sealed(struct fake_dev *f)
{
	memcpy(f->reset_cfg, f->cfg, sizeof(f->cfg));
}

static void set_fd(int *slot, int fd)
{
	if (*slot >= 0)
		close(*slot);
	*slot = fd;
}

static void drop_irqs(struct fake_irq *q)
{
	for (unsigned int n = 0; n < FAKE_DEV_VECTORS; n++)
		set_fd(&q->fd[n], -1);
	set_fd(&q->unmask, -1);
	q->nr = 0;
	q->masked = false;
}

const char *fake_dev_destroy(struct fake_dev *f)
{
	const char *left = NULL;

	if (f->cfg[PCI_COMMAND] & PCI_COMMAND_MASTER)
		left = "the device can still do DMA";
	for (unsigned int i = 0; i < VFIO_PCI_NUM_IRQS; i++) {
		if (f->irq[i].nr)
			left = "interrupts are still enabled";
		drop_irqs(&f->irq[i]);
	}
	for (unsigned int i = 0; i < VFIO_PCI_NUM_REGIONS; i++) {
		struct fake_region *r = &f->region[i];

		if (r->mapped)
			left = "a region is still mapped";
		if (r->mem)
			munmap(r->mem, r->mem_len);
		if (r->memfd >= 0)
			close(r->memfd);
		r->mem = NULL;
		r->memfd = -1;
	}
	return left;
}

/* ---- devices --------------------------------------------------------------------------------- */

static void pm_cap(struct fake_dev *f, unsigned int off)
{
	/* version 3, no soft reset */
	static const uint8_t body[6] = { 0x03, 0x00, 0x08, 0x00 };

	fake_dev_cap(f, off, PCI_CAP_ID_PM, body, 8);
	f->wmask[off + PCI_PM_CTRL] = PCI_PM_CTRL_STATE_MASK;
}

static void exp_cap(struct fake_dev *f, unsigned int off, unsigned int version)
{
	fake_dev_cap(f, off, PCI_CAP_ID_EXP, NULL, 0);
	fake_dev_put(f, off + PCI_EXP_FLAGS, 2, version | PCI_EXP_TYPE_ENDPOINT << 4);
	fake_dev_put(f, off + PCI_EXP_DEVCAP, 4, PCI_EXP_DEVCAP_FLR | PCI_EXP_DEVCAP_RBER);
	fake_dev_put(f, off + PCI_EXP_DEVCTL, 2, 0x2810);
	fake_dev_put(f, off + PCI_EXP_LNKCAP, 4, 0x411);
	fake_dev_put(f, off + PCI_EXP_LNKSTA, 2, 0x11);
	if (version > 1)
		fake_dev_put(f, off + PCI_EXP_DEVCAP2, 4,
			     PCI_EXP_DEVCAP2_LTR | PCI_EXP_DEVCAP2_COMP_TMOUT_DIS);
	f->wmask[off + PCI_EXP_DEVCTL] = f->wmask[off + PCI_EXP_DEVCTL + 1] = 0xff;
	fake_dev_sealed(f);
}

void fake_nvme(struct fake_dev *f)
{
	fake_dev_init(f, "0000:00:04.0", 0x1b36, 0x0010, 0x010802);
	fake_dev_bar(f, 0, 0x4000, PCI_BASE_ADDRESS_MEM_TYPE_64, RWM);
	fake_dev_msix(f, 0x40, 65, 0, 0x2000, 0x3000, IRQ_PLAIN | VFIO_IRQ_INFO_NORESIZE);
	exp_cap(f, 0x80, 2);
	pm_cap(f, 0x60);
	fake_dev_intx(f);
}

void fake_e1000e(struct fake_dev *f)
{
	fake_dev_init(f, "0000:00:05.0", 0x8086, 0x10d3, 0x020000);
	fake_dev_bar(f, 0, 0x20000, PCI_BASE_ADDRESS_SPACE_MEMORY, RWM);
	fake_dev_bar(f, 1, 0x20000, PCI_BASE_ADDRESS_SPACE_MEMORY, RWM);
	fake_dev_bar(f, 2, 0x20, PCI_BASE_ADDRESS_SPACE_IO, RW);
	fake_dev_bar(f, 3, 0x4000, PCI_BASE_ADDRESS_SPACE_MEMORY, RWM);
	fake_dev_rom(f, 0x40000, true);
	pm_cap(f, 0xc8);
	fake_dev_msi(f, 0xd0, PCI_MSI_FLAGS_64BIT, 0);
	exp_cap(f, 0xe0, 1);
	fake_dev_msix(f, 0xa0, 5, 3, 0x0, 0x2000, IRQ_PLAIN | VFIO_IRQ_INFO_NORESIZE);
	fake_dev_ext_cap(f, 0x100, PCI_EXT_CAP_ID_ERR, 0x48);
	fake_dev_ext_cap(f, 0x140, PCI_EXT_CAP_ID_DSN, 12);
	fake_dev_intx(f);
}

/* struct virtio_pci_cap behind the first two bytes (virtio 1.2, section 4.1.4) */
static void virtio_cap(struct fake_dev *f, unsigned int off, uint8_t type, uint32_t at,
		       uint32_t size, unsigned int len)
{
	uint8_t body[18] = { len, type, 4, 0, 0, 0, at, at >> 8, at >> 16, at >> 24, size,
			     size >> 8, size >> 16, size >> 24, 4 };

	fake_dev_cap(f, off, PCI_CAP_ID_VNDR, body, len);
}

void fake_virtio_net(struct fake_dev *f)
{
	fake_dev_init(f, "0000:00:06.0", 0x1af4, 0x1041, 0x020000);
	fake_dev_bar(f, 1, 0x1000, PCI_BASE_ADDRESS_SPACE_MEMORY, RWM);
	fake_dev_bar(f, 4, 0x4000, PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH,
		     RWM);
	fake_dev_msix(f, 0x98, 4, 1, 0, 0x800, IRQ_PLAIN);
	virtio_cap(f, 0x84, 5, 0, 0, 20);
	memset(f->wmask + 0x88, 0xff, 16);
	virtio_cap(f, 0x70, 2, 0x3000, 0x1000, 20);
	virtio_cap(f, 0x60, 4, 0x2000, 0x1000, 16);
	virtio_cap(f, 0x50, 3, 0x1000, 0x1000, 16);
	virtio_cap(f, 0x40, 1, 0, 0x1000, 16);
	fake_dev_intx(f);
}

void fake_edu(struct fake_dev *f)
{
	fake_dev_init(f, "0000:00:07.0", 0x1234, 0x11e8, 0x00ff00);
	fake_dev_bar(f, 0, SZ_1M, PCI_BASE_ADDRESS_SPACE_MEMORY, RWM);
	fake_dev_msi(f, 0x40, PCI_MSI_FLAGS_64BIT, 0);
	fake_dev_intx(f);
}

/* ---- interrupts ------------------------------------------------------------------------------ */

bool fake_dev_fire(struct fake_dev *f, unsigned int index, unsigned int n)
{
	struct fake_irq *q = &f->irq[index];
	uint64_t one = 1;

	bool level = index == VFIO_PCI_INTX_IRQ_INDEX;

	if (n >= FAKE_DEV_VECTORS || q->fd[n] < 0 || (level && q->masked))
		return false;
	if (level)
		q->masked = true;
	return write(q->fd[n], &one, sizeof(one)) == sizeof(one);
}

bool fake_dev_unmasked(struct fake_dev *f)
{
	struct fake_irq *q = &f->irq[VFIO_PCI_INTX_IRQ_INDEX];
	struct pollfd p = { .fd = q->unmask, .events = POLLIN };
	uint64_t n;

	if (p.fd < 0 || poll(&p, 1, 0) != 1 || read(p.fd, &n, sizeof(n)) != sizeof(n))
		return false;
	q->masked = false;
	return true;
}

static int check_set(const struct fake_irq *q, const struct vfio_irq_set *set)
{
	uint32_t data = set->flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
	uint32_t action = set->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
	size_t one = data & VFIO_IRQ_SET_DATA_EVENTFD ? sizeof(int32_t) :
		     data & VFIO_IRQ_SET_DATA_BOOL ? sizeof(uint8_t) : 0;

	/* one data type, one action, as the kernel wants it */
	if (!data || (data & (data - 1)) || !action || (action & (action - 1)))
		return -EINVAL;
	if (set->start > q->count || set->count > q->count - set->start)
		return -EINVAL;
	if (!set->count &&
	    (data != VFIO_IRQ_SET_DATA_NONE || action != VFIO_IRQ_SET_ACTION_TRIGGER))
		return -EINVAL;
	return set->argsz - sizeof(*set) < set->count * one ? -EINVAL : 0;
}

static int set_irqs(struct fake_dev *f, const struct vfio_irq_set *set)
{
	struct fake_irq *q;
	int32_t fd[FAKE_DEV_VECTORS];
	int ret;

	if (set->argsz < sizeof(*set) || set->index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	q = &f->irq[set->index];
	ret = check_set(q, set);
	if (ret)
		return ret;
	q->sets++;
	if (!set->count) {
		drop_irqs(q);
		return 0;
	}
	if (set->flags & VFIO_IRQ_SET_ACTION_UNMASK) {
		if (!(q->flags & VFIO_IRQ_INFO_MASKABLE) || !q->nr)
			return -EINVAL;
		if (set->flags & VFIO_IRQ_SET_DATA_EVENTFD) {
			memcpy(fd, set->data, sizeof(fd[0]));
			set_fd(&q->unmask, fd[0] < 0 ? -1 : fcntl(fd[0], F_DUPFD_CLOEXEC, 3));
		} else {
			q->masked = false;
		}
		return 0;
	}
	if (set->flags & VFIO_IRQ_SET_ACTION_MASK) {
		q->masked = true;
		return q->flags & VFIO_IRQ_INFO_MASKABLE ? 0 : -EINVAL;
	}
	if (!(set->flags & VFIO_IRQ_SET_DATA_EVENTFD))
		return fake_dev_fire(f, set->index, set->start) ? 0 : -EINVAL;
	if (set->start + set->count > FAKE_DEV_VECTORS)
		return -ENOSPC;
	if (q->limit && !q->nr && set->start + set->count > q->limit)
		return q->limit;
	/* another kind in use: only one of INTx, MSI, MSI-X at a time */
	for (unsigned int i = VFIO_PCI_INTX_IRQ_INDEX; i <= VFIO_PCI_MSIX_IRQ_INDEX; i++)
		if (set->index <= VFIO_PCI_MSIX_IRQ_INDEX && i != set->index && f->irq[i].nr)
			return -EINVAL;
	/* no more than at the first time, unless vectors can be added */
	if (q->nr && (q->flags & VFIO_IRQ_INFO_NORESIZE) && set->start + set->count > q->nr)
		return -EINVAL;
	memcpy(fd, set->data, set->count * sizeof(fd[0]));
	for (unsigned int i = 0; i < set->count; i++)
		if (fd[i] >= 0 && fcntl(fd[i], F_GETFD) < 0)
			return -EBADF;
	for (unsigned int i = 0; i < set->count; i++)
		set_fd(&q->fd[set->start + i], fd[i] < 0 ? -1 : fcntl(fd[i], F_DUPFD_CLOEXEC, 3));
	q->nr = MAX(q->nr, set->start + set->count);
	return 0;
}

/* ---- system calls ---------------------------------------------------------------------------- */

static bool fails(struct fake_dev *f)
{
	f->calls++;
	return f->fail_at && !--f->fail_at;
}

/* A capability that lies in configuration space as a whole; tests make lists that do not end. */
static unsigned int find_cap(const struct fake_dev *f, uint8_t id, unsigned int len)
{
	unsigned int at = f->cfg[PCI_CAPABILITY_LIST];

	for (unsigned int i = 0; at && at <= 256 - len && i < 48; i++) {
		if (f->cfg[at] == id)
			return at;
		at = f->cfg[at + PCI_CAP_LIST_NEXT];
	}
	return 0;
}

/* Registers and mappings can be reached: memory decoding is on, and the device awake. */
static bool decodes(const struct fake_dev *f)
{
	unsigned int pm = find_cap(f, PCI_CAP_ID_PM, PCI_PM_SIZEOF);

	return (f->cfg[PCI_COMMAND] & PCI_COMMAND_MEMORY) &&
	       !(pm && (f->cfg[pm + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK));
}

/* As the kernel's: a mapping of a device that does not decode raises a signal. */
static void protect(struct fake_dev *f)
{
	for (unsigned int i = 0; i < FAKE_DEV_MAPS; i++)
		if (f->map[i].addr && mprotect(f->map[i].addr, f->map[i].len,
					       decodes(f) ? f->map[i].prot : PROT_NONE) < 0)
			abort();
}

static int region_info(struct fake_dev *f, struct vfio_region_info *info)
{
	const struct fake_region *r;
	uint8_t caps[256];
	uint32_t len = 0;

	if (info->index >= VFIO_PCI_NUM_REGIONS || info->argsz < offsetof(struct vfio_region_info,
									    offset) + 8)
		return -EINVAL;
	r = &f->region[info->index];
	info->flags = r->flags;
	info->size = r->size;
	info->offset = (uint64_t)info->index << FAKE_DEV_REGION_SHIFT;
	info->cap_offset = 0;
	if (r->caps) {
		memcpy(caps, r->caps, len = r->caps_len);
	} else {
		if (r->nr_areas) {
			struct vfio_region_info_cap_sparse_mmap s = {
				.header = { VFIO_REGION_INFO_CAP_SPARSE_MMAP, 1, 0 },
				.nr_areas = r->nr_areas,
			};

			len = sizeof(s) + r->nr_areas * sizeof(r->area[0]);
			s.header.next = r->msix_mappable ? sizeof(*info) + len : 0;
			memcpy(caps, &s, sizeof(s));
			memcpy(caps + sizeof(s), r->area, r->nr_areas * sizeof(r->area[0]));
		}
		if (r->msix_mappable) {
			struct vfio_info_cap_header h = { VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, 1 };

			memcpy(caps + len, &h, sizeof(h));
			len += sizeof(h);
		}
	}
	if (!len) {
		info->argsz = sizeof(*info);
		return 0;
	}
	info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
	if (info->argsz < sizeof(*info) + len) {
		info->argsz = sizeof(*info) + len;
		return 0;
	}
	memcpy((char *)info + sizeof(*info), caps, len);
	info->cap_offset = sizeof(*info);
	info->argsz = sizeof(*info) + len;
	return 0;
}

static int reset(struct fake_dev *f)
{
	uint8_t command = f->cfg[PCI_COMMAND];

	if (!f->can_reset)
		return -EINVAL;
	f->resets++;
	memcpy(f->cfg, f->reset_cfg, sizeof(f->cfg));
	f->cfg[PCI_COMMAND] = command;		/* the kernel saves and restores it */
	for (unsigned int i = 0; i < PCI_STD_NUM_BARS; i++)
		if (f->region[i].mem)
			memset(f->region[i].mem, 0, f->region[i].mem_len);
	protect(f);
	return 0;
}

int fake_dev_ioctl(struct fake_dev *f, unsigned long req, void *arg)
{
	if (fails(f))
		return -f->fail_errno;
	switch (req) {
	case VFIO_DEVICE_GET_INFO: {
		struct vfio_device_info *i = arg;

		i->flags = VFIO_DEVICE_FLAGS_PCI | (f->can_reset ? VFIO_DEVICE_FLAGS_RESET : 0);
		i->num_regions = VFIO_PCI_NUM_REGIONS;
		i->num_irqs = VFIO_PCI_NUM_IRQS;
		return 0;
	}
	case VFIO_DEVICE_GET_REGION_INFO:
		return region_info(f, arg);
	case VFIO_DEVICE_GET_IRQ_INFO: {
		struct vfio_irq_info *i = arg;

		if (i->index >= VFIO_PCI_NUM_IRQS)
			return -EINVAL;
		i->count = f->irq[i->index].count;
		i->flags = f->irq[i->index].flags;
		return 0;
	}
	case VFIO_DEVICE_SET_IRQS:
		return set_irqs(f, arg);
	case VFIO_DEVICE_RESET:
		return reset(f);
	default:
		return -ENOTTY;
	}
}

/* The MSI-X table cannot be reached through the file of the region. */
static bool is_table(const struct fake_dev *f, unsigned int region, uint64_t off)
{
	unsigned int at = find_cap(f, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
	uint32_t table, nr;

	if (!at)
		return false;
	table = fake_dev_get(f, at + PCI_MSIX_TABLE, 4);
	nr = (fake_dev_get(f, at + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1;
	return (table & PCI_MSIX_TABLE_BIR) == region && off >= (table & PCI_MSIX_TABLE_OFFSET) &&
	       off < (uint64_t)(table & PCI_MSIX_TABLE_OFFSET) + 16 * nr;
}

static ssize_t access_region(struct fake_dev *f, void *buf, const void *src, size_t len, off_t off)
{
	unsigned int index = (uint64_t)off >> FAKE_DEV_REGION_SHIFT;
	uint64_t at = (uint64_t)off & ((UINT64_C(1) << FAKE_DEV_REGION_SHIFT) - 1);
	const uint8_t *in = src;
	struct fake_region *r;
	uint8_t *out = buf;

	if (fails(f))
		return -f->fail_errno;
	if (f->broken)
		return -EIO;
	if (index >= VFIO_PCI_NUM_REGIONS)
		return -EINVAL;
	r = &f->region[index];
	if (!(r->flags & (src ? VFIO_REGION_INFO_FLAG_WRITE : VFIO_REGION_INFO_FLAG_READ)) ||
	    at >= r->size)
		return -EINVAL;
	len = MIN(len, (size_t)(r->size - at));
	if (src)
		r->writes++;
	else
		r->reads++;
	if (index == VFIO_PCI_CONFIG_REGION_INDEX) {
		for (size_t i = 0; i < len; i++) {
			uint8_t m = f->wmask[at + i];

			if (src)
				f->cfg[at + i] = (f->cfg[at + i] & ~m) | (in[i] & m);
			else
				out[i] = f->cfg[at + i];
		}
		if (src)
			protect(f);
	} else {
		if (index != VFIO_PCI_ROM_REGION_INDEX && !decodes(f))
			return -EIO;
		for (size_t i = 0; i < len; i++) {
			bool there = at + i < r->mem_len && !is_table(f, index, at + i);

			if (!src)
				out[i] = there ? r->mem[at + i] : 0xff;
			else if (there)
				r->mem[at + i] = in[i];
		}
	}
	if (src && f->on_write)
		f->on_write(f, index, at, len);
	return len;
}

ssize_t fake_dev_pread(struct fake_dev *f, void *buf, size_t len, off_t off)
{
	return access_region(f, buf, NULL, len, off);
}

ssize_t fake_dev_pwrite(struct fake_dev *f, const void *buf, size_t len, off_t off)
{
	return access_region(f, NULL, buf, len, off);
}

void *fake_dev_mmap(struct fake_dev *f, size_t len, int prot, int flags, off_t off)
{
	unsigned int index = (uint64_t)off >> FAKE_DEV_REGION_SHIFT;
	uint64_t at = (uint64_t)off & ((UINT64_C(1) << FAKE_DEV_REGION_SHIFT) - 1);
	struct fake_region *r = &f->region[MIN(index, VFIO_PCI_NUM_REGIONS - 1U)];
	void *p = MAP_FAILED;

	errno = EINVAL;
	if (fails(f)) {
		errno = f->fail_errno;
		return MAP_FAILED;
	}
	if (index >= VFIO_PCI_NUM_REGIONS || !(r->flags & VFIO_REGION_INFO_FLAG_MMAP) ||
	    !(flags & MAP_SHARED) || at > r->mem_len || len > r->mem_len - at || !len)
		return MAP_FAILED;
	for (unsigned int i = 0; i < FAKE_DEV_MAPS; i++) {
		if (f->map[i].addr)
			continue;
		p = mmap(NULL, len, prot, flags, r->memfd, at);
		if (p == MAP_FAILED)
			return p;
		f->map[i] = (struct fake_map){ p, len, prot, index };
		r->mapped++;
		protect(f);
		return p;
	}
	errno = ENOMEM;
	return MAP_FAILED;
}

int fake_dev_munmap(struct fake_dev *f, void *addr, size_t len)
{
	for (unsigned int i = 0; i < FAKE_DEV_MAPS; i++)
		if (f->map[i].addr == addr && f->map[i].len == len) {
			f->map[i].addr = NULL;
			f->region[f->map[i].region].mapped--;
			return munmap(addr, len) < 0 ? -errno : 0;
		}
	return -EINVAL;
}

/* ---- a device without a kernel around it ----------------------------------------------------- */

static int sys_open(const struct vfio_sys *s, const char *path, int flags)
{
	return -ENOENT;
}

static int sys_ioctl(const struct vfio_sys *s, int fd, unsigned long req, void *arg)
{
	struct fake_dev *f = s->ctx;
	int ret;

	pthread_mutex_lock(&f->lock);
	ret = fake_dev_ioctl(f, req, arg);
	pthread_mutex_unlock(&f->lock);
	return ret;
}

static void *sys_mmap(const struct vfio_sys *s, size_t len, int prot, int flags, int fd, off_t off)
{
	return fake_dev_mmap(s->ctx, len, prot, flags, off);
}

static int sys_munmap(const struct vfio_sys *s, void *addr, size_t len)
{
	return fake_dev_munmap(s->ctx, addr, len);
}

static ssize_t sys_pread(const struct vfio_sys *s, int fd, void *buf, size_t len, off_t off)
{
	struct fake_dev *f = s->ctx;
	ssize_t n;

	pthread_mutex_lock(&f->lock);
	n = fake_dev_pread(f, buf, len, off);
	pthread_mutex_unlock(&f->lock);
	return n;
}

static ssize_t sys_pwrite(const struct vfio_sys *s, int fd, const void *buf, size_t len, off_t off)
{
	struct fake_dev *f = s->ctx;
	ssize_t n;

	pthread_mutex_lock(&f->lock);
	n = fake_dev_pwrite(f, buf, len, off);
	pthread_mutex_unlock(&f->lock);
	return n;
}

void fake_dev_open(struct fake_dev *f, struct vfio_device *d)
{
	f->sys = (struct vfio_sys){
		.open = sys_open,
		.ioctl = sys_ioctl,
		.mmap = sys_mmap,
		.munmap = sys_munmap,
		.pread = sys_pread,
		.pwrite = sys_pwrite,
		.sysfs = "/sys",
		.dev = "/dev",
		.ctx = f,
	};
	memset(d, 0, sizeof(*d));
	d->sys = &f->sys;
	snprintf(d->name, sizeof(d->name), "%s", f->name);
	d->fd = f->fd;
	d->can_reset = f->can_reset;
	d->nr_regions = VFIO_PCI_NUM_REGIONS;
	d->nr_irqs = VFIO_PCI_NUM_IRQS;
}
