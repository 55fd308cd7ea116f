// SPDX-License-Identifier: BSD-3-Clause
#include "realm/slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct range {
	ipa_t base, end;
	unsigned int slot;
};

struct slots {
	struct slots_ops ops;
	unsigned int first, max;
	struct range *range;		/* sorted, apart from each other by at least a granule */
	unsigned int nr, cap;
	uint8_t *used;			/* per memslot number - first */
};

struct slots *slots_new(const struct slots_ops *ops, unsigned int first, unsigned int max)
{
	struct slots *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->used = calloc(max, 1);
	if (!s->used) {
		free(s);
		return NULL;
	}
	s->ops = *ops;
	s->first = first;
	s->max = max;
	return s;
}

void slots_free(struct slots *s)
{
	if (!s)
		return;
	free(s->range);
	free(s->used);
	free(s);
}

unsigned int slots_count(const struct slots *s)
{
	return s->nr;
}

static int map(struct slots *s, unsigned int at, ipa_t base, ipa_t end)
{
	unsigned int n = 0;
	int ret;

	while (n < s->max && s->used[n])
		n++;
	if (n == s->max)
		return -ENOSPC;
	if (s->nr == s->cap) {
		unsigned int cap = s->cap ? s->cap * 2 : 16;
		struct range *r = realloc(s->range, cap * sizeof(*r));

		if (!r)
			return -ENOMEM;
		s->range = r;
		s->cap = cap;
	}
	ret = s->ops.set(s->ops.ctx, s->first + n, base, end - base);
	if (ret < 0)
		return ret;
	s->used[n] = 1;
	memmove(&s->range[at + 1], &s->range[at], (s->nr - at) * sizeof(s->range[0]));
	s->range[at] = (struct range){ base, end, n };
	s->nr++;
	return 0;
}

static int unmap(struct slots *s, unsigned int at)
{
	unsigned int n = s->range[at].slot;
	int ret = s->ops.set(s->ops.ctx, s->first + n, s->range[at].base, 0);

	if (ret < 0)
		return ret;
	s->used[n] = 0;
	s->nr--;
	memmove(&s->range[at], &s->range[at + 1], (s->nr - at) * sizeof(s->range[0]));
	return 0;
}

int slots_add(struct slots *s, ipa_t base, uint64_t len)
{
	ipa_t end = base + len;
	unsigned int at = 0;
	int ret;

	while (at < s->nr && s->range[at].end < base)
		at++;
	/* swallow everything that touches the range, then map the union */
	while (at < s->nr && s->range[at].base <= end) {
		if (s->range[at].base <= base && s->range[at].end >= end)
			return 0;
		base = MIN(base, s->range[at].base);
		end = MAX(end, s->range[at].end);
		ret = unmap(s, at);
		if (ret < 0)
			return ret;
	}
	return map(s, at, base, end);
}

int slots_cut(struct slots *s, ipa_t base, uint64_t len)
{
	ipa_t end = base + len;
	unsigned int at = 0;
	int ret;

	while (at < s->nr && s->range[at].end <= base)
		at++;
	while (at < s->nr && s->range[at].base < end) {
		struct range old = s->range[at];

		/* two pieces for one need a slot more: look before the range is taken apart */
		if (old.base < base && old.end > end && s->nr == s->max)
			return -ENOSPC;
		ret = unmap(s, at);
		if (ret < 0)
			return ret;
		if (old.base < base) {
			ret = map(s, at, old.base, base);
			if (ret < 0)
				return ret;
			at++;
		}
		if (old.end > end) {
			ret = map(s, at, end, old.end);
			if (ret < 0)
				return ret;
			at++;
		}
	}
	return 0;
}
