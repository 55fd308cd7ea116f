// SPDX-License-Identifier: BSD-3-Clause
/*
 * Connections of the socket device: a port of the guest on one side, a unix socket on the other.
 *
 * Their sockets are watched by edges: an edge only notes that there is something, reading and
 * writing go on until there is no more (or no credit, or no buffer of the guest). So nothing has to
 * be switched on and off, and a program that hangs up cannot keep the loop busy.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "virtio/vsock_int.h"
#include "vmm/core/err.h"
#include "vmm/core/parse.h"
#include "vmm/core/usock.h"

/*
 * #syscalls main,io?vsock: socket=AF_UNIX connect recvfrom sendto accept4
 * #syscalls main,io,vcpu?vsock: shutdown close
 */

#define SHUT_BOTH	(VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)
#define TICK_NS		UINT64_C(1000000000)

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * UINT64_C(1000) + ts.tv_nsec / 1000000;
}

static void tick(struct vsock *v)
{
	if (!v->timer_on)
		loop_timer_set(&v->timer, TICK_NS);
	v->timer_on = true;
}

static void be_patient(struct conn *c)
{
	c->until = now_ms() + VSOCK_PATIENCE_MS;
	tick(c->v);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static unsigned int hash(uint32_t guest_port, uint32_t host_port)
{
	return (guest_port ^ host_port * 31) % VSOCK_HASH;
}

struct conn *conn_find(struct vsock *v, uint32_t guest_port, uint32_t host_port)
{
	struct conn *c;

	LIST_FOREACH(c, &v->hash[hash(guest_port, host_port)], hash)
		if (c->guest_port == guest_port && c->host_port == host_port)
			return c;
	return NULL;
}

static void name(struct conn *c, uint32_t guest_port, uint32_t host_port)
{
	c->guest_port = guest_port;
	c->host_port = host_port;
	LIST_INSERT_HEAD(&c->v->hash[hash(guest_port, host_port)], c, hash);
	c->in_hash = true;
}

bool conn_wants_read(const struct conn *c)
{
	return c->state == CONN_OPEN && c->readable && c->src.fd >= 0 &&
	       !(c->host_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) &&
	       !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV);
}

void conn_update(struct conn *c)
{
	bool ready = c->due || (conn_wants_read(c) && conn_credit(c));

	if (ready && !c->in_ready)
		TAILQ_INSERT_TAIL(&c->v->ready, c, ready);
	else if (!ready && c->in_ready)
		TAILQ_REMOVE(&c->v->ready, c, ready);
	c->in_ready = ready;
}

void conn_due(struct conn *c, unsigned int due)
{
	c->due |= due;
	conn_update(c);
}

static void close_host(struct conn *c)
{
	if (c->src.fd < 0)
		return;
	loop_del(c->v->loop, &c->src);
	close(c->src.fd);
	c->src.fd = -1;
	c->used = 0;
}

void conn_free(struct conn *c)
{
	struct vsock *v = c->v;

	close_host(c);
	if (c->in_ready)
		TAILQ_REMOVE(&v->ready, c, ready);
	if (c->in_hash)
		LIST_REMOVE(c, hash);
	TAILQ_REMOVE(&v->all, c, all);
	v->nr--;
	free(c->buf);
	free(c);
}

void conn_free_all(struct vsock *v)
{
	while (!TAILQ_EMPTY(&v->all))
		conn_free(TAILQ_FIRST(&v->all));
	v->nr_strays = 0;
	v->cut = false;
}

void conn_abort(struct conn *c)
{
	if (c->state == CONN_HELLO) {	/* the guest knows nothing of it */
		conn_free(c);
		return;
	}
	close_host(c);
	c->state = CONN_DEAD;
	c->until = 0;
	/* Asked for and not told yet: nothing has to be taken back. */
	if (c->due & DUE_REQUEST) {
		conn_free(c);
		return;
	}
	c->due = DUE_RST;
	conn_update(c);
}

/* ---- to the host ----------------------------------------------------------------------------- */

/* The guest's idea of what it may send is what it was told last. */
static void count_forwarded(struct conn *c, uint32_t n)
{
	c->forwarded += n;
	if (c->forwarded != c->told && c->received - c->told > VSOCK_BUF / 2)
		c->due |= DUE_CREDIT;
}

/* Both directions are over at the guest, or at the host, and nothing is on its way. */
static void end_if_over(struct conn *c)
{
	if (c->state != CONN_OPEN || c->used)
		return;
	if (c->guest_shut == SHUT_BOTH) {
		conn_abort(c);	/* the reset is the answer that the guest waits for */
		return;
	}
	/* Once: each makes an event. */
	if (c->src.fd >= 0 && !c->told_end && c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) {
		c->told_end = true;
		shutdown(c->src.fd, SHUT_WR);
	}
	if (c->host_shut == SHUT_BOTH && c->src.fd >= 0) {
		close_host(c);
		be_patient(c);
	}
}

/* The host's end will not send (@flags), or receive, any more. */
static void host_shut(struct conn *c, unsigned int flags)
{
	if ((c->host_shut | flags) == c->host_shut)
		return;
	c->host_shut |= flags;
	c->due |= DUE_SHUTDOWN;
	if (c->host_shut & VIRTIO_VSOCK_SHUTDOWN_RCV && c->used) {
		count_forwarded(c, c->used);
		c->used = 0;
	}
	end_if_over(c);
}

/* Return: bytes taken; all of them if nobody is there any more. */
static uint32_t to_host(struct conn *c, const uint8_t *p, uint32_t len)
{
	uint32_t done = 0;

	if (c->src.fd < 0 || c->host_shut & VIRTIO_VSOCK_SHUTDOWN_RCV)
		return len;
	while (done < len) {
		ssize_t n = send(c->src.fd, p + done, len - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			host_shut(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
			return len;
		}
		done += n;
	}
	return done;
}

static bool keep(struct conn *c, const uint8_t *p, uint32_t len)
{
	uint32_t tail, first;

	if (!c->buf)
		c->buf = malloc(VSOCK_BUF);
	if (!c->buf)
		return false;
	tail = (c->head + c->used) % VSOCK_BUF;
	first = MIN(len, VSOCK_BUF - tail);
	memcpy(c->buf + tail, p, first);
	memcpy(c->buf, p + first, len - first);
	c->used += len;
	return true;
}

void conn_from_guest(struct conn *c, uint32_t len)
{
	uint32_t n = 0;

	c->received += len;
	if (!c->used)
		n = to_host(c, c->v->bounce, len);
	else if (c->host_shut & VIRTIO_VSOCK_SHUTDOWN_RCV)
		n = len;
	count_forwarded(c, n);
	if (n < len && !keep(c, c->v->bounce + n, len - n)) {
		log_rated(&c->v->dev.rate, LOG_ERROR, "%s: no memory; a connection is reset",
			  c->v->dev.name);
		conn_abort(c);
		return;
	}
	if (c->state == CONN_OPEN)
		conn_update(c);
}

static void flush(struct conn *c)
{
	while (c->used) {
		uint32_t n = MIN(c->used, VSOCK_BUF - c->head), sent;

		sent = to_host(c, c->buf + c->head, n);
		if (!c->used)
			return;		/* nobody is there any more, and that was dealt with */
		c->head = (c->head + sent) % VSOCK_BUF;
		c->used -= sent;
		count_forwarded(c, sent);
		if (sent < n)
			break;
	}
	end_if_over(c);
}

void conn_guest_shut(struct conn *c, unsigned int flags)
{
	unsigned int new = flags & ~c->guest_shut & SHUT_BOTH;

	c->guest_shut |= new;
	if (new & VIRTIO_VSOCK_SHUTDOWN_RCV && c->src.fd >= 0)
		shutdown(c->src.fd, SHUT_RD);
	end_if_over(c);
}

/* ---- to the guest ---------------------------------------------------------------------------- */

/* Whatever the guest says of its buffer, this is a number of bytes that it has asked for. */
uint32_t conn_credit(const struct conn *c)
{
	uint32_t under_way = c->sent - c->peer_fwd;

	return under_way < c->peer_alloc ? c->peer_alloc - under_way : 0;
}

uint32_t conn_to_guest(struct conn *c, uint32_t max)
{
	ssize_t n;

	if (!conn_wants_read(c))
		return 0;
	max = MIN(max, MIN(conn_credit(c), VSOCK_BUF));
	if (!max)
		return 0;
	do {
		n = recv(c->src.fd, c->v->bounce, max, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	c->readable = false;
	if (!n)
		host_shut(c, c->hup ? SHUT_BOTH : VIRTIO_VSOCK_SHUTDOWN_SEND);
	else if (errno == ECONNRESET)	/* it left with something unread, all it wrote is here */
		host_shut(c, SHUT_BOTH);
	else if (errno != EAGAIN)
		conn_abort(c);
	return 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void conn_event(struct loop_src *src, uint32_t events);

/* @fd belongs to it from now on. */
static struct conn *conn_new(struct vsock *v, int fd)
{
	struct conn *c = v->nr < VSOCK_CONNS ? calloc(1, sizeof(*c)) : NULL;

	if (!c) {
		close(fd);
		return NULL;
	}
	c->v = v;
	c->src = (struct loop_src){ fd, conn_event };
	TAILQ_INSERT_TAIL(&v->all, c, all);
	v->nr++;
	if (loop_add(v->loop, &c->src, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) < 0) {
		conn_free(c);
		return NULL;
	}
	return c;
}

struct conn *conn_by_guest(struct vsock *v, uint32_t guest_port, uint32_t host_port)
{
	char path[128];
	struct conn *c;
	int fd;

	if (v->nr >= VSOCK_CONNS) {
		log_rated(&v->dev.rate, LOG_WARNING, "%s: the guest wants more than %d connections",
			  v->dev.name, VSOCK_CONNS);
		return NULL;
	}
	snprintf(path, sizeof(path), "%s_%u", v->reach, host_port);
	fd = usock_connect(path);
	if (fd < 0) {
		log_rated(&v->dev.rate, LOG_INFO, "%s: the guest connects to port %u, but %s_%u: %s",
			  v->dev.name, host_port, v->path, host_port, strerror(-fd));
		return NULL;
	}
	c = conn_new(v, fd);
	if (!c)
		return NULL;
	name(c, guest_port, host_port);
	c->state = CONN_OPEN;
	c->readable = true;
	return c;
}

void conn_opened(struct conn *c)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "OK %u\n", c->host_port);

	c->state = CONN_OPEN;
	c->until = 0;
	c->readable = true;
	/* The first bytes into an empty socket: they fit, or nobody is there. */
	if (send(c->src.fd, text, n, MSG_DONTWAIT | MSG_NOSIGNAL) != n)
		conn_abort(c);
	else
		conn_update(c);
}

static uint32_t free_port(struct vsock *v, uint32_t guest_port)
{
	do {
		if (v->next_port++ == UINT32_MAX - 1)
			v->next_port = VSOCK_FIRST_PORT;
	} while (conn_find(v, guest_port, v->next_port));
	return v->next_port;
}

/* "CONNECT PORT\n". Returns the port's number; -EAGAIN: not all of it is there; -EINVAL. */
static int64_t read_hello(struct conn *c)
{
	static const char word[] = "CONNECT ";
	char text[VSOCK_HELLO_MAX + 1];
	ssize_t n = recv(c->src.fd, text, VSOCK_HELLO_MAX, MSG_PEEK | MSG_DONTWAIT);
	uint64_t port;
	char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	end = n > 0 ? memchr(text, '\n', n) : NULL;
	if (!end)
		return n > 0 && n < VSOCK_HELLO_MAX && !c->hup ? -EAGAIN : -EINVAL;
	if (recv(c->src.fd, text, end - text + 1, 0) != end - text + 1)
		return -EINVAL;
	*end = '\0';
	if (strncmp(text, word, strlen(word)) || parse_u64(text + strlen(word), &port) < 0 ||
	    port > UINT32_MAX)
		return -EINVAL;
	return port;
}

static void hello(struct conn *c)
{
	int64_t port = read_hello(c);

	if (port == -EAGAIN)
		return;
	if (port < 0) {
		log_rated(&c->v->dev.rate, LOG_WARNING, "%s: a program connected to %s without "
			  "\"CONNECT PORT\"", c->v->dev.name, c->v->path);
		conn_free(c);
		return;
	}
	name(c, port, free_port(c->v, port));
	c->state = CONN_ASKED;
	be_patient(c);
	conn_due(c, DUE_REQUEST);
}

void conn_accept(struct vsock *v)
{
	v->accept_again = false;
	for (;;) {
		struct conn *c;
		int fd;

		if (v->nr >= VSOCK_CONNS)
			break;
		fd = usock_accept(v->listen.fd);
		if (fd == -EAGAIN)
			return;
		if (fd == -ECONNABORTED || fd == -EINTR)
			continue;
		if (fd < 0) {
			log_rated(&v->dev.rate, LOG_WARNING, "%s: cannot take a connection: %s",
				  v->dev.name, strerror(-fd));
			break;
		}
		if (!v->dev.running) {	/* no driver: nobody will answer */
			close(fd);
			continue;
		}
		c = conn_new(v, fd);
		if (!c)
			continue;
		be_patient(c);
		hello(c);
	}
	/* Those that wait make no event any more: look again later. */
	v->accept_again = true;
	tick(v);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void conn_event(struct loop_src *src, uint32_t events)
{
	struct conn *c = container_of(src, struct conn, src);
	struct vsock *v = c->v;

	virtio_dev_lock(&v->dev);
	if (v->cut) {
		conn_free_all(v);
		goto out;
	}
	if (events & (EPOLLHUP | EPOLLERR))
		c->hup = true;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->readable = true;
	if (c->state == CONN_HELLO) {
		hello(c);
	} else if (c->state == CONN_ASKED) {
		if (c->hup)
			conn_abort(c);
	} else if (c->state == CONN_OPEN) {
		/* Nothing is read any more that would tell. */
		if (c->hup && (c->host_shut & VIRTIO_VSOCK_SHUTDOWN_SEND ||
			       c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV))
			host_shut(c, SHUT_BOTH);
		if (c->state == CONN_OPEN)
			flush(c);
		if (c->state == CONN_OPEN)
			conn_update(c);
	}
	vsock_pump(v);
out:
	virtio_dev_unlock(&v->dev);
}

void conn_timer(struct vsock *v)
{
	uint64_t now = now_ms();
	struct conn *c, *next;
	bool more = false;

	v->timer_on = false;
	for (c = TAILQ_FIRST(&v->all); c; c = next) {
		next = TAILQ_NEXT(c, all);
		if (c->until && c->until <= now)
			conn_abort(c);
		else if (c->until)
			more = true;
	}
	if (more)
		tick(v);
	if (v->accept_again)
		conn_accept(v);
}
