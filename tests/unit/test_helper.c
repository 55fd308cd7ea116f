// SPDX-License-Identifier: BSD-3-Clause
/* Helper processes, played by shell scripts. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/helper.h"

static char dir[] = "/tmp/test-helper-XXXXXX";
static char *const words[] = { dir };

static int setup(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(words[0]));
	return 0;
}

static int teardown(void **state)
{
	char cmd[64];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	return system(cmd) ? -1 : 0;
}

static char *script(const char *name, const char *text)
{
	static char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\n%s\n", text);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0755), 0);
	return path;
}

/* stderr goes to a file while this runs */
static void capture(char *buf, size_t room, void (*fn)(void *ctx), void *ctx)
{
	char path[64];
	int fd, old = dup(2);
	ssize_t n;

	snprintf(path, sizeof(path), "%s/log", dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	dup2(fd, 2);
	fn(ctx);
	dup2(old, 2);
	close(old);
	n = pread(fd, buf, room - 1, 0);
	assert_true(n >= 0);
	buf[n] = '\0';
	close(fd);
}

static bool ends(struct helper *h)
{
	struct pollfd p = { .fd = helper_pidfd(h), .events = POLLIN };

	return poll(&p, 1, 10000) == 1;
}

static void finds(void **state)
{
	char *old = strdup(getenv("PATH")), *want = strdup(script("tool", "exit 0")), *got;
	char path[256];

	(void)state;
	snprintf(path, sizeof(path), "/nowhere::%s", dir);
	setenv("PATH", path, 1);
	got = helper_find("tool");
	assert_non_null(got);
	assert_string_equal(got, want);
	free(got);
	/* a name with a slash is taken as it is */
	got = helper_find(want);
	assert_non_null(got);
	assert_string_equal(got, want);
	free(got);
	/* beside this program, wherever $PATH leads */
	setenv("PATH", "/nowhere", 1);
	got = helper_find("test_helper");
	assert_non_null(got);
	free(got);
	assert_null(helper_find("tool"));
	/* neither a folder nor a file that cannot be run is a program */
	setenv("PATH", "/", 1);
	assert_null(helper_find("tmp"));
	chmod(want, 0644);
	setenv("PATH", dir, 1);
	assert_null(helper_find("tool"));
	setenv("PATH", old, 1);
	free(old);
	free(want);
}

static void missing(void **state)
{
	const struct helper_cfg cfg = {
		.argv = (const char *[]){ "no-such-tool", NULL },
		.package = "tools",
		.instead = "use another",
	};
	struct helper *h;
	struct err e;

	(void)state;
	assert_int_equal(helper_start(&cfg, &h, &e), -ENOENT);
	assert_null(h);
	assert_non_null(strstr(e.msg, "no-such-tool"));
	assert_non_null(strstr(e.msg, "apt install tools"));
	assert_non_null(strstr(e.msg, "use another"));
}

static void cannot_run(void **state)
{
	char *path = script("bad", "");
	const struct helper_cfg cfg = { .argv = (const char *[]){ path, NULL }, .package = "x" };
	FILE *f = fopen(path, "w");
	struct helper *h;
	struct err e;

	(void)state;
	fputs("#!/no/interpreter\n", f);
	fclose(f);
	assert_int_equal(helper_start(&cfg, &h, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "cannot start"));
}

/* Only the descriptors it is meant to have, at their numbers; no blocked or ignored signals. */
static void descriptors(void **state)
{
	int sv[2], other[2];
	char arg[16], buf[1024] = "";
	const struct helper_cfg cfg = {
		.argv = (const char *[]){ script("fds",
			"for f in /proc/$$/fd/*; do l=\"$l ${f##*/}\"; done\n"
			"m=$(grep -E '^Sig(Blk|Ign)' /proc/$$/status | tr -d '\\t\\n')\n"
			"echo \"[$l] $m $(readlink /proc/$$/fd/0)\" >&$1"), arg, NULL },
		.package = "x",
		.fd = sv,
		.nr_fds = 1,
	};
	sigset_t set;
	struct helper *h;
	struct err e;
	ssize_t n;
	char want[16];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(pipe(other), 0);	/* not even marked to be closed */
	snprintf(arg, sizeof(arg), "%d", sv[0]);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(helper_start(&cfg, &h, &e), 0);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	close(sv[0]);
	n = read(sv[1], buf, sizeof(buf) - 1);
	assert_true(n > 0);
	assert_non_null(strstr(buf, "[ 0 1"));
	snprintf(want, sizeof(want), " %d", sv[0]);
	assert_non_null(strstr(buf, want));
	snprintf(want, sizeof(want), " %d", other[0]);
	assert_null(strstr(buf, want));
	snprintf(want, sizeof(want), " %d", other[1]);
	assert_null(strstr(buf, want));
	/* 32 and 33 belong to the C library, which lets nobody touch them; they may be inherited */
	if (!strstr(buf, "SigBlk:0000000000000000") ||
	    (!strstr(buf, "SigIgn:0000000000000000") && !strstr(buf, "SigIgn:0000000180000000")))
		fail_msg("signals of a helper: %s", buf);
	assert_non_null(strstr(buf, "/dev/null"));
	assert_true(ends(h));
	helper_stop(h, 0);
	close(sv[1]);
	close(other[0]);
	close(other[1]);
}

static void talk(void *ctx)
{
	const struct helper_cfg cfg = {
		.argv = (const char *[]){ script("talk",
			"echo one; printf 'two\\033[2J\\n' >&2; printf three; exit 3"), NULL },
		.package = "x",
		.level = LOG_ERROR,
	};
	struct helper *h;
	struct err e;

	log_set_level(LOG_WARNING);
	assert_int_equal(helper_start(&cfg, &h, &e), 0);
	assert_true(ends(h));
	assert_false(helper_alive(h));
	assert_int_equal(helper_error(h, "disk x", ctx), -EPIPE);
	helper_stop(h, 0);
	log_set_level(LOG_ERROR);
}

static void log_and_end(void **state)
{
	char buf[1024];
	struct err e;

	(void)state;
	capture(buf, sizeof(buf), talk, &e);
	assert_non_null(strstr(buf, "Error: talk: one\n"));
	assert_non_null(strstr(buf, "Error: talk: two[2J\n"));
	assert_non_null(strstr(buf, "Error: talk: three\n"));
	assert_non_null(strstr(buf, "Warning: talk ended with code 3: three\n"));
	assert_string_equal(e.msg, "disk x: talk ended with code 3: three");
}

/* One that does something and ends: its code counts, and is no warning. */
static void wait_for(void *ctx)
{
	char *path = script("work", "exit $1");
	const char *argv[] = { path, "0", NULL };
	const struct helper_cfg cfg = {
		.argv = argv, .package = "x", .level = LOG_ERROR, .ends = true,
	};
	struct helper *h;
	struct err e;

	(void)ctx;
	log_set_level(LOG_WARNING);
	assert_int_equal(helper_start(&cfg, &h, &e), 0);
	assert_int_equal(helper_wait(h, 10000, &e), 0);
	helper_stop(h, 0);
	argv[1] = "5";
	assert_int_equal(helper_start(&cfg, &h, &e), 0);
	assert_int_equal(helper_wait(h, 10000, &e), -EPIPE);
	assert_non_null(strstr(e.msg, "ended with code 5"));
	helper_stop(h, 0);
	script("work", "exec sleep 100");
	assert_int_equal(helper_start(&cfg, &h, &e), 0);
	assert_int_equal(helper_wait(h, 10, &e), -ETIMEDOUT);
	helper_stop(h, 0);
	log_set_level(LOG_ERROR);
}

static void waits(void **state)
{
	char buf[1024];

	(void)state;
	capture(buf, sizeof(buf), wait_for, NULL);
	assert_string_equal(buf, "");
}

static void stop(void *ctx)
{
	const struct helper_cfg cfg = {
		/* neither it nor what it forked minds SIGTERM */
		.argv = (const char *[]){ script("stubborn",
			"trap '' TERM; (echo $$; while :; do sleep 1; done) &\n"
			"echo up; while :; do sleep 1; done"), NULL },
		.package = "x",
		.level = LOG_ERROR,
	};
	struct helper *h;
	struct err e;

	(void)ctx;
	assert_int_equal(helper_start(&cfg, &h, &e), 0);
	usleep(200000);
	assert_true(helper_alive(h));
	assert_int_equal(helper_error(h, "x", &e), -ETIMEDOUT);
	helper_stop(h, 100);
}

static void stubborn(void **state)
{
	char buf[1024], *p;
	pid_t pid;
	int n = 100;

	(void)state;
	capture(buf, sizeof(buf), stop, NULL);
	assert_null(strstr(buf, "Warning"));	/* its end was wanted */
	p = strpbrk(buf, "0123456789");
	assert_non_null(p);
	pid = atoi(p);
	assert_true(pid > 1);
	while (kill(-pid, 0) == 0 && n--)
		usleep(50000);		/* until init has reaped what it forked */
	assert_int_equal(kill(-pid, 0), -1);
	assert_int_equal(errno, ESRCH);
}

/* It ends with the process that started it, however that ended. */
static void dies_with_us(void **state)
{
	const struct helper_cfg cfg = {
		.argv = (const char *[]){ script("sleeper", "exec sleep 1000"), NULL },
		.package = "x",
	};
	struct pollfd p = {0};
	int fds[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (!pid) {
		struct helper_cfg with = cfg;
		struct helper *h;
		struct err e;

		close(fds[0]);
		with.fd = &fds[1];	/* the pipe tells when the last holder is gone */
		with.nr_fds = 1;
		if (helper_start(&with, &h, &e) < 0)
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	close(fds[1]);
	waitpid(pid, NULL, 0);
	p = (struct pollfd){ .fd = fds[0], .events = POLLIN };
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_true(p.revents & POLLHUP);
	close(fds[0]);
}

static void private_socket(void **state)
{
	char *old = getenv("TMPDIR"), buf[8];
	int listener, conn, peer;
	struct err e;

	(void)state;
	old = old ? strdup(old) : NULL;
	setenv("TMPDIR", dir, 1);
	assert_int_equal(helper_socket(&listener, &conn, &e), 0);
	assert_int_equal(write(conn, "early", 5), 5);
	peer = accept(listener, NULL, NULL);
	assert_true(peer >= 0);
	assert_int_equal(read(peer, buf, sizeof(buf)), 5);
	close(peer);
	close(listener);
	close(conn);
	/* nothing is left of it */
	snprintf(buf, sizeof(buf), "%s", "");
	assert_int_not_equal(system("ls $TMPDIR | grep -q realmtool-"), 0);
	setenv("TMPDIR", "/no/such/folder", 1);
	assert_int_equal(helper_socket(&listener, &conn, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "TMPDIR"));
	if (old)
		setenv("TMPDIR", old, 1);
	else
		unsetenv("TMPDIR");
	free(old);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds),
		cmocka_unit_test(missing),
		cmocka_unit_test(cannot_run),
		cmocka_unit_test(descriptors),
		cmocka_unit_test(log_and_end),
		cmocka_unit_test(waits),
		cmocka_unit_test(stubborn),
		cmocka_unit_test(dies_with_us),
		cmocka_unit_test(private_socket),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, setup, teardown);
}
