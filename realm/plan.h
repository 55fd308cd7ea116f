/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The plan: what is in memory when the first vCPU starts, where, and in which registers' state it
 * starts. The loader makes it, a back end carries it out, and the measurement is computed from it,
 * so that what is predicted and what is launched cannot drift apart.
 */
#ifndef REALM_PLAN_H
#define REALM_PLAN_H

#include "vmm/core/types.h"

struct err;

#define PLAN_MAX_PIECES 8
#define PLAN_MAX_RANGES (PLAN_MAX_PIECES + 16)

/**
 * struct plan_piece - a contiguous part of the initial image
 * @name:    "kernel", "initrd", "dtb", "firmware"
 * @ipa:     canonical, page aligned
 * @len:     bytes of content; the rest of the last page is zero
 * @span:    bytes of guest memory the piece occupies (page multiple, >= len); what is beyond the
 *           content (a kernel's BSS) is not populated but no other piece may lie there
 * @buf:     content in memory, or NULL: then it is read from @fd
 * @fd:      open file, not closed by the plan
 * @fd_off:  where the content begins in it
 * @owned:   free(buf) in plan_clear()
 * @measured: content enters the measurement
 */
struct plan_piece {
	char name[16];
	ipa_t ipa;
	uint64_t len;
	uint64_t span;
	const void *buf;
	int fd;
	uint64_t fd_off;
	const char *path;
	bool owned;
	bool measured;
};

struct plan_range {
	ipa_t base;
	uint64_t size;
};

/**
 * struct plan - the whole of it
 * @ram: ranges that have RIPAS RAM when the realm starts; plan_check() adds the pieces, sorts and
 *       joins. A plain VM does not ask.
 */
struct plan {
	struct plan_piece piece[PLAN_MAX_PIECES];	/* ascending by ipa after plan_check() */
	unsigned int nr;
	struct plan_range ram[PLAN_MAX_RANGES];
	unsigned int nr_ram;
	ipa_t pc;
	uint64_t x[8];
};

/**
 * plan_add() - add a piece (copied)
 * Return: 0, -ENOSPC, -EINVAL (unaligned, empty, wrap).
 */
int plan_add(struct plan *p, const struct plan_piece *piece, struct err *e);

/**
 * plan_ram() - a range shall have RIPAS RAM at the start
 * Return: 0, -ENOSPC, -EINVAL (unaligned, empty, wrap).
 */
int plan_ram(struct plan *p, ipa_t base, uint64_t size, struct err *e);

/**
 * plan_ram_run() - how far what the plan says of @base goes on
 * @ram: set to whether it is RIPAS RAM
 *
 * After plan_check(). Return: end (exclusive, at most @top) of the stretch.
 */
ipa_t plan_ram_run(const struct plan *p, ipa_t base, ipa_t top, bool *ram);

/**
 * plan_check() - sort by IPA and refuse pieces that overlap or leave RAM, and ranges that do
 * @base, @size: RAM
 */
int plan_check(struct plan *p, ipa_t base, uint64_t size, struct err *e);

/**
 * plan_read() - content of a piece, as it will stand in memory
 * @off: byte offset in the piece
 * @dst: @len bytes; beyond the content they are zero
 *
 * Return: 0; -EIO with the file's name (a file that became shorter meanwhile).
 */
int plan_read(const struct plan_piece *piece, uint64_t off, void *dst, uint64_t len,
	      struct err *e);

/** plan_clear() - free owned buffers, forget all pieces */
void plan_clear(struct plan *p);

#endif
