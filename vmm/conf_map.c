// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/conf_map.h"

#include <stdlib.h>

#include "vmm/layout.h"

#define MAX_ROWS (32 + CFG_MAX_PMEMS + PLAN_MAX_PIECES + PLAN_MAX_RANGES)

struct row {
	ipa_t base;
	uint64_t size;
	bool inside;	/* of the range above it */
	const char *what, *more;
};

struct map {
	struct row row[MAX_ROWS];
	unsigned int nr;
};

static void add(struct map *m, ipa_t base, uint64_t size, bool inside, const char *what,
		const char *more)
{
	if (size && m->nr < MAX_ROWS)
		m->row[m->nr++] = (struct row){ base, size, inside, what, more };
}

static int by_address(const void *va, const void *vb)
{
	const struct row *a = va, *b = vb;

	if (a->base != b->base)
		return a->base < b->base ? -1 : 1;
	return a->inside - b->inside;
}

static void add_devices(struct map *m, const struct vm_config *c, const struct layout *l)
{
	const struct gic *g = &l->gic;

	if (l->pci) {
		add(m, MAP_PCI_IO_BASE, MAP_PCI_IO_SIZE, false, "PCI I/O window", "");
		add(m, MAP_ECAM_BASE, MAP_ECAM_SIZE, false, "PCI configuration space (ECAM)", "");
		add(m, MAP_PCI_MEM_BASE, MAP_PCI_MEM_END - MAP_PCI_MEM_BASE, false,
		    "PCI memory window", "");
		add(m, l->mem64.base, l->mem64.size, false, "PCI memory window, 64 bits", "");
	}
	add(m, MAP_UART_BASE, MAP_UART_COUNT * MAP_UART_STRIDE, false, "serial ports", "");
	add(m, MAP_RTC_BASE, MAP_RTC_SIZE, false, "clock", "");
	add(m, MAP_GPIO_BASE, c->power_button ? MAP_GPIO_SIZE : 0, false, "power button", "");
	add(m, MAP_FLASH_BASE, l->flash_size, false, "flash", "");
	add(m, MAP_VIRTIO_BASE, l->nr_virtio * MAP_VIRTIO_STRIDE, false, "virtio-mmio", "");
	add(m, g->its_base, g->its ? MAP_GITS_SIZE : 0, false, "GICv3 ITS", "");
	add(m, g->redist, g->redist_size, false, "GICv3 redistributors", "");
	add(m, g->dist, MAP_GICD_SIZE, false, "GICv3 distributor", "");
}

static void add_ram(struct map *m, const struct vm_config *c, const struct layout *l)
{
	const struct plan *p = &l->load.plan;
	bool realm = l->split.shared != 0;

	add(m, c->mem_base, c->mem, false, "RAM", !realm ? "" : c->ripas_ram == RIPAS_RAM_ALL ?
	    ", all of it RIPAS RAM" : ", RIPAS EMPTY but for:");
	for (unsigned int i = 0; i < p->nr_ram && realm && c->ripas_ram != RIPAS_RAM_ALL; i++)
		add(m, p->ram[i].base, p->ram[i].size, true, "RIPAS RAM", "");
	for (unsigned int i = 0; i < p->nr; i++)
		add(m, p->piece[i].ipa, p->piece[i].span, true, p->piece[i].name, !realm ? "" :
		    p->piece[i].measured ? ", measured" : ", not measured");
	for (unsigned int i = 0; i < c->nr_pmems; i++)
		add(m, l->pmem[i].base, l->pmem[i].size, false, "persistent memory", "");
}

static void show_size(uint64_t size, char text[24])
{
	static const char unit[] = "BKMGTP";
	unsigned int u = 0;

	while (u < 5 && size && !(size & 1023)) {
		size >>= 10;
		u++;
	}
	snprintf(text, 24, "%" PRIu64 " %s%s", size, u ? (char[]){ unit[u], '\0' } : "B", u ? "iB" : "");
}

static void print(const struct row *r, int digits, FILE *to)
{
	char size[24];

	show_size(r->size, size);
	fprintf(to, "0x%0*" PRIx64 "  0x%0*" PRIx64 "  %10s  %s%s%s\n", digits, r->base, digits,
		r->base + r->size - 1, size, r->inside ? "  " : "", r->what, r->more);
}

void conf_map(const struct vm_config *c, const struct layout *l, FILE *to)
{
	const struct ipa_split *s = &l->split;
	int digits = (s->bits + 3) / 4;
	struct map m = { .nr = 0 };

	add_devices(&m, c, l);
	add_ram(&m, c, l);
	qsort(m.row, m.nr, sizeof(m.row[0]), by_address);

	fprintf(to, "IPA space of %u bits", s->bits);
	if (s->shared)
		fprintf(to, ": below 0x%" PRIx64 " protected, from there on shared", s->shared);
	fprintf(to, "\n\n%-*s  %-*s  %10s\n", digits + 2, "first", digits + 2, "last", "size");
	for (unsigned int i = 0; i < m.nr; i++)
		print(&m.row[i], digits, to);
	if (s->shared)
		print(&(struct row){ s->shared, s->shared, false, "shared half",
				     ": the devices, and what the guest shares" }, digits, to);
	fprintf(to, "\nEntry point 0x%" PRIx64 ", devicetree 0x%" PRIx64 "\n", l->load.plan.pc,
		l->load.dtb_ipa);
}
