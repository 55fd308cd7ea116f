// SPDX-License-Identifier: BSD-3-Clause
/*
 * What a user may give as a kernel: files of the input's bytes, or containers (Image, gzip, zstd,
 * zboot) around them whose headers are the input's. What is accepted lies in RAM, piece beside
 * piece, can be read to its end, and is laid out the same a second time.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/unit/mkimage.h"
#include "vmm/board/memmap.h"
#include "vmm/core/err.h"
#include "vmm/loader.h"

enum { KERNEL, INITRD, DTB, FIRMWARE, NR_FILES };

static int file[NR_FILES];
static char path[NR_FILES][32];

/* Sizes that are near to something, or whatever the input says. */
static uint64_t number(struct input *in)
{
	static const uint64_t near[] = {
		0, 0x1000, 0x10000, 0x80000, SZ_2M, 4 * SZ_1M, 64 * SZ_1M, SZ_1G, UINT32_MAX,
		INT64_MAX, UINT64_MAX, 0x80000000,
	};
	uint8_t how = in_u8(in);

	if (how & 0x80)
		return in_u64(in);
	if (how & 0x40)
		return near[how % ARRAY_SIZE(near)] + in_u16(in);
	return near[how % ARRAY_SIZE(near)];
}

static struct blob image(struct input *in)
{
	uint8_t how = in_u8(in);
	struct mkimage m = { .flags = how & 2, .pe = how & 1 };
	struct blob b;

	m.len = 1024 + in_u16(in);
	m.text_offset = number(in);
	m.image_size = number(in);
	/* lengths and offsets of sections */
	if (how & 4)
		m.image_size = m.len + SZ_4K;
	if (how & 8)
		m.text_offset = 0;
	b = mk_image(&m);
	for (unsigned int i = 0; i < (how >> 4 & 3); i++)
		put32(b.p + 64 + (in_u8(in) & 0xfc), in_u32(in));
	if (how & 0x40)
		b.len = MIN(b.len, (size_t)in_u8(in));
	return b;
}

static struct blob raw(struct input *in)
{
	const uint8_t *p;
	size_t n = in_take(in, in_u16(in), &p);

	return mk_bytes(n ? (const void *)p : "", n);
}

/* A magic of some other kind of file at its place. */
static struct blob other(struct input *in)
{
	static const struct {
		uint16_t at;
		const char text[9];
	} magic[] = {
		{ 0, "\x7f" "ELF" }, { 0x202, "HdrS" }, { 0, "MZ" }, { 0, "#!" }, { 0, "07070" },
		{ 257, "ustar" }, { 0x438, "\x53\xef" }, { 0x8001, "CD001" }, { 0, "text" },
		{ 512, "EFI PART" }, { 0, "QFI\xfb" }, { 56, "ARM\x64" }, { 56, "RSC\x05" },
	};
	uint8_t what = in_u8(in) % ARRAY_SIZE(magic);
	struct blob b = mk_flat(MAX(in_u16(in), 16));
	size_t len = strlen(magic[what].text);

	if (b.len >= magic[what].at + len)
		memcpy(b.p + magic[what].at, magic[what].text, len);
	return b;
}

static struct blob damaged(struct input *in, struct blob b)
{
	uint8_t how = in_u8(in);

	if (how & 1 && b.len)
		b.p[in_u16(in) % b.len] ^= 1 + in_u8(in) % 255;
	if (how & 2)
		b.len -= MIN(b.len, in_u16(in));
	return b;
}

static struct blob kernel(struct input *in)
{
	static const char *const type[] = { "gzip", "zstd", "zstd22", "lzma", "" };
	uint8_t how = in_u8(in), t;
	struct blob b, z;

	switch (how % 8) {
	case 0:
		return raw(in);
	case 1:
		return other(in);
	case 2 ... 3:
		return image(in);
	default:
		break;
	}
	b = how & 8 ? raw(in) : image(in);
	t = in_u8(in) % ARRAY_SIZE(type);
	z = how & 0x10 ? mk_bytes(b.p, b.len) : t == 0 || how % 8 == 4 ? mk_gzip(b) : mk_zstd(b);
	blob_free(&b);
	z = damaged(in, z);
	if (how % 8 == 4)
		return z;
	b = mk_zboot(type[t], z);
	blob_free(&z);
	if (how & 0x20)
		put32(b.p + 8 + (in_u8(in) & 12), number(in));
	return damaged(in, b);
}

static void store(unsigned int n, const void *p, size_t len)
{
	PROPERTY(!ftruncate(file[n], 0) && pwrite(file[n], p, len, 0) == (ssize_t)len);
}

/* The same content from a pipe. */
static void as_pipe(const struct blob *b, int *end)
{
	int fd[2];

	PROPERTY(!pipe(fd));
	PROPERTY(write(fd[1], b->p, b->len) == (ssize_t)b->len);
	close(fd[1]);
	*end = fd[0];
	snprintf(path[KERNEL], sizeof(path[KERNEL]), "/proc/self/fd/%d", fd[0]);
}

static void check_plan(const struct loader_in *in, const struct loader_out *out)
{
	static uint8_t page[GRANULE_SIZE];
	ipa_t end = in->ram_base + in->ram_size;
	bool entry = false;
	struct err e;

	PROPERTY(out->kind && out->plan.nr >= 1 && out->plan.nr <= 2);
	PROPERTY(out->dtb_ipa >= in->ram_base && end - out->dtb_ipa >= MAP_DTB_SIZE &&
		 out->dtb_ipa <= end && out->dtb_ipa % 8 == 0 && out->plan.x[0] == out->dtb_ipa);
	for (unsigned int i = 0; i < out->plan.nr; i++) {
		const struct plan_piece *p = &out->plan.piece[i];

		PROPERTY(p->span >= p->len && p->len && p->ipa >= in->ram_base && p->ipa < end &&
			 p->span <= end - p->ipa && IS_ALIGNED(p->ipa | p->span, GRANULE_SIZE));
		PROPERTY(!i || p[-1].ipa + p[-1].span <= p->ipa);
		PROPERTY(p->ipa + p->span <= out->dtb_ipa || p->ipa >= out->dtb_ipa + MAP_DTB_SIZE);
		for (uint64_t at = 0; at < p->len; at += sizeof(page))
			PROPERTY(!plan_read(p, at, page, MIN(sizeof(page), p->len - at), &e));
		entry |= out->plan.pc >= p->ipa && out->plan.pc < p->ipa + p->len;
		if (!strcmp(p->name, "initrd"))
			PROPERTY(out->initrd_start >= p->ipa &&
				 out->initrd_end > out->initrd_start &&
				 out->initrd_end <= p->ipa + p->span);
	}
	PROPERTY(entry);
}

static void same(const struct loader_out *a, const struct loader_out *b)
{
	PROPERTY(a->plan.nr == b->plan.nr && a->dtb_ipa == b->dtb_ipa && a->kind == b->kind &&
		 a->initrd_start == b->initrd_start && a->initrd_end == b->initrd_end);
	for (unsigned int i = 0; i < a->plan.nr; i++)
		PROPERTY(a->plan.piece[i].ipa == b->plan.piece[i].ipa &&
			 a->plan.piece[i].len == b->plan.piece[i].len &&
			 a->plan.piece[i].span == b->plan.piece[i].span);
}

static void plan(const struct loader_in *in)
{
	struct loader_out out, again;
	struct err e = { 0 };

	if (loader_plan(in, &out, &e) < 0) {
		ERROR_IS_A_LINE(e);
		PROPERTY(loader_plan(in, &again, &e) < 0);
		return;
	}
	check_plan(in, &out);
	PROPERTY(!loader_plan(in, &again, &e));
	same(&out, &again);
	loader_free(&again);
	PROPERTY(!loader_add_dtb(&out, "dtb", 4, &e));
	loader_free(&out);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	for (unsigned int i = 0; i < NR_FILES; i++) {
		file[i] = memfd_create("fuzz", 0);
		PROPERTY(file[i] >= 0);
		snprintf(path[i], sizeof(path[i]), "/proc/self/fd/%d", file[i]);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint8_t given = in_u8(&in), small = in_u8(&in);
	struct loader_in want = { .ram_base = MAP_RAM_BASE };
	struct loader_files *f = &want.files;
	const uint8_t *dtb;
	struct err e = { 0 };
	struct blob b;
	int end = -1;
	size_t n;

	/* decompressing stops at the size of RAM: keep that small */
	want.ram_size = small & 1 ? (small >> 1) * UINT64_C(0x11000) : number(&in) % (128 * SZ_1M);
	if (small & 2)
		want.ram_size = ALIGN_UP(want.ram_size, SZ_2M);
	if (given & 1)
		want.firmware_addr = number(&in);
	n = given & 2 ? in_u16(&in) : 0;
	if (n)
		PROPERTY(!ftruncate(file[INITRD], n * (small & 4 ? 1 : SZ_4K)));
	f->initrd_path = n ? path[INITRD] : NULL;
	n = in_take(&in, given & 4 ? in_u16(&in) : 0, &dtb);
	store(DTB, dtb, n);
	f->dtb_path = given & 4 ? path[DTB] : NULL;

	b = kernel(&in);
	n = given & 8 ? FIRMWARE : KERNEL;
	snprintf(path[KERNEL], sizeof(path[KERNEL]), "/proc/self/fd/%d", file[KERNEL]);
	if (given & 0x10 && n == KERNEL && b.len < 65536)
		as_pipe(&b, &end);
	else
		store(n, b.p, b.len);
	blob_free(&b);
	if (n == KERNEL || given & 0x20)
		f->kernel_path = given & 0x40 ? "/proc/self" : path[KERNEL];
	if (n == FIRMWARE)
		f->firmware_path = path[FIRMWARE];
	if (loader_open(f, &e) < 0) {
		ERROR_IS_A_LINE(e);
	} else {
		plan(&want);
		loader_close(f);
	}
	if (end >= 0)
		close(end);
	return 0;
}
