/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What makes a VM a realm, behind one table of operations. A back end decides how memory is
 * backed, where in-kernel devices are registered, how pages change sides and what an exit means.
 * Everything above this room is the same for a plain VM, an emulated realm and a KVM realm.
 */
#ifndef REALM_REALM_H
#define REALM_REALM_H

#include <pthread.h>

#include "realm/host.h"
#include "realm/ipa.h"
#include "realm/plan.h"
#include "realm/psci.h"
#include "realm/ripas.h"
#include "realm/rsi.h"
#include "vmm/core/gmem.h"
#include "vmm/core/kvm.h"

struct realm;

#define REALM_IO_SLOTS 512	/* stretches of BARs that are mapped at once */

/* What a back end says of an exit. */
enum realm_exit {
	REALM_EXIT_RUN,		/* dealt with: enter the guest again */
	REALM_EXIT_MMIO,	/* an access for a device, at the address in *ipa */
	REALM_EXIT_OTHER,	/* not the realm's business */
};

/**
 * struct realm_ops - a back end; each returns 0 or a negative errno with @e filled
 * @io_at_alias: KVM must be told the alias of in-kernel devices (see realm_kernel_io())
 * @rom_by_exit: no read-only memslots: what is not RAM is read by MMIO exits
 * @rmm_cpus:   the monitor keeps the vCPUs' registers: user space that switches a vCPU on does no
 *              more than to let it run
 * @no_debug:   nobody can look into the guest
 * @create:     create the VM in r->kvm with the right type; check what the host must offer
 * @add_ram:    back RAM, give it to KVM and to guest memory
 * @configure:  after the VM exists, before vCPUs are made
 * @features:   vCPU features this guest must have or cannot have, before KVM_ARM_VCPU_INIT
 * @vcpu:       after KVM_ARM_VCPU_INIT of each vCPU
 * @populate:   carry out the plan's pieces
 * @finalise:   all vCPUs exist and vCPU 0 has its registers: last step before they run
 * @exit:       look at an exit of @v before anybody else
 * @abort:      answer the MMIO exit of @v with an external abort; NULL: kvm_vcpu_abort()
 * @failed:     KVM_RUN of @v failed with @err: go on (RUN), or OTHER and perhaps @e filled
 * @convert:    change a range of RAM to @state; see struct rsi_ops
 * @trust_device: let the guest have an assigned device that it can attest in its own memory (RMM
 *              2.0 device assignment, TDISP), instead of one that reaches shared memory only. NULL:
 *              this back end cannot, see realm_trust_device()
 * @destroy:    free the back end's own state; descriptors of KVM are closed by the caller
 */
struct realm_ops {
	const char *name;
	bool io_at_alias, rom_by_exit, rmm_cpus, no_debug;
	int (*create)(struct realm *r, struct err *e);
	int (*add_ram)(struct realm *r, struct err *e);
	int (*configure)(struct realm *r, struct err *e);
	void (*features)(struct realm *r, uint32_t *features);
	int (*vcpu)(struct realm *r, struct kvm_vcpu *v, struct err *e);
	int (*populate)(struct realm *r, const struct plan *p, struct err *e);
	int (*finalise)(struct realm *r, struct err *e);
	enum realm_exit (*exit)(struct realm *r, struct kvm_vcpu *v, ipa_t *ipa);
	int (*abort)(struct realm *r, struct kvm_vcpu *v);
	enum realm_exit (*failed)(struct realm *r, struct kvm_vcpu *v, int err, struct err *e);
	int (*convert)(struct realm *r, ipa_t base, ipa_t top, enum ripas_state state, ipa_t *done);
	int (*trust_device)(struct realm *r, const char *name, struct err *e);
	void (*destroy)(struct realm *r);
};

extern const struct realm_ops realm_plain;
extern const struct realm_ops realm_emulated;
extern const struct realm_ops realm_kvm;

/**
 * struct realm_hooks - what a back end needs of the machine above it
 * @stop_vcpus:  bring all vCPUs but the caller's out of the guest and keep them out
 * @start_vcpus: let them in again
 * @psci:        the CPUs, for PSCI in user space; its functions get @ctx too
 * @cpu_off:     the calling vCPU is off when it is entered again
 * @cpu_wait:    the calling vCPU waits for an interrupt when it is entered again
 * @system_end:  the guest switched itself off, or wants a reset
 * @fatal:       the machine cannot go on; @why is one line
 * @measure:     compute the Realm Initial Measurement of what was populated; may take long
 * @vcpu:        vCPU @id, NULL: there are not so many
 * @progress:    @done of @total bytes of the image are in place; true: stop, the user wants out.
 *               May be NULL
 * @dma_share:   the guest shares [ipa, ipa + len): let assigned devices reach it. Called when the
 *               range has the pages that it keeps, before any device of ours may use it.
 *               -ENOTRECOVERABLE: it failed, and devices reach it all the same
 * @dma_unshare: the guest takes it back: no assigned device reaches it afterwards. Called before
 *               anything becomes of its pages. -ENOTRECOVERABLE: devices still do, or they lost
 *               memory that stays shared; other errors: nothing has changed
 * @dma_keeps:   is some of it mapped for DMA? Then its shared pages must stay what they are
 *
 * The three of DMA are NULL where there is no assigned device. Each is called once for a stretch of
 * one state of one request of the guest, under realm.lock; addresses are canonical.
 */
struct realm_hooks {
	void (*stop_vcpus)(void *ctx);
	void (*start_vcpus)(void *ctx);
	int (*measure)(void *ctx, uint8_t rim[REALM_HASH_MAX]);
	const struct psci_ops *psci;
	void (*cpu_off)(void *ctx, unsigned int cpu);
	void (*cpu_wait)(void *ctx, unsigned int cpu);
	void (*system_end)(void *ctx, bool reset);
	void (*fatal)(void *ctx, const char *why);
	struct kvm_vcpu *(*vcpu)(void *ctx, unsigned int id);
	bool (*progress)(void *ctx, uint64_t done, uint64_t total);
	int (*dma_share)(void *ctx, ipa_t ipa, uint64_t len, struct err *e);
	int (*dma_unshare)(void *ctx, ipa_t ipa, uint64_t len, struct err *e);
	bool (*dma_keeps)(void *ctx, ipa_t ipa, uint64_t len);
	void *ctx;
};

/* Conversions and requests, for `stat` and the trace; counters only grow. */
struct realm_stat {
	_Atomic uint64_t rsi_calls;
	_Atomic uint64_t to_shared, to_private;			/* requests that changed pages */
	_Atomic uint64_t bytes_shared, bytes_private;		/* bytes that changed sides */
};

struct realm {
	const struct realm_ops *ops;
	struct kvm *kvm;
	struct gmem *gm;
	struct realm_hooks hooks;

	/* what was asked for */
	struct ipa_split split;
	ipa_t ram_base;
	uint64_t ram_size;
	const char *hugetlbfs;		/* plain VM only */
	bool share_ram;			/* plain VM: RAM is a file that other processes can map */
	enum realm_hash algo;
	uint8_t rpv[RSI_RPV_SIZE];
	bool rpv_set;
	bool strict;			/* EMPTY ranges leave the lower slot */
	const char *keys_dir;		/* emulated: struct attest; NULL: the user's own */
	enum token_form token_form;	/* emulated: of which RMM its tokens are */
	const struct plan *plan;	/* until the first vCPU runs: which ranges are RIPAS RAM */
	unsigned int breakpoints, watchpoints;
	bool debug_exact;		/* these numbers and no others */
	bool pmu;			/* a back end that has none may clear it */
	bool best_effort;		/* warn of what the host cannot do, instead of refusing */
	bool psci_user;			/* KVM realm: PSCI is answered here, not by the kernel */
	struct realm_host_want host_want;

	/* what has become of it */
	uint8_t *shared;		/* mapping of the memory that devices reach */
	int shared_fd;			/* its memfd, -1: anonymous */
	int gmem_fd;			/* guest_memfd of the private side, -1: none */
	struct ripas ripas;
	struct rsi rsi;
	struct slots *slots;
	struct rmi *rmi;
	const char *generation;		/* KVM realm: name of the host's interface */
	unsigned int host_breakpoints, host_watchpoints;	/* that the host can give */
	struct attest *attest;		/* emulated: keys, and tokens in the making */
	bool shared_is_gmem;		/* the shared side is a mapping of gmem_fd */
	unsigned int next_slot;
	bool io_slot[REALM_IO_SLOTS];	/* in use by realm_map_io() */
	pthread_mutex_t lock;		/* serialises RSI calls and conversions */
	_Atomic bool told_no_bit;	/* one warning of a guest that does not know realms */
	struct realm_stat stat;
};

/**
 * realm_init() - prepare; all "asked for" fields of @r are set by the caller
 * Return: 0; -EINVAL: RAM does not fit below the shared bit, ...
 */
int realm_init(struct realm *r, struct err *e);
/** realm_destroy() - free everything, RAM too (KVM descriptors are the caller's) */
void realm_destroy(struct realm *r);

/** realm_is_realm() - does the IPA space have a shared half? */
static inline bool realm_is_realm(const struct realm *r)
{
	return r->split.shared != 0;
}

/**
 * realm_kernel_io() - where an in-kernel device (GIC, ITS, ioeventfd) is registered
 *
 * A guest in a realm reaches all I/O through the alias. A KVM realm masks the bit itself.
 */
ipa_t realm_kernel_io(const struct realm *r, ipa_t ipa);

/**
 * realm_add_rom() - memory that is not RAM (flash), read directly by the guest
 * @host: page aligned mapping of @size bytes
 * @slot: memslot number, for realm_del_rom()
 */
int realm_add_rom(struct realm *r, ipa_t ipa, uint64_t size, void *host, unsigned int *slot,
		  struct err *e);
/**
 * realm_add_mem() - memory of a plain VM that is not its RAM, and can be written
 * @what: for errors
 * @host: page aligned mapping of @size bytes, which lives as long as the VM
 */
int realm_add_mem(struct realm *r, const char *what, ipa_t ipa, uint64_t size, void *host,
		  struct err *e);
/** realm_set_rom() - map (@size) or unmap (0) the memory again */
int realm_set_rom(struct realm *r, unsigned int slot, ipa_t ipa, uint64_t size, void *host);

/** realm_maps_io() - can a guest reach registers of an assigned device without exits? */
static inline bool realm_maps_io(const struct realm *r)
{
	return !r->ops->rom_by_exit;
}
/**
 * realm_map_io() - let the guest reach registers of an assigned device without exits
 * @ipa:  canonical, page aligned; in a realm the alias is mapped
 * @host: mapping of the registers, page aligned, @size bytes
 * @slot: for realm_unmap_io()
 *
 * Calls are serial. Return: 0; -EOPNOTSUPP: not in this kind of guest; -ENOSPC: too many; what KVM
 * says.
 */
int realm_map_io(struct realm *r, ipa_t ipa, uint64_t size, void *host, unsigned int *slot);
/** realm_unmap_io() - the guest's accesses are exits again */
void realm_unmap_io(struct realm *r, unsigned int slot);

/** realm_check_window() - refuse what lies at or above the shared bit, or beyond the width */
int realm_check_window(const struct realm *r, const char *what, ipa_t base, uint64_t size,
		       struct err *e);

/**
 * realm_trust_device() - make an assigned device a trusted one
 * @name: of the device, for messages
 *
 * Return: what the back end says; -EOPNOTSUPP: it has no such operation, as none has today.
 */
int realm_trust_device(struct realm *r, const char *name, struct err *e);

/**
 * rsi_granule() - the second door: one RIPAS-RAM granule, for the monitor only
 * @ipa: canonical, granule aligned; the caller has checked that it is RAM of the realm
 *
 * Return: pointer to 4 KiB until rsi_granule_put(), or NULL.
 */
void *rsi_granule(struct realm *r, ipa_t ipa);
void rsi_granule_put(struct realm *r, void *p);

/**
 * realm_debug_mem() - the debugger's access to guest memory
 * @ipa: as the guest's page tables have it, with or without the shared bit
 *
 * A debugger that the user started sees private memory too: that an emulated realm protects
 * nothing is exactly what it is for. Refused (-EPERM) where memory really is private.
 */
int realm_debug_mem(struct realm *r, ipa_t ipa, void *buf, uint64_t len, bool write);

/**
 * realm_shared_apart() - is the shared side memory of its own?
 *
 * Only then can all of it be mapped for DMA for good: where private and shared are the same pages,
 * devices would reach private ones. After add_ram.
 */
static inline bool realm_shared_apart(const struct realm *r)
{
	return r->gmem_fd >= 0 && !r->shared_is_gmem;
}

/**
 * realm_resident() - which pages of RAM have memory of the host's where devices see them
 * @ipa, @len: of RAM, canonical; @ipa a multiple of the host's pages
 * @core: a byte for each page of the host; bit 0: it has (mincore(2))
 *
 * Return: 0; -EFAULT: not all of it is RAM; -errno: the host does not tell.
 */
int realm_resident(const struct realm *r, ipa_t ipa, uint64_t len, unsigned char *core);

/* shared by the back ends */
int realm_alloc_shared(struct realm *r, bool memfd, struct err *e);
/* an event of the trace for each piece that is brought into place */
extern const struct trace_kind realm_piece_kind;
int realm_fill(struct realm *r, const struct plan_piece *piece, void *dst, struct err *e);
/** realm_ripas() - make the RIPAS map as the plan has it at the start */
int realm_ripas(struct realm *r, struct err *e);
/**
 * realm_dma_share() - hooks.dma_share where there is an assigned device
 * @e: has one line where this fails
 */
int realm_dma_share(struct realm *r, ipa_t ipa, uint64_t len, struct err *e);
int realm_dma_unshare(struct realm *r, ipa_t ipa, uint64_t len, struct err *e);
bool realm_dma_keeps(struct realm *r, ipa_t ipa, uint64_t len);
/** realm_guard() - let the door of guest memory ask the RIPAS map */
void realm_guard(struct realm *r);
/**
 * realm_psci() - a PSCI call of @v in x[]; realm.lock is held
 * @ops, @ctx: the CPUs (hooks.psci, hooks.ctx, or what stands in front of them)
 *
 * Return: registers written, a bit each.
 */
uint32_t realm_psci(struct realm *r, const struct psci_ops *ops, void *ctx, struct kvm_vcpu *v,
		    uint64_t *x);
/**
 * realm_pin_debug() - the guest has as many breakpoints and watchpoints as were asked for
 *
 * KVM refuses to lower the number of breakpoints. Then r->breakpoints becomes what the guest has,
 * unless r->debug_exact.
 *
 * Return: 0; -EINVAL: the host has fewer; -EOPNOTSUPP: this KVM cannot change them.
 */
int realm_pin_debug(struct realm *r, struct kvm_vcpu *v, struct err *e);

#define REALM_DRAIN_MS 5000		/* how long a conversion waits for I/O on its pages */

#endif
