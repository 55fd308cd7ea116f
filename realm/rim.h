/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Realm Initial Measurement, computed from a plan as the RMM computes it from the calls that
 * carry the plan out. The formulas are those of TF-RMM 0.9 and later: the initial value is a hash
 * of the realm's parameters, RIPAS does not enter.
 */
#ifndef REALM_RIM_H
#define REALM_RIM_H

#include "realm/hash.h"
#include "realm/plan.h"

/**
 * struct rim_params - the measured part of RmiRealmParams, as the RMM stores it
 * @s2sz:     IPA bits, shared bit included
 * @num_bps:  breakpoints minus one
 * @num_wps:  watchpoints minus one
 * @sve_vl:   vector length / 128 minus one; @sve: RMI_REALM_F_SVE
 * @pmu_ctrs: PMU counters; @pmu: RMI_REALM_F_PMU
 */
struct rim_params {
	enum realm_hash algo;
	uint8_t s2sz, num_bps, num_wps, sve_vl, pmu_ctrs;
	bool sve, pmu;
};

struct rim {
	enum realm_hash algo;
	uint8_t value[REALM_HASH_MAX];
};

/**
 * rim_create() - value after RMI_REALM_CREATE
 * rim_data() - extend by one granule (RMI_DATA_CREATE, RMI_RTT_DATA_MAP_INIT)
 * rim_rec() - extend by a runnable REC (RMI_REC_CREATE)
 *
 * @content: GRANULE_SIZE bytes, or NULL if the granule's content is not measured (its address is)
 *
 * Return: 0; -ENOSYS: built without libcrypto.
 */
int rim_create(struct rim *r, const struct rim_params *p);
int rim_data(struct rim *r, ipa_t ipa, const void *content);
int rim_rec(struct rim *r, ipa_t pc, const uint64_t x[8]);

/**
 * rim_of_plan() - the whole of it: create, all pieces in ascending order, the first REC
 * @p: after plan_check()
 */
int rim_of_plan(struct rim *r, const struct rim_params *params, const struct plan *p,
		struct err *e);

#endif
