// SPDX-License-Identifier: BSD-3-Clause
#include "virtio/virtio.h"
#include "vmm/devices.h"

static unsigned int rng_count(const struct vm_config *c)
{
	return c->rng;
}

static int rng_make(struct machine *m, struct device_host *h, const struct virtio_env *env,
		    struct virtio_dev **out, struct err *e)
{
	return virtio_rng_new(env, out, e);
}

const struct device_kind device_rng = {
	.name = "rng",
	.count = rng_count,
	.make = rng_make,
};
