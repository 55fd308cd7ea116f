// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmd.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/term.h"

int main(int argc, char **argv)
{
	struct err e = { 0 };
	int ret;

	/* Before anything is opened: a closed stdin must not become a disk. */
	if (term_reserve_stdio() < 0)
		return EXIT_FATAL;
	log_find_journal();
	ret = cmd_main(argc, argv, &e);
	if (ret < 0) {
		log_fatal(&e);
		return EXIT_FATAL;
	}
	return ret;
}
