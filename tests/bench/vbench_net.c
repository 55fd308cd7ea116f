// SPDX-License-Identifier: BSD-3-Clause
/*
 * Packets through the network device, 32 on their way. Its host's end is a pair of sockets, of
 * packets in place of a tap, or passt's stream; their cost and the other side's is in the figures.
 * "tap": a real one of this machine, where making one in a network namespace is allowed.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/bench/vbench.h"
#include "virtio/dev.h"
#include "virtio/netif_int.h"

#define DEPTH	32u
#define ROOM	2048u
#define BUF	VD_DATA

struct load {
	struct vdriver vd;
	struct netif *nif;
	int peer;		/* -1: nobody is there */
	unsigned int len;	/* of a frame */
};

static int no_ctl(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	(void)arg;
	return 0;
}

static void host_end(struct load *l, enum netif_kind kind, bool tap)
{
	const struct netif_tap_cfg cfg = { .pairs = 1, .addr = "10.5.0.1" };
	struct err e;
	int sv[2];

	l->peer = -1;
	if (tap) {
		assert_int_equal(netif_tap_open(&cfg, &l->nif, &e), 0);
		return;
	}
	assert_int_equal(socketpair(AF_UNIX, (kind == NETIF_TAP ? SOCK_DGRAM : SOCK_STREAM) |
				    SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv), 0);
	l->peer = sv[1];
	if (kind == NETIF_STREAM) {
		assert_int_equal(netif_stream_new(sv[0], "bench", &l->nif, &e), 0);
		return;
	}
	l->nif = netif_new(kind, "bench", &e);
	assert_non_null(l->nif);
	l->nif->ctl = no_ctl;
	l->nif->fd[l->nif->pairs++] = sv[0];
}

/* The other side takes all there is. */
static void drain(struct load *l)
{
	static char buf[DEPTH * ROOM];

	while (l->peer >= 0 && read(l->peer, buf, sizeof(buf)) > 0)
		;
}

/* The other side sends @nr frames; how many went out. */
static unsigned int feed(struct load *l, unsigned int nr)
{
	static uint8_t buf[DEPTH * ROOM];
	uint32_t prefix = htonl(l->len);
	unsigned int i;

	if (l->nif->kind == NETIF_STREAM) {
		for (i = 0; i < nr; i++)
			memcpy(buf + i * (4 + l->len), &prefix, 4);
		assert_int_equal(write(l->peer, buf, nr * (4 + l->len)), nr * (4 + l->len));
		return nr;
	}
	for (i = 0; i < nr && write(l->peer, buf, NET_HDR_LEN + l->len) > 0; i++)
		;
	return i;
}

static unsigned int reap(struct load *l, unsigned int q)
{
	struct vring_used_elem u;
	unsigned int n = 0;

	while (vd_used(&l->vd, q, &u))
		n++;
	return n;
}

static uint64_t send_all(struct load *l, struct vb_run *run)
{
	uint64_t n = 0;

	while (vb_now() - run->wall < VB_NSEC) {
		for (unsigned int k = 0; k < DEPTH; k++)
			vd_add(&l->vd, 1, &(struct vq_seg){ BUF + k * ROOM,
							    NET_HDR_LEN + l->len }, 1, 1);
		vd_ask_irq(&l->vd, 1, true);
		if (vd_wants_kick(&l->vd, 1))
			virtio_dev_kick(l->vd.dev, 1);
		for (unsigned int k = 0; k < DEPTH;) {
			vb_serve(&l->vd);
			drain(l);
			k += reap(l, 1);
		}
		n += DEPTH;
	}
	return n;
}

static uint64_t receive_all(struct load *l, struct vb_run *run)
{
	unsigned int free = DEPTH, out = 0;
	uint64_t n = 0;

	while (vb_now() - run->wall < VB_NSEC || out) {
		for (; free; free--)
			vd_add(&l->vd, 0, &(struct vq_seg){ BUF, ROOM }, 1, 0);
		if (vd_wants_kick(&l->vd, 0))
			virtio_dev_kick(l->vd.dev, 0);
		if (!out && vb_now() - run->wall < VB_NSEC)
			out = feed(l, DEPTH / 2);
		vd_ask_irq(&l->vd, 0, true);
		vb_serve(&l->vd);
		free = reap(l, 0);
		out -= free;
		n += free;
	}
	return n;
}

static void bench(const char *end, const char *ring, uint64_t features, bool rx, unsigned int len)
{
	struct load *l = calloc(1, sizeof(*l));
	struct virtio_net_cfg cfg = { .name = "net", .pairs = 1 };
	struct virtio_dev *dev;
	struct vb_run run;
	char name[64];
	struct err e;
	uint64_t n;

	assert_non_null(l);
	l->len = len;
	host_end(l, !strcmp(end, "stream") ? NETIF_STREAM : NETIF_TAP, !strcmp(end, "tap"));
	vb_init(&l->vd);
	cfg.nif = l->nif;
	assert_int_equal(virtio_net_new(&l->vd.env, &cfg, &dev, &e), 0);
	vd_attach(&l->vd, dev);
	vd_start(&l->vd, features | VD_F(VIRTIO_NET_F_MRG_RXBUF), 3, 256);
	vd_pump(&l->vd, 0);
	vb_begin(&run, &l->vd);
	run.calls = -(l->nif->rx_calls + l->nif->tx_calls);
	n = rx ? receive_all(l, &run) : send_all(l, &run);
	run.calls += l->nif->rx_calls + l->nif->tx_calls;
	snprintf(name, sizeof(name), "net %s %s %s %u", end, ring, rx ? "rx" : "tx", len);
	vb_end(&run, &l->vd, name, n);
	vd_destroy(&l->vd);
	if (l->peer >= 0)
		close(l->peer);
	netif_close(l->nif);
	free(l);
}

static void ends(const char *end, bool rx)
{
	static const unsigned int len[] = { 60, 1514 };

	for (size_t i = 0; i < ARRAY_SIZE(len); i++) {
		bench(end, "split", VB_F_SPLIT, rx, len[i]);
		bench(end, "packed", VB_F_PACKED, rx, len[i]);
	}
}

void vb_net(void)
{
	ends("packets", false);
	ends("packets", true);
	ends("stream", false);
	ends("stream", true);
	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return;
	if (!access("/dev/net/tun", R_OK | W_OK))
		ends("tap", false);
}
