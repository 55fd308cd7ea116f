// SPDX-License-Identifier: BSD-3-Clause
/* Host profiles: what is read, what the options make of it, and the host it is compared with. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "realm/rim.h"
#include "tests/unit/mkimage.h"
#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/profile.h"

static struct err e;
static struct host_profile p;

static int parse(const char *text)
{
	return profile_parse("x.profile", text, strlen(text), &p, &e);
}

static void built_in(void **state)
{
	(void)state;
	assert_int_equal(profile_load("fvp", &p, &e), 0);
	assert_int_equal(p.breakpoints, 16);
	assert_int_equal(p.watchpoints, 16);
	assert_int_equal(p.pmu_counters, 8);
	assert_int_equal(p.sve_vl, 512);
	assert_int_equal(p.ipa_bits, 52);
	assert_int_equal(p.lpa2, 1);
	assert_int_equal(p.rmm, PROFILE_NONE);
	assert_int_equal(p.breakpoints_fixed, 1);
	assert_string_equal(p.generation, "");
	assert_int_equal(profile_load("qemu-max", &p, &e), 0);
	assert_int_equal(p.breakpoints, 6);
	assert_int_equal(p.watchpoints, 4);
	assert_int_equal(p.lpa2, 1);
	assert_int_equal(profile_load("qemu-max-v14", &p, &e), 0);
	assert_string_equal(p.generation, "c");
	assert_int_equal(profile_load("generic", &p, &e), 0);
	assert_int_equal(p.breakpoints, PROFILE_NONE);
	assert_int_equal(p.sve_vl, 0);
}

static void reads(void **state)
{
	static const char all[] =
		"# a comment\n\n  breakpoints=3# behind it\r\n\twatchpoints =\t4  \nbreakpoints-fixed = yes\n"
		"pmu-counters = 0x1f\nsve-vl = 2048\nipa-bits = 48\nlpa2 = on\nrmm = 2.0";
	struct blob b = mk_bytes(all, strlen(all));

	(void)state;
	assert_int_equal(parse(all), 0);
	assert_int_equal(p.breakpoints, 3);
	assert_int_equal(p.watchpoints, 4);
	assert_int_equal(p.breakpoints_fixed, 1);
	assert_int_equal(p.pmu_counters, 31);
	assert_int_equal(p.sve_vl, 2048);
	assert_int_equal(p.ipa_bits, 48);
	assert_int_equal(p.lpa2, 1);
	assert_int_equal(p.rmm, RIM_C);
	memset(&p, 0, sizeof(p));
	assert_int_equal(profile_load(mk_file(b), &p, &e), 0);
	assert_int_equal(p.watchpoints, 4);
	blob_free(&b);
	mk_file_cleanup();
	assert_int_equal(parse(""), 0);
	assert_int_equal(p.breakpoints, PROFILE_NONE);
	assert_int_equal(p.rmm, PROFILE_NONE);
}

static void refuses(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "breakpoints = 17", "x.profile:1: breakpoints = \"17\": give 1 to 16" },
		{ "\n\nwatchpoints = 0", "x.profile:3: " },
		{ "watchpoints = -1", "give 1 to 16" }, { "watchpoints = 2 3", "give" },
		{ "watchpoints =", "give" }, { "watchpoints", "key = value" },
		{ "sve-vl = 64", "give 0, 128" }, { "sve-vl = 384", "2048" }, { "sve-vl = 4096", "2048" },
		{ "lpa2 = maybe", "yes or no" }, { "rmm = 1.1", "1.0, tf-rmm or 2.0" },
		{ "ipa-bits = 53", "32 to 52" }, { "breakpoints-fixed = off 1", "yes or no" },
		{ "rmi-generation = v14", "a, v12, v13" },
		{ "watchpionts = 4", "did you mean watchpoints?" }, { "= 4", "unknown key" },
		{ "lpa2 = yes\nlpa2 = yes", "x.profile:2: lpa2 stands there twice" },
		{ "breakpoints-fixed = yes", "needs their number" },
		{ "pmu-counters = 99999999999999999999", "0 to 31" },
	};
	char long_line[400];
	struct blob b;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse(bad[i].text), -EINVAL);
		if (!strstr(e.msg, bad[i].says))
			fail_msg("%s", e.msg);
		assert_null(strchr(e.msg, '\n'));
	}
	memset(long_line, 'a', sizeof(long_line));
	long_line[sizeof(long_line) - 1] = '\0';
	assert_int_equal(parse(long_line), -EINVAL);
	assert_int_equal(profile_parse("x", "a\0b", 3, &p, &e), -EINVAL);
	assert_int_equal(profile_load("/nonexistent", &p, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "fvp, qemu-max, qemu-max-v14, generic"));
	assert_int_equal(profile_load("/", &p, &e), -EIO);
	b.len = 20000;
	b.p = malloc(b.len);
	memset(b.p, '\n', b.len);
	assert_int_equal(profile_load(mk_file(b), &p, &e), -EFBIG);
	blob_free(&b);
	mk_file_cleanup();
}

static struct vm_config c;

static int apply(const char *text)
{
	struct blob b = mk_bytes(text, strlen(text));
	int ret;

	c.host_profile = (char *)mk_file(b);
	ret = profile_apply(&c, &e);
	blob_free(&b);
	mk_file_cleanup();
	c.host_profile = NULL;
	return ret;
}

static void options(void **state)
{
	(void)state;
	config_defaults(&c);
	assert_int_equal(profile_apply(&c, &e), 0);
	/* limits do not change what the options ask for */
	assert_int_equal(apply("breakpoints = 16\nwatchpoints = 16\nsve-vl = 512\npmu-counters = 6"), 0);
	assert_int_equal(c.breakpoints, 2);
	assert_int_equal(c.sve_max_vl, 0);
	assert_int_equal(c.pmu_counters, 0);
	assert_int_equal(c.rmm, 0);
	/* but what they leave open comes from it */
	c.pmu = true;
	assert_int_equal(apply("pmu-counters = 6\nrmm = tf-rmm"), 0);
	assert_int_equal(c.pmu_counters, 6);
	assert_int_equal(c.rmm, RIM_B + 1);
	assert_int_equal(apply("pmu-counters = 7\nrmm = 1.0"), 0);
	assert_int_equal(c.pmu_counters, 6);
	assert_int_equal(c.rmm, RIM_B + 1);
	assert_int_equal(apply("pmu-counters = 0"), -EINVAL);
	assert_int_equal(apply("pmu-counters = 5"), -EINVAL);
	assert_non_null(strstr(e.msg, "has 5, not 6"));
	/* numbers that KVM cannot change are measured */
	assert_int_equal(apply("breakpoints = 6\nwatchpoints = 4\nbreakpoints-fixed = yes"), 0);
	assert_int_equal(c.breakpoints, 6);
	assert_int_equal(c.watchpoints, 2);	/* KVM can lower these */
	assert_int_equal(apply("breakpoints = 5"), -EINVAL);
	assert_int_equal(apply("watchpoints = 1"), -EINVAL);
	c.breakpoints_set = true;
	c.breakpoints = 3;
	assert_int_equal(apply("breakpoints = 6"), 0);
	assert_int_equal(apply("breakpoints = 6\nbreakpoints-fixed = yes"), -EINVAL);
	assert_non_null(strstr(e.msg, "has 6, not 3"));
	c.breakpoints_set = false;
	c.sve_max_vl = 512;
	assert_int_equal(apply("sve-vl = 512"), 0);
	assert_int_equal(apply("sve-vl = 256"), -EINVAL);
	assert_int_equal(apply("sve-vl = 0"), -EINVAL);
	c.ipa_bits = 40;
	assert_int_equal(apply("ipa-bits = 39"), -EINVAL);
	assert_int_equal(apply("ipa-bits = 40"), 0);
	c.host_profile = (char *)"/nonexistent";
	assert_int_equal(profile_apply(&c, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "--host-profile"));
	c.host_profile = NULL;
}

static void host(void **state)
{
	struct host_profile h;

	(void)state;
	assert_int_equal(profile_load("qemu-max", &p, &e), 0);
	h = p;
	assert_int_equal(profile_check_host(&p, &h, &e), 0);
	h.watchpoints = 16;
	h.lpa2 = 0;
	assert_int_equal(profile_check_host(&p, &h, &e), -ENODEV);
	assert_non_null(strstr(e.msg, "watchpoints 16, not 4"));
	assert_non_null(strstr(e.msg, "LPA2"));
	assert_null(strstr(e.msg, "breakpoints 6"));
	/* what is not known, on either side, is not compared */
	h.watchpoints = h.lpa2 = PROFILE_NONE;
	assert_int_equal(profile_check_host(&p, &h, &e), 0);
	assert_int_equal(parse("watchpoints = 4"), 0);
	h.breakpoints = 9;
	assert_int_equal(profile_check_host(&p, &h, &e), 0);
	/* all at once still is one line */
	assert_int_equal(profile_load("fvp", &p, &e), 0);
	h = (struct host_profile){ .breakpoints = 1 };
	assert_int_equal(profile_check_host(&p, &h, &e), -ENODEV);
	assert_non_null(strstr(e.msg, "LPA2 (1: yes) 0, not 1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(built_in),
		cmocka_unit_test(reads),
		cmocka_unit_test(refuses),
		cmocka_unit_test(options),
		cmocka_unit_test(host),
	};

	return cmocka_run_group_tests_name("profile", tests, NULL, NULL);
}
