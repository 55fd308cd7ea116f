// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/usock.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/core/err.h"

#define BACKLOG 64

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

	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = usock_connect(path);
	if (fd >= 0)
		close(fd);
	if (fd != -ECONNREFUSED)
		return -EBUSY;
	return unlink(path) < 0 ? -errno : 0;
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
	return 0;

fail:
	close(s->fd);
	s->fd = -1;
	return ret;
}

void usock_close(struct usock *s)
{
	struct stat st;

	if (s->fd < 0)
		return;
	if (lstat(s->path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->path);
	close(s->fd);
	s->fd = -1;
}
