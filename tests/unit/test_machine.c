// SPDX-License-Identifier: BSD-3-Clause
/*
 * A machine on the model of KVM: what a guest sees of it, plain and as an emulated realm, how it
 * ends, and what is left when any of the calls that build it fails.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "realm/rsi.h"
#include "tests/fakekvm/harness.h"
#include "virtio/virtio.h"

#define SHARED	(UINT64_C(1) << 32)	/* 33-bit IPA space */
#define RAM	MAP_RAM_BASE
#define RAM_END	(RAM + RIG_MEM)
#define KERNEL	(RAM + 0x80000)		/* where a flat kernel goes */
#define PAGE	(RAM + 32 * SZ_1M)	/* free memory of the guest */
#define UART	MAP_UART_BASE
#define UART_LSR 5
#define PATTERN	UINT64_C(0x1122334455667788)

static struct rig rig;
static bool in_use;

/* ---- frame of every test --------------------------------------------------------------------- */

static void begin(const struct fake_gen *gen, enum realm_mode mode, fake_guest *fn)
{
	fake_reset(gen);
	rig_init(&rig, mode);
	in_use = true;
	fake_set_guest(0, fn, NULL);
}

static void create(void)
{
	if (rig_create(&rig))
		fail_msg("%s", rig.e.msg);
}

static void finish(void)
{
	in_use = false;
	rig_fini(&rig);
	assert_null(fake_verdict());
}

/* A failed test leaves its machine behind; the next one starts clean. */
static int clean_up(void **state)
{
	(void)state;
	if (!in_use)
		return 0;
	in_use = false;
	capture_end();
	if (rig.made) {
		machine_end(&rig.m, END_LEAVE);
		machine_stop(&rig.m);
	}
	rig_fini(&rig);
	return 0;
}

/* Run the guest; it ends the machine by switching itself off. */
static void run(void)
{
	create();
	assert_int_equal(rig_run(&rig), END_POWEROFF);
}

static void once(const struct fake_gen *gen, enum realm_mode mode, fake_guest *fn)
{
	begin(gen, mode, fn);
	run();
	finish();
}

static uint64_t rsi(struct fake_cpu *c, uint64_t x[18], uint64_t fn, uint64_t a, uint64_t b,
		    uint64_t d)
{
	memset(x, 0, 18 * sizeof(*x));
	x[0] = fn;
	x[1] = a;
	x[2] = b;
	x[3] = d;
	fake_smc(c, x);
	return x[0];
}

static void convert(struct fake_cpu *c, ipa_t base, ipa_t top, enum ripas_state state)
{
	uint64_t x[18];

	fake_expect_eq(rsi(c, x, RSI_IPA_STATE_SET, base, top, state), RSI_SUCCESS);
	fake_expect_eq(x[1], top);
	fake_expect_eq(x[2], RSI_ACCEPT);
}

/* ---- boot ------------------------------------------------------------------------------------ */

static void say(struct fake_cpu *c, const char *text, ipa_t uart)
{
	for (; *text; text++)
		fake_write(c, uart, (unsigned char)*text, 1);
}

static void hello_vm(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_expect_eq(fake_reg(c, A64_PC), KERNEL);
	fake_expect_eq(fake_read(c, fake_reg(c, A64_X(0)), 4), 0xedfe0dd0);	/* FDT magic */
	say(c, "hello", UART);
	fake_poweroff(c);
}

static void plain_boot(void **state)
{
	(void)state;
	begin(&fake_linux_7_3, MODE_PLAIN, hello_vm);
	run();
	assert_string_equal(rig.out, "hello");
	assert_int_equal(fake_slots(), 1);
	assert_false(fake_cap_enabled(A64_CAP_NISV_TO_USER));
	assert_true(atomic_load(&rig.m.first_run_ns) != 0);
	finish();
}

static void hello_realm(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_expect_eq(fake_reg(c, A64_PC), KERNEL);
	fake_expect_eq(fake_read(c, fake_reg(c, A64_X(0)), 4), 0xedfe0dd0);
	say(c, "hello", UART | SHARED);
	fake_poweroff(c);
}

static void check_kernel(ipa_t at, bool there)
{
	uint8_t want[RIG_KERNEL_LEN + 500] = { 0 }, got[RIG_KERNEL_LEN + 500];
	int fd = open(rig.cfg.kernel, O_RDONLY);

	assert_int_equal(read(fd, want, sizeof(want)), RIG_KERNEL_LEN);
	close(fd);
	if (!there)
		memset(want, 0, sizeof(want));
	assert_true(fake_mem(at, got, sizeof(got)));
	assert_memory_equal(got, want, sizeof(want));
}

/* With separate memory the image is on the private side only; else both slots are one memory. */
static void emulated_boot(void **state)
{
	static const struct fake_gen *const gen[] = { &fake_linux_7_3, &fake_linux_6_12 };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(gen); i++) {
		begin(gen[i], MODE_EMULATED, hello_realm);
		create();
		assert_int_equal(rig.m.realm.gmem_fd >= 0, i == 0);
		check_kernel(KERNEL, true);
		check_kernel(KERNEL | SHARED, i == 1);
		assert_int_equal(rig_run(&rig), END_POWEROFF);
		assert_string_equal(rig.out, "hello");
		assert_true(fake_cap_enabled(A64_CAP_NISV_TO_USER));
		finish();
	}
}

/* ---- accesses -------------------------------------------------------------------------------- */

static void plain_accesses(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_expect_eq(fake_read(c, UART + UART_LSR, 1), 0x60);
	/* as lkvm: nothing there reads as zero */
	fake_expect_eq(fake_read(c, 0x00800000, 4), 0);
	fake_expect(!fake_aborted(c));
	fake_write(c, 0x00800000, 1, 4);
	fake_expect(!fake_aborted(c));
	/* the GIC is the kernel's */
	fake_read(c, MAP_GICD_BASE, 4);
	fake_expect(!fake_aborted(c));
	/* interrupt on an empty transmitter */
	fake_write(c, UART + 1, 2, 1);
	fake_expect_eq(fake_irq_level(MAP_UART_SPI), 1);
	fake_write(c, UART + 1, 0, 1);
	fake_expect_eq(fake_irq_level(MAP_UART_SPI), 0);
	fake_poweroff(c);
}

static void test_plain_accesses(void **state)
{
	(void)state;
	once(&fake_linux_7_3, MODE_PLAIN, plain_accesses);
}

static void realm_accesses(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_expect_eq(fake_read(c, (UART + UART_LSR) | SHARED, 1), 0x60);
	fake_expect(!fake_aborted(c));
	/* without the shared bit */
	fake_read(c, UART + UART_LSR, 1);
	fake_expect(fake_aborted(c));
	fake_write(c, UART, 'x', 1);
	fake_expect(fake_aborted(c));
	/* in the shared half, but no device */
	fake_read(c, 0x00800000 | SHARED, 4);
	fake_expect(fake_aborted(c));
	fake_write(c, 0x00800000 | SHARED, 1, 4);
	fake_expect(fake_aborted(c));
	/* an access that touches a device with its first byte only */
	fake_read(c, (UART + 7) | SHARED, 4);
	fake_expect(fake_aborted(c));
	/* without a syndrome, with and without the bit */
	fake_ldp(c, UART | SHARED);
	fake_expect(fake_aborted(c));
	fake_ldp(c, UART);
	fake_expect(fake_aborted(c));
	/* GIC and ITS are at the alias, and only there */
	for (unsigned int i = 0; i < 3; i++) {
		ipa_t at = i == 0 ? rig.m.gic.dist : i == 1 ? rig.m.gic.redist : rig.m.gic.its_base;

		fake_read(c, at | SHARED, 4);
		fake_expect(!fake_aborted(c));
		fake_read(c, at, 4);
		fake_expect(fake_aborted(c));
	}
	/* the next good access is one again */
	fake_expect_eq(fake_read(c, (UART + UART_LSR) | SHARED, 1), 0x60);
	fake_expect(!fake_aborted(c));
	fake_write(c, (UART + 1) | SHARED, 2, 1);
	fake_expect_eq(fake_irq_level(MAP_UART_SPI), 1);
	fake_poweroff(c);
}

static void test_realm_accesses(void **state)
{
	(void)state;
	once(&fake_linux_7_3, MODE_EMULATED, realm_accesses);
	once(&fake_linux_6_12, MODE_EMULATED, realm_accesses);
}

static void plain_ldp(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_ldp(c, UART);
}

static void plain_nisv(void **state)
{
	(void)state;
	begin(&fake_linux_7_3, MODE_PLAIN, plain_ldp);
	create();
	capture_begin();
	assert_int_equal(rig_run(&rig), END_FAILED);
	assert_non_null(strstr(capture_end(), " pc="));
	assert_non_null(strstr(rig.m.failure.msg, "cannot emulate"));
	finish();
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void hvc_at(struct fake_cpu *c, uint64_t pstate, uint64_t vector)
{
	uint64_t x[18] = { 0xc4000190, 0x10000, 77 };

	fake_set_reg(c, A64_VBAR_EL1, 0xffff000010080000);
	fake_set_reg(c, A64_PC, 0xffff000010123450);
	fake_set_reg(c, A64_PSTATE, pstate);
	fake_hvc(c, x);
	fake_expect_eq(fake_reg(c, A64_PC), 0xffff000010080000 + vector);
	fake_expect_eq(fake_reg(c, A64_ELR_EL1), 0xffff000010123450);
	fake_expect_eq(fake_reg(c, A64_ESR_EL1), UINT64_C(1) << 25);
	fake_expect_eq(fake_reg(c, A64_SPSR_EL1), pstate);
	fake_expect_eq(fake_reg(c, A64_PSTATE), 0x3c5);
	/* it was no call: the registers are as before */
	fake_expect_eq(x[0], 0xc4000190);
	fake_expect_eq(x[1], 0x10000);
	fake_expect_eq(x[2], 77);
}

static void realm_calls(struct fake_cpu *c, void *ctx)
{
	static const uint32_t unknown[] = {
		0xc40001be, 0x8600ff01, 0xc5000020, 0x84000050, 0x00000001, 0xc6000000,
	};
	uint64_t x[18];

	(void)ctx;
	hvc_at(c, 0x3c5, 0x200);	/* EL1h */
	hvc_at(c, 0x3c4, 0);		/* EL1t */
	hvc_at(c, 0x000, 0x400);	/* EL0 */
	for (unsigned int i = 0; i < ARRAY_SIZE(unknown); i++) {
		memset(x, 0x77, sizeof(x));
		x[0] = unknown[i];
		fake_smc(c, x);
		fake_expect_eq(x[0], ~UINT64_C(0));
		fake_expect_eq(x[1], 0);
		fake_expect_eq(x[2], 0);
		fake_expect_eq(x[3], 0);
		for (unsigned int n = 4; n < ARRAY_SIZE(x); n++)
			fake_expect_eq(x[n], UINT64_C(0x7777777777777777));
	}
	fake_expect_eq(fake_call(c, 0x80000000, 0, 0, 0), 0x10001);
	fake_expect_eq(rsi(c, x, RSI_VERSION, 0x10000, 0, 0), RSI_SUCCESS);
	fake_expect_eq(x[2], 0x10001);
	/* the session's measurement, once */
	fake_expect_eq(rsi(c, x, RSI_MEASUREMENT_READ, 0, 0, 0), RSI_SUCCESS);
	fake_expect_eq(x[1], UINT64_C(0x5a5a5a5a5a5a5a5a));
	fake_expect_eq(rsi(c, x, RSI_REALM_CONFIG, PAGE, 0, 0), RSI_SUCCESS);
	fake_expect_eq(fake_read(c, PAGE, 8), 33);
	fake_expect_eq(fake_read(c, PAGE + 0x200, 8), UINT64_C(0x4242424242424242));
	fake_poweroff(c);
}

static void test_realm_calls(void **state)
{
	static const struct fake_gen *const gen[] = { &fake_linux_7_3, &fake_linux_6_12 };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(gen); i++) {
		begin(gen[i], MODE_EMULATED, realm_calls);
		memset(rig.cfg.rpv, 0x42, sizeof(rig.cfg.rpv));
		run();
		finish();
	}
}

static void plain_calls(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	/* no monitor here */
	fake_expect_eq(fake_call(c, RSI_VERSION, 0x10000, 0, 0), ~UINT64_C(0));
	fake_expect_eq(fake_count(KVM_RUN), 1);
	fake_poweroff(c);
}

static void test_plain_calls(void **state)
{
	(void)state;
	once(&fake_linux_7_3, MODE_PLAIN, plain_calls);
}

/* ---- power ----------------------------------------------------------------------------------- */

static _Atomic unsigned int second_runs;

static void second(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_expect_eq(fake_reg(c, A64_PC), RAM + 0x1000);
	fake_expect_eq(fake_reg(c, A64_X(0)), 40 + second_runs);
	second_runs++;
	fake_call(c, FAKE_PSCI_CPU_OFF, 0, 0, 0);
	fake_complain("a vCPU that is off goes on");
}

static void first(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_expect_eq(fake_call(c, FAKE_PSCI_CPU_ON, 0, RAM, 0), (uint64_t)-4);
	fake_expect_eq(fake_call(c, FAKE_PSCI_CPU_ON, 5, RAM, 0), (uint64_t)-2);
	for (unsigned int i = 0; i < 3; i++) {
		uint64_t ret;

		/* ALREADY_ON until its CPU_OFF is through */
		do
			ret = fake_call(c, FAKE_PSCI_CPU_ON, 1, RAM + 0x1000, 40 + i);
		while (ret == (uint64_t)-4);
		fake_expect_eq(ret, 0);
		while (second_runs != i + 1)
			fake_read(c, PAGE, 8);
	}
	fake_poweroff(c);
}

static void power(void **state)
{
	(void)state;
	for (enum realm_mode mode = MODE_PLAIN; mode <= MODE_EMULATED; mode++) {
		second_runs = 0;
		begin(&fake_linux_7_3, mode, first);
		fake_set_guest(1, second, NULL);
		rig.cfg.cpus = 2;
		run();
		assert_int_equal(second_runs, 3);
		finish();
	}
}

/* ---- conversions ----------------------------------------------------------------------------- */

static uint64_t door(ipa_t ipa, int want)
{
	uint64_t v = 0;
	int ret = gmem_read(&rig.m.gm, ipa, &v, sizeof(v));

	fake_expect_eq((uint64_t)ret, (uint64_t)want);
	return v;
}

static void conversions(struct fake_cpu *c, void *ctx)
{
	bool separate = rig.m.realm.gmem_fd >= 0;

	(void)ctx;
	/* private: no device may look, whichever address it is given */
	fake_write(c, PAGE, PATTERN, 8);
	door(PAGE, -EACCES);
	door(PAGE | SHARED, -EACCES);
	if (separate)
		fake_expect_eq(fake_read(c, PAGE | SHARED, 8), 0);

	/* RAM -> RAM keeps the contents */
	convert(c, PAGE - SZ_4K, PAGE + SZ_4K, RIPAS_RAM);
	fake_expect_eq(fake_read(c, PAGE, 8), PATTERN);
	fake_expect_eq(rig.m.realm.stat.to_private, 0);

	/* RAM -> EMPTY: contents are lost, devices reach the page, its neighbours stay private */
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
	fake_expect_eq(fake_read(c, PAGE, 8), 0);
	fake_expect_eq(fake_read(c, PAGE | SHARED, 8), 0);
	fake_write(c, PAGE | SHARED, ~PATTERN, 8);
	fake_expect_eq(door(PAGE, 0), ~PATTERN);
	fake_expect_eq(door(PAGE | SHARED, 0), ~PATTERN);
	fake_expect_eq(fake_read(c, PAGE, 8), separate ? 0 : ~PATTERN);
	door(PAGE + SZ_4K - 4, -EACCES);	/* into the next page */
	door(PAGE - 8, -EACCES);
	fake_expect_eq(rig.m.realm.stat.to_shared, 1);
	fake_expect_eq(rig.m.realm.stat.bytes_shared, SZ_4K);

	/* EMPTY -> EMPTY keeps what is shared; only the second page changes */
	convert(c, PAGE, PAGE + 2 * SZ_4K, RIPAS_EMPTY);
	fake_expect_eq(fake_read(c, PAGE | SHARED, 8), ~PATTERN);
	fake_expect_eq(rig.m.realm.stat.bytes_shared, 2 * SZ_4K);

	/* EMPTY -> RAM: lost on both sides */
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_RAM);
	fake_expect_eq(fake_read(c, PAGE, 8), 0);
	door(PAGE, -EACCES);
	fake_expect_eq(fake_read(c, PAGE | SHARED, 8), 0);
	fake_expect_eq(rig.m.realm.stat.to_private, 1);
	fake_expect_eq(rig.m.realm.stat.bytes_private, SZ_4K);

	/* all of it, back and forth, with a hole that is in the wanted state */
	convert(c, RAM + SZ_2M, RAM_END, RIPAS_EMPTY);
	convert(c, PAGE, PAGE + SZ_1M, RIPAS_RAM);
	fake_write(c, PAGE + SZ_4K, PATTERN, 8);
	convert(c, RAM + SZ_2M, RAM_END, RIPAS_RAM);
	fake_expect_eq(fake_read(c, PAGE + SZ_4K, 8), PATTERN);
	fake_expect_eq(rig.m.realm.stat.bytes_private - SZ_4K + SZ_4K,
		       rig.m.realm.stat.bytes_shared);
	fake_expect_eq(fake_slots(), 2);	/* nothing is cut */
	fake_poweroff(c);
}

static void test_conversions(void **state)
{
	(void)state;
	once(&fake_linux_7_3, MODE_EMULATED, conversions);
	once(&fake_linux_6_12, MODE_EMULATED, conversions);
}

static void beyond(struct fake_cpu *c, void *ctx)
{
	uint64_t x[18];

	(void)ctx;
	/* over the end of RAM: EMPTY is granted to the end of the protected half */
	fake_expect_eq(rsi(c, x, RSI_IPA_STATE_SET, RAM_END - SZ_4K, SHARED, RIPAS_EMPTY), 0);
	fake_expect_eq(x[1], SHARED);
	fake_expect_eq(x[2], RSI_ACCEPT);
	/* RAM only as far as there is memory; then it is refused */
	fake_expect_eq(rsi(c, x, RSI_IPA_STATE_SET, RAM_END - SZ_4K, SHARED, RIPAS_RAM), 0);
	fake_expect_eq(x[1], RAM_END);
	fake_expect_eq(x[2], RSI_ACCEPT);
	fake_expect_eq(rsi(c, x, RSI_IPA_STATE_SET, RAM_END, SHARED, RIPAS_RAM), 0);
	fake_expect_eq(x[1], RAM_END);
	fake_expect_eq(x[2], RSI_REJECT);
	/* a device's page stays EMPTY */
	fake_expect_eq(rsi(c, x, RSI_IPA_STATE_SET, UART, UART + SZ_4K, RIPAS_RAM), 0);
	fake_expect_eq(x[1], UART);
	fake_expect_eq(x[2], RSI_REJECT);
	fake_expect_eq(rsi(c, x, RSI_IPA_STATE_GET, 0, SHARED, 0), 0);
	fake_expect_eq(x[1], RAM);
	fake_expect_eq(x[2], RIPAS_EMPTY);
	fake_poweroff(c);
}

static void test_beyond(void **state)
{
	(void)state;
	once(&fake_linux_7_3, MODE_EMULATED, beyond);
}

/* Another vCPU that is in the guest all the time. */
static void runner(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	for (;;)
		fake_read(c, RAM, 8);
}

static void strict(struct fake_cpu *c, void *ctx)
{
	unsigned int before;

	(void)ctx;
	fake_expect_eq(fake_call(c, FAKE_PSCI_CPU_ON, 1, RAM, 0), 0);
	fake_expect_eq(fake_slots(), 2);
	fake_write(c, PAGE + SZ_4K, PATTERN, 8);
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
	fake_expect_eq(fake_slots(), 3);
	fake_expect(!fake_slot_at(PAGE));
	fake_expect(fake_slot_at(PAGE | SHARED));
	/* now an access is what it is on CCA */
	fake_read(c, PAGE, 8);
	fake_expect(fake_aborted(c));
	fake_write(c, PAGE + SZ_4K - 8, 1, 8);
	fake_expect(fake_aborted(c));
	/* the neighbours keep their contents through the change of their slot */
	fake_expect_eq(fake_read(c, PAGE + SZ_4K, 8), PATTERN);
	fake_expect(!fake_aborted(c));
	/* cut again: nothing to do */
	before = fake_count(KVM_SET_USER_MEMORY_REGION2) + fake_count(KVM_SET_USER_MEMORY_REGION);
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
	fake_expect_eq(fake_count(KVM_SET_USER_MEMORY_REGION2) +
		       fake_count(KVM_SET_USER_MEMORY_REGION), before);
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_RAM);
	fake_expect_eq(fake_slots(), 2);	/* joined */
	fake_expect_eq(fake_read(c, PAGE, 8), 0);
	fake_expect(!fake_aborted(c));
	fake_expect_eq(fake_read(c, PAGE + SZ_4K, 8), PATTERN);
	/* many pieces */
	for (unsigned int i = 0; i < 20; i++)
		convert(c, PAGE + 2 * i * SZ_4K, PAGE + (2 * i + 1) * SZ_4K, RIPAS_EMPTY);
	fake_expect_eq(fake_slots(), 22);
	convert(c, PAGE, PAGE + 64 * SZ_4K, RIPAS_RAM);
	fake_expect_eq(fake_slots(), 2);
	fake_expect_eq(fake_slot_races(), 0);
	fake_poweroff(c);
}

static void test_strict(void **state)
{
	static const struct fake_gen *const gen[] = { &fake_linux_7_3, &fake_linux_6_12 };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(gen); i++) {
		begin(gen[i], MODE_EMULATED, strict);
		fake_set_guest(1, runner, NULL);
		rig.cfg.cpus = 2;
		rig.cfg.emulated_strict = true;
		run();
		finish();
	}
}

/*
 * More pieces than there are memslots for: refused, and what was mapped stays mapped. The limit is
 * LOWER_SLOTS_MAX of realm/emulated.c.
 */
static void fragments(struct fake_cpu *c, void *ctx)
{
	ipa_t base = RAM + 4 * SZ_1M;
	unsigned int n = 0;
	uint64_t x[18];

	(void)ctx;
	fake_write(c, RAM_END - SZ_4K, PATTERN, 8);
	do {
		ipa_t at = base + 2 * n * SZ_4K;

		fake_expect_eq(rsi(c, x, RSI_IPA_STATE_SET, at, at + SZ_4K, RIPAS_EMPTY), 0);
	} while (x[2] == RSI_ACCEPT && ++n < 5000);
	fake_expect_eq(n, 4095);
	fake_expect_eq(x[1], base + 2 * n * SZ_4K);
	fake_expect_eq(fake_slots(), 4096 + 1);
	/* the page that was refused, and all behind it, are as before */
	fake_write(c, base + 2 * n * SZ_4K, 1, 8);
	fake_expect(!fake_aborted(c));
	fake_expect_eq(fake_read(c, RAM_END - SZ_4K, 8), PATTERN);
	fake_expect(!fake_aborted(c));
	convert(c, base, RAM_END, RIPAS_RAM);
	fake_expect_eq(fake_slots(), 2);
	fake_expect_eq(fake_read(c, RAM_END - SZ_4K, 8), PATTERN);
	fake_poweroff(c);
}

static void test_fragments(void **state)
{
	(void)state;
	begin(&fake_linux_7_3, MODE_EMULATED, fragments);
	rig.cfg.emulated_strict = true;
	create();
	capture_begin();
	assert_int_equal(rig_run(&rig), END_POWEROFF);
	assert_non_null(strstr(capture_end(), "no more than 4096 stretches of private memory"));
	finish();
}

/* A memslot that KVM refuses: part of the private memory is gone, so the machine ends. */
static void strict_failure(struct fake_cpu *c, void *ctx)
{
	uint64_t x[18];

	(void)ctx;
	fake_fail_ioctl(KVM_SET_USER_MEMORY_REGION, 1, ENOMEM);
	rsi(c, x, RSI_IPA_STATE_SET, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
	fake_poweroff(c);
}

static void test_strict_failure(void **state)
{
	(void)state;
	begin(&fake_linux_6_12, MODE_EMULATED, strict_failure);
	rig.cfg.emulated_strict = true;
	create();
	assert_int_equal(rig_run(&rig), END_FAILED);
	assert_non_null(strstr(rig.m.failure.msg, "KVM refused a memory slot"));
	finish();
}

/* ---- a device at work ------------------------------------------------------------------------ */

static struct {
	struct gmem_pin pin;
	_Atomic bool cancelled, released, release_now;
} io;

static void io_cancel(struct gmem_pin *pin)
{
	(void)pin;
	atomic_store(&io.cancelled, true);
}

static void pin_page(void)
{
	void *p;

	memset(&io, 0, sizeof(io));
	io.pin.cancel = io_cancel;
	gmem_enter(&rig.m.gm);
	fake_expect_eq(gmem_pin(&rig.m.gm, &io.pin, PAGE, SZ_4K, &p), 0);
	gmem_leave(&rig.m.gm);
}

static void *device(void *arg)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	(void)arg;
	for (int i = 0; i < 3000 && !atomic_load(&io.cancelled); i++)
		nanosleep(&ms, NULL);
	for (int i = 0; i < 20; i++)
		nanosleep(&ms, NULL);
	atomic_store(&io.released, true);
	gmem_unpin(&rig.m.gm, &io.pin);
	return NULL;
}

static void pinned(struct fake_cpu *c, void *ctx)
{
	pthread_t t;

	(void)ctx;
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY);
	pin_page();
	/* a conversion elsewhere does not wait for it */
	convert(c, PAGE + SZ_1M, PAGE + SZ_1M + SZ_4K, RIPAS_EMPTY);
	convert(c, PAGE + SZ_1M, PAGE + SZ_1M + SZ_4K, RIPAS_RAM);
	fake_expect(!io.cancelled);
	fake_expect_eq(pthread_create(&t, NULL, device, NULL), 0);
	convert(c, PAGE, PAGE + SZ_4K, RIPAS_RAM);
	fake_expect(io.cancelled);
	fake_expect(io.released);	/* the answer came after the device had let go */
	pthread_join(t, NULL);
	fake_poweroff(c);
}

static void test_pinned(void **state)
{
	(void)state;
	once(&fake_linux_7_3, MODE_EMULATED, pinned);
}

/* A device that never lets go: the page stays shared. Takes as long as realmtool waits (5 s). */
static void stuck(struct fake_cpu *c, void *ctx)
{
	uint64_t x[18];

	(void)ctx;
	convert(c, PAGE, PAGE + 2 * SZ_4K, RIPAS_EMPTY);
	fake_write(c, PAGE | SHARED, PATTERN, 8);
	pin_page();
	fake_expect_eq(rsi(c, x, RSI_IPA_STATE_SET, PAGE, PAGE + 2 * SZ_4K, RIPAS_RAM), 0);
	fake_expect_eq(x[1], PAGE);
	fake_expect_eq(x[2], RSI_REJECT);
	fake_expect(io.cancelled);
	fake_expect_eq(door(PAGE, 0), PATTERN);
	gmem_unpin(&rig.m.gm, &io.pin);
	convert(c, PAGE, PAGE + 2 * SZ_4K, RIPAS_RAM);
	fake_poweroff(c);
}

static void test_stuck(void **state)
{
	(void)state;
	begin(&fake_linux_7_3, MODE_EMULATED, stuck);
	create();
	capture_begin();
	assert_int_equal(rig_run(&rig), END_POWEROFF);
	assert_non_null(strstr(capture_end(), "did not end within"));
	finish();
}

/* ---- in and out of the guest ----------------------------------------------------------------- */

#define CPUS 8
#define STOPPERS 3
static _Atomic bool stoppers_done;

static void *stopper(void *arg)
{
	(void)arg;
	for (int i = 0; i < 200; i++) {
		vcpus_stop(&rig.m, NULL);
		for (unsigned int id = 0; id < CPUS; id++)
			if (fake_in_guest(id))
				fake_complain("vCPU %u runs while all are stopped", id);
		vcpus_go(&rig.m);
	}
	return NULL;
}

static void busy(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	/* half of them never come out by themselves */
	if (fake_id(c) % 2)
		fake_run_until(c, &stoppers_done);
	for (;;)
		fake_read(c, (UART + UART_LSR) | rig.m.realm.split.shared, 1);
}

static void lead(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	for (unsigned int i = 1; i < CPUS; i++)
		fake_expect_eq(fake_call(c, FAKE_PSCI_CPU_ON, i, RAM, 0), 0);
	fake_run_until(c, &stoppers_done);
	fake_poweroff(c);
}

static void stop_and_go(void **state)
{
	pthread_t t[STOPPERS];

	(void)state;
	for (enum realm_mode mode = MODE_PLAIN; mode <= MODE_EMULATED; mode++) {
		stoppers_done = false;
		begin(&fake_linux_7_3, mode, lead);
		for (unsigned int i = 1; i < CPUS; i++)
			fake_set_guest(i, busy, NULL);
		rig.cfg.cpus = CPUS;
		create();
		assert_int_equal(machine_start(&rig.m, &rig.e), 0);
		for (int i = 0; i < STOPPERS; i++)
			assert_int_equal(pthread_create(&t[i], NULL, stopper, NULL), 0);
		for (int i = 0; i < STOPPERS; i++)
			pthread_join(t[i], NULL);
		stoppers_done = true;
		loop_run(&rig.loop);
		machine_stop(&rig.m);
		assert_int_equal(rig.m.end, END_POWEROFF);
		assert_int_equal(rig.m.hold, 0);
		finish();
	}
}

/* Conversions of several vCPUs at once, with slots that change: they stop one another. */
static _Atomic unsigned int converters;

static void converter(struct fake_cpu *c, void *ctx)
{
	ipa_t mine = PAGE + fake_id(c) * SZ_1M;

	(void)ctx;
	for (int i = 0; i < 25; i++) {
		fake_write(c, mine, PATTERN + i, 8);
		convert(c, mine + SZ_64K, mine + 2 * SZ_64K, RIPAS_EMPTY);
		fake_expect_eq(fake_read(c, mine, 8), PATTERN + i);
		fake_read(c, mine + SZ_64K, 8);
		fake_expect(fake_aborted(c));
		convert(c, mine + SZ_64K, mine + 2 * SZ_64K, RIPAS_RAM);
		fake_expect_eq(fake_read(c, mine + SZ_64K, 8), 0);
		fake_expect(!fake_aborted(c));
	}
	converters++;
	if (fake_id(c))
		return;
	while (converters != 4)
		fake_read(c, RAM, 8);
	fake_poweroff(c);
}

static void converter_lead(struct fake_cpu *c, void *ctx)
{
	for (unsigned int i = 1; i < 4; i++)
		fake_expect_eq(fake_call(c, FAKE_PSCI_CPU_ON, i, RAM, 0), 0);
	converter(c, ctx);
}

static void concurrent_conversions(void **state)
{
	(void)state;
	converters = 0;
	begin(&fake_linux_7_3, MODE_EMULATED, converter_lead);
	for (unsigned int i = 1; i < 4; i++)
		fake_set_guest(i, converter, NULL);
	rig.cfg.cpus = 4;
	rig.cfg.emulated_strict = true;
	run();
	assert_int_equal(fake_slots(), 2);
	assert_int_equal(fake_slot_races(), 0);
	finish();
}

/* gdb's way: one vCPU is held, the others go on; a held machine can still end. */
static void held(void **state)
{
	(void)state;
	stoppers_done = false;
	begin(&fake_linux_7_3, MODE_PLAIN, lead);
	rig.cfg.cpus = CPUS;
	for (unsigned int i = 1; i < CPUS; i++)
		fake_set_guest(i, busy, NULL);
	create();
	/* before it has ever run */
	vcpu_hold(&rig.m.vcpu[0]);
	assert_int_equal(machine_start(&rig.m, &rig.e), 0);
	vcpu_wait_parked(&rig.m.vcpu[0]);
	assert_false(fake_in_guest(0));
	vcpu_release(&rig.m.vcpu[0]);
	for (int i = 0; i < 50; i++) {
		vcpu_hold(&rig.m.vcpu[2]);
		vcpu_wait_parked(&rig.m.vcpu[2]);
		assert_false(fake_in_guest(2));
		vcpu_release(&rig.m.vcpu[2]);
	}
	vcpu_hold(&rig.m.vcpu[3]);
	machine_end(&rig.m, END_LEAVE);
	machine_end(&rig.m, END_RESET);		/* the first reason counts */
	machine_stop(&rig.m);
	assert_int_equal(rig.m.end, END_LEAVE);
	finish();
}

/* ---- ends ------------------------------------------------------------------------------------ */

static struct {
	int err;
	unsigned int reason;
	uint64_t data[3];
} bad;

static void dies(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	if (bad.err)
		fake_error(c, bad.err);
	else
		fake_exit(c, bad.reason, bad.data, 3);
}

static void dead(void **state)
{
	static const struct {
		int err;
		unsigned int reason;
		uint64_t data[3];
		enum machine_end end;
		const char *text;
	} cases[] = {
		{ EIO, 0, { 0 }, END_FAILED, "KVM_RUN: Input/output error" },
		{ EFAULT, 0, { 0 }, END_FAILED, "memory that the host could not provide" },
		{ ENOEXEC, 0, { 0 }, END_FAILED, "not initialised" },
		{ 0, KVM_EXIT_FAIL_ENTRY, { 0xbad }, END_FAILED,
		  "cannot enter the guest (reason 0xbad)" },
		{ 0, KVM_EXIT_INTERNAL_ERROR, { 3 }, END_FAILED, "KVM internal error 3" },
		{ 0, KVM_EXIT_MEMORY_FAULT, { 0, 0x1234000, SZ_4K }, END_FAILED, "0x1234000" },
		{ 0, KVM_EXIT_DEBUG, { 0 }, END_FAILED, "unhandled exit 4 (debug)" },
		{ 0, KVM_EXIT_HLT, { 0 }, END_FAILED, "unhandled exit 5" },
		{ 0, 63, { 0 }, END_FAILED, "unhandled exit 63" },
		{ 0, 4000, { 0 }, END_FAILED, "unhandled exit 4000" },
		{ 0, KVM_EXIT_SYSTEM_EVENT, { KVM_SYSTEM_EVENT_CRASH }, END_FAILED, "crash" },
		{ 0, KVM_EXIT_SYSTEM_EVENT, { KVM_SYSTEM_EVENT_RESET }, END_RESET, NULL },
		{ 0, KVM_EXIT_SYSTEM_EVENT, { KVM_SYSTEM_EVENT_SHUTDOWN }, END_POWEROFF, NULL },
		{ 0, KVM_EXIT_SHUTDOWN, { 0 }, END_POWEROFF, NULL },
	};

	(void)state;
	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		unsigned int n = i / 2;
		const char *log;
		int end;

		bad.err = cases[n].err;
		bad.reason = cases[n].reason;
		memcpy(bad.data, cases[n].data, sizeof(bad.data));
		begin(&fake_linux_7_3, i % 2 ? MODE_EMULATED : MODE_PLAIN, dies);
		create();
		capture_begin();
		end = rig_run(&rig);
		log = capture_end();
		assert_int_equal(end, cases[n].end);
		if (cases[n].text) {
			if (!strstr(rig.m.failure.msg, cases[n].text))
				fail_msg("%u: \"%s\"", n, rig.m.failure.msg);
			/* where the guest was */
			assert_non_null(strstr(log, " pc=0x80080000"));
			assert_non_null(strstr(log, " x30="));
		}
		finish();
	}
}

static void restless(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	for (int i = 0; i < 10; i++) {
		fake_error(c, EINTR);
		fake_error(c, EAGAIN);
		fake_exit(c, KVM_EXIT_INTR, NULL, 0);
	}
	fake_poweroff(c);
}

static void interrupted(void **state)
{
	(void)state;
	begin(&fake_linux_7_3, MODE_PLAIN, restless);
	run();
	assert_true(rig.m.vcpu[0].exits[KVM_EXIT_INTR] >= 30);
	finish();
}

/* ---- devices --------------------------------------------------------------------------------- */

static void kicks(struct fake_cpu *c, void *ctx)
{
	ipa_t bit = rig.m.realm.split.shared, rng = MAP_VIRTIO_BASE | bit;
	unsigned int runs;

	(void)ctx;
	fake_expect_eq(fake_read(c, rng, 4), 0x74726976);	/* "virt" */
	fake_expect_eq(fake_read(c, rng + 8, 4), 4);		/* entropy */
	/* a kick of queue 0 does not leave the kernel; one of queue 9, which is not there, does */
	runs = fake_count(KVM_RUN);
	fake_write(c, rng + 0x50, 0, 4);
	fake_expect_eq(fake_count(KVM_RUN), runs);
	fake_write(c, rng + 0x50, 9, 4);
	fake_expect_eq(fake_count(KVM_RUN), runs + 1);
	fake_poweroff(c);
}

/* The same on the PCI bus: configuration space, a BAR that is moved, the kick of its queue. */
static void pci_kicks(struct fake_cpu *c, void *ctx)
{
	ipa_t bit = rig.m.realm.split.shared, fn = (MAP_ECAM_BASE + (1 << 15)) | bit;
	ipa_t bar = MAP_PCI_MEM_BASE + 0x200000;
	unsigned int runs;

	(void)ctx;
	fake_expect_eq(fake_read(c, fn, 4), 0x10441af4);
	fake_expect_eq(fake_read(c, fn + (1 << 15), 4), 0xffffffff);
	fake_write(c, fn + 0x10, bar, 4);
	fake_write(c, fn + 4, 6, 2);
	fake_expect(fake_ioeventfd_at((bar + 0x3000) | bit, 2));
	bar |= bit;
	fake_expect_eq(fake_read(c, bar + 0x12, 2), 1);		/* num_queues */
	runs = fake_count(KVM_RUN);
	fake_write(c, bar + 0x3000, 0, 2);
	fake_expect_eq(fake_count(KVM_RUN), runs);
	fake_write(c, bar + 0x3004, 0, 2);
	fake_expect_eq(fake_count(KVM_RUN), runs + 1);
	/* vector 0, unmasked: the ITS gets it where KVM knows it */
	fake_write(c, bar + 0x4000, rig.m.gic.its_base + 0x10040, 8);
	fake_write(c, bar + 0x4008, 0x42, 8);
	fake_write(c, fn + fake_read(c, fn + 0x34, 1), 0, 1);
	fake_poweroff(c);
}

static void test_pci_kicks(void **state)
{
	(void)state;
	for (enum realm_mode mode = MODE_PLAIN; mode <= MODE_EMULATED; mode++) {
		begin(&fake_linux_7_3, mode, pci_kicks);
		rig.cfg.rng = true;
		create();
		assert_int_equal(fake_irqfd_count(MAP_VIRTIO_SPI), -1);
		assert_int_equal(fake_ioeventfds(), 0);
		assert_int_equal(rig_run(&rig), END_POWEROFF);
		finish();
	}
}

static void test_kicks(void **state)
{
	(void)state;
	for (enum realm_mode mode = MODE_PLAIN; mode <= MODE_EMULATED; mode++) {
		begin(&fake_linux_7_3, mode, kicks);
		rig.cfg.rng = true;
		rig.cfg.transport = TRANSPORT_MMIO;
		create();
		assert_int_equal(fake_irqfd_count(MAP_VIRTIO_SPI), 0);
		assert_int_equal(fake_irqfd_count(MAP_VIRTIO_SPI + 1), -1);
		rig.m.virtio[0].irq.line.set(&rig.m.virtio[0].irq.line, 1);
		assert_int_equal(fake_irqfd_count(MAP_VIRTIO_SPI), 1);
		assert_int_equal(rig_run(&rig), END_POWEROFF);
		finish();
	}
}

/* Contents of the flash are a memslot at the alias, but only while it is in read-array mode. */
static void flash_guest(struct fake_cpu *c, void *ctx)
{
	ipa_t bit = rig.m.realm.split.shared, at = MAP_FLASH_BASE | bit;
	unsigned int runs;

	(void)ctx;
	fake_expect(fake_slot_at(at));
	fake_expect_eq(fake_slot_at(MAP_FLASH_BASE), !bit);
	runs = fake_count(KVM_RUN);
	fake_expect_eq(fake_read(c, at + SZ_64K, 8), PATTERN);
	fake_expect_eq(fake_count(KVM_RUN), runs);	/* no exit */
	fake_write(c, at, 0x00900090, 4);		/* read identifier */
	fake_expect(!fake_slot_at(at));
	fake_expect_eq(fake_read(c, at, 4), 0x00890089);
	fake_write(c, at, 0x00ff00ff, 4);		/* read array */
	fake_expect(fake_slot_at(at));
	fake_expect_eq(fake_read(c, at + SZ_64K, 8), PATTERN);
	if (bit) {
		fake_read(c, MAP_FLASH_BASE + SZ_64K, 8);
		fake_expect(fake_aborted(c));
	}
	fake_poweroff(c);
}

/* The slot cannot come back: the machine ends with a reason. */
static void flash_breaks(struct fake_cpu *c, void *ctx)
{
	ipa_t at = MAP_FLASH_BASE | rig.m.realm.split.shared;

	(void)ctx;
	fake_write(c, at, 0x00900090, 4);
	fake_fail_ioctl(KVM_SET_USER_MEMORY_REGION, 1, ENOMEM);
	fake_write(c, at, 0x00ff00ff, 4);
	fake_read(c, at, 4);
}

static void test_flash(void **state)
{
	uint64_t pattern = PATTERN;
	int fd = memfd_create("flash", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(fd, SZ_1M), 0);
	assert_int_equal(pwrite(fd, &pattern, sizeof(pattern), SZ_64K), sizeof(pattern));
	for (int i = 0; i < 4; i++) {
		begin(&fake_linux_7_3, i % 2 ? MODE_EMULATED : MODE_PLAIN,
		      i < 2 ? flash_guest : flash_breaks);
		rig.env.flash_fd = fd;
		create();
		capture_begin();
		assert_int_equal(rig_run(&rig), i < 2 ? END_POWEROFF : END_FAILED);
		capture_end();
		if (i >= 2)
			assert_non_null(strstr(rig.m.failure.msg, "flash: memory slot"));
		finish();
	}
	close(fd);
}

/* ---- each call fails once -------------------------------------------------------------------- */

static void full(struct rig *r, int disk)
{
	r->cfg.cpus = 2;
	r->cfg.mem = SZ_1G;
	r->cfg.rng = true;
	r->cfg.console = CONSOLE_VIRTIO;
	r->cfg.pmu = true;
	r->cfg.pmu_counters = 4;
	r->cfg.sve_max_vl = 256;
	r->cfg.nr_disks = 1;
	assert_true(asprintf(&r->cfg.disk[0].path, "/proc/self/fd/%d", disk) > 0);
}

/* What realmtool can do without. */
static bool optional(const char *call)
{
	static const char *const opt[] = {
		"KVM_CHECK_EXTENSION", "KVM_CREATE_GUEST_MEMFD", "munmap", "close",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(opt); i++)
		if (!strcmp(call, opt[i]))
			return true;
	return false;
}

static void check_error(int ret, unsigned int n, const char *call)
{
	const char *msg = rig.e.msg;

	if (ret != rig.e.code || ret >= 0)
		fail_msg("call %u (%s): returned %d, the error says %d", n, call, ret, rig.e.code);
	/* one line, with the reason and more than the reason */
	if (strlen(msg) < 20 || strchr(msg, '\n'))
		fail_msg("call %u (%s): \"%s\"", n, call, msg);
	if (ret != -EIO && !strstr(msg, strerror(-ret)) && strcmp(call, "KVM_CHECK_EXTENSION") &&
	    strcmp(call, "KVM_GET_API_VERSION") && strcmp(call, "KVM_GET_VCPU_MMAP_SIZE") &&
	    strcmp(call, "KVM_HAS_DEVICE_ATTR") && !strstr(msg, "--pmu-counters"))
		fail_msg("call %u (%s): \"%s\" does not say %s", n, call, msg, strerror(-ret));
}

static void fail_each(const struct fake_gen *gen, enum realm_mode mode, bool strict_too)
{
	unsigned int calls = 0, n, fds = 0, failed = 0;
	int disk = memfd_create("disk", MFD_CLOEXEC);
	uint64_t space = 0;

	assert_int_equal(ftruncate(disk, SZ_1M), 0);
	for (n = 0; n <= calls; n++) {
		const char *call;
		int ret;

		begin(gen, mode, NULL);
		full(&rig, disk);
		rig.cfg.emulated_strict = strict_too;
		fake_fail_nth(n, ENOMEM);
		capture_begin();
		ret = rig_create(&rig);
		capture_end();
		if (!n) {	/* the good case counts the calls */
			assert_int_equal(ret, 0);
			calls = fake_calls();
			assert_true(calls > 50);
		} else {
			call = fake_failed();
			assert_non_null(call);
			if (ret)
				check_error(ret, n, call);
			else if (!optional(call))
				fail_msg("call %u (%s) fails and nobody minds", n, call);
			failed += ret != 0;
		}
		in_use = false;
		rig_fini(&rig);
		if (fake_verdict())
			fail_msg("call %u (%s): %s", n, fake_failed(), fake_verdict());
		if (!n) {
			fds = open_fds();
			space = address_space();
		} else {
			assert_int_equal(open_fds(), fds);
		}
	}
	/* RAM is 1 GiB: one that was not unmapped shows */
	assert_true(address_space() < space + SZ_1G / 2);
	assert_true(failed > calls / 2);
	close(disk);
}

static void each_call_fails(void **state)
{
	(void)state;
	fail_each(&fake_linux_7_3, MODE_PLAIN, false);
	fail_each(&fake_linux_7_3, MODE_EMULATED, false);
	fail_each(&fake_linux_6_12, MODE_EMULATED, true);
}

/* The threads cannot be placed: what was started ends again. */
static void no_such_cpu(void **state)
{
	(void)state;
	begin(&fake_linux_7_3, MODE_PLAIN, NULL);	/* one that only runs */
	rig.cfg.cpus = 3;
	rig.cfg.vcpu_affinity = strdup("1000");
	create();
	assert_int_equal(rig_run(&rig), END_FAILED);
	assert_non_null(strstr(rig.e.msg, "--vcpu-affinity 1000"));
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(plain_boot, clean_up),
		cmocka_unit_test_teardown(emulated_boot, clean_up),
		cmocka_unit_test_teardown(test_plain_accesses, clean_up),
		cmocka_unit_test_teardown(test_realm_accesses, clean_up),
		cmocka_unit_test_teardown(plain_nisv, clean_up),
		cmocka_unit_test_teardown(test_realm_calls, clean_up),
		cmocka_unit_test_teardown(test_plain_calls, clean_up),
		cmocka_unit_test_teardown(power, clean_up),
		cmocka_unit_test_teardown(test_conversions, clean_up),
		cmocka_unit_test_teardown(test_beyond, clean_up),
		cmocka_unit_test_teardown(test_strict, clean_up),
		cmocka_unit_test_teardown(test_fragments, clean_up),
		cmocka_unit_test_teardown(test_strict_failure, clean_up),
		cmocka_unit_test_teardown(test_pinned, clean_up),
		cmocka_unit_test_teardown(test_stuck, clean_up),
		cmocka_unit_test_teardown(stop_and_go, clean_up),
		cmocka_unit_test_teardown(concurrent_conversions, clean_up),
		cmocka_unit_test_teardown(held, clean_up),
		cmocka_unit_test_teardown(dead, clean_up),
		cmocka_unit_test_teardown(interrupted, clean_up),
		cmocka_unit_test_teardown(test_kicks, clean_up),
		cmocka_unit_test_teardown(test_pci_kicks, clean_up),
		cmocka_unit_test_teardown(test_flash, clean_up),
		cmocka_unit_test_teardown(each_call_fails, clean_up),
		cmocka_unit_test_teardown(no_such_cpu, clean_up),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("machine", tests, NULL, NULL);
}
