// SPDX-License-Identifier: BSD-3-Clause
/*
 * The two sides of a page. bootargs: separate (private and shared contents differ, as on CCA;
 * without it one memory stands behind both, and what follows from that is not checked).
 */
#include "guest.h"

static u8 pages[8 * PAGE] page_aligned;
extern char _start[];

/* All of [base, top) has this state, however many calls it takes to find out. */
static bool all_are(u64 base, u64 top, u64 ripas)
{
	u64 r[18];

	while (base < top) {
		rsi(r, RSI_IPA_STATE_GET, base, top, 0, 0);
		if (r[0] != RSI_SUCCESS || r[2] != ripas || r[1] <= base || r[1] > top) {
			print("# at 0x%lx: status %lu top 0x%lx RIPAS %lu\n", base, r[0], r[1], r[2]);
			return false;
		}
		base = r[1];
	}
	return true;
}

static bool filled(u64 a, u64 len, u64 v)
{
	for (u64 i = 0; i < len; i += 8)
		if (rd64(a + i) != v) {
			print("# at 0x%lx + 0x%lx: 0x%lx, want 0x%lx\n", a, i, rd64(a + i), v);
			return false;
		}
	return true;
}

static void fill(u64 a, u64 len, u64 v)
{
	for (u64 i = 0; i < len; i += 8)
		wr64(a + i, v);
}

void guest_main(void)
{
	u64 end = guest.ram_base + guest.ram_size, p = (u64)pages, last = end - PAGE, r[18], block;

	if (!guest.realm) {
		skip("not a realm");
		return;
	}
	check(all_are(guest.ram_base, end, RIPAS_RAM), "all RAM is RAM at entry");
	check(all_are(0, guest.ram_base, RIPAS_EMPTY), "all below RAM is EMPTY");
	check(end == guest.shared || all_are(end, guest.shared, RIPAS_EMPTY),
	      "all behind RAM up to the shared bit is EMPTY");

	/* one page and its neighbours */
	fill(p, 3 * PAGE, 0x1111111111111111);
	check_eq(ripas_set(p + PAGE, p + 2 * PAGE, RIPAS_EMPTY), 0, "a page is given back");
	check(all_are(p, p + PAGE, RIPAS_RAM) && all_are(p + PAGE, p + 2 * PAGE, RIPAS_EMPTY) &&
	      all_are(p + 2 * PAGE, p + 3 * PAGE, RIPAS_RAM), "it is EMPTY, its neighbours are RAM");
	rsi(r, RSI_IPA_STATE_GET, p, p + 3 * PAGE, 0, 0);
	check(r[0] == RSI_SUCCESS && r[1] == p + PAGE && r[2] == RIPAS_RAM,
	      "IPA_STATE_GET stops where the state changes");
	check(filled(p, PAGE, 0x1111111111111111) && filled(p + 2 * PAGE, PAGE, 0x1111111111111111),
	      "the neighbours keep their contents");
	fill(io(p + PAGE), PAGE, 0x2222222222222222);
	check(filled(io(p + PAGE), PAGE, 0x2222222222222222), "its alias can be written and read");
	check(filled(p, PAGE, 0x1111111111111111) && filled(p + 2 * PAGE, PAGE, 0x1111111111111111),
	      "the neighbours do not notice");
	check_eq(ripas_set(p + PAGE, p + 2 * PAGE, RIPAS_RAM), 0, "it is taken again");
	check(all_are(p, p + 3 * PAGE, RIPAS_RAM), "all three are RAM");
	check(filled(p + PAGE, PAGE, 0), "neither the old nor the shared contents are in it");
	fill(p + PAGE, PAGE, 0x3333333333333333);
	check(filled(p + PAGE, PAGE, 0x3333333333333333), "it can be written and read");
	if (arg_has("separate")) {
		fill(p + PAGE, PAGE, 0x4444444444444444);
		check(!filled(io(p + PAGE), 8, 0x4444444444444444),
		      "what is written to a private page is not at the alias");
		wr64(io(p + PAGE), 0x5555555555555555);
		check(filled(p + PAGE, PAGE, 0x4444444444444444),
		      "what is written at the alias is not in the private page");
	} else {
		skip("one memory stands behind both sides");
		skip("one memory stands behind both sides");
	}

	/* RAM to RAM, EMPTY to EMPTY */
	fill(p, 4 * PAGE, 0x6666666666666666);
	check(ripas_set(p, p + 4 * PAGE, RIPAS_RAM) == 0 && filled(p, 4 * PAGE, 0x6666666666666666),
	      "RAM to RAM keeps the contents");
	check(ripas_set(p, p + 2 * PAGE, RIPAS_EMPTY) == 0, "two pages are given back");
	fill(io(p), 2 * PAGE, 0x7777777777777777);
	check(ripas_set(p, p + 2 * PAGE, RIPAS_EMPTY) == 0 &&
	      filled(io(p), 2 * PAGE, 0x7777777777777777),
	      "EMPTY to EMPTY keeps the shared contents");
	/* a range of both states: what was RAM keeps its contents */
	check(ripas_set(p, p + 4 * PAGE, RIPAS_RAM) == 0 && filled(p, 2 * PAGE, 0) &&
	      filled(p + 2 * PAGE, 2 * PAGE, 0x6666666666666666),
	      "a mixed range to RAM: only what was EMPTY is fresh");

	/* every page on its own, forth and back, in an order that splits and joins */
	for (unsigned int i = 0; i < 8; i++)
		ripas_set(p + (i * 5 % 8) * PAGE, p + (i * 5 % 8 + 1) * PAGE, RIPAS_EMPTY);
	check(all_are(p, p + 8 * PAGE, RIPAS_EMPTY), "eight pages given back one by one");
	for (unsigned int i = 0; i < 8; i += 2)
		ripas_set(p + i * PAGE, p + (i + 1) * PAGE, RIPAS_RAM);
	rsi(r, RSI_IPA_STATE_GET, p, p + 8 * PAGE, 0, 0);
	check(r[1] == p + PAGE && r[2] == RIPAS_RAM, "a checkerboard of states");
	check(all_are(p + PAGE, p + 2 * PAGE, RIPAS_EMPTY), "each page has its own");
	ripas_set(p, p + 8 * PAGE, RIPAS_RAM);
	check(all_are(p, p + 8 * PAGE, RIPAS_RAM), "and all are RAM again");

	/* edges of RAM */
	fill(last, PAGE, 0x8888888888888888);
	check(ripas_set(last, end, RIPAS_EMPTY) == 0 && all_are(last, end, RIPAS_EMPTY),
	      "the last page of RAM is given back");
	wr64(io(end - 8), 0x9999999999999999);
	check_eq(rd64(io(end - 8)), 0x9999999999999999, "its last word is there at the alias");
	check(ripas_set(last, end, RIPAS_RAM) == 0 && filled(last, PAGE, 0), "and is taken again");

	/* 2 MiB at once, where neither the payload nor the devicetree is */
	block = (guest.ram_base + guest.ram_size / 2) & ~0x1fffffUL;
	wr64(block, 1);
	wr64(block + 0x1ffff8, 1);
	check(ripas_set(block, block + 0x200000, RIPAS_EMPTY) == 0 &&
	      all_are(block, block + 0x200000, RIPAS_EMPTY), "2 MiB are given back");
	wr64(io(block), 2);
	wr64(io(block + 0x1ffff8), 2);
	check(rd64(io(block)) == 2 && rd64(io(block + 0x1ffff8)) == 2, "both ends at the alias");
	check(ripas_set(block, block + 0x200000, RIPAS_RAM) == 0 && rd64(block) == 0 &&
	      rd64(block + 0x1ffff8) == 0, "and are taken again, fresh");
}
