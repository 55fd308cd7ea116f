// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/json.h"

#include <inttypes.h>

/*
 * Length of the UTF-8 sequence at @s (RFC 3629), 0 if there is none: no overlong forms, no
 * surrogates, nothing above U+10FFFF. The NUL at the end is no continuation byte and stops it.
 */
static unsigned int utf8(const unsigned char *s)
{
	static const struct {
		unsigned char first, last;	/* range of the first byte */
		unsigned char low, high;	/* range of the second */
		unsigned int len;
	} forms[] = {
		{ 0x01, 0x7f, 0, 0xff, 1 },	{ 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 },	{ 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 },	{ 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 },	{ 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(forms); i++) {
		unsigned int n = forms[i].len;

		if (s[0] < forms[i].first || s[0] > forms[i].last)
			continue;
		if (n > 1 && (s[1] < forms[i].low || s[1] > forms[i].high))
			return 0;
		for (unsigned int k = 2; k < n; k++)
			if ((s[k] & 0xc0) != 0x80)
				return 0;
		return n;
	}
	return 0;
}

void json_quote(FILE *f, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	putc('"', f);
	while (*s) {
		unsigned int n = utf8(s);

		if (!n)
			fputs("\\ufffd", f);
		else if (*s == '"' || *s == '\\')
			fprintf(f, "\\%c", *s);
		else if (*s < 0x20 || *s == 0x7f)
			fprintf(f, "\\u%04x", *s);
		else
			fwrite(s, 1, n, f);
		s += n ? n : 1;
	}
	putc('"', f);
}

static void new_line(struct json *j)
{
	fprintf(j->f, "\n%*s", (int)j->depth * 2, "");
}

/* What stands before a value: comma, indentation, key. */
static void member(struct json *j, const char *key)
{
	uint32_t bit = UINT32_C(1) << j->depth;

	if (j->depth) {
		if (j->used & bit)
			putc(',', j->f);
		new_line(j);
	}
	j->used |= bit;
	if (key) {
		json_quote(j->f, key);
		fputs(": ", j->f);
	}
}

static void begin(struct json *j, const char *key, char c)
{
	member(j, key);
	putc(c, j->f);
	j->depth = MIN(j->depth + 1, (unsigned int)JSON_DEPTH_MAX);
	j->used &= ~(UINT32_C(1) << j->depth);
}

static void end(struct json *j, char c)
{
	bool empty = !(j->used & UINT32_C(1) << j->depth);

	j->depth -= j->depth > 0;
	if (!empty)
		new_line(j);
	putc(c, j->f);
	if (!j->depth)
		putc('\n', j->f);
}

void json_object_begin(struct json *j, const char *key)
{
	begin(j, key, '{');
}

void json_object_end(struct json *j)
{
	end(j, '}');
}

void json_array_begin(struct json *j, const char *key)
{
	begin(j, key, '[');
}

void json_array_end(struct json *j)
{
	end(j, ']');
}

void json_str(struct json *j, const char *key, const char *val)
{
	member(j, key);
	if (val)
		json_quote(j->f, val);
	else
		fputs("null", j->f);
}

void json_hex(struct json *j, const char *key, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	member(j, key);
	putc('"', j->f);
	for (size_t i = 0; i < len; i++)
		fprintf(j->f, "%02x", b[i]);
	putc('"', j->f);
}

void json_u64(struct json *j, const char *key, uint64_t val)
{
	member(j, key);
	fprintf(j->f, "%" PRIu64, val);
}

void json_bool(struct json *j, const char *key, bool val)
{
	member(j, key);
	fputs(val ? "true" : "false", j->f);
}
