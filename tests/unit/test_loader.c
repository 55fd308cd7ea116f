// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/mkimage.h"
#include "vmm/board/memmap.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/loader.h"
#include "vmm/unzip.h"

#define BASE	MAP_RAM_BASE
#define MiB	SZ_1M

static struct loader_in in;
static struct loader_out out;
static struct err e;

static int setup(void **state)
{
	memset(&in, 0, sizeof(in));
	in.ram_base = BASE;
	in.ram_size = 512 * MiB;
	memset(&e, 0, sizeof(e));
	return 0;
}

static int teardown(void **state)
{
	loader_free(&out);
	loader_close(&in.files);
	mk_file_cleanup();
	return 0;
}

static int open_and_plan(void)
{
	int ret = loader_open(&in.files, &e);

	return ret ? ret : loader_plan(&in, &out, &e);
}

/* Loads a kernel made of @b and frees that. */
static int boot(struct blob b)
{
	in.files.kernel_path = mk_file(b);
	blob_free(&b);
	return open_and_plan();
}

static void assert_msg(const char *part)
{
	if (!strstr(e.msg, part)) {
		print_error("no \"%s\" in: %s\n", part, e.msg);
		fail();
	}
	if (strchr(e.msg, '\n'))
		fail();
}

static void assert_refused(int ret, int code, const char *part)
{
	assert_int_equal(ret, code);
	assert_msg(part);
	/* nothing half made is handed out */
	assert_int_equal(out.plan.nr, 0);
	assert_null(out.user_dtb);
	loader_close(&in.files);
}

static const struct plan_piece *find(const char *name)
{
	for (unsigned int i = 0; i < out.plan.nr; i++)
		if (!strcmp(out.plan.piece[i].name, name))
			return &out.plan.piece[i];
	return NULL;
}

static void assert_content(const struct plan_piece *c, struct blob want)
{
	uint8_t *got;

	assert_non_null(c);
	assert_int_equal(c->len, want.len);
	got = malloc(want.len);
	assert_int_equal(plan_read(c, 0, got, want.len, &e), 0);
	assert_memory_equal(got, want.p, want.len);
	free(got);
}

static const struct mkimage linux_like = {
	.len = 600000, .text_offset = 0, .image_size = 3 * SZ_1M, .flags = 0xa, .pe = true,
};

/* ---- kinds -----------------------------------------------------------------------------------*/

static void image(void **state)
{
	struct blob b = mk_image(&linux_like);
	const struct plan_piece *k;

	assert_int_equal(boot(mk_bytes(b.p, b.len)), 0);
	assert_string_equal(out.kind, "Image");
	k = find("kernel");
	assert_content(k, b);
	assert_null(k->buf);			/* no copy: read from the file */
	assert_true(k->measured);
	assert_int_equal(k->ipa, BASE);
	assert_int_equal(k->span, 3 * MiB);	/* with its BSS */
	assert_int_equal(out.plan.pc, BASE);
	assert_int_equal(out.plan.x[0], 0x8fe00000);
	for (int i = 1; i < 8; i++)
		assert_int_equal(out.plan.x[i], 0);
	assert_int_equal(out.dtb_ipa, 0x8fe00000);
	assert_int_equal(out.initrd_start | out.initrd_end, 0);
	blob_free(&b);
}

static void image_text_offset(void **state)
{
	struct mkimage m = linux_like;

	m.text_offset = 0x80000;
	assert_int_equal(boot(mk_image(&m)), 0);
	assert_int_equal(out.plan.pc, BASE + 0x80000);
}

static void image_old(void **state)
{
	struct mkimage m = { .len = 5000, .text_offset = 0x1234567 };	/* image_size 0 */

	assert_int_equal(boot(mk_image(&m)), 0);
	assert_int_equal(out.plan.pc, BASE + 0x80000);
	assert_int_equal(find("kernel")->span, 8192);
}

static void image_gz(void **state)
{
	struct blob b = mk_image(&linux_like), z = mk_gzip(b);

	if (!z.len) {			/* built without zlib */
		blob_free(&b);
		blob_free(&z);
		assert_refused(boot(mk_bytes("\x1f\x8b\x08\0", 4)), -ENOTSUP, "zlib");
		return;
	}
	assert_int_equal(boot(z), 0);
	assert_string_equal(out.kind, "Image.gz");
	assert_content(find("kernel"), b);
	assert_int_equal(find("kernel")->span, 3 * MiB);
	blob_free(&b);
}

static void zboot_kind(struct blob payload, const char *type, const char *kind)
{
	struct blob b = mk_image(&linux_like), c = mk_zboot(type, payload);

	if (!payload.len) {			/* built without the library */
		blob_free(&c);
		blob_free(&payload);
		assert_refused(boot(mk_zboot(type, b)), -ENOTSUP, "this build has no");
		blob_free(&b);
		return;
	}
	assert_int_equal(boot(c), 0);
	assert_string_equal(out.kind, kind);
	assert_content(find("kernel"), b);
	blob_free(&b);
	blob_free(&payload);
}

static void zboot_gzip(void **state)
{
	struct blob b = mk_image(&linux_like), z = mk_gzip(b);

	blob_free(&b);
	zboot_kind(z, "gzip", "zboot (gzip)");
}

static void zboot_zstd22(void **state)
{
	struct blob b = mk_image(&linux_like), z = mk_zstd(b);

	blob_free(&b);
	zboot_kind(z, "zstd22", "zboot (zstd)");
}

static void zboot_zstd(void **state)
{
	struct blob b = mk_image(&linux_like), z = mk_zstd(b);

	blob_free(&b);
	zboot_kind(z, "zstd", "zboot (zstd)");
}

static void flat(void **state)
{
	struct blob b = mk_flat(70001);

	assert_int_equal(boot(mk_bytes(b.p, b.len)), 0);
	assert_string_equal(out.kind, "flat");
	assert_int_equal(out.plan.pc, BASE + 0x80000);
	assert_content(find("kernel"), b);
	assert_int_equal(find("kernel")->span, 18 * SZ_4K);
	blob_free(&b);
	/* the smallest: one instruction */
	loader_free(&out);
	loader_close(&in.files);
	assert_int_equal(boot(mk_bytes("\x00\x00\x00\x14", 4)), 0);
}

/* ---- refusals --------------------------------------------------------------------------------*/

static void not_kernels(void **state)
{
	static const struct {
		size_t off;
		const char *bytes;
		size_t len;
		const char *msg;
	} row[] = {
		{ 0, "\x7f" "ELF\2\1\1", 7, "ELF" },
		{ 0x202, "HdrS", 4, "x86" },
		{ 0x24, "\x18\x28\x6f\x01", 4, "32-bit Arm" },
		{ 56, "RSC\5", 4, "RISC-V" },
		{ 0, "MZ", 2, "PE file" },
		{ 0, "#!/bin/sh\n", 10, "script" },
		{ 0, "070701", 6, "cpio" },
		{ 0, "\xc7\x71", 2, "cpio" },
		{ 0, "\x28\xb5\x2f\xfd", 4, "zstd" },
		{ 0, "\xfd" "7zXZ\0", 6, "xz" },
		{ 0, "BZh9", 4, "bzip2" },
		{ 0, "\x04\x22\x4d\x18", 4, "lz4" },
		{ 0, "\x02\x21\x4c\x18", 4, "lz4" },
		{ 0, "\x5d\0\0\0\4", 5, "lzma" },
		{ 0, "\xd0\x0d\xfe\xed", 4, "devicetree" },
		{ 0, "\x27\x05\x19\x56", 4, "U-Boot" },
		{ 0, "ANDROID!", 8, "Android" },
		{ 0, "PK\3\4", 4, "zip" },
		{ 0, "!<arch>\n", 8, "ar archive" },
		{ 257, "ustar", 5, "tar" },
		{ 0, "QFI\xfb", 4, "disk image" },
		{ 0, "hsqs", 4, "squashfs" },
		{ 512, "EFI PART", 8, "disk image" },
		{ 0x438, "\x53\xef\1\0", 4, "ext file system" },
		{ 0x8001, "CD001", 5, "CD image" },
		{ 0, "\0\0\0\0", 4, "not an instruction" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		struct blob b = mk_flat(0x9000);

		memcpy(b.p + row[i].off, row[i].bytes, row[i].len);
		assert_refused(boot(b), -ENOEXEC, row[i].msg);
		assert_msg("is not a kernel for arm64");
		mk_file_cleanup();
	}
	/* cut off in the middle of a magic: no read beyond the end (the sanitizer watches) */
	for (size_t len = 1; len < 0x440; len += 7) {
		struct blob b = mk_flat(len);

		if (len >= 0x43a)
			memcpy(b.p + 0x438, "\x53\xef", 2);
		boot(b);
		loader_free(&out);
		loader_close(&in.files);
		mk_file_cleanup();
	}
}

static void text_file(void **state)
{
	static const char text[] = "A kernel? No, h\xc3\xb6" "chstens a note about one.\r\n";

	assert_refused(boot(mk_bytes(text, sizeof(text) - 1)), -ENOEXEC, "text file");
}

static void bad_names(void **state)
{
	char dir[] = "/tmp/realmtool-unit.XXXXXX", name[64];

	in.files.kernel_path = "_NO_FILE_4Uhere_";
	assert_refused(open_and_plan(), -ENOENT,
		       "Unable to open kernel _NO_FILE_4Uhere_: No such file");
	assert_int_equal(strncmp(e.msg, "Unable to open kernel _NO_FILE_4Uhere_", 38), 0);

	assert_non_null(mkdtemp(dir));
	in.files.kernel_path = dir;
	assert_refused(open_and_plan(), -EISDIR, "directory");
	snprintf(name, sizeof(name), "%s/x\ny", dir);	/* the error stays one line */
	in.files.kernel_path = name;
	assert_refused(open_and_plan(), -ENOENT, "Unable to open kernel");
	rmdir(dir);

	in.files.kernel_path = "/dev/null";
	assert_refused(open_and_plan(), -EINVAL, "device");
	in.files.kernel_path = mk_file((struct blob){ NULL, 0 });
	assert_refused(open_and_plan(), -EINVAL, "empty");
	in.files.kernel_path = NULL;
	assert_refused(open_and_plan(), -EINVAL, "--kernel");

	struct blob b = mk_flat(100);

	in.files.kernel_path = mk_file(b);
	in.files.initrd_path = "/nonexistent/initrd";
	assert_refused(open_and_plan(), -ENOENT, "Unable to open initrd /nonexistent/initrd");
	assert_int_equal(in.files.kernel, -1);		/* and nothing stays open */
	in.files.firmware_path = in.files.kernel_path;
	in.files.initrd_path = NULL;
	assert_refused(open_and_plan(), -EINVAL, "only one");
	blob_free(&b);
}

static void image_truncated(void **state)
{
	struct blob b = mk_image(&linux_like);
	size_t cut[] = { 60, 63, 64, 70, 88, 200, b.len / 2, b.len - 1 };

	for (size_t i = 0; i < ARRAY_SIZE(cut); i++) {
		assert_refused(boot(mk_bytes(b.p, cut[i])), -EINVAL, "cut short");
		mk_file_cleanup();
	}
	blob_free(&b);
	/* a trailer (signature) does no harm */
	struct mkimage m = linux_like;
	b = mk_image(&m);
	b.p = realloc(b.p, b.len + 1000);
	memset(b.p + b.len, 1, 1000);
	b.len += 1000;
	assert_int_equal(boot(b), 0);
}

static void image_bad_header(void **state)
{
	struct mkimage m = linux_like;

	m.flags |= 1;
	assert_refused(boot(mk_image(&m)), -ENOTSUP, "big-endian");
	m = linux_like;
	m.text_offset = 0x80001;
	assert_refused(boot(mk_image(&m)), -EINVAL, "text_offset");
	m.text_offset = UINT64_MAX & ~0xfffULL;
	assert_refused(boot(mk_image(&m)), -ENOSPC, "-m");
	m.text_offset = 512 * MiB;
	assert_refused(boot(mk_image(&m)), -ENOSPC, "does not fit");
	m = linux_like;
	m.image_size = UINT64_MAX;
	assert_refused(boot(mk_image(&m)), -EINVAL, "image_size");
	m.image_size = INT64_MAX;
	assert_refused(boot(mk_image(&m)), -ENOSPC, "-m");
	m.image_size = 512 * MiB + 1;
	assert_refused(boot(mk_image(&m)), -ENOSPC, "-m");
}

static void gz_refused(void **state)
{
	struct blob b = mk_image(&linux_like), z = mk_gzip(b), f;

	if (!z.len) {
		blob_free(&b);
		blob_free(&z);
		return;				/* image_gz() has checked the refusal */
	}
	for (size_t cut = 2; cut < z.len; cut += z.len / 50 + 1) {
		assert_refused(boot(mk_bytes(z.p, cut)), -EINVAL, "cut short");
		mk_file_cleanup();
	}
	assert_refused(boot(mk_bytes(z.p, z.len - 1)), -EINVAL, "cut short");
	z.p[z.len - 6] ^= 1;			/* CRC */
	assert_refused(boot(mk_bytes(z.p, z.len)), -EINVAL, "damaged");
	blob_free(&z);

	f = mk_flat(5000);			/* code, but not an Image */
	assert_refused(boot(mk_gzip(f)), -ENOEXEC, "not an Image");
	blob_free(&f);
	f = mk_flat(0);
	assert_refused(boot(mk_gzip(f)), -ENOEXEC, "not an Image");
	blob_free(&f);
	b.len -= 512;				/* an Image that was cut before it was compressed */
	assert_refused(boot(mk_gzip(b)), -EINVAL, "cut short");
	blob_free(&b);
}

/* A small file that swells: stopped at the size of RAM. */
static void bombs(void **state)
{
	const size_t n = 64 * MiB;
	struct blob b = { calloc(1, n), n }, z = mk_gzip(b), s = mk_zstd(b);
	size_t size;
	void *buf;
	int fd;

	assert_non_null(b.p);
	in.ram_size = 16 * MiB;
	if (z.len) {
		assert_true(z.len < MiB);
		assert_refused(boot(mk_bytes(z.p, z.len)), -EFBIG, "-m");
		/* exactly the limit is all right, one byte more is not */
		fd = open(mk_file(z), O_RDONLY);
		assert_int_equal(unzip_gzip(fd, 0, z.len, n - 1, &buf, &size, &e), -EFBIG);
		assert_null(buf);
		assert_int_equal(unzip_gzip(fd, 0, z.len, n, &buf, &size, &e), 0);
		assert_int_equal(size, n);
		free(buf);
		close(fd);
	}
	if (s.len) {
		assert_refused(boot(mk_zboot("zstd", s)), -EFBIG, "-m");
		fd = open(mk_file(s), O_RDONLY);
		assert_int_equal(unzip_zstd(fd, 0, s.len, n - 1, &buf, &size, &e), -EFBIG);
		assert_null(buf);
		assert_int_equal(unzip_zstd(fd, 0, s.len, n, &buf, &size, &e), 0);
		assert_int_equal(size, n);
		free(buf);
		close(fd);
	}
	blob_free(&b);
	blob_free(&z);
	blob_free(&s);
}

static void zboot_refused(void **state)
{
	static const char *const other[] = { "lzma", "lz4", "xzkern", "lzo", "", "gzipp",
					     "\x1b[31m0123456789012345678901234567" };
	struct blob b = mk_image(&linux_like), g = mk_gzip(b), s = mk_zstd(b), c;

	for (size_t i = 0; i < ARRAY_SIZE(other); i++) {
		assert_refused(boot(mk_zboot(other[i], b)), -ENOTSUP, "CONFIG_KERNEL_ZSTD");
		if (i < 5)
			assert_msg(other[i]);
		assert_null(strchr(e.msg, 0x1b));
		mk_file_cleanup();
	}
	c = mk_zboot("gzip", g.len ? g : b);
	assert_refused(boot(mk_bytes(c.p, 63)), -EINVAL, "cut short");
	assert_refused(boot(mk_bytes(c.p, c.len - 5)), -EINVAL, "cut short");
	put32(c.p + 12, UINT32_MAX);
	assert_refused(boot(mk_bytes(c.p, c.len)), -EINVAL, "payload ends at");
	put32(c.p + 12, 0);
	assert_refused(boot(mk_bytes(c.p, c.len)), -EINVAL, "no payload");
	put32(c.p + 8, UINT32_MAX);
	put32(c.p + 12, UINT32_MAX);
	assert_refused(boot(mk_bytes(c.p, c.len)), -EINVAL, "payload ends at");
	put32(c.p + 8, 16);
	assert_refused(boot(c), -EINVAL, "no payload");
	mk_file_cleanup();

	if (g.len) {		/* a broken payload in a whole container */
		for (size_t at = 0; at < g.len; at += g.len / 20 + 1) {
			c = mk_zboot("gzip", g);
			memset(c.p + 4096 + at, 0xa5, MIN(64, g.len - at));
			assert_int_not_equal(boot(c), 0);
			assert_msg("zboot kernel");
			loader_close(&in.files);
			mk_file_cleanup();
		}
		g.len /= 2;
		assert_refused(boot(mk_zboot("gzip", g)), -EINVAL, "cut short");
	}
	if (s.len) {
		c = mk_zboot("zstd", s);
		memset(c.p + 4096, 0xa5, 64);
		assert_refused(boot(c), -EINVAL, "damaged");
		mk_file_cleanup();
		s.len /= 2;
		assert_refused(boot(mk_zboot("zstd", s)), -EINVAL, "cut short");
		assert_refused(boot(mk_zboot("gzip", s)), g.len ? -EINVAL : -ENOTSUP, "gzip");
	}
	blob_free(&b);
	blob_free(&g);
	blob_free(&s);
}

/* Flip bytes of all headers: no crash, an error or a plan within RAM. */
static void fuzz_headers(void **state)
{
	struct mkimage m = { .len = 4096, .image_size = 8192, .flags = 0xa, .pe = true };
	struct blob b = mk_image(&m), g = mk_gzip(b), s = mk_zstd(b);
	struct blob src[] = { b, g.len ? mk_bytes(g.p, g.len) : mk_flat(64), mk_zboot("gzip", g),
			      mk_zboot("zstd", s) };
	static const size_t span[] = { 256, 64, 64, 64 };
	uint32_t x = 1;
	int good = 0, bad = 0;

	in.ram_size = 4 * MiB;
	for (int i = 0; i < 4000; i++) {
		struct blob c = mk_bytes(src[i % 4].p, src[i % 4].len);
		/* zboot: half of the damage goes to the payload */
		size_t base = i % 4 >= 2 && i & 4 ? 4096 : 0;

		for (int k = 0; k <= i % 3; k++) {
			x = x * 1664525 + 1013904223;
			c.p[base + (x >> 8) % MIN(span[i % 4], c.len - base)] =
				x & 1 ? 0xff : x >> 24;
		}
		if (boot(c)) {
			bad++;
			assert_true(e.msg[0]);
		} else {
			good++;
			for (unsigned int k = 0; k < out.plan.nr; k++) {
				const struct plan_piece *p = &out.plan.piece[k];

				assert_true(p->ipa >= BASE);
				assert_true(p->ipa + p->span <= BASE + in.ram_size);
			}
		}
		loader_free(&out);
		loader_close(&in.files);
		mk_file_cleanup();
	}
	assert_true(good > 100 && bad > 100);
	for (size_t i = 0; i < ARRAY_SIZE(src); i++)
		blob_free(&src[i]);
	blob_free(&g);
	blob_free(&s);
}

/* ---- layout ----------------------------------------------------------------------------------*/

static struct blob cpio(size_t len)
{
	struct blob b = mk_flat(len);

	memcpy(b.p, "070701", MIN(len, 6));
	return b;
}

static void initrd_place(void **state)
{
	struct blob r = cpio(12345);

	in.files.initrd_path = mk_file(r);
	assert_int_equal(boot(mk_image(&linux_like)), 0);
	/* just below the devicetree, its start on a page, the end exclusive */
	assert_int_equal(out.initrd_start, 0x8fe00000 - 4 * SZ_4K);
	assert_int_equal(out.initrd_end, out.initrd_start + 12345);
	assert_int_equal(find("initrd")->ipa, out.initrd_start);
	assert_content(find("initrd"), r);
	assert_true(find("initrd")->measured);
	blob_free(&r);
}

static void dtb_place(void **state)
{
	/* RAM in MiB, DTB in MiB above the base; as measured with lkvm */
	static const int row[][2] = { { 6, 4 }, { 8, 6 }, { 16, 14 }, { 64, 62 }, { 128, 126 },
				      { 254, 252 }, { 256, 254 }, { 258, 254 }, { 512, 254 },
				      { 4096, 254 }, { 65536, 254 },
				      { 7, 6 }, { 17, 16 } };	/* not whole 2 MiB */

	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		in.ram_size = row[i][0] * MiB;
		assert_int_equal(boot(mk_flat(100000)), 0);
		assert_int_equal(out.dtb_ipa, BASE + row[i][1] * MiB);
		loader_free(&out);
		loader_close(&in.files);
		mk_file_cleanup();
	}
	/* RAM elsewhere */
	in.ram_base = 0x100000000;
	in.ram_size = 64 * MiB;
	assert_int_equal(boot(mk_flat(100000)), 0);
	assert_int_equal(out.dtb_ipa, 0x100000000 + 62 * MiB);
	assert_int_equal(out.plan.pc, 0x100080000);
}

static void tiny_ram(void **state)
{
	/* the usual place does not exist, or the kernel is there: the last 64 KiB */
	static const struct {
		uint64_t ram;
		size_t kernel;
		uint64_t dtb;
	} row[] = {
		{ 2 * SZ_1M, 100000, 2 * SZ_1M - SZ_64K },
		{ SZ_1M, 100000, SZ_1M - SZ_64K },
		{ 4 * SZ_1M, 2 * SZ_1M - 0x80000, 2 * SZ_1M },	/* just fits the usual way */
		{ 4 * SZ_1M, 2 * SZ_1M - 0x80000 + 1, 4 * SZ_1M - SZ_64K },
		{ SZ_1M, SZ_1M - SZ_64K - 0x80000, SZ_1M - SZ_64K },	/* not one byte is left */
	};

	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		in.ram_size = row[i].ram;
		assert_int_equal(boot(mk_flat(row[i].kernel)), 0);
		assert_int_equal(out.dtb_ipa, BASE + row[i].dtb);
		loader_free(&out);
		loader_close(&in.files);
		mk_file_cleanup();
	}
	in.ram_size = SZ_1M;
	assert_refused(boot(mk_flat(SZ_1M - SZ_64K - 0x80000 + 1)), -ENOSPC, "-m 2");
	in.ram_size = SZ_64K;
	assert_refused(boot(mk_flat(100)), -ENOSPC, "-m");
	in.ram_size = SZ_4K;
	assert_refused(boot(mk_flat(100)), -ENOSPC, "-m");
	in.ram_size = 0;
	assert_refused(boot(mk_flat(100)), -EINVAL, "RAM");
	in.ram_size = UINT64_MAX;
	assert_refused(boot(mk_flat(100)), -EINVAL, "RAM");
}

static void initrd_fits(void **state)
{
	const uint64_t kernel_end = 0x80000 + 2 * SZ_4K;
	const uint64_t usual = 14 * MiB - kernel_end, last = 16 * MiB - SZ_64K - kernel_end;
	const struct {
		uint64_t size;
		uint64_t dtb;		/* 0: refused */
	} row[] = {
		{ usual, 14 * MiB },				/* exactly */
		{ usual + 1, 16 * MiB - SZ_64K },		/* a byte too much: elsewhere */
		{ last, 16 * MiB - SZ_64K },			/* exactly */
		{ last + 1, 0 },
		{ last + SZ_4K, 0 },
		{ 1, 14 * MiB },
	};

	in.ram_size = 16 * MiB;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		struct blob r = cpio(row[i].size);
		int ret;

		in.files.initrd_path = mk_file(r);
		blob_free(&r);
		ret = boot(mk_flat(2 * SZ_4K));
		if (!row[i].dtb) {
			assert_refused(ret, -ENOSPC, "initrd");
			assert_msg("does not fit");
			assert_msg("-m 18");
			/* and the advice is right */
			in.ram_size = 18 * MiB;
			assert_int_equal(open_and_plan(), 0);
			in.ram_size = 16 * MiB;
		} else {
			assert_int_equal(ret, 0);
			assert_int_equal(out.dtb_ipa, BASE + row[i].dtb);
			assert_true(out.initrd_start >= BASE + kernel_end);
			assert_true(out.initrd_end <= out.dtb_ipa);
			assert_int_equal(out.initrd_end - out.initrd_start, row[i].size);
			assert_int_equal(out.initrd_start % SZ_4K, 0);
		}
		loader_free(&out);
		loader_close(&in.files);
		mk_file_cleanup();
	}
	/* a hole of a terabyte */
	in.files.initrd_path = mk_file((struct blob){ NULL, 0 });
	assert_int_equal(truncate(in.files.initrd_path, 1LL << 40), 0);
	assert_refused(boot(mk_flat(100)), -ENOSPC, "does not fit");
}

/* More initrd than the first 256 MiB hold: possible, if there is RAM. */
static void initrd_huge(void **state)
{
	in.files.initrd_path = mk_file((struct blob){ NULL, 0 });
	assert_int_equal(truncate(in.files.initrd_path, 300 * MiB), 0);
	assert_int_equal(boot(mk_image(&linux_like)), 0);
	assert_int_equal(out.dtb_ipa, BASE + 512 * MiB - SZ_64K);
	assert_int_equal(out.initrd_start, out.dtb_ipa - 300 * MiB);
	assert_int_equal(out.plan.x[0], out.dtb_ipa);
}

static void firmware(void **state)
{
	struct blob b = mk_bytes("#!/not/checked", 14);

	in.files.firmware_path = mk_file(b);
	assert_int_equal(open_and_plan(), 0);
	assert_string_equal(out.kind, "firmware");
	assert_int_equal(out.plan.pc, BASE);
	assert_content(find("firmware"), b);
	assert_int_equal(out.dtb_ipa, BASE + 2 * MiB);
	assert_int_equal(out.plan.x[0], BASE + 2 * MiB);
	blob_free(&b);

	loader_free(&out);
	in.firmware_addr = BASE + 16 * MiB;
	assert_int_equal(loader_plan(&in, &out, &e), 0);
	assert_int_equal(out.plan.pc, BASE + 16 * MiB);
	assert_int_equal(out.dtb_ipa, BASE + 18 * MiB);

	loader_free(&out);
	in.firmware_addr = BASE + 512 * MiB - SZ_4K - SZ_64K;	/* exactly room for the DTB */
	assert_int_equal(loader_plan(&in, &out, &e), 0);
	assert_int_equal(out.dtb_ipa, BASE + 512 * MiB - SZ_64K);
	loader_free(&out);
	in.firmware_addr = BASE + 512 * MiB - SZ_4K;
	assert_int_equal(loader_plan(&in, &out, &e), -ENOSPC);
	assert_msg("-m");
	in.firmware_addr = BASE + 512 * MiB;
	assert_int_equal(loader_plan(&in, &out, &e), -EINVAL);
	assert_msg("not in RAM");
	in.firmware_addr = BASE - SZ_4K;
	assert_int_equal(loader_plan(&in, &out, &e), -EINVAL);
	in.firmware_addr = BASE + 1;
	assert_int_equal(loader_plan(&in, &out, &e), -EINVAL);
	assert_msg("multiple");
	in.firmware_addr = 0;
	assert_int_equal(truncate(in.files.firmware_path, 513 * MiB), 0);
	assert_int_equal(loader_plan(&in, &out, &e), -ENOSPC);
	assert_int_equal(out.plan.nr, 0);
}

/* ---- devicetree ------------------------------------------------------------------------------*/

static struct blob mk_dtb(uint64_t start, uint64_t end)
{
	struct blob b = { calloc(1, 4096), 4096 };
	uint8_t *p = b.p;

	assert_int_equal(fdt_create(p, 4096), 0);
	assert_int_equal(fdt_finish_reservemap(p), 0);
	assert_int_equal(fdt_begin_node(p, ""), 0);
	fdt_property_u32(p, "#address-cells", 2);
	fdt_property_u32(p, "#size-cells", 2);
	fdt_begin_node(p, "memory@80000000");
	fdt_property_string(p, "device_type", "memory");
	uint64_t reg[] = { cpu_to_fdt64(BASE), cpu_to_fdt64(512 * MiB) };
	fdt_property(p, "reg", reg, sizeof(reg));
	fdt_end_node(p);
	fdt_begin_node(p, "cpus");
	fdt_property_u32(p, "#address-cells", 1);
	fdt_property_u32(p, "#size-cells", 0);
	fdt_begin_node(p, "cpu@0");
	fdt_property_string(p, "device_type", "cpu");
	fdt_property_u32(p, "reg", 0);
	fdt_end_node(p);
	fdt_end_node(p);
	fdt_begin_node(p, "psci");
	fdt_property_string(p, "compatible", "arm,psci-1.0");
	fdt_property_string(p, "method", "smc");
	fdt_end_node(p);
	fdt_begin_node(p, "chosen");
	if (end) {
		fdt_property_u64(p, "linux,initrd-start", start);
		fdt_property_u64(p, "linux,initrd-end", end);
	}
	fdt_end_node(p);
	fdt_end_node(p);
	assert_int_equal(fdt_finish(p), 0);
	b.len = fdt_totalsize(p);
	return b;
}

static int boot_with_dtb(struct blob dtb, size_t initrd)
{
	struct blob r = cpio(initrd);

	loader_free(&out);
	loader_close(&in.files);
	mk_file_cleanup();
	in.files.dtb_path = mk_file(dtb);
	in.files.initrd_path = initrd ? mk_file(r) : NULL;
	blob_free(&r);
	blob_free(&dtb);
	return boot(mk_image(&linux_like));
}

static void user_dtb(void **state)
{
	struct blob d = mk_dtb(0x88000000, 0x88002000), r = cpio(5000);
	uint8_t page[SZ_4K];

	assert_int_equal(boot_with_dtb(mk_bytes(d.p, d.len), 5000), 0);
	assert_int_equal(out.user_dtb_size, d.len);
	assert_memory_equal(out.user_dtb, d.p, d.len);
	assert_int_equal(out.initrd_start, 0x88000000);
	assert_int_equal(out.initrd_end, 0x88002000);
	assert_int_equal(find("initrd")->ipa, 0x88000000);
	assert_content(find("initrd"), r);
	assert_int_equal(out.dtb_ipa, 0x8fe00000);
	blob_free(&d);

	/* not on a page, as lkvm does it: zeros in front */
	assert_int_equal(boot_with_dtb(mk_dtb(0x88000a04, 0x88000a04 + 5000), 5000), 0);
	assert_int_equal(find("initrd")->ipa, 0x88000000);
	assert_int_equal(out.initrd_start, 0x88000a04);
	assert_int_equal(find("initrd")->span, 2 * SZ_4K);
	assert_int_equal(plan_read(find("initrd"), 0, page, sizeof(page), &e), 0);
	assert_int_equal(page[0xa03], 0);
	assert_memory_equal(page + 0xa04, r.p, SZ_4K - 0xa04);
	blob_free(&r);

	/* no initrd: its range does not matter */
	assert_int_equal(boot_with_dtb(mk_dtb(0x88000000, 0x88001000), 0), 0);
	assert_int_equal(out.initrd_end, 0);
}

static void user_dtb_refused(void **state)
{
	assert_refused(boot_with_dtb(mk_dtb(0, 0), 5000), -EINVAL, "linux,initrd-start");
	assert_refused(boot_with_dtb(mk_dtb(0x88000000, 0x88001000), 5000), -ENOSPC,
		       "does not fit");
	assert_int_not_equal(boot_with_dtb(mk_dtb(0x88001000, 0x88000000), 5000), 0);
	assert_msg("initrd");
	assert_refused(boot_with_dtb(mk_dtb(BASE, BASE + MiB), 5000), -EINVAL, "overlaps");
	assert_refused(boot_with_dtb(mk_dtb(0x1000, MiB), 5000), -EINVAL, "RAM");
	assert_refused(boot_with_dtb(mk_dtb(0x88000000, UINT64_MAX), 5000), -EINVAL, "RAM");
	assert_refused(boot_with_dtb(mk_dtb(1, UINT64_MAX), 5000), -EINVAL, "RAM");
	assert_refused(boot_with_dtb(mk_dtb(0, UINT64_MAX), 5000), -EINVAL, "RAM");
	/* it occupies the usual place of the devicetree: that moves; both places: refused */
	assert_int_equal(boot_with_dtb(mk_dtb(0x8fe00000, 0x8fe02000), 5000), 0);
	assert_int_equal(out.dtb_ipa, BASE + 512 * MiB - SZ_64K);
	assert_refused(boot_with_dtb(mk_dtb(0x8fe00000, BASE + 512 * MiB), 5000), -ENOSPC,
		       "own place");
	/* not a devicetree, or too large */
	assert_int_not_equal(boot_with_dtb(mk_flat(5000), 0), 0);
	assert_msg(in.files.dtb_path);
	assert_int_equal(out.plan.nr, 0);
	assert_refused(boot_with_dtb(mk_flat(MAP_DTB_SIZE + 1), 0), -EFBIG, "does not fit");
	assert_int_not_equal(boot_with_dtb(mk_flat(0), 0), 0);
	assert_msg("empty");
}

static void add_dtb(void **state)
{
	struct blob d = mk_dtb(0, 0), r = cpio(5000);
	uint8_t *page = calloc(1, MAP_DTB_SIZE);

	in.files.initrd_path = mk_file(r);
	assert_int_equal(boot(mk_image(&linux_like)), 0);
	assert_int_equal(loader_add_dtb(&out, d.p, d.len, &e), 0);
	assert_int_equal(out.plan.nr, 3);
	assert_string_equal(out.plan.piece[0].name, "kernel");
	assert_string_equal(out.plan.piece[1].name, "initrd");
	assert_string_equal(out.plan.piece[2].name, "dtb");
	assert_int_equal(out.plan.piece[2].ipa, out.dtb_ipa);
	assert_int_equal(out.plan.piece[2].len, MAP_DTB_SIZE);
	assert_true(out.plan.piece[2].measured);
	memset(page, 0xff, MAP_DTB_SIZE);
	assert_int_equal(plan_read(&out.plan.piece[2], 0, page, MAP_DTB_SIZE, &e), 0);
	assert_memory_equal(page, d.p, d.len);
	for (size_t i = d.len; i < MAP_DTB_SIZE; i++)
		assert_int_equal(page[i], 0);
	assert_int_equal(loader_add_dtb(&out, page, MAP_DTB_SIZE + 1, &e), -EINVAL);
	assert_int_equal(loader_add_dtb(&out, page, 0, &e), -EINVAL);
	free(page);
	blob_free(&d);
	blob_free(&r);
}

/* ---- other inputs ----------------------------------------------------------------------------*/

static void run_again(void **state)
{
	struct blob b = mk_image(&linux_like), z = mk_gzip(b), r = cpio(5000);
	uint64_t start;

	in.files.initrd_path = mk_file(r);
	assert_int_equal(boot(mk_bytes(z.len ? z.p : b.p, z.len ? z.len : b.len)), 0);
	blob_free(&z);
	start = out.initrd_start;
	mk_file_cleanup();			/* the names are gone, the descriptors are not */
	for (int i = 0; i < 3; i++) {
		loader_free(&out);
		assert_int_equal(loader_plan(&in, &out, &e), 0);
		assert_content(find("kernel"), b);
		assert_content(find("initrd"), r);
		assert_int_equal(out.initrd_start, start);
	}
	blob_free(&b);
	blob_free(&r);
}

static void from_pipe(void **state)
{
	struct blob b = mk_image(&linux_like);
	char path[32];
	int fd[2];
	pid_t pid;

	assert_int_equal(pipe(fd), 0);
	snprintf(path, sizeof(path), "/dev/fd/%d", fd[0]);
	pid = fork();
	if (!pid) {
		for (size_t done = 0; done < b.len;)
			done += write(fd[1], b.p + done, MIN(b.len - done, 10000));
		_exit(0);
	}
	close(fd[1]);
	in.files.kernel_path = path;
	assert_int_equal(open_and_plan(), 0);
	close(fd[0]);
	for (int i = 0; i < 2; i++) {		/* twice: the bytes were kept */
		assert_content(find("kernel"), b);
		loader_free(&out);
		assert_int_equal(loader_plan(&in, &out, &e), 0);
	}
	loader_free(&out);
	loader_close(&in.files);
	blob_free(&b);

	assert_int_equal(pipe(fd), 0);
	close(fd[1]);
	snprintf(path, sizeof(path), "/dev/fd/%d", fd[0]);
	assert_refused(open_and_plan(), -EINVAL, "empty");
	close(fd[0]);
}

int main(void)
{
	log_set_level(LOG_ERROR);
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(image), T(image_text_offset), T(image_old), T(image_gz), T(zboot_gzip),
		T(zboot_zstd22), T(zboot_zstd), T(flat), T(not_kernels), T(text_file), T(bad_names),
		T(image_truncated), T(image_bad_header), T(gz_refused), T(bombs), T(zboot_refused),
		T(fuzz_headers), T(initrd_place), T(dtb_place), T(tiny_ram), T(initrd_fits),
		T(initrd_huge), T(firmware), T(user_dtb), T(user_dtb_refused), T(add_dtb),
		T(run_again), T(from_pipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
