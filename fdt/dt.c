// SPDX-License-Identifier: BSD-3-Clause
/*
 * The devicetree of a machine.
 *
 * Names, values and order are those of kvmtool's tree where a guest or firmware could depend on
 * them, with the fixed interrupt map and the unit addresses of the "Realm Virtual Machine
 * specification" of veraison/cca-realm-measurements (docs/realm-vm.md, section Kvmtool).
 *
 * The file is exactly MAP_DTB_SIZE bytes, because that is what is measured, and the size in its
 * header is that of the packed blob, because kvmtool (fdt_pack()) and the prediction tools have it
 * so: the tree, then zeros that belong to no blob.
 */
#include "fdt/dt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <libfdt.h>

#include "fdt/writer.h"
#include "vmm/board/memmap.h"
#include "vmm/core/err.h"

/* phandles: as kvmtool numbers them */
#define PHANDLE_GIC 1
#define PHANDLE_ITS 2
#define PHANDLE_CLOCK 3
#define PHANDLE_GPIO 4

/* interrupt specifiers: Linux, bindings/interrupt-controller/arm,gic-v3.yaml */
#define IRQ_SPI		0
#define IRQ_PPI		1
#define IRQ_EDGE_RISING	1
#define IRQ_LEVEL_HIGH	4
#define IRQ_LEVEL_LOW	8

/* ranges of a PCI bus: IEEE Std 1275-1994 PCI bus binding, section 2.2.1.1, phys.hi */
#define PCI_SPACE_IO	0x01000000
#define PCI_SPACE_MEM32	0x02000000
#define PCI_SPACE_MEM64	0x03000000	/* not prefetchable: Linux takes it for both kinds */

/* The affinity fields of MPIDR_EL1 (Arm ARM, D23.2.117): Aff3 and Aff2..Aff0. */
#define MPIDR_AFF_MASK	UINT64_C(0xff00ffffff)
#define MPIDR_AFF3	UINT64_C(0xff00000000)

/* PSCI function numbers, SMC64 where there is one (DEN0022, section 5.1). */
#define PSCI_CPU_SUSPEND	0xc4000001
#define PSCI_CPU_OFF		0x84000002
#define PSCI_CPU_ON		0xc4000003

/* Of a bus that nobody measures: QEMU's virt says the same. */
#define APB_CLOCK_HZ			24000000

/* Linux, input-event-codes.h and bindings/input/gpio-keys.yaml */
#define KEY_POWER			116

/* What the divisor of a PC's 16550 counts; nothing here depends on a baud rate. */
#define UART_CLOCK_HZ		1843200

/* arm64 Linux's COMMAND_LINE_SIZE: a longer one is cut there, so it is the first suspect. */
#define CMDLINE_USUAL_MAX	2048

static void add_reg(struct dtw *w, uint64_t base, uint64_t size)
{
	const uint64_t reg[] = { base, size };

	dtw_u64s(w, "reg", reg, 2);
}

static void add_irq(struct dtw *w, uint32_t type, uint32_t nr, uint32_t trigger)
{
	const uint32_t irq[] = { type, nr, trigger };

	dtw_cells(w, "interrupts", irq, 3);
}

static void add_chosen(struct dtw *w, const struct dt_machine *m)
{
	const char *path = m->stdout_path ? m->stdout_path : m->nr_uarts ? "serial0" : NULL;

	dtw_node(w, "chosen");
	if (m->cmdline)
		dtw_str(w, "bootargs", m->cmdline);
	/* Nothing random is measured unless the user gave the number. */
	if (m->kaslr_seed_set)
		dtw_u64(w, "kaslr-seed", m->kaslr_seed);
	if (path)
		dtw_str(w, "stdout-path", path);
	if (m->initrd_end) {
		dtw_u64(w, "linux,initrd-start", m->initrd_start);
		dtw_u64(w, "linux,initrd-end", m->initrd_end);
	}
	dtw_end(w);
}

static void add_memory(struct dtw *w, const struct dt_machine *m)
{
	dtw_node_at(w, "memory", m->ram_base);
	dtw_str(w, "device_type", "memory");
	add_reg(w, m->ram_base, m->ram_size);
	dtw_end(w);
}

static void add_cpus(struct dtw *w, const struct dt_machine *m)
{
	dtw_node(w, "cpus");
	dtw_u32(w, "#address-cells", 1);
	dtw_u32(w, "#size-cells", 0);
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		uint64_t aff = m->mpidr[i] & MPIDR_AFF_MASK;

		dtw_node_at(w, "cpu", aff);
		dtw_str(w, "device_type", "cpu");
		dtw_str(w, "compatible", "arm,arm-v8");
		dtw_str(w, "enable-method", "psci");
		dtw_u32(w, "reg", aff);
		dtw_end(w);
	}
	dtw_end(w);
}

static void add_psci(struct dtw *w, const struct dt_machine *m)
{
	static const char compatible[] = "arm,psci-1.0\0arm,psci-0.2\0arm,psci";

	dtw_node(w, "psci");
	dtw_data(w, "compatible", compatible, sizeof(compatible));
	dtw_str(w, "method", m->psci_smc ? "smc" : "hvc");
	/* For guests that know "arm,psci" only. */
	dtw_u32(w, "cpu_suspend", PSCI_CPU_SUSPEND);
	dtw_u32(w, "cpu_off", PSCI_CPU_OFF);
	dtw_u32(w, "cpu_on", PSCI_CPU_ON);
	dtw_end(w);
}

static void add_gic(struct dtw *w, const struct dt_machine *m)
{
	const uint64_t reg[] = { m->gicd_base, MAP_GICD_SIZE, m->gicr_base, m->gicr_size };

	dtw_node_at(w, "intc", m->gicd_base);
	dtw_str(w, "compatible", "arm,gic-v3");
	dtw_u32(w, "#interrupt-cells", 3);
	dtw_flag(w, "interrupt-controller");
	dtw_u64s(w, "reg", reg, ARRAY_SIZE(reg));
	dtw_u32(w, "phandle", PHANDLE_GIC);
	dtw_u32(w, "#address-cells", 2);
	dtw_u32(w, "#size-cells", 2);
	dtw_flag(w, "ranges");
	if (m->its) {
		dtw_node_at(w, "msic", m->gits_base);
		dtw_str(w, "compatible", "arm,gic-v3-its");
		dtw_flag(w, "msi-controller");
		dtw_u32(w, "#msi-cells", 1);
		dtw_u32(w, "phandle", PHANDLE_ITS);
		add_reg(w, m->gits_base, MAP_GITS_SIZE);
		dtw_end(w);
	}
	dtw_end(w);
}

static void add_timer(struct dtw *w)
{
	static const char compatible[] = "arm,armv8-timer\0arm,armv7-timer";
	static const uint32_t irqs[] = {
		IRQ_PPI, MAP_PPI_TIMER_SEC, IRQ_LEVEL_LOW,
		IRQ_PPI, MAP_PPI_TIMER_PHYS, IRQ_LEVEL_LOW,
		IRQ_PPI, MAP_PPI_TIMER_VIRT, IRQ_LEVEL_LOW,
		IRQ_PPI, MAP_PPI_TIMER_HYP, IRQ_LEVEL_LOW,
	};

	dtw_node(w, "timer");
	dtw_data(w, "compatible", compatible, sizeof(compatible));
	dtw_cells(w, "interrupts", irqs, ARRAY_SIZE(irqs));
	dtw_flag(w, "always-on");
	dtw_end(w);
}

static void add_pmu(struct dtw *w)
{
	dtw_node(w, "pmu");
	dtw_str(w, "compatible", "arm,armv8-pmuv3");
	add_irq(w, IRQ_PPI, MAP_PPI_PMU, IRQ_LEVEL_HIGH);
	dtw_end(w);
}

static void add_uart(struct dtw *w, unsigned int nr)
{
	ipa_t base = MAP_UART_BASE + nr * MAP_UART_STRIDE;

	dtw_node_at(w, "U6_16550A", base);
	dtw_str(w, "compatible", "ns16550a");
	add_reg(w, base, MAP_UART_SIZE);
	add_irq(w, IRQ_SPI, MAP_UART_SPI + nr, IRQ_LEVEL_HIGH);
	dtw_u32(w, "clock-frequency", UART_CLOCK_HZ);
	dtw_end(w);
}

static void add_virtio(struct dtw *w, const struct dt_virtio *dev)
{
	dtw_node_at(w, "virtio", dev->base);
	dtw_str(w, "compatible", "virtio,mmio");
	add_reg(w, dev->base, MAP_VIRTIO_STRIDE);
	/*
	 * Without this the guest takes its DMA for incoherent and corrupts its data on silicon;
	 * emulation would not show it.
	 */
	dtw_flag(w, "dma-coherent");
	add_irq(w, IRQ_SPI, dev->spi, IRQ_EDGE_RISING);
	dtw_end(w);
}

static void add_rtc(struct dtw *w)
{
	dtw_node_at(w, "rtc", MAP_RTC_BASE);
	dtw_str(w, "compatible", "motorola,mc146818");
	/* Index and data; edk2 (KvmtoolRtcFdtClientLib) wants one range, in two cells each. */
	add_reg(w, MAP_RTC_BASE, 2);
	dtw_end(w);
}

static void add_flash(struct dtw *w, const struct dt_machine *m)
{
	dtw_node_at(w, "flash", MAP_FLASH_BASE);
	dtw_str(w, "compatible", "cfi-flash");
	/* The label by which edk2 (NorFlashKvmtool.c) knows the store of the UEFI variables. */
	dtw_str(w, "label", "System-firmware");
	add_reg(w, MAP_FLASH_BASE, m->flash_size);
	dtw_u32(w, "bank-width", 4);
	dtw_end(w);
}

/*
 * The power button: nodes and names as QEMU has them in its machine virt, so what finds that one
 * finds this one. PrimeCell devices have a clock (Linux, bindings/gpio/pl061-gpio.yaml).
 */
static void add_power_button(struct dtw *w)
{
	static const char compatible[] = "arm,pl061\0arm,primecell";
	static const uint32_t line[] = { PHANDLE_GPIO, MAP_GPIO_POWER, 0 };

	dtw_node(w, "apb-pclk");
	dtw_str(w, "compatible", "fixed-clock");
	dtw_u32(w, "#clock-cells", 0);
	dtw_u32(w, "clock-frequency", APB_CLOCK_HZ);
	dtw_str(w, "clock-output-names", "clk24mhz");
	dtw_u32(w, "phandle", PHANDLE_CLOCK);
	dtw_end(w);

	dtw_node_at(w, "pl061", MAP_GPIO_BASE);
	dtw_data(w, "compatible", compatible, sizeof(compatible));
	add_reg(w, MAP_GPIO_BASE, MAP_GPIO_SIZE);
	add_irq(w, IRQ_SPI, MAP_GPIO_SPI, IRQ_LEVEL_HIGH);
	dtw_flag(w, "gpio-controller");
	dtw_u32(w, "#gpio-cells", 2);
	dtw_u32(w, "clocks", PHANDLE_CLOCK);
	dtw_str(w, "clock-names", "apb_pclk");
	dtw_u32(w, "phandle", PHANDLE_GPIO);
	dtw_end(w);

	dtw_node(w, "gpio-keys");
	dtw_str(w, "compatible", "gpio-keys");
	dtw_node(w, "poweroff");
	dtw_str(w, "label", "GPIO Key Poweroff");
	dtw_u32(w, "linux,code", KEY_POWER);
	dtw_cells(w, "gpios", line, ARRAY_SIZE(line));
	dtw_end(w);
	dtw_end(w);
}

/*
 * The PCI host bridge: order and values of veraison/cca-realm-measurements, which are kvmtool's but
 * for msi-map, where kvmtool has an msi-parent that cannot name a requester. INTx: pin A only, one
 * SPI per device on the bus, which all of its functions share.
 */
static void add_pci(struct dtw *w, const struct dt_machine *m)
{
	const uint32_t ranges[] = {
		PCI_SPACE_IO, MAP_PCI_IO_BASE >> 32, (uint32_t)MAP_PCI_IO_BASE,
		MAP_PCI_IO_BASE >> 32, (uint32_t)MAP_PCI_IO_BASE, 0, MAP_PCI_IO_SIZE,
		PCI_SPACE_MEM32, MAP_PCI_MEM_BASE >> 32, (uint32_t)MAP_PCI_MEM_BASE,
		MAP_PCI_MEM_BASE >> 32, (uint32_t)MAP_PCI_MEM_BASE,
		0, MAP_PCI_MEM_END - MAP_PCI_MEM_BASE,
		PCI_SPACE_MEM64, m->pci_mem64_base >> 32, m->pci_mem64_base,
		m->pci_mem64_base >> 32, m->pci_mem64_base,
		m->pci_mem64_size >> 32, m->pci_mem64_size,
	};
	static const uint32_t bus_range[] = { 0, 0 };
	static const uint32_t mask[] = { 0x1f << 11, 0, 0, 7 };
	static const uint32_t msi_map[] = { 0, PHANDLE_ITS, 0, 0x10000 };
	uint32_t map[32][10];

	for (uint32_t i = 0; i < ARRAY_SIZE(map); i++) {
		const uint32_t entry[] = {
			i << 11, 0, 0, 1,			/* device, pin A */
			PHANDLE_GIC, 0, 0,
			IRQ_SPI, MAP_PCI_SPI + i, IRQ_LEVEL_HIGH,
		};

		memcpy(map[i], entry, sizeof(entry));
	}
	dtw_node_at(w, "pci", MAP_ECAM_BASE);
	dtw_str(w, "device_type", "pci");
	dtw_u32(w, "#address-cells", 3);
	dtw_u32(w, "#size-cells", 2);
	dtw_flag(w, "dma-coherent");		/* as for virtio */
	dtw_cells(w, "bus-range", bus_range, ARRAY_SIZE(bus_range));
	dtw_str(w, "compatible", "pci-host-ecam-generic");
	add_reg(w, MAP_ECAM_BASE, MAP_ECAM_SIZE);
	dtw_cells(w, "ranges", ranges, ARRAY_SIZE(ranges) - (m->pci_mem64_size ? 0 : 7));
	dtw_cells(w, "interrupt-map", map[0], ARRAY_SIZE(map) * ARRAY_SIZE(map[0]));
	dtw_cells(w, "interrupt-map-mask", mask, ARRAY_SIZE(mask));
	dtw_u32(w, "#interrupt-cells", 1);
	if (m->its)
		dtw_cells(w, "msi-map", msi_map, ARRAY_SIZE(msi_map));
	dtw_end(w);
}

static void add_aliases(struct dtw *w, const struct dt_machine *m)
{
	char name[24], path[48];

	if (!m->nr_uarts && !m->rtc)
		return;
	dtw_node(w, "aliases");
	for (unsigned int i = 0; i < m->nr_uarts; i++) {
		snprintf(name, sizeof(name), "serial%u", i);
		snprintf(path, sizeof(path), "/U6_16550A@%" PRIx64,
			 MAP_UART_BASE + i * MAP_UART_STRIDE);
		dtw_str(w, name, path);
	}
	if (m->rtc) {
		snprintf(path, sizeof(path), "/rtc@%" PRIx64, MAP_RTC_BASE);
		dtw_str(w, "rtc0", path);
	}
	dtw_end(w);
}

static int check_machine(const struct dt_machine *m, struct err *e)
{
	if (!m->nr_cpus || m->nr_cpus > DT_MAX_CPUS)
		return err_set(e, -EINVAL, "devicetree: %u CPUs, but it is 1 to %d", m->nr_cpus,
			       DT_MAX_CPUS);
	if (m->nr_uarts > MAP_UART_COUNT)
		return err_set(e, -EINVAL, "devicetree: %u UARTs, but there is room for %d",
			       m->nr_uarts, MAP_UART_COUNT);
	if (m->initrd_end < m->initrd_start)
		return err_set(e, -EINVAL, "devicetree: the initrd ends before it starts");
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		if (m->mpidr[i] & MPIDR_AFF3)
			return err_set(e, -EINVAL,
				       "devicetree: CPU %u has affinity 0x%" PRIx64
				       ", which needs more than 32 bits: use fewer CPUs",
				       i, m->mpidr[i] & MPIDR_AFF_MASK);
	}
	return 0;
}

static int no_space(const struct dt_machine *m, size_t size, struct err *e)
{
	size_t len = m->cmdline ? strlen(m->cmdline) : 0;

	if (len > CMDLINE_USUAL_MAX)
		return err_set(e, -ENOSPC,
			       "devicetree: does not fit in %zu KiB: the command line is too long "
			       "(%zu bytes; Linux takes %d)",
			       size / 1024, len, CMDLINE_USUAL_MAX);
	return err_set(e, -ENOSPC,
		       "devicetree: does not fit in %zu KiB: too many devices (%u CPUs, %u virtio "
		       "devices, command line of %zu bytes): use fewer",
		       size / 1024, m->nr_cpus, m->nr_virtio, len);
}

int dt_build(const struct dt_machine *m, void *buf, size_t size, struct err *e)
{
	struct dtw w;
	int rc;

	rc = check_machine(m, e);
	if (rc)
		return rc;

	dtw_begin(&w, buf, size);
	dtw_node(&w, "");
	dtw_u32(&w, "interrupt-parent", PHANDLE_GIC);
	dtw_str(&w, "compatible", "linux,dummy-virt");
	dtw_u32(&w, "#address-cells", 2);
	dtw_u32(&w, "#size-cells", 2);
	add_chosen(&w, m);
	add_aliases(&w, m);
	add_memory(&w, m);
	add_cpus(&w, m);
	add_psci(&w, m);
	add_gic(&w, m);
	add_timer(&w);
	if (m->pmu)
		add_pmu(&w);
	for (unsigned int i = 0; i < m->nr_uarts; i++)
		add_uart(&w, i);
	for (unsigned int i = 0; i < m->nr_virtio; i++)
		add_virtio(&w, &m->virtio[i]);
	if (m->rtc)
		add_rtc(&w);
	if (m->pci)
		add_pci(&w, m);
	if (m->flash)
		add_flash(&w, m);
	if (m->power_button)
		add_power_button(&w);
	dtw_end(&w);

	rc = dtw_finish(&w);
	if (rc == -FDT_ERR_NOSPACE)
		return no_space(m, size, e);
	if (rc)
		return err_set(e, -EINVAL, "devicetree: cannot write \"%s\": %s", w.where,
			       fdt_strerror(rc));
	return 0;
}
