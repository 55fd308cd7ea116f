/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host on which calls fail. The objects of realmtool are linked a second time with their calls of
 * libc going to tests/fault/shim.c (Makefile); test code, the model of KVM and other libraries call
 * libc itself, so what fails is always realmtool's own call. Calls on objects of KVM are the
 * model's (fake_fail_nth()).
 */
#ifndef TESTS_FAULT_H
#define TESTS_FAULT_H

#include <stdbool.h>

/**
 * enum fault_kind - what goes wrong
 * @FAULT_ALLOC:   an allocation finds no memory
 * @FAULT_CALL:    a system call, or what libc makes of some, fails with an errno it may have
 * @FAULT_EINTR:   a call that can be interrupted is, and has done nothing
 * @FAULT_SHORT:   a transfer of bytes does half of it
 */
enum fault_kind { FAULT_ALLOC, FAULT_CALL, FAULT_EINTR, FAULT_SHORT, FAULT_KINDS };

/**
 * fault_arm() - count calls of @kind from now on, let some of them fail
 * @first: the one that fails, from 1; 0: none does
 * @every: one of so many after it, too; 0: no other
 */
void fault_arm(enum fault_kind kind, unsigned int first, unsigned int every);
/** fault_disarm() - no call fails any more. Return: how many were counted */
unsigned int fault_disarm(void);
/** fault_hits() - how many calls failed since fault_arm() */
unsigned int fault_hits(void);
/** fault_name() - the call that failed last, NULL: none did; safe in a signal handler */
const char *fault_name(void);
/** fault_errno() - what it failed with */
int fault_errno(void);
/** fault_only() - from the next fault_arm() on count calls of @name alone; NULL: of all names */
void fault_only(const char *name);

#endif
