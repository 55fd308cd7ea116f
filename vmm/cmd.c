// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/core/parse.h"
#include "vmm/options.h"
#include "vmm/rootfs.h"

static int run_guest(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	struct vm_config c;
	int ret;

	ret = options_run(&c, cx->lkvm, argc, argv, e);
	if (!ret)
		ret = rootfs_config(&c, e);
	if (ret == OPTIONS_HELP) {
		ret = cmd_help_run(cx, false, e);
	} else if (!ret && c.sandbox_script) {
		ret = sandbox_script(&c, e);
	} else if (!ret) {
		rootfs_name(&c);
		ret = cmd_run(&c, e);
	}
	config_free(&c);
	return ret;
}

#ifdef HAVE_JANSSON
#define CONTROL(name) cmd_##name, NULL, cmd_help_##name
#else
#define CONTROL(name) NULL, "it was built without jansson (libjansson-dev)"
#endif

/* clang-format off */
const struct cmd commands[] = {
	{ "run", "run a guest: a realm, an emulated realm or a VM", run_guest, NULL, cmd_help_run,
	  .title = "Run" },
	{ "config", "check config files, show what is in force, write one", cmd_config, NULL,
	  cmd_help_config },
	{ "setup", "make a root file system, for lkvm run without a disk", cmd_setup, NULL,
	  cmd_help_setup },
	{ "sandbox", "run a command in a guest, with lkvm's root file system", cmd_sandbox, NULL,
	  cmd_help_sandbox },
	{ "list", "list guests", CONTROL(list), .title = "Guests that run" },
	{ "stop", "end a guest", CONTROL(stop) },
	{ "pause", "keep a guest from running", CONTROL(pause) },
	{ "resume", "let a paused guest go on", CONTROL(resume) },
	{ "console", "attach to a guest's console", CONTROL(console) },
	{ "wait", "wait for a guest's end, or for a line on its console", CONTROL(wait) },
	{ "stat", "print a guest's memory, or a map of it", CONTROL(stat) },
	{ "metrics", "print a guest's counters", CONTROL(metrics) },
	{ "balloon", "change how much memory a guest has", CONTROL(balloon) },
	{ "debug", "dump a guest's registers, send it a SysRq key", CONTROL(debug) },
	{ "check", "tell what this host can do", cmd_check, NULL, cmd_help_check,
	  .title = "Host, measurement, attestation" },
	{ "measure", "predict a realm's measurement", cmd_measure, NULL,
	  cmd_help_measure },
	{ "token", "read and verify an attestation token", cmd_token, NULL,
	  cmd_help_token },
	{ "help", "print help, also for a command: help run", cmd_help, .title = "This program" },
	{ "version", "print the version and what it was built with", cmd_version },
	{ "completion", "print the completion script of a shell", cmd_completion, NULL,
	  cmd_help_completion },
	{ NULL }
};
/* clang-format on */

const struct cmd *cmd_find(const char *name, struct err *e)
{
	struct nearest n = {.word = name};

	for (const struct cmd *c = commands; c->name; c++) {
		if (!strcmp(c->name, name))
			return c;
		nearest_offer(&n, c->name);
	}
	if (n.best)
		err_set(e, -EINVAL,
			"unknown command \"%.80s\": did you mean %s? (\"help\" lists them "
			"all)",
			name, n.best);
	else
		err_set(e, -EINVAL, "unknown command \"%.80s\": \"help\" lists them all", name);
	return NULL;
}

int cmd_refuse(const struct cmd *c, struct err *e)
{
	return err_set(e, -ENOSYS, "the command %s is not in this version: %s", c->name,
		       c->instead);
}

int cmd_flush(struct err *e)
{
	if (fflush(stdout) || ferror(stdout))
		return err_set(e, -EIO, "writing to the standard output failed: %s",
			       strerror(errno));
	return 0;
}

/* lkvm, and the other names by which test suites look for it */
static bool is_lkvm(const char *prog)
{
	return !strcmp(prog, "lkvm") || !strcmp(prog, "lkvm-static") || !strcmp(prog, "vm");
}

int cmd_main(int argc, char **argv, struct err *e)
{
	struct cmd_ctx cx = {.prog = "realmtool"};
	const struct cmd *c;
	const char *name, *slash;

	if (argc > 0) {
		slash = strrchr(argv[0], '/');
		cx.prog = slash ? slash + 1 : argv[0];
	}
	/* installed by "setup", started by a kernel */
	if (getpid() == 1 && !strcmp(cx.prog, "init"))
		return rootfs_init(argv[0], e);
	cx.lkvm = is_lkvm(cx.prog);

	if (argc < 2) {
		if (cx.lkvm)
			return cmd_help(&cx, 0, NULL, e);
		cmd_help_commands(&cx, stderr);
		return EXIT_FATAL;
	}
	name = argv[1];
	if (!strcmp(name, "--version"))
		name = "version";
	else if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = "help";
	else if (name[0] == '-')
		return err_set(e, -EINVAL,
			       "option %s stands before the command: write \"%s run %s "
			       "...\"",
			       name, cx.prog, name);
	c = cmd_find(name, e);
	if (!c)
		return -EINVAL;
	if (!c->fn)
		return cmd_refuse(c, e);
	/* also where there are no options to look through */
	if (argc == 3 && (!strcmp(argv[2], "--help") || (!c->options && !strcmp(argv[2], "-h"))))
		return c->options ? c->options(&cx, false, e) :
				    cmd_help(&cx, c->fn == cmd_help ? 0 : 1, argv + 1, e);
	return c->fn(&cx, argc - 2, argv + 2, e);
}
