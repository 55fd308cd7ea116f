// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/vu_host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "virtio/vhost_user.h"
#include "vmm/attendant.h"
#include "vmm/core/err.h"
#include "vmm/helper.h"
#include "vmm/machine.h"

/* #syscalls main?backend: close */

/* A program that was just started may have to read a large image's tables, on a busy machine. */
#define START_MS	20000
#define GREET_MS	4000
#define STOP_MS		3000

struct vu_host {
	struct vu_host_cfg cfg;
	char *name, *socket;
	struct helper *helper;
	struct vhost_user *conn;
	int job;			/* of the attendant: start it again */
};

static int again_job(void *ctx, int fds[ATTENDANT_FDS], unsigned int *nr, struct err *e);

int vu_host_new(const struct vu_host_cfg *cfg, struct vu_host **out, struct err *e)
{
	struct vu_host *h = calloc(1, sizeof(*h));

	*out = NULL;
	if (!h)
		return err_set(e, -ENOMEM, "%s: no memory", cfg->name);
	h->cfg = *cfg;
	h->job = attendant_add(&(struct attendant_job){ .fn = again_job, .ctx = h, .fd = -1 });
	h->name = strdup(cfg->name);
	h->socket = cfg->socket ? strdup(cfg->socket) : NULL;
	if (!h->name || (cfg->socket && !h->socket)) {
		err_set(e, -ENOMEM, "%s: no memory", cfg->name);
		vu_host_free(h);
		return -ENOMEM;
	}
	*out = h;
	return 0;
}

static void down(struct vu_host *h)
{
	/* In this order: virtiofsd ends when its socket is closed. */
	vhost_user_free(h->conn);
	h->conn = NULL;
	helper_stop(h->helper, STOP_MS);
	h->helper = NULL;
}

void vu_host_free(struct vu_host *h)
{
	if (!h)
		return;
	down(h);
	attendant_withdraw(h->job);
	free(h->name);
	free(h->socket);
	free(h);
}

static int dial(const struct vu_host *h, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, ret;

	if (strlen(h->socket) >= sizeof(sa.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s: a socket's path has at most %zu bytes", h->name,
			       sizeof(sa.sun_path) - 1);
	strcpy(sa.sun_path, h->socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(e, -errno, "%s: socket: %s", h->name, strerror(errno));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		ret = err_set(e, -errno, "%s: no vhost-user back end at %s: %s; start it first", h->name,
			      h->socket, strerror(errno));
		close(fd);
		return ret;
	}
	return fd;
}

static int spawn(struct vu_host *h, struct err *e)
{
	char *argv[VU_ARGS_MAX] = { NULL };
	int listener = -1, conn = -1;
	struct helper_cfg cfg = {
		.argv = (const char *const *)argv,
		.package = h->cfg.package,
		.instead = h->cfg.instead,
		.fd = &listener,
		.nr_fds = 1,
		.level = LOG_WARNING,
	};
	int ret = helper_socket(&listener, &conn, e);

	if (ret < 0)
		return ret;
	ret = h->cfg.args(h->cfg.ctx, listener, argv);
	if (ret < 0)
		err_set(e, ret, "%s: no memory", h->name);
	else
		ret = helper_start(&cfg, &h->helper, e);
	for (unsigned int i = 0; i < VU_ARGS_MAX; i++)
		free(argv[i]);
	close(listener);
	if (ret < 0)
		close(conn);
	return ret < 0 ? ret : conn;
}

/*
 * In the attendant, on its copy: what it started before ends, and the connection is not its own. A
 * process that it starts is its own, and it listens to what that says.
 */
static int again_job(void *ctx, int fds[ATTENDANT_FDS], unsigned int *nr, struct err *e)
{
	struct vu_host *h = ctx;
	int fd;

	helpers_apart();
	h->conn = NULL;
	down(h);
	fd = h->socket ? dial(h, e) : spawn(h, e);
	if (fd < 0)
		return fd;
	fds[(*nr)++] = fd;
	return 0;
}

static int reach(struct vu_host *h, struct err *e)
{
	int fd, ret;

	if (!attendant_runs())
		return h->socket ? dial(h, e) : spawn(h, e);
	ret = attendant_ask(h->job, &fd, 1, e);
	return ret < 0 ? ret : fd;
}

int vu_host_up(struct vu_host *h, struct err *e)
{
	int fd, ret;

	if (h->conn && vhost_user_alive(h->conn))
		return 0;
	down(h);
	fd = reach(h, e);
	if (fd < 0)
		return fd;
	ret = vhost_user_new(fd, h->name, h->cfg.rings, !h->socket ? START_MS : GREET_MS, &h->conn,
			     e);
	if (ret < 0) {
		/* What it said before it ended is a better reason than ours. */
		if (h->helper && ret == -EPIPE)
			ret = helper_error(h->helper, h->name, e);
		close(fd);
		down(h);
	}
	return ret;
}

struct vhost_user *vu_host_conn(struct vu_host *h)
{
	return h->conn;
}

int vhost_open(const char *file, const char *module, const char *instead, struct err *e)
{
	char path[64];
	int fd, ret;

	snprintf(path, sizeof(path), "/dev/%s", file);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	ret = -errno;
	if (ret == -ENOENT || ret == -ENODEV || ret == -ENXIO)
		return err_set(e, ret, "no %s: \"sudo modprobe %s\", or %s", path, module, instead);
	if (ret == -EACCES || ret == -EPERM)
		return err_set(e, ret, "%s: %s; join the group that it belongs to, or %s", path,
			       strerror(-ret), instead);
	return err_set(e, ret, "%s: %s; or %s", path, strerror(-ret), instead);
}

bool vu_host_wanted(const struct vm_config *c)
{
	for (unsigned int i = 0; i < c->nr_disks; i++)
		if (c->disk[i].socket || c->disk[i].format == FORMAT_QCOW2)
			return true;
	for (unsigned int i = 0; i < c->nr_nets; i++)
		if (c->net[i].mode == NET_VHOST_USER)
			return true;
	for (unsigned int i = 0; i < c->nr_shares; i++)
		if (c->share[i].kind == SHARE_FS)
			return true;
	return false;
}

void vu_host_notice(const struct machine *m)
{
	static bool told;

	if (told || !realm_is_realm(&m->realm) || m->realm.gmem_fd >= 0)
		return;
	told = true;
	log_warning("this host has one memory for what the realm shares and what it keeps private (no "
		    "guest_memfd, Linux 6.18): the back ends of its devices can read all of it");
}
