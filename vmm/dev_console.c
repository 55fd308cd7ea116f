// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <stdlib.h>

#include "virtio/virtio.h"
#include "vmm/core/err.h"
#include "vmm/devices.h"
#include "vmm/machine.h"
#include "vmm/port.h"

static size_t console_out(void *ctx, const void *buf, size_t len)
{
	struct machine *m = ctx;

	return m->env->out(m->env->ctx, 0, buf, len);
}

static void console_room(void *ctx)
{
	struct machine *m = ctx;

	m->env->input_room(m->env->ctx, 0);
}

/* One device has all ports; port 0 is there for those of --console-port, too, without an end. */
static unsigned int console_count(const struct vm_config *c)
{
	return c->console == CONSOLE_VIRTIO || c->nr_ports;
}

static int console_start(struct device_host *h, const struct vm_config *c, struct err *e)
{
	struct port **port = calloc(CFG_MAX_PORTS, sizeof(*port));
	int ret = 0;

	if (!port)
		return err_set(e, -ENOMEM, "no memory for console ports");
	h->priv = port;
	for (unsigned int i = 0; i < c->nr_ports && !ret; i++)
		ret = port_new(&c->port[i], i + 1, &port[i], e);
	return ret;
}

static void console_close(struct device_host *h)
{
	struct port **port = h->priv;

	for (unsigned int i = 0; port && i < CFG_MAX_PORTS; i++)
		port_free(port[i]);
	free(port);
}

static int console_make(struct machine *m, struct device_host *h, const struct virtio_env *env,
			struct virtio_dev **out, struct err *e)
{
	const struct virtio_console_io io = {
		.write = console_out,
		.readable = console_room,
		.ctx = m,
	};
	const struct vm_config *c = m->cfg;
	struct virtio_console_port ports[CFG_MAX_PORTS];
	struct port **port = h->priv;
	int ret;

	for (unsigned int i = 0; i < c->nr_ports; i++)
		ports[i] = (struct virtio_console_port){ c->port[i].name, port_io(port[i]) };
	ret = virtio_console_new_ports(env, c->console == CONSOLE_VIRTIO ? &io : NULL, ports,
				       c->nr_ports, out, e);
	for (unsigned int i = 0; i < c->nr_ports && !ret; i++)
		ret = port_attach(port[i], env->loop, *out, e);
	if (ret < 0 && *out) {
		virtio_dev_free(*out);
		*out = NULL;
	}
	m->console = *out;
	return ret;
}

const struct device_kind device_console = {
	.name = "console",
	.count = console_count,
	.start = console_start,
	.close = console_close,
	.make = console_make,
};
