// SPDX-License-Identifier: BSD-3-Clause
/*
 * Accesses that a realm does not survive unprepared. bootargs: strict (--emulated-strict: an EMPTY
 * page aborts), separate (without strict reads of it give zeros; without separate, where one memory
 * stands behind both sides, what is shared), sign (the host's KVM extends the sign of what is
 * loaded: 7.3 does, 6.12 does not, with other VMMs neither).
 */
#include "guest.h"

static u8 pages[2 * PAGE] page_aligned;

static void expect_sea_read(u64 a, const char *what)
{
	trap_arm();
	(void)rd32(a);
	trap_end();
	check(trap_is_sea(a), "read %s: external abort", what);
}

static void expect_sea_write(u64 a, const char *what)
{
	trap_arm();
	wr32(a, 0);
	trap_end();
	check(trap_is_sea(a), "write %s: external abort", what);
}

static bool fetch_aborts(u64 a)
{
	trap_arm();
	((void (*)(void))a)();
	trap_end();
	if (this_cpu()->traps == 1 && esr_ec(this_cpu()->esr) == EC_IABT &&
	    (this_cpu()->esr & 0x3f) == FSC_EXTERNAL)
		return true;
	print("# traps %u ESR 0x%lx\n", this_cpu()->traps, this_cpu()->esr);
	return false;
}

/* Forms of load and store for which the CPU gives no syndrome. */
static void test_no_syndrome(void)
{
	u64 a = io(UART0), b;

	trap_arm();
	__asm__ volatile("ldp w8, w9, [%0]" : : "r"(a) : "x8", "x9", "memory");
	trap_end();
	check(trap_is_sea(a), "LDP on a device: external abort");
	trap_arm();
	__asm__ volatile("stp wzr, wzr, [%0]" : : "r"(a) : "memory");
	trap_end();
	check(trap_is_sea(a), "STP on a device: external abort");
	b = a;
	trap_arm();
	__asm__ volatile("ldr w8, [%0], #4" : "+r"(b) : : "x8", "memory");
	trap_end();
	check(trap_is_sea(a), "post-indexed LDR on a device: external abort");
}

/* What the monitor and the host have to get right in an access that does work. */
static void test_widths(void)
{
	u64 scr = io(UART0) + 7, v = 0x1111111111111111;

	wr8(scr, 0x85);
	__asm__ volatile("ldrsb %0, [%1]" : "+r"(v) : "r"(scr) : "memory");
	if (arg_has("sign"))
		check_eq(v, 0xffffffffffffff85, "LDRSB X: sign extended to 64 bits");
	else
		check_eq(v & 0xff, 0x85, "LDRSB X: the byte");
	v = 0x1111111111111111;
	__asm__ volatile("ldrsb %w0, [%1]" : "+r"(v) : "r"(scr) : "memory");
	if (arg_has("sign"))
		check_eq(v, 0xffffff85, "LDRSB W: sign extended to 32 bits, the rest zero");
	else
		check_eq(v & ~0xffffff00UL, 0x85, "LDRSB W: the byte, the upper half zero");
	v = 0x1111111111111111;
	__asm__ volatile("ldrb %w0, [%1]" : "+r"(v) : "r"(scr) : "memory");
	check_eq(v, 0x85, "LDRB: zero extended");
	__asm__ volatile("ldrb wzr, [%0]" : : "r"(scr) : "memory");
	check(true, "LDRB to WZR");
	__asm__ volatile("strb wzr, [%0]" : : "r"(scr) : "memory");
	check_eq(rd8(scr), 0, "STRB of WZR writes zero");
}

static void test_empty(void)
{
	u64 p = (u64)pages, alias;
	bool zero = true;

	for (u64 i = 0; i < 2 * PAGE; i += 8)
		wr64(p + i, 0xabababababababab);
	alias = share(pages, PAGE);
	wr64(alias, 0xcdcdcdcdcdcdcdcd);
	if (arg_has("strict")) {
		expect_sea_read(p, "an EMPTY page");
		expect_sea_write(p + PAGE - 4, "an EMPTY page");
		check(fetch_aborts(p), "fetch from an EMPTY page: external abort");
	} else {
		trap_arm();
		for (u64 i = 0; i < PAGE; i += 8)
			zero &= rd64(p + i) == 0;
		trap_end();
		if (arg_has("separate"))
			check(this_cpu()->traps == 0 && zero, "read an EMPTY page: zeros");
		else
			check(this_cpu()->traps == 0, "read an EMPTY page: no abort");
		skip("write an EMPTY page: only with --emulated-strict");
		skip("fetch from an EMPTY page: only with --emulated-strict");
	}
	check_eq(rd64(p + PAGE), 0xabababababababab, "the next page is untouched");
	check_eq(rd64(alias), 0xcdcdcdcdcdcdcdcd, "the alias is untouched");
	ripas_set(p, p + PAGE, RIPAS_RAM);
	trap_arm();
	wr64(p, 1);
	check(rd64(p) == 1 && trap_end() == 0, "made RAM again it works as before");
}

void guest_main(void)
{
	u64 end = guest.ram_base + guest.ram_size;

	if (!guest.realm) {
		test_widths();
		return;
	}
	expect_sea_read(UART0, "the UART without the shared bit");
	expect_sea_write(UART0, "the UART without the shared bit");
	expect_sea_read(GICD, "the GIC without the shared bit");
	expect_sea_read(VIRTIO0, "virtio-mmio without the shared bit");
	expect_sea_read(HOLE, "a hole of the lower half");
	expect_sea_read(io(HOLE), "a hole of the shared half");
	expect_sea_write(io(HOLE), "a hole of the shared half");
	expect_sea_read(end, "behind RAM");
	expect_sea_read(io(end), "behind the alias of RAM");
	check(fetch_aborts(UART0), "fetch from a device: external abort");
	check(fetch_aborts(io(UART0)), "fetch from a device's alias: external abort");
	test_no_syndrome();
	test_widths();
	trap_arm();
	(void)rd32(guest.shared << 1);
	check(trap_end() == 1 && esr_ec(this_cpu()->esr) == EC_DABT,
	      "read beyond the IPA space: abort");
	test_empty();
}
