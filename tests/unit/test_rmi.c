// SPDX-License-Identifier: BSD-3-Clause
/*
 * Realms of the host: the back end on a model of every generation of KVM's interface and of the RMM
 * under it. The model keeps the order of calls and complains of what would hurt a host, so a test
 * that only launches a realm checks more than it says.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "realm/rmi_abi.h"
#include "realm/rsi.h"
#include "tests/fakekvm/fake_rmi.h"
#include "tests/fakekvm/harness.h"
#include "tests/unit/mkimage.h"
#include "vmm/predict.h"

#define SHARED	(UINT64_C(1) << 32)	/* 33-bit IPA space */
#define RAM	MAP_RAM_BASE
#define RAM_END	(RAM + RIG_MEM)
#define KERNEL	(RAM + 0x80000)		/* where a flat kernel goes */
#define PAGE	(RAM + 32 * SZ_1M)	/* free memory of the guest */
#define UART	MAP_UART_BASE
#define PATTERN	UINT64_C(0x1122334455667788)
#define INITRD_LEN (5 * SZ_4K + 17)

/* ---- kernels --------------------------------------------------------------------------------- */

static void no_conversion(void)
{
	fake_rmi.in_place = false;
}

static void spec_2_0(void)
{
	fake_rmi.dialect = FAKE_RIM_C;
}

/**
 * struct kernel - a host
 * @want:  --rmi-generation
 * @rmm:   --rmm: enum rim_dialect + 1
 */
struct kernel {
	const struct fake_gen *gen;
	const char *name;		/* that the back end gives it */
	const char *want;
	void (*tune)(void);
	int rmm;
};

static const struct kernel kernels[] = {
	{ &fake_rmi_v8, "a" },
	{ &fake_rmi_v10, "a" },
	{ &fake_rmi_v11, "a" },
	{ &fake_rmi_v12, "v12" },
	{ &fake_rmi_v13, "v13" },
	{ &fake_rmi_v14, "c" },
	{ &fake_rmi_v14, "c", .tune = spec_2_0, .rmm = RIM_C + 1 },
	{ &fake_rmi_v15, "d2" },
	{ &fake_rmi_v15, "d2", .tune = no_conversion },
	{ &fake_rmi_v15, "d", .want = "d" },
	{ &fake_rmi_kamalca, "d" },
	{ &fake_rmi_e, "e", .want = "e:0xd8" },
};
static const struct kernel *const v8 = &kernels[0], *const v12 = &kernels[3],
	*const v13 = &kernels[4], *const v14 = &kernels[5], *const v15 = &kernels[7],
	*const in_place = &kernels[10], *const explicit = &kernels[11];

#define FOR_EACH(k) \
	for (const struct kernel *k = kernels; k < kernels + ARRAY_SIZE(kernels); k++)

static bool is_in_place(const struct kernel *k)
{
	return *k->name == 'e' || !strcmp(k->name, "d");
}

static bool is_a(const struct kernel *k)
{
	return *k->name == 'a';
}

/* ---- frame of every test --------------------------------------------------------------------- */

static struct rig rig;
static struct layout plan;		/* the launch's, made a second time */
static bool in_use;
static const struct kernel *now;

static void begin(const struct kernel *k, fake_guest *fn)
{
	now = k;
	fake_reset(k->gen);
	if (k->tune)
		k->tune();
	rig_init(&rig, MODE_KVM);
	in_use = true;
	rig.cfg.rmm = k->rmm;
	if (k->want)
		rig.cfg.rmi_generation = strdup(k->want);
	fake_set_guest(0, fn, NULL);
}

static void with_initrd(void)
{
	struct blob b = mk_flat(INITRD_LEN);

	rig.cfg.initrd = strdup(mk_file(b));
	blob_free(&b);
	loader_close(&rig.files);
	rig.files = (struct loader_files){
		.kernel = -1, .initrd = -1, .firmware = -1, .dtb = -1,
		.kernel_path = rig.cfg.kernel, .initrd_path = rig.cfg.initrd,
	};
	assert_int_equal(loader_open(&rig.files, &rig.e), 0);
}

static void create(void)
{
	if (rig_create(&rig))
		fail_msg("%s: %s", now->gen->name, rig.e.msg);
	if (strcmp(rig.m.realm.generation, now->name))
		fail_msg("%s is taken for generation %s", now->gen->name, rig.m.realm.generation);
	assert_int_equal(layout_make(&rig.cfg, &rig.files, 0, &plan, &rig.e), 0);
}

/* Launching fails, and the one line says this. */
static void refused(const char *text)
{
	const char *log;
	int ret;

	capture_begin();
	ret = rig_create(&rig);
	log = capture_end();
	if (!ret || !strstr(rig.e.msg, text) || strchr(rig.e.msg, '\n'))
		fail_msg("%s: \"%s\" instead of \"%s\"\n%s", now->gen->name, rig.e.msg, text, log);
}

static void finish(void)
{
	const char *verdict;

	in_use = false;
	layout_free(&plan);
	memset(&plan, 0, sizeof(plan));
	rig_fini(&rig);
	verdict = fake_verdict();
	if (verdict)
		fail_msg("%s: %s", now->gen->name, verdict);
}

/* Warnings, from now on and so far. */
static void hear(void)
{
	log_set_level(LOG_WARNING);
	capture_begin();
}

static const char *heard(void)
{
	log_set_level(LOG_ERROR);
	return capture_end();
}

static int clean_up(void **state)
{
	(void)state;
	if (!in_use)
		return 0;
	in_use = false;
	heard();
	if (rig.made) {
		machine_end(&rig.m, END_LEAVE);
		machine_stop(&rig.m);
	}
	rig_fini(&rig);
	layout_free(&plan);
	memset(&plan, 0, sizeof(plan));
	return 0;
}

static void run(void)
{
	int end = rig_run(&rig);

	if (end != END_POWEROFF)
		fail_msg("%s: end %d: %s", now->gen->name, end, rig.m.failure.msg);
}

static void once(const struct kernel *k, fake_guest *fn)
{
	begin(k, fn);
	create();
	run();
	finish();
}

/* ---- what guests do -------------------------------------------------------------------------- */

static uint64_t rsi(struct fake_cpu *c, uint64_t x[18], uint64_t fn, uint64_t a, uint64_t b,
		    uint64_t d)
{
	memset(x, 0, 18 * sizeof(*x));
	x[0] = fn;
	x[1] = a;
	x[2] = b;
	x[3] = d;
	x[4] = fn == RSI_IPA_STATE_SET;		/* what was DESTROYED too, as Linux does */
	fake_smc(c, x);
	return x[0];
}

/* As Linux: ask again for the rest until all of it is done. Return: how often */
static unsigned int convert(struct fake_cpu *c, ipa_t base, ipa_t top, enum ripas_state state)
{
	unsigned int n = 0;
	uint64_t x[18];

	while (base < top && ++n < 1000) {
		fake_expect_eq(rsi(c, x, RSI_IPA_STATE_SET, base, top, state), RSI_SUCCESS);
		fake_expect_eq(x[2], RSI_ACCEPT);
		if (x[2] != RSI_ACCEPT)
			break;
		base = x[1];
	}
	fake_expect_eq(base, top);
	return n;
}

static uint64_t door(ipa_t ipa, int want)
{
	uint64_t v = 0;
	int ret = gmem_read(&rig.m.gm, ipa, &v, sizeof(v));

	fake_expect_eq((uint64_t)ret, (uint64_t)want);
	return v;
}

static bool aborts(struct fake_cpu *c, ipa_t ipa)
{
	fake_read(c, ipa, 8);
	return fake_aborted(c);
}

static void off(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_poweroff(c);
}

/* ---- launch ---------------------------------------------------------------------------------- */

static void hello(struct fake_cpu *c, void *ctx)
{
	const char *text = "hello";
	uint64_t x[18];

	(void)ctx;
	fake_expect_eq(fake_reg(c, A64_PC), KERNEL);
	fake_expect_eq(fake_read(c, fake_reg(c, A64_X(0)), 4), 0xedfe0dd0);	/* FDT magic */
	fake_expect_eq(rsi(c, x, RSI_VERSION, 0x10000, 0, 0), RSI_SUCCESS);
	/* all of RAM is RAM, as Linux makes sure of first: nothing is lost by that */
	convert(c, RAM, RAM_END, RIPAS_RAM);
	fake_expect_eq(fake_read(c, fake_reg(c, A64_X(0)), 4), 0xedfe0dd0);
	fake_expect_eq(rsi(c, x, RSI_REALM_CONFIG, PAGE, 0, 0), RSI_SUCCESS);
	fake_expect_eq(fake_read(c, PAGE, 8), 33);
	for (; *text; text++)
		fake_write(c, UART | SHARED, *text, 1);
	fake_poweroff(c);
}

/* What was populated is what the plan says, page by page, and nothing else was. */
static void check_image(void)
{
	const struct plan *p = &plan.load.plan;
	uint8_t want[SZ_4K], got[SZ_4K], zero[SZ_4K] = { 0 };
	unsigned int pages = 0;

	for (unsigned int i = 0; i < p->nr; i++) {
		const struct plan_piece *piece = &p->piece[i];

		for (uint64_t at = 0; at < piece->len; at += SZ_4K, pages++) {
			ipa_t ipa = piece->ipa + at;

			assert_int_equal(plan_read(piece, at, want, SZ_4K, NULL), 0);
			assert_true(fake_realm_mem(ipa, got, SZ_4K));
			assert_memory_equal(got, want, SZ_4K);
			if (is_in_place(now))
				continue;
			/* no copy is left where devices could see it */
			assert_true(fake_realm_mem(ipa | SHARED, got, SZ_4K));
			assert_memory_equal(got, zero, SZ_4K);
		}
	}
	assert_int_equal(fake_delegated(), pages);
}

static void check_rim(void)
{
	uint8_t rim[REALM_HASH_MAX];
	struct measurement m;
	unsigned int n = fake_rim(rim);

	if (predict(&rig.cfg, &plan, rig.m.realm.generation, &m, &rig.e))
		fail_msg("%s: %s", now->gen->name, rig.e.msg);
	assert_int_equal(n, realm_hash_len(rig.m.realm.algo));
	if (memcmp(rim, m.rim.value, sizeof(rim)))
		fail_msg("%s: the measurement is not the predicted one", now->gen->name);
}

static void launch(void **state)
{
	(void)state;
	FOR_EACH(k) {
		begin(k, hello);
		with_initrd();
		create();
		assert_int_equal(fake_realm_state(), FAKE_REALM_ACTIVE);
		assert_int_equal(plan.load.plan.nr, 3);
		check_image();
		check_rim();
		assert_int_equal(fake_ripas(PAGE), FAKE_RAM);
		run();
		assert_string_equal(rig.out, "hello");
		assert_int_equal(fake_slot_races(), 0);
		finish();
	}
}

/* ---- order of calls -------------------------------------------------------------------------- */

/* Entries of the trace from the launch's own VM on; those before are probes. */
static unsigned int launch_begins(void)
{
	unsigned int at = 0;

	for (unsigned int i = 0; fake_trace(i); i++)
		if (!strcmp(fake_trace(i)->name, "vm"))
			at = i;
	return at;
}

/* First (@last false) or last successful call of this name; -1: there is none. */
static int find(const char *name, bool last)
{
	const struct fake_call *c;
	int found = -1;

	for (unsigned int i = launch_begins(); (c = fake_trace(i)); i++) {
		if (c->ret < 0 && c->ret != -EINTR)
			continue;
		if (!strcmp(c->name, name) && (last || found < 0))
			found = i;
	}
	return found;
}

static void before(const char *a, const char *b)
{
	if (find(a, true) < 0 || find(b, false) < 0 || find(a, true) > find(b, false))
		fail_msg("%s: \"%s\" (%d) is not before \"%s\" (%d)", now->gen->name, a,
			 find(a, true), b, find(b, false));
}

/* Populate calls ascend, do not overlap and cover the pieces; return bytes. */
static uint64_t check_populates(void)
{
	const struct fake_call *c;
	uint64_t sum = 0;
	ipa_t end = 0;

	for (unsigned int i = launch_begins(); (c = fake_trace(i)); i++) {
		if (strcmp(c->name, "populate"))
			continue;
		assert_true(c->size > 0);
		assert_true(c->base >= end || sum == 0);
		end = c->base + c->size;
		sum += c->size;
	}
	return sum;
}

static void sequence(void **state)
{
	(void)state;
	FOR_EACH(k) {
		const struct plan *p = &plan.load.plan;
		uint64_t bytes = 0;
		const struct fake_call *c;

		begin(k, off);
		rig.cfg.cpus = 3;
		create();
		before("gmem", "slot");
		before("slot", "populate");
		before("vcpu", "gic-init");
		before("gic-init", "populate");
		/* breakpoints and boot registers are in the measurement */
		before("reg", "populate");
		if (is_in_place(k))
			before("gmem-attr", "populate");
		else if (*k->name != 'd')
			before("attr", "populate");
		if (is_a(k)) {
			before("config", "create");
			before("init", "create");
			before("create", "ripas");
			before("ripas", "populate");
			before("populate", "finalize");
			before("finalize", "activate");
			assert_int_equal(find("run", false), -1);
		} else {
			before("populate", "run");
			before("init", "populate");
		}
		if (*k->name == 'e') {
			before("populate", "ripas");
			before("ripas", "run");
		}
		/* born private for good: no attributes at all */
		if (!strcmp(k->name, "d2")) {
			assert_int_equal(find("attr", false), -1);
			assert_int_equal(find("gmem-attr", false), -1);
		}
		for (unsigned int i = 0; i < p->nr; i++)
			bytes += ALIGN_UP(p->piece[i].len, SZ_4K);
		assert_int_equal(check_populates(), bytes);
		for (unsigned int i = launch_begins(); (c = fake_trace(i)); i++) {
			/* but for the one page that the probe asks with */
			if (!strcmp(c->name, "gmem") && c->size != SZ_4K)
				assert_int_equal(c->flags, is_in_place(k) ? 3 : 0);
			if (!strcmp(c->name, "populate"))
				assert_int_equal(c->flags, 1);
			/* x0 to x7 and pc, and on the boot CPU only */
			if (!strcmp(c->name, "reg") && c->size != A64_ID_AA64DFR0_EL1)
				assert_true(c->base == 0 && (c->size == A64_PC ||
					    c->size <= A64_X(7)));
		}
		run();
		finish();
	}
}

/* ---- populate -------------------------------------------------------------------------------- */

static void partial(void **state)
{
	(void)state;
	FOR_EACH(k) {
		begin(k, off);
		with_initrd();
		fake_rmi.populate_max = 2 * SZ_4K;
		fake_rmi.populate_eintr = 3;
		create();
		if (!is_a(k))
			assert_true(fake_count(A64_RMI_POPULATE) > 13);
		check_image();
		check_rim();
		run();
		finish();
	}
}

static void no_progress(void **state)
{
	static const struct kernel *const list[3] = { &kernels[3], &kernels[5], &kernels[10] };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(list); i++) {
		begin(list[i], off);
		fake_rmi.populate_stuck = true;
		refused("makes no progress");
		assert_true(fake_count(A64_RMI_POPULATE) < 10);
		finish();
	}
}

static void unmeasured(void **state)
{
	(void)state;
	FOR_EACH(k) {
		const struct fake_call *c;

		begin(k, off);
		with_initrd();
		rig.cfg.unmeasured = PIECE_INITRD | PIECE_DTB;
		create();
		check_image();
		check_rim();
		for (unsigned int i = launch_begins(); (c = fake_trace(i)); i++)
			if (!strcmp(c->name, "populate"))
				assert_int_equal(c->flags, c->base == KERNEL);
		run();
		finish();
	}
}

/* A file that becomes shorter when it has been looked at. */
static int shorten(void *ctx, struct machine *m, struct err *e)
{
	(void)ctx;
	(void)m;
	(void)e;
	assert_int_equal(truncate(rig.cfg.initrd, SZ_4K), 0);
	return 0;
}

static void unreadable(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		begin(i ? in_place : v8, off);
		with_initrd();
		rig.env.launch = shorten;
		refused(rig.cfg.initrd);
		finish();
	}
}

static struct {
	uint64_t done, total;
	unsigned int calls;
	bool stop;
} shown;

static bool progress(void *ctx, uint64_t done, uint64_t total)
{
	(void)ctx;
	assert_true(done > shown.done && done <= total);
	shown.done = done;
	shown.total = total;
	shown.calls++;
	return shown.stop;
}

static void progress_and_stop(void **state)
{
	(void)state;
	for (int stop = 0; stop < 2; stop++) {
		memset(&shown, 0, sizeof(shown));
		shown.stop = stop;
		begin(v14, off);
		with_initrd();
		rig.env.progress = progress;
		if (stop) {
			refused("interrupted");
			assert_int_equal(shown.calls, 1);
		} else {
			create();
			assert_true(shown.calls >= 3 && shown.done == shown.total);
		}
		finish();
	}
}

/* ---- which memory is RAM at the start -------------------------------------------------------- */

/* Another vCPU that is in the guest all the time. */
static void runner(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	for (;;)
		fake_read(c, KERNEL, 8);
}

static void asks_later(struct fake_cpu *c, void *ctx)
{
	uint64_t x[18];

	(void)ctx;
	fake_expect_eq(fake_call(c, FAKE_PSCI_CPU_ON, 1, KERNEL, 0), 0);
	fake_expect_eq(rsi(c, x, RSI_IPA_STATE_GET, PAGE, PAGE + SZ_4K, 0), RSI_SUCCESS);
	fake_expect_eq(x[2], RIPAS_EMPTY);
	fake_expect(aborts(c, PAGE));
	/* shared until then: devices reach it */
	fake_write(c, PAGE | SHARED, PATTERN, 8);
	fake_expect_eq(door(PAGE, 0), PATTERN);
	convert(c, PAGE, PAGE + SZ_2M, RIPAS_RAM);
	fake_expect_eq(fake_read(c, PAGE, 8), 0);
	fake_write(c, PAGE, ~PATTERN, 8);
	fake_expect_eq(fake_read(c, PAGE, 8), ~PATTERN);
	door(PAGE, -EACCES);
	/* the rest of the stretch has not changed */
	fake_expect(aborts(c, PAGE + SZ_2M));
	fake_write(c, (PAGE + SZ_2M) | SHARED, PATTERN, 8);
	fake_expect_eq(door(PAGE + SZ_2M, 0), PATTERN);
	convert(c, PAGE + SZ_2M, PAGE + 2 * SZ_2M, RIPAS_RAM);
	fake_expect_eq(fake_read(c, PAGE + SZ_2M, 8), 0);
	/* over slots of both kinds and the end of RAM */
	convert(c, PAGE - 8 * SZ_1M, RAM_END + SZ_1M, RIPAS_EMPTY);
	fake_expect(aborts(c, PAGE));
	fake_expect_eq(fake_read(c, PAGE | SHARED, 8), 0);
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_RAM);
	fake_write(c, PAGE, ~PATTERN, 8);
	convert(c, RAM, RAM_END, RIPAS_RAM);
	fake_expect_eq(fake_read(c, PAGE, 8), ~PATTERN);
	fake_poweroff(c);
}

static void ripas_plans(void **state)
{
	(void)state;
	FOR_EACH(k) {
		for (int ranges = 0; ranges < 2; ranges++) {
			begin(k, asks_later);
			fake_set_guest(1, runner, NULL);
			with_initrd();
			rig.cfg.cpus = 2;
			rig.cfg.ripas_ram = ranges ? RIPAS_RAM_RANGES : RIPAS_RAM_IMAGE;
			rig.cfg.nr_ripas_ranges = ranges;
			rig.cfg.ripas_range[0] = (struct cfg_range){ PAGE - 4 * SZ_1M, SZ_1M };
			create();
			check_image();
			/* v12 makes the slots RAM in the order of a hash, which counts there */
			if (k != v12)
				check_rim();
			assert_int_equal(fake_ripas(KERNEL), FAKE_RAM);
			assert_int_equal(fake_ripas(PAGE - 3 * SZ_1M), FAKE_EMPTY);
			assert_int_equal(fake_ripas(PAGE - 3 * SZ_1M - SZ_4K),
					 ranges ? FAKE_RAM : FAKE_EMPTY);
			assert_int_equal(fake_ripas(PAGE - 4 * SZ_1M - SZ_4K), FAKE_EMPTY);
			assert_int_equal(fake_ripas(RAM_END - SZ_4K), FAKE_EMPTY);
			run();
			assert_int_equal(fake_slot_races(), 0);
			finish();
		}
	}
}

/* ---- conversions ----------------------------------------------------------------------------- */

static void conversions(struct fake_cpu *c, void *ctx)
{
	const struct realm_stat *stat = &rig.m.realm.stat;
	uint64_t x[18];

	(void)ctx;
	fake_write(c, PAGE, PATTERN, 8);
	door(PAGE, -EACCES);
	door(PAGE | SHARED, -EACCES);
	/* RAM -> RAM keeps the contents */
	convert(c, PAGE - SZ_4K, PAGE + SZ_4K, RIPAS_RAM);
	fake_expect_eq(fake_read(c, PAGE, 8), PATTERN);
	fake_expect_eq(stat->to_private, 0);

	/* RAM -> EMPTY: lost; devices reach the page, its neighbours stay private */
	fake_write(c, PAGE + SZ_4K, PATTERN, 8);
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
	fake_expect_eq(fake_ripas(PAGE), FAKE_EMPTY);
	fake_expect(aborts(c, PAGE));
	fake_expect_eq(fake_read(c, PAGE | SHARED, 8), 0);
	fake_write(c, PAGE | SHARED, ~PATTERN, 8);
	fake_expect_eq(door(PAGE, 0), ~PATTERN);
	fake_expect_eq(door(PAGE | SHARED, 0), ~PATTERN);
	door(PAGE + SZ_4K - 4, -EACCES);
	door(PAGE - 8, -EACCES);
	fake_expect_eq(fake_read(c, PAGE + SZ_4K, 8), PATTERN);
	fake_expect_eq(stat->bytes_shared, SZ_4K);

	/* EMPTY -> EMPTY keeps what is shared; only the second page changes */
	convert(c, PAGE, PAGE + 2 * SZ_4K, RIPAS_EMPTY);
	fake_expect_eq(fake_read(c, PAGE | SHARED, 8), ~PATTERN);
	fake_expect_eq(stat->bytes_shared, 2 * SZ_4K);

	/* EMPTY -> RAM: lost on both sides */
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_RAM);
	fake_expect_eq(fake_read(c, PAGE, 8), 0);
	door(PAGE, -EACCES);
	fake_write(c, PAGE, PATTERN, 8);
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
	fake_expect_eq(fake_read(c, PAGE | SHARED, 8), 0);
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_RAM);
	fake_expect_eq(fake_read(c, PAGE, 8), 0);
	fake_expect_eq(stat->bytes_private, 2 * SZ_4K);

	/* all that is free, back and forth, with a stretch that is in the wanted state */
	convert(c, PAGE, RAM_END, RIPAS_EMPTY);
	convert(c, PAGE + SZ_1M, PAGE + SZ_2M, RIPAS_RAM);
	fake_write(c, PAGE + SZ_1M + SZ_4K, PATTERN, 8);
	fake_write(c, (PAGE + SZ_2M) | SHARED, PATTERN, 8);
	convert(c, PAGE, RAM_END, RIPAS_RAM);
	fake_expect_eq(fake_read(c, PAGE + SZ_1M + SZ_4K, 8), PATTERN);
	fake_expect_eq(fake_read(c, PAGE + SZ_2M, 8), 0);
	fake_expect_eq(stat->bytes_private, stat->bytes_shared);

	/* over the ends of RAM, and where there is none: the VM goes on */
	fake_write(c, RAM_END - SZ_4K, PATTERN, 8);
	convert(c, RAM_END - SZ_4K, RAM_END + SZ_1M, RIPAS_EMPTY);
	fake_expect_eq(fake_read(c, (RAM_END - SZ_4K) | SHARED, 8), 0);
	x[1] = stat->bytes_shared;
	x[2] = stat->bytes_private;
	rsi(c, x + 0, RSI_IPA_STATE_SET, RAM_END, SHARED, RIPAS_RAM);
	rsi(c, x + 0, RSI_IPA_STATE_SET, UART, UART + SZ_4K, RIPAS_RAM);
	rsi(c, x + 0, RSI_IPA_STATE_SET, UART, UART + SZ_4K, RIPAS_EMPTY);
	rsi(c, x + 0, RSI_IPA_STATE_SET, RAM - SZ_1M, RAM, RIPAS_RAM);
	fake_expect_eq(stat->bytes_shared - stat->bytes_private, SZ_4K);
	fake_expect_eq(fake_read(c, (RAM_END - SZ_4K) | SHARED, 8), 0);
	fake_poweroff(c);
}

static void test_conversions(void **state)
{
	(void)state;
	FOR_EACH(k) {
		once(k, conversions);
		/* the RMM does a part at a time, the guest asks for the rest */
		begin(k, conversions);
		fake_rmi.ripas_max = SZ_1M;
		create();
		run();
		finish();
	}
}

/* What KVM is told when a page changes sides, and in which order. */
static void one_page(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_write(c, PAGE, PATTERN, 8);
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_RAM);
	fake_poweroff(c);
}

static void conversion_order(void **state)
{
	(void)state;
	FOR_EACH(k) {
		const char *want = is_in_place(k) ? "gmem-attr:0 gmem-attr:8 " :
			!strcmp(k->name, "d2") ? "punch:3 " : "attr:0 punch:3 attr:8 ";
		const struct fake_call *c;
		unsigned int n = 0;
		char got[128] = "";

		begin(k, one_page);
		create();
		while (fake_trace(n))
			n++;
		run();
		for (; (c = fake_trace(n)); n++) {
			size_t len = strlen(got);

			if (strcmp(c->name, "run") && len < sizeof(got) - 32)
				sprintf(got + len, "%s:%u ", c->name, (unsigned int)c->flags);
		}
		if (strcmp(got, want))
			fail_msg("%s: \"%s\"", k->gen->name, got);
		finish();
	}
}

/* The image, and what the guest has written, stays when it asks for all of RAM. */
static void keeps_all(struct fake_cpu *c, void *ctx)
{
	ipa_t dtb = fake_reg(c, A64_X(0));
	uint64_t first = fake_read(c, KERNEL, 8);

	(void)ctx;
	fake_write(c, PAGE, PATTERN, 8);
	convert(c, RAM, RAM_END, RIPAS_RAM);
	fake_expect_eq(fake_read(c, KERNEL, 8), first);
	fake_expect_eq(fake_read(c, dtb, 4), 0xedfe0dd0);
	fake_expect_eq(fake_read(c, PAGE, 8), PATTERN);
	fake_expect_eq(rig.m.realm.stat.to_private, 0);
	fake_poweroff(c);
}

static void contents_stay(void **state)
{
	(void)state;
	FOR_EACH(k)
		once(k, keeps_all);
}

/* Memory of a device's DMA mapping keeps its pages; and so do others where there is none. */
static bool dma_page(void *ctx, ipa_t ipa, uint64_t len)
{
	(void)ctx;
	return ipa <= PAGE && PAGE < ipa + len;
}

static void dma_guest(struct fake_cpu *c, void *ctx)
{
	uint64_t v;

	(void)ctx;
	for (unsigned int i = 0; i < 2; i++) {
		ipa_t at = PAGE + i * SZ_1M;

		convert(c, at, at + SZ_4K, RIPAS_EMPTY);
		fake_write(c, at | SHARED, PATTERN, 8);
		convert(c, at, at + SZ_4K, RIPAS_RAM);
		fake_expect_eq(fake_read(c, at, 8), 0);
		fake_expect(fake_realm_mem(at | SHARED, &v, sizeof(v)));
		fake_expect_eq(v, i ? 0 : PATTERN);
	}
	fake_poweroff(c);
}

static void dma_mapped(void **state)
{
	static const struct kernel *const list[4] = {
		&kernels[0], &kernels[4], &kernels[5], &kernels[7],
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(list); i++) {
		begin(list[i], dma_guest);
		create();
		rig.m.realm.hooks.dma_keeps = dma_page;
		run();
		finish();
	}
}

/* A range that the kernel refuses: the guest is told, and the VM goes on. */
static void rejected(struct fake_cpu *c, void *ctx)
{
	uint64_t x[18];

	(void)ctx;
	fake_expect_eq(rsi(c, x, RSI_IPA_STATE_SET, PAGE, PAGE + SZ_4K, RIPAS_RAM), RSI_SUCCESS);
	fake_expect_eq(x[2], RSI_REJECT);
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_RAM);
	fake_poweroff(c);
}

static void test_rejected(void **state)
{
	(void)state;
	begin(v14, rejected);
	fake_rmi.ripas_reject = 1;
	create();
	hear();
	run();
	assert_non_null(strstr(heard(), "that it cannot have"));
	finish();
}

/* The kernel is not content with a conversion and asks again, with either way to return. */
static void asked_twice(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_write(c, PAGE + SZ_4K, PATTERN, 8);
	for (unsigned int i = 0; i < 3; i++) {
		fake_rmi.change_again = 2;
		convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
		fake_expect_eq(fake_rmi.change_again, 0);
		fake_write(c, PAGE | SHARED, PATTERN, 8);
		fake_expect_eq(door(PAGE, 0), PATTERN);
		fake_rmi.change_again = 2;
		convert(c, PAGE, PAGE + 2 * SZ_4K, RIPAS_RAM);
		fake_expect_eq(fake_read(c, PAGE, 8), 0);
	}
	fake_expect_eq(fake_read(c, PAGE + SZ_4K, 8), PATTERN);
	fake_poweroff(c);
}

static void test_asked_twice(void **state)
{
	(void)state;
	once(in_place, asked_twice);
	once(explicit, asked_twice);
}

/* Pages in place that somebody still holds: what was done stays done, the rest is tried again. */
static void busy_guest(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_rmi.attr_again = 3;
	convert(c, PAGE, PAGE + SZ_1M, RIPAS_EMPTY);
	fake_rmi.attr_again = 3;
	convert(c, PAGE, PAGE + SZ_1M, RIPAS_RAM);
	fake_expect_eq(fake_rmi.attr_again, 0);
	fake_expect_eq(fake_read(c, PAGE + SZ_1M - 8, 8), 0);
	fake_poweroff(c);
}

static void busy_pages(void **state)
{
	(void)state;
	once(in_place, busy_guest);
	once(explicit, busy_guest);
}

/* A device at work on a page that the guest takes back: the page waits for it, but not for ever. */
static struct {
	struct gmem_pin pin;
	_Atomic bool cancelled, released;
	bool stuck;
} dev;

static void dev_cancel(struct gmem_pin *pin)
{
	(void)pin;
	dev.cancelled = true;
}

static void *device(void *arg)
{
	(void)arg;
	for (int i = 0; i < 3000 && !dev.cancelled; i++)
		usleep(1000);
	usleep(20000);
	dev.released = true;
	gmem_unpin(&rig.m.gm, &dev.pin);
	return NULL;
}

static void pinned(struct fake_cpu *c, void *ctx)
{
	pthread_t t;
	void *p;

	(void)ctx;
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
	gmem_enter(&rig.m.gm);
	fake_expect_eq(gmem_pin(&rig.m.gm, &dev.pin, PAGE, SZ_4K, &p), 0);
	gmem_leave(&rig.m.gm);
	if (!dev.stuck)
		fake_expect_eq(pthread_create(&t, NULL, device, NULL), 0);
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_RAM);
	fake_expect(dev.cancelled && dev.released != dev.stuck);
	if (!dev.stuck)
		pthread_join(t, NULL);
	fake_expect_eq(fake_read(c, PAGE, 8), 0);
	fake_poweroff(c);
}

static void test_pinned(void **state)
{
	static const struct {
		unsigned int kernel;
		bool stuck;
	} cases[] = { { 5, false }, { 10, false }, { 5, true }, { 10, true } };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct kernel *k = &kernels[cases[i].kernel];

		memset(&dev, 0, sizeof(dev));
		dev.pin.cancel = dev_cancel;
		dev.stuck = cases[i].stuck;
		begin(k, pinned);
		create();
		hear();
		/* in place there is but one page: it cannot be the device's and the guest's */
		if (dev.stuck && is_in_place(k)) {
			assert_int_equal(rig_run(&rig), END_FAILED);
			assert_non_null(strstr(rig.m.failure.msg, "still in use by device I/O"));
		} else {
			run();
		}
		assert_int_equal(strstr(heard(), "did not end within") != NULL,
				 dev.stuck && !is_in_place(k));
		if (dev.stuck)
			gmem_unpin(&rig.m.gm, &dev.pin);
		finish();
	}
}

/* A device that holds on to a pointer when its page turns private. */
static void stale_guest(struct fake_cpu *c, void *ctx)
{
	struct a64_mem_attr2 a = {
		.offset = PAGE - RAM, .size = SZ_4K, .attributes = A64_MEM_ATTR_PRIVATE,
	};
	sigset_t bus;
	void *p;

	(void)ctx;
	sigemptyset(&bus);		/* a guest's thread takes no signals */
	sigaddset(&bus, SIGBUS);
	pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
	fake_write(c, PAGE | SHARED, PATTERN, 8);
	gmem_enter(&rig.m.gm);
	fake_expect_eq(gmem_map(&rig.m.gm, PAGE, 8, &p), 0);
	fake_expect_eq(*(volatile uint64_t *)p, PATTERN);
	fake_expect_eq(fake_sys.ioctl(rig.m.realm.gmem_fd, A64_SET_MEM_ATTR2, (uintptr_t)&a), 0);
	*(volatile uint64_t *)p = ~PATTERN;
	fake_expect_eq((uint64_t)gmem_check(&rig.m.gm, PAGE, 8), (uint64_t)-EIO);
	gmem_leave(&rig.m.gm);
	fake_poweroff(c);
}

static void stale_pointer(void **state)
{
	(void)state;
	begin(in_place, stale_guest);
	create();
	capture_begin();
	run();
	capture_end();
	finish();
}

/* ---- faults that are no request -------------------------------------------------------------- */

static void faults(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	/* both styles of KVM_RUN; idempotent; with an alias, an odd address, no size, far away */
	for (int err = 0; err <= EFAULT; err += EFAULT) {
		convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
		fake_write(c, PAGE | SHARED, PATTERN, 8);
		fake_fault(c, 0, PAGE, SZ_4K, err);
		fake_expect_eq(fake_read(c, PAGE | SHARED, 8), PATTERN);
		fake_fault(c, 0, PAGE | SHARED, SZ_4K, err);
		fake_fault(c, 0, PAGE, 0, err);
		fake_expect_eq(fake_read(c, PAGE | SHARED, 8), PATTERN);
		fake_fault(c, 8, PAGE | SHARED, SZ_4K, err);
		door(PAGE, -EACCES);
		fake_fault(c, 0, PAGE, SZ_4K, err);
		door(PAGE, 0);
		fake_fault(c, 8, RAM_END, SZ_4K, err);
		fake_fault(c, 8, UART, SZ_4K, err);
		fake_fault(c, 0, ~UINT64_C(0) & ~UINT64_C(0xfff), SZ_1G, err);
		fake_fault(c, 8, SHARED - SZ_4K, ~UINT64_C(0), err);
		fake_write(c, PAGE + SZ_4K, PATTERN, 8);
		fake_fault(c, 8, PAGE + SZ_4K, SZ_4K, err);
		fake_expect_eq(fake_read(c, PAGE + SZ_4K, 8), PATTERN);
	}
	fake_poweroff(c);
}

static void test_faults(void **state)
{
	(void)state;
	FOR_EACH(k)
		once(k, faults);
}

/* The host has no page for the guest: the same fault for ever. */
static void starved(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	for (;;)
		fake_fault(c, 0, PAGE, SZ_4K, EFAULT);
}

static void no_memory(void **state)
{
	(void)state;
	begin(v14, starved);
	create();
	assert_int_equal(rig_run(&rig), END_FAILED);
	assert_non_null(strstr(rig.m.failure.msg, "again and again"));
	finish();
}

/* ---- devices --------------------------------------------------------------------------------- */

static void accesses(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_expect_eq(fake_read(c, (UART + 5) | SHARED, 1), 0x60);
	fake_expect(!fake_aborted(c));
	/* without the shared bit the RMM does not let it out */
	fake_expect(aborts(c, UART));
	/* in the shared half, but no device */
	fake_expect(aborts(c, 0x00800000 | SHARED));
	fake_write(c, 0x00800000 | SHARED, 1, 4);
	fake_expect(fake_aborted(c));
	/* without a syndrome */
	fake_ldp(c, UART | SHARED);
	fake_expect(fake_aborted(c));
	/* the GIC is in the kernel, at its plain address */
	fake_read(c, rig.m.gic.dist | SHARED, 4);
	fake_expect(!fake_aborted(c));
	/* a kick does not leave the kernel */
	fake_expect_eq(fake_read(c, MAP_VIRTIO_BASE | SHARED, 4), 0x74726976);
	fake_write(c, (MAP_VIRTIO_BASE + 0x50) | SHARED, 0, 4);
	fake_write(c, (UART + 1) | SHARED, 2, 1);
	fake_expect_eq((uint64_t)fake_irq_level(MAP_UART_SPI), 1);
	fake_poweroff(c);
}

static void test_accesses(void **state)
{
	(void)state;
	FOR_EACH(k) {
		begin(k, accesses);
		rig.cfg.rng = true;
		rig.cfg.transport = TRANSPORT_MMIO;
		create();
		assert_int_equal(rig.m.gic.dist, MAP_GICD_BASE);
		run();
		finish();
	}
}

/* Flash is read by exits: a realm has no read-only memory. */
static void flash_guest(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_expect(!fake_slot_at(MAP_FLASH_BASE));
	fake_expect_eq(fake_read(c, (MAP_FLASH_BASE + SZ_64K) | SHARED, 8), PATTERN);
	fake_write(c, MAP_FLASH_BASE | SHARED, 0x00900090, 4);		/* read identifier */
	fake_expect_eq(fake_read(c, MAP_FLASH_BASE | SHARED, 4), 0x00890089);
	fake_write(c, MAP_FLASH_BASE | SHARED, 0x00ff00ff, 4);		/* read array */
	fake_expect_eq(fake_read(c, (MAP_FLASH_BASE + SZ_64K) | SHARED, 4), (uint32_t)PATTERN);
	fake_poweroff(c);
}

static void test_flash(void **state)
{
	uint64_t pattern = PATTERN;
	int fd = memfd_create("flash", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(fd, SZ_1M), 0);
	assert_int_equal(pwrite(fd, &pattern, sizeof(pattern), SZ_64K), sizeof(pattern));
	for (unsigned int i = 0; i < 2; i++) {
		begin(i ? in_place : v14, flash_guest);
		rig.env.flash_fd = fd;
		create();
		run();
		finish();
	}
	close(fd);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void calls(struct fake_cpu *c, void *ctx)
{
	uint64_t x[18], rim[8] = { 0 };

	(void)ctx;
	fake_rim((uint8_t *)rim);
	fake_expect_eq(rsi(c, x, RSI_MEASUREMENT_READ, 0, 0, 0), RSI_SUCCESS);
	fake_expect(!memcmp(&x[1], rim, sizeof(rim)));
	/* a host call that nobody knows */
	fake_write(c, PAGE + 8, 0x8600ff01, 8);
	fake_expect_eq(rsi(c, x, RSI_HOST_CALL, PAGE, 0, 0), RSI_SUCCESS);
	fake_expect_eq(fake_read(c, PAGE + 8, 8), ~UINT64_C(0));
	fake_expect_eq(fake_call(c, 0x84000000, 0, 0, 0), 0x10001);	/* PSCI is the RMM's */
	fake_expect_eq(fake_call(c, 0x8600ff01, 0, 0, 0), ~UINT64_C(0));
	fake_poweroff(c);
}

static void test_calls(void **state)
{
	(void)state;
	FOR_EACH(k)
		once(k, calls);
}

/* ---- power ----------------------------------------------------------------------------------- */

#define CPUS 4
static _Atomic unsigned int runs[CPUS];

static void secondary(struct fake_cpu *c, void *ctx)
{
	unsigned int id = fake_id(c);

	(void)ctx;
	fake_expect_eq(fake_reg(c, A64_PC), KERNEL + SZ_4K);
	fake_expect_eq(fake_reg(c, A64_X(0)), 100 * id + runs[id]);
	convert(c, PAGE + id * SZ_1M, PAGE + id * SZ_1M + SZ_4K, RIPAS_EMPTY);
	fake_write(c, (PAGE + id * SZ_1M) | SHARED, PATTERN, 8);
	convert(c, PAGE + id * SZ_1M, PAGE + id * SZ_1M + SZ_4K, RIPAS_RAM);
	runs[id]++;
	fake_call(c, FAKE_PSCI_CPU_OFF, 0, 0, 0);
	fake_complain("a vCPU that is off goes on");
}

/* Without a rest this vCPU would keep the model to itself on a machine that is busy. */
static void wait_a_bit(struct fake_cpu *c)
{
	fake_read(c, PAGE, 8);
	usleep(100);
}

static void boot_cpu(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_expect_eq(fake_call(c, FAKE_PSCI_CPU_ON, 0, KERNEL, 0), (uint64_t)-4);
	fake_expect_eq(fake_call(c, FAKE_PSCI_CPU_ON, CPUS, KERNEL, 0), (uint64_t)-2);
	fake_expect_eq(fake_call(c, 0xc4000004, 1, 0, 0), 1);		/* AFFINITY_INFO: off */
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 1; i < CPUS; i++) {
			uint64_t ret;

			/* ALREADY_ON until its CPU_OFF is through */
			while ((ret = fake_call(c, FAKE_PSCI_CPU_ON, i, KERNEL + SZ_4K,
						100 * i + round)) == (uint64_t)-4)
				wait_a_bit(c);
			fake_expect_eq(ret, 0);
		}
		for (unsigned int i = 1; i < CPUS; i++)
			while (runs[i] != round + 1)
				wait_a_bit(c);
	}
	fake_poweroff(c);
}

static void power(void **state)
{
	(void)state;
	FOR_EACH(k) {
		for (int user = 0; user < 2; user++) {
			for (unsigned int i = 0; i < CPUS; i++)
				runs[i] = 0;
			begin(k, boot_cpu);
			for (unsigned int i = 1; i < CPUS; i++)
				fake_set_guest(i, secondary, NULL);
			rig.cfg.cpus = CPUS;
			rig.cfg.rmi_psci_user = user;
			create();
			check_rim();		/* the number of vCPUs is not in it */
			run();
			for (unsigned int i = 1; i < CPUS; i++)
				assert_int_equal(runs[i], 3);
			finish();
		}
	}
}

static void reset(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_system_reset(c);
}

static void test_reset(void **state)
{
	(void)state;
	FOR_EACH(k) {
		for (int user = 0; user < 2; user++) {
			begin(k, reset);
			rig.cfg.rmi_psci_user = user;
			create();
			assert_int_equal(rig_run(&rig), END_RESET);
			finish();
		}
	}
}

/* ---- ends ------------------------------------------------------------------------------------ */

static struct bad {
	int err;
	unsigned int reason;
	uint64_t data[3];
	enum machine_end end;
	const char *text;
} bad;

static void dies(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	if (bad.err == EAGAIN || bad.err == EINTR) {
		for (int i = 0; i < 5; i++)
			fake_error(c, bad.err);
		fake_poweroff(c);
	}
	for (;;) {
		if (bad.err)
			fake_error(c, bad.err);
		else
			fake_exit(c, bad.reason, bad.data, 3);
	}
}

static void exits(void **state)
{
	static const struct bad cases[] = {
		{ EIO, 0, { 0 }, END_FAILED, "dead" },
		{ EFAULT, 0, { 0 }, END_FAILED, "shared memory" },
		{ ENXIO, 0, { 0 }, END_FAILED, "initial image" },
		{ EINVAL, 0, { 0 }, END_FAILED, "again and again" },
		{ ENODEV, 0, { 0 }, END_FAILED, "GIC" },
		{ EAGAIN, 0, { 0 }, END_POWEROFF, NULL },
		{ EINTR, 0, { 0 }, END_POWEROFF, NULL },
		{ 0, KVM_EXIT_FAIL_ENTRY, { 0xbad }, END_FAILED, "RMM" },
		{ 0, KVM_EXIT_INTERNAL_ERROR, { 3 }, END_FAILED, "RMM" },
		{ 0, 44, { 0 }, END_FAILED, "trusted device" },
		{ 0, KVM_EXIT_DEBUG, { 0 }, END_FAILED, "unhandled exit 4" },
		{ 0, 4000, { 0 }, END_FAILED, "unhandled exit 4000" },
		{ 0, KVM_EXIT_SHUTDOWN, { 0 }, END_POWEROFF, NULL },
		{ 0, KVM_EXIT_SYSTEM_EVENT, { KVM_SYSTEM_EVENT_SHUTDOWN }, END_POWEROFF, NULL },
		{ 0, KVM_EXIT_SYSTEM_EVENT, { KVM_SYSTEM_EVENT_RESET }, END_RESET, NULL },
		{ 0, KVM_EXIT_SYSTEM_EVENT, { KVM_SYSTEM_EVENT_CRASH }, END_FAILED, "crash" },
	};

	(void)state;
	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		int end;

		bad = cases[i / 2];
		begin(i % 2 ? in_place : v14, dies);
		create();
		capture_begin();
		end = rig_run(&rig);
		capture_end();
		if (end != (int)bad.end || (bad.text && !strstr(rig.m.failure.msg, bad.text)))
			fail_msg("case %u: end %d, \"%s\"", i / 2, end, rig.m.failure.msg);
		finish();
	}
}

/* The VM is marked dead: every call fails, the teardown too has to do without. */
static void killed(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_write(c, PAGE, PATTERN, 8);
	fake_kill_realm();
	fake_read(c, UART | SHARED, 1);
}

static void dead(void **state)
{
	(void)state;
	FOR_EACH(k) {
		begin(k, killed);
		create();
		assert_int_equal(rig_run(&rig), END_FAILED);
		assert_non_null(strstr(rig.m.failure.msg, "dead"));
		finish();
	}
}

static void activation_fails(void **state)
{
	(void)state;
	FOR_EACH(k) {
		begin(k, off);
		fake_rmi.fail_activate = ENOMEM;
		refused("cannot be activated: Cannot allocate memory");
		finish();
	}
}

/* A realm that has touched a lot of memory gives it back piece by piece. */
static void greedy(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	for (ipa_t p = PAGE; p < RAM + SZ_1G; p += 16 * SZ_1M)
		fake_write(c, p, PATTERN, 8);
	convert(c, PAGE, RAM + SZ_1G, RIPAS_EMPTY);
	convert(c, PAGE, RAM + SZ_1G, RIPAS_RAM);
	for (ipa_t p = PAGE; p < RAM + SZ_1G; p += 16 * SZ_1M)
		fake_write(c, p, PATTERN, 8);
	fake_poweroff(c);
}

static void teardown(void **state)
{
	(void)state;
	FOR_EACH(k) {
		begin(k, greedy);
		rig.cfg.mem = SZ_1G;
		create();
		run();
		assert_true(fake_delegated() > 60);
		rig_drop(&rig);
		assert_true(find("punch", true) >= 0);
		finish();
	}
}

/* ---- wishes ---------------------------------------------------------------------------------- */

static void want_sha512(struct vm_config *c) { c->hash = HASH_SHA512; }
static void want_sha384(struct vm_config *c) { c->hash = HASH_SHA384; }
static void want_sve(struct vm_config *c) { c->sve_max_vl = 256; }
static void want_long_sve(struct vm_config *c) { c->sve_max_vl = 512; }
static void want_more(struct vm_config *c) { c->breakpoints = 4; c->watchpoints = 3; }
static void want_too_many(struct vm_config *c) { c->breakpoints = 7; }
static void want_wide(struct vm_config *c) { c->ipa_bits = 43; }

static void want_rpv(struct vm_config *c)
{
	memset(c->rpv, 0x42, sizeof(c->rpv));
	c->rpv_set = true;
}

static void want_pmu(struct vm_config *c)
{
	c->pmu = true;
	c->pmu_counters = fake_host.pmu_counters;
}

static void reads_config(struct fake_cpu *c, void *ctx)
{
	uint64_t x[18];

	(void)ctx;
	fake_expect_eq(rsi(c, x, RSI_REALM_CONFIG, PAGE, 0, 0), RSI_SUCCESS);
	fake_expect_eq(fake_read(c, PAGE + 8, 1), rig.cfg.hash);
	fake_expect_eq(fake_read(c, PAGE + 0x200, 8), rig.cfg.rpv_set ?
		       UINT64_C(0x4242424242424242) : 0);
	fake_poweroff(c);
}

static void wishes(void **state)
{
	enum { A = 1, B = 2, C = 4, D = 8, ALL = 15 };
	static const struct {
		void (*want)(struct vm_config *c);
		unsigned int who;		/* can do it */
		bool bend;			/* the others launch with --best-effort */
		const char *text;		/* of the refusal */
	} cases[] = {
		{ want_sha512, A, true, "v5 to v11" }, { want_sha384, 0, true, "no series" },
		{ want_rpv, A, true, "--realm-pv" }, { want_pmu, A | B, true, "--pmu" },
		{ want_sve, ALL, false, "" }, { want_long_sve, 0, false, "--sve-max-vl 512" },
		{ want_more, ALL, false, "" }, { want_too_many, 0, false, "--breakpoints 7" },
		{ want_wide, 0, false, "--ipa-bits" },
	};

	(void)state;
	FOR_EACH(k) {
		unsigned int me = is_a(k) ? A : *k->name == 'v' ? B : *k->name == 'c' ? C : D;

		for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
			bool can = cases[i].who & me;

			begin(k, can ? reads_config : off);
			cases[i].want(&rig.cfg);
			if (can) {
				create();
				check_rim();
				run();
			} else {
				refused(cases[i].text);
			}
			finish();
			if (can || !cases[i].bend)
				continue;
			begin(k, off);
			cases[i].want(&rig.cfg);
			rig.cfg.best_effort = true;
			hear();
			create();
			assert_non_null(strstr(heard(), "going on without it"));
			run();
			finish();
		}
	}
}

/* A kernel that cannot lower the number of breakpoints: then the guest has the host's. */
static void fixed_breakpoints(void **state)
{
	(void)state;
	begin(v14, off);
	fake_rmi.fixed_breakpoints = true;
	create();
	assert_int_equal(rig.m.realm.breakpoints, 6);
	rig.cfg.breakpoints = 6;		/* what a prediction has to be told */
	check_rim();
	run();
	finish();
	begin(v14, off);
	fake_rmi.fixed_breakpoints = true;
	rig.cfg.breakpoints_set = true;
	refused("give --breakpoints 6");
	finish();
}

/* ---- which host is it? ----------------------------------------------------------------------- */

static void no_realms(void **state)
{
	static const struct fake_gen *const gen[] = {
		&fake_linux_6_1, &fake_linux_7_3, &fake_rmi_plumbing, &fake_rmi_v14_no_rmm,
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(gen); i++) {
		struct kernel k = { gen[i], "none" };

		begin(&k, off);
		refused("this kernel offers no realms");
		assert_non_null(strstr(rig.e.msg, "realmtool check"));
		assert_non_null(strstr(rig.e.msg, "--realm=emulated"));
		finish();
	}
}

/* Two backings on a kernel that serves shared pages from the guest_memfd only. */
static void lost(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
	fake_write(c, PAGE | SHARED, PATTERN, 8);
	fake_complain("shared memory that this kernel cannot have");
}

static void overrides(void **state)
{
	static const struct kernel v11 = { &fake_rmi_v11, "a" },
		wrong = { &fake_rmi_v14, "v13", .want = "v13" },
		backings = { &fake_rmi_kamalca, "d2", .want = "d2" };

	(void)state;
	/* the number is nowhere to be read */
	begin(&v11, off);
	fake_host.kvm_cap_arm_rmi = 0;
	refused("--rmi-cap");
	finish();
	begin(&v11, off);
	fake_host.kvm_cap_arm_rmi = 0;
	rig.cfg.rmi_cap = 262;
	create();
	run();
	finish();
	begin(&v11, off);
	rig.cfg.rmi_cap = 261;
	refused("");
	finish();
	begin(&wrong, off);
	refused("this kernel offers no realms");
	finish();
	begin(&backings, lost);
	create();
	assert_int_equal(rig_run(&rig), END_FAILED);
	assert_non_null(strstr(rig.m.failure.msg, "again and again"));
	finish();
}

static void probe(void **state)
{
	(void)state;
	FOR_EACH(k) {
		struct realm_host_want want = { .generation = k->want };
		struct realm_host host;
		struct kvm kvm;
		bool a = is_a(k), b = *k->name == 'v';

		now = k;
		fake_reset(k->gen);
		if (k->tune)
			k->tune();
		assert_int_equal(kvm_open(&kvm, &fake_sys, NULL, NULL), 0);
		assert_int_equal(realm_host_probe(&kvm, &want, &host, NULL), 0);
		kvm_close(&kvm);
		assert_true(host.realms);
		assert_string_equal(host.generation, k->name);
		assert_int_equal(host.cap, fake_rmi.cap);
		assert_int_equal(host.ipa_bits, 42);
		assert_int_equal(host.sve_vl, 256);
		assert_int_equal(host.breakpoints, 6);
		assert_int_equal(host.watchpoints, 4);
		assert_int_equal(host.rpv, a);
		assert_int_equal(host.pmu, a || b);
		assert_int_equal(host.algos >> REALM_SHA512 & 1, a);
		assert_null(fake_verdict());
	}
}

/* ---- each call fails once -------------------------------------------------------------------- */

/* What a launch can do without: what frees, and probes, which find another way. */
static bool optional(const char *call, bool probing)
{
	return probing || !strcmp(call, "KVM_CHECK_EXTENSION") || !strcmp(call, "munmap") ||
		!strcmp(call, "close") || !strcmp(call, "fallocate");
}

static void fail_each(const struct kernel *k)
{
	unsigned int calls = 0, fds = 0, failed = 0, probes = 0;
	uint64_t space = 0;

	for (unsigned int n = 0; n <= calls; n++) {
		const char *call, *verdict;
		int ret;

		begin(k, NULL);
		rig.cfg.cpus = 2;
		rig.cfg.mem = SZ_1G;
		rig.cfg.rng = true;
		rig.cfg.transport = TRANSPORT_MMIO;	/* has more calls that can fail */
		rig.cfg.sve_max_vl = 256;
		rig.cfg.rmi_psci_user = true;
		fake_fail_nth(n, ENOMEM);
		capture_begin();
		ret = rig_create(&rig);
		capture_end();
		call = fake_failed();
		if (!n) {
			assert_int_equal(ret, 0);
			calls = fake_calls();
			probes = fake_trace(launch_begins())->nr;
			assert_true(calls > probes + 50);
		} else if (ret) {
			/* one line, with more than the reason */
			if (ret != rig.e.code || ret > 0 || strlen(rig.e.msg) < 20 ||
			    strchr(rig.e.msg, '\n'))
				fail_msg("%s: call %u (%s): %d \"%s\"", k->gen->name, n, call, ret,
					 rig.e.msg);
			failed++;
		} else if (!optional(call, n < probes)) {
			fail_msg("%s: call %u (%s) fails and nobody minds", k->gen->name, n, call);
		}
		in_use = false;
		rig_fini(&rig);
		verdict = fake_verdict();
		if (verdict)
			fail_msg("%s: call %u (%s): %s", k->gen->name, n, call, verdict);
		if (!n) {
			fds = open_fds();
			space = address_space();
		} else {
			assert_int_equal(open_fds(), fds);
		}
	}
	/* RAM is 1 GiB: one that was not unmapped shows */
	assert_true(address_space() < space + SZ_1G / 2);
	assert_true(failed > calls / 3);
}

static void each_call_fails(void **state)
{
	(void)state;
	fail_each(v8);
	fail_each(v12);
	fail_each(v13);
	fail_each(v14);
	fail_each(v15);
	fail_each(in_place);
	fail_each(explicit);
}

/* ... and each call from the first run to the end of a machine that is in use. */
static void working(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_write(c, UART | SHARED, 'x', 1);
	convert(c, PAGE, PAGE + SZ_1M, RIPAS_EMPTY);
	fake_write(c, PAGE | SHARED, PATTERN, 8);
	convert(c, PAGE, PAGE + SZ_1M, RIPAS_RAM);
	fake_write(c, PAGE, PATTERN, 8);
	aborts(c, 0x00800000 | SHARED);
	fake_call(c, FAKE_PSCI_CPU_ON, 1, KERNEL, 0);
	fake_poweroff(c);
}

static void each_call_of_a_run_fails(void **state)
{
	static const struct kernel *const list[] = {
		&kernels[0], &kernels[4], &kernels[5], &kernels[7], &kernels[10],
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(list); i++) {
		bool hit = true;

		for (unsigned int n = 1; hit; n++) {
			int end;

			begin(list[i], working);
			rig.cfg.cpus = 2;
			rig.cfg.rmi_psci_user = true;
			rig.cfg.ripas_ram = RIPAS_RAM_IMAGE;
			create();
			fake_fail_nth(n, ENOMEM);
			capture_begin();
			end = rig_run(&rig);
			rig_drop(&rig);
			capture_end();
			hit = fake_failed() != NULL;
			if (end != END_POWEROFF && (end != END_FAILED || !rig.m.failure.msg[0]))
				fail_msg("%s: call %u (%s): end %d", now->gen->name, n,
					 fake_failed(), end);
			finish();
			assert_true(n < 200);
		}
	}
}

/* At run time: a conversion that KVM refuses ends the machine, with a reason. */
static void breaks(struct fake_cpu *c, void *ctx)
{
	uint64_t x[18];

	(void)ctx;
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
	fake_fail_ioctl(is_in_place(now) ? A64_SET_MEM_ATTR2 : A64_SET_MEM_ATTR, 1, ENOMEM);
	rsi(c, x, RSI_IPA_STATE_SET, PAGE, PAGE + SZ_4K, RIPAS_RAM);
	fake_complain("a guest goes on although its memory is not private");
}

static void conversion_fails(void **state)
{
	static const struct kernel *const list[] = {
		&kernels[0], &kernels[3], &kernels[5], &kernels[10],
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(list); i++) {
		begin(list[i], breaks);
		create();
		assert_int_equal(rig_run(&rig), END_FAILED);
		assert_non_null(strstr(rig.m.failure.msg, "cannot be made private"));
		finish();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(probe, clean_up),
		cmocka_unit_test_teardown(launch, clean_up),
		cmocka_unit_test_teardown(sequence, clean_up),
		cmocka_unit_test_teardown(partial, clean_up),
		cmocka_unit_test_teardown(no_progress, clean_up),
		cmocka_unit_test_teardown(unmeasured, clean_up),
		cmocka_unit_test_teardown(unreadable, clean_up),
		cmocka_unit_test_teardown(progress_and_stop, clean_up),
		cmocka_unit_test_teardown(ripas_plans, clean_up),
		cmocka_unit_test_teardown(test_conversions, clean_up),
		cmocka_unit_test_teardown(conversion_order, clean_up),
		cmocka_unit_test_teardown(contents_stay, clean_up),
		cmocka_unit_test_teardown(dma_mapped, clean_up),
		cmocka_unit_test_teardown(test_rejected, clean_up),
		cmocka_unit_test_teardown(test_asked_twice, clean_up),
		cmocka_unit_test_teardown(busy_pages, clean_up),
		cmocka_unit_test_teardown(test_pinned, clean_up),
		cmocka_unit_test_teardown(stale_pointer, clean_up),
		cmocka_unit_test_teardown(test_faults, clean_up),
		cmocka_unit_test_teardown(no_memory, clean_up),
		cmocka_unit_test_teardown(test_accesses, clean_up),
		cmocka_unit_test_teardown(test_flash, clean_up),
		cmocka_unit_test_teardown(test_calls, clean_up),
		cmocka_unit_test_teardown(power, clean_up),
		cmocka_unit_test_teardown(test_reset, clean_up),
		cmocka_unit_test_teardown(exits, clean_up),
		cmocka_unit_test_teardown(dead, clean_up),
		cmocka_unit_test_teardown(activation_fails, clean_up),
		cmocka_unit_test_teardown(teardown, clean_up),
		cmocka_unit_test_teardown(wishes, clean_up),
		cmocka_unit_test_teardown(fixed_breakpoints, clean_up),
		cmocka_unit_test_teardown(no_realms, clean_up),
		cmocka_unit_test_teardown(overrides, clean_up),
		cmocka_unit_test_teardown(each_call_fails, clean_up),
		cmocka_unit_test_teardown(each_call_of_a_run_fails, clean_up),
		cmocka_unit_test_teardown(conversion_fails, clean_up),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("rmi", tests, NULL, NULL);
}
