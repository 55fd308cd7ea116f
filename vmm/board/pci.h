/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI: a host bridge with one bus, reached through ECAM, and what its functions have in common:
 * configuration space, BARs, capabilities, INTx and MSI-X. A function is embedded in its owner
 * (virtio/pci.c, a VFIO device); its struct pci_ops are called back.
 *
 * ECAM and the memory windows stand on the MMIO bus as a whole, because the guest places BARs while
 * its vCPUs run: which BAR answers is looked up in here. Where no function or BAR answers, reads
 * give ones and writes go nowhere, as on hardware.
 *
 * Placement. Guests find functions in the order of their numbers, so that is the order in which
 * they were added: up to 31 are devices of their own; of more, as few as possible share a device.
 * INTx is pin A of the device's wire (SPI 64 + device), which all functions of the device share. So
 * a function whose interrupts come from elsewhere has a device of its own, or shares it with its
 * own kind: pci_add_function().
 *
 * Locking. host->lock: configuration space, BAR placement and MSI-X of all functions; such accesses
 * are rare. host->map_lock: the table of BARs, held for a look-up only. host->intx_lock: levels of
 * the wires; the last of all locks. Order: host->lock, then a device's own, then host->intx_lock.
 * Accesses to a BAR hold none of them, several vCPUs run at once; an access may still arrive a
 * moment after its BAR was moved.
 */
#ifndef BOARD_PCI_H
#define BOARD_PCI_H

#include <linux/pci_regs.h>
#include <pthread.h>

#include "vmm/board/memmap.h"
#include "vmm/board/msi.h"
#include "vmm/core/irq.h"
#include "vmm/core/mmio.h"

struct err;
struct pci_dev;
struct pci_host;
struct msix;

#define PCI_CFG_SPACE	4096
#define PCI_NR_DEVICES	32
#define PCI_MAX_FUNCS	248		/* beside the host bridge */
#define PCI_ROM_BAR	6		/* index of the expansion ROM among the BARs */
#define PCI_NR_BARS	7
#define PCI_MSIX_MAX	2048

/**
 * struct pci_ops - the owner of a function; each may be NULL
 * @bar_read, @bar_write: @len is 1 to 8, @off + @len lies in the BAR; no lock is held, several
 *             vCPUs at once. Accesses to the MSI-X table do not come here
 * @cfg_read, @cfg_write: before the common part sees an access of 1, 2 or 4 aligned bytes; true: it
 *             is done with. May use pci_cfg_read() and pci_cfg_write(). No lock is held
 * @bar_mapped: a BAR answers at @addr from now on, or nowhere (0); it is told of 0 before of
 *             another address. host->lock is held
 * @msix_enabled: the guest switched MSI-X on or off; no lock is held
 * @msix_used: the guest unmasked a vector for the first time since it switched MSI-X on: from now
 *             on pci_msix_fd() of it may be written to. host->lock is held
 */
struct pci_ops {
	uint64_t (*bar_read)(struct pci_dev *d, unsigned int bar, uint64_t off, unsigned int len);
	void (*bar_write)(struct pci_dev *d, unsigned int bar, uint64_t off, uint64_t val,
			  unsigned int len);
	bool (*cfg_read)(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t *val);
	bool (*cfg_write)(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t val);
	void (*bar_mapped)(struct pci_dev *d, unsigned int bar, ipa_t addr);
	void (*msix_enabled)(struct pci_dev *d, bool on);
	void (*msix_used)(struct pci_dev *d, unsigned int vector);
};

/**
 * struct pci_bar - a base address register
 * @size: a power of 2, 0: there is none
 * @is64: uses the next register, too
 * @addr: where it answers, 0: nowhere
 */
struct pci_bar {
	uint64_t size;
	bool is64, prefetch;
	ipa_t addr;
};

/**
 * struct pci_dev - a function
 * @cfg:   configuration space, little-endian
 * @wmask: the bits of it that the guest can write
 * @intx:  its INTx is asserted
 * @asleep: it answers at no BAR whatever its registers say, pci_set_asleep()
 */
struct pci_dev {
	const struct pci_ops *ops;
	const char *name;
	struct pci_host *host;
	uint8_t devfn;
	uint16_t cap_end, cap_last;
	_Atomic bool intx;
	bool asleep;
	struct pci_bar bar[PCI_NR_BARS];
	struct msix *msix;
	uint8_t cfg[PCI_CFG_SPACE], wmask[PCI_CFG_SPACE];
};

struct pci_map {
	ipa_t base;
	uint64_t size;
	struct pci_dev *dev;
	uint8_t bar;
};

/** struct pci_window - a range of addresses for BARs */
struct pci_window {
	ipa_t base;
	uint64_t size;
};

/**
 * struct pci_host - the host bridge
 * @line:  level wires, one per device
 * @mem:   window for 32-bit BARs
 * @mem64: for 64-bit BARs; size 0: there is none, they live in @mem
 * @next:  device numbers from here on are free
 * @home:  where BARs were put at the start, sorted
 * @pack, @packed: the device that pci_add() fills, and how many functions it has; 0: none
 */
struct pci_host {
	pthread_mutex_t lock, intx_lock;
	pthread_rwlock_t map_lock;
	struct irq_line line[PCI_NR_DEVICES];
	uint8_t level[PCI_NR_DEVICES];
	struct pci_window mem, mem64;
	struct pci_dev bridge;
	struct pci_dev *func[256];
	unsigned int per_device, next, pack, packed;
	struct pci_map *map, *spare, *home;
	unsigned int nr_map, nr_home, room;
};

/**
 * pci_host_init() - make the bridge and put it on the MMIO bus
 * @expected: how many functions pci_add() will add
 * @reserve:  how many devices pci_add_function() will need
 * @line:  PCI_NR_DEVICES level lines (SPI MAP_PCI_SPI + n); copied
 * @mem64_base, @mem64_size: 64-bit window, 0, 0: none
 */
int pci_host_init(struct pci_host *h, struct mmio_bus *bus, const struct irq_line *line,
		  unsigned int expected, unsigned int reserve, ipa_t mem64_base,
		  uint64_t mem64_size, struct err *e);
/** pci_host_destroy() - every function is gone from the guest's sight; also for one all zero */
void pci_host_destroy(struct pci_host *h);

/**
 * struct pci_ids - what a function is
 * @class: 24 bits: base class, sub class, programming interface
 */
struct pci_ids {
	uint16_t vendor, device, sub_vendor, sub_device;
	uint32_t class;
	uint8_t revision;
};

/** pci_dev_init() - a type 0 function without BARs and capabilities. @name must live as long */
void pci_dev_init(struct pci_dev *d, const struct pci_ops *ops, const char *name,
		  const struct pci_ids *ids);
/** pci_dev_destroy() - free what it holds; no vCPU runs any more */
void pci_dev_destroy(struct pci_dev *d);
/** pci_add_bar() - @size: a power of 2, 16 bytes at least. PCI_ROM_BAR: 2 KiB at least */
void pci_add_bar(struct pci_dev *d, unsigned int bar, uint64_t size, bool is64, bool prefetch);
/**
 * pci_add_cap() - append a capability
 * @id:  PCI_CAP_ID_*
 * @len: bytes of it, the two of its header included; all zero at first, and read-only
 *
 * Return: its offset. 0: the 192 bytes for capabilities are used up.
 */
unsigned int pci_add_cap(struct pci_dev *d, uint8_t id, unsigned int len);
/** pci_use_intx() - the function has pin A */
void pci_use_intx(struct pci_dev *d);
/**
 * struct pci_msix_cfg - where MSI-X is
 * @cap:  offset of a capability that is in the list already; 0: append one
 * @nr:   vectors, up to PCI_MSIX_MAX
 * @table_bar, @table_off, @pba_bar, @pba_off: 8-byte aligned; both lie in their BAR and do not
 *        overlap
 */
struct pci_msix_cfg {
	unsigned int cap, nr;
	unsigned int table_bar, pba_bar;
	uint32_t table_off, pba_off;
};
/** pci_add_msix() - MSI-X capability, table and pending bits in BARs */
int pci_add_msix(struct pci_dev *d, struct msi *msi, const struct pci_msix_cfg *cfg, struct err *e);
/**
 * pci_add() - put a complete function on the bus, its BARs at free addresses; before vCPUs run
 * Return: 0; -ENOSPC: no place on the bus or in the window.
 */
int pci_add(struct pci_host *h, struct pci_dev *d, struct err *e);
/**
 * pci_add_function() - the same, not together with functions of pci_add()
 * @like: a function that is on the bus already: @d becomes the next one of that device; NULL: of a
 *        device of its own
 */
int pci_add_function(struct pci_host *h, struct pci_dev *d, const struct pci_dev *like,
		     struct err *e);
/** pci_remove() - off the bus again, its BARs first; no vCPU runs. Fine if it is not on it */
void pci_remove(struct pci_dev *d);

/** pci_put() - set 1, 2 or 4 bytes of configuration space, for who builds it */
void pci_put(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t val);
/** pci_get() - read them */
uint32_t pci_get(const struct pci_dev *d, unsigned int off, unsigned int len);
/** pci_cfg_read() - as the guest reads; @len 1, 2, 4, @off aligned to it */
uint32_t pci_cfg_read(struct pci_dev *d, unsigned int off, unsigned int len);
/** pci_cfg_write() - as the guest writes, with all that comes of it; takes host->lock */
void pci_cfg_write(struct pci_dev *d, unsigned int off, unsigned int len, uint32_t val);
/** pci_set_asleep() - a function stops to answer at its BARs, or does so again; takes host->lock */
void pci_set_asleep(struct pci_dev *d, bool asleep);
/** pci_bar_access() - an access to a BAR wherever it is mapped, for windows to it elsewhere */
uint64_t pci_bar_access(struct pci_dev *d, unsigned int bar, uint64_t off, uint64_t val,
			unsigned int len, bool write);

/** pci_intx() - assert or deassert INTx; any thread */
void pci_intx(struct pci_dev *d, bool on);
/** pci_msix_on() - has the guest enabled MSI-X? Any thread, no lock */
bool pci_msix_on(const struct pci_dev *d);
/** pci_msix_vectors() - number of vectors, 0: no MSI-X */
unsigned int pci_msix_vectors(const struct pci_dev *d);
/**
 * pci_msix_fd() - the eventfd of a vector: who writes to it sends the message, or makes it pending
 * Any thread, no lock. Return: the descriptor, the same one always; < 0: no such vector, or errno.
 */
int pci_msix_fd(struct pci_dev *d, unsigned int vector);
/** pci_msix_raise() - write to it */
void pci_msix_raise(struct pci_dev *d, unsigned int vector);
/** pci_msix_owns() - do table or pending bits touch [off, off + len) of a BAR? */
bool pci_msix_owns(const struct pci_dev *d, unsigned int bar, uint64_t off, uint64_t len);
/** pci_msix_reset() - as after power-on: off, all masked, nothing pending; host->lock is held */
void pci_msix_reset(struct pci_dev *d);

/* between pci.c and msix.c */
uint64_t msix_access(struct msix *x, unsigned int bar, uint64_t off, uint64_t val,
		     unsigned int len, bool write);
bool msix_update(struct msix *x);	/* after a write to configuration space; was it switched? */
unsigned int msix_cap(const struct msix *x);
void msix_free(struct msix *x);

#endif
