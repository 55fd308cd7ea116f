// SPDX-License-Identifier: BSD-3-Clause
/*
 * The option table of "run", the checks of a config, and the choice of a command, from a command
 * line down to what cmd_run() gets. cmd_run() itself is played by this file.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/board/memmap.h"
#include "vmm/cmd.h"
#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/options.h"

static struct vm_config c;
static struct err e;

static int clean(void **state)
{
	config_free(&c);
	memset(&e, 0, sizeof(e));
	return 0;
}

static int count_words(char **argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	return argc;
}

static int parse_argv(bool lkvm, char **argv)
{
	clean(NULL);
	return options_run(&c, lkvm, count_words(argv), argv, &e);
}
#define PARSE(...) parse_argv(false, (char *[]){__VA_ARGS__, NULL})
#define LKVM(...) parse_argv(true, (char *[]){__VA_ARGS__, NULL})

#define ACCEPTED(...)                                                                              \
	do {                                                                                       \
		if (PARSE(__VA_ARGS__))                                                            \
			fail_msg("refused: %s", e.msg);                                            \
	} while (0)

#define ACCEPTED_LKVM(...)                                                                         \
	do {                                                                                       \
		if (LKVM(__VA_ARGS__))                                                             \
			fail_msg("refused: %s", e.msg);                                            \
	} while (0)

/* The line is refused and the error has this text in it. */
#define REFUSED(text, ...)                                                                         \
	do {                                                                                       \
		assert_true(PARSE(__VA_ARGS__) < 0);                                               \
		if (!strstr(e.msg, text))                                                          \
			fail_msg("no \"%s\" in: %s", text, e.msg);                                 \
	} while (0)

/* The same, for lines that need nothing but a kernel beside the words. */
#define BAD(text, ...) REFUSED(text, "-k", "Image", __VA_ARGS__)
#define GOOD(...) ACCEPTED("-k", "Image", __VA_ARGS__)

/* ---- what the command line gives ------------------------------------------------------------- */

static void defaults(void **state)
{
	char name[32];

	ACCEPTED("Image");
	assert_string_equal(c.kernel, "Image");
	assert_int_equal(c.cpus, 2);
	assert_true(c.mem == 512 * SZ_1M && c.mem_base == MAP_RAM_BASE);
	assert_int_equal(c.mode, MODE_PLAIN);
	assert_int_equal(c.irqchip, IRQCHIP_GICV3_ITS);
	assert_int_equal(c.console, CONSOLE_SERIAL);
	assert_int_equal(c.hash, HASH_SHA256);
	assert_int_equal(c.loglevel, LOG_WARNING);
	assert_false(c.lkvm || c.pmu || c.rng || c.nodefaults || c.no_reboot || c.debug);
	assert_false(c.kaslr_seed_set);
	assert_true(!c.ipa_bits && !c.sve_max_vl && !c.nr_disks && !c.tty_mask && !c.swiotlb_mib);
	assert_null(c.params);
	snprintf(name, sizeof(name), "guest-%d", getpid());
	assert_string_equal(c.name, name);
}

static void machine(void **state)
{
	GOOD("--cpus=512", "-m", "0x400", "--irqchip", "gicv3", "--vcpu-affinity=0-3,5",
	     "--sve-max-vl=256", "--pmu", "--pmu-counters=8", "--ipa-bits=40",
	     "--hugetlbfs=/dev/hugepages", "--dev", "/dev/kvm2");
	assert_int_equal(c.cpus, 512);
	assert_true(c.mem == SZ_1G);
	assert_int_equal(c.irqchip, IRQCHIP_GICV3);
	assert_string_equal(c.vcpu_affinity, "0-3,5");
	assert_int_equal(c.sve_max_vl, 256);
	assert_true(c.pmu);
	assert_int_equal(c.pmu_counters, 8);
	assert_int_equal(c.ipa_bits, 40);
	assert_string_equal(c.hugetlbfs, "/dev/hugepages");
	assert_string_equal(c.kvm_dev, "/dev/kvm2");
	BAD("option --cpus: 0 is out of range: give 1 to 512", "--cpus=0");
	BAD("give the realm what it needs with --mem", "--realm", "--balloon");
	BAD("leave nothing of the 512 MiB", "-m", "512", "--balloon=512M");
	BAD("give --disk", "--realm=emulated", "--pmem", "file");
	BAD("give 1 to 512", "-c", "513");
	BAD("option -c (--cpus): \"4x\" is not a number", "-c", "4x");
	BAD("gicv2: the machine has a GICv3 only", "--irqchip=gicv2");
	BAD("gicv2m: the machine has a GICv3 only", "--irqchip=gicv2m");
	BAD("one of gicv3-its, gicv3", "--irqchip=gicv4");
	BAD("is not a list of CPUs", "--vcpu-affinity=0..3");
	BAD("names a CPU above 1023", "--vcpu-affinity=5000");
	BAD("--pmu-counters needs --pmu", "--pmu-counters=8");
	BAD("give 1 to 31", "--pmu", "--pmu-counters=32");
}

static void vector_length(void **state)
{
	GOOD("--sve-vl=128");
	assert_int_equal(c.sve_max_vl, 128);
	GOOD("--sve-vl=128", "--sve-max-vl=128");
	GOOD("--disable-sve");
	BAD("contradicts the 128 bits", "--sve-vl=128", "--sve-max-vl=256");
	BAD("option --disable-sve contradicts", "--sve-vl=128", "--disable-sve");
	BAD("is not a power of 2", "--sve-max-vl=384");
	BAD("give 128 to 2048", "--sve-max-vl=64");
	BAD("give 128 to 2048", "--sve-max-vl=4096");
}

static void memory(void **state)
{
	GOOD("-m", "6");
	assert_true(c.mem == 6 * SZ_1M);
	GOOD("-m", "256m");
	assert_true(c.mem == 256 * SZ_1M);
	GOOD("-m4G");
	assert_true(c.mem == 4 * SZ_1G);
	GOOD("-m", "512M@4G");
	assert_true(c.mem == 512 * SZ_1M && c.mem_base == 4 * SZ_1G);
	GOOD("-m", "512@4096");
	assert_true(c.mem_base == 4 * SZ_1G);
	GOOD("-m", "65600K"); /* a multiple of 64 KiB */

	BAD("too small: the least is -m 4", "-m", "3");
	BAD("0 MiB of RAM is too small", "-m", "0");
	BAD("is not understood", "-m", "512x");
	BAD("the value is empty", "-m", "");
	BAD("is not understood", "-m", "@4G");
	BAD("address \"\" is not understood", "-m", "512@");
	BAD("address \"4G@5G\" is not understood", "-m", "512@4G@5G");
	BAD("size \"-1\" is not understood", "-m", "-1");
	BAD("beyond 64 bits", "-m", "20000000000000");
	BAD("beyond 64 bits", "-m", "512@0x100000000000");
	BAD("not a multiple of 64 KiB: give -m 65", "-m", "65540K");
	BAD("the lowest address is @2048", "-m", "512@1G");
	BAD("give @2048", "-m", "512@2097153K");
	BAD("more than the 52 address bits", "-m", "4P");
	BAD("counts MiB, as in lkvm: for bytes give @2048", "-m", "512@0x80000000");
	BAD("counts MiB", "-m", "512@8P");
	BAD("more than the 52 address bits", "-m", "4095T@2047T");
	BAD("more than the 52 address bits", "-m", "16383P@1P");
}

static void realm_memory(void **state)
{
	GOOD("--realm", "-m", "6");
	BAD("not a multiple of 2 MiB, as a realm needs it: give -m 10", "--realm", "-m", "9");
	BAD("give -m 10", "--realm=emulated", "-m", "8193K");
	GOOD("-m", "9");
	BAD("more than the 52 address bits", "--realm", "-m", "2P");
	GOOD("-m", "2P"); /* no bit for the split */
}

static void ipa_width(void **state)
{
	/* RAM ends at 4 GiB: 32 bits, and one more in a realm. */
	GOOD("-m", "2G", "--ipa-bits=32");
	BAD("give --ipa-bits 33", "--realm", "-m", "2G", "--ipa-bits=32");
	GOOD("--realm", "-m", "2G", "--ipa-bits=33");
	BAD("give --ipa-bits 33", "-m", "2049M", "--ipa-bits=32");
	BAD("give --ipa-bits 34", "--realm=emulated", "-m", "2050M", "--ipa-bits=33");
	GOOD("--realm=emulated", "-m", "2050M", "--ipa-bits=34");
	GOOD("-m", "512@8G", "--ipa-bits=34");
	BAD("give --ipa-bits 34", "-m", "512@8G", "--ipa-bits=33");
	BAD("give 32 to 52", "--ipa-bits=31");
	BAD("give 32 to 52", "--ipa-bits=53");
}

static void realm(void **state)
{
	GOOD("--realm");
	assert_int_equal(c.mode, MODE_KVM);
	GOOD("--realm=kvm");
	assert_int_equal(c.mode, MODE_KVM);
	GOOD("--realm=emulated", "--emulated-strict", "--measurement-algo=sha384");
	assert_int_equal(c.mode, MODE_EMULATED);
	assert_true(c.emulated_strict);
	assert_int_equal(c.hash, HASH_SHA384);
	GOOD("--realm", "--measurement-algo", "sha512");
	assert_int_equal(c.hash, HASH_SHA512);
	ACCEPTED("--realm", "Image");
	assert_string_equal(c.kernel, "Image");
	REFUSED("write --realm=emulated", "--realm", "emulated", "-k", "Image");
	BAD("did you mean emulated?", "--realm=emulate");
	BAD("give one of kvm, emulated", "--realm=x");
	BAD("the value is empty", "--realm=");
	BAD("--realm is given twice", "--realm", "--realm=emulated");
	BAD("--emulated-strict needs --realm=emulated", "--emulated-strict");
	BAD("--emulated-strict needs --realm=emulated", "--realm", "--emulated-strict");
	BAD("did you mean sha256?", "--realm", "--measurement-algo=sha255");
}

static void personalization(void **state)
{
	char text[CFG_RPV_SIZE + 2], hexa[2 * CFG_RPV_SIZE + 3];

	GOOD("--realm", "--realm-pv", "abc");
	assert_true(c.rpv_set);
	assert_memory_equal(c.rpv, "abc\0", 4);
	GOOD("--realm", "--realm-pv-hex=00ff10");
	assert_memory_equal(c.rpv, "\x00\xff\x10\x00", 4);
	memset(text, 'x', sizeof(text));
	text[CFG_RPV_SIZE] = 0;
	GOOD("--realm", "--realm-pv", text);
	assert_memory_equal(c.rpv, text, CFG_RPV_SIZE);
	text[CFG_RPV_SIZE] = 'x';
	text[CFG_RPV_SIZE + 1] = 0;
	BAD("65 bytes are too long: up to 64", "--realm", "--realm-pv", text);
	memset(hexa, 'a', sizeof(hexa));
	hexa[2 * CFG_RPV_SIZE] = 0;
	GOOD("--realm", "--realm-pv-hex", hexa);
	hexa[2 * CFG_RPV_SIZE] = 'a';
	hexa[2 * CFG_RPV_SIZE + 2] = 0;
	BAD("is not 1 to 64 pairs", "--realm", "--realm-pv-hex", hexa);
	BAD("is not 1 to 64 pairs", "--realm", "--realm-pv-hex", "abc");
	BAD("given twice", "--realm", "--realm-pv=a", "--realm-pv-hex=00");
}

static void personalization_forms(void **state)
{
	GOOD("--realm", "--realm-pv", "hex:00ff10");
	assert_memory_equal(c.rpv, "\x00\xff\x10\x00", 4);
	GOOD("--realm", "--realm-pv", "base64:AP8Q");
	assert_memory_equal(c.rpv, "\x00\xff\x10\x00", 4);
	GOOD("--realm", "--realm-pv", "hexa:00");
	assert_memory_equal(c.rpv, "hexa:00\0", 8);
	BAD("is not 1 to 64 pairs", "--realm", "--realm-pv", "hex:0");
	BAD("is not base64 of 1 to 64 bytes", "--realm", "--realm-pv", "base64:A");
	BAD("is not base64", "--realm", "--realm-pv", "base64:");
	BAD("is not base64", "--realm", "--realm-pv", "base64:A*8Q");
}

static void ripas_plan(void **state)
{
	GOOD("--realm");
	assert_int_equal(c.ripas_ram, RIPAS_RAM_ALL);
	GOOD("--realm", "--ripas-ram=image");
	assert_int_equal(c.ripas_ram, RIPAS_RAM_IMAGE);
	GOOD("--realm", "--ripas-ram=0x80000000+2M,0x81000000-0x81001000");
	assert_int_equal(c.ripas_ram, RIPAS_RAM_RANGES);
	assert_int_equal(c.nr_ripas_ranges, 2);
	assert_true(c.ripas_range[0].base == 0x80000000 && c.ripas_range[0].size == SZ_2M);
	assert_true(c.ripas_range[1].base == 0x81000000 && c.ripas_range[1].size == SZ_4K);
	GOOD("--realm", "--ripas-ram=0x80000000+512M");
	BAD("is not in RAM", "--realm", "--ripas-ram=0x80000000+513M");
	BAD("is not in RAM", "--realm", "--ripas-ram=0x7ffff000+8K");
	BAD("is not a range", "--realm", "--ripas-ram=some");
	BAD("is not a range", "--realm", "--ripas-ram=0x80000000");
	BAD("is not a range", "--realm", "--ripas-ram=0x80000000+2M,");
	BAD("ends before it begins", "--realm", "--ripas-ram=0x80001000-0x80001000");
	BAD("multiples of 4 KiB", "--realm", "--ripas-ram=0x80000800+4K");
	BAD("multiples of 4 KiB", "--realm", "--ripas-ram=0x80000000+0");
	BAD("multiples of 4 KiB", "--realm", "--ripas-ram=0xfffffffffffff000+8K");
}

static void measured_pieces(void **state)
{
	GOOD("--realm");
	assert_int_equal(c.unmeasured, 0);
	GOOD("--realm", "--populate=initrd=unmeasured");
	assert_int_equal(c.unmeasured, PIECE_INITRD);
	GOOD("--realm", "--populate=unmeasured", "--populate=kernel=measured,dtb=measured");
	assert_int_equal(c.unmeasured, PIECE_INITRD | PIECE_FIRMWARE);
	BAD("is not understood", "--realm", "--populate=disk=unmeasured");
	BAD("is not understood", "--realm", "--populate=kernel=no");
	BAD("is not understood", "--realm", "--populate=kernel");
}

static void host_interface(void **state)
{
	GOOD("--realm", "--rmi-generation=c", "--rmi-cap=249", "--rmi-psci=user");
	assert_string_equal(c.rmi_generation, "c");
	assert_int_equal(c.rmi_cap, 249);
	assert_true(c.rmi_psci_user);
	GOOD("--realm", "--rmi-generation=e:0xd8");
	BAD("is none: give a, v12", "--realm", "--rmi-generation=v14");
	BAD("is none", "--realm", "--rmi-generation=e");
	BAD("is none", "--realm", "--rmi-generation=e:256");
	BAD("is none", "--realm", "--rmi-generation=c:1");
	BAD("give 1 to 4095", "--realm", "--rmi-cap=0");
	GOOD("--realm", "--breakpoints=4", "--watchpoints=3", "--best-effort");
	assert_int_equal(c.breakpoints, 4);
	assert_int_equal(c.watchpoints, 3);
	assert_true(c.best_effort);
	BAD("give 2 to 16", "--realm", "--breakpoints=1");
	BAD("give 2 to 16", "--realm", "--watchpoints=17");
}

static void boot(void **state)
{
	char text[CFG_CMDLINE_MAX + 1];

	ACCEPTED("-k", "Image", "--initrd=cpio", "-p", "a", "--params=b c", "-p", "");
	assert_string_equal(c.initrd, "cpio");
	assert_string_equal(c.params, "a b c ");
	ACCEPTED("-kImage", "-p", "", "-pquiet");
	assert_string_equal(c.params, "quiet");
	ACCEPTED("-f", "EFI.fd", "-F", "flash", "--firmware-address=0x81000000");
	assert_string_equal(c.firmware, "EFI.fd");
	assert_string_equal(c.flash, "flash");
	assert_true(c.firmware_addr == 0x81000000);
	GOOD("--kaslr-seed=0", "--dump-dtb=x.dtb", "--nodefaults");
	assert_true(c.kaslr_seed_set && !c.kaslr_seed && c.nodefaults);
	assert_string_equal(c.dump_dtb, "x.dtb");
	GOOD("--kaslr-seed", "0xffffffffffffffff", "--dtb", "my.dtb");
	assert_true(c.kaslr_seed == UINT64_MAX);
	assert_string_equal(c.dtb, "my.dtb");

	REFUSED("no kernel: give --kernel FILE or --firmware FILE", "-c", "1");
	REFUSED("exclude each other", "Image", "-f", "EFI.fd");
	REFUSED("is given twice", "Image", "-k", "Image");
	REFUSED("unexpected word \"b\"", "Image", "b");
	REFUSED("takes its initrd from a disk", "-f", "EFI.fd", "-i", "cpio");
	BAD("needs --firmware FILE", "--firmware-address=0x81000000");
	REFUSED("not a multiple of 4 KiB in RAM", "-f", "x", "--firmware-address=0xa0000000");
	REFUSED("not a multiple of 4 KiB in RAM", "-f", "x", "--firmware-address=0x81000800");
	REFUSED("out of range", "-f", "x", "--firmware-address=0x1000");
	BAD("--dtb and --dump-dtb exclude each other", "--dtb=a", "--dump-dtb=b");
	memset(text, 'a', sizeof(text));
	text[CFG_CMDLINE_MAX - 1] = 0;
	GOOD("-p", text);
	BAD("2049 bytes of kernel parameters are too long: Linux takes 2047", "-p", text, "-pa");
}

static void bounce_buffers(void **state)
{
	GOOD("--realm", "--swiotlb=32");
	assert_int_equal(c.swiotlb_mib, 32);
	GOOD("--swiotlb=1G", "-m2G");
	assert_int_equal(c.swiotlb_mib, 1024);
	BAD("not a whole number of MiB", "--swiotlb=0");
	BAD("not a whole number of MiB", "--swiotlb=100K");
	BAD("leave nothing of the 512 MiB", "--swiotlb=512");
	BAD("give one of the two", "--swiotlb=32", "-p", "swiotlb=1024");
}

static void disks(void **state)
{
	char *many[3 + 2 * (CFG_MAX_DISKS + 1)] = {(char *)"Image"};

	GOOD("-d", "a", "--disk=b,ro", "-dc,direct,ro", "-d", "dir/d,direct");
	assert_int_equal(c.nr_disks, 4);
	assert_string_equal(c.disk[0].path, "a");
	assert_false(c.disk[0].readonly || c.disk[0].direct);
	assert_string_equal(c.disk[1].path, "b");
	assert_true(c.disk[1].readonly && !c.disk[1].direct);
	assert_string_equal(c.disk[2].path, "c");
	assert_true(c.disk[2].readonly && c.disk[2].direct);
	assert_true(!c.disk[3].readonly && c.disk[3].direct);
	BAD("\"rw\" is unknown", "-d", "a,rw");
	BAD("\"\" is unknown", "-d", "a,");
	BAD("path: the value is empty", "-d", ",ro");
	BAD("no SCSI target", "-d", "scsi:naa.5001405:1");

	for (int i = 0; i < CFG_MAX_DISKS + 1; i++) {
		many[1 + 2 * i] = (char *)"-d";
		many[2 + 2 * i] = (char *)"x";
	}
	assert_true(parse_argv(false, many) < 0);
	assert_non_null(strstr(e.msg, "one too many"));
	many[1 + 2 * CFG_MAX_DISKS] = NULL;
	assert_int_equal(parse_argv(false, many), 0);
	assert_int_equal(c.nr_disks, CFG_MAX_DISKS);
}

static void other_devices(void **state)
{
	GOOD("--rng", "--console=virtio", "--tty", "1", "--tty=3", "--tty=1");
	assert_true(c.rng);
	assert_int_equal(c.console, CONSOLE_VIRTIO);
	assert_int_equal(c.tty_mask, 0xa);
	GOOD("--console", "hv", "--rng", "--no-rng");
	assert_int_equal(c.console, CONSOLE_VIRTIO);
	assert_false(c.rng);
	BAD("out of range: give 0 to 3", "--tty=4");
	BAD("one of serial, virtio", "--console=vga");
}

static void running(void **state)
{
	GOOD("--name", "a.b-c_9", "--no-reboot", "--gdb", "1234");
	assert_string_equal(c.name, "a.b-c_9");
	assert_true(c.no_reboot);
	assert_string_equal(c.gdb, "1234");
	GOOD("--gdb=unix:/run/x", "--realm=emulated");
	assert_string_equal(c.gdb, "unix:/run/x");
	BAD("cannot be a name", "--name=../x");
	BAD("cannot be a name", "--name=-x");
	BAD("cannot be a name", "--name=a b");
	BAD("neither a TCP port", "--gdb=0");
	BAD("neither a TCP port", "--gdb=65536");
	BAD("neither a TCP port", "--gdb=localhost:1");
	BAD("is not unix: and a path", "--gdb=unix:");
	BAD("nobody can look into a KVM realm", "--gdb=1234", "--realm");
}

static void life(void **state)
{
	GOOD("--rng");
	assert_int_equal(c.ready, READY_CONSOLE);
	assert_int_equal(c.stop_timeout, 30);
	assert_false(c.power_button || c.ready_set || c.log_json);
	GOOD("--ready=boot");
	assert_int_equal(c.ready, READY_BOOT);
	assert_true(c.ready_set);
	GOOD("--ready", "line:^login: *$");
	assert_int_equal(c.ready, READY_LINE);
	assert_string_equal(c.ready_line, "^login: *$");
	GOOD("--ready=vsock:1024", "--vsock=3", "--power-button", "--stop-timeout=0");
	assert_int_equal(c.ready, READY_VSOCK);
	assert_int_equal(c.ready_port, 1024);
	assert_true(c.power_button);
	assert_int_equal(c.stop_timeout, 0);
	BAD("give --vsock CID, too", "--ready=vsock:1024");
	BAD("is not a port of vsock", "--ready=vsock:x", "--vsock=3");
	BAD("is not a port of vsock", "--ready=vsock:4294967295", "--vsock=3");
	BAD("none of console, boot, vsock:PORT and line:REGEX", "--ready=login");
	BAD("none of console, boot, vsock:PORT and line:REGEX", "--ready=line:");
	BAD("not an extended regular expression", "--ready=line:(");
	BAD("86400", "--stop-timeout=86401");
}

static void log_level(void **state)
{
	GOOD("--loglevel", "error");
	assert_int_equal(c.loglevel, LOG_ERROR);
	assert_false(log_enabled(LOG_WARNING));
	GOOD("--loglevel=debug");
	assert_int_equal(c.loglevel, LOG_DEBUG);
	GOOD("--debug", "--loglevel=error"); /* in either order */
	assert_int_equal(c.loglevel, LOG_DEBUG);
	assert_true(c.debug);
	ACCEPTED_LKVM("Image");
	assert_int_equal(c.loglevel, LOG_INFO);
	ACCEPTED_LKVM("Image", "--loglevel=warning");
	assert_int_equal(c.loglevel, LOG_WARNING);
	BAD("one of error, warning, info, debug", "--loglevel=9");
}

static void compat(void **state)
{
	ACCEPTED_LKVM("Image");
	assert_true(c.lkvm);
	ACCEPTED_LKVM("Image", "--compat=off");
	assert_false(c.lkvm);
	assert_int_equal(c.loglevel, LOG_WARNING);
	GOOD("--compat", "lkvm");
	assert_true(c.lkvm);
	assert_int_equal(c.loglevel, LOG_INFO);
	BAD("one of off, lkvm", "--compat=qemu");
	/* lkvm ignores an initrd beside a firmware. */
	ACCEPTED_LKVM("-f", "EFI.fd", "-i", "cpio", "--loglevel=error");
	assert_null(c.initrd);
}

static void help_wanted(void **state)
{
	assert_int_equal(PARSE("-h"), OPTIONS_HELP);
	assert_int_equal(PARSE("-c", "1", "--help", "--bogus"), OPTIONS_HELP);
}

static void suggestions(void **state)
{
	BAD("unknown option --kernal: did you mean --kernel?", "--kernal=x");
	BAD("did you mean --mem?", "--memory", "512");
	BAD("did you mean --restricted_mem?", "--restricted-mem");
	BAD("did you mean --measurement-algo?", "--measurement-algorithm=sha256");
	BAD("did you mean --initrd, with two dashes?", "-initrd", "x");
	BAD("unknown option --smp: \"run --help\"", "--smp", "2");
}

/* ---- lkvm ------------------------------------------------------------------------------------ */

/*
 * Command lines seen in public: shrinkwrap, TF-RMM, kvm-unit-tests, Arm learning paths, edk2,
 * QEMU's functional tests, OpenCCA.
 */
static void public_lines(void **state)
{
	/* shrinkwrap, firmware */
	ACCEPTED_LKVM("--realm", "--disable-sve", "--irqchip=gicv3-its", "--firmware",
		      "KVMTOOL_EFI.fd", "-c", "1", "-m", "512", "--no-pvtime", "--force-pci",
		      "--disk", "guest-disk.img", "--measurement-algo=sha256", "--restricted_mem");
	assert_int_equal(c.mode, MODE_KVM);
	assert_string_equal(c.firmware, "KVMTOOL_EFI.fd");
	assert_int_equal(c.cpus, 1);
	assert_int_equal(c.nr_disks, 1);
	assert_true(c.no_pvtime && c.sve_disabled);
	/* shrinkwrap, direct */
	ACCEPTED_LKVM("--realm", "--disable-sve", "--irqchip=gicv3-its", "-c", "1", "-m", "512",
		      "--no-pvtime", "--force-pci", "--console", "virtio", "--kernel", "Image",
		      "--disk", "guest-disk.img", "-p", "console=hvc0 root=/dev/vda2",
		      "--measurement-algo=sha256", "--restricted_mem");
	assert_int_equal(c.console, CONSOLE_VIRTIO);
	assert_string_equal(c.params, "console=hvc0 root=/dev/vda2");
	/* TF-RMM */
	ACCEPTED_LKVM("--realm", "-c", "2", "-m", "256", "--disk", "guest-disk.img", "--kernel",
		      "Image", "-p", "earlycon=uart,mmio,0x101000000 root=/dev/vda2");
	assert_true(c.mem == 256 * SZ_1M);
	/* kvm-unit-tests, realms */
	ACCEPTED_LKVM("--realm", "--restricted_mem", "--irqchip=gicv3-its", "--console=serial",
		      "--network", "mode=none", "--nodefaults", "--loglevel", "error", "-c", "4",
		      "-m", "6", "-k", "selftest.flat", "-p", "setup smp=4 mem=6",
		      "--sve-max-vl=128", "--pmu", "--pmu-counters=8");
	assert_true(c.nodefaults && c.pmu);
	assert_int_equal(c.sve_max_vl, 128);
	/* kvm-unit-tests, upstream */
	ACCEPTED_LKVM("--nodefaults", "--network", "mode=none", "--loglevel=warning", "--cpus", "8",
		      "--params", "", "--initrd", "/tmp/env", "--kernel", "x.flat",
		      "--irqchip=gicv3");
	assert_int_equal(c.cpus, 8);
	assert_string_equal(c.params, "");
	/* Arm learning paths */
	ACCEPTED_LKVM("--realm", "--restricted_mem", "-c", "2", "-m", "256", "-k", "/realm/Image",
		      "-d", "/realm/realm-fs.ext4", "-p", "earlycon");
	ACCEPTED_LKVM("--realm", "--restricted_mem", "--irqchip=gicv3-its", "-p", "earlycon",
		      "--network", "mode=none", "-c", "1", "-m", "128", "-k", "Image", "-i",
		      "test.cpio.gz");
	/* edk2 */
	ACCEPTED_LKVM("--realm", "--restricted_mem", "--measurement-algo=sha256", "--firmware",
		      "KVMTOOL_EFI.fd", "-m", "512", "--irqchip=gicv3-its", "--force-pci", "--disk",
		      "img");
	/* QEMU's functional tests */
	ACCEPTED_LKVM("--realm", "-m", "256m", "--restricted_mem", "--kernel", "Image", "--disk",
		      "guest.ext4", "--params", "root=/dev/vda rw init=/init");
	assert_true(c.mem == 256 * SZ_1M);
	/* OpenCCA; without a kernel lkvm looks for one of the host, and we do not */
	/* OpenVMM */
	ACCEPTED_LKVM("--realm", "--restricted_mem", "--9p", "/cca/,cca_mount", "Image");
	ACCEPTED_LKVM("--realm", "--restricted_mem", "--disable-sve", "-c", "1", "-m", "100m", "-p",
		      "debug loglevel=8", "Image");
	assert_true(c.mem == 100 * SZ_1M);
}

static void assigned_devices(void **state)
{
	ACCEPTED("--realm", "--vfio-pci", "0000:02:00.0", "--vfio-pci",
		 "02:00.1,rom=off,dma-alias=both", "--vfio-backend", "group", "--vfio-dma=static",
		 "--pci-mem64", "64G", "Image");
	assert_int_equal(c.nr_vfios, 2);
	assert_string_equal(c.vfio[0].device, "0000:02:00.0");
	assert_false(c.vfio[0].both || c.vfio[0].no_rom);
	assert_true(c.vfio[1].both && c.vfio[1].no_rom);
	assert_null(c.vfio[1].rom);
	assert_int_equal(c.vfio_backend, VFIO_BACKEND_GROUP);
	assert_true(c.vfio_static);
	assert_true(c.pci_mem64 == 64 * SZ_1G);
	ACCEPTED("--vfio-pci", "device=2:0.0,rom=a.rom", "Image");
	assert_string_equal(c.vfio[0].rom, "a.rom");
	assert_false(c.vfio_static);
	BAD("option --vfio-pci", "--vfio-pci", "rom=off");
	BAD("dma-alias=both is for realms", "--vfio-pci", "2:0.0,dma-alias=both");
	BAD("is not a power of 2", "--pci-mem64", "3G");
	BAD("there is no PCI bus", "--pci-mem64", "1G", "--irqchip", "gicv3");
}

static void public_lines_refused(void **state)
{
	/* TF-RMM, device assignment */
	BAD("option --viommu: not in this version", "--realm", "--viommu", "--vfio-pci",
	    "0000:02:00.0");
	BAD("not in this version: trusted devices", "--realm", "--iommufd-vdevice", "--vfio-pci",
	    "0000:02:00.0");
	/* as lkvm it is a warning */
	ACCEPTED_LKVM("-k", "Image", "--realm", "--viommu", "--vfio-pci", "0000:02:00.0");
	/* kvm-unit-tests */
	BAD("option --nested: not in this version", "--nested");
}

static void network(void **state)
{
	GOOD("-n", "mode=none");
	GOOD("--network=trans=mmio,mode=none");
	GOOD("--network", "user");
	assert_true(c.nr_nets == 1 && c.net[0].mode == NET_USER && !c.no_net);
	GOOD("-n", "mode=tap,tapif=tap0,guest_mac=02:15:15:15:15:15,vhost=1,mq=2", "-n", "fd=5");
	assert_true(c.nr_nets == 2 && c.net[0].mode == NET_TAP && c.net[0].vhost);
	assert_true(c.net[0].mac_set && c.net[0].mac[1] == 0x15 && c.net[0].queues == 2);
	assert_true(c.net[1].mode == NET_FD && c.net[1].fd == 5);
	BAD("\"nonesuch\"", "-n", "mode=nonesuch");
	BAD("\"xmode\" is unknown: did you mean mode?", "-n", "tap,xmode=none");
	BAD("vhost=1 is for tap", "-n", "user,vhost=1");
	BAD("needs socket=PATH", "-n", "vhost-user");
	BAD("multicast", "-n", "user,mac=03:15:15:15:15:15");
	BAD("is not a MAC address", "-n", "user,mac=02:15:15:15:15");
	BAD("needs a value: --network MODE", "-n");
}

static void without_effect(void **state)
{
	GOOD("--restricted_mem", "--no-pvtime", "--disable-mte", "--guest-memfd", "--debug-ioport");
	GOOD("--force-pci");
	assert_int_equal(c.transport, TRANSPORT_PCI);
	GOOD("--virtio-transport", "mmio");
	assert_int_equal(c.transport, TRANSPORT_MMIO);
	BAD("did you mean pci?", "--virtio-transport=pcie");
	BAD("virtio before 1.0 is not offered", "--virtio-transport=mmio-legacy");
}

/* All options that lkvm has on arm64, upstream and in the branches for realms, are known. */
static void lkvm_options_are_known(void **state)
{
	static const char *const names[] = {
		"name",
		"cpus",
		"mem",
		"disk",
		"balloon",
		"rng",
		"vsock",
		"9p",
		"console",
		"tty",
		"dev",
		"nodefaults",
		"vnc",
		"gtk",
		"sdl",
		"sandbox",
		"hugetlbfs",
		"virtio-transport",
		"virtio-legacy",
		"force-pci",
		"loglevel",
		"debug",
		"kernel",
		"initrd",
		"params",
		"firmware",
		"firmware-address",
		"flash",
		"network",
		"no-dhcp",
		"vfio-pci",
		"debug-single-step",
		"debug-ioport",
		"debug-mmio",
		"debug-iodelay",
		"aarch32",
		"pmu",
		"disable-mte",
		"vcpu-affinity",
		"kaslr-seed",
		"no-pvtime",
		"sve-max-vl",
		"dump-dtb",
		"override-bad-firmware-cntfrq",
		"irqchip",
		"psci",
		"counter-offset",
		"nested",
		"e2h0",
		"protected",
		"guest-memfd",
		"realm",
		"measurement-algo",
		"realm-pv",
		"sve-vl",
		"pmu-counters",
		"disable-sve",
		"restricted_mem",
		"pkvm",
		"dtb",
		"measurement-log",
		"viommu",
		"iommufd-vdevice",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!opt_find(&run_options, names[i]))
			fail_msg("--%s is missing", names[i]);
}

/* ---- what the user is told ------------------------------------------------------------------- */

static int saved_stderr;
static FILE *captured;

static void capture_begin(void)
{
	captured = tmpfile();
	assert_non_null(captured);
	saved_stderr = dup(STDERR_FILENO);
	assert_true(saved_stderr >= 0 && dup2(fileno(captured), STDERR_FILENO) >= 0);
}

static const char *capture_end(void)
{
	static char text[4096];
	size_t n;

	assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
	close(saved_stderr);
	rewind(captured);
	n = fread(text, 1, sizeof(text) - 1, captured);
	text[n] = 0;
	fclose(captured);
	return text;
}

/* What a good line says on stderr. */
static const char *told_argv(char **argv)
{
	const char *text;
	int ret;

	capture_begin();
	ret = parse_argv(false, argv);
	text = capture_end();
	assert_int_equal(ret, 0);
	return text;
}
#define TOLD(...) told_argv((char *[]){__VA_ARGS__, NULL})

static void told(void **state)
{
	const char *s;

	s = TOLD("Image", "--no-pvtime", "--loglevel=info");
	assert_string_equal(s, "Info: option --no-pvtime has no effect: the guest is offered no "
			       "stolen time\n");
	assert_string_equal(TOLD("Image", "--no-pvtime"), "");
	s = TOLD("Image", "--measurement-algo=sha512", "--restricted_mem");
	assert_string_equal(s,
			    "Warning: option --measurement-algo has no effect without --realm\n");
	assert_string_equal(TOLD("Image", "--realm", "--measurement-algo=sha512"), "");
	s = TOLD("Image", "--realm", "-m", "254");
	assert_non_null(strstr(s, "Warning: 254 MiB of RAM are little for a realm"));
	assert_string_equal(TOLD("Image", "--realm", "-m", "256"), "");
	assert_string_equal(TOLD("Image", "--realm", "-m", "128", "--swiotlb=16"), "");
	assert_string_equal(TOLD("Image", "--realm", "-m", "128", "-p", "swiotlb=8192"), "");
	assert_string_equal(TOLD("Image", "-m", "128"), "");
}

/* ---- the table itself ------------------------------------------------------------------------ */

static void table_is_sound(void **state)
{
	char shown[80];

	for (unsigned int i = 0; i < run_options.nr; i++) {
		const struct opt *o = &run_options.opt[i];

		if (!o->help || o->help[strlen(o->help) - 1] == '.' || strlen(o->help) > 50)
			fail_msg("--%s: help is missing, a sentence or too long", o->name);
		if (o->text && o->text[strlen(o->text) - 1] != (o->words ? ':' : '.'))
			fail_msg("--%s: text is no sentence", o->name);
		if (!!(o->flags & (OPT_NOOP | OPT_REFUSED)) != !!o->why)
			fail_msg("--%s: why does not fit the flags", o->name);
		if (!(o->flags & (OPT_NOOP | OPT_REFUSED)) && !o->parse)
			fail_msg("--%s: no parser", o->name);
		if (!!(o->flags & OPT_FLAG) == !!o->arg)
			fail_msg("--%s: arg does not fit OPT_FLAG", o->name);
		if ((o->parse == opt_uint || o->parse == opt_u64) && o->min > o->max)
			fail_msg("--%s: empty range", o->name);
		if (o->parse == opt_choice && !o->choice)
			fail_msg("--%s: no choices", o->name);
		if (o->key && !strchr(o->key, '.') && !o->words)
			fail_msg("--%s: key without a section", o->name);
		assert_true(o->group < run_options.nr_groups);
		for (unsigned int j = 0; j < i; j++) {
			const struct opt *p = &run_options.opt[j];

			if (!strcmp(o->name, p->name))
				fail_msg("--%s stands twice", o->name);
			if (o->letter && o->letter == p->letter)
				fail_msg("-%c stands twice", o->letter);
			if (o->key && p->key && !strcmp(o->key, p->key))
				fail_msg("key %s stands twice", o->key);
		}
		/* Refused ones are refused with their own reason, before a value is looked for. */
		if (o->flags & OPT_REFUSED) {
			snprintf(shown, sizeof(shown), "--%s", o->name);
			BAD(o->why, shown);
		}
	}
}

/* Everything in the table is in the help, in the long help and in the manual. */
static void table_is_documented(void **state)
{
	static char text[3][65536];
	char name[64];

	for (int i = 0; i < 3; i++) {
		FILE *f = fmemopen(text[i], sizeof(text[i]), "w");

		assert_non_null(f);
		if (i == 2)
			opt_man(f, &run_options);
		else
			opt_help(f, &run_options, i == 1);
		assert_int_equal(fclose(f), 0);
		assert_true(strlen(text[i]) < sizeof(text[i]) - 1);
	}
	for (unsigned int i = 0; i < run_options.nr; i++) {
		snprintf(name, sizeof(name), "--%s", run_options.opt[i].name);
		assert_non_null(strstr(text[0], name));
		assert_non_null(strstr(text[1], name));
		snprintf(name, sizeof(name), "Fl \\-%s", run_options.opt[i].name);
		assert_non_null(strstr(text[2], name));
	}
	for (int i = 0; i < 2; i++)
		for (char *s = strtok(text[i], "\n"); s; s = strtok(NULL, "\n"))
			if (strlen(s) > 80)
				fail_msg("more than 80 columns: %s", s);
}

/* ---- commands -------------------------------------------------------------------------------- */

static int runs;
static char *ran_kernel;
static bool ran_lkvm;
static int run_result;

int cmd_run(struct vm_config *cfg, struct err *err)
{
	runs++;
	free(ran_kernel);
	ran_kernel = cfg->kernel ? strdup(cfg->kernel) : NULL;
	ran_lkvm = cfg->lkvm;
	return run_result < 0 ? err_set(err, run_result, "it failed") : run_result;
}

static int main_argv(char **argv)
{
	memset(&e, 0, sizeof(e));
	return cmd_main(count_words(argv), argv, &e);
}
#define MAIN(...) main_argv((char *[]){__VA_ARGS__, NULL})

static void command_run(void **state)
{
	runs = 0;
	run_result = 0;
	assert_int_equal(MAIN("./realmtool", "run", "Image"), 0);
	assert_int_equal(runs, 1);
	assert_string_equal(ran_kernel, "Image");
	assert_false(ran_lkvm);
	run_result = 3;
	assert_int_equal(MAIN("/usr/bin/lkvm", "run", "Image", "--loglevel=error"), 3);
	assert_true(ran_lkvm);
	assert_int_equal(MAIN("lkvm-static", "run", "Image", "--loglevel=error"), 3);
	assert_true(ran_lkvm);
	assert_int_equal(MAIN("vm", "run", "Image", "--compat=off"), 3);
	assert_false(ran_lkvm);
	assert_int_equal(MAIN("mylkvm", "run", "Image"), 3);
	assert_false(ran_lkvm);
	run_result = -EIO;
	assert_int_equal(MAIN("realmtool", "run", "Image"), -EIO);
	assert_string_equal(e.msg, "it failed");

	runs = 0;
	assert_true(MAIN("realmtool", "run", "--bogus") < 0);
	assert_non_null(strstr(e.msg, "unknown option --bogus"));
	assert_true(MAIN("realmtool", "run") < 0);
	assert_non_null(strstr(e.msg, "no kernel"));
	assert_int_equal(runs, 0);
	free(ran_kernel);
	ran_kernel = NULL;
}

static void command_errors(void **state)
{
	capture_begin();
	assert_int_equal(MAIN("realmtool"), EXIT_FATAL);
	assert_non_null(strstr(capture_end(), "usage: realmtool COMMAND"));
	assert_true(MAIN("realmtool", "rnu", "Image") < 0);
	assert_non_null(strstr(e.msg, "unknown command \"rnu\": did you mean run?"));
	assert_true(MAIN("realmtool", "") < 0);
	assert_true(MAIN("realmtool", "frobnicate") < 0);
	assert_non_null(strstr(e.msg, "unknown command \"frobnicate\": \"help\" lists"));
	assert_true(MAIN("realmtool", "--realm", "-k", "Image") < 0);
	assert_non_null(strstr(e.msg, "write \"realmtool run --realm ...\""));
	assert_true(MAIN("realmtool", "version", "x") < 0);
	assert_true(MAIN("realmtool", "help", "run", "x") < 0);
	assert_true(MAIN("realmtool", "help", "rnu") < 0);
	assert_non_null(strstr(e.msg, "did you mean run?"));
}

/* which words belong to an option, before anything is parsed */
static void next_words(void **state)
{
	static const struct {
		const char *word;
		bool takes;
	} t[] = {
		{ "-k", true }, { "-kImage", false }, { "--mem", true }, { "--mem=64", false },
		{ "--realm", false }, { "--rng", false }, { "--no-rng", false }, { "--vnc", false },
		{ "--psci", false }, { "--no-such", false }, { "-h", false }, { "--disk", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		if (opt_takes_next(&run_options, t[i].word) != t[i].takes)
			fail_msg("%s", t[i].word);
}

static void sandbox_command(void **state)
{
	assert_true(MAIN("lkvm", "sandbox", "-k", "Image") < 0);
	assert_non_null(strstr(e.msg, "which command?"));
	assert_true(MAIN("lkvm", "sandbox", "-k", "Image", "--") < 0);
	assert_non_null(strstr(e.msg, "which command?"));
	/* options of the command are none of ours, those in front of it are */
	assert_true(MAIN("lkvm", "sandbox", "-k", "Image", "--nodefaults", "ls", "--cpus", "x") < 0);
	assert_non_null(strstr(e.msg, "~/.lkvm/default"));
	assert_true(MAIN("lkvm", "sandbox", "-k", "Image", "--cpus", "x", "ls") < 0);
	assert_non_null(strstr(e.msg, "option --cpus"));
	assert_true(MAIN("realmtool", "sandbox", "-k", "Image", "-i", "initrd", "--", "ls") < 0);
	assert_non_null(strstr(e.msg, "~/.lkvm/default"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(defaults, clean),
		cmocka_unit_test_teardown(machine, clean),
		cmocka_unit_test_teardown(vector_length, clean),
		cmocka_unit_test_teardown(memory, clean),
		cmocka_unit_test_teardown(realm_memory, clean),
		cmocka_unit_test_teardown(ipa_width, clean),
		cmocka_unit_test_teardown(realm, clean),
		cmocka_unit_test_teardown(personalization, clean),
		cmocka_unit_test_teardown(personalization_forms, clean),
		cmocka_unit_test_teardown(ripas_plan, clean),
		cmocka_unit_test_teardown(measured_pieces, clean),
		cmocka_unit_test_teardown(host_interface, clean),
		cmocka_unit_test_teardown(boot, clean),
		cmocka_unit_test_teardown(bounce_buffers, clean),
		cmocka_unit_test_teardown(disks, clean),
		cmocka_unit_test_teardown(other_devices, clean),
		cmocka_unit_test_teardown(running, clean),
		cmocka_unit_test_teardown(life, clean),
		cmocka_unit_test_teardown(log_level, clean),
		cmocka_unit_test_teardown(compat, clean),
		cmocka_unit_test_teardown(help_wanted, clean),
		cmocka_unit_test_teardown(suggestions, clean),
		cmocka_unit_test_teardown(public_lines, clean),
		cmocka_unit_test_teardown(public_lines_refused, clean),
		cmocka_unit_test_teardown(assigned_devices, clean),
		cmocka_unit_test_teardown(network, clean),
		cmocka_unit_test_teardown(without_effect, clean),
		cmocka_unit_test_teardown(lkvm_options_are_known, clean),
		cmocka_unit_test_teardown(told, clean),
		cmocka_unit_test_teardown(table_is_sound, clean),
		cmocka_unit_test_teardown(table_is_documented, clean),
		cmocka_unit_test_teardown(command_run, clean),
		cmocka_unit_test_teardown(command_errors, clean),
		cmocka_unit_test_teardown(next_words, clean),
		cmocka_unit_test_teardown(sandbox_command, clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
