// SPDX-License-Identifier: BSD-3-Clause
/*
 * Hosts that lack something: each gets one line that names it and what helps. Then the thin calls
 * above the seam, and the rules of the model that the other tests rely on.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fakekvm/harness.h"

static struct rig rig;
static bool in_use;

static void begin(const struct fake_gen *gen, enum realm_mode mode)
{
	fake_reset(gen);
	rig_init(&rig, mode);
	in_use = true;
}

static int clean_up(void **state)
{
	(void)state;
	capture_end();
	if (in_use)
		rig_fini(&rig);
	in_use = false;
	return 0;
}

static void finish(void)
{
	in_use = false;
	rig_fini(&rig);
	assert_null(fake_verdict());
}

/* The machine cannot be made, and the line has all of these words (up to NULL). */
static void refused(int code, ...)
{
	const char *word;
	va_list ap;
	int ret;

	capture_begin();
	ret = rig_create(&rig);
	capture_end();
	assert_int_equal(ret, code);
	assert_int_equal(rig.e.code, code);
	va_start(ap, code);
	while ((word = va_arg(ap, const char *)))
		if (!strstr(rig.e.msg, word))
			fail_msg("\"%s\" does not say \"%s\"", rig.e.msg, word);
	va_end(ap);
	finish();
}

static void works(void)
{
	capture_begin();
	if (rig_create(&rig))
		fail_msg("%s", rig.e.msg);
	capture_end();
	finish();
}

/* ---- /dev/kvm -------------------------------------------------------------------------------- */

static void missing(void **state)
{
	static const int gone[] = { ENOENT, ENODEV, ENXIO };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(gone); i++) {
		begin(&fake_linux_7_3, MODE_PLAIN);
		fake_host.open_error = gone[i];
		refused(-gone[i], "/dev/kvm is missing", "test bed", NULL);
	}
	begin(&fake_linux_7_3, MODE_PLAIN);
	rig.cfg.kvm_dev = strdup("/dev/kvm2");
	refused(-ENOENT, "/dev/kvm2 is missing", NULL);
	begin(&fake_linux_7_3, MODE_PLAIN);
	fake_host.path = "/dev/kvm2";
	rig.cfg.kvm_dev = strdup("/dev/kvm2");
	works();
}

static void forbidden(void **state)
{
	(void)state;
	begin(&fake_linux_7_3, MODE_PLAIN);
	fake_host.open_error = EACCES;
	refused(-EACCES, "/dev/kvm", "permission denied", "group kvm", NULL);
	begin(&fake_linux_7_3, MODE_EMULATED);
	fake_host.open_error = EPERM;
	refused(-EPERM, "/dev/kvm", "group kvm", NULL);
	begin(&fake_linux_7_3, MODE_PLAIN);
	fake_host.open_error = EMFILE;
	refused(-EMFILE, "/dev/kvm", strerror(EMFILE), NULL);
}

static void not_kvm(void **state)
{
	(void)state;
	begin(&fake_linux_7_3, MODE_PLAIN);
	fake_host.api_version = 11;
	refused(-ENOSYS, "/dev/kvm", "API version 12", NULL);
	/* another device altogether */
	begin(&fake_linux_7_3, MODE_PLAIN);
	fake_fail_ioctl(KVM_GET_API_VERSION, 1, ENOTTY);
	refused(-ENOSYS, "is it KVM at all", NULL);
	begin(&fake_linux_7_3, MODE_PLAIN);
	fake_host.run_size = 16;
	refused(-EINVAL, "run area of 16 bytes", NULL);
}

/* ---- capabilities ---------------------------------------------------------------------------- */

static void lacks(void **state)
{
	static const struct {
		int cap;
		const char *name, *version;
	} need[] = {
		{ A64_CAP_NISV_TO_USER, "KVM_CAP_ARM_NISV_TO_USER", "Linux 5.5" },
		{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD", "Linux " },
		{ KVM_CAP_ONE_REG, "KVM_CAP_ONE_REG", "Linux 3." },
		{ KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS", "Linux 4." },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(need); i++) {
		begin(&fake_linux_7_3, MODE_EMULATED);
		fake_host.cap[need[i].cap] = 0;
		refused(-EOPNOTSUPP, need[i].name, need[i].version, NULL);
	}
	/* what only a realm needs does not bother a plain VM */
	begin(&fake_linux_6_1, MODE_PLAIN);
	fake_host.cap[A64_CAP_NISV_TO_USER] = 0;
	works();
	begin(&fake_linux_6_1, MODE_EMULATED);
	refused(-EOPNOTSUPP, "KVM_ARM_VM_SMCCC_FILTER", "Linux 6.4", NULL);
	begin(&fake_linux_6_12, MODE_EMULATED);
	works();
}

static void no_gic(void **state)
{
	(void)state;
	begin(&fake_linux_7_3, MODE_PLAIN);
	fake_host.gicv3 = false;
	refused(-ENODEV, "GICv3", "KVM_DEV_TYPE_ARM_VGIC_V3", NULL);
	for (enum realm_mode mode = MODE_PLAIN; mode <= MODE_EMULATED; mode++) {
		begin(&fake_linux_7_3, mode);
		fake_host.its = false;
		refused(-ENODEV, "ITS", "--irqchip gicv3", NULL);
		begin(&fake_linux_7_3, mode);
		fake_host.its = false;
		rig.cfg.irqchip = IRQCHIP_GICV3;
		works();
	}
}

static void ipa_width(void **state)
{
	(void)state;
	begin(&fake_linux_7_3, MODE_EMULATED);
	fake_host.ipa_bits = fake_host.cap[A64_CAP_VM_IPA_SIZE] = 36;
	rig.cfg.ipa_bits = 40;
	refused(-E2BIG, "at most 36 bits", "40", "--ipa-bits", NULL);
	begin(&fake_linux_7_3, MODE_EMULATED);
	fake_host.ipa_bits = fake_host.cap[A64_CAP_VM_IPA_SIZE] = 36;
	rig.cfg.ipa_bits = 36;
	works();
	/* RAM that does not fit: 3 GiB need a bit more in a realm */
	begin(&fake_linux_7_3, MODE_EMULATED);
	fake_host.ipa_bits = fake_host.cap[A64_CAP_VM_IPA_SIZE] = 33;
	rig.cfg.mem = 3 * SZ_1G;
	refused(-E2BIG, "at most 33 bits", "34", NULL);
	begin(&fake_linux_7_3, MODE_EMULATED);
	rig.cfg.mem = 3 * SZ_1G;
	rig.cfg.ipa_bits = 33;
	assert_int_equal(layout_make(&rig.cfg, &rig.files, 0, &rig.layout, &rig.e), -EINVAL);
	assert_non_null(strstr(rig.e.msg, "use --ipa-bits 34"));
	finish();
	/* a kernel so old that it has no choice of widths answers 0 and refuses the type itself */
	begin(&fake_linux_6_1, MODE_PLAIN);
	fake_host.cap[A64_CAP_VM_IPA_SIZE] = 0;
	fake_host.ipa_bits = 31;
	refused(-EINVAL, "KVM_CREATE_VM", NULL);
}

static void too_many_cpus(void **state)
{
	(void)state;
	begin(&fake_linux_7_3, MODE_PLAIN);
	fake_host.max_vcpus = fake_host.cap[KVM_CAP_MAX_VCPUS] = 4;
	rig.cfg.cpus = 5;
	refused(-EINVAL, "-c 5", "at most 4", NULL);
	begin(&fake_linux_7_3, MODE_PLAIN);
	fake_host.max_vcpus = 4;	/* KVM promises more than it keeps */
	rig.cfg.cpus = 5;
	refused(-EINVAL, "vCPU 4", NULL);
	begin(&fake_linux_7_3, MODE_EMULATED);
	rig.cfg.cpus = CFG_CPUS_MAX;
	works();
}

static void strange_cpus(void **state)
{
	(void)state;
	begin(&fake_linux_7_3, MODE_PLAIN);
	fake_host.strange_mpidr = true;
	refused(-EINVAL, "MPIDR", "devicetree", NULL);
}

static void sve(void **state)
{
	(void)state;
	begin(&fake_linux_7_3, MODE_PLAIN);
	fake_host.cap[A64_CAP_SVE] = 0;
	rig.cfg.sve_max_vl = 128;
	refused(-EOPNOTSUPP, "--sve-max-vl", "KVM_CAP_ARM_SVE", "Linux 5.2", NULL);
	begin(&fake_linux_7_3, MODE_PLAIN);
	rig.cfg.sve_max_vl = 384;	/* this CPU has 128, 256 and 512 */
	refused(-EINVAL, "--sve-max-vl 384", NULL);
	begin(&fake_linux_7_3, MODE_PLAIN);
	rig.cfg.sve_max_vl = 1024;
	refused(-EINVAL, "--sve-max-vl 1024", NULL);
	begin(&fake_linux_7_3, MODE_EMULATED);
	rig.cfg.cpus = 2;
	rig.cfg.sve_max_vl = 256;
	capture_begin();
	assert_int_equal(rig_create(&rig), 0);
	capture_end();
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t vls[8];

		assert_int_equal(kvm_reg_io(&rig.m.vcpu[i].k, A64_SVE_VLS, vls, false), 0);
		assert_int_equal(vls[0], 3);	/* 512 is gone */
	}
	finish();
}

static void pmu(void **state)
{
	(void)state;
	begin(&fake_linux_7_3, MODE_PLAIN);
	fake_host.cap[A64_CAP_PMU_V3] = 0;
	rig.cfg.pmu = true;
	refused(-EOPNOTSUPP, "--pmu", "KVM_CAP_ARM_PMU_V3", "Linux 4.6", NULL);
	begin(&fake_linux_7_3, MODE_PLAIN);
	rig.cfg.pmu = true;
	rig.cfg.pmu_counters = 7;
	refused(-EINVAL, "--pmu-counters 7", "6", "Linux 6.7", NULL);
	begin(&fake_linux_7_3, MODE_PLAIN);
	rig.cfg.pmu = true;
	rig.cfg.pmu_counters = 6;
	works();
}

/* Without pointer authentication in the host the guest has none; half of it does not count. */
static void pauth(void **state)
{
	(void)state;
	begin(&fake_linux_7_3, MODE_PLAIN);
	fake_host.cap[A64_CAP_PTRAUTH_GENERIC] = 0;
	fake_host.features &= ~(1U << A64_VCPU_PTRAUTH_GENERIC);
	works();
	begin(&fake_linux_7_3, MODE_PLAIN);
	assert_int_equal(rig_create(&rig), 0);
	assert_true(rig.m.init.features[0] & 1U << A64_VCPU_PTRAUTH_ADDRESS);
	finish();
}

/* guest_memfd is used where it is of use, and named in no error where it is not. */
static void private_memory(void **state)
{
	(void)state;
	begin(&fake_linux_7_3, MODE_EMULATED);
	fake_host.cap[KVM_CAP_GUEST_MEMFD_FLAGS] = GUEST_MEMFD_FLAG_MMAP;
	capture_begin();
	assert_int_equal(rig_create(&rig), 0);
	capture_end();
	assert_int_equal(rig.m.realm.gmem_fd, -1);
	assert_int_equal(fake_count(KVM_CREATE_GUEST_MEMFD), 0);
	finish();
	begin(&fake_linux_7_3, MODE_EMULATED);
	fake_fail_ioctl(KVM_CREATE_GUEST_MEMFD, 1, ENOMEM);
	capture_begin();
	assert_int_equal(rig_create(&rig), 0);
	capture_end();
	assert_int_equal(rig.m.realm.gmem_fd, -1);
	finish();
}

/* ---- the calls above the seam ---------------------------------------------------------------- */

static struct kvm kvm;
static uint8_t *mem;

#define MEM_SIZE (16 * SZ_4K)

static int setup(void **state)
{
	struct err e;

	(void)state;
	fake_reset(&fake_linux_7_3);
	assert_int_equal(kvm_open(&kvm, &fake_sys, NULL, &e), 0);
	assert_int_equal(kvm_vm_create(&kvm, A64_VM_TYPE_IPA_SIZE(33), &e), 0);
	mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(mem, MAP_FAILED);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kvm_close(&kvm);
	munmap(mem, MEM_SIZE);
	assert_null(fake_verdict());
	return 0;
}

static int slot(unsigned int n, ipa_t ipa, uint64_t size, void *host, int gmem, uint64_t off)
{
	struct kvm_slot s = {
		.slot = n, .ipa = ipa, .size = size, .host = host, .gmem = gmem, .gmem_off = off,
	};
	struct err e = { 0 };
	int ret = kvm_set_slot(&kvm, &s, &e);

	if (ret)
		assert_non_null(strstr(e.msg, strerror(-ret)));
	return ret;
}

static void memslots(void **state)
{
	ipa_t at = 0x80000000;

	(void)state;
	assert_int_equal(slot(0, at, 4 * SZ_4K, mem, -1, 0), 0);
	assert_int_equal(fake_slots(), 1);
	/* overlap, before and behind; neighbours are fine */
	assert_int_equal(slot(1, at + 3 * SZ_4K, 2 * SZ_4K, mem, -1, 0), -EEXIST);
	assert_int_equal(slot(1, at - SZ_4K, 2 * SZ_4K, mem, -1, 0), -EEXIST);
	assert_int_equal(slot(1, at + 4 * SZ_4K, SZ_4K, mem, -1, 0), 0);
	/* alignment */
	assert_int_equal(slot(2, at + SZ_1M + 1, SZ_4K, mem, -1, 0), -EINVAL);
	assert_int_equal(slot(2, at + SZ_1M, SZ_4K + 1, mem, -1, 0), -EINVAL);
	assert_int_equal(slot(2, at + SZ_1M, SZ_4K, mem + 1, -1, 0), -EINVAL);
	/* another size or backing: no; another place: yes, unless somebody is there */
	assert_int_equal(slot(1, at + 4 * SZ_4K, 2 * SZ_4K, mem, -1, 0), -EINVAL);
	assert_int_equal(slot(1, at + 4 * SZ_4K, SZ_4K, mem + SZ_4K, -1, 0), -EINVAL);
	assert_int_equal(slot(1, at + 8 * SZ_4K, SZ_4K, mem, -1, 0), 0);
	assert_int_equal(slot(1, at, SZ_4K, mem, -1, 0), -EEXIST);
	/* the last page of the space, and the first behind it */
	assert_int_equal(slot(2, (UINT64_C(1) << 33) - SZ_4K, SZ_4K, mem, -1, 0), 0);
	assert_int_equal(slot(3, UINT64_C(1) << 33, SZ_4K, mem, -1, 0), -EFAULT);
	assert_int_equal(slot(32767, at + SZ_1M, SZ_4K, mem, -1, 0), -EINVAL);
	/* delete: once */
	assert_int_equal(slot(1, at, 0, NULL, -1, 0), 0);
	assert_int_equal(slot(1, at, 0, NULL, -1, 0), -EINVAL);
	assert_false(fake_slot_at(at + 8 * SZ_4K));
}

static void gmem(void **state)
{
	uint64_t flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED, v = 0;
	ipa_t at = 0x80000000;
	struct err e;
	uint64_t *p;
	int fd;

	(void)state;
	assert_int_equal(kvm_gmem_create(&kvm, SZ_1M + 1, flags, &e), -EINVAL);
	assert_int_equal(kvm_gmem_create(&kvm, 0, flags, &e), -EINVAL);
	assert_int_equal(kvm_gmem_create(&kvm, SZ_1M, 1 << 5, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "guest_memfd of 1 MiB (flags 0x20)"));
	fd = kvm_gmem_create(&kvm, 8 * SZ_4K, flags, &e);
	assert_true(fd >= 0);
	assert_int_equal(slot(0, at, 4 * SZ_4K, mem, fd, 0), 0);
	/* private slots never change; a page of the file is in one slot; the file has an end */
	assert_int_equal(slot(0, at + SZ_1M, 4 * SZ_4K, mem, fd, 0), -EINVAL);
	assert_int_equal(slot(1, at + SZ_1M, SZ_4K, mem, fd, 3 * SZ_4K), -EINVAL);
	assert_int_equal(slot(1, at + SZ_1M, 5 * SZ_4K, mem, fd, 4 * SZ_4K), -EINVAL);
	assert_int_equal(slot(1, at + SZ_1M, SZ_4K, mem, kvm.vm, 0), -EINVAL);
	assert_int_equal(slot(1, at + SZ_1M, SZ_4K, mem, 12345678, 0), -EBADF);
	assert_int_equal(slot(1, at + SZ_1M, 4 * SZ_4K, mem, fd, 4 * SZ_4K), 0);
	/* the guest sees the file, not the userspace address */
	p = fake_sys.mmap(SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED, fd, SZ_4K);
	assert_ptr_not_equal(p, MAP_FAILED);
	*p = 42;
	assert_true(fake_mem(at + SZ_4K, &v, sizeof(v)));
	assert_int_equal(v, 42);
	assert_int_equal(mem[SZ_4K], 0);
	fake_sys.munmap(p, SZ_4K);
	/* only whole pages are punched, and then they are zero */
	assert_int_equal(fake_sys.fallocate(fd, 3, SZ_4K, 100), -EINVAL);
	assert_int_equal(fake_sys.fallocate(fd, 2, SZ_4K, SZ_4K), -EOPNOTSUPP);
	assert_int_equal(fake_sys.fallocate(fd, 3, SZ_4K, SZ_4K), 0);
	assert_true(fake_mem(at + SZ_4K, &v, sizeof(v)));
	assert_int_equal(v, 0);
	fake_sys.close(fd);
}

static int attr(int fd, uint32_t group, uint64_t nr, const void *val)
{
	return kvm_set_attr(&kvm, fd, group, nr, val);
}

static void events(void **state)
{
	int ev = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t dist = 0x3fff0000, redist = UINT64_C(1) << 52 | 0x3ffd0000, odd = 0x3fff1000;
	uint32_t irqs = 128, bad_irqs = 100;
	struct kvm_vcpu v;
	struct err e;
	int gic;

	(void)state;
	assert_int_equal(kvm_irqfd(&kvm, ev, 0, &e), -EAGAIN);
	assert_non_null(strstr(e.msg, "SPI 0"));
	assert_int_equal(kvm_irq_line(&kvm, 0, 1), -ENXIO);
	assert_int_equal(kvm_vcpu_create(&kvm, 0, &v, &e), 0);
	gic = kvm_device_create(&kvm, KVM_DEV_TYPE_ARM_VGIC_V3, &e);
	assert_true(gic >= 0);
	assert_int_equal(kvm_device_create(&kvm, KVM_DEV_TYPE_ARM_VGIC_V3, &e), -EEXIST);
	assert_int_equal(kvm_device_create(&kvm, KVM_DEV_TYPE_ARM_VGIC_V2, &e), -ENODEV);
	assert_int_equal(attr(gic, A64_GIC_GRP_ADDR, A64_GIC_ADDR_DIST, &odd), -EINVAL);
	assert_int_equal(attr(gic, A64_GIC_GRP_ADDR, A64_GIC_ADDR_DIST, &dist), 0);
	assert_int_equal(attr(gic, A64_GIC_GRP_ADDR, A64_GIC_ADDR_DIST, &dist), -EEXIST);
	assert_int_equal(attr(gic, A64_GIC_GRP_ADDR, A64_GIC_ADDR_REDIST_REGION, &redist), 0);
	assert_int_equal(attr(gic, A64_GIC_GRP_NR_IRQS, 0, &bad_irqs), -EINVAL);
	assert_int_equal(attr(gic, A64_GIC_GRP_NR_IRQS, 0, &irqs), 0);
	assert_int_equal(attr(gic, A64_GIC_GRP_NR_IRQS, 0, &irqs), -EBUSY);
	assert_int_equal(attr(gic, A64_GIC_GRP_CTRL, A64_GIC_CTRL_INIT, NULL), 0);
	assert_false(kvm_has_attr(&kvm, gic, 77, 0));
	assert_true(kvm_has_attr(&kvm, gic, A64_GIC_GRP_NR_IRQS, 0));
	/* too late for another vCPU */
	assert_int_equal(fake_sys.ioctl(kvm.vm, KVM_CREATE_VCPU, 1), -EBUSY);

	assert_int_equal(kvm_irq_line(&kvm, 95, 1), 0);
	assert_int_equal(fake_irq_level(95), 1);
	assert_int_equal(kvm_irq_line(&kvm, 96, 1), -EINVAL);
	assert_int_equal(kvm_irqfd(&kvm, ev, 5, &e), 0);
	assert_int_equal(eventfd_write(ev, 3), 0);
	assert_int_equal(fake_irqfd_count(5), 3);
	assert_int_equal(fake_irqfd_count(5), 0);
	assert_int_equal(kvm_ioeventfd(&kvm, ev, 0x3000050, 0, &e), 0);
	assert_int_equal(kvm_ioeventfd(&kvm, ev, 0x3000050, 1, &e), 0);
	assert_int_equal(kvm_ioeventfd(&kvm, ev, 0x3000050, 1, &e), -EEXIST);
	assert_non_null(strstr(e.msg, "0x3000050"));
	assert_int_equal(kvm_ioeventfd(&kvm, 999, 0x3000250, 0, &e), -EBADF);
	kvm_vcpu_close(&v);
	fake_sys.close(gic);
	close(ev);
}

static int filter(uint32_t base, uint32_t n, uint8_t action)
{
	struct a64_smccc_filter f = { .base = base, .nr_functions = n, .action = action };

	return kvm_set_attr(&kvm, kvm.vm, A64_VM_SMCCC_GROUP, A64_VM_SMCCC_FILTER, &f);
}

static void smccc_filter(void **state)
{
	(void)state;
	assert_true(kvm_has_attr(&kvm, kvm.vm, A64_VM_SMCCC_GROUP, A64_VM_SMCCC_FILTER));
	assert_int_equal(filter(0xc4000190, 0x10, A64_SMCCC_FWD_TO_USER), 0);
	assert_int_equal(filter(0xc400019f, 1, A64_SMCCC_DENY), -EEXIST);
	assert_int_equal(filter(0xc40001a0, 1, A64_SMCCC_DENY), 0);
	/* the architecture calls stay with KVM */
	assert_int_equal(filter(0x80000000, 1, A64_SMCCC_FWD_TO_USER), -EEXIST);
	assert_int_equal(filter(0xbfff0000, 0x10001, A64_SMCCC_FWD_TO_USER), -EEXIST);
	assert_int_equal(filter(0x84000000, 0, A64_SMCCC_FWD_TO_USER), -EINVAL);
	assert_int_equal(filter(0x84000000, 1, 3), -EINVAL);
	assert_int_equal(filter(0xffffffff, 2, A64_SMCCC_DENY), -EINVAL);
}

static void registers(void **state)
{
	struct a64_vcpu_init init = { .target = 5 };
	struct kvm_vcpu v, other;
	uint64_t val;
	struct err e;

	(void)state;
	assert_int_equal(kvm_vcpu_create(&kvm, 17, &other, &e), 0);
	assert_int_equal(kvm_vcpu_create(&kvm, 17, &v, &e), -EEXIST);
	assert_non_null(strstr(e.msg, "vCPU 17"));
	assert_int_equal(v.fd, -1);
	assert_int_equal(kvm_vcpu_create(&kvm, 0, &v, &e), 0);
	assert_int_equal(kvm_get_reg(&v, A64_PC, &val), -ENOEXEC);
	assert_int_equal(kvm_vcpu_ioctl(&v, KVM_RUN, NULL), -ENOEXEC);
	init.features[0] = 1U << A64_VCPU_PSCI_0_2 | 1U << A64_VCPU_PTRAUTH_ADDRESS;
	assert_int_equal(kvm_vcpu_ioctl(&v, A64_VCPU_INIT, &init), -EINVAL);
	init.features[0] = 1U << A64_VCPU_PSCI_0_2 | 1U << A64_VCPU_SVE;
	assert_int_equal(kvm_vcpu_ioctl(&v, A64_VCPU_INIT, &init), 0);
	assert_int_equal(kvm_vcpu_ioctl(&v, KVM_RUN, NULL), -EPERM);	/* SVE is not settled */
	assert_int_equal(kvm_set_reg(&v, A64_X(30), 0x1234), 0);
	assert_int_equal(kvm_get_reg(&v, A64_X(30), &val), 0);
	assert_int_equal(val, 0x1234);
	assert_int_equal(kvm_set_reg(&v, A64_PSTATE, 0x1f), -EINVAL);
	assert_int_equal(kvm_get_reg(&v, A64_SYSREG(3ULL, 7, 15, 15, 7), &val), -ENOENT);
	assert_int_equal(kvm_get_reg(&v, A64_PMCR_EL0, &val), -ENOENT);
	init.features[0] = 1U << A64_VCPU_PSCI_0_2;	/* not what it was */
	assert_int_equal(kvm_vcpu_ioctl(&v, A64_VCPU_INIT, &init), -EINVAL);
	kvm_vcpu_close(&v);
	kvm_vcpu_close(&other);
}

int main(void)
{
#define H(fn) cmocka_unit_test_teardown(fn, clean_up)
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		H(missing), H(forbidden), H(not_kvm), H(lacks), H(no_gic), H(ipa_width),
		H(too_many_cpus), H(strange_cpus), H(sve), H(pmu), H(pauth), H(private_memory),
		T(memslots), T(gmem), T(events), T(smccc_filter), T(registers),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("kvm", tests, NULL, NULL);
}
