// SPDX-License-Identifier: BSD-3-Clause
/*
 * BARs and the expansion ROM of an assigned function.
 *
 * Whole pages of a BAR that the kernel lets us map become memory of the guest where it puts the
 * BAR, so its accesses are no exits. The rest are exits that read and write the region's file: BARs
 * smaller than a page, pages with the MSI-X table, kinds of guests that have no device memory. They
 * keep their width: the kernel makes one access to the device of each.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vfio/pci_int.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/path.h"

/* #syscalls main?vfio: read lseek fstat newfstatat */

#define BAR_MIN		16		/* PCI Local Bus 3.0, section 6.2.5.1 */
#define BAR_MAX_BITS	48
#define MAX_AREAS	64
#define ROM_MAX		(16 * SZ_1M)	/* section 6.2.5.2 */
#define ROM_MIN		2048		/* what the register can express */
#define ROM_SIGNATURE	0xaa55

#define RW	(VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE)

static bool is_pow2(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* ---- what the device has --------------------------------------------------------------------- */

/* @step: registers that the BAR takes. */
static int init_bar(struct vfio_pci *p, unsigned int bar, unsigned int *step, struct err *e)
{
	const char *name = p->dev->name;
	struct vfio_bar *b = &p->bar[bar];
	struct vfio_region_info *info;
	bool is64, prefetch;
	uint32_t reg;
	int ret;

	if (bar >= p->dev->nr_regions)
		return 0;
	ret = vfio_region(p->dev, bar, &info, e);
	if (ret < 0)
		return ret;
	b->pos = info->offset;
	b->size = info->size;
	b->flags = info->flags;
	free(info);
	if (!b->size)
		return 0;
	ret = vfio_cfg_hw_read(p, PCI_BASE_ADDRESS_0 + 4 * bar, 4, &reg);
	if (ret < 0)
		return err_set(e, ret, "%s: BAR %u cannot be read: %s", name, bar, strerror(-ret));
	if (reg & PCI_BASE_ADDRESS_SPACE_IO) {
		log_info("%s: BAR %u is made of I/O ports, which no guest has on arm64: it sees "
			 "none", name, bar);
		b->size = 0;
		return 0;
	}
	is64 = (reg & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64;
	prefetch = reg & PCI_BASE_ADDRESS_MEM_PREFETCH;
	if (!is_pow2(b->size) || b->size < BAR_MIN || b->size >> BAR_MAX_BITS ||
	    (!is64 && b->size >> 32) || (is64 && bar == PCI_STD_NUM_BARS - 1))
		return err_set(e, -EINVAL, "%s: BAR %u of %" PRIu64 " bytes makes no sense", name,
			       bar, b->size);
	if (!(b->flags & (RW | VFIO_REGION_INFO_FLAG_MMAP)))
		return err_set(e, -EOPNOTSUPP, "%s: BAR %u can be neither read nor mapped on this "
			       "host, so the device cannot be given to a guest", name, bar);
	b->direct = !(b->flags & RW);
	pci_add_bar(&p->pci, bar, b->size, is64, prefetch);
	*step = is64 ? 2 : 1;
	return 0;
}

int vfio_bars_init(struct vfio_pci *p, struct err *e)
{
	unsigned int step;
	int ret = 0;

	for (unsigned int bar = 0; bar < PCI_STD_NUM_BARS && !ret; bar += step) {
		step = 1;
		ret = init_bar(p, bar, &step, e);
	}
	return ret;
}

/* ---- mappings -------------------------------------------------------------------------------- */

static int map_area(struct vfio_pci *p, unsigned int bar, uint64_t off, uint64_t end, struct err *e)
{
	const struct vfio_sys *sys = p->dev->sys;
	struct vfio_bar *b = &p->bar[bar];
	struct vfio_area *area;
	void *host;

	if (b->nr == MAX_AREAS)
		return 0;	/* exits do it, too */
	area = realloc(b->area, (b->nr + 1) * sizeof(*area));
	if (!area)
		return err_set(e, -ENOMEM, "%s: no memory for its BARs", p->dev->name);
	b->area = area;
	host = sys->mmap(sys, end - off, PROT_READ | PROT_WRITE, MAP_SHARED, p->dev->fd,
			 b->pos + off);
	if (host == MAP_FAILED) {
		log_info("%s: BAR %u cannot be mapped at %#" PRIx64 ": %s; accesses to it are "
			 "exits", p->dev->name, bar, off, strerror(errno));
		return 0;
	}
	area[b->nr++] = (struct vfio_area){ .off = off, .size = end - off, .host = host };
	return 0;
}

/* Map [off, end) but for the pages of holes from @hole on. */
static int map_around(struct vfio_pci *p, unsigned int bar, uint64_t off, uint64_t end,
		      unsigned int hole, struct err *e)
{
	uint64_t page = sysconf(_SC_PAGESIZE), from, to;
	const struct vfio_hole *h = &p->hole[hole];
	int ret = 0;

	if (off >= end)
		return 0;
	if (hole == ARRAY_SIZE(p->hole))
		return map_area(p, bar, off, end, e);
	from = ALIGN_DOWN(h->off, page);
	to = ALIGN_UP(h->end, page);
	if (h->bar != bar || h->off == h->end || from >= end || to <= off)
		return map_around(p, bar, off, end, hole + 1, e);
	if (from > off)
		ret = map_around(p, bar, off, from, hole + 1, e);
	return ret ? ret : map_around(p, bar, to, end, hole + 1, e);
}

/* The kernel says which parts of a region can be mapped, if not all. */
static int map_sparse(struct vfio_pci *p, unsigned int bar, const struct vfio_region_info *info,
		      const struct vfio_region_info_cap_sparse_mmap *s, struct err *e)
{
	uint64_t page = sysconf(_SC_PAGESIZE), done = 0;
	size_t room = (const char *)info + info->argsz - (const char *)s->areas;
	int ret = 0;

	for (uint32_t i = 0; i < s->nr_areas && i < room / sizeof(s->areas[0]) && !ret; i++) {
		uint64_t off = s->areas[i].offset, size = s->areas[i].size;

		if (!size)
			continue;
		/* in ascending order, as the kernel's drivers say them; others are exits */
		if (off < done || off > p->bar[bar].size || size > p->bar[bar].size - off ||
		    !IS_ALIGNED(off | size, page)) {
			log_info("%s: BAR %u: the mappable range at %#" PRIx64 " is not used",
				 p->dev->name, bar, off);
			continue;
		}
		done = off + size;
		ret = map_around(p, bar, off, done, 0, e);
	}
	return ret;
}

static int map_bar(struct vfio_pci *p, unsigned int bar, struct err *e)
{
	const struct vfio_region_info_cap_sparse_mmap *s;
	struct vfio_bar *b = &p->bar[bar];
	struct vfio_region_info *info;
	int ret;

	if (!b->size || !(b->flags & VFIO_REGION_INFO_FLAG_MMAP))
		return 0;
	/* a part of a page cannot be mapped, and a guest that may not write would be stopped */
	if (!b->direct && (b->size < (uint64_t)sysconf(_SC_PAGESIZE) || (b->flags & RW) != RW))
		return 0;
	ret = vfio_region(p->dev, bar, &info, e);
	if (ret < 0)
		return ret;
	s = info->flags & VFIO_REGION_INFO_FLAG_CAPS ?
	    vfio_find_cap(info, info->argsz, info->cap_offset, VFIO_REGION_INFO_CAP_SPARSE_MMAP,
			  sizeof(*s)) : NULL;
	ret = s ? map_sparse(p, bar, info, s, e) : map_around(p, bar, 0, b->size, 0, e);
	free(info);
	if (!ret && b->direct && !b->nr)
		ret = err_set(e, -EOPNOTSUPP, "%s: BAR %u can only be mapped on this host, and "
			      "mapping it failed: the device cannot be given to a guest",
			      p->dev->name, bar);
	return ret;
}

int vfio_bars_map(struct vfio_pci *p, struct err *e)
{
	int ret = 0;

	for (unsigned int bar = 0; bar < PCI_STD_NUM_BARS && !ret; bar++) {
		ret = map_bar(p, bar, e);
		/* what only a mapping reaches must decode always */
		if (p->bar[bar].direct && p->pm) {
			p->hw_read[p->pm + PCI_PM_CTRL] = 0;
			p->pm = 0;
		}
	}
	if (!ret && !p->env.map_bar)
		log_info("%s: this kind of guest has no device memory: each access to its BARs is "
			 "an exit", p->dev->name);
	return ret;
}

static void unmap_guest(struct vfio_pci *p, struct vfio_area *a)
{
	if (a->guest)
		p->env.unmap_bar(p->env.ctx, a->slot);
	a->guest = false;
}

void vfio_bars_free(struct vfio_pci *p)
{
	const struct vfio_sys *sys = p->dev->sys;

	for (unsigned int bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		struct vfio_bar *b = &p->bar[bar];

		for (unsigned int i = 0; i < b->nr; i++) {
			unmap_guest(p, &b->area[i]);
			sys->munmap(sys, b->area[i].host, b->area[i].size);
		}
		free(b->area);
		b->area = NULL;
		b->nr = 0;
	}
	free(p->rom);
	p->rom = NULL;
}

void vfio_bar_mapped(struct pci_dev *d, unsigned int bar, ipa_t addr)
{
	struct vfio_pci *p = container_of(d, struct vfio_pci, pci);
	struct vfio_bar *b = &p->bar[bar];
	uint64_t page = sysconf(_SC_PAGESIZE);

	if (bar >= PCI_STD_NUM_BARS || !p->env.map_bar)
		return;
	for (unsigned int i = 0; i < b->nr; i++) {
		struct vfio_area *a = &b->area[i];
		int ret;

		unmap_guest(p, a);
		if (!addr || p->by_exits || !IS_ALIGNED(addr | a->size, page))
			continue;
		ret = p->env.map_bar(p->env.ctx, addr + a->off, a->size, a->host, &a->slot);
		a->guest = !ret;
		if (ret < 0)
			log_rated(&p->rate, LOG_WARNING, "%s: BAR %u: no memory slot: %s; accesses "
				  "to it are exits", p->dev->name, bar, strerror(-ret));
	}
}

void vfio_bars_by_exits(struct vfio_pci *p, bool on)
{
	if (p->by_exits == on)
		return;
	p->by_exits = on;
	for (unsigned int bar = 0; bar < PCI_STD_NUM_BARS; bar++)
		vfio_bar_mapped(&p->pci, bar, p->pci.bar[bar].addr);
}

/* ---- accesses that are exits ----------------------------------------------------------------- */

static uint64_t ones(unsigned int len)
{
	return len < 8 ? (UINT64_C(1) << (8 * len)) - 1 : UINT64_MAX;
}

/* The device must see an access as the guest made it, not two halves of one. */
static void load(const uint8_t *from, void *buf, unsigned int len)
{
	const volatile void *v = from;
	uint8_t *out = buf;

	if (len == 8 && IS_ALIGNED((uintptr_t)from, 8))
		*(uint64_t *)buf = *(const volatile uint64_t *)v;
	else if (len == 4 && IS_ALIGNED((uintptr_t)from, 4))
		*(uint32_t *)buf = *(const volatile uint32_t *)v;
	else if (len == 2 && IS_ALIGNED((uintptr_t)from, 2))
		*(uint16_t *)buf = *(const volatile uint16_t *)v;
	else
		for (unsigned int i = 0; i < len; i++)
			out[i] = ((const volatile uint8_t *)v)[i];
}

static void store(uint8_t *to, const void *buf, unsigned int len)
{
	const uint8_t *in = buf;
	volatile void *v = to;

	if (len == 8 && IS_ALIGNED((uintptr_t)to, 8))
		*(volatile uint64_t *)v = *(const uint64_t *)buf;
	else if (len == 4 && IS_ALIGNED((uintptr_t)to, 4))
		*(volatile uint32_t *)v = *(const uint32_t *)buf;
	else if (len == 2 && IS_ALIGNED((uintptr_t)to, 2))
		*(volatile uint16_t *)v = *(const uint16_t *)buf;
	else
		for (unsigned int i = 0; i < len; i++)
			((volatile uint8_t *)v)[i] = in[i];
}

static uint8_t *direct_at(const struct vfio_bar *b, uint64_t off, unsigned int len)
{
	for (unsigned int i = 0; i < b->nr; i++)
		if (off >= b->area[i].off && off - b->area[i].off < b->area[i].size &&
		    len <= b->area[i].size - (off - b->area[i].off))
			return b->area[i].host + (off - b->area[i].off);
	return NULL;
}

static uint64_t rom_read(const struct vfio_pci *p, uint64_t off, unsigned int len)
{
	uint64_t val = ones(len);

	for (unsigned int i = 0; i < len && off + i < p->rom_len; i++)
		val = (val & ~(UINT64_C(0xff) << (8 * i))) | (uint64_t)p->rom[off + i] << (8 * i);
	return val;
}

static void access_failed(struct vfio_pci *p, unsigned int bar, uint64_t off, const char *what,
			  ssize_t n)
{
	log_rated(&p->rate, LOG_WARNING, "%s: BAR %u: %s at %#" PRIx64 ": %s", p->dev->name, bar,
		  what, off, strerror(n < 0 ? -n : EIO));
}

uint64_t vfio_bar_read(struct pci_dev *d, unsigned int bar, uint64_t off, unsigned int len)
{
	struct vfio_pci *p = container_of(d, struct vfio_pci, pci);
	const struct vfio_sys *sys = p->dev->sys;
	const struct vfio_bar *b = &p->bar[bar];
	uint64_t val = 0;
	const uint8_t *at;
	ssize_t n;

	if (bar == PCI_ROM_BAR)
		return rom_read(p, off, len);
	atomic_fetch_add_explicit(&p->stat.bar_exits, 1, memory_order_relaxed);
	if (b->direct) {
		at = direct_at(b, off, len);
		if (!at)
			return ones(len);
		load(at, &val, len);
		return le64toh(val);
	}
	if (!(b->flags & VFIO_REGION_INFO_FLAG_READ))
		return ones(len);
	n = sys->pread(sys, p->dev->fd, &val, len, b->pos + off);
	if (n != (ssize_t)len) {
		access_failed(p, bar, off, "read", n);
		return ones(len);
	}
	return le64toh(val);
}

void vfio_bar_write(struct pci_dev *d, unsigned int bar, uint64_t off, uint64_t val,
		    unsigned int len)
{
	struct vfio_pci *p = container_of(d, struct vfio_pci, pci);
	const struct vfio_sys *sys = p->dev->sys;
	const struct vfio_bar *b = &p->bar[bar];
	uint8_t *at;
	ssize_t n;

	if (bar == PCI_ROM_BAR)
		return;
	atomic_fetch_add_explicit(&p->stat.bar_exits, 1, memory_order_relaxed);
	val = htole64(val);
	if (b->direct) {
		at = direct_at(b, off, len);
		if (at)
			store(at, &val, len);
		return;
	}
	if (!(b->flags & VFIO_REGION_INFO_FLAG_WRITE))
		return;
	n = sys->pwrite(sys, p->dev->fd, &val, len, b->pos + off);
	if (n != (ssize_t)len)
		access_failed(p, bar, off, "write", n);
}

/* ---- expansion ROM --------------------------------------------------------------------------- */

static int read_file(struct vfio_pci *p, const char *path, struct err *e)
{
	int fd = path_open(path, O_RDONLY | O_NONBLOCK, 0), ret = 0;
	struct stat st;

	if (fd < 0)
		return err_set(e, -errno, "%s: ROM file %s: %s", p->dev->name, path,
			       strerror(errno));
	if (fstat(fd, &st) < 0)
		ret = err_set(e, -errno, "%s: ROM file %s: %s", p->dev->name, path,
			      strerror(errno));
	else if (!S_ISREG(st.st_mode) || st.st_size < 2 || (uint64_t)st.st_size > ROM_MAX)
		ret = err_set(e, -EINVAL, "%s: ROM file %s is no file of 2 bytes to 16 MiB",
			      p->dev->name, path);
	if (ret)
		goto out;
	p->rom = malloc(st.st_size);
	if (!p->rom) {
		ret = err_set(e, -ENOMEM, "%s: no memory for its ROM", p->dev->name);
		goto out;
	}
	while (p->rom_len < (size_t)st.st_size) {
		ssize_t n = pread(fd, p->rom + p->rom_len, st.st_size - p->rom_len,
				  p->rom_len);

		if (n <= 0) {
			ret = err_set(e, n ? -errno : -EIO, "%s: ROM file %s: %s", p->dev->name,
				      path, n ? strerror(errno) : "it got shorter");
			break;
		}
		p->rom_len += n;
	}
out:
	close(fd);
	return ret;
}

/* The device's own, at once: it may not be readable later. None, or one that fails, is no error. */
static int read_device(struct vfio_pci *p, struct err *e)
{
	const struct vfio_sys *sys = p->dev->sys;
	struct vfio_region_info *info;
	uint64_t size, pos;
	int ret;

	if (p->dev->nr_regions <= VFIO_PCI_ROM_REGION_INDEX)
		return 0;
	ret = vfio_region(p->dev, VFIO_PCI_ROM_REGION_INDEX, &info, e);
	if (ret < 0)
		return ret;
	size = info->flags & VFIO_REGION_INFO_FLAG_READ ? info->size : 0;
	pos = info->offset;
	free(info);
	if (!size || size > ROM_MAX)
		return 0;
	p->rom = malloc(size);
	if (!p->rom)
		return err_set(e, -ENOMEM, "%s: no memory for its ROM", p->dev->name);
	while (p->rom_len < size) {
		ssize_t n = sys->pread(sys, p->dev->fd, p->rom + p->rom_len, size - p->rom_len,
				       pos + p->rom_len);

		if (n <= 0)
			break;
		p->rom_len += n;
	}
	return 0;
}

int vfio_rom_init(struct vfio_pci *p, const struct vfio_pci_cfg *cfg, struct err *e)
{
	uint64_t size = ROM_MIN;
	int ret;

	if (cfg->no_rom)
		return 0;
	ret = cfg->rom ? read_file(p, cfg->rom, e) : read_device(p, e);
	if (ret < 0)
		return ret;
	/* PCI Firmware Specification 3.0, section 5.1.1; the bytes were read */
	/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
	if (p->rom_len < 2 || (p->rom[0] | p->rom[1] << 8) != ROM_SIGNATURE) {
		if (cfg->rom)
			return err_set(e, -EINVAL, "%s: ROM file %s does not begin with the bytes "
				       "55 aa of an expansion ROM", p->dev->name, cfg->rom);
		if (p->rom_len)
			log_info("%s: its expansion ROM has no valid image: the guest sees none",
				 p->dev->name);
		free(p->rom);
		p->rom = NULL;
		p->rom_len = 0;
		return 0;
	}
	while (size < p->rom_len)
		size *= 2;
	pci_add_bar(&p->pci, PCI_ROM_BAR, size, false, false);
	return 0;
}
