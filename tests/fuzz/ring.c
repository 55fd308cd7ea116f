// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>

#include "tests/fuzz/ring.h"

#define MAX_ACTIONS	256
#define HELD		256	/* chains that the device has */
#define MAX_NUM		128

enum action { CHAIN, SECTION, POP, PUSH, COPY, REWIND, ASK, POKE, CONVERT, RESET, BASE, ACTIONS };

/**
 * struct device - what there is to know of its queue
 * @pushed, @seen: chains given back, and interrupts
 * @clean: the driver has kept to the rules
 */
struct device {
	struct vrig rig;
	struct vq vq;
	bool section, last_held, clean;
	struct vq_head held[HELD];
	unsigned int nr_held, pushed, broken;
	struct vq_chain chain;
	bool have_chain;
};

static void notify(struct vq *vq)
{
	PROPERTY(vq->ready && !vq->broken);
}

static void broken(struct vq *vq, const char *why)
{
	struct device *d = container_of(vq, struct device, vq);

	PROPERTY(why[0] && vq->broken);
	PROPERTY(!d->broken);		/* told once */
	d->broken++;
}

static const struct vq_ops ops = { notify, broken };

static void leave(struct device *d)
{
	if (d->section)
		vq_end(&d->vq);
	d->section = d->have_chain = false;
}

static void forget(struct device *d)
{
	leave(d);
	d->nr_held = d->pushed = d->broken = 0;
	d->last_held = false;
}

static void start(struct device *d, struct input *in)
{
	static const uint8_t sizes[] = { 8, 16, 1, 128, 4, 64, 3, 0 };
	uint8_t how = in_u8(in);
	const struct vrig_ring *g = &d->rig.ring[0];
	uint64_t f = d->rig.packed ? RIG_F(VIRTIO_F_RING_PACKED) : 0;
	int ret;

	forget(d);
	vq_disable(&d->vq);
	d->clean = !(how & 0x40) && !d->rig.is_private[0] && !d->rig.is_private[1];
	f |= how & 0x08 ? RIG_F(VIRTIO_RING_F_EVENT_IDX) : 0;
	f |= how & 0x10 ? RIG_F(VIRTIO_RING_F_INDIRECT_DESC) : 0;
	f |= how & 0x20 ? RIG_F(VIRTIO_F_IN_ORDER) : 0;
	vrig_lay(&d->rig, 0, sizes[how & 7]);
	d->vq.num = g->num;
	d->vq.desc_addr = g->desc;
	d->vq.driver_addr = g->driver;
	d->vq.device_addr = g->device;
	if (how & 0x40) {		/* anywhere */
		d->vq.num = in_u16(in);
		d->vq.desc_addr += in_u16(in) * UINT64_C(4);
		d->vq.driver_addr += in_u16(in) * UINT64_C(2);
		d->vq.device_addr += in_u16(in);
		if (how & 0x80)
			d->vq.desc_addr = in_u64(in);
	}
	ret = vq_enable(&d->vq, f);
	PROPERTY(ret == 0 || ret == -EINVAL);
	PROPERTY(!ret == (d->vq.ready && !d->vq.broken));
}

/* What a device may rely on, whatever the driver wrote. */
static void check_chain(const struct vq *vq, const struct vq_chain *c)
{
	uint64_t sum[2] = { 0 };

	PROPERTY(c->nr_out + c->nr_in <= VQ_CHAIN_MAX);
	for (unsigned int i = 0; i < (unsigned int)c->nr_out + c->nr_in; i++) {
		PROPERTY(c->seg[i].len && c->seg[i].addr + c->seg[i].len - 1 >= c->seg[i].addr);
		sum[i >= c->nr_out] += c->seg[i].len;
	}
	PROPERTY(sum[0] == c->out_len && sum[1] == c->in_len);
	PROPERTY(sum[0] + sum[1] <= UINT64_C(1) << 32);
	PROPERTY(c->head.slots && c->head.slots <= vq->num && vq->inuse <= vq->num);
}

static void pop(struct device *d)
{
	int ret;

	if (!d->section)
		return;
	d->have_chain = false;
	ret = vq_pop(&d->vq, &d->chain);
	PROPERTY(ret == 1 || ret == 0 || ret == -EIO);
	PROPERTY((ret == -EIO) == d->vq.broken);
	if (ret <= 0)
		return;
	check_chain(&d->vq, &d->chain);
	PROPERTY(d->nr_held < HELD);
	d->held[d->nr_held++] = d->chain.head;
	d->have_chain = d->last_held = true;
}

/* In the order in which they came, unless the input wants another. */
static void push(struct device *d, struct input *in)
{
	uint8_t how = in_u8(in);
	unsigned int i = how & 0x80 && d->nr_held ? how % d->nr_held : 0;

	if (!d->section || !d->nr_held)
		return;
	vq_push(&d->vq, &d->held[i], how & 0x40 ? in_u64(in) : d->held[i].in_len);
	if (i == d->nr_held - 1)
		d->last_held = false;
	memmove(&d->held[i], &d->held[i + 1], (--d->nr_held - i) * sizeof(d->held[0]));
	d->have_chain = false;
	d->pushed++;
}

static void copy(struct device *d, struct input *in)
{
	static uint8_t buf[4096];
	uint8_t how = in_u8(in);
	uint64_t off = in_u16(in), len = in_u16(in) % sizeof(buf), room;
	struct vq_seg out[VQ_CHAIN_MAX];
	unsigned int n;
	int ret;

	if (!d->have_chain)
		return;
	if (how & 2)
		off &= 0xff;
	room = how & 1 ? d->chain.in_len : d->chain.out_len;
	if (how & 4) {
		/* the device asks for parts that are there only */
		off = room ? off % room : 0;
		len = MIN(len, room - off);
		n = vq_slice(&d->chain, how & 1, off, len, out);
		PROPERTY(n <= (how & 1 ? d->chain.nr_in : d->chain.nr_out));
		while (n)
			len -= out[--n].len;
		PROPERTY(!len);
		return;
	}
	ret = how & 1 ? vq_write(&d->vq, &d->chain, off, buf, len) :
			vq_read(&d->vq, &d->chain, off, buf, len);
	PROPERTY(ret <= 0 && (ret || !len || off + len <= room));
}

static void base(struct device *d, struct input *in)
{
	uint8_t how = in_u8(in);
	uint32_t pos = how & 1 ? in_u32(in) : vq_base(&d->vq);

	if (!d->vq.ready || d->vq.broken || d->vq.inuse)
		return;
	leave(d);
	if (how & 1)
		d->clean = false;
	if (d->vq.broken)
		return;
	if (!vq_set_base(&d->vq, pos) && d->clean)
		PROPERTY(vq_base(&d->vq) == pos);
}

static void act(struct device *d, struct input *in)
{
	uint8_t what = in_u8(in);

	switch (what % ACTIONS) {
	case CHAIN:
		/* the driver does not count what is free: it can overtake the device */
		vrig_chain(&d->rig, in, 0, NULL, 0);
		break;
	case SECTION:
		if (d->section)
			leave(d);
		else
			d->section = !vq_begin(&d->vq);
		break;
	case POP:
		pop(d);
		break;
	case PUSH:
		push(d, in);
		break;
	case COPY:
		copy(d, in);
		break;
	case REWIND:
		if (!d->last_held || !d->nr_held)
			break;
		vq_rewind(&d->vq, &d->held[--d->nr_held]);
		d->last_held = d->have_chain = false;
		break;
	case ASK:
		what = in_u8(in);
		if (!d->section)
			break;
		if (what & 1)
			vq_more(&d->vq);
		else
			vq_ask(&d->vq, what);
		break;
	case POKE:
		d->clean = false;
		vrig_poke(&d->rig, in);
		break;
	case CONVERT:
		what = in_u8(in);
		d->clean = false;
		leave(d);
		/* a ring's page for preference */
		vrig_convert(&d->rig, what & 0x40 ? what & 0x3f : what & 1, what & 0x80);
		break;
	case RESET:
		start(d, in);
		break;
	default:
		base(d, in);
		break;
	}
}

void ring_run(bool packed, const uint8_t *data, size_t size)
{
	static struct device d;
	struct input in = { data, size };
	uint16_t idx;

	memset(&d, 0, sizeof(d));
	d.rig.packed = packed;
	vrig_memory(&d.rig, in_u8(&in) & 1);
	vq_init(&d.vq, &ops, &d.rig.gm, "fuzz", 0, MAX_NUM);
	start(&d, &in);
	for (unsigned int i = 0; i < MAX_ACTIONS && in.left; i++)
		act(&d, &in);
	leave(&d);
	if (!packed && d.clean && d.vq.ready && !d.vq.broken && !d.vq.in_order) {
		memcpy(&idx, d.rig.ram + (d.rig.ring[0].device - RIG_RAM) + 2, 2);
		PROPERTY(idx == (uint16_t)d.vq.used);
	}
	vq_disable(&d.vq);
	vq_destroy(&d.vq);
	vrig_memory_end(&d.rig);
}

/* A chain of one piece to read and one to write; @shape: as in vrig_chain(). */
static void add(struct vrig_seed *s, uint8_t shape)
{
	const uint8_t c[] = {
		CHAIN, shape | 2, 0, 0, 64, 0, 1, shape, 1, 128, 0, 2, shape,
	};

	vrig_seed_bytes(s, c, sizeof(c));
	/* where the table is, or which descriptor gets which bit */
	if (shape & 0x20)
		vrig_seed_bytes(s, (uint8_t[]){ 0, 5 }, 2);
}

void ring_seeds(void)
{
	static const uint8_t hows[] = { 0x00, 0x08, 0x10, 0x18, 0x38, 0x28, 0x02, 0x1b };
	static const uint8_t work[] = {
		SECTION, POP, COPY, 0, 0, 0, 16, 0, COPY, 1, 0, 0, 16, 0, COPY, 5, 0, 0, 100, 0,
		COPY, 4, 3, 0, 9, 0, PUSH, 0, POP, PUSH, 0x40, 3, 0, 0, 0, 0, 0, 0, 0, POP, REWIND,
		POP, PUSH, 0, ASK, 1, ASK, 4, POP, SECTION,
	};
	static const uint8_t rest[] = {
		BASE, 0, BASE, 1, 3, 0, 3, 0, BASE, 1, 3, 0, 0, 0, POKE, 0x02, 0x40, 1, 0xff, 0x7f,
		SECTION, POP, SECTION, POKE, 0x08, 0x00, 3, 9, 9, 9, 9, SECTION, POP, POP, SECTION,
		CONVERT, 0x80, SECTION, CONVERT, 0x00, RESET, 0x50, 7, 0, 1, 0, 0, 0, 2, 0, SECTION,
		RESET, 0xc8, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	};
	struct vrig_seed s;
	char name[] = "a";

	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(hows); i++, name[0]++) {
		s.len = 0;
		vrig_seed_bytes(&s, (uint8_t[]){ i & 1, hows[i / 2] }, 2);
		for (unsigned int turn = 0; turn < 4; turn++) {
			for (unsigned int n = 0; n < 4; n++)
				add(&s, n & 1 && i & 2 ? 0x20 : 0);
			vrig_seed_bytes(&s, work, sizeof(work));
		}
		vrig_seed_bytes(&s, rest, sizeof(rest));
		fuzz_seed(name, s.buf, s.len);
	}
}
