// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmd.h"
#include "vmm/ctl_client.h"

#ifdef HAVE_JANSSON

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/ctl_map.h"

#define ROW		64		/* cells of a map in a line */
#define ROWS		32
#define ASK_TRIES	20		/* for the guest's own numbers: a second */
#define ASK_EACH_US	50000

int cmd_help_stat(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s stat [OPTIONS] [NAME]\n\n"
	       "Prints what a guest's memory is used for: private and shared in a realm, what the host\n"
	       "holds of it, the balloon and what the guest tells through it.\n\n", cx->prog);
	opt_help(stdout, &stat_table, full);
	return cmd_flush(e);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void mib(const char *what, uint64_t bytes)
{
	printf("  %-34s %10.1f MiB\n", what, (double)bytes / SZ_1M);
}

/* New numbers of the balloon, if the guest sends some soon; a new reference, or NULL. */
static json_t *balloon(struct ctl_conn *c)
{
	uint64_t before = 0;
	struct err none;
	json_t *r;

	for (unsigned int i = 0; i < ASK_TRIES; i++) {
		bool asked;

		if (ctl_request(c, "memory", json_pack("{sb}", "ask", i == 0), &r, &none) < 0)
			return NULL;
		if (!i) {
			asked = json_is_true(json_object_get(r, "asked"));
			before = ctl_u64(r, "seen");
			json_object_del(r, "asked");
			if (!asked)
				return r;
		} else if (ctl_u64(r, "seen") != before) {
			return r;
		}
		if (i == ASK_TRIES - 1)
			return r;
		json_decref(r);
		usleep(ASK_EACH_US);
	}
	return NULL;
}

static void print_balloon(const json_t *b)
{
	static const struct {
		const char *key, *text;
	} bytes[] = {
		{ "total", "guest: total" }, { "free", "guest: free" },
		{ "available", "guest: available" }, { "caches", "guest: page cache" },
		{ "swapped_in", "guest: swapped in" }, { "swapped_out", "guest: swapped out" },
	}, numbers[] = {
		{ "major_faults", "guest: major faults" }, { "minor_faults", "guest: minor faults" },
	};

	mib("balloon: shall hold", ctl_u64(b, "target"));
	mib("balloon: holds", ctl_u64(b, "actual"));
	for (unsigned int i = 0; i < ARRAY_SIZE(bytes); i++)
		if (json_object_get(b, bytes[i].key))
			mib(bytes[i].text, ctl_u64(b, bytes[i].key));
	for (unsigned int i = 0; i < ARRAY_SIZE(numbers); i++)
		if (json_object_get(b, numbers[i].key))
			printf("  %-34s %10" PRIu64 "\n", numbers[i].text, ctl_u64(b, numbers[i].key));
}

static void print_head(const json_t *r)
{
	printf("Guest ");
	ctl_print(stdout, 0, ctl_str(r, "name"));
	printf(" (process %" PRIu64 "): ", ctl_u64(r, "pid"));
	ctl_print(stdout, 0, ctl_str(r, "state"));
	printf(", ");
	ctl_print(stdout, 0, ctl_str(r, "mode"));
	printf(", %" PRIu64 " vCPUs, up %" PRIu64 " s\n", ctl_u64(r, "cpus"),
	       ctl_u64(r, "uptime_ms") / 1000);
}

static void print_memory(const json_t *r, const struct ctl_map *map)
{
	const json_t *ram = json_object_get(r, "ram"), *b = json_object_get(r, "balloon");

	print_head(r);
	mib("RAM", ctl_u64(ram, "ram"));
	if (json_object_get(r, "realm")) {
		mib("private", ctl_u64(ram, "private"));
		mib("shared", ctl_u64(ram, "shared"));
	}
	if (map->known) {
		mib(json_object_get(r, "realm") ? "shared side, held by the host" : "held by the host",
		    map->sum.backed * GRANULE_SIZE);
		if (json_object_get(r, "realm"))
			mib("of that private, so held twice", map->sum.twice * GRANULE_SIZE);
	}
	mib("process, resident", ctl_u64(ram, "process_resident"));
	if (json_object_get(r, "dma"))
		mib("pinned for assigned devices", ctl_u64(json_object_get(r, "dma"), "pinned"));
	if (b)
		print_balloon(b);
}

static int memory(const struct stat_options *o, struct ctl_conn *c, struct err *e)
{
	struct ctl_map map;
	json_t *r, *b, *ram, *where;
	int ret;

	ret = ctl_request(c, "regions", NULL, &where, e);
	if (ret < 0)
		return ret;
	ret = ctl_map_get(c, ctl_u64(where, "ram_base"), ctl_u64(where, "ram_size"), ROW, &map, e);
	json_decref(where);
	if (ret < 0)
		return ret;
	ret = ctl_request(c, "metrics", NULL, &r, e);
	if (ret < 0)
		goto out;
	if (json_object_get(r, "balloon")) {
		b = balloon(c);
		if (b)
			json_object_set_new(r, "balloon", b);
	}
	if (o->json) {
		ram = json_object_get(r, "ram");
		if (map.known) {
			json_object_set_new(ram, "backed", json_integer(map.sum.backed * GRANULE_SIZE));
			json_object_set_new(ram, "twice", json_integer(map.sum.twice * GRANULE_SIZE));
		}
		json_object_del(r, "devices");
		json_object_del(r, "uarts");
		json_object_del(r, "vcpus");
		json_object_del(r, "measuring");
		ctl_dump(json_incref(r));
	} else {
		print_memory(r, &map);
	}
	json_decref(r);
out:
	ctl_map_free(&map);
	return ret;
}

/* ---- the map --------------------------------------------------------------------------------- */

static void print_region(const char *name, ipa_t base, uint64_t size)
{
	printf("  %#014" PRIx64 " - %#014" PRIx64 "  ", base, base + size - 1);
	ctl_print(stdout, 0, name);
	if (size >= SZ_1M)
		printf(", %" PRIu64 " MiB\n", size / SZ_1M);
	else
		printf(", %" PRIu64 " KiB\n", MAX(size / 1024, UINT64_C(1)));
}

static char cell_of_realm(const struct ctl_cell *c)
{
	if (c->twice)
		return '2';
	if (c->private == c->total)
		return 'P';
	if (c->private)
		return 'm';
	return c->backed ? 's' : '.';
}

static char cell_of_vm(const struct ctl_cell *c)
{
	if (!c->backed)
		return '.';
	return c->backed * 2 < c->total ? '-' : '#';
}

static void print_cells(const struct ctl_map *m, bool realm)
{
	printf("\nRAM, %" PRIu64 " KiB a block: %s\n", m->size / 1024, realm ?
	       "P private, s shared, m some of both, . shared and empty, 2 held twice" :
	       "# held by the host, - less than half of it, . empty");
	for (unsigned int i = 0; i < m->nr; i++) {
		if (i % ROW == 0)
			printf("  %#014" PRIx64 "  ", m->base + i * m->size);
		putchar(realm ? cell_of_realm(&m->cell[i]) : cell_of_vm(&m->cell[i]));
		if (i % ROW == ROW - 1 || i == m->nr - 1)
			putchar('\n');
	}
	if (!m->known)
		printf("  (this host does not tell which pages it holds)\n");
}

static json_t *cells_json(const struct ctl_map *m)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < m->nr; i++) {
		const struct ctl_cell *c = &m->cell[i];

		json_array_append_new(list, json_pack("{sIsIsI}", "private", (json_int_t)c->private,
						      "backed", (json_int_t)c->backed, "twice",
						      (json_int_t)c->twice));
	}
	return list;
}

static int map(const struct stat_options *o, struct ctl_conn *c, struct err *e)
{
	json_t *where, *list, *r;
	uint64_t shared;
	struct ctl_map m;
	size_t i;
	int ret = ctl_request(c, "regions", NULL, &where, e);

	if (ret < 0)
		return ret;
	ret = ctl_map_get(c, ctl_u64(where, "ram_base"), ctl_u64(where, "ram_size"), ROW * ROWS, &m, e);
	if (ret < 0)
		goto out;
	shared = ctl_u64(where, "shared_bit");
	if (o->json) {
		json_object_set_new(where, "cell_size", json_integer(m.size));
		json_object_set_new(where, "cells", cells_json(&m));
		ctl_dump(json_incref(where));
	} else {
		list = json_object_get(where, "regions");
		printf("Guest %s: %" PRIu64 "-bit IPA space\n", c->name, ctl_u64(where, "ipa_bits"));
		json_array_foreach(list, i, r)
			print_region(ctl_str(r, "name"), ctl_u64(r, "base"), MAX(ctl_u64(r, "size"),
										 UINT64_C(1)));
		if (shared)
			print_region("the same again, shared", shared, shared);
		print_cells(&m, shared);
	}
	ctl_map_free(&m);
out:
	json_decref(where);
	return ret;
}

/* ---- command --------------------------------------------------------------------------------- */

static int one(void *ctx, struct ctl_conn *c, struct err *e)
{
	const struct stat_options *o = ctx;
	int ret = 0;

	if (!o->map || o->memory)
		ret = memory(o, c, e);
	if (!ret && o->map)
		ret = map(o, c, e);
	return ret;
}

static int watch(struct stat_options *o, struct err *e)
{
	bool screen = isatty(STDOUT_FILENO);
	unsigned int times = 0;
	int ret;

	for (;;) {
		if (screen)
			printf("\033[H\033[J");	/* ECMA-48: home, erase what is below */
		else if (times && !o->json)
			putchar('\n');
		ret = ctl_each(&o->sel, one, o, e);
		if (!ret)
			ret = cmd_flush(e);
		if (ret < 0)
			break;
		times++;
		sleep(o->every);
	}
	/* that a guest ends is the usual end of looking at it */
	return times && (ret == -ENOENT || ret == -ECONNRESET) ? 0 : ret;
}

int cmd_stat(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	struct stat_options o = { 0 };
	int ret = ctl_options(&stat_table, &o.sel, true, argc, argv, e);

	if (ret > 0)
		ret = cmd_help_stat(cx, false, e);
	else if (!ret)
		ret = o.watch ? watch(&o, e) : ctl_each(&o.sel, one, &o, e);
	free(o.sel.name);
	return ret < 0 ? ret : cmd_flush(e);
}

#endif
