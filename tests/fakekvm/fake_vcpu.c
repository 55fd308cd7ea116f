// SPDX-License-Identifier: BSD-3-Clause
/* vCPUs: registers, features, power. What KVM_RUN does is in fake_run.c. */
#include "tests/fakekvm/fake_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define REG_CLASS(id)	((id) & 0x0fff0000ULL)
#define CLASS_CORE	0x00100000ULL
#define CLASS_SYS	0x00130000ULL
#define CLASS_FW	0x00140000ULL
#define CLASS_SVE	0x00150000ULL
#define REG_PSCI_VERSION (A64_REG | A64_REG_U64 | CLASS_FW)
#define REG_BYTES(id)	(1U << ((id) >> 52 & 0xf))
#define V_FIRST		336	/* offsets in struct kvm_regs */
#define V_END		848
#define CORE_END	856

#define HAS(c, feature)	((c)->features >> (feature) & 1)

static const struct {
	uint64_t id, reset;
} sysregs[] = {
	{ A64_ID_AA64DFR0_EL1, 0x10305106 },
	{ A64_ID_AA64MMFR0_EL1, 0x1124 },
	{ A64_ID_AA64MMFR2_EL1, 0 },
	{ A64_SCTLR_EL1, 0x30d00980 },
	{ A64_TTBR0_EL1, 0 }, { A64_TTBR1_EL1, 0 }, { A64_TCR_EL1, 0 },
	{ A64_ESR_EL1, 0 }, { A64_FAR_EL1, 0 }, { A64_VBAR_EL1, 0 },
};

/* ---- registers ------------------------------------------------------------------------------- */

static struct fake_reg *reg(struct fake_cpu *c, uint64_t id)
{
	for (unsigned int i = 0; i < c->nr_regs; i++)
		if (c->reg[i].id == id)
			return &c->reg[i];
	if (c->nr_regs == c->cap_regs) {
		c->cap_regs = c->cap_regs ? 2 * c->cap_regs : 64;
		c->reg = realloc(c->reg, c->cap_regs * sizeof(*c->reg));
	}
	c->reg[c->nr_regs] = (struct fake_reg){ .id = id };
	return &c->reg[c->nr_regs++];
}

static void preset(struct fake_cpu *c, uint64_t id, uint64_t val)
{
	memcpy(reg(c, id)->val, &val, sizeof(val));
}

static void reset_regs(struct fake_cpu *c)
{
	uint64_t id = c->id, mpidr = 1U << 31 | (id & 0xf) | (id >> 4 & 0xff) << 8 |
		(id >> 12 & 0xff) << 16;

	c->nr_regs = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(sysregs); i++)
		preset(c, sysregs[i].id, sysregs[i].reset);
	preset(c, A64_MPIDR_EL1, fake_host.strange_mpidr ? mpidr + 0x100 : mpidr);
	preset(c, A64_PSTATE, 0x3c5);
	if (HAS(c, A64_VCPU_PSCI_0_2))
		preset(c, REG_PSCI_VERSION, 0x10003);
	if (HAS(c, A64_VCPU_PMU_V3))
		preset(c, A64_PMCR_EL0, (uint64_t)fake_host.pmu_counters << 11);
	if (HAS(c, A64_VCPU_SVE))
		preset(c, A64_SVE_VLS, fake_host.sve_vq);
}

static int known_core(struct fake_cpu *c, uint64_t id)
{
	uint64_t off = (id & 0xffff) * 4, size;

	if (off >= CORE_END)
		return -ENOENT;
	size = off < V_FIRST ? A64_REG_U64 : off < V_END ? A64_REG_U128 : A64_REG_U32;
	if ((id & 0x00f0000000000000ULL) != size || (off < V_FIRST && off % 8) ||
	    (off >= V_FIRST && off < V_END && (off - V_FIRST) % 16))
		return -EINVAL;
	/* with SVE the vectors have other names */
	return off >= V_FIRST && off < V_END && HAS(c, A64_VCPU_SVE) ? -EINVAL : 0;
}

static int known_reg(struct fake_cpu *c, uint64_t id)
{
	switch (REG_CLASS(id)) {
	case CLASS_CORE:
		return known_core(c, id);
	case CLASS_SVE:
		if (!HAS(c, A64_VCPU_SVE))
			return -ENOENT;
		return id == A64_SVE_VLS || c->finalized ? 0 : -EPERM;
	default:
		for (unsigned int i = 0; i < c->nr_regs; i++)
			if (c->reg[i].id == id)
				return 0;
		return -ENOENT;
	}
}

static bool bad_pstate(uint64_t v)
{
	uint64_t mode = v & 0x1f;

	return mode != 0 && mode != 4 && mode != 5;
}

static int set_reg(struct fake_cpu *c, uint64_t id, const void *val)
{
	struct fake_reg *r = reg(c, id);
	uint64_t v = 0;

	memcpy(&v, val, MIN(REG_BYTES(id), sizeof(v)));
	if (id == A64_PSTATE && bad_pstate(v))
		return -EINVAL;
	if (id == REG_PSCI_VERSION && v != 0x10000 && v != 0x10001 && v != 2 && v != 0x10002 &&
	    v != 0x10003)
		return -EINVAL;
	if (id == A64_SVE_VLS) {
		if (c->finalized)
			return -EPERM;
		if (!v || v & ~fake_host.sve_vq)
			return -EINVAL;
	}
	if (id == A64_PMCR_EL0 && (v >> 11 & 0x1f) > fake_host.pmu_counters) {
		/* ignored, not refused */
		v = (v & ~(UINT64_C(0x1f) << 11)) | (uint64_t)fake_host.pmu_counters << 11;
		memcpy(r->val, &v, sizeof(v));
		return 0;
	}
	memcpy(r->val, val, REG_BYTES(id));
	return 0;
}

static int one_reg(struct fake_cpu *c, const struct kvm_one_reg *o, bool set)
{
	void *p = (void *)(uintptr_t)o->addr;
	int ret;

	if (!c->inited)
		return -ENOEXEC;
	if ((o->id & 0xf000000000000000ULL) != A64_REG)
		return -EINVAL;
	ret = known_reg(c, o->id);
	if (ret)
		return ret;
	if (set)
		return set_reg(c, o->id, p);
	memcpy(p, reg(c, o->id)->val, REG_BYTES(o->id));
	return 0;
}

/* ---- features and power ---------------------------------------------------------------------- */

int fake_vcpu_init(struct fake_cpu *c, const struct a64_vcpu_init *init)
{
	uint32_t pauth = 1U << A64_VCPU_PTRAUTH_ADDRESS | 1U << A64_VCPU_PTRAUTH_GENERIC;
	uint32_t f = init->features[0], off = 1U << A64_VCPU_POWER_OFF;
	struct fake_vm *vm = c->vm;

	if (init->target != 5)
		return -EINVAL;
	for (unsigned int i = 1; i < ARRAY_SIZE(init->features); i++)
		if (init->features[i])
			return -ENOENT;
	if (f & ~0xffU)
		return -ENOENT;
	if (f & ~fake_host.features)
		return -EINVAL;
	if (f & pauth && (f & pauth) != pauth)
		return -EINVAL;
	/* all vCPUs alike, and always */
	if (vm->have_features && vm->features != (f & ~off))
		return -EINVAL;
	if (!(f & 1U << A64_VCPU_PSCI_0_2))
		fake_complain("vCPU %u has no PSCI 0.2", c->id);
	vm->have_features = true;
	vm->features = f & ~off;
	if (c->inited)
		fake_stop_guest(c);
	c->features = f;
	c->inited = true;
	c->powered = !(f & off);
	c->suspended = false;
	reset_regs(c);
	if (!HAS(c, A64_VCPU_SVE))
		c->finalized = true;
	return 0;
}

static int finalize(struct fake_cpu *c, int feature)
{
	if (!c->inited)
		return -ENOEXEC;
	if (feature != A64_VCPU_SVE || !HAS(c, A64_VCPU_SVE))
		return -EINVAL;
	if (c->finalized)
		return -EPERM;
	c->finalized = true;
	return 0;
}

static int set_events(struct fake_cpu *c, const struct a64_vcpu_events *ev)
{
	const struct a64_vcpu_events only = {
		.exception.ext_dabt_pending = ev->exception.ext_dabt_pending,
	};

	if (memcmp(ev, &only, sizeof(only)) || ev->exception.ext_dabt_pending > 1)
		return -EINVAL;
	if (!ev->exception.ext_dabt_pending)
		return 0;
	/* anything else is "a programming error" (api.rst) that KVM does not notice */
	if (!c->exited || !c->op || c->op->what != OP_ACCESS)
		fake_complain("vCPU %u: external abort, but its last exit was no access", c->id);
	c->abort = true;
	return 0;
}

static int set_mp_state(struct fake_cpu *c, const struct kvm_mp_state *mp)
{
	switch (mp->mp_state) {
	case KVM_MP_STATE_RUNNABLE:
		c->powered = true;
		c->suspended = false;
		return 0;
	case KVM_MP_STATE_STOPPED:
		c->powered = false;
		return 0;
	case KVM_MP_STATE_SUSPENDED:
		c->suspended = true;
		return 0;
	default:
		return -EINVAL;
	}
}

static int pmu_attr(struct fake_cpu *c, const struct kvm_device_attr *a)
{
	int irq;

	if (a->group != A64_VCPU_PMU_GROUP || a->attr > A64_VCPU_PMU_INIT)
		return -ENXIO;
	if (!HAS(c, A64_VCPU_PMU_V3))
		return -ENODEV;
	if (c->pmu_ready)
		return -EBUSY;
	if (a->attr == A64_VCPU_PMU_INIT) {
		if (!c->vm->gic_ready)
			return -ENODEV;
		if (!c->pmu_irq)
			return -ENXIO;
		c->pmu_ready = true;
		return 0;
	}
	memcpy(&irq, (void *)(uintptr_t)a->addr, sizeof(irq));
	if (!c->vm->gic || irq < 16 || irq > 31)
		return -EINVAL;
	if (c->pmu_irq)
		return -EBUSY;
	c->pmu_irq = true;
	return 0;
}

static int set_debug(struct fake_cpu *c, const struct a64_guest_debug *d)
{
	if (d->control & ~(A64_GUESTDBG_ENABLE | A64_GUESTDBG_SINGLESTEP | A64_GUESTDBG_USE_SW_BP |
			   A64_GUESTDBG_USE_HW))
		return -EINVAL;
	c->debug = *d;
	return 0;
}

int fake_vcpu_ioctl(struct fake_cpu *c, unsigned long req, unsigned long arg)
{
	void *p = (void *)arg;
	bool handled = false;
	int ret;

	if (c->in_run && !pthread_equal(c->runner, pthread_self())) {
		fake_complain("ioctl %#lx on vCPU %u, which is in KVM_RUN: it would wait for that",
			      req, c->id);
		return -EINTR;
	}
	ret = fake_rmi_vcpu_ioctl(c, req, arg, &handled);
	if (handled)
		return ret;
	switch (req) {
	case KVM_RUN:
		return arg ? -EINVAL : fake_run(c);
	case A64_VCPU_INIT:
		return fake_vcpu_init(c, p);
	case A64_VCPU_FINALIZE:
		return finalize(c, *(int *)p);
	case KVM_GET_ONE_REG:
		return one_reg(c, p, false);
	case KVM_SET_ONE_REG:
		return one_reg(c, p, true);
	case A64_GET_VCPU_EVENTS:
		memset(p, 0, sizeof(struct a64_vcpu_events));
		return 0;
	case A64_SET_VCPU_EVENTS:
		return set_events(c, p);
	case KVM_SET_MP_STATE:
		return set_mp_state(c, p);
	case A64_SET_GUEST_DEBUG:
		return set_debug(c, p);
	case KVM_SET_DEVICE_ATTR:
		return pmu_attr(c, p);
	default:
		return -ENOTTY;
	}
}

/* ---- life ------------------------------------------------------------------------------------ */

int fake_vcpu_new(struct fake_vm *vm, unsigned long id)
{
	struct fake_cpu *c;
	int fd;

	if (id >= fake_host.max_vcpus || id >= FAKE_MAX_CPUS)
		return -EINVAL;
	if (vm->gic_ready)
		return -EBUSY;
	if (vm->cpu[id])
		return -EEXIST;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->vm = vm;
	c->id = id;
	pthread_cond_init(&c->answered, NULL);
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake_fd < 0)
		abort();
	fd = fake_fd_new(FD_VCPU, vm, c, NULL);
	if (fd < 0) {
		close(c->wake_fd);
		free(c);
		return fd;
	}
	vm->cpu[id] = c;
	vm->nr_cpus++;
	return fd;
}

void fake_vcpu_free(struct fake_cpu *c)
{
	if (c->in_run)
		fake_complain("vCPU %u is closed while it runs", c->id);
	if (c->run)
		fake_complain("vCPU %u is closed before its run area is unmapped", c->id);
	fake_stop_guest(c);
	c->vm->cpu[c->id] = NULL;
	pthread_cond_destroy(&c->answered);
	close(c->wake_fd);
	free(c->reg);
	free(c);
}

/* ---- registers from the other side ----------------------------------------------------------- */

uint64_t fake_get(struct fake_cpu *c, uint64_t id)
{
	uint64_t v;

	memcpy(&v, reg(c, id)->val, sizeof(v));
	return v;
}

void fake_put(struct fake_cpu *c, uint64_t id, uint64_t val)
{
	preset(c, id, val);
}

uint64_t fake_reg(struct fake_cpu *c, uint64_t id)
{
	uint64_t v;

	pthread_mutex_lock(&fake.lock);
	v = fake_get(c, id);
	pthread_mutex_unlock(&fake.lock);
	return v;
}

void fake_set_reg(struct fake_cpu *c, uint64_t id, uint64_t val)
{
	pthread_mutex_lock(&fake.lock);
	preset(c, id, val);
	pthread_mutex_unlock(&fake.lock);
}
