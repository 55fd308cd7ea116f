// SPDX-License-Identifier: BSD-3-Clause
/*
 * What a disk's io_uring refuses: whoever got hold of it could ask the kernel for what the filters
 * of system calls forbid, were it not restricted. Entries are put into it past liburing.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef HAVE_URING
#include <liburing.h>
#endif

#include "virtio/blkio.h"
#include "vmm/core/err.h"
#include "vmm/core/loop.h"

#ifdef HAVE_URING

#define DEPTH	8
#define NO_FILE	1		/* in the ring; the disk is 0 */

struct rig {
	struct loop loop;
	struct blkio_owner owner;
	struct blkio *io;
	int file, ring;
	struct io_uring_params p;	/* of a ring that was made in the same way */
	char *sq;
	struct io_uring_sqe *sqe;
};

static void done(struct blkio_owner *o, struct blkio_req *req, int res)
{
	fail_msg("a request ended that nobody made");
}

static void event(struct blkio_owner *o)
{
}

/* The one descriptor of a ring that this process has. */
static int find_ring(void)
{
	char path[32], to[64];

	for (int fd = 3; fd < 256; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, to, sizeof(to) - 1);
		if (n < 0)
			continue;
		to[n] = '\0';
		if (strstr(to, "io_uring"))
			return fd;
	}
	return -1;
}

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct err e = { 0 };
	size_t size;
	int twin;

	assert_non_null(r);
	*state = r;
	r->owner = (struct blkio_owner){ .done = done, .event = event };
	r->file = memfd_create("disk", MFD_CLOEXEC);
	assert_int_equal(ftruncate(r->file, 4096), 0);
	assert_int_equal(loop_init(&r->loop, &e), 0);
	assert_int_equal(blkio_new(&r->loop, r->file, "disk", DEPTH, false, &r->owner, &r->io, &e),
			 0);
	r->ring = -1;
	if (!blkio_uses_uring(r->io))
		return 0;
	r->ring = find_ring();
	assert_true(r->ring >= 0);
	r->p = (struct io_uring_params){
		.flags = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | IORING_SETUP_COOP_TASKRUN |
			 IORING_SETUP_R_DISABLED,
		.cq_entries = 2 * DEPTH,
	};
	twin = syscall(SYS_io_uring_setup, DEPTH, &r->p);
	if (twin < 0) {		/* before Linux 5.19: no restrictions */
		r->ring = -1;
		return 0;
	}
	close(twin);
	size = r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe);
	r->sq = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->ring, IORING_OFF_SQ_RING);
	r->sqe = mmap(NULL, r->p.sq_entries * sizeof(*r->sqe), PROT_READ | PROT_WRITE, MAP_SHARED,
		      r->ring, IORING_OFF_SQES);
	assert_true(r->sq != MAP_FAILED && (void *)r->sqe != MAP_FAILED);
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	blkio_free(r->io);
	loop_destroy(&r->loop);
	close(r->file);
	free(r);
	return 0;
}

static uint32_t *at(struct rig *r, uint32_t off)
{
	return (uint32_t *)(void *)(r->sq + off);
}

/* What the kernel says of this entry. */
static int try(struct rig *r, const struct io_uring_sqe *e)
{
	uint32_t mask = *at(r, r->p.sq_off.ring_mask), tail = *at(r, r->p.sq_off.tail), head;
	struct io_uring_cqe *cqe = (void *)(r->sq + r->p.cq_off.cqes);

	r->sqe[tail & mask] = *e;
	at(r, r->p.sq_off.array)[tail & mask] = tail & mask;
	__atomic_store_n(at(r, r->p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	assert_int_equal(syscall(SYS_io_uring_enter, r->ring, 1, 1, IORING_ENTER_GETEVENTS, NULL,
				 0), 1);
	head = *at(r, r->p.cq_off.head);
	assert_int_not_equal(head, __atomic_load_n(at(r, r->p.cq_off.tail), __ATOMIC_ACQUIRE));
	cqe += head & *at(r, r->p.cq_off.ring_mask);
	__atomic_store_n(at(r, r->p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return cqe->res;
}

static void test_operations(void **state)
{
	struct rig *r = *state;
	char buf[512];
	struct io_uring_sqe e = { .opcode = IORING_OP_READ, .flags = IOSQE_FIXED_FILE,
				  .addr = (uintptr_t)buf, .len = sizeof(buf) };

	if (r->ring < 0)
		skip();
	assert_int_equal(try(r, &e), sizeof(buf));
	e.opcode = IORING_OP_FSYNC;
	e.addr = e.len = 0;
	assert_int_equal(try(r, &e), 0);
	/* the ring has one file */
	e.fd = NO_FILE;
	assert_int_equal(try(r, &e), -EBADF);
	/* a descriptor is none of them, be it the disk's */
	e = (struct io_uring_sqe){ .opcode = IORING_OP_FSYNC, .fd = r->file };
	assert_int_equal(try(r, &e), -EACCES);
	/* operations that no disk needs; with the flag, so it is not that */
	for (int op = 0; op <= IORING_OP_SOCKET; op++) {
		if (op == IORING_OP_READ || op == IORING_OP_READV || op == IORING_OP_WRITE ||
		    op == IORING_OP_WRITEV || op == IORING_OP_FSYNC || op == IORING_OP_FALLOCATE ||
		    op == IORING_OP_ASYNC_CANCEL)
			continue;
		e = (struct io_uring_sqe){ .opcode = op, .flags = IOSQE_FIXED_FILE };
		assert_int_equal(try(r, &e), -EACCES);
	}
	/* and no other flag */
	e = (struct io_uring_sqe){ .opcode = IORING_OP_FSYNC, .flags = IOSQE_FIXED_FILE };
	e.flags |= IOSQE_ASYNC;
	assert_int_equal(try(r, &e), -EACCES);
}

static void test_registrations(void **state)
{
	static const unsigned int other[] = {
		IORING_REGISTER_BUFFERS, IORING_REGISTER_FILES, IORING_REGISTER_FILES_UPDATE,
		IORING_REGISTER_EVENTFD, IORING_REGISTER_PROBE, IORING_REGISTER_PERSONALITY,
		IORING_REGISTER_RESTRICTIONS, IORING_REGISTER_ENABLE_RINGS,
	};
	struct rig *r = *state;

	if (r->ring < 0)
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(other); i++) {
		assert_true(syscall(SYS_io_uring_register, r->ring, other[i], NULL, 0) < 0);
		assert_int_equal(errno, EACCES);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_operations, setup, teardown),
		cmocka_unit_test_setup_teardown(test_registrations, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void test_without(void **state)
{
	skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_without) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
