// SPDX-License-Identifier: BSD-3-Clause
/* The driver: initialisation (section 3.1) and its side of the rings (2.7, 2.8). */
#include "tests/conformance/conf.h"

/* ---- initialisation ---- */

void drv_reset(struct vm *vm)
{
	vm->t->set_status(vm, 0);
	assert_int_equal(vm->t->status(vm), 0);
	vm_check(vm);
	ring_free(vm);
	vm->t->irqs(vm);
}

uint64_t drv_features(const struct vm *vm)
{
	uint64_t f = vm->offered & ~F(VIRTIO_F_IN_ORDER) & ~F(VIRTIO_F_NOTIFICATION_DATA);

	return vm->packed ? f : f & ~F(VIRTIO_F_RING_PACKED);
}

void drv_accept(struct vm *vm, uint64_t features)
{
	vm->t->accept(vm, 0, features);
	vm->t->accept(vm, 1, features >> 32);
}

bool drv_negotiate(struct vm *vm, uint64_t features)
{
	vm->features = features;
	vm->t->set_status(vm, S_ACK);
	vm->t->set_status(vm, S_ACK | S_DRIVER);
	drv_accept(vm, features);
	vm->t->set_status(vm, S_ACK | S_DRIVER | S_FEATURES);
	return vm->t->status(vm) & S_FEATURES;
}

void drv_queue(struct vm *vm, unsigned int q, uint32_t num, ipa_t base)
{
	struct ring *r = &vm->ring[q];

	ring_lay(vm, q, num, base);
	vm->t->queue_place(vm, q, num, vm_addr(vm, r->desc), vm_addr(vm, r->driver),
			   vm_addr(vm, r->device));
	vm->t->queue_enable(vm, q);
}

void drv_queues(struct vm *vm, uint32_t num)
{
	for (unsigned int q = 0; q < vm->nr_queues; q++) {
		uint32_t max = vm->t->queue_max(vm, q);

		drv_queue(vm, q, MIN(num ? num : 64, max), RINGS + q * RING_ROOM);
		assert_true(vm->t->queue_enabled(vm, q));
	}
}

void drv_ok(struct vm *vm)
{
	vm->t->set_status(vm, S_ACK | S_DRIVER | S_FEATURES | S_OK);
	assert_int_equal(vm->t->status(vm), S_ACK | S_DRIVER | S_FEATURES | S_OK);
}

void drv_start(struct vm *vm)
{
	drv_reset(vm);
	assert_true(drv_negotiate(vm, drv_features(vm)));
	drv_queues(vm, 0);
	drv_ok(vm);
}

void drv_good(struct vm *vm)
{
	vm->kind->good(vm);
	assert_false(vm->t->status(vm) & S_NEEDS_RESET);
}

void drv_recover(struct vm *vm)
{
	drv_start(vm);
	drv_good(vm);
}

void drv_poke(struct vm *vm, const struct lane *l)
{
	if (l->poked && !drv_needs_reset(vm, 0))
		vm->kind->poke(vm, l->q);
}

bool drv_needs_reset(struct vm *vm, unsigned int unused)
{
	return vm->t->status(vm) & S_NEEDS_RESET;
}

/* ---- rings ---- */

static bool has(const struct vm *vm, unsigned int bit)
{
	return vm->features >> bit & 1;
}

static void zero(struct vm *vm, ipa_t ipa, size_t len)
{
	static const uint8_t none[PAGE];

	for (; len > PAGE; ipa += PAGE, len -= PAGE)
		vm_put(vm, ipa, none, PAGE);
	vm_put(vm, ipa, none, len);
}

void ring_lay(struct vm *vm, unsigned int q, uint32_t num, ipa_t base)
{
	struct ring *r = &vm->ring[q];
	uint64_t len = 16 * (uint64_t)num;

	free(r->slots);
	*r = (struct ring){
		.num = num,
		.packed = has(vm, VIRTIO_F_RING_PACKED),
		.event_idx = has(vm, VIRTIO_RING_F_EVENT_IDX),
		.wrap = true,
		.used_wrap = true,
		.desc = base,
		.slots = calloc(num + 1, sizeof(*r->slots)),
	};
	assert_non_null(r->slots);
	r->driver = ALIGN_UP(r->desc + len, PAGE);
	r->device = ALIGN_UP(r->driver + 6 + 2 * (uint64_t)num, PAGE);
	zero(vm, r->desc, len);
	if (r->packed) {
		zero(vm, r->driver, 4);
		zero(vm, r->device, 4);
	} else {
		zero(vm, r->driver, 6 + 2 * (uint64_t)num);
		zero(vm, r->device, 6 + 8 * (uint64_t)num);
	}
	ring_allow(vm, q);
}

void ring_allow(struct vm *vm, unsigned int q)
{
	struct ring *r = &vm->ring[q];

	if (!r->num)
		return;
	if (r->packed)
		vm_allow(vm, r->desc, 16 * (uint64_t)r->num);
	vm_allow(vm, r->device, r->packed ? 4 : 6 + 8 * (uint64_t)r->num);
}

void ring_free(struct vm *vm)
{
	for (unsigned int q = 0; q < MAX_QUEUES; q++) {
		free(vm->ring[q].slots);
		memset(&vm->ring[q], 0, sizeof(vm->ring[q]));
	}
}

void ring_desc(struct vm *vm, unsigned int q, uint16_t i, const struct desc *d)
{
	struct vring_desc v = { d->addr, d->len, d->flags, d->next };

	vm_put(vm, vm->ring[q].desc + 16 * (uint64_t)i, &v, sizeof(v));
}

void ring_offer(struct vm *vm, unsigned int q, uint16_t head)
{
	struct ring *r = &vm->ring[q];

	vm_put(vm, r->driver + 4 + 2 * (uint64_t)(r->avail % r->num), &head, 2);
	vm_put16(vm, r->driver + offsetof(struct vring_avail, idx), ++r->avail);
	r->added++;
}

/* One descriptor of a packed ring, its flags last. */
static void packed_desc(struct vm *vm, struct ring *r, uint16_t at, bool wrap, const struct desc *d,
			uint16_t id)
{
	ipa_t where = r->desc + 16 * (uint64_t)at;
	struct vring_packed_desc p = { d->addr, d->len, id, 0 };

	vm_put(vm, where, &p, offsetof(struct vring_packed_desc, flags));
	vm_put16(vm, where + offsetof(struct vring_packed_desc, flags),
		 d->flags | (wrap ? 1 << VRING_PACKED_DESC_F_AVAIL :
				   1 << VRING_PACKED_DESC_F_USED));
}

static void forward(const struct ring *r, uint16_t *at, bool *wrap, uint32_t n)
{
	*wrap ^= *at + n >= r->num;
	*at = (*at + n) % r->num;
}

static uint16_t packed_chain(struct vm *vm, struct ring *r, const struct desc *d, unsigned int nr)
{
	uint16_t id = r->avail;

	assert_in_range(nr, 1, r->num);
	r->slots[id] = nr;
	/* The first one last: it makes all of them available (section 2.8.6). */
	for (unsigned int i = nr; i--; ) {
		uint16_t at = r->avail;
		bool wrap = r->wrap;

		forward(r, &at, &wrap, i);
		packed_desc(vm, r, at, wrap, &d[i], id);
	}
	forward(r, &r->avail, &r->wrap, nr);
	r->added += nr;
	return id;
}

uint16_t ring_chain(struct vm *vm, unsigned int q, const struct desc *d, unsigned int nr)
{
	struct ring *r = &vm->ring[q];
	uint16_t head = r->free;

	/* What the device may write; a private page it may not, whoever gives it. */
	for (unsigned int i = 0; i < nr; i++) {
		ipa_t ipa = d[i].addr & ~(vm->realm ? SHARED_BIT : 0);

		if ((d[i].flags & (D_WRITE | D_INDIRECT)) == D_WRITE && ipa >= RAM &&
		    ipa < RAM_END)
			vm_allow(vm, ipa, MIN(d[i].len, RAM_END - ipa));
	}
	if (r->packed)
		return packed_chain(vm, r, d, nr);
	for (unsigned int i = 0; i < nr; i++) {
		struct desc copy = d[i];

		copy.next = d[i].next ? d[i].next - 1U : (r->free + 1U) % r->num;
		ring_desc(vm, q, r->free, &copy);
		r->free = (r->free + 1) % r->num;
	}
	ring_offer(vm, q, head);
	return head;
}

static void fill(const struct vm *vm, struct desc *d, const struct buf *b, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		d[i] = (struct desc){
			.addr = vm_addr(vm, b[i].addr),
			.len = b[i].len,
			.flags = (b[i].in ? D_WRITE : 0) | (i + 1 < nr ? D_NEXT : 0),
		};
}

uint16_t ring_add(struct vm *vm, unsigned int q, const struct buf *b, unsigned int nr)
{
	struct desc d[64];

	/* A ring that is shorter than the request needs a table. */
	if (nr > vm->ring[q].num)
		return ring_add_table(vm, q, b, nr, RINGS + q * RING_ROOM + RING_ROOM - PAGE);
	assert_in_range(nr, 1, ARRAY_SIZE(d));
	fill(vm, d, b, nr);
	return ring_chain(vm, q, d, nr);
}

uint16_t ring_add_table(struct vm *vm, unsigned int q, const struct buf *b, unsigned int nr,
			ipa_t table)
{
	struct desc d[64];

	assert_true(has(vm, VIRTIO_RING_F_INDIRECT_DESC));
	assert_in_range(nr, 1, ARRAY_SIZE(d));
	fill(vm, d, b, nr);
	for (unsigned int i = 0; i < nr; i++) {
		struct vring_desc v = { d[i].addr, d[i].len, d[i].flags, i + 1 };
		struct vring_packed_desc p = { d[i].addr, d[i].len, 0, d[i].flags & D_WRITE };

		vm_put(vm, table + 16 * (uint64_t)i, vm->ring[q].packed ? (void *)&p : (void *)&v,
		       16);
		if (b[i].in)
			vm_allow(vm, b[i].addr, b[i].len);
	}
	return ring_chain(vm, q, &(struct desc){ vm_addr(vm, table), 16 * nr, D_INDIRECT, 0 }, 1);
}

static bool split_used(struct vm *vm, struct ring *r, uint16_t *id, uint32_t *len)
{
	struct vring_used *used = vm_at(vm, r->device);
	struct vring_used_elem *e;

	/* Acquire: the entry and the data are read after the index. */
	if (__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) == r->used)
		return false;
	e = &used->ring[r->used % r->num];
	assert_true(e->id < r->num);
	*id = e->id;
	*len = e->len;
	r->used++;
	return true;
}

static bool packed_used(struct vm *vm, struct ring *r, uint16_t *id, uint32_t *len)
{
	struct vring_packed_desc *d = vm_at(vm, r->desc + 16 * (uint64_t)r->used);
	/* Acquire: likewise. */
	uint16_t flags = __atomic_load_n(&d->flags, __ATOMIC_ACQUIRE);

	if ((flags >> VRING_PACKED_DESC_F_AVAIL & 1) != r->used_wrap ||
	    (flags >> VRING_PACKED_DESC_F_USED & 1) != r->used_wrap)
		return false;
	*id = d->id;
	*len = flags & D_WRITE ? d->len : 0;
	if (*id >= r->num || !r->slots[*id])
		fail_msg("%s: id %u came back and was not out", vm->doing ? vm->doing : "", *id);
	forward(r, &r->used, &r->used_wrap, r->slots[*id]);
	r->slots[*id] = 0;
	return true;
}

bool ring_used(struct vm *vm, unsigned int q, uint16_t *id, uint32_t *len)
{
	struct ring *r = &vm->ring[q];

	return r->packed ? packed_used(vm, r, id, len) : split_used(vm, r, id, len);
}

bool ring_wants_kick(struct vm *vm, unsigned int q)
{
	struct ring *r = &vm->ring[q];
	uint32_t added = r->added, span = 2 * r->num, from, to;
	struct vring_packed_desc_event *event;
	struct vring_used *used;
	uint16_t flags, off;

	r->added = 0;
	/* Full barrier: what was added is there before the wish is looked at. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!r->packed) {
		used = vm_at(vm, r->device);
		if (!r->event_idx)
			return added && !(__atomic_load_n(&used->flags, __ATOMIC_RELAXED) &
				 VRING_USED_F_NO_NOTIFY);
		off = __atomic_load_n((uint16_t *)&used->ring[r->num], __ATOMIC_RELAXED);
		return vring_need_event(off, r->avail, r->avail - added);
	}
	event = vm_at(vm, r->device);
	flags = __atomic_load_n(&event->flags, __ATOMIC_ACQUIRE) & 3;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return added && flags == VRING_PACKED_EVENT_FLAG_ENABLE;
	off = __atomic_load_n(&event->off_wrap, __ATOMIC_RELAXED);
	/* How far from where the driver began to add, in a ring that is gone through twice. */
	to = (r->avail + (r->wrap ? 0 : r->num) + span - added) % span;
	from = ((off & 0x7fff) + (off >> 15 ? 0 : r->num) + span - to) % span;
	assert_true((off & 0x7fff) < r->num);
	return from < added;
}

void ring_ask_irq(struct vm *vm, unsigned int q, int after)
{
	struct ring *r = &vm->ring[q];
	uint16_t at = r->used;
	bool wrap = r->used_wrap;

	if (!r->packed && !r->event_idx) {
		vm_put16(vm, r->driver, after < 0 ? VRING_AVAIL_F_NO_INTERRUPT : 0);
	} else if (!r->packed) {
		/* As far behind as an index can be is never, for as long as a test takes. */
		vm_put16(vm, r->driver + 4 + 2 * (uint64_t)r->num,
			 after < 0 ? r->used - 1 : r->used + after);
	} else if (after < 0 || !r->event_idx) {
		vm_put16(vm, r->driver + 2, after < 0 ? VRING_PACKED_EVENT_FLAG_DISABLE :
							VRING_PACKED_EVENT_FLAG_ENABLE);
	} else {
		forward(r, &at, &wrap, after);
		vm_put16(vm, r->driver, at | wrap << VRING_PACKED_EVENT_F_WRAP_CTR);
		vm_put16(vm, r->driver + 2, VRING_PACKED_EVENT_FLAG_DESC);
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

struct taken {
	uint16_t id;
	uint32_t len;
};
static struct taken taken;

static bool take(struct vm *vm, unsigned int q)
{
	return ring_used(vm, q, &taken.id, &taken.len);
}

uint32_t ring_wait(struct vm *vm, unsigned int q, uint16_t id)
{
	if (!vm_wait(vm, take, q))
		fail_msg("queue %u: nothing came back", q);
	assert_int_equal(taken.id, id);
	return taken.len;
}

uint32_t ring_do(struct vm *vm, unsigned int q, const struct buf *b, unsigned int nr)
{
	uint16_t id = ring_add(vm, q, b, nr);

	vm->t->kick(vm, q);
	return ring_wait(vm, q, id);
}
