// SPDX-License-Identifier: BSD-3-Clause
/*
 * lkvm's sandbox: a command runs in a guest whose root file system is one of ~/.lkvm. What is
 * needed for one run lies in a folder of its own there, virt/sandbox.PID (vmm/rootfs.h), and goes
 * with it.
 *
 * The guest can write to its root file system, now and in the runs before: nothing in it is
 * followed, and what it says is checked. A child runs the guest, as "run" does; the parent stays
 * where paths are what they were.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/cmd.h"
#include "vmm/conffile.h"
#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/options.h"
#include "vmm/rootfs.h"

#define PREFIX	"sandbox."
/* No messages of the kernel's among the command's, and a kernel that gives up is an end. */
#define PARAMS	"loglevel=1 panic=-1"

/**
 * struct box - one run of a command
 * @virt:   the folder virt of the root file system
 * @dir:    this run's folder in it, locked while the run lasts
 * @status: what the guest writes the exit code to
 */
struct box {
	int virt, dir, status;
	char name[32];
};

int cmd_help_sandbox(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s sandbox [OPTIONS] [--] COMMAND [ARG...]\n", cx->prog);
	if (full)
		fputs("\n"
		      "Runs a command in a guest of its own, and ends with its exit code. The guest has the root\n"
		      "file system ~/.lkvm/default, or ~/.lkvm/NAME with --disk NAME, by 9p; it is made if it\n"
		      "is not there. The host's files are below /host, read-only; /bin, /lib, /sbin and /usr\n"
		      "lead there. A COMMAND that is a file here is that file, another word is looked up in the\n"
		      "guest. It runs as root of the guest, in /virt/home.\n"
		      "\n"
		      "OPTIONS are those of \"run\", and --kernel is one that has to be given where lkvm would\n"
		      "find none: the kernel needs 9p and virtio. With --realm the guest is a realm.\n"
		      "\n"
		      "Exit code: that of the command, 128 + N after signal N; 127 if it is not there; 128 if\n"
		      "the guest could not start, or ended before the command had.\n", stdout);
	else
		printf("\n\"%s help sandbox\" explains it, \"%s help run\" its options.\n", cx->prog, cx->prog);
	return cmd_flush(e);
}

/* ---- this run's folder ----------------------------------------------------------------------- */

static void empty(int dir)
{
	unlinkat(dir, SANDBOX_INIT, 0);
	unlinkat(dir, SANDBOX_ARGV, 0);
	unlinkat(dir, SANDBOX_STATUS, 0);
}

/* What runs have left that were killed: nobody holds the lock. */
static void sweep(int virt)
{
	int fd = openat(virt, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;

	if (!d && fd >= 0)
		close(fd);
	while (d && (de = readdir(d))) {
		if (strncmp(de->d_name, PREFIX, strlen(PREFIX)))
			continue;
		dir = openat(virt, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (dir < 0)
			continue;
		if (!flock(dir, LOCK_EX | LOCK_NB)) {
			empty(dir);
			unlinkat(virt, de->d_name, AT_REMOVEDIR);
		}
		close(dir);
	}
	if (d)
		closedir(d);
}

static void box_close(struct box *b)
{
	if (b->dir >= 0)
		empty(b->dir);
	if (b->name[0] && unlinkat(b->virt, b->name, AT_REMOVEDIR) < 0)
		log_warning("the folder virt/%s of the root file system cannot be removed: %s", b->name,
			    strerror(errno));
	if (b->status >= 0)
		close(b->status);
	if (b->dir >= 0)
		close(b->dir);
	if (b->virt >= 0)
		close(b->virt);
}

static int put_words(int dir, const char *how, char **argv)
{
	int fd = openat(dir, SANDBOX_ARGV, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *to = fd < 0 ? NULL : fdopen(fd, "w");
	size_t len = strlen(how) + 1;
	int ret = -errno;

	if (!to) {
		if (fd >= 0)
			close(fd);
		return ret;
	}
	fwrite(how, 1, len, to);
	for (; *argv; argv++) {
		fwrite(*argv, 1, strlen(*argv) + 1, to);
		len += strlen(*argv) + 1;
	}
	if (fclose(to))
		return -EIO;
	return len > SANDBOX_ARGV_MAX ? -E2BIG : 0;
}

/* @root: path of the root file system */
static int box_open(struct box *b, const char *root, char **argv, struct err *e)
{
	int dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret = 0;

	if (dir < 0)
		return err_set(e, -errno, "the root file system %s: %s", root, strerror(errno));
	b->virt = openat(dir, "virt", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (b->virt < 0)
		ret = err_set(e, -errno, "%s/virt: %s: is it a root file system of \"setup\"?", root,
			      strerror(errno));
	close(dir);
	if (ret < 0)
		return ret;
	sweep(b->virt);
	/* the process is enough of a name: one of it runs, and what others left is swept */
	snprintf(b->name, sizeof(b->name), PREFIX "%d", (int)getpid());
	if (mkdirat(b->virt, b->name, 0700) < 0) {
		ret = err_set(e, -errno, "%s/virt/%s: %s", root, b->name, strerror(errno));
		b->name[0] = '\0';
		return ret;
	}
	b->dir = openat(b->virt, b->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (b->dir < 0 || flock(b->dir, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, -errno, "%s/virt/%s: %s", root, b->name, strerror(errno));
	b->status = openat(b->dir, SANDBOX_STATUS, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (b->status < 0)
		return err_set(e, -errno, "%s/virt/%s: %s", root, b->name, strerror(errno));
	ret = put_words(b->dir, isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) ? SANDBOX_TTY :
			SANDBOX_RAW, argv);
	if (ret < 0)
		return err_set(e, ret, "the command with its arguments: %s", ret == -E2BIG ?
			       "longer than 128 KiB" : strerror(-ret));
	ret = rootfs_put_init(b->dir, SANDBOX_INIT);
	if (ret > 0)
		return err_set(e, -ENOEXEC, "this program cannot be the first process of the guest, because "
			       "it is not a static one for arm64: build it with \"make ARCH=arm64\"");
	return ret < 0 ? err_set(e, ret, "%s/virt/%s: %s", root, b->name, strerror(-ret)) : 0;
}

/* What the guest has written; -1: nothing that makes sense. */
static int box_status(const struct box *b)
{
	char text[8] = "", *end;
	unsigned long n;

	if (pread(b->status, text, sizeof(text) - 1, 0) <= 0)
		return -1;
	n = strtoul(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && *end == '\n' && n <= 255 ? (int)n : -1;
}

/* ---- the guest ------------------------------------------------------------------------------- */

/* As lkvm: a file of the host's is meant, wherever the guest sees it. NULL: no memory. */
static char *in_guest(const char *program)
{
	char *real, *path;
	struct stat st;

	if (stat(program, &st) < 0 || !S_ISREG(st.st_mode))
		return strdup(program);
	real = realpath(program, NULL);
	if (!real || asprintf(&path, "/host%s", real) < 0)
		path = NULL;
	free(real);
	return path;
}

static int guest_config(struct vm_config *c, const struct box *b, struct err *e)
{
	char *params;

	if (asprintf(&c->rootfs_init, "/virt/%s/" SANDBOX_INIT, b->name) < 0) {
		c->rootfs_init = NULL;
		return err_set(e, -ENOMEM, "out of memory");
	}
	if (asprintf(&params, PARAMS "%s%s", c->params ? " " : "", c->params ? c->params : "") < 0)
		return err_set(e, -ENOMEM, "out of memory");
	free(c->params);
	c->params = params;
	return 0;
}

static const char *root_of(const struct vm_config *c)
{
	for (unsigned int i = 0; i < c->nr_shares; i++)
		if (!strcmp(c->share[i].tag, ROOTFS_TAG))
			return c->share[i].dir;
	return NULL;
}

/* Waits for the child; who wants our end means its. */
static int wait_child(pid_t child, const sigset_t *set)
{
	int status, sig;
	pid_t gone;

	while ((gone = waitpid(child, &status, WNOHANG)) != child) {
		siginfo_t si;

		if (gone < 0)
			return EXIT_FATAL;
		sig = sigwaitinfo(set, &si);

		/* what a terminal sends, it has got itself */
		if (sig > 0 && sig != SIGCHLD && si.si_code != SI_KERNEL)
			kill(child, sig);
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* In the child it returns what "run" returns, in the parent with *child set its exit code. */
static int run_apart(struct vm_config *c, pid_t *child, struct err *e)
{
	pid_t parent = getpid();
	sigset_t set, old;
	int ret;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, &old);
	signal(SIGCHLD, SIG_DFL);	/* ignored, it would leave no exit code */
	*child = fork();
	if (*child > 0) {
		ret = wait_child(*child, &set);
		sigprocmask(SIG_SETMASK, &old, NULL);
		return ret;
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (*child < 0) {
		*child = 0;
		return err_set(e, -errno, "starting a process: %s", strerror(errno));
	}
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	return getppid() == parent ? cmd_run(c, e) : EXIT_FATAL;
}

int sandbox_run(struct vm_config *c, char **argv, struct err *e)
{
	struct box b = { .virt = -1, .dir = -1, .status = -1 };
	const char *root = root_of(c);
	pid_t self = getpid(), child = 0;
	int ret, code;

	if (!root || (c->rootfs != ROOTFS_DEFAULT && c->rootfs != ROOTFS_NAMED))
		return err_set(e, -EINVAL, "a sandbox has the root file system ~/.lkvm/default, or the one "
			       "that --disk NAME names: leave out other disks, --initrd, --firmware, "
			       "--nodefaults and --compat off");
	if (c->rootfs == ROOTFS_DEFAULT && access(root, F_OK) < 0 && errno == ENOENT) {
		ret = rootfs_create(root, e);
		if (ret < 0)
			return ret;
		log_info("%s was not there: made a root file system like \"lkvm setup\"", root);
	}
	ret = box_open(&b, root, argv, e);
	if (!ret)
		ret = guest_config(c, &b, e);
	if (!ret)
		ret = run_apart(c, &child, e);
	if (getpid() != self)
		return ret;
	code = b.status < 0 ? -1 : box_status(&b);
	box_close(&b);
	if (!child || ret)
		return ret;
	if (code < 0)
		return err_set(e, -ECANCELED, "the guest ended before the command had: is --disk a root file "
			       "system of \"setup\", and has the kernel 9p and virtio? (--params loglevel=7 "
			       "shows what it says)");
	return code;
}

int sandbox_script(struct vm_config *c, struct err *e)
{
	char shell[] = "/bin/sh", *script, *argv[] = { shell, NULL, NULL };
	struct stat st;
	int ret;

	if (stat(c->sandbox_script, &st) < 0)
		return err_set(e, -errno, "option --sandbox: %.200s is none of on, audit and off, nor a script: "
			       "%s", c->sandbox_script, strerror(errno));
	script = in_guest(c->sandbox_script);
	if (!script)
		return err_set(e, -ENOMEM, "out of memory");
	argv[1] = script;
	ret = sandbox_run(c, argv, e);
	free(script);
	return ret;
}

/* ---- the command ----------------------------------------------------------------------------- */

/* Where the command begins: behind --, or with the first word that is no option's. */
static int find_command(int argc, char **argv, int *options)
{
	int i = 0;

	while (i < argc && argv[i][0] == '-' && argv[i][1] && strcmp(argv[i], "--"))
		i += 1 + opt_takes_next(&run_options, argv[i]);
	*options = MIN(i, argc);
	return i < argc && !strcmp(argv[i], "--") ? i + 1 : i;
}

/* It behaves as lkvm whatever the program is called, but for the log. */
static int options_of(struct vm_config *c, const struct cmd_ctx *cx, int argc, char **argv,
		      struct err *e)
{
	char quiet[] = "--loglevel=warning";
	char **args = calloc(argc + 2, sizeof(*args));
	struct conf f;
	int ret;

	config_defaults(c);
	conf_init(&f, &run_options);
	if (!args)
		return err_set(e, -ENOMEM, "out of memory");
	args[0] = quiet;
	memcpy(args + 1, argv, argc * sizeof(*args));
	ret = conf_args(&f, argc, args + 1, e);
	if (!ret && !cx->lkvm && !conf_has(&f, "loglevel") && !conf_has(&f, "debug")) {
		conf_free(&f);
		ret = conf_args(&f, argc + 1, args, e);
	}
	if (!ret)
		ret = options_apply(&f, c, true, e);
	conf_free(&f);
	free(args);
	return ret;
}

int cmd_sandbox(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	struct vm_config c;
	char *program, **command = NULL;
	int options, first, ret;

	first = find_command(argc, argv, &options);
	ret = options_of(&c, cx, options, argv, e);
	if (ret == OPTIONS_HELP) {
		ret = cmd_help_sandbox(cx, false, e);
		goto out;
	}
	if (!ret && first >= argc)
		ret = err_set(e, -EINVAL, "which command? \"%s sandbox [OPTIONS] -- COMMAND [ARG...]\"",
			      cx->prog);
	if (!ret)
		ret = rootfs_config(&c, e);
	if (ret < 0)
		goto out;
	command = calloc(argc - first + 1, sizeof(*command));
	program = in_guest(argv[first]);
	if (command && program) {
		memcpy(command, argv + first, (argc - first) * sizeof(*command));
		command[0] = program;
		ret = sandbox_run(&c, command, e);
	} else {
		ret = err_set(e, -ENOMEM, "out of memory");
	}
	free(program);
out:
	free(command);
	config_free(&c);
	return ret;
}
