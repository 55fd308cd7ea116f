// SPDX-License-Identifier: BSD-3-Clause
/* Sockets (section 5.10) between the guest and unix sockets of the host. */
#include <linux/virtio_ids.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/conformance/conf.h"

#define AT(n)	(DATA + (n) * PAGE)
#define CID	UINT64_C(7)
#define PORT	88u		/* of the host, where the test listens */

enum { RX, TX, EVENT };

struct socks {
	char dir[32], path[48];
	int control, port;
};

static int listen_at(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	assert_int_equal(bind(fd, (void *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static void vsock_make(struct vm *vm)
{
	struct socks *s = calloc(1, sizeof(*s));
	struct virtio_vsock_cfg cfg = { .cid = CID };
	char path[64];
	struct err e;

	assert_non_null(s);
	vm->ctx = s;
	strcpy(s->dir, "/tmp/conformance.XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->path, sizeof(s->path), "%s/v", s->dir);
	snprintf(path, sizeof(path), "%s_%u", s->path, PORT);
	s->control = listen_at(s->path);
	s->port = listen_at(path);
	cfg.fd = s->control;
	cfg.path = s->path;
	assert_int_equal(virtio_vsock_new(&vm->env, &cfg, &vm->dev, &e), 0);
}

static void vsock_free(struct vm *vm)
{
	struct socks *s = vm->ctx;
	char path[64];

	snprintf(path, sizeof(path), "%s_%u", s->path, PORT);
	unlink(path);
	unlink(s->path);
	rmdir(s->dir);
	close(s->control);
	close(s->port);
	free(s);
}

static void say(struct vm *vm, uint32_t port, uint16_t op, const char *data)
{
	uint32_t len = data ? strlen(data) : 0;
	struct virtio_vsock_hdr h = {
		.src_cid = CID, .dst_cid = 2, .src_port = port, .dst_port = PORT, .len = len,
		.type = VIRTIO_VSOCK_TYPE_STREAM, .op = op, .buf_alloc = 65536,
	};
	struct buf b[] = { { AT(20), sizeof(h), false }, { AT(21), len, false } };

	vm_put(vm, AT(20), &h, sizeof(h));
	if (len)
		vm_put(vm, AT(21), data, len);
	ring_do(vm, TX, b, len ? 2 : 1);
}

/* What the device says next to this port; it may have more to say to others, whom it answers. */
static struct virtio_vsock_hdr hear(struct vm *vm, uint32_t port, uint16_t op)
{
	struct virtio_vsock_hdr h;
	uint32_t len;

	for (int i = 0; i < 200; i++) {
		len = ring_do(vm, RX, &(struct buf){ AT(22), 512, true }, 1);
		assert_in_range(len, sizeof(h), 512);
		memcpy(&h, vm_at(vm, AT(22)), sizeof(h));
		assert_int_equal(h.dst_cid, CID);
		assert_true(h.len <= len - sizeof(h));
		if (h.dst_port == port && h.op == op)
			return h;
	}
	fail_msg("no message %u for port %u", op, port);
	return h;
}

static void vsock_good(struct vm *vm)
{
	struct socks *s = vm->ctx;
	uint32_t port = 1000 + vm->count++;
	struct virtio_vsock_hdr h;
	char text[8] = "";
	int fd;

	say(vm, port, VIRTIO_VSOCK_OP_REQUEST, NULL);
	h = hear(vm, port, VIRTIO_VSOCK_OP_RESPONSE);
	assert_int_equal(h.src_cid, 2);
	assert_int_equal(h.src_port, PORT);
	fd = accept(s->port, NULL, NULL);
	assert_true(fd >= 0);
	say(vm, port, VIRTIO_VSOCK_OP_RW, "hello");
	vm_pump(vm, 0);
	assert_int_equal(recv(fd, text, 5, 0), 5);
	assert_string_equal(text, "hello");
	assert_int_equal(send(fd, "world", 5, 0), 5);
	h = hear(vm, port, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(h.len, 5);
	assert_memory_equal((uint8_t *)vm_at(vm, AT(22)) + sizeof(h), "world", 5);
	say(vm, port, VIRTIO_VSOCK_OP_RST, NULL);
	vm_pump(vm, 0);
	assert_int_equal(recv(fd, text, 5, 0), 0);
	close(fd);
}

const struct kind kind_vsock = {
	.name = "vsock",
	.id = VIRTIO_ID_VSOCK,
	.queues = 3,
	.config_len = sizeof(struct virtio_vsock_config),
	.lane = { { TX, false, 44 } },
	.make = vsock_make,
	.good = vsock_good,
	.free = vsock_free,
	.alone = true,
};
