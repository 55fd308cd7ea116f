// SPDX-License-Identifier: BSD-3-Clause
#include "virtio/virtio.h"
#include "vmm/devices.h"
#include "vmm/machine.h"

#define PAGE 4096	/* of the balloon, whatever those of guest and host are */

static unsigned int balloon_count(const struct vm_config *c)
{
	return c->balloon;
}

static int balloon_make(struct machine *m, struct device_host *h, const struct virtio_env *env,
			struct virtio_dev **out, struct err *e)
{
	const uint64_t max = MIN(m->cfg->mem / PAGE, (uint64_t)UINT32_MAX);
	const struct virtio_balloon_cfg cfg = {
		.pages = m->cfg->balloon_size / PAGE,
		.max_pages = max,
		.stats_period = m->cfg->balloon_stats,
	};

	return virtio_balloon_new(env, &cfg, out, e);
}

const struct device_kind device_balloon = {
	.name = "balloon",
	.io = true,
	.count = balloon_count,
	.make = balloon_make,
};
