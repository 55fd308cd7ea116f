// SPDX-License-Identifier: BSD-3-Clause
/*
 * The emulated realm: an ordinary VM whose monitor is realmtool. It protects nothing.
 *
 * Theory of operation
 *  - RAM is mapped twice: at its IPA (the protected half) and, for shared pages, at IPA | shared
 *    bit. With guest_memfd for ordinary VMs the two have different pages: the lower slot takes
 *    its pages from a guest_memfd that realmtool unmaps once the image is in it, the alias slot
 *    is a memfd that devices reach. The userspace address of the lower slot is the shared memory
 *    too, so in-kernel readers of guest memory (ITS tables) see the shared side, as on CCA.
 *    Without guest_memfd both slots show the same memory.
 *  - The SMCCC filter forwards every function that is neither PSCI nor an architecture call, so
 *    RSI calls arrive here, and what no monitor knows is answered NOT_SUPPORTED.
 *  - The guest reaches all I/O at the alias: an MMIO exit without the shared bit, or one without
 *    a syndrome, is answered with an external abort.
 *  - The RIPAS map says which pages are shared. A page that changes sides loses its contents: the
 *    side that is not in use any more is punched out of its file.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "realm/attest.h"
#include "realm/realm.h"
#include "realm/slots.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/trace.h"

#define LOWER_SLOTS_MAX 4096	/* pieces of the lower half with --emulated-strict */

/*
 * Function identifiers that come to this file. KVM keeps the Arm architecture calls (0x8000xxxx,
 * 0xc000xxxx) for itself; PSCI is answered here, because the RMM's answers differ from KVM's.
 */
static const struct {
	uint32_t first, last;
} forwarded[] = {
	{ 0x00000000, 0x7fffffff },
	{ 0x80010000, 0xbfffffff },
	{ 0xc0010000, 0xffffffff },
};

static struct log_rate abort_rate, convert_rate, token_rate;

static int emu_create(struct realm *r, struct err *e)
{
	static const struct {
		int cap;
		const char *what;
	} need[] = {
		{ A64_CAP_NISV_TO_USER, "KVM_CAP_ARM_NISV_TO_USER (Linux 5.5)" },
		{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD (Linux 4.0)" },
		{ KVM_CAP_ONE_REG, "KVM_CAP_ONE_REG (Linux 3.10)" },
		{ KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS (Linux 4.19)" },
	};
	int ret;

	for (unsigned int i = 0; i < ARRAY_SIZE(need); i++)
		if (!kvm_cap_sys(r->kvm, need[i].cap))
			return err_set(e, -EOPNOTSUPP, "an emulated realm needs %s, which this host's "
				       "KVM lacks; use a newer kernel", need[i].what);
	ret = attest_open(r->keys_dir, r->token_form, &r->attest, e);
	if (ret < 0)
		return ret;
	ret = kvm_vm_create(r->kvm, A64_VM_TYPE_IPA_SIZE(r->split.bits), e);
	if (ret < 0)
		return ret;
	log_warning("--realm=emulated: realmtool plays the monitor. NOTHING IS PROTECTED: the host "
		    "sees all of the guest's memory.");
	return 0;
}

static int emu_configure(struct realm *r, struct err *e)
{
	int ret;

	if (!kvm_has_attr(r->kvm, r->kvm->vm, A64_VM_SMCCC_GROUP, A64_VM_SMCCC_FILTER))
		return err_set(e, -EOPNOTSUPP, "an emulated realm needs KVM's SMCCC filter "
			       "(KVM_ARM_VM_SMCCC_FILTER, Linux 6.4), which this host lacks; use a newer "
			       "kernel");
	for (unsigned int i = 0; i < ARRAY_SIZE(forwarded); i++) {
		struct a64_smccc_filter f = {
			.base = forwarded[i].first,
			.nr_functions = forwarded[i].last - forwarded[i].first + 1,
			.action = A64_SMCCC_FWD_TO_USER,
		};

		ret = kvm_set_attr(r->kvm, r->kvm->vm, A64_VM_SMCCC_GROUP, A64_VM_SMCCC_FILTER, &f);
		if (ret < 0)
			return err_set(e, ret, "SMCCC filter for %#x..%#x: %s", forwarded[i].first,
				       forwarded[i].last, strerror(-ret));
	}
	ret = kvm_enable_cap(r->kvm, A64_CAP_NISV_TO_USER);
	if (ret < 0)
		return err_set(e, ret, "KVM_CAP_ARM_NISV_TO_USER: %s", strerror(-ret));
	return 0;
}

static int lower_slot(void *ctx, unsigned int slot, ipa_t base, uint64_t len)
{
	struct realm *r = ctx;
	struct kvm_slot s = {
		.slot = slot,
		.ipa = base,
		.size = len,
		.host = r->shared + (base - r->ram_base),
		.gmem = len ? r->gmem_fd : -1,
		.gmem_off = base - r->ram_base,
	};

	return kvm_set_slot(r->kvm, &s, NULL);
}

/* Private memory of its own, if this kernel has guest_memfd for ordinary VMs. */
static void private_memory(struct realm *r)
{
	uint64_t want = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED;
	struct err why;
	int fd;

	if (!kvm_cap(r->kvm, KVM_CAP_GUEST_MEMFD) ||
	    ((uint64_t)kvm_cap(r->kvm, KVM_CAP_GUEST_MEMFD_FLAGS) & want) != want) {
		log_debug("emulated realm: no guest_memfd for ordinary VMs (Linux 6.18): private and "
			  "shared memory are the same pages under two slots");
		return;
	}
	fd = kvm_gmem_create(r->kvm, r->ram_size, want, &why);
	if (fd < 0) {
		log_debug("emulated realm: %s: private and shared memory are the same pages under two "
			  "slots", why.msg);
		return;
	}
	r->gmem_fd = fd;
	log_debug("emulated realm: private memory in a guest_memfd, not mapped in realmtool");
}

static void *rsi_get(void *ctx, ipa_t ipa)
{
	return rsi_granule(ctx, ipa);
}

static void rsi_put(void *ctx, void *p)
{
	rsi_granule_put(ctx, p);
}

static int rsi_convert(void *ctx, ipa_t base, ipa_t top, enum ripas_state state, ipa_t *done)
{
	struct realm *r = ctx;

	return r->ops->convert(r, base, top, state, done);
}

static int rsi_rim(void *ctx, uint8_t rim[REALM_HASH_MAX])
{
	struct realm *r = ctx;

	return r->hooks.measure(r->hooks.ctx, rim);
}

static int rsi_token(void *ctx, struct token_request *rq, uint8_t *token, size_t *len)
{
	struct realm *r = ctx;
	struct err e;
	int ret = attest_token(r->attest, rq, token, len, &e);

	if (ret < 0)
		log_rated(&token_rate, LOG_WARNING, "RSI_ATTESTATION_TOKEN_INIT refused: %s", e.msg);
	return ret;
}

static const struct rsi_ops monitor_ops = {
	.granule = rsi_get,
	.granule_put = rsi_put,
	.convert = rsi_convert,
	.rim = rsi_rim,
	.token = rsi_token,
};

/* All of the RAM; with --emulated-strict what is RIPAS RAM when the realm starts. */
static int lower_slots(struct realm *r, struct err *e)
{
	ipa_t top = r->ram_base + r->ram_size;

	for (ipa_t at = r->ram_base, end; at < top; at = end) {
		enum ripas_state state = RIPAS_RAM;
		int ret = 0;

		end = r->strict ? ripas_run(&r->ripas, at, top, &state) : top;
		if (state == RIPAS_RAM)
			ret = slots_add(r->slots, at, end - at);
		if (ret < 0)
			return err_set(e, ret, "memory slot at %" PRIipa ": %s", at,
				       strerror(-ret));
	}
	return 0;
}

static int emu_add_ram(struct realm *r, struct err *e)
{
	const struct slots_ops lower = { lower_slot, r };
	struct kvm_slot alias = {
		.slot = r->next_slot++,
		.ipa = ipa_to_alias(&r->split, r->ram_base),
		.size = r->ram_size,
		.gmem = -1,
	};
	int ret;

	ret = realm_alloc_shared(r, true, e);
	if (ret < 0)
		return ret;
	private_memory(r);
	ret = realm_ripas(r, e);
	if (ret < 0)
		return ret;
	alias.host = r->shared;
	ret = kvm_set_slot(r->kvm, &alias, e);
	if (ret < 0)
		return ret;
	/* the lower slots take the numbers above; leave some for flash and the like */
	r->slots = slots_new(&lower, 64, LOWER_SLOTS_MAX);
	if (!r->slots)
		return err_set(e, -ENOMEM, "no memory for the list of slots");
	ret = lower_slots(r, e);
	if (ret < 0)
		return ret;
	r->rsi = (struct rsi){
		.ops = &monitor_ops,
		.ctx = r,
		.split = r->split,
		.ripas = &r->ripas,
		.algo = r->algo,
	};
	memcpy(r->rsi.rpv, r->rpv, sizeof(r->rpv));
	realm_guard(r);
	return gmem_add(r->gm, r->ram_base, r->ram_size, r->shared, r->shared_fd, e);
}

static int emu_populate(struct realm *r, const struct plan *p, struct err *e)
{
	for (unsigned int i = 0; i < p->nr; i++) {
		const struct plan_piece *piece = &p->piece[i];
		uint64_t off = piece->ipa - r->ram_base;
		uint64_t len = ALIGN_UP(piece->len, GRANULE_SIZE);
		void *dst = r->shared + off;
		int ret;

		if (r->gmem_fd >= 0) {
			dst = r->kvm->sys->mmap(len, PROT_READ | PROT_WRITE,
						MAP_SHARED | MAP_POPULATE, r->gmem_fd, off);
			if (dst == MAP_FAILED)
				return err_set(e, -errno, "%s: cannot map the private memory: %s",
					       piece->name, strerror(errno));
		}
		ret = realm_fill(r, piece, dst, e);
		if (r->gmem_fd >= 0)
			r->kvm->sys->munmap(dst, len);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* What cannot be given back is overwritten: the guest counts on finding nothing there. */
static int overwrite(struct realm *r, int fd, uint64_t off, uint64_t len)
{
	void *p;

	if (fd == r->shared_fd) {
		memset(r->shared + off, 0, len);
		return 0;
	}
	p = r->kvm->sys->mmap(len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, off);
	if (p == MAP_FAILED)
		return -errno;
	memset(p, 0, len);
	r->kvm->sys->munmap(p, len);
	return 0;
}

static void punch(struct realm *r, int fd, ipa_t base, uint64_t len)
{
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	uint64_t off = base - r->ram_base;
	int ret;

	do {
		ret = r->kvm->sys->fallocate(fd, mode, off, len);
	} while (ret == -EINTR);
	if (ret < 0)
		ret = overwrite(r, fd, off, len);
	if (ret < 0)
		log_rated(&convert_rate, LOG_WARNING, "cannot drop the old contents of %" PRIipa
			  " (%" PRIu64 " KiB): %s", base, len / 1024, strerror(-ret));
}

/* With --emulated-strict the slots change, and no vCPU may look while they do. */
static int strict_slots(struct realm *r, ipa_t base, uint64_t len, bool add)
{
	int ret;

	if (!r->strict)
		return 0;
	r->hooks.stop_vcpus(r->hooks.ctx);
	ret = add ? slots_add(r->slots, base, len) : slots_cut(r->slots, base, len);
	r->hooks.start_vcpus(r->hooks.ctx);
	if (ret == -ENOSPC)	/* seen before anything was changed */
		log_rated(&convert_rate, LOG_ERROR, "--emulated-strict: no more than %d stretches "
			  "of private memory", LOWER_SLOTS_MAX);
	else if (ret < 0)
		r->hooks.fatal(r->hooks.ctx, "--emulated-strict: KVM refused a memory slot; private "
			       "memory is gone from the guest");
	return ret;
}

static int dma_share(struct realm *r, ipa_t base, uint64_t len)
{
	struct err e;
	int ret = realm_dma_share(r, base, len, &e);

	if (ret == -ENOTRECOVERABLE)
		r->hooks.fatal(r->hooks.ctx, e.msg);
	else if (ret < 0)
		log_rated(&convert_rate, LOG_ERROR, "the guest cannot share memory with its devices: "
			  "%s", e.msg);
	return ret;
}

static int dma_unshare(struct realm *r, ipa_t base, uint64_t len)
{
	struct err e;
	int ret = realm_dma_unshare(r, base, len, &e);

	if (ret == -ENOTRECOVERABLE)
		r->hooks.fatal(r->hooks.ctx, e.msg);
	else if (ret < 0)
		log_rated(&convert_rate, LOG_ERROR, "the guest cannot take back what it shared: %s",
			  e.msg);
	return ret;
}

/*
 * A stretch that is RAM becomes EMPTY: its private contents are lost, devices may reach it. Those
 * that are assigned hold on to the pages that they find, so the old ones go first.
 */
static int make_shared(struct realm *r, ipa_t base, uint64_t len)
{
	int ret = strict_slots(r, base, len, false);

	if (ret < 0)
		return ret;
	punch(r, r->gmem_fd >= 0 ? r->gmem_fd : r->shared_fd, base, len);
	ret = dma_share(r, base, len);
	if (ret < 0) {
		strict_slots(r, base, len, true);
		return ret;
	}
	ripas_set(&r->ripas, base, len, RIPAS_EMPTY);
	r->stat.bytes_shared += len;
	return 0;
}

/*
 * A stretch that is EMPTY becomes RAM: first no device can enter, then those inside must leave,
 * then the assigned ones lose it.
 */
static int make_private(struct realm *r, ipa_t base, uint64_t len)
{
	int ret;

	gmem_exclude(r->gm);
	ripas_set(&r->ripas, base, len, RIPAS_RAM);
	gmem_admit(r->gm);
	ret = gmem_drain(r->gm, base, len, REALM_DRAIN_MS);
	if (!ret)
		ret = dma_unshare(r, base, len);
	if (!ret) {
		ret = strict_slots(r, base, len, true);
		if (ret < 0 && dma_share(r, base, len) < 0)
			r->hooks.fatal(r->hooks.ctx, "assigned devices have lost shared memory");
	}
	if (ret < 0) {
		if (ret == -ETIMEDOUT)
			log_rated(&convert_rate, LOG_ERROR, "device I/O on %" PRIipa " did not end "
				  "within %d s: the page stays shared", base, REALM_DRAIN_MS / 1000);
		ripas_set(&r->ripas, base, len, RIPAS_EMPTY);
		return ret;
	}
	if (!realm_dma_keeps(r, base, len))
		punch(r, r->shared_fd, base, len);
	r->stat.bytes_private += len;
	return 0;
}

static int emu_convert(struct realm *r, ipa_t base, ipa_t top, enum ripas_state state, ipa_t *done)
{
	static const struct trace_kind kind = {
		.cat = "conversion", .arg = { "#base", "#top", "error" },
	};
	uint64_t began = trace_begin();
	bool changed = false;
	ipa_t first = base;
	int ret = 0;

	*done = base;
	while (base < top && !ret) {
		enum ripas_state now;
		ipa_t end = ripas_run(&r->ripas, base, top, &now);

		/* What is in the wanted state already keeps its contents. */
		if (now != state) {
			ret = state == RIPAS_RAM ? make_private(r, base, end - base) :
						   make_shared(r, base, end - base);
			changed = true;
		} else if (state == RIPAS_EMPTY) {
			/* shared from the start on: it was not known that devices want it */
			ret = dma_share(r, base, end - base);
		}
		if (!ret)
			*done = base = end;
	}
	if (changed) {
		if (state == RIPAS_RAM)
			r->stat.to_private++;
		else
			r->stat.to_shared++;
	}
	trace_span(&kind, state == RIPAS_RAM ? "to private" : "to shared", began, NULL, first, top,
		   -ret);
	return ret;
}

/* HVC is undefined in a realm: what the hardware would do, done by hand. */
static int inject_undefined(struct kvm_vcpu *v)
{
	uint64_t pc, pstate, vbar, off;
	int ret;

	ret = kvm_get_reg(v, A64_PC, &pc);
	if (!ret)
		ret = kvm_get_reg(v, A64_PSTATE, &pstate);
	if (!ret)
		ret = kvm_get_reg(v, A64_VBAR_EL1, &vbar);
	if (ret)
		return ret;
	off = (pstate & 0xf) == 4 ? 0 : (pstate & 0xf) == 5 ? 0x200 : 0x400; /* EL1t, EL1h, EL0 */
	/* KVM has stepped over the HVC; the preferred return address is the HVC itself. */
	ret = kvm_set_reg(v, A64_ELR_EL1, pc - 4);
	if (!ret)
		ret = kvm_set_reg(v, A64_SPSR_EL1, pstate);
	if (!ret)
		ret = kvm_set_reg(v, A64_ESR_EL1, UINT64_C(1) << 25);	/* EC 0 (unknown), IL */
	if (!ret)
		ret = kvm_set_reg(v, A64_PSTATE, 0x3c5);		/* EL1h, DAIF masked */
	if (!ret)
		ret = kvm_set_reg(v, A64_PC, vbar + off);
	return ret;
}

static enum realm_exit hypercall(struct realm *r, struct kvm_vcpu *v)
{
	static const struct trace_kind kind = { .cat = "rsi", .arg = { "#x0", "#x1", "status" } };
	uint64_t x[RSI_NR_REGS], began, fid, x1;
	uint32_t written;

	if (!(a64_exit(v->run)->hypercall.flags & A64_HYPERCALL_SMC)) {
		return inject_undefined(v) < 0 ? REALM_EXIT_OTHER : REALM_EXIT_RUN;
	}
	for (unsigned int i = 0; i < RSI_NR_REGS; i++)
		if (kvm_get_reg(v, A64_X(i), &x[i]) < 0)
			return REALM_EXIT_OTHER;
	pthread_mutex_lock(&r->lock);
	if (psci_is_call(x[0])) {
		written = realm_psci(r, r->hooks.psci, r->hooks.ctx, v, x);
	} else {
		began = trace_begin();
		fid = x[0];
		x1 = x[1];
		written = rsi_call(&r->rsi, attest_rec(r->attest, v->id), x);
		trace_span(&kind, rsi_name(fid), began, NULL, fid, x1, x[0]);
		r->stat.rsi_calls++;
	}
	pthread_mutex_unlock(&r->lock);
	for (unsigned int i = 0; i < RSI_NR_REGS; i++)
		if (written & 1U << i && kvm_set_reg(v, A64_X(i), x[i]) < 0)
			return REALM_EXIT_OTHER;
	return REALM_EXIT_RUN;
}

static enum realm_exit emu_exit(struct realm *r, struct kvm_vcpu *v, ipa_t *ipa)
{
	ipa_t at;

	switch (v->run->exit_reason) {
	case KVM_EXIT_HYPERCALL:
		return hypercall(r, v);
	case KVM_EXIT_ARM_NISV:
		at = a64_exit(v->run)->nisv.fault_ipa;
		break;
	case KVM_EXIT_MMIO:
		at = v->run->mmio.phys_addr;
		if (ipa_is_alias(&r->split, at)) {
			*ipa = ipa_canonical(&r->split, at);
			return REALM_EXIT_MMIO;
		}
		if (at < r->ram_base && !atomic_exchange(&r->told_no_bit, true))
			log_warning("the guest touches a device at %" PRIipa " without the shared bit "
				    "and gets an external abort: its kernel, early console or firmware "
				    "does not know that this is a realm", at);
		break;
	default:
		return REALM_EXIT_OTHER;
	}
	log_rated(&abort_rate, LOG_DEBUG, "vCPU %u: access to %" PRIipa " %s: external abort", v->id,
		  at, v->run->exit_reason == KVM_EXIT_ARM_NISV ? "without a syndrome" :
		  "without the shared bit");
	return kvm_vcpu_abort(v) < 0 ? REALM_EXIT_OTHER : REALM_EXIT_RUN;
}

/* The numbers are measured. A host that cannot change them shows the guest its own. */
static int emu_vcpu(struct realm *r, struct kvm_vcpu *v, struct err *e)
{
	int ret = realm_pin_debug(r, v, e);

	/* what is measured is what was asked for */
	if (ret != -EOPNOTSUPP && ret != -EINVAL)
		return ret;
	if (v->id == 0)
		log_debug("emulated realm: %s", e->msg);
	return 0;
}

static void emu_destroy(struct realm *r)
{
	attest_close(r->attest);
	r->attest = NULL;
	slots_free(r->slots);
	r->slots = NULL;
}

const struct realm_ops realm_emulated = {
	.name = "emulated",
	.io_at_alias = true,
	.create = emu_create,
	.add_ram = emu_add_ram,
	.configure = emu_configure,
	.vcpu = emu_vcpu,
	.populate = emu_populate,
	.exit = emu_exit,
	.convert = emu_convert,
	.destroy = emu_destroy,
};
