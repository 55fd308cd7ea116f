/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Realm Initial Measurement: the formulas with which the RMM computes it, step by step. A whole
 * plan is measured by realm/measure.h.
 */
#ifndef REALM_RIM_H
#define REALM_RIM_H

#include "realm/hash.h"
#include "vmm/core/types.h"

struct err;

/**
 * enum rim_dialect - the formulas have changed
 * @RIM_A: RMM specification 1.0 and TF-RMM up to 0.8: realm parameters, RIPAS, data, REC
 * @RIM_B: TF-RMM from 0.9 on: RIPAS does not enter any more
 * @RIM_C: RMM specification 2.0: nor do the realm parameters; the first value is zero
 */
enum rim_dialect {
	RIM_A,
	RIM_B,
	RIM_C,
};

/**
 * enum rim_order - when the host makes memory RIPAS RAM, which counts in dialect A
 * @RIM_RIPAS_FIRST: before there is data (KVM patches up to v11): with the largest blocks the
 *                   realm's translation tables have
 * @RIM_RIPAS_LAST:  after the REC (KVM patches v12): page by page where data has made tables
 */
enum rim_order {
	RIM_RIPAS_FIRST,
	RIM_RIPAS_LAST,
};

/**
 * struct rim_params - the measured part of RmiRealmParams, as the RMM stores it
 * @s2sz:     IPA bits, shared bit included
 * @num_bps:  breakpoints minus one
 * @num_wps:  watchpoints minus one
 * @sve_vl:   vector length / 128 minus one; @sve: RMI_REALM_F_SVE
 * @pmu_ctrs: PMU counters; @pmu: RMI_REALM_F_PMU
 * @lpa2:     RMI_REALM_F_LPA2
 */
struct rim_params {
	enum rim_dialect dialect;
	enum rim_order order;
	enum realm_hash algo;
	uint8_t s2sz, num_bps, num_wps, sve_vl, pmu_ctrs;
	bool sve, pmu, lpa2;
};

struct rim {
	enum realm_hash algo;
	uint8_t value[REALM_HASH_MAX];
};

/** rim_dialect_name() - "1.0", "tf-rmm", "2.0": the words of --rmm */
const char *rim_dialect_name(enum rim_dialect d);

/**
 * rim_create() - value after RMI_REALM_CREATE
 * rim_data() - extend by one granule (RMI_DATA_CREATE, RMI_RTT_DATA_MAP_INIT)
 * rim_ripas() - extend by one entry of the translation tables (RMI_RTT_INIT_RIPAS); dialect A
 * rim_rec() - extend by a runnable REC (RMI_REC_CREATE)
 *
 * @digest: realm_hash2() of the granule's bytes, or NULL if its content is not measured (its
 *          address is)
 *
 * Source: RMM specification 1.0, section A7.1; TF-RMM, measurement_descs.h.
 *
 * Return: 0; -ENOSYS: built without libcrypto; -EINVAL: dialect A has no SHA-384.
 */
int rim_create(struct rim *r, const struct rim_params *p);
int rim_data(struct rim *r, ipa_t ipa, const uint8_t *digest);
int rim_ripas(struct rim *r, ipa_t base, ipa_t top);
int rim_rec(struct rim *r, ipa_t pc, const uint64_t x[8]);

/**
 * rim_block() - size of the largest translation table entry that begins at @base and ends before
 * or at @top, in tables as KVM makes them: up to 16 concatenated at the first level
 * @s2sz: IPA bits
 * @base, @top: multiples of GRANULE_SIZE, @base below @top
 */
uint64_t rim_block(unsigned int s2sz, ipa_t base, ipa_t top);

#endif
