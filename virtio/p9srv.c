// SPDX-License-Identifier: BSD-3-Clause
/* The 9P server: session, fids, dispatcher. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "virtio/p9int.h"
#include "vmm/core/err.h"

/*
 * #syscalls main,io?9p: getrandom geteuid getegid
 * #syscalls main,io,vcpu?9p: close
 */

#define VERSION		"9P2000.L"
#define HEAD		7u	/* size[4] type[1] tag[2] */
#define BUCKETS_MIN	256u
/* Below this many descriptors there is nothing to share with. */
#define FDS_MIN		32u
#define QTDIR		0x80
#define QTSYMLINK	0x02

/* ---- messages ---- */

static const uint8_t *take(struct p9_in *in, uint32_t len)
{
	const uint8_t *p = in->p;

	if (in->bad || in->len < len) {
		if (!in->bad)
			in->bad = -EINVAL;
		return NULL;
	}
	in->p += len;
	in->len -= len;
	return p;
}

static uint64_t get(struct p9_in *in, unsigned int bytes)
{
	const uint8_t *p = take(in, bytes);
	uint64_t v = 0;

	while (p && bytes)
		v = v << 8 | p[--bytes];
	return v;
}

uint8_t p9_get8(struct p9_in *in)
{
	return get(in, 1);
}

uint16_t p9_get16(struct p9_in *in)
{
	return get(in, 2);
}

uint32_t p9_get32(struct p9_in *in)
{
	return get(in, 4);
}

uint64_t p9_get64(struct p9_in *in)
{
	return get(in, 8);
}

void p9_gets(struct p9_in *in, char *buf, uint32_t max)
{
	uint32_t len = p9_get16(in);
	const uint8_t *p = take(in, len);

	buf[0] = '\0';
	if (!p)
		return;
	if (len > max) {
		in->bad = -ENAMETOOLONG;
	} else if (memchr(p, '\0', len)) {
		in->bad = -EINVAL;
	} else {
		memcpy(buf, p, len);
		buf[len] = '\0';
	}
}

void p9_get_name(struct p9_in *in, char buf[P9_NAME_LEN + 1])
{
	p9_gets(in, buf, P9_NAME_LEN);
	if (in->bad)
		return;
	if (!buf[0] || strchr(buf, '/') || !strcmp(buf, ".") || !strcmp(buf, "..")) {
		in->bad = -EINVAL;
		buf[0] = '\0';
	}
}

static void put(struct p9_out *out, uint64_t v, unsigned int bytes)
{
	if (out->room - out->len < bytes) {
		out->full = true;
		return;
	}
	for (; bytes; bytes--, v >>= 8)
		out->p[out->len++] = v;
}

void p9_put8(struct p9_out *out, uint8_t v)
{
	put(out, v, 1);
}

void p9_put16(struct p9_out *out, uint16_t v)
{
	put(out, v, 2);
}

void p9_put32(struct p9_out *out, uint32_t v)
{
	put(out, v, 4);
}

void p9_put64(struct p9_out *out, uint64_t v)
{
	put(out, v, 8);
}

void p9_puts(struct p9_out *out, const char *s, uint32_t len)
{
	if (len > UINT16_MAX || out->room - out->len < 2 + len) {
		out->full = true;
		return;
	}
	p9_put16(out, len);
	memcpy(out->p + out->len, s, len);
	out->len += len;
}

uint64_t p9_uint_hash(uint64_t seed, uint64_t v)
{
	v = (v ^ seed) * UINT64_C(0x9e3779b97f4a7c15);	/* 2^64 / golden ratio */
	return v ^ v >> 32;
}

uint64_t p9_qid_path(struct p9srv *s, dev_t dev, ino_t ino)
{
	/*
	 * Inode numbers as they are on the file system of the root; those of others are moved by a
	 * number that depends on the device alone, so they are the same at each start.
	 */
	return ino ^ (uint64_t)(dev ^ s->tree.root->dev) * UINT64_C(0x9e3779b97f4a7c15);
}

void p9_put_qid(struct p9srv *s, struct p9_out *out, const struct stat *st)
{
	p9_put8(out, S_ISDIR(st->st_mode) ? QTDIR : S_ISLNK(st->st_mode) ? QTSYMLINK : 0);
	/* a client that caches tells by it whether a file has changed */
	p9_put32(out, st->st_mtim.tv_sec ^ st->st_mtim.tv_nsec ^ (uint32_t)st->st_size << 8);
	p9_put64(out, p9_qid_path(s, st->st_dev, st->st_ino));
}

/* ---- fids ---- */

static struct p9_fid **fid_slot(struct p9srv *s, uint32_t id)
{
	struct p9_fid **pp = &s->bucket[p9_uint_hash(s->seed, id) & (s->nr_buckets - 1)];

	while (*pp && (*pp)->id != id)
		pp = &(*pp)->next;
	return pp;
}

struct p9_fid *p9_fid_find(struct p9srv *s, uint32_t id)
{
	return *fid_slot(s, id);
}

static void fids_grow(struct p9srv *s)
{
	unsigned int old_nr = s->nr_buckets;
	struct p9_fid **old = s->bucket, **bigger;

	bigger = calloc(old_nr * 2, sizeof(struct p9_fid *));
	if (!bigger)
		return;
	s->bucket = bigger;
	s->nr_buckets = old_nr * 2;
	for (unsigned int i = 0; i < old_nr; i++) {
		struct p9_fid *f = old[i], *next, **pp;

		for (; f; f = next) {
			next = f->next;
			pp = fid_slot(s, f->id);
			f->next = NULL;
			*pp = f;
		}
	}
	free(old);
}

int p9_fid_new(struct p9srv *s, uint32_t id, uint32_t uid, struct p9_node *node,
	       struct p9_fid **out)
{
	struct p9_fid *f;

	if (id == P9_NOFID || p9_fid_find(s, id))
		return -EBADF;
	if (s->nr_fids >= P9_MAX_FIDS)
		return -ENFILE;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	if (s->nr_fids >= s->nr_buckets * 2)
		fids_grow(s);
	f->id = id;
	f->uid = uid;
	f->node = node;
	f->io_fd = -1;
	*fid_slot(s, id) = f;
	s->nr_fids++;
	if (out)
		*out = f;
	return 0;
}

void p9_fid_free(struct p9srv *s, struct p9_fid *f)
{
	*fid_slot(s, f->id) = f->next;
	if (f->io_fd >= 0) {
		close(f->io_fd);
		s->nr_io--;
	}
	s->xattr_total -= f->xattr_val ? f->xattr_len : 0;
	free(f->xattr_val);
	free(f->xattr_name);
	p9_node_put(&s->tree, f->node);
	free(f);
	s->nr_fids--;
}

int p9_fid_stat(struct p9srv *s, struct p9_fid *f, struct stat *st)
{
	int fd = f->io_fd;

	if (fd < 0)
		fd = p9_node_fd(&s->tree, f->node);
	if (fd < 0)
		return fd;
	return fstat(fd, st) < 0 ? -errno : 0;
}

static void drop_fids(struct p9srv *s)
{
	for (unsigned int i = 0; i < s->nr_buckets; i++)
		while (s->bucket[i])
			p9_fid_free(s, s->bucket[i]);
}

/* ---- session ---- */

static int do_version(struct p9srv *s, struct p9_call *c)
{
	uint32_t msize = p9_get32(&c->in);
	char version[32];

	p9_gets(&c->in, version, sizeof(version) - 1);
	if (c->in.bad)
		return c->in.bad;
	/* whatever the client says: it ends the session, if there was one */
	drop_fids(s);
	s->msize = 0;
	if (msize < P9_MSIZE_MIN)
		return -EMSGSIZE;
	msize = MIN(msize, s->max_msize);
	p9_put32(&c->out, msize);
	if (strcmp(version, VERSION)) {
		p9_puts(&c->out, "unknown", 7);
		return 0;
	}
	s->msize = msize;
	p9_puts(&c->out, version, strlen(version));
	return 0;
}

static int do_auth(struct p9srv *s, struct p9_call *c)
{
	return -ENOENT;		/* none required, as the protocol wants it said */
}

static int do_attach(struct p9srv *s, struct p9_call *c)
{
	uint32_t fid = p9_get32(&c->in), afid = p9_get32(&c->in), uid;
	char name[P9_NAME_LEN + 1];
	struct stat st;
	int ret;

	/* The user's name says nothing here, and there is one tree to attach to. */
	p9_gets(&c->in, name, P9_NAME_LEN);
	p9_gets(&c->in, name, P9_NAME_LEN);
	uid = p9_get32(&c->in);
	if (c->in.bad)
		return c->in.bad;
	if (afid != P9_NOFID)
		return -EINVAL;
	if (fstat(s->tree.root->fd, &st) < 0)
		return -errno;
	ret = p9_fid_new(s, fid, uid, s->tree.root, NULL);
	if (ret < 0)
		return ret;
	p9_node_get(s->tree.root);
	p9_put_qid(s, &c->out, &st);
	return 0;
}

static int do_flush(struct p9srv *s, struct p9_call *c)
{
	p9_get16(&c->in);	/* was answered before */
	return c->in.bad;
}

/* Replace what a fid stands for; the old one goes. */
static void fid_move(struct p9srv *s, struct p9_fid *f, struct p9_node *node)
{
	p9_node_put(&s->tree, f->node);
	f->node = node;
}

static int do_walk(struct p9srv *s, struct p9_call *c)
{
	uint32_t id = p9_get32(&c->in), new_id = p9_get32(&c->in);
	uint16_t nr = p9_get16(&c->in), done;
	struct p9_fid *f = p9_fid_find(s, id);
	struct p9_node *node, *next;
	char name[P9_NAME_LEN + 1];
	uint32_t count_at;
	struct stat st;
	int ret = 0;

	if (c->in.bad)
		return c->in.bad;
	if (nr > P9_WALK_MAX)
		return -EINVAL;
	if (!f || f->xattr)
		return -EBADF;
	if (new_id == id ? f->io_fd >= 0 : new_id == P9_NOFID || p9_fid_find(s, new_id))
		return -EBADF;
	if (c->out.room - c->out.len < 2 + nr * 13u)
		return -EMSGSIZE;
	node = p9_node_get(f->node);
	count_at = c->out.len;
	p9_put16(&c->out, 0);
	for (done = 0; done < nr; done++) {
		p9_gets(&c->in, name, P9_NAME_LEN);
		ret = c->in.bad;
		if (!ret && (!name[0] || strchr(name, '/') || !strcmp(name, ".")))
			ret = -EINVAL;
		if (!ret)
			ret = p9_node_walk(&s->tree, node, name, &st, &next);
		if (ret < 0)
			break;
		p9_node_put(&s->tree, node);
		/* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): the walk has set it */
		node = next;
		p9_put_qid(s, &c->out, &st);
	}
	/* Half of the way is no error, but the new fid is not there then; a bad message is one. */
	if (done < nr) {
		p9_node_put(&s->tree, node);
		if (!done || c->in.bad)
			return ret;
	} else if (new_id == id) {
		fid_move(s, f, node);
	} else {
		ret = p9_fid_new(s, new_id, f->uid, node, NULL);
		if (ret < 0) {
			p9_node_put(&s->tree, node);
			return ret;
		}
	}
	c->out.p[count_at] = done;
	return 0;
}

static int do_clunk(struct p9srv *s, struct p9_call *c)
{
	struct p9_fid *f = p9_fid_find(s, p9_get32(&c->in));
	int ret = 0;

	if (c->in.bad)
		return c->in.bad;
	if (!f)
		return -EBADF;
	if (f->xattr == P9_XATTR_WRITE)
		ret = p9_xattr_commit(s, f);
	p9_fid_free(s, f);
	return ret;
}

/* ---- dispatcher ---- */

struct p9_op {
	int (*fn)(struct p9srv *s, struct p9_call *c);
	bool changes;		/* refused on a read-only share */
};

static const struct p9_op ops[] = {
	[P9_TSTATFS] = { p9_statfs, false },
	[P9_TLOPEN] = { p9_lopen, false },	/* looks for itself */
	[P9_TLCREATE] = { p9_lcreate, true },
	[P9_TSYMLINK] = { p9_symlink, true },
	[P9_TMKNOD] = { p9_mknod, true },
	[P9_TRENAME] = { p9_rename, true },
	[P9_TREADLINK] = { p9_readlink, false },
	[P9_TGETATTR] = { p9_getattr, false },
	[P9_TSETATTR] = { p9_setattr, true },
	[P9_TXATTRWALK] = { p9_xattrwalk, false },
	[P9_TXATTRCREATE] = { p9_xattrcreate, true },
	[P9_TREADDIR] = { p9_readdir, false },
	[P9_TFSYNC] = { p9_fsync, false },
	[P9_TLOCK] = { p9_lock, false },
	[P9_TGETLOCK] = { p9_getlock, false },
	[P9_TLINK] = { p9_link, true },
	[P9_TMKDIR] = { p9_mkdir, true },
	[P9_TRENAMEAT] = { p9_renameat, true },
	[P9_TUNLINKAT] = { p9_unlinkat, true },
	[P9_TVERSION] = { do_version, false },
	[P9_TAUTH] = { do_auth, false },
	[P9_TATTACH] = { do_attach, false },
	[P9_TFLUSH] = { do_flush, false },
	[P9_TWALK] = { do_walk, false },
	[P9_TREAD] = { p9_read, false },
	[P9_TWRITE] = { p9_write, true },
	[P9_TCLUNK] = { do_clunk, false },
	[P9_TREMOVE] = { p9_remove, false },	/* clunks the fid in any case */
};

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void p9srv_plan(const uint8_t *msg, uint32_t len, struct p9_plan *plan)
{
	uint32_t size;

	*plan = (struct p9_plan){ 0 };
	plan->head = MIN(len, P9_REQ_MAX);
	if (len < HEAD)
		return;
	size = le32(msg);
	plan->head = MIN(size, P9_REQ_MAX);
	if (msg[4] == P9_TWRITE && len >= P9_WRITE_HEAD && size >= P9_WRITE_HEAD) {
		plan->head = P9_WRITE_HEAD;
		plan->out = MIN(le32(msg + 19), size - P9_WRITE_HEAD);
	} else if (msg[4] == P9_TREAD && len >= P9_WRITE_HEAD) {
		plan->in = le32(msg + 19);
	}
}

static void finish(struct p9_call *c, uint8_t type, uint16_t tag, int ret)
{
	struct p9_rep *rep = c->rep;
	uint32_t len;

	if (ret >= 0 && c->out.full)
		ret = -EMSGSIZE;
	if (ret < 0) {
		type = P9_RLERROR - 1;
		rep->data_len = 0;
		c->out = (struct p9_out){ .p = rep->buf, .len = HEAD, .room = P9_ERROR_LEN };
		p9_put32(&c->out, -ret);
	}
	rep->len = len = c->out.len;
	c->out.len = 0;
	p9_put32(&c->out, len + rep->data_len);
	p9_put8(&c->out, type + 1);
	p9_put16(&c->out, tag);
}

void p9srv_refuse(const struct p9_req *req, int error, struct p9_rep *rep)
{
	struct p9_call c = { .rep = rep, .out = { .p = rep->buf, .room = P9_ERROR_LEN } };
	uint16_t tag = req->len >= HEAD ? req->msg[5] | req->msg[6] << 8 : UINT16_MAX;

	finish(&c, 0, tag, error);
}

void p9srv_serve(struct p9srv *s, const struct p9_req *req, struct p9_rep *rep)
{
	struct p9_call c = {
		.in = { .p = req->msg, .len = req->len },
		.req = req,
		.out = { .p = rep->buf, .len = HEAD },
		.rep = rep,
	};
	uint32_t size = p9_get32(&c.in);
	uint8_t type = p9_get8(&c.in);
	uint16_t tag = p9_get16(&c.in);
	const struct p9_op *op;
	int ret;

	rep->data_len = 0;
	c.out.room = MIN(rep->room, P9_REP_MAX);
	/* the limit that the client agreed to holds for what it allocated, too */
	if (s->msize)
		c.out.room = MIN(c.out.room, s->msize);
	op = type < ARRAY_SIZE(ops) ? &ops[type] : NULL;
	if (c.in.bad || size < HEAD || c.out.room < P9_ERROR_LEN)
		ret = -EINVAL;
	else if (size > (s->msize ? s->msize : P9_MSIZE_MIN) || size - HEAD > c.in.len +
		 (type == P9_TWRITE ? req->data_len : 0))
		ret = -EMSGSIZE;
	else if (!op || !op->fn)
		ret = -EOPNOTSUPP;
	else if (!s->msize && type != P9_TVERSION)
		ret = -EINVAL;
	else if (op->changes && s->readonly)
		ret = -EROFS;
	else
		ret = 0;
	if (!ret) {
		c.in.len = MIN(c.in.len, size - HEAD);
		ret = op->fn(s, &c);
		p9_tree_trim(&s->tree, s->tree.max_open);
	}
	finish(&c, type, tag, ret);
}

void p9srv_reset(struct p9srv *s)
{
	drop_fids(s);
	s->msize = 0;
	p9_tree_trim(&s->tree, 0);
}

int p9srv_new(const struct p9srv_cfg *cfg, struct p9srv **out, struct err *e)
{
	struct p9srv *s;
	int ret;

	*out = NULL;
	if (cfg->max_fds < FDS_MIN)
		return err_set(e, -EMFILE, "too few open files are allowed (%u for this share): "
			       "raise the limit, with ulimit -n", cfg->max_fds);
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, -ENOMEM, "no memory");
	s->name = cfg->name;
	s->readonly = cfg->readonly;
	s->euid = geteuid();
	s->egid = getegid();
	s->privileged = !s->euid;
	s->max_msize = cfg->max_msize ? MIN(cfg->max_msize, P9_MSIZE_MAX) : P9_MSIZE_MAX;
	s->max_msize = MAX(s->max_msize, P9_MSIZE_MIN);
	/*
	 * Half for what the client has open. A walk may go beyond the other half until its request
	 * is answered, so some are left over for that.
	 */
	s->max_io = cfg->max_fds / 2;
	if (getrandom(&s->seed, sizeof(s->seed), 0) != (ssize_t)sizeof(s->seed))
		s->seed = (uintptr_t)s;
	s->nr_buckets = BUCKETS_MIN;
	s->bucket = calloc(s->nr_buckets, sizeof(struct p9_fid *));
	if (!s->bucket) {
		free(s);
		return err_set(e, -ENOMEM, "no memory");
	}
	ret = p9_tree_init(&s->tree, cfg->root_fd, cfg->max_fds / 2 - P9_WALK_MAX / 2 - 4, e);
	if (ret < 0) {
		free(s->bucket);
		free(s);
		return ret;
	}
	*out = s;
	return 0;
}

void p9srv_free(struct p9srv *s)
{
	if (!s)
		return;
	drop_fids(s);
	p9_tree_destroy(&s->tree);
	free(s->bucket);
	free(s);
}
