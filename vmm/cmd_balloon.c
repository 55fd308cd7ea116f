// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmd.h"
#include "vmm/ctl_client.h"

#ifdef HAVE_JANSSON

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "vmm/core/err.h"

int cmd_help_balloon(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s balloon [OPTIONS] [NAME]\n\n"
	       "Changes how much memory the balloon of a guest holds, which the guest does without and the\n"
	       "host can use. The guest was started with --balloon, and gives what it can spare, when it\n"
	       "can; \"%s stat\" shows how much that is.\n\n", cx->prog, cx->prog);
	opt_help(stdout, &balloon_table, full);
	return cmd_flush(e);
}

static bool given(uint64_t mib)
{
	return mib != BALLOON_NOT_GIVEN;
}

static int change(void *ctx, struct ctl_conn *c, struct err *e)
{
	const struct balloon_options *o = ctx;
	json_t *req = json_object(), *r;
	int ret;

	if (given(o->inflate))
		json_object_set_new(req, "inflate", json_integer(o->inflate));
	if (given(o->deflate))
		json_object_set_new(req, "deflate", json_integer(o->deflate));
	if (given(o->size))
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
	struct balloon_options o = {
		.inflate = BALLOON_NOT_GIVEN,
		.deflate = BALLOON_NOT_GIVEN,
		.size = BALLOON_NOT_GIVEN,
	};
	int ret = ctl_options(&balloon_table, &o.sel, true, argc, argv, e);

	if (ret > 0)
		ret = cmd_help_balloon(cx, false, e);
	else if (!ret && given(o.inflate) + given(o.deflate) + given(o.size) != 1)
		ret = err_set(e, -EINVAL, "how? Give one of --inflate MB, --deflate MB and --size MB");
	else if (!ret)
		ret = ctl_each(&o.sel, change, &o, e);
	free(o.sel.name);
	return ret < 0 ? ret : cmd_flush(e);
}

#endif
