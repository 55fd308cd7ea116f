// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libfdt.h>

#include "fdt/dt.h"
#include "fdt/writer.h"
#include "vmm/board/memmap.h"
#include "vmm/core/err.h"

static uint64_t mpidr[DT_MAX_CPUS];
static struct dt_virtio slots[MAP_VIRTIO_COUNT];
static uint8_t blob[MAP_DTB_SIZE] __attribute__((aligned(8)));

/* A machine with all that there is; tests take away. */
static struct dt_machine machine(unsigned int cpus, unsigned int virtio)
{
	/* KVM's default: 16 CPUs per Aff0, bit 31 is RES1 */
	for (unsigned int i = 0; i < DT_MAX_CPUS; i++)
		mpidr[i] = 0x80000000 | (i & 15) | (uint64_t)(i >> 4) << 8;
	for (unsigned int i = 0; i < MAP_VIRTIO_COUNT; i++) {
		slots[i].base = MAP_VIRTIO_BASE + i * MAP_VIRTIO_STRIDE;
		slots[i].spi = MAP_VIRTIO_SPI + i;
	}
	return (struct dt_machine){
		.nr_cpus = cpus,
		.mpidr = mpidr,
		.ram_base = MAP_RAM_BASE,
		.ram_size = 0x123400000,
		.its = true,
		.gicd_base = MAP_GICD_BASE,
		.gicr_base = MAP_GICD_BASE - cpus * MAP_GICR_SIZE,
		.gits_base = MAP_GICD_BASE - cpus * MAP_GICR_SIZE - MAP_GITS_SIZE,
		.gicr_size = cpus * MAP_GICR_SIZE,
		.nr_uarts = 4,
		.rtc = true,
		.nr_virtio = virtio,
		.virtio = slots,
		.cmdline = "console=ttyS0 root=/dev/vda",
	};
}

static void build(const struct dt_machine *m)
{
	struct err e;

	memset(blob, 0xa5, sizeof(blob));
	assert_int_equal(dt_build(m, blob, sizeof(blob), &e), 0);
	assert_int_equal(fdt_check_full(blob, sizeof(blob)), 0);
}

static int node(const char *path)
{
	int off = fdt_path_offset(blob, path);

	if (off < 0)
		fail_msg("no node %s: %s", path, fdt_strerror(off));
	return off;
}

static bool has(const char *path, const char *prop)
{
	return fdt_getprop(blob, node(path), prop, NULL) != NULL;
}

static void assert_str(const char *path, const char *prop, const char *want)
{
	int len;
	const char *val = fdt_getprop(blob, node(path), prop, &len);

	assert_non_null(val);
	assert_int_equal(len, strlen(want) + 1);
	assert_string_equal(val, want);
}

static void assert_cells(const char *path, const char *prop, const uint32_t *want, int nr)
{
	int len;
	const fdt32_t *val = fdt_getprop(blob, node(path), prop, &len);

	assert_non_null(val);
	assert_int_equal(len, nr * 4);
	for (int i = 0; i < nr; i++)
		assert_int_equal(fdt32_to_cpu(val[i]), want[i]);
}

#define assert_prop(path, prop, ...)							\
	do {										\
		const uint32_t want_[] = { __VA_ARGS__ };				\
		assert_cells(path, prop, want_, ARRAY_SIZE(want_));			\
	} while (0)

static void plain_machine(void **state)
{
	struct dt_machine m = machine(1, 1);

	(void)state;
	build(&m);
	assert_str("/", "compatible", "linux,dummy-virt");
	assert_prop("/", "#address-cells", 2);
	assert_prop("/", "#size-cells", 2);
	assert_prop("/", "interrupt-parent", 1);

	assert_str("/chosen", "bootargs", m.cmdline);
	assert_str("/chosen", "stdout-path", "serial0");
	assert_false(has("/chosen", "linux,initrd-start"));
	assert_false(has("/chosen", "kaslr-seed"));

	assert_str("/memory@80000000", "device_type", "memory");
	assert_prop("/memory@80000000", "reg", 0, 0x80000000, 1, 0x23400000);

	assert_prop("/cpus", "#address-cells", 1);
	assert_prop("/cpus", "#size-cells", 0);
	assert_str("/cpus/cpu@0", "device_type", "cpu");
	assert_str("/cpus/cpu@0", "compatible", "arm,arm-v8");
	assert_str("/cpus/cpu@0", "enable-method", "psci");
	assert_prop("/cpus/cpu@0", "reg", 0);

	assert_str("/psci", "method", "hvc");
	assert_true(fdt_node_check_compatible(blob, node("/psci"), "arm,psci-1.0") == 0);
	assert_true(fdt_node_check_compatible(blob, node("/psci"), "arm,psci-0.2") == 0);
	assert_prop("/psci", "cpu_on", 0xc4000003);

	assert_str("/intc@3fff0000", "compatible", "arm,gic-v3");
	assert_prop("/intc@3fff0000", "reg", 0, 0x3fff0000, 0, 0x10000, 0, 0x3ffd0000, 0, 0x20000);
	assert_prop("/intc@3fff0000", "phandle", 1);
	assert_prop("/intc@3fff0000", "#interrupt-cells", 3);
	assert_true(has("/intc@3fff0000", "interrupt-controller"));
	assert_true(has("/intc@3fff0000", "ranges"));
	assert_str("/intc@3fff0000/msic@3ffb0000", "compatible", "arm,gic-v3-its");
	assert_prop("/intc@3fff0000/msic@3ffb0000", "reg", 0, 0x3ffb0000, 0, 0x20000);
	assert_prop("/intc@3fff0000/msic@3ffb0000", "phandle", 2);
	assert_prop("/intc@3fff0000/msic@3ffb0000", "#msi-cells", 1);
	assert_true(has("/intc@3fff0000/msic@3ffb0000", "msi-controller"));

	assert_prop("/timer", "interrupts", 1, 13, 8, 1, 14, 8, 1, 11, 8, 1, 10, 8);
	assert_true(has("/timer", "always-on"));
	assert_true(fdt_node_check_compatible(blob, node("/timer"), "arm,armv8-timer") == 0);

	assert_str("/virtio@3000000", "compatible", "virtio,mmio");
	assert_prop("/virtio@3000000", "reg", 0, 0x3000000, 0, 0x200);
	assert_prop("/virtio@3000000", "interrupts", 0, 4, 1);

	assert_str("/rtc@1010000", "compatible", "motorola,mc146818");
	assert_prop("/rtc@1010000", "reg", 0, 0x1010000, 0, 2);
	assert_str("/aliases", "rtc0", "/rtc@1010000");

	assert_true(fdt_path_offset(blob, "/pmu") < 0);
	assert_true(fdt_path_offset(blob, "/flash@2000000") < 0);
}

static void realm_machine(void **state)
{
	struct dt_machine m = machine(4, 2);

	(void)state;
	m.psci_smc = true;
	m.pmu = true;
	m.flash = true;
	m.flash_size = 0x400000;
	m.initrd_start = 0x8f000000;
	m.initrd_end = 0x18fdfffff;
	m.stdout_path = "/virtio@3000000";
	m.kaslr_seed_set = true;
	m.kaslr_seed = 0x1122334455667788;
	build(&m);
	assert_str("/psci", "method", "smc");
	assert_str("/pmu", "compatible", "arm,armv8-pmuv3");
	assert_prop("/pmu", "interrupts", 1, 7, 4);
	assert_str("/flash@2000000", "compatible", "cfi-flash");
	assert_str("/flash@2000000", "label", "System-firmware");
	assert_prop("/flash@2000000", "reg", 0, 0x2000000, 0, 0x400000);
	assert_prop("/flash@2000000", "bank-width", 4);
	assert_prop("/chosen", "linux,initrd-start", 0, 0x8f000000);
	assert_prop("/chosen", "linux,initrd-end", 1, 0x8fdfffff);
	assert_str("/chosen", "stdout-path", "/virtio@3000000");
	assert_prop("/chosen", "kaslr-seed", 0x11223344, 0x55667788);
	for (unsigned int i = 0; i < 4; i++) {
		char path[32];

		snprintf(path, sizeof(path), "/cpus/cpu@%u", i);
		assert_prop(path, "reg", i);
	}
}

/* As QEMU's virt describes its own, so what finds that one finds this one. */
static void power_button(void **state)
{
	struct dt_machine m = machine(1, 0);
	const char *key = "/gpio-keys/poweroff", *ctrl = "/pl061@1020000";
	int len;

	(void)state;
	build(&m);
	assert_true(fdt_path_offset(blob, "/gpio-keys") < 0);
	assert_true(fdt_node_offset_by_compatible(blob, -1, "arm,pl061") < 0);
	m.power_button = true;
	build(&m);
	assert_int_equal(fdt_node_check_compatible(blob, node(ctrl), "arm,pl061"), 0);
	assert_int_equal(fdt_node_check_compatible(blob, node(ctrl), "arm,primecell"), 0);
	assert_prop(ctrl, "reg", 0, 0x1020000, 0, 0x1000);
	assert_prop(ctrl, "interrupts", 0, 96, 4);
	assert_prop(ctrl, "#gpio-cells", 2);
	assert_true(has(ctrl, "gpio-controller"));
	assert_str(ctrl, "clock-names", "apb_pclk");
	assert_prop(ctrl, "clocks", fdt_get_phandle(blob, node("/apb-pclk")));
	assert_str("/apb-pclk", "compatible", "fixed-clock");
	assert_non_null(fdt_getprop(blob, node("/apb-pclk"), "clock-frequency", &len));
	assert_int_equal(len, 4);
	assert_str("/gpio-keys", "compatible", "gpio-keys");
	assert_prop(key, "linux,code", 116);
	assert_prop(key, "gpios", fdt_get_phandle(blob, node(ctrl)), 3, 0);
}

static void without_this_and_that(void **state)
{
	struct dt_machine m = machine(1, 0);

	(void)state;
	m.its = false;
	m.rtc = false;
	m.nr_uarts = 0;
	m.virtio = NULL;
	m.cmdline = "";
	build(&m);
	assert_true(fdt_path_offset(blob, "/intc@3fff0000/msic@3ffb0000") < 0);
	assert_true(fdt_path_offset(blob, "/rtc@1010000") < 0);
	assert_true(fdt_path_offset(blob, "/aliases") < 0);
	assert_false(has("/chosen", "stdout-path"));
	assert_str("/chosen", "bootargs", "");
	assert_true(fdt_node_offset_by_compatible(blob, -1, "virtio,mmio") < 0);
}

static void uarts_and_their_names(void **state)
{
	static const char *const alias[] = { "serial0", "serial1", "serial2", "serial3" };
	struct dt_machine m = machine(1, 0);

	(void)state;
	build(&m);
	for (unsigned int i = 0; i < 4; i++) {
		const char *path = fdt_get_alias(blob, alias[i]);

		assert_non_null(path);
		assert_str(path, "compatible", "ns16550a");
		assert_prop(path, "reg", 0, 0x1000000 + i * 0x1000, 0, 8);
		assert_prop(path, "interrupts", 0, i, 4);
		assert_prop(path, "clock-frequency", 1843200);
	}
	m.nr_uarts = 2;
	build(&m);
	assert_null(fdt_get_alias(blob, alias[2]));
}

/* dma-coherent matters on silicon only, so no boot test can miss it. */
static void every_virtio_node_is_coherent(void **state)
{
	struct dt_machine m = machine(512, 60);
	unsigned int nr = 0;

	(void)state;
	build(&m);
	for (int off = fdt_node_offset_by_compatible(blob, -1, "virtio,mmio"); off >= 0;
	     off = fdt_node_offset_by_compatible(blob, off, "virtio,mmio")) {
		char path[32];
		uint64_t base = MAP_VIRTIO_BASE + nr * MAP_VIRTIO_STRIDE;

		snprintf(path, sizeof(path), "/virtio@%" PRIx64, base);
		assert_int_equal(node(path), off);
		assert_true(has(path, "dma-coherent"));
		assert_prop(path, "reg", 0, base, 0, 0x200);
		assert_prop(path, "interrupts", 0, MAP_VIRTIO_SPI + nr, 1);
		nr++;
	}
	assert_int_equal(nr, 60);
}

static void pci_bus(void **state)
{
	static const char pci[] = "/pci@40000000";
	struct dt_machine m = machine(1, 0);
	const fdt32_t *map;
	int len;

	(void)state;
	build(&m);
	assert_int_equal(fdt_path_offset(blob, pci), -FDT_ERR_NOTFOUND);
	m.pci = true;
	build(&m);
	assert_str(pci, "device_type", "pci");
	assert_str(pci, "compatible", "pci-host-ecam-generic");
	assert_prop(pci, "#address-cells", 3);
	assert_prop(pci, "#size-cells", 2);
	assert_prop(pci, "#interrupt-cells", 1);
	assert_prop(pci, "bus-range", 0, 0);
	assert_prop(pci, "reg", 0, 0x40000000, 0, 0x10000000);
	assert_prop(pci, "ranges", 0x01000000, 0, 0, 0, 0, 0, 0x10000,
		    0x02000000, 0, 0x50000000, 0, 0x50000000, 0, 0x30000000);
	assert_true(has(pci, "dma-coherent"));
	assert_prop(pci, "interrupt-map-mask", 0xf800, 0, 0, 7);
	assert_prop(pci, "msi-map", 0, 2, 0, 0x10000);
	/* pin A of device n is SPI 64 + n, level */
	map = fdt_getprop(blob, node(pci), "interrupt-map", &len);
	assert_non_null(map);
	assert_int_equal(len, 32 * 10 * 4);
	for (uint32_t i = 0; i < 32; i++) {
		const uint32_t want[] = { i << 11, 0, 0, 1, 1, 0, 0, 0, 64 + i, 4 };

		for (unsigned int k = 0; k < ARRAY_SIZE(want); k++)
			assert_int_equal(fdt32_to_cpu(map[10 * i + k]), want[k]);
	}
	/* the parents of these phandles take as many cells as the map has */
	assert_prop("/intc@3fff0000", "phandle", 1);
	assert_prop("/intc@3fff0000", "#address-cells", 2);
	assert_prop("/intc@3fff0000", "#interrupt-cells", 3);

	m.its = false;
	build(&m);
	assert_false(has(pci, "msi-map"));
	m.pci_mem64_base = 0x1000000000;
	m.pci_mem64_size = 0x400000000;
	build(&m);
	assert_prop(pci, "ranges", 0x01000000, 0, 0, 0, 0, 0, 0x10000,
		    0x02000000, 0, 0x50000000, 0, 0x50000000, 0, 0x30000000,
		    0x03000000, 0x10, 0, 0x10, 0, 4, 0);
}

static void many_cpus(void **state)
{
	struct dt_machine m = machine(512, 60);
	struct dt_user u;
	struct err e;
	char path[32];

	(void)state;
	build(&m);
	for (unsigned int i = 0; i < 512; i++) {
		uint32_t aff = (i & 15) | (i >> 4) << 8;

		snprintf(path, sizeof(path), "/cpus/cpu@%x", aff);
		assert_prop(path, "reg", aff);
	}
	assert_int_equal(dt_parse_user(blob, sizeof(blob), &u, &e), 0);
	assert_int_equal(u.nr_cpus, 512);
	assert_prop("/intc@3fff0000", "reg", 0, 0x3fff0000, 0, 0x10000, 0, 0x3bff0000, 0,
		    0x4000000);
}

static void same_machine_same_bytes(void **state)
{
	static uint8_t other[MAP_DTB_SIZE] __attribute__((aligned(8)));
	static const unsigned int cpus[] = { 1, 7, 512 };
	struct err e;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cpus); i++) {
		struct dt_machine m = machine(cpus[i], 13 * i);
		size_t used;

		build(&m);
		memset(other, 0x5a, sizeof(other));
		assert_int_equal(dt_build(&m, other, sizeof(other), &e), 0);
		assert_memory_equal(blob, other, sizeof(blob));
		/* packed, and zeros behind */
		used = fdt_totalsize(blob);
		assert_true(used < sizeof(blob));
		assert_int_equal(used, fdt_off_dt_strings(blob) + fdt_size_dt_strings(blob));
		for (size_t at = used; at < sizeof(blob); at++)
			assert_int_equal(blob[at], 0);
		assert_int_equal(fdt_version(blob), 17);
		assert_int_equal(fdt_last_comp_version(blob), 16);
	}
}

/*
 * The bytes of two machines, as hashes (FNV-1a). A change here changes the measurement of every
 * realm: it must be wanted, and told in the change log.
 */
static void bytes_do_not_drift(void **state)
{
	static const struct {
		unsigned int virtio;
		bool pci;
		uint64_t hash;
	} want[] = {
		{ 3, false, 0xc6aa1e1d1ef745af },
		{ 0, true, 0xea5740e3661a3f4a },
	};

	(void)state;
	for (unsigned int k = 0; k < ARRAY_SIZE(want); k++) {
		struct dt_machine m = machine(2, want[k].virtio);
		uint64_t hash = 0xcbf29ce484222325;

		m.psci_smc = true;
		m.pci = want[k].pci;
		build(&m);
		for (size_t i = 0; i < sizeof(blob); i++)
			hash = (hash ^ blob[i]) * 0x100000001b3;
		assert_int_equal(hash, want[k].hash);
	}
}

static void what_does_not_fit(void **state)
{
	struct dt_machine m = machine(1, 4);
	static char line[MAP_DTB_SIZE + 1];
	struct err e;

	(void)state;
	memset(line, 'x', sizeof(line) - 1);
	m.cmdline = line;
	assert_int_equal(dt_build(&m, blob, sizeof(blob), &e), -ENOSPC);
	assert_non_null(strstr(e.msg, "command line is too long"));
	/* long, but it fits */
	line[40000] = '\0';
	build(&m);
	assert_str("/chosen", "bootargs", line);

	m = machine(512, 60);
	assert_int_equal(dt_build(&m, blob, 32768, &e), -ENOSPC);
	assert_non_null(strstr(e.msg, "too many devices"));
	/* Every size there is either works or says so; the sanitizer watches the bounds. */
	m = machine(2, 2);
	for (size_t size = 0; size < 8192; size++) {
		uint8_t *buf = malloc(size);
		int rc = dt_build(&m, buf, size, &e);

		assert_true(rc == 0 || rc == -ENOSPC);
		if (rc == 0)
			assert_int_equal(fdt_check_full(buf, size), 0);
		free(buf);
	}
}

static void impossible_machines(void **state)
{
	struct dt_machine m = machine(0, 0);
	struct err e;

	(void)state;
	assert_int_equal(dt_build(&m, blob, sizeof(blob), &e), -EINVAL);
	m = machine(512, 0);
	m.nr_cpus = 513;
	assert_int_equal(dt_build(&m, blob, sizeof(blob), &e), -EINVAL);
	m = machine(2, 0);
	mpidr[1] = 0x100000000;
	assert_int_equal(dt_build(&m, blob, sizeof(blob), &e), -EINVAL);
	assert_non_null(strstr(e.msg, "CPU 1"));
	m = machine(1, 0);
	m.nr_uarts = 5;
	assert_int_equal(dt_build(&m, blob, sizeof(blob), &e), -EINVAL);
	m = machine(1, 0);
	m.initrd_start = 2;
	m.initrd_end = 1;
	assert_int_equal(dt_build(&m, blob, sizeof(blob), &e), -EINVAL);
}

static void writer_errors_stick(void **state)
{
	struct dtw w;

	(void)state;
	dtw_begin(&w, blob, sizeof(blob));
	dtw_node(&w, "");
	dtw_node_at(&w, "a-name-that-is-much-longer-than-any-name-of-a-node-may-be-here", 1);
	dtw_str(&w, "x", "y");
	dtw_end(&w);
	dtw_end(&w);
	assert_int_equal(dtw_finish(&w), -FDT_ERR_BADVALUE);

	dtw_begin(&w, blob, sizeof(blob));
	dtw_node(&w, "");
	assert_int_equal(dtw_finish(&w), -FDT_ERR_BADSTRUCTURE);

	dtw_begin(&w, blob, sizeof(blob));
	dtw_node(&w, "");
	dtw_end(&w);
	dtw_end(&w);
	assert_int_equal(dtw_finish(&w), -FDT_ERR_BADSTRUCTURE);

	dtw_begin(&w, blob, 64);
	dtw_node(&w, "");
	dtw_str(&w, "name", "a value that does not fit in what is left");
	dtw_u32(&w, "n", 1);
	dtw_end(&w);
	assert_int_equal(dtw_finish(&w), -FDT_ERR_NOSPACE);
}

/* ---- --dtb ---------------------------------------------------------------------------------- */

static int parse(struct dt_user *u, struct err *e)
{
	return dt_parse_user(blob, sizeof(blob), u, e);
}

static void user_blob(void **state)
{
	struct dt_machine m = machine(3, 2);
	struct dt_user u;
	struct err e;

	(void)state;
	m.psci_smc = true;
	m.initrd_start = 0x88000000;
	m.initrd_end = 0x88123456;
	build(&m);
	assert_int_equal(parse(&u, &e), 0);
	assert_int_equal(u.initrd_start, m.initrd_start);
	assert_int_equal(u.initrd_end, m.initrd_end);
	assert_string_equal(u.psci_method, "smc");
	assert_string_equal(u.bootargs, m.cmdline);
	assert_int_equal(u.nr_cpus, 3);
	assert_int_equal(u.mem_base, m.ram_base);
	assert_int_equal(u.mem_size, m.ram_size);
	assert_int_equal(u.size, fdt_totalsize(blob));
}

/* A tree with a /chosen of the caller's making. */
static struct dtw *begin_user(struct dtw *w, uint32_t cells)
{
	dtw_begin(w, blob, sizeof(blob));
	dtw_node(w, "");
	dtw_u32(w, "#address-cells", cells);
	dtw_u32(w, "#size-cells", cells);
	return w;
}

static int end_user(struct dtw *w, struct dt_user *u, struct err *e)
{
	dtw_end(w);
	assert_int_equal(dtw_finish(w), 0);
	return parse(u, e);
}

static void user_blob_without_nodes(void **state)
{
	static const struct dt_user none;
	struct dt_user u;
	struct dtw w;
	struct err e;

	(void)state;
	assert_int_equal(end_user(begin_user(&w, 2), &u, &e), 0);
	assert_int_equal(u.initrd_end, none.initrd_end);
	assert_null(u.psci_method);
	assert_null(u.bootargs);
	assert_int_equal(u.nr_cpus, 0);
	assert_int_equal(u.mem_size, 0);
}

static void user_blob_32_bit(void **state)
{
	static const uint32_t reg[] = { 0x80000000, 0x10000000 };
	struct dt_user u;
	struct dtw w;
	struct err e;

	(void)state;
	begin_user(&w, 1);
	dtw_node(&w, "chosen");
	dtw_u32(&w, "linux,initrd-start", 0x88000000);
	dtw_u32(&w, "linux,initrd-end", 0x89000000);
	dtw_end(&w);
	dtw_node(&w, "memory");
	dtw_str(&w, "device_type", "memory");
	dtw_cells(&w, "reg", reg, 2);
	dtw_end(&w);
	assert_int_equal(end_user(&w, &u, &e), 0);
	assert_int_equal(u.initrd_start, 0x88000000);
	assert_int_equal(u.initrd_end, 0x89000000);
	assert_int_equal(u.mem_base, 0x80000000);
	assert_int_equal(u.mem_size, 0x10000000);
}

struct bad_chosen {
	const char *says;
	int start_len, end_len;		/* -1: absent */
	uint64_t start, end;
};

static void user_blob_bad_initrd(void **state)
{
	static const struct bad_chosen bad[] = {
		{ "needs both", 8, -1, 1, 0 },
		{ "needs both", -1, 8, 0, 1 },
		{ "4 or 8", 0, 8, 0, 1 },
		{ "4 or 8", 8, 12, 0, 1 },
		{ "4 or 8", 3, 4, 0, 1 },
		{ "before", 8, 8, 2, 1 },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		fdt64_t start[2] = { cpu_to_fdt64(bad[i].start) };
		fdt64_t end[2] = { cpu_to_fdt64(bad[i].end) };
		struct dt_user u;
		struct dtw w;
		struct err e;

		begin_user(&w, 2);
		dtw_node(&w, "chosen");
		if (bad[i].start_len >= 0)
			dtw_data(&w, "linux,initrd-start", start, bad[i].start_len);
		if (bad[i].end_len >= 0)
			dtw_data(&w, "linux,initrd-end", end, bad[i].end_len);
		dtw_end(&w);
		assert_int_equal(end_user(&w, &u, &e), -EINVAL);
		assert_non_null(strstr(e.msg, bad[i].says));
	}
}

static void user_blob_bad_values(void **state)
{
	static const uint64_t wrap[] = { UINT64_MAX - 10, 100 };
	struct dt_user u;
	struct dtw w;
	struct err e;

	(void)state;
	begin_user(&w, 2);
	dtw_node(&w, "chosen");
	dtw_data(&w, "bootargs", "no end", 6);
	dtw_end(&w);
	assert_int_equal(end_user(&w, &u, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "bootargs"));

	begin_user(&w, 2);
	dtw_node(&w, "psci");
	dtw_str(&w, "compatible", "arm,psci-0.2");
	dtw_str(&w, "method", "svc");
	dtw_end(&w);
	assert_int_equal(end_user(&w, &u, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "psci"));
	assert_null(u.psci_method);

	begin_user(&w, 2);
	dtw_node(&w, "memory@0");
	dtw_str(&w, "device_type", "memory");
	dtw_u64s(&w, "reg", wrap, 2);
	dtw_end(&w);
	assert_int_equal(end_user(&w, &u, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "wraps"));

	begin_user(&w, 2);
	dtw_node(&w, "memory@0");
	dtw_str(&w, "device_type", "memory");
	dtw_u64s(&w, "reg", wrap, 1);
	dtw_end(&w);
	assert_int_equal(end_user(&w, &u, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "short"));

	begin_user(&w, 4);
	dtw_node(&w, "memory@0");
	dtw_str(&w, "device_type", "memory");
	dtw_u64s(&w, "reg", wrap, 2);
	dtw_end(&w);
	assert_int_equal(end_user(&w, &u, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "cells"));
}

static void user_blob_truncated(void **state)
{
	struct dt_machine m = machine(2, 2);
	struct dt_user u;
	struct err e;
	size_t used;

	(void)state;
	build(&m);
	used = fdt_totalsize(blob);
	for (size_t len = 0; len < used; len++) {
		uint8_t *copy = malloc(len);	/* its own, so that ASan sees the end */

		memcpy(copy, blob, len);
		assert_int_equal(dt_parse_user(copy, len, &u, &e), -EINVAL);
		assert_int_equal(u.size, 0);
		free(copy);
	}
	assert_int_equal(dt_parse_user(blob, used, &u, &e), 0);
}

static void user_blob_corrupted(void **state)
{
	struct dt_machine m = machine(2, 2);
	struct dt_user u;
	struct err e;
	size_t used;
	uint8_t *copy;
	uint32_t seed = 1;
	unsigned int refused = 0;

	(void)state;
	m.initrd_start = 0x88000000;
	m.initrd_end = 0x88123456;
	build(&m);
	used = fdt_totalsize(blob);
	copy = malloc(used);

	/* each byte, with each bit flipped and with the extremes */
	memcpy(copy, blob, used);
	for (size_t at = 0; at < used; at++) {
		for (unsigned int i = 0; i < 10; i++) {
			copy[at] = i < 8 ? blob[at] ^ 1u << i : i == 8 ? 0x00 : 0xff;
			refused += dt_parse_user(copy, used, &u, &e) != 0;
		}
		copy[at] = blob[at];
	}
	assert_true(refused > 1000);

	/* several at once */
	for (unsigned int round = 0; round < 20000; round++) {
		memcpy(copy, blob, used);
		for (unsigned int i = 0; i < 1 + round % 8; i++) {
			seed = seed * 1664525 + 1013904223;
			copy[(seed >> 8) % used] = seed >> 3;
		}
		if (dt_parse_user(copy, used, &u, &e) == 0) {
			/* What was found lies in the blob, to its end. */
			if (u.bootargs)
				assert_true(u.bootargs + strlen(u.bootargs) < (char *)copy + used);
			assert_true(u.initrd_start <= u.initrd_end);
			assert_true(u.size <= used);
		}
	}
	free(copy);
}

static void user_blob_old_or_foreign(void **state)
{
	struct dt_machine m = machine(1, 0);
	struct dt_user u;
	struct err e;

	(void)state;
	build(&m);
	fdt_set_version(blob, 16);
	assert_int_equal(parse(&u, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "version 16"));
	memset(blob, 0, sizeof(blob));
	assert_int_equal(parse(&u, &e), -EINVAL);
	memcpy(blob, "/dts-v1/;\n/ { };\n", 17);
	assert_int_equal(parse(&u, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "dtc"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_machine),
		cmocka_unit_test(realm_machine),
		cmocka_unit_test(without_this_and_that),
		cmocka_unit_test(power_button),
		cmocka_unit_test(uarts_and_their_names),
		cmocka_unit_test(every_virtio_node_is_coherent),
		cmocka_unit_test(pci_bus),
		cmocka_unit_test(many_cpus),
		cmocka_unit_test(same_machine_same_bytes),
		cmocka_unit_test(bytes_do_not_drift),
		cmocka_unit_test(what_does_not_fit),
		cmocka_unit_test(impossible_machines),
		cmocka_unit_test(writer_errors_stick),
		cmocka_unit_test(user_blob),
		cmocka_unit_test(user_blob_without_nodes),
		cmocka_unit_test(user_blob_32_bit),
		cmocka_unit_test(user_blob_bad_initrd),
		cmocka_unit_test(user_blob_bad_values),
		cmocka_unit_test(user_blob_truncated),
		cmocka_unit_test(user_blob_corrupted),
		cmocka_unit_test(user_blob_old_or_foreign),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
