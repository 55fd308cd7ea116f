/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lkvm's root file systems: folders below ~/.lkvm that a guest has as its root by 9p. They hold
 * little more than a program for process 1, virt/init; /bin, /lib and so on lead to the host's own
 * files, which the guest sees below /host, read-only.
 */
#ifndef VMM_ROOTFS_H
#define VMM_ROOTFS_H

#include "vmm/config.h"

struct err;

#define ROOTFS_TAG	"/dev/root"	/* where Linux looks if rootfstype= is no disk's */
#define ROOTFS_HOST_TAG	"hostfs"
#define ROOTFS_NAME	"default"

/**
 * rootfs_config() - what lkvm makes of --disk NAME and of no disk at all
 *
 * Called as lkvm, a --disk that names a folder is the root file system, and so is one below
 * ~/.lkvm. With neither disk nor initrd nor firmware it is ~/.lkvm/default, unless there is
 * --nodefaults. Becomes shares of @c; nothing is opened.
 */
int rootfs_config(struct vm_config *c, struct err *e);
/**
 * rootfs_name() - lkvm calls a guest like the root file system that --disk names
 *
 * After rootfs_config(). Leaves a name that the user gave, and takes none that cannot be one.
 */
void rootfs_name(struct vm_config *c);
/** rootfs_path() - ~/.lkvm/NAME; NULL without memory; the caller frees it */
char *rootfs_path(const char *name);
/**
 * rootfs_create() - make a root file system
 * @path: absolute; its parent is made, too
 *
 * Return: 0; -EEXIST: it is there already.
 */
int rootfs_create(const char *path, struct err *e);
/**
 * rootfs_put_init() - put this program there as a guest's first process
 * @dir, @name: where; it must not exist
 *
 * Return: 0; 1 if it cannot be one, because it is no static program for arm64; a negative errno.
 */
int rootfs_put_init(int dir, const char *name);

/*
 * A folder virt/sandbox.* of the root file system, for one run of a command (vmm/cmd_sandbox.c):
 * the init that is started, which command it shall run, and what became of it.
 */
#define SANDBOX_INIT	"init"
#define SANDBOX_ARGV	"argv"		/* SANDBOX_RAW or _TTY, the words; each ends with a NUL */
#define SANDBOX_STATUS	"status"	/* exit code, decimal */
#define SANDBOX_RAW	"raw"		/* the console is no terminal at the other end */
#define SANDBOX_TTY	"tty"
#define SANDBOX_ARGV_MAX 131072		/* bytes */

/**
 * rootfs_init() - what realmtool does as process 1 of a guest, under the name init
 * @self: how the kernel called it
 *
 * Mounts what a Linux needs, runs the command of a sandbox if it stands in one's folder, else
 * /virt/init-script, else a shell on the console, and powers off in the end.
 */
int rootfs_init(const char *self, struct err *e);

#endif
