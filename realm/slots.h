/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lower half's memslots when EMPTY ranges are cut out of them (--emulated-strict): a sorted
 * list of ranges, each one memslot, that is split and joined as the guest converts pages.
 */
#ifndef REALM_SLOTS_H
#define REALM_SLOTS_H

#include "vmm/core/types.h"

struct err;
struct slots;

/**
 * struct slots_ops - how a range becomes a memslot
 * @set: make slot @slot cover [base, base + len); len 0 deletes it. Return: 0 or negative errno
 */
struct slots_ops {
	int (*set)(void *ctx, unsigned int slot, ipa_t base, uint64_t len);
	void *ctx;
};

/**
 * slots_new() - empty list
 * @first: lowest memslot number to use
 * @max:   how many memslots may be used
 */
struct slots *slots_new(const struct slots_ops *ops, unsigned int first, unsigned int max);
void slots_free(struct slots *s);

/**
 * slots_add() - map [base, base + len), joining neighbours; parts that are mapped stay so
 * slots_cut() - unmap it
 *
 * Return: 0 or a negative errno: -ENOSPC: too many pieces, nothing has changed. Any other
 * failure leaves the range unmapped.
 */
int slots_add(struct slots *s, ipa_t base, uint64_t len);
int slots_cut(struct slots *s, ipa_t base, uint64_t len);

/** slots_count() - memslots in use */
unsigned int slots_count(const struct slots *s);

#endif
