/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Message-signalled interrupts: the GSI routing table of the VM.
 *
 * KVM_SET_GSI_ROUTING replaces the whole table, so one object owns it. GSI n is SPI n for all SPIs,
 * as in KVM's default table; those behind them are given out for messages. A message goes to the
 * in-kernel ITS: KVM finds it by the address that the guest wrote, which is why the doorbell is
 * translated to where the ITS was registered.
 *
 * A source of interrupts holds an eventfd. While msi_attach() lasts, each write to it is a message;
 * else writes pile up in it and become one message when it is attached again: that is what "masked
 * and pending" means for MSI-X, and no thread of ours takes part in it.
 */
#ifndef BOARD_MSI_H
#define BOARD_MSI_H

#include <pthread.h>

#include "vmm/core/kvm.h"

struct err;
struct msi_route;

/**
 * struct msi - the routing table; all functions below may be called from any thread
 * @doorbell: where KVM knows the address of a message that the guest wrote; @ctx: its argument
 */
struct msi {
	struct kvm *kvm;
	ipa_t (*doorbell)(const void *ctx, ipa_t ipa);
	const void *ctx;
	pthread_mutex_t lock;
	struct msi_route *route;
	struct kvm_irq_routing *table;
	bool dirty;
};

/** msi_init() - no message yet, KVM keeps its default table */
int msi_init(struct msi *m, struct kvm *kvm, ipa_t (*doorbell)(const void *ctx, ipa_t ipa),
	     const void *ctx, struct err *e);
/** msi_destroy() - forget it; nothing is attached any more. Also for an object that is all zero */
void msi_destroy(struct msi *m);

/** msi_alloc() - a GSI for a message. Return: the GSI or -ENOSPC: KVM has no more routes */
int msi_alloc(struct msi *m);
/** msi_free() - give it back; it is not attached */
void msi_free(struct msi *m, int gsi);

/**
 * msi_set() - what shall be sent; takes effect with msi_commit(), so that many cost one call
 * @addr, @data: as the guest wrote them
 * @devid: requester ID, bus << 8 | devfn
 */
void msi_set(struct msi *m, int gsi, uint64_t addr, uint32_t data, uint32_t devid);
/** msi_commit() - tell KVM if something changed. Return: 0 or a negative errno */
int msi_commit(struct msi *m, struct err *e);

/** msi_attach() - writes to an eventfd send the message of @gsi, what piled up in it at once */
int msi_attach(struct msi *m, int gsi, int evfd, struct err *e);
/** msi_detach() - writes pile up again */
void msi_detach(struct msi *m, int gsi, int evfd);

#endif
