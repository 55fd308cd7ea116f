/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host's end of a device with a back end outside of realmtool. With vhost-user that is a
 * process, if it is one of ours, and the connection to it. Both outlive resets of the guest; when
 * one is gone, the next boot begins with another. With the kernel's vhost it is a descriptor.
 */
#ifndef VMM_VU_HOST_H
#define VMM_VU_HOST_H

#include "vmm/config.h"

struct err;
struct machine;
struct vhost_user;

/* Words of a helper's command line, the program and the end included. */
#define VU_ARGS_MAX	16

struct vu_host;

/**
 * struct vu_host_cfg - which back end
 * @name:    for messages: "disk x.qcow2"
 * @rings:   for vhost_user_new()
 * @socket:  of a back end that runs already; else
 * @package: see struct helper_cfg
 * @instead: see struct helper_cfg
 * @args:    writes the command line; @fd: listening socket that the program accepts on, once.
 *           Words are malloc()ed, NULL at the end. Return: 0, -ENOMEM
 * @ctx:     argument of @args
 */
struct vu_host_cfg {
	const char *name;
	unsigned int rings;
	const char *socket;
	const char *package, *instead;
	int (*args)(const void *ctx, int fd, char *argv[VU_ARGS_MAX]);
	const void *ctx;
};

/** vu_host_new() - remember what is wanted; nothing is started; @cfg's @ctx must live on */
int vu_host_new(const struct vu_host_cfg *cfg, struct vu_host **out, struct err *e);
/**
 * vu_host_up() - start the back end and connect, unless that was done and it still lives
 *
 * Main thread. Return: 0; -ENOENT: no such program; or why it does not work.
 */
int vu_host_up(struct vu_host *h, struct err *e);
/** vu_host_conn() - the connection; vu_host_up() succeeded */
struct vhost_user *vu_host_conn(struct vu_host *h);
/** vu_host_free() - hang up and end the process; NULL is fine */
void vu_host_free(struct vu_host *h);

struct cfg_disk;
struct device_host;
struct virtio_dev;
struct virtio_env;

/** vu_disk_is() - is this disk served by a vhost-user back end? Then the others are its row's */
bool vu_disk_is(const struct cfg_disk *d);
int vu_disk_open(struct device_host *h, const struct cfg_disk *d, struct err *e);
int vu_disk_start(struct device_host *h, struct err *e);
void vu_disk_close(struct device_host *h);
int vu_disk_make(struct machine *m, struct device_host *h, const struct virtio_env *env,
		 struct virtio_dev **out, struct err *e);

/**
 * vhost_open() - open a device file of the kernel's vhost
 * @file:   "vhost-net"
 * @module: that brings it
 * @instead: what can be done without
 *
 * Return: descriptor, or a negative errno; the error says what to do.
 */
int vhost_open(const char *file, const char *module, const char *instead, struct err *e);

/** vu_host_wanted() - does a device have such a back end, so that RAM must be a file? */
bool vu_host_wanted(const struct vm_config *c);
/** vu_host_notice() - tell the user what a back end outside of realmtool can see in this realm */
void vu_host_notice(const struct machine *m);

#endif
