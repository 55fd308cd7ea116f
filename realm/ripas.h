/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The RIPAS map: the one truth about which granule of RAM is private (RIPAS RAM) and which is
 * shared (RIPAS EMPTY). What is not RAM is EMPTY for good. RIPAS DESTROYED does not occur: the
 * host side that destroys granules is realmtool itself.
 *
 * Readers (devices, through the guard of vmm/core/gmem.h) run beside writers (conversions): each
 * word is atomic; a conversion to RAM excludes the devices while it changes the map.
 */
#ifndef REALM_RIPAS_H
#define REALM_RIPAS_H

#include <stdatomic.h>

#include "vmm/core/types.h"

struct err;

enum ripas_state {		/* values of the RMM specification (RsiRipas) */
	RIPAS_EMPTY = 0,
	RIPAS_RAM = 1,
	RIPAS_DESTROYED = 2,
};

struct ripas {
	ipa_t base;
	uint64_t size;
	_Atomic uint64_t *word;		/* one bit per granule, 1: RAM */
	_Atomic uint64_t ram;		/* granules that are RAM */
};

/** ripas_init() - map of [base, base + size), all of it in state @all */
int ripas_init(struct ripas *r, ipa_t base, uint64_t size, enum ripas_state all, struct err *e);
void ripas_destroy(struct ripas *r);

/** ripas_get() - state of the granule at an IPA; EMPTY outside RAM */
enum ripas_state ripas_get(const struct ripas *r, ipa_t ipa);

/**
 * ripas_run() - how far the state at @base goes on
 * Return: end (exclusive, at most @top) of the stretch with one state.
 */
ipa_t ripas_run(const struct ripas *r, ipa_t base, ipa_t top, enum ripas_state *state);

/** ripas_set() - set [base, base + len); both granule aligned and inside RAM */
void ripas_set(struct ripas *r, ipa_t base, uint64_t len, enum ripas_state state);

/** ripas_is_shared() - is every granule that [ipa, ipa + len) touches inside RAM and EMPTY? */
bool ripas_is_shared(const struct ripas *r, ipa_t ipa, uint64_t len);

/** ripas_inside() - does [base, top) lie in the RAM the map covers? */
static inline bool ripas_inside(const struct ripas *r, ipa_t base, ipa_t top)
{
	return base >= r->base && base < top && top - r->base <= r->size;
}

#endif
