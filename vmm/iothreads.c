// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/iothreads.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/thread.h"

struct iothread {
	struct loop loop;
	pthread_t id;
	bool running;
};

int iothreads_init(struct iothreads *t, unsigned int nr, struct err *e)
{
	int ret;

	memset(t, 0, sizeof(*t));
	t->thread = calloc(nr + 1, sizeof(*t->thread));
	t->loop = calloc(nr + 1, sizeof(struct loop *));
	if (!t->thread || !t->loop) {
		ret = err_set(e, -ENOMEM, "no memory for I/O threads");
		goto fail;
	}
	for (; t->nr < nr; t->nr++) {
		ret = loop_init(&t->thread[t->nr].loop, e);
		if (ret < 0)
			goto fail;
		t->loop[t->nr] = &t->thread[t->nr].loop;
	}
	return 0;

fail:
	iothreads_destroy(t);
	return ret;
}

static void *run(void *arg)
{
	struct iothread *t = arg;
	int ret = loop_run(&t->loop);

	if (ret < 0)
		log_error("I/O thread: event loop: %s", strerror(-ret));
	return NULL;
}

int iothreads_start(struct iothreads *t, struct err *e)
{
	int ret = 0;

	for (unsigned int i = 0; i < t->nr && !ret; i++) {
		char name[16];

		snprintf(name, sizeof(name), "io%u", i);
		ret = thread_start(&t->thread[i].id, THREAD_IO, name, run, &t->thread[i]);
		t->thread[i].running = !ret;
	}
	if (ret < 0) {
		iothreads_stop(t);
		return err_set(e, ret, "I/O threads: %s; fewer: --io-threads N", strerror(-ret));
	}
	return 0;
}

void iothreads_stop(struct iothreads *t)
{
	for (unsigned int i = 0; i < t->nr; i++)
		if (t->thread[i].running)
			loop_stop(&t->thread[i].loop);
	for (unsigned int i = 0; i < t->nr; i++) {
		if (t->thread[i].running)
			pthread_join(t->thread[i].id, NULL);
		t->thread[i].running = false;
	}
}

void iothreads_destroy(struct iothreads *t)
{
	for (unsigned int i = 0; i < t->nr; i++)
		loop_destroy(&t->thread[i].loop);
	free(t->thread);
	free(t->loop);
	memset(t, 0, sizeof(*t));
}
