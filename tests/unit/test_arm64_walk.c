// SPDX-License-Identifier: BSD-3-Clause
/* Stage-1 walks over hand-built tables. The expected addresses are computed here by hand too. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/arm64_walk.h"

#define BASE		0x80000000ull		/* of the memory that holds the tables */
#define SIZE		0x100000ull
#define HIGH		0x000f000080000000ull	/* the same memory once more, with bits 51:48 */

#define SCTLR_M		1ull
#define TABLE		3ull
#define PAGE		3ull
#define BLOCK		1ull
/* TCR_EL1 fields */
#define T0SZ(n)		((uint64_t)(n))
#define T1SZ(n)		((uint64_t)(n) << 16)
#define TG0_4K		(0ull << 14)
#define TG0_64K		(1ull << 14)
#define TG0_16K		(2ull << 14)
#define TG1_16K		(1ull << 30)
#define TG1_4K		(2ull << 30)
#define TG1_64K		(3ull << 30)
#define IPS(n)		((uint64_t)(n) << 32)
#define IPS_48		IPS(5)
#define IPS_52		IPS(6)
#define EPD0		(1ull << 7)
#define EPD1		(1ull << 23)
#define TBI0		(1ull << 37)
#define TBI1		(1ull << 38)
#define DS		(1ull << 59)

/* Attributes that a real descriptor has and the walk must not take for an address. */
#define ATTRS		(0x0060000000000000ull | 0x704)

static uint8_t *mem;
static unsigned int reads;

static int read_mem(void *ctx, ipa_t ipa, void *buf, size_t len)
{
	ipa_t low = ipa >= HIGH ? ipa - HIGH + BASE : ipa;

	(void)ctx;
	reads++;
	assert_true(reads <= 5);
	assert_int_equal(len, 8);
	assert_int_equal(ipa % 8, 0);
	assert_true(ipa < 1ull << 52);
	if (low < BASE || low - BASE > SIZE - len)
		return -ENXIO;
	memcpy(buf, mem + (low - BASE), len);
	return 0;
}

static void put(ipa_t table, unsigned int index, uint64_t desc)
{
	ipa_t low = (table >= HIGH ? table - HIGH + BASE : table) + index * 8ull;
	uint64_t le = htole64(desc);

	assert_true(low >= BASE && low + 8 <= BASE + SIZE);
	memcpy(mem + (low - BASE), &le, 8);
}

static int setup(void **state)
{
	(void)state;
	mem = calloc(1, SIZE);
	return mem ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	free(mem);
	return 0;
}

static int walk(const struct arm64_mmu *m, uint64_t va, ipa_t *ipa, uint64_t *left)
{
	*ipa = *left = 0;
	reads = 0;
	return arm64_walk(m, va, read_mem, NULL, ipa, left);
}

static void expect(const struct arm64_mmu *m, uint64_t va, ipa_t want, uint64_t want_left)
{
	uint64_t left;
	ipa_t ipa;

	assert_int_equal(walk(m, va, &ipa, &left), 0);
	assert_int_equal(ipa, want);
	assert_int_equal(left, want_left);
}

static void expect_error(const struct arm64_mmu *m, uint64_t va, int want)
{
	uint64_t left;
	ipa_t ipa;

	assert_int_equal(walk(m, va, &ipa, &left), want);
}

static void mmu_off(void **state)
{
	struct arm64_mmu m = { .tcr = ~0ull, .ttbr = { ~0ull, ~0ull } };

	(void)state;
	expect(&m, 0, 0, 4096);
	expect(&m, 0x80000fff, 0x80000fff, 1);
	expect(&m, (1ull << 52) - 4, (1ull << 52) - 4, 4);
	expect_error(&m, 1ull << 52, -EFAULT);
	expect_error(&m, ~0ull, -EFAULT);
}

/* 48-bit, 4 KiB: page, 2 MiB block, 1 GiB block, both halves. */
static void granule_4k(void **state)
{
	struct arm64_mmu m = {
		.sctlr = SCTLR_M,
		.tcr = T0SZ(16) | TG0_4K | T1SZ(16) | TG1_4K | IPS_48,
		.ttbr = { BASE | 0xabcull << 48 | 1, BASE + 0x10000 },	/* ASID and CnP set */
	};

	(void)state;
	/* 0x0000_7fff_c020_3000: indices 255, 511, 1, 3 */
	put(BASE, 255, (BASE + 0x1000) | TABLE);
	put(BASE + 0x1000, 511, (BASE + 0x2000) | TABLE);
	put(BASE + 0x2000, 1, (BASE + 0x3000) | TABLE);
	put(BASE + 0x3000, 3, 0x0000123456789000 | ATTRS | PAGE);
	expect(&m, 0x00007fffc0203000, 0x123456789000, 4096);
	assert_int_equal(reads, 4);
	expect(&m, 0x00007fffc0203ffd, 0x123456789ffd, 3);

	/* next to it: 2 MiB block at index 2 */
	put(BASE + 0x2000, 2, 0x0000000085600000 | ATTRS | BLOCK);
	expect(&m, 0x00007fffc0400000, 0x85600000, 2 << 20);
	expect(&m, 0x00007fffc05fffff, 0x857fffff, 1);
	/* bits below a block's size are not part of its address */
	put(BASE + 0x2000, 3, 0x00000000856ff000 | BLOCK);
	expect(&m, 0x00007fffc0600010, 0x85600010, (2 << 20) - 16);

	/* 1 GiB block, upper half: 0xffff_8000_4000_0000, indices 256, 1 */
	put(BASE + 0x10000, 256, (BASE + 0x11000) | TABLE);
	put(BASE + 0x11000, 1, 0x0000000100000000 | ATTRS | BLOCK);
	expect(&m, 0xffff80004abcdef0, 0x10abcdef0, 0x40000000 - 0xabcdef0);
	assert_int_equal(reads, 2);

	/* not there */
	expect_error(&m, 0x00007fffc0204000, -EFAULT);
	expect_error(&m, 0, -EFAULT);
	expect_error(&m, 0xffffffffffffffff, -EFAULT);
	/* level 3 must say page; a block at level 0 is reserved without LPA2 */
	put(BASE + 0x3000, 4, 0x80000000 | BLOCK);
	expect_error(&m, 0x00007fffc0204000, -EFAULT);
	put(BASE, 1, 0x80000000 | BLOCK);
	expect_error(&m, 1ull << 39, -EFAULT);
}

/* 39-bit space starts at level 1, 25-bit space at level 2, 16-bit at level 3. */
static void small_spaces(void **state)
{
	struct arm64_mmu m = { .sctlr = SCTLR_M, .ttbr = { BASE } };

	(void)state;
	m.tcr = T0SZ(25) | TG0_4K | IPS_48;
	put(BASE, 511, 0x8000000000 | BLOCK);
	expect(&m, 0x7fc0000001, 0x8000000001, 0x3fffffff);
	expect_error(&m, 1ull << 39, -EFAULT);

	m.tcr = T0SZ(39) | TG0_4K | IPS_48;
	m.ttbr[0] = BASE + 0x2000;
	put(BASE + 0x2000, 15, 0x90000000 | BLOCK);
	expect(&m, 0x1e00008, 0x90000008, 0x1ffff8);
	assert_int_equal(reads, 1);

	m.tcr = T0SZ(48) | TG0_4K | IPS_48;
	m.ttbr[0] = BASE + 0x3080;	/* 16 entries: aligned to 128 bytes */
	put(BASE + 0x3080, 15, 0x91000000 | PAGE);
	expect(&m, 0xf123, 0x91000123, 0xedd);
	expect_error(&m, 0x10000, -EFAULT);
}

static void granule_16k(void **state)
{
	struct arm64_mmu m = {
		.sctlr = SCTLR_M,
		.tcr = T0SZ(17) | TG0_16K | T1SZ(16) | TG1_16K | IPS_48,
		.ttbr = { BASE, BASE + 0x40000 },
	};

	(void)state;
	/* 47 bits start at level 1: indices [46:36], [35:25], [24:14] */
	put(BASE, 5, (BASE + 0x4000) | TABLE);
	put(BASE + 0x4000, 7, (BASE + 0x8000) | TABLE);
	put(BASE + 0x8000, 2047, 0xabc000 | ATTRS | PAGE);
	expect(&m, 5ull << 36 | 7ull << 25 | 2047ull << 14 | 0x3ffe, 0xabfffe, 2);
	assert_int_equal(reads, 3);
	put(BASE + 0x4000, 8, 0x86000000 | BLOCK);	/* 32 MiB */
	expect(&m, 5ull << 36 | 8ull << 25 | 0x1234567, 0x87234567, 0x2000000 - 0x1234567);
	/* no block at level 1 without LPA2 */
	put(BASE, 6, 0x1000000000 | BLOCK);
	expect_error(&m, 6ull << 36, -EFAULT);

	/* 48 bits start at level 0 with a single index bit */
	put(BASE + 0x40000, 1, (BASE + 0x44000) | TABLE);
	put(BASE + 0x44000, 0, (BASE + 0x48000) | TABLE);
	put(BASE + 0x48000, 1, 0x8a000000 | BLOCK);
	expect(&m, 0xffff800002000010, 0x8a000010, 0x2000000 - 0x10);
	assert_int_equal(reads, 3);
}

static void granule_64k(void **state)
{
	struct arm64_mmu m = {
		.sctlr = SCTLR_M,
		.tcr = T0SZ(16) | TG0_64K | T1SZ(22) | TG1_64K | IPS_48,
		.ttbr = { BASE, BASE + 0x40000 },
	};

	(void)state;
	/* 48 bits: level 1 [47:42], level 2 [41:29], level 3 [28:16] */
	put(BASE, 63, (BASE + 0x10000) | TABLE);
	put(BASE + 0x10000, 8191, (BASE + 0x20000) | TABLE);
	put(BASE + 0x20000, 1, 0xffee0000 | ATTRS | PAGE);
	expect(&m, 0x0000ffffe0010001, 0xffee0001, 0xffff);
	assert_int_equal(reads, 3);
	/* without 52-bit addresses bits 15:12 are none of the address */
	put(BASE + 0x20000, 2, 0xffee0000 | 0xf000 | PAGE);
	expect(&m, 0x0000ffffe0020000, 0xffee0000, 0x10000);
	/* 42 bits start at level 2: 512 MiB block */
	put(BASE + 0x40000, 8191, 0xa0000000 | BLOCK);
	expect(&m, 0xffffffffe0000000, 0xa0000000, 0x20000000);
	assert_int_equal(reads, 1);
	/* no block at level 1 with 48-bit addresses */
	put(BASE, 1, 0x40000000000 | BLOCK);
	expect_error(&m, 1ull << 42, -EFAULT);
}

/* 64 KiB pages with 52-bit input and output: bits 51:48 travel in 15:12 and in TTBR[5:2]. */
static void granule_64k_lpa(void **state)
{
	struct arm64_mmu m = {
		.sctlr = SCTLR_M,
		.tcr = T0SZ(12) | TG0_64K | IPS_52,
		.ttbr = { BASE | 0xf << 2 },		/* HIGH */
	};

	(void)state;
	put(HIGH, 1023, (BASE + 0x10000) | 0xf000 | TABLE);
	put(HIGH + 0x10000, 0, (BASE + 0x20000) | TABLE);
	put(BASE + 0x20000, 0, 0xc0000000 | 0x5000 | ATTRS | PAGE);
	expect(&m, 0x000ffc0000000042, 0x50000c0000042, 0xffbe);
	assert_int_equal(reads, 3);
	put(HIGH, 2, 0x40000000000 | 0x1000 | BLOCK);	/* 4 TiB */
	expect(&m, 0x80000000001, 0x1040000000001, 0x3ffffffffff);
}

/* 4 KiB and 16 KiB pages with FEAT_LPA2: bits 51:50 in 9:8, 49:48 in place. */
static void lpa2(void **state)
{
	struct arm64_mmu m = {
		.sctlr = SCTLR_M,
		.tcr = T0SZ(12) | TG0_4K | T1SZ(12) | TG1_16K | IPS_52 | DS,
		.ttbr = { BASE | 0xf << 2, (BASE + 0x40000) | 0xf << 2 },
	};

	(void)state;
	/* level -1: [51:48] */
	put(HIGH, 15, 0x0003000080001000 | 0x300 | TABLE);
	put(HIGH + 0x1000, 1, (BASE + 0x2000) | TABLE);
	put(BASE + 0x2000, 2, (BASE + 0x3000) | TABLE);
	put(BASE + 0x3000, 3, (BASE + 0x4000) | TABLE);
	put(BASE + 0x4000, 4, 0x0002000000abc000 | 0x100 | PAGE);
	expect(&m, 15ull << 48 | 1ull << 39 | 2ull << 30 | 3ull << 21 | 4ull << 12 | 5,
	       0x6000000abc005, 4091);
	assert_int_equal(reads, 5);
	/* 512 GiB block at level 0; none at level -1 */
	put(HIGH + 0x1000, 2, 0x0001000000000000 | 0x200 | BLOCK);
	expect(&m, 15ull << 48 | 2ull << 39 | 7, 0x9000000000007, (1ull << 39) - 7);
	put(HIGH, 3, BLOCK);
	expect_error(&m, 3ull << 48, -EFAULT);

	/* 16 KiB: level 0 [51:47], 64 GiB block at level 1 */
	put(HIGH + 0x40000, 31, (BASE + 0x44000) | TABLE);
	put(BASE + 0x44000, 2047, 0x7000000000 | BLOCK);
	expect(&m, 0xfffffffffffffffe, 0x7ffffffffe, 2);
	assert_int_equal(reads, 2);

	/* the same TTBR without DS: bits 5:2 are no address */
	m.tcr = T0SZ(16) | TG0_4K | IPS_52;
	m.ttbr[0] = BASE + 0x10000 + (0xf << 2);
	put(BASE + 0x10000, 0, (BASE + 0x11000) | TABLE);
	put(BASE + 0x11000, 0, 0xc0000000 | BLOCK);
	expect(&m, 0, 0xc0000000, 1 << 30);
}

static void tags_and_canonical(void **state)
{
	struct arm64_mmu m = {
		.sctlr = SCTLR_M,
		.tcr = T0SZ(25) | TG0_4K | T1SZ(25) | TG1_4K | IPS_48,
		.ttbr = { BASE, BASE + 0x1000 },
	};

	(void)state;
	put(BASE, 0, 0x40000000 | BLOCK);
	put(BASE + 0x1000, 511, 0x80000000 | BLOCK);
	expect(&m, 0x1000, 0x40001000, 0x3ffff000);
	expect(&m, 0xfffffffffffff000, 0xbffff000, 0x1000);
	expect_error(&m, 0xab00000000001000, -EFAULT);
	expect_error(&m, 0xabfffffffffff000, -EFAULT);
	m.tcr |= TBI0;
	expect(&m, 0xab00000000001000, 0x40001000, 0x3ffff000);
	expect_error(&m, 0xabfffffffffff000, -EFAULT);
	m.tcr |= TBI1;
	expect(&m, 0xabfffffffffff000, 0xbffff000, 0x1000);
	/* the tag is 8 bits, no more */
	expect_error(&m, 0xab40000000001000, -EFAULT);
	expect_error(&m, 0xffbffffffffff000, -EFAULT);
	m.tcr |= EPD0;
	expect_error(&m, 0x1000, -EFAULT);
	expect(&m, 0xfffffffffffff000, 0xbffff000, 0x1000);
	m.tcr |= EPD1;
	expect_error(&m, 0xfffffffffffff000, -EFAULT);
	assert_int_equal(reads, 0);
}

static void bad_values(void **state)
{
	struct arm64_mmu m = { .sctlr = SCTLR_M, .ttbr = { BASE, BASE } };

	(void)state;
	m.tcr = T0SZ(16) | 3ull << 14 | IPS_48;		/* TG0 reserved */
	expect_error(&m, 0, -EINVAL);
	assert_int_equal(arm64_granule(&m, 0), 0);
	assert_int_equal(arm64_granule(&m, 1), 0);	/* TG1 0 is reserved too */
	m.tcr = T1SZ(16) | IPS_48;
	expect_error(&m, ~0ull, -EINVAL);
	for (unsigned int tsz = 0; tsz < 64; tsz++) {
		bool ok4k = tsz >= 16 && tsz <= 48, ok64k = tsz >= 12 && tsz <= 47;

		m.tcr = T0SZ(tsz) | TG0_4K | IPS_48;
		expect_error(&m, 0, ok4k ? -EFAULT : -EINVAL);
		m.tcr = T0SZ(tsz) | TG0_64K | IPS_48;
		expect_error(&m, 0, ok64k ? -EFAULT : -EINVAL);
	}
	/* tables and pages beyond IPS; a table that is not in memory */
	m.tcr = T0SZ(25) | TG0_4K | IPS(0);		/* 32 bits */
	put(BASE, 0, 0x100000000 | BLOCK);
	expect_error(&m, 0, -EFAULT);
	put(BASE, 0, 0x100000000 | TABLE);
	expect_error(&m, 0, -EFAULT);
	assert_int_equal(reads, 1);
	put(BASE, 0, 0x40000000 | TABLE);
	expect_error(&m, 0, -ENXIO);
	m.ttbr[0] = 0x100000000;
	expect_error(&m, 0, -EFAULT);
	assert_int_equal(reads, 0);
	/* a table that points to itself ends at level 3 */
	m.tcr = T0SZ(16) | TG0_4K | IPS_48;
	m.ttbr[0] = BASE;
	put(BASE, 0, BASE | TABLE);
	expect(&m, 0x123, BASE + 0x123, 4096 - 0x123);
	assert_int_equal(reads, 4);
}

static void big_endian_tables(void **state)
{
	struct arm64_mmu m = {
		.sctlr = SCTLR_M | 1ull << 25,
		.tcr = T0SZ(25) | TG0_4K | IPS_48,
		.ttbr = { BASE },
	};

	(void)state;
	put(BASE, 0, __builtin_bswap64(0x40000000 | BLOCK));
	expect(&m, 4, 0x40000004, 0x3ffffffc);
}

static uint64_t rnd(void)
{
	static uint64_t x = 88172645463325252ull;	/* xorshift: the same noise each time */

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/* No register or table content may break the walk; the asserts in read_mem() are the test. */
static void noise(void **state)
{
	uint64_t va, left;
	struct arm64_mmu m;
	unsigned int found = 0;
	ipa_t ipa;

	(void)state;
	for (size_t i = 0; i < SIZE / 8; i++) {
		/* mostly tables that lie in this memory */
		uint64_t d = rnd() % 4 ? (BASE + (rnd() % SIZE & ~0xfffull)) | TABLE : rnd();

		put(BASE, (unsigned int)i, d);
	}
	for (int i = 0; i < 200000; i++) {
		m = (struct arm64_mmu){
			.sctlr = rnd() | SCTLR_M, .tcr = rnd(),
			.ttbr = { rnd() % 2 ? BASE : rnd(), rnd() % 2 ? BASE : rnd() },
		};
		m.sctlr &= ~(1ull << 25);
		va = rnd() % 2 ? rnd() : rnd() >> (rnd() % 64);

		if (walk(&m, va, &ipa, &left) == 0) {
			found++;
			assert_true(left >= 1);
			assert_true(ipa + left <= 1ull << 52);
			assert_true(ipa + left > ipa);
		}
	}
	assert_true(found > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(mmu_off, setup, teardown),
		cmocka_unit_test_setup_teardown(granule_4k, setup, teardown),
		cmocka_unit_test_setup_teardown(small_spaces, setup, teardown),
		cmocka_unit_test_setup_teardown(granule_16k, setup, teardown),
		cmocka_unit_test_setup_teardown(granule_64k, setup, teardown),
		cmocka_unit_test_setup_teardown(granule_64k_lpa, setup, teardown),
		cmocka_unit_test_setup_teardown(lpa2, setup, teardown),
		cmocka_unit_test_setup_teardown(tags_and_canonical, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_values, setup, teardown),
		cmocka_unit_test_setup_teardown(big_endian_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(noise, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
