// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/arm64_walk.h"

#include <endian.h>
#include <errno.h>

#define BIT(n)			(1ULL << (n))
#define MASK(bits)		((1ULL << (bits)) - 1)		/* bits < 64 */
#define FIELD(reg, shift, bits)	(((reg) >> (shift)) & MASK(bits))

/* SCTLR_EL1 and TCR_EL1, Arm ARM D24.2 */
#define SCTLR_EE		BIT(25)
#define TCR_TSZ_SHIFT(half)	((half) ? 16 : 0)
#define TCR_EPD_SHIFT(half)	((half) ? 23 : 7)
#define TCR_TG_SHIFT(half)	((half) ? 30 : 14)
#define TCR_TBI_SHIFT(half)	((half) ? 38 : 37)
#define TCR_IPS_SHIFT		32
#define TCR_DS			BIT(59)

#define IPS_52			6
#define LAST_LEVEL		3

/* What TCR_EL1 says about one half. */
struct regime {
	unsigned int gbits;	/* log2 of the granule */
	unsigned int stride;	/* address bits that one level resolves */
	unsigned int ia;	/* bits of an input address */
	unsigned int oa;	/* bits of an output address */
	bool ds;		/* LPA2 descriptors: OA[51:50] in bits 9:8 */
	bool lpa64;		/* 64 KiB LPA descriptors: OA[51:48] in bits 15:12 */
};

static unsigned int granule_bits(const struct arm64_mmu *m, unsigned int half)
{
	/* TG0 and TG1 do not share their encoding. */
	static const uint8_t tg0[4] = { 12, 16, 14, 0 }, tg1[4] = { 0, 14, 12, 16 };
	unsigned int tg = FIELD(m->tcr, TCR_TG_SHIFT(half), 2);

	return half ? tg1[tg] : tg0[tg];
}

uint64_t arm64_granule(const struct arm64_mmu *m, unsigned int half)
{
	unsigned int bits = granule_bits(m, half);

	return bits ? BIT(bits) : 0;
}

static int regime_get(const struct arm64_mmu *m, unsigned int half, struct regime *r)
{
	static const uint8_t ips_bits[8] = { 32, 36, 40, 42, 44, 48, 52, 52 };
	unsigned int ips = FIELD(m->tcr, TCR_IPS_SHIFT, 3);
	unsigned int tsz = FIELD(m->tcr, TCR_TSZ_SHIFT(half), 6);
	unsigned int tsz_max;

	r->gbits = granule_bits(m, half);
	if (!r->gbits)
		return -EINVAL;
	r->stride = r->gbits - 3;
	r->ds = r->gbits != 16 && (m->tcr & TCR_DS);
	r->lpa64 = r->gbits == 16 && ips == IPS_52;
	r->oa = ips_bits[ips];
	if (!r->ds && !r->lpa64)
		r->oa = MIN(r->oa, 48);

	/* The largest TxSZ needs FEAT_TTST; the smallest needs 52-bit addresses. */
	tsz_max = r->gbits == 16 ? 47 : 48;
	if (tsz < (r->ds || r->gbits == 16 ? 12 : 16) || tsz > tsz_max)
		return -EINVAL;
	r->ia = 64 - tsz;
	return 0;
}

/* The address in a descriptor; a block's lower bits are cut off by the caller. */
static uint64_t desc_addr(const struct regime *r, uint64_t desc)
{
	uint64_t addr;

	if (r->ds)
		return (desc & MASK(50) & ~MASK(r->gbits)) | FIELD(desc, 8, 2) << 50;
	addr = desc & MASK(48) & ~MASK(r->gbits);
	if (r->lpa64)
		addr |= FIELD(desc, 12, 4) << 48;
	return addr;
}

/* Where a block may stand instead of a table (Arm ARM, table of block sizes in D8.3). */
static bool block_allowed(const struct regime *r, int level)
{
	switch (r->gbits) {
	case 12:
		return level == 1 || level == 2 || (level == 0 && r->ds);
	case 14:
		return level == 2 || (level == 1 && r->ds);
	default:
		return level == 2 || (level == 1 && r->lpa64);
	}
}

static uint64_t table_base(const struct regime *r, uint64_t ttbr, unsigned int index_bits)
{
	uint64_t base = ttbr & MASK(48) & ~1ULL;
	unsigned int align = index_bits + 3;

	/* Formats with 52-bit addresses: TTBR[5:2] holds bits 51:48, alignment is at least 64. */
	if (r->lpa64 || r->ds) {
		base = (base & ~MASK(6)) | FIELD(ttbr, 2, 4) << 48;
		align = MAX(align, 6u);
	}
	return base & ~MASK(align);
}

static int mmu_off(uint64_t va, ipa_t *ipa, uint64_t *left)
{
	if (va >> 52)
		return -EFAULT;
	*ipa = va;
	*left = SZ_4K - (va & (SZ_4K - 1));
	return 0;
}

int arm64_walk(const struct arm64_mmu *m, uint64_t va, arm64_walk_read_fn read, void *ctx,
	       ipa_t *ipa, uint64_t *left)
{
	unsigned int half = FIELD(va, 55, 1);
	unsigned int top, shift, index_bits;
	struct regime r;
	uint64_t table;
	int level, ret;

	if (!arm64_mmu_on(m))
		return mmu_off(va, ipa, left);
	ret = regime_get(m, half, &r);
	if (ret < 0)
		return ret;
	if (FIELD(m->tcr, TCR_EPD_SHIFT(half), 1))
		return -EFAULT;

	/* All bits above the input size, up to the tag if there is one, repeat bit 55. */
	top = FIELD(m->tcr, TCR_TBI_SHIFT(half), 1) ? 56 : 64;
	if (r.ia < top) {
		uint64_t ext = (half ? ~va : va) >> r.ia;

		if (ext & MASK(top - r.ia))
			return -EFAULT;
	}

	/* ia is 16..52 and above the page's own bits: one level at least, five at most. */
	level = LAST_LEVEL;
	shift = r.gbits;
	while (shift + r.stride < r.ia) {
		shift += r.stride;
		level--;
	}
	index_bits = r.ia - shift;
	table = table_base(&r, m->ttbr[half], index_bits);

	for (;; level++, shift -= r.stride, index_bits = r.stride) {
		uint64_t desc, addr;

		if (table >> r.oa)
			return -EFAULT;
		ret = read(ctx, table + FIELD(va, shift, index_bits) * 8, &desc, sizeof(desc));
		if (ret < 0)
			return ret;
		desc = m->sctlr & SCTLR_EE ? be64toh(desc) : le64toh(desc);
		if (!(desc & 1))
			return -EFAULT;
		addr = desc_addr(&r, desc);
		if (level < LAST_LEVEL && (desc & 2)) {
			table = addr;
			continue;
		}
		if (level < LAST_LEVEL ? !block_allowed(&r, level) : !(desc & 2))
			return -EFAULT;
		addr &= ~MASK(shift);
		if (addr >> r.oa)
			return -EFAULT;
		*ipa = addr | (va & MASK(shift));
		*left = BIT(shift) - (va & MASK(shift));
		return 0;
	}
}
