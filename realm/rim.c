// SPDX-License-Identifier: BSD-3-Clause
#include "realm/rim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/core/err.h"

/* RMM specification: RmiRealmParams, RmmMeasurementDescriptorData, ...Rec; all little endian */
#define PARAMS_FLAGS	0x00
#define PARAMS_S2SZ	0x08
#define PARAMS_SVE_VL	0x10
#define PARAMS_NUM_BPS	0x18
#define PARAMS_NUM_WPS	0x20
#define PARAMS_PMU_CTRS	0x28
#define PARAMS_HASH	0x30
#define FLAG_SVE	(1U << 1)
#define FLAG_PMU	(1U << 2)

#define DESC_SIZE	0x100
#define DESC_DATA	0
#define DESC_REC	1
#define DESC_LEN	0x08
#define DESC_RIM	0x10
#define DATA_IPA	0x50
#define DATA_FLAGS	0x58
#define DATA_CONTENT	0x60
#define DATA_MEASURED	1
#define REC_CONTENT	0x50

#define REC_FLAGS	0x000
#define REC_PC		0x200
#define REC_GPRS	0x300
#define REC_RUNNABLE	1

static void put64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = v >> (8 * i);
}

int rim_create(struct rim *r, const struct rim_params *p)
{
	uint8_t page[GRANULE_SIZE] = { 0 };

	r->algo = p->algo;
	put64(page + PARAMS_FLAGS, (p->sve ? FLAG_SVE : 0) | (p->pmu ? FLAG_PMU : 0));
	page[PARAMS_S2SZ] = p->s2sz;
	page[PARAMS_SVE_VL] = p->sve_vl;
	page[PARAMS_NUM_BPS] = p->num_bps;
	page[PARAMS_NUM_WPS] = p->num_wps;
	page[PARAMS_PMU_CTRS] = p->pmu_ctrs;
	page[PARAMS_HASH] = p->algo;
	return realm_hash2(r->algo, page, sizeof(page), NULL, 0, r->value);
}

static void descriptor(const struct rim *r, uint8_t *d, uint8_t type)
{
	memset(d, 0, DESC_SIZE);
	d[0] = type;
	put64(d + DESC_LEN, DESC_SIZE);
	memcpy(d + DESC_RIM, r->value, REALM_HASH_MAX);
}

int rim_data(struct rim *r, ipa_t ipa, const void *content)
{
	uint8_t d[DESC_SIZE];
	int ret;

	descriptor(r, d, DESC_DATA);
	put64(d + DATA_IPA, ipa);
	if (content) {
		put64(d + DATA_FLAGS, DATA_MEASURED);
		ret = realm_hash2(r->algo, content, GRANULE_SIZE, NULL, 0, d + DATA_CONTENT);
		if (ret < 0)
			return ret;
	}
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

#define CHUNK (64 * GRANULE_SIZE)

static int piece_data(struct rim *r, const struct plan_piece *piece, uint8_t *buf, struct err *e)
{
	uint64_t whole = ALIGN_UP(piece->len, GRANULE_SIZE);
	int ret = 0;

	for (uint64_t off = 0; off < whole && !ret; off += CHUNK) {
		uint64_t n = MIN(whole - off, CHUNK);

		if (piece->measured)
			ret = plan_read(piece, off, buf, n, e);
		for (uint64_t g = 0; g < n && !ret; g += GRANULE_SIZE)
			ret = rim_data(r, piece->ipa + off + g, piece->measured ? buf + g : NULL);
	}
	return ret;
}

int rim_of_plan(struct rim *r, const struct rim_params *params, const struct plan *p, struct err *e)
{
	uint8_t *buf = malloc(CHUNK);
	int ret;

	if (!buf)
		return err_set(e, -ENOMEM, "measurement: no memory");
	ret = rim_create(r, params);
	if (ret < 0)
		err_set(e, ret, "measurement: this realmtool was built without libcrypto");
	for (unsigned int i = 0; i < p->nr && !ret; i++)
		ret = piece_data(r, &p->piece[i], buf, e);
	if (!ret)
		ret = rim_rec(r, p->pc, p->x);
	free(buf);
	return ret;
}
