// SPDX-License-Identifier: BSD-3-Clause
#include "realm/rim.h"

#include <errno.h>
#include <string.h>

/* RMM specification: RmiRealmParams, RmmMeasurementDescriptorData, -Rec, -Ripas; little endian */
#define PARAMS_FLAGS	0x00
#define PARAMS_S2SZ	0x08
#define PARAMS_SVE_VL	0x10
#define PARAMS_NUM_BPS	0x18
#define PARAMS_NUM_WPS	0x20
#define PARAMS_PMU_CTRS	0x28
#define PARAMS_HASH	0x30
#define FLAG_LPA2	(1U << 0)
#define FLAG_SVE	(1U << 1)
#define FLAG_PMU	(1U << 2)

#define DESC_SIZE	0x100
#define DESC_DATA	0
#define DESC_REC	1
#define DESC_RIPAS	2
#define DESC_LEN	0x08
#define DESC_RIM	0x10
#define DATA_IPA	0x50
#define DATA_FLAGS	0x58
#define DATA_CONTENT	0x60
#define DATA_MEASURED	1
#define REC_CONTENT	0x50
#define RIPAS_BASE	0x50
#define RIPAS_TOP	0x58

#define REC_FLAGS	0x000
#define REC_PC		0x200
#define REC_GPRS	0x300
#define REC_RUNNABLE	1

const char *rim_dialect_name(enum rim_dialect d)
{
	return d == RIM_A ? "1.0" : d == RIM_B ? "tf-rmm" : "2.0";
}

static void put64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = v >> (8 * i);
}

int rim_create(struct rim *r, const struct rim_params *p)
{
	uint8_t page[GRANULE_SIZE] = { 0 };

	*r = (struct rim){ .algo = p->algo };
	if (p->dialect == RIM_A && p->algo == REALM_SHA384)
		return -EINVAL;
	put64(page + PARAMS_FLAGS, (p->lpa2 ? FLAG_LPA2 : 0) | (p->sve ? FLAG_SVE : 0) |
				   (p->pmu ? FLAG_PMU : 0));
	page[PARAMS_S2SZ] = p->s2sz;
	page[PARAMS_SVE_VL] = p->sve_vl;
	page[PARAMS_NUM_BPS] = p->num_bps;
	page[PARAMS_NUM_WPS] = p->num_wps;
	page[PARAMS_PMU_CTRS] = p->pmu_ctrs;
	page[PARAMS_HASH] = p->algo;
	if (p->dialect == RIM_C)
		return realm_hash2(r->algo, NULL, 0, NULL, 0, page);	/* is there a library? */
	return realm_hash2(r->algo, page, sizeof(page), NULL, 0, r->value);
}

static void descriptor(const struct rim *r, uint8_t *d, uint8_t type)
{
	memset(d, 0, DESC_SIZE);
	d[0] = type;
	put64(d + DESC_LEN, DESC_SIZE);
	memcpy(d + DESC_RIM, r->value, REALM_HASH_MAX);
}

int rim_data(struct rim *r, ipa_t ipa, const uint8_t *digest)
{
	uint8_t d[DESC_SIZE];

	descriptor(r, d, DESC_DATA);
	put64(d + DATA_IPA, ipa);
	if (digest) {
		put64(d + DATA_FLAGS, DATA_MEASURED);
		memcpy(d + DATA_CONTENT, digest, REALM_HASH_MAX);
	}
	return realm_hash2(r->algo, d, sizeof(d), NULL, 0, r->value);
}

int rim_ripas(struct rim *r, ipa_t base, ipa_t top)
{
	uint8_t d[DESC_SIZE];

	descriptor(r, d, DESC_RIPAS);
	put64(d + RIPAS_BASE, base);
	put64(d + RIPAS_TOP, top);
	return realm_hash2(r->algo, d, sizeof(d), NULL, 0, r->value);
}

int rim_rec(struct rim *r, ipa_t pc, const uint64_t x[8])
{
	uint8_t page[GRANULE_SIZE] = { 0 }, d[DESC_SIZE];
	int ret;

	put64(page + REC_FLAGS, REC_RUNNABLE);
	put64(page + REC_PC, pc);
	for (int i = 0; i < 8; i++)
		put64(page + REC_GPRS + 8 * i, x[i]);
	descriptor(r, d, DESC_REC);
	ret = realm_hash2(r->algo, page, sizeof(page), NULL, 0, d + REC_CONTENT);
	return ret < 0 ? ret : realm_hash2(r->algo, d, sizeof(d), NULL, 0, r->value);
}

/*
 * A table covers as much as one entry of the level above it, 2^shift bytes, and at the first level
 * up to 16 tables stand side by side. A space that those cover has no level above them.
 */
#define CONCAT_BITS	4

uint64_t rim_block(unsigned int s2sz, ipa_t base, ipa_t top)
{
	uint64_t size = GRANULE_SIZE;

	for (unsigned int shift = 21; shift <= 39 && shift + CONCAT_BITS < s2sz; shift += 9) {
		uint64_t larger = UINT64_C(1) << shift;

		if (!IS_ALIGNED(base, larger) || top - base < larger)
			break;
		size = larger;
	}
	return size;
}
