/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Measuring a plan: the Realm Initial Measurement that carrying it out will have, with the steps on
 * the way. Contents are hashed on all CPUs this process may use; what counts is their order only.
 */
#ifndef REALM_MEASURE_H
#define REALM_MEASURE_H

#include "realm/plan.h"
#include "realm/rim.h"

enum measure_kind {
	MEASURE_CREATE,
	MEASURE_RIPAS,
	MEASURE_DATA,
	MEASURE_REC,
};

/**
 * struct measure_step - a step and the measurement after it
 * @name:     piece (MEASURE_DATA)
 * @base:     address (MEASURE_DATA, MEASURE_RIPAS)
 * @size:     bytes: of whole granules (MEASURE_DATA), of the range (MEASURE_RIPAS)
 * @entries:  how many times the measurement was extended
 * @measured: the content counts (MEASURE_DATA)
 * @content:  if so: hash of the hashes of the granules, one after the other
 */
struct measure_step {
	enum measure_kind kind;
	char name[16];
	ipa_t base;
	uint64_t size;
	uint64_t entries;
	bool measured;
	uint8_t content[REALM_HASH_MAX];
	uint8_t rim[REALM_HASH_MAX];
};

#define MEASURE_MAX_STEPS (PLAN_MAX_PIECES + PLAN_MAX_RANGES + 2)

/**
 * struct measurement - the outcome
 * @pc, @x: registers of the REC
 */
struct measurement {
	struct rim_params params;
	struct rim rim;
	ipa_t pc;
	uint64_t x[8];
	struct measure_step step[MEASURE_MAX_STEPS];
	unsigned int nr;
};

/**
 * measure_plan() - all of it: realm parameters, pieces in ascending order, the first REC
 * @p: after plan_check(); its files are read with pread()
 * @m: filled
 *
 * Return: 0; -ENOSYS: built without libcrypto; -EIO: a file cannot be read, or became shorter;
 * -EINVAL: nothing that runs with these parameters can be predicted, the text says why.
 */
int measure_plan(const struct plan *p, const struct rim_params *params, struct measurement *m,
		 struct err *e);

#endif
