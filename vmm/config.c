// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "realm/host.h"
#include "realm/ipa.h"
#include "vmm/board/memmap.h"
#include "vmm/core/err.h"

void config_defaults(struct vm_config *c)
{
	*c = (struct vm_config){
		.cpus = 2,
		.mem = 512 * SZ_1M,
		.mem_base = MAP_RAM_BASE,
		.irqchip = IRQCHIP_GICV3_ITS,
		.console = CONSOLE_SERIAL,
		.io_threads = -1,
		.hash = HASH_SHA256,
		.breakpoints = 2,
		.watchpoints = 2,
		.loglevel = LOG_WARNING,
		.stop_timeout = 30,
	};
}

bool config_pci(const struct vm_config *c)
{
	return c->transport == TRANSPORT_PCI ||
	       (c->transport == TRANSPORT_AUTO && c->irqchip == IRQCHIP_GICV3_ITS);
}

uint64_t config_bounce_pool(const struct vm_config *c)
{
	if (c->swiotlb_mib)
		return c->swiotlb_mib * SZ_1M;
	if (c->mem_base + c->mem <= 4 * SZ_1G)
		return MAX(c->mem / 1024, 256 * UINT64_C(1024));
	return 64 * SZ_1M;
}

void config_free(struct vm_config *c)
{
	config_free_devices(c);
	free(c->name);
	free(c->vcpu_affinity);
	free(c->hugetlbfs);
	free(c->kvm_dev);
	free(c->kernel);
	free(c->initrd);
	free(c->firmware);
	free(c->flash);
	free(c->dtb);
	free(c->dump_dtb);
	free(c->params);
	free(c->gdb);
	free(c->trace);
	free(c->ready_line);
	free(c->sandbox_script);
	free(c->rootfs_init);
	free(c->host_profile);
	free(c->expect_rim);
	free(c->emulated_keys);
	free(c->rmi_generation);
	memset(c, 0, sizeof(*c));
}

/* a size for people */
static const char *show(char text[32], uint64_t bytes)
{
	if (IS_ALIGNED(bytes, SZ_1M))
		snprintf(text, 32, "%" PRIu64 " MiB", bytes / SZ_1M);
	else
		snprintf(text, 32, "%" PRIu64 " KiB", bytes / 1024);
	return text;
}

/* -m as the user would write it */
static uint64_t mib(uint64_t bytes)
{
	return bytes / SZ_1M;
}

static int check_memory(const struct vm_config *c, struct err *e)
{
	bool realm = c->mode != MODE_PLAIN;
	uint64_t grain = realm ? SZ_2M : SZ_64K;
	unsigned int bits;
	ipa_t end;
	char text[32];

	if (c->mem < CFG_MEM_MIN)
		return err_set(e, -EINVAL,
			       "option --mem: %s of RAM is too small: the least is -m %" PRIu64,
			       show(text, c->mem), mib(CFG_MEM_MIN));
	if (!IS_ALIGNED(c->mem, grain))
		return err_set(e, -EINVAL,
			       "option --mem: %s of RAM is not a multiple of %s: give -m %" PRIu64,
			       show(text, c->mem), realm ? "2 MiB, as a realm needs it" : "64 KiB",
			       mib(ALIGN_UP(c->mem, realm ? SZ_2M : SZ_1M)));
	if (c->mem_base < MAP_RAM_BASE)
		return err_set(e, -EINVAL,
			       "option --mem: RAM at %" PRIipa " would cover the "
			       "devices: the lowest address is @%" PRIu64 " (MiB) or @2G",
			       c->mem_base, mib(MAP_RAM_BASE));
	if (!IS_ALIGNED(c->mem_base, SZ_2M))
		return err_set(e, -EINVAL,
			       "option --mem: RAM at %" PRIipa " does not begin at a "
			       "multiple of 2 MiB: give @%" PRIu64,
			       c->mem_base, mib(ALIGN_DOWN(c->mem_base, SZ_2M)));
	if (__builtin_add_overflow(c->mem_base, c->mem, &end))
		bits = 64;
	else
		bits = ipa_bits_needed(end, realm);
	if (bits > IPA_MAX_BITS)
		return err_set(e, -EINVAL,
			       "option --mem: RAM of %" PRIu64 " MiB at %" PRIipa
			       " needs more than the %d address bits that Arm has: give less (an "
			       "address without a unit counts MiB)",
			       mib(c->mem), c->mem_base, IPA_MAX_BITS);
	if (c->ipa_bits && c->ipa_bits < bits)
		return err_set(e, -EINVAL,
			       "option --ipa-bits: RAM up to %" PRIipa "%s does not fit "
			       "into %u bits: give --ipa-bits %u, or leave it out",
			       end, realm ? " and the bit that splits a realm" : "", c->ipa_bits,
			       bits);
	return 0;
}

static int check_boot(const struct vm_config *c, struct err *e)
{
	if (c->kernel && c->firmware)
		return err_set(e, -EINVAL,
			       "options --kernel (%.200s) and --firmware (%.200s) exclude each "
			       "other: a firmware loads its kernel from a disk",
			       c->kernel, c->firmware);
	if (!c->kernel && !c->firmware)
		return err_set(e, -EINVAL, "no kernel: give --kernel FILE or --firmware FILE");
	if (c->firmware && c->initrd)
		return err_set(e, -EINVAL,
			       "option --initrd: a firmware (%.200s) takes its initrd from a "
			       "disk: leave it out",
			       c->firmware);
	if (c->firmware_addr && !c->firmware)
		return err_set(e, -EINVAL, "option --firmware-address needs --firmware FILE");
	if (c->firmware_addr &&
	    (c->firmware_addr < c->mem_base || c->firmware_addr - c->mem_base >= c->mem ||
	     !IS_ALIGNED(c->firmware_addr, GRANULE_SIZE)))
		return err_set(e, -EINVAL,
			       "option --firmware-address: %" PRIipa " is not a multiple "
			       "of 4 KiB in RAM (%" PRIipa " to %" PRIipa ")",
			       c->firmware_addr, c->mem_base, c->mem_base + c->mem - 1);
	if (c->dtb && c->dump_dtb)
		return err_set(e, -EINVAL,
			       "options --dtb and --dump-dtb exclude each other: with "
			       "--dtb no devicetree is made");
	if (c->swiotlb_mib && mib(c->mem) <= c->swiotlb_mib)
		return err_set(e, -EINVAL,
			       "option --swiotlb: %u MiB leave nothing of the %" PRIu64
			       " MiB of RAM: give less, or more RAM with -m",
			       c->swiotlb_mib, mib(c->mem));
	if (c->swiotlb_mib && c->params && strstr(c->params, "swiotlb="))
		return err_set(e, -EINVAL,
			       "option --swiotlb: the kernel parameters have a swiotlb= "
			       "already: give one of the two");
	return 0;
}

static int check_ranges(const struct vm_config *c, struct err *e)
{
	for (unsigned int i = 0; i < c->nr_ripas_ranges; i++) {
		const struct cfg_range *g = &c->ripas_range[i];

		if (g->base < c->mem_base || g->base - c->mem_base > c->mem ||
		    g->size > c->mem - (g->base - c->mem_base))
			return err_set(e, -EINVAL,
				       "option --ripas-ram: %" PRIipa " to %" PRIipa
				       " is not in RAM (%" PRIipa " to %" PRIipa ")",
				       g->base, g->base + g->size, c->mem_base,
				       c->mem_base + c->mem);
	}
	return 0;
}

static int check_realm(const struct vm_config *c, struct err *e)
{
	struct realm_host_want want = { c->rmi_generation, c->rmi_cap };
	int ret;

	ret = realm_host_check_want(&want, e);
	if (!ret)
		ret = check_ranges(c, e);
	if (ret < 0)
		return ret;
	if (c->emulated_strict && c->mode != MODE_EMULATED)
		return err_set(e, -EINVAL, "option --emulated-strict needs --realm=emulated");
	/* KVM's realm code, VFIO and the RIPAS map deal with 4 KiB pages */
	if (c->hugetlbfs && c->mode != MODE_PLAIN)
		return err_set(e, -EINVAL,
			       "option --hugetlbfs: a realm shares its memory page by page: leave it out");
	if (c->gdb && c->mode == MODE_KVM)
		return err_set(e, -EINVAL,
			       "option --gdb: nobody can look into a KVM realm: debug "
			       "the guest with --realm=emulated, or without --realm");
	return 0;
}

/* What a realm cannot have, and what would be too much. */
static int check_guest_memory(const struct vm_config *c, struct err *e)
{
	if (c->balloon && c->mode != MODE_PLAIN)
		return err_set(e, -EINVAL,
			       "option --balloon: which page of a realm has memory is between the "
			       "realm and its monitor, and a driver of a balloon takes private pages: "
			       "leave it out, and give the realm what it needs with --mem");
	if (c->balloon_size && c->balloon_size >= c->mem)
		return err_set(e, -EINVAL,
			       "option --balloon: %" PRIu64 " MiB leave nothing of the %" PRIu64
			       " MiB of RAM: give less",
			       mib(c->balloon_size), mib(c->mem));
	if (c->nr_pmems && c->mode != MODE_PLAIN)
		return err_set(e, -EINVAL,
			       "option --pmem: a realm would have to share this memory with the host "
			       "page by page, and its kernel takes it for private: give --disk");
	return 0;
}

static int check_cpus(const struct vm_config *c, struct err *e)
{
	if (c->sve_max_vl && c->sve_disabled)
		return err_set(e, -EINVAL,
			       "option --disable-sve contradicts the SVE vector length "
			       "of %u bits: give one of the two",
			       c->sve_max_vl);
	if (c->pmu_counters && !c->pmu)
		return err_set(e, -EINVAL, "option --pmu-counters needs --pmu");
	return 0;
}

static int check_pci(const struct vm_config *c, struct err *e)
{
	if (c->trusted_asked && !c->lkvm)
		return err_set(e, -EINVAL, "option --viommu: not in this version: trusted devices (RMM 2.0 "
			       "device assignment, TDISP) are not built; leave it out, and --vfio-pci "
			       "gives the guest the device for its shared pages");
	if (c->pci_mem64 && !config_pci(c) && !c->nr_vfios)
		return err_set(e, -EINVAL, "option --pci-mem64: there is no PCI bus with --irqchip gicv3 and "
			       "virtio-mmio: leave it out, or give --virtio-transport pci");
	for (unsigned int i = 0; i < c->nr_vfios; i++)
		if (c->vfio[i].both && c->mode == MODE_PLAIN)
			return err_set(e, -EINVAL, "option --vfio-pci: dma-alias=both is for realms: a plain "
				       "VM has one address for each page, leave it out");
	return 0;
}

static int check_running(const struct vm_config *c, struct err *e)
{
	if (c->ready == READY_VSOCK && !c->vsock.cid)
		return err_set(e, -EINVAL, "option --ready: the guest has no vsock to say it on: give "
			       "--vsock CID, too");
	return 0;
}

int config_check(const struct vm_config *c, struct err *e)
{
	int (*const check[])(const struct vm_config *, struct err *) = {
		check_memory, check_boot, check_realm, check_cpus, check_guest_memory,
		check_pci, check_running,
	};
	int ret = 0;

	for (size_t i = 0; i < ARRAY_SIZE(check) && !ret; i++)
		ret = check[i](c, e);
	return ret;
}
