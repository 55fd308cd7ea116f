// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmd.h"
#include "vmm/ctl_client.h"

#ifdef HAVE_JANSSON

#include <jansson.h>
#include <stdlib.h>

#include "vmm/core/err.h"

int cmd_help_pause(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s pause [OPTIONS] [NAME]\n\n"
	       "Keeps the vCPUs of a guest out of it until \"%s resume\". Devices finish what they were\n"
	       "asked for. The clock of a VM and of an emulated realm stands meanwhile; that of a realm\n"
	       "goes on.\n\n", cx->prog, cx->prog);
	opt_help(stdout, &pause_table, full);
	return cmd_flush(e);
}

int cmd_help_resume(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s resume [OPTIONS] [NAME]\n\n"
	       "Lets a guest that was paused go on.\n\n", cx->prog);
	opt_help(stdout, &resume_table, full);
	return cmd_flush(e);
}

/* Return: was it not so before? < 0: a negative errno. */
static int ask(struct ctl_conn *c, const char *cmd, struct err *e)
{
	json_t *r;
	int ret = ctl_request(c, cmd, NULL, &r, e);

	if (ret < 0)
		return ret;
	ret = json_is_true(json_object_get(r, "changed"));
	json_decref(r);
	return ret;
}

static int pause_guest(void *ctx, struct ctl_conn *c, struct err *e)
{
	int ret = ask(c, "pause", e);

	if (ret >= 0)
		printf("Guest %s %s\n", c->name, ret ? "paused" : "is paused already");
	return MIN(ret, 0);
}

static int resume_guest(void *ctx, struct ctl_conn *c, struct err *e)
{
	int ret = ask(c, "resume", e);

	if (ret >= 0)
		printf("Guest %s %s\n", c->name, ret ? "resumed" : "is not paused");
	return MIN(ret, 0);
}

int cmd_pause(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	struct ctl_sel sel = { 0 };
	int ret = ctl_options(&pause_table, &sel, true, argc, argv, e);

	if (ret > 0)
		ret = cmd_help_pause(cx, false, e);
	else if (!ret)
		ret = ctl_each(&sel, pause_guest, NULL, e);
	free(sel.name);
	return ret < 0 ? ret : cmd_flush(e);
}

int cmd_resume(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	struct ctl_sel sel = { 0 };
	int ret = ctl_options(&resume_table, &sel, true, argc, argv, e);

	if (ret > 0)
		ret = cmd_help_resume(cx, false, e);
	else if (!ret)
		ret = ctl_each(&sel, resume_guest, NULL, e);
	free(sel.name);
	return ret < 0 ? ret : cmd_flush(e);
}

#endif
