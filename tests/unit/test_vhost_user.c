// SPDX-License-Identifier: BSD-3-Clause
/*
 * Devices of a vhost-user back end. Its part is played here by a thread on the other end of a
 * socket pair, which maps the memory that it gets and serves the rings, or misbehaves.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/virtio_blk.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_net.h>

#include "tests/unit/vdriver.h"
#include "virtio/vhost_user.h"

#define RINGS	8
#define FILL	0x5a

#define F_PROTOCOL	(1ULL << 30)
#define P_MQ		(1ULL << 0)
#define P_REPLY_ACK	(1ULL << 3)
#define P_CONFIG	(1ULL << 9)
#define GOOD_FEATURES	(VD_F(VIRTIO_F_VERSION_1) | VD_F(VIRTIO_RING_F_EVENT_IDX) | \
			 VD_F(VIRTIO_RING_F_INDIRECT_DESC) | VD_F(VIRTIO_F_ACCESS_PLATFORM) | \
			 F_PROTOCOL | VD_F(26))

/* requests */
enum {
	GET_FEATURES = 1, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 5, SET_NUM = 8, SET_ADDR,
	SET_BASE, GET_BASE, SET_KICK, SET_CALL, SET_ERR, GET_PROTOCOL, SET_PROTOCOL, GET_QUEUES,
	SET_ENABLE, GET_CONFIG = 24, REQUESTS
};

/* what the back end does instead of a good answer to request @at */
enum wrong {
	GOOD, HANG_UP, SILENT, OTHER_REQUEST, NO_REPLY_FLAG, TOO_LONG, TOO_SHORT, NAK, BAD_CONTENT,
	CUT, WITH_FD
};

struct ring {
	uint32_t num, base;
	uint64_t desc, used, avail;
	int kick, call, err;
	bool enabled, running;
	uint16_t last;
};

struct slave {
	int fd;
	pthread_t thread;
	uint64_t offered, protocol_offered, queues;
	_Atomic enum wrong wrong;
	_Atomic uint32_t at;
	uint8_t config[256];

	uint64_t features, protocol;
	unsigned int nr_regions;
	struct {
		uint64_t guest, size, user;
		uint8_t *map;
	} region[8];
	struct ring ring[RINGS];
	_Atomic unsigned int count[REQUESTS], served, gone;
};

struct msg {
	uint32_t request, flags, size;
	union {
		uint64_t u64;
		struct { uint32_t index, num; } state;
		struct { uint32_t index, flags; uint64_t desc, used, avail, log; } addr;
		struct { uint32_t nr, pad; struct { uint64_t guest, size, user, off; } r[8]; } mem;
		struct { uint32_t off, size, flags; uint8_t data[256]; } config;
		uint8_t raw[1024];
	};
} __attribute__((packed));

/* ---- the back end ---------------------------------------------------------------------------- */

static uint8_t *at_user(struct slave *s, uint64_t addr)
{
	for (unsigned int i = 0; i < s->nr_regions; i++)
		if (addr - s->region[i].user < s->region[i].size)
			return s->region[i].map + (addr - s->region[i].user);
	return NULL;
}

static uint8_t *at_guest(struct slave *s, uint64_t addr)
{
	for (unsigned int i = 0; i < s->nr_regions; i++)
		if (addr - s->region[i].guest < s->region[i].size)
			return s->region[i].map + (addr - s->region[i].guest);
	return NULL;
}

static void poke(int fd)
{
	uint64_t one = 1;

	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		abort();
}

static void serve(struct slave *s, struct ring *r)
{
	struct vring_desc *desc = (void *)at_user(s, r->desc);
	struct vring_avail *avail = (void *)at_user(s, r->avail);
	struct vring_used *used = (void *)at_user(s, r->used);

	while (__atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE) != r->last) {
		uint16_t head = avail->ring[r->last % r->num], i = head;
		uint32_t len = 0;

		for (;;) {
			uint8_t *p = at_guest(s, desc[i].addr);

			if (!p) {
				poke(r->err);
				return;
			}
			if (desc[i].flags & VRING_DESC_F_WRITE) {
				memset(p, FILL, desc[i].len);
				len += desc[i].len;
			}
			if (!(desc[i].flags & VRING_DESC_F_NEXT))
				break;
			i = desc[i].next;
		}
		used->ring[r->last % r->num] = (struct vring_used_elem){ head, len };
		r->last++;
		__atomic_store_n(&used->idx, r->last, __ATOMIC_RELEASE);
		s->served++;
		poke(r->call);
	}
}

static void forget_memory(struct slave *s)
{
	for (unsigned int i = 0; i < s->nr_regions; i++)
		munmap(s->region[i].map, s->region[i].size);
	s->nr_regions = 0;
}

static void put_fd(int *slot, int fd)
{
	if (*slot >= 0)
		close(*slot);
	*slot = fd;
}

/* Return: true: the answer is @m as it is now. */
static bool take(struct slave *s, struct msg *m, const int *fds, unsigned int nr_fds)
{
	struct ring *r = &s->ring[m->state.index % RINGS];

	switch (m->request) {
	case GET_FEATURES:
		m->u64 = s->offered;
		m->size = 8;
		return true;
	case GET_PROTOCOL:
		m->u64 = s->protocol_offered;
		m->size = 8;
		return true;
	case GET_QUEUES:
		m->u64 = s->queues;
		m->size = 8;
		return true;
	case GET_CONFIG:
		memcpy(m->config.data, s->config + m->config.off, m->config.size);
		return true;
	case SET_FEATURES:
		s->features = m->u64;
		return false;
	case SET_PROTOCOL:
		s->protocol = m->u64;
		return false;
	case SET_MEM_TABLE:
		forget_memory(s);
		s->nr_regions = nr_fds == m->mem.nr ? m->mem.nr : 0;
		for (unsigned int i = 0; i < s->nr_regions; i++) {
			s->region[i].guest = m->mem.r[i].guest;
			s->region[i].size = m->mem.r[i].size;
			s->region[i].user = m->mem.r[i].user;
			s->region[i].map = mmap(NULL, m->mem.r[i].size, PROT_READ | PROT_WRITE,
						MAP_SHARED, fds[i], m->mem.r[i].off);
			if (s->region[i].map == MAP_FAILED)
				abort();
		}
		return false;
	case SET_NUM:
		r->num = m->state.num;
		return false;
	case SET_BASE:
		r->base = r->last = m->state.num;
		return false;
	case SET_ADDR:
		r->desc = m->addr.desc;
		r->used = m->addr.used;
		r->avail = m->addr.avail;
		return false;
	case SET_CALL:
		put_fd(&r->call, nr_fds ? dup(fds[0]) : -1);
		return false;
	case SET_ERR:
		put_fd(&r->err, nr_fds ? dup(fds[0]) : -1);
		return false;
	case SET_KICK:
		put_fd(&r->kick, nr_fds ? dup(fds[0]) : -1);
		r->running = nr_fds;
		return false;
	case SET_ENABLE:
		r->enabled = m->state.num;
		return false;
	case GET_BASE:
		r->running = false;
		m->state.num = r->last;
		return true;
	default:
		return false;
	}
}

/* Return: false: this is the end. */
static bool answer(struct slave *s, struct msg *m, bool reply)
{
	enum wrong wrong = m->request == s->at ? s->wrong : GOOD;
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { m, 0 };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	bool ack = !reply && (m->flags & 8);

	if (wrong == HANG_UP)
		return false;
	if (wrong == SILENT || (!reply && !ack))
		return true;
	m->flags = 1 | 4;
	if (ack) {
		m->size = 8;
		m->u64 = wrong == NAK;
	}
	if (wrong == OTHER_REQUEST)
		m->request++;
	if (wrong == NO_REPLY_FLAG)
		m->flags = 1;
	if (wrong == TOO_LONG)
		m->size = 1000;
	if (wrong == TOO_SHORT)
		m->size = 1;
	if (wrong == BAD_CONTENT)
		m->u64 ^= 0x0000000100000001;
	iov.iov_len = 12 + m->size;
	if (wrong == CUT)
		iov.iov_len -= 2;
	if (wrong == WITH_FD) {
		struct cmsghdr *c;

		h.msg_control = control;
		h.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &s->fd, sizeof(int));
	}
	return sendmsg(s->fd, &h, MSG_NOSIGNAL) > 0 && wrong != CUT;
}

static bool message(struct slave *s)
{
	char control[CMSG_SPACE(8 * sizeof(int))];
	struct msg m;
	struct iovec iov = { &m, 12 };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			    .msg_controllen = sizeof(control) };
	int fds[8];
	unsigned int nr = 0;
	bool reply;

	if (recvmsg(s->fd, &h, 0) != 12)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
		nr = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), nr * sizeof(int));
	}
	if (m.size > sizeof(m.raw) ||
	    (m.size && recv(s->fd, m.raw, m.size, MSG_WAITALL) != (ssize_t)m.size))
		return false;
	reply = take(s, &m, fds, nr);
	for (unsigned int i = 0; i < nr; i++)
		close(fds[i]);
	if (m.request < REQUESTS)
		s->count[m.request]++;
	return answer(s, &m, reply);
}

static void *slave_main(void *arg)
{
	struct slave *s = arg;
	bool alive = true;

	while (alive) {
		struct pollfd p[1 + RINGS] = { { s->fd, POLLIN, 0 } };
		uint64_t n;

		for (int i = 0; i < RINGS; i++) {
			struct ring *r = &s->ring[i];
			bool on = r->running && (r->enabled || !(s->features & F_PROTOCOL));

			p[1 + i] = (struct pollfd){ on ? r->kick : -1, POLLIN, 0 };
		}
		poll(p, 1 + RINGS, -1);
		for (int i = 0; i < RINGS; i++)
			if (p[1 + i].revents && read(s->ring[i].kick, &n, sizeof(n)) > 0)
				serve(s, &s->ring[i]);
		if (p[0].revents)
			alive = message(s);
	}
	s->gone = 1;
	forget_memory(s);
	for (int i = 0; i < RINGS; i++) {
		put_fd(&s->ring[i].kick, -1);
		put_fd(&s->ring[i].call, -1);
		put_fd(&s->ring[i].err, -1);
	}
	shutdown(s->fd, SHUT_RDWR);
	return NULL;
}

/* ---- tests ----------------------------------------------------------------------------------- */

struct test {
	struct vdriver vd;
	struct slave s;
	struct vhost_user *u;
	int end;
	int mem[2];
};

static struct test *prepare(bool realm)
{
	struct test *t = calloc(1, sizeof(*t));
	int sv[2];

	vd_init(&t->vd, realm);
	t->vd.env.alias = realm ? VD_SHARED : 0;
	t->vd.env.packed = true;	/* of which this back end knows nothing */
	/* RAM that others can map: two files in the place of the driver's two regions */
	for (int i = 0; i < 2; i++) {
		struct gmem_region *r = &t->vd.gm.region[i];

		t->mem[i] = r->fd = memfd_create("test", MFD_CLOEXEC);
		assert_return_code(ftruncate(r->fd, r->size), errno);
		assert_ptr_equal(mmap(r->host, r->size, PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_FIXED, r->fd, 0), r->host);
	}
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), errno);
	t->end = sv[0];
	t->s.fd = sv[1];
	t->s.offered = GOOD_FEATURES;
	t->s.protocol_offered = ~0ULL;
	t->s.queues = RINGS;
	for (int i = 0; i < RINGS; i++)
		t->s.ring[i].kick = t->s.ring[i].call = t->s.ring[i].err = -1;
	return t;
}

static int greet(struct test *t, unsigned int rings)
{
	struct err e = { 0 };
	int ret;

	assert_int_equal(pthread_create(&t->s.thread, NULL, slave_main, &t->s), 0);
	ret = vhost_user_new(t->end, "test", rings, 2000, &t->u, &e);
	if (ret < 0)
		close(t->end);
	return ret;
}

static void finish(struct test *t)
{
	vd_destroy(&t->vd);
	vhost_user_free(t->u);
	pthread_join(t->s.thread, NULL);
	close(t->s.fd);
	close(t->mem[0]);
	close(t->mem[1]);
	free(t);
}

static void attach_fs(struct test *t)
{
	struct virtio_dev *dev;
	struct err e;

	assert_int_equal(virtio_vu_fs_new(&t->vd.env, t->u, "tag", &dev, &e), 0);
	vd_attach(&t->vd, dev);
}

static struct test *fs(bool realm)
{
	struct test *t = prepare(realm);

	assert_int_equal(greet(t, 2), 0);
	attach_fs(t);
	return t;
}

static uint32_t status(struct test *t)
{
	return vd_get(&t->vd, VIRTIO_MMIO_STATUS);
}

static bool needs_reset(struct test *t)
{
	for (int i = 0; i < 100 && !(status(t) & VIRTIO_CONFIG_S_NEEDS_RESET); i++)
		loop_once(&t->vd.loop, 50);
	return status(t) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* One request: 100 bytes to the back end, 1000 from it. */
static void exchange(struct test *t, unsigned int q)
{
	uint8_t *in = vd_ptr(&t->vd, VD_DATA + 0x1000);
	unsigned int irqs = t->vd.irqs;
	struct vring_used_elem u;
	ipa_t at = VD_DATA | (t->vd.realm ? VD_SHARED : 0);

	memset(in, 0, 1001);
	vd_add(&t->vd, q, (struct vq_seg[]){ { at, 100 }, { at + 0x1000, 1000 } }, 2, 1);
	vd_kick(&t->vd, q);
	u = vd_wait(&t->vd, q);
	assert_int_equal(u.len, 1000);
	assert_int_equal(in[0], FILL);
	assert_int_equal(in[999], FILL);
	assert_int_equal(in[1000], 0);
	vd_pump(&t->vd, 20);
	assert_true(t->vd.irqs > irqs);
}

static void features_and_memory(void **state)
{
	struct test *t = fs(false);
	uint64_t f = vd_features(&t->vd);

	assert_int_equal(t->s.protocol, P_MQ | P_REPLY_ACK | P_CONFIG);
	assert_int_equal(vd_get(&t->vd, VIRTIO_MMIO_DEVICE_ID), 26);
	assert_true(f & VD_F(VIRTIO_F_ACCESS_PLATFORM));
	assert_false(f & (VD_F(VIRTIO_F_RING_PACKED) | VD_F(VIRTIO_F_IN_ORDER) | F_PROTOCOL |
			  VD_F(26)));
	vd_start(&t->vd, VD_F_ALL, 2, 64);
	/* what the driver accepted, but what a back end would take for an IOMMU */
	assert_int_equal(t->s.features, VD_F(VIRTIO_F_VERSION_1) | VD_F(VIRTIO_RING_F_EVENT_IDX) |
			 VD_F(VIRTIO_RING_F_INDIRECT_DESC) | F_PROTOCOL);
	assert_int_equal(t->s.nr_regions, 2);
	assert_int_equal(t->s.region[0].guest, VD_RAM);
	assert_int_equal(t->s.region[0].size, VD_RAM_SIZE);
	assert_int_equal(t->s.region[1].guest, VD_RAM2);
	assert_int_equal(t->s.ring[1].num, 64);
	assert_true(t->s.ring[0].enabled && t->s.ring[1].enabled);
	assert_ptr_equal(at_user(&t->s, t->s.ring[0].desc) - t->s.region[0].map,
			 t->vd.ring[0].desc_ipa - VD_RAM);
	exchange(t, 1);
	exchange(t, 0);
	finish(t);
}

static void in_a_realm(void **state)
{
	struct test *t = fs(true);

	vd_start(&t->vd, VD_F_ALL, 2, 64);
	/* both names of the same memory, in ascending order */
	assert_int_equal(t->s.nr_regions, 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(t->s.region[i].guest,
				 (i & 1 ? VD_RAM2 : VD_RAM) | (i & 2 ? VD_SHARED : 0));
	exchange(t, 1);
	finish(t);
}

static void ring_in_private_memory(void **state)
{
	struct test *t = fs(true);

	t->vd.private_base = VD_RAM + 0x20000 + 0xc000;		/* used ring of queue 1 */
	t->vd.private_len = 0x1000;
	vd_start(&t->vd, VD_F_ALL, 2, 64);
	assert_true(status(t) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(t->s.count[SET_KICK], 1);
	vd_set(&t->vd, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(status(t), 0);
	t->vd.private_len = 0;
	vd_start(&t->vd, VD_F_ALL, 2, 64);
	exchange(t, 1);
	finish(t);
}

static void memory_that_cannot_be_shared(void **state)
{
	struct test *t = fs(false);

	t->vd.gm.region[0].fd = t->vd.gm.region[1].fd = -1;
	vd_start(&t->vd, VD_F_ALL, 2, 64);
	assert_true(status(t) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(t->s.count[SET_MEM_TABLE], 0);
	finish(t);
}

static void reset_lets_go(void **state)
{
	struct test *t = fs(false);

	for (unsigned int i = 1; i <= 3; i++) {
		vd_start(&t->vd, VD_F_ALL, 2, 64);
		exchange(t, 1);
		vd_set(&t->vd, VIRTIO_MMIO_STATUS, 0);
		assert_int_equal(t->s.count[GET_BASE], 2 * i);
		assert_false(t->s.ring[0].running || t->s.ring[1].running);
		assert_false(t->s.ring[0].enabled || t->s.ring[1].enabled);
	}
	finish(t);
}

static void without_acknowledgements(void **state)
{
	struct test *t = prepare(false);

	t->s.protocol_offered = 0;
	assert_int_equal(greet(t, 2), 0);
	attach_fs(t);
	vd_start(&t->vd, VD_F_ALL, 2, 64);
	exchange(t, 1);
	assert_int_equal(t->s.count[GET_QUEUES], 0);
	assert_int_equal(t->s.protocol, 0);
	assert_true(t->s.features & F_PROTOCOL);
	finish(t);
}

/* Back ends from before there were protocol features: rings need not be enabled. */
static void without_protocol_features(void **state)
{
	struct test *t = prepare(false);

	t->s.offered &= ~F_PROTOCOL;
	assert_int_equal(greet(t, 2), 0);
	attach_fs(t);
	vd_start(&t->vd, VD_F_ALL, 2, 64);
	exchange(t, 1);
	assert_int_equal(t->s.count[SET_ENABLE], 0);
	assert_int_equal(t->s.count[GET_PROTOCOL], 0);
	assert_false(t->s.features & F_PROTOCOL);
	finish(t);
}

static void bad_greetings(void **state)
{
	static const struct {
		enum wrong wrong;
		uint32_t at;
		int ret;
	} cases[] = {
		{ HANG_UP, GET_FEATURES, -EPIPE }, { HANG_UP, SET_PROTOCOL, 0 },
		{ HANG_UP, GET_QUEUES, -EPIPE }, { OTHER_REQUEST, GET_FEATURES, -EPROTO },
		{ NO_REPLY_FLAG, GET_FEATURES, -EPROTO }, { TOO_LONG, GET_PROTOCOL, -EPROTO },
		{ TOO_SHORT, GET_QUEUES, -EPROTO }, { CUT, GET_FEATURES, -EPIPE },
		{ SILENT, GET_FEATURES, -ETIMEDOUT }, { WITH_FD, GET_FEATURES, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct test *t = prepare(false);
		int ret;

		t->s.wrong = cases[i].wrong;
		t->s.at = cases[i].at;
		ret = greet(t, 2);
		if (cases[i].at == SET_PROTOCOL)
			assert_int_equal(ret, -EPIPE);
		else
			assert_int_equal(ret, cases[i].ret);
		finish(t);
	}
}

static void too_few_queues(void **state)
{
	struct test *t = prepare(false);

	t->s.queues = 1;
	assert_int_equal(greet(t, 2), -E2BIG);
	finish(t);
}

static void too_old(void **state)
{
	struct test *t = prepare(false);
	struct virtio_dev *dev;
	struct err e;

	t->s.offered &= ~VD_F(VIRTIO_F_VERSION_1);
	assert_int_equal(greet(t, 2), 0);
	assert_int_equal(virtio_vu_fs_new(&t->vd.env, t->u, "tag", &dev, &e), -EPROTO);
	assert_non_null(strstr(e.msg, "VERSION_1"));
	finish(t);
}

/* The guest finds a device that needs a reset, whatever goes wrong at the start. */
static void bad_starts(void **state)
{
	static const struct {
		enum wrong wrong;
		uint32_t at;
	} cases[] = {
		{ NAK, SET_FEATURES }, { NAK, SET_MEM_TABLE }, { NAK, SET_ADDR }, { NAK, SET_KICK },
		{ HANG_UP, SET_MEM_TABLE }, { HANG_UP, SET_KICK }, { TOO_LONG, SET_NUM },
		{ OTHER_REQUEST, SET_CALL }, { CUT, SET_ERR }, { HANG_UP, SET_ENABLE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct test *t = fs(false);

		t->s.wrong = cases[i].wrong;
		t->s.at = cases[i].at;
		vd_start(&t->vd, VD_F_ALL, 2, 64);
		assert_true(needs_reset(t));
		vd_set(&t->vd, VIRTIO_MMIO_STATUS, 0);
		assert_int_equal(status(t), 0);
		/* a no is no end: it may do better next time */
		t->s.wrong = GOOD;
		vd_start(&t->vd, VD_F_ALL, 2, 64);
		assert_int_equal(needs_reset(t), cases[i].wrong != NAK);
		assert_int_equal(vhost_user_alive(t->u), cases[i].wrong == NAK);
		finish(t);
	}
}

static void bad_ends(void **state)
{
	static const enum wrong cases[] = { SILENT, HANG_UP, BAD_CONTENT, TOO_LONG };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct test *t = fs(false);

		vd_start(&t->vd, VD_F_ALL, 2, 64);
		exchange(t, 1);
		t->s.wrong = cases[i];
		t->s.at = GET_BASE;
		vd_set(&t->vd, VIRTIO_MMIO_STATUS, 0);
		assert_int_equal(status(t), 0);
		assert_false(vhost_user_alive(t->u));
		vd_start(&t->vd, VD_F_ALL, 2, 64);
		assert_true(status(t) & VIRTIO_CONFIG_S_NEEDS_RESET);
		finish(t);
	}
}

static void it_dies(void **state)
{
	struct test *t = fs(false);
	unsigned int irqs;

	vd_start(&t->vd, VD_F_ALL, 2, 64);
	exchange(t, 1);
	assert_false(status(t) & VIRTIO_CONFIG_S_NEEDS_RESET);
	irqs = t->vd.irqs;
	shutdown(t->s.fd, SHUT_RDWR);
	assert_true(needs_reset(t));
	assert_true(t->vd.irqs > irqs);
	assert_false(vhost_user_alive(t->u));
	/* and nothing hangs */
	vd_kick(&t->vd, 1);
	vd_set(&t->vd, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(status(t), 0);
	finish(t);
}

/* A buffer that is no memory of the guest's: the back end says so, the driver has to begin anew. */
static void it_complains(void **state)
{
	struct test *t = fs(false);

	vd_start(&t->vd, VD_F_ALL, 2, 64);
	vd_add(&t->vd, 1, &(struct vq_seg){ 0x1000, 64 }, 1, 0);
	vd_kick(&t->vd, 1);
	assert_true(needs_reset(t));
	vd_set(&t->vd, VIRTIO_MMIO_STATUS, 0);
	vd_start(&t->vd, VD_F_ALL, 2, 64);
	exchange(t, 1);
	finish(t);
}

static int blk(struct test *t, const struct virtio_vu_blk_cfg *cfg, struct err *e)
{
	struct virtio_dev *dev;
	int ret = virtio_vu_blk_new(&t->vd.env, t->u, cfg, &dev, e);

	if (!ret)
		vd_attach(&t->vd, dev);
	return ret;
}

static uint32_t config32(struct test *t, size_t off)
{
	return vd_access(&t->vd, VIRTIO_MMIO_CONFIG + off, 0, 4, false);
}

static struct test *disk(uint64_t more, uint32_t max_request)
{
	struct test *t = prepare(false);
	struct virtio_blk_config *c = (void *)t->s.config;

	t->vd.env.max_request = max_request;
	t->s.offered |= VD_F(VIRTIO_BLK_F_FLUSH) | VD_F(VIRTIO_BLK_F_CONFIG_WCE) |
			VD_F(VIRTIO_BLK_F_SEG_MAX) | VD_F(VIRTIO_BLK_F_DISCARD) | more;
	c->capacity = 0x1234;
	c->seg_max = 126;
	c->num_queues = 99;
	assert_int_equal(greet(t, 2), 0);
	return t;
}

static void disks(void **state)
{
	const struct virtio_vu_blk_cfg plain = { .path = "x", .queues = 1 };
	struct test *t = disk(VD_F(VIRTIO_BLK_F_MQ), 0);
	uint64_t f;
	struct err e;

	assert_int_equal(blk(t, &plain, &e), 0);
	f = vd_features(&t->vd);
	assert_true(f & VD_F(VIRTIO_BLK_F_FLUSH) && f & VD_F(VIRTIO_BLK_F_DISCARD));
	assert_false(f & (VD_F(VIRTIO_BLK_F_CONFIG_WCE) | VD_F(VIRTIO_BLK_F_MQ) |
			  VD_F(VIRTIO_BLK_F_RO) | VD_F(VIRTIO_BLK_F_SIZE_MAX)));
	assert_int_equal(config32(t, offsetof(struct virtio_blk_config, capacity)), 0x1234);
	assert_int_equal(config32(t, offsetof(struct virtio_blk_config, seg_max)), 126);
	assert_int_equal(vd_access(&t->vd, VIRTIO_MMIO_CONFIG +
				   offsetof(struct virtio_blk_config, num_queues), 0, 2, false), 1);
	vd_start(&t->vd, VD_F_ALL, 1, 64);
	exchange(t, 0);
	finish(t);

	/* through a pool of 512 KiB, two queues, no discard */
	t = disk(VD_F(VIRTIO_BLK_F_MQ), 256 << 10);
	assert_int_equal(blk(t, &(struct virtio_vu_blk_cfg){ .path = "x", .queues = 2,
				  .no_discard = true }, &e), 0);
	f = vd_features(&t->vd);
	assert_true(f & VD_F(VIRTIO_BLK_F_MQ) && f & VD_F(VIRTIO_BLK_F_SIZE_MAX));
	assert_false(f & VD_F(VIRTIO_BLK_F_DISCARD));
	assert_int_equal(config32(t, offsetof(struct virtio_blk_config, seg_max)), 4);
	assert_int_equal(config32(t, offsetof(struct virtio_blk_config, size_max)), 65536);
	vd_start(&t->vd, VD_F_ALL | VD_F(VIRTIO_BLK_F_SIZE_MAX), 2, 64);
	assert_false(t->s.features & VD_F(VIRTIO_BLK_F_SIZE_MAX));
	exchange(t, 1);
	finish(t);

	/* read-only is a matter of the back end */
	t = disk(0, 0);
	assert_int_equal(blk(t, &(struct virtio_vu_blk_cfg){ .path = "x", .queues = 1,
				  .readonly = true }, &e), -EPERM);
	assert_int_equal(blk(t, &(struct virtio_vu_blk_cfg){ .path = "x", .queues = 2 }, &e), -E2BIG);
	t->s.wrong = BAD_CONTENT;
	t->s.at = GET_CONFIG;
	assert_int_equal(blk(t, &plain, &e), -EPROTO);
	finish(t);
	t = disk(VD_F(VIRTIO_BLK_F_RO), 0);
	assert_int_equal(blk(t, &(struct virtio_vu_blk_cfg){ .path = "x", .queues = 1,
				  .readonly = true }, &e), 0);
	assert_true(vd_features(&t->vd) & VD_F(VIRTIO_BLK_F_RO));
	finish(t);

	/* a back end that has no configuration to give */
	t = prepare(false);
	t->s.protocol_offered = P_REPLY_ACK;
	assert_int_equal(greet(t, 1), 0);
	assert_int_equal(blk(t, &plain, &e), -EOPNOTSUPP);
	finish(t);
}

static void tags_and_queues(void **state)
{
	struct test *t = prepare(false);
	struct virtio_dev *dev;
	char tag[37] = { 0 };
	struct err e;

	memset(tag, 'x', 36);
	t->vd.env.max_request = 256 << 10;
	assert_int_equal(greet(t, 2), 0);
	assert_int_equal(virtio_vu_fs_new(&t->vd.env, t->u, tag, &dev, &e), 0);
	vd_attach(&t->vd, dev);
	for (size_t i = 0; i < 36; i += 4)
		assert_int_equal(config32(t, i), 0x78787878);
	assert_int_equal(config32(t, offsetof(struct virtio_fs_config, num_request_queues)), 1);
	/* 64 pages of 4 KiB fill the pool's half */
	vd_set(&t->vd, VIRTIO_MMIO_QUEUE_SEL, 1);
	assert_int_equal(vd_get(&t->vd, VIRTIO_MMIO_QUEUE_NUM_MAX), 64);
	finish(t);
}

/* The driver's number of pairs decides which rings are served. */
static void network(void **state)
{
	struct test *t = prepare(false);
	struct virtio_net_cfg cfg = { .name = "net", .mac = { 2, 0, 0, 0, 0, 1 }, .pairs = 2 };
	uint8_t *p = vd_ptr(&t->vd, VD_DATA + 0x4000);
	struct virtio_dev *dev;
	uint64_t f;
	struct err e;

	t->s.offered |= VD_F(VIRTIO_NET_F_CSUM) | VD_F(VIRTIO_NET_F_MRG_RXBUF) |
			VD_F(VIRTIO_NET_F_GUEST_ANNOUNCE);
	assert_int_equal(greet(t, 2), 0);
	assert_int_equal(virtio_vu_net_new(&t->vd.env, t->u, &cfg, &dev, &e), 0);
	vd_attach(&t->vd, dev);
	f = vd_features(&t->vd);
	assert_true(f & VD_F(VIRTIO_NET_F_CSUM) && f & VD_F(VIRTIO_NET_F_MQ) &&
		    f & VD_F(VIRTIO_NET_F_CTRL_VQ) && f & VD_F(VIRTIO_NET_F_MAC));
	assert_false(f & (VD_F(VIRTIO_NET_F_GUEST_TSO4) | VD_F(VIRTIO_NET_F_GUEST_ANNOUNCE)));
	vd_start(&t->vd, VD_F_ALL | VD_F(VIRTIO_NET_F_MQ) | VD_F(VIRTIO_NET_F_CTRL_VQ), 5, 64);
	assert_true(t->s.ring[0].enabled && t->s.ring[1].enabled);
	assert_true(t->s.ring[2].running && t->s.ring[3].running);
	assert_false(t->s.ring[2].enabled || t->s.ring[3].enabled);
	exchange(t, 1);

	p[0] = VIRTIO_NET_CTRL_MQ;
	p[1] = VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET;
	p[2] = 2;
	p[3] = 0;
	p[8] = 0xff;
	vd_add(&t->vd, 4, (struct vq_seg[]){ { VD_DATA + 0x4000, 4 }, { VD_DATA + 0x4008, 1 } },
	       2, 1);
	vd_kick(&t->vd, 4);
	vd_wait(&t->vd, 4);
	assert_int_equal(p[8], VIRTIO_NET_OK);
	assert_true(t->s.ring[2].enabled && t->s.ring[3].enabled);
	exchange(t, 3);
	vd_set(&t->vd, VIRTIO_MMIO_STATUS, 0);
	vd_start(&t->vd, VD_F_ALL | VD_F(VIRTIO_NET_F_MQ) | VD_F(VIRTIO_NET_F_CTRL_VQ), 5, 64);
	assert_false(t->s.ring[2].enabled || t->s.ring[3].enabled);
	finish(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(features_and_memory),
		cmocka_unit_test(in_a_realm),
		cmocka_unit_test(ring_in_private_memory),
		cmocka_unit_test(memory_that_cannot_be_shared),
		cmocka_unit_test(reset_lets_go),
		cmocka_unit_test(without_acknowledgements),
		cmocka_unit_test(without_protocol_features),
		cmocka_unit_test(bad_greetings),
		cmocka_unit_test(too_few_queues),
		cmocka_unit_test(too_old),
		cmocka_unit_test(bad_starts),
		cmocka_unit_test(bad_ends),
		cmocka_unit_test(it_dies),
		cmocka_unit_test(it_complains),
		cmocka_unit_test(disks),
		cmocka_unit_test(tags_and_queues),
		cmocka_unit_test(network),
	};

	log_set_level(getenv("V") ? LOG_DEBUG : -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
