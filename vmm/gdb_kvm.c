// SPDX-License-Identifier: BSD-3-Clause
/*
 * Register ids of KVM on arm64, written out because a build for another architecture has no such
 * header: Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG, "ARM64 core registers" (index in 32-bit
 * words into struct kvm_regs) and "ARM64 System registers" (op0, op1, CRn, CRm, op2).
 */
#include "vmm/gdb.h"

#ifdef __aarch64__
#include <linux/kvm.h>
#endif

#define KVM_ID_ARM64	0x6000000000000000ull
#define KVM_ID_U32	0x0020000000000000ull
#define KVM_ID_U64	0x0030000000000000ull
#define KVM_ID_U128	0x0040000000000000ull
#define KVM_CORE(size, index) \
	(KVM_ID_ARM64 | (size) | 0x100000ull | (index))
#define KVM_SYS(op0, op1, crn, crm, op2) \
	(KVM_ID_ARM64 | KVM_ID_U64 | 0x130000ull | \
	 (op0) << 14 | (op1) << 11 | (crn) << 7 | (crm) << 3 | (op2))

#define WORD_SP		62
#define WORD_PC		64
#define WORD_PSTATE	66
#define WORD_SP_EL1	68
#define WORD_ELR_EL1	70
#define WORD_SPSR	72
#define WORD_VREGS	84
#define WORD_FPSR	212
#define WORD_FPCR	213

#ifdef __aarch64__
_Static_assert(KVM_CORE(KVM_ID_U64, WORD_PSTATE) ==
	       (KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE |
		KVM_REG_ARM_CORE_REG(regs.pstate)), "core id");
_Static_assert(WORD_SP == KVM_REG_ARM_CORE_REG(regs.sp), "sp");
_Static_assert(WORD_PC == KVM_REG_ARM_CORE_REG(regs.pc), "pc");
_Static_assert(WORD_SP_EL1 == KVM_REG_ARM_CORE_REG(sp_el1), "sp_el1");
_Static_assert(WORD_ELR_EL1 == KVM_REG_ARM_CORE_REG(elr_el1), "elr_el1");
_Static_assert(WORD_SPSR == KVM_REG_ARM_CORE_REG(spsr), "spsr");
_Static_assert(WORD_VREGS == KVM_REG_ARM_CORE_REG(fp_regs.vregs), "vregs");
_Static_assert(WORD_FPSR == KVM_REG_ARM_CORE_REG(fp_regs.fpsr), "fpsr");
_Static_assert(WORD_FPCR == KVM_REG_ARM_CORE_REG(fp_regs.fpcr), "fpcr");
_Static_assert(KVM_SYS(3, 0, 12, 0, 0) == ARM64_SYS_REG(3, 0, 12, 0, 0), "system register id");
_Static_assert(KVM_ID_U128 == KVM_REG_SIZE_U128 && KVM_ID_U32 == KVM_REG_SIZE_U32, "sizes");
#endif

uint64_t gdb_reg_kvm_id(enum gdb_reg reg)
{
	switch (reg) {
	case GDB_REG_SP_EL0:
		return KVM_CORE(KVM_ID_U64, WORD_SP);
	case GDB_REG_PC:
		return KVM_CORE(KVM_ID_U64, WORD_PC);
	case GDB_REG_PSTATE:
		return KVM_CORE(KVM_ID_U64, WORD_PSTATE);
	case GDB_REG_SP_EL1:
		return KVM_CORE(KVM_ID_U64, WORD_SP_EL1);
	case GDB_REG_ELR_EL1:
		return KVM_CORE(KVM_ID_U64, WORD_ELR_EL1);
	case GDB_REG_SPSR_EL1:
		return KVM_CORE(KVM_ID_U64, WORD_SPSR);
	case GDB_REG_FPSR:
		return KVM_CORE(KVM_ID_U32, WORD_FPSR);
	case GDB_REG_FPCR:
		return KVM_CORE(KVM_ID_U32, WORD_FPCR);
	case GDB_REG_SCTLR_EL1:
		return KVM_SYS(3, 0, 1, 0, 0);
	case GDB_REG_TTBR0_EL1:
		return KVM_SYS(3, 0, 2, 0, 0);
	case GDB_REG_TTBR1_EL1:
		return KVM_SYS(3, 0, 2, 0, 1);
	case GDB_REG_TCR_EL1:
		return KVM_SYS(3, 0, 2, 0, 2);
	case GDB_REG_ESR_EL1:
		return KVM_SYS(3, 0, 5, 2, 0);
	case GDB_REG_VBAR_EL1:
		return KVM_SYS(3, 0, 12, 0, 0);
	default:
		break;
	}
	if (reg >= GDB_REG_V0 && reg <= GDB_REG_V31)
		return KVM_CORE(KVM_ID_U128, WORD_VREGS + 4 * (uint64_t)(reg - GDB_REG_V0));
	return KVM_CORE(KVM_ID_U64, 2 * (uint64_t)(reg - GDB_REG_X0));
}
