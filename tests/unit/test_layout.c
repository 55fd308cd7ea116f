// SPDX-License-Identifier: BSD-3-Clause
/* The layout: where everything goes, and that it is a function of options and contents alone. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "realm/measure.h"
#include "tests/fakekvm/harness.h"
#include "tests/unit/mkimage.h"

#define KERNEL_LEN	20000
#define INITRD_LEN	50001
#define DTB_HIGH	UINT64_C(0x8fe00000)

static struct vm_config cfg;
static struct loader_files files;
static struct layout l;
static struct err e;
static const char *warned;

static const char *file_of(size_t len, uint8_t seed)
{
	uint8_t *p = malloc(len);
	const char *path;

	for (size_t i = 0; i < len; i++)
		p[i] = seed + i * 7;
	path = mk_file((struct blob){ p, len });
	free(p);
	return path;
}

static const char *kernel_file(void)
{
	struct blob b = mk_flat(KERNEL_LEN);
	const char *path = mk_file(b);

	blob_free(&b);
	return path;
}

static int setup(void **state)
{
	(void)state;
	config_defaults(&cfg);
	cfg.mode = MODE_EMULATED;
	cfg.kernel = (char *)kernel_file();
	memset(&l, 0, sizeof(l));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	layout_free(&l);
	mk_file_cleanup();
	return 0;
}

static uint64_t pmem_bytes[2];

static int make(struct layout *out)
{
	int ret;

	files = (struct loader_files){
		.kernel = -1, .initrd = -1, .firmware = -1, .dtb = -1,
		.kernel_path = cfg.kernel, .initrd_path = cfg.initrd, .dtb_path = cfg.dtb,
		.pmem_size = { pmem_bytes[0], pmem_bytes[1] },
	};
	memset(&e, 0, sizeof(e));
	ret = loader_open(&files, &e);
	capture_begin();
	if (!ret)
		ret = layout_make(&cfg, &files, 0, out, &e);
	warned = capture_end();
	loader_close(&files);
	return ret;
}

static void good(void)
{
	layout_free(&l);
	if (make(&l))
		fail_msg("%s", e.msg);
}

static void bad(int code, const char *word)
{
	layout_free(&l);
	assert_int_equal(make(&l), code);
	assert_int_equal(e.code, code);
	if (!strstr(e.msg, word))
		fail_msg("\"%s\" does not say \"%s\"", e.msg, word);
}

static const struct plan_piece *piece(const char *name)
{
	for (unsigned int i = 0; i < l.load.plan.nr; i++)
		if (!strcmp(l.load.plan.piece[i].name, name))
			return &l.load.plan.piece[i];
	return NULL;
}

static uint64_t cells(const void *fdt, const char *path, const char *prop, int first, int n)
{
	int len, node = fdt_path_offset(fdt, path);
	const fdt32_t *p = node < 0 ? NULL : fdt_getprop(fdt, node, prop, &len);
	uint64_t v = 0;

	if (!p || len < (first + n) * 4)
		fail_msg("no %s %s[%d]", path, prop, first);
	for (int i = 0; i < n; i++)
		v = v << 32 | fdt32_to_cpu(p[first + i]);
	return v;
}

/* ---- address space --------------------------------------------------------------------------- */

static void width(void **state)
{
	static const struct {
		uint64_t mem;
		ipa_t base;
		unsigned int given, plain, realm;
	} cases[] = {
		{ 512 * SZ_1M, MAP_RAM_BASE, 0, 32, 33 },
		{ 2 * SZ_1G, MAP_RAM_BASE, 0, 32, 33 },		/* ends at 2^32 exactly */
		{ 2 * SZ_1G + SZ_2M, MAP_RAM_BASE, 0, 33, 34 },
		{ 512 * SZ_1M, 4 * SZ_1G, 0, 33, 34 },
		{ 512 * SZ_1M, MAP_RAM_BASE, 40, 40, 40 },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		cfg.mem = cases[i].mem;
		cfg.mem_base = cases[i].base;
		cfg.ipa_bits = cases[i].given;
		cfg.mode = MODE_PLAIN;
		good();
		assert_int_equal(l.split.bits, cases[i].plain);
		assert_int_equal(l.split.shared, 0);
		cfg.mode = MODE_EMULATED;
		good();
		assert_int_equal(l.split.bits, cases[i].realm);
		assert_int_equal(l.split.shared, UINT64_C(1) << (cases[i].realm - 1));
	}
}

static void placement(void **state)
{
	static const struct {
		uint64_t mem;
		ipa_t dtb;
	} cases[] = {
		{ 512 * SZ_1M, DTB_HIGH },
		{ 256 * SZ_1M, DTB_HIGH },
		{ 4 * SZ_1G, DTB_HIGH },
		{ 128 * SZ_1M, MAP_RAM_BASE + 126 * SZ_1M },
		{ 16 * SZ_1M, MAP_RAM_BASE + 14 * SZ_1M },
	};

	(void)state;
	cfg.initrd = (char *)file_of(INITRD_LEN, 3);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct plan *p = &l.load.plan;
		const struct plan_piece *rd;

		cfg.mem = cases[i].mem;
		good();
		assert_int_equal(p->nr, 3);
		assert_string_equal(p->piece[0].name, "kernel");
		assert_string_equal(p->piece[2].name, "dtb");
		assert_int_equal(p->piece[2].ipa, cases[i].dtb);
		assert_int_equal(p->piece[2].len, MAP_DTB_SIZE);
		assert_int_equal(p->x[0], cases[i].dtb);
		assert_int_equal(p->pc, p->piece[0].ipa);
		for (int x = 1; x < 8; x++)
			assert_int_equal(p->x[x], 0);
		rd = piece("initrd");
		assert_int_equal(rd->len, INITRD_LEN);
		assert_int_equal(rd->ipa, ALIGN_DOWN(cases[i].dtb - INITRD_LEN, SZ_4K));
		assert_int_equal(cells(l.dtb, "/chosen", "linux,initrd-start", 0, 2), rd->ipa);
		assert_int_equal(cells(l.dtb, "/chosen", "linux,initrd-end", 0, 2),
				 rd->ipa + INITRD_LEN);
		assert_int_equal(cells(l.dtb, "/memory@80000000", "reg", 2, 2), cfg.mem);
		for (unsigned int n = 0; n < p->nr; n++)
			assert_true(p->piece[n].measured);
	}
}

static void gic(void **state)
{
	static const unsigned int cpus[] = { 1, 2, 16, CFG_CPUS_MAX };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cpus); i++) {
		cfg.cpus = cpus[i];
		cfg.irqchip = IRQCHIP_GICV3_ITS;
		good();
		assert_int_equal(l.gic.dist, 0x3fff0000);
		assert_int_equal(l.gic.redist, 0x3fff0000 - cpus[i] * 0x20000);
		assert_int_equal(l.gic.its_base, l.gic.redist - 0x20000);
		assert_true(l.gic.its);
		assert_true(l.gic.its_base >
			    MAP_VIRTIO_BASE + MAP_VIRTIO_COUNT * MAP_VIRTIO_STRIDE);
		cfg.irqchip = IRQCHIP_GICV3;
		good();
		assert_false(l.gic.its);
	}
}

static void mpidr(void **state)
{
	(void)state;
	assert_int_equal(layout_mpidr(0), 0);
	assert_int_equal(layout_mpidr(15), 0xf);
	assert_int_equal(layout_mpidr(16), 0x100);
	assert_int_equal(layout_mpidr(255), 0xf0f);
	assert_int_equal(layout_mpidr(256), 0x1000);
	assert_int_equal(layout_mpidr(4095), 0xff0f);
	assert_int_equal(layout_mpidr(4096), 0x10000);
	for (unsigned int a = 0; a < CFG_CPUS_MAX; a++)
		for (unsigned int b = 0; b < a; b++)
			assert_int_not_equal(layout_mpidr(a), layout_mpidr(b));
}

/* ---- devices --------------------------------------------------------------------------------- */

static unsigned int virtio_nodes(const void *fdt)
{
	unsigned int n = 0;
	int node = -1;

	while ((node = fdt_node_offset_by_compatible(fdt, node, "virtio,mmio")) >= 0)
		n++;
	return n;
}

static void virtio_on_pci(void **state)
{
	(void)state;
	good();
	assert_true(l.pci);
	assert_true(fdt_path_offset(l.dtb, "/pci@40000000") > 0);
	/* whatever is on the bus, the devicetree is the same */
	cfg.nr_disks = 60;
	cfg.rng = true;
	good();
	assert_int_equal(l.nr_virtio, 0);
	assert_int_equal(virtio_nodes(l.dtb), 0);
	cfg.nr_disks = CFG_MAX_DISKS;
	good();
	/* without an ITS mmio is the default, which is the options' decision, too */
	cfg.nr_disks = 1;
	cfg.irqchip = IRQCHIP_GICV3;
	good();
	assert_false(l.pci);
	assert_int_equal(virtio_nodes(l.dtb), 2);
	assert_true(fdt_path_offset(l.dtb, "/pci@40000000") < 0);
	cfg.transport = TRANSPORT_PCI;
	good();
	assert_true(l.pci);
	assert_int_equal(virtio_nodes(l.dtb), 0);
}

static void virtio(void **state)
{
	(void)state;
	cfg.transport = TRANSPORT_MMIO;
	good();
	assert_int_equal(l.nr_virtio, 0);
	assert_int_equal(virtio_nodes(l.dtb), 0);
	cfg.console = CONSOLE_VIRTIO;
	cfg.nr_disks = 3;
	cfg.rng = true;
	good();
	assert_int_equal(l.nr_virtio, 5);
	cfg.console = CONSOLE_SERIAL;
	good();
	assert_int_equal(l.nr_virtio, 4);
	cfg.nr_disks = 59;
	good();
	assert_int_equal(l.nr_virtio, MAP_VIRTIO_COUNT);
	assert_int_equal(virtio_nodes(l.dtb), MAP_VIRTIO_COUNT);
	for (unsigned int i = 0; i < l.nr_virtio; i++) {
		char path[32];
		int node;

		assert_int_equal(l.virtio[i].base, 0x3000000 + i * 0x200);
		assert_int_equal(l.virtio[i].spi, 4 + i);
		snprintf(path, sizeof(path), "/virtio@%" PRIx64, l.virtio[i].base);
		assert_int_equal(cells(l.dtb, path, "reg", 0, 2), l.virtio[i].base);
		assert_int_equal(cells(l.dtb, path, "interrupts", 1, 1), 4 + i);
		node = fdt_path_offset(l.dtb, path);
		assert_non_null(fdt_getprop(l.dtb, node, "dma-coherent", NULL));
	}
}

/* ---- reproducible ---------------------------------------------------------------------------- */

static void same_plan(const struct layout *a, const struct layout *b)
{
	assert_string_equal(a->cmdline, b->cmdline);
	assert_memory_equal(a->dtb, b->dtb, MAP_DTB_SIZE);
	assert_int_equal(a->load.plan.nr, b->load.plan.nr);
	assert_int_equal(a->load.plan.pc, b->load.plan.pc);
	assert_memory_equal(a->load.plan.x, b->load.plan.x, sizeof(a->load.plan.x));
	for (unsigned int i = 0; i < a->load.plan.nr; i++) {
		const struct plan_piece *p = &a->load.plan.piece[i], *q = &b->load.plan.piece[i];

		assert_string_equal(p->name, q->name);
		assert_int_equal(p->ipa, q->ipa);
		assert_int_equal(p->len, q->len);
		assert_int_equal(p->span, q->span);
		assert_int_equal(p->measured, q->measured);
	}
}

static void rim_of(const struct layout *a, struct rim *r)
{
	struct measurement m;
	struct rim_params p;

	layout_rim_params(&cfg, a, &p);
	if (measure_plan(&a->load.plan, &p, &m, &e) == -ENOSYS)
		skip();
	*r = m.rim;
}

/* Twice the same options and contents, from files with other names, in another place and time. */
static void reproducible(void **state)
{
	struct rim first, second;
	struct layout again;
	char cwd[4096];

	(void)state;
	cfg.cpus = 4;
	cfg.nr_disks = 2;
	cfg.rng = true;
	cfg.lkvm = true;
	cfg.params = (char *)"quiet";
	cfg.disk[0].path = (char *)"/a/disk";
	cfg.name = (char *)"guest-1";
	cfg.initrd = (char *)file_of(INITRD_LEN, 3);
	good();
	/* the files are closed again: what is measured is read anew below */
	files.kernel_path = cfg.kernel;
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_int_equal(chdir("/"), 0);
	setenv("HOME", "/nowhere", 1);
	setenv("TZ", "Asia/Tokyo", 1);
	cfg.kernel = (char *)kernel_file();
	cfg.initrd = (char *)file_of(INITRD_LEN, 3);
	cfg.disk[0].path = (char *)"/another/disk";
	cfg.disk[1].readonly = true;
	cfg.name = (char *)"guest-4711";
	cfg.loglevel = LOG_DEBUG;
	cfg.vcpu_affinity = (char *)"0";
	assert_int_equal(make(&again), 0);
	assert_int_equal(chdir(cwd), 0);
	same_plan(&l, &again);
	layout_free(&again);

	/* and the measurement, which reads the contents */
	assert_int_equal(loader_open(&files, &e), 0);
	layout_free(&l);
	assert_int_equal(layout_make(&cfg, &files, 0, &l, &e), 0);
	rim_of(&l, &first);
	rim_of(&l, &second);
	assert_memory_equal(first.value, second.value, REALM_HASH_MAX);
	cfg.cpus = 5;
	assert_int_equal(layout_make(&cfg, &files, 0, &again, &e), 0);
	rim_of(&again, &second);
	assert_memory_not_equal(first.value, second.value, REALM_HASH_MAX);
	layout_free(&again);
	loader_close(&files);
}

/* What must show: each of these changes the bytes that the guest starts with. */
static void what_counts(void **state)
{
	struct vm_config was;
	struct layout other;

	(void)state;
	cfg.params = (char *)"a";
	cfg.transport = TRANSPORT_MMIO;
	good();
	was = cfg;
	for (int i = 0; i < 9; i++) {
		cfg = was;
		switch (i) {
		case 0: cfg.cpus++; break;
		case 1: cfg.mem += SZ_2M; break;
		case 2: cfg.params = (char *)"b"; break;
		case 3: cfg.rng = true; break;
		case 4: cfg.irqchip = IRQCHIP_GICV3; break;
		case 5: cfg.mode = MODE_PLAIN; break;		/* PSCI's conduit */
		case 6: cfg.pmu = true; break;
		case 7: cfg.kaslr_seed_set = true; cfg.kaslr_seed = 1; break;
		case 8: cfg.transport = TRANSPORT_PCI; break;
		}
		assert_int_equal(make(&other), 0);
		assert_memory_not_equal(other.dtb, l.dtb, MAP_DTB_SIZE);
		layout_free(&other);
	}
	cfg = was;
}

static void rim_params(void **state)
{
	struct rim_params p;

	(void)state;
	good();
	layout_rim_params(&cfg, &l, &p);
	assert_int_equal(p.s2sz, 33);
	assert_int_equal(p.num_bps, 1);
	assert_int_equal(p.num_wps, 1);
	assert_false(p.sve);
	assert_false(p.pmu);
	cfg.ipa_bits = 40;
	cfg.hash = HASH_SHA512;
	cfg.sve_max_vl = 512;
	cfg.pmu = true;
	cfg.pmu_counters = 5;
	good();
	layout_rim_params(&cfg, &l, &p);
	assert_int_equal(p.s2sz, 40);
	assert_int_equal(p.algo, REALM_SHA512);
	assert_true(p.sve);
	assert_int_equal(p.sve_vl, 3);
	assert_true(p.pmu);
	assert_int_equal(p.pmu_ctrs, 5);
}

/* ---- the user's devicetree ------------------------------------------------------------------- */

static const char *save_dtb(const void *dtb, size_t len)
{
	return mk_file((struct blob){ (uint8_t *)dtb, len });
}

static void user_dtb(void **state)
{
	uint8_t dtb[MAP_DTB_SIZE];
	ipa_t start, end;
	int node;

	(void)state;
	cfg.initrd = (char *)file_of(INITRD_LEN, 3);
	cfg.params = (char *)"one two";
	good();
	memcpy(dtb, l.dtb, sizeof(dtb));
	start = l.load.initrd_start;
	end = l.load.initrd_end;

	/* the tree of this very machine gives this very machine */
	cfg.dtb = (char *)save_dtb(dtb, fdt_totalsize(dtb));
	cfg.params = NULL;
	good();
	assert_memory_equal(l.dtb, dtb, fdt_totalsize(dtb));
	for (size_t i = fdt_totalsize(dtb); i < sizeof(dtb); i++)
		assert_int_equal(l.dtb[i], 0);
	assert_int_equal(l.load.initrd_start, start);
	assert_int_equal(l.load.initrd_end, end);
	assert_string_equal(warned, "");
	/* its command line counts */
	cfg.params = (char *)"three";
	good();
	assert_non_null(strstr(warned, "-p is ignored"));
	assert_memory_equal(l.dtb, dtb, fdt_totalsize(dtb));
	cfg.params = NULL;

	/* the initrd goes where it says */
	assert_int_equal(fdt_setprop_inplace_u64(dtb, fdt_path_offset(dtb, "/chosen"),
						 "linux,initrd-start", 0x88000000), 0);
	assert_int_equal(fdt_setprop_inplace_u64(dtb, fdt_path_offset(dtb, "/chosen"),
						 "linux,initrd-end", 0x88000000 + INITRD_LEN), 0);
	cfg.dtb = (char *)save_dtb(dtb, fdt_totalsize(dtb));
	good();
	assert_int_equal(piece("initrd")->ipa, 0x88000000);

	/* a realm finds its monitor with smc only */
	node = fdt_path_offset(dtb, "/psci");
	assert_int_equal(fdt_setprop_inplace(dtb, node, "method", "hvc", 4), 0);
	cfg.dtb = (char *)save_dtb(dtb, fdt_totalsize(dtb));
	good();
	assert_non_null(strstr(warned, "\"hvc\""));
	assert_non_null(strstr(warned, "smc"));
	cfg.mode = MODE_PLAIN;
	good();
	assert_string_equal(warned, "");
}

static void bad_dtb(void **state)
{
	(void)state;
	cfg.dtb = (char *)file_of(1000, 1);
	bad(-EINVAL, "devicetree");
	cfg.dtb = (char *)file_of(MAP_DTB_SIZE + 1, 1);
	bad(-EFBIG, "does not fit");
}

/* ---- refused --------------------------------------------------------------------------------- */

static void refused(void **state)
{
	char *p = malloc(3000);

	(void)state;
	memset(p, 'a', 2999);
	p[2999] = '\0';
	cfg.params = p;
	bad(-E2BIG, "-p");
	free(p);
	cfg.params = NULL;
	cfg.initrd = (char *)file_of(8 * SZ_1M, 1);
	cfg.mem = 4 * SZ_1M;
	bad(-ENOSPC, "-m");
	cfg.initrd = NULL;
	cfg.mem = 512 * SZ_1M;
	cfg.kernel = (char *)"/nonexistent";
	bad(-ENOENT, "Unable to open kernel /nonexistent");
}

/* Above RAM, aligned, in the order of the options; the address space is wide enough for them. */
static void pmem(void **state)
{
	cfg.mode = MODE_PLAIN;
	cfg.mem = 512 * SZ_1M;
	cfg.nr_pmems = 2;
	cfg.pmem[0].path = strdup("a");
	cfg.pmem[1].path = strdup("b");
	pmem_bytes[0] = SZ_2M;
	pmem_bytes[1] = 3 * SZ_1G;
	good();
	assert_int_equal(l.pmem[0].base, 0xa0000000);
	assert_int_equal(l.pmem[0].size, SZ_2M);
	assert_int_equal(l.pmem[1].base, 0xc0000000);
	assert_int_equal(l.pmem[1].size, 3 * SZ_1G);
	assert_int_equal(l.split.bits, 33);
	pmem_bytes[1] = UINT64_C(1) << 52;
	bad(-E2BIG, "give less RAM or a smaller file");
	pmem_bytes[1] = UINT64_MAX - SZ_2M + 1;
	bad(-E2BIG, "--pmem b");
	pmem_bytes[0] = pmem_bytes[1] = 0;
	free(cfg.pmem[0].path);
	free(cfg.pmem[1].path);
}

static void mem64(void **state)
{
	cfg.mode = MODE_PLAIN;
	cfg.mem = 512 * SZ_1M;
	cfg.pci_mem64 = SZ_1G;
	good();
	/* above the RAM's end at 0xa0000000 */
	assert_int_equal(l.mem64.base, UINT64_C(1) << 32);
	assert_int_equal(l.mem64.size, SZ_1G);
	assert_int_equal(l.split.bits, 33);
	cfg.mode = MODE_EMULATED;
	good();
	assert_int_equal(l.split.bits, 34);
	/* a BAR as large as the window has its place */
	cfg.pci_mem64 = 64 * SZ_1G;
	good();
	assert_int_equal(l.mem64.base, 64 * SZ_1G);
	assert_int_equal(l.split.bits, 38);
	cfg.ipa_bits = 34;
	bad(-EINVAL, "64-bit PCI window");
	cfg.ipa_bits = 0;
	cfg.mem = UINT64_C(1) << 50;
	cfg.pci_mem64 = UINT64_C(1) << 44;
	good();
	cfg.mem = UINT64_C(3) << 50;
	bad(-E2BIG, "--pci-mem64");
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(width), T(placement), T(gic), T(mpidr), T(virtio), T(virtio_on_pci),
		T(reproducible), T(what_counts), T(rim_params), T(user_dtb), T(bad_dtb), T(refused),
		T(pmem), T(mem64),
	};

	log_set_level(LOG_WARNING);
	return cmocka_run_group_tests_name("layout", tests, NULL, NULL);
}
