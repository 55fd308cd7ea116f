// SPDX-License-Identifier: BSD-3-Clause
/* The door to guest memory: two regions anywhere, any address and length that a guest may give. */
#include "tests/cbmc/cbmc.h"

#include "vmm/core/gmem.c"

#define WORDS 2		/* of the map of lost units */
#define UNIT 4096

int err_set(struct err *e, int code, const char *fmt, ...)
{
	return code;
}

/* of a file or of none */
long sysconf(int name)
{
	return UNIT;
}

int fstatfs(int fd, struct statfs *fs)
{
	return -1;
}

int pthread_mutex_lock(pthread_mutex_t *m)
{
	return 0;
}

int pthread_mutex_unlock(pthread_mutex_t *m)
{
	return 0;
}

/* A guard as a realm's: it clears one bit, and answers as it likes. */
static ipa_t asked;
static uint64_t asked_len;
static bool answer;
#define SHARED_BIT (UINT64_C(1) << 40)

static ipa_t canonical(const void *ctx, ipa_t ipa)
{
	return ipa & ~SHARED_BIT;
}

static bool shared(const void *ctx, ipa_t ipa, uint64_t len)
{
	asked = ipa;
	asked_len = len;
	return answer;
}

static _Atomic uint64_t lost[2][WORDS];
static struct gmem gm;

/* Host memory is compared, never read: two places that do not meet are enough. */
static uint8_t host[2];

static void any_gmem(void)
{
	gm.nr = any_bool() ? 1 : 2;
	for (unsigned int i = 0; i < gm.nr; i++) {
		struct gmem_region *r = &gm.region[i];

		r->base = any_u64();
		r->size = any_u64();
		r->unit = UNIT;
		r->fd = any_int();
		r->lost = lost[i];
		for (int w = 0; w < WORDS; w++)
			lost[i][w] = any_u64();
		assume(r->size && r->size <= WORDS * 64 * UNIT && r->base + r->size >= r->base);
		r->host = __CPROVER_allocate(r->size, 0);
	}
	assume(gm.nr == 1 || gm.region[0].base + gm.region[0].size <= gm.region[1].base ||
	       gm.region[1].base + gm.region[1].size <= gm.region[0].base);
	gm.nr_lost = any_u32();
	if (any_bool())
		gm.guard = (struct gmem_guard){ canonical, shared, NULL };
	answer = any_bool();
}

/* What comes through the door lies in one region and was allowed by the guard. */
void harness_door(void)
{
	ipa_t ipa = any_u64(), want;
	uint64_t len = any_u64();
	unsigned int i = 0;
	void *p;
	int ret;

	any_gmem();
	gm.nr_lost = 0;
	want = gm.guard.canonical ? canonical(NULL, ipa) : ipa;
	ret = gmem_map(&gm, ipa, len, &p);
	if (ret) {
		assert(ret < 0 && !p);
		return;
	}
	if (gm.nr == 2 && want >= gm.region[1].base && want - gm.region[1].base < gm.region[1].size)
		i = 1;
	assert(len && want >= gm.region[i].base);
	assert(want - gm.region[i].base < gm.region[i].size);
	assert(len <= gm.region[i].size - (want - gm.region[i].base));
	assert((uint8_t *)p == gm.region[i].host + (want - gm.region[i].base));
	if (gm.guard.shared)
		assert(answer && asked == want && asked_len == len);
}

/* ... and nothing of it is lost. */
void harness_door_lost(void)
{
	ipa_t ipa = any_u64();
	uint64_t len = any_u64(), off = any_u64();
	void *p;

	any_gmem();
	assume(gm.nr == 1 && gm.nr_lost && gm.region[0].base == 0x80000000);
	gm.guard = (struct gmem_guard){ 0 };
	if (gmem_map(&gm, ipa, len, &p))
		return;
	assume(off < len);
	off = (ipa - gm.region[0].base + off) / UNIT;
	assert(!(lost[0][off / 64] >> off % 64 & 1));
}

/* Nothing that lies in a region, is allowed and not lost is turned away. */
void harness_door_opens(void)
{
	ipa_t ipa = any_u64(), want;
	uint64_t len = any_u64();
	void *p;

	any_gmem();
	want = gm.guard.canonical ? canonical(NULL, ipa) : ipa;
	answer = true;
	gm.nr_lost = 0;
	assume(want >= gm.region[0].base && want - gm.region[0].base < gm.region[0].size);
	assume(len && len <= gm.region[0].size - (want - gm.region[0].base));
	assert(!gmem_map(&gm, ipa, len, &p));
}

/* The first lost unit of a range, or its end */
void harness_lost(void)
{
	uint64_t n = any_u64(), end = any_u64(), x = any_u64(), got;

	any_gmem();
	assume(n <= end && end <= WORDS * 64);
	got = next_lost(&gm.region[0], n, end);
	assert(got >= n && got <= end);
	assert(got == end || lost[0][got / 64] >> got % 64 & 1);
	assume(x >= n && x < got);
	assert(!(lost[0][x / 64] >> x % 64 & 1));
}

/* Regions that are added never meet, nor wrap around. */
void harness_add(void)
{
	static struct gmem g;
	ipa_t base[2] = { any_u64(), any_u64() };
	uint64_t size[2] = { any_u64(), any_u64() };

	for (int i = 0; i < 2; i++) {
		/* whoever asks has mapped it: with 56 bits of addresses there is no more */
		assume(size[i] <= UINT64_C(1) << 56);
		(void)gmem_add(&g, base[i], size[i], &host[i], -1, NULL);
	}
	for (unsigned int i = 0; i < g.nr; i++)
		assert(g.region[i].size &&
		       g.region[i].base + g.region[i].size - 1 >= g.region[i].base);
	if (g.nr == 2)
		assert(g.region[0].base + g.region[0].size <= g.region[1].base ||
		       g.region[1].base + g.region[1].size <= g.region[0].base);
}

/* ---- what is given back ---------------------------------------------------------------------- */

static uint64_t punched_from, punched_to, punched;

int fallocate(int fd, int mode, off_t off, off_t len)
{
	uint64_t from = off, to = from + len;

	assert(fd >= 0 && len > 0 && IS_ALIGNED(from, UNIT) && IS_ALIGNED(len, UNIT));
	/* one after the other */
	assert(!punched || from == punched_to);
	if (!punched)
		punched_from = from;
	punched_to = to;
	punched += len;
	return 0;
}

/* Only whole units inside the range, all of them, none that is pinned. */
void harness_discard(void)
{
	struct gmem_region *r = &gm.region[0];
	uint64_t off = any_u64(), len = any_u64(), done = 0, from, to;
	static struct gmem_pin pin;
	int ret;

	any_gmem();
	r->fd = 0;
	r->keep = false;
	assume(off < r->size && len && len <= r->size - off);
	if (any_bool()) {
		pin.base = any_u64();
		pin.len = any_u64();
		assume(pin.base + pin.len > pin.base && pin.base >= r->base &&
		       pin.len <= r->size && pin.base - r->base <= r->size - pin.len);
		gm.pins = &pin;
	}
	ret = discard(&gm, r, off, len, &done);
	assert(done == punched);
	if (punched) {
		assert(punched_from >= off && punched_to <= off + len);
		if (gm.pins)
			assert(r->base + punched_to <= pin.base ||
			       pin.base + pin.len <= r->base + punched_from);
	}
	from = ALIGN_UP(off, UNIT);
	to = ALIGN_DOWN(off + len, UNIT);
	if (!ret)
		assert(done == (from < to ? to - from : 0));
}
