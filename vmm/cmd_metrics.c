// SPDX-License-Identifier: BSD-3-Clause
/* Counters of guests, as JSON or in Prometheus' text format (prometheus.io, exposition formats). */
#include "vmm/cmd.h"
#include "vmm/ctl_client.h"

#ifdef HAVE_JANSSON

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/core/err.h"
#include "vmm/ctl_map.h"

int cmd_help_metrics(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s metrics [OPTIONS] [NAME]\n\n"
	       "Prints the counters of a guest for monitoring, in the text format of Prometheus or as JSON:\n"
	       "exits by reason and vCPU, requests, bytes, kicks and interrupts by queue of each device,\n"
	       "private, shared and twice held memory, conversions.\n\n", cx->prog);
	opt_help(stdout, &metrics_table, full);
	return cmd_flush(e);
}

static int collect(void *ctx, struct ctl_conn *c, struct err *e)
{
	json_t *guests = ctx;
	struct ctl_map map;
	json_t *r, *ram, *where;
	struct err none;
	int ret = ctl_request(c, "metrics", NULL, &r, e);

	if (ret < 0)
		return ret;
	json_object_del(r, "measuring");
	ram = json_object_get(r, "ram");
	if (ctl_request(c, "regions", NULL, &where, &none) == 0) {
		if (ctl_map_get(c, ctl_u64(where, "ram_base"), ctl_u64(where, "ram_size"), 1, &map,
				&none) == 0) {
			if (map.known) {
				json_object_set_new(ram, "backed",
						    json_integer(map.sum.backed * GRANULE_SIZE));
				json_object_set_new(ram, "twice",
						    json_integer(map.sum.twice * GRANULE_SIZE));
			}
			ctl_map_free(&map);
		}
		json_decref(where);
	}
	json_array_append_new(guests, r);
	return 0;
}

/* ---- Prometheus ------------------------------------------------------------------------------ */

static void label(const char *name, const char *value)
{
	printf("%s=\"", name);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			putchar('\\');
		putchar((unsigned char)*value < 0x20 ? '?' : *value);
	}
	putchar('"');
}

static void head(const char *name, const char *type, const char *help)
{
	printf("# HELP realmtool_%s %s\n# TYPE realmtool_%s %s\n", name, help, name, type);
}

static void sample(const char *name, const json_t *guest)
{
	printf("realmtool_%s{", name);
	label("guest", ctl_str(guest, "name"));
}

static void info(const json_t *guests)
{
	json_t *g;
	size_t i;

	head("guest_info", "gauge", "A guest that runs.");
	json_array_foreach(guests, i, g) {
		sample("guest_info", g);
		printf(",pid=\"%" PRIu64 "\",", ctl_u64(g, "pid"));
		label("mode", ctl_str(g, "mode"));
		putchar(',');
		label("generation", ctl_str(g, "generation"));
		putchar(',');
		label("state", ctl_str(g, "state"));
		puts("} 1");
	}
}

static void scalars(const json_t *guests)
{
	static const struct {
		const char *name, *type, *help, *in, *key;
	} m[] = {
		{ "boots_total", "counter", "Boots of the guest, resets included.", NULL, "boots" },
		{ "uptime_milliseconds", "gauge", "Time since the start of the process.", NULL,
		  "uptime_ms" },
		{ "ram_bytes", "gauge", "RAM of the guest.", "ram", "ram" },
		{ "private_bytes", "gauge", "RAM that is private to the realm.", "ram", "private" },
		{ "shared_bytes", "gauge", "RAM that the realm shares.", "ram", "shared" },
		{ "backed_bytes", "gauge", "RAM, seen as devices see it, for which the host has memory.",
		  "ram", "backed" },
		{ "twice_bytes", "gauge", "Private RAM whose shared side has memory as well.", "ram",
		  "twice" },
		{ "process_resident_bytes", "gauge", "Memory of the process.", "ram",
		  "process_resident" },
		{ "rsi_calls_total", "counter", "Calls to the monitor.", "realm", "rsi_calls" },
		{ "conversions_to_shared_total", "counter", "Requests that made pages shared.", "realm",
		  "conversions_to_shared" },
		{ "conversions_to_private_total", "counter", "Requests that made pages private.", "realm",
		  "conversions_to_private" },
		{ "converted_to_shared_bytes_total", "counter", "Bytes that became shared.", "realm",
		  "bytes_to_shared" },
		{ "converted_to_private_bytes_total", "counter", "Bytes that became private.", "realm",
		  "bytes_to_private" },
		{ "balloon_target_bytes", "gauge", "What the balloon shall hold.", "balloon", "target" },
		{ "balloon_actual_bytes", "gauge", "What the balloon holds.", "balloon", "actual" },
		{ "dma_mappings", "gauge", "Mappings for assigned devices.", "dma", "mappings" },
		{ "dma_pinned_bytes", "gauge", "Memory pinned for assigned devices.", "dma", "pinned" },
		{ "dma_pinned_peak_bytes", "gauge", "The most that was pinned.", "dma", "pinned_peak" },
		{ "dma_maps_total", "counter", "Mappings made for assigned devices.", "dma", "maps" },
		{ "dma_unmaps_total", "counter", "Mappings taken away.", "dma", "unmaps" },
		{ "dma_splits_total", "counter", "Mappings that were split.", "dma", "splits" },
	};

	for (unsigned int n = 0; n < ARRAY_SIZE(m); n++) {
		bool first = true;
		json_t *g;
		size_t i;

		json_array_foreach(guests, i, g) {
			const json_t *in = m[n].in ? json_object_get(g, m[n].in) : g;

			if (!json_object_get(in, m[n].key))
				continue;
			if (first)
				head(m[n].name, m[n].type, m[n].help);
			first = false;
			sample(m[n].name, g);
			printf("} %" PRIu64 "\n", ctl_u64(in, m[n].key));
		}
	}
}

static void exits(const json_t *guests)
{
	const char *reason;
	json_t *g, *v, *n;
	size_t i, k;

	head("exits_total", "counter", "Exits to user space.");
	json_array_foreach(guests, i, g) {
		const json_t *vcpus = json_object_get(g, "vcpus");

		json_array_foreach(vcpus, k, v) {
			json_object_foreach(json_object_get(v, "exits"), reason, n) {
				sample("exits_total", g);
				printf(",vcpu=\"%zu\",", k);
				label("reason", reason);
				printf("} %" JSON_INTEGER_FORMAT "\n", json_integer_value(n));
			}
		}
	}
}

static void queues(const json_t *guests)
{
	static const struct {
		const char *name, *help, *key;
	} m[] = {
		{ "queue_requests_total", "Buffers that a device took.", "requests" },
		{ "queue_from_guest_bytes_total", "Bytes that the guest offered to it.",
		  "bytes_from_guest" },
		{ "queue_to_guest_bytes_total", "Bytes that it wrote for the guest.", "bytes_to_guest" },
		{ "queue_kicks_total", "Kicks of the guest.", "kicks" },
		{ "queue_interrupts_total", "Interrupts of the guest.", "interrupts" },
	};
	json_t *g, *d, *q;
	size_t i, k, j;

	for (unsigned int n = 0; n < ARRAY_SIZE(m); n++) {
		head(m[n].name, "counter", m[n].help);
		json_array_foreach(guests, i, g) {
			const json_t *devices = json_object_get(g, "devices");

			json_array_foreach(devices, k, d) {
				const json_t *list = json_object_get(d, "queues");

				json_array_foreach(list, j, q) {
					if (json_is_true(json_object_get(q, "external")))
						continue;
					sample(m[n].name, g);
					putchar(',');
					label("device", ctl_str(d, "name"));
					printf(",queue=\"%zu\"} %" PRIu64 "\n", j,
					       ctl_u64(q, m[n].key));
				}
			}
		}
	}
}

static void uarts(const json_t *guests)
{
	static const struct {
		const char *name, *help, *key;
	} m[] = {
		{ "uart_from_guest_bytes_total", "Bytes that the guest sent.", "bytes_from_guest" },
		{ "uart_to_guest_bytes_total", "Bytes that it was given.", "bytes_to_guest" },
	};
	json_t *g, *u;
	size_t i, k;

	for (unsigned int n = 0; n < ARRAY_SIZE(m); n++) {
		head(m[n].name, "counter", m[n].help);
		json_array_foreach(guests, i, g) {
			const json_t *list = json_object_get(g, "uarts");

			json_array_foreach(list, k, u) {
				sample(m[n].name, g);
				printf(",uart=\"%zu\"} %" PRIu64 "\n", k, ctl_u64(u, m[n].key));
			}
		}
	}
}

static void assigned(const json_t *guests)
{
	static const struct {
		const char *name, *type, *help, *key;
	} m[] = {
		{ "assigned_vectors", "gauge", "Interrupts of a device that are on.", "vectors" },
		{ "assigned_bar_exits_total", "counter", "Accesses to its registers that were exits.",
		  "bar_exits" },
		{ "assigned_config_exits_total", "counter", "Accesses to its configuration space.",
		  "config_exits" },
	};
	json_t *g, *d;
	size_t i, k;

	for (unsigned int n = 0; n < ARRAY_SIZE(m); n++) {
		bool first = true;

		json_array_foreach(guests, i, g) {
			const json_t *list = json_object_get(g, "assigned");

			json_array_foreach(list, k, d) {
				if (first)
					head(m[n].name, m[n].type, m[n].help);
				first = false;
				sample(m[n].name, g);
				putchar(',');
				label("device", ctl_str(d, "name"));
				printf("} %" PRIu64 "\n", ctl_u64(d, m[n].key));
			}
		}
	}
}

static void print_text(const json_t *guests)
{
	if (!json_array_size(guests))
		return;
	info(guests);
	scalars(guests);
	exits(guests);
	queues(guests);
	uarts(guests);
	assigned(guests);
}

int cmd_metrics(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	struct metrics_options o = { 0 };
	json_t *guests;
	int ret = ctl_options(&metrics_table, &o.sel, true, argc, argv, e);

	if (ret) {
		free(o.sel.name);
		return ret < 0 ? ret : cmd_help_metrics(cx, false, e);
	}
	guests = json_array();
	ret = ctl_each(&o.sel, collect, guests, e);
	if (!ret && !o.json)
		print_text(guests);
	else if (!ret)
		ctl_dump(json_incref(o.sel.all ? guests : json_array_get(guests, 0)));
	json_decref(guests);
	free(o.sel.name);
	return ret < 0 ? ret : cmd_flush(e);
}

#endif
