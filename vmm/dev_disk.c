// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "virtio/virtio.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/path.h"
#include "vmm/devices.h"
#include "vmm/machine.h"
#include "vmm/vu_host.h"

/*
 * Unless the options say something else: a queue for each vCPU, but no more than this. Decided by
 * the options alone, so that a machine looks the same on every host.
 */
#define QUEUES_DEFAULT	4U

#define LOCK_WAIT_MS	1000
#define LOCK_SLICE_MS	20

_Static_assert((int)CACHE_WRITEBACK == VIRTIO_BLK_CACHE_WRITEBACK &&
	       (int)CACHE_WRITETHROUGH == VIRTIO_BLK_CACHE_WRITETHROUGH &&
	       (int)CACHE_UNSAFE == VIRTIO_BLK_CACHE_UNSAFE, "two names for one thing");

/* For a block device O_EXCL alone asks whether the host itself uses it (mounted, swap, RAID). */
static int open_path(const struct cfg_disk *d, bool block)
{
	/* O_NONBLOCK: a FIFO must not keep us waiting; it has no effect on files and disks */
	int flags = (d->readonly ? O_RDONLY : O_RDWR) | (d->direct ? O_DIRECT : 0) | O_CLOEXEC |
		    O_NONBLOCK;
	int fd = path_open(d->path, flags | (block ? O_EXCL : 0), 0);

	if (fd < 0 && errno == EBUSY && block && d->readonly) {
		fd = path_open(d->path, flags, 0);
		if (fd >= 0)
			log_warning("disk %s is in use on this host (mounted?): what the guest "
				    "reads may change under it", d->path);
	}
	return fd;
}

/*
 * The lock belongs to the open file: also two --disk of one command line collide. A VM that was
 * killed keeps it for a moment, until the kernel has taken its io_uring apart.
 */
static int lock_file(int fd, bool shared)
{
	static const struct timespec slice = { .tv_nsec = LOCK_SLICE_MS * 1000000L };
	struct flock lock = { .l_type = shared ? F_RDLCK : F_WRLCK };

	for (unsigned int ms = 0; fcntl(fd, F_OFD_SETLK, &lock) < 0; ms += LOCK_SLICE_MS) {
		if (errno != EAGAIN || ms >= LOCK_WAIT_MS)
			return -errno;
		nanosleep(&slice, NULL);
	}
	return 0;
}

static int open_disk(const struct cfg_disk *d, struct err *e)
{
	struct stat st = { 0 };
	int fd, ret;

	if (path_stat(d->path, &st) == 0 && S_ISDIR(st.st_mode))
		return err_set(e, -EISDIR, "disk %s is a directory; name an image file or a block device",
			       d->path);
	fd = open_path(d, S_ISBLK(st.st_mode));
	if (fd < 0) {
		ret = -errno;
		if (ret == -EBUSY)
			return err_set(e, ret, "disk %s is in use on this host (mounted, or another VM); "
				       "end that, or add \",ro\"", d->path);
		if (ret == -EINVAL && d->direct)
			return err_set(e, ret, "disk %s: this file system has no O_DIRECT; leave out "
				       "\"direct\"", d->path);
		if ((ret == -EACCES || ret == -EROFS) && !d->readonly)
			return err_set(e, ret, "disk %s: %s; make it writable or add \",ro\"", d->path,
				       strerror(-ret));
		return err_set(e, ret, "disk %s: %s", d->path, strerror(-ret));
	}
	if (fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))) {
		ret = err_set(e, -ENOTBLK, "disk %s is neither a file nor a block device", d->path);
		goto fail;
	}
	if (S_ISREG(st.st_mode) && st.st_size < 512) {
		ret = err_set(e, -EINVAL, "disk %s: %lld bytes are less than one sector; make it "
			      "larger (truncate -s SIZE)", d->path, (long long)st.st_size);
		goto fail;
	}
	ret = lock_file(fd, d->readonly);
	if (ret < 0) {
		ret = ret == -EAGAIN ?
			err_set(e, -EBUSY, "disk %s is locked: another VM uses it; stop that one, or "
				"give it \",ro\" in both", d->path) :
			err_set(e, ret, "disk %s: cannot lock it: %s", d->path, strerror(-ret));
		goto fail;
	}
	return fd;

fail:
	close(fd);
	return ret;
}

static unsigned int disk_count(const struct vm_config *c)
{
	return c->nr_disks;
}

static int disk_open(struct device_host *h, const struct vm_config *c, struct err *e)
{
	const struct cfg_disk *d = &c->disk[h->index];

	if (vu_disk_is(d))
		return vu_disk_open(h, d, e);
	h->fd = open_disk(d, e);
	if (h->fd >= 0 && d->cache == CACHE_UNSAFE && !d->readonly)
		log_warning("disk %s: cache=unsafe: what the guest has flushed is lost if this host "
			    "crashes", d->path);
	return MIN(h->fd, 0);
}

static int disk_start(struct device_host *h, const struct vm_config *c, struct err *e)
{
	return vu_disk_is(&c->disk[h->index]) ? vu_disk_start(h, e) : 0;
}

static int disk_make(struct machine *m, struct device_host *h, const struct virtio_env *env,
		     struct virtio_dev **out, struct err *e)
{
	const struct cfg_disk *d = &m->cfg->disk[h->index];
	unsigned int queues = MIN(m->cfg->cpus, QUEUES_DEFAULT);
	char serial[20];
	struct virtio_blk_cfg cfg = {
		.fd = h->fd,
		.path = d->path,
		.serial = d->serial ? d->serial : serial,
		.readonly = d->readonly,
		.direct = d->direct,
		.cache = (enum virtio_blk_cache)d->cache,
		.no_discard = d->no_discard,
		.queues = d->queues ? d->queues : queues,
		.queue_size = d->queue_size,
	};

	if (vu_disk_is(d))
		return vu_disk_make(m, h, env, out, e);
	/* fixed by the command line, so that a guest can find its disks by it */
	snprintf(serial, sizeof(serial), "disk%u", h->index);
	return virtio_blk_new(env, &cfg, out, e);
}

const struct device_kind device_disk = {
	.name = "disk",
	.io = true,
	.count = disk_count,
	.open = disk_open,
	.start = disk_start,
	.close = vu_disk_close,
	.make = disk_make,
};

void disks_resize(struct machine *m)
{
	for (unsigned int i = 0; i < m->nr_virtio; i++) {
		int ret = m->virtio[i].dev ? virtio_blk_resize(m->virtio[i].dev) : -ENOTTY;

		if (ret < 0 && ret != -ENOTTY)
			log_error("a disk's size cannot be found out: %s", strerror(-ret));
	}
}
