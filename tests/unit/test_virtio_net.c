// SPDX-License-Identifier: BSD-3-Clause
/*
 * The network device. Its host's end is one half of a socket pair: packets for a tap (a datagram is
 * read and written as a tap's packets are), a stream for passt's protocol. Each test runs on split
 * rings, on packed ones and in order.
 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/unit/vdriver.h"
#include "virtio/netif_int.h"

#define RX		0
#define TX		1
#define NF(bit)		VD_F(VIRTIO_NET_F_##bit)
#define BASIC		(NF(MAC) | NF(STATUS) | NF(CTRL_VQ) | NF(MRG_RXBUF))
#define TAP_FEATURES	(NF(CSUM) | NF(HOST_TSO4) | NF(GUEST_CSUM) | NF(GUEST_TSO4) | \
			 NF(GUEST_TSO6))
#define RING		64
#define OUT_HDR		VD_DATA
#define OUT		(VD_DATA + 0x1000)
#define IN		(VD_DATA + 0x100000)
#define CMD_AT		(VD_DATA + 0x80000)

struct net_test {
	struct vdriver vd;
	struct netif *nif;
	int peer[2];
	uint64_t rings;
	unsigned int offload, attached;
};

static struct net_test t;
static uint64_t rings;

/* Plays the kernel's side of a tap. */
static int fake_ctl(int fd, unsigned long request, void *arg)
{
	const struct ifreq *ifr = arg;

	if (request == TUNSETOFFLOAD) {
		t.offload = (uintptr_t)arg;
	} else if (request == TUNSETQUEUE) {
		for (unsigned int i = 0; i < t.nif->pairs; i++)
			if (t.nif->fd[i] == fd)
				t.attached = ifr->ifr_flags & IFF_ATTACH_QUEUE ?
					     t.attached | 1U << i : t.attached & ~(1U << i);
	}
	return 0;
}

static const uint8_t mac[6] = { 2, 0x15, 0x15, 0x15, 0x15, 0x15 };

static void begin_with(const struct virtio_net_cfg *cfg, bool realm, uint64_t features)
{
	struct virtio_dev *dev;
	struct err e;

	vd_init(&t.vd, realm);
	t.vd.env.packed = rings & VD_F_PACKED;
	assert_int_equal(virtio_net_new(&t.vd.env, cfg, &dev, &e), 0);
	vd_attach(&t.vd, dev);
	vd_start(&t.vd, features | VD_F_ALL | rings, 2 * cfg->pairs + 1, RING);
	vd_pump(&t.vd, 0);
	t.vd.irqs = 0;
}

static void pair_up(enum netif_kind kind, unsigned int pairs)
{
	int type = (kind == NETIF_TAP ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
	struct err e;
	int sv[2];

	memset(&t, 0, sizeof(t));
	t.offload = ~0U;
	assert_int_equal(socketpair(AF_UNIX, type, 0, sv), 0);
	t.peer[0] = sv[1];
	t.peer[1] = -1;
	if (kind == NETIF_STREAM) {
		assert_int_equal(netif_stream_new(sv[0], "peer", &t.nif, &e), 0);
		return;
	}
	t.nif = netif_new(kind, "fake0", &e);
	assert_non_null(t.nif);
	t.nif->ctl = fake_ctl;
	t.nif->features = TAP_FEATURES;
	t.nif->fd[t.nif->pairs++] = sv[0];
	if (pairs > 1) {
		assert_int_equal(socketpair(AF_UNIX, type, 0, sv), 0);
		t.peer[1] = sv[1];
		t.nif->fd[t.nif->pairs++] = sv[0];
	}
}

static struct virtio_net_cfg config(unsigned int pairs)
{
	struct virtio_net_cfg cfg = {
		.name = "net",
		.nif = t.nif,
		.pairs = pairs,
		.queue_size = RING,
		.mtu = 1400,
	};

	memcpy(cfg.mac, mac, 6);
	return cfg;
}

static void begin(enum netif_kind kind, uint64_t features)
{
	struct virtio_net_cfg cfg;

	pair_up(kind, 1);
	cfg = config(1);
	begin_with(&cfg, false, features);
}

static void end(void)
{
	vd_destroy(&t.vd);
	netif_close(t.nif);
	for (unsigned int i = 0; i < 2; i++)
		if (t.peer[i] > 0)
			close(t.peer[i]);
}

static void fill(uint8_t *p, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = seed + i * 7 + (i >> 8);
}

static bool filled(const uint8_t *p, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != (uint8_t)(seed + i * 7 + (i >> 8)))
			return false;
	return true;
}

/* ---- configuration --------------------------------------------------------------------------- */

static uint64_t config_space(uint64_t off, unsigned int len)
{
	return vd_access(&t.vd, VIRTIO_MMIO_CONFIG + off, 0, len, false);
}

static void configuration(void **state)
{
	uint64_t f;

	(void)state;
	begin(NETIF_TAP, BASIC);
	f = vd_features(&t.vd);
	assert_int_equal(vd_get(&t.vd, VIRTIO_MMIO_DEVICE_ID), 1);
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(config_space(i, 1), mac[i]);
	assert_int_equal(config_space(6, 2), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(config_space(8, 2), 1);
	assert_int_equal(config_space(10, 2), 1400);
	assert_int_equal(config_space(12, 4), 0);
	assert_true(f & NF(MTU) && f & NF(CTRL_MAC_ADDR) && f & NF(GUEST_TSO4) && f & NF(CSUM));
	assert_true(f & NF(CTRL_GUEST_OFFLOADS));
	/* one pair only; what the host's end has not; and what nobody does */
	assert_false(f & (NF(MQ) | NF(GUEST_ECN) | NF(HOST_TSO6) | NF(RSS) | NF(CTRL_VLAN)));
	end();

	/* neither header nor offloads on a stream */
	begin(NETIF_STREAM, BASIC);
	f = vd_features(&t.vd);
	assert_false(f & (TAP_FEATURES | NF(CTRL_GUEST_OFFLOADS)));
	end();
}

static unsigned int queue_max(unsigned int q)
{
	vd_set(&t.vd, VIRTIO_MMIO_QUEUE_SEL, q);
	return vd_get(&t.vd, VIRTIO_MMIO_QUEUE_NUM_MAX);
}

/*
 * Where a realm's guest bounces its packets through little memory, it is offered what makes it give
 * that memory back soon, and no more of it than there is.
 */
static void small_pool(void **state)
{
	static const struct {
		unsigned int max_request, nif_mtu, mtu, queue_size, pairs;
		unsigned int told, rx, tx;
		bool mrg, tso;
	} want[] = {
		/* no realm, or the pool that Linux usually takes */
		{ 0, 1500, 0, 0, 1, 0, 256, 256, true, true },
		{ 16 * SZ_1M, 1500, 0, 0, 1, 0, 256, 256, true, true },
		/* a pool of 16 MiB, 2 MiB, 512 KiB, 256 KiB */
		{ 8 * SZ_1M, 1500, 0, 0, 1, 1501, 256, 256, false, true },
		{ SZ_1M, 1500, 0, 0, 1, 1501, 64, 256, false, true },
		{ 256 << 10, 1500, 0, 0, 1, 1501, 16, 64, false, false },
		{ 128 << 10, 1500, 0, 0, 1, 1501, 8, 32, false, false },
		/* all pairs together; there is an end to it on both sides */
		{ 256 << 10, 1500, 0, 0, 2, 1501, 8, 32, false, false },
		{ 4 << 10, 68, 0, 0, 2, 1501, 4, 32, false, false },
		/* large packets want more pages each: the user's, or the interface's */
		{ 256 << 10, 1500, 9000, 0, 1, 9000, 8, 64, false, false },
		{ 256 << 10, 9000, 1600, 0, 1, 9000, 8, 64, false, false },
		{ 8 * SZ_1M, 70000, 0, 0, 1, 65535, 64, 256, false, true },
		/* a host's end that may send anything */
		{ 256 << 10, 0, 0, 0, 1, 0, 64, 64, true, false },
		/* what the user says */
		{ 256 << 10, 1500, 1400, 0, 1, 1400, 64, 64, true, false },
		{ 256 << 10, 1500, 0, RING, 1, 1501, RING, RING, false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		struct virtio_net_cfg cfg;
		struct virtio_dev *dev;
		struct err e;
		uint64_t f;

		pair_up(NETIF_TAP, want[i].pairs);
		cfg = config(want[i].pairs);
		t.nif->mtu = want[i].nif_mtu;
		cfg.mtu = want[i].mtu;
		cfg.queue_size = want[i].queue_size;
		vd_init(&t.vd, true);
		t.vd.env.max_request = want[i].max_request;
		assert_int_equal(virtio_net_new(&t.vd.env, &cfg, &dev, &e), 0);
		vd_attach(&t.vd, dev);
		f = vd_features(&t.vd);
		assert_int_equal(!!(f & NF(MRG_RXBUF)), want[i].mrg);
		assert_int_equal(!!(f & NF(GUEST_TSO4)), want[i].mrg && want[i].tso);
		assert_int_equal(!!(f & NF(HOST_TSO4)), want[i].tso);
		assert_true(f & NF(CSUM) && f & NF(GUEST_CSUM));
		assert_int_equal(!!(f & NF(MTU)), want[i].told != 0);
		assert_int_equal(config_space(10, 2), want[i].told);
		for (unsigned int p = 0; p < want[i].pairs; p++) {
			assert_int_equal(queue_max(2 * p), want[i].rx);
			assert_int_equal(queue_max(2 * p + 1), want[i].tx);
		}
		/* a reset does not change it */
		vd_set(&t.vd, VIRTIO_MMIO_STATUS, 0);
		assert_int_equal(queue_max(0), want[i].rx);
		end();
	}
}

/* What the guest accepts is what the tap is told, until a reset. */
static void offloads(void **state)
{
	(void)state;
	begin(NETIF_TAP, BASIC | NF(GUEST_CSUM) | NF(GUEST_TSO4));
	assert_int_equal(t.offload, TUN_F_CSUM | TUN_F_TSO4);
	vd_set(&t.vd, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(t.offload, 0);
	/* TSO without CSUM is not allowed, and not passed on */
	vd_start(&t.vd, VD_F_ALL | rings | BASIC | NF(GUEST_TSO4), 3, RING);
	assert_int_equal(t.offload, 0);
	end();
}

/* ---- sending --------------------------------------------------------------------------------- */

static void send_packet(size_t len, unsigned int seed)
{
	struct virtio_net_hdr_mrg_rxbuf *hdr = vd_ptr(&t.vd, OUT_HDR);

	memset(hdr, 0, sizeof(*hdr));
	hdr->hdr.gso_size = seed;
	fill(vd_ptr(&t.vd, OUT), len, seed);
	vd_add(&t.vd, TX, (struct vq_seg[]){ { OUT_HDR, 12 }, { OUT, len } }, 2, 2);
	vd_kick(&t.vd, TX);
}

static void tx_tap(void **state)
{
	uint8_t buf[70000];
	ssize_t n;

	(void)state;
	begin(NETIF_TAP, BASIC);
	for (unsigned int i = 0; i < 200; i++) {
		size_t len = i ? 14 + i * 320 : 65536 + 64;

		send_packet(len, i);
		vd_wait(&t.vd, TX);
		n = read(t.peer[0], buf, sizeof(buf));
		assert_int_equal(n, len + 12);
		/* the header passes as it is */
		assert_int_equal(((struct virtio_net_hdr_mrg_rxbuf *)buf)->hdr.gso_size, i);
		assert_true(filled(buf + 12, len, i));
	}
	end();
}

/* Header and frame in any pieces; many packets for one kick bring one interrupt at most. */
static void tx_pieces(void **state)
{
	uint8_t buf[256];

	(void)state;
	begin(NETIF_TAP, BASIC);
	fill(vd_ptr(&t.vd, OUT), 128, 3);
	for (unsigned int i = 0; i < 10; i++)
		vd_add(&t.vd, TX, (struct vq_seg[]){ { OUT, 5 }, { OUT + 5, 10 }, { OUT + 15, 1 },
						     { OUT + 16, 84 } }, 4, 4);
	vd_kick(&t.vd, TX);
	for (unsigned int i = 0; i < 10; i++) {
		vd_wait(&t.vd, TX);
		assert_int_equal(read(t.peer[0], buf, sizeof(buf)), 100);
		assert_true(filled(buf, 100, 3));
	}
	assert_in_range(t.vd.irqs, 0, 1);
	assert_int_equal(read(t.peer[0], buf, sizeof(buf)), -1);
	end();
}

static void tx_hostile(void **state)
{
	uint8_t buf[256];

	(void)state;
	begin(NETIF_TAP, BASIC);
	vd_add(&t.vd, TX, (struct vq_seg[]){ { OUT, 11 } }, 1, 1);	/* no header */
	vd_add(&t.vd, TX, (struct vq_seg[]){ { OUT, 12 } }, 1, 1);	/* nothing behind it */
	vd_add(&t.vd, TX, (struct vq_seg[]){ { OUT, 25 } }, 1, 1);	/* no frame */
	vd_add(&t.vd, TX, (struct vq_seg[]){ { OUT, 65536 + 64 + 13 } }, 1, 1);	/* too long */
	vd_add(&t.vd, TX, (struct vq_seg[]){ { OUT, 0x80000000 } }, 1, 1);
	vd_add(&t.vd, TX, (struct vq_seg[]){ { OUT, 12 }, { 0x1000, 99 } }, 2, 2);	/* none */
	vd_add(&t.vd, TX, (struct vq_seg[]){ { OUT, 100 } }, 1, 0);	/* for us to write */
	vd_kick(&t.vd, TX);
	for (unsigned int i = 0; i < 7; i++)
		vd_wait(&t.vd, TX);
	assert_int_equal(read(t.peer[0], buf, sizeof(buf)), -1);
	assert_false(vd_get(&t.vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	send_packet(60, 1);
	vd_wait(&t.vd, TX);
	assert_int_equal(read(t.peer[0], buf, sizeof(buf)), 72);
	end();
}

/* A tap that is full gets the packets later, all of them and in their order. */
static void tx_full(void **state)
{
	unsigned int sent = 0, got = 0;
	uint8_t buf[4096];
	struct vring_used_elem u;

	(void)state;
	begin(NETIF_TAP, BASIC);
	for (; sent < 40; sent++) {
		fill(vd_ptr(&t.vd, OUT + sent * 0x1000), 3000, sent);
		vd_add(&t.vd, TX, (struct vq_seg[]){ { OUT + sent * 0x1000, 3000 } }, 1, 1);
	}
	vd_kick(&t.vd, TX);
	vd_pump(&t.vd, 20);
	while (got < sent) {
		ssize_t n = read(t.peer[0], buf, sizeof(buf));

		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			vd_pump(&t.vd, 1);
			continue;
		}
		assert_int_equal(n, 3000);
		assert_true(filled(buf, 3000, got++));
	}
	for (unsigned int i = 0; i < sent; i++)
		u = vd_wait(&t.vd, TX);
	assert_int_equal(u.len, 0);
	assert_int_equal(read(t.peer[0], buf, sizeof(buf)), -1);
	end();
}

/* ---- receiving ------------------------------------------------------------------------------- */

static unsigned int offered;

static void offer(unsigned int nr, uint32_t len, uint32_t stride)
{
	for (unsigned int i = 0; i < nr; i++)
		vd_add(&t.vd, RX, &(struct vq_seg){ IN + (offered++ % RING) * stride, len }, 1, 0);
	vd_kick(&t.vd, RX);
	vd_pump(&t.vd, 0);
}

static void arrive(size_t len, unsigned int seed)
{
	static uint8_t buf[70000];

	memset(buf, 0, 12);
	buf[0] = VIRTIO_NET_HDR_F_DATA_VALID;
	fill(buf + 12, len, seed);
	assert_int_equal(write(t.peer[0], buf, len + 12), len + 12);
}

/* The next packet, from buffers of @stride bytes; checks it and returns its number of buffers. */
static unsigned int receive(size_t len, unsigned int seed, uint32_t stride, unsigned int first)
{
	static uint8_t buf[80000];
	const struct virtio_net_hdr_mrg_rxbuf *hdr = (void *)buf;
	unsigned int nr = 1;
	size_t n = 0;

	memset(buf, 0, sizeof(buf));
	for (unsigned int i = 0; i < nr; i++) {
		struct vring_used_elem u = vd_wait(&t.vd, RX);

		assert_true(u.len && u.len <= stride);
		memcpy(buf + n, vd_ptr(&t.vd, IN + ((first + i) % RING) * stride), u.len);
		n += u.len;
		if (!i)
			nr = hdr->num_buffers;
		/* all but the last are full */
		assert_true(i == nr - 1 || u.len == stride);
	}
	assert_int_equal(n, len + 12);
	assert_true(filled(buf + 12, len, seed));
	return nr;
}

static void rx_small(void **state)
{
	(void)state;
	begin(NETIF_TAP, BASIC);
	offered = 0;
	offer(RING, 1600, 1600);
	for (unsigned int i = 0; i < 10; i++)
		arrive(14 + i * 100, i);
	vd_pump(&t.vd, 0);
	/* ten packets, one interrupt */
	assert_int_equal(t.vd.irqs, 1);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(receive(14 + i * 100, i, 1600, i), 1);
	/* what is too short to be a frame is none */
	assert_int_equal(write(t.peer[0], "short", 5), 5);
	arrive(60, 77);
	assert_int_equal(receive(60, 77, 1600, 10), 1);
	end();
}

static void rx_merged(void **state)
{
	static const size_t sizes[] = { 9000, 60, 1530, 65536 + 64, 65000, 14, 3000, 1506, 1507 };
	unsigned int at = 0;

	(void)state;
	begin(NETIF_TAP, BASIC);
	offered = 0;
	offer(RING, 1518, 1518);
	/* small after large and large after small: expected to be, and not */
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned int nr;

		arrive(sizes[i], i);
		vd_pump(&t.vd, 0);
		nr = receive(sizes[i], i, 1518, at);
		assert_int_equal(nr, (sizes[i] + 12 + 1517) / 1518);
		at += nr;
		offer(nr, 1518, 1518);
	}
	end();
}

/* A packet for which there is no room waits for it, and so do those behind it. */
static void rx_waits(void **state)
{
	struct vring_used_elem u;

	(void)state;
	begin(NETIF_TAP, BASIC);
	offered = 0;
	arrive(100, 1);
	vd_pump(&t.vd, 0);
	offer(2, 1500, 1500);
	assert_int_equal(receive(100, 1, 1500, 0), 1);
	arrive(9000, 2);
	arrive(50, 3);
	vd_pump(&t.vd, 0);
	assert_false(vd_used(&t.vd, RX, &u));
	for (unsigned int i = 0; i < 5; i++) {
		assert_false(vd_used(&t.vd, RX, &u));
		offer(1, 1500, 1500);
	}
	assert_false(vd_used(&t.vd, RX, &u));
	offer(2, 1500, 1500);
	assert_int_equal(receive(9000, 2, 1500, 1), 7);
	assert_int_equal(receive(50, 3, 1500, 8), 1);
	end();
}

/* A packet that will never fit does not keep others waiting for ever. */
static void rx_hopeless(void **state)
{
	(void)state;
	begin(NETIF_TAP, BASIC);
	offered = 0;
	offer(RING, 100, 100);		/* 6400 bytes are all the guest can have */
	arrive(7000, 1);
	arrive(60, 2);
	arrive(6000, 3);
	assert_int_equal(receive(60, 2, 100, 0), 1);
	assert_int_equal(receive(6000, 3, 100, 1), 61);
	end();

	/* not merged: one buffer has to do */
	begin(NETIF_TAP, BASIC & ~NF(MRG_RXBUF));
	offered = 0;
	offer(4, 1600, 1600);
	arrive(1589, 1);
	arrive(1588, 2);
	assert_int_equal(receive(1588, 2, 1600, 0), 1);
	end();
}

/* Buffers that cannot be used come back with a length of 0; the packet goes into the next one. */
static void rx_hostile(void **state)
{
	struct virtio_net_cfg cfg;

	(void)state;
	pair_up(NETIF_TAP, 1);
	cfg = config(1);
	begin_with(&cfg, true, BASIC);
	t.vd.private_base = VD_DATA;
	t.vd.private_len = 0x1000;
	offered = 0;
	vd_add(&t.vd, RX, (struct vq_seg[]){ { IN, 11 } }, 1, 0);	/* no header fits */
	vd_add(&t.vd, RX, (struct vq_seg[]){ { VD_DATA, 1600 } }, 1, 0);	/* private */
	vd_add(&t.vd, RX, (struct vq_seg[]){ { 0x1000, 1600 } }, 1, 0);	/* no memory */
	vd_add(&t.vd, RX, (struct vq_seg[]){ { IN, 1600 } }, 1, 1);	/* not for us to write */
	vd_add(&t.vd, RX, (struct vq_seg[]){ { IN, 8 }, { IN + 8, 1600 - 8 } }, 2, 0);
	vd_add(&t.vd, RX, (struct vq_seg[]){ { VD_DATA, 1600 } }, 1, 0);
	vd_add(&t.vd, RX, (struct vq_seg[]){ { IN + 1600, 1600 } }, 1, 0);
	vd_kick(&t.vd, RX);
	arrive(200, 1);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(vd_wait(&t.vd, RX).len, 0);
	/* its header is in two pieces */
	assert_int_equal(receive(200, 1, 1600, 0), 1);
	arrive(3000, 2);
	vd_pump(&t.vd, 0);
	assert_int_equal(vd_wait(&t.vd, RX).len, 0);
	offered = 2;
	offer(1, 1600, 1600);
	assert_int_equal(receive(3000, 2, 1600, 1), 2);
	assert_false(vd_get(&t.vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	end();
}

/* A driver that stops half-way: what was kept for it does not reach the next one in pieces. */
static void rx_reset(void **state)
{
	(void)state;
	begin(NETIF_TAP, BASIC);
	offered = 0;
	offer(2, 1500, 1500);
	arrive(9000, 1);
	vd_pump(&t.vd, 0);
	vd_set(&t.vd, VIRTIO_MMIO_STATUS, 0);
	arrive(70, 2);		/* between two drivers */
	vd_pump(&t.vd, 0);
	vd_start(&t.vd, BASIC | VD_F_ALL | rings, 3, RING);
	offered = 0;
	offer(10, 1500, 1500);
	assert_int_equal(receive(70, 2, 1500, 0), 1);
	end();
}

/* ---- control queue --------------------------------------------------------------------------- */

static int command(unsigned int q, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	uint8_t *p = vd_ptr(&t.vd, CMD_AT);

	p[0] = class;
	p[1] = cmd;
	memcpy(p + 2, data, len);
	p[0x1000] = 0xff;
	vd_add(&t.vd, q, (struct vq_seg[]){ { CMD_AT, 2 }, { CMD_AT + 2, len },
					    { CMD_AT + 0x1000, 1 } }, 3, 2);
	vd_kick(&t.vd, q);
	assert_int_equal(vd_wait(&t.vd, q).len, 1);
	return p[0x1000];
}

static void control(void **state)
{
	static const uint8_t table[] = { 1, 0, 0, 0, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0,
					 1, 0, 94, 0, 0, 1, 1, 0, 94, 0, 0, 2 };
	static const uint8_t new_mac[] = { 2, 1, 2, 3, 4, 5 }, bad_mac[] = { 3, 1, 2, 3, 4, 5 };
	uint64_t bits = NF(GUEST_CSUM);
	uint8_t on = 1, big[8] = { 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0 };

	(void)state;
	begin(NETIF_TAP, BASIC | NF(CTRL_RX) | NF(CTRL_MAC_ADDR) | NF(CTRL_GUEST_OFFLOADS) |
			 NF(GUEST_CSUM) | NF(GUEST_TSO4));
	assert_int_equal(command(2, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), 0);
	assert_int_equal(command(2, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, &on, 1), 0);
	assert_int_equal(command(2, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, &on, 1), 1);
	assert_int_equal(command(2, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 0), 1);
	assert_int_equal(command(2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table,
				 sizeof(table)), 0);
	assert_int_equal(command(2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table,
				 sizeof(table) - 1), 1);
	assert_int_equal(command(2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, big, 8), 1);
	assert_int_equal(command(2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
				 bad_mac, 6), 1);
	assert_int_equal(command(2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
				 new_mac, 6), 0);
	assert_int_equal(config_space(5, 1), 5);
	assert_int_equal(command(2, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
				 VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &bits, 8), 0);
	assert_int_equal(t.offload, TUN_F_CSUM);
	bits |= NF(GUEST_TSO6);		/* was not accepted */
	assert_int_equal(command(2, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
				 VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &bits, 8), 1);
	assert_int_equal(t.offload, TUN_F_CSUM);
	assert_int_equal(command(2, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
				 &on, 1), 1);
	assert_int_equal(command(2, VIRTIO_NET_CTRL_VLAN, 0, &bits, 2), 1);
	assert_int_equal(command(2, 200, 200, &bits, 8), 1);
	/* without a header, without room for the answer */
	vd_add(&t.vd, 2, (struct vq_seg[]){ { CMD_AT, 1 }, { CMD_AT + 0x1000, 1 } }, 2, 1);
	vd_add(&t.vd, 2, (struct vq_seg[]){ { CMD_AT, 3 } }, 1, 1);
	vd_kick(&t.vd, 2);
	assert_int_equal(vd_wait(&t.vd, 2).len, 1);
	assert_int_equal(vd_wait(&t.vd, 2).len, 0);
	vd_set(&t.vd, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(config_space(5, 1), 0x15);
	end();
}

static void several_pairs(void **state)
{
	struct virtio_net_cfg cfg;
	struct vring_used_elem u;
	uint16_t n = 2, zero = 0, three = 3;
	uint8_t buf[2000];

	(void)state;
	pair_up(NETIF_TAP, 2);
	cfg = config(2);
	begin_with(&cfg, false, BASIC | NF(MQ));
	assert_int_equal(config_space(8, 2), 2);
	assert_int_equal(t.attached, 0);
	/* the second pair waits until it is asked for */
	vd_add(&t.vd, 2, &(struct vq_seg){ IN, 1600 }, 1, 0);
	vd_kick(&t.vd, 2);
	fill(buf, 112, 9);
	assert_int_equal(write(t.peer[1], buf, 112), 112);
	vd_pump(&t.vd, 0);
	assert_false(vd_used(&t.vd, 2, &u));
	assert_int_equal(command(4, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
				 &zero, 2), 1);
	assert_int_equal(command(4, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
				 &three, 2), 1);
	assert_int_equal(command(4, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
				 &n, 2), 0);
	assert_int_equal(t.attached, 2);
	assert_int_equal(vd_wait(&t.vd, 2).len, 112);
	fill(vd_ptr(&t.vd, OUT), 100, 4);
	vd_add(&t.vd, 3, &(struct vq_seg){ OUT, 100 }, 1, 1);
	vd_kick(&t.vd, 3);
	vd_wait(&t.vd, 3);
	assert_int_equal(read(t.peer[1], buf, sizeof(buf)), 100);
	assert_int_equal(read(t.peer[0], buf, sizeof(buf)), -1);

	/* a driver that knows no MQ has its control queue right behind the first pair */
	vd_set(&t.vd, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(t.attached, 0);
	vd_start(&t.vd, VD_F_ALL | rings | BASIC | NF(CTRL_RX), 3, RING);
	assert_int_equal(command(2, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "", 1), 0);
	end();
}

/* ---- stream ---------------------------------------------------------------------------------- */

static size_t frame(uint8_t *p, uint32_t len, unsigned int seed)
{
	uint32_t prefix = htonl(len);

	memcpy(p, &prefix, 4);
	fill(p + 4, len, seed);
	return len + 4;
}

static void stream_rx(void **state)
{
	static uint8_t buf[400000];
	size_t n = 0, sent = 0, step;
	unsigned int at = 0;

	(void)state;
	begin(NETIF_STREAM, BASIC);
	offered = 0;
	offer(RING, 1518, 1518);
	for (unsigned int i = 0; i < 12; i++)
		n += frame(buf + n, i % 4 == 3 ? 65550 : 14 + i * 400, i);
	/* however the stream is cut */
	for (unsigned int i = 0, s = 1; sent < n && i < 12;) {
		step = MIN(n - sent, (size_t)s);
		if (step && write(t.peer[0], buf + sent, step) == (ssize_t)step)
			sent += step;
		s = s * 3 % 20011 + 1;
		vd_pump(&t.vd, 0);
		while (i < 12) {
			size_t len = i % 4 == 3 ? 65550 : 14 + i * 400, upto = 0;
			unsigned int nr;

			for (unsigned int k = 0; k <= i; k++)
				upto += 4 + (k % 4 == 3 ? 65550 : 14 + k * 400);
			if (upto > sent)
				break;
			nr = receive(len, i, 1518, at);
			at += nr;
			offer(nr, 1518, 1518);
			i++;
		}
	}
	assert_int_equal(sent, n);
	end();
}

/* Many frames for one interrupt; a zero header in front of each. */
static void stream_batch(void **state)
{
	static uint8_t buf[100000];
	size_t n = 0;

	(void)state;
	begin(NETIF_STREAM, BASIC);
	offered = 0;
	memset(vd_ptr(&t.vd, IN), 0xff, 0x20000);
	offer(RING, 1600, 1600);
	for (unsigned int i = 0; i < 50; i++)
		n += frame(buf + n, 60 + i, i);
	assert_int_equal(write(t.peer[0], buf, n), n);
	vd_pump(&t.vd, 0);
	assert_int_equal(t.vd.irqs, 1);
	for (unsigned int i = 0; i < 50; i++) {
		assert_int_equal(receive(60 + i, i, 1600, i), 1);
		assert_memory_equal(vd_ptr(&t.vd, IN + i * 1600), "\0\0\0\0\0\0\0\0\0\0\1\0", 12);
	}
	end();
}

static void stream_tx(void **state)
{
	static uint8_t buf[1 << 20];
	size_t have = 0, at = 0;
	unsigned int added = 0, got = 0, used = 0;
	struct vring_used_elem u;

	(void)state;
	begin(NETIF_STREAM, BASIC);
	/* more than the socket takes: frames are sent in part, and nothing is lost or doubled */
	while (got < 200) {
		while (added < 200 && added - used < 20) {
			size_t len = added % 5 ? 1500 : 40000;
			ipa_t p = VD_DATA + 0x100000 + (added % 20) * 0xa000;

			fill(vd_ptr(&t.vd, p), len, added++);
			vd_add(&t.vd, TX, (struct vq_seg[]){ { OUT_HDR, 12 }, { p, 100 },
							     { p + 100, len - 100 } }, 3, 3);
		}
		vd_kick(&t.vd, TX);
		vd_pump(&t.vd, 0);
		while (vd_used(&t.vd, TX, &u))
			used++;
		for (;;) {
			ssize_t n = read(t.peer[0], buf + have, 7001);

			if (n <= 0)
				break;
			have += n;
			/* not all at once, so that the socket is full most of the time */
			if (rand() % 3 == 0)
				break;
		}
		while (have - at >= 4) {
			uint32_t len;

			memcpy(&len, buf + at, 4);
			len = ntohl(len);
			assert_int_equal(len, got % 5 ? 1500 : 40000);
			if (have - at < 4 + len)
				break;
			assert_true(filled(buf + at + 4, len, got++));
			at += 4 + len;
		}
		memmove(buf, buf + at, have - at);
		have -= at;
		at = 0;
	}
	vd_pump(&t.vd, 0);
	while (vd_used(&t.vd, TX, &u))
		used++;
	assert_int_equal(used, 200);
	assert_int_equal(have, 0);
	end();
}

static void stream_tx_hostile(void **state)
{
	uint8_t buf[256];

	(void)state;
	begin(NETIF_STREAM, BASIC);
	fill(vd_ptr(&t.vd, OUT), 60, 5);
	vd_add(&t.vd, TX, (struct vq_seg[]){ { OUT_HDR, 12 }, { OUT, 60 } }, 2, 2);
	vd_add(&t.vd, TX, (struct vq_seg[]){ { OUT_HDR, 11 } }, 1, 1);
	vd_add(&t.vd, TX, (struct vq_seg[]){ { OUT_HDR, 12 }, { 0x1000, 60 } }, 2, 2);
	vd_add(&t.vd, TX, (struct vq_seg[]){ { OUT_HDR, 12 }, { OUT, 65536 + 65 } }, 2, 2);
	vd_add(&t.vd, TX, (struct vq_seg[]){ { OUT_HDR, 12 }, { OUT, 60 } }, 2, 2);
	vd_kick(&t.vd, TX);
	for (unsigned int i = 0; i < 5; i++)
		vd_wait(&t.vd, TX);
	assert_int_equal(read(t.peer[0], buf, sizeof(buf)), 128);
	assert_true(filled(buf + 4, 60, 5) && filled(buf + 68, 60, 5));
	end();
}

/* ---- link ------------------------------------------------------------------------------------ */

static void link_of(bool bad_frame)
{
	begin(NETIF_STREAM, BASIC);
	offered = 0;
	offer(4, 1600, 1600);
	if (bad_frame)
		assert_int_equal(write(t.peer[0], "\0\1\0\xff", 4), 4);
	else
		close(t.peer[0]);
	vd_pump(&t.vd, 0);
	assert_int_equal(config_space(6, 2), 0);
	assert_true(vd_get(&t.vd, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG);
	assert_true(t.nif->gone);
	/* what is sent goes nowhere, and comes back */
	send_packet(60, 1);
	vd_wait(&t.vd, TX);
	assert_false(vd_get(&t.vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	if (!bad_frame)
		t.peer[0] = -1;
	end();
}

static void peer_leaves(void **state)
{
	(void)state;
	link_of(false);
	link_of(true);
}

static void no_host(void **state)
{
	struct virtio_net_cfg cfg;
	struct vring_used_elem u;

	(void)state;
	memset(&t, 0, sizeof(t));
	cfg = config(1);
	cfg.link_down = true;
	begin_with(&cfg, false, BASIC);
	assert_int_equal(config_space(6, 2), 0);
	offered = 0;
	offer(4, 1600, 1600);
	for (unsigned int i = 0; i < 5; i++) {
		send_packet(60, 1);
		vd_wait(&t.vd, TX);
	}
	assert_false(vd_used(&t.vd, RX, &u));
	end();
}

static void link_switch(void **state)
{
	struct vring_used_elem u;
	uint8_t buf[256];

	(void)state;
	begin(NETIF_TAP, BASIC);
	offered = 0;
	offer(4, 1600, 1600);
	virtio_net_set_link(t.vd.dev, false);
	assert_int_equal(config_space(6, 2), 0);
	arrive(60, 1);
	send_packet(60, 2);
	vd_wait(&t.vd, TX);
	assert_int_equal(read(t.peer[0], buf, sizeof(buf)), -1);
	assert_false(vd_used(&t.vd, RX, &u));
	virtio_net_set_link(t.vd.dev, true);
	assert_int_equal(config_space(6, 2), 1);
	assert_int_equal(receive(60, 1, 1600, 0), 1);
	end();
}

/* ---- back ends ------------------------------------------------------------------------------- */

static struct { unsigned int start, on, off, reset, freed; uint64_t queues; } calls;

static int be_start(void *ctx, struct virtio_dev *dev)
{
	assert_ptr_equal(ctx, &calls);
	assert_non_null(dev);
	calls.start++;
	return 0;
}

static int be_queue(void *ctx, struct virtio_dev *dev, unsigned int q, bool on)
{
	(void)ctx;
	(void)dev;
	on ? calls.on++ : calls.off++;
	calls.queues |= 1ULL << q;
	return 0;
}

static void be_reset(void *ctx, struct virtio_dev *dev)
{
	(void)ctx;
	(void)dev;
	calls.reset++;
}

static void be_free(void *ctx)
{
	(void)ctx;
	calls.freed++;
}

/* Queues of packets are somebody else's; the control queue is ours wherever it is. */
static void back_end(void **state)
{
	static const struct virtio_net_backend be = {
		.allowed = VD_F_ALL | NF(MRG_RXBUF), .start = be_start, .queue = be_queue,
		.reset = be_reset, .free = be_free,
	};
	struct virtio_net_cfg cfg;
	struct vring_used_elem u;

	(void)state;
	memset(&calls, 0, sizeof(calls));
	pair_up(NETIF_TAP, 2);
	cfg = config(2);
	cfg.backend = &be;
	cfg.backend_ctx = &calls;
	rings = 0;		/* packed rings are not among what it allows */
	begin_with(&cfg, false, BASIC | NF(MQ) | NF(CTRL_RX));
	assert_int_equal(calls.start, 1);
	assert_int_equal(calls.queues, 0xf);
	assert_true(vd_features(&t.vd) & NF(GUEST_TSO4));
	vd_add(&t.vd, RX, &(struct vq_seg){ IN, 1600 }, 1, 0);
	vd_kick(&t.vd, RX);
	arrive(60, 1);
	vd_pump(&t.vd, 0);
	assert_false(vd_used(&t.vd, RX, &u));
	assert_int_equal(command(4, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "", 1), 0);
	vd_set(&t.vd, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(calls.off, 4);
	vd_start(&t.vd, VD_F_ALL | BASIC | NF(CTRL_RX), 3, RING);
	assert_int_equal(calls.on, 6);
	assert_int_equal(command(2, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "", 1), 0);
	vd_set(&t.vd, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(calls.off, 6);
	assert_int_equal(calls.reset, 4);	/* vd_start() has one, too */
	end();
	assert_int_equal(calls.freed, 1);
}

int main(void)
{
	static const struct { const char *name; uint64_t rings; } kinds[] = {
		{ "split", 0 },
		{ "packed", VD_F_PACKED },
		{ "split, in order", VD_F_IN_ORDER },
		{ "packed, in order", VD_F_PACKED | VD_F_IN_ORDER },
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configuration),
		cmocka_unit_test(small_pool),
		cmocka_unit_test(offloads),
		cmocka_unit_test(tx_tap),
		cmocka_unit_test(tx_pieces),
		cmocka_unit_test(tx_hostile),
		cmocka_unit_test(tx_full),
		cmocka_unit_test(rx_small),
		cmocka_unit_test(rx_merged),
		cmocka_unit_test(rx_waits),
		cmocka_unit_test(rx_hopeless),
		cmocka_unit_test(rx_hostile),
		cmocka_unit_test(rx_reset),
		cmocka_unit_test(control),
		cmocka_unit_test(several_pairs),
		cmocka_unit_test(stream_rx),
		cmocka_unit_test(stream_batch),
		cmocka_unit_test(stream_tx),
		cmocka_unit_test(stream_tx_hostile),
		cmocka_unit_test(peer_leaves),
		cmocka_unit_test(no_host),
		cmocka_unit_test(link_switch),
		cmocka_unit_test(back_end),
	};
	int failed = 0;

	log_set_level(LOG_ERROR);
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		rings = kinds[i].rings;
		failed += cmocka_run_group_tests_name(kinds[i].name, tests, NULL, NULL);
	}
	return failed;
}
