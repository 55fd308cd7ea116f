// SPDX-License-Identifier: BSD-3-Clause
/*
 * Filters of system calls. Each test runs in a child, because a filter is for ever. The sanitizers
 * make calls of their own only where something is wrong and at the end; so children end by _exit(),
 * and one that wants to say that a check failed can: write and exit_group are always allowed.
 */
#include "tests/unit/unit.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/core/kvm_abi.h"
#include "vmm/core/log.h"
#include "vmm/core/seccomp.h"
#include "vmm/core/thread.h"
#include "vmm/syscalls.h"

#define FINE	0
#define WRONG	99	/* a check in the child failed; its line is on stderr */

/* In a child: no cmocka, which would long jump into the parent's stack. */
#define CHECK(cond) do { \
		if (!(cond)) { \
			static const char what[] = #cond "\n"; \
			if (write(2, what, sizeof(what) - 1) < 0) \
				_exit(WRONG - 1); \
			_exit(WRONG); \
		} \
	} while (0)

static char said[4096];		/* what the child wrote to stderr */

/* Return: exit status, or 128 + the signal that ended it */
static int child(void (*fn)(void))
{
	int p[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		dup2(p[1], 2);
		close(p[0]);
		close(p[1]);
		alarm(60);	/* no child waits for ever */
		fn();
		_exit(FINE);
	}
	close(p[1]);
	while ((n = read(p[0], said + len, sizeof(said) - 1 - len)) > 0)
		len += n;
	said[len] = '\0';
	close(p[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void ends(void (*fn)(void), int how)
{
	int got = child(fn);

	if (got != how)
		fail_msg("ends with %d, not %d, and says: %s", got, how, said);
}

static unsigned int lines(void)
{
	unsigned int n = 0;

	for (const char *p = said; (p = strchr(p, '\n')); p++)
		n++;
	return n;
}

#define assert_said(text) do { \
		if (!strstr(said, text)) \
			fail_msg("no \"%s\" in: %s", text, said); \
	} while (0)

/* ---- a table of our own ---------------------------------------------------------------------- */

#define ALL ((1 << THREAD_KINDS) - 1)
#define RULE(who, call, ...) { #call, __NR_##call, who, __VA_ARGS__ }

static const struct seccomp_rule rules[] = {
	RULE(ALL, write), RULE(ALL, exit_group), RULE(ALL, exit), RULE(ALL, futex),
	RULE(ALL, getpid), RULE(ALL, rt_sigprocmask), RULE(ALL, rt_sigreturn),
	RULE(ALL, set_robust_list),
	RULE(ALL, rseq), RULE(ALL, mmap), RULE(ALL, munmap), RULE(ALL, gettid), RULE(ALL, brk),
	RULE(ALL, madvise), RULE(ALL, sched_yield), RULE(ALL, sigaltstack), RULE(ALL, prctl),
	RULE(ALL, rt_sigaction), RULE(ALL, sched_getaffinity),
	RULE(ALL, clone, 0, SECCOMP_ALL_OF, 0, CLONE_THREAD),
	RULE(ALL, clone3, 0, SECCOMP_ERRNO, 0, ENOSYS),
	RULE(ALL, seccomp, 0, SECCOMP_EQUAL, 0, SECCOMP_SET_MODE_FILTER, "SECCOMP_SET_MODE_FILTER"),
	RULE(ALL, mprotect, 0, SECCOMP_NONE_OF, 2, PROT_EXEC),
	RULE(ALL, tgkill, 0, SECCOMP_PID),
	RULE(ALL, openat, 0, SECCOMP_ERRNO, 0, ENOENT),
	RULE(ALL, openat, 2, SECCOMP_ANY),
	RULE(1 << THREAD_MAIN | 1 << THREAD_VCPU, ioctl, 0, SECCOMP_EQUAL, 1, FIONREAD, "FIONREAD"),
	RULE(1 << THREAD_MAIN | 1 << THREAD_IO, ioctl, 0, SECCOMP_EQUAL, 1, TIOCGWINSZ,
	     "TIOCGWINSZ"),
	RULE(1 << THREAD_MAIN, getppid),
	RULE(1 << THREAD_MAIN | 1 << THREAD_IO, getuid),
	RULE(1 << THREAD_MAIN, getgid, 1),
};
static const struct seccomp_name names[] = {
	{ __NR_getppid, "getppid" }, { __NR_ioctl, "ioctl" }, { __NR_uname, "uname" },
	{ __NR_mprotect, "mprotect" }, { __NR_getgid, "getgid" }, { __NR_socket, "socket" },
};
static const struct seccomp_table own = { rules, ARRAY_SIZE(rules), names, ARRAY_SIZE(names) };

static void install(enum seccomp_mode mode, unsigned int groups)
{
	const struct seccomp_cfg cfg = { .mode = mode, .groups = groups };
	struct err e = { 0 };

	CHECK(seccomp_install(&own, &cfg, &e) == 0);
}

static void call_listed(void)
{
	int room;

	install(SECCOMP_ON, 0);
	CHECK(syscall(SYS_getppid) > 0);
	CHECK(ioctl(-1, FIONREAD, &room) < 0 && errno == EBADF);
	CHECK(syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY, 0) < 0 && errno == ENOENT);
	CHECK(syscall(SYS_mprotect, 0, 4096, PROT_READ) < 0);
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
}

static void test_listed(void **state)
{
	ends(call_listed, FINE);
	assert_string_equal(said, "");
}

static void call_unlisted(void)
{
	install(SECCOMP_ON, 0);
	syscall(SYS_uname, NULL);
}

static void test_unlisted(void **state)
{
	ends(call_unlisted, SECCOMP_EXIT);
	assert_int_equal(lines(), 1);
	assert_said("Fatal: sandbox: forbidden system call uname (number ");
	assert_said("by a thread of kind main");
	assert_said("--sandbox=audit");
}

static void call_unnamed(void)
{
	install(SECCOMP_ON, 0);
	syscall(4000);
}

static void test_unnamed(void **state)
{
	ends(call_unnamed, SECCOMP_EXIT);
	assert_said("forbidden system call unknown (number 4000)");
}

static void call_ioctl(void)
{
	install(SECCOMP_ON, 0);
	ioctl(0, TIOCSTI, "x");
}

static void call_exec_page(void)
{
	install(SECCOMP_ON, 0);
	syscall(SYS_mprotect, 0, 4096, PROT_READ | PROT_EXEC);
}

static void call_other_group(void)
{
	install(SECCOMP_ON, 2);
	syscall(SYS_getgid);
}

static void call_own_group(void)
{
	install(SECCOMP_ON, 3);
	CHECK(syscall(SYS_openat, -1, "x", O_RDONLY, 0) < 0 && errno == EBADF);
	syscall(SYS_getgid);
}

static void call_fork(void)
{
	install(SECCOMP_ON, 0);
	syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void call_other_process(void)
{
	install(SECCOMP_ON, 0);
	syscall(SYS_tgkill, 1, 1, 0);
}

static void call_another_filter(void)
{
	install(SECCOMP_ON, 0);
	/* a listener would let calls pass */
	syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, NULL);
}

static void test_arguments(void **state)
{
	ends(call_ioctl, SECCOMP_EXIT);
	assert_said("forbidden system call ioctl");
	assert_said("argument 2: 0x5412");
	ends(call_exec_page, SECCOMP_EXIT);
	assert_said("argument 3: 0x5");
	ends(call_fork, SECCOMP_EXIT);
	ends(call_other_process, SECCOMP_EXIT);
	ends(call_another_filter, SECCOMP_EXIT);
}

static void test_groups(void **state)
{
	ends(call_other_group, SECCOMP_EXIT);
	assert_said("getgid");
	ends(call_own_group, FINE);
}

/* The upper half of an argument that the kernel takes as 32 bits is no way around the list. */
static void call_upper_half(void)
{
	install(SECCOMP_ON, 0);
	syscall(SYS_ioctl, 0, 0xffffffff00000000 | TIOCSTI, "x");
}

static void test_upper_half(void **state)
{
	ends(call_upper_half, SECCOMP_EXIT);
	assert_said("argument 2: 0x5412");
}

#ifdef __x86_64__
/* Numbers of the other two tables of this machine end the process at once. */
static void call_x32(void)
{
	install(SECCOMP_ON, 0);
	syscall(0x40000000 | SYS_getppid);
}

static void test_other_table(void **state)
{
	ends(call_x32, 128 + SIGSYS);
	assert_string_equal(said, "");
}
#endif

/* ---- threads --------------------------------------------------------------------------------- */

static void *in_thread(void *arg)
{
	int room;

	ioctl(0, (uintptr_t)arg, &room);
	return arg;
}

static void *do_getuid(void *arg)
{
	syscall(SYS_getuid);
	return arg;
}

static void *do_getppid(void *arg)
{
	syscall(SYS_getppid);
	return arg;
}

static void start(enum thread_kind kind, void *(*fn)(void *), uintptr_t arg)
{
	pthread_t t;
	void *ret;

	install(SECCOMP_ON, 0);
	CHECK(thread_start(&t, kind, "one", fn, (void *)arg) == 0);
	CHECK(pthread_join(t, &ret) == 0 && ret == (void *)arg);
}

static void vcpu_own(void)
{
	start(THREAD_VCPU, in_thread, FIONREAD);
}

static void vcpu_of_io(void)
{
	start(THREAD_VCPU, in_thread, TIOCGWINSZ);
}

static void io_own(void)
{
	start(THREAD_IO, do_getuid, 7);
}

static void io_of_main(void)
{
	start(THREAD_IO, do_getppid, 7);
}

static void aux_of_io(void)
{
	start(THREAD_AUX, do_getuid, 7);
}

static void test_kinds(void **state)
{
	ends(vcpu_own, FINE);
	ends(vcpu_of_io, SECCOMP_EXIT);
	assert_said("0x5413 TIOCGWINSZ, by a thread of kind vcpu");
	ends(io_own, FINE);
	ends(io_of_main, SECCOMP_EXIT);
	assert_said("getppid");
	assert_said("by a thread of kind io");
	ends(aux_of_io, SECCOMP_EXIT);
	assert_said("by a thread of kind aux");
}

/* All signals but those of a fault are blocked, and a vCPU's kick; the name is set. */
static void *look_around(void *arg)
{
	static const int fault[] = { SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS };
	char name[16];
	sigset_t set;

	pthread_sigmask(SIG_SETMASK, NULL, &set);
	for (size_t i = 0; i < ARRAY_SIZE(fault); i++)
		CHECK(!sigismember(&set, fault[i]));
	CHECK(sigismember(&set, SIGTERM) && sigismember(&set, SIGINT));
	CHECK(sigismember(&set, SIGPIPE));
	CHECK(sigismember(&set, THREAD_KICK) == (thread_kind() != THREAD_VCPU));
	CHECK(prctl(PR_GET_NAME, name) == 0 && !strcmp(name, "look"));
	CHECK(thread_kind() == (enum thread_kind)(uintptr_t)arg);
	return NULL;
}

static void threads_without_filters(void)
{
	for (int kind = THREAD_VCPU; kind < THREAD_KINDS; kind++) {
		pthread_t t = 0;
		sigset_t set;

		CHECK(thread_start(&t, kind, "look", look_around, (void *)(uintptr_t)kind) == 0);
		CHECK(pthread_join(t, NULL) == 0);
		pthread_sigmask(SIG_SETMASK, NULL, &set);
		CHECK(!sigismember(&set, SIGTERM));
	}
	CHECK(thread_kind() == THREAD_MAIN && seccomp_insns(THREAD_MAIN) == 0);
}

static void test_threads(void **state)
{
	ends(threads_without_filters, FINE);
}

static void *never(void *arg)
{
	CHECK(!"a thread without its filter runs");
	return arg;
}

/* The kernel refuses a thread's filter: the thread does not run, its starter is told. */
static void filter_refused(void)
{
	static const struct seccomp_rule some[] = {
		RULE(ALL, write), RULE(ALL, exit_group), RULE(ALL, exit), RULE(ALL, futex),
		RULE(ALL, rt_sigprocmask), RULE(ALL, set_robust_list), RULE(ALL, rseq),
		RULE(ALL, mmap), RULE(ALL, munmap), RULE(ALL, mprotect), RULE(ALL, madvise),
		RULE(ALL, prctl),
		RULE(ALL, clone), RULE(ALL, clone3, 0, SECCOMP_ERRNO, 0, ENOSYS), RULE(ALL, gettid),
		RULE(ALL, sigaltstack), RULE(ALL, sched_yield), RULE(ALL, getpid), RULE(ALL, brk),
		RULE(ALL, rt_sigaction), RULE(ALL, sched_getaffinity),
		RULE(ALL, seccomp, 0, SECCOMP_ERRNO, 0, EACCES),
	};
	static const struct seccomp_table t = { some, ARRAY_SIZE(some), names, ARRAY_SIZE(names) };
	const struct seccomp_cfg cfg = { .mode = SECCOMP_ON };
	struct err e = { 0 };
	pthread_t thread;

	CHECK(seccomp_install(&t, &cfg, &e) == 0);
	CHECK(thread_start(&thread, THREAD_IO, "never", never, NULL) == -EACCES);
}

static void test_filter_refused(void **state)
{
	ends(filter_refused, FINE);
}

/* ---- how it ends ----------------------------------------------------------------------------- */

static void wish(void)
{
	if (write(2, "restored\n", 9) < 0)
		_exit(WRONG);
}

static void call_with_wish(void)
{
	const struct seccomp_cfg cfg = { .mode = SECCOMP_ON, .last_wish = wish };
	struct err e = { 0 };

	CHECK(seccomp_install(&own, &cfg, &e) == 0);
	syscall(SYS_uname, NULL);
}

static void call_json(void)
{
	log_set_json("a\"b");
	call_unlisted();
}

static void signal_from_outside(void)
{
	const struct seccomp_cfg cfg = { .mode = SECCOMP_ON, .last_wish = wish };
	struct err e = { 0 };

	CHECK(seccomp_install(&own, &cfg, &e) == 0);
	syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGSYS);
	CHECK(!"it goes on");
}

static void test_end(void **state)
{
	ends(call_with_wish, SECCOMP_EXIT);
	/* the terminal first, then the line */
	assert_true(!strncmp(said, "restored\nFatal: ", 16));
	ends(call_json, SECCOMP_EXIT);
	assert_true(!strncmp(said, "{\"level\":\"fatal\",\"vm\":\"a?b\",", 28));
	assert_true(said[strlen(said) - 2] == '}');
}

static void test_signal_from_outside(void **state)
{
	assert_int_not_equal(child(signal_from_outside), WRONG);
	assert_said("restored\n");
	assert_null(strstr(said, "forbidden"));
}

/* ---- audit ----------------------------------------------------------------------------------- */

static void audit_calls(void)
{
	struct stat st;
	char buf[32] = { 0 };
	int fd, p[2];

	install(SECCOMP_AUDIT, 0);
	/* results, errors, six arguments, memory, several times the same */
	CHECK(syscall(SYS_getgid) == getgid());
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(fd >= 0);
	CHECK(close(fd) == 0);
	CHECK(dup(fd) < 0 && errno == EBADF);
	CHECK(fstat(2, &st) == 0 && S_ISFIFO(st.st_mode));
	CHECK(pipe2(p, O_CLOEXEC) == 0);
	CHECK(write(p[1], "hello", 5) == 5 && read(p[0], buf, sizeof(buf)) == 5);
	CHECK(!strcmp(buf, "hello"));
	CHECK(mprotect(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096,
		       PROT_READ | PROT_EXEC) == 0);
}

static void *audit_thread(void *arg)
{
	CHECK(syscall(SYS_getppid) == getppid());
	return arg;
}

static void audit_in_thread(void)
{
	pthread_t t;

	install(SECCOMP_AUDIT, 0);
	CHECK(thread_start(&t, THREAD_AUX, "audit", audit_thread, NULL) == 0);
	CHECK(pthread_join(t, NULL) == 0);
}

static void test_audit(void **state)
{
	const char *twice;

	ends(audit_calls, FINE);
	assert_said("Warning: sandbox: forbidden system call getgid (number ");
	assert_said("forbidden system call socket (number ");
	assert_said("forbidden system call mprotect (number ");
	assert_null(strstr(said, "Fatal"));
	twice = strstr(said, "getgid");
	assert_null(strstr(twice + 1, "getgid"));
	ends(audit_in_thread, FINE);
	assert_said("getppid");
	assert_said("by a thread of kind aux");
	assert_int_equal(lines(), 1);
}

/* ---- the product's table --------------------------------------------------------------------- */

static bool allows(enum thread_kind kind, unsigned int groups, unsigned int nr, int arg,
		   uint32_t value)
{
	const struct seccomp_table *t = syscalls_table();

	for (size_t i = 0; i < t->nr_rules; i++) {
		const struct seccomp_rule *r = &t->rule[i];

		if (r->nr != nr || !(r->kinds >> kind & 1) || (r->groups && !(r->groups & groups)))
			continue;
		if (r->op == SECCOMP_ANY ||
		    (arg >= 0 && r->op == SECCOMP_EQUAL && r->arg == (unsigned int)arg &&
		     r->value == value))
			return true;
	}
	return false;
}

static void test_product(void **state)
{
	const unsigned int everything = ~0u;
	static const unsigned int never_made[] = {
		__NR_execve, __NR_execveat, __NR_ptrace, __NR_mount, __NR_umount2, __NR_pivot_root,
		__NR_setns, __NR_unshare, __NR_bpf, __NR_userfaultfd, __NR_perf_event_open,
		__NR_init_module, __NR_kexec_load, __NR_reboot, __NR_process_vm_writev, __NR_kill,
		__NR_pidfd_getfd, __NR_setuid, __NR_setresuid, __NR_capset, __NR_keyctl,
		__NR_personality, __NR_shmat, __NR_bind, __NR_listen,
	};

	for (int kind = 0; kind < THREAD_KINDS; kind++) {
		for (size_t i = 0; i < ARRAY_SIZE(never_made); i++)
			assert_false(allows(kind, everything, never_made[i], -1, 0));
		assert_true(allows(kind, 0, __NR_futex, -1, 0));
		/* whatever its arguments: never */
		assert_false(allows(kind, everything, __NR_ioctl, -1, 0));
		assert_false(allows(kind, everything, __NR_mmap, -1, 0));
		assert_false(allows(kind, everything, __NR_mprotect, -1, 0));
		assert_false(allows(kind, everything, __NR_prctl, -1, 0));
		assert_false(allows(kind, everything, __NR_clone, -1, 0));
		assert_false(allows(kind, everything, __NR_clone3, -1, 0));
		assert_false(allows(kind, everything, __NR_seccomp, -1, 0));
		assert_false(allows(kind, everything, __NR_ioctl, 1, TIOCSTI));
	}
	assert_true(allows(THREAD_VCPU, 0, __NR_ioctl, 1, KVM_RUN));
	assert_false(allows(THREAD_IO, everything, __NR_ioctl, 1, KVM_RUN));
	assert_false(allows(THREAD_VCPU, 0, __NR_ioctl, 1, KVM_CREATE_VM));
	assert_true(allows(THREAD_MAIN, 0, __NR_ioctl, 1, KVM_CREATE_VM));
	/* paths: folders that are shared, nothing else */
	assert_false(allows(THREAD_MAIN, 0, __NR_openat, -1, 0));
	assert_false(allows(THREAD_VCPU, everything, __NR_openat, -1, 0));
	assert_true(allows(THREAD_IO, SECCOMP_9P, __NR_openat2, -1, 0));
	assert_false(allows(THREAD_IO, everything & ~SECCOMP_9P, __NR_openat2, -1, 0));
	/* sockets: what a guest connects to by vsock */
	assert_false(allows(THREAD_IO, everything & ~SECCOMP_VSOCK, __NR_socket, 0, AF_UNIX));
	assert_true(allows(THREAD_IO, SECCOMP_VSOCK, __NR_socket, 0, AF_UNIX));
	assert_false(allows(THREAD_IO, everything, __NR_socket, 0, AF_INET));
	/* main has what any other has, because others inherit from it */
	for (size_t i = 0; i < syscalls_table()->nr_rules; i++)
		assert_true(syscalls_table()->rule[i].kinds & 1 << THREAD_MAIN);
}

static void *nothing(void *arg)
{
	return arg;
}

/* All filters of a guest that has everything, as the product installs them. */
static void product_all(void)
{
	struct vm_config *c = calloc(1, sizeof(*c));
	struct err e = { 0 };
	pthread_t t;

	CHECK(c);
	config_defaults(c);
	c->mode = MODE_EMULATED;
	c->nr_shares = c->nr_disks = c->nr_nets = c->nr_vfios = 1;
	c->vsock.cid = 3;
	CHECK(syscalls_restrict(c, SECCOMP_ON, NULL, &e) == 0);
	for (int kind = 0; kind < THREAD_KINDS; kind++)
		CHECK(seccomp_insns(kind) > 50 && seccomp_insns(kind) < 4096);
	/* an ended thread, a second one, memory: what libc does by itself */
	for (int i = 0; i < 3; i++) {
		CHECK(thread_start(&t, THREAD_IO, "some", nothing, NULL) == 0);
		CHECK(pthread_join(t, NULL) == 0);
	}
	free(malloc(1 << 20));
}

static void test_product_filters(void **state)
{
	ends(product_all, FINE);
}

/* Which parts of the table a configuration switches on. */
static void test_groups_of_config(void **state)
{
	struct vm_config *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	config_defaults(c);
	assert_int_equal(syscalls_groups(c), 0);
	c->mode = MODE_EMULATED;
	assert_int_equal(syscalls_groups(c), SECCOMP_REALM);
	c->mode = MODE_PLAIN;
	c->nr_shares = 1;
	assert_int_equal(syscalls_groups(c), SECCOMP_9P);
	c->share[0].kind = SHARE_FS;
	assert_int_equal(syscalls_groups(c), SECCOMP_BACKEND);
	c->nr_shares = 0;
	c->vsock.cid = 3;
	assert_int_equal(syscalls_groups(c), SECCOMP_VHOST);
	c->vsock.path = (char *)(uintptr_t)"x";
	assert_int_equal(syscalls_groups(c), SECCOMP_VSOCK);
	free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listed),
		cmocka_unit_test(test_unlisted),
		cmocka_unit_test(test_unnamed),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_upper_half),
#ifdef __x86_64__
		cmocka_unit_test(test_other_table),
#endif
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_filter_refused),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_signal_from_outside),
		cmocka_unit_test(test_audit),
		cmocka_unit_test(test_product),
		cmocka_unit_test(test_product_filters),
		cmocka_unit_test(test_groups_of_config),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
