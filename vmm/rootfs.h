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
 * rootfs_init() - what realmtool does as process 1 of a guest, under the name init
 *
 * Mounts what a Linux needs, runs /virt/run or a shell on the console, powers off in the end.
 */
int rootfs_init(struct err *e);

#endif
