/* SPDX-License-Identifier: BSD-3-Clause */
/* A machine or a session on the model of KVM, and what a test needs to look at one. */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H

#include "tests/fakekvm/fakekvm.h"
#include "vmm/core/err.h"
#include "vmm/machine.h"

#define RIG_MEM		(64 * SZ_1M)
#define RIG_KERNEL_LEN	(2 * SZ_4K + 100)	/* not a multiple of a page */

/**
 * struct rig - one machine with all it hangs from
 * @out:  what the guest wrote to terminal 0
 * @made: machine_create() has succeeded
 */
struct rig {
	struct vm_config cfg;
	struct loader_files files;
	struct layout layout;
	struct loop loop;
	struct machine_env env;
	struct machine m;
	bool made;
	pthread_mutex_t lock;
	char out[4096];
	size_t nr_out;
	struct err e;
};

/** rig_init() - a small machine (1 vCPU, 64 MiB, a flat kernel); change cfg afterwards */
void rig_init(struct rig *r, enum realm_mode mode);
/** rig_create() - layout and machine_create(). Return: what the latter returned */
int rig_create(struct rig *r);
/** rig_run() - start, serve the loop until the end, stop */
enum machine_end rig_run(struct rig *r);
/** rig_drop() - destroy the machine, keep the rig for another */
void rig_drop(struct rig *r);
/** rig_fini() - free everything */
void rig_fini(struct rig *r);

/** capture_begin() - from now on stderr goes into a file */
void capture_begin(void);
/** capture_end() - stderr is back. Return: what was written (static buffer) */
const char *capture_end(void);

/** open_fds() - open descriptors of this process */
unsigned int open_fds(void);
/** address_space() - bytes of virtual memory of this process */
uint64_t address_space(void);

#endif
