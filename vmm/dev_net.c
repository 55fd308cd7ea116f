// SPDX-License-Identifier: BSD-3-Clause
/* Network devices: taps, and passt for a network that takes no privilege. */
#include <errno.h>
#include <linux/if_ether.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "virtio/netif.h"
#include "virtio/virtio.h"
#include "vmm/attendant.h"
#include "vmm/core/err.h"
#include "vmm/devices.h"
#include "vmm/helper.h"
#include "vmm/machine.h"
#include "vmm/vu_host.h"

/* lkvm's network in user mode */
#define GUEST_IP	"192.168.33.15"
#define HOST_IP		"192.168.33.1"
#define NETMASK_BITS	"24"

#define SCRIPT_MS	60000	/* for what sets up an interface */
#define PASST_MS	2000	/* for passt to end once its socket is closed */

/**
 * struct net_host - the host's end of one network device
 * @nif:   NULL: there is none, the link is down
 * @passt: the process behind @nif, if it is ours
 * @up:    the script was run
 * @job:   of the attendant: the other script
 * @vhost: the kernel carries the packets of @nif
 * @vhost_fd: a descriptor for each pair
 * @vu:    another process does, behind a vhost-user socket
 */
struct net_host {
	const struct cfg_net *cfg;
	struct netif *nif;
	struct helper *passt;
	bool up;
	int job;
	struct vhost_net *vhost;
	int vhost_fd[VIRTIO_NET_BACKEND_PAIRS];
	struct vu_host *vu;
};

static const char *or(const char *a, const char *b)
{
	return a ? a : b;
}

static unsigned int pairs(const struct cfg_net *n)
{
	return n->queues ? n->queues : 1;
}

/* ---- scripts --------------------------------------------------------------------------------- */

static int run_script(const char *path, const char *ifname, struct err *e)
{
	const char *argv[] = { path, ifname, NULL };
	const struct helper_cfg cfg = {
		.argv = argv,
		.package = "the script",
		.level = LOG_INFO,
		.ends = true,
	};
	struct helper *h;
	char *here = NULL;
	int ret;

	/* a plain name is a file right here, as with lkvm */
	if (!strchr(path, '/') && !access(path, X_OK)) {
		if (asprintf(&here, "./%s", path) < 0)
			return err_set(e, -ENOMEM, "out of memory");
		argv[0] = here;
	}
	ret = access(argv[0], X_OK) < 0 ? -errno : 0;
	if (ret < 0)
		err_set(e, ret, "network script %s: %s; name a file that can be run, or none", path,
			strerror(-ret));
	if (!ret)
		ret = helper_start(&cfg, &h, e);
	if (!ret) {
		ret = helper_wait(h, SCRIPT_MS, e);
		helper_stop(h, 0);
		if (ret < 0)
			err_prefix(e, "network %s", ifname);
	}
	free(here);
	return ret;
}

static bool wanted(const char *script)
{
	return script && strcmp(script, "none");
}

static int down_job(void *ctx, int fds[ATTENDANT_FDS], unsigned int *nr, struct err *e)
{
	struct net_host *nh = ctx;

	return run_script(nh->cfg->downscript, nh->nif->name, e);
}

/* Scripts start in places that no path leads to from the sandbox, and may need privileges. */
static int prepare_down(struct net_host *nh, struct err *e)
{
	const struct attendant_job job = { .fn = down_job, .ctx = nh, .at_end = true, .fd = -1 };

	if (!wanted(nh->cfg->downscript))
		return 0;
	nh->job = attendant_add(&job);
	return nh->job < 0 ? err_set(e, nh->job, "network %s: too many scripts", nh->nif->name) : 0;
}

static void run_down(struct net_host *nh)
{
	struct err e;
	int ret;

	if (!nh->up || !wanted(nh->cfg->downscript))
		return;
	if (attendant_runs()) {
		ret = attendant_ask(nh->job, NULL, 0, &e);
	} else {
		attendant_withdraw(nh->job);
		ret = run_script(nh->cfg->downscript, nh->nif->name, &e);
	}
	if (ret < 0)
		log_warning("%s", e.msg);
}

/* ---- tap ------------------------------------------------------------------------------------- */

static int start_tap(struct net_host *nh, const struct vm_config *c, struct err *e)
{
	const struct cfg_net *n = nh->cfg;
	const struct netif_tap_cfg cfg = {
		.name = n->tapif,
		.pairs = pairs(n),
		.addr = n->host_ip ? n->host_ip : c->lkvm && !wanted(n->script) ? HOST_IP : NULL,
		.mac = n->host_mac_set ? n->host_mac : NULL,
		.mtu = n->mtu,
	};
	int ret = n->mode == NET_FD ? netif_tap_fd(n->fd, &nh->nif, e) :
				      netif_tap_open(&cfg, &nh->nif, e);

	if (!ret && wanted(n->script))
		ret = run_script(n->script, nh->nif->name, e);
	nh->up = !ret;
	if (!ret)
		ret = prepare_down(nh, e);
	if (!ret && !netif_is_up(nh->nif))
		log_warning("network %s is down, nothing passes it: \"sudo ip link set %s up\"",
			    nh->nif->name, nh->nif->name);
	return ret;
}

/* ---- who carries the packets in our place ---------------------------------------------------- */

static int too_many_pairs(struct err *e)
{
	return err_set(e, -E2BIG, "network: mq is %u at most with vhost", VIRTIO_NET_BACKEND_PAIRS);
}

static int start_vhost(struct net_host *nh, struct err *e)
{
	int ret = nh->nif->pairs > VIRTIO_NET_BACKEND_PAIRS ? too_many_pairs(e) : 0;

	for (unsigned int i = 0; i < nh->nif->pairs && !ret; i++) {
		nh->vhost_fd[i] = vhost_open("vhost-net", "vhost_net", "leave out vhost=1", e);
		ret = MIN(nh->vhost_fd[i], 0);
	}
	if (!ret)
		ret = vhost_net_new(NULL, nh->vhost_fd, nh->nif, &nh->vhost, e);
	return ret < 0 ? err_prefix(e, "network %s", nh->nif->name) : 0;
}

static int start_vhost_user(struct net_host *nh, struct err *e)
{
	const struct cfg_net *n = nh->cfg;
	const struct vu_host_cfg cfg = {
		.name = "network",
		.rings = pairs(n),	/* of a network device they are counted in pairs */
		.socket = n->socket,
	};
	int ret = pairs(n) > VIRTIO_NET_BACKEND_PAIRS ? too_many_pairs(e) :
		  vu_host_new(&cfg, &nh->vu, e);

	return ret < 0 ? ret : vu_host_up(nh->vu, e);
}

/* ---- passt ----------------------------------------------------------------------------------- */

static int connect_passt(struct net_host *nh, struct err *e)
{
	const char *path = nh->cfg->socket;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, ret;

	if (strlen(path) >= sizeof(sa.sun_path))
		return err_set(e, -ENAMETOOLONG, "the socket's name %.100s... is longer than %zu "
			       "characters", path, sizeof(sa.sun_path) - 1);
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		ret = err_set(e, -errno, "socket %s: %s; start passt with --socket %s, or leave "
			      "out socket and realmtool starts one", path, strerror(errno), path);
		if (fd >= 0)
			close(fd);
		return ret;
	}
	ret = netif_stream_new(fd, path, &nh->nif, e);
	if (ret < 0)
		close(fd);
	return ret;
}

/*
 * passt tells the guest of frames of 64 KiB unless it is told otherwise. Where the bounce pool of a
 * realm is small (max_request() in machine.c) such a frame would find no room, or does not fit into
 * the buffers that the guest uses then (SCARCE_POOL in net.c).
 */
static unsigned int passt_mtu(const struct cfg_net *n, const struct vm_config *c)
{
	bool small = c->swiotlb_mib ? c->swiotlb_mib < 32 : c->mem_base + c->mem <= 4 * SZ_1G;

	return n->mtu || c->mode == MODE_PLAIN || !small ? n->mtu : ETH_DATA_LEN;
}

static int start_passt(struct net_host *nh, const struct vm_config *c, struct err *e)
{
	const struct cfg_net *n = nh->cfg;
	char fd[16], mtu[16], mac[18];
	const char *argv[24] = {
		"passt", "--foreground", "--fd", fd,
		"--address", or(n->guest_ip, GUEST_IP), "--netmask", NETMASK_BITS,
		"--gateway", or(n->host_ip, HOST_IP),
	};
	unsigned int nr = 10;
	int sv[2], ret;
	const struct helper_cfg cfg = {
		.argv = argv,
		.package = "passt",
		.instead = "use mode=tap",
		.fd = &sv[1],
		.nr_fds = 1,
		.level = LOG_DEBUG,
	};

	if (passt_mtu(n, c)) {
		snprintf(mtu, sizeof(mtu), "%u", passt_mtu(n, c));
		argv[nr++] = "--mtu";
		argv[nr++] = mtu;
	}
	if (n->host_mac_set) {
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", n->host_mac[0],
			 n->host_mac[1], n->host_mac[2], n->host_mac[3], n->host_mac[4],
			 n->host_mac[5]);
		argv[nr++] = "--mac-addr";
		argv[nr++] = mac;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return err_set(e, -errno, "socketpair: %s", strerror(errno));
	snprintf(fd, sizeof(fd), "%d", sv[1]);
	ret = helper_start(&cfg, &nh->passt, e);
	close(sv[1]);
	if (!ret)
		ret = netif_stream_new(sv[0], "passt", &nh->nif, e);
	if (ret < 0)
		close(sv[0]);
	else if (passt_mtu(n, c))
		nh->nif->mtu = passt_mtu(n, c);
	return ret;
}

static int start_user(struct net_host *nh, const struct vm_config *c, struct err *e)
{
	int ret = nh->cfg->socket ? connect_passt(nh, e) : start_passt(nh, c, e);

	if (ret < 0)
		return err_prefix(e, "network mode=user");
	return 0;
}

/* ---- the kind -------------------------------------------------------------------------------- */

static unsigned int net_count(const struct vm_config *c)
{
	return c->nr_nets;
}

static int net_start(struct device_host *h, const struct vm_config *c, struct err *e)
{
	struct net_host *nh = calloc(1, sizeof(*nh));
	struct err why;
	int ret = 0;

	if (!nh)
		return err_set(e, -ENOMEM, "network: no memory");
	nh->cfg = &c->net[h->index];
	nh->job = -1;
	h->priv = nh;
	for (unsigned int i = 0; i < VIRTIO_NET_BACKEND_PAIRS; i++)
		nh->vhost_fd[i] = -1;
	switch (nh->cfg->mode) {
	case NET_TAP:
	case NET_FD:
		ret = start_tap(nh, c, e);
		if (!ret && nh->cfg->vhost)
			ret = start_vhost(nh, e);
		break;
	case NET_USER:
		ret = start_user(nh, c, &why);
		/* lkvm's own, for which nobody asked: it stays in its place, with no link */
		if (ret < 0 && nh->cfg->implicit) {
			log_info("the network interface of the guest has no link: %s; -n mode=none takes "
				 "it away", why.msg);
			ret = 0;
		} else if (ret < 0) {
			*e = why;
		}
		break;
	case NET_VHOST_USER:
		ret = start_vhost_user(nh, e);
		break;
	case NET_NONE:
		break;
	}
	return ret;
}

static void net_close(struct device_host *h)
{
	struct net_host *nh = h->priv;

	if (!nh)
		return;
	run_down(nh);
	vhost_net_free(nh->vhost);
	for (unsigned int i = 0; i < VIRTIO_NET_BACKEND_PAIRS; i++)
		if (nh->vhost_fd[i] >= 0)
			close(nh->vhost_fd[i]);
	vu_host_free(nh->vu);
	netif_close(nh->nif);
	/* without its socket it would end by itself, too */
	helper_stop(nh->passt, PASST_MS);
	free(nh);
}

/* Fixed by place among the devices; locally administered. The first is lkvm's. */
static void default_mac(unsigned int index, uint8_t mac[6])
{
	memset(mac, 0x15, 6);
	mac[0] = 0x02;
	mac[5] += index;
}

static int net_make(struct machine *m, struct device_host *h, const struct virtio_env *env,
		    struct virtio_dev **out, struct err *e)
{
	struct net_host *nh = h->priv;
	const struct cfg_net *n = &m->cfg->net[h->index];
	char name[64];
	struct virtio_net_cfg cfg = {
		.name = name,
		.nif = nh ? nh->nif : NULL,
		.mtu = n->mtu,
		.pairs = pairs(n),
		.queue_size = n->queue_size,
		.link_down = n->mode != NET_VHOST_USER && (!nh || !nh->nif),
	};

	snprintf(name, sizeof(name), "virtio-net%u", h->index);
	if (n->mac_set)
		memcpy(cfg.mac, n->mac, sizeof(cfg.mac));
	else if (!cfg.nif || !cfg.nif->macvtap || netif_mac(cfg.nif, cfg.mac) < 0)
		default_mac(h->index, cfg.mac);
	if (env->max_request && env->max_request <= SZ_1M && !cfg.link_down)
		log_warning("network: the guest bounces its packets through a pool of only %u KiB: slow, and "
			    "some guests come to a halt; give it more with --swiotlb 64",
			    env->max_request / 512);
	if (nh && (nh->vhost || nh->vu))
		vu_host_notice(m);
	if (nh && nh->vhost)
		return virtio_vhost_net_new(env, nh->vhost, &cfg, out, e);
	if (nh && nh->vu) {
		int ret = vu_host_up(nh->vu, e);

		return ret < 0 ? ret : virtio_vu_net_new(env, vu_host_conn(nh->vu), &cfg, out, e);
	}
	return virtio_net_new(env, &cfg, out, e);
}

int net_fds_given(const struct vm_config *c, struct err *e)
{
	int ret = 0;

	for (unsigned int i = 0; i < c->nr_nets && !ret; i++)
		if (c->net[i].mode == NET_FD)
			ret = netif_fd_given(c->net[i].fd, e);
	return ret;
}

const struct device_kind device_net = {
	.name = "network",
	.io = true,
	.count = net_count,
	.start = net_start,
	.close = net_close,
	.make = net_make,
};
