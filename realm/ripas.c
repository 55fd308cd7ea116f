// SPDX-License-Identifier: BSD-3-Clause
#include "realm/ripas.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/core/err.h"

#define WORD_BITS 64

static uint64_t index_of(const struct ripas *r, ipa_t ipa)
{
	return (ipa - r->base) / GRANULE_SIZE;
}

int ripas_init(struct ripas *r, ipa_t base, uint64_t size, enum ripas_state all, struct err *e)
{
	uint64_t words = ALIGN_UP(size / GRANULE_SIZE, (uint64_t)WORD_BITS) / WORD_BITS;

	memset(r, 0, sizeof(*r));
	if (!size || !IS_ALIGNED(base, GRANULE_SIZE) || !IS_ALIGNED(size, GRANULE_SIZE))
		return err_set(e, -EINVAL, "RIPAS map: RAM is not a multiple of 4 KiB");
	r->word = calloc(words, sizeof(*r->word));
	if (!r->word)
		return err_set(e, -ENOMEM, "no memory for the RIPAS map (%" PRIu64 " KiB)",
			       words * 8 / 1024);
	r->base = base;
	r->size = size;
	if (all == RIPAS_RAM)
		ripas_set(r, base, size, RIPAS_RAM);
	return 0;
}

void ripas_destroy(struct ripas *r)
{
	free((void *)r->word);
	r->word = NULL;
	r->size = 0;
}

static bool covered(const struct ripas *r, ipa_t ipa)
{
	return ipa >= r->base && ipa - r->base < r->size;
}

static bool bit(const struct ripas *r, uint64_t i)
{
	return atomic_load_explicit(&r->word[i / WORD_BITS], memory_order_acquire) >>
	       (i % WORD_BITS) & 1;
}

enum ripas_state ripas_get(const struct ripas *r, ipa_t ipa)
{
	return covered(r, ipa) && bit(r, index_of(r, ipa)) ? RIPAS_RAM : RIPAS_EMPTY;
}

ipa_t ripas_run(const struct ripas *r, ipa_t base, ipa_t top, enum ripas_state *state)
{
	ipa_t end = r->base + r->size;
	uint64_t i, last;

	*state = ripas_get(r, base);
	if (!covered(r, base)) {
		/* EMPTY up to RAM, and on into RAM that is EMPTY: callers loop, so stop there. */
		return base < r->base ? MIN(top, r->base) : top;
	}
	i = index_of(r, base);
	last = index_of(r, MIN(top, end) - 1) + 1;
	while (++i < last) {
		uint64_t w;

		/* whole words at once: a guest asks for all of its RAM */
		if (i % WORD_BITS == 0 && last - i >= WORD_BITS) {
			w = atomic_load_explicit(&r->word[i / WORD_BITS], memory_order_acquire);
			if (w == (*state == RIPAS_RAM ? ~UINT64_C(0) : 0)) {
				i += WORD_BITS - 1;
				continue;
			}
		}
		if (bit(r, i) != (*state == RIPAS_RAM))
			break;
	}
	return MIN(MIN(r->base + i * GRANULE_SIZE, top), end);
}

void ripas_set(struct ripas *r, ipa_t base, uint64_t len, enum ripas_state state)
{
	uint64_t i = index_of(r, base), end = i + len / GRANULE_SIZE;

	while (i < end) {
		unsigned int n = MIN(WORD_BITS - i % WORD_BITS, end - i);
		uint64_t mask = (n == WORD_BITS ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1)
				<< (i % WORD_BITS);
		uint64_t old;

		if (state == RIPAS_RAM) {
			old = atomic_fetch_or(&r->word[i / WORD_BITS], mask);
			atomic_fetch_add(&r->ram, __builtin_popcountll(mask & ~old));
		} else {
			old = atomic_fetch_and(&r->word[i / WORD_BITS], ~mask);
			atomic_fetch_sub(&r->ram, __builtin_popcountll(mask & old));
		}
		i += n;
	}
}

bool ripas_is_shared(const struct ripas *r, ipa_t ipa, uint64_t len)
{
	enum ripas_state state;
	ipa_t top = ipa + len;

	if (!len || top < ipa || !covered(r, ipa) || !covered(r, top - 1))
		return false;
	return ripas_run(r, ALIGN_DOWN(ipa, GRANULE_SIZE), top, &state) == top &&
	       state == RIPAS_EMPTY;
}
