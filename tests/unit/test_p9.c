// SPDX-License-Identifier: BSD-3-Clause
/* The 9P server on a folder of its own: every message, and what a hostile client sends. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/unit.h"
#include "virtio/p9int.h"
#include "vmm/core/err.h"

#define MSIZE	(64u << 10)
#define ROOT	1u

struct share {
	struct p9srv *srv;
	char dir[64];		/* the shared folder is "share" in it */
	int outer, fd;
	uint8_t msg[P9_MSIZE_MAX], reply[P9_REP_MAX], data[P9_MSIZE_MAX];
	uint32_t len;		/* of msg */
	uint32_t at;		/* in reply */
	struct p9_rep rep;
	uint32_t room, data_out;
};

/* ---- the client's side ---- */

static void put(struct share *s, uint64_t v, unsigned int bytes)
{
	for (; bytes; bytes--, v >>= 8)
		s->msg[s->len++] = v;
}

static void put_bytes(struct share *s, const void *p, size_t len)
{
	put(s, len, 2);
	memcpy(s->msg + s->len, p, len);
	s->len += len;
}

/* "b", "w", "d", "q": 1, 2, 4, 8 bytes; "s": a string */
static void begin(struct share *s, uint8_t type, const char *fmt, va_list ap)
{
	s->len = 4;
	put(s, type, 1);
	put(s, 7, 2);
	for (; *fmt; fmt++) {
		const char *str;

		switch (*fmt) {
		case 'b':
			put(s, va_arg(ap, int), 1);
			break;
		case 'w':
			put(s, va_arg(ap, int), 2);
			break;
		case 'd':
			put(s, va_arg(ap, uint32_t), 4);
			break;
		case 'q':
			put(s, va_arg(ap, uint64_t), 8);
			break;
		default:
			str = va_arg(ap, const char *);
			put_bytes(s, str, strlen(str));
		}
	}
}

static uint64_t get(struct share *s, unsigned int bytes)
{
	uint64_t v = 0;

	assert_true(s->at + bytes <= s->rep.len);
	for (unsigned int i = 0; i < bytes; i++)
		v |= (uint64_t)s->reply[s->at++] << 8 * i;
	return v;
}

/* Send s->msg; 0, or the errno of Rlerror. */
static int transact(struct share *s)
{
	struct iovec iov[3], whole = { .iov_base = s->data, .iov_len = sizeof(s->data) };
	struct p9_req req = { .msg = s->msg };
	uint32_t size = s->len, type = s->msg[4];
	struct p9_plan plan;

	for (int i = 0; i < 4; i++)
		s->msg[i] = size >> 8 * i;
	p9srv_plan(s->msg, MIN(s->len, P9_WRITE_HEAD), &plan);
	req.len = MIN(plan.head, s->len);
	memset(s->reply, 0xee, sizeof(s->reply));
	s->rep = (struct p9_rep){ .buf = s->reply, .room = s->room ? s->room : MSIZE };
	if (plan.out) {
		/* in three pieces, as a guest's pages are */
		uint32_t n = MIN(plan.out, s->len - P9_WRITE_HEAD), a = n / 3;

		iov[0] = (struct iovec){ s->msg + P9_WRITE_HEAD, a };
		iov[1] = (struct iovec){ s->msg + P9_WRITE_HEAD + a, a };
		iov[2] = (struct iovec){ s->msg + P9_WRITE_HEAD + 2 * a, n - 2 * a };
		req.data = iov;
		req.nr = 3;
		req.data_len = n;
	} else if (plan.in) {
		whole.iov_len = MIN(plan.in, (uint32_t)sizeof(s->data));
		s->rep.data = &whole;
		s->rep.nr = 1;
		s->rep.data_room = whole.iov_len;
	}
	p9srv_serve(s->srv, &req, &s->rep);
	s->at = 0;
	assert_true(s->rep.len >= 7 && s->rep.len <= P9_REP_MAX);
	assert_true((uint64_t)s->rep.len <= s->rep.room);
	assert_int_equal(get(s, 4), s->rep.len + s->rep.data_len);
	if (s->reply[4] == P9_RLERROR) {
		s->at = 7;
		return get(s, 4);
	}
	assert_int_equal(s->reply[4], type + 1);
	assert_int_equal(s->reply[5] | s->reply[6] << 8, 7);
	s->at = 7;
	return 0;
}

static int call(struct share *s, uint8_t type, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	begin(s, type, fmt, ap);
	va_end(ap);
	return transact(s);
}

static int walk(struct share *s, uint32_t from, uint32_t to, const char *name)
{
	return name ? call(s, P9_TWALK, "ddws", from, to, 1, name) :
		      call(s, P9_TWALK, "ddw", from, to, 0);
}

static int clunk(struct share *s, uint32_t fid)
{
	return call(s, P9_TCLUNK, "d", fid);
}

/* Twrite; the number of bytes, or a negative errno */
static int do_write(struct share *s, uint32_t fid, uint64_t off, const void *p, uint32_t len)
{
	int ret;

	s->len = 4;
	put(s, P9_TWRITE, 1);
	put(s, 7, 2);
	put(s, fid, 4);
	put(s, off, 8);
	put(s, len, 4);
	memcpy(s->msg + s->len, p, len);
	s->len += len;
	ret = transact(s);
	return ret ? -ret : (int)get(s, 4);
}

/* Tread into s->data, or s->reply for an attribute; the number of bytes, or a negative errno */
static int do_read(struct share *s, uint32_t fid, uint64_t off, uint32_t len)
{
	int ret = call(s, P9_TREAD, "dqd", fid, off, len);

	return ret ? -ret : (int)get(s, 4);
}

struct attr {
	uint64_t path, nlink, rdev, size, mtime, mtime_ns;
	uint32_t mode, uid, gid;
	uint8_t qtype;
};

static int getattr(struct share *s, uint32_t fid, struct attr *a)
{
	int ret = call(s, P9_TGETATTR, "dq", fid, (uint64_t)0x7ff);

	if (ret)
		return ret;
	assert_int_equal(get(s, 8), 0x7ff);
	a->qtype = get(s, 1);
	get(s, 4);
	a->path = get(s, 8);
	a->mode = get(s, 4);
	a->uid = get(s, 4);
	a->gid = get(s, 4);
	a->nlink = get(s, 8);
	a->rdev = get(s, 8);
	a->size = get(s, 8);
	s->at += 32;
	a->mtime = get(s, 8);
	a->mtime_ns = get(s, 8);
	s->at += 48;
	assert_int_equal(s->at, s->rep.len);
	return 0;
}

static int setattr(struct share *s, uint32_t fid, uint32_t valid, uint32_t mode, uint64_t size,
		   uint64_t mtime)
{
	return call(s, P9_TSETATTR, "ddddd" "qqqqq", fid, valid, mode, (uint32_t)getuid(),
		    (uint32_t)getgid(), size, (uint64_t)11, (uint64_t)12, mtime, (uint64_t)34);
}

/* ---- fixtures ---- */

static void put_text(struct share *s, const char *path, const char *text)
{
	int fd = openat(s->outer, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void version(struct share *s)
{
	assert_int_equal(call(s, P9_TVERSION, "ds", MSIZE, "9P2000.L"), 0);
	assert_int_equal(call(s, P9_TATTACH, "ddssd", ROOT, P9_NOFID, "u", "", (uint32_t)getuid()),
			 0);
}

static void serve(struct share *s, bool readonly, unsigned int max_fds)
{
	struct p9srv_cfg cfg = { .root_fd = s->fd, .name = "t", .readonly = readonly,
				 .max_fds = max_fds };
	struct err e;

	p9srv_free(s->srv);
	assert_int_equal(p9srv_new(&cfg, &s->srv, &e), 0);
	version(s);
}

static int setup(void **state)
{
	struct share *s = calloc(1, sizeof(*s));

	strcpy(s->dir, "/tmp/test-p9.XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	s->outer = open(s->dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(mkdirat(s->outer, "share", 0755), 0);
	assert_int_equal(mkdirat(s->outer, "share/sub", 0755), 0);
	put_text(s, "secret", "outside\n");
	put_text(s, "share/file", "hello, world\n");
	assert_int_equal(symlinkat("../secret", s->outer, "share/out"), 0);
	assert_int_equal(symlinkat("..", s->outer, "share/up"), 0);
	assert_int_equal(mkfifoat(s->outer, "share/fifo", 0644), 0);
	s->fd = openat(s->outer, "share", O_PATH | O_DIRECTORY);
	serve(s, false, 256);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct share *s = *state;
	char cmd[200];

	p9srv_free(s->srv);
	close(s->fd);
	close(s->outer);
	snprintf(cmd, sizeof(cmd), "chmod -R u+rwX %s; rm -rf %s", s->dir, s->dir);
	assert_int_equal(system(cmd), 0);
	free(s);
	return 0;
}

/* ---- session ---- */

static void versions(void **state)
{
	struct share *s = *state;

	assert_int_equal(call(s, P9_TVERSION, "ds", 500u << 10, "9P2000.L"), 0);
	assert_int_equal(get(s, 4), 500u << 10);
	assert_int_equal(get(s, 2), 8);
	assert_memory_equal(s->reply + s->at, "9P2000.L", 8);
	/* the fids of the old session are gone */
	assert_int_equal(clunk(s, ROOT), EBADF);
	assert_int_equal(call(s, P9_TVERSION, "ds", UINT32_MAX, "9P2000.L"), 0);
	assert_int_equal(get(s, 4), P9_MSIZE_MAX);
	assert_int_equal(call(s, P9_TVERSION, "ds", 100u, "9P2000.L"), EMSGSIZE);
	assert_int_equal(call(s, P9_TVERSION, "ds", MSIZE, "9P2000.u"), 0);
	get(s, 4);
	assert_int_equal(get(s, 2), 7);
	assert_memory_equal(s->reply + s->at, "unknown", 7);
	/* without a version nothing works */
	assert_int_equal(call(s, P9_TATTACH, "ddssd", ROOT, P9_NOFID, "", "", 0u), EINVAL);
	version(s);
	assert_int_equal(call(s, P9_TATTACH, "ddssd", ROOT, P9_NOFID, "", "", 0u), EBADF);
	assert_int_equal(call(s, P9_TATTACH, "ddssd", 2u, 3u, "", "", 0u), EINVAL);
	assert_int_equal(call(s, P9_TATTACH, "ddssd", P9_NOFID, P9_NOFID, "", "", 0u), EBADF);
	assert_int_equal(call(s, P9_TAUTH, "dssd", 2u, "", "", 0u), ENOENT);
	assert_int_equal(call(s, P9_TFLUSH, "w", 3), 0);
	p9srv_reset(s->srv);
	assert_int_equal(clunk(s, ROOT), EINVAL);
}

static void limited_msize(void **state)
{
	struct share *s = *state;
	struct p9srv_cfg cfg = { .root_fd = s->fd, .name = "t", .max_fds = 64, .max_msize = 8192 };
	struct p9srv *other = s->srv;
	struct err e;

	assert_int_equal(p9srv_new(&cfg, &s->srv, &e), 0);
	assert_int_equal(call(s, P9_TVERSION, "ds", MSIZE, "9P2000.L"), 0);
	assert_int_equal(get(s, 4), 8192);
	p9srv_free(s->srv);
	s->srv = other;
	cfg.max_fds = 3;
	assert_int_equal(p9srv_new(&cfg, &other, &e), -EMFILE);
	assert_non_null(strstr(e.msg, "ulimit"));
	cfg.max_fds = 64;
	cfg.root_fd = -1;
	assert_true(p9srv_new(&cfg, &other, &e) < 0);
	assert_true(e.code < 0 && e.msg[0]);
}

static void malformed(void **state)
{
	struct share *s = *state;

	/* cut short, each message that has fields */
	for (unsigned int type = 0; type < 256; type++) {
		static const uint8_t tail[200];

		for (unsigned int len = 0; len < 40; len++) {
			s->len = 4;
			put(s, type, 1);
			put(s, 7, 2);
			put(s, ROOT, 4);
			memcpy(s->msg + s->len, tail, len);
			s->len = 7 + len;
			transact(s);
			if (!p9_fid_find(s->srv, ROOT))
				version(s);
		}
	}
	/* a size that lies */
	s->len = 4;
	put(s, P9_TCLUNK, 1);
	put(s, 7, 2);
	put(s, ROOT, 4);
	for (uint32_t size = 0; size < 40; size++) {
		struct p9_req req = { .msg = s->msg, .len = s->len };

		s->msg[0] = size;
		s->rep = (struct p9_rep){ .buf = s->reply, .room = 100 };
		p9srv_serve(s->srv, &req, &s->rep);
		if (size != s->len)
			assert_int_equal(s->reply[4], P9_RLERROR);
		else
			version(s);
	}
	/* hardly room for an answer */
	s->room = P9_ERROR_LEN;
	assert_int_equal(call(s, P9_TGETATTR, "dq", ROOT, (uint64_t)0), EMSGSIZE);
	assert_int_equal(walk(s, ROOT, 5, "sub"), EMSGSIZE);
	assert_null(p9_fid_find(s->srv, 5));
	s->room = 0;
	/* a string that is longer than the message */
	assert_int_equal(call(s, P9_TMKDIR, "dw", ROOT, 500), EINVAL);
	/* 17 names */
	assert_int_equal(call(s, P9_TWALK, "ddw", ROOT, 5u, 17), EINVAL);
	assert_int_equal(call(s, P9_TWALK, "ddws", ROOT, 5u, 2, "sub"), EINVAL);
	assert_null(p9_fid_find(s->srv, 5));
}

/* ---- names ---- */

static void walks(void **state)
{
	struct share *s = *state;
	struct attr root, a;

	assert_int_equal(getattr(s, ROOT, &root), 0);
	assert_int_equal(root.qtype, 0x80);
	assert_int_equal(walk(s, ROOT, 2, NULL), 0);
	assert_int_equal(get(s, 2), 0);
	assert_int_equal(walk(s, ROOT, 2, "sub"), EBADF);	/* in use */
	assert_int_equal(walk(s, 2, 2, "sub"), 0);
	assert_int_equal(get(s, 2), 1);
	assert_int_equal(get(s, 1), 0x80);
	assert_int_equal(walk(s, 2, 2, ".."), 0);
	assert_int_equal(getattr(s, 2, &a), 0);
	assert_int_equal(a.path, root.path);
	/* never above the root */
	assert_int_equal(call(s, P9_TWALK, "ddwssss", 2u, 3u, 4, "..", "..", "sub", ".."), 0);
	assert_int_equal(get(s, 2), 4);
	assert_int_equal(getattr(s, 3, &a), 0);
	assert_int_equal(a.path, root.path);
	/* half of the way */
	assert_int_equal(call(s, P9_TWALK, "ddwss", ROOT, 4u, 2, "sub", "none"), 0);
	assert_int_equal(get(s, 2), 1);
	assert_int_equal(clunk(s, 4), EBADF);
	assert_int_equal(walk(s, ROOT, 4, "none"), ENOENT);
	assert_int_equal(walk(s, ROOT, P9_NOFID, "sub"), EBADF);
	assert_int_equal(walk(s, 99, 4, "sub"), EBADF);
	/* a file is no directory, neither is a link to one */
	assert_int_equal(walk(s, ROOT, 4, "file"), 0);
	assert_int_equal(walk(s, 4, 5, "x"), ENOTDIR);
	assert_int_equal(walk(s, 4, 5, ".."), ENOTDIR);
	assert_int_equal(walk(s, ROOT, 6, "up"), 0);
	assert_int_equal(walk(s, 6, 7, "secret"), ENOTDIR);
	assert_int_equal(walk(s, 6, 7, ".."), ENOTDIR);
	assert_int_equal(clunk(s, 4), 0);
	assert_int_equal(clunk(s, 4), EBADF);
}

static void hostile_names(void **state)
{
	static const char *const bad[] = { "", ".", "/", "a/b", "../secret", "/etc", "sub/..",
					   "sub/../../secret" };
	struct share *s = *state;
	char longest[P9_NAME_LEN + 2];
	struct stat st;

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(walk(s, ROOT, 5, bad[i]), EINVAL);
		assert_int_equal(call(s, P9_TMKDIR, "dsdd", ROOT, bad[i], 0755u, 0u), EINVAL);
		assert_int_equal(call(s, P9_TSYMLINK, "dssd", ROOT, bad[i], "x", 0u), EINVAL);
		assert_int_equal(call(s, P9_TUNLINKAT, "dsd", ROOT, bad[i], 0u), EINVAL);
		assert_int_equal(call(s, P9_TRENAMEAT, "dsds", ROOT, "file", ROOT, bad[i]), EINVAL);
		assert_int_equal(call(s, P9_TRENAMEAT, "dsds", ROOT, bad[i], ROOT, "x"), EINVAL);
		assert_int_equal(call(s, P9_TLCREATE, "dsddd", ROOT, bad[i], 2u, 0644u, 0u), EINVAL);
		assert_int_equal(call(s, P9_TMKNOD, "dsdddd", ROOT, bad[i], S_IFREG | 0644, 0u, 0u,
				      0u), EINVAL);
		assert_int_equal(call(s, P9_TLINK, "dds", ROOT, ROOT, bad[i]), EINVAL);
		assert_int_equal(call(s, P9_TRENAME, "dds", ROOT, ROOT, bad[i]), EINVAL);
	}
	/* ".." is a place to walk to, not a name */
	assert_int_equal(call(s, P9_TMKDIR, "dsdd", ROOT, "..", 0755u, 0u), EINVAL);
	assert_int_equal(call(s, P9_TUNLINKAT, "dsd", ROOT, "..", 0x200u), EINVAL);
	assert_int_equal(call(s, P9_TLCREATE, "dsddd", ROOT, "..", 0u, 0644u, 0u), EINVAL);
	memset(longest, 'x', sizeof(longest));
	longest[P9_NAME_LEN + 1] = '\0';
	assert_int_equal(walk(s, ROOT, 5, longest), ENAMETOOLONG);
	assert_int_equal(call(s, P9_TMKDIR, "dsdd", ROOT, longest, 0755u, 0u), ENAMETOOLONG);
	longest[P9_NAME_LEN] = '\0';
	assert_int_equal(call(s, P9_TMKDIR, "dsdd", ROOT, longest, 0755u, 0u), 0);
	/* with a NUL */
	s->len = 4;
	put(s, P9_TWALK, 1);
	put(s, 7, 2);
	put(s, ROOT, 4);
	put(s, 5, 4);
	put(s, 1, 2);
	put_bytes(s, "file\0x", 6);
	assert_int_equal(transact(s), EINVAL);
	assert_int_equal(fstatat(s->outer, "share/file", &st, 0), 0);
	assert_int_equal(fstatat(s->outer, "secret", &st, 0), 0);
}

static void makes_and_removes(void **state)
{
	struct share *s = *state;
	struct stat st;
	struct attr a;

	assert_int_equal(call(s, P9_TMKDIR, "dsdd", ROOT, "d", 0777u, (uint32_t)getgid()), 0);
	assert_int_equal(get(s, 1), 0x80);
	assert_int_equal(fstatat(s->outer, "share/d", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0777);	/* whatever our umask is */
	assert_int_equal(call(s, P9_TMKDIR, "dsdd", ROOT, "d", 0777u, 0u), EEXIST);
	assert_int_equal(walk(s, ROOT, 2, "d"), 0);
	assert_int_equal(call(s, P9_TSYMLINK, "dssd", 2u, "l", "../../secret", (uint32_t)getgid()), 0);
	assert_int_equal(get(s, 1), 2);
	assert_int_equal(walk(s, 2, 3, "l"), 0);
	assert_int_equal(call(s, P9_TREADLINK, "d", 3u), 0);
	assert_int_equal(get(s, 2), 12);
	assert_memory_equal(s->reply + s->at, "../../secret", 12);
	assert_int_equal(call(s, P9_TREADLINK, "d", ROOT), EINVAL);
	/* a link is not followed, whatever is asked of it */
	assert_int_equal(call(s, P9_TLOPEN, "dd", 3u, 0u), ELOOP);
	assert_int_equal(call(s, P9_TSETATTR, "dddddqqqqq", 3u, 8u, 0u, 0u, 0u, (uint64_t)0,
			      (uint64_t)0, (uint64_t)0, (uint64_t)0, (uint64_t)0), EINVAL);
	assert_int_equal(fstatat(s->outer, "secret", &st, 0), 0);
	assert_int_equal(st.st_size, 8);
	assert_int_equal(call(s, P9_TLCREATE, "dsddd", ROOT, "out", 2u, 0644u, 0u), ELOOP);

	assert_int_equal(call(s, P9_TMKNOD, "dsdddd", 2u, "p", S_IFIFO | 0666, 0u, 0u,
			      (uint32_t)getgid()), 0);
	assert_int_equal(call(s, P9_TMKNOD, "dsdddd", 2u, "s", S_IFSOCK | 0600, 0u, 0u,
			      (uint32_t)getgid()), 0);
	assert_int_equal(call(s, P9_TMKNOD, "dsdddd", 2u, "x", S_IFDIR | 0600, 0u, 0u, 0u), EINVAL);
	assert_int_equal(fstatat(s->outer, "share/d/p", &st, 0), 0);
	assert_true(S_ISFIFO(st.st_mode) && (st.st_mode & 0777) == 0666);
	if (getuid() == 0 &&
	    !call(s, P9_TMKNOD, "dsdddd", 2u, "c", S_IFCHR | 0600, 1u, 0x12345u, 0u)) {
		assert_int_equal(walk(s, 2, 4, "c"), 0);
		assert_int_equal(getattr(s, 4, &a), 0);
		assert_int_equal(a.rdev, 1u << 8 | 0x45 | 0x12300u << 12);
		assert_int_equal(call(s, P9_TLOPEN, "dd", 4u, 0u), ENXIO);
		assert_int_equal(call(s, P9_TREMOVE, "d", 4u), 0);
	}

	assert_int_equal(walk(s, ROOT, 5, "file"), 0);
	assert_int_equal(call(s, P9_TLINK, "dds", 2u, 5u, "hard"), 0);
	assert_int_equal(getattr(s, 5, &a), 0);
	assert_int_equal(a.nlink, 2);
	assert_int_equal(call(s, P9_TLINK, "dds", 2u, 5u, "hard"), EEXIST);
	assert_int_equal(call(s, P9_TLINK, "dds", 5u, 5u, "x"), ENOTDIR);

	assert_int_equal(call(s, P9_TUNLINKAT, "dsd", ROOT, "d", 0u), EISDIR);
	assert_int_equal(call(s, P9_TUNLINKAT, "dsd", ROOT, "d", 0x200u), ENOTEMPTY);
	assert_int_equal(call(s, P9_TUNLINKAT, "dsd", ROOT, "d", 1u), EINVAL);
	assert_int_equal(call(s, P9_TUNLINKAT, "dsd", 2u, "l", 0u), 0);
	assert_int_equal(call(s, P9_TUNLINKAT, "dsd", 2u, "l", 0u), ENOENT);
	assert_int_equal(call(s, P9_TUNLINKAT, "dsd", 2u, "p", 0u), 0);
	assert_int_equal(call(s, P9_TUNLINKAT, "dsd", 2u, "s", 0u), 0);
	assert_int_equal(walk(s, 2, 6, "hard"), 0);
	assert_int_equal(call(s, P9_TREMOVE, "d", 6u), 0);
	assert_int_equal(clunk(s, 6), EBADF);
	/* what fails is clunked, too */
	assert_int_equal(walk(s, ROOT, 6, NULL), 0);
	assert_int_equal(call(s, P9_TREMOVE, "d", 6u), EBUSY);
	assert_int_equal(clunk(s, 6), EBADF);
	assert_int_equal(call(s, P9_TREMOVE, "d", 2u), 0);
	assert_int_equal(fstatat(s->outer, "share/d", &st, 0), -1);
}

static void renames(void **state)
{
	struct share *s = *state;
	struct attr before, a;

	/* below a directory that moves, with fids open or not */
	assert_int_equal(call(s, P9_TMKDIR, "dsdd", ROOT, "d", 0755u, (uint32_t)getgid()), 0);
	assert_int_equal(walk(s, ROOT, 2, "d"), 0);
	assert_int_equal(walk(s, 2, 3, NULL), 0);
	assert_int_equal(call(s, P9_TLCREATE, "dsddd", 3u, "f", 2u, 0644u, (uint32_t)getgid()), 0);
	assert_int_equal(do_write(s, 3, 0, "abc", 3), 3);
	assert_int_equal(walk(s, 2, 4, "f"), 0);
	assert_int_equal(getattr(s, 4, &before), 0);
	assert_int_equal(call(s, P9_TRENAMEAT, "dsds", ROOT, "d", ROOT, "e"), 0);
	p9_tree_trim(&s->srv->tree, 0);		/* so that it must be found again by name */
	assert_int_equal(getattr(s, 4, &a), 0);
	assert_int_equal(a.path, before.path);
	assert_int_equal(do_write(s, 3, 3, "def", 3), 3);
	assert_int_equal(walk(s, 2, 5, "f"), 0);

	/* Trename, into another directory */
	assert_int_equal(walk(s, ROOT, 6, "sub"), 0);
	assert_int_equal(call(s, P9_TRENAME, "dds", 4u, 6u, "g"), 0);
	p9_tree_trim(&s->srv->tree, 0);
	assert_int_equal(getattr(s, 4, &a), 0);
	assert_int_equal(a.path, before.path);
	assert_int_equal(getattr(s, 5, &a), 0);
	assert_int_equal(walk(s, 6, 7, "g"), 0);
	assert_int_equal(walk(s, 2, 8, "f"), ENOENT);

	/* what is replaced is still there for who has it */
	assert_int_equal(walk(s, ROOT, 8, "file"), 0);
	p9_tree_trim(&s->srv->tree, 0);
	assert_int_equal(call(s, P9_TRENAMEAT, "dsds", 6u, "g", ROOT, "file"), 0);
	p9_tree_trim(&s->srv->tree, 0);
	assert_int_equal(getattr(s, 8, &a), 0);
	assert_int_equal(a.nlink, 0);
	assert_int_equal(call(s, P9_TLOPEN, "dd", 8u, 0u), 0);
	assert_int_equal(do_read(s, 8, 0, 100), 13);
	assert_memory_equal(s->data, "hello, world\n", 13);
	assert_int_equal(getattr(s, 7, &a), 0);
	assert_int_equal(a.path, before.path);

	/* two names of one file */
	assert_int_equal(call(s, P9_TLINK, "dds", ROOT, 7u, "same"), 0);
	assert_int_equal(call(s, P9_TRENAMEAT, "dsds", ROOT, "file", ROOT, "same"), 0);
	assert_int_equal(walk(s, ROOT, 9, "file"), 0);

	assert_int_equal(call(s, P9_TRENAMEAT, "dsds", ROOT, "sub", 6u, "sub"), EINVAL);
	assert_int_equal(call(s, P9_TRENAMEAT, "dsds", ROOT, "none", ROOT, "x"), ENOENT);
	assert_int_equal(call(s, P9_TRENAMEAT, "dsds", 7u, "a", ROOT, "x"), ENOTDIR);
	assert_int_equal(call(s, P9_TRENAME, "dds", ROOT, 6u, "x"), EBUSY);
	assert_int_equal(call(s, P9_TRENAME, "dds", 7u, 99u, "x"), EBADF);
	/* nothing changes in place */
	assert_int_equal(call(s, P9_TRENAMEAT, "dsds", ROOT, "sub", ROOT, "sub"), 0);
	assert_int_equal(getattr(s, 6, &a), 0);
}

/* Somebody on the host moves things about meanwhile. */
static void host_changes(void **state)
{
	struct share *s = *state;
	struct attr a;

	assert_int_equal(mkdirat(s->outer, "share/sub/deep", 0755), 0);
	put_text(s, "share/sub/deep/f", "1");
	assert_int_equal(call(s, P9_TWALK, "ddwsss", ROOT, 2u, 3, "sub", "deep", "f"), 0);
	assert_int_equal(call(s, P9_TWALK, "ddwss", ROOT, 3u, 2, "sub", "deep"), 0);
	assert_int_equal(walk(s, ROOT, 4, "sub"), 0);
	assert_int_equal(renameat(s->outer, "share/sub", s->outer, "share/bus"), 0);
	/* as long as it is open it is the same */
	assert_int_equal(getattr(s, 2, &a), 0);
	p9_tree_trim(&s->srv->tree, 0);
	assert_int_equal(getattr(s, 2, &a), ESTALE);
	/* a link out of the share in its place does not help */
	assert_int_equal(symlinkat("..", s->outer, "share/sub"), 0);
	assert_int_equal(getattr(s, 2, &a), ESTALE);
	assert_int_equal(walk(s, 3, 5, "f"), ESTALE);
	assert_int_equal(unlinkat(s->outer, "share/sub", 0), 0);
	assert_int_equal(renameat(s->outer, "share/bus", s->outer, "share/sub"), 0);
	assert_int_equal(getattr(s, 2, &a), 0);
	/* another file of the same name is another file */
	assert_int_equal(walk(s, ROOT, 6, "file"), 0);
	assert_int_equal(call(s, P9_TREMOVE, "d", 99u), EBADF);
	assert_int_equal(renameat(s->outer, "share/file", s->outer, "old"), 0);
	put_text(s, "share/file", "new");
	assert_int_equal(walk(s, ROOT, 7, "file"), 0);
	assert_int_equal(getattr(s, 6, &a), 0);
	assert_int_equal(a.size, 13);
	assert_int_equal(getattr(s, 7, &a), 0);
	assert_int_equal(a.size, 3);
	assert_int_equal(call(s, P9_TREMOVE, "d", 6u), ESTALE);
	assert_int_equal(getattr(s, 3, &a), 0);
	/* the tree is behind: what it thinks is below "deep" lies above it by now */
	assert_int_equal(renameat(s->outer, "share/sub/deep", s->outer, "share/deep"), 0);
	assert_int_equal(renameat(s->outer, "share/sub", s->outer, "share/deep/sub"), 0);
	assert_int_equal(call(s, P9_TRENAMEAT, "dsds", 3u, "sub", 3u, "x"), 0);
	assert_int_equal(walk(s, ROOT, 8, "deep"), 0);
	assert_int_equal(call(s, P9_TRENAMEAT, "dsds", ROOT, "deep", 3u, "y"), EINVAL);
	getattr(s, 2, &a);
	getattr(s, 4, &a);
}

static void no_more_descriptors_than_allowed(void **state)
{
	struct share *s = *state;
	struct attr a;
	char name[16];

	serve(s, false, 64);
	for (unsigned int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		put_text(s, "share/file", "x");
		assert_int_equal(call(s, P9_TMKDIR, "dsdd", ROOT, name, 0755u, (uint32_t)getgid()), 0);
		assert_int_equal(walk(s, ROOT, 100 + i, name), 0);
		assert_true(s->srv->tree.nr_open <= 32);
	}
	for (unsigned int i = 0; i < 300; i++)
		assert_int_equal(getattr(s, 100 + i, &a), 0);
	/* deleted ones are kept, as many as may be */
	for (unsigned int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(call(s, P9_TUNLINKAT, "dsd", ROOT, name, 0x200u), 0);
		assert_true(s->srv->tree.nr_open <= 32);
		assert_true(s->srv->tree.nr_kept <= 16);
	}
	assert_int_equal(getattr(s, 100, &a), 0);
	assert_int_equal(getattr(s, 399, &a), ESTALE);
	/* open files */
	for (unsigned int i = 0; i < 32; i++) {
		assert_int_equal(walk(s, ROOT, 1000 + i, "file"), 0);
		assert_int_equal(call(s, P9_TLOPEN, "dd", 1000 + i, 0u), 0);
	}
	assert_int_equal(walk(s, ROOT, 2000, "file"), 0);
	assert_int_equal(call(s, P9_TLOPEN, "dd", 2000u, 0u), ENFILE);
	assert_int_equal(call(s, P9_TLCREATE, "dsddd", ROOT, "y", 2u, 0644u, 0u), ENFILE);
	assert_int_equal(clunk(s, 1000), 0);
	assert_int_equal(call(s, P9_TLOPEN, "dd", 2000u, 0u), 0);
	p9srv_reset(s->srv);
	assert_int_equal(s->srv->nr_io, 0);
	assert_int_equal(s->srv->tree.nr_open, 0);
	assert_int_equal(s->srv->tree.nr_nodes, 1);
	assert_int_equal(s->srv->nr_fids, 0);
}

static void deep_trees(void **state)
{
	struct share *s = *state;
	unsigned int depth = 0;
	struct attr a;
	int ret = 0;

	assert_int_equal(walk(s, ROOT, 2, NULL), 0);
	while (!ret && depth < P9_DEPTH_MAX + 10) {
		ret = call(s, P9_TMKDIR, "dsdd", 2u, "d", 0755u, (uint32_t)getgid());
		if (!ret)
			ret = walk(s, 2, 2, "d");
		depth++;
	}
	assert_int_equal(ret, ENAMETOOLONG);
	assert_int_equal(getattr(s, 2, &a), 0);
	p9_tree_trim(&s->srv->tree, 0);
	assert_int_equal(getattr(s, 2, &a), 0);
}

/* ---- contents ---- */

static void reads_and_writes(void **state)
{
	struct share *s = *state;
	static uint8_t big[60000];
	struct stat st;
	int fd;

	assert_int_equal(walk(s, ROOT, 2, "file"), 0);
	assert_int_equal(do_read(s, 2, 0, 10), -EBADF);		/* not open */
	assert_int_equal(do_write(s, 2, 0, "x", 1), -EBADF);
	assert_int_equal(call(s, P9_TLOPEN, "dd", 2u, 2u), 0);
	assert_int_equal(get(s, 1), 0);
	assert_int_equal(call(s, P9_TLOPEN, "dd", 2u, 2u), EBADF);	/* twice */
	assert_int_equal(do_read(s, 2, 7, 100), 6);
	assert_memory_equal(s->data, "world\n", 6);
	assert_int_equal(s->rep.data_len, 6);
	assert_int_equal(do_read(s, 2, 100, 100), 0);
	assert_int_equal(do_read(s, 2, 0, 0), 0);
	assert_int_equal(do_read(s, 2, UINT64_MAX, 100), -EINVAL);
	assert_int_equal(do_write(s, 2, UINT64_MAX - 1, "xy", 2), -EFBIG);
	for (unsigned int i = 0; i < sizeof(big); i++)
		big[i] = i * 7 + i / 251;
	assert_int_equal(do_write(s, 2, 5, big, sizeof(big)), sizeof(big));
	memset(s->data, 0, sizeof(s->data));
	assert_int_equal(do_read(s, 2, 5, sizeof(big)), sizeof(big));
	assert_memory_equal(s->data, big, sizeof(big));
	/* no more than a message holds */
	assert_int_equal(setattr(s, 2, 8, 0, 1 << 20, 0), 0);
	assert_int_equal(do_read(s, 2, 0, 1 << 20), MSIZE - P9_READ_HEAD);
	assert_int_equal(do_read(s, 2, 0, UINT32_MAX), MSIZE - P9_READ_HEAD);
	assert_int_equal(call(s, P9_TFSYNC, "dd", 2u, 0u), 0);
	assert_int_equal(call(s, P9_TFSYNC, "dd", 2u, 1u), 0);
	assert_int_equal(call(s, P9_TFSYNC, "d", 2u), 0);
	assert_int_equal(call(s, P9_TFSYNC, "dd", ROOT, 0u), EBADF);
	/* a Twrite whose count is not what follows */
	assert_int_equal(call(s, P9_TWRITE, "dqdq", 2u, (uint64_t)0, 500u, (uint64_t)0), EINVAL);
	assert_int_equal(call(s, P9_TWRITE, "dqd", 2u, (uint64_t)0, 0u), 0);

	/* what exists is opened, and emptied if that is asked for */
	assert_int_equal(walk(s, ROOT, 3, NULL), 0);
	assert_int_equal(call(s, P9_TLCREATE, "dsddd", 3u, "file", 02u | 0100 | 0200, 0644u, 0u),
			 EEXIST);
	assert_int_equal(call(s, P9_TLCREATE, "dsddd", 3u, "file", 02u | 0100 | 01000, 0644u, 0u), 0);
	assert_int_equal(fstatat(s->outer, "share/file", &st, 0), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(do_write(s, 3, 0, "abc", 3), 3);
	/* O_APPEND */
	assert_int_equal(walk(s, ROOT, 4, "file"), 0);
	assert_int_equal(call(s, P9_TLOPEN, "dd", 4u, 01u | 02000), 0);
	assert_int_equal(do_write(s, 4, 0, "def", 3), 3);
	assert_int_equal(do_read(s, 4, 0, 10), -EBADF);
	assert_int_equal(do_read(s, 3, 0, 10), 6);
	assert_memory_equal(s->data, "abcdef", 6);
	/* a new file, with a mode that the umask would not let through */
	assert_int_equal(walk(s, ROOT, 5, NULL), 0);
	assert_int_equal(call(s, P9_TLCREATE, "dsddd", 5u, "new", 02u, 0666u, (uint32_t)getgid()), 0);
	assert_int_equal(fstatat(s->outer, "share/new", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0666);
	assert_int_equal(call(s, P9_TLCREATE, "dsddd", 5u, "x", 02u, 0666u, 0u), EBADF);
	/* open, deleted, and still there */
	assert_int_equal(do_write(s, 5, 0, "here", 4), 4);
	assert_int_equal(call(s, P9_TUNLINKAT, "dsd", ROOT, "new", 0u), 0);
	assert_int_equal(do_read(s, 5, 0, 10), 4);
	assert_int_equal(setattr(s, 5, 8, 0, 2, 0), 0);
	assert_int_equal(do_read(s, 5, 0, 10), 2);
	/* neither a FIFO nor a directory nor a link is waited for, or written to */
	assert_int_equal(walk(s, ROOT, 6, "fifo"), 0);
	assert_int_equal(call(s, P9_TLOPEN, "dd", 6u, 0u), ENXIO);
	assert_int_equal(call(s, P9_TLCREATE, "dsddd", ROOT, "fifo", 1u, 0644u, 0u), ENXIO);
	assert_int_equal(call(s, P9_TLCREATE, "dsddd", ROOT, "sub", 1u, 0644u, 0u), EISDIR);
	assert_int_equal(walk(s, ROOT, 7, "sub"), 0);
	assert_int_equal(call(s, P9_TLOPEN, "dd", 7u, 1u), EISDIR);
	assert_int_equal(call(s, P9_TLOPEN, "dd", 7u, 0u), 0);
	assert_int_equal(do_read(s, 7, 0, 10), -EISDIR);
	assert_int_equal(do_write(s, 7, 0, "x", 1), -EISDIR);
	assert_int_equal(walk(s, ROOT, 8, "file"), 0);
	assert_int_equal(call(s, P9_TLOPEN, "dd", 8u, 0200000u), ENOTDIR);
	fd = openat(s->outer, "secret", O_RDONLY);
	assert_int_equal(read(fd, big, 100), 8);
	close(fd);
}

static void attributes(void **state)
{
	struct share *s = *state;
	struct stat st;
	struct attr a;

	assert_int_equal(walk(s, ROOT, 2, "file"), 0);
	assert_int_equal(setattr(s, 2, 1, 0600, 0, 0), 0);
	assert_int_equal(setattr(s, 2, 8, 0, 5, 0), 0);
	assert_int_equal(setattr(s, 2, 0x20 | 0x100, 0, 0, 1234567), 0);
	assert_int_equal(getattr(s, 2, &a), 0);
	assert_int_equal(a.mode, S_IFREG | 0600);
	assert_int_equal(a.size, 5);
	assert_int_equal(a.mtime, 1234567);
	assert_int_equal(a.mtime_ns, 34);
	assert_int_equal(a.nlink, 1);
	assert_int_equal(a.uid, getuid());
	assert_int_equal(setattr(s, 2, 0x20, 0, 0, 0), 0);	/* now */
	assert_int_equal(fstatat(s->outer, "share/file", &st, 0), 0);
	assert_true(st.st_mtime > 1234567);
	/* the time of the change: alone, and as Linux adds it to all others */
	assert_int_equal(setattr(s, 2, 1, 04711, 0, 0), 0);
	assert_int_equal(setattr(s, 2, 0x40, 0, 0, 0), 0);
	assert_int_equal(setattr(s, 2, 0x40 | 0x20 | 0x100, 0, 0, 5), 0);
	assert_int_equal(fstatat(s->outer, "share/file", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 04711);
	assert_int_equal(st.st_mtime, 5);
	assert_int_equal(setattr(s, 2, 2 | 4, 0, 0, 0), 0);	/* what it is already */
	assert_int_equal(setattr(s, 2, 8, 0, UINT64_MAX, 0), EFBIG);
	assert_int_equal(setattr(s, ROOT, 8, 0, 5, 0), EISDIR);
	assert_int_equal(setattr(s, 99, 8, 0, 5, 0), EBADF);
	if (getuid())
		assert_int_equal(call(s, P9_TSETATTR, "dddddqqqqq", 2u, 2u, 0u, 1u, 1u, (uint64_t)0,
				      (uint64_t)0, (uint64_t)0, (uint64_t)0, (uint64_t)0), EPERM);
	/* the times of a link are its own */
	assert_int_equal(walk(s, ROOT, 3, "out"), 0);
	assert_int_equal(setattr(s, 3, 0x20 | 0x100, 0, 0, 99), 0);
	assert_int_equal(fstatat(s->outer, "share/out", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mtime, 99);
	assert_int_equal(fstatat(s->outer, "secret", &st, 0), 0);
	assert_int_not_equal(st.st_mtime, 99);
	assert_int_not_equal(setattr(s, 3, 1, 0777, 0, 0), 0);
	assert_int_equal(fstatat(s->outer, "secret", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_int_equal(call(s, P9_TSTATFS, "d", 2u), 0);
	assert_int_equal(s->rep.len, 7 + 60);
	assert_int_equal(call(s, P9_TSTATFS, "d", 99u), EBADF);
}

static void ownership(void **state)
{
	struct share *s = *state;
	struct stat st;

	if (getuid())
		skip();
	assert_int_equal(call(s, P9_TATTACH, "ddssd", 2u, P9_NOFID, "", "", 1234u), 0);
	assert_int_equal(call(s, P9_TMKDIR, "dsdd", 2u, "d", 02775u, 77u), 0);
	assert_int_equal(fstatat(s->outer, "share/d", &st, 0), 0);
	assert_true(st.st_uid == 1234 && st.st_gid == 77 && (st.st_mode & 07777) == 02775);
	assert_int_equal(call(s, P9_TSYMLINK, "dssd", 2u, "l", "x", 77u), 0);
	assert_int_equal(fstatat(s->outer, "share/l", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(st.st_uid == 1234 && st.st_gid == 77);
	assert_int_equal(call(s, P9_TLCREATE, "dsddd", 2u, "f", 2u, 04755u, 77u), 0);
	assert_int_equal(fstatat(s->outer, "share/f", &st, 0), 0);
	assert_true(st.st_uid == 1234 && st.st_gid == 77 && (st.st_mode & 07777) == 04755);
	assert_int_equal(call(s, P9_TSETATTR, "dddddqqqqq", 2u, 6u, 0u, 5u, 6u, (uint64_t)0,
			      (uint64_t)0, (uint64_t)0, (uint64_t)0, (uint64_t)0), 0);
	assert_int_equal(fstatat(s->outer, "share/f", &st, 0), 0);
	assert_true(st.st_uid == 5 && st.st_gid == 6);
}

static void directories(void **state)
{
	struct share *s = *state;
	unsigned int seen[300] = { 0 }, dots = 0, calls = 0, total = 0;
	uint64_t offset = 0, parent = 0;
	struct attr root;
	char name[300];

	for (unsigned int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "share/sub/e%u", i);
		put_text(s, name, "");
	}
	assert_int_equal(getattr(s, ROOT, &root), 0);
	assert_int_equal(walk(s, ROOT, 2, "sub"), 0);
	assert_int_equal(call(s, P9_TREADDIR, "dqd", 2u, (uint64_t)0, 1000u), EBADF);
	assert_int_equal(call(s, P9_TLOPEN, "dd", 2u, 0200000u), 0);
	for (;;) {
		uint32_t len, end;

		assert_int_equal(call(s, P9_TREADDIR, "dqd", 2u, offset, 1000u), 0);
		len = get(s, 4);
		assert_true(len <= 1000);
		if (!len)
			break;
		end = s->at + len;
		while (s->at < end) {
			uint64_t path;
			uint32_t n;

			get(s, 5);
			path = get(s, 8);
			offset = get(s, 8);
			get(s, 1);
			n = get(s, 2);
			memcpy(name, s->reply + s->at, n);
			name[n] = '\0';
			s->at += n;
			if (name[0] == '.') {
				dots++;
				if (!strcmp(name, ".."))
					parent = path;
			} else {
				seen[atoi(name + 1)]++;
				total++;
			}
		}
		assert_int_equal(s->at, end);
		calls++;
	}
	assert_int_equal(dots, 2);
	assert_int_equal(total, 300);
	assert_int_equal(parent, root.path);
	for (unsigned int i = 0; i < 300; i++)
		assert_int_equal(seen[i], 1);
	assert_true(calls > 5);
	/* from the start again; no room for a single entry; nonsense */
	assert_int_equal(call(s, P9_TREADDIR, "dqd", 2u, (uint64_t)0, 1000u), 0);
	assert_int_equal(call(s, P9_TREADDIR, "dqd", 2u, (uint64_t)0, 10u), EINVAL);
	call(s, P9_TREADDIR, "dqd", 2u, UINT64_MAX, 1000u);
	assert_int_equal(call(s, P9_TREADDIR, "dqd", 2u, (uint64_t)0, UINT32_MAX), 0);
	assert_int_equal(walk(s, ROOT, 3, "file"), 0);
	assert_int_equal(call(s, P9_TLOPEN, "dd", 3u, 0u), 0);
	assert_int_equal(call(s, P9_TREADDIR, "dqd", 3u, (uint64_t)0, 1000u), ENOTDIR);
	/* above the root there is the root */
	assert_int_equal(call(s, P9_TLOPEN, "dd", ROOT, 0u), 0);
	assert_int_equal(call(s, P9_TREADDIR, "dqd", ROOT, (uint64_t)0, 60000u), 0);
	get(s, 4);
	while (s->at < s->rep.len) {
		uint64_t path;
		uint32_t n;

		get(s, 5);
		path = get(s, 8);
		get(s, 8);
		get(s, 1);
		n = get(s, 2);
		if (n == 2 && !memcmp(s->reply + s->at, "..", 2))
			assert_int_equal(path, root.path);
		s->at += n;
	}
}

static int lock(struct share *s, uint32_t fid, int type, uint64_t start, uint64_t len,
		uint32_t proc)
{
	int ret = call(s, P9_TLOCK, "dbdqqds", fid, type, 0u, start, len, proc, "me");

	return ret ? -ret : (int)get(s, 1);
}

static void locks(void **state)
{
	struct share *s = *state;
	struct flock fl = { .l_type = F_WRLCK, .l_start = 5, .l_len = 1 };
	int fd = openat(s->outer, "share/file", O_RDWR);

	assert_int_equal(walk(s, ROOT, 2, "file"), 0);
	assert_int_equal(lock(s, 2, 1, 0, 10, 1), -EBADF);	/* not open */
	assert_int_equal(call(s, P9_TLOPEN, "dd", 2u, 2u), 0);
	assert_int_equal(lock(s, 2, 1, 0, 10, 1), 0);
	/* a program of the host sees it, and the reverse */
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), -1);
	fl.l_start = 10;
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), 0);
	assert_int_equal(lock(s, 2, 1, 8, 0, 1), 1);		/* blocked */
	assert_int_equal(call(s, P9_TGETLOCK, "dbqqds", 2u, 1, (uint64_t)8, (uint64_t)0, 1u, "me"), 0);
	assert_int_equal(get(s, 1), 1);
	assert_int_equal(get(s, 8), 10);
	assert_int_equal(get(s, 8), 1);
	get(s, 4);
	assert_int_equal(get(s, 2), 2);
	assert_int_equal(call(s, P9_TGETLOCK, "dbqqds", 2u, 1, (uint64_t)50, (uint64_t)1, 1u, "me"), 0);
	assert_int_equal(get(s, 1), 2);
	/* a process that has locked nothing unlocks nothing */
	fl.l_start = 5;
	assert_int_equal(lock(s, 2, 2, 0, 0, 99), 0);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), -1);
	assert_int_equal(lock(s, 2, 2, 0, 0, 1), 0);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), 0);
	/* another fid is another owner */
	assert_int_equal(walk(s, ROOT, 3, "file"), 0);
	assert_int_equal(call(s, P9_TLOPEN, "dd", 3u, 2u), 0);
	assert_int_equal(lock(s, 2, 1, 20, 1, 1), 0);
	assert_int_equal(lock(s, 3, 1, 20, 1, 2), 1);
	assert_int_equal(clunk(s, 2), 0);
	assert_int_equal(lock(s, 3, 1, 20, 1, 2), 0);
	assert_int_equal(lock(s, 3, 3, 0, 0, 2), -EINVAL);
	assert_int_equal(lock(s, 3, 1, UINT64_MAX, 1, 2), -EINVAL);
	assert_int_equal(lock(s, 3, 1, 1, UINT64_MAX, 2), -EINVAL);
	assert_int_equal(lock(s, 3, 0, 0, INT64_MAX, 2), 1);
	close(fd);
	assert_int_equal(lock(s, 3, 0, 0, INT64_MAX, 2), 0);
}

static void xattrs(void **state)
{
	struct share *s = *state;
	char buf[64];
	int fd = openat(s->outer, "share/file", O_RDWR);

	if (fsetxattr(fd, "user.probe", "1", 1, 0) < 0) {
		close(fd);
		skip();			/* this file system has none */
	}
	assert_int_equal(fremovexattr(fd, "user.probe"), 0);
	assert_int_equal(walk(s, ROOT, 2, "file"), 0);
	assert_int_equal(walk(s, 2, 3, NULL), 0);
	assert_int_equal(call(s, P9_TXATTRCREATE, "dsqd", 3u, "user.a", (uint64_t)6, 0u), 0);
	assert_int_equal(call(s, P9_TXATTRCREATE, "dsqd", 3u, "user.a", (uint64_t)6, 0u), EBADF);
	assert_int_equal(call(s, P9_TLOPEN, "dd", 3u, 0u), EBADF);
	assert_int_equal(walk(s, 3, 9, NULL), EBADF);
	assert_int_equal(do_write(s, 3, 0, "abc", 3), 3);
	assert_int_equal(do_write(s, 3, 2, "def", 3), -EINVAL);		/* a hole, or twice */
	assert_int_equal(do_write(s, 3, 3, "defg", 4), -EINVAL);	/* too much */
	assert_int_equal(do_write(s, 3, 3, "def", 3), 3);
	assert_int_equal(do_read(s, 3, 0, 10), -EBADF);
	assert_int_equal(clunk(s, 3), 0);
	assert_int_equal(fgetxattr(fd, "user.a", buf, sizeof(buf)), 6);
	assert_memory_equal(buf, "abcdef", 6);
	/* less than announced: nothing is set */
	assert_int_equal(walk(s, 2, 3, NULL), 0);
	assert_int_equal(call(s, P9_TXATTRCREATE, "dsqd", 3u, "user.b", (uint64_t)6, 0u), 0);
	assert_int_equal(clunk(s, 3), EINVAL);
	assert_int_equal(clunk(s, 3), EBADF);
	assert_int_equal(fgetxattr(fd, "user.b", buf, sizeof(buf)), -1);
	/* create, replace */
	assert_int_equal(walk(s, 2, 3, NULL), 0);
	assert_int_equal(call(s, P9_TXATTRCREATE, "dsqd", 3u, "user.a", (uint64_t)1, 1u), 0);
	assert_int_equal(do_write(s, 3, 0, "x", 1), 1);
	assert_int_equal(clunk(s, 3), EEXIST);
	assert_int_equal(walk(s, 2, 3, NULL), 0);
	assert_int_equal(call(s, P9_TXATTRCREATE, "dsqd", 3u, "", (uint64_t)1, 0u), EINVAL);
	assert_int_equal(call(s, P9_TXATTRCREATE, "dsqd", 3u, "user.c", (uint64_t)65537, 0u), E2BIG);
	assert_int_equal(call(s, P9_TXATTRCREATE, "dsqd", 3u, "user.c", UINT64_MAX, 0u), E2BIG);
	assert_int_equal(call(s, P9_TXATTRCREATE, "dsqd", 3u, "user.c", (uint64_t)1, 8u), EINVAL);
	/* get and list */
	assert_int_equal(call(s, P9_TXATTRWALK, "dds", 2u, 4u, "user.a"), 0);
	assert_int_equal(get(s, 8), 6);
	assert_int_equal(do_read(s, 4, 0, 100), 6);
	assert_memory_equal(s->reply + P9_READ_HEAD, "abcdef", 6);
	assert_int_equal(do_read(s, 4, 4, 1), 1);
	assert_int_equal(do_read(s, 4, UINT64_MAX, 1), 0);
	assert_int_equal(do_write(s, 4, 0, "x", 1), -EBADF);
	assert_int_equal(clunk(s, 4), 0);
	assert_int_equal(call(s, P9_TXATTRWALK, "dds", 2u, 4u, ""), 0);
	assert_true(get(s, 8) >= 7);
	assert_true(do_read(s, 4, 0, 100) >= 7);
	assert_int_equal(call(s, P9_TXATTRWALK, "dds", 2u, 4u, ""), EBADF);
	assert_int_equal(call(s, P9_TXATTRWALK, "dds", 4u, 5u, ""), EBADF);
	assert_int_equal(call(s, P9_TXATTRWALK, "dds", 2u, 5u, "user.none"), ENODATA);
	/* remove: replaced by nothing */
	assert_int_equal(call(s, P9_TXATTRCREATE, "dsqd", 3u, "user.a", (uint64_t)0, 2u), 0);
	assert_int_equal(clunk(s, 3), 0);
	assert_int_equal(fgetxattr(fd, "user.a", buf, sizeof(buf)), -1);
	/* an empty value is a value */
	assert_int_equal(walk(s, 2, 3, NULL), 0);
	assert_int_equal(call(s, P9_TXATTRCREATE, "dsqd", 3u, "user.e", (uint64_t)0, 0u), 0);
	assert_int_equal(clunk(s, 3), 0);
	assert_int_equal(fgetxattr(fd, "user.e", buf, sizeof(buf)), 0);
	/* not of what a link leads to */
	assert_int_equal(walk(s, ROOT, 6, "out"), 0);
	assert_int_equal(call(s, P9_TXATTRWALK, "dds", 6u, 7u, ""), 0);
	assert_int_equal(call(s, P9_TXATTRCREATE, "dsqd", 6u, "user.e", (uint64_t)0, 0u), 0);
	assert_int_not_equal(clunk(s, 6), 0);
	assert_true(getxattr("secret", "user.e", buf, 0) < 0);
	/* announced values do not add up for ever */
	for (unsigned int i = 0; i < 128; i++) {
		assert_int_equal(walk(s, 2, 100 + i, NULL), 0);
		assert_int_equal(call(s, P9_TXATTRCREATE, "dsqd", 100 + i, "user.z", (uint64_t)65536, 0u),
				 i < 127 ? 0 : ENOSPC);
	}
	close(fd);
}

static void read_only(void **state)
{
	struct share *s = *state;

	serve(s, true, 256);
	assert_int_equal(walk(s, ROOT, 2, "file"), 0);
	assert_int_equal(call(s, P9_TLOPEN, "dd", 2u, 2u), EROFS);
	assert_int_equal(call(s, P9_TLOPEN, "dd", 2u, 01000u), EROFS);
	assert_int_equal(call(s, P9_TLOPEN, "dd", 2u, 0u), 0);
	assert_int_equal(do_read(s, 2, 0, 100), 13);
	assert_int_equal(do_write(s, 2, 0, "x", 1), -EROFS);
	assert_int_equal(call(s, P9_TMKDIR, "dsdd", ROOT, "d", 0755u, 0u), EROFS);
	assert_int_equal(call(s, P9_TSYMLINK, "dssd", ROOT, "l", "x", 0u), EROFS);
	assert_int_equal(call(s, P9_TMKNOD, "dsdddd", ROOT, "n", S_IFREG, 0u, 0u, 0u), EROFS);
	assert_int_equal(call(s, P9_TLINK, "dds", ROOT, 2u, "l"), EROFS);
	assert_int_equal(call(s, P9_TLCREATE, "dsddd", ROOT, "n", 0u, 0644u, 0u), EROFS);
	assert_int_equal(call(s, P9_TRENAMEAT, "dsds", ROOT, "file", ROOT, "x"), EROFS);
	assert_int_equal(call(s, P9_TRENAME, "dds", 2u, ROOT, "x"), EROFS);
	assert_int_equal(call(s, P9_TUNLINKAT, "dsd", ROOT, "file", 0u), EROFS);
	assert_int_equal(setattr(s, 2, 1, 0600, 0, 0), EROFS);
	assert_int_equal(call(s, P9_TXATTRCREATE, "dsqd", 2u, "user.a", (uint64_t)1, 0u), EROFS);
	assert_int_equal(call(s, P9_TREMOVE, "d", 2u), EROFS);
	assert_int_equal(clunk(s, 2), EBADF);
}

/* Well-formed requests in any order, on few fids: nothing leaks, nothing leaves the folder. */
static void random_requests(void **state)
{
	static const char *const names[] = { "a", "b", "sub", "file", "out", "up", "c", ".." };
	/*
	 * F: a fid, X: none, S: a name, M: a mode, V: what to set (not the mode: of the root, it
	 * is ours), N: a small number of 4 bytes, Q: of 8, b: of 1, a digit: itself in 2
	 */
	static const struct {
		uint8_t type;
		const char *fmt;
	} kinds[] = {
		{ P9_TSTATFS, "F" },	       { P9_TLOPEN, "FN" },    { P9_TLCREATE, "FSNMN" },
		{ P9_TSYMLINK, "FSSN" },       { P9_TMKNOD, "FSMNNN" }, { P9_TRENAME, "FFS" },
		{ P9_TREADLINK, "F" },	       { P9_TGETATTR, "FQ" },  { P9_TXATTRWALK, "FFS" },
		{ P9_TSETATTR, "FVMNNQQQQQ" }, { P9_TREADDIR, "FQN" }, { P9_TXATTRCREATE, "FSQN" },
		{ P9_TLOCK, "FbNQQNS" },       { P9_TLINK, "FFS" },    { P9_TMKDIR, "FSMN" },
		{ P9_TRENAMEAT, "FSFS" },      { P9_TUNLINKAT, "FSN" }, { P9_TREAD, "FQN" },
		{ P9_TWRITE, "FQN" },	       { P9_TCLUNK, "F" },     { P9_TREMOVE, "F" },
		{ P9_TWALK, "FF1S" },	       { P9_TWALK, "FF2SS" },  { P9_TWALK, "FF0" },
		{ P9_TATTACH, "FXSSN" },
	};
	struct share *s = *state;
	unsigned int good = 0;
	struct stat st;

	srand(1);
	for (unsigned int i = 0; i < 40000; i++) {
		unsigned int k = rand() % ARRAY_SIZE(kinds);

		s->len = 4;
		put(s, kinds[k].type, 1);
		put(s, 7, 2);
		for (const char *f = kinds[k].fmt; *f; f++) {
			const char *name = names[rand() % ARRAY_SIZE(names)];

			if (*f == 'F')
				put(s, ROOT + rand() % 6, 4);
			else if (*f == 'S')
				put_bytes(s, name, strlen(name));
			else if (*f == 'M')
				put(s, (rand() % 2 ? S_IFREG : S_IFIFO) | (rand() & 07777), 4);
			else if (*f == 'N')
				put(s, rand() % 4 ? rand() % 4 : rand(), 4);
			else if (*f == 'Q')
				put(s, rand() % 8, 8);
			else if (*f == 'V')
				put(s, rand() & 0x1fe, 4);
			else if (*f == 'X')
				put(s, P9_NOFID, 4);
			else if (*f == 'b')
				put(s, rand() % 4, 1);
			else
				put(s, *f - '0', 2);
		}
		good += !transact(s);
		if (i % 500 == 0 || !p9_fid_find(s->srv, ROOT))
			version(s);
		if (i % 97 == 0)
			p9_tree_trim(&s->srv->tree, 0);
	}
	assert_true(good > 4000);
	assert_int_equal(fstatat(s->outer, "secret", &st, 0), 0);
	assert_int_equal(st.st_size, 8);
	p9srv_reset(s->srv);
	assert_int_equal(s->srv->tree.nr_nodes, 1);
	assert_int_equal(s->srv->tree.nr_open, 0);
	assert_int_equal(s->srv->tree.nr_kept, 0);
	assert_int_equal(s->srv->nr_io, 0);
	assert_int_equal(s->srv->xattr_total, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(versions),
		TEST(limited_msize),
		TEST(malformed),
		TEST(walks),
		TEST(hostile_names),
		TEST(makes_and_removes),
		TEST(renames),
		TEST(host_changes),
		TEST(no_more_descriptors_than_allowed),
		TEST(deep_trees),
		TEST(reads_and_writes),
		TEST(attributes),
		TEST(ownership),
		TEST(directories),
		TEST(locks),
		TEST(xattrs),
		TEST(read_only),
		TEST(random_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
