/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Filters of system calls: what a thread may ask the kernel for (seccomp(2)).
 *
 * Each kind of thread has a list. A thread inherits the filter of the main one, whose list is the
 * union of all, and adds that of its kind. The lists come from the #syscalls comments beside the
 * code that makes the calls (vmm/syscalls.awk has their language, vmm/syscalls.c the table).
 */
#ifndef CORE_SECCOMP_H
#define CORE_SECCOMP_H

#include "vmm/core/thread.h"
#include "vmm/core/types.h"

struct err;

/** enum seccomp_mode - what becomes of a call that is on no list */
enum seccomp_mode {
	SECCOMP_OFF,
	SECCOMP_AUDIT,	/* a line that names it, once; then it is made */
	SECCOMP_ON,	/* a line that names it, and the end of the program: SECCOMP_EXIT */
};

/* Exit status after a forbidden call: what a shell says of a program that SIGSYS (31) ended. */
#define SECCOMP_EXIT	159

/** enum seccomp_op - what a call must be like; the argument's lower 32 bits count */
enum seccomp_op {
	SECCOMP_ANY,		/* whatever its arguments */
	SECCOMP_EQUAL,		/* the argument is the value */
	SECCOMP_NONE_OF,	/* the argument has none of the value's bits */
	SECCOMP_ALL_OF,		/* the argument has all of them */
	SECCOMP_PID,		/* the argument is this process */
	SECCOMP_ERRNO,		/* answered with the error @value, if no other rule lets it pass */
};

/**
 * struct seccomp_rule - a call that may be made
 * @name:   of the call
 * @nr:     its number
 * @kinds:  who may: 1 << enum thread_kind
 * @groups: 0, or the rule holds only with one of these bits in struct seccomp_cfg
 * @arg:    which argument @op looks at, from 0
 * @text:   the name of @value, for SECCOMP_EQUAL
 */
struct seccomp_rule {
	const char *name;
	unsigned int nr;
	unsigned int kinds, groups;
	enum seccomp_op op;
	unsigned int arg;
	uint32_t value;
	const char *text;
};

/** struct seccomp_name - of each call that this machine has, for messages */
struct seccomp_name {
	unsigned int nr;
	const char *name;
};

struct seccomp_table {
	const struct seccomp_rule *rule;
	size_t nr_rules;
	const struct seccomp_name *name;
	size_t nr_names;
};

/**
 * struct seccomp_cfg - how the filters are to be
 * @mode:      not SECCOMP_OFF
 * @groups:    whose rules hold
 * @often:     request of ioctl() that is tried before everything else in vCPUs' threads, which make
 *             it on each entry to the guest; 0: none
 * @extra:     one more request of ioctl(), for the main thread; 0: none
 * @last_wish: called before the end after a forbidden call, in a signal handler; NULL: nothing
 */
struct seccomp_cfg {
	enum seccomp_mode mode;
	unsigned int groups;
	uint32_t often, extra;
	void (*last_wish)(void);
};

/**
 * seccomp_install() - from here on the lists hold, for this thread and all that it starts
 *
 * Before any other thread exists. It sets no_new_privs. What @t points to must stay.
 *
 * Return: 0 or a negative errno; -EOPNOTSUPP if this kernel has no filters
 */
int seccomp_install(const struct seccomp_table *t, const struct seccomp_cfg *cfg, struct err *e);

/**
 * seccomp_thread() - add the filter of its kind to the thread that calls
 *
 * thread_start() calls it; nothing is done before seccomp_install().
 *
 * Return: 0 or a negative errno
 */
int seccomp_thread(enum thread_kind kind);

/** seccomp_probe() - does this kernel have filters? Return: 0 or a negative errno */
int seccomp_probe(void);

/** seccomp_insns() - how long the filter of a kind is, in instructions; 0: there is none */
size_t seccomp_insns(enum thread_kind kind);

#endif
