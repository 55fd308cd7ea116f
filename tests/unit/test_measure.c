// SPDX-License-Identifier: BSD-3-Clause
/*
 * Measuring whole plans, on any number of threads; the report and its way back; what run compares.
 * With --plans DIR COUNT SEED it writes random plans and what became of them to DIR/plans, for
 * tests/measure/recompute.pl.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "realm/measure.h"
#include "realm/report.h"
#include "tests/unit/mkimage.h"
#include "vmm/core/err.h"
#include "vmm/predict.h"

#define BASE	UINT64_C(0x80000000)

static struct err e;
static struct measurement m;

static uint64_t rnd_state = 1;

/* xorshift64: the same sequence everywhere */
static uint64_t rnd(uint64_t below)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state % below;
}

static const struct rim_params b256 = {
	.dialect = RIM_B, .algo = REALM_SHA256, .s2sz = 40, .num_bps = 5, .num_wps = 3,
};

static void add(struct plan *p, const char *name, ipa_t ipa, const void *buf, uint64_t len,
		bool measured)
{
	struct plan_piece c = {
		.ipa = ipa, .len = len, .span = ALIGN_UP(len, GRANULE_SIZE), .buf = buf, .fd = -1,
		.measured = measured,
	};

	snprintf(c.name, sizeof(c.name), "%s", name);
	assert_int_equal(plan_add(p, &c, &e), 0);
}

/* The whole measurement by the single steps, a granule after the other. */
static void by_hand(const struct plan *p, const struct rim_params *params, struct rim *r)
{
	uint8_t page[GRANULE_SIZE], digest[REALM_HASH_MAX];

	assert_int_equal(rim_create(r, params), 0);
	for (unsigned int i = 0; i < p->nr; i++) {
		const struct plan_piece *c = &p->piece[i];

		for (uint64_t off = 0; off < c->len; off += GRANULE_SIZE) {
			assert_int_equal(plan_read(c, off, page, sizeof(page), &e), 0);
			realm_hash2(params->algo, page, sizeof(page), NULL, 0, digest);
			assert_int_equal(rim_data(r, c->ipa + off, c->measured ? digest : NULL),
					 0);
		}
	}
	assert_int_equal(rim_rec(r, p->pc, p->x), 0);
}

static bool no_crypto(void)
{
	struct rim r;

	return rim_create(&r, &b256) == -ENOSYS;
}

/* ---- plans ------------------------------------------------------------------------------- */

/* Sizes around a granule and a chunk, from memory and from a file, on one CPU and on all. */
static void sizes(void **state)
{
	static const uint64_t len[] = {
		1, 4095, 4096, 4097, 64 * 4096 - 1, 64 * 4096, 64 * 4096 + 1, 5 * 64 * 4096 + 77,
		40 * 64 * 4096 + 1,
	};
	uint64_t max = len[ARRAY_SIZE(len) - 1];
	uint8_t *bytes = malloc(max);
	cpu_set_t all, one;
	struct rim r;
	int fd;

	(void)state;
	if (no_crypto())
		skip();
	for (uint64_t i = 0; i < max; i++)
		bytes[i] = rnd(256);
	fd = open(mk_file((struct blob){ bytes, max }), O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	for (int c = 0; c < CPU_SETSIZE && !CPU_COUNT(&one); c++)
		if (CPU_ISSET(c, &all))
			CPU_SET(c, &one);

	for (size_t i = 0; i < ARRAY_SIZE(len); i++) {
		struct plan_piece c = {
			.name = "initrd", .ipa = BASE + SZ_1G, .len = len[i] > 7 ? len[i] - 7 : 1,
			.span = ALIGN_UP(len[i], GRANULE_SIZE), .fd = fd,
			.fd_off = len[i] > 7 ? 7 : 0, .measured = true,
		};
		struct plan p = { .pc = BASE, .x = { 1, 2, 3, 4, 5, 6, 7, 8 } };

		add(&p, "kernel", BASE, bytes, len[i], true);
		assert_int_equal(plan_add(&p, &c, &e), 0);
		add(&p, "dtb", BASE + 2 * SZ_1G, bytes, len[i], false);
		assert_int_equal(plan_check(&p, BASE, 4 * SZ_1G, &e), 0);
		by_hand(&p, &b256, &r);
		for (int n = 0; n < 2; n++) {
			assert_int_equal(sched_setaffinity(0, sizeof(one), n ? &one : &all), 0);
			memset(&m, 0xaa, sizeof(m));
			assert_int_equal(measure_plan(&p, &b256, &m, &e), 0);
			assert_memory_equal(m.rim.value, r.value, REALM_HASH_MAX);
			assert_int_equal(m.nr, 5);
			assert_string_equal(m.step[1].name, "kernel");
			assert_int_equal(m.step[1].size, ALIGN_UP(len[i], GRANULE_SIZE));
			assert_true(m.step[1].measured);
			assert_false(m.step[3].measured);
			assert_memory_equal(m.step[4].rim, r.value, REALM_HASH_MAX);
		}
		assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
		plan_clear(&p);
	}
	close(fd);
	mk_file_cleanup();
	free(bytes);
}

/* The known answer of test_rim.c, with the pieces given in the wrong order. */
static void known_answer(void **state)
{
	static uint8_t image[2 * GRANULE_SIZE];
	static const uint8_t dtb[100];
	struct plan p = { .pc = BASE, .x = { 0x8fe00000 } };
	char hex[REPORT_HEX_MAX], b64[REPORT_B64_MAX];

	(void)state;
	if (no_crypto())
		skip();
	for (unsigned int g = 0; g < 2; g++)
		for (unsigned int k = 0; k < GRANULE_SIZE; k++)
			image[g * GRANULE_SIZE + k] = 7 * k + 3 + g;
	add(&p, "dtb", 0x8fe00000, dtb, sizeof(dtb), false);
	add(&p, "kernel", BASE, image, sizeof(image), true);
	assert_int_equal(plan_check(&p, BASE, 0x20000000, &e), 0);
	assert_int_equal(measure_plan(&p, &b256, &m, &e), 0);
	report_hex(&m.rim, hex);
	assert_string_equal(hex, "26527c111778d7fe434b698028e6a4c11a2ff6b15e2ae843bb32d141ab62e9a2");
	report_base64(&m.rim, b64);
	assert_string_equal(b64, "JlJ8ERd41/5DS2mAKOakwRov9rFeKuhDuzLRQati6aI=");
	plan_clear(&p);
}

static void failures(void **state)
{
	static const uint8_t page[GRANULE_SIZE];
	static uint8_t big[30 * 64 * 4096];
	struct rim_params p = b256;
	struct plan_piece c = {
		.name = "initrd", .ipa = BASE + SZ_1G, .len = sizeof(big), .span = sizeof(big),
		.path = "/some/initrd", .measured = true,
	};
	struct plan plan = { .pc = BASE };

	(void)state;
	if (no_crypto())
		skip();
	/* a file that became shorter, or cannot be read, while all threads are at it */
	c.fd = open(mk_file((struct blob){ big, sizeof(big) }), O_RDWR);
	assert_true(c.fd >= 0);
	add(&plan, "kernel", BASE, page, sizeof(page), true);
	assert_int_equal(plan_add(&plan, &c, &e), 0);
	assert_int_equal(plan_check(&plan, BASE, 4 * SZ_1G, &e), 0);
	assert_int_equal(measure_plan(&plan, &p, &m, &e), 0);
	assert_int_equal(ftruncate(c.fd, sizeof(big) / 2), 0);
	assert_int_equal(measure_plan(&plan, &p, &m, &e), -EIO);
	assert_non_null(strstr(e.msg, "/some/initrd became shorter"));
	assert_int_equal(measure_plan(&plan, &p, &m, NULL), -EIO);
	close(c.fd);
	assert_int_equal(measure_plan(&plan, &p, &m, &e), -EIO);
	mk_file_cleanup();
	plan_clear(&plan);

	p.dialect = RIM_A;
	p.algo = REALM_SHA384;
	add(&plan, "kernel", BASE, page, sizeof(page), true);
	assert_int_equal(plan_check(&plan, BASE, SZ_1G, &e), 0);
	assert_int_equal(measure_plan(&plan, &p, &m, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "SHA-384"));
	/* the order in which a v12 kernel takes its slots */
	p.algo = REALM_SHA256;
	p.order = RIM_RIPAS_LAST;
	assert_int_equal(measure_plan(&plan, &p, &m, &e), 0);
	assert_int_equal(plan_ram(&plan, BASE + SZ_2M, SZ_2M, &e), 0);
	assert_int_equal(plan_check(&plan, BASE, SZ_1G, &e), 0);
	assert_int_equal(measure_plan(&plan, &p, &m, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "--ripas-ram"));
	p.order = RIM_RIPAS_FIRST;
	assert_int_equal(measure_plan(&plan, &p, &m, &e), 0);
	p.s2sz = 32;
	assert_int_equal(measure_plan(&plan, &p, &m, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "protected half"));
	plan_clear(&plan);

	/* nothing in memory at all: what remains is the REC */
	assert_int_equal(measure_plan(&plan, &b256, &m, &e), 0);
	assert_int_equal(m.nr, 2);
}

/* Which entries are measured, counted: 64 MiB with data in the second of its 2 MiB blocks. */
static void ripas_shape(void **state)
{
	static const uint8_t page[GRANULE_SIZE];
	struct rim_params p = b256;
	struct plan plan = { .pc = BASE };
	struct rim r;

	(void)state;
	if (no_crypto())
		skip();
	add(&plan, "kernel", BASE + SZ_2M, page, sizeof(page), true);
	assert_int_equal(plan_ram(&plan, BASE, 64 * SZ_1M, &e), 0);
	assert_int_equal(plan_check(&plan, BASE, 64 * SZ_1M, &e), 0);

	p.dialect = RIM_A;
	assert_int_equal(measure_plan(&plan, &p, &m, &e), 0);
	assert_int_equal(m.step[1].kind, MEASURE_RIPAS);
	assert_int_equal(m.step[1].entries, 32);
	assert_int_equal(rim_create(&r, &p), 0);
	for (unsigned int i = 0; i < 32; i++)
		assert_int_equal(rim_ripas(&r, BASE + i * SZ_2M, BASE + (i + 1) * SZ_2M), 0);
	assert_memory_equal(m.step[1].rim, r.value, REALM_HASH_MAX);
	assert_int_equal(m.step[3].kind, MEASURE_REC);

	p.order = RIM_RIPAS_LAST;
	assert_int_equal(measure_plan(&plan, &p, &m, &e), 0);
	assert_int_equal(m.step[2].kind, MEASURE_REC);
	assert_int_equal(m.step[3].kind, MEASURE_RIPAS);
	assert_int_equal(m.step[3].entries, 31 + 511);
	r = (struct rim){ .algo = p.algo };
	memcpy(r.value, m.step[2].rim, REALM_HASH_MAX);
	for (ipa_t at = BASE; at < BASE + 64 * SZ_1M;) {
		uint64_t size = at >= BASE + SZ_2M && at < BASE + 2 * SZ_2M ? SZ_4K : SZ_2M;

		if (at != BASE + SZ_2M)		/* has data: RAM already */
			assert_int_equal(rim_ripas(&r, at, at + size), 0);
		at += size;
	}
	assert_memory_equal(m.rim.value, r.value, REALM_HASH_MAX);
	plan_clear(&plan);
}

/* ---- the report, and what is compared ---------------------------------------------------- */

static const uint8_t image[3 * GRANULE_SIZE] = { 1, 2, 3 }, changed[3 * GRANULE_SIZE] = { 1, 2, 4 };

static void make(struct measurement *out, enum rim_dialect dialect, const void *initrd, ipa_t at)
{
	struct plan p = { .pc = BASE + 0x80000, .x = { 0x8fe00000 } };
	struct rim_params params = b256;

	params.dialect = dialect;
	add(&p, "kernel", BASE + 0x80000, image, sizeof(image), true);
	if (initrd)
		add(&p, "initrd", at, initrd, sizeof(image), true);
	add(&p, "dtb", 0x8fe00000, image, 100, false);
	assert_int_equal(plan_ram(&p, BASE, 256 * SZ_1M, &e), 0);
	assert_int_equal(plan_check(&p, BASE, 256 * SZ_1M, &e), 0);
	assert_int_equal(measure_plan(&p, &params, out, &e), 0);
	plan_clear(&p);
}

/* kind 0: text, 1: text with steps, 2: JSON, 3: JSON without blanks and line ends */
static char *report(const struct measurement *in, int kind)
{
	char *text = NULL, *to;
	size_t len;
	struct json j;

	if (kind < 2) {
		text = malloc(REPORT_TEXT_MAX);
		report_text(in, kind == 1, text);
		assert_true(strlen(text) < REPORT_TEXT_MAX - 1);
	} else {
		j = (struct json){ .f = open_memstream(&text, &len) };
		json_object_begin(&j, NULL);
		json_array_begin(&j, "other");
		json_u64(&j, NULL, 1);
		json_str(&j, NULL, "a \"quoted\" \\ rim");
		json_array_end(&j);
		report_json(in, &j);
		json_str(&j, "rpv", NULL);
		json_object_end(&j);
		fclose(j.f);
	}
	if (kind == 3) {
		to = text;
		for (char *c = text; *c; c++)
			if (!strchr(" \n", *c))
				*to++ = *c;
		*to = '\0';
	}
	return text;
}

static int compare(const struct measurement *here, const struct measurement *there, int kind)
{
	char *text = report(there, kind);
	struct report_expected x;
	int ret = report_expect_text("file", text, strlen(text), &x, &e);

	free(text);
	assert_int_equal(ret, 0);
	ret = report_compare(here, &x, &e);
	report_expect_free(&x);
	return ret;
}

static void round_trip(void **state)
{
	struct measurement here, there;

	(void)state;
	if (no_crypto())
		skip();
	for (enum rim_dialect d = RIM_A; d <= RIM_C; d++) {
		make(&here, d, image, BASE + SZ_2M);
		make(&there, d, changed, BASE + SZ_2M);
		for (int kind = 0; kind < 4; kind++) {
			assert_int_equal(compare(&here, &here, kind), 0);
			assert_int_equal(compare(&here, &there, kind), -EKEYREJECTED);
			if (kind)
				assert_non_null(strstr(e.msg, "differs: initrd: its content."));
			else
				assert_non_null(strstr(e.msg, "measure -v"));
			assert_null(strchr(e.msg, '\n'));
		}
	}
	for (int kind = 1; kind < 4; kind++) {
		make(&here, RIM_B, image, BASE + SZ_2M);
		make(&there, RIM_B, image, BASE + 2 * SZ_2M);
		assert_int_equal(compare(&here, &there, kind), -EKEYREJECTED);
		assert_non_null(strstr(e.msg, "initrd: base is 0x80200000, not 0x80400000"));
		make(&there, RIM_B, NULL, 0);
		assert_int_equal(compare(&here, &there, kind), -EKEYREJECTED);
		assert_non_null(strstr(e.msg, "initrd is not expected"));
		assert_int_equal(compare(&there, &here, kind), -EKEYREJECTED);
		assert_non_null(strstr(e.msg, "initrd is missing"));
		make(&there, RIM_A, image, BASE + SZ_2M);
		assert_int_equal(compare(&here, &there, kind), -EKEYREJECTED);
		assert_non_null(strstr(e.msg, "create: dialect is tf-rmm, not 1.0"));
		assert_non_null(strstr(e.msg, "ripas is missing"));
	}
}

static int expect(const char *spec)
{
	struct report_expected x;
	int ret = report_expect(spec, &x, &e);

	if (!ret) {
		ret = report_compare(&m, &x, &e);
		report_expect_free(&x);
	} else {
		assert_true(strlen(e.msg) > 10);
		assert_null(strchr(e.msg, '\n'));
	}
	return ret;
}

static void expected_values(void **state)
{
	char hex[REPORT_HEX_MAX], b64[REPORT_B64_MAX], text[300];
	struct blob b;

	(void)state;
	if (no_crypto())
		skip();
	make(&m, RIM_B, image, BASE + SZ_2M);
	report_hex(&m.rim, hex);
	report_base64(&m.rim, b64);
	assert_int_equal(expect(hex), 0);
	assert_int_equal(expect(b64), 0);
	b64[strcspn(b64, "=")] = '\0';
	assert_int_equal(expect(b64), 0);
	for (char *c = b64; *c; c++)
		*c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
	assert_int_equal(expect(b64), 0);
	for (char *c = hex; *c; c++)
		*c = *c >= 'a' ? *c - 'a' + 'A' : *c;
	assert_int_equal(expect(hex), 0);
	/* as the guest reads it: 64 bytes, whatever the algorithm */
	snprintf(text, sizeof(text), "%s%064d", hex, 0);
	assert_int_equal(expect(text), 0);
	text[127] = '1';
	assert_int_equal(expect(text), -EINVAL);
	assert_non_null(strstr(e.msg, "64 bytes"));
	text[96] = '\0';
	assert_int_equal(expect(text), -EINVAL);	/* SHA-384 */
	hex[0] = hex[0] == '0' ? '1' : '0';
	assert_int_equal(expect(hex), -EKEYREJECTED);

	/* a file with one word, with blanks and line ends around */
	report_base64(&m.rim, b64);
	b.len = snprintf(text, sizeof(text), "\n%s \r\n\n", b64);
	b.p = (uint8_t *)text;
	snprintf(text + 200, 90, "@%s", mk_file(b));
	assert_int_equal(expect(text + 200), 0);
	mk_file_cleanup();

	assert_int_equal(expect(""), -EINVAL);
	assert_int_equal(expect("xyz"), -EINVAL);
	assert_int_equal(expect("00"), -EINVAL);
	assert_int_equal(expect("@/nonexistent/file"), -ENOENT);
	assert_int_equal(expect("@"), -ENOENT);
	assert_int_equal(expect("@/"), -EISDIR);
}

static int read_text(const char *text)
{
	struct report_expected x;
	int ret = report_expect_text("f", text, strlen(text), &x, &e);

	if (!ret)
		report_expect_free(&x);
	else
		assert_null(strchr(e.msg, '\n'));
	return ret;
}

#define HEX64	"0123456789012345678901234567890123456789012345678901234567890123"

static void malformed(void **state)
{
	static const char *const bad[] = {
		"", "\n\n", "hello", "hello world", HEX64 "\n" HEX64,
		"predicted RIM (dialect x)\n", "predicted RIM (dialect x): 12\n",
		"create a b=c\n" HEX64, "create =c\n" HEX64, "data name=\033[31m\n" HEX64,
		"frob a=b\n" HEX64,
		"create a_very_long_name_for_a_field=1\n" HEX64,
		"{", "{}", "{\"rim\":\"12\"}", "{\"rim\":\"" HEX64 "\"",
		"{\"rim\":\"" HEX64 "\",}", "{\"rim\":\"" HEX64 "\"} x", "{\"rim\":\"" HEX64 "}",
		"{\"rim\":\"" HEX64 "\",\"rim\":\"" HEX64 "\"}",
		"{\"rim\":\"" HEX64 "\",\"steps\":[{\"step\":\"x\"}]}",
		"{\"rim\":\"" HEX64 "\",\"steps\":[{\"name\":\"x\"}]}",
		"{\"rim\":\"" HEX64 "\",\"steps\":[{\"step\":\"data\",\"name\":\"\\u001b\033\"}]}",
		"{\"rim\":\"" HEX64 "\",\"a\":[[[[[[[[[[1]]]]]]]]]]}",
		"{\"rim\":\"" HEX64 "\",\"a\":\"\\", "{\"rim\" \"" HEX64 "\"}",
	};
	static const char *const good[] = {
		HEX64, " {\"rim\":\"" HEX64 "\"}", "{\"x\":[1,-2.5e3,null,{}],\"rim\":\"" HEX64 "\"}\n",
		("create a=b\npredicted RIM (x): " HEX64),
	};
	char *text, *big;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_true(read_text(bad[i]) == -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(read_text(good[i]), 0);
	/* more steps than there can be, more fields, more bytes */
	big = malloc(300 * 1024);
	big[0] = '\0';
	for (int i = 0; i < 100; i++)
		strcat(big, "rec pc=0\n");
	strcat(big, HEX64);
	assert_int_equal(read_text(big), -EINVAL);
	strcpy(big, "rec");
	for (int i = 0; i < 17; i++)
		strcat(big, " a=b");
	strcat(big, "\n" HEX64);
	assert_int_equal(read_text(big), -EINVAL);
	memset(big, '\n', 300 * 1024);
	big[300 * 1024 - 1] = '\0';
	assert_int_equal(read_text(big), -EFBIG);
	free(big);
	assert_int_equal(report_expect_text("f", "\0", 1, &(struct report_expected){ .nr = 0 }, &e),
			 -EINVAL);

	/* every byte of a good file changed, and every beginning of it */
	if (no_crypto())
		skip();
	make(&m, RIM_A, image, BASE + SZ_2M);
	for (int kind = 1; kind < 4; kind++) {
		text = report(&m, kind);
		for (size_t i = 0, n = strlen(text); i < n; i++) {
			char was = text[i];
			struct report_expected x;

			text[i] = "{}[]\",:= \n0x"[rnd(12)];
			if (!report_expect_text("f", text, n, &x, &e)) {
				report_compare(&m, &x, &e);
				report_expect_free(&x);
			}
			text[i] = was;
			if (!report_expect_text("f", text, i, &x, &e))
				report_expect_free(&x);
		}
		free(text);
	}
}

/* ---- what the options and the host's interface make of it -------------------------------- */

static struct vm_config cfg;

static int predicted(const char *generation)
{
	struct loader_files files = {
		.kernel = -1, .initrd = -1, .firmware = -1, .dtb = -1, .kernel_path = cfg.kernel,
	};
	struct layout l;
	int ret;

	assert_int_equal(loader_open(&files, &e), 0);
	assert_int_equal(layout_make(&cfg, &files, 0, &l, &e), 0);
	ret = predict(&cfg, &l, generation, &m, &e);
	layout_free(&l);
	loader_close(&files);
	return ret;
}

static void generations(void **state)
{
	static const struct {
		const char *name;
		enum rim_dialect dialect;
		enum rim_order order;
		bool lpa2;
	} want[] = {
		{ NULL, RIM_B, RIM_RIPAS_FIRST, false }, { "a", RIM_A, RIM_RIPAS_FIRST, false },
		{ "v12", RIM_A, RIM_RIPAS_LAST, false }, { "v13", RIM_B, RIM_RIPAS_FIRST, true },
		{ "c", RIM_B, RIM_RIPAS_FIRST, true }, { "d", RIM_B, RIM_RIPAS_FIRST, false },
		{ "d2", RIM_B, RIM_RIPAS_FIRST, false }, { "e:0xd8", RIM_B, RIM_RIPAS_FIRST, false },
	};
	struct blob kernel = mk_flat(10000);

	(void)state;
	if (no_crypto())
		skip();
	config_defaults(&cfg);
	cfg.mode = MODE_KVM;
	cfg.mem = 64 * SZ_1M;
	cfg.kernel = (char *)mk_file(kernel);
	cfg.host_profile = (char *)"fvp";
	blob_free(&kernel);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(predicted(want[i].name), 0);
		assert_int_equal(m.params.dialect, want[i].dialect);
		if (want[i].dialect == RIM_A)
			assert_int_equal(m.params.order, want[i].order);
		assert_int_equal(m.params.lpa2, want[i].lpa2);
		/* what was found out counts more than what the user thinks */
		cfg.rmi_generation = (char *)(want[i].name ? "a" : NULL);
		assert_int_equal(predicted(want[i].name), 0);
		assert_int_equal(m.params.dialect, want[i].dialect);
		cfg.rmi_generation = (char *)want[i].name;
		assert_int_equal(predicted(NULL), 0);
		assert_int_equal(m.params.dialect, want[i].dialect);
		cfg.rmi_generation = NULL;
	}
	cfg.host_profile = NULL;
	assert_int_equal(predicted("v13"), 0);
	assert_false(m.params.lpa2);
	cfg.rmm = RIM_C + 1;
	assert_int_equal(predicted("a"), 0);
	assert_int_equal(m.params.dialect, RIM_C);
	/* an RMM 1.0 without a word of the kernel */
	cfg.rmm = RIM_A + 1;
	assert_int_equal(predicted(NULL), 0);
	assert_int_equal(m.params.order, RIM_RIPAS_FIRST);
	assert_int_equal(predicted("v12"), 0);
	assert_int_equal(m.params.order, RIM_RIPAS_LAST);
	cfg.rmm = 0;
	cfg.pmu = true;
	assert_int_equal(predicted("a"), -EINVAL);
	assert_non_null(strstr(e.msg, "--pmu-counters"));
	cfg.pmu = false;
	cfg.expect_rim = (char *)"@/nonexistent";
	assert_int_equal(predict_expect(&cfg, &m, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "--expect-rim"));
	cfg.expect_rim = NULL;
	assert_int_equal(predict_expect(&cfg, &m, &e), 0);
	mk_file_cleanup();
}

/* ---- random plans for the recomputation -------------------------------------------------- */

static void write_file(const char *path, const void *p, size_t len)
{
	FILE *f = fopen(path, "w");

	if (!f || fwrite(p, 1, len, f) != len || fclose(f)) {
		perror(path);
		exit(2);
	}
}

static void random_params(struct rim_params *p)
{
	*p = (struct rim_params){
		.dialect = rnd(3),
		.order = rnd(2),
		.algo = rnd(3),
		.s2sz = 33 + rnd(20),
		.num_bps = 1 + rnd(15),
		.num_wps = 1 + rnd(15),
		.sve_vl = rnd(16),
		.pmu_ctrs = rnd(32),
		.sve = rnd(2),
		.pmu = rnd(2),
		.lpa2 = rnd(2),
	};
	if (p->dialect == RIM_A && p->algo == REALM_SHA384)
		p->algo = REALM_SHA256;
}

/* Pieces somewhere in RAM, that now and then has holes. */
static void random_plan(struct plan *p, const struct rim_params *params, uint8_t *buf[])
{
	static const char *const name[] = { "kernel", "initrd", "dtb", "firmware" };
	static const uint64_t grain[] = { SZ_4K, SZ_64K, SZ_2M, SZ_2M, 512 * SZ_1M, SZ_1G };
	uint64_t half = UINT64_C(1) << (params->s2sz - 1), unit = grain[rnd(6)];
	uint64_t base = MIN(half / 2, BASE + SZ_4K * rnd(3) * rnd(600)), at = base;
	unsigned int pieces = 1 + rnd(4), ranges = rnd(4);

	*p = (struct plan){ .pc = rnd(UINT64_MAX) };
	for (unsigned int i = 0; i < 8; i++)
		p->x[i] = rnd(2) ? rnd(UINT64_MAX) : 0;
	for (unsigned int i = 0; i < pieces; i++) {
		uint64_t len = 1 + rnd(rnd(4) ? 20000 : 400000);

		buf[i] = malloc(len);
		for (uint64_t k = 0; k < len; k++)
			buf[i][k] = rnd(256);
		at += rnd(rnd(2) ? 10 : 3000) * SZ_4K;
		add(p, name[i], at, buf[i], len, rnd(4));
		at += ALIGN_UP(len, GRANULE_SIZE);
	}
	at = base;
	for (unsigned int i = 0; i < ranges && (!p->nr_ram || !rnd(2) ||
	     params->order == RIM_RIPAS_FIRST); i++) {
		uint64_t size = unit * (1 + rnd(5)) + SZ_4K * rnd(2) * rnd(1000);

		if (size > half - at)
			break;
		assert_int_equal(plan_ram(p, at, size, &e), 0);
		at += size + rnd(3) * SZ_4K * rnd(600);
		if (at >= half)
			break;
	}
	assert_int_equal(plan_check(p, 0, half, &e), 0);
}

static void print_plan(FILE *f, const char *dir, unsigned int id, const struct plan *p)
{
	static const char *const kind[] = { "create", "ripas", "data", "rec" };
	static const unsigned int bits[] = { 256, 512, 384 };
	const struct rim_params *r = &m.params;
	unsigned int len = realm_hash_len(r->algo);

	fprintf(f, "plan %u\nparam dialect %s\nparam algo %u\nparam last %d\nparam s2sz %u\n"
		"param num_bps %u\nparam num_wps %u\nparam sve %d\nparam sve_vl %u\nparam pmu %d\n"
		"param pmu_ctrs %u\nparam lpa2 %d\nparam pc %#" PRIx64 "\n", id,
		rim_dialect_name(r->dialect), bits[r->algo], r->order == RIM_RIPAS_LAST, r->s2sz,
		r->num_bps, r->num_wps, r->sve, r->sve_vl, r->pmu, r->pmu_ctrs, r->lpa2, p->pc);
	for (unsigned int i = 0; i < 8; i++)
		fprintf(f, "param x%u %#" PRIx64 "\n", i, p->x[i]);
	for (unsigned int i = 0; i < p->nr_ram; i++)
		fprintf(f, "ram %#" PRIx64 " %#" PRIx64 "\n", p->ram[i].base, p->ram[i].size);
	for (unsigned int i = 0; i < p->nr; i++) {
		const struct plan_piece *c = &p->piece[i];
		char path[300];

		snprintf(path, sizeof(path), "%s/%u-%s", dir, id, c->name);
		write_file(path, c->buf, c->len);
		fprintf(f, "piece %s %#" PRIx64 " %" PRIu64 " %d %s\n", c->name, c->ipa, c->len,
			c->measured, path);
	}
	for (unsigned int i = 0; i < m.nr; i++) {
		const struct measure_step *s = &m.step[i];

		fprintf(f, "step %s %s ", kind[s->kind], s->kind == MEASURE_DATA ? s->name : "-");
		for (unsigned int k = 0; k < len && s->measured; k++)
			fprintf(f, "%02x", s->content[k]);
		fputs(s->measured ? " " : "- ", f);
		for (unsigned int k = 0; k < len; k++)
			fprintf(f, "%02x", s->rim[k]);
		putc('\n', f);
	}
	fputs("rim ", f);
	for (unsigned int k = 0; k < len; k++)
		fprintf(f, "%02x", m.rim.value[k]);
	fputs("\nend\n", f);
}

static int write_plans(const char *dir, unsigned int count, uint64_t seed)
{
	char path[300];
	FILE *f;

	rnd_state = seed * 2 + 1;
	snprintf(path, sizeof(path), "%s/plans", dir);
	f = fopen(path, "w");
	if (!f) {
		perror(path);
		return 2;
	}
	for (unsigned int id = 0; id < count; id++) {
		uint8_t *buf[4] = { NULL };
		struct rim_params params;
		struct plan p;
		int ret;

		random_params(&params);
		random_plan(&p, &params, buf);
		ret = measure_plan(&p, &params, &m, &e);
		if (ret == -EINVAL && params.order == RIM_RIPAS_LAST) {
			/* several ranges: refused, so in the other order */
			params.order = RIM_RIPAS_FIRST;
			ret = measure_plan(&p, &params, &m, &e);
		}
		if (ret < 0) {
			fprintf(stderr, "plan %u: %s\n", id, e.msg);
			return 2;
		}
		print_plan(f, dir, id, &p);
		plan_clear(&p);
		for (unsigned int i = 0; i < ARRAY_SIZE(buf); i++)
			free(buf[i]);
	}
	return fclose(f) ? 2 : 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(known_answer),
		cmocka_unit_test(failures),
		cmocka_unit_test(ripas_shape),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(expected_values),
		cmocka_unit_test(malformed),
		cmocka_unit_test(generations),
	};

	if (argc == 5 && !strcmp(argv[1], "--plans"))
		return write_plans(argv[2], atoi(argv[3]), strtoull(argv[4], NULL, 10));
	return cmocka_run_group_tests_name("measure", tests, NULL, NULL);
}
