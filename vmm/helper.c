// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/attendant.h"
#include "vmm/core/err.h"
#include "vmm/core/thread.h"

/* #syscalls main,aux?backend: poll ppoll read close waitid wait4 eventfd2 */

#define LINE_MAX_LEN	512	/* longer lines are cut in pieces */
#define KILL_MS		5000	/* how long a killed process may take, if its I/O hangs */
#define DRAIN_MS	200	/* for the last words of one that has ended */
#define PATIENCE_MS	3000	/* for one that ends by itself when it is asked to */

struct helper {
	char name[32];
	enum log_level level;
	pid_t pid;
	pid_t owner;			/* who started it: in the attendant most are not its own */
	int pidfd;
	int out;			/* what it says */
	int stop;			/* eventfd: the listener shall end */
	pthread_t listener;
	bool listening;
	_Atomic bool leaving;		/* its end is wanted */
	int job;			/* its end, for the attendant; -1: none */
	struct helper *next;		/* in @pending */
	struct log_rate rate;
	pthread_mutex_t lock;		/* of @line and @last */
	size_t len;
	char line[LINE_MAX_LEN], last[LINE_MAX_LEN];
};

/* Those that nobody listens to yet, because there may be no threads. */
static struct helper *pending;
static bool deferred;

/* ---- where it is ----------------------------------------------------------------------------- */

static char *try_dir(const char *dir, size_t len, const char *name)
{
	struct stat st;
	char *path;

	/* an empty element of $PATH is the current folder: not for us */
	if (!len || asprintf(&path, "%.*s/%s", (int)len, dir, name) < 0)
		return NULL;
	if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0)
		return path;
	free(path);
	return NULL;
}

char *helper_find(const char *name)
{
	static const char *const elsewhere[] = { "/usr/libexec", "/usr/lib/qemu" };
	const char *p = getenv("PATH");
	char self[4096], *path = NULL;
	ssize_t n;

	if (strchr(name, '/'))
		return access(name, X_OK) == 0 ? strdup(name) : NULL;
	while (p && *p && !path) {
		size_t len = strcspn(p, ":");

		path = try_dir(p, len, name);
		p += len + (p[len] == ':');
	}
	n = path ? -1 : readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = '\0';
		path = try_dir(self, strrchr(self, '/') - self, name);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(elsewhere) && !path; i++)
		path = try_dir(elsewhere[i], strlen(elsewhere[i]), name);
	return path;
}

/* ---- what it says ---------------------------------------------------------------------------- */

static void end_line(struct helper *h)
{
	h->line[h->len] = '\0';
	if (h->len) {
		memcpy(h->last, h->line, h->len + 1);
		log_rated(&h->rate, h->level, "%s: %s", h->name, h->line);
	}
	h->len = 0;
}

/* Return: false at the end */
static bool hear(struct helper *h)
{
	char buf[1024];
	ssize_t n = read(h->out, buf, sizeof(buf));

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	pthread_mutex_lock(&h->lock);
	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] == '\n' || h->len == sizeof(h->line) - 1)
			end_line(h);
		/* it may have its words from a guest or a peer: no escape sequences */
		if ((unsigned char)buf[i] >= ' ' && buf[i] != 0x7f)
			h->line[h->len++] = buf[i];
		else if (buf[i] == '\t')
			h->line[h->len++] = ' ';
	}
	if (!n)
		end_line(h);
	pthread_mutex_unlock(&h->lock);
	return n > 0;
}

/* How it ended, which is not forgotten by asking. Return: false: it has not. */
static bool how_ended(const struct helper *h, char *text, size_t room)
{
	siginfo_t si = {0};

	if (waitid(P_PID, h->pid, &si, WEXITED | WNOHANG | WNOWAIT) < 0 || !si.si_pid)
		return false;
	if (si.si_code == CLD_EXITED)
		snprintf(text, room, "ended with code %d", si.si_status);
	else
		snprintf(text, room, "was ended by signal %d (%s)", si.si_status,
			 strsignal(si.si_status));
	return true;
}

static void *listener(void *arg)
{
	struct helper *h = arg;
	struct pollfd p[] = {
		{ .fd = h->out, .events = POLLIN },
		{ .fd = h->pidfd, .events = POLLIN },
		{ .fd = h->stop, .events = POLLIN },
	};
	char how[64], last[LINE_MAX_LEN];

	while (!p[2].revents) {
		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			continue;
		if (p[0].revents && !hear(h))
			p[0].fd = -1;
		if (!p[1].revents)
			continue;
		while (p[0].fd >= 0 && poll(p, 1, DRAIN_MS) > 0 && hear(h))
			;
		p[0].fd = p[1].fd = -1;
		if (h->leaving || !how_ended(h, how, sizeof(how)))
			continue;
		pthread_mutex_lock(&h->lock);
		memcpy(last, h->last, sizeof(last));
		pthread_mutex_unlock(&h->lock);
		log_warning("%s %s%s%s", h->name, how, *last ? ": " : "", last);
	}
	return NULL;
}

/* ---- start ----------------------------------------------------------------------------------- */

#define NR_VARS 8

/* What is left of the environment for a helper. A script gets all of it. */
static char **environment(const struct helper_cfg *cfg, char *own[NR_VARS])
{
	static const char *const vars[NR_VARS - 1] = {
		"PATH=", "HOME=", "TMPDIR=", "LANG=", "LC_ALL=", "TZ=", "XDG_RUNTIME_DIR=",
	};
	unsigned int n = 0;

	if (cfg->ends)
		return environ;
	for (char **v = environ; v && *v; v++)
		for (size_t i = 0; i < ARRAY_SIZE(vars); i++)
			if (!strncmp(*v, vars[i], strlen(vars[i])) && n < ARRAY_SIZE(vars))
				own[n++] = *v;
	own[n] = NULL;
	return own;
}

/*
 * In the new process. Other threads of the old one may have held locks of the C library: from here
 * on only what signal-safety(7) allows.
 */
_Noreturn static void become(const char *path, const struct helper_cfg *cfg, char **env, int out,
			     int report, pid_t parent)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;
	int null, error;

	/* away from the terminal's signals, and all that it forks can be ended with it */
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(127);
	for (int s = 1; s < NSIG; s++)
		sigaction(s, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
		goto fail;
	/* CLOSE_RANGE_CLOEXEC (Linux 5.11) keeps @report open until the very end */
	if (syscall(SYS_close_range, 3, ~0U, 1 << 2) < 0)
		goto fail;
	for (unsigned int i = 0; i < cfg->nr_fds; i++)
		if (fcntl(cfg->fd[i], F_SETFD, 0) < 0)
			goto fail;
	/* but for a script, which may have to become somebody else to do its work */
	if (!cfg->ends && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		goto fail;
	execve(path, (char *const *)(uintptr_t)cfg->argv, env);
fail:
	error = errno;
	if (write(report, &error, sizeof(error)) < 0)
		_exit(126);
	_exit(127);
}

static void free_helper(struct helper *h)
{
	if (h->out >= 0)
		close(h->out);
	if (h->stop >= 0)
		close(h->stop);
	if (h->pidfd >= 0)
		close(h->pidfd);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static int missing(const struct helper_cfg *cfg, struct err *e)
{
	return err_set(e, -ENOENT, "%s is not there, neither in $PATH nor beside realmtool: install "
		       "it (Debian: apt install %s)%s%s", cfg->argv[0], cfg->package,
		       cfg->instead ? ", or " : "", cfg->instead ? cfg->instead : "");
}

/* Fork; 0 or a negative errno, also that of a failed exec */
static int launch(struct helper *h, const char *path, const struct helper_cfg *cfg)
{
	char *own[NR_VARS], **env = environment(cfg, own);
	int out[2], report[2], error = 0, ret;
	pid_t parent = getpid();
	ssize_t n;

	if (pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(report, O_CLOEXEC) < 0) {
		ret = -errno;
		goto out_pipe;
	}
	h->owner = parent;
	h->pid = fork();
	if (!h->pid)
		become(path, cfg, env, out[1], report[1], parent);
	ret = h->pid < 0 ? -errno : 0;
	close(report[1]);
	if (ret < 0)
		goto out_report;
	do
		n = read(report[0], &error, sizeof(error));
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		waitpid(h->pid, NULL, 0);
		ret = -error;
		goto out_report;
	}
	/* nobody has waited for it, so the number is still its own */
	h->pidfd = syscall(SYS_pidfd_open, h->pid, 0);
	if (h->pidfd < 0) {
		ret = -errno;
		kill(-h->pid, SIGKILL);
		waitpid(h->pid, NULL, 0);
		goto out_report;
	}
	h->out = out[0];
	out[0] = -1;
	fcntl(h->out, F_SETFL, O_NONBLOCK);
out_report:
	close(report[0]);
out_pipe:
	if (out[0] >= 0)
		close(out[0]);
	close(out[1]);
	return ret;
}

/* Return: it has ended */
static bool wait_end(const struct helper *h, int ms)
{
	struct pollfd p = { .fd = h->pidfd, .events = POLLIN };

	return poll(&p, 1, ms) > 0;
}

/* SIGTERM, then SIGKILL, to it and to what it has forked. */
static void quit(struct helper *h, unsigned int patience_ms)
{
	if (!wait_end(h, 0)) {
		kill(-h->pid, SIGTERM);
		wait_end(h, patience_ms);
	}
	/* not reaped yet, the number is its own */
	if (!syscall(SYS_pidfd_send_signal, h->pidfd, 0, NULL, 0))
		kill(-h->pid, SIGKILL);
	if (!wait_end(h, KILL_MS))
		log_warning("%s (process %d) does not end", h->name, (int)h->pid);
}

static int quit_job(void *ctx, int fds[ATTENDANT_FDS], unsigned int *nr, struct err *e)
{
	quit(ctx, PATIENCE_MS);
	return 0;
}

static int add_job(struct helper *h)
{
	const struct attendant_job job = {
		.fn = quit_job, .ctx = h, .at_end = true, .fd = h->pidfd,
	};

	h->job = attendant_add(&job);
	return MIN(h->job, 0);
}

static int listen_to(struct helper *h)
{
	int ret = thread_start(&h->listener, THREAD_AUX, "helper", listener, h);

	h->listening = !ret;
	return ret;
}

void helpers_defer(void)
{
	deferred = true;
}

void helpers_apart(void)
{
	pending = NULL;
	deferred = false;
}

int helpers_listen(struct err *e)
{
	int ret = 0;

	deferred = false;
	for (struct helper *h = pending; h && !ret; h = pending) {
		pending = h->next;
		ret = listen_to(h);
		if (ret < 0)
			err_set(e, ret, "cannot listen to %s: %s", h->name, strerror(-ret));
	}
	return ret;
}

int helper_start(const struct helper_cfg *cfg, struct helper **out, struct err *e)
{
	const char *base = strrchr(cfg->argv[0], '/');
	struct helper *h;
	char *path;
	int ret;

	*out = NULL;
	path = helper_find(cfg->argv[0]);
	if (!path)
		return missing(cfg, e);
	h = calloc(1, sizeof(*h));
	if (!h) {
		free(path);
		return err_set(e, -ENOMEM, "%s: no memory", cfg->argv[0]);
	}
	snprintf(h->name, sizeof(h->name), "%s", base ? base + 1 : cfg->argv[0]);
	h->level = cfg->level;
	h->job = -1;
	h->leaving = cfg->ends;
	h->pidfd = h->out = -1;
	pthread_mutex_init(&h->lock, NULL);
	h->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = h->stop < 0 ? -errno : launch(h, path, cfg);
	if (ret < 0) {
		err_set(e, ret, "cannot start %s: %s", path, strerror(-ret));
		free(path);
		free_helper(h);
		return ret;
	}
	ret = cfg->ends ? 0 : add_job(h);
	if (!ret && deferred && !cfg->ends) {
		h->next = pending;
		pending = h;
	} else if (!ret) {
		ret = listen_to(h);
	}
	log_debug("%s started: process %d", path, (int)h->pid);
	free(path);
	if (ret < 0) {
		helper_stop(h, 0);
		return err_set(e, ret, "cannot listen to %s: %s", cfg->argv[0], strerror(-ret));
	}
	*out = h;
	return 0;
}

int helper_pidfd(const struct helper *h)
{
	return h->pidfd;
}

bool helper_alive(const struct helper *h)
{
	return !wait_end(h, 0);
}

int helper_wait(struct helper *h, unsigned int ms, struct err *e)
{
	siginfo_t si = {0};

	if (!wait_end(h, ms))
		return err_set(e, -ETIMEDOUT, "%s has not ended after %u s", h->name, ms / 1000);
	if (!waitid(P_PID, h->pid, &si, WEXITED | WNOHANG | WNOWAIT) && si.si_pid &&
	    si.si_code == CLD_EXITED && !si.si_status)
		return 0;
	return helper_error(h, "it failed", e);
}

int helper_error(struct helper *h, const char *what, struct err *e)
{
	char how[64], last[LINE_MAX_LEN];

	/* an end that is just about to happen explains more than none */
	if (!wait_end(h, DRAIN_MS) || !how_ended(h, how, sizeof(how)))
		return err_set(e, -ETIMEDOUT, "%s: %s did not answer", what, h->name);
	if (h->listening)
		usleep(DRAIN_MS * 1000);	/* its last words are on their way */
	else
		while (hear(h))
			if (poll(&(struct pollfd){ .fd = h->out, .events = POLLIN }, 1, 0) <= 0)
				break;
	pthread_mutex_lock(&h->lock);
	memcpy(last, h->last, sizeof(last));
	pthread_mutex_unlock(&h->lock);
	return err_set(e, -EPIPE, "%s: %s %s%s%s", what, h->name, how, *last ? ": " : "", last);
}

void helper_stop(struct helper *h, unsigned int patience_ms)
{
	uint64_t one = 1;
	struct err e;

	if (!h)
		return;
	h->leaving = true;
	for (struct helper **p = &pending; *p; p = &(*p)->next)
		if (*p == h) {
			*p = h->next;
			break;
		}
	/* from inside of the sandbox nobody can be sent a signal */
	if (attendant_runs() && h->job >= 0) {
		if (attendant_ask(h->job, NULL, 0, &e) < 0)
			log_warning("%s: %s", h->name, e.msg);
	} else {
		attendant_withdraw(h->job);
		quit(h, patience_ms);
	}
	if (h->listening) {
		if (write(h->stop, &one, sizeof(one)) < 0)
			log_debug("%s: %s", h->name, strerror(errno));
		pthread_join(h->listener, NULL);
	}
	if (h->owner != getpid())
		h->out = h->stop = -1;	/* closed there, and something else by now */
	waitpid(h->pid, NULL, WNOHANG);
	free_helper(h);
}

/* ---- sockets --------------------------------------------------------------------------------- */

int helper_socket(int *listen_fd, int *conn, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const char *tmp = getenv("TMPDIR");
	char dir[sizeof(sa.sun_path) - 8];
	int ret = 0;

	*listen_fd = *conn = -1;
	/* a folder that only we can enter; a long $TMPDIR leaves no room for a socket's name */
	if (!tmp || !*tmp || strlen(tmp) > 64)
		tmp = "/tmp";
	snprintf(dir, sizeof(dir), "%s/realmtool-XXXXXX", tmp);
	if (!mkdtemp(dir))
		return err_set(e, -errno, "no folder in %s for a socket: %s; set TMPDIR", tmp,
			       strerror(errno));
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/s", dir);
	*listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*conn = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*listen_fd < 0 || *conn < 0 ||
	    bind(*listen_fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(*listen_fd, 1) < 0 ||
	    connect(*conn, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		ret = err_set(e, -errno, "a socket at %s: %s", sa.sun_path, strerror(errno));
		if (*listen_fd >= 0)
			close(*listen_fd);
		if (*conn >= 0)
			close(*conn);
		*listen_fd = *conn = -1;
	}
	unlink(sa.sun_path);
	rmdir(dir);
	return ret;
}
