// SPDX-License-Identifier: BSD-3-Clause
#include "tests/unit/vdriver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

static ipa_t canonical(const void *ctx, ipa_t ipa)
{
	return ipa & ~VD_SHARED;
}

static bool shared(const void *ctx, ipa_t ipa, uint64_t len)
{
	const struct vdriver *vd = ctx;

	return ipa >= vd->private_base + vd->private_len || vd->private_base >= ipa + len;
}

static void count_irq(struct irq_line *line, int level)
{
	struct vdriver *vd = line->ctx;

	if (level)
		vd->irqs++;
}

void vd_init(struct vdriver *vd, bool realm)
{
	struct err e;

	memset(vd, 0, sizeof(*vd));
	vd->realm = realm;
	assert_int_equal(gmem_init(&vd->gm, &e), 0);
	assert_int_equal(loop_init(&vd->loop, &e), 0);
	vd->ram = mmap(NULL, VD_RAM_SIZE + VD_RAM2_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(vd->ram, MAP_FAILED);
	assert_int_equal(gmem_add(&vd->gm, VD_RAM, VD_RAM_SIZE, vd->ram, -1, &e), 0);
	assert_int_equal(gmem_add(&vd->gm, VD_RAM2, VD_RAM2_SIZE, vd->ram + VD_RAM_SIZE, -1, &e),
			 0);
	if (realm)
		gmem_set_guard(&vd->gm, &(struct gmem_guard){ canonical, shared, vd });
	vd->irq = (struct irq_line){ .set = count_irq, .ctx = vd };
	vd->env = (struct virtio_env){ .gm = &vd->gm, .loop = &vd->loop, .realm = realm };
}

void vd_destroy(struct vdriver *vd)
{
	if (vd->dev) {
		virtio_dev_stop(vd->dev);
		virtio_mmio_free(vd->mmio);
		virtio_dev_free(vd->dev);
	}
	assert_null(vd->gm.pins);	/* each request gave its memory back */
	loop_destroy(&vd->loop);
	gmem_destroy(&vd->gm);
	munmap(vd->ram, VD_RAM_SIZE + VD_RAM2_SIZE);
}

void vd_attach(struct vdriver *vd, struct virtio_dev *dev)
{
	struct err e;

	vd->dev = dev;
	assert_int_equal(virtio_mmio_new(dev, &vd->bus, VD_WINDOW, &vd->irq, &vd->mmio, &e), 0);
}

void *vd_ptr(struct vdriver *vd, ipa_t ipa)
{
	ipa &= ~VD_SHARED;
	assert_in_range(ipa, VD_RAM, VD_RAM2 + VD_RAM2_SIZE - 1);
	return vd->ram + (ipa - VD_RAM);
}

uint64_t vd_access(struct vdriver *vd, uint64_t off, uint64_t val, unsigned int len, bool write)
{
	uint8_t data[8];
	uint64_t out = 0;

	memcpy(data, &val, sizeof(data));
	assert_true(mmio_access(&vd->bus, VD_WINDOW + off, data, len, write));
	memcpy(&out, data, len);
	return out;
}

uint32_t vd_get(struct vdriver *vd, uint64_t off)
{
	return vd_access(vd, off, 0, 4, false);
}

void vd_set(struct vdriver *vd, uint64_t off, uint32_t val)
{
	vd_access(vd, off, val, 4, true);
}

void vd_ring_init(struct vdriver *vd, unsigned int q, uint16_t num)
{
	struct vd_ring *r = &vd->ring[q];
	ipa_t base = VD_RAM + 0x10000 * (q + 1);

	assert_true(num <= VD_RING_MAX);
	memset(r, 0, sizeof(*r));
	r->num = num;
	r->packed = vd->features & VD_F_PACKED;
	r->in_order = vd->features & VD_F_IN_ORDER;
	r->event_idx = vd->features & VD_F(VIRTIO_RING_F_EVENT_IDX);
	r->desc_ipa = base;
	r->avail_ipa = base + 0x8000;
	r->used_ipa = base + 0xc000;
	r->desc = vd_ptr(vd, r->desc_ipa);
	r->avail = vd_ptr(vd, r->avail_ipa);
	r->used = vd_ptr(vd, r->used_ipa);
	r->pdesc = (void *)r->desc;
	r->driver_event = (void *)r->avail;
	r->device_event = (void *)r->used;
	memset(r->desc, 0, 0x10000);
}

uint64_t vd_features(struct vdriver *vd)
{
	uint64_t f;

	vd_set(vd, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	f = (uint64_t)vd_get(vd, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	vd_set(vd, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	return f | vd_get(vd, VIRTIO_MMIO_DEVICE_FEATURES);
}

uint32_t vd_negotiate(struct vdriver *vd, uint64_t features)
{
	uint32_t s = 0;

	vd->features = features;
	vd_set(vd, VIRTIO_MMIO_STATUS, 0);
	vd_set(vd, VIRTIO_MMIO_STATUS, s |= VIRTIO_CONFIG_S_ACKNOWLEDGE);
	vd_set(vd, VIRTIO_MMIO_STATUS, s |= VIRTIO_CONFIG_S_DRIVER);
	vd_set(vd, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	vd_set(vd, VIRTIO_MMIO_DRIVER_FEATURES, features);
	vd_set(vd, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	vd_set(vd, VIRTIO_MMIO_DRIVER_FEATURES, features >> 32);
	vd_set(vd, VIRTIO_MMIO_STATUS, s | VIRTIO_CONFIG_S_FEATURES_OK);
	return vd_get(vd, VIRTIO_MMIO_STATUS);
}

void vd_queue(struct vdriver *vd, unsigned int q)
{
	const struct vd_ring *r = &vd->ring[q];
	/* As Linux does it in a realm: the addresses that it gives out are shared ones. */
	ipa_t s = vd->realm ? VD_SHARED : 0;

	vd_set(vd, VIRTIO_MMIO_QUEUE_SEL, q);
	vd_set(vd, VIRTIO_MMIO_QUEUE_NUM, r->num);
	vd_set(vd, VIRTIO_MMIO_QUEUE_DESC_LOW, r->desc_ipa | s);
	vd_set(vd, VIRTIO_MMIO_QUEUE_DESC_HIGH, (r->desc_ipa | s) >> 32);
	vd_set(vd, VIRTIO_MMIO_QUEUE_AVAIL_LOW, r->avail_ipa | s);
	vd_set(vd, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (r->avail_ipa | s) >> 32);
	vd_set(vd, VIRTIO_MMIO_QUEUE_USED_LOW, r->used_ipa | s);
	vd_set(vd, VIRTIO_MMIO_QUEUE_USED_HIGH, (r->used_ipa | s) >> 32);
	vd_set(vd, VIRTIO_MMIO_QUEUE_READY, 1);
}

void vd_start(struct vdriver *vd, uint64_t features, unsigned int nr, uint16_t num)
{
	uint32_t s = vd_negotiate(vd, features);

	assert_true(s & VIRTIO_CONFIG_S_FEATURES_OK);
	for (unsigned int q = 0; q < nr; q++) {
		vd_ring_init(vd, q, num);
		vd_queue(vd, q);
		assert_int_equal(vd_get(vd, VIRTIO_MMIO_QUEUE_READY), 1);
	}
	vd_set(vd, VIRTIO_MMIO_STATUS, s | VIRTIO_CONFIG_S_DRIVER_OK);
	assert_true(vd_get(vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_DRIVER_OK);
}

void vd_desc(struct vdriver *vd, unsigned int q, uint16_t i, ipa_t addr, uint32_t len,
	     uint16_t flags, uint16_t next)
{
	vd->ring[q].desc[i] = (struct vring_desc){ addr, len, flags, next };
}

void vd_offer(struct vdriver *vd, unsigned int q, uint16_t head)
{
	struct vd_ring *r = &vd->ring[q];
	uint16_t idx = __atomic_load_n(&r->avail->idx, __ATOMIC_RELAXED);

	r->avail->ring[idx % r->num] = head;
	/* Release: the descriptors and the entry come first. */
	__atomic_store_n(&r->avail->idx, idx + 1, __ATOMIC_RELEASE);
}

static bool wrap_of(const struct vd_ring *r, uint32_t pos)
{
	return pos < r->num;
}

static uint32_t advance(const struct vd_ring *r, uint32_t pos, uint32_t n)
{
	return (pos + n) % (2 * r->num);
}

static struct vring_packed_desc *packed_at(const struct vd_ring *r, uint32_t pos)
{
	return &r->pdesc[pos % r->num];
}

void vd_packed_desc(struct vdriver *vd, unsigned int q, uint32_t pos, ipa_t addr, uint32_t len,
		    uint16_t flags, uint16_t id)
{
	struct vd_ring *r = &vd->ring[q];
	struct vring_packed_desc *d = packed_at(r, pos);

	d->addr = addr;
	d->len = len;
	d->id = id;
	flags |= wrap_of(r, pos) ? 1 << VRING_PACKED_DESC_F_AVAIL : 1 << VRING_PACKED_DESC_F_USED;
	/* Release: the descriptor, and all after it in its chain, come before its flags. */
	__atomic_store_n(&d->flags, flags, __ATOMIC_RELEASE);
}

/* Remember what is out, so that vd_used() knows what a used entry stands for. */
static void track(struct vd_ring *r, uint16_t id, uint16_t slots, uint32_t in_len)
{
	r->slots[id] = slots;
	r->in_len[id] = in_len;
	r->order[r->order_tail++ % VD_RING_MAX] = id;
}

static uint16_t flags_of(unsigned int i, unsigned int nr, unsigned int out)
{
	return (i >= out ? VRING_DESC_F_WRITE : 0) | (i + 1 < nr ? VRING_DESC_F_NEXT : 0);
}

/* The next free descriptor; if a test has never taken one back, the one that is due. */
static uint16_t free_desc(struct vd_ring *r)
{
	for (unsigned int i = 0; i < r->num && r->busy[r->next_desc % r->num]; i++)
		r->next_desc++;
	r->busy[r->next_desc % r->num] = true;
	return r->next_desc++ % r->num;
}

static uint16_t add_split(struct vdriver *vd, unsigned int q, const struct vq_seg *seg,
			  unsigned int nr, unsigned int out, uint16_t more)
{
	struct vd_ring *r = &vd->ring[q];
	uint16_t head = free_desc(r), at = head;

	for (unsigned int i = 0; i < nr; i++) {
		uint16_t next = i + 1 < nr ? free_desc(r) : 0;

		vd_desc(vd, q, at, seg[i].addr, seg[i].len, flags_of(i, nr, out) | more, next);
		at = next;
	}
	return head;
}

static uint16_t add_packed(struct vdriver *vd, unsigned int q, const struct vq_seg *seg,
			   unsigned int nr, unsigned int out, uint16_t more)
{
	struct vd_ring *r = &vd->ring[q];
	uint32_t first = r->next_avail;
	uint16_t id = first % r->num;

	/* An old chain may still have the name when its place is free already. */
	for (unsigned int i = 0; r->slots[id] && i < r->num; i++)
		id = (id + 1) % r->num;
	assert_int_equal(r->slots[id], 0);
	/* Backwards: the flags of the first one are written last. */
	for (unsigned int i = nr; i-- > 0;)
		vd_packed_desc(vd, q, advance(r, first, i), seg[i].addr, seg[i].len,
			       flags_of(i, nr, out) | more, id);
	r->next_avail = advance(r, first, nr);
	return id;
}

static uint16_t add(struct vdriver *vd, unsigned int q, const struct vq_seg *seg, unsigned int nr,
		    unsigned int out, uint16_t more, uint32_t in_len)
{
	struct vd_ring *r = &vd->ring[q];
	uint16_t id = r->packed ? add_packed(vd, q, seg, nr, out, more) :
				  add_split(vd, q, seg, nr, out, more);

	track(r, id, nr, in_len);
	if (!r->packed)
		vd_offer(vd, q, id);
	return id;
}

static uint32_t sum(const struct vq_seg *seg, unsigned int from, unsigned int to)
{
	uint32_t len = 0;

	for (unsigned int i = from; i < to; i++)
		len += seg[i].len;
	return len;
}

uint16_t vd_add(struct vdriver *vd, unsigned int q, const struct vq_seg *seg, unsigned int nr,
		unsigned int out)
{
	return add(vd, q, seg, nr, out, 0, sum(seg, out, nr));
}

uint16_t vd_add_indirect(struct vdriver *vd, unsigned int q, const struct vq_seg *seg,
			 unsigned int nr, unsigned int out, ipa_t table)
{
	struct vq_seg one = { table, 16 * nr };

	for (unsigned int i = 0; i < nr; i++) {
		struct vring_packed_desc p = {
			seg[i].addr, seg[i].len, 0, i >= out ? VRING_DESC_F_WRITE : 0,
		};
		struct vring_desc s = { seg[i].addr, seg[i].len, flags_of(i, nr, out), i + 1 };

		memcpy((uint8_t *)vd_ptr(vd, table) + 16 * i,
		       vd->ring[q].packed ? (void *)&p : (void *)&s, 16);
	}
	return add(vd, q, &one, 1, 1, VRING_DESC_F_INDIRECT, sum(seg, out, nr));
}

static uint16_t *avail_event(const struct vd_ring *r)
{
	return (uint16_t *)((uint8_t *)r->used + 4 + 8 * r->num);
}

/* Section 2.8.10 with entries counted through both passes of the ring. */
static bool packed_wants_kick(const struct vd_ring *r)
{
	uint16_t flags = __atomic_load_n(&r->device_event->flags, __ATOMIC_ACQUIRE) & 3, off;
	uint32_t span = 2 * r->num, pos;

	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags == VRING_PACKED_EVENT_FLAG_ENABLE && r->kicked != r->next_avail;
	off = __atomic_load_n(&r->device_event->off_wrap, __ATOMIC_RELAXED);
	pos = (off & 0x7fff) + (off & 0x8000 ? 0 : r->num);
	return (pos + span - r->kicked) % span < (r->next_avail + span - r->kicked) % span;
}

bool vd_wants_kick(struct vdriver *vd, unsigned int q)
{
	struct vd_ring *r = &vd->ring[q];
	uint16_t idx = r->avail->idx;
	bool wants;

	/* Full barrier: what was added is there before the wish is looked at. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (r->packed) {
		wants = packed_wants_kick(r);
		r->kicked = r->next_avail;
		return wants;
	}
	if (r->event_idx)
		wants = vring_need_event(__atomic_load_n(avail_event(r), __ATOMIC_RELAXED), idx,
					 r->kicked);
	else
		wants = r->kicked != idx && !(__atomic_load_n(&r->used->flags, __ATOMIC_RELAXED) &
					      VRING_USED_F_NO_NOTIFY);
	r->kicked = idx;
	return wants;
}

/* As far behind as an index can be: nothing that is used now comes by it. */
static uint16_t never(const struct vd_ring *r)
{
	return r->last_used - 1;
}

void vd_ask_irq(struct vdriver *vd, unsigned int q, bool on)
{
	struct vd_ring *r = &vd->ring[q];
	uint16_t at = r->last_used % r->num | (wrap_of(r, r->last_used) ? 0x8000 : 0);

	if (r->packed && !on) {
		__atomic_store_n(&r->driver_event->flags, VRING_PACKED_EVENT_FLAG_DISABLE,
				 __ATOMIC_RELAXED);
	} else if (r->packed) {
		__atomic_store_n(&r->driver_event->off_wrap, at, __ATOMIC_RELAXED);
		/* Release: the place comes before the word that it counts. */
		__atomic_store_n(&r->driver_event->flags,
				 r->event_idx ? VRING_PACKED_EVENT_FLAG_DESC :
						VRING_PACKED_EVENT_FLAG_ENABLE, __ATOMIC_RELEASE);
	} else if (r->event_idx) {
		__atomic_store_n(&r->avail->ring[r->num], on ? (uint16_t)r->last_used : never(r),
				 __ATOMIC_RELAXED);
	} else {
		__atomic_store_n(&r->avail->flags, on ? 0 : VRING_AVAIL_F_NO_INTERRUPT,
				 __ATOMIC_RELAXED);
	}
	/* Full barrier: the wish is there before the caller looks for used entries. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void vd_kick(struct vdriver *vd, unsigned int q)
{
	vd_set(vd, VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

void vd_pump(struct vdriver *vd, int quiet_ms)
{
	while (loop_once(&vd->loop, quiet_ms) > 0)
		;
}

/* The next used entry: in , and in  where the one after it will be if it stands alone. */
static bool used_entry(struct vd_ring *r, struct vring_used_elem *elem)
{
	struct vring_packed_desc *d = packed_at(r, r->last_used);
	bool wrap = wrap_of(r, r->last_used);
	uint16_t flags;

	/* Acquire in both: the entry and the data are read after what says that they are there. */
	if (!r->packed) {
		if (__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) == (uint16_t)r->last_used)
			return false;
		*elem = r->used->ring[(uint16_t)r->last_used % r->num];
		return true;
	}
	flags = __atomic_load_n(&d->flags, __ATOMIC_ACQUIRE);
	if ((flags >> VRING_PACKED_DESC_F_AVAIL & 1) != wrap ||
	    (flags >> VRING_PACKED_DESC_F_USED & 1) != wrap)
		return false;
	elem->id = d->id;
	elem->len = flags & VRING_DESC_F_WRITE ? d->len : 0;
	return true;
}

/* Chain  is back. */
static void forget(struct vd_ring *r, uint16_t id)
{
	if (r->packed) {
		assert_true(id < r->num && r->slots[id]);
		r->last_used = advance(r, r->last_used, r->slots[id]);
		r->slots[id] = 0;
		return;
	}
	r->last_used++;
	id %= r->num;
	for (uint16_t at = id, n = r->slots[id]; n--; at = r->desc[at].next % r->num)
		r->busy[at] = false;
	r->slots[id] = 0;
}

bool vd_used(struct vdriver *vd, unsigned int q, struct vring_used_elem *elem)
{
	struct vd_ring *r = &vd->ring[q];
	uint16_t id;

	if (!r->in_order) {
		if (!used_entry(r, elem))
			return false;
		forget(r, elem->id);
		return true;
	}
	/* One entry can stand for all chains up to the one that it names. */
	if (!r->batch) {
		if (!used_entry(r, elem))
			return false;
		r->batch_len = elem->len;
		do {
			assert_int_not_equal(r->order_head + r->batch, r->order_tail);
			id = r->order[(r->order_head + r->batch++) % VD_RING_MAX];
		} while (id != elem->id);
	}
	id = r->order[r->order_head++ % VD_RING_MAX];
	elem->id = id;
	elem->len = --r->batch ? r->in_len[id] : r->batch_len;
	forget(r, id);
	return true;
}

struct vring_used_elem vd_wait(struct vdriver *vd, unsigned int q)
{
	struct vring_used_elem elem = { 0 };
	struct timespec ts;
	time_t end;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	end = ts.tv_sec + 10;
	while (!vd_used(vd, q, &elem)) {
		assert_true(loop_once(&vd->loop, 100) >= 0);
		clock_gettime(CLOCK_MONOTONIC, &ts);
		if (ts.tv_sec > end)
			fail_msg("queue %u: nothing came back", q);
	}
	return elem;
}
