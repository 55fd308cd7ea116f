// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "virtio/virtio.h"
#include "vmm/core/err.h"
#include "vmm/core/usock.h"
#include "vmm/devices.h"
#include "vmm/machine.h"
#include "vmm/sandbox.h"
#include "vmm/vu_host.h"

#define PORT_MAX 11	/* "_4294967295" */

/**
 * struct vsock_host - the host's end of a socket device in user space
 * @sock:  where programs of the host connect
 * @dir:   the folder of @sock, O_PATH
 * @reach: a name of @sock by way of @dir
 * @boots: how often the device was made
 */
struct vsock_host {
	struct usock sock;
	int dir;
	char reach[sizeof(((struct sockaddr_un *)0)->sun_path)];
	unsigned int boots;
};

static unsigned int vsock_count(const struct vm_config *c)
{
	return c->vsock.cid != 0;
}

/* The guest connects to what is beside the socket, also when no path leads there any more. */
static int open_dir(struct vsock_host *v, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	size_t room = sizeof(v->reach) - PORT_MAX;
	char *dir = slash ? strndup(path, slash == path ? 1 : slash - path) : strdup(".");

	if (!dir)
		return err_set(e, -ENOMEM, "vsock: no memory");
	v->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	free(dir);
	if (v->dir < 0)
		return err_set(e, -errno, "option --vsock: the folder of %s: %s", path,
			       strerror(errno));
	if (snprintf(v->reach, room, "/proc/self/fd/%d/%s", v->dir, slash ? slash + 1 : path) >=
	    (int)room)
		return err_set(e, -ENAMETOOLONG, "option --vsock: the name of the socket %s is too long "
			       "for the sandbox: name one of at most 70 bytes", path);
	return 0;
}

static int start_user(struct device_host *h, const struct cfg_vsock *c, bool sandbox,
		      struct err *e)
{
	struct vsock_host *v;
	int ret;

	if (strlen(c->path) > VIRTIO_VSOCK_PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "option --vsock: the path %s is longer than %d bytes, and "
			       "the sockets of the guest's ports are that and \"_PORT\": name a shorter "
			       "one", c->path, VIRTIO_VSOCK_PATH_MAX);
	v = calloc(1, sizeof(*v));
	if (!v)
		return err_set(e, -ENOMEM, "vsock: no memory");
	v->sock.fd = v->dir = -1;
	h->priv = v;
	ret = usock_listen(&v->sock, "option --vsock", c->path, e);
	return ret < 0 || !sandbox ? ret : open_dir(v, c->path, e);
}

static int make_user(struct device_host *h, const struct cfg_vsock *c, const struct virtio_env *env,
		     struct virtio_dev **out, struct err *e)
{
	struct vsock_host *v = h->priv;
	const struct virtio_vsock_cfg cfg = {
		.cid = c->cid,
		.fd = v->sock.fd,
		.path = c->path,
		.reach = v->reach[0] ? v->reach : NULL,
		.again = v->boots++ > 0,
	};

	return virtio_vsock_new(env, &cfg, out, e);
}

static void close_user(struct device_host *h)
{
	struct vsock_host *v = h->priv;

	if (v) {
		usock_close(&v->sock);
		if (v->dir >= 0)
			close(v->dir);
	}
	free(v);
}

static int start_kernel(struct device_host *h, uint64_t cid, struct err *e)
{
	h->fd = vhost_open("vhost-vsock", "vhost_vsock", "give --vsock CID,path=SOCKET, which needs nothing "
			   "of the kernel", e);
	if (h->fd < 0)
		return err_prefix(e, "option --vsock");
	return vhost_vsock_new(NULL, h->fd, cid, (struct vhost_vsock **)&h->priv, e);
}

static int vsock_start(struct device_host *h, const struct vm_config *c, struct err *e)
{
	if (c->vsock.path)
		return start_user(h, &c->vsock, c->sandbox != SANDBOX_OFF, e);
	return start_kernel(h, c->vsock.cid, e);
}

static void vsock_close(struct device_host *h)
{
	/* only the kernel's has a descriptor there */
	if (h->fd >= 0)
		vhost_vsock_free(h->priv);
	else
		close_user(h);
}

static int vsock_make(struct machine *m, struct device_host *h, const struct virtio_env *env,
		      struct virtio_dev **out, struct err *e)
{
	if (m->cfg->vsock.path)
		return make_user(h, &m->cfg->vsock, env, out, e);
	vu_host_notice(m);
	return virtio_vhost_vsock_new(env, h->priv, out, e);
}

static bool vsock_dir(struct device_host *h, const struct vm_config *c, struct sandbox_dir *d)
{
	struct vsock_host *v = h->priv;

	if (!c->vsock.path || v->dir < 0)
		return false;
	*d = (struct sandbox_dir){ .fd = v->dir, .use = SANDBOX_CONNECT };
	return true;
}

const struct device_kind device_vsock = {
	.name = "vsock",
	.io = true,
	.count = vsock_count,
	.start = vsock_start,
	.close = vsock_close,
	.make = vsock_make,
	.dir = vsock_dir,
};
