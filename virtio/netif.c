// SPDX-License-Identifier: BSD-3-Clause
/* Tap and macvtap interfaces (Documentation/networking/tuntap.rst), and what all ends share. */
#include "virtio/netif.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "virtio/netif_int.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"

/*
 * #syscalls main,vcpu,io?net: ioctl=TUNSETOFFLOAD|TUNSETVNETHDRSZ|TUNSETQUEUE
 * #syscalls main,vcpu,io?net: ioctl=SIOCGIFHWADDR|SIOCSIFHWADDR
 */

#define TUN_PATH "/dev/net/tun"
#define F(bit) (1ULL << VIRTIO_NET_F_##bit)

/* Features of a guest that a tap has to know, strongest first: older kernels refuse the others. */
static const struct {
	unsigned int tun;
	uint64_t guest, host;
} offloads[] = {
	{ TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_USO4 | TUN_F_USO6,
	  F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_TSO6) | F(GUEST_ECN) | F(GUEST_USO4) |
	  F(GUEST_USO6), F(HOST_USO) },
	{ TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
	  F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_TSO6) | F(GUEST_ECN), 0 },
	{ TUN_F_CSUM, F(GUEST_CSUM), 0 },
};

static int do_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

struct netif *netif_new(enum netif_kind kind, const char *name, struct err *e)
{
	struct netif *nif = calloc(1, sizeof(*nif));

	if (!nif) {
		err_set(e, -ENOMEM, "network: no memory");
		return NULL;
	}
	nif->kind = kind;
	nif->ctl = do_ioctl;
	snprintf(nif->name, sizeof(nif->name), "%s", name);
	return nif;
}

void netif_close(struct netif *nif)
{
	if (!nif)
		return;
	for (unsigned int i = 0; i < nif->pairs; i++)
		close(nif->fd[i]);
	free(nif->stream);
	free(nif);
}

/* ---- what the guest decides ------------------------------------------------------------------ */

static unsigned int to_tun(uint64_t features)
{
	static const struct { uint64_t feature; unsigned int tun; } map[] = {
		{ F(GUEST_CSUM), TUN_F_CSUM }, { F(GUEST_TSO4), TUN_F_TSO4 },
		{ F(GUEST_TSO6), TUN_F_TSO6 }, { F(GUEST_ECN), TUN_F_TSO_ECN },
		{ F(GUEST_USO4), TUN_F_USO4 }, { F(GUEST_USO6), TUN_F_USO6 },
	};
	unsigned int tun = 0;

	/* section 5.1.3.1: all the others need it; the kernel refuses them without */
	if (!(features & F(GUEST_CSUM)))
		return 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(map); i++)
		if (features & map[i].feature)
			tun |= map[i].tun;
	/* the kernel takes both or none, and this one only beside TCP */
	if ((tun & (TUN_F_USO4 | TUN_F_USO6)) != (TUN_F_USO4 | TUN_F_USO6))
		tun &= ~(TUN_F_USO4 | TUN_F_USO6);
	if (!(tun & (TUN_F_TSO4 | TUN_F_TSO6)))
		tun &= ~TUN_F_TSO_ECN;
	return tun;
}

/* An argument that is a number, not a pointer */
static void *number(unsigned long n)
{
	return (void *)(uintptr_t)n;
}

void netif_set_offload(struct netif *nif, uint64_t features)
{
	int ret;

	if (nif->kind != NETIF_TAP || nif->gone)
		return;
	/* of the interface, whichever descriptor is asked */
	ret = nif->ctl(nif->fd[0], TUNSETOFFLOAD, number(to_tun(features & nif->features)));
	if (ret < 0)
		log_rated(&nif->rate, LOG_WARNING, "network %s: cannot set its offloads: %s",
			  nif->name, strerror(-ret));
}

void netif_set_pairs(struct netif *nif, unsigned int n)
{
	if (nif->kind != NETIF_TAP || nif->gone)
		return;
	for (unsigned int i = 1; i < nif->pairs; i++) {
		struct ifreq ifr = { .ifr_flags = i < n ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };
		int ret = nif->ctl(nif->fd[i], TUNSETQUEUE, &ifr);

		/* EINVAL: it is so already */
		if (ret < 0 && ret != -EINVAL)
			log_rated(&nif->rate, LOG_WARNING, "network %s: queue %u: %s", nif->name, i,
				  strerror(-ret));
	}
}

bool netif_is_up(const struct netif *nif)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0};
	bool up = true;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%.*s", IFNAMSIZ - 1, nif->name);
	if (s >= 0 && !do_ioctl(s, SIOCGIFFLAGS, &ifr))
		up = ifr.ifr_flags & IFF_UP;
	if (s >= 0)
		close(s);
	return up;
}

int netif_mac(struct netif *nif, uint8_t mac[6])
{
	struct ifreq ifr = {0};
	int ret = nif->ctl(nif->fd[0], SIOCGIFHWADDR, &ifr);

	if (!ret)
		memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
	return ret;
}

void netif_set_mac(struct netif *nif, const uint8_t mac[6])
{
	struct ifreq ifr = { .ifr_hwaddr.sa_family = ARPHRD_ETHER };
	int ret;

	if (nif->kind != NETIF_TAP || !nif->macvtap || nif->gone)
		return;
	memcpy(ifr.ifr_hwaddr.sa_data, mac, 6);
	ret = nif->ctl(nif->fd[0], SIOCSIFHWADDR, &ifr);
	if (ret < 0)
		log_rated(&nif->rate, LOG_WARNING, "network %s: the guest's new MAC address is "
			  "refused (%s); it receives broadcasts only", nif->name, strerror(-ret));
}

/* ---- taps ------------------------------------------------------------------------------------ */

/* A header of NET_HDR_LEN bytes on each descriptor, and what the kernel can do. */
static int prepare(struct netif *nif, struct err *e)
{
	int size = NET_HDR_LEN, ret = 0;

	for (unsigned int i = 0; i < nif->pairs && !ret; i++)
		ret = nif->ctl(nif->fd[i], TUNSETVNETHDRSZ, &size);
	if (ret < 0)
		return err_set(e, ret, "network %s: a packet header of %d bytes is refused: %s",
			       nif->name, size, strerror(-ret));
	/* what a guest sends needs no leave: the kernel checks it packet by packet */
	nif->features = F(CSUM) | F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_ECN);
	for (unsigned int i = 0; i < ARRAY_SIZE(offloads); i++) {
		if (nif->ctl(nif->fd[0], TUNSETOFFLOAD, number(offloads[i].tun)) < 0)
			continue;
		nif->features |= offloads[i].guest | offloads[i].host;
		break;
	}
	nif->ctl(nif->fd[0], TUNSETOFFLOAD, number(0));
	netif_set_pairs(nif, 1);
	return 0;
}

/* The line that makes such an interface for us */
static const char *recipe(const struct netif_tap_cfg *cfg, char *buf, size_t room)
{
	const char *name = cfg->name ? cfg->name : "tap0";

	snprintf(buf, room, "\"sudo ip tuntap add %s mode tap user %u%s && sudo ip link set %s up\"",
		 name, (unsigned int)getuid(), cfg->pairs > 1 ? " multi_queue" : "", name);
	return buf;
}

static int tap_error(const struct netif_tap_cfg *cfg, int error, struct err *e)
{
	const char *name = cfg->name ? cfg->name : "(a new one)";
	bool there = cfg->name && if_nametoindex(cfg->name);
	char buf[256];

	if (error == -EBUSY)
		return err_set(e, error, "network: tap %s is in use: another VM has it; stop that one, "
			       "or give each its own", name);
	if (error == -EPERM && there)
		return err_set(e, error, "network: tap %s belongs to another user: \"sudo ip tuntap del "
			       "%s mode tap\", then %s", name, name, recipe(cfg, buf, sizeof(buf)));
	if (error == -EPERM)
		return err_set(e, error, "network: tap %s is not there, and making one takes root: %s, "
			       "or use mode=user", name, recipe(cfg, buf, sizeof(buf)));
	if (error == -EINVAL && there && cfg->pairs > 1)
		return err_set(e, error, "network: %s is no tap with several queues: \"sudo ip tuntap "
			       "del %s mode tap\", then %s, or leave out mq", name, name,
			       recipe(cfg, buf, sizeof(buf)));
	if (error == -EINVAL && there)
		return err_set(e, error, "network: interface %s is no tap: name another, or %s", name,
			       recipe(&(struct netif_tap_cfg){ .pairs = 1 }, buf, sizeof(buf)));
	return err_set(e, error, "network: tap %s: %s", name, strerror(-error));
}

static int open_node(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC), ret;

	if (fd >= 0)
		return fd;
	ret = -errno;
	if (strcmp(path, TUN_PATH))
		return err_set(e, ret, "network: %s: %s; the number is that of the macvtap in \"ip "
			       "link\", and you need leave to read and write it", path, strerror(-ret));
	if (ret == -ENOENT || ret == -ENODEV)
		return err_set(e, ret, "network: no " TUN_PATH ": this kernel has no taps (\"modprobe "
			       "tun\"), or use mode=user");
	return err_set(e, ret, "network: " TUN_PATH ": %s; make it readable and writable, or use "
		       "mode=user", strerror(-ret));
}

/* A queue of the interface that @ifr names; the name that it has is in @ifr then. */
static int attach(int fd, struct ifreq *ifr, bool many)
{
	const short flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	int ret;

	ifr->ifr_flags = flags | (many ? IFF_MULTI_QUEUE : 0);
	ret = do_ioctl(fd, TUNSETIFF, ifr);
	if (ret != -EINVAL || many)
		return ret;
	/* made for several queues, and we want one: it has to be asked for in its own words */
	ifr->ifr_flags = flags | IFF_MULTI_QUEUE;
	return do_ioctl(fd, TUNSETIFF, ifr);
}

/* Address, MTU and state of an interface that we made. */
static int configure(const struct netif *nif, const struct netif_tap_cfg *cfg, struct err *e)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = s < 0 ? -errno : 0;
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct ifreq ifr = {0};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%.*s", IFNAMSIZ - 1, nif->name);
	if (!ret && cfg->mac) {
		ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
		memcpy(ifr.ifr_hwaddr.sa_data, cfg->mac, 6);
		ret = do_ioctl(s, SIOCSIFHWADDR, &ifr);
	}
	if (!ret && cfg->mtu) {
		ifr.ifr_mtu = cfg->mtu;
		ret = do_ioctl(s, SIOCSIFMTU, &ifr);
	}
	if (!ret && cfg->addr) {
		if (inet_pton(AF_INET, cfg->addr, &sin.sin_addr) != 1) {
			close(s);
			return err_set(e, -EINVAL, "network %s: \"%.40s\" is no IPv4 address", nif->name,
				       cfg->addr);
		}
		memcpy(&ifr.ifr_addr, &sin, sizeof(sin));
		ret = do_ioctl(s, SIOCSIFADDR, &ifr);
		sin.sin_addr.s_addr = htonl(0xffffff00);	/* as lkvm */
		memcpy(&ifr.ifr_netmask, &sin, sizeof(sin));
		if (!ret)
			ret = do_ioctl(s, SIOCSIFNETMASK, &ifr);
	}
	if (!ret)
		ret = do_ioctl(s, SIOCGIFFLAGS, &ifr);
	ifr.ifr_flags |= IFF_UP;
	if (!ret)
		ret = do_ioctl(s, SIOCSIFFLAGS, &ifr);
	if (s >= 0)
		close(s);
	return ret < 0 ? err_set(e, ret, "network %s: cannot set it up: %s", nif->name,
				 strerror(-ret)) : 0;
}

static unsigned int get_mtu(const struct netif *nif)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0};
	bool ok;

	if (s < 0)
		return 0;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%.*s", IFNAMSIZ - 1, nif->name);
	ok = !do_ioctl(s, SIOCGIFMTU, &ifr);
	close(s);
	return ok ? ifr.ifr_mtu : 0;
}

int netif_tap_open(const struct netif_tap_cfg *cfg, struct netif **out, struct err *e)
{
	bool macvtap = cfg->name && strchr(cfg->name, '/');
	struct netif *nif;
	struct ifreq ifr = {0};
	int fd, ret = 0;

	*out = NULL;
	if (!macvtap && cfg->name && (!*cfg->name || strlen(cfg->name) >= IFNAMSIZ))
		return err_set(e, -EINVAL, "network: \"%.40s\" is no name of an interface: they have 1 "
			       "to %d characters", cfg->name, IFNAMSIZ - 1);
	nif = netif_new(NETIF_TAP, cfg->name ? cfg->name : "tap", e);
	if (!nif)
		return -ENOMEM;
	nif->macvtap = macvtap;
	nif->ours = !macvtap && (!cfg->name || !if_nametoindex(cfg->name));
	if (!macvtap)
		snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", cfg->name ? cfg->name : "tap%d");
	for (unsigned int i = 0; i < cfg->pairs; i++) {
		fd = open_node(macvtap ? cfg->name : TUN_PATH, e);
		if (fd < 0) {
			ret = fd;
			goto fail;
		}
		nif->fd[nif->pairs++] = fd;
		ret = attach(fd, &ifr, cfg->pairs > 1);
		if (ret < 0 && macvtap) {
			err_set(e, ret, "network: %s: %s: it is no macvtap, or another VM has it; name "
				"the /dev/tapN of one", cfg->name, strerror(-ret));
			goto fail;
		}
		if (ret < 0) {
			tap_error(cfg, ret, e);
			goto fail;
		}
	}
	if (!macvtap || !do_ioctl(nif->fd[0], TUNGETIFF, &ifr))
		snprintf(nif->name, sizeof(nif->name), "%.*s", IFNAMSIZ - 1, ifr.ifr_name);
	ret = prepare(nif, e);
	if (!ret && nif->ours)
		ret = configure(nif, cfg, e);
	if (ret < 0)
		goto fail;
	nif->mtu = get_mtu(nif);
	*out = nif;
	return 0;

fail:
	netif_close(nif);
	return ret;
}

/* All taps are of one node, 10:200 (Documentation/admin-guide/devices.txt). */
static bool is_macvtap(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_rdev != makedev(10, 200);
}

int netif_fd_given(int fd, struct err *e)
{
	if (fcntl(fd, F_GETFD) >= 0)
		return 0;
	return err_set(e, -errno, "network: descriptor %d was not handed over: open the tap in the "
		       "program that starts this one, and leave it open", fd);
}

int netif_tap_fd(int fd, struct netif **out, struct err *e)
{
	struct ifreq ifr = {0};
	struct netif *nif;
	int ret, flags;

	*out = NULL;
	ret = netif_fd_given(fd, e);
	if (ret < 0)
		return ret;
	flags = fcntl(fd, F_GETFL);
	ret = do_ioctl(fd, TUNGETIFF, &ifr);
	if (ret < 0)
		return err_set(e, ret == -ENOTTY ? -EINVAL : ret, "network: descriptor %d is no tap: "
			       "open " TUN_PATH " and use TUNSETIFF, or a macvtap's /dev/tapN", fd);
	if ((ifr.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)) !=
	    (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
		return err_set(e, -EINVAL, "network: the interface %.*s of descriptor %d must be made with "
			       "IFF_TAP, IFF_NO_PI and IFF_VNET_HDR", IFNAMSIZ, ifr.ifr_name, fd);
	nif = netif_new(NETIF_TAP, ifr.ifr_name, e);
	if (!nif)
		return -ENOMEM;
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
		ret = err_set(e, -errno, "network: descriptor %d: %s", fd, strerror(errno));
		goto fail;
	}
	nif->fd[nif->pairs++] = fd;
	nif->macvtap = is_macvtap(fd);
	ret = prepare(nif, e);
	if (ret < 0)
		goto fail;
	*out = nif;
	return 0;

fail:
	nif->pairs = 0;		/* it stays the caller's */
	netif_close(nif);
	return ret;
}
