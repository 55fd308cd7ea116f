// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmm/board/flash.h"
#include "vmm/board/memmap.h"
#include "vmm/core/err.h"
#include "vmm/core/mmio.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#endif

#define SIZE	(4 * FLASH_BLOCK_SIZE)
#define READY	0x00800080U
#define BOTH(x)	((uint32_t)(x) << 16 | (x))

struct fixture {
	struct mmio_bus bus;
	struct flash *flash;
	char path[64];
	int fd;
	bool readonly;
	bool mapped;
	unsigned int map_calls;
};

static void on_mapped(void *ctx, bool mapped)
{
	struct fixture *f = ctx;

	assert_int_not_equal(f->mapped, mapped);
	f->mapped = mapped;
	f->map_calls++;
}

static void make_file(struct fixture *f, uint64_t size)
{
	int fd;

	snprintf(f->path, sizeof(f->path), "/tmp/flash-test-XXXXXX");
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

/* The sanitizer does not watch mappings by itself: what lies behind the flash is out of bounds. */
static void guard(struct fixture *f, bool on)
{
#ifdef WITH_ASAN
	uint8_t *end = (uint8_t *)flash_map(f->flash) + flash_size(f->flash);

	if (on)
		ASAN_POISON_MEMORY_REGION(end, SZ_4K);
	else
		ASAN_UNPOISON_MEMORY_REGION(end, SZ_4K);
#endif
}

static void plug(struct fixture *f)
{
	struct flash_config cfg = {
		.name = f->path,
		.readonly = f->readonly,
		.base = MAP_FLASH_BASE,
		.set_mapped = on_mapped,
		.ctx = f,
	};
	struct err e;

	f->fd = cfg.fd = flash_open(f->path, f->readonly, &e);
	assert_true(f->fd >= 0);
	f->bus.nr = 0;
	f->mapped = true;
	assert_int_equal(flash_new(&f->bus, &cfg, &f->flash, &e), 0);
	assert_non_null(flash_map(f->flash));
	guard(f, true);
}

static void unplug(struct fixture *f)
{
	guard(f, false);
	flash_free(f->flash);
	close(f->fd);
}

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){ 0 };
	*state = &f;
	make_file(&f, SIZE);
	plug(&f);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unplug(f);
	unlink(f->path);
	return 0;
}

static uint64_t rd(struct fixture *f, uint64_t off, unsigned int len)
{
	uint64_t val = 0;

	assert_true(mmio_access(&f->bus, MAP_FLASH_BASE + off, (uint8_t *)&val, len, false));
	return val;
}

static void wr(struct fixture *f, uint64_t off, uint64_t val, unsigned int len)
{
	assert_true(mmio_access(&f->bus, MAP_FLASH_BASE + off, (uint8_t *)&val, len, true));
}

static uint32_t rd32(struct fixture *f, uint64_t off)
{
	return rd(f, off, 4);
}

static void cmd(struct fixture *f, uint64_t off, uint16_t c)
{
	wr(f, off, BOTH(c), 4);
}

/* Status after an operation; leaves the flash in array mode with a clean status. */
static uint32_t finish(struct fixture *f)
{
	uint32_t status;

	cmd(f, 0, 0x70);
	status = rd32(f, 0);
	cmd(f, 0, 0x50);
	cmd(f, 0, 0xff);
	return status;
}

static uint32_t erase_block(struct fixture *f, uint64_t off)
{
	cmd(f, off, 0x20);
	cmd(f, off, 0xd0);
	return finish(f);
}

static uint32_t program_word(struct fixture *f, uint64_t off, uint32_t val)
{
	cmd(f, off, 0x40);
	wr(f, off, val, 4);
	return finish(f);
}

static void erase_then_program(void **state)
{
	struct fixture *f = *state;
	uint64_t off = FLASH_BLOCK_SIZE;

	assert_int_equal(rd32(f, off), 0);
	/* Any address within the block will do. */
	assert_int_equal(erase_block(f, off + 0x1234), READY);
	assert_int_equal(rd32(f, off), 0xffffffff);
	assert_int_equal(rd32(f, 2 * off - 4), 0xffffffff);
	/* and the neighbours stay */
	assert_int_equal(rd32(f, off - 4), 0);
	assert_int_equal(rd32(f, 2 * off), 0);

	assert_int_equal(program_word(f, off + 8, 0x12345678), READY);
	assert_int_equal(rd32(f, off + 8), 0x12345678);
	assert_int_equal(rd(f, off + 8, 8), 0xffffffff12345678);
	assert_int_equal(rd(f, off + 9, 2), 0x3456);
	assert_int_equal(rd(f, off + 11, 1), 0x12);
	/* Programming cannot make ones. */
	assert_int_equal(program_word(f, off + 8, 0xff00ffff), READY);
	assert_int_equal(rd32(f, off + 8), 0x12005678);
	/* The alternate setup, and a single byte. */
	cmd(f, off, 0x10);
	wr(f, off + 13, 0x5a, 1);
	assert_int_equal(finish(f), READY);
	assert_int_equal(rd32(f, off + 12), 0xffff5aff);
}

static void erase_needs_confirmation(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(erase_block(f, 0), READY);
	assert_int_equal(program_word(f, 0, 0), READY);
	cmd(f, 0, 0x20);
	cmd(f, 0, 0xff);
	assert_int_equal(finish(f), READY | BOTH(0x30));
	assert_int_equal(rd32(f, 0), 0);
	/* The error is cleared, and what follows is taken as a command again. */
	assert_int_equal(erase_block(f, 0), READY);
	assert_int_equal(rd32(f, 0), 0xffffffff);
}

static uint8_t query(struct fixture *f, unsigned int addr)
{
	uint32_t val = rd32(f, addr * 4);

	assert_int_equal(val >> 16, val & 0xffff);
	assert_true((val & 0xffff) < 0x100);
	return val;
}

static void cfi_query(void **state)
{
	struct fixture *f = *state;

	cmd(f, 0x55 * 4, 0x98);
	assert_int_equal(query(f, 0x10), 'Q');
	assert_int_equal(query(f, 0x11), 'R');
	assert_int_equal(query(f, 0x12), 'Y');
	assert_int_equal(query(f, 0x13) | query(f, 0x14) << 8, 1);
	assert_int_equal(query(f, 0x15) | query(f, 0x16) << 8, 0x31);
	assert_int_equal(2ULL << query(f, 0x27), SIZE);
	/* the write buffer of two chips: 32 bus words */
	assert_int_equal(2 << query(f, 0x2a), 128);
	assert_int_equal(query(f, 0x2c), 1);
	assert_int_equal((query(f, 0x2d) | query(f, 0x2e) << 8) + 1, SIZE / FLASH_BLOCK_SIZE);
	assert_int_equal(2 * 256 * (query(f, 0x2f) | query(f, 0x30) << 8), FLASH_BLOCK_SIZE);
	assert_int_equal(query(f, 0x31), 'P');
	assert_int_equal(query(f, 0x32), 'R');
	assert_int_equal(query(f, 0x33), 'I');
	/* other widths see the same bus */
	assert_int_equal(rd(f, 0x10 * 4, 1), 'Q');
	assert_int_equal(rd(f, 0x10 * 4 + 1, 1), 0);
	assert_int_equal(rd(f, 0x10 * 4 + 2, 2), 'Q');
	assert_int_equal(rd(f, 0x10 * 4, 8), 0x0052005200510051);
	/* beyond the table, up to the end */
	for (unsigned int addr = 0x3f; addr < SIZE / 4; addr += 0x3fff)
		assert_int_equal(query(f, addr), 0);
	assert_int_equal(rd32(f, SIZE - 4), 0);
	cmd(f, 0, 0xff);
	assert_int_equal(rd32(f, 0x10 * 4), 0);
}

static void identification_and_locks(void **state)
{
	struct fixture *f = *state;
	uint64_t off = 2 * FLASH_BLOCK_SIZE;

	cmd(f, 0, 0x90);
	assert_int_equal(rd32(f, 0), BOTH(0x89));
	assert_int_equal(rd32(f, 4), BOTH(0x18));
	assert_int_equal(rd32(f, off + 8), 0);

	cmd(f, off, 0x60);
	cmd(f, off, 0x01);
	assert_int_equal(finish(f), READY);
	cmd(f, 0, 0x90);
	assert_int_equal(rd32(f, off + 8), BOTH(1));
	assert_int_equal(rd32(f, off + FLASH_BLOCK_SIZE + 8), 0);
	assert_int_equal(erase_block(f, off), READY | BOTH(0x22));
	assert_int_equal(program_word(f, off, 0), READY | BOTH(0x12));

	cmd(f, off, 0x60);
	cmd(f, off, 0xd0);
	assert_int_equal(finish(f), READY);
	assert_int_equal(erase_block(f, off), READY);

	cmd(f, off, 0x60);
	cmd(f, off, 0x03);
	assert_int_equal(finish(f), READY | BOTH(0x30));
	cmd(f, 0, 0x90);
	assert_int_equal(rd32(f, off + 8), 0);
}

static void buffered_program(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(erase_block(f, 0), READY);
	cmd(f, 0x100, 0xe8);
	assert_int_equal(rd32(f, 0x100), READY);
	cmd(f, 0x100, 31);
	for (uint32_t i = 0; i < 32; i++)
		wr(f, 0x100 + i * 4, 0xd0d0d000 + i, 4);
	cmd(f, 0, 0xd0);
	assert_int_equal(finish(f), READY);
	for (uint32_t i = 0; i < 32; i++)
		assert_int_equal(rd32(f, 0x100 + i * 4), 0xd0d0d000 + i);
	assert_int_equal(rd32(f, 0xfc), 0xffffffff);
	assert_int_equal(rd32(f, 0x180), 0xffffffff);

	/* one word */
	cmd(f, 0x200, 0xe8);
	cmd(f, 0x200, 0);
	wr(f, 0x200, 0, 4);
	cmd(f, 0x200, 0xd0);
	assert_int_equal(finish(f), READY);
	assert_int_equal(rd32(f, 0x200), 0);
	assert_int_equal(rd32(f, 0x204), 0xffffffff);
}

static void buffered_program_hostile(void **state)
{
	struct fixture *f = *state;
	uint64_t last = SIZE - 4;

	for (uint64_t off = 0; off < SIZE; off += FLASH_BLOCK_SIZE)
		assert_int_equal(erase_block(f, off), READY);

	/* more words than the buffer has */
	static const uint16_t counts[] = { 32, 33, 0xff, 0x100, 0x7fff, 0xffff };
	for (unsigned int i = 0; i < ARRAY_SIZE(counts); i++) {
		cmd(f, 0, 0xe8);
		cmd(f, 0, counts[i]);
		assert_int_equal(finish(f), READY | BOTH(0x30));
	}
	/* all of them to the last word of the array */
	cmd(f, last, 0xe8);
	cmd(f, last, 31);
	for (unsigned int i = 0; i < 32; i++)
		wr(f, last, 0x11111111, 4);
	cmd(f, last, 0xd0);
	assert_int_equal(finish(f), READY);
	assert_int_equal(rd32(f, last), 0x11111111);
	assert_int_equal(rd32(f, last - 4), 0xffffffff);
	/* outside of the window that the first word opened: below, above, in the next block */
	cmd(f, 0x100, 0xe8);
	cmd(f, 0x100, 1);
	wr(f, 0x100, 0, 4);
	wr(f, 0xfc, 0, 4);
	cmd(f, 0, 0xd0);
	assert_int_equal(finish(f), READY | BOTH(0x30));
	cmd(f, 0x100, 0xe8);
	cmd(f, 0x100, 1);
	wr(f, 0x100, 0, 4);
	wr(f, 0x108, 0, 4);
	cmd(f, 0, 0xd0);
	assert_int_equal(finish(f), READY | BOTH(0x30));
	cmd(f, FLASH_BLOCK_SIZE - 4, 0xe8);
	cmd(f, FLASH_BLOCK_SIZE - 4, 1);
	wr(f, FLASH_BLOCK_SIZE - 4, 0, 4);
	wr(f, FLASH_BLOCK_SIZE, 0, 4);
	cmd(f, 0, 0xd0);
	assert_int_equal(finish(f), READY | BOTH(0x30));
	cmd(f, 0x100, 0xe8);
	cmd(f, 0x100, 31);
	wr(f, 0x100, 0, 4);
	wr(f, 0x180, 0, 4);
	cmd(f, 0, 0xd0);
	assert_int_equal(finish(f), READY | BOTH(0x30));
	/* a width the buffer does not know, and no confirmation */
	cmd(f, 0x100, 0xe8);
	cmd(f, 0x100, 0);
	wr(f, 0x100, 0, 2);
	cmd(f, 0, 0xd0);
	assert_int_equal(finish(f), READY | BOTH(0x30));
	cmd(f, 0x100, 0xe8);
	cmd(f, 0x100, 0);
	wr(f, 0x100, 0, 4);
	cmd(f, 0x100, 0xff);
	assert_int_equal(finish(f), READY | BOTH(0x30));
	/* nothing of that reached the array */
	assert_int_equal(rd32(f, 0xfc), 0xffffffff);
	assert_int_equal(rd32(f, 0x100), 0xffffffff);
	assert_int_equal(rd32(f, 0x108), 0xffffffff);
	assert_int_equal(rd32(f, FLASH_BLOCK_SIZE - 4), 0xffffffff);
	assert_int_equal(rd32(f, FLASH_BLOCK_SIZE), 0xffffffff);
	/* a locked block */
	cmd(f, 0, 0x60);
	cmd(f, 0, 0x01);
	cmd(f, 0, 0xe8);
	cmd(f, 0, 0);
	wr(f, 0, 0, 4);
	cmd(f, 0, 0xd0);
	assert_int_equal(finish(f), READY | BOTH(0x12));
	assert_int_equal(rd32(f, 0), 0xffffffff);
}

static void end_of_the_array(void **state)
{
	struct fixture *f = *state;
	uint64_t val = 0;

	assert_int_equal(erase_block(f, SIZE - 4), READY);
	assert_int_equal(program_word(f, SIZE - 4, 0xcafe0001), READY);
	assert_int_equal(rd32(f, SIZE - 4), 0xcafe0001);
	assert_int_equal(rd(f, SIZE - 1, 1), 0xca);
	/* 8 bytes are two cycles: setup and data. */
	wr(f, SIZE - 8, 0x00000040 | 0x0badULL << 48, 8);
	assert_int_equal(finish(f), READY);
	assert_int_equal(rd32(f, SIZE - 4), 0xcafe0001 & 0x0bad0000);
	/* unaligned: fails, and touches nothing */
	cmd(f, SIZE - 8, 0x40);
	wr(f, SIZE - 7, 0, 4);
	assert_int_equal(finish(f), READY | BOTH(0x30));
	assert_int_equal(rd32(f, SIZE - 8), 0xffffffff);
	assert_false(mmio_access(&f->bus, MAP_FLASH_BASE + SIZE - 2, (uint8_t *)&val, 4, true));
	assert_false(mmio_access(&f->bus, MAP_FLASH_BASE + SIZE, (uint8_t *)&val, 1, false));
}

static void mapping_follows_the_mode(void **state)
{
	struct fixture *f = *state;

	assert_true(f->mapped);
	cmd(f, 0, 0x50);
	cmd(f, 0, 0xff);
	assert_int_equal(f->map_calls, 0);
	cmd(f, 0, 0x70);
	assert_false(f->mapped);
	cmd(f, 0, 0x90);
	cmd(f, 0, 0x98);
	assert_int_equal(f->map_calls, 1);
	cmd(f, 0, 0xff);
	assert_true(f->mapped);
	assert_int_equal(f->map_calls, 2);
	static const uint16_t setups[] = { 0x10, 0x20, 0x40, 0x60, 0xe8 };
	for (unsigned int i = 0; i < ARRAY_SIZE(setups); i++) {
		cmd(f, 0, setups[i]);
		assert_false(f->mapped);
		flash_reset(f->flash);
		assert_true(f->mapped);
	}
	/* The mapping shows what was programmed. */
	assert_int_equal(erase_block(f, 0), READY);
	assert_int_equal(program_word(f, 0, 0x4711), READY);
	assert_int_equal(*(uint32_t *)flash_map(f->flash), 0x4711);
	assert_int_equal(flash_size(f->flash), SIZE);
}

static void contents_persist(void **state)
{
	struct fixture *f = *state;
	uint32_t val;
	int fd;

	assert_int_equal(erase_block(f, FLASH_BLOCK_SIZE), READY);
	assert_int_equal(program_word(f, FLASH_BLOCK_SIZE + 4, 0xfeedbeef), READY);
	unplug(f);
	fd = open(f->path, O_RDONLY);
	assert_int_equal(pread(fd, &val, 4, FLASH_BLOCK_SIZE + 4), 4);
	assert_int_equal(val, 0xfeedbeef);
	close(fd);
	plug(f);
	assert_int_equal(rd32(f, FLASH_BLOCK_SIZE + 4), 0xfeedbeef);
}

static void read_only_file(void **state)
{
	struct fixture *f = *state;

	unplug(f);
	f->readonly = true;
	plug(f);
	assert_int_equal(erase_block(f, 0), READY | BOTH(0x22));
	assert_int_equal(program_word(f, 0, 0), READY | BOTH(0x12));
	/* and cannot be unlocked */
	cmd(f, 0, 0x60);
	cmd(f, 0, 0xd0);
	assert_int_equal(erase_block(f, 0), READY | BOTH(0x22));
	cmd(f, 0, 0x90);
	assert_int_equal(rd32(f, 8), BOTH(1));
}

/* The file is cut short under a running guest: errors of the flash, and it can be used again. */
static void cut_short(void **state)
{
	struct fixture *f = *state;
	uint32_t status;

	assert_int_equal(program_word(f, 64, 0x12345678), READY);
	assert_int_equal(truncate(f->path, 0), 0);
	assert_int_equal(rd32(f, 64), 0xffffffff);
	status = program_word(f, 64, 0x0badf00d);
	assert_int_equal(status, READY | 0x00100010);
	assert_int_equal(truncate(f->path, SIZE), 0);
	assert_int_equal(erase_block(f, 0), READY);
	assert_int_equal(program_word(f, 64, 0x600d600d), READY);
	assert_int_equal(rd32(f, 64), 0x600d600d);
}

static void bad_files(void **state)
{
	static const uint64_t sizes[] = { 0, 1, FLASH_BLOCK_SIZE - 1, FLASH_BLOCK_SIZE / 2,
					  3 * FLASH_BLOCK_SIZE, SIZE + 1, 2 * MAP_FLASH_MAX };
	struct fixture f = { 0 };
	struct err e;
	int fd;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		make_file(&f, sizes[i]);
		assert_int_equal(flash_open(f.path, false, &e), -EINVAL);
		assert_non_null(strstr(e.msg, "power of two"));
		unlink(f.path);
	}
	assert_int_equal(flash_open(f.path, false, &e), -ENOENT);
	assert_non_null(strstr(e.msg, f.path));
	assert_int_equal(flash_open("/dev/null", false, &e), -EINVAL);
	assert_int_equal(flash_open("/tmp", true, &e), -EINVAL);

	make_file(&f, MAP_FLASH_MAX);
	fd = flash_open(f.path, false, &e);
	assert_true(fd >= 0);
	assert_int_equal(flash_open(f.path, true, &e), -EBUSY);
	close(fd);
	fd = flash_open(f.path, true, &e);
	assert_true(fd >= 0);
	close(fd);
	unlink(f.path);
}

/* Any sequence of accesses leaves the flash usable; the sanitizers watch the bounds. */
static void random_accesses(void **state)
{
	static const uint16_t likely[] = { 0x01, 0x10, 0x20, 0x40, 0x50, 0x60, 0x70, 0x90, 0x98,
					   0xd0, 0xe8, 0xff, 0, 31, 32 };
	static const unsigned int widths[] = { 1, 2, 4, 8 };
	struct fixture *f = *state;
	uint32_t seed = 12345;

	for (unsigned int i = 0; i < 200000; i++) {
		unsigned int len;
		uint64_t off, val;

		seed = seed * 1664525 + 1013904223;
		len = widths[seed >> 30];
		off = (seed >> 8) % (SIZE - len + 1);
		if (seed & 0x80)
			off = SIZE - len - (seed >> 20) % 16;
		val = likely[(seed >> 12) % ARRAY_SIZE(likely)];
		val |= val << 16 | val << 32 | val << 48;
		if (seed & 0x40)
			rd(f, off, len);
		else
			wr(f, off, val, len);
	}
	flash_reset(f->flash);
	assert_int_equal(erase_block(f, 0), READY);
	assert_int_equal(program_word(f, 0, 0x600d600d), READY);
	assert_int_equal(rd32(f, 0), 0x600d600d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(erase_then_program, setup, teardown),
		cmocka_unit_test_setup_teardown(erase_needs_confirmation, setup, teardown),
		cmocka_unit_test_setup_teardown(cfi_query, setup, teardown),
		cmocka_unit_test_setup_teardown(identification_and_locks, setup, teardown),
		cmocka_unit_test_setup_teardown(buffered_program, setup, teardown),
		cmocka_unit_test_setup_teardown(buffered_program_hostile, setup, teardown),
		cmocka_unit_test_setup_teardown(end_of_the_array, setup, teardown),
		cmocka_unit_test_setup_teardown(mapping_follows_the_mode, setup, teardown),
		cmocka_unit_test_setup_teardown(contents_persist, setup, teardown),
		cmocka_unit_test_setup_teardown(read_only_file, setup, teardown),
		cmocka_unit_test_setup_teardown(cut_short, setup, teardown),
		cmocka_unit_test(bad_files),
		cmocka_unit_test_setup_teardown(random_accesses, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
