// SPDX-License-Identifier: BSD-3-Clause
/*
 * Threads: two vCPUs that do not know of each other, and the loop's thread. What comes of it is not
 * looked at while they run; afterwards the device must work.
 */
#include <stdatomic.h>
#include <time.h>

#include "tests/conformance/conf.h"

#define RACE_MS	30

static void *loop_thread(void *arg)
{
	struct vm *vm = arg;

	loop_run(&vm->loop);
	return NULL;
}

/* A vCPU that kicks, reads, acknowledges; each of it is allowed at any time. */
static void *kicker(void *arg)
{
	struct vm *vm = arg;

	while (!atomic_load(&vm->over)) {
		for (unsigned int q = 0; q < vm->nr_queues; q++)
			vm->t->kick(vm, q);
		vm->t->status(vm);
		vm->t->config(vm, 0, 0, 4, false);
	}
	return NULL;
}

/* A vCPU that writes registers at random. */
static void *wrecker(void *arg)
{
	struct vm *vm = arg;
	unsigned int seed = 7;

	while (!atomic_load(&vm->over))
		vm->t->fuzz(vm, &seed);
	return NULL;
}

static bool time_is_up(const struct timespec *since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / 1000000 >
	       RACE_MS;
}

static void race(struct vm *vm, void *(*other)(void *arg), bool harmless)
{
	const struct lane *lane = vm->kind->lane;
	struct timespec start;
	pthread_t loop, vcpu;

	vm_allow(vm, RAM, RAM_SIZE);
	atomic_store(&vm->threaded, true);
	atomic_store(&vm->over, false);
	assert_int_equal(pthread_create(&loop, NULL, loop_thread, vm), 0);
	assert_int_equal(pthread_create(&vcpu, NULL, other, vm), 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (unsigned int n = 0; !time_is_up(&start); n++) {
		vm->t->set_status(vm, 0);
		ring_free(vm);
		drv_negotiate(vm, drv_features(vm));
		for (unsigned int q = 0; q < vm->nr_queues; q++)
			drv_queue(vm, q, 16, RINGS + q * RING_ROOM);
		vm->t->set_status(vm, S_ACK | S_DRIVER | S_FEATURES | S_OK);
		for (const struct lane *l = lane; l->len; l++) {
			ring_add(vm, l->q, &(struct buf){ DATA + l->q * PAGE, l->len, l->in }, 1);
			vm->t->kick(vm, l->q);
		}
		if (n % 3 == 0)
			vm->t->queue_reset(vm, n % vm->nr_queues);
	}
	atomic_store(&vm->over, true);
	pthread_join(vcpu, NULL);
	loop_stop(&vm->loop);
	pthread_join(loop, NULL);
	loop_rearm(&vm->loop);
	atomic_store(&vm->threaded, false);
	vm_allow(vm, RAM, RAM_SIZE);
	if (!harmless)
		vm->t->setup(vm);
	drv_recover(vm);
}

static void reset_against_kicks(struct vm *vm)
{
	race(vm, kicker, true);
}

static void reset_against_registers(struct vm *vm)
{
	race(vm, wrecker, false);
}

/* The same work as ever, with the loop in a thread and a vCPU that kicks all the time. */
static void work_against_kicks(struct vm *vm)
{
	pthread_t loop, vcpu;

	if (vm->kind->alone)
		return;
	drv_start(vm);
	atomic_store(&vm->threaded, true);
	atomic_store(&vm->over, false);
	assert_int_equal(pthread_create(&loop, NULL, loop_thread, vm), 0);
	assert_int_equal(pthread_create(&vcpu, NULL, kicker, vm), 0);
	for (int i = 0; i < 50; i++)
		vm->kind->good(vm);
	atomic_store(&vm->over, true);
	pthread_join(vcpu, NULL);
	loop_stop(&vm->loop);
	pthread_join(loop, NULL);
	loop_rearm(&vm->loop);
	atomic_store(&vm->threaded, false);
	drv_recover(vm);
}

const struct property props_race[] = {
	{ "race_reset_against_kicks", reset_against_kicks, ANY },
	{ "race_reset_against_registers", reset_against_registers, ANY },
	{ "race_work_against_kicks", work_against_kicks, ANY },
	{ NULL },
};
