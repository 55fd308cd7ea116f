// SPDX-License-Identifier: BSD-3-Clause
/* realmtool as process 1 of a guest whose root file system "setup" made. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/rootfs.h"

#define SCRIPT	"/virt/init-script"
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

/* In a session of its own on the console, so that ^C reaches it. Returns only if that fails. */
static int run_child(char *const argv[], struct err *e)
{
	int fd = open("/dev/console", O_RDWR);

	setsid();
	if (fd >= 0) {
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
	execv(argv[0], argv);
	return err_set(e, -errno, "init: running %s: %s", argv[0], strerror(errno));
}

int rootfs_init(struct err *e)
{
	static char *const script[] = { SCRIPT, NULL }, *const shell[] = { "/bin/sh", NULL };
	char *const *what = access(SCRIPT, X_OK) == 0 ? script : shell;
	pid_t child, gone;
	int status = 0;

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
		return run_child(what, e);
	/* process 1 has orphans, too */
	do {
		int st = 0;

		gone = wait(&st);
		if (gone == child)
			status = st;
	} while (gone != child && (gone > 0 || errno == EINTR));
	if (status)
		log_warning("init: %s ended with %s %d", what[0],
			    WIFSIGNALED(status) ? "signal" : "exit code",
			    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	sync();
	reboot(RB_POWER_OFF);
	return err_set(e, -errno, "init: power off: %s", strerror(errno));
}
