// SPDX-License-Identifier: BSD-3-Clause
/* The split ring, from a driver that keeps the rules and from one that breaks each of them. */
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

static void desc(struct vqf *f, uint16_t i, ipa_t addr, uint32_t len, uint16_t flags,
		 uint16_t next)
{
	vd_desc(&f->vd, 0, i, addr, len, flags, next);
}

static struct vring_desc *table(struct vqf *f, ipa_t at)
{
	return vd_ptr(&f->vd, at);
}

/* Offer @head; the queue must break, tell it once, and stay broken until it is disabled. */
static void breaks(struct vqf *f, uint16_t head)
{
	struct vq_chain c;

	vd_offer(&f->vd, 0, head);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), -EIO);
	assert_int_equal(vq_pop(&f->vq, &c), -EIO);
	vq_end(&f->vq);
	assert_int_equal(f->broken, 1);
	assert_int_equal(vq_begin(&f->vq), -EIO);
	assert_int_equal(f->vd.ring[0].used->idx, 0);
	vq_disable(&f->vq);
	assert_false(f->vq.broken);
}

/* Offer @head; the chain must come out empty and the next one be all right. */
static void loses_only_the_request(struct vqf *f, uint16_t head)
{
	struct vring_used_elem u;
	struct vq_chain c;

	vd_offer(&f->vd, 0, head);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(c.nr_in + c.nr_out, 0);
	assert_int_equal(c.in_len + c.out_len, 0);
	vq_push(&f->vq, &c.head, 0);
	vq_end(&f->vq);
	assert_true(vd_used(&f->vd, 0, &u));
	assert_int_equal(u.id, head);

	desc(f, 7, VD_DATA, 4, W, 0);
	vd_offer(&f->vd, 0, 7);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(vq_write(&f->vq, &c, 0, "good", 4), 0);
	vq_push(&f->vq, &c.head, 4);
	vq_end(&f->vq);
	assert_true(vd_used(&f->vd, 0, &u));
	assert_int_equal(u.len, 4);
	assert_memory_equal(vd_ptr(&f->vd, VD_DATA), "good", 4);
	assert_int_equal(f->broken, 0);
}

static void one_chain(void **state)
{
	struct vqf *f = *state;
	struct vring_used_elem u;
	struct vq_chain c;
	char buf[16] = "";

	desc(f, 3, VD_DATA, 5, N, 1);
	desc(f, 1, VD_DATA + 100, 7, N, 6);
	desc(f, 6, VD_DATA + 200, 3, W | N, 0);
	desc(f, 0, VD_DATA + 300, 9, W, 0);
	memcpy(vd_ptr(&f->vd, VD_DATA), "Hello", 5);
	memcpy(vd_ptr(&f->vd, VD_DATA + 100), ", ring!", 7);
	vd_offer(&f->vd, 0, 3);

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
	assert_int_equal(vq_pop(&f->vq, &c), 0);
	vq_push(&f->vq, &c.head, 7);
	assert_int_equal(f->vd.ring[0].used->idx, 0);	/* not before the end of the section */
	vq_end(&f->vq);

	assert_true(vd_used(&f->vd, 0, &u));
	assert_int_equal(u.id, 3);
	assert_int_equal(u.len, 7);
	assert_memory_equal(vd_ptr(&f->vd, VD_DATA + 200), "\0ab", 3);
	assert_memory_equal(vd_ptr(&f->vd, VD_DATA + 300), "cdef", 5);
	assert_int_equal(f->notified, 1);
	assert_null(f->vq.desc);
}

static void slices(void **state)
{
	struct vqf *f = *state;
	struct vq_seg s[4];
	struct vq_chain c;

	desc(f, 0, VD_DATA, 16, N, 1);
	desc(f, 1, VD_DATA + 0x100, 10, N | W, 2);
	desc(f, 2, VD_DATA + 0x200, 10, N | W, 3);
	desc(f, 3, VD_DATA + 0x300, 10, W, 0);
	vd_offer(&f->vd, 0, 0);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(vq_slice(&c, true, 0, 30, s), 3);
	assert_int_equal(vq_slice(&c, true, 9, 12, s), 3);
	assert_int_equal(s[0].addr, VD_DATA + 0x109);
	assert_int_equal(s[0].len, 1);
	assert_int_equal(s[2].addr, VD_DATA + 0x300);
	assert_int_equal(s[2].len, 1);
	assert_int_equal(vq_slice(&c, true, 10, 10, s), 1);
	assert_int_equal(s[0].addr, VD_DATA + 0x200);
	assert_int_equal(vq_slice(&c, true, 29, 1, s), 1);
	assert_int_equal(s[0].addr, VD_DATA + 0x309);
	assert_int_equal(vq_slice(&c, false, 4, 12, s), 1);
	assert_int_equal(s[0].addr, VD_DATA + 4);
	assert_int_equal(vq_slice(&c, false, 16, 0, s), 0);
	vq_end(&f->vq);
}

/* Both 16 bit indices wrap several times. */
static void wraps_around(void **state)
{
	struct vqf *f = *state;

	for (int event_idx = 0; event_idx < 2; event_idx++) {
		uint32_t given = 0, taken = 0;

		vqf_ready(f, NUM, event_idx ? VD_F(VIRTIO_RING_F_EVENT_IDX) : 0);
		for (int i = 0; i < NUM; i++)
			desc(f, i, VD_DATA + 16 * i, 16, W, 0);
		while (taken < 200000) {
			unsigned int batch = 1 + taken % NUM;
			struct vring_used_elem u;
			struct vq_chain c;

			f->vd.ring[0].avail->ring[NUM] = taken;	/* used_event: at once */
			f->notified = 0;
			for (unsigned int i = 0; i < batch; i++)
				vd_offer(&f->vd, 0, given++ % NUM);
			assert_int_equal(vq_begin(&f->vq), 0);
			while (vq_pop(&f->vq, &c) > 0)
				vq_push(&f->vq, &c.head, c.head.id);
			vq_end(&f->vq);
			for (unsigned int i = 0; i < batch; i++, taken++) {
				assert_true(vd_used(&f->vd, 0, &u));
				assert_int_equal(u.id, taken % NUM);
				assert_int_equal(u.len, u.id);
			}
			assert_false(vd_used(&f->vd, 0, &u));
			assert_int_equal(f->notified, 1);
		}
	}
}

static void largest_ring(void **state)
{
	struct vqf *f = *state;
	struct vring_desc *d = vd_ptr(&f->vd, VD_DATA);
	struct vring_avail *avail = vd_ptr(&f->vd, VD_DATA + 0x100000);
	struct vring_used *used = vd_ptr(&f->vd, VD_DATA + 0x200000);
	struct vqf big = { 0 };
	struct vq_chain c;

	vq_init(&big.vq, &vqf_ops, &f->vd.gm, "big", 0, VQ_SIZE_MAX);
	assert_int_equal(big.vq.num, VQ_SIZE_MAX);
	big.vq.desc_addr = VD_DATA;
	big.vq.driver_addr = VD_DATA + 0x100000;
	big.vq.device_addr = VD_DATA + 0x200000;
	assert_int_equal(vq_enable(&big.vq, 0), 0);
	for (uint32_t i = 0; i < VQ_SIZE_MAX; i++) {
		d[i] = (struct vring_desc){ VD_DATA + 0x300000 + i, 1, W, 0 };
		avail->ring[i] = VQ_SIZE_MAX - 1 - i;
	}
	avail->idx = VQ_SIZE_MAX;
	assert_int_equal(vq_begin(&big.vq), 0);
	for (uint32_t i = 0; i < VQ_SIZE_MAX; i++) {
		assert_int_equal(vq_pop(&big.vq, &c), 1);
		assert_int_equal(c.head.id, VQ_SIZE_MAX - 1 - i);
		vq_push(&big.vq, &c.head, 1);
	}
	assert_int_equal(vq_pop(&big.vq, &c), 0);
	vq_end(&big.vq);
	assert_int_equal(used->idx, VQ_SIZE_MAX);
	assert_int_equal(used->ring[VQ_SIZE_MAX - 1].id, 0);
	assert_int_equal(big.broken, 0);

	/* One chain longer than what an iovec can hold. */
	for (uint32_t i = 0; i < VQ_SIZE_MAX; i++)
		d[i] = (struct vring_desc){ VD_DATA + 0x300000, 1, W | N, i + 1 };
	d[VQ_CHAIN_MAX - 1].flags = W;
	avail->ring[0] = 0;
	avail->idx++;
	assert_int_equal(vq_begin(&big.vq), 0);
	assert_int_equal(vq_pop(&big.vq, &c), 1);
	assert_int_equal(c.nr_in, VQ_CHAIN_MAX);
	d[VQ_CHAIN_MAX - 1].flags = W | N;
	d[VQ_CHAIN_MAX].flags = W;
	avail->ring[1] = 0;
	avail->idx++;
	assert_int_equal(vq_pop(&big.vq, &c), -EIO);
	vq_end(&big.vq);
	assert_int_equal(big.broken, 1);
	vq_destroy(&big.vq);
}

static void bad_sizes_and_alignment(void **state)
{
	struct vqf *f = *state;
	static const struct {
		uint16_t num;
		unsigned int desc, driver, device;
	} bad[] = {
		{ 0, 0, 0, 0 }, { 3, 0, 0, 0 }, { 2048, 0, 0, 0 },
		{ NUM, 8, 0, 0 }, { NUM, 0, 1, 0 }, { NUM, 0, 0, 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		vq_disable(&f->vq);
		f->broken = 0;
		f->vq.num = bad[i].num;
		f->vq.desc_addr = VD_DATA + bad[i].desc;
		f->vq.driver_addr = VD_DATA + 0x1000 + bad[i].driver;
		f->vq.device_addr = VD_DATA + 0x2000 + bad[i].device;
		assert_int_equal(vq_enable(&f->vq, 0), -EINVAL);
		assert_int_equal(f->broken, 1);
		assert_int_equal(vq_begin(&f->vq), -EIO);
	}
	vqf_ready(f, 1, 0);		/* the smallest */
	desc(f, 0, VD_DATA, 1, 0, 0);
	vd_offer(&f->vd, 0, 0);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &(struct vq_chain){ 0 }), 1);
	vq_end(&f->vq);
}

static void ring_out_of_memory(void **state)
{
	struct vqf *f = *state;
	const ipa_t bad[] = { 0, VD_RAM2 - 64, VD_RAM2 + VD_RAM2_SIZE - 4, UINT64_MAX - 0xf,
			      VD_WINDOW };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		for (int part = 0; part < 3; part++) {
			vqf_ready(f, 64, 0);
			if (part == 0)
				f->vq.desc_addr = ALIGN_DOWN(bad[i], 16);
			else if (part == 1)
				f->vq.driver_addr = ALIGN_DOWN(bad[i], 4);
			else
				f->vq.device_addr = ALIGN_DOWN(bad[i], 4);
			assert_int_equal(vq_begin(&f->vq), -EIO);
			assert_int_equal(f->broken, 1);
		}
}

static void index_jumps(void **state)
{
	struct vqf *f = *state;
	struct vq_chain c;

	desc(f, 0, VD_DATA, 1, 0, 0);
	f->vd.ring[0].avail->idx = NUM;		/* with breaks(): NUM + 1 */
	breaks(f, 0);
	vqf_ready(f, NUM, 0);
	f->vd.ring[0].avail->idx = UINT16_MAX - 1;	/* backwards */
	breaks(f, 0);

	/* Full is no jump. */
	vqf_ready(f, NUM, 0);
	for (int i = 0; i < NUM; i++) {
		desc(f, i, VD_DATA, 1, 0, 0);
		vd_offer(&f->vd, 0, i);
	}
	assert_int_equal(vq_begin(&f->vq), 0);
	for (int i = 0; i < NUM; i++)
		assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(vq_pop(&f->vq, &c), 0);
	/* All are out: whatever comes now has been offered twice. */
	vd_offer(&f->vd, 0, 0);
	assert_int_equal(vq_pop(&f->vq, &c), -EIO);
	vq_end(&f->vq);
	assert_int_equal(f->broken, 1);
}

static void loops(void **state)
{
	struct vqf *f = *state;
	struct vring_desc *t = table(f, VD_DATA + 0x1000);
	struct vq_chain c;

	desc(f, 0, VD_DATA, 1, N, 0);
	breaks(f, 0);

	vqf_ready(f, NUM, 0);
	desc(f, 0, VD_DATA, 1, N, 1);
	desc(f, 1, VD_DATA, 1, N, 0);
	breaks(f, 0);

	vqf_ready(f, NUM, 0);	/* nothing but empty descriptors */
	desc(f, 0, VD_DATA, 0, N, 0);
	breaks(f, 0);

	vqf_ready(f, NUM, VD_F(VIRTIO_RING_F_INDIRECT_DESC));
	t[0] = (struct vring_desc){ VD_DATA, 1, N, 1 };
	t[1] = (struct vring_desc){ VD_DATA, 1, N, 0 };
	desc(f, 0, VD_DATA + 0x1000, 32, I, 0);
	breaks(f, 0);

	/* As long as the queue: allowed. */
	vqf_ready(f, NUM, 0);
	for (int i = 0; i < NUM; i++)
		desc(f, i, VD_DATA, 1, i < NUM - 1 ? N : 0, i + 1);
	vd_offer(&f->vd, 0, 0);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(c.nr_out, NUM);
	vq_end(&f->vq);
}

static void bad_indices(void **state)
{
	struct vqf *f = *state;
	struct vring_desc *t = table(f, VD_DATA + 0x1000);

	breaks(f, NUM);
	vqf_ready(f, NUM, 0);
	breaks(f, UINT16_MAX);
	vqf_ready(f, NUM, 0);
	desc(f, 0, VD_DATA, 1, N, NUM);
	breaks(f, 0);
	vqf_ready(f, NUM, VD_F(VIRTIO_RING_F_INDIRECT_DESC));
	t[0] = (struct vring_desc){ VD_DATA, 1, N, 2 };
	desc(f, 0, VD_DATA + 0x1000, 32, I, 0);
	breaks(f, 0);
}

static void readable_after_writable(void **state)
{
	struct vqf *f = *state;

	desc(f, 0, VD_DATA, 1, N | W, 1);
	desc(f, 1, VD_DATA, 1, 0, 0);
	breaks(f, 0);
}

static void indirect(void **state)
{
	struct vqf *f = *state;
	struct vring_desc *t = table(f, VD_DATA + 0x1000);
	struct vq_chain c;

	/* Chained out of order, after a plain one; the write flag of the table means nothing. */
	t[0] = (struct vring_desc){ VD_DATA + 16, 2, N, 19 };
	t[19] = (struct vring_desc){ VD_DATA + 32, 3, N | W, 7 };
	t[7] = (struct vring_desc){ VD_DATA + 48, 4, W, 0 };
	desc(f, 2, VD_DATA, 1, N, 4);
	desc(f, 4, VD_DATA + 0x1000, 20 * 16, I | W, 0);
	vd_offer(&f->vd, 0, 2);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(c.head.id, 2);
	assert_int_equal(c.nr_out, 2);
	assert_int_equal(c.out_len, 3);
	assert_int_equal(c.nr_in, 2);
	assert_int_equal(c.seg[2].addr, VD_DATA + 32);
	assert_int_equal(c.seg[3].len, 4);
	vq_push(&f->vq, &c.head, 0);

	/* A table may be longer than the queue, and need not be aligned. */
	for (int i = 0; i < 100; i++) {
		struct vring_desc d = { VD_DATA + i, 1, i < 99 ? N : 0, i + 1 };

		memcpy((uint8_t *)t + 2 + 16 * i, &d, sizeof(d));
	}
	desc(f, 0, VD_DATA + 0x1002, 100 * 16, I, 0);
	vd_offer(&f->vd, 0, 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(c.nr_out, 100);
	assert_int_equal(c.seg[99].addr, VD_DATA + 99);
	vq_end(&f->vq);
	assert_int_equal(f->broken, 0);
}

static void bad_indirect(void **state)
{
	struct vqf *f = *state;
	struct vring_desc *t = table(f, VD_DATA + 0x1000);
	const uint64_t features = VD_F(VIRTIO_RING_F_INDIRECT_DESC);
	const uint32_t sizes[] = { 0, 8, 17, 16 * (VQ_CHAIN_MAX + 1), UINT32_MAX,
				   UINT32_MAX & ~15u };

	t[0] = (struct vring_desc){ VD_DATA + 0x1000, 16, I, 0 };	/* in itself */
	desc(f, 0, VD_DATA + 0x1000, 16, I, 0);
	breaks(f, 0);

	t[0] = (struct vring_desc){ VD_DATA, 16, 0, 0 };
	vqf_ready(f, NUM, 0);			/* not negotiated */
	desc(f, 0, VD_DATA + 0x1000, 16, I, 0);
	breaks(f, 0);

	vqf_ready(f, NUM, features);		/* with a successor */
	desc(f, 0, VD_DATA + 0x1000, 16, I | N, 1);
	breaks(f, 0);

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		vqf_ready(f, NUM, features);
		desc(f, 0, VD_DATA + 0x1000, sizes[i], I, 0);
		breaks(f, 0);
	}

	/* Too long in sum, though neither part is. */
	vqf_ready(f, NUM, features);
	t = table(f, VD_DATA + 0x10000);
	for (int i = 0; i < VQ_CHAIN_MAX; i++)
		t[i] = (struct vring_desc){ VD_DATA, 1, i < VQ_CHAIN_MAX - 1 ? N : 0, i + 1 };
	desc(f, 0, VD_DATA, 1, N, 1);
	desc(f, 1, VD_DATA + 0x10000, 16 * VQ_CHAIN_MAX, I, 0);
	breaks(f, 0);
}

static void empty_descriptors(void **state)
{
	struct vqf *f = *state;
	struct vq_chain c;

	desc(f, 0, 0, 0, N, 1);		/* its address is never used */
	desc(f, 1, VD_DATA, 4, N, 2);
	desc(f, 2, UINT64_MAX, 0, W | N, 3);
	desc(f, 3, VD_DATA, 4, W, 0);
	vd_offer(&f->vd, 0, 0);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(c.nr_out, 1);
	assert_int_equal(c.nr_in, 1);
	vq_push(&f->vq, &c.head, 0);
	desc(f, 0, 0, 0, 0, 0);
	vd_offer(&f->vd, 0, 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(c.nr_out + c.nr_in, 0);
	vq_end(&f->vq);
	assert_int_equal(f->broken, 0);
}

static void huge_lengths(void **state)
{
	struct vqf *f = *state;
	struct vq_chain c;
	char b;

	/* 4 GiB less one byte is a length, if not one with memory behind it. */
	desc(f, 0, VD_DATA, UINT32_MAX, 0, 0);
	vd_offer(&f->vd, 0, 0);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(c.out_len, UINT32_MAX);
	assert_int_equal(vq_read(&f->vq, &c, VD_RAM_SIZE + VD_RAM2_SIZE, &b, 1), -EFAULT);
	vq_push(&f->vq, &c.head, UINT64_MAX);
	vq_end(&f->vq);
	assert_int_equal(f->vd.ring[0].used->ring[0].len, UINT32_MAX);

	vqf_ready(f, NUM, 0);
	desc(f, 0, VD_DATA, UINT32_MAX, N, 1);
	desc(f, 1, VD_DATA, 2, 0, 0);
	breaks(f, 0);
}

static void address_wraps(void **state)
{
	struct vqf *f = *state;

	desc(f, 0, VD_DATA, 4, N, 1);
	desc(f, 1, UINT64_MAX - 1, 3, W, 0);
	loses_only_the_request(f, 0);
}

static void straddles_regions(void **state)
{
	struct vqf *f = *state;
	struct vq_chain c;
	char buf[8];

	desc(f, 0, VD_RAM2 - 4, 8, 0, 0);
	vd_offer(&f->vd, 0, 0);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(vq_read(&f->vq, &c, 0, buf, 8), -EFAULT);
	assert_int_equal(vq_read(&f->vq, &c, 0, buf, 4), 0);
	vq_push(&f->vq, &c.head, 0);
	vq_end(&f->vq);
	assert_int_equal(f->broken, 0);
}

static void indirect_table_out_of_memory(void **state)
{
	struct vqf *f = *state;

	desc(f, 0, VD_RAM2 - 16, 32, I, 0);
	loses_only_the_request(f, 0);
}

static void private_buffer(void **state)
{
	struct vqf *f = *state;
	struct vq_chain c;
	char buf[4] = "";

	f->vd.private_base = VD_DATA + 0x1000;
	f->vd.private_len = 0x1000;
	memcpy(vd_ptr(&f->vd, VD_DATA + 0x1000), "key", 4);
	desc(f, 0, VD_DATA + 0x1000, 4, N, 1);
	desc(f, 1, VD_SHARED | (VD_DATA + 0xffe), 4, W, 0);	/* one byte too far is enough */
	vd_offer(&f->vd, 0, 0);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(vq_read(&f->vq, &c, 0, buf, 4), -EACCES);
	assert_memory_equal(buf, "\0\0\0", 4);
	assert_int_equal(vq_write(&f->vq, &c, 0, "1234", 4), -EACCES);
	assert_int_equal(vq_write(&f->vq, &c, 0, "12", 2), 0);
	vq_push(&f->vq, &c.head, 0);
	vq_end(&f->vq);
	assert_int_equal(f->broken, 0);
	assert_string_equal(vd_ptr(&f->vd, VD_DATA + 0x1000), "key");
	f->vd.private_len = 0;
	vqf_ready(f, NUM, VD_F(VIRTIO_RING_F_INDIRECT_DESC));

	f->vd.private_len = 0x1000;
	desc(f, 0, VD_DATA + 0x1ff0, 32, I, 0);
	loses_only_the_request(f, 0);
}

static void private_ring(void **state)
{
	struct vqf *f = *state;

	assert_int_equal(vq_begin(&f->vq), 0);
	vq_end(&f->vq);
	f->vd.private_base = f->vd.ring[0].used_ipa;
	f->vd.private_len = 0x1000;
	assert_int_equal(vq_begin(&f->vq), -EIO);	/* from this section on */
	assert_int_equal(f->broken, 1);
	assert_int_equal(vq_begin(&f->vq), -EIO);
	assert_int_equal(f->broken, 1);
}

static void shared_bit(void **state)
{
	struct vqf *f = *state;
	struct vq_chain c;

	f->vq.desc_addr |= VD_SHARED;
	f->vq.driver_addr |= VD_SHARED;
	f->vq.device_addr |= VD_SHARED;
	desc(f, 0, VD_SHARED | VD_DATA, 4, W, 0);
	vd_offer(&f->vd, 0, 0);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(vq_write(&f->vq, &c, 0, "test", 4), 0);
	vq_push(&f->vq, &c.head, 4);
	vq_end(&f->vq);
	assert_memory_equal(vd_ptr(&f->vd, VD_DATA), "test", 4);
	assert_int_equal(f->vd.ring[0].used->idx, 1);
}

static void suppression_by_flags(void **state)
{
	struct vqf *f = *state;
	struct vd_ring *r = &f->vd.ring[0];
	struct vq_chain c;

	desc(f, 0, VD_DATA, 1, 0, 0);
	vd_offer(&f->vd, 0, 0);
	r->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(r->used->flags, VRING_USED_F_NO_NOTIFY);	/* we are at it */
	vq_push(&f->vq, &c.head, 0);
	assert_int_equal(vq_pop(&f->vq, &c), 0);
	assert_int_equal(r->used->flags, 0);
	vq_end(&f->vq);
	assert_int_equal(f->notified, 0);

	r->avail->flags = 0;
	vd_offer(&f->vd, 0, 0);
	assert_int_equal(vqf_serve(f), 1);
	assert_int_equal(f->notified, 1);
	assert_int_equal(vqf_serve(f), 0);		/* nothing used, nothing to tell */
	assert_int_equal(f->notified, 1);
}

/* avail_event: behind the last used element. */
static uint16_t *event_of(struct vd_ring *r)
{
	return (uint16_t *)((uint8_t *)r->used + 4 + 8 * r->num);
}

static void suppression_by_index(void **state)
{
	struct vqf *f = *state;
	struct vd_ring *r;
	uint16_t *used_event, *avail_event;

	vqf_ready(f, NUM, VD_F(VIRTIO_RING_F_EVENT_IDX));
	r = &f->vd.ring[0];
	used_event = &r->avail->ring[NUM];
	avail_event = event_of(r);
	desc(f, 0, VD_DATA, 1, 0, 0);
	r->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;	/* must not count here */

	*used_event = 2;	/* tell me about the third */
	for (int i = 0; i < 2; i++) {
		vd_offer(&f->vd, 0, 0);
		assert_int_equal(vqf_serve(f), 1);
		assert_int_equal(f->notified, 0);
		assert_int_equal(*avail_event, i + 1);	/* the next one wants a kick */
	}
	vd_offer(&f->vd, 0, 0);
	assert_int_equal(vqf_serve(f), 1);
	assert_int_equal(f->notified, 1);
	vd_offer(&f->vd, 0, 0);
	assert_int_equal(vqf_serve(f), 1);
	assert_int_equal(f->notified, 1);
	assert_int_equal(r->used->flags, 0);

	/* A batch that goes past the event tells it, too: entries 4 to 7, event at 5. */
	*used_event = 5;
	for (int i = 0; i < 4; i++)
		vd_offer(&f->vd, 0, 0);
	assert_int_equal(vqf_serve(f), 4);
	assert_int_equal(f->notified, 2);
	/* While there is work the event stays behind. */
	vd_offer(&f->vd, 0, 0);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &(struct vq_chain){ 0 }), 1);
	assert_int_equal(*avail_event, 8);
	vq_end(&f->vq);
}

/* The event index where the 16 bits wrap. */
static void event_at_the_wrap(void **state)
{
	struct vqf *f = *state;
	struct vd_ring *r;

	vqf_ready(f, NUM, VD_F(VIRTIO_RING_F_EVENT_IDX));
	r = &f->vd.ring[0];
	desc(f, 0, VD_DATA, 1, 0, 0);
	r->avail->idx = r->used->idx = r->last_used = 0xfffe;
	f->vq.avail_idx = f->vq.last_avail = f->vq.used = f->vq.published = 0xfffe;
	r->avail->ring[NUM] = 0;	/* the third from here */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(f->notified, 0);
		vd_offer(&f->vd, 0, 0);
		assert_int_equal(vqf_serve(f), 1);
	}
	assert_int_equal(f->notified, 1);
	assert_int_equal(r->used->idx, 1);
	assert_int_equal(*event_of(r), 1);
}

static void late_push_after_reset(void **state)
{
	struct vqf *f = *state;
	struct vq_chain c;

	desc(f, 0, VD_DATA, 1, 0, 0);
	vd_offer(&f->vd, 0, 0);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	vq_end(&f->vq);
	vqf_ready(f, NUM, 0);
	assert_int_equal(vq_begin(&f->vq), 0);
	vq_push(&f->vq, &c.head, 1);
	vq_end(&f->vq);
	assert_int_equal(f->vd.ring[0].used->idx, 0);
	assert_int_equal(f->vq.inuse, 0);
	assert_int_equal(f->notified, 0);
}

static _Atomic bool racing;

static void *change_length(void *arg)
{
	struct vring_desc *d = arg;

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

	desc(f, 0, VD_DATA, 16, 0, 0);
	racing = true;
	assert_int_equal(pthread_create(&t, NULL, change_length, &f->vd.ring[0].desc[0]), 0);
	/* The other thread needs a CPU: on a busy machine that takes a while. */
	for (int i = 0; i < 20000 || ((!small || !large) && time(NULL) < end); i++) {
		vd_offer(&f->vd, 0, 0);
		assert_int_equal(vq_begin(&f->vq), 0);
		assert_int_equal(vq_pop(&f->vq, &c), 1);
		assert_int_equal(c.out_len, c.seg[0].len);
		assert_true(c.out_len == 16 || c.out_len == 0xfffffff0);
		small += c.out_len == 16;
		large += c.out_len != 16;
		vq_push(&f->vq, &c.head, 0);
		vq_end(&f->vq);
	}
	racing = false;
	pthread_join(t, NULL);
	assert_true(small && large);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, vqf_setup, vqf_teardown)
#define R(name) cmocka_unit_test_setup_teardown(name, vqf_setup_realm, vqf_teardown)
	const struct CMUnitTest tests[] = {
		T(one_chain), T(slices), T(wraps_around), T(largest_ring),
		T(bad_sizes_and_alignment), T(ring_out_of_memory), T(index_jumps), T(loops),
		T(bad_indices), T(readable_after_writable), T(indirect), T(bad_indirect),
		T(empty_descriptors), T(huge_lengths), T(address_wraps), T(straddles_regions),
		T(indirect_table_out_of_memory), R(private_buffer), R(private_ring), R(shared_bit),
		T(suppression_by_flags), T(suppression_by_index), T(event_at_the_wrap),
		T(late_push_after_reset), T(descriptor_changes_while_read),
	};

	log_set_level(LOG_ERROR);	/* the guest's misdeeds are the point here */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
