// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmd.h"
#include "vmm/ctl_client.h"

#ifdef HAVE_JANSSON

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/tty.h"

#define ESCAPE	0x01	/* ctrl-a */
#define CHUNK	4096

int cmd_help_console(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s console [OPTIONS] [NAME]\n\n"
	       "Shows the console of a guest, its last output first, and types into it. Several can do so\n"
	       "at a time. On a terminal ctrl-a x detaches, the guest goes on; ctrl-a a sends ctrl-a.\n\n",
	       cx->prog);
	opt_help(stdout, &console_table, full);
	return cmd_flush(e);
}

/**
 * struct attached - a viewer
 * @in:   the descriptor that is typed at, -1: none any more
 * @out:  typed and not sent
 * @keys: the escape key works
 * @mute: nothing else does
 */
struct attached {
	struct ctl_conn c;
	int in, wake_fd;
	bool keys, mute, escaped, left;
	size_t out_len;
	char out[2 * CHUNK];
};

static int put(const char *buf, size_t len, struct err *e)
{
	while (len) {
		ssize_t n = write(STDOUT_FILENO, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };

			poll(&p, 1, -1);
			continue;
		}
		if (n < 0)
			return err_set(e, -errno, "writing to the standard output failed: %s",
				       strerror(errno));
		buf += n;
		len -= n;
	}
	return 0;
}

static void key(struct attached *a, char b)
{
	if (!a->keys || (b != ESCAPE && !a->escaped)) {
		a->out[a->out_len++] = b;
		return;
	}
	if (!a->escaped) {
		a->escaped = true;
		return;
	}
	a->escaped = false;
	switch (b) {
	case 'x':
	case 'd':
		a->left = true;
		break;
	case 'a':
	case ESCAPE:
		a->out[a->out_len++] = ESCAPE;
		break;
	case 'h':
	case '?':
		fputs("\r\nctrl-a x   detach, the guest goes on\r\nctrl-a a   send ctrl-a\r\n", stderr);
		break;
	default:
		a->out[a->out_len++] = ESCAPE;
		a->out[a->out_len++] = b;
		break;
	}
}

static void typed(struct attached *a)
{
	char buf[CHUNK / 2];
	ssize_t n = read(a->in, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		a->in = -1;
		return;
	}
	for (ssize_t i = 0; i < n && !a->left; i++)
		key(a, buf[i]);
	if (a->mute)
		a->out_len = 0;
}

/* Return: false if the guest is gone. */
static bool send_typed(struct attached *a)
{
	ssize_t n = send(a->c.fd, a->out, a->out_len, MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	a->out_len -= n;
	memmove(a->out, a->out + n, a->out_len);
	return true;
}

static void woken(struct attached *a)
{
	uint64_t n;

	if (read(a->wake_fd, &n, sizeof(n)) == sizeof(n) && n >= TTY_WAKE)
		log_set_raw_terminal(tty_raw());
}

static int show(struct attached *a, struct err *e)
{
	char buf[CHUNK];

	while (!a->left) {
		struct pollfd p[] = {
			{ .fd = a->c.fd, .events = POLLIN | (a->out_len ? POLLOUT : 0) },
			/* no more than fits, even if every byte becomes two */
			{ .fd = a->out_len < CHUNK ? a->in : -1, .events = POLLIN },
			{ .fd = a->wake_fd, .events = POLLIN },
		};
		ssize_t n;
		int ret;

		if (poll(p, ARRAY_SIZE(p), -1) < 0) {
			if (errno == EINTR)
				continue;
			return err_set(e, -errno, "poll: %s", strerror(errno));
		}
		if (p[2].revents)
			woken(a);
		if (p[1].revents)
			typed(a);
		if (a->out_len && !send_typed(a))
			return 0;
		if (!(p[0].revents & (POLLIN | POLLHUP | POLLERR)))
			continue;
		n = recv(a->c.fd, buf, sizeof(buf), 0);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return 0;	/* the guest ended */
		ret = n > 0 ? put(buf, n, e) : 0;
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int attach(const struct console_options *o, struct err *e)
{
	struct attached a = {
		.in = o->view || o->log ? -1 : STDIN_FILENO,
		.mute = o->view,
		.wake_fd = -1,
	};
	bool tty = !o->log && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	int ret = ctl_connect(&a.c, o->sel.name, e);

	if (!ret)
		ret = ctl_request(&a.c, "console", json_pack("{sbsbsb}", "input", a.in >= 0, "replay",
							    !o->new, "follow", !o->log), NULL, e);
	if (!ret)
		ret = put(a.c.buf, a.c.len, e);
	if (ret < 0)
		goto out;
	if (tty) {
		a.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		a.keys = a.wake_fd >= 0 && tty_attach(STDIN_FILENO, a.wake_fd) == 0;
	}
	if (a.keys) {
		/* with --view the escape keys are read all the same */
		a.in = STDIN_FILENO;
		fprintf(stderr, "Attached to %s, ctrl-a x detaches\n", o->sel.name);
		log_set_raw_terminal(tty_raw());
	}
	ret = show(&a, e);
	if (a.keys) {
		log_set_raw_terminal(false);
		tty_detach();
		fprintf(stderr, "\n%s %s\n", a.left ? "Detached from" : "The end of", o->sel.name);
	}
out:
	if (a.wake_fd >= 0)
		close(a.wake_fd);
	ctl_close(&a.c);
	return ret;
}

int cmd_console(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	struct console_options o = { 0 };
	int ret = ctl_options(&console_table, &o.sel, true, argc, argv, e);

	if (ret > 0)
		ret = cmd_help_console(cx, false, e);
	else if (!ret)
		ret = attach(&o, e);
	free(o.sel.name);
	return ret;
}

#endif
