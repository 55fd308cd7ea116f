/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory and its one door.
 *
 * Every address that comes from the guest passes gmem_map(): it clears the shared bit, checks
 * range and overflow and, in a realm, that each page is shared at this moment. What it returns is
 * a pointer or an error, never both.
 *
 * A pointer from gmem_map() is good only between gmem_enter() and gmem_leave(). A request that
 * outlives this section (asynchronous I/O) holds a pin; a conversion of the range waits for it.
 *
 * The memory behind a pointer can be gone all the same: a page of a guest_memfd that the kernel has
 * turned private, a file that was cut short, a memory error. An access then raises SIGBUS. In a
 * section it is caught: the access ends on a page of zeros that takes the lost one's place, the
 * door refuses the lost page from then on, and gmem_check() tells that what was done with it has
 * failed. Outside of sections SIGBUS does what it did before.
 *
 * This room does not know what a realm is: realm/ installs a guard that answers for it.
 */
#ifndef CORE_GMEM_H
#define CORE_GMEM_H

#include <pthread.h>

#include "vmm/core/log.h"
#include "vmm/core/types.h"

struct err;

#define GMEM_MAX_REGIONS 16

/**
 * struct gmem_guard - who decides which addresses a device may touch
 * @canonical: clear the shared bit of an address that the guest gave to a device
 * @shared:    are all pages of [ipa, ipa + len) shared now? ipa is canonical, len is not 0
 * @ctx:       argument of both
 *
 * Without a guard (a plain VM) every address is itself and all memory is shared.
 */
struct gmem_guard {
	ipa_t (*canonical)(const void *ctx, ipa_t ipa);
	bool (*shared)(const void *ctx, ipa_t ipa, uint64_t len);
	const void *ctx;
};

/**
 * struct gmem_region - a piece of guest memory that devices can reach
 * @base: canonical IPA
 * @size: bytes
 * @host: where it is mapped here (in a realm: the shared backing)
 * @fd:   file behind it from its offset 0, or -1 for anonymous memory
 * @unit: bytes that are lost at once: a page of the host's, of hugetlbfs a huge one
 * @lost: a bit per unit
 * @keep: gmem_discard() leaves it alone
 */
struct gmem_region {
	ipa_t base;
	uint64_t size;
	uint8_t *host;
	int fd;
	uint64_t unit;
	_Atomic uint64_t *lost;
	bool keep;
};

/**
 * struct gmem_pin - memory in use by a request that is in flight
 * @cancel: asked once, from the converting thread, to bring the end of the request about; may be
 *          NULL; must not call back into gmem
 *
 * The caller owns the storage; all other fields belong to gmem, @base and @len can be read.
 */
struct gmem_pin {
	void (*cancel)(struct gmem_pin *pin);
	ipa_t base;
	uint64_t len;
	struct gmem_pin *next, **pprev;
};

struct gmem {
	struct gmem_region region[GMEM_MAX_REGIONS];
	unsigned int nr;
	struct gmem_guard guard;
	pthread_rwlock_t lock;		/* readers: devices; writer: a conversion */
	pthread_mutex_t pin_lock;
	pthread_cond_t pin_gone;
	struct gmem_pin *pins;
	_Atomic unsigned int nr_lost;	/* units, of all regions */
	struct log_rate rate;
};

/** gmem_init() - empty guest memory, no guard */
int gmem_init(struct gmem *gm, struct err *e);

/** gmem_destroy() - forget all regions; the mappings belong to who made them */
void gmem_destroy(struct gmem *gm);

/** gmem_set_guard() - install the guard of a realm; before any device exists */
void gmem_set_guard(struct gmem *gm, const struct gmem_guard *guard);

/**
 * gmem_add() - add a region; the fields of struct gmem_region
 *
 * Return: 0, -EINVAL (overlap, wrap, size 0), -ENOSPC, -ENOMEM.
 */
int gmem_add(struct gmem *gm, ipa_t base, uint64_t size, void *host, int fd, struct err *e);

/**
 * gmem_regions() - all of guest memory, for who hands it to a back end outside of this process
 * @nr: number of regions
 *
 * What such a back end does with it no door sees; virtio/vhost.h has what that means in a realm.
 */
const struct gmem_region *gmem_regions(const struct gmem *gm, unsigned int *nr);

/** gmem_enter() - begin a section in which pointers from gmem_map() stay good */
void gmem_enter(struct gmem *gm);
/**
 * gmem_leave() - end it
 *
 * Return: 0; -EIO: memory was lost under an access of this section, and nobody was told.
 */
int gmem_leave(struct gmem *gm);

/**
 * gmem_check() - was this memory there all the time?
 * @gm: guest memory; the caller is between gmem_enter() and gmem_leave()
 *
 * To be asked after a pointer from gmem_map() was used, with the same arguments, and before
 * anything is made of it. On an error what was read is worth nothing and what was written is
 * nowhere: the request fails.
 *
 * Return: 0, -EIO.
 */
int gmem_check(struct gmem *gm, ipa_t ipa, uint64_t len);
/** gmem_intact() - nothing at all is lost: what gmem_check() would say of every range */
bool gmem_intact(struct gmem *gm);
/** gmem_hit() - was memory lost under an access of this section, and gmem_check() did not tell? */
bool gmem_hit(struct gmem *gm);

/**
 * gmem_map() - the door: turn a guest's address into a pointer
 * @gm:  guest memory; the caller is between gmem_enter() and gmem_leave()
 * @ipa: address as the guest gave it, with or without the shared bit
 * @len: bytes, at least 1
 * @out: pointer to @len contiguous bytes; NULL on error
 *
 * Return: 0; -EINVAL (length 0, wrap-around); -EFAULT (not memory, or across the end of a region);
 * -EACCES (a page of the range is private to the realm); -EIO (a page of it was lost).
 */
int gmem_map(struct gmem *gm, ipa_t ipa, uint64_t len, void **out);

/**
 * gmem_read() - copy out of guest memory through the door (enters and leaves by itself)
 * Return: as gmem_map(); -EIO also if a page was lost meanwhile. So does gmem_write().
 */
int gmem_read(struct gmem *gm, ipa_t ipa, void *buf, uint64_t len);
/** gmem_write() - copy into guest memory through the door (enters and leaves by itself) */
int gmem_write(struct gmem *gm, ipa_t ipa, const void *buf, uint64_t len);

/**
 * gmem_pin() - gmem_map() for a request that outlives the section
 * @pin: storage of the caller, must live until gmem_unpin()
 *
 * The caller is between gmem_enter() and gmem_leave(). Errors as gmem_map().
 */
int gmem_pin(struct gmem *gm, struct gmem_pin *pin, ipa_t ipa, uint64_t len, void **out);
/**
 * gmem_unpin() - the request is over; any thread, inside or outside a section
 *
 * Return: 0; -EIO: a page of it was lost meanwhile, nobody knows where the data went.
 */
int gmem_unpin(struct gmem *gm, struct gmem_pin *pin);

/**
 * gmem_exclude() - keep all devices out of guest memory (they wait in gmem_enter())
 *
 * For the moment in which the guard changes its mind about a range. Not recursive.
 */
void gmem_exclude(struct gmem *gm);
/** gmem_admit() - let the devices in again */
void gmem_admit(struct gmem *gm);

/**
 * gmem_drain() - wait until no request in flight uses a range
 * @gm:         guest memory; devices are not excluded now, the guard already refuses the range
 * @base:       canonical IPA
 * @len:        bytes
 * @timeout_ms: how long to wait, after asking each pin to cancel
 *
 * Return: 0, or -ETIMEDOUT: then the range is still in use and must not be converted.
 */
int gmem_drain(struct gmem *gm, ipa_t base, uint64_t len, unsigned int timeout_ms);

/**
 * gmem_restore() - memory that is shared again: put lost pages of a range back from their file
 * @ipa: canonical IPA
 *
 * For who has made the range shared, before the guard lets devices in. Contents are the file's.
 *
 * Return: 0, or a negative errno: some pages are still lost, and refused.
 */
int gmem_restore(struct gmem *gm, ipa_t ipa, uint64_t len);

/**
 * gmem_discard() - the guest gives memory up: forget what is in it, the host gets it back
 * @ipa:  as the guest gave it
 * @done: bytes that were given back are added
 *
 * The caller is between gmem_enter() and gmem_leave(). The next access finds zeros. Only whole
 * units of the host (pages, of hugetlbfs huge ones) that lie in the range are given back, and none
 * that a pin holds.
 *
 * Return: as gmem_map(); -EBUSY: some of it is in use by a request in flight and stays;
 * -EOPNOTSUPP: no memory to be had here (gmem_keep()), or the host refuses.
 */
int gmem_discard(struct gmem *gm, ipa_t ipa, uint64_t len, uint64_t *done);
/**
 * gmem_keep() - never discard of the region at @base: it is not RAM, but a file of the user's; or
 * assigned devices have its pages mapped and would not notice. Before the guest runs
 */
void gmem_keep(struct gmem *gm, ipa_t base);

#endif
