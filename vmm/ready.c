// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/ready.h"

#include <errno.h>
#include <pthread.h>
#include <regex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>	/* needs the one before */
#include <unistd.h>

#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/loop.h"
#include "vmm/core/usock.h"

/* #syscalls main: accept4 read getpeername eventfd2 */

#define LINE_MAX_LEN	1024	/* of a longer line the first bytes count */

/* A line, as it comes. */
struct line {
	char text[LINE_MAX_LEN + 1];
	size_t len;
};

struct ready {
	const struct vm_config *cfg;
	struct loop *loop;
	void (*fn)(void *ctx);
	void *ctx;
	_Atomic bool over;		/* nothing is looked at any more */
	struct loop_src wake;		/* eventfd: the line has come */

	pthread_mutex_t lock;		/* the console's line; several vCPUs may write */
	struct line console;
	regex_t regex;
	bool has_regex;

	struct usock sock;		/* the guest's port: a socket of the file system, or ... */
	char path[256];
	struct loop_src listen;		/* ... of vsock */
	struct loop_src client;		/* one at a time, -1: none */
	struct line said;
};

/* Return: true: the line is complete. */
static bool add_byte(struct line *l, char c)
{
	if (c == '\n')
		return true;
	if (l->len < LINE_MAX_LEN && c != '\r' && c != '\0')
		l->text[l->len++] = c;
	return false;
}

static const char *take_line(struct line *l)
{
	l->text[l->len] = '\0';
	l->len = 0;
	return l->text;
}

static void is_up(struct ready *r)
{
	if (!atomic_exchange(&r->over, true))
		r->fn(r->ctx);
}

/* ---- console --------------------------------------------------------------------------------- */

static bool line_counts(struct ready *r, const char *line)
{
	return r->has_regex ? regexec(&r->regex, line, 0, NULL, 0) == 0 : *line != '\0';
}

void ready_output(struct ready *r, const void *buf, size_t len)
{
	const char *p = buf;
	bool up = false;
	uint64_t one = 1;

	if (!r || r->wake.fd < 0 || atomic_load_explicit(&r->over, memory_order_relaxed))
		return;
	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < len && !up; i++)
		up = add_byte(&r->console, p[i]) && line_counts(r, take_line(&r->console));
	/* a prompt is a line without an end */
	if (!up && r->has_regex && r->console.len && r->console.len < LINE_MAX_LEN) {
		r->console.text[r->console.len] = '\0';
		up = line_counts(r, r->console.text);
	}
	if (up && write(r->wake.fd, &one, sizeof(one)) < 0)
		log_debug("ready: %s", strerror(errno));
	pthread_mutex_unlock(&r->lock);
}

static void on_wake(struct loop_src *src, uint32_t events)
{
	struct ready *r = container_of(src, struct ready, wake);
	uint64_t n;

	if (read(src->fd, &n, sizeof(n)) == sizeof(n))
		is_up(r);
}

static int open_console(struct ready *r, struct err *e)
{
	int ret;

	if (r->cfg->ready == READY_LINE) {
		ret = regcomp(&r->regex, r->cfg->ready_line, REG_EXTENDED | REG_NOSUB);
		if (ret)
			return err_set(e, -EINVAL, "option --ready: \"%.200s\" is not a regular expression",
				       r->cfg->ready_line);
		r->has_regex = true;
	}
	r->wake.fn = on_wake;
	r->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = r->wake.fd < 0 ? -errno : loop_add(r->loop, &r->wake, EPOLLIN);
	return ret < 0 ? err_set(e, ret, "option --ready: %s", strerror(-ret)) : 0;
}

/* ---- vsock ----------------------------------------------------------------------------------- */

static void drop_client(struct ready *r)
{
	if (r->client.fd < 0)
		return;
	loop_del(r->loop, &r->client);
	close(r->client.fd);
	r->client.fd = -1;
	r->said.len = 0;
	loop_mod(r->loop, &r->listen, EPOLLIN);
}

static void on_client(struct loop_src *src, uint32_t events)
{
	struct ready *r = container_of(src, struct ready, client);
	char buf[256];
	ssize_t n = read(src->fd, buf, sizeof(buf));
	bool up = false;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (ssize_t i = 0; i < n; i++)
		if (add_byte(&r->said, buf[i]))
			up |= !strcmp(take_line(&r->said), "READY=1");
	/* the last line may have no end */
	if (n <= 0)
		up |= !strcmp(take_line(&r->said), "READY=1");
	if (n <= 0 || up)
		drop_client(r);
	if (up)
		is_up(r);
}

/* Any program of the host can connect to a port of its kernel; only the guest counts. */
static bool is_guest(struct ready *r, int fd)
{
	struct sockaddr_vm who = { 0 };
	socklen_t len = sizeof(who);

	return r->cfg->vsock.path || (getpeername(fd, (struct sockaddr *)&who, &len) == 0 &&
				      who.svm_family == AF_VSOCK &&
				      who.svm_cid == r->cfg->vsock.cid);
}

static void on_connect(struct loop_src *src, uint32_t events)
{
	struct ready *r = container_of(src, struct ready, listen);
	int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (atomic_load(&r->over) || !is_guest(r, fd)) {
		close(fd);
		return;
	}
	r->client.fd = fd;
	if (loop_add(r->loop, &r->client, EPOLLIN) < 0) {
		close(fd);
		r->client.fd = -1;
		return;
	}
	loop_mod(r->loop, src, 0);
}

static int listen_vsock(struct ready *r, struct err *e)
{
	struct sockaddr_vm a = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = r->cfg->ready_port,
	};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int ret = 0;

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 8) < 0)
		ret = -errno;
	r->listen.fd = fd;
	return ret < 0 ? err_set(e, ret, "option --ready: vsock port %u of this host: %s; choose another "
				 "port, or give --vsock a path=", r->cfg->ready_port, strerror(-ret)) : 0;
}

static int open_vsock(struct ready *r, struct err *e)
{
	const char *path = r->cfg->vsock.path;
	int ret;

	if (!path) {
		ret = listen_vsock(r, e);
	} else {
		snprintf(r->path, sizeof(r->path), "%s_%u", path, r->cfg->ready_port);
		ret = usock_listen(&r->sock, "option --ready", r->path, e);
		r->listen.fd = r->sock.fd;
	}
	if (ret < 0)
		return ret;
	r->listen.fn = on_connect;
	r->client.fn = on_client;
	ret = loop_add(r->loop, &r->listen, EPOLLIN);
	return ret < 0 ? err_set(e, ret, "option --ready: %s", strerror(-ret)) : 0;
}

/* ---- both ------------------------------------------------------------------------------------ */

int ready_open(struct loop *loop, const struct vm_config *c, void (*fn)(void *ctx), void *ctx,
	       struct ready **out, struct err *e)
{
	struct ready *r = calloc(1, sizeof(*r));
	int ret = 0;

	*out = NULL;
	if (!r)
		return err_set(e, -ENOMEM, "out of memory");
	r->cfg = c;
	r->loop = loop;
	r->fn = fn;
	r->ctx = ctx;
	r->wake.fd = r->sock.fd = r->listen.fd = r->client.fd = -1;
	pthread_mutex_init(&r->lock, NULL);
	if (c->ready == READY_VSOCK)
		ret = open_vsock(r, e);
	else if (c->ready != READY_BOOT)
		ret = open_console(r, e);
	if (ret < 0)
		ready_close(r);
	else
		*out = r;
	return ret;
}

void ready_boot(struct ready *r)
{
	if (r && r->cfg->ready == READY_BOOT)
		is_up(r);
}

void ready_close(struct ready *r)
{
	if (!r)
		return;
	if (r->wake.fd >= 0) {
		loop_del(r->loop, &r->wake);
		close(r->wake.fd);
	}
	drop_client(r);
	if (r->listen.fd >= 0) {
		loop_del(r->loop, &r->listen);
		if (r->sock.fd >= 0)
			usock_close(&r->sock);
		else
			close(r->listen.fd);
	}
	if (r->has_regex)
		regfree(&r->regex);
	pthread_mutex_destroy(&r->lock);
	free(r);
}
