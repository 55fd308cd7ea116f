// SPDX-License-Identifier: BSD-3-Clause
/* The packed ring, from a driver that breaks its rules. What it has in common: test_vq_rings.c. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/vq_fixture.h"

#define NUM VQF_NUM
#define W VRING_DESC_F_WRITE
#define N VRING_DESC_F_NEXT
#define I VRING_DESC_F_INDIRECT
#define AVAIL (1 << VRING_PACKED_DESC_F_AVAIL)
#define USED (1 << VRING_PACKED_DESC_F_USED)

static void ready(struct vqf *f, uint16_t num, uint64_t features)
{
	vqf_ready(f, num, features | VD_F_PACKED);
}

/* Entry @pos, 0 to 2 * num - 1, with the flags that make it available. */
static void desc(struct vqf *f, uint32_t pos, ipa_t addr, uint32_t len, uint16_t flags, uint16_t id)
{
	vd_packed_desc(&f->vd, 0, pos, addr, len, flags, id);
}

static struct vring_packed_desc *entry(struct vqf *f, unsigned int i)
{
	return &f->vd.ring[0].pdesc[i];
}

static struct vring_packed_desc *table(struct vqf *f, ipa_t at)
{
	return vd_ptr(&f->vd, at);
}

/* The queue must break at what is there, tell it once, and stay broken until it is disabled. */
static void breaks(struct vqf *f)
{
	struct vring_packed_desc before[NUM];
	struct vq_chain c;

	memcpy(before, entry(f, 0), sizeof(before));
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), -EIO);
	assert_int_equal(vq_pop(&f->vq, &c), -EIO);
	vq_end(&f->vq);
	assert_int_equal(f->broken, 1);
	assert_int_equal(vq_begin(&f->vq), -EIO);
	assert_memory_equal(before, entry(f, 0), sizeof(before));
	vq_disable(&f->vq);
	assert_false(f->vq.broken);
}

static void nothing_there(struct vqf *f)
{
	struct vq_chain c;

	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 0);
	vq_end(&f->vq);
	assert_int_equal(f->broken, 0);
}

/* What the two flags say, in the first pass of the ring and in the second. */
static void flags(void **state)
{
	struct vqf *f = *state;
	const uint16_t not_avail[2][3] = { { 0, USED, AVAIL | USED }, { 0, AVAIL, AVAIL | USED } };

	for (int pass = 0; pass < 2; pass++) {
		for (int i = 0; i < 3; i++) {
			entry(f, 0)->flags = not_avail[pass][i];
			nothing_there(f);
		}
		for (int i = 0; i < NUM; i++) {
			uint16_t used = pass ? 0 : AVAIL | USED;

			desc(f, pass * NUM + i, VD_DATA, 1, i % 2 ? W : 0, 10 + i);
			assert_int_equal(entry(f, i)->flags & (AVAIL | USED), pass ? USED : AVAIL);
			assert_int_equal(vqf_serve(f), 1);
			assert_int_equal(entry(f, i)->flags, used);	/* nothing was written */
			assert_int_equal(entry(f, i)->id, 10 + i);
		}
	}
}

/* Section 2.8.3: the flag says whether there is a length. */
static void written(void **state)
{
	struct vqf *f = *state;
	struct vq_chain c;

	for (int i = 0; i < 2; i++) {
		desc(f, i, VD_DATA, 8, W, 3);
		assert_int_equal(vq_begin(&f->vq), 0);
		assert_int_equal(vq_pop(&f->vq, &c), 1);
		vq_push(&f->vq, &c.head, i);
		vq_end(&f->vq);
		assert_int_equal(entry(f, i)->flags, AVAIL | USED | (i ? W : 0));
		assert_int_equal(entry(f, i)->len, i);
	}
}

/* The name stands in the last descriptor, and the used entry where the first one was. */
static void chains(void **state)
{
	struct vqf *f = *state;
	struct vq_chain c;

	for (uint32_t pos = 0; pos < 6 * NUM; pos += 3) {
		uint32_t p = pos % (2 * NUM);

		desc(f, (p + 2) % (2 * NUM), VD_DATA + 20, 3, W, 5);
		desc(f, (p + 1) % (2 * NUM), VD_DATA + 10, 2, W | N, 6);
		desc(f, p, VD_DATA, 1, N, 7);
		assert_int_equal(vq_begin(&f->vq), 0);
		assert_int_equal(vq_pop(&f->vq, &c), 1);
		assert_int_equal(c.head.id, 5);
		assert_int_equal(c.head.slots, 3);
		assert_int_equal(c.nr_out, 1);
		assert_int_equal(c.nr_in, 2);
		assert_int_equal(c.seg[2].addr, VD_DATA + 20);
		vq_push(&f->vq, &c.head, 5);
		vq_end(&f->vq);
		assert_int_equal(entry(f, p % NUM)->id, 5);
		assert_int_equal(entry(f, p % NUM)->len, 5);
		assert_int_equal(entry(f, p % NUM)->flags, W | (p < NUM ? AVAIL | USED : 0));
	}
}

static void endless_chains(void **state)
{
	struct vqf *f = *state;
	struct vq_chain c;

	/* All around the ring, and on. */
	for (int i = 0; i < NUM; i++)
		desc(f, i, VD_DATA, 1, N, i);
	breaks(f);
	ready(f, NUM, 0);	/* nothing but empty descriptors */
	for (int i = 0; i < NUM; i++)
		desc(f, i, VD_DATA, 0, N, i);
	breaks(f);
	ready(f, 1, 0);
	desc(f, 0, VD_DATA, 1, N, 0);
	breaks(f);

	/* As long as the ring: allowed. */
	ready(f, NUM, 0);
	for (int i = NUM; i-- > 0;)
		desc(f, i, VD_DATA, 1, i < NUM - 1 ? N : 0, i);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(c.nr_out, NUM);
	/* It is out: what comes now would be in its place. */
	for (int i = 0; i < NUM; i++)
		desc(f, NUM + i, VD_DATA, 1, 0, i);
	assert_int_equal(vq_pop(&f->vq, &c), -EIO);
	vq_end(&f->vq);
	assert_int_equal(f->broken, 1);

	/* The same with a chain that does not fit in what is left. */
	ready(f, NUM, 0);
	for (int i = 0; i < NUM - 1; i++)
		desc(f, i, VD_DATA, 1, 0, i);
	assert_int_equal(vq_begin(&f->vq), 0);
	for (int i = 0; i < NUM - 1; i++)
		assert_int_equal(vq_pop(&f->vq, &c), 1);
	desc(f, NUM - 1, VD_DATA, 1, N, 0);
	desc(f, NUM, VD_DATA, 1, 0, 0);
	assert_int_equal(vq_pop(&f->vq, &c), -EIO);
	vq_end(&f->vq);
	assert_int_equal(f->broken, 1);
}

static void bad_indirect(void **state)
{
	struct vqf *f = *state;
	const uint64_t features = VD_F(VIRTIO_RING_F_INDIRECT_DESC);
	const uint32_t sizes[] = { 0, 8, 17, 16 * (VQ_CHAIN_MAX + 1), UINT32_MAX,
				   UINT32_MAX & ~15u };

	table(f, VD_DATA)[0] = (struct vring_packed_desc){ VD_DATA, 1, 0, 0 };
	ready(f, NUM, 0);			/* not negotiated */
	desc(f, 0, VD_DATA, 16, I, 0);
	breaks(f);
	ready(f, NUM, features);		/* with a successor */
	desc(f, 0, VD_DATA, 16, I | N, 0);
	desc(f, 1, VD_DATA, 16, 0, 0);
	breaks(f);
	ready(f, NUM, features);		/* as one */
	desc(f, 1, VD_DATA, 16, I, 0);
	desc(f, 0, VD_DATA, 1, N, 0);
	breaks(f);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		ready(f, NUM, features);
		desc(f, 0, VD_DATA, sizes[i], I, 0);
		breaks(f);
	}
	ready(f, NUM, features);		/* readable after writable */
	table(f, VD_DATA)[0] = (struct vring_packed_desc){ VD_DATA, 1, 0, W };
	table(f, VD_DATA)[1] = (struct vring_packed_desc){ VD_DATA, 1, 0, 0 };
	desc(f, 0, VD_DATA, 32, I, 0);
	breaks(f);
}

/* Section 2.8.7: what a table has beside address, length and WRITE means nothing. */
static void indirect(void **state)
{
	struct vqf *f = *state;
	struct vq_chain c;

	table(f, VD_DATA)[0] = (struct vring_packed_desc){ VD_DATA + 16, 2, 77, N | I | AVAIL };
	table(f, VD_DATA)[1] = (struct vring_packed_desc){ VD_DATA + 32, 3, 78, W | USED };
	desc(f, 0, VD_DATA, 32, I | W, 4);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(c.head.id, 4);
	assert_int_equal(c.head.slots, 1);
	assert_int_equal(c.nr_out, 1);
	assert_int_equal(c.nr_in, 1);
	assert_int_equal(c.seg[1].addr, VD_DATA + 32);
	vq_push(&f->vq, &c.head, 0);
	vq_end(&f->vq);
	assert_int_equal(f->broken, 0);

	/* Its memory is nowhere: the request is lost, its place and name are not. */
	desc(f, 1, VD_RAM2 - 16, 32, I, 5);
	desc(f, 2, VD_DATA, 1, 0, 6);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(c.head.id, 5);
	assert_int_equal(c.nr_out + c.nr_in, 0);
	vq_push(&f->vq, &c.head, 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(c.head.id, 6);
	vq_end(&f->vq);
}

static void bad_sizes_and_alignment(void **state)
{
	struct vqf *f = *state;
	static const struct {
		uint16_t num;
		unsigned int desc, driver, device;
	} bad[] = {
		{ 0, 0, 0, 0 }, { VD_RING_MAX + 1, 0, 0, 0 }, { UINT16_MAX, 0, 0, 0 },
		{ NUM, 8, 0, 0 }, { NUM, 0, 2, 0 }, { NUM, 0, 0, 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		vq_disable(&f->vq);
		f->broken = 0;
		f->vq.num = bad[i].num;
		f->vq.desc_addr = VD_DATA + bad[i].desc;
		f->vq.driver_addr = VD_DATA + 0x8000 + bad[i].driver;
		f->vq.device_addr = VD_DATA + 0x9000 + bad[i].device;
		assert_int_equal(vq_enable(&f->vq, VD_F_PACKED), -EINVAL);
		assert_int_equal(f->broken, 1);
		assert_int_equal(vq_begin(&f->vq), -EIO);
	}
}

static void largest_ring(void **state)
{
	struct vqf *f = *state;
	struct vring_packed_desc *d = vd_ptr(&f->vd, VD_DATA);
	struct vqf big = { 0 };
	struct vq_chain c;

	vq_init(&big.vq, &vqf_ops, &f->vd.gm, "big", 0, VQ_SIZE_MAX);
	big.vq.desc_addr = VD_DATA;
	big.vq.driver_addr = VD_DATA + 0x100000;
	big.vq.device_addr = VD_DATA + 0x100004;
	assert_int_equal(vq_enable(&big.vq, VD_F_PACKED | VD_F(VIRTIO_RING_F_EVENT_IDX)), 0);
	for (int pass = 0; pass < 4; pass++) {
		for (uint32_t i = 0; i < VQ_SIZE_MAX; i++)
			d[i] = (struct vring_packed_desc){ VD_DATA + 0x300000 + i, 1,
							   VQ_SIZE_MAX - 1 - i,
							   W | (pass & 1 ? USED : AVAIL) };
		assert_int_equal(vq_begin(&big.vq), 0);
		for (uint32_t i = 0; i < VQ_SIZE_MAX; i++) {
			assert_int_equal(vq_pop(&big.vq, &c), 1);
			assert_int_equal(c.head.id, VQ_SIZE_MAX - 1 - i);
			vq_push(&big.vq, &c.head, 1);
		}
		assert_int_equal(vq_pop(&big.vq, &c), 0);
		vq_end(&big.vq);
		assert_int_equal(d[VQ_SIZE_MAX - 1].id, 0);
		for (uint32_t i = 0; i < VQ_SIZE_MAX; i++)
			assert_int_equal(d[i].flags, W | (pass & 1 ? 0 : AVAIL | USED));
		/* A kick is wanted for the entry that comes next: the first, of the other pass. */
		assert_int_equal(*(uint16_t *)vd_ptr(&f->vd, VD_DATA + 0x100004),
				 pass & 1 ? 0x8000 : 0);
	}
	assert_int_equal(big.broken, 0);

	/* One chain longer than what an iovec can hold. */
	for (uint32_t i = 0; i <= VQ_CHAIN_MAX; i++)
		d[i] = (struct vring_packed_desc){ VD_DATA + 0x300000, 1, 9,
						   W | AVAIL | (i < VQ_CHAIN_MAX - 1 ? N : 0) };
	assert_int_equal(vq_begin(&big.vq), 0);
	assert_int_equal(vq_pop(&big.vq, &c), 1);
	assert_int_equal(c.nr_in, VQ_CHAIN_MAX);
	for (uint32_t i = 0; i <= VQ_CHAIN_MAX; i++)
		d[VQ_CHAIN_MAX + i] = (struct vring_packed_desc){
			VD_DATA + 0x300000, 1, 9, W | AVAIL | (i < VQ_CHAIN_MAX ? N : 0),
		};
	assert_int_equal(vq_pop(&big.vq, &c), -EIO);
	vq_end(&big.vq);
	assert_int_equal(big.broken, 1);
	vq_destroy(&big.vq);
}

/* The driver's structure, with each value of its flags. */
static void event_flags(void **state)
{
	struct vqf *f = *state;
	struct vring_packed_desc_event *e;
	static const struct {
		uint16_t flags, off_wrap;
		bool event_idx, irq;
	} cases[] = {
		{ VRING_PACKED_EVENT_FLAG_ENABLE, 0, false, true },
		{ VRING_PACKED_EVENT_FLAG_ENABLE, 0x7fff, true, true },
		{ VRING_PACKED_EVENT_FLAG_DISABLE, 0x8000, false, false },
		{ VRING_PACKED_EVENT_FLAG_DISABLE, 0x8000, true, false },
		/* Entries 0 and 1 of the first pass. */
		{ VRING_PACKED_EVENT_FLAG_DESC, 0x8000, true, true },
		{ VRING_PACKED_EVENT_FLAG_DESC, 0x8001, true, true },
		{ VRING_PACKED_EVENT_FLAG_DESC, 0x8002, true, false },
		{ VRING_PACKED_EVENT_FLAG_DESC, 0x8007, true, false },
		{ VRING_PACKED_EVENT_FLAG_DESC, 0x0000, true, false },
		{ VRING_PACKED_EVENT_FLAG_DESC, 0x0001, true, false },
		/* Not negotiated, not defined, nowhere: better one too many. */
		{ VRING_PACKED_EVENT_FLAG_DESC, 0x8005, false, true },
		{ 3, 0, true, true },
		{ VRING_PACKED_EVENT_FLAG_DESC, 0x8000 | NUM, true, true },
		{ VRING_PACKED_EVENT_FLAG_DESC, 0xffff, true, true },
		/* The upper bits are reserved. */
		{ 0xfffc | VRING_PACKED_EVENT_FLAG_DISABLE, 0x8000, true, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ready(f, NUM, cases[i].event_idx ? VD_F(VIRTIO_RING_F_EVENT_IDX) : 0);
		e = f->vd.ring[0].driver_event;
		e->flags = cases[i].flags;
		e->off_wrap = cases[i].off_wrap;
		desc(f, 0, VD_DATA, 1, 0, 0);
		desc(f, 1, VD_DATA, 1, 0, 0);
		assert_int_equal(vqf_serve(f), 2);
		assert_int_equal(f->notified, cases[i].irq);
	}
}

/* A batch that goes over the end of the ring, and the event before, in and behind it. */
static void event_at_the_wrap(void **state)
{
	struct vqf *f = *state;
	static const struct {
		uint16_t off_wrap;
		bool irq;
	} cases[] = {
		{ 0x8005, false }, { 0x8006, true }, { 0x8007, true }, { 0x0000, true },
		{ 0x0001, false }, { 0x0006, false }, { 0x8000, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vring_packed_desc_event *e;

		ready(f, NUM, VD_F(VIRTIO_RING_F_EVENT_IDX));
		e = f->vd.ring[0].driver_event;
		e->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
		for (uint32_t pos = 0; pos < 6; pos++)
			desc(f, pos, VD_DATA, 1, 0, pos);
		assert_int_equal(vqf_serve(f), 6);
		e->flags = VRING_PACKED_EVENT_FLAG_DESC;
		e->off_wrap = cases[i].off_wrap;
		for (uint32_t pos = 6; pos < 9; pos++)
			desc(f, pos, VD_DATA, 1, 0, pos % NUM);
		assert_int_equal(vqf_serve(f), 3);
		assert_int_equal(f->notified, cases[i].irq);
		assert_int_equal(f->vd.ring[0].device_event->flags, VRING_PACKED_EVENT_FLAG_DESC);
		assert_int_equal(f->vd.ring[0].device_event->off_wrap, 1);
	}
}

static void device_structure(void **state)
{
	struct vqf *f = *state;
	struct vring_packed_desc_event *e;
	struct vq_chain c;

	for (int event_idx = 0; event_idx < 2; event_idx++) {
		ready(f, NUM, event_idx ? VD_F(VIRTIO_RING_F_EVENT_IDX) : 0);
		e = f->vd.ring[0].device_event;
		desc(f, 0, VD_DATA, 1, 0, 0);
		assert_int_equal(vq_begin(&f->vq), 0);
		assert_int_equal(vq_pop(&f->vq, &c), 1);
		assert_int_equal(e->flags, VRING_PACKED_EVENT_FLAG_DISABLE);	/* we are at it */
		vq_push(&f->vq, &c.head, 0);
		assert_int_equal(vq_pop(&f->vq, &c), 0);
		assert_int_equal(e->flags, event_idx ? VRING_PACKED_EVENT_FLAG_DESC :
						       VRING_PACKED_EVENT_FLAG_ENABLE);
		assert_int_equal(e->off_wrap, event_idx ? 0x8001 : 0);
		desc(f, 1, VD_DATA, 1, 0, 0);
		assert_int_equal(vq_pop(&f->vq, &c), 1);
		/* A place that lies behind is silence enough. */
		assert_int_equal(e->flags, event_idx ? VRING_PACKED_EVENT_FLAG_DESC :
						       VRING_PACKED_EVENT_FLAG_DISABLE);
		vq_end(&f->vq);
	}
}

static _Atomic bool racing;

static void *change_length(void *arg)
{
	struct vring_packed_desc *d = arg;

	while (racing) {
		__atomic_store_n(&d->len, 16, __ATOMIC_RELAXED);
		__atomic_store_n(&d->len, 0xfffffff0, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* What is checked is what is used, whatever the guest does meanwhile. */
static void descriptor_changes_while_read(void **state)
{
	struct vqf *f = *state;
	unsigned int small = 0, large = 0;
	struct vq_chain c;
	time_t end = time(NULL) + 60;
	pthread_t t;

	racing = true;
	desc(f, 0, VD_DATA, 16, 0, 0);
	assert_int_equal(pthread_create(&t, NULL, change_length, entry(f, 0)), 0);
	/* The other thread needs a CPU: on a busy machine that takes a while. */
	for (int i = 0; i < 20000 || ((!small || !large) && time(NULL) < end); i++) {
		assert_int_equal(vq_begin(&f->vq), 0);
		assert_int_equal(vq_pop(&f->vq, &c), 1);
		assert_int_equal(c.out_len, c.seg[0].len);
		assert_true(c.out_len == 16 || c.out_len == 0xfffffff0);
		small += c.out_len == 16;
		large += c.out_len != 16;
		vq_rewind(&f->vq, &c.head);
		vq_end(&f->vq);
	}
	racing = false;
	pthread_join(t, NULL);
	assert_true(small && large);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, vqf_setup_packed, vqf_teardown)
	const struct CMUnitTest tests[] = {
		T(flags), T(written), T(chains), T(endless_chains), T(bad_indirect), T(indirect),
		T(bad_sizes_and_alignment), T(largest_ring), T(event_flags), T(event_at_the_wrap),
		T(device_structure), T(descriptor_changes_while_read),
	};

	log_set_level(LOG_ERROR);	/* the guest's misdeeds are the point here */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
