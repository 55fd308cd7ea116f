// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "vmm/core/log.h"

/* #syscalls main: sendto close */

#define SEND_TIMEOUT_S	1	/* a manager that does not read is not waited for */
#define NSEC_PER_USEC	1000

/* sd_notify(3): an absolute path, or an abstract name behind "@". */
static int parse_addr(struct notify *n, const char *text)
{
	size_t len = strlen(text);

	if ((text[0] != '/' && text[0] != '@') || !text[1])
		return -EAFNOSUPPORT;
	if (len >= sizeof(n->addr.sun_path))
		return -ENAMETOOLONG;
	n->addr.sun_family = AF_UNIX;
	memcpy(n->addr.sun_path, text, len + 1);
	n->len = offsetof(struct sockaddr_un, sun_path) + len;
	if (text[0] == '@')
		n->addr.sun_path[0] = '\0';
	else
		n->len++;
	return 0;
}

/* sd_watchdog_enabled(3): it may be meant for another process. */
static void read_watchdog(struct notify *n)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	unsigned long long val;
	char *end;

	if (!usec || (pid && strtoll(pid, NULL, 10) != getpid()))
		return;
	errno = 0;
	val = strtoull(usec, &end, 10);
	if (errno || end == usec || *end || usec[0] == '-' || !val ||
	    val > INT64_MAX / NSEC_PER_USEC)
		log_warning("WATCHDOG_USEC=%.40s is not a time", usec);
	else
		n->watchdog_ns = val * NSEC_PER_USEC;
}

void notify_open(struct notify *n)
{
	const struct timeval timeout = { .tv_sec = SEND_TIMEOUT_S };
	const char *text = getenv("NOTIFY_SOCKET");
	int ret;

	*n = (struct notify){ .fd = -1 };
	if (!text)
		return;
	ret = parse_addr(n, text);
	if (!ret) {
		n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		ret = n->fd < 0 ? -errno : 0;
	}
	if (ret < 0)
		log_warning("NOTIFY_SOCKET=%.120s: %s; the service manager is told nothing", text,
			    strerror(-ret));
	else
		read_watchdog(n);
	if (n->fd >= 0) {
		setsockopt(n->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
		/* now, because no path leads out of the sandbox; else each message tries again */
		n->connected = !connect(n->fd, (const struct sockaddr *)&n->addr, n->len);
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void notify_send(const struct notify *n, const char *fmt, ...)
{
	char text[1280];
	va_list ap;
	int len;

	if (n->fd < 0)
		return;
	va_start(ap, fmt);
	len = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (len < 0)
		return;
	if (sendto(n->fd, text, MIN((size_t)len, sizeof(text) - 1), MSG_NOSIGNAL,
		   n->connected ? NULL : (const struct sockaddr *)&n->addr,
		   n->connected ? 0 : n->len) < 0)
		log_debug("service manager: %s", strerror(errno));
}

void notify_close(struct notify *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
}
