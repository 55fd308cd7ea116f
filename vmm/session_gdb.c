// SPDX-License-Identifier: BSD-3-Clause
/* The debugger's view of a machine: gdb's operations on vCPUs and guest memory. */
#include <errno.h>
#include <string.h>

#include "vmm/core/log.h"
#include "vmm/session.h"

/* #syscalls main,vcpu?gdb: ioctl=A64_SET_GUEST_DEBUG */

#define CAP_GUEST_DEBUG_HW_BPS	119
#define CAP_GUEST_DEBUG_HW_WPS	120

static struct machine *machine(void *ctx)
{
	struct session *s = ctx;

	return &s->machine;	/* gdb looks at it from before its start until it is rebuilt */
}

static unsigned int op_nr_cpus(void *ctx)
{
	return machine(ctx)->nr_vcpus;
}

static void op_nr_hw(void *ctx, unsigned int *bps, unsigned int *wps)
{
	struct kvm *k = &machine(ctx)->kvm;

	*bps = kvm_cap_sys(k, CAP_GUEST_DEBUG_HW_BPS);
	*wps = kvm_cap_sys(k, CAP_GUEST_DEBUG_HW_WPS);
}

static void op_stop_all(void *ctx)
{
	struct machine *m = machine(ctx);

	for (unsigned int i = 0; i < m->nr_vcpus; i++)
		vcpu_hold(&m->vcpu[i]);
	for (unsigned int i = 0; i < m->nr_vcpus; i++)
		vcpu_wait_parked(&m->vcpu[i]);
}

static void op_resume(void *ctx, int cpu)
{
	struct machine *m = machine(ctx);

	for (unsigned int i = 0; i < m->nr_vcpus; i++)
		if (cpu < 0 || (unsigned int)cpu == i)
			vcpu_release(&m->vcpu[i]);
}

/* With SVE, KVM has V0..V31 as the low ends of Z0..Z31 only (2048 bits each). */
static int sve_reg_io(struct kvm_vcpu *v, unsigned int n, struct gdb_regval *val, bool set)
{
	uint64_t z[32];
	int ret = kvm_reg_io(v, A64_SVE_Z(n), z, false);

	if (ret < 0)
		return ret;
	if (set) {
		z[0] = val->lo;
		z[1] = val->hi;
		return kvm_reg_io(v, A64_SVE_Z(n), z, true);
	}
	val->lo = z[0];
	val->hi = z[1];
	return 0;
}

static int reg_io(struct machine *m, unsigned int cpu, enum gdb_reg reg, struct gdb_regval *val,
		  bool set)
{
	if (cpu >= m->nr_vcpus)
		return -EINVAL;
	if (m->cfg->sve_max_vl && reg >= GDB_REG_V0 && reg <= GDB_REG_V31)
		return sve_reg_io(&m->vcpu[cpu].k, reg - GDB_REG_V0, val, set);
	return kvm_reg_io(&m->vcpu[cpu].k, gdb_reg_kvm_id(reg), val, set);
}

static int op_get_reg(void *ctx, unsigned int cpu, enum gdb_reg reg, struct gdb_regval *val)
{
	return reg_io(machine(ctx), cpu, reg, val, false);
}

static int op_set_reg(void *ctx, unsigned int cpu, enum gdb_reg reg, const struct gdb_regval *val)
{
	struct gdb_regval copy = *val;

	return reg_io(machine(ctx), cpu, reg, &copy, true);
}

static int op_read_ipa(void *ctx, ipa_t ipa, void *buf, size_t len)
{
	return realm_debug_mem(&machine(ctx)->realm, ipa, buf, len, false);
}

static int op_write_ipa(void *ctx, ipa_t ipa, const void *buf, size_t len)
{
	return realm_debug_mem(&machine(ctx)->realm, ipa, (void *)buf, len, true);
}

static int op_set_debug(void *ctx, unsigned int cpu, const struct gdb_debug *d)
{
	struct machine *m = machine(ctx);
	struct a64_guest_debug k = { 0 };

	if (cpu >= m->nr_vcpus)
		return -EINVAL;
	if (d->step)
		k.control |= A64_GUESTDBG_SINGLESTEP;
	if (d->brk)
		k.control |= A64_GUESTDBG_USE_SW_BP;
	for (unsigned int i = 0; i < GDB_MAX_HW; i++) {
		k.bcr[i] = d->bcr[i];
		k.bvr[i] = d->bvr[i];
		k.wcr[i] = d->wcr[i];
		k.wvr[i] = d->wvr[i];
		if (d->bcr[i] || d->wcr[i])
			k.control |= A64_GUESTDBG_USE_HW;
	}
	if (k.control)
		k.control |= A64_GUESTDBG_ENABLE;
	return kvm_vcpu_ioctl(&m->vcpu[cpu].k, A64_SET_GUEST_DEBUG, &k);
}

static void op_kill(void *ctx)
{
	struct session *s = ctx;

	if (s->m)
		machine_end(s->m, END_LEAVE);
}

static const struct gdb_target_ops target_ops = {
	.nr_cpus = op_nr_cpus,
	.nr_hw = op_nr_hw,
	.stop_all = op_stop_all,
	.resume = op_resume,
	.get_reg = op_get_reg,
	.set_reg = op_set_reg,
	.read_ipa = op_read_ipa,
	.write_ipa = op_write_ipa,
	.set_debug = op_set_debug,
	.kill = op_kill,
};

int session_gdb_start(struct session *s, struct err *e)
{
	int ret = gdb_attach(s->gdb, &target_ops, s, e);

	if (ret < 0)
		return ret;
	log_warning("the guest waits for gdb: target remote %s", gdb_where(s->gdb));
	return 0;
}

void session_on_debug(void *ctx, struct vcpu *v)
{
	struct session *s = ctx;
	union a64_exit *x = a64_exit(v->k.run);
	struct gdb_debug_exit info = { x->debug.hsr, x->debug.far };

	vcpu_hold(v);		/* stays out until gdb resumes it */
	gdb_on_debug(s->gdb, v->k.id, &info);
}
