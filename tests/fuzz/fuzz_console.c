// SPDX-License-Identifier: BSD-3-Clause
/*
 * The console, with one port and with several. Input: what vrig_run() takes; the host's end types,
 * resizes, opens and closes ports, and takes as much output as it likes.
 */
#include <linux/virtio_console.h>

#include "tests/fuzz/vrig.h"

#define PORTS 2

static struct {
	unsigned int ports;
	size_t room;		/* what the host takes before it is full */
	unsigned int gone;
} end;

static size_t host_write(void *ctx, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	uint8_t sum = 0;
	size_t n = MIN(len, end.room);

	for (size_t i = 0; i < len; i++)	/* all of it can be read */
		sum ^= p[i];
	end.room -= n;
	return sum ? n : MIN(n, end.room + n);
}

static void readable(void *ctx)
{
}

static void port_gone(void *ctx)
{
	end.gone++;
}

static void make(struct vrig *r, struct input *in)
{
	struct virtio_console_io io = {
		.write = host_write, .readable = readable, .gone = port_gone,
	};
	struct virtio_console_port port[PORTS] = { { "one", io }, { "two", io } };
	uint8_t how = in_u8(in);
	struct err e;

	end.ports = how & 1 ? PORTS : 0;
	end.room = how & 2 ? 100 : SIZE_MAX / 2;
	end.gone = 0;
	if (end.ports)
		PROPERTY(!virtio_console_new_ports(&r->env, how & 4 ? NULL : &io, port, PORTS,
						   &r->dev, &e));
	else
		PROPERTY(!virtio_console_new(&r->env, &io, &r->dev, &e));
}

static void gone(struct vrig *r)
{
	PROPERTY(end.gone <= PORTS + 1);
}

/* A control message if it is their queue. */
static size_t fill(struct vrig *r, struct input *in, unsigned int q, uint8_t *buf, size_t room)
{
	uint8_t how = in_u8(in);
	size_t len;

	if (end.ports && (q == 3 || how & 0x80)) {
		struct virtio_console_control c = {
			how & 0x40 ? in_u32(in) : in_u8(in) % (PORTS + 2), how & 15, in_u8(in),
		};

		memcpy(buf, &c, sizeof(c));
		return sizeof(c) - (how >> 4 & 3);
	}
	len = how & 0x3f;
	in_bytes(in, buf, len);
	return len;
}

static void host(struct vrig *r, struct input *in)
{
	uint8_t how = in_u8(in), arg = in_u8(in), text[256];
	unsigned int port = end.ports ? arg % (PORTS + 1) : 0;

	switch (how % 5) {
	case 0:
		memset(text, how, sizeof(text));
		PROPERTY(virtio_console_port_input(r->dev, port, text, how) <= how);
		break;
	case 1:
		virtio_console_port_resize(r->dev, port, arg, how);
		break;
	case 2:
		end.room = arg;
		virtio_console_port_writable(r->dev, port);
		break;
	case 3:
		virtio_console_port_open(r->dev, port, arg & 0x80);
		break;
	default:
		for (unsigned int i = 0; i < 40; i++)
			virtio_console_port_input(r->dev, port, "0123456789abcdef", 16);
		break;
	}
}

static const struct vrig_kind kind = { .make = make, .fill = fill, .host = host, .gone = gone };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	vrig_run(&kind, data, size);
	return 0;
}

void fuzz_seeds(void)
{
	static const uint16_t some[] = { 64, 16, 0 };
	struct vrig_seed s;
	char name[] = "a";

	for (unsigned int i = 0; i < 8; i++, name[0]++) {
		unsigned int ports = i >> 1 & 3;

		vrig_seed_start(&s, i & 1, i & 4, (uint8_t[]){ ports | (i & 4) }, 1);
		if (ports & 1) {
			for (unsigned int n = 0; n < 6; n++)
				vrig_seed_chain(&s, 2, (uint8_t[]){ 0 }, 1, NULL, some);
			vrig_seed_kick(&s, 2);
			/* device ready; ports ready, open */
			vrig_seed_chain(&s, 3, (uint8_t[]){ 0, 0, 1 }, 3, NULL, NULL);
			for (uint8_t p = 0; p < 4; p++) {
				vrig_seed_chain(&s, 3, (uint8_t[]){ 3, p, 1 }, 3, NULL, NULL);
				vrig_seed_chain(&s, 3, (uint8_t[]){ 6, p, 1 }, 3, NULL, NULL);
			}
			vrig_seed_kick(&s, 3);
			vrig_seed_host(&s, (uint8_t[]){ 3, 1 | 0x80 }, 2);
			vrig_seed_chain(&s, 5, (uint8_t[]){ 4, 'a', 'b', 'c', 'd' }, 5, some, NULL);
			vrig_seed_kick(&s, 5);
			vrig_seed_chain(&s, 4, (uint8_t[]){ 0 }, 1, NULL, some);
			vrig_seed_kick(&s, 4);
			vrig_seed_host(&s, (uint8_t[]){ 10, 1 }, 2);
		}
		vrig_seed_chain(&s, 1, (uint8_t[]){ 4, 'a', 'b', 'c', 'd' }, 5, some, NULL);
		vrig_seed_kick(&s, 1);
		vrig_seed_host(&s, (uint8_t[]){ 4, 0 }, 2);
		vrig_seed_chain(&s, 0, (uint8_t[]){ 0 }, 1, NULL, some);
		vrig_seed_kick(&s, 0);
		vrig_seed_host(&s, (uint8_t[]){ 5, 3 }, 2);
		vrig_seed_host(&s, (uint8_t[]){ 6, 3 }, 2);
		vrig_seed_host(&s, (uint8_t[]){ 2, 60 }, 2);
		/* the byte that is written without a queue */
		vrig_seed_config(&s, offsetof(struct virtio_console_config, emerg_wr), 'x');
		vrig_seed_private(&s, 25, true);
		vrig_seed_chain(&s, 1, (uint8_t[]){ 4, 'a', 'b', 'c', 'd' }, 5, some, NULL);
		vrig_seed_kick(&s, 1);
		vrig_seed_restart(&s, RIG_F(VIRTIO_CONSOLE_F_MULTIPORT));
		vrig_seed_chain(&s, 1, (uint8_t[]){ 4, 'a', 'b', 'c', 'd' }, 5, some, NULL);
		vrig_seed_kick(&s, 1);
		vrig_seed_rest(&s);
		vrig_seed_end(&s, name);
	}
}
