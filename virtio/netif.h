/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host's end of a network device: a tap (or macvtap) interface, or the stream socket of passt.
 * It is opened once and outlives resets of the guest; the device (net.c) borrows it.
 */
#ifndef VIRTIO_NETIF_H
#define VIRTIO_NETIF_H

#include <net/if.h>
#include <sys/types.h>

#include "vmm/core/log.h"

struct err;

#define NETIF_PAIRS_MAX	64
/* struct virtio_net_hdr_mrg_rxbuf: the header of each packet once VIRTIO_F_VERSION_1 is accepted */
#define NET_HDR_LEN	12
/*
 * Largest packet: 64 KiB of IP as a segmented TCP stream hands it over, the Ethernet header, VLAN
 * tags.
 */
#define NET_FRAME_MAX	(65536 + 64)
#define NET_FRAME_MIN	14	/* an Ethernet header */

/* What linux-libc-dev of Debian 12 does not have yet: segmentation of UDP, Linux 6.2. */
#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4	54
#define VIRTIO_NET_F_GUEST_USO6	55
#define VIRTIO_NET_F_HOST_USO	56
#endif
#ifndef TUN_F_USO4
#define TUN_F_USO4	0x20
#define TUN_F_USO6	0x40
#endif

/**
 * enum netif_kind - how packets pass a descriptor
 * @NETIF_TAP:    one read or write per packet, each with a header of NET_HDR_LEN bytes
 * @NETIF_STREAM: a byte stream: 4 bytes of length, big-endian, then the frame; no header. What
 *                QEMU's "-netdev stream" and passt speak
 */
enum netif_kind { NETIF_TAP, NETIF_STREAM };

/**
 * struct netif - the host's end of a network device
 * @name:     of the interface or the peer, for messages
 * @pairs:    descriptors in @fd: a pair of queues each
 * @features: VIRTIO_NET_F_* about checksums and segmentation that it can offer
 * @mtu:      largest packet, Ethernet header apart, when no segments are allowed; 0: not known
 * @ours:     the interface was made by us and goes with its last descriptor
 * @macvtap:  it filters by the MAC address that it has
 * @gone:     the other end has left; nothing is sent or received any more
 * @rx_calls, @tx_calls: system calls to receive and to send so far, about
 * @ctl:      ioctl() on @fd, a seam for tests
 * @stream:   state of NETIF_STREAM
 */
struct netif {
	enum netif_kind kind;
	char name[64];
	unsigned int pairs;
	int fd[NETIF_PAIRS_MAX];
	uint64_t features;
	unsigned int mtu;
	bool ours, macvtap;
	_Atomic bool gone;
	uint64_t rx_calls, tx_calls;
	struct log_rate rate;
	int (*ctl)(int fd, unsigned long request, void *arg);
	struct netif_stream *stream;
};

/**
 * struct netif_tap_cfg - which tap
 * @name:  interface; a path: the /dev/tapN of a macvtap; NULL: a new one, named by the kernel
 * @pairs: pairs of queues
 * @addr:  address for an interface that we make, with a network of 24 bits; NULL: none
 * @mac:   MAC address for an interface that we make; NULL: the kernel's choice
 * @mtu:   for an interface that we make; 0: the kernel's choice
 */
struct netif_tap_cfg {
	const char *name;
	unsigned int pairs;
	const char *addr;
	const uint8_t *mac;
	unsigned int mtu;
};

/**
 * netif_tap_open() - open a tap, or make it where that is allowed; set up what we made
 *
 * Return: 0, or a negative errno; @e says which command makes it usable.
 */
int netif_tap_open(const struct netif_tap_cfg *cfg, struct netif **out, struct err *e);

/**
 * netif_fd_given() - was there a descriptor of this number when the program started?
 * To be asked before anything is opened, which might take the number. Return: 0, -EBADF.
 */
int netif_fd_given(int fd, struct err *e);
/** netif_tap_fd() - take an open descriptor of a tap or macvtap; it is closed with @out only */
int netif_tap_fd(int fd, struct netif **out, struct err *e);

/** netif_stream_new() - take a connected stream socket; it is closed with @out only */
int netif_stream_new(int fd, const char *name, struct netif **out, struct err *e);

/** netif_close() - close it; NULL is fine */
void netif_close(struct netif *nif);

/** netif_is_up() - is the interface up, as far as can be told? */
bool netif_is_up(const struct netif *nif);
/** netif_mac() - the MAC address of a macvtap, which its guest must have. Return: 0, -errno */
int netif_mac(struct netif *nif, uint8_t mac[6]);
/** netif_set_mac() - the guest has another MAC address now: a macvtap filters by it */
void netif_set_mac(struct netif *nif, const uint8_t mac[6]);
/** netif_set_offload() - which VIRTIO_NET_F_GUEST_* the guest copes with now */
void netif_set_offload(struct netif *nif, uint64_t features);
/** netif_set_pairs() - the kernel spreads what arrives over the first @n pairs */
void netif_set_pairs(struct netif *nif, unsigned int n);

struct iovec;

/**
 * netif_stream_frame() - the next frame that has arrived, in our memory
 * @frame: set to it
 *
 * It stays the next one until netif_stream_next().
 *
 * Return: its length; -EAGAIN: none, and there will be an event when one has arrived; -EPIPE: the
 * peer is gone, or broke the protocol (then that is in the log).
 */
ssize_t netif_stream_frame(struct netif *nif, const uint8_t **frame);
/** netif_stream_event() - there was an event: more may have arrived */
void netif_stream_event(struct netif *nif);
/** netif_stream_hangup() - the peer has hung up: gone, whatever may still be unread */
void netif_stream_hangup(struct netif *nif);
/** netif_stream_next() - the frame was dealt with */
void netif_stream_next(struct netif *nif);

/* Frames that netif_stream_send() takes at once. */
#define NETIF_BATCH	64

/**
 * netif_stream_send() - send frames
 * @iov: for each frame one element for us to fill, then its pieces
 * @cnt: elements of each frame, the one for us included
 * @len: length of each
 * @nr:  frames, NETIF_BATCH at most, 1024 elements in all
 *
 * Return: how many were taken, in full; -EAGAIN: none, and there will be an event; -EPIPE: the
 * peer is gone.
 */
ssize_t netif_stream_send(struct netif *nif, struct iovec *iov, const unsigned int *cnt,
			  const uint32_t *len, unsigned int nr);

#endif
