// SPDX-License-Identifier: BSD-3-Clause
/*
 * Configuration space of an assigned function.
 *
 * What the guest sees is p->pci.cfg, made from the device's at the start, with a mask of the bits
 * that are read from the device instead (hw_read) and a set of bytes whose writes it gets
 * (hw_write). Capabilities stay where the hardware has them, as drivers know their places and
 * vendor capabilities point at each other; those that a guest must not have are taken out of the
 * list and read zeros. The kernel filters once more (drivers/vfio/pci/vfio_pci_config.c).
 *
 * BARs and MEMORY are the guest's own: the board places its BARs, and the device decodes all the
 * time, because an access to a mapping of one that does not is a signal in ours.
 *
 * Sections are those of the PCI Express Base Specification 5.0.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "vfio/pci_int.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"

#define MAX_CAPS	48	/* the 192 bytes behind the header have room for as many */
#define MAX_EXT_CAPS	480	/* the same of 3840 bytes, 8 each */
#define EXT_CAP_STEP	4

/* bits of device control that concern the device alone; the fabric is the host's business */
#define DEVCTL_SAFE	(PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_NOSNOOP_EN | \
			 PCI_EXP_DEVCTL_READRQ)
#define DEVCAP_HIDDEN	(PCI_EXP_DEVCAP_PHANTOM)
/* completion timeouts are all that a guest gets to see of these */
#define DEVCAP2_SHOWN	(PCI_EXP_DEVCAP2_COMP_TMOUT_DIS | 0xf)
#define DEVCTL2_SHOWN	(PCI_EXP_DEVCTL2_COMP_TIMEOUT | PCI_EXP_DEVCTL2_COMP_TMOUT_DIS)
#define EXP_SIZE_V1	(PCI_EXP_LNKSTA + 2)
#define EXP_SIZE_V2	(PCI_EXP_SLTSTA2 + 2)

struct cap {
	uint16_t id;
	unsigned int off, end;		/* end: where the next one in memory begins */
};

static unsigned int raw16(const uint8_t *raw, unsigned int off)
{
	return raw[off] | raw[off + 1] << 8;
}

static uint32_t raw32(const uint8_t *raw, unsigned int off)
{
	return raw16(raw, off) | (uint32_t)raw16(raw, off + 2) << 16;
}

static bool touches(unsigned int off, unsigned int len, unsigned int reg, unsigned int reg_len)
{
	return off < reg + reg_len && reg < off + len;
}

/* ---- the device's own ------------------------------------------------------------------------ */

int vfio_cfg_hw_read(struct vfio_pci *p, unsigned int off, unsigned int len, uint32_t *val)
{
	const struct vfio_sys *sys = p->dev->sys;
	uint8_t buf[4] = { 0 };
	ssize_t n = sys->pread(sys, p->dev->fd, buf, len, p->cfg_pos + off);

	if (n != (ssize_t)len)
		return n < 0 ? n : -EIO;
	*val = raw32(buf, 0);
	return 0;
}

int vfio_cfg_hw_write(struct vfio_pci *p, unsigned int off, unsigned int len, uint32_t val)
{
	const struct vfio_sys *sys = p->dev->sys;
	const uint8_t buf[4] = { val, val >> 8, val >> 16, val >> 24 };
	ssize_t n = sys->pwrite(sys, p->dev->fd, buf, len, p->cfg_pos + off);

	return n == (ssize_t)len ? 0 : n < 0 ? n : -EIO;
}

/* Change bits of a 16-bit register. */
static int hw_change(struct vfio_pci *p, unsigned int off, uint16_t clear, uint16_t set)
{
	uint32_t val;
	int ret;

	pthread_mutex_lock(&p->cfg_lock);
	ret = vfio_cfg_hw_read(p, off, 2, &val);
	if (!ret)
		ret = vfio_cfg_hw_write(p, off, 2, (val & ~(uint32_t)clear) | set);
	pthread_mutex_unlock(&p->cfg_lock);
	return ret;
}

int vfio_cfg_command(struct vfio_pci *p, uint16_t clear, uint16_t set)
{
	return hw_change(p, PCI_COMMAND, clear, set);
}

/* ---- what the guest sees of it --------------------------------------------------------------- */

static void set_wmask(struct vfio_pci *p, unsigned int off, unsigned int len, uint32_t mask)
{
	for (unsigned int i = 0; i < len; i++)
		p->pci.wmask[off + i] = mask >> (8 * i);
}

/* Bytes that are the device's, from the guest's side read-only, or not. */
static void through(struct vfio_pci *p, unsigned int off, unsigned int end, bool writes)
{
	for (unsigned int i = off; i < end; i++) {
		p->hw_read[i] = 0xff;
		p->hw_write[i] = writes;
	}
}

/* Where what belongs to a capability ends at the latest: hostile lists have no order. */
static void find_ends(struct cap *cap, unsigned int nr, unsigned int space)
{
	for (unsigned int i = 0; i < nr; i++) {
		cap[i].end = space;
		for (unsigned int k = 0; k < nr; k++)
			if (cap[k].off > cap[i].off)
				cap[i].end = MIN(cap[i].end, cap[k].off);
	}
}

static unsigned int find_caps(const uint8_t *raw, struct cap *cap)
{
	unsigned int nr = 0, at = raw[PCI_CAPABILITY_LIST] & ~3U;
	uint64_t seen = 0;

	if (!(raw16(raw, PCI_STATUS) & PCI_STATUS_CAP_LIST))
		return 0;
	while (at >= PCI_STD_HEADER_SIZEOF && nr < MAX_CAPS && raw[at] != 0xff &&
	       !(seen >> at / 4 & 1)) {
		seen |= UINT64_C(1) << at / 4;
		cap[nr++] = (struct cap){ .id = raw[at], .off = at };
		at = raw[at + PCI_CAP_LIST_NEXT] & ~3U;
	}
	find_ends(cap, nr, PCI_CFG_SPACE_SIZE);
	return nr;
}

static unsigned int find_ext_caps(const uint8_t *raw, struct cap *cap)
{
	bool seen[PCI_CFG_SPACE / EXT_CAP_STEP] = { false };
	unsigned int nr = 0, at = PCI_CFG_SPACE_SIZE;

	while (at >= PCI_CFG_SPACE_SIZE && nr < MAX_EXT_CAPS && !seen[at / EXT_CAP_STEP]) {
		uint32_t header = raw32(raw, at);

		if (!header || header == UINT32_MAX)
			break;
		seen[at / EXT_CAP_STEP] = true;
		cap[nr++] = (struct cap){ .id = PCI_EXT_CAP_ID(header), .off = at };
		at = PCI_EXT_CAP_NEXT(header) & ~3U;
	}
	find_ends(cap, nr, PCI_CFG_SPACE);
	return nr;
}

/* Power management (section 7.5.2). No wake-up: nobody would hear it. */
static bool show_pm(struct vfio_pci *p, const struct cap *c)
{
	struct pci_dev *d = &p->pci;
	uint16_t pmc = pci_get(d, c->off + PCI_PM_PMC, 2);
	uint16_t ctrl = pci_get(d, c->off + PCI_PM_CTRL, 2);

	pci_put(d, c->off + PCI_PM_PMC, 2, pmc & ~PCI_PM_CAP_PME_MASK);
	pci_put(d, c->off + PCI_PM_CTRL, 4, ctrl & PCI_PM_CTRL_NO_SOFT_RESET);
	set_wmask(p, c->off + PCI_PM_CTRL, 2, PCI_PM_CTRL_STATE_MASK);
	p->hw_read[c->off + PCI_PM_CTRL] = PCI_PM_CTRL_STATE_MASK;
	if (ctrl & PCI_PM_CTRL_STATE_MASK)
		vfio_cfg_hw_write(p, c->off + PCI_PM_CTRL, 2, 0);
	p->pm = c->off;
	return true;
}

/*
 * PCI Express (section 7.5.3). On the guest's bus 0 there is no port above it, so an endpoint is
 * one of the root complex, which has no link (section 1.3.2.3).
 */
static bool show_exp(struct vfio_pci *p, const struct cap *c)
{
	struct pci_dev *d = &p->pci;
	uint16_t flags = pci_get(d, c->off + PCI_EXP_FLAGS, 2);
	unsigned int type = (flags & PCI_EXP_FLAGS_TYPE) >> 4;
	unsigned int size = (flags & PCI_EXP_FLAGS_VERS) < 2 ? EXP_SIZE_V1 : EXP_SIZE_V2;
	uint32_t cap = pci_get(d, c->off + PCI_EXP_DEVCAP, 4) & ~(uint32_t)DEVCAP_HIDDEN;
	uint32_t cap2 = 0;

	if (type != PCI_EXP_TYPE_ENDPOINT && type != PCI_EXP_TYPE_LEG_END &&
	    type != PCI_EXP_TYPE_RC_END)
		return false;
	/* some have less of the second half than their version should */
	if (c->off + size > c->end)
		size = EXP_SIZE_V1;
	if (!p->dev->can_reset)
		cap &= ~(uint32_t)PCI_EXP_DEVCAP_FLR;
	if (size == EXP_SIZE_V2)
		cap2 = pci_get(d, c->off + PCI_EXP_DEVCAP2, 4) & DEVCAP2_SHOWN;
	flags = (size == EXP_SIZE_V1 ? 1 : flags & PCI_EXP_FLAGS_VERS) | PCI_EXP_TYPE_RC_END << 4;
	pci_put(d, c->off + PCI_EXP_FLAGS, 2, flags);
	pci_put(d, c->off + PCI_EXP_DEVCAP, 4, cap);
	set_wmask(p, c->off + PCI_EXP_DEVCTL, 2, 0xffff & ~PCI_EXP_DEVCTL_BCR_FLR);
	p->hw_read[c->off + PCI_EXP_DEVSTA] = 0xff;
	/* link, slot and root registers, and their second halves */
	memset(d->cfg + c->off + PCI_EXP_LNKCAP, 0,
	       MIN(EXP_SIZE_V2, c->end - c->off) - PCI_EXP_LNKCAP);
	if (size == EXP_SIZE_V2) {
		pci_put(d, c->off + PCI_EXP_DEVCAP2, 4, cap2);
		set_wmask(p, c->off + PCI_EXP_DEVCTL2, 2, DEVCTL2_SHOWN);
	}
	p->exp = c->off;
	return true;
}

static bool show_af(struct vfio_pci *p, const struct cap *c)
{
	if (!p->dev->can_reset)
		p->pci.cfg[c->off + PCI_AF_CAP] &= ~PCI_AF_CAP_FLR;
	p->pci.cfg[c->off + PCI_AF_CTRL] = 0;
	p->hw_read[c->off + PCI_AF_STATUS] = PCI_AF_STATUS_TP;
	p->af = c->off;
	return true;
}

/* Vital product data: reads only, as what is written there outlives the guest. */
static bool show_vpd(struct vfio_pci *p, const struct cap *c)
{
	through(p, c->off + PCI_VPD_ADDR, c->off + PCI_CAP_VPD_SIZEOF, false);
	p->vpd = c->off;
	return true;
}

/* Vendor capabilities go through as they are: virtio-pci is made of them. */
static bool show_vendor(struct vfio_pci *p, const struct cap *c)
{
	unsigned int len = MAX((unsigned int)p->pci.cfg[c->off + 2], 3U);

	through(p, c->off + 2, MIN(c->off + len, c->end), true);
	return true;
}

static bool show_msi(struct vfio_pci *p, const struct cap *c)
{
	uint16_t flags = pci_get(&p->pci, c->off + PCI_MSI_FLAGS, 2);
	unsigned int len = flags & PCI_MSI_FLAGS_64BIT ? 14 : 10;

	if (flags & PCI_MSI_FLAGS_MASKBIT)
		len += 10;
	return c->off + len <= c->end;
}

/* Table and pending bits are the board's, so their pages must not be the guest's. */
static bool show_msix(struct vfio_pci *p, const struct cap *c)
{
	uint32_t table = pci_get(&p->pci, c->off + PCI_MSIX_TABLE, 4);
	uint32_t pba = pci_get(&p->pci, c->off + PCI_MSIX_PBA, 4);
	uint64_t nr = (pci_get(&p->pci, c->off + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1;

	p->hole[0] = (struct vfio_hole){ table & PCI_MSIX_TABLE_BIR, table & PCI_MSIX_TABLE_OFFSET,
					 (table & PCI_MSIX_TABLE_OFFSET) + nr * 16 };
	p->hole[1] = (struct vfio_hole){ pba & PCI_MSIX_PBA_BIR, pba & PCI_MSIX_PBA_OFFSET,
					 (pba & PCI_MSIX_PBA_OFFSET) + (nr + 63) / 64 * 8 };
	return true;
}

static bool show_as_it_is(struct vfio_pci *p, const struct cap *c)
{
	return true;
}

/* What a guest may have: a copy that is read-only, unless @show says more. */
static const struct shown {
	uint16_t id;
	unsigned int size;
	bool (*show)(struct vfio_pci *p, const struct cap *c);
} shown[] = {
	{ PCI_CAP_ID_PM, PCI_PM_SIZEOF, show_pm },
	{ PCI_CAP_ID_VPD, PCI_CAP_VPD_SIZEOF, show_vpd },
	{ PCI_CAP_ID_MSI, 10, show_msi },
	{ PCI_CAP_ID_PCIX, PCI_CAP_PCIX_SIZEOF_V0, show_as_it_is },
	{ PCI_CAP_ID_VNDR, 3, show_vendor },
	{ PCI_CAP_ID_SSVID, 8, show_as_it_is },
	{ PCI_CAP_ID_EXP, EXP_SIZE_V1, show_exp },
	{ PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF, show_msix },
	{ PCI_CAP_ID_AF, PCI_CAP_AF_SIZEOF, show_af },
};

static const struct shown *find_shown(const struct vfio_pci *p, const struct cap *c)
{
	/* of those that we look at ourselves, a device has one */
	if ((c->id == PCI_CAP_ID_PM && p->pm) || (c->id == PCI_CAP_ID_EXP && p->exp) ||
	    (c->id == PCI_CAP_ID_AF && p->af) || (c->id == PCI_CAP_ID_VPD && p->vpd) ||
	    ((c->id == PCI_CAP_ID_MSI || c->id == PCI_CAP_ID_MSIX) && vfio_cfg_cap(p, c->id)))
		return NULL;
	for (unsigned int i = 0; i < ARRAY_SIZE(shown); i++)
		if (shown[i].id == c->id && shown[i].size <= c->end - c->off)
			return &shown[i];
	return NULL;
}

static void add_caps(struct vfio_pci *p, const uint8_t *raw)
{
	struct pci_dev *d = &p->pci;
	struct cap cap[MAX_CAPS];
	unsigned int nr = find_caps(raw, cap), link = PCI_CAPABILITY_LIST;

	/* Registers that are in no capability: drivers of some devices read them. */
	through(p, PCI_STD_HEADER_SIZEOF, PCI_CFG_SPACE_SIZE, false);
	for (unsigned int i = 0; i < nr; i++) {
		const struct cap *c = &cap[i];
		const struct shown *s = find_shown(p, c);
		unsigned int end = c->end;

		/* behind one that is known there can be such registers again */
		if (s)
			end = MIN(end, c->off + MAX(s->size, c->id == PCI_CAP_ID_EXP ? EXP_SIZE_V2 :
						    c->id == PCI_CAP_ID_MSI ? 24U : 0U));
		memset(p->hw_read + c->off, 0, end - c->off);
		if (s)
			memcpy(d->cfg + c->off, raw + c->off, end - c->off);
		if (!s || !s->show(p, c)) {
			log_debug("%s: capability %#x at %#x is not shown to the guest",
				  p->dev->name, c->id, c->off);
			memset(d->cfg + c->off, 0, c->end - c->off);
			memset(p->hw_read + c->off, 0, c->end - c->off);
			continue;
		}
		d->cfg[link] = c->off;
		link = c->off + PCI_CAP_LIST_NEXT;
		d->cfg[link] = 0;
		pci_put(d, PCI_STATUS, 2, pci_get(d, PCI_STATUS, 2) | PCI_STATUS_CAP_LIST);
	}
}

unsigned int vfio_cfg_cap(const struct vfio_pci *p, uint8_t id)
{
	unsigned int at = p->pci.cfg[PCI_CAPABILITY_LIST];

	while (at && p->pci.cfg[at] != id)
		at = p->pci.cfg[at + PCI_CAP_LIST_NEXT];
	return at;
}

void vfio_cfg_drop(struct vfio_pci *p, unsigned int cap)
{
	struct pci_dev *d = &p->pci;
	unsigned int end = PCI_CFG_SPACE_SIZE, link = 0;

	for (unsigned int at = PCI_CAPABILITY_LIST; d->cfg[at];
	     at = d->cfg[at] + PCI_CAP_LIST_NEXT) {
		if (d->cfg[at] == cap)
			link = at;
		if (d->cfg[at] > cap)
			end = MIN(end, (unsigned int)d->cfg[at]);
	}
	if (!link)
		return;
	d->cfg[link] = d->cfg[cap + PCI_CAP_LIST_NEXT];
	/* what is between it and the next one and not its own is read from the device */
	memset(d->cfg + cap, 0, end - cap);
	memset(d->wmask + cap, 0, end - cap);
	if (!d->cfg[PCI_CAPABILITY_LIST])
		pci_put(d, PCI_STATUS, 2, pci_get(d, PCI_STATUS, 2) & ~PCI_STATUS_CAP_LIST);
}

/*
 * Extended capabilities that a guest may have; @len_at: where its length stands, in bits 31:20. All
 * others change what a device may do on the host's fabric (SR-IOV, ATS, PRI, PASID, ACS, ...),
 * speak of links and ports that the guest does not have, or are not known.
 */
static const struct shown_ext {
	uint16_t id, size;
	uint8_t len_at;
	bool writes;
} shown_ext[] = {
	{ .id = PCI_EXT_CAP_ID_ERR, .size = PCI_ERR_ROOT_COMMAND },
	{ .id = PCI_EXT_CAP_ID_DSN, .size = PCI_EXT_CAP_DSN_SIZEOF },
	{ .id = PCI_EXT_CAP_ID_VNDR, .size = 8, .len_at = PCI_VNDR_HEADER, .writes = true },
	{ .id = PCI_EXT_CAP_ID_LTR, .size = PCI_EXT_CAP_LTR_SIZEOF },
	{ .id = PCI_EXT_CAP_ID_DVSEC, .size = 10, .len_at = PCI_DVSEC_HEADER1 },
};

static const struct shown_ext *find_shown_ext(const struct cap *c)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(shown_ext); i++)
		if (shown_ext[i].id == c->id && shown_ext[i].size <= c->end - c->off)
			return &shown_ext[i];
	return NULL;
}

static void add_ext_caps(struct vfio_pci *p, const uint8_t *raw)
{
	static const unsigned int first = PCI_CFG_SPACE_SIZE;
	struct pci_dev *d = &p->pci;
	struct cap cap[MAX_EXT_CAPS];
	unsigned int nr = find_ext_caps(raw, cap), last = 0;

	for (unsigned int i = 0; i < nr; i++) {
		const struct cap *c = &cap[i];
		const struct shown_ext *s = find_shown_ext(c);
		unsigned int len;

		if (!s) {
			log_debug("%s: extended capability %#x at %#x is not shown to the guest",
				  p->dev->name, c->id, c->off);
			continue;
		}
		len = s->len_at ? raw32(raw, c->off + s->len_at) >> 20 : s->size;
		through(p, c->off + EXT_CAP_STEP, MIN(c->off + len, c->end), s->writes);
		pci_put(d, c->off, 4, raw32(raw, c->off) & 0xfffff);
		/* The list begins at @first, with a null capability (section 7.9.28) if need be. */
		if (last || c->off != first)
			pci_put(d, (last ? last : first) + 2, 2,
				(pci_get(d, (last ? last : first) + 2, 2) & 0xf) | c->off << 4);
		last = c->off;
	}
}

/* A read of the whole, as far as the device has it. */
static int read_all(struct vfio_pci *p, uint8_t *raw, struct err *e)
{
	const struct vfio_sys *sys = p->dev->sys;
	size_t done = 0;

	while (done < p->cfg_size) {
		ssize_t n = sys->pread(sys, p->dev->fd, raw + done, p->cfg_size - done,
				       p->cfg_pos + done);

		if (n <= 0 && done >= PCI_CFG_SPACE_SIZE)
			break;
		if (n <= 0)
			return err_set(e, n ? n : -EIO, "%s: its configuration space cannot be "
				       "read: %s", p->dev->name, strerror(n ? -n : EIO));
		done += n;
	}
	if (done < p->cfg_size)
		p->cfg_size = PCI_CFG_SPACE_SIZE;
	return 0;
}

int vfio_cfg_find(struct vfio_pci *p, struct err *e)
{
	const uint32_t rw = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	struct vfio_region_info *info;
	int ret = vfio_region(p->dev, VFIO_PCI_CONFIG_REGION_INDEX, &info, e);

	if (ret < 0)
		return ret;
	if (info->size < PCI_CFG_SPACE_SIZE || (info->flags & rw) != rw)
		ret = err_set(e, -EINVAL, "%s: the kernel shows no configuration space of it; is "
			      "it bound to vfio-pci?", p->dev->name);
	p->cfg_pos = info->offset;
	p->cfg_size = info->size < PCI_CFG_SPACE ? PCI_CFG_SPACE_SIZE : PCI_CFG_SPACE;
	free(info);
	return ret;
}

int vfio_cfg_init(struct vfio_pci *p, struct err *e)
{
	uint8_t raw[PCI_CFG_SPACE] = { 0 };
	struct pci_dev *d = &p->pci;
	struct pci_ids ids;
	int ret = read_all(p, raw, e);

	if (ret < 0)
		return ret;
	if (raw16(raw, PCI_VENDOR_ID) == 0xffff)
		return err_set(e, -ENODEV, "%s: the device does not answer; it may need a power "
			       "cycle", p->dev->name);
	if ((raw[PCI_HEADER_TYPE] & ~0x80) != PCI_HEADER_TYPE_NORMAL)
		return err_set(e, -EINVAL, "%s is a bridge, which cannot be given to a guest; give "
			       "the devices behind it", p->dev->name);
	ids = (struct pci_ids){
		.vendor = raw16(raw, PCI_VENDOR_ID),
		.device = raw16(raw, PCI_DEVICE_ID),
		.sub_vendor = raw16(raw, PCI_SUBSYSTEM_VENDOR_ID),
		.sub_device = raw16(raw, PCI_SUBSYSTEM_ID),
		.class = raw32(raw, PCI_CLASS_REVISION) >> 8,
		.revision = raw[PCI_CLASS_REVISION],
	};
	pci_dev_init(d, &vfio_pci_ops, p->dev->name, &ids);
	pci_put(d, PCI_STATUS, 2, raw16(raw, PCI_STATUS) &
		(PCI_STATUS_66MHZ | PCI_STATUS_FAST_BACK | PCI_STATUS_DEVSEL_MASK));
	p->hw_read[PCI_STATUS] = PCI_STATUS_INTERRUPT;
	d->cfg[PCI_CACHE_LINE_SIZE] = raw[PCI_CACHE_LINE_SIZE];
	d->cfg[PCI_MIN_GNT] = raw[PCI_MIN_GNT];
	d->cfg[PCI_MAX_LAT] = raw[PCI_MAX_LAT];
	add_caps(p, raw);
	if (p->cfg_size == PCI_CFG_SPACE)
		add_ext_caps(p, raw);
	return 0;
}

/* ---- accesses of the guest ------------------------------------------------------------------- */

bool vfio_cfg_read(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t *val)
{
	struct vfio_pci *p = container_of(d, struct vfio_pci, pci);
	uint32_t mask = 0, hw = UINT32_MAX;

	vfio_irqs_refresh(p, off, len);
	*val = pci_cfg_read(d, off, len);
	for (unsigned int i = 0; i < len; i++)
		mask |= (uint32_t)p->hw_read[off + i] << (8 * i);
	if (!mask)
		return true;
	atomic_fetch_add_explicit(&p->stat.cfg_exits, 1, memory_order_relaxed);
	/* one that does not answer reads ones */
	vfio_cfg_hw_read(p, off, len, &hw);
	*val = (*val & ~mask) | (hw & mask);
	return true;
}

static void write_through(struct vfio_pci *p, unsigned int off, unsigned int len, uint32_t val)
{
	unsigned int nr = 0;
	int ret = 0;

	for (unsigned int i = 0; i < len; i++)
		nr += p->hw_write[off + i];
	if (!nr)
		return;
	atomic_fetch_add_explicit(&p->stat.cfg_exits, 1, memory_order_relaxed);
	if (nr == len)
		ret = vfio_cfg_hw_write(p, off, len, val);
	for (unsigned int i = 0; i < len && nr != len; i++)
		if (p->hw_write[off + i])
			ret = vfio_cfg_hw_write(p, off + i, 1, val >> (8 * i));
	if (ret < 0)
		log_rated(&p->rate, LOG_WARNING, "%s: write to configuration space at %#x: %s",
			  p->dev->name, off, strerror(-ret));
}

/* Does an access set a bit of the byte at @at? */
static bool sets(unsigned int off, unsigned int len, uint32_t val, unsigned int at, uint8_t bit)
{
	return at >= off && at < off + len && (val >> (8 * (at - off)) & bit);
}

/* In a lower power state a device does not answer, and its mappings must not be touched. */
static void set_power(struct vfio_pci *p)
{
	unsigned int state = pci_get(&p->pci, p->pm + PCI_PM_CTRL, 2) & PCI_PM_CTRL_STATE_MASK;
	int ret;

	if (state)
		pci_set_asleep(&p->pci, true);
	ret = vfio_cfg_hw_write(p, p->pm + PCI_PM_CTRL, 2, state);
	if (ret < 0)
		log_rated(&p->rate, LOG_WARNING, "%s: power state D%u: %s", p->dev->name, state,
			  strerror(-ret));
	else if (!state)
		pci_set_asleep(&p->pci, false);
}

/* An address starts a read, or with its highest bit set a write, which nobody gets. */
static void read_vpd(struct vfio_pci *p, unsigned int off, unsigned int len, uint32_t val)
{
	unsigned int reg = p->vpd + PCI_VPD_ADDR;
	uint16_t addr;

	if (off > reg || off + len < reg + 2)
		return;
	addr = val >> (8 * (reg - off));
	if (!(addr & PCI_VPD_ADDR_F))
		vfio_cfg_hw_write(p, reg, 2, addr);
}

/* The guest wants a function-level reset (section 6.6.2): what is its own goes back, too. */
static void function_reset(struct vfio_pci *p)
{
	struct pci_dev *d = &p->pci;
	struct err e;
	uint32_t val;

	vfio_irqs_reset(p);
	vfio_cfg_command(p, PCI_COMMAND_MASTER, 0);
	pci_cfg_write(d, PCI_COMMAND, 2, 0);
	for (unsigned int bar = 0; bar < PCI_STD_NUM_BARS; bar++)
		pci_cfg_write(d, PCI_BASE_ADDRESS_0 + 4 * bar, 4, 0);
	pci_cfg_write(d, PCI_ROM_ADDRESS, 4, 0);
	if (vfio_reset_own(p->dev, &e) < 0)
		log_rated(&p->rate, LOG_WARNING, "the guest resets a device: %s", e.msg);
	vfio_cfg_command(p, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY);
	if (p->pm) {
		pci_cfg_write(d, p->pm + PCI_PM_CTRL, 2, 0);
		set_power(p);
	}
	if (p->exp && !vfio_cfg_hw_read(p, p->exp + PCI_EXP_DEVCTL, 2, &val))
		pci_cfg_write(d, p->exp + PCI_EXP_DEVCTL, 2, val);
	if (vfio_irqs_start(p, &e) < 0)
		log_rated(&p->rate, LOG_ERROR, "after its reset: %s", e.msg);
}

bool vfio_cfg_write(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t val)
{
	struct vfio_pci *p = container_of(d, struct vfio_pci, pci);
	bool flr = false;
	uint16_t bits;

	pthread_mutex_lock(&p->write_lock);
	pci_cfg_write(d, off, len, val);
	write_through(p, off, len, val);
	if (touches(off, len, PCI_COMMAND, 2)) {
		bits = pci_get(d, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
		if (vfio_cfg_command(p, PCI_COMMAND_MASTER, bits) < 0)
			log_rated(&p->rate, LOG_WARNING, "%s: its command register does not answer",
				  p->dev->name);
	}
	if (p->pm && touches(off, len, p->pm + PCI_PM_CTRL, 1))
		set_power(p);
	if (p->vpd)
		read_vpd(p, off, len, val);
	if (p->exp && touches(off, len, p->exp + PCI_EXP_DEVCTL, 2)) {
		bits = pci_get(d, p->exp + PCI_EXP_DEVCTL, 2) & DEVCTL_SAFE;
		hw_change(p, p->exp + PCI_EXP_DEVCTL, DEVCTL_SAFE, bits);
		flr = (pci_get(d, p->exp + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_FLR) &&
		      sets(off, len, val, p->exp + PCI_EXP_DEVCTL + 1, PCI_EXP_DEVCTL_BCR_FLR >> 8);
	}
	if (p->af && (d->cfg[p->af + PCI_AF_CAP] & PCI_AF_CAP_FLR))
		flr |= sets(off, len, val, p->af + PCI_AF_CTRL, PCI_AF_CTRL_FLR);
	vfio_irqs_cfg(p, off, len);
	if (flr)
		function_reset(p);
	pthread_mutex_unlock(&p->write_lock);
	return true;
}
