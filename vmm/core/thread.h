/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads. All of them but the main one are started here, so that each has its name, its signals
 * and its filter of system calls (vmm/core/seccomp.h) before it does anything else.
 */
#ifndef CORE_THREAD_H
#define CORE_THREAD_H

#include <pthread.h>
#include <signal.h>

/** enum thread_kind - what a thread is for, and so which system calls it may make */
enum thread_kind {
	THREAD_MAIN,	/* the event loop, machines, control; never started here */
	THREAD_VCPU,	/* KVM_RUN and what follows an exit */
	THREAD_IO,	/* work of devices */
	THREAD_AUX,	/* trace, output of helpers, measurements: no guest, no device */
	THREAD_KINDS
};

/* The one signal beside faults that a vCPU's thread takes: it gets KVM_RUN to return. */
#define THREAD_KICK (SIGRTMIN + 1)

/** thread_kind_name() - "main", "vcpu", "io", "aux" */
const char *thread_kind_name(enum thread_kind kind);

/** thread_kind() - of the thread that calls */
enum thread_kind thread_kind(void);

/**
 * thread_start() - start a thread
 * @t:    set before @run is called
 * @kind: THREAD_VCPU, THREAD_IO or THREAD_AUX
 * @name: what `ps -T` shows, up to 15 bytes
 *
 * All signals are blocked in it but those of a fault in the thread itself, and THREAD_KICK in a
 * vCPU's. It returns when the thread has got its filter.
 *
 * Return: 0 or a negative errno, from the creation of the thread or from its filter; then @run was
 * not called.
 */
int thread_start(pthread_t *t, enum thread_kind kind, const char *name, void *(*run)(void *),
		 void *arg);

#endif
