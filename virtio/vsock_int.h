/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of the socket device with unix sockets at the host's end: vsock.c has the queues,
 * vsock_conn.c the connections. All of it runs with the device's lock held; whatever adds or frees
 * a connection runs on the loop's thread.
 */
#ifndef VIRTIO_VSOCK_INT_H
#define VIRTIO_VSOCK_INT_H

#include <linux/virtio_vsock.h>
#include <sys/queue.h>

#include "virtio/dev.h"

/* Bytes from the guest that wait for the host's program, of each connection: buf_alloc. */
#define VSOCK_BUF	(64U << 10)
/* Most connections. Each costs a descriptor, of 1024 by default, and VSOCK_BUF. */
#define VSOCK_CONNS	512
#define VSOCK_HASH	64
/* Resets that wait for a buffer of the guest, of packets that belong to no connection. */
#define VSOCK_STRAYS	64
/* How long an answer may take, of the guest as of a program that connected. Linux's own number. */
#define VSOCK_PATIENCE_MS 8000
/* Ports of the host's programs begin here, out of the way of well-known ones. */
#define VSOCK_FIRST_PORT (1U << 30)
/* "CONNECT 4294967295\n" has 19 bytes. */
#define VSOCK_HELLO_MAX	32

struct vsock;

enum conn_state {
	CONN_HELLO,		/* a program connected and has not said to which port */
	CONN_ASKED,		/* the guest is asked, or will be */
	CONN_OPEN,
	CONN_DEAD,		/* only a reset is due, then it is freed */
};

/* Packets for the guest that are due. */
enum conn_due {
	DUE_REQUEST = 1 << 0,
	DUE_RESPONSE = 1 << 1,
	DUE_CREDIT = 1 << 2,
	DUE_CREDIT_REQUEST = 1 << 3,
	DUE_SHUTDOWN = 1 << 4,
	DUE_RST = 1 << 5,
};

/**
 * struct conn - a connection
 * @src:      the host's end; its descriptor is -1 once it is closed. Watched by edges
 * @all, @hash, @ready: lists; @in_ready: it has something for the guest
 * @readable: there may be something to read (no EAGAIN since the last edge)
 * @hup:      the host's program has closed its end
 * @until:    when patience ends, ms of CLOCK_MONOTONIC; 0: never
 * @peer_alloc, @peer_fwd, @sent: credit for what goes to the guest (section 5.10.6.3)
 * @asked_credit: the guest knows that we wait
 * @received, @forwarded, @told: credit for what comes from it; @told: what it knows of @forwarded
 * @buf:      VSOCK_BUF bytes when first needed: a ring, @used of them from @head on
 * @guest_shut, @host_shut: VIRTIO_VSOCK_SHUTDOWN_* of each side
 * @told_end: the program sees the end of what the guest sends
 */
struct conn {
	struct vsock *v;
	struct loop_src src;
	TAILQ_ENTRY(conn) all, ready;
	LIST_ENTRY(conn) hash;
	enum conn_state state;
	uint32_t guest_port, host_port;
	unsigned int due;
	bool in_ready, in_hash, readable, hup, asked_credit, told_end;
	uint64_t until;
	uint32_t peer_alloc, peer_fwd, sent;
	uint32_t received, forwarded, told;
	uint8_t *buf;
	uint32_t head, used;
	unsigned int guest_shut, host_shut;
};

/** struct stray - a packet that is answered by a reset */
struct stray {
	uint64_t cid;		/* that it was for */
	uint32_t guest_port, host_port;
	uint16_t type;
};

struct vsock {
	struct virtio_dev dev;
	struct virtio_vsock_config config;
	struct loop *loop;
	const char *path, *reach;
	struct loop_src listen;
	struct loop_timer timer;
	bool timer_on, accept_again;
	bool cut;		/* the driver is gone: connections end when the loop's thread can */
	bool event_due;		/* tell the driver that its connections are gone */
	bool tx_stalled;
	uint32_t next_port;
	unsigned int nr;
	TAILQ_HEAD(, conn) all, ready;
	LIST_HEAD(, conn) hash[VSOCK_HASH];
	struct stray stray[VSOCK_STRAYS];
	unsigned int first_stray, nr_strays;
	uint8_t bounce[VSOCK_BUF];
};

/* vsock.c */
void vsock_pump(struct vsock *v);

/* vsock_conn.c */
/** conn_find() - by its two ports; NULL: there is none */
struct conn *conn_find(struct vsock *v, uint32_t guest_port, uint32_t host_port);
/** conn_by_guest() - the guest wants to reach @host_port; NULL: it cannot */
struct conn *conn_by_guest(struct vsock *v, uint32_t guest_port, uint32_t host_port);
/** conn_accept() - take the programs that wait */
void conn_accept(struct vsock *v);
/** conn_opened() - the guest has accepted */
void conn_opened(struct conn *c);
/** conn_credit() - bytes that the guest has room for */
uint32_t conn_credit(const struct conn *c);
/** conn_from_guest() - @len bytes of v->bounce for the host's program; there is credit for them */
void conn_from_guest(struct conn *c, uint32_t len);
/** conn_guest_shut() - the guest will not send, or receive, any more */
void conn_guest_shut(struct conn *c, unsigned int flags);
/**
 * conn_to_guest() - read up to @max bytes into v->bounce
 * Return: bytes; 0: nothing now, and something else may have become due.
 */
uint32_t conn_to_guest(struct conn *c, uint32_t max);
/** conn_wants_read() - is there perhaps something to read, and may it be sent? */
bool conn_wants_read(const struct conn *c);
/** conn_due() - a packet is due */
void conn_due(struct conn *c, unsigned int due);
/** conn_update() - put it on the list of those with something for the guest, or take it off */
void conn_update(struct conn *c);
/** conn_abort() - it is over: close the host's end, reset the guest's */
void conn_abort(struct conn *c);
/** conn_free() - forget it */
void conn_free(struct conn *c);
/** conn_free_all() - forget all */
void conn_free_all(struct vsock *v);
/** conn_timer() - the timer expired */
void conn_timer(struct vsock *v);

#endif
