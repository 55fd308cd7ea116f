/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A 16550A UART. Data sheet: National Semiconductor PC16550D (registers in section 8).
 *
 * The FIFO is 64 bytes deep, as in lkvm, whose devicetree calls it a U6_16550A.
 */
#ifndef BOARD_UART_H
#define BOARD_UART_H

#include "vmm/core/types.h"

struct err;
struct irq_line;
struct mmio_bus;
struct uart;

/**
 * struct uart_config - one UART
 * @name:       for messages ("uart0"); kept, not copied
 * @base:       IPA of the registers
 * @irq:        its level-triggered line
 * @write:      output: takes up to @len bytes, returns how many. If fewer, the rest is held back
 *              until uart_writable(). NULL: output vanishes. Any vCPU thread, with the UART locked:
 *              it must not call the UART
 * @input_room: after uart_input() took less than it was offered: there is room again; may be
 *              NULL. Any vCPU thread, not locked
 * @ctx:        for both
 */
struct uart_config {
	const char *name;
	ipa_t base;
	struct irq_line *irq;
	size_t (*write)(void *ctx, const void *buf, size_t len);
	void (*input_room)(void *ctx);
	void *ctx;
};

/**
 * struct uart_stats - what went through
 * @tx_bytes:   bytes that the guest sent
 * @tx_writes:  calls of @write
 * @tx_dropped: bytes that were lost because the guest sent them against a clear THRE for long
 * @rx_bytes:   bytes that the guest was given
 */
struct uart_stats {
	uint64_t tx_bytes, tx_writes, tx_dropped, rx_bytes;
};

/**
 * uart_new() - make a UART and put it on the bus
 *
 * Return: 0 or a negative errno (-ENOMEM, and what mmio_add() says).
 */
int uart_new(struct mmio_bus *bus, const struct uart_config *cfg, struct uart **out,
	     struct err *e);

/** uart_free() - offer what is held back once more and free; no vCPU runs any more */
void uart_free(struct uart *u);

/** uart_reset() - registers as at power-on, input forgotten, output kept; no vCPU runs */
void uart_reset(struct uart *u);

/**
 * uart_input() - bytes for the guest; any thread
 *
 * Return: how many were taken; if fewer than @len, @input_room tells when to offer the rest.
 */
size_t uart_input(struct uart *u, const void *buf, size_t len);

/**
 * uart_break() - a break condition; for Linux the next byte is then a SysRq key; any thread
 *
 * Return: false if the FIFO is full.
 */
bool uart_break(struct uart *u);

/** uart_writable() - @write may take bytes again; any thread that holds no lock @write needs */
void uart_writable(struct uart *u);

/** uart_stats() - read the counters; any thread */
void uart_stats(struct uart *u, struct uart_stats *out);

#endif
