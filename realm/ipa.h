/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one place that knows how an IPA space splits. In a realm the top bit of an IPA selects the
 * unprotected (shared) alias of an address; the lower half is protected. A plain VM has no split.
 */
#ifndef REALM_IPA_H
#define REALM_IPA_H

#include "vmm/core/types.h"

#define IPA_MIN_BITS_REALM	33	/* devices and RAM base need 32, the split one more */
#define IPA_MIN_BITS		32	/* KVM's own minimum */
#define IPA_MAX_BITS		52

/**
 * struct ipa_split - shape of an IPA space
 * @bits:   width, shared bit included
 * @shared: the shared bit, 0 in a plain VM
 */
struct ipa_split {
	unsigned int bits;
	ipa_t shared;
};

/** ipa_split() - the split of a space of @bits bits */
static inline struct ipa_split ipa_split(unsigned int bits, bool realm)
{
	return (struct ipa_split){ bits, realm ? (ipa_t)1 << (bits - 1) : 0 };
}

/** ipa_limit() - first address that nothing may be placed at: the shared bit, or the width */
static inline ipa_t ipa_limit(const struct ipa_split *s)
{
	return s->shared ? s->shared : (ipa_t)1 << s->bits;
}

/** ipa_to_alias() - where the guest reaches a shared page or a device */
static inline ipa_t ipa_to_alias(const struct ipa_split *s, ipa_t ipa)
{
	return ipa | s->shared;
}

/** ipa_canonical() - the lower-half address, whichever half the guest named */
static inline ipa_t ipa_canonical(const struct ipa_split *s, ipa_t ipa)
{
	return ipa & ~s->shared;
}

/** ipa_is_alias() - does the address carry the shared bit? Never true in a plain VM. */
static inline bool ipa_is_alias(const struct ipa_split *s, ipa_t ipa)
{
	return (ipa & s->shared) != 0;
}

/**
 * ipa_range_protected() - does [base, top) lie in the protected half?
 * @top: exclusive; may be the end of the half itself (RMM specification, RSI_IPA_STATE_SET)
 */
static inline bool ipa_range_protected(const struct ipa_split *s, ipa_t base, ipa_t top)
{
	return base < top && top <= ipa_limit(s);
}

/**
 * ipa_bits_needed() - width for an address space with this highest address
 * @end:   first address after the highest one
 * @realm: one bit more, for the split
 */
static inline unsigned int ipa_bits_needed(ipa_t end, bool realm)
{
	unsigned int bits = 0;

	while (bits < 64 && (end - 1) >> bits)
		bits++;
	return MAX(bits + (realm ? 1U : 0U),
		   realm ? (unsigned int)IPA_MIN_BITS_REALM : (unsigned int)IPA_MIN_BITS);
}

#endif
