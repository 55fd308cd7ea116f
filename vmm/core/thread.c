// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the C library asks the kernel for in any thread: its start, its end, memory, locks, time
 * where the vDSO has none. abort() and raise() are of a failed check of the compiler's.
 *
 * #syscalls all: brk mmap!PROT_EXEC mprotect!PROT_EXEC munmap mremap
 * #syscalls all: madvise=MADV_DONTNEED|MADV_FREE|MADV_HUGEPAGE|MADV_NOHUGEPAGE|MADV_DONTDUMP
 * #syscalls all: futex sched_yield sched_getaffinity set_robust_list rseq gettid getpid exit
 * #syscalls all: exit_group
 * #syscalls all: rt_sigprocmask rt_sigreturn rt_sigaction sigaltstack restart_syscall
 * #syscalls all: tgkill@pid clock_gettime clock_nanosleep getrandom close fstat newfstatat lseek
 * Libraries look for configuration when they are first used (libcrypto, time zones); there is none.
 * #syscalls main,vcpu,aux: openat#ENOENT open#ENOENT
 * qsort() asks how much memory there is.
 * #syscalls all: sysinfo
 * Starting one; glibc asks for clone3() first, whose flags no filter can see, and takes ENOSYS for
 * an answer.
 * #syscalls main,aux: clone&CLONE_THREAD clone3#ENOSYS
 * #syscalls all: prctl=PR_SET_NAME
 */
#include "vmm/core/thread.h"

#include <errno.h>
#include <limits.h>
#include <semaphore.h>

#include "vmm/core/seccomp.h"
#include "vmm/core/types.h"

/* A vCPU's thread runs for as long as its guest does, and there can be hundreds. */
#define VCPU_STACK	(128 * 1024)

struct start {
	enum thread_kind kind;
	const char *name;
	void *(*run)(void *);
	void *arg;
	pthread_t *self;
	sem_t ready;
	int ret;
};

static __thread enum thread_kind my_kind = THREAD_MAIN;

const char *thread_kind_name(enum thread_kind kind)
{
	static const char *const name[THREAD_KINDS] = { "main", "vcpu", "io", "aux" };

	return name[kind];
}

enum thread_kind thread_kind(void)
{
	return my_kind;
}

static void *begin(void *arg)
{
	struct start *s = arg, own = *s;
	int ret;

	my_kind = own.kind;
	*own.self = pthread_self();
	pthread_setname_np(pthread_self(), own.name);
	ret = seccomp_thread(own.kind);
	s->ret = ret;
	sem_post(&s->ready);	/* @s is gone from here on */
	return ret < 0 ? NULL : own.run(own.arg);
}

/* Signals for the process are the main thread's. A fault, a forbidden call is its thread's. */
static void signals_of(enum thread_kind kind, sigset_t *block)
{
	static const int fault[] = {
		SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS,
	};

	sigfillset(block);
	for (size_t i = 0; i < ARRAY_SIZE(fault); i++)
		sigdelset(block, fault[i]);
	if (kind == THREAD_VCPU)
		sigdelset(block, THREAD_KICK);
}

int thread_start(pthread_t *t, enum thread_kind kind, const char *name, void *(*run)(void *),
		 void *arg)
{
	struct start s = { .kind = kind, .name = name, .run = run, .arg = arg, .self = t };
	sigset_t block, old;
	pthread_attr_t attr;
	pthread_t thread;
	int ret;

	ret = pthread_attr_init(&attr);
	if (ret)
		return -ret;
	if (kind == THREAD_VCPU)
		pthread_attr_setstacksize(&attr, MAX(VCPU_STACK, (long)PTHREAD_STACK_MIN));
	sem_init(&s.ready, 0, 0);
	signals_of(kind, &block);
	pthread_sigmask(SIG_SETMASK, &block, &old);
	ret = pthread_create(&thread, &attr, begin, &s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (!ret) {
		while (sem_wait(&s.ready) < 0 && errno == EINTR)
			;
		ret = -s.ret;
		if (ret)
			pthread_join(thread, NULL);
	}
	sem_destroy(&s.ready);
	return -ret;
}
