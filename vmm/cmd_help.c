// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmd.h"

#include <errno.h>
#include <stdio.h>

#include "vmm/core/err.h"
#include "vmm/options.h"

void cmd_help_commands(const struct cmd_ctx *cx, FILE *f)
{
	fprintf(f, "usage: %s COMMAND [OPTIONS]\n", cx->prog);
	/* kvm-unit-tests looks for these words to find a KVMTOOL */
	if (cx->lkvm)
		fputs("\nThe most commonly used lkvm commands are:\n", f);
	for (const struct cmd *c = commands; c->name; c++) {
		if (c->title)
			fprintf(f, "\n%s\n", c->title);
		if (c->fn)
			fprintf(f, "  %-11s %s\n", c->name, c->help);
	}
	fprintf(f,
		"\nExamples\n"
		"  %s run --realm=emulated -k Image -i initrd -p console=ttyS0\n"
		"  %s run --realm -c 2 -m 512 -k Image -d disk.img -p root=/dev/vda2\n\n"
		"\"%s run --help\" lists the options, \"%s help run\" explains them.\n",
		cx->prog, cx->prog, cx->prog, cx->prog);
}

int cmd_help_run(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s run [FILE.conf|NAME] [OPTIONS] [KERNEL]\n", cx->prog);
	if (full)
		fputs("\n"
		      "Options are written --name VALUE, --name=VALUE, -x VALUE or -xVALUE. Numbers are\n"
		      "decimal, 0x hexadecimal or 0 octal. -- ends the options. The first word that is no\n"
		      "option is the kernel, or a config file: FILE.conf, or NAME if there is no such file\n"
		      "here and ~/.config/realmtool or /etc/realmtool has a NAME.conf. Options override\n"
		      "what it says.\n"
		      "\n"
		      "Exit code: 0 when the guest powered off or ctrl-a x ended it, 128 when it could\n"
		      "not start or died, 128 + N when signal N ended it.\n", stdout);
	opt_help(stdout, &run_options, full);
	if (!full)
		printf("\n\"%s help run\" explains them.\n", cx->prog);
	return cmd_flush(e);
}

int cmd_help(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	const struct cmd *c;

	if (!argc) {
		cmd_help_commands(cx, stdout);
		return cmd_flush(e);
	}
	if (argc > 1)
		return err_set(e, -EINVAL, "help takes one command, \"%.80s\" is one word too many",
			       argv[1]);
	c = cmd_find(argv[0], e);
	if (!c)
		return -EINVAL;
	if (!c->fn)
		return cmd_refuse(c, e);
	if (c->options)
		return c->options(cx, true, e);
	printf("usage: %s %s%s\n\n%s\n", cx->prog, c->name, c->fn == cmd_help ? " [COMMAND]" : "",
	       c->help);
	return cmd_flush(e);
}
