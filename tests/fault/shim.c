// SPDX-License-Identifier: BSD-3-Clause
/*
 * What realmtool's calls of libc become in the tests of faults: shim_NAME() for NAME(). The names
 * are read from this file's object by the Makefile, so a new one needs its function here only.
 *
 * Not here: close() and munmap(), whose failures are no news to anybody, and calls that only ask
 * (clock_gettime(), getpid()).
 */
#include "tests/fault/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <search.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_URING
#include <liburing.h>
#endif

/* functions that no header declares */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

/* ---- which call fails ------------------------------------------------------------------------ */

static struct {
	_Atomic bool armed;
	enum fault_kind kind;
	unsigned int first, every;
	const char *only;
	_Atomic unsigned int count, hits;
	_Atomic int err;
	const char *_Atomic name;
} fault;

void fault_only(const char *name)
{
	fault.only = name;
}

void fault_arm(enum fault_kind kind, unsigned int first, unsigned int every)
{
	fault.kind = kind;
	fault.first = first;
	fault.every = every;
	fault.count = fault.hits = 0;
	fault.err = 0;
	fault.name = NULL;
	fault.armed = true;
}

unsigned int fault_disarm(void)
{
	fault.armed = false;
	return fault.count;
}

unsigned int fault_hits(void)
{
	return fault.hits;
}

const char *fault_name(void)
{
	return fault.name;
}

int fault_errno(void)
{
	return fault.err;
}

/* Return: 0: this call does not fail; else the number of the call, which does. */
static unsigned int turn(enum fault_kind kind, const char *name)
{
	unsigned int n;

	if (!atomic_load(&fault.armed) || fault.kind != kind ||
	    (fault.only && strcmp(fault.only, name)))
		return 0;
	n = atomic_fetch_add(&fault.count, 1) + 1;
	/* not each of so many: of two calls in turn the same one would fail for ever */
	if (!fault.first || n < fault.first ||
	    (n > fault.first && (!fault.every || (n * 2654435761U >> 16) % fault.every)))
		return 0;
	atomic_fetch_add(&fault.hits, 1);
	atomic_store(&fault.name, name);
	return n;
}

static bool armed(void)
{
	return atomic_load(&fault.armed) && (fault.kind == FAULT_CALL || fault.kind == FAULT_EINTR);
}

static bool no_memory(const char *name)
{
	if (!turn(FAULT_ALLOC, name))
		return false;
	atomic_store(&fault.err, ENOMEM);
	errno = ENOMEM;
	return true;
}

/* @errs: what the manual page has, the likeliest first, 0 behind the last */
static int fails(const char *name, const int *errs, bool intr)
{
	unsigned int n = turn(FAULT_CALL, name), nr = 0;

	if (n) {
		while (errs[nr])
			nr++;
		atomic_store(&fault.err, errs[(n - 1) % nr]);
		return errs[(n - 1) % nr];
	}
	if (!intr || !turn(FAULT_EINTR, name))
		return 0;
	atomic_store(&fault.err, EINTR);
	return EINTR;
}

#define FAILS(name, intr, ...) fails(name, (const int[]){ __VA_ARGS__, 0 }, intr)

/*
 * Reading and writing events, timers and signals fails for lack of them only. Their descriptors
 * have no file type.
 */
static bool is_file(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 || (st.st_mode & S_IFMT);
}

/* Can less than @len be transferred? Not of what comes whole: events, signals, packets. */
static size_t less(const char *name, int fd, size_t len)
{
	struct stat st;
	int type = SOCK_STREAM;
	socklen_t size = sizeof(type);

	if (len < 2 || !atomic_load(&fault.armed) || fault.kind != FAULT_SHORT ||
	    fstat(fd, &st) < 0)
		return len;
	if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode) &&
	    !S_ISSOCK(st.st_mode))
		return len;
	if (S_ISSOCK(st.st_mode) &&
	    (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM))
		return len;
	return turn(FAULT_SHORT, name) ? len / 2 : len;
}

/* A function that returns -1 and sets errno. */
#define CALL(type, name, params, args, intr, ...) \
	type shim_##name params \
	{ \
		int err = FAILS(#name, intr, __VA_ARGS__); \
		if (err) { \
			errno = err; \
			return (type)-1; \
		} \
		return name args; \
	}

/* ---- memory ---------------------------------------------------------------------------------- */

#define ALLOC(name, params, args) \
	void *shim_##name params \
	{ \
		return no_memory(#name) ? NULL : (void *)name args; \
	}

ALLOC(malloc, (size_t n), (n))
ALLOC(calloc, (size_t n, size_t size), (n, size))
ALLOC(realloc, (void *p, size_t n), (p, n))
ALLOC(reallocarray, (void *p, size_t n, size_t size), (p, n, size))
ALLOC(strdup, (const char *s), (s))
ALLOC(strndup, (const char *s, size_t n), (s, n))
ALLOC(open_memstream, (char **p, size_t *n), (p, n))
ALLOC(fmemopen, (void *p, size_t n, const char *mode), (p, n, mode))
ALLOC(tsearch, (const void *key, void **root, int (*cmp)(const void *, const void *)),
      (key, root, cmp))

int shim_posix_memalign(void **p, size_t align, size_t n)
{
	return no_memory("posix_memalign") ? ENOMEM : posix_memalign(p, align, n);
}

int shim_vasprintf(char **p, const char *fmt, va_list ap)
{
	return no_memory("asprintf") ? -1 : vasprintf(p, fmt, ap);
}

int shim_asprintf(char **p, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = shim_vasprintf(p, fmt, ap);
	va_end(ap);
	return n;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* The third argument is there whenever libc would look at it. */
static int open_at(const char *name, int dir, const char *path, int flags, mode_t mode)
{
	int err = FAILS(name, false, EMFILE, ENFILE, ENOMEM, EIO, EACCES);

	if (err) {
		errno = err;
		return -1;
	}
	return openat(dir, path, flags, mode);
}

static mode_t mode_arg(int flags, va_list ap)
{
	return flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

#define OPEN(name) \
	int shim_##name(const char *path, int flags, ...) \
	{ \
		va_list ap; \
		mode_t mode; \
		va_start(ap, flags); \
		mode = mode_arg(flags, ap); \
		va_end(ap); \
		return open_at("open", AT_FDCWD, path, flags, mode); \
	}
#define OPENAT(name) \
	int shim_##name(int dir, const char *path, int flags, ...) \
	{ \
		va_list ap; \
		mode_t mode; \
		va_start(ap, flags); \
		mode = mode_arg(flags, ap); \
		va_end(ap); \
		return open_at("openat", dir, path, flags, mode); \
	}
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

#define READ_ERRS	EIO, ENOMEM
#define WRITE_ERRS	EIO, ENOSPC, EDQUOT, EFBIG

/* A function that transfers bytes from or to one buffer. */
#define XFER(name, real, buf, more, pass, ...) \
	ssize_t shim_##name(int fd, buf p, size_t n more) \
	{ \
		int err = armed() && is_file(fd) ? FAILS(#real, true, __VA_ARGS__) : 0; \
		if (err) { \
			errno = err; \
			return -1; \
		} \
		return real(fd, p, less(#real, fd, n) pass); \
	}
#define OFF_T	, off_t off
#define OFF	, off
#define FLAGS_T	, int flags
#define FLAGS	, flags
XFER(read, read, void *, , , READ_ERRS)
XFER(write, write, const void *, , , WRITE_ERRS)
XFER(pread, pread, void *, OFF_T, OFF, READ_ERRS)
XFER(pread64, pread, void *, OFF_T, OFF, READ_ERRS)
XFER(pwrite, pwrite, const void *, OFF_T, OFF, WRITE_ERRS)
XFER(pwrite64, pwrite, const void *, OFF_T, OFF, WRITE_ERRS)
XFER(recv, recv, void *, FLAGS_T, FLAGS, ECONNRESET, ENOMEM)
XFER(send, send, const void *, FLAGS_T, FLAGS, ECONNRESET, EPIPE, ENOBUFS)

/* A function that transfers bytes from or to several. */
#define XFERV(name, real, more, pass, ...) \
	ssize_t shim_##name(int fd, const struct iovec *iov, int nr more) \
	{ \
		int err = armed() && is_file(fd) ? FAILS(#real, true, __VA_ARGS__) : 0; \
		struct iovec one; \
		if (err) { \
			errno = err; \
			return -1; \
		} \
		if (nr > 0 && iov[0].iov_len > 1) { \
			one = iov[0]; \
			one.iov_len = less(#real, fd, one.iov_len); \
			if (one.iov_len < iov[0].iov_len) \
				return real(fd, &one, 1 pass); \
		} \
		return real(fd, iov, nr pass); \
	}
#define OFF_FLAGS_T	, off_t off, int flags
#define OFF_FLAGS	, off, flags
XFERV(readv, readv, , , READ_ERRS)
XFERV(writev, writev, , , WRITE_ERRS)
XFERV(preadv64, preadv, OFF_T, OFF, READ_ERRS)
XFERV(pwritev64, pwritev, OFF_T, OFF, WRITE_ERRS)
XFERV(pwritev64v2, pwritev2, OFF_FLAGS_T, OFF_FLAGS, WRITE_ERRS)
XFERV(preadv, preadv, OFF_T, OFF, READ_ERRS)
XFERV(pwritev, pwritev, OFF_T, OFF, WRITE_ERRS)
XFERV(pwritev2, pwritev2, OFF_FLAGS_T, OFF_FLAGS, WRITE_ERRS)

CALL(int, fdatasync, (int fd), (fd), false, EIO, ENOSPC, EDQUOT)
CALL(int, fsync, (int fd), (fd), false, EIO, ENOSPC, EDQUOT)
CALL(int, ftruncate, (int fd, off_t n), (fd, n), false, ENOSPC, EIO, EFBIG)
int shim_ftruncate64(int fd, off_t n)
{
	return shim_ftruncate(fd, n);
}
CALL(int, fallocate, (int fd, int mode, off_t off, off_t n), (fd, mode, off, n), true, ENOSPC, EIO,
     EOPNOTSUPP, ENOMEM)
int shim_fallocate64(int fd, int mode, off_t off, off_t n)
{
	return shim_fallocate(fd, mode, off, n);
}
CALL(off_t, lseek, (int fd, off_t off, int whence), (fd, off, whence), false, ESPIPE)
off_t shim_lseek64(int fd, off_t off, int whence)
{
	return shim_lseek(fd, off, whence);
}
CALL(int, fstat, (int fd, struct stat *st), (fd, st), false, ENOMEM, EIO)
int shim_fstat64(int fd, struct stat *st)
{
	return shim_fstat(fd, st);
}
CALL(int, stat, (const char *path, struct stat *st), (path, st), false, ENOMEM, EACCES)
int shim_stat64(const char *path, struct stat *st)
{
	return shim_stat(path, st);
}
CALL(int, lstat, (const char *path, struct stat *st), (path, st), false, ENOMEM, EACCES)
int shim_lstat64(const char *path, struct stat *st)
{
	return shim_lstat(path, st);
}
CALL(int, fstatat, (int dir, const char *path, struct stat *st, int flags), (dir, path, st, flags),
     false, ENOMEM, EACCES)
int shim_fstatat64(int dir, const char *path, struct stat *st, int flags)
{
	return shim_fstatat(dir, path, st, flags);
}
CALL(int, statx, (int dir, const char *path, int flags, unsigned int mask, struct statx *st),
     (dir, path, flags, mask, st), false, ENOMEM, EACCES)
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), false, ENOSPC, EACCES, EROFS)
CALL(int, fchmod, (int fd, mode_t mode), (fd, mode), false, EPERM, EIO)
CALL(int, chmod, (const char *path, mode_t mode), (path, mode), false, EPERM, EIO)
CALL(int, unlink, (const char *path), (path), false, EIO, EROFS)
CALL(int, flock, (int fd, int op), (fd, op), !(op & LOCK_NB), ENOLCK)
CALL(ssize_t, readlink, (const char *path, char *buf, size_t n), (path, buf, n), false, EIO, ENOMEM)

static bool is_lock(int cmd)
{
	return cmd == F_SETLK || cmd == F_SETLKW || cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW ||
		cmd == F_GETLK || cmd == F_OFD_GETLK;
}

static int do_fcntl(int fd, int cmd, void *arg)
{
	int err = is_lock(cmd) ? FAILS("fcntl(lock)", cmd == F_SETLKW || cmd == F_OFD_SETLKW, ENOLCK, EIO) :
		  cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC ? FAILS("fcntl(dup)", false, EMFILE) : 0;

	if (err) {
		errno = err;
		return -1;
	}
	return fcntl(fd, cmd, arg);
}

/* The argument is a pointer or an int, each in a register of its own: both fit into a pointer. */
#define FCNTL(name) \
	int shim_##name(int fd, int cmd, ...) \
	{ \
		va_list ap; \
		void *arg; \
		va_start(ap, cmd); \
		arg = va_arg(ap, void *); \
		va_end(ap); \
		return do_fcntl(fd, cmd, arg); \
	}
FCNTL(fcntl)
FCNTL(fcntl64)

int shim_ioctl(int fd, unsigned long req, ...)
{
	va_list ap;
	void *arg;
	int err;

	va_start(ap, req);
	arg = va_arg(ap, void *);
	va_end(ap);
	err = FAILS("ioctl", true, EIO, ENOMEM);
	if (err) {
		errno = err;
		return -1;
	}
	return ioctl(fd, req, arg);
}

#define STREAM(name, params, args) \
	FILE *shim_##name params \
	{ \
		int err = FAILS(#name, false, EMFILE, ENOMEM); \
		if (!err) \
			return name args; \
		errno = err; \
		return NULL; \
	}
STREAM(fopen, (const char *path, const char *mode), (path, mode))
STREAM(fdopen, (int fd, const char *mode), (fd, mode))
FILE *shim_fopen64(const char *path, const char *mode)
{
	return shim_fopen(path, mode);
}

DIR *shim_opendir(const char *path)
{
	int err = FAILS("opendir", false, EMFILE, ENOMEM);

	if (!err)
		return opendir(path);
	errno = err;
	return NULL;
}

char *shim_realpath(const char *path, char *out)
{
	int err = FAILS("realpath", false, ENOMEM, EACCES);

	if (!err)
		return realpath(path, out);
	errno = err;
	return NULL;
}

/* ---- mappings -------------------------------------------------------------------------------- */

void *shim_mmap(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
	int err = FAILS("mmap", false, ENOMEM, EAGAIN);

	if (!err)
		return mmap(at, n, prot, flags, fd, off);
	errno = err;
	return MAP_FAILED;
}

void *shim_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
	return shim_mmap(at, n, prot, flags, fd, off);
}

CALL(int, madvise, (void *at, size_t n, int advice), (at, n, advice), false, ENOMEM, EINVAL)
CALL(int, memfd_create, (const char *name, unsigned int flags), (name, flags), false, EMFILE,
     ENOMEM)

/* ---- events, sockets, terminals -------------------------------------------------------------- */

CALL(int, eventfd, (unsigned int n, int flags), (n, flags), false, EMFILE, ENFILE, ENOMEM)
CALL(int, timerfd_create, (int clock, int flags), (clock, flags), false, EMFILE, ENFILE, ENOMEM)
CALL(int, timerfd_settime, (int fd, int flags, const struct itimerspec *a, struct itimerspec *b),
     (fd, flags, a, b), false, ECANCELED)
CALL(int, signalfd, (int fd, const sigset_t *set, int flags), (fd, set, flags), false, EMFILE,
     ENOMEM)
CALL(int, epoll_create1, (int flags), (flags), false, EMFILE, ENFILE, ENOMEM)
CALL(int, epoll_wait, (int fd, struct epoll_event *ev, int nr, int ms), (fd, ev, nr, ms), true,
     EINTR)
CALL(int, epoll_pwait2,
     (int fd, struct epoll_event *ev, int nr, const struct timespec *t, const sigset_t *set),
     (fd, ev, nr, t, set), true, EINTR)
CALL(int, poll, (struct pollfd *p, nfds_t nr, int ms), (p, nr, ms), true, EINTR)
CALL(int, pipe2, (int fd[2], int flags), (fd, flags), false, EMFILE, ENFILE)
CALL(int, dup, (int fd), (fd), false, EMFILE)
CALL(int, socket, (int domain, int type, int proto), (domain, type, proto), false, EMFILE, ENOBUFS)
CALL(int, socketpair, (int domain, int type, int proto, int fd[2]), (domain, type, proto, fd),
     false, EMFILE, ENFILE)
CALL(int, bind, (int fd, const struct sockaddr *sa, socklen_t n), (fd, sa, n), false, EADDRINUSE,
     EACCES, ENOSPC)
CALL(int, listen, (int fd, int n), (fd, n), false, EADDRINUSE)
CALL(int, accept4, (int fd, struct sockaddr *sa, socklen_t *n, int flags), (fd, sa, n, flags), true,
     EMFILE, ENFILE, ECONNABORTED, ENOMEM)
CALL(int, connect, (int fd, const struct sockaddr *sa, socklen_t n), (fd, sa, n), false,
     ECONNREFUSED, EAGAIN, ENOENT)
CALL(int, setsockopt, (int fd, int level, int name, const void *p, socklen_t n),
     (fd, level, name, p, n), false, ENOMEM)
CALL(int, getsockopt, (int fd, int level, int name, void *p, socklen_t *n), (fd, level, name, p, n),
     false, ENOBUFS)
CALL(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags), true,
     ECONNRESET, ENOBUFS)
CALL(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), true,
     ECONNRESET, ENOMEM)
CALL(int, tcgetattr, (int fd, struct termios *t), (fd, t), false, EIO)
CALL(int, tcsetattr, (int fd, int how, const struct termios *t), (fd, how, t), how != TCSANOW, EIO)
CALL(int, posix_openpt, (int flags), (flags), false, EMFILE, ENOSPC)
CALL(int, grantpt, (int fd), (fd), false, EACCES)
CALL(int, unlockpt, (int fd), (fd), false, EIO)
/* up to 256 bytes come whole (getrandom(2)) */
CALL(ssize_t, getrandom, (void *p, size_t n, unsigned int flags), (p, n, flags), n > 256, ENOSYS)
CALL(int, nanosleep, (const struct timespec *t, struct timespec *left), (t, left), true, EINTR)
CALL(pid_t, fork, (void), (), false, EAGAIN, ENOMEM)
CALL(pid_t, waitpid, (pid_t pid, int *status, int flags), (pid, status, flags), true, EINTR)

/* epoll_ctl() of what must succeed is ADD; MOD and DEL fail for no reason a host may have. */
int shim_epoll_ctl(int fd, int op, int target, struct epoll_event *ev)
{
	int err = op == EPOLL_CTL_ADD ? FAILS("epoll_ctl", false, ENOSPC, ENOMEM) : 0;

	if (!err)
		return epoll_ctl(fd, op, target, ev);
	errno = err;
	return -1;
}

int shim_ptsname_r(int fd, char *buf, size_t n)
{
	int err = FAILS("ptsname_r", false, EIO);

	return err ? err : ptsname_r(fd, buf, n);
}

/* ---- what returns its errno ------------------------------------------------------------------ */

int shim_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	int err = FAILS("pthread_create", false, EAGAIN);

	return err ? err : pthread_create(t, attr, fn, arg);
}

#ifdef HAVE_URING
int shim_io_uring_queue_init_params(unsigned int nr, struct io_uring *ring,
				    struct io_uring_params *p)
{
	int err = FAILS("io_uring_queue_init_params", false, ENOMEM, EPERM, ENOSYS, EMFILE);

	return err ? -err : io_uring_queue_init_params(nr, ring, p);
}

int shim_io_uring_register_files(struct io_uring *ring, const int *fd, unsigned int nr)
{
	int err = FAILS("io_uring_register_files", false, ENOMEM, EMFILE);

	return err ? -err : io_uring_register_files(ring, fd, nr);
}

/* What is about to be submitted: some of it will complete with an error, or half done. */
static void spoil(struct io_uring *ring)
{
	for (unsigned int i = ring->sq.sqe_head; i != ring->sq.sqe_tail; i++) {
		struct io_uring_sqe *sqe = &ring->sq.sqes[i & *ring->sq.kring_mask];

		switch (sqe->opcode) {
		case IORING_OP_READ:
		case IORING_OP_WRITE:
			if (sqe->len > 1 && turn(FAULT_SHORT, "io_uring transfer"))
				sqe->len /= 2;
			break;
		case IORING_OP_READV:
		case IORING_OP_WRITEV:
			if (sqe->len > 1 && turn(FAULT_SHORT, "io_uring transfer"))
				sqe->len = 1;
			break;
		case IORING_OP_FSYNC:
		case IORING_OP_FALLOCATE:
			break;
		default:
			continue;
		}
		if (turn(FAULT_CALL, "io_uring request"))
			sqe->fd = -1;
	}
}

int shim_io_uring_submit(struct io_uring *ring)
{
	int err = FAILS("io_uring_submit", true, EAGAIN, EBUSY);

	if (err)
		return -err;
	spoil(ring);
	return io_uring_submit(ring);
}

int shim_io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe,
					  unsigned int nr, struct __kernel_timespec *t,
					  sigset_t *set)
{
	spoil(ring);
	return io_uring_submit_and_wait_timeout(ring, cqe, nr, t, set);
}
#endif
