/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which guest memory devices can reach by DMA.
 *
 * A plain VM: all of its memory, at its address, from before the first instruction on. A realm: the
 * pages that are shared at the moment, at IPA | shared bit, which is what its guest programs into
 * devices. Nothing at the start; the range of each request of the guest becomes one mapping, so
 * that it can be taken back as it was made: VFIO and iommufd refuse to split one. A guest that
 * takes back part of a range makes the rest unreachable for a moment: it is unmapped whole and the
 * rest is mapped again.
 *
 * What a device has mapped must stay the same pages, or it would go on with those that were there.
 * So from dma_start() on gmem_discard() finds nothing to give up (gmem_keep()). That is no loss:
 * all that a guest can give up is shared, and so it is mapped. It takes no gmem pins: a conversion
 * calls dma_unshare() after gmem_drain(), which has nothing to wait for here.
 *
 * Calls are serial: realm.lock, or no vCPU runs. The counters can be read by any thread.
 */
#ifndef VFIO_DMA_H
#define VFIO_DMA_H

#include "realm/ipa.h"
#include "vfio/iommu.h"

struct dma;
struct err;
struct gmem;

enum dma_mode {
	DMA_ALL,		/* plain VM: everything, always */
	DMA_DYNAMIC,		/* realm: what is shared, as it is shared */
	DMA_STATIC,		/* realm: the whole shared side, once; its pages are kept. Only
				 * where that is memory of its own: realm_shared_apart() */
};

/**
 * struct dma_cfg - the guest
 * @gm:    its memory as devices can reach it
 * @split: where the shared half begins
 * @both:  map shared pages at both addresses, for guests that leave the shared bit out (Linux
 *         before 6.15)
 */
struct dma_cfg {
	struct iommu *iommu;
	struct gmem *gm;
	struct ipa_split split;
	enum dma_mode mode;
	bool both;
};

/** struct dma_stat - counters for `stat`; read with relaxed loads */
struct dma_stat {
	_Atomic uint64_t maps, unmaps;		/* calls of the back end */
	_Atomic uint64_t mappings;		/* in force now */
	_Atomic uint64_t splits;		/* a part of a mapping was taken back */
	_Atomic uint64_t pinned;		/* bytes that are pinned now, once each */
	_Atomic uint64_t peak;			/* the most there were */
};

/**
 * dma_new() - check that the IOMMU can do it
 *
 * The addresses that may come must be in the IOMMU's ranges: an alias that is outside of its
 * aperture is refused with the --ipa-bits that fits, a collision with a reserved region is named.
 * A device's memory in @gm (pmem) counts, too.
 */
int dma_new(const struct dma_cfg *cfg, struct dma **out, struct err *e);
/**
 * dma_start() - map what is mapped from the start on
 *
 * All guest memory exists and its image is in place: populating punches, and asks for huge pages.
 */
int dma_start(struct dma *d, struct err *e);
/** dma_free() - unmap everything; no device does DMA any more. NULL is fine */
void dma_free(struct dma *d);

/**
 * dma_share() - [ipa, ipa + len) is shared now: devices may reach it
 * @ipa: canonical, page aligned
 *
 * What of it is mapped already stays as it is.
 *
 * Return: 0 or a negative errno: nothing is mapped that was not before; -ENOTRECOVERABLE: that
 * could not be undone, devices reach what they must not.
 */
int dma_share(struct dma *d, ipa_t ipa, uint64_t len, struct err *e);
/**
 * dma_unshare() - the guest takes [ipa, ipa + len) back: no device reaches it when this returns
 * Return: 0 or a negative errno: all is as before, devices reach it; -ENOTRECOVERABLE: they do, or
 * they lost what is still shared, and the machine cannot go on.
 */
int dma_unshare(struct dma *d, ipa_t ipa, uint64_t len, struct err *e);
/** dma_keeps() - is some of [ipa, ipa + len) mapped? Then its pages must not be given back */
bool dma_keeps(const struct dma *d, ipa_t ipa, uint64_t len);

/** dma_stat() - the counters */
const struct dma_stat *dma_stat(const struct dma *d);

#endif
