// SPDX-License-Identifier: BSD-3-Clause
/*
 * The block device, each test on io_uring and on the worker thread. The worker uses the C library's
 * calls, of which this program has its own: they can be held up, fail, and be looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/virtio_blk.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/vdriver.h"
#include "virtio/blkio.h"
#include "virtio/dev.h"

#define SECTOR		512
#define DISK_SIZE	(4u << 20)
#define SECTORS		(DISK_SIZE / SECTOR)
#define HDR		(VD_DATA)
#define STATUS		(VD_DATA + 0x1000)
#define BUF		(VD_DATA + 0x10000)
#define RANGES		(VD_DATA + 0x2000)
#define NO_STATUS	0xee
#define BLK_FEATURES	(VD_F_ALL | VD_F(VIRTIO_BLK_F_FLUSH))

/* ---- the worker's system calls ---- */

static _Atomic bool hold;		/* reads wait until this is false */
static _Atomic unsigned int held;	/* that many are waiting */
static _Atomic int fallocate_error;
static _Atomic int last_write_flags;
static _Atomic unsigned int syncs, writes;
static _Atomic size_t io_limit;		/* short transfers: at most this many bytes, 0: no limit */

static ssize_t transfer(long nr, int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	struct iovec one = iov[0];
	size_t limit = io_limit;

	if (limit) {
		one.iov_len = MIN(one.iov_len, limit);
		iov = &one;
		n = 1;
	}
	return syscall(nr, fd, iov, n, (long)off, 0L, flags);
}

ssize_t preadv(int fd, const struct iovec *iov, int n, off_t off)
{
	held++;
	while (hold)
		usleep(500);
	held--;
	return transfer(SYS_preadv, fd, iov, n, off, 0);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	last_write_flags = flags;
	writes++;
	return transfer(SYS_pwritev2, fd, iov, n, off, flags);
}

int fallocate(int fd, int mode, off_t off, off_t len)
{
	if (fallocate_error) {
		errno = fallocate_error;
		return -1;
	}
	return syscall(SYS_fallocate, fd, mode, (long)off, (long)len);
}

int fdatasync(int fd)
{
	syncs++;
	return syscall(SYS_fdatasync, fd);
}

/* ---- the fixture ---- */

struct fixture {
	struct vdriver vd;
	int fd;
	bool threads;
	uint8_t *image;		/* what the disk should hold */
};

static bool uring_works;

static int temp_file(int flags)
{
	const char *dir = getenv("TMPDIR");
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/test_virtio_blk.XXXXXX", dir ? dir : "/tmp");
	fd = mkostemp(path, flags | O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

static void attach(struct fixture *f, const struct virtio_blk_cfg *cfg)
{
	struct virtio_dev *dev;
	struct err e;

	if (f->vd.dev) {
		virtio_dev_stop(f->vd.dev);
		virtio_mmio_free(f->vd.mmio);
		virtio_dev_free(f->vd.dev);
		f->vd.bus.nr = 0;
	}
	assert_int_equal(virtio_blk_new(&f->vd.env, cfg, &dev, &e), 0);
	vd_attach(&f->vd, dev);
}

static struct virtio_blk_cfg config(struct fixture *f)
{
	return (struct virtio_blk_cfg){ .fd = f->fd, .path = "test", .serial = "SER-1",
					.no_uring = f->threads };
}

static int setup_common(void **state, bool threads, bool realm)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct virtio_blk_cfg cfg;

	hold = false;
	io_limit = 0;
	fallocate_error = last_write_flags = 0;
	syncs = 0;
	f->threads = threads;
	f->image = malloc(DISK_SIZE);
	for (unsigned int i = 0; i < DISK_SIZE; i++)
		f->image[i] = (i / SECTOR) * 7 + i % 251 + 1;
	f->fd = temp_file(0);
	assert_true(f->fd >= 0);
	assert_int_equal(write(f->fd, f->image, DISK_SIZE), DISK_SIZE);
	vd_init(&f->vd, realm);
	cfg = config(f);
	attach(f, &cfg);
	vd_start(&f->vd, BLK_FEATURES, 1, 256);
	*state = f;
	return 0;
}

static int setup_uring(void **state)
{
	return setup_common(state, false, false);
}

static int setup_threads(void **state)
{
	return setup_common(state, true, false);
}

static int setup_uring_realm(void **state)
{
	return setup_common(state, false, true);
}

static int setup_threads_realm(void **state)
{
	return setup_common(state, true, true);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hold = false;
	vd_destroy(&f->vd);
	close(f->fd);
	free(f->image);
	free(f);
	return 0;
}

static uint8_t *mem(struct fixture *f, ipa_t ipa)
{
	return vd_ptr(&f->vd, ipa);
}

/* Offer a request of @nr segments of data; @i keeps headers and status bytes of several apart. */
static uint16_t offer(struct fixture *f, unsigned int i, uint32_t type, uint64_t sector,
		      const struct vq_seg *data, unsigned int nr)
{
	struct virtio_blk_outhdr hdr = { .type = type, .sector = sector };
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct vq_seg seg[256];

	assert_true(nr + 2 <= ARRAY_SIZE(seg));
	memcpy(mem(f, HDR + 16 * i), &hdr, sizeof(hdr));
	*mem(f, STATUS + i) = NO_STATUS;
	seg[0] = (struct vq_seg){ HDR + 16 * i, 16 };
	if (nr)
		memcpy(seg + 1, data, nr * sizeof(*data));
	seg[nr + 1] = (struct vq_seg){ STATUS + i, 1 };
	return vd_add(&f->vd, 0, seg, nr + 2, in ? 1 : nr + 1);
}

static uint8_t request(struct fixture *f, uint32_t type, uint64_t sector,
		       const struct vq_seg *data, unsigned int nr, uint32_t *used)
{
	struct vring_used_elem u;
	uint16_t head = offer(f, 0, type, sector, data, nr);

	vd_kick(&f->vd, 0);
	u = vd_wait(&f->vd, 0);
	assert_int_equal(u.id, head);
	if (used)
		*used = u.len;
	return *mem(f, STATUS);
}

static uint8_t simple(struct fixture *f, uint32_t type, uint64_t sector, uint32_t len)
{
	struct vq_seg s = { BUF, len };

	return request(f, type, sector, &s, len ? 1 : 0, NULL);
}

/* The whole file against what it should hold. */
static void check_image(struct fixture *f)
{
	uint8_t *now = malloc(DISK_SIZE);

	assert_int_equal(pread(f->fd, now, DISK_SIZE, 0), DISK_SIZE);
	assert_true(memcmp(now, f->image, DISK_SIZE) == 0);
	free(now);
}

static void still_works(struct fixture *f)
{
	memset(mem(f, BUF), 0, SECTOR);
	assert_int_equal(simple(f, VIRTIO_BLK_T_IN, 5, SECTOR), VIRTIO_BLK_S_OK);
	assert_memory_equal(mem(f, BUF), f->image + 5 * SECTOR, SECTOR);
}

/* ---- the tests ---- */

static void configuration(void **state)
{
	struct fixture *f = *state;
	struct virtio_blk_cfg cfg = config(f);
	uint64_t features = vd_features(&f->vd);

	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_DEVICE_ID), 2);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG), SECTORS);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG + 12), 254);	/* seg_max */
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG + 20), 512);	/* blk_size */
	assert_true(features & VD_F(VIRTIO_BLK_F_FLUSH));
	assert_true(features & VD_F(VIRTIO_BLK_F_DISCARD));
	assert_true(features & VD_F(VIRTIO_BLK_F_WRITE_ZEROES));
	assert_false(features & VD_F(VIRTIO_BLK_F_RO));

	cfg.readonly = true;
	attach(f, &cfg);
	features = vd_features(&f->vd);
	assert_true(features & VD_F(VIRTIO_BLK_F_RO));
	assert_false(features & VD_F(VIRTIO_BLK_F_DISCARD));

	/* A guest that bounces: 64 KiB per segment, and no more of them than it can bounce. */
	assert_false(features & VD_F(VIRTIO_BLK_F_SIZE_MAX));
	f->vd.env.max_request = 1 << 20;
	attach(f, &cfg);
	assert_true(vd_features(&f->vd) & VD_F(VIRTIO_BLK_F_SIZE_MAX));
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG + 8), 65536);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG + 12), 16);
	f->vd.env.max_request = 1;
	attach(f, &cfg);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG + 12), 1);
	f->vd.env.max_request = 0;

	/* A tail of less than a sector is not shown. */
	assert_int_equal(ftruncate(f->fd, 3 * SECTOR + 1), 0);
	attach(f, &cfg);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG), 3);
	assert_int_equal(ftruncate(f->fd, 0), 0);
	attach(f, &cfg);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG), 0);
}

static void not_a_disk(void **state)
{
	struct fixture *f = *state;
	struct virtio_blk_cfg cfg = config(f);
	struct virtio_dev *dev;
	struct err e;

	cfg.fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(virtio_blk_new(&f->vd.env, &cfg, &dev, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "test"));
	close(cfg.fd);
	cfg.fd = -1;
	assert_int_equal(virtio_blk_new(&f->vd.env, &cfg, &dev, &e), -EBADF);
	assert_null(dev);
}

static void read_and_write(void **state)
{
	struct fixture *f = *state;
	struct vq_seg seg[64];
	uint32_t used, total = 0;

	/* Pieces of odd sizes at odd places, 16 KiB in all. */
	for (unsigned int i = 0; i < 64; i++) {
		seg[i] = (struct vq_seg){ BUF + 1000 * i + i, i == 63 ? 16384 - total : 200 + i };
		total += seg[i].len;
		for (unsigned int j = 0; j < seg[i].len; j++)
			mem(f, seg[i].addr)[j] = i ^ j;
	}
	assert_int_equal(total, 16384);
	assert_int_equal(request(f, VIRTIO_BLK_T_OUT, 100, seg, 64, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(used, 1);
	for (unsigned int i = 0, at = 100 * SECTOR; i < 64; at += seg[i++].len)
		memcpy(f->image + at, mem(f, seg[i].addr), seg[i].len);
	check_image(f);

	/* The same pieces, read from elsewhere. */
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 1000, seg, 64, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(used, 16384 + 1);
	for (unsigned int i = 0, at = 1000 * SECTOR; i < 64; at += seg[i++].len)
		assert_memory_equal(mem(f, seg[i].addr), f->image + at, seg[i].len);

	/* First and last sector, and all in one piece. */
	assert_int_equal(simple(f, VIRTIO_BLK_T_IN, 0, SECTOR), VIRTIO_BLK_S_OK);
	assert_memory_equal(mem(f, BUF), f->image, SECTOR);
	assert_int_equal(simple(f, VIRTIO_BLK_T_IN, SECTORS - 1, SECTOR), VIRTIO_BLK_S_OK);
	assert_memory_equal(mem(f, BUF), f->image + DISK_SIZE - SECTOR, SECTOR);
	assert_int_equal(simple(f, VIRTIO_BLK_T_IN, 0, DISK_SIZE), VIRTIO_BLK_S_OK);
	assert_true(memcmp(mem(f, BUF), f->image, DISK_SIZE) == 0);
	assert_int_equal(simple(f, VIRTIO_BLK_T_IN, 0, 0), VIRTIO_BLK_S_OK);
	check_image(f);
}

/* Section 2.7.4.2: the layout of a request over descriptors means nothing. */
static void any_framing(void **state)
{
	struct fixture *f = *state;
	struct virtio_blk_outhdr hdr = { .type = VIRTIO_BLK_T_IN, .sector = 9 };
	struct vring_used_elem u;

	memcpy(mem(f, HDR), &hdr, 16);
	memset(mem(f, BUF), NO_STATUS, 2048);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { HDR, 1 }, { HDR + 1, 13 }, { HDR + 14, 2 },
					     { BUF, 511 }, { BUF + 511, 514 } }, 5, 3);
	vd_kick(&f->vd, 0);
	u = vd_wait(&f->vd, 0);
	assert_int_equal(u.len, 1025);
	assert_memory_equal(mem(f, BUF), f->image + 9 * SECTOR, 1024);
	assert_int_equal(*mem(f, BUF + 1024), VIRTIO_BLK_S_OK);
	assert_int_equal(*mem(f, BUF + 1025), NO_STATUS);

	hdr.type = VIRTIO_BLK_T_OUT;
	memcpy(mem(f, BUF), &hdr, 16);
	memset(mem(f, BUF + 16), 0x77, SECTOR);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { BUF, 16 + SECTOR }, { STATUS, 1 } }, 2, 1);
	vd_kick(&f->vd, 0);
	vd_wait(&f->vd, 0);
	assert_int_equal(*mem(f, STATUS), VIRTIO_BLK_S_OK);
	memset(f->image + 9 * SECTOR, 0x77, SECTOR);
	check_image(f);
}

static void bad_requests(void **state)
{
	struct fixture *f = *state;
	struct vring_used_elem u;
	static const struct {
		uint64_t sector;
		uint32_t len;
	} bad[] = {
		{ SECTORS, SECTOR }, { SECTORS - 1, 2 * SECTOR }, { UINT64_MAX, SECTOR },
		{ UINT64_MAX / SECTOR, SECTOR }, { UINT64_MAX / SECTOR + 1, SECTOR },
		{ 0, 1 }, { 0, SECTOR - 1 }, { 0, SECTOR + 1 }, { 1ULL << 55, SECTOR },
		{ 0, DISK_SIZE + SECTOR },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(simple(f, VIRTIO_BLK_T_IN, bad[i].sector, bad[i].len),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(simple(f, VIRTIO_BLK_T_OUT, bad[i].sector, bad[i].len),
				 VIRTIO_BLK_S_IOERR);
	}
	assert_int_equal(simple(f, 2 /* SCSI */, 0, SECTOR), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(simple(f, UINT32_MAX, 0, SECTOR), VIRTIO_BLK_S_UNSUPP);

	/* No place for a status; a header that is too short; nothing at all. */
	vd_add(&f->vd, 0, (struct vq_seg[]){ { HDR, 16 } }, 1, 1);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { HDR, 15 }, { STATUS, 1 } }, 2, 1);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { HDR, 0 } }, 1, 1);
	*mem(f, STATUS) = NO_STATUS;
	vd_kick(&f->vd, 0);
	u = vd_wait(&f->vd, 0);
	assert_int_equal(u.len, 0);
	u = vd_wait(&f->vd, 0);
	assert_int_equal(u.len, 1);
	assert_int_equal(*mem(f, STATUS), VIRTIO_BLK_S_IOERR);
	u = vd_wait(&f->vd, 0);
	assert_int_equal(u.len, 0);
	check_image(f);
	still_works(f);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
}

static void bad_addresses(void **state)
{
	struct fixture *f = *state;
	const ipa_t bad[] = { 0, VD_RAM2 - 100, UINT64_MAX - 600, VD_RAM2 + VD_RAM2_SIZE };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vq_seg seg[2] = { { BUF, SECTOR }, { bad[i], SECTOR } };

		assert_int_equal(request(f, VIRTIO_BLK_T_IN, 0, seg, 2, NULL),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(f, VIRTIO_BLK_T_OUT, 0, seg, 2, NULL),
				 VIRTIO_BLK_S_IOERR);
		assert_null(f->vd.gm.pins);
	}
	check_image(f);
	still_works(f);
}

static void private_pages(void **state)
{
	struct fixture *f = *state;
	struct vring_used_elem u;

	f->vd.private_base = BUF + 0x2000;
	f->vd.private_len = 0x1000;
	memset(mem(f, BUF + 0x2000), 0x11, 0x1000);
	/* Data: an error for this request, and neither direction moves a byte. */
	assert_int_equal(simple(f, VIRTIO_BLK_T_IN, 0, 0x2000 + SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(f, VIRTIO_BLK_T_OUT, 0, 0x2000 + SECTOR), VIRTIO_BLK_S_IOERR);
	/* Status and header. */
	vd_add(&f->vd, 0, (struct vq_seg[]){ { HDR, 16 }, { BUF, SECTOR }, { BUF + 0x2800, 1 } }, 3,
	       1);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { BUF + 0x2000, 16 }, { STATUS, 1 } }, 2, 1);
	vd_kick(&f->vd, 0);
	u = vd_wait(&f->vd, 0);
	assert_int_equal(u.len, 0);
	u = vd_wait(&f->vd, 0);
	assert_int_equal(u.len, 1);
	assert_int_equal(*mem(f, STATUS), VIRTIO_BLK_S_IOERR);
	for (int i = 0; i < 0x1000; i++)
		assert_int_equal(mem(f, BUF + 0x2000)[i], 0x11);
	check_image(f);
	still_works(f);

	/* With the shared bit, as a realm writes its addresses. */
	memset(mem(f, BUF), 0, SECTOR);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 7,
				 &(struct vq_seg){ BUF | VD_SHARED, SECTOR }, 1, NULL),
			 VIRTIO_BLK_S_OK);
	assert_memory_equal(mem(f, BUF), f->image + 7 * SECTOR, SECTOR);

	/* The ring itself: no answer, and the device asks for a reset. */
	offer(f, 0, VIRTIO_BLK_T_IN, 0, &(struct vq_seg){ BUF, SECTOR }, 1);
	f->vd.private_base = f->vd.ring[0].avail_ipa;
	vd_kick(&f->vd, 0);
	vd_pump(&f->vd, 20);
	assert_true(vd_get(&f->vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	f->vd.private_len = 0;
	vd_start(&f->vd, BLK_FEATURES, 1, 256);
	still_works(f);
}

static void flush_and_id(void **state)
{
	struct fixture *f = *state;
	uint32_t used;

	assert_int_equal(simple(f, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	if (f->threads)
		assert_int_equal(syncs, 1);
	memset(mem(f, BUF), NO_STATUS, 32);
	assert_int_equal(request(f, VIRTIO_BLK_T_GET_ID, 0, &(struct vq_seg){ BUF, 20 }, 1, &used),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(used, 21);
	assert_memory_equal(mem(f, BUF), "SER-1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xee", 21);
	memset(mem(f, BUF), NO_STATUS, 32);
	assert_int_equal(request(f, VIRTIO_BLK_T_GET_ID, 0, &(struct vq_seg){ BUF, 3 }, 1, &used),
			 VIRTIO_BLK_S_OK);
	assert_memory_equal(mem(f, BUF), "SER\xee", 4);
}

static void read_only(void **state)
{
	struct fixture *f = *state;
	struct virtio_blk_cfg cfg = config(f);

	cfg.readonly = true;
	attach(f, &cfg);
	vd_start(&f->vd, BLK_FEATURES, 1, 256);
	assert_int_equal(simple(f, VIRTIO_BLK_T_OUT, 0, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(f, VIRTIO_BLK_T_DISCARD, 0, 16), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(f, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	check_image(f);
	still_works(f);
}

static void no_flush_means_write_through(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(simple(f, VIRTIO_BLK_T_OUT, 0, SECTOR), VIRTIO_BLK_S_OK);
	if (f->threads)
		assert_int_equal(last_write_flags, 0);
	vd_start(&f->vd, VD_F_ALL, 1, 256);
	memset(mem(f, BUF), 0x42, SECTOR);
	assert_int_equal(simple(f, VIRTIO_BLK_T_OUT, 3, SECTOR), VIRTIO_BLK_S_OK);
	if (f->threads) {
		assert_int_equal(last_write_flags, RWF_DSYNC);
		assert_int_equal(syncs, 0);
		*(struct virtio_blk_discard_write_zeroes *)mem(f, BUF) =
			(struct virtio_blk_discard_write_zeroes){ 8, 8, 0 };
		assert_int_equal(simple(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16), VIRTIO_BLK_S_OK);
		assert_int_equal(syncs, 1);
	}
}

static uint8_t ranges(struct fixture *f, uint32_t type, unsigned int nr,
		      const struct virtio_blk_discard_write_zeroes *r)
{
	memcpy(mem(f, RANGES), r, nr * sizeof(*r));
	return request(f, type, 0, &(struct vq_seg){ RANGES, nr * sizeof(*r) }, 1, NULL);
}

static uint64_t blocks(struct fixture *f)
{
	struct stat st;

	fsync(f->fd);
	assert_int_equal(fstat(f->fd, &st), 0);
	return st.st_blocks;
}

static void discard(void **state)
{
	struct fixture *f = *state;
	const struct virtio_blk_discard_write_zeroes r[] = {
		{ 1024, 2048, 0 }, { 0, 0, 0 }, { 4096, 1024, 0 },
	};
	uint64_t before = blocks(f);

	assert_int_equal(ranges(f, VIRTIO_BLK_T_DISCARD, 3, r), VIRTIO_BLK_S_OK);
	memset(f->image + 1024 * SECTOR, 0, 2048 * SECTOR);
	memset(f->image + 4096 * SECTOR, 0, 1024 * SECTOR);
	check_image(f);
	/* The file system counts its own bookkeeping, too. */
	assert_in_range(before - blocks(f), 3072 - 64, 3072 + 64);
}

static void write_zeroes(void **state)
{
	struct fixture *f = *state;
	const struct virtio_blk_discard_write_zeroes keep = { 100, 1001, 0 };
	const struct virtio_blk_discard_write_zeroes unmap[] = {
		{ 2048, 2048, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP }, { 1, 1, 0 },
	};
	uint64_t before;

	assert_int_equal(ranges(f, VIRTIO_BLK_T_WRITE_ZEROES, 1, &keep), VIRTIO_BLK_S_OK);
	memset(f->image + 100 * SECTOR, 0, 1001 * SECTOR);
	check_image(f);
	before = blocks(f);
	assert_int_equal(ranges(f, VIRTIO_BLK_T_WRITE_ZEROES, 2, unmap), VIRTIO_BLK_S_OK);
	memset(f->image + 2048 * SECTOR, 0, 2048 * SECTOR);
	memset(f->image + SECTOR, 0, SECTOR);
	check_image(f);
	assert_in_range(before - blocks(f), 2048 - 64, 2048 + 64);
}

static void bad_ranges(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint32_t type;
		uint8_t status;
		struct virtio_blk_discard_write_zeroes r;
	} bad[] = {
		{ VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_IOERR, { SECTORS, 1, 0 } },
		{ VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_IOERR, { 1, SECTORS, 0 } },
		{ VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_IOERR, { UINT64_MAX, 1, 0 } },
		{ VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_IOERR, { 0, UINT32_MAX, 0 } },
		{ VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_UNSUPP, { 0, 1, 1 } },
		{ VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_UNSUPP, { 0, 1, 2 } },
		{ VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_IOERR, { SECTORS - 1, 2, 1 } },
	};
	struct virtio_blk_discard_write_zeroes many[33] = { { 0, 1, 0 } };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		/* A good range before a bad one is not carried out either. */
		const struct virtio_blk_discard_write_zeroes two[] = { { 64, 64, 0 }, bad[i].r };

		assert_int_equal(ranges(f, bad[i].type, 1, &bad[i].r), bad[i].status);
		assert_int_equal(ranges(f, bad[i].type, 2, two), bad[i].status);
	}
	assert_int_equal(ranges(f, VIRTIO_BLK_T_DISCARD, 33, many), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(f, VIRTIO_BLK_T_DISCARD, 0, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(f, VIRTIO_BLK_T_DISCARD, 0, 15), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(f, VIRTIO_BLK_T_DISCARD, 0, 17), VIRTIO_BLK_S_IOERR);
	many[0].num_sectors = 0;
	assert_int_equal(ranges(f, VIRTIO_BLK_T_DISCARD, 1, many), VIRTIO_BLK_S_OK);
	check_image(f);
}

/* A file system that can neither zero a range nor punch a hole. */
static void no_fallocate(void **state)
{
	struct fixture *f = *state;
	const struct virtio_blk_discard_write_zeroes r[] = { { 8, 1003, 0 }, { 2001, 5, 1 } };

	fallocate_error = EOPNOTSUPP;
	writes = 0;
	assert_int_equal(ranges(f, VIRTIO_BLK_T_WRITE_ZEROES, 2, r), VIRTIO_BLK_S_OK);
	memset(f->image + 8 * SECTOR, 0, 1003 * SECTOR);
	memset(f->image + 2001 * SECTOR, 0, 5 * SECTOR);
	check_image(f);
	assert_true(writes >= 3);
	assert_int_equal(ranges(f, VIRTIO_BLK_T_DISCARD, 1, r), VIRTIO_BLK_S_UNSUPP);
	check_image(f);
	io_limit = 700;		/* and writes that come back short */
	memset(mem(f, BUF), 1, 64 * SECTOR);
	assert_int_equal(simple(f, VIRTIO_BLK_T_OUT, 8, 64 * SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(ranges(f, VIRTIO_BLK_T_WRITE_ZEROES, 1, r), VIRTIO_BLK_S_OK);
	check_image(f);
}

static void host_error(void **state)
{
	struct fixture *f = *state;
	const struct virtio_blk_discard_write_zeroes r = { 8, 8, 0 };

	fallocate_error = EIO;
	assert_int_equal(ranges(f, VIRTIO_BLK_T_DISCARD, 1, &r), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ranges(f, VIRTIO_BLK_T_WRITE_ZEROES, 1, &r), VIRTIO_BLK_S_IOERR);
	check_image(f);
	still_works(f);
}

static void short_transfers(void **state)
{
	struct fixture *f = *state;
	struct vq_seg seg[3] = { { BUF, 1000 }, { BUF + 5000, 24 }, { BUF + 9000, 3072 } };

	io_limit = 100;
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 50, seg, 3, NULL), VIRTIO_BLK_S_OK);
	assert_memory_equal(mem(f, BUF), f->image + 50 * SECTOR, 1000);
	assert_memory_equal(mem(f, BUF + 5000), f->image + 50 * SECTOR + 1000, 24);
	assert_memory_equal(mem(f, BUF + 9000), f->image + 50 * SECTOR + 1024, 3072);
	assert_int_equal(request(f, VIRTIO_BLK_T_OUT, 1, seg, 3, NULL), VIRTIO_BLK_S_OK);
	memmove(f->image + SECTOR, f->image + 50 * SECTOR, 4096);
	check_image(f);
}

static void image_gets_shorter(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ftruncate(f->fd, 100 * SECTOR), 0);
	assert_int_equal(simple(f, VIRTIO_BLK_T_IN, 100, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(f, VIRTIO_BLK_T_IN, 99, 2 * SECTOR), VIRTIO_BLK_S_IOERR);
	still_works(f);
}

/* A queue full of requests at once, then random ones, verified. */
static void many_requests(void **state)
{
	struct fixture *f = *state;
	struct vring_used_elem u;
	unsigned int seed = 1;

	for (int round = 0; round < 20; round++) {
		bool seen[256] = { false };

		vd_start(&f->vd, BLK_FEATURES, 1, 256);
		for (unsigned int i = 0; i < 85; i++) {
			struct vq_seg s = { BUF + 0x2000 * i, SECTOR * (1 + i % 16) };

			if (i % 3 == 0)
				for (unsigned int j = 0; j < s.len; j++)
					mem(f, s.addr)[j] = rand_r(&seed);
			else
				memset(mem(f, s.addr), 0, s.len);
			offer(f, i, i % 3 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, 64 * i, &s, 1);
		}
		vd_kick(&f->vd, 0);
		for (unsigned int i = 0; i < 85; i++) {
			u = vd_wait(&f->vd, 0);
			assert_true(u.id % 3 == 0 && u.id < 255 && !seen[u.id]);
			seen[u.id] = true;
		}
		for (unsigned int i = 0; i < 85; i++) {
			uint32_t len = SECTOR * (1 + i % 16);

			assert_int_equal(*mem(f, STATUS + i), VIRTIO_BLK_S_OK);
			if (i % 3 == 0)
				memcpy(f->image + 64 * SECTOR * i, mem(f, BUF + 0x2000 * i), len);
			else
				assert_memory_equal(mem(f, BUF + 0x2000 * i),
						    f->image + 64 * SECTOR * i, len);
		}
		check_image(f);
	}
}

/* More requests than the ring of io_uring has entries: one byte of descriptor table each. */
static void deep_queue(void **state)
{
	struct fixture *f = *state;
	struct vring_desc *t = (struct vring_desc *)mem(f, VD_DATA + 0x500000);

	for (unsigned int i = 0; i < 256; i++) {
		struct virtio_blk_outhdr hdr = { .type = VIRTIO_BLK_T_IN, .sector = 16 * i };

		memcpy(mem(f, HDR + 16 * i), &hdr, 16);
		mem(f, VD_DATA + 0x600000)[i] = NO_STATUS;
		t[3 * i] = (struct vring_desc){ HDR + 16 * i, 16, VRING_DESC_F_NEXT, 1 };
		t[3 * i + 1] = (struct vring_desc){ BUF + 0x2000 * i, 0x2000,
						    VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2 };
		t[3 * i + 2] = (struct vring_desc){ VD_DATA + 0x600000 + i, 1, VRING_DESC_F_WRITE,
						    0 };
		vd_desc(&f->vd, 0, i, VD_DATA + 0x500000 + 48 * i, 48, VRING_DESC_F_INDIRECT, 0);
		vd_offer(&f->vd, 0, i);
	}
	vd_kick(&f->vd, 0);
	for (unsigned int i = 0; i < 256; i++)
		vd_wait(&f->vd, 0);
	for (unsigned int i = 0; i < 256; i++) {
		assert_int_equal(mem(f, VD_DATA + 0x600000)[i], VIRTIO_BLK_S_OK);
		assert_memory_equal(mem(f, BUF + 0x2000 * i), f->image + 0x2000 * i, 0x2000);
	}
}

/* O_DIRECT wants aligned buffers; the guest need not know. */
static void direct(void **state)
{
	struct fixture *f = *state;
	struct virtio_blk_cfg cfg = config(f);
	struct vq_seg seg[3] = { { BUF + 1, 3000 }, { BUF + 0x10007, 200001 },
				 { BUF + 0x80000, 262144 - 203001 } };
	uint8_t *file = malloc(DISK_SIZE);
	unsigned int at = 16 * SECTOR;
	int fd = temp_file(O_DIRECT);

	if (fd < 0) {
		free(file);
		skip();		/* a tmpfs before Linux 6.6 */
	}
	close(f->fd);
	f->fd = cfg.fd = fd;
	cfg.direct = true;
	fcntl(fd, F_SETFL, 0);
	assert_int_equal(pwrite(fd, f->image, DISK_SIZE, 0), DISK_SIZE);
	fsync(fd);
	assert_int_equal(fcntl(fd, F_SETFL, O_DIRECT), 0);
	attach(f, &cfg);
	assert_true(vd_features(&f->vd) & VD_F(VIRTIO_BLK_F_TOPOLOGY));
	vd_start(&f->vd, BLK_FEATURES, 1, 256);

	assert_int_equal(simple(f, VIRTIO_BLK_T_IN, 8, 0x4000), VIRTIO_BLK_S_OK);
	assert_memory_equal(mem(f, BUF), f->image + 8 * SECTOR, 0x4000);

	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 16, seg, 3, NULL), VIRTIO_BLK_S_OK);
	for (int i = 0; i < 3; at += seg[i++].len)
		assert_true(memcmp(mem(f, seg[i].addr), f->image + at, seg[i].len) == 0);
	assert_int_equal(*mem(f, BUF), f->image[8 * SECTOR]);	/* not one byte beside them */

	assert_int_equal(request(f, VIRTIO_BLK_T_OUT, 1024, seg, 3, NULL), VIRTIO_BLK_S_OK);
	memmove(f->image + 1024 * SECTOR, f->image + 16 * SECTOR, 262144);
	assert_int_equal(simple(f, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	fcntl(fd, F_SETFL, 0);
	assert_int_equal(pread(fd, file, DISK_SIZE, 0), DISK_SIZE);
	assert_true(memcmp(file, f->image, DISK_SIZE) == 0);
	free(file);
}

static void wait_held(unsigned int n)
{
	for (int i = 0; held != n; i++) {
		assert_true(i < 10000);
		usleep(1000);
	}
}

static void *let_go_later(void *arg)
{
	usleep((intptr_t)arg * 1000);
	hold = false;
	return NULL;
}

/* Worker only: a reset waits for the read that is on its way, and drops what it brings. */
static void reset_in_flight(void **state)
{
	struct fixture *f = *state;
	pthread_t t;

	hold = true;
	for (int i = 0; i < 3; i++)
		offer(f, i, VIRTIO_BLK_T_IN, 0, &(struct vq_seg){ BUF + 0x1000 * i, SECTOR }, 1);
	vd_kick(&f->vd, 0);
	vd_pump(&f->vd, 0);
	wait_held(1);
	assert_int_equal(pthread_create(&t, NULL, let_go_later, (void *)(intptr_t)200), 0);
	vd_set(&f->vd, VIRTIO_MMIO_STATUS, 0);
	assert_false(hold);
	pthread_join(t, NULL);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_STATUS), 0);
	assert_null(f->vd.gm.pins);
	assert_int_equal(f->vd.ring[0].used->idx, 0);
	assert_int_equal(*mem(f, STATUS), NO_STATUS);
	vd_start(&f->vd, BLK_FEATURES, 1, 256);
	still_works(f);
}

/* Worker only: what does not end is cancelled, or if it has begun keeps its memory. */
static void reset_with_a_dead_disk(void **state)
{
	struct fixture *f = *state;

	hold = true;
	for (int i = 0; i < 3; i++)
		offer(f, i, VIRTIO_BLK_T_IN, 0, &(struct vq_seg){ BUF + 0x1000 * i, SECTOR }, 1);
	vd_kick(&f->vd, 0);
	vd_pump(&f->vd, 0);
	wait_held(1);
	vd_set(&f->vd, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_STATUS), VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_non_null(f->vd.gm.pins);
	assert_null(f->vd.gm.pins->next);
	hold = false;
	vd_pump(&f->vd, 50);
	assert_null(f->vd.gm.pins);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_STATUS), 0);
	vd_start(&f->vd, BLK_FEATURES, 1, 256);
	still_works(f);
}

/* Both engines: resets race with real I/O; nothing is written afterwards. */
static void reset_races_with_io(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < 60; round++) {
		for (unsigned int i = 0; i < 80; i++)
			offer(f, i, VIRTIO_BLK_T_IN, 64 * i,
			      &(struct vq_seg){ BUF + 0x4000 * i, 0x4000 }, 1);
		if (round & 1)
			posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
		vd_kick(&f->vd, 0);
		loop_once(&f->vd.loop, 0);
		vd_set(&f->vd, VIRTIO_MMIO_STATUS, 0);
		assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_STATUS), 0);
		assert_null(f->vd.gm.pins);
		memset(mem(f, VD_RAM), 0x5a, VD_RAM_SIZE);
		vd_pump(&f->vd, 1);
		for (unsigned int i = 0; i < VD_RAM_SIZE; i += 64)
			if (f->vd.ram[i] != 0x5a)
				fail_msg("byte %#x written after the reset", i);
		vd_start(&f->vd, BLK_FEATURES, 1, 256);
	}
	still_works(f);
}

struct conversion {
	struct vdriver *vd;
	ipa_t base;
	uint64_t len;
	unsigned int timeout_ms;
	int ret;
	_Atomic bool done;
};

static void *convert(void *arg)
{
	struct conversion *c = arg;

	gmem_exclude(&c->vd->gm);
	c->vd->private_base = c->base;
	c->vd->private_len = c->len;
	gmem_admit(&c->vd->gm);
	c->ret = gmem_drain(&c->vd->gm, c->base, c->len, c->timeout_ms);
	c->done = true;
	return NULL;
}

/* Worker only: pages of a waiting request turn private: it is cancelled, those beside it not. */
static void conversion_cancels(void **state)
{
	struct fixture *f = *state;
	struct conversion c = { &f->vd, BUF + 0x1000, 0x1000, 5000, 0, false };
	struct vring_used_elem u;
	pthread_t t;

	hold = true;
	for (int i = 0; i < 3; i++)
		offer(f, i, VIRTIO_BLK_T_IN, 0, &(struct vq_seg){ BUF + 0x1000 * i, SECTOR }, 1);
	vd_kick(&f->vd, 0);
	vd_pump(&f->vd, 0);
	wait_held(1);
	assert_int_equal(pthread_create(&t, NULL, convert, &c), 0);
	u = vd_wait(&f->vd, 0);
	assert_int_equal(u.id, 3);		/* three descriptors each: the second request */
	pthread_join(t, NULL);
	assert_int_equal(c.ret, 0);
	assert_int_equal(*mem(f, STATUS + 1), VIRTIO_BLK_S_IOERR);
	assert_int_equal(held, 1);

	/* One that has begun cannot be cancelled: the conversion is refused in time. */
	c = (struct conversion){ &f->vd, BUF, 0x1000, 100, 0, false };
	convert(&c);
	assert_int_equal(c.ret, -ETIMEDOUT);
	f->vd.private_len = 0;
	hold = false;
	vd_wait(&f->vd, 0);
	vd_wait(&f->vd, 0);
	assert_int_equal(*mem(f, STATUS), VIRTIO_BLK_S_OK);
	assert_int_equal(*mem(f, STATUS + 2), VIRTIO_BLK_S_OK);
	still_works(f);
}

/* Worker only: without the loop, until all is done. */
static void stop_waits(void **state)
{
	struct fixture *f = *state;
	pthread_t t;

	hold = true;
	memset(mem(f, BUF), 0, SECTOR);
	memset(mem(f, BUF + SECTOR), 0x99, SECTOR);
	offer(f, 0, VIRTIO_BLK_T_IN, 0, &(struct vq_seg){ BUF, SECTOR }, 1);
	offer(f, 1, VIRTIO_BLK_T_OUT, 77, &(struct vq_seg){ BUF + SECTOR, SECTOR }, 1);
	offer(f, 2, VIRTIO_BLK_T_FLUSH, 0, NULL, 0);
	vd_kick(&f->vd, 0);
	vd_pump(&f->vd, 0);
	wait_held(1);
	assert_int_equal(pthread_create(&t, NULL, let_go_later, (void *)(intptr_t)100), 0);
	virtio_dev_stop(f->vd.dev);
	pthread_join(t, NULL);
	assert_null(f->vd.gm.pins);
	assert_int_equal(syncs, 1);
	memset(f->image + 77 * SECTOR, 0x99, SECTOR);
	check_image(f);
	/* A stopped device does not start again. */
	vd_kick(&f->vd, 0);
	offer(f, 0, VIRTIO_BLK_T_IN, 0, &(struct vq_seg){ BUF, SECTOR }, 1);
	vd_pump(&f->vd, 10);
	assert_null(f->vd.gm.pins);
}

/* ---- the engine by itself ---- */

struct engine {
	struct loop loop;
	struct blkio_owner owner;
	struct blkio *io;
	struct blkio_req *last;
	int res;
	unsigned int done;
};

static void engine_done(struct blkio_owner *o, struct blkio_req *req, int res)
{
	struct engine *en = container_of(o, struct engine, owner);

	en->last = req;
	en->res = res;
	en->done++;
}

static void engine_event(struct blkio_owner *o)
{
	blkio_reap(container_of(o, struct engine, owner)->io);
}

/* io_uring only: a read that would wait for ever (an empty pipe) can be cancelled. */
static void cancel_in_the_kernel(void **state)
{
	struct engine en = { .owner = { engine_done, engine_event } };
	char buf[8];
	struct iovec iov = { buf, sizeof(buf) };
	struct blkio_req req = { .op = BLKIO_READ, .iov = &iov, .nr_iov = 1 };
	struct err e;
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_int_equal(loop_init(&en.loop, &e), 0);
	assert_int_equal(blkio_new(&en.loop, p[0], "pipe", 8, false, &en.owner, &en.io, &e), 0);
	assert_true(blkio_uses_uring(en.io));
	blkio_queue(en.io, &req);
	blkio_submit(en.io, 0, 0);
	blkio_wait(&en.io, 1, 20);
	blkio_reap(en.io);
	assert_int_equal(en.done, 0);
	blkio_cancel(en.io, &req);
	for (int i = 0; i < 100 && !en.done; i++)
		loop_once(&en.loop, 100);
	assert_int_equal(en.done, 1);
	assert_ptr_equal(en.last, &req);
	assert_int_equal(en.res, -ECANCELED);
	/* The answer to the cancellation itself does not keep the loop awake. */
	while (loop_once(&en.loop, 50) > 0)
		;

	/* And one that was not even submitted. */
	blkio_queue(en.io, &req);
	blkio_cancel(en.io, &req);
	for (int i = 0; i < 100 && en.done < 2; i++)
		loop_once(&en.loop, 100);
	assert_int_equal(en.done, 2);
	assert_int_equal(en.res, -ECANCELED);

	assert_int_equal(write(p[1], "12345678", 8), 8);
	blkio_queue(en.io, &req);
	blkio_submit(en.io, 0, 0);
	for (int i = 0; i < 100 && en.done < 3; i++)
		loop_once(&en.loop, 100);
	assert_int_equal(en.res, 8);
	assert_memory_equal(buf, "12345678", 8);
	blkio_free(en.io);
	loop_destroy(&en.loop);
	close(p[0]);
	close(p[1]);
}

static bool probe_uring(void)
{
	struct engine en = { .owner = { engine_done, engine_event } };
	bool works = false;
	struct err e;

	if (!loop_init(&en.loop, &e)) {
		if (!blkio_new(&en.loop, STDIN_FILENO, "probe", 8, false, &en.owner, &en.io, &e)) {
			works = blkio_uses_uring(en.io);
			blkio_free(en.io);
		}
		loop_destroy(&en.loop);
	}
	return works;
}

int main(void)
{
#define BOTH(t)	{ #t " (io_uring)", t, setup_uring, teardown, NULL }, \
		{ #t " (thread)", t, setup_threads, teardown, NULL }
#define REALM(t) { #t " (io_uring)", t, setup_uring_realm, teardown, NULL }, \
		 { #t " (thread)", t, setup_threads_realm, teardown, NULL }
#define THREAD(t) { #t " (thread)", t, setup_threads, teardown, NULL }
	static const struct CMUnitTest tests[] = {
		BOTH(configuration), BOTH(not_a_disk), BOTH(read_and_write), BOTH(any_framing),
		BOTH(bad_requests), BOTH(bad_addresses), REALM(private_pages), BOTH(flush_and_id),
		BOTH(read_only), BOTH(no_flush_means_write_through), BOTH(discard),
		BOTH(write_zeroes), BOTH(bad_ranges), THREAD(no_fallocate), THREAD(host_error),
		THREAD(short_transfers), BOTH(image_gets_shorter), BOTH(many_requests),
		BOTH(deep_queue), BOTH(direct), THREAD(reset_in_flight),
		THREAD(reset_with_a_dead_disk), BOTH(reset_races_with_io),
		{ "conversion_cancels (thread)", conversion_cancels, setup_threads_realm, teardown,
		  NULL },
		THREAD(stop_waits),
	};
	static const struct CMUnitTest uring_tests[] = {
		cmocka_unit_test(cancel_in_the_kernel),
	};
	int failed;

	log_set_level(LOG_ERROR);
	uring_works = probe_uring();
	if (!uring_works)
		fprintf(stderr, "no io_uring here: its tests run on the worker thread\n");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (uring_works)
		failed += cmocka_run_group_tests(uring_tests, NULL, NULL);
	return failed;
}
