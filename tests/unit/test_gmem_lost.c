// SPDX-License-Identifier: BSD-3-Clause
/*
 * Memory that is lost under the hands of a device: real SIGBUS, from a file that was cut short.
 * Who is hit fails, the others go on, and what comes back is put back.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_console.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/vdriver.h"
#include "virtio/dev.h"

#define PAGE	SZ_4K
#define CUT	(VD_RAM_SIZE / 2)
#define GONE	(VD_RAM + CUT)		/* from here on there is no memory after cut() */
#define HDR	VD_DATA
#define STATUS	(VD_DATA + 0x1000)
#define BUF	(VD_DATA + 0x2000)
#define DISK	SZ_64K
#define NO_STATUS 0xee

struct fixture {
	struct vdriver vd;
	int ram, disk;		/* memfds */
	struct vq vq;
	unsigned int broken, notified;
};

static void cut(struct fixture *f)
{
	assert_int_equal(ftruncate(f->ram, CUT), 0);
}

static void grow(struct fixture *f)
{
	assert_int_equal(ftruncate(f->ram, VD_RAM_SIZE), 0);
}

/* One page is gone: the end of an empty file. */
static void lose(struct fixture *f, ipa_t ipa)
{
	int fd = memfd_create("empty", MFD_CLOEXEC);
	void *at = vd_ptr(&f->vd, ALIGN_DOWN(ipa, PAGE));

	assert_true(fd >= 0);
	assert_ptr_equal(mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0), at);
	close(fd);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	vd_init(&f->vd, false);
	f->ram = memfd_create("ram", MFD_CLOEXEC);
	f->disk = memfd_create("disk", MFD_CLOEXEC);
	assert_true(f->ram >= 0 && f->disk >= 0);
	assert_int_equal(ftruncate(f->disk, DISK), 0);
	grow(f);
	assert_ptr_equal(mmap(f->vd.ram, VD_RAM_SIZE, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_FIXED, f->ram, 0), f->vd.ram);
	f->vd.gm.region[0].fd = f->ram;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vq_destroy(&f->vq);
	vd_destroy(&f->vd);
	close(f->ram);
	close(f->disk);
	free(f);
	return 0;
}

/* cmocka puts a handler of its own around each function: ours has to be put there in the test. */
static struct fixture *armed(void **state)
{
	struct gmem gm;

	signal(SIGBUS, SIG_DFL);
	assert_int_equal(gmem_init(&gm, NULL), 0);
	gmem_destroy(&gm);
	return *state;
}

/* ---- the door -------------------------------------------------------------------------------- */

static void copies(void **state)
{
	struct fixture *f = armed(state);
	struct gmem *gm = &f->vd.gm;
	uint8_t buf[2 * PAGE], *p;
	void *q;

	memset(f->vd.ram, 0x5a, VD_RAM_SIZE);
	cut(f);
	/* half of it is there */
	assert_int_equal(gmem_read(gm, GONE - 8, buf, 16), -EIO);
	assert_int_equal(gmem_write(gm, GONE + PAGE, buf, 8), -EIO);
	assert_int_equal(gmem_write(gm, GONE + 2 * PAGE, buf, PAGE), -EIO);
	assert_int_equal(gm->nr_lost, 3);
	/* the door knows these, and nothing else is touched */
	gmem_enter(gm);
	assert_int_equal(gmem_map(gm, GONE, 8, &q), -EIO);
	assert_null(q);
	assert_int_equal(gmem_map(gm, GONE - 8, 16, &q), -EIO);
	assert_int_equal(gmem_leave(gm), 0);
	assert_int_equal(gmem_read(gm, GONE - PAGE, buf, PAGE), 0);
	assert_int_equal(buf[0], 0x5a);
	assert_int_equal(gmem_write(gm, VD_RAM2, buf, PAGE), 0);

	/* the file has them again: zeros, as after ftruncate() */
	grow(f);
	assert_int_equal(gmem_restore(gm, GONE, PAGE), 0);
	assert_int_equal(gmem_read(gm, GONE, buf, 8), 0);
	assert_int_equal(buf[0], 0);
	assert_int_equal(gmem_read(gm, GONE + PAGE, buf, 8), -EIO);
	assert_int_equal(gmem_restore(gm, VD_RAM, VD_RAM_SIZE + VD_RAM2_SIZE), 0);
	assert_int_equal(gm->nr_lost, 0);
	assert_int_equal(gmem_write(gm, GONE + 2 * PAGE, "back", 4), 0);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, f->ram, CUT + 2 * PAGE);
	assert_memory_equal(p, "back", 4);
	munmap(p, PAGE);
}

static void pointers(void **state)
{
	struct fixture *f = armed(state);
	struct gmem *gm = &f->vd.gm;
	volatile uint8_t *p;
	void *q;

	cut(f);
	gmem_enter(gm);
	assert_int_equal(gmem_map(gm, GONE - 1, 2, &q), 0);
	p = q;
	p[0] = 1;
	assert_int_equal(gmem_check(gm, GONE - 1, 1), 0);
	assert_false(gmem_hit(gm));
	p[1] = 1;
	assert_true(gmem_hit(gm));
	/* what does not touch it is as good as before, and does not hide it */
	assert_int_equal(gmem_check(gm, GONE - 1, 1), 0);
	assert_true(gmem_hit(gm));
	assert_int_equal(gmem_check(gm, GONE - 1, 2), -EIO);
	assert_false(gmem_hit(gm));
	assert_int_equal(gmem_leave(gm), 0);

	/* nobody asked */
	gmem_enter(gm);
	assert_int_equal(gmem_map(gm, GONE + PAGE, 1, &q), 0);
	*(volatile uint8_t *)q = 1;
	assert_int_equal(gmem_leave(gm), -EIO);
	/* told of one section, not of the next */
	gmem_enter(gm);
	assert_false(gmem_hit(gm));
	assert_int_equal(gmem_leave(gm), 0);
}

static void anonymous(void **state)
{
	struct fixture *f = armed(state);
	struct gmem *gm = &f->vd.gm;
	uint8_t byte;

	lose(f, VD_RAM2 + PAGE);
	assert_int_equal(gmem_read(gm, VD_RAM2 + PAGE, &byte, 1), -EIO);
	assert_int_equal(gmem_read(gm, VD_RAM2, &byte, 1), 0);
	assert_int_equal(gmem_restore(gm, VD_RAM2 + PAGE, PAGE), 0);
	assert_int_equal(gmem_write(gm, VD_RAM2 + PAGE, &byte, 1), 0);
}

/* The file cannot be mapped: still lost, and refused. */
static void no_restore(void **state)
{
	struct fixture *f = armed(state);
	struct gmem *gm = &f->vd.gm;
	uint8_t byte;

	cut(f);
	assert_int_equal(gmem_read(gm, GONE, &byte, 1), -EIO);
	gm->region[0].fd = 1 << 20;
	assert_int_equal(gmem_restore(gm, GONE, 1), -EBADF);
	assert_int_equal(gmem_read(gm, GONE, &byte, 1), -EIO);
	gm->region[0].fd = f->ram;
}

static void pins(void **state)
{
	struct fixture *f = armed(state);
	struct gmem *gm = &f->vd.gm;
	struct gmem_pin pin = { .cancel = NULL }, other = pin;
	uint8_t byte;
	void *p;

	gmem_enter(gm);
	assert_int_equal(gmem_pin(gm, &pin, GONE, 2 * PAGE, &p), 0);
	assert_int_equal(gmem_pin(gm, &other, GONE - PAGE, PAGE, &p), 0);
	assert_int_equal(gmem_leave(gm), 0);
	cut(f);
	assert_int_equal(gmem_read(gm, GONE + PAGE, &byte, 1), -EIO);
	assert_int_equal(gmem_unpin(gm, &pin), -EIO);
	assert_int_equal(gmem_unpin(gm, &other), 0);
}

/* It has its pointer, then another thread is hit on that page: it finds the dummy, and is told. */
struct second {
	struct fixture *f;
	pthread_barrier_t turn;
	int ret;
};

static void *second_thread(void *arg)
{
	struct second *s = arg;
	struct gmem *gm = &s->f->vd.gm;
	void *p;

	gmem_enter(gm);
	s->ret = gmem_map(gm, GONE, 8, &p);
	pthread_barrier_wait(&s->turn);
	pthread_barrier_wait(&s->turn);
	if (!s->ret) {
		*(volatile uint8_t *)p = 1;
		s->ret = gmem_hit(gm) ? -EINVAL : gmem_check(gm, GONE, 8);
	}
	gmem_leave(gm);
	return NULL;
}

static void two_threads(void **state)
{
	struct fixture *f = armed(state);
	struct second s = { .f = f };
	pthread_t thread;
	uint8_t byte;

	pthread_barrier_init(&s.turn, NULL, 2);
	cut(f);
	assert_int_equal(pthread_create(&thread, NULL, second_thread, &s), 0);
	pthread_barrier_wait(&s.turn);
	assert_int_equal(gmem_read(&f->vd.gm, GONE + 100, &byte, 1), -EIO);
	pthread_barrier_wait(&s.turn);
	pthread_join(thread, NULL);
	assert_int_equal(s.ret, -EIO);
	pthread_barrier_destroy(&s.turn);
}

/* ---- the ring -------------------------------------------------------------------------------- */

static void notify(struct vq *vq)
{
	container_of(vq, struct fixture, vq)->notified++;
}

static void broken(struct vq *vq, const char *why)
{
	container_of(vq, struct fixture, vq)->broken++;
}

static const struct vq_ops ops = { notify, broken };

static void queue(struct fixture *f)
{
	const struct vq_seg seg = { GONE, 16 };

	vd_ring_init(&f->vd, 0, 8);
	vq_init(&f->vq, &ops, &f->vd.gm, "test", 0, 8);
	f->vq.desc_addr = f->vd.ring[0].desc_ipa;
	f->vq.driver_addr = f->vd.ring[0].avail_ipa;
	f->vq.device_addr = f->vd.ring[0].used_ipa;
	assert_int_equal(vq_enable(&f->vq, 0), 0);
	vd_add(&f->vd, 0, &seg, 1, 0);
}

/* Each of the three parts, before it is read, and the used ring also just before it is written. */
static void ring_parts(void **state)
{
	struct fixture *f = armed(state);
	struct vq_chain c;

	for (int part = 0; part < 4; part++) {
		ipa_t at;

		queue(f);
		at = part == 0 ? f->vd.ring[0].desc_ipa : part == 1 ? f->vd.ring[0].avail_ipa :
			f->vd.ring[0].used_ipa;
		f->broken = f->notified = 0;
		assert_int_equal(vq_begin(&f->vq), 0);
		if (part < 3)
			lose(f, at);
		if (vq_pop(&f->vq, &c) > 0) {
			assert_int_equal(part, 3);
			lose(f, at);
			vq_push(&f->vq, &c.head, 0);
		}
		vq_end(&f->vq);
		assert_int_equal(f->broken, 1);
		assert_int_equal(f->notified, 0);
		assert_true(f->vq.broken);
		assert_int_equal(vq_begin(&f->vq), -EIO);
		assert_int_equal(gmem_restore(&f->vd.gm, VD_RAM, VD_RAM_SIZE), 0);
		assert_int_equal(f->vd.ring[0].used->idx, 0);
		/* the guest resets it */
		vq_disable(&f->vq);
		vq_destroy(&f->vq);
	}
}

/* The index itself: there until the last moment. */
static void ring_index(void **state)
{
	struct fixture *f = armed(state);
	struct vq_chain c;

	queue(f);
	/* the index and the elements on different pages */
	f->vq.device_addr = VD_RAM + 0x20000 - 4;
	assert_int_equal(vq_begin(&f->vq), 0);
	f->vq.kicks_on = false;		/* no look at the flags, which are on its page */
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	lose(f, f->vq.device_addr);
	vq_push(&f->vq, &c.head, 0);
	vq_end(&f->vq);
	assert_int_equal(f->broken, 1);
	assert_int_equal(f->notified, 0);
}

/* A device that writes through a pointer and does not ask: nothing is published. */
static void careless_device(void **state)
{
	struct fixture *f = armed(state);
	struct vq_chain c;
	void *p;

	queue(f);
	cut(f);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(gmem_map(&f->vd.gm, c.seg[0].addr, 16, &p), 0);
	memset(p, 1, 16);
	vq_push(&f->vq, &c.head, 16);
	vq_end(&f->vq);
	assert_int_equal(f->broken, 1);
	assert_int_equal(f->vd.ring[0].used->idx, 0);
}

/* One that asks loses the request, and the queue goes on. */
static void careful_device(void **state)
{
	struct fixture *f = armed(state);
	struct vring_used_elem u;
	struct vq_chain c;

	queue(f);
	cut(f);
	assert_int_equal(vq_begin(&f->vq), 0);
	assert_int_equal(vq_pop(&f->vq, &c), 1);
	assert_int_equal(vq_write(&f->vq, &c, 0, "0123456789abcdef", 16), -EIO);
	vq_push(&f->vq, &c.head, 0);
	vq_end(&f->vq);
	assert_int_equal(f->broken, 0);
	assert_int_equal(f->notified, 1);
	assert_true(vd_used(&f->vd, 0, &u));
	assert_int_equal(u.len, 0);
}

/* ---- a disk ---------------------------------------------------------------------------------- */

static void disk(struct fixture *f, bool threads, bool direct)
{
	struct virtio_blk_cfg cfg = {
		.fd = f->disk, .path = "test", .serial = "SER-1", .no_uring = threads,
		.direct = direct,
	};
	uint8_t *image = malloc(DISK);
	struct virtio_dev *dev;
	struct err e;

	memset(image, 0x77, DISK);
	assert_int_equal(pwrite(f->disk, image, DISK, 0), DISK);
	free(image);
	assert_int_equal(virtio_blk_new(&f->vd.env, &cfg, &dev, &e), 0);
	vd_attach(&f->vd, dev);
	vd_start(&f->vd, VD_F_ALL | VD_F(VIRTIO_BLK_F_FLUSH), 1, 256);
}

/* Returns the status byte; NO_STATUS if none came. */
static uint8_t request(struct fixture *f, uint32_t type, ipa_t buf, uint32_t len, ipa_t status,
		       uint32_t *used)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct virtio_blk_outhdr hdr = { .type = type, .sector = 1 };
	struct vq_seg seg[3] = { { HDR, sizeof(hdr) }, { buf, len }, { status, 1 } };
	struct vring_used_elem u;

	memcpy(vd_ptr(&f->vd, HDR), &hdr, sizeof(hdr));
	if (status < GONE)
		*(uint8_t *)vd_ptr(&f->vd, status) = NO_STATUS;
	vd_add(&f->vd, 0, seg, 3, in ? 1 : 2);
	vd_kick(&f->vd, 0);
	u = vd_wait(&f->vd, 0);
	if (used)
		*used = u.len;
	return status < GONE ? *(uint8_t *)vd_ptr(&f->vd, status) : NO_STATUS;
}

static void works(struct fixture *f, ipa_t buf)
{
	memset(vd_ptr(&f->vd, buf), 0, 512);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, buf, 512, STATUS, NULL), VIRTIO_BLK_S_OK);
	assert_int_equal(*(uint8_t *)vd_ptr(&f->vd, buf), 0x77);
}

static void disk_requests(struct fixture *f)
{
	/* not aligned, so with O_DIRECT it goes through a bounce buffer; each on a fresh page */
	ipa_t at = GONE + 8;
	uint32_t len;
	uint8_t now;

	works(f, BUF);
	cut(f);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, at, 512, STATUS, &len), VIRTIO_BLK_S_IOERR);
	assert_int_equal(len, 1);
	at += PAGE;
	assert_int_equal(request(f, VIRTIO_BLK_T_OUT, at, 512, STATUS, NULL), VIRTIO_BLK_S_IOERR);
	assert_int_equal(pread(f->disk, &now, 1, 512), 1);
	assert_int_equal(now, 0x77);
	at += PAGE;
	assert_int_equal(request(f, VIRTIO_BLK_T_GET_ID, at, 20, STATUS, NULL), VIRTIO_BLK_S_IOERR);
	at += PAGE;
	assert_int_equal(request(f, VIRTIO_BLK_T_DISCARD, at, 16, STATUS, NULL),
			 VIRTIO_BLK_S_IOERR);
	at += PAGE;
	/* nowhere for the status byte */
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, BUF, 512, at, &len), NO_STATUS);
	assert_int_equal(len, 0);
	assert_int_equal(request(f, VIRTIO_BLK_T_FLUSH, BUF, 1, at + PAGE, &len), NO_STATUS);
	assert_int_equal(len, 0);
	/* the others go on */
	works(f, BUF);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);

	grow(f);
	assert_int_equal(gmem_restore(&f->vd.gm, VD_RAM, VD_RAM_SIZE), 0);
	works(f, GONE + 8);
	works(f, GONE + PAGE);
}

static void disk_uring(void **state)
{
	struct fixture *f = armed(state);

	disk(f, false, false);
	disk_requests(f);
}

static void disk_threads(void **state)
{
	struct fixture *f = armed(state);

	disk(f, true, false);
	disk_requests(f);
}

static void disk_bounced(void **state)
{
	struct fixture *f = armed(state);

	disk(f, true, true);
	disk_requests(f);
}

/* Its ring is lost: the device wants a reset, gets it, and works on memory that came back. */
static void disk_ring(void **state)
{
	struct fixture *f = armed(state);
	struct vq_seg seg[3] = { { HDR, 16 }, { BUF, 512 }, { STATUS, 1 } };

	disk(f, false, false);
	vd_add(&f->vd, 0, seg, 3, 1);
	lose(f, f->vd.ring[0].used_ipa);
	vd_kick(&f->vd, 0);
	vd_pump(&f->vd, 100);
	assert_int_not_equal(vd_get(&f->vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
	assert_int_equal(gmem_restore(&f->vd.gm, VD_RAM, VD_RAM_SIZE), 0);
	assert_int_equal(f->vd.ring[0].used->idx, 0);
	vd_start(&f->vd, VD_F_ALL | VD_F(VIRTIO_BLK_F_FLUSH), 1, 256);
	works(f, BUF);
}

/* ---- not ours -------------------------------------------------------------------------------- */

static int in_child(struct fixture *f, void (*fn)(struct fixture *f))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		alarm(10);
		fn(f);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void touch(struct fixture *f)
{
	*(volatile uint8_t *)vd_ptr(&f->vd, GONE) = 1;
}

static void touch_elsewhere(struct fixture *f)
{
	int fd = memfd_create("empty", MFD_CLOEXEC);
	volatile uint8_t *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	gmem_enter(&f->vd.gm);
	*p = 1;
}

static void is_sent(struct fixture *f)
{
	gmem_enter(&f->vd.gm);
	kill(getpid(), SIGBUS);
	pause();
}

static void assert_killed(int status)
{
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGBUS);
}

static void kills(void **state)
{
	struct fixture *f = armed(state);

	cut(f);
	assert_killed(in_child(f, touch));
	assert_killed(in_child(f, touch_elsewhere));
	assert_killed(in_child(f, is_sent));
}

static void answer(int sig)
{
	_exit(sig == SIGBUS ? 42 : 1);
}

static struct sigaction older;

/* As a terminal does that puts itself in order and lets the signal do its work. */
static void step_aside(int sig)
{
	sigaction(sig, &older, NULL);
}

static void hook(void (*fn)(int))
{
	struct sigaction sa = { .sa_handler = fn };
	struct gmem gm;
	struct err e;

	sigaction(SIGBUS, &sa, &older);
	if (gmem_init(&gm, &e))
		_exit(1);
}

static void chained(struct fixture *f)
{
	struct gmem *gm = &f->vd.gm;
	uint8_t byte;

	hook(answer);
	if (gmem_read(gm, GONE, &byte, 1) != -EIO)	/* ours stays ours */
		_exit(1);
	*(volatile uint8_t *)vd_ptr(&f->vd, GONE + PAGE) = 1;
}

static void chained_in_a_ring(struct fixture *f)
{
	hook(step_aside);
	touch(f);
}

static void earlier_handlers(void **state)
{
	struct fixture *f = armed(state);
	int status;

	cut(f);
	status = in_child(f, chained);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
	assert_killed(in_child(f, chained_in_a_ring));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(copies, setup, teardown),
		cmocka_unit_test_setup_teardown(pointers, setup, teardown),
		cmocka_unit_test_setup_teardown(anonymous, setup, teardown),
		cmocka_unit_test_setup_teardown(no_restore, setup, teardown),
		cmocka_unit_test_setup_teardown(pins, setup, teardown),
		cmocka_unit_test_setup_teardown(two_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(ring_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(ring_index, setup, teardown),
		cmocka_unit_test_setup_teardown(careless_device, setup, teardown),
		cmocka_unit_test_setup_teardown(careful_device, setup, teardown),
		cmocka_unit_test_setup_teardown(disk_uring, setup, teardown),
		cmocka_unit_test_setup_teardown(disk_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(disk_bounced, setup, teardown),
		cmocka_unit_test_setup_teardown(disk_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(kills, setup, teardown),
		cmocka_unit_test_setup_teardown(earlier_handlers, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
