// SPDX-License-Identifier: BSD-3-Clause
/* The console: both directions, a host that does not keep up, a guest that does not read. */
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

static int setup_common(void **state, bool realm)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct virtio_console_io io = { host_write, f, host_readable };
	struct virtio_dev *dev;
	struct err e;

	f->room = SIZE_MAX;
	vd_init(&f->vd, realm);
	assert_int_equal(virtio_console_new(&f->vd.env, &io, &dev, &e), 0);
	vd_attach(&f->vd, dev);
	vd_start(&f->vd, VD_F_MODERN | VD_F(0), 2, 16);
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
			vd_start(&f->vd, VD_F_MODERN, 2, 16);
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
	vd_start(&f->vd, VD_F_MODERN, 2, 16);
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

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(output), T(host_does_not_keep_up), T(reset_while_stuck), T(input),
		T(guest_does_not_read), T(input_before_the_driver), T(resize),
		cmocka_unit_test_setup_teardown(bad_buffers, setup_realm, teardown),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
