// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/gmem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "vmm/core/err.h"

/*
 * #syscalls all: fallocate mmap!PROT_EXEC madvise=MADV_DONTNEED|MADV_DONTDUMP
 * #syscalls main: fstatfs
 */

#define BITS 64		/* of a word of the map of lost units */
/* Given back at a time: whoever wants to pin a page waits as long. */
#define DISCARD_STEP SZ_2M

/**
 * struct section - the section that a thread is in; written by the SIGBUS handler
 * @gm:   NULL: none
 * @hits: accesses that were answered by a dummy page; @told: as many are known to the caller
 * @ipa, @code: the last one's address and si_code
 */
struct section {
	struct gmem *volatile gm;
	volatile unsigned int hits;
	unsigned int told;
	volatile ipa_t ipa;
	volatile int code;
};

static __thread struct section here;

static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before;
static _Atomic bool passed_on;

/* ---- lost memory ----------------------------------------------------------------------------- */

/* Caught: the access is repeated on return, and finds zeros. Only what a handler may do. */
static bool replace(struct gmem *gm, const siginfo_t *info)
{
	uint8_t *at = info->si_addr;

	for (unsigned int i = 0; i < gm->nr; i++) {
		struct gmem_region *r = &gm->region[i];
		uint64_t n, bit;
		uint8_t *unit;

		if (at < r->host || (uint64_t)(at - r->host) >= r->size)
			continue;
		n = (at - r->host) / r->unit;
		unit = r->host + n * r->unit;
		/* Never over memory that is not the guest's. */
		if (!IS_ALIGNED((uintptr_t)r->host, r->unit) || r->unit > r->size - n * r->unit)
			return false;
		/* In this order: whoever finds the dummy page finds the bit too (gmem_check()). */
		bit = UINT64_C(1) << n % BITS;
		if (!(atomic_fetch_or(&r->lost[n / BITS], bit) & bit))
			atomic_fetch_add(&gm->nr_lost, 1);
		if ((void *)syscall(SYS_mmap, unit, r->unit, PROT_READ | PROT_WRITE, MAP_PRIVATE |
				    MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != unit)
			return false;
		here.ipa = r->base + (at - r->host);
		here.code = info->si_code;
		here.hits++;
		return true;
	}
	return false;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	static const struct sigaction dfl = { .sa_handler = SIG_DFL };
	int saved_errno = errno;
	bool fault = info->si_code > 0 && info->si_code != BUS_MCEERR_AO;

	(void)context;
	if (!fault || !here.gm || !replace(here.gm, info)) {
		/*
		 * Not ours: it happens again on return, now with who was there before us. If that
		 * leads back to here, as when he was hooked in twice, it is the end.
		 */
		sigaction(sig, atomic_exchange(&passed_on, true) ? &dfl : &before, NULL);
		if (!fault)
			raise(sig);	/* this would not */
	}
	errno = saved_errno;
}

/* Over whatever is there: a terminal that is hooked in later is not to see what is caught. */
static void install(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct sigaction now;

	sigemptyset(&sa.sa_mask);
	pthread_mutex_lock(&install_lock);
	sigaction(SIGBUS, NULL, &now);
	if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_sigbus) {
		before = now;
		sigaction(SIGBUS, &sa, NULL);
	}
	pthread_mutex_unlock(&install_lock);
}

/* First lost unit in [n, end), or end. */
static uint64_t next_lost(const struct gmem_region *r, uint64_t n, uint64_t end)
{
	while (n < end) {
		uint64_t word = atomic_load(&r->lost[n / BITS]) >> n % BITS;

		if (word)
			return MIN(n + __builtin_ctzll(word), end);
		n = ALIGN_DOWN(n, BITS) + BITS;
	}
	return end;
}

/* @off, @len: in the region, len not 0 */
static bool any_lost(const struct gmem_region *r, uint64_t off, uint64_t len)
{
	uint64_t end = (off + len - 1) / r->unit + 1;

	return next_lost(r, off / r->unit, end) < end;
}

/* A canonical range that passed the door, so it lies in one region. */
static bool lost_in(const struct gmem *gm, ipa_t ipa, uint64_t len)
{
	if (!atomic_load(&gm->nr_lost))
		return false;
	for (unsigned int i = 0; i < gm->nr; i++) {
		const struct gmem_region *r = &gm->region[i];

		if (ipa >= r->base && ipa - r->base < r->size)
			return any_lost(r, ipa - r->base, len);
	}
	return false;
}

static int put_back(struct gmem *gm, struct gmem_region *r, uint64_t n)
{
	uint64_t bit = UINT64_C(1) << n % BITS;
	uint8_t *unit = r->host + n * r->unit;

	/* Of anonymous memory the page of zeros is as good as any other. */
	if (r->fd >= 0 && mmap(unit, r->unit, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED |
			       MAP_NORESERVE, r->fd, n * r->unit) == MAP_FAILED)
		return -errno;
	madvise(unit, r->unit, MADV_DONTDUMP);
	if (atomic_fetch_and(&r->lost[n / BITS], ~bit) & bit)
		atomic_fetch_sub(&gm->nr_lost, 1);
	return 0;
}

int gmem_restore(struct gmem *gm, ipa_t ipa, uint64_t len)
{
	int ret = 0;

	if (!atomic_load(&gm->nr_lost))
		return 0;
	for (unsigned int i = 0; i < gm->nr; i++) {
		struct gmem_region *r = &gm->region[i];
		ipa_t from = MAX(ipa, r->base), to = MIN(ipa + len, r->base + r->size);
		uint64_t n, end;

		if (from >= to)
			continue;
		end = (to - r->base - 1) / r->unit + 1;
		for (n = next_lost(r, (from - r->base) / r->unit, end); n < end;
		     n = next_lost(r, n + 1, end)) {
			int err = put_back(gm, r, n);

			ret = ret ? ret : err;
		}
	}
	return ret;
}

/* ---- regions --------------------------------------------------------------------------------- */

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
	install();
	return 0;
}

void gmem_destroy(struct gmem *gm)
{
	for (unsigned int i = 0; i < gm->nr; i++)
		free((void *)gm->region[i].lost);
	pthread_cond_destroy(&gm->pin_gone);
	pthread_mutex_destroy(&gm->pin_lock);
	pthread_rwlock_destroy(&gm->lock);
	gm->nr = 0;
}

void gmem_set_guard(struct gmem *gm, const struct gmem_guard *guard)
{
	gm->guard = *guard;
}

/* A mapping of hugetlbfs can be replaced by the huge page only. */
static uint64_t unit_of(int fd)
{
	struct statfs fs;

	if (fd >= 0 && !fstatfs(fd, &fs) && (unsigned int)fs.f_type == HUGETLBFS_MAGIC)
		return fs.f_bsize;
	return sysconf(_SC_PAGESIZE);
}

int gmem_add(struct gmem *gm, ipa_t base, uint64_t size, void *host, int fd, struct err *e)
{
	uint64_t unit = unit_of(fd), units = (size - 1) / unit + 1;
	_Atomic uint64_t *lost;

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
	lost = calloc((units - 1) / BITS + 1, sizeof(*lost));
	if (!lost)
		return err_set(e, -ENOMEM, "no memory for the map of guest memory");
	gm->region[gm->nr++] = (struct gmem_region){ base, size, host, fd, unit, lost, false };
	return 0;
}

const struct gmem_region *gmem_regions(const struct gmem *gm, unsigned int *nr)
{
	*nr = gm->nr;
	return gm->region;
}

/* ---- sections -------------------------------------------------------------------------------- */

void gmem_enter(struct gmem *gm)
{
	pthread_rwlock_rdlock(&gm->lock);
	here.hits = here.told = 0;
	here.gm = gm;
	atomic_signal_fence(memory_order_seq_cst);
}

/* The handler has run, if it had to, before what comes next. */
static unsigned int hits(void)
{
	atomic_signal_fence(memory_order_seq_cst);
	return here.hits;
}

bool gmem_hit(struct gmem *gm)
{
	(void)gm;
	return hits() != here.told;
}

bool gmem_intact(struct gmem *gm)
{
	/* Another thread may have been hit on a page, and this one found the dummy. */
	atomic_thread_fence(memory_order_seq_cst);
	return !atomic_load(&gm->nr_lost);
}

int gmem_check(struct gmem *gm, ipa_t ipa, uint64_t len)
{
	unsigned int now = hits();

	if (gmem_intact(gm))
		return 0;
	if (gm->guard.canonical)
		ipa = gm->guard.canonical(gm->guard.ctx, ipa);
	if (!lost_in(gm, ipa, len))
		return 0;
	here.told = now;
	return -EIO;
}

int gmem_leave(struct gmem *gm)
{
	bool untold = gmem_hit(gm);
	ipa_t ipa = here.ipa;
	int code = here.code;

	here.gm = NULL;
	atomic_signal_fence(memory_order_seq_cst);
	pthread_rwlock_unlock(&gm->lock);
	if (here.hits)
		log_rated(&gm->rate, LOG_ERROR, "guest memory at %" PRIipa " was lost while a device "
			  "used it: %s; the request has failed", ipa, code == BUS_MCEERR_AR ?
			  "an uncorrected memory error of the host" :
			  "it has turned private, or its file was cut short");
	return untold ? -EIO : 0;
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
		if (atomic_load(&gm->nr_lost) && any_lost(r, *ipa - r->base, len))
			return -EIO;
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
	if (gmem_leave(gm) < 0)
		ret = -EIO;
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
	if (gmem_leave(gm) < 0)
		ret = -EIO;
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

int gmem_unpin(struct gmem *gm, struct gmem_pin *pin)
{
	int ret;

	pthread_mutex_lock(&gm->pin_lock);
	*pin->pprev = pin->next;
	if (pin->next)
		pin->next->pprev = pin->pprev;
	pin->next = NULL;
	pin->pprev = NULL;
	ret = lost_in(gm, pin->base, pin->len) ? -EIO : 0;
	pthread_cond_broadcast(&gm->pin_gone);
	pthread_mutex_unlock(&gm->pin_lock);
	return ret;
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

/* ---- memory given up ------------------------------------------------------------------------- */

void gmem_keep(struct gmem *gm, ipa_t base)
{
	for (unsigned int i = 0; i < gm->nr; i++)
		if (gm->region[i].base == base)
			gm->region[i].keep = true;
}

/* @off, @len: whole units */
static int punch(struct gmem *gm, const struct gmem_region *r, uint64_t off, uint64_t len)
{
	int ret = 0;

	/* Nobody pins it before it is gone. */
	pthread_mutex_lock(&gm->pin_lock);
	if (overlapping(gm->pins, r->base + off, len))
		ret = -EBUSY;
	else if (r->fd >= 0)
		ret = fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
	else
		ret = madvise(r->host + off, len, MADV_DONTNEED);
	pthread_mutex_unlock(&gm->pin_lock);
	return ret == -1 ? -EOPNOTSUPP : ret;
}

static int discard(struct gmem *gm, const struct gmem_region *r, uint64_t off, uint64_t len,
		   uint64_t *done)
{
	uint64_t end = ALIGN_DOWN(off + len, r->unit);
	int ret = 0;

	if (r->keep)
		return -EOPNOTSUPP;
	for (uint64_t at = ALIGN_UP(off, r->unit), n; at < end; at += n) {
		int err;

		n = MIN(end - at, MAX(DISCARD_STEP, r->unit));
		err = punch(gm, r, at, n);
		if (err)
			ret = err;
		else
			*done += n;
	}
	return ret;
}

int gmem_discard(struct gmem *gm, ipa_t ipa, uint64_t len, uint64_t *done)
{
	void *p;
	int ret = door(gm, &ipa, len, &p);

	if (ret)
		return ret;
	for (unsigned int i = 0; i < gm->nr; i++) {
		const struct gmem_region *r = &gm->region[i];

		if (ipa >= r->base && ipa - r->base < r->size)
			return discard(gm, r, ipa - r->base, len, done);
	}
	return -EFAULT;
}
