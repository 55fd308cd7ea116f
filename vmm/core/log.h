/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log: lines on stderr with lkvm's prefixes (Fatal:, Error:, Warning:, Info:, Debug:), which
 * scripts and kvm-unit-tests look for. Safe from any thread; a line is one write().
 */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include "vmm/core/types.h"

struct err;

enum log_level {
	LOG_ERROR,
	LOG_WARNING,
	LOG_INFO,
	LOG_DEBUG,
};

/**
 * log_set_level() - print messages up to this level
 * @level: LOG_ERROR prints errors (and Fatal:) only
 */
void log_set_level(enum log_level level);

/** log_enabled() - would a message of this level be printed? */
bool log_enabled(enum log_level level);

/**
 * log_set_json() - from now on a line is a JSON object: time (UTC), level, vm, message
 * @vm: the guest's name
 */
void log_set_json(const char *vm);

/**
 * log_find_journal() - if stderr leads to the journal, lines begin with their priority
 *
 * systemd.exec(5), JOURNAL_STREAM; sd-daemon(3), SD_ERR and the like.
 */
void log_find_journal(void);

/**
 * log_set_raw_terminal() - end lines with CR LF while the terminal is in raw mode
 * @raw: the terminal behind stderr is in raw mode now
 */
void log_set_raw_terminal(bool raw);

/** log_msg() - print one line; use the macros below */
void log_msg(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_error(...)	log_msg(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_msg(LOG_WARNING, __VA_ARGS__)
#define log_info(...)	log_msg(LOG_INFO, __VA_ARGS__)
#define log_debug(...)	log_msg(LOG_DEBUG, __VA_ARGS__)

/** log_fatal() - print "Fatal: " and the text of an error object, whatever the level */
void log_fatal(const struct err *e);

/**
 * log_signal() - print one line from a signal handler: a warning, or "Fatal: "
 * @text: plain text; it may be printed in the middle of another line
 */
void log_signal(bool fatal, const char *text);

/**
 * log_color() - may what goes to this descriptor be coloured?
 *
 * On a terminal that is not dumb, unless NO_COLOR is set and not empty (no-color.org).
 */
bool log_color(int fd);
#define LOG_RED		"\33[31m"
#define LOG_YELLOW	"\33[33m"
#define LOG_PLAIN	"\33[m"

/**
 * log_status() - show how far something is, in a line that the next call or message replaces
 * @fmt: NULL: away with it. Nothing is shown if stderr is no terminal
 */
void log_status(const char *fmt, ...) PRINTF_LIKE(1, 2);

/*
 * A guest can provoke messages at any rate. A rate object lets a burst of 10 through, then one
 * per second, and counts what it swallowed.
 */
struct log_rate {
	uint64_t window_ns;	/* start of the current second */
	unsigned int printed;	/* messages in it */
	unsigned int dropped;
};

/** log_rated() - like log_msg(), for everything that a guest can cause */
void log_rated(struct log_rate *r, enum log_level level, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
