/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Realm Services Interface 1.0 and 1.1, answered by realmtool in the place of the RMM. Pure:
 * registers in, registers out; what it needs of the realm comes through struct rsi_ops, so that
 * every argument check is tested without KVM.
 */
#ifndef REALM_RSI_H
#define REALM_RSI_H

#include "realm/hash.h"
#include "realm/ipa.h"
#include "realm/ripas.h"
#include "realm/token.h"

#define RSI_VERSION			0xc4000190U
#define RSI_FEATURES			0xc4000191U
#define RSI_MEASUREMENT_READ		0xc4000192U
#define RSI_MEASUREMENT_EXTEND		0xc4000193U
#define RSI_ATTESTATION_TOKEN_INIT	0xc4000194U
#define RSI_ATTESTATION_TOKEN_CONTINUE	0xc4000195U
#define RSI_REALM_CONFIG		0xc4000196U
#define RSI_IPA_STATE_SET		0xc4000197U
#define RSI_IPA_STATE_GET		0xc4000198U
#define RSI_HOST_CALL			0xc4000199U

/* Added by 1.1: planes. The calls of assigned devices are not there without the feature. */
#define RSI_MEM_GET_PERM_VALUE		0xc40001a0U
#define RSI_MEM_SET_PERM_INDEX		0xc40001a1U
#define RSI_MEM_SET_PERM_VALUE		0xc40001a2U
#define RSI_PLANE_ENTER			0xc40001a3U
#define RSI_PLANE_SYSREG_READ		0xc40001aeU
#define RSI_PLANE_SYSREG_WRITE		0xc40001afU

#define RSI_ABI_1_0			0x10000U
#define RSI_ABI_1_1			0x10001U

enum rsi_status {
	RSI_SUCCESS = 0,
	RSI_ERROR_INPUT = 1,
	RSI_ERROR_STATE = 2,
	RSI_INCOMPLETE = 3,
	RSI_ERROR_UNKNOWN = 4,
};

enum rsi_response {
	RSI_ACCEPT = 0,
	RSI_REJECT = 1,
};

#define SMCCC_NOT_SUPPORTED	(~UINT64_C(0))
#define SMCCC_SVE_HINT		(1U << 16)

#define RSI_NR_REMS	4
#define RSI_RPV_SIZE	64
#define RSI_NR_REGS	11	/* x0..x10: all that a call takes or gives */

/**
 * struct rsi_ops - what the monitor asks of the realm
 * @granule:     second door: map one granule with RIPAS RAM that the calling vCPU named; NULL
 *               if it cannot be mapped
 * @granule_put: unmap it again
 * @convert:     change [base, top), all of it RAM of the machine, to @state. @done: first address
 *               that was not changed. Return: 0, or a negative errno with @done < top.
 * @rim:         the Realm Initial Measurement; asked for once, when the guest first reads it
 * @token:       make an attestation token in @token, TOKEN_MAX bytes; challenge, RPV, algorithm and
 *               measurements of @rq are filled in
 */
struct rsi_ops {
	void *(*granule)(void *ctx, ipa_t ipa);
	void (*granule_put)(void *ctx, void *p);
	int (*convert)(void *ctx, ipa_t base, ipa_t top, enum ripas_state state, ipa_t *done);
	int (*rim)(void *ctx, uint8_t rim[REALM_HASH_MAX]);
	int (*token)(void *ctx, struct token_request *rq, uint8_t *token, size_t *len);
};

/**
 * struct rsi_rec - what belongs to a vCPU
 * @token: the token that the guest is fetching, NULL: none; @given of its @len bytes it has
 */
struct rsi_rec {
	uint8_t *token;
	size_t len, given;
};

/** rsi_rec_reset() - forget the token */
void rsi_rec_reset(struct rsi_rec *rec);

struct rsi {
	const struct rsi_ops *ops;
	void *ctx;
	struct ipa_split split;
	struct ripas *ripas;
	enum realm_hash algo;
	uint8_t rpv[RSI_RPV_SIZE];
	uint8_t rim[REALM_HASH_MAX];
	bool rim_known;
	uint8_t rem[RSI_NR_REMS][REALM_HASH_MAX];
};

/**
 * rsi_call() - answer an SMC that is neither PSCI nor an SMCCC architecture call
 * @r: the realm's monitor state; the caller serialises
 * @rec: state of the calling vCPU; NULL: it has none, and gets no tokens
 * @x: x0..x10, in and out
 *
 * Return: bit mask of the registers that were written.
 */
uint32_t rsi_call(struct rsi *r, struct rsi_rec *rec, uint64_t x[RSI_NR_REGS]);

/** rsi_name() - a function identifier in words */
const char *rsi_name(uint32_t fid);

#endif
