// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/unzip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_ZLIB
#include <zlib.h>
#endif
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#include "vmm/core/err.h"

/* #syscalls main,vcpu,aux: pread64 */

#if defined(HAVE_ZLIB) || defined(HAVE_ZSTD)

#define IN_CHUNK	SZ_64K
#define OUT_FIRST	(8 * SZ_1M)	/* doubled as needed; large blocks grow without a copy */

struct stream {
	int fd;
	uint64_t off, left;	/* input not yet read */
	uint64_t limit;
	uint8_t *in;
	uint8_t *out;
	size_t used, room;	/* of out */
};

static int stream_open(struct stream *s, int fd, uint64_t off, uint64_t len, uint64_t limit)
{
	*s = (struct stream){ .fd = fd, .off = off, .left = len, .limit = limit };
	s->in = malloc(IN_CHUNK);
	return s->in ? 0 : -ENOMEM;
}

/* Return: bytes now in s->in, 0 at the end of the input, or a negative errno. */
static ssize_t stream_fill(struct stream *s)
{
	ssize_t n;

	do {
		n = pread(s->fd, s->in, MIN(s->left, IN_CHUNK), (off_t)s->off);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	s->off += n;
	s->left -= n;
	return n;
}

/* Make room for output. One byte more than the limit is allowed: it proves the excess. */
static int stream_grow(struct stream *s)
{
	size_t max = s->limit < SIZE_MAX ? s->limit + 1 : SIZE_MAX;
	size_t room = s->room ? s->room * 2 : OUT_FIRST;
	uint8_t *p;

	if (s->used < s->room)
		return 0;
	if (s->room >= max)
		return -EFBIG;
	if (room > max || room < s->room)
		room = max;
	p = realloc(s->out, room);
	if (!p)
		return -ENOMEM;
	s->out = p;
	s->room = room;
	return 0;
}

static int stream_close(struct stream *s, int ret, const char *what, void **buf, size_t *size,
			struct err *e)
{
	uint8_t *p;

	free(s->in);
	if (!ret && s->used > s->limit)
		ret = -EFBIG;
	if (!ret) {
		p = realloc(s->out, s->used ? s->used : 1);
		*buf = p ? p : s->out;
		*size = s->used;
		return 0;
	}
	free(s->out);
	switch (ret) {
	case -EINVAL:
		return err_set(e, ret, "%s: the compressed data is damaged", what);
	case -ENODATA:
		return err_set(e, -EINVAL, "%s: the compressed data is cut short", what);
	case -EFBIG:
		return err_set(e, ret, "%s: more than %" PRIu64 " MiB when decompressed: give more "
			       "RAM with -m", what, s->limit / SZ_1M);
	default:
		return err_set(e, ret, "%s: %s", what, strerror(-ret));
	}
}

#endif

int unzip_gzip(int fd, uint64_t off, uint64_t len, uint64_t limit, void **buf, size_t *size,
	       struct err *e)
{
	*buf = NULL;
	*size = 0;
#ifdef HAVE_ZLIB
	z_stream z = { 0 };
	struct stream s;
	bool init = false;
	int ret, zret;

	ret = stream_open(&s, fd, off, len, limit);
	if (ret < 0)
		goto out;
	if (inflateInit2(&z, 15 + 16) != Z_OK) {	/* largest window, gzip header */
		ret = -ENOMEM;
		goto out;
	}
	init = true;
	do {
		if (!z.avail_in) {
			ssize_t n = stream_fill(&s);

			if (n <= 0) {
				ret = n ? n : -ENODATA;
				goto out;
			}
			z.next_in = s.in;
			z.avail_in = n;
		}
		ret = stream_grow(&s);
		if (ret < 0)
			goto out;
		z.next_out = s.out + s.used;
		z.avail_out = MIN(s.room - s.used, SZ_1G);
		zret = inflate(&z, Z_NO_FLUSH);
		s.used = z.next_out - s.out;
	} while (zret == Z_OK || zret == Z_BUF_ERROR);
	if (zret != Z_STREAM_END)
		ret = zret == Z_MEM_ERROR ? -ENOMEM : -EINVAL;
out:
	if (init)
		inflateEnd(&z);
	return stream_close(&s, ret, "gzip", buf, size, e);
#else
	return err_set(e, -ENOTSUP, "gzip: this build has no zlib: decompress the kernel first, or "
		       "build realmtool with zlib");
#endif
}

int unzip_zstd(int fd, uint64_t off, uint64_t len, uint64_t limit, void **buf, size_t *size,
	       struct err *e)
{
	*buf = NULL;
	*size = 0;
#ifdef HAVE_ZSTD
	ZSTD_inBuffer in = { 0 };
	ZSTD_DStream *z = NULL;
	struct stream s;
	size_t more;
	int ret;

	ret = stream_open(&s, fd, off, len, limit);
	if (ret < 0)
		goto out;
	z = ZSTD_createDStream();
	if (!z) {
		ret = -ENOMEM;
		goto out;
	}
	do {
		ZSTD_outBuffer o;

		ret = stream_grow(&s);
		if (ret < 0)
			goto out;
		o = (ZSTD_outBuffer){ .dst = s.out, .size = s.room, .pos = s.used };
		/* What the decoder still holds comes out first; only then is input read. */
		if (in.pos == in.size) {
			ssize_t n = stream_fill(&s);

			if (n < 0) {
				ret = n;
				goto out;
			}
			in = (ZSTD_inBuffer){ .src = s.in, .size = n };
		}
		more = ZSTD_decompressStream(z, &o, &in);
		if (ZSTD_isError(more)) {
			ret = -EINVAL;
			goto out;
		}
		if (more && !in.size && o.pos == s.used) {
			ret = -ENODATA;
			goto out;
		}
		s.used = o.pos;
	} while (more);
out:
	ZSTD_freeDStream(z);
	return stream_close(&s, ret, "zstd", buf, size, e);
#else
	return err_set(e, -ENOTSUP,
		       "zstd: this build has no libzstd: give an uncompressed Image, or "
		       "build realmtool with libzstd");
#endif
}
