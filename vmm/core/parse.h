/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text to values. Each parser takes the whole text or refuses it: junk behind a number, signs and
 * blanks are errors. What a caller prints is up to the caller.
 */
#ifndef CORE_PARSE_H
#define CORE_PARSE_H

#include <sched.h>

#include "vmm/core/types.h"

/** parse_hex_digit() - value of a hexadecimal digit in either case, 16 if it is none */
int parse_hex_digit(char c);

/**
 * parse_u64() - a number: decimal, 0x hexadecimal or 0 octal (as lkvm reads them)
 *
 * Return: 0, -EINVAL (not a number, or something behind it), -ERANGE (more than 64 bits).
 */
int parse_u64(const char *text, uint64_t *out);

/**
 * parse_size() - a number with an optional unit: B, K, M, G, T or P of 1024, in either case
 * @text: for example "512", "256m", "0x200"; in hexadecimal a trailing B is a digit, not a unit
 * @unit: bytes that a number without a unit counts
 * @out:  bytes
 *
 * Return: 0, -EINVAL, -ERANGE (2^64 bytes or more).
 */
int parse_size(const char *text, uint64_t unit, uint64_t *out);

/**
 * parse_bool() - yes, on, true, 1 or no, off, false, 0
 *
 * Return: 0 or -EINVAL.
 */
int parse_bool(const char *text, bool *out);

/**
 * parse_cpu_list() - a list of host CPUs: "0-3,5"
 * @set: the CPUs of the list
 *
 * Return: 0, -EINVAL (syntax, a range that runs backwards), -ERANGE (CPU_SETSIZE or higher).
 */
int parse_cpu_list(const char *text, cpu_set_t *set);

/**
 * parse_hex() - bytes written as pairs of hexadecimal digits
 * @size: room in @out
 * @len:  bytes found, at least 1
 *
 * Return: 0, -EINVAL (empty, odd number of digits, other characters), -ERANGE (no room).
 */
int parse_hex(const char *text, uint8_t *out, size_t size, size_t *len);

/**
 * parse_base64() - bytes in base64 (RFC 4648, also the form for URLs; padding may be left out)
 * @size: room in @out
 * @len:  bytes found, at least 1
 *
 * Return: 0, -EINVAL, -ERANGE (no room).
 */
int parse_base64(const char *text, uint8_t *out, size_t size, size_t *len);

#define BASE64_SIZE(len) (4 * (((len) + 2) / 3) + 1)

/**
 * format_base64() - the other way round
 * @url: the alphabet for URLs, and no padding
 * @out: BASE64_SIZE(len) bytes
 */
void format_base64(const uint8_t *p, size_t len, bool url, char *out);

/**
 * struct nearest - search for the known word that a mistyped word stands closest to
 * @word: what was typed; the caller sets it and leaves the rest zero
 * @best: nearest of the names offered so far, or NULL if none is near
 */
struct nearest {
	const char *word;
	const char *best;
	unsigned int score;
};

/** nearest_offer() - consider one known name (which must stay where it is) */
void nearest_offer(struct nearest *n, const char *name);

#endif
