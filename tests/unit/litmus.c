// SPDX-License-Identifier: BSD-3-Clause
#include "tests/unit/litmus.h"

#include <stdlib.h>
#include <string.h>

/* All that distinguishes one moment of an execution from another. No padding: it is compared. */
struct state {
	uint64_t mem[LITMUS_VARS];
	uint64_t reg[LITMUS_THREADS][LITMUS_STEPS];	/* by step; 0 until it is done */
	uint64_t done[LITMUS_THREADS];			/* a bit per step */
};

struct search {
	const struct litmus *l;
	enum litmus_model model;
	struct state *seen;	/* a hash table; used says which slots are taken */
	bool *used;
	unsigned long size, nr;
};

static bool is_load(const struct litmus_step *s)
{
	return s->op == LITMUS_LOAD || s->op == LITMUS_ACQUIRE;
}

static bool is_store(const struct litmus_step *s)
{
	return s->op == LITMUS_STORE || s->op == LITMUS_RELEASE;
}

static bool insert(struct search *s, const struct state *st)
{
	const uint64_t *w = (const uint64_t *)st;
	uint64_t h = 0;

	for (size_t i = 0; i < sizeof(*st) / sizeof(*w); i++)
		h = (h ^ w[i]) * 0x9e3779b97f4a7c15ULL + (h >> 29);
	for (h %= s->size; s->used[h]; h = (h + 1) % s->size)
		if (!memcmp(&s->seen[h], st, sizeof(*st)))
			return false;
	s->used[h] = true;
	s->seen[h] = *st;
	s->nr++;
	return true;
}

/* Twice the room; the old states find new places. */
static void grow(struct search *s)
{
	struct search old = *s;

	s->size = old.size ? 2 * old.size : 1024;
	s->seen = calloc(s->size, sizeof(*s->seen));
	s->used = calloc(s->size, sizeof(*s->used));
	if (!s->seen || !s->used)
		abort();
	s->nr = 0;
	for (unsigned long i = 0; i < old.size; i++)
		if (old.used[i])
			insert(s, &old.seen[i]);
	free(old.seen);
	free(old.used);
}

/* Must @a, which comes first in the program, be done before @b? */
static bool ordered(const struct search *s, const struct litmus_step *a,
		    const struct litmus_step *b)
{
	if (a->op == LITMUS_NOTHING || b->op == LITMUS_NOTHING)
		return false;
	if (a->op == LITMUS_FENCE || b->op == LITMUS_FENCE)
		return true;
	if (is_store(a) && is_load(b) && (a->var != b->var || !a->guarded))
		return false;		/* the same variable: its value is taken from @a */
	if (s->model == LITMUS_TSO)
		return true;
	return a->op == LITMUS_ACQUIRE || b->op == LITMUS_RELEASE || a->var == b->var ||
	       (is_load(a) && is_store(b) && a->decides);
}

static bool can_run(const struct search *s, const struct state *st, unsigned int t, unsigned int i)
{
	const struct litmus_step *step = s->l->step[t];

	if (st->done[t] >> i & 1)
		return false;
	if (step[i].guarded && !(st->done[t] >> step[i].guard & 1))
		return false;
	for (unsigned int j = 0; j < i; j++)
		if (!(st->done[t] >> j & 1) && ordered(s, &step[j], &step[i]))
			return false;
	return true;
}

static void run(const struct search *s, struct state *st, unsigned int t, unsigned int i)
{
	const struct litmus_step *step = s->l->step[t];

	st->done[t] |= 1ULL << i;
	if (is_store(&step[i])) {
		if (!step[i].guarded || st->reg[t][step[i].guard] == step[i].guard_val)
			st->mem[step[i].var] = step[i].val;
	} else if (is_load(&step[i])) {
		st->reg[t][i] = st->mem[step[i].var];
		for (unsigned int j = 0; j < i; j++)
			if (is_store(&step[j]) && step[j].var == step[i].var &&
			    !(st->done[t] >> j & 1))
				st->reg[t][i] = step[j].val;
	}
}

static bool holds(const struct litmus_clause *c, const struct state *st)
{
	return (st->reg[c->thread][c->step] == c->val) == c->equal;
}

static bool is_bad(const struct litmus *l, const struct state *st)
{
	for (unsigned int i = 0; i < l->nr_all; i++)
		if (!holds(&l->all[i], st))
			return false;
	for (unsigned int i = 0; i < l->nr_any; i++)
		if (holds(&l->any[i], st))
			return true;
	return !l->nr_any;
}

static bool explore(struct search *s, const struct state *st)
{
	bool end = true;

	if (2 * s->nr >= s->size)
		grow(s);
	if (!insert(s, st))
		return false;
	for (unsigned int t = 0; t < LITMUS_THREADS; t++)
		for (unsigned int i = 0; i < s->l->nr_steps[t]; i++) {
			struct state next = *st;

			if (!can_run(s, st, t, i))
				continue;
			end = false;
			run(s, &next, t, i);
			if (explore(s, &next))
				return true;
		}
	return end && is_bad(s->l, st);
}

static bool touches(const struct litmus *l, unsigned int t, unsigned int var)
{
	for (unsigned int i = 0; i < l->nr_steps[t]; i++)
		if ((is_load(&l->step[t][i]) || is_store(&l->step[t][i])) &&
		    l->step[t][i].var == var)
			return true;
	return false;
}

static bool in_clauses(const struct litmus_clause *c, unsigned int nr, unsigned int t,
		       unsigned int i)
{
	for (; nr--; c++)
		if (c->thread == t && c->step == i)
			return true;
	return false;
}

static bool is_asked(const struct litmus *l, unsigned int t, unsigned int i)
{
	for (unsigned int j = 0; j < l->nr_steps[t]; j++)
		if (l->step[t][j].guarded && l->step[t][j].guard == i)
			return true;
	return in_clauses(l->all, l->nr_all, t, i) || in_clauses(l->any, l->nr_any, t, i);
}

/*
 * A plain access to a variable that no other thread knows, and whose value nobody asks for, makes
 * no difference: what orders it orders what depends on it, too.
 */
static bool matters(const struct litmus *l, unsigned int t, unsigned int i)
{
	const struct litmus_step *s = &l->step[t][i];

	if (s->op == LITMUS_NOTHING)
		return false;
	if (s->op != LITMUS_LOAD && s->op != LITMUS_STORE)
		return true;
	for (unsigned int j = 0; j < l->nr_steps[t]; j++)
		if (l->step[t][j].var == s->var && is_asked(l, t, j))
			return true;
	for (unsigned int other = 0; other < LITMUS_THREADS; other++)
		if (other != t && touches(l, other, s->var))
			return true;
	return false;
}

bool litmus_bad(const struct litmus *l, enum litmus_model model, unsigned long *states)
{
	struct search s = { .l = l, .model = model };
	struct state st = { 0 };
	bool bad;

	memcpy(st.mem, l->init, sizeof(st.mem));
	for (unsigned int t = 0; t < LITMUS_THREADS; t++)
		for (unsigned int i = 0; i < l->nr_steps[t]; i++)
			if (!matters(l, t, i))
				st.done[t] |= 1ULL << i;
	bad = explore(&s, &st);
	if (states)
		*states = s.nr;
	free(s.seen);
	free(s.used);
	return bad;
}
