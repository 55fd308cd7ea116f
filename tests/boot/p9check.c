// SPDX-License-Identifier: BSD-3-Clause
/*
 * A file system under test, from inside of a guest: p9check FOLDER [SEED]
 *
 * Contents are compared with a copy in memory, what the kernel answers with what POSIX wants.
 * Prints "p9 NAME ok" or "p9 NAME FAILED line N: errno"; exit code 0 if all is well.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static int failed;

#define CHECK(x) do { \
	if (!(x)) \
		return __LINE__; \
} while (0)
/* It fails, and so. */
#define FAILS(x, e) CHECK((x) < 0 && errno == (e))

#define FSX_MAX	(1 << 20)
#define ENTRIES	160

/* Random writes, reads, truncations and mappings of one file, as fsx has it. */
static int fsx(void)
{
	static unsigned char model[FSX_MAX], buf[FSX_MAX];
	size_t size = 0;
	int fd = open("fsx", O_RDWR | O_CREAT | O_EXCL, 0600);

	CHECK(fd >= 0);
	for (int i = 0; i < 250; i++) {
		size_t off = random() % FSX_MAX, len = random() % (i % 10 ? 20000 : 300000) + 1;
		struct stat st;

		if (len > FSX_MAX - off)
			len = FSX_MAX - off;
		switch (random() % 6) {
		case 0:
		case 1:
			for (size_t j = 0; j < len; j++)
				buf[j] = random();
			CHECK(pwrite(fd, buf, len, off) == (ssize_t)len);
			memcpy(model + off, buf, len);
			if (off + len > size)
				size = off + len;
			break;
		case 2:
			CHECK(ftruncate(fd, off) == 0);
			if (off < size)
				memset(model + off, 0, size - off);
			size = off;
			break;
		case 3:
			CHECK(fsync(fd) == 0);
			close(fd);
			fd = open("fsx", O_RDWR);
			CHECK(fd >= 0);
			break;
		default:
			memset(buf, 0xaa, len);
			if (off >= size) {
				CHECK(pread(fd, buf, len, off) == 0);
				break;
			}
			if (len > size - off)
				len = size - off;
			CHECK(pread(fd, buf, len, off) == (ssize_t)len);
			CHECK(!memcmp(buf, model + off, len));
		}
		CHECK(fstat(fd, &st) == 0 && (size_t)st.st_size == size);
	}
	CHECK(pread(fd, buf, FSX_MAX, 0) == (ssize_t)size && !memcmp(buf, model, size));
	close(fd);
	return 0;
}

static int names(void)
{
	char longest[256], buf[300];
	struct stat a, b;
	int fd;

	memset(longest, 'n', 255);
	longest[255] = '\0';
	CHECK(mkdir("d", 0755) == 0 && chdir("d") == 0);
	CHECK(mkdir(longest, 0700) == 0);
	FAILS(mkdir(longest, 0700), EEXIST);
	FAILS(rmdir(".."), ENOTEMPTY);
	fd = open("f", O_RDWR | O_CREAT | O_EXCL, 0640);
	CHECK(fd >= 0 && write(fd, "data", 4) == 4);
	FAILS(open("f", O_RDWR | O_CREAT | O_EXCL, 0640), EEXIST);
	CHECK(link("f", "hard") == 0 && stat("f", &a) == 0 && stat("hard", &b) == 0);
	CHECK(a.st_ino == b.st_ino && a.st_nlink == 2 && (a.st_mode & 07777) == 0640);
	CHECK(symlink("f", "soft") == 0 && readlink("soft", buf, sizeof(buf)) == 1);
	CHECK(stat("soft", &b) == 0 && a.st_ino == b.st_ino);
	CHECK(lstat("soft", &b) == 0 && S_ISLNK(b.st_mode));
	CHECK(symlink("loop", "loop") == 0);
	FAILS(open("loop", O_RDONLY), ELOOP);
	CHECK(mkfifo("fifo", 0600) == 0 && lstat("fifo", &b) == 0 && S_ISFIFO(b.st_mode));
	/* renamed and replaced while it is open */
	CHECK(rename("f", "g") == 0 && pread(fd, buf, 4, 0) == 4);
	CHECK(rename("g", "hard") == 0 && access("g", F_OK) == 0);	/* one file: nothing happens */
	CHECK(unlink("g") == 0 && unlink("hard") == 0);
	FAILS(access("hard", F_OK), ENOENT);
	CHECK(pwrite(fd, "more", 4, 4) == 4 && pread(fd, buf, 8, 0) == 8);
	CHECK(!memcmp(buf, "datamore", 8));
	close(fd);
	/* a directory that moves with all that is below */
	CHECK(mkdir("x", 0755) == 0 && mkdir("x/y", 0755) == 0);
	fd = open("x/y/z", O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0 && rename("x", "w") == 0 && write(fd, "1", 1) == 1 && close(fd) == 0);
	CHECK(stat("w/y/z", &a) == 0 && a.st_size == 1);
	FAILS(rename("w", "w/y/w"), EINVAL);
	FAILS(rmdir("w"), ENOTEMPTY);
	CHECK(chdir("..") == 0);
	return 0;
}

/* More than one reply holds: the names are long. */
static int directory(void)
{
	static char seen[ENTRIES];
	struct dirent *d;
	char name[300];
	int n = 0;
	DIR *dir;

	CHECK(mkdir("many", 0755) == 0);
	for (int i = 0; i < ENTRIES; i++) {
		snprintf(name, sizeof(name), "many/entry-%d-%0200d", i, 0);
		CHECK(mkdir(name, 0700) == 0);
	}
	dir = opendir("many");
	CHECK(dir);
	while ((d = readdir(dir))) {
		if (sscanf(d->d_name, "entry-%d", &n) == 1) {
			CHECK(n >= 0 && n < ENTRIES && !seen[n] && d->d_type == DT_DIR);
			seen[n] = 1;
		}
	}
	closedir(dir);
	CHECK(!memchr(seen, 0, sizeof(seen)));
	for (int i = 0; i < ENTRIES; i++) {
		snprintf(name, sizeof(name), "many/entry-%d-%0200d", i, 0);
		CHECK(rmdir(name) == 0);
	}
	CHECK(rmdir("many") == 0);
	return 0;
}

static int attributes(void)
{
	struct timespec t[2] = { { 1000, 5 }, { 2000, 7 } };
	struct statfs fs;
	struct stat st;
	int fd = open("attr", O_RDWR | O_CREAT | O_EXCL, 0600);

	CHECK(fd >= 0 && fchmod(fd, 04711) == 0 && futimens(fd, t) == 0);
	/* seconds: with a cache Linux rounds the times of 9p */
	CHECK(fstat(fd, &st) == 0 && (st.st_mode & 07777) == 04711);
	CHECK(st.st_mtime == 2000 && st.st_atime == 1000);
	CHECK(chown("attr", 12, 34) == 0 && stat("attr", &st) == 0);
	CHECK(st.st_uid == 12 && st.st_gid == 34);
	CHECK(truncate("attr", 5000) == 0 && stat("attr", &st) == 0 && st.st_size == 5000);
	CHECK(statfs(".", &fs) == 0 && fs.f_blocks > 0 && fs.f_namelen == 255);
	close(fd);
	return 0;
}

static int xattrs(void)
{
	char buf[256];
	ssize_t n;
	int fd = open("xattr", O_RDWR | O_CREAT | O_EXCL, 0600);

	CHECK(fd >= 0 && close(fd) == 0);
	CHECK(setxattr("xattr", "user.one", "first", 5, XATTR_CREATE) == 0);
	FAILS(setxattr("xattr", "user.one", "first", 5, XATTR_CREATE), EEXIST);
	FAILS(setxattr("xattr", "user.two", "x", 1, XATTR_REPLACE), ENODATA);
	CHECK(setxattr("xattr", "user.two", "", 0, 0) == 0);
	CHECK(getxattr("xattr", "user.one", buf, sizeof(buf)) == 5 && !memcmp(buf, "first", 5));
	CHECK(getxattr("xattr", "user.two", buf, sizeof(buf)) == 0);
	n = listxattr("xattr", buf, sizeof(buf));
	CHECK(n >= 18 && memmem(buf, n, "user.one", 9) && memmem(buf, n, "user.two", 9));
	CHECK(removexattr("xattr", "user.one") == 0);
	FAILS(getxattr("xattr", "user.one", buf, sizeof(buf)), ENODATA);
	FAILS(removexattr("xattr", "user.one"), ENODATA);
	return 0;
}

/* What another process sees: 0 free, 1 locked. */
static int locked(const char *name, int start)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct flock fl = { .l_type = F_WRLCK, .l_start = start, .l_len = 1 };
		int fd = open(name, O_RDWR);

		if (fd < 0)
			_exit(2);
		_exit(fcntl(fd, F_SETLK, &fl) < 0 ? errno == EAGAIN || errno == EACCES : 0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static int locks(void)
{
	struct flock fl = { .l_type = F_WRLCK, .l_start = 10, .l_len = 5 };
	int fd = open("lock", O_RDWR | O_CREAT, 0600), fd2;

	CHECK(fd >= 0 && fcntl(fd, F_SETLK, &fl) == 0);
	CHECK(locked("lock", 12) == 1 && locked("lock", 20) == 0);
	fl.l_type = F_UNLCK;
	CHECK(fcntl(fd, F_SETLK, &fl) == 0 && locked("lock", 12) == 0);
	fd2 = open("lock", O_RDWR);
	CHECK(fd2 >= 0 && flock(fd, LOCK_EX) == 0);
	FAILS(flock(fd2, LOCK_EX | LOCK_NB), EAGAIN);
	CHECK(flock(fd, LOCK_UN) == 0 && flock(fd2, LOCK_EX | LOCK_NB) == 0);
	close(fd);
	close(fd2);
	return 0;
}

/* The host's files are not to be had, whatever a name says. */
static int escapes(void)
{
	struct stat root, up;
	char deep[] = "../../../../../../../../..";

	CHECK(stat(".", &root) == 0);
	CHECK(symlink("../../../../../../../../../../host-secret", "esc") == 0);
	FAILS(open("esc", O_RDONLY), ENOENT);
	CHECK(symlink("/host-secret", "esc2") == 0);
	FAILS(open("esc2", O_RDONLY), ENOENT);
	/* we are one below the mount point, whose parent is the guest's */
	CHECK(stat("../..", &up) == 0 && up.st_dev != root.st_dev);
	CHECK(stat(deep, &up) == 0 && up.st_dev != root.st_dev);
	return 0;
}

/* A mapping and read() see the same (needs a cache in the client). */
static int mapping(void)
{
	char buf[8192], *p;
	int fd = open("map", O_RDWR | O_CREAT | O_EXCL, 0600);

	memset(buf, 'm', sizeof(buf));
	CHECK(fd >= 0 && write(fd, buf, sizeof(buf)) == sizeof(buf));
	p = mmap(NULL, sizeof(buf), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		p = mmap(NULL, sizeof(buf), PROT_READ, MAP_PRIVATE, fd, 0);
	CHECK(p != MAP_FAILED && !memcmp(p, buf, sizeof(buf)));
	munmap(p, sizeof(buf));
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*fn)(void);
	} tests[] = {
		{ "fsx", fsx }, { "names", names }, { "directory", directory },
		{ "attributes", attributes }, { "xattrs", xattrs }, { "locks", locks },
		{ "escapes", escapes }, { "mapping", mapping },
	};

	if (argc < 2 || chdir(argv[1]) < 0) {
		perror(argc < 2 ? "p9check FOLDER" : argv[1]);
		return 2;
	}
	srandom(argc > 2 ? atoi(argv[2]) : 1);
	umask(0);
	for (unsigned int i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		int line;

		errno = 0;
		line = tests[i].fn();
		if (line) {
			printf("p9 %s FAILED line %d: %s\n", tests[i].name, line, strerror(errno));
			failed = 1;
		} else {
			printf("p9 %s ok\n", tests[i].name);
		}
		fflush(stdout);
		if (chdir(argv[1]) < 0)
			return 2;
	}
	return failed;
}
