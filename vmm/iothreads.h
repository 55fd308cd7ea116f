/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that do the work of devices: an event loop each. */
#ifndef VMM_IOTHREADS_H
#define VMM_IOTHREADS_H

#include "vmm/core/loop.h"

struct err;
struct iothread;

/**
 * struct iothreads - a set of them
 * @loop: of each; sources may be added before the threads start, and from any thread afterwards
 */
struct iothreads {
	unsigned int nr;
	struct iothread *thread;
	struct loop **loop;
};

/** iothreads_init() - @nr loops without threads; 0 is fine */
int iothreads_init(struct iothreads *t, unsigned int nr, struct err *e);
/** iothreads_start() - start the threads. On an error none runs */
int iothreads_start(struct iothreads *t, struct err *e);
/** iothreads_stop() - end them and wait; the loops stay, for who deletes sources */
void iothreads_stop(struct iothreads *t);
/** iothreads_destroy() - free stopped threads and their loops */
void iothreads_destroy(struct iothreads *t);

#endif
