// SPDX-License-Identifier: BSD-3-Clause
/* The monitor's answers, row by row as tests/guests/RSI.md lists them. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "realm/rsi.h"

#define BITS	33
#define ALIAS	(UINT64_C(1) << (BITS - 1))
#define RAM	UINT64_C(0x80000000)
#define SIZE	(16 * GRANULE_SIZE)
#define END	(RAM + SIZE)
#define UART	UINT64_C(0x01000000)
#define JUNK	UINT64_C(0x4a4a4a4a4a4a4a4a)
#define TOKEN_SIZE 1000U

/* sha256sum of 32 zero bytes and "abc"; of that value; of 32 + 63 zero bytes and 01; sha512sum */
#define REM_ABC		"365aa7d8f7f9402c4b9434502b4cc89ddb09fe50d7cd95b493b834c62d5a5370"
#define REM_ABC_EMPTY	"e68b0c72b1aff9488294900ba6cc1e99075122a8d0c122eb42da506f9c2321a4"
#define REM_64		"b83349f8a55a7e8c46b8620ab012c6e1cc126a75b063732762e959c4ceab5925"
#define REM_ABC_512	"7682b6b84c6f692545a896ad210299bcc6f74e189d829e165739b11dd83b6f2c" \
			"8cfacf27e812bf064df756d6235ac33c062b89ecb80f8215516dbbb844ce8480"

static const uint64_t wrong_bases[] = { 1, 8, 0x800, GRANULE_SIZE - 1 };

static struct {
	struct rsi rsi;
	struct ripas ripas;
	uint8_t *mem;
	unsigned int held;		/* granules that were not given back */
	bool no_granule;
	ipa_t stop;			/* conversions get no further than this; 0: no limit */
	unsigned int conversions, rims;
	unsigned int tokens;
	struct token_request rq;
	int rim_error, token_error;
	struct rsi_rec rec[2];
	struct rsi_rec *cpu;		/* who calls */
	uint64_t x[RSI_NR_REGS];
} f;

static void *granule(void *ctx, ipa_t ipa)
{
	assert_ptr_equal(ctx, &f);
	assert_true(IS_ALIGNED(ipa, GRANULE_SIZE));
	assert_true(ipa >= RAM && ipa < END);
	/* the door opens for RAM only */
	assert_int_equal(ripas_get(&f.ripas, ipa), RIPAS_RAM);
	if (f.no_granule)
		return NULL;
	f.held++;
	return f.mem + (ipa - RAM);
}

static void granule_put(void *ctx, void *p)
{
	(void)ctx;
	assert_true((uint8_t *)p >= f.mem && (uint8_t *)p < f.mem + SIZE);
	f.held--;
}

static int convert(void *ctx, ipa_t base, ipa_t top, enum ripas_state state, ipa_t *done)
{
	ipa_t end = f.stop && f.stop < top ? f.stop : top;

	(void)ctx;
	assert_true(base >= RAM && base < top && top <= END);
	assert_true(IS_ALIGNED(base | top, GRANULE_SIZE));
	f.conversions++;
	if (end > base)
		ripas_set(&f.ripas, base, end - base, state);
	*done = end > base ? end : base;
	return *done == top ? 0 : -ETIMEDOUT;
}

static int rim(void *ctx, uint8_t out[REALM_HASH_MAX])
{
	(void)ctx;
	f.rims++;
	memset(out, 0, REALM_HASH_MAX);
	for (int i = 0; i < 32; i++)
		out[i] = 0x80 + i;
	return f.rim_error;
}

/* 1000 bytes that tell which request made them. */
static int token(void *ctx, struct token_request *rq, uint8_t *out, size_t *len)
{
	(void)ctx;
	f.tokens++;
	f.rq = *rq;
	for (unsigned int i = 0; i < TOKEN_SIZE; i++)
		out[i] = i * 3 + rq->challenge[0];
	*len = TOKEN_SIZE;
	return f.token_error;
}

static const struct rsi_ops ops = { granule, granule_put, convert, rim, token };

static int setup(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	f.mem = malloc(SIZE);		/* exactly: ASan sees a byte too many */
	memset(f.mem, 0xee, SIZE);
	assert_int_equal(ripas_init(&f.ripas, RAM, SIZE, RIPAS_RAM, NULL), 0);
	f.cpu = &f.rec[0];
	f.rsi = (struct rsi){
		.ops = &ops,
		.ctx = &f,
		.split = ipa_split(BITS, true),
		.ripas = &f.ripas,
		.algo = REALM_SHA256,
	};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rsi_rec_reset(&f.rec[0]);
	rsi_rec_reset(&f.rec[1]);
	assert_int_equal(f.held, 0);
	ripas_destroy(&f.ripas);
	free(f.mem);
	return 0;
}

/*
 * Make a call with junk in all registers that are no arguments, and take over what was written.
 * Registers outside of the mask must not have been touched either.
 */
static uint64_t call(uint64_t fn, unsigned int nargs, ...)
{
	uint64_t before[RSI_NR_REGS];
	uint32_t written;
	va_list ap;

	for (int i = 0; i < RSI_NR_REGS; i++)
		f.x[i] = JUNK + i;
	f.x[0] = fn;
	va_start(ap, nargs);
	for (unsigned int i = 1; i <= nargs; i++)
		f.x[i] = va_arg(ap, uint64_t);
	va_end(ap);
	memcpy(before, f.x, sizeof(before));
	written = rsi_call(&f.rsi, f.cpu, f.x);
	assert_true(written & 1);
	for (int i = 0; i < RSI_NR_REGS; i++)
		if (!(written & 1U << i))
			assert_int_equal(f.x[i], before[i]);
	return f.x[0];
}

#define U(v) ((uint64_t)(v))

/* a call and its status */
#define answers(status, ...) assert_int_equal(call(__VA_ARGS__), status)

/* x1 to x3, and that x4 and up were kept */
static void expect(uint64_t x1, uint64_t x2, uint64_t x3)
{
	assert_int_equal(f.x[1], x1);
	assert_int_equal(f.x[2], x2);
	assert_int_equal(f.x[3], x3);
	for (int i = 4; i < RSI_NR_REGS; i++)
		assert_int_equal(f.x[i], JUNK + i);
}

static void unknown(void **state)
{
	static const uint32_t fn[] = {
		0xc40001be, 0x8600ff01, 0xc5000020, 0x84000050, 0xc400018f, 0xc400019a, 0,
		0xffffffff,
		0x84000190,		/* RSI_VERSION, but SMC32 */
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(fn); i++) {
		assert_int_equal(call(fn[i], 0), ~UINT64_C(0));
		expect(0, 0, 0);
	}
}

static void version(void **state)
{
	static const uint64_t others[] = {
		0, 0x0ffff, 0x10002, 0x20000, (UINT64_C(1) << 32) + 0x10000, ~UINT64_C(0),
	};

	(void)state;
	answers(RSI_SUCCESS, RSI_VERSION, 1, U(0x10000));
	expect(0x10000, 0x10001, 0);
	answers(RSI_SUCCESS, RSI_VERSION, 1, U(0x10001));
	expect(0x10001, 0x10001, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(others); i++) {
		answers(RSI_ERROR_INPUT, RSI_VERSION, 1, others[i]);
		expect(0x10001, 0x10001, 0);
	}
	/* the SVE hint, and what is above w0 */
	answers(RSI_SUCCESS, RSI_VERSION | SMCCC_SVE_HINT, 1, U(0x10000));
	answers(RSI_SUCCESS, RSI_VERSION | UINT64_C(1) << 32, 1, U(0x10000));
}

/* What came with 1.1 and a realm here does not have: no plane has a number that is right. */
static void planes(void **state)
{
	static const uint32_t fn[] = {
		0xc40001a0, 0xc40001a1, 0xc40001a2, 0xc40001a3, 0xc40001ae, 0xc40001af,
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(fn); i++) {
		answers(RSI_ERROR_INPUT, fn[i], 2, U(0), RAM);
		expect(0, 0, 0);
		answers(RSI_ERROR_INPUT, fn[i], 2, U(1), RAM);
	}
}

static void features(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 3; i++) {
		answers(RSI_SUCCESS, RSI_FEATURES, 1, i << 40 | i);
		expect(0, 0, 0);
	}
}

/* ---- measurements ---------------------------------------------------------------------------- */

static void measurement_read(void **state)
{
	static const uint64_t wrong[] = {
		5, 6, UINT64_C(1) << 63, ~UINT64_C(0), UINT64_C(1) << 32,
	};

	(void)state;
	answers(RSI_SUCCESS, RSI_MEASUREMENT_READ, 1, U(0));
	/* bytes 0x80 0x81 ... in little endian registers */
	assert_int_equal(f.x[1], UINT64_C(0x8786858483828180));
	assert_int_equal(f.x[4], UINT64_C(0x9f9e9d9c9b9a9998));
	for (int i = 5; i <= 8; i++)
		assert_int_equal(f.x[i], 0);
	assert_int_equal(f.x[9], JUNK + 9);
	call(RSI_MEASUREMENT_READ, 1, U(0));
	assert_int_equal(f.rims, 1);		/* computed once */
	for (uint64_t rem = 1; rem <= 4; rem++) {
		answers(RSI_SUCCESS, RSI_MEASUREMENT_READ, 1, rem);
		for (int i = 1; i <= 8; i++)
			assert_int_equal(f.x[i], 0);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		answers(RSI_ERROR_INPUT, RSI_MEASUREMENT_READ, 1, wrong[i]);
		expect(0, 0, 0);
	}
}

static void rim_fails(void **state)
{
	(void)state;
	f.rim_error = -EIO;
	answers(RSI_ERROR_UNKNOWN, RSI_MEASUREMENT_READ, 1, U(0));
	expect(0, 0, 0);
	/* REMs are not touched by that, and the next try may work */
	answers(RSI_SUCCESS, RSI_MEASUREMENT_READ, 1, U(1));
	f.rim_error = 0;
	answers(RSI_SUCCESS, RSI_MEASUREMENT_READ, 1, U(0));
	assert_int_equal(f.x[1], UINT64_C(0x8786858483828180));
}

/* Expected values from `sha256sum` and `sha512sum` of the same bytes. */
static void expect_rem(uint64_t index, const char *hex)
{
	uint8_t *b = (uint8_t *)&f.x[1];
	char got[129] = "";

	answers(RSI_SUCCESS, RSI_MEASUREMENT_READ, 1, index);
	for (unsigned int i = 0; i < strlen(hex) / 2; i++)
		snprintf(got + 2 * i, 3, "%02x", b[i]);
	assert_string_equal(got, hex);
	for (unsigned int i = strlen(hex) / 2; i < 64; i++)
		assert_int_equal(b[i], 0);
}

static void measurement_extend(void **state)
{
	static const uint64_t wrong[] = { 0, 5, UINT64_C(1) << 63, ~UINT64_C(0) };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		answers(RSI_ERROR_INPUT, RSI_MEASUREMENT_EXTEND, 2, wrong[i], U(8));
		expect(0, 0, 0);
	}
	answers(RSI_ERROR_INPUT, RSI_MEASUREMENT_EXTEND, 2, U(1), U(65));
	answers(RSI_ERROR_INPUT, RSI_MEASUREMENT_EXTEND, 2, U(1), ~UINT64_C(0));
	for (uint64_t rem = 1; rem <= 4; rem++)
		expect_rem(rem, "0000000000000000000000000000000000000000000000000000000000000000");

	/* (32 zero bytes; printf abc) */
	if (call(RSI_MEASUREMENT_EXTEND, 3, U(2), U(3), U(0xffffff00636261)) == RSI_ERROR_UNKNOWN)
		skip();		/* built without libcrypto */
	expect(0, 0, 0);
	expect_rem(2, REM_ABC);
	/* size 0 hashes the old value alone */
	answers(RSI_SUCCESS, RSI_MEASUREMENT_EXTEND, 2, U(2), U(0));
	expect_rem(2, REM_ABC_EMPTY);
	/* all 64 bytes of x3..x10 */
	answers(RSI_SUCCESS, RSI_MEASUREMENT_EXTEND, 10, U(4), U(64), U(0), U(0), U(0),
		U(0), U(0), U(0), U(0), UINT64_C(0x0100000000000000));
	expect_rem(4, REM_64);
	expect_rem(1, "0000000000000000000000000000000000000000000000000000000000000000");
	expect_rem(3, "0000000000000000000000000000000000000000000000000000000000000000");
}

static void measurement_extend_512(void **state)
{
	(void)state;
	f.rsi.algo = REALM_SHA512;
	if (call(RSI_MEASUREMENT_EXTEND, 3, U(1), U(3), U(0x636261)) == RSI_ERROR_UNKNOWN)
		skip();
	expect_rem(1, REM_ABC_512);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static uint64_t start(uint64_t challenge)
{
	return call(RSI_ATTESTATION_TOKEN_INIT, 8, challenge, U(2), U(3), U(4), U(5), U(6), U(7),
		    UINT64_C(0x8877665544332211));
}

static void token_arguments(void **state)
{
	(void)state;
	/* checked before the state, without a token and with one */
	for (int begun = 0; begun < 2; begun++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(wrong_bases); i++)
			answers(RSI_ERROR_INPUT, RSI_ATTESTATION_TOKEN_CONTINUE, 3,
				RAM + wrong_bases[i], U(0), U(16));
		answers(RSI_ERROR_INPUT, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM, U(4096), U(0));
		answers(RSI_ERROR_INPUT, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM, U(1), U(4096));
		answers(RSI_ERROR_INPUT, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM, U(16),
			~UINT64_C(0));
		answers(RSI_ERROR_INPUT, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM, ~UINT64_C(0),
			U(2));
		answers(RSI_ERROR_INPUT, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM | ALIAS, U(0),
			U(16));
		answers(RSI_ERROR_INPUT, RSI_ATTESTATION_TOKEN_CONTINUE, 3, ~UINT64_C(0xfff), U(0),
			U(16));
		expect(0, 0, 0);
		if (!begun) {
			answers(RSI_ERROR_STATE, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM, U(0),
				U(4096));
			answers(RSI_ERROR_STATE, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM, U(4095),
				U(1));
			/* no memory of the realm: the state comes first */
			answers(RSI_ERROR_STATE, RSI_ATTESTATION_TOKEN_CONTINUE, 3, UART, U(0),
				U(16));
			expect(0, 0, 0);
			assert_int_equal(start(1), RSI_SUCCESS);
		}
	}
	answers(RSI_ERROR_INPUT, RSI_ATTESTATION_TOKEN_CONTINUE, 3, UART, U(0), U(16));
	ripas_set(&f.ripas, RAM, GRANULE_SIZE, RIPAS_EMPTY);
	answers(RSI_ERROR_INPUT, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM, U(0), U(16));
	f.no_granule = true;
	answers(RSI_ERROR_INPUT, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM + GRANULE_SIZE, U(0),
		U(16));
	f.no_granule = false;
	for (unsigned int i = 0; i < SIZE; i++)
		assert_int_equal(f.mem[i], 0xee);
	/* none of it has cost the token a byte */
	answers(RSI_SUCCESS, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM + GRANULE_SIZE, U(0), U(4096));
	expect(TOKEN_SIZE, 0, 0);
}

static void token_asked(void **state)
{
	uint8_t challenge[64] = { 0x99 };

	(void)state;
	for (int i = 0; i < RSI_RPV_SIZE; i++)
		f.rsi.rpv[i] = i + 1;
	f.rsi.rem[2][5] = 0x33;
	assert_int_equal(start(0x99), RSI_SUCCESS);
	assert_int_equal(f.x[1], 4096);
	assert_int_equal(f.x[2], 0);
	assert_int_equal(f.x[3], 0);
	assert_int_equal(f.x[4], 4);	/* kept */
	for (int i = 1; i < 7; i++)
		challenge[8 * i] = i + 1;
	memcpy(challenge + 56, "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
	assert_memory_equal(f.rq.challenge, challenge, 64);
	assert_memory_equal(f.rq.rpv, f.rsi.rpv, 64);
	assert_int_equal(f.rq.algo, REALM_SHA256);
	assert_int_equal(f.rq.rim[0], 0x80);
	assert_int_equal(f.rq.rim[31], 0x9f);
	assert_int_equal(f.rq.rim[32], 0);
	assert_int_equal(f.rq.rem[2][5], 0x33);
	assert_int_equal(f.rims, 1);
}

/* In pieces, to any place of a page; only those bytes are written. */
static void token_pieces(void **state)
{
	static const struct { uint64_t page, off, size; } piece[] = {
		{ 0, 0, 0 }, { 0, 4000, 96 }, { 1, 0, 1 }, { 1, 1, 400 },
		{ 5, 4095, 1 }, { 3, 7, 502 },
	};
	unsigned int at = 0;

	(void)state;
	assert_int_equal(start(7), RSI_SUCCESS);
	for (unsigned int i = 0; i < ARRAY_SIZE(piece); i++) {
		uint8_t *p = f.mem + piece[i].page * GRANULE_SIZE;

		memset(p, 0xee, GRANULE_SIZE);
		at += piece[i].size;
		answers(at == TOKEN_SIZE ? RSI_SUCCESS : RSI_INCOMPLETE,
			RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM + piece[i].page * GRANULE_SIZE,
			piece[i].off, piece[i].size);
		expect(piece[i].size, 0, 0);
		for (unsigned int k = 0; k < GRANULE_SIZE; k++) {
			bool in = k >= piece[i].off && k < piece[i].off + piece[i].size;
			unsigned int n = at - piece[i].size + k - piece[i].off;

			assert_int_equal(p[k], in ? (uint8_t)(n * 3 + 7) : 0xee);
		}
	}
	assert_int_equal(at, TOKEN_SIZE);
	/* it is given away once */
	answers(RSI_ERROR_STATE, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM, U(0), U(4096));
	assert_int_equal(f.tokens, 1);
	/* more room than token */
	assert_int_equal(start(9), RSI_SUCCESS);
	memset(f.mem, 0xee, GRANULE_SIZE);
	answers(RSI_SUCCESS, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM, U(96), U(4000));
	expect(TOKEN_SIZE, 0, 0);
	assert_int_equal(f.mem[95], 0xee);
	assert_int_equal(f.mem[96], 9);
	assert_int_equal(f.mem[96 + TOKEN_SIZE], 0xee);
}

/* INIT begins anew; each vCPU has its own token; a failure leaves none. */
static void token_state(void **state)
{
	(void)state;
	assert_int_equal(start(1), RSI_SUCCESS);
	answers(RSI_INCOMPLETE, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM, U(0), U(900));
	assert_int_equal(start(2), RSI_SUCCESS);
	answers(RSI_INCOMPLETE, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM, U(0), U(999));
	assert_int_equal(f.mem[0], 2);

	f.cpu = &f.rec[1];
	answers(RSI_ERROR_STATE, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM, U(0), U(1));
	assert_int_equal(start(3), RSI_SUCCESS);
	answers(RSI_SUCCESS, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM, U(0), U(4096));
	assert_int_equal(f.mem[0], 3);
	f.cpu = &f.rec[0];
	answers(RSI_SUCCESS, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM, U(0), U(4096));
	expect(1, 0, 0);

	assert_int_equal(start(4), RSI_SUCCESS);
	f.token_error = -EIO;
	assert_int_equal(start(5), RSI_ERROR_UNKNOWN);
	assert_int_equal(f.x[1], 0);
	answers(RSI_ERROR_STATE, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM, U(0), U(1));
	f.token_error = 0;
	assert_int_equal(start(6), RSI_SUCCESS);
	f.rsi.rim_known = false;
	f.rim_error = -EIO;
	assert_int_equal(start(7), RSI_ERROR_UNKNOWN);
	answers(RSI_ERROR_STATE, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM, U(0), U(1));
	f.rim_error = 0;

	/* a vCPU that has no place for one */
	f.cpu = NULL;
	assert_int_equal(start(8), RSI_ERROR_UNKNOWN);
	answers(RSI_ERROR_STATE, RSI_ATTESTATION_TOKEN_CONTINUE, 3, RAM, U(0), U(1));
}

/* ---- structures in the guest's memory -------------------------------------------------------- */

static void untouched(ipa_t page)
{
	for (unsigned int i = 0; i < GRANULE_SIZE; i++)
		assert_int_equal(f.mem[page - RAM + i], 0xee);
}

/* Addresses that no structure of a realm can have. */
static void refused(uint64_t fn)
{
	const uint64_t wrong[] = {
		RAM | ALIAS, ALIAS, UINT64_C(1) << BITS, UINT64_C(1) << 63, ~UINT64_C(0xfff),
		UART, END, RAM - GRANULE_SIZE, ALIAS - GRANULE_SIZE, RAM + 4 * GRANULE_SIZE,
	};

	ripas_set(&f.ripas, RAM + 4 * GRANULE_SIZE, GRANULE_SIZE, RIPAS_EMPTY);
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++)
		answers(RSI_ERROR_INPUT, fn, 1, wrong[i]);
	untouched(RAM + 4 * GRANULE_SIZE);
	f.no_granule = true;
	answers(RSI_ERROR_INPUT, fn, 1, RAM);
	f.no_granule = false;
	untouched(RAM);
}

static void realm_config(void **state)
{
	uint64_t width;
	ipa_t page = END - GRANULE_SIZE;
	uint8_t *p = f.mem + (page - RAM);

	(void)state;
	for (int i = 0; i < RSI_RPV_SIZE; i++)
		f.rsi.rpv[i] = i + 1;
	f.rsi.algo = REALM_SHA512;
	answers(RSI_SUCCESS, RSI_REALM_CONFIG, 1, page);
	expect(0, 0, 0);
	memcpy(&width, p, sizeof(width));
	assert_int_equal(width, BITS);
	assert_int_equal(p[8], 1);
	assert_memory_equal(p + 0x200, f.rsi.rpv, RSI_RPV_SIZE);
	untouched(page - GRANULE_SIZE);
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong_bases); i++)
		answers(RSI_ERROR_INPUT, RSI_REALM_CONFIG, 1, RAM + wrong_bases[i]);
	expect(0, 0, 0);
	untouched(RAM);
	refused(RSI_REALM_CONFIG);
}

static void host_call(void **state)
{
	ipa_t at = RAM + GRANULE_SIZE + 0xf00;		/* the last one of a page */
	uint8_t *p = f.mem + (at - RAM);
	uint64_t gpr;

	(void)state;
	answers(RSI_SUCCESS, RSI_HOST_CALL, 1, at);
	assert_int_equal(f.x[1], at);			/* only x0 changes */
	assert_int_equal(f.x[2], JUNK + 2);
	assert_int_equal(f.x[3], JUNK + 3);
	memcpy(&gpr, p + 8, sizeof(gpr));
	assert_int_equal(gpr, ~UINT64_C(0));
	assert_int_equal(p[0], 0xee);			/* imm */
	assert_int_equal(p[16], 0xee);			/* gprs[1] */
	assert_int_equal(p[-1], 0xee);
	untouched(RAM + 2 * GRANULE_SIZE);
	answers(RSI_ERROR_INPUT, RSI_HOST_CALL, 1, RAM + 8);
	assert_int_equal(f.x[1], RAM + 8);
	answers(RSI_ERROR_INPUT, RSI_HOST_CALL, 1, RAM + 0x80);
	untouched(RAM);
	refused(RSI_HOST_CALL);
}

/* ---- RIPAS ----------------------------------------------------------------------------------- */

static void state_set_arguments(void **state)
{
	static const uint64_t bad_state[] = { 2, 3, UINT64_C(1) << 32, (UINT64_C(1) << 32) + 1 };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(bad_state); i++) {
		answers(RSI_ERROR_INPUT, RSI_IPA_STATE_SET, 3, RAM, END, bad_state[i]);
		expect(0, 0, 0);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong_bases); i++) {
		answers(RSI_ERROR_INPUT, RSI_IPA_STATE_SET, 3, RAM + wrong_bases[i], END, U(0));
		answers(RSI_ERROR_INPUT, RSI_IPA_STATE_SET, 3, RAM, END - wrong_bases[i], U(0));
	}
	answers(RSI_ERROR_INPUT, RSI_IPA_STATE_SET, 3, RAM, RAM, U(0));
	answers(RSI_ERROR_INPUT, RSI_IPA_STATE_SET, 3, END, RAM, U(0));
	answers(RSI_ERROR_INPUT, RSI_IPA_STATE_SET, 3, RAM, U(0), U(0));
	answers(RSI_ERROR_INPUT, RSI_IPA_STATE_SET, 3, RAM | ALIAS, END | ALIAS, U(0));
	answers(RSI_ERROR_INPUT, RSI_IPA_STATE_SET, 3, RAM, ALIAS + GRANULE_SIZE, U(0));
	answers(RSI_ERROR_INPUT, RSI_IPA_STATE_SET, 3, RAM, ~UINT64_C(0xfff), U(0));
	expect(0, 0, 0);
	assert_int_equal(f.conversions, 0);
	assert_int_equal(f.ripas.ram, 16);
}

static void state_set(void **state)
{
	ipa_t page = RAM + 3 * GRANULE_SIZE;

	(void)state;
	answers(RSI_SUCCESS, RSI_IPA_STATE_SET, 3, page, page + GRANULE_SIZE, U(0));
	expect(page + GRANULE_SIZE, RSI_ACCEPT, 0);
	assert_int_equal(f.ripas.ram, 15);
	assert_int_equal(ripas_get(&f.ripas, page), RIPAS_EMPTY);
	answers(RSI_SUCCESS, RSI_IPA_STATE_SET, 3, RAM, END, U(1));
	expect(END, RSI_ACCEPT, 0);
	assert_int_equal(f.ripas.ram, 16);
	/* the end of the protected half is a legal top; what is no RAM is EMPTY already */
	answers(RSI_SUCCESS, RSI_IPA_STATE_SET, 3, U(0), ALIAS, U(0));
	expect(ALIAS, RSI_ACCEPT, 0);
	assert_int_equal(f.ripas.ram, 0);
}

static void state_set_partial(void **state)
{
	(void)state;
	/* progress: the guest asks again for the rest */
	f.stop = RAM + 5 * GRANULE_SIZE;
	answers(RSI_SUCCESS, RSI_IPA_STATE_SET, 3, RAM + GRANULE_SIZE, END, U(0));
	expect(f.stop, RSI_ACCEPT, 0);
	assert_int_equal(f.ripas.ram, 12);
	/* none: refused */
	answers(RSI_SUCCESS, RSI_IPA_STATE_SET, 3, f.stop, END, U(0));
	expect(f.stop, RSI_REJECT, 0);
	assert_int_equal(f.ripas.ram, 12);
	f.stop = 0;
	answers(RSI_SUCCESS, RSI_IPA_STATE_SET, 3, RAM + 5 * GRANULE_SIZE, END, U(0));
	expect(END, RSI_ACCEPT, 0);
	/* a stretch below RAM counts as progress, although RAM itself fails at once */
	f.stop = RAM;
	answers(RSI_SUCCESS, RSI_IPA_STATE_SET, 3, UART, END, U(0));
	expect(RAM, RSI_ACCEPT, 0);
}

/* Ranges that reach over the ends of RAM. */
static void state_set_holes(void **state)
{
	(void)state;
	/* RAM over its end: as far as there is memory, then no more */
	ripas_set(&f.ripas, RAM, SIZE, RIPAS_EMPTY);
	answers(RSI_SUCCESS, RSI_IPA_STATE_SET, 3, END - GRANULE_SIZE, END + GRANULE_SIZE, U(1));
	expect(END, RSI_ACCEPT, 0);
	assert_int_equal(f.ripas.ram, 1);
	answers(RSI_SUCCESS, RSI_IPA_STATE_SET, 3, END, END + GRANULE_SIZE, U(1));
	expect(END, RSI_REJECT, 0);
	/* from below: nothing can be done, nothing is */
	answers(RSI_SUCCESS, RSI_IPA_STATE_SET, 3, RAM - GRANULE_SIZE, END, U(1));
	expect(RAM - GRANULE_SIZE, RSI_REJECT, 0);
	answers(RSI_SUCCESS, RSI_IPA_STATE_SET, 3, UART, UART + GRANULE_SIZE, U(1));
	expect(UART, RSI_REJECT, 0);
	assert_int_equal(f.ripas.ram, 1);
	/* EMPTY: wholly outside, and around RAM */
	answers(RSI_SUCCESS, RSI_IPA_STATE_SET, 3, UART, UART + GRANULE_SIZE, U(0));
	expect(UART + GRANULE_SIZE, RSI_ACCEPT, 0);
	answers(RSI_SUCCESS, RSI_IPA_STATE_SET, 3, END, ALIAS, U(0));
	expect(ALIAS, RSI_ACCEPT, 0);
	answers(RSI_SUCCESS, RSI_IPA_STATE_SET, 3, RAM - GRANULE_SIZE, END + GRANULE_SIZE, U(0));
	expect(END + GRANULE_SIZE, RSI_ACCEPT, 0);
	assert_int_equal(f.ripas.ram, 0);
}

static void state_get(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong_bases); i++) {
		answers(RSI_ERROR_INPUT, RSI_IPA_STATE_GET, 2, RAM + wrong_bases[i], END);
		expect(0, 0, 0);
		answers(RSI_ERROR_INPUT, RSI_IPA_STATE_GET, 2, RAM, END + wrong_bases[i]);
	}
	answers(RSI_ERROR_INPUT, RSI_IPA_STATE_GET, 2, RAM, RAM);
	answers(RSI_ERROR_INPUT, RSI_IPA_STATE_GET, 2, END, RAM);
	answers(RSI_ERROR_INPUT, RSI_IPA_STATE_GET, 2, RAM, U(0));
	answers(RSI_ERROR_INPUT, RSI_IPA_STATE_GET, 2, RAM | ALIAS, END | ALIAS);
	answers(RSI_ERROR_INPUT, RSI_IPA_STATE_GET, 2, RAM, ALIAS + GRANULE_SIZE);
	expect(0, 0, 0);

	answers(RSI_SUCCESS, RSI_IPA_STATE_GET, 2, RAM, END);
	expect(END, RIPAS_RAM, 0);
	ripas_set(&f.ripas, RAM + 2 * GRANULE_SIZE, GRANULE_SIZE, RIPAS_EMPTY);
	answers(RSI_SUCCESS, RSI_IPA_STATE_GET, 2, RAM, END);
	expect(RAM + 2 * GRANULE_SIZE, RIPAS_RAM, 0);
	answers(RSI_SUCCESS, RSI_IPA_STATE_GET, 2, f.x[1], END);
	expect(RAM + 3 * GRANULE_SIZE, RIPAS_EMPTY, 0);
}

/* A guest that walks the whole protected half finds exactly RAM. */
static void state_walk(void **state)
{
	uint64_t ram = 0, steps = 0;

	(void)state;
	for (ipa_t at = 0; at < ALIAS; at = f.x[1]) {
		ipa_t from = at;

		answers(RSI_SUCCESS, RSI_IPA_STATE_GET, 2, at, ALIAS);
		assert_true(f.x[1] > from && f.x[1] <= ALIAS);
		if (f.x[2] == RIPAS_RAM) {
			assert_true(from >= RAM && f.x[1] <= END);
			ram += f.x[1] - from;
		} else {
			assert_int_equal(f.x[2], RIPAS_EMPTY);
		}
		assert_true(++steps < 100);
	}
	assert_int_equal(ram, SIZE);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(unknown), T(version), T(features), T(planes),
		T(measurement_read), T(rim_fails), T(measurement_extend), T(measurement_extend_512),
		T(token_arguments), T(token_asked), T(token_pieces), T(token_state),
		T(realm_config), T(host_call),
		T(state_set_arguments), T(state_set), T(state_set_partial), T(state_set_holes),
		T(state_get), T(state_walk),
	};

	return cmocka_run_group_tests_name("rsi", tests, NULL, NULL);
}
