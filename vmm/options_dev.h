/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options of devices: what stands between the commas of --disk, --network and their like. Each
 * has a table of its own, read by opt_words(); the manual and config files use the same tables.
 */
#ifndef VMM_OPTIONS_DEV_H
#define VMM_OPTIONS_DEV_H

#include "vmm/core/opt.h"

struct vm_config;

extern const struct opt_table disk_options, net_options, share_options, vsock_options,
	pmem_options, port_options, balloon_options, vfio_options;

/* Parsers for the one table; the destination is the whole config. */
opt_parse_fn take_disk, take_network, take_9p, take_fs, take_vsock, take_pmem, take_port,
	take_balloon, take_vfio;

/**
 * options_default_net() - lkvm's network device in user mode, unless the options say otherwise;
 * once all of them are known
 */
void options_default_net(struct vm_config *c);

#endif
