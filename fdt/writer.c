// SPDX-License-Identifier: BSD-3-Clause
#include "fdt/writer.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <libfdt.h>

static void check(struct dtw *w, int rc, const char *where)
{
	if (w->rc || rc >= 0)
		return;
	w->rc = rc;
	snprintf(w->where, sizeof(w->where), "%s", where);
}

void dtw_begin(struct dtw *w, void *buf, size_t size)
{
	*w = (struct dtw){ .fdt = buf, .size = size };
	if (size > INT_MAX) {
		check(w, -FDT_ERR_NOSPACE, "");
		return;
	}
	check(w, fdt_create(buf, size), "header");
	if (!w->rc)
		check(w, fdt_finish_reservemap(buf), "reserve map");
}

void dtw_node(struct dtw *w, const char *name)
{
	if (w->rc)
		return;
	check(w, fdt_begin_node(w->fdt, name), *name ? name : "/");
	w->depth++;
}

void dtw_node_at(struct dtw *w, const char *name, uint64_t unit)
{
	char full[64];

	if (snprintf(full, sizeof(full), "%s@%" PRIx64, name, unit) >= (int)sizeof(full)) {
		check(w, -FDT_ERR_BADVALUE, name);
		return;
	}
	dtw_node(w, full);
}

void dtw_end(struct dtw *w)
{
	if (w->rc)
		return;
	if (!w->depth) {
		check(w, -FDT_ERR_BADSTRUCTURE, "end of node");
		return;
	}
	w->depth--;
	check(w, fdt_end_node(w->fdt), "end of node");
}

void dtw_data(struct dtw *w, const char *name, const void *val, size_t len)
{
	void *at;

	if (w->rc)
		return;
	if (len > w->size) {
		check(w, -FDT_ERR_NOSPACE, name);
		return;
	}
	check(w, fdt_property_placeholder(w->fdt, name, len, &at), name);
	if (!w->rc && len)
		memcpy(at, val, len);
}

void dtw_flag(struct dtw *w, const char *name)
{
	dtw_data(w, name, NULL, 0);
}

void dtw_str(struct dtw *w, const char *name, const char *val)
{
	dtw_data(w, name, val, strlen(val) + 1);
}

/* Room for @nr values of @size bytes; NULL: an error, now or before. */
static char *room(struct dtw *w, const char *name, size_t nr, size_t size)
{
	void *at = NULL;

	if (w->rc)
		return NULL;
	if (nr > w->size / size)
		check(w, -FDT_ERR_NOSPACE, name);
	else
		check(w, fdt_property_placeholder(w->fdt, name, nr * size, &at), name);
	return w->rc ? NULL : at;
}

void dtw_cells(struct dtw *w, const char *name, const uint32_t *val, size_t nr)
{
	char *at = room(w, name, nr, sizeof(*val));

	for (size_t i = 0; at && i < nr; i++) {
		fdt32_t cell = cpu_to_fdt32(val[i]);

		memcpy(at + i * sizeof(cell), &cell, sizeof(cell));
	}
}

void dtw_u64s(struct dtw *w, const char *name, const uint64_t *val, size_t nr)
{
	char *at = room(w, name, nr, sizeof(*val));

	for (size_t i = 0; at && i < nr; i++) {
		fdt64_t pair = cpu_to_fdt64(val[i]);

		/* A property is aligned to 4 bytes only. */
		memcpy(at + i * sizeof(pair), &pair, sizeof(pair));
	}
}

void dtw_u32(struct dtw *w, const char *name, uint32_t val)
{
	dtw_cells(w, name, &val, 1);
}

void dtw_u64(struct dtw *w, const char *name, uint64_t val)
{
	dtw_u64s(w, name, &val, 1);
}

int dtw_finish(struct dtw *w)
{
	size_t total;

	if (!w->rc && w->depth)
		check(w, -FDT_ERR_BADSTRUCTURE, "end of tree");
	if (!w->rc)
		check(w, fdt_finish(w->fdt), "end of tree");
	if (w->rc)
		return w->rc;
	/* 16 is what version 17 is compatible with; libfdt before 1.6.1 says 2 here. */
	fdt_set_last_comp_version(w->fdt, 16);
	fdt_set_boot_cpuid_phys(w->fdt, 0);
	/* While it wrote, libfdt kept the strings at the end of the buffer. */
	total = fdt_totalsize(w->fdt);
	memset((char *)w->fdt + total, 0, w->size - total);
	return 0;
}
