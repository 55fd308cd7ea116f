// SPDX-License-Identifier: BSD-3-Clause
/*
 * The back end of a realm on a CCA host.
 *
 * Theory of operation
 *  - RAM has private pages in a guest_memfd and a shared side that devices reach: a memfd of its
 *    own, or the guest_memfd itself where its pages change sides in place (struct rmi_gen).
 *  - Most generations make a slot's whole range RIPAS RAM at activation if it has a guest_memfd
 *    then. So what starts EMPTY is a slot without, which gets one when the guest first asks for RAM
 *    there; its pages are EMPTY all the same until then.
 *  - A RIPAS request of the guest comes as KVM_EXIT_MEMORY_FAULT for the whole range and cannot be
 *    refused: the kernel commits it when that vCPU runs again. Parts without RAM behind them are
 *    left alone. Stretches that are in the wanted state keep their contents: Linux begins by asking
 *    for RAM where it already lies.
 *  - A page that changes sides loses what it held: the side that is given up is punched out of its
 *    file. In the other order a page would be both private and shared for a moment.
 *  - The RMM keeps the registers. KVM clears the shared bit of what it reports, so MMIO comes with
 *    canonical addresses.
 */
#include "realm/rmi.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/trace.h"

/*
 * #syscalls main,vcpu?realm: ioctl=A64_SET_MEM_ATTR|A64_SET_MEM_ATTR2 clock_nanosleep
 * #syscalls main?realm: ioctl=A64_RMI_POPULATE|A64_RMI_POPULATE_V12
 * #syscalls main,vcpu?realm: close fallocate
 */

#define POPULATE_CHUNK	(8 * SZ_1M)	/* what one call is given, and staged at a time */
#define CHUNK		(64 * SZ_1M)	/* converted or given back in one go */
#define ATTR_WAIT_MS	REALM_DRAIN_MS
#define FAULT_REPEATS	100000		/* the same request without anything else in between */
#define REJECTS		1000		/* KVM_RUN's EINVAL in a row */

#define EXIT_TIO	44		/* KVM_EXIT_ARM64_TIO: trees with device assignment */

static struct log_rate convert_rate, fault_rate, reject_rate;

static void sleep_ms(unsigned int ms)
{
	struct timespec ts = { .tv_nsec = ms * 1000000L };

	nanosleep(&ts, NULL);
}

int rmi_enable_cap(struct kvm *k, int cap, unsigned int cmd, const void *arg)
{
	struct kvm_enable_cap c = {
		.cap = cap,
		.args = { cmd, (uintptr_t)arg },
	};

	return kvm_ioctl_vm(k, KVM_ENABLE_CAP, &c);
}

/* ---- creation -------------------------------------------------------------------------------- */

/* What the user wants and this generation has no means for. */
static int cannot(struct realm *r, struct err *e, const char *what, const char *who)
{
	const struct rmi_gen *gen = r->rmi->gen;

	if (!r->best_effort)
		return err_set(e, -EOPNOTSUPP, "%s: this host's kernel (KVM RMI %s: %s) cannot; %s can, "
			       "and --best-effort launches without it", what, gen->name, gen->series,
			       who);
	log_warning("%s: this host's kernel (KVM RMI %s: %s) cannot; going on without it", what,
		    gen->name, gen->series);
	return 0;
}

static int check_wishes(struct realm *r, struct err *e)
{
	static const char with_config[] = "the series v5 to v11 (NVIDIA's 6.17 and 6.18 kernels)";
	const struct rmi_gen *gen = r->rmi->gen;
	int ret = 0;

	if (!(gen->algos & 1U << r->algo))
		ret = r->algo == REALM_SHA384 ?
			cannot(r, e, "--measurement-algo sha384", "no series so far") :
			cannot(r, e, "--measurement-algo sha512", with_config);
	if (!ret && !(gen->algos & 1U << r->algo))
		r->algo = REALM_SHA256;
	if (!ret && r->rpv_set && !gen->rpv)
		ret = cannot(r, e, "--realm-pv", with_config);
	if (!ret && r->pmu && !gen->pmu) {
		ret = cannot(r, e, "--pmu", "the series v5 to v13");
		r->pmu = false;
	}
	return ret;
}

/* What a wrong --rmi-generation or --rmi-cap leads to looks like something else. */
static int blame(struct realm *r, int ret, struct err *e)
{
	if (ret < 0 && r->host_want.cap)
		err_prefix(e, "with --rmi-cap %d (leave it out?)", r->host_want.cap);
	if (ret < 0 && r->host_want.generation)
		err_prefix(e, "with --rmi-generation %.16s (leave it out?)", r->host_want.generation);
	return ret;
}

static int kvm_create(struct realm *r, struct err *e)
{
	struct rmi *m = calloc(1, sizeof(*m));
	int ret;

	r->rmi = m;
	if (!m)
		return err_set(e, -ENOMEM, "no memory for the realm's state");
	m->r = r;
	ret = rmi_probe(r->kvm, &r->host_want, r->split.bits, &m->found, e);
	if (ret < 0)
		return ret;
	m->gen = m->found.gen;
	if (!m->gen)
		return err_set(e, -EOPNOTSUPP, "this kernel offers no realms (%s); `realmtool check` "
			       "tells why; --realm=emulated rehearses without protection",
			       m->found.why);
	r->generation = m->gen->name;
	log_info("KVM RMI %s (%s)", m->gen->name, m->found.how);
	ret = check_wishes(r, e);
	if (ret < 0)
		return ret;
	if (r->kvm->vm < 0)
		ret = kvm_vm_create(r->kvm, m->gen->vm_type |
				    A64_VM_TYPE_IPA_SIZE(r->split.bits), NULL);
	if (ret < 0)
		return err_set(e, ret, "a realm with %u address bits cannot be created: %s; is that more "
			       "than the RMM has? Use less memory (-m) or a smaller --ipa-bits",
			       r->split.bits, strerror(-ret));
	return 0;
}

static int smccc_to_user(struct realm *r, uint32_t first, struct err *e)
{
	struct a64_smccc_filter f = {
		.base = first,
		.nr_functions = 0x20,		/* PSCI's functions of one width */
		.action = A64_SMCCC_FWD_TO_USER,
	};
	int ret = kvm_set_attr(r->kvm, r->kvm->vm, A64_VM_SMCCC_GROUP, A64_VM_SMCCC_FILTER, &f);

	if (ret < 0)
		return err_set(e, ret, "--rmi-psci user: KVM's SMCCC filter (Linux 6.4): %s; leave PSCI "
			       "to the kernel", strerror(-ret));
	return 0;
}

static int config_item(struct rmi *m, const struct a64_rme_config *c, const char *what,
		       struct err *e)
{
	int ret = rmi_enable_cap(m->r->kvm, m->found.cap, A64_RME_CONFIG, c);

	if (ret < 0)
		return err_set(e, ret, "realm: %s: %s", what, strerror(-ret));
	return 0;
}

static int kvm_configure(struct realm *r, struct err *e)
{
	struct rmi *m = r->rmi;
	int ret = 0;

	if (r->psci_user) {
		ret = smccc_to_user(r, 0x84000000, e);
		if (!ret)
			ret = smccc_to_user(r, 0xc4000000, e);
	}
	if (!ret && m->gen->rpv) {
		struct a64_rme_config hash = {
			.cfg = A64_RME_CFG_HASH,
			.hash_algo = r->algo,
		};
		struct a64_rme_config rpv = { .cfg = A64_RME_CFG_RPV };

		memcpy(rpv.rpv, r->rpv, sizeof(rpv.rpv));
		ret = config_item(m, &hash, "measurement algorithm", e);
		if (!ret && r->rpv_set)
			ret = config_item(m, &rpv, "personalization value", e);
	}
	return blame(r, ret, e);
}

static void kvm_features(struct realm *r, uint32_t *features)
{
	if (r->rmi->found.rec_bit)
		*features |= 1U << r->rmi->found.rec_bit;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int set_slot(struct rmi *m, struct rmi_slot *s, struct err *e)
{
	struct realm *r = m->r;
	struct kvm_slot k = {
		.slot = s->nr,
		.ipa = s->base,
		.size = s->size,
		.host = r->shared + (s->base - r->ram_base),
		.gmem = s->gmem ? r->gmem_fd : -1,
		.gmem_off = s->base - r->ram_base,
	};

	return kvm_set_slot(r->kvm, &k, e);
}

static int alloc_memory(struct rmi *m, struct err *e)
{
	bool in_place = m->gen->privacy == RMI_IN_PLACE;
	struct realm *r = m->r;

	r->gmem_fd = kvm_gmem_create(r->kvm, r->ram_size, in_place ?
				     GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED : 0, e);
	if (r->gmem_fd < 0)
		return r->gmem_fd;
	if (!in_place)
		return realm_alloc_shared(r, true, e);
	r->shared = r->kvm->sys->mmap(r->ram_size, PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_NORESERVE, r->gmem_fd, 0);
	if (r->shared == MAP_FAILED) {
		r->shared = NULL;
		return err_set(e, -errno, "guest memory of %" PRIu64 " MiB cannot be mapped: %s",
			       r->ram_size / SZ_1M, strerror(errno));
	}
	r->shared_is_gmem = true;
	madvise(r->shared, r->ram_size, MADV_DONTDUMP);
	return 0;
}

static int kvm_add_ram(struct realm *r, struct err *e)
{
	ipa_t top = r->ram_base + r->ram_size;
	struct rmi *m = r->rmi;
	int ret;

	ret = alloc_memory(m, e);
	if (!ret)
		ret = realm_ripas(r, e);
	for (ipa_t at = r->ram_base; at < top && !ret;) {
		struct rmi_slot *s = &m->slot[m->nr_slots];
		bool ram = true;
		ipa_t end = top;

		if (m->gen->slots_are_ripas)
			end = plan_ram_run(r->plan, at, top, &ram);
		if (m->nr_slots == RMI_MAX_SLOTS)
			return err_set(e, -ENOSPC, "--ripas-ram: more than %d stretches of memory",
				       RMI_MAX_SLOTS);
		*s = (struct rmi_slot){ r->next_slot++, at, end - at, ram };
		ret = set_slot(m, s, e);
		m->nr_slots++;
		at = end;
	}
	if (ret < 0)
		return ret;
	realm_guard(r);
	/* in place a page that was lost to the private side is mapped again from the guest_memfd */
	return gmem_add(r->gm, r->ram_base, r->ram_size, r->shared,
			r->shared_is_gmem ? r->gmem_fd : r->shared_fd, e);
}

/* Pages of a guest_memfd that somebody still holds make EAGAIN: what was done before stays done. */
static int gmem_attr(struct rmi *m, ipa_t base, uint64_t len, uint64_t attr)
{
	struct realm *r = m->r;
	struct a64_mem_attr2 a = {
		.offset = base - r->ram_base,
		.size = len,
		.attributes = attr,
	};
	uint64_t top = a.offset + len;
	unsigned int waited = 0;
	int ret;

	for (;;) {
		ret = r->kvm->sys->ioctl(r->gmem_fd, A64_SET_MEM_ATTR2, (uintptr_t)&a);
		if (ret == -EINTR)
			continue;
		if (ret != -EAGAIN || waited++ == ATTR_WAIT_MS)
			return MIN(ret, 0);
		if (a.error_offset > a.offset && a.error_offset < top &&
		    IS_ALIGNED(a.error_offset, GRANULE_SIZE)) {
			a.offset = a.error_offset;
			a.size = top - a.offset;
		}
		a.error_offset = 0;
		sleep_ms(1);
	}
}

static int set_private(struct rmi *m, ipa_t base, uint64_t len, bool private)
{
	uint64_t attr = private ? A64_MEM_ATTR_PRIVATE : 0;
	struct a64_mem_attr a = { .address = base, .size = len, .attributes = attr };

	switch (m->gen->privacy) {
	case RMI_VM_ATTR:
		return kvm_ioctl_vm(m->r->kvm, A64_SET_MEM_ATTR, &a);
	case RMI_IN_PLACE:
		return gmem_attr(m, base, len, attr);
	case RMI_BORN_PRIVATE:
		break;
	}
	return 0;
}

static int punch(struct rmi *m, int fd, ipa_t base, uint64_t len)
{
	const struct kvm_sys *sys = m->r->kvm->sys;
	int ret;

	do {
		ret = sys->fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     base - m->r->ram_base, len);
	} while (ret == -EINTR);
	return ret;
}

/* ---- the initial image ----------------------------------------------------------------------- */

static int populate_range(struct rmi *m, struct a64_rmi_populate *p, const char *name,
			  struct err *e)
{
	while (p->size) {
		uint64_t left = p->size;
		int ret = m->gen->populate(m, p);

		if (ret == -EINTR)
			continue;
		if (ret < 0)
			return err_set(e, ret, "%s: populating the realm at %#" PRIx64 ": %s%s", name,
				       (uint64_t)p->base, strerror(-ret), ret == -ENXIO ?
				       " (the RMM refuses the realm's parameters or the page)" : "");
		if (p->size >= left)
			return err_set(e, -EIO, "%s: populating the realm makes no progress at %#" PRIx64,
				       name, (uint64_t)p->base);
	}
	return 0;
}

/* @done: bytes before this piece, of @total */
static int populate_piece(struct rmi *m, const struct plan_piece *piece, void *staging,
			  uint64_t done, uint64_t total, struct err *e)
{
	uint64_t whole = ALIGN_UP(piece->len, GRANULE_SIZE);
	struct realm *r = m->r;
	int ret = 0;

	log_debug("%s: %" PRIu64 " bytes at %" PRIipa "%s", piece->name, piece->len, piece->ipa,
		  piece->measured ? "" : ", not measured");
	for (uint64_t off = 0; off < whole && !ret; off += POPULATE_CHUNK) {
		uint64_t n = MIN(whole - off, POPULATE_CHUNK);
		ipa_t ipa = piece->ipa + off;
		void *src = staging ? staging : r->shared + (ipa - r->ram_base);
		struct a64_rmi_populate p = {
			.base = ipa,
			.size = n,
			.source = (uintptr_t)src,
			.flags = piece->measured ? A64_RMI_POPULATE_MEASURE : 0,
		};

		ret = plan_read(piece, off, src, n, e);
		if (!ret)
			ret = populate_range(m, &p, piece->name, e);
		/* the copy on the shared side would stay with the guest's devices */
		if (!staging && punch(m, r->shared_fd, ipa, n) < 0 && !ret)
			ret = err_set(e, -EIO, "%s: its copy in shared memory cannot be dropped",
				      piece->name);
		if (!ret && r->hooks.progress &&
		    r->hooks.progress(r->hooks.ctx, done + off + n, total))
			ret = err_set(e, -EINTR, "interrupted while the realm was populated");
	}
	return ret;
}

static int all_ranges(struct rmi *m, const struct plan *p, bool ripas, struct err *e)
{
	for (unsigned int i = 0; i < p->nr_ram; i++) {
		const struct plan_range *g = &p->ram[i];
		int ret = ripas ? m->gen->init_ripas(m, g->base, g->size) :
				  set_private(m, g->base, g->size, true);

		if (ret < 0)
			return err_set(e, ret, "%s for %" PRIipa " to %" PRIipa ": %s",
				       ripas ? "RIPAS RAM" : "private memory", g->base,
				       g->base + g->size, strerror(-ret));
	}
	return 0;
}

static int kvm_populate(struct realm *r, const struct plan *p, struct err *e)
{
	uint64_t total = 0, done = 0;
	struct rmi *m = r->rmi;
	void *staging = NULL;
	int ret = 0;

	while (r->hooks.vcpu(r->hooks.ctx, m->vcpus))
		m->vcpus++;
	if (m->gen->begin)
		ret = m->gen->begin(m, e);
	if (!ret && m->gen->init_ripas && !m->gen->ripas_last)
		ret = all_ranges(m, p, true, e);
	if (!ret)
		ret = all_ranges(m, p, false, e);
	if (ret < 0)
		return blame(r, ret, e);
	if (!m->gen->source_in_slot) {
		staging = mmap(NULL, POPULATE_CHUNK, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (staging == MAP_FAILED)
			return err_set(e, -errno, "no memory to populate the realm from");
	}
	for (unsigned int i = 0; i < p->nr; i++)
		total += ALIGN_UP(p->piece[i].len, GRANULE_SIZE);
	for (unsigned int i = 0; i < p->nr && !ret; i++) {
		uint64_t began = trace_begin();

		ret = populate_piece(m, &p->piece[i], staging, done, total, e);
		trace_span(&realm_piece_kind, "populate", began, p->piece[i].name, p->piece[i].ipa,
			   p->piece[i].len, 0);
		done += ALIGN_UP(p->piece[i].len, GRANULE_SIZE);
	}
	if (staging)
		munmap(staging, POPULATE_CHUNK);
	return blame(r, ret, e);
}

/* ---- activation ------------------------------------------------------------------------------ */

static const char *activation_hint(int ret)
{
	switch (ret) {
	case -EOPNOTSUPP:
		return "KVM misses an in-kernel GICv3";
	case -ENODEV:
	case -EBUSY:
		return "the GIC is not initialised, or not a GICv3";
	case -EINVAL:
		return "KVM refuses the vCPUs' features";
	case -ENXIO:
		return "the RMM refuses the realm's parameters or a REC";
	case -ENOMEM:
		return "the host has no memory left for the realm's tables";
	case -EIO:
		return "an earlier step failed and the realm is dead";
	default:
		return "look at the host's kernel log";
	}
}

/*
 * The first KVM_RUN creates the RECs and activates. Told to exit at once it comes back before the
 * guest's first instruction, so that a failure is found here. A kernel that looks at the wish to
 * exit first activates later, which is as good.
 */
static int activate_by_run(struct rmi *m, struct err *e)
{
	struct kvm_vcpu *v = m->r->hooks.vcpu(m->r->hooks.ctx, 0);
	int ret;

	v->run->immediate_exit = 1;
	ret = kvm_vcpu_ioctl(v, KVM_RUN, NULL);
	v->run->immediate_exit = 0;
	if (ret < 0 && ret != -EINTR)
		return err_set(e, ret, "the realm cannot be activated: %s (%s)", strerror(-ret),
			       activation_hint(ret));
	return 0;
}

static int kvm_finalise(struct realm *r, struct err *e)
{
	struct rmi *m = r->rmi;
	int ret = 0;

	if (m->gen->init_ripas && m->gen->ripas_last)
		ret = all_ranges(m, r->plan, true, e);
	if (!ret)
		ret = m->gen->activate ? m->gen->activate(m, e) : activate_by_run(m, e);
	return blame(r, ret, e);
}

/* ---- conversions ----------------------------------------------------------------------------- */

/* A range that started EMPTY is asked for: its slots take private pages from now on. */
static int give_gmem(struct rmi *m, ipa_t base, ipa_t top)
{
	struct realm *r = m->r;
	int ret = 0;

	for (unsigned int i = 0; i < m->nr_slots && !ret; i++) {
		struct rmi_slot *s = &m->slot[i], gone = *s;

		if (s->gmem || s->base >= top || s->base + s->size <= base)
			continue;
		/* between the two steps its shared side is not there */
		r->hooks.stop_vcpus(r->hooks.ctx);
		gone.size = 0;
		ret = set_slot(m, &gone, NULL);
		s->gmem = true;
		if (!ret)
			ret = set_slot(m, s, NULL);
		r->hooks.start_vcpus(r->hooks.ctx);
	}
	return ret;
}

/* One piece of what no device can reach any more. */
static int take(struct rmi *m, ipa_t base, uint64_t len)
{
	struct realm *r = m->r;
	int ret = set_private(m, base, len, true);

	if (ret < 0 || m->gen->privacy == RMI_IN_PLACE)
		return ret;
	/* What a device has mapped for DMA must stay the same pages: VFIO pins them. */
	if (!realm_dma_keeps(r, base, len) && punch(m, r->shared_fd, base, len) < 0)
		log_rated(&convert_rate, LOG_WARNING, "shared memory at %" PRIipa " (%" PRIu64
			  " KiB) cannot be given back", base, len / 1024);
	return 0;
}

static int make_private(struct rmi *m, ipa_t base, uint64_t len)
{
	struct realm *r = m->r;
	struct err e;
	int ret;

	gmem_exclude(r->gm);
	ripas_set(&r->ripas, base, len, RIPAS_RAM);
	gmem_admit(r->gm);
	ret = gmem_drain(r->gm, base, len, REALM_DRAIN_MS);
	if (ret < 0 && m->gen->privacy == RMI_IN_PLACE)
		return ret;
	if (ret < 0)
		/* It goes on in pages that nobody sees any more. */
		log_rated(&convert_rate, LOG_WARNING, "device I/O on %" PRIipa " did not end within "
			  "%d s; its page is private now", base, REALM_DRAIN_MS / 1000);
	/* Of all at once: a mapping is taken back whole. In place its pins would be in the way. */
	ret = realm_dma_unshare(r, base, len, &e);
	if (ret < 0)
		rmi_dead(m, e.msg);
	for (uint64_t off = 0; off < len && !ret; off += CHUNK)
		ret = take(m, base + off, MIN(len - off, CHUNK));
	return ret;
}

/* One piece of what shall be shared. */
static int give(struct rmi *m, ipa_t base, uint64_t len)
{
	struct realm *r = m->r;
	int ret = set_private(m, base, len, false);

	/* Old contents that stayed would be there again when the page turns private. */
	if (!ret && m->gen->privacy != RMI_IN_PLACE)
		ret = punch(m, r->gmem_fd, base, len);
	/* in place, what was touched while it was private lies behind another page */
	if (!ret)
		gmem_restore(r->gm, base, len);
	return ret;
}

/* The range is shared, and devices shall reach it as one mapping. */
static int dma_share(struct rmi *m, ipa_t base, uint64_t len)
{
	struct err e;
	int ret = realm_dma_share(m->r, base, len, &e);

	if (ret < 0)
		rmi_dead(m, e.msg);
	return ret;
}

static int make_shared(struct rmi *m, ipa_t base, uint64_t len)
{
	int ret = 0;

	for (uint64_t off = 0; off < len && !ret; off += CHUNK)
		ret = give(m, base + off, MIN(len - off, CHUNK));
	if (!ret)
		ret = dma_share(m, base, len);
	if (!ret)
		ripas_set(&m->r->ripas, base, len, RIPAS_EMPTY);
	return ret;
}

/* @base, @top: anywhere; what is not RAM is nothing to us */
static int kvm_convert(struct realm *r, ipa_t base, ipa_t top, enum ripas_state state, ipa_t *done)
{
	static const struct trace_kind kind = {
		.cat = "conversion", .arg = { "#base", "#top", "error" },
	};
	bool changed = false, private = state == RIPAS_RAM;
	uint64_t began = trace_begin();
	struct rmi *m = r->rmi;
	ipa_t first;
	int ret = 0;

	*done = top;
	first = base = MAX(base, r->ram_base);
	top = MIN(top, r->ram_base + r->ram_size);
	if (base >= top)
		return 0;
	if (private)
		ret = give_gmem(m, base, top);
	while (base < top && !ret) {
		enum ripas_state now;
		ipa_t end = ripas_run(&r->ripas, base, top, &now);

		if (now != state) {
			ret = private ? make_private(m, base, end - base) :
					make_shared(m, base, end - base);
			if (!ret) {
				*(private ? &r->stat.bytes_private : &r->stat.bytes_shared) +=
					end - base;
				changed = true;
			}
		} else if (!private) {
			/* shared from the start on: it was not known that devices want it */
			ret = dma_share(m, base, end - base);
		}
		base = end;
	}
	if (changed && private)
		r->stat.to_private++;
	else if (changed)
		r->stat.to_shared++;
	trace_span(&kind, private ? "to private" : "to shared", began, NULL, first, top, -ret);
	return ret;
}

/* ---- exits ----------------------------------------------------------------------------------- */

void rmi_dead(struct rmi *m, const char *why)
{
	m->r->hooks.fatal(m->r->hooks.ctx, why);
}

static void memory_fault(struct rmi *m, struct kvm_vcpu *v)
{
	union a64_exit *x = a64_exit(v->run);
	bool private = x->memory_fault.flags & A64_MEMORY_FAULT_PRIVATE;
	struct realm *r = m->r;
	ipa_t base, top, done;
	int ret;

	base = ipa_canonical(&r->split, ALIGN_DOWN(x->memory_fault.gpa, GRANULE_SIZE));
	/* a request without a size is one for the page */
	if (__builtin_add_overflow(base, ALIGN_UP(MAX(x->memory_fault.size, 1), GRANULE_SIZE),
				   &top))
		top = ipa_limit(&r->split);
	pthread_mutex_lock(&r->lock);
	m->fault_repeats = m->fault_ipa == base ? m->fault_repeats + 1 : 0;
	m->fault_ipa = base;
	/* A page that the host cannot provide looks like a request to share it, again and again. */
	if (m->fault_repeats > FAULT_REPEATS) {
		pthread_mutex_unlock(&r->lock);
		rmi_dead(m, "the same memory fault comes again and again; has the host run out of memory?");
		return;
	}
	log_rated(&fault_rate, LOG_DEBUG, "vCPU %u: %" PRIipa " to %" PRIipa " shall be %s", v->id,
		  base, top, private ? "private" : "shared");
	ret = kvm_convert(r, base, top, private ? RIPAS_RAM : RIPAS_EMPTY, &done);
	pthread_mutex_unlock(&r->lock);
	if (ret == -ETIMEDOUT || ret == -EAGAIN)
		rmi_dead(m, "a page that the guest takes back is still in use by device I/O; the realm "
		     "cannot go on");
	else if (ret < 0)
		rmi_dead(m, private ? "memory cannot be made private; look at the host's kernel log" :
		     "memory cannot be made shared; look at the host's kernel log");
}

static enum realm_exit kvm_exit(struct realm *r, struct kvm_vcpu *v, ipa_t *ipa)
{
	struct rmi *m = r->rmi;

	m->rejected = 0;
	if (r->psci_user)
		rmi_came_in(m, v->id);
	if (v->run->exit_reason != KVM_EXIT_MEMORY_FAULT)
		m->fault_repeats = 0;
	switch (v->run->exit_reason) {
	case KVM_EXIT_MMIO:
		*ipa = ipa_canonical(&r->split, v->run->mmio.phys_addr);
		return REALM_EXIT_MMIO;
	case KVM_EXIT_MEMORY_FAULT:
		memory_fault(m, v);
		return REALM_EXIT_RUN;
	case KVM_EXIT_HYPERCALL:
		return rmi_hypercall(m, v);
	case KVM_EXIT_FAIL_ENTRY:
	case KVM_EXIT_INTERNAL_ERROR:
		rmi_dead(m, "the RMM ended the realm (an answer or an exit that KVM does not expect); look at "
		     "the host's kernel log and the RMM's console");
		return REALM_EXIT_RUN;
	case EXIT_TIO:
		rmi_dead(m, "the guest asks for a trusted device, which this version of realmtool has not");
		return REALM_EXIT_RUN;
	default:
		return REALM_EXIT_OTHER;
	}
}

/*
 * An abort can be asked for only when KVM has marked the access as emulated, which v14 does when
 * the vCPU is entered again: enter and come back before the guest runs. (On an ordinary VM that
 * would step over the instruction.) Whoever enters next clears immediate_exit.
 */
static int kvm_abort(struct realm *r, struct kvm_vcpu *v)
{
	int ret = kvm_vcpu_abort(v);

	(void)r;
	if (ret != -EINVAL)
		return ret;
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	ret = kvm_vcpu_ioctl(v, KVM_RUN, NULL);
	return ret < 0 && ret != -EINTR ? ret : kvm_vcpu_abort(v);
}

static enum realm_exit kvm_failed(struct realm *r, struct kvm_vcpu *v, int err, struct err *e)
{
	struct rmi *m = r->rmi;

	if (r->psci_user && (err == -EAGAIN || err == -ENXIO) && rmi_was_off(m, v->id))
		return REALM_EXIT_RUN;
	switch (err) {
	case -EAGAIN:		/* RMI_ERROR_REC: this REC is not runnable yet */
		sleep_ms(1);
		return REALM_EXIT_RUN;
	case -EINVAL:
		/* An unusable range: the kernel tells the guest so when it runs again. */
		if (++m->rejected <= REJECTS) {
			log_rated(&reject_rate, LOG_WARNING, "vCPU %u: the guest asks to convert a range "
				  "that it cannot have", v->id);
			return REALM_EXIT_RUN;
		}
		err_set(e, err, "KVM_RUN: %s, again and again; look at the host's kernel log",
			strerror(-err));
		break;
	case -EFAULT:
		err_set(e, err, "KVM_RUN: bad address: shared memory that the guest touched cannot be "
			"mapped (out of memory?); look at the host's kernel log");
		break;
	case -ENXIO:
		err_set(e, err, "the RMM cannot go on with the guest: did it run code that was not part "
			"of the initial image, or from shared memory? Look at the host's kernel log");
		break;
	case -EIO:
		err_set(e, err, "the realm is dead; look at the host's kernel log and the RMM's console");
		break;
	case -ENODEV:
	case -EOPNOTSUPP:
	case -ENOMEM:
		err_set(e, err, "the realm cannot run: %s (%s)", strerror(-err),
			activation_hint(err));
		break;
	default:
		return REALM_EXIT_OTHER;
	}
	return REALM_EXIT_OTHER;
}

/* ---- the end --------------------------------------------------------------------------------- */

/*
 * Each private page goes back to the host through the RMM. Closing the guest_memfd would do all of
 * them in one system call, which stalls the host when the realm is large.
 */
static void give_back(struct rmi *m)
{
	struct realm *r = m->r;
	ipa_t top = r->ram_base + r->ram_size;

	for (ipa_t at = r->ram_base, end; at < top; at = end) {
		enum ripas_state state;

		end = ripas_run(&r->ripas, at, top, &state);
		end = MIN(end, at + CHUNK);
		if (state == RIPAS_RAM && punch(m, r->gmem_fd, at, end - at) < 0)
			return;
		sched_yield();
	}
}

static void kvm_destroy(struct realm *r)
{
	struct rmi *m = r->rmi;

	if (!m)
		return;
	if (r->gmem_fd >= 0 && r->ripas.word && m->vcpus)
		give_back(m);
	free(m);
	r->rmi = NULL;
}

static int kvm_vcpu_made(struct realm *r, struct kvm_vcpu *v, struct err *e)
{
	int ret = realm_pin_debug(r, v, e);

	if (ret == -EOPNOTSUPP && r->best_effort) {
		log_warning("%s; going on, with another measurement", e->msg);
		r->debug_exact = false;
		ret = realm_pin_debug(r, v, e);
	}
	return ret;
}

const struct realm_ops realm_kvm = {
	.name = "kvm",
	.rom_by_exit = true,
	.rmm_cpus = true,
	.no_debug = true,
	.create = kvm_create,
	.add_ram = kvm_add_ram,
	.configure = kvm_configure,
	.features = kvm_features,
	.vcpu = kvm_vcpu_made,
	.populate = kvm_populate,
	.finalise = kvm_finalise,
	.exit = kvm_exit,
	.abort = kvm_abort,
	.failed = kvm_failed,
	.convert = kvm_convert,
	.destroy = kvm_destroy,
};
