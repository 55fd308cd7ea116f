// SPDX-License-Identifier: BSD-3-Clause
/*
 * Console device with one port (virtio 1.2, section 5.3).
 *
 * Output that the host does not take stays in the guest's buffer: the current chain is kept until
 * virtio_console_writable(). Input for which the guest has no buffer waits in a small buffer here;
 * when that is full the caller is told to hold back, and later that there is room again.
 */
#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/dev.h"
#include "vmm/core/err.h"

enum { RX, TX, NR_QUEUES };

#define QUEUE_SIZE	64	/* of short lines; both ends copy */
#define INPUT_ROOM	1024	/* a paste while the guest boots */
#define CHUNK		1024	/* output handed to the host at a time */
/* A guest that prints without end lets the others on the loop have their turn after this. */
#define OUTPUT_BUDGET	64	/* chunks */

struct virtio_console {
	struct virtio_dev dev;
	struct virtio_console_io io;
	struct virtio_console_config config;
	struct vq_chain cur;		/* output that the host did not take in full */
	uint64_t cur_off;
	bool have_cur;
	bool blocked;			/* until virtio_console_writable() */
	bool hungry;			/* input was refused: tell when there is room */
	uint16_t input_len;
	uint8_t input[INPUT_ROOM];
};

static struct virtio_console *to_console(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_console, dev);
}

/* ---- to the guest ---- */

/* Put bytes into the guest's buffers. Returns how many fitted. */
static size_t feed(struct virtio_console *con, const uint8_t *buf, size_t len)
{
	struct vq *vq = &con->dev.queue[RX].vq;
	unsigned int budget = vq->num;
	struct vq_chain c;
	size_t done = 0;

	if (!con->dev.running || vq_begin(vq) < 0)
		return 0;
	while (done < len && budget-- && vq_pop(vq, &c) > 0) {
		uint64_t n = MIN(c.in_len, len - done);

		if (n && vq_write(vq, &c, 0, buf + done, n) < 0)
			n = 0;		/* this buffer is of no use, the next may be */
		vq_push(vq, &c.head, n);
		done += n;
	}
	if (vq->broken)
		done = len;		/* lost with the queue */
	vq_end(vq);
	return done;
}

static void rx_kick(struct virtio_console *con)
{
	size_t n = feed(con, con->input, con->input_len);

	con->input_len -= n;
	memmove(con->input, con->input + n, con->input_len);
	if (con->input_len) {
		if (n)
			virtio_dev_kick(&con->dev, RX);	/* the budget may have been the limit */
		return;
	}
	if (con->hungry) {
		con->hungry = false;
		if (con->io.readable)
			con->io.readable(con->io.ctx);
	}
}

size_t virtio_console_input(struct virtio_dev *dev, const void *buf, size_t len)
{
	struct virtio_console *con = to_console(dev);
	size_t n = 0, room;

	virtio_dev_lock(dev);
	if (!con->input_len)
		n = feed(con, buf, len);
	room = MIN(len - n, sizeof(con->input) - con->input_len);
	memcpy(con->input + con->input_len, (const uint8_t *)buf + n, room);
	con->input_len += room;
	n += room;
	con->hungry = n < len;
	virtio_dev_unlock(dev);
	return n;
}

/* ---- from the guest ---- */

/*
 * One chunk of output. The section is left for the host's write, which may take its time. Returns
 * false if the host is full or the queue is gone.
 */
static bool put_chunk(struct virtio_console *con, struct vq *vq)
{
	uint64_t len = MIN(con->cur.out_len - con->cur_off, (uint64_t)CHUNK);
	uint8_t buf[CHUNK];
	size_t n;

	if (vq_read(vq, &con->cur, con->cur_off, buf, len) < 0) {
		con->cur_off = con->cur.out_len;	/* unreadable: the rest is dropped */
		return true;
	}
	vq_end(vq);
	n = con->io.write(con->io.ctx, buf, len);
	con->cur_off += MIN(n, len);
	con->blocked = !n;
	return vq_begin(vq) == 0;
}

static void tx_kick(struct virtio_console *con)
{
	struct vq *vq = &con->dev.queue[TX].vq;
	unsigned int budget = OUTPUT_BUDGET;

	if (con->blocked || vq_begin(vq) < 0)
		return;
	if (con->cur.head.epoch != vq->epoch)
		con->have_cur = false;	/* of a queue that was stopped */
	for (;;) {
		if (!budget--) {
			virtio_dev_kick(&con->dev, TX);
			break;
		}
		if (!con->have_cur) {
			if (vq_pop(vq, &con->cur) <= 0)
				break;
			con->have_cur = true;
			con->cur_off = 0;
		}
		if (con->cur_off < con->cur.out_len && !put_chunk(con, vq))
			return;		/* there is no section any more */
		if (con->cur_off == con->cur.out_len) {
			vq_push(vq, &con->cur.head, 0);
			con->have_cur = false;
		}
		if (con->blocked)
			break;
	}
	vq_end(vq);
}

void virtio_console_writable(struct virtio_dev *dev)
{
	struct virtio_console *con = to_console(dev);

	virtio_dev_lock(dev);
	con->blocked = false;
	if (dev->running)
		tx_kick(con);
	virtio_dev_unlock(dev);
}

/* ---- the rest ---- */

void virtio_console_resize(struct virtio_dev *dev, uint16_t cols, uint16_t rows)
{
	struct virtio_console *con = to_console(dev);

	virtio_dev_lock(dev);
	if (con->config.cols != cols || con->config.rows != rows) {
		con->config.cols = cols;
		con->config.rows = rows;
		virtio_dev_config_changed(dev);
	}
	virtio_dev_unlock(dev);
}

static void console_kick(struct virtio_dev *dev, unsigned int q)
{
	if (q == RX)
		rx_kick(to_console(dev));
	else
		tx_kick(to_console(dev));
}

static void console_reset(struct virtio_dev *dev)
{
	/* Input that nobody read yet is kept: the next driver may want it. */
	to_console(dev)->have_cur = false;
}

static void console_free(struct virtio_dev *dev)
{
	virtio_dev_destroy(dev);
	free(to_console(dev));
}

static const struct virtio_dev_ops console_ops = {
	.id = VIRTIO_ID_CONSOLE,
	.kick = console_kick,
	.reset = console_reset,
	.free = console_free,
};

int virtio_console_new(const struct virtio_env *env, const struct virtio_console_io *io,
		       struct virtio_dev **out, struct err *e)
{
	struct virtio_console *con = calloc(1, sizeof(*con));
	const struct virtio_dev_init init = {
		.name = "virtio-console",
		.ops = &console_ops,
		.env = env,
		.features = VIRTIO_F(VIRTIO_CONSOLE_F_SIZE),
		.config = con ? &con->config : NULL,
		.config_len = sizeof(struct virtio_console_config),
		.nr_queues = NR_QUEUES,
		.queue_size = QUEUE_SIZE,
	};
	int ret;

	*out = NULL;
	if (!con)
		return err_set(e, -ENOMEM, "virtio-console: no memory");
	con->io = *io;
	con->config.max_nr_ports = 1;
	ret = virtio_dev_init(&con->dev, &init, e);
	if (ret < 0) {
		free(con);
		return ret;
	}
	*out = &con->dev;
	return 0;
}
