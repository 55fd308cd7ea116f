// SPDX-License-Identifier: BSD-3-Clause
/* The control socket, of a stand-in for a guest, then of one on the model of KVM. */
#include "tests/unit/unit.h"

#ifdef HAVE_JANSSON

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <regex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fakekvm/harness.h"
#include "tests/unit/mkimage.h"
#include "vmm/cmd.h"
#include "vmm/control.h"
#include "vmm/core/usock.h"
#include "vmm/ctl_client.h"
#include "vmm/ctl_map.h"
#include "vmm/ctl_path.h"
#include "vmm/session.h"

#define BIG	(900 * 1024)

static struct err e;

/* ---- a stand-in for the guest ---------------------------------------------------------------- */

struct rig_ctl {
	char run[32], home[32];
	struct loop loop;
	pthread_t thread;
	struct control *ctl;
	struct control_limits limits;
	_Atomic unsigned int requests;
	_Atomic size_t room;		/* that the console has for input */
	char typed[256];
	_Atomic size_t nr_typed;
};

static int on_request(void *ctx, const char *cmd, const struct json_t *req,
		      struct json_t **result, struct err *why)
{
	struct rig_ctl *r = ctx;
	char *big;

	atomic_fetch_add(&r->requests, 1);
	if (!strcmp(cmd, "echo")) {
		*result = json_pack("{sO}", "said", json_object_get(req, "say"));
		return 0;
	}
	if (!strcmp(cmd, "nothing"))
		return 0;
	if (!strcmp(cmd, "fail"))
		return err_set(why, -EBUSY, "it is busy: \xff\"");
	if (!strcmp(cmd, "big") || !strcmp(cmd, "too-big")) {
		size_t len = *cmd == 'b' ? BIG : CONTROL_REPLY + 1;

		big = malloc(len + 1);
		memset(big, 'x', len);
		big[len] = '\0';
		*result = json_pack("{so}", "big", json_stringn(big, len));
		free(big);
		return 0;
	}
	return -ENOENT;
}

static size_t on_input(void *ctx, const void *buf, size_t len)
{
	struct rig_ctl *r = ctx;
	size_t n = MIN(len, atomic_load(&r->room)), at = r->nr_typed;

	n = MIN(n, sizeof(r->typed) - at);
	memcpy(r->typed + at, buf, n);
	atomic_fetch_sub(&r->room, n);
	atomic_store(&r->nr_typed, at + n);
	return n;
}

static struct control_ops ops = { .request = on_request, .input = on_input };

static void *serve(void *arg)
{
	struct rig_ctl *r = arg;

	loop_run(&r->loop);
	return NULL;
}

static int setup(void **state)
{
	struct rig_ctl *r = calloc(1, sizeof(*r));

	strcpy(r->run, "/tmp/ctl.XXXXXX");
	strcpy(r->home, "/tmp/ctl.XXXXXX");
	assert_non_null(mkdtemp(r->run));
	assert_non_null(mkdtemp(r->home));
	setenv("XDG_RUNTIME_DIR", r->run, 1);
	setenv("HOME", r->home, 1);
	assert_int_equal(loop_init(&r->loop, &e), 0);
	r->room = 1000;
	ops.ctx = r;
	*state = r;
	return 0;
}

static void start(struct rig_ctl *r)
{
	assert_int_equal(control_open(&r->loop, "test", false, &ops, &r->limits, &r->ctl, &e), 0);
	assert_int_equal(pthread_create(&r->thread, NULL, serve, r), 0);
}

static void stop(struct rig_ctl *r, const char *reason)
{
	loop_stop(&r->loop);
	pthread_join(r->thread, NULL);
	control_end(r->ctl, reason, 0);
	r->ctl = NULL;
}

static int teardown(void **state)
{
	struct rig_ctl *r = *state;
	char path[64];

	if (r->ctl)
		stop(r, "stop");
	loop_destroy(&r->loop);
	snprintf(path, sizeof(path), "%s/realmtool", r->run);
	rmdir(path);			/* fails if a socket is left */
	snprintf(path, sizeof(path), "%s/.lkvm", r->home);
	rmdir(path);
	assert_int_equal(rmdir(r->run), 0);
	assert_int_equal(rmdir(r->home), 0);
	free(r);
	return 0;
}

static int dial(void)
{
	int fd = ctl_find("test", &e);

	assert_true(fd >= 0);
	return fd;
}

static void say(int fd, const char *text)
{
	size_t len = strlen(text);

	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0) {
			struct pollfd p = { .fd = fd, .events = POLLOUT };

			assert_int_equal(errno, EAGAIN);
			poll(&p, 1, 1000);
			continue;
		}
		text += n;
		len -= n;
	}
}

/* Up to @len bytes, until @end is among them if it is not NULL; "" at the end of the connection. */
static char *hear(int fd, char *buf, size_t len, const char *end)
{
	size_t n = 0;

	while (n < len - 1) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t got;

		assert_int_equal(poll(&p, 1, 10000), 1);
		got = recv(fd, buf + n, end ? 1 : len - 1 - n, 0);
		if (got <= 0)
			break;
		n += got;
		buf[n] = '\0';
		if (end && n >= strlen(end) && !strcmp(buf + n - strlen(end), end))
			break;
	}
	buf[n] = '\0';
	return buf;
}

static void expect(int fd, const char *request, const char *answer)
{
	static char buf[CONTROL_LINE];

	say(fd, request);
	assert_string_equal(hear(fd, buf, sizeof(buf), "\n"), answer);
}

static bool closed(int fd)
{
	char c[64];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	do {
		if (poll(&p, 1, 10000) != 1)
			return false;
		n = recv(fd, c, sizeof(c), 0);
	} while (n > 0);
	return true;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void requests(void **state)
{
	struct rig_ctl *r = *state;
	char buf[256];
	int fd;

	start(r);
	fd = dial();
	expect(fd, "{\"v\":1,\"cmd\":\"echo\",\"say\":[1,\"a\"]}\n",
	       "{\"v\":1,\"ok\":true,\"result\":{\"said\":[1,\"a\"]}}\n");
	expect(fd, "{\"v\":1,\"cmd\":\"nothing\",\"id\":7}\r\n",
	       "{\"v\":1,\"ok\":true,\"id\":7,\"result\":{}}\n");
	expect(fd, "\n\n{\"v\":1,\"cmd\":\"nothing\",\"id\":\"x\"}\n",
	       "{\"v\":1,\"ok\":true,\"id\":\"x\",\"result\":{}}\n");
	/* a reason that is no UTF-8 does not spoil the answer */
	expect(fd, "{\"v\":1,\"cmd\":\"fail\"}\n", "{\"v\":1,\"ok\":false,\"errno\":16,"
	       "\"error\":\"the reason cannot be shown\"}\n");
	expect(fd, "{\"v\":1,\"cmd\":\"dance\"}\n",
	       "{\"v\":1,\"ok\":false,\"errno\":2,\"error\":\"unknown command \\\"dance\\\"\"}\n");
	expect(fd, "{\"v\":2,\"cmd\":\"nothing\"}\n", "{\"v\":1,\"ok\":false,\"errno\":93,"
	       "\"error\":\"this guest speaks version 1: say \\\"v\\\":1\"}\n");
	expect(fd, "{\"cmd\":\"nothing\"}\n", "{\"v\":1,\"ok\":false,\"errno\":93,"
	       "\"error\":\"this guest speaks version 1: say \\\"v\\\":1\"}\n");
	expect(fd, "{\"v\":1,\"cmd\":5}\n", "{\"v\":1,\"ok\":false,\"errno\":22,"
	       "\"error\":\"\\\"cmd\\\" is missing, or is no string\"}\n");
	expect(fd, "[1]\n", "{\"v\":1,\"ok\":false,\"errno\":22,"
	       "\"error\":\"a request is a JSON object\"}\n");
	expect(fd, "{\"v\":1,\"cmd\":\"nothing\",\"id\":[]}\n", "{\"v\":1,\"ok\":false,\"errno\":22,"
	       "\"error\":\"\\\"id\\\" is a number or a string of at most 64 bytes\"}\n");
	/* several in one go, and half a line */
	say(fd, "{\"v\":1,\"cmd\":\"nothing\"}\n{\"v\":1,\"cmd\":\"nothing\"}\n{\"v\":1,\"cm");
	hear(fd, buf, sizeof(buf), "\n");
	hear(fd, buf, sizeof(buf), "\n");
	expect(fd, "d\":\"nothing\",\"id\":9}\n", "{\"v\":1,\"ok\":true,\"id\":9,\"result\":{}}\n");
	/* the last request of a client that says no more is answered, too */
	say(fd, "{\"v\":1,\"cmd\":\"nothing\",\"id\":10}\n");
	shutdown(fd, SHUT_WR);
	assert_string_equal(hear(fd, buf, sizeof(buf), "\n"),
			    "{\"v\":1,\"ok\":true,\"id\":10,\"result\":{}}\n");
	assert_true(closed(fd));
	close(fd);
}

/* ---- clients that misbehave ------------------------------------------------------------------ */

static unsigned int seed = 1;

static unsigned int random_number(unsigned int below)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % below;
}

/* Bytes that are no request: noise, or a good line with some of it spoilt. Without line feeds. */
static size_t nonsense(char *buf, size_t room)
{
	static const char good[] = "{\"v\":1,\"cmd\":\"echo\",\"say\":{\"a\":[1,2.5,null,\"\\u00e4\"]}}";
	size_t len = sizeof(good) - 1;

	if (random_number(2)) {
		len = 1 + random_number(room - 1);
		for (size_t i = 0; i < len; i++)
			buf[i] = random_number(255) + 1;
	} else {
		memcpy(buf, good, len);
		len -= random_number(len - 1);
		for (unsigned int n = random_number(4); n-- > 0;)
			buf[random_number(len)] = random_number(255) + 1;
	}
	for (size_t i = 0; i < len; i++)
		if (buf[i] == '\n' || !buf[i])
			buf[i] = '{';
	buf[len] = '\0';
	return len;
}

static void malformed(void **state)
{
	struct rig_ctl *r = *state;
	char line[200], buf[1024];
	unsigned int answers = 0;
	int fd, other;

	start(r);
	other = dial();
	for (unsigned int n = 0; n < 20; n++) {
		fd = dial();
		for (unsigned int i = 0; i < 500; i++) {
			nonsense(line, sizeof(line) - 1);
			strcat(line, "\n");
			say(fd, line);
			/* a line of nothing but CR is empty, and has no answer */
			say(fd, "{\"v\":1,\"cmd\":\"nothing\",\"id\":\"mark\"}\n");
			do {
				hear(fd, buf, sizeof(buf), "\n");
				assert_non_null(strchr(buf, '\n'));
				answers++;
			} while (!strstr(buf, "\"mark\""));
		}
		close(fd);
		expect(other, "{\"v\":1,\"cmd\":\"nothing\"}\n",
		       "{\"v\":1,\"ok\":true,\"result\":{}}\n");
	}
	assert_true(answers > 15000);
	/* as deep as a line allows */
	memset(buf, '[', sizeof(buf) - 2);
	buf[sizeof(buf) - 2] = '\n';
	buf[sizeof(buf) - 1] = '\0';
	say(other, buf);
	hear(other, buf, sizeof(buf), "\n");
	assert_non_null(strstr(buf, "no JSON"));
	close(other);
}

static void oversized(void **state)
{
	char *line = malloc(CONTROL_LINE + 2), buf[256];
	int fd;

	start(*state);
	/* one that just fits */
	memset(line, ' ', CONTROL_LINE);
	memcpy(line, "{\"v\":1,\"cmd\":\"nothing\"", 22);
	line[CONTROL_LINE - 2] = '}';
	line[CONTROL_LINE - 1] = '\n';
	line[CONTROL_LINE] = '\0';
	fd = dial();
	expect(fd, line, "{\"v\":1,\"ok\":true,\"result\":{}}\n");
	line[CONTROL_LINE - 1] = ' ';
	line[CONTROL_LINE] = '\n';
	line[CONTROL_LINE + 1] = '\0';
	say(fd, line);
	assert_string_equal(hear(fd, buf, sizeof(buf), "\n"), "{\"v\":1,\"ok\":false,\"errno\":90,"
			    "\"error\":\"a request has at most 4096 bytes\"}\n");
	assert_true(closed(fd));
	close(fd);
	free(line);
}

static void slow(void **state)
{
	struct rig_ctl *r = *state;
	int half, deaf, fast;
	char buf[256];

	r->limits = (struct control_limits){ .idle_ms = 300, .stuck_ms = 300 };
	start(r);
	half = dial();
	deaf = dial();
	say(half, "{\"v\":1,");
	/* more than the socket holds, and nobody reads it */
	say(deaf, "{\"v\":1,\"cmd\":\"big\"}\n{\"v\":1,\"cmd\":\"big\"}\n");
	/* others do not notice */
	fast = dial();
	expect(fast, "{\"v\":1,\"cmd\":\"nothing\"}\n", "{\"v\":1,\"ok\":true,\"result\":{}}\n");
	close(fast);
	assert_true(closed(half));
	usleep(1000000);
	/* it was dropped in the middle of the first answer: the second request was never read */
	assert_true(closed(deaf));
	assert_int_equal(r->requests, 2);
	close(half);
	close(deaf);
	fast = dial();
	expect(fast, "{\"v\":1,\"cmd\":\"nothing\"}\n", "{\"v\":1,\"ok\":true,\"result\":{}}\n");
	/* an answer that is too long is none */
	say(fast, "{\"v\":1,\"cmd\":\"too-big\"}\n");
	assert_string_equal(hear(fast, buf, sizeof(buf), "\n"), "");
	close(fast);
}

static void big_answer(void **state)
{
	json_t *r;
	struct ctl_conn c;

	start(*state);
	assert_int_equal(ctl_connect(&c, "test", &e), 0);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(ctl_request(&c, "big", NULL, &r, &e), 0);
		assert_int_equal(json_string_length(json_object_get(r, "big")), BIG);
		json_decref(r);
	}
	ctl_close(&c);
}

static void many(void **state)
{
	struct rig_ctl *r = *state;
	char buf[256];
	int fd[9];

	r->limits.clients = 8;
	start(r);
	for (unsigned int i = 0; i < 8; i++) {
		fd[i] = dial();
		expect(fd[i], "{\"v\":1,\"cmd\":\"nothing\"}\n", "{\"v\":1,\"ok\":true,\"result\":{}}\n");
	}
	fd[8] = dial();
	assert_non_null(strstr(hear(fd[8], buf, sizeof(buf), "\n"), "too many clients"));
	assert_true(closed(fd[8]));
	expect(fd[3], "{\"v\":1,\"cmd\":\"nothing\"}\n", "{\"v\":1,\"ok\":true,\"result\":{}}\n");
	for (unsigned int i = 0; i < 9; i++)
		close(fd[i]);
	/* there is room again, for hundreds one after the other */
	for (unsigned int i = 0; i < 300; i++) {
		fd[0] = dial();
		if (i % 2)
			say(fd[0], "{\"v\":1,\"cmd\":\"not");
		close(fd[0]);
	}
	fd[0] = dial();
	expect(fd[0], "{\"v\":1,\"cmd\":\"nothing\"}\n", "{\"v\":1,\"ok\":true,\"result\":{}}\n");
	close(fd[0]);
}

/* ---- the console ----------------------------------------------------------------------------- */

#define OK "{\"v\":1,\"ok\":true,\"result\":{}}\n"

static void console(void **state)
{
	struct rig_ctl *r = *state;
	int a, b, log;
	char buf[512];

	start(r);
	control_output(r->ctl, "before\n", 7);
	a = dial();
	expect(a, "{\"v\":1,\"cmd\":\"console\",\"input\":true}\n", OK);
	assert_string_equal(hear(a, buf, sizeof(buf), "\n"), "before\n");
	b = dial();
	expect(b, "{\"v\":1,\"cmd\":\"console\",\"replay\":false}\n", OK);
	control_output(r->ctl, "now\n", 4);
	assert_string_equal(hear(a, buf, sizeof(buf), "\n"), "now\n");
	assert_string_equal(hear(b, buf, sizeof(buf), "\n"), "now\n");
	log = dial();
	say(log, "{\"v\":1,\"cmd\":\"console\",\"follow\":false}\n");
	assert_string_equal(hear(log, buf, sizeof(buf), NULL), OK "before\nnow\n");
	close(log);
	/* what does not fit is offered again */
	r->room = 3;
	say(a, "typed");
	for (unsigned int i = 0; i < 500 && r->nr_typed < 3; i++)
		usleep(10000);
	usleep(50000);
	assert_int_equal(r->nr_typed, 3);
	r->room = 100;
	control_input_ready(r->ctl);
	for (unsigned int i = 0; i < 500 && r->nr_typed < 5; i++)
		usleep(10000);
	assert_memory_equal(r->typed, "typed", 5);
	/* a viewer that may not type is not heard */
	say(b, "mute");
	usleep(50000);
	assert_int_equal(r->nr_typed, 5);
	/* half closed: still looks */
	shutdown(a, SHUT_WR);
	usleep(20000);
	control_output(r->ctl, "more\n", 5);
	assert_string_equal(hear(a, buf, sizeof(buf), "\n"), "more\n");
	close(a);
	control_output(r->ctl, "end\n", 4);
	stop(r, "poweroff");
	assert_string_equal(hear(b, buf, sizeof(buf), NULL), "more\nend\n");
	close(b);
}

/* Who falls behind misses the oldest, is told how much, and holds up nobody. */
static void behind(void **state)
{
	struct rig_ctl *r = *state;
	static char chunk[1000], text[CONTROL_LOG * 8];
	unsigned long long lost;
	size_t total = 0, n;
	char buf[256], *mark;
	int fd;

	start(r);
	fd = dial();
	expect(fd, "{\"v\":1,\"cmd\":\"console\"}\n", OK);
	for (unsigned int i = 0; i < 1500; i++) {
		memset(chunk, 'a' + i % 26, sizeof(chunk));
		control_output(r->ctl, chunk, sizeof(chunk));
		total += sizeof(chunk);
		if (i % 50 == 0)
			usleep(2000);
	}
	control_output(r->ctl, "END", 3);
	hear(fd, text, sizeof(text), "END");
	n = strlen(text);
	assert_string_equal(text + n - 3, "END");
	assert_true(n < total);
	mark = strstr(text, "\r\n[");
	assert_non_null(mark);
	assert_int_equal(sscanf(mark, "\r\n[%llu bytes of output were too fast]", &lost), 1);
	assert_true(lost > 0 && lost < total);
	close(fd);
	/* more than the log at once */
	memset(text, 'y', sizeof(text));
	memcpy(text + sizeof(text) - 4, "LAST", 4);
	control_output(r->ctl, text, sizeof(text));
	fd = dial();
	expect(fd, "{\"v\":1,\"cmd\":\"console\",\"follow\":false}\n", OK);
	hear(fd, text, sizeof(text), NULL);
	assert_int_equal(strlen(text), CONTROL_LOG);
	assert_string_equal(text + CONTROL_LOG - 4, "LAST");
	close(fd);
	fd = dial();
	expect(fd, "{\"v\":1,\"cmd\":\"nothing\"}\n", OK);
	assert_string_equal(hear(fd, buf, 1, NULL), "");
	close(fd);
}

static void waiting(void **state)
{
	struct rig_ctl *r = *state;
	char buf[256];
	int a, b;

	r->limits.idle_ms = 100;	/* that is not for those who wait */
	start(r);
	a = dial();
	b = dial();
	expect(a, "{\"v\":1,\"cmd\":\"wait\"}\n", OK);
	expect(b, "{\"v\":1,\"cmd\":\"wait\",\"id\":1}\n", "{\"v\":1,\"ok\":true,\"id\":1,\"result\":{}}\n");
	usleep(500000);
	stop(r, "poweroff");
	for (unsigned int i = 0; i < 2; i++) {
		assert_string_equal(hear(i ? a : b, buf, sizeof(buf), "\n"),
				    "{\"v\":1,\"event\":\"end\",\"reason\":\"poweroff\",\"status\":0}\n");
		assert_true(closed(i ? a : b));
	}
	close(a);
	close(b);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void two_of_a_name(void **state)
{
	struct rig_ctl *r = *state;
	struct control *other;

	start(r);
	assert_int_equal(control_open(&r->loop, "test", false, &ops, NULL, &other, &e), -EBUSY);
	assert_non_null(strstr(e.msg, "runs already"));
	assert_null(other);
	/* in the other folder just as well */
	assert_int_equal(control_open(&r->loop, "test", true, &ops, NULL, &other, &e), -EBUSY);
	stop(r, "stop");
	start(r);
}

static void bad_names(void **state)
{
	struct rig_ctl *r = *state;
	static const char *const bad[] = { "", ".", ".x", "a/b", "../x", "a\nb", "a\033b" };
	char folder[64], lengthy[200];
	struct control *ctl;

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(control_open(&r->loop, bad[i], false, &ops, NULL, &ctl, &e),
				 -EINVAL);
		assert_int_equal(ctl_find(bad[i], &e), -ENOENT);
	}
	memset(lengthy, 'n', sizeof(lengthy) - 1);
	lengthy[sizeof(lengthy) - 1] = '\0';
	assert_int_equal(control_open(&r->loop, lengthy, false, &ops, NULL, &ctl, &e),
			 -ENAMETOOLONG);
	assert_non_null(strstr(e.msg, "shorter name"));
	/* a folder in which others can write is not used */
	snprintf(folder, sizeof(folder), "%s/realmtool", r->run);
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(chmod(folder, 0777), 0);
	assert_int_equal(control_open(&r->loop, "test", false, &ops, NULL, &ctl, &e), -EPERM);
	assert_int_equal(rmdir(folder), 0);
	/* a file of that name is left alone */
	unsetenv("XDG_RUNTIME_DIR");
	unsetenv("HOME");
	assert_int_equal(control_open(&r->loop, "test", false, &ops, NULL, &ctl, &e), -ENOENT);
	assert_int_equal(ctl_find("test", &e), -ENOENT);
}

static void left_behind(void **state)
{
	struct rig_ctl *r = *state;
	struct ctl_name *names;
	char path[CTL_PATH_MAX];
	struct stat st;
	struct usock s;
	unsigned int nr;
	int fd;

	setenv("XDG_RUNTIME_DIR", "relative", 1);	/* the specification: to be ignored */
	assert_int_equal(ctl_home(false), CTL_LKVM);
	setenv("XDG_RUNTIME_DIR", r->run, 1);
	assert_int_equal(ctl_home(false), CTL_RUN);
	assert_int_equal(ctl_home(true), CTL_LKVM);
	start(r);
	assert_int_equal(ctl_path(CTL_RUN, "test", path), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	*strrchr(path, '/') = '\0';
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	/* a socket without a process, as after kill -9, and a file that looks like one */
	assert_int_equal(ctl_path(CTL_RUN, "dead", path), 0);
	assert_int_equal(usock_listen(&s, "test", path, &e), 0);
	close(s.fd);
	assert_int_equal(ctl_path(CTL_RUN, "file", path), 0);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(ctl_names(&names, &nr, &e), 0);
	assert_int_equal(nr, 1);
	assert_string_equal(names[0].name, "test");
	ctl_names_free(names, nr);
	assert_int_equal(access(path, F_OK), 0);
	unlink(path);
	ctl_path(CTL_RUN, "dead", path);
	assert_int_equal(access(path, F_OK), -1);
	/* and the name can be used at once */
	assert_int_equal(usock_listen(&s, "test", path, &e), 0);
	close(s.fd);
	assert_int_equal(ctl_find("dead", &e), -ENOENT);
	assert_int_equal(access(path, F_OK), -1);
}

/* ---- a guest on the model of KVM ------------------------------------------------------------- */

struct run {
	struct vm_config cfg;
	struct err e;
	int ret;
	pthread_t thread;
	int null, out, save_in, save_out;
};

/* Says that it is up, echoes what is typed, and powers off on q. */
static void talker(struct fake_cpu *c, void *ctx)
{
	bool realm = *(enum realm_mode *)ctx == MODE_EMULATED;
	ipa_t uart = MAP_UART_BASE | (realm ? UINT64_C(1) << 32 : 0);
	uint64_t b = 0;

	for (const char *p = "up\n"; *p; p++)
		fake_write(c, uart, *p, 1);
	while (b != 'q') {
		if (!(fake_read(c, uart + 5, 1) & 1)) {
			usleep(1000);
			continue;
		}
		b = fake_read(c, uart, 1);
		fake_write(c, uart, b ? b : '!', 1);
		fake_write(c, uart, '\n', 1);
	}
	fake_poweroff(c);
}

static void *run_thread(void *arg)
{
	struct run *r = arg;

	r->ret = session_run(&r->cfg, &fake_sys, &r->e);
	return NULL;
}

static void run_start(struct run *r, enum realm_mode mode)
{
	struct blob kernel = mk_flat(10000);

	memset(r, 0, sizeof(*r));
	fake_reset(&fake_linux_7_3);
	config_defaults(&r->cfg);
	r->cfg.name = (char *)"guest";
	r->cfg.mode = mode;
	r->cfg.cpus = 1;
	r->cfg.mem = 64 * SZ_1M;
	r->cfg.kernel = (char *)mk_file(kernel);
	r->cfg.balloon = mode == MODE_PLAIN;
	r->cfg.rng = true;
	blob_free(&kernel);
	fake_set_guest(0, talker, &r->cfg.mode);
	r->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	r->out = memfd_create("stdout", MFD_CLOEXEC);
	fflush(stdout);
	r->save_in = dup(STDIN_FILENO);
	r->save_out = dup(STDOUT_FILENO);
	dup2(r->null, STDIN_FILENO);
	dup2(r->out, STDOUT_FILENO);
	assert_int_equal(pthread_create(&r->thread, NULL, run_thread, r), 0);
}

static int run_end(struct run *r)
{
	pthread_join(r->thread, NULL);
	dup2(r->save_in, STDIN_FILENO);
	dup2(r->save_out, STDOUT_FILENO);
	close(r->null);
	close(r->out);
	close(r->save_in);
	close(r->save_out);
	mk_file_cleanup();
	assert_null(fake_verdict());
	return r->ret;
}

static json_t *ask(const char *cmd, json_t *req)
{
	json_t *r = NULL;
	int ret = ctl_ask("guest", cmd, req, &r, &e);

	if (ret < 0)
		print_error("%s: %s\n", cmd, e.msg);
	assert_int_equal(ret, 0);
	return r;
}

static void wait_up(int *view)
{
	char buf[256];

	for (unsigned int i = 0; i < 500; i++) {
		*view = ctl_find("guest", &e);
		if (*view >= 0)
			break;
		usleep(10000);
	}
	assert_true(*view >= 0);
	expect(*view, "{\"v\":1,\"cmd\":\"console\",\"input\":true}\n", OK);
	assert_string_equal(hear(*view, buf, sizeof(buf), "up\n"), "up\n");
}

static void typed_comes_back(int view, const char *c)
{
	char buf[16], want[4];

	snprintf(want, sizeof(want), "%s\n", c);
	say(view, c);
	assert_string_equal(hear(view, buf, sizeof(buf), "\n"), want);
}

static bool silent(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 200) == 0;
}

static void look_around(const struct run *run)
{
	json_t *r = ask("status", json_pack("{sb}", "rim", 1)), *list;
	struct ctl_map map;
	struct ctl_conn c;
	bool realm = run->cfg.mode == MODE_EMULATED;

	assert_string_equal(ctl_str(r, "name"), "guest");
	assert_string_equal(ctl_str(r, "state"), "running");
	assert_string_equal(ctl_str(r, "mode"), realm ? "emulated" : "vm");
	assert_int_equal(ctl_u64(r, "pid"), getpid());
	assert_int_equal(ctl_u64(r, "memory"), 64 * SZ_1M);
	for (unsigned int i = 0; i < 100 && json_is_true(json_object_get(r, "measuring")); i++) {
		json_decref(r);
		usleep(50000);
		r = ask("status", NULL);
	}
	assert_int_equal(strlen(ctl_str(r, "rim")), realm ? 64 : 0);
	json_decref(r);

	r = ask("metrics", NULL);
	list = json_object_get(json_array_get(json_object_get(r, "vcpus"), 0), "exits");
	assert_true(ctl_u64(list, "mmio") >= 3);
	assert_int_equal(json_array_size(json_object_get(r, "devices")), realm ? 1 : 2);
	assert_string_equal(ctl_str(json_array_get(json_object_get(r, "devices"), 0), "name"), "rng0");
	assert_int_equal(!json_object_get(r, "realm"), !realm);
	list = json_object_get(r, "ram");
	assert_int_equal(ctl_u64(list, "private") + ctl_u64(list, "shared"), 64 * SZ_1M);
	list = json_array_get(json_object_get(r, "uarts"), 0);
	assert_true(ctl_u64(list, "bytes_from_guest") >= 3);
	json_decref(r);

	r = ask("regions", NULL);
	assert_int_equal(ctl_u64(r, "shared_bit"), realm ? UINT64_C(1) << 32 : 0);
	assert_true(json_array_size(json_object_get(r, "regions")) > 5);
	assert_int_equal(ctl_connect(&c, "guest", &e), 0);
	assert_int_equal(ctl_map_get(&c, ctl_u64(r, "ram_base"), ctl_u64(r, "ram_size"), 100, &map, &e), 0);
	assert_int_equal(map.nr, 64);
	assert_int_equal(map.sum.total, 64 * SZ_1M / SZ_4K);
	assert_int_equal(map.sum.private, realm ? 64 * SZ_1M / SZ_4K : 0);
	assert_int_equal(map.sum.twice, 0);
	if (map.known && !realm)
		assert_true(map.sum.backed >= 3);	/* the kernel is somewhere */
	ctl_map_free(&map);
	json_decref(r);
	assert_int_equal(ctl_request(&c, "map", json_pack("{si}", "cell", 3), &r, &e), -EINVAL);
	assert_int_equal(ctl_request(&c, "map", json_pack("{sI}", "base", (json_int_t)0x7fffffffffff000),
				     &r, &e), -EINVAL);
	assert_int_equal(ctl_request(&c, "map", json_pack("{sI}", "len", (json_int_t)-1), &r, &e), -EINVAL);
	ctl_close(&c);
}

static void life(void **state)
{
	(void)state;
	for (enum realm_mode mode = MODE_PLAIN; mode <= MODE_EMULATED; mode++) {
		struct run run;
		char buf[256];
		int view, end;
		json_t *r, *regs;

		run_start(&run, mode);
		wait_up(&view);
		look_around(&run);
		typed_comes_back(view, "a");
		r = ask("pause", NULL);
		assert_true(json_is_true(json_object_get(r, "changed")));
		json_decref(r);
		r = ask("pause", NULL);
		assert_false(json_is_true(json_object_get(r, "changed")));
		json_decref(r);
		assert_false(fake_in_guest(0));
		say(view, "b");
		assert_true(silent(view));
		r = ask("status", NULL);
		assert_string_equal(ctl_str(r, "state"), "paused");
		json_decref(r);
		r = ask("debug", json_pack("{sb}", "dump", 1));
		regs = json_object_get(json_array_get(json_object_get(r, "vcpus"), 0), "registers");
		assert_int_equal(strlen(ctl_str(regs, "x0")), 18);
		json_decref(r);
		json_decref(ask("resume", NULL));
		assert_string_equal(hear(view, buf, sizeof(buf), "\n"), "b\n");
		r = ask("resume", NULL);
		assert_false(json_is_true(json_object_get(r, "changed")));
		json_decref(r);
		/* the break is a NUL here, then comes the key */
		json_decref(ask("debug", json_pack("{ss}", "sysrq", "h")));
		assert_string_equal(hear(view, buf, sizeof(buf), "h\n"), "!\nh\n");
		assert_int_equal(ctl_ask("guest", "debug", json_pack("{si}", "nmi", 0), NULL, &e),
				 -EOPNOTSUPP);
		assert_int_equal(ctl_ask("guest", "debug", json_pack("{ss}", "sysrq", "\n"), NULL, &e),
				 -EINVAL);
		/* ended while it is paused */
		end = ctl_find("guest", &e);
		expect(end, "{\"v\":1,\"cmd\":\"wait\"}\n", OK);
		json_decref(ask("pause", NULL));
		json_decref(ask("stop", NULL));
		assert_string_equal(hear(end, buf, sizeof(buf), "\n"),
				    "{\"v\":1,\"event\":\"end\",\"reason\":\"stop\",\"status\":0}\n");
		assert_int_equal(run_end(&run), 0);
		assert_true(closed(view));
		close(view);
		close(end);
		assert_int_equal(ctl_find("guest", &e), -ENOENT);
	}
}

static void balloon(void **state)
{
	struct run run;
	json_t *r;
	int view;

	(void)state;
	run_start(&run, MODE_PLAIN);
	wait_up(&view);
	r = ask("balloon", json_pack("{si}", "inflate", 10));
	assert_int_equal(ctl_u64(r, "target"), 10 * SZ_1M);
	json_decref(r);
	r = ask("balloon", json_pack("{si}", "deflate", 4));
	assert_int_equal(ctl_u64(r, "target"), 6 * SZ_1M);
	json_decref(r);
	assert_int_equal(ctl_ask("guest", "balloon", json_pack("{si}", "deflate", 7), NULL, &e), -ERANGE);
	assert_int_equal(ctl_ask("guest", "balloon", json_pack("{si}", "inflate", 64), NULL, &e), -ERANGE);
	assert_int_equal(ctl_ask("guest", "balloon", json_pack("{si}", "inflate", -1), NULL, &e), -EINVAL);
	assert_int_equal(ctl_ask("guest", "balloon", NULL, NULL, &e), -EINVAL);
	r = ask("balloon", json_pack("{si}", "size", 64));
	assert_int_equal(ctl_u64(r, "target"), 64 * SZ_1M);
	json_decref(r);
	r = ask("memory", json_pack("{sb}", "ask", 1));
	/* no driver: nobody can be asked */
	assert_true(json_is_false(json_object_get(r, "asked")));
	json_decref(r);
	typed_comes_back(view, "q");
	assert_int_equal(run_end(&run), 0);
	close(view);
	run_start(&run, MODE_EMULATED);
	wait_up(&view);
	assert_int_equal(ctl_ask("guest", "balloon", json_pack("{si}", "size", 1), NULL, &e), -ENODEV);
	assert_non_null(strstr(e.msg, "realm"));
	typed_comes_back(view, "q");
	assert_int_equal(run_end(&run), 0);
	close(view);
}

/* ---- the commands ---------------------------------------------------------------------------- */

static char printed[SZ_1M];

/* Run a command line ("stat -n guest"); what it prints is in printed[]. Return: its exit code. */
static int command(const struct run *run, const char *line)
{
	const struct cmd_ctx cx = { .prog = "realmtool" };
	char copy[128], *argv[8], *word, *rest = copy;
	off_t from = lseek(STDOUT_FILENO, 0, SEEK_END);
	const struct cmd *c;
	int argc = 0, ret;
	ssize_t n;

	snprintf(copy, sizeof(copy), "%s", line);
	while ((word = strsep(&rest, " ")))
		argv[argc++] = word;
	c = cmd_find(argv[0], &e);
	assert_non_null(c);
	ret = c->fn(&cx, argc - 1, argv + 1, &e);
	fflush(stdout);
	n = pread(run->out, printed, sizeof(printed) - 1, from);
	printed[n > 0 ? n : 0] = '\0';
	return ret;
}

static bool says(const char *regex)
{
	regex_t re;
	bool yes;

	assert_int_equal(regcomp(&re, regex, REG_EXTENDED | REG_NOSUB | REG_NEWLINE), 0);
	yes = regexec(&re, printed, 0, NULL, 0) == 0;
	regfree(&re);
	if (!yes)
		print_error("no \"%s\" in:\n%s\n", regex, printed);
	return yes;
}

/* Each line is a comment or a sample of the metric that the comment before named. */
static void check_prometheus(void)
{
	char name[128] = "", want[160], *line, *rest = printed;
	regex_t re;

	assert_int_equal(regcomp(&re, "^realmtool_[a-z_]+\\{([a-z]+=\"[^\"]*\",?)+\\} [0-9]+$",
				 REG_EXTENDED | REG_NOSUB), 0);
	while ((line = strsep(&rest, "\n"))) {
		if (!*line || !strncmp(line, "# HELP ", 7))
			continue;
		if (sscanf(line, "# TYPE %127s", name) == 1)
			continue;
		snprintf(want, sizeof(want), "%s{", name);
		assert_int_equal(strncmp(line, want, strlen(want)), 0);
		if (regexec(&re, line, 0, NULL, 0))
			fail_msg("no sample: %s", line);
	}
	regfree(&re);
}

static void check_json(const char *key)
{
	json_t *r = json_loads(printed, 0, NULL);

	assert_non_null(r);
	assert_non_null(json_object_get(r, key));
	json_decref(r);
}

static void commands_of_both(struct run *run, bool realm)
{
	int view;

	run_start(run, realm ? MODE_EMULATED : MODE_PLAIN);
	wait_up(&view);
	assert_int_equal(command(run, "list"), 0);
	assert_true(says(realm ? "^ *[0-9]+ guest +running +emulated +1 +64M" :
			 "^ *[0-9]+ guest +running +vm +1 +64M"));
	assert_int_equal(command(run, "list --json"), 0);
	check_json("guests");
	assert_true(says(realm ? "\"rim\": \"[0-9a-f]{64}\"" : "\"rim\": null"));
	assert_int_equal(command(run, "list nobody"), 0);
	assert_null(strstr(printed, "guest"));
	assert_int_equal(command(run, "stat guest"), 0);
	assert_true(says("RAM +64\\.0 MiB"));
	assert_int_equal(strstr(printed, "held twice") != NULL, realm);
	assert_int_equal(command(run, "stat -a --json"), 0);
	check_json("ram");
	assert_int_equal(command(run, "stat --map guest"), 0);
	assert_true(says(realm ? "^  0x000080000000  P{64}$" : "^  0x000080000000  \\.*[#-]"));
	assert_true(says("0x000001000000 - 0x000001003fff  UARTs"));
	assert_int_equal(command(run, "stat --map --json guest"), 0);
	check_json("cells");
	assert_int_equal(command(run, "metrics -a"), 0);
	assert_true(says("^realmtool_exits_total\\{guest=\"guest\",vcpu=\"0\",reason=\"mmio\"\\} [1-9]"));
	assert_true(says("^realmtool_uart_from_guest_bytes_total\\{guest=\"guest\",uart=\"0\"\\} [1-9]"));
	assert_int_equal(strstr(printed, "realmtool_rsi_calls_total") != NULL, realm);
	check_prometheus();
	assert_int_equal(command(run, "metrics --json -n guest"), 0);
	check_json("devices");
	assert_int_equal(command(run, "debug guest"), 0);
	assert_true(says("^ pc +0x[0-9a-f]{16} pstate"));
	assert_int_equal(command(run, "wait guest --for ^u.$"), 0);
	assert_string_equal(printed, "up\n");
	assert_int_equal(command(run, "wait guest --for nothing --timeout 1"), 2);
	assert_int_equal(command(run, "wait guest --for ^u --new --timeout 1 -q"), 2);
	assert_int_equal(command(run, "console --log guest"), 0);
	assert_string_equal(printed, "up\n");
	assert_int_equal(command(run, "pause -a"), 0);
	assert_string_equal(printed, "Guest guest paused\n");
	assert_int_equal(command(run, "resume guest"), 0);
	assert_string_equal(printed, "Guest guest resumed\n");
	assert_int_equal(command(run, "balloon guest --size 5"), realm ? -ENODEV : 0);
	if (!realm)
		assert_string_equal(printed, "Guest guest: the balloon shall hold 5 MiB, and holds 0\n");
	/* which one, and what */
	assert_int_equal(command(run, "stop"), -EINVAL);
	assert_non_null(strstr(e.msg, "--all"));
	assert_int_equal(command(run, "console"), -EINVAL);
	assert_null(strstr(e.msg, "--all"));
	assert_int_equal(command(run, "pause -a guest"), -EINVAL);
	assert_int_equal(command(run, "balloon guest"), -EINVAL);
	assert_int_equal(command(run, "stat nobody"), -ENOENT);
	assert_int_equal(command(run, "resume --help"), 0);
	assert_true(says("usage: realmtool resume"));
	/* the end of a process cannot be waited for from inside */
	assert_int_equal(command(run, "stop guest --timeout 0"), 0);
	assert_int_equal(run_end(run), 0);
	close(view);
}

static void commands_print(void **state)
{
	struct run run;

	(void)state;
	commands_of_both(&run, false);
	commands_of_both(&run, true);
}

/* The second of a name does not start, and the first does not notice. */
static void second_guest(void **state)
{
	struct vm_config again;
	struct run run;
	int view;

	(void)state;
	run_start(&run, MODE_PLAIN);
	wait_up(&view);
	again = run.cfg;
	assert_int_equal(session_run(&again, &fake_sys, &e), -EBUSY);
	assert_non_null(strstr(e.msg, "runs already"));
	typed_comes_back(view, "z");
	typed_comes_back(view, "q");
	assert_int_equal(run_end(&run), 0);
	close(view);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(requests), T(malformed), T(oversized), T(slow), T(big_answer), T(many),
		T(console), T(behind), T(waiting), T(two_of_a_name), T(bad_names),
		T(left_behind), T(life), T(balloon), T(commands_print),
		T(second_guest),
	};

	alarm(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
	return 0;	/* without jansson there is no control socket */
}

#endif
