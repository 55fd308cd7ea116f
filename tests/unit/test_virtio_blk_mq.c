// SPDX-License-Identifier: BSD-3-Clause
/*
 * The block device with several queues, on both kinds of rings; what its configuration space can
 * do; its pace; and a stress test in which threads serve the queues, as in a machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/virtio_blk.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/vdriver.h"
#include "virtio/blk_int.h"

#define SECTOR		512
#define DISK_SIZE	(4u << 20)
#define SECTORS		(DISK_SIZE / SECTOR)
#define QUEUES		4
#define RING		128
#define NO_STATUS	0xee
/* Of queue q: headers, status bytes, and data in pieces of 4 KiB */
#define HDR(q)		(VD_DATA + 0x10000 * (q))
#define STATUS(q)	(VD_DATA + 0x10000 * (q) + 0x8000)
#define BUF(q)		(VD_DATA + 0x100000 + 0x100000 * (q))
#define PIECE		4096
#define FEATURES	(VD_F_ALL | VD_F(VIRTIO_BLK_F_FLUSH) | VD_F(VIRTIO_BLK_F_MQ) | \
			 VD_F(VIRTIO_F_RING_RESET))
#define CONFIG(field)	(VIRTIO_MMIO_CONFIG + offsetof(struct virtio_blk_config, field))

/* ---- the worker's system calls ---- */

static _Atomic bool hold;		/* reads of sector 0 wait until this is false */
static _Atomic unsigned int held, syncs;
static _Atomic int last_write_flags, write_error, sync_error;
static _Atomic unsigned int interrupted;	/* writes that are to begin anew */

ssize_t preadv(int fd, const struct iovec *iov, int n, off_t off)
{
	held += !off;
	while (hold && !off)
		usleep(500);
	held -= !off;
	return syscall(SYS_preadv, fd, iov, n, (long)off, 0L);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	last_write_flags = flags;
	if (write_error || interrupted) {
		errno = write_error ? write_error : interrupted-- % 2 ? EINTR : ECANCELED;
		return -1;
	}
	return syscall(SYS_pwritev2, fd, iov, n, (long)off, 0L, flags);
}

int fdatasync(int fd)
{
	syncs++;
	if (sync_error) {
		errno = sync_error;
		return -1;
	}
	return syscall(SYS_fdatasync, fd);
}

/* ---- the fixture ---- */

struct fixture {
	struct vdriver vd;
	int fd;
	bool threads;
	uint64_t rings;		/* features that pick the kind of ring */
	uint8_t *image;
};

static int temp_file(void)
{
	const char *dir = getenv("TMPDIR");
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/test_blk_mq.XXXXXX", dir ? dir : "/tmp");
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

static struct virtio_blk_cfg config(struct fixture *f)
{
	return (struct virtio_blk_cfg){ .fd = f->fd, .path = "test", .no_uring = f->threads,
					.queues = QUEUES, .queue_size = RING };
}

static void detach(struct fixture *f)
{
	if (!f->vd.dev)
		return;
	virtio_dev_stop(f->vd.dev);
	virtio_mmio_free(f->vd.mmio);
	virtio_dev_free(f->vd.dev);
	f->vd.bus.nr = 0;
	f->vd.dev = NULL;
}

static void attach(struct fixture *f, const struct virtio_blk_cfg *cfg)
{
	struct virtio_dev *dev;
	struct err e;

	detach(f);
	assert_int_equal(virtio_blk_new(&f->vd.env, cfg, &dev, &e), 0);
	vd_attach(&f->vd, dev);
}

static int setup_common(void **state, bool threads, uint64_t rings)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct virtio_blk_cfg cfg;

	hold = false;
	last_write_flags = write_error = sync_error = 0;
	syncs = interrupted = 0;
	f->threads = threads;
	f->rings = rings;
	f->image = malloc(DISK_SIZE);
	for (unsigned int i = 0; i < DISK_SIZE; i++)
		f->image[i] = (i / SECTOR) * 7 + i % 251 + 1;
	f->fd = temp_file();
	assert_true(f->fd >= 0);
	assert_int_equal(write(f->fd, f->image, DISK_SIZE), DISK_SIZE);
	vd_init(&f->vd, false);
	f->vd.env.packed = true;
	cfg = config(f);
	attach(f, &cfg);
	vd_start(&f->vd, FEATURES | rings, QUEUES, RING);
	*state = f;
	return 0;
}

static int setup_uring(void **state)
{
	return setup_common(state, false, 0);
}

static int setup_uring_packed(void **state)
{
	return setup_common(state, false, VD_F_PACKED);
}

static int setup_threads(void **state)
{
	return setup_common(state, true, 0);
}

static int setup_threads_packed(void **state)
{
	return setup_common(state, true, VD_F_PACKED);
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

/* Request @i of queue @q: one piece of data, or none with @len 0 */
static uint16_t offer(struct fixture *f, unsigned int q, unsigned int i, uint32_t type,
		      uint64_t sector, uint32_t len)
{
	struct virtio_blk_outhdr hdr = { .type = type, .sector = sector };
	struct vq_seg seg[3] = { { HDR(q) + 16 * i, 16 }, { BUF(q) + PIECE * i, len } };
	unsigned int nr = len ? 2 : 1;

	memcpy(mem(f, HDR(q) + 16 * i), &hdr, sizeof(hdr));
	*mem(f, STATUS(q) + i) = NO_STATUS;
	seg[nr] = (struct vq_seg){ STATUS(q) + i, 1 };
	return vd_add(&f->vd, q, seg, nr + 1, type == VIRTIO_BLK_T_IN ? 1 : nr);
}

static uint8_t request(struct fixture *f, unsigned int q, uint32_t type, uint64_t sector,
		       uint32_t len)
{
	uint16_t head = offer(f, q, 0, type, sector, len);

	vd_kick(&f->vd, q);
	assert_int_equal(vd_wait(&f->vd, q).id, head);
	return *mem(f, STATUS(q));
}

static void works(struct fixture *f, unsigned int q, uint64_t sector)
{
	memset(mem(f, BUF(q)), 0, SECTOR);
	assert_int_equal(request(f, q, VIRTIO_BLK_T_IN, sector, SECTOR), VIRTIO_BLK_S_OK);
	assert_memory_equal(mem(f, BUF(q)), f->image + sector * SECTOR, SECTOR);
}

/* ---- queues ---- */

static void configuration(void **state)
{
	struct fixture *f = *state;
	struct virtio_blk_cfg cfg = config(f);
	struct virtio_dev *dev;
	struct err e;

	assert_true(vd_features(&f->vd) & VD_F(VIRTIO_BLK_F_MQ));
	assert_true(vd_features(&f->vd) & VD_F(VIRTIO_F_RING_RESET));
	assert_int_equal(vd_access(&f->vd, CONFIG(num_queues), 0, 2, false), QUEUES);
	assert_int_equal(vd_get(&f->vd, CONFIG(seg_max)), RING - 2);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_QUEUE_NUM_MAX), RING);
	/* One queue needs no feature; a long one makes for no longer requests. */
	cfg.queues = 0;
	cfg.queue_size = 32768;
	attach(f, &cfg);
	assert_false(vd_features(&f->vd) & VD_F(VIRTIO_BLK_F_MQ));
	assert_int_equal(vd_access(&f->vd, CONFIG(num_queues), 0, 2, false), 1);
	assert_int_equal(vd_get(&f->vd, CONFIG(seg_max)), 254);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_QUEUE_NUM_MAX), 32768);
	cfg.queue_size = 16;
	attach(f, &cfg);
	assert_int_equal(vd_get(&f->vd, CONFIG(seg_max)), 14);
	cfg.queues = BLK_MAX_QUEUES + 1;
	assert_int_equal(virtio_blk_new(&f->vd.env, &cfg, &dev, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "at most"));
}

static void all_queues(void **state)
{
	struct fixture *f = *state;

	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int q = 0; q < QUEUES; q++)
			for (unsigned int i = 0; i < RING / 3; i++)
				offer(f, q, i, VIRTIO_BLK_T_IN, 64 * q + 8 * i, PIECE);
		for (unsigned int q = 0; q < QUEUES; q++)
			vd_kick(&f->vd, q);
		for (unsigned int q = QUEUES; q-- > 0;) {
			for (unsigned int i = 0; i < RING / 3; i++)
				vd_wait(&f->vd, q);
			for (unsigned int i = 0; i < RING / 3; i++) {
				assert_int_equal(*mem(f, STATUS(q) + i), VIRTIO_BLK_S_OK);
				assert_memory_equal(mem(f, BUF(q) + PIECE * i),
						    f->image + (64 * q + 8 * i) * SECTOR, PIECE);
				memset(mem(f, BUF(q) + PIECE * i), 0, PIECE);
			}
		}
	}
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
	usleep(100000);
	hold = false;
	return NULL;
}

/* Worker only: one queue is reset while it waits for the disk; the others do not notice. */
static void queue_reset(void **state)
{
	struct fixture *f = *state;
	struct vring_used_elem u;
	pthread_t t;

	hold = true;
	offer(f, 1, 0, VIRTIO_BLK_T_IN, 0, SECTOR);
	vd_kick(&f->vd, 1);
	offer(f, 2, 1, VIRTIO_BLK_T_IN, 0, SECTOR);
	vd_kick(&f->vd, 2);
	vd_pump(&f->vd, 0);
	wait_held(2);
	works(f, 0, 9);
	assert_int_equal(pthread_create(&t, NULL, let_go_later, NULL), 0);
	vd_set(&f->vd, VIRTIO_MMIO_QUEUE_SEL, 1);
	vd_set(&f->vd, 0x0c0 /* QueueReset */, 1);
	assert_false(hold);
	pthread_join(t, NULL);
	assert_int_equal(vd_get(&f->vd, 0x0c0), 0);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_QUEUE_READY), 0);
	assert_false(vd_used(&f->vd, 1, &u));
	assert_int_equal(*mem(f, STATUS(1)), NO_STATUS);
	vd_wait(&f->vd, 2);
	assert_int_equal(*mem(f, STATUS(2) + 1), VIRTIO_BLK_S_OK);
	works(f, 3, 9);
	vd_ring_init(&f->vd, 1, RING);
	vd_queue(&f->vd, 1);
	works(f, 1, 9);
	assert_null(f->vd.gm.pins);
}

/* Worker only: a reset of all waits for each queue. */
static void reset_of_all(void **state)
{
	struct fixture *f = *state;
	pthread_t t;

	hold = true;
	for (unsigned int q = 0; q < QUEUES; q++) {
		offer(f, q, 0, VIRTIO_BLK_T_IN, 0, SECTOR);
		vd_kick(&f->vd, q);
	}
	vd_pump(&f->vd, 0);
	wait_held(QUEUES);
	assert_int_equal(pthread_create(&t, NULL, let_go_later, NULL), 0);
	vd_set(&f->vd, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(held, 0);
	pthread_join(t, NULL);
	assert_null(f->vd.gm.pins);
	vd_start(&f->vd, FEATURES | f->rings, QUEUES, RING);
	works(f, QUEUES - 1, 0);
}

/* Worker only: what the disk says is what the guest gets, and the next request is a new one. */
static void disk_errors(void **state)
{
	struct fixture *f = *state;
	static const int errors[] = { ENOSPC, EIO, EDQUOT, EROFS };

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		write_error = errors[i];
		assert_int_equal(request(f, 0, VIRTIO_BLK_T_OUT, 9, SECTOR), VIRTIO_BLK_S_IOERR);
		write_error = 0;
		sync_error = errors[i];
		assert_int_equal(request(f, 1, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_IOERR);
		sync_error = 0;
		works(f, 2, 9);
	}
	/* Not the disk's fault, nor asked for: tried again, but not for ever. */
	memcpy(mem(f, BUF(0)), f->image + 9 * SECTOR, SECTOR);
	interrupted = 4;
	assert_int_equal(request(f, 0, VIRTIO_BLK_T_OUT, 9, SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(interrupted, 0);
	interrupted = 1000;
	assert_int_equal(request(f, 0, VIRTIO_BLK_T_OUT, 9, SECTOR), VIRTIO_BLK_S_IOERR);
	interrupted = 0;
	works(f, 3, 9);
	assert_null(f->vd.gm.pins);
}

/* ---- configuration space ---- */

static void cache_modes(void **state)
{
	struct fixture *f = *state;
	struct virtio_blk_cfg cfg = config(f);
	const uint64_t wce = FEATURES | f->rings | VD_F(VIRTIO_BLK_F_CONFIG_WCE);

	/* The default: a flush is needed, and the driver can have it otherwise. */
	assert_true(vd_features(&f->vd) & VD_F(VIRTIO_BLK_F_CONFIG_WCE));
	vd_start(&f->vd, wce, QUEUES, RING);
	assert_int_equal(vd_access(&f->vd, CONFIG(wce), 0, 1, false), 1);
	assert_int_equal(request(f, 0, VIRTIO_BLK_T_OUT, 8, SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(last_write_flags, 0);
	vd_access(&f->vd, CONFIG(wce), 0, 1, true);
	assert_int_equal(vd_access(&f->vd, CONFIG(wce), 0, 1, false), 0);
	assert_int_equal(request(f, 1, VIRTIO_BLK_T_OUT, 8, SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(last_write_flags, RWF_DSYNC);
	vd_access(&f->vd, CONFIG(wce), 7, 1, true);
	assert_int_equal(vd_access(&f->vd, CONFIG(wce), 0, 1, false), 1);
	assert_int_equal(request(f, 1, VIRTIO_BLK_T_OUT, 8, SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(last_write_flags, 0);
	/* Nothing else can be written, and this by who accepted the feature only. */
	vd_access(&f->vd, VIRTIO_MMIO_CONFIG, 0xff, 1, true);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG), SECTORS);
	vd_start(&f->vd, FEATURES | f->rings, QUEUES, RING);
	vd_access(&f->vd, CONFIG(wce), 0, 1, true);
	assert_int_equal(vd_access(&f->vd, CONFIG(wce), 0, 1, false), 1);
	/* Who knows no flush has no cache. */
	vd_start(&f->vd, wce & ~VD_F(VIRTIO_BLK_F_FLUSH), QUEUES, RING);
	assert_int_equal(vd_access(&f->vd, CONFIG(wce), 0, 1, false), 0);
	vd_access(&f->vd, CONFIG(wce), 1, 1, true);
	assert_int_equal(request(f, 0, VIRTIO_BLK_T_OUT, 8, SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(last_write_flags, RWF_DSYNC);

	cfg.cache = VIRTIO_BLK_CACHE_WRITETHROUGH;
	attach(f, &cfg);
	vd_start(&f->vd, wce, QUEUES, RING);
	assert_int_equal(vd_access(&f->vd, CONFIG(wce), 0, 1, false), 0);
	last_write_flags = 0;
	assert_int_equal(request(f, 2, VIRTIO_BLK_T_OUT, 8, SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(last_write_flags, RWF_DSYNC);
	vd_access(&f->vd, CONFIG(wce), 1, 1, true);
	assert_int_equal(request(f, 2, VIRTIO_BLK_T_OUT, 8, SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(last_write_flags, 0);
	/* A reset brings the user's choice back. */
	vd_set(&f->vd, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(vd_access(&f->vd, CONFIG(wce), 0, 1, false), 0);

	cfg.cache = VIRTIO_BLK_CACHE_UNSAFE;
	attach(f, &cfg);
	assert_false(vd_features(&f->vd) & VD_F(VIRTIO_BLK_F_FLUSH));
	assert_false(vd_features(&f->vd) & VD_F(VIRTIO_BLK_F_CONFIG_WCE));
	vd_start(&f->vd, (FEATURES | f->rings) & ~VD_F(VIRTIO_BLK_F_FLUSH), QUEUES, RING);
	syncs = 0;
	assert_int_equal(request(f, 0, VIRTIO_BLK_T_OUT, 8, SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(request(f, 0, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(last_write_flags, 0);
	assert_int_equal(syncs, 0);
}

static void resize(void **state)
{
	struct fixture *f = *state;
	struct virtio_dev *rng;
	struct err e;

	assert_int_equal(virtio_blk_resize(f->vd.dev), 0);
	vd_set(&f->vd, VIRTIO_MMIO_INTERRUPT_ACK, 3);
	assert_int_equal(request(f, 0, VIRTIO_BLK_T_IN, SECTORS, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ftruncate(f->fd, DISK_SIZE + 10 * SECTOR + 1), 0);
	assert_int_equal(virtio_blk_resize(f->vd.dev), 1);
	assert_true(vd_get(&f->vd, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG), SECTORS + 10);
	assert_int_equal(request(f, 0, VIRTIO_BLK_T_IN, SECTORS, SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(request(f, 1, VIRTIO_BLK_T_OUT, SECTORS + 9, SECTOR), VIRTIO_BLK_S_OK);
	/* Shorter: what is beyond fails before it reaches the file, which must not grow again. */
	assert_int_equal(ftruncate(f->fd, 8 * SECTOR), 0);
	assert_int_equal(virtio_blk_resize(f->vd.dev), 1);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG), 8);
	assert_int_equal(request(f, 2, VIRTIO_BLK_T_OUT, 8, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(f, 2, VIRTIO_BLK_T_OUT, 7, 2 * SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(lseek(f->fd, 0, SEEK_END), 8 * SECTOR);
	works(f, 3, 7);
	assert_int_equal(virtio_rng_new(&f->vd.env, &rng, &e), 0);
	assert_int_equal(virtio_blk_resize(rng), -ENOTTY);
	virtio_dev_free(rng);
}

static void no_discard(void **state)
{
	struct fixture *f = *state;
	struct virtio_blk_cfg cfg = config(f);
	struct virtio_blk_discard_write_zeroes z = { 1024, 1024,
						     VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP };
	struct stat before, after;

	cfg.no_discard = true;
	attach(f, &cfg);
	assert_false(vd_features(&f->vd) & VD_F(VIRTIO_BLK_F_DISCARD));
	assert_true(vd_features(&f->vd) & VD_F(VIRTIO_BLK_F_WRITE_ZEROES));
	assert_int_equal(vd_access(&f->vd, CONFIG(write_zeroes_may_unmap), 0, 1, false), 0);
	vd_start(&f->vd, FEATURES | f->rings, QUEUES, RING);
	memcpy(mem(f, BUF(0)), &z, sizeof(z));
	fsync(f->fd);
	fstat(f->fd, &before);
	assert_int_equal(request(f, 0, VIRTIO_BLK_T_DISCARD, 0, sizeof(z)), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(f, 0, VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(z)), VIRTIO_BLK_S_OK);
	fsync(f->fd);
	fstat(f->fd, &after);
	assert_in_range(after.st_blocks, before.st_blocks - 64, before.st_blocks + 64);
	memset(f->image + 1024 * SECTOR, 0, 1024 * SECTOR);
	works(f, 1, 1024);
	works(f, 1, 2047);
	works(f, 1, 2048);
}

/* ---- pace ---- */

/* A guest with @depth requests on their way; returns where the number that is worth a kick ends. */
static unsigned int settle(struct blk_pace *p, unsigned int depth, unsigned int rounds,
			   unsigned int *late)
{
	*late = 0;
	for (unsigned int i = 0; i < rounds; i++) {
		unsigned int asked = blk_pace_ask(p, 0);
		bool enough = depth >= asked;

		*late += !enough;
		blk_pace_came(p, depth, asked, !enough);
	}
	return p->want;
}

static void pace_of_kicks(void **state)
{
	struct blk_pace p;
	unsigned int late;

	/* One at a time is never kept waiting. */
	blk_pace_init(&p);
	assert_int_equal(settle(&p, 1, 10000, &late), 1);
	assert_int_equal(late, 0);
	/* Nor are a few, or hardly ever; many soon share a kick. */
	blk_pace_init(&p);
	settle(&p, 4, 10000, &late);
	assert_int_equal(late, 0);
	blk_pace_init(&p);
	settle(&p, 8, 10000, &late);
	assert_in_range(late, 1, 40);
	blk_pace_init(&p);
	assert_in_range(settle(&p, 32, 1000, &late), 16, 33);
	assert_in_range(late, 1, 40);
	assert_in_range(settle(&p, 1000, 10000, &late), 64, 64);
	/* And back, at once. */
	settle(&p, 1, 8, &late);
	assert_int_equal(blk_pace_ask(&p, 0), 1);
	/* A disk that is busy gets each request at once. */
	p.want = 20;
	assert_int_equal(blk_pace_ask(&p, 0), 20);
	assert_int_equal(blk_pace_ask(&p, 1), 1);
}

static void pace_of_interrupts(void **state)
{
	struct blk_pace p;
	unsigned int waits = 0;

	blk_pace_init(&p);
	assert_int_equal(blk_pace_want(&p, 0), 0);
	assert_int_equal(blk_pace_want(&p, 7), 0);
	assert_int_equal(blk_pace_want(&p, 32), 16);
	assert_int_equal(blk_pace_want(&p, 1000), 64);
	/* A disk that is never fast enough is hardly waited for any more. */
	for (int i = 0; i < 10000; i++) {
		unsigned int want = blk_pace_want(&p, 32);

		waits += want > 0;
		blk_pace_waited(&p, want, 0);
	}
	assert_in_range(waits, 5, 30);
	/* One that is fast, always. */
	blk_pace_init(&p);
	for (int i = 0; i < 100; i++) {
		unsigned int want = blk_pace_want(&p, 32);

		assert_int_equal(want, 16);
		blk_pace_waited(&p, want, 10);
	}
	/* It follows the cost of an interrupt, within bounds. */
	for (int i = 0; i < 100; i++)
		blk_pace_told(&p, 10000);
	assert_in_range(blk_pace_hold(&p), 60000, 80000);
	for (int i = 0; i < 1000; i++)
		blk_pace_told(&p, UINT64_MAX);
	assert_in_range(blk_pace_patience(&p), 1, 10000000);
	for (int i = 0; i < 10000; i++)
		blk_pace_told(&p, 0);
	assert_in_range(blk_pace_hold(&p), 1, 20000);
}

/* When a kick is for many, one request alone is served without one. */
static void one_after_many(void **state)
{
	struct fixture *f = *state;
	unsigned int quiet = 0;

	for (unsigned int round = 0; round < 400; round++) {
		/* bursts, and single ones among them */
		unsigned int n = round % 16 < 12 ? RING / 3 : 1;

		for (unsigned int i = 0; i < n; i++)
			offer(f, 0, i, VIRTIO_BLK_T_IN, 8 * i, PIECE);
		if (vd_wants_kick(&f->vd, 0))
			vd_kick(&f->vd, 0);
		else
			quiet++;
		for (unsigned int i = 0; i < n; i++)
			vd_wait(&f->vd, 0);
		for (unsigned int i = 0; i < n; i++)
			assert_int_equal(*mem(f, STATUS(0) + i), VIRTIO_BLK_S_OK);
	}
	/* The test is worth something only if that has happened. */
	if (!f->threads)
		assert_true(quiet > 0);
}

/* Packed only: the entry that is worth a kick is there, the first one is not. */
static void hole_in_the_ring(void **state)
{
	struct fixture *f = *state;
	struct blk_queue *bq = &container_of(f->vd.dev, struct virtio_blk, dev)->queue[0];
	uint64_t begin = loop_now();

	works(f, 0, 9);
	bq->pace = (struct blk_pace){ .cost = 1000, .want = 8 };
	vd_packed_desc(&f->vd, 0, f->vd.ring[0].next_avail + 7, HDR(0), 16, 0, 0);
	for (int i = 0; i < 20; i++) {
		vd_kick(&f->vd, 0);
		vd_pump(&f->vd, 1);
	}
	/* It did not spin on that; and the next request is served as ever. */
	assert_true(loop_now() - begin < 5000000000ULL);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
	works(f, 0, 9);
}

/* ---- threads ---- */

struct server {
	struct loop loop;
	pthread_t id;
};

static void *serve_loop(void *arg)
{
	loop_run(&((struct server *)arg)->loop);
	return NULL;
}

static void thread_wait(struct fixture *f, unsigned int q)
{
	struct vring_used_elem u;

	for (int i = 0; !vd_used(&f->vd, q, &u); i++) {
		if (i > 200000)
			fail_msg("queue %u: nothing came back", q);
		usleep(50);
	}
}

/*
 * Two threads serve four queues. Each queue has a quarter of the disk to itself, in which it writes
 * and reads at random; resets, of all or of one queue, come in between; in the end the file must be
 * what was written.
 */
static void stress(void **state)
{
	struct fixture *f = *state;
	struct server s[2];
	struct loop *loops[2] = { &s[0].loop, &s[1].loop };
	struct virtio_blk_cfg cfg = config(f);
	const unsigned int n = 24, blocks = DISK_SIZE / PIECE / QUEUES;
	uint8_t *now = malloc(DISK_SIZE);
	unsigned int seed = 7;
	struct err e;

	detach(f);
	for (int i = 0; i < 2; i++)
		assert_int_equal(loop_init(&s[i].loop, &e), 0);
	f->vd.env.loops = loops;
	f->vd.env.nr_loops = 2;
	attach(f, &cfg);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&s[i].id, NULL, serve_loop, &s[i]), 0);
	vd_start(&f->vd, FEATURES | f->rings, QUEUES, RING);

	for (unsigned int round = 0; round < 200; round++) {
		for (unsigned int q = 0; q < QUEUES; q++) {
			for (unsigned int i = 0; i < n; i++) {
				/* No block twice in a round: nothing orders them. */
				unsigned int b = q * blocks + rand_r(&seed) % (blocks / n) * n + i;
				bool out = i % 3;

				for (unsigned int j = 0; j < PIECE; j += 64)
					memset(mem(f, BUF(q) + PIECE * i + j), rand_r(&seed), 64);
				if (out)
					memcpy(f->image + (size_t)b * PIECE,
					       mem(f, BUF(q) + PIECE * i), PIECE);
				offer(f, q, i, out ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, b * 8ULL,
				      PIECE);
				if (vd_wants_kick(&f->vd, q))
					vd_kick(&f->vd, q);
			}
		}
		if (round % 20 == 7) {
			vd_set(&f->vd, VIRTIO_MMIO_STATUS, 0);
			assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_STATUS), 0);
			assert_int_equal(pread(f->fd, f->image, DISK_SIZE, 0), DISK_SIZE);
			vd_start(&f->vd, FEATURES | f->rings, QUEUES, RING);
			continue;
		}
		for (unsigned int q = 0; q < QUEUES; q++) {
			if (round % 20 == 13 && q == 2) {
				vd_set(&f->vd, VIRTIO_MMIO_QUEUE_SEL, q);
				vd_set(&f->vd, 0x0c0, 1);
				assert_int_equal(vd_get(&f->vd, 0x0c0), 0);
				assert_int_equal(pread(f->fd, f->image + DISK_SIZE / QUEUES * q,
						       DISK_SIZE / QUEUES, DISK_SIZE / QUEUES * q),
						 DISK_SIZE / QUEUES);
				vd_ring_init(&f->vd, q, RING);
				vd_queue(&f->vd, q);
				continue;
			}
			for (unsigned int i = 0; i < n; i++)
				thread_wait(f, q);
			for (unsigned int i = 0; i < n; i++) {
				uint64_t sector = ((struct virtio_blk_outhdr *)
						   mem(f, HDR(q) + 16 * i))->sector;

				assert_int_equal(*mem(f, STATUS(q) + i), VIRTIO_BLK_S_OK);
				assert_memory_equal(mem(f, BUF(q) + PIECE * i),
						    f->image + sector * SECTOR, PIECE);
			}
		}
		if (round % 10 == 1)
			virtio_blk_resize(f->vd.dev);
	}
	/* A stop in the middle: all that was begun ends. */
	for (unsigned int i = 0; i < n; i++)
		offer(f, 0, i, VIRTIO_BLK_T_IN, 8 * i, PIECE);
	vd_kick(&f->vd, 0);
	for (int i = 0; i < 2; i++)
		loop_stop(&s[i].loop);
	for (int i = 0; i < 2; i++)
		pthread_join(s[i].id, NULL);
	detach(f);
	assert_null(f->vd.gm.pins);
	for (int i = 0; i < 2; i++)
		loop_destroy(&s[i].loop);
	assert_int_equal(pread(f->fd, now, DISK_SIZE, 0), DISK_SIZE);
	assert_true(memcmp(now, f->image, DISK_SIZE) == 0);
	free(now);
}

int main(void)
{
#define ALL(t)	{ #t " (io_uring)", t, setup_uring, teardown, NULL }, \
		{ #t " (io_uring, packed)", t, setup_uring_packed, teardown, NULL }, \
		{ #t " (thread)", t, setup_threads, teardown, NULL }, \
		{ #t " (thread, packed)", t, setup_threads_packed, teardown, NULL }
#define THREAD(t) { #t " (thread)", t, setup_threads, teardown, NULL }, \
		{ #t " (thread, packed)", t, setup_threads_packed, teardown, NULL }
	static const struct CMUnitTest tests[] = {
		ALL(configuration), ALL(all_queues), THREAD(queue_reset), THREAD(reset_of_all),
		THREAD(disk_errors),
		THREAD(cache_modes), ALL(resize), ALL(no_discard),
		cmocka_unit_test(pace_of_kicks), cmocka_unit_test(pace_of_interrupts),
		ALL(one_after_many),
		{ "hole_in_the_ring (io_uring)", hole_in_the_ring, setup_uring_packed, teardown, NULL },
		{ "hole_in_the_ring (thread)", hole_in_the_ring, setup_threads_packed, teardown, NULL },
		ALL(stress),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
