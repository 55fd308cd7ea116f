// SPDX-License-Identifier: BSD-3-Clause
/*
 * Programs that serve devices over vhost-user: how they are called, and what the user hears when
 * they do not work. A script stands in for them.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/devices.h"

static char dir[] = "/tmp/test_vu_hostXXXXXX";

static void file(const char *name, const char *text, mode_t mode)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static int setup(void **state)
{
	char path[256];

	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	snprintf(path, sizeof(path), "%s:/usr/bin:/bin", dir);
	setenv("PATH", path, 1);
	assert_int_equal(mkdir("share", 0755), 0);
	file("d.qcow2", "not looked at here", 0644);
	return 0;
}

static int teardown(void **state)
{
	char cmd[256];

	setenv("PATH", "/usr/bin:/bin", 1);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	assert_int_equal(system(cmd), 0);
	return 0;
}

/* Opens and starts the device of this kind; its words come into @args, the descriptor as N. */
static int start(const struct device_kind *kind, const struct vm_config *c, char *args, size_t room,
		 struct err *e)
{
	struct device_host h = { .kind = kind, .fd = -1 };
	int ret = kind->open(&h, c, e);
	FILE *f;

	unlink("args");
	if (!ret)
		ret = kind->start(&h, c, e);
	kind->close(&h);
	*args = '\0';
	f = fopen("args", "r");
	if (f) {
		args[fread(args, 1, room - 1, f)] = '\0';
		fclose(f);
	}
	return ret;
}

#define TELL "#!/bin/sh\necho \"$*\" | sed -E 's/(fd=|addr.str=)[0-9]+/\\1N/' >args\n"

static void virtiofsd(void **state)
{
	static struct vm_config c = { .nr_shares = 3 };
	char args[1000];
	struct err e = { 0 };

	c.share[0] = (struct cfg_share){ .kind = SHARE_9P, .dir = "/", .tag = "other" };
	c.share[1] = (struct cfg_share){ .kind = SHARE_FS, .dir = "share", .tag = "t" };
	file("virtiofsd", TELL "echo 'oh dear' >&2\nexit 3\n", 0755);
	assert_int_equal(device_fs.count(&c), 1);
	assert_int_equal(start(&device_fs, &c, args, sizeof(args), &e), -EPIPE);
	assert_string_equal(args, "--shared-dir=share --fd=N --log-level=warn\n");
	assert_non_null(strstr(e.msg, "share t"));
	assert_non_null(strstr(e.msg, "oh dear"));

	c.share[1].readonly = true;
	start(&device_fs, &c, args, sizeof(args), &e);
	assert_string_equal(args, "--shared-dir=share --fd=N --log-level=warn --readonly\n");

	c.share[1].dir = "nowhere";
	assert_int_equal(start(&device_fs, &c, args, sizeof(args), &e), -ENOENT);
	assert_string_equal(args, "");
	c.share[1].dir = "d.qcow2";
	assert_int_equal(start(&device_fs, &c, args, sizeof(args), &e), -ENOTDIR);
	c.share[1] = (struct cfg_share){ .kind = SHARE_FS, .socket = "s", .tag = "t" };
	assert_int_equal(start(&device_fs, &c, args, sizeof(args), &e), -ENOENT);
	assert_non_null(strstr(e.msg, "start it first"));
	c.share[1].readonly = true;
	assert_int_equal(start(&device_fs, &c, args, sizeof(args), &e), -EINVAL);
}

/* It ends well, but never speaks. */
static void silent(void **state)
{
	static struct vm_config c = { .nr_shares = 1 };
	char args[1000];
	struct err e = { 0 };

	c.share[0] = (struct cfg_share){ .kind = SHARE_FS, .dir = "share", .tag = "t" };
	file("virtiofsd", TELL "exit 0\n", 0755);
	assert_int_equal(start(&device_fs, &c, args, sizeof(args), &e), -EPIPE);
	assert_non_null(strstr(e.msg, "virtiofsd"));
}

static void storage_daemon(void **state)
{
	static struct vm_config c = { .nr_disks = 1 };
	struct cfg_disk *d = &c.disk[0];
	char args[1000];
	struct err e = { 0 };

	file("qemu-storage-daemon", TELL "echo 'Failed to get \"write\" lock' >&2\nexit 1\n", 0755);
	*d = (struct cfg_disk){ .path = "d.qcow2", .format = FORMAT_QCOW2 };
	assert_int_equal(start(&device_disk, &c, args, sizeof(args), &e), -EPIPE);
	assert_non_null(strstr(e.msg, "disk d.qcow2"));
	assert_non_null(strstr(e.msg, "write\" lock"));
	assert_string_equal(args, "--blockdev driver=file,node-name=file,filename=d.qcow2,read-only=off,"
			    "cache.direct=off,discard=unmap --blockdev driver=qcow2,node-name=disk,"
			    "file=file,read-only=off,discard=unmap --export type=vhost-user-blk,id=disk,"
			    "node-name=disk,writable=on,addr.type=fd,addr.str=N,num-queues=1\n");
	*d = (struct cfg_disk){ .path = "d.qcow2", .format = FORMAT_QCOW2, .readonly = true,
				.direct = true, .cache = CACHE_UNSAFE, .queues = 3 };
	start(&device_disk, &c, args, sizeof(args), &e);
	assert_string_equal(args, "--blockdev driver=file,node-name=file,filename=d.qcow2,read-only=on,"
			    "cache.direct=on,discard=unmap,cache.no-flush=on --blockdev driver=qcow2,"
			    "node-name=disk,file=file,read-only=on,discard=unmap,cache.no-flush=on "
			    "--export type=vhost-user-blk,id=disk,node-name=disk,writable=off,"
			    "addr.type=fd,addr.str=N,num-queues=3\n");
}

/* What a back end cannot be told is refused, before anything is started. */
static void refusals(void **state)
{
	static const struct {
		struct cfg_disk d;
		const char *word;
	} cases[] = {
		{ { .path = "d.qcow2", .format = FORMAT_QCOW2, .serial = "x" }, "serial" },
		{ { .path = "d.qcow2", .format = FORMAT_QCOW2, .cache = CACHE_WRITETHROUGH },
		  "write through" },
		{ { .path = "d.qcow2", .format = FORMAT_QCOW2, .queue_size = 2048 }, "1024" },
		{ { .path = "nowhere", .format = FORMAT_QCOW2 }, "No such file" },
		{ { .socket = "s", .direct = true }, "command line" },
		{ { .socket = "s", .format = FORMAT_QCOW2 }, "command line" },
		{ { .socket = "s" }, "start it first" },
	};
	static struct vm_config c = { .nr_disks = 1 };
	char args[1000];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = { 0 };

		c.disk[0] = cases[i].d;
		assert_true(start(&device_disk, &c, args, sizeof(args), &e) < 0);
		assert_non_null(strstr(e.msg, cases[i].word));
		assert_string_equal(args, "");
	}
}

static void missing(void **state)
{
	static struct vm_config c = { .nr_shares = 1, .nr_disks = 1 };
	char args[1000];
	struct err e = { 0 };

	unlink("virtiofsd");
	unlink("qemu-storage-daemon");
	setenv("PATH", dir, 1);
	c.share[0] = (struct cfg_share){ .kind = SHARE_FS, .dir = "share", .tag = "t" };
	c.disk[0] = (struct cfg_disk){ .path = "d.qcow2", .format = FORMAT_QCOW2 };
	/* a machine may have the real ones where Debian keeps them */
	if (access("/usr/libexec/virtiofsd", X_OK) && access("/usr/lib/qemu/virtiofsd", X_OK)) {
		assert_int_equal(start(&device_fs, &c, args, sizeof(args), &e), -ENOENT);
		assert_non_null(strstr(e.msg, "install virtiofsd"));
	}
	assert_int_equal(start(&device_disk, &c, args, sizeof(args), &e), -ENOENT);
	assert_non_null(strstr(e.msg, "install qemu-utils"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(virtiofsd),
		cmocka_unit_test(silent),
		cmocka_unit_test(storage_daemon),
		cmocka_unit_test(refusals),
		cmocka_unit_test(missing),
	};

	log_set_level(getenv("V") ? LOG_DEBUG : -1);
	return cmocka_run_group_tests(tests, setup, teardown);
}
