// SPDX-License-Identifier: BSD-3-Clause
#include "virtio/virtio.h"
#include "vmm/devices.h"
#include "vmm/machine.h"

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

static unsigned int console_count(const struct vm_config *c)
{
	return c->console == CONSOLE_VIRTIO;
}

static int console_make(struct machine *m, struct device_host *h, const struct virtio_env *env,
			struct virtio_dev **out, struct err *e)
{
	struct virtio_console_io io = {
		.write = console_out,
		.readable = console_room,
		.ctx = m,
	};
	int ret = virtio_console_new(env, &io, out, e);

	m->console = *out;
	return ret;
}

const struct device_kind device_console = {
	.name = "console",
	.count = console_count,
	.make = console_make,
};
