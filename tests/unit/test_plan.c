// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "realm/plan.h"
#include "tests/unit/mkimage.h"
#include "vmm/core/err.h"

#define BASE 0x80000000ULL

static struct plan_piece piece(const char *name, ipa_t ipa, uint64_t len, const void *buf)
{
	struct plan_piece c = {
		.ipa = ipa, .len = len, .span = ALIGN_UP(len, SZ_4K), .buf = buf, .fd = -1,
	};

	strncpy(c.name, name, sizeof(c.name) - 1);
	return c;
}

static void add_refuses(void **state)
{
	static const uint8_t byte[SZ_4K];
	struct plan p = { 0 };
	struct plan_piece c;
	struct err e;

	c = piece("kernel", BASE + 1, 16, byte);
	assert_int_equal(plan_add(&p, &c, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "kernel"));
	c = piece("kernel", BASE, 0, byte);
	assert_int_equal(plan_add(&p, &c, &e), -EINVAL);
	c = piece("", BASE, 16, byte);
	assert_int_equal(plan_add(&p, &c, &e), -EINVAL);
	c = piece("kernel", BASE, 16, NULL);
	assert_int_equal(plan_add(&p, &c, &e), -EINVAL);
	c = piece("kernel", BASE, SZ_4K + 1, byte);
	c.span = SZ_4K;
	assert_int_equal(plan_add(&p, &c, &e), -EINVAL);
	c.span = 2 * SZ_4K + 1;
	assert_int_equal(plan_add(&p, &c, &e), -EINVAL);
	c = piece("kernel", UINT64_MAX - SZ_4K + 1, 16, byte);
	assert_int_equal(plan_add(&p, &c, &e), -EINVAL);
	c = piece("kernel", BASE, 16, NULL);
	c.fd = 0;
	c.fd_off = INT64_MAX;
	assert_int_equal(plan_add(&p, &c, &e), -EINVAL);
	memset(c.name, 'a', sizeof(c.name));
	assert_int_equal(plan_add(&p, &c, &e), -EINVAL);
	assert_int_equal(p.nr, 0);

	for (int i = 0; i < PLAN_MAX_PIECES; i++) {
		c = piece("kernel", BASE + i * SZ_4K, 16, byte);
		assert_int_equal(plan_add(&p, &c, &e), 0);
	}
	assert_int_equal(plan_add(&p, &c, &e), -ENOSPC);
	assert_int_equal(plan_check(&p, BASE, SZ_1M, &e), 0);
	plan_clear(&p);
	assert_int_equal(p.nr, 0);
}

static void check_sorts(void **state)
{
	static const char *const name[] = { "dtb", "kernel", "initrd", "firmware" };
	static const ipa_t at[] = { 3, 0, 2, 1 };
	struct plan p = { 0 };
	struct plan_piece c;

	for (int i = 0; i < 4; i++) {
		c = piece(name[i], BASE + at[i] * SZ_4K, 100, "x");
		assert_int_equal(plan_add(&p, &c, NULL), 0);
	}
	assert_int_equal(plan_check(&p, BASE, 4 * SZ_4K, NULL), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(p.piece[i].ipa, BASE + i * SZ_4K);
	assert_string_equal(p.piece[0].name, "kernel");
	assert_string_equal(p.piece[3].name, "dtb");
	plan_clear(&p);
}

static void check_bounds(void **state)
{
	struct plan p = { 0 };
	struct plan_piece c = piece("kernel", BASE, 2 * SZ_4K, "x");
	struct err e;

	assert_int_equal(plan_add(&p, &c, &e), 0);
	assert_int_equal(plan_check(&p, BASE, 2 * SZ_4K, &e), 0);	/* exactly */
	assert_int_equal(plan_check(&p, BASE, 2 * SZ_4K - 1, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "-m"));
	assert_int_equal(plan_check(&p, BASE + SZ_4K, 8 * SZ_4K, &e), -EINVAL);
	assert_int_equal(plan_check(&p, 0, BASE, &e), -EINVAL);
	assert_int_equal(plan_check(&p, 0, UINT64_MAX, &e), 0);

	c = piece("initrd", BASE + 2 * SZ_4K, 1, "x");		/* adjacent */
	assert_int_equal(plan_add(&p, &c, &e), 0);
	assert_int_equal(plan_check(&p, BASE, SZ_1M, &e), 0);
	c = piece("dtb", BASE + SZ_4K, 1, "x");			/* in the middle */
	assert_int_equal(plan_add(&p, &c, &e), 0);
	assert_int_equal(plan_check(&p, BASE, SZ_1M, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "overlaps"));
	plan_clear(&p);

	/* the span counts, not only the content */
	c = piece("kernel", BASE, 1, "x");
	c.span = SZ_1M;
	assert_int_equal(plan_add(&p, &c, &e), 0);
	c = piece("dtb", BASE + SZ_1M - SZ_4K, 1, "x");
	assert_int_equal(plan_add(&p, &c, &e), 0);
	assert_int_equal(plan_check(&p, BASE, SZ_2M, &e), -EINVAL);
	plan_clear(&p);
}

/* What is RAM at the start: ranges and pieces, sorted and joined. */
static void ram_ranges(void **state)
{
	struct plan p = { 0 };
	struct plan_piece c = piece("kernel", BASE + SZ_1M, 10, "0123456789");
	struct err e;
	bool ram;

	c.span = SZ_2M;
	assert_int_equal(plan_add(&p, &c, &e), 0);
	assert_int_equal(plan_ram(&p, BASE + 8 * SZ_1M, SZ_4K, &e), 0);
	assert_int_equal(plan_ram(&p, BASE + 3 * SZ_1M, SZ_4K, &e), 0);		/* touches */
	assert_int_equal(plan_ram(&p, BASE + SZ_1M + SZ_4K, SZ_4K, &e), 0);	/* inside */
	assert_int_equal(plan_check(&p, BASE, 16 * SZ_1M, &e), 0);
	assert_int_equal(p.nr_ram, 2);
	assert_true(p.ram[0].base == BASE + SZ_1M && p.ram[0].size == SZ_2M + SZ_4K);
	assert_true(p.ram[1].base == BASE + 8 * SZ_1M && p.ram[1].size == SZ_4K);

	assert_true(plan_ram_run(&p, BASE, BASE + 16 * SZ_1M, &ram) == BASE + SZ_1M);
	assert_false(ram);
	assert_true(plan_ram_run(&p, BASE + SZ_1M, BASE + 16 * SZ_1M, &ram) ==
		    BASE + 3 * SZ_1M + SZ_4K);
	assert_true(ram);
	assert_true(plan_ram_run(&p, BASE + SZ_2M, BASE + SZ_2M + SZ_4K, &ram) ==
		    BASE + SZ_2M + SZ_4K);
	assert_true(ram);
	assert_true(plan_ram_run(&p, BASE + 9 * SZ_1M, BASE + 16 * SZ_1M, &ram) ==
		    BASE + 16 * SZ_1M);
	assert_false(ram);
	plan_clear(&p);

	assert_int_equal(plan_ram(&p, BASE + 1, SZ_4K, &e), -EINVAL);
	assert_int_equal(plan_ram(&p, BASE, 0, &e), -EINVAL);
	assert_int_equal(plan_ram(&p, UINT64_MAX - SZ_4K + 1, SZ_2M, &e), -EINVAL);
	assert_int_equal(plan_ram(&p, BASE, SZ_2M, &e), 0);
	assert_int_equal(plan_check(&p, BASE, SZ_1M, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "is not within RAM"));
	plan_clear(&p);
	for (int i = 0; i < PLAN_MAX_RANGES; i++)
		assert_int_equal(plan_ram(&p, BASE + i * SZ_2M, SZ_4K, &e), 0);
	assert_int_equal(plan_ram(&p, BASE, SZ_4K, &e), -ENOSPC);
}

static void read_all_kinds(void **state)
{
	uint8_t src[5000], got[8192];
	struct plan_piece c;
	struct blob b = { src, sizeof(src) };
	struct err e;
	int fd;

	for (size_t i = 0; i < sizeof(src); i++)
		src[i] = i * 7 + 1;
	fd = open(mk_file(b), O_RDWR);
	assert_true(fd >= 0);

	for (int from_file = 0; from_file < 2; from_file++) {
		c = piece("initrd", BASE, sizeof(src), src);
		if (from_file) {
			c.buf = NULL;
			c.fd = fd;
			c.fd_off = 100;
			c.len -= 100;
		}
		const uint8_t *want = from_file ? src + 100 : src;

		memset(got, 0xff, sizeof(got));
		assert_int_equal(plan_read(&c, 0, got, sizeof(got), &e), 0);
		assert_memory_equal(got, want, c.len);
		for (size_t i = c.len; i < sizeof(got); i++)
			assert_int_equal(got[i], 0);
		memset(got, 0xff, sizeof(got));
		assert_int_equal(plan_read(&c, c.len - 1, got, 4, &e), 0);
		assert_int_equal(got[0], want[c.len - 1]);
		assert_int_equal(got[1] | got[2] | got[3], 0);
		assert_int_equal(got[4], 0xff);
		assert_int_equal(plan_read(&c, UINT64_MAX - 1, got, 16, &e), 0);
		assert_int_equal(got[0], 0);
		assert_int_equal(plan_read(&c, 0, got, 0, &e), 0);
	}
	/* the position of the descriptor does not matter and does not move */
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);

	assert_int_equal(ftruncate(fd, 1000), 0);
	c.path = "/some/initrd";
	assert_int_equal(plan_read(&c, 0, got, 4096, &e), -EIO);
	assert_non_null(strstr(e.msg, "/some/initrd became shorter"));
	close(fd);
	assert_int_equal(plan_read(&c, 0, got, 16, &e), -EIO);
	mk_file_cleanup();
}

static void clear_frees_owned(void **state)
{
	struct plan p = { 0 };
	struct plan_piece c = piece("dtb", BASE, 100, calloc(1, 100));

	c.owned = true;			/* the leak checker tells if it stays */
	assert_int_equal(plan_add(&p, &c, NULL), 0);
	c = piece("initrd", BASE + SZ_4K, 3, "abc");	/* a constant: must not be freed */
	assert_int_equal(plan_add(&p, &c, NULL), 0);
	plan_clear(&p);
	plan_clear(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(add_refuses),
		cmocka_unit_test(check_sorts),
		cmocka_unit_test(check_bounds),
		cmocka_unit_test(ram_ranges),
		cmocka_unit_test(read_all_kinds),
		cmocka_unit_test(clear_frees_owned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
