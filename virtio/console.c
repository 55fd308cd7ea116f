// SPDX-License-Identifier: BSD-3-Clause
/*
 * Console device (virtio 1.2, section 5.3): one port without VIRTIO_CONSOLE_F_MULTIPORT, up to 16
 * with it.
 *
 * Output that the host does not take stays in the guest's buffer: the current chain is kept until
 * virtio_console_writable(). Input for which the guest has no buffer waits in a small buffer here;
 * when that is full the caller is told to hold back, and later that there is room again.
 *
 * What the guest has to be told of a port is kept as a set of messages that are due, not as a list,
 * so however often a port opens and closes, a guest that takes no messages costs nothing.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/dev.h"
#include "vmm/core/err.h"

/* Queues: two of port 0, two of messages, then two of each other port. */
enum { RX, TX, CTRL_RX, CTRL_TX, OTHERS };

#define QUEUE_SIZE	64	/* of short lines; both ends copy */
/* Linux fills receive queues with pages, and in a realm their copies come from a small pool. */
#define QUEUE_SIZE_REALM 16
#define QUEUE_SIZE_PORTS 8	/* of a realm with more than one port */
#define INPUT_ROOM	1024	/* a paste while the guest boots */
#define CHUNK		1024	/* output handed to the host at a time */
/* A guest that prints without end lets the others on the loop have their turn after this. */
#define OUTPUT_BUDGET	64	/* chunks */

/* Messages that are due, in the order in which they are sent. */
enum due {
	DUE_ADD = 1 << 0,
	DUE_CONSOLE = 1 << 1,
	DUE_NAME = 1 << 2,
	DUE_CLOSE = 1 << 3,
	DUE_OPEN = 1 << 4,
	DUE_RESIZE = 1 << 5,
};

/**
 * struct port - a port
 * @exists: the host has an end for it
 * @console: it is a terminal, not a plain stream
 * @ready:  the guest has made it (PORT_READY)
 * @guest_open: somebody in the guest listens
 * @host_open, @told_open: somebody on the host listens, and what the guest knows of it
 * @due:    messages, see enum due
 * @cur, @cur_off, @have_cur: output that the host did not take in full
 * @blocked: until virtio_console_writable()
 * @hungry: input was refused: tell when there is room
 */
struct port {
	struct virtio_console_io io;
	char name[VIRTIO_CONSOLE_NAME_MAX + 1];
	bool exists, console;
	bool ready, guest_open, host_open, told_open;
	unsigned int due;
	uint16_t cols, rows;
	struct vq_chain cur;
	uint64_t cur_off;
	bool have_cur, blocked, hungry;
	uint16_t input_len;
	uint8_t input[INPUT_ROOM];
};

struct virtio_console {
	struct virtio_dev dev;
	struct virtio_console_config config;
	unsigned int nr;
	struct port port[];
};

static struct virtio_console *to_console(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_console, dev);
}

static struct vq *rx_of(struct virtio_console *con, unsigned int n)
{
	return &con->dev.queue[n ? OTHERS + 2 * (n - 1) : RX].vq;
}

static struct vq *tx_of(struct virtio_console *con, unsigned int n)
{
	return &con->dev.queue[n ? OTHERS + 2 * (n - 1) + 1 : TX].vq;
}

static bool multiport(const struct virtio_console *con)
{
	return con->dev.driver_features & VIRTIO_F(VIRTIO_CONSOLE_F_MULTIPORT);
}

/* ---- to the guest ---- */

/* Put bytes into the guest's buffers. Returns how many fitted. */
static size_t feed(struct virtio_console *con, unsigned int n, const uint8_t *buf, size_t len)
{
	struct vq *vq = rx_of(con, n);
	unsigned int budget = vq->num;
	struct vq_chain c;
	size_t done = 0;

	/* Nobody reads yet (section 5.3.6.2): the driver would throw it away. */
	if (!con->dev.running || (multiport(con) && !con->port[n].guest_open) || vq_begin(vq) < 0)
		return 0;
	while (done < len && budget-- && vq_pop(vq, &c) > 0) {
		uint64_t take = MIN(c.in_len, len - done);

		if (take && vq_write(vq, &c, 0, buf + done, take) < 0)
			take = 0;	/* this buffer is of no use, the next may be */
		vq_push(vq, &c.head, take);
		done += take;
	}
	if (vq->broken)
		done = len;		/* lost with the queue */
	vq_end(vq);
	return done;
}

static void rx_kick(struct virtio_console *con, unsigned int n)
{
	struct port *p = &con->port[n];
	size_t done = feed(con, n, p->input, p->input_len);

	p->input_len -= done;
	memmove(p->input, p->input + done, p->input_len);
	if (p->input_len) {
		if (done)	/* the budget may have been the limit */
			virtio_dev_kick(&con->dev, rx_of(con, n)->index);
		return;
	}
	if (p->hungry) {
		p->hungry = false;
		if (p->io.readable)
			p->io.readable(p->io.ctx);
	}
}

size_t virtio_console_port_input(struct virtio_dev *dev, unsigned int n, const void *buf,
				 size_t len)
{
	struct virtio_console *con = to_console(dev);
	struct port *p = &con->port[n];
	size_t done = 0, room;

	virtio_dev_lock(dev);
	if (!p->input_len)
		done = feed(con, n, buf, len);
	room = MIN(len - done, sizeof(p->input) - p->input_len);
	memcpy(p->input + p->input_len, (const uint8_t *)buf + done, room);
	p->input_len += room;
	done += room;
	p->hungry = done < len;
	virtio_dev_unlock(dev);
	return done;
}

size_t virtio_console_input(struct virtio_dev *dev, const void *buf, size_t len)
{
	return virtio_console_port_input(dev, 0, buf, len);
}

/* ---- from the guest ---- */

/*
 * One chunk of output. The section is left for the host's write, which may take its time. Returns
 * false if the host is full or the queue is gone.
 */
static bool put_chunk(struct port *p, struct vq *vq)
{
	uint64_t len = MIN(p->cur.out_len - p->cur_off, (uint64_t)CHUNK);
	uint8_t buf[CHUNK];
	size_t n;

	if (vq_read(vq, &p->cur, p->cur_off, buf, len) < 0) {
		p->cur_off = p->cur.out_len;	/* unreadable: the rest is dropped */
		return true;
	}
	vq_end(vq);
	n = p->exists ? p->io.write(p->io.ctx, buf, len) : len;
	p->cur_off += MIN(n, len);
	p->blocked = !n;
	return vq_begin(vq) == 0;
}

static void tx_kick(struct virtio_console *con, unsigned int n)
{
	struct port *p = &con->port[n];
	struct vq *vq = tx_of(con, n);
	unsigned int budget = OUTPUT_BUDGET;

	if (p->blocked || vq_begin(vq) < 0)
		return;
	if (p->cur.head.epoch != vq->epoch)
		p->have_cur = false;	/* of a queue that was stopped */
	for (;;) {
		if (!budget--) {
			virtio_dev_kick(&con->dev, vq->index);
			break;
		}
		if (!p->have_cur) {
			if (vq_pop(vq, &p->cur) <= 0)
				break;
			p->have_cur = true;
			p->cur_off = 0;
		}
		if (p->cur_off < p->cur.out_len && !put_chunk(p, vq))
			return;		/* there is no section any more */
		if (p->cur_off == p->cur.out_len) {
			vq_push(vq, &p->cur.head, 0);
			p->have_cur = false;
		}
		if (p->blocked)
			break;
	}
	vq_end(vq);
}

void virtio_console_port_writable(struct virtio_dev *dev, unsigned int n)
{
	struct virtio_console *con = to_console(dev);

	virtio_dev_lock(dev);
	con->port[n].blocked = false;
	if (dev->running && (!n || multiport(con)))
		tx_kick(con, n);
	virtio_dev_unlock(dev);
}

void virtio_console_writable(struct virtio_dev *dev)
{
	virtio_console_port_writable(dev, 0);
}

/* Works before anything is negotiated (section 5.3.4). */
static void console_config_write(struct virtio_dev *dev, uint32_t off, unsigned int len,
				 uint32_t val)
{
	struct port *p = &to_console(dev)->port[0];
	uint8_t c = val;

	(void)len;
	if (off == offsetof(struct virtio_console_config, emerg_wr) && p->exists)
		p->io.write(p->io.ctx, &c, 1);	/* if there is no room it is lost */
}

/* ---- messages (section 5.3.6.2) ---- */

/**
 * struct message - what is put into one buffer of the guest
 * @id, @event, @value: little-endian, as struct virtio_console_control
 * @more: cols and rows, or a name without a 0
 */
struct message {
	__le32 id;
	__le16 event, value;
	uint8_t more[VIRTIO_CONSOLE_NAME_MAX];
};

/* The first message that is due. Returns its length. */
static size_t next_message(const struct port *p, unsigned int n, struct message *m,
			   unsigned int *which)
{
	static const uint16_t event[] = {
		VIRTIO_CONSOLE_PORT_ADD, VIRTIO_CONSOLE_CONSOLE_PORT, VIRTIO_CONSOLE_PORT_NAME,
		VIRTIO_CONSOLE_PORT_OPEN, VIRTIO_CONSOLE_PORT_OPEN, VIRTIO_CONSOLE_RESIZE,
	};
	size_t more = 0;

	*which = p->due & -p->due;
	*m = (struct message){
		.id = htole32(n),
		.event = htole16(event[__builtin_ctz(*which)]),
		.value = htole16(*which != DUE_CLOSE),
	};
	if (*which == DUE_RESIZE) {
		const __le16 size[] = { htole16(p->cols), htole16(p->rows) };

		more = sizeof(size);
		memcpy(m->more, size, more);
	} else if (*which == DUE_NAME) {
		more = strlen(p->name);
		memcpy(m->more, p->name, more);
	}
	return offsetof(struct message, more) + more;
}

/* Send what is due, as far as the guest has buffers for it. */
static void send_messages(struct virtio_console *con)
{
	unsigned int budget, which, n = 0;
	struct vq_chain c;
	struct message m;
	struct vq *vq;
	size_t len;

	while (n < con->nr && !con->port[n].due)
		n++;
	if (n == con->nr || !con->dev.running || !multiport(con))
		return;
	/* a console of one port has no such queue */
	vq = &con->dev.queue[CTRL_RX].vq;
	budget = vq->num;
	if (vq_begin(vq) < 0)
		return;
	while (n < con->nr && budget-- && vq_pop(vq, &c) > 0) {
		len = next_message(&con->port[n], n, &m, &which);
		if (vq_write(vq, &c, 0, &m, len) < 0) {
			vq_push(vq, &c.head, 0);	/* too short, or private: the next may do */
			continue;
		}
		vq_push(vq, &c.head, len);
		con->port[n].due &= ~which;
		while (n < con->nr && !con->port[n].due)
			n++;
	}
	vq_end(vq);
}

static void say_open(struct port *p)
{
	if (!p->ready)
		return;
	if (p->host_open) {
		p->due |= DUE_OPEN;
	} else {
		if (p->told_open)
			p->due |= DUE_CLOSE;
		p->due &= ~DUE_OPEN;
	}
	p->told_open = p->host_open;
}

static void forget(struct port *p)
{
	p->ready = p->guest_open = p->told_open = false;
	p->due = 0;
}

static void port_ready(struct port *p, bool ok)
{
	forget(p);
	if (!ok)
		return;
	p->ready = true;
	if (p->console)
		p->due |= DUE_CONSOLE | (p->cols ? DUE_RESIZE : 0);
	if (p->name[0])
		p->due |= DUE_NAME;
	say_open(p);
}

static void message(struct virtio_console *con, const struct virtio_console_control *m)
{
	uint32_t id = le32toh(m->id);
	uint16_t event = le16toh(m->event), value = le16toh(m->value);

	if (event == VIRTIO_CONSOLE_DEVICE_READY) {
		for (unsigned int n = 0; n < con->nr; n++) {
			forget(&con->port[n]);
			if (value && con->port[n].exists)
				con->port[n].due = DUE_ADD;
		}
		return;
	}
	if (id >= con->nr || !con->port[id].exists) {
		log_rated(&con->dev.rate, LOG_WARNING, "%s: the driver speaks of port %u, which "
			  "there is not", con->dev.name, id);
		return;
	}
	switch (event) {
	case VIRTIO_CONSOLE_PORT_READY:
		if (value != 1)
			log_rated(&con->dev.rate, LOG_WARNING, "%s: the driver cannot make port %u",
				  con->dev.name, id);
		port_ready(&con->port[id], value == 1);
		break;
	case VIRTIO_CONSOLE_PORT_OPEN:
		con->port[id].guest_open = value != 0;
		if (value)
			rx_kick(con, id);
		break;
	default:
		log_rated(&con->dev.rate, LOG_WARNING, "%s: the driver sends message %u of port %u, "
			  "which nobody knows", con->dev.name, event, id);
	}
}

static void ctrl_kick(struct virtio_console *con)
{
	struct vq *vq = &con->dev.queue[CTRL_TX].vq;
	struct virtio_console_control m;
	struct vq_chain c;
	bool got;

	/* A section for each: a message may have an answer in another queue. */
	for (unsigned int i = 0; i < vq->num; i++) {
		if (vq_begin(vq) < 0)
			return;
		if (vq_pop(vq, &c) <= 0) {
			vq_end(vq);
			send_messages(con);
			return;
		}
		got = !vq_read(vq, &c, 0, &m, sizeof(m));
		vq_push(vq, &c.head, 0);
		vq_end(vq);
		if (got)
			message(con, &m);
	}
	virtio_dev_kick(&con->dev, CTRL_TX);	/* the others on the loop first */
	send_messages(con);
}

void virtio_console_port_open(struct virtio_dev *dev, unsigned int n, bool open)
{
	struct virtio_console *con = to_console(dev);
	struct port *p = &con->port[n];

	virtio_dev_lock(dev);
	if (p->host_open != open) {
		p->host_open = open;
		say_open(p);
		send_messages(con);
	}
	virtio_dev_unlock(dev);
}

/* ---- the rest ---- */

void virtio_console_port_resize(struct virtio_dev *dev, unsigned int n, uint16_t cols,
				uint16_t rows)
{
	struct virtio_console *con = to_console(dev);
	struct port *p = &con->port[n];

	virtio_dev_lock(dev);
	if (p->cols != cols || p->rows != rows) {
		p->cols = cols;
		p->rows = rows;
		if (p->ready && p->console) {
			p->due |= DUE_RESIZE;
			send_messages(con);
		}
		if (!n) {
			con->config.cols = htole16(cols);
			con->config.rows = htole16(rows);
			virtio_dev_config_changed(dev);
		}
	}
	virtio_dev_unlock(dev);
}

void virtio_console_resize(struct virtio_dev *dev, uint16_t cols, uint16_t rows)
{
	virtio_console_port_resize(dev, 0, cols, rows);
}

static void console_kick(struct virtio_dev *dev, unsigned int q)
{
	struct virtio_console *con = to_console(dev);

	if (q == RX)
		rx_kick(con, 0);
	else if (q == TX)
		tx_kick(con, 0);
	else if (!multiport(con))
		return;
	else if (q == CTRL_RX)
		send_messages(con);
	else if (q == CTRL_TX)
		ctrl_kick(con);
	else if (q & 1)
		tx_kick(con, (q - OTHERS) / 2 + 1);
	else
		rx_kick(con, (q - OTHERS) / 2 + 1);
}

static void console_reset(struct virtio_dev *dev)
{
	struct virtio_console *con = to_console(dev);

	for (unsigned int n = 0; n < con->nr; n++) {
		/* Input that nobody read yet is kept: the next driver may want it. */
		con->port[n].have_cur = false;
		forget(&con->port[n]);
	}
}

static void console_free(struct virtio_dev *dev)
{
	struct virtio_console *con = to_console(dev);

	for (unsigned int n = 0; n < con->nr; n++)
		if (con->port[n].exists && con->port[n].io.gone)
			con->port[n].io.gone(con->port[n].io.ctx);
	virtio_dev_destroy(dev);
	free(con);
}

static const struct virtio_dev_ops console_ops = {
	.id = VIRTIO_ID_CONSOLE,
	.kick = console_kick,
	.reset = console_reset,
	.config_write = console_config_write,
	.free = console_free,
};

static void add_port(struct port *p, const struct virtio_console_io *io, const char *name)
{
	p->exists = true;
	p->console = !name;
	p->io = *io;
	snprintf(p->name, sizeof(p->name), "%s", name ? name : "");
}

int virtio_console_new_ports(const struct virtio_env *env, const struct virtio_console_io *io,
			     const struct virtio_console_port *port, unsigned int nr,
			     struct virtio_dev **out, struct err *e)
{
	struct virtio_console *con = calloc(1, sizeof(*con) + (nr + 1) * sizeof(con->port[0]));
	const struct virtio_dev_init init = {
		.name = "virtio-console",
		.ops = &console_ops,
		.env = env,
		.features = VIRTIO_F(VIRTIO_CONSOLE_F_SIZE) |
			    VIRTIO_F(VIRTIO_CONSOLE_F_EMERG_WRITE) |
			    (nr ? VIRTIO_F(VIRTIO_CONSOLE_F_MULTIPORT) : 0),
		.config = con ? &con->config : NULL,
		.config_len = sizeof(struct virtio_console_config),
		.nr_queues = nr ? OTHERS + 2 * nr : CTRL_RX,
		.queue_size = !env->realm ? QUEUE_SIZE : nr ? QUEUE_SIZE_PORTS : QUEUE_SIZE_REALM,
		.in_order = true,
	};
	int ret;

	*out = NULL;
	if (!con)
		return err_set(e, -ENOMEM, "virtio-console: no memory");
	con->nr = nr + 1;
	con->config.max_nr_ports = htole32(nr + 1);
	if (io) {
		add_port(&con->port[0], io, NULL);
		con->port[0].host_open = true;
	}
	for (unsigned int n = 0; n < nr; n++)
		add_port(&con->port[n + 1], &port[n].io, port[n].name);
	ret = virtio_dev_init(&con->dev, &init, e);
	if (ret < 0) {
		free(con);
		return ret;
	}
	*out = &con->dev;
	return 0;
}

int virtio_console_new(const struct virtio_env *env, const struct virtio_console_io *io,
		       struct virtio_dev **out, struct err *e)
{
	return virtio_console_new_ports(env, io, NULL, 0, out, e);
}
