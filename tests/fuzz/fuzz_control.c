// SPDX-License-Identifier: BSD-3-Clause
/*
 * The control socket's side of the guest. The input is what a client sends, in pieces, a byte says
 * how long the next one is, and what happens at the guest's end meanwhile. Every line that comes
 * back is JSON, unless a client looks at the console.
 */
#include "tests/fuzz/fuzz.h"

#ifdef HAVE_JANSSON
#include <errno.h>
#include <jansson.h>
#include <sys/socket.h>

#include "vmm/control.h"
#include "vmm/core/err.h"
#include "vmm/core/loop.h"
#include "vmm/ctl_path.h"

static struct loop loop;
static struct control *ctl;
static bool typing;		/* the console takes input */
static char dir[] = "/tmp/fuzz.XXXXXX";

static int on_request(void *ctx, const char *cmd, const struct json_t *req,
		      struct json_t **result, struct err *e)
{
	if (*cmd == 'e')
		return err_set(e, -EINVAL, "%s", cmd);
	if (*cmd == 'r')
		*result = json_pack("{sO}", "req", req);
	return *cmd == 'r' ? 0 : -ENOENT;
}

static size_t on_input(void *ctx, const void *buf, size_t len)
{
	return typing ? len : len / 2;
}

static const struct control_ops ops = { .request = on_request, .input = on_input };

static void tidy(void)
{
	char path[64];

	control_end(ctl, "stop", 0);
	snprintf(path, sizeof(path), "%s/realmtool", dir);
	rmdir(path);
	rmdir(dir);
}

static void begin(void)
{
	struct err e;

	if (!mkdtemp(dir) || setenv("XDG_RUNTIME_DIR", dir, 1) < 0 || loop_init(&loop, &e) < 0 ||
	    control_open(&loop, "fuzz", false, &ops, NULL, &ctl, &e) < 0)
		abort();
	control_output(ctl, "hello\n", 6);
	atexit(tidy);
}

/* Read what came back; @all: and see that it is one JSON object after the other. */
static void answers(int fd, bool all)
{
	static char text[SZ_1M];
	size_t len = 0;
	ssize_t n;

	while (len < sizeof(text) &&
	       (n = recv(fd, text + len, sizeof(text) - len, MSG_DONTWAIT)) > 0)
		len += n;
	for (size_t at = 0; all && at < len;) {
		char *end = memchr(text + at, '\n', len - at);
		json_t *o = end ? json_loadb(text + at, end - text - at, 0, NULL) : NULL;

		if (!json_is_object(o))
			abort();
		json_decref(o);
		at = end + 1 - text;
	}
}

/* A client that looks on, or none. */
static void other(int *fd, bool wait)
{
	static const char *const ask[] = {
		"{\"v\":1,\"cmd\":\"console\",\"input\":true}\n", "{\"v\":1,\"cmd\":\"wait\"}\n",
	};
	struct err e;

	if (*fd >= 0) {
		close(*fd);
		*fd = -1;
		return;
	}
	*fd = ctl_find("fuzz", &e);
	PROPERTY(*fd >= 0 && send(*fd, ask[wait], strlen(ask[wait]), MSG_NOSIGNAL) > 0);
}

/* What happens at the guest's end. */
static void guest(struct input *in, uint8_t what, int *fd)
{
	static char flood[CONTROL_LOG + 100];
	const uint8_t *p;
	size_t n;

	switch (what % 5) {
	case 0:
		n = in_take(in, in_u8(in), &p);
		control_output(ctl, p, n);
		break;
	case 1:
		control_output(ctl, flood, sizeof(flood));
		break;
	case 2:
		typing = !typing;
		control_input_ready(ctl);
		break;
	case 3:
		other(fd, false);
		break;
	case 4:
		other(fd, true);
		break;
	}
}

static void say(int fd, struct input *in, size_t want, bool lines)
{
	const uint8_t *p;
	size_t len = in_take(in, want, &p);

	if (len && send(fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		PROPERTY(errno == EAGAIN || errno == EPIPE || errno == ECONNRESET);
	loop_once(&loop, 0);
	answers(fd, lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool lines = !memmem(data, size, "console", 7);
	struct input in = { data, size };
	int fd, second = -1;
	struct err e;

	if (!ctl)
		begin();
	typing = false;
	fd = ctl_find("fuzz", &e);
	PROPERTY(fd >= 0);
	while (in.left) {
		uint8_t want = in_u8(&in);

		if (want >= 0xf0)
			guest(&in, want - 0xf0, &second);
		else
			say(fd, &in, want, lines);
	}
	for (unsigned int i = 0; i < 1000 && loop_once(&loop, 0) > 0; i++)
		answers(fd, lines);
	close(fd);
	if (second >= 0)
		close(second);
	while (loop_once(&loop, 0) > 0)
		;
	return 0;
}

#else
/* built without jansson: there is no control socket */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return 0;
}
#endif
