// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/assigned.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/machine.h"

#define SMALL_POOL	(2 * SZ_1M)	/* as for network devices, dev_net.c */

/* ---- the host's ends ------------------------------------------------------------------------- */

int assigned_open(const struct vm_config *c, const struct vfio_sys *sys, struct assigned *a,
		  struct err *e)
{
	static const enum vfio_backend backend[] = {
		[VFIO_BACKEND_AUTO] = VFIO_AUTO,
		[VFIO_BACKEND_IOMMUFD] = VFIO_IOMMUFD,
		[VFIO_BACKEND_GROUP] = VFIO_GROUP,
	};
	int ret;

	memset(a, 0, sizeof(*a));
	if (!c->nr_vfios)
		return 0;
	ret = vfio_new(sys, backend[c->vfio_backend], &a->vfio, e);
	for (; !ret && a->nr < c->nr_vfios; a->nr += !ret)
		ret = vfio_add(a->vfio, c->vfio[a->nr].device, &a->dev[a->nr], e);
	if (ret < 0) {
		err_prefix(e, "--vfio-pci %s", c->vfio[MIN(a->nr, c->nr_vfios - 1)].device);
		assigned_close(a);
		return ret;
	}
	log_info("%u assigned device%s through %s", a->nr, a->nr == 1 ? "" : "s",
		 vfio_backend_name(a->vfio));
	return 0;
}

void assigned_close(struct assigned *a)
{
	vfio_free(a->vfio);
	memset(a, 0, sizeof(*a));
}

/* ---- conversions ----------------------------------------------------------------------------- */

static int hook_share(void *ctx, ipa_t ipa, uint64_t len, struct err *e)
{
	struct machine *m = ctx;

	return dma_share(m->dma, ipa, len, e);
}

static int hook_unshare(void *ctx, ipa_t ipa, uint64_t len, struct err *e)
{
	struct machine *m = ctx;

	return dma_unshare(m->dma, ipa, len, e);
}

static bool hook_keeps(void *ctx, ipa_t ipa, uint64_t len)
{
	struct machine *m = ctx;

	return dma_keeps(m->dma, ipa, len);
}

void assigned_hooks(struct realm_hooks *h)
{
	h->dma_share = hook_share;
	h->dma_unshare = hook_unshare;
	h->dma_keeps = hook_keeps;
}

/* ---- a machine's --------------------------------------------------------------------------- */

static int map_bar(void *ctx, ipa_t ipa, uint64_t size, void *host, unsigned int *slot)
{
	struct machine *m = ctx;

	return realm_map_io(&m->realm, ipa, size, host, slot);
}

static void unmap_bar(void *ctx, unsigned int slot)
{
	struct machine *m = ctx;

	realm_unmap_io(&m->realm, slot);
}

static void failed(void *ctx, const char *why)
{
	machine_fail(ctx, "%s", why);
}

/* "0000:01:00.1" without the function's number is the device */
static bool same_device(const struct vfio_device *a, const struct vfio_device *b)
{
	size_t len = strlen(a->name) - 1;

	return !strncmp(a->name, b->name, len);
}

/* The next one in the order of the options; of one device the lowest function goes first. */
static unsigned int next_device(const struct assigned *a, const bool done[CFG_MAX_VFIOS])
{
	unsigned int first = 0, best;

	while (done[first])
		first++;
	best = first;
	for (unsigned int i = first + 1; i < a->nr; i++)
		if (!done[i] && same_device(a->dev[i], a->dev[first]) &&
		    strcmp(a->dev[i]->name, a->dev[best]->name) < 0)
			best = i;
	return best;
}

unsigned int assigned_places(const struct assigned *a)
{
	unsigned int n = 0;

	for (unsigned int i = 0; a && i < a->nr; i++) {
		unsigned int j = 0;

		while (j < i && !same_device(a->dev[i], a->dev[j]))
			j++;
		n += j == i;
	}
	return n;
}

static int make_dma(struct machine *m, struct err *e)
{
	struct dma_cfg cfg = {
		.iommu = vfio_iommu(m->env->assigned->vfio),
		.gm = &m->gm,
		.split = m->realm.split,
		.mode = DMA_ALL,
	};

	if (realm_is_realm(&m->realm))
		cfg.mode = m->cfg->vfio_static ? DMA_STATIC : DMA_DYNAMIC;
	if (cfg.mode == DMA_STATIC && !realm_shared_apart(&m->realm))
		return err_set(e, -EOPNOTSUPP, "--vfio-dma static: on this host private and shared memory "
			       "of a realm are the same pages, and devices would reach private ones: "
			       "leave it out");
	for (unsigned int i = 0; i < m->cfg->nr_vfios; i++)
		cfg.both |= m->cfg->vfio[i].both;
	return dma_new(&cfg, &m->dma, e);
}

int assigned_make(struct machine *m, struct err *e)
{
	const struct vfio_pci_env env = {
		.host = &m->pci,
		.msi = m->gic.its ? &m->msi : NULL,
		.kvm = &m->kvm,
		.loop = m->env->loop,
		.intx_exits = kvm_forgets_eoi(&m->kvm),
		.map_bar = realm_maps_io(&m->realm) ? map_bar : NULL,
		.unmap_bar = unmap_bar,
		.failed = failed,
		.ctx = m,
	};
	const struct assigned *a = m->env->assigned;
	bool done[CFG_MAX_VFIOS] = { false };
	int ret;

	if (!a || !a->nr)
		return 0;
	if (!env.map_bar)
		log_info("registers of assigned devices are reached by exits: this realm's host maps no "
			 "device memory");
	if (realm_is_realm(&m->realm) && config_bounce_pool(m->cfg) <= SMALL_POOL)
		log_warning("assigned devices: the guest bounces all of their DMA through a pool of only %"
			    PRIu64 " KiB, and some guests come to a halt; give it more with --swiotlb 64",
			    config_bounce_pool(m->cfg) / 1024);
	m->assigned_kvm = vfio_tell_kvm(a->vfio, &m->kvm);
	ret = make_dma(m, e);
	for (; !ret && m->nr_assigned < a->nr; m->nr_assigned += !ret) {
		unsigned int i = next_device(a, done);
		const struct cfg_vfio *c = &m->cfg->vfio[i];
		const struct vfio_pci_cfg cfg = { .rom = c->rom, .no_rom = c->no_rom };

		done[i] = true;
		if (c->trusted)
			ret = realm_trust_device(&m->realm, a->dev[i]->name, e);
		if (!ret)
			ret = vfio_pci_new(a->dev[i], &cfg, &env, &m->assigned[m->nr_assigned], e);
	}
	return ret;
}

int assigned_start(struct machine *m, struct err *e)
{
	return m->dma ? dma_start(m->dma, e) : 0;
}

void assigned_stop(struct machine *m)
{
	for (unsigned int i = 0; i < m->nr_assigned; i++)
		vfio_pci_stop(m->assigned[i]);
}

void assigned_free(struct machine *m)
{
	assigned_stop(m);
	dma_free(m->dma);
	m->dma = NULL;
	while (m->nr_assigned)
		vfio_pci_free(m->assigned[--m->nr_assigned]);
	if (m->assigned_kvm > 0)
		close(m->assigned_kvm);
	m->assigned_kvm = 0;
}

void assigned_log_stats(const struct machine *m)
{
	const struct dma_stat *s;

	if (!m->dma)
		return;
	s = dma_stat(m->dma);
	log_debug("dma: pinned=%" PRIu64 " KiB (peak %" PRIu64 " KiB) mappings=%" PRIu64 " maps=%" PRIu64
		  " unmaps=%" PRIu64 " splits=%" PRIu64, atomic_load(&s->pinned) / 1024,
		  atomic_load(&s->peak) / 1024, atomic_load(&s->mappings), atomic_load(&s->maps),
		  atomic_load(&s->unmaps), atomic_load(&s->splits));
	for (unsigned int i = 0; i < m->nr_assigned; i++) {
		const struct vfio_pci_stat *d = vfio_pci_stat(m->assigned[i]);

		log_debug("%s: exits for BARs=%" PRIu64 " for configuration=%" PRIu64,
			  vfio_pci_name(m->assigned[i]), atomic_load(&d->bar_exits),
			  atomic_load(&d->cfg_exits));
	}
}
