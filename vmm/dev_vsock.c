// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/virtio.h"
#include "vmm/core/err.h"
#include "vmm/core/usock.h"
#include "vmm/devices.h"
#include "vmm/machine.h"
#include "vmm/vu_host.h"

/**
 * struct vsock_host - the host's end of a socket device in user space
 * @sock:  where programs of the host connect
 * @boots: how often the device was made
 */
struct vsock_host {
	struct usock sock;
	unsigned int boots;
};

static unsigned int vsock_count(const struct vm_config *c)
{
	return c->vsock.cid != 0;
}

static int start_user(struct device_host *h, const struct cfg_vsock *c, struct err *e)
{
	struct vsock_host *v;

	if (strlen(c->path) > VIRTIO_VSOCK_PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "option --vsock: the path %s is longer than %d bytes, and "
			       "the sockets of the guest's ports are that and \"_PORT\": name a shorter "
			       "one", c->path, VIRTIO_VSOCK_PATH_MAX);
	v = calloc(1, sizeof(*v));
	if (!v)
		return err_set(e, -ENOMEM, "vsock: no memory");
	v->sock.fd = -1;
	h->priv = v;
	return usock_listen(&v->sock, "option --vsock", c->path, e);
}

static int make_user(struct device_host *h, const struct cfg_vsock *c, const struct virtio_env *env,
		     struct virtio_dev **out, struct err *e)
{
	struct vsock_host *v = h->priv;
	const struct virtio_vsock_cfg cfg = {
		.cid = c->cid,
		.fd = v->sock.fd,
		.path = c->path,
		.again = v->boots++ > 0,
	};

	return virtio_vsock_new(env, &cfg, out, e);
}

static void close_user(struct device_host *h)
{
	struct vsock_host *v = h->priv;

	if (v)
		usock_close(&v->sock);
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
		return start_user(h, &c->vsock, e);
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

const struct device_kind device_vsock = {
	.name = "vsock",
	.io = true,
	.count = vsock_count,
	.start = vsock_start,
	.close = vsock_close,
	.make = vsock_make,
};
