/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that the user names. A name is a path, or "fd:N": a descriptor that whoever started this
 * program passed on to it.
 *
 * What is needed again after the session has locked itself in (vmm/sandbox.h), where no path leads
 * anywhere, is kept open under its name before; path_open() finds it there.
 */
#ifndef CORE_PATH_H
#define CORE_PATH_H

#include <sys/stat.h>
#include <sys/types.h>

#include "vmm/core/types.h"

struct err;

/** path_is_fd() - is this "fd:N"? */
bool path_is_fd(const char *path);

/**
 * path_open() - like open(2), for a name that a user gave
 * @flags: of open(2); O_CLOEXEC is added
 * @mode:  of a file that is made
 *
 * A descriptor that was passed on counts as not used before, so its O_CLOEXEC is not set yet; it is
 * then. It must be open for what @flags ask. Its file offset is the giver's.
 *
 * A file that was kept comes as a duplicate that shares its offset: read it with pread(2).
 *
 * Return: a descriptor; -1 with errno set: EBADF: N is not open, EBUSY: N is in use already,
 * EACCES: it is not open for this; or what open(2) says.
 */
int path_open(const char *path, int flags, mode_t mode);

/** path_read() - like pread(2), and like read(2) where there is no offset (a pipe) */
ssize_t path_read(int fd, void *buf, size_t len, off_t off);

/** path_stat() - like stat(2); "fd:N" is not taken by it, and a kept file is found, too */
int path_stat(const char *path, struct stat *st);

/**
 * path_keep() - open a file now, and have path_open() return it from now on
 * @path: its text is copied
 *
 * What is neither a file, a folder nor a device (a pipe) is read into memory, up to 1 MiB.
 *
 * Return: 0 or a negative errno, which is what path_open() gives from now on, then.
 */
int path_keep(const char *path, int flags, mode_t mode);

/**
 * path_keep_lazily() - like path_keep(), by a function that is called when the file is wanted
 * @get: returns a descriptor, which belongs to the caller, or a negative errno
 */
int path_keep_lazily(const char *path, int (*get)(void *ctx), void *ctx);

/** path_kept() - the descriptor behind a file that is kept, which stays open; -1: there is none */
int path_kept(const char *path);

/** path_forget() - close what was kept; no other thread uses this file then */
void path_forget(void);

#endif
