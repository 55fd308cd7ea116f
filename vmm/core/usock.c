// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/usock.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/core/err.h"

/* #syscalls main: accept4 unlink unlinkat lstat newfstatat */

#define BACKLOG 64

/* Those of this process that listen, as copies: whoever has one may be killed with it. */
static struct name {
	struct name *next;
	struct usock s;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
} *names;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static int address(const char *path, struct sockaddr_un *a)
{
	size_t len = strlen(path);

	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (len >= sizeof(a->sun_path))
		return -ENAMETOOLONG;
	memcpy(a->sun_path, path, len);
	return 0;
}

int usock_connect(const char *path)
{
	struct sockaddr_un a;
	int fd, ret = address(path, &a);

	if (ret < 0)
		return ret;
	fd = new_socket();
	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

int usock_accept(int fd)
{
	int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	return client < 0 ? -errno : client;
}

/* A socket that a program left behind, which does not run any more. */
static int remove_stale(const char *path)
{
	struct stat st;
	int fd;

	/* whoever was killed has an attendant, which removes it, too */
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = usock_connect(path);
	if (fd >= 0)
		close(fd);
	if (fd != -ECONNREFUSED && fd != -ENOENT)
		return -EBUSY;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

static void remove_name(const struct usock *s)
{
	struct stat st;

	if (lstat(s->path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino &&
	    st.st_mtim.tv_sec == s->made.tv_sec && st.st_mtim.tv_nsec == s->made.tv_nsec)
		unlink(s->path);
}

void usock_remove_all(void)
{
	pthread_mutex_lock(&lock);
	for (const struct name *n = names; n; n = n->next)
		remove_name(&n->s);
	pthread_mutex_unlock(&lock);
}

/* Without memory for it the name is left behind if this process is killed, that is all. */
static void remember(const struct usock *s)
{
	struct name *n = calloc(1, sizeof(*n));

	if (!n)
		return;
	strcpy(n->path, s->path);
	n->s = *s;
	n->s.path = n->path;
	pthread_mutex_lock(&lock);
	n->next = names;
	names = n;
	pthread_mutex_unlock(&lock);
}

static void forget(const struct usock *s)
{
	pthread_mutex_lock(&lock);
	for (struct name **p = &names, *n; (n = *p); p = &n->next) {
		if (n->s.dev != s->dev || n->s.ino != s->ino || strcmp(n->path, s->path))
			continue;
		*p = n->next;
		free(n);
		break;
	}
	pthread_mutex_unlock(&lock);
}

int usock_listen(struct usock *s, const char *what, const char *path, struct err *e)
{
	struct sockaddr_un a;
	struct stat st;
	int ret = address(path, &a);

	s->fd = -1;
	s->path = path;
	if (ret < 0)
		return err_set(e, ret, "%s: the path of the socket is longer than %zu bytes: %s", what,
			       sizeof(a.sun_path) - 1, path);
	s->fd = new_socket();
	if (s->fd < 0)
		return err_set(e, s->fd, "%s: socket: %s", what, strerror(-s->fd));
	if (bind(s->fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		ret = errno == EADDRINUSE ? remove_stale(path) : -errno;
		if (!ret && bind(s->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
			ret = -errno;
		if (ret == -EBUSY)
			err_set(e, ret, "%s: another program listens on %s; stop it, or name another "
				"path", what, path);
		else if (ret < 0)
			err_set(e, ret, "%s: cannot make the socket %s: %s; name a path in a folder that "
				"can be written", what, path, strerror(-ret));
		if (ret < 0)
			goto fail;
	}
	/* Nobody can connect before listen(). */
	if (chmod(path, 0600) < 0 || listen(s->fd, BACKLOG) < 0 || lstat(path, &st) < 0) {
		ret = err_set(e, -errno, "%s: socket %s: %s", what, path, strerror(errno));
		unlink(path);
		goto fail;
	}
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	s->made = st.st_mtim;
	remember(s);
	return 0;

fail:
	close(s->fd);
	s->fd = -1;
	return ret;
}

void usock_close(struct usock *s)
{
	if (s->fd < 0)
		return;
	forget(s);
	remove_name(s);
	close(s->fd);
	s->fd = -1;
}
