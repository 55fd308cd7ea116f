// SPDX-License-Identifier: BSD-3-Clause
/*
 * The sandbox, stage by stage, in processes that are thrown away; the attendant; files by name; a
 * session that locks itself in. Where this machine does not allow a stage its tests are skipped.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "tests/fakekvm/harness.h"
#include "tests/unit/mkimage.h"
#include "vmm/attendant.h"
#include "vmm/core/err.h"
#include "vmm/core/path.h"
#include "vmm/core/seccomp.h"
#include "vmm/core/usock.h"
#include "vmm/sandbox.h"
#include "vmm/session.h"

#define NOBODY 65534

static char dir[] = "/tmp/test_sandbox.XXXXXX";
static char path[128];

static const char *in_dir(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

/* In a child a failure is told by its exit code, and by a line. */
#define CHECK(cond) do { \
		if (!(cond)) { \
			dprintf(2, "line %d: %s: %s\n", __LINE__, #cond, strerror(errno)); \
			_exit(1); \
		} \
	} while (0)

#define NEED(what) do { \
		if (!(what)) \
			skip(); \
	} while (0)

static void become_nobody(void)
{
	if (!geteuid() && (setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
		_exit(99);
	/* what changes of user leave behind: files of proc would be root's */
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

/* Return: exit code of @fn's process, or 128 + signal. @user: as nobody, where this is root */
static int in_child(void (*fn)(void *), void *ctx, bool user)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		if (user)
			become_nobody();
		fn(ctx);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static struct sandbox_host host_root, host_user;

static void probe_user(void *ctx)
{
	struct sandbox_host h;

	sandbox_probe(&h);
	_exit(h.namespaces < 0);
}

static int setup(void **state)
{
	if (!mkdtemp(dir) || chmod(dir, 0777) < 0)
		return -1;
	sandbox_probe(&host_root);
	host_user = host_root;
	host_user.namespaces = in_child(probe_user, NULL, true) ? -EPERM : 0;
	return 0;
}

static int teardown(void **state)
{
	char cmd[160];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

/* ---- what is left ---------------------------------------------------------------------------- */

static uint64_t caps_now(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { 0 };

	syscall(SYS_capget, &h, d);
	return d[0].effective | d[0].permitted | d[0].inheritable |
	       (uint64_t)(d[1].effective | d[1].permitted | d[1].inheritable) << 32;
}

static void enter(struct sandbox_cfg *cfg)
{
	struct err e;

	if (sandbox_enter(cfg, &e) < 0) {
		dprintf(2, "%s\n", e.msg);
		_exit(98);
	}
}

static void nothing_left(void *ctx)
{
	struct sandbox_cfg cfg = { .mode = SANDBOX_ON };
	struct rlimit l;

	enter(&cfg);
	CHECK(caps_now() == 0);
	CHECK(prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0) == 0 || getuid());
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
	CHECK(open("/etc/passwd", O_RDONLY) < 0);
	CHECK(open("/proc/self/status", O_RDONLY) < 0);
	CHECK(open("/dev/null", O_RDONLY) < 0);
	CHECK(open(dir, O_RDONLY) < 0);
	CHECK(open("file", O_WRONLY | O_CREAT, 0600) < 0);
	CHECK(mkdir("/x", 0700) < 0);
	CHECK(getrlimit(RLIMIT_CORE, &l) == 0 && l.rlim_max == 0);
	CHECK(getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_max <= 65536);
	/* and no way back up */
	CHECK(syscall(SYS_chroot, "/") < 0);
	CHECK(open("../etc/passwd", O_RDONLY) < 0);
}

static void test_nothing_left(void **state)
{
	NEED(host_root.namespaces == 0 || host_root.landlock > 0);
	assert_int_equal(in_child(nothing_left, NULL, false), 0);
	NEED(host_user.namespaces == 0 || host_user.landlock > 0);
	assert_int_equal(in_child(nothing_left, NULL, true), 0);
}

/* ---- namespaces, seen from outside ----------------------------------------------------------- */

struct waiting {
	int ready[2], go[2];
	struct sandbox_cfg cfg;
};

static void enter_and_wait(struct waiting *w)
{
	char c = 0;

	enter(&w->cfg);
	CHECK(write(w->ready[1], &c, 1) == 1);
	close(w->go[1]);
	CHECK(read(w->go[0], &c, 1) == 0);
}

static bool same_ns(pid_t pid, const char *name)
{
	struct stat a, b;
	char p[64];

	snprintf(p, sizeof(p), "/proc/%d/ns/%s", (int)pid, name);
	assert_int_equal(stat(p, &a), 0);
	snprintf(p, sizeof(p), "/proc/self/ns/%s", name);
	assert_int_equal(stat(p, &b), 0);
	return a.st_ino == b.st_ino;
}

static void look(bool user, bool owners, bool expect)
{
	static const char *const names[] = { "mnt", "net", "ipc", "uts" };
	struct waiting w = { .cfg = { .mode = SANDBOX_ON, .owners = owners } };
	struct dirent *d;
	int status, n = 0;
	char p[64], c;
	pid_t pid;
	DIR *root;

	assert_int_equal(pipe(w.ready), 0);
	assert_int_equal(pipe(w.go), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		if (user)
			become_nobody();
		enter_and_wait(&w);
		_exit(0);
	}
	close(w.ready[1]);
	close(w.go[0]);
	assert_int_equal(read(w.ready[0], &c, 1), 1);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(same_ns(pid, names[i]), !expect);
	assert_int_equal(same_ns(pid, "user"), !(expect && user));
	snprintf(p, sizeof(p), "/proc/%d/root", (int)pid);
	root = opendir(p);
	assert_non_null(root);
	while ((d = readdir(root)))
		n += d->d_name[0] != '.';
	closedir(root);
	assert_int_equal(n == 0, expect);
	close(w.go[1]);
	close(w.ready[0]);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

static void test_namespaces(void **state)
{
	/* only root may look into a process that has given everything up */
	NEED(!geteuid() && host_root.namespaces == 0);
	look(false, false, true);
	look(false, true, true);	/* root needs no user namespace to be himself */
	NEED(host_user.namespaces == 0);
	look(true, false, true);
	look(true, true, false);
}

/* ---- shares ---------------------------------------------------------------------------------- */

/* As the 9p server opens files */
static int open_at(int fd, const char *name)
{
	char p[64];
	int file = openat(fd, name, O_PATH | O_NOFOLLOW), ret;

	if (file < 0)
		return -errno;
	snprintf(p, sizeof(p), "/proc/self/fd/%d", file);
	ret = open(p, O_RDONLY);
	ret = ret < 0 ? -errno : ret;
	close(file);
	return ret;
}

static void shares(void *ctx)
{
	const bool *mounted = ctx;
	struct sandbox_dir d[2] = { { .use = SANDBOX_WRITE }, { .use = SANDBOX_READ } };
	struct sandbox_cfg cfg = { .mode = SANDBOX_ON, .dir = d, .nr_dirs = 2 };
	int fd;

	d[0].fd = open(in_dir("rw"), O_PATH | O_DIRECTORY);
	d[1].fd = open(in_dir("ro"), O_PATH | O_DIRECTORY);
	CHECK(d[0].fd >= 0 && d[1].fd >= 0);
	enter(&cfg);
	fd = openat(d[0].fd, "new", O_WRONLY | O_CREAT, 0600);
	CHECK(fd >= 0 && write(fd, "x", 1) == 1);
	CHECK(open_at(d[0].fd, "new") >= 0);
	CHECK(mkdirat(d[0].fd, "sub2", 0700) == 0);
	CHECK(renameat(d[0].fd, "new", d[0].fd, "sub2/new") == 0);
	CHECK(unlinkat(d[0].fd, "sub2/new", 0) == 0);
	CHECK(unlinkat(d[0].fd, "sub2", AT_REMOVEDIR) == 0);
	CHECK(open_at(d[1].fd, "file") >= 0);
	CHECK(openat(d[1].fd, "file", O_WRONLY) < 0);
	CHECK(openat(d[1].fd, "new", O_WRONLY | O_CREAT, 0600) < 0);
	CHECK(unlinkat(d[1].fd, "file", 0) < 0);
	/* Landlock has no word for this, a read-only mount has */
	if ((getuid() ? host_user : host_root).namespaces == 0)
		CHECK(fchmodat(d[1].fd, "file", 0644, 0) < 0 && errno == EROFS);
	/* no way out, whatever the server would forget */
	CHECK(openat(d[0].fd, "../secret", O_RDONLY) < 0);
	CHECK(openat(d[1].fd, "../rw/../secret", O_RDONLY) < 0);
	CHECK(open_at(d[0].fd, "../secret") < 0);
	if (mounted)
		CHECK(open_at(d[0].fd, "sub/inside") >= 0);
}

static void make(const char *name)
{
	int fd = open(in_dir(name), O_WRONLY | O_CREAT, 0666);

	assert_true(fd >= 0);
	close(fd);
}

static void make_tree(void)
{
	mode_t old = umask(0);

	mkdir(in_dir("rw"), 0777);
	mkdir(in_dir("ro"), 0777);
	mkdir(in_dir("rw/sub"), 0777);
	make("secret");
	make("ro/file");
	umask(old);
}

static void test_shares(void **state)
{
	NEED(host_root.namespaces == 0 || host_root.landlock >= 2);
	make_tree();
	assert_int_equal(in_child(shares, NULL, false), 0);
	NEED(host_user.namespaces == 0 || host_user.landlock >= 2);
	assert_int_equal(in_child(shares, NULL, true), 0);
}

/* A file system that is mounted in a share is still there when the old root is not. */
static void mounted_share(void *ctx)
{
	bool mounted = true;
	int fd;

	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount("t", in_dir("rw/sub"), "tmpfs", 0, NULL) == 0);
	fd = open(in_dir("rw/sub/inside"), O_WRONLY | O_CREAT, 0600);
	CHECK(fd >= 0);
	shares(&mounted);
}

static void test_mounted_share(void **state)
{
	NEED(!geteuid() && host_root.namespaces == 0 && host_root.admin);
	make_tree();
	assert_int_equal(in_child(mounted_share, NULL, false), 0);
}

/* What serving files of all users takes is kept, the rest is not. */
static void share_caps(void *ctx)
{
	struct sandbox_dir d = { .use = SANDBOX_WRITE };
	struct sandbox_cfg cfg = {
		.mode = SANDBOX_ON, .dir = &d, .nr_dirs = 1, .owners = true,
		.caps = sandbox_share_caps(),
	};
	struct stat st;
	int fd;

	d.fd = open(in_dir("rw"), O_PATH | O_DIRECTORY);
	enter(&cfg);
	CHECK(caps_now() && !(caps_now() & ~sandbox_share_caps()));
	fd = openat(d.fd, "theirs", O_WRONLY | O_CREAT, 0600);
	CHECK(fd >= 0 && fchown(fd, 1234, 1234) == 0);
	CHECK(fstatat(d.fd, "theirs", &st, 0) == 0 && st.st_uid == 1234);
	CHECK(unlinkat(d.fd, "theirs", 0) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL) < 0);
}

static void test_share_caps(void **state)
{
	NEED(!geteuid() && host_root.admin);
	make_tree();
	assert_int_equal(in_child(share_caps, NULL, false), 0);
}

/* ---- Landlock -------------------------------------------------------------------------------- */

static int tcp_bind(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), ret;

	ret = bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static void landlocked(void *ctx)
{
	const struct sandbox_host *h = ctx;
	/* without privileges and with owners to show there are no namespaces: Landlock alone */
	struct sandbox_cfg cfg = { .mode = SANDBOX_ON, .owners = true };
	int fd = open(in_dir("secret"), O_RDONLY);

	CHECK(fd >= 0);
	CHECK(tcp_bind() == 0);
	enter(&cfg);
	CHECK(open(in_dir("secret"), O_RDONLY) < 0 && errno == EACCES);
	CHECK(open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES);
	CHECK(open(dir, O_RDONLY | O_DIRECTORY) < 0 && errno == EACCES);
	CHECK(lseek(fd, 0, SEEK_END) == 0);	/* what is open stays open */
	if (h->landlock >= 4)
		CHECK(tcp_bind() == -EACCES);
	if (h->landlock >= 6)
		CHECK(kill(getppid(), 0) < 0 && errno == EPERM);
}

static void test_landlock(void **state)
{
	NEED(host_user.landlock > 0 && !geteuid());
	make_tree();
	assert_int_equal(in_child(landlocked, &host_user, true), 0);
}

/* ---- not at all ------------------------------------------------------------------------------ */

static void audited(void *ctx)
{
	struct sandbox_cfg cfg = { .mode = SANDBOX_AUDIT };
	uint64_t before = caps_now();

	enter(&cfg);
	CHECK(caps_now() == before);
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
	CHECK(open("/etc/passwd", O_RDONLY) >= 0);
}

static void test_audit(void **state)
{
	assert_int_equal(in_child(audited, NULL, false), 0);
}

/* ---- the attendant --------------------------------------------------------------------------- */

static int note(const char *text)
{
	int fd = open(in_dir("notes"), O_WRONLY | O_CREAT | O_APPEND, 0666);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -errno;
	return close(fd);
}

static int note_job(void *ctx, int fds[ATTENDANT_FDS], unsigned int *nr, struct err *e)
{
	return note(ctx);
}

static int failing_job(void *ctx, int fds[ATTENDANT_FDS], unsigned int *nr, struct err *e)
{
	return err_set(e, -ENOTTY, "%s did not work", (const char *)ctx);
}

static int open_job(void *ctx, int fds[ATTENDANT_FDS], unsigned int *nr, struct err *e)
{
	fds[0] = open(ctx, O_RDONLY | O_CLOEXEC);
	*nr = fds[0] >= 0;
	return fds[0] < 0 ? err_set(e, -errno, "no file") : 0;
}

/* Only what a job said it needs is open there. */
static int fds_job(void *ctx, int fds[ATTENDANT_FDS], unsigned int *nr, struct err *e)
{
	const int *fd = ctx;

	return fcntl(fd[0], F_GETFD) < 0 ? -EBADF : fcntl(fd[1], F_GETFD) >= 0 ? -EMFILE : 0;
}

static void with_attendant(void *ctx)
{
	const bool *killed = ctx;
	static char secret[160];
	int fd[2] = { open("/dev/null", O_RDONLY), open("/dev/null", O_RDONLY) };
	struct attendant_job jobs[] = {
		{ note_job, "asked ", true, -1 },
		{ note_job, "end ", true, -1 },
		{ note_job, "never ", false, -1 },
		{ failing_job, "it", false, -1 },
		{ open_job, secret, false, -1 },
		{ fds_job, fd, false, fd[0] },
		{ note_job, "withdrawn ", true, -1 },
	};
	struct sandbox_cfg cfg = { .mode = SANDBOX_ON };
	int nr[ARRAY_SIZE(jobs)], got;
	struct err e;

	strcpy(secret, in_dir("secret"));
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
		nr[i] = attendant_add(&jobs[i]);
		CHECK(nr[i] >= 0);
	}
	attendant_withdraw(nr[6]);
	CHECK(!attendant_runs());
	CHECK(attendant_start(&e) == 0 && attendant_runs());
	CHECK(attendant_add(&jobs[0]) == -EBUSY);
	enter(&cfg);
	CHECK(attendant_ask(nr[0], NULL, 0, &e) == 0);
	CHECK(attendant_ask(nr[3], NULL, 0, &e) == -ENOTTY && !strcmp(e.msg, "it did not work"));
	CHECK(open(secret, O_RDONLY) < 0);
	CHECK(attendant_ask(nr[4], &got, 1, &e) == 0 && got >= 0);
	CHECK(fcntl(got, F_GETFD) == FD_CLOEXEC && lseek(got, 0, SEEK_END) == 0);
	CHECK(attendant_ask(nr[5], NULL, 0, &e) == 0);
	CHECK(attendant_ask(nr[6], NULL, 0, &e) < 0);
	CHECK(attendant_ask(99, NULL, 0, &e) < 0 && attendant_ask(-1, NULL, 0, &e) < 0);
	CHECK(attendant_ask(1000, NULL, 0, &e) < 0);
	if (*killed)
		kill(getpid(), SIGKILL);
	attendant_end();
	CHECK(!attendant_runs());
	CHECK(attendant_ask(nr[0], NULL, 0, &e) == -EPIPE);
}

static bool notes_are(const char *text)
{
	char buf[64] = "";
	ssize_t n;
	int fd;

	/* of one that was killed it is not waited for */
	for (unsigned int i = 0; i < 500; i++) {
		fd = open(in_dir("notes"), O_RDONLY);
		n = fd < 0 ? 0 : read(fd, buf, sizeof(buf) - 1);
		if (fd >= 0)
			close(fd);
		buf[MAX(n, 0)] = '\0';
		if (!strcmp(buf, text))
			return true;
		usleep(10000);
	}
	print_message("\"%s\", not \"%s\"\n", buf, text);
	return false;
}

static void test_attendant(void **state)
{
	bool killed = false;

	make_tree();
	unlink(in_dir("notes"));
	assert_int_equal(in_child(with_attendant, &killed, false), 0);
	assert_true(notes_are("asked end "));
	unlink(in_dir("notes"));
	killed = true;
	assert_int_equal(in_child(with_attendant, &killed, false), 128 + SIGKILL);
	assert_true(notes_are("asked end "));
}

static int sockets_job(void *ctx, int fds[ATTENDANT_FDS], unsigned int *nr, struct err *e)
{
	usock_remove_all();
	return 0;
}

/* The names of sockets go away with whoever made them, also if he is killed. */
static void with_socket(void *ctx)
{
	const struct attendant_job job = { .fn = sockets_job, .at_end = true, .fd = -1 };
	static char name[160];
	struct usock s;
	struct err e;

	strcpy(name, in_dir("sock"));
	CHECK(usock_listen(&s, "test", name, &e) == 0);
	CHECK(attendant_add(&job) >= 0 && attendant_start(&e) == 0);
	CHECK(access(name, F_OK) == 0);
	kill(getpid(), SIGKILL);
}

static void test_socket(void **state)
{
	assert_int_equal(in_child(with_socket, NULL, false), 128 + SIGKILL);
	for (unsigned int i = 0; i < 500 && !access(in_dir("sock"), F_OK); i++)
		usleep(10000);
	assert_int_equal(access(in_dir("sock"), F_OK), -1);
}

/* The guest's connections: a socket beside ours, by way of its folder. */
static void connects(void *ctx)
{
	struct sandbox_dir d = { .use = SANDBOX_CONNECT };
	struct sandbox_cfg cfg = { .mode = SANDBOX_ON, .dir = &d, .nr_dirs = 1 };
	char name[64];

	d.fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	enter(&cfg);
	snprintf(name, sizeof(name), "/proc/self/fd/%d/there", d.fd);
	CHECK(usock_connect(name) >= 0);
	snprintf(name, sizeof(name), "/proc/self/fd/%d/secret", d.fd);
	CHECK(open(name, O_RDONLY) < 0 || !*(bool *)ctx);
	CHECK(usock_connect(in_dir("there")) < 0);
}

static void test_connect(void **state)
{
	bool landlock = host_root.landlock > 0;
	static char name[160];
	struct usock s;
	struct err e;

	NEED(host_root.namespaces == 0);
	make_tree();
	strcpy(name, in_dir("there"));
	assert_int_equal(usock_listen(&s, "test", name, &e), 0);
	assert_int_equal(in_child(connects, &landlock, false), 0);
	chmod(name, 0666);
	if (host_user.namespaces == 0)
		assert_int_equal(in_child(connects, &landlock, true), 0);
	usock_close(&s);
}

/* ---- files by name --------------------------------------------------------------------------- */

static void test_fd_names(void **state)
{
	int fd = open("/dev/null", O_RDONLY), got;
	struct stat st;
	char name[32];

	assert_true(fd >= 3);
	snprintf(name, sizeof(name), "fd:%d", fd);
	assert_true(path_is_fd(name) && !path_is_fd("fd") && !path_is_fd("/fd:3"));
	assert_int_equal(path_stat(name, &st), 0);
	assert_true(path_open(name, O_RDWR, 0) < 0 && errno == EACCES);
	assert_true(path_open(name, O_RDONLY | O_DIRECTORY, 0) < 0 && errno == ENOTDIR);
	got = path_open(name, O_RDONLY, 0);
	assert_int_equal(got, fd);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_true(path_open(name, O_RDONLY, 0) < 0 && errno == EBUSY);	/* twice */
	close(fd);
	assert_true(path_open(name, O_RDONLY, 0) < 0 && errno == EBADF);
	/* what this program opened itself was passed on by nobody */
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	snprintf(name, sizeof(name), "fd:%d", fd);
	assert_true(path_open(name, O_RDONLY, 0) < 0 && errno == EBUSY);
	close(fd);
	assert_true(path_open("fd:", O_RDONLY, 0) < 0 && errno == EBADF);
	assert_true(path_open("fd:1", O_WRONLY, 0) < 0 && errno == EBADF);
	assert_true(path_open("fd:3x", O_RDONLY, 0) < 0 && errno == EBADF);
	assert_true(path_open("fd:-1", O_RDONLY, 0) < 0 && errno == EBADF);
	assert_true(path_open("fd:4294967299", O_RDONLY, 0) < 0 && errno == EBADF);
}

static int give(void *ctx)
{
	int *calls = ctx;

	(*calls)++;
	return *calls == 1 ? open(in_dir("secret"), O_RDONLY | O_CLOEXEC) : -EIO;
}

static void test_kept(void **state)
{
	char name[160], lazy[] = "/no/where", buf[8];
	int fd, calls = 0, p[2];
	struct stat st;

	make_tree();
	strcpy(name, in_dir("kept"));
	fd = open(name, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "abc", 3), 3);
	close(fd);
	assert_int_equal(path_keep(name, O_RDONLY, 0), 0);
	assert_int_equal(path_keep("/no/such/file", O_RDONLY, 0), -ENOENT);
	assert_int_equal(path_keep("/etc/passwd/x", O_RDONLY, 0), -ENOTDIR);
	assert_true(path_open("/etc/passwd/x", O_RDONLY, 0) < 0 && errno == ENOTDIR);
	assert_int_equal(path_keep_lazily(lazy, give, &calls), 0);
	unlink(name);
	for (int i = 0; i < 2; i++) {
		fd = path_open(name, O_RDONLY, 0);
		assert_true(fd >= 0);
		assert_int_equal(path_read(fd, buf, sizeof(buf), 0), 3);
		close(fd);
	}
	assert_int_equal(path_stat(name, &st), 0);
	assert_int_equal(st.st_size, 3);
	assert_int_equal(calls, 0);
	for (int i = 0; i < 2; i++) {
		fd = path_open(lazy, O_RDONLY, 0);
		assert_true(fd >= 0);
		close(fd);
	}
	assert_int_equal(calls, 1);
	/* a pipe becomes a file that can be read again and again */
	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], "xy", 2), 2);
	close(p[1]);
	snprintf(name, sizeof(name), "fd:%d", p[0]);
	assert_int_equal(path_keep(name, O_RDONLY, 0), 0);
	for (int i = 0; i < 2; i++) {
		fd = path_open(name, O_RDONLY, 0);
		assert_int_equal(path_read(fd, buf, sizeof(buf), 0), 2);
		close(fd);
	}
	path_forget();
	assert_true(path_open(lazy, O_RDONLY, 0) < 0 && errno == ENOENT);
}

/* ---- a whole session ------------------------------------------------------------------------- */

static char session_dir[160];
static bool with_network;
static int done_fd = -1;		/* what the helper writes last */

static void guest_says(struct fake_cpu *c, const char *text)
{
	for (; *text; text++)
		fake_write(c, MAP_UART_BASE | UINT64_C(1) << 32, (unsigned char)*text, 1);
}

/* On a thread of the sandboxed process: what it could do if the guest had taken it over */
static void two_boots(struct fake_cpu *c, void *ctx)
{
	guest_says(c, fake_boot(c) == 1 ? "first " : "second ");
	if (fake_boot(c) == 1)
		fake_system_reset(c);
	fake_poweroff(c);
}

static void breaks_out(struct fake_cpu *c, void *ctx)
{
	char *const args[] = { "/bin/true", NULL };

	guest_says(c, "caught ");
	execve(args[0], args, NULL);
	guest_says(c, "free ");
	fake_poweroff(c);
}

static void session(void (*guest)(struct fake_cpu *c, void *ctx), bool links)
{
	struct vm_config c;
	struct blob kernel = mk_flat(10000);
	struct err e;
	int ret, fd;

	CHECK(chdir(session_dir) == 0);
	fake_reset(&fake_linux_7_3);
	fake_set_guest(0, guest, NULL);
	config_defaults(&c);
	c.mode = MODE_EMULATED;
	c.cpus = 2;
	c.mem = 64 * SZ_1M;
	c.kernel = (char *)mk_file(kernel);
	c.dump_dtb = "dtb";
	c.trace = "trace";
	c.name = "inside";
	c.emulated_keys = "keys";
	c.nr_disks = 1;
	c.disk[0] = (struct cfg_disk){ .path = "disk" };
	c.vsock = (struct cfg_vsock){ 3, "v.sock" };
	c.nr_ports = 1;
	c.port[0] = (struct cfg_port){ "a", "port.sock" };
	if (with_network) {
		c.nr_nets = 1;
		c.net[0] = (struct cfg_net){ .mode = NET_USER };
	}
	if (links) {
		c.nr_shares = 1;
		c.share[0] = (struct cfg_share){ .kind = SHARE_9P, .dir = "share", .tag = "s" };
	}
	fd = open("disk", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && ftruncate(fd, SZ_1M) == 0);
	close(fd);
	fd = open("out", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	dup2(fd, 1);
	session_models_too = true;
	ret = session_run(&c, &fake_sys, &e);
	if (ret)
		dprintf(2, "session: %d %s\n", ret, ret < 0 ? e.msg : "");
	_exit(ret ? 97 : 0);
}

static void two_sessions(void *ctx)
{
	session(two_boots, false);
}

static void with_share(void *ctx)
{
	session(two_boots, true);
}

static void taken_over(void *ctx)
{
	session(breaks_out, false);
}

static bool file_has(const char *name, const char *text)
{
	static char buf[1 << 20];
	char p[200];
	ssize_t n;
	int fd;

	snprintf(p, sizeof(p), "%s/%s", session_dir, name);
	fd = open(p, O_RDONLY);
	n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	if (fd >= 0)
		close(fd);
	buf[MAX(n, 0)] = '\0';
	return n > 0 && strstr(buf, text);
}

static bool is_there(const char *name)
{
	char p[200];

	snprintf(p, sizeof(p), "%s/%s", session_dir, name);
	return !access(p, F_OK);
}

static void fresh_dir(bool user)
{
	static int n;
	char share[200];

	snprintf(session_dir, sizeof(session_dir), "%s/session%d", dir, n++);
	snprintf(share, sizeof(share), "%s/share", session_dir);
	assert_int_equal(mkdir(session_dir, 0777) | mkdir(share, 0777), 0);
	chmod(session_dir, 0777);
	chmod(share, 0777);
	setenv("XDG_RUNTIME_DIR", session_dir, 1);
}

static void test_session(void **state)
{
	static void (*const kinds[])(void *) = { two_sessions, with_share };

	NEED(host_root.namespaces == 0 || host_root.landlock > 0);
	for (int user = 0; user <= 1; user++) {
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
			fresh_dir(user);
			assert_int_equal(in_child(kinds[i], NULL, user), 0);
			assert_true(file_has("out", "first second "));
			assert_true(file_has("dtb", "\xd0\x0d\xfe\xed"));
			assert_true(file_has("trace", "tear down"));
			assert_true(is_there("keys/realm.pem"));
			assert_false(is_there("v.sock") || is_there("port.sock") ||
				     is_there("realmtool/inside.sock"));
		}
	}
}

/* Whoever has taken a vCPU's thread over starts no program, and the attendant cleans up. */
static void test_taken_over(void **state)
{
	NEED(host_root.namespaces == 0 || host_root.landlock > 0);
	fresh_dir(false);
	assert_int_equal(in_child(taken_over, NULL, false), SECCOMP_EXIT);
	assert_true(file_has("out", "caught ") && !file_has("out", "free"));
	for (unsigned int i = 0; i < 500 && is_there("v.sock"); i++)
		usleep(10000);
	assert_false(is_there("v.sock") || is_there("port.sock") ||
		     is_there("realmtool/inside.sock"));
}

/* A helper gets little, and does not outlive its session, however that ends. */
static void await_helper(void)
{
	char c;

	while (pread(done_fd, &c, 1, 0) <= 0)
		usleep(1000);
}

static void ends(struct fake_cpu *c, void *ctx)
{
	await_helper();
	guest_says(c, "ends ");
	fake_poweroff(c);
}

static void killed(struct fake_cpu *c, void *ctx)
{
	await_helper();
	guest_says(c, "killed ");
	raise(SIGKILL);
}

static void helped(void (*guest)(struct fake_cpu *c, void *ctx))
{
	char name[200];

	setenv("PATH", session_dir, 1);
	setenv("SECRET", "told", 1);
	with_network = true;
	snprintf(name, sizeof(name), "%s/fds", session_dir);
	done_fd = open(name, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(done_fd >= 0);
	session(guest, false);
}

static void helped_to_the_end(void *ctx)
{
	helped(ends);
}

static void helped_and_killed(void *ctx)
{
	helped(killed);
}

static bool runs(const char *name)
{
	char text[200] = "";
	int fd;

	snprintf(text, sizeof(text), "%s/%s", session_dir, name);
	fd = open(text, O_RDONLY);
	assert_true(fd >= 0);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return !kill(atoi(text), 0);
}

static void test_helper(void **state)
{
	char name[200];
	FILE *f;

	NEED(host_root.namespaces == 0 || host_root.landlock > 0);
	for (int i = 0; i < 2; i++) {
		fresh_dir(false);
		snprintf(name, sizeof(name), "%s/passt", session_dir);
		f = fopen(name, "w");
		assert_non_null(f);
		fprintf(f, "#!/bin/sh\nPATH=/bin:/usr/bin\necho $$ >%s/pid\nenv >%s/env\n"
			"grep NoNewPrivs /proc/self/status >%s/nnp\nset -- /proc/$$/fd/*; echo $# >%s/fds\n"
			"exec sleep 1000\n", session_dir, session_dir, session_dir, session_dir);
		fchmod(fileno(f), 0755);
		fclose(f);
		assert_int_equal(in_child(i ? helped_and_killed : helped_to_the_end, NULL, false),
				 i ? 128 + SIGKILL : 0);
		for (unsigned int n = 0; n < 500 && runs("pid"); n++)
			usleep(10000);
		assert_false(runs("pid"));
		assert_true(file_has("env", "HOME=") && !file_has("env", "SECRET"));
		assert_true(file_has("nnp", "NoNewPrivs:\t1"));
		/* 0 to 2, its socket, the script, and the folder that it looks into */
		assert_true(file_has("fds", "6"));
	}
}

/* Each question on the control socket is answered from the inside. */
static void spins(struct fake_cpu *c, void *ctx)
{
	guest_says(c, "spins ");
	for (;;) {
		fake_read(c, MAP_UART_BASE | UINT64_C(1) << 32, 1);
		usleep(1000);
	}
}

static void spinning(void *ctx)
{
	session(spins, false);
}

static void test_control(void **state)
{
	static const char *const words[] = {
		"status", "metrics", "memory", "regions", "pause", "debug", "resume", "resize", "stop",
	};
	char name[240], text[65536];
	int fd = -ENOENT, status;
	pid_t pid;

	NEED(host_root.namespaces == 0 || host_root.landlock > 0);
#ifndef HAVE_JANSSON
	skip();
#endif
	fresh_dir(false);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		spinning(NULL);
	}
	for (unsigned int i = 0; i < 1000 && !file_has("out", "spins"); i++)
		usleep(10000);
	snprintf(name, sizeof(name), "%s/realmtool/inside.sock", session_dir);
	fd = usock_connect(name);
	assert_true(fd >= 0);
	fcntl(fd, F_SETFL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		size_t len = 0;
		ssize_t n = 1;

		dprintf(fd, "{\"v\":1,\"cmd\":\"%s\"%s}\n", words[i],
			!strcmp(words[i], "debug") ? ",\"dump\":true" : "");
		while (len < sizeof(text) - 1 && n > 0 && !memchr(text, '\n', len)) {
			n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
			len += MAX(n, 0);
		}
		text[len] = '\0';
		/* a realm has no balloon, which is an answer, too */
		if (!strstr(text, strcmp(words[i], "memory") ? "\"ok\":true" : "\"ok\":"))
			fail_msg("%s: %.300s", words[i], text);
	}
	close(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_left),
		cmocka_unit_test(test_namespaces),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_mounted_share),
		cmocka_unit_test(test_share_caps),
		cmocka_unit_test(test_landlock),
		cmocka_unit_test(test_audit),
		cmocka_unit_test(test_attendant),
		cmocka_unit_test(test_socket),
		cmocka_unit_test(test_connect),
		cmocka_unit_test(test_fd_names),
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_session),
		cmocka_unit_test(test_taken_over),
		cmocka_unit_test(test_helper),
		cmocka_unit_test(test_control),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
