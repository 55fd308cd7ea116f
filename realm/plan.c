// SPDX-License-Identifier: BSD-3-Clause
#include "realm/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/core/err.h"

/* #syscalls main,vcpu,aux: pread64 */

int plan_add(struct plan *p, const struct plan_piece *piece, struct err *e)
{
	if (p->nr == PLAN_MAX_PIECES)
		return err_set(e, -ENOSPC, "initial image: more than %d pieces", PLAN_MAX_PIECES);
	if (!piece->name[0] || !memchr(piece->name, '\0', sizeof(piece->name)))
		return err_set(e, -EINVAL, "initial image: a piece without a name");
	if (!piece->len)
		return err_set(e, -EINVAL, "%s: empty", piece->name);
	if (!IS_ALIGNED(piece->ipa, GRANULE_SIZE))
		return err_set(e, -EINVAL, "%s: address %" PRIipa " is not a multiple of 4 KiB",
			       piece->name, piece->ipa);
	if (piece->span < piece->len || !IS_ALIGNED(piece->span, GRANULE_SIZE))
		return err_set(e, -EINVAL, "%s: occupies %#" PRIx64 " bytes for %#" PRIx64,
			       piece->name, piece->span, piece->len);
	if (piece->span > UINT64_MAX - piece->ipa)
		return err_set(e, -EINVAL, "%s: %#" PRIx64 " bytes at %" PRIipa " wrap around",
			       piece->name, piece->span, piece->ipa);
	if (!piece->buf && (piece->fd < 0 || piece->fd_off > INT64_MAX ||
			    piece->len > INT64_MAX - piece->fd_off))
		return err_set(e, -EINVAL, "%s: no content", piece->name);
	p->piece[p->nr++] = *piece;
	return 0;
}

int plan_ram(struct plan *p, ipa_t base, uint64_t size, struct err *e)
{
	if (p->nr_ram == PLAN_MAX_RANGES)
		return err_set(e, -ENOSPC, "RIPAS RAM: more than %d ranges", PLAN_MAX_RANGES);
	if (!size || !IS_ALIGNED(base, GRANULE_SIZE) || !IS_ALIGNED(size, GRANULE_SIZE) ||
	    size > UINT64_MAX - base)
		return err_set(e, -EINVAL, "RIPAS RAM: %#" PRIx64 " bytes at %" PRIipa
			       ": address and size must be multiples of 4 KiB", size, base);
	p->ram[p->nr_ram++] = (struct plan_range){ base, size };
	return 0;
}

ipa_t plan_ram_run(const struct plan *p, ipa_t base, ipa_t top, bool *ram)
{
	for (unsigned int i = 0; i < p->nr_ram; i++) {
		const struct plan_range *g = &p->ram[i];

		if (base >= g->base + g->size)
			continue;
		*ram = base >= g->base;
		return MIN(top, *ram ? g->base + g->size : g->base);
	}
	*ram = false;
	return top;
}

/* Ascending, without overlaps and touching neighbours. */
static void join_ranges(struct plan *p)
{
	unsigned int n = 0;

	for (unsigned int i = 1; i < p->nr_ram; i++) {
		struct plan_range key = p->ram[i];
		unsigned int k = i;

		for (; k > 0 && p->ram[k - 1].base > key.base; k--)
			p->ram[k] = p->ram[k - 1];
		p->ram[k] = key;
	}
	for (unsigned int i = 0; i < p->nr_ram; i++) {
		struct plan_range *last = n ? &p->ram[n - 1] : NULL, *g = &p->ram[i];

		if (last && g->base <= last->base + last->size)
			last->size = MAX(last->base + last->size, g->base + g->size) - last->base;
		else
			p->ram[n++] = *g;
	}
	p->nr_ram = n;
}

int plan_check(struct plan *p, ipa_t base, uint64_t size, struct err *e)
{
	for (unsigned int i = 1; i < p->nr; i++) {
		struct plan_piece key = p->piece[i];
		unsigned int k = i;

		for (; k > 0 && p->piece[k - 1].ipa > key.ipa; k--)
			p->piece[k] = p->piece[k - 1];
		p->piece[k] = key;
	}

	for (unsigned int i = 0; i < p->nr; i++) {
		const struct plan_piece *c = &p->piece[i], *before = i ? c - 1 : NULL;

		/* plan_add() has made sure that ipa + span does not wrap. */
		if (before && before->ipa + before->span > c->ipa)
			return err_set(e, -EINVAL, "%s (%" PRIipa " to %" PRIipa ") overlaps %s (%"
				       PRIipa " to %" PRIipa ")", c->name, c->ipa, c->ipa + c->span,
				       before->name, before->ipa, before->ipa + before->span);
		if (c->ipa < base || c->ipa - base > size || c->span > size - (c->ipa - base))
			return err_set(e, -EINVAL,
				       "%s (%" PRIipa " to %" PRIipa ") is not within RAM "
				       "(%#" PRIx64 " bytes from %" PRIipa "): give more with -m",
				       c->name, c->ipa, c->ipa + c->span, size, base);
	}
	for (unsigned int i = 0; i < p->nr_ram; i++) {
		const struct plan_range *g = &p->ram[i];

		if (g->base < base || g->base - base > size || g->size > size - (g->base - base))
			return err_set(e, -EINVAL,
				       "RIPAS RAM (%" PRIipa " to %" PRIipa ") is not within RAM "
				       "(%#" PRIx64 " bytes from %" PRIipa ")", g->base,
				       g->base + g->size, size, base);
	}
	for (unsigned int i = 0; i < p->nr; i++) {
		int ret = plan_ram(p, p->piece[i].ipa, p->piece[i].span, e);

		if (ret < 0)
			return ret;
	}
	join_ranges(p);
	return 0;
}

int plan_read(const struct plan_piece *piece, uint64_t off, void *dst, uint64_t len,
	      struct err *e)
{
	const char *sep = piece->path ? " " : "", *path = piece->path ? piece->path : "";
	uint64_t n = off < piece->len ? MIN(len, piece->len - off) : 0;
	uint8_t *d = dst;

	if (len > n)
		memset(d + n, 0, len - n);
	if (piece->buf) {
		if (n)
			memcpy(d, (const uint8_t *)piece->buf + off, n);
		return 0;
	}
	while (n) {
		ssize_t got = pread(piece->fd, d, MIN(n, SZ_1G), (off_t)(piece->fd_off + off));
		int code = errno;

		if (got < 0 && code == EINTR)
			continue;
		if (got < 0)
			return err_set(e, -EIO, "%s%s%s cannot be read: %s", piece->name, sep,
				       path, strerror(code));
		if (got == 0)
			return err_set(e, -EIO, "%s%s%s became shorter while it was in use",
				       piece->name, sep, path);
		d += got;
		off += got;
		n -= got;
	}
	return 0;
}

void plan_clear(struct plan *p)
{
	for (unsigned int i = 0; i < p->nr; i++)
		if (p->piece[i].owned)
			free((void *)p->piece[i].buf);
	memset(p, 0, sizeof(*p));
}
