// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/usock.h"
#include "vmm/term.h"

/* #syscalls main,io: recvfrom sendto close */

#define IN_CHUNK 4096

/**
 * struct port - the host's end
 * @dev:     NULL between two boots
 * @pty:     made at the start, because there is no way to one from the sandbox
 * @term:    the pty's terminal
 * @sock:    listens; @listen is in the loop once @loop is set
 * @client:  its descriptor is -1 while nobody is connected
 * @events:  that it is watched for; 0: it is not in the loop, where a hang-up would go on and on
 * @paused:  the device has no room
 * @blocked: the client does not keep up
 */
struct port {
	const struct cfg_port *cfg;
	unsigned int n;
	struct loop *loop;
	struct virtio_dev *dev;
	struct term_pty pty;
	struct term *term;
	struct usock sock;
	struct loop_src listen, client;
	uint32_t events;
	bool paused, blocked;
	struct log_rate rate;
};

static void watch(struct port *p)
{
	uint32_t want = (p->paused ? 0 : EPOLLIN) | (p->blocked ? EPOLLOUT : 0);

	if (want == p->events)
		return;
	if (!want)
		loop_del(p->loop, &p->client);
	else if (!p->events)
		loop_add(p->loop, &p->client, want);
	else
		loop_mod(p->loop, &p->client, want);
	p->events = want;
}

/* The event of a client that waits comes once only: also called when the one before has left. */
static void next_client(struct port *p)
{
	int fd;

	if (p->client.fd >= 0)
		return;
	fd = usock_accept(p->sock.fd);
	if (fd < 0) {
		if (fd != -EAGAIN && fd != -ECONNABORTED)
			log_rated(&p->rate, LOG_WARNING, "console port %s: cannot take a client: %s",
				  p->cfg->name, strerror(-fd));
		return;
	}
	p->client.fd = fd;
	p->paused = p->blocked = false;
	watch(p);
	if (p->dev)
		virtio_console_port_open(p->dev, p->n, true);
}

static void client_left(struct port *p)
{
	if (p->events)
		loop_del(p->loop, &p->client);
	p->events = 0;
	close(p->client.fd);
	p->client.fd = -1;
	p->blocked = false;
	if (p->dev) {
		virtio_console_port_open(p->dev, p->n, false);
		virtio_console_port_writable(p->dev, p->n);	/* drops what is left for it */
	}
	next_client(p);
}

/* What the device does not take stays in the socket. */
static void client_read(struct port *p)
{
	uint8_t buf[IN_CHUNK];
	ssize_t n = recv(p->client.fd, buf, sizeof(buf), MSG_PEEK);
	size_t taken;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_left(p);
		return;
	}
	/*
	 * The device says that there is room again by a call on this thread, so that cannot be
	 * missed between these lines.
	 */
	taken = p->dev ? virtio_console_port_input(p->dev, p->n, buf, n) : 0;
	if (taken && recv(p->client.fd, buf, taken, 0) < 0)
		client_left(p);
	else if (taken < (size_t)n)
		p->paused = true;
	if (p->client.fd >= 0)
		watch(p);
}

static void client_event(struct loop_src *src, uint32_t events)
{
	struct port *p = container_of(src, struct port, client);

	if (p->blocked && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))) {
		p->blocked = false;
		if (p->dev)
			virtio_console_port_writable(p->dev, p->n);
		watch(p);
	}
	if (!p->paused && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		client_read(p);
}

static void listen_event(struct loop_src *src, uint32_t events)
{
	next_client(container_of(src, struct port, listen));
}

/* ---- for the device, which is locked ---- */

static size_t port_write(void *ctx, const void *buf, size_t len)
{
	struct port *p = ctx;
	ssize_t n;

	if (p->term)
		return term_write(p->term, buf, len);
	if (p->client.fd < 0)
		return len;	/* what was under way when the client left */
	n = send(p->client.fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EINTR) {
		p->blocked = true;
		watch(p);
		return 0;
	}
	/* It is gone, which the next read finds out. */
	p->paused = false;
	watch(p);
	return len;
}

static void port_readable(void *ctx)
{
	struct port *p = ctx;

	if (p->term)
		term_input_ready(p->term);
	p->paused = false;
	if (p->client.fd >= 0)
		watch(p);
}

static void port_gone(void *ctx)
{
	struct port *p = ctx;

	p->dev = NULL;
	p->paused = true;
	if (p->client.fd >= 0)
		watch(p);
}

struct virtio_console_io port_io(struct port *p)
{
	return (struct virtio_console_io){
		.write = port_write,
		.readable = port_readable,
		.gone = port_gone,
		.ctx = p,
	};
}

/* ---- the pty's side ---- */

static size_t pty_input(void *ctx, const void *buf, size_t len)
{
	struct port *p = ctx;

	return p->dev ? virtio_console_port_input(p->dev, p->n, buf, len) : 0;
}

static void pty_writable(void *ctx)
{
	struct port *p = ctx;

	if (p->dev)
		virtio_console_port_writable(p->dev, p->n);
}

static int make_pty(struct port *p, struct err *e)
{
	struct term_client c = {
		.input = pty_input,
		.writable = pty_writable,
		.ctx = p,
	};
	int ret = term_open_pty(p->loop, &c, &p->pty, &p->term, e);

	if (ret < 0)
		return err_prefix(e, "console port %s", p->cfg->name);
	log_info("console port %s: %s", p->cfg->name, term_name(p->term));
	return 0;
}

/* ---- life ---- */

int port_new(const struct cfg_port *cfg, unsigned int n, struct port **out, struct err *e)
{
	struct port *p = calloc(1, sizeof(*p));
	int ret = 0;

	*out = NULL;
	if (!p)
		return err_set(e, -ENOMEM, "no memory for console ports");
	p->cfg = cfg;
	p->n = n;
	p->sock.fd = p->pty.master = p->pty.slave = -1;
	p->client = (struct loop_src){ -1, client_event };
	if (cfg->path)
		ret = usock_listen(&p->sock, "option --console-port", cfg->path, e);
	else if (term_make_pty(&p->pty, e) < 0)
		ret = err_prefix(e, "console port %s", cfg->name);
	p->listen = (struct loop_src){ p->sock.fd, listen_event };
	if (ret < 0) {
		free(p);
		return ret;
	}
	*out = p;
	return 0;
}

int port_attach(struct port *p, struct loop *loop, struct virtio_dev *dev, struct err *e)
{
	bool first = !p->loop;
	int ret = 0;

	p->loop = loop;
	p->dev = dev;
	if (first && p->cfg->path)
		ret = loop_add(loop, &p->listen, EPOLLIN | EPOLLET);
	if (ret < 0)
		return err_set(e, ret, "console port %s: %s", p->cfg->name, strerror(-ret));
	if (first && !p->cfg->path)
		ret = make_pty(p, e);
	if (ret < 0)
		return ret;
	if (p->term || p->client.fd >= 0)
		virtio_console_port_open(dev, p->n, true);
	port_readable(p);	/* input and output may have waited for a device */
	return 0;
}

void port_free(struct port *p)
{
	if (!p)
		return;
	if (p->term) {
		term_flush(p->term, 1000);
		term_close(p->term);
	}
	term_drop_pty(&p->pty);
	if (p->client.fd >= 0)
		close(p->client.fd);
	usock_close(&p->sock);
	free(p);
}
