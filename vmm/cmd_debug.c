// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmd.h"
#include "vmm/ctl_client.h"

#ifdef HAVE_JANSSON

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "vmm/core/err.h"

#define PER_LINE 3

int cmd_help_debug(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s debug [OPTIONS] [NAME]\n\n"
	       "Prints the registers of a guest's vCPUs, or sends it a SysRq key. Without an option it\n"
	       "dumps. The registers of a realm cannot be read, those of an emulated one can.\n\n", cx->prog);
	opt_help(stdout, &debug_table, full);
	return cmd_flush(e);
}

static void print_registers(const json_t *vcpu)
{
	const json_t *regs = json_object_get(vcpu, "registers");
	const char *name;
	json_t *val;
	unsigned int n = 0;

	printf(" vCPU %" PRIu64 "\n", ctl_u64(vcpu, "id"));
	json_object_foreach((json_t *)regs, name, val) {
		putchar(' ');
		ctl_print(stdout, 10, name);
		ctl_print(stdout, 0, json_string_value(val) ? json_string_value(val) : "?");
		if (++n % PER_LINE == 0)
			putchar('\n');
	}
	if (n % PER_LINE)
		putchar('\n');
}

static int debug(void *ctx, struct ctl_conn *c, struct err *e)
{
	const struct debug_options *o = ctx;
	json_t *req = json_pack("{sb}", "dump", o->dump), *r, *list, *vcpu;
	size_t i;
	int ret;

	if (o->sysrq)
		json_object_set_new(req, "sysrq", json_string(o->sysrq));
	if (o->nmi != DEBUG_NO_NMI)
		json_object_set_new(req, "nmi", json_integer(o->nmi));
	ret = ctl_request(c, "debug", req, &r, e);
	if (ret < 0)
		return ret;
	list = json_object_get(r, "vcpus");
	if (list)
		printf("Guest %s\n", c->name);
	json_array_foreach(list, i, vcpu)
		print_registers(vcpu);
	json_decref(r);
	return 0;
}

int cmd_debug(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	struct debug_options o = { .nmi = DEBUG_NO_NMI };
	int ret = ctl_options(&debug_table, &o.sel, true, argc, argv, e);

	o.dump |= !o.sysrq && o.nmi == DEBUG_NO_NMI;
	if (ret > 0)
		ret = cmd_help_debug(cx, false, e);
	else if (!ret)
		ret = ctl_each(&o.sel, debug, &o, e);
	free(o.sel.name);
	free(o.sysrq);
	return ret < 0 ? ret : cmd_flush(e);
}

#endif
