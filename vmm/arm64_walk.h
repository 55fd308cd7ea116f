/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stage-1 translation of the EL1&0 regime in software: from a virtual address of the guest to the
 * IPA behind it, as a debugger needs it. Arm ARM (DDI 0487), chapter D8 "The AArch64 Virtual
 * Memory System Architecture".
 *
 * Granules of 4, 16 and 64 KiB, 48-bit and 52-bit addresses (FEAT_LVA, FEAT_LPA, FEAT_LPA2).
 * Permissions and the access flag do not matter to a debugger and are not looked at. 128-bit
 * descriptors (FEAT_D128) are not known to KVM and not to this file.
 */
#ifndef VMM_ARM64_WALK_H
#define VMM_ARM64_WALK_H

#include "vmm/core/types.h"

/**
 * struct arm64_mmu - the system registers that decide about a translation
 *
 * Raw register values, all under the guest's control: any value is survived.
 */
struct arm64_mmu {
	uint64_t sctlr;		/* SCTLR_EL1: M, EE */
	uint64_t tcr;		/* TCR_EL1 */
	uint64_t ttbr[2];	/* TTBR0_EL1, TTBR1_EL1 */
};

/**
 * typedef arm64_walk_read_fn - read guest memory for a walk
 * @ipa: where a descriptor lies, naturally aligned; any value below 2^52
 *
 * Return: 0, or a negative errno if there is no memory at that address.
 */
typedef int (*arm64_walk_read_fn)(void *ctx, ipa_t ipa, void *buf, size_t len);

/** arm64_mmu_on() - does the guest translate at all (SCTLR_EL1.M)? */
static inline bool arm64_mmu_on(const struct arm64_mmu *m)
{
	return m->sctlr & 1;
}

/** arm64_granule() - page size in bytes that one half (0: TTBR0, 1: TTBR1) uses, 0: reserved */
uint64_t arm64_granule(const struct arm64_mmu *m, unsigned int half);

/**
 * arm64_walk() - translate one virtual address
 * @m:    registers of the vCPU; with the MMU off the address is its own translation
 * @va:   virtual address; bit 55 chooses the half, a tag is ignored where TCR_EL1.TBIn says so
 * @read: reads the translation tables; called at most 5 times
 * @ctx:  for @read
 * @ipa:  translation of @va
 * @left: how many bytes from @va on this page or block maps contiguously, at least 1
 *
 * @ipa has the bits that the guest put into its tables: in a realm the shared bit can be set.
 *
 * Return: 0; -EFAULT (not mapped: not canonical, walk disabled, invalid or reserved descriptor, an
 * address beyond TCR_EL1.IPS); -EINVAL (TCR_EL1 holds a reserved granule or size); the error of
 * @read for a table that is not in memory.
 */
int arm64_walk(const struct arm64_mmu *m, uint64_t va, arm64_walk_read_fn read, void *ctx,
	       ipa_t *ipa, uint64_t *left);

#endif
