// SPDX-License-Identifier: BSD-3-Clause
/* lkvm's root file systems: what becomes of the options, and what "setup" makes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "realm/ipa.h"
#include "tests/unit/unit.h"
#include "vmm/cmd.h"
#include "vmm/cmdline.h"
#include "vmm/core/err.h"
#include "vmm/rootfs.h"

static char home[64];

static int setup(void **state)
{
	strcpy(home, "/tmp/test-rootfs.XXXXXX");
	assert_non_null(mkdtemp(home));
	setenv("HOME", home, 1);
	assert_int_equal(chdir(home), 0);
	return 0;
}

static int teardown(void **state)
{
	char cmd[100];

	assert_int_equal(chdir("/"), 0);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", home);
	return system(cmd);
}

static void lkvm(struct vm_config *c, const char *disk)
{
	config_defaults(c);
	c->lkvm = true;
	c->kernel = strdup("Image");
	if (disk)
		c->disk[c->nr_disks++].path = strdup(disk);
}

static const char *line(const struct vm_config *c)
{
	static char buf[CFG_CMDLINE_MAX];
	const struct ipa_split split = { 0 };
	struct err e;

	assert_int_equal(cmdline_make(c, &split, buf, &e), 0);
	return buf;
}

static void nothing_to_boot_from(void **state)
{
	struct vm_config c;
	char path[100];
	struct err e;

	lkvm(&c, NULL);
	assert_int_equal(rootfs_config(&c, &e), 0);
	assert_int_equal(c.rootfs, ROOTFS_DEFAULT);
	assert_int_equal(c.nr_shares, 2);
	assert_int_equal(c.share[0].kind, SHARE_9P);
	assert_string_equal(c.share[0].tag, "/dev/root");
	assert_false(c.share[0].readonly);
	snprintf(path, sizeof(path), "%s/.lkvm/default", home);
	assert_string_equal(c.share[0].dir, path);
	assert_string_equal(c.share[1].dir, "/");
	assert_string_equal(c.share[1].tag, "hostfs");
	assert_true(c.share[1].readonly);
	assert_non_null(strstr(line(&c), " rw rootflags=trans=virtio,version=9p2000.L,cache=loose "
				"rootfstype=9p init=/virt/init ip=dhcp"));
	assert_null(strstr(line(&c), "root=/dev/vda"));
	c.no_dhcp = true;
	assert_null(strstr(line(&c), "ip=dhcp"));
	/* only looked at, not made */
	assert_int_equal(access(path, F_OK), -1);
	config_free(&c);
}

static void something_else(void **state)
{
	struct vm_config c;
	struct err e;

	for (int i = 0; i < 5; i++) {
		lkvm(&c, i == 0 ? "disk.img" : NULL);
		if (i == 1)
			c.initrd = strdup("initrd");
		else if (i == 2)
			c.firmware = strdup("fw");
		else if (i == 3)
			c.nodefaults = true;
		else if (i == 4)
			c.lkvm = false;
		assert_int_equal(rootfs_config(&c, &e), 0);
		assert_int_equal(c.rootfs, ROOTFS_NONE);
		assert_int_equal(c.nr_shares, 0);
		assert_null(strstr(line(&c), "rootfstype"));
		config_free(&c);
	}
}

static void named(void **state)
{
	struct vm_config c;
	char path[100];
	struct err e;

	assert_int_equal(mkdir("folder", 0755), 0);
	snprintf(path, sizeof(path), "%s/.lkvm/mine", home);
	assert_int_equal(rootfs_create(path, &e), 0);
	assert_int_equal(rootfs_create(path, &e), -EEXIST);
	assert_non_null(strstr(e.msg, "there already"));

	lkvm(&c, "mine");
	c.disk[c.nr_disks++].path = strdup("disk.img");
	assert_int_equal(rootfs_config(&c, &e), 0);
	assert_int_equal(c.rootfs, ROOTFS_NAMED);
	assert_string_equal(c.share[0].dir, path);
	assert_int_equal(c.nr_shares, 2);
	assert_int_equal(c.nr_disks, 1);
	/* the guest has its name, unless it was given another */
	c.name = strdup("given");
	rootfs_name(&c);
	assert_string_equal(c.name, "given");
	free(c.name);
	assert_true(asprintf(&c.name, "guest-%d", (int)getpid()) > 0);
	rootfs_name(&c);
	assert_string_equal(c.name, "mine");
	assert_string_equal(c.disk[0].path, "disk.img");
	config_free(&c);

	lkvm(&c, "folder");
	assert_int_equal(rootfs_config(&c, &e), 0);
	assert_int_equal(c.rootfs, ROOTFS_DIR);
	assert_string_equal(c.share[0].dir, "folder");
	assert_int_equal(c.nr_shares, 1);
	assert_null(strstr(line(&c), "init="));
	config_free(&c);

	lkvm(&c, "folder");
	c.disk[c.nr_disks++].path = strdup("mine");
	assert_int_equal(rootfs_config(&c, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "second"));
	config_free(&c);

	/* a share of the user's */
	lkvm(&c, NULL);
	c.share[c.nr_shares++] = (struct cfg_share){ .dir = strdup("/x"), .tag = strdup("hostfs") };
	assert_int_equal(rootfs_config(&c, &e), 0);
	assert_int_equal(c.nr_shares, 2);
	config_free(&c);
	lkvm(&c, NULL);
	c.share[c.nr_shares++] = (struct cfg_share){ .dir = strdup("/x"), .tag = strdup("/dev/root") };
	assert_int_equal(rootfs_config(&c, &e), -EINVAL);
	config_free(&c);
}

static void made(void **state)
{
	char path[100], target[100];
	struct stat st;
	struct err e;

	snprintf(path, sizeof(path), "%s/.lkvm/new", home);
	assert_int_equal(rootfs_create(path, &e), 0);
	assert_int_equal(chdir(path), 0);
	assert_int_equal(stat("tmp", &st), 0);
	assert_int_equal(st.st_mode & 07777, 01777);
	assert_int_equal(stat("virt/home", &st), 0);
	assert_int_equal(stat("etc/passwd", &st), 0);
	memset(target, 0, sizeof(target));
	assert_int_equal(readlink("usr", target, sizeof(target) - 1), 8);
	assert_string_equal(target, "host/usr");
	/* a test is no static program for arm64 */
	assert_int_equal(access("virt/init", F_OK), -1);
	/* nothing is left of what fails */
	assert_int_equal(chdir(home), 0);
	assert_true(rootfs_create("/proc/none", &e) < 0);
	assert_true(e.msg[0]);
}

static void touch(const char *path)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fclose(f), 0);
}

/* The program of the test cannot be a guest's first process, so a sandbox goes that far only. */
static void sandbox(void **state)
{
	char *argv[] = { "true", NULL }, folder[200];
	struct vm_config c;
	struct err e;

	lkvm(&c, NULL);
	assert_int_equal(rootfs_config(&c, &e), 0);
	/* the root file system is made, and nothing is left in it */
	assert_int_equal(sandbox_run(&c, argv, &e), -ENOEXEC);
	assert_int_equal(chdir(".lkvm/default/virt"), 0);
	snprintf(folder, sizeof(folder), "sandbox.%d", (int)getpid());
	assert_int_equal(access(folder, F_OK), -1);

	/* what was killed is swept; what a guest made to lead elsewhere is not followed */
	assert_int_equal(mkdir("sandbox.1", 0700), 0);
	touch("sandbox.1/argv");
	touch("sandbox.1/status");
	snprintf(folder, sizeof(folder), "%s/other", home);
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(symlink(folder, "sandbox.2"), 0);
	touch("sandbox.2/argv");
	assert_int_equal(sandbox_run(&c, argv, &e), -ENOEXEC);
	assert_int_equal(access("sandbox.1", F_OK), -1);
	assert_int_equal(access("sandbox.2/argv", F_OK), 0);
	assert_int_equal(chdir(home), 0);
	assert_int_equal(rename(".lkvm/default/virt", "virt"), 0);
	assert_int_equal(symlink("../../virt", ".lkvm/default/virt"), 0);
	assert_true(sandbox_run(&c, argv, &e) < 0);
	assert_non_null(strstr(e.msg, "virt"));
	config_free(&c);

	/* a folder of the user's is no root file system of "setup" */
	assert_int_equal(mkdir("folder", 0755), 0);
	lkvm(&c, "folder");
	assert_int_equal(rootfs_config(&c, &e), 0);
	assert_int_equal(sandbox_run(&c, argv, &e), -EINVAL);
	config_free(&c);
	lkvm(&c, NULL);
	c.sandbox_script = strdup("there-is-none");
	assert_int_equal(rootfs_config(&c, &e), 0);
	assert_int_equal(sandbox_script(&c, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "none of on, audit and off"));
	config_free(&c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_to_boot_from),
		TEST(something_else),
		TEST(named),
		TEST(made),
		TEST(sandbox),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
