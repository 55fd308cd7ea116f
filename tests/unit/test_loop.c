// SPDX-License-Identifier: BSD-3-Clause
/* Calls after a short while; what else the loop does, the tests of the devices see. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmm/core/err.h"
#include "vmm/core/loop.h"

#define MS 1000000ULL

struct call {
	struct loop_soon soon;
	struct loop *loop;
	unsigned int nr;
	unsigned int again;
	struct call *cancels;
};

static unsigned int sequence;

static void called(struct loop_soon *soon)
{
	struct call *c = container_of(soon, struct call, soon);

	c->nr = ++sequence;
	if (c->again) {
		c->again--;
		loop_soon_set(c->loop, soon, 0);
	}
	if (c->cancels)
		loop_soon_cancel(c->loop, &c->cancels->soon);
}

static int setup(void **state)
{
	static struct loop l;
	struct err e;

	sequence = 0;
	*state = &l;
	return loop_init(&l, &e);
}

static int teardown(void **state)
{
	loop_destroy(*state);
	return 0;
}

static struct call call(struct loop *l)
{
	return (struct call){ .soon.fn = called, .loop = l };
}

/* The loop waits no longer than until the first, and not at all for one that is due. */
static void in_their_order(void **state)
{
	struct loop *l = *state;
	struct call a = call(l), b = call(l);
	uint64_t begin = loop_now();

	loop_soon_set(l, &a.soon, 30 * MS);
	loop_soon_set(l, &b.soon, 5 * MS);
	while (!b.nr)
		assert_true(loop_once(l, -1) >= 0);
	assert_true(loop_now() - begin >= 5 * MS);
	assert_int_equal(a.nr, 0);
	while (!a.nr)
		assert_true(loop_once(l, -1) >= 0);
	assert_true(loop_now() - begin >= 30 * MS);
	assert_int_equal(b.nr, 1);
	assert_null(l->soon);
	/* Nothing is set any more: the other limit holds again. */
	assert_int_equal(loop_once(l, 1), 0);
}

static void set_again_and_cancel(void **state)
{
	struct loop *l = *state;
	struct call a = call(l), b = call(l), c = call(l);
	uint64_t begin = loop_now();

	loop_soon_set(l, &a.soon, 0);
	loop_soon_set(l, &b.soon, 0);
	loop_soon_set(l, &c.soon, 0);
	loop_soon_set(l, &a.soon, 20 * MS);	/* counts from now, and once */
	loop_soon_cancel(l, &b.soon);
	loop_soon_cancel(l, &b.soon);
	while (!a.nr)
		assert_true(loop_once(l, -1) >= 0);
	assert_true(loop_now() - begin >= 20 * MS);
	assert_int_equal(a.nr, 2);
	assert_int_equal(c.nr, 1);
	assert_int_equal(b.nr, 0);
	assert_int_equal(sequence, 2);
}

/* From a call: set it again, cancel another that is due. */
static void from_a_call(void **state)
{
	struct loop *l = *state;
	struct call a = call(l), b = call(l);

	a.again = 3;
	a.cancels = &b;
	b.cancels = &a;
	loop_soon_set(l, &a.soon, 0);
	loop_soon_set(l, &b.soon, 0);
	for (int i = 0; i < 10; i++)
		loop_once(l, 1);
	/* One of the two came first, and the other not at all. */
	assert_int_equal(!a.nr + !b.nr, 1);
	assert_null(l->soon);
}

static void count(struct loop_src *src, uint32_t events)
{
	uint64_t n;

	assert_int_equal(read(src->fd, &n, sizeof(n)), sizeof(n));
	sequence += 100;
}

/* Events come as ever, and do not put off what is due. */
static void beside_events(void **state)
{
	struct loop *l = *state;
	struct call a = call(l);
	struct loop_src src = { .fn = count, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	uint64_t one = 1;

	assert_int_equal(loop_add(l, &src, EPOLLIN), 0);
	loop_soon_set(l, &a.soon, 3600 * 1000 * MS);
	assert_int_equal(write(src.fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(loop_once(l, -1), 1);
	assert_int_equal(sequence, 100);
	assert_int_equal(loop_once(l, 1), 0);
	loop_soon_set(l, &a.soon, 0);
	assert_int_equal(write(src.fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(loop_once(l, -1), 2);
	assert_int_equal(sequence, 201);
	loop_del(l, &src);
	close(src.fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(in_their_order, setup, teardown),
		cmocka_unit_test_setup_teardown(set_again_and_cancel, setup, teardown),
		cmocka_unit_test_setup_teardown(from_a_call, setup, teardown),
		cmocka_unit_test_setup_teardown(beside_events, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
