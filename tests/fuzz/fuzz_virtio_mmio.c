// SPDX-License-Identifier: BSD-3-Clause
/* The registers of virtio-mmio, and what they do to a device. Input: what vrig_run() takes. */
#include <linux/virtio_mmio.h>

#include "tests/fuzz/vrig.h"

static size_t host_write(void *ctx, const void *buf, size_t len)
{
	return len;
}

static void make(struct vrig *r, struct input *in)
{
	struct virtio_console_io io = { .write = host_write };
	struct err e;

	PROPERTY(!virtio_console_new(&r->env, &io, &r->dev, &e));
}

static void host(struct vrig *r, struct input *in)
{
	uint8_t how = in_u8(in);

	virtio_console_resize(r->dev, how, how);
	virtio_console_input(r->dev, "x", 1);
	if (how == 0xff)
		virtio_dev_fail(r->dev, "as the input says");
}

static const struct vrig_kind kind = { .make = make, .host = host };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	vrig_run(&kind, data, size);
	return 0;
}

void fuzz_seeds(void)
{
	static const uint16_t some[] = { 64, 0 };
	struct vrig_seed s;
	char name[] = "a";

	for (unsigned int i = 0; i < 4; i++, name[0]++) {
		vrig_seed_start(&s, i & 1, i & 2, NULL, 0);
		vrig_seed_chain(&s, 1, (uint8_t[]){ 2, 'a', 'b' }, 3, some, NULL);
		vrig_seed_kick(&s, 1);
		vrig_seed_host(&s, (uint8_t[]){ i == 3 ? 0xff : 7 }, 1);
		vrig_seed_rest(&s);
		vrig_seed_end(&s, name);
	}
	/* each register, read and written: widths 4 and 2 */
	for (unsigned int half = 0; half < 4; half++, name[0]++) {
		vrig_seed_start(&s, half & 1, half & 2, NULL, 0);
		for (uint16_t off = 0; off < 0x110; off += 4) {
			const uint8_t get[] = { 5, half & 2 ? 4 : 0, off & 0xff, off >> 8, 0 };
			const uint8_t set[] = { 5, half & 2 ? 12 : 8, off & 0xff, off >> 8, 1 };

			vrig_seed_bytes(&s, half & 1 ? set : get, 5);
		}
		vrig_seed_end(&s, name);
	}
}
