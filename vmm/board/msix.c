// SPDX-License-Identifier: BSD-3-Clause
/*
 * MSI-X (PCI Local Bus 3.0, section 6.8.2).
 *
 * A vector is an eventfd. While the guest has it unmasked it is an irqfd, so a message takes no
 * exit and no thread of ours. Masked, the irqfd is taken away: the eventfd remembers, its being
 * readable is the pending bit, and KVM sends what it remembers when the irqfd is made again.
 *
 * Eventfd and route are made when a vector is first used: a disk has two vectors in use, a VFIO
 * device may offer 2048. host->lock guards all but what is atomic.
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/board/pci.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"

/* #syscalls main,vcpu: eventfd2 close read write poll ppoll */

struct vector {
	uint32_t reg[4];	/* address low, high, data, control */
	_Atomic int fd;		/* -1: not made yet */
	int gsi;		/* -1: none yet */
	bool attached;
	bool used;		/* it was unmasked since MSI-X was switched on */
};

struct msix {
	struct pci_dev *dev;
	struct msi *msi;
	unsigned int cap, nr, table_bar, pba_bar;
	uint32_t table_off, pba_off;
	_Atomic bool on;
	struct log_rate rate;
	struct vector vec[];
};

#define CONTROL	(PCI_MSIX_ENTRY_VECTOR_CTRL / 4)

static uint64_t table_size(const struct msix *x)
{
	return (uint64_t)x->nr * PCI_MSIX_ENTRY_SIZE;
}

static uint64_t pba_size(const struct msix *x)
{
	return (x->nr + 63) / 64 * UINT64_C(8);
}

int pci_add_msix(struct pci_dev *d, struct msi *msi, const struct pci_msix_cfg *cfg, struct err *e)
{
	struct msix *x = calloc(1, sizeof(*x) + cfg->nr * sizeof(x->vec[0]));
	unsigned int cap = cfg->cap;

	if (x && !cap)
		cap = pci_add_cap(d, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
	if (!x || !cap) {
		free(x);
		return err_set(e, -ENOMEM, "%s: no room for MSI-X", d->name);
	}
	x->dev = d;
	x->msi = msi;
	x->cap = cap;
	x->nr = cfg->nr;
	x->table_bar = cfg->table_bar;
	x->table_off = cfg->table_off;
	x->pba_bar = cfg->pba_bar;
	x->pba_off = cfg->pba_off;
	for (unsigned int i = 0; i < x->nr; i++) {
		x->vec[i].reg[CONTROL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
		atomic_init(&x->vec[i].fd, -1);
		x->vec[i].gsi = -1;
	}
	pci_put(d, cap + PCI_MSIX_FLAGS, 2, x->nr - 1);
	pci_put(d, cap + PCI_MSIX_TABLE, 4, x->table_off | x->table_bar);
	pci_put(d, cap + PCI_MSIX_PBA, 4, x->pba_off | x->pba_bar);
	/* the two bits a guest can write */
	d->wmask[cap + PCI_MSIX_FLAGS + 1] =
		(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
	d->msix = x;
	return 0;
}

/* After the vCPUs are gone, and with them the last write to a vector. */
void msix_free(struct msix *x)
{
	for (unsigned int i = 0; i < x->nr; i++) {
		struct vector *v = &x->vec[i];

		if (v->attached)
			msi_detach(x->msi, v->gsi, v->fd);
		if (v->gsi >= 0)
			msi_free(x->msi, v->gsi);
		if (v->fd >= 0)
			close(v->fd);
	}
	free(x);
}

unsigned int msix_cap(const struct msix *x)
{
	return x->cap;
}

bool pci_msix_on(const struct pci_dev *d)
{
	return d->msix && atomic_load(&d->msix->on);
}

unsigned int pci_msix_vectors(const struct pci_dev *d)
{
	return d->msix ? d->msix->nr : 0;
}

int pci_msix_fd(struct pci_dev *d, unsigned int vector)
{
	int fd, none = -1;
	struct vector *v;

	if (!d->msix || vector >= d->msix->nr)
		return -EINVAL;
	v = &d->msix->vec[vector];
	fd = atomic_load(&v->fd);
	if (fd >= 0)
		return fd;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0) {
		fd = -errno;
		log_rated(&d->msix->rate, LOG_ERROR, "%s: eventfd of vector %u: %s; raise the limit "
			  "of open files (ulimit -n)", d->name, vector, strerror(-fd));
		return fd;
	}
	if (!atomic_compare_exchange_strong(&v->fd, &none, fd)) {
		close(fd);
		fd = none;	/* another thread was faster */
	}
	return fd;
}

void pci_msix_raise(struct pci_dev *d, unsigned int vector)
{
	int fd = pci_msix_fd(d, vector);
	uint64_t one = 1;

	/* EAGAIN: the counter is full, so the message is pending anyway */
	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_rated(&d->msix->rate, LOG_ERROR, "%s: vector %u: %s", d->name, vector,
			  strerror(errno));
}

static bool pending(const struct vector *v)
{
	struct pollfd p = { .fd = v->fd, .events = POLLIN };

	return !v->attached && p.fd >= 0 && poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

/* Its owner may have to switch it on in a device; what comes before it is attached is kept. */
static void use(struct msix *x, struct vector *v)
{
	const struct pci_ops *ops = x->dev->ops;

	if (v->used)
		return;
	v->used = true;
	if (ops && ops->msix_used)
		ops->msix_used(x->dev, v - x->vec);
}

/* Make a vector ready to be attached: eventfd, GSI, route. */
static bool prepare(struct msix *x, struct vector *v)
{
	if (pci_msix_fd(x->dev, v - x->vec) < 0)
		return false;
	if (v->gsi < 0)
		v->gsi = msi_alloc(x->msi);
	if (v->gsi < 0) {
		log_rated(&x->rate, LOG_ERROR, "%s: vector %zu: all of KVM's MSI routes are in use",
			  x->dev->name, (size_t)(v - x->vec));
		v->gsi = -1;
		return false;
	}
	/* The bus is number 0, so the requester ID is the device and function number. */
	msi_set(x->msi, v->gsi, (uint64_t)v->reg[1] << 32 | v->reg[0], v->reg[2], x->dev->devfn);
	return true;
}

/*
 * Bring irqfds in line with the registers for @nr vectors from @first on. Routes first, in one
 * call, then irqfds, so that nothing is ever sent by an old route.
 */
static void apply(struct msix *x, unsigned int first, unsigned int nr)
{
	uint16_t flags = pci_get(x->dev, x->cap + PCI_MSIX_FLAGS, 2);
	bool on = flags & PCI_MSIX_FLAGS_ENABLE;
	/* A message is a write of the function's, which needs to be a master for it. */
	bool sends = on && !(flags & PCI_MSIX_FLAGS_MASKALL) &&
		     (pci_get(x->dev, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
	struct err e = { 0 };
	bool routed;

	for (unsigned int i = first; i < first + nr; i++) {
		struct vector *v = &x->vec[i];
		bool unmasked = on && !(v->reg[CONTROL] & PCI_MSIX_ENTRY_CTRL_MASKBIT);
		bool want = sends && unmasked;

		if (unmasked)
			use(x, v);
		if (want && !prepare(x, v))
			continue;
		if (!want && v->attached) {
			msi_detach(x->msi, v->gsi, v->fd);
			v->attached = false;
		}
	}
	routed = sends && !msi_commit(x->msi, &e);
	for (unsigned int i = first; i < first + nr && routed; i++) {
		struct vector *v = &x->vec[i];

		if ((v->reg[CONTROL] & PCI_MSIX_ENTRY_CTRL_MASKBIT) || v->attached || v->gsi < 0 ||
		    v->fd < 0)
			continue;
		v->attached = !msi_attach(x->msi, v->gsi, v->fd, &e);
	}
	if (e.code)
		log_rated(&x->rate, LOG_ERROR, "%s: MSI-X: %s", x->dev->name, e.msg);
}

/* Switched off: what was pending is no more, and the routes are free for others. */
static void forget(struct msix *x)
{
	for (unsigned int i = 0; i < x->nr; i++) {
		struct vector *v = &x->vec[i];
		uint64_t n;

		if (v->gsi >= 0)
			msi_free(x->msi, v->gsi);
		v->gsi = -1;
		v->used = false;
		if (v->fd >= 0 && read(v->fd, &n, sizeof(n)) < 0)
			continue;	/* nothing was */
	}
}

bool msix_update(struct msix *x)
{
	bool on = pci_get(x->dev, x->cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_ENABLE;
	bool was = atomic_exchange(&x->on, on);

	if (!on && !was)
		return false;
	apply(x, 0, x->nr);
	if (!on)
		forget(x);
	return on != was;
}

static bool in_table(const struct msix *x, unsigned int bar, uint64_t off, uint64_t len)
{
	return bar == x->table_bar && off + len > x->table_off &&
	       off < x->table_off + table_size(x);
}

static bool in_pba(const struct msix *x, unsigned int bar, uint64_t off, uint64_t len)
{
	return bar == x->pba_bar && off + len > x->pba_off && off < x->pba_off + pba_size(x);
}

bool pci_msix_owns(const struct pci_dev *d, unsigned int bar, uint64_t off, uint64_t len)
{
	return d->msix && (in_table(d->msix, bar, off, len) || in_pba(d->msix, bar, off, len));
}

void pci_msix_reset(struct pci_dev *d)
{
	struct msix *x = d->msix;

	if (!x)
		return;
	for (unsigned int i = 0; i < x->nr; i++) {
		memset(x->vec[i].reg, 0, sizeof(x->vec[i].reg));
		x->vec[i].reg[CONTROL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
	}
	pci_put(d, x->cap + PCI_MSIX_FLAGS, 2, x->nr - 1);
	msix_update(x);
}

static uint64_t table_access(struct msix *x, uint64_t off, uint64_t val, unsigned int len,
			     bool write)
{
	unsigned int first = off / PCI_MSIX_ENTRY_SIZE, word = off % PCI_MSIX_ENTRY_SIZE / 4;
	struct vector *v = &x->vec[first];

	if (!write)
		return len == 4 ? v->reg[word] :
		       v->reg[word] | (uint64_t)v->reg[word + 1] << 32;
	for (unsigned int i = 0; i < len / 4; i++, word++, val >>= 32)
		v->reg[word] = word == CONTROL ? val & PCI_MSIX_ENTRY_CTRL_MASKBIT : (uint32_t)val;
	/* bits 0 and 1 of an address are 0 (section 6.8.2.7) */
	v->reg[0] &= ~3U;
	apply(x, first, 1);
	return 0;
}

static uint64_t pba_read(const struct msix *x, uint64_t off, unsigned int len)
{
	uint64_t bits = 0;

	for (unsigned int i = 0; i < 8 * len && 8 * off + i < x->nr; i++)
		bits |= (uint64_t)pending(&x->vec[8 * off + i]) << i;
	return bits;
}

uint64_t msix_access(struct msix *x, unsigned int bar, uint64_t off, uint64_t val,
		     unsigned int len, bool write)
{
	struct pci_host *h = x->dev->host;
	uint64_t ret = 0;

	/* Other widths are undefined (section 6.8.2); nothing happens. */
	if ((len != 4 && len != 8) || off % len)
		return 0;
	pthread_mutex_lock(&h->lock);
	if (in_table(x, bar, off, len) && off >= x->table_off)
		ret = table_access(x, off - x->table_off, val, len, write);
	else if (!write && in_pba(x, bar, off, len) && off >= x->pba_off)
		ret = pba_read(x, off - x->pba_off, len);
	pthread_mutex_unlock(&h->lock);
	return ret;
}
