// SPDX-License-Identifier: BSD-3-Clause
/*
 * Input is read on the loop's thread and handed to the device, which takes what it has room for.
 * From a pipe no more is read than that. From a terminal reading goes on, because ctrl-a x has to
 * be found even if the guest hangs and takes nothing.
 *
 * Output comes from any thread. It is written at once if that works without waiting, else it
 * goes to a ring that the loop empties. stdin and stdout are shared with the program that started
 * us, so O_NONBLOCK is never set on them: pipes and terminals are opened a second time through
 * /proc, which gives a file description of our own. Where that is forbidden (other user's pipe)
 * poll() asks before each small write.
 */
#include "vmm/term.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/tty.h"

/*
 * #syscalls main: poll ppoll read recvfrom eventfd2
 * #syscalls main: ioctl=TIOCGWINSZ|TCGETS|TCSETS|TCSETSF|TIOCGPGRP
 * #syscalls main,vcpu,io: write sendto
 */

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)	/* Linux 4.13 */
#endif

#define ESCAPE		0x01		/* ctrl-a */
#define IN_CHUNK	1024
#define IN_KEEP		SZ_64K		/* typed or pasted ahead of the guest */
#define RING_SIZE	SZ_64K		/* see term_write() */
#define FILE_CHUNKS	16		/* of a file in one go: others want the loop, too */
#define BACKGROUND_NS	300000000ULL	/* how often a background job looks if it was called */
#define PTY_STALL_NS	1000000000ULL	/* nobody reads the pty: the oldest output gives way */

enum access {				/* how not to block */
	ACC_PLAIN,			/* file, /dev/null: never blocks for long */
	ACC_NONBLOCK,			/* a description of our own */
	ACC_SOCKET,
	ACC_POLL,			/* shared: ask first */
};

enum in_state {
	IN_NONE,    /* at its end, or never there */
	IN_WATCHED, /* the loop tells */
	IN_PAUSED,  /* not watched: the device is full, or we are in background */
	IN_FILE,    /* always ready, epoll refuses it */
};

struct term {
	struct loop *loop;
	struct term_client c;
	char name[64];
	bool pty;
	bool interactive;		/* escape keys and raw mode */

	int wake_fd;			/* eventfd: something on the loop's thread has to be done */
	struct loop_src wake_src;
	struct loop_timer timer;	/* see timer_event() */
	uint16_t cols, rows;

	enum in_state in;
	enum access in_access;
	struct loop_src in_src;
	bool in_tty;
	bool in_own;			/* in_src.fd is closed in the end */
	bool escaped;			/* ctrl-a was typed */
	uint8_t *keep; /* IN_KEEP bytes; [keep_off, keep_len) wait for the device */
	size_t keep_off, keep_len;
	_Atomic bool starved;		/* the device took less: it will call term_input_ready() */

	pthread_mutex_t lock;		/* all below */
	enum access out_access;
	struct loop_src out_src;
	size_t out_max;			/* bytes per write, ACC_POLL */
	bool out_own;
	bool out_watched;		/* it is in the loop, for one event at a time */
	bool out_armed;
	bool gone;			/* no reader any more: everything is taken */
	bool lost;			/* a write failed, and that was said */
	bool refused;			/* less than all was taken */
	uint8_t *ring;			/* RING_SIZE, on first use */
	size_t head, used;
	uint64_t progress_ns;		/* when the reader took something */
	int slave_fd;			/* of a pty: keeps it alive while nobody is attached */
	_Atomic uint64_t bytes_out;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void wake(struct term *t, uint64_t add)
{
	if (write(t->wake_fd, &add, sizeof(add)) < 0)
		return;			/* the counter is full: awake already */
}

/* ---- descriptors -----------------------------------------------------------------------------*/

/*
 * How to use @fd without blocking, and without changing it for others. *own: -1, or a new
 * descriptor to use instead.
 */
static enum access choose_access(int fd, int flags, int *own)
{
	char path[32];
	struct stat st, again;

	*own = -1;
	if (fstat(fd, &st) < 0)
		return ACC_PLAIN;
	if (S_ISSOCK(st.st_mode))
		return ACC_SOCKET;
	if (!S_ISFIFO(st.st_mode) && !isatty(fd))
		return ACC_PLAIN;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*own = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (*own < 0)
		return ACC_POLL;
	if (fstat(*own, &again) < 0 || st.st_dev != again.st_dev || st.st_ino != again.st_ino) {
		close(*own);
		*own = -1;
		return ACC_POLL;
	}
	return ACC_NONBLOCK;
}

static bool ready(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) > 0;
}

/* Return: bytes, 0 at the end, -EAGAIN: later, or another negative errno. */
static ssize_t in_read(struct term *t, void *buf, size_t len)
{
	int fd = t->in_src.fd;
	ssize_t n;

	do {
		if (t->in_access == ACC_POLL && !ready(fd, POLLIN))
			return -EAGAIN;
		if (t->in_access == ACC_SOCKET)
			n = recv(fd, buf, len, MSG_DONTWAIT);
		else
			n = read(fd, buf, len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t out_write(struct term *t, const void *buf, size_t len)
{
	int fd = t->out_src.fd;
	ssize_t n;

	do {
		if (t->out_access == ACC_POLL && !ready(fd, POLLOUT))
			return -EAGAIN;
		if (t->out_access == ACC_SOCKET)
			n = send(fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		else
			n = write(fd, buf, t->out_access == ACC_POLL ? MIN(len, t->out_max) : len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* ---- output ----------------------------------------------------------------------------------*/

/* A write failed for good. The lock is held. */
static void out_failed(struct term *t, int code)
{
	/* A full disk may have room again later; a reader that left does not come back. */
	if (code != -ENOSPC && code != -EDQUOT)
		t->gone = true;
	t->used = 0;
	if (code != -EPIPE && code != -EIO && !t->lost) {
		t->lost = true;
		log_warning("%s: console output is lost: %s", t->name, strerror(-code));
	}
}

/* Write from memory as much as goes at once. Return: how much; all of it if nobody listens. */
static size_t out_direct(struct term *t, const uint8_t *buf, size_t len)
{
	size_t done = 0;

	while (done < len && !t->gone) {
		ssize_t n = out_write(t, buf + done, len - done);

		if (n == -EAGAIN || n == 0)
			break;
		if (n < 0) {
			out_failed(t, n);
			return len;
		}
		done += n;
	}
	if (t->gone)
		return len;
	if (done)
		t->progress_ns = 0;	/* looked up only when it matters: see out_stalled() */
	return done;
}

static void out_drain(struct term *t)
{
	while (t->used) {
		size_t want = MIN(t->used, RING_SIZE - t->head);
		size_t n = out_direct(t, t->ring + t->head, want);

		n = MIN(n, t->used);	/* out_failed() empties the ring */
		t->head = (t->head + n) % RING_SIZE;
		t->used -= n;
		if (n < want)
			break;
	}
}

/* Has nobody read for a while? Starts the clock at the first question. */
static bool out_stalled(struct term *t)
{
	uint64_t now = now_ns();

	if (!t->progress_ns)
		t->progress_ns = now;
	return now - t->progress_ns > PTY_STALL_NS;
}

static void out_arm(struct term *t)
{
	if (t->out_watched && !t->out_armed && t->used)
		t->out_armed = loop_mod(t->loop, &t->out_src, EPOLLOUT | EPOLLONESHOT) == 0;
}

/* Return: bytes taken. The lock is held. */
static size_t out_put(struct term *t, const uint8_t *buf, size_t len)
{
	size_t done = 0;

	if (t->gone)
		return len;
	if (!t->used)
		done = out_direct(t, buf, len);
	if (done == len)
		return len;
	if (!t->ring)
		t->ring = malloc(RING_SIZE);
	if (!t->ring)
		return done;
	if (len - done > RING_SIZE - t->used)
		out_drain(t);
	if (t->pty && len - done > RING_SIZE - t->used && out_stalled(t)) {
		size_t drop = MIN(t->used, len - done - (RING_SIZE - t->used));

		t->head = (t->head + drop) % RING_SIZE;
		t->used -= drop;
	}
	while (done < len && t->used < RING_SIZE) {
		size_t tail = (t->head + t->used) % RING_SIZE;
		size_t n = MIN(len - done, RING_SIZE - MAX(tail, t->used));

		memcpy(t->ring + tail, buf + done, n);
		t->used += n;
		done += n;
	}
	out_arm(t);
	return done;
}

size_t term_write(struct term *t, const void *buf, size_t len)
{
	size_t n;

	pthread_mutex_lock(&t->lock);
	n = out_put(t, buf, len);
	if (n < len) {
		t->refused = true;
		if (t->pty)
			loop_timer_set(&t->timer, PTY_STALL_NS);
	}
	pthread_mutex_unlock(&t->lock);
	atomic_fetch_add_explicit(&t->bytes_out, n, memory_order_relaxed);
	return n;
}

static void out_event(struct loop_src *src, uint32_t events)
{
	struct term *t = container_of(src, struct term, out_src);
	bool tell;

	(void)events;			/* an error shows in the write */
	pthread_mutex_lock(&t->lock);
	t->out_armed = false;
	out_drain(t);
	out_arm(t);
	tell = t->refused && t->used <= RING_SIZE / 2;
	if (tell)
		t->refused = false;
	pthread_mutex_unlock(&t->lock);
	if (tell && t->c.writable)
		t->c.writable(t->c.ctx);
}

void term_flush(struct term *t, int timeout_ms)
{
	uint64_t end = now_ns() + MAX(timeout_ms, 0) * 1000000ULL;

	for (;;) {
		struct pollfd p = { .events = POLLOUT };
		uint64_t now = now_ns();
		bool done;

		pthread_mutex_lock(&t->lock);
		out_drain(t);
		done = !t->used;
		p.fd = t->out_src.fd;
		pthread_mutex_unlock(&t->lock);
		if (done || now >= end)
			return;
		poll(&p, 1, (end - now) / 1000000 + 1);
	}
}

uint64_t term_bytes_out(const struct term *t)
{
	return atomic_load_explicit(&t->bytes_out, memory_order_relaxed);
}

/* ---- input -----------------------------------------------------------------------------------*/

static void say_help(struct term *t)
{
	static const char help[] =
		"\r\nctrl-a x   end the guest and leave\r\n"
		"ctrl-a a   send ctrl-a to the guest (ctrl-a ctrl-a too)\r\n"
		"ctrl-a h   this help\r\n";

	pthread_mutex_lock(&t->lock);
	out_put(t, (const uint8_t *)help, sizeof(help) - 1);
	pthread_mutex_unlock(&t->lock);
}

static void keep_byte(struct term *t, uint8_t b)
{
	if (t->keep_len == IN_KEEP && t->keep_off) {
		t->keep_len -= t->keep_off;
		memmove(t->keep, t->keep + t->keep_off, t->keep_len);
		t->keep_off = 0;
	}
	if (t->keep_len < IN_KEEP)	/* else the guest takes nothing: typed ahead too far */
		t->keep[t->keep_len++] = b;
}

/*
 * Keep what was read for the device and carry out the escape keys. What is no escape key
 * reaches the guest with the ctrl-a before it: nothing that was typed is lost.
 */
static void take_in(struct term *t, const uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t b = buf[i];

		if (!t->interactive) {
			keep_byte(t, b);
		} else if (!t->escaped) {
			t->escaped = b == ESCAPE;
			if (!t->escaped)
				keep_byte(t, b);
		} else {
			t->escaped = false;
			switch (b) {
			case 'x':
				if (t->c.leave)
					t->c.leave(t->c.ctx);
				break;
			case 'h':
			case '?':
				say_help(t);
				break;
			case 'a':
			case ESCAPE:
				keep_byte(t, ESCAPE);
				break;
			default:
				keep_byte(t, ESCAPE);
				keep_byte(t, b);
			}
		}
	}
}

/* Hand on what is kept. Return: true if the device took all. */
static bool feed(struct term *t)
{
	while (t->keep_off < t->keep_len) {
		size_t n = t->c.input(t->c.ctx, t->keep + t->keep_off, t->keep_len - t->keep_off);

		t->keep_off += MIN(n, t->keep_len - t->keep_off);
		if (t->keep_off == t->keep_len)
			break;
		/*
		 * It may have got room after it refused, and seen nobody starve. So it is asked
		 * once more after the flag is set; from then on term_input_ready() wakes us.
		 */
		if (!atomic_exchange(&t->starved, true))
			continue;
		if (!n)
			return false;
	}
	atomic_store(&t->starved, false);
	t->keep_off = t->keep_len = 0;
	return true;
}

static void in_pause(struct term *t)
{
	if (t->in == IN_WATCHED) {
		loop_del(t->loop, &t->in_src);	/* not only muted: a hang-up would go on and on */
		t->in = IN_PAUSED;
	}
}

static void in_resume(struct term *t)
{
	if (t->in == IN_PAUSED)
		t->in = loop_add(t->loop, &t->in_src, EPOLLIN) == 0 ? IN_WATCHED : IN_NONE;
}

static void in_end(struct term *t)
{
	in_pause(t);
	t->in = IN_NONE;
}

/* Return: true if there may be more to read right now. */
static bool in_once(struct term *t)
{
	uint8_t buf[IN_CHUNK];
	ssize_t n = in_read(t, buf, sizeof(buf));

	if (n == -EAGAIN)
		return false;
	if (n <= 0) {
		in_end(t);
		return false;
	}
	take_in(t, buf, n);
	return feed(t);
}

/* In the background reading would stop us, and the terminal's mode is not ours to set. */
static bool in_foreground(struct term *t)
{
	if (!t->in_tty || t->in == IN_NONE || tty_foreground(t->in_src.fd))
		return true;
	in_pause(t);
	loop_timer_set(&t->timer, BACKGROUND_NS);
	return false;
}

static void in_event(struct loop_src *src, uint32_t events)
{
	struct term *t = container_of(src, struct term, in_src);

	(void)events;			/* a hang-up shows in the read */
	if (in_foreground(t) && !in_once(t) && atomic_load(&t->starved) && !t->interactive)
		in_pause(t);
}

static void tell_size(struct term *t)
{
	struct winsize w;

	if (!t->c.resize || t->pty || ioctl(t->out_src.fd, TIOCGWINSZ, &w) < 0)
		return;
	if (!w.ws_col || !w.ws_row || (w.ws_col == t->cols && w.ws_row == t->rows))
		return;
	t->cols = w.ws_col;
	t->rows = w.ws_row;
	t->c.resize(t->c.ctx, t->cols, t->rows);
}

bool term_size(const struct term *t, uint16_t *cols, uint16_t *rows)
{
	*cols = t->cols;
	*rows = t->rows;
	return t->cols != 0;
}

/* All that waits for the loop's thread: new window size, continued, room in the device. */
static void look_around(struct term *t, bool tty_changed)
{
	if (in_foreground(t)) {
		if (t->interactive && tty_changed)
			tty_raw();
		if (feed(t) || t->interactive)
			in_resume(t);
	}
	if (tty_changed)
		tell_size(t);
	if (t->in == IN_FILE && !atomic_load(&t->starved)) {
		int i;

		for (i = 0; i < FILE_CHUNKS && in_once(t); i++)
			;
		if (i == FILE_CHUNKS)
			wake(t, 1);
	}
}

static void wake_event(struct loop_src *src, uint32_t events)
{
	struct term *t = container_of(src, struct term, wake_src);
	uint64_t n;

	(void)events;
	if (read(src->fd, &n, sizeof(n)) == sizeof(n))
		look_around(t, n >= TTY_WAKE);
}

/* A terminal: are we in the foreground again? A pty: has nobody read for PTY_STALL_NS? */
static void timer_event(struct loop_timer *timer)
{
	struct term *t = container_of(timer, struct term, timer);
	bool tell;

	if (!t->pty) {
		look_around(t, true);
		return;
	}
	pthread_mutex_lock(&t->lock);
	tell = t->refused;
	t->refused = false;
	pthread_mutex_unlock(&t->lock);
	if (tell && t->c.writable)	/* the next term_write() drops what is old */
		t->c.writable(t->c.ctx);
}

void term_input_ready(struct term *t)
{
	if (atomic_exchange(&t->starved, false))
		wake(t, 1);
}

/* ---- opening and closing ---------------------------------------------------------------------*/

int term_reserve_stdio(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		/* The lowest free number is taken, and all below are in use by now. */
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			return -errno;
	}
	return 0;
}

static struct term *term_new(struct loop *l, const struct term_client *c, const char *name,
			     struct err *e)
{
	struct term *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		goto nomem;
	t->loop = l;
	t->c = *c;
	snprintf(t->name, sizeof(t->name), "%s", name);
	pthread_mutex_init(&t->lock, NULL);
	t->in_src = (struct loop_src){ -1, in_event };
	t->out_src = (struct loop_src){ -1, out_event };
	t->wake_src = (struct loop_src){ -1, wake_event };
	t->timer.src.fd = -1;
	t->wake_fd = t->slave_fd = -1;
	t->keep = malloc(IN_KEEP);
	if (!t->keep)
		goto nomem;
	t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->wake_fd < 0) {
		ret = -errno;
		goto fail;
	}
	t->wake_src.fd = t->wake_fd;
	ret = loop_add(l, &t->wake_src, EPOLLIN);
	if (ret < 0)
		goto fail;
	return t;

nomem:
	ret = -ENOMEM;
fail:
	err_set(e, ret, "terminal %s: %s", name, strerror(-ret));
	if (t)
		term_close(t);
	return NULL;
}

/* Let the loop watch both ends. */
static int term_watch(struct term *t)
{
	int ret;

	if (t->in_src.fd >= 0) {
		ret = loop_add(t->loop, &t->in_src, EPOLLIN);
		t->in = ret == 0 ? IN_WATCHED : ret == -EPERM ? IN_FILE : IN_NONE;
		if (ret < 0 && ret != -EPERM)
			return ret;
	}
	if (t->out_src.fd >= 0) {
		ret = loop_add(t->loop, &t->out_src, EPOLLONESHOT);
		t->out_watched = ret == 0;
		if (ret < 0 && ret != -EPERM)
			return ret;
	}
	wake(t, TTY_WAKE);	/* the window size, and a file's content */
	return 0;
}

int term_open_stdio(struct loop *l, const struct term_client *c, struct term **out, struct err *e)
{
	struct sigaction pipe_action;
	struct term *t;
	int own, ret;

	*out = NULL;
	t = term_new(l, c, "stdio", e);
	if (!t)
		return e ? e->code : -EIO;

	/* A reader that left is an error of write(), not the end of the program. */
	if (sigaction(SIGPIPE, NULL, &pipe_action) == 0 && !(pipe_action.sa_flags & SA_SIGINFO) &&
	    pipe_action.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);

	if (fcntl(STDIN_FILENO, F_GETFD) >= 0) {
		t->in_access = choose_access(STDIN_FILENO, O_RDONLY, &own);
		t->in_own = own >= 0;
		t->in_src.fd = t->in_own ? own : STDIN_FILENO;
		t->in_tty = isatty(STDIN_FILENO);
	}
	if (fcntl(STDOUT_FILENO, F_GETFD) >= 0) {
		t->out_access = choose_access(STDOUT_FILENO, O_WRONLY, &own);
		t->out_own = own >= 0;
		t->out_src.fd = t->out_own ? own : STDOUT_FILENO;
		/* poll() promises room for PIPE_BUF in a pipe, but only for a byte in a terminal */
		t->out_max = isatty(STDOUT_FILENO) ? 1 : PIPE_BUF;
	} else {
		t->gone = true;
	}

	if (t->in_tty) {
		ret = loop_timer_add(l, &t->timer, timer_event);
		if (ret < 0)
			goto fail;
	}
	if (t->in_tty && t->out_src.fd >= 0 && isatty(STDOUT_FILENO)) {
		ret = tty_attach(t->in_src.fd, t->wake_fd);
		if (ret < 0)
			goto fail;
		t->interactive = true;
		tty_raw();
	}
	ret = term_watch(t);
	if (ret < 0)
		goto fail;
	*out = t;
	return 0;

fail:
	term_close(t);
	return err_set(e, ret, "terminal: %s", strerror(-ret));
}

int term_make_pty(struct term_pty *p, struct err *e)
{
	struct termios tio;
	int ret;

	p->slave = -1;
	p->master = posix_openpt(O_RDWR | O_NOCTTY);
	if (p->master < 0)
		goto fail;
	if (fcntl(p->master, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(p->master, F_SETFL, O_RDWR | O_NONBLOCK) < 0 || grantpt(p->master) < 0 ||
	    unlockpt(p->master) < 0)
		goto fail;
	ret = ptsname_r(p->master, p->name, sizeof(p->name));
	if (ret) {
		errno = ret;
		goto fail;
	}
	p->slave = ioctl(p->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (p->slave < 0)
		p->slave = open(p->name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (p->slave < 0 || tcgetattr(p->slave, &tio) < 0)
		goto fail;
	cfmakeraw(&tio);
	if (tcsetattr(p->slave, TCSANOW, &tio) < 0)
		goto fail;
	return 0;

fail:
	ret = -errno;
	term_drop_pty(p);
	return err_set(e, ret, "pty: %s", strerror(-ret));
}

void term_drop_pty(struct term_pty *p)
{
	if (p->master >= 0)
		close(p->master);
	if (p->slave >= 0)
		close(p->slave);
	p->master = p->slave = -1;
}

int term_open_pty(struct loop *l, const struct term_client *c, struct term_pty *made,
		  struct term **out, struct err *e)
{
	struct term_pty own = { -1, -1, "" }, *p = made ? made : &own;
	struct term *t;
	int ret;

	*out = NULL;
	if (!made) {
		ret = term_make_pty(&own, e);
		if (ret < 0)
			return ret;
	}
	t = term_new(l, c, "pty", e);
	if (!t) {
		term_drop_pty(p);
		return e ? e->code : -EIO;
	}
	t->pty = true;
	t->in_access = t->out_access = ACC_NONBLOCK;
	t->in_own = t->out_own = true;
	memcpy(t->name, p->name, MIN(sizeof(t->name), sizeof(p->name)));
	t->in_src.fd = p->master;
	t->slave_fd = p->slave;
	p->master = p->slave = -1;
	/* the loop takes a number only once */
	t->out_src.fd = fcntl(t->in_src.fd, F_DUPFD_CLOEXEC, 3);
	if (t->out_src.fd < 0)
		goto fail;
	ret = term_watch(t);
	if (ret < 0) {
		errno = -ret;
		goto fail;
	}
	ret = loop_timer_add(l, &t->timer, timer_event);
	if (ret < 0) {
		errno = -ret;
		goto fail;
	}
	log_info("Assigned a terminal to pty %s", t->name);
	*out = t;
	return 0;

fail:
	ret = -errno;
	term_close(t);
	return err_set(e, ret, "pty: %s", strerror(-ret));
}

const char *term_name(const struct term *t)
{
	return t->name;
}

void term_restore_now(void)
{
	tty_restore_now();
}

void term_close(struct term *t)
{
	if (!t)
		return;
	if (t->interactive)
		tty_detach();
	if (t->used)
		out_drain(t);
	in_end(t);
	if (t->out_watched)
		loop_del(t->loop, &t->out_src);
	loop_timer_del(t->loop, &t->timer);
	if (t->wake_src.fd >= 0) {
		loop_del(t->loop, &t->wake_src);
		close(t->wake_fd);
	}
	if (t->in_own && t->in_src.fd >= 0)
		close(t->in_src.fd);
	if (t->out_own && t->out_src.fd >= 0)
		close(t->out_src.fd);
	if (t->slave_fd >= 0)
		close(t->slave_fd);
	pthread_mutex_destroy(&t->lock);
	free(t->ring);
	free(t->keep);
	free(t);
}
