// SPDX-License-Identifier: BSD-3-Clause
/* The kernel's command line: passed on as realmtool, composed as lkvm, warned about in realms. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "realm/ipa.h"
#include "tests/fakekvm/harness.h"
#include "vmm/cmdline.h"
#include "vmm/core/err.h"

#define RIGHT_33 "earlycon=uart,mmio,0x101000000"

static struct vm_config cfg;
static struct ipa_split split;
static char line[CFG_CMDLINE_MAX];
static const char *warned;

static int setup(void **state)
{
	(void)state;
	config_defaults(&cfg);
	split = ipa_split(33, true);
	return 0;
}

static int make(const char *params)
{
	struct err e;
	int ret;

	cfg.params = (char *)params;
	memset(line, 'X', sizeof(line));
	capture_begin();
	ret = cmdline_make(&cfg, &split, line, &e);
	warned = capture_end();
	assert_non_null(memchr(line, '\0', sizeof(line)));
	if (ret) {
		assert_int_equal(ret, e.code);
		assert_non_null(strstr(e.msg, "-p"));
	}
	return ret;
}

/* The line that comes out, without a warning. */
static void quiet(const char *params, const char *want)
{
	assert_int_equal(make(params), 0);
	assert_string_equal(line, want);
	assert_string_equal(warned, "");
}

static void as_given(void **state)
{
	static const char *const same[] = {
		"", "console=ttyS0", "  two  blanks  ", "a=\"b c\" d", "a=\"earlycon \" -- init",
		"earlycon=uart,mmio,0x101000000", "noearlycon", "earlyconx",
		"\"unbalanced earlycon",
		"tab\there", "100%s %n",
	};

	(void)state;
	quiet(NULL, "");
	for (unsigned int i = 0; i < ARRAY_SIZE(same); i++)
		quiet(same[i], same[i]);
	/* it makes no difference here what lkvm would do */
	cfg.nodefaults = true;
	quiet("x", "x");
	cfg.console = CONSOLE_VIRTIO;
	quiet("x", "x");
}

static void as_lkvm(void **state)
{
	(void)state;
	cfg.lkvm = true;
	quiet(NULL, " console=ttyS0 root=/dev/vda rw ");
	quiet("quiet", " console=ttyS0 root=/dev/vda rw  quiet");
	quiet("root=/dev/vda2", " console=ttyS0 root=/dev/vda2");
	cfg.console = CONSOLE_VIRTIO;
	quiet("x root=/dev/sda", " console=hvc0 x root=/dev/sda");
	cfg.nodefaults = true;
	quiet("quiet", "quiet");
	quiet(NULL, "");
}

static void earlycon(void **state)
{
	static const char *const wrong[] = {
		"earlycon",
		"earlycon=uart,mmio,0x1000000",
		"earlycon=uart8250,mmio,0x01000000",
		"earlycon=uart,mmio32,0x1000000,115200n8",
		"earlycon=uart,mmio,16777216",
	};
	char in[128], want[192];

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		snprintf(in, sizeof(in), "quiet %s x=1", wrong[i]);
		assert_int_equal(make(in), 0);
		assert_string_equal(line, in);
		snprintf(want, sizeof(want), "\"%s\" cannot work", wrong[i]);
		assert_non_null(strstr(warned, want));
		assert_non_null(strstr(warned, RIGHT_33));
		/* one line */
		assert_int_equal(strchr(warned, '\n') - warned, strlen(warned) - 1);
	}
	/* in the upper half, or elsewhere than in a word of its own: nothing to say */
	quiet("earlycon=uart,mmio,0x101000000,115200n8", "earlycon=uart,mmio,0x101000000,115200n8");
	quiet("dyndbg=\"x earlycon y\"", "dyndbg=\"x earlycon y\"");
	quiet("earlycon=pl011,", "earlycon=pl011,");
	/* the address follows the width of the space */
	split = ipa_split(40, true);
	make("earlycon");
	assert_non_null(strstr(warned, "earlycon=uart,mmio,0x8001000000"));
	make(RIGHT_33);
	assert_non_null(strstr(warned, "cannot work"));
	/* a plain VM has no alias */
	split = ipa_split(32, false);
	quiet("earlycon", "earlycon");
	quiet("earlycon=uart,mmio,0x1000000", "earlycon=uart,mmio,0x1000000");
}

static void earlycon_lkvm(void **state)
{
	(void)state;
	cfg.lkvm = true;
	quiet("earlycon", " console=ttyS0 root=/dev/vda rw  " RIGHT_33);
	quiet("root=/dev/vda earlycon  quiet", " console=ttyS0 root=/dev/vda " RIGHT_33 "  quiet");
	cfg.nodefaults = true;
	quiet("earlycon", RIGHT_33);
	quiet("earlycon earlycon", RIGHT_33 " " RIGHT_33);
	/* not bare: warned about, not changed */
	make("earlycon=uart,mmio,0x1000000");
	assert_string_equal(line, "earlycon=uart,mmio,0x1000000");
	assert_non_null(strstr(warned, RIGHT_33));
	split = ipa_split(32, false);
	quiet("earlycon", "earlycon");
}

static void earlycon_text(void **state)
{
	char text[64];

	(void)state;
	cmdline_earlycon(&split, text);
	assert_string_equal(text, RIGHT_33);
	split = ipa_split(52, true);
	cmdline_earlycon(&split, text);
	assert_string_equal(text, "earlycon=uart,mmio,0x8000001000000");
	split = ipa_split(32, false);
	cmdline_earlycon(&split, text);
	assert_string_equal(text, "earlycon=uart,mmio,0x1000000");
}

/*
 * swiotlb=N counts slabs of 2 KiB. 32768 of them are Linux's own default, which it may shrink; of a
 * little less it makes the same, of a little more twice as much.
 */
static void swiotlb(void **state)
{
	(void)state;
	cfg.swiotlb_mib = 1;
	quiet(NULL, "swiotlb=512");
	cfg.swiotlb_mib = 63;
	quiet("quiet", "quiet swiotlb=32256");
	cfg.swiotlb_mib = 64;
	quiet("quiet", "quiet swiotlb=32640");
	cfg.swiotlb_mib = 128;
	quiet("quiet", "quiet swiotlb=65536");
	cfg.swiotlb_mib = 1048576;
	quiet("quiet", "quiet swiotlb=536870912");
	cfg.swiotlb_mib = 32;
	cfg.lkvm = true;
	quiet("root=/dev/vdb", " console=ttyS0 root=/dev/vdb swiotlb=16384");
}

static void too_long(void **state)
{
	char *p = malloc(2 * CFG_CMDLINE_MAX);

	(void)state;
	memset(p, 'a', 2 * CFG_CMDLINE_MAX);
	p[CFG_CMDLINE_MAX - 1] = '\0';		/* fits with its end */
	assert_int_equal(make(p), 0);
	assert_int_equal(strlen(line), CFG_CMDLINE_MAX - 1);
	p[CFG_CMDLINE_MAX - 1] = 'a';
	p[CFG_CMDLINE_MAX] = '\0';
	assert_int_equal(make(p), -E2BIG);
	p[CFG_CMDLINE_MAX] = 'a';
	p[2 * CFG_CMDLINE_MAX - 1] = '\0';
	assert_int_equal(make(p), -E2BIG);
	/* too long only through what is added */
	p[CFG_CMDLINE_MAX - 1] = '\0';
	cfg.swiotlb_mib = 1;
	assert_int_equal(make(p), -E2BIG);
	cfg.swiotlb_mib = 0;
	cfg.lkvm = true;
	assert_int_equal(make(p), -E2BIG);
	/* "earlycon" grows by its completion */
	cfg.nodefaults = true;
	memcpy(p, "earlycon ", 9);
	assert_int_equal(make(p), -E2BIG);
	p[CFG_CMDLINE_MAX - 1 - 22] = '\0';
	assert_int_equal(make(p), 0);
	assert_int_equal(strlen(line), CFG_CMDLINE_MAX - 1);
	free(p);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup(fn, setup)
	const struct CMUnitTest tests[] = {
		T(as_given), T(as_lkvm), T(earlycon), T(earlycon_lkvm), T(earlycon_text),
		T(swiotlb), T(too_long),
	};

	log_set_level(LOG_WARNING);
	return cmocka_run_group_tests_name("cmdline", tests, NULL, NULL);
}
