// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/devices.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/sandbox.h"

/* #syscalls main: close */

static const struct device_kind *const kinds[] = {
	&device_console,
	&device_disk,
	&device_net,
	&device_rng,
	&device_balloon,
	&device_vsock,
	&device_9p,
	&device_fs,
	&device_pmem,
};

unsigned int devices_count(const struct vm_config *c)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++)
		nr += kinds[i]->count(c);
	return nr;
}

int devices_open(const struct vm_config *c, struct device_host **out, unsigned int *nr,
		 struct err *e)
{
	unsigned int total = devices_count(c), n = 0;
	struct device_host *hosts = calloc(total + 1, sizeof(*hosts));

	*out = NULL;
	*nr = 0;
	if (!hosts)
		return err_set(e, -ENOMEM, "no memory for devices");
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		for (unsigned int i = 0; i < kinds[k]->count(c); i++, n++) {
			int ret;

			hosts[n] = (struct device_host){ .kind = kinds[k], .index = i, .fd = -1 };
			ret = kinds[k]->open ? kinds[k]->open(&hosts[n], c, e) : 0;
			if (ret < 0) {
				devices_close(hosts, n + 1);
				return ret;
			}
		}
	}
	*out = hosts;
	*nr = n;
	return 0;
}

int devices_start(const struct vm_config *c, struct device_host *hosts, unsigned int nr,
		  struct err *e)
{
	int ret = 0;

	for (unsigned int i = 0; i < nr && !ret; i++)
		if (hosts[i].kind->start)
			ret = hosts[i].kind->start(&hosts[i], c, e);
	return ret;
}

void devices_dirs(const struct vm_config *c, struct device_host *hosts, unsigned int nr_hosts,
		  struct sandbox_dir *dir, unsigned int max, unsigned int *nr)
{
	for (unsigned int i = 0; i < nr_hosts && *nr < max; i++)
		if (hosts[i].kind->dir && hosts[i].kind->dir(&hosts[i], c, &dir[*nr]))
			(*nr)++;
}

void devices_close(struct device_host *hosts, unsigned int nr)
{
	while (nr-- > 0) {
		if (hosts[nr].kind->close)
			hosts[nr].kind->close(&hosts[nr]);
		if (hosts[nr].fd >= 0)
			close(hosts[nr].fd);
	}
	free(hosts);
}
