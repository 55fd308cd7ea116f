// SPDX-License-Identifier: BSD-3-Clause
/*
 * The host bridge (PCI Local Bus 3.0, PCI Express Base 5.0, section 7.2.2 for ECAM).
 */
#include "vmm/board/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/trace.h"

#define ECAM_BUS_SIZE	SZ_1M		/* 256 functions; other buses do not exist */

/* The id of QEMU's generic host bridge, which operating systems know and leave alone. */
#define BRIDGE_VENDOR	0x1b36
#define BRIDGE_DEVICE	0x0008
#define BRIDGE_CLASS	0x060000

#ifndef PCI_HEADER_TYPE_MFD		/* Linux 6.7 */
#define PCI_HEADER_TYPE_MFD	0x80
#endif

static uint64_t ones(unsigned int len)
{
	return len < 8 ? (UINT64_C(1) << (8 * len)) - 1 : UINT64_MAX;
}

void pci_put(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t val)
{
	for (unsigned int i = 0; i < len; i++)
		d->cfg[off + i] = val >> (8 * i);
}

uint32_t pci_get(const struct pci_dev *d, unsigned int off, unsigned int len)
{
	uint32_t val = 0;

	for (unsigned int i = 0; i < len; i++)
		val |= (uint32_t)d->cfg[off + i] << (8 * i);
	return val;
}

static void set_wmask(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t mask)
{
	for (unsigned int i = 0; i < len; i++)
		d->wmask[off + i] = mask >> (8 * i);
}

static unsigned int bar_reg(unsigned int bar)
{
	return bar == PCI_ROM_BAR ? PCI_ROM_ADDRESS : PCI_BASE_ADDRESS_0 + 4 * bar;
}

/* ---- a function ------------------------------------------------------------------------------ */

void pci_dev_init(struct pci_dev *d, const struct pci_ops *ops, const char *name,
		  const struct pci_ids *ids)
{
	memset(d, 0, sizeof(*d));
	d->ops = ops;
	d->name = name;
	d->cap_end = PCI_STD_HEADER_SIZEOF;
	pci_put(d, PCI_VENDOR_ID, 2, ids->vendor);
	pci_put(d, PCI_DEVICE_ID, 2, ids->device);
	pci_put(d, PCI_CLASS_REVISION, 4, ids->class << 8 | ids->revision);
	pci_put(d, PCI_SUBSYSTEM_VENDOR_ID, 2, ids->sub_vendor);
	pci_put(d, PCI_SUBSYSTEM_ID, 2, ids->sub_device);
	set_wmask(d, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
				     PCI_COMMAND_INTX_DISABLE);
	set_wmask(d, PCI_CACHE_LINE_SIZE, 1, 0xff);
}

void pci_dev_destroy(struct pci_dev *d)
{
	if (d->msix)
		msix_free(d->msix);
	d->msix = NULL;
}

void pci_add_bar(struct pci_dev *d, unsigned int bar, uint64_t size, bool is64, bool prefetch)
{
	unsigned int reg = bar_reg(bar);

	d->bar[bar] = (struct pci_bar){ .size = size, .is64 = is64, .prefetch = prefetch };
	if (bar == PCI_ROM_BAR) {
		set_wmask(d, reg, 4, (-size & PCI_ROM_ADDRESS_MASK) | PCI_ROM_ADDRESS_ENABLE);
		return;
	}
	pci_put(d, reg, 4, (is64 ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0) |
			   (prefetch ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0));
	set_wmask(d, reg, 4, -size & PCI_BASE_ADDRESS_MEM_MASK);
	if (is64)
		set_wmask(d, reg + 4, 4, -size >> 32);
}

unsigned int pci_add_cap(struct pci_dev *d, uint8_t id, unsigned int len)
{
	unsigned int off = d->cap_end;

	if (off + len > PCI_CFG_SPACE_SIZE)
		return 0;
	pci_put(d, off, 1, id);
	pci_put(d, d->cap_last ? d->cap_last + PCI_CAP_LIST_NEXT : PCI_CAPABILITY_LIST, 1, off);
	pci_put(d, PCI_STATUS, 2, pci_get(d, PCI_STATUS, 2) | PCI_STATUS_CAP_LIST);
	d->cap_last = off;
	d->cap_end = ALIGN_UP(off + len, 4U);
	return off;
}

void pci_use_intx(struct pci_dev *d)
{
	pci_put(d, PCI_INTERRUPT_PIN, 1, 1);
	set_wmask(d, PCI_INTERRUPT_LINE, 1, 0xff);
}

/* ---- where BARs answer ----------------------------------------------------------------------- */

static bool in_window(const struct pci_window *w, ipa_t base, uint64_t size)
{
	return base >= w->base && base - w->base < w->size && size <= w->size - (base - w->base);
}

/* The address in the registers of a BAR. */
static ipa_t reg_addr(const struct pci_dev *d, unsigned int bar)
{
	unsigned int reg = bar_reg(bar);
	uint64_t addr = pci_get(d, reg, 4);

	if (bar == PCI_ROM_BAR)
		return addr & PCI_ROM_ADDRESS_MASK;
	addr &= ~(uint64_t)0xf;
	return d->bar[bar].is64 ? addr | (uint64_t)pci_get(d, reg + 4, 4) << 32 : addr;
}

/* Where the registers say that a BAR is, 0: it is off, or at an address that does not exist. */
static ipa_t bar_addr(const struct pci_dev *d, unsigned int bar)
{
	const struct pci_bar *b = &d->bar[bar];
	uint64_t addr;

	if (!b->size || d->asleep || !(pci_get(d, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY))
		return 0;
	if (bar == PCI_ROM_BAR && !(pci_get(d, PCI_ROM_ADDRESS, 4) & PCI_ROM_ADDRESS_ENABLE))
		return 0;
	addr = reg_addr(d, bar);
	return in_window(&d->host->mem, addr, b->size) ||
	       in_window(&d->host->mem64, addr, b->size) ? addr : 0;
}

/* The first entry whose base is above @addr. */
static unsigned int map_above(const struct pci_map *map, unsigned int nr, ipa_t addr)
{
	unsigned int lo = 0, hi = nr;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		if (map[mid].base <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Two BARs at one address are a fault of the guest's: the function that came first has it. */
static bool map_insert(struct pci_map *map, unsigned int *nr, const struct pci_map *m)
{
	unsigned int at = map_above(map, *nr, m->base);

	if ((at > 0 && m->base - map[at - 1].base < map[at - 1].size) ||
	    (at < *nr && map[at].base - m->base < m->size))
		return false;
	memmove(&map[at + 1], &map[at], (*nr - at) * sizeof(*map));
	map[at] = *m;
	(*nr)++;
	return true;
}

static void tell_mapped(struct pci_dev *d, unsigned int bar, ipa_t addr)
{
	d->bar[bar].addr = addr;
	if (d->ops && d->ops->bar_mapped)
		d->ops->bar_mapped(d, bar, addr);
}

/* What the table says of a BAR. */
static ipa_t map_of(const struct pci_map *map, unsigned int nr, const struct pci_dev *d,
		    unsigned int bar)
{
	ipa_t addr = bar_addr(d, bar);
	unsigned int at = addr ? map_above(map, nr, addr) : 0;

	return at && map[at - 1].dev == d && map[at - 1].bar == bar ? addr : 0;
}

/*
 * Place all BARs anew, as one that moves can make room for another that had none. The table is
 * ready before anybody is told, and who loses an address is told before who gets one.
 */
static void place(struct pci_host *h)
{
	struct pci_map *map = h->spare;
	unsigned int nr = 0;

	for (unsigned int fn = 0; fn < ARRAY_SIZE(h->func); fn++)
		for (unsigned int bar = 0; h->func[fn] && bar < PCI_NR_BARS; bar++) {
			struct pci_dev *d = h->func[fn];
			struct pci_map m = { bar_addr(d, bar), d->bar[bar].size, d, bar };

			if (m.base)
				map_insert(map, &nr, &m);
		}
	for (unsigned int i = 0; i < h->nr_map; i++) {
		struct pci_map *o = &h->map[i];

		if (map_of(map, nr, o->dev, o->bar) != o->base)
			tell_mapped(o->dev, o->bar, 0);
	}
	pthread_rwlock_wrlock(&h->map_lock);
	h->spare = h->map;
	h->map = map;
	h->nr_map = nr;
	pthread_rwlock_unlock(&h->map_lock);
	for (unsigned int i = 0; i < nr; i++)
		if (map[i].dev->bar[map[i].bar].addr != map[i].base)
			tell_mapped(map[i].dev, map[i].bar, map[i].base);
}

static bool lookup(struct pci_host *h, ipa_t addr, struct pci_map *out)
{
	bool found = false;
	unsigned int at;

	pthread_rwlock_rdlock(&h->map_lock);
	at = map_above(h->map, h->nr_map, addr);
	if (at) {
		*out = h->map[at - 1];
		found = addr - out->base < out->size;
	}
	pthread_rwlock_unlock(&h->map_lock);
	return found;
}

uint64_t pci_bar_access(struct pci_dev *d, unsigned int bar, uint64_t off, uint64_t val,
			unsigned int len, bool write)
{
	if (bar >= PCI_NR_BARS || off >= d->bar[bar].size || len > d->bar[bar].size - off)
		return ones(len);
	if (pci_msix_owns(d, bar, off, len))
		return msix_access(d->msix, bar, off, val, len, write);
	if (write && d->ops->bar_write)
		d->ops->bar_write(d, bar, off, val, len);
	return !write && d->ops->bar_read ? d->ops->bar_read(d, bar, off, len) : ones(len);
}

static uint64_t window_access(struct pci_host *h, ipa_t addr, uint64_t val, unsigned int len,
			      bool write)
{
	static const struct trace_kind kind = {
		.cat = "pci", .text = "device", .arg = { "bar", "#offset", "bytes" },
	};
	uint64_t began = trace_begin();
	struct pci_map m;

	if (!lookup(h, addr, &m))
		return ones(len);
	val = pci_bar_access(m.dev, m.bar, addr - m.base, val, len, write);
	trace_span(&kind, "BAR", began, m.dev->name, m.bar, addr - m.base, len);
	return val;
}

static uint64_t mem_read(void *opaque, uint64_t off, unsigned int len)
{
	struct pci_host *h = opaque;

	return window_access(h, h->mem.base + off, 0, len, false);
}

static void mem_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct pci_host *h = opaque;

	window_access(h, h->mem.base + off, val, len, true);
}

static uint64_t mem64_read(void *opaque, uint64_t off, unsigned int len)
{
	struct pci_host *h = opaque;

	return window_access(h, h->mem64.base + off, 0, len, false);
}

static void mem64_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct pci_host *h = opaque;

	window_access(h, h->mem64.base + off, val, len, true);
}

static const struct mmio_ops mem_ops = { .read = mem_read, .write = mem_write };
static const struct mmio_ops mem64_ops = { .read = mem64_read, .write = mem64_write };

/* ---- INTx ------------------------------------------------------------------------------------ */

/* intx_lock is held: the wire of a device is the OR of its functions. */
static void update_wire(struct pci_host *h, unsigned int device)
{
	bool on = false;

	for (unsigned int fn = 0; fn < 8; fn++) {
		const struct pci_dev *d = h->func[device << 3 | fn];

		on |= d && d->intx && !(pci_get(d, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE) &&
		      !pci_msix_on(d);
	}
	if (on == h->level[device])
		return;
	h->level[device] = on;
	irq_set(&h->line[device], on);
}

void pci_intx(struct pci_dev *d, bool on)
{
	struct pci_host *h = d->host;

	pthread_mutex_lock(&h->intx_lock);
	if (d->intx != on) {
		d->intx = on;
		update_wire(h, d->devfn >> 3);
	}
	pthread_mutex_unlock(&h->intx_lock);
}

/* ---- configuration space --------------------------------------------------------------------- */

static bool touches(unsigned int off, unsigned int len, unsigned int reg, unsigned int reg_len)
{
	return off < reg + reg_len && reg < off + len;
}

uint32_t pci_cfg_read(struct pci_dev *d, unsigned int off, unsigned int len)
{
	struct pci_host *h = d->host;
	uint32_t val;

	pthread_mutex_lock(&h->lock);
	val = pci_get(d, off, len);
	if (touches(off, len, PCI_STATUS, 1) && d->intx && !pci_msix_on(d))
		val |= (uint32_t)PCI_STATUS_INTERRUPT << (8 * (PCI_STATUS - off));
	pthread_mutex_unlock(&h->lock);
	return val;
}

static bool moved(const struct pci_dev *d)
{
	for (unsigned int bar = 0; bar < PCI_NR_BARS; bar++)
		if (bar_addr(d, bar) != d->bar[bar].addr)
			return true;
	return false;
}

void pci_cfg_write(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t val)
{
	struct pci_host *h = d->host;
	bool switched = false;

	pthread_mutex_lock(&h->lock);
	/* update_wire() reads the command register with its own lock only */
	pthread_mutex_lock(&h->intx_lock);
	for (unsigned int i = 0; i < len; i++) {
		uint8_t mask = d->wmask[off + i];

		d->cfg[off + i] = (d->cfg[off + i] & ~mask) | ((val >> (8 * i)) & mask);
	}
	pthread_mutex_unlock(&h->intx_lock);
	if (off < PCI_STD_HEADER_SIZEOF && moved(d))
		place(h);
	if (d->msix && (touches(off, len, PCI_COMMAND, 2) ||
			touches(off, len, msix_cap(d->msix), 4)))
		switched = msix_update(d->msix);
	pthread_mutex_lock(&h->intx_lock);
	update_wire(h, d->devfn >> 3);
	pthread_mutex_unlock(&h->intx_lock);
	pthread_mutex_unlock(&h->lock);
	if (switched && d->ops && d->ops->msix_enabled)
		d->ops->msix_enabled(d, pci_msix_on(d));
}

void pci_set_asleep(struct pci_dev *d, bool asleep)
{
	struct pci_host *h = d->host;

	pthread_mutex_lock(&h->lock);
	d->asleep = asleep;
	if (moved(d))
		place(h);
	pthread_mutex_unlock(&h->lock);
}

/* The function behind an offset of ECAM, for an access as configuration space knows them. */
static struct pci_dev *ecam_func(struct pci_host *h, uint64_t off, unsigned int len)
{
	static const struct trace_kind kind = {
		.cat = "pci", .text = "device", .arg = { "#function", "#register", "bytes" },
	};
	struct pci_dev *d;

	if (off >= ECAM_BUS_SIZE || (len != 1 && len != 2 && len != 4) || off % len)
		return NULL;
	d = h->func[off / PCI_CFG_SPACE];
	trace_mark(&kind, "configuration", d ? d->name : "none", off / PCI_CFG_SPACE,
		   off % PCI_CFG_SPACE, len);
	return d;
}

static uint64_t ecam_read(void *opaque, uint64_t off, unsigned int len)
{
	struct pci_dev *d = ecam_func(opaque, off, len);
	unsigned int reg = off % PCI_CFG_SPACE;
	uint32_t val;

	if (!d)
		return ones(len);
	if (d->ops && d->ops->cfg_read && d->ops->cfg_read(d, reg, len, &val))
		return val;
	return pci_cfg_read(d, reg, len);
}

static void ecam_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct pci_dev *d = ecam_func(opaque, off, len);
	unsigned int reg = off % PCI_CFG_SPACE;

	if (!d)
		return;
	if (d->ops && d->ops->cfg_write && d->ops->cfg_write(d, reg, len, val))
		return;
	pci_cfg_write(d, reg, len, val);
}

static const struct mmio_ops ecam_ops = { .read = ecam_read, .write = ecam_write };

/* No function has I/O ports. The window is there because firmware looks for one. */
static uint64_t io_read(void *opaque, uint64_t off, unsigned int len)
{
	return ones(len);
}

static void io_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
}

static const struct mmio_ops io_ops = { .read = io_read, .write = io_write };

/* ---- the bus --------------------------------------------------------------------------------- */

int pci_host_init(struct pci_host *h, struct mmio_bus *bus, const struct irq_line *line,
		  unsigned int expected, unsigned int reserve, ipa_t mem64_base,
		  uint64_t mem64_size, struct err *e)
{
	static const struct pci_ids ids = {
		.vendor = BRIDGE_VENDOR,
		.device = BRIDGE_DEVICE,
		.class = BRIDGE_CLASS,
	};
	int ret;

	memset(h, 0, sizeof(*h));
	memcpy(h->line, line, sizeof(h->line));
	h->mem = (struct pci_window){ MAP_PCI_MEM_BASE, MAP_PCI_MEM_END - MAP_PCI_MEM_BASE };
	h->mem64 = (struct pci_window){ mem64_base, mem64_size };
	h->next = 1;
	h->per_device = 1;
	while (h->per_device < 8 &&
	       (expected + h->per_device - 1) / h->per_device + reserve > PCI_NR_DEVICES - 1)
		h->per_device++;
	h->room = PCI_MAX_FUNCS * PCI_NR_BARS;
	h->map = calloc(h->room, sizeof(*h->map));
	h->spare = calloc(h->room, sizeof(*h->spare));
	h->home = calloc(h->room, sizeof(*h->home));
	if (!h->map || !h->spare || !h->home) {
		free(h->map);
		free(h->spare);
		free(h->home);
		h->map = h->spare = h->home = NULL;
		return err_set(e, -ENOMEM, "no memory for the PCI host bridge");
	}
	pthread_mutex_init(&h->lock, NULL);
	pthread_mutex_init(&h->intx_lock, NULL);
	pthread_rwlock_init(&h->map_lock, NULL);
	pci_dev_init(&h->bridge, NULL, "PCI host bridge", &ids);
	h->bridge.host = h;
	h->func[0] = &h->bridge;
	ret = mmio_add(bus, MAP_ECAM_BASE, MAP_ECAM_SIZE, &ecam_ops, h, "PCI ECAM", e);
	if (!ret)
		ret = mmio_add(bus, h->mem.base, h->mem.size, &mem_ops, h, "PCI memory", e);
	if (!ret)
		ret = mmio_add(bus, MAP_PCI_IO_BASE, MAP_PCI_IO_SIZE, &io_ops, h, "PCI I/O", e);
	if (!ret && mem64_size)
		ret = mmio_add(bus, mem64_base, mem64_size, &mem64_ops, h, "PCI memory, 64 bit", e);
	if (ret < 0)
		pci_host_destroy(h);
	return ret;
}

void pci_host_destroy(struct pci_host *h)
{
	if (!h->map)
		return;
	pthread_rwlock_destroy(&h->map_lock);
	pthread_mutex_destroy(&h->intx_lock);
	pthread_mutex_destroy(&h->lock);
	free(h->map);
	free(h->spare);
	free(h->home);
	memset(h, 0, sizeof(*h));
}

/* The lowest free place for a BAR at the start, 0: there is none. */
static ipa_t find_hole(const struct pci_host *h, const struct pci_window *w, uint64_t size)
{
	ipa_t addr = ALIGN_UP(w->base, size);

	for (unsigned int i = 0; i < h->nr_home; i++) {
		const struct pci_map *m = &h->home[i];

		if (m->base + m->size <= addr)
			continue;
		if (m->base >= addr && m->base - addr >= size)
			break;
		addr = ALIGN_UP(m->base + m->size, size);
	}
	return in_window(w, addr, size) ? addr : 0;
}

/* What --pci-mem64 must be for all 64-bit BARs so far and those of @d. */
static uint64_t mem64_wanted(const struct pci_host *h, const struct pci_dev *d)
{
	uint64_t sum = 0, size = SZ_1G;

	for (unsigned int i = 0; i < h->nr_home; i++)
		if (h->home[i].dev != d && h->home[i].dev->bar[h->home[i].bar].is64)
			sum += h->home[i].size;
	for (unsigned int bar = 0; bar < PCI_NR_BARS; bar++)
		sum += d->bar[bar].is64 ? d->bar[bar].size : 0;
	while (size < sum || size <= h->mem64.size)
		size *= 2;
	return size;
}

/* An address for a BAR at the start; the guest may choose another. */
static int assign(struct pci_host *h, struct pci_dev *d, unsigned int bar, struct err *e)
{
	const struct pci_bar *b = &d->bar[bar];
	unsigned int reg = bar_reg(bar);
	struct pci_map m = { 0, b->size, d, bar };

	if (b->is64 && h->mem64.size)
		m.base = find_hole(h, &h->mem64, b->size);
	if (!m.base)
		m.base = find_hole(h, &h->mem, b->size);
	if (!m.base && b->is64)
		return err_set(e, -ENOSPC, "%s: BAR %u of %" PRIu64 " KiB does not fit in the PCI "
			       "memory window any more; give --pci-mem64 %" PRIu64 "G", d->name,
			       bar, b->size / 1024, mem64_wanted(h, d) / SZ_1G);
	if (!m.base)
		return err_set(e, -ENOSPC, "%s: BAR %u of %" PRIu64 " KiB does not fit in the PCI "
			       "memory window any more; use fewer devices", d->name, bar,
			       b->size / 1024);
	map_insert(h->home, &h->nr_home, &m);
	pci_put(d, reg, 4, m.base | (pci_get(d, reg, 4) & 0xf));
	if (b->is64)
		pci_put(d, reg + 4, 4, m.base >> 32);
	return 0;
}

static void give_back(struct pci_host *h, const struct pci_dev *d)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < h->nr_home; i++)
		if (h->home[i].dev != d)
			h->home[kept++] = h->home[i];
	h->nr_home = kept;
}

/* All of them, the largest first: so no room is lost to alignment. */
static int assign_all(struct pci_host *h, struct pci_dev *d, struct err *e)
{
	bool done[PCI_NR_BARS] = { false };
	int ret = 0;

	for (unsigned int n = 0; n < PCI_NR_BARS && !ret; n++) {
		unsigned int best = PCI_NR_BARS;

		for (unsigned int bar = 0; bar < PCI_NR_BARS; bar++)
			if (!done[bar] && d->bar[bar].size &&
			    (best == PCI_NR_BARS || d->bar[bar].size > d->bar[best].size))
				best = bar;
		if (best == PCI_NR_BARS)
			return 0;
		done[best] = true;
		ret = assign(h, d, best, e);
	}
	if (ret)
		give_back(h, d);
	return ret;
}

static int no_place(const struct pci_dev *d, struct err *e)
{
	return err_set(e, -ENOSPC, "%s: the PCI bus has places for %d devices with 8 functions "
		       "each; use fewer", d->name, PCI_NR_DEVICES - 1);
}

static int put_on_bus(struct pci_host *h, struct pci_dev *d, unsigned int device, unsigned int fn,
		      struct err *e)
{
	int ret = assign_all(h, d, e);

	if (ret < 0)
		return ret;
	d->host = h;
	d->devfn = device << 3 | fn;
	h->func[d->devfn] = d;
	if (fn)
		pci_put(h->func[device << 3], PCI_HEADER_TYPE, 1, PCI_HEADER_TYPE_MFD);
	return 0;
}

int pci_add(struct pci_host *h, struct pci_dev *d, struct err *e)
{
	bool fresh = !h->pack || h->packed == h->per_device;
	int ret;

	if (fresh && h->next >= PCI_NR_DEVICES)
		return no_place(d, e);
	ret = put_on_bus(h, d, fresh ? h->next : h->pack, fresh ? 0 : h->packed, e);
	if (ret < 0)
		return ret;
	if (fresh) {
		h->pack = h->next++;
		h->packed = 0;
	}
	h->packed++;
	return 0;
}

int pci_add_function(struct pci_host *h, struct pci_dev *d, const struct pci_dev *like,
		     struct err *e)
{
	unsigned int device = like ? like->devfn >> 3 : h->next, fn = 0;
	int ret;

	while (like && fn < 8 && h->func[device << 3 | fn])
		fn++;
	if (device >= PCI_NR_DEVICES || fn == 8)
		return no_place(d, e);
	ret = put_on_bus(h, d, device, fn, e);
	if (!ret && !like)
		h->next++;
	return ret;
}

void pci_remove(struct pci_dev *d)
{
	struct pci_host *h = d->host;

	if (!h || !h->map)
		return;
	pci_set_asleep(d, true);
	pthread_mutex_lock(&h->lock);
	h->func[d->devfn] = NULL;
	give_back(h, d);
	pthread_mutex_unlock(&h->lock);
	d->host = NULL;
}
