/* SPDX-License-Identifier: BSD-3-Clause */
/* An interrupt line as a device sees it: it can be set, and that is all. */
#ifndef CORE_IRQ_H
#define CORE_IRQ_H

#include "vmm/core/types.h"

/**
 * struct irq_line - a wire to the interrupt controller
 * @set: drive the line; any thread. An edge line is triggered by level 1; 0 is ignored there.
 * @ctx: for @set
 * @spi: shared peripheral interrupt number, 0-based (INTID - 32), for the devicetree
 */
struct irq_line {
	void (*set)(struct irq_line *line, int level);
	void *ctx;
	uint32_t spi;
};

static inline void irq_set(struct irq_line *line, int level)
{
	line->set(line, level);
}

#endif
