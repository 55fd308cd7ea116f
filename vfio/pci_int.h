/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files of an assigned PCI function. */
#ifndef VFIO_PCI_INT_H
#define VFIO_PCI_INT_H

#include "vfio/pci.h"
#include "vmm/core/log.h"

struct vfio_irqs;

/**
 * struct vfio_area - pages of a BAR that are memory of ours
 * @host: where
 * @slot: of env.map_bar while @guest: the guest reaches them without exits
 */
struct vfio_area {
	uint64_t off, size;
	uint8_t *host;
	unsigned int slot;
	bool guest;
};

/**
 * struct vfio_bar - a BAR
 * @pos:   of the region in the device's file
 * @flags: VFIO_REGION_INFO_FLAG_*
 * @direct: accesses that are exits go through @area, because the region's file cannot be read
 */
struct vfio_bar {
	uint64_t pos, size;
	uint32_t flags;
	bool direct;
	unsigned int nr;
	struct vfio_area *area;
};

/**
 * struct vfio_hole - bytes of a BAR whose pages are never mapped, because MSI-X is there
 */
struct vfio_hole {
	unsigned int bar;
	uint64_t off, end;
};

/**
 * struct vfio_pci - the function
 * @cfg_pos, @cfg_size: configuration space in the device's file; 256 or 4096 bytes
 * @hw_read:  bits of it that the guest reads from the device, all others are pci.cfg's
 * @hw_write: bytes of it that the guest's writes reach, too
 * @write_lock: the guest's writes to configuration space, one at a time; before host->lock
 * @cfg_lock: changes of several bits of a register of the device; the last of all locks
 * @pm, @exp, @af, @vpd: offsets of these capabilities, 0: the guest sees none
 * @by_exits: accesses to BARs are exits at the moment (env.intx_exits)
 * @rom:     the expansion ROM; @rom_len bytes of it, of which the BAR may have more
 */
struct vfio_pci {
	struct pci_dev pci;		/* on the guest's bus */
	struct vfio_device *dev;
	struct vfio_pci_env env;
	struct vfio_pci_stat stat;
	struct vfio_irqs *irq;
	struct log_rate rate;
	pthread_mutex_t write_lock, cfg_lock;
	uint64_t cfg_pos;
	unsigned int cfg_size;
	uint8_t hw_read[PCI_CFG_SPACE], hw_write[PCI_CFG_SPACE];
	unsigned int pm, exp, af, vpd;
	struct vfio_hole hole[2];
	struct vfio_bar bar[PCI_STD_NUM_BARS];
	uint8_t *rom;
	size_t rom_len;
	bool by_exits;
	bool stopped;
};

/* of all assigned functions (pci.c) */
extern const struct pci_ops vfio_pci_ops;

/* ---- pci_cfg.c ------------------------------------------------------------------------------- */

/** vfio_cfg_find() - where configuration space is: the functions below with hw work after this */
int vfio_cfg_find(struct vfio_pci *p, struct err *e);
/** vfio_cfg_init() - p->pci becomes what the device is, without BARs and interrupts */
int vfio_cfg_init(struct vfio_pci *p, struct err *e);
/** vfio_cfg_read(), vfio_cfg_write() - struct pci_ops.cfg_read, cfg_write */
bool vfio_cfg_read(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t *val);
bool vfio_cfg_write(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t val);
/** vfio_cfg_cap() - offset of the first capability with an id that the guest sees, 0: none */
unsigned int vfio_cfg_cap(const struct vfio_pci *p, uint8_t id);
/** vfio_cfg_drop() - the guest does not see this capability; before it runs */
void vfio_cfg_drop(struct vfio_pci *p, unsigned int cap);
/** vfio_cfg_hw_read() - 1, 2 or 4 bytes of the device's configuration space. Return: 0 or -errno */
int vfio_cfg_hw_read(struct vfio_pci *p, unsigned int off, unsigned int len, uint32_t *val);
int vfio_cfg_hw_write(struct vfio_pci *p, unsigned int off, unsigned int len, uint32_t val);
/** vfio_cfg_command() - change bits of the device's command register */
int vfio_cfg_command(struct vfio_pci *p, uint16_t clear, uint16_t set);

/* ---- pci_bar.c ------------------------------------------------------------------------------- */

/** vfio_bars_init() - BARs of p->pci as the device has them; needs its configuration space */
int vfio_bars_init(struct vfio_pci *p, struct err *e);
/** vfio_rom_init() - its expansion ROM, or the file's */
int vfio_rom_init(struct vfio_pci *p, const struct vfio_pci_cfg *cfg, struct err *e);
/** vfio_bars_map() - map what can be mapped, but not where the MSI-X table is */
int vfio_bars_map(struct vfio_pci *p, struct err *e);
/** vfio_bars_by_exits() - let no access pass without an exit, or do so again; host->lock is held */
void vfio_bars_by_exits(struct vfio_pci *p, bool on);
/** vfio_bars_free() - the guest has none of it any more; also for what was never mapped */
void vfio_bars_free(struct vfio_pci *p);
/* struct pci_ops.bar_read, bar_write, bar_mapped */
uint64_t vfio_bar_read(struct pci_dev *d, unsigned int bar, uint64_t off, unsigned int len);
void vfio_bar_write(struct pci_dev *d, unsigned int bar, uint64_t off, uint64_t val,
		    unsigned int len);
void vfio_bar_mapped(struct pci_dev *d, unsigned int bar, ipa_t addr);

/* ---- pci_irq.c ------------------------------------------------------------------------------- */

/**
 * vfio_irqs_init() - INTx, MSI, MSI-X as the device has them, errors and unplug requests
 *
 * Called when p->pci.cfg holds the configuration space as the guest sees it, with the capabilities
 * at the hardware's places, and the BARs were added; before the function is added to the bus. Takes
 * over the MSI and MSI-X capabilities, or removes them from the list if they cannot be used, and
 * the interrupt pin.
 */
int vfio_irqs_init(struct vfio_pci *p, struct err *e);
/**
 * vfio_irqs_start() - the function is on the bus and has its number: interrupts work from here on
 * Also after vfio_irqs_reset().
 */
int vfio_irqs_start(struct vfio_pci *p, struct err *e);
/** vfio_irqs_cfg() - after the guest wrote to configuration space; no lock is held */
void vfio_irqs_cfg(struct vfio_pci *p, unsigned int off, unsigned int len);
/** vfio_irqs_refresh() - before the guest reads it: pending bits of MSI; no lock is held */
void vfio_irqs_refresh(struct vfio_pci *p, unsigned int off, unsigned int len);
/** vfio_irqs_msix_used() - struct pci_ops.msix_used */
void vfio_irqs_msix_used(struct pci_dev *d, unsigned int vector);
/**
 * vfio_irqs_reset() - before a reset that the guest asked for: MSI and MSI-X as after power-on
 * None comes until vfio_irqs_start(). No lock is held.
 */
void vfio_irqs_reset(struct vfio_pci *p);
/**
 * vfio_irqs_stop() - none any more; the main thread, no vCPU runs. vfio_irqs_free() - after that
 * Both are fine if there are none.
 */
void vfio_irqs_stop(struct vfio_pci *p);
void vfio_irqs_free(struct vfio_pci *p);

#endif
