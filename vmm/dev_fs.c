// SPDX-License-Identifier: BSD-3-Clause
/* Folders of the host by way of virtiofsd: started here, or one that runs already (socket=PATH). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtio/virtio.h"
#include "vmm/core/err.h"
#include "vmm/devices.h"
#include "vmm/machine.h"
#include "vmm/vu_host.h"

#define RINGS 2

static unsigned int fs_count(const struct vm_config *c)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < c->nr_shares; i++)
		n += c->share[i].kind == SHARE_FS;
	return n;
}

static const struct cfg_share *share_of(const struct vm_config *c, unsigned int index)
{
	unsigned int i = 0;

	while (c->share[i].kind != SHARE_FS || index-- > 0)
		i++;
	return &c->share[i];
}

static int virtiofsd(const void *ctx, int fd, char *argv[VU_ARGS_MAX])
{
	const struct cfg_share *s = ctx;
	int n = 0;

	argv[n++] = strdup("virtiofsd");
	if (asprintf(&argv[n], "--shared-dir=%s", s->dir) < 0) {
		argv[n] = NULL;
		return -ENOMEM;
	}
	n++;
	if (asprintf(&argv[n], "--fd=%d", fd) < 0) {
		argv[n] = NULL;
		return -ENOMEM;
	}
	n++;
	argv[n++] = strdup("--log-level=warn");
	if (s->readonly)
		argv[n++] = strdup("--readonly");
	for (int i = 0; i < n; i++)
		if (!argv[i])
			return -ENOMEM;
	return 0;
}

static int fs_open(struct device_host *h, const struct vm_config *c, struct err *e)
{
	const struct cfg_share *s = share_of(c, h->index);
	char name[64];
	struct vu_host_cfg cfg = {
		.name = name,
		.rings = RINGS,
		.socket = s->socket,
		.package = "virtiofsd",
		.instead = "use --9p (Debian 12 has no virtiofsd)",
		.args = virtiofsd,
		.ctx = s,
	};
	struct stat st;

	if (s->socket && s->readonly)
		return err_set(e, -EINVAL, "share %s: \"ro\" is for the command line of the virtiofsd at %s "
			       "(--readonly)", s->tag, s->socket);
	if (s->dir && stat(s->dir, &st) < 0)
		return err_set(e, -errno, "share %s: folder %s: %s", s->tag, s->dir, strerror(errno));
	if (s->dir && !S_ISDIR(st.st_mode))
		return err_set(e, -ENOTDIR, "share %s: %s is no folder", s->tag, s->dir);
	snprintf(name, sizeof(name), "share %s", s->tag);
	return vu_host_new(&cfg, (struct vu_host **)&h->priv, e);
}

static int fs_start(struct device_host *h, const struct vm_config *c, struct err *e)
{
	return vu_host_up(h->priv, e);
}

static void fs_close(struct device_host *h)
{
	vu_host_free(h->priv);
	h->priv = NULL;
}

static int fs_make(struct machine *m, struct device_host *h, const struct virtio_env *env,
		   struct virtio_dev **out, struct err *e)
{
	const struct cfg_share *s = share_of(m->cfg, h->index);
	int ret = vu_host_up(h->priv, e);

	if (ret < 0)
		return ret;
	vu_host_notice(m);
	return virtio_vu_fs_new(env, vu_host_conn(h->priv), s->tag, out, e);
}

const struct device_kind device_fs = {
	.name = "fs",
	.count = fs_count,
	.open = fs_open,
	.start = fs_start,
	.close = fs_close,
	.make = fs_make,
};
