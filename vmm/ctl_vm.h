/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest's control socket can be asked: the commands of vmm/control.h on a session. All of it
 * on the main thread.
 *
 *	status		name, process, state, mode, size; "rim":true: the measurement too, which
 *			takes its time: "measuring" tells to ask again
 *	stop		end the guest: its power button is pressed, if it has one, and "force_after" says
 *			after how many seconds it is ended all the same; "force":true: at once
 *	pause, resume	keep the vCPUs out of the guest; "changed": it was not so before
 *	memory		what the guest's balloon tells of its memory; "ask":true asks for new numbers
 *	balloon		"inflate", "deflate" or "size", in MiB: what the balloon shall hold
 *	metrics		all counters
 *	regions		what lies where in the IPA space
 *	map		"base", "len", "cell": granules of RAM that are private, and that the host backs
 *	debug		"dump":true: registers; "sysrq":"h": a key; "nmi":CPU
 *	resize		disks may have another size now, as SIGUSR1 says
 */
#ifndef VMM_CTL_VM_H
#define VMM_CTL_VM_H

#include <pthread.h>

#include "realm/report.h"
#include "vmm/control.h"

struct session;

#define CTL_MAP_MAX	(256 * SZ_1M)	/* RAM that one "map" looks at: a millisecond or so */
#define CTL_MAP_CELLS	1024

/**
 * struct ctl_vm - a session's control
 * @control: its socket, NULL: none
 * @counter: the guest's counter when it was paused, if @stands
 * @measuring: @measurer is to be joined
 * @rim:     of this launch, "" if nobody asked for it yet; under a lock of ctl_vm.c
 */
struct ctl_vm {
	struct control *control;
	struct control_ops ops;
	bool paused, stopped, stands, measuring;
	pthread_t measurer;
	uint64_t counter;
	uint64_t began_ns;
	unsigned int boots;
	char rim[REPORT_HEX_MAX];
};

/**
 * ctl_vm_open() - make the socket of a session
 *
 * Where there can be none (no folder, no jansson) the guest runs without, and that is said.
 *
 * Return: 0; -EBUSY: a guest of this name runs; -EINVAL: a name that cannot be.
 */
int ctl_vm_open(struct session *s, struct err *e);
/** ctl_vm_boot() - a new machine is about to run */
void ctl_vm_boot(struct session *s);
/** ctl_vm_resume() - let a machine that was paused go on, if it was */
void ctl_vm_resume(struct session *s);
/** ctl_vm_rim() - the measurement of this launch is known; any thread */
void ctl_vm_rim(struct session *s, const struct measurement *m);
/** ctl_vm_stop() - the machine is about to be destroyed */
void ctl_vm_stop(struct session *s);
/** ctl_vm_close() - the session ends; @ret: what session_run() returns */
void ctl_vm_close(struct session *s, int ret);

#endif
