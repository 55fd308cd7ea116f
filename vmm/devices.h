/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kinds of virtio devices a machine can have: one table, a row and a file (dev_KIND.c) each.
 * The order of the table is the order in which the guest finds them, and so a part of what is
 * measured.
 *
 * A device has two halves. Its host's end (files, sockets, processes) is opened once by the
 * session and outlives resets of the guest; the device itself is made anew for each boot.
 */
#ifndef VMM_DEVICES_H
#define VMM_DEVICES_H

#include "vmm/config.h"
#include "vmm/core/loop.h"

struct err;
struct machine;
struct virtio_dev;
struct virtio_env;
struct device_kind;
struct sandbox_dir;

/**
 * struct device_host - the host's end of one device
 * @kind:  its row
 * @index: number among those of its kind, in the order of the options
 * @fd:    for the kind to use; -1 at the start, closed by devices_close() if it is not -1 then
 * @priv:  for the kind to use
 */
struct device_host {
	const struct device_kind *kind;
	unsigned int index;
	int fd;
	void *priv;
};

/**
 * struct device_kind - a row of the table
 * @name:  for messages
 * @io:    it does I/O that may take its time: gets a thread of its own (--io-threads)
 * @count: how many the options ask for; a pure function of them
 * @open:  open the files of the host's end; on any machine, nothing is started yet. May be NULL
 * @start: start what it needs (helper processes, interfaces); once, before the first boot. May be
 *         NULL
 * @close: undo both, also after a failure; @fd is closed afterwards. May be NULL
 * @make:  make the device for one boot
 * @dir:   the folder that it uses by name after the start, which stays reachable in the sandbox.
 *         Return: false: none. May be NULL
 */
struct device_kind {
	const char *name;
	bool io;
	unsigned int (*count)(const struct vm_config *c);
	int (*open)(struct device_host *h, const struct vm_config *c, struct err *e);
	int (*start)(struct device_host *h, const struct vm_config *c, struct err *e);
	void (*close)(struct device_host *h);
	int (*make)(struct machine *m, struct device_host *h, const struct virtio_env *env,
		    struct virtio_dev **out, struct err *e);
	bool (*dir)(struct device_host *h, const struct vm_config *c, struct sandbox_dir *d);
};

/** devices_count() - number of devices that the options ask for */
unsigned int devices_count(const struct vm_config *c);

/**
 * devices_open() - open all host's ends
 * @out: array, freed by devices_close()
 * @nr:  its length, devices_count()
 */
int devices_open(const struct vm_config *c, struct device_host **out, unsigned int *nr,
		 struct err *e);
/** devices_start() - start what they need */
int devices_start(const struct vm_config *c, struct device_host *hosts, unsigned int nr,
		  struct err *e);
/** devices_dirs() - the folders of @dir, @max at most; *@nr is added to */
void devices_dirs(const struct vm_config *c, struct device_host *hosts, unsigned int nr_hosts,
		  struct sandbox_dir *dir, unsigned int max, unsigned int *nr);
/** devices_close() - close them all; a NULL array is fine */
void devices_close(struct device_host *hosts, unsigned int nr);

/** net_fds_given() - descriptors that --network fd=N names are open; before anything else is */
int net_fds_given(const struct vm_config *c, struct err *e);
/** disks_resize() - files behind the disks of a machine may have other sizes now; main thread */
void disks_resize(struct machine *m);

/** pmem_size() - bytes of the file of a device_pmem that is open */
uint64_t pmem_size(const struct device_host *h);

/* The rows; each in its file. */
extern const struct device_kind device_console, device_disk, device_net, device_rng,
	device_balloon, device_vsock, device_9p, device_fs, device_pmem;

#endif
