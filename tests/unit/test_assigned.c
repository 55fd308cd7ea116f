// SPDX-License-Identifier: BSD-3-Clause
/*
 * A machine with assigned devices on the models of KVM and of VFIO: what its guest and its devices
 * reach, and what is left when any of the calls fails.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "realm/rsi.h"
#include "tests/fakekvm/fake_rmi.h"
#include "tests/fakekvm/harness.h"
#include "tests/fakevfio/fake_vfio.h"
#include "vmm/assigned.h"
#include "vmm/core/log.h"

#define SHARED	(UINT64_C(1) << 32)	/* 33-bit IPA space */
#define RAM	MAP_RAM_BASE
#define RAM_END	(RAM + RIG_MEM)
#define PAGE	(RAM + 32 * SZ_1M)	/* free memory of the guest */
#define PATTERN	UINT64_C(0x1122334455667788)
#define NVME	"0000:01:00.0"
#define EDU	"0000:02:00.0"

static struct rig rig;
static struct fake_vfio host;
static struct fake_dev nvme, edu;
static struct fake_fn *fn_nvme;
static struct assigned assigned;
static enum cfg_vfio_backend backend;
static bool in_use;

/* ---- frame of every test --------------------------------------------------------------------- */

static void begin_on(const struct fake_gen *gen, enum realm_mode mode, fake_guest *fn)
{
	fake_reset(gen);
	rig_init(&rig, mode);
	fake_vfio_init(&host);
	fake_nvme(&nvme);
	nvme.name = NVME;
	fake_edu(&edu);
	edu.name = EDU;
	fn_nvme = fake_vfio_add(&host, NVME, 7, &nvme);
	fake_vfio_add(&host, EDU, 8, &edu);
	rig.cfg.vfio[0].device = strdup("01:00.0");
	rig.cfg.vfio[1].device = strdup("02:00.0");
	rig.cfg.nr_vfios = 2;
	rig.cfg.vfio_backend = backend;
	rig.env.assigned = &assigned;
	fake_set_guest(0, fn, NULL);
	in_use = true;
}

static void begin(enum realm_mode mode, fake_guest *fn)
{
	begin_on(&fake_linux_7_3, mode, fn);
}

static int try_create(void)
{
	int ret = assigned.vfio ? 0 : assigned_open(&rig.cfg, &host.sys, &assigned, &rig.e);

	return ret ? ret : rig_create(&rig);
}

static void create(void)
{
	if (try_create())
		fail_msg("%s", rig.e.msg);
}

/* Takes all of it away. Return: what is wrong */
static const char *leave(void)
{
	const char *wrong[4];

	in_use = false;
	rig_fini(&rig);
	wrong[0] = fake_vfio_maps(&host) ? "something is mapped after the machine" : NULL;
	assigned_close(&assigned);
	wrong[1] = fake_verdict();
	wrong[2] = fake_vfio_destroy(&host);
	wrong[3] = fake_dev_destroy(&nvme);
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++)
		if (wrong[i])
			return wrong[i];
	return fake_dev_destroy(&edu);
}

static void finish(void)
{
	const char *wrong = leave();

	if (wrong)
		fail_msg("%s", wrong);
}

static void run(enum realm_mode mode, fake_guest *fn)
{
	begin(mode, fn);
	create();
	assert_int_equal(rig_run(&rig), END_POWEROFF);
	finish();
}

/* A failed test leaves its machine behind; the next one starts clean. */
static int clean_up(void **state)
{
	(void)state;
	if (!in_use)
		return 0;
	capture_end();
	if (rig.made) {
		machine_end(&rig.m, END_LEAVE);
		machine_stop(&rig.m);
	}
	leave();
	return 0;
}

/* Return: what the RMM says: RSI_ACCEPT or RSI_REJECT; *end: up to where it was done */
static uint64_t convert_to(struct fake_cpu *c, ipa_t base, ipa_t top, enum ripas_state state,
			   ipa_t *end)
{
	/* also what was DESTROYED, as Linux does */
	uint64_t x[18] = { RSI_IPA_STATE_SET, base, top, state, 1 };

	fake_smc(c, x);
	fake_expect_eq(x[0], RSI_SUCCESS);
	*end = x[2] == RSI_ACCEPT ? x[1] : base;
	return x[2];
}

static uint64_t convert(struct fake_cpu *c, ipa_t base, ipa_t top, enum ripas_state state)
{
	ipa_t end;
	uint64_t ret = convert_to(c, base, top, state, &end);

	fake_expect_eq(end, ret == RSI_ACCEPT ? top : base);
	return ret;
}

/* What the device reads there, if it does not fault. */
static bool dma(uint64_t iova, uint64_t *val)
{
	void *p = fake_vfio_at(&host, iova);

	if (p)
		memcpy(val, p, sizeof(*val));
	return p;
}

#define expect_dma(iova, want) do { \
	uint64_t v_ = 0; \
	fake_expect(dma(iova, &v_)); \
	fake_expect_eq(v_, want); \
} while (0)
#define expect_fault(iova) fake_expect(!fake_vfio_at(&host, iova))

/* ---- what devices reach ---------------------------------------------------------------------- */

static void plain_dma(struct fake_cpu *c, void *ctx)
{
	fake_expect_eq(fake_vfio_maps(&host), 1);
	fake_write(c, PAGE, PATTERN, 8);
	expect_dma(PAGE, PATTERN);
	fake_expect(fake_vfio_at(&host, RAM) != NULL);
	fake_expect(fake_vfio_at(&host, RAM_END - 1) != NULL);
	expect_fault(RAM - 1);
	expect_fault(RAM_END);
	fake_poweroff(c);
}

static void realm_dma(struct fake_cpu *c, void *ctx)
{
	fake_expect_eq(fake_vfio_maps(&host), 0);
	fake_write(c, PAGE, PATTERN, 8);
	expect_fault(PAGE);
	expect_fault(PAGE | SHARED);
	/* shared: at the alias, and nowhere else */
	fake_expect_eq(convert(c, PAGE, PAGE + SZ_1M, RIPAS_EMPTY), RSI_ACCEPT);
	fake_expect_eq(fake_vfio_maps(&host), 1);
	fake_write(c, (PAGE + SZ_4K) | SHARED, ~PATTERN, 8);
	expect_dma((PAGE + SZ_4K) | SHARED, ~PATTERN);
	expect_fault(PAGE + SZ_4K);
	expect_fault((PAGE - 8) | SHARED);
	expect_fault((PAGE + SZ_1M) | SHARED);
	/* the neighbour stays a mapping of its own */
	fake_expect_eq(convert(c, PAGE + SZ_1M, PAGE + 2 * SZ_1M, RIPAS_EMPTY), RSI_ACCEPT);
	fake_expect_eq(fake_vfio_maps(&host), 2);
	/* a part is taken back */
	fake_expect_eq(convert(c, PAGE, PAGE + SZ_4K, RIPAS_RAM), RSI_ACCEPT);
	expect_fault(PAGE | SHARED);
	expect_dma((PAGE + SZ_4K) | SHARED, ~PATTERN);
	fake_expect_eq(fake_vfio_maps(&host), 2);
	/* and all of it */
	fake_expect_eq(convert(c, PAGE, PAGE + 2 * SZ_1M, RIPAS_RAM), RSI_ACCEPT);
	fake_expect_eq(fake_vfio_maps(&host), 0);
	fake_write(c, PAGE, PATTERN, 8);
	expect_fault(PAGE);
	/* what is shared at the end is unmapped by the machine */
	fake_expect_eq(convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY), RSI_ACCEPT);
	fake_poweroff(c);
}

static void both_dma(struct fake_cpu *c, void *ctx)
{
	fake_expect_eq(convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY), RSI_ACCEPT);
	fake_write(c, PAGE | SHARED, PATTERN, 8);
	expect_dma(PAGE | SHARED, PATTERN);
	expect_dma(PAGE, PATTERN);
	fake_expect_eq(convert(c, PAGE, PAGE + SZ_4K, RIPAS_RAM), RSI_ACCEPT);
	expect_fault(PAGE | SHARED);
	expect_fault(PAGE);
	fake_poweroff(c);
}

static void static_dma(struct fake_cpu *c, void *ctx)
{
	unsigned int maps = host.maps;

	expect_dma(PAGE | SHARED, 0);
	expect_fault(PAGE);
	fake_write(c, PAGE, PATTERN, 8);
	expect_dma(PAGE | SHARED, 0);
	fake_expect_eq(convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY), RSI_ACCEPT);
	fake_write(c, PAGE | SHARED, ~PATTERN, 8);
	expect_dma(PAGE | SHARED, ~PATTERN);
	fake_expect_eq(convert(c, PAGE, PAGE + SZ_4K, RIPAS_RAM), RSI_ACCEPT);
	fake_write(c, PAGE, PATTERN, 8);
	fake_expect(fake_vfio_at(&host, PAGE | SHARED) != NULL);
	expect_fault(PAGE);
	fake_expect_eq(host.maps, maps);
	fake_expect_eq(host.unmaps, 0);
	fake_poweroff(c);
}

/* The host's limit is reached: the guest is told, and nothing is half open. */
static void no_room(struct fake_cpu *c, void *ctx)
{
	host.memlock = SZ_64K;
	fake_expect_eq(convert(c, PAGE, PAGE + SZ_64K, RIPAS_EMPTY), RSI_ACCEPT);
	fake_expect_eq(convert(c, PAGE + SZ_1M, PAGE + SZ_1M + SZ_4K, RIPAS_EMPTY), RSI_REJECT);
	expect_fault((PAGE + SZ_1M) | SHARED);
	fake_expect(fake_vfio_at(&host, PAGE | SHARED) != NULL);
	/* it is still private */
	fake_write(c, PAGE + SZ_1M, PATTERN, 8);
	fake_expect_eq(fake_read(c, PAGE + SZ_1M, 8), PATTERN);
	host.memlock = UINT64_MAX;
	fake_expect_eq(convert(c, PAGE + SZ_1M, PAGE + SZ_1M + SZ_4K, RIPAS_EMPTY), RSI_ACCEPT);
	expect_dma((PAGE + SZ_1M) | SHARED, 0);
	fake_poweroff(c);
}

/* The same with all mappings of the host in use. */
static void no_entry(struct fake_cpu *c, void *ctx)
{
	fake_expect_eq(convert(c, PAGE, PAGE + SZ_64K, RIPAS_EMPTY), RSI_ACCEPT);
	fake_expect_eq(convert(c, PAGE + SZ_1M, PAGE + SZ_1M + SZ_4K, RIPAS_EMPTY), RSI_REJECT);
	fake_expect_eq(fake_vfio_maps(&host), 1);
	expect_fault((PAGE + SZ_1M) | SHARED);
	fake_write(c, PAGE + SZ_1M, PATTERN, 8);
	fake_expect_eq(fake_read(c, PAGE + SZ_1M, 8), PATTERN);
	/* room again */
	fake_expect_eq(convert(c, PAGE, PAGE + SZ_64K, RIPAS_RAM), RSI_ACCEPT);
	fake_expect_eq(convert(c, PAGE + SZ_1M, PAGE + SZ_1M + SZ_4K, RIPAS_EMPTY), RSI_ACCEPT);
	fake_poweroff(c);
}

static void test_entries(void **state)
{
	(void)state;
	begin(MODE_EMULATED, no_entry);
	host.entries = 1;
	create();
	log_set_level(LOG_WARNING);
	capture_begin();
	assert_int_equal(rig_run(&rig), END_POWEROFF);
	assert_non_null(strstr(capture_end(), "dma_entry_limit"));
	log_set_level(LOG_ERROR);
	finish();
}

static void test_dma(void **state)
{
	(void)state;
	run(MODE_PLAIN, plain_dma);
	run(MODE_EMULATED, realm_dma);
	log_set_level(LOG_WARNING);
	capture_begin();
	run(MODE_EMULATED, no_room);
	assert_non_null(strstr(capture_end(), "DMA"));
	log_set_level(LOG_ERROR);
}

static void test_both(void **state)
{
	(void)state;
	begin(MODE_EMULATED, both_dma);
	rig.cfg.vfio[1].both = true;
	create();
	assert_int_equal(rig_run(&rig), END_POWEROFF);
	finish();
}

static void test_static(void **state)
{
	(void)state;
	begin(MODE_EMULATED, static_dma);
	rig.cfg.vfio_static = true;
	create();
	assert_int_equal(rig_run(&rig), END_POWEROFF);
	finish();
	/* one memory for both sides: devices would reach what is private */
	begin_on(&fake_linux_6_12, MODE_EMULATED, NULL);
	rig.cfg.vfio_static = true;
	assert_int_equal(try_create(), -EOPNOTSUPP);
	assert_non_null(strstr(rig.e.msg, "--vfio-dma static"));
	finish();
}

/* The kernel does not take a mapping back: the page must not become private under the device. */
static void stuck(struct fake_cpu *c, void *ctx)
{
	fake_expect_eq(convert(c, PAGE, PAGE + SZ_4K, RIPAS_EMPTY), RSI_ACCEPT);
	host.fail_at = 1;
	fake_expect_eq(convert(c, PAGE, PAGE + SZ_4K, RIPAS_RAM), RSI_REJECT);
	fake_expect(fake_vfio_at(&host, PAGE | SHARED) != NULL);
	fake_write(c, PAGE | SHARED, PATTERN, 8);
	expect_dma(PAGE | SHARED, PATTERN);
	fake_expect_eq(convert(c, PAGE, PAGE + SZ_4K, RIPAS_RAM), RSI_ACCEPT);
	expect_fault(PAGE | SHARED);
	fake_poweroff(c);
}

static void test_stuck(void **state)
{
	(void)state;
	capture_begin();
	run(MODE_EMULATED, stuck);
	capture_end();
}

/* ---- what the guest sees --------------------------------------------------------------------- */

static ipa_t config_of(unsigned int dev)
{
	return (MAP_ECAM_BASE + (dev << 15)) | rig.m.realm.split.shared;
}

/* Device number of a function by its ids */
static unsigned int find_dev(struct fake_cpu *c, uint32_t ids)
{
	for (unsigned int dev = 0; dev < 32; dev++)
		if (fake_read(c, config_of(dev), 4) == ids)
			return dev;
	fake_complain("no function %#x", ids);
	return 0;
}

static void registers(struct fake_cpu *c, void *ctx)
{
	ipa_t bit = rig.m.realm.split.shared, bar = MAP_PCI_MEM_BASE + 0x200000;
	ipa_t fn = config_of(find_dev(c, 0x00101b36));
	uint32_t magic = 0x600df00d;
	unsigned int runs;

	find_dev(c, 0x11e81234);
	fake_write(c, fn + 0x10, bar, 4);
	fake_write(c, fn + 0x14, 0, 4);
	fake_write(c, fn + 4, 2, 2);
	memcpy(nvme.region[0].mem + 8, &magic, sizeof(magic));
	runs = fake_count(KVM_RUN);
	fake_expect_eq(fake_read(c, (bar + 8) | bit, 4), magic);
	fake_write(c, (bar + 0x1004) | bit, ~magic, 4);
	fake_expect_eq(fake_count(KVM_RUN), runs);	/* mapped: no exits */
	fake_expect(!memcmp(nvme.region[0].mem + 0x1004, &(uint32_t){ ~magic }, 4));
	/* the table of MSI-X in the same BAR is ours */
	fake_write(c, (bar + 0x2008) | bit, 0x77, 4);
	fake_expect_eq(fake_read(c, (bar + 0x2008) | bit, 4), 0x77);
	fake_expect(!memcmp(nvme.region[0].mem + 0x2008, &(uint32_t){ 0 }, 4));
	/* no DMA before the driver asks for it */
	fake_expect(!(fake_dev_get(&nvme, PCI_COMMAND, 2) & PCI_COMMAND_MASTER));
	fake_write(c, fn + 4, 6, 2);
	fake_expect(fake_dev_get(&nvme, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
	fake_poweroff(c);
}

static void test_registers(void **state)
{
	(void)state;
	for (enum realm_mode mode = MODE_PLAIN; mode <= MODE_EMULATED; mode++) {
		begin(mode, registers);
		create();
		assert_int_equal(nvme.resets, 1);
		assert_int_equal(rig_run(&rig), END_POWEROFF);
		/* nothing of the guest's stays behind */
		assert_int_equal(nvme.resets, 2);
		assert_false(fake_dev_get(&nvme, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
		finish();
	}
}

/* A reset of the guest: a new machine, the same open devices. */
static void test_boots(void **state)
{
	unsigned int fds = 0, calls;

	(void)state;
	for (enum realm_mode mode = MODE_PLAIN; mode <= MODE_EMULATED; mode++) {
		begin(mode, mode == MODE_PLAIN ? plain_dma : realm_dma);
		for (unsigned int boot = 0; boot < 4; boot++) {
			create();
			assert_int_equal(rig_run(&rig), END_POWEROFF);
			rig_drop(&rig);
			assert_int_equal(fake_vfio_maps(&host), 0);
			assert_int_equal(nvme.resets, 2 * (boot + 1));
			if (boot)
				assert_int_equal(open_fds(), fds);
			fds = open_fds();
		}
		calls = fake_vfio_open(&host);
		assert_true(calls >= 3);
		finish();
	}
}

static void device_error(struct fake_cpu *c, void *ctx)
{
	fake_expect(fake_dev_fire(&nvme, VFIO_PCI_ERR_IRQ_INDEX, 0));
}

static void device_wanted(struct fake_cpu *c, void *ctx)
{
	fake_expect(fake_dev_fire(&nvme, VFIO_PCI_REQ_IRQ_INDEX, 0));
}

static void test_device_lost(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		begin(MODE_EMULATED, i ? device_error : device_wanted);
		create();
		capture_begin();
		assert_int_equal(rig_run(&rig), END_FAILED);
		capture_end();
		assert_non_null(strstr(rig.m.failure.msg, NVME));
		finish();
	}
}

/* ---- KVM realms ------------------------------------------------------------------------------ */

/* As Linux: ask again for the rest until all of it is done. */
static void convert_all(struct fake_cpu *c, ipa_t base, ipa_t top, enum ripas_state state)
{
	ipa_t end;

	for (unsigned int n = 0; base < top && n < 1000; n++, base = end)
		if (convert_to(c, base, top, state, &end) != RSI_ACCEPT)
			break;
	fake_expect_eq(base, top);
}

static void kvm_realm(struct fake_cpu *c, void *ctx)
{
	ipa_t bit = rig.m.realm.split.shared, bar = MAP_PCI_MEM_BASE + 0x200000;
	ipa_t fn = config_of(find_dev(c, 0x00101b36));
	const struct vfio_pci_stat *st = vfio_pci_stat(rig.m.assigned[0]);

	fake_expect_eq(fake_vfio_maps(&host), 0);
	convert_all(c, PAGE, PAGE + 2 * SZ_1M, RIPAS_RAM);
	for (unsigned int i = 0; i < 3; i++) {
		convert_all(c, PAGE, PAGE + SZ_64K, RIPAS_EMPTY);
		fake_expect_eq(fake_vfio_maps(&host), 1);
		fake_write(c, PAGE | bit, PATTERN + i, 8);
		expect_dma(PAGE | bit, PATTERN + i);
		expect_fault(PAGE);
		expect_fault((PAGE + SZ_64K) | bit);
		convert_all(c, PAGE, PAGE + SZ_64K, RIPAS_RAM);
		expect_fault(PAGE | bit);
		fake_expect_eq(fake_vfio_maps(&host), 0);
		fake_write(c, PAGE, PATTERN, 8);
		fake_expect_eq(fake_read(c, PAGE, 8), PATTERN);
	}
	/* no device memory in the guest's tables: exits */
	fake_write(c, fn + 0x10, bar, 4);
	fake_write(c, fn + 0x14, 0, 4);
	fake_write(c, fn + 4, 6, 2);
	memcpy(nvme.region[0].mem + 8, &(uint32_t){ 0x600df00d }, 4);
	fake_expect_eq(fake_read(c, (bar + 8) | bit, 4), 0x600df00d);
	fake_write(c, (bar + 0x1004) | bit, 0x1234, 4);
	fake_expect(!memcmp(nvme.region[0].mem + 0x1004, &(uint32_t){ 0x1234 }, 4));
	fake_expect_eq(st->bar_exits, 2);
	convert_all(c, PAGE, PAGE + SZ_64K, RIPAS_EMPTY);
	fake_poweroff(c);
}

static void test_kvm_realm(void **state)
{
	static const struct fake_gen *const gens[] = {
		&fake_rmi_v8, &fake_rmi_v10, &fake_rmi_v13, &fake_rmi_v14, &fake_rmi_v15,
		&fake_rmi_kamalca,
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(gens); i++) {
		begin_on(gens[i], MODE_KVM, kvm_realm);
		create();
		if (rig_run(&rig) != END_POWEROFF)
			fail_msg("%s: %s", gens[i]->name, rig.m.failure.msg);
		finish();
	}
}

/* Functions of one device of the host are one device of the guest, in the host's order. */
static void functions(struct fake_cpu *c, void *ctx)
{
	ipa_t fn = config_of(1);

	fake_expect_eq(fake_read(c, fn, 4), 0x11e81234);
	fake_expect_eq(fake_read(c, fn + 0xe, 1), 0x80);	/* header type: multi-function */
	fake_expect_eq(fake_read(c, fn + 0x1000, 4), 0x10d38086);
	fake_expect_eq(fake_read(c, fn + 0x2000, 4), 0xffffffff);
	fake_expect_eq(fake_read(c, config_of(2), 4), 0x00101b36);
	fake_expect_eq(fake_read(c, config_of(2) + 0xe, 1), 0);
	fake_expect_eq(fake_read(c, config_of(3), 4), 0xffffffff);
	fake_poweroff(c);
}

static void test_functions(void **state)
{
	struct fake_dev nic;

	(void)state;
	for (enum realm_mode mode = MODE_PLAIN; mode <= MODE_EMULATED; mode++) {
		begin(mode, functions);
		fake_e1000e(&nic);
		nic.name = "0000:02:00.1";
		fake_vfio_add(&host, nic.name, 8, &nic);
		free(rig.cfg.vfio[0].device);
		rig.cfg.vfio[0].device = strdup("02:00.1");
		free(rig.cfg.vfio[1].device);
		rig.cfg.vfio[1].device = strdup("01:00.0");
		rig.cfg.vfio[2].device = strdup("02:00.0");
		rig.cfg.nr_vfios = 3;
		create();
		assert_int_equal(assigned_places(&assigned), 2);
		assert_int_equal(rig_run(&rig), END_POWEROFF);
		finish();
		assert_null(fake_dev_destroy(&nic));
	}
}

/* ---- what the host cannot do ----------------------------------------------------------------- */

static void refusal(enum realm_mode mode, void (*spoil)(void), const char *a, const char *b)
{
	const char *at;

	begin(mode, NULL);
	spoil();
	assert_true(try_create() < 0);
	at = strstr(rig.e.msg, a);
	if (!at || !strstr(at, b))
		fail_msg("no \"%s ... %s\" in \"%s\"", a, b, rig.e.msg);
	assert_null(strchr(rig.e.msg, '\n'));
	finish();
}

static void narrow(void)
{
	host.last = SHARED - 1;
}

static void reserved(void)
{
	fn_nvme->hole = (struct iova_range){ PAGE, PAGE + SZ_4K - 1 };
}

static void taken(void)
{
	fn_nvme->taken = true;
}

static void locked(void)
{
	host.memlock = RIG_MEM - 1;
}

static void foreign(void)
{
	fake_vfio_bind(&host, fn_nvme, "nvme");
}

static void test_refusals(void **state)
{
	(void)state;
	refusal(MODE_EMULATED, narrow, "IOMMU", "--ipa-bits");
	refusal(MODE_PLAIN, reserved, "reserved", "");
	refusal(MODE_PLAIN, taken, "--vfio-pci 01:00.0: " NVME, "another program");
	refusal(MODE_PLAIN, foreign, "driver nvme", "driver_override");
	refusal(MODE_PLAIN, locked, "", "pin");
}

/* Every call on VFIO's objects, and on a device, fails once. */
static void fail_each(enum realm_mode mode)
{
	unsigned int calls = 0, fds = 0, failed = 0;

	for (unsigned int n = 0; n <= calls; n++) {
		const char *wrong;
		char msg[sizeof(rig.e.msg)];
		int ret;

		begin(mode, NULL);
		host.fail_at = n;
		capture_begin();
		ret = try_create();
		snprintf(msg, sizeof(msg), "%s", rig.e.msg);
		capture_end();
		if (!n) {
			assert_int_equal(ret, 0);
			calls = host.calls;
			assert_in_range(calls, 20, 500);
		} else if (ret) {
			assert_int_equal(ret, rig.e.code);
			assert_true(msg[0]);
			failed++;
		}
		wrong = leave();
		if (wrong)
			fail_msg("call %u: %s", n, wrong);
		if (n)
			assert_int_equal(open_fds(), fds);
		fds = open_fds();
	}
	/* the rest are optional: capabilities, second ways of a reset */
	assert_true(failed > calls / 2);
}

/*
 * A guest that shares and takes back while calls fail: whatever the RMM says, a page that is
 * private is out of the device's reach.
 */
static void wary(struct fake_cpu *c, void *ctx)
{
	static const struct {
		ipa_t from, to;
		enum ripas_state state;
	} t[] = {
		{ PAGE, PAGE + SZ_1M, RIPAS_EMPTY },
		{ PAGE + SZ_1M, PAGE + 2 * SZ_1M, RIPAS_EMPTY },
		{ PAGE + SZ_64K, PAGE + 2 * SZ_64K, RIPAS_RAM },
		{ PAGE, PAGE + 2 * SZ_1M, RIPAS_RAM },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		ipa_t end;

		convert_to(c, t[i].from, t[i].to, t[i].state, &end);
		for (ipa_t at = t[i].from; at < t[i].to; at += SZ_4K) {
			expect_fault(at);
			if (at < end)
				fake_expect(!fake_vfio_at(&host, at | SHARED) ==
					    (t[i].state == RIPAS_RAM));
			else if (t[i].state == RIPAS_EMPTY)
				expect_fault(at | SHARED);
		}
	}
	fake_poweroff(c);
}

static void each_call_fails_running(void **state)
{
	unsigned int calls = 0, lost = 0;

	(void)state;
	for (unsigned int n = 0; n <= calls; n++) {
		enum machine_end end;
		unsigned int before;
		const char *wrong;

		begin(MODE_EMULATED, wary);
		create();
		before = host.calls;
		host.fail_at = n;
		capture_begin();
		end = rig_run(&rig);
		capture_end();
		assert_true(end == END_POWEROFF || (n && end == END_FAILED));
		if (!n)
			calls = host.calls - before;
		lost += end == END_FAILED;
		wrong = leave();
		if (wrong)
			fail_msg("call %u: %s", n, wrong);
	}
	/* two maps, three unmaps, two maps of the rest, resets */
	assert_true(calls >= 7 + 2);
	/*
	 * What is shared and out of the devices' reach is the end: the two rests of a mapping, and
	 * a mapping that stays where the one before it went.
	 */
	assert_int_equal(lost, 3);
}

static void each_call_fails(void **state)
{
	(void)state;
	fail_each(MODE_PLAIN);
	fail_each(MODE_EMULATED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_dma, clean_up),
		cmocka_unit_test_teardown(test_both, clean_up),
		cmocka_unit_test_teardown(test_static, clean_up),
		cmocka_unit_test_teardown(test_stuck, clean_up),
		cmocka_unit_test_teardown(test_registers, clean_up),
		cmocka_unit_test_teardown(test_boots, clean_up),
		cmocka_unit_test_teardown(test_device_lost, clean_up),
		cmocka_unit_test_teardown(test_kvm_realm, clean_up),
		cmocka_unit_test_teardown(test_functions, clean_up),
		cmocka_unit_test_teardown(test_refusals, clean_up),
		cmocka_unit_test_teardown(each_call_fails, clean_up),
		cmocka_unit_test_teardown(each_call_fails_running, clean_up),
	};
	const struct CMUnitTest limit[] = {	/* which iommufd has not */
		cmocka_unit_test_teardown(test_entries, clean_up),
	};
	int failed;

	log_set_level(LOG_ERROR);
	backend = VFIO_BACKEND_GROUP;
	failed = cmocka_run_group_tests_name("group", tests, NULL, NULL);
	failed += cmocka_run_group_tests_name("limit of type1", limit, NULL, NULL);
	backend = VFIO_BACKEND_IOMMUFD;
	return failed + cmocka_run_group_tests_name("iommufd", tests, NULL, NULL);
}
