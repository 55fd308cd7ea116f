// SPDX-License-Identifier: BSD-3-Clause
/*
 * Argument checks and their order follow the RMM specification 1.0 (Arm DEN0137), chapter "Realm
 * Services Interface", and TF-RMM where the specification leaves a choice. tests/guests/RSI.md
 * lists them row by row; the payload tests/guests/rsi.c runs them from inside a guest. A realm here
 * has none of the features that came with 1.1: such a guest finds no auxiliary planes.
 */
#include "realm/rsi.h"

#include <stdlib.h>
#include <string.h>

#include "vmm/core/log.h"

#define HOST_CALL_SIZE	0x100
#define CONFIG_RPV_OFF	0x200

#define X(n) (1U << (n))
#define X0_X3 (X(0) | X(1) | X(2) | X(3))

static struct log_rate rate;

/* Status in x0, results or zero in x1 to x3: the shape of nearly every answer. */
static uint32_t answer(uint64_t *x, uint64_t status, uint64_t x1, uint64_t x2)
{
	x[0] = status;
	x[1] = x1;
	x[2] = x2;
	x[3] = 0;
	return X0_X3;
}

static uint32_t version(uint64_t *x)
{
	/* As asked, or else the highest; and the highest. Only the status tells if they met. */
	if (x[1] != RSI_ABI_1_0 && x[1] != RSI_ABI_1_1)
		return answer(x, RSI_ERROR_INPUT, RSI_ABI_1_1, RSI_ABI_1_1);
	return answer(x, RSI_SUCCESS, x[1], RSI_ABI_1_1);
}

static int initial_measurement(struct rsi *r)
{
	int ret = r->rim_known ? 0 : r->ops->rim(r->ctx, r->rim);

	r->rim_known = !ret;
	return ret;
}

static uint32_t measurement_read(struct rsi *r, uint64_t *x)
{
	uint64_t index = x[1];

	if (index > RSI_NR_REMS)
		return answer(x, RSI_ERROR_INPUT, 0, 0);
	if (index == 0 && initial_measurement(r) < 0)
		return answer(x, RSI_ERROR_UNKNOWN, 0, 0);
	x[0] = RSI_SUCCESS;
	memcpy(&x[1], index ? r->rem[index - 1] : r->rim, REALM_HASH_MAX);
	return X(9) - 1;	/* x0..x8 */
}

static uint32_t measurement_extend(struct rsi *r, uint64_t *x)
{
	uint64_t index = x[1], size = x[2];
	uint8_t *rem, next[REALM_HASH_MAX];

	if (index < 1 || index > RSI_NR_REMS || size > REALM_HASH_MAX)
		return answer(x, RSI_ERROR_INPUT, 0, 0);
	rem = r->rem[index - 1];
	/* x3..x10 hold the value, little endian, as the guest's memory would */
	if (realm_hash2(r->algo, rem, realm_hash_len(r->algo), &x[3], size, next) < 0) {
		log_rated(&rate, LOG_WARNING, "RSI_MEASUREMENT_EXTEND refused: this realmtool was "
			  "built without libcrypto");
		return answer(x, RSI_ERROR_UNKNOWN, 0, 0);
	}
	memcpy(rem, next, sizeof(next));
	return answer(x, RSI_SUCCESS, 0, 0);
}

/* A structure that the guest named: aligned to its size, protected, RIPAS RAM. */
static void *structure(struct rsi *r, ipa_t ipa, uint64_t size)
{
	if (!IS_ALIGNED(ipa, size) || !ipa_range_protected(&r->split, ipa, ipa + size) ||
	    ripas_get(r->ripas, ipa) != RIPAS_RAM)
		return NULL;
	return r->ops->granule(r->ctx, ALIGN_DOWN(ipa, GRANULE_SIZE));
}

void rsi_rec_reset(struct rsi_rec *rec)
{
	free(rec->token);
	*rec = (struct rsi_rec){ 0 };
}

/* The measurements are those of now: a later extension belongs to the next token. */
static uint32_t token_init(struct rsi *r, struct rsi_rec *rec, uint64_t *x)
{
	struct token_request rq = { .algo = r->algo };

	if (!rec)
		return answer(x, RSI_ERROR_UNKNOWN, 0, 0);
	/* ends what was begun before, whatever becomes of this one */
	rsi_rec_reset(rec);
	if (initial_measurement(r) < 0)
		return answer(x, RSI_ERROR_UNKNOWN, 0, 0);
	/* x1..x8, little endian, as the guest's memory would hold them */
	memcpy(rq.challenge, &x[1], sizeof(rq.challenge));
	memcpy(rq.rpv, r->rpv, sizeof(rq.rpv));
	memcpy(rq.rim, r->rim, sizeof(rq.rim));
	memcpy(rq.rem, r->rem, sizeof(rq.rem));
	rec->token = malloc(TOKEN_MAX);
	if (!rec->token || r->ops->token(r->ctx, &rq, rec->token, &rec->len) < 0) {
		rsi_rec_reset(rec);
		return answer(x, RSI_ERROR_UNKNOWN, 0, 0);
	}
	return answer(x, RSI_SUCCESS, TOKEN_MAX, 0);
}

static uint32_t token_continue(struct rsi *r, struct rsi_rec *rec, uint64_t *x)
{
	uint64_t ipa = x[1], off = x[2], size = x[3], n;
	uint8_t *p;

	if (!IS_ALIGNED(ipa, GRANULE_SIZE) || off >= GRANULE_SIZE || size > GRANULE_SIZE - off ||
	    !ipa_range_protected(&r->split, ipa, ipa + GRANULE_SIZE))
		return answer(x, RSI_ERROR_INPUT, 0, 0);
	if (!rec || !rec->token)
		return answer(x, RSI_ERROR_STATE, 0, 0);
	p = structure(r, ipa, GRANULE_SIZE);
	if (!p)
		return answer(x, RSI_ERROR_INPUT, 0, 0);
	n = MIN(size, rec->len - rec->given);
	memcpy(p + off, rec->token + rec->given, n);
	r->ops->granule_put(r->ctx, p);
	rec->given += n;
	if (rec->given < rec->len)
		return answer(x, RSI_INCOMPLETE, n, 0);
	rsi_rec_reset(rec);
	return answer(x, RSI_SUCCESS, n, 0);
}

static uint32_t realm_config(struct rsi *r, uint64_t *x)
{
	uint8_t *p = structure(r, x[1], GRANULE_SIZE);
	uint64_t width = r->split.bits;

	if (!p)
		return answer(x, RSI_ERROR_INPUT, 0, 0);
	memset(p, 0, GRANULE_SIZE);
	memcpy(p, &width, sizeof(width));
	p[8] = r->algo;
	memcpy(p + CONFIG_RPV_OFF, r->rpv, RSI_RPV_SIZE);
	r->ops->granule_put(r->ctx, p);
	return answer(x, RSI_SUCCESS, 0, 0);
}

static bool range_ok(const struct rsi *r, ipa_t base, ipa_t top)
{
	return IS_ALIGNED(base, GRANULE_SIZE) && IS_ALIGNED(top, GRANULE_SIZE) &&
	       ipa_range_protected(&r->split, base, top);
}

static uint32_t ipa_state_set(struct rsi *r, uint64_t *x)
{
	ipa_t base = x[1], top = x[2], done = base, end, ram_end = r->ripas->base + r->ripas->size;
	uint64_t state = x[3];

	if (!range_ok(r, base, top) || state > RIPAS_RAM)
		return answer(x, RSI_ERROR_INPUT, 0, 0);
	while (done < top) {
		if (ripas_inside(r->ripas, done, done + GRANULE_SIZE)) {
			end = MIN(top, ram_end);
			if (r->ops->convert(r->ctx, done, end, state, &done) < 0)
				break;
		} else if (state == RIPAS_EMPTY) {
			/* What is no RAM is EMPTY already. */
			done = done < r->ripas->base ? MIN(top, r->ripas->base) : top;
		} else {
			break;	/* no memory there that could become RAM */
		}
	}
	/* The guest asks again for the rest, and is refused if nothing of it can be done. */
	return answer(x, RSI_SUCCESS, done, done == base ? RSI_REJECT : RSI_ACCEPT);
}

static uint32_t ipa_state_get(struct rsi *r, uint64_t *x)
{
	ipa_t base = x[1], top = x[2], end;
	enum ripas_state state;

	if (!range_ok(r, base, top))
		return answer(x, RSI_ERROR_INPUT, 0, 0);
	end = ripas_run(r->ripas, base, top, &state);
	return answer(x, RSI_SUCCESS, end, state);
}

static uint32_t host_call(struct rsi *r, uint64_t *x)
{
	ipa_t ipa = x[1];
	uint8_t *page = structure(r, ipa, HOST_CALL_SIZE);
	uint64_t not_supported = SMCCC_NOT_SUPPORTED;

	if (!page) {
		x[0] = RSI_ERROR_INPUT;
		return X(0);
	}
	/* gprs[0] at 8: what KVM answers to a host call that it does not know */
	memcpy(page + (ipa & (GRANULE_SIZE - 1)) + 8, &not_supported, sizeof(not_supported));
	r->ops->granule_put(r->ctx, page);
	x[0] = RSI_SUCCESS;
	return X(0);
}

uint32_t rsi_call(struct rsi *r, struct rsi_rec *rec, uint64_t x[RSI_NR_REGS])
{
	switch ((uint32_t)x[0] & ~SMCCC_SVE_HINT) {
	case RSI_VERSION:
		return version(x);
	case RSI_FEATURES:
		return answer(x, RSI_SUCCESS, 0, 0);	/* none of those that 1.1 defines */
	case RSI_MEASUREMENT_READ:
		return measurement_read(r, x);
	case RSI_MEASUREMENT_EXTEND:
		return measurement_extend(r, x);
	case RSI_ATTESTATION_TOKEN_INIT:
		return token_init(r, rec, x);
	case RSI_ATTESTATION_TOKEN_CONTINUE:
		return token_continue(r, rec, x);
	case RSI_REALM_CONFIG:
		return realm_config(r, x);
	case RSI_IPA_STATE_SET:
		return ipa_state_set(r, x);
	case RSI_IPA_STATE_GET:
		return ipa_state_get(r, x);
	case RSI_HOST_CALL:
		return host_call(r, x);
	case RSI_MEM_GET_PERM_VALUE:
	case RSI_MEM_SET_PERM_INDEX:
	case RSI_MEM_SET_PERM_VALUE:
	case RSI_PLANE_ENTER:
	case RSI_PLANE_SYSREG_READ:
	case RSI_PLANE_SYSREG_WRITE:
		return answer(x, RSI_ERROR_INPUT, 0, 0);	/* there is no such plane */
	default:
		return answer(x, SMCCC_NOT_SUPPORTED, 0, 0);
	}
}

const char *rsi_name(uint32_t fid)
{
	switch (fid & ~SMCCC_SVE_HINT) {
	case RSI_VERSION: return "RSI_VERSION";
	case RSI_FEATURES: return "RSI_FEATURES";
	case RSI_MEASUREMENT_READ: return "RSI_MEASUREMENT_READ";
	case RSI_MEASUREMENT_EXTEND: return "RSI_MEASUREMENT_EXTEND";
	case RSI_ATTESTATION_TOKEN_INIT: return "RSI_ATTESTATION_TOKEN_INIT";
	case RSI_ATTESTATION_TOKEN_CONTINUE: return "RSI_ATTESTATION_TOKEN_CONTINUE";
	case RSI_REALM_CONFIG: return "RSI_REALM_CONFIG";
	case RSI_IPA_STATE_SET: return "RSI_IPA_STATE_SET";
	case RSI_IPA_STATE_GET: return "RSI_IPA_STATE_GET";
	case RSI_HOST_CALL: return "RSI_HOST_CALL";
	case RSI_MEM_GET_PERM_VALUE: return "RSI_MEM_GET_PERM_VALUE";
	case RSI_MEM_SET_PERM_INDEX: return "RSI_MEM_SET_PERM_INDEX";
	case RSI_MEM_SET_PERM_VALUE: return "RSI_MEM_SET_PERM_VALUE";
	case RSI_PLANE_ENTER: return "RSI_PLANE_ENTER";
	case RSI_PLANE_SYSREG_READ: return "RSI_PLANE_SYSREG_READ";
	case RSI_PLANE_SYSREG_WRITE: return "RSI_PLANE_SYSREG_WRITE";
	default: return "unknown call";
	}
}
