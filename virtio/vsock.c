// SPDX-License-Identifier: BSD-3-Clause
/*
 * Socket device (virtio 1.2, section 5.10) with unix sockets at the host's end, for hosts without
 * vhost-vsock. A program of the host connects to PATH, says "CONNECT PORT\n" and gets "OK PORT\n";
 * what the guest connects to, port P of CID 2, is the socket PATH_P. From then on both see a
 * stream.
 *
 * Packets of the guest are copied before they are looked at, and checked against its connection:
 * what it may not send resets that connection, what belongs to none is answered by a reset.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/vsock_int.h"
#include "vmm/core/err.h"

enum { RX, TX, EVENT, NR_QUEUES };

#define QUEUE_SIZE	128
/* Linux fills the receive queue with pages, and in a realm their copies come from a small pool. */
#define QUEUE_SIZE_REALM 16
#define HOST_CID	2	/* section 5.10.4 */
#define HDR		((uint32_t)sizeof(struct virtio_vsock_hdr))
#ifndef VIRTIO_VSOCK_F_STREAM
#define VIRTIO_VSOCK_F_STREAM 0		/* section 5.10.3; not in Linux's header */
#endif

static struct vsock *to_vsock(struct virtio_dev *dev)
{
	return container_of(dev, struct vsock, dev);
}

/* ---- to the guest ---------------------------------------------------------------------------- */

static struct virtio_vsock_hdr reply(const struct vsock *v, const struct conn *c, uint16_t op)
{
	return (struct virtio_vsock_hdr){
		.src_cid = htole64(HOST_CID),
		.dst_cid = v->config.guest_cid,
		.src_port = htole32(c->host_port),
		.dst_port = htole32(c->guest_port),
		.type = htole16(VIRTIO_VSOCK_TYPE_STREAM),
		.op = htole16(op),
		.buf_alloc = htole32(VSOCK_BUF),
		.fwd_cnt = htole32(c->forwarded),
	};
}

/* Reset what belongs to no connection. */
static struct virtio_vsock_hdr stray_reset(struct vsock *v)
{
	const struct stray *s = &v->stray[v->first_stray];

	v->first_stray = (v->first_stray + 1) % VSOCK_STRAYS;
	v->nr_strays--;
	return (struct virtio_vsock_hdr){
		.src_cid = htole64(s->cid),
		.dst_cid = v->config.guest_cid,
		.src_port = htole32(s->host_port),
		.dst_port = htole32(s->guest_port),
		.type = htole16(s->type),
		.op = htole16(VIRTIO_VSOCK_OP_RST),
	};
}

static bool take_due(struct conn *c, unsigned int due)
{
	bool had = c->due & due;

	c->due &= ~due;
	return had;
}

/*
 * The next packet of a connection, with room for @max bytes of data. What opens it comes before its
 * data, and that there are no more comes behind them. Returns false if there is none after all.
 */
static bool next_packet(struct conn *c, uint32_t max, struct virtio_vsock_hdr *h, uint32_t *len)
{
	struct vsock *v = c->v;

	*len = 0;
	if (take_due(c, DUE_REQUEST)) {
		*h = reply(v, c, VIRTIO_VSOCK_OP_REQUEST);
	} else if (take_due(c, DUE_RESPONSE)) {
		*h = reply(v, c, VIRTIO_VSOCK_OP_RESPONSE);
	} else if ((*len = conn_to_guest(c, max)) > 0) {
		*h = reply(v, c, VIRTIO_VSOCK_OP_RW);
		h->len = htole32(*len);
		c->sent += *len;
	} else if (take_due(c, DUE_RST)) {
		*h = reply(v, c, VIRTIO_VSOCK_OP_RST);
	} else if (take_due(c, DUE_SHUTDOWN)) {
		*h = reply(v, c, VIRTIO_VSOCK_OP_SHUTDOWN);
		h->flags = htole32(c->host_shut);
	} else if (take_due(c, DUE_CREDIT_REQUEST)) {
		*h = reply(v, c, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	} else if (take_due(c, DUE_CREDIT)) {
		*h = reply(v, c, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	} else {
		return false;
	}
	/* Each packet has the credit. */
	c->told = c->forwarded;
	c->due &= ~DUE_CREDIT;
	return true;
}

/* After its packet went out, or did not (@lost). */
static void packet_sent(struct conn *c, const struct virtio_vsock_hdr *h, bool lost)
{
	struct vsock *v = c->v;

	if (h->op == htole16(VIRTIO_VSOCK_OP_RST)) {
		conn_free(c);
		return;
	}
	if (lost && c->state != CONN_DEAD) {
		conn_abort(c);
		return;
	}
	/* It waits for the guest to read: have it say so as soon as it does (section 5.10.6.3). */
	if (conn_wants_read(c) && !conn_credit(c) && !c->asked_credit) {
		c->asked_credit = true;
		c->due |= DUE_CREDIT_REQUEST;
	}
	conn_update(c);
	if (c->in_ready) {	/* the others first */
		TAILQ_REMOVE(&v->ready, c, ready);
		TAILQ_INSERT_TAIL(&v->ready, c, ready);
	}
}

/* One packet into one buffer. Returns bytes written; 0: there was nothing to send. */
static uint32_t fill(struct vsock *v, struct vq *vq, const struct vq_chain *c)
{
	struct conn *conn = TAILQ_FIRST(&v->ready);
	struct virtio_vsock_hdr h;
	uint32_t len = 0;
	bool lost;

	if (v->nr_strays) {
		h = stray_reset(v);
		conn = NULL;
	} else if (!next_packet(conn, MIN(c->in_len - HDR, (uint64_t)VSOCK_BUF), &h, &len)) {
		conn_update(conn);
		return 0;
	}
	lost = vq_write(vq, c, 0, &h, HDR) < 0 || (len && vq_write(vq, c, HDR, v->bounce, len) < 0);
	if (conn)
		packet_sent(conn, &h, lost);
	return lost ? 1 : HDR + len;
}

void vsock_pump(struct vsock *v)
{
	struct vq *vq = &v->dev.queue[RX].vq;
	unsigned int budget = vq->num;
	struct vq_chain c;

	if (!v->dev.running || (!v->nr_strays && TAILQ_EMPTY(&v->ready)) || vq_begin(vq) < 0)
		return;
	while (v->nr_strays || !TAILQ_EMPTY(&v->ready)) {
		uint32_t len;

		if (!budget--) {
			virtio_dev_kick(&v->dev, RX);
			break;
		}
		if (vq_pop(vq, &c) <= 0)
			break;
		if (c.in_len < HDR) {
			vq_push(vq, &c.head, 0);
			continue;
		}
		len = fill(v, vq, &c);
		if (!len)
			vq_rewind(vq, &c.head);
		else
			vq_push(vq, &c.head, len >= HDR ? len : 0);
	}
	vq_end(vq);
	if (v->tx_stalled && v->nr_strays < VSOCK_STRAYS) {
		v->tx_stalled = false;
		virtio_dev_kick(&v->dev, TX);
	}
}

/* ---- from the guest -------------------------------------------------------------------------- */

static void stray(struct vsock *v, const struct virtio_vsock_hdr *h)
{
	/* No reset for a reset, or both would go on for ever. */
	if (h->op == htole16(VIRTIO_VSOCK_OP_RST))
		return;
	v->stray[(v->first_stray + v->nr_strays++) % VSOCK_STRAYS] = (struct stray){
		.cid = le64toh(h->dst_cid),
		.guest_port = le32toh(h->src_port),
		.host_port = le32toh(h->dst_port),
		.type = le16toh(h->type),
	};
}

static void forbidden(struct conn *c, const char *what)
{
	struct vsock *v = c->v;

	log_rated(&v->dev.rate, LOG_WARNING, "%s: port %u of the guest %s: the connection is reset",
		  v->dev.name, c->guest_port, what);
	conn_abort(c);
}

static void from_guest(struct conn *c, struct vq *vq, const struct vq_chain *chain, uint32_t len)
{
	if (len > chain->out_len - HDR)
		forbidden(c, "sends less than it says");
	else if (len > VSOCK_BUF - (c->received - c->forwarded))
		forbidden(c, "sends more than it has credit for");
	else if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND)
		forbidden(c, "sends after it said that it would not");
	else if (!len)
		return;
	else if (vq_read(vq, chain, HDR, c->v->bounce, len) < 0)
		forbidden(c, "sends what cannot be read");
	else
		conn_from_guest(c, len);
}

/* A packet of an open connection. */
static void packet(struct conn *c, struct vq *vq, const struct vq_chain *chain,
		   const struct virtio_vsock_hdr *h)
{
	switch (le16toh(h->op)) {
	case VIRTIO_VSOCK_OP_RW:
		from_guest(c, vq, chain, le32toh(h->len));
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;		/* it has been taken */
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		c->due |= DUE_CREDIT;
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		conn_guest_shut(c, le32toh(h->flags));
		break;
	default:
		forbidden(c, "sends what does not belong here");
	}
	conn_update(c);
}

static void known(struct conn *c, struct vq *vq, const struct vq_chain *chain,
		  const struct virtio_vsock_hdr *h)
{
	uint16_t op = le16toh(h->op);

	c->peer_alloc = le32toh(h->buf_alloc);
	c->peer_fwd = le32toh(h->fwd_cnt);
	if (conn_credit(c))
		c->asked_credit = false;
	if (op == VIRTIO_VSOCK_OP_RST)
		conn_free(c);
	else if (c->state == CONN_OPEN)
		packet(c, vq, chain, h);
	else if (c->state == CONN_ASKED && !(c->due & DUE_REQUEST) &&
		 op == VIRTIO_VSOCK_OP_RESPONSE)
		conn_opened(c);
	else if (c->state == CONN_ASKED)
		forbidden(c, "answers something else");
}

static void unknown(struct vsock *v, const struct virtio_vsock_hdr *h)
{
	struct conn *c = NULL;

	if (le16toh(h->op) == VIRTIO_VSOCK_OP_REQUEST)
		c = conn_by_guest(v, le32toh(h->src_port), le32toh(h->dst_port));
	if (!c) {
		stray(v, h);
		return;
	}
	c->peer_alloc = le32toh(h->buf_alloc);
	c->peer_fwd = le32toh(h->fwd_cnt);
	conn_due(c, DUE_RESPONSE);
}

static void receive(struct vsock *v, struct vq *vq, const struct vq_chain *chain)
{
	struct virtio_vsock_hdr h;
	struct conn *c;

	if (vq_read(vq, chain, 0, &h, HDR) < 0)
		return;
	if (h.src_cid != v->config.guest_cid) {
		log_rated(&v->dev.rate, LOG_WARNING, "%s: the guest sends as CID %" PRIu64
			  ", which it is not", v->dev.name, le64toh(h.src_cid));
		return;
	}
	if (h.dst_cid != htole64(HOST_CID) || h.type != htole16(VIRTIO_VSOCK_TYPE_STREAM)) {
		stray(v, &h);
		return;
	}
	c = conn_find(v, le32toh(h.src_port), le32toh(h.dst_port));
	if (c)
		known(c, vq, chain, &h);
	else
		unknown(v, &h);
}

static void tx_kick(struct vsock *v)
{
	struct vq *vq = &v->dev.queue[TX].vq;
	unsigned int budget = vq->num;
	struct vq_chain c;

	if (vq_begin(vq) < 0)
		return;
	while (budget) {
		/* A guest that takes no answers is not listened to (section 5.10.6.1.1). */
		v->tx_stalled = v->nr_strays == VSOCK_STRAYS;
		if (v->tx_stalled || vq_pop(vq, &c) <= 0)
			break;
		receive(v, vq, &c);
		vq_push(vq, &c.head, 0);
		budget--;
	}
	if (!budget)
		virtio_dev_kick(&v->dev, TX);
	vq_end(vq);
	vsock_pump(v);
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* The connections that the driver knows of are gone (section 5.10.6.8). */
static void event_kick(struct vsock *v)
{
	const struct virtio_vsock_event event = { htole32(VIRTIO_VSOCK_EVENT_TRANSPORT_RESET) };
	struct vq *vq = &v->dev.queue[EVENT].vq;
	unsigned int budget = vq->num;
	struct vq_chain c;

	if (!v->event_due || vq_begin(vq) < 0)
		return;
	while (v->event_due && budget-- && vq_pop(vq, &c) > 0) {
		v->event_due = vq_write(vq, &c, 0, &event, sizeof(event)) < 0;
		vq_push(vq, &c.head, v->event_due ? 0 : sizeof(event));
	}
	vq_end(vq);
}

static void vsock_kick(struct virtio_dev *dev, unsigned int q)
{
	struct vsock *v = to_vsock(dev);

	if (v->cut)
		conn_free_all(v);
	if (q == RX)
		vsock_pump(v);
	else if (q == TX)
		tx_kick(v);
	else
		event_kick(v);
}

static void on_listen(struct loop_src *src, uint32_t events)
{
	struct vsock *v = container_of(src, struct vsock, listen);

	virtio_dev_lock(&v->dev);
	if (v->cut)
		conn_free_all(v);
	conn_accept(v);
	vsock_pump(v);
	virtio_dev_unlock(&v->dev);
}

static void on_timer(struct loop_timer *t)
{
	struct vsock *v = container_of(t, struct vsock, timer);

	virtio_dev_lock(&v->dev);
	if (v->cut)
		conn_free_all(v);
	conn_timer(v);
	vsock_pump(v);
	virtio_dev_unlock(&v->dev);
}

/* On a vCPU's thread: the loop's thread may be about to deliver an event to any connection. */
static void vsock_reset(struct virtio_dev *dev)
{
	struct vsock *v = to_vsock(dev);

	v->tx_stalled = false;
	v->nr_strays = 0;
	if (!v->nr)
		return;
	v->cut = v->event_due = true;
	v->timer_on = true;
	loop_timer_set(&v->timer, 1);
}

static void vsock_free(struct virtio_dev *dev)
{
	struct vsock *v = to_vsock(dev);

	conn_free_all(v);
	if (v->listen.fd >= 0)
		loop_del(v->loop, &v->listen);
	loop_timer_del(v->loop, &v->timer);
	virtio_dev_destroy(dev);
	free(v);
}

static const struct virtio_dev_ops vsock_ops = {
	.id = VIRTIO_ID_VSOCK,
	.kick = vsock_kick,
	.reset = vsock_reset,
	.free = vsock_free,
};

int virtio_vsock_new(const struct virtio_env *env, const struct virtio_vsock_cfg *cfg,
		     struct virtio_dev **out, struct err *e)
{
	struct vsock *v = calloc(1, sizeof(*v));
	struct virtio_env one = *env;
	const struct virtio_dev_init init = {
		.name = "virtio-vsock",
		.ops = &vsock_ops,
		.env = &one,
		.features = VIRTIO_F(VIRTIO_VSOCK_F_STREAM),
		.config = v ? &v->config : NULL,
		.config_len = sizeof(struct virtio_vsock_config),
		.nr_queues = NR_QUEUES,
		.queue_size = env->realm ? QUEUE_SIZE_REALM : QUEUE_SIZE,
		.in_order = true,
	};
	int ret;

	*out = NULL;
	if (!v)
		return err_set(e, -ENOMEM, "virtio-vsock: no memory");
	/* A connection is served, and freed, by one thread. */
	one.loop = virtio_env_loop(env, 0);
	one.loops = NULL;
	one.nr_loops = 0;
	v->loop = one.loop;
	v->path = cfg->path;
	v->reach = cfg->reach ? cfg->reach : cfg->path;
	v->config.guest_cid = htole64(cfg->cid);
	v->event_due = cfg->again;
	v->next_port = VSOCK_FIRST_PORT;
	TAILQ_INIT(&v->all);
	TAILQ_INIT(&v->ready);
	v->listen = (struct loop_src){ -1, on_listen };
	v->timer.src.fd = -1;
	ret = virtio_dev_init(&v->dev, &init, e);
	if (ret < 0) {
		free(v);
		return ret;
	}
	ret = loop_timer_add(v->loop, &v->timer, on_timer);
	if (!ret) {
		v->listen.fd = cfg->fd;
		ret = loop_add(v->loop, &v->listen, EPOLLIN | EPOLLET);
	}
	if (ret < 0) {
		err_set(e, ret, "virtio-vsock: event loop: %s", strerror(-ret));
		vsock_free(&v->dev);
		return ret;
	}
	*out = &v->dev;
	return 0;
}
