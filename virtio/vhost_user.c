// SPDX-License-Identifier: BSD-3-Clause
#include "virtio/vhost_user.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "vmm/core/err.h"

/* #syscalls main,vcpu,io?backend: sendmsg recvfrom poll ppoll shutdown */

/*
 * A reply may have to wait for requests in flight (GET_VRING_BASE); a vCPU waits for it, and Linux
 * calls a CPU stuck after 10 to 20 s.
 */
#define LIMIT_MS	4000

#define REGIONS_MAX	8	/* of one SET_MEM_TABLE */
#define CONFIG_MAX	256

/* Requests of the protocol, in its numbers. */
enum {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	SET_VRING_ERR = 14,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	GET_QUEUE_NUM = 17,
	SET_VRING_ENABLE = 18,
	GET_CONFIG = 24,
};

#define F_PROTOCOL_FEATURES	VIRTIO_F(30)	/* there is a second set of features */
#define F_LOG_ALL		VIRTIO_F(26)
#define P_MQ			VIRTIO_F(0)
#define P_REPLY_ACK		VIRTIO_F(3)
#define P_CONFIG		VIRTIO_F(9)

#define FLAG_VERSION		1u
#define FLAG_VERSION_MASK	3u
#define FLAG_REPLY		4u
#define FLAG_NEED_REPLY		8u

#define VRING_NO_FD		0x100		/* in the index of a message that could carry one */

struct header {
	uint32_t request, flags, size;
};

struct state {
	uint32_t index, num;
};

struct addr {
	uint32_t index, flags;
	uint64_t desc, used, avail, log;
};

struct memory {
	uint32_t nr, padding;
	struct {
		uint64_t guest, size, user, offset;
	} region[REGIONS_MAX];
};

struct config {
	uint32_t offset, size, flags;
	uint8_t data[CONFIG_MAX];
};

_Static_assert(sizeof(struct memory) == 8 + 32 * REGIONS_MAX && sizeof(struct addr) == 40 &&
	       sizeof(struct config) == 12 + CONFIG_MAX, "layout of messages");

/**
 * struct vhost_user - a connection
 * @protocol: features of the protocol that both sides know
 * @extended: there are such features, and SET_VRING_ENABLE
 * @greeted: it works; before that the caller says what is wrong
 * @dead:     nothing is sent or expected any more
 */
struct vhost_user {
	struct vhost_backend b, *list;
	char name[64];
	int fd;
	uint64_t protocol;
	unsigned int limit_ms;
	bool extended, greeted;
	_Atomic bool dead;
};

static struct vhost_user *user_of(struct vhost_backend *b)
{
	return container_of(b, struct vhost_user, b);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

/* ---- messages -------------------------------------------------------------------------------- */

/* The end of this connection. It is closed later: the loop may be looking at it. */
static int give_up(struct vhost_user *u, int ret, const char *why)
{
	if (!atomic_exchange(&u->dead, true)) {
		if (u->greeted)
			log_error("%s: the vhost-user back end %s; it is not used any more",
				  u->name, why);
		shutdown(u->fd, SHUT_RDWR);
	}
	return ret;
}

static int wait_for(struct vhost_user *u, short events, uint64_t until)
{
	struct pollfd p = { .fd = u->fd, .events = events };

	for (;;) {
		uint64_t now = now_ms();
		int ret = poll(&p, 1, now < until ? until - now : 0);

		if (ret > 0)
			return 0;
		if (!ret)
			return give_up(u, -ETIMEDOUT, "does not answer");
		if (errno != EINTR)
			return give_up(u, -errno, "cannot be waited for");
	}
}

static int send_all(struct vhost_user *u, const struct header *h, const void *payload,
		    const int *fds, unsigned int nr_fds)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(REGIONS_MAX * sizeof(int))];
	} control = { 0 };
	uint8_t buf[sizeof(*h) + sizeof(struct config)];
	uint64_t until = now_ms() + u->limit_ms;
	size_t len = sizeof(*h) + h->size, done = 0;

	if (u->dead)
		return -EPIPE;
	memcpy(buf, h, sizeof(*h));
	if (h->size)
		memcpy(buf + sizeof(*h), payload, h->size);
	while (done < len) {
		struct iovec iov = { buf + done, len - done };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n;

		if (nr_fds && !done) {
			struct cmsghdr *c;

			m.msg_control = &control;
			m.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
			c = CMSG_FIRSTHDR(&m);
			c->cmsg_level = SOL_SOCKET;
			c->cmsg_type = SCM_RIGHTS;
			c->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
			memcpy(CMSG_DATA(c), fds, nr_fds * sizeof(int));
		}
		n = sendmsg(u->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			done += n;
		} else if (n < 0 && errno == EAGAIN) {
			int ret = wait_for(u, POLLOUT, until);

			if (ret < 0)
				return ret;
		} else if (n < 0 && errno != EINTR) {
			return give_up(u, -EPIPE, "has hung up");
		}
	}
	return 0;
}

/* Without room for descriptors: those that come along are closed by the kernel. */
static int recv_all(struct vhost_user *u, void *buf, size_t len, uint64_t until)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = recv(u->fd, (uint8_t *)buf + done, len - done, MSG_DONTWAIT);

		if (n > 0) {
			done += n;
		} else if (!n) {
			return give_up(u, -EPIPE, "has hung up");
		} else if (errno == EAGAIN) {
			int ret = wait_for(u, POLLIN, until);

			if (ret < 0)
				return ret;
		} else if (errno != EINTR) {
			return give_up(u, -EPIPE, "has hung up");
		}
	}
	return 0;
}

/* The reply to @request must have exactly @len bytes. */
static int receive(struct vhost_user *u, uint32_t request, void *payload, uint32_t len)
{
	uint64_t until = now_ms() + u->limit_ms;
	struct header h;
	int ret = recv_all(u, &h, sizeof(h), until);

	if (ret < 0)
		return ret;
	if (h.request != request || !(h.flags & FLAG_REPLY) ||
	    (h.flags & FLAG_VERSION_MASK) != FLAG_VERSION || h.size != len)
		return give_up(u, -EPROTO, "does not keep to the protocol");
	return recv_all(u, payload, len, until);
}

/* A message that is answered by one of the same length. */
static int ask(struct vhost_user *u, uint32_t request, const void *payload, uint32_t size,
	       void *reply, uint32_t len)
{
	struct header h = { request, FLAG_VERSION, size };
	int ret = send_all(u, &h, payload, NULL, 0);

	return ret < 0 ? ret : receive(u, request, reply, len);
}

/* A message that is not answered, but for an acknowledgement where both sides know that. */
static int tell(struct vhost_user *u, uint32_t request, const void *payload, uint32_t size,
		const int *fds, unsigned int nr_fds)
{
	bool ack = u->protocol & P_REPLY_ACK;
	struct header h = { request, FLAG_VERSION | (ack ? FLAG_NEED_REPLY : 0), size };
	uint64_t failed = 0;
	int ret = send_all(u, &h, payload, fds, nr_fds);

	if (!ret && ack)
		ret = receive(u, request, &failed, sizeof(failed));
	if (!ret && failed)
		ret = -EREMOTEIO;
	return ret;
}

static int tell_u64(struct vhost_user *u, uint32_t request, uint64_t val)
{
	return tell(u, request, &val, sizeof(val), NULL, 0);
}

static int tell_state(struct vhost_user *u, uint32_t request, uint32_t index, uint32_t num)
{
	struct state s = { index, num };

	return tell(u, request, &s, sizeof(s), NULL, 0);
}

static int tell_fd(struct vhost_user *u, uint32_t request, uint32_t index, int fd)
{
	uint64_t val = index | (fd < 0 ? VRING_NO_FD : 0);

	return tell(u, request, &val, sizeof(val), &fd, fd >= 0);
}

/* ---- what a device asks for ------------------------------------------------------------------ */

static int user_setup(struct vhost_backend *b, uint64_t features, const struct vhost_region *r,
		      unsigned int nr)
{
	struct vhost_user *u = user_of(b);
	struct memory m = { .nr = nr };
	int fds[REGIONS_MAX];
	uint64_t again;
	int ret;

	for (unsigned int i = 0; i < nr; i++) {
		m.region[i].guest = r[i].guest;
		m.region[i].size = r[i].size;
		m.region[i].user = r[i].user;
		fds[i] = r[i].fd;
	}
	if (u->extended)
		features |= F_PROTOCOL_FEATURES;
	ret = tell_u64(u, SET_FEATURES, features);
	if (!ret)
		ret = tell(u, SET_MEM_TABLE, &m, 8 + 32 * nr, fds, nr);
	/* Without acknowledgements: whoever answers this has come past the table. */
	if (!ret && !(u->protocol & P_REPLY_ACK))
		ret = ask(u, GET_FEATURES, NULL, 0, &again, sizeof(again));
	return ret;
}

static int user_enable(struct vhost_backend *b, unsigned int ring, bool on)
{
	struct vhost_user *u = user_of(b);

	/* Where there is no such message a ring is served from its first kick on. */
	return u->extended ? tell_state(u, SET_VRING_ENABLE, ring, on) : 0;
}

static int user_start(struct vhost_backend *b, const struct vhost_ring *ring)
{
	struct vhost_user *u = user_of(b);
	struct addr a = {
		.index = ring->index,
		.desc = ring->desc,
		.avail = ring->driver,
		.used = ring->device,
	};
	int ret = tell_state(u, SET_VRING_NUM, ring->index, ring->num);

	if (!ret)
		ret = tell_state(u, SET_VRING_BASE, ring->index, ring->base);
	if (!ret)
		ret = tell(u, SET_VRING_ADDR, &a, sizeof(a), NULL, 0);
	if (!ret)
		ret = tell_fd(u, SET_VRING_CALL, ring->index, ring->call);
	if (!ret)
		ret = tell_fd(u, SET_VRING_ERR, ring->index, ring->err);
	/* The kick comes last: with it the ring is the back end's. */
	if (!ret)
		ret = tell_fd(u, SET_VRING_KICK, ring->index, ring->kick);
	if (!ret && ring->enabled)
		ret = user_enable(b, ring->index, true);
	return ret;
}

static int user_stop(struct vhost_backend *b, unsigned int ring)
{
	struct vhost_user *u = user_of(b);
	struct state s = { ring, 0 }, reply = { 0 };
	int ret = ask(u, GET_VRING_BASE, &s, sizeof(s), &reply, sizeof(reply));

	if (!ret && reply.index != ring)
		ret = give_up(u, -EPROTO, "does not keep to the protocol");
	if (!ret)
		ret = user_enable(b, ring, false);
	return ret;
}

static int user_call(struct vhost_backend *b, unsigned int ring, int fd)
{
	return tell_fd(user_of(b), SET_VRING_CALL, ring, fd);
}

static const struct vhost_backend_ops user_ops = {
	.setup = user_setup,
	.start = user_start,
	.stop = user_stop,
	.call = user_call,
	.enable = user_enable,
};

int vhost_user_config(struct vhost_user *u, void *buf, uint32_t len, struct err *e)
{
	struct config c = { .size = len }, reply = { 0 };
	int ret = -EOPNOTSUPP;

	if (u->protocol & P_CONFIG)
		ret = ask(u, GET_CONFIG, &c, 12 + len, &reply, 12 + len);
	if (!ret && (reply.offset || reply.size != len))
		ret = give_up(u, -EPROTO, "does not keep to the protocol");
	if (ret < 0)
		return err_set(e, ret, "%s: its back end does not tell the device's configuration: %s",
			       u->name, strerror(-ret));
	memcpy(buf, reply.data, len);
	return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int hello(struct vhost_user *u, unsigned int rings, struct err *e)
{
	uint64_t features = 0, protocol = 0, queues = 0;
	int ret = ask(u, GET_FEATURES, NULL, 0, &features, sizeof(features));

	if (!ret)
		ret = tell(u, SET_OWNER, NULL, 0, NULL, 0);
	u->extended = !ret && (features & F_PROTOCOL_FEATURES);
	if (u->extended)
		ret = ask(u, GET_PROTOCOL_FEATURES, NULL, 0, &protocol, sizeof(protocol));
	if (!ret && u->extended) {
		protocol &= P_MQ | P_REPLY_ACK | P_CONFIG;
		ret = tell_u64(u, SET_PROTOCOL_FEATURES, protocol);
		u->protocol = protocol;
	}
	if (!ret && (u->protocol & P_MQ)) {
		ret = ask(u, GET_QUEUE_NUM, NULL, 0, &queues, sizeof(queues));
		if (!ret && queues < rings)
			return err_set(e, -E2BIG, "%s: its back end has %u queues, not %u; ask for "
				       "fewer here or for more there", u->name, (unsigned int)queues,
				       rings);
	}
	u->b.features = features & ~(F_PROTOCOL_FEATURES | F_LOG_ALL);
	return ret < 0 ? err_set(e, ret, "%s: its vhost-user back end: %s", u->name,
				 ret == -EPIPE ? "it has hung up" :
				 ret == -ETIMEDOUT ? "it does not answer" : strerror(-ret)) : 0;
}

int vhost_user_new(int fd, const char *name, unsigned int rings, unsigned int limit_ms,
		   struct vhost_user **out, struct err *e)
{
	struct vhost_user *u = calloc(1, sizeof(*u));
	int ret;

	*out = NULL;
	if (!u)
		return err_set(e, -ENOMEM, "%s: no memory", name);
	snprintf(u->name, sizeof(u->name), "%s", name);
	u->fd = fd;
	u->limit_ms = limit_ms;
	u->list = &u->b;
	u->b.ops = &user_ops;
	u->b.max_regions = REGIONS_MAX;
	u->b.hup.fd = fd;
	ret = hello(u, rings, e);
	if (ret < 0) {
		free(u);
		return ret;
	}
	u->limit_ms = LIMIT_MS;
	u->greeted = true;
	*out = u;
	return 0;
}

void vhost_user_free(struct vhost_user *u)
{
	if (!u)
		return;
	close(u->fd);
	free(u);
}

struct vhost_backend *const *vhost_user_backend(struct vhost_user *u)
{
	return &u->list;
}

bool vhost_user_alive(struct vhost_user *u)
{
	struct pollfd p = { .fd = u->fd, .events = POLLRDHUP };

	if (!u->dead && poll(&p, 1, 0) > 0)
		u->dead = true;
	return !u->dead;
}
