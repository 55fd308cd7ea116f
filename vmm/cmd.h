/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands. Each returns an exit code, or a negative errno and the reason. */
#ifndef VMM_CMD_H
#define VMM_CMD_H

#include <stdio.h>

#include "vmm/core/types.h"

#define EXIT_FATAL 128 /* as lkvm: Makefiles and test suites look for it */
#define EXIT_RIM 3 /* the measurement is not the one that --expect-rim gives */

struct err;
struct opt_table;
struct vm_config;

/**
 * struct cmd_ctx - how the program was called
 * @prog: basename of argv[0]
 * @lkvm: it is one of lkvm's names
 */
struct cmd_ctx {
	const char *prog;
	bool lkvm;
};

/**
 * struct cmd - a command
 * @name:    word on the command line; NULL ends the table
 * @help:    one line
 * @options: prints its options; NULL: it has none
 * @fn:      runs it with the words behind its name; NULL: not in this version
 * @instead: if @fn is NULL: what to do now
 * @title:   heading of it and what follows in the list of commands; NULL: as before
 */
struct cmd {
	const char *name;
	const char *help;
	int (*fn)(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
	const char *instead;
	int (*options)(const struct cmd_ctx *cx, bool full, struct err *e);
	const char *title;
};

extern const struct cmd commands[];

/* the options of commands; those of others: vmm/options.h, vmm/ctl_options.h */
extern const struct opt_table check_table, config_table, measure_table, token_table;

/**
 * cmd_main() - choose the command and run it
 *
 * Return: exit code 0 or more, or a negative errno.
 */
int cmd_main(int argc, char **argv, struct err *e);

/** cmd_find() - command by its name, with the nearest name in the error if there is none */
const struct cmd *cmd_find(const char *name, struct err *e);

/** cmd_setup() - make a root file system below ~/.lkvm */
int cmd_setup(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
/** cmd_help_setup() - what it is for */
int cmd_help_setup(const struct cmd_ctx *cx, bool full, struct err *e);

/** cmd_sandbox() - run a command in a guest; returns its exit code */
int cmd_sandbox(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
/** cmd_help_sandbox() - what it is for */
int cmd_help_sandbox(const struct cmd_ctx *cx, bool full, struct err *e);
/**
 * sandbox_run() - run a command in the guest of a config with a root file system of "setup"
 * @argv: the command as the guest sees it, NULL at the end
 *
 * Return: its exit code, or a negative errno. Returns twice: the child returns what cmd_run() does.
 */
int sandbox_run(struct vm_config *c, char **argv, struct err *e);
/** sandbox_script() - the same for the script of lkvm's "run --sandbox SCRIPT" */
int sandbox_script(struct vm_config *c, struct err *e);

/** cmd_refuse() - the error for a command that this version does not have */
int cmd_refuse(const struct cmd *c, struct err *e);

/**
 * cmd_run() - run a guest
 * @c: checked config (options_run()); the caller frees it
 */
int cmd_run(struct vm_config *c, struct err *e);

/** cmd_help() - the commands, or the options of one command */
int cmd_help(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
/** cmd_help_commands() - the list of commands */
void cmd_help_commands(const struct cmd_ctx *cx, FILE *f);
/** cmd_help_run() - the options of "run"; @full: with their explanations */
int cmd_help_run(const struct cmd_ctx *cx, bool full, struct err *e);
/** cmd_version() - version, and what this binary was built with */
int cmd_version(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);

/**
 * cmd_check() - tell what this host can do
 *
 * Return: 0 realms, 1 emulated realms or plain VMs only, 2 nothing; negative errno.
 */
int cmd_check(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
/** check_borrow_options() - fill @check_table with those that are as in "run" */
void check_borrow_options(void);
/** cmd_help_check() - its options */
int cmd_help_check(const struct cmd_ctx *cx, bool full, struct err *e);

/** cmd_measure() - predict the measurement of a launch; takes the options of "run" */
int cmd_measure(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
/** cmd_help_measure() - its options */
int cmd_help_measure(const struct cmd_ctx *cx, bool full, struct err *e);

/**
 * cmd_config() - check config files, show what is in force, write one for a command line
 *
 * Return: 0, 1 if "check" found errors; negative errno.
 */
int cmd_config(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
/** cmd_help_config() - its options */
int cmd_help_config(const struct cmd_ctx *cx, bool full, struct err *e);

/**
 * cmd_token() - read and verify an attestation token
 *
 * Return: 0 all that could be checked is right, 1 something is wrong, EXIT_RIM; negative errno.
 */
int cmd_token(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
/** cmd_help_token() - its options */
int cmd_help_token(const struct cmd_ctx *cx, bool full, struct err *e);

/** cmd_completion() - print the completion script of a shell, or answer it */
int cmd_completion(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
/** cmd_help_completion() - how to use it */
int cmd_help_completion(const struct cmd_ctx *cx, bool full, struct err *e);

/*
 * The commands that speak to guests which run (vmm/ctl_client.h); without jansson there are none.
 * Each returns 0 unless it says otherwise here, or a negative errno.
 */
int cmd_list(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
int cmd_stop(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
int cmd_pause(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
int cmd_resume(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
int cmd_stat(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
int cmd_balloon(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
int cmd_debug(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
int cmd_metrics(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
/** cmd_wait() - 0 what was waited for came, 1 the guest ended otherwise, 2 it took too long */
int cmd_wait(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);
int cmd_console(const struct cmd_ctx *cx, int argc, char **argv, struct err *e);

int cmd_help_list(const struct cmd_ctx *cx, bool full, struct err *e);
int cmd_help_stop(const struct cmd_ctx *cx, bool full, struct err *e);
int cmd_help_pause(const struct cmd_ctx *cx, bool full, struct err *e);
int cmd_help_resume(const struct cmd_ctx *cx, bool full, struct err *e);
int cmd_help_stat(const struct cmd_ctx *cx, bool full, struct err *e);
int cmd_help_balloon(const struct cmd_ctx *cx, bool full, struct err *e);
int cmd_help_debug(const struct cmd_ctx *cx, bool full, struct err *e);
int cmd_help_metrics(const struct cmd_ctx *cx, bool full, struct err *e);
int cmd_help_wait(const struct cmd_ctx *cx, bool full, struct err *e);
int cmd_help_console(const struct cmd_ctx *cx, bool full, struct err *e);

extern const char realmtool_version[];

/** struct build_lib - a library: is it built in, and what is lost without; NULL ends */
struct build_lib {
	const char *name;
	bool there;
	const char *without;
};
extern const struct build_lib build_libs[];

/** cmd_flush() - were all lines written? For commands whose output is on stdout. */
int cmd_flush(struct err *e);

#endif
