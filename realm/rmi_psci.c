// SPDX-License-Identifier: BSD-3-Clause
/*
 * PSCI of a KVM realm in user space (--rmi-psci user): the RMM keeps the truth of which CPU is on,
 * and asks the host to agree.
 */
#include <unistd.h>

#include "realm/rmi.h"

#define PSCI_CALL_CPU_OFF	0x84000002U
#define PSCI_CALL_CPU_ON	0x84000003U	/* or with PSCI_SMC64 */
#define PSCI_SMC64		0x40000000U

/* PSCI about another vCPU: the RMM has to hear of it before either runs again. */
struct psci_call {
	struct rmi *m;
	struct kvm_vcpu *caller;
	uint64_t mpidr;
	bool cpu_on;
	bool told;
};

static int call_find(void *ctx, uint64_t mpidr)
{
	struct psci_call *c = ctx;

	return c->m->r->hooks.psci->find(c->m->r->hooks.ctx, mpidr);
}

/* For CPU_ON all are off: only the RMM knows, and says ALREADY_ON itself. */
static bool call_is_on(void *ctx, unsigned int cpu)
{
	struct psci_call *c = ctx;

	return !c->cpu_on && c->m->r->hooks.psci->is_on(c->m->r->hooks.ctx, cpu);
}

/* Until the RMM knows it does not let the caller in again. */
static int tell(struct psci_call *c, int32_t status)
{
	int ret;

	if (!c->m->gen->psci_complete || c->told)
		return 0;
	c->told = true;
	ret = c->m->gen->psci_complete(c->m, c->caller, c->mpidr, status);
	if (ret < 0)
		rmi_dead(c->m, "the RMM does not take the outcome of a PSCI call; look at the host's kernel "
		     "log, or leave PSCI to the kernel");
	return ret;
}

static int call_on(void *ctx, unsigned int cpu, ipa_t entry, uint64_t arg)
{
	struct psci_call *c = ctx;
	const struct psci_ops *psci = c->m->r->hooks.psci;
	int ret = tell(c, PSCI_SUCCESS);

	if (ret < 0)
		return ret;
	/* on, or its CPU_OFF has not come to the lock yet and is over already */
	if (psci->is_on(c->m->r->hooks.ctx, cpu)) {
		/* without a call of its own the RMM hears of it when the caller comes in again */
		if (!c->m->gen->psci_complete)
			c->m->asks_on[c->caller->id] = cpu + 1;
		c->m->on_again[cpu / 64] |= UINT64_C(1) << cpu % 64;
		return 0;
	}
	return psci->on(c->m->r->hooks.ctx, cpu, entry, arg);
}

static bool take_bit(uint64_t *map, unsigned int cpu)
{
	uint64_t bit = UINT64_C(1) << cpu % 64;
	bool was = map[cpu / 64] & bit;

	map[cpu / 64] &= ~bit;
	return was;
}

/*
 * A CPU has switched itself off, and another one has switched it on since it was last seen off:
 * was that before (the RMM said ALREADY_ON) or after? Only the RMM knows: the CPU is entered, and
 * if the RMM does not let it in although it has heard of the other one, it is off (kvm_failed()).
 */
static bool on_again(struct rmi *m, unsigned int cpu)
{
	if (!take_bit(m->on_again, cpu))
		return false;
	m->maybe_off[cpu / 64] |= UINT64_C(1) << cpu % 64;
	return true;
}

/* Some CPU asks for this one, and the RMM does not know of it yet. */
static bool asked_on(const struct rmi *m, unsigned int cpu)
{
	for (size_t i = 0; i < ARRAY_SIZE(m->asks_on); i++)
		if (m->asks_on[i] == cpu + 1)
			return true;
	return false;
}

static void switch_off(struct rmi *m, unsigned int cpu)
{
	/* on again: after the RMM refused it, another CPU has switched it on */
	if (!on_again(m, cpu))
		m->r->hooks.cpu_off(m->r->hooks.ctx, cpu);
}

bool rmi_was_off(struct rmi *m, unsigned int cpu)
{
	bool maybe, asked;

	pthread_mutex_lock(&m->r->lock);
	maybe = m->maybe_off[cpu / 64] >> cpu % 64 & 1;
	asked = asked_on(m, cpu);
	if (maybe && !asked) {
		take_bit(m->maybe_off, cpu);
		switch_off(m, cpu);
	}
	pthread_mutex_unlock(&m->r->lock);
	if (maybe && asked)
		usleep(1000);
	return maybe;
}

void rmi_came_in(struct rmi *m, unsigned int cpu)
{
	unsigned int other;

	pthread_mutex_lock(&m->r->lock);
	take_bit(m->maybe_off, cpu);
	/* Where the other one waits for the outcome, what it was told last is from before that. */
	if (m->asks_on[cpu]) {
		other = m->asks_on[cpu] - 1;
		m->asks_on[cpu] = 0;
		m->on_again[other / 64] |= m->maybe_off[other / 64] & UINT64_C(1) << other % 64;
	}
	pthread_mutex_unlock(&m->r->lock);
}

enum realm_exit rmi_hypercall(struct rmi *m, struct kvm_vcpu *v)
{
	static const struct psci_ops ops = { call_find, call_is_on, call_on };
	struct psci_call call = { .m = m, .caller = v };
	struct realm *r = m->r;
	uint32_t written, fid = a64_exit(v->run)->hypercall.nr;
	uint64_t x[PSCI_NR_REGS];

	/* without a look at its registers: a CPU that is on again may have others by now */
	if (r->psci_user && fid == PSCI_CALL_CPU_OFF) {
		pthread_mutex_lock(&r->lock);
		switch_off(m, v->id);
		pthread_mutex_unlock(&r->lock);
		return REALM_EXIT_RUN;
	}
	for (unsigned int i = 0; i < PSCI_NR_REGS; i++)
		if (kvm_get_reg(v, A64_X(i), &x[i]) < 0)
			return REALM_EXIT_OTHER;
	/* hypercall.nr has 32 bits; a function identifier with more is none */
	if (!r->psci_user || !psci_is_call(fid) || fid != x[0])
		return kvm_set_reg(v, A64_X(0), (uint64_t)PSCI_NOT_SUPPORTED) < 0 ?
			REALM_EXIT_OTHER : REALM_EXIT_RUN;
	call.mpidr = x[1];
	call.cpu_on = (fid & ~PSCI_SMC64) == PSCI_CALL_CPU_ON;
	pthread_mutex_lock(&r->lock);
	written = realm_psci(r, &ops, &call, v, x);
	/* the RMM takes no other word for it */
	if (psci_names_cpu(fid))
		tell(&call, (int64_t)x[0] < 0 ? PSCI_DENIED : PSCI_SUCCESS);
	pthread_mutex_unlock(&r->lock);
	for (unsigned int i = 0; i < PSCI_NR_REGS; i++)
		if (written & 1U << i && kvm_set_reg(v, A64_X(i), x[i]) < 0)
			return REALM_EXIT_OTHER;
	return REALM_EXIT_RUN;
}
