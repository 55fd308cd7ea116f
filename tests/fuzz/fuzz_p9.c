// SPDX-License-Identifier: BSD-3-Clause
/*
 * The 9P server, for libFuzzer: clang -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -I. with
 * this file, virtio/p9srv.c, p9node.c, p9name.c, p9file.c, vmm/core/err.c and log.c. An input is a
 * sequence of requests: length (2 bytes), room for the answer in units of 16 bytes (1 byte), the
 * message. The server gets a new folder with a few files below TMPDIR; what lies beside it must not
 * change.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtio/p9srv.h"
#include "vmm/core/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_REQUESTS 200

static char outer[64];
static int outer_fd = -1;

static void put(const char *name, const char *text)
{
	int fd = openat(outer_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		abort();
	close(fd);
}

static void clean(void)
{
	char cmd[200];

	snprintf(cmd, sizeof(cmd), "chmod -R u+rwX %s; rm -rf %s", outer, outer);
	if (system(cmd))
		abort();
}

static int prepare(void)
{
	/* no file larger than this, whatever a request asks for */
	const struct rlimit l = { 64 << 20, 64 << 20 };
	const char *tmp = getenv("TMPDIR");
	char cmd[200];

	if (outer_fd < 0) {
		setrlimit(RLIMIT_FSIZE, &l);
		snprintf(outer, sizeof(outer), "%.40s/fuzz-p9.XXXXXX", tmp ? tmp : "/tmp");
		if (!mkdtemp(outer))
			abort();
		atexit(clean);
		outer_fd = open(outer, O_RDONLY | O_DIRECTORY);
		put("secret", "secret");
	}
	snprintf(cmd, sizeof(cmd), "%s/share", outer);
	if (mkdir(cmd, 0755) < 0) {
		snprintf(cmd, sizeof(cmd), "chmod -R u+rwX %s/share; rm -rf %s/share", outer, outer);
		if (system(cmd))
			abort();
		if (mkdirat(outer_fd, "share", 0755) < 0)
			abort();
	}
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
	struct p9srv_cfg cfg = { .root_fd = prepare(), .name = "fuzz", .max_fds = 40 };
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
