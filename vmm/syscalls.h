/* SPDX-License-Identifier: BSD-3-Clause */
/* Which system calls a guest's configuration needs (vmm/core/seccomp.h has the mechanism). */
#ifndef VMM_SYSCALLS_H
#define VMM_SYSCALLS_H

#include "vmm/core/seccomp.h"

struct vm_config;

/* Parts of realmtool that not every guest needs; #syscalls comments name them in small letters. */
enum seccomp_group {
	SECCOMP_9P = 1 << 0,
	SECCOMP_VSOCK = 1 << 1,		/* in user space: connections to unix sockets */
	SECCOMP_VFIO = 1 << 2,
	SECCOMP_VHOST = 1 << 3,		/* back ends in the kernel */
	SECCOMP_BACKEND = 1 << 4,	/* back ends and other programs, which sockets lead to */
	SECCOMP_REALM = 1 << 5,		/* emulated or real */
	SECCOMP_GDB = 1 << 6,
	SECCOMP_NET = 1 << 7,
	SECCOMP_URING = 1 << 8,		/* disks */
	SECCOMP_HUGETLBFS = 1 << 9,
	SECCOMP_FLASH = 1 << 10,
};

/** syscalls_groups() - which of them (enum seccomp_group) this guest needs */
unsigned int syscalls_groups(const struct vm_config *c);

/**
 * syscalls_restrict() - from here on nothing but what this guest needs: seccomp_install()
 * @last_wish: called before the program ends for a forbidden call
 */
int syscalls_restrict(const struct vm_config *c, enum seccomp_mode mode, void (*last_wish)(void),
		      struct err *e);

/** syscalls_table() - all rules, for tests and `check` */
const struct seccomp_table *syscalls_table(void);

#endif
