// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/path.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/core/parse.h"

/*
 * #syscalls main,vcpu,aux: fcntl=F_DUPFD_CLOEXEC|F_GETFD|F_GETFL pread64 read memfd_create
 * #syscalls main,vcpu,aux: ftruncate
 */

#define KEPT_MAX	24	/* ROMs of assigned devices are the most */
#define PIPE_MAX	SZ_1M

static struct {
	pthread_mutex_t lock;		/* the measurement is asked for on a vCPU's thread */
	unsigned int nr;
	struct {
		char *path;
		int fd;			/* negative: an errno, or with @get not asked for yet */
		int (*get)(void *ctx);
		void *ctx;
	} file[KEPT_MAX];
} kept = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- descriptors that were passed on --------------------------------------------------------- */

bool path_is_fd(const char *path)
{
	return !strncmp(path, "fd:", 3);
}

static int number(const char *path)
{
	uint64_t n;

	/* 0 to 2 are the terminal's */
	return parse_u64(path + 3, &n) < 0 || n < 3 || n > INT32_MAX ? -1 : (int)n;
}

static bool allows(int status, int flags)
{
	int want = flags & O_ACCMODE, has = status & O_ACCMODE;

	if (status & O_PATH)
		return flags & O_PATH;
	return (flags & O_PATH) || has == O_RDWR || has == want;
}

/*
 * Everything that this program opens itself has O_CLOEXEC, and what came through execve(2) does
 * not: so it is known what was passed on and is nobody's yet.
 */
static int take(const char *path, int flags)
{
	int fd = number(path), cloexec = fd < 0 ? -1 : fcntl(fd, F_GETFD);
	int status = cloexec < 0 ? -1 : fcntl(fd, F_GETFL);
	struct stat st;

	if (status < 0) {
		errno = EBADF;
		return -1;
	}
	if (cloexec & FD_CLOEXEC) {
		errno = EBUSY;
		return -1;
	}
	if (!allows(status, flags)) {
		errno = EACCES;
		return -1;
	}
	if ((flags & O_DIRECTORY) && (fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode))) {
		errno = ENOTDIR;
		return -1;
	}
	/* only what can be changed afterwards, and what open(2) would have done */
	if ((flags & O_DIRECT) && fcntl(fd, F_SETFL, (status & ~O_ACCMODE) | O_DIRECT) < 0)
		return -1;
	if ((flags & O_TRUNC) && !fstat(fd, &st) && S_ISREG(st.st_mode) && ftruncate(fd, 0) < 0)
		return -1;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -1;
	return fd;
}

/* ---- files that are kept --------------------------------------------------------------------- */

/* Return: the number of the entry, or -1 */
static int find(const char *path)
{
	for (unsigned int i = 0; i < kept.nr; i++)
		if (!strcmp(kept.file[i].path, path))
			return i;
	return -1;
}

/* Return: false: it is none of them; *fd as path_open() returns it */
static bool from_kept(const char *path, int flags, int *fd)
{
	int i, from;

	pthread_mutex_lock(&kept.lock);
	i = find(path);
	if (i >= 0 && kept.file[i].fd < 0 && kept.file[i].get)
		kept.file[i].fd = kept.file[i].get(kept.file[i].ctx);
	if (i >= 0 && kept.file[i].fd < 0)
		errno = -kept.file[i].fd;
	from = i < 0 ? -1 : kept.file[i].fd;
	pthread_mutex_unlock(&kept.lock);
	if (i < 0)
		return false;
	if (from < 0)
		*fd = -1;
	else if ((flags & O_TMPFILE) == O_TMPFILE)
		*fd = openat(from, ".", flags | O_CLOEXEC, 0600);
	else
		*fd = fcntl(from, F_DUPFD_CLOEXEC, 3);
	/* a device or a pipe stays as it is */
	if (*fd >= 0 && (flags & O_TRUNC) && ftruncate(*fd, 0) < 0)
		errno = 0;
	return true;
}

/* A pipe can be read once only, so it becomes a file. */
static int from_pipe(int fd)
{
	int mem = memfd_create("kept", MFD_CLOEXEC), error;
	size_t total = 0;
	char buf[4096];
	ssize_t n;

	if (mem < 0)
		return -errno;
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		total += n;
		if (total > PIPE_MAX || write(mem, buf, n) != n) {
			close(mem);
			return total > PIPE_MAX ? -EFBIG : -ENOSPC;
		}
	}
	if (!n)
		return mem;
	error = errno;
	close(mem);
	return -error;
}

static int keep(const char *path, int fd, int (*get)(void *ctx), void *ctx)
{
	char *copy = strdup(path);
	int ret = 0;

	pthread_mutex_lock(&kept.lock);
	if (!copy || kept.nr == KEPT_MAX)
		ret = copy ? -ENFILE : -ENOMEM;
	else
		kept.file[kept.nr++] = (typeof(kept.file[0])){ copy, fd, get, ctx };
	pthread_mutex_unlock(&kept.lock);
	if (ret < 0)
		free(copy);
	return ret;
}

int path_keep(const char *path, int flags, mode_t mode)
{
	struct stat st;
	int fd, ret;

	if (find(path) >= 0)
		return 0;
	fd = path_open(path, flags, mode);
	if (fd < 0) {
		ret = -errno;
		keep(path, ret, NULL, NULL);	/* why not, for who wants it later */
		return ret;
	}
	if ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_PATH) && !fstat(fd, &st) &&
	    (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))) {
		fcntl(fd, F_SETFL, 0);		/* to wait for its writer */
		ret = from_pipe(fd);
		close(fd);
		if (ret < 0)
			return ret;
		fd = ret;
	}
	ret = keep(path, fd, NULL, NULL);
	if (ret < 0)
		close(fd);
	return ret;
}

int path_keep_lazily(const char *path, int (*get)(void *ctx), void *ctx)
{
	return find(path) >= 0 ? 0 : keep(path, -1, get, ctx);
}

void path_forget(void)
{
	pthread_mutex_lock(&kept.lock);
	while (kept.nr > 0) {
		kept.nr--;
		if (kept.file[kept.nr].fd >= 0)
			close(kept.file[kept.nr].fd);
		free(kept.file[kept.nr].path);
	}
	pthread_mutex_unlock(&kept.lock);
}

/* ---- both ------------------------------------------------------------------------------------ */

int path_open(const char *path, int flags, mode_t mode)
{
	int fd;

	if (from_kept(path, flags, &fd))
		return fd;
	if (path_is_fd(path))
		return take(path, flags);
	return open(path, flags | O_CLOEXEC, mode);
}

int path_stat(const char *path, struct stat *st)
{
	int fd, ret;

	if (from_kept(path, 0, &fd)) {
		ret = fd < 0 ? -1 : fstat(fd, st);
		if (fd >= 0)
			close(fd);
		return ret;
	}
	return path_is_fd(path) ? fstat(number(path), st) : stat(path, st);
}

int path_kept(const char *path)
{
	int i = find(path);

	return i < 0 ? -1 : kept.file[i].fd;
}

ssize_t path_read(int fd, void *buf, size_t len, off_t off)
{
	ssize_t n = pread(fd, buf, len, off);

	return n < 0 && errno == ESPIPE ? read(fd, buf, len) : n;
}
