// SPDX-License-Identifier: BSD-3-Clause
/*
 * The socket device. Input: what vrig_run() takes; at the host's end programs listen, connect,
 * send, read and hang up.
 */
#include <errno.h>
#include <linux/virtio_vsock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fuzz/vrig.h"

#define CID	7
#define HOST	2
#define PORT	88
#define PEERS	4
#define BULK	30000u
#define FIRST_PORT ((1U << 30) + 1)	/* of those that the device gives to programs of the host */

static char dir[40], path[60];
static int control = -1, port = -1, peer[PEERS];

static int listen_at(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", name);
	PROPERTY(fd >= 0 && !bind(fd, (void *)&a, sizeof(a)) && !listen(fd, 16));
	return fd;
}

static void tidy(void)
{
	char name[80];

	snprintf(name, sizeof(name), "%s_%u", path, PORT);
	unlink(name);
	unlink(path);
	rmdir(dir);
}

static void prepare(void)
{
	const char *tmp = getenv("TMPDIR");
	char name[80];

	/* the name of a socket is short */
	snprintf(dir, sizeof(dir), "%s/fuzz.XXXXXX", tmp && strlen(tmp) < 20 ? tmp : "/tmp");
	PROPERTY(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/v", dir);
	snprintf(name, sizeof(name), "%s_%u", path, PORT);
	control = listen_at(path);
	port = listen_at(name);
	atexit(tidy);
}

static void make(struct vrig *r, struct input *in)
{
	struct virtio_vsock_cfg cfg = { .cid = CID, .again = in_u8(in) & 1, .path = path };
	struct err e;

	if (control < 0)
		prepare();
	cfg.fd = control;
	for (unsigned int i = 0; i < PEERS; i++)
		peer[i] = -1;
	PROPERTY(!virtio_vsock_new(&r->env, &cfg, &r->dev, &e));
}

static void gone(struct vrig *r)
{
	int fd;

	for (unsigned int i = 0; i < PEERS; i++)
		if (peer[i] >= 0)
			close(peer[i]);
	while ((fd = accept(port, NULL, NULL)) >= 0)
		close(fd);
	while ((fd = accept(control, NULL, NULL)) >= 0)
		close(fd);
}

/* A packet of a guest that speaks with two or three others, and a few bytes of data. */
static size_t fill(struct vrig *r, struct input *in, unsigned int q, uint8_t *buf, size_t room)
{
	uint8_t how = in_u8(in), op = in_u8(in), size = in_u8(in), data = size % 100;
	struct virtio_vsock_hdr h = {
		.src_cid = how & 0x80 ? in_u64(in) : CID,
		.dst_cid = how & 0x40 ? in_u64(in) : HOST,
		.src_port = 1000 + (how & 3),
		.dst_port = how & 4 ? PORT : how & 8 ? in_u32(in) : FIRST_PORT + size % 4,
		/* much of it: the rest is what comes behind this in the chain */
		.len = how & 0x10 ? in_u32(in) : data + (size >= 200 ? BULK : 0u),
		.type = how & 0x20 ? in_u16(in) : VIRTIO_VSOCK_TYPE_STREAM,
		.op = op & 0x0f,
		.flags = op >> 4 & 3,
		.buf_alloc = op & 0x40 ? in_u32(in) : 4096,
		.fwd_cnt = op & 0x80 ? in_u32(in) : 0,
	};

	memcpy(buf, &h, sizeof(h));
	memset(buf + sizeof(h), 'x', data);
	return how == 0xff ? data : sizeof(h) + data;
}

static void host(struct vrig *r, struct input *in)
{
	static uint8_t buf[70000];
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	uint8_t how = in_u8(in);
	int *fd = &peer[how >> 4 & 3], n;
	char text[32];

	switch (how & 7) {
	case 0:		/* a program of the host wants to speak to the guest */
		if (*fd >= 0)
			close(*fd);
		*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		strcpy(a.sun_path, path);
		if (connect(*fd, (void *)&a, sizeof(a)) < 0)
			break;
		n = snprintf(text, sizeof(text), "CONNECT %u\n", 1000 + (how >> 6));
		PROPERTY(send(*fd, text, n, MSG_NOSIGNAL) == n);
		break;
	case 1:		/* the same, with its own words */
		if (*fd >= 0)
			close(*fd);
		*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		strcpy(a.sun_path, path);
		if (connect(*fd, (void *)&a, sizeof(a)) < 0)
			break;
		n = in_u8(in) % sizeof(text);
		in_bytes(in, text, n);
		send(*fd, text, n, MSG_NOSIGNAL);
		break;
	case 2:		/* the guest's connection is taken */
		if (*fd >= 0)
			close(*fd);
		*fd = accept4(port, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		break;
	case 3:
		if (*fd >= 0)
			send(*fd, buf, in_u16(in), MSG_NOSIGNAL);
		break;
	case 4:
		if (*fd >= 0)
			PROPERTY(recv(*fd, buf, in_u16(in), 0) >= -1);
		break;
	case 5:
		if (*fd >= 0)
			shutdown(*fd, how & 8 ? SHUT_WR : SHUT_RD);
		break;
	case 6:
		if (*fd >= 0)
			close(*fd);
		*fd = -1;
		break;
	default:
		break;
	}
}

static const struct vrig_kind kind = { .make = make, .fill = fill, .host = host, .gone = gone };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	vrig_run(&kind, data, size);
	return 0;
}

enum { RX, TX };

static void say(struct vrig_seed *s, uint8_t port_of, uint8_t op, uint8_t data)
{
	vrig_seed_chain(s, TX, (uint8_t[]){ 4 | port_of, op, data }, 3, NULL, NULL);
	vrig_seed_kick(s, TX);
}

static void listen_to(struct vrig_seed *s, unsigned int n)
{
	static const uint16_t room[] = { 44, 4096, 0 };
	/* no packet in front: all that fill() takes for one of the input alone */
	static const uint8_t none[3 + 8 + 8 + 4 + 2] = { 0xff };

	while (n--)
		vrig_seed_chain(s, RX, none, sizeof(none), NULL, room);
	vrig_seed_kick(s, RX);
}

void fuzz_seeds(void)
{
	static const uint16_t bulk[] = { BULK, 0 };
	struct vrig_seed s;
	char name[] = "a";

	for (unsigned int i = 0; i < 8; i++, name[0]++) {
		vrig_seed_start(&s, i & 1, i & 2, (uint8_t[]){ i & 1 }, 1);
		listen_to(&s, 4);
		/* from the guest: asked for, taken, data both ways, the end */
		say(&s, 0, VIRTIO_VSOCK_OP_REQUEST, 0);
		vrig_seed_host(&s, (uint8_t[]){ 2 }, 1);
		say(&s, 0, VIRTIO_VSOCK_OP_RW, 20);
		say(&s, 0, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
		vrig_seed_host(&s, (uint8_t[]){ 3, 200, i & 4 ? 200 : 0 }, 3);
		listen_to(&s, 4);
		vrig_seed_host(&s, (uint8_t[]){ 4, 100, 0 }, 3);
		say(&s, 0, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
		say(&s, 0, VIRTIO_VSOCK_OP_SHUTDOWN | 0x10, 0);
		vrig_seed_host(&s, (uint8_t[]){ i & 4 ? 0x0d : 5 }, 1);
		say(&s, 0, i & 4 ? VIRTIO_VSOCK_OP_RST : VIRTIO_VSOCK_OP_SHUTDOWN | 0x30, 0);
		/* more than the host reads */
		say(&s, 1, VIRTIO_VSOCK_OP_REQUEST, 0);
		vrig_seed_host(&s, (uint8_t[]){ 0x32 }, 1);
		for (unsigned int n = 0; n < 9; n++) {
			vrig_seed_chain(&s, TX, (uint8_t[]){ 5, VIRTIO_VSOCK_OP_RW, 200 }, 3, bulk,
					NULL);
			vrig_seed_kick(&s, TX);
		}
		for (unsigned int n = 0; n < 4; n++)
			vrig_seed_host(&s, (uint8_t[]){ 0x34, 0xff, 0xff }, 3);
		/* where nobody listens; what nobody knows */
		vrig_seed_chain(&s, TX, (uint8_t[]){ 1, VIRTIO_VSOCK_OP_REQUEST, 0 }, 3, NULL,
				NULL);
		say(&s, 3, 15, 0);
		listen_to(&s, 3);
		/* from the host */
		vrig_seed_host(&s, (uint8_t[]){ 0x10 }, 1);
		listen_to(&s, 2);
		/* it is taken, and data come both ways */
		vrig_seed_chain(&s, TX, (uint8_t[]){ 0, VIRTIO_VSOCK_OP_RESPONSE, 0 }, 3, NULL,
				NULL);
		vrig_seed_kick(&s, TX);
		vrig_seed_host(&s, (uint8_t[]){ 0x13, 50, 0 }, 3);
		vrig_seed_chain(&s, TX, (uint8_t[]){ 0, VIRTIO_VSOCK_OP_RW, 0 }, 3, NULL, NULL);
		vrig_seed_kick(&s, TX);
		vrig_seed_host(&s, "\x21\x09" "CONNECT 9", 11);
		vrig_seed_host(&s, (uint8_t[]){ 0x31, 4, 'a', 'b', 'c', '\n' }, 6);
		vrig_seed_host(&s, (uint8_t[]){ 0x16 }, 1);
		vrig_seed_private(&s, 28, true);
		listen_to(&s, 2);
		vrig_seed_restart(&s, 0);
		listen_to(&s, 1);
		vrig_seed_rest(&s);
		vrig_seed_end(&s, name);
	}
}
