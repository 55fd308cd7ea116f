// SPDX-License-Identifier: BSD-3-Clause
/*
 * The 9P server: requests about contents: open files and directories, locks, extended attributes.
 *
 * What is opened is a regular file or a directory, known to be one before it is opened, and
 * O_NONBLOCK is set: files of /proc and /sys that look regular and would wait for something do not.
 * A device, a FIFO or a socket is for the guest to open on its own side.
 *
 * Locks are those of open file descriptions (F_OFD_SETLK): a fid is one, so guests that share a
 * directory, and programs of the host, see each other's. Linux looks for conflicts between its own
 * processes before it asks. The server never waits for a lock: the client tries again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "virtio/p9int.h"

/*
 * #syscalls main,io?9p: open openat pread64 pwrite64 preadv pwritev fsync fdatasync lseek
 * #syscalls main,io?9p: getdents64
 * #syscalls main,io?9p: getxattr setxattr listxattr removexattr
 * #syscalls main,io?9p: fcntl=F_OFD_SETLK|F_OFD_GETLK fstat newfstatat
 */

/* Flags of Tlopen and Tlcreate: numbers of Linux (asm-generic), whatever the host's are. */
#define L_ACCMODE	00000003u
#define L_CREATE	00000100u
#define L_EXCL		00000200u
#define L_TRUNC		00001000u
#define L_APPEND	00002000u
#define L_DSYNC		00010000u
#define L_DIRECTORY	00200000u
#define L_SYNC		04000000u

#define LOCK_RDLCK	0
#define LOCK_WRLCK	1
#define LOCK_UNLCK	2
#define LOCK_SUCCESS	0
#define LOCK_BLOCKED	1
#define LOCK_ERROR	2

/* An entry of Rreaddir without its name. */
#define DIRENT_HEAD	(13u + 8u + 1u + 2u)
#define DIR_CHUNK	(32u << 10)

static int host_flags(uint32_t flags)
{
	static const int access_mode[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR };
	int f = access_mode[flags & L_ACCMODE] | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

	f |= flags & L_TRUNC ? O_TRUNC : 0;
	f |= flags & L_APPEND ? O_APPEND : 0;
	f |= flags & L_DSYNC ? O_DSYNC : 0;
	f |= (flags & L_SYNC) == L_SYNC ? O_SYNC : 0;
	return f;
}

static bool writes(uint32_t flags)
{
	return (flags & L_ACCMODE) || (flags & L_TRUNC);
}

/* Open what a node means: the same file, whatever its name means by now. */
static int open_node(struct p9srv *s, struct p9_node *n, uint32_t flags)
{
	int fd, opath;

	if (s->nr_io >= s->max_io)
		return -ENFILE;
	opath = p9_node_fd(&s->tree, n);
	if (opath < 0)
		return opath;
	switch (n->type) {
	case S_IFDIR:
		if (writes(flags))
			return -EISDIR;
		fd = open(p9_fd_path(opath).s, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		break;
	case S_IFREG:
		if (flags & L_DIRECTORY)
			return -ENOTDIR;
		fd = open(p9_fd_path(opath).s, host_flags(flags));
		break;
	case S_IFLNK:
		return -ELOOP;
	default:
		return -ENXIO;
	}
	return fd < 0 ? -errno : fd;
}

static void opened(struct p9srv *s, struct p9_fid *f, int fd)
{
	f->io_fd = fd;
	f->dir_pos = 0;
	s->nr_io++;
}

int p9_lopen(struct p9srv *s, struct p9_call *c)
{
	struct p9_fid *f = p9_fid_find(s, p9_get32(&c->in));
	uint32_t flags = p9_get32(&c->in);
	struct stat st;
	int fd;

	if (c->in.bad)
		return c->in.bad;
	if (!f || f->xattr || f->io_fd >= 0)
		return -EBADF;
	if (s->readonly && writes(flags))
		return -EROFS;
	fd = open_node(s, f->node, flags);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0) {
		close(fd);
		return -errno;
	}
	opened(s, f, fd);
	p9_put_qid(s, &c->out, &st);
	p9_put32(&c->out, 0);	/* as much at once as the message size allows */
	return 0;
}

int p9_lcreate(struct p9srv *s, struct p9_call *c)
{
	struct p9_fid *f = p9_fid_find(s, p9_get32(&c->in));
	char name[P9_NAME_LEN + 1];
	uint32_t flags, mode, gid;
	struct p9_node *n;
	bool fresh = true;
	struct stat st;
	int dir, fd, ret;

	p9_get_name(&c->in, name);
	flags = p9_get32(&c->in);
	mode = p9_get32(&c->in);
	gid = p9_get32(&c->in);
	if (c->in.bad)
		return c->in.bad;
	if (!f || f->xattr || f->io_fd >= 0)
		return -EBADF;
	if (f->node->type != S_IFDIR)
		return -ENOTDIR;
	if (s->nr_io >= s->max_io)
		return -ENFILE;
	dir = p9_node_fd(&s->tree, f->node);
	if (dir < 0)
		return dir;
	/* what is there already may be a device or a FIFO: never opened by name */
	fd = p9_openat(dir, name, host_flags(flags) | O_CREAT | O_EXCL, mode & 0777);
	if (fd == -EEXIST && !(flags & L_EXCL))
		fresh = false;
	else if (fd < 0)
		return fd;
	ret = p9_node_walk(&s->tree, f->node, name, &st, &n);
	if (ret < 0)
		goto close_fd;
	if (!fresh)
		fd = open_node(s, n, flags & ~L_DIRECTORY);
	ret = fd < 0 ? fd : fstat(fd, &st) < 0 ? -errno : 0;
	if (!ret && fresh)
		ret = p9_own(s, fd, f->uid, gid, mode, &st);
	/* renamed under our hands on the host */
	if (!ret && (n->ino != st.st_ino || n->dev != st.st_dev))
		ret = -ESTALE;
	if (ret < 0) {
		p9_node_put(&s->tree, n);
		goto close_fd;
	}
	p9_node_put(&s->tree, f->node);
	f->node = n;
	opened(s, f, fd);
	p9_put_qid(s, &c->out, &st);
	p9_put32(&c->out, 0);
	return 0;

close_fd:
	if (fd >= 0)
		close(fd);
	return ret;
}

/* ---- reading and writing ---- */

/* On FUSE and NFS a signal for us can end a call that is the guest's, which did not get it. */
#define RETRY(call) ({ \
	ssize_t n_; \
	do { \
		n_ = (call); \
	} while (n_ < 0 && errno == EINTR); \
	n_; \
})

/* The first @max bytes of some pieces; @last: room for one that is cut. */
static int read_pieces(int fd, const struct iovec *iov, unsigned int nr, uint32_t max,
		       uint64_t offset, uint32_t *done)
{
	unsigned int whole = 0;
	uint32_t left = max;
	ssize_t n = 0;

	*done = 0;
	while (whole < nr && iov[whole].iov_len <= left)
		left -= iov[whole++].iov_len;
	if (whole)
		n = RETRY(preadv(fd, iov, whole, offset));
	if (n < 0)
		return -errno;
	*done = n;
	if (*done == max - left && left && whole < nr) {
		n = RETRY(pread(fd, iov[whole].iov_base, left, offset + *done));
		if (n < 0 && !*done)
			return -errno;
		*done += n < 0 ? 0 : n;
	}
	return 0;
}

int p9_read(struct p9srv *s, struct p9_call *c)
{
	struct p9_fid *f = p9_fid_find(s, p9_get32(&c->in));
	uint64_t offset = p9_get64(&c->in);
	uint32_t count = p9_get32(&c->in), done;
	int ret;

	if (c->in.bad)
		return c->in.bad;
	if (!f || (f->io_fd < 0 && f->xattr != P9_XATTR_READ))
		return -EBADF;
	if (c->rep->room < P9_READ_HEAD)
		return -EMSGSIZE;
	if (f->xattr) {
		uint32_t room = c->out.room > P9_READ_HEAD ? c->out.room - P9_READ_HEAD : 0;

		done = offset >= f->xattr_len ? 0 : MIN(f->xattr_len - (uint32_t)offset, count);
		done = MIN(done, room);
		p9_put32(&c->out, done);
		if (done)
			memcpy(c->out.p + c->out.len, f->xattr_val + offset, done);
		c->out.len += done;
		return 0;
	}
	if (f->node->type == S_IFDIR)
		return -EISDIR;
	count = MIN(count, s->msize - P9_READ_HEAD);
	count = MIN((uint64_t)count, c->rep->data_room);
	if (offset > (uint64_t)INT64_MAX - count)
		return -EINVAL;
	ret = read_pieces(f->io_fd, c->rep->data, c->rep->nr, count, offset, &done);
	if (ret < 0)
		return ret;
	c->rep->data_len = done;
	p9_put32(&c->out, done);
	return 0;
}

/* All data of a Twrite, into memory of ours. */
static int fetch(const struct p9_req *req, uint8_t *buf)
{
	if (req->fetch)
		return req->fetch(req, buf);
	for (unsigned int i = 0; i < req->nr; i++) {
		memcpy(buf, req->data[i].iov_base, req->data[i].iov_len);
		buf += req->data[i].iov_len;
	}
	return 0;
}

int p9_write(struct p9srv *s, struct p9_call *c)
{
	struct p9_fid *f = p9_fid_find(s, p9_get32(&c->in));
	uint64_t offset = p9_get64(&c->in);
	uint32_t count = p9_get32(&c->in);
	ssize_t n;
	int ret;

	if (c->in.bad)
		return c->in.bad;
	if (!f || (f->io_fd < 0 && f->xattr != P9_XATTR_WRITE))
		return -EBADF;
	if (count != c->req->data_len)
		return -EINVAL;
	if (f->xattr) {
		if (offset != f->xattr_done || count > f->xattr_len - f->xattr_done)
			return -EINVAL;
		ret = fetch(c->req, f->xattr_val + f->xattr_done);
		if (ret < 0)
			return ret;
		f->xattr_done += count;
		p9_put32(&c->out, count);
		return 0;
	}
	if (f->node->type == S_IFDIR)
		return -EISDIR;
	if (offset > (uint64_t)INT64_MAX - count)
		return -EFBIG;
	n = count ? RETRY(pwritev(f->io_fd, c->req->data, c->req->nr, offset)) : 0;
	if (n < 0)
		return -errno;
	p9_put32(&c->out, n);
	return 0;
}

int p9_fsync(struct p9srv *s, struct p9_call *c)
{
	struct p9_fid *f = p9_fid_find(s, p9_get32(&c->in));
	/* older clients do not say */
	uint32_t data_only = c->in.len >= 4 ? p9_get32(&c->in) : 0;

	if (c->in.bad)
		return c->in.bad;
	if (!f || f->io_fd < 0)
		return -EBADF;
	return (data_only ? fdatasync(f->io_fd) : fsync(f->io_fd)) < 0 ? -errno : 0;
}

/* ---- directories ---- */

struct dirent64 {
	uint64_t ino;
	int64_t next;
	uint16_t len;
	uint8_t type;
	char name[];
};

/* An entry's qid holds what getdents64() tells: its type, and its inode number on this device. */
static bool put_entry(struct p9srv *s, struct p9_call *c, struct p9_fid *f,
		      const struct dirent64 *d, uint32_t end)
{
	struct p9_node *up = f->node->parent ? f->node->parent : f->node;
	struct stat st = {
		.st_dev = f->node->dev,
		.st_ino = d->ino,
		.st_mode = (mode_t)d->type << 12,	/* DTTOIF */
	};
	size_t len = strlen(d->name);

	if (len > P9_NAME_LEN)
		return true;
	if (end - c->out.len < DIRENT_HEAD + len)
		return false;
	/* what lies above the share is nobody's business */
	if (!strcmp(d->name, "..")) {
		st.st_dev = up->dev;
		st.st_ino = up->ino;
	}
	p9_put_qid(s, &c->out, &st);
	p9_put64(&c->out, d->next);
	p9_put8(&c->out, d->type);
	p9_puts(&c->out, d->name, len);
	return true;
}

int p9_readdir(struct p9srv *s, struct p9_call *c)
{
	struct p9_fid *f = p9_fid_find(s, p9_get32(&c->in));
	uint64_t offset = p9_get64(&c->in);
	uint32_t count = p9_get32(&c->in), start, end, at;
	_Alignas(struct dirent64) char buf[DIR_CHUNK];
	bool any = false, more = true;
	long n;

	if (c->in.bad)
		return c->in.bad;
	if (!f || f->io_fd < 0)
		return -EBADF;
	if (f->node->type != S_IFDIR)
		return -ENOTDIR;
	start = c->out.len;
	p9_put32(&c->out, 0);
	if (c->out.full)
		return -EMSGSIZE;
	end = c->out.len + MIN(count, c->out.room - c->out.len);
	if ((int64_t)offset != f->dir_pos && lseek(f->io_fd, offset, SEEK_SET) < 0)
		return -errno;
	f->dir_pos = offset;
	while (more) {
		n = syscall(SYS_getdents64, f->io_fd, buf, MIN((uint32_t)sizeof(buf),
							      MAX(end - c->out.len, 1024u)));
		if (n < 0 && !any) {
			f->dir_pos = -1;
			return -errno;
		}
		if (n <= 0)
			break;
		for (at = 0; at < n && more; ) {
			const struct dirent64 *d = (const struct dirent64 *)(buf + at);

			more = put_entry(s, c, f, d, end);
			if (more) {
				f->dir_pos = d->next;
				at += d->len;
				any = true;
			}
		}
		if (at < n)
			f->dir_pos = -1;	/* it stands behind what could be told */
	}
	if (!any && !more)
		return -EINVAL;		/* there is one, and no room for it */
	n = c->out.len;
	c->out.len = start;
	p9_put32(&c->out, n - start - 4);
	c->out.len = n;
	return 0;
}

/* ---- locks ---- */

static int get_flock(uint8_t type, uint64_t start, uint64_t len, struct flock *fl)
{
	static const short types[] = { F_RDLCK, F_WRLCK, F_UNLCK };

	if (type >= ARRAY_SIZE(types) || start > INT64_MAX || len > INT64_MAX - start)
		return -EINVAL;
	*fl = (struct flock){ .l_type = types[type], .l_whence = SEEK_SET, .l_start = start,
			      .l_len = len };
	return 0;
}

int p9_lock(struct p9srv *s, struct p9_call *c)
{
	struct p9_fid *f = p9_fid_find(s, p9_get32(&c->in));
	uint8_t type = p9_get8(&c->in), status = LOCK_SUCCESS;
	uint64_t start, len;
	uint32_t proc;
	struct flock fl;
	int ret;

	p9_get32(&c->in);	/* "block": the client asks again anyway */
	start = p9_get64(&c->in);
	len = p9_get64(&c->in);
	proc = p9_get32(&c->in);
	if (c->in.bad)
		return c->in.bad;
	if (!f || f->io_fd < 0)
		return -EBADF;
	ret = get_flock(type, start, len, &fl);
	if (ret < 0)
		return ret;
	/*
	 * A child that closes the descriptor it inherited unlocks with its own number what the
	 * parent has locked.
	 */
	if (type == LOCK_UNLCK && f->lock_proc != P9_NOID && f->lock_proc != proc) {
		p9_put8(&c->out, LOCK_SUCCESS);
		return 0;
	}
	if (fcntl(f->io_fd, F_OFD_SETLK, &fl) < 0) {
		if (errno != EAGAIN && errno != EACCES)
			return -errno;
		status = LOCK_BLOCKED;
	} else if (type != LOCK_UNLCK) {
		f->lock_proc = !f->lock_proc || f->lock_proc == proc ? proc : P9_NOID;
	}
	p9_put8(&c->out, status);
	return 0;
}

int p9_getlock(struct p9srv *s, struct p9_call *c)
{
	struct p9_fid *f = p9_fid_find(s, p9_get32(&c->in));
	uint8_t type = p9_get8(&c->in);
	uint64_t start = p9_get64(&c->in), len = p9_get64(&c->in);
	uint32_t proc = p9_get32(&c->in);
	char client[P9_NAME_LEN + 1];
	struct flock fl;
	int ret;

	p9_gets(&c->in, client, P9_NAME_LEN);
	if (c->in.bad)
		return c->in.bad;
	if (!f || f->io_fd < 0)
		return -EBADF;
	ret = get_flock(type, start, len, &fl);
	if (ret < 0)
		return ret;
	if (fcntl(f->io_fd, F_OFD_GETLK, &fl) < 0)
		return -errno;
	if (fl.l_type != F_UNLCK) {
		type = fl.l_type == F_RDLCK ? LOCK_RDLCK : LOCK_WRLCK;
		start = fl.l_start;
		len = fl.l_len;
		proc = 0;	/* nobody of this client */
	} else {
		type = LOCK_UNLCK;
	}
	p9_put8(&c->out, type);
	p9_put64(&c->out, start);
	p9_put64(&c->out, len);
	p9_put32(&c->out, proc);
	p9_puts(&c->out, client, strlen(client));
	return 0;
}

/* ---- extended attributes ---- */

int p9_xattrwalk(struct p9srv *s, struct p9_call *c)
{
	struct p9_fid *f = p9_fid_find(s, p9_get32(&c->in)), *nf;
	uint32_t id = p9_get32(&c->in);
	char name[P9_XATTR_NAME + 1];
	struct p9_path path;
	uint8_t *val = NULL;
	ssize_t n;
	int fd, ret;

	p9_gets(&c->in, name, P9_XATTR_NAME);
	if (c->in.bad)
		return c->in.bad;
	if (!f || f->xattr || id == P9_NOFID || p9_fid_find(s, id))
		return -EBADF;
	if (c->out.room - c->out.len < 8)
		return -EMSGSIZE;
	fd = p9_node_fd(&s->tree, f->node);
	if (fd < 0)
		return fd;
	path = p9_fd_path(fd);
	n = name[0] ? getxattr(path.s, name, NULL, 0) : listxattr(path.s, NULL, 0);
	if (n < 0)
		return -errno;
	if (n > (ssize_t)P9_XATTR_SIZE || n > (ssize_t)(P9_XATTR_TOTAL - s->xattr_total))
		return -ENOSPC;
	if (n) {
		val = malloc(n);
		if (!val)
			return -ENOMEM;
		n = name[0] ? getxattr(path.s, name, val, n) : listxattr(path.s, (char *)val, n);
		if (n < 0) {
			ret = -errno;
			goto free_val;
		}
	}
	ret = p9_fid_new(s, id, f->uid, f->node, &nf);
	if (ret < 0)
		goto free_val;
	p9_node_get(f->node);
	nf->xattr = P9_XATTR_READ;
	nf->xattr_val = val;
	nf->xattr_len = n;
	s->xattr_total += val ? n : 0;
	p9_put64(&c->out, n);
	return 0;

free_val:
	free(val);
	return ret;
}

int p9_xattrcreate(struct p9srv *s, struct p9_call *c)
{
	struct p9_fid *f = p9_fid_find(s, p9_get32(&c->in));
	char name[P9_XATTR_NAME + 1];
	uint8_t *val = NULL;
	uint64_t size;
	uint32_t flags;

	p9_gets(&c->in, name, P9_XATTR_NAME);
	size = p9_get64(&c->in);
	flags = p9_get32(&c->in);
	if (c->in.bad)
		return c->in.bad;
	if (!f || f->xattr || f->io_fd >= 0)
		return -EBADF;
	if (!name[0] || (flags & ~(XATTR_CREATE | XATTR_REPLACE)))
		return -EINVAL;
	if (size > P9_XATTR_SIZE)
		return -E2BIG;
	if (size > P9_XATTR_TOTAL - s->xattr_total)
		return -ENOSPC;
	if (size) {
		val = malloc(size);
		if (!val)
			return -ENOMEM;
	}
	f->xattr_name = strdup(name);
	if (!f->xattr_name) {
		free(val);
		return -ENOMEM;
	}
	f->xattr = P9_XATTR_WRITE;
	f->xattr_val = val;
	f->xattr_len = size;
	f->xattr_done = 0;
	f->xattr_flags = flags;
	s->xattr_total += size;
	return 0;
}

int p9_xattr_commit(struct p9srv *s, struct p9_fid *f)
{
	struct p9_path path;
	int fd, ret;

	if (f->xattr_done != f->xattr_len)
		return -EINVAL;		/* less was written than announced */
	fd = p9_node_fd(&s->tree, f->node);
	if (fd < 0)
		return fd;
	path = p9_fd_path(fd);
	/* so Linux asks to remove one: replace it by nothing */
	if (!f->xattr_len && f->xattr_flags == XATTR_REPLACE)
		ret = removexattr(path.s, f->xattr_name);
	else
		ret = setxattr(path.s, f->xattr_name, f->xattr_len ? (void *)f->xattr_val : "",
			       f->xattr_len, f->xattr_flags);
	return ret < 0 ? -errno : 0;
}
