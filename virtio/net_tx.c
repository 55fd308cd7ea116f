// SPDX-License-Identifier: BSD-3-Clause
/*
 * From the guest to the host: straight from the guest's memory, without a copy. A tap takes one
 * packet per call, its header included; a stream takes many frames per call, without their headers.
 *
 * What is in a packet is the kernel's or the peer's business; that its pieces are in memory and its
 * length is sane is seen to here. A packet that is of no use is dropped, as on a wire.
 */
#include <errno.h>
#include <unistd.h>

#include "virtio/net_int.h"
#include "vmm/core/trace.h"

/* #syscalls main,io?net: writev */

static const struct trace_kind send_kind = {
	.cat = "net", .text = "device", .arg = { "queue", "bytes", "packets" },
};

static struct vq *tx_vq(struct net_pair *p)
{
	return &p->net->dev.queue[NET_TXQ(p->index)].vq;
}

/*
 * The pieces of a chain from @off on, and pointers to them. Return: how many; 0: it is of no use.
 */
static unsigned int map(struct vq *vq, const struct vq_chain *c, uint64_t off, struct vq_seg *seg,
			struct iovec *iov, unsigned int room)
{
	unsigned int n;

	if (c->out_len < NET_HDR_LEN + NET_FRAME_MIN || c->out_len > NET_HDR_LEN + NET_FRAME_MAX ||
	    c->nr_out > room)
		return 0;
	n = vq_slice(c, false, off, c->out_len - off, seg);
	for (unsigned int i = 0; i < n; i++) {
		int ret = gmem_map(vq->gm, seg[i].addr, seg[i].len, &iov[i].iov_base);

		if (ret < 0) {
			vq_log_addr(vq, seg[i].addr, seg[i].len, ret);
			return 0;
		}
		iov[i].iov_len = seg[i].len;
	}
	return n;
}

/* ---- tap ------------------------------------------------------------------------------------- */

/* Return: false: it takes no more; there will be an event. */
static bool write_packet(struct net_pair *p, const struct iovec *iov, unsigned int nr)
{
	int fd = p->net->nif->fd[p->index];

	p->net->nif->tx_calls++;
	if (writev(fd, iov, nr) >= 0 || errno != EAGAIN)
		return true;		/* whatever else it is: dropped */
	/* said first, then tried again: an event in between is not missed */
	p->blocked = true;
	if (writev(fd, iov, nr) < 0 && errno == EAGAIN)
		return false;
	p->blocked = false;
	return true;
}

static void to_tap(struct net_pair *p, struct vq *vq)
{
	struct vq_seg seg[VQ_CHAIN_MAX];
	struct iovec iov[VQ_CHAIN_MAX];
	unsigned int budget = NET_BUDGET;
	struct vq_chain c;

	while (vq_pop(vq, &c) > 0) {
		uint64_t began = trace_begin();
		unsigned int n;

		if (!budget--) {
			vq_rewind(vq, &c.head);
			virtio_dev_kick(&p->net->dev, NET_TXQ(p->index));
			break;
		}
		n = map(vq, &c, 0, seg, iov, VQ_CHAIN_MAX);
		if (n && !write_packet(p, iov, n)) {
			vq_rewind(vq, &c.head);
			break;
		}
		vq_push(vq, &c.head, 0);
		trace_span(&send_kind, "send", began, p->net->dev.name, p->index, c.out_len, 1);
	}
}

/* ---- stream ---------------------------------------------------------------------------------- */

struct batch {
	struct vq_head head[NETIF_BATCH];
	unsigned int cnt[NETIF_BATCH];
	uint32_t len[NETIF_BATCH];
	unsigned int nr, nr_iov;
	struct vq_seg seg[VQ_CHAIN_MAX];
	struct iovec iov[VQ_CHAIN_MAX];
};

/* Fill a batch. Return: the queue may have more. */
static bool gather(struct vq *vq, struct batch *b)
{
	struct vq_chain c;

	b->nr = b->nr_iov = 0;
	while (b->nr < NETIF_BATCH && vq_pop(vq, &c) > 0) {
		unsigned int n = 0, room = ARRAY_SIZE(b->iov) - b->nr_iov;

		if (room > 1)
			n = map(vq, &c, NET_HDR_LEN, b->seg + b->nr_iov + 1,
				b->iov + b->nr_iov + 1, room - 1);
		if (!n && b->nr) {
			/* no room, or of no use: that shows when those before it are sent */
			vq_rewind(vq, &c.head);
			return true;
		}
		if (!n) {
			vq_push(vq, &c.head, 0);
			return true;
		}
		/* of what the prefix is put into */
		b->seg[b->nr_iov] = b->seg[b->nr_iov + 1];
		b->head[b->nr] = c.head;
		b->cnt[b->nr] = n + 1;
		b->len[b->nr++] = c.out_len - NET_HDR_LEN;
		b->nr_iov += n + 1;
	}
	return b->nr == NETIF_BATCH;
}

/* Return: all went out */
static bool flush(struct net_pair *p, struct vq *vq, struct batch *b)
{
	ssize_t n = netif_stream_send(p->net->nif, b->iov, b->cnt, b->len, b->nr);

	if (n == -EAGAIN) {
		p->blocked = true;
		n = netif_stream_send(p->net->nif, b->iov, b->cnt, b->len, b->nr);
		if (n != -EAGAIN)
			p->blocked = false;
	}
	if (n == -EPIPE)
		n = b->nr;		/* dropped */
	n = MAX(n, (ssize_t)0);
	for (unsigned int i = 0; i < n; i++)
		vq_push(vq, &b->head[i], 0);
	if (n == b->nr)
		return true;
	vq_rewind(vq, &b->head[n]);
	return false;
}

static void to_stream(struct net_pair *p, struct vq *vq)
{
	uint64_t began = trace_begin(), bytes = 0;
	struct batch b;
	bool more = gather(vq, &b);

	if (b.nr && !flush(p, vq, &b)) {
		/* taken in part: what is left is tried again at once, or waits for an event */
		more = !p->blocked;
	}
	if (began && b.nr) {
		for (unsigned int i = 0; i < b.nr; i++)
			bytes += b.len[i];
		trace_span(&send_kind, "send", began, p->net->dev.name, p->index, bytes, b.nr);
	}
	if (more)
		virtio_dev_kick(&p->net->dev, NET_TXQ(p->index));
	/* the rest of a frame was copied: what was lost makes a bad frame, that is all */
	for (unsigned int i = 0; i < b.nr_iov && gmem_hit(vq->gm); i++)
		gmem_check(vq->gm, b.seg[i].addr, b.seg[i].len);
}

/* ---------------------------------------------------------------------------------------------- */

/* With nobody to send to the guest's packets go the way of all packets. */
static void discard(struct net_pair *p, struct vq *vq)
{
	unsigned int budget = vq->num;
	struct vq_chain c;

	while (vq_pop(vq, &c) > 0) {
		vq_push(vq, &c.head, 0);
		if (!budget--) {
			virtio_dev_kick(&p->net->dev, NET_TXQ(p->index));
			break;
		}
	}
}

void net_tx_run(struct net_pair *p)
{
	struct vq *vq = tx_vq(p);
	struct netif *nif = p->net->nif;

	if (vq_begin(vq) < 0)
		return;
	if (!nif || nif->gone || !p->net->link)
		discard(p, vq);
	else if (nif->kind == NETIF_TAP)
		to_tap(p, vq);
	else
		to_stream(p, vq);
	vq_end(vq);
}
