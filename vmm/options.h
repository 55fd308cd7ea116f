/* SPDX-License-Identifier: BSD-3-Clause */
/* The one table of options of "run", and the way from a command line to a config. */
#ifndef VMM_OPTIONS_H
#define VMM_OPTIONS_H

#include "vmm/core/opt.h"

struct conf;
struct vm_config;

extern const struct opt_table run_options;

#define OPTIONS_HELP 1 /* options_run(): --help was given */

/**
 * options_run() - what the words behind "run" ask for
 * @c:    filled from the defaults on; config_free() it in any case
 * @lkvm: the program was called as lkvm (--compat overrides it)
 * @argc, @argv: the words
 *
 * The words may name a config file (conf_find()), whose settings stand behind theirs.
 * Sets the log level, and logs what the user should know about his options.
 *
 * Return: 0, OPTIONS_HELP, or a negative errno.
 */
int options_run(struct vm_config *c, bool lkvm, int argc, char **argv, struct err *e);

/** options_apply() - the second half of it, for settings that were read with conf_args() */
int options_apply(struct conf *f, struct vm_config *c, bool lkvm, struct err *e);

#endif
