// SPDX-License-Identifier: BSD-3-Clause
/*
 * The gdb server: sockets, output, and who runs when. The commands are in gdb_cmd.c.
 *
 * A client may connect at any time, one at a time. It is "attached" from its first packet on, which
 * stops the machine, so a mere connection (a port scan) changes nothing. When it detaches, its
 * breakpoints go and the machine runs. When it vanishes, its breakpoints go and the machine stays
 * as it is, stopped or running.
 *
 * Output that the peer does not take is kept, and no more input is looked at until it is gone: what
 * one client can make us store is bounded by the buffers in struct gdb.
 */
#include "vmm/gdb.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/loop.h"
#include "vmm/gdb_int.h"

/*
 * #syscalls main?gdb: accept4 read recvfrom sendto shutdown setsockopt eventfd2 unlink unlinkat
 * #syscalls main?gdb: lstat
 */

/* How often a client may ask for the same reply again before it is taken for broken. */
#define MAX_RESENDS 8

/* ---- output ---------------------------------------------------------------------------------- */

static void flush_out(struct gdb *g)
{
	while (g->out_pos < g->out_len && !g->drop) {
		ssize_t n = send(g->client.fd, g->out + g->out_pos, g->out_len - g->out_pos,
				 MSG_NOSIGNAL);

		if (n >= 0)
			g->out_pos += (size_t)n;
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			return;
		else if (errno != EINTR)
			g->drop = true;
	}
	g->out_pos = g->out_len = 0;
}

static void queue_out(struct gdb *g, const void *buf, size_t len)
{
	if (len > sizeof(g->out) - g->out_len) {
		memmove(g->out, g->out + g->out_pos, g->out_len - g->out_pos);
		g->out_len -= g->out_pos;
		g->out_pos = 0;
	}
	if (len > sizeof(g->out) - g->out_len) {
		g->drop = true;
		return;
	}
	memcpy(g->out + g->out_len, buf, len);
	g->out_len += len;
	flush_out(g);
}

void gdb_send_frame(struct gdb *g)
{
	gdb_tx_end(&g->tx);
	g->resends = 0;
	queue_out(g, g->tx.buf, g->tx.len);
}

/* Replies are short texts mostly; an error is a negative errno. */
void gdb_reply_text(struct gdb *g, const char *text)
{
	gdb_tx_begin(&g->tx);
	gdb_tx_printf(&g->tx, "%s", text);
	gdb_send_frame(g);
}

void gdb_reply_result(struct gdb *g, int ret)
{
	char text[8];

	if (!ret) {
		gdb_reply_text(g, "OK");
		return;
	}
	snprintf(text, sizeof(text), "E%02x", (unsigned int)-ret & 0xff);
	gdb_reply_text(g, text);
}

/* ---- stop and go ----------------------------------------------------------------------------- */

void gdb_stop_machine(struct gdb *g)
{
	g->t.ops->stop_all(g->t.ctx);
	g->running = false;
	gdb_target_settle(&g->t);
}

/* Carry out the actions in t.cpu[]. */
int gdb_resume_machine(struct gdb *g)
{
	bool all = true;
	int ret;

	ret = gdb_target_prepare(&g->t);
	if (ret < 0)
		return ret;
	/* The notes of this stop are void: whoever wrote one will meet its cause again. */
	pthread_mutex_lock(&g->lock);
	g->note_valid = false;
	pthread_mutex_unlock(&g->lock);

	g->running = true;
	for (unsigned int i = 0; i < g->t.nr_cpus; i++)
		all &= g->t.cpu[i].action != GDB_STAY;
	if (all)
		g->t.ops->resume(g->t.ctx, -1);
	for (unsigned int i = 0; !all && i < g->t.nr_cpus; i++)
		if (g->t.cpu[i].action != GDB_STAY)
			g->t.ops->resume(g->t.ctx, (int)i);
	return 0;
}

void gdb_set_actions(struct gdb *g, enum gdb_action a)
{
	for (unsigned int i = 0; i < g->t.nr_cpus; i++)
		g->t.cpu[i].action = a;
}

static void report_stop(struct gdb *g, const struct gdb_stop *s)
{
	g->stop = *s;
	g->g_cpu = (int)s->cpu;
	if (g->attached)
		gdb_reply_stop(g);
}

void gdb_free_run(struct gdb *g)
{
	int ret;

	gdb_target_clear(&g->t);
	gdb_set_actions(g, GDB_RUN);
	ret = gdb_resume_machine(g);
	if (ret < 0)
		log_error("gdb: cannot resume the machine: %s", strerror(-ret));
}

static void update_client(struct gdb *g);

static void wake_event(struct loop_src *src, uint32_t events)
{
	struct gdb *g = container_of(src, struct gdb, wake);
	struct gdb_debug_exit info;
	struct gdb_stop stop;
	unsigned int cpu;
	uint64_t n;
	bool valid;
	int ret;

	if (read(src->fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		log_error("gdb: eventfd: %s", strerror(errno));
	pthread_mutex_lock(&g->lock);
	valid = g->note_valid;
	cpu = g->note_cpu;
	info = g->note;
	pthread_mutex_unlock(&g->lock);
	if (!valid || !g->running)
		return;

	gdb_stop_machine(g);
	if (gdb_target_explain(&g->t, cpu, &info, &stop)) {
		report_stop(g, &stop);
		/* Nobody is there: a note from before the last detach. */
		if (!g->attached)
			gdb_free_run(g);
	} else {
		ret = gdb_resume_machine(g);
		if (ret < 0) {
			log_error("gdb: cannot resume the machine: %s", strerror(-ret));
			report_stop(g, &stop);
		}
	}
	update_client(g);
}

void gdb_on_debug(struct gdb *g, unsigned int cpu, const struct gdb_debug_exit *info)
{
	uint64_t one = 1;

	if (cpu >= g->t.nr_cpus)
		return;
	pthread_mutex_lock(&g->lock);
	if (!g->note_valid) {
		g->note_valid = true;
		g->note_cpu = cpu;
		g->note = *info;
	}
	pthread_mutex_unlock(&g->lock);
	if (write(g->wake.fd, &one, sizeof(one)) < 0)
		log_error("gdb: eventfd: %s", strerror(errno));
}

static void interrupt(struct gdb *g)
{
	struct gdb_stop stop = { .cpu = (unsigned int)g->g_cpu, .sig = GDB_SIGINT };

	if (!g->running || !g->attached)
		return;
	gdb_stop_machine(g);
	report_stop(g, &stop);
}

static void ack(struct gdb *g, char c)
{
	if (!g->no_ack)
		queue_out(g, &c, 1);
}

static void handle_byte(struct gdb *g, uint8_t c)
{
	switch (gdb_rx_byte(&g->rx, c)) {
	case GDB_RX_PACKET:
		ack(g, '+');
		gdb_handle_packet(g, g->rx.buf, g->rx.len);
		break;
	case GDB_RX_TOO_LONG:
		ack(g, '+');
		gdb_reply_result(g, -E2BIG);
		break;
	case GDB_RX_BAD_SUM:
		/* Without acknowledgments a packet is not sent again, so it needs an answer. */
		if (g->no_ack)
			gdb_reply_result(g, -EBADMSG);
		else
			ack(g, '-');
		break;
	case GDB_RX_INTERRUPT:
		interrupt(g);
		break;
	case GDB_RX_NAK:
		if (g->no_ack || !g->tx.len)
			break;
		if (++g->resends > MAX_RESENDS)
			g->drop = true;
		else
			queue_out(g, g->tx.buf, g->tx.len);
		break;
	case GDB_RX_GARBAGE:
		/*
		 * No gdb: a browser that was talked into posting to this port, for example,
		 * whose text could hold a well-formed packet further on.
		 */
		log_info("gdb: the client does not speak gdb's protocol, disconnected");
		g->drop = true;
		break;
	case GDB_RX_ACK:
	case GDB_RX_NONE:
		break;
	}
}

/* ---- the client ------------------------------------------------------------------------------ */

static void client_gone(struct gdb *g)
{
	bool attached = g->attached;

	loop_del(g->loop, &g->client);
	close(g->client.fd);
	g->client.fd = -1;
	g->attached = false;
	g->drop = false;
	if (!attached)
		return;
	if (g->running) {
		gdb_stop_machine(g);
		gdb_free_run(g);
	} else {
		gdb_target_clear(&g->t);
		log_info("gdb: the client left without detaching, the guest stays stopped; "
			 "connect again to go on");
	}
}

/* The end of each callback: disconnect, or wait for the right thing. */
static void update_client(struct gdb *g)
{
	uint32_t want = g->out_pos < g->out_len ? EPOLLOUT : EPOLLIN;

	if (g->client.fd < 0)
		return;
	if (!g->drop && want != g->client_events) {
		g->client_events = want;
		if (loop_mod(g->loop, &g->client, want) < 0)
			g->drop = true;
	}
	if (g->drop)
		client_gone(g);
}

static void client_event(struct loop_src *src, uint32_t events)
{
	struct gdb *g = container_of(src, struct gdb, client);
	ssize_t n;

	flush_out(g);
	if (!g->drop && !g->out_len && g->in_pos == g->in_len) {
		n = recv(src->fd, g->in, sizeof(g->in), 0);
		g->in_pos = g->in_len = 0;
		if (n > 0)
			g->in_len = (size_t)n;
		else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
			g->drop = true;
	}
	while (!g->drop && !g->out_len && g->in_pos < g->in_len)
		handle_byte(g, g->in[g->in_pos++]);
	update_client(g);
}

static void accept_event(struct loop_src *src, uint32_t events)
{
	struct gdb *g = container_of(src, struct gdb, listener);
	int one = 1, fd;

	fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;			/* gone again, or no descriptor left: the next round */
	if (g->client.fd >= 0) {
		log_info("gdb: a second client was refused");
		close(fd);
		return;
	}
	if (!g->path)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	g->client.fd = fd;
	g->client.fn = client_event;
	g->client_events = EPOLLIN;
	g->attached = g->drop = g->no_ack = false;
	g->told_swbreak = g->told_hwbreak = false;
	g->g_cpu = 0;
	g->c_cpu = -1;
	g->resends = 0;
	g->in_pos = g->in_len = g->out_pos = g->out_len = 0;
	g->tx.len = 0;
	memset(&g->rx, 0, sizeof(g->rx));
	if (loop_add(g->loop, &g->client, g->client_events) < 0) {
		close(fd);
		g->client.fd = -1;
	}
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static int listen_tcp(struct gdb *g, const char *spec, struct err *e)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof(sa);
	unsigned long port = 0;
	int one = 1, ret;

	for (const char *s = spec; *s; s++) {
		if (*s < '0' || *s > '9' || s - spec >= 5)
			port = 65536;
		else
			port = port * 10 + (unsigned long)(*s - '0');
		if (port > 65535)
			break;
	}
	if (!*spec || port > 65535)
		return err_set(e, -EINVAL, "--gdb %s: not a port (0 to 65535) and not unix:PATH",
			       spec);
	sa.sin_port = htons((uint16_t)port);
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);	/* never from outside: no authentication */
	g->listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (g->listener.fd < 0 ||
	    setsockopt(g->listener.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(g->listener.fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(g->listener.fd, 1) < 0 ||
	    getsockname(g->listener.fd, (struct sockaddr *)&sa, &len) < 0) {
		ret = -errno;
		if (ret == -EADDRINUSE)
			return err_set(e, ret, "--gdb %s: the port is in use by another program; "
				       "choose another one, or 0 for any free port", spec);
		return err_set(e, ret, "--gdb %s: %s", spec, strerror(-ret));
	}
	snprintf(g->where, sizeof(g->where), "127.0.0.1:%u", ntohs(sa.sin_port));
	return 0;
}

/* A socket file that nobody listens on is left over from a run that was killed. */
static bool is_stale_socket(const struct sockaddr_un *sa)
{
	struct stat st;
	bool stale;
	int fd;

	if (lstat(sa->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	stale = connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0 && errno == ECONNREFUSED;
	close(fd);
	return stale;
}

static int listen_unix(struct gdb *g, const char *path, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stat st;
	int ret;

	if (!*path || strlen(path) >= sizeof(sa.sun_path))
		return err_set(e, -EINVAL, "--gdb unix:%s: the path of a socket has 1 to %zu bytes",
			       path, sizeof(sa.sun_path) - 1);
	strcpy(sa.sun_path, path);
	g->listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The file takes its mode from the socket: nobody else can connect, from the beginning. */
	if (g->listener.fd < 0 || fchmod(g->listener.fd, 0600) < 0)
		goto fail;
	ret = bind(g->listener.fd, (struct sockaddr *)&sa, sizeof(sa));
	if (ret < 0 && errno == EADDRINUSE && is_stale_socket(&sa)) {
		unlink(path);
		ret = bind(g->listener.fd, (struct sockaddr *)&sa, sizeof(sa));
	}
	if (ret < 0)
		goto fail;
	g->path = strdup(path);
	if (!g->path || lstat(path, &st) < 0) {
		ret = g->path ? -errno : -ENOMEM;
		unlink(path);
		free(g->path);
		g->path = NULL;
		return err_set(e, ret, "--gdb unix:%s: %s", path, strerror(-ret));
	}
	g->dev = st.st_dev;
	g->ino = st.st_ino;
	if (listen(g->listener.fd, 1) < 0)
		goto fail;
	snprintf(g->where, sizeof(g->where), "%s", path);
	return 0;

fail:
	ret = -errno;
	if (ret == -EADDRINUSE)
		return err_set(e, ret, "--gdb unix:%s: the file exists and is in use; remove it or "
			       "choose another path", path);
	return err_set(e, ret, "--gdb unix:%s: %s", path, strerror(-ret));
}

void gdb_remove(const struct gdb *g)
{
	struct stat st;

	if (g->path && lstat(g->path, &st) == 0 && st.st_dev == g->dev && st.st_ino == g->ino)
		unlink(g->path);
}

static void unlisten(struct gdb *g)
{
	gdb_remove(g);
	free(g->path);
	if (g->listener.fd >= 0) {
		loop_del(g->loop, &g->listener);
		close(g->listener.fd);
	}
}

static void destroy(struct gdb *g)
{
	unlisten(g);
	if (g->wake.fd >= 0) {
		loop_del(g->loop, &g->wake);
		close(g->wake.fd);
	}
	gdb_target_free(&g->t);
	free(g->xml);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

int gdb_listen(struct loop *l, const char *spec, struct gdb **out, struct err *e)
{
	struct gdb *g;
	int ret;

	*out = NULL;
	g = calloc(1, sizeof(*g));
	if (!g)
		return err_set(e, -ENOMEM, "--gdb %s: out of memory", spec);
	g->loop = l;
	g->c_cpu = -1;
	g->client.fd = -1;
	g->listener = (struct loop_src){ -1, accept_event };
	pthread_mutex_init(&g->lock, NULL);
	g->wake = (struct loop_src){ eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), wake_event };
	if (g->wake.fd < 0)
		ret = -errno;
	else
		ret = loop_add(l, &g->wake, EPOLLIN);
	if (ret < 0) {
		err_set(e, ret, "--gdb %s: %s", spec, strerror(-ret));
		goto fail;
	}
	ret = strncmp(spec, "unix:", 5) ? listen_tcp(g, spec, e) : listen_unix(g, spec + 5, e);
	if (ret < 0)
		goto fail;
	*out = g;
	return 0;

fail:
	destroy(g);
	return ret;
}

int gdb_attach(struct gdb *g, const struct gdb_target_ops *ops, void *ctx, struct err *e)
{
	int ret = gdb_target_init(&g->t, ops, ctx);

	if (!ret)
		ret = gdb_make_xml(g);
	if (!ret)
		ret = loop_add(g->loop, &g->listener, EPOLLIN);
	if (ret < 0)
		return err_set(e, ret, "--gdb: %s", strerror(-ret));
	ops->stop_all(ctx);
	return 0;
}

int gdb_start(struct loop *l, const char *spec, const struct gdb_target_ops *ops, void *ctx,
	      struct gdb **out, struct err *e)
{
	int ret = gdb_listen(l, spec, out, e);

	if (!ret)
		ret = gdb_attach(*out, ops, ctx, e);
	if (ret < 0) {
		gdb_close(*out, 1);
		*out = NULL;
	}
	return ret;
}

const char *gdb_where(const struct gdb *g)
{
	return g->where;
}

void gdb_on_reset(struct gdb *g)
{
	bool was_running = g->running;
	int ret;

	g->t.ops->stop_all(g->t.ctx);
	g->running = false;
	gdb_target_reset(&g->t);
	/* A step over the instruction that reset the machine has no end: let all vCPUs run. */
	gdb_set_actions(g, was_running ? GDB_RUN : GDB_STAY);
	ret = was_running ? gdb_resume_machine(g) : gdb_target_prepare(&g->t);
	if (ret < 0) {
		log_warning("gdb: breakpoints are lost in the reset: %s", strerror(-ret));
		if (was_running)
			report_stop(g, &(struct gdb_stop){ .sig = GDB_SIGTRAP });
	}
	update_client(g);
}

void gdb_close(struct gdb *g, int exit_code)
{
	if (!g)
		return;
	if (g->client.fd >= 0) {
		/* Only a client that waits for the machine may be told of its end. */
		if (g->attached && g->running) {
			gdb_tx_begin(&g->tx);
			gdb_tx_printf(&g->tx, "W%02x", (unsigned int)exit_code & 0xff);
			gdb_send_frame(g);
		}
		loop_del(g->loop, &g->client);
		shutdown(g->client.fd, SHUT_WR);
		close(g->client.fd);
	}
	destroy(g);
}
