// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/gmem.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "vmm/core/err.h"

int gmem_init(struct gmem *gm, struct err *e)
{
	pthread_rwlockattr_t rwattr;
	pthread_condattr_t cattr;
	int ret;

	memset(gm, 0, sizeof(*gm));
	pthread_rwlockattr_init(&rwattr);
	/* A conversion holds up a vCPU of the guest: it must not starve behind busy devices. */
	pthread_rwlockattr_setkind_np(&rwattr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	ret = pthread_rwlock_init(&gm->lock, &rwattr);
	pthread_rwlockattr_destroy(&rwattr);
	if (ret)
		return err_set(e, -ret, "guest memory lock: %s", strerror(ret));
	pthread_mutex_init(&gm->pin_lock, NULL);
	pthread_condattr_init(&cattr);
	pthread_condattr_setclock(&cattr, CLOCK_MONOTONIC);
	pthread_cond_init(&gm->pin_gone, &cattr);
	pthread_condattr_destroy(&cattr);
	return 0;
}

void gmem_destroy(struct gmem *gm)
{
	pthread_cond_destroy(&gm->pin_gone);
	pthread_mutex_destroy(&gm->pin_lock);
	pthread_rwlock_destroy(&gm->lock);
	gm->nr = 0;
}

void gmem_set_guard(struct gmem *gm, const struct gmem_guard *guard)
{
	gm->guard = *guard;
}

int gmem_add(struct gmem *gm, ipa_t base, uint64_t size, void *host, int fd, struct err *e)
{
	if (!size || base + size < base)
		return err_set(e, -EINVAL, "guest memory at %" PRIipa ": bad size", base);
	if (gm->nr == GMEM_MAX_REGIONS)
		return err_set(e, -ENOSPC, "more than %d regions of guest memory", GMEM_MAX_REGIONS);
	for (unsigned int i = 0; i < gm->nr; i++) {
		const struct gmem_region *r = &gm->region[i];

		if (base < r->base + r->size && r->base < base + size)
			return err_set(e, -EINVAL, "guest memory at %" PRIipa " overlaps %" PRIipa,
				       base, r->base);
	}
	gm->region[gm->nr++] = (struct gmem_region){ base, size, host, fd };
	return 0;
}

void gmem_enter(struct gmem *gm)
{
	pthread_rwlock_rdlock(&gm->lock);
}

void gmem_leave(struct gmem *gm)
{
	pthread_rwlock_unlock(&gm->lock);
}

void gmem_exclude(struct gmem *gm)
{
	pthread_rwlock_wrlock(&gm->lock);
}

void gmem_admit(struct gmem *gm)
{
	pthread_rwlock_unlock(&gm->lock);
}

static int door(struct gmem *gm, ipa_t *ipa, uint64_t len, void **out)
{
	*out = NULL;
	if (gm->guard.canonical)
		*ipa = gm->guard.canonical(gm->guard.ctx, *ipa);
	if (!len || *ipa + len < *ipa)
		return -EINVAL;
	for (unsigned int i = 0; i < gm->nr; i++) {
		const struct gmem_region *r = &gm->region[i];

		/* In this order nothing can overflow. */
		if (*ipa < r->base || *ipa - r->base >= r->size)
			continue;
		if (len > r->size - (*ipa - r->base))
			return -EFAULT;
		if (gm->guard.shared && !gm->guard.shared(gm->guard.ctx, *ipa, len))
			return -EACCES;
		*out = r->host + (*ipa - r->base);
		return 0;
	}
	return -EFAULT;
}

int gmem_map(struct gmem *gm, ipa_t ipa, uint64_t len, void **out)
{
	return door(gm, &ipa, len, out);
}

int gmem_read(struct gmem *gm, ipa_t ipa, void *buf, uint64_t len)
{
	void *p;
	int ret;

	gmem_enter(gm);
	ret = door(gm, &ipa, len, &p);
	if (!ret)
		memcpy(buf, p, len);
	gmem_leave(gm);
	return ret;
}

int gmem_write(struct gmem *gm, ipa_t ipa, const void *buf, uint64_t len)
{
	void *p;
	int ret;

	gmem_enter(gm);
	ret = door(gm, &ipa, len, &p);
	if (!ret)
		memcpy(p, buf, len);
	gmem_leave(gm);
	return ret;
}

int gmem_pin(struct gmem *gm, struct gmem_pin *pin, ipa_t ipa, uint64_t len, void **out)
{
	int ret = door(gm, &ipa, len, out);

	if (ret)
		return ret;
	pin->base = ipa;
	pin->len = len;
	pthread_mutex_lock(&gm->pin_lock);
	pin->next = gm->pins;
	pin->pprev = &gm->pins;
	if (pin->next)
		pin->next->pprev = &pin->next;
	gm->pins = pin;
	pthread_mutex_unlock(&gm->pin_lock);
	return 0;
}

void gmem_unpin(struct gmem *gm, struct gmem_pin *pin)
{
	pthread_mutex_lock(&gm->pin_lock);
	*pin->pprev = pin->next;
	if (pin->next)
		pin->next->pprev = pin->pprev;
	pin->next = NULL;
	pin->pprev = NULL;
	pthread_cond_broadcast(&gm->pin_gone);
	pthread_mutex_unlock(&gm->pin_lock);
}

static struct gmem_pin *overlapping(struct gmem_pin *p, ipa_t base, uint64_t len)
{
	for (; p; p = p->next)
		if (p->base < base + len && base < p->base + p->len)
			return p;
	return NULL;
}

int gmem_drain(struct gmem *gm, ipa_t base, uint64_t len, unsigned int timeout_ms)
{
	struct timespec until;
	int ret = 0;

	pthread_mutex_lock(&gm->pin_lock);
	if (!gm->pins) {	/* the common case */
		pthread_mutex_unlock(&gm->pin_lock);
		return 0;
	}
	/* cancel() only asks (see struct gmem_pin): the list cannot change under this walk. */
	for (struct gmem_pin *p = overlapping(gm->pins, base, len); p;
	     p = overlapping(p->next, base, len))
		if (p->cancel)
			p->cancel(p);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (timeout_ms % 1000) * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	while (!ret && overlapping(gm->pins, base, len))
		if (pthread_cond_timedwait(&gm->pin_gone, &gm->pin_lock, &until) == ETIMEDOUT)
			ret = -ETIMEDOUT;
	if (ret && !overlapping(gm->pins, base, len))
		ret = 0;
	pthread_mutex_unlock(&gm->pin_lock);
	return ret;
}
