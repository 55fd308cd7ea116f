/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest's RAM in cells, put together from many small answers: for stat and metrics. */
#ifndef VMM_CTL_MAP_H
#define VMM_CTL_MAP_H

#include "vmm/ctl_client.h"

/**
 * struct ctl_cell - a piece of RAM, in granules of 4 KiB
 * @private: of the realm
 * @backed:  the host has memory for them where devices see them
 * @twice:   both: private, and still backed on the shared side
 * @total:   all of them
 */
struct ctl_cell {
	uint64_t private, backed, twice, total;
};

/**
 * struct ctl_map - RAM
 * @size:  bytes in a cell, the last may be shorter
 * @known: the host tells what is backed
 * @sum:   of all cells
 */
struct ctl_map {
	ipa_t base;
	uint64_t size;
	unsigned int nr;
	bool known;
	struct ctl_cell *cell, sum;
};

/**
 * ctl_map_get() - look at all of a guest's RAM
 * @base, @bytes: of RAM
 * @cells: about so many are wanted
 *
 * The guest runs meanwhile. Return: 0, then ctl_map_free(), or a negative errno.
 */
int ctl_map_get(struct ctl_conn *c, ipa_t base, uint64_t bytes, unsigned int cells,
		struct ctl_map *out, struct err *e);
void ctl_map_free(struct ctl_map *m);

#endif
