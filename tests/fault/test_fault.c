// SPDX-License-Identifier: BSD-3-Clause
/*
 * Whole runs on the model of KVM on a host whose calls fail: the n-th allocation, the n-th system
 * call, interrupted calls, transfers of half the bytes. Whatever fails, there is one error or a
 * guest that runs; nothing is left behind, what the guest flushed is in the file, the terminal is
 * as it was, and the next run in the same process works.
 *
 *   test_fault [--long] [CONFIG [KIND [N]]]
 *
 * CONFIG: a name of configs[], KIND: alloc, call, eintr, short; N: only the N-th of them. --long
 * takes each N, else it is a sample that ends in seconds.
 */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_JANSSON
#include <jansson.h>
#endif

#include "tests/fakekvm/fake_rmi.h"
#include "tests/fakekvm/harness.h"
#include "tests/fault/fault.h"
#include "tests/fault/guest.h"
#include "tests/unit/mkimage.h"
#include "vmm/options.h"
#include "vmm/session.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_do_recoverable_leak_check() 0
#endif

#define SHARED		(UINT64_C(1) << 32)	/* 33-bit IPA space */
#define DISK_BYTES	SZ_1M
#define HANG_SECONDS	60
#define SAMPLE		40	/* runs of a kind that are not --long */
#define BATCH		25	/* runs between two looks for leaks and two good runs */
#define MAX_WORDS	40

static const char *const kind_name[FAULT_KINDS] = { "alloc", "call", "eintr", "short" };

/**
 * struct config - what is run
 * @gen:   kernel of the model
 * @words: of the command line
 * @gdb:   a debugger connects and lets the guest go
 */
struct config {
	const char *name;
	const struct fake_gen *gen;
	enum realm_mode mode;
	const char *words;
	unsigned int boots;
	bool gdb;
};

#define DEVICES	" -d disk.img -n mode=user,socket=net.sock --9p share,tag --vsock 3,path=v.sock" \
		" --rng --virtio-transport mmio"

static const struct config configs[] = {
	{ "vm", &fake_linux_7_3, MODE_PLAIN, DEVICES " --balloon --pmem pmem.img --console-port a,path=a.sock"
	  " --trace trace.json --flash flash.img --io-threads 1", 2 },
	{ "emulated", &fake_linux_7_3, MODE_EMULATED, DEVICES " --realm=emulated --console virtio", 2 },
	{ "strict", &fake_linux_6_12, MODE_EMULATED, " -d disk.img --rng --realm=emulated"
	  " --emulated-strict --virtio-transport mmio", 1 },
	{ "gdb", &fake_linux_7_3, MODE_PLAIN, " -d disk.img --tty 1 --gdb unix:gdb.sock"
	  " --virtio-transport mmio", 1, true },
	{ "pci", &fake_linux_7_3, MODE_PLAIN, " -d disk.img -d disk2.img,ro -n mode=user,"
	  "socket=net.sock --rng --balloon --pmem pmem.img --virtio-transport pci", 2 },
	{ "passt", &fake_linux_7_3, MODE_PLAIN, " -n mode=user --virtio-transport mmio", 1 },
	{ "realm-c", &fake_rmi_v14, MODE_KVM, " -d disk.img --rng --realm --virtio-transport mmio", 1 },
	{ "realm-d", &fake_rmi_v15, MODE_KVM, " -d disk.img --rng --realm --virtio-transport mmio", 1 },
};

static const struct config *now;
static bool all;			/* --long */
static unsigned int only_n;
static char dir[] = "/tmp/fault.XXXXXX", sock_path[128];
static pid_t server;
static int listener[2], ptm = -1, pts = -1;
static struct termios cooked;
static struct vm_config cfg;
static struct guest guest;
static struct err e;
static const char *logged;

/* ---- the run that hangs ---------------------------------------------------------------------- */

static char hang_text[128];
static int hang_fd;

static void on_alarm(int sig)
{
	const char *name = fault_name();

	(void)sig;
	if (write(hang_fd, hang_text, strlen(hang_text)) < 0 ||
	    write(hang_fd, name ? name : "none", name ? strlen(name) : 4) < 0 ||
	    write(hang_fd, " fails: no end\n", 15) < 0)
		_exit(3);
	abort();
}

static void what(enum fault_kind kind, unsigned int n)
{
	snprintf(hang_text, sizeof(hang_text), "# %s %s %u: ", now->name, kind_name[kind], n);
}

/* ---- the other ends -------------------------------------------------------------------------- */

/* passt, and a server behind vsock: what they get they send back. */
static void *echo(void *arg)
{
	char buf[4096];
	ssize_t n;
	int fd = (int)(intptr_t)arg;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (send(fd, buf, n, MSG_NOSIGNAL) != n)
			break;
	close(fd);
	return NULL;
}

/* A process of its own: its descriptors are not counted. */
static void serve(void)
{
	struct pollfd p[2] = { { listener[0], POLLIN, 0 }, { listener[1], POLLIN, 0 } };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (poll(p, 2, -1) > 0) {
		for (unsigned int i = 0; i < 2; i++) {
			pthread_t t;
			int fd;

			if (!p[i].revents)
				continue;
			fd = accept4(p[i].fd, NULL, NULL, SOCK_CLOEXEC);
			if (fd < 0)
				continue;
			if (pthread_create(&t, NULL, echo, (void *)(intptr_t)fd))
				abort();
			pthread_detach(t);
		}
	}
	_exit(1);
}

static int listen_at(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 8) < 0)
		abort();
	return fd;
}

static _Atomic bool gdb_over;

/* A debugger that comes, lets the guest go and leaves; or finds nobody. */
static void *debugger(void *arg)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "gdb.sock" };

	(void)arg;
	while (!atomic_load(&gdb_over)) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		struct timeval limit = { .tv_sec = 1 };
		char buf[256];

		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0) {
			send(fd, "$?#3f", 5, MSG_NOSIGNAL);
			if (recv(fd, buf, sizeof(buf), 0) > 0) {
				send(fd, "+$g#67", 6, MSG_NOSIGNAL);
				recv(fd, buf, sizeof(buf), 0);
				send(fd, "+$D#44", 6, MSG_NOSIGNAL);
				recv(fd, buf, sizeof(buf), 0);
			}
		}
		close(fd);
		usleep(1000);
	}
	return NULL;
}

/* ---- files ----------------------------------------------------------------------------------- */

static void make(const char *name, size_t len)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, len) < 0)
		abort();
	close(fd);
}

static void make_script(void)
{
	static const char text[] = "#!/bin/bash\neval exec cat \"<&$3 >&$3\"\n";
	int fd = open("bin/passt", O_WRONLY | O_CREAT | O_CLOEXEC, 0700);

	if (fd < 0 || write(fd, text, sizeof(text) - 1) != sizeof(text) - 1)
		abort();
	close(fd);
}

static int group_setup(void **state)
{
	struct blob kernel = mk_flat(10000);
	char path[512];
	int fd;

	(void)state;
	if (!mkdtemp(dir) || chdir(dir) < 0 || mkdir("share", 0700) < 0 || mkdir("run", 0700) < 0 ||
	    mkdir("bin", 0700) < 0)
		return -1;
	make_script();
	snprintf(path, sizeof(path), "%s/bin:%s", dir, getenv("PATH"));
	setenv("PATH", path, 1);
	snprintf(path, sizeof(path), "%s/run", dir);
	setenv("XDG_RUNTIME_DIR", path, 1);
	snprintf(sock_path, sizeof(sock_path), "%s/run/realmtool/fault.sock", dir);
	fd = open("kernel", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, kernel.p, kernel.len) != (ssize_t)kernel.len)
		return -1;
	close(fd);
	blob_free(&kernel);
	make("disk2.img", DISK_BYTES);
	make("pmem.img", SZ_2M);
	make("flash.img", SZ_1M);
	make("share/hi", 100);
	listener[0] = listen_at("net.sock");
	listener[1] = listen_at("v.sock_1234");
	if (openpty(&ptm, &pts, NULL, NULL, NULL) < 0)
		return -1;
	fcntl(ptm, F_SETFL, O_NONBLOCK);
	fcntl(ptm, F_SETFD, FD_CLOEXEC);
	fcntl(pts, F_SETFD, FD_CLOEXEC);
	tcgetattr(pts, &cooked);
#ifdef HAVE_JANSSON
	extern void *shim_malloc(size_t n);

	json_set_alloc_funcs(shim_malloc, free);
#endif
	hang_fd = dup(STDERR_FILENO);
	signal(SIGALRM, on_alarm);
	fflush(stdout);
	server = fork();
	if (!server)
		serve();
	return server < 0;
}

static int group_teardown(void **state)
{
	char cmd[64];

	(void)state;
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	return chdir("/") || system(cmd);
}

/* Names in a folder but the fixed ones; the first of them. */
static const char *stray(const char *path)
{
	static const char *const fixed[] = {
		".", "..", "share", "run", "bin", "kernel", "disk.img", "disk2.img", "pmem.img",
		"flash.img", "net.sock", "v.sock_1234", "trace.json", "realmtool", "hi",
	};
	static char name[300];
	const char *found = NULL;
	struct dirent *d;
	DIR *f = opendir(path);

	while (f && (d = readdir(f)) && !found) {
		bool known = false;

		for (unsigned int i = 0; i < ARRAY_SIZE(fixed); i++)
			known |= !strcmp(d->d_name, fixed[i]);
		if (!known) {
			snprintf(name, sizeof(name), "%s/%s", path, d->d_name);
			found = name;
		}
	}
	if (f)
		closedir(f);
	return found;
}

/* ---- one run --------------------------------------------------------------------------------- */

static int parse(void)
{
	char text[1024], *words[MAX_WORDS], *at = text;
	int nr = 0;

	snprintf(text, sizeof(text), "-k kernel -m 64M -c 1 --loglevel error --name fault --no-dhcp %s", now->words);
	for (char *w; (w = strsep(&at, " ")) && nr < MAX_WORDS;)
		if (*w)
			words[nr++] = w;
	return options_run(&cfg, false, nr, words, &e);
}

static void options(void)
{
	if (parse() < 0)
		fail_msg("%s", e.msg);
	log_set_level(LOG_WARNING);
}

static unsigned int bad;		/* runs of this test that were not as they should be */

/* The test fails at its end: one run tells more where the others are known, too. */
static void fail_at(enum fault_kind kind, unsigned int n, const char *why, const char *more)
{
	alarm(0);
	bad++;
	print_error("# %s %s %u (%s: %s): %s %s; it said: %s\n", now->name, kind_name[kind], n,
		    fault_name() ? fault_name() : "-", strerror(fault_errno()), why,
		    more ? more : "", logged ? logged : "");
}

/* What the guest knows to be on the disk is there. */
static bool on_disk(unsigned int byte)
{
	uint8_t buf[GUEST_BYTES];
	int fd = open("disk.img", O_RDONLY | O_CLOEXEC);
	bool good = pread(fd, buf, sizeof(buf), GUEST_SECTOR * 512) == sizeof(buf);

	close(fd);
	for (size_t i = 0; i < sizeof(buf); i++)
		good &= buf[i] == byte;
	return good;
}

static int session(void)
{
	int save_in = dup(STDIN_FILENO), save_out = dup(STDOUT_FILENO), ret;

	fflush(stdout);
	dup2(pts, STDIN_FILENO);
	dup2(pts, STDOUT_FILENO);
	ret = session_run(&cfg, &fake_sys, &e);
	dup2(save_in, STDIN_FILENO);
	dup2(save_out, STDOUT_FILENO);
	close(save_in);
	close(save_out);
	return ret;
}

/* What is open, into the log of the run. */
static void show_fds(void)
{
	struct dirent *d;
	DIR *f = opendir("/proc/self/fd");

	while (f && (d = readdir(f))) {
		char path[300], to[256];
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/self/fd/%s", d->d_name);
		len = readlink(path, to, sizeof(to) - 1);
		if (len > 0)
			fprintf(stderr, "%s: %.*s\n", d->d_name, (int)len, to);
	}
	closedir(f);
}

static bool faulted(const char *name)
{
	return fault_name() && !strcmp(fault_name(), name);
}

static bool same_terminal(const struct termios *t)
{
	return t->c_iflag == cooked.c_iflag && t->c_oflag == cooked.c_oflag &&
		t->c_cflag == cooked.c_cflag && t->c_lflag == cooked.c_lflag &&
		!memcmp(t->c_cc, cooked.c_cc, sizeof(t->c_cc));
}

/* Return: what session_run() did, after everything else was looked at. */
static int run(enum fault_kind kind, unsigned int n, unsigned int every)
{
	unsigned int fds, fds_after;
	sigset_t before, after;
	struct termios t;
	static bool warm;
	bool first = !warm;
	pthread_t gdb;
	char out[4096];
	int ret;

	warm = true;		/* a trace keeps its eventfd */

	what(kind, n);
	make("disk.img", DISK_BYTES);
	options();
	memset(&e, 0, sizeof(e));
	guest = (struct guest){
		.realm = now->mode != MODE_PLAIN,
		.shared = now->mode != MODE_PLAIN ? SHARED : 0,
		.boots = now->boots,
		.wait_ms = n || every ? 2000 : 20000,
		.control = sock_path,
		.tty = pts,
	};
	fake_reset(now->gen);
	fake_set_guest(0, guest_main, &guest);
	tcflush(pts, TCIOFLUSH);
	while (read(ptm, out, sizeof(out)) > 0)
		;
	sigprocmask(SIG_SETMASK, NULL, &before);
	alarm(HANG_SECONDS);
	logged = NULL;
	capture_begin();
	fds = open_fds();
	atomic_store(&gdb_over, false);
	if (now->gdb && pthread_create(&gdb, NULL, debugger, NULL))
		abort();
	fault_arm(kind, n, every);
	ret = session();
	fault_disarm();
	if (now->gdb) {
		atomic_store(&gdb_over, true);
		pthread_join(gdb, NULL);
	}
	fds_after = open_fds();
	if (fds_after != fds)
		show_fds();
	logged = capture_end();
	alarm(0);
	config_free(&cfg);
	sigprocmask(SIG_SETMASK, NULL, &after);

	if (ret > 0)
		fail_at(kind, n, "a signal's exit code", NULL);
	if (ret < 0 && (ret != e.code || strlen(e.msg) < 12 || strchr(e.msg, '\n')))
		fail_at(kind, n, "no good error:", e.msg);
	if (fds_after != fds && !first)
		fail_at(kind, n, fds_after > fds ? "descriptors are left open" :
			"descriptors are closed that are not its own", NULL);
	for (int sig = 1; sig < SIGRTMAX; sig++)
		if (sigismember(&after, sig) != sigismember(&before, sig))
			fail_at(kind, n, "the signal mask differs", NULL);
	if (fake_verdict())
		fail_at(kind, n, "KVM:", fake_verdict());
	tcgetattr(pts, &t);
	if (!same_terminal(&t) && !faulted("tcsetattr"))
		fail_at(kind, n, "the terminal is not as it was", NULL);
	tcsetattr(pts, TCSANOW, &cooked);
	for (unsigned int i = 0; i < 3; i++) {
		static const char *const path[] = { "run/realmtool", "share", "." };
		const char *name;

		while ((name = stray(path[i]))) {
			if (i != 1 && !faulted("unlink") && !faulted("lstat"))
				fail_at(kind, n, "a file is left behind:", name);
			if (unlink(name) < 0)
				abort();
		}
	}
	if (guest.flushed && !on_disk(guest.flushed))
		fail_at(kind, n, "flushed data is not in the file", NULL);
	/* these answer everything or are broken and say so; a network may lose what it is sent */
	if (guest.silent & (1ULL << 2 | 1ULL << 3 | 1ULL << 4 | 1ULL << 5 | 1ULL << 9 | 1ULL << 27))
		fail_at(kind, n, "a device does not answer", NULL);
	return ret;
}

static void good_run(enum fault_kind kind)
{
	char out[4096] = "";
	size_t len = 0;
	int ret = run(kind, 0, 0);

	if (ret < 0)
		fail_at(kind, 0, "the good run fails:", e.msg);
	if (guest.done != guest.found)
		fail_msg("%s: devices %#llx are there, %#llx work; %s", now->name,
			 (unsigned long long)guest.found, (unsigned long long)guest.done, logged);
	for (unsigned int i = 0; i < 1000 && !strstr(out, "done"); i++) {
		ssize_t got = read(ptm, out + len, sizeof(out) - 1 - len);

		len += MAX(got, 0);
		if (got < 0)
			usleep(1000);
	}
	if (!strstr(out, "done"))
		fail_at(kind, 0, "the guest's output is:", out);
	assert_int_equal(fake_boots(), now->boots);
	assert_true(guest.raw);
#ifdef HAVE_JANSSON
	assert_int_equal(guest.answers, 5);
#endif
}

/* ---- the tests ------------------------------------------------------------------------------- */

static void check_leaks(enum fault_kind kind, unsigned int from, unsigned int to)
{
	if (__lsan_do_recoverable_leak_check())
		bad++, print_error("%s: %s between %u and %u: memory is lost\n", now->name, kind_name[kind], from,
			 to);
}

static void each(enum fault_kind kind)
{
	unsigned int count, step, n, runs = 0, from = 1, failed = 0;

	good_run(kind);
	good_run(kind);
	count = fault_disarm();
	if (only_n) {
		int ret = run(kind, only_n, 0);

		print_message("%s: %d \"%s\"\n%s\n", fault_name(), ret, ret ? e.msg : "", logged);
		check_leaks(kind, only_n, only_n);
		return;
	}
	step = all ? 1 : 1 + count / SAMPLE;
	for (n = 1;; n += step) {
		failed += run(kind, n, 0) < 0;
		if (!fault_hits())
			break;
		if (++runs % BATCH == 0) {
			check_leaks(kind, from, n);
			good_run(kind);
			from = n;
		}
	}
	good_run(kind);
	check_leaks(kind, from, n);
	print_message("# %s: %s: %u calls, %u runs, %u ended by it\n", now->name, kind_name[kind], count,
		      runs, failed);
	assert_true(runs > 2);
}

/* Nobody but the user has to notice such calls. */
static void harmless(enum fault_kind kind, unsigned int every)
{
	good_run(kind);
	if (run(kind, 1, every) < 0)
		fail_at(kind, every, "each of them:", e.msg);
	if (guest.done != guest.found)
		fail_msg("%s: %s each %u: devices %#llx are there, %#llx work; %s", now->name,
			 kind_name[kind], every, (unsigned long long)guest.found,
			 (unsigned long long)guest.done, logged);
	check_leaks(kind, 1, 1);
}

static void test(void **state)
{
	const char *name = *state, *kind = strchr(name, ' ') + 1;

	now = configs;
	while (strncmp(now->name, name, kind - 1 - name) || now->name[kind - 1 - name])
		now++;
	bad = 0;
	for (unsigned int k = 0; k < FAULT_KINDS; k++) {
		if (strcmp(kind, kind_name[k]))
			continue;
		if (k >= FAULT_EINTR && !only_n) {
			harmless(k, 2);
			harmless(k, 3);
			if (k == FAULT_SHORT)
				harmless(k, 1);
		}
		if (k < FAULT_EINTR || all || only_n)
			each(k);
	}
	assert_int_equal(bad, 0);
}

/* A disk and an entropy device at work, a page of theirs changes sides meanwhile; no call fails. */
static void conversions(void **state)
{
	static const char *const realms[] = { "emulated", "strict", "realm-c", "realm-d" };
	static struct guest_load load;
	char text[] = "-k kernel -m 64M -c 2 --loglevel error -d disk.img --rng --virtio-transport mmio "
		      "--realm=emulated --emulated-strict", *words[MAX_WORDS], *at;
	int nr, ret;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(realms); i++) {
		for (now = configs; strcmp(now->name, realms[i]); now++)
			;
		nr = 0;
		at = strdup(text);
		for (char *rest = at, *w; (w = strsep(&rest, " "));)
			if (strncmp(w, "--", 2) || !strstr(w, "emulated") || now->mode == MODE_EMULATED)
				words[nr++] = w;
		nr -= !strcmp(now->name, "emulated");
		if (now->mode == MODE_KVM)
			words[nr++] = (char *)"--realm";
		make("disk.img", DISK_BYTES);
		ret = options_run(&cfg, false, nr, words, &e);
		if (ret < 0)
			fail_msg("%s: %s", now->name, e.msg);
		log_set_level(LOG_ERROR);
		memset(&load, 0, sizeof(load));
		load.g = (struct guest){
			.realm = true, .shared = SHARED, .wait_ms = 20000, .tty = -1,
		};
		load.rounds = all ? 5000 : 500;
		fake_reset(now->gen);
		fake_set_guest(0, guest_load, &load);
		fake_set_guest(1, guest_change, &load);
		alarm(HANG_SECONDS);
		ret = session();
		alarm(0);
		config_free(&cfg);
		free(at);
		if (ret)
			fail_msg("%s: %d %s", now->name, ret, e.msg);
		print_message("# %s: %u requests, %u refused, %u changes\n", now->name, load.good,
			      load.refused, load.changes);
		assert_null(fake_verdict());
		assert_int_equal(load.g.silent, 0);
		assert_true(load.good > 0 && load.changes > 10);
	}
	log_set_level(LOG_WARNING);
}

/* The command line itself, each allocation. */
static void command_line(void **state)
{
	unsigned int hits;

	(void)state;
	for (now = configs; now < configs + ARRAY_SIZE(configs); now++) {
		unsigned int n = 0;

		do {
			int ret;

			memset(&e, 0, sizeof(e));
			fault_arm(FAULT_ALLOC, ++n, 0);
			ret = parse();
			fault_disarm();
			hits = fault_hits();
			config_free(&cfg);
			if (hits ? ret != -ENOMEM || ret != e.code || strlen(e.msg) < 12 : ret < 0)
				fail_msg("%s: allocation %u (%s): %d \"%s\"", now->name, n,
					 fault_name(), ret, e.msg);
		} while (hits);
		assert_true(n > 5);
	}
	log_set_level(LOG_WARNING);
	assert_int_equal(__lsan_do_recoverable_leak_check(), 0);
}

int main(int argc, char **argv)
{
	static char name[ARRAY_SIZE(configs) * FAULT_KINDS][32];
	struct CMUnitTest tests[ARRAY_SIZE(configs) * FAULT_KINDS + 2];
	unsigned int nr = 0, at = 0;

	if (argc > 1 && !strcmp(argv[1], "--long")) {
		all = true;
		argc--;
		argv++;
	}
	only_n = argc > 3 ? atoi(argv[3]) : 0;
	if (argc == 1 || !strcmp(argv[1], "conversions"))
		tests[nr++] = (struct CMUnitTest){ "conversions", conversions };
	if (argc == 1)
		tests[nr++] = (struct CMUnitTest){ "command line", command_line };
	for (unsigned int i = 0; i < ARRAY_SIZE(configs); i++) {
		for (unsigned int k = 0; k < FAULT_KINDS; k++) {
			if ((argc > 1 && strcmp(argv[1], configs[i].name)) ||
			    (argc > 2 && strcmp(argv[2], kind_name[k])))
				continue;
			snprintf(name[at], sizeof(name[at]), "%s %s", configs[i].name, kind_name[k]);
			tests[nr++] = (struct CMUnitTest){ name[at], test, NULL, NULL, name[at] };
			at++;
		}
	}
	return _cmocka_run_group_tests("faults", tests, nr, group_setup, group_teardown);
}
