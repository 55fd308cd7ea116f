// SPDX-License-Identifier: BSD-3-Clause
/*
 * A stream socket whose peer sends and takes frames, each with its length before it: passt.
 *
 * What arrives is read many frames at a time. What is sent goes out many frames at a time, too;
 * if the socket takes a frame in part, the rest is kept here, so that the next one begins where the
 * peer expects it.
 *
 * Receiving and sending are independent of each other: a thread each is fine.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "virtio/netif_int.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"

/* #syscalls main,io?net: recvfrom sendmsg */

#define PREFIX	4
/* Room for the largest frame and, mostly, many others. */
#define RX_ROOM	(2 * (PREFIX + NET_FRAME_MAX))

struct netif_stream {
	size_t begin, end;		/* of what is in @rx */
	bool drained;			/* the last read took all there was */
	size_t rest_begin, rest_end;	/* of what is in @rest */
	uint32_t prefix[NETIF_BATCH];
	uint8_t rest[PREFIX + NET_FRAME_MAX];
	uint8_t rx[RX_ROOM];
};

int netif_stream_new(int fd, const char *name, struct netif **out, struct err *e)
{
	struct netif *nif;
	int flags = fcntl(fd, F_GETFL);

	*out = NULL;
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_set(e, -errno, "network %s: %s", name, strerror(errno));
	nif = netif_new(NETIF_STREAM, name, e);
	if (!nif)
		return -ENOMEM;
	nif->stream = calloc(1, sizeof(*nif->stream));
	if (!nif->stream) {
		netif_close(nif);
		return err_set(e, -ENOMEM, "network: no memory");
	}
	nif->fd[nif->pairs++] = fd;
	*out = nif;
	return 0;
}

static int lost(struct netif *nif, const char *why)
{
	if (!atomic_exchange(&nif->gone, true))
		log_warning("network %s: %s; its link is down from now on", nif->name, why);
	return -EPIPE;
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Return: 0: there is more now, or a negative errno */
static int fill(struct netif *nif)
{
	struct netif_stream *s = nif->stream;
	size_t room;
	ssize_t n;

	if (s->drained)
		return -EAGAIN;
	memmove(s->rx, s->rx + s->begin, s->end - s->begin);
	s->end -= s->begin;
	s->begin = 0;
	room = sizeof(s->rx) - s->end;
	nif->rx_calls++;
	do
		n = recv(nif->fd[0], s->rx + s->end, room, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return -EAGAIN;
	if (n <= 0)
		return lost(nif, n ? strerror(errno) : "the other end has closed the connection");
	s->end += n;
	/* epoll(7): less than asked for means that the socket is empty; saves a call */
	s->drained = (size_t)n < room;
	return 0;
}

ssize_t netif_stream_frame(struct netif *nif, const uint8_t **frame)
{
	struct netif_stream *s = nif->stream;
	uint32_t len;
	int ret;

	if (nif->gone)
		return -EPIPE;
	for (;;) {
		size_t have = s->end - s->begin;

		if (have >= PREFIX) {
			memcpy(&len, s->rx + s->begin, PREFIX);
			len = ntohl(len);
			if (len < NET_FRAME_MIN || len > NET_FRAME_MAX)
				return lost(nif, "it sent a frame of an impossible length");
			if (have - PREFIX >= len) {
				*frame = s->rx + s->begin + PREFIX;
				return len;
			}
		}
		ret = fill(nif);
		if (ret < 0)
			return ret;
	}
}

void netif_stream_event(struct netif *nif)
{
	nif->stream->drained = false;
}

void netif_stream_hangup(struct netif *nif)
{
	lost(nif, "the other end has closed the connection");
}

void netif_stream_next(struct netif *nif)
{
	struct netif_stream *s = nif->stream;
	uint32_t len;

	memcpy(&len, s->rx + s->begin, PREFIX);
	s->begin += PREFIX + ntohl(len);
}

/* ---- sending --------------------------------------------------------------------------------- */

static ssize_t send_some(struct netif *nif, struct iovec *iov, size_t nr)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = nr };
	ssize_t n;

	nif->tx_calls++;
	do
		n = sendmsg(nif->fd[0], &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* What is left of a frame that was sent in part. */
static int send_rest(struct netif *nif)
{
	struct netif_stream *s = nif->stream;
	ssize_t n;

	while (s->rest_begin < s->rest_end) {
		struct iovec iov = { s->rest + s->rest_begin, s->rest_end - s->rest_begin };

		n = send_some(nif, &iov, 1);
		if (n < 0)
			return n;
		s->rest_begin += n;
	}
	return 0;
}

/* Keep a frame from @off on. */
static void keep_rest(struct netif_stream *s, const struct iovec *iov, unsigned int cnt, size_t off)
{
	s->rest_begin = s->rest_end = 0;
	for (; cnt; cnt--, iov++) {
		if (off >= iov->iov_len) {
			off -= iov->iov_len;
			continue;
		}
		memcpy(s->rest + s->rest_end, (const uint8_t *)iov->iov_base + off,
		       iov->iov_len - off);
		s->rest_end += iov->iov_len - off;
		off = 0;
	}
}

ssize_t netif_stream_send(struct netif *nif, struct iovec *iov, const unsigned int *cnt,
			  const uint32_t *len, unsigned int nr)
{
	struct netif_stream *s = nif->stream;
	unsigned int total = 0, done = 0;
	ssize_t n;

	if (nif->gone)
		return -EPIPE;
	n = send_rest(nif);
	for (unsigned int i = 0; i < nr && n >= 0; i++) {
		s->prefix[i] = htonl(len[i]);
		iov[total] = (struct iovec){ &s->prefix[i], PREFIX };
		total += cnt[i];
	}
	if (n >= 0)
		n = send_some(nif, iov, total);
	if (n == -EFAULT)
		return nr;		/* memory that is not there any more: dropped */
	if (n == -EAGAIN)
		return n;
	if (n < 0)
		return lost(nif, strerror(-n));
	for (; done < nr && (size_t)n >= PREFIX + len[done]; done++) {
		n -= PREFIX + len[done];
		iov += cnt[done];
	}
	if (n) {
		keep_rest(s, iov, cnt[done], n);
		done++;
	}
	return done;
}
