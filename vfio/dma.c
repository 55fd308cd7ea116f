// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/dma.h"

#include <errno.h>
#include <search.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/core/err.h"
#include "vmm/core/gmem.h"
#include "vmm/core/log.h"
#include "vmm/core/trace.h"

#define VIEWS 2		/* addresses that a range is mapped at, at most: the alias, its own */

/**
 * struct range - guest memory that devices reach
 * @mapped: bit n: at view_iova(n), as one mapping
 * @next:   for who needs a list of some
 */
struct range {
	ipa_t base, end;
	unsigned int mapped;
	struct range *next;
};

struct dma {
	struct dma_cfg cfg;
	void *tree;		/* of struct range, none overlaps; <search.h> keeps it balanced */
	bool warned;
	struct dma_stat stat;
};

/* Ranges that overlap are equal: looking for a range finds one of those in its way. */
static int compare(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->end <= y->base ? -1 : x->base >= y->end;
}

/* The one nearest to the root of the tree; NULL: none of [base, end) is mapped. */
static struct range *find(const struct dma *d, ipa_t base, ipa_t end)
{
	const struct range key = { .base = base, .end = end };
	struct range *const *found = base < end ? tfind(&key, &d->tree, compare) : NULL;

	return found ? *found : NULL;
}

static unsigned int nr_views(const struct dma *d)
{
	return d->cfg.both && d->cfg.split.shared ? 2 : 1;
}

static uint64_t view_iova(const struct dma *d, unsigned int view, ipa_t ipa)
{
	return view ? ipa : ipa_to_alias(&d->cfg.split, ipa);
}

static uint64_t page_size(const struct dma *d)
{
	return d->cfg.iommu->page_sizes & -d->cfg.iommu->page_sizes;
}

static const struct gmem_region *region_of(const struct dma *d, ipa_t ipa, uint64_t len)
{
	unsigned int nr;
	const struct gmem_region *r = gmem_regions(d->cfg.gm, &nr);

	for (; nr--; r++)
		if (ipa >= r->base && ipa - r->base < r->size)
			return len && len <= r->size - (ipa - r->base) ? r : NULL;
	return NULL;
}

/* ---- one range ------------------------------------------------------------------------------- */

static const struct trace_kind dma_kind = {
	.cat = "dma", .arg = { "#iova", "bytes", "error" },
};

/* A failure leaves m->mapped as it is in truth. */
static int unmap(struct dma *d, struct range *m, struct err *e)
{
	struct iommu *io = d->cfg.iommu;

	for (unsigned int v = 0; v < VIEWS; v++) {
		uint64_t iova = view_iova(d, v, m->base), began = trace_begin();
		int ret;

		if (!(m->mapped & 1U << v))
			continue;
		d->stat.unmaps++;
		ret = io->ops->unmap(io, iova, m->end - m->base, e);
		trace_span(&dma_kind, "unmap", began, NULL, iova, m->end - m->base, -ret);
		if (ret < 0)
			return err_prefix(e, "guest memory %" PRIipa " to %" PRIipa " cannot be taken from "
					  "the devices", m->base, m->end);
		m->mapped &= ~(1U << v);
		d->stat.mappings--;
	}
	return 0;
}

static void forget(struct dma *d, struct range *m)
{
	tdelete(m, &d->tree, compare);
	free(m);
}

static void take_back(struct dma *d, struct range *m)
{
	d->stat.pinned -= m->end - m->base;
	forget(d, m);
}

static int map(struct dma *d, struct range *m, struct err *e)
{
	const struct gmem_region *r = region_of(d, m->base, m->end - m->base);
	struct iommu *io = d->cfg.iommu;
	uint64_t len = m->end - m->base;
	struct err why;
	int ret;

	/* What stands in for lost memory is no page of the guest's. */
	gmem_enter(d->cfg.gm);
	ret = gmem_check(d->cfg.gm, m->base, len);
	gmem_leave(d->cfg.gm);
	if (ret < 0)
		return err_set(e, ret, "it was lost: an uncorrected memory error of the host, or a file "
			       "that was cut short");
	for (unsigned int v = 0; v < nr_views(d); v++) {
		uint64_t iova = view_iova(d, v, m->base), began = trace_begin();

		d->stat.maps++;
		ret = io->ops->map(io, iova, len, r->host + (m->base - r->base), e);
		trace_span(&dma_kind, "map", began, NULL, iova, len, -ret);
		if (ret < 0)
			/* what the first view's mapping is worth is for the caller to say */
			return unmap(d, m, &why) < 0 ? -ENOTRECOVERABLE : ret;
		m->mapped |= 1U << v;
		d->stat.mappings++;
	}
	return 0;
}

/* A new range, nothing of which is mapped. -ENOTRECOVERABLE: see dma_share(). */
static int add(struct dma *d, ipa_t base, ipa_t end, struct range **out, struct err *e)
{
	struct range *m = malloc(sizeof(*m));
	uint64_t now;
	int ret;

	if (m)
		*m = (struct range){ .base = base, .end = end };
	if (!m || !tsearch(m, &d->tree, compare)) {
		free(m);
		return err_set(e, -ENOMEM, "no memory for the list of DMA mappings");
	}
	ret = map(d, m, e);
	if (ret < 0)
		err_prefix(e, "guest memory %" PRIipa " to %" PRIipa " cannot be given to the devices",
			   base, end);
	if (!m->mapped) {
		forget(d, m);
		return ret;
	}
	now = atomic_fetch_add(&d->stat.pinned, end - base) + end - base;
	if (now > d->stat.peak)
		d->stat.peak = now;
	*out = m;
	return ret;
}

/* ---- what the IOMMU can map ------------------------------------------------------------------ */

/* First stretch of [first, last] that cannot be mapped, with all that belongs to it. */
static bool blocked(const struct iommu *io, uint64_t first, uint64_t last, struct iova_range *hole)
{
	uint64_t from = 0;	/* end of the range before */

	for (unsigned int i = 0; i < io->nr; i++) {
		const struct iova_range *r = &io->range[i];

		if (r->first > first) {
			*hole = (struct iova_range){ from, r->first - 1 };
			return true;
		}
		if (r->last >= last)
			return false;
		from = r->last + 1;
		first = MAX(first, from);
	}
	*hole = (struct iova_range){ from, UINT64_MAX };
	return true;
}

static bool all_fit(const struct dma *d, const struct ipa_split *s)
{
	unsigned int nr;
	const struct gmem_region *r = gmem_regions(d->cfg.gm, &nr);
	struct iova_range hole;

	for (; nr--; r++) {
		ipa_t last = r->base + r->size - 1;

		if (last >= ipa_limit(s) ||
		    blocked(d->cfg.iommu, ipa_to_alias(s, r->base), ipa_to_alias(s, last), &hole))
			return false;
	}
	return true;
}

/* The smallest address space whose alias the IOMMU can map; 0: none. */
static unsigned int bits_that_fit(const struct dma *d)
{
	for (unsigned int bits = IPA_MIN_BITS_REALM; bits <= IPA_MAX_BITS; bits++) {
		struct ipa_split s = ipa_split(bits, true);

		if (all_fit(d, &s))
			return bits;
	}
	return 0;
}

static int refuse_alias(const struct dma *d, uint64_t iova, const struct iova_range *hole,
			struct err *e)
{
	const char *beyond = hole->last == UINT64_MAX ? " (the end of its aperture)" :
							" (reserved by the host)";
	unsigned int bits = bits_that_fit(d);

	if (bits)
		return err_set(e, -ERANGE, "the guest's devices would use addresses from %#" PRIx64
			       ", but the IOMMU cannot map %#" PRIx64 " to %#" PRIx64 "%s; use "
			       "--ipa-bits %u", iova, hole->first, hole->last, beyond, bits);
	return err_set(e, -ERANGE, "the guest's devices would use addresses from %#" PRIx64 ", but the "
		       "IOMMU cannot map %#" PRIx64 " to %#" PRIx64 "%s, and no --ipa-bits avoids "
		       "that; use less memory (-m)", iova, hole->first, hole->last, beyond);
}

static int refuse_own(uint64_t first, uint64_t last, const struct iova_range *hole, struct err *e)
{
	if (hole->last == UINT64_MAX)
		return err_set(e, -ERANGE, "guest memory %#" PRIx64 " to %#" PRIx64 " ends beyond the "
			       "IOMMU's aperture (%#" PRIx64 "); use less memory (-m)", first, last,
			       hole->first);
	return err_set(e, -ERANGE, "guest memory %#" PRIx64 " to %#" PRIx64 " collides with %#" PRIx64
		       " to %#" PRIx64 ", which the host reserves (reserved_regions of the device's "
		       "IOMMU group in /sys/kernel/iommu_groups); move the memory with -m SIZE@ADDRESS",
		       first, last, hole->first, hole->last);
}

static int check_region(const struct dma *d, const struct gmem_region *r, struct err *e)
{
	ipa_t last = r->base + r->size - 1;

	if (!IS_ALIGNED(r->base | r->size | (uintptr_t)r->host, page_size(d)))
		return err_set(e, -EINVAL, "guest memory %" PRIipa " to %" PRIipa " does not begin and end "
			       "with a page of the IOMMU's (%" PRIu64 " KiB), so devices cannot reach "
			       "it", r->base, last, page_size(d) / 1024);
	for (unsigned int v = 0; v < nr_views(d); v++) {
		uint64_t iova = view_iova(d, v, r->base);
		struct iova_range hole;

		if (!blocked(d->cfg.iommu, iova, view_iova(d, v, last), &hole))
			continue;
		return iova == r->base ? refuse_own(r->base, last, &hole, e) :
					 refuse_alias(d, iova, &hole, e);
	}
	return 0;
}

static int check_regions(const struct dma *d, struct err *e)
{
	unsigned int nr;
	const struct gmem_region *r = gmem_regions(d->cfg.gm, &nr);
	int ret = 0;

	for (; nr-- && !ret; r++)
		ret = check_region(d, r, e);
	return ret;
}

/* ---- life ------------------------------------------------------------------------------------ */

int dma_new(const struct dma_cfg *cfg, struct dma **out, struct err *e)
{
	struct dma *d;
	int ret;

	*out = NULL;
	if (!cfg->iommu->page_sizes)
		return err_set(e, -EINVAL, "the IOMMU does not say which pages it can map");
	d = calloc(1, sizeof(*d));
	if (!d)
		return err_set(e, -ENOMEM, "no memory for the list of DMA mappings");
	d->cfg = *cfg;
	if (cfg->mode != DMA_ALL && page_size(d) > GRANULE_SIZE)
		ret = err_set(e, -EOPNOTSUPP, "a realm's guest shares pages of 4 KiB, and this host's IOMMU "
			      "maps %" PRIu64 " KiB at least; use a host kernel with pages of 4 KiB",
			      page_size(d) / 1024);
	else
		ret = check_regions(d, e);
	if (ret < 0) {
		free(d);
		return ret;
	}
	*out = d;
	return 0;
}

int dma_start(struct dma *d, struct err *e)
{
	unsigned int nr;
	const struct gmem_region *r = gmem_regions(d->cfg.gm, &nr);
	uint64_t bytes = 0;
	int ret = check_regions(d, e);

	for (unsigned int i = 0; i < nr; i++)
		bytes += r[i].size * nr_views(d);
	/* The figure that is said is that of all of it, not of the mapping that fails. */
	if (!ret && d->cfg.mode != DMA_DYNAMIC)
		ret = iommu_memlock(bytes, e);
	for (; nr-- && !ret; r++) {
		struct range *m;

		/*
		 * What devices reach must not be exchanged under them. That is all of a plain VM's
		 * memory, and all that a realm's guest can give up, because it is shared.
		 */
		gmem_keep(d->cfg.gm, r->base);
		if (d->cfg.mode != DMA_DYNAMIC)
			ret = add(d, r->base, r->base + r->size, &m, e);
	}
	return ret;
}

void dma_free(struct dma *d)
{
	struct range *m;
	struct err e;

	if (!d)
		return;
	while ((m = find(d, 0, UINT64_MAX))) {
		if (unmap(d, m, &e) < 0)
			log_warning("%s", e.msg);
		take_back(d, m);
	}
	free(d);
}

/* ---- conversions ----------------------------------------------------------------------------- */

/* Conversions are about pages of RAM; anything else is a mistake of ours. */
static int check_args(const struct dma *d, ipa_t ipa, uint64_t len, struct err *e)
{
	if (IS_ALIGNED(ipa | len, GRANULE_SIZE) && region_of(d, ipa, len))
		return 0;
	return err_set(e, -EINVAL, "%" PRIu64 " bytes at %" PRIipa " are no pages of the guest's", len,
		       ipa);
}

/*
 * Map what is not mapped yet. find() gives the range nearest to the root, so this goes down the
 * tree and is no deeper than that.
 */
static int fill(struct dma *d, ipa_t base, ipa_t end, struct range **made, struct err *e)
{
	struct range *m = find(d, base, end);
	ipa_t to, from;
	int ret = 0;

	if (base >= end)
		return 0;
	if (!m) {
		ret = add(d, base, end, &m, e);
		if (!ret) {
			m->next = *made;
			*made = m;
		}
		return ret;
	}
	to = m->base;
	from = m->end;
	if (to > base)
		ret = fill(d, base, to, made, e);
	if (!ret && from < end)
		ret = fill(d, from, end, made, e);
	return ret;
}

int dma_share(struct dma *d, ipa_t ipa, uint64_t len, struct err *e)
{
	struct range *made = NULL, *next;
	struct err why;
	int ret;

	if (d->cfg.mode != DMA_DYNAMIC)
		return 0;
	ret = check_args(d, ipa, len, e);
	if (!ret)
		ret = fill(d, ipa, ipa + len, &made, e);
	for (; ret < 0 && made; made = next) {
		next = made->next;
		if (unmap(d, made, &why) < 0)
			ret = -ENOTRECOVERABLE;
		else
			take_back(d, made);
	}
	return ret;
}

static void warn_split(struct dma *d, const struct range *m, ipa_t ipa, ipa_t end)
{
	d->stat.splits++;
	if (d->warned)
		return;
	d->warned = true;
	log_warning("the guest takes back %" PRIipa " to %" PRIipa " of what it shared as %" PRIipa " to %"
		    PRIipa ": its devices lose all of that for a moment, because an IOMMU's mapping "
		    "cannot be split, and DMA to the rest may fail; --vfio-dma static avoids it",
		    MAX(ipa, m->base), MIN(end, m->end), m->base, m->end);
}

int dma_unshare(struct dma *d, ipa_t ipa, uint64_t len, struct err *e)
{
	struct range rest[2], *m;
	ipa_t end = ipa + len;
	unsigned int nr = 0;
	bool touched = false;
	int ret;

	if (d->cfg.mode != DMA_DYNAMIC)
		return 0;
	ret = check_args(d, ipa, len, e);
	while (!ret && (m = find(d, ipa, end))) {
		unsigned int before = m->mapped;

		ret = unmap(d, m, e);
		touched = touched || m->mapped != before;
		if (ret < 0)
			break;
		if (m->base < ipa || m->end > end)
			warn_split(d, m, ipa, end);
		/* no more than one range reaches over each end */
		if (m->base < ipa)
			rest[nr++] = (struct range){ .base = m->base, .end = ipa };
		if (m->end > end)
			rest[nr++] = (struct range){ .base = end, .end = m->end };
		take_back(d, m);
	}
	for (unsigned int i = 0; i < nr && !ret; i++) {
		ret = add(d, rest[i].base, rest[i].end, &m, e);
		if (ret < 0)
			err_prefix(e, "the guest has taken back a part of what it shared, and its devices "
				   "have lost the rest");
	}
	return ret < 0 && touched ? -ENOTRECOVERABLE : ret;
}

bool dma_keeps(const struct dma *d, ipa_t ipa, uint64_t len)
{
	return find(d, ipa, ipa + len);
}

const struct dma_stat *dma_stat(const struct dma *d)
{
	return &d->stat;
}
