// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/vcpu.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/thread.h"
#include "vmm/core/trace.h"
#include "vmm/machine.h"

/*
 * #syscalls vcpu,main: ioctl=KVM_RUN|KVM_SET_MP_STATE|A64_VCPU_INIT|A64_VCPU_FINALIZE
 * #syscalls main: ioctl=A64_PREFERRED_TARGET sched_setaffinity
 * #syscalls main,vcpu,io: tgkill@pid
 */

#define SVE_VQ_BITS	128
#define PMU_INTID	(16 + MAP_PPI_PMU)
#define PMCR_N_SHIFT	11		/* PMCR_EL0.N: number of event counters, 5 bits */
#define PMCR_N_MASK	(UINT64_C(0x1f) << PMCR_N_SHIFT)

static __thread struct vcpu *self;
static struct log_rate mmio_rate;

struct vcpu *vcpu_self(void)
{
	return self;
}

/* ---- creation -------------------------------------------------------------------------------- */

/* Limit the vector lengths of a vCPU to what was asked for; KVM offers all the CPU has. */
static int sve_lengths(struct vcpu *v, unsigned int bits, struct err *e)
{
	uint64_t vls[8];
	unsigned int vq = bits / SVE_VQ_BITS;
	int feature = A64_VCPU_SVE, ret;

	ret = kvm_reg_io(&v->k, A64_SVE_VLS, vls, false);
	if (ret < 0)
		return err_set(e, ret, "vCPU %u: SVE vector lengths: %s", v->k.id, strerror(-ret));
	if (vq < 1 || vq > 512 || !(vls[(vq - 1) / 64] >> ((vq - 1) % 64) & 1))
		return err_set(e, -EINVAL, "--sve-max-vl %u: this CPU has no vectors of that length",
			       bits);
	for (unsigned int i = vq; i < 512; i++)
		vls[i / 64] &= ~(UINT64_C(1) << (i % 64));
	ret = kvm_reg_io(&v->k, A64_SVE_VLS, vls, true);
	if (!ret)
		ret = kvm_vcpu_ioctl(&v->k, A64_VCPU_FINALIZE, &feature);
	if (ret < 0)
		return err_set(e, ret, "vCPU %u: SVE vector length %u: %s", v->k.id, bits,
			       strerror(-ret));
	return 0;
}

static int features(struct machine *m, struct a64_vcpu_init *init, struct err *e)
{
	uint32_t f = 1U << A64_VCPU_PSCI_0_2;
	int ret;

	memset(init, 0, sizeof(*init));
	ret = kvm_ioctl_vm(&m->kvm, A64_PREFERRED_TARGET, init);
	if (ret < 0)
		return err_set(e, ret, "KVM_ARM_PREFERRED_TARGET: %s", strerror(-ret));
	/* both or neither (KVM) */
	if (kvm_cap(&m->kvm, A64_CAP_PTRAUTH_ADDRESS) && kvm_cap(&m->kvm, A64_CAP_PTRAUTH_GENERIC))
		f |= 1U << A64_VCPU_PTRAUTH_ADDRESS | 1U << A64_VCPU_PTRAUTH_GENERIC;
	if (m->cfg->sve_max_vl) {
		if (!kvm_cap(&m->kvm, A64_CAP_SVE))
			return err_set(e, -EOPNOTSUPP, "--sve-max-vl: this host's CPU or kernel has no "
				       "SVE for guests (KVM_CAP_ARM_SVE, Linux 5.2)");
		f |= 1U << A64_VCPU_SVE;
	}
	if (m->realm.pmu) {
		if (!kvm_cap(&m->kvm, A64_CAP_PMU_V3))
			return err_set(e, -EOPNOTSUPP, "--pmu: this host has no PMU for guests "
				       "(KVM_CAP_ARM_PMU_V3, Linux 4.6)");
		f |= 1U << A64_VCPU_PMU_V3;
	}
	if (m->realm.ops->features)
		m->realm.ops->features(&m->realm, &f);
	init->features[0] = f;
	return 0;
}

static int create_one(struct machine *m, unsigned int i, struct err *e)
{
	struct a64_vcpu_init init = m->init;
	struct vcpu *v = &m->vcpu[i];
	uint64_t mpidr;
	int ret;

	v->m = m;
	ret = kvm_vcpu_create(&m->kvm, i, &v->k, e);
	if (ret < 0)
		return ret;
	m->nr_created++;
	v->on = i == 0;
	if (i)
		init.features[0] |= 1U << A64_VCPU_POWER_OFF;
	ret = kvm_vcpu_ioctl(&v->k, A64_VCPU_INIT, &init);
	if (ret < 0)
		return err_set(e, ret, "vCPU %u: KVM_ARM_VCPU_INIT (features %#x): %s", i,
			       init.features[0], strerror(-ret));
	if (m->realm.ops->vcpu) {
		ret = m->realm.ops->vcpu(&m->realm, &v->k, e);
		if (ret < 0)
			return ret;
	}
	if (m->cfg->sve_max_vl) {
		ret = sve_lengths(v, m->cfg->sve_max_vl, e);
		if (ret < 0)
			return ret;
	}
	ret = kvm_get_reg(&v->k, A64_MPIDR_EL1, &mpidr);
	if (ret < 0)
		return err_set(e, ret, "vCPU %u: MPIDR_EL1: %s", i, strerror(-ret));
	if ((mpidr & MPIDR_AFFINITY_MASK) != layout_mpidr(i))
		return err_set(e, -EINVAL, "vCPU %u: this KVM numbers CPUs in another way (MPIDR "
			       "%#" PRIx64 "); the devicetree would be wrong", i, mpidr);
	return 0;
}

int vcpus_create(struct machine *m, struct err *e)
{
	unsigned int max = kvm_cap(&m->kvm, KVM_CAP_MAX_VCPUS);
	int ret;

	if (m->cfg->cpus > max)
		return err_set(e, -EINVAL, "-c %u: this host's KVM takes at most %u vCPUs",
			       m->cfg->cpus, max);
	ret = features(m, &m->init, e);
	if (ret < 0)
		return ret;
	m->vcpu = calloc(m->cfg->cpus, sizeof(*m->vcpu));
	if (!m->vcpu)
		return err_set(e, -ENOMEM, "no memory for %u vCPUs", m->cfg->cpus);
	m->nr_vcpus = m->cfg->cpus;
	for (unsigned int i = 0; i < m->nr_vcpus && !ret; i++)
		ret = create_one(m, i, e);
	return ret;
}

/* KVM takes a smaller PMCR_EL0.N than the host's since Linux 6.7, and ignores what it cannot do. */
static int pmu_counters(struct vcpu *v, unsigned int n, struct err *e)
{
	uint64_t want, got = 0;

	if (kvm_get_reg(&v->k, A64_PMCR_EL0, &want) < 0)
		return err_set(e, -EIO, "vCPU %u: PMCR_EL0 cannot be read", v->k.id);
	want = (want & ~PMCR_N_MASK) | (uint64_t)n << PMCR_N_SHIFT;
	kvm_set_reg(&v->k, A64_PMCR_EL0, want);
	kvm_get_reg(&v->k, A64_PMCR_EL0, &got);
	if ((got & PMCR_N_MASK) != (want & PMCR_N_MASK))
		return err_set(e, -EINVAL, "--pmu-counters %u: this host can give the guest %u; fewer "
			       "than all of them needs Linux 6.7", n,
			       (unsigned int)((got & PMCR_N_MASK) >> PMCR_N_SHIFT));
	return 0;
}

int vcpus_pmu(struct machine *m, struct err *e)
{
	unsigned int counters = m->cfg->pmu_counters;
	int irq = PMU_INTID, ret = 0;

	for (unsigned int i = 0; m->realm.pmu && i < m->nr_vcpus && !ret; i++) {
		/* The way that realms have too. It counts for the VM; older kernels have PMCR. */
		if (counters && i == 0) {
			ret = kvm_set_attr(&m->kvm, m->vcpu[i].k.fd, A64_VCPU_PMU_GROUP,
					   A64_VCPU_PMU_COUNTERS, &counters);
			if (ret < 0 && ret != -ENXIO)
				return err_set(e, ret, "--pmu-counters %u: %s; has this host so many?",
					       counters, strerror(-ret));
			if (!ret)
				counters = 0;
		}
		ret = kvm_set_attr(&m->kvm, m->vcpu[i].k.fd, A64_VCPU_PMU_GROUP, A64_VCPU_PMU_IRQ,
				   &irq);
		if (!ret)
			ret = kvm_set_attr(&m->kvm, m->vcpu[i].k.fd, A64_VCPU_PMU_GROUP,
					   A64_VCPU_PMU_INIT, NULL);
		if (ret < 0)
			err_set(e, ret, "vCPU %u: PMU: %s", i, strerror(-ret));
		else if (counters)
			ret = pmu_counters(&m->vcpu[i], counters, e);
	}
	return ret;
}

void vcpus_destroy(struct machine *m)
{
	for (unsigned int i = 0; i < m->nr_created; i++)
		kvm_vcpu_close(&m->vcpu[i].k);
	free(m->vcpu);
	m->vcpu = NULL;
	m->nr_vcpus = m->nr_created = 0;
}

/* ---- in and out of the guest ----------------------------------------------------------------- */

static bool may_enter(const struct vcpu *v)
{
	return !atomic_load(&v->m->hold) && !atomic_load(&v->held) && !atomic_load(&v->keep_out);
}

/* Written by whoever kicks, read by the kernel: the other half of the protocol in vcpu.h. */
static void immediate_exit(struct vcpu *v, bool on)
{
	__atomic_store_n(&v->k.run->immediate_exit, on, __ATOMIC_SEQ_CST);
}

/*
 * KVM finishes an emulated load, and steps over the instruction, when the vCPU is entered again.
 * Whoever looks at a held vCPU must see that done.
 */
static void finish_half_done(struct vcpu *v)
{
	if (!v->half_done)
		return;
	immediate_exit(v, true);
	kvm_vcpu_ioctl(&v->k, KVM_RUN, NULL);
	v->half_done = false;
}

/* Return: false if the machine ends. */
static bool enter(struct vcpu *v)
{
	struct machine *m = v->m;

	while (!atomic_load(&m->end)) {
		/* Cleared before in_guest is set: a kick after that is not lost. */
		immediate_exit(v, false);
		atomic_store(&v->in_guest, true);
		if (may_enter(v) && !atomic_load(&m->end))
			return true;
		finish_half_done(v);
		pthread_mutex_lock(&m->park_lock);
		atomic_store(&v->in_guest, false);
		v->parked = true;
		pthread_cond_broadcast(&m->park);
		while (!may_enter(v) && !atomic_load(&m->end))
			pthread_cond_wait(&m->park, &m->park_lock);
		v->parked = false;
		pthread_mutex_unlock(&m->park_lock);
	}
	return false;
}

static void leave(struct vcpu *v)
{
	struct machine *m = v->m;

	atomic_store(&v->in_guest, false);
	if (may_enter(v))
		return;
	pthread_mutex_lock(&m->park_lock);
	pthread_cond_broadcast(&m->park);
	pthread_mutex_unlock(&m->park_lock);
}

static void kick(struct vcpu *v)
{
	if (!atomic_load(&v->started) || v == self)
		return;
	immediate_exit(v, true);
	if (atomic_load(&v->in_guest))
		pthread_kill(v->thread, THREAD_KICK);
}

static void wait_out(struct machine *m, const struct vcpu *but)
{
	bool all_out;

	pthread_mutex_lock(&m->park_lock);
	do {
		all_out = true;
		for (unsigned int i = 0; i < m->nr_vcpus; i++)
			if (&m->vcpu[i] != but && atomic_load(&m->vcpu[i].in_guest) &&
			    !may_enter(&m->vcpu[i]))
				all_out = false;
		if (!all_out)
			pthread_cond_wait(&m->park, &m->park_lock);
	} while (!all_out);
	pthread_mutex_unlock(&m->park_lock);
}

void vcpus_kick(struct machine *m)
{
	for (unsigned int i = 0; i < m->nr_vcpus; i++)
		kick(&m->vcpu[i]);
	/* those that are parked */
	pthread_mutex_lock(&m->park_lock);
	pthread_cond_broadcast(&m->park);
	pthread_mutex_unlock(&m->park_lock);
}

void vcpus_stop(struct machine *m, const struct vcpu *but)
{
	atomic_fetch_add(&m->hold, 1);
	for (unsigned int i = 0; i < m->nr_vcpus; i++)
		if (&m->vcpu[i] != but)
			kick(&m->vcpu[i]);
	wait_out(m, but);
}

void vcpus_go(struct machine *m)
{
	pthread_mutex_lock(&m->park_lock);
	atomic_fetch_sub(&m->hold, 1);
	pthread_cond_broadcast(&m->park);
	pthread_mutex_unlock(&m->park_lock);
}

void vcpu_hold(struct vcpu *v)
{
	atomic_store(&v->held, true);
	kick(v);
}

void vcpu_wait_parked(struct vcpu *v)
{
	struct machine *m = v->m;
	struct timespec until;
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec++;
	pthread_mutex_lock(&m->park_lock);
	while (v->running && !v->parked && ret != ETIMEDOUT)
		ret = pthread_cond_timedwait(&m->park, &m->park_lock, &until);
	/* never while it is in the guest */
	while (v->running && atomic_load(&v->in_guest))
		pthread_cond_wait(&m->park, &m->park_lock);
	pthread_mutex_unlock(&m->park_lock);
}

void vcpu_release(struct vcpu *v)
{
	pthread_mutex_lock(&v->m->park_lock);
	atomic_store(&v->held, false);
	pthread_cond_broadcast(&v->m->park);
	pthread_mutex_unlock(&v->m->park_lock);
}

/* ---- power (PSCI in user space) -------------------------------------------------------------- */

static int mp_state(struct vcpu *v, uint32_t state)
{
	struct kvm_mp_state mp = { state };

	return kvm_vcpu_ioctl(&v->k, KVM_SET_MP_STATE, &mp);
}

int vcpu_power_on(struct vcpu *v, ipa_t entry, uint64_t arg)
{
	struct machine *m = v->m;
	struct a64_vcpu_init init = m->init;
	int ret;

	/* A vCPU that is off sits in KVM_RUN; KVM takes no calls for it meanwhile. */
	atomic_fetch_add(&v->keep_out, 1);
	kick(v);
	pthread_mutex_lock(&m->park_lock);
	while (atomic_load(&v->in_guest))
		pthread_cond_wait(&m->park, &m->park_lock);
	pthread_mutex_unlock(&m->park_lock);
	if (m->realm.ops->rmm_cpus) {
		ret = mp_state(v, KVM_MP_STATE_RUNNABLE);
	} else {
		ret = kvm_vcpu_ioctl(&v->k, A64_VCPU_INIT, &init);
		if (!ret)
			ret = kvm_set_reg(&v->k, A64_PC, entry);
		if (!ret)
			ret = kvm_set_reg(&v->k, A64_X(0), arg);
	}
	if (!ret)
		atomic_store(&v->on, true);
	pthread_mutex_lock(&m->park_lock);
	atomic_fetch_sub(&v->keep_out, 1);
	pthread_cond_broadcast(&m->park);
	pthread_mutex_unlock(&m->park_lock);
	return ret;
}

void vcpu_power_off(struct vcpu *v)
{
	int ret = mp_state(v, KVM_MP_STATE_STOPPED);

	if (ret < 0)
		machine_fail(v->m, "vCPU %u: cannot be switched off: %s", v->k.id, strerror(-ret));
	atomic_store(&v->on, false);
}

void vcpu_suspend(struct vcpu *v)
{
	/* Before Linux 5.19 the call returns at once, which PSCI allows. */
	mp_state(v, KVM_MP_STATE_SUSPENDED);
}

/* ---- exits ----------------------------------------------------------------------------------- */

/* Where the guest was: the lines that a bug report needs. */
static void log_registers(struct vcpu *v)
{
	static const struct {
		const char *name;
		uint64_t id;
	} special[] = {
		{ "pc", A64_PC }, { "pstate", A64_PSTATE }, { "sp_el0", A64_SP_EL0 },
		{ "sp_el1", A64_SP_EL1 }, { "elr_el1", A64_ELR_EL1 }, { "esr_el1", A64_ESR_EL1 },
		{ "far_el1", A64_FAR_EL1 }, { "vbar_el1", A64_VBAR_EL1 },
	};
	char line[256];
	uint64_t val;
	int n = 0;

	if (v->m->realm.ops->no_debug)
		return;		/* they are the monitor's; what KVM shows is stale */
	for (unsigned int i = 0; i < ARRAY_SIZE(special); i++) {
		if (kvm_get_reg(&v->k, special[i].id, &val) < 0)
			continue;
		n += snprintf(line + n, sizeof(line) - n, " %s=%#" PRIx64, special[i].name, val);
		if (i % 4 == 3) {
			log_error("vCPU %u:%s", v->k.id, line);
			n = 0;
		}
	}
	n = 0;
	for (unsigned int i = 0; i < 31; i++) {
		if (kvm_get_reg(&v->k, A64_X(i), &val) < 0)
			continue;
		n += snprintf(line + n, sizeof(line) - n, " x%u=%#" PRIx64, i, val);
		if (i % 4 == 3 || i == 30) {
			log_error("vCPU %u:%s", v->k.id, line);
			n = 0;
		}
	}
}

static void mmio(struct vcpu *v, ipa_t ipa)
{
	struct machine *m = v->m;
	struct kvm_run *run = v->k.run;

	if (mmio_access(&m->bus, ipa, run->mmio.data, run->mmio.len, run->mmio.is_write))
		return;
	if (realm_is_realm(&m->realm)) {
		const struct realm_ops *ops = m->realm.ops;

		log_rated(&mmio_rate, LOG_DEBUG, "vCPU %u: no device at %" PRIipa ": external abort",
			  v->k.id, ipa);
		if ((ops->abort ? ops->abort(&m->realm, &v->k) : kvm_vcpu_abort(&v->k)) < 0)
			machine_fail(m, "vCPU %u: cannot inject an external abort", v->k.id);
		return;
	}
	/* As lkvm: reads of nothing are zero, so that old payloads run. */
	log_rated(&mmio_rate, LOG_DEBUG, "vCPU %u: no device at %" PRIipa " (%s of %u bytes)",
		  v->k.id, ipa, run->mmio.is_write ? "write" : "read", run->mmio.len);
	memset(run->mmio.data, 0, sizeof(run->mmio.data));
}

static void system_event(struct vcpu *v)
{
	struct machine *m = v->m;
	uint32_t type = a64_exit(v->k.run)->system_event.type;

	switch (type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		machine_end(m, END_POWEROFF);
		break;
	case KVM_SYSTEM_EVENT_RESET:
		machine_end(m, END_RESET);
		break;
	case KVM_SYSTEM_EVENT_WAKEUP:	/* the interrupt vcpu_suspend() waited for */
		mp_state(v, KVM_MP_STATE_RUNNABLE);
		break;
	default:
		log_registers(v);
		machine_fail(m, "vCPU %u: the guest reports a crash (system event %u)", v->k.id, type);
		break;
	}
}

const char *vcpu_exit_name(unsigned int reason)
{
	switch (reason) {
	case KVM_EXIT_UNKNOWN: return "unknown";
	case KVM_EXIT_HYPERCALL: return "hypercall";
	case KVM_EXIT_DEBUG: return "debug";
	case KVM_EXIT_MMIO: return "mmio";
	case KVM_EXIT_SHUTDOWN: return "shutdown";
	case KVM_EXIT_FAIL_ENTRY: return "fail-entry";
	case KVM_EXIT_INTR: return "signal";
	case KVM_EXIT_INTERNAL_ERROR: return "internal-error";
	case KVM_EXIT_SYSTEM_EVENT: return "system-event";
	case KVM_EXIT_ARM_NISV: return "nisv";
	case KVM_EXIT_MEMORY_FAULT: return "memory-fault";
	default: return "other";
	}
}

static void unhandled(struct vcpu *v)
{
	unsigned int reason = v->k.run->exit_reason;
	union a64_exit *x = a64_exit(v->k.run);

	log_registers(v);
	switch (reason) {
	case KVM_EXIT_FAIL_ENTRY:
		machine_fail(v->m, "vCPU %u: KVM cannot enter the guest (reason %#" PRIx64 "); look at "
			     "the host's kernel log", v->k.id,
			     x->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		machine_fail(v->m, "vCPU %u: KVM internal error %u; look at the host's kernel log",
			     v->k.id, x->internal.suberror);
		break;
	case KVM_EXIT_MEMORY_FAULT:
		machine_fail(v->m, "vCPU %u: memory fault at %#" PRIx64 " that is no conversion",
			     v->k.id, x->memory_fault.gpa);
		break;
	case KVM_EXIT_ARM_NISV:
		machine_fail(v->m, "vCPU %u: access to %#" PRIx64 " with an instruction that cannot be "
			     "emulated", v->k.id, x->nisv.fault_ipa);
		break;
	default:
		machine_fail(v->m, "vCPU %u: unhandled exit %u (%s); the registers above say where the "
			     "guest was", v->k.id, reason, vcpu_exit_name(reason));
		break;
	}
}

static void handle_exit(struct vcpu *v)
{
	struct machine *m = v->m;
	unsigned int reason = v->k.run->exit_reason;
	ipa_t ipa;

	if (reason < VCPU_EXIT_REASONS)
		v->exits[reason]++;
	switch (m->realm.ops->exit(&m->realm, &v->k, &ipa)) {
	case REALM_EXIT_RUN:
		return;
	case REALM_EXIT_MMIO:
		mmio(v, ipa);
		return;
	case REALM_EXIT_OTHER:
		break;
	}
	switch (reason) {
	case KVM_EXIT_INTR:
		return;
	case KVM_EXIT_SYSTEM_EVENT:
		system_event(v);
		return;
	case KVM_EXIT_SHUTDOWN:		/* entered after the VM was off: an expected race */
		machine_end(m, END_POWEROFF);
		return;
	}
	unhandled(v);
}

static const struct trace_kind exit_kind = { .cat = "exit", .arg = { "vcpu" } };

/* --trace: what it was, where, and how long it took in user space */
static void handle_traced(struct vcpu *v)
{
	static const struct trace_kind access = {
		.cat = "exit", .text = "device", .arg = { "vcpu", "#address", "bytes" },
	};
	const struct machine *m = v->m;
	const struct kvm_run *run = v->k.run;
	/* asked before it is handled: that may enter the guest and come back */
	unsigned int reason = run->exit_reason;
	uint64_t began = trace_begin();
	const char *name, *device;
	uint32_t len;
	ipa_t ipa;

	if (reason != KVM_EXIT_MMIO) {
		handle_exit(v);
		trace_span(&exit_kind, vcpu_exit_name(reason), began, NULL, v->k.id, 0, 0);
		return;
	}
	name = run->mmio.is_write ? "mmio write" : "mmio read";
	ipa = ipa_canonical(&m->realm.split, run->mmio.phys_addr);
	len = run->mmio.len;
	device = mmio_name(&m->bus, ipa);
	handle_exit(v);
	trace_span(&access, name, began, device ? device : "none", v->k.id, ipa, len);
}

static void exited(struct vcpu *v)
{
	if (trace_on())
		handle_traced(v);
	else
		handle_exit(v);
}

static void run_failed(struct vcpu *v, int ret)
{
	struct realm *r = &v->m->realm;
	struct err why = { 0 };

	if (r->ops->failed && r->ops->failed(r, &v->k, ret, &why) == REALM_EXIT_RUN)
		return;
	if (why.code) {
		machine_fail(v->m, "vCPU %u: %s", v->k.id, why.msg);
		return;
	}
	log_registers(v);
	switch (ret) {
	case -EFAULT:
		machine_fail(v->m, "vCPU %u: KVM_RUN: bad address: the guest touched memory that the "
			     "host could not provide (out of memory?)", v->k.id);
		break;
	case -ENOEXEC:
		machine_fail(v->m, "vCPU %u: KVM_RUN: vCPU not initialised (%s)", v->k.id,
			     strerror(-ret));
		break;
	case -ENOSYS:
		machine_fail(v->m, "vCPU %u: KVM_RUN: the guest used an instruction on a device or on "
			     "nothing that KVM cannot emulate", v->k.id);
		break;
	default:
		machine_fail(v->m, "vCPU %u: KVM_RUN: %s; look at the host's kernel log", v->k.id,
			     strerror(-ret));
		break;
	}
}

static void signalled(struct vcpu *v)
{
	v->exits[KVM_EXIT_INTR]++;
	trace_mark(&exit_kind, "signal", NULL, v->k.id, 0, 0);
}

static void first_run(struct machine *m)
{
	static const struct trace_kind first_kind = { .cat = "launch" };
	struct timespec ts;
	uint64_t none = 0;

	if (atomic_load_explicit(&m->first_run_ns, memory_order_relaxed))
		return;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	if (atomic_compare_exchange_strong(&m->first_run_ns, &none,
					   ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec))
		trace_mark(&first_kind, "first KVM_RUN", NULL, 0, 0, 0);
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;

	self = v;
	atomic_store(&v->started, true);
	while (enter(v)) {
		int ret;

		first_run(v->m);
		ret = kvm_vcpu_ioctl(&v->k, KVM_RUN, NULL);
		v->half_done = ret == 0 && v->k.run->exit_reason == KVM_EXIT_MMIO;
		/* While it still counts as in the guest: who stops all has its note then. */
		if (ret == 0 && v->k.run->exit_reason == KVM_EXIT_DEBUG && v->m->env->on_debug) {
			v->exits[KVM_EXIT_DEBUG]++;
			trace_mark(&exit_kind, "debug", NULL, v->k.id, 0, 0);
			v->m->env->on_debug(v->m->env->ctx, v);
			leave(v);
			continue;
		}
		leave(v);
		if (ret == 0 || (ret == -EFAULT && v->k.run->exit_reason == KVM_EXIT_MEMORY_FAULT))
			exited(v);
		else if (ret == -EINTR || (ret == -EAGAIN && !v->m->realm.ops->failed))
			signalled(v);
		else
			run_failed(v, ret);
	}
	pthread_mutex_lock(&v->m->park_lock);
	atomic_store(&v->in_guest, false);
	v->running = false;
	pthread_cond_broadcast(&v->m->park);
	pthread_mutex_unlock(&v->m->park_lock);
	if (atomic_fetch_sub(&v->m->alive, 1) == 1)
		loop_stop(v->m->env->loop);
	return NULL;
}

static void on_kick(int sig)
{
	(void)sig;		/* its only effect is that KVM_RUN returns */
}

/* --vcpu-affinity: the vCPUs' threads run on these CPUs of the host (a list such as 0-3,6) */
static int affinity(const char *list, cpu_set_t *set, struct err *e)
{
	const char *p = list;

	CPU_ZERO(set);
	for (;;) {
		char *end;
		unsigned long a = strtoul(p, &end, 10), b = a;

		if (end != p && *end == '-') {
			p = end + 1;
			b = strtoul(p, &end, 10);
		}
		if (end == p || (*end && *end != ',') || b < a || b >= CPU_SETSIZE)
			return err_set(e, -EINVAL, "--vcpu-affinity %s: not a list of CPUs such as 0-3,6",
				       list);
		for (; a <= b; a++)
			CPU_SET(a, set);
		if (!*end)
			return 0;
		p = end + 1;
	}
}

int vcpus_start(struct machine *m, struct err *e)
{
	struct sigaction sa = { .sa_handler = on_kick };
	cpu_set_t cpus;
	int ret = 0;

	sigaction(THREAD_KICK, &sa, NULL);
	if (m->cfg->vcpu_affinity) {
		ret = affinity(m->cfg->vcpu_affinity, &cpus, e);
		if (ret < 0)
			return ret;
	}
	for (unsigned int i = 0; i < m->nr_vcpus && !ret; i++) {
		struct vcpu *v = &m->vcpu[i];
		char name[16];

		/* before the thread exists: it may be the one to end the machine at once */
		atomic_fetch_add(&m->alive, 1);
		v->running = true;
		snprintf(name, sizeof(name), "vcpu-%u", v->k.id);
		ret = thread_start(&v->thread, THREAD_VCPU, name, vcpu_thread, v);
		if (ret < 0) {
			atomic_fetch_sub(&m->alive, 1);
			v->running = false;
			err_set(e, ret, "vCPU %u: thread: %s", i, strerror(-ret));
			break;
		}
		v->created = true;
		if (m->cfg->vcpu_affinity) {
			ret = pthread_setaffinity_np(v->thread, sizeof(cpus), &cpus);
			if (ret)
				ret = err_set(e, -ret, "--vcpu-affinity %s: %s (are these CPUs there?)",
					      m->cfg->vcpu_affinity, strerror(ret));
		}
	}
	return ret;
}

unsigned int vcpus_running(struct machine *m)
{
	return atomic_load(&m->alive);
}

void vcpus_join(struct machine *m)
{
	for (unsigned int i = 0; i < m->nr_vcpus; i++) {
		struct vcpu *v = &m->vcpu[i];

		if (!v->created)
			continue;
		while (!atomic_load(&v->started))	/* then its handle is known */
			sched_yield();
		pthread_join(v->thread, NULL);
		v->created = false;
		atomic_store(&v->started, false);
	}
}
