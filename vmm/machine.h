/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine: one boot of the guest, put together from options and layout. A reset of the guest
 * ends the machine; the session (vmm/session.c) then builds the next one from the same files.
 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H

#include "realm/realm.h"
#include "vmm/board/gic.h"
#include "vmm/board/memmap.h"
#include "vmm/board/pci.h"
#include "vmm/board/uart.h"
#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/core/loop.h"
#include "vmm/core/mmio.h"
#include "vmm/iothreads.h"
#include "vmm/layout.h"
#include "vmm/vcpu.h"

struct assigned;
struct device_host;
struct dma;
struct flash;
struct pl061;
struct rtc;
struct vfio_pci;
struct virtio_dev;
struct virtio_mmio;
struct virtio_pci;

enum machine_end {
	END_RUNNING = 0,
	END_POWEROFF,		/* the guest switched itself off */
	END_RESET,		/* the guest asks for a reset */
	END_LEAVE,		/* ctrl-a x, SIGTERM, gdb's kill */
	END_FAILED,		/* see machine.failure */
};

/**
 * struct machine_env - what outlives a reset
 * @loop:    serves everything; run by the session
 * @host, @nr_hosts: the host's ends of all virtio devices
 * @assigned: the host's ends of assigned devices, NULL: there are none
 * @flash_fd: -1: none
 * @out:     console output: bytes taken of what terminal @n is given; any thread
 * @input_room: terminal @n may offer input again; any thread
 * @measure: the Realm Initial Measurement of this launch
 * @launch: a realm's vCPUs exist, nothing is populated: 0 if this is what shall be launched, or a
 *          negative errno with the reason. May be NULL
 * @progress: @done of @total bytes of the image are in place; true: the user wants out. May be NULL
 * @on_debug: a vCPU came out with KVM_EXIT_DEBUG; NULL: no debugger
 */
struct machine_env {
	struct loop *loop;
	const struct kvm_sys *sys;
	struct device_host *host;
	unsigned int nr_hosts;
	const struct assigned *assigned;
	int flash_fd;
	size_t (*out)(void *ctx, unsigned int n, const void *buf, size_t len);
	void (*input_room)(void *ctx, unsigned int n);
	int (*measure)(void *ctx, uint8_t rim[REALM_HASH_MAX]);
	int (*launch)(void *ctx, struct machine *m, struct err *e);
	bool (*progress)(void *ctx, uint64_t done, uint64_t total);
	void (*on_debug)(void *ctx, struct vcpu *v);
	void *ctx;
};

struct machine_virtio {
	struct virtio_dev *dev;
	struct virtio_mmio *mmio;	/* or */
	struct virtio_pci *pci;
	struct gic_edge irq;
};

struct machine_uart {
	struct uart *uart;
	struct irq_line irq;
	struct machine *m;
	unsigned int n;
};

struct machine {
	const struct vm_config *cfg;
	const struct layout *layout;
	const struct machine_env *env;

	struct kvm kvm;
	struct gmem gm;
	struct mmio_bus bus;
	struct realm realm;
	struct gic gic;
	struct msi msi;
	struct pci_host pci;		/* if layout->pci */
	struct machine_uart uart[MAP_UART_COUNT];
	struct rtc *rtc;
	struct pl061 *gpio;		/* NULL: no power button */
	struct irq_line gpio_irq;
	struct flash *flash;
	unsigned int flash_slot;
	struct machine_virtio *virtio;
	unsigned int nr_virtio;
	struct dma *dma;		/* of assigned devices, NULL: there are none */
	struct vfio_pci *assigned[CFG_MAX_VFIOS];
	unsigned int nr_assigned;
	int assigned_kvm;		/* what KVM was told of them, > 0 */
	struct iothreads io;
	unsigned int next_loop;		/* of the next device with I/O */
	struct virtio_dev *console;	/* the virtio console among them, or NULL */

	struct a64_vcpu_init init;	/* features of all vCPUs */
	struct vcpu *vcpu;
	unsigned int nr_vcpus, nr_created;
	_Atomic unsigned int alive;	/* vCPU threads */
	_Atomic int hold;		/* vcpus_stop() minus vcpus_go() */
	pthread_mutex_t park_lock;
	pthread_cond_t park;

	_Atomic int end;		/* enum machine_end */
	struct err failure;
	_Atomic uint64_t first_run_ns;	/* CLOCK_MONOTONIC, 0: not yet */
};

/**
 * machine_create() - everything up to, not including, the first instruction
 *
 * Return: 0 or a negative errno; then nothing is left behind.
 */
int machine_create(struct machine *m, const struct vm_config *cfg, const struct layout *l,
		   const struct machine_env *env, struct err *e);

/** machine_start() - start the vCPUs' threads */
int machine_start(struct machine *m, struct err *e);

/** machine_end() - the machine shall end; the first reason counts; any thread */
void machine_end(struct machine *m, enum machine_end why);
/** machine_fail() - END_FAILED with a text; any thread */
void machine_fail(struct machine *m, const char *fmt, ...) PRINTF_LIKE(2, 3);

/** machine_stop() - after machine_end(): wait for the vCPUs and for I/O in flight */
void machine_stop(struct machine *m);
/** machine_destroy() - free a stopped machine, or one that never started */
void machine_destroy(struct machine *m);

/** machine_log_stats() - exits and conversions at debug level */
void machine_log_stats(struct machine *m);

#endif
