// SPDX-License-Identifier: BSD-3-Clause
/*
 * Runs a command once and prints what the run took, as lines PREFIX.KEY=VALUE.
 *
 *   spawn [OPTION...] [--] COMMAND [ARG...]
 *     -p PREFIX      before each key
 *     -l LOG         stdout and stderr of the command go there (default /dev/null)
 *     -t SECONDS     the run is ended and counts as failed after that (default 120)
 *     -m KEY=TEXT    prints KEY_us: when TEXT was seen on the command's stdout (up to 4)
 *     -r TEXT        at TEXT: prints the memory in use (rss_*_kib, below)
 *     -g KIB         size of the guest's memory, for -r
 *     -e             prints entry_us: when KVM first entered the guest; ends the command there
 *     -x             counts the exits to user space by reason, and the page faults of stage 2
 *
 * Time zero is the moment before execve(). Without -e: wall_us and cpu_us at the command's end.
 * -e and -x read KVM's trace events in an instance of their own below /sys/kernel/tracing, filtered
 * by process: the same for every VMM, with no help from it. -e also prints read_bytes (what system
 * calls copied into the process, /proc/PID/io), peak_kib (VmHWM) and cpu_us.
 * -r leaves out mappings of half the guest's memory and more, and those that name themselves RAM:
 * rss_kib, of it rss_private_kib (no other process maps these pages), pss_kib.
 *
 * The exit code is 1 if the command fails, or if something it was watched for did not come.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#define TRACE		"/sys/kernel/tracing/instances/realmtool-bench"
#define MAX_MARKS	4
#define MAX_REASONS	48
#define DRAIN_MS	100	/* -x: it takes KVM seconds to fill 8 MiB per CPU */

struct mark {
	const char *key;
	const char *text;
	uint64_t seen_us;
};

static const char *prefix = "run";
static struct mark mark[MAX_MARKS];
static unsigned int nr_marks;
static const char *rss_text;
static uint64_t rss_guest_kib;
static bool want_entry, want_exits, rss_done;

static pid_t pid;
static volatile uint64_t start_us;	/* written by the child of vfork() */
static uint64_t entry_us, faults;
static struct {
	char name[32];
	uint64_t count;
} reason[MAX_REASONS];

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * UINT64_C(1000000) + ts.tv_nsec / 1000;
}

static void put(const char *key, const char *more, uint64_t value)
{
	printf("%s.%s%s=%" PRIu64 "\n", prefix, key, more, value);
}

__attribute__((noreturn, format(printf, 1, 2)))
static void die(const char *fmt, ...)
{
	va_list ap;

	if (pid > 0)
		kill(pid, SIGKILL);
	fprintf(stderr, "spawn: %s: ", prefix);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	rmdir(TRACE);
	exit(1);
}

/* ---- /proc ----------------------------------------------------------------------------------- */

static FILE *proc_open(const char *name)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	f = fopen(path, "re");
	if (!f)
		die("%s: %s", path, strerror(errno));
	return f;
}

/* The number behind "KEY:" */
static uint64_t proc_value(const char *file, const char *key)
{
	FILE *f = proc_open(file);
	size_t len = strlen(key);
	char line[256];
	uint64_t val = 0;
	bool found = false;

	while (!found && fgets(line, sizeof(line), f)) {
		found = !strncmp(line, key, len) && line[len] == ':';
		if (found)
			val = strtoull(line + len + 1, NULL, 10);
	}
	fclose(f);
	if (!found)
		die("no %s in /proc/PID/%s", key, file);
	return val;
}

static void put_rss(void)
{
	FILE *f = proc_open("smaps");
	uint64_t rss = 0, priv = 0, pss = 0, val, from, to;
	bool skip = false;
	char line[512], key[32];

	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2) {
			skip = (to - from) / 1024 >= rss_guest_kib / 2 ||
			       strstr(line, "realmtool-ram");
			continue;
		}
		if (skip || sscanf(line, "%31[^:]: %" SCNu64, key, &val) != 2)
			continue;
		if (!strcmp(key, "Rss"))
			rss += val;
		else if (!strcmp(key, "Pss"))
			pss += val;
		else if (!strncmp(key, "Private_", 8) && strcmp(key, "Private_Hugetlb"))
			priv += val;
	}
	fclose(f);
	put("rss_kib", "", rss);
	put("rss_private_kib", "", priv);
	put("pss_kib", "", pss);
	rss_done = true;
}

/* ---- KVM's trace events ---------------------------------------------------------------------- */

static void trace_set(const char *file, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), TRACE "/%s", file);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		die("%s: %s", path, strerror(errno));
	close(fd);
}

/* Return: trace_pipe; *pids takes the process to watch */
static int trace_open(int *pids)
{
	int fd;

	rmdir(TRACE);		/* a killed run's */
	if (mkdir(TRACE, 0700) < 0)
		die(TRACE ": %s", strerror(errno));
	trace_set("trace_clock", "mono");
	trace_set("buffer_size_kb", "8192");
	trace_set("options/event-fork", "1");
	*pids = open(TRACE "/set_event_pid", O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (*pids < 0)
		die(TRACE "/set_event_pid: %s", strerror(errno));
	if (want_entry) {
		trace_set("events/kvm/kvm_entry/enable", "1");
	} else {
		trace_set("events/kvm/kvm_userspace_exit/enable", "1");
		trace_set("events/kvm/kvm_guest_fault/enable", "1");
	}
	fd = open(TRACE "/trace_pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		die(TRACE "/trace_pipe: %s", strerror(errno));
	return fd;
}

static void count_exit(const char *name, size_t len)
{
	unsigned int i = 0;

	if (len >= sizeof(reason[0].name))
		len = sizeof(reason[0].name) - 1;
	while (i < MAX_REASONS - 1 && reason[i].name[0] &&
	       (strncmp(reason[i].name, name, len) || reason[i].name[len]))
		i++;
	if (!reason[i].name[0])
		memcpy(reason[i].name, name, len);
	reason[i].count++;
}

/* "TASK-TID  [CPU] FLAGS SECONDS.MICROSECONDS: EVENT: ..." */
static void trace_line(const char *line)
{
	static const char exit_mark[] = ": kvm_userspace_exit: reason ";
	static const char symbol[] = "KVM_EXIT_";
	const char *p, *q;

	if (strstr(line, "LOST"))
		die("trace events were lost");
	p = strstr(line, ": kvm_entry:");
	if (p && !entry_us) {
		unsigned long long s, us;

		for (q = p; q > line && q[-1] != ' '; q--)
			;
		if (sscanf(q, "%llu.%6llu:", &s, &us) != 2)
			die("cannot read the time in: %s", line);
		entry_us = s * 1000000 + us;
		return;
	}
	if (strstr(line, ": kvm_guest_fault: ")) {
		faults++;
		return;
	}
	p = strstr(line, exit_mark);
	if (!p)
		return;
	p += sizeof(exit_mark) - 1;
	if (!strncmp(p, symbol, sizeof(symbol) - 1))
		p += sizeof(symbol) - 1;
	count_exit(p, strcspn(p, " "));
}

static void trace_drain(int fd)
{
	static char buf[65536];
	static size_t have;
	ssize_t n;

	while ((n = read(fd, buf + have, sizeof(buf) - 1 - have)) > 0) {
		char *line = buf, *nl;

		have += n;
		buf[have] = '\0';
		while ((nl = strchr(line, '\n'))) {
			*nl = '\0';
			trace_line(line);
			line = nl + 1;
		}
		have -= line - buf;
		memmove(buf, line, have);
		if (have == sizeof(buf) - 1)
			die("a trace line without end");
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		die("trace_pipe: %s", strerror(errno));
}

/* ---- the run --------------------------------------------------------------------------------- */

/* New output of the command. Return: false at its end. */
static bool output(int fd, int log)
{
	static char buf[4096 + 256];
	static size_t have;
	ssize_t n = read(fd, buf + have, 4096);
	uint64_t t = now_us();

	if (n <= 0)
		return n < 0 && (errno == EINTR || errno == EAGAIN);
	if (write(log, buf + have, n) < 0)
		die("cannot write the log: %s", strerror(errno));
	have += n;
	for (unsigned int i = 0; i < nr_marks; i++)
		if (!mark[i].seen_us && memmem(buf, have, mark[i].text, strlen(mark[i].text)))
			mark[i].seen_us = t;
	if (rss_text && !rss_done && memmem(buf, have, rss_text, strlen(rss_text)))
		put_rss();
	/* a text may come in pieces */
	if (have > 256) {
		memmove(buf, buf + have - 256, 256);
		have = 256;
	}
	return true;
}

static void start(char **argv, int in, int out, int log, int pids)
{
	pid = vfork();
	if (pid < 0)
		die("vfork: %s", strerror(errno));
	if (pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(in, 0);
	dup2(out, 1);
	dup2(log, 2);
	/* the trace follows this process and its threads (event-fork) */
	if (pids >= 0) {
		char text[16];
		int len = snprintf(text, sizeof(text), "%d", (int)getpid());

		if (write(pids, text, len) != len)
			_exit(126);
	}
	start_us = now_us();
	execvp(argv[0], argv);
	_exit(127);
}

static void watch(int out, int log, int trace, unsigned int seconds)
{
	uint64_t end = now_us() + seconds * UINT64_C(1000000);
	struct pollfd p[] = {
		{ .fd = syscall(SYS_pidfd_open, pid, 0), .events = POLLIN },
		{ .fd = out, .events = POLLIN },
		{ .fd = want_entry ? trace : -1, .events = POLLIN },
	};

	if (p[0].fd < 0)
		die("pidfd_open: %s", strerror(errno));
	while (!p[0].revents && !entry_us) {
		if (poll(p, 3, want_exits ? DRAIN_MS : 1000) < 0 && errno != EINTR)
			die("poll: %s", strerror(errno));
		if (p[2].revents)
			trace_drain(trace);
		if (p[1].revents && !output(out, log))
			p[1].fd = -1;
		if (want_exits)
			trace_drain(trace);
		if (now_us() > end)
			die("no end after %u s", seconds);
	}
	close(p[0].fd);
	while (!want_entry && p[1].fd >= 0 && output(out, log))
		;
	if (want_exits)
		trace_drain(trace);
}

static void put_cpu(const struct rusage *ru)
{
	put("cpu_us", "", (ru->ru_utime.tv_sec + ru->ru_stime.tv_sec) * UINT64_C(1000000) +
	    ru->ru_utime.tv_usec + ru->ru_stime.tv_usec);
}

static void entered(void)
{
	struct rusage ru;

	if (!entry_us)
		die("it ended before KVM entered a guest");
	kill(pid, SIGSTOP);
	put("entry_us", "", entry_us - start_us);
	put("read_bytes", "", proc_value("io", "rchar"));
	put("peak_kib", "", proc_value("status", "VmHWM"));
	kill(pid, SIGKILL);
	wait4(pid, NULL, 0, &ru);
	put_cpu(&ru);
}

static void ended(void)
{
	struct rusage ru;
	uint64_t wall;
	int status;

	if (wait4(pid, &status, 0, &ru) < 0)
		die("wait4: %s", strerror(errno));
	wall = now_us() - start_us;
	pid = 0;
	if (WIFSIGNALED(status))
		die("ended by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status))
		die("exit code %d", WEXITSTATUS(status));
	for (unsigned int i = 0; i < nr_marks; i++)
		if (!mark[i].seen_us)
			die("\"%s\" was not seen", mark[i].text);
	if (rss_text && !rss_done)
		die("\"%s\" was not seen", rss_text);
	put("wall_us", "", wall);
	put_cpu(&ru);
}

static void usage(void)
{
	fprintf(stderr, "usage: spawn [-p PREFIX] [-l LOG] [-t SECONDS] [-m KEY=TEXT]... "
		"[-r TEXT -g KIB] [-e | -x] [--] COMMAND [ARG...]\n");
	exit(2);
}

int main(int argc, char **argv)
{
	int in, log, pipefd[2] = { -1, -1 }, trace = -1, pids = -1, opt;
	const char *log_path = "/dev/null";
	unsigned int seconds = 120;

	while ((opt = getopt(argc, argv, "+p:l:t:m:r:g:ex")) != -1) {
		char *eq;

		switch (opt) {
		case 'p': prefix = optarg; break;
		case 'l': log_path = optarg; break;
		case 't': seconds = atoi(optarg); break;
		case 'm':
			eq = strchr(optarg, '=');
			if (!eq || nr_marks == MAX_MARKS)
				usage();
			*eq = '\0';
			mark[nr_marks++] = (struct mark){ .key = optarg, .text = eq + 1 };
			break;
		case 'r': rss_text = optarg; break;
		case 'g': rss_guest_kib = strtoull(optarg, NULL, 10); break;
		case 'e': want_entry = true; break;
		case 'x': want_exits = true; break;
		default: usage();
		}
	}
	if (optind == argc || (want_entry && want_exits) || (rss_text && !rss_guest_kib))
		usage();
	in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	log = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
	if (in < 0 || log < 0)
		die("%s: %s", log_path, strerror(errno));
	if ((nr_marks || rss_text) && pipe2(pipefd, O_CLOEXEC) < 0)
		die("pipe: %s", strerror(errno));
	if (want_entry || want_exits)
		trace = trace_open(&pids);

	start(argv + optind, in, pipefd[1] >= 0 ? pipefd[1] : log, log, pids);
	if (pipefd[1] >= 0)
		close(pipefd[1]);
	if (pipefd[0] >= 0 || trace >= 0)
		watch(pipefd[0], log, trace, seconds);
	else
		alarm(seconds);		/* our end is the command's: PR_SET_PDEATHSIG */
	if (want_entry)
		entered();
	else
		ended();

	for (unsigned int i = 0; i < nr_marks; i++)
		put(mark[i].key, "_us", mark[i].seen_us - start_us);
	if (want_exits)
		put("faults", "", faults);
	for (unsigned int i = 0; i < MAX_REASONS && reason[i].name[0]; i++)
		put("exits_", reason[i].name, reason[i].count);
	if (trace >= 0) {
		close(trace);
		close(pids);
		if (rmdir(TRACE) < 0)
			die("rmdir " TRACE ": %s", strerror(errno));
	}
	return 0;
}
