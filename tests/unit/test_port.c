// SPDX-License-Identifier: BSD-3-Clause
/* Unix sockets by path, and the host's end of a console port on one. */
#include <errno.h>
#include <linux/virtio_console.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/vdriver.h"
#include "vmm/core/usock.h"
#include "vmm/port.h"

enum { CTRL_RX = 2, CTRL_TX, PORT_RX, PORT_TX };

#define MSG	(VD_DATA + 0x1000)
#define MSG_BUF	(VD_DATA + 0x2000)
#define OUT	(VD_DATA + 0x10000)
#define IN	(VD_DATA + 0x100000)
#define IN_SIZE	4096

struct fixture {
	struct vdriver vd;
	struct cfg_port cfg;
	struct port *port;
	char dir[32], path[64];
	unsigned int next;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/port.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/sock", f->dir);
	f->cfg = (struct cfg_port){ .name = "test", .path = f->path };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* ---- sockets --------------------------------------------------------------------------------- */

static void sockets(void **state)
{
	struct fixture *f = *state;
	struct usock s, other;
	struct stat st;
	struct err e;
	char buf[8], longer[300];
	int a, b;

	assert_int_equal(usock_connect(f->path), -ENOENT);
	assert_int_equal(usock_listen(&s, "option --x", f->path, &e), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(usock_accept(s.fd), -EAGAIN);
	a = usock_connect(f->path);
	b = usock_accept(s.fd);
	assert_true(a >= 0 && b >= 0);
	assert_int_equal(write(a, "hi", 2), 2);
	assert_int_equal(read(b, buf, sizeof(buf)), 2);
	assert_int_equal(read(b, buf, sizeof(buf)), -1);
	assert_int_equal(errno, EAGAIN);
	close(a);
	close(b);

	/* Somebody listens there: he keeps it. */
	assert_int_equal(usock_listen(&other, "option --x", f->path, &e), -EBUSY);
	assert_non_null(strstr(e.msg, "another program listens"));
	usock_close(&other);
	a = usock_accept(s.fd);		/* the question whether somebody does */
	assert_true(a >= 0);
	close(a);

	/* He died: it is replaced. */
	close(s.fd);
	assert_int_equal(usock_listen(&other, "option --x", f->path, &e), 0);
	/* Somebody else's by now: it is not removed. */
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(usock_listen(&s, "option --x", f->path, &e), 0);
	usock_close(&other);
	assert_int_equal(access(f->path, F_OK), 0);
	usock_close(&s);
	assert_int_equal(access(f->path, F_OK), -1);

	/* What is no socket stays; names that cannot be. */
	fclose(fopen(f->path, "w"));
	assert_int_equal(usock_listen(&s, "option --x", f->path, &e), -EEXIST);
	assert_int_equal(unlink(f->path), 0);
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(usock_listen(&s, "option --x", longer, &e), -ENAMETOOLONG);
	assert_int_equal(usock_connect(longer), -ENAMETOOLONG);
	assert_true(usock_listen(&s, "option --x", "/nowhere/at/all", &e) < 0);
	assert_non_null(strstr(e.msg, "name a path"));
}

/* ---- a port ---------------------------------------------------------------------------------- */

static void make_device(struct fixture *f)
{
	struct virtio_console_port port = { "test", port_io(f->port) };
	struct virtio_dev *dev;
	struct err e;

	vd_init(&f->vd, false);
	assert_int_equal(virtio_console_new_ports(&f->vd.env, NULL, &port, 1, &dev, &e), 0);
	vd_attach(&f->vd, dev);
	assert_int_equal(port_attach(f->port, &f->vd.loop, dev, &e), 0);
}

static void say(struct fixture *f, uint16_t event, uint16_t value)
{
	const struct virtio_console_control m = { 1, event, value };

	memcpy(vd_ptr(&f->vd, MSG), &m, sizeof(m));
	vd_add(&f->vd, CTRL_TX, &(struct vq_seg){ MSG, sizeof(m) }, 1, 1);
	vd_kick(&f->vd, CTRL_TX);
	vd_wait(&f->vd, CTRL_TX);
	vd_pump(&f->vd, 0);
}

static void start(struct fixture *f)
{
	vd_start(&f->vd, VD_F_MODERN | VD_F(VIRTIO_CONSOLE_F_MULTIPORT), 6, 32);
	f->next = 0;
	for (unsigned int i = 0; i < 30; i++)
		vd_add(&f->vd, CTRL_RX, &(struct vq_seg){ MSG_BUF + 64 * i, 64 }, 1, 0);
	say(f, VIRTIO_CONSOLE_DEVICE_READY, 1);
	say(f, VIRTIO_CONSOLE_PORT_READY, 1);
}

/* The next message to the guest. */
static void expect(struct fixture *f, uint16_t event, uint16_t value)
{
	struct virtio_console_control m;
	struct vring_used_elem u;

	vd_pump(&f->vd, 0);
	memcpy(&m, vd_ptr(&f->vd, MSG_BUF + 64 * f->next++), sizeof(m));
	assert_true(vd_used(&f->vd, CTRL_RX, &u));
	assert_int_equal(m.id, 1);
	assert_int_equal(m.event, event);
	assert_int_equal(m.value, value);
}

static void expect_none(struct fixture *f)
{
	struct vring_used_elem u;

	vd_pump(&f->vd, 0);
	assert_false(vd_used(&f->vd, CTRL_RX, &u));
}

static void print(struct fixture *f, uint32_t len)
{
	vd_add(&f->vd, PORT_TX, &(struct vq_seg){ OUT, len }, 1, 1);
	vd_kick(&f->vd, PORT_TX);
	vd_pump(&f->vd, 0);
}

static void clients(void **state)
{
	struct fixture *f = *state;
	struct vring_used_elem u;
	int a, b, early;
	struct err e;
	char buf[16];

	assert_int_equal(port_new(&f->cfg, 1, &f->port, &e), 0);
	early = usock_connect(f->path);		/* before there is a machine */
	assert_int_equal(write(early, "first", 5), 5);
	make_device(f);
	start(f);
	expect(f, VIRTIO_CONSOLE_PORT_ADD, 1);
	expect(f, VIRTIO_CONSOLE_PORT_NAME, 1);
	expect(f, VIRTIO_CONSOLE_PORT_OPEN, 1);
	vd_add(&f->vd, PORT_RX, &(struct vq_seg){ IN, 64 }, 1, 0);
	say(f, VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_int_equal(vd_wait(&f->vd, PORT_RX).len, 5);
	memcpy(vd_ptr(&f->vd, OUT), "answer", 6);
	print(f, 6);
	vd_wait(&f->vd, PORT_TX);
	assert_int_equal(read(early, buf, sizeof(buf)), 6);

	/* The next one waits for its turn. */
	b = usock_connect(f->path);
	expect_none(f);
	close(early);
	expect(f, VIRTIO_CONSOLE_PORT_OPEN, 0);
	expect(f, VIRTIO_CONSOLE_PORT_OPEN, 1);
	print(f, 3);
	vd_wait(&f->vd, PORT_TX);
	assert_int_equal(read(b, buf, sizeof(buf)), 3);
	close(b);
	expect(f, VIRTIO_CONSOLE_PORT_OPEN, 0);
	print(f, 6);	/* to nobody */
	vd_wait(&f->vd, PORT_TX);
	expect_none(f);

	/* A reset of the guest: the client stays, the next machine hears of it. */
	a = usock_connect(f->path);
	expect(f, VIRTIO_CONSOLE_PORT_OPEN, 1);
	vd_set(&f->vd, VIRTIO_MMIO_STATUS, 0);
	start(f);
	expect(f, VIRTIO_CONSOLE_PORT_ADD, 1);
	expect(f, VIRTIO_CONSOLE_PORT_NAME, 1);
	expect(f, VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_false(vd_used(&f->vd, PORT_RX, &u));
	vd_destroy(&f->vd);
	port_free(f->port);
	assert_int_equal(read(a, buf, sizeof(buf)), 0);
	close(a);
}

/* Neither side keeps up: nothing is lost, nothing twice, and the loop has its rest. */
static void back_pressure(void **state)
{
	struct fixture *f = *state;
	uint8_t *out, *in;
	size_t total = 500000, got = 0, sent = 0;
	static uint8_t buf[500000];
	unsigned int buffers = 0;
	struct vring_used_elem u;
	struct err e;
	int a;

	assert_int_equal(port_new(&f->cfg, 1, &f->port, &e), 0);
	make_device(f);
	start(f);
	say(f, VIRTIO_CONSOLE_PORT_OPEN, 1);
	a = usock_connect(f->path);
	vd_pump(&f->vd, 0);

	out = vd_ptr(&f->vd, OUT);
	for (size_t i = 0; i < total; i++)
		out[i] = i * 11 + i / 251;
	print(f, total);
	assert_false(vd_used(&f->vd, PORT_TX, &u));
	assert_int_equal(loop_once(&f->vd.loop, 20), 0);
	while (got < total) {
		ssize_t n = recv(a, buf + got, total - got, MSG_DONTWAIT);

		if (n < 0)
			assert_int_equal(errno, EAGAIN);
		got += n > 0 ? n : 0;
		vd_pump(&f->vd, 0);
	}
	vd_wait(&f->vd, PORT_TX);
	assert_memory_equal(buf, out, total);

	for (;;) {
		ssize_t n = send(a, out + sent, MIN(total - sent, (size_t)10000), MSG_DONTWAIT);

		if (n < 0)
			break;
		sent += n;
		vd_pump(&f->vd, 0);
	}
	assert_in_range(sent, 2000, total - 1);
	assert_int_equal(loop_once(&f->vd.loop, 20), 0);
	/* It hangs up now: what it wrote comes first, then the guest is told. */
	close(a);
	assert_int_equal(loop_once(&f->vd.loop, 20), 0);
	in = buf;
	for (got = 0; got < sent; buffers++) {
		vd_add(&f->vd, PORT_RX, &(struct vq_seg){ IN, IN_SIZE }, 1, 0);
		vd_kick(&f->vd, PORT_RX);
		u = vd_wait(&f->vd, PORT_RX);
		assert_in_range(u.len, 1, IN_SIZE);
		memcpy(in + got, vd_ptr(&f->vd, IN), u.len);
		got += u.len;
	}
	assert_int_equal(got, sent);
	assert_memory_equal(in, out, sent);
	expect(f, VIRTIO_CONSOLE_PORT_ADD, 1);
	expect(f, VIRTIO_CONSOLE_PORT_NAME, 1);
	expect(f, VIRTIO_CONSOLE_PORT_OPEN, 1);
	expect(f, VIRTIO_CONSOLE_PORT_OPEN, 0);
	expect_none(f);
	vd_destroy(&f->vd);
	port_free(f->port);
}

/* A client that leaves while output waits for it does not hold up the guest. */
static void client_leaves_output(void **state)
{
	struct fixture *f = *state;
	struct err e;
	int a;

	assert_int_equal(port_new(&f->cfg, 1, &f->port, &e), 0);
	make_device(f);
	start(f);
	a = usock_connect(f->path);
	vd_pump(&f->vd, 0);
	print(f, 500000);
	close(a);
	vd_wait(&f->vd, PORT_TX);
	vd_destroy(&f->vd);
	port_free(f->port);
}

static void pty(void **state)
{
	struct fixture *f = *state;
	struct err e;

	f->cfg.path = NULL;
	assert_int_equal(port_new(&f->cfg, 1, &f->port, &e), 0);
	make_device(f);
	start(f);
	expect(f, VIRTIO_CONSOLE_PORT_ADD, 1);
	expect(f, VIRTIO_CONSOLE_PORT_NAME, 1);
	expect(f, VIRTIO_CONSOLE_PORT_OPEN, 1);
	print(f, 100);
	vd_wait(&f->vd, PORT_TX);
	vd_destroy(&f->vd);
	port_free(f->port);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(sockets), T(clients), T(back_pressure), T(client_leaves_output), T(pty),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("port", tests, NULL, NULL);
}
