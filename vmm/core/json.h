/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small JSON writer (RFC 8259): output for programs, a member per line. Nesting and commas are
 * its business, the rest the caller's. What the stream did not take is for ferror() to tell.
 */
#ifndef CORE_JSON_H
#define CORE_JSON_H

#include <stdio.h>

#include "vmm/core/types.h"

#define JSON_DEPTH_MAX 31

/**
 * struct json - a text being written; { .f = stream } is an empty one
 * @f:     where to
 * @depth: objects and arrays that are open
 * @used:  bit n: what is open at depth n has a member already
 */
struct json {
	FILE *f;
	unsigned int depth;
	uint32_t used;
};

/*
 * @key: name of the member; NULL: an element of an array, or the outermost value
 * A key is given once in an object: that is the caller's duty.
 */

/** json_object_begin(), json_array_begin() - up to JSON_DEPTH_MAX in each other */
void json_object_begin(struct json *j, const char *key);
/** json_object_end() - after the outermost one the line ends */
void json_object_end(struct json *j);
void json_array_begin(struct json *j, const char *key);
void json_array_end(struct json *j);

/**
 * json_str() - a string
 * @val: bytes; what is not UTF-8 (a file's name can be anything) becomes U+FFFD. NULL: null
 */
void json_str(struct json *j, const char *key, const char *val);
/** json_hex() - a string of two hexadecimal digits per byte */
void json_hex(struct json *j, const char *key, const void *bytes, size_t len);
void json_u64(struct json *j, const char *key, uint64_t val);
void json_bool(struct json *j, const char *key, bool val);

/** json_quote() - a string in quotes, as json_str() writes it, for a text that is made by hand */
void json_quote(FILE *f, const char *val);

#endif
