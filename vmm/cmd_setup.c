// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cmd.h"
#include "vmm/core/err.h"
#include "vmm/rootfs.h"

int cmd_help_setup(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s setup NAME\n\n"
	       "Makes the root file system ~/.lkvm/NAME, which \"lkvm run --disk NAME\" shares with its\n"
	       "guest by 9p. The guest's first process is virt/init there: this program, which mounts what\n"
	       "the guest borrows of the host, read-only, and runs virt/init-script, or a shell. Put\n"
	       "a program of your own in its place as you like. What is there is not changed.\n",
	       cx->prog);
	return cmd_flush(e);
}

int cmd_setup(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	char *path;
	int ret;

	if (argc != 1 || argv[0][0] == '-')
		return err_set(e, -EINVAL, "which name? \"%s setup NAME\" makes the root file system "
			       "~/.lkvm/NAME", cx->prog);
	if (!argv[0][0] || argv[0][0] == '.' || strchr(argv[0], '/'))
		return err_set(e, -EINVAL, "\"%.80s\" cannot be the name of a root file system: give a "
			       "word without \"/\" that does not begin with \".\"", argv[0]);
	path = rootfs_path(argv[0]);
	if (!path)
		return err_set(e, -ENOMEM, "out of memory");
	ret = rootfs_create(path, e);
	if (!ret) {
		printf("A new root file system is in %s\n", path);
		printf("Boot it with: lkvm run -k KERNEL --disk %s\n", argv[0]);
		ret = cmd_flush(e);
	}
	free(path);
	return ret;
}
