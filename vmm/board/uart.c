// SPDX-License-Identifier: BSD-3-Clause
/*
 * A 16550A UART.
 *
 * Transmitter: a byte written to THR goes to the terminal at once. What the terminal does not take
 * is held back, and while something is held THRE is clear. A guest that minds THRE waits then, but
 * its vCPU never does. Linux gives up after 10 ms per byte and sends all the same (8250_port.c,
 * wait_for_lsr()), so more than a FIFO can be held.
 *
 * Receiver: there is no line and no time, so no overrun: input that does not fit is left with the
 * caller.
 */
#include "vmm/board/uart.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/board/memmap.h"
#include "vmm/core/err.h"
#include "vmm/core/irq.h"
#include "vmm/core/log.h"
#include "vmm/core/mmio.h"

/* registers by offset; DLAB selects the divisor at 0 and 1 */
enum {
	REG_RBR_THR = 0,
	REG_IER = 1,
	REG_IIR_FCR = 2,
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_MSR = 6,
	REG_SCR = 7,
};

#define IER_RX		0x01
#define IER_THRE	0x02
#define IER_LINE	0x04
#define IER_MODEM	0x08
#define IER_MASK	0x0f

#define IIR_MODEM	0x00
#define IIR_NONE	0x01
#define IIR_THRE	0x02
#define IIR_RX		0x04
#define IIR_LINE	0x06
#define IIR_TIMEOUT	0x0c
#define IIR_FIFO	0xc0

#define FCR_ENABLE	0x01
#define FCR_CLEAR_RX	0x02
#define FCR_TRIGGER_MASK 0xc0

#define LCR_DLAB	0x80

#define MCR_DTR		0x01
#define MCR_RTS		0x02
#define MCR_OUT1	0x04
#define MCR_OUT2	0x08
#define MCR_LOOP	0x10
#define MCR_MASK	0x1f

#define LSR_DR		0x01
#define LSR_OE		0x02
#define LSR_BI		0x10
#define LSR_THRE	0x20
#define LSR_TEMT	0x40
#define LSR_FIFO_ERR	0x80

#define MSR_DCTS	0x01
#define MSR_DDSR	0x02
#define MSR_TERI	0x04
#define MSR_DDCD	0x08
#define MSR_CTS		0x10
#define MSR_DSR		0x20
#define MSR_RI		0x40
#define MSR_DCD		0x80

#define RX_DEPTH	64
#define RX_BREAK	0x100		/* this entry is a break */
#define TX_HELD_MAX	4096

struct uart {
	struct uart_config cfg;
	pthread_mutex_t lock;

	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t msr_delta;
	uint8_t line_err;		/* error bits of the LSR, cleared by reading it */
	bool thre_pending;
	bool irq_level;

	uint16_t rx[RX_DEPTH];
	unsigned int rx_head, rx_count;
	bool input_refused;

	uint8_t held[TX_HELD_MAX];
	unsigned int held_head, held_count;

	struct uart_stats stats;
	uint64_t drops_told;
};

static uint8_t modem_lines(const struct uart *u)
{
	/* A terminal is always there and ready; in loopback the outputs are the inputs. */
	if (!(u->mcr & MCR_LOOP))
		return MSR_DCD | MSR_DSR | MSR_CTS;
	return (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
	       (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static unsigned int rx_trigger(const struct uart *u)
{
	static const uint8_t level[] = { 1, 4, 8, 14 };

	return u->fcr & FCR_ENABLE ? level[u->fcr >> 6] : 1;
}

/* The pending interrupt of the highest priority. */
static uint8_t irq_cause(const struct uart *u)
{
	if ((u->ier & IER_LINE) && u->line_err)
		return IIR_LINE;
	/* Below the trigger level the time-out comes at once: the sender has sent all it had. */
	if ((u->ier & IER_RX) && u->rx_count)
		return u->rx_count >= rx_trigger(u) ? IIR_RX : IIR_TIMEOUT;
	if ((u->ier & IER_THRE) && u->thre_pending)
		return IIR_THRE;
	if ((u->ier & IER_MODEM) && u->msr_delta)
		return IIR_MODEM;
	return IIR_NONE;
}

static void update_irq(struct uart *u)
{
	bool level = irq_cause(u) != IIR_NONE;

	/* Each change is an ioctl; most accesses change nothing. */
	if (level == u->irq_level)
		return;
	u->irq_level = level;
	irq_set(u->cfg.irq, level);
}

/* An error shows in the LSR when its byte gets to the head of the FIFO. */
static void rx_at_head(struct uart *u)
{
	if (u->rx_count && (u->rx[u->rx_head] & RX_BREAK))
		u->line_err |= LSR_BI;
}

static bool rx_push(struct uart *u, uint16_t entry)
{
	if (u->rx_count == RX_DEPTH)
		return false;
	u->rx[(u->rx_head + u->rx_count++) % RX_DEPTH] = entry;
	if (u->rx_count == 1)
		rx_at_head(u);
	return true;
}

static uint8_t rx_pop(struct uart *u)
{
	uint8_t val;

	if (!u->rx_count)
		return 0;
	val = u->rx[u->rx_head];	/* a break reads as 0 */
	u->rx_head = (u->rx_head + 1) % RX_DEPTH;
	u->rx_count--;
	u->stats.rx_bytes++;
	rx_at_head(u);
	return val;
}

static void rx_clear(struct uart *u)
{
	u->rx_head = u->rx_count = 0;
	u->line_err = 0;
}

static uint8_t read_lsr(struct uart *u)
{
	uint8_t val = u->line_err;

	if (u->rx_count)
		val |= LSR_DR;
	if (!u->held_count)
		val |= LSR_THRE | LSR_TEMT;
	if (u->fcr & FCR_ENABLE) {
		for (unsigned int i = 0; i < u->rx_count; i++)
			if (u->rx[(u->rx_head + i) % RX_DEPTH] & RX_BREAK)
				val |= LSR_FIFO_ERR;
	}
	u->line_err = 0;
	return val;
}

static size_t emit(struct uart *u, const uint8_t *buf, size_t len)
{
	size_t done;

	if (!u->cfg.write)
		return len;
	u->stats.tx_writes++;
	done = u->cfg.write(u->cfg.ctx, buf, len);
	return MIN(done, len);
}

static void flush_held(struct uart *u)
{
	while (u->held_count) {
		size_t run = MIN(u->held_count, TX_HELD_MAX - u->held_head), done;

		done = emit(u, u->held + u->held_head, run);
		u->held_head = (u->held_head + done) % TX_HELD_MAX;
		u->held_count -= done;
		if (done < run)
			return;
	}
	u->held_head = 0;
}

static void transmit(struct uart *u, uint8_t byte)
{
	if (u->mcr & MCR_LOOP) {
		if (!rx_push(u, byte))
			u->line_err |= LSR_OE;
		u->thre_pending = !u->held_count;
		return;
	}
	u->stats.tx_bytes++;
	u->thre_pending = false;
	if (!u->held_count && emit(u, &byte, 1)) {
		u->thre_pending = true;
		return;
	}
	if (u->held_count == TX_HELD_MAX) {
		u->stats.tx_dropped++;
		return;
	}
	u->held[(u->held_head + u->held_count++) % TX_HELD_MAX] = byte;
}

static void write_fcr(struct uart *u, uint8_t val)
{
	bool was_on = u->fcr & FCR_ENABLE, on = val & FCR_ENABLE;

	/*
	 * Switching the FIFOs on or off clears them; the other bits count only while they are on.
	 * What is held back for a slow terminal has left the FIFO already and stays.
	 */
	if (on != was_on || (on && (val & FCR_CLEAR_RX)))
		rx_clear(u);
	u->fcr = on ? val & (FCR_ENABLE | FCR_TRIGGER_MASK) : 0;
}

static void write_mcr(struct uart *u, uint8_t val)
{
	uint8_t before = modem_lines(u), changed;

	u->mcr = val & MCR_MASK;
	changed = before ^ modem_lines(u);
	u->msr_delta |= (changed & MSR_CTS ? MSR_DCTS : 0) | (changed & MSR_DSR ? MSR_DDSR : 0) |
			(before & changed & MSR_RI ? MSR_TERI : 0) |
			(changed & MSR_DCD ? MSR_DDCD : 0);
}

static void write_ier(struct uart *u, uint8_t val)
{
	uint8_t on = val & ~u->ier;

	u->ier = val & IER_MASK;
	/* Enabling it with THR empty raises it: drivers start sending by this. */
	if ((on & IER_THRE) && !u->held_count)
		u->thre_pending = true;
}

static uint8_t read_iir(struct uart *u)
{
	uint8_t cause = irq_cause(u);

	if (cause == IIR_THRE)
		u->thre_pending = false;
	return cause | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t read_msr(struct uart *u)
{
	uint8_t val = modem_lines(u) | u->msr_delta;

	u->msr_delta = 0;
	return val;
}

static uint8_t reg_read(struct uart *u, unsigned int reg)
{
	switch (reg) {
	case REG_RBR_THR:
		return u->lcr & LCR_DLAB ? u->dll : rx_pop(u);
	case REG_IER:
		return u->lcr & LCR_DLAB ? u->dlm : u->ier;
	case REG_IIR_FCR:
		return read_iir(u);
	case REG_LCR:
		return u->lcr;
	case REG_MCR:
		return u->mcr;
	case REG_LSR:
		return read_lsr(u);
	case REG_MSR:
		return read_msr(u);
	default:
		return u->scr;
	}
}

static void reg_write(struct uart *u, unsigned int reg, uint8_t val)
{
	switch (reg) {
	case REG_RBR_THR:
		if (u->lcr & LCR_DLAB)
			u->dll = val;
		else
			transmit(u, val);
		break;
	case REG_IER:
		if (u->lcr & LCR_DLAB)
			u->dlm = val;
		else
			write_ier(u, val);
		break;
	case REG_IIR_FCR:
		write_fcr(u, val);
		break;
	case REG_LCR:
		u->lcr = val;
		break;
	case REG_MCR:
		write_mcr(u, val);
		break;
	case REG_SCR:
		u->scr = val;
		break;
	default:
		break;		/* LSR and MSR: factory test only */
	}
}

static bool can_take_input(const struct uart *u)
{
	return !(u->mcr & MCR_LOOP) && u->rx_count < RX_DEPTH;
}

/* To be called after the lock is dropped, so that the other side may call back. */
static bool take_room_event(struct uart *u)
{
	/* Half a FIFO at a time: a wake-up per byte would cost more than the byte. */
	if (!u->input_refused || !can_take_input(u) || u->rx_count > RX_DEPTH / 2)
		return false;
	u->input_refused = false;
	return u->cfg.input_room != NULL;
}

/* The registers are bytes: a wider access reaches the one at its address, as in lkvm. */
static uint64_t uart_read(void *dev, uint64_t off, unsigned int len)
{
	struct uart *u = dev;
	uint8_t val;
	bool room;

	pthread_mutex_lock(&u->lock);
	val = reg_read(u, off);
	update_irq(u);
	room = take_room_event(u);
	pthread_mutex_unlock(&u->lock);
	if (room)
		u->cfg.input_room(u->cfg.ctx);
	return val;
}

static void uart_write(void *dev, uint64_t off, uint64_t val, unsigned int len)
{
	struct uart *u = dev;
	bool room;

	pthread_mutex_lock(&u->lock);
	reg_write(u, off, val);
	update_irq(u);
	room = take_room_event(u);
	pthread_mutex_unlock(&u->lock);
	if (room)
		u->cfg.input_room(u->cfg.ctx);
}

static const struct mmio_ops uart_ops = {
	.read = uart_read,
	.write = uart_write,
};

static void power_on(struct uart *u)
{
	u->ier = u->fcr = u->lcr = u->scr = u->dlm = u->msr_delta = 0;
	/* lkvm's: OUT2 set. The divisor is 115200 baud. */
	u->mcr = MCR_OUT2;
	u->dll = 1;
	u->thre_pending = false;
	rx_clear(u);
}

int uart_new(struct mmio_bus *bus, const struct uart_config *cfg, struct uart **out,
	     struct err *e)
{
	struct uart *u = calloc(1, sizeof(*u));
	int rc;

	*out = NULL;
	if (!u)
		return err_set(e, -ENOMEM, "%s: out of memory", cfg->name);
	u->cfg = *cfg;
	power_on(u);
	pthread_mutex_init(&u->lock, NULL);
	rc = mmio_add(bus, cfg->base, MAP_UART_SIZE, &uart_ops, u, cfg->name, e);
	if (rc) {
		pthread_mutex_destroy(&u->lock);
		free(u);
		return rc;
	}
	*out = u;
	return 0;
}

void uart_free(struct uart *u)
{
	if (!u)
		return;
	flush_held(u);
	pthread_mutex_destroy(&u->lock);
	free(u);
}

void uart_reset(struct uart *u)
{
	bool room;

	pthread_mutex_lock(&u->lock);
	power_on(u);
	update_irq(u);
	room = take_room_event(u);
	pthread_mutex_unlock(&u->lock);
	if (room)
		u->cfg.input_room(u->cfg.ctx);
}

size_t uart_input(struct uart *u, const void *buf, size_t len)
{
	const uint8_t *b = buf;
	size_t done = 0;

	pthread_mutex_lock(&u->lock);
	while (done < len && can_take_input(u))
		rx_push(u, b[done++]);
	if (done < len)
		u->input_refused = true;
	update_irq(u);
	pthread_mutex_unlock(&u->lock);
	return done;
}

bool uart_break(struct uart *u)
{
	bool done;

	pthread_mutex_lock(&u->lock);
	done = can_take_input(u) && rx_push(u, RX_BREAK);
	update_irq(u);
	pthread_mutex_unlock(&u->lock);
	return done;
}

void uart_writable(struct uart *u)
{
	uint64_t lost = 0;

	pthread_mutex_lock(&u->lock);
	if (u->held_count) {
		flush_held(u);
		if (!u->held_count)
			u->thre_pending = true;
	}
	if (!u->held_count) {
		lost = u->stats.tx_dropped - u->drops_told;
		u->drops_told = u->stats.tx_dropped;
	}
	update_irq(u);
	pthread_mutex_unlock(&u->lock);
	/* Not when it happened: stderr may be the terminal that was stopped. */
	if (lost)
		log_warning("%s: %" PRIu64 " bytes of output lost: the guest sent on while the "
			    "terminal was stopped", u->cfg.name, lost);
}

void uart_stats(struct uart *u, struct uart_stats *out)
{
	pthread_mutex_lock(&u->lock);
	*out = u->stats;
	pthread_mutex_unlock(&u->lock);
}
