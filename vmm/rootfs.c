// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/rootfs.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/core/err.h"

static const struct {
	const char *name;
	mode_t mode;
} dirs[] = {
	{ "dev", 0755 },	{ "etc", 0755 },	{ "home", 0755 }, { "host", 0755 },
	{ "proc", 0755 },	{ "root", 0700 },	{ "run", 0755 },  { "sys", 0755 },
	{ "tmp", 01777 },	{ "var", 0755 },	{ "var/lib", 0755 },
	{ "var/tmp", 01777 },	{ "virt", 0755 },	{ "virt/home", 0755 },
};

/* What the guest takes from the host, through the share that init mounts read-only. */
static const char *const from_host[] = { "bin", "lib", "lib64", "sbin", "usr" };
static const char *const etc_from_host[] = { "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
					     "alternatives", "ssl" };

static const struct {
	const char *name, *text;
} files[] = {
	{ "etc/passwd", "root:x:0:0:root:/virt/home:/bin/sh\n" },
	{ "etc/group", "root:x:0:\n" },
	{ "etc/hosts", "127.0.0.1 localhost\n" },
};

/* ---- from the options ---- */

char *rootfs_path(const char *name)
{
	const char *home = getenv("HOME");
	char *path;

	if (!home || !strcmp(home, "/"))
		home = "";
	return asprintf(&path, "%s/.lkvm/%s", home, name) < 0 ? NULL : path;
}

static bool is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Takes over @dir, which may be NULL for want of memory. */
static int add_share(struct vm_config *c, char *dir, const char *tag, bool readonly, struct err *e)
{
	struct cfg_share *s;

	for (unsigned int i = 0; i < c->nr_shares; i++) {
		if (strcmp(c->share[i].tag, tag))
			continue;
		free(dir);
		if (!strcmp(tag, ROOTFS_HOST_TAG))
			return 0;	/* the user has another idea of it */
		return err_set(e, -EINVAL, "option --9p: the tag %s is the root file system's: choose "
			       "another, or add --nodefaults", tag);
	}
	if (c->nr_shares == CFG_MAX_SHARES) {
		free(dir);
		return err_set(e, -E2BIG, "no room for the share %s beside %u others: leave one out",
			       tag, CFG_MAX_SHARES);
	}
	s = &c->share[c->nr_shares];
	*s = (struct cfg_share){ .kind = SHARE_9P, .dir = dir, .tag = strdup(tag),
				 .readonly = readonly };
	if (!s->dir || !s->tag) {
		free(s->dir);
		free(s->tag);
		return err_set(e, -ENOMEM, "out of memory");
	}
	c->nr_shares++;
	return 0;
}

static void take_disk_out(struct vm_config *c, unsigned int i)
{
	free(c->disk[i].path);
	free(c->disk[i].serial);
	free(c->disk[i].socket);
	memmove(&c->disk[i], &c->disk[i + 1], (c->nr_disks - i - 1) * sizeof(c->disk[0]));
	memset(&c->disk[--c->nr_disks], 0, sizeof(c->disk[0]));
}

int rootfs_config(struct vm_config *c, struct err *e)
{
	char *dir = NULL;
	int ret;

	if (!c->lkvm)
		return 0;
	for (unsigned int i = 0; i < c->nr_disks; ) {
		const char *path = c->disk[i].path;
		enum cfg_rootfs kind = ROOTFS_DIR;
		char *found = NULL;

		if (path && is_dir(path)) {
			found = strdup(path);
		} else if (path && !strchr(path, '/') && access(path, F_OK) < 0) {
			found = rootfs_path(path);
			kind = ROOTFS_NAMED;
			if (found && !is_dir(found)) {
				free(found);
				found = NULL;
			}
		}
		if (!found) {
			i++;
			continue;
		}
		if (dir) {
			free(found);
			free(dir);
			return err_set(e, -EINVAL, "option --disk: %s is a second root file system: "
				       "share other folders with --9p DIR,TAG", path);
		}
		dir = found;
		c->rootfs = kind;
		take_disk_out(c, i);
	}
	if (!dir && !c->nr_disks && !c->initrd && !c->firmware && !c->nodefaults) {
		dir = rootfs_path(ROOTFS_NAME);
		c->rootfs = ROOTFS_DEFAULT;
		if (!dir)
			return err_set(e, -ENOMEM, "out of memory");
	}
	if (!dir)
		return 0;
	ret = add_share(c, dir, ROOTFS_TAG, false, e);
	if (!ret && c->rootfs != ROOTFS_DIR)
		ret = add_share(c, strdup("/"), ROOTFS_HOST_TAG, true, e);
	return ret;
}

void rootfs_name(struct vm_config *c)
{
	static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
	const char *name = NULL;
	char own[32], *copy;

	for (unsigned int i = 0; i < c->nr_shares && c->rootfs == ROOTFS_NAMED; i++)
		if (!strcmp(c->share[i].tag, ROOTFS_TAG))
			name = strrchr(c->share[i].dir, '/');
	snprintf(own, sizeof(own), "guest-%d", (int)getpid());
	if (!name || !c->name || strcmp(c->name, own) || strlen(++name) > 64 ||
	    strspn(name, ok) != strlen(name))
		return;
	copy = strdup(name);
	if (!copy)
		return;
	free(c->name);
	c->name = copy;
}

/* ---- making one ---- */

static int write_all(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		p += n > 0 ? n : 0;
		len -= n > 0 ? n : 0;
	}
	return 0;
}

static int put_file(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int ret;

	if (fd < 0)
		return -errno;
	ret = write_all(fd, text, strlen(text));
	close(fd);
	return ret;
}

/* Can this program run before there is any library: static, and for arm64? */
static bool fit_for_init(int fd)
{
	Elf64_Ehdr eh;
	Elf64_Phdr ph;

	if (pread(fd, &eh, sizeof(eh), 0) != (ssize_t)sizeof(eh) ||
	    memcmp(eh.e_ident, ELFMAG, SELFMAG) || eh.e_machine != EM_AARCH64 ||
	    eh.e_phentsize != sizeof(ph))
		return false;
	for (unsigned int i = 0; i < eh.e_phnum; i++)
		if (pread(fd, &ph, sizeof(ph), eh.e_phoff + i * sizeof(ph)) <
		    (ssize_t)sizeof(ph) || ph.p_type == PT_INTERP)
			return false;
	return true;
}

int rootfs_put_init(int dir, const char *name)
{
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to, ret = 0;
	char buf[65536];
	ssize_t n;

	if (from < 0)
		return -errno;
	if (!fit_for_init(from)) {
		close(from);
		return 1;
	}
	to = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (to < 0) {
		ret = -errno;
		close(from);
		return ret;
	}
	while (!ret && (n = read(from, buf, sizeof(buf))) != 0)
		ret = n < 0 ? -errno : write_all(to, buf, n);
	if (!ret && fchmod(to, 0755) < 0)
		ret = -errno;
	close(to);
	close(from);
	return ret;
}

static int fill(int dir)
{
	char target[64], name[64];
	unsigned int i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(dirs); i++)
		if (mkdirat(dir, dirs[i].name, 0755) < 0 ||
		    fchmodat(dir, dirs[i].name, dirs[i].mode, 0) < 0)
			return -errno;
	for (i = 0; i < ARRAY_SIZE(from_host); i++) {
		snprintf(target, sizeof(target), "host/%s", from_host[i]);
		if (symlinkat(target, dir, from_host[i]) < 0)
			return -errno;
	}
	for (i = 0; i < ARRAY_SIZE(etc_from_host); i++) {
		snprintf(target, sizeof(target), "../host/etc/%s", etc_from_host[i]);
		snprintf(name, sizeof(name), "etc/%s", etc_from_host[i]);
		if (symlinkat(target, dir, name) < 0)
			return -errno;
	}
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		ret = put_file(dir, files[i].name, files[i].text);
		if (ret < 0)
			return ret;
	}
	/* the kernel's ip=dhcp leaves there what it was told */
	return symlinkat("/proc/net/pnp", dir, "etc/resolv.conf") < 0 ? -errno : 0;
}

/* What fill() and rootfs_put_init() have made, or a part of it. */
static void empty(int dir)
{
	char name[64];
	unsigned int i;

	unlinkat(dir, "virt/init", 0);
	unlinkat(dir, "etc/resolv.conf", 0);
	for (i = 0; i < ARRAY_SIZE(files); i++)
		unlinkat(dir, files[i].name, 0);
	for (i = 0; i < ARRAY_SIZE(etc_from_host); i++) {
		snprintf(name, sizeof(name), "etc/%s", etc_from_host[i]);
		unlinkat(dir, name, 0);
	}
	for (i = 0; i < ARRAY_SIZE(from_host); i++)
		unlinkat(dir, from_host[i], 0);
	for (i = ARRAY_SIZE(dirs); i > 0; i--)
		unlinkat(dir, dirs[i - 1].name, AT_REMOVEDIR);
}

int rootfs_create(const char *path, struct err *e)
{
	int dir = -1, ret, no_init;
	char *tmp, *slash;

	if (access(path, F_OK) == 0)
		return err_set(e, -EEXIST, "%s is there already: remove it first, or choose another "
			       "name", path);
	if (asprintf(&tmp, "%s", path) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	slash = strrchr(tmp, '/');
	*slash = '\0';
	if (mkdir(tmp, 0755) < 0 && errno != EEXIST) {
		ret = err_set(e, -errno, "making %s: %s", tmp, strerror(errno));
		free(tmp);
		return ret;
	}
	free(tmp);
	/* complete or not at all */
	if (asprintf(&tmp, "%s.XXXXXX", path) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	if (!mkdtemp(tmp)) {
		ret = err_set(e, -errno, "making %s: %s", tmp, strerror(errno));
		free(tmp);
		return ret;
	}
	dir = open(tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ret = dir < 0 || fchmod(dir, 0755) < 0 ? -errno : fill(dir);
	no_init = ret < 0 ? ret : rootfs_put_init(dir, "virt/init");
	ret = MIN(no_init, 0);
	if (!ret && rename(tmp, path) < 0)
		ret = errno == ENOTEMPTY ? -EEXIST : -errno;
	if (ret < 0) {
		err_set(e, ret, "making %s: %s", path, strerror(-ret));
		if (dir >= 0)
			empty(dir);
		rmdir(tmp);
	} else if (no_init) {
		log_warning("%s/virt/init is missing: this program is not a static one for arm64; put "
			    "one there that can be process 1", path);
	}
	if (dir >= 0)
		close(dir);
	free(tmp);
	return ret;
}
