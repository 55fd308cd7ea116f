// SPDX-License-Identifier: BSD-3-Clause
/*
 * Prints the parts of manual pages that come from tables of options: optman COMMAND, the options of
 * a command; optman keys, the keys of realmtool.conf.5. Runs on the machine that builds.
 */
#include <string.h>

#include "vmm/ctl_options.h"
#include "vmm/options.h"

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	const struct ctl_table *t = ctl_tables;

	while (t->name && strcmp(t->name, word))
		t++;
	if (t->name)
		opt_man(stdout, t->options);
	else if (!strcmp(word, "keys"))
		opt_man_keys(stdout, &run_options);
	else if (!strcmp(word, "run"))
		opt_man(stdout, &run_options);
	else
		return 1;
	return fflush(stdout) ? 1 : 0;
}
