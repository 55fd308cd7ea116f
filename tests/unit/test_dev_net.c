// SPDX-License-Identifier: BSD-3-Clause
/*
 * The host's end of network devices in user mode: passt is played by a script, and used where it is
 * installed.
 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/vdriver.h"
#include "vmm/devices.h"
#include "vmm/helper.h"
#include "vmm/machine.h"
#include "vmm/options_dev.h"

#define OUT	VD_DATA
#define IN	(VD_DATA + 0x10000)

static char dir[] = "/tmp/test-net-XXXXXX", path[256];
static char *const dirs[] = { dir };
static struct vm_config c;
static struct device_host host;
static struct vdriver vd;
static struct err e;

static int setup(void **state)
{
	const char *p = getenv("PATH");

	(void)state;
	snprintf(path, sizeof(path), "%.200s", p);
	return mkdtemp(dirs[0]) ? 0 : -1;
}

static int teardown(void **state)
{
	char cmd[64];

	(void)state;
	setenv("PATH", path, 1);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	return system(cmd) ? -1 : 0;
}

/* A passt that does this */
static void script(const char *text)
{
	char file[64], with[512];
	FILE *f;

	snprintf(file, sizeof(file), "%s/passt", dir);
	f = fopen(file, "w");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\n%s\n", text);
	fclose(f);
	chmod(file, 0755);
	snprintf(with, sizeof(with), "%s:%s", dir, path);
	setenv("PATH", with, 1);
}

static void options(const char *value)
{
	config_free(&c);
	memset(&c, 0, sizeof(c));
	if (take_network(NULL, value, &c, &e) < 0)
		fail_msg("%s: %s", value, e.msg);
	host = (struct device_host){ .kind = &device_net, .fd = -1 };
}

static void attach(void)
{
	struct machine m = { .cfg = &c };
	struct virtio_dev *dev;

	vd_init(&vd, false);
	assert_int_equal(device_net.make(&m, &host, &vd.env, &dev, &e), 0);
	vd_attach(&vd, dev);
	vd_start(&vd, VD_F_ALL | VD_F(VIRTIO_NET_F_MRG_RXBUF), 3, 64);
}

static unsigned int link_up(void)
{
	return vd_access(&vd, VIRTIO_MMIO_CONFIG + 6, 0, 2, false);
}

static void finish(void)
{
	vd_destroy(&vd);
	device_net.close(&host);
	config_free(&c);
	memset(&c, 0, sizeof(c));
}

/* What passt is told, and a link that lasts as long as it. */
static void arguments(void **state)
{
	char file[64], text[512] = "";
	FILE *f;

	(void)state;
	snprintf(file, sizeof(file), "%s/args", dir);
	script("echo $* >${0%/*}/args; read -r line");	/* its input is empty: it ends */
	options("mode=user,mtu=1400,host_mac=02:01:02:03:04:05,guest_ip=10.1.2.3");
	assert_int_equal(device_net.start(&host, &c, &e), 0);
	attach();
	for (int i = 0; i < 100 && link_up(); i++)
		vd_pump(&vd, 20);
	assert_int_equal(link_up(), 0);
	f = fopen(file, "r");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_int_equal(strncmp(text, "--foreground --fd ", 18), 0);
	assert_non_null(strstr(text, " --address 10.1.2.3 --netmask 24 --gateway 192.168.33.1 "));
	assert_non_null(strstr(text, " --mtu 1400 --mac-addr 02:01:02:03:04:05\n"));
	finish();
}

static void missing(void **state)
{
	(void)state;
	setenv("PATH", "/nowhere", 1);
	options("user");
	assert_int_equal(device_net.start(&host, &c, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "apt install passt"));
	device_net.close(&host);
	/* lkvm's own is there all the same */
	config_free(&c);
	memset(&c, 0, sizeof(c));
	c.lkvm = true;
	options_default_net(&c);
	assert_int_equal(c.nr_nets, 1);
	assert_int_equal(device_net.count(&c), 1);
	host = (struct device_host){ .kind = &device_net, .fd = -1 };
	assert_int_equal(device_net.start(&host, &c, &e), 0);
	attach();
	assert_int_equal(link_up(), 0);
	assert_int_equal(vd_access(&vd, VIRTIO_MMIO_CONFIG + 5, 0, 1, false), 0x15);
	finish();
	setenv("PATH", path, 1);
}

/* Of two devices the second has the next address; lkvm's default is for those who say nothing. */
static void defaults(void **state)
{
	(void)state;
	memset(&c, 0, sizeof(c));
	options_default_net(&c);
	assert_int_equal(c.nr_nets, 0);		/* not lkvm */
	c.lkvm = c.nodefaults = true;
	options_default_net(&c);
	assert_int_equal(c.nr_nets, 0);
	c.nodefaults = false;
	c.no_net = true;
	options_default_net(&c);
	assert_int_equal(c.nr_nets, 0);
	c.no_net = false;
	assert_int_equal(take_network(NULL, "tap", &c, &e), 0);
	options_default_net(&c);
	assert_int_equal(c.nr_nets, 1);
	assert_false(c.net[0].implicit);
	assert_int_equal(take_network(NULL, "tap", &c, &e), 0);
	host = (struct device_host){ .kind = &device_net, .index = 1, .fd = -1 };
	attach();
	assert_int_equal(vd_access(&vd, VIRTIO_MMIO_CONFIG + 5, 0, 1, false), 0x16);
	finish();
}

/* One that runs already */
static void socket_given(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int listener, peer;
	char value[128];

	(void)state;
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/socket", dir);
	snprintf(value, sizeof(value), "user,socket=%s", sa.sun_path);
	options(value);
	assert_int_equal(device_net.start(&host, &c, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "passt with --socket"));
	device_net.close(&host);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(listener, 1), 0);
	options(value);
	assert_int_equal(device_net.start(&host, &c, &e), 0);
	peer = accept(listener, NULL, NULL);
	attach();
	assert_int_equal(link_up(), VIRTIO_NET_S_LINK_UP);
	close(peer);
	vd_pump(&vd, 0);
	assert_int_equal(link_up(), 0);
	finish();
	close(listener);
}

static uint16_t sum(const uint8_t *p, size_t len)
{
	uint32_t s = 0;

	for (size_t i = 0; i < len; i += 2)
		s += p[i] << 8 | p[i + 1];
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return ~s;
}

/* A DHCP request by hand; passt offers the address that it was told. */
static void real_passt(void **state)
{
	static const uint8_t eth[] = { 255, 255, 255, 255, 255, 255,
				       2, 0x15, 0x15, 0x15, 0x15, 0x15, 8, 0 };
	uint8_t *p, *ip, *udp, *dhcp;
	char *found = helper_find("passt");
	bool offered = false;

	(void)state;
	if (!found)
		skip();
	free(found);
	options("user");
	assert_int_equal(device_net.start(&host, &c, &e), 0);
	attach();
	p = vd_ptr(&vd, OUT);
	memset(p, 0, 512);
	memcpy(p + 12, eth, sizeof(eth));
	ip = p + 26;
	memcpy(ip, "\x45\0\1\x1c\0\0\0\0\x40\x11\0\0\0\0\0\0\xff\xff\xff\xff", 20);
	ip[10] = sum(ip, 20) >> 8;
	ip[11] = sum((const uint8_t *)"\x45\0\1\x1c\0\0\0\0\x40\x11\0\0\0\0\0\0\xff\xff\xff\xff", 20);
	udp = ip + 20;
	memcpy(udp, "\0\x44\0\x43\1\x08\0\0", 8);
	dhcp = udp + 8;
	memcpy(dhcp, "\1\1\6\0RTRT", 8);
	memcpy(dhcp + 28, eth + 6, 6);
	memcpy(dhcp + 236, "\x63\x82\x53\x63\x35\1\1\xff", 8);
	for (unsigned int i = 0; i < 32; i++)
		vd_add(&vd, 0, &(struct vq_seg){ IN + i * 2048, 2048 }, 1, 0);
	vd_kick(&vd, 0);
	vd_add(&vd, 1, &(struct vq_seg){ OUT, 12 + 14 + 0x11c }, 1, 1);
	vd_kick(&vd, 1);
	for (int i = 0; i < 300 && !offered && link_up(); i++) {
		struct vring_used_elem u;

		vd_pump(&vd, 10);
		while (vd_used(&vd, 0, &u)) {
			const uint8_t *f = vd_ptr(&vd, IN + u.id * 2048);

			/* BOOTREPLY for our transaction */
			if (u.len > 300 && f[24] == 8 && f[12 + 14 + 28] == 2)
				offered = !memcmp(f + 12 + 14 + 28 + 16, "\xc0\xa8\x21\x0f", 4);
		}
	}
	if (!offered && !link_up()) {
		/* a host without any route is none for older ones */
		finish();
		skip();
	}
	assert_true(offered);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(real_passt),
		cmocka_unit_test(arguments),
		cmocka_unit_test(missing),
		cmocka_unit_test(defaults),
		cmocka_unit_test(socket_given),
	};

	log_set_level(getenv("TEST_DEBUG") ? LOG_DEBUG : LOG_ERROR);
	return cmocka_run_group_tests(tests, setup, teardown);
}
