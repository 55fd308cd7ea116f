// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmd.h"
#include "vmm/ctl_client.h"

#ifdef HAVE_JANSSON

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/core/err.h"

#define TIMEOUT_S	60	/* disks are flushed, and a realm's memory is given back */

int cmd_help_stop(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s stop [OPTIONS] [NAME]\n\n"
	       "Ends a guest and waits until its process has released everything. The guest is not asked:\n"
	       "to it this is a loss of power. What it flushed is on its disks.\n\n", cx->prog);
	opt_help(stdout, &stop_table, full);
	return cmd_flush(e);
}

/* A descriptor that is readable when the guest's process has ended, or -1 (before Linux 5.3). */
static int process_of(const struct ctl_conn *c)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
		return -1;
	return syscall(SYS_pidfd_open, who.pid, 0);
}

/* Locks on disks are free when the process is gone, and not before. */
static int await(const struct stop_options *o, struct ctl_conn *c, int process, struct err *e)
{
	struct pollfd p = { .fd = process < 0 ? c->fd : process, .events = POLLIN };
	int n;

	do {
		n = poll(&p, 1, o->timeout * 1000);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		return 0;
	return err_set(e, -ETIMEDOUT, "guest %s: it has not ended after %u s; kill -9 its process if it "
		       "never does", c->name, o->timeout);
}

static int stop(void *ctx, struct ctl_conn *c, struct err *e)
{
	const struct stop_options *o = ctx;
	int process = process_of(c), ret;

	ret = ctl_request(c, "stop", json_pack("{sb}", "force", o->force), NULL, e);
	if (!ret && o->timeout)
		ret = await(o, c, process, e);
	if (process >= 0)
		close(process);
	return ret;
}

int cmd_stop(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	struct stop_options o = { .timeout = TIMEOUT_S };
	int ret = ctl_options(&stop_table, &o.sel, true, argc, argv, e);

	if (ret > 0)
		ret = cmd_help_stop(cx, false, e);
	else if (!ret)
		ret = ctl_each(&o.sel, stop, &o, e);
	free(o.sel.name);
	return ret;
}

#endif
