// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/sysfs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vfio/sys.h"
#include "vmm/core/err.h"

static void append(char *buf, size_t size, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void append(char *buf, size_t size, const char *fmt, ...)
{
	size_t n = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + n, size - n, fmt, ap);
	va_end(ap);
}

static const char *at(char out[PATH_MAX], const struct vfio_sys *s, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
static const char *at(char out[PATH_MAX], const struct vfio_sys *s, const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(out, PATH_MAX, "%s/", s->sysfs);

	va_start(ap, fmt);
	if (n < PATH_MAX)
		vsnprintf(out + n, PATH_MAX - n, fmt, ap);
	va_end(ap);
	return out;
}

/* Last component of a symbolic link's target. Return: false: there is no such link */
static bool link_name(const char *path, char *out, size_t size)
{
	char to[PATH_MAX];
	ssize_t n = readlink(path, to, sizeof(to) - 1);
	const char *last;

	if (n < 0)
		return false;
	to[n] = '\0';
	last = strrchr(to, '/');
	last = last ? last + 1 : to;
	if (strlen(last) >= size)
		return false;
	strcpy(out, last);
	return true;
}

static bool read_line(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, out, size - 1);
	close(fd);
	if (n < 0)
		return false;
	out[n] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return true;
}

/* Up to @digits hexadecimal digits. Return: what follows them, NULL: there are none */
static const char *hex(const char *p, unsigned int digits, unsigned long max, unsigned long *out)
{
	unsigned int n;

	*out = 0;
	for (n = 0; n < digits && isxdigit((unsigned char)*p); n++, p++)
		*out = *out << 4 | (unsigned long)(isdigit((unsigned char)*p) ? *p - '0' :
						   tolower((unsigned char)*p) - 'a' + 10);
	return n && *out <= max ? p : NULL;
}

bool sysfs_pci_parse(const char *text, char *out)
{
	unsigned long dom = 0, bus, dev, fn;
	const char *p = strchr(text, ':');

	if (p && strchr(p + 1, ':')) {
		p = hex(text, 8, UINT32_MAX, &dom);
		if (!p || *p++ != ':')
			return false;
	} else {
		p = text;
	}
	p = hex(p, 2, 0xff, &bus);
	if (!p || *p++ != ':')
		return false;
	p = hex(p, 2, 0x1f, &dev);
	if (!p || *p++ != '.')
		return false;
	p = hex(p, 1, 7, &fn);
	if (!p || *p)
		return false;
	snprintf(out, PCI_NAME_SIZE, "%04lx:%02lx:%02lx.%lx", dom & UINT32_MAX, bus & 0xff, dev & 0x1f,
		 fn & 7);
	return true;
}

/* With a character device there is vfio-dev/vfioN/dev (Linux 6.6); vfio-dev alone is older. */
static void find_cdev(const struct vfio_sys *s, struct host_pci *p)
{
	char path[PATH_MAX];
	DIR *d = opendir(at(path, s, "bus/pci/devices/%s/vfio-dev", p->name));
	struct dirent *de;

	while (d && (de = readdir(d))) {
		if (strncmp(de->d_name, "vfio", 4) || strlen(de->d_name) >= sizeof(p->cdev))
			continue;
		if (access(at(path, s, "bus/pci/devices/%s/vfio-dev/%s/dev", p->name, de->d_name),
			   F_OK) == 0)
			strcpy(p->cdev, de->d_name);
	}
	if (d)
		closedir(d);
}

int sysfs_pci_read(const struct vfio_sys *s, const char *name, struct host_pci *out)
{
	char path[PATH_MAX], text[64], *end;
	unsigned long group;

	memset(out, 0, sizeof(*out));
	if (!sysfs_pci_parse(name, out->name))
		return -EINVAL;
	if (access(at(path, s, "bus/pci/devices/%s", out->name), F_OK) < 0)
		return -ENODEV;
	link_name(at(path, s, "bus/pci/devices/%s/driver", out->name), out->driver,
		  sizeof(out->driver));
	if (link_name(at(path, s, "bus/pci/devices/%s/physfn", out->name), text, sizeof(text)) &&
	    !sysfs_pci_parse(text, out->physfn))
		out->physfn[0] = '\0';
	if (link_name(at(path, s, "bus/pci/devices/%s/iommu_group", out->name), text,
		      sizeof(text)) && isdigit((unsigned char)text[0])) {
		group = strtoul(text, &end, 10);
		out->grouped = !*end && group <= UINT32_MAX;
		out->group = out->grouped ? group : 0;
	}
	if (out->grouped && read_line(at(path, s, "kernel/iommu_groups/%u/name", out->group), text,
				      sizeof(text)))
		out->noiommu = !strcmp(text, "vfio-noiommu");
	find_cdev(s, out);
	return 0;
}

/* The name of the device that a path in sysfs leads to */
static int resolve(const struct vfio_sys *s, const char *where, char *name, struct err *e)
{
	char real[PATH_MAX], known[PATH_MAX], path[PATH_MAX];
	const char *last;

	if (!realpath(where, real))
		return err_set(e, -ENODEV, "%s: %s; a device of the host is named by its address, "
			       "[DOMAIN:]BB:DD.F, or its folder in sysfs", where, strerror(errno));
	last = strrchr(real, '/') + 1;
	if (!sysfs_pci_parse(last, name)) {
		if (access(at(path, s, "bus/platform/devices/%s", last), F_OK) == 0 && *last)
			return err_set(e, -ENOTSUP, "%s is a platform device: only PCI functions can be "
				       "assigned", where);
		return err_set(e, -ENOTSUP, "%s is no PCI function: a device of the host is named by its "
			       "address, [DOMAIN:]BB:DD.F, or its folder in sysfs", where);
	}
	if (!realpath(at(path, s, "bus/pci/devices/%s", name), known) || strcmp(real, known))
		return err_set(e, -ENOTSUP, "%s is not the folder of a PCI function in sysfs (%s)", where,
			       path);
	return 0;
}

int sysfs_pci_find(const struct vfio_sys *s, const char *where, struct host_pci *out,
		   struct err *e)
{
	char name[PCI_NAME_SIZE], path[PATH_MAX];
	int ret;

	if (strchr(where, '/')) {
		ret = resolve(s, where, name, e);
		if (ret < 0)
			return ret;
	} else if (!sysfs_pci_parse(where, name)) {
		return err_set(e, -EINVAL, "'%s' is no PCI address: [DOMAIN:]BB:DD.F, as lspci -D prints "
			       "them, or a folder in sysfs", where);
	}
	ret = sysfs_pci_read(s, name, out);
	if (ret == 0)
		return 0;
	if (access(at(path, s, "bus/pci"), F_OK) < 0)
		return err_set(e, -ENODEV, "%s: this host shows no PCI bus (%s is missing)", name, path);
	return err_set(e, -ENODEV, "%s: this host has no such PCI function; lspci -D lists them", name);
}

bool sysfs_is_vfio(const struct host_pci *p)
{
	/* vfio-pci, mlx5_vfio_pci, hisi-acc-vfio-pci, nvgrace-gpu-vfio-pci, ... */
	return strstr(p->driver, "vfio") != NULL;
}

bool sysfs_has_pci(const struct vfio_sys *s)
{
	char path[PATH_MAX];

	return access(at(path, s, "bus/pci"), F_OK) == 0;
}

bool sysfs_has_groups(const struct vfio_sys *s)
{
	char path[PATH_MAX];
	DIR *d = opendir(at(path, s, "kernel/iommu_groups"));
	struct dirent *de;
	bool any = false;

	while (d && !any && (de = readdir(d)))
		any = isdigit((unsigned char)de->d_name[0]);
	if (d)
		closedir(d);
	return any;
}

/* Drivers that leave DMA of their device to its owner (driver_managed_dma in the kernel) */
static bool harmless(const char *driver)
{
	return !driver[0] || !strcmp(driver, "pcieport") || !strcmp(driver, "pci-stub");
}

unsigned int sysfs_group_others(const struct vfio_sys *s, unsigned int group, char *with,
				size_t with_size, char *names, size_t names_size)
{
	char path[PATH_MAX];
	struct dirent **list;
	unsigned int found = 0;
	int n = scandir(at(path, s, "kernel/iommu_groups/%u/devices", group), &list, NULL, alphasort);

	*with = *names = '\0';
	for (int i = 0; i < n; i++) {
		const char *name = list[i]->d_name;
		struct host_pci p;

		if (name[0] == '.') {
			/* the folder and its parent */
		} else if (sysfs_pci_read(s, name, &p) < 0) {
			append(with, with_size, "%s%.40s (no PCI function)", found++ ? ", " : "", name);
		} else if (!sysfs_is_vfio(&p) && !harmless(p.driver)) {
			append(with, with_size, "%s%s (driver %s)", found++ ? ", " : "", p.name,
			       p.driver);
			append(names, names_size, "%s%s", *names ? " " : "", p.name);
		}
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	return found;
}

void sysfs_bind_hint(const struct vfio_sys *s, const char *names, bool bound, char *out,
		     size_t size)
{
	char path[PATH_MAX];
	bool loaded = access(at(path, s, "bus/pci/drivers/vfio-pci"), F_OK) == 0;

	*out = '\0';
	append(out, size, "%sfor d in %s; do echo vfio-pci > %s/bus/pci/devices/$d/driver_override; ",
	       loaded ? "" : "modprobe vfio-pci; ", names, s->sysfs);
	if (bound)
		append(out, size, "echo $d > %s/bus/pci/devices/$d/driver/unbind; ", s->sysfs);
	append(out, size, "echo $d > %s/bus/pci/drivers_probe; done", s->sysfs);
}
