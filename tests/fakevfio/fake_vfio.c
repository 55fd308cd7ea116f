// SPDX-License-Identifier: BSD-3-Clause
#include "tests/fakevfio/fake_vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vfio/vfio_abi.h"

#define NR_OBJS		64
#define NR_SPACES	4
#define NR_RANGES	(2 * FAKE_VFIO_FNS + 4)
#define MSI_FIRST	UINT64_C(0x8000000)	/* arm-smmu-v3's window of messages */
#define MSI_LAST	UINT64_C(0x80fffff)

enum kind { FREE, CONTAINER, GROUP, DEVICE, IOMMUFD };

/**
 * struct fake_vfio_obj - an open file
 * @fd, @ino:   the descriptor, and which memfd it must be
 * @container:  of a group: inode of its container; of a device that is bound: of its iommufd
 * @iommu:      of a container: it has its type
 * @ready:      of a device: access is granted
 * @attached:   of a device with a character device: to this I/O address space
 */
struct fake_vfio_obj {
	enum kind kind;
	int fd;
	uint64_t ino;
	int group;
	struct fake_fn *fn;
	uint64_t container;
	bool iommu, ready, by_cdev;
	uint32_t attached, spaces, devid;
};

static void complain(struct fake_vfio *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void complain(struct fake_vfio *f, const char *fmt, ...)
{
	va_list ap;

	if (f->complaint[0])
		return;
	va_start(ap, fmt);
	vsnprintf(f->complaint, sizeof(f->complaint), fmt, ap);
	va_end(ap);
}

/* ---- files ----------------------------------------------------------------------------------- */

static const char *in_root(const struct fake_vfio *f, char out[PATH_MAX], const char *fmt, ...)
	PRINTF_LIKE(3, 4);
static const char *in_root(const struct fake_vfio *f, char out[PATH_MAX], const char *fmt, ...)
{
	int n = snprintf(out, PATH_MAX, "%s/", f->root);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out + n, PATH_MAX - n, fmt, ap);
	va_end(ap);
	return out;
}

static void make_dirs(char *path)
{
	for (char *p = path + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			abort();
		*p = '/';
	}
}

void fake_vfio_file(struct fake_vfio *f, const char *path, const char *text)
{
	char full[PATH_MAX];
	FILE *out;

	in_root(f, full, "%s", path);
	make_dirs(full);
	out = fopen(full, "w");
	if (!out || fputs(text, out) == EOF || fclose(out) == EOF)
		abort();
}

/* A link below the folder; targets are absolute, in place of sysfs's relative ones. */
static void make_link(struct fake_vfio *f, const char *target, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
static void make_link(struct fake_vfio *f, const char *target, const char *fmt, ...)
{
	char path[PATH_MAX], to[PATH_MAX], rel[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(rel, sizeof(rel), fmt, ap);
	va_end(ap);
	in_root(f, path, "%s", rel);
	make_dirs(path);
	unlink(path);
	if (symlink(in_root(f, to, "%s", target), path) < 0)
		abort();
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

void fake_vfio_remove(struct fake_vfio *f, const char *path)
{
	char full[PATH_MAX];

	nftw(in_root(f, full, "%s", path), remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void fake_vfio_bind(struct fake_vfio *f, struct fake_fn *fn, const char *driver)
{
	char path[PATH_MAX], to[128];
	bool vfio = strstr(driver, "vfio") != NULL;

	snprintf(fn->driver, sizeof(fn->driver), "%s", driver);
	unlink(in_root(f, path, "sys/devices/pci0/%s/driver", fn->name));
	if (driver[0]) {
		snprintf(to, sizeof(to), "sys/bus/pci/drivers/%s/", driver);
		in_root(f, path, "%s", to);
		make_dirs(path);
		to[strlen(to) - 1] = '\0';
		make_link(f, to, "sys/devices/pci0/%s/driver", fn->name);
	}
	snprintf(to, sizeof(to), "sys/devices/pci0/%s/vfio-dev", fn->name);
	fake_vfio_remove(f, to);
	if (vfio) {
		snprintf(to, sizeof(to), "sys/devices/pci0/%s/vfio-dev/vfio%u/%s", fn->name,
			 (unsigned int)(fn - f->fn), f->cdevs ? "dev" : "uevent");
		fake_vfio_file(f, to, "511:0\n");
	}
}

void fake_vfio_virtual(struct fake_vfio *f, struct fake_fn *fn, const struct fake_fn *pf)
{
	char to[64];

	snprintf(to, sizeof(to), "sys/devices/pci0/%s", pf->name);
	fn->physfn = pf->name;
	make_link(f, to, "sys/devices/pci0/%s/physfn", fn->name);
}

struct fake_fn *fake_vfio_add(struct fake_vfio *f, const char *name, int group,
			      struct fake_dev *dev)
{
	struct fake_fn *fn = &f->fn[f->nr_fns];
	char to[128];

	if (f->nr_fns == FAKE_VFIO_FNS)
		abort();
	*fn = (struct fake_fn){ .group = group, .slot = f->nr_fns, .dev = dev };
	f->nr_fns++;
	snprintf(fn->name, sizeof(fn->name), "%s", name);
	snprintf(to, sizeof(to), "sys/devices/pci0/%s/uevent", name);
	fake_vfio_file(f, to, "");
	snprintf(to, sizeof(to), "sys/devices/pci0/%s", name);
	make_link(f, to, "sys/bus/pci/devices/%s", name);
	if (group >= 0) {
		make_link(f, to, "sys/kernel/iommu_groups/%d/devices/%s", group, name);
		snprintf(to, sizeof(to), "sys/kernel/iommu_groups/%d", group);
		make_link(f, to, "sys/devices/pci0/%s/iommu_group", name);
	}
	fake_vfio_bind(f, fn, dev ? "vfio-pci" : "host");
	return fn;
}

void fake_vfio_deny(struct fake_vfio *f, const char *node, int err)
{
	if (f->nr_deny == ARRAY_SIZE(f->deny))
		abort();
	snprintf(f->deny[f->nr_deny].path, sizeof(f->deny[0].path), "%s", node);
	f->deny[f->nr_deny++].err = err;
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static bool alive(const struct fake_vfio_obj *o)
{
	struct stat st;

	return fstat(o->fd, &st) == 0 && st.st_ino == o->ino;
}

static struct fake_vfio_obj *by_ino(struct fake_vfio *f, uint64_t ino)
{
	for (unsigned int i = 0; ino && i < NR_OBJS; i++)
		if (f->obj[i].kind != FREE && f->obj[i].ino == ino)
			return &f->obj[i];
	return NULL;
}

/* A device or group file keeps its container, or iommufd, after its descriptor was closed. */
static bool held(struct fake_vfio *f, uint64_t ino)
{
	for (unsigned int i = 0; i < NR_OBJS; i++) {
		const struct fake_vfio_obj *o = &f->obj[i];

		if ((o->kind == GROUP || o->kind == DEVICE) && o->container == ino && alive(o))
			return true;
	}
	return false;
}

static void drop_maps(struct fake_vfio *f, uint64_t space)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < f->nr_maps; i++)
		if (f->map[i].space != space)
			f->map[n++] = f->map[i];
	f->nr_maps = n;
}

/* The last descriptor of a device is closed: its interrupts go (vfio_pci_core_disable()). */
static void disable(struct fake_dev *d)
{
	for (unsigned int i = 0; i < VFIO_PCI_NUM_IRQS; i++) {
		struct vfio_irq_set s = {
			.argsz = sizeof(s),
			.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
			.index = i,
		};

		if (d->irq[i].nr)
			fake_dev_ioctl(d, VFIO_DEVICE_SET_IRQS, &s);
	}
}

/* What close(2) did since the last call */
static void reap(struct fake_vfio *f)
{
	for (unsigned int i = 0; i < NR_OBJS; i++) {
		struct fake_vfio_obj *o = &f->obj[i];

		if (o->kind == FREE || alive(o))
			continue;
		if (o->kind == DEVICE && o->ready)
			disable(o->fn->dev);
		o->kind = FREE;
	}
	for (unsigned int i = 0; i < f->nr_maps;) {
		uint64_t space = f->map[i].space;

		if (by_ino(f, space) || held(f, space)) {
			/* mappings of a space stand together: on to the next space */
			while (i < f->nr_maps && f->map[i].space == space)
				i++;
			continue;
		}
		drop_maps(f, space);
	}
}

static struct fake_vfio_obj *new_obj(struct fake_vfio *f, enum kind kind)
{
	struct stat st;

	for (unsigned int i = 0; i < NR_OBJS; i++) {
		struct fake_vfio_obj *o = &f->obj[i];

		if (o->kind != FREE)
			continue;
		*o = (struct fake_vfio_obj){ .kind = kind, .group = -1 };
		o->fd = memfd_create("fake VFIO", MFD_CLOEXEC);
		if (o->fd < 0 || fstat(o->fd, &st) < 0)
			abort();
		o->ino = st.st_ino;
		return o;
	}
	abort();
}

static struct fake_vfio_obj *find(struct fake_vfio *f, int fd)
{
	for (unsigned int i = 0; i < NR_OBJS; i++)
		if (f->obj[i].kind != FREE && f->obj[i].fd == fd)
			return &f->obj[i];
	return NULL;
}

unsigned int fake_vfio_open(struct fake_vfio *f)
{
	unsigned int n = 0;

	reap(f);
	for (unsigned int i = 0; i < NR_OBJS; i++)
		n += f->obj[i].kind != FREE;
	return n;
}

static bool failing(struct fake_vfio *f)
{
	f->calls++;
	return f->fail_at && --f->fail_at == 0;
}

/* ---- address spaces -------------------------------------------------------------------------- */

/* Is the device reachable through this container or iommufd? */
static bool attached(struct fake_vfio *f, const struct fake_fn *fn, uint64_t space)
{
	for (unsigned int i = 0; i < NR_OBJS; i++) {
		const struct fake_vfio_obj *o = &f->obj[i];

		if (o->container != space)
			continue;
		if ((o->kind == GROUP && fn->group == o->group) ||
		    (o->kind == DEVICE && o->fn == fn && o->attached))
			return true;
	}
	return false;
}

/* [0, last] without the holes. Return: how many */
static unsigned int usable(struct fake_vfio *f, uint64_t space, struct iova_range out[NR_RANGES])
{
	unsigned int n = 1;

	out[0] = (struct iova_range){ 0, f->last };
	for (unsigned int h = 0; h <= f->nr_fns; h++) {
		struct iova_range hole = { MSI_FIRST, MSI_LAST };
		struct iova_range next[NR_RANGES];
		unsigned int m = 0;

		if (h < f->nr_fns) {
			hole = f->fn[h].hole;
			if (!hole.last || !attached(f, &f->fn[h], space))
				continue;
		}
		for (unsigned int i = 0; i < n; i++) {
			struct iova_range r = out[i];

			if (hole.last < r.first || hole.first > r.last) {
				next[m++] = r;
				continue;
			}
			if (hole.first > r.first)
				next[m++] = (struct iova_range){ r.first, hole.first - 1 };
			if (hole.last < r.last)
				next[m++] = (struct iova_range){ hole.last + 1, r.last };
		}
		memcpy(out, next, m * sizeof(*out));
		n = m;
	}
	return n;
}

/* Index of the first mapping that ends at or behind @iova; the list is in order. */
static unsigned int first_at(const struct fake_vfio *f, uint64_t space, uint64_t iova)
{
	unsigned int lo = 0, hi = f->nr_maps;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;
		const struct fake_vfio_map *m = &f->map[mid];

		if (m->space < space || (m->space == space && m->iova + (m->len - 1) < iova))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool overlaps(const struct fake_vfio *f, unsigned int i, uint64_t space, uint64_t last)
{
	return i < f->nr_maps && f->map[i].space == space && f->map[i].iova <= last;
}

static int do_map(struct fake_vfio *f, uint64_t space, uint64_t iova, uint64_t len, uint64_t va,
		  uint64_t align)
{
	struct iova_range r[NR_RANGES];
	unsigned int nr = usable(f, space, r), at, in_space = 0;
	uint64_t pinned = 0;
	bool ok = false;

	if (!len || ((iova | len | va) & (align - 1)))
		return -EINVAL;
	if (iova + (len - 1) < iova || va + (len - 1) < va)
		return -EOVERFLOW;
	for (unsigned int i = 0; i < nr; i++)
		ok |= iova >= r[i].first && iova + (len - 1) <= r[i].last;
	at = first_at(f, space, iova);
	if (overlaps(f, at, space, iova + (len - 1)))
		return -EEXIST;
	for (unsigned int i = 0; i < f->nr_maps; i++) {
		pinned += f->map[i].len;
		in_space += f->map[i].space == space;
	}
	if (by_ino(f, space)->kind == CONTAINER && in_space >= f->entries)
		return -ENOSPC;
	if (!ok)
		return -EINVAL;
	if (len > f->memlock - MIN(pinned, f->memlock))
		return -ENOMEM;
	f->map = realloc(f->map, (f->nr_maps + 1) * sizeof(*f->map));
	if (!f->map)
		abort();
	memmove(f->map + at + 1, f->map + at, (f->nr_maps - at) * sizeof(*f->map));
	f->map[at] = (struct fake_vfio_map){ iova, len, (void *)(uintptr_t)va, space };
	f->nr_maps++;
	f->maps++;
	return 0;
}

/* Whole mappings only; @split is the kernel's answer to a part of one. */
static int do_unmap(struct fake_vfio *f, uint64_t space, uint64_t iova, uint64_t *len, int split)
{
	unsigned int at = first_at(f, space, iova), n = 0;
	uint64_t last = iova + (*len - 1), done = 0;

	if (!*len || last < iova)
		return -EINVAL;
	while (overlaps(f, at + n, space, last)) {
		const struct fake_vfio_map *m = &f->map[at + n];

		if (m->iova < iova || m->iova + (m->len - 1) > last) {
			complain(f, "a mapping was to be split at %#" PRIx64, iova);
			*len = 0;
			return split;
		}
		done += m->len;
		n++;
	}
	memmove(f->map + at, f->map + at + n, (f->nr_maps - at - n) * sizeof(*f->map));
	f->nr_maps -= n;
	f->unmaps++;
	*len = done;
	return 0;
}

void *fake_vfio_at(struct fake_vfio *f, uint64_t iova)
{
	reap(f);
	for (unsigned int i = 0; i < f->nr_maps; i++)
		if (iova >= f->map[i].iova && iova - f->map[i].iova < f->map[i].len)
			return (char *)f->map[i].host + (iova - f->map[i].iova);
	return NULL;
}

unsigned int fake_vfio_maps(struct fake_vfio *f)
{
	reap(f);
	return f->nr_maps;
}

/* ---- containers ------------------------------------------------------------------------------ */

static unsigned int members(struct fake_vfio *f, uint64_t container)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < NR_OBJS; i++)
		n += f->obj[i].kind == GROUP && f->obj[i].container == container;
	return n;
}

/* Capabilities behind the structure: addresses, migration, free entries, as type1 has them. */
static int iommu_info(struct fake_vfio *f, struct fake_vfio_obj *o,
		      struct vfio_iommu_type1_info *info)
{
	struct iova_range r[NR_RANGES];
	unsigned int nr = usable(f, o->ino, r);
	struct vfio_iommu_type1_info_cap_iova_range *ranges;
	struct vfio_iommu_type1_info_dma_avail *avail;
	size_t head = ALIGN_UP(sizeof(*info), 8);
	size_t second = head + sizeof(*ranges) + nr * sizeof(*r);
	size_t all = second + sizeof(*avail), room = info->argsz;
	char *buf;

	if (room < offsetof(struct vfio_iommu_type1_info, cap_offset))
		return -EINVAL;
	info->flags = VFIO_IOMMU_INFO_PGSIZES;
	info->iova_pgsizes = f->page_sizes;
	if (!f->caps)
		return 0;
	info->flags |= VFIO_IOMMU_INFO_CAPS;
	info->argsz = all;
	if (room < all) {
		info->cap_offset = 0;
		return 0;
	}
	buf = calloc(1, all);
	if (!buf)
		abort();
	memcpy(buf, info, sizeof(*info));
	ranges = (void *)(buf + head);
	ranges->header.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE;
	ranges->header.version = 1;
	ranges->header.next = second;
	ranges->nr_iovas = nr;
	for (unsigned int i = 0; i < nr; i++)
		ranges->iova_ranges[i] = (struct vfio_iova_range){ r[i].first, r[i].last };
	avail = (void *)(buf + second);
	avail->header.id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL;
	avail->header.version = 1;
	avail->avail = f->entries;
	((struct vfio_iommu_type1_info *)buf)->cap_offset = head;
	if (f->rewrite_info)
		f->rewrite_info((void *)buf, all);
	memcpy(info, buf, all);
	free(buf);
	return 0;
}

static int container_ioctl(struct fake_vfio *f, struct fake_vfio_obj *o, unsigned long req,
			   void *arg)
{
	switch (req) {
	case VFIO_GET_API_VERSION:
		return VFIO_API_VERSION;
	case VFIO_CHECK_EXTENSION:
		return f->type1 && (uintptr_t)arg == VFIO_TYPE1v2_IOMMU;
	case VFIO_SET_IOMMU:
		if (!members(f, o->ino) || o->iommu)
			return -EINVAL;
		if (!f->type1 || (uintptr_t)arg != VFIO_TYPE1v2_IOMMU)
			return -ENODEV;
		for (unsigned int i = 0; i < f->nr_fns; i++)
			if (attached(f, &f->fn[i], o->ino) && f->fn[i].no_msi_isolation)
				return -EPERM;
		o->iommu = true;
		return 0;
	}
	if (!o->iommu)
		return -EINVAL;
	switch (req) {
	case VFIO_IOMMU_GET_INFO:
		return iommu_info(f, o, arg);
	case VFIO_IOMMU_MAP_DMA: {
		struct vfio_iommu_type1_dma_map *m = arg;

		if (m->argsz < sizeof(*m) || m->flags != (VFIO_DMA_MAP_FLAG_READ |
							  VFIO_DMA_MAP_FLAG_WRITE))
			return -EINVAL;
		return do_map(f, o->ino, m->iova, m->size, m->vaddr,
			      f->page_sizes & -f->page_sizes);
	}
	case VFIO_IOMMU_UNMAP_DMA: {
		struct vfio_iommu_type1_dma_unmap *u = arg;
		uint64_t len = u->size;
		int ret;

		if (u->argsz < sizeof(*u) || u->flags)
			return -EINVAL;
		ret = do_unmap(f, o->ino, u->iova, &len, -EINVAL);
		u->size = len;
		return ret;
	}
	}
	return -ENOTTY;
}

static bool viable(struct fake_vfio *f, int group)
{
	for (unsigned int i = 0; i < f->nr_fns; i++) {
		const char *d = f->fn[i].driver;

		if (f->fn[i].group == group && d[0] && !strstr(d, "vfio") && strcmp(d, "pcieport") &&
		    strcmp(d, "pci-stub"))
			return false;
	}
	return true;
}

/* Open files of a device, or of all devices of a group */
static unsigned int open_devices(struct fake_vfio *f, int group, const struct fake_fn *fn)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < NR_OBJS; i++)
		n += f->obj[i].kind == DEVICE && f->obj[i].ready &&
			(fn ? f->obj[i].fn == fn : f->obj[i].fn->group == group);
	return n;
}

static int set_container(struct fake_vfio *f, struct fake_vfio_obj *o, int fd)
{
	struct fake_vfio_obj *c = find(f, fd);

	if (!c || c->kind != CONTAINER)
		return -EBADFD;
	if (o->container)
		return -EINVAL;
	if (!viable(f, o->group))
		return -EPERM;
	for (unsigned int i = 0; c->iommu && i < f->nr_fns; i++) {
		const struct fake_fn *fn = &f->fn[i];

		if (fn->group == o->group && fn->alien)
			return -EINVAL;
		if (fn->group == o->group && fn->no_msi_isolation)
			return -EPERM;
	}
	o->container = c->ino;
	return 0;
}

static int get_device(struct fake_vfio *f, struct fake_vfio_obj *o, const char *name)
{
	struct fake_vfio_obj *c = by_ino(f, o->container), *d;

	if (!c || !c->iommu)
		return -EINVAL;
	for (unsigned int i = 0; i < f->nr_fns; i++) {
		struct fake_fn *fn = &f->fn[i];

		if (strcmp(fn->name, name) || fn->group != o->group || !strstr(fn->driver, "vfio"))
			continue;
		if (fn->token)
			return -EACCES;
		d = new_obj(f, DEVICE);
		d->fn = fn;
		d->ready = true;
		return d->fd;
	}
	return -ENODEV;
}

static int group_ioctl(struct fake_vfio *f, struct fake_vfio_obj *o, unsigned long req, void *arg)
{
	switch (req) {
	case VFIO_GROUP_GET_STATUS: {
		struct vfio_group_status *st = arg;

		if (st->argsz < sizeof(*st))
			return -EINVAL;
		st->flags = (viable(f, o->group) ? VFIO_GROUP_FLAGS_VIABLE : 0) |
			(o->container ? VFIO_GROUP_FLAGS_CONTAINER_SET : 0);
		return 0;
	}
	case VFIO_GROUP_SET_CONTAINER:
		return set_container(f, o, *(int *)arg);
	case VFIO_GROUP_UNSET_CONTAINER: {
		struct fake_vfio_obj *c = by_ino(f, o->container);

		if (!c)
			return -EINVAL;
		if (open_devices(f, o->group, NULL))
			return -EBUSY;
		o->container = 0;
		if (!members(f, c->ino)) {
			c->iommu = false;
			drop_maps(f, c->ino);
		}
		return 0;
	}
	case VFIO_GROUP_GET_DEVICE_FD:
		return get_device(f, o, arg);
	}
	return -ENOTTY;
}

/* ---- iommufd --------------------------------------------------------------------------------- */

static uint64_t space_of(const struct fake_vfio_obj *o, uint32_t ioas)
{
	return ioas && ioas <= o->spaces ? o->ino : 0;
}

static int iommufd_ioctl(struct fake_vfio *f, struct fake_vfio_obj *o, unsigned long req, void *arg)
{
	switch (req) {
	case IOMMUFD_IOAS_ALLOC: {
		struct iommufd_ioas_alloc *a = arg;

		if (a->size < sizeof(*a) || a->flags)
			return -EOPNOTSUPP;
		/* the mappings of this model know their iommufd only */
		if (o->spaces) {
			complain(f, "a second I/O address space");
			return -ENOMEM;
		}
		a->out_ioas_id = ++o->spaces;
		return 0;
	}
	case IOMMUFD_IOAS_IOVA_RANGES: {
		struct iommufd_ioas_iova_ranges *q = arg;
		struct iova_range r[NR_RANGES];
		uint32_t room = q->num_iovas;
		unsigned int nr = usable(f, o->ino, r);

		if (q->size < sizeof(*q) || q->reserved)
			return -EOPNOTSUPP;
		if (!space_of(o, q->ioas_id))
			return -ENOENT;
		q->out_iova_alignment = f->alignment;
		q->num_iovas = nr;
		memcpy((void *)(uintptr_t)q->allowed_iovas, r, MIN(room, nr) * sizeof(*r));
		if (f->rewrite_ranges)
			f->rewrite_ranges(&q->num_iovas, (void *)(uintptr_t)q->allowed_iovas, room);
		return q->num_iovas > room ? -EMSGSIZE : 0;
	}
	case IOMMUFD_IOAS_MAP: {
		struct iommufd_ioas_map *m = arg;

		if (m->size < sizeof(*m) || m->reserved || m->flags != (IOMMUFD_MAP_FIXED_IOVA |
		    IOMMUFD_MAP_READABLE | IOMMUFD_MAP_WRITEABLE))
			return -EOPNOTSUPP;
		if (!space_of(o, m->ioas_id))
			return -ENOENT;
		return do_map(f, o->ino, m->iova, m->length, m->user_va, f->alignment);
	}
	case IOMMUFD_IOAS_UNMAP: {
		struct iommufd_ioas_unmap *u = arg;

		if (u->size < sizeof(*u) || !space_of(o, u->ioas_id))
			return -ENOENT;
		return do_unmap(f, o->ino, u->iova, &u->length, -ENOENT);
	}
	}
	return -ENOTTY;
}

static int bind(struct fake_vfio *f, struct fake_vfio_obj *o, struct vfio_device_bind_iommufd *b)
{
	size_t min = offsetof(struct vfio_device_bind_iommufd, out_devid) + sizeof(b->out_devid);
	struct fake_vfio_obj *io;

	if (b->argsz < min || b->flags || o->ready || !o->by_cdev)
		return -EINVAL;
	for (unsigned int i = 0; i < NR_OBJS; i++)
		if (f->obj[i].kind == GROUP && f->obj[i].group == o->fn->group)
			return -EBUSY;
	if (o->fn->token)
		return -EACCES;
	io = find(f, b->iommufd);
	if (!io || io->kind != IOMMUFD)
		return -EBADFD;
	if (o->fn->taken || open_devices(f, -1, o->fn))
		return -EINVAL;
	/* iommu_device_claim_dma_owner(): a group has one owner */
	if (!viable(f, o->fn->group))
		return -EPERM;
	for (unsigned int i = 0; i < f->nr_fns; i++)
		if (f->fn[i].group == o->fn->group && f->fn[i].taken)
			return -EPERM;
	o->container = io->ino;
	o->ready = true;
	o->devid = b->out_devid = 100 + (o->fn - f->fn);
	return 0;
}

static int attach(struct fake_vfio *f, struct fake_vfio_obj *o,
		  struct vfio_device_attach_iommufd_pt *a)
{
	struct fake_vfio_obj *io = by_ino(f, o->container);

	if (a->argsz < offsetof(struct vfio_device_attach_iommufd_pt, pt_id) + sizeof(a->pt_id) ||
	    a->flags || !o->by_cdev || !io)
		return -EINVAL;
	if (!space_of(io, a->pt_id))
		return -ENOENT;
	if (o->fn->no_msi_isolation)
		return -EPERM;
	if (o->fn->alien)
		return -EINVAL;
	o->attached = a->pt_id;
	return 0;
}

/* ---- hot reset ------------------------------------------------------------------------------- */

/* Whose is the function, as the kernel tells the caller? */
static uint32_t owner(struct fake_vfio *f, const struct fake_vfio_obj *o, const struct fake_fn *fn)
{
	bool same_group = false;

	if (!o->by_cdev)
		return fn->group;
	if (!strstr(fn->driver, "vfio"))
		return VFIO_PCI_DEVID_NOT_OWNED;
	for (unsigned int i = 0; i < NR_OBJS; i++) {
		const struct fake_vfio_obj *x = &f->obj[i];

		if (x->kind != DEVICE || x->container != o->container || !x->ready)
			continue;
		if (x->fn == fn)
			return x->devid;
		same_group |= x->fn->group == fn->group;
	}
	return same_group ? VFIO_PCI_DEVID_OWNED : (uint32_t)VFIO_PCI_DEVID_NOT_OWNED;
}

static int hot_reset_info(struct fake_vfio *f, struct fake_vfio_obj *o,
			  struct vfio_pci_hot_reset_info *info)
{
	uint32_t n = 0, room = (info->argsz - sizeof(*info)) / sizeof(info->devices[0]);
	bool all = true;

	if (info->argsz < sizeof(*info))
		return -EINVAL;
	if (o->fn->slot < 0)
		return -ENODEV;
	info->flags = 0;
	for (unsigned int i = 0; i < f->nr_fns; i++) {
		unsigned int dom, bus, dev, fn;
		uint32_t id;

		if (f->fn[i].slot != o->fn->slot)
			continue;
		id = owner(f, o, &f->fn[i]);
		all &= id != (uint32_t)VFIO_PCI_DEVID_NOT_OWNED;
		if (sscanf(f->fn[i].name, "%x:%x:%x.%x", &dom, &bus, &dev, &fn) != 4)
			abort();
		if (n < room)
			info->devices[n] = (struct vfio_pci_dependent_device){ id, dom, bus,
									       dev << 3 | fn };
		n++;
	}
	info->count = n;
	if (n > room)
		return -ENOSPC;
	if (o->by_cdev)
		info->flags = VFIO_PCI_HOT_RESET_FLAG_DEV_ID |
			(all ? VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED : 0);
	return 0;
}

static int hot_reset(struct fake_vfio *f, struct fake_vfio_obj *o, struct vfio_pci_hot_reset *r)
{
	if (r->argsz < sizeof(*r) + r->count * sizeof(r->group_fds[0]) || r->flags ||
	    !!r->count == o->by_cdev)
		return -EINVAL;
	if (o->fn->slot < 0)
		return -ENODEV;
	for (uint32_t n = 0; n < r->count; n++) {
		struct fake_vfio_obj *g = find(f, r->group_fds[n]);

		if (!g || g->kind != GROUP)
			return g ? -EINVAL : -EBADF;
	}
	for (unsigned int i = 0; i < f->nr_fns; i++) {
		bool ours = false;

		if (f->fn[i].slot != o->fn->slot)
			continue;
		if (!strstr(f->fn[i].driver, "vfio"))
			return -EINVAL;
		for (uint32_t n = 0; n < r->count; n++)
			ours |= find(f, r->group_fds[n])->group == f->fn[i].group;
		if (o->by_cdev)
			ours = owner(f, o, &f->fn[i]) != (uint32_t)VFIO_PCI_DEVID_NOT_OWNED;
		if (!ours)
			return -EINVAL;
	}
	for (unsigned int i = 0; i < f->nr_fns; i++)
		f->fn[i].hot_resets += f->fn[i].slot == o->fn->slot;
	return 0;
}

static int device_ioctl(struct fake_vfio *f, struct fake_vfio_obj *o, unsigned long req, void *arg)
{
	int ret;

	if (req == VFIO_DEVICE_BIND_IOMMUFD)
		return bind(f, o, arg);
	if (!o->ready)
		return -EINVAL;
	switch (req) {
	case VFIO_DEVICE_ATTACH_IOMMUFD_PT:
		return attach(f, o, arg);
	case VFIO_DEVICE_DETACH_IOMMUFD_PT:
		o->attached = 0;
		return o->by_cdev ? 0 : -EINVAL;
	case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO:
		return hot_reset_info(f, o, arg);
	case VFIO_DEVICE_PCI_HOT_RESET:
		return hot_reset(f, o, arg);
	}
	ret = fake_dev_ioctl(o->fn->dev, req, arg);
	if (ret == 0 && req == VFIO_DEVICE_GET_INFO && o->fn->no_pci)
		((struct vfio_device_info *)arg)->flags &= ~VFIO_DEVICE_FLAGS_PCI;
	return ret;
}

/* ---- the seam -------------------------------------------------------------------------------- */

static int open_node(struct fake_vfio *f, const char *node)
{
	struct fake_vfio_obj *o;
	unsigned int n;
	char end;

	if (!strcmp(node, "vfio/vfio"))
		return f->containers ? new_obj(f, CONTAINER)->fd : -ENOENT;
	if (!strcmp(node, "iommu"))
		return f->iommufd ? new_obj(f, IOMMUFD)->fd : -ENOENT;
	if (sscanf(node, "vfio/devices/vfio%u%c", &n, &end) == 1) {
		if (!f->cdevs || n >= f->nr_fns || !strstr(f->fn[n].driver, "vfio"))
			return -ENOENT;
		o = new_obj(f, DEVICE);
		o->fn = &f->fn[n];
		o->by_cdev = true;
		return o->fd;
	}
	if (sscanf(node, "vfio/%u%c", &n, &end) != 1 || !f->groups)
		return -ENOENT;
	for (unsigned int i = 0; i < f->nr_fns; i++)
		if (f->fn[i].group == (int)n && (f->fn[i].taken || open_devices(f, n, NULL)))
			return -EBUSY;
	for (unsigned int i = 0; i < NR_OBJS; i++)
		if (f->obj[i].kind == GROUP && f->obj[i].group == (int)n)
			return -EBUSY;
	for (unsigned int i = 0; i < f->nr_fns; i++) {
		if (f->fn[i].group != (int)n || !strstr(f->fn[i].driver, "vfio"))
			continue;
		o = new_obj(f, GROUP);
		o->group = n;
		return o->fd;
	}
	return -ENOENT;
}

static int sys_open(const struct vfio_sys *s, const char *path, int flags)
{
	struct fake_vfio *f = s->ctx;
	size_t n = strlen(f->devs);

	reap(f);
	if (failing(f))
		return -f->fail_errno;
	if (strncmp(path, f->devs, n) || path[n] != '/' || (flags & O_ACCMODE) != O_RDWR) {
		complain(f, "%s was opened", path);
		return -ENOENT;
	}
	for (unsigned int i = 0; i < f->nr_deny; i++)
		if (!strcmp(path + n + 1, f->deny[i].path))
			return -f->deny[i].err;
	return open_node(f, path + n + 1);
}

static int sys_ioctl(const struct vfio_sys *s, int fd, unsigned long req, void *arg)
{
	struct fake_vfio *f = s->ctx;
	struct fake_vfio_obj *o;

	reap(f);
	if (failing(f))
		return -f->fail_errno;
	o = find(f, fd);
	switch (o ? o->kind : FREE) {
	case CONTAINER:
		return container_ioctl(f, o, req, arg);
	case GROUP:
		return group_ioctl(f, o, req, arg);
	case DEVICE:
		return device_ioctl(f, o, req, arg);
	case IOMMUFD:
		return iommufd_ioctl(f, o, req, arg);
	default:
		complain(f, "ioctl %#lx on descriptor %d, which is none of VFIO's", req, fd);
		return -EBADF;
	}
}

static struct fake_dev *device_at(struct fake_vfio *f, int fd)
{
	struct fake_vfio_obj *o;

	reap(f);
	o = find(f, fd);
	return o && o->kind == DEVICE && o->ready ? o->fn->dev : NULL;
}

static void *sys_mmap(const struct vfio_sys *s, size_t len, int prot, int flags, int fd, off_t off)
{
	struct fake_dev *d = device_at(s->ctx, fd);

	errno = EINVAL;
	return d ? fake_dev_mmap(d, len, prot, flags, off) : MAP_FAILED;
}

static int sys_munmap(const struct vfio_sys *s, void *addr, size_t len)
{
	struct fake_vfio *f = s->ctx;

	for (unsigned int i = 0; i < f->nr_fns; i++)
		if (f->fn[i].dev && fake_dev_munmap(f->fn[i].dev, addr, len) == 0)
			return 0;
	return -EINVAL;
}

static ssize_t sys_pread(const struct vfio_sys *s, int fd, void *buf, size_t len, off_t off)
{
	struct fake_dev *d = device_at(s->ctx, fd);

	return d ? fake_dev_pread(d, buf, len, off) : -EINVAL;
}

static ssize_t sys_pwrite(const struct vfio_sys *s, int fd, const void *buf, size_t len, off_t off)
{
	struct fake_dev *d = device_at(s->ctx, fd);

	return d ? fake_dev_pwrite(d, buf, len, off) : -EINVAL;
}

void fake_vfio_init(struct fake_vfio *f)
{
	memset(f, 0, sizeof(*f));
	snprintf(f->root, sizeof(f->root), "%s", "/tmp/fake-vfio-XXXXXX");
	f->obj = calloc(NR_OBJS, sizeof(*f->obj));
	if (!f->obj || !mkdtemp(f->root))
		abort();
	snprintf(f->sysfs, sizeof(f->sysfs), "%s/sys", f->root);
	snprintf(f->devs, sizeof(f->devs), "%s/dev", f->root);
	f->sys = (struct vfio_sys){
		.open = sys_open,
		.ioctl = sys_ioctl,
		.mmap = sys_mmap,
		.munmap = sys_munmap,
		.pread = sys_pread,
		.pwrite = sys_pwrite,
		.sysfs = f->sysfs,
		.dev = f->devs,
		.ctx = f,
	};
	fake_vfio_file(f, "sys/bus/pci/drivers/vfio-pci/module", "");
	fake_vfio_file(f, "sys/bus/pci/devices/.keep", "");
	f->containers = f->type1 = f->iommufd = f->cdevs = f->groups = f->caps = true;
	f->last = (UINT64_C(1) << 48) - 1;
	f->page_sizes = -SZ_4K;
	f->alignment = SZ_4K;
	f->entries = UINT16_MAX;
	f->memlock = UINT64_MAX;
	f->fail_errno = EIO;
}

const char *fake_vfio_destroy(struct fake_vfio *f)
{
	unsigned int n = fake_vfio_open(f);

	if (n)
		complain(f, "%u descriptors are open", n);
	else if (f->nr_maps)
		complain(f, "%u mappings are left", f->nr_maps);
	fake_vfio_remove(f, ".");
	rmdir(f->root);
	free(f->map);
	free(f->obj);
	f->map = NULL;
	f->obj = NULL;
	return f->complaint[0] ? f->complaint : NULL;
}
