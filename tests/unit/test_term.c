// SPDX-License-Identifier: BSD-3-Clause
/*
 * Each test runs the terminal in a forked child whose stdin and stdout are a pty, a pipe or a file
 * of the test; they tell each other through shared memory what happened.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/mkimage.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/loop.h"
#include "vmm/term.h"

#define PATIENCE_MS 10000		/* a loaded machine; a passing test waits for events only */

/* What the child reports (in_*, cols, ...) and what it is told. */
static struct shared {
	_Atomic int up;			/* the terminal is open, the loop runs */
	_Atomic size_t in_len;
	uint8_t in[1 << 20];
	_Atomic int cols, rows, resizes;
	_Atomic int leaves;
	_Atomic size_t room;		/* how much the device takes, in all */
	_Atomic size_t wrote;		/* by term_write() */
	_Atomic int writables, stops;
	_Atomic int fg, bg;		/* told to the little shell */
} *sh;

static struct loop loop;
static struct term *term;

#define CHECK(x) do { if (!(x)) { \
	dprintf(2, "child: %s:%d: %s\n", __FILE__, __LINE__, #x); _exit(99); } } while (0)

static void msleep(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

/* Wait until an expression holds. */
#define EVENTUALLY(x) do { \
	int left_ = PATIENCE_MS; \
	while (!(x) && left_-- > 0) \
		msleep(1); \
	assert_true(x); } while (0)

static int setup(void **state)
{
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sh->room = SIZE_MAX;
	return sh == MAP_FAILED;
}

static int teardown(void **state)
{
	mk_file_cleanup();
	return munmap(sh, sizeof(*sh));
}

/* ---- in the child ----------------------------------------------------------------------------*/

static size_t on_input(void *ctx, const void *buf, size_t len)
{
	size_t have = sh->in_len;

	len = MIN(len, sh->room);
	CHECK(have + len <= sizeof(sh->in));
	memcpy(sh->in + have, buf, len);
	if (sh->room != SIZE_MAX)
		sh->room -= len;
	sh->in_len = have + len;
	return len;
}

static void on_resize(void *ctx, uint16_t cols, uint16_t rows)
{
	uint16_t c, r;

	CHECK(term_size(term, &c, &r) && c == cols && r == rows);
	sh->cols = cols;
	sh->rows = rows;
	sh->resizes++;
}

static void on_leave(void *ctx)
{
	sh->leaves++;
	loop_stop(&loop);
}

static void on_writable(void *ctx)
{
	sh->writables++;
}

static const struct term_client client = {
	.input = on_input, .resize = on_resize, .leave = on_leave, .writable = on_writable,
};

static void child_open(void)
{
	struct err e;

	alarm(60);			/* nothing stays behind, whatever goes wrong */
	/* Without the sanitizer's reports, the signals below end the child as they would end lkvm.
	 */
	for (int sig = 1; sig < 32; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			signal(sig, SIG_DFL);
	CHECK(term_reserve_stdio() == 0);
	CHECK(loop_init(&loop, &e) == 0);
	CHECK(term_open_stdio(&loop, &client, &term, &e) == 0);
	CHECK(!strcmp(term_name(term), "stdio"));
}

static void child_close(void)
{
	term_close(term);
	loop_destroy(&loop);
}

static void serve(void)
{
	child_open();
	sh->up = 1;
	CHECK(loop_run(&loop) == 0);
	child_close();
}

/* Writes a known stream until all is taken, while the loop runs. */
static uint8_t stream_byte(size_t i)
{
	return 'a' + (i * 31 + i / 1000) % 26;
}

static size_t write_some(size_t upto)
{
	uint8_t buf[997];
	size_t n, at = sh->wrote, len = MIN(sizeof(buf), upto - at);

	for (size_t i = 0; i < len; i++)
		buf[i] = stream_byte(at + i);
	n = term_write(term, buf, len);
	CHECK(n <= len);
	sh->wrote = at + n;
	return n;
}

#define FLOOD 300000

static void flood(void)
{
	child_open();
	while (sh->wrote < FLOOD && write_some(FLOOD))
		;
	sh->up = 1;			/* it did not block, and took less than all */
	while (sh->wrote < FLOOD) {
		int before = sh->writables;

		while (sh->writables == before)
			CHECK(loop_once(&loop, 20000) >= 0);
		while (sh->wrote < FLOOD && write_some(FLOOD))
			;
	}
	CHECK(term_bytes_out(term) == FLOOD);
	term_flush(term, 20000);
	child_close();
}

/* ---- starting it -----------------------------------------------------------------------------*/

struct child {
	pid_t pid;
	int master;			/* of the pty */
	int slave;
	struct termios before;
};

static void pty_make(struct child *c)
{
	struct winsize w = { .ws_col = 132, .ws_row = 43 };

	c->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(c->master >= 0);
	assert_int_equal(unlockpt(c->master), 0);
	c->slave = open(ptsname(c->master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(c->slave >= 0);
	assert_int_equal(ioctl(c->master, TIOCSWINSZ, &w), 0);
	assert_int_equal(tcgetattr(c->slave, &c->before), 0);
	assert_true(c->before.c_lflag & ICANON);
}

static void on_pty(struct child *c)
{
	close(c->master);
	setsid();
	ioctl(c->slave, TIOCSCTTY, 0);
	dup2(c->slave, 0);
	dup2(c->slave, 1);
	dup2(c->slave, 2);
}

/* fn on a pty of its own. */
static void start(struct child *c, void (*fn)(void))
{
	pty_make(c);
	c->pid = fork();
	if (!c->pid) {
		on_pty(c);
		fn();
		_exit(0);
	}
	EVENTUALLY(sh->up);
}

/* fn with these as stdin and stdout; -1: closed. */
static pid_t start_on(int in, int out, void (*fn)(void))
{
	pid_t pid = fork();

	if (pid)
		return pid;
	close(0);
	close(1);
	if (in >= 0)
		dup2(in, 0);
	if (out >= 0)
		dup2(out, 1);
	fn();
	_exit(0);
}

static bool same_termios(struct child *c, bool raw)
{
	struct termios now;

	if (tcgetattr(c->slave, &now) < 0)
		return false;
	if (raw)
		return !(now.c_lflag & (ICANON | ECHO | ISIG)) && !(now.c_oflag & OPOST) &&
			!(now.c_iflag & (ICRNL | IXON));
	return now.c_lflag == c->before.c_lflag && now.c_iflag == c->before.c_iflag &&
		now.c_oflag == c->before.c_oflag && now.c_cflag == c->before.c_cflag;
}

static void type(struct child *c, const char *text, size_t len)
{
	assert_int_equal(write(c->master, text, len), len);
}

static int reap(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void end(struct child *c, int want)
{
	assert_int_equal(reap(c->pid), want);
	assert_true(same_termios(c, false));
	close(c->master);
	close(c->slave);
}

static void assert_input(const char *want, size_t len)
{
	EVENTUALLY(sh->in_len >= len);
	assert_int_equal(sh->in_len, len);
	assert_memory_equal(sh->in, want, len);
}

/* ---- terminal --------------------------------------------------------------------------------*/

static void raw_and_back(void **state)
{
	static const char keys[] = "a\003\032\034\r\n\021\023\177\0z";	/* ctrl-c, ctrl-z, ... */
	struct child c;

	start(&c, serve);
	EVENTUALLY(same_termios(&c, true));
	type(&c, keys, sizeof(keys));
	assert_input(keys, sizeof(keys));
	assert_int_equal(sh->leaves, 0);
	type(&c, "\001x", 2);
	end(&c, 0);
	assert_int_equal(sh->leaves, 1);
	assert_int_equal(sh->in_len, sizeof(keys));
}

static void escape_keys(void **state)
{
	struct child c;
	char out[1000];
	size_t n = 0;

	start(&c, serve);
	type(&c, "\001a" "\001\001" "\001z" "1\0012" "xh", 11);
	assert_input("\001" "\001" "\001z" "1\0012" "xh", 9);
	type(&c, "\001", 1);			/* the two keys come apart */
	msleep(20);
	assert_int_equal(sh->in_len, 9);
	type(&c, "a", 1);
	assert_input("\001" "\001" "\001z" "1\0012" "xh" "\001", 10);
	type(&c, "\001h", 2);
	do {
		ssize_t got = read(c.master, out + n, sizeof(out) - 1 - n);

		assert_true(got > 0);
		n += got;
		out[n] = '\0';
	} while (!strstr(out, "this help\r\n"));
	assert_non_null(strstr(out, "ctrl-a x"));
	assert_int_equal(sh->in_len, 10);
	type(&c, "\001x", 2);
	end(&c, 0);
}

static void hung_guest(void **state)
{
	char line[1000];
	struct child c;

	memset(line, 'k', sizeof(line));
	sh->room = 3;
	start(&c, serve);
	for (int i = 0; i < 100; i++) {		/* more than is kept */
		type(&c, line, sizeof(line));
		msleep(1);
	}
	type(&c, "\001x", 2);
	end(&c, 0);
	assert_int_equal(sh->in_len, 3);
}

static void fault(void)
{
	volatile char *page = mmap(NULL, SZ_4K, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	child_open();
	sh->up = 1;
	while (!sh->fg)
		msleep(1);
	*page = 1;
}

static void call_abort(void)
{
	child_open();
	sh->up = 1;
	while (!sh->fg)
		msleep(1);
	abort();
}

/* Sent by the kernel, yet no fault. */
static void time_out(void)
{
	struct itimerval soon = { .it_value.tv_usec = 1000 };

	child_open();
	sh->up = 1;
	while (!sh->fg)
		msleep(1);
	setitimer(ITIMER_REAL, &soon, NULL);
	loop_run(&loop);
}

static void call_exit(void)
{
	child_open();
	sh->up = 1;
	while (!sh->fg)
		msleep(1);
	exit(7);
}

static void crash(void **state)
{
	static const struct {
		void (*fn)(void);
		int sig, status;
	} row[] = {
		{ fault, 0, SIGSEGV },
		{ call_abort, 0, SIGABRT },
		{ call_exit, 0, 7 << 8 },
		{ time_out, 0, SIGALRM },
		{ serve, SIGTERM, SIGTERM },
		{ serve, SIGINT, SIGINT },
		{ serve, SIGHUP, SIGHUP },
		{ serve, SIGQUIT, SIGQUIT },
		{ serve, SIGSEGV, SIGSEGV },
		{ serve, SIGBUS, SIGBUS },
		{ serve, SIGILL, SIGILL },
		{ serve, SIGSYS, SIGSYS },
		{ serve, SIGUSR1, SIGUSR1 },
	};
	struct rlimit no_core = { 0, 0 };

	setrlimit(RLIMIT_CORE, &no_core);
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		struct child c;

		sh->up = sh->fg = 0;
		start(&c, row[i].fn);
		EVENTUALLY(same_termios(&c, true));
		sh->fg = 1;
		if (row[i].sig)
			kill(c.pid, row[i].sig);
		int status = reap(c.pid);

		if ((status & ~0x80) != row[i].status)
			fail_msg("row %zu: status %#x", i, status);
		assert_true(same_termios(&c, false));
		close(c.master);
		close(c.slave);
	}
}

static void hang_up(void **state)
{
	struct child c;

	start(&c, serve);
	EVENTUALLY(same_termios(&c, true));
	close(c.master);
	close(c.slave);
	assert_int_equal(reap(c.pid), SIGHUP);
}

static volatile sig_atomic_t seen;

static void earlier_handler(int sig)
{
	seen = 1;
}

/* A handler that was there before is called after ours, and ours is gone after term_close(). */
static void chain(void)
{
	struct sigaction sa = { .sa_handler = earlier_handler }, now;
	struct err e;

	alarm(60);
	CHECK(loop_init(&loop, &e) == 0);
	sigaction(SIGFPE, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	CHECK(term_open_stdio(&loop, &client, &term, &e) == 0);
	raise(SIGTERM);			/* the machine's own handler is left alone */
	CHECK(seen == 1);
	seen = 0;
	raise(SIGFPE);
	CHECK(seen == 1);
	child_close();
	sigaction(SIGABRT, NULL, &now);
	CHECK(now.sa_handler == SIG_DFL || (now.sa_flags & SA_SIGINFO));
	sigaction(SIGTERM, NULL, &now);
	CHECK(now.sa_handler == earlier_handler);
	sigaction(SIGTSTP, NULL, &now);
	CHECK(now.sa_handler == SIG_DFL);
	sh->up = 1;
}

static void earlier_handlers(void **state)
{
	struct child c;

	start(&c, chain);
	end(&c, 0);
}

static void window_size(void **state)
{
	struct winsize w = { .ws_col = 80, .ws_row = 25 };
	struct child c;

	start(&c, serve);
	EVENTUALLY(sh->cols == 132 && sh->rows == 43);
	assert_int_equal(ioctl(c.master, TIOCSWINSZ, &w), 0);
	EVENTUALLY(sh->cols == 80 && sh->rows == 25);
	assert_int_equal(sh->resizes, 2);
	type(&c, "\001x", 2);
	end(&c, 0);
}

/* What a shell does with a job: stops it, lets it go on in the background and the foreground. */
static void job_control(void **state)
{
	struct child c;
	pid_t shell_pid, job;
	int status;

	pty_make(&c);
	shell_pid = fork();
	if (!shell_pid) {
		pid_t pid;

		on_pty(&c);
		signal(SIGTTOU, SIG_IGN);
		alarm(60);
		pid = fork();
		if (!pid) {
			setpgid(0, 0);
			tcsetpgrp(0, getpid());
			serve();
			_exit(0);
		}
		atomic_store(&sh->wrote, pid);
		for (;;) {
			if (waitpid(pid, &status, WUNTRACED) != pid)
				_exit(98);
			tcsetpgrp(0, getpid());
			if (WIFEXITED(status))
				_exit(WEXITSTATUS(status));
			if (WIFSIGNALED(status))
				_exit(97);
			sh->stops++;
			while (!sh->bg)
				msleep(1);
			kill(-pid, SIGCONT);
			while (!sh->fg)
				msleep(1);
			tcsetpgrp(0, pid);	/* it runs already: nobody tells it */
		}
	}
	EVENTUALLY(sh->up);
	job = sh->wrote;
	EVENTUALLY(same_termios(&c, true));

	kill(job, SIGTSTP);
	EVENTUALLY(sh->stops == 1);
	assert_true(same_termios(&c, false));

	sh->bg = 1;
	msleep(200);
	assert_true(same_termios(&c, false));	/* in the background it keeps its hands off */
	type(&c, "for the shell\n", 14);
	msleep(200);
	assert_int_equal(sh->in_len, 0);
	tcflush(c.slave, TCIFLUSH);

	sh->fg = 1;
	EVENTUALLY(same_termios(&c, true));
	type(&c, "hello", 5);
	assert_input("hello", 5);
	assert_int_equal(sh->stops, 1);		/* it was not stopped for reading */
	type(&c, "\001x", 2);
	assert_int_equal(waitpid(shell_pid, &status, 0), shell_pid);
	assert_int_equal(status, 0);
	assert_true(same_termios(&c, false));
	close(c.master);
	close(c.slave);
}

/* Nobody reads the terminal: neither the writer nor its end waits for that. */
static void stopped_terminal(void **state)
{
	struct child c;

	start(&c, flood);
	assert_true(sh->wrote >= SZ_64K);
	assert_true(sh->wrote < FLOOD);
	kill(c.pid, SIGTERM);
	end(&c, SIGTERM);
}

static void tty_in_only(void **state)
{
	struct child c;
	int out[2];

	pty_make(&c);
	assert_int_equal(pipe(out), 0);
	c.pid = fork();
	if (!c.pid) {
		on_pty(&c);
		dup2(out[1], 1);
		serve();
		_exit(0);
	}
	EVENTUALLY(sh->up);
	assert_true(same_termios(&c, false));	/* line editing and ctrl-c stay */
	type(&c, "line\n", 5);
	assert_input("line\n", 5);
	type(&c, "\003", 1);
	end(&c, SIGINT);
	close(out[0]);
	close(out[1]);
}

/* ---- no terminal -----------------------------------------------------------------------------*/

static void closed_body(void)
{
	struct stat st;

	child_open();
	/* what was closed is /dev/null now, and not the loop's descriptor */
	CHECK(fstat(0, &st) == 0 && S_ISCHR(st.st_mode) && !isatty(0));
	CHECK(fstat(1, &st) == 0 && S_ISCHR(st.st_mode));
	CHECK(term_write(term, "lost", 4) == 4);
	for (int i = 0; i < 3; i++)
		CHECK(loop_once(&loop, 10) >= 0);
	CHECK(sh->in_len == 0);
	child_close();
}

static void closed(void **state)
{
	assert_int_equal(reap(start_on(-1, -1, closed_body)), 0);
}

/* A file is read to its end as the device has room, byte for byte, escape characters too. */
static void file_body(void)
{
	child_open();
	for (int i = 0; i < 5000 && sh->in_len < 100000; i++) {
		CHECK(loop_once(&loop, 5000) >= 0);
		if (sh->room == 0) {
			size_t n = sh->in_len;

			CHECK(loop_once(&loop, 0) >= 0);	/* it waits for us */
			CHECK(sh->in_len == n);
			sh->room = 777;
			term_input_ready(term);
		}
	}
	sh->room = 777;
	term_input_ready(term);
	for (int i = 0; i < 3; i++)
		CHECK(loop_once(&loop, 10) >= 0);
	CHECK(sh->leaves == 0);
	child_close();
}

static struct blob hundred_k(void)
{
	struct blob b = { malloc(100000), 100000 };

	for (size_t i = 0; i < b.len; i++)
		b.p[i] = i * 7 + i / 256;
	memcpy(b.p, "\001x\001x", 4);
	return b;
}

static void file_in(void **state)
{
	struct blob b = hundred_k();
	int fd = open(mk_file(b), O_RDONLY);

	sh->room = 16;
	assert_int_equal(reap(start_on(fd, 1, file_body)), 0);
	assert_int_equal(sh->in_len, b.len);
	assert_memory_equal(sh->in, b.p, b.len);
	close(fd);

	/* no limit: in rounds, so that others get the loop */
	sh->in_len = 0;
	sh->room = SIZE_MAX;
	fd = open(mk_file(b), O_RDONLY);
	assert_int_equal(reap(start_on(fd, 1, file_body)), 0);
	assert_int_equal(sh->in_len, b.len);
	assert_memory_equal(sh->in, b.p, b.len);
	close(fd);
	blob_free(&b);
}

static void feed_pipe(int fd, struct blob b)
{
	for (size_t done = 0; done < b.len;) {
		ssize_t n = write(fd, b.p + done, MIN(b.len - done, 5000));

		assert_true(n > 0);
		done += n;
	}
}

static void pipe_in(void **state)
{
	struct blob b = hundred_k();
	int fd[2];

	for (int sock = 0; sock < 2; sock++) {
		pid_t pid;

		sh->in_len = 0;
		sh->room = 16;
		if (sock)
			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
		else
			assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
		fcntl(fd[1], F_SETFD, FD_CLOEXEC);
		pid = fork();			/* a reader that owns no writing end */
		if (!pid) {
			close(fd[1]);
			_exit(WEXITSTATUS(reap(start_on(fd[0], 1, file_body))));
		}
		close(fd[0]);
		feed_pipe(fd[1], b);
		close(fd[1]);
		assert_int_equal(reap(pid), 0);
		assert_int_equal(sh->in_len, b.len);
		assert_memory_equal(sh->in, b.p, b.len);
	}
	blob_free(&b);
}

static long cpu_ms(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_utime.tv_sec * 1000 + ru.ru_utime.tv_usec / 1000 +
		ru.ru_stime.tv_sec * 1000 + ru.ru_stime.tv_usec / 1000;
}

/* The end of a pipe, with a device that is full, must not keep the loop spinning. */
static void idle_body(void)
{
	long before;

	child_open();
	CHECK(loop_once(&loop, 1000) >= 0);
	CHECK(loop_once(&loop, 100) >= 0);
	before = cpu_ms();
	for (int i = 0; i < 10; i++) {
		int n = loop_once(&loop, 30);

		CHECK(n >= 0 && (i < 5 || n == 0));
	}
	CHECK(cpu_ms() - before < 150);
	child_close();
}

static void no_spin(void **state)
{
	int in[2], out[2];

	for (int i = 0; i < 2; i++) {
		pid_t pid;

		sh->room = i ? SIZE_MAX : 3;
		assert_int_equal(pipe(in), 0);
		assert_int_equal(pipe(out), 0);
		assert_int_equal(write(in[1], "abcdef", 6), 6);
		close(in[1]);
		close(out[0]);
		pid = start_on(in[0], out[1], idle_body);
		close(in[0]);
		close(out[1]);
		assert_int_equal(reap(pid), 0);
	}
}

/* ---- output ----------------------------------------------------------------------------------*/

static void read_flood(int fd)
{
	uint8_t buf[4096];
	size_t at = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++, at++)
			if (buf[i] != stream_byte(at))
				fail_msg("byte %zu is wrong", at);
	assert_int_equal(at, FLOOD);
}

static void as_nobody(void)
{
	/* Now the pipe is another user's: it cannot be opened again. */
	if (geteuid() == 0)
		CHECK(setresuid(65534, 65534, 65534) == 0);
	flood();
}

static void slow_reader(void **state)
{
	for (int kind = 0; kind < 3; kind++) {
		int fd[2];
		pid_t pid;

		sh->up = sh->writables = 0;
		sh->wrote = 0;
		if (kind == 1)
			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
		else
			assert_int_equal(pipe(fd), 0);
		pid = start_on(-1, fd[1], kind == 2 ? as_nobody : flood);
		EVENTUALLY(sh->up);
		assert_true(sh->wrote >= SZ_64K);
		assert_true(sh->wrote < FLOOD);
		/* what we share with it was not made non-blocking */
		assert_int_equal(fcntl(fd[1], F_GETFL) & O_NONBLOCK, 0);
		close(fd[1]);
		read_flood(fd[0]);
		close(fd[0]);
		assert_int_equal(reap(pid), 0);
		assert_true(sh->writables > 0);
	}
}

static void file_out(void **state)
{
	const char *name = mk_file((struct blob){ NULL, 0 });
	int fd = open(name, O_RDWR | O_APPEND);

	assert_int_equal(reap(start_on(-1, fd, flood)), 0);
	lseek(fd, 0, SEEK_SET);
	read_flood(fd);
	close(fd);
}

static void gone_body(void)
{
	child_open();
	while (sh->wrote < FLOOD)
		CHECK(write_some(FLOOD) > 0);
	for (int i = 0; i < 3; i++)
		CHECK(loop_once(&loop, 10) >= 0);
	child_close();
}

static void reader_gone(void **state)
{
	for (int kind = 0; kind < 3; kind++) {
		int fd[2];
		pid_t pid;

		sh->wrote = 0;
		if (kind == 0) {
			assert_int_equal(pipe(fd), 0);
		} else if (kind == 1) {
			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
		} else {
			fd[0] = open("/dev/null", O_RDONLY);
			fd[1] = open("/dev/full", O_WRONLY);	/* said once, then silence */
			assert_true(fd[1] >= 0);
		}
		close(fd[0]);
		log_set_level(LOG_ERROR);
		pid = start_on(-1, fd[1], gone_body);
		close(fd[1]);
		assert_int_equal(reap(pid), 0);
	}
}

/* ---- pty -------------------------------------------------------------------------------------*/

static void pty_body(void)
{
	uint8_t got[5000];
	struct err e;
	ssize_t n;
	int fd;

	alarm(60);
	CHECK(loop_init(&loop, &e) == 0);
	CHECK(term_open_pty(&loop, &client, NULL, &term, &e) == 0);
	CHECK(!strncmp(term_name(term), "/dev/", 5));
	for (int i = 0; i < 3; i++)			/* nobody attached: no error, no spinning */
		CHECK(loop_once(&loop, 10) >= 0);
	CHECK(loop_once(&loop, 10) == 0);

	for (int round = 0; round < 2; round++) {	/* attach, use, detach, again */
		fd = open(term_name(term), O_RDWR | O_NOCTTY);
		CHECK(fd >= 0);
		CHECK(term_write(term, "login:\n", 7) == 7);
		n = read(fd, got, sizeof(got));
		CHECK(n == 7 && !memcmp(got, "login:\n", 7));	/* raw: no CR */
		sh->in_len = 0;
		CHECK(write(fd, "root\r\001x", 7) == 7);
		for (int i = 0; i < 100 && sh->in_len < 7; i++)
			CHECK(loop_once(&loop, 100) >= 0);
		CHECK(sh->in_len == 7 && !memcmp(sh->in, "root\r\001x", 7));
		CHECK(sh->leaves == 0);
		close(fd);
		CHECK(loop_once(&loop, 10) == 0);
	}

	/* A flood that nobody reads: it goes on after a second, the end of it is kept. */
	while (sh->wrote < FLOOD) {
		int before = sh->writables;

		if (write_some(FLOOD))
			continue;
		while (sh->writables == before)
			CHECK(loop_once(&loop, 5000) > 0);
	}
	fd = open(term_name(term), O_RDWR | O_NOCTTY | O_NONBLOCK);
	CHECK(fd >= 0);
	size_t total = 0, last = 0;

	for (int i = 0; i < 2000; i++) {
		n = read(fd, got, sizeof(got));
		if (n > 0) {
			total += n;
			last = got[n - 1];
		}
		CHECK(loop_once(&loop, n > 0 ? 0 : 1) >= 0);
	}
	CHECK(total >= SZ_64K && total < FLOOD);
	CHECK(last == stream_byte(FLOOD - 1));
	close(fd);
	child_close();
}

static void pty(void **state)
{
	assert_int_equal(reap(start_on(0, 1, pty_body)), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(raw_and_back), T(escape_keys), T(hung_guest), T(crash), T(hang_up),
		T(earlier_handlers),
		T(window_size), T(job_control), T(stopped_terminal), T(tty_in_only), T(closed),
		T(file_in), T(pipe_in), T(no_spin), T(slow_reader), T(file_out), T(reader_gone),
		T(pty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
