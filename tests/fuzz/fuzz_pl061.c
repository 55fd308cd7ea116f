// SPDX-License-Identifier: BSD-3-Clause
/*
 * The GPIO controller of the power button. The wire is high while an interrupt that is not masked
 * is pending; an input shows what is outside, an output what was written.
 */
#include "tests/fuzz/fuzz.h"

#include "vmm/board/pl061.h"
#include "vmm/core/err.h"
#include "vmm/core/irq.h"
#include "vmm/core/mmio.h"

#define BASE	0x1020000
#define SIZE	0x1000

enum { DATA = 0x3fc, DIR = 0x400, IE = 0x410, RIS = 0x414, MIS = 0x418 };

static int wire;

static void line_set(struct irq_line *line, int level)
{
	(void)line;
	PROPERTY(level != wire);
	wire = level;
}

static uint8_t get(struct mmio_bus *bus, unsigned int reg)
{
	uint32_t val = 0;

	PROPERTY(mmio_access(bus, BASE + reg, (uint8_t *)&val, 4, false));
	PROPERTY(val <= 0xff);
	return val;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct irq_line irq = { .set = line_set };
	struct mmio_bus bus = { .nr = 0 };
	uint8_t outside = 0, driven = 0;
	struct pl061 *p;
	struct err e;

	wire = 0;
	PROPERTY(!pl061_new(&bus, BASE, &irq, &p, &e));
	while (in.left) {
		uint8_t op = in_u8(&in), any[8], dir;
		unsigned int off = in_u16(&in) % SIZE, len = 1 + (op >> 4) % 8, nr = off & 7;

		switch (op % 4) {
		case 0:
			pl061_set(p, nr, op & 8);
			outside = (outside & ~(1 << nr)) | (op & 8 ? 1 << nr : 0);
			break;
		case 1:
			/* the registers that do something */
			off = op & 8 ? DIR + off % 9 * 4 : off & DATA;
			len = 4;
			/* fall through */
		case 2:
			in_bytes(&in, any, sizeof(any));
			PROPERTY(mmio_access(&bus, BASE + off, any, len, true) ==
				 (off + len <= SIZE));
			if (off % 4 == 0 && off < DIR && off + len <= SIZE) {
				uint8_t mask = off >> 2 & get(&bus, DIR);

				driven = (driven & ~mask) | (any[0] & mask);
			}
			break;
		case 3:
			PROPERTY(mmio_access(&bus, BASE + off, any, len, false) ==
				 (off + len <= SIZE));
			break;
		}
		PROPERTY((get(&bus, RIS) & get(&bus, IE)) == get(&bus, MIS));
		PROPERTY(wire == !!get(&bus, MIS));
		dir = get(&bus, DIR);
		PROPERTY(get(&bus, DATA) == ((outside & ~dir) | (driven & dir)));
		PROPERTY(pl061_awaited(p, nr) == ((get(&bus, IE) & ~dir) >> nr & 1));
	}
	pl061_free(p);
	return 0;
}
