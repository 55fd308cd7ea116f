// SPDX-License-Identifier: BSD-3-Clause
/*
 * How conversions drive the DMA map: in both kinds of realm, on the model of KVM and of the RMM.
 * The hooks look at what is true when they are called; the order of steps shows there.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "realm/rsi.h"
#include "tests/fakekvm/fake_rmi.h"
#include "tests/fakekvm/harness.h"
#include "vfio/dma.h"

#define SHARED	(UINT64_C(1) << 32)	/* 33-bit IPA space */
#define RAM	MAP_RAM_BASE
#define RAM_END	(RAM + RIG_MEM)
#define PAGE	(RAM + 32 * SZ_1M)	/* free memory of the guest */
#define PATTERN	UINT64_C(0x1122334455667788)

/* ---- hosts ----------------------------------------------------------------------------------- */

/**
 * struct host - a kernel, and what its realms are
 * @apart:    the shared side is memory of its own
 * @in_place: pages of a guest_memfd change sides
 */
struct host {
	const char *name;
	const struct fake_gen *gen;
	enum realm_mode mode;
	const char *want;
	bool strict, apart, in_place;
};

static const struct host *now;

static const struct host hosts[] = {
	{ "emulated", &fake_linux_7_3, MODE_EMULATED, .apart = true },
	{ "one memory", &fake_linux_6_12, MODE_EMULATED },
	{ "strict", &fake_linux_7_3, MODE_EMULATED, .strict = true, .apart = true },
	{ "a", &fake_rmi_v10, MODE_KVM, .apart = true },
	{ "v13", &fake_rmi_v13, MODE_KVM, .apart = true },
	{ "c", &fake_rmi_v14, MODE_KVM, .apart = true },
	{ "d2", &fake_rmi_v15, MODE_KVM, .apart = true },
	{ "d", &fake_rmi_kamalca, MODE_KVM, .in_place = true },
	{ "e", &fake_rmi_e, MODE_KVM, "e:0xd8", .in_place = true },
};

#define FOR_EACH(h) \
	for (const struct host *h = hosts; h < hosts + ARRAY_SIZE(hosts); h++)

static bool is_kvm(const struct host *h)
{
	return h->mode == MODE_KVM;
}

/* Do attributes say which pages are private? A guest_memfd of d2 is so for good. */
static bool says_private(ipa_t ipa)
{
	return is_kvm(now) && strcmp(now->name, "d2") && fake_private(ipa);
}

/* ---- frame ----------------------------------------------------------------------------------- */

static struct rig rig;
static bool in_use;

static void begin(const struct host *h, fake_guest *fn)
{
	now = h;
	fake_reset(h->gen);
	rig_init(&rig, h->mode);
	in_use = true;
	rig.cfg.emulated_strict = h->strict;
	if (h->want)
		rig.cfg.rmi_generation = strdup(h->want);
	fake_set_guest(0, fn, NULL);
}

static void finish(void)
{
	const char *verdict;

	in_use = false;
	rig_fini(&rig);
	verdict = fake_verdict();
	if (verdict)
		fail_msg("%s: %s", now->name, verdict);
}

static int clean_up(void **state)
{
	(void)state;
	if (!in_use)
		return 0;
	in_use = false;
	if (rig.made) {
		machine_end(&rig.m, END_LEAVE);
		machine_stop(&rig.m);
	}
	rig_fini(&rig);
	return 0;
}

static void run(int want)
{
	int end = rig_run(&rig);

	if (end != want)
		fail_msg("%s: end %d: %s", now->name, end, rig.m.failure.msg);
}

/* What the RMM, or what plays it, answers: x1 and x2 of RSI_IPA_STATE_SET. */
static uint64_t ask(struct fake_cpu *c, ipa_t base, ipa_t top, enum ripas_state state, ipa_t *done)
{
	/* the 1: what was DESTROYED, too, as Linux does */
	uint64_t x[18] = { RSI_IPA_STATE_SET, base, top, state, 1 };

	fake_smc(c, x);
	fake_expect_eq(x[0], RSI_SUCCESS);
	*done = x[1];
	return x[2];
}

static void convert(struct fake_cpu *c, ipa_t base, ipa_t top, enum ripas_state state)
{
	ipa_t done;

	while (base < top) {
		if (ask(c, base, top, state, &done) != RSI_ACCEPT || done <= base) {
			fake_complain("%s: %" PRIipa " is not converted", now->name, base);
			return;
		}
		base = done;
	}
}

/* ---- hooks ----------------------------------------------------------------------------------- */

/**
 * struct seen - what the hooks were called for
 * @fail_share, @fail_unshare: answer of the next call, once; @keeps: of all
 * @from_start: what is shared was so before it was asked for
 */
static struct {
	unsigned int shares, unshares;
	ipa_t base[8];
	uint64_t len[8];
	int fail_share, fail_unshare;
	bool keeps, from_start;
} seen;

static uint64_t content(ipa_t ipa)
{
	uint64_t v;

	memcpy(&v, rig.m.realm.shared + (ipa - RAM), sizeof(v));
	return v;
}

static bool door_open(ipa_t ipa)
{
	uint64_t v;

	return gmem_read(&rig.m.gm, ipa, &v, sizeof(v)) == 0;
}

static int answer(int *with, struct err *e)
{
	int ret = *with;

	*with = 0;
	return ret ? err_set(e, ret, "told to fail with %d", -ret) : 0;
}

static int share(void *ctx, ipa_t ipa, uint64_t len, struct err *e)
{
	unsigned int n = seen.shares++ % ARRAY_SIZE(seen.base);

	fake_expect(ctx == &rig.m);
	seen.base[n] = ipa;
	seen.len[n] = len;
	for (ipa_t at = ipa; at < ipa + len; at += len - SZ_4K ? len - SZ_4K : SZ_4K) {
		/* ready to be pinned, and nobody has been let in */
		fake_expect(door_open(at) == seen.from_start);
		fake_expect(!says_private(at));
		/* nothing of what was there while it was private */
		if (!seen.keeps && !seen.from_start && !now->in_place)
			fake_expect_eq(content(at), 0);
	}
	return answer(&seen.fail_share, e);
}

static int take_back(void *ctx, ipa_t ipa, uint64_t len, struct err *e)
{
	unsigned int n = seen.unshares++ % ARRAY_SIZE(seen.base);

	fake_expect(ctx == &rig.m);
	seen.base[n] = ipa;
	seen.len[n] = len;
	/* our devices are out, and everything is still as they left it */
	fake_expect(!door_open(ipa));
	fake_expect(!door_open(ipa + len - SZ_4K));
	fake_expect(!says_private(ipa));
	fake_expect_eq(content(ipa), PATTERN);
	return answer(&seen.fail_unshare, e);
}

static bool keeps(void *ctx, ipa_t ipa, uint64_t len)
{
	fake_expect(ctx == &rig.m);
	return seen.keeps;
}

static void create(void)
{
	memset(&seen, 0, sizeof(seen));
	if (rig_create(&rig))
		fail_msg("%s: %s", now->name, rig.e.msg);
	assert_int_equal(realm_shared_apart(&rig.m.realm), now->apart);
	rig.m.realm.hooks.dma_share = share;
	rig.m.realm.hooks.dma_unshare = take_back;
	rig.m.realm.hooks.dma_keeps = keeps;
}

/* ---- the order of steps ---------------------------------------------------------------------- */

static void back_and_forth(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_write(c, PAGE, ~PATTERN, 8);
	convert(c, PAGE, PAGE + 3 * SZ_4K, RIPAS_EMPTY);
	fake_expect_eq(seen.shares, 1);
	fake_expect_eq(seen.base[0], PAGE);
	fake_expect_eq(seen.len[0], 3 * SZ_4K);
	fake_expect_eq(fake_read(c, PAGE | SHARED, 8), 0);
	fake_write(c, PAGE | SHARED, PATTERN, 8);
	fake_expect(door_open(PAGE));
	convert(c, PAGE, PAGE + 3 * SZ_4K, RIPAS_RAM);
	fake_expect_eq(seen.shares, 1);
	fake_expect_eq(seen.unshares, 1);
	fake_expect_eq(seen.base[0], PAGE);
	fake_expect_eq(seen.len[0], 3 * SZ_4K);
	fake_expect_eq(fake_read(c, PAGE, 8), 0);
	if (!now->in_place)
		fake_expect_eq(content(PAGE), 0);
	/* what is so already is nobody's business */
	convert(c, PAGE, PAGE + 3 * SZ_4K, RIPAS_RAM);
	fake_expect_eq(seen.unshares, 1);
	fake_poweroff(c);
}

static void order(void **state)
{
	(void)state;
	FOR_EACH(h) {
		begin(h, back_and_forth);
		create();
		run(END_POWEROFF);
		finish();
	}
}

/* A mapping is one stretch of one request, however it is worked through. */
#define LONG	(140 * SZ_1M)
#define LARGE	(192 * SZ_1M)

static void large(struct fake_cpu *c, void *ctx)
{
	ipa_t base = RAM + 32 * SZ_1M, hole = base + 70 * SZ_1M;

	(void)ctx;
	convert(c, base, base + LONG, RIPAS_EMPTY);
	fake_expect_eq(seen.shares, 1);
	fake_expect_eq(seen.base[0], base);
	fake_expect_eq(seen.len[0], LONG);
	fake_write(c, base | SHARED, PATTERN, 8);
	fake_write(c, hole | SHARED, PATTERN, 8);
	fake_write(c, (hole + SZ_4K) | SHARED, PATTERN, 8);
	convert(c, hole, hole + SZ_4K, RIPAS_RAM);
	fake_expect_eq(seen.unshares, 1);
	fake_expect_eq(seen.len[0], SZ_4K);
	/* before, the hole, behind; what is shared already is asked for again */
	convert(c, base - SZ_4K, base + LONG, RIPAS_EMPTY);
	fake_expect_eq(seen.shares, 1 + 4);
	/* and back, of which the map makes what it was made of */
	fake_write(c, (base - SZ_4K) | SHARED, PATTERN, 8);
	convert(c, base - SZ_4K, base + LONG, RIPAS_RAM);
	fake_expect_eq(seen.unshares, 2);
	fake_expect_eq(seen.base[1], base - SZ_4K);
	fake_expect_eq(seen.len[1], LONG + SZ_4K);
	fake_poweroff(c);
}

/* Of memory whose contents are not looked at. */
static int large_share(void *ctx, ipa_t ipa, uint64_t len, struct err *e)
{
	seen.shares++;
	seen.base[0] = ipa;
	seen.len[0] = len;
	return 0;
}

static void stretches(void **state)
{
	(void)state;
	FOR_EACH(h) {
		begin(h, large);
		rig.cfg.mem = LARGE;
		create();
		rig.m.realm.hooks.dma_share = large_share;
		run(END_POWEROFF);
		finish();
	}
}

/* What starts as shared is mapped when the guest asks for it, and not before. */
static void empty_already(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	seen.from_start = true;
	fake_write(c, PAGE | SHARED, PATTERN, 8);
	fake_expect_eq(seen.shares, 0);
	convert(c, PAGE, PAGE + 2 * SZ_4K, RIPAS_EMPTY);
	fake_expect(seen.shares >= 1);
	fake_expect_eq(seen.base[0], PAGE);
	fake_expect_eq(seen.len[0], 2 * SZ_4K);
	/* and stays what it was */
	fake_expect_eq(fake_read(c, PAGE | SHARED, 8), PATTERN);
	fake_expect_eq(rig.m.realm.stat.to_shared, 0);
	convert(c, PAGE, PAGE + 2 * SZ_4K, RIPAS_RAM);
	fake_expect_eq(seen.unshares, 1);
	fake_poweroff(c);
}

static void starts_empty(void **state)
{
	(void)state;
	FOR_EACH(h) {
		begin(h, empty_already);
		rig.cfg.ripas_ram = RIPAS_RAM_IMAGE;
		create();
		run(END_POWEROFF);
		finish();
	}
}

/* Shared pages that stay mapped are not given back. */
static void stays(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	seen.keeps = true;
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
	fake_write(c, PAGE | SHARED, PATTERN, 8);
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_RAM);
	fake_expect_eq(fake_read(c, PAGE, 8), 0);
	fake_expect_eq(content(PAGE), PATTERN);
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
	fake_expect_eq(fake_read(c, PAGE | SHARED, 8), PATTERN);
	fake_poweroff(c);
}

static void kept(void **state)
{
	(void)state;
	FOR_EACH(h) {
		if (!h->apart)
			continue;
		begin(h, stays);
		create();
		run(END_POWEROFF);
		finish();
	}
}

/* ---- failures -------------------------------------------------------------------------------- */

static void share_fails(struct fake_cpu *c, void *ctx)
{
	ipa_t done;

	(void)ctx;
	fake_write(c, PAGE, ~PATTERN, 8);
	seen.fail_share = -ENOSPC;
	if (is_kvm(now)) {
		ask(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY, &done);
		fake_complain("%s: the guest goes on", now->name);
		return;
	}
	fake_expect_eq(ask(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY, &done), RSI_REJECT);
	fake_expect_eq(done, PAGE);
	fake_expect_eq(ripas_get(&rig.m.realm.ripas, PAGE), RIPAS_RAM);
	fake_expect(!door_open(PAGE));
	/* still memory of the guest's, with or without its contents */
	fake_write(c, PAGE, 1, 8);
	fake_expect(!fake_aborted(c));
	fake_expect_eq(fake_read(c, PAGE, 8), 1);
	/* as far as it goes: behind a stretch that is shared, and before the one that fails */
	convert(c, PAGE + SZ_4K, PAGE + 2 * SZ_4K, RIPAS_EMPTY);
	fake_write(c, (PAGE + SZ_4K) | SHARED, PATTERN, 8);
	convert(c, PAGE + 2 * SZ_4K, PAGE + 3 * SZ_4K, RIPAS_EMPTY);
	convert(c, PAGE + SZ_4K, PAGE + 2 * SZ_4K, RIPAS_RAM);
	/* the same again, without the trouble */
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
	fake_expect_eq(fake_read(c, PAGE | SHARED, 8), 0);
	fake_expect(door_open(PAGE));
	fake_expect_eq(seen.shares, 4);
	fake_poweroff(c);
}

static void test_share_fails(void **state)
{
	(void)state;
	FOR_EACH(h) {
		begin(h, share_fails);
		create();
		capture_begin();
		if (is_kvm(h)) {
			assert_int_equal(rig_run(&rig), END_FAILED);
			capture_end();
			assert_string_equal(rig.m.failure.msg, "told to fail with 28");
		} else {
			run(END_POWEROFF);
			assert_non_null(strstr(capture_end(), "cannot share memory with its devices: "
					       "told to fail with 28"));
		}
		finish();
	}
}

static void unshare_fails(struct fake_cpu *c, void *ctx)
{
	ipa_t done;

	(void)ctx;
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
	fake_write(c, PAGE | SHARED, PATTERN, 8);
	seen.fail_unshare = -EIO;
	if (is_kvm(now)) {
		ask(c, PAGE, PAGE + SZ_4K, RIPAS_RAM, &done);
		fake_complain("%s: the guest goes on", now->name);
		return;
	}
	fake_expect_eq(ask(c, PAGE, PAGE + SZ_4K, RIPAS_RAM, &done), RSI_REJECT);
	fake_expect_eq(done, PAGE);
	/* as before, for the devices and for the guest */
	fake_expect_eq(ripas_get(&rig.m.realm.ripas, PAGE), RIPAS_EMPTY);
	fake_expect(door_open(PAGE));
	fake_expect_eq(fake_read(c, PAGE | SHARED, 8), PATTERN);
	fake_expect_eq(seen.shares, 1);
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_RAM);
	fake_poweroff(c);
}

static void test_unshare_fails(void **state)
{
	(void)state;
	FOR_EACH(h) {
		begin(h, unshare_fails);
		create();
		capture_begin();
		assert_int_equal(rig_run(&rig), is_kvm(h) ? END_FAILED : END_POWEROFF);
		capture_end();
		/* no device can have been left with a page that is private */
		if (is_kvm(h)) {
			assert_string_equal(rig.m.failure.msg, "told to fail with 5");
			assert_false(says_private(PAGE));
			assert_int_equal(content(PAGE), PATTERN);
		}
		finish();
	}
}

/* What cannot be undone ends any machine. */
static void hopeless(struct fake_cpu *c, void *ctx)
{
	ipa_t done;

	(void)ctx;
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
	fake_write(c, PAGE | SHARED, PATTERN, 8);
	seen.fail_unshare = -ENOTRECOVERABLE;
	ask(c, PAGE, PAGE + SZ_4K, RIPAS_RAM, &done);
	fake_read(c, RAM, 8);
	fake_complain("%s: the guest goes on", now->name);
}

static void hopeless_share(struct fake_cpu *c, void *ctx)
{
	ipa_t done;

	(void)ctx;
	seen.fail_share = -ENOTRECOVERABLE;
	ask(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY, &done);
	fake_read(c, RAM, 8);
	fake_complain("%s: the guest goes on", now->name);
}

static void not_recoverable(void **state)
{
	static fake_guest *const guests[] = { hopeless, hopeless_share };

	(void)state;
	FOR_EACH(h) {
		for (unsigned int i = 0; i < ARRAY_SIZE(guests); i++) {
			begin(h, guests[i]);
			create();
			capture_begin();
			assert_int_equal(rig_run(&rig), END_FAILED);
			capture_end();
			assert_string_equal(rig.m.failure.msg, "told to fail with 131");
			finish();
		}
	}
}

/* No memslot is left for what the guest takes back: its devices get the page again. */
static void no_slot_left(struct fake_cpu *c, void *ctx)
{
	ipa_t base = RAM + 8 * SZ_1M, at = base, done;

	(void)ctx;
	convert(c, base, RAM_END, RIPAS_EMPTY);
	seen.shares = 0;
	/* the hook wants to see it */
	for (; at < RAM_END; at += 2 * SZ_4K) {
		uint64_t v = PATTERN;

		fake_expect_eq(gmem_write(&rig.m.gm, at, &v, sizeof(v)), 0);
		if (ask(c, at, at + SZ_4K, RIPAS_RAM, &done) != RSI_ACCEPT)
			break;
	}
	fake_expect(at < RAM_END);
	seen.from_start = false;
	fake_expect_eq(seen.shares, 1);
	fake_expect_eq(seen.base[0], at);
	fake_expect_eq(seen.len[0], SZ_4K);
	fake_expect(door_open(at));
	fake_expect_eq(fake_read(c, at | SHARED, 8), PATTERN);
	fake_poweroff(c);
}

static void strict_limit(void **state)
{
	(void)state;
	begin(&hosts[2], no_slot_left);
	create();
	rig.m.realm.hooks.dma_share = large_share;
	capture_begin();
	assert_int_equal(rig_run(&rig), END_POWEROFF);
	assert_non_null(strstr(capture_end(), "no more than 4096 stretches"));
	finish();
}

/* ---- all of it ------------------------------------------------------------------------------- */

#define WINDOW	64		/* pages that the guest plays with */
#define ROUNDS	400

/* Pages that the IOMMU has, at the alias; what is mapped goes as it came. */
static uint32_t page_of[WINDOW], pages_at[WINDOW];

static int io_map(struct iommu *io, uint64_t iova, uint64_t len, void *host, struct err *e)
{
	uint64_t first = (iova - (PAGE | SHARED)) / SZ_4K, n = len / SZ_4K;

	(void)io;
	(void)e;
	fake_expect(first < WINDOW && n <= WINDOW - first);
	fake_expect(host == rig.m.realm.shared + (PAGE - RAM) + first * SZ_4K);
	for (uint64_t i = first; i < first + n; i++) {
		fake_expect_eq(page_of[i], 0);
		page_of[i] = first + 1;
		/* a page that is private now could not be pinned */
		fake_expect(!says_private(PAGE + i * SZ_4K));
	}
	pages_at[first] = n;
	return 0;
}

static int io_unmap(struct iommu *io, uint64_t iova, uint64_t len, struct err *e)
{
	uint64_t first = (iova - (PAGE | SHARED)) / SZ_4K, n = len / SZ_4K;

	(void)io;
	(void)e;
	fake_expect(first < WINDOW && page_of[first] == first + 1 && pages_at[first] == n);
	for (uint64_t i = first; i < first + n; i++) {
		page_of[i] = 0;
		fake_expect(!says_private(PAGE + i * SZ_4K));
	}
	return 0;
}

static const struct iommu_ops io_ops = { .name = "test", .map = io_map, .unmap = io_unmap };
static struct iova_range everything = { 0, UINT64_MAX };
static struct iommu io = { &io_ops, SZ_4K, &everything, 1 };
static struct dma *dma;

static int hook_share(void *ctx, ipa_t ipa, uint64_t len, struct err *e)
{
	return dma_share(dma, ipa, len, e);
}

static int hook_unshare(void *ctx, ipa_t ipa, uint64_t len, struct err *e)
{
	return dma_unshare(dma, ipa, len, e);
}

static bool hook_keeps(void *ctx, ipa_t ipa, uint64_t len)
{
	return dma_keeps(dma, ipa, len);
}

static void random_guest(struct fake_cpu *c, void *ctx)
{
	uint64_t r = 88172645463325252;
	unsigned int wrong = 0;

	(void)ctx;
	for (unsigned int round = 0; round < ROUNDS && !wrong; round++) {
		unsigned int first, n;

		r ^= r << 13;
		r ^= r >> 7;
		r ^= r << 17;
		first = r % WINDOW;
		n = 1 + (r >> 20) % MIN(16u, WINDOW - first);
		convert(c, PAGE + first * SZ_4K, PAGE + (first + n) * SZ_4K,
			r >> 40 & 1 ? RIPAS_RAM : RIPAS_EMPTY);
		for (unsigned int i = 0; i < WINDOW; i++)
			wrong += (ripas_get(&rig.m.realm.ripas, PAGE + i * SZ_4K) == RIPAS_EMPTY) !=
				 !!page_of[i];
	}
	fake_expect_eq(wrong, 0);
	fake_expect(dma_stat(dma)->splits > 10);
	fake_poweroff(c);
}

static void with_map(void **state)
{
	(void)state;
	FOR_EACH(h) {
		struct dma_cfg cfg = { .iommu = &io, .gm = &rig.m.gm, .mode = DMA_DYNAMIC };

		begin(h, random_guest);
		if (is_kvm(h))
			fake_rmi.ripas_max = 3 * SZ_4K;
		if (h->in_place)
			fake_rmi.attr_again = 3;
		create();
		cfg.split = rig.m.realm.split;
		assert_int_equal(dma_new(&cfg, &dma, &rig.e), 0);
		assert_int_equal(dma_start(dma, &rig.e), 0);
		rig.m.realm.hooks.dma_share = hook_share;
		rig.m.realm.hooks.dma_unshare = hook_unshare;
		rig.m.realm.hooks.dma_keeps = hook_keeps;
		run(END_POWEROFF);
		dma_free(dma);
		for (unsigned int i = 0; i < WINDOW; i++)
			assert_int_equal(page_of[i], 0);
		finish();
	}
}

/* ---- trusted devices ------------------------------------------------------------------------- */

static void off(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_poweroff(c);
}

static void trusted(void **state)
{
	(void)state;
	FOR_EACH(h) {
		begin(h, off);
		create();
		assert_int_equal(realm_trust_device(&rig.m.realm, "0000:01:00.0", &rig.e), -EOPNOTSUPP);
		assert_non_null(strstr(rig.e.msg, "0000:01:00.0: trusted device assignment"));
		run(END_POWEROFF);
		finish();
	}
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
		cmocka_unit_test_teardown(order, clean_up),
		cmocka_unit_test_teardown(stretches, clean_up),
		cmocka_unit_test_teardown(starts_empty, clean_up),
		cmocka_unit_test_teardown(kept, clean_up),
		cmocka_unit_test_teardown(test_share_fails, clean_up),
		cmocka_unit_test_teardown(test_unshare_fails, clean_up),
		cmocka_unit_test_teardown(not_recoverable, clean_up),
		cmocka_unit_test_teardown(strict_limit, clean_up),
		cmocka_unit_test_teardown(with_map, clean_up),
		cmocka_unit_test_teardown(trusted, clean_up),
	};

	return cmocka_run_group_tests(tests, quiet, NULL);
}
