/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside the model of KVM. One lock guards it all; guests and KVM_RUN meet in struct fake_op. */
#ifndef TESTS_FAKE_INT_H
#define TESTS_FAKE_INT_H

#include <pthread.h>
#include <setjmp.h>

#include "tests/fakekvm/fake_rmi.h"
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
	struct fake_vm *vm;
	uint8_t *page;		/* of a realm: enum fake_granule per page, else NULL */
};

/* What the RMM and KVM know of a page of a guest_memfd. */
enum fake_granule {
	G_DELEGATED = 1,
	G_SHARED = 2,		/* the attribute says so */
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
	long event;		/* which eventfd it is, whatever descriptor names it */
};

/* An irqfd of a GSI that is no SPI: an MSI. */
struct fake_irqfd {
	uint32_t gsi;
	int fd;
	long event;
};

/* An irqfd of a level-triggered SPI. */
struct fake_level {
	uint32_t spi;
	int fd, resample;
	long event;
};

struct fake_range {
	uint32_t first, last;
	uint8_t action;
};

struct fake_reg {
	uint64_t id;
	uint8_t val[256];	/* the largest: an SVE vector */
};

enum fake_what { OP_ACCESS, OP_SMC, OP_EXIT, OP_ERROR, OP_FAULT };
enum fake_after { AGAIN, LEAVE };	/* what KVM_RUN does next */

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

	/* in a realm */
	bool rec, runnable;
	struct {
		bool pending;
		ipa_t base, top;
		bool ram, destroyed;
		unsigned int again;
	} change;		/* of RIPAS, committed when the vCPU is entered again */
	struct {
		bool pending, told;
		struct fake_cpu *target;
		int64_t result;
	} psci;			/* a call about another vCPU, answered in user space */
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
	struct fake_irqfd *msi_fd;
	unsigned int nr_msi_fds;
	struct fake_level *level_fd;
	unsigned int nr_level_fds;
	struct kvm_irq_routing_entry *route;
	unsigned int nr_routes;
	bool routed;			/* KVM_SET_GSI_ROUTING replaced the default */
	unsigned int raised[KVM_ROUTES_MAX];
	uint8_t level[FAKE_MAX_SPIS];
	bool gic, gic_ready, has_its, its_ready;
	ipa_t dist, redist, its;
	unsigned int redist_count, nr_spis;
	bool cap_on[FAKE_NR_CAPS];
	struct fake_cpu *cpu[FAKE_MAX_CPUS];
	unsigned int nr_cpus;
	bool have_features;
	uint32_t features;
	struct fake_realm *realm;	/* NULL: an ordinary VM */
};

enum fake_page {		/* of the protected half */
	P_RIPAS = 3,		/* enum fake_ripas */
	P_DATA = 4,		/* a granule is mapped */
	P_PRIVATE = 8,		/* attribute of the VM */
	P_TABLE = 16,		/* << 0..2: the table of level 1 to 3 that begins here is there */
};

struct fake_realm {
	enum fake_realm_state state;
	ipa_t top;		/* of the protected half, which is the shared bit */
	uint8_t *page;
	uint64_t dfr0;
	enum realm_hash algo;
	uint8_t rpv[64];
	uint8_t rim[REALM_HASH_MAX];
	unsigned int recs, populates;
};

struct fake_state {
	pthread_mutex_t lock;
	struct fake_vm *vm;		/* the newest */
	unsigned int boots, slot_races;
	fake_guest *guest[FAKE_MAX_CPUS];
	void *guest_ctx[FAKE_MAX_CPUS];
};
extern struct fake_state fake;

/* fakekvm.c; all with the lock held */
void fake_gmem_hide(struct fake_gmem *g, uint64_t off, uint64_t len, bool hide);
bool fake_gmem_maps(const void *addr);	/* a mapping of a guest_memfd? */
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
int fake_vcpu_init(struct fake_cpu *c, const struct a64_vcpu_init *init);
int fake_vcpu_ioctl(struct fake_cpu *c, unsigned long req, unsigned long arg);
uint64_t fake_get(struct fake_cpu *c, uint64_t id);
void fake_put(struct fake_cpu *c, uint64_t id, uint64_t val);

/* fake_run.c */
int fake_run(struct fake_cpu *c);
void fake_answer(struct fake_cpu *c);
enum fake_after fake_leave(struct fake_cpu *c, unsigned int reason);
void fake_copy(struct fake_op *op, uint8_t *p);
enum fake_after fake_io(struct fake_cpu *c, struct fake_op *op);
enum fake_after fake_system_end(struct fake_cpu *c, uint32_t type);
void fake_wake(struct fake_cpu *c);
void fake_stop_guest(struct fake_cpu *c);	/* drops the lock on the way */

/* fake_rmi.c: KVM's side of realms */
void fake_rmi_reset(void);
int fake_rmi_vm_new(struct fake_vm *vm, unsigned long type);
void fake_rmi_vm_free(struct fake_vm *vm);
int fake_rmi_vm_ioctl(struct fake_vm *vm, unsigned long req, unsigned long arg, bool *handled);
int fake_rmi_vcpu_ioctl(struct fake_cpu *c, unsigned long req, unsigned long arg, bool *handled);
int fake_rmi_gmem_ioctl(struct fake_gmem *g, unsigned long req, unsigned long arg);
bool fake_rmi_is_ioctl(unsigned long req);
void fake_rmi_slot(struct fake_vm *vm, const struct fake_slot *s, bool gone);
void fake_rmi_gmem_new(struct fake_vm *vm, struct fake_gmem *g);
void fake_rmi_punch(struct fake_gmem *g, uint64_t off, uint64_t len);
void fake_rmi_gmem_close(struct fake_gmem *g);
int fake_rmi_first_run(struct fake_cpu *c);
bool fake_rmi_gmem_only(const struct fake_slot *s);
struct fake_call *fake_note(const char *name, uint64_t base, uint64_t size, uint64_t flags);
struct fake_call *fake_note_ioctl(const struct fake_fd *f, unsigned long req, unsigned long arg);

/* fake_rmm.c: the RMM. Each returns 0 or the errno KVM makes of the RMM's refusal */
uint8_t *fake_page(struct fake_realm *r, ipa_t ipa);
int fake_rmm_create(struct fake_vm *vm);
int fake_rmm_data(struct fake_vm *vm, struct fake_slot *s, ipa_t ipa, const void *content,
		  bool measure);
int fake_rmm_init_ripas(struct fake_vm *vm, ipa_t base, ipa_t top);
int fake_rmm_rec(struct fake_cpu *c, bool runnable);
void fake_rmm_unmap(struct fake_vm *vm, ipa_t base, uint64_t len);
int fake_rmm_psci_complete(struct fake_cpu *c, int32_t status);
enum fake_after fake_rec_op(struct fake_cpu *c, struct fake_op *op, int *ret);
void fake_rec_complete(struct fake_cpu *c, struct fake_op *op);
uint8_t *fake_private_mem(const struct fake_slot *s, ipa_t ipa);

#endif
