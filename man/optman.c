// SPDX-License-Identifier: BSD-3-Clause
/* Prints the option part of realmtool-run.1 from the one table. Runs on the machine that builds. */
#include "vmm/options.h"

int main(void)
{
	opt_man(stdout, &run_options);
	return fflush(stdout) ? 1 : 0;
}
