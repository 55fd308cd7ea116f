/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A second reader of CBOR, for the tests of what realmtool writes: it takes an item at a time and
 * fails the test unless it is the expected one, in the shortest form.
 */
#ifndef CBORREAD_H
#define CBORREAD_H

#include <stddef.h>
#include <stdint.h>

struct cr {
	const uint8_t *p, *end;
};

enum { CR_UINT, CR_NINT, CR_BYTES, CR_TEXT, CR_ARRAY, CR_MAP, CR_TAG };

/** cr_head() - the head of an item of this major type. Return: its argument */
uint64_t cr_head(struct cr *r, unsigned int major);
/** cr_int() - this number */
void cr_int(struct cr *r, int64_t want);
void cr_tag(struct cr *r, uint64_t want);
/** cr_map(), cr_array() - with so many members */
void cr_map(struct cr *r, uint64_t want);
void cr_array(struct cr *r, uint64_t want);
/** cr_text() - this text */
void cr_text(struct cr *r, const char *want);
/** cr_bytes() - these bytes; @want NULL: any so many */
const uint8_t *cr_bytes(struct cr *r, const void *want, size_t len);
/** cr_open() - a reader of what is in a byte string */
struct cr cr_open(struct cr *r);
/** cr_end() - nothing follows */
void cr_end(const struct cr *r);

/* The other way: a writer for what realmtool itself never writes. */
struct cw {
	uint8_t buf[8192];
	size_t len;
};

void cw_head(struct cw *w, unsigned int major, uint64_t arg);
void cw_int(struct cw *w, int64_t val);
void cw_text(struct cw *w, const char *text);
void cw_bytes(struct cw *w, const void *p, size_t len);
void cw_raw(struct cw *w, const void *p, size_t len);

#endif
