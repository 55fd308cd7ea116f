// SPDX-License-Identifier: BSD-3-Clause
/*
 * The table of system calls, made out of the #syscalls comments of all files by syscalls.awk, and
 * what the names in them mean.
 */
#include "vmm/syscalls.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <linux/vfio.h>
#include <linux/vhost.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include "realm/rmi_abi.h"
#include "vfio/vfio_abi.h"
#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/core/kvm_abi.h"
#include "vmm/core/log.h"

#define M	(1u << THREAD_MAIN)
#define V	(1u << THREAD_VCPU)
#define I	(1u << THREAD_IO)
#define A	(1u << THREAD_AUX)
#include SYSCALLS_TABLE			/* rules[], names[] */

static const struct seccomp_table table = {
	.rule = rules,
	.nr_rules = ARRAY_SIZE(rules),
	.name = names,
	.nr_names = ARRAY_SIZE(names),
};

const struct seccomp_table *syscalls_table(void)
{
	return &table;
}

unsigned int syscalls_groups(const struct vm_config *c)
{
	unsigned int g = 0;

	for (unsigned int i = 0; i < c->nr_shares; i++)
		g |= c->share[i].kind == SHARE_9P ? SECCOMP_9P : SECCOMP_BACKEND;
	for (unsigned int i = 0; i < c->nr_disks; i++)
		g |= c->disk[i].socket || c->disk[i].format != FORMAT_RAW ? SECCOMP_BACKEND :
		     SECCOMP_URING;
	for (unsigned int i = 0; i < c->nr_nets; i++) {
		const struct cfg_net *n = &c->net[i];

		g |= SECCOMP_NET;
		if (n->mode == NET_USER || n->mode == NET_VHOST_USER || n->script || n->downscript)
			g |= SECCOMP_BACKEND;
		if (n->vhost)
			g |= SECCOMP_VHOST;
	}
	if (c->vsock.cid)
		g |= c->vsock.path ? SECCOMP_VSOCK : SECCOMP_VHOST;
	if (c->nr_vfios)
		g |= SECCOMP_VFIO;
	if (c->mode != MODE_PLAIN)
		g |= SECCOMP_REALM;
	if (c->gdb)
		g |= SECCOMP_GDB;
	if (c->hugetlbfs)
		g |= SECCOMP_HUGETLBFS;
	if (c->flash)
		g |= SECCOMP_FLASH;
	return g;
}

/* The number of a request that no kernel has fixed yet: --rmi-generation e:NR */
static uint32_t ripas_request(const struct vm_config *c)
{
	const char *nr = c->rmi_generation ? strchr(c->rmi_generation, ':') : NULL;

	return nr ? A64_RMI_INIT_RIPAS(strtoul(nr + 1, NULL, 0) & 0xff) : 0;
}

int syscalls_restrict(const struct vm_config *c, enum seccomp_mode mode, void (*last_wish)(void),
		      struct err *e)
{
	const struct seccomp_cfg cfg = {
		.mode = mode,
		.groups = syscalls_groups(c),
		.often = KVM_RUN,
		.extra = ripas_request(c),
		.last_wish = last_wish,
	};
	int ret;

	tzset();	/* gmtime_r() and its like read a file when they are first called */
	ret = seccomp_install(&table, &cfg, e);
	if (ret == -EOPNOTSUPP) {
		log_info("sandbox: %s", e->msg);
		return 0;
	}
	return ret;
}
