// SPDX-License-Identifier: BSD-3-Clause
/* realmtool as process 1 of a guest whose root file system "setup" made. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/rootfs.h"

#define SCRIPT	"/virt/init-script"
#define SANDBOXES "/virt/sandbox."
#define P9_OPTIONS "trans=virtio,version=9p2000.L"

static const struct {
	const char *what, *where, *type, *options;
	unsigned long flags;
} mounts[] = {
	{ "proc", "/proc", "proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "sysfs", "/sys", "sysfs", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "devtmpfs", "/dev", "devtmpfs", NULL, MS_NOSUID },
	{ "devpts", "/dev/pts", "devpts", NULL, MS_NOSUID | MS_NOEXEC },
	{ "tmpfs", "/run", "tmpfs", "mode=755", MS_NOSUID | MS_NODEV },
	{ ROOTFS_HOST_TAG, "/host", "9p", P9_OPTIONS, MS_RDONLY },
};

/* What the host reads is what the command wrote, and not what it was sent. */
static void raw_console(int fd)
{
	struct termios t;

	if (tcgetattr(fd, &t) < 0)
		return;
	t.c_oflag &= ~OPOST;
	t.c_lflag &= ~ECHO;
	tcsetattr(fd, TCSANOW, &t);
}

/* In a session of its own on the console, for ^C. Returns, with an exit code, if that fails. */
static int run_child(char *const argv[], bool raw, struct err *e)
{
	int fd = open("/dev/console", O_RDWR);

	setsid();
	if (fd >= 0) {
		if (raw)
			raw_console(fd);
		ioctl(fd, TIOCSCTTY, 0);
		for (int i = 0; i < 3; i++)
			dup2(fd, i);
		if (fd > 2)
			close(fd);
	}
	setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 1);
	setenv("HOME", "/virt/home", 1);
	setenv("TERM", "linux", 0);
	if (chdir("/virt/home") < 0 && chdir("/") < 0)
		return err_set(e, -errno, "init: chdir: %s", strerror(errno));
	execvp(argv[0], argv);
	err_set(e, -errno, "init: running %s: %s", argv[0], strerror(errno));
	log_fatal(e);
	return e->code == -ENOENT ? 127 : 126;	/* as a shell */
}

/*
 * The command of a sandbox whose folder the init @self lies in. @argv ends with NULL, and points
 * into memory that stays. Return: the folder, or -1: it is no sandbox.
 */
static int sandbox_command(const char *self, char ***argv, bool *raw)
{
	static char text[SANDBOX_ARGV_MAX + 1], folder[64];
	static char *word[SANDBOX_ARGV_MAX / 2 + 2];
	const char *end = strrchr(self, '/');
	size_t len = 0, nr = 0;
	ssize_t n = 0;
	int dir, fd;

	if (strncmp(self, SANDBOXES, strlen(SANDBOXES)) || (size_t)(end - self) >= sizeof(folder))
		return -1;
	memcpy(folder, self, end - self);
	dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = dir < 0 ? -1 : openat(dir, SANDBOX_ARGV, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && len < SANDBOX_ARGV_MAX &&
	       (n = read(fd, text + len, SANDBOX_ARGV_MAX - len)) > 0)
		len += n;
	if (fd >= 0)
		close(fd);
	for (size_t at = 0; at < len; at += strlen(text + at) + 1)
		word[nr++] = text + at;
	if (nr < 2)
		return -1;
	*raw = !strcmp(word[0], SANDBOX_RAW);
	*argv = word + 1;
	return dir;
}

/* For who started the sandbox: as a shell has it, 128 + N after signal N. */
static void tell_status(int dir, int status)
{
	int fd = openat(dir, SANDBOX_STATUS, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0 || dprintf(fd, "%d\n", WIFSIGNALED(status) ? 128 + WTERMSIG(status) :
			     WEXITSTATUS(status)) < 0 || fsync(fd) < 0)
		log_warning("init: the exit code cannot be told: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* "reboot: Power down" is an emergency to Linux, and would end the command's output. */
static void silence_kernel(void)
{
	int fd = open("/proc/sys/kernel/printk", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	dprintf(fd, "0\n");
	close(fd);
}

int rootfs_init(const char *self, struct err *e)
{
	static char *script[] = { SCRIPT, NULL }, *shell[] = { "/bin/sh", NULL };
	char **what = access(SCRIPT, X_OK) == 0 ? script : shell;
	int status = 0, sandbox;
	bool raw = false;
	pid_t child, gone;

	sandbox = sandbox_command(self, &what, &raw);
	for (unsigned int i = 0; i < ARRAY_SIZE(mounts); i++) {
		if (!strcmp(mounts[i].where, "/dev/pts"))
			mkdir("/dev/pts", 0755);
		/* EBUSY: the kernel has mounted /dev by itself */
		if (mount(mounts[i].what, mounts[i].where, mounts[i].type, mounts[i].flags,
			  mounts[i].options) < 0 && errno != EBUSY)
			log_warning("init: mounting %s: %s", mounts[i].where, strerror(errno));
	}
	child = fork();
	if (child < 0)
		return err_set(e, -errno, "init: fork: %s", strerror(errno));
	if (!child)
		return run_child(what, raw, e);
	/* process 1 has orphans, too */
	do {
		int st = 0;

		gone = wait(&st);
		if (gone == child)
			status = st;
	} while (gone != child && (gone > 0 || errno == EINTR));
	if (sandbox >= 0)
		tell_status(sandbox, status);
	else if (status)
		log_warning("init: %s ended with %s %d", what[0],
			    WIFSIGNALED(status) ? "signal" : "exit code",
			    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	sync();
	if (sandbox >= 0)
		silence_kernel();
	reboot(RB_POWER_OFF);
	return err_set(e, -errno, "init: power off: %s", strerror(errno));
}
