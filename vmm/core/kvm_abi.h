/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The KVM interface of arm64 as this project speaks it. <linux/kvm.h> gives what is common to all
 * architectures; what it keeps in <asm/kvm.h> is spelled out here under names of our own (a64_*),
 * so that the model of KVM and everything above it compile and run on any machine. What is newer
 * than Linux 6.1 (the headers of Debian 12) stands under #ifndef with the version that brought it.
 */
#ifndef CORE_KVM_ABI_H
#define CORE_KVM_ABI_H

#include <linux/kvm.h>

#include "vmm/core/types.h"

/* ---- registers (Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG) ----------------------------- */

#define A64_REG			0x6000000000000000ULL
#define A64_REG_U32		0x0020000000000000ULL
#define A64_REG_U64		0x0030000000000000ULL
#define A64_REG_U128		0x0040000000000000ULL
#define A64_REG_U512		0x0060000000000000ULL

/* Core registers are numbered by their offset in struct kvm_regs, in 32-bit words. */
#define A64_CORE(size, off)	(A64_REG | (size) | 0x00100000ULL | (off) / 4)
#define A64_X(n)		A64_CORE(A64_REG_U64, (n) * 8ULL)
#define A64_SP_EL0		A64_CORE(A64_REG_U64, 248ULL)
#define A64_PC			A64_CORE(A64_REG_U64, 256ULL)
#define A64_PSTATE		A64_CORE(A64_REG_U64, 264ULL)
#define A64_SP_EL1		A64_CORE(A64_REG_U64, 272ULL)
#define A64_ELR_EL1		A64_CORE(A64_REG_U64, 280ULL)
#define A64_SPSR_EL1		A64_CORE(A64_REG_U64, 288ULL)
#define A64_V(n)		A64_CORE(A64_REG_U128, 336ULL + (n) * 16ULL)
#define A64_FPSR		A64_CORE(A64_REG_U32, 848ULL)
#define A64_FPCR		A64_CORE(A64_REG_U32, 852ULL)

#define A64_SYSREG(op0, op1, crn, crm, op2) \
	(A64_REG | A64_REG_U64 | 0x00130000ULL | (op0) << 14 | (op1) << 11 | (crn) << 7 | \
	 (crm) << 3 | (op2))
#define A64_MPIDR_EL1		A64_SYSREG(3ULL, 0, 0, 0, 5)
#define A64_ID_AA64DFR0_EL1	A64_SYSREG(3ULL, 0, 0, 5, 0)
#define A64_ID_AA64MMFR0_EL1	A64_SYSREG(3ULL, 0, 0, 7, 0)
#define A64_ID_AA64MMFR2_EL1	A64_SYSREG(3ULL, 0, 0, 7, 2)
#define A64_SCTLR_EL1		A64_SYSREG(3ULL, 0, 1, 0, 0)
#define A64_TTBR0_EL1		A64_SYSREG(3ULL, 0, 2, 0, 0)
#define A64_TTBR1_EL1		A64_SYSREG(3ULL, 0, 2, 0, 1)
#define A64_TCR_EL1		A64_SYSREG(3ULL, 0, 2, 0, 2)
#define A64_ESR_EL1		A64_SYSREG(3ULL, 0, 5, 2, 0)
#define A64_FAR_EL1		A64_SYSREG(3ULL, 0, 6, 0, 0)
#define A64_PMCR_EL0		A64_SYSREG(3ULL, 3, 9, 12, 0)
#define A64_VBAR_EL1		A64_SYSREG(3ULL, 0, 12, 0, 0)
#define A64_TIMER_CNT		A64_SYSREG(3ULL, 3, 14, 3, 2)	/* the virtual counter (sic) */

#define A64_SVE_VLS		(A64_REG | A64_REG_U512 | 0x0015ffffULL)
#define A64_REG_U2048		0x0080000000000000ULL
#define A64_SVE_Z(n)		(A64_REG | A64_REG_U2048 | 0x00150000ULL | (n) << 5)

#define MPIDR_AFFINITY_MASK	0xff00ffffffULL

/* ---- vCPU ------------------------------------------------------------------------------------ */

struct a64_vcpu_init {
	uint32_t target;
	uint32_t features[7];
};
#define A64_VCPU_INIT		_IOW(KVMIO, 0xae, struct a64_vcpu_init)
#define A64_PREFERRED_TARGET	_IOR(KVMIO, 0xaf, struct a64_vcpu_init)
#define A64_VCPU_FINALIZE	_IOW(KVMIO, 0xc2, int)

enum a64_vcpu_feature {
	A64_VCPU_POWER_OFF = 0,
	A64_VCPU_EL1_32BIT = 1,
	A64_VCPU_PSCI_0_2 = 2,
	A64_VCPU_PMU_V3 = 3,
	A64_VCPU_SVE = 4,
	A64_VCPU_PTRAUTH_ADDRESS = 5,
	A64_VCPU_PTRAUTH_GENERIC = 6,
};

struct a64_vcpu_events {
	struct {
		uint8_t serror_pending;
		uint8_t serror_has_esr;
		uint8_t ext_dabt_pending;
		uint8_t pad[5];
		uint64_t serror_esr;
	} exception;
	uint32_t reserved[12];
};
#define A64_GET_VCPU_EVENTS	_IOR(KVMIO, 0x9f, struct a64_vcpu_events)
#define A64_SET_VCPU_EVENTS	_IOW(KVMIO, 0xa0, struct a64_vcpu_events)

struct a64_guest_debug {
	uint32_t control;
	uint32_t pad;
	uint64_t bcr[16], bvr[16], wcr[16], wvr[16];
};
#define A64_SET_GUEST_DEBUG	_IOW(KVMIO, 0x9b, struct a64_guest_debug)
#define A64_GUESTDBG_ENABLE	(1U << 0)
#define A64_GUESTDBG_SINGLESTEP	(1U << 1)
#define A64_GUESTDBG_USE_SW_BP	(1U << 16)
#define A64_GUESTDBG_USE_HW	(1U << 17)

/* vCPU device attributes */
#define A64_VCPU_PMU_GROUP	0
#define A64_VCPU_PMU_IRQ	0
#define A64_VCPU_PMU_INIT	1
#define A64_VCPU_PMU_COUNTERS	4		/* Linux 6.17; before the initialisation */

/* ---- exits: the union of struct kvm_run in arm64's form -------------------------------------- */

union a64_exit {
	struct {
		uint32_t hsr, hsr_high;
		uint64_t far;
	} debug;
	struct {
		uint64_t nr, args[6], ret;
		uint64_t flags;		/* Linux 6.4 */
	} hypercall;
	struct {
		uint64_t esr_iss, fault_ipa;
	} nisv;
	struct {
		uint64_t flags, gpa, size;
	} memory_fault;			/* Linux 6.8 */
	struct {
		uint32_t type, ndata;
		uint64_t data[16];
	} system_event;
	struct {
		uint64_t hardware_entry_failure_reason;
		uint32_t cpu;
	} fail_entry;
	struct {
		uint32_t suberror;
	} internal;
};
static inline union a64_exit *a64_exit(struct kvm_run *run)
{
	/* The union begins where its first member does, on every architecture. */
	return (union a64_exit *)&run->hw;
}
#define A64_HYPERCALL_SMC	(1ULL << 0)

#ifndef KVM_EXIT_MEMORY_FAULT		/* Linux 6.8 */
#define KVM_EXIT_MEMORY_FAULT	39
#endif
#define A64_MEMORY_FAULT_PRIVATE (1ULL << 3)

/* ---- VM -------------------------------------------------------------------------------------- */

#define A64_VM_TYPE_IPA_SIZE(bits)	((unsigned long)(bits) & 0xff)

/* SMCCC filter, VM device attribute (Linux 6.4) */
struct a64_smccc_filter {
	uint32_t base;
	uint32_t nr_functions;
	uint8_t action;
	uint8_t pad[15];
};
#define A64_VM_SMCCC_GROUP	0
#define A64_VM_SMCCC_FILTER	0
#define A64_SMCCC_HANDLE	0
#define A64_SMCCC_DENY		1
#define A64_SMCCC_FWD_TO_USER	2

/* VGICv3 and ITS device attributes */
#define A64_GIC_GRP_ADDR	0
#define A64_GIC_GRP_NR_IRQS	3
#define A64_GIC_GRP_CTRL	4
#define A64_GIC_ADDR_DIST	2
#define A64_GIC_ADDR_ITS	4
#define A64_GIC_ADDR_REDIST_REGION 5
#define A64_GIC_CTRL_INIT	0

#define A64_IRQ_TYPE_SPI	(1U << 24)	/* KVM_IRQ_LINE: | INTID */

/* KVM_MAX_IRQ_ROUTES (include/linux/kvm_host.h): most entries of KVM_SET_GSI_ROUTING */
#define KVM_ROUTES_MAX		4096

#define A64_CAP_NISV_TO_USER	177
#define A64_CAP_VM_IPA_SIZE	165
#define A64_CAP_PMU_V3		126
#define A64_CAP_SVE		170
#define A64_CAP_PTRAUTH_ADDRESS	171
#define A64_CAP_PTRAUTH_GENERIC	172

#ifndef KVM_MP_STATE_SUSPENDED		/* Linux 5.19 */
#define KVM_MP_STATE_SUSPENDED	10
#define KVM_SYSTEM_EVENT_WAKEUP	4
#endif

#ifndef KVM_CAP_USER_MEMORY2		/* Linux 6.8 */
#define KVM_CAP_USER_MEMORY2	231
#define KVM_CAP_GUEST_MEMFD	234
#define KVM_MEM_GUEST_MEMFD	(1UL << 2)
struct kvm_userspace_memory_region2 {
	__u32 slot;
	__u32 flags;
	__u64 guest_phys_addr;
	__u64 memory_size;
	__u64 userspace_addr;
	__u64 guest_memfd_offset;
	__u32 guest_memfd;
	__u32 pad1;
	__u64 pad2[14];
};
#define KVM_SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, struct kvm_userspace_memory_region2)
struct kvm_create_guest_memfd {
	__u64 size;
	__u64 flags;
	__u64 reserved[6];
};
#define KVM_CREATE_GUEST_MEMFD	_IOWR(KVMIO, 0xd4, struct kvm_create_guest_memfd)
#endif
#ifndef GUEST_MEMFD_FLAG_MMAP		/* Linux 6.18 */
#define KVM_CAP_GUEST_MEMFD_FLAGS	244
#define GUEST_MEMFD_FLAG_MMAP		(1ULL << 0)
#define GUEST_MEMFD_FLAG_INIT_SHARED	(1ULL << 1)
#endif

#endif
