// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmd.h"
#include "vmm/ctl_client.h"

#ifdef HAVE_JANSSON

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/loop.h"

#define TIMEOUT_S	60	/* disks are flushed, and a realm's memory is given back */
#define NSEC_PER_SEC	UINT64_C(1000000000)
#define FORCE_MAX_S	UINT64_C(86400)	/* --stop-timeout ends there */

int cmd_help_stop(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s stop [OPTIONS] [NAME]\n\n"
	       "Ends a guest and waits until its process has released everything. The guest's\n"
	       "power button is pressed, if it has one (run --power-button); if it has not switched itself\n"
	       "off some time later (run --stop-timeout), and without a button, it loses its power. What it\n"
	       "flushed is on its disks.\n\n", cx->prog);
	opt_help(stdout, &stop_table, full);
	return cmd_flush(e);
}

/**
 * struct ending - a guest that was told to end
 * @fd: readable when its process has ended
 */
struct ending {
	int fd;
	uint64_t until;		/* loop_now() */
	char *name;
	struct ending *next;
};

struct stopping {
	const struct stop_options *o;
	struct ending *list;
};

/*
 * The guest's process, or, before Linux 5.3, the connection: it lasts almost as long. Locks on
 * disks are free when the process is gone, and not before.
 */
static int process_of(const struct ctl_conn *c)
{
	struct ucred who;
	socklen_t len = sizeof(who);
	int fd = -1;

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0)
		fd = syscall(SYS_pidfd_open, who.pid, 0);
	return fd < 0 ? dup(c->fd) : fd;
}

static int stop(void *ctx, struct ctl_conn *c, struct err *e)
{
	struct stopping *s = ctx;
	struct ending *n = calloc(1, sizeof(*n));
	json_t *r = NULL;
	int ret;

	if (!n)
		return err_set(e, -ENOMEM, "out of memory");
	n->fd = process_of(c);
	n->name = strdup(c->name);
	n->next = s->list;
	ret = ctl_request(c, "stop", json_pack("{sb}", "force", s->o->force), &r, e);
	if (ret < 0) {
		close(n->fd);
		free(n->name);
		free(n);
		return ret;
	}
	/* what is given to the guest to switch itself off comes on top */
	n->until = loop_now() + NSEC_PER_SEC *
		   (s->o->timeout + MIN(ctl_u64(r, "force_after"), FORCE_MAX_S));
	json_decref(r);
	s->list = n;
	return 0;
}

static int await(const struct ending *n, struct err *e)
{
	struct pollfd p = { .fd = n->fd, .events = POLLIN };
	uint64_t now;

	do {
		now = loop_now();
		if (poll(&p, 1, now < n->until ? (n->until - now) / 1000000 + 1 : 0) > 0)
			return 0;
	} while (now < n->until);
	return err_set(e, -ETIMEDOUT, "guest %s: it has not ended in time; kill -9 its process if it "
		       "never does", n->name ? n->name : "");
}

/* All of them were told: now wait for each. Return: the first error; the others are logged. */
static int await_all(struct stopping *s, struct err *e)
{
	int ret = 0;

	while (s->list) {
		struct ending *n = s->list;
		struct err why;

		if (s->o->timeout && await(n, &why) < 0) {
			if (ret)
				log_error("%s", why.msg);
			else
				*e = why;
			ret = why.code;
		}
		s->list = n->next;
		close(n->fd);
		free(n->name);
		free(n);
	}
	return ret;
}

int cmd_stop(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	struct stop_options o = { .timeout = TIMEOUT_S };
	struct stopping s = { .o = &o };
	struct err late;
	int waited, ret = ctl_options(&stop_table, &o.sel, true, argc, argv, e);

	if (ret > 0) {
		free(o.sel.name);
		return cmd_help_stop(cx, false, e);
	}
	if (!ret)
		ret = ctl_each(&o.sel, stop, &s, e);
	waited = await_all(&s, &late);
	free(o.sel.name);
	if (ret < 0 || !waited)
		return ret;
	*e = late;
	return waited;
}

#endif
