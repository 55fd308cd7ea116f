/* SPDX-License-Identifier: BSD-3-Clause */
/* What cppcheck must know of headers that it does not read; first libfdt.h. */
#define fdt_for_each_subnode(node, fdt, parent)				\
	for (node = fdt_first_subnode(fdt, parent); node >= 0;		\
	     node = fdt_next_subnode(fdt, node))

/* The same of sys/queue.h. */
#define LIST_HEAD(name, type)		struct name { struct type *lh_first; }
#define LIST_ENTRY(type)		struct { struct type *le_next, **le_prev; }
#define LIST_FOREACH(var, head, field)					\
	for (var = (head)->lh_first; var; var = var->field.le_next)
#define TAILQ_HEAD(name, type)		struct name { struct type *tqh_first, **tqh_last; }
#define TAILQ_ENTRY(type)		struct { struct type *tqe_next, **tqe_prev; }
#define TAILQ_FIRST(head)		((head)->tqh_first)
#define TAILQ_NEXT(elm, field)		((elm)->field.tqe_next)
#define TAILQ_EMPTY(head)		(!(head)->tqh_first)
