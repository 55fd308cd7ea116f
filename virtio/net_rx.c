// SPDX-License-Identifier: BSD-3-Clause
/*
 * From the host to the guest.
 *
 * A tap gives one packet per read. It goes straight into the guest's buffers: as many as the next
 * packet is expected to need are taken from the queue, with a buffer of ours behind them for the
 * part that does not fit; what was not needed is put back. A packet that turns out larger is put
 * together in our buffer and copied, now or when the guest has more room, so none is lost half-way.
 *
 * A stream gives many frames per read, into a buffer of ours; each is copied.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "virtio/net_int.h"
#include "vmm/core/trace.h"

/* #syscalls main,io?net: readv */

/* What is not larger is a small packet: one of Ethernet's usual size, and the header. */
#define SMALL	(NET_HDR_LEN + 1518)
#define HELD_ROOM	(NET_HDR_LEN + NET_FRAME_MAX + SMALL)

/* What became of a packet, or of the attempt to get one. */
enum outcome {
	DONE,		/* it is with the guest, or dropped */
	WAIT,		/* the guest has no room: its next kick */
	EMPTY,		/* there is none: the next event */
};

static struct vq *rx_vq(struct net_pair *p)
{
	return &p->net->dev.queue[NET_RXQ(p->index)].vq;
}

/* ---- the guest's buffers --------------------------------------------------------------------- */

/* Add a chain to what waits for the packet. Return: false: it is of no use. */
static bool take_chain(struct net_rx *rx, struct vq *vq, const struct vq_chain *c)
{
	unsigned int n = rx->nr_segs;

	if (!c->nr_in || n + c->nr_in > NET_RX_SEGS)
		return false;
	if (!rx->nr_chains && c->in_len < NET_HDR_LEN)
		return false;		/* the header is in one buffer (section 5.1.6.3.1) */
	for (unsigned int i = 0; i < c->nr_in; i++, n++) {
		const struct vq_seg *s = &c->seg[c->nr_out + i];
		int ret = gmem_map(vq->gm, s->addr, s->len, &rx->iov[n].iov_base);

		if (ret < 0) {
			vq_log_addr(vq, s->addr, s->len, ret);
			return false;
		}
		rx->iov[n].iov_len = s->len;
		rx->seg[n] = *s;
	}
	rx->chain[rx->nr_chains++] = (struct net_chain){ c->head, c->head.in_len, c->nr_in };
	rx->nr_segs = n;
	rx->room += c->in_len;
	return true;
}

/* Take buffers for a packet of up to @want bytes, as far as there are some. */
static void collect(struct net_pair *p, struct vq *vq, size_t want)
{
	unsigned int max = p->net->mrg ? NET_RX_CHAINS : 1, useless = 0;
	struct net_rx *rx = &p->rx;
	struct vq_chain c;

	rx->nr_chains = rx->nr_segs = 0;
	rx->room = 0;
	while (rx->room < want && rx->nr_chains < max && vq_pop(vq, &c) > 0) {
		if (take_chain(rx, vq, &c))
			continue;
		if (rx->nr_chains || useless++ == vq->num) {
			/* its turn comes when those before it are used */
			vq_rewind(vq, &c.head);
			break;
		}
		vq_push(vq, &c.head, 0);
	}
}

static void put_back(struct net_rx *rx, struct vq *vq, unsigned int from)
{
	if (from < rx->nr_chains)
		vq_rewind(vq, &rx->chain[from].head);
}

/* The guest has offered all it can, or more than we look at, and it was not enough. */
static bool hopeless(const struct net_pair *p, const struct vq *vq)
{
	const struct net_rx *rx = &p->rx;
	unsigned int slots = 0;

	if (!rx->nr_chains)
		return false;
	for (unsigned int i = 0; i < rx->nr_chains; i++)
		slots = MAX(slots, (unsigned int)rx->chain[i].head.slots);
	return !p->net->mrg || rx->nr_chains == NET_RX_CHAINS || rx->nr_segs == NET_RX_SEGS ||
	       vq->inuse + slots > vq->num;
}

static void put(const struct net_rx *rx, size_t off, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	for (const struct iovec *v = rx->iov; len; v++) {
		size_t part;

		if (off >= v->iov_len) {
			off -= v->iov_len;
			continue;
		}
		part = MIN(v->iov_len - off, len);
		memcpy((uint8_t *)v->iov_base + off, p, part);
		p += part;
		len -= part;
		off = 0;
	}
}

static void get(const struct net_rx *rx, void *buf, size_t len)
{
	uint8_t *p = buf;

	for (const struct iovec *v = rx->iov; len; v++) {
		size_t part = MIN(v->iov_len, len);

		memcpy(p, v->iov_base, part);
		p += part;
		len -= part;
	}
}

/* Was all memory of the first chains there while they were written? */
static bool intact(const struct net_rx *rx, struct vq *vq, unsigned int chains)
{
	unsigned int segs = 0;
	bool ok = true;

	if (gmem_intact(vq->gm))
		return true;
	for (unsigned int i = 0; i < chains; i++)
		segs += rx->chain[i].segs;
	for (unsigned int i = 0; i < segs; i++)
		if (gmem_check(vq->gm, rx->seg[i].addr, rx->seg[i].len) < 0)
			ok = false;
	return ok;
}

/*
 * A packet of @len bytes, header included, is in the buffers: give those to the guest.
 * @began: when they were taken, for --trace
 */
static void finish(struct net_pair *p, struct vq *vq, size_t len, uint64_t began)
{
	static const struct trace_kind kind = {
		.cat = "net", .text = "device", .arg = { "queue", "bytes" },
	};
	struct net_rx *rx = &p->rx;
	unsigned int chains = 0;
	uint16_t number;
	size_t sum = 0, all = len;
	bool ok;

	while (sum < len)
		sum += rx->chain[chains++].room;
	/* little-endian, as everything in version 1; so are we (section 5.1.6.4) */
	number = chains;
	put(rx, offsetof(struct virtio_net_hdr_mrg_rxbuf, num_buffers), &number, sizeof(number));
	ok = intact(rx, vq, chains);
	for (unsigned int i = 0; i < chains; i++) {
		size_t part = MIN(len, (size_t)rx->chain[i].room);

		/* the driver drops a packet of no length */
		vq_push(vq, &rx->chain[i].head, ok ? part : 0);
		len -= part;
	}
	put_back(rx, vq, chains);
	trace_span(&kind, "receive", began, p->net->dev.name, p->index, all, 0);
}

/* Copy a packet to the guest. */
static enum outcome deliver(struct net_pair *p, struct vq *vq, const void *hdr, const void *frame,
			    size_t len)
{
	uint64_t began = trace_begin();
	struct net_rx *rx = &p->rx;

	collect(p, vq, NET_HDR_LEN + len);
	if (rx->room < NET_HDR_LEN + len) {
		bool drop = hopeless(p, vq);

		put_back(rx, vq, 0);
		if (!drop)
			return WAIT;
		log_rated(&rx->rate, LOG_DEBUG, "%s: a packet of %zu bytes is too large for the guest's "
			  "buffers: dropped", p->net->dev.name, len);
		return DONE;
	}
	put(rx, 0, hdr, NET_HDR_LEN);
	put(rx, NET_HDR_LEN, frame, len);
	finish(p, vq, NET_HDR_LEN + len, began);
	return DONE;
}

/* ---- the host's end -------------------------------------------------------------------------- */

static enum outcome tap_failed(struct net_pair *p, int error)
{
	/* EFAULT: the memory is gone meanwhile, and the packet with it */
	if (error == EFAULT || error == EINTR)
		return DONE;
	/* the interface was deleted; or, with several queues, this one of it is detached */
	if ((error == EBADFD && !p->index) || error == ENODEV) {
		if (!atomic_exchange(&p->net->nif->gone, true))
			log_warning("%s: the interface %s is gone; the link is down from now on",
				    p->net->dev.name, p->net->nif->name);
	}
	return EMPTY;
}

static enum outcome deliver_held(struct net_pair *p, struct vq *vq)
{
	struct net_rx *rx = &p->rx;
	enum outcome o = deliver(p, vq, rx->held, rx->held + NET_HDR_LEN,
				 rx->held_len - NET_HDR_LEN);

	if (o == DONE)
		rx->held_len = 0;
	return o;
}

static enum outcome from_tap(struct net_pair *p, struct vq *vq)
{
	struct net_rx *rx = &p->rx;
	uint64_t began;
	ssize_t n;

	if (rx->held_len)
		return deliver_held(p, vq);
	began = trace_begin();
	collect(p, vq, rx->big ? NET_HDR_LEN + NET_FRAME_MAX : SMALL);
	if (!rx->nr_chains)
		return WAIT;
	/* the part that fits is copied in front of the other, should there be one */
	rx->iov[rx->nr_segs].iov_base = rx->held + MIN(rx->room, (size_t)HELD_ROOM);
	rx->iov[rx->nr_segs].iov_len = HELD_ROOM - MIN(rx->room, (size_t)HELD_ROOM);
	p->net->nif->rx_calls++;
	n = readv(p->net->nif->fd[p->index], rx->iov, rx->nr_segs + 1);
	if (n < NET_HDR_LEN + NET_FRAME_MIN) {
		int error = errno;

		put_back(rx, vq, 0);
		return n < 0 ? tap_failed(p, error) : DONE;
	}
	rx->big = n > SMALL;
	if ((size_t)n <= rx->room) {
		finish(p, vq, n, began);
		return DONE;
	}
	get(rx, rx->held, rx->room);
	/* asks whether that was there to be read; a packet with a hole is of no use */
	rx->held_len = intact(rx, vq, rx->nr_chains) ? n : 0;
	put_back(rx, vq, 0);
	return DONE;
}

static enum outcome from_stream(struct net_pair *p, struct vq *vq)
{
	static const struct virtio_net_hdr_mrg_rxbuf none;
	const uint8_t *frame;
	enum outcome o;
	ssize_t n = netif_stream_frame(p->net->nif, &frame);

	if (n < 0)
		return EMPTY;
	o = deliver(p, vq, &none, frame, n);
	if (o == DONE)
		netif_stream_next(p->net->nif);
	return o;
}

void net_rx_run(struct net_pair *p)
{
	struct vq *vq = rx_vq(p);
	struct netif *nif = p->net->nif;
	enum outcome o = DONE;

	if (!nif || nif->gone || !p->net->link || p->index >= p->net->active || !p->rx.readable)
		return;
	if (!p->rx.held && nif->kind == NETIF_TAP) {
		p->rx.held = malloc(HELD_ROOM);
		if (!p->rx.held)
			return;
	}
	if (vq_begin(vq) < 0)
		return;
	for (unsigned int n = 0; n < NET_BUDGET && o == DONE && !vq->broken; n++)
		o = nif->kind == NETIF_TAP ? from_tap(p, vq) : from_stream(p, vq);
	vq_end(vq);
	if (o == EMPTY)
		p->rx.readable = false;
	else if (o == DONE)
		virtio_dev_kick(&p->net->dev, NET_RXQ(p->index));
}
