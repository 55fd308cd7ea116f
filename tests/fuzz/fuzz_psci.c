// SPDX-License-Identifier: BSD-3-Clause
/*
 * PSCI calls with any registers on a model of CPUs. A CPU is switched on only if it is there, off,
 * and starts in the protected half; what is not implemented has no effect; the answer is as the
 * model says.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "realm/psci.h"

#define NR_CPUS	8
#define BITS	33

#define CPU_ON		0x84000003u
#define AFFINITY_INFO	0x84000004u
#define SMC64		0x40000000u

static bool on[NR_CPUS], broken;
static unsigned int calls;

/* As the vCPUs of KVM have it: 16 to a cluster. */
static int find(void *ctx, uint64_t mpidr)
{
	return mpidr < NR_CPUS ? (int)mpidr : -1;
}

static bool is_on(void *ctx, unsigned int cpu)
{
	PROPERTY(cpu < NR_CPUS);
	return on[cpu];
}

static int turn_on(void *ctx, unsigned int cpu, ipa_t entry, uint64_t arg)
{
	PROPERTY(cpu < NR_CPUS && !on[cpu] && entry < UINT64_C(1) << (BITS - 1));
	calls++;
	if (broken)
		return -EIO;
	on[cpu] = true;
	return 0;
}

static const struct psci_ops ops = { find, is_on, turn_on };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ipa_split split = ipa_split(BITS, true);
	struct input in = { data, size };

	memset(on, 0, sizeof(on));
	on[0] = true;
	while (in.left) {
		uint8_t what = in_u8(&in);
		uint64_t x[PSCI_NR_REGS], first[PSCI_NR_REGS];
		bool wide, was = false;
		enum psci_next next;
		int cpu;

		in_bytes(&in, x, sizeof(x));
		if (!(what & 0x80))
			x[0] = 0x84000000u | (what & 0x1f) | (what & 0x40 ? SMC64 : 0);
		if (what & 0x20)
			x[1] %= NR_CPUS + 1;
		memcpy(first, x, sizeof(x));
		wide = first[0] & SMC64;
		cpu = find(NULL, wide ? first[1] : (uint32_t)first[1]);
		if (cpu >= 0)
			was = on[cpu];
		broken = what == 0x23;
		calls = 0;
		next = psci_call(&ops, NULL, &split, x);
		PROPERTY(*psci_name(first[0]));

		switch (next) {
		case PSCI_RETURN:
		case PSCI_WAIT:
			PROPERTY(!x[1] && !x[2] && !x[3]);
			break;
		case PSCI_CPU_IS_OFF:
			on[first[1] % NR_CPUS] = false;
			break;
		default:
			PROPERTY(psci_is_call(first[0]) && !calls);
			continue;
		}
		if (!psci_is_call(first[0]))
			PROPERTY(next == PSCI_RETURN && x[0] == (uint64_t)PSCI_NOT_SUPPORTED);
		if (((uint32_t)first[0] & ~SMC64) == CPU_ON) {
			uint64_t entry = wide ? first[2] : (uint32_t)first[2];
			bool bad = entry >= split.shared || entry + 4 > split.shared;
			int64_t expected = bad ? PSCI_INVALID_ADDRESS :
				cpu < 0 ? PSCI_INVALID_PARAMETERS : was ? PSCI_ALREADY_ON :
				broken ? PSCI_INTERNAL_FAILURE : PSCI_SUCCESS;

			PROPERTY(x[0] == (uint64_t)expected && psci_names_cpu(first[0]));
			PROPERTY(calls == (expected == PSCI_SUCCESS ||
					   expected == PSCI_INTERNAL_FAILURE));
		} else {
			PROPERTY(!calls);
		}
		if (((uint32_t)first[0] & ~SMC64) == AFFINITY_INFO && cpu >= 0 &&
		    !(wide ? first[2] : (uint32_t)first[2]))
			PROPERTY(x[0] == !was);
	}
	return 0;
}
