// SPDX-License-Identifier: BSD-3-Clause
/*
 * The RIPAS map: a model of every granule beside it. 3 words, the last one in part, so that a run
 * begins in a word, skips a whole one and ends in another.
 */
#include "tests/cbmc/cbmc.h"

#include "realm/ripas.c"

#define WORDS 3

int err_set(struct err *e, int code, const char *fmt, ...)
{
	return code;
}

static _Atomic uint64_t words[WORDS];

/* A map with any contents, of RAM at the beginning, in the middle and at the end of 52 bits */
static struct ripas any_map(void)
{
	struct ripas r = { .size = any_u64(), .word = words };

	r.base = any_bool() ? 0 : any_bool() ? 0x80000000 :
		 (UINT64_C(1) << 52) - WORDS * 64 * GRANULE_SIZE;
	assume(IS_ALIGNED(r.size, GRANULE_SIZE));
	assume(r.size && r.size <= (WORDS * 64 - 60) * GRANULE_SIZE);
	for (int i = 0; i < WORDS; i++)
		words[i] = any_u64();
	return r;
}

static bool model(const struct ripas *r, uint64_t granule)
{
	return words[granule / 64] >> granule % 64 & 1;
}

void harness_get(void)
{
	struct ripas r = any_map();
	ipa_t ipa = any_u64();
	bool in = ipa >= r.base && ipa < r.base + r.size;

	assert(ripas_get(&r, ipa) == (in && model(&r, (ipa - r.base) / GRANULE_SIZE) ?
				      RIPAS_RAM : RIPAS_EMPTY));
}

/* Only what lies inside is set, and all of it. */
void harness_set(void)
{
	struct ripas r = any_map();
	uint64_t first = any_u64(), nr = any_u64(), g = any_u64();
	enum ripas_state state = any_bool() ? RIPAS_RAM : RIPAS_EMPTY;
	bool before;

	assume(first <= r.size / GRANULE_SIZE && nr <= r.size / GRANULE_SIZE - first);
	assume(g < r.size / GRANULE_SIZE);
	before = model(&r, g);
	ripas_set(&r, r.base + first * GRANULE_SIZE, nr * GRANULE_SIZE, state);
	assert(model(&r, g) == (g >= first && g - first < nr ? state == RIPAS_RAM : before));
}

/*
 * The number of RAM granules follows, in a map of one word: sums of the bits of any words are more
 * than a solver can compare, so this word was full or empty.
 */
void harness_count(void)
{
	struct ripas r = any_map();
	uint64_t first = any_u64(), nr = any_u64();
	enum ripas_state state = any_bool() ? RIPAS_RAM : RIPAS_EMPTY;
	bool full = any_bool();

	assume(r.size <= 64 * GRANULE_SIZE);
	assume(first <= r.size / GRANULE_SIZE && nr <= r.size / GRANULE_SIZE - first);
	words[0] = full ? ~UINT64_C(0) : 0;
	r.ram = full ? 64 : 0;
	ripas_set(&r, r.base + first * GRANULE_SIZE, nr * GRANULE_SIZE, state);
	assert(r.ram == (full ? 64 - (state == RIPAS_RAM ? 0 : nr) : state == RIPAS_RAM ? nr : 0));
}

/* A stretch has one state, ends where the state does, and gets on. */
static void check_run(const struct ripas *r)
{
	ipa_t base = any_u64(), top = any_u64(), end, x = any_u64();
	enum ripas_state state;

	assume(IS_ALIGNED(base, GRANULE_SIZE) && base < top);
	if (r->size > 64 * GRANULE_SIZE)
		assume(base - r->base >= 61 * GRANULE_SIZE && base - r->base < 64 * GRANULE_SIZE &&
		       top - r->base >= 128 * GRANULE_SIZE);
	end = ripas_run(r, base, top, &state);
	assert(end > base && end <= top);
	assume(x >= base && x < end);
	assert(ripas_get(r, x) == state);
	/* The end of RAM, where EMPTY goes on, ends a stretch too, and so does its beginning. */
	assert(end == top || end == r->base + r->size || end == r->base ||
	       ripas_get(r, end) != state);
}

/* in a few granules, whatever they are */
void harness_run(void)
{
	struct ripas r = any_map();

	assume(r.size <= 6 * GRANULE_SIZE);
	check_run(&r);
}

/* from the end of one word over a second, of one state but for its beginning, into a third */
void harness_run_words(void)
{
	struct ripas r = any_map();

	assume(r.size > 128 * GRANULE_SIZE);
	words[1] = (any_bool() ? ~UINT64_C(0) : 0) ^ (any_u16() & 3);
	check_run(&r);
}

/* What the door asks: shared are ranges without a private byte and without one outside of RAM. */
void harness_shared(void)
{
	struct ripas r = any_map();
	ipa_t ipa = any_u64();
	uint64_t len = any_u64(), off = any_u64();

	assume(r.size <= 6 * GRANULE_SIZE);
	if (ripas_is_shared(&r, ipa, len)) {
		assert(len && len <= r.size && ipa >= r.base && ipa - r.base <= r.size - len);
		assume(off < len);
		assert(ripas_get(&r, ipa + off) == RIPAS_EMPTY);
	}
}

/* ... and none of them is refused. */
void harness_shared_all(void)
{
	struct ripas r = any_map();
	ipa_t ipa = any_u64();
	uint64_t len = any_u64(), first, last;

	assume(r.size <= 6 * GRANULE_SIZE);
	assume(ipa >= r.base && ipa - r.base < r.size && len && len <= r.size - (ipa - r.base));
	first = (ipa - r.base) / GRANULE_SIZE;
	last = (ipa - r.base + len - 1) / GRANULE_SIZE;
	assume(!(words[0] >> first & ((UINT64_C(2) << (last - first)) - 1)));
	assert(ripas_is_shared(&r, ipa, len));
}
