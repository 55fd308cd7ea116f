// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/board/pci.h"
#include "vmm/cmdline.h"
#include "vmm/core/err.h"
#include "vmm/core/path.h"
#include "vmm/devices.h"

/* #syscalls main: write ftruncate close */

#define PMEM_SECTION (512 * SZ_1M)

uint64_t layout_mpidr(unsigned int id)
{
	/* 16 CPUs at affinity level 0 (what GICv3 SGIs can address at once), 256 at each above */
	return (id & 0xf) | (uint64_t)(id >> 4 & 0xff) << 8 | (uint64_t)(id >> 12 & 0xff) << 16;
}

void layout_rim_params(const struct vm_config *c, const struct layout *l, struct rim_params *p)
{
	*p = (struct rim_params){
		.dialect = c->rmm ? (enum rim_dialect)(c->rmm - 1) : RIM_B,
		.algo = (enum realm_hash)c->hash,
		.s2sz = l->split.bits,
		.num_bps = c->breakpoints - 1,
		.num_wps = c->watchpoints - 1,
		.sve = c->sve_max_vl != 0,
		.sve_vl = c->sve_max_vl ? c->sve_max_vl / 128 - 1 : 0,
		.pmu = c->pmu,
		.pmu_ctrs = c->pmu ? c->pmu_counters : 0,
	};
}

static int place_virtio(const struct vm_config *c, struct layout *l, struct err *e)
{
	unsigned int nr = devices_count(c);

	l->virtio_pci = config_pci(c);
	l->pci = l->virtio_pci || c->nr_vfios;
	if (l->virtio_pci) {
		if (nr > PCI_MAX_FUNCS)
			return err_set(e, -EINVAL, "%u virtio devices are too many: the PCI bus has "
				       "room for %d", nr, PCI_MAX_FUNCS);
		return 0;
	}
	if (nr > MAP_VIRTIO_COUNT)
		return err_set(e, -EINVAL, "%u virtio devices are too many: the machine has room for %d "
			       "on virtio-mmio, for %d with --virtio-transport pci", nr,
			       MAP_VIRTIO_COUNT, PCI_MAX_FUNCS);
	l->nr_virtio = nr;
	for (unsigned int i = 0; i < nr; i++)
		l->virtio[i] = (struct dt_virtio){
			.base = MAP_VIRTIO_BASE + i * MAP_VIRTIO_STRIDE,
			.spi = MAP_VIRTIO_SPI + i,
		};
	return 0;
}

/*
 * Above RAM, each where a section of the largest kind of an arm64 Linux's memory model begins (of
 * 512 MiB with pages of 64 KiB): none is shared with RAM. @top: the end of it all.
 */
static int place_pmem(const struct vm_config *c, const struct loader_files *files,
		      struct layout *l, ipa_t *top, struct err *e)
{
	*top = c->mem_base + c->mem;
	for (unsigned int i = 0; i < c->nr_pmems; i++) {
		ipa_t base = ALIGN_UP(*top, PMEM_SECTION), end = base + files->pmem_size[i];

		if (base < *top || end < base || (end - 1) >> IPA_MAX_BITS)
			return err_set(e, -E2BIG, "--pmem %s: memory up to %" PRIipa " does not fit into "
				       "the %d address bits that Arm has: give less RAM or a smaller "
				       "file", c->pmem[i].path, end, IPA_MAX_BITS);
		l->pmem[i] = (struct cfg_range){ base, files->pmem_size[i] };
		*top = end;
	}
	return 0;
}

/*
 * Above all memory, at the next power of 2 that is a multiple of its size, too: a BAR may be as
 * large as the window.
 */
static int place_mem64(const struct vm_config *c, struct layout *l, ipa_t *top, struct err *e)
{
	ipa_t base = MAP_RAM_BASE;

	if (!c->pci_mem64)
		return 0;
	while (base < *top || base < c->pci_mem64)
		base <<= 1;
	if ((base + c->pci_mem64 - 1) >> IPA_MAX_BITS)
		return err_set(e, -E2BIG, "--pci-mem64: a window up to %" PRIipa " does not fit into the %d "
			       "address bits that Arm has: give less", base + c->pci_mem64,
			       IPA_MAX_BITS);
	l->mem64 = (struct cfg_range){ base, c->pci_mem64 };
	*top = base + c->pci_mem64;
	return 0;
}

static int make_dtb(const struct vm_config *c, struct layout *l, struct err *e)
{
	uint64_t *mpidr = calloc(c->cpus, sizeof(*mpidr));
	struct dt_machine m = {
		.nr_cpus = c->cpus,
		.mpidr = mpidr,
		.psci_smc = l->split.shared != 0,
		.pmu = c->pmu,
		.ram_base = c->mem_base,
		.ram_size = c->mem,
		.its = l->gic.its,
		.gicd_base = l->gic.dist,
		.gicr_base = l->gic.redist,
		.gicr_size = l->gic.redist_size,
		.gits_base = l->gic.its_base,
		.nr_uarts = MAP_UART_COUNT,
		.rtc = true,
		.flash = l->flash_size != 0,
		.flash_size = l->flash_size,
		.power_button = c->power_button,
		.nr_virtio = l->nr_virtio,
		.virtio = l->virtio,
		.pci = l->pci,
		.pci_mem64_base = l->mem64.base,
		.pci_mem64_size = l->mem64.size,
		.cmdline = l->cmdline,
		.initrd_start = l->load.initrd_start,
		.initrd_end = l->load.initrd_end,
		.kaslr_seed_set = c->kaslr_seed_set,
		.kaslr_seed = c->kaslr_seed,
	};
	int ret;

	l->dtb = malloc(MAP_DTB_SIZE);
	if (!mpidr || !l->dtb) {
		free(mpidr);
		return err_set(e, -ENOMEM, "no memory for the devicetree");
	}
	for (unsigned int i = 0; i < c->cpus; i++)
		mpidr[i] = layout_mpidr(i);
	ret = dt_build(&m, l->dtb, MAP_DTB_SIZE, e);
	free(mpidr);
	return ret;
}

static int user_dtb(const struct vm_config *c, struct layout *l, struct err *e)
{
	bool realm = l->split.shared != 0;
	struct dt_user u;
	int ret;

	ret = dt_parse_user(l->load.user_dtb, l->load.user_dtb_size, &u, e);
	if (ret < 0)
		return err_prefix(e, "--dtb %s", c->dtb);
	if (l->load.user_dtb_size > MAP_DTB_SIZE)
		return err_set(e, -E2BIG, "--dtb %s: %zu bytes, at most %u KiB fit", c->dtb,
			       l->load.user_dtb_size, (unsigned int)(MAP_DTB_SIZE / 1024));
	if (realm && u.psci_method && strcmp(u.psci_method, "smc"))
		log_warning("--dtb %s: PSCI method \"%s\"; a realm's guest finds its monitor only with "
			    "\"smc\"", c->dtb, u.psci_method);
	if (c->params)
		log_warning("--dtb %s: its own bootargs are used, -p is ignored", c->dtb);
	l->dtb = calloc(1, MAP_DTB_SIZE);
	if (!l->dtb)
		return err_set(e, -ENOMEM, "no memory for the devicetree");
	memcpy(l->dtb, l->load.user_dtb, l->load.user_dtb_size);
	return 0;
}

/* What of RAM is RIPAS RAM at the start; plan_check() adds the pieces. */
static int ripas_ranges(const struct vm_config *c, struct plan *p, struct err *e)
{
	int ret = 0;

	if (c->ripas_ram == RIPAS_RAM_ALL)
		return plan_ram(p, c->mem_base, c->mem, e);
	for (unsigned int i = 0; i < c->nr_ripas_ranges && !ret; i++)
		ret = plan_ram(p, c->ripas_range[i].base, c->ripas_range[i].size, e);
	return ret;
}

static void measured_pieces(const struct vm_config *c, struct plan *p)
{
	static const struct {
		const char *name;
		enum cfg_piece bit;
	} piece[] = {
		{ "kernel", PIECE_KERNEL }, { "initrd", PIECE_INITRD }, { "dtb", PIECE_DTB },
		{ "firmware", PIECE_FIRMWARE },
	};

	for (unsigned int i = 0; i < p->nr; i++)
		for (unsigned int k = 0; k < ARRAY_SIZE(piece); k++)
			if (!strcmp(p->piece[i].name, piece[k].name))
				p->piece[i].measured = !(c->unmeasured & piece[k].bit);
}

int layout_make(const struct vm_config *c, const struct loader_files *files, uint64_t flash_size,
		struct layout *out, struct err *e)
{
	bool realm = c->mode != MODE_PLAIN;
	struct loader_in in = {
		.files = *files,
		.ram_base = c->mem_base,
		.ram_size = c->mem,
		.firmware_addr = c->firmware_addr,
	};
	ipa_t top;
	int ret;

	memset(out, 0, sizeof(*out));
	ret = place_pmem(c, files, out, &top, e);
	if (!ret)
		ret = place_mem64(c, out, &top, e);
	if (ret < 0)
		return ret;
	if (c->ipa_bits && c->ipa_bits < ipa_bits_needed(top, realm))
		return err_set(e, -EINVAL, "--ipa-bits %u: memory and the 64-bit PCI window end at %" PRIipa
			       ": use --ipa-bits %u, or leave it out", c->ipa_bits, top,
			       ipa_bits_needed(top, realm));
	out->split = ipa_split(c->ipa_bits ? c->ipa_bits : ipa_bits_needed(top, realm), realm);
	out->flash_size = flash_size;
	gic_place(&out->gic, c->cpus, c->irqchip == IRQCHIP_GICV3_ITS);
	ret = place_virtio(c, out, e);
	if (!ret)
		ret = cmdline_make(c, &out->split, out->cmdline, e);
	if (ret < 0)
		return ret;
	ret = loader_plan(&in, &out->load, e);
	if (ret < 0)
		return ret;
	ret = out->load.user_dtb ? user_dtb(c, out, e) : make_dtb(c, out, e);
	if (!ret)
		ret = loader_add_dtb(&out->load, out->dtb, MAP_DTB_SIZE, e);
	measured_pieces(c, &out->load.plan);
	if (!ret)
		ret = ripas_ranges(c, &out->load.plan, e);
	if (!ret)
		ret = plan_check(&out->load.plan, c->mem_base, c->mem, e);
	if (ret < 0)
		layout_free(out);
	return ret;
}

int layout_dump_dtb(const struct vm_config *c, const struct layout *l, struct err *e)
{
	int fd = path_open(c->dump_dtb, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	ssize_t n;

	if (fd < 0)
		return err_set(e, -errno, "--dump-dtb %s: %s", c->dump_dtb, strerror(errno));
	n = write(fd, l->dtb, MAP_DTB_SIZE);
	if (close(fd) < 0 || n != (ssize_t)MAP_DTB_SIZE)
		return err_set(e, -EIO, "--dump-dtb %s: cannot write %u bytes", c->dump_dtb,
			       (unsigned int)MAP_DTB_SIZE);
	return 0;
}

void layout_free(struct layout *l)
{
	loader_free(&l->load);
	free(l->dtb);
	l->dtb = NULL;
}
