/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where guests have their control sockets: NAME.sock in $XDG_RUNTIME_DIR/realmtool, or in ~/.lkvm
 * for a guest that lkvm runs and where there is no XDG_RUNTIME_DIR. Commands look in both.
 */
#ifndef VMM_CTL_PATH_H
#define VMM_CTL_PATH_H

#include "vmm/core/types.h"

struct err;

#define CTL_PATH_MAX 108	/* sizeof(sockaddr_un.sun_path) */

enum ctl_dir {
	CTL_RUN,		/* $XDG_RUNTIME_DIR/realmtool */
	CTL_LKVM,		/* ~/.lkvm */
	CTL_NR_DIRS,
};

/** ctl_home() - the folder for the socket of a new guest; @lkvm: lkvm runs it */
enum ctl_dir ctl_home(bool lkvm);

/** ctl_name_ok() - can a guest of this name have a socket? No "/", no leading ".", no control codes */
bool ctl_name_ok(const char *name);

/**
 * ctl_path() - the path of a guest's socket
 *
 * Return: 0; -ENOENT: the environment names no such folder; -ENAMETOOLONG; -EINVAL: the name.
 */
int ctl_path(enum ctl_dir dir, const char *name, char path[CTL_PATH_MAX]);

/**
 * ctl_lock() - make the folder, see that it is this user's alone, and lock it
 *
 * Between this and ctl_unlock() nobody else makes or removes sockets there, so that one which does
 * not answer is known to be left behind, not about to be made.
 *
 * Return: a descriptor for ctl_unlock(), or a negative errno.
 */
int ctl_lock(enum ctl_dir dir, bool create, struct err *e);
/** ctl_unlock() - a negative @fd is fine */
void ctl_unlock(int fd);

/** struct ctl_name - a socket that was found */
struct ctl_name {
	enum ctl_dir dir;
	char *name;
};

/**
 * ctl_names() - the names of all sockets of this user, sorted; freed by ctl_names_free()
 *
 * What nobody listens on any more is removed on the way.
 */
int ctl_names(struct ctl_name **out, unsigned int *nr, struct err *e);
void ctl_names_free(struct ctl_name *names, unsigned int nr);

/**
 * ctl_find() - connect to the guest of this name
 *
 * Return: a non-blocking descriptor; -ENOENT: there is none, and what was left behind of one is
 * removed.
 */
int ctl_find(const char *name, struct err *e);

#endif
