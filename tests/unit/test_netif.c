// SPDX-License-Identifier: BSD-3-Clause
/*
 * Taps as the kernel has them, in a network namespace of our own, and a device on one: the kernel
 * answers its ARP requests. Skipped where such namespaces or taps are not allowed.
 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <netinet/if_ether.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/vdriver.h"
#include "virtio/netif.h"

#define OUT	VD_DATA
#define IN	(VD_DATA + 0x10000)

static struct err e;

/* As root, else as root of a user namespace. */
static bool own_network(void)
{
	uid_t uid = getuid();
	FILE *map;

	if (!unshare(CLONE_NEWNET))
		return true;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return false;
	map = fopen("/proc/self/uid_map", "w");
	return map && fprintf(map, "0 %u 1\n", (unsigned int)uid) > 0 && !fclose(map);
}

/* A test ends its process with 0, or 77: not possible here. */
static void in_namespace(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (!own_network() || access("/dev/net/tun", W_OK) < 0)
			_exit(77);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* Failures are told by the line, since this is not the process that counts. */
#define CHECK(x) do {								\
	if (!(x)) {								\
		fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #x, e.msg);	\
		_exit(1);							\
	}									\
} while (0)

static struct netif *tap(const char *name, unsigned int pairs)
{
	const struct netif_tap_cfg cfg = { .name = name, .pairs = pairs, .addr = "10.5.0.1",
					   .mtu = 1300 };
	struct netif *nif;

	CHECK(netif_tap_open(&cfg, &nif, &e) == 0);
	return nif;
}

/* An interface that is there before us, and stays. Return: @owner could be set */
static bool persistent(const char *name, short flags, unsigned long owner)
{
	struct ifreq ifr = { .ifr_flags = flags };
	bool owned;
	int fd = open("/dev/net/tun", O_RDWR);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	CHECK(fd >= 0 && ioctl(fd, TUNSETIFF, &ifr) == 0 && ioctl(fd, TUNSETPERSIST, 1) == 0);
	owned = ioctl(fd, TUNSETOWNER, owner) == 0;
	close(fd);
	return owned;
}

static int fails(const char *name, unsigned int pairs, const char *why)
{
	const struct netif_tap_cfg cfg = { .name = name, .pairs = pairs };
	struct netif *nif;
	int ret = netif_tap_open(&cfg, &nif, &e);

	CHECK(ret < 0 && !nif);
	if (!strstr(e.msg, why)) {
		fprintf(stderr, "\"%s\" does not say \"%s\"\n", e.msg, why);
		_exit(1);
	}
	return ret;
}

static void opening(void)
{
	struct netif *a, *b, *c;
	struct ifreq ifr = {0};
	int fd;

	a = tap(NULL, 1);
	CHECK(!strcmp(a->name, "tap0") && a->ours && netif_is_up(a));
	CHECK(a->features & (1ULL << VIRTIO_NET_F_GUEST_TSO4));
	b = tap("many", 3);
	CHECK(b->pairs == 3);
	netif_close(b);
	CHECK(!if_nametoindex("many"));

	/* taps that were made with and without several queues, for one and for several */
	persistent("one", IFF_TAP | IFF_NO_PI, 0);
	persistent("more", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE, 0);
	b = tap("one", 1);
	CHECK(!b->ours && !netif_is_up(b));
	CHECK(fails("one", 1, "another VM") == -EBUSY);
	netif_close(b);
	CHECK(fails("one", 2, "no tap with several queues") == -EINVAL);
	b = tap("more", 1);
	netif_close(b);
	b = tap("more", 2);
	netif_set_pairs(b, 2);
	netif_set_pairs(b, 2);
	netif_set_pairs(b, 1);
	netif_set_offload(b, b->features);
	netif_close(b);
	CHECK(if_nametoindex("one") && if_nametoindex("more"));
	CHECK(fails("lo", 1, "is no tap") == -EINVAL);
	persistent("tun7", IFF_TUN | IFF_NO_PI, 0);
	CHECK(fails("tun7", 1, "is no tap") == -EINVAL);
	CHECK(fails("", 1, "no name") == -EINVAL);
	CHECK(fails("a-name-far-too-long", 1, "no name") == -EINVAL);
	CHECK(fails("/dev/tap9999", 1, "macvtap") == -ENOENT);
	CHECK(fails("/dev/null", 1, "no macvtap") == -ENOTTY);

	/* descriptors */
	CHECK(netif_tap_fd(999, &c, &e) == -EBADF && strstr(e.msg, "not handed over"));
	fd = open("/dev/null", O_RDWR);
	CHECK(netif_tap_fd(fd, &c, &e) == -EINVAL && strstr(e.msg, "no tap"));
	close(fd);
	fd = open("/dev/net/tun", O_RDWR);
	CHECK(netif_tap_fd(fd, &c, &e) < 0);		/* no interface yet */
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI;
	CHECK(ioctl(fd, TUNSETIFF, &ifr) == 0);
	CHECK(netif_tap_fd(fd, &c, &e) == -EINVAL && strstr(e.msg, "IFF_VNET_HDR"));
	CHECK(fcntl(fd, F_GETFD) >= 0);			/* it is still ours */
	close(fd);
	fd = open("/dev/net/tun", O_RDWR);
	ifr.ifr_flags |= IFF_VNET_HDR;
	CHECK(ioctl(fd, TUNSETIFF, &ifr) == 0);
	CHECK(netif_tap_fd(fd, &c, &e) == 0 && !c->macvtap && !c->ours);
	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFL) & O_NONBLOCK);
	netif_close(c);
	netif_close(a);
}

/* Who has no privileges: the message has the line that helps. */
static void refused(void)
{
	struct __user_cap_header_struct hdr = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = {0};
	bool owned = persistent("theirs", IFF_TAP | IFF_NO_PI, 1234);

	CHECK(syscall(SYS_capset, &hdr, none) == 0);
	if (owned)
		CHECK(fails("theirs", 1, "ip tuntap del theirs mode tap") == -EPERM);
	CHECK(fails("new0", 2, "sudo ip tuntap add new0 mode tap user ") == -EPERM);
	CHECK(strstr(e.msg, "multi_queue") && strstr(e.msg, "mode=user"));
}

struct arp_packet {
	struct virtio_net_hdr_mrg_rxbuf hdr;
	struct ether_header eth;
	struct ether_arp arp;
} __attribute__((packed));

static void ask(struct vdriver *vd)
{
	struct arp_packet *p = vd_ptr(vd, OUT);

	memset(p, 0, sizeof(*p));
	memset(p->eth.ether_dhost, 0xff, 6);
	memcpy(p->eth.ether_shost, "\2\25\25\25\25\25", 6);
	p->eth.ether_type = htons(ETHERTYPE_ARP);
	p->arp.ea_hdr.ar_hrd = htons(ARPHRD_ETHER);
	p->arp.ea_hdr.ar_pro = htons(ETHERTYPE_IP);
	p->arp.ea_hdr.ar_hln = 6;
	p->arp.ea_hdr.ar_pln = 4;
	p->arp.ea_hdr.ar_op = htons(ARPOP_REQUEST);
	memcpy(p->arp.arp_sha, p->eth.ether_shost, 6);
	memcpy(p->arp.arp_spa, "\12\5\0\2", 4);
	memcpy(p->arp.arp_tpa, "\12\5\0\1", 4);
	vd_add(vd, 1, &(struct vq_seg){ OUT, sizeof(*p) }, 1, 1);
	vd_kick(vd, 1);
	vd_wait(vd, 1);
}

/* The kernel's answer; whatever else it sends (IPv6 has a lot to say) is skipped. */
static void answered(struct vdriver *vd)
{
	for (unsigned int i = 0; i < 60; i++) {
		struct vring_used_elem u = vd_wait(vd, 0);
		const struct arp_packet *p = vd_ptr(vd, IN + u.id * 2048);

		CHECK(p->hdr.num_buffers == 1);
		if (p->eth.ether_type != htons(ETHERTYPE_ARP))
			continue;
		CHECK(p->arp.ea_hdr.ar_op == htons(ARPOP_REPLY));
		CHECK(!memcmp(p->arp.arp_spa, "\12\5\0\1", 4));
		return;
	}
	CHECK(!"answered");
}

static void round_trip(void)
{
	struct vdriver vd;
	struct netif *nif = tap("rt0", 1);
	const struct virtio_net_cfg cfg = { .name = "net", .nif = nif, .pairs = 1 };
	struct virtio_dev *dev;

	vd_init(&vd, false);
	CHECK(virtio_net_new(&vd.env, &cfg, &dev, &e) == 0);
	vd_attach(&vd, dev);
	vd_start(&vd, VD_F_ALL | nif->features | VD_F(VIRTIO_NET_F_MRG_RXBUF), 3, 64);
	for (unsigned int i = 0; i < 64; i++)
		CHECK(vd_add(&vd, 0, &(struct vq_seg){ IN + i * 2048, 2048 }, 1, 0) == i);
	vd_kick(&vd, 0);
	ask(&vd);
	answered(&vd);
	/* a segment size that makes no sense: the kernel drops it, nothing else happens */
	((struct arp_packet *)vd_ptr(&vd, OUT))->hdr.hdr.gso_type = 0x7f;
	vd_add(&vd, 1, &(struct vq_seg){ OUT, sizeof(struct arp_packet) }, 1, 1);
	vd_kick(&vd, 1);
	vd_wait(&vd, 1);
	ask(&vd);
	answered(&vd);
	CHECK(!(vd_get(&vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET));
	vd_destroy(&vd);
	netif_close(nif);
}

/* The interface is deleted under the device: the link goes down, the device lives. */
static void deleted(void)
{
	struct netif *nif = tap("rt0", 1);
	const struct virtio_net_cfg cfg = { .name = "net", .nif = nif, .pairs = 1 };
	struct virtio_dev *dev;
	struct vdriver vd;

	vd_init(&vd, false);
	CHECK(virtio_net_new(&vd.env, &cfg, &dev, &e) == 0);
	vd_attach(&vd, dev);
	vd_start(&vd, VD_F_ALL, 3, 64);
	vd_add(&vd, 0, &(struct vq_seg){ IN, 2048 }, 1, 0);
	vd_kick(&vd, 0);
	vd_pump(&vd, 0);
	CHECK(system("ip link del rt0") == 0);
	for (unsigned int i = 0; i < 100 && !nif->gone; i++)
		vd_pump(&vd, 10);
	CHECK(nif->gone);
	vd_pump(&vd, 0);
	CHECK(vd_access(&vd, VIRTIO_MMIO_CONFIG + 6, 0, 2, false) == 0);
	ask(&vd);
	CHECK(!(vd_get(&vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET));
	vd_destroy(&vd);
	netif_close(nif);
}

#define TEST(fn)							\
	static void test_##fn(void **state)				\
	{								\
		(void)state;						\
		in_namespace(fn);					\
	}
TEST(opening)
TEST(refused)
TEST(round_trip)
TEST(deleted)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opening),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_deleted),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
