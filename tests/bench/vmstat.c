// SPDX-License-Identifier: BSD-3-Clause
/*
 * Runs a VMM and says what it cost while its guest did something. The guest marks what it does by
 * lines on its console: "RT: begin NAME" and "RT: end", which is short because each byte of it may
 * be an exit.
 *
 *   vmstat PREFIX LOG SECONDS COMMAND [ARG...]
 *
 * For each mark one line per measure, PREFIX.NAME.KEY=VALUE:
 *   us          wall time
 *   cpu_us      CPU time of all threads of the VMM, without the guest's own (utime, stime and
 *               guest_time in /proc/PID/stat)
 *   exits, wfi, mmio_user   KVM's own counters: all exits of the vCPUs, those for WFI and WFE, and
 *               those to user space for MMIO (/sys/kernel/debug/kvm/PID-*)
 * and, for a NAME that begins with "count-" only, because it slows the VMM down:
 *   syscalls    system calls of all threads of the VMM
 *   uexits      exits to user space for any reason
 * counted by the kernel's ring buffer: nobody reads the events, how many there were is enough.
 *
 * The exit code is 1 if the command fails or a mark has no end.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
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
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TRACE	"/sys/kernel/tracing/instances/"
#define LINE	512

static const struct counter {
	const char *key, *instance, *event;
} counter[] = {
	{ "syscalls", TRACE "realmtool-sys", "raw_syscalls/sys_enter" },
	{ "uexits", TRACE "realmtool-exits", "kvm/kvm_userspace_exit" },
};
#define NR_COUNTERS (sizeof(counter) / sizeof(counter[0]))

struct sample {
	uint64_t us, cpu_us, exits, wfi, mmio_user, count[NR_COUNTERS];
};

static const char *prefix;
static pid_t pid;
static char doing[64];
static struct sample before;

__attribute__((noreturn, format(printf, 1, 2)))
static void die(const char *fmt, ...)
{
	va_list ap;

	if (pid > 0)
		kill(pid, SIGKILL);
	fprintf(stderr, "vmstat: %s: ", prefix);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * UINT64_C(1000000) + ts.tv_nsec / 1000;
}

static bool slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	if (fd >= 0)
		close(fd);
	buf[n < 0 ? 0 : n] = '\0';
	return n >= 0;
}

static void put_file(const char *dir, const char *file, const char *text)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die("%s: %s", path, strerror(errno));
	close(fd);
}

/* ---- what is sampled ------------------------------------------------------------------------- */

static uint64_t cpu_time(void)
{
	unsigned long long utime, stime, guest;
	char path[64], buf[1024], *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	/* The name, in brackets, may hold anything. */
	if (!slurp(path, buf, sizeof(buf)) || !(p = strrchr(buf, ')')) ||
	    sscanf(p + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d "
		   "%*d %*d %*u %*u %*d %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*d "
		   "%*d %*u %*u %*u %llu", &utime, &stime, &guest) != 3)
		die("cannot read %s", path);
	return (utime + stime - guest) * 1000000 / sysconf(_SC_CLK_TCK);
}

static uint64_t kvm_counter(const char *name)
{
	char path[96], buf[32];
	uint64_t sum = 0;
	glob_t g;

	snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%d-*/%s", (int)pid, name);
	if (glob(path, 0, NULL, &g))
		die("no %s: is debugfs mounted?", path);
	for (size_t i = 0; i < g.gl_pathc; i++)
		if (slurp(g.gl_pathv[i], buf, sizeof(buf)))
			sum += strtoull(buf, NULL, 10);
	globfree(&g);
	return sum;
}

/* Events that an instance has seen: those in its buffers and those that were overwritten. */
static uint64_t event_count(const char *instance)
{
	char path[96], buf[1024], *p;
	uint64_t sum = 0;
	glob_t g;

	snprintf(path, sizeof(path), "%s/per_cpu/cpu*/stats", instance);
	if (glob(path, 0, NULL, &g))
		die("no %s", path);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		if (!slurp(g.gl_pathv[i], buf, sizeof(buf)))
			continue;
		p = strstr(buf, "entries: ");
		sum += p ? strtoull(p + 9, NULL, 10) : 0;
		p = strstr(buf, "\noverrun: ");
		sum += p ? strtoull(p + 10, NULL, 10) : 0;
	}
	globfree(&g);
	return sum;
}

static bool counting(const char *name)
{
	return !strncmp(name, "count-", 6);
}

static struct sample take(void)
{
	struct sample s = {
		.us = now_us(),
		.cpu_us = cpu_time(),
		.exits = kvm_counter("exits"),
		.wfi = kvm_counter("wfi_exit_stat") + kvm_counter("wfe_exit_stat"),
		.mmio_user = kvm_counter("mmio_exit_user"),
	};

	for (size_t i = 0; i < NR_COUNTERS && counting(doing); i++)
		s.count[i] = event_count(counter[i].instance);
	return s;
}

static void put(const char *key, uint64_t value)
{
	printf("%s.%s.%s=%" PRIu64 "\n", prefix, doing, key, value);
}

static void trace(bool on)
{
	for (size_t i = 0; i < NR_COUNTERS; i++)
		put_file(counter[i].instance, "tracing_on", on ? "1" : "0");
}

static void begin(const char *name)
{
	if (doing[0])
		die("\"%s\" begins in \"%s\"", name, doing);
	snprintf(doing, sizeof(doing), "%s", name);
	if (counting(name))
		trace(true);
	before = take();
}

static void end(void)
{
	struct sample now = take();

	if (!doing[0])
		die("an end without a begin");
	if (counting(doing)) {
		trace(false);
		for (size_t i = 0; i < NR_COUNTERS; i++)
			put(counter[i].key, now.count[i] - before.count[i]);
	} else {
		put("us", now.us - before.us);
		put("cpu_us", now.cpu_us - before.cpu_us);
	}
	put("exits", now.exits - before.exits);
	put("wfi", now.wfi - before.wfi);
	put("mmio_user", now.mmio_user - before.mmio_user);
	doing[0] = '\0';
}

/* ---- the run --------------------------------------------------------------------------------- */

static void line(char *text)
{
	char *p = strstr(text, "RT: ");

	text[strcspn(text, "\r\n")] = '\0';
	if (p && !strncmp(p, "RT: begin ", 10))
		begin(p + 10);
	else if (p && !strcmp(p, "RT: end"))
		end();
}

/* New output of the command. Return: false at its end. */
static bool output(int fd, int log)
{
	static char buf[LINE * 8];
	static size_t have;
	ssize_t n = read(fd, buf + have, sizeof(buf) - 1 - have);
	char *nl, *at = buf;

	if (n <= 0)
		return n < 0 && errno == EINTR;
	if (write(log, buf + have, n) < 0)
		die("cannot write the log: %s", strerror(errno));
	have += n;
	buf[have] = '\0';
	while ((nl = memchr(at, '\n', buf + have - at))) {
		*nl = '\0';
		line(at);
		at = nl + 1;
	}
	have -= at - buf;
	memmove(buf, at, have);
	if (have == sizeof(buf) - 1)
		have = 0;		/* no line of ours is that long */
	return true;
}

static void make_instances(void)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", (int)getpid());
	for (size_t i = 0; i < NR_COUNTERS; i++) {
		char file[96];

		if (mkdir(counter[i].instance, 0700) < 0 && errno != EEXIST)
			die("%s: %s", counter[i].instance, strerror(errno));
		put_file(counter[i].instance, "tracing_on", "0");
		put_file(counter[i].instance, "buffer_size_kb", "64");
		put_file(counter[i].instance, "options/event-fork", "1");
		put_file(counter[i].instance, "set_event_pid", text);
		snprintf(file, sizeof(file), "events/%s/enable", counter[i].event);
		put_file(counter[i].instance, file, "1");
	}
}

int main(int argc, char **argv)
{
	int log, fd[2], status;
	uint64_t limit;

	if (argc < 5) {
		fprintf(stderr, "usage: vmstat PREFIX LOG SECONDS COMMAND [ARG...]\n");
		return 2;
	}
	prefix = argv[1];
	log = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (log < 0 || pipe2(fd, O_CLOEXEC) < 0)
		die("%s: %s", argv[2], strerror(errno));
	limit = now_us() + strtoull(argv[3], NULL, 10) * 1000000;
	pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (!pid) {
		int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* The trace follows this process, and its threads (event-fork). */
		make_instances();
		dup2(null, 0);
		dup2(fd[1], 1);
		dup2(log, 2);
		execvp(argv[4], argv + 4);
		_exit(127);
	}
	close(fd[1]);
	for (bool more = true; more; ) {
		struct pollfd p = { .fd = fd[0], .events = POLLIN };

		if (now_us() > limit)
			die("no end after %s s", argv[3]);
		if (poll(&p, 1, 1000) > 0)
			more = output(fd[0], log);
	}
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status)) {
		pid = 0;
		die("the command failed (status %#x)", status);
	}
	for (size_t i = 0; i < NR_COUNTERS; i++)
		rmdir(counter[i].instance);
	pid = 0;
	if (doing[0])
		die("\"%s\" has no end", doing);
	return 0;
}
