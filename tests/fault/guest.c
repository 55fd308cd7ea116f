// SPDX-License-Identifier: BSD-3-Clause
#include "tests/fault/guest.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "realm/rsi.h"
#include "vmm/board/memmap.h"

#define AREA		(MAP_RAM_BASE + 32 * SZ_1M)	/* of the first device */
#define STRIDE		SZ_64K
#define NR_AREAS	32U
#define Q_STRIDE	0x1000U		/* a queue: descriptors, avail, used */
#define Q_AVAIL		0x400U
#define Q_USED		0x800U
#define Q_NUM		8U
#define DATA		0x8000U		/* behind the queues */
#define IN		0xa000U
#define F(bit)		(UINT64_C(1) << (bit))
#define UART_LSR	5

/**
 * struct dev - the driver's side of a device
 * @io:   its window
 * @mem:  its memory, as we reach it
 * @next: descriptors that are out, per queue
 */
struct dev {
	struct fake_cpu *c;
	struct guest *g;
	ipa_t io, mem;
	uint32_t id;
	uint64_t features;
	uint16_t avail[4], used[4];
};

static uint64_t ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ULL + t.tv_nsec / 1000000;
}

/* ---- registers and memory -------------------------------------------------------------------- */

static uint32_t get(struct dev *d, unsigned int reg)
{
	return fake_read(d->c, d->io + reg, 4);
}

static void set(struct dev *d, unsigned int reg, uint32_t v)
{
	fake_write(d->c, d->io + reg, v, 4);
}

static void put(struct dev *d, uint32_t at, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	while (len) {
		size_t n = len >= 8 ? 8 : 1;
		uint64_t v = 0;

		memcpy(&v, p, n);
		fake_write(d->c, d->mem + at, v, n);
		p += n;
		at += n;
		len -= n;
	}
}

static uint64_t take(struct dev *d, uint32_t at, unsigned int len)
{
	return fake_read(d->c, d->mem + at, len);
}

static void say(struct fake_cpu *c, const struct guest *g, const char *text)
{
	for (; *text; text++)
		fake_write(c, MAP_UART_BASE | g->shared, (unsigned char)*text, 1);
}

/* ---- queues ---------------------------------------------------------------------------------- */

static bool setup(struct dev *d, unsigned int queues, uint64_t want)
{
	uint64_t offer;

	set(d, VIRTIO_MMIO_STATUS, 0);
	set(d, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	set(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	offer = get(d, VIRTIO_MMIO_DEVICE_FEATURES);
	set(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	offer |= (uint64_t)get(d, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	want |= F(VIRTIO_F_VERSION_1) | F(VIRTIO_F_ACCESS_PLATFORM);
	d->features = want & offer;
	set(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	set(d, VIRTIO_MMIO_DRIVER_FEATURES, d->features);
	set(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	set(d, VIRTIO_MMIO_DRIVER_FEATURES, d->features >> 32);
	set(d, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
	    VIRTIO_CONFIG_S_FEATURES_OK);
	if (!(get(d, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK))
		return false;
	for (unsigned int q = 0; q < queues; q++) {
		uint64_t at = d->mem + q * Q_STRIDE;

		set(d, VIRTIO_MMIO_QUEUE_SEL, q);
		if (get(d, VIRTIO_MMIO_QUEUE_NUM_MAX) < Q_NUM)
			return false;
		set(d, VIRTIO_MMIO_QUEUE_NUM, Q_NUM);
		set(d, VIRTIO_MMIO_QUEUE_DESC_LOW, at);
		set(d, VIRTIO_MMIO_QUEUE_DESC_HIGH, at >> 32);
		set(d, VIRTIO_MMIO_QUEUE_AVAIL_LOW, at + Q_AVAIL);
		set(d, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, at >> 32);
		set(d, VIRTIO_MMIO_QUEUE_USED_LOW, at + Q_USED);
		set(d, VIRTIO_MMIO_QUEUE_USED_HIGH, at >> 32);
		set(d, VIRTIO_MMIO_QUEUE_READY, 1);
	}
	set(d, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
	    VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
	return !(get(d, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* A descriptor at @i of queue @q; the chain goes on with the next one where @more. */
static void desc(struct dev *d, unsigned int q, unsigned int i, uint32_t at, uint32_t len, bool in,
		 bool more)
{
	uint16_t flags = (in ? VRING_DESC_F_WRITE : 0) | (more ? VRING_DESC_F_NEXT : 0);
	uint32_t slot = q * Q_STRIDE + i * 16;
	uint64_t addr = d->mem + at;

	put(d, slot, &addr, 8);
	fake_write(d->c, d->mem + slot + 8,
		   len | (uint64_t)flags << 32 | (uint64_t)(i + 1) << 48, 8);
}

static void offer(struct dev *d, unsigned int q, uint16_t head)
{
	uint32_t ring = q * Q_STRIDE + Q_AVAIL;

	fake_write(d->c, d->mem + ring + 4 + 2 * (d->avail[q] % Q_NUM), head, 2);
	fake_write(d->c, d->mem + ring + 2, ++d->avail[q], 2);
	set(d, VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

/* The device gives back what was offered, or it is broken and says so, or it is silent. */
static bool answered(struct dev *d, unsigned int q)
{
	uint64_t until = ms() + d->g->wait_ms;

	for (;;) {
		if ((uint16_t)take(d, q * Q_STRIDE + Q_USED + 2, 2) != d->used[q]) {
			d->used[q]++;
			return true;
		}
		if (get(d, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET)
			return false;
		if (ms() > until)
			break;
		usleep(100);
	}
	atomic_fetch_or(&d->g->silent, F(d->id));
	return false;
}

static bool ask(struct dev *d, unsigned int q)
{
	offer(d, q, 0);
	return answered(d, q);
}

/* ---- what is asked of each device ------------------------------------------------------------ */

/* Return: the status, or -1: no answer. */
static int blk_request(struct dev *d, uint32_t type, uint64_t sector, uint32_t len)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct virtio_blk_outhdr hdr = { .type = type, .sector = sector };
	const uint8_t none = 0xee;
	unsigned int n = 0;

	put(d, DATA, &hdr, sizeof(hdr));
	put(d, DATA + 0x100, &none, 1);
	desc(d, 0, n++, DATA, sizeof(hdr), false, true);
	if (len)
		desc(d, 0, n++, IN, len, in, true);
	desc(d, 0, n++, DATA + 0x100, 1, true, false);
	if (!ask(d, 0))
		return -1;
	return take(d, DATA + 0x100, 1);
}

static bool use_blk(struct dev *d)
{
	uint8_t fill = 0x40 + fake_boot(d->c), data[GUEST_BYTES];
	int wrote, flushed, read, id;

	if (!setup(d, 1, F(VIRTIO_BLK_F_FLUSH)))
		return false;
	memset(data, fill, sizeof(data));
	put(d, IN, data, sizeof(data));
	/* until it is flushed nobody knows what is there */
	atomic_store(&d->g->flushed, 0);
	wrote = blk_request(d, VIRTIO_BLK_T_OUT, GUEST_SECTOR, GUEST_BYTES);
	flushed = wrote < 0 ? -1 : blk_request(d, VIRTIO_BLK_T_FLUSH, 0, 0);
	if (!wrote && !flushed)
		atomic_store(&d->g->flushed, fill);
	if (flushed < 0)
		return false;
	put(d, IN, (uint8_t[8]){ 0 }, 8);
	read = blk_request(d, VIRTIO_BLK_T_IN, GUEST_SECTOR, GUEST_BYTES);
	/* what is not so is an error, never something else */
	if (!wrote && !read)
		fake_expect_eq(take(d, IN, 1), fill);
	if (!wrote && !read)
		fake_expect_eq(take(d, IN + GUEST_BYTES - 1, 1), fill);
	id = read < 0 ? -1 : blk_request(d, VIRTIO_BLK_T_GET_ID, 0, VIRTIO_BLK_ID_BYTES);
	return !wrote && !flushed && !read && !id;
}

static bool use_net(struct dev *d)
{
	static const uint8_t frame[72] = { [12 ... 23] = 0xff, [24] = 0x08, [25] = 0x06 };

	if (!setup(d, 2, 0))
		return false;
	desc(d, 0, 0, IN, 2048, true, false);
	offer(d, 0, 0);
	put(d, DATA, frame, sizeof(frame));
	desc(d, 1, 0, DATA, sizeof(frame), false, false);
	return ask(d, 1) && answered(d, 0);	/* the peer sends it back */
}

static bool use_console(struct dev *d)
{
	if (!setup(d, 2, 0))
		return false;
	put(d, DATA, "virtio\n", 7);
	desc(d, 1, 0, DATA, 7, false, false);
	return ask(d, 1);
}

static bool use_rng(struct dev *d)
{
	if (!setup(d, 1, 0))
		return false;
	desc(d, 0, 0, IN, 64, true, false);
	return ask(d, 0);
}

static bool use_balloon(struct dev *d)
{
	uint32_t pfn = (AREA + NR_AREAS * STRIDE) / SZ_4K;

	if (!setup(d, 2, 0))
		return false;
	put(d, DATA, &pfn, sizeof(pfn));
	desc(d, 0, 0, DATA, sizeof(pfn), false, false);
	return ask(d, 0);
}

static bool use_pmem(struct dev *d)
{
	const uint32_t flush = 0;

	if (!setup(d, 1, 0))
		return false;
	put(d, DATA, &flush, sizeof(flush));
	desc(d, 0, 0, DATA, sizeof(flush), false, true);
	desc(d, 0, 1, IN, sizeof(flush), true, false);
	return ask(d, 0) && !take(d, IN, 4);
}

/* One request of 9P2000.L; @len bytes behind size, type and tag. Return: type of the answer. */
static int p9_request(struct dev *d, uint8_t type, const void *body, uint32_t len)
{
	uint8_t msg[256] = { 7 + len, 0, 0, 0, type, 1, 0 };

	memcpy(msg + 7, body, len);
	put(d, DATA, msg, 7 + len);
	desc(d, 0, 0, DATA, 7 + len, false, true);
	desc(d, 0, 1, IN, 4096, true, false);
	return ask(d, 0) ? (int)take(d, IN + 4, 1) : -1;
}

static bool use_9p(struct dev *d)
{
	static const struct {
		uint8_t type, len;
		char body[40];
	} msg[] = {
		{ 100, 14, "\0\x20\0\0\x08\0" "9P2000.L" },	/* Tversion */
		/* Tattach fid 0, no afid, uname "", aname "", n_uname 0 */
		{ 104, 16, "\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0" },
		{ 110, 14, "\0\0\0\0\x01\0\0\0\x01\0\x02\0" "hi" },	/* Twalk 0 to 1: hi */
		{ 12, 8, "\x01\0\0\0\0\0\0\0" },		/* Tlopen fid 1, O_RDONLY */
		{ 116, 16, "\x01\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0" },	/* read 16 bytes */
		{ 24, 12, "\x01\0\0\0\xff\x07\0\0\0\0\0\0" },	/* Tgetattr */
		{ 110, 10, "\0\0\0\0\x02\0\0\0\0\0" },		/* Twalk 0 to 2: nowhere */
		{ 12, 8, "\x02\0\0\0\0\0\0\0" },		/* Tlopen fid 2 */
		{ 40, 16, "\x02\0\0\0\0\0\0\0\0\0\0\0\0\x08\0\0" },	/* Treaddir */
		/* Tlcreate fid 0, "new", O_RDWR, 0600, gid 0 */
		{ 14, 21, "\0\0\0\0\x03\0" "new" "\x02\0\0\0\x80\x01\0\0\0\0\0\0" },
		{ 118, 20, "\0\0\0\0\0\0\0\0\0\0\0\0\x04\0\0\0" "data" },	/* Twrite */
		{ 122, 4, "\0\0\0\0" },				/* Tremove */
		{ 120, 4, "\x01\0\0\0" },			/* Tclunk */
	};
	bool good = setup(d, 1, 0);

	for (unsigned int i = 0; good && i < ARRAY_SIZE(msg); i++) {
		int type = p9_request(d, msg[i].type, msg[i].body, msg[i].len);

		if (type < 0)
			return false;
		good = type == msg[i].type + 1;
	}
	return good;
}

static bool vsock_send(struct dev *d, uint16_t op, uint32_t len)
{
	struct virtio_vsock_hdr h = {
		.src_cid = 3, .dst_cid = 2, .src_port = 1000, .dst_port = 1234,
		.len = len, .type = VIRTIO_VSOCK_TYPE_STREAM, .op = op, .buf_alloc = 4096,
		.flags = op == VIRTIO_VSOCK_OP_SHUTDOWN ? 3 : 0,
	};

	put(d, DATA, &h, sizeof(h));
	desc(d, 1, 0, DATA, sizeof(h) + len, false, false);
	return ask(d, 1);
}

/* Return: the operation of the next packet, -1: none came. */
static int vsock_get(struct dev *d)
{
	uint16_t op;

	if (!answered(d, 0))
		return -1;
	op = take(d, IN + offsetof(struct virtio_vsock_hdr, op), 2);
	desc(d, 0, 0, IN, 2048, true, false);
	offer(d, 0, 0);
	return op;
}

static bool use_vsock(struct dev *d)
{
	int op;

	if (!setup(d, 3, 0))
		return false;
	desc(d, 0, 0, IN, 2048, true, false);
	offer(d, 0, 0);
	if (!vsock_send(d, VIRTIO_VSOCK_OP_REQUEST, 0))
		return false;
	op = vsock_get(d);
	if (op != VIRTIO_VSOCK_OP_RESPONSE)
		return false;
	if (!vsock_send(d, VIRTIO_VSOCK_OP_RW, 8))
		return false;
	/* the peer sends it back; credit may come before */
	do {
		op = vsock_get(d);
	} while (op == VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	return op == VIRTIO_VSOCK_OP_RW && vsock_send(d, VIRTIO_VSOCK_OP_SHUTDOWN, 0);
}

/* ---- the guest ------------------------------------------------------------------------------- */

static bool use(struct dev *d)
{
	switch (d->id) {
	case VIRTIO_ID_BLOCK: return use_blk(d);
	case VIRTIO_ID_NET: return use_net(d);
	case VIRTIO_ID_CONSOLE: return use_console(d);
	case VIRTIO_ID_RNG: return use_rng(d);
	case VIRTIO_ID_BALLOON: return use_balloon(d);
	case VIRTIO_ID_PMEM: return use_pmem(d);
	case VIRTIO_ID_9P: return use_9p(d);
	case VIRTIO_ID_VSOCK: return use_vsock(d);
	default: return false;
	}
}

/* Ask on the control socket; the guest's thread waits for the main loop. */
static unsigned int use_control(const struct guest *g)
{
	static const char *const cmd[] = { "status", "metrics", "regions", "memory", "wait" };
	struct timeval limit = { .tv_sec = g->wait_ms / 1000, .tv_usec = g->wait_ms % 1000 * 1000 };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unsigned int answers = 0;
	char buf[512], last;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", g->control);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		goto out;
	for (unsigned int i = 0; i < ARRAY_SIZE(cmd); i++) {
		int n = snprintf(buf, sizeof(buf), "{\"v\":1,\"cmd\":\"%s\"}\n", cmd[i]);
		ssize_t got;

		if (send(fd, buf, n, MSG_NOSIGNAL) != n)
			goto out;
		do {
			got = recv(fd, buf, sizeof(buf), 0);
			if (got <= 0)
				goto out;
			last = buf[got - 1];
		} while (last != '\n');
		answers++;
	}
out:
	close(fd);
	return answers;
}

static void convert(struct fake_cpu *c, uint64_t base, uint64_t top, enum ripas_state state)
{
	for (unsigned int i = 0; base < top && i < 1000; i++) {
		uint64_t x[18] = { RSI_IPA_STATE_SET, base, top, state };

		fake_smc(c, x);
		if (x[0] != RSI_SUCCESS || x[1] <= base)
			break;
		base = x[1];
	}
}

/* The device in window @i, its memory is area @n. */
static bool find(struct dev *d, struct fake_cpu *c, struct guest *g, unsigned int i, unsigned int n)
{
	*d = (struct dev){
		.c = c, .g = g,
		.io = (MAP_VIRTIO_BASE + i * MAP_VIRTIO_STRIDE) | g->shared,
		.mem = (AREA + n * STRIDE) | g->shared,
	};
	if (get(d, VIRTIO_MMIO_MAGIC_VALUE) != 0x74726976)
		return false;
	d->id = get(d, VIRTIO_MMIO_DEVICE_ID);
	return true;
}

void guest_main(struct fake_cpu *c, void *ctx)
{
	struct guest *g = ctx;
	struct termios t;
	unsigned int n = 0;

	say(c, g, "up\n");
	atomic_store(&g->done, 0);
	if (g->tty >= 0 && tcgetattr(g->tty, &t) == 0)
		atomic_store(&g->raw, !(t.c_lflag & (ICANON | ECHO)));
	if (g->control)
		atomic_store(&g->answers, use_control(g));
	/* In a realm the memory of the rings is shared first, and made private again at the end. */
	if (g->realm)
		convert(c, AREA, AREA + NR_AREAS * STRIDE, RIPAS_EMPTY);
	for (unsigned int i = 0; i < MAP_VIRTIO_COUNT && n < NR_AREAS; i++) {
		struct dev d;

		if (!find(&d, c, g, i, n))
			break;
		if (!d.id || d.id > 63)
			continue;
		n++;
		atomic_fetch_or(&g->found, F(d.id));
		if (use(&d))
			atomic_fetch_or(&g->done, F(d.id));
	}
	if (g->realm)
		convert(c, AREA, AREA + NR_AREAS * STRIDE, RIPAS_RAM);
	say(c, g, "done\n");
	if (fake_boot(c) >= g->boots)
		fake_poweroff(c);
	fake_system_reset(c);
}

/* ---- work while a page changes sides --------------------------------------------------------- */

void guest_change(struct fake_cpu *c, void *ctx)
{
	struct guest_load *l = ctx;

	while (!atomic_load(&l->over)) {
		for (unsigned int n = 0; n < 2; n++) {
			uint64_t page = AREA + n * STRIDE + IN;

			convert(c, page, page + SZ_4K, RIPAS_RAM);
			convert(c, page, page + SZ_4K, RIPAS_EMPTY);
			atomic_fetch_add(&l->changes, 1);
		}
	}
}

/* A device that cannot reach its buffers is broken until it is reset. */
static void again(struct dev *d)
{
	static const uint64_t none;

	d->avail[0] = d->used[0] = 0;
	set(d, VIRTIO_MMIO_STATUS, 0);
	put(d, Q_AVAIL, &none, sizeof(none));
	put(d, Q_USED, &none, sizeof(none));
	fake_expect(setup(d, 1, 0));
}

void guest_load(struct fake_cpu *c, void *ctx)
{
	struct guest_load *l = ctx;
	struct dev d[2] = { 0 };
	unsigned int nr = 0;

	convert(c, AREA, AREA + NR_AREAS * STRIDE, RIPAS_EMPTY);
	for (unsigned int i = 0; nr < ARRAY_SIZE(d) && find(&d[nr], c, &l->g, i, nr); i++)
		if (d[nr].id == VIRTIO_ID_BLOCK || d[nr].id == VIRTIO_ID_RNG)
			nr += setup(&d[nr], 1, F(VIRTIO_BLK_F_FLUSH));
	fake_expect_eq(nr, 2);
	fake_expect_eq(fake_call(c, FAKE_PSCI_CPU_ON, 1, MAP_RAM_BASE, 0), 0);
	for (unsigned int i = 0; i < l->rounds; i++) {
		for (unsigned int n = 0; n < nr; n++) {
			int status;

			if (d[n].id == VIRTIO_ID_RNG) {
				desc(&d[n], 0, 0, IN, 64, true, false);
				if (!ask(&d[n], 0))
					again(&d[n]);
				continue;
			}
			status = blk_request(&d[n], i & 1 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
					     i % 64, 4096);
			if (status < 0)
				again(&d[n]);
			atomic_fetch_add(status ? &l->refused : &l->good, 1);
		}
	}
	atomic_store(&l->over, true);
	fake_poweroff(c);
}
