// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vfio/pci_int.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"

const struct pci_ops vfio_pci_ops = {
	.bar_read = vfio_bar_read,
	.bar_write = vfio_bar_write,
	.cfg_read = vfio_cfg_read,
	.cfg_write = vfio_cfg_write,
	.bar_mapped = vfio_bar_mapped,
	.msix_used = vfio_irqs_msix_used,
};

/* Are two names the same but for the function? "0000:01:00.0" */
static bool same_device(const char *a, const char *b)
{
	const char *dot = strrchr(a, '.');

	return dot && !strncmp(a, b, dot - a + 1);
}

/* A function of the same device that is on the bus already. */
static const struct pci_dev *sibling(const struct vfio_pci *p)
{
	const struct pci_host *h = p->env.host;

	for (unsigned int fn = 0; fn < ARRAY_SIZE(h->func); fn++)
		if (h->func[fn] && h->func[fn]->ops == &vfio_pci_ops &&
		    same_device(h->func[fn]->name, p->dev->name))
			return h->func[fn];
	return NULL;
}

/*
 * Nothing of whoever had it before is left in it, and it does no DMA. It decodes its memory from
 * here on: see pci_cfg.c.
 */
static int make_clean(struct vfio_pci *p, struct err *e)
{
	struct err why;
	int ret;

	if (vfio_reset(p->dev, &why) < 0 && !p->dev->reset_warned) {
		log_warning("%s; the guest gets the device as it was left, and whoever has it next "
			    "gets what the guest leaves in it", why.msg);
		p->dev->reset_warned = true;
	}
	ret = vfio_cfg_command(p, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY);
	if (ret < 0)
		return err_set(e, ret, "%s: its command register cannot be written: %s",
			       p->dev->name, strerror(-ret));
	return 0;
}

int vfio_pci_new(struct vfio_device *dev, const struct vfio_pci_cfg *cfg,
		 const struct vfio_pci_env *env, struct vfio_pci **out, struct err *e)
{
	struct vfio_pci *p = calloc(1, sizeof(*p));
	int ret;

	*out = NULL;
	if (!p)
		return err_set(e, -ENOMEM, "%s: no memory for it", dev->name);
	p->dev = dev;
	p->env = *env;
	pthread_mutex_init(&p->write_lock, NULL);
	pthread_mutex_init(&p->cfg_lock, NULL);
	ret = vfio_cfg_find(p, e);
	if (!ret)
		ret = make_clean(p, e);
	if (!ret)
		ret = vfio_cfg_init(p, e);
	if (!ret)
		ret = vfio_bars_init(p, e);
	if (!ret)
		ret = vfio_rom_init(p, cfg, e);
	if (!ret)
		ret = vfio_irqs_init(p, e);
	if (!ret)
		ret = vfio_bars_map(p, e);
	if (!ret)
		ret = pci_add_function(env->host, &p->pci, sibling(p), e);
	if (!ret)
		ret = vfio_irqs_start(p, e);
	if (ret < 0) {
		vfio_pci_free(p);
		return ret;
	}
	*out = p;
	return 0;
}

void vfio_pci_stop(struct vfio_pci *p)
{
	struct err e;

	if (!p || p->stopped)
		return;
	p->stopped = true;
	if (!p->cfg_size)
		return;		/* nothing of it was found */
	vfio_irqs_stop(p);
	vfio_cfg_command(p, PCI_COMMAND_MASTER, 0);
	if (vfio_reset(p->dev, &e) < 0)
		log_debug("%s", e.msg);
}

void vfio_pci_free(struct vfio_pci *p)
{
	if (!p)
		return;
	vfio_pci_stop(p);
	pci_remove(&p->pci);
	vfio_bars_free(p);
	vfio_irqs_free(p);
	pci_dev_destroy(&p->pci);
	pthread_mutex_destroy(&p->cfg_lock);
	pthread_mutex_destroy(&p->write_lock);
	free(p);
}

const struct vfio_pci_stat *vfio_pci_stat(const struct vfio_pci *p)
{
	return &p->stat;
}

const char *vfio_pci_name(const struct vfio_pci *p)
{
	return p->dev->name;
}
