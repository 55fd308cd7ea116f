// SPDX-License-Identifier: BSD-3-Clause
/* What a device may count on whatever ring serves it: each test runs on both kinds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vq_fixture.h"

#define NUM VQF_NUM

static uint64_t ring_kind(const struct vqf *f)
{
	return f->vd.ring[0].packed ? VD_F_PACKED : 0;
}

static void again(struct vqf *f, uint16_t num, uint64_t features)
{
	vqf_ready(f, num, ring_kind(f) | features);
}

static uint16_t add(struct vqf *f, ipa_t at, uint32_t len, bool in)
{
	return vd_add(&f->vd, 0, &(struct vq_seg){ at, len }, 1, in ? 0 : 1);
}

/* A section in which one chain is taken, and is all right. */
static void works(struct vqf *f)
{
	struct vring_used_elem u;
	struct vq_chain c;
	uint16_t id = add(f, VD_DATA, 4, true);

	memset(vd_ptr(&f->vd, VD_DATA), 0, 4);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(vq_write(&f->vq, &c, 0, "good", 4), 0);
	vq_push(&f->vq, &c.head, 4);
	vq_end(&f->vq);
	assert_true(vd_used(&f->vd, 0, &u));
	assert_int_equal(u.id, id);
	assert_int_equal(u.len, 4);
	assert_memory_equal(vd_ptr(&f->vd, VD_DATA), "good", 4);
	assert_int_equal(f->broken, 0);
}

static void one_chain(void **state)
{
	struct vqf *f = *state;
	struct vq_seg seg[4] = { { VD_DATA, 5 }, { VD_DATA + 100, 7 }, { VD_DATA + 200, 3 },
				 { VD_DATA + 300, 9 } };
	struct vring_used_elem u;
	struct vq_chain c, none;
	char buf[16] = "";
	uint16_t id;

	memcpy(vd_ptr(&f->vd, VD_DATA), "Hello", 5);
	memcpy(vd_ptr(&f->vd, VD_DATA + 100), ", ring!", 7);
	id = vd_add(&f->vd, 0, seg, 4, 2);

	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(c.nr_out, 2);
	assert_int_equal(c.nr_in, 2);
	assert_int_equal(c.out_len, 12);
	assert_int_equal(c.in_len, 12);
	assert_int_equal(c.seg[1].addr, VD_DATA + 100);
	assert_int_equal(c.seg[3].len, 9);
	assert_int_equal(vq_read(&f->vq, &c, 3, buf, 9), 0);
	assert_string_equal(buf, "lo, ring!");
	assert_int_equal(vq_read(&f->vq, &c, 4, buf, 9), -EINVAL);
	assert_int_equal(vq_write(&f->vq, &c, 1, "abcdef", 6), 0);
	assert_int_equal(vq_write(&f->vq, &c, 12, "x", 1), -EINVAL);
	assert_int_equal(vq_pop(&f->vq, &none), 0);
	vq_push(&f->vq, &c.head, 7);
	assert_false(vd_used(&f->vd, 0, &u));	/* not before the end of the section */
	vq_end(&f->vq);

	assert_true(vd_used(&f->vd, 0, &u));
	assert_int_equal(u.id, id);
	assert_int_equal(u.len, 7);
	assert_memory_equal(vd_ptr(&f->vd, VD_DATA + 200), "\0ab", 3);
	assert_memory_equal(vd_ptr(&f->vd, VD_DATA + 300), "cdef", 5);
	assert_int_equal(f->notified, 1);
	assert_null(f->vq.desc);
	assert_int_equal(f->vq.inuse, 0);
}

static void indirect_chain(void **state)
{
	struct vqf *f = *state;
	struct vring_used_elem u;
	struct vq_seg seg[100];
	struct vq_chain c;
	uint16_t id;

	/* Longer than the ring, and not aligned. */
	for (unsigned int i = 0; i < ARRAY_SIZE(seg); i++)
		seg[i] = (struct vq_seg){ VD_DATA + i, 1 + i };
	for (int round = 0; round < 3 * NUM; round++) {
		id = vd_add_indirect(&f->vd, 0, seg, 100, 40, VD_DATA + 0x10002);
		assert_int_equal(vq_begin(&f->vq), 0);
		assert_int_equal(vq_pop(&f->vq, &c), 1);
		assert_int_equal(c.nr_out, 40);
		assert_int_equal(c.nr_in, 60);
		assert_int_equal(c.seg[99].addr, VD_DATA + 99);
		assert_int_equal(c.seg[99].len, 100);
		vq_push(&f->vq, &c.head, 0);
		vq_end(&f->vq);
		assert_true(vd_used(&f->vd, 0, &u));
		assert_int_equal(u.id, id);
		assert_int_equal(u.len, 0);
	}
}

/*
 * Driver and device at random, over many rounds of the ring: chains of one to three descriptors,
 * given back in any order (or in theirs), in sections of any length.
 */
static void at_random(struct vqf *f, uint16_t num, bool in_order, bool event_idx)
{
	struct { struct vq_head head; uint16_t id; uint32_t tag, size; } out[NUM];
	uint32_t tag[VD_RING_MAX] = { 0 }, nr_tags = 0, done = 0, rnd = num + in_order;
	uint32_t slots[VD_RING_MAX] = { 0 };
	unsigned int nr_out = 0, room = num, waiting = 0;

	again(f, num, (in_order ? VD_F_IN_ORDER : 0) |
		      (event_idx ? VD_F(VIRTIO_RING_F_EVENT_IDX) : 0));
	while (done < 30000) {
		struct vring_used_elem u;
		struct vq_chain c;
		bool pushed = false;

		rnd = rnd * 1664525 + 1013904223;
		while (room >= 3 || (room && num < 3)) {
			unsigned int nr = num < 3 ? 1 : 1 + (rnd >> 8) % 3;
			struct vq_seg seg[3];
			uint16_t id;

			for (unsigned int i = 0; i < nr; i++)
				seg[i] = (struct vq_seg){ VD_DATA + 16 * nr_tags, 1 + i };
			id = vd_add(&f->vd, 0, seg, nr, 0);
			assert_int_equal(tag[id], 0);
			tag[id] = ++nr_tags % 1000 + 1;
			slots[id] = nr;
			room -= nr;
			waiting++;
			rnd = rnd * 1664525 + 1013904223;
			if (rnd >> 28 < 4)
				break;
		}
		f->notified = 0;
		vd_ask_irq(&f->vd, 0, true);
		assert_int_equal(vq_begin(&f->vq), 0);
		while (waiting && nr_out < NUM) {
			assert_int_equal(vq_pop(&f->vq, &c), 1);
			assert_int_equal(c.nr_in, c.in_len == 1 ? 1 : c.in_len == 3 ? 2 : 3);
			out[nr_out].head = c.head;
			out[nr_out].tag = tag[c.head.id];
			out[nr_out++].size = c.in_len;
			waiting--;
			rnd = rnd * 1664525 + 1013904223;
			if (rnd >> 28 < 4)
				break;
		}
		while (nr_out) {
			unsigned int i = in_order ? 0 : (rnd >> 12) % nr_out;
			uint32_t len = out[i].size;

			rnd = rnd * 1664525 + 1013904223;
			if (rnd >> 28 < 3)
				len = 0;
			/* The length that the driver must see stands beside the tag. */
			assert_in_range(out[i].tag, 1, 1000);
			tag[out[i].head.id] = out[i].tag | len << 16;
			vq_push(&f->vq, &out[i].head, len);
			memmove(&out[i], &out[i + 1], (--nr_out - i) * sizeof(out[0]));
			pushed = true;
			if (rnd >> 24 & 1)
				break;
		}
		vq_end(&f->vq);
		assert_int_equal(f->broken, 0);
		assert_int_equal(f->notified, pushed);
		while (vd_used(&f->vd, 0, &u)) {
			assert_true(u.id < num);
			assert_int_equal(tag[u.id] >> 16, u.len);
			assert_int_not_equal(tag[u.id] & 0xffff, 0);
			tag[u.id] = 0;
			room += slots[u.id];
			done++;
		}
		/* Fewer are out than the ring has room for. */
		assert_int_equal(f->vq.inuse == 0, nr_out == 0);
	}
}

static void random_traffic(void **state)
{
	struct vqf *f = *state;
	static const uint16_t sizes[] = { 1, 2, 4, 8, 3, 5, 7, 100 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		if (!ring_kind(f) && (sizes[i] & (sizes[i] - 1)))
			continue;
		for (int in_order = 0; in_order < 2; in_order++)
			for (int event_idx = 0; event_idx < 2; event_idx++)
				at_random(f, sizes[i], in_order, event_idx);
	}
}

static void rewinding(void **state)
{
	struct vqf *f = *state;
	struct vring_used_elem u;
	struct vq_chain c[4], x;
	uint16_t id[4];

	/* Over and over, so that it happens at the wrap, too. */
	for (int round = 0; round < 3 * NUM; round++) {
		for (int i = 0; i < 3; i++) {
			struct vq_seg seg[2] = { { VD_DATA + 16 * i, 4 }, { VD_DATA + 16 * i, 4 } };

			id[i] = vd_add(&f->vd, 0, seg, 1 + (i == 1), 0);
		}
		assert_int_equal(vq_begin(&f->vq), 0);
		for (int i = 0; i < 3; i++)
			assert_int_equal(vq_pop(&f->vq, &c[i]), 1);
		assert_int_equal(vq_pop(&f->vq, &x), 0);
		vq_rewind(&f->vq, &c[1].head);
		vq_push(&f->vq, &c[0].head, 1);
		vq_end(&f->vq);
		assert_true(vd_used(&f->vd, 0, &u));
		assert_int_equal(u.id, id[0]);
		assert_false(vd_used(&f->vd, 0, &u));
		/* They are there again, in the next section, and once more after a second time. */
		for (int i = 0; i < 2; i++) {
			assert_int_equal(vq_begin(&f->vq), 0);
			assert_int_equal(vq_pop(&f->vq, &c[1]), 1);
			assert_int_equal(vq_pop(&f->vq, &c[2]), 1);
			assert_int_equal(c[1].head.id, id[1]);
			assert_int_equal(c[2].head.id, id[2]);
			assert_int_equal(vq_pop(&f->vq, &x), 0);
			vq_end(&f->vq);
			if (!i)
				vq_rewind(&f->vq, &c[1].head);
		}
		assert_int_equal(vq_begin(&f->vq), 0);
		vq_push(&f->vq, &c[1].head, 2);
		vq_push(&f->vq, &c[2].head, 3);
		vq_end(&f->vq);
		assert_int_equal(f->vq.inuse, 0);
		for (int i = 1; i < 3; i++) {
			assert_true(vd_used(&f->vd, 0, &u));
			assert_int_equal(u.id, id[i]);
			assert_int_equal(u.len, i + 1);
		}
	}

	/* A chain of a queue that was reset meanwhile. */
	add(f, VD_DATA, 1, true);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &x), 1);
	vq_end(&f->vq);
	again(f, NUM, 0);
	vq_rewind(&f->vq, &x.head);
	works(f);
}

/* After a look that found nothing, a chain that was put back does not swallow the next kick. */
static void rewinding_and_kicks(void **state)
{
	struct vqf *f = *state;
	struct vq_chain c, x;

	for (int event_idx = 0; event_idx < 2; event_idx++) {
		again(f, NUM, event_idx ? VD_F(VIRTIO_RING_F_EVENT_IDX) : 0);
		for (int round = 0; round < 3 * NUM; round++) {
			add(f, VD_DATA, 1, true);
			vd_wants_kick(&f->vd, 0);
			assert_int_equal(vq_begin(&f->vq), 0);
			assert_int_equal(vq_pop(&f->vq, &c), 1);
			assert_int_equal(vq_pop(&f->vq, &x), 0);
			vq_rewind(&f->vq, &c.head);
			vq_end(&f->vq);
			add(f, VD_DATA, 1, true);
			assert_true(vd_wants_kick(&f->vd, 0));
			assert_int_equal(vqf_serve(f), 2);
			while (vd_used(&f->vd, 0, &(struct vring_used_elem){ 0 }))
				;
		}
	}
}

/* Buffers that are merged into one packet must be seen together, or not at all. */
static void seen_together(void **state)
{
	struct vqf *f = *state;
	struct vring_used_elem u;
	struct vq_chain c;
	struct vq_head head[3];

	for (int round = 0; round < 2 * NUM; round++) {
		for (int i = 0; i < 3; i++)
			add(f, VD_DATA + i, 1, true);
		f->notified = 0;
		assert_int_equal(vq_begin(&f->vq), 0);
		for (int i = 0; i < 3; i++) {
			assert_int_equal(vq_pop(&f->vq, &c), 1);
			head[i] = c.head;
		}
		for (int i = 0; i < 3; i++) {
			vq_push(&f->vq, &head[i], 1);
			assert_false(vd_used(&f->vd, 0, &u));
		}
		vq_end(&f->vq);
		for (int i = 0; i < 3; i++)
			assert_true(vd_used(&f->vd, 0, &u));
		assert_int_equal(f->notified, 1);
	}
}

/* A queue that broke in the middle shows nothing of what was pushed before. */
static void broken_shows_nothing(void **state)
{
	struct vqf *f = *state;
	struct vring_used_elem u;
	struct vq_chain c;

	add(f, VD_DATA, 1, true);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { VD_DATA, UINT32_MAX }, { VD_DATA, 2 } }, 2, 2);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	vq_push(&f->vq, &c.head, 1);
	assert_int_equal(vq_pop(&f->vq, &c), -EIO);	/* longer than 4 GiB */
	vq_push(&f->vq, &c.head, 1);
	vq_end(&f->vq);
	assert_false(vd_used(&f->vd, 0, &u));
	assert_int_equal(f->broken, 1);
	assert_int_equal(f->notified, 0);
	assert_int_equal(vq_begin(&f->vq), -EIO);
	again(f, NUM, 0);
	works(f);
}

static unsigned int entries_written(struct vqf *f, uint16_t mark)
{
	struct vd_ring *r = &f->vd.ring[0];
	unsigned int n = 0;

	for (int i = 0; i < NUM; i++)
		n += r->packed ? r->pdesc[i].len != mark : r->used->ring[i].len != mark;
	return n;
}

/* In order, one entry for as many chains as were written to their end. */
static void batches(void **state)
{
	struct vqf *f = *state;
	static const struct {
		uint32_t len[6];	/* of chains that have room for 2 bytes */
		unsigned int entries;
	} cases[] = {
		{ { 2, 2, 2, 2, 2, 2 }, 1 }, { { 2, 2, 2, 2, 2, 1 }, 1 },
		{ { 1, 2, 2, 2, 2, 2 }, 2 }, { { 2, 1, 2, 0, 2, 2 }, 3 },
		{ { 1, 1, 1, 1, 1, 1 }, 6 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vd_ring *r = &f->vd.ring[0];
		struct vring_used_elem u;
		struct vq_chain c;
		uint16_t id[6];

		again(f, NUM, VD_F_IN_ORDER);
		for (int j = 0; j < 6; j++)
			id[j] = add(f, VD_DATA + j, 2, true);
		for (int j = 0; j < NUM && !r->packed; j++)
			r->used->ring[j].len = 77;
		assert_int_equal(vq_begin(&f->vq), 0);
		for (int j = 0; j < 6; j++) {
			assert_int_equal(vq_pop(&f->vq, &c), 1);
			assert_int_equal(c.head.id, id[j]);
			if (r->packed)
				r->pdesc[j].len = 77;
			vq_push(&f->vq, &c.head, cases[i].len[j]);
		}
		vq_end(&f->vq);
		assert_int_equal(entries_written(f, 77) - (r->packed ? 2 : 0), cases[i].entries);
		for (int j = 0; j < 6; j++) {
			assert_true(vd_used(&f->vd, 0, &u));
			assert_int_equal(u.id, id[j]);
			assert_int_equal(u.len, cases[i].len[j]);
		}
		assert_false(vd_used(&f->vd, 0, &u));
		works(f);
	}

	/* What the device only reads is one batch, and two sections are two. */
	again(f, NUM, VD_F_IN_ORDER);
	for (int round = 0; round < 2; round++) {
		struct vring_used_elem u;

		for (int j = 0; j < NUM; j++)
			vd_add(&f->vd, 0, &(struct vq_seg){ VD_DATA, 9 }, 1, 1);
		assert_int_equal(vqf_serve(f), NUM);
		for (int j = 0; j < NUM; j++)
			assert_true(vd_used(&f->vd, 0, &u));
		assert_int_equal(f->vd.ring[0].batch, 0);
	}

	/* A device that does not keep its word. */
	for (int j = 0; j < 2; j++)
		add(f, VD_DATA + j, 2, true);
	{
		struct vq_chain a, b;

		assert_int_equal(vq_begin(&f->vq), 0);
		assert_int_equal(vq_pop(&f->vq, &a), 1);
		assert_int_equal(vq_pop(&f->vq, &b), 1);
		vq_push(&f->vq, &b.head, 2);
		vq_end(&f->vq);
		assert_int_equal(f->broken, 1);
	}
}

static void kicks(void **state)
{
	struct vqf *f = *state;
	struct vq_chain c;

	for (int event_idx = 0; event_idx < 2; event_idx++) {
		again(f, NUM, event_idx ? VD_F(VIRTIO_RING_F_EVENT_IDX) : 0);
		assert_int_equal(vqf_serve(f), 0);
		for (int round = 0; round < 3 * NUM; round++) {
			/* Asleep: the first one wants a kick. */
			add(f, VD_DATA, 1, true);
			assert_true(vd_wants_kick(&f->vd, 0));
			if (event_idx) {
				add(f, VD_DATA, 1, true);
				assert_false(vd_wants_kick(&f->vd, 0));
			}
			assert_int_equal(vq_begin(&f->vq), 0);
			assert_int_equal(vq_pop(&f->vq, &c), 1);
			vq_push(&f->vq, &c.head, 0);
			/* At work. */
			add(f, VD_DATA, 1, true);
			assert_false(vd_wants_kick(&f->vd, 0));
			while (vq_pop(&f->vq, &c) > 0)
				vq_push(&f->vq, &c.head, 0);
			assert_int_equal(vq_pop(&f->vq, &c), 0);
			vq_end(&f->vq);
			while (vd_used(&f->vd, 0, &(struct vring_used_elem){ 0 }))
				;
		}
	}
}

/* Who looks by itself can put the kick off, where the feature is there. */
static void kicks_put_off(void **state)
{
	struct vqf *f = *state;

	for (int event_idx = 0; event_idx < 2; event_idx++) {
		again(f, NUM, event_idx ? VD_F(VIRTIO_RING_F_EVENT_IDX) : 0);
		for (int round = 0; round < 3 * NUM; round++) {
			assert_int_equal(vqf_serve(f), 0);
			assert_int_equal(vq_begin(&f->vq), 0);
			assert_false(vq_more(&f->vq));
			assert_false(vq_ask(&f->vq, 3));
			vq_end(&f->vq);
			for (int i = 0; i < 2; i++) {
				add(f, VD_DATA, 1, true);
				assert_int_equal(vd_wants_kick(&f->vd, 0), !event_idx);
			}
			add(f, VD_DATA, 1, true);
			assert_true(vd_wants_kick(&f->vd, 0));
			assert_int_equal(vq_begin(&f->vq), 0);
			assert_true(vq_more(&f->vq));
			assert_true(vq_ask(&f->vq, 3));
			vq_end(&f->vq);
			assert_int_equal(vqf_serve(f), 3);
			while (vd_used(&f->vd, 0, &(struct vring_used_elem){ 0 }))
				;
		}
	}
}

static void interrupts(void **state)
{
	struct vqf *f = *state;
	struct vring_used_elem u;

	for (int event_idx = 0; event_idx < 2; event_idx++) {
		again(f, NUM, event_idx ? VD_F(VIRTIO_RING_F_EVENT_IDX) : 0);
		for (int round = 0; round < 3 * NUM; round++) {
			f->notified = 0;
			vd_ask_irq(&f->vd, 0, false);
			add(f, VD_DATA, 1, true);
			assert_int_equal(vqf_serve(f), 1);
			assert_int_equal(f->notified, 0);
			assert_true(vd_used(&f->vd, 0, &u));
			vd_ask_irq(&f->vd, 0, true);
			assert_int_equal(vqf_serve(f), 0);	/* nothing to tell */
			assert_int_equal(f->notified, 0);
			/* The event lies at the first of these. */
			add(f, VD_DATA, 1, true);
			add(f, VD_DATA, 1, true);
			assert_int_equal(vqf_serve(f), 2);
			assert_int_equal(f->notified, 1);
			/* Passed, so it is silence. */
			add(f, VD_DATA, 1, true);
			assert_int_equal(vqf_serve(f), 1);
			assert_int_equal(f->notified, event_idx ? 1 : 2);
			while (vd_used(&f->vd, 0, &u))
				;
		}
	}
}

/* Another serves the ring for a while and says where it stopped. */
static void handed_over(void **state)
{
	struct vqf *f = *state;
	struct vq_part part[3];
	uint32_t base;

	for (int round = 0; round < 4 * NUM; round++) {
		ipa_t desc = f->vq.desc_addr, driver = f->vq.driver_addr, dev = f->vq.device_addr;

		works(f);
		base = vq_base(&f->vq);
		vq_parts(&f->vq, part);
		assert_int_equal(part[0].addr, desc);
		assert_int_equal(part[0].len, 16 * NUM);
		assert_int_equal(part[1].addr, driver);
		assert_int_equal(part[2].len, ring_kind(f) ? 4 : 6 + 8 * NUM);
		vq_disable(&f->vq);
		f->vq.num = NUM;
		f->vq.desc_addr = desc;
		f->vq.driver_addr = driver;
		f->vq.device_addr = dev;
		assert_int_equal(vq_enable(&f->vq, f->vd.features), 0);
		assert_int_equal(vq_set_base(&f->vq, base), 0);
		assert_int_equal(vq_base(&f->vq), base);
	}
	works(f);
	if (ring_kind(f)) {
		assert_int_equal(vq_base(&f->vq), 0x80018001);	/* 33 entries */
		assert_int_equal(vq_set_base(&f->vq, NUM), -EINVAL);
		assert_int_equal(vq_set_base(&f->vq, NUM << 16), -EINVAL);
		assert_int_equal(vq_set_base(&f->vq, 0x0003ffff), -EINVAL);
	} else {
		assert_int_equal(vq_base(&f->vq), 33);
		assert_int_equal(vq_set_base(&f->vq, 0x10000), -EINVAL);
		f->vq.device_addr = 0;
		assert_int_equal(vq_set_base(&f->vq, 0), -EFAULT);
		assert_int_equal(f->broken, 1);
	}
}

/* The chain comes out empty, with its name and place, and the next one is all right. */
static void loses_only_the_request(struct vqf *f, uint16_t id)
{
	struct vring_used_elem u;
	struct vq_chain c;

	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(c.nr_in + c.nr_out, 0);
	assert_int_equal(c.in_len + c.out_len, 0);
	vq_push(&f->vq, &c.head, 0);
	vq_end(&f->vq);
	assert_true(vd_used(&f->vd, 0, &u));
	assert_int_equal(u.id, id);
	works(f);
}

static void bad_addresses(void **state)
{
	struct vqf *f = *state;
	struct vq_seg seg[3] = { { VD_DATA, 4 }, { UINT64_MAX - 1, 3 }, { VD_DATA, 4 } };
	char buf[8];
	struct vq_chain c;

	/* It wraps around, in the middle of a chain and at its end. */
	loses_only_the_request(f, vd_add(&f->vd, 0, seg, 3, 3));
	loses_only_the_request(f, vd_add(&f->vd, 0, seg, 2, 2));
	again(f, NUM, VD_F(VIRTIO_RING_F_INDIRECT_DESC));
	loses_only_the_request(f, vd_add_indirect(&f->vd, 0, seg, 3, 3, VD_DATA + 0x100));
	again(f, NUM, VD_F(VIRTIO_RING_F_INDIRECT_DESC));

	/* Across the end of a region, and beyond all of them: known when it is used. */
	add(f, VD_RAM2 - 4, 8, false);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(vq_read(&f->vq, &c, 0, buf, 8), -EFAULT);
	assert_int_equal(vq_read(&f->vq, &c, 0, buf, 4), 0);
	vq_push(&f->vq, &c.head, 0);
	vq_end(&f->vq);
	assert_true(vd_used(&f->vd, 0, &(struct vring_used_elem){ 0 }));
	works(f);
}

static void lengths(void **state)
{
	struct vqf *f = *state;
	struct vq_seg none[3] = { { 0, 0 }, { VD_DATA, 4 }, { UINT64_MAX, 0 } };
	struct vring_used_elem u;
	struct vq_chain c;

	/* Empty ones carry nothing, and their addresses are never used. */
	vd_add(&f->vd, 0, none, 3, 1);
	add(f, 0, 0, true);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(c.nr_out, 0);
	assert_int_equal(c.nr_in, 1);
	vq_push(&f->vq, &c.head, 4);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(c.nr_out + c.nr_in, 0);
	vq_push(&f->vq, &c.head, 0);
	vq_end(&f->vq);
	assert_true(vd_used(&f->vd, 0, &u) && vd_used(&f->vd, 0, &u));

	/* 4 GiB less one byte is a length, if not one with memory behind it. */
	add(f, VD_DATA, UINT32_MAX, true);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(c.in_len, UINT32_MAX);
	assert_int_equal(vq_write(&f->vq, &c, VD_RAM_SIZE + VD_RAM2_SIZE, "", 1), -EFAULT);
	vq_push(&f->vq, &c.head, UINT64_MAX);
	vq_end(&f->vq);
	assert_true(vd_used(&f->vd, 0, &u));
	assert_int_equal(u.len, UINT32_MAX);
	assert_int_equal(f->broken, 0);
}

static void readable_after_writable(void **state)
{
	struct vqf *f = *state;
	struct vq_chain c;

	vd_add(&f->vd, 0, (struct vq_seg[]){ { VD_DATA, 4 }, { VD_DATA, 4 } }, 2, 0);
	if (f->vd.ring[0].packed)
		f->vd.ring[0].pdesc[1].flags &= ~VRING_DESC_F_WRITE;
	else
		f->vd.ring[0].desc[1].flags &= ~VRING_DESC_F_WRITE;
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), -EIO);
	vq_end(&f->vq);
	assert_int_equal(f->broken, 1);
}

static void ring_out_of_memory(void **state)
{
	struct vqf *f = *state;
	const ipa_t bad[] = { 0, VD_RAM2 - 4, VD_RAM2 + VD_RAM2_SIZE, UINT64_MAX - 0xf,
			      VD_WINDOW };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		for (int part = 0; part < 3; part++) {
			again(f, NUM, 0);
			if (part == 0)
				f->vq.desc_addr = ALIGN_DOWN(bad[i], 16);
			else if (part == 1)
				f->vq.driver_addr = ALIGN_DOWN(bad[i], 4);
			else
				f->vq.device_addr = ALIGN_DOWN(bad[i], 4);
			/* Four bytes are enough for an event structure. */
			if (bad[i] == VD_RAM2 - 4 && part && ring_kind(f))
				continue;
			assert_int_equal(vq_begin(&f->vq), -EIO);
			assert_int_equal(f->broken, 1);
			assert_null(f->vq.desc);
		}
}

static void private_memory(void **state)
{
	struct vqf *f = *state;
	struct vq_chain c;
	char buf[4] = "";

	/* A buffer: one byte too far is enough. */
	f->vd.private_base = VD_DATA + 0x1000;
	f->vd.private_len = 0x1000;
	memcpy(vd_ptr(&f->vd, VD_DATA + 0x1000), "key", 4);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { VD_DATA + 0x1000, 4 },
					     { VD_SHARED | (VD_DATA + 0xffe), 4 } }, 2, 1);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(vq_read(&f->vq, &c, 0, buf, 4), -EACCES);
	assert_memory_equal(buf, "\0\0\0", 4);
	assert_int_equal(vq_write(&f->vq, &c, 0, "1234", 4), -EACCES);
	assert_int_equal(vq_write(&f->vq, &c, 0, "12", 2), 0);
	vq_push(&f->vq, &c.head, 0);
	vq_end(&f->vq);
	assert_true(vd_used(&f->vd, 0, &(struct vring_used_elem){ 0 }));
	assert_string_equal(vd_ptr(&f->vd, VD_DATA + 0x1000), "key");

	/* An indirect table. */
	f->vd.private_len = 0;
	again(f, NUM, VD_F(VIRTIO_RING_F_INDIRECT_DESC));
	f->vd.private_len = 0x1000;
	loses_only_the_request(f, vd_add_indirect(&f->vd, 0, (struct vq_seg[]){ { VD_DATA, 1 },
						  { VD_DATA, 1 } }, 2, 1, VD_DATA + 0x1ff0));

	/* Each part of the ring, from the next section on. */
	for (int part = 0; part < 3; part++) {
		struct vq_part p[3];

		f->vd.private_len = 0;
		again(f, NUM, 0);
		vq_parts(&f->vq, p);
		assert_int_equal(vq_begin(&f->vq), 0);
		vq_end(&f->vq);
		f->vd.private_base = ALIGN_DOWN(p[part].addr, 0x1000);
		f->vd.private_len = 0x1000;
		assert_int_equal(vq_begin(&f->vq), -EIO);
		assert_int_equal(f->broken, 1);
		assert_int_equal(vq_begin(&f->vq), -EIO);
		assert_int_equal(f->broken, 1);
	}
}

static void shared_bit(void **state)
{
	struct vqf *f = *state;
	struct vring_used_elem u;
	struct vq_chain c;

	f->vq.desc_addr |= VD_SHARED;
	f->vq.driver_addr |= VD_SHARED;
	f->vq.device_addr |= VD_SHARED;
	add(f, VD_SHARED | VD_DATA, 4, true);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(vq_write(&f->vq, &c, 0, "test", 4), 0);
	vq_push(&f->vq, &c.head, 4);
	vq_end(&f->vq);
	assert_true(vd_used(&f->vd, 0, &u));
	assert_memory_equal(vd_ptr(&f->vd, VD_DATA), "test", 4);
}

static void late_push_after_reset(void **state)
{
	struct vqf *f = *state;
	struct vring_used_elem u;
	struct vq_chain c;

	add(f, VD_DATA, 1, true);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	vq_end(&f->vq);
	again(f, NUM, 0);
	assert_int_equal(vq_begin(&f->vq), 0);
	vq_push(&f->vq, &c.head, 1);
	vq_end(&f->vq);
	assert_false(vd_used(&f->vd, 0, &u));
	assert_int_equal(f->vq.inuse, 0);
	assert_int_equal(f->notified, 0);
	works(f);
}

int main(void)
{
#define T(name) \
	{ #name " (split)", name, vqf_setup, vqf_teardown }, \
	{ #name " (packed)", name, vqf_setup_packed, vqf_teardown }
#define R(name) \
	{ #name " (split)", name, vqf_setup_realm, vqf_teardown }, \
	{ #name " (packed)", name, vqf_setup_realm_packed, vqf_teardown }
	const struct CMUnitTest tests[] = {
		T(one_chain), T(indirect_chain), T(random_traffic), T(rewinding),
		T(rewinding_and_kicks), T(seen_together), T(broken_shows_nothing), T(batches),
		T(kicks), T(kicks_put_off), T(interrupts), T(handed_over), T(bad_addresses),
		T(lengths), T(readable_after_writable), T(ring_out_of_memory), R(private_memory),
		R(shared_bit), T(late_push_after_reset),
	};

	log_set_level(LOG_ERROR);	/* the guest's misdeeds are the point here */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
