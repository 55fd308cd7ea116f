// SPDX-License-Identifier: BSD-3-Clause
/* I/O threads: each serves its loop, and is gone when it was stopped. */
#include "tests/unit/unit.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/iothreads.h"

#define NR 3

struct src {
	struct loop_src src;
	pthread_t id;
	sigset_t mask;
	_Atomic unsigned int calls;
};

static void on_event(struct loop_src *s, uint32_t events)
{
	struct src *src = container_of(s, struct src, src);
	uint64_t n;

	assert_int_equal(read(s->fd, &n, sizeof(n)), sizeof(n));
	src->id = pthread_self();
	pthread_sigmask(SIG_SETMASK, NULL, &src->mask);
	atomic_fetch_add(&src->calls, 1);
}

static void wait_calls(struct src *s, unsigned int calls)
{
	for (unsigned int i = 0; i < 5000 && atomic_load(&s->calls) < calls; i++)
		usleep(1000);
	assert_int_equal(atomic_load(&s->calls), calls);
}

static void serve(void **state)
{
	struct src s[NR] = {0};
	struct iothreads t;
	struct err e;
	uint64_t one = 1;

	assert_int_equal(iothreads_init(&t, NR, &e), 0);
	for (int i = 0; i < NR; i++) {
		s[i].src = (struct loop_src){ eventfd(0, EFD_NONBLOCK), on_event };
		assert_int_equal(loop_add(t.loop[i], &s[i].src, EPOLLIN), 0);
	}
	/* what came before the start is served, too */
	assert_int_equal(write(s[0].src.fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(iothreads_start(&t, &e), 0);
	wait_calls(&s[0], 1);
	for (int i = 1; i < NR; i++)
		assert_int_equal(write(s[i].src.fd, &one, sizeof(one)), sizeof(one));
	for (int i = 1; i < NR; i++)
		wait_calls(&s[i], 1);
	for (int i = 0; i < NR; i++) {
		assert_false(pthread_equal(s[i].id, pthread_self()));
		assert_false(pthread_equal(s[i].id, s[(i + 1) % NR].id));
		assert_true(sigismember(&s[i].mask, SIGTERM));
		assert_false(sigismember(&s[i].mask, SIGBUS));
	}
	iothreads_stop(&t);
	assert_int_equal(write(s[1].src.fd, &one, sizeof(one)), sizeof(one));
	usleep(20000);
	assert_int_equal(atomic_load(&s[1].calls), 1);
	for (int i = 0; i < NR; i++) {
		loop_del(t.loop[i], &s[i].src);
		close(s[i].src.fd);
	}
	iothreads_destroy(&t);
}

static void none(void **state)
{
	struct iothreads t;
	struct err e;

	assert_int_equal(iothreads_init(&t, 0, &e), 0);
	assert_int_equal(iothreads_start(&t, &e), 0);
	iothreads_stop(&t);
	iothreads_destroy(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(serve),
		cmocka_unit_test(none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
