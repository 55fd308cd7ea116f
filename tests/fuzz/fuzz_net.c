// SPDX-License-Identifier: BSD-3-Clause
/*
 * The network device, on packets as a tap has them and on the stream of passt. Input: what
 * vrig_run() takes; the host's end is one end of a socket pair, the input the network behind the
 * other.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/vrig.h"
#include "virtio/netif.h"

#define PAIRS 2

static struct {
	struct netif nif, *passt;
	int peer[PAIRS];
	unsigned int pairs;
	bool stream;
} wire;

static int no_ioctl(int fd, unsigned long request, void *arg)
{
	return 0;
}

static void make(struct vrig *r, struct input *in)
{
	uint8_t how = in_u8(in);
	struct virtio_net_cfg cfg = {
		.name = "net", .mac = { 2, 0, 0, 0, 0, 1 },
		.mtu = how & 4 ? 1500 : 0,
		.link_down = how & 8,
		.queue_size = how & 0x10 ? 16 : 0,
	};
	struct err e;
	int sv[2];

	memset(&wire, 0, sizeof(wire));
	wire.stream = how & 1;
	wire.pairs = wire.nif.pairs = cfg.pairs = how & 3 ? 1 : PAIRS;
	wire.nif.kind = NETIF_TAP;
	wire.nif.ctl = no_ioctl;
	wire.nif.macvtap = how & 0x20;
	wire.nif.features = RIG_F(VIRTIO_NET_F_CSUM) | RIG_F(VIRTIO_NET_F_GUEST_CSUM) |
			    RIG_F(VIRTIO_NET_F_HOST_TSO4) | RIG_F(VIRTIO_NET_F_GUEST_TSO4) |
			    RIG_F(VIRTIO_NET_F_GUEST_USO4);
	strcpy(wire.nif.name, "tap");
	for (unsigned int i = 0; i < wire.pairs; i++) {
		PROPERTY(!socketpair(AF_UNIX, (wire.stream ? SOCK_STREAM : SOCK_SEQPACKET) |
				     SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv));
		/* the least there is: a network that is slow */
		if (how & 0x40)
			PROPERTY(!setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &(int){ 1 },
					     sizeof(int)));
		wire.nif.fd[i] = sv[0];
		wire.peer[i] = sv[1];
	}
	if (wire.stream)
		PROPERTY(!netif_stream_new(wire.nif.fd[0], "passt", &wire.passt, &e));
	cfg.nif = wire.stream ? wire.passt : &wire.nif;
	PROPERTY(!virtio_net_new(&r->env, &cfg, &r->dev, &e));
}

static void gone(struct vrig *r)
{
	for (unsigned int i = 0; i < wire.pairs; i++) {
		close(wire.peer[i]);
		if (!wire.stream)
			close(wire.nif.fd[i]);
	}
	netif_close(wire.passt);
}

static size_t command(struct input *in, uint8_t *buf)
{
	uint8_t how = in_u8(in);

	buf[0] = how & 7;
	buf[1] = how >> 3 & 3;
	for (unsigned int i = 0; i < 8; i++)
		buf[2 + i] = in_u8(in);
	return 2 + (how & 0x20 ? 8 : how & 0x40 ? 6 : 2);
}

/* A packet's header and the beginning of a frame; or a command. */
static size_t fill(struct vrig *r, struct input *in, unsigned int q, uint8_t *buf, size_t room)
{
	uint8_t how = in_u8(in);
	size_t len;

	if (q + 1 == r->nr_queues)
		return command(in, buf);
	memset(buf, 0, room);
	if (how & 0x40)
		in_bytes(in, buf, NET_HDR_LEN);
	len = how & 0x3f;
	in_bytes(in, buf + NET_HDR_LEN, len);
	return how & 0x80 ? len : NET_HDR_LEN + len;
}

/* A packet from the network; on the stream bytes behind a length that is right or not. */
static void arrives(struct input *in, unsigned int pair)
{
	static uint8_t buf[NET_HDR_LEN + NET_FRAME_MAX + 100];
	uint8_t how = in_u8(in);
	uint32_t len = in_u16(in), be = htonl(how & 8 ? in_u32(in) : len);
	size_t head = wire.stream ? sizeof(be) : NET_HDR_LEN;

	if (wire.stream)
		memcpy(buf, &be, sizeof(be));
	else if (how & 0x10)
		in_bytes(in, buf, NET_HDR_LEN);
	else
		memset(buf, 0, NET_HDR_LEN);
	if (how & 0x20)
		in_bytes(in, buf + head, 16);
	if (how & 0x40)
		head = 0;		/* the packet goes on */
	if (send(wire.peer[pair], buf, head + len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		PROPERTY(errno == EAGAIN || errno == EPIPE || errno == ENOTCONN ||
			 errno == ECONNRESET);
}

/* What arrived is a header and a frame, or frames with their lengths. */
static void read_all(unsigned int pair)
{
	static uint8_t buf[1 << 17];
	ssize_t n;

	while ((n = recv(wire.peer[pair], buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		PROPERTY(wire.stream || (n >= NET_HDR_LEN + NET_FRAME_MIN &&
					 n <= NET_HDR_LEN + NET_FRAME_MAX));
}

static void host(struct vrig *r, struct input *in)
{
	uint8_t how = in_u8(in);
	unsigned int pair = (how >> 4) % wire.pairs;

	switch (how & 7) {
	case 5:
		read_all(pair);
		break;
	case 6:
		virtio_net_set_link(r->dev, how & 8);
		break;
	case 7:
		shutdown(wire.peer[pair], how & 8 ? SHUT_WR : SHUT_RDWR);
		break;
	default:
		arrives(in, pair);
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
	static const uint16_t frame[] = { 60, 0 }, big[] = { 1400, 9000, 0 }, room[] = { 2048, 0 };
	static const uint16_t status[] = { 1, 0 }, rooms[] = { 512, 4096, 0 };
	static const uint8_t packet[15] = { 14, 1, 2, 3, 4, 5, 6 };
	static const uint8_t how[] = { 0, 1, 2, 0x36, 0x0d, 0x14, 0x41, 0x42 };
	struct vrig_seed s;
	char name[] = "a";

	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(how); i++, name[0]++) {
		uint8_t kind_of = how[i / 2], ctrl = kind_of & 3 ? 2 : 4;

		vrig_seed_start(&s, i & 1, i & 2, &kind_of, 1);
		for (unsigned int n = 0; n < 4; n++) {
			vrig_seed_chain(&s, 0, (uint8_t[]){ 0x80 }, 1, NULL, n & 1 ? room : rooms);
			vrig_seed_chain(&s, 1, packet, sizeof(packet), n & 1 ? big : frame, NULL);
		}
		vrig_seed_kick(&s, 0);
		vrig_seed_kick(&s, 1);
		for (unsigned int n = 0; n < 3; n++)
			vrig_seed_host(&s, (uint8_t[]){ 0, 0, n == 1 ? 200 : 60, n }, 4);
		vrig_seed_host(&s, (uint8_t[]){ 5 }, 1);
		/* class, command: pairs, MAC table, address, promiscuous, ... */
		for (uint8_t c = 0; c < 8; c++) {
			for (uint8_t cmd = 0; cmd < 2; cmd++) {
				uint8_t how_long = c == 1 ? 0x40 : 0;
				const uint8_t msg[] = {
					0, c | cmd << 3 | how_long, 2, 0, 1, 1, 1, 1, 1, 1,
				};

				vrig_seed_chain(&s, ctrl, msg, sizeof(msg), NULL, status);
			}
		}
		vrig_seed_kick(&s, ctrl);
		vrig_seed_chain(&s, ctrl, (uint8_t[10]){ 0, 4, 2 }, 10, NULL, status);
		vrig_seed_kick(&s, ctrl);
		if (ctrl == 4) {
			vrig_seed_chain(&s, 2, (uint8_t[]){ 0x80 }, 1, NULL, room);
			vrig_seed_host(&s, (uint8_t[]){ 0x10, 0, 60, 0 }, 4);
			vrig_seed_chain(&s, 3, (uint8_t[15]){ 14 }, 15, frame, NULL);
			vrig_seed_kick(&s, 3);
		}
		/* more than a slow network takes at once */
		for (unsigned int n = 0; n < 12; n++)
			vrig_seed_chain(&s, 1, packet, sizeof(packet), big, NULL);
		for (unsigned int n = 0; n < 4; n++) {
			vrig_seed_kick(&s, 1);
			vrig_seed_host(&s, (uint8_t[]){ 5 }, 1);
		}
		/* a length that is not the frame's */
		vrig_seed_host(&s, (uint8_t[]){ 0, 8, 60, 0, 100, 0, 0, 0 }, 8);
		vrig_seed_host(&s, (uint8_t[]){ 0, 0x40, 60, 0 }, 4);
		vrig_seed_host(&s, (uint8_t[]){ 6 }, 1);
		vrig_seed_host(&s, (uint8_t[]){ 14 }, 1);
		vrig_seed_private(&s, 35, true);
		vrig_seed_restart(&s, RIG_F(VIRTIO_NET_F_MRG_RXBUF));
		vrig_seed_chain(&s, 0, (uint8_t[]){ 0x80 }, 1, NULL, room);
		vrig_seed_kick(&s, 0);
		vrig_seed_host(&s, (uint8_t[]){ 0, 0, 60, 0 }, 4);
		vrig_seed_host(&s, (uint8_t[]){ 0, 0, 0xff, 0x0f }, 4);
		vrig_seed_host(&s, (uint8_t[]){ 7 }, 1);
		vrig_seed_rest(&s);
		vrig_seed_end(&s, name);
	}
}
