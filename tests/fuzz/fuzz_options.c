// SPDX-License-Identifier: BSD-3-Clause
/*
 * Command lines of "run": words of the input, a byte each saying where the word comes from, so that
 * options are met without luck. What is accepted passes the check again, can be written as a config
 * file, and this file gives the same one again.
 */
#include "tests/fuzz/fuzz.h"

#include <stdarg.h>

#include "vmm/cmdline.h"
#include "vmm/conf_parse.h"
#include "vmm/conffile.h"
#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/core/parse.h"
#include "vmm/options.h"

#define WORDS_MAX 24

static char *argv[WORDS_MAX + 1];
static int argc;

static void word(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void word(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&argv[argc], fmt, ap) < 0)
		abort();
	va_end(ap);
	argc++;
}

/* Some value for an option: one of its choices, one of its words, or the input's. */
static char *value(const struct opt *o, struct input *in)
{
	uint8_t how = in_u8(in);
	char *text = in_text(in, how & 0x1f), *all = NULL;
	unsigned int n = 0, k;

	if (o->choice && how & 0x80) {
		while (o->choice[n].name)
			n++;
		free(text);
		return strdup(o->choice[how % n].name);
	}
	if (o->words && how & 0x80) {
		k = in_u8(in);
		for (n = 0; n < (k >> 6); n++) {
			const struct opt *w = &o->words->opt[in_u8(in) % o->words->nr];
			char *v = w->flags & OPT_FLAG ? NULL : value(w, in), *was = all;

			if (asprintf(&all, "%s%s%s%s%s", was ? was : text, was || *text ? "," : "",
				     w->name, v ? "=" : "", v ? v : "") < 0)
				abort();
			free(v);
			free(was);
		}
		if (all) {
			free(text);
			return all;
		}
	}
	if (how & 0x40) {
		free(text);
		if (asprintf(&text, "%" PRIu64, in_u64(in) >> (how & 0x3f)) < 0)
			abort();
	}
	return text;
}

static void option(struct input *in)
{
	const struct opt *o = &run_options.opt[in_u8(in) % run_options.nr];
	uint8_t how = in_u8(in);
	char *v;

	if (o->flags & OPT_FLAG && how & 1) {
		word("--%s%s", how & 2 && o->flags & OPT_NEGATE ? "no-" : "", o->name);
		return;
	}
	v = value(o, in);
	if (how & 4 && o->letter)
		word("-%c%s", o->letter, v);
	else if (how & 8 && argc < WORDS_MAX - 1) {
		word("--%s", o->name);
		word("%s", v);
	} else {
		word("--%s=%s", o->name, v);
	}
	free(v);
}

/* NULL: it cannot be written, as control characters cannot */
static char *write_conf(const struct conf *f)
{
	struct err e = { 0 };
	char *text;
	size_t len;
	FILE *to = open_memstream(&text, &len);
	int ret;

	PROPERTY(to);
	ret = conf_write(f, to, 0, &e);
	fclose(to);
	if (!ret)
		return text;
	ERROR_IS_A_LINE(e);
	free(text);
	return NULL;
}

/* The settings of a command line that was accepted, written and read. */
static void again(bool lkvm)
{
	struct conf f, g;
	struct vm_config c;
	struct err e;
	char *first, *second, *rest;
	size_t len;
	int ret;

	conf_init(&f, &run_options);
	conf_init(&g, &run_options);
	PROPERTY(!conf_args(&f, argc, argv, &e));
	first = write_conf(&f);
	if (!first)
		goto out;
	PROPERTY(!conf_read(&g, "file", first, strlen(first), &e) && !g.nr_errs);
	second = write_conf(&g);
	PROPERTY(second);
	/* what has no place in a file stands there as a comment, at the end */
	rest = strstr(first, "# option --");
	len = !rest ? strlen(first) + 1 : rest > first ? (size_t)(rest - first) - 1 : 0;
	PROPERTY(!strncmp(first, second, len));
	quiet(true);
	ret = options_apply(&g, &c, lkvm, &e);
	quiet(false);
	PROPERTY(!ret || rest);
	config_free(&c);
	free(second);
	free(first);
out:
	conf_free(&f);
	conf_free(&g);
}

/* What takes values without a table. */
static void parsers(struct input *in)
{
	uint8_t bytes[32];
	char *text = in_text(in, in_u8(in)), back[BASE64_SIZE(sizeof(bytes))];
	cpu_set_t cpus;
	uint64_t n, m;
	size_t len;
	bool yes;

	if (!parse_u64(text, &n) && *text != '0')
		PROPERTY(strtoull(text, NULL, 10) == n);
	if (!parse_size(text, 1, &n) && !parse_size(text, SZ_1M, &m))
		PROPERTY(n == m || m == n * SZ_1M);
	if (!parse_base64(text, bytes, sizeof(bytes), &len)) {
		PROPERTY(len && len <= sizeof(bytes));
		format_base64(bytes, len, false, back);
		PROPERTY(strlen(back) < sizeof(back));
	}
	if (!parse_hex(text, bytes, sizeof(bytes), &len))
		PROPERTY(len * 2 == strlen(text));
	if (!parse_cpu_list(text, &cpus))
		PROPERTY(CPU_COUNT(&cpus) > 0);
	parse_bool(text, &yes);
	free(text);
}

/* The kernel's parameters: what the user gave is in them. */
static void parameters(const struct vm_config *c)
{
	struct ipa_split split = ipa_split(40, c->mode != MODE_PLAIN);
	char text[CFG_CMDLINE_MAX];
	struct err e = { 0 };
	int ret;

	quiet(true);
	ret = cmdline_make(c, &split, text, &e);
	quiet(false);
	if (ret < 0) {
		ERROR_IS_A_LINE(e);
		return;
	}
	PROPERTY(memchr(text, '\0', sizeof(text)));
	PROPERTY(c->lkvm || !c->params || strstr(text, c->params));
}

/* What --help and the manual show of the table; it is whole, in both lengths. */
static void help(bool full)
{
	size_t len;
	char *text;
	FILE *f = open_memstream(&text, &len);

	PROPERTY(f);
	opt_help(f, &run_options, full);
	opt_man(f, &run_options);
	opt_man_keys(f, &run_options);
	fclose(f);
	for (unsigned int i = 0; i < run_options.nr; i++)
		if (!(run_options.opt[i].flags & OPT_HIDDEN))
			PROPERTY(strstr(text, run_options.opt[i].name));
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct err e = { 0 };
	struct vm_config c;
	bool lkvm;
	int ret;

	lkvm = in_u8(&in) & 1;
	parsers(&in);
	for (argc = 0; in.left && argc < WORDS_MAX - 1;) {
		uint8_t how = in_u8(&in);
		char *text;

		if (how & 3) {
			option(&in);
			continue;
		}
		text = in_text(&in, how >> 2);
		word("%s", text);
		free(text);
	}
	argv[argc] = NULL;
	quiet(true);
	ret = options_run(&c, lkvm, argc, argv, &e);
	quiet(false);
	if (ret == OPTIONS_HELP)
		help(lkvm);
	if (ret < 0) {
		ERROR_IS_A_LINE(e);
	} else if (!ret) {
		PROPERTY(!config_check(&c, &e) && c.name && c.cpus >= 1 && c.cpus <= CFG_CPUS_MAX &&
			 c.mem >= CFG_MEM_MIN && c.nr_disks <= CFG_MAX_DISKS &&
			 c.nr_nets <= CFG_MAX_NETS && c.nr_shares <= CFG_MAX_SHARES);
		parameters(&c);
	}
	config_free(&c);
	if (!ret && conf_can_parse)
		again(lkvm);
	while (argc)
		free(argv[--argc]);
	return 0;
}

/* Command lines, good and bad; a newline separates the words. */
void fuzz_seeds(void)
{
	static const char *const line[] = {
		"-k\n/Image\n-c\n8\n-m\n1G@4G\n--irqchip\ngicv3\n--ipa-bits=40\n--vcpu-affinity=0-3,5\n--pmu",
		"-k\n/Image\n--realm\n--measurement-algo=sha512\n--realm-pv-hex=4142\n--best-effort",
		"/k\n--realm\n--ripas-ram\n0x80000000+2M,0x81000000-0x82000000\n--populate\nkernel=unmeasured",
		"/k\n--realm\n--rmm=2.0\n--rmi-psci=user\n--rmi-cap=300\n--rmi-generation=e:7\n--breakpoints=4",
		"-k\n/k\n--realm=emulated\n--emulated-strict\n--realm-pv\na b\n--swiotlb=64\n--expect-rim=@/r",
		"/k\n--kaslr-seed=7\n--nodefaults\n--no-pmu\n--dtb=/x.dtb\n--flash=/f\n-p\na\n-p\nb",
		"--firmware\n/fw\n--firmware-address=0x80001000\n--loglevel=debug\n--debug",
		"/k\n-d\n/a=b,ro,direct,cache=unsafe,queues=2,serial=x y\n-d\nsocket=/s",
		"/k\n-d\npath=/ro,discard=off,format=qcow2,queue-size=64\n-d\n/a\n-d\n/b",
		"/k\n-n\nuser\n-n\nmode=tap,tapif=t0,vhost=1,mq=4,script=none,guest_mac=02:15:15:15:15:15",
		"/k\n-n\nnone\n-n\nfd=9\n-n\nmode=vhost-user,socket=/s\n-n\nmode=user,guest_ip=10.0.0.1",
		"/k\n-n\nmode=tap,guest_mac=03:15:15:15:15:15\n-n\nmode=tap,host_mac=x",
		"/k\n-n\nmode=user,guest_ip=300.1.1.1\n-n\nfd=1\n-n\nmode=user,mq=2\n-n\nmode=vhost-user",
		"/k\n--9p\n/,root,ro\n--9p\ndir=/x,tag=/dev/root\n--fs\nsocket=/v,tag=fs\n--vsock\n7,path=/v",
		"/k\n--9p\n/,a\n--9p\n/b,a\n--fs\n/x,t",
		"/k\n--balloon=64M,stats=5\n--pmem=/p,ro\n--console-port\nagent\n--console-port\nb,path=/b",
		"/k\n--console-port\nagent\n--console-port\nagent\n--vsock=path=/x",
		"/k\n--tty\n1\n--tty\n3\n--console=hv\n--virtio-ring=packed\n--io-threads=0\n--no-rng",
		"/k\n--force-pci\n--vfio-pci\n01:00.0,rom=off\n--vfio-pci\n02:00.0,rom=/r,dma-alias=both",
		"/k\n--no-reboot\n--gdb\nunix:/g\n--trace\n/t\n--log-format=json\n--ready=vsock:5\n--vsock=3",
		"/k\n--compat=lkvm\n--balloon\n--rng\n--hugetlbfs\n/h\n--pci-mem64=1T\n--virtio-transport=mmio",
		"/k\n--realm\n--hugetlbfs\n/h", "/k\n--realm\n--gdb\n1234", "/k\n--realm\n--balloon",
		"/k\n--realm\n--pmem=/p", "/k\n-m\n3", "/k\n-m\n1G@1G", "/k\n-m\n1G@0x90000000\n--ipa-bits=32",
		"/k\n--realm\n-m\n513", "/k\n-m\n1G@0x80001000", "/k\n--firmware-address=4096",
		"--firmware=/f\n--kernel=/k", "--firmware=/f\n--initrd=/i", "/k\n--dtb=/d\n--dump-dtb=/e",
		"/k\n--swiotlb=600\n--realm", "/k\n--swiotlb=6\n--realm\n-p\nswiotlb=3", "/k\n--ripas-ram=1+2",
		"/k\n--disable-sve\n--sve-vl=256", "/k\n--sve-vl=300", "/k\n--cpus=0", "/k\n--cpus=9999",
		"--help", "/k\n--cpu=3", "/k\n--pkvm", "/k\n--mem\n1X", "/k\n--\n-k", "/k\n-Zx", "/k\n/l",
		"/k\n--compat=lkvm\n-p\nearlycon root=/dev/x\n-d\n/d\n-i\n/i",
		"/k\n--realm\n-p\nearlycon=uart,mmio,0x1000000",
		"/k\n--emulated-strict", "/k\n--name=a b", "/k\n--pmu-counters=3\n--pci-mem64=1G",
	};
	uint8_t buf[1024];
	char name[16];

	for (unsigned int i = 0; i < ARRAY_SIZE(line); i++) {
		size_t n = 0;

		buf[n++] = 0;
		buf[n++] = 0;
		for (const char *w = line[i]; *w; w += *w == '\n') {
			size_t len = MIN(strcspn(w, "\n"), (size_t)63);

			buf[n++] = len << 2;
			memcpy(buf + n, w, len);
			n += len;
			w += strcspn(w, "\n");
		}
		snprintf(name, sizeof(name), "line%02u", i);
		fuzz_seed(name, buf, n);
	}
}
