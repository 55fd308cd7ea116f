/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NOR flash for UEFI variables: two 16-bit chips side by side on a 32-bit bus, CFI (JEDEC 68.01)
 * with the Intel command set, erase blocks of 64 KiB. This is what edk2's driver for kvmtool
 * (VirtNorFlashDxe) and Linux' cfi_cmdset_0001 drive.
 */
#ifndef BOARD_FLASH_H
#define BOARD_FLASH_H

#include "vmm/core/types.h"

struct err;
struct mmio_bus;
struct flash;

#define FLASH_BLOCK_SIZE	SZ_64K

/**
 * struct flash_config - a flash
 * @name:       of the file, for messages; kept, not copied
 * @fd:         the file, from flash_open(); stays the caller's, must stay open (it holds the lock)
 * @readonly:   all blocks are locked for good
 * @base:       IPA of the bank
 * @set_mapped: the flash leaves (false) or enters (true) read-array mode, in which its contents may
 *              be mapped into the guest read-only; a change is complete when it returns. May be
 *              NULL. vCPU threads, with the flash locked: it must not access the flash
 * @ctx:        for @set_mapped
 *
 * A new flash is in read-array mode; the first mapping is up to the caller.
 */
struct flash_config {
	const char *name;
	int fd;
	bool readonly;
	ipa_t base;
	void (*set_mapped)(void *ctx, bool mapped);
	void *ctx;
};

/**
 * flash_open() - open and lock the file of a flash
 * @path:     file of a size that is a power of two, 64 KiB to 16 MiB
 * @readonly: open it read-only
 *
 * Return: descriptor or a negative errno: -EBUSY (used by another process), -EINVAL (not a file,
 * or a wrong size), -ENOSPC (a sparse file for whose blocks there is no space).
 */
int flash_open(const char *path, bool readonly, struct err *e);

/**
 * flash_new() - make a flash of a file and put it on the bus
 *
 * Return: 0 or a negative errno: -EINVAL as for flash_open(), -ENOMEM, what mmap() and mmio_add()
 * say.
 */
int flash_new(struct mmio_bus *bus, const struct flash_config *cfg, struct flash **out,
	      struct err *e);

/** flash_free() - no vCPU runs any more and nothing is mapped into the guest */
void flash_free(struct flash *f);

/** flash_reset() - to read-array mode, locks as at power-on; calls @set_mapped if need be */
void flash_reset(struct flash *f);

/** flash_map() - the contents, flash_size() bytes, page aligned; for a read-only memory slot */
void *flash_map(const struct flash *f);
/** flash_size() - bytes */
uint64_t flash_size(const struct flash *f);

#endif
