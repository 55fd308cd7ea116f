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
#ifdef HAVE_CBOR
#define WITH_CBOR true
#else
#define WITH_CBOR false
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

#ifdef HAVE_JANSSON
#define WITH_JANSSON true
#else
#define WITH_JANSSON false
#endif

#ifdef HAVE_CONFUSE
#define WITH_CONFUSE true
#else
#define WITH_CONFUSE false
#endif

const char realmtool_version[] = REALMTOOL_VERSION;

const struct build_lib build_libs[] = {
	{"libfdt", true, ""},
	{"liburing", WITH_URING, "disks use ordinary reads and writes"},
	{"libcrypto", WITH_CRYPTO, "no measurements and no attestation tokens"},
	{"zlib", WITH_ZLIB, "no Image.gz, and no zboot kernels with gzip"},
	{"tinycbor", WITH_CBOR, "no attestation tokens and no CoRIM"},
	{"libzstd", WITH_ZSTD, "no zboot kernels with zstd"},
	{"libconfuse", WITH_CONFUSE, "no config files"},
	{"jansson", WITH_JANSSON, "no control socket: no list, stop, pause, console, ..."},
	{NULL},
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
	for (const struct build_lib *l = build_libs; l->name; l++)
		printf("  %-10s %s%s\n", l->name, l->there ? "yes" : "no: ",
		       l->there ? "" : l->without);
	return cmd_flush(e);
}
