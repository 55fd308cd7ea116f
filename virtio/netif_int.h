/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIO_NETIF_INT_H
#define VIRTIO_NETIF_INT_H

#include "virtio/netif.h"

/** netif_new() - an end without descriptors */
struct netif *netif_new(enum netif_kind kind, const char *name, struct err *e);

#endif
