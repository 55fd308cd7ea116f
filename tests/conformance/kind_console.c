// SPDX-License-Identifier: BSD-3-Clause
/* The console (section 5.3): one port, and several. */
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdio.h>

#include "tests/conformance/conf.h"

#define AT(n)	(DATA + (n) * PAGE)

/* Queues; those of port 1 are behind the control queues (section 5.3.2). */
enum { RX, TX, CTRL_RX, CTRL_TX, RX1, TX1 };

struct con {
	char out[4096];
	size_t len;
};

static size_t host_write(void *ctx, const void *buf, size_t len)
{
	struct con *c = ctx;
	size_t n = MIN(len, sizeof(c->out) - c->len);

	memcpy(c->out + c->len, buf, n);
	c->len += n;
	return len;		/* what does not fit is of no interest */
}

static void con_make(struct vm *vm)
{
	struct virtio_console_io io = { .write = host_write };
	struct err e;

	vm->ctx = io.ctx = calloc(1, sizeof(struct con));
	assert_non_null(vm->ctx);
	assert_int_equal(virtio_console_new(&vm->env, &io, &vm->dev, &e), 0);
}

static void con_free(struct vm *vm)
{
	free(vm->ctx);
}

static void con_poke(struct vm *vm, unsigned int q)
{
	assert_int_equal(q, RX);
	assert_int_equal(virtio_console_input(vm->dev, "x", 1), 1);
}

static bool host_got(struct vm *vm, unsigned int len)
{
	struct con *c = vm->ctx;

	return c->len >= len;
}

static void print(struct vm *vm, unsigned int q)
{
	struct con *c = vm->ctx;
	char text[32];
	int n = snprintf(text, sizeof(text), "line %u\n", vm->count++);

	c->len = 0;
	vm_put(vm, AT(5), text, n);
	ring_do(vm, q, &(struct buf){ AT(5), n, false }, 1);
	assert_true(vm_wait(vm, host_got, n));
	assert_memory_equal(c->out, text, n);
}

/* Input that hostile buffers left over comes first: only the end of what arrives is looked at. */
static bool typed(struct vm *vm, unsigned int unused)
{
	char got[64];
	uint16_t id;
	uint32_t len;

	if (!ring_used(vm, RX, &id, &len))
		return false;
	assert_in_range(len, 1, sizeof(got));
	memcpy(got, vm_at(vm, AT(6)), len);
	if (got[len - 1] == '\n')
		return true;
	ring_add(vm, RX, &(struct buf){ AT(6), sizeof(got), true }, 1);
	vm->t->kick(vm, RX);
	return false;
}

static void con_good(struct vm *vm)
{
	print(vm, TX);
	ring_add(vm, RX, &(struct buf){ AT(6), 64, true }, 1);
	vm->t->kick(vm, RX);
	assert_int_equal(virtio_console_input(vm->dev, "typed\n", 6), 6);
	assert_true(vm_wait(vm, typed, 0));
}

static void con_change(struct vm *vm)
{
	vm->count++;
	virtio_console_resize(vm->dev, 80 + vm->count % 100, 25);
}

const struct kind kind_console = {
	.name = "console",
	.id = VIRTIO_ID_CONSOLE,
	.queues = 2,
	.config_len = sizeof(struct virtio_console_config),
	.lane = { { TX, false, 16 }, { RX, true, 16, true } },
	.make = con_make,
	.good = con_good,
	.poke = con_poke,
	.change = con_change,
	.free = con_free,
	.alone = true,
};

/* ---- ports ---- */

static void ports_make(struct vm *vm)
{
	struct virtio_console_io io = { .write = host_write };
	struct virtio_console_port port = { .name = "conformance" };
	struct err e;

	vm->ctx = io.ctx = calloc(1, sizeof(struct con));
	assert_non_null(vm->ctx);
	port.io = io;
	assert_int_equal(virtio_console_new_ports(&vm->env, &io, &port, 1, &vm->dev, &e), 0);
}

static void tell(struct vm *vm, uint32_t id, uint16_t event, uint16_t value)
{
	struct virtio_console_control m = { id, event, value };

	vm_put(vm, AT(7), &m, sizeof(m));
	ring_do(vm, CTRL_TX, &(struct buf){ AT(7), sizeof(m), false }, 1);
}

/* The next message of the device, with what follows it. */
static struct virtio_console_control hear(struct vm *vm)
{
	struct virtio_console_control m;
	uint32_t len = ring_do(vm, CTRL_RX, &(struct buf){ AT(8), 64, true }, 1);

	assert_in_range(len, sizeof(m), 64);
	memcpy(&m, vm_at(vm, AT(8)), sizeof(m));
	return m;
}

/* Section 5.3.6.2: the device tells of its ports, the driver takes one and uses it. */
static void ports_good(struct vm *vm)
{
	struct virtio_console_control m;
	char name[16] = "";

	if (!(vm->features >> VIRTIO_CONSOLE_F_MULTIPORT & 1)) {
		con_good(vm);
		return;
	}
	tell(vm, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (uint32_t id = 0; id < 2; id++) {
		m = hear(vm);
		assert_int_equal(m.event, VIRTIO_CONSOLE_PORT_ADD);
		assert_int_equal(m.id, id);
	}
	tell(vm, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	m = hear(vm);
	assert_int_equal(m.event, VIRTIO_CONSOLE_PORT_NAME);
	assert_int_equal(m.id, 1);
	memcpy(name, (char *)vm_at(vm, AT(8)) + sizeof(m), 11);
	assert_string_equal(name, "conformance");
	tell(vm, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	print(vm, TX1);
	/* What nobody asked for, of ports that are there or not. */
	tell(vm, 7, VIRTIO_CONSOLE_PORT_READY, 1);
	tell(vm, UINT32_MAX, VIRTIO_CONSOLE_PORT_OPEN, 1);
	tell(vm, 1, 0xffff, 0xffff);
	print(vm, TX1);
}

const struct kind kind_console_ports = {
	.name = "console-ports",
	.id = VIRTIO_ID_CONSOLE,
	.queues = 6,
	.config_len = sizeof(struct virtio_console_config),
	.lane = { { CTRL_TX, false, 16 }, { TX, false, 16 } },
	.make = ports_make,
	.good = ports_good,
	.free = con_free,
	.alone = true,
};
