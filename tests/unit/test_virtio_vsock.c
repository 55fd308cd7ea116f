// SPDX-License-Identifier: BSD-3-Clause
/*
 * The socket device in user space: connections both ways, credit, the end of connections, and a
 * guest that does not keep to any of it.
 */
#include <errno.h>
#include <linux/virtio_vsock.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/vdriver.h"
#include "vmm/core/usock.h"

enum { RX, TX, EVENT };

#define CID		5
#define BUF		65536	/* the device's buf_alloc */
#define NR_RX		16	/* buffers for the device's packets, RX_SIZE each */
#define RX_SIZE		4096
#define RX_AT		(VD_DATA + 0x100000)
#define TX_AT		(VD_DATA + 0x200000)
#define HDR		sizeof(struct virtio_vsock_hdr)
#define SHUT_BOTH	3
#define MODERN		(VD_F_MODERN | (packed ? VD_F_PACKED | VD_F_IN_ORDER : 0))

static bool packed;

struct fixture {
	struct vdriver vd;
	char dir[32], path[64], path_port[64];
	struct usock sock, port;	/* where programs connect, and what port 88 is */
	unsigned int next_rx;		/* the buffer that is used next */
	uint8_t data[RX_SIZE];		/* of the last packet */
};

static void give_rx(struct fixture *f, unsigned int n)
{
	vd_add(&f->vd, RX, &(struct vq_seg){ RX_AT + n * RX_SIZE, RX_SIZE }, 1, 0);
}

static void start(struct fixture *f)
{
	vd_start(&f->vd, MODERN, 3, 32);
	f->next_rx = 0;
	for (unsigned int i = 0; i < NR_RX; i++)
		give_rx(f, i);
	vd_pump(&f->vd, 0);
}

static int setup_common(void **state, bool again)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct virtio_vsock_cfg cfg;
	struct virtio_dev *dev;
	struct err e;

	strcpy(f->dir, "/tmp/vsock.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
	snprintf(f->path_port, sizeof(f->path_port), "%s/s_88", f->dir);
	assert_int_equal(usock_listen(&f->sock, "test", f->path, &e), 0);
	assert_int_equal(usock_listen(&f->port, "test", f->path_port, &e), 0);
	vd_init(&f->vd, false);
	f->vd.env.packed = packed;
	cfg = (struct virtio_vsock_cfg){ CID, f->sock.fd, f->path, again };
	assert_int_equal(virtio_vsock_new(&f->vd.env, &cfg, &dev, &e), 0);
	vd_attach(&f->vd, dev);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	setup_common(state, false);
	start(*state);
	return 0;
}

static int setup_again(void **state)
{
	return setup_common(state, true);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vd_destroy(&f->vd);
	usock_close(&f->sock);
	usock_close(&f->port);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* A packet of the guest, as it likes; returns the header for changes before it goes out. */
static struct virtio_vsock_hdr packet(uint32_t guest_port, uint32_t host_port, uint16_t op)
{
	return (struct virtio_vsock_hdr){
		.src_cid = CID, .dst_cid = 2, .src_port = guest_port, .dst_port = host_port,
		.type = VIRTIO_VSOCK_TYPE_STREAM, .op = op, .buf_alloc = 100000,
	};
}

static void send_raw(struct fixture *f, const struct virtio_vsock_hdr *h, const void *data,
		     uint32_t len)
{
	uint8_t *p = vd_ptr(&f->vd, TX_AT);

	memcpy(p, h, HDR);
	if (len)
		memcpy(p + HDR, data, len);
	vd_add(&f->vd, TX, (struct vq_seg[]){ { TX_AT, HDR }, { TX_AT + HDR, len } }, len ? 2 : 1,
	       len ? 2 : 1);
	vd_kick(&f->vd, TX);
	vd_wait(&f->vd, TX);
	vd_pump(&f->vd, 0);
}

static void send_op(struct fixture *f, uint32_t guest_port, uint32_t host_port, uint16_t op)
{
	const struct virtio_vsock_hdr h = packet(guest_port, host_port, op);

	send_raw(f, &h, NULL, 0);
}

static void send_data(struct fixture *f, uint32_t guest_port, uint32_t host_port, const void *data,
		      uint32_t len)
{
	struct virtio_vsock_hdr h = packet(guest_port, host_port, VIRTIO_VSOCK_OP_RW);

	h.len = len;
	send_raw(f, &h, data, len);
}

static void send_shutdown(struct fixture *f, uint32_t guest_port, uint32_t host_port,
			  uint32_t flags)
{
	struct virtio_vsock_hdr h = packet(guest_port, host_port, VIRTIO_VSOCK_OP_SHUTDOWN);

	h.flags = flags;
	send_raw(f, &h, NULL, 0);
}

/* The device's next packet, if there is one; its buffer is given again. */
static bool received(struct fixture *f, struct virtio_vsock_hdr *h)
{
	const uint8_t *p = vd_ptr(&f->vd, RX_AT + f->next_rx * RX_SIZE);
	struct vring_used_elem u;

	vd_pump(&f->vd, 0);
	if (!vd_used(&f->vd, RX, &u))
		return false;
	memcpy(h, p, HDR);
	assert_int_equal(u.len, HDR + h->len);
	memcpy(f->data, p + HDR, h->len);
	give_rx(f, f->next_rx);
	f->next_rx = (f->next_rx + 1) % NR_RX;
	vd_kick(&f->vd, RX);
	return true;
}

static struct virtio_vsock_hdr expect(struct fixture *f, uint32_t guest_port, uint32_t host_port,
				      uint16_t op)
{
	struct virtio_vsock_hdr h = {0};

	assert_true(received(f, &h));
	assert_int_equal(h.op, op);
	assert_int_equal(h.src_cid, 2);
	assert_int_equal(h.dst_cid, CID);
	assert_int_equal(h.dst_port, guest_port);
	if (host_port)
		assert_int_equal(h.src_port, host_port);
	assert_int_equal(h.type, VIRTIO_VSOCK_TYPE_STREAM);
	return h;
}

static void expect_none(struct fixture *f)
{
	struct virtio_vsock_hdr h;

	if (received(f, &h))
		fail_msg("packet %u of port %u", h.op, h.src_port);
}

/* A connection that the guest opens to port 88; returns the host's program. */
static int open_by_guest(struct fixture *f, uint32_t guest_port)
{
	struct virtio_vsock_hdr h;
	int fd;

	send_op(f, guest_port, 88, VIRTIO_VSOCK_OP_REQUEST);
	h = expect(f, guest_port, 88, VIRTIO_VSOCK_OP_RESPONSE);
	assert_int_equal(h.buf_alloc, BUF);
	assert_int_equal(h.fwd_cnt, 0);
	fd = usock_accept(f->port.fd);
	assert_true(fd >= 0);
	return fd;
}

/* ... and one that a program opens to port 77. */
static int open_by_host(struct fixture *f, uint32_t *host_port)
{
	struct virtio_vsock_hdr h;
	char text[32] = "", want[32];
	int fd = usock_connect(f->path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "CONNECT 77\n", 11), 11);
	h = expect(f, 77, 0, VIRTIO_VSOCK_OP_REQUEST);
	*host_port = h.src_port;
	send_op(f, 77, *host_port, VIRTIO_VSOCK_OP_RESPONSE);
	snprintf(want, sizeof(want), "OK %u\n", *host_port);
	assert_int_equal(read(fd, text, sizeof(text)), strlen(want));
	assert_string_equal(text, want);
	return fd;
}

static void expect_eof(int fd)
{
	char c;

	assert_int_equal(read(fd, &c, 1), 0);
	close(fd);
}

static void config(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_DEVICE_ID), 19);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG), CID);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG + 4), 0);
}

static void guest_connects(void **state)
{
	struct fixture *f = *state;
	int fd = open_by_guest(f, 1000);
	struct virtio_vsock_hdr h;
	char text[32];

	send_data(f, 1000, 88, "hello", 5);
	assert_int_equal(read(fd, text, sizeof(text)), 5);
	assert_memory_equal(text, "hello", 5);
	assert_int_equal(write(fd, "goodbye", 7), 7);
	h = expect(f, 1000, 88, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(h.len, 7);
	assert_int_equal(h.fwd_cnt, 5);
	assert_memory_equal(f->data, "goodbye", 7);

	/* The program goes away: all that it wrote, then the end, then the guest agrees. */
	assert_int_equal(write(fd, "last", 4), 4);
	close(fd);
	h = expect(f, 1000, 88, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(h.len, 4);
	h = expect(f, 1000, 88, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(h.flags, SHUT_BOTH);
	send_op(f, 1000, 88, VIRTIO_VSOCK_OP_RST);
	expect_none(f);
	/* Nothing is left of it: the same ports again. */
	close(open_by_guest(f, 1000));

	/* Nobody listens. */
	send_op(f, 1000, 89, VIRTIO_VSOCK_OP_REQUEST);
	h = expect(f, 1000, 88, VIRTIO_VSOCK_OP_SHUTDOWN);
	expect(f, 1000, 89, VIRTIO_VSOCK_OP_RST);
}

static void host_connects(void **state)
{
	struct fixture *f = *state;
	uint32_t port, other;
	int fd = open_by_host(f, &port), fd2 = open_by_host(f, &other);
	char text[32];

	assert_int_not_equal(port, other);
	send_data(f, 77, other, "two", 3);
	send_data(f, 77, port, "one", 3);
	assert_int_equal(read(fd, text, sizeof(text)), 3);
	assert_memory_equal(text, "one", 3);
	assert_int_equal(read(fd2, text, sizeof(text)), 3);
	assert_memory_equal(text, "two", 3);
	/* The guest closes: the program sees the end, the guest gets the reset it waits for. */
	send_data(f, 77, port, "end", 3);
	send_shutdown(f, 77, port, SHUT_BOTH);
	expect(f, 77, port, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(read(fd, text, sizeof(text)), 3);
	expect_eof(fd);
	send_op(f, 77, other, VIRTIO_VSOCK_OP_RST);
	expect_eof(fd2);
	expect_none(f);
}

static void guest_refuses(void **state)
{
	struct fixture *f = *state;
	struct virtio_vsock_hdr h;
	int fd = usock_connect(f->path);

	assert_int_equal(write(fd, "CONNECT 78\nearly", 16), 16);
	h = expect(f, 78, 0, VIRTIO_VSOCK_OP_REQUEST);
	send_op(f, 78, h.src_port, VIRTIO_VSOCK_OP_RST);
	expect_none(f);
	assert_int_equal(recv(fd, &h, 1, 0), -1);	/* what it wrote was not read */
	assert_int_equal(errno, ECONNRESET);
	close(fd);
}

/* The device has closed its end, perhaps with something unread. */
static bool gone(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);

	return !n || (n < 0 && errno == ECONNRESET);
}

/* What is said first, in pieces, wrong, too long, or not at all. */
static void greetings(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {
		"HELLO 77\n", "CONNECT\n", "CONNECT x\n", "CONNECT 4294967296\n", "\n",
		"CONNECT 77 and so on and so on and so on",
	};
	struct virtio_vsock_hdr h;
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		fd = usock_connect(f->path);
		assert_int_equal(write(fd, bad[i], strlen(bad[i])), strlen(bad[i]));
		expect_none(f);
		assert_true(gone(fd));
		close(fd);
	}
	fd = usock_connect(f->path);
	for (const char *p = "CONNECT 4294967295"; *p; p++) {
		assert_int_equal(write(fd, p, 1), 1);
		expect_none(f);
	}
	assert_int_equal(write(fd, "\nmore", 5), 5);
	h = expect(f, 4294967295, 0, VIRTIO_VSOCK_OP_REQUEST);
	send_op(f, 4294967295, h.src_port, VIRTIO_VSOCK_OP_RESPONSE);
	h = expect(f, 4294967295, 0, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(h.len, 4);
	close(fd);
	expect(f, 4294967295, 0, VIRTIO_VSOCK_OP_SHUTDOWN);
	/* Gone before the guest was asked, and before it answered. */
	close(usock_connect(f->path));
	expect_none(f);
	fd = usock_connect(f->path);
	assert_int_equal(write(fd, "CONNECT 5\n", 10), 10);
	h = expect(f, 5, 0, VIRTIO_VSOCK_OP_REQUEST);
	close(fd);
	expect(f, 5, h.src_port, VIRTIO_VSOCK_OP_RST);
}

/* Each direction may end alone. */
static void half_closed(void **state)
{
	struct fixture *f = *state;
	int fd = open_by_guest(f, 1000);
	struct virtio_vsock_hdr h;
	char text[32];

	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	h = expect(f, 1000, 88, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(h.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	send_data(f, 1000, 88, "still", 5);
	assert_int_equal(read(fd, text, sizeof(text)), 5);
	/* Now both have ended, which is the end. */
	send_shutdown(f, 1000, 88, VIRTIO_VSOCK_SHUTDOWN_SEND);
	expect_eof(fd);
	h = expect(f, 1000, 88, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(h.flags, SHUT_BOTH);
	send_op(f, 1000, 88, VIRTIO_VSOCK_OP_RST);

	fd = open_by_guest(f, 1001);
	send_shutdown(f, 1001, 88, VIRTIO_VSOCK_SHUTDOWN_SEND);
	assert_int_equal(read(fd, text, 1), 0);
	assert_int_equal(write(fd, "answer", 6), 6);
	h = expect(f, 1001, 88, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(h.len, 6);
	send_shutdown(f, 1001, 88, SHUT_BOTH);
	expect(f, 1001, 88, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	close(fd);
	expect_none(f);
}

/* The guest's buffer is full: not a byte more, and going on when it says so. */
static void credit_of_the_guest(void **state)
{
	struct fixture *f = *state;
	struct virtio_vsock_hdr h = packet(1000, 88, VIRTIO_VSOCK_OP_REQUEST);
	uint8_t text[2000] = { 0 };
	uint32_t got = 0;
	int fd;

	h.buf_alloc = 700;
	send_raw(f, &h, NULL, 0);
	expect(f, 1000, 88, VIRTIO_VSOCK_OP_RESPONSE);
	fd = usock_accept(f->port.fd);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i * 7 + i / 256;
	assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
	h = expect(f, 1000, 88, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(h.len, 700);
	expect(f, 1000, 88, VIRTIO_VSOCK_OP_CREDIT_REQUEST);	/* once */
	expect_none(f);
	h = packet(1000, 88, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	h.buf_alloc = 700;
	h.fwd_cnt = 500;
	send_raw(f, &h, NULL, 0);
	h = expect(f, 1000, 88, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(h.len, 500);
	assert_memory_equal(f->data, text + 700, 500);
	expect(f, 1000, 88, VIRTIO_VSOCK_OP_CREDIT_REQUEST);

	/* Nonsense is no credit: a smaller buffer, and more read than was sent. */
	h = packet(1000, 88, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	h.buf_alloc = 10;
	h.fwd_cnt = 500;
	send_raw(f, &h, NULL, 0);
	expect_none(f);
	h.buf_alloc = 700;
	h.fwd_cnt = 5000;
	send_raw(f, &h, NULL, 0);
	expect_none(f);
	h.buf_alloc = 1U << 20;
	h.fwd_cnt = 1200;
	send_raw(f, &h, NULL, 0);
	h = expect(f, 1000, 88, VIRTIO_VSOCK_OP_RW);
	got = h.len;
	assert_int_equal(got, 800);
	assert_memory_equal(f->data, text + 1200, 800);
	close(fd);
}

/* The program does not read: the device's buffer fills, the guest is told of room as it comes. */
static void credit_of_the_device(void **state)
{
	struct fixture *f = *state;
	static uint8_t out[4 << 20], back[4 << 20];
	int fd = open_by_guest(f, 1000);
	uint32_t sent = 0, told = 0, got = 0;
	struct virtio_vsock_hdr h;
	ssize_t n;

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = i * 3 + i / 4096;
	/* As long as it has credit, with updates on the way. */
	for (;;) {
		uint32_t room = BUF - (sent - told), len = MIN(room, 5000U);

		if (!len)
			break;
		send_data(f, 1000, 88, out + sent, len);
		sent += len;
		while (received(f, &h)) {
			assert_int_equal(h.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
			told = h.fwd_cnt;
		}
	}
	assert_true(sent > BUF);	/* the socket took some */
	expect_none(f);
	while (got < sent) {
		n = read(fd, back + got, sizeof(back) - got);
		if (n < 0)
			assert_int_equal(errno, EAGAIN);
		got += n > 0 ? n : 0;
		vd_pump(&f->vd, 0);
	}
	assert_memory_equal(back, out, sent);
	while (received(f, &h))
		told = h.fwd_cnt;
	assert_true(BUF - (sent - told) > BUF / 2);
	send_op(f, 1000, 88, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	h = expect(f, 1000, 88, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(h.fwd_cnt, sent);

	/* The end waits for what is under way. */
	for (told = sent; sent - told + 5000 <= BUF && sent < 3U << 20; sent += 5000) {
		send_data(f, 1000, 88, out + sent, 5000);
		while (received(f, &h))
			told = h.fwd_cnt;
	}
	send_shutdown(f, 1000, 88, SHUT_BOTH);
	expect_none(f);
	while (got < sent) {
		n = read(fd, back + got, sizeof(back) - got);
		if (n < 0)
			assert_int_equal(errno, EAGAIN);
		got += n > 0 ? n : 0;
		vd_pump(&f->vd, 0);
	}
	assert_memory_equal(back, out, sent);
	expect(f, 1000, 88, VIRTIO_VSOCK_OP_RST);
	expect_eof(fd);
}

/* More than there is credit for, without reading the answers. */
static void overrun(void **state)
{
	struct fixture *f = *state;
	int fd = open_by_guest(f, 1000);
	static uint8_t out[60000];
	struct virtio_vsock_hdr h;
	unsigned int i;

	for (i = 0; i < 100; i++) {
		send_data(f, 1000, 88, out, sizeof(out));
		if (received(f, &h) && h.op == VIRTIO_VSOCK_OP_RST)
			break;
	}
	assert_in_range(i, 1, 99);
	close(fd);
	/* Anything on it from now on is a packet of no connection. */
	send_data(f, 1000, 88, out, 10);
	expect(f, 1000, 88, VIRTIO_VSOCK_OP_RST);
}

static void forged(void **state)
{
	struct fixture *f = *state;
	struct virtio_vsock_hdr h;
	char text[16];
	int fd;

	/* As somebody else. */
	h = packet(1000, 88, VIRTIO_VSOCK_OP_REQUEST);
	h.src_cid = 99;
	send_raw(f, &h, NULL, 0);
	expect_none(f);
	/* To somebody else, and of another kind: told that it is not there. */
	h = packet(1000, 88, VIRTIO_VSOCK_OP_REQUEST);
	h.dst_cid = 3;
	send_raw(f, &h, NULL, 0);
	assert_true(received(f, &h));
	assert_int_equal(h.op, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(h.src_cid, 3);
	assert_int_equal(h.dst_cid, CID);
	h = packet(1000, 88, VIRTIO_VSOCK_OP_REQUEST);
	h.type = 2;
	send_raw(f, &h, NULL, 0);
	assert_true(received(f, &h));
	assert_int_equal(h.op, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(h.type, 2);
	/* Of connections that there are not: a reset, but none for a reset. */
	for (uint16_t op = VIRTIO_VSOCK_OP_RESPONSE; op <= 10; op++) {
		send_op(f, 4, 5, op);
		if (op == VIRTIO_VSOCK_OP_RST)
			expect_none(f);
		else
			expect(f, 4, 5, VIRTIO_VSOCK_OP_RST);
	}
	/* A length that is not that of the buffer. */
	fd = open_by_guest(f, 1000);
	h = packet(1000, 88, VIRTIO_VSOCK_OP_RW);
	h.len = 11;
	send_raw(f, &h, "0123456789", 10);
	expect(f, 1000, 88, VIRTIO_VSOCK_OP_RST);
	expect_eof(fd);
	fd = open_by_guest(f, 1000);
	h.len = UINT32_MAX;
	send_raw(f, &h, "0123456789", 10);
	expect(f, 1000, 88, VIRTIO_VSOCK_OP_RST);
	expect_eof(fd);
	fd = open_by_guest(f, 1000);
	h.len = 4;
	send_raw(f, &h, "0123456789", 10);	/* the rest is not meant */
	assert_int_equal(read(fd, text, sizeof(text)), 4);
	/* Opened twice; an answer nobody asked for. */
	send_op(f, 1000, 88, VIRTIO_VSOCK_OP_REQUEST);
	expect(f, 1000, 88, VIRTIO_VSOCK_OP_RST);
	expect_eof(fd);
	fd = open_by_guest(f, 1000);
	send_op(f, 1000, 88, VIRTIO_VSOCK_OP_RESPONSE);
	expect(f, 1000, 88, VIRTIO_VSOCK_OP_RST);
	expect_eof(fd);
	/* After it said that it would not. */
	fd = open_by_guest(f, 1000);
	send_shutdown(f, 1000, 88, VIRTIO_VSOCK_SHUTDOWN_SEND);
	send_data(f, 1000, 88, "x", 1);
	expect(f, 1000, 88, VIRTIO_VSOCK_OP_RST);
	close(fd);
	/* No header, one that cannot be read, the wrong way. */
	vd_add(&f->vd, TX, &(struct vq_seg){ TX_AT, HDR - 1 }, 1, 1);
	vd_add(&f->vd, TX, &(struct vq_seg){ 0x1000, HDR }, 1, 1);
	vd_add(&f->vd, TX, &(struct vq_seg){ TX_AT, HDR }, 1, 0);
	vd_kick(&f->vd, TX);
	for (int i = 0; i < 3; i++)
		vd_wait(&f->vd, TX);
	expect_none(f);
	assert_false(vd_get(&f->vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* A guest that asks without end and takes no answer is not listened to; nothing is lost later. */
static void no_answers_taken(void **state)
{
	struct fixture *f = *state;
	struct virtio_vsock_hdr h;
	unsigned int asked = 0, answers = 0;
	struct vring_used_elem u;

	vd_set(&f->vd, VIRTIO_MMIO_STATUS, 0);
	vd_start(&f->vd, MODERN, 3, 128);
	f->next_rx = 0;
	h = packet(4, 5, VIRTIO_VSOCK_OP_RW);
	memcpy(vd_ptr(&f->vd, TX_AT), &h, HDR);
	for (int i = 0; i < 100; i++)
		vd_add(&f->vd, TX, &(struct vq_seg){ TX_AT, HDR }, 1, 1);
	vd_kick(&f->vd, TX);
	vd_pump(&f->vd, 0);
	while (vd_used(&f->vd, TX, &u))
		asked++;
	assert_in_range(asked, 1, 99);
	for (unsigned int i = 0; i < NR_RX; i++)
		give_rx(f, i);
	vd_kick(&f->vd, RX);
	while (received(f, &h)) {
		assert_int_equal(h.op, VIRTIO_VSOCK_OP_RST);
		answers++;
	}
	assert_int_equal(answers, 100);
	while (vd_used(&f->vd, TX, &u))
		asked++;
	assert_int_equal(asked, 100);
}

/* Buffers of the guest that are too small, or nowhere. */
static void bad_buffers(void **state)
{
	struct fixture *f = *state;
	struct virtio_vsock_hdr h;
	int fd, fd2;

	vd_set(&f->vd, VIRTIO_MMIO_STATUS, 0);
	vd_start(&f->vd, MODERN, 3, 128);
	f->next_rx = 0;
	vd_add(&f->vd, RX, &(struct vq_seg){ RX_AT, HDR - 1 }, 1, 0);
	vd_add(&f->vd, RX, &(struct vq_seg){ RX_AT, RX_SIZE }, 1, 1);
	for (unsigned int i = 0; i < NR_RX; i++)
		give_rx(f, i);
	send_op(f, 1000, 88, VIRTIO_VSOCK_OP_REQUEST);
	for (int i = 0; i < 2; i++)
		assert_int_equal(vd_wait(&f->vd, RX).len, 0);
	expect(f, 1000, 88, VIRTIO_VSOCK_OP_RESPONSE);
	fd = usock_accept(f->port.fd);
	fd2 = open_by_guest(f, 1001);

	/* What went nowhere is missed in that connection: it is reset. Not the other. */
	vd_set(&f->vd, VIRTIO_MMIO_QUEUE_SEL, RX);
	vd_set(&f->vd, VIRTIO_MMIO_QUEUE_READY, 0);
	vd_ring_init(&f->vd, RX, 128);
	vd_queue(&f->vd, RX);
	f->next_rx = 0;
	vd_add(&f->vd, RX, (struct vq_seg[]){ { RX_AT, HDR }, { 0x1000, 100 } }, 2, 0);
	for (unsigned int i = 0; i < NR_RX; i++)
		give_rx(f, i);
	assert_int_equal(write(fd, "lost", 4), 4);
	vd_kick(&f->vd, RX);
	assert_int_equal(vd_wait(&f->vd, RX).len, 0);
	expect(f, 1000, 88, VIRTIO_VSOCK_OP_RST);
	expect_eof(fd);
	assert_int_equal(write(fd2, "kept", 4), 4);
	h = expect(f, 1001, 88, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(h.len, 4);
	close(fd2);
}

/* More connections than there may be; one that talks does not starve the others. */
static void many(void **state)
{
	struct fixture *f = *state;
	static uint8_t out[100000];
	struct virtio_vsock_hdr h;
	unsigned int nr = 0, of_first = 0, others = 0;
	int fd[600];

	for (unsigned int i = 0; i < 600; i++) {
		send_op(f, i, 88, VIRTIO_VSOCK_OP_REQUEST);
		assert_true(received(f, &h));
		if (h.op == VIRTIO_VSOCK_OP_RST)
			break;
		fd[nr] = usock_accept(f->port.fd);
		assert_true(fd[nr++] >= 0);
	}
	assert_in_range(nr, 100, 599);
	/* A program, too, has to wait. */
	fd[nr] = usock_connect(f->path);
	assert_int_equal(write(fd[nr], "CONNECT 77\n", 11), 11);
	expect_none(f);
	assert_true(write(fd[0], out, sizeof(out)) > 50000);
	for (int i = 1; i <= 5; i++)
		assert_int_equal(write(fd[i], "me", 2), 2);
	/* It had all the buffers that there were; from then on all take turns. */
	for (int i = 0; i < NR_RX + 7; i++) {
		assert_true(received(f, &h));
		of_first += h.dst_port == 0;
		others += h.dst_port != 0;
	}
	assert_int_equal(others, 5);
	assert_int_equal(of_first, NR_RX + 2);
	for (unsigned int i = 0; i <= nr; i++)
		close(fd[i]);
}

/* The driver is gone: programs see the end, nothing of before reaches the next driver. */
static void reset(void **state)
{
	struct fixture *f = *state;
	int fd = open_by_guest(f, 1000), late;
	struct vring_used_elem u;
	uint32_t port;
	const uint32_t *event = vd_ptr(&f->vd, TX_AT + 0x1000);

	assert_int_equal(write(fd, "unread", 6), 6);
	vd_set(&f->vd, VIRTIO_MMIO_STATUS, 0);
	vd_pump(&f->vd, 0);
	while (read(fd, &port, 1) > 0)
		;
	close(fd);
	late = usock_connect(f->path);		/* there is no driver that could answer */
	vd_pump(&f->vd, 0);
	expect_eof(late);

	start(f);
	expect_none(f);
	memset(vd_ptr(&f->vd, TX_AT + 0x1000), 0xff, 4);
	vd_add(&f->vd, EVENT, &(struct vq_seg){ TX_AT + 0x1000, 4 }, 1, 0);
	vd_kick(&f->vd, EVENT);
	u = vd_wait(&f->vd, EVENT);
	assert_int_equal(u.len, 4);
	assert_int_equal(*event, VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	vd_add(&f->vd, EVENT, &(struct vq_seg){ TX_AT + 0x1000, 4 }, 1, 0);
	vd_kick(&f->vd, EVENT);
	vd_pump(&f->vd, 0);
	assert_false(vd_used(&f->vd, EVENT, &u));	/* once */
	close(open_by_host(f, &port));

	/* Connections are up when the machine ends. */
	vd_set(&f->vd, VIRTIO_MMIO_STATUS, 0);
}

/* A machine after a reset: its guest is told. */
static void second_boot(void **state)
{
	struct fixture *f = *state;
	struct vring_used_elem u;

	start(f);
	vd_add(&f->vd, EVENT, &(struct vq_seg){ TX_AT, 2 }, 1, 0);	/* too short */
	vd_add(&f->vd, EVENT, &(struct vq_seg){ TX_AT, 8 }, 1, 0);
	vd_kick(&f->vd, EVENT);
	assert_int_equal(vd_wait(&f->vd, EVENT).len, 0);
	u = vd_wait(&f->vd, EVENT);
	assert_int_equal(u.len, 4);
}

/* Random packets: nothing but resets and credit comes of them. */
static void noise(void **state)
{
	struct fixture *f = *state;
	uint32_t seed = 12345;
	uint8_t data[64] = { 0 };
	struct virtio_vsock_hdr h;

	for (int i = 0; i < 3000; i++) {
		uint32_t r[4];

		for (int k = 0; k < 4; k++)
			r[k] = seed = seed * 1664525 + 1013904223;
		h = packet(1000 + (r[0] >> 28), 86 + (r[1] >> 30), r[2] >> 28);
		h.flags = r[3] >> 30;
		h.len = r[3] >> 8 & 0x7f;
		h.buf_alloc = r[1];
		h.fwd_cnt = r[0];
		send_raw(f, &h, data, r[2] & 63);
		while (received(f, &h))
			;
	}
	assert_false(vd_get(&f->vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	for (int fd; (fd = usock_accept(f->port.fd)) >= 0;)
		close(fd);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(config), T(guest_connects), T(host_connects), T(guest_refuses), T(greetings),
		T(half_closed), T(credit_of_the_guest), T(credit_of_the_device), T(overrun),
		T(forged),
		T(no_answers_taken), T(bad_buffers), T(many), T(reset), T(noise),
		cmocka_unit_test_setup_teardown(second_boot, setup_again, teardown),
	};
	int failed;

	log_set_level(LOG_ERROR);
	failed = cmocka_run_group_tests_name("split", tests, NULL, NULL);
	packed = true;
	return failed + cmocka_run_group_tests_name("packed", tests, NULL, NULL);
}
