/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The error object. A function that can fail returns a negative errno and fills one of these with
 * a single line: what was tried, on what, why it failed, what the user can do.
 */
#ifndef CORE_ERR_H
#define CORE_ERR_H

#include "vmm/core/types.h"

struct err {
	int code;		/* negative errno, 0: no error */
	char msg[1024];		/* one line, no newline, no prefix */
};

/**
 * err_set() - fill an error object
 * @e:    error object, or NULL if the caller does not want the text
 * @code: negative errno
 * @fmt:  one line: what, on what, why, remedy
 *
 * Return: @code, so that "return err_set(...)" reads well.
 */
int err_set(struct err *e, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/**
 * err_prefix() - put the outer context before the text of an error ("disk x: " + text)
 * @e:   error object that has been filled, or NULL
 * @fmt: context without the separating colon
 *
 * Return: the code the object already has, or -EIO without an object.
 */
int err_prefix(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
