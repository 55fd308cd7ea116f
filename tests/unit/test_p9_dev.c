// SPDX-License-Identifier: BSD-3-Clause
/* The virtio side of a 9p share: chains, pins, hostile lengths. The protocol is test_p9's. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_9p.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/vdriver.h"
#include "virtio/p9srv.h"

#define REQ	VD_DATA
#define REP	(VD_DATA + 0x100000)
#define FILE_LEN 300000u

struct fixture {
	struct vdriver vd;
	char dir[64];
	int fd;
	uint8_t *file;
};

static uint32_t le(const uint8_t *p, unsigned int bytes)
{
	uint32_t v = 0;

	while (bytes)
		v = v << 8 | p[--bytes];
	return v;
}

/* A message at REQ; "b", "w", "d", "q": 1, 2, 4, 8 bytes, "s": a string. Returns its length. */
static uint32_t message(struct fixture *f, uint8_t type, uint16_t tag, const char *fmt, ...)
{
	uint8_t *p = vd_ptr(&f->vd, REQ);
	uint32_t len = 7;
	va_list ap;

	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		const char *s = "";
		uint64_t v = 0;
		unsigned int bytes = 0;

		switch (*fmt) {
		case 'w':
			v = va_arg(ap, int);
			bytes = 2;
			break;
		case 'd':
			v = va_arg(ap, uint32_t);
			bytes = 4;
			break;
		case 'q':
			v = va_arg(ap, uint64_t);
			bytes = 8;
			break;
		default:
			s = va_arg(ap, const char *);
			v = strlen(s);
			bytes = 2;
		}
		for (; bytes; bytes--, v >>= 8)
			p[len++] = v;
		memcpy(p + len, s, strlen(s));
		len += strlen(s);
	}
	va_end(ap);
	for (unsigned int i = 0; i < 4; i++)
		p[i] = len >> 8 * i;
	p[4] = type;
	p[5] = tag;
	p[6] = tag >> 8;
	return len;
}

/* The reply at REP: its type; it must be as long as the device said. */
static uint8_t answer(struct fixture *f, uint16_t tag)
{
	struct vring_used_elem u = vd_wait(&f->vd, 0);
	const uint8_t *p = vd_ptr(&f->vd, REP);

	assert_true(u.len >= 7);
	assert_int_equal(le(p, 4), u.len);
	assert_int_equal(le(p + 5, 2), tag);
	return p[4];
}

static uint8_t call(struct fixture *f, uint32_t len)
{
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ, len }, { REP, 65536 } }, 2, 1);
	vd_kick(&f->vd, 0);
	return answer(f, 7);
}

static uint32_t error_of(struct fixture *f)
{
	return le((uint8_t *)vd_ptr(&f->vd, REP) + 7, 4);
}

static int setup_common(void **state, bool realm, uint64_t features)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct virtio_9p_cfg cfg = { .tag = "mytag", .max_fds = 64 };
	struct virtio_dev *dev;
	char path[100];
	struct err e;
	int fd;

	strcpy(f->dir, "/tmp/test-p9-dev.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(path, sizeof(path), "%s/file", f->dir);
	f->file = malloc(FILE_LEN);
	for (unsigned int i = 0; i < FILE_LEN; i++)
		f->file[i] = i * 5 + i / 1000;
	fd = open(path, O_WRONLY | O_CREAT, 0644);
	assert_int_equal(write(fd, f->file, FILE_LEN), FILE_LEN);
	close(fd);
	f->fd = cfg.root_fd = open(f->dir, O_PATH | O_DIRECTORY);
	vd_init(&f->vd, realm);
	f->vd.env.packed = features & VD_F_PACKED;
	assert_int_equal(virtio_9p_new(&f->vd.env, &cfg, &dev, &e), 0);
	vd_attach(&f->vd, dev);
	vd_start(&f->vd, features | VD_F(VIRTIO_9P_MOUNT_TAG), 1, 64);
	assert_int_equal(call(f, message(f, 100, 7, "ds", 512000u, "9P2000.L")), 101);
	assert_int_equal(call(f, message(f, 104, 7, "ddssd", 1u, UINT32_MAX, "", "", 0u)), 105);
	assert_int_equal(call(f, message(f, 110, 7, "ddws", 1u, 2u, 1, "file")), 111);
	assert_int_equal(call(f, message(f, 12, 7, "dd", 2u, 2u)), 13);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_common(state, false, VD_F_ALL);
}

static int setup_packed(void **state)
{
	return setup_common(state, false, VD_F_ALL | VD_F_PACKED);
}

static int setup_realm(void **state)
{
	return setup_common(state, true, VD_F_ALL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char cmd[200];

	vd_destroy(&f->vd);
	close(f->fd);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", f->dir);
	assert_int_equal(system(cmd), 0);
	free(f->file);
	free(f);
	return 0;
}

static void mount_tag(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_DEVICE_ID), 9);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG) & 0xffff, 5);
	assert_int_equal(vd_get(&f->vd, VIRTIO_MMIO_CONFIG) >> 16, 'm' | 'y' << 8);
}

/* As Linux does it: header and data in places of their own */
static void reads_into_pages(void **state)
{
	struct fixture *f = *state;
	struct vq_seg seg[60] = { { REQ, message(f, 116, 7, "dqd", 2u, (uint64_t)1000, 200000u) },
				  { REP, P9_READ_HEAD } };
	unsigned int n = 2;

	for (uint32_t left = 200000, at = 0; left; n++) {
		uint32_t len = left < 4096 ? left : 4096;

		/* every other page */
		seg[n] = (struct vq_seg){ REP + 0x10000 + at * 2, len };
		at += 4096;
		left -= len;
	}
	vd_add(&f->vd, 0, seg, n, 1);
	vd_kick(&f->vd, 0);
	assert_int_equal(vd_wait(&f->vd, 0).len, P9_READ_HEAD + 200000);
	assert_int_equal(le((uint8_t *)vd_ptr(&f->vd, REP) + 7, 4), 200000);
	for (unsigned int i = 2, at = 0; i < n; i++) {
		assert_memory_equal(vd_ptr(&f->vd, seg[i].addr), f->file + 1000 + at, seg[i].len);
		at += seg[i].len;
	}
}

static void writes_from_pages(void **state)
{
	struct fixture *f = *state;
	uint8_t *p = vd_ptr(&f->vd, REQ), got[9000];
	char path[100];
	int fd;

	message(f, 118, 7, "dqd", 2u, (uint64_t)500, 9000u);
	for (unsigned int i = 0; i < 4; i++)
		p[i] = (P9_WRITE_HEAD + 9000) >> 8 * i;
	for (unsigned int i = 0; i < 9000; i++)
		p[0x10000 + i] = i * 11;
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ, P9_WRITE_HEAD }, { REQ + 0x10000, 1 },
					     { REQ + 0x10001, 8999 }, { REP, 11 } }, 4, 3);
	vd_kick(&f->vd, 0);
	assert_int_equal(answer(f, 7), 119);
	assert_int_equal(le((uint8_t *)vd_ptr(&f->vd, REP) + 7, 4), 9000);
	snprintf(path, sizeof(path), "%s/file", f->dir);
	fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, got, sizeof(got), 500), sizeof(got));
	assert_memory_equal(got, p + 0x10000, sizeof(got));
	close(fd);
}

/* All of it in one go, in the order in which it came */
static void many_at_once(void **state)
{
	struct fixture *f = *state;
	uint8_t *p = vd_ptr(&f->vd, REQ);

	/* nearly the whole ring */
	for (unsigned int i = 0; i < 30; i++) {
		uint32_t len = message(f, 24, 100 + i, "dq", 1u, (uint64_t)0);

		memcpy(p + 0x1000 + i * 64, p, len);
		vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ + 0x1000 + i * 64, len },
						     { REP + i * 256, 256 } }, 2, 1);
	}
	vd_kick(&f->vd, 0);
	for (unsigned int i = 0; i < 30; i++) {
		uint8_t *r = vd_ptr(&f->vd, REP + i * 256);

		assert_int_equal(vd_wait(&f->vd, 0).len, 7 + 153);
		assert_int_equal(r[4], 25);
		assert_int_equal(le(r + 5, 2), 100 + i);
	}
}

static void hostile_chains(void **state)
{
	struct fixture *f = *state;
	uint32_t len = message(f, 24, 7, "dq", 1u, (uint64_t)0);

	/* no room for an answer; no message; less than a header */
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ, len }, { REP, 10 } }, 2, 1);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ, len } }, 1, 1);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REP, 100 } }, 1, 0);
	vd_kick(&f->vd, 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(vd_wait(&f->vd, 0).len, 0);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ, 3 }, { REP, 100 } }, 2, 1);
	vd_kick(&f->vd, 0);
	assert_int_equal(vd_wait(&f->vd, 0).len, P9_ERROR_LEN);
	/* the message says that it is longer than the buffers */
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ, len - 1 }, { REP, 1000 } }, 2, 1);
	vd_kick(&f->vd, 0);
	assert_int_equal(answer(f, 7), 7);
	assert_int_equal(error_of(f), EMSGSIZE);
	/* addresses that are no memory: of the message, of the data, of the answer */
	vd_add(&f->vd, 0, (struct vq_seg[]){ { 0x1000, len }, { REP, 1000 } }, 2, 1);
	vd_kick(&f->vd, 0);
	assert_int_equal(vd_wait(&f->vd, 0).len, 0);
	len = message(f, 116, 7, "dqd", 2u, (uint64_t)0, 5000u);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ, len }, { REP, 1000 }, { 0x1000, 8000 } }, 3, 1);
	vd_kick(&f->vd, 0);
	assert_int_equal(answer(f, 7), 7);
	assert_int_equal(error_of(f), EFAULT);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ, len }, { 0x1000, 8000 } }, 2, 1);
	vd_kick(&f->vd, 0);
	assert_int_equal(vd_wait(&f->vd, 0).len, 0);
	/* a read that asks for 4 GiB, into less */
	len = message(f, 116, 7, "dqd", 2u, (uint64_t)0, UINT32_MAX);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ, len }, { REP, 1011 } }, 2, 1);
	vd_kick(&f->vd, 0);
	assert_int_equal(answer(f, 7), 117);
	assert_memory_equal((uint8_t *)vd_ptr(&f->vd, REP) + P9_READ_HEAD, f->file, 1000);
	/* a write that says that it has more data than there are */
	len = message(f, 118, 7, "dqdd", 2u, (uint64_t)0, 100000u, 1u);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ, len }, { REP, 100 } }, 2, 1);
	vd_kick(&f->vd, 0);
	assert_int_equal(answer(f, 7), 7);
	/* and the device lives on */
	assert_int_equal(call(f, message(f, 24, 7, "dq", 1u, (uint64_t)0)), 25);
}

static void private_memory(void **state)
{
	struct fixture *f = *state;
	uint32_t len = message(f, 116, 7, "dqd", 2u, (uint64_t)0, 5000u);

	f->vd.private_base = REP + 0x10000;
	f->vd.private_len = 0x1000;
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ, len }, { REP, 11 }, { REP + 0x10000, 5000 } },
	       3, 1);
	vd_kick(&f->vd, 0);
	assert_int_equal(answer(f, 7), 7);
	assert_int_equal(error_of(f), EFAULT);
	assert_int_equal(*(uint8_t *)vd_ptr(&f->vd, REP + 0x10000), 0);
	f->vd.private_len = 0;
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ | VD_SHARED, len }, { REP | VD_SHARED, 11 },
					     { (REP + 0x10000) | VD_SHARED, 5000 } }, 3, 1);
	vd_kick(&f->vd, 0);
	assert_int_equal(answer(f, 7), 117);
	/* nothing holds a pin any more */
	assert_int_equal(gmem_drain(&f->vd.gm, VD_RAM, VD_RAM_SIZE, 0), 0);
}

/* An attribute is written from the guest's memory, too, and is for no file. */
static void attribute(void **state)
{
	struct fixture *f = *state;
	uint8_t *p = vd_ptr(&f->vd, REQ);

	assert_int_equal(call(f, message(f, 110, 7, "ddw", 1u, 3u, 0)), 111);
	assert_int_equal(call(f, message(f, 32, 7, "dsqd", 3u, "user.a", (uint64_t)5, 0u)), 33);
	message(f, 118, 7, "dqd", 3u, (uint64_t)0, 5u);
	p[0] = P9_WRITE_HEAD + 5;
	memcpy(p + 0x1000, "value", 5);
	vd_add(&f->vd, 0, (struct vq_seg[]){ { REQ, P9_WRITE_HEAD }, { REQ + 0x1000, 5 },
					     { REP, 11 } }, 3, 2);
	vd_kick(&f->vd, 0);
	assert_int_equal(answer(f, 7), 119);
	if (call(f, message(f, 120, 7, "d", 3u)) == 7) {
		assert_int_equal(error_of(f), EOPNOTSUPP);
		skip();
	}
	assert_int_equal(call(f, message(f, 30, 7, "dds", 1u, 4u, "user.a")), 31);
	assert_int_equal(call(f, message(f, 116, 7, "dqd", 4u, (uint64_t)0, 100u)), 117);
	assert_memory_equal((uint8_t *)vd_ptr(&f->vd, REP) + P9_READ_HEAD, "value", 5);
}

static void reset_forgets(void **state)
{
	struct fixture *f = *state;

	vd_start(&f->vd, VD_F_ALL | VD_F(VIRTIO_9P_MOUNT_TAG), 1, 64);
	assert_int_equal(call(f, message(f, 24, 7, "dq", 1u, (uint64_t)0)), 7);
	assert_int_equal(call(f, message(f, 100, 7, "ds", 8192u, "9P2000.L")), 101);
	assert_int_equal(call(f, message(f, 104, 7, "ddssd", 1u, UINT32_MAX, "", "", 0u)), 105);
	assert_int_equal(call(f, message(f, 24, 7, "dq", 1u, (uint64_t)0)), 25);
	assert_int_equal(call(f, message(f, 24, 7, "dq", 2u, (uint64_t)0)), 7);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define TEST_PACKED(fn) { "packed_" #fn, fn, setup_packed, teardown, NULL }

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(mount_tag),
		TEST(reads_into_pages),
		TEST(writes_from_pages),
		TEST(many_at_once),
		TEST(hostile_chains),
		TEST(attribute),
		TEST(reset_forgets),
		TEST_PACKED(reads_into_pages),
		TEST_PACKED(writes_from_pages),
		TEST_PACKED(many_at_once),
		cmocka_unit_test_setup_teardown(private_memory, setup_realm, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
