/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside the 9P server: p9srv.c has the session, the fids and the dispatcher, p9node.c the tree of
 * what the client has found and its descriptors, p9name.c the requests about names and attributes,
 * p9file.c those about contents. Message layouts: the 9P2000.L protocol as Linux speaks it
 * (include/net/9p/9p.h there).
 */
#ifndef VIRTIO_P9INT_H
#define VIRTIO_P9INT_H

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "virtio/p9srv.h"

#define P9_NAME_LEN	255u	/* NAME_MAX */
#define P9_LINK_LEN	4095u	/* PATH_MAX without the NUL */
#define P9_XATTR_NAME	255u	/* XATTR_NAME_MAX */
#define P9_XATTR_SIZE	65536u	/* XATTR_SIZE_MAX, and XATTR_LIST_MAX */
#define P9_WALK_MAX	16u	/* names in one Twalk: the protocol's own limit */
#define P9_NOFID	UINT32_MAX
#define P9_NOID		UINT32_MAX	/* no user, no group */
/*
 * Linux keeps a fid for every name in its cache. With these limits a hostile guest gets some
 * 200 MiB out of a share; a usual one, with the whole of a root file system, a tenth of it.
 */
#define P9_MAX_FIDS	(1u << 19)
#define P9_MAX_NODES	(1u << 20)
/* Deeper than a path of PATH_MAX bytes can be. */
#define P9_DEPTH_MAX	2048u
/* Values of attributes that fids may hold at once, in bytes. */
#define P9_XATTR_TOTAL	(8u << 20)

enum {
	P9_RLERROR = 7,
	P9_TSTATFS = 8,
	P9_TLOPEN = 12,
	P9_TLCREATE = 14,
	P9_TSYMLINK = 16,
	P9_TMKNOD = 18,
	P9_TRENAME = 20,
	P9_TREADLINK = 22,
	P9_TGETATTR = 24,
	P9_TSETATTR = 26,
	P9_TXATTRWALK = 30,
	P9_TXATTRCREATE = 32,
	P9_TREADDIR = 40,
	P9_TFSYNC = 50,
	P9_TLOCK = 52,
	P9_TGETLOCK = 54,
	P9_TLINK = 70,
	P9_TMKDIR = 72,
	P9_TRENAMEAT = 74,
	P9_TUNLINKAT = 76,
	P9_TVERSION = 100,
	P9_TAUTH = 102,
	P9_TATTACH = 104,
	P9_TFLUSH = 108,
	P9_TWALK = 110,
	P9_TREAD = 116,
	P9_TWRITE = 118,
	P9_TCLUNK = 120,
	P9_TREMOVE = 122,
};

/* ---- reading a request ---- */

/**
 * struct p9_in - what is left of a request
 * @bad: it was shorter than its fields, or a string was longer than it may be
 */
struct p9_in {
	const uint8_t *p;
	uint32_t len;
	int bad;
};

uint8_t p9_get8(struct p9_in *in);
uint16_t p9_get16(struct p9_in *in);
uint32_t p9_get32(struct p9_in *in);
uint64_t p9_get64(struct p9_in *in);
/**
 * p9_gets() - a string without NULs
 * @buf: room for @max bytes and a NUL
 *
 * In case of trouble @in->bad is a negative errno and @buf empty.
 */
void p9_gets(struct p9_in *in, char *buf, uint32_t max);
/** p9_get_name() - a name in a directory: one component, neither "." nor ".."; -EINVAL otherwise */
void p9_get_name(struct p9_in *in, char buf[P9_NAME_LEN + 1]);

/* ---- writing a reply ---- */

/**
 * struct p9_out - a reply that is being written
 * @p:    its first byte
 * @len:  bytes so far
 * @room: it may have so many
 * @full: one did not fit
 */
struct p9_out {
	uint8_t *p;
	uint32_t len, room;
	bool full;
};

void p9_put8(struct p9_out *out, uint8_t v);
void p9_put16(struct p9_out *out, uint16_t v);
void p9_put32(struct p9_out *out, uint32_t v);
void p9_put64(struct p9_out *out, uint64_t v);
void p9_puts(struct p9_out *out, const char *s, uint32_t len);

/* ---- nodes ---- */

/**
 * struct p9_node - something below the root, or the root, that at least one fid or node refers to
 * @parent:   the directory it was found in; NULL: the root
 * @name:     in there
 * @attached: found in the table by @parent and @name, and to be found there again in the directory.
 *            When the name is known to mean something else by now the node is detached: it lives
 *            on its descriptor, or not at all
 * @fd:       O_PATH, or -1: not open now
 * @dev, @ino, @type: what it was (S_IFMT) when it was found
 * @refs:     fids and children
 */
struct p9_node {
	struct p9_node *parent;
	char *name;
	struct p9_node *hash_next;
	struct p9_node *lru_prev, *lru_next;
	dev_t dev;
	ino_t ino;
	mode_t type;
	int fd;
	bool attached;
	uint32_t refs;
};

/**
 * struct p9_tree - all nodes of a share
 * @nr_open:  open descriptors of nodes, the root's apart
 * @nr_kept:  of those, that must stay open because their node is detached
 * @max_open: how many are left open between requests
 */
struct p9_tree {
	struct p9_node *root;
	struct p9_node **bucket;
	unsigned int nr_buckets, nr_nodes;
	unsigned int nr_open, nr_kept, max_open;
	struct p9_node *lru_head, *lru_tail;
	uint64_t seed;
};

int p9_tree_init(struct p9_tree *t, int root_fd, unsigned int max_open, struct err *e);
void p9_tree_destroy(struct p9_tree *t);
/** p9_tree_trim() - close what is open beyond the limit, the least recently used first */
void p9_tree_trim(struct p9_tree *t, unsigned int max_open);

static inline struct p9_node *p9_node_get(struct p9_node *n)
{
	n->refs++; /* NOLINT(clang-analyzer-core.NullDereference): a node that is there */
	return n;
}

void p9_node_put(struct p9_tree *t, struct p9_node *n);
/**
 * p9_node_fd() - a descriptor (O_PATH) of a node, good until the next p9_tree_trim()
 * Return: it, or -ESTALE: the node is not there any more; or an error of openat2().
 */
int p9_node_fd(struct p9_tree *t, struct p9_node *n);
/**
 * p9_node_walk() - the node with this name
 * @name: one component, or ".."
 * @st:   if not NULL, what it is
 * @out:  a reference for the caller
 */
int p9_node_walk(struct p9_tree *t, struct p9_node *dir, const char *name, struct stat *st,
		 struct p9_node **out);
/** p9_node_check() - is this still what is found in its directory? 0, or -ESTALE */
int p9_node_check(struct p9_tree *t, struct p9_node *n);
/**
 * p9_node_hold() - a name in a directory is about to mean something else, or nothing
 *
 * Return: the node that it means now, opened as long as that works; NULL: nobody has it in use.
 */
struct p9_node *p9_node_hold(struct p9_tree *t, struct p9_node *dir, const char *name);
/** p9_node_gone() - it came to that: who has it in use keeps the descriptor. NULL is fine */
void p9_node_gone(struct p9_tree *t, struct p9_node *n);
/** p9_node_move() - a name was moved, in the directories; what it replaced is gone */
void p9_node_move(struct p9_tree *t, struct p9_node *dir, const char *name, struct p9_node *to,
		  const char *to_name);
/** p9_openat() - openat2(), beneath @dir and without magic links */
int p9_openat(int dir, const char *name, int flags, mode_t mode);

/** struct p9_path - a path that leads to what a descriptor means, for calls that take no O_PATH */
struct p9_path {
	char s[32];
};

static inline struct p9_path p9_fd_path(int fd)
{
	struct p9_path p;

	snprintf(p.s, sizeof(p.s), "/proc/self/fd/%d", fd);
	return p;
}

/* ---- fids ---- */

enum p9_xattr {
	P9_XATTR_NONE,
	P9_XATTR_READ,		/* of Txattrwalk */
	P9_XATTR_WRITE,		/* of Txattrcreate: set when the fid is clunked */
};

/**
 * struct p9_fid - what the client's number stands for
 * @uid:   who attached
 * @io_fd: after Tlopen or Tlcreate, else -1
 * @dir_pos: where the descriptor of an open directory stands
 * @lock_proc: process of the guest that has locks through this fid; 0: none, P9_NOID: several
 * @xattr: what the fields below are for
 */
struct p9_fid {
	struct p9_fid *next;
	struct p9_node *node;
	uint32_t id;
	uint32_t uid;
	int io_fd;
	int64_t dir_pos;
	uint32_t lock_proc;
	enum p9_xattr xattr;
	uint32_t xattr_len, xattr_done;
	uint32_t xattr_flags;
	char *xattr_name;
	uint8_t *xattr_val;
};

struct p9srv {
	struct p9_tree tree;
	const char *name;
	bool readonly;
	bool privileged;	/* may give files away, so files are the guest's users' */
	uid_t euid;
	gid_t egid;
	uint32_t max_msize, msize;	/* 0: no Tversion yet */
	struct p9_fid **bucket;
	unsigned int nr_buckets, nr_fids;
	unsigned int nr_io, max_io;	/* open files and directories of fids */
	uint32_t xattr_total;
	uint64_t seed;
};

/**
 * struct p9_call - a request that is being served
 * @in:  what is left of the message
 * @req: for the data of Twrite
 * @out: the reply
 * @rep: for the data of Rread
 */
struct p9_call {
	struct p9_in in;
	const struct p9_req *req;
	struct p9_out out;
	struct p9_rep *rep;
};

/** p9_fid_find() - NULL: there is none */
struct p9_fid *p9_fid_find(struct p9srv *s, uint32_t id);
/** p9_fid_new() - takes over the reference to @node on success; -EBADF: the number is in use */
int p9_fid_new(struct p9srv *s, uint32_t id, uint32_t uid, struct p9_node *node,
	       struct p9_fid **out);
void p9_fid_free(struct p9srv *s, struct p9_fid *f);
/** p9_fid_stat() - of what is open, or of the node */
int p9_fid_stat(struct p9srv *s, struct p9_fid *f, struct stat *st);
/** p9_put_qid() - qid[13] */
void p9_put_qid(struct p9srv *s, struct p9_out *out, const struct stat *st);
/** p9_qid_path() - the client's inode number */
uint64_t p9_qid_path(struct p9srv *s, dev_t dev, ino_t ino);
/** p9_uint_hash() - for tables whose keys the guest chooses */
uint64_t p9_uint_hash(uint64_t seed, uint64_t v);
/** p9_own() - give a new file, known by a descriptor, to who made it, and the mode it asked for */
int p9_own(struct p9srv *s, int fd, uint32_t uid, uint32_t gid, mode_t mode, struct stat *st);

/* One for each type of message: a negative errno becomes Rlerror. */
int p9_statfs(struct p9srv *s, struct p9_call *c);
int p9_symlink(struct p9srv *s, struct p9_call *c);
int p9_mknod(struct p9srv *s, struct p9_call *c);
int p9_rename(struct p9srv *s, struct p9_call *c);
int p9_readlink(struct p9srv *s, struct p9_call *c);
int p9_getattr(struct p9srv *s, struct p9_call *c);
int p9_setattr(struct p9srv *s, struct p9_call *c);
int p9_link(struct p9srv *s, struct p9_call *c);
int p9_mkdir(struct p9srv *s, struct p9_call *c);
int p9_renameat(struct p9srv *s, struct p9_call *c);
int p9_unlinkat(struct p9srv *s, struct p9_call *c);
int p9_remove(struct p9srv *s, struct p9_call *c);
int p9_lopen(struct p9srv *s, struct p9_call *c);
int p9_lcreate(struct p9srv *s, struct p9_call *c);
int p9_read(struct p9srv *s, struct p9_call *c);
int p9_write(struct p9srv *s, struct p9_call *c);
int p9_readdir(struct p9srv *s, struct p9_call *c);
int p9_fsync(struct p9srv *s, struct p9_call *c);
int p9_lock(struct p9srv *s, struct p9_call *c);
int p9_getlock(struct p9srv *s, struct p9_call *c);
int p9_xattrwalk(struct p9srv *s, struct p9_call *c);
int p9_xattrcreate(struct p9srv *s, struct p9_call *c);
/** p9_xattr_commit() - what Txattrcreate announced has been written: set or remove it */
int p9_xattr_commit(struct p9srv *s, struct p9_fid *f);

#endif
