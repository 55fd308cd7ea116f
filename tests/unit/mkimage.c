// SPDX-License-Identifier: BSD-3-Clause
#include "tests/unit/mkimage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_ZLIB
#include <zlib.h>
#endif
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#define PE_AT	64
#define NR_FILES 8

static char files[NR_FILES][64];
static unsigned int nr_files;

static void die(const char *what)
{
	perror(what);
	abort();
}

static struct blob blob_new(size_t len)
{
	struct blob b = { calloc(1, len ? len : 1), len };

	if (!b.p)
		die("calloc");
	return b;
}

void blob_free(struct blob *b)
{
	free(b->p);
	*b = (struct blob){ 0 };
}

void put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = v >> 8 * i;
}

void put64(uint8_t *p, uint64_t v)
{
	put32(p, v);
	put32(p + 4, v >> 32);
}

static void pattern(struct blob b, size_t from)
{
	uint32_t x = 12345;

	for (size_t i = from; i < b.len; i++) {
		x = x * 1664525 + 1013904223;
		b.p[i] = i % 97 ? x >> 24 : 0;
	}
}

struct blob mk_image(const struct mkimage *m)
{
	struct blob b = blob_new(m->len);

	pattern(b, 64);
	put32(b.p, 0x14000010);			/* b #64 */
	put64(b.p + 8, m->text_offset);
	put64(b.p + 16, m->image_size);
	put64(b.p + 24, m->flags);
	memcpy(b.p + 56, "ARM\x64", 4);
	if (m->pe) {
		uint8_t *pe = b.p + PE_AT, *sec = pe + 24 + 0x50;

		memcpy(b.p, "MZ\x40\xfa", 4);
		put32(b.p + 60, PE_AT);
		memset(pe, 0, 24 + 0x50 + 80);
		memcpy(pe, "PE\0", 4);
		put32(pe + 4, 0xaa64 | 2 << 16);	/* Machine, NumberOfSections */
		put32(pe + 20, 0x50);			/* SizeOfOptionalHeader */
		put32(sec + 16, m->len / 2 - 512);	/* .text: SizeOfRawData, PointerToRawData */
		put32(sec + 20, 512);
		put32(sec + 40 + 16, m->len - m->len / 2);
		put32(sec + 40 + 20, m->len / 2);
	}
	return b;
}

struct blob mk_flat(size_t len)
{
	struct blob b = blob_new(len);

	pattern(b, 0);
	if (len >= 4)
		put32(b.p, 0x14000010);
	return b;
}

struct blob mk_bytes(const void *p, size_t len)
{
	struct blob b = blob_new(len);

	memcpy(b.p, p, len);
	return b;
}

struct blob mk_gzip(struct blob in)
{
#ifdef HAVE_ZLIB
	struct blob b = blob_new(compressBound(in.len) + 64);
	z_stream z = { .next_in = in.p, .avail_in = in.len, .next_out = b.p, .avail_out = b.len };

	if (deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK ||
	    deflate(&z, Z_FINISH) != Z_STREAM_END)
		die("deflate");
	b.len = z.total_out;
	deflateEnd(&z);
	return b;
#else
	return blob_new(0);
#endif
}

struct blob mk_zstd(struct blob in)
{
#ifdef HAVE_ZSTD
	struct blob b = blob_new(ZSTD_compressBound(in.len));

	b.len = ZSTD_compress(b.p, b.len, in.p, in.len, 3);
	if (ZSTD_isError(b.len))
		die("ZSTD_compress");
	return b;
#else
	return blob_new(0);
#endif
}

struct blob mk_zboot(const char *type, struct blob payload)
{
	const size_t at = 4096;
	struct blob b = blob_new(at + payload.len + 4);

	memcpy(b.p, "MZ\0\0zimg", 8);
	put32(b.p + 8, at);
	put32(b.p + 12, payload.len);
	memcpy(b.p + 24, type, strlen(type));
	put32(b.p + 56, 0x818223cd);		/* LINUX_PE_MAGIC */
	put32(b.p + 60, 64);
	memcpy(b.p + 64, "PE\0\0\x64\xaa", 6);
	memcpy(b.p + at, payload.p, payload.len);
	return b;				/* the 4 bytes behind: zboot appends the size */
}

const char *mk_file(struct blob b)
{
	const char *tmp = getenv("TMPDIR");
	char *path;
	int fd;

	if (nr_files == NR_FILES)
		die("mk_file: too many files");
	path = files[nr_files++];
	snprintf(path, sizeof(files[0]), "%s/realmtool-unit.XXXXXX",
		 tmp && strlen(tmp) < 30 ? tmp : "/tmp");
	fd = mkstemp(path);
	if (fd < 0)
		die(path);
	for (size_t done = 0; done < b.len;) {
		ssize_t n = write(fd, b.p + done, b.len - done);

		if (n < 0)
			die(path);
		done += n;
	}
	close(fd);
	return path;
}

void mk_file_cleanup(void)
{
	while (nr_files)
		unlink(files[--nr_files]);
}
