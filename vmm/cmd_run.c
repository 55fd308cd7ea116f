// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmd.h"

#include <stdio.h>
#include <unistd.h>

#include "vmm/config.h"
#include "vmm/core/log.h"
#include "vmm/session.h"

int cmd_run(struct vm_config *c, struct err *e)
{
	char name[32];
	const char *what = c->firmware ? "--firmware" : "-k";

	log_set_level(c->loglevel);
	snprintf(name, sizeof(name), "guest-%d", (int)getpid());
	/* lkvm's line: scripts look for it */
	if (c->kernel || c->firmware)
		log_info("# lkvm run %s %s -m %" PRIu64 " -c %u --name %s", what,
			 c->firmware ? c->firmware : c->kernel, c->mem / SZ_1M, c->cpus,
			 c->name ? c->name : name);
	return session_run(c, NULL, e);
}
