// SPDX-License-Identifier: BSD-3-Clause
/* --9p: a folder of the host, served by realmtool itself. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>

#include "virtio/virtio.h"
#include "vmm/core/err.h"
#include "vmm/core/path.h"
#include "vmm/devices.h"
#include "vmm/machine.h"
#include "vmm/rootfs.h"
#include "vmm/sandbox.h"

/* #syscalls main: prlimit64=0 getrlimit */

/* Enough for a root file system in use; what is beyond is closed and opened again on demand. */
#define FDS_MAX		8192u
/* For everything else that this process opens. */
#define FDS_OTHER	256u

static const struct cfg_share *share(const struct vm_config *c, unsigned int index)
{
	unsigned int i = 0;

	while (c->share[i].kind != SHARE_9P || index--)
		i++;
	return &c->share[i];
}

static unsigned int p9_count(const struct vm_config *c)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < c->nr_shares; i++)
		nr += c->share[i].kind == SHARE_9P;
	return nr;
}

static int p9_open(struct device_host *h, const struct vm_config *c, struct err *e)
{
	const struct cfg_share *s = share(c, h->index);
	int ret;

	h->fd = path_open(s->dir, O_PATH | O_DIRECTORY, 0);
	if (h->fd < 0 && errno == ENOENT && c->rootfs == ROOTFS_DEFAULT &&
	    !strcmp(s->tag, ROOTFS_TAG)) {
		ret = rootfs_create(s->dir, e);
		if (ret < 0)
			return ret;
		log_info("%s was not there: made a root file system like \"lkvm setup\"", s->dir);
		h->fd = path_open(s->dir, O_PATH | O_DIRECTORY, 0);
	}
	if (h->fd < 0)
		return err_set(e, -errno, errno == ENOTDIR ?
			       "option --9p: %s is no folder (%s): give DIR,TAG[,ro]" :
			       "option --9p: opening %s: %s", s->dir, strerror(errno));
	return 0;
}

static int p9_make(struct machine *m, struct device_host *h, const struct virtio_env *env,
		   struct virtio_dev **out, struct err *e)
{
	const struct cfg_share *s = share(m->cfg, h->index);
	struct virtio_9p_cfg cfg = { .root_fd = h->fd, .tag = s->tag, .readonly = s->readonly };
	struct rlimit l = { 0 };

	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur > FDS_OTHER)
		/* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): this share is one of them */
		cfg.max_fds = MIN((l.rlim_cur - FDS_OTHER) / p9_count(m->cfg), (rlim_t)FDS_MAX);
	return virtio_9p_new(env, &cfg, out, e);
}

static bool p9_dir(struct device_host *h, const struct vm_config *c, struct sandbox_dir *d)
{
	*d = (struct sandbox_dir){
		.fd = h->fd,
		.use = share(c, h->index)->readonly ? SANDBOX_READ : SANDBOX_WRITE,
	};
	return true;
}

const struct device_kind device_9p = {
	.name = "9p share",
	.io = true,
	.count = p9_count,
	.open = p9_open,
	.make = p9_make,
	.dir = p9_dir,
};
