/* SPDX-License-Identifier: BSD-3-Clause */
/* What cppcheck must know of libfdt.h, which it does not read. */
#define fdt_for_each_subnode(node, fdt, parent)				\
	for (node = fdt_first_subnode(fdt, parent); node >= 0;		\
	     node = fdt_next_subnode(fdt, node))
