// SPDX-License-Identifier: BSD-3-Clause
/* The console: both directions, a host that does not keep up, a guest that does not read. */
#include <linux/virtio_console.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vdriver.h"

enum { RX, TX };

struct fixture {
	struct vdriver vd;
	uint8_t out[1 << 20];
	size_t out_len, room;		/* the host takes @room bytes more */
	unsigned int refused, readable;
};

static size_t host_write(void *ctx, const void *buf, size_t len)
{
	struct fixture *f = ctx;
	size_t n = MIN(len, MIN(f->room, sizeof(f->out) - f->out_len));

	memcpy(f->out + f->out_len, buf, n);
	f->out_len += n;
	f->room -= n;
	f->refused += !n;
	return n;
}

static void host_readable(void *ctx)
{
	struct fixture *f = ctx;

	f->readable++;
}

static bool packed;		/* all tests run on both kinds of rings */

#define F_RING (packed ? VD_F_PACKED | VD_F_IN_ORDER : 0)

static int setup_common(void **state, bool realm)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct virtio_console_io io = { host_write, f, host_readable };
	struct virtio_dev *dev;
	struct err e;

	f->room = SIZE_MAX;
	vd_init(&f->vd, realm);
	f->vd.env.packed = packed;
	assert_int_equal(virtio_console_new(&f->vd.env, &io, &dev, &e), 0);
	vd_attach(&f->vd, dev);
	vd_start(&f->vd, VD_F_MODERN | VD_F(0) | F_RING, 2, 16);
	vd_pump(&f->vd, 0);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_common(state, false);
}

static int setup_realm(void **state)
{
	return setup_common(state, true);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vd_destroy(&f->vd);
	free(f);
	return 0;
}

static void print(struct fixture *f, ipa_t at, const char *text)
{
	memcpy(vd_ptr(&f->vd, at), text, strlen(text));
	vd_add(&f->vd, TX, &(struct vq_seg){ at, strlen(text) }, 1, 1);
}

static void output(void **state)
{
	struct fixture *f = *state;
	struct vring_used_elem u;
	uint8_t *big = vd_ptr(&f->vd, VD_DATA + 0x1000);

	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_DEVICE_ID), 3);
	print(f, VD_DATA, "Hello");
	print(f, VD_DATA + 8, ", host\n");
	vd_add(&f->vd, TX, &(struct vq_seg){ VD_DATA, 0 }, 1, 1);
	vd_kick(&f->vd, TX);
	for (int i = 0; i < 3; i++) {
		u = vd_wait(&f->vd, TX);
		assert_int_equal(u.id, i);
		assert_int_equal(u.len, 0);
	}
	assert_int_equal(f->out_len, 12);
	assert_memory_equal(f->out, "Hello, host\n", 12);

	/* Longer than what is handed on at a time, and than one turn on the loop. */
	for (unsigned int i = 0; i < 200000; i++)
		big[i] = i * 13 + i / 256;
	f->out_len = 0;
	vd_add(&f->vd, TX, (struct vq_seg[]){ { VD_DATA + 0x1000, 77777 },
					      { VD_DATA + 0x1000 + 77777, 200000 - 77777 } }, 2, 2);
	vd_kick(&f->vd, TX);
	assert_int_equal(loop_once(&f->vd.loop, 100), 1);
	assert_in_range(f->out_len, 1, 199999);
	vd_wait(&f->vd, TX);
	assert_int_equal(f->out_len, 200000);
	assert_memory_equal(f->out, big, 200000);
}

static void host_does_not_keep_up(void **state)
{
	struct fixture *f = *state;
	struct vring_used_elem u;

	f->room = 7;
	print(f, VD_DATA, "0123456789");
	print(f, VD_DATA + 16, "abcdef");
	vd_kick(&f->vd, TX);
	vd_pump(&f->vd, 0);
	assert_int_equal(f->out_len, 7);
	assert_int_equal(f->refused, 1);
	assert_false(vd_used(&f->vd, TX, &u));	/* not given back before it is out */
	vd_kick(&f->vd, TX);			/* and the host is left alone */
	vd_pump(&f->vd, 0);
	assert_int_equal(f->refused, 1);

	f->room = 5;
	virtio_console_writable(f->vd.dev);
	assert_true(vd_used(&f->vd, TX, &u));
	assert_int_equal(u.id, 0);
	assert_false(vd_used(&f->vd, TX, &u));
	assert_int_equal(f->out_len, 12);
	f->room = SIZE_MAX;
	virtio_console_writable(f->vd.dev);
	assert_true(vd_used(&f->vd, TX, &u));
	assert_int_equal(u.id, 1);
	assert_memory_equal(f->out, "0123456789abcdef", 16);
	virtio_console_writable(f->vd.dev);	/* for nothing */
	assert_int_equal(f->out_len, 16);
}

/* A reset, and a queue that is stopped, while output is stuck half-way. */
static void reset_while_stuck(void **state)
{
	struct fixture *f = *state;
	struct vring_used_elem u;

	for (int how = 0; how < 2; how++) {
		f->out_len = 0;
		f->room = 3;
		print(f, VD_DATA, "old text");
		vd_kick(&f->vd, TX);
		vd_pump(&f->vd, 0);
		assert_int_equal(f->out_len, 3);
		if (how) {
			vd_set(&f->vd, VIRTIO_MMIO_QUEUE_SEL, TX);
			vd_set(&f->vd, VIRTIO_MMIO_QUEUE_READY, 0);
			virtio_console_writable(f->vd.dev);
			vd_ring_init(&f->vd, TX, 16);
			vd_queue(&f->vd, TX);
		} else {
			vd_set(&f->vd, VIRTIO_MMIO_STATUS, 0);
			virtio_console_writable(f->vd.dev);
			vd_start(&f->vd, VD_F_MODERN | F_RING, 2, 16);
		}
		assert_int_equal(f->out_len, 3);
		f->room = SIZE_MAX;
		print(f, VD_DATA, "new");
		vd_kick(&f->vd, TX);
		u = vd_wait(&f->vd, TX);
		assert_int_equal(u.id, 0);
		assert_int_equal(f->out_len, 6);
		assert_memory_equal(f->out, "oldnew", 6);
		assert_false(vd_used(&f->vd, TX, &u));
	}
}

static void input(void **state)
{
	struct fixture *f = *state;
	struct vring_used_elem u;

	vd_add(&f->vd, RX, &(struct vq_seg){ VD_DATA, 4 }, 1, 0);
	vd_add(&f->vd, RX, (struct vq_seg[]){ { VD_DATA + 16, 2 }, { VD_DATA + 32, 4 } }, 2, 0);
	assert_int_equal(virtio_console_input(f->vd.dev, "abcdefg", 7), 7);
	assert_true(vd_used(&f->vd, RX, &u));
	assert_int_equal(u.len, 4);
	assert_true(vd_used(&f->vd, RX, &u));
	assert_int_equal(u.len, 3);
	assert_memory_equal(vd_ptr(&f->vd, VD_DATA), "abcd", 5);
	assert_memory_equal(vd_ptr(&f->vd, VD_DATA + 16), "ef", 3);
	assert_memory_equal(vd_ptr(&f->vd, VD_DATA + 32), "g", 2);
	assert_int_equal(f->vd.irqs, 1);
	assert_int_equal(f->readable, 0);
}

static void guest_does_not_read(void **state)
{
	struct fixture *f = *state;
	uint8_t text[3000], *got = vd_ptr(&f->vd, VD_DATA);
	struct vring_used_elem u;
	size_t taken, more;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i * 31 + i / 256;
	taken = virtio_console_input(f->vd.dev, text, sizeof(text));
	assert_in_range(taken, 1, sizeof(text) - 1);
	assert_int_equal(virtio_console_input(f->vd.dev, text + taken, 10), 0);
	assert_int_equal(f->readable, 0);

	/* Room for part of it: in order, nothing twice, and no call yet. */
	vd_add(&f->vd, RX, &(struct vq_seg){ VD_DATA, 100 }, 1, 0);
	vd_kick(&f->vd, RX);
	u = vd_wait(&f->vd, RX);
	assert_int_equal(u.len, 100);
	assert_int_equal(f->readable, 0);
	vd_add(&f->vd, RX, &(struct vq_seg){ VD_DATA + 100, 2900 }, 1, 0);
	vd_kick(&f->vd, RX);
	u = vd_wait(&f->vd, RX);
	assert_int_equal(u.len, taken - 100);
	assert_memory_equal(got, text, taken);
	assert_int_equal(f->readable, 1);	/* once */
	vd_kick(&f->vd, RX);
	vd_pump(&f->vd, 0);
	assert_int_equal(f->readable, 1);

	vd_add(&f->vd, RX, &(struct vq_seg){ VD_DATA + taken, 3000 - taken }, 1, 0);
	more = virtio_console_input(f->vd.dev, text + taken, sizeof(text) - taken);
	assert_int_equal(more, sizeof(text) - taken);
	assert_memory_equal(got, text, sizeof(text));
}

static void input_before_the_driver(void **state)
{
	struct fixture *f = *state;
	struct vring_used_elem u;

	vd_set(&f->vd, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(virtio_console_input(f->vd.dev, "early ", 6), 6);
	assert_int_equal(virtio_console_input(f->vd.dev, "bird", 4), 4);
	vd_start(&f->vd, VD_F_MODERN | F_RING, 2, 16);
	vd_add(&f->vd, RX, &(struct vq_seg){ VD_DATA, 64 }, 1, 0);
	vd_kick(&f->vd, RX);
	u = vd_wait(&f->vd, RX);
	assert_int_equal(u.len, 10);
	assert_memory_equal(vd_ptr(&f->vd, VD_DATA), "early bird", 10);
}

static void resize(void **state)
{
	struct fixture *f = *state;

	assert_true(vd_features(&f->vd) & VD_F(0));	/* VIRTIO_CONSOLE_F_SIZE */
	virtio_console_resize(f->vd.dev, 80, 25);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG), 25 << 16 | 80);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG + 4), 1);	/* ports */
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG_GENERATION), 1);
	virtio_console_resize(f->vd.dev, 80, 25);	/* nothing new */
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG_GENERATION), 1);
	assert_int_equal(f->vd.irqs, 1);
}

static void bad_buffers(void **state)
{
	struct fixture *f = *state;
	struct vring_used_elem u;

	f->vd.private_base = VD_DATA;
	f->vd.private_len = 0x1000;
	memcpy(vd_ptr(&f->vd, VD_DATA), "secret", 6);
	vd_add(&f->vd, TX, &(struct vq_seg){ VD_DATA, 6 }, 1, 1);	/* private */
	vd_add(&f->vd, TX, &(struct vq_seg){ 0x1000, 6 }, 1, 1);	/* no memory */
	vd_add(&f->vd, TX, &(struct vq_seg){ VD_DATA + 0x1000, 6 }, 1, 0);	/* wrong way */
	print(f, VD_DATA + 0x1000, "fine");
	vd_kick(&f->vd, TX);
	for (int i = 0; i < 4; i++)
		vd_wait(&f->vd, TX);
	assert_int_equal(f->out_len, 4);
	assert_memory_equal(f->out, "fine", 4);

	vd_add(&f->vd, RX, &(struct vq_seg){ VD_DATA, 6 }, 1, 0);
	vd_add(&f->vd, RX, &(struct vq_seg){ VD_DATA + 0x2000, 6 }, 1, 1);
	vd_add(&f->vd, RX, &(struct vq_seg){ VD_DATA + 0x2000, 6 }, 1, 0);
	assert_int_equal(virtio_console_input(f->vd.dev, "typed", 5), 5);
	u = vd_wait(&f->vd, RX);
	assert_int_equal(u.len, 0);
	u = vd_wait(&f->vd, RX);
	assert_int_equal(u.len, 0);
	u = vd_wait(&f->vd, RX);
	assert_int_equal(u.len, 5);
	assert_memory_equal(vd_ptr(&f->vd, VD_DATA), "secret", 6);
	assert_memory_equal(vd_ptr(&f->vd, VD_DATA + 0x2000), "typed", 5);
	assert_false(vd_get(&f->vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* ---- more than one port ---- */

#define PORTS		2	/* beside the first */
#define CTRL_RX		2
#define CTRL_TX		3
#define PORT_RX(n)	(2 + 2 * (n))
#define PORT_TX(n)	(3 + 2 * (n))
#define CTRL_BUF	(VD_DATA + 0x200000)	/* 64 bytes for each buffer of messages */
#define MULTI		(VD_F_MODERN | VD_F(VIRTIO_CONSOLE_F_MULTIPORT))

struct multi {
	struct fixture f;
	struct fixture host[PORTS];
	unsigned int gone, next_buf, seen;
};

static void host_gone(void *ctx)
{
	struct fixture *f = ctx;

	f->refused = 1000;
}

static void give_message_buffers(struct multi *m, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++, m->next_buf++)
		vd_add(&m->f.vd, CTRL_RX,
		       &(struct vq_seg){ CTRL_BUF + 64 * m->next_buf, 64 }, 1, 0);
	vd_kick(&m->f.vd, CTRL_RX);
	vd_pump(&m->f.vd, 0);
}

/* The next message must be this one. Returns what follows its header. */
static const uint8_t *expect(struct multi *m, uint32_t id, uint16_t event, uint16_t value,
			     uint32_t more)
{
	const uint8_t *p = vd_ptr(&m->f.vd, CTRL_BUF + 64 * m->seen++);
	struct virtio_console_control c;
	struct vring_used_elem u;

	assert_true(vd_used(&m->f.vd, CTRL_RX, &u));
	memcpy(&c, p, sizeof(c));
	assert_int_equal(c.id, id);
	assert_int_equal(c.event, event);
	assert_int_equal(c.value, value);
	assert_int_equal(u.len, sizeof(c) + more);
	return p + sizeof(c);
}

static void expect_none(struct multi *m)
{
	struct vring_used_elem u;

	assert_false(vd_used(&m->f.vd, CTRL_RX, &u));
}

static void say(struct multi *m, uint32_t id, uint16_t event, uint16_t value)
{
	struct virtio_console_control c = { id, event, value };

	memcpy(vd_ptr(&m->f.vd, VD_DATA + 0x300000), &c, sizeof(c));
	vd_add(&m->f.vd, CTRL_TX, &(struct vq_seg){ VD_DATA + 0x300000, sizeof(c) }, 1, 1);
	vd_kick(&m->f.vd, CTRL_TX);
	vd_wait(&m->f.vd, CTRL_TX);
	vd_pump(&m->f.vd, 0);
}

static int setup_ports(void **state, bool terminal)
{
	struct multi *m = calloc(1, sizeof(*m));
	struct virtio_console_io io = { host_write, &m->f, host_readable };
	struct virtio_console_port port[PORTS];
	struct virtio_dev *dev;
	struct err e;

	m->f.room = SIZE_MAX;
	for (int i = 0; i < PORTS; i++) {
		m->host[i].room = SIZE_MAX;
		port[i] = (struct virtio_console_port){
			i ? "second" : "first",
			{ host_write, &m->host[i], host_readable, host_gone },
		};
	}
	vd_init(&m->f.vd, false);
	m->f.vd.env.packed = packed;
	assert_int_equal(virtio_console_new_ports(&m->f.vd.env, terminal ? &io : NULL, port, PORTS,
						  &dev, &e), 0);
	vd_attach(&m->f.vd, dev);
	*state = m;
	return 0;
}

static int setup_multi(void **state)
{
	return setup_ports(state, true);
}

static int setup_headless(void **state)
{
	return setup_ports(state, false);
}

static int teardown_multi(void **state)
{
	struct multi *m = *state;

	vd_destroy(&m->f.vd);
	for (int i = 0; i < PORTS; i++)
		assert_int_equal(m->host[i].refused, 1000);
	free(m);
	return 0;
}

static void start_multi(struct multi *m)
{
	vd_start(&m->f.vd, MULTI | F_RING, 4 + 2 * PORTS, 32);
	m->next_buf = m->seen = 0;
	vd_pump(&m->f.vd, 0);
}

static void ports(void **state)
{
	struct multi *m = *state;
	struct vdriver *vd = &m->f.vd;
	const uint8_t *p;
	struct vring_used_elem u;

	assert_true(vd_features(vd) & VD_F(VIRTIO_CONSOLE_F_MULTIPORT));
	virtio_console_resize(vd->dev, 132, 50);
	start_multi(m);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_CONFIG + 4), 1 + PORTS);

	/* Messages wait for buffers, and for the driver to speak first. */
	say(m, ~0U, VIRTIO_CONSOLE_DEVICE_READY, 1);
	give_message_buffers(m, 2);
	expect(m, 0, VIRTIO_CONSOLE_PORT_ADD, 1, 0);
	expect(m, 1, VIRTIO_CONSOLE_PORT_ADD, 1, 0);
	expect_none(m);
	give_message_buffers(m, 20);
	expect(m, 2, VIRTIO_CONSOLE_PORT_ADD, 1, 0);
	expect_none(m);

	say(m, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	expect(m, 0, VIRTIO_CONSOLE_CONSOLE_PORT, 1, 0);
	expect(m, 0, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	p = expect(m, 0, VIRTIO_CONSOLE_RESIZE, 1, 4);
	assert_memory_equal(p, ((const uint8_t[]){ 132, 0, 50, 0 }), 4);
	say(m, 2, VIRTIO_CONSOLE_PORT_READY, 1);
	p = expect(m, 2, VIRTIO_CONSOLE_PORT_NAME, 1, 6);
	assert_memory_equal(p, "second", 6);
	expect_none(m);

	/* The host's end comes and goes. */
	virtio_console_port_open(vd->dev, 1, true);	/* the guest has not made it yet */
	expect_none(m);
	virtio_console_port_open(vd->dev, 2, true);
	virtio_console_port_open(vd->dev, 2, true);
	expect(m, 2, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	expect_none(m);
	say(m, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	expect(m, 1, VIRTIO_CONSOLE_PORT_NAME, 1, 5);
	expect(m, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	virtio_console_port_open(vd->dev, 1, false);
	expect(m, 1, VIRTIO_CONSOLE_PORT_OPEN, 0, 0);
	virtio_console_resize(vd->dev, 80, 24);
	p = expect(m, 0, VIRTIO_CONSOLE_RESIZE, 1, 4);
	assert_memory_equal(p, ((const uint8_t[]){ 80, 0, 24, 0 }), 4);
	virtio_console_port_resize(vd->dev, 2, 80, 24);		/* no terminal */
	expect_none(m);

	/* Data: nothing for who does not listen. */
	vd_add(vd, PORT_RX(2), &(struct vq_seg){ VD_DATA, 64 }, 1, 0);
	assert_int_equal(virtio_console_port_input(vd->dev, 2, "for two", 7), 7);
	vd_kick(vd, PORT_RX(2));
	vd_pump(vd, 0);
	assert_false(vd_used(vd, PORT_RX(2), &u));
	say(m, 2, VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_true(vd_used(vd, PORT_RX(2), &u));
	assert_int_equal(u.len, 7);
	assert_memory_equal(vd_ptr(vd, VD_DATA), "for two", 7);

	for (int n = 1; n <= PORTS; n++) {
		memcpy(vd_ptr(vd, VD_DATA), n == 1 ? "one" : "two", 3);
		vd_add(vd, PORT_TX(n), &(struct vq_seg){ VD_DATA, 3 }, 1, 1);
		vd_kick(vd, PORT_TX(n));
		vd_wait(vd, PORT_TX(n));
	}
	assert_int_equal(m->host[0].out_len, 3);
	assert_memory_equal(m->host[0].out, "one", 3);
	assert_memory_equal(m->host[1].out, "two", 3);
	assert_int_equal(m->f.out_len, 0);
}

/* One port that is stuck does not hold up another. */
static void stuck_port(void **state)
{
	struct multi *m = *state;
	struct vdriver *vd = &m->f.vd;
	struct vring_used_elem u;
	uint8_t text[2000] = { 0 };
	size_t taken;

	start_multi(m);
	say(m, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (int n = 1; n <= PORTS; n++) {
		say(m, n, VIRTIO_CONSOLE_PORT_READY, 1);
		say(m, n, VIRTIO_CONSOLE_PORT_OPEN, 1);
	}
	m->host[0].room = 3;
	vd_add(vd, PORT_TX(1), &(struct vq_seg){ VD_DATA, 10 }, 1, 1);
	vd_add(vd, PORT_TX(2), &(struct vq_seg){ VD_DATA, 10 }, 1, 1);
	vd_kick(vd, PORT_TX(1));
	vd_kick(vd, PORT_TX(2));
	vd_wait(vd, PORT_TX(2));
	vd_pump(vd, 0);
	assert_false(vd_used(vd, PORT_TX(1), &u));
	assert_int_equal(m->host[0].out_len, 3);
	m->host[0].room = SIZE_MAX;
	virtio_console_port_writable(vd->dev, 1);
	assert_true(vd_used(vd, PORT_TX(1), &u));
	assert_int_equal(m->host[0].out_len, 10);

	taken = virtio_console_port_input(vd->dev, 1, text, sizeof(text));
	assert_in_range(taken, 1, sizeof(text) - 1);
	vd_add(vd, PORT_RX(2), &(struct vq_seg){ VD_DATA, 64 }, 1, 0);
	assert_int_equal(virtio_console_port_input(vd->dev, 2, "x", 1), 1);
	assert_true(vd_used(vd, PORT_RX(2), &u));
	assert_int_equal(m->host[0].readable, 0);
	vd_add(vd, PORT_RX(1), &(struct vq_seg){ VD_DATA, 4096 }, 1, 0);
	vd_kick(vd, PORT_RX(1));
	vd_wait(vd, PORT_RX(1));
	assert_int_equal(m->host[0].readable, 1);
	assert_int_equal(m->host[1].readable, 0);
}

/* What came and went while the guest took no messages: the last word, and that it closed. */
static void messages_pile_up(void **state)
{
	struct multi *m = *state;
	struct vdriver *vd = &m->f.vd;

	start_multi(m);
	say(m, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	say(m, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	give_message_buffers(m, 3);	/* PORT_READY of port 1 came before its PORT_ADD was sent */
	expect(m, 0, VIRTIO_CONSOLE_PORT_ADD, 1, 0);
	expect(m, 1, VIRTIO_CONSOLE_PORT_NAME, 1, 5);
	expect(m, 2, VIRTIO_CONSOLE_PORT_ADD, 1, 0);
	for (int i = 0; i < 1000; i++) {
		virtio_console_port_open(vd->dev, 1, true);
		virtio_console_port_open(vd->dev, 1, false);
	}
	virtio_console_port_open(vd->dev, 1, true);
	give_message_buffers(m, 8);
	expect(m, 1, VIRTIO_CONSOLE_PORT_OPEN, 0, 0);
	expect(m, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
	expect_none(m);

	/* A reset forgets what was due, and what was known. */
	virtio_console_port_open(vd->dev, 1, false);
	expect(m, 1, VIRTIO_CONSOLE_PORT_OPEN, 0, 0);
	vd_set(vd, VIRTIO_MMIO_STATUS, 0);
	virtio_console_port_open(vd->dev, 1, true);
	start_multi(m);
	give_message_buffers(m, 8);
	expect_none(m);
	say(m, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (int n = 0; n <= PORTS; n++)
		expect(m, n, VIRTIO_CONSOLE_PORT_ADD, 1, 0);
	say(m, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	expect(m, 1, VIRTIO_CONSOLE_PORT_NAME, 1, 5);
	expect(m, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0);
}

static void bad_messages(void **state)
{
	struct multi *m = *state;
	struct vdriver *vd = &m->f.vd;

	start_multi(m);
	say(m, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);		/* before anything */
	say(m, 3, VIRTIO_CONSOLE_PORT_READY, 1);	/* no such port */
	say(m, ~0U, VIRTIO_CONSOLE_PORT_OPEN, 1);
	say(m, 1, 77, 1);
	say(m, 1, VIRTIO_CONSOLE_PORT_READY, 0);
	vd_add(vd, CTRL_TX, &(struct vq_seg){ VD_DATA, 7 }, 1, 1);	/* too short */
	vd_add(vd, CTRL_TX, &(struct vq_seg){ VD_DATA, 8 }, 1, 0);	/* the wrong way */
	vd_add(vd, CTRL_TX, &(struct vq_seg){ 0x1000, 8 }, 1, 1);	/* no memory */
	vd_kick(vd, CTRL_TX);
	for (int i = 0; i < 3; i++)
		vd_wait(vd, CTRL_TX);
	say(m, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	/* Buffers too small or nowhere are given back, the message comes in the next. */
	vd_add(vd, CTRL_RX, &(struct vq_seg){ VD_DATA, 7 }, 1, 0);
	vd_add(vd, CTRL_RX, &(struct vq_seg){ 0x1000, 64 }, 1, 0);
	vd_kick(vd, CTRL_RX);
	for (int i = 0; i < 2; i++)
		assert_int_equal(vd_wait(vd, CTRL_RX).len, 0);
	give_message_buffers(m, 8);
	for (int n = 0; n <= PORTS; n++)
		expect(m, n, VIRTIO_CONSOLE_PORT_ADD, 1, 0);
	assert_false(vd_get(vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* A driver that knows one port only: it has port 0 as ever, and its kicks of others are nothing. */
static void one_port_driver(void **state)
{
	struct multi *m = *state;
	struct vdriver *vd = &m->f.vd;
	struct vring_used_elem u;

	vd_start(vd, VD_F_MODERN | F_RING, 4 + 2 * PORTS, 16);
	print(&m->f, VD_DATA, "plain");
	vd_kick(vd, TX);
	vd_wait(vd, TX);
	assert_int_equal(m->f.out_len, 5);
	vd_add(vd, RX, &(struct vq_seg){ VD_DATA, 64 }, 1, 0);
	assert_int_equal(virtio_console_input(vd->dev, "in", 2), 2);
	assert_true(vd_used(vd, RX, &u));
	vd_add(vd, PORT_TX(1), &(struct vq_seg){ VD_DATA, 3 }, 1, 1);
	vd_kick(vd, PORT_TX(1));
	vd_kick(vd, CTRL_TX);
	vd_pump(vd, 0);
	virtio_console_port_writable(vd->dev, 1);
	assert_false(vd_used(vd, PORT_TX(1), &u));
	assert_int_equal(m->host[0].out_len, 0);
}

/* No terminal: port 0 is not announced, what is written to it is gone. */
static void no_terminal(void **state)
{
	struct multi *m = *state;
	struct vdriver *vd = &m->f.vd;

	start_multi(m);
	give_message_buffers(m, 8);
	say(m, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect(m, 1, VIRTIO_CONSOLE_PORT_ADD, 1, 0);
	expect(m, 2, VIRTIO_CONSOLE_PORT_ADD, 1, 0);
	say(m, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	expect_none(m);
	vd_add(vd, TX, &(struct vq_seg){ VD_DATA, 3 }, 1, 1);
	vd_kick(vd, TX);
	vd_wait(vd, TX);
	vd_set(vd, VIRTIO_MMIO_CONFIG + 8, 'x');
}

/* Before the driver has done anything at all. */
static void emergency(void **state)
{
	struct fixture *f = *state;

	assert_true(vd_features(&f->vd) & VD_F(VIRTIO_CONSOLE_F_EMERG_WRITE));
	vd_set(&f->vd, VIRTIO_MMIO_STATUS, 0);
	vd_set(&f->vd, VIRTIO_MMIO_CONFIG + 8, 'o');
	vd_set(&f->vd, VIRTIO_MMIO_CONFIG + 8, 0x100 | 'h');
	vd_set(&f->vd, VIRTIO_MMIO_CONFIG + 4, '!');	/* not that register */
	assert_int_equal(f->out_len, 2);
	assert_memory_equal(f->out, "oh", 2);
	f->room = 0;
	vd_set(&f->vd, VIRTIO_MMIO_CONFIG + 8, 'x');	/* lost, and nothing waits for it */
	assert_int_equal(f->out_len, 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define M(name) cmocka_unit_test_setup_teardown(name, setup_multi, teardown_multi)
	const struct CMUnitTest tests[] = {
		T(output), T(host_does_not_keep_up), T(reset_while_stuck), T(input),
		T(guest_does_not_read), T(input_before_the_driver), T(resize), T(emergency),
		cmocka_unit_test_setup_teardown(bad_buffers, setup_realm, teardown),
		M(ports), M(stuck_port), M(messages_pile_up), M(bad_messages), M(one_port_driver),
		cmocka_unit_test_setup_teardown(no_terminal, setup_headless, teardown_multi),
	};
	int failed;

	log_set_level(LOG_ERROR);
	failed = cmocka_run_group_tests_name("split", tests, NULL, NULL);
	packed = true;
	return failed + cmocka_run_group_tests_name("packed", tests, NULL, NULL);
}
