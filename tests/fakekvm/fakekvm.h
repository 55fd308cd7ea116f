/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A model of arm64 KVM behind struct kvm_sys, for tests on any machine.
 *
 * It keeps KVM's state machines and errors (Documentation/virt/kvm/api.rst,
 * devices/arm-vgic-v3.rst, devices/arm-vgic-its.rst, devices/vm.rst, devices/vcpu.rst;
 * virt/kvm/kvm_main.c and arch/arm64/kvm/ where the text is silent) and is stricter than KVM where
 * a call would be legal but wrong: such a call is a complaint, and a test with complaints fails.
 *
 * A guest is a C function on a thread of its own. What a CPU would do to the world outside of its
 * registers (memory access, SMC, ...) it asks of KVM_RUN, which carries it out through the
 * memslots and the in-kernel devices or exits to user space. So it happens only while the vCPU is
 * in the guest, and a guest that does nothing is one that runs: KVM_RUN blocks until a signal.
 *
 * There is one such host in a process. What the kernel is able to do is a table (struct fake_gen).
 * Kernels with realms, and the RMM under them: tests/fakekvm/fake_rmi.h.
 */
#ifndef TESTS_FAKEKVM_H
#define TESTS_FAKEKVM_H

#include "vmm/core/kvm.h"

struct fake_vm;
struct fake_cpu;

/** fake_sys - the seam */
extern const struct kvm_sys fake_sys;

#define FAKE_NR_CAPS 320

/**
 * struct fake_host - what machine and kernel offer; tests change it after fake_reset()
 * @path:       the only device file there is
 * @open_error: opening it fails with this errno (positive), 0: it does not
 * @cap:        answers of KVM_CHECK_EXTENSION
 * @type_mask:  bits that KVM_CREATE_VM takes besides the IPA width
 * @features:   bits of KVM_ARM_VCPU_INIT
 * @gmem_flags: flags of KVM_CREATE_GUEST_MEMFD
 * @sve_vq:     bit n: vectors of (n + 1) * 128 bits
 * @kvm_cap_arm_rmi, @kvm_cap_arm_rme: module parameters of kvm, 0: it has none of that name
 */
struct fake_host {
	const char *path;
	int open_error;
	int api_version;
	int run_size;
	int cap[FAKE_NR_CAPS];
	uint64_t type_mask;
	unsigned int ipa_bits, max_vcpus;
	uint32_t features;
	bool gicv3, its, smccc_filter;
	bool strange_mpidr;
	uint64_t gmem_flags;
	uint64_t sve_vq;
	unsigned int pmu_counters;
	long kvm_cap_arm_rmi, kvm_cap_arm_rme;
};
extern struct fake_host fake_host;

/**
 * struct fake_gen - a kernel
 * @setup: fill @h, which has what all kernels of this model have in common
 */
struct fake_gen {
	const char *name;
	void (*setup)(struct fake_host *h);
};

extern const struct fake_gen fake_linux_6_1;	/* no SMCCC filter, no guest_memfd */
extern const struct fake_gen fake_linux_6_12;	/* no guest_memfd on arm64 */
extern const struct fake_gen fake_linux_7_3;	/* guest_memfd for ordinary VMs */

/** fake_reset() - a new host; the one before must have been left clean */
void fake_reset(const struct fake_gen *gen);
/**
 * fake_verdict() - what is wrong at the end of a test: complaints, open descriptors, mappings
 * Return: NULL or the first reason (all of them were printed).
 */
const char *fake_verdict(void);
/** fake_complain() - the caller of KVM or a guest has found a fault; any thread */
void fake_complain(const char *fmt, ...) PRINTF_LIKE(1, 2);
/** fake_expect() - for guests, which cannot use cmocka's assertions on their threads */
#define fake_expect(cond) \
	((cond) ? (void)0 : fake_complain("%s:%d: %s", __FILE__, __LINE__, #cond))
#define fake_expect_eq(a, b) do { \
	uint64_t a_ = (a), b_ = (b); \
	if (a_ != b_) \
		fake_complain("%s:%d: %s is %#" PRIx64 ", not %#" PRIx64, __FILE__, __LINE__, #a, \
			      a_, b_); \
} while (0)

/* ---- faults ---------------------------------------------------------------------------------- */

/** fake_fail_nth() - the @n-th seam call from now on (1: the next) fails with @err; 0: none does */
void fake_fail_nth(unsigned int n, int err);
/** fake_fail_ioctl() - the @n-th ioctl @req from now on fails with @err */
void fake_fail_ioctl(unsigned long req, unsigned int n, int err);
/** fake_failed() - the call that was made to fail ("KVM_CREATE_VCPU"), NULL: none yet */
const char *fake_failed(void);
/** fake_calls() - seam calls since fake_reset() */
unsigned int fake_calls(void);
/** fake_count() - ioctls @req since fake_reset() */
unsigned int fake_count(unsigned long req);

/* ---- what became of the VM; the newest one, from any thread ---------------------------------- */

/** fake_boots() - VMs made since fake_reset() */
unsigned int fake_boots(void);
/** fake_slots() - memslots in use */
unsigned int fake_slots(void);
/** fake_slot_at() - is there a memslot at @ipa? */
bool fake_slot_at(ipa_t ipa);
/** fake_slot_races() - changes of a memslot while some vCPU other than the caller's was running */
unsigned int fake_slot_races(void);
/** fake_mem() - copy memory as a guest sees it at @ipa; false: no memslot */
bool fake_mem(ipa_t ipa, void *buf, size_t len);
/** fake_irq_level() - level of an SPI driven by KVM_IRQ_LINE, or by resampling irqfds */
int fake_irq_level(unsigned int spi);
/** fake_eoi() - the guest ends the interrupt of a level-triggered SPI */
void fake_eoi(unsigned int spi);
/** fake_resamplers() - how many resampling irqfds an SPI has */
unsigned int fake_resamplers(unsigned int spi);
/** fake_irqfd_count() - triggers of an SPI by its irqfd since the last call; -1: it has none */
int fake_irqfd_count(unsigned int spi);
/** fake_route() - how a GSI is routed; false: not at all */
bool fake_route(uint32_t gsi, struct kvm_irq_routing_entry *out);
/** fake_routes() - entries of the routing table; 0: it is the default one */
unsigned int fake_routes(void);
/** fake_gsi_count() - triggers of a GSI beyond the SPIs since the last call; -1: it has no irqfd */
int fake_gsi_count(uint32_t gsi);
/** fake_ioeventfd_at() - is there an ioeventfd of @len bytes without datamatch at @ipa? */
bool fake_ioeventfd_at(ipa_t ipa, unsigned int len);
/** fake_ioeventfds() - how many there are */
unsigned int fake_ioeventfds(void);
/** fake_in_guest() - is vCPU @id in KVM_RUN? */
bool fake_in_guest(unsigned int id);
/** fake_cap_enabled() - was KVM_ENABLE_CAP called for it? */
bool fake_cap_enabled(unsigned int cap);

/* ---- guests ---------------------------------------------------------------------------------- */

typedef void fake_guest(struct fake_cpu *c, void *ctx);

/** fake_set_guest() - what vCPU @id executes, in each VM; it idles when the function returns */
void fake_set_guest(unsigned int id, fake_guest *fn, void *ctx);
/** fake_boot() - 1 in the first VM, 2 after a reset, ... */
unsigned int fake_boot(const struct fake_cpu *c);
/** fake_id() - number of the vCPU */
unsigned int fake_id(const struct fake_cpu *c);

/**
 * fake_read(), fake_write() - plain load and store of 1, 2, 4 or 8 bytes
 * fake_aborted() tells whether the access became an external abort.
 */
uint64_t fake_read(struct fake_cpu *c, ipa_t ipa, unsigned int len);
void fake_write(struct fake_cpu *c, ipa_t ipa, uint64_t val, unsigned int len);
/** fake_ldp() - an access that comes without a syndrome where there is no memory */
void fake_ldp(struct fake_cpu *c, ipa_t ipa);
bool fake_aborted(const struct fake_cpu *c);

/** fake_smc() - @x: x0..x17 in and out. fake_hvc(): the same with the other instruction */
void fake_smc(struct fake_cpu *c, uint64_t x[18]);
void fake_hvc(struct fake_cpu *c, uint64_t x[18]);
/** fake_call() - SMC with up to four arguments, result x0 */
uint64_t fake_call(struct fake_cpu *c, uint64_t fn, uint64_t a, uint64_t b, uint64_t d);
/** fake_reg(), fake_set_reg() - registers as the guest has them */
uint64_t fake_reg(struct fake_cpu *c, uint64_t id);
void fake_set_reg(struct fake_cpu *c, uint64_t id, uint64_t val);

#define FAKE_PSCI_CPU_OFF	0x84000002U
#define FAKE_PSCI_CPU_ON	0xc4000003U
#define FAKE_PSCI_SYSTEM_OFF	0x84000008U
#define FAKE_PSCI_SYSTEM_RESET	0x84000009U
/** fake_poweroff(), fake_system_reset() - PSCI; they do not return */
void fake_poweroff(struct fake_cpu *c) __attribute__((noreturn));
void fake_system_reset(struct fake_cpu *c) __attribute__((noreturn));

/** fake_exit() - KVM_RUN returns 0 with @reason; @data: first 64-bit words of the union, or NULL */
void fake_exit(struct fake_cpu *c, unsigned int reason, const uint64_t *data, unsigned int nr);
/** fake_error() - KVM_RUN fails with -@err, once (EINTR, EAGAIN: as a host does it at times) */
void fake_error(struct fake_cpu *c, int err);
/** fake_run_until() - run without a trace until *@flag is set */
void fake_run_until(struct fake_cpu *c, const _Atomic bool *flag);

#endif
