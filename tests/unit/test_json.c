// SPDX-License-Identifier: BSD-3-Clause
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/core/json.h"

static struct json j;
static char *text;
static size_t text_len;

static int setup(void **state)
{
	(void)state;
	j = (struct json){ .f = open_memstream(&text, &text_len) };
	return j.f ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	if (j.f)
		fclose(j.f);
	free(text);
	return 0;
}

static void expect(const char *want)
{
	fclose(j.f);
	j.f = NULL;
	assert_string_equal(text, want);
}

static void members(void **state)
{
	static const uint8_t bytes[] = { 0x00, 0xab, 0xff };

	(void)state;
	json_object_begin(&j, NULL);
	json_str(&j, "name", "guest");
	json_str(&j, "none", NULL);
	json_u64(&j, "most", UINT64_MAX);
	json_bool(&j, "yes", true);
	json_bool(&j, "no", false);
	json_hex(&j, "bytes", bytes, sizeof(bytes));
	json_hex(&j, "nothing", bytes, 0);
	json_object_end(&j);
	expect("{\n  \"name\": \"guest\",\n  \"none\": null,\n"
	       "  \"most\": 18446744073709551615,\n  \"yes\": true,\n  \"no\": false,\n"
	       "  \"bytes\": \"00abff\",\n  \"nothing\": \"\"\n}\n");
}

static void nesting(void **state)
{
	(void)state;
	json_object_begin(&j, NULL);
	json_array_begin(&j, "list");
	json_object_begin(&j, NULL);
	json_u64(&j, "a", 1);
	json_object_end(&j);
	json_object_begin(&j, NULL);
	json_object_end(&j);
	json_str(&j, NULL, "x");
	json_array_end(&j);
	json_array_begin(&j, "empty");
	json_array_end(&j);
	json_u64(&j, "after", 2);
	json_object_end(&j);
	expect("{\n  \"list\": [\n    {\n      \"a\": 1\n    },\n    {},\n    \"x\"\n  ],\n"
	       "  \"empty\": [],\n  \"after\": 2\n}\n");
}

static void empty(void **state)
{
	(void)state;
	json_array_begin(&j, NULL);
	json_array_end(&j);
	/* a second text on the same stream begins anew */
	json_object_begin(&j, NULL);
	json_object_end(&j);
	expect("[]\n{}\n");
}

static void deepest(void **state)
{
	char want[2 * JSON_DEPTH_MAX + 1];
	char *p;

	(void)state;
	for (int i = 0; i < JSON_DEPTH_MAX; i++)
		json_array_begin(&j, NULL);
	for (int i = 0; i < JSON_DEPTH_MAX; i++)
		json_array_end(&j);
	fflush(j.f);
	p = want;
	for (const char *s = text; *s; s++)
		if (*s == '[' || *s == ']')
			*p++ = *s;
	*p = '\0';
	assert_int_equal(strlen(want), 2 * JSON_DEPTH_MAX);
	assert_int_equal(strspn(want, "["), JSON_DEPTH_MAX);
}

static void escapes(void **state)
{
	static const struct {
		const char *in, *out;
	} t[] = {
		{ "", "" },
		{ "\"\\/", "\\\"\\\\/" },
		{ "a\nb\t\x1b\x7f", "a\\u000ab\\u0009\\u001b\\u007f" },
		{ "\x01", "\\u0001" },
		/* two, three and four bytes */
		{ "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf",
		  "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf" },
		/* a lone continuation byte, a sequence cut short by text and by the end */
		{ "x\x80y", "x\\ufffdy" },
		{ "\xc3(", "\\ufffd(" },
		{ "\xe2\x82", "\\ufffd\\ufffd" },
		{ "\xf0\x9f\x98", "\\ufffd\\ufffd\\ufffd" },
		/* overlong, surrogate, beyond U+10FFFF, never a first byte */
		{ "\xc0\xaf", "\\ufffd\\ufffd" },
		{ "\xe0\x9f\xbf", "\\ufffd\\ufffd\\ufffd" },
		{ "\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd" },
		{ "\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd" },
		{ "\xff\xfe", "\\ufffd\\ufffd" },
	};
	char want[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		fseeko(j.f, 0, SEEK_SET);
		json_str(&j, NULL, t[i].in);
		fflush(j.f);
		snprintf(want, sizeof(want), "\"%s\"", t[i].out);
		assert_int_equal(text_len, strlen(want));
		assert_memory_equal(text, want, text_len);
	}
}

static void keys(void **state)
{
	(void)state;
	json_object_begin(&j, NULL);
	json_bool(&j, "a \"b\"", true);
	json_object_end(&j);
	expect("{\n  \"a \\\"b\\\"\": true\n}\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(members, setup, teardown),
		cmocka_unit_test_setup_teardown(nesting, setup, teardown),
		cmocka_unit_test_setup_teardown(empty, setup, teardown),
		cmocka_unit_test_setup_teardown(deepest, setup, teardown),
		cmocka_unit_test_setup_teardown(escapes, setup, teardown),
		cmocka_unit_test_setup_teardown(keys, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
