/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A checked writer over libfdt's sequential write functions. The first error sticks: later calls
 * do nothing, and dtw_finish() reports it, so a caller writes a whole tree and checks once.
 */
#ifndef FDT_WRITER_H
#define FDT_WRITER_H

#include "vmm/core/types.h"

/**
 * struct dtw - a devicetree being written
 * @fdt:   the buffer
 * @size:  its bytes
 * @rc:    0 or the first libfdt error (-FDT_ERR_x)
 * @where: property or node that met it, for the message; "" if none
 * @depth: open nodes
 */
struct dtw {
	void *fdt;
	size_t size;
	int rc;
	char where[64];
	unsigned int depth;
};

/** dtw_begin() - start an empty tree in a buffer, whose old contents do not matter */
void dtw_begin(struct dtw *w, void *buf, size_t size);

/** dtw_node() - open a node */
void dtw_node(struct dtw *w, const char *name);
/** dtw_node_at() - open the node "name@unit", the unit address in hex */
void dtw_node_at(struct dtw *w, const char *name, uint64_t unit);
/** dtw_end() - close the innermost open node */
void dtw_end(struct dtw *w);

/** dtw_flag() - an empty property */
void dtw_flag(struct dtw *w, const char *name);
/** dtw_str() - one string */
void dtw_str(struct dtw *w, const char *name, const char *val);
/** dtw_data() - bytes as they are; for string lists, with their inner NULs */
void dtw_data(struct dtw *w, const char *name, const void *val, size_t len);
/** dtw_u32() - one cell */
void dtw_u32(struct dtw *w, const char *name, uint32_t val);
/** dtw_u64() - two cells, the high one first */
void dtw_u64(struct dtw *w, const char *name, uint64_t val);
/** dtw_cells() - an array of cells, host byte order in @val */
void dtw_cells(struct dtw *w, const char *name, const uint32_t *val, size_t nr);
/** dtw_u64s() - an array of pairs of cells; for reg: address, size, address, size, ... */
void dtw_u64s(struct dtw *w, const char *name, const uint64_t *val, size_t nr);

/**
 * dtw_finish() - close the tree
 *
 * The blob is packed and all bytes of the buffer behind it are zero. What libfdt's versions write
 * differently in the header is brought to one value, so the bytes depend on the calls alone.
 *
 * Return: 0 or the first libfdt error of the writer.
 */
int dtw_finish(struct dtw *w);

#endif
