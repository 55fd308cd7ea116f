/* SPDX-License-Identifier: BSD-3-Clause */
/* The network device from the inside: net.c has the device, net_rx.c and net_tx.c its packets. */
#ifndef VIRTIO_NET_INT_H
#define VIRTIO_NET_INT_H

#include <linux/virtio_net.h>
#include <sys/uio.h>

#include "virtio/dev.h"
#include "virtio/netif.h"

#define NET_F(bit)	VIRTIO_F(VIRTIO_NET_F_##bit)
#define NET_NO_QUEUE	UINT32_MAX

/* Queues of pair i; the control queue comes behind all of them (section 5.1.2). */
#define NET_RXQ(i)	(2 * (i))
#define NET_TXQ(i)	(2 * (i) + 1)

/*
 * Packets that one turn takes before others on the loop have theirs, and before the guest hears of
 * them: enough to make the calls per batch (epoll_wait, interrupt) small change, some 100 us.
 */
#define NET_BUDGET	64

/*
 * Buffers of the guest that one packet is spread over. Linux gives buffers of 1.5 to 4 KiB, which
 * makes 43 of the largest packet; with smaller ones such a packet is dropped.
 */
#define NET_RX_CHAINS	128
#define NET_RX_SEGS	256

/** struct net_chain - a buffer of the guest that waits for a packet; @room: bytes, @segs: pieces */
struct net_chain {
	struct vq_head head;
	uint32_t room;
	unsigned int segs;
};

/**
 * struct net_rx - receiving; guarded by the lock of the pair's receive queue
 * @readable: the host's end may have something: it said so, and was not found empty since
 * @big:      the last packet was large: so will be the next
 * @held:     a packet that the guest had no room for when it came, @held_len bytes with its header
 * @chain, @nr_chains, @seg, @iov, @nr_segs, @room: buffers that are taken from the queue for the
 *            packet to come. One more element of @iov is for what does not fit
 */
struct net_rx {
	_Atomic bool readable;
	bool big;
	size_t held_len;
	uint8_t *held;
	struct log_rate rate;

	unsigned int nr_chains, nr_segs;
	size_t room;
	struct net_chain chain[NET_RX_CHAINS];
	struct vq_seg seg[NET_RX_SEGS];
	struct iovec iov[NET_RX_SEGS + 1];
};

/**
 * struct net_pair - a pair of queues and its part of the host's end
 * @src:     the host's end in the loop of the receive queue
 * @blocked: the host's end is full: its next event says that it is not any more
 */
struct net_pair {
	struct virtio_net *net;
	unsigned int index;
	struct loop_src src;
	bool watched;
	_Atomic bool blocked;
	struct net_rx rx;
};

/**
 * struct virtio_net - a network device
 * @nif:    its host's end, or NULL: there is none, or @backend has it
 * @mac:    at the start; the guest may set another in @config
 * @mrg:    a packet may be spread over several buffers
 * @active: pairs in use
 * @ctrl_q: the control queue; where it is depends on what was negotiated
 * @ctrl_watched: its kicks come here though it is one of @backend's
 * @link:   up
 */
struct virtio_net {
	struct virtio_dev dev;
	struct virtio_net_config config;
	struct netif *nif;
	uint8_t mac[6];
	unsigned int pairs;
	bool mrg, ctrl_watched;
	_Atomic unsigned int active;
	unsigned int ctrl_q;
	_Atomic bool link;
	uint64_t offloads;
	const struct virtio_net_backend *backend;
	void *backend_ctx;
	struct net_pair pair[];
};

/** net_rx_run() - bring packets to the guest; lock of the queue held */
void net_rx_run(struct net_pair *p);
/** net_tx_run() - take packets from the guest; lock of the queue held */
void net_tx_run(struct net_pair *p);

#endif
