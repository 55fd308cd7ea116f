// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/ctl_client.h"

#ifdef HAVE_JANSSON

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/control.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/loop.h"
#include "vmm/ctl_path.h"

#define CHUNK		SZ_64K
#define NSEC_PER_MSEC	UINT64_C(1000000)

/* ---- the connection -------------------------------------------------------------------------- */

int ctl_connect(struct ctl_conn *c, const char *name, struct err *e)
{
	*c = (struct ctl_conn){ .name = name };
	c->fd = ctl_find(name, e);
	return MIN(c->fd, 0);
}

void ctl_close(struct ctl_conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	free(c->buf);
	c->buf = NULL;
	c->len = c->room = 0;
}

static int gone(const struct ctl_conn *c, struct err *e)
{
	return err_set(e, -ECONNRESET, "guest %s: it ended, or closed the connection", c->name);
}

static int hangs(const struct ctl_conn *c, struct err *e)
{
	return err_set(e, -ETIMEDOUT, "guest %s: its process does not answer", c->name);
}

/* Return: 1: it is so; 0: the time is over. */
static int wait_for(int fd, short events, uint64_t until)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = events };
		uint64_t now = loop_now();
		int ms = -1, n;

		if (until)
			ms = now >= until ? 0 : (until - now) / NSEC_PER_MSEC + 1;
		n = poll(&p, 1, ms);
		if (n > 0)
			return 1;
		if (n == 0 || errno != EINTR)
			return 0;
	}
}

static uint64_t deadline(int timeout_ms)
{
	return timeout_ms < 0 ? 0 : loop_now() + timeout_ms * NSEC_PER_MSEC;
}

int ctl_send(struct ctl_conn *c, const char *cmd, json_t *req, struct err *e)
{
	uint64_t until = deadline(CTL_TIMEOUT_MS);
	size_t len, done = 0;
	char *text;
	int ret = 0;

	if (!req)
		req = json_object();
	json_object_set_new(req, "v", json_integer(CONTROL_VERSION));
	json_object_set_new(req, "cmd", json_string(cmd));
	text = json_dumps(req, JSON_COMPACT);
	json_decref(req);
	if (!text)
		return err_set(e, -ENOMEM, "out of memory");
	len = strlen(text);
	text[len++] = '\n';		/* in the place of the NUL */
	while (done < len && !ret) {
		ssize_t n = send(c->fd, text + done, len - done, MSG_NOSIGNAL);

		if (n >= 0)
			done += n;
		else if (errno != EAGAIN && errno != EINTR)
			ret = gone(c, e);
		else if (!wait_for(c->fd, POLLOUT, until))
			ret = hangs(c, e);
	}
	free(text);
	return ret;
}

/* Make room for another chunk; no line may be longer than an answer can be. */
static int grow(struct ctl_conn *c, struct err *e)
{
	char *p;

	if (c->room - c->len >= CHUNK)
		return 0;
	if (c->len >= CONTROL_REPLY)
		return err_set(e, -EPROTO, "guest %s: its answer is too long", c->name);
	p = realloc(c->buf, c->len + CHUNK);
	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	c->buf = p;
	c->room = c->len + CHUNK;
	return 0;
}

int ctl_receive(struct ctl_conn *c, int timeout_ms, json_t **out, struct err *e)
{
	uint64_t until = deadline(timeout_ms);
	size_t seen = 0;
	char *end;
	int ret;

	while (!(end = c->len > seen ? memchr(c->buf + seen, '\n', c->len - seen) : NULL)) {
		ssize_t n;

		seen = c->len;
		ret = grow(c, e);
		if (ret < 0)
			return ret;
		if (!wait_for(c->fd, POLLIN, until))
			return hangs(c, e);
		n = recv(c->fd, c->buf + c->len, c->room - c->len, 0);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return gone(c, e);
		c->len += MAX(n, (ssize_t)0);
	}
	*out = json_loadb(c->buf, end - c->buf, JSON_REJECT_DUPLICATES, NULL);
	c->len -= end + 1 - c->buf;
	memmove(c->buf, end + 1, c->len);
	if (!*out || !json_is_object(*out) || ctl_u64(*out, "v") != CONTROL_VERSION) {
		json_decref(*out);
		*out = NULL;
		return err_set(e, -EPROTO, "guest %s: it does not speak version %d of the protocol; was "
			       "it started by another version of this program, or by another one?",
			       c->name, CONTROL_VERSION);
	}
	return 0;
}

/* The guest's reason, as one line. */
static int failed(const struct ctl_conn *c, const json_t *reply, struct err *e)
{
	json_int_t code = json_integer_value(json_object_get(reply, "errno"));
	const char *why = ctl_str(reply, "error");

	err_set(e, code > 0 && code < 4096 ? -(int)code : -EIO, "guest %s: %s", c->name,
		*why ? why : "it refused");
	for (char *p = e->msg; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return e->code;
}

int ctl_request(struct ctl_conn *c, const char *cmd, json_t *req, json_t **result, struct err *e)
{
	json_t *reply = NULL;
	int ret = ctl_send(c, cmd, req, e);

	if (!ret)
		ret = ctl_receive(c, CTL_TIMEOUT_MS, &reply, e);
	if (ret < 0)
		return ret;
	if (!json_is_true(json_object_get(reply, "ok")))
		ret = failed(c, reply, e);
	else if (result)
		*result = json_incref(json_object_get(reply, "result"));
	json_decref(reply);
	if (!ret && result && !json_is_object(*result)) {
		json_decref(*result);
		ret = err_set(e, -EPROTO, "guest %s: an answer without a result", c->name);
	}
	return ret;
}

int ctl_ask(const char *name, const char *cmd, json_t *req, json_t **result, struct err *e)
{
	struct ctl_conn c;
	int ret = ctl_connect(&c, name, e);

	if (ret < 0) {
		json_decref(req);
		return ret;
	}
	ret = ctl_request(&c, cmd, req, result, e);
	ctl_close(&c);
	return ret;
}

/* ---- what came back -------------------------------------------------------------------------- */

uint64_t ctl_u64(const json_t *o, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(o, key));

	return n > 0 ? n : 0;
}

const char *ctl_str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* ---- which guests ---------------------------------------------------------------------------- */

int ctl_options(const struct opt_table *t, struct ctl_sel *sel, bool one, int argc, char **argv,
		struct err *e)
{
	struct opt_state st = { 0 };
	int ret = opt_parse(t, &st, sel, argc, argv, e);

	if (ret)
		return ret;
	if (sel->help)
		return 1;
	if (sel->name && sel->all)
		return err_set(e, -EINVAL, "one guest or all of them? Give --name or --all (%s)", t->hint);
	if (one && !sel->name && !sel->all)
		return err_set(e, -EINVAL, "which guest? Give --name NAME%s; the command list shows them",
			       opt_find(t, "all") ? ", or --all" : "");
	return 0;
}

int ctl_each(const struct ctl_sel *sel, int (*fn)(void *ctx, struct ctl_conn *c, struct err *e),
	     void *ctx, struct err *e)
{
	struct ctl_name *names;
	struct ctl_conn c;
	unsigned int nr;
	int ret, first = 0;

	if (!sel->all) {
		ret = ctl_connect(&c, sel->name, e);
		if (!ret)
			ret = fn(ctx, &c, e);
		ctl_close(&c);
		return ret;
	}
	ret = ctl_names(&names, &nr, e);
	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < nr; i++) {
		struct err why;

		ret = ctl_connect(&c, names[i].name, &why);
		if (!ret)
			ret = fn(ctx, &c, &why);
		ctl_close(&c);
		if (ret >= 0 || ret == -ENOENT || ret == -ECONNRESET)
			continue;
		if (first)
			log_error("%s", why.msg);
		else
			*e = why;
		first = first ? first : ret;
	}
	ctl_names_free(names, nr);
	return first;
}

#endif
