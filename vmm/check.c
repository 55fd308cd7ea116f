// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "vfio/iommu.h"
#include "vfio/sys.h"
#include "vfio/sysfs.h"
#include "vmm/cmd.h"
#include "vmm/core/err.h"
#include "vmm/core/parse.h"
#include "vmm/helper.h"
#include "vmm/sandbox.h"

#define SVE_VQ_BITS	128
#define SVE_VQ_MAX	16		/* 2048 bits: the architecture's limit */
#define PMCR_N_SHIFT	11
#define PMCR_N_MASK	0x1f
#define DFR0_BRPS_SHIFT	12		/* ID_AA64DFR0_EL1: number - 1 of each */
#define DFR0_WRPS_SHIFT	20
#define VM_BITS_DEFAULT	40		/* width of a VM of type 0 */

#ifndef KVM_CAP_ARM_MTE			/* Linux 5.13 */
#define KVM_CAP_ARM_MTE	205
#endif

enum {
	F_KERNEL, F_ARCH, F_PAGE_SIZE,
	F_DEVICE, F_API, F_KVM_ARCH, F_VM, F_IPA, F_VCPUS, F_GIC, F_ITS, F_EVENTS, F_EXITS,
	F_SMCCC, F_GMEM, F_GMEM_FLAGS,
	F_VCPU, F_PAUTH, F_SVE, F_PMU, F_BRPS, F_WRPS, F_MTE,
	F_GEN, F_SERIES, F_HOW, F_CAP, F_PRIVACY, F_R_IPA, F_ALGOS, F_RPV, F_R_SVE, F_R_PMU,
	F_R_BRPS, F_R_WRPS,
	F_IOMMU, F_VFIO, F_IOMMUFD, F_ASSIGNABLE, F_MEMLOCK,
	F_TUN, F_VHOST, F_VSOCK, F_URING, F_HUGE,
	F_NAMESPACES, F_LANDLOCK, F_SECCOMP,
	F_PASST, F_VIRTIOFSD, F_QSD,
	F_VERSION,
	F_NR,
};

/* clang-format off */
static const struct {
	const char *section, *key, *label;
	enum check_kind kind;
} defs[F_NR] = {
	[F_KERNEL] =	{ "machine", "kernel", "kernel", CHECK_STR },
	[F_ARCH] =	{ "machine", "architecture", "architecture", CHECK_STR },
	[F_PAGE_SIZE] =	{ "machine", "page_size", "page size", CHECK_NUM },
	[F_DEVICE] =	{ "kvm", "device", "device", CHECK_STR },
	[F_API] =	{ "kvm", "api", "API", CHECK_BOOL },
	[F_KVM_ARCH] =	{ "kvm", "arm64", "for arm64", CHECK_BOOL },
	[F_VM] =	{ "kvm", "vm", "VM", CHECK_BOOL },
	[F_IPA] =	{ "kvm", "ipa_bits", "IPA space", CHECK_NUM },
	[F_VCPUS] =	{ "kvm", "max_vcpus", "vCPUs", CHECK_NUM },
	[F_GIC] =	{ "kvm", "gicv3", "GICv3", CHECK_BOOL },
	[F_ITS] =	{ "kvm", "its", "GICv3 ITS", CHECK_BOOL },
	[F_EVENTS] =	{ "kvm", "events", "irqfd, ioeventfd", CHECK_BOOL },
	[F_EXITS] =	{ "kvm", "exits", "exits and events", CHECK_BOOL },
	[F_SMCCC] =	{ "kvm", "smccc_filter", "SMCCC filter", CHECK_BOOL },
	[F_GMEM] =	{ "kvm", "guest_memfd", "guest_memfd", CHECK_BOOL },
	[F_GMEM_FLAGS] = { "kvm", "guest_memfd_flags", "guest_memfd flags", CHECK_LIST },
	[F_VCPU] =	{ "cpu", "vcpu", "vCPU", CHECK_BOOL },
	[F_PAUTH] =	{ "cpu", "pauth", "pointer auth.", CHECK_BOOL },
	[F_SVE] =	{ "cpu", "sve_bits", "SVE", CHECK_LIST },
	[F_PMU] =	{ "cpu", "pmu_counters", "PMU", CHECK_NUM },
	[F_BRPS] =	{ "cpu", "breakpoints", "breakpoints", CHECK_NUM },
	[F_WRPS] =	{ "cpu", "watchpoints", "watchpoints", CHECK_NUM },
	[F_MTE] =	{ "cpu", "mte", "memory tagging", CHECK_BOOL },
	[F_GEN] =	{ "realm", "generation", "RMI generation", CHECK_STR },
	[F_SERIES] =	{ "realm", "series", "spoken by", CHECK_STR },
	[F_HOW] =	{ "realm", "recognised_by", "recognised by", CHECK_STR },
	[F_CAP] =	{ "realm", "capability", "capability", CHECK_NUM },
	[F_PRIVACY] =	{ "realm", "private_memory", "private memory", CHECK_STR },
	[F_R_IPA] =	{ "realm", "ipa_bits", "IPA space", CHECK_NUM },
	[F_ALGOS] =	{ "realm", "measurement_algos", "measurement", CHECK_LIST },
	[F_RPV] =	{ "realm", "personalization", "personalization", CHECK_BOOL },
	[F_R_SVE] =	{ "realm", "sve_bits", "SVE", CHECK_NUM },
	[F_R_PMU] =	{ "realm", "pmu", "PMU", CHECK_BOOL },
	[F_R_BRPS] =	{ "realm", "breakpoints", "breakpoints", CHECK_NUM },
	[F_R_WRPS] =	{ "realm", "watchpoints", "watchpoints", CHECK_NUM },
	[F_IOMMU] =	{ "device", "iommu_groups", "IOMMU groups", CHECK_NUM },
	[F_VFIO] =	{ "device", "vfio", "VFIO", CHECK_BOOL },
	[F_IOMMUFD] =	{ "device", "iommufd", "iommufd", CHECK_BOOL },
	[F_ASSIGNABLE] = { "device", "assignable", "assignable", CHECK_LIST },
	[F_MEMLOCK] =	{ "device", "locked_memory", "locked memory", CHECK_STR },
	[F_TUN] =	{ "device", "tun", "tap", CHECK_BOOL },
	[F_VHOST] =	{ "device", "vhost_net", "vhost-net", CHECK_BOOL },
	[F_VSOCK] =	{ "device", "vhost_vsock", "vhost-vsock", CHECK_BOOL },
	[F_URING] =	{ "device", "io_uring", "io_uring", CHECK_BOOL },
	[F_HUGE] =	{ "device", "huge_pages_free", "huge pages", CHECK_NUM },
	[F_NAMESPACES] = { "sandbox", "namespaces", "namespaces", CHECK_BOOL },
	[F_LANDLOCK] =	{ "sandbox", "landlock_abi", "Landlock", CHECK_NUM },
	[F_SECCOMP] =	{ "sandbox", "seccomp", "filters of system calls", CHECK_BOOL },
	[F_PASST] =	{ "program", "passt", "passt", CHECK_STR },
	[F_VIRTIOFSD] =	{ "program", "virtiofsd", "virtiofsd", CHECK_STR },
	[F_QSD] =	{ "program", "qemu_storage_daemon", "qemu-storage-d.", CHECK_STR },
	[F_VERSION] =	{ "build", "version", "version", CHECK_STR },
};
/* clang-format on */

/* ---- filling the table ----------------------------------------------------------------------- */

static struct check_finding *found(struct check *c, int id, enum check_mark mark, uint64_t num,
				   const char *fmt, ...) PRINTF_LIKE(5, 6);
static void lacks(struct check_finding *f, unsigned int stops, const char *prevents,
		  const char *fmt, ...) PRINTF_LIKE(4, 5);

static struct check_finding *found(struct check *c, int id, enum check_mark mark, uint64_t num,
				   const char *fmt, ...)
{
	struct check_finding *f = &c->f[id];
	va_list ap;

	f->mark = mark;
	f->num = num;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	return f;
}

/* Text and value are the same string. */
static struct check_finding *found_str(struct check *c, int id, enum check_mark mark,
				       const char *str)
{
	struct check_finding *f = found(c, id, mark, 0, "%s", str);

	snprintf(f->str, sizeof(f->str), "%s", str);
	return f;
}

static void lacks(struct check_finding *f, unsigned int stops, const char *prevents,
		  const char *fmt, ...)
{
	va_list ap;

	f->stops = stops;
	snprintf(f->prevents, sizeof(f->prevents), "%s", prevents ? prevents : "");
	va_start(ap, fmt);
	vsnprintf(f->helps, sizeof(f->helps), fmt, ap);
	va_end(ap);
}

static void word(char *list, size_t size, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void word(char *list, size_t size, const char *fmt, ...)
{
	size_t n = strlen(list);
	va_list ap;

	if (n && n + 1 < size) {
		list[n++] = ' ';
		list[n] = '\0';
	}
	va_start(ap, fmt);
	vsnprintf(list + n, size - n, fmt, ap);
	va_end(ap);
}

/* ---- files ----------------------------------------------------------------------------------- */

static const char *at_root(const struct check_env *env, const char *path, char out[4096])
{
	snprintf(out, 4096, "%s%s", env->root ? env->root : "", path);
	return out;
}

/* The first bytes of a file, as text without the newline at the end. Return: length or -errno */
static int read_file(const struct check_env *env, const char *path, char *buf, size_t size)
{
	char full[4096];
	int fd = open(at_root(env, path, full), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n;
	int ret;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	ret = n < 0 ? -errno : (int)n;
	close(fd);
	buf[MAX(n, 0)] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return ret;
}

static int read_number(const struct check_env *env, const char *path, uint64_t *out)
{
	char text[32];
	int ret = read_file(env, path, text, sizeof(text));

	return ret < 0 ? ret : parse_u64(text, out);
}

/* Entries of a folder whose name begins with one of @first. Return: number or -errno */
static int count_entries(const struct check_env *env, const char *path, const char *first)
{
	char full[4096];
	DIR *d = opendir(at_root(env, path, full));
	struct dirent *de;
	int n = 0;

	if (!d)
		return -errno;
	while ((de = readdir(d)))
		n += strchr(first, de->d_name[0]) != NULL;
	closedir(d);
	return n;
}

/*
 * Name of a group, from the file: getgrgid() would load shared libraries into a static program.
 * Groups from a directory service stay numbers.
 */
static void group_name(const struct check_env *env, gid_t gid, char *out, size_t size)
{
	char full[4096], line[1024];
	FILE *f = fopen(at_root(env, "/etc/group", full), "re");

	snprintf(out, size, "%u", gid);
	while (f && fgets(line, sizeof(line), f)) {
		char *rest = line, *name = strsep(&rest, ":"), *number;
		uint64_t v;

		strsep(&rest, ":");
		number = strsep(&rest, ":");
		if (number && *name && !parse_u64(number, &v) && v == gid) {
			snprintf(out, size, "%s", name);
			break;
		}
	}
	if (f)
		fclose(f);
}

/**
 * struct node - a device node and what the user may do with it
 * @ret:   0: read and write; -ENOENT, -EACCES, ...
 * @text:  path, group and mode
 * @grant: how to get at it, if that is missing
 */
struct node {
	int ret;
	char text[160];
	char grant[224];
};

static void look(const struct check_env *env, const char *path, struct node *n)
{
	char full[4096], group[64];
	struct stat st;

	memset(n, 0, sizeof(*n));
	snprintf(n->text, sizeof(n->text), "%.80s", path);
	if (stat(at_root(env, path, full), &st) < 0) {
		n->ret = -errno;
		return;
	}
	group_name(env, st.st_gid, group, sizeof(group));
	snprintf(n->text, sizeof(n->text), "%.80s (group %.40s, mode %04o)", path, group,
		 (unsigned int)st.st_mode & 07777);
	/* The kernel's own answer: modes alone know nothing of ACLs and capabilities. */
	if (!faccessat(AT_FDCWD, full, R_OK | W_OK, AT_EACCESS))
		return;
	n->ret = -errno;
	if (st.st_gid && (st.st_mode & 060) == 060)
		snprintf(n->grant, sizeof(n->grant), "join its group: usermod -aG %.40s USER, then log "
			 "in again", group);
	else
		snprintf(n->grant, sizeof(n->grant), "run as root, or give the node to a group: chgrp "
			 "GROUP %.60s; chmod 660 %.60s (a udev rule makes it last)", path, path);
}

/* ---- the machine ----------------------------------------------------------------------------- */

#define BED "or rehearse in the test bed (make run)"

static void machine(struct check *c, const struct check_env *env)
{
	const char *release = env->release, *mach = env->machine;
	struct check_finding *f;
	struct utsname uts;
	long page;

	if ((!release || !mach) && uname(&uts) == 0) {
		release = release ? release : uts.release;
		mach = mach ? mach : uts.machine;
	}
	if (release)
		found_str(c, F_KERNEL, CHECK_OK, release);
	if (mach && strcmp(mach, "aarch64")) {
		f = found_str(c, F_ARCH, CHECK_MISSING, mach);
		lacks(f, CHECK_ALL, NULL, "an arm64 machine, %s", BED);
	} else if (mach) {
		found_str(c, F_ARCH, CHECK_OK, "arm64");
	}
	page = env->page_size ? env->page_size : sysconf(_SC_PAGESIZE);
	f = found(c, F_PAGE_SIZE, CHECK_OK, page, "%ld KiB", page / 1024);
	if (page != (long)GRANULE_SIZE) {
		f->mark = CHECK_MISSING;
		lacks(f, CHECK_REALM | CHECK_EMULATED, NULL, "a kernel with CONFIG_ARM64_4K_PAGES: "
		      "pages change sides in granules of 4 KiB");
	}
}

/* ---- KVM ------------------------------------------------------------------------------------- */

static void device_missing(struct check *c, const struct check_env *env, const char *path, int ret,
			   const struct node *n, const struct err *why)
{
	struct check_finding *f;
	char cmdline[2048];

	f = found(c, F_DEVICE, CHECK_MISSING, 0, "%s: %s", n->text, strerror(-ret));
	snprintf(f->str, sizeof(f->str), "%s", path);
	if (ret == -EACCES || ret == -EPERM) {
		lacks(f, CHECK_ALL, NULL, "%s", n->grant[0] ? n->grant :
		      "membership in its group: usermod -aG kvm USER, then log in again");
	} else if (ret != -ENOENT && ret != -ENODEV && ret != -ENXIO) {
		found(c, F_DEVICE, CHECK_MISSING, 0, "%.250s", why->msg);
		lacks(f, CHECK_ALL, NULL, "the kernel's log may tell more (dmesg)");
	} else if (read_file(env, "/proc/cmdline", cmdline, sizeof(cmdline)) > 0 &&
		   strstr(cmdline, "kvm-arm.mode=none")) {
		lacks(f, CHECK_ALL, NULL, "a boot without kvm-arm.mode=none, which is on this "
		      "kernel's command line");
	} else {
		lacks(f, CHECK_ALL, NULL, "a kernel with CONFIG_KVM, started at EL2, %s", BED);
	}
}

/* Opens KVM. Return: is it there, and is it arm64's? */
static bool open_kvm(struct check *c, struct kvm *k, const struct kvm_sys *sys,
		     const struct check_env *env, const struct check_want *w)
{
	const char *path = w->kvm_dev ? w->kvm_dev : "/dev/kvm";
	struct err why = { 0 };
	struct check_finding *f;
	struct node n;
	int ret;

	look(env, path, &n);
	ret = kvm_open(k, sys, path, &why);
	/* kvm_open()'s own codes: the device is there and does not answer as KVM does */
	if (ret < 0 && ret != -ENOSYS && ret != -EINVAL) {
		device_missing(c, env, path, ret, &n, &why);
		return false;
	}
	f = found(c, F_DEVICE, CHECK_OK, 0, "%s", n.text);
	snprintf(f->str, sizeof(f->str), "%s", path);
	if (ret < 0) {
		f = found(c, F_API, CHECK_MISSING, 0, "%.250s", why.msg);
		lacks(f, CHECK_ALL, NULL, "KVM's device node (char 10:232), or another --dev");
		return false;
	}
	found(c, F_API, CHECK_OK, true, "version %d", KVM_API_VERSION);
	/* arm64 has had the first since Linux 3.18, and the second since 4.20 */
	if (!kvm_cap_sys(k, KVM_CAP_ARM_PSCI_0_2) && !kvm_cap_sys(k, A64_CAP_VM_IPA_SIZE)) {
		f = found(c, F_KVM_ARCH, CHECK_MISSING, false, "this is the KVM of another "
			  "architecture%s%s%s", c->f[F_ARCH].str[0] ? " (" : "", c->f[F_ARCH].str,
			  c->f[F_ARCH].str[0] ? ")" : "");
		lacks(f, CHECK_ALL, NULL, "an arm64 machine, %s", BED);
		kvm_close(k);
		return false;
	}
	found(c, F_KVM_ARCH, CHECK_OK, true, "yes");
	return true;
}

static bool has_device(struct kvm *k, unsigned int type)
{
	struct kvm_create_device cd = { .type = type, .flags = KVM_CREATE_DEVICE_TEST };

	return kvm_ioctl_vm(k, KVM_CREATE_DEVICE, &cd) == 0;
}

static void guest_memfd(struct check *c, struct kvm *k)
{
	static const struct {
		uint64_t flag;
		const char *name;
	} names[] = {
		{ GUEST_MEMFD_FLAG_MMAP, "mmap" },
		{ GUEST_MEMFD_FLAG_INIT_SHARED, "init-shared" },
	};
	uint64_t want = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED, flags;
	struct check_finding *f;
	int fd = -1;

	if (!kvm_cap(k, KVM_CAP_GUEST_MEMFD)) {
		f = found(c, F_GMEM, CHECK_MISSING, false, "not for ordinary VMs");
		lacks(f, 0, "separate private memory in emulated realms", "Linux 6.18 or later");
		return;
	}
	found(c, F_GMEM, CHECK_OK, true, "for ordinary VMs");
	/*
	 * Number 244 was KVM_CAP_ARM_RME once, and then it answers 1. A guest_memfd with the flags
	 * is the proof, and closed at once.
	 */
	flags = kvm_cap(k, KVM_CAP_GUEST_MEMFD_FLAGS);
	if ((flags & want) == want) {
		fd = kvm_gmem_create(k, SZ_2M, want, NULL);
		if (fd >= 0)
			k->sys->close(fd);
	}
	if (fd < 0) {
		f = found(c, F_GMEM_FLAGS, CHECK_MISSING, 0, "not mmap and init-shared together");
		lacks(f, 0, "separate private memory in emulated realms", "Linux 6.18 or later");
		return;
	}
	f = found(c, F_GMEM_FLAGS, CHECK_OK, 0, "%s", "");
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		if (flags & names[i].flag)
			word(f->str, sizeof(f->str), "%s", names[i].name);
	snprintf(f->text, sizeof(f->text), "%s", f->str);
}

/* What realm/emulated.c and the devices ask of KVM. */
static void needs(struct check *c, struct kvm *k)
{
	struct check_finding *f;

	if (kvm_cap_sys(k, KVM_CAP_IRQFD) && kvm_cap_sys(k, KVM_CAP_IOEVENTFD)) {
		found(c, F_EVENTS, CHECK_OK, true, "yes");
	} else {
		f = found(c, F_EVENTS, CHECK_MISSING, false, "missing");
		lacks(f, CHECK_ALL, NULL, "Linux 4.0 or later, with CONFIG_EVENTFD");
	}
	if (kvm_cap_sys(k, A64_CAP_NISV_TO_USER) && kvm_cap_sys(k, KVM_CAP_ONE_REG) &&
	    kvm_cap_sys(k, KVM_CAP_VCPU_EVENTS)) {
		found(c, F_EXITS, CHECK_OK, true, "NISV to user space, registers, vCPU events");
	} else {
		f = found(c, F_EXITS, CHECK_MISSING, false, "NISV to user space, registers or vCPU "
			  "events are missing");
		lacks(f, CHECK_EMULATED, NULL, "Linux 5.5 or later");
	}
	if (kvm_has_attr(k, k->vm, A64_VM_SMCCC_GROUP, A64_VM_SMCCC_FILTER)) {
		found(c, F_SMCCC, CHECK_OK, true, "yes");
	} else {
		f = found(c, F_SMCCC, CHECK_MISSING, false, "missing (KVM_ARM_VM_SMCCC_FILTER)");
		lacks(f, CHECK_EMULATED, NULL, "Linux 6.4 or later");
	}
	if (has_device(k, KVM_DEV_TYPE_ARM_VGIC_V3)) {
		found(c, F_GIC, CHECK_OK, true, "in the kernel");
	} else {
		f = found(c, F_GIC, CHECK_MISSING, false, "missing");
		lacks(f, CHECK_ALL, NULL, "a machine with GICv3 or later");
		return;
	}
	if (has_device(k, KVM_DEV_TYPE_ARM_VGIC_ITS)) {
		found(c, F_ITS, CHECK_OK, true, "in the kernel");
	} else {
		f = found(c, F_ITS, CHECK_MISSING, false, "missing");
		lacks(f, 0, "message signalled interrupts; guests without --irqchip gicv3",
		      "Linux 4.8 or later");
	}
}

/* A vCPU with all that KVM offers, to see what that is; it never runs. */
static void vcpu(struct check *c, struct kvm *k)
{
	bool pauth = kvm_cap(k, A64_CAP_PTRAUTH_ADDRESS) && kvm_cap(k, A64_CAP_PTRAUTH_GENERIC);
	bool sve = kvm_cap(k, A64_CAP_SVE), pmu = kvm_cap(k, A64_CAP_PMU_V3);
	struct a64_vcpu_init init = { 0 };
	struct check_finding *f;
	struct kvm_vcpu v;
	uint64_t val, vls[8] = { 0 };
	int ret;

	ret = kvm_ioctl_vm(k, A64_PREFERRED_TARGET, &init);
	memset(init.features, 0, sizeof(init.features));
	init.features[0] = 1U << A64_VCPU_PSCI_0_2;
	if (pauth)
		init.features[0] |= 1U << A64_VCPU_PTRAUTH_ADDRESS | 1U << A64_VCPU_PTRAUTH_GENERIC;
	if (sve)
		init.features[0] |= 1U << A64_VCPU_SVE;
	if (pmu)
		init.features[0] |= 1U << A64_VCPU_PMU_V3;
	if (!ret)
		ret = kvm_vcpu_create(k, 0, &v, NULL);
	if (ret < 0) {
		f = found(c, F_VCPU, CHECK_MISSING, false, "none: %s", strerror(-ret));
		lacks(f, CHECK_ALL, NULL, "free memory and descriptors; dmesg may tell more");
		return;
	}
	ret = kvm_vcpu_ioctl(&v, A64_VCPU_INIT, &init);
	if (ret < 0) {
		f = found(c, F_VCPU, CHECK_MISSING, false, "features %#x are refused: %s",
			  init.features[0], strerror(-ret));
		lacks(f, CHECK_ALL, NULL, "a report to the makers of this kernel, which offers each of them");
		goto close_vcpu;
	}
	found(c, F_VCPU, CHECK_OK, true, "can be created");
	found(c, F_PAUTH, pauth ? CHECK_OK : CHECK_NOTE, pauth, "%s", pauth ? "yes" :
	      "not on this CPU (Armv8.3) or in this kernel: guests do without");
	f = found(c, F_SVE, CHECK_NOTE, 0, "not on this CPU: guests do without (--sve-max-vl)");
	if (sve && !kvm_reg_io(&v, A64_SVE_VLS, vls, false)) {
		for (unsigned int vq = 1; vq <= SVE_VQ_MAX; vq++)
			if (vls[(vq - 1) / 64] >> (vq - 1) % 64 & 1)
				word(f->str, sizeof(f->str), "%u", vq * SVE_VQ_BITS);
		found(c, F_SVE, CHECK_OK, 0, "vectors of %s bits", f->str);
	}
	found(c, F_PMU, CHECK_NOTE, 0, "not offered: guests do without (--pmu)");
	if (pmu && !kvm_get_reg(&v, A64_PMCR_EL0, &val)) {
		val = val >> PMCR_N_SHIFT & PMCR_N_MASK;
		found(c, F_PMU, CHECK_OK, val, "%u event counters", (unsigned int)val);
	}
	if (!kvm_get_reg(&v, A64_ID_AA64DFR0_EL1, &val)) {
		unsigned int b = (val >> DFR0_BRPS_SHIFT & 0xf) + 1;
		unsigned int w = (val >> DFR0_WRPS_SHIFT & 0xf) + 1;

		found(c, F_BRPS, CHECK_OK, b, "%u", b);
		found(c, F_WRPS, CHECK_OK, w, "%u", w);
	}
	ret = kvm_cap(k, KVM_CAP_ARM_MTE);
	found(c, F_MTE, CHECK_NOTE, ret, ret ? "offered; no guest of realmtool's uses it" :
	      "not offered, and not needed");

close_vcpu:
	kvm_vcpu_close(&v);
}

/* All that is asked of an ordinary VM, which is gone afterwards. */
static void ordinary_vm(struct check *c, struct kvm *k)
{
	int bits = kvm_cap_sys(k, A64_CAP_VM_IPA_SIZE);
	int max = kvm_cap_sys(k, KVM_CAP_MAX_VCPUS);
	struct check_finding *f;
	int ret;

	found(c, F_IPA, CHECK_OK, bits, "up to %d bits", bits);
	if (!bits) {
		f = found(c, F_IPA, CHECK_MISSING, VM_BITS_DEFAULT, "%d bits, fixed",
			  VM_BITS_DEFAULT);
		lacks(f, CHECK_ALL, NULL, "Linux 4.20 or later");
	}
	found(c, F_VCPUS, CHECK_OK, max, "up to %d", max);
	ret = kvm_vm_create(k, A64_VM_TYPE_IPA_SIZE(MIN(bits, VM_BITS_DEFAULT)), NULL);
	if (ret < 0) {
		f = found(c, F_VM, CHECK_MISSING, false, "none: %s", strerror(-ret));
		lacks(f, CHECK_ALL, NULL, "free memory and descriptors; dmesg may tell more");
		return;
	}
	found(c, F_VM, CHECK_OK, true, "can be created");
	needs(c, k);
	guest_memfd(c, k);
	vcpu(c, k);
	k->sys->close(k->vm);
	k->vm = -1;
}

/* ---- realms ---------------------------------------------------------------------------------- */

static void algorithms(struct check *c, unsigned int algos)
{
	static const struct {
		enum realm_hash algo;
		const char *name;
	} names[] = {
		{ REALM_SHA256, "sha256" }, { REALM_SHA384, "sha384" }, { REALM_SHA512, "sha512" },
	};
	struct check_finding *f = found(c, F_ALGOS, CHECK_OK, 0, "%s", "");
	char none[64] = "";

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		if (algos & 1U << names[i].algo)
			word(f->str, sizeof(f->str), "%s", names[i].name);
		else
			word(none, sizeof(none), "%s", names[i].name);
	snprintf(f->text, sizeof(f->text), "%s%s%s", f->str, none[0] ? "; not " : "", none);
	if (none[0])
		f->mark = CHECK_NOTE;
}

static void counted(struct check *c, int id, unsigned int n, const char *what, const char *option)
{
	if (n)
		found(c, id, CHECK_OK, n, "up to %u", n);
	else
		found(c, id, CHECK_NOTE, 0, "number of %s not known before a launch (%s)", what, option);
}

static int realms(struct check *c, struct kvm *k, const struct check_want *w, struct err *e)
{
	struct realm_host h;
	struct check_finding *f;
	int ret;

	memset(&h, 0, sizeof(h));
	ret = realm_host_probe(k, &w->host, &h, e);
	if (ret < 0)
		return ret;
	if (!h.realms) {
		f = found(c, F_GEN, CHECK_MISSING, 0, "none: this kernel offers no realms");
		lacks(f, CHECK_REALM, NULL, "%s", h.why);
		return 0;
	}
	found_str(c, F_GEN, CHECK_OK, h.generation);
	found_str(c, F_SERIES, CHECK_OK, h.series);
	found_str(c, F_HOW, CHECK_OK, h.how);
	if (h.cap > 0)
		found(c, F_CAP, CHECK_OK, h.cap, "number %d%s%s%s", h.cap, h.cap_from[0] ? " (" : "",
		      h.cap_from, h.cap_from[0] ? ")" : "");
	else
		found(c, F_CAP, CHECK_NOTE, 0, "number not known, and not needed");
	found_str(c, F_PRIVACY, CHECK_OK, h.privacy ? h.privacy : "");
	found(c, F_R_IPA, CHECK_OK, h.ipa_bits, "up to %u bits, the shared bit among them",
	      h.ipa_bits);
	algorithms(c, h.algos);
	if (h.rpv) {
		found(c, F_RPV, CHECK_OK, true, "up to 64 bytes");
	} else {
		f = found(c, F_RPV, CHECK_MISSING, false, "this generation cannot set it");
		lacks(f, 0, "--realm-pv", "a kernel of the series v5 to v11");
	}
	if (h.sve_vl)
		found(c, F_R_SVE, CHECK_OK, h.sve_vl, "vectors up to %u bits", h.sve_vl);
	else
		found(c, F_R_SVE, CHECK_NOTE, 0, "none in realms: they do without (--sve-max-vl)");
	if (h.pmu) {
		found(c, F_R_PMU, CHECK_OK, true, "yes");
	} else {
		f = found(c, F_R_PMU, CHECK_MISSING, false, h.pmu_possible ? "not on this host" :
			  "not in realms of this generation");
		lacks(f, 0, "--pmu in realms", h.pmu_possible ? "a PMU that KVM can use (PMUv3)" :
		      "a kernel of the series v5 to v13");
	}
	counted(c, F_R_BRPS, h.breakpoints, "breakpoints", "--breakpoints");
	counted(c, F_R_WRPS, h.watchpoints, "watchpoints", "--watchpoints");
	return 0;
}

/* ---- devices of the host --------------------------------------------------------------------- */

static void device_node(struct check *c, const struct check_env *env, int id, const char *path,
			const char *prevents, const char *helps)
{
	struct check_finding *f;
	struct node n;

	look(env, path, &n);
	if (!n.ret) {
		found(c, id, CHECK_OK, true, "%s", n.text);
		return;
	}
	f = found(c, id, CHECK_MISSING, false, "%s: %s", n.text, strerror(-n.ret));
	lacks(f, 0, prevents, "%s", n.grant[0] ? n.grant : helps);
}

/* How could a guest get this function? In words for people. Return: it could */
static bool assign_how(const struct check *c, const struct check_env *env,
		       const struct vfio_sys *sys, const struct host_pci *p, char *out, size_t size)
{
	char path[64], with[96], names[96];
	struct node n;

	if (p->noiommu || !p->grouped) {
		snprintf(out, size, "not behind an IOMMU");
		return false;
	}
	if (sysfs_group_others(sys, p->group, with, sizeof(with), names, sizeof(names))) {
		snprintf(out, size, "the host uses others of its group: %s", with);
		return false;
	}
	if (p->cdev[0] && c->f[F_IOMMUFD].mark == CHECK_OK) {
		snprintf(path, sizeof(path), "/dev/vfio/devices/%s", p->cdev);
		look(env, path, &n);
		if (!n.ret) {
			snprintf(out, size, "iommufd");
			return true;
		}
	}
	snprintf(path, sizeof(path), "/dev/vfio/%u", p->group);
	look(env, path, &n);
	if (n.ret)
		snprintf(out, size, "%s: %s", path, strerror(-n.ret));
	else
		snprintf(out, size, "group %u", p->group);
	return !n.ret && c->f[F_VFIO].mark != CHECK_MISSING;
}

/* What is bound to a VFIO driver, and whether --vfio-pci would take it. */
static void assignable(struct check *c, const struct check_env *env)
{
	char sysfs[4096], full[4096], how[160];
	struct vfio_sys sys = { .sysfs = at_root(env, "/sys", sysfs) };
	struct check_finding *f = found(c, F_ASSIGNABLE, CHECK_OK, 0, "%s", "");
	struct dirent **list;
	int n = scandir(at_root(env, "/sys/bus/pci/devices", full), &list, NULL, alphasort);
	unsigned int bound = 0;

	for (int i = 0; i < n; i++) {
		struct host_pci p;

		if (sysfs_pci_read(&sys, list[i]->d_name, &p) == 0 && sysfs_is_vfio(&p)) {
			bool ok = assign_how(c, env, &sys, &p, how, sizeof(how));

			bound++;
			/* whole words only, there can be hundreds */
			if (ok && strlen(f->str) + sizeof(p.name) + 1 < sizeof(f->str))
				word(f->str, sizeof(f->str), "%s", p.name);
			if (strlen(f->text) + strlen(p.name) + strlen(how) + 5 < sizeof(f->text))
				word(f->text, sizeof(f->text), "%s (%s)", p.name, how);
			if (!ok)
				f->mark = CHECK_NOTE;
		}
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	if (!bound)
		found(c, F_ASSIGNABLE, CHECK_NOTE, 0, "none: no PCI function is bound to vfio-pci "
		      "(--vfio-pci DEVICE says how)");
}

/* All memory that an assigned device can reach is locked: a plain VM's whole memory. */
static void memlock(struct check *c)
{
	struct check_finding *f;
	struct rlimit rl;

	if (getrlimit(RLIMIT_MEMLOCK, &rl) < 0)
		return;
	if (iommu_memlock(UINT64_MAX, NULL) == 0) {
		found_str(c, F_MEMLOCK, CHECK_OK, "unlimited");
		return;
	}
	f = found(c, F_MEMLOCK, CHECK_NOTE, 0, "%" PRIu64 " KiB: assigned devices reach no more of a "
		  "guest's memory (ulimit -l, LimitMEMLOCK= of a unit)", (uint64_t)rl.rlim_cur / 1024);
	snprintf(f->str, sizeof(f->str), "%" PRIu64 " KiB", (uint64_t)rl.rlim_cur / 1024);
}

static void vfio(struct check *c, const struct check_env *env)
{
	int groups = count_entries(env, "/sys/kernel/iommu_groups", "0123456789");
	struct check_finding *f;

	if (groups > 0) {
		found(c, F_IOMMU, CHECK_OK, groups, "%d", groups);
	} else {
		f = found(c, F_IOMMU, CHECK_MISSING, 0, "none: no IOMMU is in use");
		lacks(f, 0, "assigning devices to guests", "an SMMUv3, and its driver (CONFIG_ARM_SMMU_V3)");
	}
	device_node(c, env, F_VFIO, "/dev/vfio/vfio", "assigning devices to guests through VFIO's "
		    "containers", "modprobe vfio-pci (CONFIG_VFIO_PCI, CONFIG_VFIO_CONTAINER)");
	f = &c->f[F_VFIO];
	groups = count_entries(env, "/dev/vfio", "0123456789");
	if (f->mark == CHECK_OK && groups > 0) {
		word(f->text, sizeof(f->text), "and %d group%s", groups, groups == 1 ? "" : "s");
	} else if (f->mark == CHECK_OK) {
		word(f->text, sizeof(f->text), "and no group: no device is bound to vfio-pci");
		f->mark = CHECK_NOTE;
	}
	device_node(c, env, F_IOMMUFD, "/dev/iommu", "assigning devices to guests through iommufd",
		    "modprobe iommufd (CONFIG_IOMMUFD, CONFIG_VFIO_DEVICE_CDEV, Linux 6.6 or later)");
	if (c->f[F_IOMMU].mark == CHECK_OK) {
		assignable(c, env);
		memlock(c);
	}
}

static void devices(struct check *c, const struct check_env *env)
{
	device_node(c, env, F_TUN, "/dev/net/tun", "network devices of guests on taps (--network tap)",
		    "modprobe tun (CONFIG_TUN)");
	device_node(c, env, F_VHOST, "/dev/vhost-net", "network I/O of guests in the kernel",
		    "modprobe vhost_net (CONFIG_VHOST_NET)");
	device_node(c, env, F_VSOCK, "/dev/vhost-vsock", "vsock by the host's kernel (--vsock CID); "
		    "with path=SOCKET it is not needed", "modprobe vhost_vsock (CONFIG_VHOST_VSOCK)");
}

/* Programs of others that realmtool starts for some devices. */
static void programs(struct check *c, const struct check_env *env)
{
	static const struct {
		int id;
		const char *name, *prevents, *package;
	} progs[] = {
		{ F_PASST, "passt", "--network user", "passt" },
		{ F_VIRTIOFSD, "virtiofsd", "--fs DIR,TAG; --9p does without", "virtiofsd" },
		{ F_QSD, "qemu-storage-daemon", "--disk FILE,format=qcow2", "qemu-utils" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(progs); i++) {
		char *path = (env->find ? env->find : helper_find)(progs[i].name);
		struct check_finding *f;

		if (path) {
			found_str(c, progs[i].id, CHECK_OK, path);
		} else {
			f = found(c, progs[i].id, CHECK_MISSING, 0, "not in PATH");
			lacks(f, 0, progs[i].prevents, "a package like Debian's %s",
			      progs[i].package);
		}
		free(path);
	}
}


/* Not through liburing, which a build can lack. The ring is gone with its descriptor. */
static int try_uring(uint32_t flags)
{
	struct io_uring_params p = { .flags = flags };
	long fd;

	fd = syscall(SYS_io_uring_setup, 1, &p);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

#define NO_URING "io_uring for disks: ordinary reads and writes take its place"

static void uring(struct check *c, const struct check_env *env)
{
	static const char path[] = "/proc/sys/kernel/io_uring_disabled";
	int ret = env->uring ? env->uring() : try_uring(0);
	struct check_finding *f;
	uint64_t off = 0;

	if (!ret) {
		/* the two flags of a ring that blkio.c restricts */
		found(c, F_URING, CHECK_OK, true, "%s", env->uring ||
		      !try_uring(IORING_SETUP_R_DISABLED | IORING_SETUP_COOP_TASKRUN) ? "yes" :
		      "yes, but not restricted to what disks need (Linux 5.19)");
		return;
	}
	f = found(c, F_URING, CHECK_MISSING, false, "%s", strerror(-ret));
	if (ret == -ENOSYS) {
		found(c, F_URING, CHECK_MISSING, false, "the kernel has none");
		lacks(f, 0, NO_URING, "a kernel with CONFIG_IO_URING");
	} else if (ret == -EPERM && !read_number(env, path, &off) && off) {
		found(c, F_URING, CHECK_MISSING, false, "the host forbids it: "
		      "kernel.io_uring_disabled is %" PRIu64, off);
		lacks(f, 0, NO_URING, off == 1 ?
		      "membership in the group that kernel.io_uring_group names, or sysctl "
		      "kernel.io_uring_disabled=0" : "sysctl kernel.io_uring_disabled=0");
	} else if (ret == -EPERM) {
		found(c, F_URING, CHECK_MISSING, false, "a seccomp filter or security module forbids "
		      "it");
		lacks(f, 0, NO_URING, "another profile for this container or service");
	} else {
		lacks(f, 0, NO_URING, "free memory, and a larger limit for locked memory (ulimit -l)");
	}
}

static void huge_pages(struct check *c, const struct check_env *env)
{
	char text[128], *on, *end;
	uint64_t nr = 0, idle = 0;
	const char *thp = "none";

	if (read_file(env, "/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof(text)) > 0) {
		on = strchr(text, '[');
		end = on ? strchr(on, ']') : NULL;
		if (end) {
			*end = '\0';
			thp = on + 1;
		}
	}
	if (read_number(env, "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", &nr) < 0 ||
	    read_number(env, "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", &idle) < 0)
		nr = idle = 0;
	found(c, F_HUGE, CHECK_NOTE, idle, "transparent: %s; of 2 MiB for --hugetlbfs: %" PRIu64
	      " of %" PRIu64 " are free", thp, idle, nr);
}

/* ---- sandbox --------------------------------------------------------------------------------- */

static void sandbox(struct check *c, const struct check_env *env)
{
	struct sandbox_host h;
	struct check_finding *f;

	if (env->sandbox)
		env->sandbox(&h);
	else
		sandbox_probe(&h);
	if (!h.namespaces) {
		found(c, F_NAMESPACES, CHECK_OK, true, "an empty root, no network%s", h.admin ? "" :
		      " (in a user namespace; not with --9p)");
	} else {
		f = found(c, F_NAMESPACES, CHECK_MISSING, false, "not for this user: %s",
			  strerror(-h.namespaces));
		lacks(f, 0, "stage b of the sandbox: guests run without", "user namespaces: sysctl "
		      "user.max_user_namespaces, kernel.unprivileged_userns_clone, "
		      "kernel.apparmor_restrict_unprivileged_userns");
	}
	if (h.landlock > 0) {
		found(c, F_LANDLOCK, CHECK_OK, h.landlock, "ABI %d", h.landlock);
	} else {
		f = found(c, F_LANDLOCK, CHECK_MISSING, 0, "%s", h.landlock == -EOPNOTSUPP ?
			  "switched off" : "the kernel has none");
		lacks(f, 0, "stage c of the sandbox: guests run without", h.landlock == -EOPNOTSUPP ?
		      "landlock in the boot parameter lsm=" : "a kernel with CONFIG_SECURITY_LANDLOCK");
	}
	if (!h.seccomp) {
		found(c, F_SECCOMP, CHECK_OK, true, "yes");
	} else {
		f = found(c, F_SECCOMP, CHECK_MISSING, false, "%s", strerror(-h.seccomp));
		lacks(f, 0, "stage d of the sandbox: guests run without",
		      "a kernel with CONFIG_SECCOMP_FILTER");
	}
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void build(struct check *c)
{
	found_str(c, F_VERSION, CHECK_OK, realmtool_version);
	for (const struct build_lib *lib = build_libs; lib->name && c->nr < CHECK_MAX; lib++) {
		struct check_finding *f = &c->f[c->nr++];

		*f = (struct check_finding){
			.section = "build",
			.key = lib->name,
			.label = lib->name,
			.mark = lib->there ? CHECK_OK : CHECK_MISSING,
			.num = lib->there,
		};
		snprintf(f->text, sizeof(f->text), "%s", lib->there ? "yes" : "built without it");
		if (!lib->there)
			lacks(f, 0, lib->without, "a build of realmtool where %s can be linked",
			      lib->name);
	}
}

static void sum_up(struct check *c)
{
	const struct check_finding *first = NULL;
	bool brief;

	c->can = CHECK_ALL;
	for (unsigned int i = 0; i < c->nr; i++) {
		if (c->f[i].mark != CHECK_MISSING)
			continue;
		c->can &= ~c->f[i].stops;
		if (c->f[i].stops & CHECK_PLAIN && !first)
			first = &c->f[i];
	}
	brief = first && strlen(first->text) < 50;	/* it stays a line */
	if (first) {
		c->can = 0;
		snprintf(c->summary, sizeof(c->summary), "No guest can be launched on this host (%s%s%.50s).",
			 first->label, brief ? ": " : "", brief ? first->text : "");
	} else if (c->can & CHECK_REALM) {
		snprintf(c->summary, sizeof(c->summary), "Realms can be launched on this host%s.",
			 c->can & CHECK_EMULATED ? ", and emulated realms and plain VMs" :
			 ", and plain VMs, but no emulated realms");
	} else {
		snprintf(c->summary, sizeof(c->summary), "No realms on this host: %s.",
			 c->can & CHECK_EMULATED ? "only emulated realms (--realm=emulated) and plain "
			 "VMs can be launched" : "not even emulated ones, only plain VMs can be "
			 "launched");
	}
}

int check_collect(struct check *c, const struct kvm_sys *sys, const struct check_env *env,
		  const struct check_want *want, struct err *e)
{
	static const struct check_env host;
	struct kvm k;
	int ret;

	memset(c, 0, sizeof(*c));
	env = env ? env : &host;
	for (c->nr = 0; c->nr < F_NR; c->nr++)
		c->f[c->nr] = (struct check_finding){
			.section = defs[c->nr].section,
			.key = defs[c->nr].key,
			.label = defs[c->nr].label,
			.kind = defs[c->nr].kind,
		};
	ret = realm_host_check_want(&want->host, e);
	if (ret < 0)
		return ret;
	machine(c, env);
	if (open_kvm(c, &k, sys, env, want)) {
		ordinary_vm(c, &k);
		ret = realms(c, &k, want, e);
		kvm_close(&k);
		if (ret < 0)
			return ret;
	}
	vfio(c, env);
	devices(c, env);
	uring(c, env);
	huge_pages(c, env);
	sandbox(c, env);
	programs(c, env);
	build(c);
	sum_up(c);
	return 0;
}

int check_exit_code(const struct check *c)
{
	return c->can & CHECK_REALM ? 0 : c->can ? 1 : 2;
}

const char *check_stops(unsigned int stops)
{
	static const char *const names[CHECK_ALL + 1] = {
		[CHECK_PLAIN] = "plain VMs",
		[CHECK_EMULATED] = "emulated realms (--realm=emulated)",
		[CHECK_PLAIN | CHECK_EMULATED] = "emulated realms and plain VMs",
		[CHECK_REALM] = "realms (--realm)",
		[CHECK_REALM | CHECK_PLAIN] = "realms and plain VMs",
		[CHECK_REALM | CHECK_EMULATED] = "realms, emulated ones too",
		[CHECK_ALL] = "every guest: realms, emulated realms and plain VMs",
	};

	return names[stops & CHECK_ALL] ? names[stops & CHECK_ALL] : "";
}

const char *check_mark_name(enum check_mark mark)
{
	static const char *const names[] = {
		[CHECK_UNKNOWN] = "unknown",
		[CHECK_OK] = "ok",
		[CHECK_NOTE] = "note",
		[CHECK_MISSING] = "no",
	};

	return names[mark];
}
