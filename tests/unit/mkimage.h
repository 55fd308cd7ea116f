/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes what a loader reads: arm64 Images, gzip and zstd streams, zboot containers, files. */
#ifndef TESTS_MKIMAGE_H
#define TESTS_MKIMAGE_H

#include "vmm/core/types.h"

struct blob {
	uint8_t *p;
	size_t len;
};

/**
 * struct mkimage - what the header of an Image says
 * @len:         bytes of the file, at least 64; filled with a pattern
 * @text_offset, @image_size, @flags: as in the header
 * @pe:          with an EFI stub: "MZ" and a PE header whose two sections end at @len
 */
struct mkimage {
	size_t len;
	uint64_t text_offset, image_size, flags;
	bool pe;
};

struct blob mk_image(const struct mkimage *m);
/** mk_flat() - @len bytes: a branch instruction and a pattern */
struct blob mk_flat(size_t len);
/** mk_bytes() - a copy */
struct blob mk_bytes(const void *p, size_t len);
/** mk_gzip(), mk_zstd() - compress; len 0 if the library is not there */
struct blob mk_gzip(struct blob b);
struct blob mk_zstd(struct blob b);
/** mk_zboot() - zboot container of compression @type around @payload */
struct blob mk_zboot(const char *type, struct blob payload);
void blob_free(struct blob *b);

/** mk_file() - write a temporary file; returns its path (static buffer per call, up to 8 live) */
const char *mk_file(struct blob b);
/** mk_file_cleanup() - remove all files made so far */
void mk_file_cleanup(void);

void put32(uint8_t *p, uint32_t v);
void put64(uint8_t *p, uint64_t v);

#endif
