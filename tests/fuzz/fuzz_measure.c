// SPDX-License-Identifier: BSD-3-Clause
/*
 * What a user brings to a measurement: host profiles and expected measurements, which are texts,
 * and reference values, which are made of numbers. What is accepted is in range; a measurement that
 * was written is read as what it was, and one that differs in a bit is told from it.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <sys/mman.h>

#ifdef HAVE_JANSSON
#include <jansson.h>
#endif

#include "realm/corim.h"
#include "realm/report.h"
#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/profile.h"

static void within(int value, int min, int max)
{
	PROPERTY(value == PROFILE_NONE || (value >= min && value <= max));
}

/* Lines that are meant well. */
static char *profile_text(struct input *in)
{
	static const char *const key[] = {
		"breakpoints", "watchpoints", "breakpoints-fixed", "pmu-counters", "sve-vl", "ipa-bits",
		"lpa2", "rmm", "rmi-generation", "wachtpoints", "#",
	};
	static const char *const value[] = {
		"yes", "no", "1.0", "tf-rmm", "2.0", "v13", "a", "d2", "0", "2", "16", "31", "48", "512",
		"2048", "99999999999999999999",
	};
	size_t len;
	char *text;
	FILE *f = open_memstream(&text, &len);

	PROPERTY(f);
	while (in->left && len < 4096) {
		uint8_t how = in_u8(in);

		fprintf(f, "%s%s=%s%s\n", how & 0x40 ? " " : "", key[how % ARRAY_SIZE(key)],
			how & 0x80 ? " " : "", value[in_u8(in) % ARRAY_SIZE(value)]);
		fflush(f);
	}
	fclose(f);
	return text;
}

static void profile(struct input *in, bool made)
{
	char *text = made ? profile_text(in) : in_text(in, 4096);
	struct host_profile p, other;
	struct vm_config c;
	struct err e = { 0 };
	char path[32];
	int fd;

	if (profile_parse("file", text, strlen(text), &p, &e) < 0) {
		ERROR_IS_A_LINE(e);
		free(text);
		return;
	}
	within(p.breakpoints, 1, 16);
	within(p.watchpoints, 1, 16);
	within(p.pmu_counters, 0, 31);
	within(p.sve_vl, 0, 2048);
	within(p.ipa_bits, 32, 52);
	within(p.lpa2, 0, 1);
	within(p.rmm, 0, 2);
	PROPERTY(p.breakpoints_fixed != 1 || p.breakpoints != PROFILE_NONE);
	PROPERTY(memchr(p.generation, '\0', sizeof(p.generation)));
	PROPERTY(!profile_check_host(&p, &p, &e));
	other = p;
	other.watchpoints = p.watchpoints % 16 + 1;
	if (p.watchpoints != PROFILE_NONE)
		PROPERTY(profile_check_host(&p, &other, &e) == -ENODEV);

	/* the same from a file, and what options become of it */
	config_defaults(&c);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd = memfd_create("fuzz", 0));
	PROPERTY(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	c.host_profile = strdup(path);
	c.pmu = in_u8(in) & 1;
	c.breakpoints = 2 + in_u8(in) % 4;
	if (profile_apply(&c, &e) < 0)
		ERROR_IS_A_LINE(e);
	else
		PROPERTY(p.breakpoints == PROFILE_NONE || (int)c.breakpoints <= p.breakpoints);
	config_free(&c);
	close(fd);
	free(text);
}

static void fill(struct input *in, struct measurement *m)
{
	static const char *const name[] = { "kernel", "initrd", "dtb", "firmware", "x" };

	memset(m, 0, sizeof(*m));
	m->params.dialect = in_u8(in) % 3;
	m->params.order = in_u8(in) & 1;
	m->params.algo = in_u8(in) % 3;
	m->params.s2sz = in_u8(in);
	m->params.num_bps = in_u8(in);
	m->params.sve_vl = in_u8(in);
	m->params.sve = in_u8(in) & 1;
	m->params.pmu = in_u8(in) & 1;
	m->params.pmu_ctrs = in_u8(in);
	m->rim.algo = m->params.algo;
	in_bytes(in, m->rim.value, realm_hash_len(m->rim.algo));
	m->pc = in_u64(in);
	m->x[0] = in_u64(in);
	m->x[7] = in_u64(in);
	while (in->left && m->nr < MEASURE_MAX_STEPS) {
		struct measure_step *s = &m->step[m->nr++];

		s->kind = in_u8(in) % 4;
		snprintf(s->name, sizeof(s->name), "%s%u", name[in_u8(in) % ARRAY_SIZE(name)], m->nr);
		s->base = in_u64(in);
		s->size = in_u64(in);
		s->entries = in_u16(in);
		s->measured = in_u8(in) & 1;
		in_bytes(in, s->content, realm_hash_len(m->rim.algo));
		in_bytes(in, s->rim, realm_hash_len(m->rim.algo));
	}
}

static char *as_json(const struct measurement *m)
{
	size_t len;
	char *text;
	struct json j = { .f = open_memstream(&text, &len) };

	PROPERTY(j.f);
	json_object_begin(&j, NULL);
	report_json(m, &j);
	json_object_end(&j);
	fclose(j.f);
	return text;
}

/* Written, read, compared; and once more with a bit that differs. */
static void round_trip(struct input *in)
{
	static struct measurement m;
	static char lines[REPORT_TEXT_MAX];
	uint8_t how = in_u8(in), bit = in_u8(in);
	struct report_expected x;
	struct err e = { 0 };
	char *text = lines;

	fill(in, &m);
	if (how & 1)
		text = as_json(&m);
	else
		report_text(&m, how & 2, lines);
	PROPERTY(!report_expect_text("file", text, strlen(text), &x, &e));
	PROPERTY(x.len == realm_hash_len(m.params.algo));
	PROPERTY(x.nr == (how & 3 ? m.nr : 0) && !report_compare(&m, &x, &e));
	m.rim.value[bit % x.len] ^= 1;
	if (m.nr) {
		m.step[bit % m.nr].content[0] ^= how >> 4;
		m.step[bit % m.nr].base ^= how & 4;
	}
	if (how & 8 && m.nr)
		m.nr--;
	PROPERTY(report_compare(&m, &x, &e) == -EKEYREJECTED);
	ERROR_IS_A_LINE(e);
	report_expect_free(&x);
	if (how & 1)
		free(text);
}

/* A text of the input's, as --expect-rim gets it. */
static void expected(struct input *in, bool spec)
{
	static const struct measurement m = { .params = { .algo = REALM_SHA512 } };
	char *text = in_text(in, 4096);
	struct report_expected x;
	struct err e = { 0 };
	int ret;

	if (spec)
		ret = *text == '@' ? -ENOENT : report_expect(text, &x, &e);
	else
		ret = report_expect_text("file", text, strlen(text), &x, &e);
	if (!ret) {
		PROPERTY(x.len == 32 || x.len == 48 || x.len == 64);
		PROPERTY(x.nr <= REPORT_MAX_STEPS);
		if (report_compare(&m, &x, &e) < 0)
			ERROR_IS_A_LINE(e);
		report_expect_free(&x);
	} else if (*text != '@' || !spec) {
		ERROR_IS_A_LINE(e);
	}
	free(text);
}

static void is_json(void (*write_it)(const struct refvals *v, FILE *f), const struct refvals *v)
{
	size_t len;
	char *text;
	FILE *f = open_memstream(&text, &len);

	PROPERTY(f);
	write_it(v, f);
	fclose(f);
#ifdef HAVE_JANSSON
	json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);

	PROPERTY(o);
	json_decref(o);
#endif
	free(text);
}

static void reference(struct input *in)
{
	uint8_t buf[CORIM_MAX];
	struct refvals v = { .algo = in_u8(in) % 3 };
	struct err e = { 0 };
	size_t len, room;

	v.rpv_set = in_u8(in) & 1;
	v.rem_set = in_u8(in) & 0xf;
	in_bytes(in, v.rim, realm_hash_len(v.algo));
	in_bytes(in, v.rpv, sizeof(v.rpv));
	in_bytes(in, v.rem, sizeof(v.rem));
	is_json(corim_comid_json, &v);
	is_json(corim_rvps_json, &v);
	is_json(corim_store_json, &v);
	if (corim_cbor(&v, buf, sizeof(buf), &len, &e) < 0) {
		PROPERTY(e.code == -ENOSYS);
		return;
	}
	PROPERTY(len && len <= sizeof(buf));
	room = in_u16(in) % len;
	PROPERTY(corim_cbor(&v, buf, room, &len, &e) < 0);
	ERROR_IS_A_LINE(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	switch (in_u8(&in) % 6) {
	case 0:
		profile(&in, false);
		break;
	case 1:
		profile(&in, true);
		break;
	case 2:
		round_trip(&in);
		break;
	case 3:
		expected(&in, true);
		break;
	case 4:
		expected(&in, false);
		break;
	case 5:
		reference(&in);
		break;
	}
	return 0;
}
