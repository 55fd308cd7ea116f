// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmd.h"
#include "vmm/ctl_client.h"

#ifdef HAVE_JANSSON

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "vmm/core/err.h"

#define MIB_MAX (UINT64_C(1) << 32)
#define NOT_GIVEN UINT64_MAX

struct balloon_options {
	struct ctl_sel sel;
	uint64_t inflate, deflate, size;
	bool json;
};

#define TO(field) .offset = offsetof(struct balloon_options, field)

static const struct opt options[] = {
	CTL_OPT_NAME,
	{ .name = "inflate", .letter = 'i', .arg = "MB", .help = "take so many MiB more from the guest",
	  .parse = opt_u64, TO(inflate), .max = MIB_MAX },
	{ .name = "deflate", .letter = 'd', .arg = "MB", .help = "give so many MiB back",
	  .parse = opt_u64, TO(deflate), .max = MIB_MAX },
	{ .name = "size", .arg = "MB", .help = "let the balloon hold so many MiB",
	  .parse = opt_u64, TO(size), .max = MIB_MAX },
	{ .name = "json", .flags = OPT_FLAG, .help = "print JSON", .parse = opt_flag, TO(json) },
	CTL_OPT_HELP,
};

static const struct opt_table table = CTL_TABLE(options, "balloon");

int cmd_help_balloon(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s balloon [OPTIONS] [NAME]\n\n"
	       "Changes how much memory the balloon of a guest holds, which the guest does without and the\n"
	       "host can use. The guest was started with --balloon, and gives what it can spare, when it\n"
	       "can; \"%s stat\" shows how much that is.\n\n", cx->prog, cx->prog);
	opt_help(stdout, &table, full);
	return cmd_flush(e);
}

static int change(void *ctx, struct ctl_conn *c, struct err *e)
{
	const struct balloon_options *o = ctx;
	json_t *req = json_object(), *r;
	int ret;

	if (o->inflate != NOT_GIVEN)
		json_object_set_new(req, "inflate", json_integer(o->inflate));
	if (o->deflate != NOT_GIVEN)
		json_object_set_new(req, "deflate", json_integer(o->deflate));
	if (o->size != NOT_GIVEN)
		json_object_set_new(req, "size", json_integer(o->size));
	ret = ctl_request(c, "balloon", req, &r, e);
	if (ret < 0)
		return ret;
	if (o->json) {
		ctl_dump(r);
		return 0;
	}
	printf("Guest %s: the balloon shall hold %" PRIu64 " MiB, and holds %" PRIu64 "\n", c->name,
	       ctl_u64(r, "target") / SZ_1M, ctl_u64(r, "actual") / SZ_1M);
	json_decref(r);
	return 0;
}

int cmd_balloon(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	struct balloon_options o = { .inflate = NOT_GIVEN, .deflate = NOT_GIVEN, .size = NOT_GIVEN };
	int ret = ctl_options(&table, &o.sel, true, argc, argv, e);

	if (ret > 0)
		ret = cmd_help_balloon(cx, false, e);
	else if (!ret && (o.inflate != NOT_GIVEN) + (o.deflate != NOT_GIVEN) + (o.size != NOT_GIVEN) != 1)
		ret = err_set(e, -EINVAL, "how? Give one of --inflate MB, --deflate MB and --size MB");
	else if (!ret)
		ret = ctl_each(&o.sel, change, &o, e);
	free(o.sel.name);
	return ret < 0 ? ret : cmd_flush(e);
}

#endif
