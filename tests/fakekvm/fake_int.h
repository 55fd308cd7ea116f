/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside the model of KVM. One lock guards it all; guests and KVM_RUN meet in struct fake_op. */
#ifndef TESTS_FAKE_INT_H
#define TESTS_FAKE_INT_H

#include <pthread.h>
#include <setjmp.h>

#include "tests/fakekvm/fakekvm.h"

#define FAKE_MAX_CPUS	512
#define FAKE_MAX_SLOTS	32767	/* KVM_USER_MEM_SLOTS */
#define FAKE_MAX_SPIS	992

enum fake_kind { FD_FREE, FD_DEV, FD_VM, FD_VCPU, FD_GIC, FD_ITS, FD_GMEM };

struct fake_fd {
	enum fake_kind kind;
	struct fake_vm *vm;
	struct fake_cpu *cpu;
	struct fake_gmem *gmem;
};

struct fake_gmem {
	int fd;			/* memfd */
	uint64_t size, flags;
	uint8_t *map;		/* the model's own view */
	unsigned int refs;	/* descriptor and memslots */
};

struct fake_slot {
	unsigned int slot;
	uint32_t flags;
	ipa_t ipa;
	uint64_t size;
	uint8_t *host;
	struct fake_gmem *gmem;
	uint64_t gmem_off;
};

struct fake_ioev {
	ipa_t addr;
	uint32_t len, flags;
	uint64_t match;
	int fd;
};

struct fake_range {
	uint32_t first, last;
	uint8_t action;
};

struct fake_reg {
	uint64_t id;
	uint8_t val[256];	/* the largest: an SVE vector */
};

enum fake_what { OP_ACCESS, OP_SMC, OP_EXIT, OP_ERROR };

/* What a guest asks of KVM_RUN. */
struct fake_op {
	enum fake_what what;
	ipa_t ipa;
	unsigned int len;
	bool write, isv, aborted, hvc;
	uint64_t val, x[18];
	unsigned int reason, nr;
	uint64_t data[8];
	int err;
};

struct fake_cpu {
	struct fake_vm *vm;
	unsigned int id;
	struct kvm_run *run;
	uint32_t features;
	bool inited, finalized, powered, suspended, in_run, pmu_irq, pmu_ready;
	pthread_t runner;	/* the thread in KVM_RUN */
	struct fake_reg *reg;
	unsigned int nr_regs, cap_regs;
	struct a64_guest_debug debug;

	/* the guest */
	pthread_t thread;
	pthread_cond_t answered;
	bool started, dying;
	int wake_fd;		/* eventfd: something for KVM_RUN to look at */
	struct fake_op *op;	/* asked, NULL: the guest computes or idles */
	bool exited;		/* @op is in user space */
	bool abort;		/* user space answers it with an external abort */
	bool last_aborted;
	jmp_buf out;
};

struct fake_vm {
	unsigned int refs, boot;
	unsigned int bits;
	bool fd_open, ran, nisv;
	struct fake_slot *slot;
	unsigned int nr_slots, cap_slots;
	struct fake_range *filter;
	unsigned int nr_filter;
	struct fake_ioev *ioev;
	unsigned int nr_ioev;
	int irqfd[FAKE_MAX_SPIS];
	uint8_t level[FAKE_MAX_SPIS];
	bool gic, gic_ready, has_its, its_ready;
	ipa_t dist, redist, its;
	unsigned int redist_count, nr_spis;
	bool cap_on[FAKE_NR_CAPS];
	struct fake_cpu *cpu[FAKE_MAX_CPUS];
	unsigned int nr_cpus;
	bool have_features;
	uint32_t features;
};

struct fake_state {
	pthread_mutex_t lock;
	const struct fake_gen *gen;
	struct fake_vm *vm;		/* the newest */
	unsigned int boots, slot_races;
	fake_guest *guest[FAKE_MAX_CPUS];
	void *guest_ctx[FAKE_MAX_CPUS];
};
extern struct fake_state fake;

/* fakekvm.c; all with the lock held */
int fake_fd_new(enum fake_kind kind, struct fake_vm *vm, struct fake_cpu *cpu,
		struct fake_gmem *gmem);
struct fake_fd *fake_fd_get(int fd, enum fake_kind kind);	/* FD_FREE: any */
void fake_gmem_put(struct fake_gmem *g);

/* fake_vm.c */
struct fake_vm *fake_vm_new(unsigned long type, int *ret);
void fake_vm_put(struct fake_vm *vm);
int fake_vm_ioctl(struct fake_vm *vm, unsigned long req, unsigned long arg);
int fake_gic_attr(struct fake_vm *vm, bool its, const struct kvm_device_attr *a, bool only_has);
int fake_first_run(struct fake_vm *vm);
struct fake_slot *fake_find_slot(struct fake_vm *vm, ipa_t ipa, unsigned int len);
uint8_t *fake_slot_mem(const struct fake_slot *s, ipa_t ipa);
bool fake_gic_owns(const struct fake_vm *vm, ipa_t ipa);
uint8_t fake_filter(const struct fake_vm *vm, uint32_t fn);

/* fake_vcpu.c */
int fake_vcpu_new(struct fake_vm *vm, unsigned long id);
void fake_vcpu_free(struct fake_cpu *c);	/* the lock is dropped on the way */
int fake_vcpu_ioctl(struct fake_cpu *c, unsigned long req, unsigned long arg);
uint64_t fake_get(struct fake_cpu *c, uint64_t id);
void fake_put(struct fake_cpu *c, uint64_t id, uint64_t val);

/* fake_run.c */
int fake_run(struct fake_cpu *c);
void fake_wake(struct fake_cpu *c);
void fake_stop_guest(struct fake_cpu *c);	/* drops the lock on the way */

#endif
