// SPDX-License-Identifier: BSD-3-Clause
/*
 * The model of KVM's realms by itself: what it answers to the calls of a program that does not know
 * what it is doing, and that it complains of what would hurt a real host.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "realm/rmi_abi.h"
#include "tests/fakekvm/fake_rmi.h"
#include "tests/fakekvm/harness.h"

#define RAM	UINT64_C(0x80000000)
#define SIZE	(16 * SZ_1M)
#define DTB	(RAM + 0xfe00000)

_Static_assert(A64_RMI_POPULATE == 0xC020AED7, "");
_Static_assert(A64_RMI_POPULATE_V12 == 0x4020AED7, "");
_Static_assert(A64_RMI_PSCI_COMPLETE == 0x4018AED6, "");
_Static_assert(A64_SET_MEM_ATTR == 0x4020AED2, "");
_Static_assert(A64_SET_MEM_ATTR2 == 0xC080AED2, "");
_Static_assert(KVM_ENABLE_CAP == 0x4068AEA3, "");
_Static_assert(sizeof(struct a64_rmi_init_ripas) == 64, "");

static struct {
	int dev, vm, cpu, gic, gmem, memfd;
	struct kvm_run *run;
	uint8_t *mem;
	uint64_t size;
} h;
static uint8_t source[2 * SZ_4K] __attribute__((aligned(4096)));

static int io(int fd, unsigned long req, const void *arg)
{
	return fake_sys.ioctl(fd, req, (unsigned long)arg);
}

static int cap(int fd, unsigned long n)
{
	return fake_sys.ioctl(fd, KVM_CHECK_EXTENSION, n);
}

static int open_vm(const struct fake_gen *gen, unsigned long bits)
{
	fake_reset(gen);
	memset(&h, 0, sizeof(h));
	h.cpu = h.gic = h.gmem = h.memfd = -1;
	h.dev = fake_sys.open("/dev/kvm");
	h.vm = fake_sys.ioctl(h.dev, KVM_CREATE_VM, fake_rmi.type | bits);
	return h.vm;
}

static int slot(ipa_t ipa, uint64_t size, uint32_t flags, int map)
{
	struct kvm_userspace_memory_region2 r = {
		.slot = ipa >> 24,
		.flags = flags,
		.guest_phys_addr = ipa,
		.memory_size = size,
		.guest_memfd = h.gmem,
	};

	if (map && !h.mem) {
		h.size = size;
		h.memfd = memfd_create("shared", MFD_CLOEXEC);
		assert_int_equal(ftruncate(h.memfd, size), 0);
		h.mem = mmap(NULL, size, PROT_READ | PROT_WRITE, map | MAP_NORESERVE, h.memfd, 0);
		assert_ptr_not_equal(h.mem, MAP_FAILED);
		if (map == MAP_SHARED)
			madvise(h.mem, size, MADV_NOHUGEPAGE);
	}
	r.userspace_addr = (uintptr_t)h.mem;
	return io(h.vm, KVM_SET_USER_MEMORY_REGION2, &r);
}

static int make_gmem(uint64_t size, uint64_t flags)
{
	struct kvm_create_guest_memfd g = { .size = size, .flags = flags };

	h.gmem = io(h.vm, KVM_CREATE_GUEST_MEMFD, &g);
	return h.gmem;
}

static int make_cpu(void)
{
	struct a64_vcpu_init init = { .target = 5, .features[0] = 1U << A64_VCPU_PSCI_0_2 };

	h.cpu = fake_sys.ioctl(h.vm, KVM_CREATE_VCPU, 0);
	h.run = fake_sys.mmap(fake_host.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, h.cpu, 0);
	return io(h.cpu, A64_VCPU_INIT, &init);
}

static void make_gic(void)
{
	struct kvm_create_device cd = { .type = KVM_DEV_TYPE_ARM_VGIC_V3 };
	uint64_t dist = 0x3fff0000, redist = 0x3ffd0000 | UINT64_C(1) << 52;
	struct kvm_device_attr a[] = {
		{ .group = A64_GIC_GRP_ADDR, .attr = A64_GIC_ADDR_DIST, .addr = (uintptr_t)&dist },
		{ .group = A64_GIC_GRP_ADDR, .attr = A64_GIC_ADDR_REDIST_REGION,
		  .addr = (uintptr_t)&redist },
		{ .group = A64_GIC_GRP_CTRL, .attr = A64_GIC_CTRL_INIT },
	};

	assert_int_equal(io(h.vm, KVM_CREATE_DEVICE, &cd), 0);
	h.gic = cd.fd;
	for (unsigned int i = 0; i < ARRAY_SIZE(a); i++)
		assert_int_equal(io(h.gic, KVM_SET_DEVICE_ATTR, &a[i]), 0);
}

static int attr(ipa_t base, uint64_t size, uint64_t attributes)
{
	struct a64_mem_attr a = { base, size, attributes, 0 };

	return io(h.vm, A64_SET_MEM_ATTR, &a);
}

static int attr2(uint64_t off, uint64_t size, uint64_t attributes)
{
	struct a64_mem_attr2 a = { .offset = off, .size = size, .attributes = attributes };

	return io(h.gmem, A64_SET_MEM_ATTR2, &a);
}

static int pop(ipa_t base, uint64_t size, const void *from, uint32_t flags)
{
	struct a64_rmi_populate p = { base, size, (uintptr_t)from, flags, 0 };

	return io(h.vm, A64_RMI_POPULATE, &p);
}

static int punch(uint64_t off, uint64_t len)
{
	return fake_sys.fallocate(h.gmem, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
}

static int reg(uint64_t id, uint64_t val)
{
	struct kvm_one_reg r = { id, (uintptr_t)&val };

	return io(h.cpu, KVM_SET_ONE_REG, &r);
}

/* Close all. @complaint: part of the one that is due, NULL: there must be none */
static void done(const char *complaint)
{
	const char *verdict;

	if (h.run)
		fake_sys.munmap(h.run, fake_host.run_size);
	if (h.gmem >= 0 && !complaint)
		punch(0, SIZE);
	if (h.cpu >= 0)
		fake_sys.close(h.cpu);
	if (h.gic >= 0)
		fake_sys.close(h.gic);
	if (h.gmem >= 0)
		fake_sys.close(h.gmem);
	if (h.vm >= 0)
		fake_sys.close(h.vm);
	fake_sys.close(h.dev);
	if (h.mem)
		munmap(h.mem, h.size);
	if (h.memfd >= 0)
		close(h.memfd);
	verdict = fake_verdict();
	if (complaint && (!verdict || !strstr(verdict, complaint)))
		fail_msg("\"%s\" instead of \"%s\"", verdict ? verdict : "nothing", complaint);
	if (!complaint)
		assert_null(verdict);
	fake_reset(&fake_linux_7_3);
}

/* A v14 realm with one slot of private memory and a vCPU; what follows is up to the test. */
static void realm(const struct fake_gen *gen)
{
	assert_true(open_vm(gen, 33) >= 0);
	assert_true(make_gmem(SIZE, 0) >= 0);
	assert_int_equal(slot(RAM, SIZE, KVM_MEM_GUEST_MEMFD, MAP_SHARED), 0);
	if (fake_rmi.api == FAKE_API_C)
		assert_int_equal(attr(RAM, SIZE / 2, A64_MEM_ATTR_PRIVATE), 0);
	assert_int_equal(make_cpu(), 0);
}

/* ---- measurement, against what TF-RMM's own code gives --------------------------------------- */

static void check_rim(const char *hex)
{
	char got[2 * REALM_HASH_MAX + 1];
	uint8_t rim[REALM_HASH_MAX];
	unsigned int n = fake_rim(rim);

	for (unsigned int i = 0; i < n; i++)
		sprintf(got + 2 * i, "%02x", rim[i]);
	assert_string_equal(got, hex);
}

static void measurement(void **state)
{
	static const struct {
		enum fake_dialect dialect;
		const char *rim[4];
	} cases[] = {
		{ FAKE_RIM_B, {
		  "da692031b0574009a88a15ac3f38c0808c1fbba4d197ae607a9de5e18fa776af",
		  "776a9af1dc059830025cccd09237171bbeda6fc008d1be3747ac4393e5162da5",
		  "fb86ad357c21cc2fc82a919349999686ec4e61ce4a1e7f8f36b526bd8728bd56",
		  "26527c111778d7fe434b698028e6a4c11a2ff6b15e2ae843bb32d141ab62e9a2" } },
		{ FAKE_RIM_C, {
		  "6b9a46ff7b59c4c4b3d0f5188696fa1fd5bdce6d29885a15c9983ee187744992",
		  "ffc388f01f27a5dd994c576cfc4f1b957ad328bf10ffcc96a2eb6c0040d9c762",
		  "9a62731199fa279951924bc1cde1353c9dc765c8078436e12a3cbe0a9155aa37",
		  "f1bebf9d77dd94a5486cee0032a3cd0ececc2fa1738b349366aa51c0ef4ba64d" } },
	};

	(void)state;
	for (unsigned int i = 0; i < 2 * SZ_4K; i++)
		source[i] = 7 * (i % SZ_4K) + 3 + i / SZ_4K;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_true(open_vm(&fake_rmi_v14, 40) >= 0);
		fake_rmi.dialect = cases[i].dialect;
		assert_true(make_gmem(256 * SZ_1M, 0) >= 0);
		assert_int_equal(slot(RAM, 256 * SZ_1M, KVM_MEM_GUEST_MEMFD, 0), 0);
		assert_int_equal(attr(RAM, 256 * SZ_1M, A64_MEM_ATTR_PRIVATE), 0);
		assert_int_equal(make_cpu(), 0);
		assert_int_equal(reg(A64_PC, RAM), 0);
		assert_int_equal(reg(A64_X(0), DTB), 0);
		make_gic();
		assert_int_equal(pop(RAM, SZ_4K, source, 1), 0);
		check_rim(cases[i].rim[0]);
		assert_int_equal(pop(RAM + SZ_4K, SZ_4K, source + SZ_4K, 1), 0);
		check_rim(cases[i].rim[1]);
		assert_int_equal(pop(DTB, SZ_4K, source, 0), 0);
		check_rim(cases[i].rim[2]);
		/* activated before the guest's first instruction */
		h.run->immediate_exit = 1;
		assert_int_equal(io(h.cpu, KVM_RUN, NULL), -EINTR);
		check_rim(cases[i].rim[3]);
		assert_int_equal(fake_realm_state(), FAKE_REALM_ACTIVE);
		assert_int_equal(fake_ripas(RAM + SZ_1M), FAKE_RAM);
		assert_int_equal(fake_delegated(), 3);
		assert_int_equal(pop(RAM + SZ_64K, SZ_4K, source, 1), -EBUSY);
		assert_int_equal(punch(0, 256 * SZ_1M), 0);
		done(NULL);
	}
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void vm_types(void **state)
{
	static const struct {
		const struct fake_gen *gen;
		unsigned long type;
		int ret;		/* < 0 */
	} cases[] = {
		{ &fake_linux_7_3, A64_VM_TYPE_REALM | 33, -EINVAL },
		{ &fake_linux_7_3, A64_VM_TYPE_REALM_OLD | 33, -EINVAL },
		{ &fake_rmi_v14_no_rmm, A64_VM_TYPE_REALM | 33, -EINVAL },
		{ &fake_rmi_v13, A64_VM_TYPE_REALM | 33, -EINVAL },
		{ &fake_rmi_v14, A64_VM_TYPE_REALM_OLD | 33, -EINVAL },
		{ &fake_rmi_v14, A64_VM_TYPE_REALM | 1UL << 31 | 33, -EINVAL },
		{ &fake_rmi_v14, A64_VM_TYPE_REALM | 31, -EINVAL },
		{ &fake_rmi_v14, A64_VM_TYPE_REALM | 43, -EINVAL },	/* the RMM has 42 */
		{ &fake_rmi_v14, A64_VM_TYPE_REALM | 42, 0 },
		{ &fake_rmi_v14, A64_VM_TYPE_REALM, 0 },
		{ &fake_rmi_v14, 43, 0 },
		{ &fake_rmi_plumbing, A64_VM_TYPE_REALM | 33, 0 },
		{ &fake_rmi_v8, A64_VM_TYPE_REALM_OLD | 33, 0 },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		fake_reset(cases[i].gen);
		memset(&h, 0, sizeof(h));
		h.cpu = h.gic = h.gmem = h.memfd = -1;
		h.dev = fake_sys.open("/dev/kvm");
		h.vm = fake_sys.ioctl(h.dev, KVM_CREATE_VM, cases[i].type);
		if (cases[i].ret ? h.vm != cases[i].ret : h.vm < 0)
			fail_msg("case %u: %d", i, h.vm);
		done(NULL);
	}
	open_vm(&fake_rmi_v13, 33);
	fake_rmi.rmm = false;
	assert_int_equal(fake_sys.ioctl(h.dev, KVM_CREATE_VM, A64_VM_TYPE_REALM_OLD | 33), -EPERM);
	done(NULL);
}

static void capabilities(void **state)
{
	(void)state;
	open_vm(&fake_rmi_v14, 33);
	assert_int_equal(cap(h.vm, KVM_CAP_IOEVENTFD), 0);
	assert_int_equal(cap(h.vm, KVM_CAP_ONE_REG), 0);
	assert_int_equal(cap(h.vm, KVM_CAP_READONLY_MEM), 0);
	assert_int_equal(cap(h.vm, A64_CAP_PMU_V3), 0);
	assert_int_equal(cap(h.vm, KVM_CAP_MAX_VCPUS), 512);
	assert_int_equal(cap(h.vm, 249), 1);
	assert_int_equal(cap(h.vm, 233), 8);
	assert_int_equal(cap(h.dev, 233), 8);
	done(NULL);
	open_vm(&fake_rmi_v15, 33);
	assert_int_equal(cap(h.vm, 233), 0);
	assert_int_equal(cap(h.vm, 250), 8);
	fake_rmi.in_place = false;
	assert_int_equal(cap(h.vm, 250), 0);
	done(NULL);
	open_vm(&fake_rmi_v12, 33);
	assert_int_equal(cap(h.vm, A64_CAP_PMU_V3), 1);
	done(NULL);
}

static void populate_errors(void **state)
{
	struct a64_rmi_populate p = { RAM, SZ_4K, (uintptr_t)source, 0, 1 };

	(void)state;
	realm(&fake_rmi_v14);
	/* refused before anything is created: how a program finds out */
	assert_int_equal(io(h.vm, A64_RMI_POPULATE, &p), -EINVAL);
	assert_int_equal(io(h.vm, A64_RMI_POPULATE_V12, &p), -EINVAL);
	assert_int_equal(pop(RAM + 1, SZ_4K, source, 0), -EINVAL);
	assert_int_equal(pop(RAM, SZ_4K + 1, source, 0), -EINVAL);
	assert_int_equal(pop(RAM, SZ_4K, source + 1, 0), -EINVAL);
	assert_int_equal(pop(RAM, SZ_4K, NULL, 0), -EINVAL);
	assert_int_equal(pop(-SZ_4K, 2 * SZ_4K, source, 0), -EINVAL);
	assert_int_equal(pop(UINT64_C(1) << 32, SZ_4K, source, 0), -EINVAL);
	assert_int_equal(fake_realm_state(), FAKE_REALM_NONE);
	assert_int_equal(pop(RAM - SZ_4K, SZ_4K, source, 0), -EINVAL);		/* no slot */
	assert_int_equal(pop(RAM + SIZE / 2, SZ_4K, source, 0), -EINVAL);	/* not private */
	assert_int_equal(pop(RAM, SZ_4K, (void *)0x10000, 0), -EFAULT);
	assert_int_equal(fake_realm_state(), FAKE_REALM_NEW);
	assert_int_equal(pop(RAM, SZ_4K, source, 0), 0);
	assert_int_equal(pop(RAM, SZ_4K, source, 0), -ENXIO);			/* twice */
	/* as far as it goes */
	p = (struct a64_rmi_populate){ RAM + SIZE / 2 - SZ_4K, 2 * SZ_4K, (uintptr_t)source, 1, 0 };
	assert_int_equal(io(h.vm, A64_RMI_POPULATE, &p), 0);
	assert_int_equal(p.base, RAM + SIZE / 2);
	assert_int_equal(p.size, SZ_4K);
	assert_int_equal(p.source, (uintptr_t)source + SZ_4K);
	/* the realm is made: its parameters are fixed */
	assert_int_equal(reg(A64_ID_AA64DFR0_EL1, 0x10301106), -EBUSY);
	done(NULL);

	assert_true(open_vm(&fake_rmi_v14, 33) >= 0);	/* before the first vCPU */
	assert_int_equal(pop(RAM, SZ_4K, source, 0), -ENXIO);
	done(NULL);
	open_vm(&fake_rmi_plumbing, 33);
	assert_int_equal(pop(RAM, SZ_4K, source, 0), -EINVAL);
	done(NULL);
	open_vm(&fake_rmi_v14, 0);
	fake_sys.close(h.vm);
	h.vm = fake_sys.ioctl(h.dev, KVM_CREATE_VM, 33);	/* an ordinary VM */
	assert_int_equal(pop(RAM, SZ_4K, source, 0), -ENXIO);
	done(NULL);
}

static void registers(void **state)
{
	struct a64_vcpu_init init = { .target = 5, .features[0] = 1U << A64_VCPU_PSCI_0_2 };
	struct a64_vcpu_events sea = { .exception.ext_dabt_pending = 1 };
	struct kvm_enable_cap ec = { .cap = A64_CAP_NISV_TO_USER };

	(void)state;
	realm(&fake_rmi_v14);
	assert_int_equal(reg(A64_X(0), 1), 0);
	assert_int_equal(reg(A64_X(30), 1), 0);
	assert_int_equal(reg(A64_PC, 1), 0);
	assert_int_equal(reg(A64_PSTATE, 0x3c5), -EINVAL);
	assert_int_equal(reg(A64_SP_EL1, 1), -EINVAL);
	assert_int_equal(reg(A64_MPIDR_EL1, 1), -EINVAL);
	assert_int_equal(reg(A64_VBAR_EL1, 1), -EINVAL);
	assert_int_equal(reg(A64_ID_AA64DFR0_EL1, 0x10301106), 0);
	assert_int_equal(reg(A64_ID_AA64DFR0_EL1, 0x10300106), -EINVAL);	/* none at all */
	assert_int_equal(reg(A64_ID_AA64DFR0_EL1, 0x20301106), -EINVAL);	/* context */
	assert_int_equal(reg(A64_ID_AA64DFR0_EL1, 0x10306106), -EINVAL);	/* more than all */
	assert_int_equal(io(h.cpu, A64_SET_VCPU_EVENTS, &sea), -EINVAL);
	assert_int_equal(io(h.vm, KVM_ENABLE_CAP, &ec), -EINVAL);
	init.features[0] |= 1U << A64_VCPU_EL1_32BIT;
	assert_int_equal(io(h.cpu, A64_VCPU_INIT, &init), -EINVAL);
	done(NULL);
}

static void activation(void **state)
{
	static const struct {
		const struct fake_gen *gen;
		int gic;		/* 0: none, 1: not initialised */
		int fail, ret;
	} cases[] = {
		{ &fake_rmi_v14, 0, 0, -EOPNOTSUPP }, { &fake_rmi_v14, 1, 0, -EBUSY },
		{ &fake_rmi_v15, 1, 0, -ENODEV }, { &fake_rmi_v14, 2, ENOMEM, -ENOMEM },
	};
	struct kvm_create_device cd = { .type = KVM_DEV_TYPE_ARM_VGIC_V3 };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		realm(cases[i].gen);
		if (cases[i].gic == 2)
			make_gic();
		if (cases[i].gic == 1) {
			assert_int_equal(io(h.vm, KVM_CREATE_DEVICE, &cd), 0);
			h.gic = cd.fd;
		}
		fake_rmi.fail_activate = cases[i].fail;
		assert_int_equal(io(h.cpu, KVM_RUN, NULL), cases[i].ret);
		/* there is no second attempt */
		assert_int_equal(io(h.cpu, KVM_RUN, NULL), -EIO);
		assert_int_equal(pop(RAM, SZ_4K, source, 0), -EIO);
		assert_int_equal(cap(h.vm, KVM_CAP_MAX_VCPUS), -EIO);
		done(NULL);
	}
}

static void attributes(void **state)
{
	struct a64_mem_attr2 a = { .offset = 0, .size = SIZE, .attributes = A64_MEM_ATTR_PRIVATE };

	(void)state;
	realm(&fake_rmi_v14);
	assert_int_equal(attr(RAM + 1, SZ_4K, 0), -EINVAL);
	assert_int_equal(attr(RAM, 0, 0), -EINVAL);
	assert_int_equal(attr2(0, SZ_4K, 0), -ENOTTY);
	assert_true(fake_private(RAM));
	assert_false(fake_private(RAM + SIZE / 2));
	done(NULL);

	assert_true(open_vm(&fake_rmi_kamalca, 33) >= 0);
	assert_int_equal(attr(RAM, SZ_4K, A64_MEM_ATTR_PRIVATE), -EINVAL);
	assert_true(make_gmem(SIZE, fake_host.gmem_flags) >= 0);
	assert_int_equal(slot(RAM, SIZE, KVM_MEM_GUEST_MEMFD, 0), 0);
	assert_false(fake_private(RAM));
	assert_int_equal(attr2(0, SIZE + SZ_4K, 0), -EINVAL);
	assert_int_equal(attr2(0, SIZE, 4), -EINVAL);
	fake_rmi.attr_again = 1;
	assert_int_equal(io(h.gmem, A64_SET_MEM_ATTR2, &a), -EAGAIN);
	assert_int_equal(a.error_offset, SIZE / 2);
	assert_true(fake_private(RAM));
	assert_false(fake_private(RAM + SIZE / 2));
	assert_int_equal(attr2(0, SIZE, A64_MEM_ATTR_PRIVATE), 0);
	assert_true(fake_private(RAM + SIZE / 2));
	done(NULL);
}

/* ---- complaints ------------------------------------------------------------------------------ */

static void nothing_to_populate(void)
{
	assert_int_equal(pop(RAM, 0, source, 0), -EINVAL);
}

static void unknown_flags(void)
{
	assert_int_equal(pop(RAM, SZ_4K, source, 2), -EINVAL);
}

static void unknown_attributes(void)
{
	assert_int_equal(attr(RAM, SZ_4K, 4), -EINVAL);
}

static void leave_delegated(void)
{
	assert_int_equal(pop(RAM, SZ_4K, source, 0), 0);
}

static void too_high(void)
{
	slot(UINT64_C(1) << 32, SIZE, 0, 0);
}

static void read_only(void)
{
	slot(UINT64_C(0x40000000), SIZE, KVM_MEM_READONLY, 0);
}

static void complaints(void **state)
{
	static const struct {
		void (*call)(void);
		const char *text;
	} cases[] = {
		{ nothing_to_populate, "populate of nothing" }, { unknown_flags, "populate flags" },
		{ unknown_attributes, "memory attributes 0x4" },
		{ leave_delegated, "closed with 1 pages delegated" },
		{ too_high, "reaches the shared half" }, { read_only, "read-only" },
	};

	(void)state;
	capture_begin();
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		realm(&fake_rmi_v14);
		cases[i].call();
		done(cases[i].text);
	}
	open_vm(&fake_rmi_v14, 33);
	make_gmem(SIZE, fake_host.gmem_flags);
	slot(RAM, SIZE, KVM_MEM_GUEST_MEMFD, MAP_SHARED);
	done("begins shared");
	for (int map = MAP_SHARED; map <= MAP_PRIVATE; map++) {
		open_vm(&fake_rmi_v14, 33);
		h.memfd = memfd_create("shared", MFD_CLOEXEC);
		assert_int_equal(ftruncate(h.memfd, SIZE), 0);
		h.size = SIZE;
		h.mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, map, h.memfd, 0);
		slot(RAM, SIZE, 0, 0);
		done(map == MAP_SHARED ? "may have huge pages" : "not MAP_SHARED");
	}
	/* two backings, but the page was made shared: v15 loses the granule */
	realm(&fake_rmi_v15);
	assert_int_equal(attr2(0, SZ_4K, 0), 0);
	punch(0, SZ_4K);
	done("delegation leaks");
	open_vm(&fake_rmi_v14, 33);
	make_gmem(512 * SZ_1M, 0);
	punch(0, 512 * SZ_1M);
	done("the host stalls");
	capture_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(measurement), cmocka_unit_test(vm_types),
		cmocka_unit_test(capabilities), cmocka_unit_test(populate_errors),
		cmocka_unit_test(registers), cmocka_unit_test(activation),
		cmocka_unit_test(attributes), cmocka_unit_test(complaints),
	};

	return cmocka_run_group_tests_name("fake_rmi", tests, NULL, NULL);
}
