// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/board/memmap.h"
#include "vmm/board/uart.h"
#include "vmm/core/err.h"
#include "vmm/core/irq.h"
#include "vmm/core/mmio.h"

#define FIFO_DEPTH 64

enum { RBR = 0, THR = 0, IER = 1, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };

struct fixture {
	struct mmio_bus bus;
	struct uart *uart;
	struct irq_line irq;
	int level;
	unsigned int irq_calls;
	uint8_t out[16384];
	size_t out_len;
	size_t room;			/* what the terminal still takes */
	unsigned int room_events;
};

static void set_level(struct irq_line *line, int level)
{
	struct fixture *f = line->ctx;

	assert_int_not_equal(f->level, level);
	f->level = level;
	f->irq_calls++;
}

static size_t take_output(void *ctx, const void *buf, size_t len)
{
	struct fixture *f = ctx;

	if (len > f->room)
		len = f->room;
	if (len > sizeof(f->out) - f->out_len)
		len = sizeof(f->out) - f->out_len;
	memcpy(f->out + f->out_len, buf, len);
	f->out_len += len;
	f->room -= len;
	return len;
}

static void input_room(void *ctx)
{
	struct fixture *f = ctx;

	f->room_events++;
}

static int setup(void **state)
{
	static struct fixture f;
	struct uart_config cfg = {
		.name = "uart0",
		.base = MAP_UART_BASE,
		.irq = &f.irq,
		.write = take_output,
		.input_room = input_room,
		.ctx = &f,
	};
	struct err e;

	memset(&f, 0, sizeof(f));
	f.irq = (struct irq_line){ set_level, &f, MAP_UART_SPI };
	f.room = SIZE_MAX;
	*state = &f;
	return uart_new(&f.bus, &cfg, &f.uart, &e);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	uart_free(f->uart);
	return 0;
}

static uint8_t get(struct fixture *f, unsigned int reg)
{
	uint8_t val = 0;

	assert_true(mmio_access(&f->bus, MAP_UART_BASE + reg, &val, 1, false));
	return val;
}

static void put(struct fixture *f, unsigned int reg, uint8_t val)
{
	assert_true(mmio_access(&f->bus, MAP_UART_BASE + reg, &val, 1, true));
}

/* A payload that knows nothing but THR and LSR. */
static void polled_output(void **state)
{
	static const char text[] = "Hello, world\n";
	struct fixture *f = *state;
	struct uart_stats st;

	for (const char *c = text; *c; c++) {
		assert_int_equal(get(f, LSR), 0x60);
		put(f, THR, *c);
	}
	assert_int_equal(f->out_len, strlen(text));
	assert_memory_equal(f->out, text, strlen(text));
	assert_int_equal(f->irq_calls, 0);
	uart_stats(f->uart, &st);
	assert_int_equal(st.tx_bytes, strlen(text));
	assert_int_equal(st.tx_writes, strlen(text));
	assert_int_equal(st.tx_dropped, 0);
}

static void polled_input(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(get(f, LSR) & 1, 0);
	assert_int_equal(get(f, RBR), 0);
	assert_int_equal(uart_input(f->uart, "ab", 2), 2);
	assert_int_equal(get(f, LSR) & 1, 1);
	assert_int_equal(get(f, RBR), 'a');
	assert_int_equal(get(f, RBR), 'b');
	assert_int_equal(get(f, LSR) & 1, 0);
	assert_int_equal(f->irq_calls, 0);
}

/* The steps of Linux' autoconfig() in drivers/tty/serial/8250/8250_port.c. */
static void linux_autoconfig(void **state)
{
	struct fixture *f = *state;
	unsigned int n;

	/* existence: IER keeps four bits */
	put(f, IER, 0);
	assert_int_equal(get(f, IER), 0);
	put(f, IER, 0xff);
	assert_int_equal(get(f, IER), 0x0f);
	put(f, IER, 0);
	/* loopback: RTS and OUT2 come back as CTS and DCD */
	put(f, MCR, 0x1a);
	assert_int_equal(get(f, MSR) & 0xf0, 0x90);
	put(f, MCR, 0x08);
	assert_int_equal(get(f, MSR) & 0xf0, 0xb0);
	/* no FIFO bits with FIFOs off; both with them on: 16550A */
	put(f, LCR, 0xbf);
	put(f, FCR, 0);
	put(f, LCR, 0);
	assert_int_equal(get(f, IIR), 0x01);
	put(f, FCR, 0x01);
	assert_int_equal(get(f, IIR) >> 6, 3);
	/* no EFR: offset 2 is the IIR in every bank, and not 0 */
	put(f, LCR, 0x80);
	assert_int_not_equal(get(f, IIR), 0);
	put(f, LCR, 0xbf);
	assert_int_not_equal(get(f, IIR), 0);
	/* not a National SuperIO: IIR bit 4 does not follow MCR's loop bit */
	put(f, LCR, 0xe0);
	assert_int_equal(get(f, IIR) & 0x10, 0);
	put(f, LCR, 0);
	put(f, MCR, 0x18);
	put(f, LCR, 0xe0);
	assert_int_equal(get(f, IIR) & 0x10, 0);
	put(f, LCR, 0);
	put(f, MCR, 0x08);
	/* not a 16750: bit 5 stays clear */
	put(f, FCR, 0x21);
	assert_int_equal(get(f, IIR) >> 5, 6);
	/* scratch register */
	put(f, SCR, 0xa5);
	assert_int_equal(get(f, SCR), 0xa5);
	put(f, SCR, 0x5a);
	assert_int_equal(get(f, SCR), 0x5a);
	/* size of the FIFO: as many of 256 bytes as come back in loopback */
	put(f, FCR, 0x07);
	put(f, MCR, 0x10);
	put(f, LCR, 0x83);
	put(f, 0, 1);
	put(f, 1, 0);
	put(f, LCR, 0x03);
	for (n = 0; n < 256; n++)
		put(f, THR, n);
	assert_int_equal(get(f, LSR) & 0x03, 0x03);	/* data, and an overrun */
	assert_int_equal(get(f, LSR) & 0x03, 0x01);
	for (n = 0; get(f, LSR) & 1; n++)
		assert_int_equal(get(f, RBR), n);
	assert_int_equal(n, FIFO_DEPTH);
	put(f, MCR, 0x08);
	/* nothing of this got out */
	assert_int_equal(f->out_len, 0);
}

/* The check for UART_BUG_THRE and UART_BUG_TXEN in serial8250_do_startup(). */
static void linux_thre_test(void **state)
{
	struct fixture *f = *state;

	put(f, FCR, 1);
	put(f, IER, 2);
	assert_int_equal(f->level, 1);
	assert_int_equal(get(f, IIR), 0xc2);
	assert_int_equal(f->level, 0);
	assert_int_equal(get(f, IIR), 0xc1);
	put(f, IER, 0);
	put(f, IER, 2);
	assert_int_equal(get(f, IIR), 0xc2);
	/* Writing it anew without a change raises nothing. */
	put(f, IER, 2);
	assert_int_equal(get(f, IIR), 0xc1);
	/* A byte sent does. */
	put(f, THR, 'x');
	assert_int_equal(f->level, 1);
	put(f, IER, 0);
	assert_int_equal(f->level, 0);
}

static void receive_interrupts(void **state)
{
	struct fixture *f = *state;

	put(f, FCR, 0x81);		/* trigger at 8 */
	uart_input(f->uart, "1234567", 7);
	assert_int_equal(f->level, 0);
	put(f, IER, 0x01);
	assert_int_equal(f->level, 1);
	assert_int_equal(get(f, IIR), 0xcc);	/* time-out below the trigger */
	uart_input(f->uart, "8", 1);
	assert_int_equal(get(f, IIR), 0xc4);
	assert_int_equal(get(f, IIR), 0xc4);	/* reading does not clear it */
	/* It is above THRE in rank, and does not eat it. */
	put(f, IER, 0x03);
	assert_int_equal(get(f, IIR), 0xc4);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(f->level, 1);
		assert_int_equal(get(f, RBR), '1' + i);
	}
	assert_int_equal(get(f, IIR), 0xc2);
	assert_int_equal(f->level, 0);
	/* without FIFOs */
	put(f, FCR, 0);
	uart_input(f->uart, "x", 1);
	assert_int_equal(get(f, IIR), 0x04);
}

static void fifo_clear(void **state)
{
	struct fixture *f = *state;

	put(f, FCR, 0x01);
	uart_input(f->uart, "abc", 3);
	put(f, FCR, 0x05);		/* transmitter only */
	assert_int_equal(get(f, LSR) & 1, 1);
	put(f, FCR, 0x03);
	assert_int_equal(get(f, LSR) & 1, 0);
	uart_input(f->uart, "abc", 3);
	put(f, FCR, 0x00);		/* switched off */
	assert_int_equal(get(f, LSR) & 1, 0);
	/* 0x02 without the enable bit is not a command */
	uart_input(f->uart, "d", 1);
	put(f, FCR, 0x02);
	assert_int_equal(get(f, RBR), 'd');
}

static void input_is_left_with_the_caller(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[100];

	for (unsigned int i = 0; i < sizeof(buf); i++)
		buf[i] = i;
	assert_int_equal(uart_input(f->uart, buf, sizeof(buf)), FIFO_DEPTH);
	assert_int_equal(uart_input(f->uart, buf, 1), 0);
	assert_int_equal(get(f, LSR) & 2, 0);		/* no overrun */
	for (unsigned int i = 0; i < FIFO_DEPTH / 2 - 1; i++)
		assert_int_equal(get(f, RBR), i);
	assert_int_equal(f->room_events, 0);
	assert_int_equal(get(f, RBR), FIFO_DEPTH / 2 - 1);
	assert_int_equal(f->room_events, 1);
	assert_int_equal(uart_input(f->uart, buf + FIFO_DEPTH, 36), 32);
	assert_int_equal(uart_input(f->uart, buf + 96, 4), 0);
	for (unsigned int i = FIFO_DEPTH / 2; i < 96; i++)
		assert_int_equal(get(f, RBR), i);
	assert_int_equal(f->room_events, 2);
	assert_int_equal(uart_input(f->uart, buf + 96, 4), 4);
	/* In loopback the line is cut off; afterwards there is room. */
	put(f, MCR, 0x10);
	assert_int_equal(uart_input(f->uart, buf, 1), 0);
	assert_int_equal(f->room_events, 2);
	put(f, MCR, 0);
	assert_int_equal(f->room_events, 3);
	/* So it is when the guest throws a full FIFO away, and at a reset. */
	uart_input(f->uart, buf, sizeof(buf));
	put(f, FCR, 1);
	assert_int_equal(f->room_events, 4);
	uart_input(f->uart, buf, sizeof(buf));
	uart_reset(f->uart);
	assert_int_equal(f->room_events, 5);
	assert_int_equal(get(f, LSR), 0x60);
}

static void refused_output_is_held(void **state)
{
	struct fixture *f = *state;
	char sent[64];

	put(f, FCR, 1);
	put(f, IER, 2);
	get(f, IIR);
	f->room = 3;
	/* A driver fills the FIFO after one look at THRE. */
	for (unsigned int i = 0; i < 16; i++) {
		sent[i] = 'a' + i;
		put(f, THR, sent[i]);
	}
	assert_int_equal(f->out_len, 3);
	assert_int_equal(get(f, LSR) & 0x60, 0);
	assert_int_equal(get(f, IIR), 0xc1);
	assert_int_equal(f->level, 0);
	/* THRE enabled anew while it is clear raises nothing. */
	put(f, IER, 0);
	put(f, IER, 2);
	assert_int_equal(f->level, 0);
	/* The guest resets the FIFOs: the terminal still gets all. */
	put(f, FCR, 0x07);
	f->room = 5;
	uart_writable(f->uart);
	assert_int_equal(f->out_len, 8);
	assert_int_equal(get(f, LSR) & 0x60, 0);
	f->room = 100;
	uart_writable(f->uart);
	assert_int_equal(f->out_len, 16);
	assert_memory_equal(f->out, sent, 16);
	assert_int_equal(get(f, LSR) & 0x60, 0x60);
	assert_int_equal(f->level, 1);
	assert_int_equal(get(f, IIR), 0xc2);
	/* Nothing held: nothing happens. */
	uart_writable(f->uart);
	assert_int_equal(f->level, 0);
}

/* A guest that minds no THRE: bounded, counted, in order, and no vCPU waits. */
static void output_against_a_stopped_terminal(void **state)
{
	struct fixture *f = *state;
	struct uart_stats st;

	f->room = 0;
	for (unsigned int i = 0; i < 5000; i++)
		put(f, THR, i * 7);
	uart_stats(f->uart, &st);
	assert_int_equal(st.tx_bytes, 5000);
	assert_int_equal(st.tx_dropped, 5000 - 4096);
	/* The ring wraps: take some, send some, take all. */
	f->room = 1000;
	uart_writable(f->uart);
	for (unsigned int i = 0; i < 500; i++)
		put(f, THR, i);
	f->room = SIZE_MAX;
	uart_writable(f->uart);
	assert_int_equal(f->out_len, 4096 + 500);
	for (unsigned int i = 0; i < 4096; i++)
		assert_int_equal(f->out[i], (uint8_t)(i * 7));
	for (unsigned int i = 0; i < 500; i++)
		assert_int_equal(f->out[4096 + i], (uint8_t)i);
	put(f, THR, '!');
	assert_int_equal(f->out[4596], '!');
}

static void held_output_is_offered_at_the_end(void **state)
{
	struct fixture *f = *state;
	struct uart_config cfg = { .name = "uart1", .base = MAP_UART_BASE + MAP_UART_STRIDE,
				   .irq = &f->irq, .write = take_output, .ctx = f };
	struct uart *u;
	struct err e;
	uint8_t c = 'z';

	assert_int_equal(uart_new(&f->bus, &cfg, &u, &e), 0);
	f->room = 0;
	assert_true(mmio_access(&f->bus, cfg.base, &c, 1, true));
	uart_reset(u);
	f->room = 1;
	uart_free(u);
	assert_int_equal(f->out_len, 1);
	assert_int_equal(f->out[0], 'z');
}

static void break_condition(void **state)
{
	struct fixture *f = *state;

	put(f, FCR, 1);
	put(f, IER, 0x05);
	uart_input(f->uart, "a", 1);
	assert_true(uart_break(f->uart));
	uart_input(f->uart, "h", 1);
	assert_int_equal(get(f, LSR) & 0x91, 0x81);	/* it is in the FIFO, not at its head */
	assert_int_equal(get(f, RBR), 'a');
	assert_int_equal(get(f, IIR), 0xc6);
	assert_int_equal(get(f, LSR) & 0x91, 0x91);
	assert_int_equal(get(f, LSR) & 0x10, 0);	/* told once */
	assert_int_equal(get(f, RBR), 0);
	assert_int_equal(get(f, LSR) & 0x91, 0x01);
	assert_int_equal(get(f, RBR), 'h');
	assert_int_equal(f->level, 0);
	while (uart_break(f->uart))
		;
	assert_int_equal(uart_input(f->uart, "x", 1), 0);
}

static void modem_status(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(get(f, MSR), 0xb0);
	put(f, IER, 0x08);
	assert_int_equal(f->level, 0);
	put(f, MCR, 0x14);		/* loop, RI */
	assert_int_equal(f->level, 1);
	assert_int_equal(get(f, IIR), 0x00);
	assert_int_equal(get(f, MSR), 0x4b);
	assert_int_equal(f->level, 0);
	put(f, MCR, 0x10);		/* the trailing edge of RI */
	assert_int_equal(get(f, MSR), 0x04);
	put(f, MSR, 0xff);
	put(f, LSR, 0xff);
	assert_int_equal(get(f, MSR), 0);
	assert_int_equal(get(f, LSR), 0x60);
}

static void divisor_latch(void **state)
{
	struct fixture *f = *state;

	put(f, IER, 0x05);
	put(f, LCR, 0x83);
	put(f, 0, 0x34);
	put(f, 1, 0x12);
	assert_int_equal(get(f, 0), 0x34);
	assert_int_equal(get(f, 1), 0x12);
	put(f, LCR, 0x03);
	assert_int_equal(get(f, LCR), 0x03);
	assert_int_equal(get(f, IER), 0x05);
	assert_int_equal(f->out_len, 0);
}

static void wide_accesses(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[8] = { 'w', 1, 2, 3, 4, 5, 6, 7 };

	assert_true(mmio_access(&f->bus, MAP_UART_BASE, buf, 4, true));
	assert_int_equal(f->out_len, 1);
	assert_int_equal(f->out[0], 'w');
	memset(buf, 0xff, sizeof(buf));
	assert_true(mmio_access(&f->bus, MAP_UART_BASE + LSR, buf, 2, false));
	assert_int_equal(buf[0], 0x60);
	assert_int_equal(buf[1], 0);
	assert_false(mmio_access(&f->bus, MAP_UART_BASE + LSR, buf, 4, false));
	for (unsigned int off = 0; off < MAP_UART_SIZE; off++) {
		for (unsigned int len = 1; off + len <= MAP_UART_SIZE; len++) {
			mmio_access(&f->bus, MAP_UART_BASE + off, buf, len, true);
			mmio_access(&f->bus, MAP_UART_BASE + off, buf, len, false);
		}
	}
}

#define STREAM 50000

static struct {
	pthread_mutex_t lock;
	unsigned int events;
} waker = { PTHREAD_MUTEX_INITIALIZER, 0 };

static void wake(void *ctx)
{
	pthread_mutex_lock(&waker.lock);
	waker.events++;
	pthread_mutex_unlock(&waker.lock);
}

static void *feeder(void *arg)
{
	struct fixture *f = arg;
	unsigned int done = 0;
	uint8_t buf[48];

	while (done < STREAM) {
		unsigned int n = sizeof(buf) < STREAM - done ? sizeof(buf) : STREAM - done;
		unsigned int seen, took;

		for (unsigned int i = 0; i < n; i++)
			buf[i] = done + i;
		pthread_mutex_lock(&waker.lock);
		seen = waker.events;
		pthread_mutex_unlock(&waker.lock);
		took = uart_input(f->uart, buf, n);
		done += took;
		while (took < n) {
			bool woken;

			pthread_mutex_lock(&waker.lock);
			woken = waker.events != seen;
			pthread_mutex_unlock(&waker.lock);
			if (woken)
				break;
			sched_yield();
		}
	}
	return NULL;
}

/* No byte and no wake-up is lost between a vCPU and the loop. */
static void two_threads(void **state)
{
	struct fixture *f = *state;
	struct uart_config cfg = { .name = "uart1", .base = MAP_UART_BASE + MAP_UART_STRIDE,
				   .irq = &f->irq, .input_room = wake, .ctx = f };
	struct uart *first = f->uart;
	struct err e;
	pthread_t t;

	assert_int_equal(uart_new(&f->bus, &cfg, &f->uart, &e), 0);
	assert_int_equal(pthread_create(&t, NULL, feeder, f), 0);
	for (unsigned int n = 0; n < STREAM;) {
		uint8_t val;

		mmio_access(&f->bus, cfg.base + LSR, &val, 1, false);
		if (!(val & 1))
			continue;
		mmio_access(&f->bus, cfg.base + RBR, &val, 1, false);
		assert_int_equal(val, (uint8_t)n);
		n++;
	}
	pthread_join(t, NULL);
	uart_free(f->uart);
	f->uart = first;
}

static void occupied_window(void **state)
{
	struct fixture *f = *state;
	struct uart_config cfg = { .name = "uart1", .base = MAP_UART_BASE + 4, .irq = &f->irq };
	struct uart *u;
	struct err e;

	assert_int_equal(uart_new(&f->bus, &cfg, &u, &e), -EINVAL);
	assert_null(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(polled_output, setup, teardown),
		cmocka_unit_test_setup_teardown(polled_input, setup, teardown),
		cmocka_unit_test_setup_teardown(linux_autoconfig, setup, teardown),
		cmocka_unit_test_setup_teardown(linux_thre_test, setup, teardown),
		cmocka_unit_test_setup_teardown(receive_interrupts, setup, teardown),
		cmocka_unit_test_setup_teardown(fifo_clear, setup, teardown),
		cmocka_unit_test_setup_teardown(input_is_left_with_the_caller, setup, teardown),
		cmocka_unit_test_setup_teardown(refused_output_is_held, setup, teardown),
		cmocka_unit_test_setup_teardown(output_against_a_stopped_terminal, setup, teardown),
		cmocka_unit_test_setup_teardown(held_output_is_offered_at_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(break_condition, setup, teardown),
		cmocka_unit_test_setup_teardown(modem_status, setup, teardown),
		cmocka_unit_test_setup_teardown(divisor_latch, setup, teardown),
		cmocka_unit_test_setup_teardown(wide_accesses, setup, teardown),
		cmocka_unit_test_setup_teardown(two_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(occupied_window, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
