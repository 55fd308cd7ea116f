// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vfio/sysfs.h"
#include "vfio/vfio_abi.h"
#include "vmm/core/err.h"
#include "vmm/core/kvm.h"
#include "vmm/core/log.h"

/*
 * #syscalls main?vfio: ioctl=VFIO_DEVICE_GET_INFO
 * #syscalls main?vfio: ioctl=VFIO_DEVICE_GET_REGION_INFO|VFIO_DEVICE_GET_IRQ_INFO
 * #syscalls main?vfio: ioctl=VFIO_GROUP_GET_STATUS|VFIO_DEVICE_GET_PCI_HOT_RESET_INFO
 * #syscalls main?vfio: ioctl=VFIO_DEVICE_PCI_HOT_RESET
 * #syscalls main,vcpu?vfio: ioctl=VFIO_DEVICE_SET_IRQS|VFIO_DEVICE_RESET
 */

#define REGION_INFO_MAX	SZ_64K		/* sparse areas: a few dozen at most */
#define SET_IRQS_MAX	2048		/* vectors of MSI-X: PCI Express 6.0, 7.7.2.2 */
#define HOT_RESET_MAX	8192		/* functions behind one bridge; 32 devices of 8 on a bus */

/**
 * struct vfio_group - an open IOMMU group, in the container
 * @users: devices of it that are open here
 */
struct vfio_group {
	unsigned int id;
	int fd;
	unsigned int users;
	struct vfio_group *next;
};

struct vfio {
	const struct vfio_sys *sys;
	enum vfio_backend want, have;		/* have: VFIO_AUTO: not decided yet */
	struct iommu *io;
	struct vfio_group *groups;
	struct vfio_device *devs;
};

/* ---- the set --------------------------------------------------------------------------------- */

int vfio_new(const struct vfio_sys *sys, enum vfio_backend want, struct vfio **out, struct err *e)
{
	struct vfio *v = calloc(1, sizeof(*v));

	if (!v)
		return err_set(e, -ENOMEM, "VFIO: out of memory");
	v->sys = sys ? sys : &vfio_host;
	v->want = want;
	*out = v;
	return 0;
}

static void put_group(struct vfio *v, struct vfio_group *g)
{
	struct vfio_group **p = &v->groups;

	if (!g || --g->users)
		return;
	while (*p != g)
		p = &(*p)->next;
	*p = g->next;
	type1_detach(v->io, g->fd);
	close(g->fd);
	free(g);
}

static void free_iommu(struct vfio *v)
{
	if (v->io)
		v->io->ops->free(v->io);
	v->io = NULL;
	v->have = VFIO_AUTO;
}

void vfio_free(struct vfio *v)
{
	if (!v)
		return;
	while (v->devs) {
		struct vfio_device *d = v->devs;

		v->devs = d->next;
		/* The device first: a group with open devices does not leave its container. */
		close(d->fd);
		put_group(v, d->container_group);
		free(d);
	}
	free_iommu(v);
	free(v);
}

struct iommu *vfio_iommu(struct vfio *v)
{
	return v->io;
}

const char *vfio_backend_name(const struct vfio *v)
{
	return v->have == VFIO_IOMMUFD ? "iommufd" : "group (type1v2)";
}

/* ---- what keeps a device from being given away ----------------------------------------------- */

static int not_bound(struct vfio *v, const struct host_pci *p, struct err *e)
{
	char hint[512];

	sysfs_bind_hint(v->sys, p->name, p->driver[0], hint, sizeof(hint));
	if (p->driver[0])
		return err_set(e, -EBUSY, "%s is bound to driver %s; to take it away from the host: %s",
			       p->name, p->driver, hint);
	return err_set(e, -ENODEV, "%s is bound to no driver; to give it to guests: %s", p->name, hint);
}

/* A group is given away as a whole: PCI lets its functions reach each other without the IOMMU. */
static int not_viable(struct vfio *v, const struct host_pci *p, struct err *e)
{
	char with[256], names[256], hint[640];
	unsigned int n = sysfs_group_others(v->sys, p->group, with, sizeof(with), names,
					    sizeof(names));

	if (!n)
		return 0;
	if (!names[0])
		return err_set(e, -EBUSY, "%s: the host uses others of its IOMMU group %u: %s", p->name,
			       p->group, with);
	sysfs_bind_hint(v->sys, names, true, hint, sizeof(hint));
	return err_set(e, -EBUSY, "%s: nothing isolates it (no ACS) from others of its IOMMU group %u "
		       "which the host uses: %s; bind them, too: %s", p->name, p->group, with, hint);
}

static int in_use(struct vfio *v, const struct host_pci *p, const char *node, struct err *e)
{
	int ret = not_viable(v, p, e);

	if (ret < 0)
		return ret;
	return err_set(e, -EBUSY, "%s: another program has it, or another device of its IOMMU group %u "
		       "(fuser -v %s tells which): a group has one owner", p->name, p->group, node);
}

/* -EACCES: only SR-IOV asks for more than an open node (vfio_pci_validate_vf_token()) */
static int wants_token(struct vfio *v, const struct host_pci *p, struct err *e)
{
	if (p->physfn[0])
		return err_set(e, -EACCES, "%s is a virtual function, and its physical function %s is bound "
			       "to vfio-pci, which asks for a VF token: give the physical function back to "
			       "the host's driver", p->name, p->physfn);
	return err_set(e, -EACCES, "%s is a physical function whose virtual functions are in use: take "
		       "them away first (echo 0 > %s/bus/pci/devices/%s/sriov_numvfs)", p->name,
		       v->sys->sysfs, p->name);
}

static int no_node(const char *node, const struct host_pci *p, int ret, const char *without,
		   struct err *e)
{
	switch (ret) {
	case -ENOENT:
	case -ENODEV:
	case -ENXIO:
		return err_set(e, ret, "%s: %s is missing: %s", p->name, node, without);
	case -EACCES:
	case -EPERM:
		return err_set(e, ret, "%s: %s: permission denied; give it to the user (chown USER %s; a "
			       "udev rule for SUBSYSTEM==\"vfio\" makes it last)", p->name, node, node);
	default:
		return err_set(e, ret, "%s: %s: %s", p->name, node, strerror(-ret));
	}
}

static int usable(struct vfio *v, const struct host_pci *p, struct err *e)
{
	for (struct vfio_device *d = v->devs; d; d = d->next)
		if (!strcmp(d->name, p->name))
			return err_set(e, -EEXIST, "%s is given twice", p->name);
	if (p->noiommu)
		return err_set(e, -EPERM, "%s is in VFIO's no-IOMMU mode: nothing would keep it from the "
			       "host's memory; an IOMMU is needed", p->name);
	if (!p->grouped && !sysfs_has_groups(v->sys))
		return err_set(e, -ENODEV, "%s: this host has no IOMMU in use, so devices cannot be given "
			       "to guests: an SMMUv3 that the firmware describes, and CONFIG_ARM_SMMU_V3",
			       p->name);
	if (!p->grouped)
		return err_set(e, -ENODEV, "%s is not behind the host's IOMMU: it cannot be given to guests",
			       p->name);
	if (!sysfs_is_vfio(p))
		return not_bound(v, p, e);
	return 0;
}

/* ---- iommufd --------------------------------------------------------------------------------- */

/* Opens address space and device; nothing is bound yet. */
static int open_cdev(struct vfio *v, const struct host_pci *p, struct vfio_device *d,
		     struct err *e)
{
	char node[128];
	int ret;

	if (!p->cdev[0])
		return err_set(e, -ENOTSUP, "%s has no character device: a kernel with "
			       "CONFIG_VFIO_DEVICE_CDEV (Linux 6.6 or later), or --vfio-backend group",
			       p->name);
	if (!v->io) {
		ret = iommufd_new(v->sys, &v->io, e);
		if (ret < 0)
			return ret;
		v->have = VFIO_IOMMUFD;
	}
	snprintf(node, sizeof(node), "%s/vfio/devices/%s", v->sys->dev, p->cdev);
	d->fd = v->sys->open(v->sys, node, O_RDWR);
	if (d->fd < 0)
		return no_node(node, p, d->fd, "is /dev another one than the host's?", e);
	return 0;
}

static int add_cdev(struct vfio *v, const struct host_pci *p, struct vfio_device *d, struct err *e)
{
	char node[128];
	int ret = iommufd_bind(v->io, d->fd, &d->devid);

	snprintf(node, sizeof(node), "%s/vfio/devices/%s", v->sys->dev, p->cdev);
	switch (ret) {
	case 0:
		break;
	case -EACCES:
		return wants_token(v, p, e);
	case -EBUSY:			/* its group is open */
	case -EINVAL:			/* it is itself */
	case -EPERM:			/* the host, or another program, does DMA in its group */
		return in_use(v, p, node, e);
	default:
		return err_set(e, ret, "%s: VFIO_DEVICE_BIND_IOMMUFD: %s", p->name, strerror(-ret));
	}
	ret = iommufd_attach(v->io, d->fd, e);
	return ret < 0 ? err_prefix(e, "%s", p->name), ret : 0;
}

/* ---- groups ---------------------------------------------------------------------------------- */

static int open_group(struct vfio *v, const struct host_pci *p, struct vfio_group **out,
		      struct err *e)
{
	struct vfio_group_status st = { .argsz = sizeof(st) };
	struct vfio_group *g;
	char node[128];
	int ret;

	for (g = v->groups; g; g = g->next)
		if (g->id == p->group)
			goto found;
	snprintf(node, sizeof(node), "%s/vfio/%u", v->sys->dev, p->group);
	g = calloc(1, sizeof(*g));
	if (!g)
		return err_set(e, -ENOMEM, "%s: out of memory", p->name);
	g->id = p->group;
	g->fd = v->sys->open(v->sys, node, O_RDWR);
	if (g->fd == -EBUSY) {
		ret = in_use(v, p, node, e);
		goto free;
	} else if (g->fd < 0) {
		ret = no_node(node, p, g->fd, "a kernel with CONFIG_VFIO_GROUP, or --vfio-backend "
			      "iommufd; is /dev another one than the host's?", e);
		goto free;
	}
	ret = v->sys->ioctl(v->sys, g->fd, VFIO_GROUP_GET_STATUS, &st);
	if (ret < 0) {
		ret = err_set(e, ret, "%s: VFIO_GROUP_GET_STATUS: %s", node, strerror(-ret));
		goto close;
	}
	if (!(st.flags & VFIO_GROUP_FLAGS_VIABLE)) {
		ret = not_viable(v, p, e);
		if (ret == 0)
			ret = err_set(e, -EBUSY, "%s: the kernel says that its IOMMU group %u is not "
				      "viable: the host uses a device of it", p->name, p->group);
		goto close;
	}
	ret = type1_attach(v->io, g->fd, e);
	if (ret < 0) {
		err_prefix(e, "%s", p->name);
		goto close;
	}
	g->next = v->groups;
	v->groups = g;
found:
	g->users++;
	*out = g;
	return 0;

close:
	close(g->fd);
free:
	free(g);
	return ret;
}

static int add_by_group(struct vfio *v, const struct host_pci *p, struct vfio_device *d,
			struct err *e)
{
	char name[PCI_NAME_SIZE], node[128];
	int ret;

	if (!v->io) {
		ret = type1_new(v->sys, &v->io, e);
		if (ret < 0)
			return ret;
		v->have = VFIO_GROUP;
	}
	ret = open_group(v, p, &d->container_group, e);
	if (ret < 0)
		return ret;
	strcpy(name, p->name);
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): open_group() has set it */
	d->fd = v->sys->ioctl(v->sys, d->container_group->fd, VFIO_GROUP_GET_DEVICE_FD, name);
	snprintf(node, sizeof(node), "%s/vfio/%u", v->sys->dev, p->group);
	switch (d->fd) {
	case -EACCES:
		return wants_token(v, p, e);
	case -EBUSY:
		return in_use(v, p, node, e);
	default:
		if (d->fd < 0)
			return err_set(e, d->fd, "%s: VFIO_GROUP_GET_DEVICE_FD: %s", p->name,
				       strerror(-d->fd));
		return 0;
	}
}

/* ---- devices --------------------------------------------------------------------------------- */

static int get_info(struct vfio_device *d, struct err *e)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	int ret = d->sys->ioctl(d->sys, d->fd, VFIO_DEVICE_GET_INFO, &info);

	if (ret < 0)
		return err_set(e, ret, "%s: VFIO_DEVICE_GET_INFO: %s", d->name, strerror(-ret));
	if (!(info.flags & VFIO_DEVICE_FLAGS_PCI) ||
	    info.num_regions <= VFIO_PCI_CONFIG_REGION_INDEX)
		return err_set(e, -ENOTSUP, "%s: its driver does not show it as a PCI function: bind it to "
			       "vfio-pci", d->name);
	d->can_reset = info.flags & VFIO_DEVICE_FLAGS_RESET;
	d->nr_regions = info.num_regions;
	d->nr_irqs = info.num_irqs;
	return 0;
}

static void close_device(struct vfio_device *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	put_group(d->v, d->container_group);
	d->container_group = NULL;
	if (!d->v->devs)
		free_iommu(d->v);
	else if (d->v->have == VFIO_IOMMUFD)
		iommufd_detached(d->v->io);
}

static int open_device(struct vfio_device *d, const struct host_pci *p, struct err *e)
{
	struct vfio *v = d->v;
	enum vfio_backend how = v->have != VFIO_AUTO ? v->have : v->want;
	struct err why;
	int ret, first;

	if (how == VFIO_GROUP)
		return add_by_group(v, p, d, e);
	first = open_cdev(v, p, d, &why);
	if (first == 0)
		return add_cdev(v, p, d, e);
	if (e)
		*e = why;
	if (how == VFIO_IOMMUFD)
		return first;
	/* The host may offer, or allow this user, the other one only. */
	close_device(d);
	ret = add_by_group(v, p, d, e);
	if (ret < 0 && !v->groups && p->cdev[0] && first != -ENOENT) {
		if (e)
			*e = why;
		return first;
	}
	if (ret == 0 && p->cdev[0])
		log_info("%s: through its group; without iommufd: %s", p->name, why.msg);
	return ret;
}

int vfio_add(struct vfio *v, const char *where, struct vfio_device **out, struct err *e)
{
	struct vfio_device *d, **last;
	struct host_pci p;
	int ret = sysfs_pci_find(v->sys, where, &p, e);

	if (ret < 0)
		return ret;
	ret = usable(v, &p, e);
	if (ret < 0)
		return ret;
	d = calloc(1, sizeof(*d));
	if (!d)
		return err_set(e, -ENOMEM, "%s: out of memory", p.name);
	d->sys = v->sys;
	d->v = v;
	d->fd = -1;
	d->group = p.group;
	strcpy(d->name, p.name);
	ret = open_device(d, &p, e);
	if (ret == 0)
		ret = get_info(d, e);
	if (ret < 0) {
		close_device(d);
		free(d);
		return ret;
	}
	for (last = &v->devs; *last; last = &(*last)->next)
		;
	*last = d;
	*out = d;
	return 0;
}

int vfio_tell_kvm(struct vfio *v, struct kvm *k)
{
	int fd = kvm_device_create(k, KVM_DEV_TYPE_VFIO, NULL);

	if (fd < 0)
		return -1;
	if (v->have == VFIO_IOMMUFD) {
		for (struct vfio_device *d = v->devs; d; d = d->next)
			kvm_set_attr(k, fd, KVM_DEV_VFIO_FILE, KVM_DEV_VFIO_FILE_ADD, &d->fd);
	} else {
		for (struct vfio_group *g = v->groups; g; g = g->next)
			kvm_set_attr(k, fd, KVM_DEV_VFIO_FILE, KVM_DEV_VFIO_FILE_ADD, &g->fd);
	}
	return fd;
}

const void *vfio_find_cap(const void *info, size_t size, uint32_t first, uint16_t id, size_t min)
{
	uint32_t off = first, last = 0;

	/* Upwards only: what the kernel builds is in order, and nothing that is can be a circle. */
	while (off > last && off <= size && size - off >= sizeof(struct vfio_info_cap_header)) {
		struct vfio_info_cap_header h;

		memcpy(&h, (const char *)info + off, sizeof(h));
		if (h.id == id && size - off >= min && IS_ALIGNED(off, 8))
			return (const char *)info + off;
		last = off;
		off = h.next;
	}
	return NULL;
}

int vfio_region(struct vfio_device *d, unsigned int index, struct vfio_region_info **out,
		struct err *e)
{
	uint32_t want = sizeof(**out);

	for (unsigned int tries = 0; tries < 4 && want <= REGION_INFO_MAX; tries++) {
		struct vfio_region_info *r = calloc(1, want);
		int ret;

		if (!r)
			return err_set(e, -ENOMEM, "%s: out of memory", d->name);
		r->argsz = want;
		r->index = index;
		ret = d->sys->ioctl(d->sys, d->fd, VFIO_DEVICE_GET_REGION_INFO, r);
		if (ret < 0) {
			free(r);
			return err_set(e, ret, "%s: VFIO_DEVICE_GET_REGION_INFO of region %u: %s",
				       d->name, index, strerror(-ret));
		}
		if (r->argsz <= want) {
			r->argsz = want;
			if (!(r->flags & VFIO_REGION_INFO_FLAG_CAPS))
				r->cap_offset = 0;
			*out = r;
			return 0;
		}
		want = r->argsz;
		free(r);
	}
	return err_set(e, -EPROTO, "%s: VFIO_DEVICE_GET_REGION_INFO of region %u: the kernel's answer has "
		       "no sensible size (%u bytes)", d->name, index, want);
}

int vfio_irq(struct vfio_device *d, unsigned int index, struct vfio_irq_info *out)
{
	*out = (struct vfio_irq_info){ .argsz = sizeof(*out), .index = index };
	return d->sys->ioctl(d->sys, d->fd, VFIO_DEVICE_GET_IRQ_INFO, out);
}

int vfio_set_irqs(struct vfio_device *d, unsigned int index, unsigned int start, unsigned int nr,
		  const int *fd, uint32_t action, struct err *e)
{
	static const char *const names[] = { "INTx", "MSI", "MSI-X", "errors", "requests" };
	struct vfio_irq_set *s;
	size_t size;
	int ret;

	if (nr > SET_IRQS_MAX)
		return err_set(e, -EINVAL, "%s: %u interrupts at once", d->name, nr);
	size = sizeof(*s) + (fd ? nr * sizeof(*fd) : 0);
	s = calloc(1, size);
	if (!s)
		return err_set(e, -ENOMEM, "%s: out of memory", d->name);
	s->argsz = size;
	s->flags = action | (fd ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE);
	s->index = index;
	s->start = start;
	s->count = nr;
	if (fd)
		memcpy(s->data, fd, nr * sizeof(*fd));
	ret = d->sys->ioctl(d->sys, d->fd, VFIO_DEVICE_SET_IRQS, s);
	free(s);
	if (ret < 0)
		return err_set(e, ret, "%s: VFIO_DEVICE_SET_IRQS (%s, %u from %u): %s", d->name,
			       index < ARRAY_SIZE(names) ? names[index] : "?", nr, start, strerror(-ret));
	return ret;
}

/* ---- reset ----------------------------------------------------------------------------------- */

int vfio_reset_own(struct vfio_device *d, struct err *e)
{
	int ret;

	if (!d->can_reset)
		return err_set(e, -EOPNOTSUPP, "%s: the host has no way to reset this function alone",
			       d->name);
	ret = d->sys->ioctl(d->sys, d->fd, VFIO_DEVICE_RESET, NULL);
	if (ret < 0)
		return err_set(e, ret, "%s: VFIO_DEVICE_RESET: %s", d->name, strerror(-ret));
	return 0;
}

static void dependent_name(const struct vfio_pci_dependent_device *x, char out[PCI_NAME_SIZE])
{
	snprintf(out, PCI_NAME_SIZE, "%04x:%02x:%02x.%x", x->segment, x->bus, x->devfn >> 3,
		 x->devfn & 7);
}

static struct vfio_device *by_name(struct vfio *v, const char *name)
{
	struct vfio_device *d = v->devs;

	while (d && strcmp(d->name, name))
		d = d->next;
	return d;
}

static struct vfio_group *by_group(struct vfio *v, uint32_t id)
{
	struct vfio_group *g = v->groups;

	while (g && g->id != id)
		g = g->next;
	return g;
}

/* Which functions are reset together with this one. Return: 0; -ENODEV: no hot reset here */
static int hot_reset_info(struct vfio_device *d, struct vfio_pci_hot_reset_info **out,
			  struct err *e)
{
	uint32_t room = 8;

	for (unsigned int tries = 0; tries < 4 && room <= HOT_RESET_MAX; tries++) {
		size_t size = sizeof(**out) + room * sizeof((*out)->devices[0]);
		struct vfio_pci_hot_reset_info *info = calloc(1, size);
		int ret;

		if (!info)
			return err_set(e, -ENOMEM, "%s: out of memory", d->name);
		info->argsz = size;
		ret = d->sys->ioctl(d->sys, d->fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info);
		if (ret == 0 && info->count <= room) {
			*out = info;
			return 0;
		}
		room = info->count;
		free(info);
		if (ret != 0 && ret != -ENOSPC)
			return err_set(e, ret, "%s: VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: %s", d->name,
				       strerror(-ret));
	}
	return err_set(e, -EPROTO, "%s: VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: the kernel's answer has no "
		       "sensible size (%u functions)", d->name, room);
}

/*
 * Who is in the way of a hot reset: functions that are not ours, and those that the host drives.
 * The kernel checks the same; this is for the words.
 */
static unsigned int in_the_way(struct vfio_device *d, const struct vfio_pci_hot_reset_info *info,
			       char *list, size_t size, char *names, size_t names_size,
			       bool *any_bound)
{
	bool by_id = info->flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID;
	unsigned int n = 0;
	size_t len = 0, names_len = 0;

	*list = *names = '\0';
	*any_bound = false;
	for (uint32_t i = 0; i < info->count; i++) {
		const struct vfio_pci_dependent_device *x = &info->devices[i];
		char name[PCI_NAME_SIZE];
		struct host_pci p;
		bool ours, bound;

		dependent_name(x, name);
		ours = by_id ? x->group_id != (uint32_t)VFIO_PCI_DEVID_NOT_OWNED :
			by_group(d->v, x->group_id) != NULL;
		bound = sysfs_pci_read(d->sys, name, &p) == 0 && sysfs_is_vfio(&p);
		/* in the sandbox there is no sysfs, and what cannot be is the kernel's to refuse */
		if (ours && (bound || !sysfs_has_pci(d->sys)))
			continue;
		*any_bound |= !bound && p.driver[0];
		if (len < size)
			len += snprintf(list + len, size - len, "%s%s%s%s%s", n ? ", " : "", name,
					bound || !p.driver[0] ? "" : " (driver ",
					bound ? "" : p.driver, bound || !p.driver[0] ? "" : ")");
		if (!bound && names_len < names_size)
			names_len += snprintf(names + names_len, names_size - names_len, "%s%s",
					      names_len ? " " : "", name);
		n++;
	}
	return n;
}

static int do_hot_reset(struct vfio_device *d, const struct vfio_pci_hot_reset_info *info)
{
	struct vfio_pci_hot_reset *r;
	unsigned int n = 0;
	int ret;

	r = calloc(1, sizeof(*r) + info->count * sizeof(r->group_fds[0]));
	if (!r)
		return -ENOMEM;
	/* Groups prove that they are ours; with iommufd the kernel knows. */
	if (!(info->flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID)) {
		for (struct vfio_group *g = d->v->groups; g; g = g->next) {
			bool hit = false;

			for (uint32_t i = 0; i < info->count; i++)
				hit |= info->devices[i].group_id == g->id;
			if (hit)
				r->group_fds[n++] = g->fd;
		}
	}
	r->count = n;
	r->argsz = sizeof(*r) + n * sizeof(r->group_fds[0]);
	ret = d->sys->ioctl(d->sys, d->fd, VFIO_DEVICE_PCI_HOT_RESET, r);
	free(r);
	return ret;
}

static int hot_reset(struct vfio_device *d, struct err *e)
{
	char list[256], names[256], hint[640];
	struct vfio_pci_hot_reset_info *info = NULL;
	int ret = hot_reset_info(d, &info, e);
	bool bound;

	if (ret == -ENODEV)
		return err_set(e, -EOPNOTSUPP, "%s: the host has no way to reset it: neither this function "
			       "alone (FLR, power management) nor its slot or bus", d->name);
	if (ret < 0)
		return ret;
	if (in_the_way(d, info, list, sizeof(list), names, sizeof(names), &bound)) {
		sysfs_bind_hint(d->sys, names, bound, hint, sizeof(hint));
		ret = err_set(e, -EOPNOTSUPP, "%s can be reset only together with %s: give them to this "
			      "guest, too%s%s", d->name, list, names[0] ? "; to bind them: " : "",
			      names[0] ? hint : "");
		goto out;
	}
	ret = do_hot_reset(d, info);
	if (ret < 0) {
		err_set(e, ret, "%s: VFIO_DEVICE_PCI_HOT_RESET: %s", d->name, strerror(-ret));
		goto out;
	}
	for (uint32_t i = 0; i < info->count; i++) {
		struct vfio_device *other;
		char name[PCI_NAME_SIZE];

		dependent_name(&info->devices[i], name);
		other = by_name(d->v, name);
		if (other && other != d)
			other->reset_done = true;
	}
out:
	free(info);
	return ret;
}

int vfio_reset(struct vfio_device *d, struct err *e)
{
	struct err why;

	if (d->reset_done) {
		d->reset_done = false;
		return 0;
	}
	if (d->can_reset) {
		int ret = vfio_reset_own(d, e);

		if (ret == 0)
			return 0;
		/* What failed is the better message. */
		return hot_reset(d, &why) < 0 ? ret : 0;
	}
	return hot_reset(d, e);
}
