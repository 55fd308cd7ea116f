/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The KVM interface for realms, which no released kernel has: numbers and structures of every
 * series seen (v5 to v16 and the trees after them). <asm/kvm.h> cannot be asked, because one binary
 * has to speak all of them.
 */
#ifndef REALM_RMI_ABI_H
#define REALM_RMI_ABI_H

#include "vmm/core/kvm_abi.h"

/* KVM_CREATE_VM's type word */
#define A64_VM_TYPE_REALM_OLD	(1UL << 8)	/* v5 to v13: bits [11:8] are 1 */
#define A64_VM_TYPE_REALM	(1UL << 30)	/* since v14 */

/*
 * Capability numbers that have meant KVM_CAP_ARM_RME or KVM_CAP_ARM_RMI. They moved with each
 * rebase, and each means something else on other kernels: nothing is concluded from one alone.
 */
#define A64_CAP_RMI_V12		247
#define A64_CAP_RMI_V13		248
#define A64_CAP_RMI_V14		249
#define A64_CAP_RMI_V15		251
#define A64_CAP_RMI_LATER	253
#define A64_CAP_RME_V7		240
#define A64_CAP_RME_V8		243
#define A64_CAP_RME_V10		244
#define A64_CAP_RME_RFC		300

#ifndef KVM_CAP_MEMORY_ATTRIBUTES	/* Linux 6.8 */
#define KVM_CAP_MEMORY_ATTRIBUTES 233
#endif
#define A64_CAP_GMEM_ATTR_V15	250		/* KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES */
#define A64_CAP_GMEM_ATTR_LATER	252

/* ---- populate (v12 and later) ---------------------------------------------------------------- */

struct a64_rmi_populate {
	uint64_t base, size, source;
	uint32_t flags, reserved;
};
#define A64_RMI_POPULATE_MEASURE	(1U << 0)
#define A64_RMI_POPULATE_V12	_IOW(KVMIO, 0xd7, struct a64_rmi_populate)	/* returns bytes */
#define A64_RMI_POPULATE	_IOWR(KVMIO, 0xd7, struct a64_rmi_populate)	/* advances */

/* v5 to v13: PSCI CPU_ON and AFFINITY_INFO answered in user space; on the calling vCPU */
struct a64_rmi_psci_complete {
	uint64_t target_mpidr;
	uint32_t psci_status;
	uint32_t padding[3];
};
#define A64_RMI_PSCI_COMPLETE	_IOW(KVMIO, 0xd6, struct a64_rmi_psci_complete)

/* The explicit RIPAS step of trees after v16; its number is not fixed yet. */
struct a64_rmi_init_ripas {
	uint64_t base, size, flags, reserved[5];
};
#define A64_RMI_INIT_RIPAS(nr)	_IOW(KVMIO, nr, struct a64_rmi_init_ripas)

/* ---- memory attributes ----------------------------------------------------------------------- */

struct a64_mem_attr {			/* on the VM: v5 to v14 */
	uint64_t address, size, attributes, flags;
};
#define A64_SET_MEM_ATTR	_IOW(KVMIO, 0xd2, struct a64_mem_attr)
struct a64_mem_attr2 {			/* on a guest_memfd: v15 and later */
	uint64_t offset, size, attributes, flags, error_offset, reserved[11];
};
#define A64_SET_MEM_ATTR2	_IOWR(KVMIO, 0xd2, struct a64_mem_attr2)
#define A64_MEM_ATTR_PRIVATE	(UINT64_C(1) << 3)

/* ---- v5 to v11: everything through KVM_ENABLE_CAP on the VM ---------------------------------- */

enum a64_rme_cmd {			/* args[0]; args[1] points to the argument */
	A64_RME_CONFIG = 0,
	A64_RME_CREATE = 1,
	A64_RME_INIT_RIPAS = 2,
	A64_RME_POPULATE = 3,
	A64_RME_ACTIVATE = 4,
};
enum a64_rme_cfg {
	A64_RME_CFG_RPV = 0,
	A64_RME_CFG_HASH = 1,
};
struct a64_rme_config {
	uint32_t cfg;
	union {
		uint8_t rpv[64];
		uint32_t hash_algo;		/* 0: SHA-256, 1: SHA-512 */
		uint8_t reserved[256];
	};
};
struct a64_rme_range {			/* INIT_RIPAS */
	uint64_t base, size, reserved[2];
};
struct a64_rme_populate {
	uint64_t base, size;
	uint32_t flags, reserved[3];
};
/* Feature bit and argument of KVM_ARM_VCPU_FINALIZE; nested virtualisation has pushed it up. */
#define A64_VCPU_REC_NEWEST	9
#define A64_VCPU_REC_OLDEST	7

#endif
