// SPDX-License-Identifier: BSD-3-Clause
#include "realm/realm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/path.h"
#include "vmm/core/trace.h"

/*
 * #syscalls main: memfd_create ftruncate close mincore fcntl=F_ADD_SEALS
 * #syscalls main: madvise=MADV_NOHUGEPAGE|MADV_DONTDUMP|MADV_HUGEPAGE
 * #syscalls main?hugetlbfs: openat open
 */

int realm_init(struct realm *r, struct err *e)
{
	ipa_t end = r->ram_base + r->ram_size;

	r->shared = NULL;
	r->shared_fd = r->gmem_fd = -1;
	r->slots = NULL;
	r->rmi = NULL;
	r->generation = NULL;
	r->shared_is_gmem = false;
	r->next_slot = 0;
	r->told_no_bit = false;
	memset(&r->ripas, 0, sizeof(r->ripas));
	memset(&r->stat, 0, sizeof(r->stat));
	pthread_mutex_init(&r->lock, NULL);
	if (end < r->ram_base || end > ipa_limit(&r->split))
		return err_set(e, -EINVAL, "RAM up to %" PRIipa " does not fit %s of a %u-bit IPA "
			       "space; use --ipa-bits %u or less memory (-m)", end,
			       realm_is_realm(r) ? "the protected half" : "into", r->split.bits,
			       ipa_bits_needed(end, realm_is_realm(r)));
	return 0;
}

void realm_destroy(struct realm *r)
{
	if (r->ops->destroy)
		r->ops->destroy(r);
	ripas_destroy(&r->ripas);
	if (r->shared && r->shared_is_gmem)
		r->kvm->sys->munmap(r->shared, r->ram_size);
	else if (r->shared)
		munmap(r->shared, r->ram_size);
	if (r->shared_fd >= 0)
		close(r->shared_fd);
	if (r->gmem_fd >= 0)
		r->kvm->sys->close(r->gmem_fd);
	r->shared = NULL;
	r->shared_fd = r->gmem_fd = -1;
	pthread_mutex_destroy(&r->lock);
}

ipa_t realm_kernel_io(const struct realm *r, ipa_t ipa)
{
	return r->ops->io_at_alias ? ipa_to_alias(&r->split, ipa) : ipa;
}

int realm_check_window(const struct realm *r, const char *what, ipa_t base, uint64_t size,
		       struct err *e)
{
	if (base + size < base || base + size > ipa_limit(&r->split))
		return err_set(e, -EINVAL, "%s at %" PRIipa " reaches %s of a %u-bit IPA space; use "
			       "--ipa-bits %u", what, base,
			       realm_is_realm(r) ? "the shared half" : "beyond the end",
			       r->split.bits, ipa_bits_needed(base + size, realm_is_realm(r)));
	return 0;
}

int realm_set_rom(struct realm *r, unsigned int slot, ipa_t ipa, uint64_t size, void *host)
{
	struct kvm_slot s = {
		.slot = slot,
		.flags = size ? KVM_MEM_READONLY : 0,
		/* Memory that is not RAM is EMPTY: a realm reads it through the alias. */
		.ipa = ipa_to_alias(&r->split, ipa),
		.size = size,
		.host = host,
		.gmem = -1,
	};

	/* A KVM realm's guest would get a mapping that can be written (and WARN, series v14). */
	return r->ops->rom_by_exit ? 0 : kvm_set_slot(r->kvm, &s, NULL);
}

int realm_add_rom(struct realm *r, ipa_t ipa, uint64_t size, void *host, unsigned int *slot,
		  struct err *e)
{
	int ret = realm_check_window(r, "flash", ipa, size, e);

	if (ret < 0)
		return ret;
	*slot = r->next_slot++;
	ret = realm_set_rom(r, *slot, ipa, size, host);
	if (ret < 0)
		return err_set(e, ret, "cannot map the flash into the guest: %s", strerror(-ret));
	return 0;
}

int realm_add_mem(struct realm *r, const char *what, ipa_t ipa, uint64_t size, void *host,
		  struct err *e)
{
	struct kvm_slot s = {
		.ipa = ipa,
		.size = size,
		.host = host,
		.gmem = -1,
	};
	int ret = realm_check_window(r, what, ipa, size, e);

	if (ret < 0)
		return ret;
	if (realm_is_realm(r))
		return err_set(e, -EOPNOTSUPP, "%s: a realm has no memory but its RAM: leave it out", what);
	s.slot = r->next_slot++;
	return kvm_set_slot(r->kvm, &s, e);
}

int realm_trust_device(struct realm *r, const char *name, struct err *e)
{
	if (r->ops->trust_device)
		return r->ops->trust_device(r, name, e);
	return err_set(e, -EOPNOTSUPP, "%s: trusted device assignment (RMM 2.0, TDISP) is not in this "
		       "version of realmtool; without it the guest shares the memory that the device "
		       "is to reach", name);
}

/* The lower slots of an emulated realm that is strict have the numbers below. */
#define IO_SLOT_FIRST	16384

int realm_map_io(struct realm *r, ipa_t ipa, uint64_t size, void *host, unsigned int *slot)
{
	struct kvm_slot s = {
		/* A realm reaches all I/O through the alias; a KVM realm refuses such memory. */
		.ipa = ipa_to_alias(&r->split, ipa),
		.size = size,
		.host = host,
		.gmem = -1,
	};
	unsigned int n = 0;
	int ret;

	if (!realm_maps_io(r))
		return -EOPNOTSUPP;
	while (n < REALM_IO_SLOTS && r->io_slot[n])
		n++;
	if (n == REALM_IO_SLOTS)
		return -ENOSPC;
	s.slot = IO_SLOT_FIRST + n;
	ret = kvm_set_slot(r->kvm, &s, NULL);
	r->io_slot[n] = !ret;
	*slot = n;
	return ret;
}

void realm_unmap_io(struct realm *r, unsigned int slot)
{
	struct kvm_slot s = { .slot = IO_SLOT_FIRST + slot, .gmem = -1 };

	if (kvm_set_slot(r->kvm, &s, NULL) < 0 && r->hooks.fatal)
		r->hooks.fatal(r->hooks.ctx, "KVM does not take a device's registers out of the guest");
	r->io_slot[slot] = false;
}

/*
 * A realm's shared memory is a MAP_SHARED memfd without huge pages: KVM's realm code faults it in
 * 4 KiB pages, VFIO pins it, vhost-user passes it on. A plain VM gets anonymous memory and huge
 * pages, which is faster.
 */
int realm_alloc_shared(struct realm *r, bool memfd, struct err *e)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, fd = -1;
	void *p;

	if (r->hugetlbfs) {
		fd = path_open(r->hugetlbfs, O_TMPFILE | O_RDWR, 0600);
		if (fd < 0)
			return err_set(e, -errno, "--hugetlbfs %s: %s; name the mount point of a "
				       "hugetlbfs", r->hugetlbfs, strerror(errno));
		flags = MAP_SHARED;
	} else if (memfd) {
		fd = memfd_create("realmtool-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (fd < 0)
			return err_set(e, -errno, "guest memory: memfd_create: %s", strerror(errno));
		flags = MAP_SHARED;
	}
	if (fd >= 0 && ftruncate(fd, r->ram_size) < 0) {
		err_set(e, -errno, "guest memory of %" PRIu64 " MiB: %s", r->ram_size / SZ_1M,
			strerror(errno));
		goto fail;
	}
	/* Whoever gets this file (vhost-user) must not be able to take the guest's memory away. */
	if (memfd && !r->hugetlbfs &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		err_set(e, -errno, "guest memory: seals: %s", strerror(errno));
		goto fail;
	}
	p = mmap(NULL, r->ram_size, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED) {
		err_set(e, -errno, "guest memory of %" PRIu64 " MiB: %s; use less (-m)%s",
			r->ram_size / SZ_1M, strerror(errno),
			r->hugetlbfs ? " or reserve more huge pages (vm.nr_hugepages)" : "");
		goto fail;
	}
	/* -EINVAL: a kernel that has none; -ENOSYS: one without CONFIG_ADVISE_SYSCALLS */
	if (memfd && madvise(p, r->ram_size, MADV_NOHUGEPAGE) < 0 && errno != EINVAL &&
	    errno != ENOSYS) {
		err_set(e, -errno, "guest memory of %" PRIu64 " MiB without huge pages: %s",
			r->ram_size / SZ_1M, strerror(errno));
		munmap(p, r->ram_size);
		goto fail;
	}
	madvise(p, r->ram_size, MADV_DONTDUMP);
	r->shared = p;
	r->shared_fd = fd;
	return 0;

fail:
	if (fd >= 0)
		close(fd);
	return e ? e->code : -EIO;
}

const struct trace_kind realm_piece_kind = {
	.cat = "launch", .text = "piece", .arg = { "#ipa", "bytes" },
};

int realm_fill(struct realm *r, const struct plan_piece *piece, void *dst, struct err *e)
{
	uint64_t whole = ALIGN_UP(piece->len, GRANULE_SIZE), began = trace_begin();
	int ret;

	(void)r;
	log_debug("%s: %" PRIu64 " bytes at %" PRIipa, piece->name, piece->len, piece->ipa);
	ret = plan_read(piece, 0, dst, whole, e);
	trace_span(&realm_piece_kind, "populate", began, piece->name, piece->ipa, piece->len, 0);
	return ret;
}

/* ---- shared by the back ends ----------------------------------------------------------------- */

static bool guard_shared(const void *ctx, ipa_t ipa, uint64_t len)
{
	const struct realm *r = ctx;

	return ripas_is_shared(&r->ripas, ipa, len);
}

static ipa_t guard_canonical(const void *ctx, ipa_t ipa)
{
	const struct realm *r = ctx;

	return ipa_canonical(&r->split, ipa);
}

void realm_guard(struct realm *r)
{
	const struct gmem_guard guard = { guard_canonical, guard_shared, r };

	gmem_set_guard(r->gm, &guard);
}

int realm_dma_share(struct realm *r, ipa_t ipa, uint64_t len, struct err *e)
{
	return r->hooks.dma_share ? r->hooks.dma_share(r->hooks.ctx, ipa, len, e) : 0;
}

int realm_dma_unshare(struct realm *r, ipa_t ipa, uint64_t len, struct err *e)
{
	return r->hooks.dma_unshare ? r->hooks.dma_unshare(r->hooks.ctx, ipa, len, e) : 0;
}

bool realm_dma_keeps(struct realm *r, ipa_t ipa, uint64_t len)
{
	return r->hooks.dma_keeps && r->hooks.dma_keeps(r->hooks.ctx, ipa, len);
}

int realm_ripas(struct realm *r, struct err *e)
{
	ipa_t top = r->ram_base + r->ram_size;
	int ret = ripas_init(&r->ripas, r->ram_base, r->ram_size, RIPAS_EMPTY, e);

	for (ipa_t at = r->ram_base, end; at < top && !ret; at = end) {
		bool ram;

		end = plan_ram_run(r->plan, at, top, &ram);
		if (ram)
			ripas_set(&r->ripas, at, end - at, RIPAS_RAM);
	}
	return ret;
}

/* PSCI: the lock makes "is it off?" and "switch it on" one step. */
uint32_t realm_psci(struct realm *r, const struct psci_ops *ops, void *ctx, struct kvm_vcpu *v,
		    uint64_t *x)
{
	static const struct trace_kind kind = { .cat = "psci", .arg = { "#x0", "#x1", "#result" } };
	uint64_t began = trace_begin(), fid = x[0], x1 = x[1];
	enum psci_next next = psci_call(ops, ctx, &r->split, x);

	trace_span(&kind, psci_name(fid), began, NULL, fid, x1, x[0]);
	switch (next) {
	case PSCI_RETURN:
		break;
	case PSCI_WAIT:
		r->hooks.cpu_wait(r->hooks.ctx, v->id);
		break;
	case PSCI_CPU_IS_OFF:
		r->hooks.cpu_off(r->hooks.ctx, v->id);
		return 0;
	case PSCI_SYSTEM_OFF:
	case PSCI_SYSTEM_RESET:
		r->hooks.system_end(r->hooks.ctx, next == PSCI_SYSTEM_RESET);
		return 0;
	}
	return (1U << PSCI_NR_REGS) - 1;
}

/* ID_AA64DFR0_EL1: numbers minus one */
#define DFR0_BRPS	12
#define DFR0_WRPS	20
#define DFR0_CTX_CMPS	28
#define DFR0_FIELD(v, at)	((unsigned int)((v) >> (at) & 0xf))
#define DFR0_SET(v, at, n)	(((v) & ~(UINT64_C(0xf) << (at))) | (uint64_t)(n) << (at))

int realm_pin_debug(struct realm *r, struct kvm_vcpu *v, struct err *e)
{
	unsigned int bps, wps;
	uint64_t old, new;
	int ret = kvm_get_reg(v, A64_ID_AA64DFR0_EL1, &old);

	if (ret < 0)
		return err_set(e, ret, "vCPU %u: ID_AA64DFR0_EL1: %s", v->id, strerror(-ret));
	bps = DFR0_FIELD(old, DFR0_BRPS) + 1;
	wps = DFR0_FIELD(old, DFR0_WRPS) + 1;
	if (v->id == 0) {
		r->host_breakpoints = bps;
		r->host_watchpoints = wps;
	}
	if (bps < r->breakpoints)
		return err_set(e, -EINVAL, "--breakpoints %u: this host can give a guest %u",
			       r->breakpoints, bps);
	if (wps < r->watchpoints)
		return err_set(e, -EINVAL, "--watchpoints %u: this host can give a guest %u",
			       r->watchpoints, wps);
	new = DFR0_SET(old, DFR0_WRPS, r->watchpoints - 1);
	old = new;
	new = DFR0_SET(new, DFR0_BRPS, r->breakpoints - 1);
	/* breakpoints that compare contexts are some of them */
	if (DFR0_FIELD(new, DFR0_CTX_CMPS) > r->breakpoints - 1)
		new = DFR0_SET(new, DFR0_CTX_CMPS, r->breakpoints - 1);
	ret = new == old && wps == r->watchpoints ? 0 : kvm_set_reg(v, A64_ID_AA64DFR0_EL1, new);
	if (ret == -EINVAL && new != old) {
		/*
		 * KVM lets the number of watchpoints be lowered, but not that of breakpoints,
		 * because those that compare contexts are the last ones of the hardware's.
		 */
		ret = wps == r->watchpoints ? 0 : kvm_set_reg(v, A64_ID_AA64DFR0_EL1, old);
		if (!ret && r->debug_exact)
			return err_set(e, -EOPNOTSUPP, "--breakpoints %u: a guest of this host has %u, and "
				       "this kernel cannot make it fewer: give --breakpoints %u",
				       r->breakpoints, bps, bps);
		if (!ret) {
			log_info("the guest has %u breakpoints: this kernel cannot lower their number to "
				 "%u", bps, r->breakpoints);
			r->breakpoints = bps;
		}
	}
	if (ret < 0)
		return err_set(e, ret == -EINVAL ? -EOPNOTSUPP : ret, "vCPU %u: this KVM cannot give "
			       "the guest %u breakpoints and %u watchpoints: %s", v->id,
			       r->breakpoints, r->watchpoints, strerror(-ret));
	return 0;
}

/* ---- the monitor's and the debugger's door --------------------------------------------------- */

void *rsi_granule(struct realm *r, ipa_t ipa)
{
	void *p;

	if (!ripas_inside(&r->ripas, ipa, ipa + GRANULE_SIZE))
		return NULL;
	if (r->gmem_fd < 0)
		return r->shared + (ipa - r->ram_base);
	p = r->kvm->sys->mmap(GRANULE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r->gmem_fd,
			      ipa - r->ram_base);
	return p == MAP_FAILED ? NULL : p;
}

void rsi_granule_put(struct realm *r, void *p)
{
	if (r->gmem_fd >= 0)
		r->kvm->sys->munmap(p, GRANULE_SIZE);
}

int realm_resident(const struct realm *r, ipa_t ipa, uint64_t len, unsigned char *core)
{
	if (!r->shared || ipa < r->ram_base || len > r->ram_size ||
	    ipa - r->ram_base > r->ram_size - len)
		return -EFAULT;
	return mincore(r->shared + (ipa - r->ram_base), len, core) < 0 ? -errno : 0;
}

int realm_debug_mem(struct realm *r,ipa_t ipa, void *buf, uint64_t len, bool write)
{
	bool alias = ipa_is_alias(&r->split, ipa);
	uint8_t *b = buf;

	ipa = ipa_canonical(&r->split, ipa);
	if (ipa < r->ram_base || len > r->ram_size || ipa - r->ram_base > r->ram_size - len)
		return -EFAULT;
	while (len) {
		uint64_t off = ipa & (GRANULE_SIZE - 1), n = MIN(len, GRANULE_SIZE - off);
		bool private = r->gmem_fd >= 0 && !alias;
		uint8_t *page = private ? rsi_granule(r, ipa - off) :
					  r->shared + (ipa - off - r->ram_base);

		if (!page)
			return -EFAULT;
		if (write) {
			memcpy(page + off, b, n);
			__builtin___clear_cache((char *)page + off, (char *)page + off + n);
		} else {
			memcpy(b, page + off, n);
		}
		if (private)
			rsi_granule_put(r, page);
		ipa += n;
		b += n;
		len -= n;
	}
	return 0;
}
