/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session: one `run` from beginning to end. It owns what outlives a reset of the guest (open
 * files, terminals, the event loop, the debugger) and builds one machine after another.
 */
#ifndef VMM_SESSION_H
#define VMM_SESSION_H

#include "vmm/assigned.h"
#include "vmm/ctl_vm.h"
#include "vmm/gdb.h"
#include "vmm/machine.h"
#include "vmm/notify.h"
#include "vmm/ready.h"
#include "vmm/term.h"

struct session;

struct session_term {
	struct session *s;
	unsigned int n;
	struct term *term;
};

/**
 * struct session_stop - somebody outside of the guest wants its end
 * @asked:    the guest was told, or the end is under way
 * @signal:   that did it, 0: the control socket
 * @force_ns: when the guest's time is over, CLOCK_MONOTONIC
 * @release:  of the power button
 */
struct session_stop {
	bool asked;
	int signal;
	uint64_t force_ns;
	struct loop_timer release, force, watchdog;
};

struct session {
	const struct vm_config *cfg;
	struct loader_files files;
	struct device_host *host;
	unsigned int nr_hosts;
	struct assigned assigned;
	int flash_fd;
	uint64_t flash_bytes;

	struct loop loop;
	struct session_term term[TERM_MAX];
	struct loop_src sig;
	struct loop_timer hint;		/* no byte on the console after a while */
	struct machine_env env;
	struct machine *m;		/* the machine of this boot, NULL between two */
	struct machine machine;
	struct gdb *gdb;
	struct ctl_vm ctl;
	struct session_stop stop;
	struct notify notify;
	struct ready *ready;		/* NULL: nobody wants to know when the guest is up */
	unsigned int silent_resets;
	int end;			/* of the last machine, enum machine_end */
	int signal;			/* that ended the session, 0: none */
	bool left;			/* ctrl-a x while there was no machine */
	bool first;			/* boot, not one after a reset */
	uint64_t populate_ns;		/* when the population of a realm began, 0: it has not */
};

/**
 * session_run() - boot, serve, reboot, end
 * @c:   checked options
 * @sys: the KVM seam, NULL: the real kernel
 *
 * Return: exit code 0 or more (128 + N after signal N), or a negative errno with @e filled.
 */
int session_run(const struct vm_config *c, const struct kvm_sys *sys, struct err *e);

/** session_input() - bytes for terminal @n from a viewer of the console: how many were taken */
size_t session_input(struct session *s, unsigned int n, const void *buf, size_t len);
/** session_measure() - of this launch, from the files that are still open; any thread */
int session_measure(struct session *s, struct measurement *m, struct err *e);

/**
 * session_stop() - end the VM: by its power button if it has one, else at once
 * @sig: the signal that asks for it, 0: somebody on the control socket
 * @now: do not ask the guest
 *
 * A guest that has been asked before is not asked again. One that is paused goes on.
 *
 * Return: seconds after which it is ended by force; 0: it ends now.
 */
unsigned int session_stop(struct session *s, int sig, bool now);

/** session_notify_open() - find a service manager, look when the guest is up; after loop_init() */
int session_notify_open(struct session *s, struct err *e);
/** session_notify_close() - @ret, @e: of session_run(); also after session_notify_open() failed */
void session_notify_close(struct session *s, int ret, const struct err *e);

/**
 * session_lock_in() - everything is open: enter the sandbox, then start the threads that waited
 *
 * No sandbox with @env.sys, a model of KVM, or where the options say so.
 */
int session_lock_in(struct session *s, struct err *e);
/** session_models_too - for tests: a session on a model of KVM enters the sandbox, too */
extern bool session_models_too;
/** session_let_out() - the session is over: the attendant ends, what was kept is closed */
void session_let_out(void);

/** session_gdb_start() - start the debugger's server; a machine exists, its vCPUs do not run */
int session_gdb_start(struct session *s, struct err *e);
/** session_on_debug() - struct machine_env.on_debug */
void session_on_debug(void *ctx, struct vcpu *v);

#endif
