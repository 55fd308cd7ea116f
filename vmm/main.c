// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmd.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"

int main(int argc, char **argv)
{
	struct err e = {0};
	int ret = cmd_main(argc, argv, &e);

	if (ret < 0) {
		log_fatal(&e);
		return EXIT_FATAL;
	}
	return ret;
}
