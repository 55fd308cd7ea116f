// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmd.h"

#include <errno.h>
#include <stdio.h>

#include "vmm/core/err.h"

#ifndef REALMTOOL_VERSION
#define REALMTOOL_VERSION "unknown"
#endif

#ifdef HAVE_URING
#define WITH_URING true
#else
#define WITH_URING false
#endif
#ifdef HAVE_CRYPTO
#define WITH_CRYPTO true
#else
#define WITH_CRYPTO false
#endif
#ifdef HAVE_ZLIB
#define WITH_ZLIB true
#else
#define WITH_ZLIB false
#endif
#ifdef HAVE_ZSTD
#define WITH_ZSTD true
#else
#define WITH_ZSTD false
#endif

static const struct {
	const char *name;
	bool there;
	const char *without;
} libs[] = {
	{"libfdt", true, ""},
	{"liburing", WITH_URING, "disks use ordinary reads and writes"},
	{"libcrypto", WITH_CRYPTO, "no measurements in an emulated realm"},
	{"zlib", WITH_ZLIB, "no Image.gz, and no zboot kernels with gzip"},
	{"libzstd", WITH_ZSTD, "no zboot kernels with zstd"},
};

int cmd_version(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	if (argc)
		return err_set(e, -EINVAL, "version takes no words, \"%.80s\" is one too many",
			       argv[0]);
	/* The first line of lkvm's own begins like this. */
	if (cx->lkvm)
		printf("kvm tool " REALMTOOL_VERSION " (realmtool)\n");
	else
		printf("realmtool " REALMTOOL_VERSION "\n");
	for (size_t i = 0; i < ARRAY_SIZE(libs); i++)
		printf("  %-10s %s%s\n", libs[i].name,
		       libs[i].there ? "yes" : "no: ", libs[i].there ? "" : libs[i].without);
	return cmd_flush(e);
}
