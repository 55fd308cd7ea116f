// SPDX-License-Identifier: BSD-3-Clause
/*
 * The network device (section 5.1). Its host's end is one end of a socket pair; the test holds the
 * other and is the network: with packets, as a tap has them, for two pairs of queues; and with a
 * stream of frames, as passt has it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/conformance/conf.h"
#include "virtio/netif.h"

#define AT(n)	(DATA + (n) * PAGE)
#define PAIRS	2
#define FRAME	60

/**
 * struct wire - @fd: our ends; @stream: the one of passt, as its loop source
 * @got, @len: the last packet or frame that arrived here
 */
struct wire {
	struct netif nif, *passt;
	struct wire_end {
		struct loop_src src;
		struct wire *w;
	} end[PAIRS];
	unsigned int pairs;
	bool stream;
	uint8_t got[70000];
	ssize_t len;
};

static int no_ioctl(int fd, unsigned long request, void *arg)
{
	return 0;
}

static void arrived(struct loop_src *src, uint32_t events)
{
	struct wire *w = container_of(src, struct wire_end, src)->w;
	ssize_t n;

	/* All of it, or the device has to wait; of a stream the last frame's end is what counts. */
	while ((n = recv(src->fd, w->got, sizeof(w->got), MSG_DONTWAIT)) > 0)
		w->len = n;
}

static void make(struct vm *vm, bool stream)
{
	struct virtio_net_cfg cfg = {
		.name = "net", .mac = { 2, 0, 0, 0, 0, 1 }, .mtu = 1500,
	};
	struct wire *w = calloc(1, sizeof(*w));
	struct err e;
	int sv[2];

	assert_non_null(w);
	vm->ctx = w;
	w->stream = stream;
	w->pairs = w->nif.pairs = cfg.pairs = stream ? 1 : PAIRS;
	w->nif.kind = NETIF_TAP;
	w->nif.ctl = no_ioctl;
	w->nif.features = F(VIRTIO_NET_F_CSUM) | F(VIRTIO_NET_F_GUEST_CSUM) |
			  F(VIRTIO_NET_F_HOST_TSO4) | F(VIRTIO_NET_F_GUEST_TSO4);
	strcpy(w->nif.name, "tap");
	for (unsigned int i = 0; i < w->pairs; i++) {
		assert_int_equal(socketpair(AF_UNIX, (stream ? SOCK_STREAM : SOCK_SEQPACKET) |
					    SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv), 0);
		w->nif.fd[i] = sv[0];
		w->end[i] = (struct wire_end){ { sv[1], arrived }, w };
		assert_int_equal(loop_add(&vm->loop, &w->end[i].src, EPOLLIN), 0);
	}
	if (stream)
		assert_int_equal(netif_stream_new(w->nif.fd[0], "passt", &w->passt, &e), 0);
	cfg.nif = stream ? w->passt : &w->nif;
	assert_int_equal(virtio_net_new(&vm->env, &cfg, &vm->dev, &e), 0);
}

static void net_make(struct vm *vm)
{
	make(vm, false);
}

static void stream_make(struct vm *vm)
{
	make(vm, true);
}

static void net_free(struct vm *vm)
{
	struct wire *w = vm->ctx;

	for (unsigned int i = 0; i < w->pairs; i++) {
		loop_del(&vm->loop, &w->end[i].src);
		close(w->end[i].src.fd);
		if (!w->stream)
			close(w->nif.fd[i]);
	}
	netif_close(w->passt);
	free(w);
}

/* A packet comes from the network. A full device is no failure: it lost nothing it had. */
static void inject(struct wire *w, unsigned int pair, const uint8_t *frame, uint32_t len)
{
	uint8_t buf[NET_HDR_LEN + 2048] = { 0 };
	uint32_t be = htonl(len), head = w->stream ? sizeof(be) : NET_HDR_LEN;

	if (w->stream)
		memcpy(buf, &be, sizeof(be));
	memcpy(buf + head, frame, len);
	if (send(w->end[pair].src.fd, buf, head + len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		assert_true(errno == EAGAIN || errno == EWOULDBLOCK);
}

static void net_poke(struct vm *vm, unsigned int q)
{
	static const uint8_t frame[FRAME] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	inject(vm->ctx, q / 2, frame, sizeof(frame));
}

static bool sent(struct vm *vm, unsigned int len)
{
	struct wire *w = vm->ctx;

	return w->len >= (ssize_t)len;
}

/* Frames for hostile buffers are still on their way: the one that is waited for is last. */
static bool received(struct vm *vm, unsigned int q)
{
	uint16_t id;
	uint32_t len;

	if (!ring_used(vm, q, &id, &len))
		return false;
	assert_in_range(len, NET_HDR_LEN + NET_FRAME_MIN, 2048);
	if (*((uint8_t *)vm_at(vm, AT(12)) + NET_HDR_LEN + FRAME - 1) == (uint8_t)vm->count)
		return true;
	ring_add(vm, q, &(struct buf){ AT(12), 2048, true }, 1);
	vm->t->kick(vm, q);
	return false;
}

static void one_pair(struct vm *vm, unsigned int pair)
{
	struct buf b[] = { { AT(10), NET_HDR_LEN, false }, { AT(11), FRAME, false } };
	static const uint8_t header[NET_HDR_LEN];
	struct wire *w = vm->ctx;
	uint8_t frame[FRAME];
	uint32_t head = w->stream ? 4 : NET_HDR_LEN;

	/* Never the 0 that hostile frames end with. */
	vm->count = vm->count % 255 + 1;
	memset(frame, 0xff, 6);
	memset(frame + 6, vm->count, sizeof(frame) - 6);
	vm_put(vm, AT(10), header, sizeof(header));
	vm_put(vm, AT(11), frame, sizeof(frame));
	vm_pump(vm, 0);
	w->len = 0;
	ring_do(vm, 2 * pair + 1, b, 2);
	assert_true(vm_wait(vm, sent, head + FRAME));
	assert_memory_equal(w->got + w->len - FRAME, frame, FRAME);

	ring_add(vm, 2 * pair, &(struct buf){ AT(12), 2048, true }, 1);
	vm->t->kick(vm, 2 * pair);
	inject(w, pair, frame, sizeof(frame));
	if (!vm_wait(vm, received, 2 * pair))
		fail_msg("the packet did not arrive");
	assert_memory_equal((uint8_t *)vm_at(vm, AT(12)) + NET_HDR_LEN, frame, FRAME);
}

static uint8_t command(struct vm *vm, unsigned int q, uint8_t class, uint8_t cmd, const void *data,
		       uint32_t len)
{
	struct buf b[] = { { AT(13), 2, false }, { AT(14), len, false }, { AT(15), 1, true } };
	uint8_t hdr[] = { class, cmd };

	vm_put(vm, AT(13), hdr, sizeof(hdr));
	vm_put(vm, AT(14), data, len);
	vm_put(vm, AT(15), &(uint8_t){ 0xff }, 1);
	assert_int_equal(ring_do(vm, q, b, 3), 1);
	return *(uint8_t *)vm_at(vm, AT(15));
}

static void net_good(struct vm *vm)
{
	bool has_ctrl = vm->features >> VIRTIO_NET_F_CTRL_VQ & 1;
	bool mq = has_ctrl && (vm->features >> VIRTIO_NET_F_MQ & 1);
	/* The control queue comes behind all pairs that may be used (section 5.1.2). */
	unsigned int ctrl = mq ? 2 * PAIRS : 2;

	if (mq)
		assert_int_equal(command(vm, ctrl, VIRTIO_NET_CTRL_MQ,
					 VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &(uint16_t){ PAIRS }, 2),
				 VIRTIO_NET_OK);
	for (unsigned int i = 0; i < (mq ? PAIRS : 1); i++)
		one_pair(vm, i);
	if (has_ctrl) {
		assert_int_equal(command(vm, ctrl, 0xfe, 0xfe, &(uint32_t){ 0 }, 4),
				 VIRTIO_NET_ERR);
		if (mq)
			assert_int_equal(command(vm, ctrl, VIRTIO_NET_CTRL_MQ,
						 VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
						 &(uint16_t){ PAIRS + 1 }, 2), VIRTIO_NET_ERR);
	}
}

static void net_change(struct vm *vm)
{
	struct virtio_net_config c;

	for (uint32_t i = 0; i < sizeof(c); i++)
		((uint8_t *)&c)[i] = vm->t->config(vm, i, 0, 1, false);
	virtio_net_set_link(vm->dev, !(c.status & VIRTIO_NET_S_LINK_UP));
}

const struct kind kind_net = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.queues = 2 * PAIRS + 1,
	.config_len = offsetof(struct virtio_net_config, speed),
	.lane = { { 1, false, 72 }, { 0, true, 1600, true }, { 2 * PAIRS, false, 16 } },
	.make = net_make,
	.good = net_good,
	.poke = net_poke,
	.change = net_change,
	.free = net_free,
	.alone = true,
};

const struct kind kind_net_stream = {
	.name = "net-stream",
	.id = VIRTIO_ID_NET,
	.queues = 3,
	.config_len = offsetof(struct virtio_net_config, speed),
	.lane = { { 1, false, 72 }, { 0, true, 1600, true } },
	.make = stream_make,
	.good = net_good,
	.poke = net_poke,
	.change = net_change,
	.free = net_free,
	.alone = true,
};
