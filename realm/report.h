/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A measurement as text, and back: what `realmtool measure` prints, and what --expect-rim compares.
 * Both forms have the same fields, so two results can be compared step by step, by eye or by us.
 */
#ifndef REALM_REPORT_H
#define REALM_REPORT_H

#include "realm/measure.h"
#include "vmm/core/json.h"
#include "vmm/core/parse.h"

#define REPORT_B64_MAX BASE64_SIZE(REALM_HASH_MAX)
#define REPORT_HEX_MAX (REALM_HASH_MAX * 2 + 1)

/** report_hex(), report_base64() - the digest's bytes, without the zeros behind it */
void report_hex(const struct rim *r, char out[REPORT_HEX_MAX]);
void report_base64(const struct rim *r, char out[REPORT_B64_MAX]);

#define REPORT_TEXT_MAX (MEASURE_MAX_STEPS * 768 + 512)	/* a step has less than 500 bytes */

/** report_text() - the lines of measure; @steps: also those of -v */
void report_text(const struct measurement *m, bool steps, char out[REPORT_TEXT_MAX]);

/** report_json() - members of an object that is open: dialect, algorithm, rim, steps */
void report_json(const struct measurement *m, struct json *j);

#define REPORT_MAX_STEPS (MEASURE_MAX_STEPS + 8)

/**
 * struct report_expected - what a measurement shall be
 * @rim:  @len bytes
 * @nr:   steps that are known, 0: none
 * @step: their text
 */
struct report_expected {
	uint8_t rim[REALM_HASH_MAX];
	size_t len;
	unsigned int nr;
	struct report_step *step;
};

/**
 * report_expect() - read what --expect-rim names
 * @spec: hexadecimal, base64, or @FILE: a file with one of these, or what report_text() or
 *        report_json() wrote
 *
 * Return: 0 and @x filled, report_expect_free() it; -EINVAL, -EFBIG, or the errno of the file.
 */
int report_expect(const char *spec, struct report_expected *x, struct err *e);
/** report_expect_text() - the same for the content of a file, @name in errors */
int report_expect_text(const char *name, const char *text, size_t len, struct report_expected *x,
		       struct err *e);
void report_expect_free(struct report_expected *x);

/**
 * report_compare() - is the measurement the expected one?
 *
 * Return: 0; -EKEYREJECTED: the text says what differs, as far as steps are known; -EINVAL: they
 * cannot be compared, because the digests have different lengths.
 */
int report_compare(const struct measurement *m, const struct report_expected *x, struct err *e);

#endif
