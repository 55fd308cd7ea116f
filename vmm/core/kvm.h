/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * KVM behind one seam. Everything realmtool asks of KVM passes struct kvm_sys, so that a model can
 * stand in for the kernel (tests/fakekvm). Above the seam: thin calls with errors that tell the
 * user what is missing.
 */
#ifndef CORE_KVM_H
#define CORE_KVM_H

#include <sys/types.h>

#include "vmm/core/kvm_abi.h"

struct err;

/**
 * struct kvm_sys - the seam: the system calls whose objects belong to KVM
 * Each returns what the system call returns, with -errno for errors; mmap returns MAP_FAILED with
 * errno set. @param reads a number among the module parameters of kvm; -ENOENT: there is none.
 */
struct kvm_sys {
	int (*open)(const char *path);
	int (*ioctl)(int fd, unsigned long req, unsigned long arg);
	void *(*mmap)(size_t len, int prot, int flags, int fd, off_t off);
	int (*munmap)(void *addr, size_t len);
	int (*fallocate)(int fd, int mode, off_t off, off_t len);
	int (*close)(int fd);
	long (*param)(const char *name);
};

/** kvm_host - the real kernel */
extern const struct kvm_sys kvm_host;

struct kvm {
	const struct kvm_sys *sys;
	int dev, vm;
	size_t run_size;
};

struct kvm_vcpu {
	struct kvm *kvm;
	unsigned int id;
	int fd;
	struct kvm_run *run;
};

/* Where the parameters of the module are. */
#define KVM_PARAM_DIR "/sys/module/kvm/parameters/"

/**
 * kvm_open() - open KVM's device and check its API version
 * @sys:  NULL: the real kernel
 * @path: NULL: /dev/kvm
 *
 * Return: 0; -ENOENT, -EACCES, ... with the remedy in @e.
 */
int kvm_open(struct kvm *k, const struct kvm_sys *sys, const char *path, struct err *e);
/** kvm_close() - close VM and device; every vCPU is closed already */
void kvm_close(struct kvm *k);

/** kvm_vm_create() - KVM_CREATE_VM with a type word. Return: 0 or negative errno */
int kvm_vm_create(struct kvm *k, unsigned long type, struct err *e);

/** kvm_ioctl_vm() - ioctl on the VM. Return: >= 0 or negative errno */
int kvm_ioctl_vm(struct kvm *k, unsigned long req, void *arg);
/** kvm_cap() - KVM_CHECK_EXTENSION on the VM if there is one, else on the device; < 0 reads as 0 */
int kvm_cap(struct kvm *k, int cap);
/** kvm_cap_sys() - KVM_CHECK_EXTENSION on /dev/kvm */
int kvm_cap_sys(struct kvm *k, int cap);
/** kvm_enable_cap() - KVM_ENABLE_CAP on the VM without arguments */
int kvm_enable_cap(struct kvm *k, unsigned int cap);

/**
 * struct kvm_slot - one memslot
 * @gmem: guest_memfd or -1; then @host is what the shared side and in-kernel readers see
 * size 0 deletes the slot
 */
struct kvm_slot {
	unsigned int slot;
	uint32_t flags;
	ipa_t ipa;
	uint64_t size;
	void *host;
	int gmem;
	uint64_t gmem_off;
};
int kvm_set_slot(struct kvm *k, const struct kvm_slot *s, struct err *e);

/** kvm_gmem_create() - a guest_memfd. Return: descriptor or negative errno */
int kvm_gmem_create(struct kvm *k, uint64_t size, uint64_t flags, struct err *e);

/** kvm_vcpu_create() - create vCPU @id and map its run page */
int kvm_vcpu_create(struct kvm *k, unsigned int id, struct kvm_vcpu *v, struct err *e);
void kvm_vcpu_close(struct kvm_vcpu *v);
/** kvm_vcpu_ioctl() - Return: >= 0 or negative errno */
int kvm_vcpu_ioctl(struct kvm_vcpu *v, unsigned long req, void *arg);
/** kvm_get_reg() - one 64-bit register; @id: A64_* */
int kvm_get_reg(struct kvm_vcpu *v, uint64_t id, uint64_t *val);
int kvm_set_reg(struct kvm_vcpu *v, uint64_t id, uint64_t val);
/** kvm_reg_io() - a register of any size; the size is in @id */
int kvm_reg_io(struct kvm_vcpu *v, uint64_t id, void *val, bool set);

/**
 * kvm_vcpu_abort() - answer the MMIO or NISV exit of this vCPU with an external abort
 * Return: 0 or negative errno.
 */
int kvm_vcpu_abort(struct kvm_vcpu *v);

/** kvm_device_create() - Return: descriptor or negative errno */
int kvm_device_create(struct kvm *k, unsigned int type, struct err *e);
/** kvm_set_attr() - KVM_SET_DEVICE_ATTR on a device, VM or vCPU descriptor */
int kvm_set_attr(struct kvm *k, int fd, uint32_t group, uint64_t attr, const void *val);
/** kvm_has_attr() - KVM_HAS_DEVICE_ATTR */
bool kvm_has_attr(struct kvm *k, int fd, uint32_t group, uint64_t attr);

/** kvm_irq_line() - drive an SPI (0-based) of the in-kernel GIC */
int kvm_irq_line(struct kvm *k, uint32_t spi, int level);
/** kvm_irqfd() - let writes to an eventfd pulse an SPI (0-based) */
int kvm_irqfd(struct kvm *k, int evfd, uint32_t spi, struct err *e);
/** kvm_ioeventfd() - let a 4-byte write of @match to @addr signal an eventfd, without an exit */
int kvm_ioeventfd(struct kvm *k, int evfd, ipa_t addr, uint32_t match, struct err *e);

/**
 * kvm_irqfd_gsi() - let writes to an eventfd raise a GSI as the routing table has it, or no more
 * @assign: what was written to the eventfd before is raised at once; without, later writes pile up
 *          in it (Documentation/virt/kvm/api.rst, KVM_IRQFD)
 */
int kvm_irqfd_gsi(struct kvm *k, int evfd, uint32_t gsi, bool assign, struct err *e);
/**
 * kvm_irqfd_resample() - let an eventfd assert a level-triggered SPI (0-based) until its end
 * @resample: KVM writes to it when the guest ends the interrupt, and lowers the line before; who
 *         still has something to say writes to @evfd again. Several on one SPI are a wired OR, but
 *         kvm_irq_line() is not part of it. Taken away with kvm_irqfd_gsi()
 *
 * Return: 0; -EINVAL: KVM cannot (KVM_CAP_IRQFD_RESAMPLE); ...
 */
int kvm_irqfd_resample(struct kvm *k, int evfd, int resample, uint32_t spi, struct err *e);
/**
 * kvm_forgets_eoi() - must a vCPU leave the guest in the handler of a level-triggered interrupt?
 *
 * Else the end of it is not told, see kvm_irqfd_resample(), and the guest takes it again and again.
 * A fault of arm64's KVM since Linux 6.19 (vgic_v3_fold_lr()), last seen in 7.3. Nothing shows it
 * but the version.
 */
bool kvm_forgets_eoi(const struct kvm *k);
/**
 * kvm_ioeventfd_any() - let every write of @len bytes to @addr signal an eventfd, or no more
 *
 * Return: 0; -ENOSPC: KVM has 1000 places on its bus and all are taken; ...
 */
int kvm_ioeventfd_any(struct kvm *k, int evfd, ipa_t addr, unsigned int len, bool assign,
		      struct err *e);
/** kvm_set_routing() - replace the whole GSI routing table (KVM_SET_GSI_ROUTING) */
int kvm_set_routing(struct kvm *k, const struct kvm_irq_routing *table, struct err *e);

#endif
