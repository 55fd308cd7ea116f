// SPDX-License-Identifier: BSD-3-Clause
/*
 * Disks of a vhost-user-blk back end: one that runs already (socket=PATH), or qemu-storage-daemon
 * for formats that are not raw. Locks against double use are the back end's.
 */
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

static unsigned int queues_of(const struct cfg_disk *d)
{
	return d->queues ? d->queues : 1;
}

bool vu_disk_is(const struct cfg_disk *d)
{
	return d->socket || d->format == FORMAT_QCOW2;
}

static int storage_daemon(const void *ctx, int fd, char *argv[VU_ARGS_MAX])
{
	const struct cfg_disk *d = ctx;
	const char *ro = d->readonly ? "on" : "off";
	const char *cache = d->cache == CACHE_UNSAFE ? ",cache.no-flush=on" : "";
	int n = 0;

	argv[n++] = strdup("qemu-storage-daemon");
	argv[n++] = strdup("--blockdev");
	if (asprintf(&argv[n], "driver=file,node-name=file,filename=%s,read-only=%s,cache.direct=%s,"
		     "discard=unmap%s", d->path, ro, d->direct ? "on" : "off", cache) < 0)
		return -ENOMEM;
	argv[++n] = strdup("--blockdev");
	n++;
	if (asprintf(&argv[n], "driver=qcow2,node-name=disk,file=file,read-only=%s,discard=unmap%s", ro,
		     cache) < 0) {
		argv[n] = NULL;
		return -ENOMEM;
	}
	argv[++n] = strdup("--export");
	n++;
	if (asprintf(&argv[n], "type=vhost-user-blk,id=disk,node-name=disk,writable=%s,addr.type=fd,"
		     "addr.str=%d,num-queues=%u", d->readonly ? "off" : "on", fd, queues_of(d)) < 0) {
		argv[n] = NULL;
		return -ENOMEM;
	}
	for (int i = 0; i <= n; i++)
		if (!argv[i])
			return -ENOMEM;
	return 0;
}

static int refuse(const struct cfg_disk *d, const char *name, struct err *e)
{
	const char *by = d->socket ? "its back end" : "qemu-storage-daemon";

	if (d->serial)
		return err_set(e, -EINVAL, "disk %s: %s gives the serial number; leave out \"serial\"", name,
			       by);
	if (d->cache == CACHE_WRITETHROUGH)
		return err_set(e, -EINVAL, "disk %s: %s cannot be told to write through; leave out "
			       "\"cache\"", name, by);
	if (d->socket && (d->direct || d->cache == CACHE_UNSAFE || d->format != FORMAT_RAW))
		return err_set(e, -EINVAL, "disk %s: \"direct\", \"cache\" and \"format\" are for the back "
			       "end's own command line", name);
	if (d->queue_size > 1024)
		return err_set(e, -EINVAL, "disk %s: %s has queues of at most 1024 entries; lower "
			       "\"queue-size\"", name, by);
	return 0;
}

int vu_disk_open(struct device_host *h, const struct cfg_disk *d, struct err *e)
{
	const char *path = d->socket ? d->socket : d->path;
	char name[64];
	struct vu_host_cfg cfg = {
		.name = name,
		.rings = queues_of(d),
		.socket = d->socket,
		.package = "qemu-utils",
		.instead = "qemu-system-common on Debian 12, or convert the image (qemu-img convert -O raw)",
		.args = storage_daemon,
		.ctx = d,
	};
	int ret = refuse(d, path, e);

	if (ret < 0)
		return ret;
	snprintf(name, sizeof(name), "disk %s", path);
	if (!d->socket && access(path, d->readonly ? R_OK : R_OK | W_OK) < 0) {
		ret = -errno;
		return err_set(e, ret, "disk %s: %s%s", path, strerror(-ret),
			       (ret == -EACCES || ret == -EROFS) && !d->readonly ?
			       "; make it writable or add \",ro\"" : "");
	}
	return vu_host_new(&cfg, (struct vu_host **)&h->priv, e);
}

int vu_disk_start(struct device_host *h, struct err *e)
{
	return vu_host_up(h->priv, e);
}

void vu_disk_close(struct device_host *h)
{
	vu_host_free(h->priv);
	h->priv = NULL;
}

int vu_disk_make(struct machine *m, struct device_host *h, const struct virtio_env *env,
		 struct virtio_dev **out, struct err *e)
{
	const struct cfg_disk *d = &m->cfg->disk[h->index];
	struct virtio_vu_blk_cfg cfg = {
		.path = d->socket ? d->socket : d->path,
		.readonly = d->readonly,
		.no_discard = d->no_discard,
		.queues = queues_of(d),
		.queue_size = d->queue_size,
	};
	int ret = vu_host_up(h->priv, e);

	if (ret < 0)
		return ret;
	vu_host_notice(m);
	return virtio_vu_blk_new(env, vu_host_conn(h->priv), &cfg, out, e);
}
