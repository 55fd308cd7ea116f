// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmd.h"

#include <errno.h>

#include "vmm/config.h"
#include "vmm/core/log.h"
#include "vmm/profile.h"
#include "vmm/session.h"

int cmd_run(struct vm_config *c, struct err *e)
{
	int ret = profile_apply(c, e);

	if (ret < 0)
		return ret;
	/* lkvm's line: scripts look for it */
	if (c->firmware || c->kernel)
		log_info("# lkvm run %s %s -m %" PRIu64 " -c %u --name %s",
			 c->firmware ? "--firmware" : "-k", c->firmware ? c->firmware : c->kernel,
			 c->mem / SZ_1M, c->cpus, c->name);
	ret = session_run(c, NULL, e);
	if (ret == -EKEYREJECTED) {
		log_fatal(e);
		return EXIT_RIM;
	}
	return ret;
}
