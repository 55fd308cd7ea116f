// SPDX-License-Identifier: BSD-3-Clause
/*
 * The barriers of the rings. x86 orders nearly everything by itself, so no run there misses one.
 * Here the code of virtio/vq*.c runs on a real ring and tells each access that it makes; what it
 * told becomes one thread of a litmus test, a driver that keeps to the specification the other. The
 * test must have no bad outcome in a weak memory model, and must have one as soon as any single
 * barrier is taken out. A barrier that is added and not needed fails it too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/litmus.h"
#include "tests/unit/vdriver.h"

static void told(enum litmus_op op, const volatile void *p, size_t size, uint64_t val,
		 const char *file, int line);

#define VQ_TRACE(op, p, v) told(LITMUS_##op, p, sizeof(*(p)), v, __FILE__, __LINE__)

#include "virtio/vq.c"
#include "virtio/vq_packed.c"
#include "virtio/vq_split.c"

enum { DEVICE, DRIVER };

#define NUM	4
#define ID	2		/* names and lengths that differ from what was there before */
#define LEN	7
#define OLD	0xdead
#define NEW	0xbeef

/* ---- the checker itself ---------------------------------------------------------------------- */

static unsigned int step(struct litmus *l, unsigned int t, enum litmus_op op, unsigned int var,
			 uint64_t val)
{
	assert_true(l->nr_steps[t] < LITMUS_STEPS);
	l->step[t][l->nr_steps[t]] = (struct litmus_step){ .op = op, .var = var, .val = val,
							   .site = -1 };
	return l->nr_steps[t]++;
}

static void all(struct litmus *l, unsigned int t, unsigned int i, bool equal, uint64_t val)
{
	assert_true(l->nr_all < LITMUS_CLAUSES);
	l->all[l->nr_all++] = (struct litmus_clause){ t, i, equal, val };
}

static void any(struct litmus *l, unsigned int t, unsigned int i, bool equal, uint64_t val)
{
	assert_true(l->nr_any < LITMUS_CLAUSES);
	l->any[l->nr_any++] = (struct litmus_clause){ t, i, equal, val };
}

/* The well-known tests with their well-known verdicts, Arm's first. */
static void textbook(void **state)
{
	enum { X, Y };
	static const struct {
		enum litmus_op a[3], b[3];	/* a: store X, between, load or store Y; b: back */
		bool arm, tso;
	} buffering[] = {
		{ { LITMUS_STORE, LITMUS_NOTHING, LITMUS_LOAD },
		  { LITMUS_STORE, LITMUS_NOTHING, LITMUS_LOAD }, true, true },
		{ { LITMUS_RELEASE, LITMUS_NOTHING, LITMUS_ACQUIRE },
		  { LITMUS_RELEASE, LITMUS_NOTHING, LITMUS_ACQUIRE }, true, true },
		{ { LITMUS_STORE, LITMUS_FENCE, LITMUS_LOAD },
		  { LITMUS_STORE, LITMUS_NOTHING, LITMUS_LOAD }, true, true },
		{ { LITMUS_STORE, LITMUS_FENCE, LITMUS_LOAD },
		  { LITMUS_STORE, LITMUS_FENCE, LITMUS_LOAD }, false, false },
	}, passing[] = {
		{ { LITMUS_STORE, LITMUS_NOTHING, LITMUS_STORE },
		  { LITMUS_LOAD, LITMUS_NOTHING, LITMUS_LOAD }, true, false },
		{ { LITMUS_STORE, LITMUS_NOTHING, LITMUS_RELEASE },
		  { LITMUS_LOAD, LITMUS_NOTHING, LITMUS_LOAD }, true, false },
		{ { LITMUS_STORE, LITMUS_NOTHING, LITMUS_STORE },
		  { LITMUS_ACQUIRE, LITMUS_NOTHING, LITMUS_LOAD }, true, false },
		{ { LITMUS_STORE, LITMUS_NOTHING, LITMUS_RELEASE },
		  { LITMUS_ACQUIRE, LITMUS_NOTHING, LITMUS_LOAD }, false, false },
		{ { LITMUS_STORE, LITMUS_FENCE, LITMUS_STORE },
		  { LITMUS_LOAD, LITMUS_FENCE, LITMUS_LOAD }, false, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(buffering); i++) {
		struct litmus l = { .nr_vars = 2 };

		for (int t = 0; t < 2; t++) {
			const enum litmus_op *op = t ? buffering[i].b : buffering[i].a;

			step(&l, t, op[0], t ? Y : X, 1);
			step(&l, t, op[1], 0, 0);
			all(&l, t, step(&l, t, op[2], t ? X : Y, 0), true, 0);
		}
		assert_int_equal(litmus_bad(&l, LITMUS_ARM, NULL), buffering[i].arm);
		assert_int_equal(litmus_bad(&l, LITMUS_TSO, NULL), buffering[i].tso);
	}
	for (size_t i = 0; i < ARRAY_SIZE(passing); i++) {
		struct litmus l = { .nr_vars = 2 };

		step(&l, 0, passing[i].a[0], X, 1);
		step(&l, 0, passing[i].a[1], 0, 0);
		step(&l, 0, passing[i].a[2], Y, 1);
		all(&l, 1, step(&l, 1, passing[i].b[0], Y, 0), true, 1);
		step(&l, 1, passing[i].b[1], 0, 0);
		all(&l, 1, step(&l, 1, passing[i].b[2], X, 0), true, 0);
		assert_int_equal(litmus_bad(&l, LITMUS_ARM, NULL), passing[i].arm);
		assert_int_equal(litmus_bad(&l, LITMUS_TSO, NULL), passing[i].tso);
	}
}

/* Load buffering, coherence, and a thread that reads what it wrote. */
static void textbook_dependencies(void **state)
{
	struct litmus l = { .nr_vars = 2 };

	for (int t = 0; t < 2; t++) {
		all(&l, t, step(&l, t, LITMUS_LOAD, t, 0), true, 1);
		step(&l, t, LITMUS_STORE, !t, 1);
	}
	assert_true(litmus_bad(&l, LITMUS_ARM, NULL));
	assert_false(litmus_bad(&l, LITMUS_TSO, NULL));
	l.step[0][0].decides = l.step[1][0].decides = true;
	assert_false(litmus_bad(&l, LITMUS_ARM, NULL));

	/* Two loads of one variable do not go back in time. */
	l = (struct litmus){ .nr_vars = 1 };
	step(&l, 0, LITMUS_STORE, 0, 1);
	all(&l, 1, step(&l, 1, LITMUS_LOAD, 0, 0), true, 1);
	all(&l, 1, step(&l, 1, LITMUS_LOAD, 0, 0), true, 0);
	assert_false(litmus_bad(&l, LITMUS_ARM, NULL));

	l = (struct litmus){ .nr_vars = 1 };
	step(&l, 0, LITMUS_STORE, 0, 1);
	all(&l, 0, step(&l, 0, LITMUS_LOAD, 0, 0), true, 0);
	assert_false(litmus_bad(&l, LITMUS_ARM, NULL));
	assert_false(litmus_bad(&l, LITMUS_TSO, NULL));

	/* A store behind a load that found something else is not made. */
	l = (struct litmus){ .nr_vars = 2 };
	step(&l, 0, LITMUS_LOAD, 0, 0);
	step(&l, 0, LITMUS_STORE, 1, 5);
	l.step[0][1].guarded = true;
	l.step[0][1].guard_val = 1;
	all(&l, 1, step(&l, 1, LITMUS_LOAD, 1, 0), true, 5);
	assert_false(litmus_bad(&l, LITMUS_ARM, NULL));
	l.init[0] = 1;
	assert_true(litmus_bad(&l, LITMUS_ARM, NULL));
}

/* ---- what the rings tell --------------------------------------------------------------------- */

struct site {
	const char *file;
	int line;
	enum litmus_op op;
	bool found, found_tso;
};

struct fixture {
	struct vdriver vd;
	struct vq vq;
	struct vd_ring *r;
	bool packed, event_idx;

	bool listening;
	struct litmus *l;
	const volatile void *var[LITMUS_VARS];
	struct site site[32];
	unsigned int nr_sites;
};

static struct fixture *ear;

static unsigned int var_of(struct fixture *f, const volatile void *p, uint64_t init)
{
	unsigned int i;

	for (i = 0; i < f->l->nr_vars; i++)
		if (f->var[i] == p)
			return i;
	assert_true(i < LITMUS_VARS);
	f->var[i] = p;
	f->l->init[i] = init;
	f->l->nr_vars++;
	return i;
}

static int site_of(struct fixture *f, enum litmus_op op, const char *file, int line)
{
	unsigned int i;

	if (op == LITMUS_LOAD || op == LITMUS_STORE)
		return -1;
	for (i = 0; i < f->nr_sites; i++)
		if (f->site[i].line == line && !strcmp(f->site[i].file, file))
			return i;
	assert_true(i < ARRAY_SIZE(f->site));
	f->site[f->nr_sites++] = (struct site){ .file = file, .line = line, .op = op };
	return i;
}

static void told(enum litmus_op op, const volatile void *p, size_t size, uint64_t val,
		 const char *file, int line)
{
	struct fixture *f = ear;
	uint64_t now = 0;
	unsigned int i;

	if (!f || !f->listening)
		return;
	if (p)
		memcpy(&now, (const void *)p, size);
	i = step(f->l, DEVICE, op, p ? var_of(f, p, now) : 0,
		 val & (size < 8 ? (1ULL << 8 * size) - 1 : UINT64_MAX));
	f->l->step[DEVICE][i].site = site_of(f, op, file, line);
	/* All that is read from a ring is checked. */
	f->l->step[DEVICE][i].decides = op == LITMUS_LOAD || op == LITMUS_ACQUIRE;
}

/* The device's accesses to a buffer: nothing depends on what is in it. */
static uint64_t data(struct fixture *f, ipa_t at, bool write, uint64_t val)
{
	uint64_t *p = vd_ptr(&f->vd, at);
	unsigned int v;

	if (f->listening) {
		v = var_of(f, p, *p);
		step(f->l, DEVICE, write ? LITMUS_STORE : LITMUS_LOAD, v, val);
	}
	if (write)
		*p = val;
	return *p;
}

static void notify(struct vq *vq)
{
}

static void broken(struct vq *vq, const char *why)
{
	fail_msg("the queue broke: %s", why);
}

static const struct vq_ops ops = { notify, broken };

static void begin(struct fixture *f, bool packed, bool event_idx)
{
	f->listening = false;
	f->packed = packed;
	f->event_idx = event_idx;
	f->vd.features = (packed ? VD_F_PACKED : 0) |
			 (event_idx ? VD_F(VIRTIO_RING_F_EVENT_IDX) : 0);
	vd_ring_init(&f->vd, 0, NUM);
	f->r = &f->vd.ring[0];
	vq_disable(&f->vq);
	f->vq.num = NUM;
	f->vq.desc_addr = f->r->desc_ipa;
	f->vq.driver_addr = f->r->avail_ipa;
	f->vq.device_addr = f->r->used_ipa;
	assert_int_equal(vq_enable(&f->vq, f->vd.features), 0);
}

static void offer(struct fixture *f, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		vd_add(&f->vd, 0, &(struct vq_seg){ VD_DATA + 8 * i, 8 }, 1, 0);
}

/* Take @nr chains, read and write their buffers, give them back. */
static void serve(struct fixture *f, unsigned int nr)
{
	struct vq_head head[NUM];
	struct vq_chain c;

	assert_int_equal(vq_begin(&f->vq), 0);
	for (unsigned int i = 0; i < nr; i++) {
		assert_int_equal(vq_pop(&f->vq, &c), 1);
		head[i] = c.head;
		data(f, c.seg[0].addr, false, 0);
		data(f, c.seg[0].addr + 0x1000, true, NEW);
	}
	for (unsigned int i = 0; i < nr; i++)
		vq_push(&f->vq, &head[i], LEN);
	vq_end(&f->vq);
}

static void look_in_vain(struct fixture *f)
{
	struct vq_chain c;

	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 0);
	/* The second time it relies on the first. */
	assert_int_equal(vq_pop(&f->vq, &c), 0);
	vq_end(&f->vq);
}

/* The same for a device that asks by itself. */
static void ask_in_vain(struct fixture *f)
{
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_false(vq_more(&f->vq));
	assert_false(vq_ask(&f->vq, 1));
	vq_end(&f->vq);
}

static void listen(struct fixture *f, struct litmus *l)
{
	*l = (struct litmus){ 0 };
	f->l = l;
	f->listening = true;
}

/* Variables that the driver writes have their old value in the test, whatever the ring has. */
static unsigned int before(struct fixture *f, const volatile void *p, uint64_t init)
{
	assert_int_equal(f->l->nr_steps[DEVICE], 0);
	return var_of(f, p, init);
}

/* All loads of a variable by the device have found a value. */
static void device_saw(struct fixture *f, const volatile void *p, uint64_t val)
{
	struct litmus *l = f->l;
	unsigned int v = var_of(f, p, 0), n = 0;

	for (unsigned int i = 0; i < l->nr_steps[DEVICE]; i++)
		if (l->step[DEVICE][i].var == v && (l->step[DEVICE][i].op == LITMUS_LOAD ||
						    l->step[DEVICE][i].op == LITMUS_ACQUIRE)) {
			all(l, DEVICE, i, true, val);
			n++;
		}
	assert_true(n > 0);
}

/* The last load of a variable by the device has (not) found a value: one of several bad signs. */
static void device_may(struct fixture *f, const volatile void *p, bool equal, uint64_t val)
{
	struct litmus *l = f->l;
	unsigned int v = var_of(f, p, 0), i;

	for (i = l->nr_steps[DEVICE]; i-- > 0;)
		if (l->step[DEVICE][i].var == v && (l->step[DEVICE][i].op == LITMUS_LOAD ||
						    l->step[DEVICE][i].op == LITMUS_ACQUIRE))
			break;
	assert_true(i < l->nr_steps[DEVICE]);
	any(l, DEVICE, i, equal, val);
}

static void weaken(struct litmus_step *s)
{
	s->op = s->op == LITMUS_ACQUIRE ? LITMUS_LOAD :
		s->op == LITMUS_RELEASE ? LITMUS_STORE : LITMUS_NOTHING;
}

static bool is_barrier(const struct litmus_step *s)
{
	return s->op == LITMUS_ACQUIRE || s->op == LITMUS_RELEASE || s->op == LITMUS_FENCE;
}

/*
 * As it is, the test has no bad outcome, not even if nothing is known of dependencies. It has one
 * without any one of the driver's barriers. Which of the device's it cannot do without is noted.
 */
static void judge(struct fixture *f)
{
	struct litmus l = *f->l;
	unsigned long states;

	f->listening = false;
	for (unsigned int i = 0; i < l.nr_steps[DEVICE]; i++)
		l.step[DEVICE][i].decides = false;
	assert_false(litmus_bad(&l, LITMUS_ARM, &states));
	assert_true(states > 10);
	l = *f->l;
	assert_false(litmus_bad(&l, LITMUS_ARM, NULL));
	assert_false(litmus_bad(&l, LITMUS_TSO, NULL));
	for (unsigned int i = 0; i < l.nr_steps[DRIVER]; i++) {
		if (!is_barrier(&l.step[DRIVER][i]))
			continue;
		l = *f->l;
		weaken(&l.step[DRIVER][i]);
		if (!litmus_bad(&l, LITMUS_ARM, NULL))
			fail_msg("step %u of the driver can do without its barrier", i);
	}
	for (unsigned int site = 0; site < f->nr_sites; site++) {
		l = *f->l;
		for (unsigned int i = 0; i < l.nr_steps[DEVICE]; i++)
			if (l.step[DEVICE][i].site == (int)site)
				weaken(&l.step[DEVICE][i]);
		f->site[site].found |= litmus_bad(&l, LITMUS_ARM, NULL);
		f->site[site].found_tso |= litmus_bad(&l, LITMUS_TSO, NULL);
	}
}

/* ---- fields of the rings --------------------------------------------------------------------- */

static struct vring_packed_desc *pdesc(struct fixture *f, unsigned int i)
{
	return &f->r->pdesc[i];
}

/* Where it says that there is a chain: the index, or the flags of entry @i. */
static void *avail_sign(struct fixture *f, unsigned int i)
{
	return f->packed ? (void *)&pdesc(f, i)->flags : (void *)&f->r->avail->idx;
}

static void *used_sign(struct fixture *f, unsigned int i)
{
	return f->packed ? (void *)&pdesc(f, i)->flags : (void *)&f->r->used->idx;
}

static uint16_t read16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Where one side says whether it wants to be notified. */
static void *kick_wish(struct fixture *f)
{
	if (f->packed)
		return &f->r->device_event->flags;
	return f->event_idx ? (void *)&f->r->used->ring[NUM] : (void *)&f->r->used->flags;
}

static void *irq_wish(struct fixture *f)
{
	if (f->packed)
		return &f->r->driver_event->flags;
	return f->event_idx ? (void *)&f->r->avail->ring[NUM] : (void *)&f->r->avail->flags;
}

/* ---- the properties -------------------------------------------------------------------------- */

/*
 * The device finds nothing and asks for a kick, while the driver adds a chain and looks whether one
 * is asked for. Bad: nothing found, and no kick.
 */
static void no_lost_kick(struct fixture *f, unsigned int rounds, void (*look)(struct fixture *f))
{
	uint16_t wish, place, none;
	struct litmus l;
	unsigned int i;

	/* Before: the device was at work and did not want to be disturbed. */
	for (i = 0; i < rounds; i++) {
		if (i)
			look_in_vain(f);
		offer(f, 1);
		serve(f, 1);
	}
	none = read16(avail_sign(f, rounds));
	listen(f, &l);
	look(f);
	f->listening = false;
	offer(f, 1);
	device_saw(f, avail_sign(f, rounds), none);

	/* No release: what a device finds behind the sign is another property's matter. */
	step(&l, DRIVER, LITMUS_STORE, var_of(f, avail_sign(f, rounds), 0),
	     read16(avail_sign(f, rounds)));
	step(&l, DRIVER, LITMUS_FENCE, 0, 0);
	wish = read16(kick_wish(f));	/* what the device has written means: yes */
	any(&l, DRIVER, step(&l, DRIVER, LITMUS_LOAD, var_of(f, kick_wish(f), 0), 0), false, wish);
	if (f->packed && f->event_idx) {
		place = f->r->device_event->off_wrap;
		any(&l, DRIVER, step(&l, DRIVER, LITMUS_LOAD,
				     var_of(f, &f->r->device_event->off_wrap, 0), 0), false, place);
	}
	assert_true(vd_wants_kick(&f->vd, 0));
	judge(f);
}

/*
 * The device gives a chain back and looks whether an interrupt is wanted, while the driver asks for
 * one and looks for chains. Bad: no interrupt, and none found.
 */
static void no_lost_interrupt(struct fixture *f)
{
	struct vring_used_elem u;
	uint16_t wish, place = 0;
	struct litmus l;
	unsigned int v, p = 0;

	offer(f, 1);
	serve(f, 1);
	assert_true(vd_used(&f->vd, 0, &u));
	offer(f, 1);
	vd_ask_irq(&f->vd, 0, true);
	wish = read16(irq_wish(f));
	if (f->packed)
		place = f->r->driver_event->off_wrap;
	vd_ask_irq(&f->vd, 0, false);
	if (f->packed)
		f->r->driver_event->off_wrap = 0x7fff & ~place;

	listen(f, &l);
	v = before(f, irq_wish(f), read16(irq_wish(f)));
	if (f->packed && f->event_idx) {
		p = before(f, &f->r->driver_event->off_wrap, f->r->driver_event->off_wrap);
		step(&l, DRIVER, LITMUS_STORE, p, place);
	}
	step(&l, DRIVER, LITMUS_STORE, v, wish);
	step(&l, DRIVER, LITMUS_FENCE, 0, 0);
	all(&l, DRIVER, step(&l, DRIVER, LITMUS_LOAD,
			     var_of(f, used_sign(f, 1), read16(used_sign(f, 1))), 0), true,
	    read16(used_sign(f, 1)));
	/* While it is recorded the device has to find what makes it look at all there is to see. */
	vd_ask_irq(&f->vd, 0, true);
	serve(f, 1);
	device_may(f, irq_wish(f), false, wish);
	if (f->packed && f->event_idx)
		device_may(f, &f->r->driver_event->off_wrap, false, place);
	judge(f);
}

/* The driver fills a chain and makes it available. Bad: the device sees that, but not all of it. */
static void no_stale_chain(struct fixture *f)
{
	void *field[5];
	uint64_t val[5];
	unsigned int nr = 0, size[5];
	struct vq_chain c;
	struct litmus l;

	offer(f, 1);
	if (f->packed) {
		field[nr] = &pdesc(f, 0)->addr, size[nr++] = 8;
		field[nr] = &pdesc(f, 0)->len, size[nr++] = 4;
		field[nr] = &pdesc(f, 0)->id, size[nr++] = 2;
		pdesc(f, 0)->id = ID;
	} else {
		/* Another descriptor than the one that a zeroed ring would name. */
		f->r->avail->ring[0] = ID;
		f->r->desc[ID] = f->r->desc[0];
		field[nr] = &f->r->avail->ring[0], size[nr++] = 2;
		field[nr] = &f->r->desc[ID].addr, size[nr++] = 8;
		field[nr] = &f->r->desc[ID].len, size[nr++] = 4;
		field[nr] = &f->r->desc[ID].flags, size[nr++] = 2;
	}
	field[nr] = vd_ptr(&f->vd, VD_DATA), size[nr++] = 8;
	*(uint64_t *)vd_ptr(&f->vd, VD_DATA) = NEW;

	listen(f, &l);
	for (unsigned int i = 0; i < nr; i++) {
		val[i] = 0;
		memcpy(&val[i], field[i], size[i]);
		step(&l, DRIVER, LITMUS_STORE, before(f, field[i], OLD), val[i]);
	}
	step(&l, DRIVER, LITMUS_RELEASE, before(f, avail_sign(f, 0), 0),
	     read16(avail_sign(f, 0)));
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	data(f, c.seg[0].addr, false, 0);
	f->listening = false;
	vq_end(&f->vq);
	device_saw(f, avail_sign(f, 0), read16(avail_sign(f, 0)));
	for (unsigned int i = 0; i < nr; i++)
		device_may(f, field[i], false, val[i]);
	judge(f);
}

/*
 * The device gives two chains back. Bad: the driver sees the first, but not all of it, or not the
 * second, or not all of that.
 */
static void no_stale_used(struct fixture *f, unsigned int chain)
{
	struct vring_used_elem old = { OLD, OLD }, u;
	void *id, *len, *written = vd_ptr(&f->vd, VD_DATA + 0x1000 + 8 * chain);
	struct litmus l;
	unsigned int sign;

	*(uint64_t *)vd_ptr(&f->vd, VD_DATA + 0x1000) = OLD;
	*(uint64_t *)vd_ptr(&f->vd, VD_DATA + 0x1008) = OLD;
	offer(f, 2);
	if (!f->packed)
		f->r->used->ring[0] = f->r->used->ring[1] = old;
	id = f->packed ? (void *)&pdesc(f, chain)->id : (void *)&f->r->used->ring[chain].id;
	len = f->packed ? (void *)&pdesc(f, chain)->len : (void *)&f->r->used->ring[chain].len;
	listen(f, &l);
	serve(f, 2);
	f->listening = false;

	sign = step(&l, DRIVER, LITMUS_ACQUIRE, var_of(f, used_sign(f, 0), 0), 0);
	all(&l, DRIVER, sign, true, read16(used_sign(f, 0)));
	if (f->packed && chain)
		any(&l, DRIVER, step(&l, DRIVER, LITMUS_LOAD, var_of(f, used_sign(f, 1), 0), 0),
		    false, read16(used_sign(f, 1)));
	for (unsigned int i = 0; i <= chain; i++)
		assert_true(vd_used(&f->vd, 0, &u));
	/* Names of a packed ring may be the old ones: then there is nothing to tell them by. */
	if (!f->packed)
		any(&l, DRIVER, step(&l, DRIVER, LITMUS_LOAD, var_of(f, id, 0), 0), false, u.id);
	assert_int_equal(u.len, LEN);
	any(&l, DRIVER, step(&l, DRIVER, LITMUS_LOAD, var_of(f, len, 0), 0), false, LEN);
	any(&l, DRIVER, step(&l, DRIVER, LITMUS_LOAD, var_of(f, written, 0), 0), false, NEW);
	judge(f);
}

/* The driver uses a buffer anew once it is back. Bad: the device finds in it what comes next. */
static void no_early_reuse(struct fixture *f)
{
	uint64_t *buffer = vd_ptr(&f->vd, VD_DATA);
	unsigned int sign, i;
	struct litmus l;

	*buffer = OLD;
	offer(f, 1);
	listen(f, &l);
	serve(f, 1);
	f->listening = false;
	sign = step(&l, DRIVER, LITMUS_LOAD, var_of(f, used_sign(f, 0), 0), 0);
	i = step(&l, DRIVER, LITMUS_STORE, var_of(f, buffer, 0), NEW);
	l.step[DRIVER][i].guarded = true;
	l.step[DRIVER][i].guard = sign;
	l.step[DRIVER][i].guard_val = read16(used_sign(f, 0));
	device_may(f, buffer, true, NEW);
	judge(f);
}

static void barriers(void **state)
{
	struct fixture *f = *state;

	for (int packed = 0; packed < 2; packed++)
		for (int event_idx = 0; event_idx < 2; event_idx++) {
			/* Silent because it said so, or as the place asked for lies behind. */
			for (unsigned int rounds = 1; rounds <= 2; rounds++) {
				begin(f, packed, event_idx);
				no_lost_kick(f, rounds, look_in_vain);
				begin(f, packed, event_idx);
				no_lost_kick(f, rounds, ask_in_vain);
			}
			begin(f, packed, event_idx);
			no_lost_interrupt(f);
			begin(f, packed, event_idx);
			no_stale_chain(f);
			for (unsigned int chain = 0; chain < 2; chain++) {
				begin(f, packed, event_idx);
				no_stale_used(f, chain);
			}
			begin(f, packed, event_idx);
			no_early_reuse(f);
		}

	/* Two fences of vq.c, and each ring's acquire and release. */
	assert_int_equal(f->nr_sites, 6);
	for (unsigned int i = 0; i < f->nr_sites; i++) {
		const struct site *s = &f->site[i];

		if (!s->found)
			fail_msg("%s:%d: nothing goes wrong without this barrier", s->file,
				 s->line);
		/* Why the machines of most developers do not show it. */
		assert_int_equal(s->found_tso, s->op == LITMUS_FENCE);
	}
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	vd_init(&f->vd, false);
	vq_init(&f->vq, &ops, &f->vd.gm, "test", 0, NUM);
	ear = f;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ear = NULL;
	vq_destroy(&f->vq);
	vd_destroy(&f->vd);
	free(f);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(textbook),
		cmocka_unit_test(textbook_dependencies),
		cmocka_unit_test_setup_teardown(barriers, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
