// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/board/msi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/board/memmap.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"

#define FIRST_GSI	MAP_NR_SPIS
#define NR_ROUTES	(KVM_ROUTES_MAX - FIRST_GSI)

struct msi_route {
	bool used, set;
	uint64_t addr;
	uint32_t data, devid;
};

static struct log_rate rate;

int msi_init(struct msi *m, struct kvm *kvm, ipa_t (*doorbell)(const void *ctx, ipa_t ipa),
	     const void *ctx, struct err *e)
{
	*m = (struct msi){ .kvm = kvm, .doorbell = doorbell, .ctx = ctx };
	m->route = calloc(NR_ROUTES, sizeof(*m->route));
	m->table = calloc(1, sizeof(*m->table) +
			     KVM_ROUTES_MAX * sizeof(struct kvm_irq_routing_entry));
	if (!m->route || !m->table) {
		free(m->route);
		free(m->table);
		memset(m, 0, sizeof(*m));
		return err_set(e, -ENOMEM, "no memory for MSI routes");
	}
	pthread_mutex_init(&m->lock, NULL);
	return 0;
}

void msi_destroy(struct msi *m)
{
	if (!m->kvm)
		return;
	pthread_mutex_destroy(&m->lock);
	free(m->route);
	free(m->table);
	memset(m, 0, sizeof(*m));
}

int msi_alloc(struct msi *m)
{
	int gsi = -ENOSPC;

	pthread_mutex_lock(&m->lock);
	for (unsigned int i = 0; i < NR_ROUTES; i++)
		if (!m->route[i].used) {
			m->route[i] = (struct msi_route){ .used = true };
			gsi = FIRST_GSI + i;
			break;
		}
	pthread_mutex_unlock(&m->lock);
	return gsi;
}

void msi_free(struct msi *m, int gsi)
{
	pthread_mutex_lock(&m->lock);
	/* Nobody uses the route, so the next commit is early enough. */
	m->dirty |= m->route[gsi - FIRST_GSI].set;
	m->route[gsi - FIRST_GSI] = (struct msi_route){ 0 };
	pthread_mutex_unlock(&m->lock);
}

void msi_set(struct msi *m, int gsi, uint64_t addr, uint32_t data, uint32_t devid)
{
	struct msi_route *r = &m->route[gsi - FIRST_GSI];

	addr = m->doorbell(m->ctx, addr);
	pthread_mutex_lock(&m->lock);
	if (!r->set || r->addr != addr || r->data != data || r->devid != devid) {
		*r = (struct msi_route){ true, true, addr, data, devid };
		m->dirty = true;
	}
	pthread_mutex_unlock(&m->lock);
}

int msi_commit(struct msi *m, struct err *e)
{
	struct kvm_irq_routing_entry *entry = m->table->entries;
	unsigned int n = 0;
	int ret = 0;

	pthread_mutex_lock(&m->lock);
	if (!m->dirty)
		goto out;
	/* What virtio-mmio and others have made irqfds of must stay. */
	for (; n < FIRST_GSI; n++)
		entry[n] = (struct kvm_irq_routing_entry){
			.gsi = n,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip.pin = n,
		};
	for (unsigned int i = 0; i < NR_ROUTES; i++) {
		const struct msi_route *r = &m->route[i];

		if (!r->set)
			continue;
		entry[n++] = (struct kvm_irq_routing_entry){
			.gsi = FIRST_GSI + i,
			.type = KVM_IRQ_ROUTING_MSI,
			.flags = KVM_MSI_VALID_DEVID,	/* the ITS looks it up by this */
			.u.msi = {
				.address_lo = r->addr,
				.address_hi = r->addr >> 32,
				.data = r->data,
				.devid = r->devid,
			},
		};
	}
	m->table->nr = n;
	m->table->flags = 0;
	ret = kvm_set_routing(m->kvm, m->table, e);
	m->dirty = ret < 0;
out:
	pthread_mutex_unlock(&m->lock);
	return ret;
}

int msi_attach(struct msi *m, int gsi, int evfd, struct err *e)
{
	return kvm_irqfd_gsi(m->kvm, evfd, gsi, true, e);
}

void msi_detach(struct msi *m, int gsi, int evfd)
{
	struct err e;

	if (kvm_irqfd_gsi(m->kvm, evfd, gsi, false, &e) < 0)
		log_rated(&rate, LOG_ERROR, "cannot mask an MSI: %s", e.msg);
}
