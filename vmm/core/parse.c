// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int parse_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

/* Reads a number at the front of a text and says where it ends. */
static int leading_u64(const char *text, uint64_t *out, const char **end)
{
	const char *p = text;
	uint64_t val = 0;
	int base = 10;

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		base = 16;
		p += 2;
		if (parse_hex_digit(*p) >= base)
			return -EINVAL;
	} else if (p[0] == '0') {
		base = 8;
	} else if (parse_hex_digit(*p) >= base) {
		return -EINVAL;
	}
	for (; parse_hex_digit(*p) < base; p++)
		if (__builtin_mul_overflow(val, (uint64_t)base, &val) ||
		    __builtin_add_overflow(val, (uint64_t)parse_hex_digit(*p), &val))
			return -ERANGE;
	*out = val;
	*end = p;
	return 0;
}

int parse_u64(const char *text, uint64_t *out)
{
	const char *end;
	uint64_t val;
	int ret;

	ret = leading_u64(text, &val, &end);
	if (ret < 0)
		return ret;
	if (*end)
		return -EINVAL;
	*out = val;
	return 0;
}

int parse_size(const char *text, uint64_t unit, uint64_t *out)
{
	static const char units[] = "bkmgtp";
	const char *end, *u;
	uint64_t val;
	int ret;

	ret = leading_u64(text, &val, &end);
	if (ret < 0)
		return ret;
	if (*end) {
		u = strchr(units, *end | 0x20); /* to lower case */
		if (!u || end[1])
			return -EINVAL;
		unit = 1ULL << (10 * (u - units));
	}
	if (__builtin_mul_overflow(val, unit, &val))
		return -ERANGE;
	*out = val;
	return 0;
}

int parse_bool(const char *text, bool *out)
{
	static const char *const words[][2] = {
		{"no", "yes"},
		{"off", "on"},
		{"false", "true"},
		{"0", "1"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		for (int v = 0; v < 2; v++) {
			if (!strcmp(text, words[i][v])) {
				*out = v;
				return 0;
			}
		}
	}
	return -EINVAL;
}

int parse_cpu_list(const char *text, cpu_set_t *set)
{
	const char *p = text;
	uint64_t first, last;
	int ret;

	CPU_ZERO(set);
	for (;;) {
		ret = leading_u64(p, &first, &p);
		if (ret < 0)
			return ret;
		last = first;
		if (*p == '-') {
			ret = leading_u64(p + 1, &last, &p);
			if (ret < 0)
				return ret;
		}
		if (last < first)
			return -EINVAL;
		if (last >= CPU_SETSIZE)
			return -ERANGE;
		for (; first <= last; first++)
			CPU_SET(first, set);
		if (!*p)
			return 0;
		if (*p++ != ',')
			return -EINVAL;
	}
}

int parse_hex(const char *text, uint8_t *out, size_t size, size_t *len)
{
	size_t n = strlen(text);

	if (!n || n % 2 || strspn(text, "0123456789abcdefABCDEF") != n)
		return -EINVAL;
	if (n / 2 > size)
		return -ERANGE;
	for (size_t i = 0; i < n / 2; i++)
		out[i] = parse_hex_digit(text[2 * i]) << 4 | parse_hex_digit(text[2 * i + 1]);
	*len = n / 2;
	return 0;
}

#define WORD_MAX 40 /* longer words are not typing errors of anything known */

/*
 * Edit distance: insertions, deletions, substitutions and swaps of neighbours, each 1 (the
 * "optimal string alignment" distance).
 */
static unsigned int edit_distance(const char *a, size_t na, const char *b, size_t nb)
{
	unsigned int row[3][WORD_MAX + 1], *two = row[0], *one = row[1], *now = row[2], *t;

	for (size_t j = 0; j <= nb; j++)
		one[j] = j;
	for (size_t i = 1; i <= na; i++) {
		now[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			now[j] = MIN(one[j], now[j - 1]) + 1;
			now[j] = MIN(now[j], one[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = MIN(now[j], two[j - 2] + 1);
		}
		t = two;
		two = one;
		one = now;
		now = t;
	}
	return one[nb];
}

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

int parse_base64(const char *text, uint8_t *out, size_t size, size_t *len)
{
	size_t digits = strcspn(text, "="), pad = strlen(text + digits), n = 0;
	uint32_t acc = 0;

	/* one digit alone has no byte in it; padding fills up to a multiple of four */
	if (!digits || digits % 4 == 1 || pad > 2 || (pad && (digits + pad) % 4) ||
	    strspn(text + digits, "=") != pad)
		return -EINVAL;
	for (size_t i = 0; i < digits; i++) {
		int d = base64_digit(text[i]);

		if (d < 0)
			return -EINVAL;
		acc = acc << 6 | d;
		if (i % 4 == 0)
			continue;
		if (n == size)
			return -ERANGE;
		out[n++] = acc >> (6 - 2 * (i % 4));
	}
	/* bits behind the last byte */
	if (acc & (digits % 4 == 2 ? 0xfU : digits % 4 == 3 ? 3U : 0))
		return -EINVAL;
	*len = n;
	return 0;
}

void format_base64(const uint8_t *p, size_t len, bool url, char *out)
{
	static const char std[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	static const char alt[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const char *digit = url ? alt : std;

	for (; len; len -= MIN(len, 3), p += 3) {
		uint32_t v = (uint32_t)p[0] << 16;

		if (len > 1)
			v |= (uint32_t)p[1] << 8;
		if (len > 2)
			v |= p[2];
		*out++ = digit[v >> 18];
		*out++ = digit[v >> 12 & 63];
		if (len > 1 || !url)
			*out++ = len > 1 ? digit[v >> 6 & 63] : '=';
		if (len > 2 || !url)
			*out++ = len > 2 ? digit[v & 63] : '=';
	}
	*out = '\0';
}

void nearest_offer(struct nearest *n, const char *name)
{
	size_t nw = strlen(n->word), nn = strlen(name), shorter = MIN(nw, nn);
	unsigned int dist, score;

	if (!nw || nw > WORD_MAX || nn > WORD_MAX)
		return;
	if (shorter >= 2 && !strncmp(n->word, name, shorter)) {
		dist = 1; /* cut short, or spelt out: "init" and "memory" */
	} else {
		dist = edit_distance(n->word, nw, name, nn);
		if (dist > MAX(1, shorter / 3))
			return;
	}
	/* Of equally distant names the one of the most similar length. */
	score = dist * WORD_MAX * 2 + MAX(nw, nn) - shorter;
	if (!n->best || score < n->score) {
		n->best = name;
		n->score = score;
	}
}
