// SPDX-License-Identifier: BSD-3-Clause
/*
 * A guest that never asks for a page: it runs on what it was given. In a realm, what the monitor
 * says is RAM must be, and what it says is EMPTY is not touched. bootargs: part (not all of RAM was
 * given; as Image, which says how much it needs behind its end).
 */
#include "guest.h"

extern char _image[], _end[];

#define MAX_PIECES	64

static struct piece {
	u64 base, top;
} piece[MAX_PIECES];
static unsigned int nr_pieces;

static bool given(u64 base, u64 top)
{
	for (unsigned int i = 0; i < nr_pieces; i++)
		if (base >= piece[i].base && top <= piece[i].top)
			return true;
	return false;
}

/* What is RAM, in the monitor's words; neighbours joined */
static bool ask(void)
{
	u64 at = guest.ram_base, end = at + guest.ram_size, r[18];

	while (at < end) {
		rsi(r, RSI_IPA_STATE_GET, at, end, 0, 0);
		if (r[0] != RSI_SUCCESS || r[1] <= at || r[1] > end || r[2] > RIPAS_RAM)
			return false;
		if (r[2] == RIPAS_RAM && nr_pieces && piece[nr_pieces - 1].top == at) {
			piece[nr_pieces - 1].top = r[1];
		} else if (r[2] == RIPAS_RAM) {
			if (nr_pieces == MAX_PIECES)
				return false;
			piece[nr_pieces++] = (struct piece){ at, r[1] };
		}
		at = r[1];
	}
	return true;
}

/* Not ours: neither this payload nor the devicetree */
static bool is_free(u64 a)
{
	return (a + 8 <= (u64)_image || a >= (u64)_end) &&
	       (a + 8 <= guest.dtb || a >= guest.dtb + 0x10000);
}

static bool holds(u64 a)
{
	if (!is_free(a))
		return true;
	wr64(a, ~a);
	return rd64(a) == ~a;
}

void guest_main(void)
{
	u64 bytes = 0, wrong = 0;

	if (guest.realm) {
		if (!check(ask(), "the monitor says what is RAM"))
			return;
	} else {
		piece[0] = (struct piece){ guest.ram_base, guest.ram_base + guest.ram_size };
		nr_pieces = 1;
	}
	for (unsigned int i = 0; i < nr_pieces; i++)
		bytes += piece[i].top - piece[i].base;
	print("# %lu KiB of %lu KiB in %u pieces\n", bytes >> 10, guest.ram_size >> 10, nr_pieces);
	if (arg_has("part"))
		check(bytes < guest.ram_size, "not all of it was given");
	else
		check_eq(bytes, guest.ram_size, "all of it was given");
	check(given((u64)_image, (u64)_end), "the image was, with what it needs behind its end");
	check(given(guest.dtb, guest.dtb + 0x10000), "the devicetree was");
	for (unsigned int i = 0; i < nr_pieces; i++) {
		u64 step = (piece[i].top - piece[i].base) / 64;

		for (u64 a = piece[i].base; a < piece[i].top; a += step)
			wrong += !holds(a);
		wrong += !holds(piece[i].top - 8);
	}
	check_eq(wrong, 0, "what was given holds what is written to it");
}
