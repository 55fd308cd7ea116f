// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/json.h"

/* #syscalls all: write ioctl=TCGETS */

#define LOG_BURST	10
#define NSEC_PER_SEC	1000000000ULL

static _Atomic int threshold = LOG_WARNING;
static _Atomic bool raw_terminal;
static pthread_mutex_t rate_lock = PTHREAD_MUTEX_INITIALIZER;

#define LOG_FATAL (-1)			/* no level of log_msg() */

/* By level, LOG_FATAL first. The priorities are those of syslog(3). */
static const struct {
	const char *name, *prefix, *priority;
} levels[] = {
	{ "fatal", "Fatal: ", "<3>" },
	{ "error", "Error: ", "<3>" },
	{ "warning", "Warning: ", "<4>" },
	{ "info", "Info: ", "<6>" },
	{ "debug", "Debug: ", "<7>" },
};

static _Atomic bool to_journal;
static _Atomic bool as_json;		/* after the name */
static char vm_name[128];

void log_set_json(const char *vm)
{
	snprintf(vm_name, sizeof(vm_name), "%s", vm);
	atomic_store(&as_json, true);
}

void log_find_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
	    fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino)
		atomic_store(&to_journal, true);
}

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

	if (atomic_load(&as_json) || !isatty(STDERR_FILENO))
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

/* One object a line; what does not fit is not said at all. */
static void emit_json(int level, const char *text)
{
	char line[8192], when[32];
	struct timespec ts;
	struct tm tm;
	long n;
	FILE *f = fmemopen(line, sizeof(line), "w");

	if (!f)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	fprintf(f, "{\"time\":\"%s.%06ldZ\",\"level\":\"%s\",\"vm\":", when, ts.tv_nsec / 1000,
		levels[level - LOG_FATAL].name);
	json_quote(f, vm_name);
	fputs(",\"message\":", f);
	json_quote(f, text);
	fputs("}\n", f);
	n = fflush(f) == 0 ? ftell(f) : 0;
	fclose(f);
	if (n > 0 && write(STDERR_FILENO, line, n) < 0)
		return;
}

bool log_color(int fd)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(fd) && !(no && *no) && term && strcmp(term, "dumb");
}

/* Of the words "Error:" and "Warning:"; the text is as it is everywhere. */
static const char *color_of(int level)
{
	if (level > LOG_WARNING || !log_color(STDERR_FILENO))
		return "";
	return level == LOG_WARNING ? LOG_YELLOW : LOG_RED;
}

static void emit(int level, const char *text)
{
	const char *color = color_of(level);
	char line[1200];
	int n, begin;

	if (atomic_load(&as_json)) {
		emit_json(level, text);
		return;
	}
	erase_status();
	begin = snprintf(line, sizeof(line), "%s%s%s%s",
			 atomic_load(&to_journal) ? levels[level - LOG_FATAL].priority : "", color,
			 levels[level - LOG_FATAL].prefix, *color ? LOG_PLAIN : "");
	n = snprintf(line + begin, sizeof(line) - 2 - begin, "%s", text);
	if (n < 0)
		return;
	n = MIN((size_t)(begin + n), sizeof(line) - 3);
	for (int i = begin; i < n; i++)	/* file names and guest strings may hold escapes */
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
	emit(level, text);
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
	emit(LOG_FATAL, e->msg);
}

/* With nothing but what signal-safety(7) allows; so the JSON has no time. */
void log_signal(bool fatal, const char *text)
{
	int level = fatal ? LOG_FATAL : LOG_WARNING;
	const char *const plain[] = {
		atomic_load(&to_journal) ? levels[level - LOG_FATAL].priority : "",
		levels[level - LOG_FATAL].prefix, text,
		atomic_load(&raw_terminal) ? "\r\n" : "\n", "", "",
	};
	const char *const json[] = {
		"{\"level\":\"", fatal ? "fatal" : "warning", "\",\"vm\":\"", vm_name,
		"\",\"message\":\"", text,
	};
	bool object = atomic_load(&as_json);
	char line[640];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		for (const char *p = object ? json[i] : plain[i]; *p && n < sizeof(line) - 4; p++)
			/* a name could hold what ends the string */
			line[n++] = object && i % 2 && (*p == '"' || *p == '\\') ? '?' : *p;
	if (object) {
		memcpy(line + n, "\"}\n", 3);
		n += 3;
	}
	if (write(STDERR_FILENO, line, n) < 0)
		return;
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
