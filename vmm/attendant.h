/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The attendant: a second process that stays outside of the sandbox (vmm/sandbox.h), for the little
 * that needs paths, privileges or new processes once the session has locked itself in. It does jobs
 * that were handed in before it was started, by their number: nothing that comes from inside of the
 * sandbox says what is done, only that it is done now. When the session ends, also by SIGKILL, it
 * does those that belong to the end and have not been done, and ends.
 *
 * Without an attendant (--sandbox=off, tests) whoever has a job does it himself:
 * attendant_runs().
 */
#ifndef VMM_ATTENDANT_H
#define VMM_ATTENDANT_H

#include "vmm/core/types.h"

struct err;

#define ATTENDANT_FDS	4	/* descriptors that an answer brings at most */

/**
 * struct attendant_job - what it can do
 * @fn:     runs in the attendant, on its copy of everything. @fds: for descriptors that go into
 *          the sandbox and are closed here, *@nr of them. Return: 0 or a negative errno
 * @ctx:    argument of @fn
 * @at_end: also done at the end of the session, unless it was asked for before
 * @fd:     a descriptor that @fn needs and that stays open there, -1: none
 */
struct attendant_job {
	int (*fn)(void *ctx, int fds[ATTENDANT_FDS], unsigned int *nr, struct err *e);
	void *ctx;
	bool at_end;
	int fd;
};

/**
 * attendant_add() - hand in a job
 *
 * Return: its number; -EBUSY: the attendant runs already; -ENFILE: too many.
 */
int attendant_add(const struct attendant_job *job);
/** attendant_withdraw() - what was handed in is not wanted any more; before attendant_start() */
void attendant_withdraw(int number);

/** attendant_start() - start it; no other thread exists yet */
int attendant_start(struct err *e);
/** attendant_runs() - was it started, and not ended by attendant_end()? */
bool attendant_runs(void);

/**
 * attendant_ask() - have a job done, and wait for that
 * @number: of attendant_add()
 * @fds:    takes descriptors, close-on-exec; those that did not come are -1
 * @nr:     how many are expected
 *
 * Any thread. Return: what the job returned, with its error; -EPIPE: there is no attendant.
 */
int attendant_ask(int number, int *fds, unsigned int nr, struct err *e);

/** attendant_end() - let it finish; returns when it has. Jobs that were handed in are forgotten */
void attendant_end(void);

#endif
