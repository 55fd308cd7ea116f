// SPDX-License-Identifier: BSD-3-Clause
/* The GPIO controller: registers, and when its interrupt is raised. */
#include "tests/unit/unit.h"

#include "vmm/board/memmap.h"
#include "vmm/board/pl061.h"
#include "vmm/core/err.h"
#include "vmm/core/irq.h"
#include "vmm/core/mmio.h"

#define LINE	MAP_GPIO_POWER
#define BIT	(1U << LINE)

enum { DIR = 0x400, IS = 0x404, IBE = 0x408, IEV = 0x40c, IE = 0x410, RIS = 0x414, MIS = 0x418,
       IC = 0x41c, AFSEL = 0x420 };

static struct mmio_bus bus;
static struct irq_line irq;
static struct pl061 *p;
static int level;		/* of the interrupt */
static unsigned int changes;	/* of it; a level that does not change is not told */

static void set_irq(struct irq_line *line, int to)
{
	assert_ptr_equal(line, &irq);
	assert_int_not_equal(to, level);
	level = to;
	changes++;
}

static int setup(void **state)
{
	struct err e;

	(void)state;
	bus = (struct mmio_bus){ 0 };
	irq = (struct irq_line){ .set = set_irq };
	level = 0;
	changes = 0;
	return pl061_new(&bus, MAP_GPIO_BASE, &irq, &p, &e);
}

static int teardown(void **state)
{
	(void)state;
	pl061_free(p);
	return 0;
}

static uint32_t get(unsigned int off)
{
	uint8_t b[4] = { 0xee, 0xee, 0xee, 0xee };

	assert_true(mmio_access(&bus, MAP_GPIO_BASE + off, b, 4, false));
	return b[0] | b[1] << 8 | b[2] << 16 | (uint32_t)b[3] << 24;
}

/* Linux writes bytes, other drivers words. */
static void put(unsigned int off, uint8_t val, unsigned int len)
{
	uint8_t b[8] = { val, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	assert_true(mmio_access(&bus, MAP_GPIO_BASE + off, b, len, true));
}

static void set(unsigned int off, uint8_t val)
{
	put(off, val, 1);
}

static void identification(void **state)
{
	static const uint8_t id[] = { 0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

	(void)state;
	for (unsigned int i = 0; i < sizeof(id); i++)
		assert_int_equal(get(0xfe0 + i * 4), id[i]);
	for (unsigned int off = 0; off < 0xfe0; off += 4)
		assert_int_equal(get(off), 0);
	/* they are not writable */
	put(0xfe0, 0, 4);
	assert_int_equal(get(0xfe0), 0x61);
}

static void data_and_direction(void **state)
{
	(void)state;
	pl061_set(p, 0, true);
	pl061_set(p, LINE, true);
	assert_int_equal(get(0x3fc), 1 | BIT);
	assert_int_equal(get(BIT << 2), BIT);	/* the address chooses */
	assert_int_equal(get(0), 0);
	assert_int_equal(get(2 << 2), 0);

	put(0x3fc, 0xff, 4);			/* inputs are not written */
	assert_int_equal(get(0x3fc), 1 | BIT);
	set(DIR, 0xf0);
	set(0xc0 << 2, 0xff);			/* two outputs of four, by the address */
	assert_int_equal(get(0x3fc), 0xc0 | 1 | BIT);
	set(0x40 << 2, 0);
	assert_int_equal(get(0x3fc), 0x80 | 1 | BIT);
	/* what an output shows comes from inside */
	pl061_set(p, 5, true);
	assert_int_equal(get(0x3fc), 0x80 | 1 | BIT);
	set(DIR, 0);
	assert_int_equal(get(0x3fc), 0x20 | 1 | BIT);
	set(AFSEL, 0x5a);
	assert_int_equal(get(AFSEL), 0x5a);
	assert_int_equal(changes, 0);
}

static void odd_accesses(void **state)
{
	uint8_t b[8] = { 0 };

	(void)state;
	set(IE, 0xff);
	assert_true(mmio_access(&bus, MAP_GPIO_BASE + IE + 1, b, 1, true));
	assert_true(mmio_access(&bus, MAP_GPIO_BASE + IE + 2, b, 2, true));
	assert_int_equal(get(IE), 0xff);
	assert_int_equal(get(IE + 2), 0);
	put(IE, 0x0f, 8);
	assert_int_equal(get(IE), 0x0f);
	assert_int_equal(get(IE + 4), 0);
	for (unsigned int off = 0; off < MAP_GPIO_SIZE - 8; off++) {
		mmio_access(&bus, MAP_GPIO_BASE + off, b, 1U << off % 4, false);
		mmio_access(&bus, MAP_GPIO_BASE + off, b, 1U << off % 4, true);
	}
}

/* as Linux's gpio-keys has it: both edges */
static void both_edges(void **state)
{
	(void)state;
	assert_false(pl061_awaited(p, LINE));
	set(IBE, BIT);
	set(IE, BIT);
	assert_true(pl061_awaited(p, LINE));
	assert_false(pl061_awaited(p, 0));
	pl061_set(p, LINE, true);
	assert_int_equal(level, 1);
	assert_int_equal(get(RIS), BIT);
	assert_int_equal(get(MIS), BIT);
	pl061_set(p, LINE, true);		/* no edge */
	set(IC, BIT);
	assert_int_equal(level, 0);
	assert_int_equal(get(RIS), 0);
	pl061_set(p, LINE, false);
	assert_int_equal(level, 1);
	set(IC, (uint8_t)~BIT);			/* another line's */
	assert_int_equal(level, 1);
	set(IE, 0);				/* masked: still pending */
	assert_int_equal(level, 0);
	assert_int_equal(get(RIS), BIT);
	assert_int_equal(get(MIS), 0);
	set(IE, BIT);
	assert_int_equal(level, 1);
	set(IC, 0xff);
	assert_int_equal(level, 0);
	assert_int_equal(changes, 6);
	set(DIR, BIT);
	assert_false(pl061_awaited(p, LINE));
}

static void one_edge(void **state)
{
	(void)state;
	set(IE, 0xff);
	set(IEV, BIT);				/* rising for the button, falling for the others */
	pl061_set(p, LINE, true);
	assert_int_equal(get(RIS), BIT);
	set(IC, BIT);
	pl061_set(p, LINE, false);
	assert_int_equal(get(RIS), 0);
	pl061_set(p, 0, true);
	assert_int_equal(get(RIS), 0);
	pl061_set(p, 0, false);
	assert_int_equal(get(RIS), 1);
	assert_int_equal(level, 1);
}

static void levels(void **state)
{
	(void)state;
	set(IS, BIT);
	set(IEV, BIT);
	set(IE, BIT);
	assert_int_equal(level, 0);
	pl061_set(p, LINE, true);
	assert_int_equal(level, 1);
	set(IC, BIT);				/* a level is not cleared */
	assert_int_equal(level, 1);
	pl061_set(p, LINE, false);
	assert_int_equal(level, 0);
	set(IEV, 0);				/* now low is what counts */
	assert_int_equal(level, 1);
	set(IS, 0);
	assert_int_equal(level, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(identification, setup, teardown),
		cmocka_unit_test_setup_teardown(data_and_direction, setup, teardown),
		cmocka_unit_test_setup_teardown(odd_accesses, setup, teardown),
		cmocka_unit_test_setup_teardown(both_edges, setup, teardown),
		cmocka_unit_test_setup_teardown(one_edge, setup, teardown),
		cmocka_unit_test_setup_teardown(levels, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
