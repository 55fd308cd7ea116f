// SPDX-License-Identifier: BSD-3-Clause
/* The VM: memslots, SMCCC filter, GIC and ITS, event descriptors. Errors are the kernel's. */
#include "tests/fakekvm/fake_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern bool session_models_too;	/* vmm/session.h */

#define GICD_SIZE	SZ_64K
#define GICR_SIZE	(2 * SZ_64K)
#define GITS_SIZE	(2 * SZ_64K)
#define UNSET		(~UINT64_C(0))
#define MAX_PAGES	((UINT64_C(1) << 31) - 1)	/* KVM_MEM_MAX_NR_PAGES */
#define MAX_IOEV	1000				/* NR_IOBUS_DEVS */

/* ---- life ------------------------------------------------------------------------------------ */

struct fake_vm *fake_vm_new(unsigned long type, int *ret)
{
	unsigned int bits = type & 0xff;
	struct fake_vm *vm;

	*ret = -EINVAL;
	if (type & ~(0xff | fake_host.type_mask))
		return NULL;
	if (!bits)
		bits = 40;	/* what arm64 had before the width could be chosen */
	if (bits < 32 || bits > fake_host.ipa_bits)
		return NULL;
	vm = calloc(1, sizeof(*vm));
	if (!vm) {
		*ret = -ENOMEM;
		return NULL;
	}
	vm->bits = bits;
	*ret = fake_rmi_vm_new(vm, type);
	if (*ret) {
		free(vm);
		return NULL;
	}
	vm->fd_open = true;
	vm->boot = ++fake.boots;
	vm->dist = vm->redist = vm->its = UNSET;
	for (unsigned int i = 0; i < FAKE_MAX_SPIS; i++)
		vm->irqfd[i] = -1;
	fake.vm = vm;
	*ret = 0;
	return vm;
}

void fake_vm_put(struct fake_vm *vm)
{
	if (--vm->refs)
		return;
	for (unsigned int i = 0; i < vm->nr_slots; i++)
		if (vm->slot[i].gmem)
			fake_gmem_put(vm->slot[i].gmem);
	for (unsigned int i = 0; i < vm->nr_ioev; i++)
		close(vm->ioev[i].fd);
	for (unsigned int i = 0; i < FAKE_MAX_SPIS; i++)
		if (vm->irqfd[i] >= 0)
			close(vm->irqfd[i]);
	for (unsigned int i = 0; i < vm->nr_msi_fds; i++)
		close(vm->msi_fd[i].fd);
	for (unsigned int i = 0; i < vm->nr_level_fds; i++) {
		close(vm->level_fd[i].fd);
		close(vm->level_fd[i].resample);
	}
	free(vm->level_fd);
	free(vm->msi_fd);
	free(vm->route);
	fake_rmi_vm_free(vm);
	free(vm->slot);
	free(vm->filter);
	free(vm->ioev);
	if (fake.vm == vm)
		fake.vm = NULL;
	free(vm);
}

static bool fits(const struct fake_vm *vm, ipa_t base, uint64_t size)
{
	return base + size >= base && base + size <= (ipa_t)1 << vm->bits;
}

/* ---- memslots (virt/kvm/kvm_main.c, __kvm_set_memory_region) --------------------------------- */

struct fake_slot *fake_find_slot(struct fake_vm *vm, ipa_t ipa, unsigned int len)
{
	for (unsigned int i = 0; i < vm->nr_slots; i++) {
		struct fake_slot *s = &vm->slot[i];

		if (ipa >= s->ipa && ipa - s->ipa < s->size && len <= s->size - (ipa - s->ipa))
			return s;
	}
	return NULL;
}

uint8_t *fake_slot_mem(const struct fake_slot *s, ipa_t ipa)
{
	if (s->gmem)
		return s->gmem->map + s->gmem_off + (ipa - s->ipa);
	return s->host + (ipa - s->ipa);
}

static struct fake_slot *slot_by_number(struct fake_vm *vm, unsigned int slot)
{
	for (unsigned int i = 0; i < vm->nr_slots; i++)
		if (vm->slot[i].slot == slot)
			return &vm->slot[i];
	return NULL;
}

static bool overlaps(const struct fake_vm *vm, const struct fake_slot *n)
{
	for (unsigned int i = 0; i < vm->nr_slots; i++) {
		const struct fake_slot *s = &vm->slot[i];

		if (s->slot != n->slot && s->ipa < n->ipa + n->size && n->ipa < s->ipa + s->size)
			return true;
	}
	return false;
}

static int bind(struct fake_vm *vm, struct fake_slot *n, int fd)
{
	struct fake_fd *f = fake_fd_get(fd, FD_FREE);

	if (!f)
		return -EBADF;
	if (f->kind != FD_GMEM || f->vm != vm)
		return -EINVAL;
	if (!IS_ALIGNED(n->gmem_off, SZ_4K) || n->gmem_off + n->size < n->gmem_off ||
	    n->gmem_off + n->size > f->gmem->size)
		return -EINVAL;
	for (unsigned int i = 0; i < vm->nr_slots; i++) {
		const struct fake_slot *s = &vm->slot[i];

		if (s->gmem == f->gmem && s->gmem_off < n->gmem_off + n->size &&
		    n->gmem_off < s->gmem_off + s->size)
			return -EINVAL;
	}
	n->gmem = f->gmem;
	return 0;
}

/*
 * In realmtool's sandbox by a call that vCPU threads make, too: the model has no others there.
 * Nobody waits; but the page is there afterwards, which mincore(2) leaves as it is.
 */
static bool is_mapped(uint8_t *p)
{
	unsigned char vec;

	if (!session_models_too)
		return mincore(p, 1, &vec) == 0;
	return syscall(SYS_futex, p, FUTEX_WAKE, 1, NULL, NULL, 0) >= 0;
}

/* A page that is not mapped would be -EFAULT at a far later time: find it now. */
static void check_host_memory(const struct fake_slot *s)
{
	if (!is_mapped(s->host) || !is_mapped(s->host + s->size - SZ_4K))
		fake_complain("memslot %u at %" PRIipa ": its userspace address is not mapped",
			      s->slot, s->ipa);
}

static void note_race(struct fake_vm *vm)
{
	for (unsigned int i = 0; i < FAKE_MAX_CPUS; i++)
		if (vm->cpu[i] && vm->cpu[i]->in_run) {
			fake.slot_races++;
			return;
		}
}

static int set_slot(struct fake_vm *vm, const struct kvm_userspace_memory_region2 *r)
{
	uint32_t flags = r->flags, valid = KVM_MEM_LOG_DIRTY_PAGES;
	struct fake_slot *old, n = {
		.slot = r->slot & 0xffff,
		.flags = flags,
		.ipa = r->guest_phys_addr,
		.size = r->memory_size,
		.host = (uint8_t *)(uintptr_t)r->userspace_addr,
		.gmem_off = flags & KVM_MEM_GUEST_MEMFD ? r->guest_memfd_offset : 0,
	};
	int ret;

	if (flags & KVM_MEM_GUEST_MEMFD)
		valid = fake_host.cap[KVM_CAP_GUEST_MEMFD] ? KVM_MEM_GUEST_MEMFD : 0;
	else if (fake_host.cap[KVM_CAP_READONLY_MEM])
		valid |= KVM_MEM_READONLY;
	if (flags & ~valid || r->slot >> 16 || n.slot >= FAKE_MAX_SLOTS)
		return -EINVAL;
	if (!IS_ALIGNED(n.size, SZ_4K) || !IS_ALIGNED(n.ipa, SZ_4K) ||
	    !IS_ALIGNED((uintptr_t)n.host, SZ_4K) || n.ipa + n.size < n.ipa ||
	    n.size / SZ_4K > MAX_PAGES)
		return -EINVAL;
	old = slot_by_number(vm, n.slot);
	if (!n.size) {
		if (!old)
			return -EINVAL;
		fake_rmi_slot(vm, old, true);
		if (old->gmem)
			fake_gmem_put(old->gmem);
		*old = vm->slot[--vm->nr_slots];
		note_race(vm);
		return 0;
	}
	if (old) {
		/* private slots are immutable; size and backing of the others too */
		if (flags & KVM_MEM_GUEST_MEMFD || old->gmem || old->host != n.host ||
		    old->size != n.size || (old->flags ^ flags) & KVM_MEM_READONLY)
			return -EINVAL;
	}
	if (overlaps(vm, &n))
		return -EEXIST;
	if (n.ipa + n.size > (ipa_t)1 << vm->bits)
		return -EFAULT;		/* arch/arm64/kvm/mmu.c */
	if (flags & KVM_MEM_GUEST_MEMFD) {
		ret = bind(vm, &n, r->guest_memfd);
		if (ret)
			return ret;
		n.gmem->refs++;
	}
	if (n.host || !n.gmem || !vm->realm)
		check_host_memory(&n);
	fake_rmi_slot(vm, &n, false);
	note_race(vm);
	if (old) {
		*old = n;
		return 0;
	}
	if (vm->nr_slots == vm->cap_slots) {
		vm->cap_slots = vm->cap_slots ? 2 * vm->cap_slots : 16;
		vm->slot = realloc(vm->slot, vm->cap_slots * sizeof(*vm->slot));
	}
	vm->slot[vm->nr_slots++] = n;
	return 0;
}

static int set_slot_v1(struct fake_vm *vm, const struct kvm_userspace_memory_region *r)
{
	struct kvm_userspace_memory_region2 r2 = {
		.slot = r->slot,
		.flags = r->flags,
		.guest_phys_addr = r->guest_phys_addr,
		.memory_size = r->memory_size,
		.userspace_addr = r->userspace_addr,
	};

	if (r->flags & ~(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY))
		return -EINVAL;
	return set_slot(vm, &r2);
}

static int create_gmem(struct fake_vm *vm, const struct kvm_create_guest_memfd *c)
{
	struct fake_gmem *g;
	int fd;

	if (!fake_host.cap[KVM_CAP_GUEST_MEMFD])
		return -ENOTTY;
	if (c->flags & ~fake_host.gmem_flags || !c->size || c->size > INT64_MAX ||
	    !IS_ALIGNED(c->size, SZ_4K))
		return -EINVAL;
	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	g->fd = memfd_create("fake-gmem", MFD_CLOEXEC);
	if (g->fd < 0 || ftruncate(g->fd, c->size) < 0)
		abort();
	g->size = c->size;
	g->flags = c->flags;
	g->refs = 1;
	g->map = mmap(NULL, g->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, g->fd, 0);
	if (g->map == MAP_FAILED)
		abort();
	fake_rmi_gmem_new(vm, g);
	fd = fake_fd_new(FD_GMEM, vm, NULL, g);
	if (fd < 0)
		fake_gmem_put(g);
	return fd;
}

/* ---- SMCCC filter (arch/arm64/kvm/hypercalls.c) ---------------------------------------------- */

static int add_filter(struct fake_vm *vm, uint32_t first, uint32_t last, uint8_t action)
{
	for (unsigned int i = 0; i < vm->nr_filter; i++)
		if (first <= vm->filter[i].last && vm->filter[i].first <= last)
			return -EEXIST;
	vm->filter = realloc(vm->filter, (vm->nr_filter + 1) * sizeof(*vm->filter));
	vm->filter[vm->nr_filter++] = (struct fake_range){ first, last, action };
	return 0;
}

static int set_filter(struct fake_vm *vm, const struct a64_smccc_filter *f)
{
	static const uint8_t zero[sizeof(f->pad)];
	uint32_t last = f->base + f->nr_functions - 1;

	if (memcmp(f->pad, zero, sizeof(zero)) || last < f->base ||
	    f->action > A64_SMCCC_FWD_TO_USER)
		return -EINVAL;
	if (vm->ran)
		return -EBUSY;
	if (!vm->nr_filter) {
		/* Arm architecture calls stay with KVM. */
		add_filter(vm, 0x80000000, 0x8000ffff, A64_SMCCC_HANDLE);
		add_filter(vm, 0xc0000000, 0xc000ffff, A64_SMCCC_HANDLE);
	}
	return add_filter(vm, f->base, last, f->action);
}

uint8_t fake_filter(const struct fake_vm *vm, uint32_t fn)
{
	for (unsigned int i = 0; i < vm->nr_filter; i++)
		if (fn >= vm->filter[i].first && fn <= vm->filter[i].last)
			return vm->filter[i].action;
	return A64_SMCCC_HANDLE;
}

static int vm_attr(struct fake_vm *vm, const struct kvm_device_attr *a, bool only_has)
{
	if (a->group != A64_VM_SMCCC_GROUP || a->attr != A64_VM_SMCCC_FILTER ||
	    !fake_host.smccc_filter)
		return -ENXIO;
	return only_has ? 0 : set_filter(vm, (void *)(uintptr_t)a->addr);
}

/* ---- GIC (arch/arm64/kvm/vgic/vgic-kvm-device.c, vgic-mmio-v3.c) ----------------------------- */

static int check_range(const struct fake_vm *vm, ipa_t now, ipa_t addr, uint64_t size)
{
	if (now != UNSET)
		return -EEXIST;
	if (!IS_ALIGNED(addr, SZ_64K) || addr + size < addr)
		return -EINVAL;
	return fits(vm, addr, size) ? 0 : -E2BIG;
}

static bool meet(ipa_t a, uint64_t alen, ipa_t b, uint64_t blen)
{
	return a != UNSET && b != UNSET && a < b + blen && b < a + alen;
}

static int set_redist(struct fake_vm *vm, uint64_t val)
{
	ipa_t base = val & UINT64_C(0xfffffffff0000);
	unsigned int count = val >> 52;
	int ret;

	/* one region is all that realmtool asks for: index and flags are 0 */
	if (!count || val & 0xffff)
		return -EINVAL;
	ret = check_range(vm, vm->redist, base, count * GICR_SIZE);
	if (ret)
		return ret;
	if (meet(base, count * GICR_SIZE, vm->dist, GICD_SIZE))
		return -EINVAL;
	vm->redist = base;
	vm->redist_count = count;
	return 0;
}

static int gic_init(struct fake_vm *vm)
{
	if (vm->gic_ready)
		fake_complain("the GIC is initialised twice");
	if (!vm->nr_cpus)
		fake_complain("the GIC is initialised before there are vCPUs");
	if (!vm->nr_spis)
		vm->nr_spis = 256 - 32;		/* KVM's default */
	vm->gic_ready = true;
	return 0;
}

static int set_gic(struct fake_vm *vm, const struct kvm_device_attr *a)
{
	const void *p = (void *)(uintptr_t)a->addr;
	uint64_t addr;
	uint32_t nr;
	int ret;

	switch (a->group) {
	case A64_GIC_GRP_ADDR:
		memcpy(&addr, p, sizeof(addr));
		if (a->attr == A64_GIC_ADDR_REDIST_REGION)
			return set_redist(vm, addr);
		ret = check_range(vm, vm->dist, addr, GICD_SIZE);
		if (!ret)
			vm->dist = addr;
		return ret;
	case A64_GIC_GRP_NR_IRQS:
		memcpy(&nr, p, sizeof(nr));
		if (nr < 64 || nr > 1024 || nr & 31)
			return -EINVAL;
		if (vm->gic_ready || vm->nr_spis)
			return -EBUSY;
		vm->nr_spis = nr - 32;
		return 0;
	default:
		return gic_init(vm);
	}
}

static int set_its(struct fake_vm *vm, const struct kvm_device_attr *a)
{
	uint64_t addr;
	int ret;

	if (a->group == A64_GIC_GRP_CTRL) {
		if (vm->its == UNSET)
			return -ENXIO;
		if (!vm->gic_ready)
			fake_complain("the ITS is initialised before the GIC");
		vm->its_ready = true;
		return 0;
	}
	memcpy(&addr, (void *)(uintptr_t)a->addr, sizeof(addr));
	ret = check_range(vm, vm->its, addr, GITS_SIZE);
	if (!ret)
		vm->its = addr;
	return ret;
}

int fake_gic_attr(struct fake_vm *vm, bool its, const struct kvm_device_attr *a, bool only_has)
{
	bool known = (a->group == A64_GIC_GRP_CTRL && a->attr == A64_GIC_CTRL_INIT) ||
		(its ? a->group == A64_GIC_GRP_ADDR && a->attr == A64_GIC_ADDR_ITS :
		 a->group == A64_GIC_GRP_NR_IRQS || (a->group == A64_GIC_GRP_ADDR &&
		 (a->attr == A64_GIC_ADDR_DIST || a->attr == A64_GIC_ADDR_REDIST_REGION)));

	if (!known)
		return -ENXIO;
	if (only_has)
		return 0;
	return its ? set_its(vm, a) : set_gic(vm, a);
}

static int create_device(struct fake_vm *vm, struct kvm_create_device *cd)
{
	bool its = cd->type == KVM_DEV_TYPE_ARM_VGIC_ITS;
	int fd;

	if (!(its ? fake_host.its : cd->type == KVM_DEV_TYPE_ARM_VGIC_V3 && fake_host.gicv3))
		return -ENODEV;
	if (cd->flags & KVM_CREATE_DEVICE_TEST)
		return 0;
	if (its ? vm->has_its : vm->gic)
		return -EEXIST;
	if (vm->ran)
		return -EBUSY;
	fd = fake_fd_new(its ? FD_ITS : FD_GIC, vm, NULL, NULL);
	if (fd < 0)
		return fd;
	if (its)
		vm->has_its = true;
	else
		vm->gic = true;
	cd->fd = fd;
	return 0;
}

bool fake_gic_owns(const struct fake_vm *vm, ipa_t ipa)
{
	return meet(vm->dist, GICD_SIZE, ipa, 1) || meet(vm->its, GITS_SIZE, ipa, 1) ||
		meet(vm->redist, vm->redist_count * GICR_SIZE, ipa, 1);
}

/* What KVM_RUN checks when it is called for the first time (kvm_vgic_map_resources). */
int fake_first_run(struct fake_vm *vm)
{
	if (!vm->gic)
		return 0;
	if (vm->dist == UNSET)
		return -ENXIO;
	if (vm->redist_count < vm->nr_cpus)
		return -EINVAL;
	if (!vm->gic_ready)
		return -EBUSY;
	if (meet(vm->its, GITS_SIZE, vm->dist, GICD_SIZE) ||
	    meet(vm->its, GITS_SIZE, vm->redist, vm->redist_count * GICR_SIZE))
		return -EINVAL;
	return 0;
}

/* ---- interrupts and events ------------------------------------------------------------------- */

static int irq_line(struct fake_vm *vm, const struct kvm_irq_level *l)
{
	uint32_t intid = l->irq & 0xffff;

	if (l->irq >> 24 != A64_IRQ_TYPE_SPI >> 24 || l->irq >> 16 & 0xff)
		return -EINVAL;
	if (!vm->gic)
		return -ENXIO;
	if (!vm->gic_ready)
		return -EBUSY;
	if (intid < 32 || intid - 32 >= vm->nr_spis)
		return -EINVAL;
	/* arm64 keeps one level per SPI, not one per source (vgic_irqfd_set_irq) */
	for (unsigned int i = 0; i < vm->nr_level_fds; i++)
		if (vm->level_fd[i].spi == intid - 32)
			fake_complain("SPI %u is driven by KVM_IRQ_LINE and by an irqfd", intid - 32);
	vm->level[intid - 32] = l->level != 0;
	return 0;
}

/* Which eventfd a descriptor is: the kernel tells them apart, whatever their numbers. */
static long event_id(int fd)
{
	char path[64], line[128];
	long id = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "eventfd-id: %ld", &id) == 1)
			break;
	if (f)
		fclose(f);
	return id;
}

static const struct kvm_irq_routing_entry *find_route(struct fake_vm *vm, uint32_t gsi)
{
	for (unsigned int i = 0; i < vm->nr_routes; i++)
		if (vm->route[i].gsi == gsi)
			return &vm->route[i];
	return NULL;
}

static void drain_event(struct fake_vm *vm, const struct fake_irqfd *f)
{
	uint64_t n;

	if (read(f->fd, &n, sizeof(n)) == sizeof(n))
		vm->raised[f->gsi]++;	/* an MSI is an edge: what piled up is one */
}

/* virt/kvm/eventfd.c, kvm_irqfd_assign() and kvm_irqfd_deassign() */
static int msi_irqfd(struct fake_vm *vm, const struct kvm_irqfd *f)
{
	long event = event_id(f->fd);

	if (event < 0)
		return -EINVAL;
	for (unsigned int i = 0; i < vm->nr_msi_fds; i++) {
		struct fake_irqfd *o = &vm->msi_fd[i];

		if (o->event != event || (f->flags && o->gsi != f->gsi))
			continue;
		if (!f->flags)
			return -EBUSY;
		drain_event(vm, o);
		close(o->fd);
		*o = vm->msi_fd[--vm->nr_msi_fds];
		return 0;
	}
	if (f->flags) {
		fake_complain("GSI %u: no such irqfd to take away", f->gsi);
		return 0;
	}
	if (f->gsi >= KVM_ROUTES_MAX || !find_route(vm, f->gsi)) {
		fake_complain("irqfd for GSI %u, which leads nowhere", f->gsi);
		return 0;
	}
	vm->msi_fd = realloc(vm->msi_fd, (vm->nr_msi_fds + 1) * sizeof(*vm->msi_fd));
	vm->msi_fd[vm->nr_msi_fds++] = (struct fake_irqfd){
		.gsi = f->gsi,
		.fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 0),
		.event = event,
	};
	return 0;
}

/* What was written to the irqfds of a wire asserts it, until the guest ends the interrupt. */
static void fold_level(struct fake_vm *vm, unsigned int spi)
{
	for (unsigned int i = 0; i < vm->nr_level_fds; i++) {
		const struct fake_level *l = &vm->level_fd[i];
		uint64_t n;

		if (l->spi == spi && read(l->fd, &n, sizeof(n)) == sizeof(n))
			vm->level[spi] = 1;
	}
}

static unsigned int resamplers(const struct fake_vm *vm, unsigned int spi)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < vm->nr_level_fds; i++)
		n += vm->level_fd[i].spi == spi;
	return n;
}

/* virt/kvm/eventfd.c, irqfd_resampler_ack() */
static void end_level(struct fake_vm *vm, unsigned int spi)
{
	uint64_t one = 1;

	fold_level(vm, spi);
	if (!vm->level[spi])
		return;
	vm->level[spi] = 0;
	for (unsigned int i = 0; i < vm->nr_level_fds; i++)
		if (vm->level_fd[i].spi == spi &&
		    write(vm->level_fd[i].resample, &one, sizeof(one)) != sizeof(one))
			fake_complain("SPI %u: a resampling eventfd is full", spi);
}

/* A level-triggered SPI: kvm_irqfd_assign() and irqfd_resampler_shutdown(). */
static int level_irqfd(struct fake_vm *vm, const struct kvm_irqfd *f)
{
	long event = event_id(f->fd);

	if (event < 0)
		return -EINVAL;
	for (unsigned int i = 0; i < vm->nr_level_fds; i++) {
		struct fake_level *l = &vm->level_fd[i];

		if (l->event != event ||
		    ((f->flags & KVM_IRQFD_FLAG_DEASSIGN) && l->spi != f->gsi))
			continue;
		if (!(f->flags & KVM_IRQFD_FLAG_DEASSIGN))
			return -EBUSY;
		fold_level(vm, l->spi);
		close(l->fd);
		close(l->resample);
		*l = vm->level_fd[--vm->nr_level_fds];
		if (!resamplers(vm, f->gsi))
			vm->level[f->gsi] = 0;
		return 0;
	}
	if (f->flags & KVM_IRQFD_FLAG_DEASSIGN) {
		fake_complain("SPI %u: no such irqfd to take away", f->gsi);
		return 0;
	}
	if (event_id(f->resamplefd) < 0)
		return -EINVAL;
	if (vm->irqfd[f->gsi] >= 0)
		fake_complain("SPI %u has an irqfd for edges, too", f->gsi);
	if (!resamplers(vm, f->gsi) && vm->level[f->gsi])
		fake_complain("SPI %u is driven by KVM_IRQ_LINE and by an irqfd", f->gsi);
	vm->level_fd = realloc(vm->level_fd, (vm->nr_level_fds + 1) * sizeof(*vm->level_fd));
	vm->level_fd[vm->nr_level_fds++] = (struct fake_level){
		.spi = f->gsi,
		.fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 0),
		.resample = fcntl(f->resamplefd, F_DUPFD_CLOEXEC, 0),
		.event = event,
	};
	return 0;
}

/* virt/kvm/irqchip.c, kvm_set_irq_routing(); arch/arm64/kvm/vgic/vgic-irqfd.c */
static int check_route(const struct kvm_irq_routing_entry *r)
{
	switch (r->type) {
	case KVM_IRQ_ROUTING_IRQCHIP:
		return r->flags || r->u.irqchip.irqchip || r->u.irqchip.pin >= 1020 - 32 ?
		       -EINVAL : 0;
	case KVM_IRQ_ROUTING_MSI:
		return r->flags & ~KVM_MSI_VALID_DEVID ? -EINVAL : 0;
	default:
		return -EINVAL;
	}
}

static int set_routing(struct fake_vm *vm, const struct kvm_irq_routing *table)
{
	struct kvm_irq_routing_entry *copy;

	if (!vm->gic_ready || table->nr > KVM_ROUTES_MAX || table->flags)
		return -EINVAL;
	for (unsigned int i = 0; i < table->nr; i++) {
		int ret = check_route(&table->entries[i]);

		if (ret)
			return ret;
		for (unsigned int k = 0; k < i; k++)
			if (table->entries[k].gsi == table->entries[i].gsi)
				return -EINVAL;
		if (table->entries[i].type == KVM_IRQ_ROUTING_MSI && vm->has_its &&
		    !(table->entries[i].flags & KVM_MSI_VALID_DEVID))
			fake_complain("GSI %u: an ITS needs the device of an MSI",
				      table->entries[i].gsi);
	}
	copy = malloc(table->nr * sizeof(*copy) + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, table->entries, table->nr * sizeof(*copy));
	free(vm->route);
	vm->route = copy;
	vm->nr_routes = table->nr;
	vm->routed = true;
	for (unsigned int i = 0; i < FAKE_MAX_SPIS; i++) {
		const struct kvm_irq_routing_entry *r = find_route(vm, i);

		if (vm->irqfd[i] >= 0 && (!r || r->type != KVM_IRQ_ROUTING_IRQCHIP ||
					  r->u.irqchip.pin != i))
			fake_complain("SPI %u has an irqfd and lost its route", i);
	}
	for (unsigned int i = 0; i < vm->nr_msi_fds; i++)
		if (!find_route(vm, vm->msi_fd[i].gsi))
			fake_complain("GSI %u has an irqfd and lost its route", vm->msi_fd[i].gsi);
	return 0;
}

static int irqfd(struct fake_vm *vm, const struct kvm_irqfd *f)
{
	if (f->flags & ~(KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE))
		return -EINVAL;
	if ((f->flags & KVM_IRQFD_FLAG_RESAMPLE) && !fake_host.cap[KVM_CAP_IRQFD_RESAMPLE])
		return -EINVAL;
	if (!vm->gic_ready)
		return -EAGAIN;
	if (fcntl(f->fd, F_GETFD) < 0)
		return -EBADF;
	if (f->gsi >= vm->nr_spis) {
		if (f->flags & KVM_IRQFD_FLAG_RESAMPLE)
			fake_complain("GSI %u: a message has no level", f->gsi);
		return msi_irqfd(vm, f);
	}
	if (f->flags)
		return level_irqfd(vm, f);
	if (vm->irqfd[f->gsi] >= 0)
		fake_complain("two irqfds for SPI %u", f->gsi);
	else
		vm->irqfd[f->gsi] = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
	return 0;
}

/* virt/kvm/eventfd.c, kvm_deassign_ioeventfd_idx() */
static int ioeventfd_gone(struct fake_vm *vm, const struct kvm_ioeventfd *io)
{
	uint32_t match = io->flags & KVM_IOEVENTFD_FLAG_DATAMATCH;
	long event = event_id(io->fd);

	for (unsigned int i = 0; i < vm->nr_ioev; i++) {
		struct fake_ioev *o = &vm->ioev[i];

		if (o->event != event || o->addr != io->addr || o->len != io->len ||
		    (o->flags & KVM_IOEVENTFD_FLAG_DATAMATCH) != match ||
		    (match && o->match != io->datamatch))
			continue;
		close(o->fd);
		*o = vm->ioev[--vm->nr_ioev];
		return 0;
	}
	fake_complain("no ioeventfd at %#" PRIx64 " to take away", (uint64_t)io->addr);
	return -ENOENT;
}

static int ioeventfd(struct fake_vm *vm, const struct kvm_ioeventfd *io)
{
	bool match = io->flags & KVM_IOEVENTFD_FLAG_DATAMATCH;

	if (io->flags & ~KVM_IOEVENTFD_VALID_FLAG_MASK || io->addr + io->len < io->addr)
		return -EINVAL;
	if (io->len != 0 && io->len != 1 && io->len != 2 && io->len != 4 && io->len != 8)
		return -EINVAL;
	if (!io->len && match)
		return -EINVAL;
	if (fcntl(io->fd, F_GETFD) < 0)
		return -EBADF;
	if (io->flags & KVM_IOEVENTFD_FLAG_PIO)
		fake_complain("ioeventfd flags %#x: not in this model", io->flags);
	if (io->flags & KVM_IOEVENTFD_FLAG_DEASSIGN)
		return ioeventfd_gone(vm, io);
	for (unsigned int i = 0; i < vm->nr_ioev; i++) {
		const struct fake_ioev *o = &vm->ioev[i];

		if (o->addr == io->addr && (!o->len || !io->len || (o->len == io->len &&
		    (!match || !(o->flags & KVM_IOEVENTFD_FLAG_DATAMATCH) ||
		     o->match == io->datamatch))))
			return -EEXIST;
	}
	if (vm->nr_ioev == MAX_IOEV)
		return -ENOSPC;
	if (io->addr + io->len > (ipa_t)1 << vm->bits)
		fake_complain("ioeventfd at %#" PRIx64 ": beyond the IPA space",
			      (uint64_t)io->addr);
	vm->ioev = realloc(vm->ioev, (vm->nr_ioev + 1) * sizeof(*vm->ioev));
	vm->ioev[vm->nr_ioev++] = (struct fake_ioev){
		.addr = io->addr,
		.len = io->len,
		.flags = io->flags,
		.match = io->datamatch,
		.fd = fcntl(io->fd, F_DUPFD_CLOEXEC, 0),
		.event = event_id(io->fd),
	};
	return 0;
}

static int enable_cap(struct fake_vm *vm, const struct kvm_enable_cap *ec)
{
	if (ec->flags || ec->cap >= FAKE_NR_CAPS || ec->cap != A64_CAP_NISV_TO_USER ||
	    !fake_host.cap[ec->cap])
		return -EINVAL;
	vm->cap_on[ec->cap] = true;
	vm->nisv = true;
	return 0;
}

static int preferred_target(struct a64_vcpu_init *init)
{
	memset(init, 0, sizeof(*init));
	init->target = 5;	/* KVM_ARM_TARGET_GENERIC_V8 */
	return 0;
}

int fake_vm_ioctl(struct fake_vm *vm, unsigned long req, unsigned long arg)
{
	void *p = (void *)arg;
	bool handled = false;
	int ret;

	ret = fake_rmi_vm_ioctl(vm, req, arg, &handled);
	if (handled)
		return ret;
	switch (req) {
	case KVM_CHECK_EXTENSION:
		return arg < FAKE_NR_CAPS ? fake_host.cap[arg] : 0;
	case KVM_CREATE_VCPU:
		return fake_vcpu_new(vm, arg);
	case KVM_SET_USER_MEMORY_REGION:
		return set_slot_v1(vm, p);
	case KVM_SET_USER_MEMORY_REGION2:
		return fake_host.cap[KVM_CAP_USER_MEMORY2] ? set_slot(vm, p) : -ENOTTY;
	case KVM_CREATE_GUEST_MEMFD:
		return create_gmem(vm, p);
	case KVM_CREATE_DEVICE:
		return create_device(vm, p);
	case KVM_SET_DEVICE_ATTR:
		return vm_attr(vm, p, false);
	case KVM_HAS_DEVICE_ATTR:
		return vm_attr(vm, p, true);
	case KVM_ENABLE_CAP:
		return enable_cap(vm, p);
	case KVM_IRQ_LINE:
		return irq_line(vm, p);
	case KVM_IRQFD:
		return irqfd(vm, p);
	case KVM_IOEVENTFD:
		return ioeventfd(vm, p);
	case KVM_SET_GSI_ROUTING:
		return set_routing(vm, p);
	case A64_PREFERRED_TARGET:
		return preferred_target(p);
	default:
		return -ENOTTY;
	}
}

/* ---- what tests look at ---------------------------------------------------------------------- */

unsigned int fake_boots(void)
{
	unsigned int n;

	pthread_mutex_lock(&fake.lock);
	n = fake.boots;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

unsigned int fake_slots(void)
{
	unsigned int n;

	pthread_mutex_lock(&fake.lock);
	n = fake.vm ? fake.vm->nr_slots : 0;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

bool fake_slot_at(ipa_t ipa)
{
	bool there;

	pthread_mutex_lock(&fake.lock);
	there = fake.vm && fake_find_slot(fake.vm, ipa, 1);
	pthread_mutex_unlock(&fake.lock);
	return there;
}

unsigned int fake_slot_races(void)
{
	unsigned int n;

	pthread_mutex_lock(&fake.lock);
	n = fake.slot_races;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

bool fake_mem(ipa_t ipa, void *buf, size_t len)
{
	struct fake_slot *s;

	if (fake_realm_mem(ipa, buf, len))
		return true;
	pthread_mutex_lock(&fake.lock);
	s = fake.vm && !fake.vm->realm ? fake_find_slot(fake.vm, ipa, len) : NULL;
	if (s)
		memcpy(buf, fake_slot_mem(s, ipa), len);
	pthread_mutex_unlock(&fake.lock);
	return s != NULL;
}

int fake_irq_level(unsigned int spi)
{
	int level;

	pthread_mutex_lock(&fake.lock);
	if (fake.vm && spi < FAKE_MAX_SPIS)
		fold_level(fake.vm, spi);
	level = fake.vm && spi < FAKE_MAX_SPIS ? fake.vm->level[spi] : -1;
	pthread_mutex_unlock(&fake.lock);
	return level;
}

void fake_eoi(unsigned int spi)
{
	pthread_mutex_lock(&fake.lock);
	if (fake.vm && spi < FAKE_MAX_SPIS)
		end_level(fake.vm, spi);
	pthread_mutex_unlock(&fake.lock);
}

unsigned int fake_resamplers(unsigned int spi)
{
	unsigned int n;

	pthread_mutex_lock(&fake.lock);
	n = fake.vm ? resamplers(fake.vm, spi) : 0;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

int fake_irqfd_count(unsigned int spi)
{
	uint64_t n = 0;
	int ret = -1;

	pthread_mutex_lock(&fake.lock);
	if (fake.vm && spi < FAKE_MAX_SPIS && fake.vm->irqfd[spi] >= 0)
		ret = read(fake.vm->irqfd[spi], &n, sizeof(n)) == sizeof(n) ? (int)n : 0;
	pthread_mutex_unlock(&fake.lock);
	return ret;
}

bool fake_route(uint32_t gsi, struct kvm_irq_routing_entry *out)
{
	const struct kvm_irq_routing_entry *r;

	pthread_mutex_lock(&fake.lock);
	r = fake.vm ? find_route(fake.vm, gsi) : NULL;
	if (r)
		*out = *r;
	pthread_mutex_unlock(&fake.lock);
	return r;
}

unsigned int fake_routes(void)
{
	unsigned int n;

	pthread_mutex_lock(&fake.lock);
	n = fake.vm && fake.vm->routed ? fake.vm->nr_routes : 0;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

int fake_gsi_count(uint32_t gsi)
{
	struct fake_vm *vm;
	int ret = -1;

	pthread_mutex_lock(&fake.lock);
	vm = fake.vm;
	for (unsigned int i = 0; vm && i < vm->nr_msi_fds; i++) {
		if (vm->msi_fd[i].gsi != gsi)
			continue;
		drain_event(vm, &vm->msi_fd[i]);
		ret = vm->raised[gsi];
		vm->raised[gsi] = 0;
	}
	pthread_mutex_unlock(&fake.lock);
	return ret;
}

bool fake_ioeventfd_at(ipa_t ipa, unsigned int len)
{
	bool there = false;

	pthread_mutex_lock(&fake.lock);
	for (unsigned int i = 0; fake.vm && i < fake.vm->nr_ioev; i++)
		there |= fake.vm->ioev[i].addr == ipa && fake.vm->ioev[i].len == len &&
			 !(fake.vm->ioev[i].flags & KVM_IOEVENTFD_FLAG_DATAMATCH);
	pthread_mutex_unlock(&fake.lock);
	return there;
}

unsigned int fake_ioeventfds(void)
{
	unsigned int n;

	pthread_mutex_lock(&fake.lock);
	n = fake.vm ? fake.vm->nr_ioev : 0;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

bool fake_in_guest(unsigned int id)
{
	bool in;

	pthread_mutex_lock(&fake.lock);
	in = fake.vm && fake.vm->cpu[id] && fake.vm->cpu[id]->in_run;
	pthread_mutex_unlock(&fake.lock);
	return in;
}

bool fake_cap_enabled(unsigned int cap)
{
	bool on;

	pthread_mutex_lock(&fake.lock);
	on = fake.vm && cap < FAKE_NR_CAPS && fake.vm->cap_on[cap];
	pthread_mutex_unlock(&fake.lock);
	return on;
}
