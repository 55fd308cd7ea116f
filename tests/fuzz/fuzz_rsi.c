// SPDX-License-Identifier: BSD-3-Clause
/*
 * RSI calls with any registers, from two vCPUs, on a model of the realm. The monitor looks only at
 * granules that are RIPAS RAM; converts only what lies in RAM, and says how far it got; answers
 * only in registers that it names; tells the state that is; gives a token away once, in order.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "realm/rsi.h"
#include "vmm/core/err.h"

#define BITS	33
#define RAM	UINT64_C(0x80000000)
#define PAGES	64
#define TOKEN_LEN 1300

static struct {
	struct ripas ripas;
	uint8_t *granule[PAGES];
	unsigned int mapped;		/* granules that were not put back */
	uint8_t fail;			/* bit: what fails next */
	unsigned int converted;
	struct rsi_rec rec[2];
	uint8_t token[2][TOKEN_LEN];
	size_t given[2];
	bool has[2];
	unsigned int cpu;
} m;

enum { FAIL_GRANULE = 1, FAIL_CONVERT = 2, FAIL_RIM = 4, FAIL_TOKEN = 8 };

static bool fails(uint8_t what)
{
	bool now = m.fail & what;

	m.fail &= ~what;
	return now;
}

static void *granule(void *ctx, ipa_t ipa)
{
	uint64_t n = (ipa - RAM) / GRANULE_SIZE;

	PROPERTY(ipa % GRANULE_SIZE == 0 && ipa >= RAM && n < PAGES);
	PROPERTY(ripas_get(&m.ripas, ipa) == RIPAS_RAM && !m.mapped);
	if (fails(FAIL_GRANULE))
		return NULL;
	m.mapped++;
	return m.granule[n];
}

static void granule_put(void *ctx, void *p)
{
	PROPERTY(p && m.mapped == 1);
	m.mapped--;
}

static int convert(void *ctx, ipa_t base, ipa_t top, enum ripas_state state, ipa_t *done)
{
	PROPERTY((base | top) % GRANULE_SIZE == 0 && ripas_inside(&m.ripas, base, top));
	PROPERTY(state == RIPAS_RAM || state == RIPAS_EMPTY);
	PROPERTY(!m.converted++);
	*done = top;
	if (fails(FAIL_CONVERT))
		*done = base + (top - base) / GRANULE_SIZE / 2 * GRANULE_SIZE;
	if (*done > base)
		ripas_set(&m.ripas, base, *done - base, state);
	return *done == top ? 0 : -EBUSY;
}

static int rim(void *ctx, uint8_t out[REALM_HASH_MAX])
{
	memset(out, 0x11, REALM_HASH_MAX);
	return fails(FAIL_RIM) ? -EIO : 0;
}

static int token(void *ctx, struct token_request *rq, uint8_t *out, size_t *len)
{
	if (fails(FAIL_TOKEN))
		return -EIO;
	for (size_t i = 0; i < TOKEN_LEN; i++)
		m.token[m.cpu][i] = i * 3 + rq->challenge[i % sizeof(rq->challenge)];
	memcpy(out, m.token[m.cpu], TOKEN_LEN);
	*len = TOKEN_LEN;
	m.given[m.cpu] = 0;
	return 0;
}

static const struct rsi_ops ops = {
	.granule = granule, .granule_put = granule_put, .convert = convert, .rim = rim,
	.token = token,
};

static ipa_t address(struct input *in)
{
	static const ipa_t edge[] = {
		0, RAM, RAM + PAGES * GRANULE_SIZE, UINT64_C(1) << (BITS - 1), UINT64_C(1) << BITS,
		UINT64_MAX, 0x1000000, RAM | UINT64_C(1) << (BITS - 1),
	};
	uint8_t how = in_u8(in), n = in_u8(in);

	switch (how % 4) {
	case 0:
		return edge[n % ARRAY_SIZE(edge)] +
		       (int8_t)in_u8(in) * (how & 4 ? 1 : (int)GRANULE_SIZE);
	case 1:
		return in_u64(in);
	default:
		return RAM + n % PAGES * GRANULE_SIZE + (how & 0x80 ? in_u16(in) & 0xf00 : 0);
	}
}

/* What the state of a range is, page by page. */
static void check_state(const uint64_t *before, const uint64_t *x)
{
	ipa_t base = before[1], top = before[2];

	PROPERTY(x[1] > base && x[1] <= top && x[2] <= RIPAS_RAM);
	for (ipa_t at = base; at < MIN(x[1], RAM + PAGES * GRANULE_SIZE); at += GRANULE_SIZE)
		if (at >= RAM)
			PROPERTY(ripas_get(&m.ripas, at) == x[2]);
}

static void check_token(const uint64_t *before, const uint64_t *x)
{
	uint64_t n = x[1], off = before[2];
	const uint8_t *page = m.granule[(before[1] - RAM) / GRANULE_SIZE];
	size_t *given = &m.given[m.cpu];

	PROPERTY(m.has[m.cpu] && n <= before[3] && n <= TOKEN_LEN - *given);
	PROPERTY(!memcmp(page + off, m.token[m.cpu] + *given, n));
	*given += n;
	PROPERTY((x[0] == RSI_SUCCESS) == (*given == TOKEN_LEN));
	m.has[m.cpu] = x[0] != RSI_SUCCESS;
}

static void call(struct rsi *r, struct input *in)
{
	static const uint32_t fid[] = {
		RSI_VERSION, RSI_FEATURES, RSI_MEASUREMENT_READ, RSI_MEASUREMENT_EXTEND,
		RSI_ATTESTATION_TOKEN_INIT, RSI_ATTESTATION_TOKEN_CONTINUE, RSI_REALM_CONFIG,
		RSI_IPA_STATE_SET, RSI_IPA_STATE_GET, RSI_HOST_CALL, RSI_MEM_GET_PERM_VALUE,
		RSI_MEM_SET_PERM_INDEX, RSI_MEM_SET_PERM_VALUE, RSI_PLANE_ENTER,
		RSI_PLANE_SYSREG_READ, RSI_PLANE_SYSREG_WRITE,
	};
	uint8_t what = in_u8(in);
	uint64_t x[RSI_NR_REGS], before[RSI_NR_REGS];
	uint32_t fn, written;

	in_bytes(in, x, sizeof(x));
	if (!(what & 0x40))
		x[0] = fid[what % ARRAY_SIZE(fid)] | (what & 0x20 ? SMCCC_SVE_HINT : 0);
	fn = (uint32_t)x[0] & ~SMCCC_SVE_HINT;
	if (fn == RSI_MEASUREMENT_EXTEND || fn == RSI_MEASUREMENT_READ) {
		x[1] %= 7;
		x[2] %= 80;
	} else if (fn != RSI_VERSION || what & 0x10) {
		x[1] = address(in);
	} else {
		x[1] = RSI_ABI_1_0 + in_u8(in) % 3;
	}
	if (fn == RSI_IPA_STATE_SET || fn == RSI_IPA_STATE_GET)
		x[2] = address(in);
	if (fn == RSI_IPA_STATE_SET)
		x[3] %= 3;
	if (fn == RSI_ATTESTATION_TOKEN_CONTINUE && what & 0x10) {
		x[2] %= GRANULE_SIZE + 8;
		x[3] %= GRANULE_SIZE + 8;
	}
	memcpy(before, x, sizeof(x));
	m.converted = 0;
	written = rsi_call(r, what & 0x80 && m.fail & 0x10 ? NULL : &m.rec[m.cpu], x);

	PROPERTY(!m.mapped && (written & 1) && !(written >> RSI_NR_REGS) && *rsi_name(fn));
	for (unsigned int i = 0; i < RSI_NR_REGS; i++)
		if (!(written >> i & 1))
			PROPERTY(x[i] == before[i]);
	PROPERTY(x[0] <= RSI_ERROR_UNKNOWN || x[0] == SMCCC_NOT_SUPPORTED);
	if (fn == RSI_IPA_STATE_GET && x[0] == RSI_SUCCESS)
		check_state(before, x);
	if (fn == RSI_IPA_STATE_SET && x[0] == RSI_SUCCESS) {
		PROPERTY(x[1] >= before[1] && x[1] <= before[2]);
		PROPERTY(x[2] == (x[1] == before[1] ? RSI_REJECT : RSI_ACCEPT));
	}
	if (fn == RSI_ATTESTATION_TOKEN_INIT && !(what & 0x80 && m.fail & 0x10))
		m.has[m.cpu] = x[0] == RSI_SUCCESS;
	if (fn == RSI_ATTESTATION_TOKEN_CONTINUE && (x[0] == RSI_SUCCESS || x[0] == RSI_INCOMPLETE))
		check_token(before, x);
	if (fn == RSI_MEASUREMENT_READ)
		PROPERTY((x[0] == RSI_SUCCESS) == (written == (1u << 9) - 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t *page[PAGES];
	struct input in = { data, size };
	struct rsi r = { .ops = &ops, .split = ipa_split(BITS, true), .ripas = &m.ripas };
	struct err e;

	memset(&m, 0, sizeof(m));
	/* each of its own, so that a byte too many is noticed */
	for (unsigned int i = 0; i < PAGES; i++) {
		if (!page[i])
			page[i] = malloc(GRANULE_SIZE);
		m.granule[i] = page[i];
	}
	PROPERTY(!ripas_init(&m.ripas, RAM, PAGES * GRANULE_SIZE,
			     in_u8(&in) & 1 ? RIPAS_RAM : RIPAS_EMPTY, &e));
	r.algo = in_u8(&in) & 1 ? REALM_SHA512 : REALM_SHA256;
	while (in.left) {
		m.cpu = in_u8(&in);
		m.fail = m.cpu & 2 ? in_u8(&in) : 0;
		m.cpu &= 1;
		call(&r, &in);
	}
	rsi_rec_reset(&m.rec[0]);
	rsi_rec_reset(&m.rec[1]);
	ripas_destroy(&m.ripas);
	return 0;
}
