// SPDX-License-Identifier: BSD-3-Clause
/* `realmtool check` on the model of KVM and on a made-up tree of files. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fakekvm/fake_rmi.h"
#include "tests/fakekvm/harness.h"
#include "vmm/check.h"
#include "vmm/cmd.h"
#include "vmm/core/err.h"

static struct check c;
static struct check_env env;
static struct check_want want;
static struct err e;
static char root[64];
static int uring_ret;
static char *text, *json;	/* what is printed of the last check */

/* ---- a tree of files ------------------------------------------------------------------------- */

static const char *in_root(const char *path)
{
	static char full[256];

	snprintf(full, sizeof(full), "%s%s", root, path);
	return full;
}

/* The folders above it are made too. */
static void put(const char *path, const char *contents)
{
	char full[256];
	FILE *f;

	snprintf(full, sizeof(full), "%s", in_root(path));
	for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
		*p = '/';
	}
	f = fopen(full, "w");
	assert_non_null(f);
	fputs(contents, f);
	fclose(f);
}

/* A symbolic link; the folders above it are there. */
static void put_link(const char *path, const char *to)
{
	assert_int_equal(symlink(to, in_root(path)), 0);
}

static int gone(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int fake_uring(void)
{
	return uring_ret;
}

/* Only passt is installed. */
static char *fake_find(const char *name)
{
	return strcmp(name, "passt") ? NULL : strdup("/opt/bin/passt");
}

static int setup(void **state)
{
	(void)state;
	fake_reset(&fake_linux_7_3);
	strcpy(root, "/tmp/test_check.XXXXXX");
	if (!mkdtemp(root) || chmod(root, 0755))
		return -1;
	env = (struct check_env){
		.root = root, .release = "7.3.0", .machine = "aarch64", .page_size = 4096,
		.uring = fake_uring, .find = fake_find,
	};
	want = (struct check_want){ NULL };
	uring_ret = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(text);
	free(json);
	text = json = NULL;
	return nftw(root, gone, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- a reader of JSON ------------------------------------------------------------------------ */

static const char *blanks(const char *s)
{
	return s + strspn(s, " \n");
}

static const char *read_string(const char *s)
{
	assert_int_equal(*s, '"');
	for (s++; *s != '"'; s++) {
		assert_true((unsigned char)*s >= 0x20);
		if (*s == '\\')
			assert_true(*++s && strchr("\"\\u", *s));
	}
	return s + 1;
}

/*
 * Checks a value; if @path is a.b.c, *@out becomes where the value of that name begins. Return:
 * behind the value.
 */
static const char *read_value(const char *s, const char *path, const char **out)
{
	size_t n = path ? strcspn(path, ".") : 0;
	char end = *s == '{' ? '}' : ']';

	if (path && !*path)
		*out = s;
	if (*s == '"')
		return read_string(s);
	if (*s != '{' && *s != '[') {
		size_t len = strspn(s, "0123456789");

		if (!len)
			len = !strncmp(s, "true", 4) || !strncmp(s, "null", 4) ? 4 :
			      !strncmp(s, "false", 5) ? 5 : 0;
		assert_int_not_equal(len, 0);
		return s + len;
	}
	s = blanks(s + 1);
	while (*s != end) {
		const char *below = NULL;

		if (end == '}') {
			const char *key = s + 1;

			s = read_string(s);
			if (path && n && !strncmp(key, path, n) && key[n] == '"')
				below = path + n + (path[n] == '.');
			assert_int_equal(*s++, ':');
			s = blanks(s);
		}
		s = blanks(read_value(s, below, out));
		if (*s == ',')
			s = blanks(s + 1);
		else
			assert_int_equal(*s, end);
	}
	return s + 1;
}

/* The text of a value, up to the end of its line and without the comma. */
static const char *value(const char *path)
{
	static char v[512];
	const char *at = NULL;
	const char *end = read_value(json, path, &at);

	assert_string_equal(end, "\n");
	if (!at)
		return "absent";
	if (*at == '[') {
		char *o = v;

		for (; *at != ']'; at++)
			if (*at != '\n' && *at != ' ')
				*o++ = *at;
		strcpy(o, "]");
		return v;
	}
	snprintf(v, sizeof(v), "%.*s", (int)strcspn(at, "\n"), at);
	if (v[0] && v[strlen(v) - 1] == ',')
		v[strlen(v) - 1] = '\0';
	return v;
}

#define assert_value(path, want_) assert_string_equal(value(path), want_)

/* ---- running it ------------------------------------------------------------------------------ */

static char *printed(void (*fn)(const struct check *, FILE *))
{
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	fn(&c, f);
	fclose(f);
	return out;
}

/* Exit code. Nothing may be left behind, no line is too long, both forms come from one table. */
static int run(void)
{
	unsigned int fds = open_fds();

	assert_int_equal(check_collect(&c, &fake_sys, &env, &want, &e), 0);
	assert_int_equal(open_fds(), fds);
	assert_null(fake_verdict());
	free(text);
	free(json);
	text = printed(check_print);
	json = printed(check_json);
	for (const char *s = text; *s; s += strcspn(s, "\n") + 1)
		assert_true(strcspn(s, "\n") <= 100);
	for (unsigned int i = 0; i < c.nr; i++) {
		const struct check_finding *f = &c.f[i];

		assert_true(f->mark == CHECK_UNKNOWN || f->text[0]);
		if (f->mark != CHECK_MISSING)
			continue;
		assert_true(f->stops || f->prevents[0]);
		assert_true(f->helps[0]);
	}
	return check_exit_code(&c);
}

/* The line of the report that has @label. */
static bool says(const char *label, const char *what)
{
	const char *s = text;
	char *line;
	bool yes = false;

	for (; *s && !yes; s += strcspn(s, "\n") + 1) {
		line = strndup(s, strcspn(s, "\n"));
		yes = strlen(line) > 8 && !strncmp(line + 8, label, strlen(label)) &&
			strstr(line, what);
		free(line);
	}
	return yes;
}

/* ---- without KVM ----------------------------------------------------------------------------- */

static void no_device(void **state)
{
	(void)state;
	fake_host.path = "/dev/other";
	assert_int_equal(run(), 2);
	assert_value("exit_code", "2");
	assert_value("kvm.device.state", "\"no\"");
	assert_value("kvm.device.value", "\"/dev/kvm\"");
	assert_value("kvm.gicv3.value", "null");
	assert_value("realm.generation.value", "null");
	assert_null(strstr(text, "GICv3"));
	assert_true(says("  what helps", "CONFIG_KVM"));
	assert_non_null(strstr(text, "No guest can be launched"));

	put("/proc/cmdline", "root=/dev/sda kvm-arm.mode=none quiet\n");
	assert_int_equal(run(), 2);
	assert_true(says("  what helps", "kvm-arm.mode=none"));

	want.kvm_dev = "/dev/other";
	assert_int_equal(run(), 1);
	assert_value("kvm.device.value", "\"/dev/other\"");
}

static void other_machine(void **state)
{
	(void)state;
	fake_host.path = "/dev/other";
	env.machine = "x86_64";
	assert_int_equal(run(), 2);
	assert_value("machine.architecture.value", "\"x86_64\"");
	assert_true(says("architecture", "x86_64"));
	assert_non_null(strstr(text, "(architecture: x86_64)"));

	/* its KVM answers, and knows none of arm64's capabilities */
	fake_host.path = "/dev/kvm";
	fake_host.cap[KVM_CAP_ARM_PSCI_0_2] = fake_host.cap[A64_CAP_VM_IPA_SIZE] = 0;
	assert_int_equal(run(), 2);
	assert_value("kvm.device.state", "\"ok\"");
	assert_value("kvm.arm64.value", "false");
	assert_true(says("for arm64", "another architecture (x86_64)"));
	assert_int_equal(fake_boots(), 0);
}

/* Nobody's and everybody's node; root is let in everywhere, so we are somebody else meanwhile. */
static void denied(void **state)
{
	bool super = geteuid() == 0;
	char group[64];

	(void)state;
	fake_host.open_error = EACCES;
	put("/dev/kvm", "");
	put("/dev/iommu", "");
	snprintf(group, sizeof(group), "other:x:1:\nbroken\nvirt:x:%u:you\n",
		 super ? 4711 : getegid());
	put("/etc/group", group);
	assert_int_equal(chmod(in_root("/dev/kvm"), 0060), 0);
	assert_int_equal(chmod(in_root("/dev/iommu"), 0), 0);
	if (super) {
		assert_int_equal(chown(in_root("/dev/kvm"), 0, 4711), 0);
		assert_int_equal(seteuid(65534), 0);
	}
	assert_int_equal(run(), 2);
	if (super)
		assert_int_equal(seteuid(0), 0);
	assert_true(says("device", "/dev/kvm (group virt, mode 0060): Permission denied"));
	assert_true(says("  what helps", super || getegid() ? "usermod -aG virt USER" : "as root"));
	assert_true(says("iommufd", "Permission denied"));
	assert_value("device.iommufd.value", "false");
	assert_true(says("  what helps", "run as root"));

	/* the node cannot be looked at, in a container perhaps */
	assert_int_equal(remove(in_root("/dev/kvm")), 0);
	assert_int_equal(run(), 2);
	assert_true(says("  what helps", "usermod -aG kvm USER"));

	fake_host.open_error = EBUSY;
	assert_int_equal(run(), 2);
	assert_true(says("device", strerror(EBUSY)));
}

static void wrong_api(void **state)
{
	(void)state;
	fake_host.api_version = 11;
	assert_int_equal(run(), 2);
	assert_value("kvm.device.state", "\"ok\"");
	assert_value("kvm.api.state", "\"no\"");
	assert_value("kvm.api.value", "false");
	fake_host.api_version = KVM_API_VERSION;
	fake_host.run_size = 16;
	assert_int_equal(run(), 2);
	assert_value("kvm.api.state", "\"no\"");
}

/* ---- ordinary arm64 hosts -------------------------------------------------------------------- */

static void linux_6_1(void **state)
{
	(void)state;
	fake_reset(&fake_linux_6_1);
	assert_int_equal(run(), 1);
	assert_value("realms", "false");
	assert_value("emulated_realms", "false");
	assert_value("plain_vms", "true");
	assert_value("kvm.smccc_filter.value", "false");
	assert_true(says("  what helps", "Linux 6.4"));
	assert_non_null(strstr(text, "not even emulated ones"));
}

static void linux_6_12(void **state)
{
	(void)state;
	fake_reset(&fake_linux_6_12);
	assert_int_equal(run(), 1);
	assert_value("emulated_realms", "true");
	assert_value("kvm.guest_memfd.value", "false");
	assert_value("kvm.guest_memfd.state", "\"no\"");
	assert_value("kvm.guest_memfd_flags.value", "null");
	assert_true(says("guest_memfd", "not for ordinary VMs"));
	assert_true(says("  what helps", "Linux 6.18"));
}

static void linux_7_3(void **state)
{
	(void)state;
	put("/dev/kvm", "");
	put("/dev/vfio/vfio", "");
	put("/dev/vfio/7", "");
	put("/dev/vfio/12", "");
	put("/dev/iommu", "");
	put("/dev/net/tun", "");
	put("/dev/vhost-net", "");
	put("/sys/kernel/iommu_groups/0/type", "DMA\n");
	put("/sys/kernel/iommu_groups/1/type", "DMA\n");
	put("/sys/kernel/iommu_groups/10/type", "DMA\n");
	put("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
	put("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "64\n");
	put("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "60\n");
	assert_int_equal(run(), 1);
	assert_value("machine.kernel.value", "\"7.3.0\"");
	assert_value("machine.architecture.value", "\"arm64\"");
	assert_value("machine.page_size.value", "4096");
	assert_value("kvm.api.value", "true");
	assert_value("kvm.ipa_bits.value", "44");
	assert_value("kvm.gicv3.value", "true");
	assert_value("kvm.its.value", "true");
	assert_value("kvm.smccc_filter.value", "true");
	assert_value("kvm.guest_memfd.value", "true");
	assert_value("kvm.guest_memfd_flags.value", "[\"mmap\",\"init-shared\"]");
	assert_value("cpu.pauth.value", "true");
	assert_value("cpu.sve_bits.value", "[\"128\",\"256\",\"512\"]");
	assert_value("cpu.pmu_counters.value", "6");
	assert_value("cpu.breakpoints.value", "6");
	assert_value("cpu.watchpoints.value", "4");
	assert_value("realm.generation.state", "\"no\"");
	assert_value("realm.capability.value", "null");
	assert_value("device.iommu_groups.value", "3");
	assert_value("device.vfio.value", "true");
	assert_true(says("VFIO", "and 2 groups"));
	assert_value("device.iommufd.value", "true");
	assert_value("device.assignable.value", "[]");
	assert_true(says("assignable", "no PCI function is bound"));
	assert_true(says("locked memory", "unlimited") || says("locked memory", "KiB"));
	assert_value("device.tun.value", "true");
	assert_value("device.vhost_net.value", "true");
	assert_value("device.vhost_vsock.value", "false");
	assert_true(says("vhost-vsock", "No such file"));
	assert_value("program.passt.value", "\"/opt/bin/passt\"");
	assert_value("program.virtiofsd.state", "\"no\"");
	assert_true(says("qemu-storage-d.", "not in PATH"));
	assert_value("device.io_uring.value", "true");
	assert_value("device.huge_pages_free.value", "60");
	assert_true(says("huge pages", "transparent: madvise; of 2 MiB for --hugetlbfs: 60 of 64"));
	assert_value("build.libfdt.value", "true");
	assert_non_null(strstr(text, "\nNo realms on this host: only emulated realms"));

	assert_int_equal(remove(in_root("/dev/vfio/7")), 0);
	assert_int_equal(remove(in_root("/dev/vfio/12")), 0);
	assert_int_equal(run(), 1);
	assert_value("device.vfio.state", "\"note\"");
	assert_true(says("VFIO", "no device is bound"));
}

/* Functions that are bound to vfio-pci, and which of them a guest could have. */
static void assignable(void **state)
{
	static const struct {
		const char *name, *driver;
		int group;
		const char *cdev;
	} t[] = {
		{ "0000:01:00.0", "vfio-pci", 7, "vfio0/dev" },
		{ "0000:02:00.0", "nvme", 12, NULL },
		{ "0000:03:00.0", "mlx5_vfio_pci", 13, "vfio1/uevent" },
		{ "0000:04:00.0", "vfio-pci", 14, "vfio2/dev" },
		{ "0000:04:00.1", "snd", 14, NULL },
		{ "0000:05:00.0", "vfio-pci", 15, "vfio3/uevent" },
		{ "0000:06:00.0", "vfio-pci", -1, "vfio4/uevent" },
	};
	char path[128], to[64];

	(void)state;
	put("/dev/vfio/vfio", "");
	put("/dev/vfio/13", "");
	put("/dev/vfio/devices/vfio0", "");
	put("/dev/iommu", "");
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/uevent", t[i].name);
		put(path, "");
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", t[i].name);
		snprintf(to, sizeof(to), "../../drivers/%s", t[i].driver);
		put_link(path, to);
		if (t[i].group >= 0) {
			snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/devices/%s",
				 t[i].group, t[i].name);
			put(path, "");
			snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", t[i].name);
			snprintf(to, sizeof(to), "../../../../kernel/iommu_groups/%d", t[i].group);
			put_link(path, to);
		}
		if (t[i].cdev) {
			snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev/%s", t[i].name,
				 t[i].cdev);
			put(path, "");
		}
	}
	assert_int_equal(run(), 1);
	assert_value("device.assignable.value", "[\"0000:01:00.0\",\"0000:03:00.0\"]");
	assert_value("device.assignable.state", "\"note\"");
	assert_non_null(strstr(value("device.assignable.text"), "0000:01:00.0 (iommufd)"));
	assert_non_null(strstr(value("device.assignable.text"), "0000:03:00.0 (group 13)"));
	assert_non_null(strstr(value("device.assignable.text"), "0000:04:00.0 (the host uses others of "
			       "its group: 0000:04:00.1 (driver snd))"));
	assert_non_null(strstr(value("device.assignable.text"), "0000:05:00.0 (/dev/vfio/15: No such"));
	assert_non_null(strstr(value("device.assignable.text"), "0000:06:00.0 (not behind an IOMMU)"));

	assert_int_equal(remove(in_root("/dev/vfio/vfio")), 0);
	assert_int_equal(remove(in_root("/dev/vfio/devices/vfio0")), 0);
	assert_int_equal(run(), 1);
	assert_value("device.assignable.value", "[]");
}

/* Many devices are cut at a whole name. */
static void assignable_many(void **state)
{
	char path[128], to[64];

	(void)state;
	put("/dev/vfio/vfio", "");
	put("/dev/vfio/7", "");
	put("/sys/kernel/iommu_groups/7/type", "DMA\n");
	for (unsigned int i = 0; i < 32; i++) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/0000:01:%02x.0/uevent", i);
		put(path, "");
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/0000:01:%02x.0/driver", i);
		put_link(path, "../../drivers/vfio-pci");
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/0000:01:%02x.0/iommu_group", i);
		snprintf(to, sizeof(to), "../../../../kernel/iommu_groups/7");
		put_link(path, to);
	}
	assert_int_equal(run(), 1);
	assert_non_null(strstr(value("device.assignable.value"), "\"0000:01:0a.0\"]"));
	assert_non_null(strstr(value("device.assignable.text"), "0000:01:0a.0 (group 7)"));
}

/* A CPU with nothing special, and a kernel with a gap here and there. */
static void poor(void **state)
{
	static const int caps[] = {
		A64_CAP_SVE, A64_CAP_PMU_V3, A64_CAP_PTRAUTH_ADDRESS, A64_CAP_PTRAUTH_GENERIC,
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(caps); i++)
		fake_host.cap[caps[i]] = 0;
	fake_host.features = 0x7;
	fake_host.its = false;
	fake_host.ipa_bits = fake_host.cap[A64_CAP_VM_IPA_SIZE] = 36;
	assert_int_equal(run(), 1);
	assert_value("emulated_realms", "true");
	assert_value("kvm.its.value", "false");
	assert_value("kvm.ipa_bits.value", "36");
	assert_value("cpu.sve_bits.value", "[]");
	assert_value("cpu.sve_bits.state", "\"note\"");
	assert_value("cpu.pmu_counters.value", "0");
	assert_value("cpu.pauth.value", "false");

	fake_host.cap[A64_CAP_NISV_TO_USER] = 0;
	assert_int_equal(run(), 1);
	assert_value("emulated_realms", "false");
	assert_value("plain_vms", "true");

	fake_host.gicv3 = false;
	assert_int_equal(run(), 2);
	assert_value("plain_vms", "false");
	assert_true(says("GICv3", "missing"));
	assert_non_null(strstr(text, "(GICv3: missing)"));
}

static void no_irqfd(void **state)
{
	(void)state;
	fake_host.cap[KVM_CAP_IRQFD] = 0;
	assert_int_equal(run(), 2);
	assert_value("kvm.events.value", "false");
}

static void large_pages(void **state)
{
	(void)state;
	env.page_size = 65536;
	assert_int_equal(run(), 1);
	assert_value("emulated_realms", "false");
	assert_true(says("page size", "64 KiB"));
	assert_true(says("  what helps", "CONFIG_ARM64_4K_PAGES"));
}

/* Number 244 answers 1 where it is KVM_CAP_ARM_RME. */
static void flags_that_are_none(void **state)
{
	(void)state;
	fake_host.cap[KVM_CAP_GUEST_MEMFD_FLAGS] = 1;
	assert_int_equal(run(), 1);
	assert_value("kvm.guest_memfd_flags.state", "\"no\"");
	assert_value("kvm.guest_memfd_flags.value", "[]");
	/* said, and not kept */
	fake_host.cap[KVM_CAP_GUEST_MEMFD_FLAGS] = 3;
	fake_host.gmem_flags = 0;
	assert_int_equal(run(), 1);
	assert_value("kvm.guest_memfd_flags.state", "\"no\"");
}

static void io_uring(void **state)
{
	(void)state;
	uring_ret = -EPERM;
	assert_int_equal(run(), 1);
	assert_true(says("io_uring", "seccomp"));
	put("/proc/sys/kernel/io_uring_disabled", "2\n");
	assert_int_equal(run(), 1);
	assert_true(says("io_uring", "kernel.io_uring_disabled is 2"));
	assert_value("device.io_uring.value", "false");
	put("/proc/sys/kernel/io_uring_disabled", "1\n");
	assert_int_equal(run(), 1);
	assert_true(says("  what helps", "io_uring_group"));
	uring_ret = -ENOSYS;
	assert_int_equal(run(), 1);
	assert_true(says("  what helps", "CONFIG_IO_URING"));
	uring_ret = -ENOMEM;
	assert_int_equal(run(), 1);
	assert_true(says("io_uring", strerror(ENOMEM)));
}

/* What comes from files is shown, not obeyed. */
static void hostile(void **state)
{
	(void)state;
	put("/dev/kvm", "");
	put("/etc/group", "\x1b[31m\"\xff:x:4711:\n");
	if (geteuid() == 0)
		assert_int_equal(chown(in_root("/dev/kvm"), 0, 4711), 0);
	put("/sys/kernel/mm/transparent_hugepage/enabled", "[]]\x1b[2J");
	env.release = "7.3\"\\\n\x1b]0;x\x07";
	assert_int_equal(run(), 1);
	for (const char *s = text; *s; s++)
		assert_true(*s == '\n' || ((unsigned char)*s >= 0x20 && *s != 0x7f));
	assert_value("machine.kernel.value", "\"7.3\\\"\\\\\\u000a\\u001b]0;x\\u0007\"");
}

/* Every call fails once: another answer, never a leak, a crash or a launch that is promised. */
static void each_call_fails(void **state)
{
	static const struct fake_gen *const gens[] = {
		&fake_linux_7_3, &fake_rmi_v10, &fake_rmi_v13, &fake_rmi_v15,
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(gens); i++) {
		unsigned int calls;
		int best;

		fake_reset(gens[i]);
		best = run();
		calls = fake_calls();
		for (unsigned int n = 1; n <= calls; n++) {
			fake_reset(gens[i]);
			fake_fail_nth(n, ENOMEM);
			assert_true(run() >= best);
		}
	}
}

/* ---- hosts with realms ----------------------------------------------------------------------- */

static void realm_hosts(void **state)
{
	static const struct {
		const struct fake_gen *gen;
		const char *name, *cap, *cap_from;
		bool rpv, pmu;
	} t[] = {
		{ &fake_rmi_v8, "\"a\"", "243", "trying", true, true },
		{ &fake_rmi_v10, "\"a\"", "244", "parameter kvm_cap_arm_rme", true, true },
		{ &fake_rmi_v11, "\"a\"", "262", "parameter kvm_cap_arm_rmi", true, true },
		{ &fake_rmi_v12, "\"v12\"", "247", "trying", false, true },
		{ &fake_rmi_v13, "\"v13\"", "248", "trying", false, true },
		{ &fake_rmi_v14, "\"c\"", "249", "trying", false, false },
		{ &fake_rmi_v15, "\"d2\"", "251", "trying", false, false },
		{ &fake_rmi_kamalca, "\"d\"", "253", "trying", false, false },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		fake_reset(t[i].gen);
		assert_int_equal(run(), 0);
		assert_value("realms", "true");
		assert_value("exit_code", "0");
		assert_value("realm.generation.value", t[i].name);
		assert_value("realm.capability.value", t[i].cap);
		assert_true(says("capability", t[i].cap_from));
		assert_value("realm.ipa_bits.value", "42");
		assert_value("realm.personalization.value", t[i].rpv ? "true" : "false");
		assert_value("realm.pmu.value", t[i].pmu ? "true" : "false");
		assert_value("realm.sve_bits.value", "256");
		assert_value("realm.measurement_algos.value", i < 3 ? "[\"sha256\",\"sha512\"]" :
			     "[\"sha256\"]");
		assert_value("realm.breakpoints.value", "6");
		assert_value("realm.watchpoints.value", "4");
		assert_true(says("recognised by", "VM type"));
		assert_true(says("private memory", "guest_memfd") || says("private memory", "VM"));
		assert_non_null(strstr(text, "\nRealms can be launched on this host"));
	}
}

static void no_realms(void **state)
{
	static const struct {
		const struct fake_gen *gen;
		const char *why;
	} t[] = {
		{ &fake_rmi_v14_no_rmm, "RMM" }, { &fake_rmi_plumbing, "v17 to v21" },
		{ &fake_linux_7_3, "KVM host series" },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		fake_reset(t[i].gen);
		assert_int_equal(run(), 1);
		assert_value("realms", "false");
		assert_value("realm.generation.value", "null");
		assert_non_null(strstr(value("realm.generation.what_helps"), t[i].why));
		assert_value("realm.personalization.value", "null");
	}
}

/* A host that could, but for what is around the realm. */
static void almost(void **state)
{
	(void)state;
	fake_reset(&fake_rmi_v14);
	env.page_size = 65536;
	assert_int_equal(run(), 1);
	assert_value("realms", "false");
	assert_value("realm.generation.value", "\"c\"");
	env.page_size = 4096;
	fake_reset(&fake_rmi_v14);
	fake_host.gicv3 = fake_host.its = false;
	assert_int_equal(run(), 2);
	fake_reset(&fake_rmi_v14);
	fake_host.smccc_filter = false;
	assert_int_equal(run(), 0);
	assert_value("emulated_realms", "false");
	assert_non_null(strstr(text, "but no emulated realms"));
}

/* ---- what the user says ---------------------------------------------------------------------- */

static void bad_want(void **state)
{
	(void)state;
	want.host.generation = "nonsense";
	assert_true(check_collect(&c, &fake_sys, &env, &want, &e) < 0);
	assert_non_null(strstr(e.msg, "nonsense"));
	assert_int_equal(fake_calls(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_device, setup, teardown),
		cmocka_unit_test_setup_teardown(other_machine, setup, teardown),
		cmocka_unit_test_setup_teardown(denied, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_api, setup, teardown),
		cmocka_unit_test_setup_teardown(linux_6_1, setup, teardown),
		cmocka_unit_test_setup_teardown(linux_6_12, setup, teardown),
		cmocka_unit_test_setup_teardown(linux_7_3, setup, teardown),
		cmocka_unit_test_setup_teardown(assignable, setup, teardown),
		cmocka_unit_test_setup_teardown(assignable_many, setup, teardown),
		cmocka_unit_test_setup_teardown(poor, setup, teardown),
		cmocka_unit_test_setup_teardown(no_irqfd, setup, teardown),
		cmocka_unit_test_setup_teardown(large_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(flags_that_are_none, setup, teardown),
		cmocka_unit_test_setup_teardown(io_uring, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile, setup, teardown),
		cmocka_unit_test_setup_teardown(each_call_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(realm_hosts, setup, teardown),
		cmocka_unit_test_setup_teardown(no_realms, setup, teardown),
		cmocka_unit_test_setup_teardown(almost, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_want, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
