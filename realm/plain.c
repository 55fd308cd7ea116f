// SPDX-License-Identifier: BSD-3-Clause
/* The back end of a plain VM: one slot, no split, no guard. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "realm/realm.h"
#include "vmm/core/err.h"

static int plain_create(struct realm *r, struct err *e)
{
	return kvm_vm_create(r->kvm, A64_VM_TYPE_IPA_SIZE(r->split.bits), e);
}

static int plain_add_ram(struct realm *r, struct err *e)
{
	struct kvm_slot s = {
		.slot = r->next_slot++,
		.ipa = r->ram_base,
		.size = r->ram_size,
		.gmem = -1,
	};
	int ret = realm_alloc_shared(r, r->share_ram, e);

	if (ret < 0)
		return ret;
	s.host = r->shared;
	ret = kvm_set_slot(r->kvm, &s, e);
	if (ret < 0)
		return ret;
	return gmem_add(r->gm, r->ram_base, r->ram_size, r->shared, r->shared_fd, e);
}

/*
 * Huge pages make a large image much faster to load (40 MiB: 46 ms instead of 190 in the test bed)
 * and the guest faster to run, but a payload of a few pages need not have 2 MiB cleared for it.
 */
static int plain_populate(struct realm *r, const struct plan *p, struct err *e)
{
	uint64_t bytes = 0;
	int ret = 0;

	for (unsigned int i = 0; i < p->nr; i++)
		bytes += p->piece[i].len;
	if (bytes >= SZ_2M && !r->hugetlbfs)
		madvise(r->shared, r->ram_size, MADV_HUGEPAGE);
	for (unsigned int i = 0; i < p->nr && !ret; i++)
		ret = realm_fill(r, &p->piece[i], r->shared + (p->piece[i].ipa - r->ram_base), e);
	if (bytes < SZ_2M && !r->hugetlbfs)
		madvise(r->shared, r->ram_size, MADV_HUGEPAGE);
	return ret;
}

static enum realm_exit plain_exit(struct realm *r, struct kvm_vcpu *v, ipa_t *ipa)
{
	(void)r;
	if (v->run->exit_reason != KVM_EXIT_MMIO)
		return REALM_EXIT_OTHER;
	*ipa = v->run->mmio.phys_addr;
	return REALM_EXIT_MMIO;
}

const struct realm_ops realm_plain = {
	.name = "plain",
	.create = plain_create,
	.add_ram = plain_add_ram,
	.populate = plain_populate,
	.exit = plain_exit,
};
