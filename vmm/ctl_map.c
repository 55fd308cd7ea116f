// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/ctl_map.h"

#ifdef HAVE_JANSSON

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "vmm/core/err.h"
#include "vmm/ctl_vm.h"

#define CELL_MIN SZ_64K		/* the largest page of a host */

static uint64_t nth(const json_t *list, size_t i)
{
	json_int_t n = json_integer_value(json_array_get(list, i));

	return n > 0 ? n : 0;
}

/* Cells from number @first on. */
static int piece(struct ctl_map *m, uint64_t bytes, unsigned int first, const json_t *r)
{
	const json_t *private = json_object_get(r, "private"), *backed = json_object_get(r, "backed"),
		     *twice = json_object_get(r, "twice");
	size_t nr = json_array_size(private);

	if (!nr || nr != json_array_size(backed) || nr != json_array_size(twice) ||
	    nr > m->nr - first)
		return -EPROTO;
	m->known &= json_is_true(json_object_get(r, "known"));
	for (size_t i = 0; i < nr; i++) {
		struct ctl_cell *c = &m->cell[first + i];

		*c = (struct ctl_cell){
			.private = nth(private, i),
			.backed = nth(backed, i),
			.twice = nth(twice, i),
			.total = MIN(m->size, bytes - (first + i) * m->size) / GRANULE_SIZE,
		};
		m->sum.private += c->private;
		m->sum.backed += c->backed;
		m->sum.twice += c->twice;
		m->sum.total += c->total;
	}
	return nr;
}

int ctl_map_get(struct ctl_conn *c, ipa_t base, uint64_t bytes, unsigned int cells,
		struct ctl_map *out, struct err *e)
{
	struct ctl_map m = { .base = base, .size = CELL_MIN, .known = true };
	uint64_t len;
	int ret = 0;

	while (m.size < CTL_MAP_MAX && bytes / m.size > cells)
		m.size *= 2;
	if (!bytes || bytes / m.size >= UINT32_MAX / 2)
		return err_set(e, -EPROTO, "guest %s: no such amount of RAM", c->name);
	m.nr = (bytes + m.size - 1) / m.size;
	m.cell = calloc(m.nr, sizeof(*m.cell));
	if (!m.cell)
		return err_set(e, -ENOMEM, "out of memory");
	len = MIN(CTL_MAP_MAX, m.size * CTL_MAP_CELLS);
	for (unsigned int at = 0; at < m.nr; at += ret) {
		json_t *r;

		ret = ctl_request(c, "map", json_pack("{sIsIsI}", "base",
						      (json_int_t)(base + at * m.size), "len",
						      (json_int_t)len, "cell", (json_int_t)m.size), &r, e);
		if (ret < 0)
			goto fail;
		ret = piece(&m, bytes, at, r);
		json_decref(r);
		if (ret < 0) {
			err_set(e, ret, "guest %s: an answer that makes no sense", c->name);
			goto fail;
		}
	}
	*out = m;
	return 0;

fail:
	ctl_map_free(&m);
	return ret;
}

void ctl_map_free(struct ctl_map *m)
{
	free(m->cell);
	m->cell = NULL;
}

#endif
