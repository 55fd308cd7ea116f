// SPDX-License-Identifier: BSD-3-Clause
/*
 * The front end of vhost-user against a back end that does not keep to the rules. Input: a length,
 * so many bytes of a script for the back end, then what vrig_run() takes.
 *
 * The back end is a thread on the other end of a socket pair. It answers as it should as long as
 * its script does not say otherwise, and hangs up rather than be silent: time limits are not the
 * point here.
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_net.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/vrig.h"
#include "virtio/vhost_user.h"

#define RINGS	2

enum {
	GET_FEATURES = 1, GET_BASE = 11, SET_CALL = 13, SET_ERR, GET_PROTOCOL, GET_QUEUES = 17,
	GET_CONFIG = 24,
};

#define F_PROTOCOL	RIG_F(30)
#define P_ALL		(RIG_F(0) | RIG_F(3) | RIG_F(9))

struct msg {
	uint32_t request, flags, size;
	uint8_t payload[4096];
};

_Static_assert(sizeof(struct msg) == 12 + 4096, "no holes");

static struct {
	struct input script;
	uint8_t config[256];
	uint64_t features, protocol, queues;
	int fd;
	pthread_t thread;
	struct vhost_user *u;
	pthread_mutex_t lock;	/* of the descriptors */
	int call, err;
} back = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* A descriptor that the front end sends; the last of its kind is kept. */
static void keep(uint32_t request, int fd)
{
	int *slot = request == SET_CALL ? &back.call : request == SET_ERR ? &back.err : NULL;

	pthread_mutex_lock(&back.lock);
	if (slot) {
		if (*slot >= 0)
			close(*slot);
		*slot = fd;
	} else {
		close(fd);
	}
	pthread_mutex_unlock(&back.lock);
}

static bool get(void *buf, size_t len, uint32_t *request)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(16 * sizeof(int))];
	} control;

	for (size_t done = 0; done < len;) {
		struct iovec iov = { (uint8_t *)buf + done, len - done };
		struct msghdr m = {
			.msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = &control, .msg_controllen = sizeof(control),
		};
		ssize_t n = recvmsg(back.fd, &m, MSG_CMSG_CLOEXEC);

		if (n <= 0)
			return false;
		done += n;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
			for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len; i++) {
				int fd;

				memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
				/* the request is the first word, and came with it */
				memcpy(request, buf, sizeof(*request));
				keep(*request, fd);
			}
	}
	return true;
}

static void put(const void *buf, size_t len, int fd)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)buf, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c;

		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	while (sendmsg(back.fd, &m, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

static void put_u64(struct msg *m, uint64_t val)
{
	memcpy(m->payload, &val, 8);
	m->size = 8;
}

/* The right answer; false: none is expected. */
static bool answer(struct msg *m)
{
	uint32_t off, size;

	switch (m->request) {
	case GET_FEATURES:
		put_u64(m, back.features);
		return true;
	case GET_PROTOCOL:
		put_u64(m, back.protocol);
		return true;
	case GET_QUEUES:
		put_u64(m, back.queues);
		return true;
	case GET_BASE:
		return true;
	case GET_CONFIG:
		memcpy(&off, m->payload, 4);
		memcpy(&size, m->payload + 4, 4);
		PROPERTY(off <= 256 && size <= 256 - off);
		memcpy(m->payload + 12, back.config + off, size);
		return true;
	}
	if (!(m->flags & 8))
		return false;
	put_u64(m, 0);
	return true;
}

static bool reply(struct msg *m)
{
	uint8_t how = back.script.left ? in_u8(&back.script) : 0;
	uint16_t at;

	m->flags = 1 | 4;
	switch (how) {
	case 0xf0:
		return false;
	case 0xf1:
		m->request ^= in_u8(&back.script);
		break;
	case 0xf2:
		m->flags = in_u32(&back.script);
		break;
	case 0xf3:
		m->size = in_u32(&back.script);
		put(m, 12 + MIN(m->size, (uint32_t)sizeof(m->payload)), -1);
		return true;
	case 0xf4:		/* another content, 8 bytes somewhere */
		at = in_u8(&back.script);
		in_bytes(&back.script, m->payload + at, 8);
		break;
	case 0xf5:		/* not all of it */
		put(m, in_u8(&back.script) % (12 + m->size), -1);
		return false;
	case 0xf6:		/* with a descriptor, which nobody asked for */
		put(m, 12 + m->size, back.fd);
		return true;
	case 0xf7:		/* twice */
		put(m, 12 + m->size, -1);
		break;
	default:
		break;
	}
	put(m, 12 + m->size, -1);
	return true;
}

static void *serve(void *arg)
{
	static struct msg m;

	while (get(&m, 12, &m.request)) {
		/* what we are sent is well-formed */
		PROPERTY(m.request && m.request <= 24 && (m.flags & 3) == 1 && !(m.flags & 4));
		PROPERTY(m.size <= 8 + 32 * 8 || m.size <= 12 + 256);
		if (m.size && !get(m.payload, m.size, &(uint32_t){ m.request }))
			break;
		if (answer(&m) && !reply(&m))
			break;
	}
	shutdown(back.fd, SHUT_RDWR);
	return NULL;
}

static void end_back(void)
{
	shutdown(back.fd, SHUT_RDWR);
	pthread_join(back.thread, NULL);
	close(back.fd);
	if (back.call >= 0)
		close(back.call);
	if (back.err >= 0)
		close(back.err);
}

static void make(struct vrig *r, struct input *in)
{
	uint8_t how = in_u8(in), mac[6] = { 2 };
	struct virtio_vu_blk_cfg blk = {
		.path = "disk", .readonly = how & 4, .no_discard = how & 8, .queues = RINGS,
	};
	struct virtio_net_cfg net = { .name = "net", .pairs = 1 };
	struct err e = { 0 };
	int sv[2], ret;

	back.features = RIG_F(VIRTIO_F_VERSION_1) | RIG_F(VIRTIO_RING_F_EVENT_IDX) |
			RIG_F(VIRTIO_RING_F_INDIRECT_DESC) | RIG_F(VIRTIO_F_RING_PACKED) |
			RIG_F(VIRTIO_F_ACCESS_PLATFORM) | RIG_F(VIRTIO_BLK_F_FLUSH) |
			RIG_F(VIRTIO_BLK_F_MQ) | RIG_F(VIRTIO_BLK_F_SEG_MAX) |
			(how & 0x10 ? 0 : F_PROTOCOL);
	back.protocol = P_ALL;
	back.queues = RINGS;
	if (how & 0x20)
		back.features ^= in_u64(in);
	if (how & 0x40)
		back.protocol = in_u64(in);
	if (how & 0x80)
		back.queues = in_u8(in);
	memset(back.config, 0, sizeof(back.config));
	back.config[1] = 1;		/* 128 KiB, or what the script says */
	back.config[8] = how;
	back.call = back.err = -1;
	PROPERTY(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv));
	back.fd = sv[1];
	PROPERTY(!pthread_create(&back.thread, NULL, serve, NULL));
	back.u = NULL;
	ret = vhost_user_new(sv[0], "back end", RINGS, 4000, &back.u, &e);
	if (ret < 0) {
		ERROR_IS_A_LINE(e);
		close(sv[0]);
		end_back();
		return;
	}
	memcpy(net.mac, mac, sizeof(mac));
	switch (how & 3) {
	case 0:
		ret = virtio_vu_fs_new(&r->env, back.u, "tag", &r->dev, &e);
		break;
	case 1:
		ret = virtio_vu_net_new(&r->env, back.u, &net, &r->dev, &e);
		break;
	default:
		ret = virtio_vu_blk_new(&r->env, back.u, &blk, &r->dev, &e);
		break;
	}
	if (ret < 0) {
		ERROR_IS_A_LINE(e);
		r->dev = NULL;
		vhost_user_free(back.u);
		end_back();
	}
}

static void gone(struct vrig *r)
{
	vhost_user_free(back.u);
	end_back();
}

/* Something that the back end does of its own accord. */
static void host(struct vrig *r, struct input *in)
{
	static const uint64_t one = 1;
	uint8_t how = in_u8(in), buf[64];

	pthread_mutex_lock(&back.lock);
	switch (how & 3) {
	case 0:
		if (back.call >= 0)
			PROPERTY(write(back.call, &one, 8) == 8);
		break;
	case 1:
		if (back.err >= 0)
			PROPERTY(write(back.err, &one, 8) == 8);
		break;
	case 2:
		how = in_u8(in) % sizeof(buf);
		in_bytes(in, buf, how);
		put(buf, how, -1);
		break;
	default:
		shutdown(back.fd, how & 4 ? SHUT_WR : SHUT_RDWR);
		break;
	}
	pthread_mutex_unlock(&back.lock);
}

static const struct vrig_kind kind = { .make = make, .host = host, .gone = gone };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t script = size ? data[0] : 0;

	if (size) {
		data++;
		size--;
	}
	script = MIN(script, size);
	back.script = (struct input){ data, script };
	vrig_run(&kind, data + script, size - script);
	return 0;
}

void fuzz_seeds(void)
{
	static const uint16_t some[] = { 512, 0 };
	static const uint8_t odd[][12] = {
		{ 0 }, { 0xf0 }, { 0xf1, 1 }, { 0xf2, 1 }, { 0xf3, 12 },
		{ 0xf4, 0, 1, 2, 3, 4, 5, 6, 7, 8 }, { 0xf5, 6 }, { 0xf6 }, { 0xf7 },
	};
	struct vrig_seed s;
	char name[] = "aa";

	for (unsigned int what = 0; what < ARRAY_SIZE(odd); what++, name[0]++) {
		/* the request that gets the odd answer */
		for (unsigned int at = 0; at < (what ? 16 : 8); at++) {
			uint8_t script[64] = { 0 };
			uint8_t len = what ? at + sizeof(odd[0]) : 0;

			name[1] = 'a' + at;
			if (what)
				memcpy(script + at, odd[what], sizeof(odd[0]));
			s.len = 0;
			vrig_seed_bytes(&s, &len, 1);
			vrig_seed_bytes(&s, script, len);
			/* as vrig_seed_start() */
			vrig_seed_bytes(&s, (uint8_t[]){ at & 1, (at & 3) | (at & 4) << 2, 0 }, 3);
			vrig_seed_chain(&s, 0, (uint8_t[]){ 2, 1, 2 }, 3, some, some);
			vrig_seed_kick(&s, 0);
			vrig_seed_host(&s, (uint8_t[]){ 0 }, 1);
			vrig_seed_config(&s, 0, 1);
			vrig_seed_restart(&s, 0);
			vrig_seed_host(&s, (uint8_t[]){ at % 4, 5, 1, 2, 3, 4, 5 }, 7);
			vrig_seed_rest(&s);
			vrig_seed_end(&s, name);
		}
	}
}
