// SPDX-License-Identifier: BSD-3-Clause
/*
 * The control socket's side of the guest, for libFuzzer: clang -fsanitize=fuzzer,address,undefined
 * -DHAVE_JANSSON=1 with the sources of vmm/control.c, vmm/ctl_path.c and of vmm/core/, -ljansson.
 * The input is what a client sends, in pieces: a byte says how long the next one is. Every line
 * that comes back is JSON, unless the client asked for the console. Seeds: requests in files.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/control.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/loop.h"
#include "vmm/ctl_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop loop;
static struct control *ctl;
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
	return len / 2;
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

	log_set_level(LOG_ERROR);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool lines = !memmem(data, size, "console", 7);
	struct err e;
	int fd;

	if (!ctl)
		begin();
	fd = ctl_find("fuzz", &e);
	if (fd < 0)
		abort();
	while (size) {
		size_t want = *data++, len;

		size--;
		len = want < size ? want : size;
		if (len && send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
		    errno != EAGAIN && errno != EPIPE && errno != ECONNRESET)
			abort();
		data += len;
		size -= len;
		loop_once(&loop, 0);
		answers(fd, lines);
	}
	while (loop_once(&loop, 0) > 0)
		answers(fd, lines);
	close(fd);
	while (loop_once(&loop, 0) > 0)
		;
	return 0;
}
