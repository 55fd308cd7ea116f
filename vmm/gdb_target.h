/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The machine below the gdb protocol: virtual memory, breakpoints, watchpoints and single step,
 * made from the simple operations of struct gdb_target_ops. The machine is stopped in all calls.
 * Inner part of the gdb server: vmm/gdb.h is its face.
 */
#ifndef VMM_GDB_TARGET_H
#define VMM_GDB_TARGET_H

#include <sys/types.h>

#include "vmm/gdb.h"

#define GDB_MAX_BREAKPOINTS 256

/* What a vCPU does at the next resume. */
enum gdb_action {
	GDB_STAY,
	GDB_RUN,
	GDB_STEP,
};

struct gdb_cpu {
	enum gdb_action action;
	/* Interrupts are masked for one step: what PSTATE.{I,F} were, and where it began. */
	bool masked;
	uint64_t masked_pstate, masked_pc;
	struct gdb_debug debug;		/* as set_debug() was told last */
};

struct gdb_breakpoint {
	bool used;
	bool hw_wanted;			/* Z1, else Z0 */
	bool in_hw;			/* sits in a breakpoint register, else patched */
	uint64_t va;
	ipa_t ipa;			/* patched: where the BRK is */
	uint32_t orig;			/* patched: what it replaced */
};

/* Values of the Z packets. */
enum gdb_z {
	GDB_Z_SOFTWARE = 0,
	GDB_Z_HARDWARE = 1,
	GDB_Z_WRITE = 2,
	GDB_Z_READ = 3,
	GDB_Z_ACCESS = 4,
};

struct gdb_watchpoint {
	bool used;
	enum gdb_z type;
	uint64_t va, len;
	uint64_t wcr, wvr;
};

struct gdb_target {
	const struct gdb_target_ops *ops;
	void *ctx;
	unsigned int nr_cpus;
	unsigned int nr_bps, nr_wps;	/* breakpoint and watchpoint registers */
	bool step_irqs;			/* single steps may enter interrupt handlers */
	struct gdb_cpu *cpu;
	struct gdb_breakpoint bp[GDB_MAX_BREAKPOINTS];
	struct gdb_watchpoint wp[GDB_MAX_HW];
};

/* Why a vCPU stopped, as gdb is told. */
struct gdb_stop {
	unsigned int cpu;
	int sig;			/* gdb's numbers: 2 SIGINT, 5 SIGTRAP */
	enum {
		GDB_STOP_PLAIN,
		GDB_STOP_SWBREAK,
		GDB_STOP_HWBREAK,
		GDB_STOP_WATCH,
	} why;
	enum gdb_z watch;		/* GDB_STOP_WATCH: its type */
	uint64_t addr;			/* GDB_STOP_WATCH: its address */
};

#define GDB_SIGINT	2
#define GDB_SIGTRAP	5

/** gdb_target_init() - Return: 0, -EINVAL (no vCPU) or -ENOMEM */
int gdb_target_init(struct gdb_target *t, const struct gdb_target_ops *ops, void *ctx);
/** gdb_target_free() - free what gdb_target_init() allocated; touches no vCPU */
void gdb_target_free(struct gdb_target *t);

/** gdb_target_reg() - read a 64-bit register */
int gdb_target_reg(struct gdb_target *t, unsigned int cpu, enum gdb_reg reg, uint64_t *val);
/** gdb_target_set_reg() - write a 64-bit register */
int gdb_target_set_reg(struct gdb_target *t, unsigned int cpu, enum gdb_reg reg, uint64_t val);

/**
 * gdb_target_read() - read memory at a virtual address, as @cpu sees it, without our own patches
 *
 * Return: bytes read, less than @len if a page further on is not mapped; a negative errno if
 * there is not one byte.
 */
ssize_t gdb_target_read(struct gdb_target *t, unsigned int cpu, uint64_t va, void *buf, size_t len);
/** gdb_target_write() - write memory, below our own patches. Return: 0 or a negative errno */
int gdb_target_write(struct gdb_target *t, unsigned int cpu, uint64_t va, const void *buf,
		     size_t len);

/**
 * gdb_target_insert() - set a breakpoint or watchpoint; the same one again is no error
 * @len: breakpoints: 4; watchpoints: bytes
 *
 * Return: 0; -EINVAL (what the hardware cannot watch); -ENOSPC (registers or table full);
 * -EFAULT or the error of write_ipa() for an instruction that cannot be patched.
 */
int gdb_target_insert(struct gdb_target *t, unsigned int cpu, enum gdb_z type, uint64_t va,
		      uint64_t len);
/** gdb_target_remove() - take it away; one that is not there is no error */
int gdb_target_remove(struct gdb_target *t, enum gdb_z type, uint64_t va, uint64_t len);
/** gdb_target_clear() - take all away and stop debugging on all vCPUs */
void gdb_target_clear(struct gdb_target *t);

/** gdb_target_prepare() - before a resume: bring the vCPUs' debug settings in line with action */
int gdb_target_prepare(struct gdb_target *t);
/** gdb_target_settle() - after a stop: take back what gdb_target_prepare() did to the guest */
void gdb_target_settle(struct gdb_target *t);
/** gdb_target_reset() - the vCPUs and the memory are new ones */
void gdb_target_reset(struct gdb_target *t);

/**
 * gdb_target_explain() - what a debug exit means
 *
 * A BRK of the guest's own is handed to the guest as the exception that it is.
 *
 * Return: true if gdb shall be told, with @stop filled; false if the machine goes on.
 */
bool gdb_target_explain(struct gdb_target *t, unsigned int cpu, const struct gdb_debug_exit *info,
			struct gdb_stop *stop);

#endif
