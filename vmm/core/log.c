// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vmm/core/err.h"

#define LOG_BURST	10
#define NSEC_PER_SEC	1000000000ULL

static _Atomic int threshold = LOG_WARNING;
static _Atomic bool raw_terminal;
static pthread_mutex_t rate_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *const prefix[] = {
	[LOG_ERROR] = "Error: ",
	[LOG_WARNING] = "Warning: ",
	[LOG_INFO] = "Info: ",
	[LOG_DEBUG] = "Debug: ",
};

void log_set_level(enum log_level level)
{
	atomic_store(&threshold, level);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load(&threshold);
}

void log_set_raw_terminal(bool raw)
{
	atomic_store(&raw_terminal, raw);
}

#define ERASE_LINE "\r\33[K"
static _Atomic bool status_shown;

static void erase_status(void)
{
	if (atomic_exchange(&status_shown, false) &&
	    write(STDERR_FILENO, ERASE_LINE, strlen(ERASE_LINE)) < 0)
		return;
}

void log_status(const char *fmt, ...)
{
	char text[160];
	va_list ap;

	if (!isatty(STDERR_FILENO))
		return;
	erase_status();
	if (!fmt)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	atomic_store(&status_shown, true);
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		return;
}

static void emit(const char *pfx, const char *text)
{
	char line[1200];
	int n;

	erase_status();
	n = snprintf(line, sizeof(line) - 2, "%s%s", pfx, text);
	if (n < 0)
		return;
	n = MIN((size_t)n, sizeof(line) - 3);
	for (int i = 0; i < n; i++)	/* file names and guest strings may hold escapes */
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	if (atomic_load(&raw_terminal))
		line[n++] = '\r';
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return;		/* nowhere left to complain */
}

static void vlog(enum log_level level, const char *fmt, va_list ap)
{
	char text[1100];

	vsnprintf(text, sizeof(text), fmt, ap);
	emit(prefix[level], text);
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	vlog(level, fmt, ap);
	va_end(ap);
}

void log_fatal(const struct err *e)
{
	emit("Fatal: ", e->msg);
}

void log_rated(struct log_rate *r, enum log_level level, const char *fmt, ...)
{
	unsigned int dropped = 0;
	struct timespec ts;
	bool print = true;
	uint64_t now;
	va_list ap;

	if (!log_enabled(level))
		return;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	now = ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;

	pthread_mutex_lock(&rate_lock);
	if (!r->window_ns || now - r->window_ns >= NSEC_PER_SEC) {
		/* After a burst the next seconds are allowed one line each. */
		r->printed = r->printed >= LOG_BURST && r->dropped ? LOG_BURST - 1 : 0;
		r->window_ns = now;
		dropped = r->dropped;
		r->dropped = 0;
	}
	if (r->printed >= LOG_BURST) {
		r->dropped++;
		print = false;
	} else {
		r->printed++;
	}
	pthread_mutex_unlock(&rate_lock);

	if (dropped)
		log_msg(level, "%u similar messages were not printed", dropped);
	if (!print)
		return;
	va_start(ap, fmt);
	vlog(level, fmt, ap);
	va_end(ap);
}
