// SPDX-License-Identifier: BSD-3-Clause
/*
 * The DMA map on an IOMMU that keeps the kernel's rules: a mapping goes as it came, none overlaps
 * another, there is a limit of them, some addresses are reserved. It looks at every call whether a
 * device could reach what it must not.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fakekvm/harness.h"
#include "vfio/dma.h"
#include "vmm/core/err.h"
#include "vmm/core/gmem.h"
#include "vmm/core/log.h"

#define RAM	UINT64_C(0x80000000)
#define BITS	33
#define SHARED	(UINT64_C(1) << (BITS - 1))
#define PAGE	GRANULE_SIZE
#define MAX_PAGES 262144

/* ---- the IOMMU ------------------------------------------------------------------------------- */

/**
 * struct place - a page of one view of RAM
 * @first: of its mapping, plus 1; 0: nothing is there
 * @len:   pages of the mapping; where it begins only
 */
struct place {
	uint32_t first, len;
};

static struct {
	struct iommu io;
	struct iova_range range[4];
	struct place *view[2];		/* at the alias, at the address itself */
	bool *may;			/* pages that can be mapped now */
	uint8_t *host;
	unsigned int pages, entries, limit;
	unsigned int maps, unmaps, calls, fail_at, fail_from;
	uint64_t shared_bit;
	unsigned int reach, peak;	/* pages in the alias' view */
} mmu;

static void reset_calls(void)
{
	mmu.calls = mmu.fail_at = mmu.fail_from = 0;
}

/* The @fail_at-th call fails, or all from the @fail_from-th on. */
static bool fails(void)
{
	mmu.calls++;
	return mmu.calls == mmu.fail_at || (mmu.fail_from && mmu.calls >= mmu.fail_from);
}

static struct place *place_of(uint64_t iova, uint64_t len)
{
	unsigned int v = mmu.shared_bit && !(iova & mmu.shared_bit);
	uint64_t at = iova & ~mmu.shared_bit;

	assert_true(IS_ALIGNED(iova | len, PAGE));
	assert_true(len && at >= RAM && at - RAM < mmu.pages * PAGE);
	assert_true(len <= mmu.pages * PAGE - (at - RAM));
	return mmu.view[v] + (at - RAM) / PAGE;
}

static int fake_map(struct iommu *io, uint64_t iova, uint64_t len, void *host, struct err *e)
{
	struct place *p = place_of(iova, len);
	unsigned int v = p >= mmu.view[1] && p < mmu.view[1] + mmu.pages;
	uint32_t first = p - mmu.view[v], n = len / PAGE;

	assert_ptr_equal(io, &mmu.io);
	assert_ptr_equal(host, mmu.host + first * PAGE);
	mmu.maps++;
	for (uint32_t i = 0; i < n; i++) {
		assert_false(p[i].first);
		if (!mmu.may[first + i])
			fail_msg("page %u is mapped, and it is not shared", first + i);
	}
	if (fails())
		return err_set(e, -ENOMEM, "told to fail");
	if (mmu.entries == mmu.limit)
		return err_set(e, -ENOSPC, "no more than %u", mmu.limit);
	for (uint32_t i = 0; i < n; i++)
		p[i].first = first + 1;
	p->len = n;
	mmu.entries++;
	if (!v)
		mmu.reach += n;
	mmu.peak = MAX(mmu.peak, mmu.reach);
	return 0;
}

static int fake_unmap(struct iommu *io, uint64_t iova, uint64_t len, struct err *e)
{
	struct place *p = place_of(iova, len);
	unsigned int v = p >= mmu.view[1] && p < mmu.view[1] + mmu.pages;
	uint32_t first = p - mmu.view[v], n = len / PAGE;

	assert_ptr_equal(io, &mmu.io);
	mmu.unmaps++;
	/* the kernel refuses to split */
	assert_int_equal(p->first, first + 1);
	assert_int_equal(p->len, n);
	if (fails())
		return err_set(e, -EIO, "told to fail");
	memset(p, 0, n * sizeof(*p));
	mmu.entries--;
	if (!v)
		mmu.reach -= n;
	return 0;
}

static const struct iommu_ops fake_ops = { .name = "fake", .map = fake_map, .unmap = fake_unmap };

/* ---- frame ----------------------------------------------------------------------------------- */

static struct gmem gm;
static struct dma *dma;
static struct err e;
static int ram_fd;

static struct dma_cfg config(enum dma_mode mode, bool both)
{
	mmu.shared_bit = mode == DMA_ALL ? 0 : SHARED;
	return (struct dma_cfg){
		.iommu = &mmu.io,
		.gm = &gm,
		.split = ipa_split(BITS, mode != DMA_ALL),
		.mode = mode,
		.both = both,
	};
}

static void ram(unsigned int pages)
{
	memset(&mmu, 0, sizeof(mmu));
	mmu.pages = pages;
	mmu.limit = UINT32_MAX;
	mmu.io = (struct iommu){ &fake_ops, PAGE | SZ_2M, mmu.range, 1 };
	mmu.range[0] = (struct iova_range){ 0, (UINT64_C(1) << 48) - 1 };
	mmu.view[0] = calloc(2 * pages, sizeof(struct place));
	mmu.view[1] = mmu.view[0] + pages;
	mmu.may = calloc(pages, sizeof(*mmu.may));
	ram_fd = memfd_create("test-dma", MFD_CLOEXEC);
	assert_true(ram_fd >= 0);
	assert_int_equal(ftruncate(ram_fd, pages * PAGE), 0);
	mmu.host = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			ram_fd, 0);
	assert_ptr_not_equal(mmu.host, MAP_FAILED);
	assert_int_equal(gmem_init(&gm, &e), 0);
	assert_int_equal(gmem_add(&gm, RAM, pages * PAGE, mmu.host, ram_fd, &e), 0);
}

static void no_ram(void)
{
	assert_int_equal(mmu.entries, 0);
	assert_int_equal(mmu.reach, 0);
	gmem_destroy(&gm);
	munmap(mmu.host, mmu.pages * PAGE);
	close(ram_fd);
	free(mmu.view[0]);
	free(mmu.may);
}

static void start(enum dma_mode mode, bool both)
{
	struct dma_cfg cfg = config(mode, both);

	assert_int_equal(dma_new(&cfg, &dma, &e), 0);
	assert_int_equal(mmu.entries, 0);
	assert_int_equal(dma_start(dma, &e), 0);
}

static void allow(unsigned int first, unsigned int n, bool may)
{
	memset(mmu.may + first, may, n);
}

static int share(unsigned int first, unsigned int n)
{
	int ret;

	allow(first, n, true);
	ret = dma_share(dma, RAM + first * PAGE, n * PAGE, &e);
	return ret;
}

static int take(unsigned int first, unsigned int n)
{
	allow(first, n, false);
	return dma_unshare(dma, RAM + first * PAGE, n * PAGE, &e);
}

static bool mapped(unsigned int first, unsigned int n)
{
	return mmu.view[0][first].first == first + 1 && mmu.view[0][first].len == n;
}

/* ---- the order of a realm -------------------------------------------------------------------- */

static void ranges(void **state)
{
	const struct dma_stat *st;

	(void)state;
	ram(64);
	start(DMA_DYNAMIC, false);
	st = dma_stat(dma);
	assert_int_equal(mmu.entries, 0);
	assert_false(dma_keeps(dma, RAM, 64 * PAGE));

	/* neighbours are not merged, and what came in two requests goes in one */
	assert_int_equal(share(8, 4), 0);
	assert_int_equal(share(12, 4), 0);
	assert_true(mapped(8, 4) && mapped(12, 4));
	assert_true(dma_keeps(dma, RAM, 64 * PAGE));
	assert_true(dma_keeps(dma, RAM + 15 * PAGE, PAGE));
	assert_false(dma_keeps(dma, RAM + 16 * PAGE, PAGE));
	assert_false(dma_keeps(dma, RAM, 8 * PAGE));
	assert_int_equal(st->mappings, 2);
	assert_int_equal(st->pinned, 8 * PAGE);
	assert_int_equal(take(8, 8), 0);
	assert_int_equal(st->splits, 0);
	assert_int_equal(st->maps, 2);
	assert_int_equal(st->unmaps, 2);
	assert_int_equal(mmu.entries, 0);

	/* the middle of one, and the ends of two */
	assert_int_equal(share(0, 10), 0);
	assert_int_equal(share(20, 10), 0);
	log_set_level(LOG_WARNING);
	capture_begin();
	assert_int_equal(take(4, 2), 0);
	assert_non_null(strstr(capture_end(), "takes back 0x80004000 to 0x80006000 of what it shared as "
			       "0x80000000 to 0x8000a000: "));
	assert_true(mapped(0, 4) && mapped(6, 4) && mmu.entries == 3);
	assert_int_equal(st->splits, 1);
	/* it is said once */
	capture_begin();
	assert_int_equal(take(8, 14), 0);
	assert_string_equal(capture_end(), "");
	log_set_level(LOG_ERROR);
	assert_true(mapped(0, 4) && mapped(6, 2) && mapped(22, 8) && mmu.entries == 3);
	assert_int_equal(st->splits, 3);

	/* what is mapped stays as it is */
	assert_int_equal(share(0, 32), 0);
	assert_true(mapped(0, 4) && mapped(4, 2) && mapped(6, 2) && mapped(8, 14));
	assert_true(mapped(22, 8) && mapped(30, 2) && mmu.entries == 6);
	assert_int_equal(share(0, 32), 0);
	assert_int_equal(mmu.entries, 6);
	assert_int_equal(st->pinned, 32 * PAGE);
	assert_int_equal(st->peak, 32 * PAGE);
	assert_int_equal(take(40, 4), 0);	/* never shared */
	dma_free(dma);
	no_ram();
}

static void bad_args(void **state)
{
	(void)state;
	ram(16);
	start(DMA_DYNAMIC, false);
	assert_int_equal(dma_share(dma, RAM + 1, PAGE, &e), -EINVAL);
	assert_int_equal(dma_share(dma, RAM, PAGE - 1, &e), -EINVAL);
	assert_int_equal(dma_share(dma, RAM, 0, &e), -EINVAL);
	assert_int_equal(dma_share(dma, RAM - PAGE, 2 * PAGE, &e), -EINVAL);
	assert_int_equal(dma_share(dma, RAM + 15 * PAGE, 2 * PAGE, &e), -EINVAL);
	assert_int_equal(dma_share(dma, RAM, -PAGE, &e), -EINVAL);
	assert_int_equal(dma_unshare(dma, RAM | SHARED, PAGE, &e), -EINVAL);
	assert_int_equal(mmu.maps, 0);
	dma_free(dma);
	dma_free(NULL);
	no_ram();
}

/* A guest that leaves the shared bit out reaches the same pages at their own address. */
static void both(void **state)
{
	const struct dma_stat *st;

	(void)state;
	ram(32);
	start(DMA_DYNAMIC, true);
	st = dma_stat(dma);
	assert_int_equal(share(4, 8), 0);
	assert_int_equal(mmu.entries, 2);
	assert_int_equal(mmu.view[1][4].len, 8);
	assert_int_equal(st->mappings, 2);
	assert_int_equal(st->pinned, 8 * PAGE);		/* once */
	assert_int_equal(st->peak, 8 * PAGE);
	log_set_level(LOG_ERROR);
	assert_int_equal(take(4, 4), 0);
	assert_true(mapped(8, 4) && mmu.view[1][8].len == 4 && mmu.entries == 2);

	/* the second view fails: the first is taken back */
	reset_calls();
	mmu.fail_at = 2;
	assert_int_equal(share(0, 2), -ENOMEM);
	assert_non_null(strstr(e.msg, "told to fail"));
	assert_int_equal(mmu.entries, 2);
	assert_int_equal(st->pinned, 4 * PAGE);
	/* and that fails, too */
	reset_calls();
	mmu.fail_from = 2;
	assert_int_equal(share(0, 2), -ENOTRECOVERABLE);
	assert_true(mapped(0, 2));
	reset_calls();
	/* only the alias could be taken away */
	mmu.fail_at = 2;
	assert_int_equal(take(8, 4), -ENOTRECOVERABLE);
	reset_calls();
	dma_free(dma);		/* what is left */
	no_ram();
}

/* The whole shared side, whatever the guest shares. */
static void fixed(void **state)
{
	static const enum dma_mode modes[] = { DMA_STATIC, DMA_ALL };
	uint64_t done = 0;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(modes); i++) {
		struct dma_cfg cfg = config(modes[i], false);

		ram(64);
		cfg = config(modes[i], false);
		allow(0, 64, true);
		assert_int_equal(dma_new(&cfg, &dma, &e), 0);
		assert_int_equal(mmu.maps, 0);
		/* until devices have them, pages can be given up */
		gmem_enter(&gm);
		assert_int_equal(gmem_discard(&gm, RAM, PAGE, &done), 0);
		gmem_leave(&gm);
		assert_int_equal(dma_start(dma, &e), 0);
		assert_true(mapped(0, 64));
		gmem_enter(&gm);
		assert_int_equal(gmem_discard(&gm, RAM, PAGE, &done), -EOPNOTSUPP);
		gmem_leave(&gm);
		assert_int_equal(take(8, 4), 0);
		assert_int_equal(share(8, 4), 0);
		assert_int_equal(mmu.maps, 1);
		assert_int_equal(mmu.unmaps, 0);
		assert_true(dma_keeps(dma, RAM + 8 * PAGE, PAGE));
		assert_int_equal(dma_stat(dma)->pinned, 64 * PAGE);
		dma_free(dma);
		no_ram();
	}
}

/* What has to stay is not given up by a balloon: in a realm, too, where it was shared. */
static void kept(void **state)
{
	uint64_t done = 0;

	(void)state;
	ram(16);
	start(DMA_DYNAMIC, false);
	assert_int_equal(share(0, 8), 0);
	gmem_enter(&gm);
	assert_int_equal(gmem_discard(&gm, RAM, 4 * PAGE, &done), -EOPNOTSUPP);
	gmem_leave(&gm);
	assert_int_equal(done, 0);
	dma_free(dma);
	no_ram();
}

/* ---- failures -------------------------------------------------------------------------------- */

static void limit(void **state)
{
	(void)state;
	ram(64);
	start(DMA_DYNAMIC, false);
	mmu.limit = 4;
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(share(4 * i, 1), 0);
	assert_int_equal(share(40, 8), -ENOSPC);
	assert_non_null(strstr(e.msg, "guest memory 0x80028000 to 0x80030000 cannot be given"));
	assert_non_null(strstr(e.msg, "no more than 4"));
	/* some of it is mapped already, and stays */
	assert_int_equal(share(0, 16), -ENOSPC);
	assert_int_equal(mmu.entries, 4);
	assert_int_equal(dma_stat(dma)->pinned, 4 * PAGE);
	/* two of three pieces come into being, and go again */
	assert_int_equal(take(0, 16), 0);
	assert_int_equal(share(4, 1), 0);
	assert_int_equal(share(8, 1), 0);
	reset_calls();
	mmu.fail_at = 3;
	assert_int_equal(share(0, 16), -ENOMEM);
	assert_int_equal(mmu.entries, 2);
	assert_int_equal(dma_stat(dma)->mappings, 2);
	assert_int_equal(dma_stat(dma)->pinned, 2 * PAGE);
	reset_calls();
	mmu.fail_from = 3;
	assert_int_equal(share(0, 16), -ENOTRECOVERABLE);
	reset_calls();
	dma_free(dma);
	no_ram();
}

static void cannot_unmap(void **state)
{
	(void)state;
	ram(64);
	start(DMA_DYNAMIC, false);
	assert_int_equal(share(0, 8), 0);
	assert_int_equal(share(8, 8), 0);
	mmu.fail_from = 1;
	mmu.calls = 0;
	/* as if it had not been asked */
	assert_int_equal(take(0, 16), -EIO);
	assert_non_null(strstr(e.msg, "cannot be taken from the devices"));
	assert_int_equal(mmu.entries, 2);
	/* one is gone already */
	reset_calls();
	mmu.fail_at = 2;
	assert_int_equal(take(0, 16), -ENOTRECOVERABLE);
	reset_calls();
	assert_int_equal(take(0, 16), 0);
	/* the rest of one cannot be mapped again: nobody reaches it, and that is said */
	assert_int_equal(share(0, 16), 0);
	log_set_level(LOG_ERROR);
	for (unsigned int n = 2; n <= 3; n++) {
		reset_calls();
		mmu.fail_at = n;
		assert_int_equal(take(4, 4), -ENOTRECOVERABLE);
		assert_non_null(strstr(e.msg, "have lost the rest: guest memory"));
		assert_false(dma_keeps(dma, RAM + 4 * PAGE, 4 * PAGE));
		reset_calls();
		assert_int_equal(take(0, 16), 0);
		assert_int_equal(share(0, 16), 0);
	}
	/* at the end a mapping that does not go is said, and no reason to stay */
	mmu.fail_at = mmu.calls + 1;
	dma_free(dma);
	assert_int_equal(mmu.entries, 1);
	assert_int_equal(fake_unmap(&mmu.io, RAM | SHARED, 16 * PAGE, &e), 0);
	no_ram();
}

static void start_fails(void **state)
{
	struct dma_cfg cfg;
	void *more;

	(void)state;
	ram(16);
	allow(0, 16, true);
	cfg = config(DMA_ALL, false);
	assert_int_equal(dma_new(&cfg, &dma, &e), 0);
	mmu.fail_at = 1;
	assert_int_equal(dma_start(dma, &e), -ENOMEM);
	assert_non_null(strstr(e.msg, "guest memory 0x80000000 to 0x80010000"));
	dma_free(dma);
	no_ram();

	/* memory that came after dma_new() is looked at, too */
	ram(16);
	allow(0, 16, true);
	cfg = config(DMA_ALL, false);
	mmu.range[0].last = RAM + SZ_1M - 1;
	assert_int_equal(dma_new(&cfg, &dma, &e), 0);
	more = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(gmem_add(&gm, RAM + SZ_2M, PAGE, more, -1, &e), 0);
	assert_int_equal(dma_start(dma, &e), -ERANGE);
	assert_int_equal(mmu.maps, 0);
	dma_free(dma);
	munmap(more, PAGE);
	no_ram();
}

/* A dummy page that took a lost one's place is not what the guest has there. */
static void lost_page(void **state)
{
	uint64_t v;

	(void)state;
	ram(16);
	start(DMA_DYNAMIC, false);
	assert_int_equal(ftruncate(ram_fd, 8 * PAGE), 0);
	assert_int_equal(gmem_read(&gm, RAM + 9 * PAGE, &v, sizeof(v)), -EIO);
	assert_int_equal(share(4, 8), -EIO);
	assert_non_null(strstr(e.msg, "was lost"));
	assert_int_equal(mmu.maps, 0);
	assert_int_equal(share(0, 8), 0);
	dma_free(dma);
	no_ram();
}

/* ---- what the IOMMU cannot map --------------------------------------------------------------- */

static const char *refused(enum dma_mode mode, bool two, unsigned int bits)
{
	struct dma_cfg cfg = config(mode, two);

	if (bits)
		cfg.split = ipa_split(bits, true);
	*e.msg = '\0';
	if (!dma_new(&cfg, &dma, &e)) {
		dma_free(dma);
		return "";
	}
	assert_null(dma);
	assert_null(strchr(e.msg, '\n'));
	return e.msg;
}

static void says(const char *msg, const char *text)
{
	if (!strstr(msg, text))
		fail_msg("\"%s\" does not say \"%s\"", msg, text);
}

static void apertures(void **state)
{
	const uint64_t size = 64 * PAGE;

	(void)state;
	ram(64);
	/* a plain VM */
	mmu.range[0].last = RAM + size - 1;
	assert_string_equal(refused(DMA_ALL, false, 0), "");
	mmu.range[0].last--;
	says(refused(DMA_ALL, false, 0), "0x80000000 to 0x8003ffff ends beyond the IOMMU's aperture "
	     "(0x8003ffff); use less memory");
	/* reserved in the middle of RAM */
	mmu.io.nr = 2;
	mmu.range[0].last = RAM + 3 * PAGE - 1;
	mmu.range[1] = (struct iova_range){ RAM + 5 * PAGE, UINT64_MAX };
	says(refused(DMA_ALL, false, 0), "collides with 0x80003000 to 0x80004fff");
	says(refused(DMA_ALL, false, 0), "move the memory");
	/* in a realm that is in nobody's way, but with both addresses */
	assert_string_equal(refused(DMA_DYNAMIC, false, 0), "");
	says(refused(DMA_STATIC, true, 0), "collides with 0x80003000 to 0x80004fff");

	/* 39 bits of addresses are no 40: the smallest that fits is proposed */
	mmu.io.nr = 1;
	mmu.range[0] = (struct iova_range){ 0, (UINT64_C(1) << 39) - 1 };
	assert_string_equal(refused(DMA_DYNAMIC, false, 39), "");
	says(refused(DMA_DYNAMIC, false, 41), "use --ipa-bits 33");
	says(refused(DMA_DYNAMIC, false, 41), "(the end of its aperture)");
	/* the window of messages lies where the alias of 33 bits is */
	mmu.io.nr = 2;
	mmu.range[0] = (struct iova_range){ 0, (RAM | SHARED) + PAGE - 1 };
	mmu.range[1] = (struct iova_range){ (RAM | SHARED) + 2 * PAGE, (UINT64_C(1) << 39) - 1 };
	says(refused(DMA_DYNAMIC, false, 33), "cannot map 0x180001000 to 0x180001fff (reserved by the "
	     "host); use --ipa-bits 34");
	/* nothing fits */
	mmu.io.nr = 1;
	mmu.range[0] = (struct iova_range){ 0, SHARED - 1 };
	says(refused(DMA_DYNAMIC, false, 33), "no --ipa-bits avoids that; use less memory");
	mmu.io.nr = 0;
	says(refused(DMA_DYNAMIC, false, 33), "no --ipa-bits");
	says(refused(DMA_ALL, false, 0), "aperture");

	/* pages */
	mmu.io.nr = 1;
	mmu.range[0] = (struct iova_range){ 0, UINT64_MAX };
	mmu.io.page_sizes = SZ_64K;
	says(refused(DMA_DYNAMIC, false, 0), "64 KiB at least");
	if (IS_ALIGNED((uintptr_t)mmu.host, SZ_64K))
		assert_string_equal(refused(DMA_ALL, false, 0), "");
	mmu.io.page_sizes = SZ_2M;
	says(refused(DMA_ALL, false, 0), "does not begin and end with a page");
	mmu.io.page_sizes = 0;
	says(refused(DMA_ALL, false, 0), "does not say");
	no_ram();
}

/* ---- at random, against a page by page model ------------------------------------------------- */

#define RANDOM_PAGES	192
#define SEEDS		40
#define STEPS		2500

static uint64_t seed;

static unsigned int below(unsigned int n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

static bool model[RANDOM_PAGES];		/* shared */

static void same(unsigned int which, unsigned int step, bool two)
{
	const struct dma_stat *st = dma_stat(dma);
	unsigned int pages = 0;

	for (unsigned int i = 0; i < RANDOM_PAGES; i++) {
		pages += model[i];
		if (!mmu.view[0][i].first != !model[i] ||
		    !mmu.view[1][i].first != !(model[i] && two))
			fail_msg("seed %u, step %u: page %u", which, step, i);
	}
	assert_int_equal(st->pinned, pages * PAGE);
	assert_int_equal(st->mappings, mmu.entries);
	assert_int_equal(st->maps, mmu.maps);
	assert_int_equal(st->unmaps, mmu.unmaps);
	if (!two)
		assert_int_equal(st->peak, mmu.peak * PAGE);
}

/* Mappings that [first, first + n) has a part of. */
static unsigned int parts(unsigned int first, unsigned int n)
{
	unsigned int sum = 0;

	for (unsigned int i = 0; i < RANDOM_PAGES; i++) {
		const struct place *p = &mmu.view[0][i];
		unsigned int end = i + p->len;

		if (p->first == i + 1 && i < first + n && first < end)
			sum += i < first || end > first + n;
	}
	return sum;
}

/* Return: false: the machine would be dead. */
static bool one_step(unsigned int which, unsigned int step, bool two)
{
	unsigned int first = below(RANDOM_PAGES);
	unsigned int n = 1 + below(below(4) ? MIN(8u, RANDOM_PAGES - first) : RANDOM_PAGES - first);
	unsigned int cut = parts(first, n);
	uint64_t splits = dma_stat(dma)->splits;
	bool give = below(2);
	int ret;

	reset_calls();
	mmu.limit = below(16) ? UINT32_MAX : mmu.entries + below(3);
	if (!below(16))
		mmu.fail_at = 1 + below(6);
	ret = give ? share(first, n) : take(first, n);
	reset_calls();
	if (ret == -ENOTRECOVERABLE)
		return false;
	if (!ret)
		memset(model + first, give, n);
	memcpy(mmu.may, model, RANDOM_PAGES);
	same(which, step, two);
	if (!give && !ret)
		assert_int_equal(dma_stat(dma)->splits - splits, cut);
	assert_int_equal(dma_keeps(dma, RAM + first * PAGE, n * PAGE),
			 memchr(model + first, true, n) != NULL);
	return true;
}

static void random_steps(void **state)
{
	unsigned int deaths = 0, done = 0;

	(void)state;
	log_set_level(LOG_ERROR);
	for (unsigned int which = 1; which <= SEEDS; which++) {
		bool two = which % 4 == 0;

		seed = which * UINT64_C(0x9e3779b97f4a7c15);
		ram(RANDOM_PAGES);
		start(DMA_DYNAMIC, two);
		for (unsigned int step = 0; step < STEPS; step++, done++) {
			if (one_step(which, step, two))
				continue;
			/* the guest is started again */
			deaths++;
			dma_free(dma);
			assert_int_equal(mmu.entries, 0);
			memset(model, 0, sizeof(model));
			memset(mmu.may, 0, RANDOM_PAGES);
			mmu.maps = mmu.unmaps = mmu.peak = 0;
			start(DMA_DYNAMIC, two);
		}
		dma_free(dma);
		memset(model, 0, sizeof(model));
		no_ram();
	}
	assert_int_equal(done, SEEDS * STEPS);
	assert_in_range(deaths, 100, done / 10);
}

/* Every second page of 1 GiB, in an order that is no order: a list would take minutes. */
static void many(void **state)
{
	unsigned int n = MAX_PAGES / 2;

	(void)state;
	ram(MAX_PAGES);
	start(DMA_DYNAMIC, false);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(share(2 * (i * 7919 % n), 1), 0);
	assert_int_equal(mmu.entries, n);
	assert_int_equal(dma_stat(dma)->pinned, n * PAGE);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(take(2 * i, 2), 0);
	assert_int_equal(mmu.entries, 0);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(share(2 * i, 1), 0);
	/* all the gaps in one request, and all of it in one */
	assert_int_equal(share(0, MAX_PAGES), 0);
	assert_int_equal(mmu.entries, MAX_PAGES);
	assert_int_equal(take(0, MAX_PAGES), 0);
	assert_int_equal(mmu.entries, 0);
	assert_int_equal(share(0, MAX_PAGES), 0);
	assert_int_equal(mmu.entries, 1);
	dma_free(dma);
	no_ram();
}

static int quiet(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges),
		cmocka_unit_test(bad_args),
		cmocka_unit_test(both),
		cmocka_unit_test(fixed),
		cmocka_unit_test(kept),
		cmocka_unit_test(limit),
		cmocka_unit_test(cannot_unmap),
		cmocka_unit_test(start_fails),
		cmocka_unit_test(lost_page),
		cmocka_unit_test(apertures),
		cmocka_unit_test(random_steps),
		cmocka_unit_test(many),
	};

	return cmocka_run_group_tests(tests, quiet, NULL);
}
