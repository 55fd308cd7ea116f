// SPDX-License-Identifier: BSD-3-Clause
/*
 * Every RSI call: what it gives, and each argument check by itself. RSI.md beside this file is the
 * table of expected results and says where each comes from.
 */
#include "guest.h"

static u8 page_a[PAGE] page_aligned, page_b[PAGE] page_aligned, page_c[PAGE] page_aligned;
static u64 par_end;			/* first address of the shared half */

static u64 call(u64 fn, u64 a1, u64 a2, u64 a3, u64 a4)
{
	u64 r[18];

	rsi(r, fn, a1, a2, a3, a4);
	return r[0];
}

static void test_version(void)
{
	static const u64 odd[] = { 0, 0xffff, 0x10002, 0x20000, 0x100010000, ~0UL };
	u64 r[18];

	rsi(r, RSI_VERSION, 0x10000, 0, 0, 0);
	check(r[0] == RSI_SUCCESS && r[1] == 0x10000 && r[2] >= 0x10000 && r[2] < 0x20000 &&
	      r[3] == 0,
	      "VERSION 1.0: success, lower 1.0, higher 1.x");
	rsi(r, RSI_VERSION, 0x10001, 0, 0, 0);
	check(r[2] >= 0x10001 ? r[0] == RSI_SUCCESS && r[1] == 0x10001 : r[0] == RSI_ERROR_INPUT,
	      "VERSION 1.1: success, if the highest is 1.1");
	for (unsigned int i = 0; i < ARRAY_LEN(odd); i++) {
		rsi(r, RSI_VERSION, odd[i], 0, 0, 0);
		check(r[0] == RSI_ERROR_INPUT && r[1] >= 0x10000 && r[1] <= r[2] && r[2] < 0x20000,
		      "VERSION 0x%lx: input error, and the versions that are there", odd[i]);
	}
}

static void test_features(void)
{
	static const u64 index[] = { 0, 1, 7, ~0UL };
	u64 r[18];

	for (unsigned int i = 0; i < ARRAY_LEN(index); i++) {
		rsi(r, RSI_FEATURES, index[i], 0, 0, 0);
		check(r[0] == RSI_SUCCESS && r[1] == 0, "FEATURES 0x%lx: none", index[i]);
	}
}

/* Results are x0..x3 at most; what is above must come back untouched (SMCCC 1.1). */
static void test_registers(void)
{
	u64 r[18];
	bool kept = true;

	for (unsigned int i = 0; i < 18; i++)
		r[i] = 0xa0a0a0a000000000 + i;
	r[0] = RSI_VERSION;
	r[1] = 0x10000;
	call_smc(r);
	for (unsigned int i = 4; i < 18; i++)
		kept &= r[i] == 0xa0a0a0a000000000 + i;
	check(kept, "x4 to x17 are preserved");
	check_eq(r[3], 0, "x3 is zero");

	for (unsigned int i = 0; i < 18; i++)
		r[i] = 0xa0a0a0a000000000 + i;
	r[0] = RSI_IPA_STATE_SET;
	r[1] = 1;
	call_smc(r);
	check(r[0] == RSI_ERROR_INPUT && r[1] == 0 && r[2] == 0 && r[3] == 0,
	      "an error leaves zeros in x1 to x3");

	/* bit 16 is a hint about SVE state, no part of the function's number; w0 alone counts */
	check_eq(call(RSI_VERSION | 1 << 16, 0x10000, 0, 0, 0), RSI_SUCCESS, "the SVE hint is ignored");
}

static void read_rem(u64 index, u8 out[64])
{
	u64 r[18];

	rsi(r, RSI_MEASUREMENT_READ, index, 0, 0, 0);
	memcpy(out, &r[1], 64);
}

static u64 extend(u64 index, u64 size, const u8 value[64])
{
	u64 r[18] = { RSI_MEASUREMENT_EXTEND, index, size };

	memcpy(&r[3], value, 64);
	call_smc(r);
	return r[0];
}

static void test_measurements(void)
{
	static const u64 bad_read[] = { 5, 6, 1UL << 32, 1UL << 63, ~0UL };
	static const u64 bad_extend[] = { 0, 5, 1UL << 32, ~0UL };
	static const u64 sizes[] = { 64, 32, 1, 33, 0 };
	static const u8 zero[64];
	u8 value[64], old[64], neu[64], want[64], buf[96], rim[64];
	u64 r[18];
	bool ok;

	for (unsigned int i = 0; i < 64; i++)
		value[i] = (u8)(i * 7 + 3);

	rsi(r, RSI_MEASUREMENT_READ, 0, 0, 0, 0);
	memcpy(rim, &r[1], 64);
	check_eq(r[0], RSI_SUCCESS, "MEASUREMENT_READ 0: the RIM");
	if (arg_has("rim")) {
		check(memcmp(rim, zero, 32) != 0, "the RIM is not zero");
		print("# RIM ");
		for (unsigned int i = 0; i < 32; i++)
			print("%02x", rim[i]);
		print("\n");
	}
	for (unsigned int i = 1; i <= 4; i++) {
		rsi(r, RSI_MEASUREMENT_READ, i, 0, 0, 0);
		check(r[0] == RSI_SUCCESS && !memcmp(&r[1], zero, 64),
		      "MEASUREMENT_READ %u: zero at the start", i);
	}
	for (unsigned int i = 0; i < ARRAY_LEN(bad_read); i++)
		check_eq(call(RSI_MEASUREMENT_READ, bad_read[i], 0, 0, 0), RSI_ERROR_INPUT,
			 "MEASUREMENT_READ 0x%lx: input error", bad_read[i]);

	for (unsigned int i = 0; i < ARRAY_LEN(bad_extend); i++)
		check_eq(extend(bad_extend[i], 32, value), RSI_ERROR_INPUT,
			 "MEASUREMENT_EXTEND 0x%lx: input error", bad_extend[i]);
	check_eq(extend(1, 65, value), RSI_ERROR_INPUT, "MEASUREMENT_EXTEND of 65 bytes: input error");
	check_eq(extend(1, 1UL << 32, value), RSI_ERROR_INPUT,
		 "MEASUREMENT_EXTEND of 2^32 bytes: input error");
	check_eq(extend(1, ~0UL, value), RSI_ERROR_INPUT,
		 "MEASUREMENT_EXTEND of 2^64-1 bytes: input error");
	read_rem(1, neu);
	check(!memcmp(neu, zero, 64), "an error extends nothing");

	for (unsigned int i = 0; i < ARRAY_LEN(sizes); i++) {
		u64 rem = 1 + i % 4;

		read_rem(rem, old);
		memcpy(buf, old, 32);
		memcpy(buf + 32, value, sizes[i]);
		memset(want, 0, sizeof(want));
		sha256(buf, 32 + sizes[i], want);
		ok = extend(rem, sizes[i], value) == RSI_SUCCESS;
		read_rem(rem, neu);
		check(ok && !memcmp(neu, want, 64),
		      "MEASUREMENT_EXTEND %lu by %lu bytes: SHA-256(old, value), the rest zero", rem,
		      sizes[i]);
	}
	read_rem(0, neu);
	check(!memcmp(neu, rim, 64), "the RIM did not change");
}

static void test_config(void)
{
	volatile u64 *w = (volatile u64 *)page_a;
	u64 last = guest.ram_base + guest.ram_size - PAGE;
	bool clean = true;

	memset(page_a, 0, PAGE);
	check_eq(call(RSI_REALM_CONFIG, (u64)page_a, 0, 0, 0), RSI_SUCCESS, "REALM_CONFIG: success");
	check(w[0] >= 33 && w[0] <= 52, "IPA width is between 33 and 52");
	check_eq(page_a[8], 0, "hash algorithm is SHA-256");
	for (unsigned int i = 0; i < 64; i++)
		clean &= page_a[0x200 + i] == 0;
	if (arg_has("rpv"))
		check(!clean, "personalization value is there");
	else
		check(clean, "personalization value is zero");
	clean = true;
	for (unsigned int i = 0x240; i < PAGE; i++)
		clean &= page_a[i] == 0;
	check(clean, "nothing behind the personalization value");
	check_eq(call(RSI_REALM_CONFIG, last, 0, 0, 0), RSI_SUCCESS,
		 "REALM_CONFIG into the last page of RAM");

	memset(page_b, 0x77, PAGE);
	check_eq(call(RSI_REALM_CONFIG, (u64)page_b + 1, 0, 0, 0), RSI_ERROR_INPUT,
		 "REALM_CONFIG, not aligned (1): input error");
	check_eq(call(RSI_REALM_CONFIG, (u64)page_b + 0x800, 0, 0, 0), RSI_ERROR_INPUT,
		 "REALM_CONFIG, not aligned (0x800): input error");
	check_eq(call(RSI_REALM_CONFIG, io((u64)page_b), 0, 0, 0), RSI_ERROR_INPUT,
		 "REALM_CONFIG at the alias: input error");
	check_eq(call(RSI_REALM_CONFIG, par_end, 0, 0, 0), RSI_ERROR_INPUT,
		 "REALM_CONFIG at the shared bit itself: input error");
	check_eq(call(RSI_REALM_CONFIG, par_end * 2, 0, 0, 0), RSI_ERROR_INPUT,
		 "REALM_CONFIG beyond the IPA space: input error");
	check_eq(call(RSI_REALM_CONFIG, ~0UL << 12, 0, 0, 0), RSI_ERROR_INPUT,
		 "REALM_CONFIG at 2^64-4096: input error");
	check_eq(call(RSI_REALM_CONFIG, UART0, 0, 0, 0), RSI_ERROR_INPUT,
		 "REALM_CONFIG into a device's page: input error");
	check_eq(call(RSI_REALM_CONFIG, last + PAGE, 0, 0, 0), RSI_ERROR_INPUT,
		 "REALM_CONFIG behind RAM: input error");
	check(page_b[0] == 0x77 && page_b[PAGE - 1] == 0x77 && page_b[0x800] == 0x77,
	      "an error writes nothing");
	share(page_b, PAGE);
	check_eq(call(RSI_REALM_CONFIG, (u64)page_b, 0, 0, 0), RSI_ERROR_INPUT,
		 "REALM_CONFIG into an EMPTY page: input error");
	ripas_set((u64)page_b, (u64)page_b + PAGE, RIPAS_RAM);
	check_eq(call(RSI_REALM_CONFIG, (u64)page_b, 0, 0, 0), RSI_SUCCESS,
		 "REALM_CONFIG into the page made RAM again");
}

static void test_ripas_set(void)
{
	u64 a = (u64)page_c, r[18];

	wr64(a, 0x1122334455667788);
	check_eq(call(RSI_IPA_STATE_SET, a, a + PAGE, 2, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_SET to DESTROYED: input error");
	check_eq(call(RSI_IPA_STATE_SET, a, a + PAGE, 3, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_SET to 3: input error");
	check_eq(call(RSI_IPA_STATE_SET, a, a + PAGE, 255, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_SET to 255: input error");
	check_eq(call(RSI_IPA_STATE_SET, a + 1, a + PAGE, 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_SET, base not aligned: input error");
	check_eq(call(RSI_IPA_STATE_SET, a, a + PAGE - 1, 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_SET, top not aligned: input error");
	check_eq(call(RSI_IPA_STATE_SET, a, a, 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_SET of nothing: input error");
	check_eq(call(RSI_IPA_STATE_SET, a + PAGE, a, 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_SET, top below base: input error");
	check_eq(call(RSI_IPA_STATE_SET, a, 0, 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_SET, top 0: input error");
	check_eq(call(RSI_IPA_STATE_SET, io(a), io(a) + PAGE, 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_SET at the alias: input error");
	check_eq(call(RSI_IPA_STATE_SET, a, io(a), 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_SET across the middle of the IPA space: input error");
	check_eq(call(RSI_IPA_STATE_SET, par_end - PAGE, par_end + PAGE, 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_SET one page over the middle: input error");
	check_eq(call(RSI_IPA_STATE_SET, a, ~0UL << 12, 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_SET to the end of all addresses: input error");
	check_eq(rd64(a), 0x1122334455667788, "an error changes no memory");

	rsi(r, RSI_IPA_STATE_SET, par_end - PAGE, par_end, 0, 0);
	check(r[0] == RSI_SUCCESS && r[1] == par_end && r[2] == 0,
	      "IPA_STATE_SET: the last page of the lower half to EMPTY, which it is");
	rsi(r, RSI_IPA_STATE_SET, a, a + PAGE, RIPAS_RAM, 0);
	check(r[0] == RSI_SUCCESS && r[1] == a + PAGE && r[2] == 0 && rd64(a) == 0x1122334455667788,
	      "IPA_STATE_SET: RAM to RAM keeps the contents");
	rsi(r, RSI_IPA_STATE_SET, a, a + PAGE, RIPAS_RAM, 1);
	check(r[0] == RSI_SUCCESS && r[1] == a + PAGE && r[2] == 0,
	      "IPA_STATE_SET with the flag for DESTROYED");
	rsi(r, RSI_IPA_STATE_SET, a, a + PAGE, RIPAS_EMPTY, 0);
	check(r[0] == RSI_SUCCESS && r[1] == a + PAGE && r[2] == 0 && r[3] == 0,
	      "IPA_STATE_SET: RAM to EMPTY");
	rsi(r, RSI_IPA_STATE_SET, a, a + PAGE, RIPAS_RAM, 0);
	check(r[0] == RSI_SUCCESS && r[1] == a + PAGE && r[2] == 0, "IPA_STATE_SET: EMPTY to RAM");

	/* Where nothing stands there is no memory to give: refused, or only RIPAS changes. */
	rsi(r, RSI_IPA_STATE_SET, HOLE, HOLE + PAGE, RIPAS_RAM, 0);
	check(r[0] == RSI_SUCCESS &&
	      ((r[2] == 1 && r[1] == HOLE) || (r[2] == 0 && r[1] == HOLE + PAGE)),
	      "IPA_STATE_SET: a hole to RAM is rejected or done, not half of it");
	call(RSI_IPA_STATE_SET, HOLE, HOLE + PAGE, RIPAS_EMPTY, 0);
}

static void test_ripas_get(void)
{
	u64 a = (u64)page_c, r[18];

	check_eq(call(RSI_IPA_STATE_GET, a + 1, a + PAGE, 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_GET, start not aligned: input error");
	check_eq(call(RSI_IPA_STATE_GET, a, a + PAGE + 8, 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_GET, end not aligned: input error");
	check_eq(call(RSI_IPA_STATE_GET, a, a, 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_GET of nothing: input error");
	check_eq(call(RSI_IPA_STATE_GET, a + PAGE, a, 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_GET, end below start: input error");
	check_eq(call(RSI_IPA_STATE_GET, a, 0, 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_GET, end 0: input error");
	check_eq(call(RSI_IPA_STATE_GET, io(a), io(a) + PAGE, 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_GET at the alias: input error");
	check_eq(call(RSI_IPA_STATE_GET, par_end, par_end + PAGE, 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_GET at the shared bit itself: input error");
	check_eq(call(RSI_IPA_STATE_GET, par_end - PAGE, par_end + PAGE, 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_GET one page over the middle: input error");
	check_eq(call(RSI_IPA_STATE_GET, a, ~0UL << 12, 0, 0), RSI_ERROR_INPUT,
		 "IPA_STATE_GET to the end of all addresses: input error");
	rsi(r, RSI_IPA_STATE_GET, par_end - PAGE, par_end, 0, 0);
	check(r[0] == RSI_SUCCESS && r[1] == par_end && r[2] == RIPAS_EMPTY,
	      "IPA_STATE_GET: the last page of the lower half");
	rsi(r, RSI_IPA_STATE_GET, a, a + PAGE, 0, 0);
	check(r[0] == RSI_SUCCESS && r[1] == a + PAGE && r[2] == RIPAS_RAM && r[3] == 0,
	      "IPA_STATE_GET of one page: top is its end, RAM");
	rsi(r, RSI_IPA_STATE_GET, 0, PAGE, 0, 0);
	check(r[0] == RSI_SUCCESS && r[1] == PAGE && r[2] == RIPAS_EMPTY,
	      "IPA_STATE_GET of page 0: EMPTY");
}

static void test_host_call(void)
{
	volatile u64 *w = (volatile u64 *)page_a;
	u64 a = (u64)page_a, r[18];
	bool same = true;

	memset(page_a, 0x66, PAGE);
	check_eq(call(RSI_HOST_CALL, a + 8, 0, 0, 0), RSI_ERROR_INPUT,
		 "HOST_CALL, not aligned (8): input error");
	check_eq(call(RSI_HOST_CALL, a + 0x80, 0, 0, 0), RSI_ERROR_INPUT,
		 "HOST_CALL, not aligned (0x80): input error");
	check_eq(call(RSI_HOST_CALL, a + PAGE - 8, 0, 0, 0), RSI_ERROR_INPUT,
		 "HOST_CALL across two pages: input error");
	check_eq(call(RSI_HOST_CALL, io(a), 0, 0, 0), RSI_ERROR_INPUT,
		 "HOST_CALL at the alias: input error");
	check_eq(call(RSI_HOST_CALL, ~0xffUL, 0, 0, 0), RSI_ERROR_INPUT,
		 "HOST_CALL at the end of all addresses: input error");
	check_eq(call(RSI_HOST_CALL, UART0, 0, 0, 0), RSI_ERROR_INPUT,
		 "HOST_CALL in a device's page: input error");
	check_eq(call(RSI_HOST_CALL, par_end, 0, 0, 0), RSI_ERROR_INPUT,
		 "HOST_CALL at the shared bit itself: input error");
	check_eq(call(RSI_HOST_CALL, guest.ram_base + guest.ram_size, 0, 0, 0), RSI_ERROR_INPUT,
		 "HOST_CALL behind RAM: input error");
	check(page_a[0] == 0x66 && page_a[0x80] == 0x66 && page_a[PAGE - 1] == 0x66,
	      "an error writes nothing");

	memset(page_a, 0x66, PAGE);
	w[32] = 7;			/* imm of the structure at 0x100 */
	w[33] = 0x8600ff7f;		/* gprs[0]: a function nobody has */
	rsi(r, RSI_HOST_CALL, a + 0x100, 0x1111, 0x2222, 0x3333);
	check_eq(r[0], RSI_SUCCESS, "HOST_CALL: success");
	check(r[1] == a + 0x100 && r[2] == 0x1111 && r[3] == 0x2222 && r[4] == 0x3333,
	      "HOST_CALL changes x0 alone");
	check_eq(w[33], NOT_SUPPORTED, "HOST_CALL: the host knows no such function");
	for (unsigned int i = 0; i < PAGE; i++)
		if (i < 0x100 || i >= 0x200)
			same &= page_a[i] == 0x66;
	check(same && w[32] == 7, "HOST_CALL writes nothing but the registers");
	share(page_a, PAGE);
	check_eq(call(RSI_HOST_CALL, a, 0, 0, 0), RSI_ERROR_INPUT,
		 "HOST_CALL in an EMPTY page: input error");
	ripas_set(a, a + PAGE, RIPAS_RAM);
}

/* Planes came with 1.1; there are none but the realm itself. */
static void test_planes(void)
{
	static const u64 fn[] = {
		0xc40001a0,	/* MEM_GET_PERM_VALUE */
		0xc40001a1,	/* MEM_SET_PERM_INDEX */
		0xc40001a2,	/* MEM_SET_PERM_VALUE */
		0xc40001a3,	/* PLANE_ENTER */
		0xc40001ae,	/* PLANE_SYSREG_READ */
		0xc40001af,	/* PLANE_SYSREG_WRITE */
	};
	u64 r[18], want;

	rsi(r, RSI_VERSION, 0x10000, 0, 0, 0);
	want = r[2] >= 0x10001 ? RSI_ERROR_INPUT : NOT_SUPPORTED;
	for (unsigned int i = 0; i < ARRAY_LEN(fn); i++) {
		bool ok = true;

		for (u64 a = 0; a < 3; a++) {
			rsi(r, fn[i], a, (u64)page_a, (u64)page_a, 0);
			ok &= r[0] == want && r[1] == 0 && r[2] == 0 && r[3] == 0;
		}
		if (!check(ok, "function 0x%lx: no such plane, or no such function", fn[i]))
			print("# x0 0x%lx\n", r[0]);
	}
}

static u8 token[4 * PAGE];

/* INIT with a challenge of 64 times this byte. Return: the upper bound of the size, 0: an error */
static u64 token_init(u64 byte)
{
	u64 r[18] = { RSI_TOKEN_INIT };

	for (unsigned int i = 1; i <= 8; i++)
		r[i] = byte * 0x0101010101010101;
	call_smc(r);
	return r[0] == RSI_SUCCESS ? r[1] : 0;
}

/*
 * Fetch up to @max bytes, @size at most at a time and to offset @off of a page. A piece may be
 * empty: the monitor was interrupted. @last: the last status
 */
static u64 token_fetch(u64 max, u64 off, u64 size, u64 *last, bool *outside)
{
	u64 total = 0, r[18];

	do {
		u64 want = max - total < size ? max - total : size;

		memset(page_b, 0xee, PAGE);
		rsi(r, RSI_TOKEN_CONTINUE, (u64)page_b, off, want, 0);
		if ((r[0] != RSI_INCOMPLETE && r[0] != RSI_SUCCESS) || r[1] > want)
			break;
		for (u64 i = 0; i < PAGE; i++)
			if (i < off || i >= off + r[1])
				*outside |= page_b[i] != 0xee;
		memcpy(token + total, page_b + off, r[1]);
		total += r[1];
	} while (r[0] == RSI_INCOMPLETE && total < max);
	*last = r[0];
	return total;
}

static bool token_has(u64 len, u8 byte)
{
	u64 n = 0;

	for (u64 i = 0; i < len && n < 64; i++)
		n = token[i] == byte ? n + 1 : 0;
	return n == 64;
}

static void test_token(void)
{
	u64 a = (u64)page_a, bound, len, last, r[18];
	bool outside = false;

	check_eq(call(RSI_TOKEN_CONTINUE, a + 8, 0, 64, 0), RSI_ERROR_INPUT,
		 "ATTESTATION_TOKEN_CONTINUE, not aligned: input error");
	check_eq(call(RSI_TOKEN_CONTINUE, a, PAGE, 0, 0), RSI_ERROR_INPUT,
		 "ATTESTATION_TOKEN_CONTINUE, offset 4096: input error");
	check_eq(call(RSI_TOKEN_CONTINUE, a, 8, PAGE, 0), RSI_ERROR_INPUT,
		 "ATTESTATION_TOKEN_CONTINUE, end behind the page: input error");
	check_eq(call(RSI_TOKEN_CONTINUE, a, 8, ~0UL, 0), RSI_ERROR_INPUT,
		 "ATTESTATION_TOKEN_CONTINUE, size wraps: input error");
	check_eq(call(RSI_TOKEN_CONTINUE, io(a), 0, PAGE, 0), RSI_ERROR_INPUT,
		 "ATTESTATION_TOKEN_CONTINUE at the alias: input error");
	check_eq(call(RSI_TOKEN_CONTINUE, par_end, 0, PAGE, 0), RSI_ERROR_INPUT,
		 "ATTESTATION_TOKEN_CONTINUE at the shared bit itself: input error");
	check_eq(call(RSI_TOKEN_CONTINUE, ~0UL << 12, 0, PAGE, 0), RSI_ERROR_INPUT,
		 "ATTESTATION_TOKEN_CONTINUE at 2^64-4096: input error");
	check_eq(call(RSI_TOKEN_CONTINUE, a, 0, PAGE, 0), RSI_ERROR_STATE,
		 "ATTESTATION_TOKEN_CONTINUE without INIT: state error");
	bound = token_init(0x5a);
	check(bound >= 64 && bound <= sizeof(token),
	      "ATTESTATION_TOKEN_INIT: success, an upper bound");
	ripas_set(a, a + PAGE, RIPAS_EMPTY);
	/* a monitor that signs step by step has no need of the page yet */
	do
		rsi(r, RSI_TOKEN_CONTINUE, a, 0, 64, 0);
	while (r[0] == RSI_INCOMPLETE && r[1] == 0);
	check_eq(r[0], RSI_ERROR_INPUT, "ATTESTATION_TOKEN_CONTINUE to an EMPTY page: input error");
	ripas_set(a, a + PAGE, RIPAS_RAM);
	check_eq(call(RSI_TOKEN_CONTINUE, a, 0, 0, 0), RSI_INCOMPLETE,
		 "ATTESTATION_TOKEN_CONTINUE of nothing: incomplete");
	len = token_fetch(sizeof(token), 4000, 96, &last, &outside);
	check(last == RSI_SUCCESS && len > 64 && len <= bound,
	      "ATTESTATION_TOKEN_CONTINUE in pieces: a token within the bound");
	check(!outside, "ATTESTATION_TOKEN_CONTINUE writes these pieces and no more");
	/* CBOR tag 907, or 399 of older ones */
	check(token[0] == 0xd9 && ((token[1] == 3 && token[2] == 0x8b) ||
				   (token[1] == 1 && token[2] == 0x8f)), "a CCA token begins with its tag");
	check(token_has(len, 0x5a), "the challenge is in the token");
	check_eq(call(RSI_TOKEN_CONTINUE, a, 0, PAGE, 0), RSI_ERROR_STATE,
		 "ATTESTATION_TOKEN_CONTINUE behind the end: state error");
	token_init(0x61);
	check_eq(token_fetch(100, 0, 100, &last, &outside), 100, "the begin of a token");
	token_init(0x62);
	len = token_fetch(sizeof(token), 0, PAGE, &last, &outside);
	check(last == RSI_SUCCESS && token_has(len, 0x62) && !token_has(len, 0x61),
	      "ATTESTATION_TOKEN_INIT again begins another");
}

static void test_unknown(void)
{
	static const u64 fn[] = {
		0xc40001bf,	/* RSI's range, not in 1.0 */
		0xc400018f,	/* just below it */
		0xc4000150,	/* an RMI call */
		0x84000190,	/* SMC32 of RSI_VERSION */
		0x8600ff01,	/* hypervisor UID */
		0x86000000, 0xc5000020, /* stolen time */
		0xc5000040, 0x84000050, /* TRNG */
		0xbf00ff01,	/* trusted OS */
		0xc3000000, 0,
	};
	u64 r[18];

	for (unsigned int i = 0; i < ARRAY_LEN(fn); i++) {
		rsi(r, fn[i], 0, 0, 0, 0);
		/* a 32-bit call's result is a 32-bit value; the upper half may be anything */
		check((u32)r[0] == (u32)NOT_SUPPORTED, "function 0x%lx: not supported", fn[i]);
		if ((u32)r[0] != (u32)NOT_SUPPORTED)
			print("# x0 0x%lx\n", r[0]);
	}
	check(call(SMCCC_VERSION, 0, 0, 0, 0) >= 0x10001, "SMCCC_VERSION: at least 1.1");
}

void guest_main(void)
{
	if (!guest.realm) {
		skip("not a realm");
		return;
	}
	par_end = guest.shared;
	test_version();
	test_features();
	test_registers();
	test_measurements();
	test_config();
	test_ripas_set();
	test_ripas_get();
	test_host_call();
	test_planes();
	test_token();
	test_unknown();
}
