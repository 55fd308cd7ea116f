// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/board/gic.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/board/memmap.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"

/*
 * #syscalls main: eventfd2
 * #syscalls main,vcpu,io: write close
 */

static struct log_rate rate;

void gic_place(struct gic *g, unsigned int nr_cpus, bool its)
{
	memset(g, 0, sizeof(*g));
	g->fd = g->its_fd = -1;
	g->its = its;
	g->dist = MAP_GICD_BASE;
	g->redist_size = nr_cpus * MAP_GICR_SIZE;
	g->redist = g->dist - g->redist_size;
	g->its_base = g->redist - MAP_GITS_SIZE;
}

static int set(struct gic *g, int fd, uint32_t group, uint64_t attr, const void *val,
	       const char *what, struct err *e)
{
	int ret = kvm_set_attr(g->kvm, fd, group, attr, val);

	if (ret < 0)
		return err_set(e, ret, "%s: %s", what, strerror(-ret));
	return 0;
}

static int create_its(struct gic *g, uint64_t base, struct err *e)
{
	int ret;

	g->its_fd = kvm_device_create(g->kvm, KVM_DEV_TYPE_ARM_VGIC_ITS, NULL);
	if (g->its_fd < 0)
		return err_set(e, g->its_fd, "this host's KVM has no GICv3 ITS (%s); use --irqchip gicv3 "
			       "(a realm's measurement changes with it)", strerror(-g->its_fd));
	ret = set(g, g->its_fd, A64_GIC_GRP_ADDR, A64_GIC_ADDR_ITS, &base, "ITS address", e);
	if (ret < 0)
		return ret;
	return set(g, g->its_fd, A64_GIC_GRP_CTRL, A64_GIC_CTRL_INIT, NULL, "ITS initialisation",
		   e);
}

int gic_create(struct gic *g, struct kvm *kvm, unsigned int nr_cpus,
	       ipa_t (*to_kernel)(const void *ctx, ipa_t ipa), const void *ctx, struct err *e)
{
	uint64_t dist = to_kernel(ctx, g->dist);
	/* count in [63:52], address in [51:16], flags 0, index 0 */
	uint64_t redist = (uint64_t)nr_cpus << 52 | to_kernel(ctx, g->redist);
	uint32_t nr_irqs = 32 + MAP_NR_SPIS;
	int ret;

	g->kvm = kvm;
	g->fd = kvm_device_create(kvm, KVM_DEV_TYPE_ARM_VGIC_V3, NULL);
	if (g->fd < 0)
		return err_set(e, g->fd, "this host's KVM has no GICv3 (%s); realmtool needs a host "
			       "with GICv3 and KVM_DEV_TYPE_ARM_VGIC_V3 (Linux 4.7)",
			       strerror(-g->fd));
	ret = set(g, g->fd, A64_GIC_GRP_ADDR, A64_GIC_ADDR_DIST, &dist, "GIC distributor", e);
	if (!ret)
		ret = set(g, g->fd, A64_GIC_GRP_ADDR, A64_GIC_ADDR_REDIST_REGION, &redist,
			  "GIC redistributors (KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION, Linux 4.18)", e);
	if (!ret)
		ret = set(g, g->fd, A64_GIC_GRP_NR_IRQS, 0, &nr_irqs, "GIC interrupts", e);
	if (!ret)
		ret = set(g, g->fd, A64_GIC_GRP_CTRL, A64_GIC_CTRL_INIT, NULL,
			  "GIC initialisation", e);
	if (!ret && g->its)
		ret = create_its(g, to_kernel(ctx, g->its_base), e);
	return ret;
}

void gic_destroy(struct gic *g)
{
	if (g->its_fd >= 0)
		g->kvm->sys->close(g->its_fd);
	if (g->fd >= 0)
		g->kvm->sys->close(g->fd);
	g->fd = g->its_fd = -1;
}

static void level_set(struct irq_line *line, int level)
{
	struct gic *g = line->ctx;
	int ret = kvm_irq_line(g->kvm, line->spi, level);

	if (ret < 0)
		log_rated(&rate, LOG_ERROR, "SPI %u: KVM_IRQ_LINE: %s", line->spi, strerror(-ret));
}

void gic_level_line(struct gic *g, uint32_t spi, struct irq_line *line)
{
	*line = (struct irq_line){ level_set, g, spi };
}

static void edge_set(struct irq_line *line, int level)
{
	struct gic_edge *edge = container_of(line->ctx, struct gic_edge, line);
	uint64_t one = 1;

	if (level && write(edge->fd, &one, sizeof(one)) < 0)
		log_rated(&rate, LOG_ERROR, "SPI %u: irqfd: %s", line->spi, strerror(errno));
}

int gic_edge_line(struct gic *g, uint32_t spi, struct gic_edge *edge, struct err *e)
{
	int ret;

	/* a device may copy the line: ctx leads back to the original */
	edge->line = (struct irq_line){ edge_set, &edge->line, spi };
	edge->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (edge->fd < 0)
		return err_set(e, -errno, "eventfd: %s", strerror(errno));
	ret = kvm_irqfd(g->kvm, edge->fd, spi, e);
	if (ret < 0)
		gic_edge_free(edge);
	return ret;
}

void gic_edge_free(struct gic_edge *edge)
{
	if (edge->fd >= 0)
		close(edge->fd);
	edge->fd = -1;
}
