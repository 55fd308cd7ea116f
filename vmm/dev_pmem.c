// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtio/virtio.h"
#include "vmm/core/err.h"
#include "vmm/core/path.h"
#include "vmm/devices.h"
#include "vmm/machine.h"

/* #syscalls main: madvise=MADV_DONTDUMP|MADV_DONTNEED */

/* Linux maps persistent memory in sub-sections of its memory model, of 2 MiB. */
#define PMEM_ALIGN	SZ_2M

/**
 * struct pmem_host - the host's end
 * @map, @size: of the file
 */
struct pmem_host {
	void *map;
	uint64_t size;
};

static unsigned int pmem_count(const struct vm_config *c)
{
	return c->nr_pmems;
}

static int open_file(const struct cfg_pmem *c, uint64_t *size, struct err *e)
{
	struct flock lock = { .l_type = c->readonly ? F_RDLCK : F_WRLCK };
	struct stat st;
	int ret, fd = path_open(c->path, (c->readonly ? O_RDONLY : O_RDWR) | O_NONBLOCK, 0);

	if (fd < 0)
		return err_set(e, -errno, "--pmem %s: %s%s", c->path, strerror(errno),
			       errno == EACCES && !c->readonly ?
			       "; make it writable or add \",ro\"" : "");
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		ret = err_set(e, -EINVAL, "--pmem %s is no file: name an image file", c->path);
		goto fail;
	}
	if (!st.st_size || !IS_ALIGNED((uint64_t)st.st_size, PMEM_ALIGN)) {
		ret = err_set(e, -EINVAL, "--pmem %s: %lld bytes are no multiple of 2 MiB: truncate -s "
			      "%" PRIu64 "M makes it one", c->path, (long long)st.st_size,
			      (uint64_t)st.st_size / PMEM_ALIGN * 2 + 2);
		goto fail;
	}
	/* belongs to the open file: also two --pmem of one command line collide */
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		ret = errno == EAGAIN ?
			err_set(e, -EBUSY, "--pmem %s is locked: another VM uses it; stop that one, or "
				"give it \",ro\" in both", c->path) :
			err_set(e, -errno, "--pmem %s: cannot lock it: %s", c->path, strerror(errno));
		goto fail;
	}
	*size = st.st_size;
	return fd;

fail:
	close(fd);
	return ret;
}

static int pmem_open(struct device_host *h, const struct vm_config *c, struct err *e)
{
	struct pmem_host *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(e, -ENOMEM, "--pmem: no memory");
	h->priv = p;
	h->fd = open_file(&c->pmem[h->index], &p->size, e);
	return MIN(h->fd, 0);
}

uint64_t pmem_size(const struct device_host *h)
{
	const struct pmem_host *p = h->priv;

	return p->size;
}

static int pmem_start(struct device_host *h, const struct vm_config *c, struct err *e)
{
	const struct cfg_pmem *cfg = &c->pmem[h->index];
	struct pmem_host *p = h->priv;
	void *map = mmap(NULL, p->size, PROT_READ | PROT_WRITE,
			 (cfg->readonly ? MAP_PRIVATE : MAP_SHARED) | MAP_NORESERVE, h->fd, 0);

	if (map == MAP_FAILED)
		return err_set(e, -errno, "--pmem %s: cannot map %" PRIu64 " MiB: %s", cfg->path,
			       p->size / SZ_1M, strerror(errno));
	madvise(map, p->size, MADV_DONTDUMP);
	p->map = map;
	return 0;
}

static void pmem_close(struct device_host *h)
{
	struct pmem_host *p = h->priv;

	if (p && p->map)
		munmap(p->map, p->size);
	free(p);
}

static int pmem_make(struct machine *m, struct device_host *h, const struct virtio_env *env,
		     struct virtio_dev **out, struct err *e)
{
	const struct cfg_pmem *cfg = &m->cfg->pmem[h->index];
	const struct cfg_range *where = &m->layout->pmem[h->index];
	struct pmem_host *p = h->priv;
	const struct virtio_pmem_cfg dev = {
		.fd = cfg->readonly ? -1 : h->fd,
		.start = where->base,
		.size = where->size,
	};
	int ret;

	/* What the guest before this one wrote is not kept. */
	if (cfg->readonly)
		madvise(p->map, p->size, MADV_DONTNEED);
	ret = realm_add_mem(&m->realm, cfg->path, where->base, where->size, p->map, e);
	if (!ret)	/* devices read into it and write from it, too */
		ret = gmem_add(&m->gm, where->base, where->size, p->map, dev.fd, e);
	if (ret < 0)
		return ret;
	gmem_keep(&m->gm, where->base);
	return virtio_pmem_new(env, &dev, out, e);
}

const struct device_kind device_pmem = {
	.name = "pmem",
	.io = true,
	.count = pmem_count,
	.open = pmem_open,
	.start = pmem_start,
	.close = pmem_close,
	.make = pmem_make,
};
