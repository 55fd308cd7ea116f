/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server of the 9P2000.L protocol: request bytes in, reply bytes out. It knows neither queues nor
 * guest memory. What it is given is hostile: the bytes of a request, and the order of requests.
 *
 * It shares one directory of the host. Nothing outside of that can be reached: names have one
 * component, each is looked up below a descriptor that was got the same way (openat2() with
 * RESOLVE_BENEATH), ".." is answered from the server's own tree, and symbolic links are for the
 * client to follow. Nothing but regular files and directories is ever opened.
 *
 * The data of Tread and Twrite go between the file and the caller's memory without a copy.
 *
 * Not thread safe: one request after the other, and every request is over when it is answered. So
 * when a Tflush is looked at, the request that it names was answered before.
 */
#ifndef VIRTIO_P9SRV_H
#define VIRTIO_P9SRV_H

#include <sys/uio.h>

#include "vmm/core/types.h"

struct err;
struct p9srv;

/* Largest message that the server agrees to; Linux asks for 500 KiB at most over virtio. */
#define P9_MSIZE_MAX	(1u << 20)
/* Smallest: what Linux insists on. */
#define P9_MSIZE_MIN	4096u
/* A request without the data of Twrite: the longest are Twalk and Tsymlink. */
#define P9_REQ_MAX	(16u << 10)
/* A reply without the data of Rread: the longest are Rreaddir and Rread of an attribute. */
#define P9_REP_MAX	(64u << 10)
/* Where the data begin: size, type, tag, then fid, offset, count of Twrite or count of Rread. */
#define P9_WRITE_HEAD	23u
#define P9_READ_HEAD	11u
/* The shortest reply that tells of an error. */
#define P9_ERROR_LEN	11u

/**
 * struct p9srv_cfg - a share
 * @root_fd:  descriptor of the directory, O_PATH will do; stays the caller's
 * @name:     for messages
 * @readonly: everything that changes something fails with EROFS
 * @max_fds:  descriptors that the server may hold open
 * @max_msize: larger messages are not agreed to, P9_MSIZE_MIN at least; 0: P9_MSIZE_MAX
 */
struct p9srv_cfg {
	int root_fd;
	const char *name;
	bool readonly;
	unsigned int max_fds;
	uint32_t max_msize;
};

/**
 * struct p9_plan - how a request is to be carried in
 * @head: bytes of the message to hand over in struct p9_req.msg
 * @out:  bytes after them that are data for a file (Twrite)
 * @in:   bytes of data that the reply may carry after P9_READ_HEAD (Tread), 0: all of it is in
 *        struct p9_rep.buf
 */
struct p9_plan {
	uint32_t head, out, in;
};

/**
 * struct p9_req - a request
 * @msg:  its first bytes, in memory that does not change
 * @len:  how many, P9_REQ_MAX at most
 * @data: the data that follow, which may change under the server's hands
 * @nr:   number of pieces, IOV_MAX at most
 * @data_len: their bytes
 * @fetch: copies all of the data to @buf, for the few requests whose data are not for a file; a
 *         negative errno makes the request fail. NULL: @data can be read as they are
 */
struct p9_req {
	const uint8_t *msg;
	uint32_t len;
	const struct iovec *data;
	unsigned int nr;
	uint64_t data_len;
	int (*fetch)(const struct p9_req *req, uint8_t *buf);
};

/**
 * struct p9_rep - a reply
 * @buf:      room for its first bytes, P9_REP_MAX
 * @room:     the client has room for so many bytes in all, P9_ERROR_LEN at least
 * @data:     where the data of Rread go; the client's place for them begins at P9_READ_HEAD
 * @nr:       number of pieces, IOV_MAX at most
 * @data_room: their bytes
 * @len:      result: bytes in @buf
 * @data_len: result: bytes in @data
 */
struct p9_rep {
	uint8_t *buf;
	uint32_t room;
	const struct iovec *data;
	unsigned int nr;
	uint64_t data_room;
	uint32_t len;
	uint32_t data_len;
};

/**
 * p9srv_new() - serve a directory
 *
 * Return: 0; -ENOSYS: the host has no openat2() (Linux 5.6), or no /proc; -EINVAL, -ENOMEM.
 */
int p9srv_new(const struct p9srv_cfg *cfg, struct p9srv **out, struct err *e);
/** p9srv_free() - end of service; NULL is fine */
void p9srv_free(struct p9srv *s);
/** p9srv_reset() - forget the client: all fids are gone, it has to begin with Tversion */
void p9srv_reset(struct p9srv *s);
/**
 * p9srv_plan() - how the request that begins like this is to be carried in
 * @msg: first bytes of the request
 * @len: how many there are: P9_WRITE_HEAD of them are enough
 *
 * For a request that makes no sense the plan is to hand over what there is; p9srv_serve() answers.
 */
void p9srv_plan(const uint8_t *msg, uint32_t len, struct p9_plan *plan);
/** p9srv_serve() - answer a request */
void p9srv_serve(struct p9srv *s, const struct p9_req *req, struct p9_rep *rep);
/**
 * p9srv_refuse() - the answer to a request whose data the caller cannot reach
 * @error: negative errno
 */
void p9srv_refuse(const struct p9_req *req, int error, struct p9_rep *rep);

#endif
