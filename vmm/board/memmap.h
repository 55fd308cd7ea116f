/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory map: kvmtool's, so that firmware, test payloads and scripts made for lkvm run. It is
 * part of what a realm measures (through the devicetree), so nothing here depends on the host.
 * All addresses are canonical (lower half).
 */
#ifndef BOARD_MEMMAP_H
#define BOARD_MEMMAP_H

#include "vmm/core/types.h"

#define MAP_UART_BASE		UINT64_C(0x01000000)	/* UART n at + n * MAP_UART_STRIDE, SPI n */
#define MAP_UART_STRIDE		UINT64_C(0x1000)
#define MAP_UART_SIZE		UINT64_C(0x8)
#define MAP_UART_COUNT		4
#define MAP_UART_SPI		0

#define MAP_RTC_BASE		UINT64_C(0x01010000)
#define MAP_RTC_SIZE		UINT64_C(0x8)

#define MAP_GPIO_BASE		UINT64_C(0x01020000)	/* only with --power-button */
#define MAP_GPIO_SIZE		UINT64_C(0x1000)
#define MAP_GPIO_SPI		96		/* level, behind those of PCI */
#define MAP_GPIO_POWER		3		/* the line that QEMU's virt has it at */

#define MAP_FLASH_BASE		UINT64_C(0x02000000)
#define MAP_FLASH_MAX		UINT64_C(0x01000000)	/* 16 MiB */

#define MAP_VIRTIO_BASE		UINT64_C(0x03000000)	/* slot n at + n * MAP_VIRTIO_STRIDE */
#define MAP_VIRTIO_STRIDE	UINT64_C(0x200)
#define MAP_VIRTIO_COUNT	60
#define MAP_VIRTIO_SPI		4		/* SPI 4..63, edge */

#define MAP_GICD_BASE		UINT64_C(0x3fff0000)
#define MAP_GICD_SIZE		UINT64_C(0x10000)
#define MAP_GICR_SIZE		UINT64_C(0x20000)	/* per CPU; they end at MAP_GICD_BASE */
#define MAP_GITS_SIZE		UINT64_C(0x20000)	/* ends where the redistributors begin */

#define MAP_PCI_IO_BASE		UINT64_C(0)
#define MAP_PCI_IO_SIZE		UINT64_C(0x10000)
#define MAP_ECAM_BASE		UINT64_C(0x40000000)
#define MAP_ECAM_SIZE		UINT64_C(0x10000000)
#define MAP_PCI_MEM_BASE	UINT64_C(0x50000000)
#define MAP_PCI_MEM_END		UINT64_C(0x80000000)
#define MAP_PCI_SPI		64		/* INTx: SPI 64..95, level */

#define MAP_NR_SPIS		128		/* KVM counts in steps of 32 */

#define MAP_RAM_BASE		UINT64_C(0x80000000)

#define MAP_DTB_SIZE		UINT64_C(0x10000)	/* zero padded to exactly this */
#define MAP_DTB_WINDOW		UINT64_C(0x10000000)	/* the DTB is in the first 256 MiB ... */
#define MAP_DTB_FROM_TOP	UINT64_C(0x200000)	/* ... this far below their end, aligned */

/* Private peripheral interrupts (PPI n is INTID 16 + n). */
#define MAP_PPI_TIMER_SEC	13
#define MAP_PPI_TIMER_PHYS	14
#define MAP_PPI_TIMER_VIRT	11
#define MAP_PPI_TIMER_HYP	10
#define MAP_PPI_PMU		7

#endif
