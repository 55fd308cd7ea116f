// SPDX-License-Identifier: BSD-3-Clause
/*
 * Network device (virtio 1.2, section 5.1): configuration, offloads, the control queue, the link.
 *
 * Each queue has a lock of its own, so sending and receiving, and each pair, can have a thread of
 * its own. What they share (@active, @link) is atomic or changes with the device stopped.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/net_int.h"
#include "vmm/core/err.h"

#include <linux/if_ether.h>
#include <linux/virtio_ids.h>

/* With what a guest says how packets may come to it; each is also a bit of GUEST_OFFLOADS_SET. */
#define OFFLOADS (NET_F(GUEST_CSUM) | NET_F(GUEST_TSO4) | NET_F(GUEST_TSO6) | NET_F(GUEST_ECN) | \
		  NET_F(GUEST_USO4) | NET_F(GUEST_USO6))
/* What this device does whoever serves the packets */
#define OWN (NET_F(MAC) | NET_F(STATUS) | NET_F(MTU) | NET_F(CTRL_VQ) | NET_F(CTRL_RX) | \
	     NET_F(CTRL_MAC_ADDR) | NET_F(MQ))

/*
 * A realm's guest bounces its packets through a pool of shared pages; env->max_request is half of
 * it, and 16 MiB at most.
 *
 * Segments of 64 KiB find no room in a pool of less than SMALL_POOL, and are lost again and again.
 *
 * In one of less than SCARCE_POOL Linux shall not use its mergeable buffers: 7.3 keeps them mapped
 * (virtnet_create_page_pools(), PP_FLAG_DMA_MAP), and their part of the pool, until somebody has
 * read what came, so one TCP connection can take it all. From then on nothing comes and nothing
 * goes, and the retries leave no CPU to who should read. Its buffers of whole pages give their part
 * back as soon as a packet is there. It takes those without MRG_RXBUF if the MTU is larger than
 * Ethernet's (virtnet_set_big_packets()), so it is told one that is. A packet has to fit into one
 * of them, so this is for a host's end that is known to send no larger ones.
 */
#define SMALL_POOL (2 * SZ_1M)
#define SCARCE_POOL (32 * SZ_1M)
#define SCARCE_MTU (ETH_DATA_LEN + 1U)
/* Linux stops a send queue that has no room for a packet in MAX_SKB_FRAGS + 2 pieces, 19. */
#define TX_SIZE_MIN 32
#define RX_SIZE_MIN 4

/* MAC_TABLE_SET: more would be a guest that wastes our time */
#define MAC_TABLE_MAX 1024

static struct virtio_net *to_net(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_net, dev);
}

static bool has(const struct virtio_net *net, uint64_t feature)
{
	return net->dev.driver_features & feature;
}

/* ---- link ------------------------------------------------------------------------------------ */

/* dev->lock held */
static void set_link(struct virtio_net *net, bool up)
{
	uint16_t status = up ? VIRTIO_NET_S_LINK_UP : 0;

	net->link = up;
	if (net->config.status == status)
		return;
	net->config.status = status;
	virtio_dev_config_changed(&net->dev);
}

void virtio_net_set_link(struct virtio_dev *dev, bool up)
{
	struct virtio_net *net = to_net(dev);

	virtio_dev_lock(dev);
	set_link(net, up && !(net->nif && net->nif->gone));
	virtio_dev_unlock(dev);
	/* what has arrived meanwhile */
	for (unsigned int i = 0; up && i < net->pairs; i++)
		virtio_dev_kick(dev, NET_RXQ(i));
}

/*
 * The holder of a queue's lock wants dev->lock, which comes first: if somebody has it, the queue is
 * looked at again when its turn comes.
 */
static bool try_dev_lock(struct virtio_net *net, unsigned int q)
{
	if (!pthread_mutex_trylock(&net->dev.lock))
		return true;
	virtio_dev_kick(&net->dev, q);
	return false;
}

/* The host's end has left. */
static void check_gone(struct virtio_net *net, unsigned int q)
{
	if (!net->nif || !net->nif->gone || !net->link || !try_dev_lock(net, q))
		return;
	set_link(net, false);
	virtio_dev_unlock(&net->dev);
}

static void host_event(struct loop_src *src, uint32_t events)
{
	struct net_pair *p = container_of(src, struct net_pair, src);
	struct virtio_net *net = p->net;
	struct virtio_queue *q = &net->dev.queue[NET_RXQ(p->index)];

	pthread_mutex_lock(q->lock);
	p->rx.readable = true;
	if (net->nif->kind == NETIF_STREAM)
		netif_stream_event(net->nif);
	if (net->dev.running && q->vq.ready && !q->vq.broken)
		net_rx_run(p);
	if ((events & (EPOLLHUP | EPOLLRDHUP)) && net->nif->kind == NETIF_STREAM)
		netif_stream_hangup(net->nif);
	pthread_mutex_unlock(q->lock);
	if ((events & EPOLLOUT) && atomic_exchange(&p->blocked, false))
		virtio_dev_kick(&net->dev, NET_TXQ(p->index));
	if (net->nif->gone && net->link)
		virtio_net_set_link(&net->dev, false);
}

/* ---- control queue (section 5.1.6.5) --------------------------------------------------------- */

static int ctrl_rx(struct vq *vq, const struct vq_chain *c, uint8_t cmd)
{
	uint8_t on;

	/* the others belong to CTRL_RX_EXTRA */
	if (cmd != VIRTIO_NET_CTRL_RX_PROMISC && cmd != VIRTIO_NET_CTRL_RX_ALLMULTI)
		return -ENOTSUP;
	/* nothing is filtered in any case, which is allowed */
	return vq_read(vq, c, sizeof(struct virtio_net_ctrl_hdr), &on, sizeof(on));
}

/* Two tables, of unicast and of multicast addresses; each is a number and so many addresses. */
static int ctrl_mac_table(struct vq *vq, const struct vq_chain *c)
{
	uint64_t off = sizeof(struct virtio_net_ctrl_hdr);
	uint32_t n;

	for (unsigned int i = 0; i < 2; i++) {
		int ret = vq_read(vq, c, off, &n, sizeof(n));

		if (ret < 0)
			return ret;
		off += sizeof(n);
		if (n > MAC_TABLE_MAX || (uint64_t)n * 6 > c->out_len - off)
			return -EINVAL;
		off += (uint64_t)n * 6;
	}
	return 0;
}

static int ctrl_mac(struct virtio_net *net, struct vq *vq, const struct vq_chain *c, uint8_t cmd)
{
	uint8_t mac[6];
	int ret;

	if (cmd == VIRTIO_NET_CTRL_MAC_TABLE_SET)
		return ctrl_mac_table(vq, c);
	if (cmd != VIRTIO_NET_CTRL_MAC_ADDR_SET || !has(net, NET_F(CTRL_MAC_ADDR)))
		return -ENOTSUP;
	ret = vq_read(vq, c, sizeof(struct virtio_net_ctrl_hdr), mac, sizeof(mac));
	if (ret < 0)
		return ret;
	if (mac[0] & 1)
		return -EINVAL;
	memcpy(net->config.mac, mac, sizeof(mac));
	if (net->nif)
		netif_set_mac(net->nif, mac);
	return 0;
}

static void set_active(struct virtio_net *net, unsigned int n)
{
	if (net->nif)
		netif_set_pairs(net->nif, n);
	if (net->backend && net->backend->pairs)
		net->backend->pairs(net->backend_ctx, &net->dev, n);
	net->active = n;
}

static int ctrl_mq(struct virtio_net *net, struct vq *vq, const struct vq_chain *c, uint8_t cmd)
{
	uint16_t n;
	int ret;

	if (cmd != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET || !has(net, NET_F(MQ)))
		return -ENOTSUP;
	ret = vq_read(vq, c, sizeof(struct virtio_net_ctrl_hdr), &n, sizeof(n));
	if (ret < 0)
		return ret;
	if (n < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN || n > net->pairs)
		return -EINVAL;
	set_active(net, n);
	for (unsigned int i = 0; i < n; i++) {
		net->pair[i].rx.readable = true;
		virtio_dev_kick(&net->dev, NET_RXQ(i));
	}
	return 0;
}

static int ctrl_offloads(struct virtio_net *net, struct vq *vq, const struct vq_chain *c,
			 uint8_t cmd)
{
	uint64_t bits;
	int ret;

	if (cmd != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET || !has(net, NET_F(CTRL_GUEST_OFFLOADS)))
		return -ENOTSUP;
	ret = vq_read(vq, c, sizeof(struct virtio_net_ctrl_hdr), &bits, sizeof(bits));
	if (ret < 0)
		return ret;
	if (bits & ~(net->dev.driver_features & OFFLOADS))
		return -EINVAL;
	netif_set_offload(net->nif, bits);
	return 0;
}

static int command(struct virtio_net *net, struct vq *vq, const struct vq_chain *c)
{
	struct virtio_net_ctrl_hdr hdr;
	int ret = vq_read(vq, c, 0, &hdr, sizeof(hdr));

	if (ret < 0)
		return ret;
	switch (hdr.class) {
	case VIRTIO_NET_CTRL_RX:
		return has(net, NET_F(CTRL_RX)) ? ctrl_rx(vq, c, hdr.cmd) : -ENOTSUP;
	case VIRTIO_NET_CTRL_MAC:
		return ctrl_mac(net, vq, c, hdr.cmd);
	case VIRTIO_NET_CTRL_MQ:
		return ctrl_mq(net, vq, c, hdr.cmd);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return ctrl_offloads(net, vq, c, hdr.cmd);
	default:
		return -ENOTSUP;
	}
}

/* dev->lock and the queue's held */
static void ctrl_run(struct virtio_net *net, struct vq *vq)
{
	unsigned int budget = vq->num;
	struct vq_chain c;

	if (vq_begin(vq) < 0)
		return;
	while (vq_pop(vq, &c) > 0) {
		int ret = command(net, vq, &c);
		uint8_t ack = ret < 0 ? VIRTIO_NET_ERR : VIRTIO_NET_OK;

		if (ret < 0)
			log_rated(&net->dev.rate, LOG_DEBUG, "%s: a command of the driver fails: %s",
				  net->dev.name, strerror(-ret));
		vq_push(vq, &c.head, vq_write(vq, &c, 0, &ack, sizeof(ack)) < 0 ? 0 : sizeof(ack));
		if (!budget--) {
			virtio_dev_kick(&net->dev, vq->index);
			break;
		}
	}
	vq_end(vq);
}

/* ---- the device ------------------------------------------------------------------------------ */

static void net_kick(struct virtio_dev *dev, unsigned int q)
{
	struct virtio_net *net = to_net(dev);

	if (q == net->ctrl_q) {
		if (try_dev_lock(net, q)) {
			ctrl_run(net, &dev->queue[q].vq);
			virtio_dev_unlock(dev);
		}
	} else if (q < 2 * net->pairs && q % 2) {
		net_tx_run(&net->pair[q / 2]);
	} else if (q < 2 * net->pairs) {
		net_rx_run(&net->pair[q / 2]);
		check_gone(net, q);
	}
}

/*
 * Without MQ the control queue has the number that the second pair's receive queue would have. If
 * others serve the pairs its kicks do not come here by themselves.
 */
static int watch_ctrl(struct virtio_net *net, bool on)
{
	struct virtio_queue *q;
	int ret = 0;

	if (net->ctrl_watched == on || net->ctrl_q == NET_NO_QUEUE)
		return 0;
	q = &net->dev.queue[net->ctrl_q];
	if (on && q->external)
		ret = loop_add(q->loop, &q->kick, EPOLLIN | EPOLLET);
	else if (on)
		return 0;
	else
		loop_del(q->loop, &q->kick);
	if (!ret) {
		q->external = !on;
		net->ctrl_watched = on;
	}
	return ret;
}

static int net_start(struct virtio_dev *dev)
{
	struct virtio_net *net = to_net(dev);
	int ret;

	net->mrg = has(net, NET_F(MRG_RXBUF));
	net->ctrl_q = !has(net, NET_F(CTRL_VQ)) ? NET_NO_QUEUE : has(net, NET_F(MQ)) ?
		      2 * net->pairs : 2;
	if (net->nif)
		netif_set_offload(net->nif, dev->driver_features & OFFLOADS);
	for (unsigned int i = 0; i < net->pairs; i++) {
		net->pair[i].rx.readable = true;
		net->pair[i].rx.held_len = 0;
		net->pair[i].rx.big = false;
		net->pair[i].blocked = false;
	}
	ret = watch_ctrl(net, true);
	if (ret < 0)
		log_error("%s: event loop: %s", dev->name, strerror(-ret));
	if (!ret && net->backend && net->backend->start)
		ret = net->backend->start(net->backend_ctx, dev);
	return ret;
}

static int net_queue(struct virtio_dev *dev, unsigned int q, bool on)
{
	struct virtio_net *net = to_net(dev);

	if (!net->backend || !net->backend->queue || q == net->ctrl_q || q >= 2 * net->pairs)
		return 0;
	return net->backend->queue(net->backend_ctx, dev, q, on);
}

static void net_queue_fd(struct virtio_dev *dev, unsigned int q)
{
	struct virtio_net *net = to_net(dev);

	if (net->backend && net->backend->queue_fd && q != net->ctrl_q && q < 2 * net->pairs)
		net->backend->queue_fd(net->backend_ctx, dev, q);
}

static void net_reset(struct virtio_dev *dev)
{
	struct virtio_net *net = to_net(dev);

	if (net->backend && net->backend->reset)
		net->backend->reset(net->backend_ctx, dev);
	watch_ctrl(net, false);
	net->ctrl_q = NET_NO_QUEUE;
	set_active(net, 1);
	if (net->nif)
		netif_set_offload(net->nif, 0);
	if (memcmp(net->config.mac, net->mac, sizeof(net->mac))) {
		memcpy(net->config.mac, net->mac, sizeof(net->mac));
		if (net->nif)
			netif_set_mac(net->nif, net->mac);
	}
}

static void net_free(struct virtio_dev *dev)
{
	struct virtio_net *net = to_net(dev);

	for (unsigned int i = 0; i < net->pairs; i++) {
		if (net->pair[i].watched)
			loop_del(dev->queue[NET_RXQ(i)].loop, &net->pair[i].src);
		free(net->pair[i].rx.held);
	}
	watch_ctrl(net, false);
	if (net->backend && net->backend->free)
		net->backend->free(net->backend_ctx);
	virtio_dev_destroy(dev);
	free(net);
}

static const struct virtio_dev_ops net_ops = {
	.id = VIRTIO_ID_NET,
	.kick = net_kick,
	.start = net_start,
	.queue = net_queue,
	.queue_fd = net_queue_fd,
	.reset = net_reset,
	.free = net_free,
};

/* The host's end says by itself when there is something. */
static int watch_host(struct virtio_net *net)
{
	int ret = 0;

	for (unsigned int i = 0; i < net->pairs && !ret; i++) {
		struct net_pair *p = &net->pair[i];

		p->src.fn = host_event;
		p->src.fd = net->nif->fd[i];
		/* edge triggered: no call to change what is waited for, ever */
		ret = loop_add(net->dev.queue[NET_RXQ(i)].loop, &p->src,
			       EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
		p->watched = !ret;
	}
	return ret;
}

/* See SCARCE_POOL. A user who says that the MTU is no larger than Ethernet's has the last word. */
static bool scarce(const struct virtio_net_cfg *cfg, const struct virtio_env *env)
{
	return env->max_request && env->max_request < SCARCE_POOL / 2 && cfg->nif &&
	       cfg->nif->mtu && (!cfg->mtu || cfg->mtu > ETH_DATA_LEN);
}

static uint16_t told_mtu(const struct virtio_net_cfg *cfg, const struct virtio_env *env)
{
	if (!scarce(cfg, env))
		return cfg->mtu;
	return MIN(MAX(cfg->mtu, MAX(cfg->nif->mtu, SCARCE_MTU)), UINT16_MAX);
}

/* A power of 2: as many buffers of  bytes per pair as have room in  */
static unsigned int fit(const struct virtio_net_cfg *cfg, uint64_t bytes, uint64_t cost,
			unsigned int min)
{
	unsigned int size = VQ_SIZE_DEFAULT;

	while (size > min && size * cost * cfg->pairs > bytes)
		size /= 2;
	return size;
}

/*
 * The receive queues are full of buffers at all times: they may have half of the pool, or a quarter
 * where the packets keep as much again. What a buffer takes: an indirect table, the header's page
 * and those of the packet; of the mergeable ones 2 KiB.
 */
static unsigned int rx_size(const struct virtio_net_cfg *cfg, const struct virtio_env *env)
{
	uint64_t pages = (told_mtu(cfg, env) + SZ_4K - 1) / SZ_4K;

	if (cfg->queue_size || !env->max_request)
		return cfg->queue_size ? cfg->queue_size : VQ_SIZE_DEFAULT;
	if (scarce(cfg, env))
		return fit(cfg, env->max_request, (2 + pages) * SZ_4K, RX_SIZE_MIN);
	return fit(cfg, env->max_request / 2, 2048, RX_SIZE_MIN);
}

static unsigned int tx_size(const struct virtio_net_cfg *cfg, const struct virtio_env *env)
{
	if (cfg->queue_size || !env->max_request)
		return cfg->queue_size ? cfg->queue_size : VQ_SIZE_DEFAULT;
	return fit(cfg, env->max_request / 2, 2048, TX_SIZE_MIN);
}

static uint64_t features(const struct virtio_net_cfg *cfg, const struct virtio_env *env)
{
	bool small = env->max_request && env->max_request < SMALL_POOL / 2;
	uint64_t f = OWN | NET_F(MRG_RXBUF);

	if (!told_mtu(cfg, env))
		f &= ~NET_F(MTU);
	if (cfg->pairs == 1)
		f &= ~NET_F(MQ);
	if (cfg->backend)
		f |= cfg->backend->features;
	if (cfg->nif)
		f |= cfg->nif->features;
	if (small)
		f &= ~(NET_F(HOST_TSO4) | NET_F(HOST_TSO6) | NET_F(HOST_ECN) | NET_F(HOST_USO));
	/* segments that come want more buffers than a short ring has, or very large ones */
	if (small || scarce(cfg, env))
		f &= ~(OFFLOADS & ~NET_F(GUEST_CSUM));
	if (scarce(cfg, env))
		f &= ~NET_F(MRG_RXBUF);
	/* the guest changes its mind at run time through a tap of ours */
	if (f & OFFLOADS && cfg->nif)
		f |= NET_F(CTRL_GUEST_OFFLOADS);
	return f;
}

int virtio_net_new(const struct virtio_env *env, const struct virtio_net_cfg *cfg,
		   struct virtio_dev **out, struct err *e)
{
	const struct virtio_net_backend *b = cfg->backend;
	struct virtio_net *net = calloc(1, sizeof(*net) + cfg->pairs * sizeof(net->pair[0]));
	struct virtio_dev_init init = {
		.name = cfg->name,
		.ops = &net_ops,
		.env = env,
		.features = features(cfg, env),
		.config = net ? &net->config : NULL,
		/* up to and with mtu: what lies behind it is of features that are not offered */
		.config_len = offsetof(struct virtio_net_config, speed),
		.nr_queues = 2 * cfg->pairs + 1,
		.queue_size = tx_size(cfg, env),
		/* checksums and segments are between guest and tap, whoever carries the packets */
		.allowed = b && b->allowed ? b->allowed | OWN | NET_F(CTRL_GUEST_OFFLOADS) |
				(cfg->nif ? cfg->nif->features : 0) : 0,
		.external = b ? (1ULL << 2 * cfg->pairs) - 1 : 0,
		.own_locks = true,
		.in_order = !b,
	};
	int ret;

	*out = NULL;
	if (!net)
		return err_set(e, -ENOMEM, "%s: no memory", cfg->name);
	net->nif = cfg->nif;
	net->pairs = cfg->pairs;
	net->active = 1;
	net->ctrl_q = NET_NO_QUEUE;
	net->backend = b;
	net->backend_ctx = cfg->backend_ctx;
	memcpy(net->mac, cfg->mac, sizeof(net->mac));
	memcpy(net->config.mac, cfg->mac, sizeof(net->mac));
	net->config.mtu = told_mtu(cfg, env);
	net->config.max_virtqueue_pairs = cfg->pairs;
	net->link = !cfg->link_down && !(cfg->nif && cfg->nif->gone);
	net->config.status = net->link ? VIRTIO_NET_S_LINK_UP : 0;
	for (unsigned int i = 0; i < cfg->pairs; i++) {
		net->pair[i].net = net;
		net->pair[i].index = i;
	}
	ret = virtio_dev_init(&net->dev, &init, e);
	if (ret < 0) {
		free(net);
		return ret;
	}
	for (unsigned int i = 0; i < cfg->pairs; i++) {
		struct vq *vq = &net->dev.queue[NET_RXQ(i)].vq;

		vq->max = vq->num = rx_size(cfg, env);
	}
	ret = net->nif && !b ? watch_host(net) : 0;
	if (ret < 0) {
		err_set(e, ret, "%s: event loop: %s", cfg->name, strerror(-ret));
		net->backend = NULL;	/* stays the caller's */
		net_free(&net->dev);
		return ret;
	}
	*out = &net->dev;
	return 0;
}
