// SPDX-License-Identifier: BSD-3-Clause
/*
 * The 9P server. An input is a sequence of requests: length (2 bytes), room for the answer in units
 * of 16 bytes (1 byte), the message. The server gets a new folder with a few files below TMPDIR;
 * what lies beside it must not change.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "virtio/p9srv.h"
#include "vmm/core/err.h"

#define MAX_REQUESTS 250

static char outer[256];
static int outer_fd = -1;

static void put(const char *name, const char *text)
{
	int fd = openat(outer_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		abort();
	close(fd);
}

static int may_enter(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	return kind == FTW_D || kind == FTW_DNR ? chmod(path, 0700) : 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	return remove(path);
}

static void clear(const char *path)
{
	if (nftw(path, may_enter, 16, FTW_PHYS) < 0 ||
	    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0)
		PROPERTY(errno == ENOENT);
}

static void clean(void)
{
	clear(outer);
}

static int prepare(void)
{
	/* no file larger than this, whatever a request asks for */
	const struct rlimit l = { 64 << 20, 64 << 20 };
	const char *tmp = getenv("TMPDIR");
	char share[sizeof(outer) + 8];

	if (outer_fd < 0) {
		setrlimit(RLIMIT_FSIZE, &l);
		signal(SIGXFSZ, SIG_IGN);
		snprintf(outer, sizeof(outer), "%.200s/fuzz-p9.XXXXXX", tmp ? tmp : "/tmp");
		if (!mkdtemp(outer))
			abort();
		atexit(clean);
		outer_fd = open(outer, O_RDONLY | O_DIRECTORY);
		put("secret", "secret");
	}
	snprintf(share, sizeof(share), "%s/share", outer);
	clear(share);
	if (mkdir(share, 0755) < 0)
		abort();
	put("share/f", "contents");
	if (mkdirat(outer_fd, "share/d", 0755) < 0 ||
	    symlinkat("../secret", outer_fd, "share/l") < 0 || mkfifoat(outer_fd, "share/p", 0644) < 0)
		abort();
	return openat(outer_fd, "share", O_PATH | O_DIRECTORY);
}

/* A client that has got as far as having the root as fid 0. */
static void attach(struct p9srv *s)
{
	static const uint8_t version[] = "\x15\0\0\0\x64\xff\xff\0\0\x01\0\x08\0" "9P2000.L";
	static const uint8_t attach_msg[] = "\x17\0\0\0\x68\1\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0";
	static uint8_t reply[P9_REP_MAX];
	struct p9_req req = { .msg = version, .len = sizeof(version) - 1 };
	struct p9_rep rep = { .buf = reply, .room = sizeof(reply) };

	p9srv_serve(s, &req, &rep);
	if (reply[4] != version[4] + 1)
		abort();
	req.msg = attach_msg;
	req.len = sizeof(attach_msg) - 1;
	p9srv_serve(s, &req, &rep);
	if (reply[4] != attach_msg[4] + 1)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t reply[P9_REP_MAX], in[65536];
	struct p9srv_cfg cfg = { .root_fd = prepare(), .name = "fuzz", .max_fds = 32 };
	struct stat st;
	struct p9srv *s;
	struct err e;

	if (cfg.root_fd < 0 || p9srv_new(&cfg, &s, &e) < 0)
		abort();
	attach(s);
	for (unsigned int n = 0; size >= 3 && n < MAX_REQUESTS; n++) {
		size_t len = data[0] | data[1] << 8;
		uint32_t room = data[2] * 16u + P9_ERROR_LEN;
		uint32_t data_room;
		uint8_t *copy;
		struct iovec out, inv;
		struct p9_plan plan;
		struct p9_req req;
		struct p9_rep rep = { .buf = reply, .room = room };

		data += 3;
		size -= 3;
		if (len > size)
			len = size;
		/* of its own, so that a byte too many is noticed */
		copy = malloc(len + 1);
		if (!copy)
			abort();
		memcpy(copy, data, len);
		/* the size as it should be, most of the time */
		if (len >= 4 && copy[3] != 0xff) {
			copy[0] = len;
			copy[1] = len >> 8;
			copy[2] = copy[3] = 0;
		}
		data += len;
		size -= len;
		p9srv_plan(copy, len < P9_WRITE_HEAD ? len : P9_WRITE_HEAD, &plan);
		if (plan.head > len)
			plan.head = len;
		req = (struct p9_req){ .msg = copy, .len = plan.head };
		if (plan.out) {
			req.data_len = plan.out < len - plan.head ? plan.out : len - plan.head;
			out = (struct iovec){ copy + plan.head, req.data_len };
			req.data = &out;
			req.nr = 1;
		} else if (plan.in && room > P9_READ_HEAD) {
			data_room = room - P9_READ_HEAD;
			rep.data_room = plan.in < data_room ? plan.in : data_room;
			inv = (struct iovec){ in, rep.data_room };
			rep.data = &inv;
			rep.nr = 1;
		}
		p9srv_serve(s, &req, &rep);
		if (rep.len < 7 || (uint64_t)rep.len + rep.data_len > room)
			abort();
		free(copy);
	}
	p9srv_free(s);
	close(cfg.root_fd);
	if (fstatat(outer_fd, "secret", &st, 0) < 0 || st.st_size != 6 || (st.st_mode & 07777) != 0644)
		abort();
	return 0;
}

/* ---- seeds ----------------------------------------------------------------------------------- */

static uint8_t seed[8192];
static size_t seed_len;

static void put_number(uint64_t val, unsigned int bytes)
{
	memcpy(seed + seed_len, &val, bytes);
	seed_len += bytes;
}

/* A request; @fmt: b, w, d, q: numbers of 1, 2, 4, 8 bytes; s: a string; x: one without a length */
static void ask(uint8_t type, const char *fmt, ...)
{
	size_t at = seed_len, len;
	const char *s;
	va_list ap;

	put_number(0, 2);
	put_number(0xff, 1);
	put_number(0, 4);
	put_number(type, 1);
	put_number(1, 2);
	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		if (*fmt == 's' || *fmt == 'x') {
			s = va_arg(ap, const char *);
			if (*fmt == 's')
				put_number(strlen(s), 2);
			memcpy(seed + seed_len, s, strlen(s));
			seed_len += strlen(s);
		} else if (*fmt == 'q') {
			put_number(va_arg(ap, uint64_t), 8);
		} else {
			put_number(va_arg(ap, unsigned int), *fmt == 'b' ? 1 : *fmt == 'w' ? 2 : 4);
		}
	}
	va_end(ap);
	len = seed_len - at - 3;
	memcpy(seed + at, &len, 2);
	memcpy(seed + at + 3, &len, 4);
}

static void done(const char *name)
{
	fuzz_seed(name, seed, seed_len);
	seed_len = 0;
}

#define WALK(fid, to, name)	ask(110, "ddws", fid, to, 1, name)
#define NR(n)			((uint64_t)(n))

/* Every request once as a client sends it; the numbers are those of 9P2000.L. */
void fuzz_seeds(void)
{
	WALK(0, 1, "f");
	ask(24, "dq", 1, NR(0x7ff));				/* getattr */
	ask(12, "dd", 1, 2);					/* lopen, O_RDWR */
	ask(118, "dqdx", 1, NR(2), 5, "write");
	ask(116, "dqd", 1, NR(0), 100);				/* read */
	ask(50, "dd", 1, 0);					/* fsync */
	ask(52, "dbdqqds", 1, 1, 0, NR(0), NR(10), 7, "me");	/* lock */
	ask(54, "dbqqds", 1, 0, NR(0), NR(0), 7, "me");		/* getlock */
	ask(26, "ddddqqqqq", 1, 0x1ff, 0600, 0, 0, NR(3), NR(1), NR(2), NR(3), NR(4));	/* setattr */
	ask(120, "d", 1);					/* clunk */
	done("file");
	ask(14, "dsddd", 0, "new", 0x42, 0644, 0);		/* lcreate: fid 0 is the file now */
	ask(118, "dqdx", 0, NR(0), 3, "new");
	ask(108, "w", 1);					/* flush */
	done("create");
	ask(72, "dsdd", 0, "dir", 0755, 0);
	ask(16, "dssd", 0, "sym", "../secret", 0);
	ask(18, "dsdddd", 0, "fifo", 0010644, 0, 0, 0);
	WALK(0, 2, "dir");
	WALK(0, 3, "f");
	ask(70, "dds", 2, 3, "hard");
	ask(74, "dsds", 0, "f", 2, "moved");
	ask(20, "dds", 3, 2, "again");
	WALK(0, 4, "sym");
	ask(22, "d", 4);					/* readlink */
	ask(110, "ddwsss", 0, 5, 3, "dir", "..", "d");
	ask(110, "ddw", 0, 6, 0);
	ask(12, "dd", 6, 0200000);
	ask(40, "dqd", 6, NR(0), 400);				/* readdir */
	ask(40, "dqd", 6, NR(2), 100);
	ask(76, "dsd", 2, "hard", 0);
	ask(76, "dsd", 0, "dir", 0x200);
	ask(122, "d", 3);					/* remove */
	ask(8, "d", 0);						/* statfs */
	done("names");
	for (unsigned int i = 0; i < 90; i++) {
		char name[8];

		snprintf(name, sizeof(name), "n%u", i);
		ask(72, "dsdd", 0, name, 0755, 0);
		WALK(0, 10 + i, name);
	}
	for (unsigned int i = 0; i < 20; i++)
		ask(24, "dq", 10 + i, NR(0x7ff));
	done("many");
	WALK(0, 1, "f");
	ask(32, "dsqd", 1, "user.x", NR(3), 0);			/* xattrcreate */
	ask(118, "dqdx", 1, NR(0), 3, "val");
	ask(120, "d", 1);
	WALK(0, 1, "f");
	ask(30, "dds", 1, 2, "user.x");				/* xattrwalk */
	ask(116, "dqd", 2, NR(0), 10);
	ask(30, "dds", 1, 3, "");
	ask(116, "dqd", 3, NR(0), 100);
	ask(100, "ds", 8192, "9P2000.L");
	ask(104, "ddssd", 0, ~0u, "", "", 0);
	done("xattr");
}
