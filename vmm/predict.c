// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/predict.h"

#include <errno.h>
#include <string.h>

#include "realm/host.h"
#include "realm/report.h"
#include "vmm/core/err.h"
#include "vmm/machine.h"
#include "vmm/profile.h"

static int measure(const struct vm_config *c, const struct layout *l, const char *generation,
		   bool lpa2, struct measurement *m, struct err *e)
{
	struct realm_measures how;
	struct rim_params p;

	if (c->pmu && !c->pmu_counters)
		return err_set(e, -EINVAL, "measurement: it depends on the number of PMU counters: give "
			       "--pmu-counters, or a --host-profile");
	if (!generation)
		generation = c->rmi_generation;
	/* an RMM 1.0, and no word of the kernel: the first one that had it, as other tools do */
	if (!generation && c->rmm == RIM_A + 1)
		generation = "a";
	realm_measures(generation, &how);
	layout_rim_params(c, l, &p);
	p.dialect = c->rmm ? (enum rim_dialect)(c->rmm - 1) : how.dialect;
	p.order = how.order;
	p.lpa2 = how.lpa2 && lpa2;
	return measure_plan(&l->load.plan, &p, m, e);
}

int predict(const struct vm_config *c, const struct layout *l, const char *generation,
	    struct measurement *m, struct err *e)
{
	struct host_profile host = { .lpa2 = PROFILE_NONE };
	int ret;

	if (c->host_profile) {
		ret = profile_load(c->host_profile, &host, e);
		if (ret < 0)
			return err_prefix(e, "option --host-profile");
	}
	if (!generation && !c->rmi_generation && host.generation[0])
		generation = host.generation;
	return measure(c, l, generation, host.lpa2 == 1, m, e);
}

/* KVM's IPA spaces have more than 48 bits, with pages of 4 KiB, where its tables use LPA2. */
static bool uses_lpa2(struct machine *machine)
{
	return kvm_cap_sys(&machine->kvm, A64_CAP_VM_IPA_SIZE) > 48;
}

int predict_launch(const struct vm_config *c, const struct layout *l, struct machine *machine,
		   struct measurement *m, struct err *e)
{
	struct vm_config here = *c;

	here.breakpoints = machine->realm.breakpoints;
	here.watchpoints = machine->realm.watchpoints;
	here.pmu = machine->realm.pmu;
	here.hash = (enum hash_algo)machine->realm.algo;
	return measure(&here, l, machine->realm.generation, uses_lpa2(machine), m, e);
}

int predict_check_host(const struct vm_config *c, struct machine *machine, struct err *e)
{
	struct host_profile p, host = {
		.breakpoints = machine->realm.host_breakpoints,
		.watchpoints = machine->realm.host_watchpoints,
		.pmu_counters = PROFILE_NONE,
		.sve_vl = PROFILE_NONE,
		.ipa_bits = PROFILE_NONE,
		.lpa2 = uses_lpa2(machine),
	};
	int ret;

	if (!c->host_profile)
		return 0;
	ret = profile_load(c->host_profile, &p, e);
	if (!ret && p.generation[0] && strcmp(p.generation, machine->realm.generation))
		ret = err_set(e, -ENODEV, "this host is not that of the profile: its kernel speaks KVM RMI "
			      "%s, not %s", machine->realm.generation, p.generation);
	if (!ret)
		ret = profile_check_host(&p, &host, e);
	return ret < 0 ? err_prefix(e, "option --host-profile") : 0;
}

int predict_expect(const struct vm_config *c, const struct measurement *m, struct err *e)
{
	struct report_expected x;
	int ret;

	if (!c->expect_rim)
		return 0;
	ret = report_expect(c->expect_rim, &x, e);
	if (!ret) {
		ret = report_compare(m, &x, e);
		report_expect_free(&x);
	}
	return ret < 0 ? err_prefix(e, "option --expect-rim") : 0;
}
