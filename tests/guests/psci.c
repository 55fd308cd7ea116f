// SPDX-License-Identifier: BSD-3-Clause
/* PSCI: versions, starting and stopping every CPU, and each way of asking for nonsense. */
#include "guest.h"

#define ALREADY_ON		((u64)-4)
#define INVALID_PARAMETERS	((u64)-2)
#define INVALID_ADDRESS		((u64)-9)
#define STATE_ON		0
#define STATE_OFF		1

static void report(struct cpu *c)
{
	c->data[1] = read_sysreg(mpidr_el1);
	c->data[2] = read_sysreg(CurrentEL) >> 2;
	c->data[0] = 1;
	barrier();
	while (!c->data[7])
		;
}

static void test_versions(void)
{
	u64 v = psci(PSCI_VERSION, 0, 0, 0);

	check(v >= 0x10000 && v < 0x20000, "PSCI_VERSION is 1.x");
	check_eq(psci(PSCI_FEATURES, PSCI_CPU_ON, 0, 0), 0, "FEATURES: CPU_ON");
	check_eq(psci(PSCI_FEATURES, PSCI_SYSTEM_OFF, 0, 0), 0, "FEATURES: SYSTEM_OFF");
	check_eq(psci(PSCI_FEATURES, PSCI_SYSTEM_RESET, 0, 0), 0, "FEATURES: SYSTEM_RESET");
	check_eq(psci(PSCI_FEATURES, SMCCC_VERSION, 0, 0), 0, "FEATURES: SMCCC_VERSION");
	check_eq((u32)psci(PSCI_FEATURES, 0x8400001f, 0, 0), (u32)NOT_SUPPORTED,
		 "FEATURES: an unassigned function is not supported");
	check((u32)psci(SMCCC_VERSION, 0, 0, 0) >= 0x10001, "SMCCC_VERSION is at least 1.1");
}

static void test_cpus(void)
{
	bool ok;

	ok = true;
	for (unsigned int i = 1; i < guest.nr_cpus; i++)
		ok &= psci(PSCI_AFFINITY_INFO, guest.mpidr[i], 0, 0) == STATE_OFF;
	check(ok, "all other CPUs are off at entry");

	ok = true;
	for (unsigned int i = 1; i < guest.nr_cpus; i++)
		ok &= cpu_on(i, report) == 0;
	check(ok, "CPU_ON accepts every CPU of the devicetree");

	ok = true;
	for (unsigned int i = 1; i < guest.nr_cpus; i++) {
		struct cpu *c = cpu_nr(i);

		ok &= wait_until(c->data[0], 5000);
		if ((c->data[1] & 0xff00ffffff) != guest.mpidr[i] || c->data[2] != 1) {
			print("# CPU %u: MPIDR 0x%lx, EL%lu\n", i, c->data[1], c->data[2]);
			ok = false;
		}
	}
	check(ok, "every CPU runs, at EL1, with the MPIDR of its node");

	ok = true;
	for (unsigned int i = 1; i < guest.nr_cpus; i++)
		ok &= psci(PSCI_AFFINITY_INFO, guest.mpidr[i], 0, 0) == STATE_ON;
	check(ok, "AFFINITY_INFO says on");

	ok = true;
	for (unsigned int i = 1; i < guest.nr_cpus; i++)
		ok &= psci(PSCI_CPU_ON, guest.mpidr[i], (u64)guest_main, 0) == ALREADY_ON;
	check(ok, "CPU_ON of a running CPU: already on");

	ok = true;
	for (unsigned int i = 1; i < guest.nr_cpus; i++) {
		cpu_nr(i)->data[7] = 1;
		barrier();
		ok &= wait_until(psci(PSCI_AFFINITY_INFO, guest.mpidr[i], 0, 0) == STATE_OFF, 5000);
	}
	check(ok, "CPU_OFF: every CPU is off again");

	ok = true;
	for (unsigned int i = 1; i < guest.nr_cpus; i++) {
		ok &= cpu_on(i, report) == 0 && wait_until(cpu_nr(i)->data[0], 5000);
		cpu_nr(i)->data[7] = 1;
		barrier();
	}
	check(ok, "a CPU that was off starts again");
}

static void test_errors(void)
{
	u64 me = guest.mpidr[0], nobody = guest.mpidr[guest.nr_cpus - 1] + 0x10000;

	check_eq(psci(PSCI_CPU_ON, me, (u64)guest_main, 0), ALREADY_ON, "CPU_ON of itself: already on");
	check_eq(psci(PSCI_CPU_ON, nobody, (u64)guest_main, 0), INVALID_PARAMETERS,
		 "CPU_ON of no CPU: invalid parameters");
	check_eq(psci(PSCI_AFFINITY_INFO, me, 0, 0), STATE_ON, "AFFINITY_INFO of itself: on");
	check_eq(psci(PSCI_AFFINITY_INFO, nobody, 0, 0), INVALID_PARAMETERS,
		 "AFFINITY_INFO of no CPU: invalid parameters");
	check_eq((u32)psci(0x8400001f, 0, 0, 0), (u32)NOT_SUPPORTED,
		 "an unassigned PSCI function is not supported");
	if (!guest.realm)
		return;
	/* the monitor's own rules: RSI.md */
	check_eq(psci(PSCI_CPU_ON, guest.mpidr[1], io((u64)guest_main), 0), INVALID_ADDRESS,
		 "CPU_ON, entry at the alias: invalid address");
	check_eq(psci(PSCI_CPU_ON, guest.mpidr[1], guest.shared, 0), INVALID_ADDRESS,
		 "CPU_ON, entry at the shared bit itself: invalid address");
	check_eq(psci(PSCI_CPU_ON, guest.mpidr[1], guest.shared * 2, 0), INVALID_ADDRESS,
		 "CPU_ON, entry beyond the IPA space: invalid address");
	check_eq(psci(PSCI_CPU_ON, nobody, io((u64)guest_main), 0), INVALID_ADDRESS,
		 "CPU_ON of no CPU at an invalid address: the address comes first");
	check_eq(psci(PSCI_CPU_ON, me, ~0UL << 2, 0), INVALID_ADDRESS,
		 "CPU_ON of itself at an invalid address: the address comes first");
	check_eq(psci(PSCI_AFFINITY_INFO, guest.mpidr[1], 0, 0), STATE_OFF,
		 "refused, it is off as before");
	check_eq(psci(PSCI_AFFINITY_INFO, me, 1, 0), INVALID_PARAMETERS,
		 "AFFINITY_INFO, level 1: invalid parameters");
}

void guest_main(void)
{
	print("# %u CPUs\n", guest.nr_cpus);
	check_eq(guest.nr_cpus, arg_num("cpus", guest.nr_cpus), "as many CPUs as were asked for");
	test_versions();
	test_cpus();
	test_errors();
}
