/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sandbox: what a session gives up for good once everything that it needs is open, and before
 * there is a guest. Whoever takes over this process from inside of the guest finds himself without
 * privileges, files, network and most of the system calls.
 *
 * Stages: (a) no capability, no new privileges; (b) namespaces of its own, with an empty root;
 * (c) Landlock; (d) system calls, which is vmm/core/seccomp.h. A stage that this host does not
 * allow is left out, which is told at level info and by `realmtool check`.
 */
#ifndef VMM_SANDBOX_H
#define VMM_SANDBOX_H

#include "vmm/core/types.h"

struct err;

enum sandbox_mode {
	SANDBOX_ON,
	SANDBOX_AUDIT,		/* (a) to (c) say what they would do, (d) tells and does not kill */
	SANDBOX_OFF,
};

/** enum sandbox_use - what a folder stays reachable for */
enum sandbox_use {
	SANDBOX_READ,		/* a share, read-only */
	SANDBOX_WRITE,		/* a share */
	SANDBOX_CONNECT,	/* sockets of the host in it */
	SANDBOX_MEMORY,		/* unnamed files: a hugetlbfs */
};

/**
 * struct sandbox_dir - a folder that is used after the start
 * @fd:  of it, O_PATH. In namespaces of our own it becomes one of the same folder seen alone: no
 *       ".." leads out of it, what is mounted below it is there, and a read-only one is read-only
 * @use: what for
 */
struct sandbox_dir {
	int fd;
	enum sandbox_use use;
};

/**
 * struct sandbox_cfg - what is to be left
 * @mode:   not SANDBOX_OFF
 * @dir:    folders that stay reachable
 * @nr_dirs: their number
 * @owners: shows a guest who owns files of the host: without privileges no user namespace can do
 *          that, so namespaces are left out then
 * @caps:   capabilities to keep, 1 << CAP_*, as far as they are there
 * @vfio:   devices' DMA pins memory, beyond what an unprivileged process may pin
 */
struct sandbox_cfg {
	enum sandbox_mode mode;
	struct sandbox_dir *dir;
	unsigned int nr_dirs;
	bool owners;
	uint64_t caps;
	bool vfio;
};

/** sandbox_share_caps() - what serving files of all users takes */
uint64_t sandbox_share_caps(void);

/**
 * sandbox_enter() - stages (a) to (c), and limits; there is no way back
 *
 * No other thread exists yet. A stage that fails halfway, where going on would be wrong, is an
 * error; one that is not allowed is not.
 *
 * Return: 0 or a negative errno
 */
int sandbox_enter(const struct sandbox_cfg *cfg, struct err *e);

/** sandbox_foreign_users() - do all other users, root included, look like one here? */
bool sandbox_foreign_users(void);

/** struct sandbox_host - what a host allows an ordinary user, or root, to do here */
struct sandbox_host {
	bool admin;		/* CAP_SYS_ADMIN is there: no user namespace is needed */
	int namespaces;		/* 0: yes; negative errno: why not */
	int landlock;		/* ABI, or negative errno */
	int seccomp;		/* 0: yes; negative errno: why not */
};

/** sandbox_probe() - find out, in a process that is thrown away */
void sandbox_probe(struct sandbox_host *h);

#endif
