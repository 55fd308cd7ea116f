// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtio/virtio.h"
#include "vmm/core/err.h"
#include "vmm/devices.h"
#include "vmm/machine.h"

static int open_disk(const struct cfg_disk *d, struct err *e)
{
	int flags = (d->readonly ? O_RDONLY : O_RDWR) | (d->direct ? O_DIRECT : 0) | O_CLOEXEC;
	struct flock lock = { .l_type = d->readonly ? F_RDLCK : F_WRLCK };
	struct stat st;
	int fd, ret;

	if (stat(d->path, &st) == 0 && S_ISDIR(st.st_mode))
		return err_set(e, -EISDIR, "disk %s is a directory; name an image file or a block device",
			       d->path);
	/* O_NONBLOCK: a FIFO must not keep us waiting; it has no effect on files and disks */
	fd = open(d->path, flags | O_NONBLOCK);
	if (fd < 0) {
		ret = -errno;
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
	/* belongs to the open file: also two --disk of one command line collide */
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		ret = errno == EAGAIN ?
			err_set(e, -EBUSY, "disk %s is locked: another VM uses it; stop that one, or "
				"give it \",ro\" in both", d->path) :
			err_set(e, -errno, "disk %s: cannot lock it: %s", d->path, strerror(errno));
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
	h->fd = open_disk(&c->disk[h->index], e);
	return MIN(h->fd, 0);
}

static int disk_make(struct machine *m, struct device_host *h, const struct virtio_env *env,
		     struct virtio_dev **out, struct err *e)
{
	const struct cfg_disk *d = &m->cfg->disk[h->index];
	char serial[20];
	struct virtio_blk_cfg cfg = {
		.fd = h->fd,
		.path = d->path,
		.serial = d->serial ? d->serial : serial,
		.readonly = d->readonly,
		.direct = d->direct,
	};

	/* fixed by the command line, so that a guest can find its disks by it */
	snprintf(serial, sizeof(serial), "disk%u", h->index);
	return virtio_blk_new(env, &cfg, out, e);
}

const struct device_kind device_disk = {
	.name = "disk",
	.io = true,
	.count = disk_count,
	.open = disk_open,
	.make = disk_make,
};
