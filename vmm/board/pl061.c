// SPDX-License-Identifier: BSD-3-Clause
/*
 * PL061 (PrimeCell General Purpose Input/Output, Arm DDI 0190B). Offsets: table 3-1,
 * the rules of interrupts: section 3.3 and figure 2-3.
 */
#include "vmm/board/pl061.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "vmm/board/memmap.h"
#include "vmm/core/err.h"
#include "vmm/core/irq.h"
#include "vmm/core/mmio.h"

#define NR_LINES	8

#define DATA_END	0x400	/* address bits 9:2 choose the lines that an access is for */
#define REG_DIR		0x400	/* 1: output */
#define REG_IS		0x404	/* 1: level sensitive */
#define REG_IBE		0x408	/* 1: both edges */
#define REG_IEV		0x40c	/* 1: rising edge, high level */
#define REG_IE		0x410	/* 1: not masked */
#define REG_RIS		0x414
#define REG_MIS		0x418
#define REG_IC		0x41c	/* writing 1 clears an edge */
#define REG_AFSEL	0x420
#define REG_ID		0xfe0	/* eight bytes in a word each */

struct pl061 {
	pthread_mutex_t lock;
	struct irq_line *irq;
	bool high;		/* as @irq was told last */
	uint8_t in, out;	/* levels from outside, and what was written */
	uint8_t dir, is, ibe, iev, ie, afsel;
	uint8_t edge;		/* edges seen and not cleared */
};

/* What the lines are: an output has the level that was written. */
static uint8_t lines(const struct pl061 *p)
{
	return (p->in & ~p->dir) | (p->out & p->dir);
}

static uint8_t raw(const struct pl061 *p)
{
	return (p->edge & ~p->is) | (~(lines(p) ^ p->iev) & p->is);
}

/* @before: lines() before the change that was made */
static void update(struct pl061 *p, uint8_t before)
{
	uint8_t now = lines(p), changed = now ^ before;
	bool high;

	p->edge |= changed & ~p->is & (p->ibe | ~(now ^ p->iev));
	high = raw(p) & p->ie;
	if (high == p->high)
		return;
	p->high = high;
	irq_set(p->irq, high);
}

static uint8_t read_id(uint64_t off)
{
	/* part 0x061, designer 0x41, revision 0; then the PrimeCell identification */
	static const uint8_t id[] = { 0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

	return off >= REG_ID ? id[(off - REG_ID) / 4] : 0;
}

static uint64_t pl061_read(void *dev, uint64_t off, unsigned int len)
{
	struct pl061 *p = dev;
	uint8_t val;

	if (off % 4)
		return 0;
	pthread_mutex_lock(&p->lock);
	switch (off) {
	case 0 ... DATA_END - 1:
		val = lines(p) & off >> 2;
		break;
	case REG_DIR:
		val = p->dir;
		break;
	case REG_IS:
		val = p->is;
		break;
	case REG_IBE:
		val = p->ibe;
		break;
	case REG_IEV:
		val = p->iev;
		break;
	case REG_IE:
		val = p->ie;
		break;
	case REG_RIS:
		val = raw(p);
		break;
	case REG_MIS:
		val = raw(p) & p->ie;
		break;
	case REG_AFSEL:
		val = p->afsel;
		break;
	default:
		val = read_id(off);
	}
	pthread_mutex_unlock(&p->lock);
	return val;
}

static void pl061_write(void *dev, uint64_t off, uint64_t data, unsigned int len)
{
	struct pl061 *p = dev;
	uint8_t val = data, mask = off >> 2, before;

	if (off % 4)
		return;
	pthread_mutex_lock(&p->lock);
	before = lines(p);
	switch (off) {
	case 0 ... DATA_END - 1:
		mask &= p->dir;		/* inputs are not written */
		p->out = (p->out & ~mask) | (val & mask);
		break;
	case REG_DIR:
		p->dir = val;
		break;
	case REG_IS:
		p->is = val;
		break;
	case REG_IBE:
		p->ibe = val;
		break;
	case REG_IEV:
		p->iev = val;
		break;
	case REG_IE:
		p->ie = val;
		break;
	case REG_IC:
		p->edge &= ~val;
		break;
	case REG_AFSEL:
		p->afsel = val;
		break;
	default:
		break;
	}
	update(p, before);
	pthread_mutex_unlock(&p->lock);
}

void pl061_set(struct pl061 *p, unsigned int nr, bool level)
{
	uint8_t before, bit = 1U << nr % NR_LINES;

	pthread_mutex_lock(&p->lock);
	before = lines(p);
	p->in = level ? p->in | bit : p->in & ~bit;
	update(p, before);
	pthread_mutex_unlock(&p->lock);
}

bool pl061_awaited(struct pl061 *p, unsigned int nr)
{
	bool ret;

	pthread_mutex_lock(&p->lock);
	ret = (p->ie & ~p->dir) >> nr % NR_LINES & 1;
	pthread_mutex_unlock(&p->lock);
	return ret;
}

int pl061_new(struct mmio_bus *bus, ipa_t base, struct irq_line *irq, struct pl061 **out,
	      struct err *e)
{
	static const struct mmio_ops ops = { .read = pl061_read, .write = pl061_write };
	struct pl061 *p = calloc(1, sizeof(*p));
	int ret;

	*out = NULL;
	if (!p)
		return err_set(e, -ENOMEM, "GPIO: out of memory");
	p->irq = irq;
	pthread_mutex_init(&p->lock, NULL);
	ret = mmio_add(bus, base, MAP_GPIO_SIZE, &ops, p, "gpio", e);
	if (ret < 0) {
		pl061_free(p);
		return ret;
	}
	*out = p;
	return 0;
}

void pl061_free(struct pl061 *p)
{
	if (!p)
		return;
	pthread_mutex_destroy(&p->lock);
	free(p);
}
