// SPDX-License-Identifier: BSD-3-Clause
/*
 * The flash: command sequences, from the input or well-formed. A write clears bits or erases one
 * block, nothing else; a locked block and a read-only flash never change; while it is mapped into
 * the guest, its registers are the array.
 */
#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "vmm/board/flash.h"
#include "vmm/core/err.h"
#include "vmm/core/mmio.h"

#define BASE	0x2000000
#define SIZE	(2 * FLASH_BLOCK_SIZE)

static bool mapped;
static bool locked[2];		/* for certain */
static uint8_t seen[SIZE];	/* the array before the last write */

static void set_mapped(void *ctx, bool on)
{
	(void)ctx;
	PROPERTY(on != mapped);
	mapped = on;
}

/* Block @n after a write: how may it differ from what it was? */
static void compare(const uint8_t *array, unsigned int n, bool readonly)
{
	const uint8_t *is = array + n * FLASH_BLOCK_SIZE;
	uint8_t *was = seen + n * FLASH_BLOCK_SIZE;
	bool blank = true, cleared = true;

	if (!memcmp(is, was, FLASH_BLOCK_SIZE))
		return;
	PROPERTY(!readonly && !locked[n]);
	for (size_t i = 0; i < FLASH_BLOCK_SIZE; i++) {
		blank &= is[i] == 0xff;
		cleared &= !(is[i] & ~was[i]);
	}
	PROPERTY(blank || cleared);
	memcpy(was, is, FLASH_BLOCK_SIZE);
}

static void put(struct flash *f, struct mmio_bus *bus, bool readonly, uint64_t off, uint64_t val,
		unsigned int len)
{
	uint8_t data[8];

	memcpy(data, &val, sizeof(data));
	/* it may be the second half of an unlock command */
	for (unsigned int i = 0; i < len && off < SIZE; i++)
		if (data[i] == 0xd0)
			locked[off / FLASH_BLOCK_SIZE] = false;
	PROPERTY(mmio_access(bus, BASE + off, data, len, true) ==
		 (off < SIZE && len <= SIZE - off));
	for (unsigned int i = 0; i < 2; i++)
		compare(flash_map(f), i, readonly);
}

static void get(struct flash *f, struct mmio_bus *bus, uint64_t off, unsigned int len)
{
	uint8_t data[8];

	if (!mmio_access(bus, BASE + off, data, len, false))
		PROPERTY(off >= SIZE || len > SIZE - off);
	else if (mapped)
		PROPERTY(!memcmp(data, (uint8_t *)flash_map(f) + off, len));
}

static void well_formed(struct flash *f, struct mmio_bus *bus, bool ro, struct input *in,
			uint64_t off)
{
	uint8_t what = in_u8(in);
	unsigned int words = 1 + (what >> 3);

	off &= ~3ull;
	switch (what % 8) {
	case 0:
		put(f, bus, ro, off, 0x400040, 4);
		put(f, bus, ro, off, in_u32(in), 4);
		break;
	case 1:
		put(f, bus, ro, off, 0x200020, 4);
		put(f, bus, ro, off, 0xd000d0, 4);
		break;
	case 2:
		put(f, bus, ro, off, 0xe800e8, 4);
		put(f, bus, ro, off, (words - 1) * 0x10001, 4);
		for (unsigned int i = 0; i < words; i++)
			put(f, bus, ro, off + i * 4, in_u32(in), 4);
		put(f, bus, ro, off, 0xd000d0, 4);
		break;
	case 3:
		/* an unaligned access ends whatever was begun */
		put(f, bus, ro, 1, 0, 4);
		put(f, bus, ro, off, 0x600060, 4);
		put(f, bus, ro, off, 0x010001, 4);
		locked[off / FLASH_BLOCK_SIZE] = true;
		break;
	case 4:
		put(f, bus, ro, off, 0x600060, 4);
		put(f, bus, ro, off, 0xd000d0, 4);
		break;
	default:
		put(f, bus, ro, off, "\x70\x90\x98\xff\x50\xf0"[what >> 3 & 3] * 0x10001, 4);
		for (unsigned int i = 0; i < 80; i++)
			get(f, bus, i * 4, 4);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct input in = { data, size };
	struct mmio_bus bus = { .nr = 0 };
	bool readonly = in_u8(&in) & 1;
	struct flash_config cfg = {
		.name = "file", .readonly = readonly, .base = BASE, .set_mapped = set_mapped,
	};
	struct flash *f;
	struct err e;
	char path[32];

	if (fd < 0) {
		fd = memfd_create("flash", 0);
		PROPERTY(fd >= 0);
	}
	/* now and then a file that is none of a flash */
	PROPERTY(!ftruncate(fd, 0) && !ftruncate(fd, in_u8(&in) == 7 ? in_u32(&in) : SIZE));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	cfg.fd = flash_open(path, readonly, &e);
	if (cfg.fd < 0) {
		ERROR_IS_A_LINE(e);
		return 0;
	}
	PROPERTY(!flash_new(&bus, &cfg, &f, &e));
	mapped = true;
	locked[0] = locked[1] = false;
	memset(seen, 0, sizeof(seen));
	while (in.left && flash_size(f) == SIZE) {
		uint8_t op = in_u8(&in);
		uint64_t off = in_u32(&in) % (SIZE + 4);

		/* mostly near the ends of the blocks */
		if (op & 8)
			off = (off & 0x1007f) + (op & 0x10 ? FLASH_BLOCK_SIZE - 64 : 0);
		off %= SIZE + 4;
		switch (op % 8) {
		case 0 ... 2:
			put(f, &bus, readonly, off, in_u64(&in), op >> 5 ? op >> 5 : 8);
			break;
		case 3:
			get(f, &bus, off, op >> 5 ? op >> 5 : 8);
			break;
		case 4:
			flash_reset(f);
			PROPERTY(mapped);
			locked[0] = locked[1] = false;
			break;
		default:
			well_formed(f, &bus, readonly, &in, off % SIZE);
		}
	}
	flash_free(f);
	close(cfg.fd);
	return 0;
}
