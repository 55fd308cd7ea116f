// SPDX-License-Identifier: BSD-3-Clause
/*
 * ptyrun [STEP...] -- COMMAND...: runs COMMAND on a new terminal and plays its user.
 *
 * Steps, in this order of the command line:
 *   -e TEXT       wait until TEXT has appeared in the output since the last step
 *   -s TEXT       type TEXT; \n, \r, \t, \\ and \xNN are understood
 *   -w COLSxROWS  change the size of the terminal (80x24 at the start)
 *   -k SIGNAL     send this signal (a number) to COMMAND
 *   -z MS         wait
 * and -t S (before all steps): seconds until all must be over, default 30.
 *
 * The output goes to stdout. The last line on stderr is "ptyrun: exit N terminal same|changed", N as
 * a shell has it, the terminal compared with what it was before COMMAND. Exit code: COMMAND's own,
 * 125 if a step failed or time was up (COMMAND is killed then).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define FAILED 125

static int master;
static pid_t child;
static char seen[1 << 16];		/* output since the last step that waited */
static size_t nr_seen;
static long long deadline;

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static void give_up(const char *what, const char *arg)
{
	fprintf(stderr, "ptyrun: %s %s\n", what, arg);
	kill(child, SIGKILL);
	exit(FAILED);
}

/* Takes over what the command printed; false: it hung up or nothing came in time. */
static bool pump(int ms)
{
	struct pollfd p = { .fd = master, .events = POLLIN };
	char buf[4096];
	ssize_t n;

	if (poll(&p, 1, ms) <= 0)
		return false;
	n = read(master, buf, sizeof(buf));
	if (n <= 0)
		return false;		/* EIO: the other side is closed */
	if (write(STDOUT_FILENO, buf, n) != n)
		exit(FAILED);
	if (nr_seen + (size_t)n >= sizeof(seen)) {
		memmove(seen, seen + sizeof(seen) / 2, nr_seen - sizeof(seen) / 2);
		nr_seen -= sizeof(seen) / 2;
	}
	for (ssize_t i = 0; i < n; i++)
		seen[nr_seen++] = buf[i] ? buf[i] : '?';
	seen[nr_seen] = '\0';
	return true;
}

/* The command has ended; its exit code stays to be fetched. */
static bool ended(void)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid;
}

static void expect(const char *text)
{
	char *at;

	while (!(at = strstr(seen, text))) {
		if (now_ms() > deadline)
			give_up("waited in vain for", text);
		if (!pump(100) && ended() && !pump(0))
			give_up("the command ended before it said", text);
	}
	at += strlen(text);
	nr_seen -= at - seen;
	memmove(seen, at, nr_seen + 1);
}

static void type(const char *s)
{
	for (; *s; s++) {
		char c = *s;

		if (c == '\\' && s[1]) {
			c = *++s;
			if (c == 'x' && s[1] && s[2]) {
				char hex[3] = { s[1], s[2], 0 };

				c = (char)strtoul(hex, NULL, 16);
				s += 2;
			} else {
				c = c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
			}
		}
		if (write(master, &c, 1) != 1)
			give_up("cannot type", s);
	}
}

static void resize(const char *arg)
{
	struct winsize w = { 0 };

	if (sscanf(arg, "%hux%hu", &w.ws_col, &w.ws_row) != 2 || ioctl(master, TIOCSWINSZ, &w) < 0)
		give_up("no size:", arg);
}

static bool same(const struct termios *a, const struct termios *b)
{
	return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag &&
	       a->c_lflag == b->c_lflag && !memcmp(a->c_cc, b->c_cc, sizeof(a->c_cc));
}

int main(int argc, char **argv)
{
	struct termios before, after;
	int slave, first = 1, status;
	const char *name;

	deadline = now_ms() + 30000;
	while (first < argc && strcmp(argv[first], "--"))
		first++;
	if (first + 1 >= argc) {
		fprintf(stderr, "usage: ptyrun [STEP...] -- COMMAND...\n");
		return FAILED;
	}
	master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 ||
	    !(name = ptsname(master))) {
		perror("ptyrun: pty");
		return FAILED;
	}
	slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || tcgetattr(slave, &before) < 0) {
		perror(name);
		return FAILED;
	}
	resize("80x24");

	child = fork();
	if (child < 0) {
		perror("ptyrun: fork");
		return FAILED;
	}
	if (!child) {
		setsid();
		ioctl(slave, TIOCSCTTY, 0);
		dup2(slave, STDIN_FILENO);
		dup2(slave, STDOUT_FILENO);
		dup2(slave, STDERR_FILENO);
		execvp(argv[first + 1], argv + first + 1);
		perror(argv[first + 1]);
		_exit(127);
	}
	for (int i = 1; i + 1 < first; i += 2) {
		const char *arg = argv[i + 1];

		if (argv[i][0] != '-' || !argv[i][1] || argv[i][2])
			give_up("unknown step", argv[i]);
		switch (argv[i][1]) {
		case 't': deadline = now_ms() + atoi(arg) * 1000LL; break;
		case 'e': expect(arg); break;
		case 's': type(arg); break;
		case 'w': resize(arg); break;
		case 'k': kill(child, atoi(arg)); break;
		case 'z':
			for (long long end = now_ms() + atoi(arg); now_ms() < end;)
				pump((int)(end - now_ms()));
			break;
		default: give_up("unknown step", argv[i]);
		}
	}
	/* the slave is open here, so the end of the command is no hang-up: ask for it */
	while (waitpid(child, &status, WNOHANG) == 0) {
		if (now_ms() > deadline)
			give_up("time is up for", argv[first + 1]);
		pump(50);
	}
	while (pump(0))
		;
	if (tcgetattr(slave, &after) < 0)
		memset(&after, 0, sizeof(after));
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	fprintf(stderr, "ptyrun: exit %d terminal %s\n", status,
		same(&before, &after) ? "same" : "changed");
	return status;
}
