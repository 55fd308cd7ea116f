// SPDX-License-Identifier: BSD-3-Clause
/* KVM's side of realms in all its generations: order of calls, attributes, errors, the trace. */
#include "tests/fakekvm/fake_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "realm/rmi_abi.h"

#define PROTECTED_VM	(1UL << 31)		/* pKVM */
#define PUNCH_MAX	(256 * SZ_1M)		/* more at a time stalls a host */
#define DFR0_HOST	UINT64_C(0x10305106)	/* 6 breakpoints, 4 watchpoints, 2 context-aware */
#define CAP_MEMORY_FAULT_INFO 232

struct fake_rmi fake_rmi;

static struct {
	struct fake_call call[8192];
	unsigned int nr;
} trace;

/* ---- kernels --------------------------------------------------------------------------------- */

void fake_rmi_reset(void)
{
	memset(&trace, 0, sizeof(trace));
	fake_rmi = (struct fake_rmi){
		.rmm = true,
		.dialect = FAKE_RIM_B,
		.ipa_bits = 42,
		.breakpoints = 6,
		.watchpoints = 4,
		.algos = 1U << REALM_SHA256 | 1U << REALM_SHA384 | 1U << REALM_SHA512,
		.sve_vq = 3,			/* 128 and 256 bits, fewer than the host */
	};
}

static void common(struct fake_host *h, enum fake_api api, int cap, uint64_t gmem_flags)
{
	bool a = api == FAKE_API_A;

	fake_rmi.api = api;
	fake_rmi.cap = cap;
	fake_rmi.type = api >= FAKE_API_C || api == FAKE_API_PLUMBING ? A64_VM_TYPE_REALM :
			A64_VM_TYPE_REALM_OLD;
	fake_rmi.dialect = a || api == FAKE_API_V12 ? FAKE_RIM_A : FAKE_RIM_B;
	fake_rmi.attr_cap = api < FAKE_API_D ? KVM_CAP_MEMORY_ATTRIBUTES : A64_CAP_GMEM_ATTR_V15;
	if (a)
		fake_rmi.algos = 1U << REALM_SHA256 | 1U << REALM_SHA512;
	h->type_mask = fake_rmi.type | (api >= FAKE_API_C ? PROTECTED_VM : 0);
	h->cap[KVM_CAP_USER_MEMORY2] = 1;
	h->cap[CAP_MEMORY_FAULT_INFO] = 1;
	h->cap[KVM_CAP_GUEST_MEMFD] = 1;
	h->gmem_flags = gmem_flags;
	h->cap[KVM_CAP_GUEST_MEMFD_FLAGS] = gmem_flags;
	h->cap[cap] = fake_rmi.rmm;
	if (api != FAKE_API_PLUMBING)
		h->cap[fake_rmi.attr_cap] = A64_MEM_ATTR_PRIVATE;
}

#define BOTH (GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED)

static void setup_v8(struct fake_host *h)
{
	common(h, FAKE_API_A, A64_CAP_RME_V8, 0);
	fake_rmi.rec_bit = 9;
}

/* The number is that of KVM_CAP_GUEST_MEMFD_FLAGS in later kernels. */
static void setup_v10(struct fake_host *h)
{
	common(h, FAKE_API_A, A64_CAP_RME_V10, 0);
	fake_rmi.rec_bit = 8;
	h->kvm_cap_arm_rme = A64_CAP_RME_V10;
}

static void setup_v11(struct fake_host *h)
{
	common(h, FAKE_API_A, 262, BOTH);
	fake_rmi.rec_bit = 9;
	h->kvm_cap_arm_rmi = 262;
}

static void setup_v12(struct fake_host *h)
{
	common(h, FAKE_API_V12, A64_CAP_RMI_V12, BOTH);
}

static void setup_v13(struct fake_host *h)
{
	common(h, FAKE_API_V13, A64_CAP_RMI_V13, BOTH);
}

static void setup_v14(struct fake_host *h)
{
	common(h, FAKE_API_C, A64_CAP_RMI_V14, BOTH);
}

static void setup_v14_no_rmm(struct fake_host *h)
{
	fake_rmi.rmm = false;
	setup_v14(h);
}

static void setup_v15(struct fake_host *h)
{
	common(h, FAKE_API_D, A64_CAP_RMI_V15, BOTH);
	fake_rmi.in_place = true;
}

static void setup_kamalca(struct fake_host *h)
{
	common(h, FAKE_API_D, A64_CAP_RMI_LATER, BOTH);
	h->cap[A64_CAP_GMEM_ATTR_V15] = 0;
	fake_rmi.attr_cap = A64_CAP_GMEM_ATTR_LATER;
	h->cap[fake_rmi.attr_cap] = A64_MEM_ATTR_PRIVATE;
	fake_rmi.in_place = fake_rmi.gmem_only = fake_rmi.recheck = true;
}

static void setup_e(struct fake_host *h)
{
	setup_kamalca(h);
	fake_rmi.api = FAKE_API_E;
	fake_rmi.fault_is_0 = true;
}

static void setup_plumbing(struct fake_host *h)
{
	common(h, FAKE_API_PLUMBING, A64_CAP_RMI_LATER, BOTH);
}

#define KERNEL(gen, text, fn) const struct fake_gen gen = { .name = text, .setup = fn }
KERNEL(fake_rmi_v8, "v8 on 6.16", setup_v8);
KERNEL(fake_rmi_v10, "v10 on 6.17", setup_v10);
KERNEL(fake_rmi_v11, "v11 on 6.18", setup_v11);
KERNEL(fake_rmi_v12, "v12 on 6.19", setup_v12);
KERNEL(fake_rmi_v13, "v13 on 7.0", setup_v13);
KERNEL(fake_rmi_v14, "v14 on 7.1", setup_v14);
KERNEL(fake_rmi_v14_no_rmm, "v14 without an RMM", setup_v14_no_rmm);
KERNEL(fake_rmi_v15, "v15 on 7.2", setup_v15);
KERNEL(fake_rmi_kamalca, "in place only, on 7.3", setup_kamalca);
KERNEL(fake_rmi_e, "explicit RIPAS step", setup_e);
KERNEL(fake_rmi_plumbing, "plumbing of v17 to v21", setup_plumbing);

/* ---- life ------------------------------------------------------------------------------------ */

int fake_rmi_vm_new(struct fake_vm *vm, unsigned long type)
{
	struct fake_realm *r;

	if (type & PROTECTED_VM)
		return -EINVAL;
	if (!(type & ~0xffUL))
		return 0;
	if (!fake_rmi.rmm)
		return fake_rmi.api >= FAKE_API_C ? -EINVAL : -EPERM;
	if (vm->bits > fake_rmi.ipa_bits)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->top = UINT64_C(1) << (vm->bits - 1);
	r->page = mmap(NULL, r->top / SZ_4K, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->page == MAP_FAILED)
		abort();
	r->dfr0 = DFR0_HOST;
	vm->realm = r;
	return 0;
}

void fake_rmi_vm_free(struct fake_vm *vm)
{
	if (!vm->realm)
		return;
	munmap(vm->realm->page, vm->realm->top / SZ_4K);
	free(vm->realm);
	vm->realm = NULL;
}

static int die(struct fake_vm *vm, int ret)
{
	vm->realm->state = FAKE_REALM_DEAD;
	return ret;
}

/* ---- memory ---------------------------------------------------------------------------------- */

bool fake_rmi_gmem_only(const struct fake_slot *s)
{
	return s->gmem->flags & GUEST_MEMFD_FLAG_MMAP || (fake_rmi.gmem_only && fake_rmi.in_place);
}

/* Shared backing: KVM maps it 4 KiB by 4 KiB and writable (bugs of v14, fixed later). */
static void check_backing(const struct fake_slot *s)
{
	uintptr_t base = (uintptr_t)s->host, top = base + s->size, first = 0, last = 0;
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512], perm[5] = "";
	bool bad_perm = false, thp = false;

	if (!f)
		abort();
	while (fgets(line, sizeof(line), f)) {
		unsigned long a, b;
		char p[5];

		if (sscanf(line, "%lx-%lx %4s ", &a, &b, p) == 3) {
			first = a;
			last = b;
			memcpy(perm, p, sizeof(perm));
		}
		if (first >= top || last <= base || strncmp(line, "VmFlags:", 8))
			continue;
		bad_perm |= strncmp(perm, "rw", 2) != 0 || perm[3] != 's';
		thp |= !strstr(line, " nh");
	}
	fclose(f);
	if (bad_perm)
		fake_complain("memslot %u at %" PRIipa ": its memory is not MAP_SHARED, readable "
			      "and writable", s->slot, s->ipa);
	if (thp)
		fake_complain("memslot %u at %" PRIipa ": its memory may have huge pages", s->slot,
			      s->ipa);
}

void fake_rmi_slot(struct fake_vm *vm, const struct fake_slot *s, bool gone)
{
	struct fake_realm *r = vm->realm;

	if (!r)
		return;
	if (gone) {
		fake_rmm_unmap(vm, s->ipa, s->size);
		return;
	}
	if (s->ipa + s->size > r->top)
		fake_complain("memslot %u at %" PRIipa " reaches the shared half", s->slot, s->ipa);
	if (s->flags & KVM_MEM_READONLY)
		fake_complain("memslot %u at %" PRIipa " is read-only", s->slot, s->ipa);
	if (s->gmem && s->gmem->flags & GUEST_MEMFD_FLAG_INIT_SHARED && fake_rmi.api < FAKE_API_D)
		fake_complain("memslot %u at %" PRIipa ": its guest_memfd begins shared, and "
			      "delegated pages go back to this kernel's allocator", s->slot,
			      s->ipa);
	if (s->host && !fake_gmem_maps(s->host))
		check_backing(s);
}

void fake_rmi_gmem_new(struct fake_vm *vm, struct fake_gmem *g)
{
	bool shared = g->flags & GUEST_MEMFD_FLAG_INIT_SHARED;

	g->vm = vm;
	if (!vm->realm)
		return;
	g->page = malloc(g->size / SZ_4K);
	if (!g->page)
		abort();
	memset(g->page, shared ? G_SHARED : 0, g->size / SZ_4K);
}

/* Take what the RMM has mapped of a stretch of a guest_memfd away from it. */
static void unmap_gmem(struct fake_gmem *g, uint64_t off, uint64_t len)
{
	for (unsigned int i = 0; i < g->vm->nr_slots; i++) {
		const struct fake_slot *s = &g->vm->slot[i];
		uint64_t first = MAX(off, s->gmem_off);
		uint64_t last = MIN(off + len, s->gmem_off + s->size);

		if (s->gmem == g && first < last)
			fake_rmm_unmap(g->vm, s->ipa + (first - s->gmem_off), last - first);
	}
}

static bool has_vcpus(const struct fake_vm *vm)
{
	for (unsigned int i = 0; i < FAKE_MAX_CPUS; i++)
		if (vm->cpu[i])
			return true;
	return false;
}

void fake_rmi_punch(struct fake_gmem *g, uint64_t off, uint64_t len)
{
	if (!g->page)
		return;
	if (len > PUNCH_MAX)
		fake_complain("%" PRIu64 " MiB are punched in one call: the host stalls",
			      len / SZ_1M);
	for (uint64_t p = off / SZ_4K; p < (off + len) / SZ_4K && p < g->size / SZ_4K; p++) {
		if (!(g->page[p] & G_SHARED) || fake_rmi.api < FAKE_API_D)
			continue;
		if (!(g->flags & GUEST_MEMFD_FLAG_INIT_SHARED))
			fake_complain("page %#" PRIx64 " is punched while it is shared: its "
				      "delegation leaks", p * SZ_4K);
		else if (has_vcpus(g->vm))
			fake_complain("page %#" PRIx64 " is shared in place and its contents "
				      "are punched", p * SZ_4K);
		else
			continue;
		break;
	}
	unmap_gmem(g, off, len);
}

void fake_rmi_gmem_close(struct fake_gmem *g)
{
	unsigned int n = 0;

	for (uint64_t p = 0; g->page && p < g->size / SZ_4K; p++)
		n += g->page[p] & G_DELEGATED;
	/* a call that was made to fail may have been the one that gives them back */
	if (n && !fake_failed())
		fake_complain("a guest_memfd is closed with %u pages delegated", n);
	fake_note("close-gmem", 0, n, 0);
	if (g->page)
		unmap_gmem(g, 0, g->size);
}

static bool is_private(struct fake_vm *vm, const struct fake_slot *s, ipa_t ipa)
{
	if (fake_rmi.api >= FAKE_API_D)
		return !(s->gmem->page[(s->gmem_off + (ipa - s->ipa)) / SZ_4K] & G_SHARED);
	return *fake_page(vm->realm, ipa) & P_PRIVATE;
}

static bool bad_range(uint64_t base, uint64_t size, uint64_t top)
{
	return !size || !IS_ALIGNED(base, SZ_4K) || !IS_ALIGNED(size, SZ_4K) ||
		base + size < base || base + size > top;
}

/* KVM_SET_MEMORY_ATTRIBUTES */
static int set_attr(struct fake_vm *vm, const struct a64_mem_attr *a)
{
	struct fake_realm *r = vm->realm;

	if (fake_rmi.api < FAKE_API_A || fake_rmi.api > FAKE_API_C)
		return -ENOTTY;
	if (a->flags || a->attributes & ~A64_MEM_ATTR_PRIVATE) {
		fake_complain("memory attributes %#" PRIx64 ", flags %#" PRIx64,
			      (uint64_t)a->attributes, (uint64_t)a->flags);
		return -EINVAL;
	}
	if (bad_range(a->address, a->size, UINT64_MAX))
		return -EINVAL;
	if (a->address + a->size > r->top) {
		fake_complain("memory attributes in the shared half");
		return 0;
	}
	for (ipa_t p = a->address; p < a->address + a->size; p += SZ_4K) {
		if (a->attributes)
			*fake_page(r, p) |= P_PRIVATE;
		else
			*fake_page(r, p) &= ~P_PRIVATE;
	}
	if (!a->attributes)
		fake_rmm_unmap(vm, a->address, a->size);
	return 0;
}

static void gmem_attr(struct fake_gmem *g, uint64_t off, uint64_t len, bool private)
{
	if (!private)
		unmap_gmem(g, off, len);
	for (uint64_t p = off / SZ_4K; p < (off + len) / SZ_4K; p++) {
		if (private)
			g->page[p] &= ~G_SHARED;
		else
			g->page[p] |= G_SHARED;
	}
	fake_gmem_hide(g, off, len, private);
}

/* KVM_SET_MEMORY_ATTRIBUTES2 */
int fake_rmi_gmem_ioctl(struct fake_gmem *g, unsigned long req, unsigned long arg)
{
	static const uint64_t zero[11];
	struct a64_mem_attr2 *a = (void *)arg;

	if (req != A64_SET_MEM_ATTR2 || !g->page || fake_rmi.api < FAKE_API_D || !fake_rmi.in_place)
		return -ENOTTY;
	if (g->vm->realm->state == FAKE_REALM_DEAD)
		return -EIO;
	if (a->flags || a->attributes & ~A64_MEM_ATTR_PRIVATE ||
	    memcmp(a->reserved, zero, sizeof(zero)) || bad_range(a->offset, a->size, g->size))
		return -EINVAL;
	if (fake_rmi.attr_again) {
		uint64_t half = ALIGN_DOWN(a->size / 2, SZ_4K);

		fake_rmi.attr_again--;
		gmem_attr(g, a->offset, half, a->attributes != 0);
		a->error_offset = a->offset + half;
		return -EAGAIN;
	}
	gmem_attr(g, a->offset, a->size, a->attributes != 0);
	return 0;
}

/* ---- populate -------------------------------------------------------------------------------- */

/* One page from user space, if there is one. */
static int get_page(uint64_t from, uint8_t page[SZ_4K])
{
	struct iovec to = { page, SZ_4K }, src = { (void *)(uintptr_t)from, SZ_4K };

	return process_vm_readv(getpid(), &to, 1, &src, 1, 0) == (ssize_t)SZ_4K ? 0 : -EFAULT;
}

static int populate_page(struct fake_vm *vm, ipa_t ipa, uint64_t from, bool measure)
{
	struct fake_slot *s = fake_find_slot(vm, ipa, SZ_4K);
	uint8_t page[SZ_4K];
	int ret;

	if (!s || !s->gmem || !is_private(vm, s, ipa))
		return -EINVAL;
	ret = get_page(from ? from : (uintptr_t)s->host + (ipa - s->ipa), page);
	return ret ? ret : fake_rmm_data(vm, s, ipa, page, measure);
}

static int populate(struct fake_vm *vm, struct a64_rmi_populate *p)
{
	struct fake_realm *r = vm->realm;
	uint64_t done = 0, limit = p->size;
	struct fake_slot *s;
	int ret = 0;

	if (!p->reserved && p->flags & ~A64_RMI_POPULATE_MEASURE)
		fake_complain("populate flags %#x", p->flags);
	if (!p->reserved && !p->size) {
		fake_complain("populate of nothing: v14 warns");
		return fake_rmi.api >= FAKE_API_D ? 0 : -EINVAL;
	}
	if (p->reserved || p->flags & ~A64_RMI_POPULATE_MEASURE || !p->source ||
	    !IS_ALIGNED(p->source, SZ_4K) || p->source + p->size < p->source ||
	    bad_range(p->base, p->size, r->top))
		return -EINVAL;
	if (r->state > FAKE_REALM_NEW)
		return -EBUSY;
	if (r->state == FAKE_REALM_NONE)
		ret = fake_rmm_create(vm);
	if (ret)
		return ret;
	r->populates++;
	if (fake_rmi.populate_eintr && r->populates % fake_rmi.populate_eintr == 0)
		return -EINTR;
	s = fake_find_slot(vm, p->base, SZ_4K);
	if (!s || !s->gmem)
		return -EINVAL;
	if (fake_rmi.populate_stuck)
		return 0;
	limit = MIN(limit, s->ipa + s->size - p->base);
	if (fake_rmi.populate_max)
		limit = MIN(limit, fake_rmi.populate_max);
	while (done < limit && !ret) {
		ret = populate_page(vm, p->base + done, p->source + done, p->flags & 1);
		if (!ret)
			done += SZ_4K;
	}
	if (!done)
		return ret;
	if (fake_rmi.api == FAKE_API_V12)
		return done;
	p->base += done;
	p->source += done;
	p->size -= done;
	return 0;
}

/* KVM_ARM_RMI_INIT_RIPAS of generation E */
static int init_ripas(struct fake_vm *vm, const struct a64_rmi_init_ripas *a)
{
	struct fake_slot *s = fake_find_slot(vm, a->base, SZ_4K);
	struct fake_realm *r = vm->realm;
	int ret = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(a->reserved); i++)
		ret |= a->reserved[i] != 0;
	if (ret || a->flags || bad_range(a->base, a->size, r->top) || !s || !s->gmem ||
	    a->size > s->size - (a->base - s->ipa))
		return -EINVAL;
	if (r->state > FAKE_REALM_NEW)
		return -EBUSY;
	if (r->state == FAKE_REALM_NONE)
		ret = fake_rmm_create(vm);
	if (ret)
		return ret;
	/* it flips what was not private yet; pages that are keep their contents */
	for (uint64_t p = a->base; p < a->base + a->size; p += SZ_4K)
		if (!is_private(vm, s, p))
			gmem_attr(s->gmem, s->gmem_off + (p - s->ipa), SZ_4K, true);
	return fake_rmm_init_ripas(vm, a->base, a->base + a->size);
}

/* ---- generation A ---------------------------------------------------------------------------- */

static int rme_config(struct fake_realm *r, const struct a64_rme_config *c)
{
	if (r->state != FAKE_REALM_NONE)
		return -EBUSY;
	switch (c->cfg) {
	case A64_RME_CFG_RPV:
		memcpy(r->rpv, c->rpv, sizeof(r->rpv));
		return 0;
	case A64_RME_CFG_HASH:
		if (c->hash_algo > REALM_SHA512 || !(fake_rmi.algos & 1U << c->hash_algo))
			return -EINVAL;
		r->algo = c->hash_algo;
		return 0;
	default:
		return -EINVAL;
	}
}

static int rme_populate(struct fake_vm *vm, const struct a64_rme_populate *a)
{
	int ret = 0;

	if (a->flags & ~A64_RMI_POPULATE_MEASURE)
		fake_complain("populate flags %#x", a->flags);
	if (a->flags & ~A64_RMI_POPULATE_MEASURE || a->reserved[0] || a->reserved[1] ||
	    a->reserved[2] || bad_range(a->base, a->size, vm->realm->top))
		return -EINVAL;
	for (ipa_t p = a->base; p < a->base + a->size && !ret; p += SZ_4K)
		ret = populate_page(vm, p, 0, a->flags & 1);
	return ret;
}

static int rme(struct fake_vm *vm, const struct kvm_enable_cap *ec)
{
	const void *arg = (const void *)(uintptr_t)ec->args[1];
	const struct a64_rme_range *range = arg;
	struct fake_realm *r = vm->realm;

	if (ec->flags)
		return -EINVAL;
	switch (ec->args[0]) {
	case A64_RME_CONFIG:
		return rme_config(r, arg);
	case A64_RME_CREATE:
		return r->state != FAKE_REALM_NONE ? -EEXIST : fake_rmm_create(vm);
	case A64_RME_INIT_RIPAS:
		if (r->state != FAKE_REALM_NEW || range->reserved[0] || range->reserved[1] ||
		    bad_range(range->base, range->size, r->top))
			return -EINVAL;
		return fake_rmm_init_ripas(vm, range->base, range->base + range->size);
	case A64_RME_POPULATE:
		return r->state != FAKE_REALM_NEW ? -EINVAL : rme_populate(vm, arg);
	case A64_RME_ACTIVATE:
		if (r->state != FAKE_REALM_NEW)
			return -EINVAL;
		if (fake_rmi.fail_activate)
			return die(vm, -fake_rmi.fail_activate);
		r->state = FAKE_REALM_ACTIVE;
		return 0;
	default:
		return -EINVAL;
	}
}

/* ---- the VM ---------------------------------------------------------------------------------- */

/* What a realm VM answers 0 to although an ordinary VM does not; most of them work all the same. */
static bool hidden(unsigned long cap)
{
	static const uint8_t list[] = {
		14, 23, 36, 41, 70, 81, 82, 88, 93, 119, 120, 126, 127, 136, 144, 158, 174, 177,
		178, 187, 195, 198, 216, 227, 229, 230, 239, 243, 245, 0
	};

	if (cap == (unsigned int)fake_rmi.cap)
		return false;
	if (cap == A64_CAP_PMU_V3 && fake_rmi.api < FAKE_API_C)
		return false;
	if (cap == A64_CAP_SVE)
		return !fake_rmi.sve_vq;
	return cap < 256 && strchr((const char *)list, (int)cap);
}

static int check_extension(const struct fake_vm *vm, unsigned long cap)
{
	if (cap >= FAKE_NR_CAPS)
		return 0;
	/* only VMs with private memory have attributes, wherever they are */
	if (cap == (unsigned int)fake_rmi.attr_cap &&
	    (!vm->realm || (fake_rmi.api >= FAKE_API_D && !fake_rmi.in_place)))
		return 0;
	return vm->realm && cap && hidden(cap) ? 0 : fake_host.cap[cap];
}

bool fake_rmi_is_ioctl(unsigned long req)
{
	return req == A64_RMI_POPULATE || req == A64_RMI_POPULATE_V12 || req == A64_SET_MEM_ATTR ||
		req == A64_SET_MEM_ATTR2 || req == A64_RMI_PSCI_COMPLETE ||
		req == A64_RMI_INIT_RIPAS(FAKE_RIPAS_NR);
}

static bool has_ioctl(unsigned long req)
{
	switch (fake_rmi.api) {
	case FAKE_API_V12:
		return req == A64_RMI_POPULATE_V12;
	case FAKE_API_E:
		return req == A64_RMI_POPULATE || req == A64_RMI_INIT_RIPAS(FAKE_RIPAS_NR);
	default:
		return fake_rmi.api >= FAKE_API_V13 && req == A64_RMI_POPULATE;
	}
}

int fake_rmi_vm_ioctl(struct fake_vm *vm, unsigned long req, unsigned long arg, bool *handled)
{
	struct kvm_enable_cap *ec = (void *)arg;

	*handled = true;
	if (vm->realm && vm->realm->state == FAKE_REALM_DEAD)
		return -EIO;
	if (req == KVM_CHECK_EXTENSION)
		return check_extension(vm, arg);
	if (fake_rmi_is_ioctl(req) && req != A64_SET_MEM_ATTR) {
		if (!has_ioctl(req))
			return -ENOTTY;
		if (!arg)
			return -EFAULT;
		if (!vm->realm)
			return -ENXIO;
		return req == A64_RMI_INIT_RIPAS(FAKE_RIPAS_NR) ? init_ripas(vm, (void *)arg) :
			populate(vm, (void *)arg);
	}
	*handled = vm->realm != NULL;
	if (!vm->realm)
		return 0;
	switch (req) {
	case A64_SET_MEM_ATTR:
		return set_attr(vm, (void *)arg);
	case KVM_ENABLE_CAP:
		return fake_rmi.api == FAKE_API_A && ec->cap == (unsigned int)fake_rmi.cap ?
			rme(vm, ec) : -EINVAL;
	case KVM_CREATE_VCPU:
		if (vm->realm->state >= FAKE_REALM_ACTIVE)
			fake_complain("vCPU %lu is made when the realm is active: it gets no REC",
				      arg);
		break;
	}
	*handled = false;
	return 0;
}

/* ---- vCPUs ----------------------------------------------------------------------------------- */

static int vcpu_init(struct fake_cpu *c, const struct a64_vcpu_init *init)
{
	uint32_t bit = fake_rmi.api == FAKE_API_A ? 1U << fake_rmi.rec_bit : 0;
	struct a64_vcpu_init plain = *init;
	int ret;

	if (c->rec) {
		fake_complain("vCPU %u is initialised again when it has a REC", c->id);
		return -EPERM;
	}
	if ((init->features[0] & bit) != bit ||
	    init->features[0] >> A64_VCPU_EL1_32BIT & 1 ||
	    (init->features[0] >> A64_VCPU_PMU_V3 & 1 && fake_rmi.api >= FAKE_API_D))
		return -EINVAL;
	plain.features[0] &= ~bit;
	ret = fake_vcpu_init(c, &plain);
	if (!ret && c->features >> A64_VCPU_SVE & 1)
		fake_put(c, A64_SVE_VLS, fake_host.sve_vq & fake_rmi.sve_vq);
	return ret;
}

static unsigned int field(uint64_t v, unsigned int shift)
{
	return v >> shift & 0xf;
}

static int set_dfr0(struct fake_realm *r, uint64_t v)
{
	const uint64_t mine = UINT64_C(0xf0f0f000);	/* CTX_CMPs, WRPs, BRPs */

	if (r->state != FAKE_REALM_NONE)
		return v == r->dfr0 ? 0 : -EBUSY;
	if ((v ^ DFR0_HOST) & ~mine || !field(v, 12) || !field(v, 20) ||
	    field(v, 12) > field(DFR0_HOST, 12) || field(v, 20) > field(DFR0_HOST, 20) ||
	    field(v, 28) > field(DFR0_HOST, 28) || field(v, 28) > field(v, 12) ||
	    (fake_rmi.fixed_breakpoints && field(v, 12) != field(DFR0_HOST, 12)))
		return -EINVAL;
	r->dfr0 = v;
	return 0;
}

static int set_reg(struct fake_cpu *c, const struct kvm_one_reg *o, bool *handled)
{
	const void *p = (const void *)(uintptr_t)o->addr;
	uint64_t v;

	if (!c->inited)
		return -ENOEXEC;
	memcpy(&v, p, sizeof(v));
	if (o->id == A64_ID_AA64DFR0_EL1)
		return set_dfr0(c->vm->realm, v);
	*handled = false;
	if (o->id == A64_SVE_VLS) {
		*handled = (v & ~fake_rmi.sve_vq) != 0 && !c->finalized;
		return -EINVAL;
	}
	for (unsigned int i = 0; i <= 30; i++)
		if (o->id == A64_X(i))
			return 0;
	*handled = o->id != A64_PC;
	return -EINVAL;
}

static int set_events(struct fake_cpu *c, const struct a64_vcpu_events *ev)
{
	if (ev->exception.serror_pending || ev->exception.ext_dabt_pending > 1)
		return -EINVAL;
	if (!ev->exception.ext_dabt_pending)
		return 0;
	if (!c->exited || !c->op || c->op->what != OP_ACCESS)
		return -EINVAL;
	c->abort = true;
	return 0;
}

static int make_rec(struct fake_cpu *c)
{
	if (c->vm->realm->state != FAKE_REALM_NEW || !c->finalized)
		return -EPERM;
	if (!(c->features >> A64_VCPU_PSCI_0_2 & 1))
		return -EINVAL;
	return fake_rmm_rec(c, c->powered);
}

static int psci_complete(struct fake_cpu *c, const struct a64_rmi_psci_complete *a)
{
	if (fake_rmi.api > FAKE_API_V13)
		return -ENOTTY;
	if (a->padding[0] || a->padding[1] || a->padding[2] || !c->psci.pending ||
	    (fake_get(c->psci.target, A64_MPIDR_EL1) & MPIDR_AFFINITY_MASK) != a->target_mpidr)
		return -EINVAL;
	return fake_rmm_psci_complete(c, a->psci_status);
}

int fake_rmi_vcpu_ioctl(struct fake_cpu *c, unsigned long req, unsigned long arg, bool *handled)
{
	const struct kvm_one_reg *o = (const void *)arg;
	int ret;

	*handled = c->vm->realm != NULL;
	if (!*handled)
		return 0;
	if (c->vm->realm->state == FAKE_REALM_DEAD)
		return -EIO;
	switch (req) {
	case A64_VCPU_INIT:
		return vcpu_init(c, (void *)arg);
	case A64_VCPU_FINALIZE:
		if (fake_rmi.api == FAKE_API_A && *(int *)arg == (int)fake_rmi.rec_bit)
			return make_rec(c);
		break;
	case KVM_SET_ONE_REG:
		ret = set_reg(c, o, handled);
		if (*handled)
			return ret;
		break;
	case KVM_GET_ONE_REG:
		if (o->id != A64_ID_AA64DFR0_EL1 || !c->inited)
			break;
		memcpy((void *)(uintptr_t)o->addr, &c->vm->realm->dfr0, 8);
		return 0;
	case A64_SET_VCPU_EVENTS:
		return set_events(c, (void *)arg);
	case A64_RMI_PSCI_COMPLETE:
		return psci_complete(c, (void *)arg);
	}
	*handled = false;
	return 0;
}

/* ---- the first run --------------------------------------------------------------------------- */

static int activate(struct fake_vm *vm)
{
	struct fake_realm *r = vm->realm;
	int ret = 0;

	if (!vm->gic)
		return -EOPNOTSUPP;
	if (!vm->gic_ready)
		return fake_rmi.api >= FAKE_API_D ? -ENODEV : -EBUSY;
	ret = fake_first_run(vm);
	if (!ret && r->state == FAKE_REALM_NONE)
		ret = fake_rmm_create(vm);
	for (unsigned int i = 0; i < FAKE_MAX_CPUS && !ret; i++) {
		if (!vm->cpu[i])
			continue;
		if (!(vm->cpu[i]->features >> A64_VCPU_PSCI_0_2 & 1))
			return -EINVAL;
		ret = fake_rmm_rec(vm->cpu[i], i == 0);
	}
	for (unsigned int i = 0; i < vm->nr_slots && !ret && fake_rmi.api != FAKE_API_E; i++) {
		const struct fake_slot *s = &vm->slot[i];

		if (s->gmem)
			ret = fake_rmm_init_ripas(vm, s->ipa, s->ipa + s->size);
	}
	if (!ret)
		ret = -fake_rmi.fail_activate;
	return ret;
}

int fake_rmi_first_run(struct fake_cpu *c)
{
	struct fake_vm *vm = c->vm;
	struct fake_realm *r = vm->realm;
	int ret = 0;

	if (r->state == FAKE_REALM_NONE || r->state == FAKE_REALM_NEW) {
		if (fake_rmi.api == FAKE_API_A)
			return -EINVAL;
		ret = activate(vm);
		if (ret)
			return die(vm, ret);
		r->state = FAKE_REALM_ACTIVE;
	} else if (!vm->ran && fake_rmi.api == FAKE_API_A) {
		ret = vm->gic ? fake_first_run(vm) : -EINVAL;
		if (ret)
			return ret;
	}
	if (!c->rec)
		return -EPERM;
	vm->ran = true;
	return 0;
}

/* ---- trace ----------------------------------------------------------------------------------- */

struct fake_call *fake_note(const char *name, uint64_t base, uint64_t size, uint64_t flags)
{
	struct fake_call *last = trace.nr ? &trace.call[trace.nr - 1] : NULL;

	if (last && !strcmp(name, "run") && !strcmp(last->name, "run") && last->base == base)
		return last;
	if (trace.nr == ARRAY_SIZE(trace.call))
		return NULL;
	last = &trace.call[trace.nr++];
	*last = (struct fake_call){ name, base, size, flags, 0 };
	return last;
}

static struct fake_call *note_rme(const struct kvm_enable_cap *ec)
{
	static const char *const names[] = { "config", "create", "ripas", "populate", "activate" };
	const uint64_t *range = (const uint64_t *)(uintptr_t)ec->args[1];
	const char *name;

	if (fake_rmi.api != FAKE_API_A || ec->cap != (unsigned int)fake_rmi.cap ||
	    ec->args[0] >= ARRAY_SIZE(names))
		return fake_note("cap", ec->cap, 0, 0);
	name = names[ec->args[0]];
	if (!strcmp(name, "config"))
		return fake_note(name, *(const uint32_t *)range, 0, 0);
	if (strcmp(name, "ripas") && strcmp(name, "populate"))
		return fake_note(name, 0, 0, 0);
	return fake_note(name, range[0], range[1], *name == 'p' ? (uint32_t)range[2] : 0);
}

struct fake_call *fake_note_ioctl(const struct fake_fd *f, unsigned long req, unsigned long arg)
{
	const struct kvm_userspace_memory_region2 *slot = (const void *)arg;
	const struct kvm_create_guest_memfd *gmem = (const void *)arg;
	const struct a64_mem_attr *attr = (const void *)arg;
	const struct a64_rmi_populate *pop = (const void *)arg;
	const struct kvm_one_reg *reg = (const void *)arg;
	const struct kvm_device_attr *dev = (const void *)arg;
	const struct a64_rmi_psci_complete *psci = (const void *)arg;
	unsigned int cpu = f->cpu ? f->cpu->id : 0;

	switch (req) {
	case KVM_CREATE_VM:
		return fake_note("vm", arg, 0, 0);
	case KVM_CREATE_GUEST_MEMFD:
		return fake_note("gmem", 0, gmem->size, gmem->flags);
	case KVM_SET_USER_MEMORY_REGION:
	case KVM_SET_USER_MEMORY_REGION2:
		return fake_note("slot", slot->guest_phys_addr, slot->memory_size, slot->flags);
	case A64_SET_MEM_ATTR:
		return fake_note("attr", attr->address, attr->size, attr->attributes);
	case A64_SET_MEM_ATTR2:
		return fake_note("gmem-attr", attr->address, attr->size, attr->attributes);
	case A64_RMI_POPULATE:
	case A64_RMI_POPULATE_V12:
		if (!arg)	/* is there such an ioctl? */
			return NULL;
		return fake_note("populate", pop->base, pop->size, pop->flags);
	case A64_RMI_INIT_RIPAS(FAKE_RIPAS_NR):
		return fake_note("ripas", pop->base, pop->size, 0);
	case KVM_ENABLE_CAP:
		return note_rme((const void *)arg);
	case KVM_CREATE_VCPU:
		return fake_note("vcpu", arg, 0, 0);
	case A64_VCPU_INIT:
		return fake_note("init", cpu, 0, ((const struct a64_vcpu_init *)arg)->features[0]);
	case A64_VCPU_FINALIZE:
		return fake_note("finalize", cpu, 0, *(const int *)arg);
	case KVM_SET_ONE_REG:
		return fake_note("reg", cpu, reg->id, 0);
	case KVM_CREATE_DEVICE:
		return fake_note("device", ((const struct kvm_create_device *)arg)->type, 0, 0);
	case KVM_SET_DEVICE_ATTR:
		if (f->kind != FD_GIC || dev->group != A64_GIC_GRP_CTRL)
			return NULL;
		return fake_note("gic-init", 0, 0, 0);
	case A64_RMI_PSCI_COMPLETE:
		return fake_note("psci", cpu, psci->target_mpidr, psci->psci_status);
	case KVM_RUN:
		return fake_note("run", cpu, 0, 0);
	default:
		return NULL;
	}
}

const struct fake_call *fake_trace(unsigned int n)
{
	const struct fake_call *c;

	pthread_mutex_lock(&fake.lock);
	c = n < trace.nr ? &trace.call[n] : NULL;
	pthread_mutex_unlock(&fake.lock);
	return c;
}

/* ---- what tests look at ---------------------------------------------------------------------- */

/* The newest VM's realm, with the lock held. */
static struct fake_realm *look(void)
{
	pthread_mutex_lock(&fake.lock);
	return fake.vm ? fake.vm->realm : NULL;
}

static void seen(void)
{
	pthread_mutex_unlock(&fake.lock);
}

enum fake_realm_state fake_realm_state(void)
{
	const struct fake_realm *r = look();
	enum fake_realm_state state = r ? r->state : FAKE_REALM_NONE;

	seen();
	return state;
}

unsigned int fake_rim(uint8_t rim[REALM_HASH_MAX])
{
	const struct fake_realm *r = look();
	unsigned int len = r ? realm_hash_len(r->algo) : 0;

	if (r)
		memcpy(rim, r->rim, REALM_HASH_MAX);
	seen();
	return len;
}

enum fake_ripas fake_ripas(ipa_t ipa)
{
	struct fake_realm *r = look();
	enum fake_ripas ripas = r && ipa < r->top ? *fake_page(r, ipa) & P_RIPAS : FAKE_EMPTY;

	seen();
	return ripas;
}

bool fake_private(ipa_t ipa)
{
	struct fake_realm *r = look();
	struct fake_slot *s = r ? fake_find_slot(fake.vm, ipa, 1) : NULL;
	bool private = s && s->gmem && is_private(fake.vm, s, ipa);

	seen();
	return private;
}

bool fake_gmem_at(ipa_t ipa)
{
	struct fake_slot *s = look() ? fake_find_slot(fake.vm, ipa, 1) : NULL;
	bool there = s && s->gmem;

	seen();
	return there;
}

unsigned int fake_delegated(void)
{
	struct fake_realm *r = look();
	unsigned int n = 0;

	for (unsigned int i = 0; r && i < fake.vm->nr_slots; i++) {
		const struct fake_slot *s = &fake.vm->slot[i];

		for (ipa_t p = s->ipa; s->gmem && p < s->ipa + s->size; p += SZ_4K)
			n += s->gmem->page[(s->gmem_off + (p - s->ipa)) / SZ_4K] & G_DELEGATED;
	}
	seen();
	return n;
}

bool fake_realm_mem(ipa_t ipa, void *buf, size_t len)
{
	struct fake_realm *r = look();
	bool shared = r && ipa >= r->top;
	struct fake_slot *s = r ? fake_find_slot(fake.vm, ipa & (r->top - 1), len) : NULL;

	if (s && shared && !(s->gmem && fake_rmi_gmem_only(s)))
		memcpy(buf, s->host + ((ipa & (r->top - 1)) - s->ipa), len);
	else if (s && s->gmem)
		memcpy(buf, fake_private_mem(s, ipa & (r->top - 1)), len);
	else
		s = NULL;
	seen();
	return s != NULL;
}

void fake_kill_realm(void)
{
	struct fake_realm *r = look();

	if (r)
		r->state = FAKE_REALM_DEAD;
	seen();
}
