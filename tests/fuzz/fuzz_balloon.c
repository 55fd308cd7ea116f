// SPDX-License-Identifier: BSD-3-Clause
/* The memory balloon. Input: what vrig_run() takes; the host sets its size, asks for statistics. */
#include <errno.h>
#include <linux/virtio_balloon.h>

#include "tests/fuzz/vrig.h"

enum { INFLATE, DEFLATE, STATS, REPORT };

static void make(struct vrig *r, struct input *in)
{
	struct virtio_balloon_cfg cfg = {
		.pages = in_u8(in), .max_pages = RIG_PAGES, .stats_period = in_u8(in) & 1,
	};
	struct err e;

	PROPERTY(!virtio_balloon_new(&r->env, &cfg, &r->dev, &e));
}

/* Frame numbers, of pages that are there for preference; or statistics. */
static size_t fill(struct vrig *r, struct input *in, unsigned int q, uint8_t *buf, size_t room)
{
	uint8_t how = in_u8(in);
	unsigned int n = how & 15;
	size_t len = 0;

	for (unsigned int i = 0; i < n; i++) {
		if (q == STATS) {
			struct virtio_balloon_stat st = { in_u8(in) % 20, in_u64(in) };

			memcpy(buf + len, &st, sizeof(st));
			len += sizeof(st);
		} else {
			uint32_t pfn = how & 0x10 ? in_u32(in) :
				       RIG_DATA / RIG_PAGE + in_u8(in) % 44;

			memcpy(buf + len, &pfn, sizeof(pfn));
			len += sizeof(pfn);
		}
	}
	if (how & 0x20 && len)
		len -= 1 + in_u8(in) % len;
	return len;
}

static void host(struct vrig *r, struct input *in)
{
	struct virtio_balloon_stats st;
	uint8_t how = in_u8(in);
	uint64_t pages = in_u8(in);
	int ret;

	switch (how & 3) {
	case 0:
		ret = virtio_balloon_set(r->dev, pages);
		PROPERTY(ret == (pages <= RIG_PAGES ? 0 : -ERANGE));
		break;
	case 1:
		virtio_balloon_ask(r->dev);
		break;
	default:
		virtio_balloon_stats(r->dev, &st);
		PROPERTY(st.target <= RIG_PAGES);
		break;
	}
}

static const struct vrig_kind kind = {
	.make = make, .fill = fill, .host = host, .no_realm = true,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	vrig_run(&kind, data, size);
	return 0;
}

void fuzz_seeds(void)
{
	static const uint16_t page[] = { 4096, 8192, 0 };
	/* three values: tag, 8 bytes */
	static const uint8_t stats[28] = { 3, 0, 1, [10] = 4, 2, [19] = 15, 3 };
	struct vrig_seed s;
	char name[] = "a";

	for (unsigned int i = 0; i < 4; i++, name[0]++) {
		vrig_seed_start(&s, false, i & 1, (uint8_t[]){ 10, i & 1 }, 2);
		vrig_seed_chain(&s, INFLATE, (uint8_t[]){ 4, 20, 21, 22, 30 }, 5, NULL, NULL);
		vrig_seed_chain(&s, INFLATE, (uint8_t[]){ 0x12, 1, 0, 0, 0, 255, 255, 255, 255 }, 9,
			       NULL, NULL);
		vrig_seed_kick(&s, INFLATE);
		vrig_seed_host(&s, (uint8_t[]){ 0, 20 }, 2);
		vrig_seed_config(&s, offsetof(struct virtio_balloon_config, actual), 20);
		vrig_seed_chain(&s, DEFLATE, (uint8_t[]){ 2, 20, 21 }, 3, NULL, NULL);
		vrig_seed_kick(&s, DEFLATE);
		for (unsigned int n = 0; n < 2; n++) {
			vrig_seed_chain(&s, STATS, stats, sizeof(stats), NULL, NULL);
			vrig_seed_kick(&s, STATS);
			vrig_seed_host(&s, (uint8_t[]){ 1, 0 }, 2);
			vrig_seed_host(&s, (uint8_t[]){ 2, 0 }, 2);
		}
		vrig_seed_chain(&s, REPORT, (uint8_t[]){ 0 }, 1, NULL, page);
		vrig_seed_kick(&s, REPORT);
		if (i & 2)
			vrig_seed_restart(&s, RIG_F(VIRTIO_BALLOON_F_STATS_VQ) |
					     RIG_F(VIRTIO_BALLOON_F_DEFLATE_ON_OOM));
		vrig_seed_chain(&s, INFLATE, (uint8_t[]){ 2, 20, 21 }, 3, NULL, NULL);
		vrig_seed_chain(&s, 2, (uint8_t[]){ 0 }, 1, NULL, page);
		vrig_seed_kick(&s, INFLATE);
		vrig_seed_kick(&s, 2);
		vrig_seed_rest(&s);
		vrig_seed_end(&s, name);
	}
}
