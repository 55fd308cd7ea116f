/* SPDX-License-Identifier: BSD-3-Clause */
/* The MMIO bus: which device answers at which IPA. All addresses here are canonical. */
#ifndef CORE_MMIO_H
#define CORE_MMIO_H

#include "vmm/core/types.h"

struct err;

#define MMIO_MAX_RANGES 128

/**
 * struct mmio_ops - register access of a device
 * @read:  value of @len bytes (1, 2, 4, 8) at @off from the range's base
 * @write: the low @len bytes of @val
 *
 * @off + @len never exceeds the range. Called on vCPU threads, several at a time: a device has
 * its own lock. The offset may be unaligned and of any width: the guest chooses.
 */
struct mmio_ops {
	uint64_t (*read)(void *dev, uint64_t off, unsigned int len);
	void (*write)(void *dev, uint64_t off, uint64_t val, unsigned int len);
};

struct mmio_range {
	ipa_t base;
	uint64_t size;
	const struct mmio_ops *ops;
	void *dev;
	const char *name;
};

struct mmio_bus {
	struct mmio_range range[MMIO_MAX_RANGES];	/* sorted by base */
	unsigned int nr;
};

/**
 * mmio_add() - put a device on the bus; before any vCPU runs
 *
 * Return: 0, -EINVAL (overlap, wrap, size 0), -ENOSPC.
 */
int mmio_add(struct mmio_bus *bus, ipa_t base, uint64_t size, const struct mmio_ops *ops,
	     void *dev, const char *name, struct err *e);

/**
 * mmio_access() - carry out one access of the guest
 * @ipa:   canonical address
 * @data:  little-endian bytes as in struct kvm_run
 * @len:   1 to 8
 * @write: direction
 *
 * Return: true, or false if no device answers at all bytes of the access.
 */
bool mmio_access(const struct mmio_bus *bus, ipa_t ipa, uint8_t *data, unsigned int len,
		 bool write);

/** mmio_name() - name of the device at an address, NULL: there is none */
const char *mmio_name(const struct mmio_bus *bus, ipa_t ipa);

#endif
