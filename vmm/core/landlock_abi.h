/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Landlock, as far as newer kernels have more of it than the UAPI headers of Debian 12 (6.1).
 * The structure is ours because it has grown: the kernel takes any size that it knows.
 */
#ifndef CORE_LANDLOCK_ABI_H
#define CORE_LANDLOCK_ABI_H

#include <linux/landlock.h>

#include "vmm/core/types.h"

struct ll_ruleset_attr {
	uint64_t fs;
	uint64_t net;		/* ABI 4 (6.7) */
	uint64_t scoped;	/* ABI 6 (6.12) */
};

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER	(1ULL << 13)	/* ABI 2 (5.19) */
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE	(1ULL << 14)	/* ABI 3 (6.2) */
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV	(1ULL << 15)	/* ABI 5 (6.10) */
#endif
#ifndef LANDLOCK_ACCESS_FS_RESOLVE_UNIX
#define LANDLOCK_ACCESS_FS_RESOLVE_UNIX	(1ULL << 16)	/* ABI 9 (7.1) */
#endif
#ifndef LANDLOCK_ACCESS_NET_BIND_TCP
#define LANDLOCK_ACCESS_NET_BIND_TCP	(1ULL << 0)	/* ABI 4 (6.7) */
#define LANDLOCK_ACCESS_NET_CONNECT_TCP	(1ULL << 1)
#endif
#ifndef LANDLOCK_ACCESS_NET_BIND_UDP
#define LANDLOCK_ACCESS_NET_BIND_UDP	(1ULL << 2)	/* ABI 10 (7.2) */
#define LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP (1ULL << 3)
#endif
#ifndef LANDLOCK_SCOPE_SIGNAL
#define LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)	/* ABI 6 (6.12) */
#define LANDLOCK_SCOPE_SIGNAL		(1ULL << 1)
#endif

#endif
