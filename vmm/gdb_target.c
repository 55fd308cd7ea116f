// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/gdb_target.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/arm64_walk.h"
#include "vmm/core/log.h"

/* BRK #0; the immediate of any BRK is in bits 20:5. */
#define INSN_BRK		0xd4200000u
#define INSN_BRK_MASK		0xffe0001fu

/* ESR_ELx.EC, Arm ARM D24.2.37 */
#define ESR_EC(esr)		((esr) >> 26)
#define EC_BREAKPOINT_LOWER	0x30
#define EC_STEP_LOWER		0x32
#define EC_WATCHPOINT_LOWER	0x34
#define EC_BRK64		0x3c

/* PSTATE as SPSR_EL1 has it, Arm ARM C5.2.20 */
#define PSTATE_M_MASK		0x1full
#define PSTATE_EL1H		0x5ull
#define PSTATE_F		(1ull << 6)
#define PSTATE_I		(1ull << 7)
#define PSTATE_DAIF		(0xfull << 6)
#define PSTATE_SS		(1ull << 21)
#define PSTATE_PAN		(1ull << 22)
#define PSTATE_DIT		(1ull << 24)
#define PSTATE_TCO		(1ull << 25)
#define PSTATE_SSBS		(1ull << 12)
#define PSTATE_NZCV		(0xfull << 28)
#define SCTLR_SPAN		(1ull << 23)
#define SCTLR_DSSBS		(1ull << 44)

/*
 * DBGBCR<n>_EL1: BAS all four bytes, PMC 0b11 with HMC 0 (EL1 and EL0), E. Arm ARM D24.3.
 * DBGWCR<n>_EL1: MASK [28:24], BAS [12:5], LSC [4:3], PAC 0b11 (EL1 and EL0) [2:1], E.
 */
#define BCR_VALUE		(0xfull << 5 | 3ull << 1 | 1)
#define WCR_MASK_SHIFT		24
#define WCR_BAS_SHIFT		5
#define WCR_LSC_SHIFT		3
#define WCR_EL01_ENABLE		(3ull << 1 | 1)
#define WCR_LSC_LOAD		1ull
#define WCR_LSC_STORE		2ull

/* The largest range that DBGWCR.MASK can express. */
#define WATCH_MAX_LOG2		31

int gdb_target_init(struct gdb_target *t, const struct gdb_target_ops *ops, void *ctx)
{
	memset(t, 0, sizeof(*t));
	t->ops = ops;
	t->ctx = ctx;
	t->nr_cpus = ops->nr_cpus(ctx);
	if (!t->nr_cpus)
		return -EINVAL;
	ops->nr_hw(ctx, &t->nr_bps, &t->nr_wps);
	t->nr_bps = MIN(t->nr_bps, (unsigned int)GDB_MAX_HW);
	t->nr_wps = MIN(t->nr_wps, (unsigned int)GDB_MAX_HW);
	t->cpu = calloc(t->nr_cpus, sizeof(*t->cpu));
	return t->cpu ? 0 : -ENOMEM;
}

void gdb_target_free(struct gdb_target *t)
{
	free(t->cpu);
	t->cpu = NULL;
}

/* ---- registers and memory -------------------------------------------------------------------- */

int gdb_target_reg(struct gdb_target *t, unsigned int cpu, enum gdb_reg reg, uint64_t *val)
{
	struct gdb_regval v = { 0 };
	int ret = t->ops->get_reg(t->ctx, cpu, reg, &v);

	*val = v.lo;
	return ret;
}

int gdb_target_set_reg(struct gdb_target *t, unsigned int cpu, enum gdb_reg reg, uint64_t val)
{
	struct gdb_regval v = { .lo = val };

	return t->ops->set_reg(t->ctx, cpu, reg, &v);
}

static int mmu_get(struct gdb_target *t, unsigned int cpu, struct arm64_mmu *m)
{
	int ret;

	ret = gdb_target_reg(t, cpu, GDB_REG_SCTLR_EL1, &m->sctlr);
	if (!ret)
		ret = gdb_target_reg(t, cpu, GDB_REG_TCR_EL1, &m->tcr);
	if (!ret)
		ret = gdb_target_reg(t, cpu, GDB_REG_TTBR0_EL1, &m->ttbr[0]);
	if (!ret)
		ret = gdb_target_reg(t, cpu, GDB_REG_TTBR1_EL1, &m->ttbr[1]);
	return ret;
}

static int read_table(void *ctx, ipa_t ipa, void *buf, size_t len)
{
	struct gdb_target *t = ctx;

	return t->ops->read_ipa(t->ctx, ipa, buf, len);
}

/* One piece of an access: at most @want bytes, within one page of 4 KiB. */
static int translate(struct gdb_target *t, const struct arm64_mmu *m, uint64_t va, size_t want,
		     ipa_t *ipa, size_t *len)
{
	uint64_t left;
	int ret;

	ret = arm64_walk(m, va, read_table, t, ipa, &left);
	if (ret < 0)
		return ret;
	left = MIN(left, SZ_4K - (*ipa & (SZ_4K - 1)));
	*len = MIN(left, want);
	return 0;
}

static bool patched(const struct gdb_breakpoint *b)
{
	return b->used && !b->in_hw;
}

/* The part of a patch that lies in [ipa, ipa + len): bytes from *first up to *end of its four. */
static bool patch_overlap(const struct gdb_breakpoint *b, ipa_t ipa, size_t len,
			  unsigned int *first, unsigned int *end)
{
	if (!patched(b) || b->ipa + 4 <= ipa || b->ipa >= ipa + len)
		return false;
	*first = b->ipa < ipa ? (unsigned int)(ipa - b->ipa) : 0;
	*end = (unsigned int)MIN(4ull, ipa + len - b->ipa);
	return true;
}

ssize_t gdb_target_read(struct gdb_target *t, unsigned int cpu, uint64_t va, void *buf, size_t len)
{
	uint8_t *out = buf;
	struct arm64_mmu m;
	size_t done = 0, n;
	ipa_t ipa;
	int ret;

	ret = mmu_get(t, cpu, &m);
	if (ret < 0)
		return ret;
	for (; done < len; done += n) {
		ret = va + done < va ? -EFAULT :	/* wrapped */
		      translate(t, &m, va + done, len - done, &ipa, &n);
		if (!ret)
			ret = t->ops->read_ipa(t->ctx, ipa, out + done, n);
		if (ret < 0)
			return done ? (ssize_t)done : ret;

		for (size_t i = 0; i < ARRAY_SIZE(t->bp); i++) {
			const struct gdb_breakpoint *b = &t->bp[i];
			uint32_t le = htole32(b->orig);
			unsigned int first, end;

			if (patch_overlap(b, ipa, n, &first, &end))
				memcpy(out + done + (b->ipa + first - ipa), (uint8_t *)&le + first,
				       end - first);
		}
	}
	return (ssize_t)done;
}

static int write_piece(struct gdb_target *t, ipa_t ipa, const uint8_t *data, size_t len)
{
	const uint32_t brk = htole32(INSN_BRK);
	uint8_t piece[SZ_4K];
	unsigned int first, end;
	int ret;

	memcpy(piece, data, len);
	for (size_t i = 0; i < ARRAY_SIZE(t->bp); i++)
		if (patch_overlap(&t->bp[i], ipa, len, &first, &end))
			memcpy(piece + (t->bp[i].ipa + first - ipa), (const uint8_t *)&brk + first,
			       end - first);
	ret = t->ops->write_ipa(t->ctx, ipa, piece, len);
	if (ret < 0)
		return ret;
	for (size_t i = 0; i < ARRAY_SIZE(t->bp); i++) {
		struct gdb_breakpoint *b = &t->bp[i];
		uint32_t le = htole32(b->orig);

		if (!patch_overlap(b, ipa, len, &first, &end))
			continue;
		memcpy((uint8_t *)&le + first, data + (b->ipa + first - ipa), end - first);
		b->orig = le32toh(le);
	}
	return 0;
}

int gdb_target_write(struct gdb_target *t, unsigned int cpu, uint64_t va, const void *buf,
		     size_t len)
{
	const uint8_t *data = buf;
	struct arm64_mmu m;
	size_t n;
	ipa_t ipa;
	int ret;

	ret = mmu_get(t, cpu, &m);
	for (size_t done = 0; !ret && done < len; done += n) {
		n = 0;
		ret = va + done < va ? -EFAULT :
		      translate(t, &m, va + done, len - done, &ipa, &n);
		if (!ret)
			ret = write_piece(t, ipa, data + done, n);
	}
	return ret;
}

static int insn_at(struct gdb_target *t, unsigned int cpu, uint64_t va, uint32_t *insn)
{
	ssize_t n = gdb_target_read(t, cpu, va, insn, sizeof(*insn));

	if (n < 0)
		return (int)n;
	if (n < (ssize_t)sizeof(*insn))
		return -EFAULT;
	*insn = le32toh(*insn);
	return 0;
}

/* ---- breakpoints ----------------------------------------------------------------------------- */

static int write_insn(struct gdb_target *t, ipa_t ipa, uint32_t insn)
{
	insn = htole32(insn);
	return t->ops->write_ipa(t->ctx, ipa, &insn, sizeof(insn));
}

/* The raw word in memory, our patch included. */
static int read_insn(struct gdb_target *t, ipa_t ipa, uint32_t *insn)
{
	int ret = t->ops->read_ipa(t->ctx, ipa, insn, sizeof(*insn));

	*insn = le32toh(*insn);
	return ret;
}

static int patch(struct gdb_target *t, unsigned int cpu, struct gdb_breakpoint *b)
{
	struct arm64_mmu m;
	uint32_t orig = 0;
	ipa_t ipa = 0;
	size_t n;
	int ret;

	/* Through gdb_target_read(): another breakpoint may be at an alias of this address. */
	ret = insn_at(t, cpu, b->va, &orig);
	if (!ret)
		ret = mmu_get(t, cpu, &m);
	if (!ret)
		ret = translate(t, &m, b->va, sizeof(orig), &ipa, &n);
	if (!ret)
		ret = write_insn(t, ipa, INSN_BRK);
	if (ret < 0)
		return ret;
	b->ipa = ipa;
	b->orig = orig;
	b->in_hw = false;
	return 0;
}

static int unpatch(struct gdb_target *t, const struct gdb_breakpoint *b)
{
	uint32_t now;
	int ret;

	for (size_t i = 0; i < ARRAY_SIZE(t->bp); i++)
		if (&t->bp[i] != b && patched(&t->bp[i]) && t->bp[i].ipa == b->ipa)
			return 0;	/* still wanted under another address */
	ret = read_insn(t, b->ipa, &now);
	if (ret < 0)
		return ret;
	if (now != INSN_BRK)
		return 0;		/* the guest put something else there meanwhile */
	return write_insn(t, b->ipa, b->orig);
}

static struct gdb_breakpoint *bp_find(struct gdb_target *t, bool hw_wanted, uint64_t va)
{
	for (size_t i = 0; i < ARRAY_SIZE(t->bp); i++)
		if (t->bp[i].used && t->bp[i].hw_wanted == hw_wanted && t->bp[i].va == va)
			return &t->bp[i];
	return NULL;
}

static unsigned int bp_hw_used(const struct gdb_target *t)
{
	unsigned int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(t->bp); i++)
		n += t->bp[i].used && t->bp[i].in_hw;
	return n;
}

/* Make a breakpoint register free by turning a software breakpoint that sits in one to a patch. */
static int bp_evict(struct gdb_target *t, unsigned int cpu)
{
	for (size_t i = 0; i < ARRAY_SIZE(t->bp); i++) {
		struct gdb_breakpoint *b = &t->bp[i];

		if (b->used && b->in_hw && !b->hw_wanted && patch(t, cpu, b) == 0)
			return 0;
	}
	return -ENOSPC;
}

static int bp_insert(struct gdb_target *t, unsigned int cpu, bool hw_wanted, uint64_t va,
		     uint64_t len)
{
	struct gdb_breakpoint *b = NULL, new = { .used = true, .hw_wanted = hw_wanted, .va = va };
	int ret = 0;

	if (len != 4 || va % 4)
		return -EINVAL;
	if (bp_find(t, hw_wanted, va))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(t->bp) && !b; i++)
		if (!t->bp[i].used)
			b = &t->bp[i];
	if (!b)
		return -ENOSPC;

	/*
	 * A register before a patch, for software breakpoints too: it works at addresses that are
	 * not mapped yet and leaves no trace in memory that the guest could copy or measure.
	 */
	new.in_hw = true;
	if (bp_hw_used(t) >= t->nr_bps)
		ret = hw_wanted ? bp_evict(t, cpu) : patch(t, cpu, &new);
	if (ret < 0)
		return ret;
	*b = new;
	return 0;
}

static int bp_remove(struct gdb_target *t, bool hw_wanted, uint64_t va)
{
	struct gdb_breakpoint *b = bp_find(t, hw_wanted, va);
	int ret = 0;

	if (!b)
		return 0;
	if (!b->in_hw)
		ret = unpatch(t, b);
	b->used = false;
	return ret;
}

static int wp_encode(struct gdb_watchpoint *w)
{
	uint64_t lsc = 0;

	if (w->type == GDB_Z_READ || w->type == GDB_Z_ACCESS)
		lsc |= WCR_LSC_LOAD;
	if (w->type == GDB_Z_WRITE || w->type == GDB_Z_ACCESS)
		lsc |= WCR_LSC_STORE;
	w->wcr = lsc << WCR_LSC_SHIFT | WCR_EL01_ENABLE;

	if (!w->len)
		return -EINVAL;
	if ((w->va & 7) + MIN(w->len, 9ull) <= 8) {	/* bytes of one doubleword */
		w->wvr = w->va & ~7ull;
		w->wcr |= ((1ull << w->len) - 1) << (w->va & 7) << WCR_BAS_SHIFT;
		return 0;
	}
	/* A naturally aligned power of two. */
	if ((w->len & (w->len - 1)) || (w->va & (w->len - 1)) || w->len >> (WATCH_MAX_LOG2 + 1))
		return -EINVAL;
	w->wvr = w->va;
	w->wcr |= 0xffull << WCR_BAS_SHIFT;
	w->wcr |= (uint64_t)__builtin_ctzll(w->len) << WCR_MASK_SHIFT;
	return 0;
}

static struct gdb_watchpoint *wp_find(struct gdb_target *t, enum gdb_z type, uint64_t va,
				      uint64_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(t->wp); i++) {
		struct gdb_watchpoint *w = &t->wp[i];

		if (w->used && w->type == type && w->va == va && w->len == len)
			return w;
	}
	return NULL;
}

static int wp_insert(struct gdb_target *t, enum gdb_z type, uint64_t va, uint64_t len)
{
	struct gdb_watchpoint new = { .used = true, .type = type, .va = va, .len = len };
	int ret;

	ret = wp_encode(&new);
	if (ret < 0 || wp_find(t, type, va, len))
		return ret;
	for (unsigned int i = 0; i < t->nr_wps; i++) {
		if (!t->wp[i].used) {
			t->wp[i] = new;
			return 0;
		}
	}
	return -ENOSPC;
}

int gdb_target_insert(struct gdb_target *t, unsigned int cpu, enum gdb_z type, uint64_t va,
		      uint64_t len)
{
	if (type == GDB_Z_SOFTWARE || type == GDB_Z_HARDWARE)
		return bp_insert(t, cpu, type == GDB_Z_HARDWARE, va, len);
	return wp_insert(t, type, va, len);
}

int gdb_target_remove(struct gdb_target *t, enum gdb_z type, uint64_t va, uint64_t len)
{
	struct gdb_watchpoint *w;

	if (type == GDB_Z_SOFTWARE || type == GDB_Z_HARDWARE)
		return bp_remove(t, type == GDB_Z_HARDWARE, va);
	w = wp_find(t, type, va, len);
	if (w)
		w->used = false;
	return 0;
}

static int set_debug(struct gdb_target *t, unsigned int cpu, const struct gdb_debug *d)
{
	int ret;

	/* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-*): a needless call at worst */
	if (!memcmp(d, &t->cpu[cpu].debug, sizeof(*d)))
		return 0;
	ret = t->ops->set_debug(t->ctx, cpu, d);
	if (!ret)
		memcpy(&t->cpu[cpu].debug, d, sizeof(*d));	/* padding too, for the memcmp() */
	return ret;
}

void gdb_target_clear(struct gdb_target *t)
{
	struct gdb_debug none;
	int ret;

	for (size_t i = 0; i < ARRAY_SIZE(t->bp); i++) {
		struct gdb_breakpoint *b = &t->bp[i];

		ret = patched(b) ? unpatch(t, b) : 0;
		b->used = false;
		if (ret < 0)
			log_warning("gdb: a breakpoint stays in guest memory at %" PRIipa ": %s",
				    b->ipa, strerror(-ret));
	}
	memset(t->wp, 0, sizeof(t->wp));
	memset(&none, 0, sizeof(none));
	for (unsigned int i = 0; i < t->nr_cpus; i++) {
		ret = set_debug(t, i, &none);
		if (ret < 0)
			log_warning("gdb: cannot end the debugging of vCPU %u: %s", i,
				    strerror(-ret));
	}
}

/* ---- running --------------------------------------------------------------------------------- */

/*
 * A guest that was stopped for a while has its timer interrupt pending, so every single step
 * would end in the interrupt vector: nobody could step through a kernel, and gdb could not step off
 * a breakpoint. So interrupts are masked for the one instruction, except for those that
 * read or write the mask or carry PSTATE into SPSR on purpose.
 */
static bool insn_sees_mask(uint32_t insn)
{
	return (insn & 0xff000000) == 0xd4000000 ||	/* SVC, HVC, SMC, BRK, HLT */
	       (insn & 0xfffff000) == 0xd69f0000 ||	/* ERET, ERETAA, ERETAB */
	       (insn & 0xfff8f01f) == 0xd500401f ||	/* MSR (immediate): DAIFSet and others */
	       (insn & 0xffdfffe0) == 0xd51b4220 ||	/* MSR and MRS DAIF */
	       (insn & 0xffdfffe0) == 0xd5184300;	/* MSR and MRS ALLINT */
}

static int mask_interrupts(struct gdb_target *t, unsigned int cpu)
{
	struct gdb_cpu *c = &t->cpu[cpu];
	const uint64_t both = PSTATE_I | PSTATE_F;
	uint64_t pstate, pc;
	uint32_t insn;
	int ret;

	if (t->step_irqs)
		return 0;
	ret = gdb_target_reg(t, cpu, GDB_REG_PSTATE, &pstate);
	if (!ret)
		ret = gdb_target_reg(t, cpu, GDB_REG_PC, &pc);
	if (ret)
		return ret;
	/* What cannot be read will abort: an exception to see, not to mask. */
	if ((pstate & both) == both || insn_at(t, cpu, pc, &insn) < 0 || insn_sees_mask(insn))
		return 0;
	ret = gdb_target_set_reg(t, cpu, GDB_REG_PSTATE, pstate | both);
	if (ret < 0)
		return ret;
	c->masked = true;
	c->masked_pstate = pstate & both;
	c->masked_pc = pc;
	return 0;
}

static void unmask_interrupts(struct gdb_target *t, unsigned int cpu)
{
	struct gdb_cpu *c = &t->cpu[cpu];
	const uint64_t both = PSTATE_I | PSTATE_F;
	enum gdb_reg where = GDB_REG_PSTATE;
	uint64_t pc, elr, vbar, val;
	int ret;

	c->masked = false;
	ret = gdb_target_reg(t, cpu, GDB_REG_PC, &pc);
	if (!ret)
		ret = gdb_target_reg(t, cpu, GDB_REG_ELR_EL1, &elr);
	if (!ret)
		ret = gdb_target_reg(t, cpu, GDB_REG_VBAR_EL1, &vbar);
	if (ret)
		goto fail;
	/*
	 * The instruction took an exception (it aborted): PSTATE was saved with our mask, and the
	 * mask of the vector is the guest's own.
	 */
	vbar &= ~0x7ffull;
	if (pc != c->masked_pc && pc - vbar < 0x800 && pc % 0x80 == 0 && elr == c->masked_pc)
		where = GDB_REG_SPSR_EL1;
	ret = gdb_target_reg(t, cpu, where, &val);
	if (!ret)
		ret = gdb_target_set_reg(t, cpu, where, (val & ~both) | c->masked_pstate);
	if (!ret)
		return;
fail:
	log_warning("gdb: vCPU %u keeps its interrupts masked: %s", cpu, strerror(-ret));
}

int gdb_target_prepare(struct gdb_target *t)
{
	struct gdb_debug d;
	int ret = 0;

	memset(&d, 0, sizeof(d));
	for (size_t i = 0; i < ARRAY_SIZE(t->bp); i++) {
		const struct gdb_breakpoint *b = &t->bp[i];

		d.brk |= patched(b);
		if (b->used && b->in_hw && d.nr_bps < t->nr_bps) {
			d.bcr[d.nr_bps] = BCR_VALUE;
			d.bvr[d.nr_bps++] = b->va;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(t->wp); i++) {
		if (t->wp[i].used) {
			d.wcr[d.nr_wps] = t->wp[i].wcr;
			d.wvr[d.nr_wps++] = t->wp[i].wvr;
		}
	}
	for (unsigned int i = 0; !ret && i < t->nr_cpus; i++) {
		d.step = t->cpu[i].action == GDB_STEP;
		ret = set_debug(t, i, &d);
		if (!ret && d.step)
			ret = mask_interrupts(t, i);
	}
	if (ret < 0)
		gdb_target_settle(t);
	return ret;
}

void gdb_target_settle(struct gdb_target *t)
{
	for (unsigned int i = 0; i < t->nr_cpus; i++)
		if (t->cpu[i].masked)
			unmask_interrupts(t, i);
}

void gdb_target_reset(struct gdb_target *t)
{
	uint32_t now;

	for (unsigned int i = 0; i < t->nr_cpus; i++) {
		t->cpu[i].masked = false;
		memset(&t->cpu[i].debug, 0, sizeof(t->cpu[i].debug));
	}
	for (size_t i = 0; i < ARRAY_SIZE(t->bp); i++) {
		struct gdb_breakpoint *b = &t->bp[i];

		if (!patched(b))
			continue;
		/* The second of two at one place finds the patch of the first. */
		if (read_insn(t, b->ipa, &now) < 0 || (now != b->orig && now != INSN_BRK) ||
		    write_insn(t, b->ipa, INSN_BRK) < 0) {
			log_info("gdb: the reset lost the breakpoint at %#" PRIx64, b->va);
			b->used = false;
		}
	}
}

/*
 * Give the guest the exception that its BRK would have raised without us, as
 * AArch64.TakeException() of the Arm ARM does it for EL1.
 */
static int inject_brk(struct gdb_target *t, unsigned int cpu, uint32_t hsr)
{
	uint64_t pc, pstate, sctlr, vbar, new, vector;
	int ret;

	ret = gdb_target_reg(t, cpu, GDB_REG_PC, &pc);
	if (!ret)
		ret = gdb_target_reg(t, cpu, GDB_REG_PSTATE, &pstate);
	if (!ret)
		ret = gdb_target_reg(t, cpu, GDB_REG_SCTLR_EL1, &sctlr);
	if (!ret)
		ret = gdb_target_reg(t, cpu, GDB_REG_VBAR_EL1, &vbar);
	if (ret)
		return ret;

	/* Synchronous vectors: EL1t at 0, EL1h at 0x200, EL0 at 0x400. */
	vector = (pstate & PSTATE_M_MASK) == 0 ? 0x400 : (pstate & 1) ? 0x200 : 0;
	new = (pstate & (PSTATE_NZCV | PSTATE_DIT | PSTATE_TCO | PSTATE_PAN)) | PSTATE_DAIF |
	      PSTATE_EL1H;
	/* SPAN is RES1 on a CPU without PAN, so a clear bit means that there is PAN. */
	if (!(sctlr & SCTLR_SPAN))
		new |= PSTATE_PAN;
	if (sctlr & SCTLR_DSSBS)
		new |= PSTATE_SSBS;

	ret = gdb_target_set_reg(t, cpu, GDB_REG_ELR_EL1, pc);
	if (!ret)
		ret = gdb_target_set_reg(t, cpu, GDB_REG_SPSR_EL1, pstate & ~PSTATE_SS);
	if (!ret)
		ret = gdb_target_set_reg(t, cpu, GDB_REG_ESR_EL1, hsr);
	if (!ret)
		ret = gdb_target_set_reg(t, cpu, GDB_REG_PSTATE, new);
	if (!ret)
		ret = gdb_target_set_reg(t, cpu, GDB_REG_PC, (vbar & ~0x7ffull) + vector);
	return ret;
}

/* Is the BRK that a vCPU ran into ours? By memory, not by address: processes share pages. */
static bool brk_is_ours(struct gdb_target *t, unsigned int cpu, uint64_t pc)
{
	struct arm64_mmu m;
	bool known;
	ipa_t ipa;
	size_t n;

	known = mmu_get(t, cpu, &m) == 0 && translate(t, &m, pc, 4, &ipa, &n) == 0;
	for (size_t i = 0; i < ARRAY_SIZE(t->bp); i++)
		if (patched(&t->bp[i]) && (known ? t->bp[i].ipa == ipa : t->bp[i].va == pc))
			return true;
	return false;
}

static const struct gdb_watchpoint *wp_nearest(const struct gdb_target *t, uint64_t far)
{
	const struct gdb_watchpoint *best = NULL;
	uint64_t best_distance = UINT64_MAX;

	/*
	 * FAR can be below the watched bytes: it is the lowest address of an access that reached
	 * them (Arm ARM, D2.10.5 "Determining the memory location that caused a Watchpoint").
	 */
	for (size_t i = 0; i < ARRAY_SIZE(t->wp); i++) {
		const struct gdb_watchpoint *w = &t->wp[i];
		uint64_t distance;

		if (!w->used)
			continue;
		if (far - w->va < w->len)
			distance = 0;
		else
			distance = far < w->va ? w->va - far : far - w->va;
		if (!best || distance < best_distance) {
			best = w;
			best_distance = distance;
		}
	}
	return best;
}

bool gdb_target_explain(struct gdb_target *t, unsigned int cpu, const struct gdb_debug_exit *info,
			struct gdb_stop *stop)
{
	const struct gdb_watchpoint *w;
	uint64_t pc = 0;
	uint32_t insn;
	int ret;

	*stop = (struct gdb_stop){ .cpu = cpu, .sig = GDB_SIGTRAP };
	gdb_target_reg(t, cpu, GDB_REG_PC, &pc);
	switch (ESR_EC(info->hsr)) {
	case EC_STEP_LOWER:
		return t->cpu[cpu].action == GDB_STEP;
	case EC_BREAKPOINT_LOWER:
		if (bp_find(t, false, pc))
			stop->why = GDB_STOP_SWBREAK;
		else if (bp_find(t, true, pc))
			stop->why = GDB_STOP_HWBREAK;
		return true;
	case EC_WATCHPOINT_LOWER:
		w = wp_nearest(t, info->far);
		if (w) {
			stop->why = GDB_STOP_WATCH;
			stop->watch = w->type;
			stop->addr = w->va;
		}
		return true;
	case EC_BRK64:
		if (brk_is_ours(t, cpu, pc)) {
			stop->why = GDB_STOP_SWBREAK;
			return true;
		}
		/* A late note; or another vCPU has changed the code: executed again, it tells. */
		if (insn_at(t, cpu, pc, &insn) == 0 && (insn & INSN_BRK_MASK) != INSN_BRK)
			return false;
		ret = inject_brk(t, cpu, info->hsr);
		if (ret < 0) {
			log_warning("gdb: cannot give the guest its BRK exception: %s",
				    strerror(-ret));
			return true;
		}
		return t->cpu[cpu].action == GDB_STEP;
	default:
		return true;
	}
}
