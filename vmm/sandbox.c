// SPDX-License-Identifier: BSD-3-Clause
/*
 * Theory of operation. The order is not that of the letters in sandbox.h, because each step takes
 * away what the one before needs: limits, then namespaces (needs CAP_SYS_ADMIN, which a user
 * namespace gives), no_new_privs, Landlock (needs that), capabilities last.
 *
 * The root is a tmpfs with nothing in it, mounted over a folder that is everywhere and made the
 * root by pivot_root(2). What was the root before is detached. Files that are open stay open. A
 * folder that is used by name later (a share) is cloned before, with all that is mounted below it:
 * the clone hangs on its descriptor alone and has nothing above. Its server opens files through
 * /proc/self/fd, so that one folder of proc stands in the new root where a share exists.
 */
#include "vmm/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/landlock_abi.h"
#include "vmm/core/log.h"
#include "vmm/core/seccomp.h"

#define FILES_MAX	65536	/* 9p shares are given 8192 at most, devices far less */
#define PROCS_MAX	8192	/* vCPUs, devices and the workers of io_uring, well rounded up */

static bool foreign_users;

bool sandbox_foreign_users(void)
{
	return foreign_users;
}

/* ---- capabilities ---------------------------------------------------------------------------- */

#define CAP(c) (UINT64_C(1) << (c))

uint64_t sandbox_share_caps(void)
{
	return CAP(CAP_CHOWN) | CAP(CAP_DAC_OVERRIDE) | CAP(CAP_DAC_READ_SEARCH) |
	       CAP(CAP_FOWNER) | CAP(CAP_FSETID) | CAP(CAP_MKNOD) | CAP(CAP_SETFCAP);
}

static uint64_t get_caps(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { 0 };

	if (syscall(SYS_capget, &h, d) < 0)
		return 0;
	return d[0].effective | (uint64_t)d[1].effective << 32;
}

static int drop_caps(uint64_t keep, struct err *e)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { 0 };

	keep &= get_caps();
	/* the first number that this kernel does not know is EINVAL; without CAP_SETPCAP, EPERM */
	for (unsigned int c = 0; c < 64; c++)
		if (!(keep & CAP(c)) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0)
			break;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	d[0].effective = d[0].permitted = (uint32_t)keep;
	d[1].effective = d[1].permitted = (uint32_t)(keep >> 32);
	if (syscall(SYS_capset, &h, d) < 0)
		return err_set(e, -errno, "sandbox: capabilities cannot be dropped: %s; --sandbox=off "
			       "does without", strerror(errno));
	return 0;
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void limit(int what, rlim_t max)
{
	struct rlimit l;

	if (getrlimit(what, &l) < 0 || l.rlim_max <= max)
		return;
	l.rlim_cur = MIN(l.rlim_cur, max);
	l.rlim_max = max;
	setrlimit(what, &l);
}

static void set_limits(const struct sandbox_cfg *cfg)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	/* a guest's memory does not belong into a file on the host */
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, FILES_MAX);
	/* root pins without limit, but not without its capabilities */
	if (cfg->vfio && get_caps() & CAP(CAP_SYS_RESOURCE))
		setrlimit(RLIMIT_MEMLOCK, &all);
}

/* ---- namespaces ------------------------------------------------------------------------------ */

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* This user is who he was, and nobody else is anybody. */
static int user_namespace(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[64];
	int ret;

	if (unshare(CLONE_NEWUSER) < 0)
		return -errno;
	ret = write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	if (!ret)
		ret = write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	if (!ret)
		ret = write_file("/proc/self/gid_map", map);
	return ret;
}

/* Without these two there is no empty root. */
static int own_mounts(bool admin)
{
	int ret = admin ? 0 : user_namespace();

	if (!ret && unshare(CLONE_NEWNS) < 0)
		ret = -errno;
	/* nothing of ours to the host, nothing of the host's to us */
	if (!ret && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		ret = -errno;
	return ret;
}

/* Those that a kernel can be built without */
static void own_rest(void)
{
	static const struct {
		int flag;
		const char *name;
	} list[] = {
		{ CLONE_NEWNET, "network" }, { CLONE_NEWIPC, "IPC" }, { CLONE_NEWUTS, "UTS" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		if (unshare(list[i].flag) < 0)
			log_info("sandbox: no %s namespace: %s", list[i].name, strerror(errno));
}

/*
 * A user namespace that was entered cannot be left: so another process tries first. A host can
 * forbid them altogether, or (AppArmor) give no capabilities in them.
 */
static int try_namespaces(bool admin)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (!pid) {
		int ret = own_mounts(admin);

		if (!ret && mount("sandbox", "/proc", "tmpfs", MS_NOSUID | MS_NODEV, NULL) < 0)
			ret = -errno;
		_exit(-ret);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

/*
 * The folder that @fd means, seen alone. @fd belongs to the mounts of the old namespace, which can
 * not be cloned: it is looked up again by its path.
 */
static int view(const struct sandbox_dir *d)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };
	char link[40], path[4096];
	struct stat a, b;
	ssize_t n;
	int fd, ret = 0;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", d->fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return n < 0 ? -errno : -ENOENT;
	path[n] = '\0';
	fd = syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
		     AT_RECURSIVE | AT_SYMLINK_NOFOLLOW);
	if (fd < 0)
		return -errno;
	/* something else may be mounted over it, or have its name, by now */
	if (fstat(d->fd, &a) < 0 || fstat(fd, &b) < 0 || a.st_dev != b.st_dev ||
	    a.st_ino != b.st_ino)
		ret = -ESTALE;
	if (d->use == SANDBOX_READ)
		attr.attr_set |= MOUNT_ATTR_RDONLY;
	if (!ret && d->use != SANDBOX_MEMORY &&
	    syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		ret = errno == ENOSYS ? 0 : -errno;	/* Linux 5.12 */
	if (!ret && dup3(fd, d->fd, O_CLOEXEC) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static bool needs_proc(const struct sandbox_cfg *cfg)
{
	for (unsigned int i = 0; i < cfg->nr_dirs; i++)
		if (cfg->dir[i].use != SANDBOX_MEMORY)
			return true;
	return false;
}

/* What stands at /proc/self/fd in the new root is this process's for good. */
static int put_proc(int tree)
{
	int ret = 0;

	if (mkdir("/proc", 0500) < 0 || mkdir("/proc/self", 0500) < 0 ||
	    mkdir("/proc/self/fd", 0500) < 0 ||
	    syscall(SYS_move_mount, tree, "", AT_FDCWD, "/proc/self/fd", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		ret = -errno;
	return ret;
}

/*
 * The current folder becomes the root. pivot_root(2): the new root over the old one, which lies
 * beneath then. A root that is the initramfs cannot be taken away (EINVAL): it is
 * covered, and who has no CAP_SYS_CHROOT does not get there.
 */
static int change_root(void)
{
	if (!syscall(SYS_pivot_root, ".", "."))
		return umount2(".", MNT_DETACH);
	if (errno != EINVAL)
		return -1;
	return mount(".", "/", NULL, MS_MOVE, NULL) < 0 ? -1 : chroot(".");
}

static int empty_root(const struct sandbox_cfg *cfg)
{
	int proc = -1, ret = 0;

	if (needs_proc(cfg)) {
		proc = syscall(SYS_open_tree, AT_FDCWD, "/proc/self/fd",
			       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		if (proc < 0)
			return -errno;
	}
	/* /proc is a folder that is everywhere; what it is does not matter */
	if (mount("sandbox", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "size=4k,nr_inodes=8,mode=0500") < 0 || chdir("/proc") < 0 ||
	    change_root() < 0 || chdir("/") < 0)
		ret = -errno;
	if (!ret && proc >= 0)
		ret = put_proc(proc);
	if (!ret && mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV |
			  MS_NOEXEC, NULL) < 0)
		ret = -errno;
	if (proc >= 0)
		close(proc);
	return ret;
}

static int enter_namespaces(const struct sandbox_cfg *cfg, struct err *e)
{
	bool admin = get_caps() & CAP(CAP_SYS_ADMIN);
	int ret;

	if (!admin && cfg->owners) {
		log_info("sandbox: no namespaces: a shared folder shows who its files belong to, and a user "
			 "namespace would hide that");
		return 0;
	}
	ret = try_namespaces(admin);
	if (ret < 0) {
		log_info("sandbox: no namespaces: this host does not allow them (%s)", strerror(-ret));
		return 0;
	}
	ret = own_mounts(admin);
	if (ret < 0)
		return err_set(e, ret, "sandbox: namespaces: %s; --sandbox=off does without",
			       strerror(-ret));
	foreign_users = !admin;
	own_rest();
	for (unsigned int i = 0; i < cfg->nr_dirs && !ret; i++) {
		ret = view(&cfg->dir[i]);
		if (ret == -ESTALE || ret == -ENOENT) {
			log_info("sandbox: a shared folder has lost its name on this host; what is "
				 "mounted in it may be missing");
			ret = 0;
		}
	}
	if (!ret)
		ret = empty_root(cfg);
	if (ret < 0)
		return err_set(e, ret, "sandbox: an empty root: %s; --sandbox=off does without",
			       strerror(-ret));
	if (!admin)
		limit(RLIMIT_NPROC, PROCS_MAX);	/* counted in this user namespace */
	log_debug("sandbox: namespaces of its own%s, empty root", admin ? "" : ", user included");
	return 0;
}

/* ---- Landlock -------------------------------------------------------------------------------- */

static int landlock_abi(void)
{
	int abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return abi < 0 ? -errno : abi;
}

#define FS_1	(LANDLOCK_ACCESS_FS_EXECUTE | FS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_MAKE)
#define FS_READ	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_MAKE	(LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
		 LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | \
		 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | \
		 LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | \
		 LANDLOCK_ACCESS_FS_MAKE_SYM)

/* Everything that this kernel can forbid. */
static struct ll_ruleset_attr forbidden(int abi, size_t *size)
{
	struct ll_ruleset_attr a = { .fs = FS_1 };

	if (abi >= 2)
		a.fs |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		a.fs |= LANDLOCK_ACCESS_FS_TRUNCATE;
	if (abi >= 4)
		a.net |= LANDLOCK_ACCESS_NET_BIND_TCP | LANDLOCK_ACCESS_NET_CONNECT_TCP;
	if (abi >= 5)
		a.fs |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
	if (abi >= 6)
		a.scoped |= LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL;
	if (abi >= 9)
		a.fs |= LANDLOCK_ACCESS_FS_RESOLVE_UNIX;
	if (abi >= 10)
		a.net |= LANDLOCK_ACCESS_NET_BIND_UDP | LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP;
	*size = abi >= 6 ? sizeof(a) : abi >= 4 ? offsetof(struct ll_ruleset_attr, scoped) :
		offsetof(struct ll_ruleset_attr, net);
	return a;
}

static uint64_t allowed(enum sandbox_use use)
{
	switch (use) {
	case SANDBOX_READ:
		return FS_READ;
	case SANDBOX_WRITE:
		return FS_READ | FS_MAKE | LANDLOCK_ACCESS_FS_WRITE_FILE |
		       LANDLOCK_ACCESS_FS_REFER | LANDLOCK_ACCESS_FS_TRUNCATE;
	case SANDBOX_CONNECT:
		return LANDLOCK_ACCESS_FS_RESOLVE_UNIX;
	case SANDBOX_MEMORY:
		return LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
		       LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_TRUNCATE;
	}
	return 0;
}

static bool writes(const struct sandbox_cfg *cfg)
{
	for (unsigned int i = 0; i < cfg->nr_dirs; i++)
		if (cfg->dir[i].use == SANDBOX_WRITE)
			return true;
	return false;
}

static int enter_landlock(const struct sandbox_cfg *cfg, struct err *e)
{
	int abi = landlock_abi(), fd, ret = 0;
	struct ll_ruleset_attr a;
	size_t size;

	if (abi < 0) {
		log_info("sandbox: no Landlock: %s", abi == -EOPNOTSUPP ? "it is switched off (boot "
			 "parameter lsm=)" : "this kernel does not have it");
		return 0;
	}
	if (abi < 2 && writes(cfg)) {
		log_info("sandbox: no Landlock: this kernel's version of it forbids to move files between "
			 "folders, also in a share (Linux 5.19)");
		return 0;
	}
	a = forbidden(abi, &size);
	fd = syscall(SYS_landlock_create_ruleset, &a, size, 0);
	if (fd < 0)
		return err_set(e, -errno, "sandbox: Landlock (ABI %d): %s; --sandbox=off does without", abi,
			       strerror(errno));
	for (unsigned int i = 0; i < cfg->nr_dirs && !ret; i++) {
		struct landlock_path_beneath_attr rule = {
			.allowed_access = allowed(cfg->dir[i].use) & a.fs,
			.parent_fd = cfg->dir[i].fd,
		};

		if (rule.allowed_access &&
		    syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
			ret = -errno;
	}
	if (!ret && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		ret = -errno;
	close(fd);
	if (ret < 0)
		return err_set(e, ret, "sandbox: Landlock (ABI %d): %s; --sandbox=off does without", abi,
			       strerror(-ret));
	log_debug("sandbox: Landlock, ABI %d, %u folders left", abi, cfg->nr_dirs);
	return 0;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void tell(const struct sandbox_cfg *cfg)
{
	struct sandbox_host h;

	sandbox_probe(&h);
	log_info("sandbox: audit: capabilities %#" PRIx64 " would be dropped, %#" PRIx64 " kept",
		 get_caps() & ~cfg->caps, get_caps() & cfg->caps);
	if (h.namespaces < 0 || (!h.admin && cfg->owners))
		log_info("sandbox: audit: there would be no namespaces: %s", h.namespaces < 0 ?
			 strerror(-h.namespaces) : "a share shows who its files belong to");
	else
		log_info("sandbox: audit: there would be namespaces and an empty root");
	if (h.landlock < 0)
		log_info("sandbox: audit: there would be no Landlock: %s", strerror(-h.landlock));
	else
		log_info("sandbox: audit: Landlock (ABI %d) would leave %u folders", h.landlock,
			 cfg->nr_dirs);
}

int sandbox_enter(const struct sandbox_cfg *cfg, struct err *e)
{
	int ret;

	if (cfg->mode == SANDBOX_AUDIT) {
		tell(cfg);
		return 0;
	}
	set_limits(cfg);
	ret = enter_namespaces(cfg, e);
	if (!ret && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		ret = err_set(e, -errno, "sandbox: no_new_privs: %s", strerror(errno));
	if (!ret)
		ret = enter_landlock(cfg, e);
	if (!ret)
		ret = drop_caps(cfg->caps, e);
	/* other processes of this user cannot look into this one */
	if (!ret)
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return ret;
}

void sandbox_probe(struct sandbox_host *h)
{
	h->admin = get_caps() & CAP(CAP_SYS_ADMIN);
	h->namespaces = try_namespaces(h->admin);
	h->landlock = landlock_abi();
	h->seccomp = seccomp_probe();
}
