// SPDX-License-Identifier: BSD-3-Clause
/*
 * Driver and device on two threads, each of which sleeps until the other wakes it: a notification
 * that is lost stops both, data that come late or too early are wrong. What a CPU's own strictness
 * hides here is in test_litmus.c.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/vdriver.h"

#define CHAINS		20000
#define PATIENCE_MS	30000	/* nobody sleeps that long unless nobody wakes him */
#define BUF(i)		(VD_DATA + 64 * (i))
#define TABLE(i)	(VD_DATA + 0x100000 + 64 * (i))

struct stress {
	struct vdriver vd;
	struct vq vq;
	bool packed, event_idx, in_order, indirect;
	uint16_t num;
	int kick, irq;
	unsigned int kicks, irqs;
	_Atomic bool stop, failed;
};

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 16;
}

static void wake(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

/* Returns false if nobody came. */
static bool sleep_on(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t n;

	return poll(&p, 1, PATIENCE_MS) == 1 && read(fd, &n, sizeof(n)) == sizeof(n);
}

static void notify(struct vq *vq)
{
	struct stress *s = container_of(vq, struct stress, vq);

	s->irqs++;
	wake(s->irq);
}

static void broken(struct vq *vq, const char *why)
{
	container_of(vq, struct stress, vq)->failed = true;
}

static const struct vq_ops ops = { notify, broken };

static uint64_t answer(uint64_t question)
{
	return question * 0x9e3779b97f4a7c15ULL + 1;
}

/* Some of what is there, given back now or in a later section. Returns false if there is none. */
static bool serve(struct stress *s, struct vq_head *out, unsigned int *nr_out, uint32_t *seed)
{
	unsigned int budget = 1 + next_random(seed) % 8;
	struct vq_chain c;
	bool more = true;
	uint64_t v;

	if (vq_begin(&s->vq) < 0)
		return false;
	while (budget-- && (more = vq_pop(&s->vq, &c) > 0)) {
		if (c.nr_out != 1 || c.nr_in != 1 || vq_read(&s->vq, &c, 0, &v, 8) < 0) {
			s->failed = true;
			break;
		}
		v = answer(v);
		if (vq_write(&s->vq, &c, 0, &v, 8) < 0)
			s->failed = true;
		out[(*nr_out)++] = c.head;
	}
	/* All of it before a sleep, else at times. */
	while (*nr_out && (!more || next_random(seed) % 4)) {
		unsigned int i = s->in_order ? 0 : next_random(seed) % *nr_out;

		vq_push(&s->vq, &out[i], 8);
		memmove(&out[i], &out[i + 1], (--*nr_out - i) * sizeof(*out));
	}
	vq_end(&s->vq);
	return more;
}

static void *device(void *arg)
{
	struct stress *s = arg;
	struct vq_head *out = calloc(VD_RING_MAX, sizeof(*out));
	unsigned int nr_out = 0;
	uint32_t seed = 1;

	while (!s->failed) {
		if (!sleep_on(s->kick))
			s->failed = true;
		if (s->stop)
			break;
		while (serve(s, out, &nr_out, &seed) && !s->failed)
			if (next_random(&seed) % 16 == 0)
				sched_yield();
	}
	free(out);
	return NULL;
}

static void offer(struct stress *s, uint64_t *asked, uint32_t i, uint64_t question)
{
	struct vq_seg seg[2] = { { BUF(i), 8 }, { BUF(i) + 8, 8 } };
	uint64_t *buf = vd_ptr(&s->vd, BUF(i));
	uint16_t id;

	buf[0] = question;
	buf[1] = 0;
	id = s->indirect ? vd_add_indirect(&s->vd, 0, seg, 2, 1, TABLE(i)) :
			   vd_add(&s->vd, 0, seg, 2, 1);
	asked[id] = i;
}

/* Take back what is there. Returns how many chains that was. */
static unsigned int collect(struct stress *s, const uint64_t *asked, uint32_t *unused,
			    unsigned int *nr_unused)
{
	struct vring_used_elem u;
	unsigned int n = 0;

	for (; vd_used(&s->vd, 0, &u); n++) {
		const uint64_t *buf = vd_ptr(&s->vd, BUF(asked[u.id]));

		assert_int_equal(u.len, 8);
		assert_int_equal(buf[1], answer(buf[0]));
		unused[(*nr_unused)++] = asked[u.id];
	}
	return n;
}

static void drive(struct stress *s)
{
	unsigned int room = s->num / (s->indirect ? 1 : 2), nr_unused = 0, n;
	uint64_t *asked = calloc(VD_RING_MAX, sizeof(*asked));
	uint32_t *unused = calloc(VD_RING_MAX, sizeof(*unused));
	unsigned int sent = 0, done = 0;
	uint32_t seed = 2;

	for (unsigned int i = 0; i < room; i++)
		unused[nr_unused++] = i;
	while (done < CHAINS && !s->failed) {
		unsigned int burst = 1 + next_random(&seed) % (2 * room);

		for (; burst-- && nr_unused && sent < CHAINS; sent++)
			offer(s, asked, unused[--nr_unused], sent + 1);
		if (vd_wants_kick(&s->vd, 0)) {
			s->kicks++;
			wake(s->kick);
		}
		n = collect(s, asked, unused, &nr_unused);
		done += n;
		if (n || (nr_unused && sent < CHAINS) || done == CHAINS)
			continue;
		vd_ask_irq(&s->vd, 0, true);
		n = collect(s, asked, unused, &nr_unused);
		done += n;
		if (!n && !sleep_on(s->irq))
			s->failed = true;
		vd_ask_irq(&s->vd, 0, false);
	}
	free(asked);
	free(unused);
	assert_false(s->failed);
	assert_int_equal(done, CHAINS);
}

static void stress(bool packed, uint16_t num, bool event_idx, bool in_order, bool indirect)
{
	struct stress *s = calloc(1, sizeof(*s));
	pthread_t thread;

	s->packed = packed;
	s->event_idx = event_idx;
	s->in_order = in_order;
	s->indirect = indirect;
	s->num = num;
	s->kick = eventfd(0, EFD_CLOEXEC);
	s->irq = eventfd(0, EFD_CLOEXEC);
	vd_init(&s->vd, false);
	s->vd.features = (packed ? VD_F_PACKED : 0) | (in_order ? VD_F_IN_ORDER : 0) |
			 (event_idx ? VD_F(VIRTIO_RING_F_EVENT_IDX) : 0) |
			 VD_F(VIRTIO_RING_F_INDIRECT_DESC);
	vd_ring_init(&s->vd, 0, num);
	vq_init(&s->vq, &ops, &s->vd.gm, "stress", 0, VD_RING_MAX);
	s->vq.num = num;
	s->vq.desc_addr = s->vd.ring[0].desc_ipa;
	s->vq.driver_addr = s->vd.ring[0].avail_ipa;
	s->vq.device_addr = s->vd.ring[0].used_ipa;
	assert_int_equal(vq_enable(&s->vq, s->vd.features), 0);
	vd_ask_irq(&s->vd, 0, false);

	assert_int_equal(pthread_create(&thread, NULL, device, s), 0);
	wake(s->kick);		/* as DRIVER_OK does */
	drive(s);
	s->stop = true;
	wake(s->kick);
	pthread_join(thread, NULL);
	assert_false(s->failed);
	assert_in_range(s->kicks, 1, CHAINS);
	assert_in_range(s->irqs, 1, CHAINS);

	vq_destroy(&s->vq);
	vd_destroy(&s->vd);
	close(s->kick);
	close(s->irq);
	free(s);
}

static void split(void **state)
{
	for (int i = 0; i < 8; i++) {
		stress(false, 2, i & 1, i & 2, i & 4);
		stress(false, 256, i & 1, i & 2, i & 4);
	}
}

static void packed(void **state)
{
	for (int i = 0; i < 8; i++) {
		stress(true, 2, i & 1, i & 2, i & 4);
		stress(true, 7, i & 1, i & 2, i & 4);
		stress(true, 256, i & 1, i & 2, i & 4);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split),
		cmocka_unit_test(packed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
