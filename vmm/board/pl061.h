/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A GPIO controller, PL061 (Arm DDI 0190B), of which the board uses one line: the power button.
 * All eight lines are there; what drives them from outside is pl061_set().
 */
#ifndef BOARD_PL061_H
#define BOARD_PL061_H

#include "vmm/core/types.h"

struct err;
struct irq_line;
struct mmio_bus;
struct pl061;

/**
 * pl061_new() - make the controller and put it on the bus
 * @base: IPA of the registers, MAP_GPIO_SIZE bytes
 * @irq:  level line, high while an interrupt that is not masked is pending; the caller's
 *
 * Return: 0 or a negative errno (-ENOMEM, and what mmio_add() says).
 */
int pl061_new(struct mmio_bus *bus, ipa_t base, struct irq_line *irq, struct pl061 **out,
	      struct err *e);

/** pl061_set() - the level of line @nr (0 to 7) from outside; any thread */
void pl061_set(struct pl061 *p, unsigned int nr, bool level);
/** pl061_awaited() - would the guest get an interrupt if line @nr changed? Any thread */
bool pl061_awaited(struct pl061 *p, unsigned int nr);

/** pl061_free() - no vCPU runs any more */
void pl061_free(struct pl061 *p);

#endif
