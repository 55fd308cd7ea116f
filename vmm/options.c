// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/options.h"

#include <errno.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "realm/ipa.h"
#include "vmm/board/memmap.h"
#include "vmm/conffile.h"
#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/core/parse.h"
#include "vmm/options_dev.h"
#include "vmm/sandbox.h"

#define NAME_LEN_MAX 64 /* leaves room in a socket's path */
#define SVE_VL_MIN 128	/* Arm ARM, ZCR_ELx.LEN */
#define SVE_VL_MAX 2048
#define PMU_COUNTERS_MAX 31	   /* Arm ARM, PMCR_EL0.N */
#define MEM64_MAX (UINT64_C(1) << 44) /* more than any IPA space of KVM has left beside RAM */
#define SWIOTLB_WARN (256 * SZ_1M) /* a realm with less RAM misses the 64 MiB of swiotlb */

/* opt_choice() stores an int. */
_Static_assert(sizeof(enum realm_mode) == sizeof(int), "enum size");
_Static_assert(sizeof(enum irqchip) == sizeof(int), "enum size");
_Static_assert(sizeof(enum cfg_transport) == sizeof(int), "enum size");
_Static_assert(sizeof(enum console_kind) == sizeof(int), "enum size");
_Static_assert(sizeof(enum hash_algo) == sizeof(int), "enum size");
_Static_assert(sizeof(enum log_level) == sizeof(int), "enum size");

/* ---- parsers of single options; dest is the whole config unless the table says otherwise ---- */

static int take_help(const struct opt *o, const char *value, void *dest, struct err *e)
{
	return OPTIONS_HELP;
}

static int take_name(const struct opt *o, const char *value, void *dest, struct err *e)
{
	static const char ok[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t len = strlen(value);

	if (len > NAME_LEN_MAX || strspn(value, ok) != len || *value == '.' || *value == '-')
		return err_set(
			e, -EINVAL,
			"\"%.80s\" cannot be a name: give up to %d letters, "
			"digits, \".\", \"_\" and \"-\", the first a letter, a digit or \"_\"",
			value, NAME_LEN_MAX);
	return opt_string(o, value, dest, e);
}

static int one_size(const char *what, const char *text, uint64_t *out, struct err *e)
{
	int ret = parse_size(text, SZ_1M, out);

	if (ret == -ERANGE)
		return err_set(e, ret,
			       "%s \"%.80s\" is beyond 64 bits (without a unit it counts MiB)",
			       what, text);
	if (ret < 0)
		return err_set(e, ret,
			       "%s \"%.80s\" is not understood: give a number and a unit of B, "
			       "K, M, G, T or P (MiB without a unit)",
			       what, text);
	return 0;
}

static int take_mem(const struct opt *o, const char *value, void *dest, struct err *e)
{
	const char *at = strchr(value, '@');
	struct vm_config *c = dest;
	char *size;
	int ret;

	size = at ? strndup(value, at - value) : strdup(value);
	if (!size)
		return err_set(e, -ENOMEM, "out of memory");
	ret = one_size("size", size, &c->mem, e);
	if (!ret && at)
		ret = one_size("address", at + 1, &c->mem_base, e);
	/* Nobody means 2 PiB: this is an address in bytes. */
	if (!ret && at && c->mem_base / SZ_1M >= MAP_RAM_BASE)
		ret = err_set(e, -EINVAL,
			      "address \"%.80s\" counts MiB, as in lkvm: for bytes give @%" PRIu64,
			      at + 1, c->mem_base / SZ_1M / SZ_1M);
	free(size);
	return ret;
}

static int take_swiotlb(const struct opt *o, const char *value, void *dest, struct err *e)
{
	uint64_t size = 0;
	int ret = one_size("size", value, &size, e);

	if (ret < 0)
		return ret;
	if (!size || !IS_ALIGNED(size, SZ_1M) || size / SZ_1M > UINT32_MAX)
		return err_set(e, -EINVAL, "\"%.80s\" is not a whole number of MiB", value);
	*(unsigned int *)dest = size / SZ_1M;
	return 0;
}

static int take_affinity(const struct opt *o, const char *value, void *dest, struct err *e)
{
	cpu_set_t set;
	int ret = parse_cpu_list(value, &set);

	if (ret == -ERANGE)
		return err_set(e, ret, "\"%.80s\" names a CPU above %d", value, CPU_SETSIZE - 1);
	if (ret < 0)
		return err_set(e, ret, "\"%.80s\" is not a list of CPUs: give for example 0-3,5",
			       value);
	return opt_string(o, value, dest, e);
}

/* The length has two names: lkvm's for all machines, and that of the branches with realms. */
static int take_sve_vl(const struct opt *o, const char *value, void *dest, struct err *e)
{
	unsigned int *vl = dest;
	uint64_t v = 0;
	int ret = opt_number(o, value, &v, e);

	if (ret < 0)
		return ret;
	if (v & (v - 1))
		return err_set(e, -EINVAL,
			       "%.80s is not a power of 2: give %d, 256, 512, 1024 or %d", value,
			       SVE_VL_MIN, SVE_VL_MAX);
	if (*vl && *vl != v)
		return err_set(e, -EINVAL, "%.80s contradicts the %u bits given before", value,
			       *vl);
	*vl = v;
	return 0;
}

static int take_rpv_hex(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct vm_config *c = dest;
	size_t len;
	int ret;

	if (c->rpv_set)
		return err_set(e, -EINVAL, "the personalization value is given twice");
	ret = parse_hex(value, c->rpv, CFG_RPV_SIZE, &len);
	if (ret < 0)
		return err_set(e, ret, "\"%.20s%s\" is not 1 to %d pairs of hexadecimal digits",
			       value, strlen(value) > 20 ? "..." : "", CFG_RPV_SIZE);
	c->rpv_set = true;
	return 0;
}

static int take_rpv(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct vm_config *c = dest;
	size_t len = strlen(value);
	int ret;

	if (!strncmp(value, "hex:", 4))
		return take_rpv_hex(o, value + 4, dest, e);
	if (c->rpv_set)
		return err_set(e, -EINVAL, "the personalization value is given twice");
	if (!strncmp(value, "base64:", 7)) {
		ret = parse_base64(value + 7, c->rpv, CFG_RPV_SIZE, &len);
		if (ret < 0)
			return err_set(e, ret, "\"%.20s%s\" is not base64 of 1 to %d bytes", value + 7,
				       strlen(value) > 27 ? "..." : "", CFG_RPV_SIZE);
	} else {
		if (len > CFG_RPV_SIZE)
			return err_set(e, -EINVAL, "%zu bytes are too long: up to %d fit", len,
				       CFG_RPV_SIZE);
		memcpy(c->rpv, value, len);
	}
	c->rpv_set = true;
	return 0;
}

static int one_range(const char *text, struct cfg_range *g, struct err *e)
{
	size_t at = strcspn(text, "+-");
	char *first = strndup(text, at);
	uint64_t second = 0;
	int ret;

	if (!first)
		return err_set(e, -ENOMEM, "out of memory");
	ret = text[at] ? parse_size(first, 1, &g->base) : -EINVAL;
	free(first);
	if (!ret)
		ret = parse_size(text + at + 1, 1, &second);
	if (ret < 0)
		return err_set(e, ret, "\"%.80s\" is not a range: give all, image, or ranges as "
			       "ADDR+SIZE or ADDR-END, for example 0x80000000+256M", text);
	if (text[at] == '-') {
		if (second <= g->base)
			return err_set(e, -EINVAL, "\"%.80s\" ends before it begins", text);
		second -= g->base;
	}
	g->size = second;
	if (!g->size || !IS_ALIGNED(g->base, GRANULE_SIZE) || !IS_ALIGNED(g->size, GRANULE_SIZE) ||
	    g->size > UINT64_MAX - g->base)
		return err_set(e, -EINVAL, "\"%.80s\": address and size must be multiples of 4 KiB",
			       text);
	return 0;
}

static int take_ripas_ram(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct vm_config *c = dest;
	char *copy, *next, *word;
	int ret = 0;

	c->nr_ripas_ranges = 0;
	c->ripas_ram = !strcmp(value, "image") ? RIPAS_RAM_IMAGE :
		       !strcmp(value, "all") ? RIPAS_RAM_ALL : RIPAS_RAM_RANGES;
	if (c->ripas_ram != RIPAS_RAM_RANGES)
		return 0;
	copy = next = strdup(value);
	if (!copy)
		return err_set(e, -ENOMEM, "out of memory");
	while (!ret && (word = strsep(&next, ","))) {
		if (c->nr_ripas_ranges == CFG_MAX_RANGES)
			ret = err_set(e, -EINVAL, "more than %d ranges", CFG_MAX_RANGES);
		else
			ret = one_range(word, &c->ripas_range[c->nr_ripas_ranges++], e);
	}
	free(copy);
	return ret;
}

/* [PIECE=]measured|unmeasured,... */
static int take_populate(const struct opt *o, const char *value, void *dest, struct err *e)
{
	static const struct {
		const char *name;
		unsigned int bits;
	} piece[] = {
		{ "kernel", PIECE_KERNEL }, { "initrd", PIECE_INITRD }, { "dtb", PIECE_DTB },
		{ "firmware", PIECE_FIRMWARE }, { "all", PIECE_ALL },
	};
	unsigned int *unmeasured = dest;
	char *copy, *next, *word;

	copy = next = strdup(value);
	if (!copy)
		return err_set(e, -ENOMEM, "out of memory");
	while ((word = strsep(&next, ","))) {
		char *how = strchr(word, '=');
		unsigned int bits = how ? 0 : PIECE_ALL;

		if (how)
			*how++ = '\0';
		for (size_t i = 0; how && i < ARRAY_SIZE(piece); i++)
			if (!strcmp(piece[i].name, word))
				bits = piece[i].bits;
		if (!how)
			how = word;
		if (bits && !strcmp(how, "measured")) {
			*unmeasured &= ~bits;
		} else if (bits && !strcmp(how, "unmeasured")) {
			*unmeasured |= bits;
		} else {
			err_set(e, -EINVAL, "\"%.80s\" is not understood: give PIECE=measured or "
				"PIECE=unmeasured, where PIECE is kernel, initrd, dtb, firmware or all",
				value);
			free(copy);
			return -EINVAL;
		}
	}
	free(copy);
	return 0;
}

static int take_params(const struct opt *o, const char *value, void *dest, struct err *e)
{
	char **params = dest, *joined;
	int n;

	n = asprintf(&joined, "%s%s%s", *params ? *params : "", *params && **params ? " " : "",
		     value);
	if (n < 0)
		return err_set(e, -ENOMEM, "out of memory");
	free(*params);
	*params = joined;
	if (n >= CFG_CMDLINE_MAX)
		return err_set(e, -EINVAL,
			       "%d bytes of kernel parameters are too long: Linux takes "
			       "%d",
			       n, CFG_CMDLINE_MAX - 1);
	return 0;
}

static int take_kaslr_seed(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct vm_config *c = dest;

	c->kaslr_seed_set = true;
	return opt_number(o, value, &c->kaslr_seed, e);
}

static int take_tty(const struct opt *o, const char *value, void *dest, struct err *e)
{
	uint64_t n = 0;
	int ret = opt_number(o, value, &n, e);

	if (!ret)
		*(unsigned int *)dest |= 1U << n;
	return ret;
}

static int take_debug(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct vm_config *c = dest;

	c->debug = true;
	return 0;
}

static int take_gdb(const struct opt *o, const char *value, void *dest, struct err *e)
{
	size_t room = sizeof(((struct sockaddr_un *)NULL)->sun_path);
	uint64_t port;

	if (!strncmp(value, "unix:", 5)) {
		if (!value[5] || strlen(value + 5) >= room)
			return err_set(e, -EINVAL,
				       "\"%.80s\" is not unix: and a path of 1 to %zu bytes", value,
				       room - 1);
	} else if (parse_u64(value, &port) < 0 || port < 1 || port > 65535) {
		return err_set(e, -EINVAL,
			       "\"%.80s\" is neither a TCP port (1 to 65535) nor unix:PATH", value);
	}
	return opt_string(o, value, dest, e);
}

/* opt_choice() stores an int; here the destination is a bool. */
/* So that BARs of a power of 2 fill it. */
static int take_mem64(const struct opt *o, const char *value, void *dest, struct err *e)
{
	uint64_t size;
	int ret = one_size("size", value, &size, e);

	if (ret < 0)
		return ret;
	if (size < SZ_1M || size > MEM64_MAX || (size & (size - 1)))
		return err_set(e, -EINVAL, "\"%.80s\" is not a power of 2 from 1 to %" PRIu64 " MiB",
			       value, MEM64_MAX / SZ_1M);
	*(uint64_t *)dest = size;
	return 0;
}

static int take_bool(const struct opt *o, const char *value, void *dest, struct err *e)
{
	int chosen = 0;
	int ret = opt_choice(o, value, &chosen, e);

	if (!ret)
		*(bool *)dest = chosen;
	return ret;
}

/* lkvm has an option of this name, too, that takes a script. */
static int take_sandbox(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct vm_config *c = dest;

	if (opt_is_choice(o, value))
		return opt_choice(o, value, &c->sandbox, e);
	return opt_string(o, value, &c->sandbox_script, e);
}

/* Which guest is up: a word, a port, or a regular expression. */
static int take_ready(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct vm_config *c = dest;
	uint64_t port;
	regex_t re;

	c->ready_set = true;
	if (!strcmp(value, "console") || !strcmp(value, "boot")) {
		c->ready = *value == 'b' ? READY_BOOT : READY_CONSOLE;
		return 0;
	}
	if (!strncmp(value, "vsock:", 6)) {
		if (parse_u64(value + 6, &port) < 0 || !port || port >= UINT32_MAX)
			return err_set(e, -EINVAL, "\"%.80s\" is not a port of vsock", value + 6);
		c->ready = READY_VSOCK;
		c->ready_port = port;
		return 0;
	}
	if (strncmp(value, "line:", 5) || !value[5])
		return err_set(e, -EINVAL,
			       "\"%.80s\" is none of console, boot, vsock:PORT and line:REGEX", value);
	if (regcomp(&re, value + 5, REG_EXTENDED | REG_NOSUB))
		return err_set(e, -EINVAL,
			       "\"%.80s\" is not an extended regular expression of POSIX",
			       value + 5);
	regfree(&re);
	c->ready = READY_LINE;
	return opt_string(o, value + 5, &c->ready_line, e);
}

static int take_force_pci(const struct opt *o, const char *value, void *dest, struct err *e)
{
	((struct vm_config *)dest)->transport = TRANSPORT_PCI;
	return 0;
}

static int take_io_threads(const struct opt *o, const char *value, void *dest, struct err *e)
{
	uint64_t n;
	int ret = opt_number(o, value, &n, e);

	if (!ret)
		*(int *)dest = n;
	return ret;
}

/* ---- choices and the table ----------------------------------------------------------------- */

/* Tables read by their columns. */
/* clang-format off */

static const struct opt_choice realm_choices[] = {
	{ "kvm", MODE_KVM },		/* the first one is --realm without a value */
	{ "emulated", MODE_EMULATED },
	{ NULL }
};

#define WHY_GICV2 "the machine has a GICv3 only, as realms need it: give gicv3-its or gicv3"

static const struct opt_choice irqchip_choices[] = {
	{ "gicv3-its", IRQCHIP_GICV3_ITS },
	{ "gicv3", IRQCHIP_GICV3 },
	{ "gicv2", 0, WHY_GICV2 },
	{ "gicv2m", 0, WHY_GICV2 },
	{ NULL }
};

static const struct opt_choice hash_choices[] = {
	{ "sha256", HASH_SHA256 },
	{ "sha384", HASH_SHA384 },
	{ "sha512", HASH_SHA512 },
	{ NULL }
};

/* built in: vmm/profile.c; any other is a file */
static const struct opt_choice profile_words[] = {
	{ "fvp" },
	{ "qemu-max" },
	{ "qemu-max-v14" },
	{ "generic" },
	{ NULL }
};

static const struct opt_choice rmm_choices[] = {	/* enum rim_dialect + 1 */
	{ "1.0", 1 },
	{ "tf-rmm", 2 },
	{ "2.0", 3 },
	{ NULL }
};

static const struct opt_choice psci_choices[] = {
	{ "kernel", false },
	{ "user", true },
	{ NULL }
};

static const struct opt_choice console_choices[] = {
	{ "serial", CONSOLE_SERIAL },
	{ "virtio", CONSOLE_VIRTIO },
	{ "hv", CONSOLE_VIRTIO },	/* hvc0 in the guest, as lkvm has it on arm64 */
	{ NULL }
};

static const struct opt_choice loglevel_choices[] = {
	{ "error", LOG_ERROR },
	{ "warning", LOG_WARNING },
	{ "info", LOG_INFO },
	{ "debug", LOG_DEBUG },
	{ NULL }
};

static const struct opt_choice compat_choices[] = {
	{ "off", false },
	{ "lkvm", true },
	{ NULL }
};

#define WHY_LEGACY "virtio before 1.0 is not offered: Linux speaks virtio 1 since 4.0, give mmio"

static const struct opt_choice sandbox_choices[] = {
	{ "on", SANDBOX_ON },
	{ "audit", SANDBOX_AUDIT },
	{ "off", SANDBOX_OFF },
	{ NULL }
};

static const struct opt_choice transport_choices[] = {
	{ "mmio", TRANSPORT_MMIO },
	{ "pci", TRANSPORT_PCI },
	{ "mmio-legacy", 0, WHY_LEGACY },
	{ "pci-legacy", 0, WHY_LEGACY },
	{ NULL }
};

static const struct opt_choice vfio_backend_choices[] = {
	{ "auto", VFIO_BACKEND_AUTO },
	{ "iommufd", VFIO_BACKEND_IOMMUFD },
	{ "group", VFIO_BACKEND_GROUP },
	{ NULL }
};

static const struct opt_choice vfio_dma_choices[] = {
	{ "dynamic", false },
	{ "static", true },
	{ NULL }
};

static const struct opt_choice ring_choices[] = {
	{ "split", false },
	{ "packed", true },
	{ NULL }
};

enum { G_MACHINE, G_REALM, G_BOOT, G_DEVICES, G_RUNNING, G_COMPAT };

static const char *const groups[] = {
	[G_MACHINE] = "Machine",
	[G_REALM] = "Realm",
	[G_BOOT] = "Boot",
	[G_DEVICES] = "Devices",
	[G_RUNNING] = "Running",
	[G_COMPAT] = "Compatibility",
};

#define TO(field)	.offset = offsetof(struct vm_config, field)
#define NOOP(n, h, w)	{ .name = (n), .group = G_COMPAT, .flags = OPT_FLAG | OPT_NOOP, \
			  .help = (h), .why = (w) }
#define REFUSED(n, a, h, w) { .name = (n), .group = G_COMPAT, .arg = (a), .help = (h), .why = (w), \
			  .flags = OPT_REFUSED | ((a) ? 0 : OPT_FLAG) }
#define LATER		"not in this version: "
#define NO_TRUSTED	"trusted devices are not built"
#define WHY_TRUSTED	"Trusted devices (device assignment of RMM 2.0, TDISP) are not built: " \
	"--vfio-pci gives the guest the device for its shared pages."
#define WHY_GMEM "a realm takes its memory from guest_memfd by itself where the kernel has it"

static const struct opt options[] = {
	/* Machine */
	{ .name = "cpus", .letter = 'c', .group = G_MACHINE, .arg = "N", .key = "machine.cpus",
	  .help = "number of vCPUs (default 2)",
	  .text = "The default is fixed, whatever the host has, because the number is measured.",
	  .parse = opt_uint, TO(cpus), .min = 1, .max = CFG_CPUS_MAX, .def = "2" },
	{ .name = "mem", .letter = 'm', .group = G_MACHINE, .arg = "SIZE", .key = "machine.memory",
	  .help = "RAM, in MiB or with a unit (default 512)",
	  .text = "The units are B, K, M, G, T and P, in either case. A realm needs a multiple of "
		  "2 MiB. SIZE@ADDR moves the RAM from 2 GiB up to ADDR, which counts MiB too "
		  "unless it has a unit.",
	  .parse = take_mem, .def = "512" },
	{ .name = "irqchip", .group = G_MACHINE, .arg = "KIND", .key = "machine.irqchip",
	  .help = "gicv3-its (default) or gicv3",
	  .text = "A host that cannot do it is an error, not a reason to choose another: the kind "
		  "is measured with the devicetree.",
	  .parse = opt_choice, TO(irqchip), .choice = irqchip_choices, .def = "gicv3-its" },
	{ .name = "ipa-bits", .group = G_MACHINE, .arg = "N", .key = "machine.ipa-bits",
	  .help = "width of the guest's physical addresses",
	  .text = "By default as narrow as the RAM allows, in a realm with one bit more for the "
		  "split into a protected and a shared half, 33 at least.",
	  .parse = opt_uint, TO(ipa_bits), .min = IPA_MIN_BITS, .max = IPA_MAX_BITS },
	{ .name = "vcpu-affinity", .group = G_MACHINE, .arg = "LIST",
	  .key = "machine.vcpu-affinity",
	  .help = "host CPUs on which the vCPUs may run, as 0-3,5",
	  .parse = take_affinity, TO(vcpu_affinity) },
	{ .name = "sve-max-vl", .group = G_MACHINE, .arg = "BITS", .key = "machine.sve-max-vl",
	  .help = "give the guest SVE, with vectors up to BITS",
	  .text = "A power of 2 from 128 to 2048. Without this option there is no SVE, because "
		  "what the host has must not change what is measured.",
	  .parse = take_sve_vl, TO(sve_max_vl), .min = SVE_VL_MIN, .max = SVE_VL_MAX },
	{ .name = "sve-vl", .group = G_MACHINE, .arg = "BITS",
	  .help = "the same as --sve-max-vl",
	  .parse = take_sve_vl, TO(sve_max_vl), .min = SVE_VL_MIN, .max = SVE_VL_MAX,
	  .same_as = "sve-max-vl" },
	{ .name = "disable-sve", .group = G_MACHINE, .flags = OPT_FLAG,
	  .help = "no SVE, which is the default",
	  .parse = opt_flag, TO(sve_disabled), .no_key = "it is the default" },
	{ .name = "pmu", .group = G_MACHINE, .flags = OPT_FLAG | OPT_NEGATE, .key = "machine.pmu",
	  .help = "give the guest a performance monitor (PMUv3)",
	  .parse = opt_flag, TO(pmu), .def = "no" },
	{ .name = "pmu-counters", .group = G_MACHINE, .arg = "N", .key = "machine.pmu-counters",
	  .help = "number of its event counters",
	  .parse = opt_uint, TO(pmu_counters), .min = 1, .max = PMU_COUNTERS_MAX },
	{ .name = "hugetlbfs", .group = G_MACHINE, .arg = "DIR", .key = "machine.hugetlbfs",
	  .help = "take the RAM from this hugetlbfs mount",
	  .parse = opt_string, TO(hugetlbfs), .path = "" },

	/* Realm */
	{ .name = "realm", .group = G_REALM, .flags = OPT_OPTIONAL, .arg = "KIND",
	  .key = "realm.mode",
	  .help = "run as a realm: kvm (default) or emulated",
	  .text = "With kvm the host's kernel and its Realm Management Monitor run and protect "
		  "the realm, and nothing else takes their place. With emulated realmtool plays "
		  "the monitor on any arm64 KVM host: the guest behaves as in a realm, and nothing "
		  "is protected.",
	  .parse = opt_choice, TO(mode), .choice = realm_choices },
	{ .name = "measurement-algo", .group = G_REALM, .arg = "ALGO",
	  .key = "realm.measurement-algo",
	  .help = "sha256 (default), sha384 or sha512",
	  .text = "SHA-384 came with version 2.0 of the Realm Management Monitor.",
	  .parse = opt_choice, TO(hash), .choice = hash_choices, .def = "sha256" },
	{ .name = "realm-pv", .group = G_REALM, .arg = "TEXT", .key = "realm.personalization",
	  .help = "personalization value, up to 64 bytes",
	  .text = "The rest of the 64 bytes is zero. hex: or base64: in front says how the value "
		  "is written; anything else is taken as text. It is part of what a token says "
		  "about the realm. Kernels of the series v12 and later cannot set it.",
	  .parse = take_rpv },
	{ .name = "realm-pv-hex", .group = G_REALM, .arg = "HEX",
	  .help = "the same in hexadecimal digits",
	  .parse = take_rpv_hex, .same_as = "realm-pv", .same_value = "hex:" },
	{ .name = "ripas-ram", .group = G_REALM, .arg = "WHAT", .key = "realm.ripas-ram",
	  .help = "RAM from the start: all (default), image, ranges",
	  .text = "Which memory is RIPAS RAM when the realm starts. What is not is EMPTY: the guest "
		  "must ask for it before it touches it. Ranges are ADDR+SIZE or ADDR-END, several "
		  "with commas between them. The parts of the initial image are RAM in any case. "
		  "Linux asks for all of its RAM, but puts its first page tables at the end of it "
		  "before: give it the last 16 MiB, as --ripas-ram 0x9f000000+16M with -m 512. A flat "
		  "image does not say how much it needs behind its end.",
	  .parse = take_ripas_ram, .def = "all" },
	{ .name = "populate", .group = G_REALM, .flags = OPT_REPEAT, .arg = "PIECE=HOW",
	  .key = "realm.populate",
	  .help = "is its content measured? kernel=unmeasured",
	  .text = "PIECE is kernel, initrd, dtb, firmware or all, HOW is measured (the default) or "
		  "unmeasured. The addresses of an unmeasured piece are measured all the same.",
	  .parse = take_populate, TO(unmeasured) },
	{ .name = "breakpoints", .group = G_REALM, .arg = "N", .key = "realm.breakpoints",
	  .help = "hardware breakpoints of the guest (default 2)",
	  .text = "The number is measured, so it is fixed, whatever the host has. A host with fewer "
		  "is an error. KVM so far cannot lower it: a realm then has what the host has, "
		  "unless the option is given, which is an error there.",
	  .parse = opt_uint, TO(breakpoints), .min = 2, .max = 16, .def = "2" },
	{ .name = "watchpoints", .group = G_REALM, .arg = "N", .key = "realm.watchpoints",
	  .help = "its watchpoints (default 2)",
	  .parse = opt_uint, TO(watchpoints), .min = 2, .max = 16, .def = "2" },
	{ .name = "rmm", .group = G_REALM, .arg = "DIALECT", .key = "realm.rmm",
	  .help = "how it is measured: 1.0, tf-rmm or 2.0",
	  .text = "1.0 is the RMM specification 1.0 and TF-RMM up to 0.8, tf-rmm is TF-RMM from 0.9 "
		  "on, 2.0 the specification 2.0. The default belongs to the kernel's interface: "
		  "1.0 up to v12, else tf-rmm.",
	  .parse = opt_choice, TO(rmm), .choice = rmm_choices },
	{ .name = "host-profile", .group = G_REALM, .arg = "NAME", .key = "realm.host-profile",
	  .help = "limits of the host that are measured",
	  .text = "A name (fvp, qemu-max, qemu-max-v14, generic) or a file. A launch on a host "
		  "that differs is refused.",
	  .parse = opt_string, TO(host_profile), .path = "", .choice = profile_words },
	{ .name = "expect-rim", .group = G_REALM, .arg = "RIM", .key = "realm.expect-rim",
	  .help = "launch only with this measurement",
	  .text = "The Realm Initial Measurement in hexadecimal or base64, or @FILE with the output "
		  "of \"realmtool measure\". It is computed before the realm is created; if another "
		  "one comes out, nothing is launched, and with the steps of measure -v in the file "
		  "the piece that differs is named.",
	  .parse = opt_string, TO(expect_rim), .path = "@" },
	{ .name = "best-effort", .group = G_REALM, .flags = OPT_FLAG | OPT_NEGATE,
	  .key = "realm.best-effort",
	  .help = "warn of what the host cannot do for a realm",
	  .text = "Without it a request that the host's kernel has no means for is an error.",
	  .parse = opt_flag, TO(best_effort), .def = "no" },
	{ .name = "rmi-generation", .group = G_REALM, .arg = "NAME", .key = "realm.rmi-generation",
	  .help = "kernel's interface for realms; found by itself",
	  .text = "a (series v5 to v11), v12, v13, c (v14), d (v15 and later, one guest_memfd for "
		  "both sides), d2 (the same with two backings), e:NR (explicit RIPAS step with "
		  "ioctl number NR). Without it realmtool tries what the host speaks; \"realmtool "
		  "check\" tells.",
	  .parse = opt_string, TO(rmi_generation) },
	{ .name = "rmi-cap", .group = G_REALM, .arg = "N", .key = "realm.rmi-cap",
	  .help = "number of KVM_CAP_ARM_RME; found by itself",
	  .parse = opt_uint, TO(rmi_cap), .min = 1, .max = 4095 },
	{ .name = "rmi-psci", .group = G_REALM, .arg = "WHO", .key = "realm.rmi-psci",
	  .help = "who answers PSCI: kernel (default) or user",
	  .text = "For KVM realms. With user realmtool switches vCPUs on and off.",
	  .parse = take_bool, TO(rmi_psci_user), .choice = psci_choices, .def = "kernel" },
	{ .name = "emulated-keys", .group = G_REALM, .arg = "DIR", .key = "realm.emulated-keys",
	  .help = "emulated: keys that sign its tokens",
	  .text = "Test keys; what they sign proves nothing.",
	  .parse = opt_string, TO(emulated_keys), .path = "", .flags = OPT_LATER },
	{ .name = "emulated-strict", .group = G_REALM, .flags = OPT_FLAG,
	  .key = "realm.emulated-strict",
	  .help = "emulated: fault on memory that was given up",
	  .text = "With it a guest's access to a protected address that is EMPTY is an external "
		  "abort, as in a real realm; without it such an access reads zeros. Each change "
		  "of such a range stops all vCPUs for a moment.",
	  .parse = opt_flag, TO(emulated_strict), .def = "no" },

	/* Boot */
	{ .name = "kernel", .letter = 'k', .group = G_BOOT, .arg = "FILE", .key = "boot.kernel",
	  .help = "kernel: Image, Image.gz, zboot or a flat image",
	  .text = "The first word that is no option and names no config file is the kernel too.",
	  .parse = opt_string, TO(kernel), .path = "" },
	{ .name = "initrd", .letter = 'i', .group = G_BOOT, .arg = "FILE", .key = "boot.initrd",
	  .help = "initial RAM disk",
	  .parse = opt_string, TO(initrd), .path = "" },
	{ .name = "params", .letter = 'p', .group = G_BOOT, .arg = "TEXT", .key = "boot.params",
	  .flags = OPT_REPEAT | OPT_EMPTY,
	  .help = "kernel parameters; several are joined",
	  .text = "Given several times, the parts are joined with a blank. Up to 2047 bytes.",
	  .parse = take_params, TO(params) },
	{ .name = "firmware", .letter = 'f', .group = G_BOOT, .arg = "FILE", .key = "boot.firmware",
	  .help = "firmware (UEFI) instead of a kernel",
	  .parse = opt_string, TO(firmware), .path = "" },
	{ .name = "firmware-address", .group = G_BOOT, .arg = "ADDR",
	  .key = "boot.firmware-address",
	  .help = "where it goes (default: the RAM's base)",
	  .parse = opt_u64, TO(firmware_addr), .min = MAP_RAM_BASE, .max = UINT64_MAX },
	{ .name = "flash", .letter = 'F', .group = G_BOOT, .arg = "FILE", .key = "boot.flash",
	  .help = "flash image, for the firmware's variables",
	  .parse = opt_string, TO(flash), .path = "" },
	{ .name = "dtb", .group = G_BOOT, .arg = "FILE", .key = "boot.dtb",
	  .help = "use this devicetree instead of the generated",
	  .text = "An initrd goes where its /chosen node says.",
	  .parse = opt_string, TO(dtb), .path = "" },
	{ .name = "dump-dtb", .group = G_BOOT, .arg = "FILE",
	  .help = "write the generated devicetree to FILE",
	  .parse = opt_string, TO(dump_dtb), .path = "", .no_key = "it writes a file once" },
	{ .name = "swiotlb", .group = G_BOOT, .arg = "SIZE", .key = "boot.swiotlb",
	  .help = "size of a realm's shared I/O buffers, in MiB",
	  .text = "Adds a swiotlb= parameter for Linux, which otherwise takes 64 MiB of the "
		  "realm's RAM to share data with its devices. Linux 7.3 takes no more than a "
		  "thousandth of the RAM where all of it lies below 4 GiB, and then logs that the "
		  "buffer is full; 64 helps.",
	  .parse = take_swiotlb, TO(swiotlb_mib) },
	{ .name = "kaslr-seed", .group = G_BOOT, .arg = "N", .key = "boot.kaslr-seed",
	  .help = "seed for the kernel's address layout",
	  .text = "It is a part of the devicetree and so of a realm's measurement; without the "
		  "option there is none.",
	  .parse = take_kaslr_seed, .max = UINT64_MAX },
	{ .name = "nodefaults", .group = G_BOOT, .flags = OPT_FLAG | OPT_NEGATE,
	  .key = "boot.nodefaults",
	  .help = "as lkvm: append no kernel parameters",
	  .text = "Called as realmtool nothing is appended anyway.",
	  .parse = opt_flag, TO(nodefaults), .def = "no" },

	/* Devices */
	{ .name = "disk", .letter = 'd', .group = G_DEVICES, .flags = OPT_REPEAT, .arg = "FILE",
	  .key = "disk", .words = &disk_options,
	  .help = "disk from a file or device; FILE[,ro][,direct]",
	  .text = "Repeatable. Behind the file, separated by commas:",
	  .parse = take_disk },
	{ .name = "network", .letter = 'n', .group = G_DEVICES, .flags = OPT_REPEAT, .arg = "MODE",
	  .key = "net", .words = &net_options,
	  .help = "network device: user, tap or none",
	  .text = "Repeatable. Called as realmtool there is none unless asked for; as lkvm there is "
		  "one in user mode, and mode=none takes it away. Behind the mode, separated by "
		  "commas:",
	  .parse = take_network },
	{ .name = "no-dhcp", .group = G_DEVICES, .flags = OPT_FLAG, .key = "boot.no-dhcp",
	  .help = "append no ip=dhcp parameter",
	  .parse = opt_flag, TO(no_dhcp), .def = "no" },
	{ .name = "9p", .group = G_DEVICES, .flags = OPT_REPEAT, .arg = "DIR,TAG",
	  .key = "share", .words = &share_options,
	  .help = "share a folder by 9p; DIR,TAG[,ro]",
	  .text = "The guest mounts it with -t 9p -o trans=virtio,version=9p2000.L TAG. Repeatable. "
		  "The parts may have names:",
	  .parse = take_9p },
	{ .name = "fs", .group = G_DEVICES, .flags = OPT_REPEAT, .arg = "DIR,TAG",
	  .key = "fs", .words = &share_options,
	  .help = "share a folder by virtiofs; DIR,TAG[,ro]",
	  .text = "Starts virtiofsd, or takes the socket of one that runs: socket=PATH,tag=TAG. The "
		  "guest mounts it with -t virtiofs TAG. Repeatable. The parts may have names:",
	  .parse = take_fs },
	{ .name = "vsock", .group = G_DEVICES, .arg = "CID", .key = "vsock",
	  .words = &vsock_options,
	  .help = "socket device; CID[,path=SOCKET]",
	  .text = "With a path the host's end is that unix socket; without, the host's kernel "
		  "(vhost-vsock). A program of the host connects to the socket, writes a "
		  "line \"CONNECT PORT\" and reads a line \"OK PORT\"; the guest's connections to port P "
		  "of CID 2 go to the socket PATH_P. The parts may have names:",
	  .parse = take_vsock },
	{ .name = "rng", .group = G_DEVICES, .flags = OPT_FLAG | OPT_NEGATE, .key = "device.rng",
	  .help = "entropy device",
	  .parse = opt_flag, TO(rng), .def = "no" },
	{ .name = "balloon", .group = G_DEVICES, .flags = OPT_OPTIONAL, .arg = "SIZE",
	  .key = "balloon", .words = &balloon_options,
	  .help = "memory balloon, SIZE at the start; not in a realm",
	  .text = "What the guest puts into it, and what it reports as free, goes back to the host. "
		  "The parts may have names:",
	  .parse = take_balloon },
	{ .name = "pmem", .group = G_DEVICES, .flags = OPT_REPEAT, .arg = "FILE",
	  .key = "pmem", .words = &pmem_options,
	  .help = "persistent memory from a file; not in a realm",
	  .text = "The guest has it above its RAM, as /dev/pmemN. The size of the file is a multiple of "
		  "2 MiB. Repeatable. Behind the file, separated by commas:",
	  .parse = take_pmem },
	{ .name = "vfio-pci", .group = G_DEVICES, .flags = OPT_REPEAT, .arg = "DEVICE",
	  .key = "vfio", .words = &vfio_options,
	  .help = "give a PCI device of the host to the guest",
	  .text = "It is bound to vfio-pci in the host. All memory of a plain VM is pinned for its "
		  "DMA; of a realm only what the guest shares, at the addresses with the shared "
		  "bit. Repeatable. Behind the device, separated by commas:",
	  .parse = take_vfio },
	{ .name = "vfio-backend", .group = G_DEVICES, .arg = "KIND", .key = "device.vfio-backend",
	  .help = "kernel interface: auto, iommufd or group",
	  .text = "auto takes iommufd and the device's own node where the host has them (Linux 6.6), "
		  "else the node of its IOMMU group and a container.",
	  .parse = opt_choice, TO(vfio_backend), .choice = vfio_backend_choices },
	{ .name = "vfio-dma", .group = G_DEVICES, .arg = "HOW", .key = "device.vfio-dma",
	  .help = "mapping for DMA: dynamic (default) or static",
	  .text = "dynamic maps what the guest shares when it does, and takes it back before it "
		  "turns private. static maps the whole shared side once and never gives its "
		  "pages back: conversions are faster, and as much memory as the RAM is pinned "
		  "beside the private side.",
	  .parse = take_bool, TO(vfio_static), .choice = vfio_dma_choices },
	{ .name = "pci-mem64", .group = G_DEVICES, .arg = "SIZE", .key = "device.pci-mem64",
	  .help = "64-bit window of the PCI bus, in MiB",
	  .text = "For devices whose BARs do not fit into the 768 MiB below the RAM. It begins at "
		  "the next power of 2 above the RAM and above its own size, so the address "
		  "space gets wider, which is measured.",
	  .parse = take_mem64, TO(pci_mem64) },
	{ .name = "power-button", .group = G_DEVICES, .flags = OPT_FLAG | OPT_NEGATE,
	  .key = "device.power-button",
	  .help = "power button that \"stop\" and SIGTERM press",
	  .text = "A GPIO controller (PL061) with a key (KEY_POWER) on it. It stands in the "
		  "devicetree, so it is measured. Linux needs GPIO_PL061 and KEYBOARD_GPIO for it.",
	  .parse = opt_flag, TO(power_button), .def = "no" },
	{ .name = "console", .group = G_DEVICES, .arg = "KIND", .key = "console.kind",
	  .help = "serial (default, ttyS0) or virtio (hvc0)",
	  .text = "The word hv is another name of virtio.",
	  .parse = opt_choice, TO(console), .choice = console_choices, .def = "serial" },
	{ .name = "console-port", .group = G_DEVICES, .flags = OPT_REPEAT, .arg = "NAME",
	  .key = "port", .words = &port_options,
	  .help = "port of the virtio console; NAME[,path=SOCKET]",
	  .text = "A stream between /dev/virtio-ports/NAME in the guest and a pty, whose name is shown, "
		  "or a unix socket that takes one client at a time. Repeatable. The parts may have "
		  "names:",
	  .parse = take_port },
	{ .name = "tty", .group = G_DEVICES, .flags = OPT_REPEAT, .arg = "N", .key = "console.tty",
	  .help = "give serial port N (0 to 3) a pty; repeatable",
	  .parse = take_tty, TO(tty_mask), .max = MAP_UART_COUNT - 1 },
	{ .name = "virtio-transport", .group = G_DEVICES, .arg = "BUS",
	  .key = "device.virtio-transport",
	  .help = "bus of the virtio devices: pci or mmio",
	  .text = "The default is pci with --irqchip gicv3-its and mmio with gicv3.",
	  .parse = opt_choice, TO(transport), .choice = transport_choices },
	{ .name = "force-pci", .group = G_DEVICES, .flags = OPT_FLAG,
	  .help = "the same as --virtio-transport pci",
	  .parse = take_force_pci, .same_as = "virtio-transport", .same_value = "pci" },
	{ .name = "virtio-ring", .group = G_DEVICES, .arg = "KIND", .key = "device.virtio-ring",
	  .help = "rings of the devices: split (default) or packed",
	  .text = "With packed the guest may still choose split, and devices served outside of "
		  "realmtool have split ones.",
	  .parse = take_bool, TO(packed), .choice = ring_choices, .def = "split" },
	{ .name = "io-threads", .group = G_DEVICES, .arg = "N", .key = "device.io-threads",
	  .help = "threads for the I/O of all devices",
	  .text = "Without it each disk, network device and the like has a thread of its own. With "
		  "it the queues of all of them are dealt out over N threads; 0 leaves the work to "
		  "the main thread.",
	  .parse = take_io_threads, TO(io_threads), .max = 256 },

	/* Running */
	{ .name = "name", .group = G_RUNNING, .arg = "NAME", .key = "machine.name",
	  .help = "name of the guest (default guest-PID)",
	  .text = "With a config file the default is that file's name.",
	  .parse = take_name, TO(name) },
	{ .name = "no-reboot", .group = G_RUNNING, .flags = OPT_FLAG, .key = "run.no-reboot",
	  .help = "end with 0 when the guest resets",
	  .parse = opt_flag, TO(no_reboot), .def = "no" },
	{ .name = "loglevel", .group = G_RUNNING, .arg = "LEVEL", .key = "run.loglevel",
	  .help = "error, warning, info or debug",
	  .text = "The default is warning, and info when called as lkvm.",
	  .parse = opt_choice, TO(loglevel), .choice = loglevel_choices },
	{ .name = "debug", .group = G_RUNNING, .flags = OPT_FLAG,
	  .help = "the same as --loglevel debug",
	  .parse = take_debug, .same_as = "loglevel", .same_value = "debug" },
	{ .name = "stop-timeout", .group = G_RUNNING, .arg = "S", .key = "run.stop-timeout",
	  .help = "time from its power button to the end by force",
	  .text = "In seconds, 30 without the option. A second SIGTERM does not wait for it, and "
		  "without --power-button nobody does.",
	  .parse = opt_uint, TO(stop_timeout), .max = 86400, .def = "30" },
	{ .name = "ready", .group = G_RUNNING, .arg = "WHEN", .key = "run.ready",
	  .help = "when the guest is up: console, line:REGEX, boot",
	  .text = "What a service manager is told (READY=1 at NOTIFY_SOCKET), and the log at level "
		  "info. console (the default): when there is a first line on its console. "
		  "line:REGEX: when a line, or what there is of the last one, matches this extended "
		  "regular expression. vsock:PORT: when the guest connects to PORT of CID 2 and "
		  "sends a line READY=1, as systemd does with "
		  "vmm.notify_socket=vsock-stream:2:PORT. boot: when its vCPUs run.",
	  .parse = take_ready },
	{ .name = "log-json", .group = G_RUNNING, .flags = OPT_FLAG, .key = "run.log-json",
	  .help = "log JSON on stderr, an object a line",
	  .text = "With time (UTC), level (fatal, error, warning, info or debug), vm (the name) and "
		  "message.",
	  .parse = opt_flag, TO(log_json), .def = "no" },
	{ .name = "gdb", .group = G_RUNNING, .arg = "WHERE", .key = "run.gdb",
	  .help = "serve gdb at a TCP PORT or unix:PATH",
	  .text = "The port is open on the loopback address only. The guest waits for gdb. Not "
		  "for KVM realms, into which nobody can look.",
	  .parse = take_gdb, TO(gdb), .path = "unix:", .flags = OPT_LATER },
	{ .name = "sandbox", .group = G_RUNNING, .arg = "MODE", .key = "sandbox.mode",
	  .help = "sandbox around realmtool (on, audit, off)",
	  .text = "With on, the default, realmtool gives up privileges, files, network and system "
		  "calls that the guest at hand does not need (realmtool-sandboxing(7)); what the "
		  "host does not allow is left out. With audit a forbidden system call is told "
		  "instead of being the end, and the rest of the sandbox only says what it would "
		  "do. Another word is the script of lkvm's option of this name.",
	  .parse = take_sandbox, .choice = sandbox_choices, .def = "on" },
	{ .name = "trace", .group = G_RUNNING, .arg = "FILE", .key = "run.trace",
	  .help = "write a trace of the run, for ui.perfetto.dev",
	  .text = "JSON that Perfetto and chrome://tracing show: the launch in its steps, each exit "
		  "to user space with its reason, device and duration, conversions, I/O requests "
		  "of disks and network devices with their latency, DMA mappings, resets and "
		  "pauses. A busy guest writes a few MiB each second; the file ends at 1 GiB, and "
		  "what is missing is counted in it. It tells what the guest does and when.",
	  .parse = opt_string, TO(trace), .path = "", .flags = OPT_LATER },
	{ .name = "dev", .group = G_RUNNING, .arg = "FILE", .key = "run.kvm-device",
	  .help = "KVM device (default /dev/kvm)",
	  .parse = opt_string, TO(kvm_dev), .path = "" },
	{ .name = "compat", .group = G_RUNNING, .arg = "HOW", .key = "run.compat",
	  .help = "behave as lkvm, or not: off",
	  .text = "The default is lkvm when the program is called as lkvm, lkvm-static or vm, "
		  "else off. With lkvm the log level is info, kernel parameters are appended, and "
		  "a reset ends the run.",
	  .parse = take_bool, TO(lkvm), .choice = compat_choices },
	{ .name = "help", .letter = 'h', .group = G_RUNNING, .flags = OPT_FLAG | OPT_ENDS,
	  .help = "print this list",
	  .parse = take_help, .no_key = "it launches nothing" },

	/* Compatibility: what lkvm and its branches for realms have */
	NOOP("restricted_mem", "private memory from guest_memfd", WHY_GMEM),
	NOOP("guest-memfd", "guest memory from guest_memfd", WHY_GMEM),
	{ .name = "no-pvtime", .group = G_COMPAT, .flags = OPT_FLAG | OPT_NOOP,
	  .help = "no stolen time",
	  .why = "the guest is offered no stolen time",
	  .parse = opt_flag, TO(no_pvtime) },
	NOOP("disable-mte", "no memory tagging", "the guest is offered no memory tagging"),
	NOOP("debug-ioport", "trace I/O ports", "arm64 has no I/O ports"),
	REFUSED("pkvm", NULL, "protected VM of pKVM",
		LATER "use --realm, or leave it out for a VM that nothing protects"),
	REFUSED("protected", NULL, "protected VM of pKVM",
		LATER "use --realm, or leave it out for a VM that nothing protects"),
	{ .name = "viommu", .group = G_COMPAT, .flags = OPT_FLAG,
	  .help = "trusted devices: a warning as lkvm, else refused",
	  .text = WHY_TRUSTED,
	  .parse = opt_flag, TO(trusted_asked), .no_key = NO_TRUSTED },
	{ .name = "iommufd-vdevice", .group = G_COMPAT, .flags = OPT_FLAG,
	  .help = "the same, as older branches call it",
	  .parse = opt_flag, TO(trusted_asked), .no_key = NO_TRUSTED },
	REFUSED("nested", NULL, "KVM in the guest",
		LATER "the guest runs at EL1 only, leave it out"),
	REFUSED("e2h0", NULL, "nested guest without VHE",
		LATER "the guest runs at EL1 only, leave it out"),
	REFUSED("aarch32", NULL, "32-bit guest", "realms are 64-bit: use an arm64 kernel, or lkvm"),
	REFUSED("psci", "VERSION", "version of PSCI",
		"the guest gets the newest PSCI that KVM has: leave it out"),
	REFUSED("counter-offset", "N", "offset of the guest's counter",
		LATER "the guest's counter is the one KVM gives: leave it out"),
	REFUSED("override-bad-firmware-cntfrq", "HZ", "timer frequency in the devicetree",
		"set CNTFRQ_EL0 in the host's firmware, or give a devicetree with --dtb"),
	REFUSED("measurement-log", NULL, "event log in guest memory",
		LATER "it would change the measurement: leave it out"),
	REFUSED("virtio-legacy", NULL, "virtio before 1.0", WHY_LEGACY),
	REFUSED("vnc", NULL, "VNC display", "an arm64 guest has no display: use the console"),
	REFUSED("gtk", NULL, "GTK display", "an arm64 guest has no display: use the console"),
	REFUSED("sdl", NULL, "SDL display", "an arm64 guest has no display: use the console"),
	REFUSED("debug-single-step", NULL, "single step the guest", "use --gdb and its stepi"),
	REFUSED("debug-mmio", NULL, "trace device accesses", "use --trace FILE, which has each of them"),
	REFUSED("debug-iodelay", "MS", "delay I/O", LATER "leave it out"),
};
/* clang-format on */
_Static_assert(ARRAY_SIZE(options) <= OPT_MAX, "raise OPT_MAX");

const struct opt_table run_options = {
	.opt = options,
	.nr = ARRAY_SIZE(options),
	.group = groups,
	.nr_groups = ARRAY_SIZE(groups),
	.word = "kernel",
	.hint = "\"run --help\" lists them all",
};

/* ---- from words to a config -------------------------------------------------------------- */

static bool has_swiotlb(const struct vm_config *c)
{
	return c->swiotlb_mib || (c->params && strstr(c->params, "swiotlb="));
}

/* What is no error, but not what the user may think it is. */
static void tell(const struct vm_config *c, const struct opt_state *st)
{
	opt_log_noops(&run_options, st);
	for (unsigned int i = 0; i < run_options.nr && c->mode == MODE_PLAIN; i++)
		if (st->count[i] && options[i].group == G_REALM)
			log_warning("option --%s has no effect without --realm", options[i].name);
	if (c->trusted_asked)
		log_warning("option --viommu: trusted devices (TDISP) are not built: --vfio-pci gives the "
			    "guest a device for its shared pages only");
	if (opt_given(&run_options, st, "stop-timeout") && !c->power_button)
		log_warning("option --stop-timeout has no effect without --power-button");
	if (c->mode != MODE_PLAIN && c->mem < SWIOTLB_WARN && !has_swiotlb(c))
		log_warning(
			"%" PRIu64 " MiB of RAM are little for a realm: Linux takes 64 MiB of "
			"them for shared I/O buffers; give more with --mem, or make the buffers "
			"smaller with --swiotlb SIZE",
			c->mem / SZ_1M);
}

/*
 * Where lkvm looks if no kernel is named: a build's here or two folders up, the host's own. NULL:
 * there is none.
 */
static char *find_kernel(void)
{
	static const char *const build[] = {
		"Image", "arch/arm64/boot/Image", "../../arch/arm64/boot/Image",
	};
	struct utsname u;
	char *path;

	for (size_t i = 0; i < ARRAY_SIZE(build); i++)
		if (!access(build[i], R_OK))
			return strdup(build[i]);
	if (uname(&u) < 0 || asprintf(&path, "/boot/vmlinuz-%s", u.release) < 0)
		return NULL;
	if (!access(path, R_OK))
		return path;
	free(path);
	return NULL;
}

/* The name of the config file, as far as it can be one of a guest: blue@1 becomes blue-1. */
static int name_after(struct vm_config *c, const char *name, struct err *e)
{
	const struct opt *o = opt_find(&run_options, "name");
	char *text = strdup(name);
	int ret;

	if (!text)
		return err_set(e, -ENOMEM, "out of memory");
	for (char *p = text; *p; p++)
		if (*p == '@')
			*p = '-';
	ret = take_name(o, text, &c->name, e);
	free(text);
	return ret < 0 ? err_prefix(e, "the name of the config file: rename it, or give --name") : 0;
}

int options_apply(struct conf *f, struct vm_config *c, bool lkvm, struct err *e)
{
	struct opt_state st = {0};
	int ret;

	config_defaults(c);
	c->lkvm = lkvm;
	ret = conf_apply(f, &st, c, e);
	if (!ret)
		ret = conf_failed(f, e);
	if (!ret && !c->name && f->name)
		ret = name_after(c, f->name, e);
	if (ret)
		return ret;

	if (c->debug)
		c->loglevel = LOG_DEBUG;
	else if (!opt_given(&run_options, &st, "loglevel"))
		c->loglevel = c->lkvm ? LOG_INFO : LOG_WARNING;
	log_set_level(c->loglevel);
	options_default_net(c);

	c->breakpoints_set = opt_given(&run_options, &st, "breakpoints");
	if (!c->name && asprintf(&c->name, "guest-%d", (int)getpid()) < 0) {
		c->name = NULL;
		return err_set(e, -ENOMEM, "out of memory");
	}
	if (c->log_json)
		log_set_json(c->name);
	if (c->lkvm && c->firmware && c->initrd) {
		/* lkvm goes on; for realmtool it is an error, because an initrd is measured */
		log_warning("option --initrd is ignored: a firmware takes its initrd from a disk");
		free(c->initrd);
		c->initrd = NULL;
	}
	if (c->lkvm && !c->kernel && !c->firmware)
		c->kernel = find_kernel();
	ret = config_check(c, e);
	if (ret < 0)
		return f->path ? err_prefix(e, "%.300s", f->path) : ret;
	tell(c, &st);
	return 0;
}

int options_run(struct vm_config *c, bool lkvm, int argc, char **argv, struct err *e)
{
	struct conf f;
	int ret;

	config_defaults(c);
	conf_init(&f, &run_options);
	ret = conf_args(&f, argc, argv, e);
	if (!ret)
		ret = options_apply(&f, c, lkvm, e);
	conf_free(&f);
	return ret;
}
