/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vCPUs: one thread each, in and out of KVM_RUN.
 *
 * Keeping vCPUs out of the guest. A vCPU thread says that it is in the guest (in_guest) and then
 * looks whether it may be (vm-wide hold count, its own held flag); who wants it out sets the
 * latter and then looks at the former. Both sides are sequentially consistent, so one of them
 * sees the other. Only being in the guest counts: a thread that waits for a lock of ours while
 * it handles an exit is out, so whoever holds that lock can wait for it here.
 */
#ifndef VMM_VCPU_H
#define VMM_VCPU_H

#include <pthread.h>
#include <stdatomic.h>

#include "vmm/core/kvm.h"

struct machine;

#define VCPU_EXIT_REASONS 64	/* more than KVM has */

struct vcpu {
	struct kvm_vcpu k;
	struct machine *m;
	pthread_t thread;
	bool created;				/* the thread is to be joined */
	_Atomic bool started;			/* @thread is set: it can be kicked */
	_Atomic bool in_guest;
	_Atomic bool on;			/* PSCI in user space: not switched off */
	_Atomic bool held;			/* gdb keeps this one out */
	_Atomic int keep_out;			/* held out while another vCPU switches it on */
	bool running;				/* the thread has not ended; under park_lock */
	bool parked;				/* waits to be let in; under park_lock */
	bool half_done;				/* an MMIO exit, completed by the next KVM_RUN */
	_Atomic uint64_t exits[VCPU_EXIT_REASONS];	/* exits to user space by reason */
};

/** vcpus_create() - create and initialise all of the machine's vCPUs in KVM, not yet running */
int vcpus_create(struct machine *m, struct err *e);
/** vcpus_pmu() - the PMUs' second step, after the GIC is initialised */
int vcpus_pmu(struct machine *m, struct err *e);
/** vcpus_start() - start the threads */
int vcpus_start(struct machine *m, struct err *e);
/** vcpus_kick() - get vCPUs out of KVM_RUN, for them to look at what changed */
void vcpus_kick(struct machine *m);
/** vcpus_running() - threads that have not ended */
unsigned int vcpus_running(struct machine *m);
/** vcpus_join() - after vcpus_running() is 0 */
void vcpus_join(struct machine *m);
/** vcpus_destroy() - close them */
void vcpus_destroy(struct machine *m);

/** vcpus_stop() - hold all vCPUs but @self out of the guest; counted, any thread */
void vcpus_stop(struct machine *m, const struct vcpu *self);
/** vcpus_go() - undo one vcpus_stop() */
void vcpus_go(struct machine *m);
/** vcpu_hold() - hold one vCPU out of the guest until vcpu_release(); returns at once */
void vcpu_hold(struct vcpu *v);
void vcpu_release(struct vcpu *v);
/**
 * vcpu_wait_parked() - wait until a held vCPU has finished what it was doing
 *
 * Its registers are then those of the next instruction. Gives up after a second: a thread that
 * handles an exit may itself wait for the caller's (the loop's) thread.
 */
void vcpu_wait_parked(struct vcpu *v);

/**
 * vcpu_power_on() - PSCI CPU_ON: reset a vCPU that is off and let it begin
 * @entry: pc; @arg: x0
 *
 * Return: 0 or a negative errno. The caller serialises with vcpu_power_off().
 */
int vcpu_power_on(struct vcpu *v, ipa_t entry, uint64_t arg);
/** vcpu_power_off() - PSCI CPU_OFF, on the vCPU's own thread */
void vcpu_power_off(struct vcpu *v);
/** vcpu_suspend() - PSCI CPU_SUSPEND, on the vCPU's own thread: wait for an interrupt */
void vcpu_suspend(struct vcpu *v);

/** vcpu_exit_name() - a KVM_EXIT_* as a word; "other" for those that arm64 does not have */
const char *vcpu_exit_name(unsigned int reason);

/** vcpu_self() - the vCPU whose thread calls, NULL on other threads */
struct vcpu *vcpu_self(void);

#endif
