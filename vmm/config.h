/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the user asked for: the result of the option table (vmm/options.c). Defaults are fixed
 * numbers; nothing here depends on the host, because a realm's measurement depends on it.
 */
#ifndef VMM_CONFIG_H
#define VMM_CONFIG_H

#include "vmm/core/log.h"
#include "vmm/core/types.h"

struct err;

enum realm_mode {
	MODE_PLAIN,		/* no --realm */
	MODE_EMULATED,		/* --realm=emulated */
	MODE_KVM,		/* --realm, --realm=kvm */
};

enum irqchip {
	IRQCHIP_GICV3_ITS,	/* default */
	IRQCHIP_GICV3,
};

enum console_kind {
	CONSOLE_SERIAL,		/* default */
	CONSOLE_VIRTIO,
};

enum hash_algo {		/* values of the RMM (RmiHashAlgorithm) */
	HASH_SHA256 = 0,	/* default */
	HASH_SHA512 = 1,
	HASH_SHA384 = 2,
};

enum ripas_ram {		/* what has RIPAS RAM when a realm starts, besides the image */
	RIPAS_RAM_ALL = 0,	/* default */
	RIPAS_RAM_IMAGE,
	RIPAS_RAM_RANGES,
};

enum cfg_piece {		/* of the initial image; bits of unmeasured */
	PIECE_KERNEL = 1 << 0,
	PIECE_INITRD = 1 << 1,
	PIECE_DTB = 1 << 2,
	PIECE_FIRMWARE = 1 << 3,
	PIECE_ALL = PIECE_KERNEL | PIECE_INITRD | PIECE_DTB | PIECE_FIRMWARE,
};

enum cfg_ready {		/* when the guest is up */
	READY_CONSOLE,		/* default: a line on its console */
	READY_LINE,		/* one that matches */
	READY_VSOCK,		/* it says so on a vsock port */
	READY_BOOT,		/* its vCPUs run */
};

#define CFG_MAX_RANGES	16
struct cfg_range {
	ipa_t base;
	uint64_t size;
};

#define CFG_MAX_DISKS	240	/* what the PCI bus has room for, beside a few others */
#define CFG_MAX_NETS	16
#define CFG_MAX_QUEUES	64	/* of a disk, or pairs of a network device */
#define CFG_MAX_VHOST_QUEUES 31	/* pairs that a vhost back end serves: virtio/virtio.h */
#define CFG_MAX_SHARES	16
#define CFG_MAX_PMEMS	8
#define CFG_MAX_PORTS	15	/* of the virtio console, beside the first */
#define CFG_MAX_VFIOS	31	/* each has a device number of the PCI bus */
#define CFG_RPV_SIZE	64
#define CFG_CMDLINE_MAX	2048	/* COMMAND_LINE_SIZE of arm64 Linux */

enum cfg_transport {
	TRANSPORT_AUTO,		/* default: by the interrupt controller, see config_pci() */
	TRANSPORT_MMIO,
	TRANSPORT_PCI,
};

enum cfg_cache {
	CACHE_WRITEBACK,	/* default: the guest's flush reaches the disk */
	CACHE_WRITETHROUGH,	/* each write does */
	CACHE_UNSAFE,		/* nothing has to */
};

enum cfg_format {
	FORMAT_RAW,		/* default */
	FORMAT_QCOW2,		/* served by qemu-storage-daemon */
};

struct cfg_disk {
	char *path;
	char *socket;		/* of a running vhost-user-blk back end, instead of @path */
	char *serial;		/* NULL: diskN */
	enum cfg_format format;
	enum cfg_cache cache;
	bool readonly;
	bool direct;
	bool no_discard;
	unsigned int queues;	/* 0: the default */
	unsigned int queue_size;	/* 0: the default */
};

enum net_mode {
	NET_NONE,		/* there, with its link down */
	NET_USER,		/* passt */
	NET_TAP,		/* tap, or macvtap where @tapif is a path */
	NET_FD,			/* an open tap descriptor */
	NET_VHOST_USER,		/* the socket of a back end */
};

struct cfg_net {
	enum net_mode mode;
	char *tapif, *script, *downscript;
	char *guest_ip, *host_ip;
	char *socket;		/* of NET_VHOST_USER, or of a passt that runs already */
	int fd;			/* of NET_FD, or -1 */
	uint8_t mac[6];
	bool mac_set;
	uint8_t host_mac[6];
	bool host_mac_set;
	bool vhost;
	bool implicit;		/* lkvm's own, which nobody asked for */
	unsigned int mtu;	/* 0: not told */
	unsigned int queues;	/* pairs; 0: the default */
	unsigned int queue_size;
};

enum share_kind {
	SHARE_9P,
	SHARE_FS,		/* virtiofsd */
};

struct cfg_share {
	enum share_kind kind;
	char *dir, *tag;
	char *socket;		/* of a virtiofsd that runs already, instead of @dir */
	bool readonly;
};

enum cfg_rootfs {
	ROOTFS_NONE,
	ROOTFS_DIR,		/* a folder that --disk named */
	ROOTFS_NAMED,		/* one below ~/.lkvm that --disk named: lkvm's own kind */
	ROOTFS_DEFAULT,		/* the same, because there is nothing else; made if it is missing */
};

struct cfg_vsock {
	uint64_t cid;		/* 0: none */
	char *path;		/* unix socket of the back end in user space, NULL: vhost-vsock */
};

struct cfg_pmem {
	char *path;
	bool readonly;
};

enum cfg_vfio_backend {
	VFIO_BACKEND_AUTO,	/* default: iommufd where the host has it, else a group */
	VFIO_BACKEND_IOMMUFD,
	VFIO_BACKEND_GROUP,
};

struct cfg_vfio {
	char *device;		/* [DOMAIN:]BB:DD.F, or its folder in sysfs */
	char *rom;		/* file, NULL: the device's own */
	bool no_rom;
	bool both;		/* dma-alias=both */
	bool trusted;
};

struct cfg_port {
	char *name;		/* of a port of the virtio console, as the guest sees it */
	char *path;		/* unix socket; NULL: a pty */
};

struct vm_config {
	/* where the options came from */
	bool lkvm;		/* behave as lkvm (argv[0] is lkvm*, or --compat lkvm) */

	/* machine */
	char *name;
	unsigned int cpus;	/* 2 */
	uint64_t mem;		/* bytes, 512 MiB */
	ipa_t mem_base;		/* MAP_RAM_BASE; -m SIZE@ADDR */
	unsigned int ipa_bits;	/* 0: choose */
	enum irqchip irqchip;
	char *vcpu_affinity;	/* list, NULL: none */
	unsigned int sve_max_vl;	/* bits, 0: no SVE */
	bool sve_disabled;	/* --disable-sve: said explicitly */
	bool pmu;
	unsigned int pmu_counters;	/* 0: as many as KVM gives */
	bool no_pvtime;
	bool no_reboot;
	bool power_button;
	char *hugetlbfs;
	char *kvm_dev;		/* NULL: /dev/kvm */

	/* realm */
	enum realm_mode mode;
	bool emulated_strict;
	enum hash_algo hash;
	uint8_t rpv[CFG_RPV_SIZE];
	bool rpv_set;
	unsigned int swiotlb_mib;	/* 0: not given */
	enum ripas_ram ripas_ram;
	struct cfg_range ripas_range[CFG_MAX_RANGES];
	unsigned int nr_ripas_ranges;
	unsigned int unmeasured;	/* enum cfg_piece */
	unsigned int breakpoints, watchpoints;	/* of a realm: 2 and 2 */
	bool breakpoints_set;
	bool best_effort;	/* warn of what the host cannot do, instead of refusing */
	int rmm;		/* enum rim_dialect + 1; 0: what belongs to the host's interface */
	char *host_profile;	/* a name or a file */
	char *expect_rim;	/* hexadecimal, base64 or @FILE */
	char *emulated_keys;	/* folder */

	/* the host's interface for realms */
	char *rmi_generation;	/* NULL: find out */
	unsigned int rmi_cap;	/* 0: find out */
	bool rmi_psci_user;

	/* boot */
	char *kernel, *initrd, *firmware, *flash, *dtb, *dump_dtb;
	ipa_t firmware_addr;	/* 0: RAM base */
	char *params;		/* -p, NULL: none; several are joined with a blank */
	bool nodefaults;
	bool kaslr_seed_set;
	uint64_t kaslr_seed;

	/* devices */
	enum cfg_transport transport;
	bool packed;		/* offer packed rings */
	int io_threads;		/* -1: one per device that has I/O */
	struct cfg_disk disk[CFG_MAX_DISKS];
	unsigned int nr_disks;
	struct cfg_net net[CFG_MAX_NETS];
	unsigned int nr_nets;
	bool no_net;		/* mode=none: lkvm's own NIC neither */
	bool no_dhcp;		/* do not append ip=dhcp */
	bool rng;		/* entropy device asked for */
	bool balloon;
	uint64_t balloon_size;	/* bytes that it shall hold at the start */
	unsigned int balloon_stats;	/* seconds between two questions for statistics; 0: none */
	struct cfg_vsock vsock;
	struct cfg_share share[CFG_MAX_SHARES];
	unsigned int nr_shares;
	enum cfg_rootfs rootfs;	/* one of the shares is the root file system (rootfs_config()) */
	char *rootfs_init;	/* its first process, NULL: /virt/init */
	struct cfg_pmem pmem[CFG_MAX_PMEMS];
	unsigned int nr_pmems;
	struct cfg_port port[CFG_MAX_PORTS];
	unsigned int nr_ports;
	struct cfg_vfio vfio[CFG_MAX_VFIOS];
	unsigned int nr_vfios;
	bool trusted_asked;	/* --viommu: for trusted devices, which there are none of */
	enum cfg_vfio_backend vfio_backend;
	bool vfio_static;	/* a realm's shared side is mapped for DMA once */
	uint64_t pci_mem64;	/* bytes of the 64-bit PCI window, 0: none */
	enum console_kind console;
	unsigned int tty_mask;	/* bit n: --tty n, a pty for terminal n */

	/* running */
	enum log_level loglevel;
	char *gdb;		/* PORT or unix:PATH */
	char *trace;		/* file for a trace of what happens */
	enum cfg_ready ready;
	char *ready_line;	/* of READY_LINE: extended regular expression */
	unsigned int ready_port;	/* of READY_VSOCK */
	bool ready_set;		/* --ready was given */
	unsigned int stop_timeout;	/* seconds from the power button to the end by force */
	int sandbox;		/* enum sandbox_mode */
	bool log_json;
	char *sandbox_script;	/* lkvm's --sandbox SCRIPT, NULL: none */
	bool debug;		/* --debug, which outlives a later --loglevel */
};

#define CFG_CPUS_MAX	512	/* as many as KVM takes on arm64 (KVM_MAX_VCPUS) */
/* The devicetree lies 2 MiB below the top of RAM, and a kernel below it. */
#define CFG_MEM_MIN	(4 * SZ_1M)

/** config_pci() - are virtio devices on PCI? Decided by the options, because it is measured */
bool config_pci(const struct vm_config *c);
/**
 * config_bounce_pool() - bytes of a Linux guest's bounce pool in a realm (swiotlb)
 *
 * 64 MiB, or what --swiotlb says. But Linux 7.3 was seen to take RAM / 1024 where all RAM lies
 * below 4 GiB (256 KiB at least).
 */
uint64_t config_bounce_pool(const struct vm_config *c);
/** config_free_devices() - free what the options of devices allocated */
void config_free_devices(struct vm_config *c);

/** config_defaults() - the fixed defaults; @c needs no initialisation before */
void config_defaults(struct vm_config *c);

/**
 * config_check() - refuse what no host could run: options that contradict each other, sizes that
 * do not fit
 *
 * Return: 0 or -EINVAL; the error says what to give instead.
 */
int config_check(const struct vm_config *c, struct err *e);

/** config_free() - free what the option table allocated */
void config_free(struct vm_config *c);

#endif
