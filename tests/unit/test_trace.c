// SPDX-License-Identifier: BSD-3-Clause
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fakekvm/harness.h"
#include "tests/unit/mkimage.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/trace.h"
#include "vmm/session.h"

#define EVENTS_MAX 400000

static const struct trace_kind plain = { .cat = "test" };
static const struct trace_kind full = {
	.cat = "test", .text = "text", .arg = { "number", "#address", "third" },
};

/* ---- a strict reader of JSON (RFC 8259), for arrays of objects ------------------------------ */

struct event {
	char ph[4], name[64], cat[32], id[24], args[256];
	double ts, dur;
	long pid, tid;
	bool has_dur;
};

static struct event *event;
static unsigned int nr;
static const char *at;		/* what is to be read */

static void must(bool ok, const char *what)
{
	if (!ok)
		fail_msg("no JSON: %s at \"%.60s\"", what, at);
}

static void blank(void)
{
	at += strspn(at, " \t\r\n");
}

static void expect(char c)
{
	blank();
	must(*at == c, "another character expected");
	at++;
	blank();
}

/* Its bytes as they are written, escapes checked and left alone. */
static void string(char *out, size_t room)
{
	const char *from;

	must(*at == '"', "a string expected");
	for (from = ++at; *at != '"'; at++) {
		must((unsigned char)*at >= 0x20 && (unsigned char)*at != 0x7f, "control character");
		if (*at != '\\')
			continue;
		at++;
		must(*at && strchr("\"\\/bfnrtu", *at), "escape");
		if (*at == 'u') {
			must(strspn(at + 1, "0123456789abcdefABCDEF") >= 4, "four digits");
			at += 4;
		}
	}
	if (out)
		snprintf(out, room, "%.*s", (int)(at - from), from);
	at++;
}

static double number(void)
{
	const char *from = at;

	at += *at == '-';
	must(*at >= '0' && *at <= '9', "a number expected");
	must(*at != '0' || !(at[1] >= '0' && at[1] <= '9'), "zeros in front");
	at += strspn(at, "0123456789");
	if (*at == '.') {
		must(at[1] >= '0' && at[1] <= '9', "digits expected");
		at += 1 + strspn(at + 1, "0123456789");
	}
	return strtod(from, NULL);
}

/* Numbers and strings, the only values in arguments. */
static void arguments(char *out, size_t room)
{
	const char *from = at;

	expect('{');
	while (*at != '}') {
		string(NULL, 0);
		expect(':');
		if (*at == '"')
			string(NULL, 0);
		else
			number();
		blank();
		if (*at != '}') {
			expect(',');
			must(*at == '"', "a member expected");
		}
	}
	at++;
	snprintf(out, room, "%.*s", (int)(at - from), from);
}

static void object(struct event *v)
{
	char key[16];

	memset(v, 0, sizeof(*v));
	expect('{');
	for (;;) {
		string(key, sizeof(key));
		expect(':');
		if (!strcmp(key, "ph"))
			string(v->ph, sizeof(v->ph));
		else if (!strcmp(key, "name"))
			string(v->name, sizeof(v->name));
		else if (!strcmp(key, "cat"))
			string(v->cat, sizeof(v->cat));
		else if (!strcmp(key, "id"))
			string(v->id, sizeof(v->id));
		else if (!strcmp(key, "s"))
			string(NULL, 0);
		else if (!strcmp(key, "ts"))
			v->ts = number();
		else if (!strcmp(key, "dur"))
			v->dur = number(), v->has_dur = true;
		else if (!strcmp(key, "pid"))
			v->pid = number();
		else if (!strcmp(key, "tid"))
			v->tid = number();
		else if (!strcmp(key, "args"))
			arguments(v->args, sizeof(v->args));
		else
			fail_msg("unknown member %s", key);
		blank();
		if (*at == '}')
			break;
		expect(',');
	}
	at++;
	blank();
}

static void read_events(const char *text)
{
	at = text;
	nr = 0;
	expect('[');
	for (;;) {
		assert_true(nr < EVENTS_MAX);
		object(&event[nr++]);
		if (*at == ']')
			break;
		expect(',');
	}
	at++;
	blank();
	must(!*at, "nothing more expected");
}

static char *contents(const char *path)
{
	FILE *f = fopen(path, "r");
	size_t room = 1 << 20, len = 0, n;
	char *text = malloc(room);

	assert_non_null(f);
	assert_non_null(text);
	while ((n = fread(text + len, 1, room - len - 1, f)) > 0) {
		len += n;
		if (room - len < 2) {
			text = realloc(text, room *= 2);
			assert_non_null(text);
		}
	}
	text[len] = '\0';
	fclose(f);
	return text;
}

static void read_trace(const char *path)
{
	char *text = contents(path);

	read_events(text);
	free(text);
}

static const struct event *find(const char *ph, const char *name)
{
	for (unsigned int i = 0; i < nr; i++)
		if (!strcmp(event[i].ph, ph) && !strcmp(event[i].name, name))
			return &event[i];
	fail_msg("no event %s \"%s\"", ph, name);
	return NULL;
}

static unsigned int count(const char *ph, const char *name)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < nr; i++)
		n += !strcmp(event[i].ph, ph) && !strcmp(event[i].name, name);
	return n;
}

/* Events that the trace says it lacks. */
static unsigned long lost(void)
{
	unsigned long sum = 0, n;

	for (unsigned int i = 0; i < nr; i++)
		if (!strcmp(event[i].name, "events lost")) {
			assert_int_equal(sscanf(event[i].args, "{\"count\":%lu}", &n), 1);
			sum += n;
		}
	return sum;
}

/* ---- fixture --------------------------------------------------------------------------------- */

static char dir[32], path[64];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/trace-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/trace.json", dir);
	event = calloc(EVENTS_MAX, sizeof(*event));
	/* that events are missing is said at a level of its own, too: not what is tested */
	log_set_level(LOG_ERROR);
	return event ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	trace_close();
	unlink(path);
	rmdir(dir);
	free(event);
	return 0;
}

static void begin(const char *title)
{
	struct err e;

	assert_int_equal(trace_open(path, title, &e), 0);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void off(void **state)
{
	uint64_t began = trace_begin();

	(void)state;
	assert_false(trace_on());
	assert_int_equal(began, 0);
	trace_span(&plain, "span", began, NULL, 0, 0, 0);
	trace_mark(&plain, "mark", NULL, 0, 0, 0);
	trace_close();
	begin(NULL);
	/* what began before is not in the trace */
	trace_span(&plain, "span", began, NULL, 0, 0, 0);
	trace_close();
	read_trace(path);
	assert_int_equal(nr, 1);
	assert_string_equal(event[0].ph, "M");
	assert_string_equal(event[0].name, "process_name");
	assert_string_equal(event[0].args, "{\"name\":\"realmtool\"}");
	assert_int_equal(event[0].pid, getpid());
}

static void events(void **state)
{
	uint64_t outer, inner, before = trace_now();
	const struct event *o, *i, *b, *v;
	struct stat st;

	(void)state;
	begin("guest");
	assert_true(trace_on());
	outer = trace_begin();
	inner = trace_begin();
	assert_true(outer >= before && inner >= outer);
	usleep(1000);
	trace_async(&full, "request", inner, "disk", 7, 0x1234, 0);
	trace_span(&plain, "inner", inner, NULL, 1, 2, 3);
	trace_span(&full, "outer", outer, NULL, UINT64_MAX, UINT64_MAX, 0);
	trace_mark(&full, "mark", "here", 1, 2, 3);
	trace_close();
	assert_false(trace_on());
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	read_trace(path);
	assert_string_equal(find("M", "process_name")->args, "{\"name\":\"guest\"}");
	assert_string_equal(find("M", "thread_name")->args, "{\"name\":\"main\"}");
	o = find("X", "outer");
	i = find("X", "inner");
	assert_true(o->has_dur && i->has_dur);
	assert_true(o->ts <= i->ts && i->ts + i->dur <= o->ts + o->dur);
	assert_true(i->dur >= 1000 && i->dur < 10e6);
	/* microseconds of CLOCK_MONOTONIC */
	assert_true(o->ts >= (double)(before / 1000) && o->ts < (double)trace_now() / 1000);
	assert_string_equal(i->args, "{}");
	assert_string_equal(o->args, "{\"number\":18446744073709551615,"
			    "\"address\":\"0xffffffffffffffff\",\"third\":0}");
	b = find("b", "request");
	v = find("e", "request");
	assert_string_equal(b->args, "{\"text\":\"disk\",\"number\":7,\"address\":\"0x1234\","
			    "\"third\":0}");
	assert_true(b->id[0]);
	assert_string_equal(b->id, v->id);
	assert_true(v->ts - b->ts >= 1000);
	assert_false(find("i", "mark")->has_dur);
	assert_string_equal(find("i", "mark")->cat, "test");
}

static void text_is_escaped(void **state)
{
	(void)state;
	begin("a\"b\\c\n\xff");
	trace_mark(&full, "mark", "\"},{\"ph\":\"x\\\t\x01", 0, 0, 0);
	trace_mark(&full, "long", "0123456789012345678901234567890123456789", 0, 0, 0);
	trace_mark(&full, "bytes", "\xc3\xa4\x80\xff", 0, 0, 0);
	/* the end of the room is in the middle of a character */
	trace_mark(&full, "cut", "0123456789012345678901\xc3\xa4", 0, 0, 0);
	trace_close();
	read_trace(path);
	assert_int_equal(nr, 6);
	assert_string_equal(find("M", "process_name")->args,
			    "{\"name\":\"a\\\"b\\\\c\\u000a\\ufffd\"}");
	assert_non_null(strstr(find("i", "mark")->args,
			       "\"\\\"},{\\\"ph\\\":\\\"x\\\\\\u0009\\u0001\""));
	assert_non_null(strstr(find("i", "long")->args, "\"01234567890123456789012\""));
	assert_non_null(strstr(find("i", "bytes")->args, "\"\xc3\xa4\\ufffd\\ufffd\""));
	assert_non_null(strstr(find("i", "cut")->args, "\"0123456789012345678901\\ufffd\""));
}

static void second_trace(void **state)
{
	struct err e;

	(void)state;
	begin(NULL);
	trace_mark(&plain, "first", NULL, 0, 0, 0);
	assert_int_equal(trace_open(path, NULL, &e), -EBUSY);
	trace_close();
	begin(NULL);
	trace_mark(&plain, "second", NULL, 0, 0, 0);
	trace_close();
	read_trace(path);
	assert_int_equal(count("i", "first"), 0);
	assert_int_equal(count("i", "second"), 1);
	assert_int_equal(count("M", "thread_name"), 1);
}

#define THREADS		8
#define PER_THREAD	20000

static void *busy(void *arg)
{
	pthread_setname_np(pthread_self(), "busy");
	for (unsigned int i = 0; i < PER_THREAD; i++) {
		uint64_t began = trace_begin();

		trace_span(&full, "work", began, arg, i, 0, 0);
		/* as threads do that have something to do */
		if (i % 256 == 255)
			usleep(1000);
	}
	return NULL;
}

static void threads(void **state)
{
	unsigned long next[THREADS] = { 0 }, tid[THREADS] = { 0 }, n;
	pthread_t thread[THREADS];

	(void)state;
	begin(NULL);
	for (unsigned int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, busy, "busy"), 0);
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	trace_close();
	read_trace(path);
	assert_int_equal(count("X", "work") + lost(), THREADS * PER_THREAD);
	assert_int_equal(count("M", "thread_name"), THREADS);
	assert_string_equal(find("M", "thread_name")->args, "{\"name\":\"busy\"}");
	/* each thread's in their order, none twice */
	for (unsigned int i = 0; i < nr; i++) {
		unsigned int t = 0;

		if (strcmp(event[i].name, "work"))
			continue;
		while (t < THREADS && tid[t] && tid[t] != (unsigned long)event[i].tid)
			t++;
		assert_true(t < THREADS);
		tid[t] = event[i].tid;
		assert_int_equal(sscanf(event[i].args, "{\"text\":\"busy\",\"number\":%lu", &n), 1);
		assert_true(n >= next[t]);
		next[t] = n + 1;
	}
}

static pthread_barrier_t together;

static void *one_mark(void *arg)
{
	trace_mark(&plain, "one", NULL, 0, 0, 0);
	if (arg)
		pthread_barrier_wait(&together);
	return NULL;
}

static void many_marks(unsigned int n, void *wait)
{
	pthread_t thread[TRACE_THREADS + 8];

	pthread_barrier_init(&together, NULL, n);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, one_mark, wait), 0);
	for (unsigned int i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	pthread_barrier_destroy(&together);
}

/* Rings of threads that have ended are used again; more threads than rings are counted. */
static void more_threads_than_rings(void **state)
{
	unsigned int marks = 0;

	(void)state;
	begin(NULL);
	for (unsigned int i = 0; i < 3; i++) {
		many_marks(TRACE_THREADS - 8, NULL);
		marks += TRACE_THREADS - 8;
		usleep(400000);
	}
	trace_close();
	read_trace(path);
	assert_int_equal(lost(), 0);
	assert_int_equal(count("i", "one"), marks);

	begin(NULL);
	many_marks(TRACE_THREADS + 8, path);
	trace_close();
	read_trace(path);
	assert_in_range(lost(), 8, 16);		/* this test's own thread has one, maybe */
	assert_int_equal(count("i", "one") + lost(), TRACE_THREADS + 8);
}

static void *read_pipe(void *arg)
{
	return contents(arg);
}

/* A file that takes nothing for a while: the ring is full, the rest is counted, nobody waits. */
static void full_ring(void **state)
{
	const unsigned int sent = 4 * TRACE_RING;
	uint64_t began;
	pthread_t reader;
	char *text;
	int fd;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDONLY | O_NONBLOCK);
	assert_true(fd >= 0);
	begin(NULL);
	began = trace_now();
	for (unsigned int i = 0; i < sent; i++)
		trace_mark(&full, "mark", "text", i, 0, 0);
	assert_true(trace_now() - began < 5 * UINT64_C(1000000000));
	assert_int_equal(pthread_create(&reader, NULL, read_pipe, path), 0);
	usleep(100000);			/* it has opened its own end */
	close(fd);
	trace_close();
	pthread_join(reader, (void **)&text);
	read_events(text);
	free(text);
	assert_true(lost() > 0);
	assert_int_equal(count("i", "mark") + lost(), sent);
}

static void bad_files(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(trace_open("/nowhere/trace", NULL, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "--trace /nowhere/trace: No such file"));
	assert_false(trace_on());
	/* a disk without room: no event gets there, and nobody minds */
	assert_int_equal(trace_open("/dev/full", NULL, &e), 0);
	for (unsigned int i = 0; i < 5000; i++)
		trace_mark(&plain, "mark", NULL, 0, 0, 0);
	usleep(300000);
	trace_mark(&plain, "mark", NULL, 0, 0, 0);
	trace_close();
}

/* Killed: what was written is an array that lacks its end. */
static void killed(void **state)
{
	char *text;
	pid_t pid = fork();
	int status;

	(void)state;
	if (!pid) {
		struct err e;

		if (trace_open(path, NULL, &e) < 0)
			_exit(1);
		trace_mark(&plain, "mark", NULL, 0, 0, 0);
		usleep(600000);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	text = contents(path);
	assert_null(strchr(text, ']'));
	text = realloc(text, strlen(text) + 2);
	assert_non_null(text);
	strcat(text, "]");
	read_events(text);
	free(text);
	assert_int_equal(count("i", "mark"), 1);
}

/* ---- a machine on the model of KVM ----------------------------------------------------------- */

static enum realm_mode mode;

static void guest(struct fake_cpu *c, void *ctx)
{
	unsigned int *boots = ctx;

	fake_write(c, MAP_UART_BASE | (mode == MODE_PLAIN ? 0 : UINT64_C(1) << 32), 'x', 1);
	if (++*boots == 1)
		fake_system_reset(c);
	else
		fake_poweroff(c);
}

static int run(struct vm_config *cfg, struct err *e)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), in = dup(STDIN_FILENO);
	int to = dup(STDOUT_FILENO), ret;

	fflush(stdout);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	capture_begin();		/* what is logged */
	ret = session_run(cfg, &fake_sys, e);
	capture_end();
	dup2(in, STDIN_FILENO);
	dup2(to, STDOUT_FILENO);
	close(in);
	close(to);
	close(null);
	return ret;
}

static void machine(void **state)
{
	struct blob kernel = mk_flat(10000);
	struct vm_config cfg;
	struct err e;

	(void)state;
	config_defaults(&cfg);
	cfg.cpus = 1;
	cfg.mem = 64 * SZ_1M;
	cfg.kernel = (char *)mk_file(kernel);
	cfg.trace = path;
	blob_free(&kernel);
	for (mode = MODE_PLAIN; mode <= MODE_EMULATED; mode++) {
		const struct event *run_span, *exit;
		unsigned int boots = 0;

		cfg.mode = mode;
		fake_reset(&fake_linux_7_3);
		fake_set_guest(0, guest, &boots);
		assert_int_equal(run(&cfg, &e), 0);
		assert_false(trace_on());
		read_trace(path);
		assert_int_equal(lost(), 0);
		assert_int_equal(count("X", "run"), 2);
		assert_int_equal(count("X", "mmio write"), 2);
		assert_int_equal(count("i", "first KVM_RUN"), 2);
		assert_int_equal(count("i", "reset"), 1);
		assert_int_equal(count("X", "hypercall"), mode == MODE_PLAIN ? 0 : 2);
		exit = find("X", "mmio write");
		run_span = find("X", "run");
		assert_string_equal(exit->args, "{\"device\":\"uart0\",\"vcpu\":0,"
				    "\"address\":\"0x1000000\",\"bytes\":1}");
		assert_true(exit->ts >= run_span->ts);
		assert_int_not_equal(exit->tid, run_span->tid);
		if (mode == MODE_EMULATED)
			assert_int_equal(count("X", "PSCI_SYSTEM_OFF") +
					 count("X", "PSCI_SYSTEM_RESET"), 2);
	}
	/* a launch that fails, here and there */
	cfg.kernel = "/nowhere/kernel";
	assert_true(run(&cfg, &e) < 0);
	read_trace(path);
	mk_file_cleanup();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(off, setup, teardown),
		cmocka_unit_test_setup_teardown(events, setup, teardown),
		cmocka_unit_test_setup_teardown(text_is_escaped, setup, teardown),
		cmocka_unit_test_setup_teardown(second_trace, setup, teardown),
		cmocka_unit_test_setup_teardown(threads, setup, teardown),
		cmocka_unit_test_setup_teardown(more_threads_than_rings, setup, teardown),
		cmocka_unit_test_setup_teardown(full_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_files, setup, teardown),
		cmocka_unit_test_setup_teardown(killed, setup, teardown),
		cmocka_unit_test_setup_teardown(machine, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
