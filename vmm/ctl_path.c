// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/ctl_path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/usock.h"

#define SUFFIX		".sock"
#define LOCK_TRIES	1000	/* two seconds */
#define LOCK_US		2000
#define BUSY_TRIES	300	/* three seconds */
#define BUSY_US		10000

static int dir_path(enum ctl_dir dir, char path[CTL_PATH_MAX])
{
	const char *base = getenv(dir == CTL_RUN ? "XDG_RUNTIME_DIR" : "HOME");
	int n;

	/* The basedir specification: a path that is not absolute is to be ignored. */
	if (!base || base[0] != '/')
		return -ENOENT;
	n = snprintf(path, CTL_PATH_MAX, "%s/%s", base, dir == CTL_RUN ? "realmtool" : ".lkvm");
	return n < CTL_PATH_MAX ? 0 : -ENAMETOOLONG;
}

enum ctl_dir ctl_home(bool lkvm)
{
	char path[CTL_PATH_MAX];

	return lkvm || dir_path(CTL_RUN, path) == -ENOENT ? CTL_LKVM : CTL_RUN;
}

bool ctl_name_ok(const char *name)
{
	if (!name[0] || name[0] == '.')
		return false;
	for (const char *p = name; *p; p++)
		if (*p == '/' || (unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
	return true;
}

int ctl_path(enum ctl_dir dir, const char *name, char path[CTL_PATH_MAX])
{
	int ret = dir_path(dir, path);
	size_t len;

	if (ret < 0)
		return ret;
	if (!ctl_name_ok(name))
		return -EINVAL;
	len = strlen(path);
	if (snprintf(path + len, CTL_PATH_MAX - len, "/%s" SUFFIX, name) >= (int)(CTL_PATH_MAX - len))
		return -ENAMETOOLONG;
	return 0;
}

int ctl_lock(enum ctl_dir dir, bool create, struct err *e)
{
	char path[CTL_PATH_MAX];
	struct stat st;
	int fd, ret = dir_path(dir, path);

	if (ret < 0)
		return err_set(e, ret, "%s", ret == -ENOENT ?
			       "neither XDG_RUNTIME_DIR nor HOME names a folder for it" :
			       "the path of its folder is too long");
	if (create && mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set(e, -errno, "cannot make the folder %s: %s", path, strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "folder %s: %s", path, strerror(errno));
	/* Whoever can write there could put a socket of his own in the place of ours. */
	if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 022)) {
		close(fd);
		return err_set(e, -EPERM, "the folder %s must belong to this user, and nobody else may "
			       "write into it", path);
	}
	/*
	 * It is held for a moment only. Some network file systems have no locks, and the race that
	 * these close is small: so it goes on without.
	 */
	for (unsigned int i = 0; i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			break;
		usleep(LOCK_US);
	}
	return fd;
}

void ctl_unlock(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* The folder is locked. Return: a descriptor, or a negative errno; -ENOENT: nobody is there. */
static int connect_or_clean(const char *path, bool locked)
{
	struct stat st;
	int fd = usock_connect(path);

	if (fd != -ECONNREFUSED)
		return fd;
	if (locked && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
	return -ENOENT;
}

static int by_name(const void *a, const void *b)
{
	const struct ctl_name *x = a, *y = b;
	int ret = strcmp(x->name, y->name);

	return ret ? ret : (int)x->dir - (int)y->dir;
}

static int add_name(struct ctl_name **list, unsigned int *nr, enum ctl_dir dir, const char *name)
{
	struct ctl_name *p = realloc(*list, (*nr + 1) * sizeof(*p));

	if (!p)
		return -ENOMEM;
	*list = p;
	p[*nr] = (struct ctl_name){ dir, strdup(name) };
	if (!p[*nr].name)
		return -ENOMEM;
	(*nr)++;
	return 0;
}

static int look(enum ctl_dir dir, struct ctl_name **list, unsigned int *nr, struct err *e)
{
	char folder[CTL_PATH_MAX], path[CTL_PATH_MAX];
	int lock, ret = 0;
	struct dirent *d;
	DIR *f;

	if (dir_path(dir, folder) < 0)
		return 0;
	f = opendir(folder);
	if (!f)
		return 0;	/* no guest ran */
	lock = ctl_lock(dir, false, e);
	while (!ret && (d = readdir(f))) {
		size_t len = strlen(d->d_name);
		int fd;

		if (len <= strlen(SUFFIX) || strcmp(d->d_name + len - strlen(SUFFIX), SUFFIX))
			continue;
		d->d_name[len - strlen(SUFFIX)] = '\0';
		if (ctl_path(dir, d->d_name, path) < 0)
			continue;
		fd = connect_or_clean(path, lock >= 0);
		if (fd >= 0)
			close(fd);
		if (fd >= 0 || fd == -EAGAIN)
			ret = add_name(list, nr, dir, d->d_name);
	}
	ctl_unlock(lock);
	closedir(f);
	return ret < 0 ? err_set(e, ret, "no memory for the names of guests") : 0;
}

int ctl_names(struct ctl_name **out, unsigned int *nr, struct err *e)
{
	int ret = 0;

	*out = NULL;
	*nr = 0;
	for (enum ctl_dir d = 0; d < CTL_NR_DIRS && !ret; d++)
		ret = look(d, out, nr, e);
	if (ret < 0) {
		ctl_names_free(*out, *nr);
		return ret;
	}
	if (*nr)
		qsort(*out, *nr, sizeof(**out), by_name);
	return 0;
}

void ctl_names_free(struct ctl_name *names, unsigned int nr)
{
	while (nr-- > 0)
		free(names[nr].name);
	free(names);
}

int ctl_find(const char *name, struct err *e)
{
	char path[CTL_PATH_MAX];
	struct err ignored;

	for (enum ctl_dir d = 0; d < CTL_NR_DIRS; d++) {
		int fd = -EAGAIN, lock;

		if (ctl_path(d, name, path) < 0)
			continue;
		/* it is there, and has not yet taken those that came before us */
		for (unsigned int i = 0; i < BUSY_TRIES; i++) {
			lock = ctl_lock(d, false, &ignored);
			fd = connect_or_clean(path, lock >= 0);
			ctl_unlock(lock);
			if (fd != -EAGAIN)
				break;
			usleep(BUSY_US);
		}
		if (fd >= 0)
			return fd;
		if (fd != -ENOENT)
			return err_set(e, fd, "guest %s: %s: %s", name, path, strerror(-fd));
	}
	return err_set(e, -ENOENT, "no guest of yours is named \"%.80s\"; the command list shows those "
		       "that run", name);
}
