// SPDX-License-Identifier: BSD-3-Clause
/*
 * What a service manager sees of a guest's life, on the model of KVM: readiness, watchdog, the end
 * by the power button and by force; the log's other forms.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef HAVE_JANSSON
#include <jansson.h>
#endif

#include "tests/fakekvm/harness.h"
#include "tests/unit/mkimage.h"
#include "vmm/notify.h"
#include "vmm/ready.h"
#include "vmm/session.h"

#define SHARED	(UINT64_C(1) << 32)

static struct vm_config cfg;
static struct err e;
static const char *logged;
static char dir[] = "/tmp/test-notify-XXXXXX";
static char told[4096];		/* all that the service manager was told, datagrams divided by "|" */
static int manager = -1;

/* ---- a service manager ----------------------------------------------------------------------- */

static void listen_at(struct sockaddr_un *a, socklen_t len)
{
	a->sun_family = AF_UNIX;
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(manager >= 0);
	assert_int_equal(bind(manager, (struct sockaddr *)a, len), 0);
}

static void listen_abstract(void)
{
	struct sockaddr_un a = { 0 };
	char name[64];
	int n = snprintf(name, sizeof(name), "@test-notify-%d", getpid());

	memcpy(a.sun_path + 1, name + 1, n - 1);
	listen_at(&a, offsetof(struct sockaddr_un, sun_path) + n);
	setenv("NOTIFY_SOCKET", name, 1);
}

static void listen_path(void)
{
	struct sockaddr_un a = { 0 };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/notify", dir);
	unlink(a.sun_path);
	listen_at(&a, sizeof(a));
	setenv("NOTIFY_SOCKET", a.sun_path, 1);
}

static void hear(void)
{
	size_t len = strlen(told);
	ssize_t n;

	while ((n = recv(manager, told + len, sizeof(told) - 2 - len, 0)) >= 0) {
		len += n;
		told[len++] = '|';
		told[len] = '\0';
	}
}

static unsigned int count(const char *what)
{
	unsigned int n = 0;

	for (const char *p = told; (p = strstr(p, what)); p++)
		n++;
	return n;
}

static int setup(void **state)
{
	struct blob kernel = mk_flat(10000);

	(void)state;
	fake_reset(&fake_linux_7_3);
	config_defaults(&cfg);
	cfg.cpus = 1;
	cfg.mem = 64 * SZ_1M;
	cfg.kernel = (char *)mk_file(kernel);
	blob_free(&kernel);
	told[0] = '\0';
	log_set_level(LOG_INFO);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	capture_end();
	mk_file_cleanup();
	if (manager >= 0)
		close(manager);
	manager = -1;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return 0;
}

static int run(void)
{
	int save_in = dup(STDIN_FILENO), save_out = dup(STDOUT_FILENO), ret;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	unsigned int fds, fds_after;

	memset(&e, 0, sizeof(e));
	fflush(stdout);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	capture_begin();
	fds = open_fds();
	ret = session_run(&cfg, &fake_sys, &e);
	fds_after = open_fds();
	logged = capture_end();
	dup2(save_in, STDIN_FILENO);
	dup2(save_out, STDOUT_FILENO);
	close(save_in);
	close(save_out);
	close(null);
	assert_int_equal(fds_after, fds);
	assert_null(fake_verdict());
	if (manager >= 0)
		hear();
	return ret;
}

/* ---- guests ---------------------------------------------------------------------------------- */

static ipa_t io(ipa_t ipa)
{
	return ipa | (cfg.mode == MODE_EMULATED ? SHARED : 0);
}

static void say(struct fake_cpu *c, const char *text)
{
	for (; *text; text++)
		fake_write(c, io(MAP_UART_BASE), (unsigned char)*text, 1);
}

static void talks(struct fake_cpu *c, void *ctx)
{
	say(c, ctx);
	usleep(100000);		/* the main thread tells before the end */
	fake_poweroff(c);
}

enum { IBE = 0x408, IE = 0x410, IC = 0x41c };

/* As Linux does it: both edges, and the line is read. */
static void await_edge(struct fake_cpu *c, unsigned int level)
{
	for (unsigned int ms = 0; !fake_irq_level(MAP_GPIO_SPI) && ms < 20000; ms++)
		usleep(1000);
	fake_write(c, io(MAP_GPIO_BASE + IC), 1 << MAP_GPIO_POWER, 1);
	fake_expect_eq(fake_irq_level(MAP_GPIO_SPI), 0);
	fake_expect_eq(fake_read(c, io(MAP_GPIO_BASE + (4 << MAP_GPIO_POWER)), 1),
		       level << MAP_GPIO_POWER);
}

static void watch(struct fake_cpu *c)
{
	fake_expect_eq(fake_read(c, io(MAP_GPIO_BASE + 0xfe0), 4), 0x61);
	fake_write(c, io(MAP_GPIO_BASE + IBE), 1 << MAP_GPIO_POWER, 1);
	fake_write(c, io(MAP_GPIO_BASE + IE), 1 << MAP_GPIO_POWER, 1);
}

/* @ctx: "off" or "reset" after its power button, or "stay" */
static void has_button(struct fake_cpu *c, void *ctx)
{
	_Atomic bool never = false;
	const char *how = ctx;

	watch(c);
	say(c, "up\n");
	kill(getpid(), SIGTERM);
	await_edge(c, 1);
	await_edge(c, 0);
	if (!strcmp(how, "off"))
		fake_poweroff(c);
	if (!strcmp(how, "reset"))
		fake_system_reset(c);
	if (!strcmp(how, "again"))
		kill(getpid(), SIGTERM);
	fake_run_until(c, &never);
}

static void ends_itself(struct fake_cpu *c, void *ctx)
{
	_Atomic bool never = false;

	(void)ctx;
	watch(c);
	kill(getpid(), SIGTERM);
	fake_run_until(c, &never);
}

/* It looks at the button only when that is pressed already: it is held until then. */
static void is_late(struct fake_cpu *c, void *ctx)
{
	unsigned int data = 4 << MAP_GPIO_POWER;

	(void)ctx;
	kill(getpid(), SIGTERM);
	usleep(350000);
	fake_expect_eq(fake_read(c, io(MAP_GPIO_BASE + data), 1), 1 << MAP_GPIO_POWER);
	watch(c);
	usleep(250000);
	fake_expect_eq(fake_read(c, io(MAP_GPIO_BASE + data), 1), 0);
	fake_poweroff(c);
}

/* ---- readiness ------------------------------------------------------------------------------- */

static void ready_first_line(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		told[0] = '\0';
		i ? listen_abstract() : listen_path();
		fake_reset(&fake_linux_7_3);
		fake_set_guest(0, talks, (char *)"\r\n\nhello\nyou\n");
		assert_int_equal(run(), 0);
		assert_int_equal(count("READY=1\n"), 1);
		assert_true(strstr(told, "STATUS=Starting") < strstr(told, "READY=1"));
		assert_true(strstr(told, "READY=1") < strstr(told, "STOPPING=1"));
		/* whoever is started by us is not the service */
		assert_null(getenv("NOTIFY_SOCKET"));
		close(manager);
		manager = -1;
	}
}

static void ready_not(void **state)
{
	(void)state;
	listen_path();
	fake_set_guest(0, talks, (char *)"\n\r\n  no line without an end");
	/* blanks are a line's content, so the last one would do if it ended */
	assert_int_equal(run(), 0);
	assert_int_equal(count("READY=1"), 0);
	assert_int_equal(count("STOPPING=1"), 1);
}

static void ready_regex(void **state)
{
	static const struct {
		const char *regex, *says;
		unsigned int ready;
	} t[] = {
		{ "^login: $", "hello\nlogin: ", 1 },	/* a prompt */
		{ "^login: $", "hello\nlogin: you\nx", 1 },
		{ "^a+b$", "aab\r\n", 1 },
		{ "up", "down\nsideways\n", 0 },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		told[0] = '\0';
		listen_path();
		fake_reset(&fake_linux_7_3);
		cfg.ready = READY_LINE;
		cfg.ready_set = true;
		cfg.ready_line = (char *)t[i].regex;
		fake_set_guest(0, talks, (char *)t[i].says);
		assert_int_equal(run(), 0);
		assert_int_equal(count("READY=1"), t[i].ready);
		assert_int_equal(strstr(logged, "the guest is up") != NULL, t[i].ready);
		close(manager);
		manager = -1;
	}
	cfg.ready_line = NULL;
}

static void ready_boot_only(void **state)
{
	(void)state;
	listen_path();
	cfg.ready = READY_BOOT;
	fake_set_guest(0, talks, (char *)"");
	assert_int_equal(run(), 0);
	assert_int_equal(count("READY=1"), 1);
}

/* What comes from the guest in one connection; a line may come in pieces. */
static void knock(const char *path, const char *const parts[])
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	fake_expect_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	for (; *parts; parts++) {
		fake_expect(send(fd, *parts, strlen(*parts), MSG_NOSIGNAL) > 0);
		usleep(20000);
	}
	close(fd);
	usleep(20000);
}

static char ready_path[128];

static void knocks(struct fake_cpu *c, void *ctx)
{
	static const char *const no[] = { "X_SYSTEMD_HOSTNAME=a\nREADY=11\n", "READY=", NULL };
	static const char *const yes[] = { "STATUS=b\nREA", "DY=1", NULL };
	bool *last = ctx;

	knock(ready_path, no);
	hear();
	fake_expect_eq(count("READY=1"), 0);
	if (*last)
		knock(ready_path, yes);
	usleep(50000);
	hear();
	fake_expect_eq(count("READY=1"), *last);
	fake_poweroff(c);
}

static void ready_vsock(void **state)
{
	char path[64];
	struct stat st;

	(void)state;
	snprintf(path, sizeof(path), "%s/vsock", dir);
	snprintf(ready_path, sizeof(ready_path), "%s_%u", path, 1024);
	for (int i = 0; i < 2; i++) {
		bool last = i;

		told[0] = '\0';
		listen_path();
		fake_reset(&fake_linux_7_3);
		cfg.ready = READY_VSOCK;
		cfg.ready_port = 1024;
		cfg.vsock.cid = 3;
		cfg.vsock.path = path;
		fake_set_guest(0, knocks, &last);
		assert_int_equal(run(), 0);
		assert_int_equal(count("READY=1"), i);
		assert_int_equal(stat(ready_path, &st), -1);
		close(manager);
		manager = -1;
	}
	cfg.vsock.path = NULL;
}

/* A launch that fails is told with its reason. */
static void failure(void **state)
{
	(void)state;
	listen_path();
	fake_fail_ioctl(KVM_CREATE_VM, 1, ENOMEM);
	assert_int_equal(run(), -ENOMEM);
	assert_int_equal(count("READY=1"), 0);
	assert_int_equal(count("ERRNO=12\nSTATUS=KVM_CREATE_VM"), 1);
}

static void nobody_there(void **state)
{
	static const char *const bad[] = { "relative", "@", "/", "vsock:2:1", "/nowhere/at/all", "" };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		fake_reset(&fake_linux_7_3);
		setenv("NOTIFY_SOCKET", bad[i], 1);
		fake_set_guest(0, talks, (char *)"hello\n");
		assert_int_equal(run(), 0);
		assert_int_equal(strstr(logged, "NOTIFY_SOCKET") != NULL, i != 4);
	}
}

/* ---- watchdog -------------------------------------------------------------------------------- */

static void lives(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	usleep(400000);
	fake_poweroff(c);
}

static void watchdog(void **state)
{
	static const struct {
		const char *usec;
		int pid;		/* 0: none, 1: ours, 2: another */
		bool fed;
	} t[] = {
		{ "100000", 0, true }, { "100000", 1, true }, { "100000", 2, false },
		{ "x", 1, false }, { "-5", 1, false }, { "0", 1, false }, { "99999999999999999999", 1, false },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		char pid[16];

		told[0] = '\0';
		listen_path();
		fake_reset(&fake_linux_7_3);
		setenv("WATCHDOG_USEC", t[i].usec, 1);
		snprintf(pid, sizeof(pid), "%d", t[i].pid == 1 ? getpid() : 1);
		unsetenv("WATCHDOG_PID");
		if (t[i].pid)
			setenv("WATCHDOG_PID", pid, 1);
		fake_set_guest(0, lives, NULL);
		assert_int_equal(run(), 0);
		/* twice in that time: 8 times in 400 ms, on a busy machine less */
		if (t[i].fed)
			assert_in_range(count("WATCHDOG=1"), 3, 12);
		else
			assert_int_equal(count("WATCHDOG=1"), 0);
		assert_null(getenv("WATCHDOG_USEC"));
		close(manager);
		manager = -1;
	}
}

/* ---- the end --------------------------------------------------------------------------------- */

static void button(void **state)
{
	static const struct {
		const char *how;
		unsigned int timeout;
		int code;
		unsigned int min_ms, max_ms;
	} t[] = {
		{ "off", 60, 0, 0, 30000 },
		{ "reset", 60, 0, 0, 30000 },		/* it is not started again */
		{ "stay", 1, 143, 1000, 30000 },	/* by force */
		{ "again", 60, 143, 0, 30000 },		/* the second SIGTERM */
	};

	(void)state;
	cfg.power_button = true;
	for (enum realm_mode mode = MODE_PLAIN; mode <= MODE_EMULATED; mode++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
			uint64_t begin = loop_now();

			told[0] = '\0';
			listen_path();
			cfg.mode = mode;
			cfg.stop_timeout = t[i].timeout;
			fake_reset(&fake_linux_7_3);
			fake_set_guest(0, has_button, (char *)t[i].how);
			assert_int_equal(run(), t[i].code);
			assert_int_equal(fake_boots(), 1);
			assert_in_range((loop_now() - begin) / 1000000, t[i].min_ms, t[i].max_ms);
			assert_int_equal(count("STOPPING=1"), 1);
			assert_non_null(strstr(logged, "power button"));
			assert_int_equal(strstr(logged, "within 1 s") != NULL, t[i].timeout == 1);
			close(manager);
			manager = -1;
		}
	}
}

static void button_held(void **state)
{
	(void)state;
	cfg.power_button = true;
	fake_set_guest(0, is_late, NULL);
	assert_int_equal(run(), 0);
}

static void no_time(void **state)
{
	(void)state;
	cfg.power_button = true;
	cfg.stop_timeout = 0;
	fake_set_guest(0, ends_itself, NULL);
	assert_int_equal(run(), 143);
	assert_null(strstr(logged, "is pressed"));
}

/* without the option there is nothing at that address */
static void looks(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_expect_eq(fake_read(c, io(MAP_GPIO_BASE + 0xfe0), 4), 0);
	fake_poweroff(c);
}

static void no_button(void **state)
{
	(void)state;
	fake_set_guest(0, looks, NULL);
	assert_int_equal(run(), 0);
}

/* ---- log ------------------------------------------------------------------------------------- */

/* These settings last, so a child has them. Return: what it wrote on stderr. */
static const char *child(void (*fn)(void))
{
	static char text[16384];
	size_t len = 0;
	ssize_t n;
	int p[2], status;
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		dup2(p[1], STDERR_FILENO);
		fn();
		_exit(0);
	}
	close(p[1]);
	while ((n = read(p[0], text + len, sizeof(text) - 1 - len)) > 0)
		len += n;
	close(p[0]);
	text[len] = '\0';
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return text;
}

static void journal(uint64_t more)
{
	char stream[64];
	struct stat st;

	fstat(STDERR_FILENO, &st);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)(st.st_ino + more));
	setenv("JOURNAL_STREAM", stream, 1);
	log_find_journal();
	log_set_level(LOG_DEBUG);
	log_error("a");
	log_warning("b");
	log_info("c");
	log_debug("d");
	log_fatal(&(struct err){ .msg = "e" });
}

static void to_journal(void) { journal(0); }
static void to_another(void) { journal(1); }

static void priorities(void **state)
{
	(void)state;
	assert_string_equal(child(to_journal), "<3>Error: a\n<4>Warning: b\n<6>Info: c\n<7>Debug: d\n"
						"<3>Fatal: e\n");
	/* stderr was redirected since */
	assert_string_equal(child(to_another), "Error: a\nWarning: b\nInfo: c\nDebug: d\nFatal: e\n");
}

static char nasty[1100];

static void to_json(void)
{
	log_set_json("my-vm");
	log_set_level(LOG_DEBUG);
	log_warning("a \"quoted\" \\ text\n\033[1m \xc3\xbc \xff");
	log_debug("%s", nasty);
	log_status("no status");
	log_fatal(&(struct err){ .msg = "end" });
}

static void json(void **state)
{
	const char *text, *p;
	unsigned int lines = 0;

	(void)state;
	memset(nasty, 1, sizeof(nasty) - 1);
	text = child(to_json);
	assert_int_equal(strncmp(text, "{\"time\":\"20", 11), 0);
	assert_non_null(strstr(text, "Z\",\"level\":\"warning\",\"vm\":\"my-vm\",\"message\":"
			       "\"a \\\"quoted\\\" \\\\ text\\u000a\\u001b[1m \xc3\xbc \\ufffd\"}\n"));
	assert_non_null(strstr(text, "\"level\":\"fatal\",\"vm\":\"my-vm\",\"message\":\"end\"}\n"));
	for (p = text; (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, 3);
#ifdef HAVE_JANSSON
	for (p = text; *p; p = strchr(p, '\n') + 1) {
		json_t *o = json_loadb(p, strchr(p, '\n') - p, JSON_REJECT_DUPLICATES, NULL);

		assert_non_null(o);
		assert_int_equal(json_object_size(o), 4);
		json_decref(o);
	}
#endif
}

static int group_setup(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int group_teardown(void **state)
{
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "%s/notify", dir);
	unlink(path);
	return rmdir(dir);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(ready_first_line), T(ready_not), T(ready_regex), T(ready_boot_only),
		T(ready_vsock),
		T(failure), T(nobody_there), T(watchdog), T(button), T(button_held), T(no_time),
		T(no_button), T(priorities), T(json),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
