/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host's end of a port of the virtio console: a pty, or a unix socket that takes one client at
 * a time. It outlives resets of the guest. All of it runs on the loop's thread.
 */
#ifndef VMM_PORT_H
#define VMM_PORT_H

#include "virtio/virtio.h"
#include "vmm/config.h"

struct port;

/**
 * port_new() - a port
 * @cfg: outlives it
 * @n:   its number in the device
 *
 * A socket listens from now on, a pty works from the first port_attach() on.
 */
int port_new(const struct cfg_port *cfg, unsigned int n, struct port **out, struct err *e);
/** port_io() - its callbacks, for virtio_console_new_ports() */
struct virtio_console_io port_io(struct port *p);
/** port_attach() - the device was made; @loop is the same for each boot */
int port_attach(struct port *p, struct loop *loop, struct virtio_dev *dev, struct err *e);
/** port_free() - close it; the loop may be gone, and the device is */
void port_free(struct port *p);

#endif
