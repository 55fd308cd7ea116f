/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The gdb server: gdb's remote serial protocol in front of a stopped or running machine. It knows
 * the machine by struct gdb_target_ops alone.
 *
 * Threads. All protocol work and all callbacks run on the thread of the event loop. vCPU threads
 * call gdb_on_debug() only, which leaves a note and returns. All-stop: either the machine runs as
 * gdb ordered, or every vCPU is stopped and gdb looks at it.
 *
 * What the target does with its vCPUs (the contract):
 * - stop_all() returns when no vCPU is inside the guest, nor between its KVM_EXIT_DEBUG and the
 *   return of gdb_on_debug(). One that has left its note and waits for a resume() is stopped.
 * - A vCPU thread that gets KVM_EXIT_DEBUG calls gdb_on_debug() and then does not enter the guest
 *   again before a resume() that names it. gdb_on_debug() takes no lock but its own, so it may be
 *   called with the lock held that guards the vCPU's state. So a note is always about the
 *   present run. Where several vCPUs stop at once gdb hears of the first; the others meet their
 *   breakpoint again, because arm64 takes debug exceptions before the instruction is executed.
 * - A vCPU that the guest has powered off is stopped and resumed like any other.
 */
#ifndef VMM_GDB_H
#define VMM_GDB_H

#include "vmm/core/types.h"

struct err;
struct gdb;
struct loop;

/** enum gdb_reg - registers of a vCPU; 64 bits unless noted */
enum gdb_reg {
	GDB_REG_X0,			/* ..X30: GDB_REG_X0 + n */
	GDB_REG_X30 = GDB_REG_X0 + 30,
	GDB_REG_SP_EL0,
	GDB_REG_PC,
	GDB_REG_PSTATE,
	GDB_REG_SP_EL1,
	GDB_REG_ELR_EL1,
	GDB_REG_SPSR_EL1,
	GDB_REG_V0,			/* ..V31: GDB_REG_V0 + n, 128 bits */
	GDB_REG_V31 = GDB_REG_V0 + 31,
	GDB_REG_FPSR,			/* 32 bits */
	GDB_REG_FPCR,			/* 32 bits */
	GDB_REG_SCTLR_EL1,
	GDB_REG_TTBR0_EL1,
	GDB_REG_TTBR1_EL1,
	GDB_REG_TCR_EL1,
	GDB_REG_ESR_EL1,
	GDB_REG_VBAR_EL1,
	GDB_NR_REGS,
};

/**
 * gdb_reg_kvm_id() - the id of a register for KVM_GET_ONE_REG and KVM_SET_ONE_REG on arm64
 *
 * On a vCPU with SVE, KVM refuses the ids of V0..V31: the low 128 bits of KVM_REG_ARM64_SVE_ZREG
 * hold them.
 */
uint64_t gdb_reg_kvm_id(enum gdb_reg reg);

/** struct gdb_regval - a register's value; KVM's ONE_REG calls can use its address as it is */
struct gdb_regval {
	uint64_t lo;
	uint64_t hi;			/* V registers only */
};

/* As many as struct kvm_guest_debug_arch has (KVM_ARM_MAX_DBG_REGS); CPUs have 2 to 16. */
#define GDB_MAX_HW 16

/**
 * struct gdb_debug - what a vCPU shall stop for; the content of KVM_SET_GUEST_DEBUG
 * @step: one instruction (KVM_GUESTDBG_SINGLESTEP)
 * @brk:  BRK instructions exit (KVM_GUESTDBG_USE_SW_BP)
 * @nr_bps: entries of @bcr and @bvr in use; the rest is 0
 * @nr_wps: entries of @wcr and @wvr in use; the rest is 0
 * @bcr: DBGBCR<n>_EL1, @bvr: DBGBVR<n>_EL1, @wcr: DBGWCR<n>_EL1, @wvr: DBGWVR<n>_EL1
 *       (KVM_GUESTDBG_USE_HW if one of them is in use)
 *
 * All zero: no debugging, the guest owns its debug registers again (control = 0).
 */
struct gdb_debug {
	bool step;
	bool brk;
	unsigned int nr_bps, nr_wps;
	uint64_t bcr[GDB_MAX_HW], bvr[GDB_MAX_HW];
	uint64_t wcr[GDB_MAX_HW], wvr[GDB_MAX_HW];
};

/** struct gdb_debug_exit - struct kvm_debug_exit_arch: the low half of ESR_EL2, and FAR_EL2 */
struct gdb_debug_exit {
	uint32_t hsr;
	uint64_t far;
};

/**
 * struct gdb_target_ops - the machine as the server sees it
 *
 * All are called on the loop's thread; all but stop_all() and kill() only while the machine is
 * stopped. Functions that return int return 0 or a negative errno.
 */
struct gdb_target_ops {
	/** @nr_cpus: number of vCPUs, fixed while the server lives */
	unsigned int (*nr_cpus)(void *ctx);
	/** @nr_hw: KVM_CAP_GUEST_DEBUG_HW_BPS and .._WPS; the server uses up to GDB_MAX_HW */
	void (*nr_hw)(void *ctx, unsigned int *bps, unsigned int *wps);
	/** @stop_all: keep all vCPUs out of the guest; returns when they are out */
	void (*stop_all)(void *ctx);
	/** @resume: let a vCPU go on, or all of them (@cpu is -1) */
	void (*resume)(void *ctx, int cpu);
	/** @get_reg: read a register; @val is zeroed before */
	int (*get_reg)(void *ctx, unsigned int cpu, enum gdb_reg reg, struct gdb_regval *val);
	int (*set_reg)(void *ctx, unsigned int cpu, enum gdb_reg reg, const struct gdb_regval *val);
	/** @read_ipa: read guest memory and nothing else; any address, any length up to a page */
	int (*read_ipa)(void *ctx, ipa_t ipa, void *buf, size_t len);
	/**
	 * @write_ipa: write guest memory; what is written must reach the guest's instruction
	 * fetch (__builtin___clear_cache() on the host's address of it)
	 */
	int (*write_ipa)(void *ctx, ipa_t ipa, const void *buf, size_t len);
	/** @set_debug: KVM_SET_GUEST_DEBUG */
	int (*set_debug)(void *ctx, unsigned int cpu, const struct gdb_debug *d);
	/**
	 * @kill: gdb wants the machine to end; no vCPU has to run for it. gdb_close() comes later,
	 * not from inside of this call.
	 */
	void (*kill)(void *ctx);
};

/**
 * gdb_start() - listen for gdb, with the machine stopped
 * @l:    loop that serves it
 * @spec: "PORT": TCP on 127.0.0.1 (0: any free port); "unix:PATH": a socket file, mode 0600
 * @ops:  the machine; @ctx: argument of its functions
 * @out:  the server
 *
 * Calls stop_all() before it returns: no instruction is executed until gdb says so. To be called
 * before the vCPU threads enter the guest.
 *
 * Return: 0; -EINVAL (spec); -EADDRINUSE; what socket(7) says.
 */
int gdb_start(struct loop *l, const char *spec, const struct gdb_target_ops *ops, void *ctx,
	      struct gdb **out, struct err *e);
/** gdb_listen() - the first half of gdb_start(), which needs no machine; nobody is served yet */
int gdb_listen(struct loop *l, const char *spec, struct gdb **out, struct err *e);
/** gdb_attach() - the second half */
int gdb_attach(struct gdb *g, const struct gdb_target_ops *ops, void *ctx, struct err *e);
/** gdb_remove() - remove the socket file, as gdb_close() does */
void gdb_remove(const struct gdb *g);

/** gdb_where() - where it listens, as gdb's "target remote" wants it ("127.0.0.1:1234", a path) */
const char *gdb_where(const struct gdb *g);

/**
 * gdb_on_debug() - a vCPU came out with KVM_EXIT_DEBUG; on its thread
 *
 * Returns at once; see the contract above for what the vCPU does then.
 */
void gdb_on_debug(struct gdb *g, unsigned int cpu, const struct gdb_debug_exit *info);

/**
 * gdb_on_reset() - the machine was rebuilt; on the loop's thread, vCPUs not yet in the guest
 *
 * Debug settings are made again on the new vCPUs. A software breakpoint is patched again where
 * the new memory holds the instruction that it replaced, and dropped where it does not.
 */
void gdb_on_reset(struct gdb *g);

/**
 * gdb_close() - end the server: tell gdb, close, remove the socket file
 * @g:         server or NULL; no vCPU thread may call gdb_on_debug() any more
 * @exit_code: what gdb is told as the exit code of the machine
 */
void gdb_close(struct gdb *g, int exit_code);

#endif
