// SPDX-License-Identifier: BSD-3-Clause
/*
 * The 9P server: requests about names and attributes.
 *
 * Ownership. A realmtool of root gives what is created to the user and group that the guest names,
 * as the guest's kernel has checked permissions before it asked. Any other realmtool creates files
 * of its own user, as lkvm does, and says nothing of it; a chown that the guest asks for is tried
 * and fails with the host's error, but for one that changes nothing.
 */
#include <errno.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "virtio/p9int.h"

/*
 * #syscalls main,io?9p: fchmodat chmod fchownat fstatfs ftruncate linkat symlinkat mkdirat
 * #syscalls main,io?9p: mknodat readlinkat
 * #syscalls main,io?9p: renameat renameat2 unlinkat utimensat truncate
 */

/* Tsetattr */
#define SET_MODE	0x001u
#define SET_UID		0x002u
#define SET_GID		0x004u
#define SET_SIZE	0x008u
#define SET_ATIME	0x010u
#define SET_MTIME	0x020u
#define SET_CTIME	0x040u
#define SET_ATIME_TO	0x080u	/* not to now */
#define SET_MTIME_TO	0x100u
/* Rgetattr: all but btime, generation and data version */
#define GETATTR_BASIC	0x7ffu
/* Tunlinkat */
#define REMOVEDIR	0x200u

/* The directory that a request names by its fid. */
static int get_dir(struct p9srv *s, uint32_t id, struct p9_node **node)
{
	struct p9_fid *f = p9_fid_find(s, id);

	if (!f || f->xattr)
		return -EBADF;
	*node = f->node;
	return f->node->type == S_IFDIR ? p9_node_fd(&s->tree, f->node) : -ENOTDIR;
}

int p9_own(struct p9srv *s, int fd, uint32_t uid, uint32_t gid, mode_t mode, struct stat *st)
{
	uint32_t u = uid == P9_NOID ? s->euid : uid;
	uint32_t g = gid == P9_NOID ? st->st_gid : gid;
	bool give = s->privileged && (u != st->st_uid || g != st->st_gid);

	if (give && fchownat(fd, "", u, g, AT_EMPTY_PATH) < 0)
		return -errno;
	/* the umask of realmtool is not the guest's, and a chown takes set-user-ID away */
	if (!S_ISLNK(st->st_mode) && (give || (mode & 07777) != (st->st_mode & 07777)) &&
	    chmod(p9_fd_path(fd).s, mode & 07777) < 0)
		return -errno;
	return fstat(fd, st) < 0 ? -errno : 0;
}

/*
 * What was just created here: give it to its owner and tell its qid. Somebody on the host can have
 * replaced it meanwhile, so only what looks fresh changes hands: it is ours and has no other name.
 */
static int created(struct p9srv *s, struct p9_call *c, struct p9_node *dir, const char *name,
		   uint32_t uid, uint32_t gid, mode_t mode)
{
	struct p9_node *n;
	struct stat st;
	int ret = p9_node_walk(&s->tree, dir, name, &st, &n);

	if (ret < 0)
		return ret;
	if ((st.st_mode & S_IFMT) == (mode & S_IFMT) && st.st_uid == s->euid &&
	    st.st_nlink <= (S_ISDIR(mode) ? 2 : 1))
		ret = p9_own(s, p9_node_fd(&s->tree, n), uid, gid, mode, &st);
	if (!ret)
		p9_put_qid(s, &c->out, &st);
	p9_node_put(&s->tree, n);
	return ret;
}

static uint32_t uid_of(struct p9srv *s, uint32_t id)
{
	struct p9_fid *f = p9_fid_find(s, id);

	return f ? f->uid : P9_NOID;
}

int p9_mkdir(struct p9srv *s, struct p9_call *c)
{
	char name[P9_NAME_LEN + 1];
	struct p9_node *node;
	uint32_t id, mode, gid;
	int dir;

	id = p9_get32(&c->in);
	p9_get_name(&c->in, name);
	mode = p9_get32(&c->in);
	gid = p9_get32(&c->in);
	if (c->in.bad)
		return c->in.bad;
	dir = get_dir(s, id, &node);
	if (dir < 0)
		return dir;
	if (mkdirat(dir, name, mode & 0777) < 0)
		return -errno;
	return created(s, c, node, name, uid_of(s, id), gid, S_IFDIR | (mode & 07777));
}

int p9_mknod(struct p9srv *s, struct p9_call *c)
{
	uint32_t id, mode, major_nr, minor_nr, gid;
	char name[P9_NAME_LEN + 1];
	struct p9_node *node;
	int dir;

	id = p9_get32(&c->in);
	p9_get_name(&c->in, name);
	mode = p9_get32(&c->in);
	major_nr = p9_get32(&c->in);
	minor_nr = p9_get32(&c->in);
	gid = p9_get32(&c->in);
	if (c->in.bad)
		return c->in.bad;
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		break;
	default:
		return -EINVAL;
	}
	dir = get_dir(s, id, &node);
	if (dir < 0)
		return dir;
	if (mknodat(dir, name, (mode & S_IFMT) | (mode & 0777), makedev(major_nr, minor_nr)) < 0)
		return -errno;
	return created(s, c, node, name, uid_of(s, id), gid, mode & (S_IFMT | 07777));
}

int p9_symlink(struct p9srv *s, struct p9_call *c)
{
	char name[P9_NAME_LEN + 1], target[P9_LINK_LEN + 1];
	struct p9_node *node;
	uint32_t id, gid;
	int dir;

	id = p9_get32(&c->in);
	p9_get_name(&c->in, name);
	p9_gets(&c->in, target, P9_LINK_LEN);
	gid = p9_get32(&c->in);
	if (c->in.bad)
		return c->in.bad;
	dir = get_dir(s, id, &node);
	if (dir < 0)
		return dir;
	if (symlinkat(target, dir, name) < 0)
		return -errno;
	return created(s, c, node, name, uid_of(s, id), gid, S_IFLNK | 0777);
}

int p9_link(struct p9srv *s, struct p9_call *c)
{
	char name[P9_NAME_LEN + 1];
	struct p9_node *node;
	struct p9_fid *f;
	uint32_t id;
	int dir, fd;

	id = p9_get32(&c->in);
	f = p9_fid_find(s, p9_get32(&c->in));
	p9_get_name(&c->in, name);
	if (c->in.bad)
		return c->in.bad;
	if (!f || f->xattr)
		return -EBADF;
	dir = get_dir(s, id, &node);
	if (dir < 0)
		return dir;
	fd = p9_node_fd(&s->tree, f->node);
	if (fd < 0)
		return fd;
	/* AT_EMPTY_PATH needs a capability; following the link to the descriptor does not */
	if (linkat(AT_FDCWD, p9_fd_path(fd).s, dir, name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return 0;
}

int p9_readlink(struct p9srv *s, struct p9_call *c)
{
	struct p9_fid *f = p9_fid_find(s, p9_get32(&c->in));
	char target[P9_LINK_LEN + 1];
	ssize_t n;
	int fd;

	if (c->in.bad)
		return c->in.bad;
	if (!f || f->xattr)
		return -EBADF;
	if (f->node->type != S_IFLNK)
		return -EINVAL;
	fd = p9_node_fd(&s->tree, f->node);
	if (fd < 0)
		return fd;
	n = readlinkat(fd, "", target, sizeof(target));
	if (n < 0)
		return -errno;
	if (n > (ssize_t)P9_LINK_LEN)
		return -ENAMETOOLONG;
	p9_puts(&c->out, target, n);
	return 0;
}

static int do_rename(struct p9srv *s, struct p9_node *from, int from_fd, const char *from_name,
		     struct p9_node *to, int to_fd, const char *to_name)
{
	struct p9_node *old;
	struct stat a, b;

	/* two names of one file: rename() does nothing at all then */
	if (!fstatat(from_fd, from_name, &a, AT_SYMLINK_NOFOLLOW) &&
	    !fstatat(to_fd, to_name, &b, AT_SYMLINK_NOFOLLOW) &&
	    a.st_dev == b.st_dev && a.st_ino == b.st_ino)
		return renameat(from_fd, from_name, to_fd, to_name) < 0 ? -errno : 0;
	old = p9_node_hold(&s->tree, to, to_name);
	if (renameat(from_fd, from_name, to_fd, to_name) < 0)
		return -errno;
	p9_node_gone(&s->tree, old);
	p9_node_move(&s->tree, from, from_name, to, to_name);
	return 0;
}

int p9_renameat(struct p9srv *s, struct p9_call *c)
{
	char from_name[P9_NAME_LEN + 1], to_name[P9_NAME_LEN + 1];
	struct p9_node *from, *to;
	uint32_t from_id, to_id;
	int from_fd, to_fd;

	from_id = p9_get32(&c->in);
	p9_get_name(&c->in, from_name);
	to_id = p9_get32(&c->in);
	p9_get_name(&c->in, to_name);
	if (c->in.bad)
		return c->in.bad;
	from_fd = get_dir(s, from_id, &from);
	if (from_fd < 0)
		return from_fd;
	to_fd = get_dir(s, to_id, &to);
	if (to_fd < 0)
		return to_fd;
	return do_rename(s, from, from_fd, from_name, to, to_fd, to_name);
}

int p9_rename(struct p9srv *s, struct p9_call *c)
{
	struct p9_fid *f = p9_fid_find(s, p9_get32(&c->in));
	char to_name[P9_NAME_LEN + 1], from_name[P9_NAME_LEN + 1];
	uint32_t to_id = p9_get32(&c->in);
	struct p9_node *to, *from;
	int from_fd, to_fd, ret;

	p9_get_name(&c->in, to_name);
	if (c->in.bad)
		return c->in.bad;
	if (!f || f->xattr)
		return -EBADF;
	if (!f->node->parent)
		return -EBUSY;
	to_fd = get_dir(s, to_id, &to);
	if (to_fd < 0)
		return to_fd;
	ret = p9_node_check(&s->tree, f->node);
	if (ret < 0)
		return ret;
	from = f->node->parent;
	from_fd = p9_node_fd(&s->tree, from);
	if (from_fd < 0)
		return from_fd;
	strcpy(from_name, f->node->name);	/* it changes meanwhile */
	return do_rename(s, from, from_fd, from_name, to, to_fd, to_name);
}

static int do_unlink(struct p9srv *s, struct p9_node *dir, int fd, const char *name, int flags)
{
	struct p9_node *n = p9_node_hold(&s->tree, dir, name);

	if (unlinkat(fd, name, flags) < 0)
		return -errno;
	p9_node_gone(&s->tree, n);
	return 0;
}

int p9_unlinkat(struct p9srv *s, struct p9_call *c)
{
	char name[P9_NAME_LEN + 1];
	struct p9_node *node;
	uint32_t id, flags;
	int dir;

	id = p9_get32(&c->in);
	p9_get_name(&c->in, name);
	flags = p9_get32(&c->in);
	if (c->in.bad)
		return c->in.bad;
	if (flags & ~REMOVEDIR)
		return -EINVAL;
	dir = get_dir(s, id, &node);
	if (dir < 0)
		return dir;
	return do_unlink(s, node, dir, name, flags ? AT_REMOVEDIR : 0);
}

int p9_remove(struct p9srv *s, struct p9_call *c)
{
	struct p9_fid *f = p9_fid_find(s, p9_get32(&c->in));
	char name[P9_NAME_LEN + 1];
	struct p9_node *dir;
	int ret, fd;

	if (c->in.bad)
		return c->in.bad;
	if (!f)
		return -EBADF;
	if (s->readonly) {
		ret = -EROFS;
	} else if (f->xattr) {
		ret = -EBADF;
	} else if (!f->node->parent) {
		ret = -EBUSY;
	} else {
		ret = p9_node_check(&s->tree, f->node);
		dir = f->node->parent;
		fd = ret < 0 ? ret : p9_node_fd(&s->tree, dir);
		if (fd >= 0) {
			strcpy(name, f->node->name);
			ret = do_unlink(s, dir, fd, name,
					f->node->type == S_IFDIR ? AT_REMOVEDIR : 0);
		} else {
			ret = fd;
		}
	}
	p9_fid_free(s, f);
	return ret;
}

/* ---- attributes ---- */

/* As Linux encodes device numbers for user space, in 32 bits if they fit. */
static uint64_t rdev_of(const struct stat *st)
{
	uint64_t ma = major(st->st_rdev), mi = minor(st->st_rdev);

	return (mi & 0xff) | ma << 8 | (mi & ~UINT64_C(0xff)) << 12;
}

int p9_getattr(struct p9srv *s, struct p9_call *c)
{
	struct p9_fid *f = p9_fid_find(s, p9_get32(&c->in));
	struct p9_out *o = &c->out;
	struct stat st;
	int ret;

	p9_get64(&c->in);	/* the wanted ones; all are cheap */
	if (c->in.bad)
		return c->in.bad;
	if (!f || f->xattr)
		return -EBADF;
	ret = p9_fid_stat(s, f, &st);
	if (ret < 0)
		return ret;
	p9_put64(o, GETATTR_BASIC);
	p9_put_qid(s, o, &st);
	p9_put32(o, st.st_mode);
	p9_put32(o, st.st_uid);
	p9_put32(o, st.st_gid);
	p9_put64(o, st.st_nlink);
	p9_put64(o, rdev_of(&st));
	p9_put64(o, st.st_size);
	p9_put64(o, st.st_blksize);
	p9_put64(o, st.st_blocks);
	p9_put64(o, st.st_atim.tv_sec);
	p9_put64(o, st.st_atim.tv_nsec);
	p9_put64(o, st.st_mtim.tv_sec);
	p9_put64(o, st.st_mtim.tv_nsec);
	p9_put64(o, st.st_ctim.tv_sec);
	p9_put64(o, st.st_ctim.tv_nsec);
	for (int i = 0; i < 4; i++)
		p9_put64(o, 0);		/* btime, generation, data version */
	return 0;
}

static struct timespec time_to(uint32_t valid, uint32_t set, uint32_t to, uint64_t sec, uint64_t ns)
{
	struct timespec t = { .tv_nsec = UTIME_OMIT };

	if (valid & set) {
		t.tv_nsec = UTIME_NOW;
		/* a guest cannot name the two special values: they are larger than a second */
		if (valid & to) {
			t.tv_sec = sec;
			t.tv_nsec = MIN(ns, UINT64_C(999999999));
		}
	}
	return t;
}

int p9_setattr(struct p9srv *s, struct p9_call *c)
{
	struct p9_fid *f = p9_fid_find(s, p9_get32(&c->in));
	uint32_t valid = p9_get32(&c->in), mode = p9_get32(&c->in);
	uint32_t uid = p9_get32(&c->in), gid = p9_get32(&c->in);
	uint64_t size = p9_get64(&c->in), sec[2], ns[2];
	struct timespec times[2];
	struct p9_path path;
	struct stat st;
	int fd, ret;

	for (int i = 0; i < 2; i++) {
		sec[i] = p9_get64(&c->in);
		ns[i] = p9_get64(&c->in);
	}
	if (c->in.bad)
		return c->in.bad;
	if (!f || f->xattr)
		return -EBADF;
	ret = p9_fid_stat(s, f, &st);
	if (ret < 0)
		return ret;
	fd = f->io_fd >= 0 ? f->io_fd : p9_node_fd(&s->tree, f->node);
	if (fd < 0)
		return fd;
	path = p9_fd_path(fd);

	if ((valid & SET_UID) && uid == st.st_uid)
		uid = P9_NOID;
	if ((valid & SET_GID) && gid == st.st_gid)
		gid = P9_NOID;
	if (!(valid & SET_UID))
		uid = P9_NOID;
	if (!(valid & SET_GID))
		gid = P9_NOID;
	if ((uid != P9_NOID || gid != P9_NOID) && fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
		return -errno;
	/*
	 * All else sets the time of the change by itself. A chown to nobody would do it, but takes
	 * set-user-ID away.
	 */
	if (valid == SET_CTIME && !S_ISLNK(st.st_mode))
		chmod(path.s, st.st_mode & 07777);
	if ((valid & SET_MODE) && chmod(path.s, mode & 07777) < 0)
		return -errno;
	if (valid & SET_SIZE) {
		if (!S_ISREG(st.st_mode))
			return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
		if (size > INT64_MAX)
			return -EFBIG;
		/* what is open for writing may be cut whatever its mode is now */
		if ((f->io_fd < 0 || ftruncate(fd, size) < 0) && truncate(path.s, size) < 0)
			return -errno;
	}
	if (valid & (SET_ATIME | SET_MTIME)) {
		times[0] = time_to(valid, SET_ATIME, SET_ATIME_TO, sec[0], ns[0]);
		times[1] = time_to(valid, SET_MTIME, SET_MTIME_TO, sec[1], ns[1]);
		if (utimensat(AT_FDCWD, path.s, times, 0) < 0)
			return -errno;
	}
	return 0;
}

int p9_statfs(struct p9srv *s, struct p9_call *c)
{
	struct p9_fid *f = p9_fid_find(s, p9_get32(&c->in));
	struct p9_out *o = &c->out;
	struct statfs fs;
	uint32_t id[2];
	int fd;

	if (c->in.bad)
		return c->in.bad;
	if (!f || f->xattr)
		return -EBADF;
	fd = f->io_fd >= 0 ? f->io_fd : p9_node_fd(&s->tree, f->node);
	if (fd < 0)
		return fd;
	if (fstatfs(fd, &fs) < 0)
		return -errno;
	p9_put32(o, fs.f_type);
	p9_put32(o, fs.f_bsize);
	p9_put64(o, fs.f_blocks);
	p9_put64(o, fs.f_bfree);
	p9_put64(o, fs.f_bavail);
	p9_put64(o, fs.f_files);
	p9_put64(o, fs.f_ffree);
	memcpy(id, &fs.f_fsid, sizeof(id));
	p9_put64(o, id[0] | (uint64_t)id[1] << 32);
	p9_put32(o, MIN((uint32_t)fs.f_namelen, P9_NAME_LEN));
	return 0;
}
