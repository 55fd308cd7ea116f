// SPDX-License-Identifier: BSD-3-Clause
#include "tests/unit/cborread.h"

#include <string.h>

#include "tests/unit/unit.h"

uint64_t cr_head(struct cr *r, unsigned int major)
{
	unsigned int info, n;
	uint64_t v = 0;

	assert_true(r->p < r->end);
	assert_int_equal(*r->p >> 5, major);
	info = *r->p++ & 31;
	if (info < 24)
		return info;
	assert_true(info < 28);		/* 28 to 30 are nothing, 31 has no length */
	n = 1U << (info - 24);
	assert_true((size_t)(r->end - r->p) >= n);
	for (unsigned int i = 0; i < n; i++)
		v = v << 8 | *r->p++;
	/* would a shorter form have done? */
	assert_true(n == 1 ? v >= 24 : v >> (4 * n));
	return v;
}

void cr_int(struct cr *r, int64_t want)
{
	if (want >= 0)
		assert_int_equal(cr_head(r, CR_UINT), want);
	else
		assert_int_equal(cr_head(r, CR_NINT), -1 - want);
}

void cr_tag(struct cr *r, uint64_t want)
{
	assert_int_equal(cr_head(r, CR_TAG), want);
}

void cr_map(struct cr *r, uint64_t want)
{
	assert_int_equal(cr_head(r, CR_MAP), want);
}

void cr_array(struct cr *r, uint64_t want)
{
	assert_int_equal(cr_head(r, CR_ARRAY), want);
}

static const uint8_t *string(struct cr *r, unsigned int major, size_t len)
{
	const uint8_t *p;

	assert_int_equal(cr_head(r, major), len);
	assert_true((size_t)(r->end - r->p) >= len);
	p = r->p;
	r->p += len;
	return p;
}

void cr_text(struct cr *r, const char *want)
{
	assert_memory_equal(string(r, CR_TEXT, strlen(want)), want, strlen(want));
}

const uint8_t *cr_bytes(struct cr *r, const void *want, size_t len)
{
	const uint8_t *p = string(r, CR_BYTES, len);

	if (want)
		assert_memory_equal(p, want, len);
	return p;
}

struct cr cr_open(struct cr *r)
{
	struct cr in;
	uint64_t len = cr_head(r, CR_BYTES);

	assert_true((uint64_t)(r->end - r->p) >= len);
	in = (struct cr){ r->p, r->p + len };
	r->p += len;
	return in;
}

void cr_end(const struct cr *r)
{
	assert_ptr_equal(r->p, r->end);
}

void cw_raw(struct cw *w, const void *p, size_t len)
{
	assert_true(sizeof(w->buf) - w->len >= len);
	memcpy(w->buf + w->len, p, len);
	w->len += len;
}

void cw_head(struct cw *w, unsigned int major, uint64_t arg)
{
	uint8_t b[9];
	unsigned int n = arg < 24 ? 0 : arg < 0x100 ? 1 : arg < 0x10000 ? 2 : arg >> 32 ? 8 : 4;

	b[0] = major << 5 | (n ? 24U + __builtin_ctz(n) : (unsigned int)arg);
	for (unsigned int i = 0; i < n; i++)
		b[1 + i] = arg >> (8 * (n - 1 - i));
	cw_raw(w, b, 1 + n);
}

void cw_int(struct cw *w, int64_t val)
{
	if (val >= 0)
		cw_head(w, CR_UINT, val);
	else
		cw_head(w, CR_NINT, -1 - val);
}

void cw_text(struct cw *w, const char *text)
{
	cw_head(w, CR_TEXT, strlen(text));
	cw_raw(w, text, strlen(text));
}

void cw_bytes(struct cw *w, const void *p, size_t len)
{
	cw_head(w, CR_BYTES, len);
	cw_raw(w, p, len);
}
