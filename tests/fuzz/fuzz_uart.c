// SPDX-License-Identifier: BSD-3-Clause
/*
 * The UART: register accesses of a guest between what the terminal does. Bytes arrive in order on
 * both sides, none appears from nowhere, the wire says what IIR says, and who was refused room is
 * told when there is some.
 */
#include "tests/fuzz/fuzz.h"

#include "vmm/board/uart.h"
#include "vmm/core/err.h"
#include "vmm/core/irq.h"
#include "vmm/core/mmio.h"

#define BASE	0x1000000
#define RX_MAX	64
#define TX_MAX	8192

enum { THR = 0, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5 };

static struct {
	int level;
	unsigned int floods;	/* much at once, which takes its time */
	size_t room;		/* that the terminal takes */
	bool told, refused;
	uint8_t fcr, lcr, mcr;
	uint8_t rx[RX_MAX];	/* what the guest should find */
	unsigned int nr_rx;
	uint8_t tx[TX_MAX];	/* sent and not yet seen */
	size_t nr_tx;
} m;

static void line_set(struct irq_line *line, int level)
{
	(void)line;
	PROPERTY(level != m.level);
	m.level = level;
}

static size_t terminal(void *ctx, const void *buf, size_t len)
{
	size_t n = MIN(len, m.room);

	(void)ctx;
	PROPERTY(n <= m.nr_tx && !memcmp(m.tx, buf, n));
	memmove(m.tx, m.tx + n, m.nr_tx - n);
	m.nr_tx -= n;
	m.room -= n;
	return n;
}

static void room(void *ctx)
{
	(void)ctx;
	PROPERTY(m.refused);
	m.told = true;
}

static uint64_t access_reg(struct mmio_bus *bus, unsigned int reg, unsigned int len, uint64_t val,
			   bool write)
{
	bool done = mmio_access(bus, BASE + reg, (uint8_t *)&val, len, write);

	PROPERTY(done == (reg + len <= 8));
	return val;
}

static void push_rx(uint8_t byte)
{
	PROPERTY(m.nr_rx < RX_MAX);
	m.rx[m.nr_rx++] = byte;
}

static void guest_write(struct uart *u, struct mmio_bus *bus, unsigned int reg, unsigned int len,
			uint64_t val)
{
	struct uart_stats before, after;
	uint8_t byte = val, on = (byte ^ m.fcr) & 1;
	bool send = reg == THR && !(m.lcr & 0x80) && !(m.mcr & 0x10) && reg + len <= 8;

	uart_stats(u, &before);
	if (send && m.nr_tx < TX_MAX)
		m.tx[m.nr_tx++] = byte;
	access_reg(bus, reg, len, val, true);
	uart_stats(u, &after);
	if (reg + len > 8)
		return;
	PROPERTY(after.tx_bytes == before.tx_bytes + send);
	if (after.tx_dropped != before.tx_dropped)
		m.nr_tx--;
	if (reg == THR && !(m.lcr & 0x80) && (m.mcr & 0x10) && m.nr_rx < RX_MAX)
		push_rx(byte);
	if (reg == FCR && (on || (byte & 3) == 3))
		m.nr_rx = 0;
	if (reg == FCR)
		m.fcr = byte & 1 ? byte : 0;
	if (reg == LCR)
		m.lcr = byte;
	if (reg == MCR)
		m.mcr = byte;
}

static void guest_read(struct mmio_bus *bus, unsigned int reg, unsigned int len)
{
	int level = m.level;
	uint8_t val = access_reg(bus, reg, len, 0, false);

	if (reg + len > 8)
		return;
	if (reg == IIR)
		PROPERTY((val & 1) == !level);
	if (reg == LSR) {
		PROPERTY((val & 1) == (m.nr_rx > 0));
		PROPERTY(!!(val & 0x20) == !m.nr_tx);
	}
	if (reg == THR && !(m.lcr & 0x80)) {
		PROPERTY(val == (m.nr_rx ? m.rx[0] : 0));
		if (m.nr_rx)
			memmove(m.rx, m.rx + 1, --m.nr_rx);
	}
}

static void type(struct uart *u, struct input *in)
{
	const uint8_t *p;
	size_t len = in_take(in, in_u8(in) % 100, &p), n = uart_input(u, p, len);

	PROPERTY(n <= len);
	for (size_t i = 0; i < n; i++)
		push_rx(p[i]);
	if (n < len) {
		PROPERTY(m.nr_rx == RX_MAX || m.mcr & 0x10);
		m.refused = true;
		m.told = false;
	}
}

static void step(struct uart *u, struct mmio_bus *bus, struct input *in)
{
	uint8_t op = in_u8(in), how = in_u8(in);
	unsigned int reg = how & 7, len = 1 + (how >> 3 & 7);
	bool flood = op >= 0xe0 && m.floods++ < 2;

	switch (op % 8) {
	case 0 ... 1:
		guest_read(bus, reg, how & 0x80 ? len : 1);
		break;
	case 2 ... 3:
		guest_write(u, bus, reg, how & 0x80 ? len : 1, in_u64(in));
		break;
	case 4:
		type(u, in);
		break;
	case 5:
		if (uart_break(u))
			push_rx(0);
		break;
	case 6:
		m.room = how;
		uart_writable(u);
		break;
	case 7:
		/* a guest that sends on and on, or takes what there is */
		for (unsigned int i = 0; i < (flood ? how * 20u : how % 64u); i++) {
			if (op & 8)
				guest_write(u, bus, THR, 1, i);
			else
				guest_read(bus, THR, 1);
		}
		if (op == 0xff) {
			uart_reset(u);
			m.nr_rx = 0;
			m.fcr = m.lcr = 0;
			m.mcr = 8;
		}
		break;
	}
	/* nobody waits for room that is there */
	if (m.refused && !m.nr_rx && !(m.mcr & 0x10))
		PROPERTY(m.told);
	if (m.told)
		m.refused = false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct irq_line irq = { .set = line_set };
	struct mmio_bus bus = { .nr = 0 };
	struct uart_config cfg = {
		.name = "uart", .base = BASE, .irq = &irq, .write = terminal, .input_room = room,
	};
	struct uart *u;
	struct err e;

	memset(&m, 0, sizeof(m));
	m.mcr = 8;
	m.room = in_u8(&in) & 1 ? SIZE_MAX : 0;
	PROPERTY(!uart_new(&bus, &cfg, &u, &e));
	while (in.left)
		step(u, &bus, &in);
	m.room = SIZE_MAX;
	uart_writable(u);
	PROPERTY(!m.nr_tx);
	uart_free(u);
	return 0;
}
