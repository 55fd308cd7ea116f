// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/control.h"

#include <errno.h>

#include "vmm/core/err.h"

#ifdef HAVE_JANSSON

#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/core/log.h"
#include "vmm/core/loop.h"
#include "vmm/core/usock.h"
#include "vmm/sandbox.h"
#include "vmm/ctl_path.h"

/* #syscalls main: poll ppoll read recvfrom sendto getsockopt accept4 geteuid eventfd2 */

#define NSEC_PER_MSEC	UINT64_C(1000000)
#define LINES_PER_TURN	16	/* of one client: others want the loop, too */
#define ACCEPTS_PER_TURN 16
#define PUMP_CHUNK	4096
#define PUMPS_PER_TURN	8
#define LAST_WORDS_MS	100
#define ID_MAX		64

enum mode {
	LINES,		/* requests and answers */
	WAITING,	/* for the end */
	CONSOLE,	/* a viewer */
};

/**
 * struct client - a connection
 * @in:     what was read and not dealt with: a part of a line, or a viewer's input
 * @out:    an answer that was not sent yet, [out_off, out_len) of it
 * @eof:    nothing more will come
 * @closing: to be dropped when @out is empty
 * @typist: a viewer that may type
 * @full:   the console took less than it was offered
 * @pos:    of a viewer in the output of the console; it leaves at @until
 * @since:  when its last request was answered, or a part of an answer sent
 */
struct client {
	struct loop_src src;
	struct control *ctl;
	struct client *next;
	enum mode mode;
	bool eof, closing, typist, full;
	size_t in_len, out_len, out_off;
	char *out;
	uint64_t pos, until, since;
	uint32_t events;
	char in[CONTROL_LINE];
};

struct control {
	struct loop *loop;
	const struct control_ops *ops;
	struct control_limits limits;
	char path[CTL_PATH_MAX];
	struct usock sock;
	struct loop_src accept_src, wake_src;
	struct loop_soon tick;
	bool deaf;			/* out of descriptors: not accepting for a while */
	struct client *clients;
	unsigned int nr_clients;
	struct log_rate rate;

	_Atomic unsigned int viewers;
	_Atomic bool output_told, input_told;
	pthread_mutex_t lock;		/* below */
	uint64_t total;			/* bytes of output so far */
	uint8_t log[CONTROL_LOG];
};

/* ---- clients --------------------------------------------------------------------------------- */

static void drop(struct client *c)
{
	struct control *ctl = c->ctl;

	for (struct client **p = &ctl->clients; *p; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	ctl->nr_clients--;
	if (c->mode == CONSOLE)
		atomic_fetch_sub(&ctl->viewers, 1);
	loop_del(ctl->loop, &c->src);
	close(c->src.fd);
	free(c->out);
	free(c);
}

static bool has_line(const struct client *c)
{
	return c->mode == LINES && !c->closing && memchr(c->in, '\n', c->in_len);
}

static uint64_t written(struct control *ctl)
{
	uint64_t total;

	pthread_mutex_lock(&ctl->lock);
	total = ctl->total;
	pthread_mutex_unlock(&ctl->lock);
	return total;
}

/* Ask the loop for what this client can need now. */
static void watch(struct client *c)
{
	uint32_t want = 0;

	if (!c->eof && !c->closing && c->in_len < sizeof(c->in) && !c->out &&
	    ((c->mode == LINES && !has_line(c)) || (c->mode == CONSOLE && c->typist && !c->full)))
		want |= EPOLLIN;
	/* A line that waits its turn: a socket with room for more tells at once. */
	if (c->out || has_line(c) || (c->mode == CONSOLE && c->pos < written(c->ctl)))
		want |= EPOLLOUT;
	if (want != c->events) {
		loop_mod(c->ctl->loop, &c->src, want);
		c->events = want;
	}
}

/* Return: false if the client is gone or must go. */
static bool flush(struct client *c)
{
	while (c->out) {
		ssize_t n = send(c->src.fd, c->out + c->out_off, c->out_len - c->out_off,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		c->since = loop_now();
		c->out_off += n;
		if (c->out_off == c->out_len) {
			free(c->out);
			c->out = NULL;
		}
	}
	return !c->closing;
}

/* Takes @text over. */
static void send_text(struct client *c, char *text, size_t len)
{
	c->out = text;
	c->out_off = 0;
	c->out_len = len;
}

/* ---- the console ----------------------------------------------------------------------------- */

/* Copy what a viewer has not seen. Return: bytes; *lost: so many before them are gone. */
static size_t log_read(struct control *ctl, struct client *c, uint8_t *buf, size_t len,
		       uint64_t *lost)
{
	size_t n, at, part;

	*lost = 0;
	pthread_mutex_lock(&ctl->lock);
	if (ctl->total - c->pos > CONTROL_LOG) {
		*lost = ctl->total - CONTROL_LOG - c->pos;
		c->pos += *lost;
	}
	n = MIN(len, (size_t)(ctl->total - c->pos));
	at = c->pos % CONTROL_LOG;
	part = MIN(n, CONTROL_LOG - at);
	memcpy(buf, ctl->log + at, part);
	memcpy(buf + part, ctl->log, n - part);
	pthread_mutex_unlock(&ctl->lock);
	return n;
}

static void tell_lost(struct client *c, uint64_t lost)
{
	char *text;
	int n = asprintf(&text, "\r\n[%" PRIu64 " bytes of output were too fast]\r\n", lost);

	if (n > 0)
		send_text(c, text, n);
}

/* Return: false if the client must go. */
static bool pump(struct client *c)
{
	uint8_t buf[PUMP_CHUNK];
	uint64_t lost;

	for (unsigned int i = 0; i < PUMPS_PER_TURN && !c->out; i++) {
		size_t len = log_read(c->ctl, c, buf, sizeof(buf), &lost);
		ssize_t n;

		if (lost) {
			tell_lost(c, lost);
			if (!flush(c))
				return false;
			continue;
		}
		if (!len)
			break;
		n = send(c->src.fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		c->pos += n;
	}
	/* who wants no more than the log has it */
	return c->out || c->pos < c->until;
}

static void type(struct client *c)
{
	struct control *ctl = c->ctl;
	size_t n = ctl->ops->input(ctl->ops->ctx, c->in, c->in_len);

	memmove(c->in, c->in + n, c->in_len - n);
	c->in_len -= n;
	c->full = c->in_len > 0;
}

void control_output(struct control *c, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	uint64_t one = 1;

	if (!c || !len)
		return;
	pthread_mutex_lock(&c->lock);
	if (len > CONTROL_LOG) {
		c->total += len - CONTROL_LOG;
		p += len - CONTROL_LOG;
		len = CONTROL_LOG;
	}
	while (len) {
		size_t at = c->total % CONTROL_LOG, part = MIN(len, CONTROL_LOG - at);

		memcpy(c->log + at, p, part);
		c->total += part;
		p += part;
		len -= part;
	}
	pthread_mutex_unlock(&c->lock);
	if (atomic_load(&c->viewers) && !atomic_exchange(&c->output_told, true) &&
	    write(c->wake_src.fd, &one, sizeof(one)) < 0)
		return;		/* the counter is full: awake already */
}

void control_input_ready(struct control *c)
{
	uint64_t one = 1;

	if (c && atomic_load(&c->viewers) && !atomic_exchange(&c->input_told, true) &&
	    write(c->wake_src.fd, &one, sizeof(one)) < 0)
		return;
}

static void on_wake(struct loop_src *src, uint32_t events)
{
	struct control *ctl = container_of(src, struct control, wake_src);
	struct client *c, *next;
	uint64_t n;

	(void)events;
	if (read(src->fd, &n, sizeof(n)) < 0)
		return;
	/* Before looking: what comes from now on wakes again. */
	atomic_store(&ctl->output_told, false);
	atomic_store(&ctl->input_told, false);
	for (c = ctl->clients; c; c = next) {
		next = c->next;
		if (c->mode != CONSOLE)
			continue;
		if (c->full)
			type(c);
		if (!pump(c))
			drop(c);
		else
			watch(c);
	}
}

/* ---- requests -------------------------------------------------------------------------------- */

/* Takes @reply over. */
static void answer(struct client *c, json_t *reply)
{
	size_t len = json_dumpb(reply, NULL, 0, JSON_COMPACT);
	char *text = len && len < CONTROL_REPLY ? malloc(len + 1) : NULL;

	if (text && json_dumpb(reply, text, len, JSON_COMPACT) == len) {
		text[len] = '\n';
		send_text(c, text, len + 1);
	} else {
		free(text);
		c->closing = true;
	}
	json_decref(reply);
}

/* @id is borrowed */
static json_t *reply_ok(json_t *id, json_t *result)
{
	json_t *r = json_pack("{sisb}", "v", CONTROL_VERSION, "ok", 1);

	if (id)
		json_object_set(r, "id", id);
	json_object_set_new(r, "result", result ? result : json_object());
	return r;
}

static json_t *reply_error(json_t *id, const struct err *e)
{
	json_t *r = json_pack("{sisbsi}", "v", CONTROL_VERSION, "ok", 0, "errno", -e->code);
	json_t *text = json_string(e->msg);

	if (id)
		json_object_set(r, "id", id);
	/* a path in a message need not be UTF-8 */
	json_object_set_new(r, "error", text ? text : json_string("the reason cannot be shown"));
	return r;
}

static void refuse(struct client *c, json_t *id, int code, const char *why)
{
	struct err e;

	err_set(&e, code, "%s", why);
	answer(c, reply_error(id, &e));
}

static void begin_console(struct client *c, const json_t *req)
{
	struct control *ctl = c->ctl;
	uint64_t total = written(ctl);

	c->typist = json_is_true(json_object_get(req, "input"));
	c->pos = total;
	if (!json_is_false(json_object_get(req, "replay")))
		c->pos -= MIN(total, (uint64_t)CONTROL_LOG);
	c->until = json_is_false(json_object_get(req, "follow")) ? total : UINT64_MAX;
	c->mode = CONSOLE;
	atomic_fetch_add(&ctl->viewers, 1);
}

static void request(struct client *c, const json_t *req)
{
	struct control *ctl = c->ctl;
	json_t *version = json_object_get(req, "v"), *id = json_object_get(req, "id");
	const char *cmd = json_string_value(json_object_get(req, "cmd"));
	json_t *result = NULL;
	struct err e = { 0 };
	int ret;

	if (!json_is_object(req)) {
		refuse(c, NULL, -EINVAL, "a request is a JSON object");
		return;
	}
	if (id && !json_is_integer(id) &&
	    (!json_is_string(id) || json_string_length(id) > ID_MAX)) {
		refuse(c, NULL, -EINVAL, "\"id\" is a number or a string of at most 64 bytes");
		return;
	}
	if (!json_is_integer(version) || json_integer_value(version) != CONTROL_VERSION) {
		refuse(c, id, -EPROTONOSUPPORT, "this guest speaks version 1: say \"v\":1");
		return;
	}
	if (!cmd) {
		refuse(c, id, -EINVAL, "\"cmd\" is missing, or is no string");
		return;
	}
	if (!strcmp(cmd, "wait")) {
		answer(c, reply_ok(id, NULL));
		c->mode = WAITING;
		return;
	}
	if (!strcmp(cmd, "console")) {
		answer(c, reply_ok(id, NULL));
		begin_console(c, req);
		return;
	}
	ret = ctl->ops->request(ctl->ops->ctx, cmd, req, &result, &e);
	if (ret < 0) {
		json_decref(result);
		if (ret == -ENOENT && !e.code)
			err_set(&e, -ENOENT, "unknown command \"%.80s\"", cmd);
		else if (!e.code)
			err_set(&e, ret, "%s", strerror(-ret));
		answer(c, reply_error(id, &e));
		return;
	}
	answer(c, reply_ok(id, result));
}

static void line(struct client *c, const char *text, size_t len)
{
	struct err e;
	json_error_t why;
	json_t *req;

	if (!len)
		return;
	req = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	if (!req) {
		err_set(&e, -EINVAL, "no JSON: %s (column %d)", why.text, why.column);
		answer(c, reply_error(NULL, &e));
		return;
	}
	request(c, req);
	json_decref(req);
}

/* Return: false if the client must go. */
static bool lines(struct client *c)
{
	for (unsigned int i = 0; i < LINES_PER_TURN && !c->out && has_line(c); i++) {
		char *end = memchr(c->in, '\n', c->in_len);
		size_t len = end - c->in;

		line(c, c->in, len && c->in[len - 1] == '\r' ? len - 1 : len);
		c->in_len -= len + 1;
		memmove(c->in, end + 1, c->in_len);
		c->since = loop_now();
		if (!flush(c))
			return false;
	}
	if (c->mode == LINES && !c->closing && c->in_len == sizeof(c->in) && !has_line(c)) {
		if (c->out)
			return true;	/* when that is sent */
		refuse(c, NULL, -EMSGSIZE, "a request has at most 4096 bytes");
		c->closing = true;
		return flush(c);
	}
	return !(c->eof && c->mode == LINES && !c->out && !has_line(c));
}

/* Return: false if the client must go. */
static bool receive(struct client *c)
{
	ssize_t n = recv(c->src.fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->in_len += n;
	c->eof = !n;
	return true;
}

static void on_client(struct loop_src *src, uint32_t events)
{
	struct client *c = container_of(src, struct client, src);
	bool stays = true;

	if (events & EPOLLIN && c->events & EPOLLIN)
		stays = receive(c);
	else if (events & (EPOLLHUP | EPOLLERR))
		stays = false;
	if (stays)
		stays = flush(c);
	if (stays && c->mode == LINES)
		stays = lines(c);
	if (stays && c->mode == CONSOLE) {
		if (c->typist && c->in_len && !c->full)
			type(c);
		stays = pump(c);
	}
	if (stays)
		watch(c);
	else
		drop(c);
}

/* ---- the socket ------------------------------------------------------------------------------ */

static bool allowed(struct control *ctl, int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
		return false;
	/* root is nobody in a user namespace, too; the socket's mode keeps everybody else away */
	if (who.uid == geteuid() || who.uid == 0 || sandbox_foreign_users())
		return true;
	log_rated(&ctl->rate, LOG_WARNING, "control socket: process %d of user %u was turned away",
		  (int)who.pid, (unsigned int)who.uid);
	return false;
}

/* Clients that have left, and whose turn has not come yet, take no room. */
static void sweep(struct control *ctl)
{
	struct client *c, *next;

	for (c = ctl->clients; c; c = next) {
		struct pollfd p = { .fd = c->src.fd };

		next = c->next;
		if (poll(&p, 1, 0) == 1 && p.revents & (POLLHUP | POLLERR))
			drop(c);
	}
}

static void take(struct control *ctl, int fd)
{
	static const char full[] = "{\"v\":1,\"ok\":false,\"errno\":11,"
				   "\"error\":\"too many clients; try again later\"}\n";
	struct client *c = NULL;

	if (!allowed(ctl, fd)) {
		close(fd);
		return;
	}
	if (ctl->nr_clients == ctl->limits.clients)
		sweep(ctl);
	if (ctl->nr_clients < ctl->limits.clients)
		c = calloc(1, sizeof(*c));
	if (!c) {
		if (send(fd, full, sizeof(full) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			log_debug("control socket: a client too many left");
		close(fd);
		return;
	}
	c->ctl = ctl;
	c->src.fd = fd;
	c->src.fn = on_client;
	c->since = loop_now();
	c->events = EPOLLIN;
	if (loop_add(ctl->loop, &c->src, c->events) < 0) {
		close(fd);
		free(c);
		return;
	}
	c->next = ctl->clients;
	ctl->clients = c;
	if (!ctl->nr_clients++)
		loop_soon_set(ctl->loop, &ctl->tick, 1000 * NSEC_PER_MSEC);
}

static void on_accept(struct loop_src *src, uint32_t events)
{
	struct control *ctl = container_of(src, struct control, accept_src);
	int fd = 0;

	(void)events;
	for (unsigned int i = 0; i < ACCEPTS_PER_TURN; i++) {
		fd = usock_accept(src->fd);
		if (fd < 0)
			break;
		take(ctl, fd);
	}
	if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) {
		ctl->deaf = true;
		loop_mod(ctl->loop, src, 0);
		loop_soon_set(ctl->loop, &ctl->tick, 1000 * NSEC_PER_MSEC);
	}
}

static bool overdue(const struct client *c, uint64_t now)
{
	const struct control_limits *l = &c->ctl->limits;
	uint64_t ms = (now - c->since) / NSEC_PER_MSEC;

	if (c->out)
		return ms > l->stuck_ms;
	return c->mode == LINES && ms > l->idle_ms;
}

static void on_tick(struct loop_soon *soon)
{
	struct control *ctl = container_of(soon, struct control, tick);
	struct client *c, *next;
	uint64_t now = loop_now();

	if (ctl->deaf) {
		ctl->deaf = false;
		loop_mod(ctl->loop, &ctl->accept_src, EPOLLIN);
	}
	for (c = ctl->clients; c; c = next) {
		next = c->next;
		if (overdue(c, now))
			drop(c);
	}
	if (ctl->clients)
		loop_soon_set(ctl->loop, soon, MIN(1000U, MAX(ctl->limits.stuck_ms / 4, 1U)) *
			      NSEC_PER_MSEC);
}

static int listen_there(struct control *ctl, const char *name, bool lkvm, struct err *e)
{
	enum ctl_dir dir = ctl_home(lkvm);
	struct err ignored;
	int fd, lock, ret;

	ret = ctl_path(dir, name, ctl->path);
	if (ret == -EINVAL)
		return err_set(e, ret, "--name %.80s: a name has no \"/\", no control character, and "
			       "does not begin with \".\"", name);
	if (ret == -ENAMETOOLONG)
		return err_set(e, ret, "--name %.80s: the path of its control socket would be longer "
			       "than %d bytes; choose a shorter name", name, CTL_PATH_MAX - 1);
	lock = ctl_lock(dir, true, e);
	if (lock < 0)
		return err_prefix(e, "no control socket");
	/* the same name in the other folder would be ambiguous */
	for (enum ctl_dir d = 0; d < CTL_NR_DIRS; d++) {
		char other[CTL_PATH_MAX];

		if (d == dir || ctl_path(d, name, other) < 0)
			continue;
		fd = usock_connect(other);
		if (fd >= 0)
			close(fd);
		ret = fd >= 0 || fd == -EAGAIN ? -EBUSY : 0;
	}
	if (ret != -EBUSY)
		ret = usock_listen(&ctl->sock, "control socket", ctl->path, ret < 0 ? &ignored : e);
	ctl_unlock(lock);
	if (ret == -EBUSY)
		err_set(e, ret, "a guest named \"%.80s\" runs already; give another --name, or end it "
			"with \"realmtool stop -n %.80s\"", name, name);
	return ret;
}

int control_open(struct loop *loop, const char *name, bool lkvm, const struct control_ops *ops,
		 const struct control_limits *limits, struct control **out, struct err *e)
{
	struct control *ctl = calloc(1, sizeof(*ctl));
	int ret;

	*out = NULL;
	if (!ctl)
		return err_set(e, -ENOMEM, "control socket: out of memory");
	ctl->loop = loop;
	ctl->ops = ops;
	if (limits)
		ctl->limits = *limits;
	if (!ctl->limits.clients)
		ctl->limits.clients = CONTROL_CLIENTS;
	if (!ctl->limits.idle_ms)
		ctl->limits.idle_ms = CONTROL_IDLE_S * 1000;
	if (!ctl->limits.stuck_ms)
		ctl->limits.stuck_ms = CONTROL_STUCK_S * 1000;
	ctl->tick.fn = on_tick;
	ctl->sock.fd = -1;
	pthread_mutex_init(&ctl->lock, NULL);
	ctl->wake_src.fn = on_wake;
	ctl->wake_src.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ctl->wake_src.fd < 0) {
		ret = err_set(e, -errno, "control socket: eventfd: %s", strerror(errno));
		goto fail;
	}
	ret = listen_there(ctl, name, lkvm, e);
	if (ret < 0)
		goto fail_wake;
	ctl->accept_src.fn = on_accept;
	ctl->accept_src.fd = ctl->sock.fd;
	ret = loop_add(loop, &ctl->wake_src, EPOLLIN);
	if (ret < 0)
		goto fail_loop;
	ret = loop_add(loop, &ctl->accept_src, EPOLLIN);
	if (ret < 0)
		goto fail_accept;
	log_debug("control socket: %s", ctl->path);
	*out = ctl;
	return 0;

fail_accept:
	loop_del(loop, &ctl->wake_src);
fail_loop:
	err_set(e, ret, "control socket: event loop: %s", strerror(-ret));
	usock_close(&ctl->sock);
fail_wake:
	close(ctl->wake_src.fd);
fail:
	pthread_mutex_destroy(&ctl->lock);
	free(ctl);
	return ret;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* All that this client shall get; false: it has it, or will not take it. */
static bool unsent(struct client *c)
{
	if (!flush(c))
		return false;
	if (c->mode == CONSOLE && !pump(c))
		return false;
	return c->out || (c->mode == CONSOLE && c->pos < written(c->ctl));
}

static void tell_end(struct client *c, const char *reason, int status)
{
	json_t *event;

	if (c->mode != WAITING || !flush(c) || c->out)
		return;
	event = json_pack("{sisssssi}", "v", CONTROL_VERSION, "event", "end", "reason", reason,
			  "status", status);
	if (event)
		answer(c, event);
}

void control_end(struct control *ctl, const char *reason, int status)
{
	uint64_t until = loop_now() + LAST_WORDS_MS * NSEC_PER_MSEC;
	struct client *c, *next;

	if (!ctl)
		return;
	loop_del(ctl->loop, &ctl->accept_src);
	usock_close(&ctl->sock);
	for (c = ctl->clients; c; c = c->next)
		tell_end(c, reason, status);
	for (c = ctl->clients; c; c = next) {
		next = c->next;
		while (unsent(c) && loop_now() < until) {
			struct pollfd p = { .fd = c->src.fd, .events = POLLOUT };

			poll(&p, 1, 10);
		}
		drop(c);
	}
	loop_soon_cancel(ctl->loop, &ctl->tick);
	loop_del(ctl->loop, &ctl->wake_src);
	close(ctl->wake_src.fd);
	pthread_mutex_destroy(&ctl->lock);
	free(ctl);
}

#else /* !HAVE_JANSSON */

int control_open(struct loop *loop, const char *name, bool lkvm, const struct control_ops *ops,
		 const struct control_limits *limits, struct control **out, struct err *e)
{
	*out = NULL;
	return err_set(e, -ENOSYS, "no control socket: this program was built without jansson");
}

void control_output(struct control *c, const void *buf, size_t len)
{
}

void control_input_ready(struct control *c)
{
}

void control_end(struct control *c, const char *reason, int status)
{
}

#endif
