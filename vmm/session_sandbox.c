// SPDX-License-Identifier: BSD-3-Clause
/*
 * A session locks itself in. What it will need afterwards by a path is opened before and kept
 * (vmm/core/path.h); what it will need done outside is left to the attendant.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>
#ifdef HAVE_JANSSON
#include <jansson.h>
#endif

#include "realm/attest.h"
#include "vmm/attendant.h"
#include "vmm/core/log.h"
#include "vmm/core/path.h"
#include "vmm/core/trace.h"
#include "vmm/core/usock.h"
#include "vmm/devices.h"
#include "vmm/helper.h"
#include "vmm/sandbox.h"
#include "vmm/session.h"
#include "vmm/syscalls.h"

#define DIRS_MAX (CFG_MAX_SHARES + 2)	/* vsock, hugetlbfs */

bool session_models_too;

/* ---- keys of an emulated realm --------------------------------------------------------------- */

/*
 * Those of --emulated-keys are opened now. The user's own are made when a guest first asks for a
 * token, which few do: so the attendant opens them then.
 */
static struct {
	char path[ATTEST_KEYS][PATH_MAX];
	int fd[ATTEST_KEYS];
	bool asked;
	int job;
} keys;

static int keys_job(void *ctx, int fds[ATTENDANT_FDS], unsigned int *nr, struct err *e)
{
	int ret = attest_make_keys(NULL, e);

	for (unsigned int i = 0; i < ATTEST_KEYS && !ret; i++) {
		fds[*nr] = open(keys.path[i], O_RDONLY | O_CLOEXEC);
		if (fds[*nr] < 0)
			ret = err_set(e, -errno, "key %s: %s", keys.path[i], strerror(errno));
		else
			(*nr)++;
	}
	return ret;
}

static int get_key(void *ctx)
{
	int *fd = ctx, key;
	struct err e;

	if (!keys.asked && attendant_ask(keys.job, keys.fd, ATTEST_KEYS, &e) < 0)
		log_info("%s", e.msg);
	keys.asked = true;
	key = *fd;
	*fd = -1;
	return key < 0 ? -EPERM : key;
}

static int keep_keys(const struct vm_config *c, struct err *e)
{
	const struct attendant_job job = { .fn = keys_job, .fd = -1 };
	int ret;

	/* without a HOME it will be told when there is a token to sign */
	if (c->mode != MODE_EMULATED || attest_key_paths(c->emulated_keys, keys.path) < 0)
		return 0;
	keys.asked = false;
	if (c->emulated_keys) {
		ret = attest_make_keys(c->emulated_keys, e);
		for (unsigned int i = 0; i < ATTEST_KEYS && !ret; i++) {
			ret = path_keep(keys.path[i], O_RDONLY, 0);
			if (ret < 0)
				err_set(e, ret, "key %s: %s", keys.path[i], strerror(-ret));
		}
		return ret;
	}
	keys.job = attendant_add(&job);
	for (unsigned int i = 0; i < ATTEST_KEYS; i++) {
		keys.fd[i] = -1;
		if (keys.job >= 0)
			path_keep_lazily(keys.path[i], get_key, &keys.fd[i]);
	}
	return 0;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Those who use a file say what is wrong with it, when they do. */
static void keep(const char *path, int flags)
{
	int ret = path ? path_keep(path, flags, 0666) : 0;

	if (ret < 0)
		log_debug("%s: %s", path, strerror(-ret));
}

static int keep_files(const struct vm_config *c, struct err *e)
{
	int ret;

	keep(c->kvm_dev ? c->kvm_dev : "/dev/kvm", O_RDWR);
	if (c->mode == MODE_KVM) {
		keep(KVM_PARAM_DIR "kvm_cap_arm_rmi", O_RDONLY);
		keep(KVM_PARAM_DIR "kvm_cap_arm_rme", O_RDONLY);
	}
	keep("/proc/self/statm", O_RDONLY);
	if (c->expect_rim && c->expect_rim[0] == '@')
		keep(c->expect_rim + 1, O_RDONLY | O_NONBLOCK);
	keep(c->host_profile, O_RDONLY | O_NONBLOCK);
	for (unsigned int i = 0; i < c->nr_vfios; i++)
		keep(c->vfio[i].rom, O_RDONLY | O_NONBLOCK);
	ret = c->dump_dtb ? path_keep(c->dump_dtb, O_WRONLY | O_CREAT, 0666) : 0;
	if (ret < 0)
		return err_set(e, ret, "--dump-dtb %s: %s", c->dump_dtb, strerror(-ret));
	ret = c->hugetlbfs ? path_keep(c->hugetlbfs, O_PATH | O_DIRECTORY, 0) : 0;
	return ret < 0 ? err_set(e, ret, "--hugetlbfs %s: %s; name the mount point of a hugetlbfs",
				 c->hugetlbfs, strerror(-ret)) : 0;
}

/* ---- the attendant --------------------------------------------------------------------------- */

static int sockets_job(void *ctx, int fds[ATTENDANT_FDS], unsigned int *nr, struct err *e)
{
	struct session *s = ctx;

	usock_remove_all();
	if (s->gdb)
		gdb_remove(s->gdb);
	return 0;
}

static int start_attendant(struct session *s, struct err *e)
{
	const struct attendant_job job = { .fn = sockets_job, .ctx = s, .at_end = true, .fd = -1 };
	int ret = attendant_add(&job);

	return ret < 0 ? err_set(e, ret, "sandbox: too many jobs for the attendant") :
	       attendant_start(e);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static bool served_here(const struct vm_config *c)
{
	for (unsigned int i = 0; i < c->nr_shares; i++)
		if (c->share[i].kind == SHARE_9P)
			return true;
	return false;
}

/* Libraries that look for files when they are first used. */
static void warm_up(void)
{
#ifdef HAVE_JANSSON
	json_object_seed(0);	/* from /dev/urandom */
#endif
}

static int lock_in(struct session *s, struct err *e)
{
	const struct vm_config *c = s->cfg;
	struct sandbox_dir dir[DIRS_MAX];
	struct sandbox_cfg cfg = {
		.mode = (enum sandbox_mode)c->sandbox,
		.dir = dir,
		.owners = served_here(c),
		.caps = served_here(c) ? sandbox_share_caps() : 0,
		.vfio = c->nr_vfios > 0,
	};
	int ret;

	devices_dirs(c, s->host, s->nr_hosts, dir, DIRS_MAX, &cfg.nr_dirs);
	if (c->hugetlbfs && path_kept(c->hugetlbfs) >= 0 && cfg.nr_dirs < DIRS_MAX)
		dir[cfg.nr_dirs++] = (struct sandbox_dir){
			.fd = path_kept(c->hugetlbfs), .use = SANDBOX_MEMORY,
		};
	ret = sandbox_enter(&cfg, e);
	if (!ret)
		ret = syscalls_restrict(c, c->sandbox == SANDBOX_AUDIT ? SECCOMP_AUDIT : SECCOMP_ON,
					term_restore_now, e);
	return ret;
}

int session_lock_in(struct session *s, struct err *e)
{
	uint64_t began = loop_now();
	bool real = !s->env.sys || session_models_too;
	int ret = 0;

	/* also without a sandbox: "fd:N" can be taken only once */
	if (real)
		ret = keep_files(s->cfg, e);
	if (!ret && real && s->cfg->sandbox != SANDBOX_OFF) {
		warm_up();
		ret = keep_keys(s->cfg, e);
		if (!ret)
			ret = start_attendant(s, e);
		if (!ret)
			ret = lock_in(s, e);
		if (!ret)
			log_debug("sandbox: entered in %" PRIu64 " us", (loop_now() - began) / 1000);
	}
	/* from here on there may be threads */
	if (!ret)
		ret = helpers_listen(e);
	if (!ret)
		ret = trace_start(e);
	return ret;
}

void session_let_out(void)
{
	attendant_end();
	path_forget();
}
