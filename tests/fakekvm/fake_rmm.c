// SPDX-License-Identifier: BSD-3-Clause
/*
 * The RMM under the model of KVM: granules, RIPAS, RECs, what a realm's guest sees, and the Realm
 * Initial Measurement. The formulas are written down here a second time, from the specification
 * (RmmMeasurementDescriptorData, ...Rec, ...Ripas), so that realm/rim.c is tested against them.
 */
#include "tests/fakekvm/fake_int.h"

#include <errno.h>
#include <string.h>

#ifdef HAVE_CRYPTO
#include <openssl/sha.h>
#endif

#include "realm/rsi.h"

#define PSCI_FN(x)	((uint32_t)(x) & 0x1f)

/* ---- measurement ----------------------------------------------------------------------------- */

static unsigned int digest(enum realm_hash algo, const void *p, size_t len, uint8_t out[64])
{
	memset(out, 0, 64);
#ifdef HAVE_CRYPTO
	if (algo == REALM_SHA256)
		SHA256(p, len, out);
	else if (algo == REALM_SHA384)
		SHA384(p, len, out);
	else
		SHA512(p, len, out);
#else
	(void)p;
	(void)len;
#endif
	return algo == REALM_SHA256 ? 32 : algo == REALM_SHA384 ? 48 : 64;
}

static void le64(uint8_t *p, uint64_t v)
{
	for (unsigned int i = 0; i < 64; i += 8)
		*p++ = v >> i;
}

/* One descriptor: type, two words at 0x50, and a digest behind them or instead of them. */
static void extend(struct fake_realm *r, uint8_t type, const uint64_t word[2], const uint8_t *hash,
		   unsigned int hash_at)
{
	uint8_t d[256] = { type };

	le64(d + 8, sizeof(d));
	memcpy(d + 16, r->rim, 64);
	if (word) {
		le64(d + 0x50, word[0]);
		le64(d + 0x58, word[1]);
	}
	if (hash)
		memcpy(d + hash_at, hash, 64);
	digest(r->algo, d, sizeof(d), r->rim);
}

static bool has_pmu(const struct fake_vm *vm)
{
	return vm->features >> A64_VCPU_PMU_V3 & 1;
}

/* All vCPUs with SVE must have one and the same longest vector. Return: VQ, 0: none, < 0: not so */
static int sve_vq(struct fake_vm *vm)
{
	int vq = 0;

	if (!(vm->features >> A64_VCPU_SVE & 1))
		return 0;
	for (unsigned int i = 0; i < FAKE_MAX_CPUS; i++) {
		struct fake_cpu *c = vm->cpu[i];
		int n = 0;

		if (!c)
			continue;
		if (!c->finalized)
			return -EINVAL;
		for (uint64_t vls = fake_get(c, A64_SVE_VLS); vls; vls >>= 1)
			n++;
		if (vq && n != vq)
			return -EINVAL;
		vq = n;
	}
	return vq;
}

/* RMI_REALM_CREATE */
int fake_rmm_create(struct fake_vm *vm)
{
	struct fake_realm *r = vm->realm;
	uint8_t page[4096] = { 0 };
	unsigned int bps = r->dfr0 >> 12 & 0xf, wps = r->dfr0 >> 20 & 0xf;
	int vq = sve_vq(vm);

	if (vq < 0)
		return vq;
	/* the ID registers are zero before the first KVM_ARM_VCPU_INIT; the RMM refuses 0 */
	if (!vm->have_features || !bps || !wps)
		return -ENXIO;
	if (has_pmu(vm) && fake_rmi.api >= FAKE_API_C)
		return -ENXIO;
	if (!(fake_rmi.algos & 1U << r->algo))
		return -ENXIO;
	le64(page, (vq ? 2 : 0) | (has_pmu(vm) ? 4 : 0));
	page[0x08] = vm->bits;
	page[0x10] = vq ? vq - 1 : 0;
	page[0x18] = MIN(bps, fake_rmi.breakpoints - 1);
	page[0x20] = MIN(wps, fake_rmi.watchpoints - 1);
	page[0x28] = has_pmu(vm) ? fake_host.pmu_counters : 0;
	page[0x30] = r->algo;
	if (fake_rmi.dialect == FAKE_RIM_C)
		memset(r->rim, 0, sizeof(r->rim));
	else
		digest(r->algo, page, sizeof(page), r->rim);
	r->state = FAKE_REALM_NEW;
	return 0;
}

/* RMI_REC_CREATE */
int fake_rmm_rec(struct fake_cpu *c, bool runnable)
{
	struct fake_realm *r = c->vm->realm;
	uint8_t page[4096] = { 0 }, hash[64];

	if (c->rec || !c->inited || r->state != FAKE_REALM_NEW)
		return -ENXIO;
	/* in the order of their MPIDRs */
	if (c->id != r->recs)
		return -ENXIO;
	r->recs++;
	c->rec = true;
	c->runnable = runnable;
	if (!runnable)
		return 0;
	page[0] = 1;
	le64(page + 0x200, fake_get(c, A64_PC));
	for (unsigned int i = 0; i < 8; i++)
		le64(page + 0x300 + 8 * i, fake_get(c, A64_X(i)));
	digest(r->algo, page, sizeof(page), hash);
	extend(r, 1, NULL, hash, 0x50);
	return 0;
}

/* ---- translation tables: their shape enters the measurement of RMM 1.0 ----------------------- */

static uint64_t entry_size(unsigned int level)
{
	return UINT64_C(1) << (12 + 9 * (3 - level));
}

/* Up to 16 tables stand side by side at the start level. */
static unsigned int start_level(const struct fake_vm *vm)
{
	return vm->bits >= 44 ? 0 : vm->bits >= 35 ? 1 : 2;
}

static uint8_t *table(struct fake_vm *vm, ipa_t ipa, unsigned int level)
{
	return fake_page(vm->realm, ALIGN_DOWN(ipa, entry_size(level - 1)));
}

static unsigned int walk(struct fake_vm *vm, ipa_t ipa)
{
	unsigned int level = start_level(vm);

	while (level < 3 && *table(vm, ipa, level + 1) & P_TABLE << level)
		level++;
	return level;
}

static void make_tables(struct fake_vm *vm, ipa_t ipa, unsigned int level)
{
	for (unsigned int l = start_level(vm) + 1; l <= level; l++)
		*table(vm, ipa, l) |= P_TABLE << (l - 1);
}

/* ---- granules and RIPAS ---------------------------------------------------------------------- */

uint8_t *fake_page(struct fake_realm *r, ipa_t ipa)
{
	return &r->page[ipa / SZ_4K];
}

static void set_ripas(uint8_t *page, enum fake_ripas ripas)
{
	*page = (*page & ~P_RIPAS) | ripas;
}

uint8_t *fake_private_mem(const struct fake_slot *s, ipa_t ipa)
{
	return s->gmem->map + s->gmem_off + (ipa - s->ipa);
}

static uint8_t *granule(const struct fake_slot *s, ipa_t ipa)
{
	return &s->gmem->page[(s->gmem_off + (ipa - s->ipa)) / SZ_4K];
}

static void map_granule(struct fake_vm *vm, struct fake_slot *s, ipa_t ipa)
{
	*granule(s, ipa) |= G_DELEGATED;
	*fake_page(vm->realm, ipa) |= P_DATA;
	make_tables(vm, ipa, 3);
}

/* RMI_DATA_CREATE, RMI_RTT_DATA_MAP_INIT */
int fake_rmm_data(struct fake_vm *vm, struct fake_slot *s, ipa_t ipa, const void *content,
		  bool measure)
{
	const uint64_t word[2] = { ipa, measure };
	uint8_t hash[64];

	if (*fake_page(vm->realm, ipa) & P_DATA || *granule(s, ipa) & G_DELEGATED)
		return -ENXIO;
	memcpy(fake_private_mem(s, ipa), content, SZ_4K);
	map_granule(vm, s, ipa);
	set_ripas(fake_page(vm->realm, ipa), FAKE_RAM);
	digest(vm->realm->algo, content, SZ_4K, hash);
	extend(vm->realm, 0, word, measure ? hash : NULL, 0x60);
	return 0;
}

/* RMI_RTT_INIT_RIPAS, as KVM calls it: make the tables the range needs, then entry by entry */
int fake_rmm_init_ripas(struct fake_vm *vm, ipa_t base, ipa_t top)
{
	while (base < top) {
		unsigned int level = walk(vm, base), want = 3;
		uint64_t size = entry_size(level);

		if (!IS_ALIGNED(base, size) || base + size > top) {
			while (want > start_level(vm) && IS_ALIGNED(base, entry_size(want - 1)) &&
			       base + entry_size(want - 1) <= top)
				want--;
			if (want <= level)
				return -ENXIO;
			make_tables(vm, base, want);
			continue;
		}
		/* stops at a granule with data, which is RAM already; KVM steps over it */
		if (*fake_page(vm->realm, base) & P_DATA) {
			base += size;
			continue;
		}
		for (ipa_t p = base; p < base + size; p += SZ_4K) {
			if ((*fake_page(vm->realm, p) & P_RIPAS) == FAKE_DESTROYED)
				return -ENXIO;
			set_ripas(fake_page(vm->realm, p), FAKE_RAM);
		}
		if (fake_rmi.dialect == FAKE_RIM_A) {
			const uint64_t word[2] = { base, base + size };

			extend(vm->realm, 2, word, NULL, 0);
		}
		base += size;
	}
	return 0;
}

/* RMI_DATA_DESTROY and undelegation: contents are lost, and what was RAM is DESTROYED */
void fake_rmm_unmap(struct fake_vm *vm, ipa_t base, uint64_t len)
{
	struct fake_realm *r = vm->realm;

	for (ipa_t p = base; p < base + len && p < r->top; p += SZ_4K) {
		uint8_t *page = fake_page(r, p);
		struct fake_slot *s;

		if (!(*page & P_DATA))
			continue;
		*page &= ~P_DATA;
		if ((*page & P_RIPAS) == FAKE_RAM)
			set_ripas(page, FAKE_DESTROYED);
		s = fake_find_slot(vm, p, 1);
		if (s && s->gmem) {
			memset(fake_private_mem(s, p), 0, SZ_4K);
			*granule(s, p) &= ~G_DELEGATED;
		}
	}
}

/* ---- a guest's accesses ---------------------------------------------------------------------- */

static enum fake_after sea(struct fake_cpu *c, struct fake_op *op)
{
	op->aborted = true;
	fake_answer(c);
	return AGAIN;
}

static enum fake_after memory_fault(struct fake_cpu *c, bool private, ipa_t gpa, uint64_t size,
				    int *ret)
{
	union a64_exit *x = a64_exit(c->run);

	x->memory_fault.flags = private ? A64_MEMORY_FAULT_PRIVATE : 0;
	x->memory_fault.gpa = gpa;
	x->memory_fault.size = size;
	c->run->exit_reason = KVM_EXIT_MEMORY_FAULT;
	*ret = -EFAULT;
	return LEAVE;
}

/* The guest meets a granule that is not there: KVM provides it, or asks user space. */
static bool fault_in(struct fake_vm *vm, struct fake_slot *s, ipa_t ipa)
{
	ipa_t page = ALIGN_DOWN(ipa, SZ_4K);
	bool attr = fake_rmi.api >= FAKE_API_D ? !(s && s->gmem && *granule(s, page) & G_SHARED) :
		    (*fake_page(vm->realm, page) & P_PRIVATE) != 0;

	if (!s || !s->gmem || !attr)
		return false;
	memset(fake_private_mem(s, page), 0, SZ_4K);
	map_granule(vm, s, page);
	return true;
}

static enum fake_after protected_half(struct fake_cpu *c, struct fake_op *op, int *ret)
{
	struct fake_vm *vm = c->vm;
	uint8_t *page = fake_page(vm->realm, op->ipa);
	struct fake_slot *s = fake_find_slot(vm, op->ipa, op->len);

	switch (*page & P_RIPAS) {
	case FAKE_EMPTY:
		return sea(c, op);
	case FAKE_DESTROYED:
		fake_complain("vCPU %u: private page %" PRIipa " was taken from under the guest",
			      c->id, op->ipa);
		return sea(c, op);
	}
	if (!(*page & P_DATA) && !fault_in(vm, s, op->ipa))
		return memory_fault(c, true, ALIGN_DOWN(op->ipa, SZ_4K), SZ_4K, ret);
	fake_copy(op, fake_private_mem(s, op->ipa));
	fake_answer(c);
	return AGAIN;
}

static enum fake_after shared_half(struct fake_cpu *c, struct fake_op *op, int *ret)
{
	struct fake_vm *vm = c->vm;
	ipa_t ipa = op->ipa & ~vm->realm->top;
	struct fake_slot *s = fake_find_slot(vm, ipa, op->len);

	if (!s) {
		/* KVM cannot emulate without a syndrome */
		if (!op->isv)
			return sea(c, op);
		op->ipa = ipa;
		return fake_io(c, op);
	}
	if (s->gmem && fake_rmi_gmem_only(s)) {
		if (!(*granule(s, ipa) & G_SHARED))
			return memory_fault(c, false, ALIGN_DOWN(ipa, SZ_4K), SZ_4K, ret);
		fake_copy(op, fake_private_mem(s, ipa));
	} else if (!s->host) {
		*ret = -EFAULT;		/* with exit reason 0 */
		fake_answer(c);
		return LEAVE;
	} else {
		fake_copy(op, s->host + (ipa - s->ipa));
	}
	fake_answer(c);
	return AGAIN;
}

/* ---- a guest's calls ------------------------------------------------------------------------- */

static enum fake_after result(struct fake_cpu *c, struct fake_op *op, uint64_t x0)
{
	op->x[0] = x0;
	fake_answer(c);
	return AGAIN;
}

/* RAM of the realm, for the RMM to read or write; it must be there (the RMM would exit first) */
static uint8_t *realm_ram(struct fake_cpu *c, ipa_t ipa, uint64_t align)
{
	struct fake_realm *r = c->vm->realm;
	struct fake_slot *s = fake_find_slot(c->vm, ipa, SZ_4K);

	if (ipa >= r->top || !IS_ALIGNED(ipa, align) || !s || !s->gmem ||
	    (*fake_page(r, ipa) & P_RIPAS) != FAKE_RAM)
		return NULL;
	if (!(*fake_page(r, ipa) & P_DATA) && !fault_in(c->vm, s, ipa))
		return NULL;
	return fake_private_mem(s, ipa);
}

static enum fake_after realm_config(struct fake_cpu *c, struct fake_op *op)
{
	uint8_t *p = realm_ram(c, op->x[1], SZ_4K);

	if (!p)
		return result(c, op, RSI_ERROR_INPUT);
	memset(p, 0, SZ_4K);
	le64(p, c->vm->bits);
	p[8] = c->vm->realm->algo;
	memcpy(p + 0x200, c->vm->realm->rpv, 64);
	return result(c, op, RSI_SUCCESS);
}

static enum fake_after measurement(struct fake_cpu *c, struct fake_op *op)
{
	if (op->x[1] > 4)
		return result(c, op, RSI_ERROR_INPUT);
	memset(&op->x[1], 0, 64);
	if (!op->x[1])
		memcpy(&op->x[1], c->vm->realm->rim, 64);
	return result(c, op, RSI_SUCCESS);
}

static enum fake_after state_get(struct fake_cpu *c, struct fake_op *op)
{
	struct fake_realm *r = c->vm->realm;
	ipa_t base = op->x[1], top = op->x[2], p;

	if (!IS_ALIGNED(base, SZ_4K) || !IS_ALIGNED(top, SZ_4K) || top <= base || top > r->top)
		return result(c, op, RSI_ERROR_INPUT);
	for (p = base; p < top; p += SZ_4K)
		if ((*fake_page(r, p) & P_RIPAS) != (*fake_page(r, base) & P_RIPAS))
			break;
	op->x[1] = p;
	op->x[2] = *fake_page(r, base) & P_RIPAS;
	return result(c, op, RSI_SUCCESS);
}

/* Do the attributes of the guest_memfds agree with a change, and if not, where not? */
static bool attributes_agree(struct fake_vm *vm, ipa_t base, ipa_t top, bool ram)
{
	for (ipa_t p = base; p < top; p += SZ_4K) {
		struct fake_slot *s = fake_find_slot(vm, p, 1);

		if (!s) {
			/* nothing to agree with up to the next slot */
			ipa_t next = top;

			for (unsigned int i = 0; i < vm->nr_slots; i++)
				if (vm->slot[i].ipa > p)
					next = MIN(next, vm->slot[i].ipa);
			p = next - SZ_4K;
		} else if (s->gmem && s->gmem->flags & GUEST_MEMFD_FLAG_MMAP &&
			   ram == ((*granule(s, p) & G_SHARED) != 0)) {
			return false;
		}
	}
	return true;
}

/* The vCPU is entered again: KVM commits what the guest asked for. */
static enum fake_after commit(struct fake_cpu *c, struct fake_op *op, int *ret)
{
	struct fake_realm *r = c->vm->realm;
	ipa_t p, base = c->change.base, top = c->change.top;

	if (fake_rmi.ripas_reject) {
		/* the first time KVM_RUN fails, the second time the guest is told */
		if (!c->change.again++) {
			*ret = -EINVAL;
			return LEAVE;
		}
		fake_rmi.ripas_reject--;
		top = base;
	} else if (fake_rmi.change_again || (fake_rmi.recheck &&
		   !attributes_agree(c->vm, base, top, c->change.ram))) {
		fake_rmi.change_again -= fake_rmi.change_again != 0;
		if (++c->change.again > 1000) {
			fake_complain("vCPU %u: %" PRIipa " to %" PRIipa " was asked for a "
				      "thousand times", c->id, base, top);
			top = base;
		} else {
			memory_fault(c, c->change.ram, base, top - base, ret);
			if (fake_rmi.fault_is_0)
				*ret = 0;
			return LEAVE;
		}
	}
	if (fake_rmi.ripas_max)
		top = MIN(top, base + fake_rmi.ripas_max);
	for (p = base; p < top; p += SZ_4K) {
		uint8_t *page = fake_page(r, p);

		if ((*page & P_RIPAS) == FAKE_DESTROYED && !c->change.destroyed)
			break;
		set_ripas(page, c->change.ram ? FAKE_RAM : FAKE_EMPTY);
		if (!c->change.ram && *page & P_DATA)
			fake_rmm_unmap(c->vm, p, SZ_4K);
	}
	c->change.pending = false;
	op->x[1] = p;
	op->x[2] = p > base ? RSI_ACCEPT : RSI_REJECT;
	return result(c, op, RSI_SUCCESS);
}

static enum fake_after state_set(struct fake_cpu *c, struct fake_op *op, int *ret)
{
	ipa_t base = op->x[1], top = op->x[2];

	if (!IS_ALIGNED(base, SZ_4K) || !IS_ALIGNED(top, SZ_4K) || top <= base ||
	    top > c->vm->realm->top || op->x[3] > 1 || op->x[4] > 1)
		return result(c, op, RSI_ERROR_INPUT);
	memset(&c->change, 0, sizeof(c->change));
	c->change.pending = true;
	c->change.base = base;
	c->change.top = top;
	c->change.ram = op->x[3] == RIPAS_RAM;
	c->change.destroyed = op->x[4] == 1;
	return memory_fault(c, c->change.ram, base, top - base, ret);
}

/* Out to user space with the registers, if the filter says so. */
static enum fake_after hypercall(struct fake_cpu *c, const uint64_t *x, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		fake_put(c, A64_X(i), x[i]);
	a64_exit(c->run)->hypercall.nr = (uint32_t)x[0];
	a64_exit(c->run)->hypercall.flags = A64_HYPERCALL_SMC;
	return fake_leave(c, KVM_EXIT_HYPERCALL);
}

/* struct RsiHostCall: imm, then 31 registers. KVM knows no such call unless it is forwarded. */
static enum fake_after host_call(struct fake_cpu *c, struct fake_op *op)
{
	uint8_t *p = realm_ram(c, ALIGN_DOWN(op->x[1], SZ_4K), SZ_4K);
	uint64_t regs[7];

	if (!p || !IS_ALIGNED(op->x[1], 256))
		return result(c, op, RSI_ERROR_INPUT);
	p += op->x[1] % SZ_4K + 8;
	memcpy(regs, p, sizeof(regs));
	if (fake_filter(c->vm, regs[0]) == A64_SMCCC_FWD_TO_USER)
		return hypercall(c, regs, ARRAY_SIZE(regs));
	le64(p, SMCCC_NOT_SUPPORTED);
	return result(c, op, RSI_SUCCESS);
}

/* ---- PSCI: the RMM answers what it can, the host is asked about other vCPUs ------------------ */

static struct fake_cpu *cpu_of_mpidr(struct fake_vm *vm, uint64_t mpidr)
{
	for (unsigned int i = 0; i < FAKE_MAX_CPUS; i++)
		if (vm->cpu[i] && vm->cpu[i]->rec &&
		    !((fake_get(vm->cpu[i], A64_MPIDR_EL1) ^ mpidr) & MPIDR_AFFINITY_MASK))
			return vm->cpu[i];
	return NULL;
}

/* RMI_PSCI_COMPLETE */
int fake_rmm_psci_complete(struct fake_cpu *c, int32_t status)
{
	struct fake_cpu *t = c->psci.target;
	struct fake_op *op = c->op;

	if (!c->psci.pending || c->psci.told || !op)
		return -EINVAL;
	/* SUCCESS, or to switch on a CPU can be DENIED; all else the RMM knows better */
	if (status && (status != -3 || PSCI_FN(op->x[0]) == 4))
		return -EINVAL;
	c->psci.told = true;
	if (PSCI_FN(op->x[0]) == 4) {		/* AFFINITY_INFO */
		c->psci.result = t->runnable ? 0 : 1;
		return 0;
	}
	if (t->runnable) {
		c->psci.result = -4;		/* ALREADY_ON */
		return 0;
	}
	c->psci.result = status;
	if (status)
		return 0;
	fake_stop_guest(t);			/* it begins anew */
	fake_put(t, A64_PC, op->x[2]);
	fake_put(t, A64_X(0), op->x[3]);
	t->runnable = true;
	return 0;
}

static enum fake_after psci_about(struct fake_cpu *c, struct fake_op *op, bool user)
{
	struct fake_cpu *t = cpu_of_mpidr(c->vm, op->x[1]);
	bool on = PSCI_FN(op->x[0]) == 3;

	if (!t)
		return result(c, op, (uint64_t)-2);	/* INVALID_PARAMETERS */
	if (on && (op->x[2] >= c->vm->realm->top))
		return result(c, op, (uint64_t)-9);	/* INVALID_ADDRESS */
	if (t == c)
		return result(c, op, on ? (uint64_t)-4 : 0);
	memset(&c->psci, 0, sizeof(c->psci));
	c->psci.pending = true;
	c->psci.target = t;
	if (user)
		return hypercall(c, op->x, 4);
	/* KVM itself: it switches its vCPU on and tells the RMM */
	fake_rmm_psci_complete(c, 0);
	c->psci.pending = false;
	if (on && !c->psci.result) {
		t->powered = true;
		fake_wake(t);
	}
	return result(c, op, c->psci.result);
}

static enum fake_after psci(struct fake_cpu *c, struct fake_op *op)
{
	bool user = fake_filter(c->vm, op->x[0]) == A64_SMCCC_FWD_TO_USER;
	bool reset = PSCI_FN(op->x[0]) == 9;

	switch (PSCI_FN(op->x[0])) {
	case 0:				/* VERSION */
		return result(c, op, 0x10001);
	case 10:			/* FEATURES */
		return result(c, op, op->x[1] == 0x80000000 || PSCI_FN(op->x[1]) <= 10 ? 0 : -1);
	case 2:				/* CPU_OFF */
		c->runnable = false;
		if (user)
			return hypercall(c, op->x, 4);
		c->powered = false;
		return AGAIN;
	case 3:
	case 4:
		return psci_about(c, op, user);
	case 8:
	case 9:
		c->vm->realm->state = FAKE_REALM_OFF;
		if (user)
			return hypercall(c, op->x, 4);
		return fake_system_end(c, reset ? KVM_SYSTEM_EVENT_RESET :
				       KVM_SYSTEM_EVENT_SHUTDOWN);
	case 1:				/* CPU_SUSPEND */
		if (user)
			return hypercall(c, op->x, 4);
		return result(c, op, 0);
	default:
		return result(c, op, SMCCC_NOT_SUPPORTED);
	}
}

/* User space has answered a call that was forwarded to it. */
void fake_rec_complete(struct fake_cpu *c, struct fake_op *op)
{
	uint64_t x0 = fake_get(c, A64_X(0));

	if ((uint32_t)op->x[0] == RSI_HOST_CALL) {
		uint8_t *p = realm_ram(c, ALIGN_DOWN(op->x[1], SZ_4K), SZ_4K);

		for (unsigned int i = 0; p && i < 31; i++)
			le64(p + op->x[1] % SZ_4K + 8 + 8 * i, fake_get(c, A64_X(i)));
		x0 = RSI_SUCCESS;
	}
	if (c->psci.pending) {
		if (!c->psci.told && fake_rmi.api < FAKE_API_C)
			fake_complain("vCPU %u runs before the RMM was told the outcome of its "
				      "PSCI call", c->id);
		/* since v14 KVM does it, from the result that user space has put into x0 */
		if (!c->psci.told)
			fake_rmm_psci_complete(c, PSCI_FN(op->x[0]) == 4 || !x0 ||
					       x0 == (uint64_t)-4 ? 0 : -3);
		c->psci.pending = false;
		x0 = c->psci.result;
	}
	op->x[0] = x0;
	for (unsigned int i = 1; i < 4; i++)
		op->x[i] = 0;
}

static enum fake_after rec_call(struct fake_cpu *c, struct fake_op *op, int *ret)
{
	uint32_t fn = op->x[0];

	if (op->hvc)
		return sea(c, op);	/* undefined, which is more than this model has */
	if ((fn & ~0x4000001fU) == 0x84000000)
		return psci(c, op);
	switch (fn) {
	case 0x80000000:		/* SMCCC_VERSION */
		return result(c, op, 0x10002);
	case RSI_VERSION:
		op->x[1] = 0x10000;
		op->x[2] = 0x10001;
		return result(c, op, RSI_SUCCESS);
	case RSI_FEATURES:
		op->x[1] = 0;
		return result(c, op, RSI_SUCCESS);
	case RSI_MEASUREMENT_READ:
		return measurement(c, op);
	case RSI_REALM_CONFIG:
		return realm_config(c, op);
	case RSI_IPA_STATE_GET:
		return state_get(c, op);
	case RSI_IPA_STATE_SET:
		return state_set(c, op, ret);
	case RSI_HOST_CALL:
		return host_call(c, op);
	default:
		return result(c, op, SMCCC_NOT_SUPPORTED);
	}
}

enum fake_after fake_rec_op(struct fake_cpu *c, struct fake_op *op, int *ret)
{
	if (c->change.pending)
		return commit(c, op, ret);
	if (op->what == OP_SMC)
		return rec_call(c, op, ret);
	if (op->ipa + op->len > c->vm->realm->top * 2)
		return sea(c, op);
	return op->ipa < c->vm->realm->top ? protected_half(c, op, ret) : shared_half(c, op, ret);
}
