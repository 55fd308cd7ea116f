// SPDX-License-Identifier: BSD-3-Clause
#include "realm/psci.h"

#define PSCI_VERSION		0x84000000U
#define PSCI_CPU_SUSPEND	0x84000001U
#define PSCI_CPU_OFF		0x84000002U
#define PSCI_CPU_ON		0x84000003U
#define PSCI_AFFINITY_INFO	0x84000004U
#define PSCI_FN_SYSTEM_OFF	0x84000008U
#define PSCI_FN_SYSTEM_RESET	0x84000009U
#define PSCI_FEATURES		0x8400000aU
#define PSCI_SMC64		0x40000000U
#define PSCI_LAST		0x1fU
#define SMCCC_VERSION		0x80000000U

#define PSCI_1_1		0x10001U
#define AFFINITY_ON		0
#define AFFINITY_OFF		1

bool psci_is_call(uint32_t fid)
{
	return (fid & ~(PSCI_SMC64 | PSCI_LAST)) == PSCI_VERSION;
}

const char *psci_name(uint32_t fid)
{
	switch (fid & ~PSCI_SMC64) {
	case PSCI_VERSION: return "PSCI_VERSION";
	case PSCI_CPU_SUSPEND: return "PSCI_CPU_SUSPEND";
	case PSCI_CPU_OFF: return "PSCI_CPU_OFF";
	case PSCI_CPU_ON: return "PSCI_CPU_ON";
	case PSCI_AFFINITY_INFO: return "PSCI_AFFINITY_INFO";
	case PSCI_FN_SYSTEM_OFF: return "PSCI_SYSTEM_OFF";
	case PSCI_FN_SYSTEM_RESET: return "PSCI_SYSTEM_RESET";
	case PSCI_FEATURES: return "PSCI_FEATURES";
	default: return "unknown PSCI call";
	}
}

bool psci_names_cpu(uint32_t fid)
{
	uint32_t base = fid & ~PSCI_SMC64;

	return base == PSCI_CPU_ON || base == PSCI_AFFINITY_INFO;
}

/* The calls that have a 64-bit form; the others exist with 32 bits only. */
static bool has_smc64(uint32_t fid)
{
	return fid == PSCI_CPU_SUSPEND || fid == PSCI_CPU_ON || fid == PSCI_AFFINITY_INFO;
}

static bool implemented(uint32_t fid)
{
	uint32_t base = fid & ~PSCI_SMC64;

	switch (base) {
	case PSCI_VERSION:
	case PSCI_CPU_SUSPEND:
	case PSCI_CPU_OFF:
	case PSCI_CPU_ON:
	case PSCI_AFFINITY_INFO:
	case PSCI_FN_SYSTEM_OFF:
	case PSCI_FN_SYSTEM_RESET:
	case PSCI_FEATURES:
		return base == fid || has_smc64(base);
	default:
		return false;
	}
}

static int64_t cpu_on(const struct psci_ops *ops, void *ctx, const struct ipa_split *split,
		      uint64_t mpidr, ipa_t entry, uint64_t arg)
{
	int cpu;

	/* checked before anything else: TF-RMM, psci_cpu_on() */
	if (!ipa_range_protected(split, entry, entry + 4))
		return PSCI_INVALID_ADDRESS;
	cpu = ops->find(ctx, mpidr);
	if (cpu < 0)
		return PSCI_INVALID_PARAMETERS;
	if (ops->is_on(ctx, cpu))
		return PSCI_ALREADY_ON;
	return ops->on(ctx, cpu, entry, arg) < 0 ? PSCI_INTERNAL_FAILURE : PSCI_SUCCESS;
}

static int64_t affinity_info(const struct psci_ops *ops, void *ctx, uint64_t mpidr, uint64_t level)
{
	int cpu = level ? -1 : ops->find(ctx, mpidr);

	if (cpu < 0)
		return PSCI_INVALID_PARAMETERS;
	return ops->is_on(ctx, cpu) ? AFFINITY_ON : AFFINITY_OFF;
}

enum psci_next psci_call(const struct psci_ops *ops, void *ctx, const struct ipa_split *split,
			 uint64_t x[PSCI_NR_REGS])
{
	uint32_t fid = x[0];
	uint64_t mask = fid & PSCI_SMC64 ? ~UINT64_C(0) : UINT32_MAX;
	uint64_t a = x[1] & mask, b = x[2] & mask, c = x[3] & mask;
	enum psci_next next = PSCI_RETURN;
	int64_t ret = PSCI_NOT_SUPPORTED;

	if (implemented(fid)) {
		switch (fid & ~PSCI_SMC64) {
		case PSCI_VERSION:
			ret = PSCI_1_1;
			break;
		case PSCI_CPU_SUSPEND:
			ret = PSCI_SUCCESS;
			next = PSCI_WAIT;
			break;
		case PSCI_CPU_OFF:
			return PSCI_CPU_IS_OFF;
		case PSCI_CPU_ON:
			ret = cpu_on(ops, ctx, split, a, b, c);
			break;
		case PSCI_AFFINITY_INFO:
			ret = affinity_info(ops, ctx, a, b);
			break;
		case PSCI_FN_SYSTEM_OFF:
			return PSCI_SYSTEM_OFF;
		case PSCI_FN_SYSTEM_RESET:
			return PSCI_SYSTEM_RESET;
		case PSCI_FEATURES:
			ret = implemented(a) || a == SMCCC_VERSION ? PSCI_SUCCESS :
								     PSCI_NOT_SUPPORTED;
			break;
		}
	}
	x[0] = ret;
	x[1] = x[2] = x[3] = 0;
	return next;
}
