// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmd.h"
#include "vmm/ctl_client.h"

#ifdef HAVE_JANSSON

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/loop.h"

#define EXIT_ENDED	1
#define EXIT_TIMEOUT	2
#define LINE_MAX_LOOK	4096	/* of a line so much is looked at */
#define CHUNK		4096
#define COME_UP_US	100000
#define NSEC_PER_SEC	UINT64_C(1000000000)

int cmd_help_wait(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s wait [OPTIONS] [NAME]\n\n"
	       "Waits until a guest powers off, or with --for until a line on its console matches; the last\n"
	       "64 KiB of output count. With --timeout also for a guest that does not run yet.\n\n"
	       "Exit code: 0 it powered off, or the line came; 1 it ended otherwise, or without the line;\n"
	       "2 it took too long.\n\n", cx->prog);
	opt_help(stdout, &wait_table, full);
	return cmd_flush(e);
}

/**
 * struct watch - waiting for one guest
 * @end:  says how it ended
 * @view: its console; fd -1: not needed, or closed
 */
struct watch {
	const struct wait_options *o;
	struct ctl_conn end, view;
	regex_t regex;
	uint64_t until;
	size_t len;
	char line[LINE_MAX_LOOK + 1];
};

static bool matches(struct watch *w)
{
	w->line[w->len] = '\0';
	if (regexec(&w->regex, w->line, 0, NULL, 0))
		return false;
	if (!w->o->quiet) {
		ctl_print(stdout, 0, w->line);
		putchar('\n');
	}
	return true;
}

/* A prompt has no line feed: what there is of the last line counts, too. */
static bool look(struct watch *w, const char *buf, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (buf[i] == '\n') {
			if (matches(w))
				return true;
			w->len = 0;
		} else if (buf[i] && buf[i] != '\r' && w->len < LINE_MAX_LOOK) {
			w->line[w->len++] = buf[i];
		}
	}
	return w->len && matches(w);
}

/* Return: 1: the line came; 0: not yet. At the end of the console it is closed. */
static int read_console(struct watch *w)
{
	char buf[CHUNK];
	ssize_t n = recv(w->view.fd, buf, sizeof(buf), 0);

	if (n > 0)
		return look(w, buf, n);
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		ctl_close(&w->view);
	return 0;
}

/* Return: exit code. */
static int ended(struct watch *w)
{
	const char *reason = "killed";
	json_t *event = NULL;
	struct err none;
	int ret;

	if (ctl_receive(&w->end, 0, &event, &none) == 0)
		reason = ctl_str(event, "reason");
	if (!w->o->quiet) {
		printf("Guest %s: ", w->end.name);
		ctl_print(stdout, 0, reason);
		putchar('\n');
	}
	ret = !w->o->regex && (!strcmp(reason, "poweroff") || !strcmp(reason, "reset")) ? 0 : EXIT_ENDED;
	json_decref(event);
	return ret;
}

static int timeout_ms(const struct watch *w)
{
	uint64_t now = loop_now();

	if (!w->until)
		return -1;
	return now >= w->until ? 0 : MIN((w->until - now) / 1000000 + 1, UINT64_C(1000000));
}

/* Return: exit code, or a negative errno. */
static int wait_for(struct watch *w)
{
	/* what came along with the answer */
	if (w->view.fd >= 0 && look(w, w->view.buf ? w->view.buf : "", w->view.len))
		return 0;
	for (;;) {
		struct pollfd p[] = {
			{ .fd = w->end.fd, .events = POLLIN },
			{ .fd = w->view.fd, .events = POLLIN },
		};
		int ms = timeout_ms(w);

		if (poll(p, 2, ms) < 0 && errno != EINTR)
			return -errno;
		if (w->view.fd >= 0 && p[1].revents) {
			if (read_console(w))
				return 0;
			continue;	/* all of it before its end */
		}
		if (p[0].revents)
			return ended(w);
		if (w->until && loop_now() >= w->until)
			return EXIT_TIMEOUT;
	}
}

static int attach(struct watch *w, struct err *e)
{
	const char *name = w->o->sel.name;
	json_t *req;
	int ret = ctl_connect(&w->end, name, e);

	while (ret == -ENOENT && w->until && loop_now() < w->until) {
		usleep(COME_UP_US);
		ret = ctl_connect(&w->end, name, e);
	}
	if (!ret)
		ret = ctl_request(&w->end, "wait", NULL, NULL, e);
	if (ret < 0 || !w->o->regex)
		return ret;
	ret = ctl_connect(&w->view, name, e);
	req = json_pack("{sb}", "replay", !w->o->new);
	if (!ret)
		return ctl_request(&w->view, "console", req, NULL, e);
	json_decref(req);
	return ret;
}

static int wait_guest(const struct wait_options *o, struct err *e)
{
	struct watch w = { .o = o, .end.fd = -1, .view.fd = -1 };
	char why[128];
	int ret;

	if (o->timeout)
		w.until = loop_now() + o->timeout * NSEC_PER_SEC;
	if (o->regex) {
		ret = regcomp(&w.regex, o->regex, REG_EXTENDED | REG_NOSUB);
		if (ret) {
			regerror(ret, &w.regex, why, sizeof(why));
			return err_set(e, -EINVAL, "--for \"%.80s\": %s", o->regex, why);
		}
	}
	ret = attach(&w, e);
	if (!ret)
		ret = wait_for(&w);
	else if (ret == -ENOENT && o->timeout)
		ret = EXIT_TIMEOUT;
	ctl_close(&w.end);
	ctl_close(&w.view);
	if (o->regex)
		regfree(&w.regex);
	return ret;
}

int cmd_wait(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	struct wait_options o = { 0 };
	int flushed, ret = ctl_options(&wait_table, &o.sel, true, argc, argv, e);

	if (ret > 0)
		ret = cmd_help_wait(cx, false, e);
	else if (!ret)
		ret = wait_guest(&o, e);
	free(o.sel.name);
	free(o.regex);
	if (ret < 0)
		return ret;
	flushed = cmd_flush(e);
	return flushed < 0 ? flushed : ret;
}

#endif
