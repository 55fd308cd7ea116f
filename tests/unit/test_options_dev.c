// SPDX-License-Identifier: BSD-3-Clause
/* What stands between the commas of the options of devices. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/options_dev.h"

static struct vm_config c;
static struct err e;

static int take(opt_parse_fn *fn, const char *value)
{
	memset(&e, 0, sizeof(e));
	return fn(NULL, value, &c, &e);
}

static void expect_bad(opt_parse_fn *fn, const char *value, const char *text)
{
	assert_true(take(fn, value) < 0);
	if (!strstr(e.msg, text))
		fail_msg("\"%s\": \"%s\" does not say \"%s\"", value, e.msg, text);
	assert_null(strchr(e.msg, '\n'));
}

static int clean(void **state)
{
	config_free(&c);
	return 0;
}

static void words(void **state)
{
	/* A word with "=" that is no name is the first one's value: paths may have it. */
	assert_int_equal(take(take_disk, "/dir/a=b,ro"), 0);
	assert_string_equal(c.disk[0].path, "/dir/a=b");
	assert_int_equal(take(take_disk, "path=ro,direct"), 0);
	assert_string_equal(c.disk[1].path, "ro");
	assert_true(c.disk[1].direct && !c.disk[1].readonly);
	assert_int_equal(take(take_disk, "a,ro=no"), 0);
	assert_false(c.disk[2].readonly);
	expect_bad(take_disk, "a,rro", "did you mean ro?");
	expect_bad(take_disk, "a,b", "\"b\" is unknown");
	expect_bad(take_disk, "a,serial=", "the value is empty");
	expect_bad(take_disk, "a,serial", "serial needs a value");
	expect_bad(take_disk, "a,queues=2,queues=3", "given twice");
	expect_bad(take_disk, "a,path=b", "given twice");
	assert_int_equal(c.nr_disks, 3);
}

static void disk(void **state)
{
	assert_int_equal(take(take_disk, "i.qcow2,format=qcow2,cache=writethrough,queues=4,"
					 "queue-size=1024,serial=root,discard=off"), 0);
	assert_int_equal(c.disk[0].format, FORMAT_QCOW2);
	assert_int_equal(c.disk[0].cache, CACHE_WRITETHROUGH);
	assert_int_equal(c.disk[0].queues, 4);
	assert_int_equal(c.disk[0].queue_size, 1024);
	assert_string_equal(c.disk[0].serial, "root");
	assert_true(c.disk[0].no_discard);
	assert_int_equal(take(take_disk, "socket=/run/x.sock"), 0);
	assert_null(c.disk[1].path);
	assert_string_equal(c.disk[1].socket, "/run/x.sock");
	expect_bad(take_disk, "a,socket=b", "give one of the two");
	expect_bad(take_disk, "ro", "no file");
	expect_bad(take_disk, "a,queue-size=1000", "not a power of 2");
	expect_bad(take_disk, "a,queue-size=65536", "queue-size");
	expect_bad(take_disk, "a,queues=0", "queues");
	expect_bad(take_disk, "a,cache=none", "cache");
	expect_bad(take_disk, "a,serial=123456789012345678901", "longer than 20 bytes");
}

static void shares(void **state)
{
	assert_int_equal(take(take_9p, "/,hostfs"), 0);
	assert_string_equal(c.share[0].dir, "/");
	assert_string_equal(c.share[0].tag, "hostfs");
	assert_int_equal(take(take_9p, "/srv,src,ro"), 0);
	assert_true(c.share[1].readonly && c.share[1].kind == SHARE_9P);
	assert_int_equal(take(take_fs, "dir=/a,tag=b"), 0);
	assert_int_equal(c.share[2].kind, SHARE_FS);
	assert_int_equal(take(take_fs, "socket=/run/fs.sock,tag=c"), 0);
	assert_null(c.share[3].dir);
	expect_bad(take_9p, "/", "no tag");
	expect_bad(take_9p, "/x,src", "two folders have the tag");
	expect_bad(take_9p, "socket=/x,tag=y", "is for --fs");
	expect_bad(take_fs, "tag=y", "give DIR,TAG");
	expect_bad(take_fs, "/a,0123456789012345678901234567890123456", "longer than 36 bytes");
	assert_int_equal(c.nr_shares, 4);
}

static void vsock(void **state)
{
	assert_int_equal(take(take_vsock, "3"), 0);
	assert_true(c.vsock.cid == 3 && !c.vsock.path);
	assert_int_equal(take(take_vsock, "42,path=/run/v.sock"), 0);
	assert_true(c.vsock.cid == 42);
	assert_string_equal(c.vsock.path, "/run/v.sock");
	expect_bad(take_vsock, "2", "3 to 4294967294");
	expect_bad(take_vsock, "4294967295", "3 to 4294967294");
}

static void ports(void **state)
{
	assert_int_equal(take(take_port, "org.example.0"), 0);
	assert_int_equal(take(take_port, "b,path=/run/b"), 0);
	expect_bad(take_port, "b", "two ports");
	expect_bad(take_port, "path=/run/b", "has no name");
	expect_bad(take_port, "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234"
		   "56789012345678901234567890", "longer than 100 bytes");
	assert_int_equal(take(take_pmem, "file,ro"), 0);
	assert_true(c.pmem[0].readonly);
	expect_bad(take_pmem, "ro", "names no file");
}

static void balloon(void **state)
{
	assert_int_equal(take(take_balloon, NULL), 0);
	assert_true(c.balloon && !c.balloon_size && !c.balloon_stats);
	assert_int_equal(take(take_balloon, "256,stats=5"), 0);
	assert_true(c.balloon_size == 256 * SZ_1M && c.balloon_stats == 5);
	assert_int_equal(take(take_balloon, "size=1G"), 0);
	assert_true(c.balloon_size == SZ_1G);
	expect_bad(take_balloon, "much", "is no size");
	expect_bad(take_balloon, "stats=0", "1 to 86400");
}

static void net(void **state)
{
	assert_int_equal(take(take_network, "user,guest_ip=10.1.2.3,host_ip=10.1.2.1,mtu=1400"), 0);
	assert_string_equal(c.net[0].guest_ip, "10.1.2.3");
	assert_int_equal(c.net[0].mtu, 1400);
	assert_int_equal(take(take_network, "tapif=rt0,mq=4,queue-size=512,script=none"), 0);
	assert_true(c.net[1].mode == NET_TAP && c.net[1].queues == 4);
	assert_int_equal(take(take_network, "fd=7"), 0);
	assert_true(c.net[2].mode == NET_FD && c.net[2].fd == 7);
	assert_int_equal(take(take_network, "vhost-user,socket=/run/n,mac=02:00:00:00:00:01"), 0);
	assert_true(c.net[3].mac_set && c.net[3].mac[5] == 1);
	expect_bad(take_network, "user,guest_ip=10.1.2", "no IPv4 address");
	expect_bad(take_network, "tap,host_ip=fe80::1", "no IPv4 address");
	expect_bad(take_network, "user,mq=2", "mq is for taps");
	expect_bad(take_network, "fd=7,mq=2", "a descriptor is one queue");
	expect_bad(take_network, "fd=7,tapif=rt0", "leave out tapif");
	expect_bad(take_network, "fd=2", "standard stream");
	expect_bad(take_network, "tap,vhost=1,mq=32", "too many for vhost");
	expect_bad(take_network, "user,vhost=1", "vhost=1 is for tap");
	expect_bad(take_network, "vhost-user", "needs socket=PATH");
	expect_bad(take_network, "tap,mac=01:00:00:00:00:01", "multicast");
	expect_bad(take_network, "tap,mtu=67", "mtu");
	assert_int_equal(c.nr_nets, 4);
}

static void too_many(void **state)
{
	for (unsigned int i = 0; i < CFG_MAX_NETS; i++)
		assert_int_equal(take(take_network, "user"), 0);
	expect_bad(take_network, "user", "one too many");
	/* what takes it away needs no room */
	assert_int_equal(take(take_network, "mode=none"), 0);
	assert_true(c.no_net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(words, clean),
		cmocka_unit_test_teardown(disk, clean),
		cmocka_unit_test_teardown(shares, clean),
		cmocka_unit_test_teardown(vsock, clean),
		cmocka_unit_test_teardown(ports, clean),
		cmocka_unit_test_teardown(balloon, clean),
		cmocka_unit_test_teardown(net, clean),
		cmocka_unit_test_teardown(too_many, clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
