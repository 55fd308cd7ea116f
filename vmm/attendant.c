// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/attendant.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"

/*
 * #syscalls main,vcpu: sendto recvmsg close
 * #syscalls main: wait4
 */

#define JOBS_MAX	128	/* a helper and a script for each of 32 devices, twice */

struct answer {
	int ret;
	char text[sizeof(((struct err *)0)->msg)];
};

static struct {
	struct attendant_job job[JOBS_MAX];
	bool done[JOBS_MAX];		/* in the attendant */
	unsigned int nr;
	int fd;				/* the sandboxed end */
	pid_t pid;			/* 0: it does not run */
	pthread_mutex_t lock;		/* one question at a time */
} a = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 };

int attendant_add(const struct attendant_job *job)
{
	if (a.pid)
		return -EBUSY;
	for (unsigned int i = 0; i < JOBS_MAX; i++) {
		if (a.job[i].fn)
			continue;
		a.job[i] = *job;
		a.nr = MAX(a.nr, i + 1);
		return i;
	}
	return -ENFILE;
}

void attendant_withdraw(int number)
{
	if (!a.pid && number >= 0 && (unsigned int)number < a.nr)
		a.job[number].fn = NULL;
}

bool attendant_runs(void)
{
	return a.pid != 0;
}

/* ---- outside --------------------------------------------------------------------------------- */

static void answer(int fd, int ret, const struct err *e, const int *fds, unsigned int nr)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int) * ATTENDANT_FDS)];
	} c = { 0 };
	struct answer an = { .ret = ret };
	struct iovec iov = { &an, sizeof(an) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (ret < 0)
		memcpy(an.text, e->msg, sizeof(an.text));
	if (nr) {
		m.msg_control = c.room;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * nr);
		c.h.cmsg_level = SOL_SOCKET;
		c.h.cmsg_type = SCM_RIGHTS;
		c.h.cmsg_len = CMSG_LEN(sizeof(int) * nr);
		memcpy(CMSG_DATA(&c.h), fds, sizeof(int) * nr);
	}
	/* nobody there any more: the end comes next */
	if (sendmsg(fd, &m, MSG_NOSIGNAL) < 0)
		log_debug("attendant: %s", strerror(errno));
}

static void work(int fd, unsigned int number)
{
	int fds[ATTENDANT_FDS], ret = -EINVAL;
	struct err e = { 0 };
	unsigned int nr = 0;

	if (number < a.nr && a.job[number].fn) {
		a.done[number] = true;
		ret = a.job[number].fn(a.job[number].ctx, fds, &nr, &e);
	}
	answer(fd, ret, &e, fds, nr);
	while (nr > 0)
		close(fds[--nr]);
}

static void finish(void)
{
	for (unsigned int i = 0; i < a.nr; i++) {
		int fds[ATTENDANT_FDS];
		struct err e = { 0 };
		unsigned int nr = 0;

		if (a.job[i].fn && a.job[i].at_end && !a.done[i] &&
		    a.job[i].fn(a.job[i].ctx, fds, &nr, &e) < 0)
			log_warning("%s", e.msg);
		while (nr > 0)
			close(fds[--nr]);
	}
}

static bool wanted(int fd, int mine)
{
	for (unsigned int i = 0; i < a.nr; i++)
		if (a.job[i].fn && a.job[i].fd == fd)
			return true;
	return fd == mine;
}

/* All but the standard ones, which lead to nowhere but for stderr, and those of the jobs. */
static void close_others(int mine)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), from = 3, top = mine;

	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
	}
	for (unsigned int i = 0; i < a.nr; i++)
		if (a.job[i].fn)
			top = MAX(top, a.job[i].fd);
	for (int fd = 3; fd <= top + 1; fd++) {
		if (fd <= top && !wanted(fd, mine))
			continue;
		if (fd > from)
			syscall(SYS_close_range, from, fd - 1, 0);
		from = fd + 1;
	}
	syscall(SYS_close_range, top + 1, ~0U, 0);
}

_Noreturn static void attend(int fd)
{
	static const int ignored[] = {
		SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTTOU, SIGPIPE, SIGUSR1,
	};
	unsigned char number;

	/* not the terminal's: it is needed after the session, which may be ended by one of these */
	setpgid(0, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	prctl(PR_SET_NAME, "attendant");
	close_others(fd);
	for (;;) {
		ssize_t n = recv(fd, &number, 1, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		work(fd, number);
	}
	finish();
	_exit(0);
}

/* ---- start, questions, end ------------------------------------------------------------------- */

int attendant_start(struct err *e)
{
	int sv[2];
	pid_t pid;

	/* its end is the other one's end of file, whatever ends this process */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_set(e, -errno, "sandbox: socketpair: %s", strerror(errno));
	pid = fork();
	if (pid < 0) {
		err_set(e, -errno, "sandbox: fork: %s", strerror(errno));
		close(sv[0]);
		close(sv[1]);
		return e ? e->code : -EAGAIN;
	}
	if (!pid) {
		close(sv[0]);
		attend(sv[1]);
	}
	close(sv[1]);
	a.fd = sv[0];
	a.pid = pid;
	return 0;
}

static int take_fds(struct msghdr *m, int *fds, unsigned int nr)
{
	struct cmsghdr *h = CMSG_FIRSTHDR(m);
	int all[ATTENDANT_FDS];
	unsigned int got;

	if (!h || h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
		return nr ? -EPROTO : 0;
	got = MIN((h->cmsg_len - CMSG_LEN(0)) / sizeof(int), (size_t)ATTENDANT_FDS);
	memcpy(all, CMSG_DATA(h), got * sizeof(int));
	for (unsigned int i = 0; i < got; i++) {
		if (i < nr)
			fds[i] = all[i];
		else
			close(all[i]);
	}
	return got < nr ? -EPROTO : 0;
}

int attendant_ask(int number, int *fds, unsigned int nr, struct err *e)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int) * ATTENDANT_FDS)];
	} c;
	unsigned char n = number;
	struct answer an;
	struct iovec iov = { &an, sizeof(an) };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = c.room, .msg_controllen = sizeof(c.room),
	};
	ssize_t got = -1;
	int ret;

	for (unsigned int i = 0; i < nr; i++)
		fds[i] = -1;
	if (number < 0 || number >= JOBS_MAX)
		return err_set(e, -EINVAL, "sandbox: there is no job for that");
	pthread_mutex_lock(&a.lock);
	if (a.pid && send(a.fd, &n, 1, MSG_NOSIGNAL) == 1) {
		do
			got = recvmsg(a.fd, &m, MSG_CMSG_CLOEXEC);
		while (got < 0 && errno == EINTR);
	}
	pthread_mutex_unlock(&a.lock);
	if (got != (ssize_t)sizeof(an))
		return err_set(e, -EPIPE, "sandbox: the attendant, the process of this guest outside of "
			       "it, is gone");
	ret = take_fds(&m, fds, an.ret < 0 ? 0 : nr);
	an.text[sizeof(an.text) - 1] = '\0';
	if (an.ret < 0)
		return err_set(e, an.ret, "%s", an.text);
	return ret < 0 ? err_set(e, ret, "sandbox: the attendant's answer is incomplete") : 0;
}

void attendant_end(void)
{
	if (a.pid) {
		close(a.fd);
		while (waitpid(a.pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	memset(a.job, 0, sizeof(a.job));
	memset(a.done, 0, sizeof(a.done));
	a.nr = 0;
	a.fd = -1;
	a.pid = 0;
}
