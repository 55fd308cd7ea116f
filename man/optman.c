// SPDX-License-Identifier: BSD-3-Clause
/*
 * Prints the parts of manual pages that come from tables of options: optman COMMAND, the options of
 * a command; optman keys, the keys of realmtool.conf.5. Runs on the machine that builds.
 */
#include <string.h>

#include "vmm/cmd.h"
#include "vmm/ctl_options.h"
#include "vmm/options.h"

static const struct {
	const char *name;
	const struct opt_table *options;
} tables[] = {
	{ "run", &run_options },     { "check", &check_table }, { "config", &config_table },
	{ "measure", &measure_table }, { "token", &token_table },
};

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	const struct ctl_table *t = ctl_tables;
	size_t i = 0;

	check_borrow_options();
	while (t->name && strcmp(t->name, word))
		t++;
	while (i < ARRAY_SIZE(tables) && strcmp(tables[i].name, word))
		i++;
	if (t->name)
		opt_man(stdout, t->options);
	else if (i < ARRAY_SIZE(tables))
		opt_man(stdout, tables[i].options);
	else if (!strcmp(word, "keys"))
		opt_man_keys(stdout, &run_options);
	else
		return 1;
	return fflush(stdout) ? 1 : 0;
}
