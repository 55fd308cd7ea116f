// SPDX-License-Identifier: BSD-3-Clause
/*
 * Ways out of the program, and what restores the terminal on each
 *
 *   return from main, exit()       tty_detach(), or atexit()
 *   SIGTERM, SIGINT, SIGHUP        the machine ends in order; before it watches for them: handler
 *   other deadly signals, abort()  handler, which lets the signal do its work afterwards
 *   a crash (SIGSEGV ...)          the same, on the same stack
 *   SIGTSTP from outside           handler; raw mode is set again after SIGCONT
 *   SIGKILL, SIGSTOP               nothing can: the shell has to (they all do)
 */
#include "vmm/tty.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/core/log.h"

/* #syscalls main: rt_sigaction */

static const int deadly[] = {
	SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGSYS, SIGTRAP, SIGQUIT, SIGTERM, SIGINT,
	SIGHUP, SIGXCPU, SIGXFSZ, SIGALRM, SIGVTALRM, SIGPROF, SIGUSR1, SIGUSR2,
};
static const int job[] = { SIGTSTP, SIGCONT, SIGWINCH };

static struct {
	int fd;
	int wake_fd;
	pid_t pid;			/* a forked child that exits restores nothing */
	bool log_too;			/* stderr is this terminal as well */
	struct termios before, raw;
	struct sigaction old_deadly[ARRAY_SIZE(deadly)], old_job[ARRAY_SIZE(job)];
	bool hooked[ARRAY_SIZE(deadly)];
} tty = { .fd = -1, .wake_fd = -1 };

static _Atomic bool attached;
static _Atomic bool is_raw;

bool tty_foreground(int fd)
{
	pid_t group = tcgetpgrp(fd);

	return group < 0 || group == getpgrp();
}

void tty_restore_now(void)
{
	int saved_errno = errno;

	if (getpid() == tty.pid && atomic_exchange(&is_raw, false)) {
		/* In the background it is the shell's, which has set it up for itself. */
		if (tty_foreground(tty.fd))
			tcsetattr(tty.fd, TCSANOW, &tty.before);
		log_set_raw_terminal(false);
	}
	errno = saved_errno;
}

bool tty_raw(void)
{
	if (!atomic_load(&attached) || !tty_foreground(tty.fd))
		return false;
	/* In this order, so that a signal in between restores too much rather than too little. */
	atomic_store(&is_raw, true);
	if (tcsetattr(tty.fd, TCSANOW, &tty.raw) < 0) {
		atomic_store(&is_raw, false);
		return false;
	}
	if (tty.log_too)
		log_set_raw_terminal(true);
	return true;
}

static bool happens_again(int sig, int code)
{
	return sig == SIGSEGV || sig == SIGFPE || sig == SIGILL ||
		(sig == SIGBUS && code != BUS_MCEERR_AO);
}

static void on_deadly(int sig, siginfo_t *info, void *context)
{
	sigset_t set;

	tty_restore_now();
	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
		if (deadly[i] == sig)
			sigaction(sig, &tty.old_deadly[i], NULL);
	/*
	 * A fault happens again on return, now with the earlier handler (or a core dump) and the
	 * true registers. Anything else, such as a kill() or a limit, would be forgotten.
	 */
	if (info->si_code <= 0 || !happens_again(sig, info->si_code)) {
		sigemptyset(&set);
		sigaddset(&set, sig);
		raise(sig);
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	}
}

static void wake(void)
{
	uint64_t add = TTY_WAKE;

	if (write(tty.wake_fd, &add, sizeof(add)) < 0)
		return;			/* the counter is full: awake already */
}

static void on_job(int sig)
{
	int saved_errno = errno;
	struct sigaction dfl = { .sa_handler = SIG_DFL }, mine;
	sigset_t set;

	if (sig == SIGTSTP) {
		tty_restore_now();
		sigaction(SIGTSTP, &dfl, &mine);
		sigemptyset(&set);
		sigaddset(&set, SIGTSTP);
		raise(SIGTSTP);
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);	/* stops here */
		sigaction(SIGTSTP, &mine, NULL);
	}
	wake();
	errno = saved_errno;
}

static bool same_tty(int a, int b)
{
	struct stat sa, sb;

	return isatty(a) && isatty(b) && fstat(a, &sa) == 0 && fstat(b, &sb) == 0 &&
		sa.st_rdev == sb.st_rdev;
}

/* Handlers that exist already are called after ours; of the other deadly signals they win. */
static bool is_fault(int sig)
{
	return sig == SIGSEGV || sig == SIGBUS || sig == SIGABRT || sig == SIGFPE ||
		sig == SIGILL || sig == SIGSYS || sig == SIGTRAP;
}

int tty_attach(int fd, int wake_fd)
{
	static bool at_exit;
	struct sigaction sa = { .sa_sigaction = on_deadly, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct sigaction sj = { .sa_handler = on_job, .sa_flags = SA_RESTART | SA_ONSTACK };

	if (atomic_load(&attached))
		return -EBUSY;
	if (tcgetattr(fd, &tty.before) < 0)
		return -errno;
	tty.raw = tty.before;
	cfmakeraw(&tty.raw);
	tty.raw.c_cc[VMIN] = 1;
	tty.raw.c_cc[VTIME] = 0;
	tty.fd = fd;
	tty.wake_fd = wake_fd;
	tty.pid = getpid();
	tty.log_too = same_tty(fd, STDERR_FILENO);
	atomic_store(&attached, true);

	if (!at_exit)
		at_exit = atexit(tty_restore_now) == 0;
	sigemptyset(&sa.sa_mask);
	sigemptyset(&sj.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++) {
		struct sigaction *old = &tty.old_deadly[i];

		sigaction(deadly[i], NULL, old);
		tty.hooked[i] = is_fault(deadly[i]) ||
			(!(old->sa_flags & SA_SIGINFO) && old->sa_handler == SIG_DFL);
		if (tty.hooked[i])
			sigaction(deadly[i], &sa, NULL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(job); i++)
		sigaction(job[i], &sj, &tty.old_job[i]);
	return 0;
}

void tty_detach(void)
{
	struct sigaction now;

	if (!atomic_load(&attached))
		return;
	tty_restore_now();
	for (size_t i = 0; i < ARRAY_SIZE(job); i++)
		sigaction(job[i], &tty.old_job[i], NULL);
	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++) {
		if (!tty.hooked[i])
			continue;
		/* Not if somebody has put a handler over ours meanwhile. */
		sigaction(deadly[i], NULL, &now);
		if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_deadly)
			sigaction(deadly[i], &tty.old_deadly[i], NULL);
	}
	atomic_store(&attached, false);
	tty.fd = tty.wake_fd = -1;
}
