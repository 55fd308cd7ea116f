// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the client of a share has found, as a tree of names below the root.
 *
 * A node means a file, not a path: it holds a descriptor (O_PATH) of it. A client keeps tens of
 * thousands of them, more than a process may have descriptors, so those that were not used for the
 * longest time are closed. What was closed is found again by name, from the nearest ancestor that
 * is open, and must be the same file (device, inode, type), else it is stale. So a rename by the
 * client changes the tree, and what it deletes or replaces is told apart (p9_node_gone()) and
 * keeps its descriptor for as long as it is in use.
 *
 * No name with a slash ever gets to the kernel, none is "." or "..", and symbolic links are not
 * followed, so RESOLVE_BENEATH only says again what holds already.
 */
#include <errno.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "virtio/p9int.h"
#include "vmm/core/err.h"

/* #syscalls main,io?9p: openat2 openat fstat newfstatat faccessat faccessat2 access */

#define BUCKETS_MIN 256u

/* ---- descriptors ---- */

int p9_openat(int dir, const char *name, int flags, mode_t mode)
{
	const struct open_how how = {
		.flags = (uint64_t)(unsigned int)(flags | O_CLOEXEC | O_NOFOLLOW),
		.mode = flags & O_CREAT ? mode & 07777 : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	int fd;

	/* RESOLVE_BENEATH fails with EAGAIN when something on the host is renamed meanwhile */
	for (int i = 0; i < 16; i++) {
		fd = syscall(SYS_openat2, dir, name, &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return fd < 0 ? -errno : fd;
}

static void lru_remove(struct p9_tree *t, struct p9_node *n)
{
	*(n->lru_prev ? &n->lru_prev->lru_next : &t->lru_head) = n->lru_next;
	*(n->lru_next ? &n->lru_next->lru_prev : &t->lru_tail) = n->lru_prev;
	n->lru_prev = n->lru_next = NULL;
}

static void lru_add(struct p9_tree *t, struct p9_node *n)
{
	n->lru_prev = NULL;
	n->lru_next = t->lru_head;
	*(t->lru_head ? &t->lru_head->lru_prev : &t->lru_tail) = n;
	t->lru_head = n;
}

/* Open nodes that can be closed are in the list; the root and detached ones are not. */
static void set_fd(struct p9_tree *t, struct p9_node *n, int fd)
{
	n->fd = fd;
	t->nr_open++;
	lru_add(t, n);
}

static void drop_fd(struct p9_tree *t, struct p9_node *n)
{
	if (n->fd < 0)
		return;
	if (n->attached)
		lru_remove(t, n);
	else
		t->nr_kept--;
	t->nr_open--;
	close(n->fd);
	n->fd = -1;
}

void p9_tree_trim(struct p9_tree *t, unsigned int max_open)
{
	while (t->nr_open > max_open && t->lru_tail)
		drop_fd(t, t->lru_tail);
}

/* ---- the table ---- */

static unsigned int hash(const struct p9_tree *t, const struct p9_node *dir, const char *name)
{
	uint64_t h = p9_uint_hash(t->seed, (uintptr_t)dir);

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * UINT64_C(0x100000001b3);	/* FNV-1a */
	return p9_uint_hash(t->seed, h) & (t->nr_buckets - 1);
}

static struct p9_node **lookup(struct p9_tree *t, const struct p9_node *dir, const char *name)
{
	struct p9_node **pp = &t->bucket[hash(t, dir, name)];

	while (*pp && ((*pp)->parent != dir || strcmp((*pp)->name, name)))
		pp = &(*pp)->hash_next;
	return pp;
}

static void insert(struct p9_tree *t, struct p9_node *n)
{
	struct p9_node **pp = &t->bucket[hash(t, n->parent, n->name)];

	n->hash_next = *pp;
	*pp = n;
}

static void unhash(struct p9_tree *t, struct p9_node *n)
{
	struct p9_node **pp = &t->bucket[hash(t, n->parent, n->name)];

	while (*pp != n)
		pp = &(*pp)->hash_next;
	*pp = n->hash_next;
	n->hash_next = NULL;
}

/* Without memory the chains just get longer. */
static void grow(struct p9_tree *t)
{
	unsigned int old_nr = t->nr_buckets;
	struct p9_node **old = t->bucket, **bigger;

	bigger = calloc(old_nr * 2, sizeof(struct p9_node *));
	if (!bigger)
		return;
	t->bucket = bigger;
	t->nr_buckets = old_nr * 2;
	for (unsigned int i = 0; i < old_nr; i++) {
		struct p9_node *n = old[i], *next;

		for (; n; n = next) {
			next = n->hash_next;
			insert(t, n);
		}
	}
	free(old);
}

/* ---- nodes ---- */

static struct p9_node *node_new(struct p9_tree *t, struct p9_node *parent, const char *name,
				const struct stat *st)
{
	struct p9_node *n;

	if (t->nr_nodes >= P9_MAX_NODES)
		return NULL;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->name = strdup(name);
	if (!n->name) {
		free(n);
		return NULL;
	}
	n->dev = st->st_dev;
	n->ino = st->st_ino;
	n->type = st->st_mode & S_IFMT;
	n->fd = -1;
	n->refs = 1;
	n->attached = true;
	if (parent) {
		n->parent = p9_node_get(parent);
		if (t->nr_nodes >= t->nr_buckets * 2)
			grow(t);
		insert(t, n);
	}
	t->nr_nodes++;
	return n;
}

void p9_node_put(struct p9_tree *t, struct p9_node *n)
{
	while (n && !--n->refs) {
		struct p9_node *parent = n->parent;

		if (parent && n->attached)
			unhash(t, n);
		drop_fd(t, n);
		free(n->name);
		free(n);
		t->nr_nodes--;
		n = parent;
	}
}

/*
 * The name does not mean this node any more. Its descriptor is kept, unless half of those that the
 * share may have are kept already: then it is lost, and who uses it is told so (ESTALE).
 */
static void detach(struct p9_tree *t, struct p9_node *n)
{
	unhash(t, n);
	if (n->fd >= 0) {
		lru_remove(t, n);
		t->nr_kept++;
	}
	n->attached = false;
	if (n->fd >= 0 && t->nr_kept > t->max_open / 2)
		drop_fd(t, n);
}

static bool same(const struct p9_node *n, const struct stat *st)
{
	return n->dev == st->st_dev && n->ino == st->st_ino && n->type == (st->st_mode & S_IFMT);
}

/* Open what a node means, from the descriptor of its directory. */
static int reopen(const struct p9_node *n, int dir)
{
	struct stat st;
	int fd = p9_openat(dir, n->name, O_PATH, 0);

	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR ? -ESTALE : fd;
	if (fstat(fd, &st) < 0 || !same(n, &st)) {
		close(fd);
		return -ESTALE;
	}
	return fd;
}

int p9_node_fd(struct p9_tree *t, struct p9_node *n)
{
	struct p9_node *chain[P9_DEPTH_MAX], *up;
	unsigned int nr = 0;
	int fd, dir;

	if (n->fd >= 0) {
		if (n->attached && n->parent) {
			lru_remove(t, n);
			lru_add(t, n);
		}
		return n->fd;
	}
	for (up = n; up->fd < 0; up = up->parent) {
		if (!up->attached)
			return -ESTALE;
		if (nr == P9_DEPTH_MAX)
			return -ENAMETOOLONG;
		chain[nr++] = up;
	}
	dir = up->fd;
	do {
		fd = reopen(chain[--nr], dir);
		if (dir != up->fd)
			close(dir);
		if (fd < 0)
			return fd;
		dir = fd;
	} while (nr);
	set_fd(t, n, fd);
	return fd;
}

static unsigned int depth(const struct p9_node *n)
{
	unsigned int d = 0;

	for (; n->parent; n = n->parent)
		d++;
	return d;
}

int p9_node_walk(struct p9_tree *t, struct p9_node *dir, const char *name, struct stat *st,
		 struct p9_node **out)
{
	struct p9_node *n;
	struct stat own;
	int dfd, fd;

	*out = NULL;
	if (!st)
		st = &own;
	if (!strcmp(name, "..")) {
		n = dir->parent ? dir->parent : dir;
		if (dir->type != S_IFDIR)
			return -ENOTDIR;
		fd = p9_node_fd(t, n);
		if (fd < 0)
			return fd;
		if (fstat(fd, st) < 0)
			return -errno;
		*out = p9_node_get(n);
		return 0;
	}
	dfd = p9_node_fd(t, dir);
	if (dfd < 0)
		return dfd;
	fd = p9_openat(dfd, name, O_PATH, 0);
	if (fd < 0)
		return fd;
	if (fstat(fd, st) < 0) {
		close(fd);
		return -errno;
	}
	n = *lookup(t, dir, name);
	if (n && !same(n, st)) {
		detach(t, n);		/* somebody on the host has put another one there */
		n = NULL;
	}
	if (n) {
		p9_node_get(n);
		if (n->fd >= 0)
			close(fd);
		else
			set_fd(t, n, fd);
	} else {
		if (depth(dir) + 1 >= P9_DEPTH_MAX) {
			close(fd);
			return -ENAMETOOLONG;
		}
		n = node_new(t, dir, name, st);
		if (!n) {
			close(fd);
			return -ENOMEM;
		}
		set_fd(t, n, fd);
	}
	*out = n;
	return 0;
}

int p9_node_check(struct p9_tree *t, struct p9_node *n)
{
	struct stat st;
	int dir;

	if (!n->parent || !n->attached)
		return -ESTALE;
	dir = p9_node_fd(t, n->parent);
	if (dir < 0)
		return dir;
	if (fstatat(dir, n->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -ESTALE;
	return same(n, &st) ? 0 : -ESTALE;
}

struct p9_node *p9_node_hold(struct p9_tree *t, struct p9_node *dir, const char *name)
{
	struct p9_node *n = *lookup(t, dir, name);

	if (n)
		p9_node_fd(t, n);
	return n;
}

void p9_node_gone(struct p9_tree *t, struct p9_node *n)
{
	if (n)
		detach(t, n);
}

void p9_node_move(struct p9_tree *t, struct p9_node *dir, const char *name, struct p9_node *to,
		  const char *to_name)
{
	struct p9_node *n = *lookup(t, dir, name), *up;
	char *copy;

	if (!n || (dir == to && !strcmp(name, to_name)))
		return;
	/*
	 * The kernel moves no directory into itself. The tree can be behind the file system all the
	 * same, when somebody on the host moves things about, too.
	 */
	for (up = to; up && up != n; up = up->parent)
		;
	copy = up ? NULL : strdup(to_name);
	if (!copy) {
		p9_node_fd(t, n);
		detach(t, n);
		return;
	}
	unhash(t, n);
	free(n->name);
	n->name = copy;
	up = n->parent;
	n->parent = p9_node_get(to);
	insert(t, n);
	p9_node_put(t, up);
}

int p9_tree_init(struct p9_tree *t, int root_fd, unsigned int max_open, struct err *e)
{
	struct stat st;
	int fd;

	*t = (struct p9_tree){ .nr_buckets = BUCKETS_MIN, .max_open = max_open };
	if (getrandom(&t->seed, sizeof(t->seed), 0) != (ssize_t)sizeof(t->seed))
		t->seed = (uintptr_t)t;
	fd = p9_openat(root_fd, ".", O_PATH | O_DIRECTORY, 0);
	if (fd < 0)
		return err_set(e, fd, fd == -ENOSYS || fd == -EPERM ?
			       "this kernel has no openat2(), which keeps the guest inside of the "
			       "shared directory: take Linux 5.6 or later, or leave --9p out" :
			       "opening the shared directory: %s", strerror(-fd));
	if (fstat(fd, &st) < 0 || access(p9_fd_path(fd).s, F_OK) < 0) {
		close(fd);
		return err_set(e, -ENOSYS, "the server needs /proc/self/fd, which is not there: "
			       "mount /proc");
	}
	t->bucket = calloc(t->nr_buckets, sizeof(struct p9_node *));
	t->root = t->bucket ? node_new(t, NULL, "", &st) : NULL;
	if (!t->root) {
		free(t->bucket);
		close(fd);
		return err_set(e, -ENOMEM, "no memory");
	}
	t->root->fd = fd;
	return 0;
}

void p9_tree_destroy(struct p9_tree *t)
{
	/* the fids are gone, so the root is all that is left */
	if (t->root) {
		close(t->root->fd);
		free(t->root->name);
		free(t->root);
	}
	free(t->bucket);
}
