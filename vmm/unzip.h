/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Decompression of kernels, from a file into memory. The stream is not trusted: output is bounded,
 * so that a small file that swells does not take the host's memory.
 */
#ifndef VMM_UNZIP_H
#define VMM_UNZIP_H

#include "vmm/core/types.h"

struct err;

/**
 * unzip_gzip() - decompress a gzip stream (RFC 1952)
 * @fd, @off, @len: where the stream lies; what follows its end within @len is ignored
 * @limit: refuse a result of more bytes than this
 * @buf:   result, to be freed with free(); NULL on error
 * @size:  its length
 *
 * Return: 0; -EINVAL (corrupt or cut short), -EFBIG (more than @limit), -EIO, -ENOMEM, -ENOTSUP
 * (built without zlib). The text of the error begins with "gzip: ".
 */
int unzip_gzip(int fd, uint64_t off, uint64_t len, uint64_t limit, void **buf, size_t *size,
	       struct err *e);

/** unzip_zstd() - the same for a Zstandard frame (RFC 8878); needs libzstd */
int unzip_zstd(int fd, uint64_t off, uint64_t len, uint64_t limit, void **buf, size_t *size,
	       struct err *e);

#endif
