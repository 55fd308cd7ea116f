// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmd.h"
#include "vmm/ctl_client.h"

#ifdef HAVE_JANSSON

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/ctl_path.h"
#include "vmm/rootfs.h"

#define RIM_SHOWN	16	/* digits in the table */
#define RIM_TRIES	50	/* for --json: a measurement may take its time */
#define RIM_EACH_US	100000

int cmd_help_list(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s list [OPTIONS] [NAME]\n\n"
	       "Lists the guests of this user that run, or the one of that name: process, state (starting,\n"
	       "running, paused, ending), what it is (vm, emulated realm, realm and the kernel's interface\n"
	       "for it), size and initial measurement. Called as lkvm, root file systems too.\n\n", cx->prog);
	opt_help(stdout, &list_table, full);
	return cmd_flush(e);
}

/* What a guest says of itself; one that does not answer is listed as well. */
static json_t *status(const char *name, bool rim)
{
	json_t *r;
	struct err e;
	int ret = 0;

	for (unsigned int i = 0; i < (rim ? RIM_TRIES : 1); i++) {
		if (i)
			usleep(RIM_EACH_US);
		ret = ctl_ask(name, "status", json_pack("{sb}", "rim", rim), &r, &e);
		if (ret < 0 || !json_is_true(json_object_get(r, "measuring")) || i == RIM_TRIES - 1 || !rim)
			break;
		json_decref(r);
	}
	if (!ret) {
		json_object_del(r, "measuring");
		return r;
	}
	if (ret == -ENOENT || ret == -ECONNRESET)
		return NULL;	/* it ended meanwhile */
	return json_pack("{ssss}", "name", name, "state", "unreachable");
}

static void print_size(uint64_t bytes)
{
	char text[32];

	if (bytes % SZ_1G == 0)
		snprintf(text, sizeof(text), "%" PRIu64 "G", bytes / SZ_1G);
	else
		snprintf(text, sizeof(text), "%" PRIu64 "M", bytes / SZ_1M);
	printf("%7s ", text);
}

static void print_guest(const json_t *r, bool lkvm)
{
	char mode[40];

	printf("%6" PRIu64 " ", ctl_u64(r, "pid"));
	ctl_print(stdout, 20, ctl_str(r, "name"));
	putchar(' ');
	if (lkvm) {
		ctl_print(stdout, 0, ctl_str(r, "state"));
		putchar('\n');
		return;
	}
	ctl_print(stdout, 11, ctl_str(r, "state"));
	snprintf(mode, sizeof(mode), "%s%s%s", ctl_str(r, "mode"), *ctl_str(r, "generation") ? "/" : "",
		 ctl_str(r, "generation"));
	putchar(' ');
	ctl_print(stdout, 10, mode);
	printf(" %4" PRIu64 " ", ctl_u64(r, "cpus"));
	print_size(ctl_u64(r, "memory"));
	if (*ctl_str(r, "rim"))
		printf("%.*s...", RIM_SHOWN, ctl_str(r, "rim"));
	putchar('\n');
}

static void print_head(bool lkvm)
{
	if (lkvm)
		printf("   PID NAME                 STATE\n------------------------------------\n");
	else
		printf("   PID NAME                 STATE       MODE       CPUS  MEMORY MEASUREMENT\n");
}

static int guests(const struct list_options *o, const struct cmd_ctx *cx, json_t *list,
		  struct err *e)
{
	struct ctl_name *names;
	unsigned int nr;
	int ret = ctl_names(&names, &nr, e);

	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < nr; i++) {
		json_t *r = NULL;

		if (!o->sel.name || !strcmp(o->sel.name, names[i].name))
			r = status(names[i].name, o->json);
		if (!r)
			continue;
		if (list)
			json_array_append(list, r);
		else
			print_guest(r, cx->lkvm);
		json_decref(r);
	}
	ctl_names_free(names, nr);
	return 0;
}

static bool is_dir(const char *name)
{
	char *path = rootfs_path(name);
	struct stat st;
	bool is = path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);

	free(path);
	return is;
}

static int rootfs(json_t *list, struct err *e)
{
	char *path = rootfs_path("");
	struct dirent **names;
	int nr;

	if (!path)
		return err_set(e, -ENOMEM, "out of memory");
	nr = scandir(path, &names, NULL, alphasort);
	free(path);
	for (int i = 0; i < nr; i++) {
		if (names[i]->d_name[0] != '.' && is_dir(names[i]->d_name)) {
			if (list) {
				json_array_append_new(list, json_string(names[i]->d_name));
			} else {
				printf("       ");
				ctl_print(stdout, 20, names[i]->d_name);
				printf(" rootfs\n");
			}
		}
		free(names[i]);
	}
	if (nr >= 0)
		free(names);
	return 0;
}

int cmd_list(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	json_t *out = NULL, *list = NULL, *dirs = NULL;
	struct list_options o = { 0 };
	int ret = ctl_options(&list_table, &o.sel, false, argc, argv, e);

	if (ret) {
		free(o.sel.name);
		return ret < 0 ? ret : cmd_help_list(cx, false, e);
	}
	/* lkvm lists both if nothing is said */
	if (!o.run && !o.rootfs) {
		o.run = true;
		o.rootfs = cx->lkvm && !o.sel.name;
	}
	if (o.json) {
		out = json_object();
		if (o.run)
			json_object_set_new(out, "guests", list = json_array());
		if (o.rootfs)
			json_object_set_new(out, "rootfs", dirs = json_array());
	} else {
		print_head(cx->lkvm);
	}
	if (o.run)
		ret = guests(&o, cx, list, e);
	if (!ret && o.rootfs)
		ret = rootfs(dirs, e);
	if (!ret && out)
		ctl_dump(json_incref(out));
	json_decref(out);
	free(o.sel.name);
	return ret < 0 ? ret : cmd_flush(e);
}

#endif
