// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/options_dev.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/virtio.h"
#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/core/parse.h"

#define QUEUE_SIZE_MIN	16
#define QUEUE_SIZE_MAX	32768	/* virtio 1.2, section 2.6 */
#define MTU_MIN		68	/* RFC 791; section 5.1.4.1 */
#define MTU_MAX		65535
#define CID_MIN		3	/* 0 to 2 are taken: virtio 1.2, section 5.10.4 */
#define CID_MAX		0xfffffffeULL

_Static_assert(sizeof(enum cfg_cache) == sizeof(int), "enum size");
_Static_assert(sizeof(enum cfg_format) == sizeof(int), "enum size");
_Static_assert(sizeof(enum net_mode) == sizeof(int), "enum size");

/* A power of 2: the split ring wants one. */
static int take_queue_size(const struct opt *o, const char *value, void *dest, struct err *e)
{
	uint64_t n;
	int ret = opt_number(o, value, &n, e);

	if (ret < 0)
		return ret;
	if (n & (n - 1))
		return err_set(e, -EINVAL, "%.80s is not a power of 2", value);
	*(unsigned int *)dest = n;
	return 0;
}

static int one_too_many(const char *value, unsigned int max, struct err *e)
{
	return err_set(e, -EINVAL, "\"%.80s\" is one too many: the machine has room for %u", value,
		       max);
}

/* ---- --disk -------------------------------------------------------------------------------- */

/* Tables read by their columns. */
/* clang-format off */
static const struct opt_choice cache_choices[] = {
	{ "writeback", CACHE_WRITEBACK },
	{ "writethrough", CACHE_WRITETHROUGH },
	{ "unsafe", CACHE_UNSAFE },
	{ "none", 0, "give direct, which goes past the host's page cache" },
	{ NULL }
};

static const struct opt_choice format_choices[] = {
	{ "raw", FORMAT_RAW },
	{ "qcow2", FORMAT_QCOW2 },
	{ NULL }
};

static const struct opt_choice discard_choices[] = {
	{ "on", false },
	{ "off", true },
	{ NULL }
};
/* clang-format on */

static int take_discard(const struct opt *o, const char *value, void *dest, struct err *e)
{
	int off = 0;
	int ret = opt_choice(o, value, &off, e);

	if (!ret)
		*(bool *)dest = off;
	return ret;
}

static int take_serial(const struct opt *o, const char *value, void *dest, struct err *e)
{
	if (strlen(value) > 20)		/* VIRTIO_BLK_ID_BYTES */
		return err_set(e, -EINVAL, "\"%.80s\" is longer than 20 bytes", value);
	return opt_string(o, value, dest, e);
}

#define TO(field) .offset = offsetof(struct cfg_disk, field)
/* clang-format off */
static const struct opt disk_opt[] = {
	{ .name = "path", .arg = "FILE", .help = "image file or block device",
	  .parse = opt_string, TO(path), .path = "" },
	{ .name = "ro", .flags = OPT_FLAG, .help = "read-only",
	  .parse = opt_flag, TO(readonly) },
	{ .name = "direct", .flags = OPT_FLAG, .help = "go past the host's page cache (O_DIRECT)",
	  .parse = opt_flag, TO(direct) },
	{ .name = "cache", .arg = "HOW",
	  .help = "writeback (default), writethrough, or unsafe: the guest's flushes do nothing",
	  .parse = opt_choice, TO(cache), .choice = cache_choices },
	{ .name = "format", .arg = "FORMAT", .help = "raw (default), or qcow2 by way of qemu-storage-daemon",
	  .parse = opt_choice, TO(format), .choice = format_choices },
	{ .name = "socket", .arg = "PATH", .help = "of a vhost-user-blk back end that runs already",
	  .flags = OPT_LATER, .parse = opt_string, TO(socket), .path = "" },
	{ .name = "serial", .arg = "TEXT", .help = "what the guest reads as its serial number",
	  .parse = take_serial, TO(serial) },
	{ .name = "discard", .arg = "on|off", .help = "whether the guest may give blocks back",
	  .parse = take_discard, TO(no_discard), .choice = discard_choices },
	{ .name = "queues", .arg = "N", .help = "number of queues (default: one per vCPU, at most 4)",
	  .parse = opt_uint, TO(queues), .min = 1, .max = CFG_MAX_QUEUES },
	{ .name = "queue-size", .arg = "N", .help = "entries of each (default: 256)",
	  .parse = take_queue_size, TO(queue_size), .min = QUEUE_SIZE_MIN, .max = QUEUE_SIZE_MAX },
};
/* clang-format on */
#undef TO

static void free_disk(void *base)
{
	struct cfg_disk *d = base;

	free(d->path);
	free(d->socket);
	free(d->serial);
}

const struct opt_table disk_options = {
	.opt = disk_opt,
	.nr = ARRAY_SIZE(disk_opt),
	.word = "path",
	.size = sizeof(struct cfg_disk),
	.free = free_disk,
	.hint = "FILE[,ro][,direct][,cache=HOW][,format=raw|qcow2][,serial=TEXT][,discard=off]"
		"[,queues=N][,queue-size=N]; a comma cannot be in a file's name",
};

int take_disk(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct vm_config *c = dest;
	struct cfg_disk d = {0};
	int ret;

	if (!strncmp(value, "scsi:", 5))
		return err_set(e, -EINVAL,
			       "\"%.80s\": this version has no SCSI target: give a file or a "
			       "block device",
			       value);
	if (c->nr_disks == CFG_MAX_DISKS)
		return one_too_many(value, CFG_MAX_DISKS, e);
	ret = opt_words(&disk_options, &d, value, e);
	if (!ret && !d.path == !d.socket)
		ret = err_set(e, -EINVAL, "\"%.80s\" names %s", value,
			      d.path ? "a file and a socket: give one of the two" : "no file");
	if (ret) {
		free_disk(&d);
		return ret;
	}
	c->disk[c->nr_disks++] = d;
	return 0;
}

/* ---- --network ----------------------------------------------------------------------------- */

/* clang-format off */
static const struct opt_choice mode_choices[] = {
	{ "tap", NET_TAP },
	{ "user", NET_USER },
	{ "none", NET_NONE },
	{ "vhost-user", NET_VHOST_USER },
	{ NULL }
};

static const struct opt_choice no_file[] = {	/* which is no path */
	{ "none" },
	{ NULL }
};
/* clang-format on */

static int take_mac(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct cfg_net *n = dest;
	bool host = !strcmp(o->name, "host_mac");
	uint8_t mac[6];
	int end = -1;

	if (sscanf(value, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2],
		   &mac[3], &mac[4], &mac[5], &end) != 6 || value[end])
		return err_set(e, -EINVAL, "\"%.80s\" is not a MAC address like 02:15:15:15:15:15",
			       value);
	if (mac[0] & 1)
		return err_set(e, -EINVAL, "%.80s is a multicast address: clear the lowest bit of "
			       "its first byte", value);
	memcpy(host ? n->host_mac : n->mac, mac, sizeof(mac));
	*(host ? &n->host_mac_set : &n->mac_set) = true;
	return 0;
}

static int take_ip(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct in_addr a;

	if (inet_pton(AF_INET, value, &a) != 1)
		return err_set(e, -EINVAL, "\"%.80s\" is no IPv4 address like 192.168.33.15", value);
	return opt_string(o, value, dest, e);
}

static int take_fd(const struct opt *o, const char *value, void *dest, struct err *e)
{
	uint64_t fd;
	int ret = opt_number(o, value, &fd, e);

	if (!ret)
		*(int *)dest = fd;
	return ret;
}

#define TO(field) .offset = offsetof(struct cfg_net, field)
/* clang-format off */
static const struct opt net_opt[] = {
	{ .name = "mode", .arg = "MODE",
	  .help = "tap (default), user (passt, without root), vhost-user, or none",
	  .parse = opt_choice, TO(mode), .choice = mode_choices },
	{ .name = "tapif", .arg = "NAME", .help = "tap interface, or /dev/tapN of a macvtap",
	  .parse = opt_string, TO(tapif) },
	{ .name = "fd", .arg = "N", .help = "an inherited descriptor of a tap",
	  .parse = take_fd, TO(fd), .max = INT_MAX },
	{ .name = "vhost", .flags = OPT_OPTIONAL, .arg = "0|1", .help = "let the kernel serve the queues (vhost-net)",
	  .parse = opt_flag, TO(vhost) },
	{ .name = "guest_mac", .arg = "MAC", .help = "of the guest's interface",
	  .parse = take_mac },
	{ .name = "mac", .arg = "MAC", .help = "the same as guest_mac",
	  .parse = take_mac },
	{ .name = "host_mac", .arg = "MAC", .help = "of the host's end",
	  .parse = take_mac },
	{ .name = "guest_ip", .arg = "ADDR", .help = "of the guest, for user mode",
	  .parse = take_ip, TO(guest_ip) },
	{ .name = "host_ip", .arg = "ADDR", .help = "of the host's end",
	  .parse = take_ip, TO(host_ip) },
	{ .name = "script", .arg = "FILE", .help = "run with the interface's name once it is there; none: none",
	  .parse = opt_string, TO(script), .path = "", .choice = no_file },
	{ .name = "downscript", .arg = "FILE", .help = "run before it goes",
	  .parse = opt_string, TO(downscript), .path = "", .choice = no_file },
	{ .name = "socket", .arg = "PATH", .help = "of a passt or a vhost-user back end that runs already",
	  .flags = OPT_LATER, .parse = opt_string, TO(socket), .path = "" },
	{ .name = "mtu", .arg = "N", .help = "told to the guest",
	  .parse = opt_uint, TO(mtu), .min = MTU_MIN, .max = MTU_MAX },
	{ .name = "mq", .arg = "N", .help = "pairs of queues",
	  .parse = opt_uint, TO(queues), .min = 1, .max = CFG_MAX_QUEUES },
	{ .name = "queue-size", .arg = "N", .help = "entries of each",
	  .parse = take_queue_size, TO(queue_size), .min = QUEUE_SIZE_MIN, .max = QUEUE_SIZE_MAX },
	{ .name = "trans", .flags = OPT_NOOP, .arg = "KIND", .help = "no effect: --virtio-transport is for all devices",
	  .why = "--virtio-transport is for all devices" },
};
/* clang-format on */
#undef TO

static void free_net(void *base)
{
	struct cfg_net *n = base;

	free(n->tapif);
	free(n->script);
	free(n->downscript);
	free(n->guest_ip);
	free(n->host_ip);
	free(n->socket);
}

const struct opt_table net_options = {
	.opt = net_opt,
	.nr = ARRAY_SIZE(net_opt),
	.word = "mode",
	.size = sizeof(struct cfg_net),
	.free = free_net,
	.hint = "mode=user|tap|vhost-user|none[,tapif=NAME][,fd=N][,vhost=1][,guest_mac=MAC][,mtu=N]"
		"[,mq=N][,script=FILE][,downscript=FILE][,socket=PATH]",
};

int take_network(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct vm_config *c = dest;
	struct cfg_net n = { .mode = NET_TAP, .fd = -1 };
	int ret;

	ret = opt_words(&net_options, &n, value, e);
	if (!ret && n.mode == NET_NONE) {
		c->no_net = true;
		free_net(&n);
		return 0;
	}
	if (!ret && c->nr_nets == CFG_MAX_NETS)
		ret = one_too_many(value, CFG_MAX_NETS, e);
	if (!ret && n.fd >= 0) {
		if (n.tapif || n.mode != NET_TAP)
			ret = err_set(e, -EINVAL, "\"%.80s\": fd is a tap's: leave out tapif and mode",
				      value);
		n.mode = NET_FD;
	}
	if (!ret && n.mode == NET_VHOST_USER && !n.socket)
		ret = err_set(e, -EINVAL, "mode=vhost-user needs socket=PATH");
	if (!ret && n.vhost && n.mode != NET_TAP && n.mode != NET_FD)
		ret = err_set(e, -EINVAL, "vhost=1 is for tap: leave it out, or give mode=tap");
	if (!ret && n.queues > 1 && n.mode != NET_TAP && n.mode != NET_VHOST_USER)
		ret = err_set(e, -EINVAL, "mq is for taps that have a name: %s", n.mode == NET_FD ?
			      "a descriptor is one queue; give tapif" : "leave it out");
	if (!ret && (n.vhost || n.mode == NET_VHOST_USER) && n.queues > CFG_MAX_VHOST_QUEUES)
		ret = err_set(e, -EINVAL, "mq=%u is too many for vhost: give %d at most", n.queues,
			      CFG_MAX_VHOST_QUEUES);
	if (!ret && n.fd >= 0 && n.fd <= 2)
		ret = err_set(e, -EINVAL, "fd=%d is a standard stream of this program: hand the tap over as "
			      "another one", n.fd);
	if (ret) {
		free_net(&n);
		return ret;
	}
	c->net[c->nr_nets++] = n;
	return 0;
}

void options_default_net(struct vm_config *c)
{
	if (c->lkvm && !c->nodefaults && !c->no_net && !c->nr_nets)
		c->net[c->nr_nets++] = (struct cfg_net){
			.mode = NET_USER, .fd = -1, .implicit = true,
		};
}

/* ---- --9p and --fs --------------------------------------------------------------------------- */

#define TO(field) .offset = offsetof(struct cfg_share, field)
/* clang-format off */
static const struct opt share_opt[] = {
	{ .name = "dir", .arg = "DIR", .help = "folder of the host",
	  .parse = opt_string, TO(dir), .path = "" },
	{ .name = "tag", .arg = "TAG", .help = "name by which the guest mounts it",
	  .parse = opt_string, TO(tag) },
	{ .name = "ro", .flags = OPT_FLAG, .help = "read-only",
	  .parse = opt_flag, TO(readonly) },
	{ .name = "socket", .arg = "PATH", .help = "of a virtiofsd that runs already, for --fs",
	  .flags = OPT_LATER, .parse = opt_string, TO(socket), .path = "" },
};
/* clang-format on */
#undef TO

static void free_share(void *base)
{
	struct cfg_share *s = base;

	free(s->dir);
	free(s->tag);
	free(s->socket);
}

const struct opt_table share_options = {
	.opt = share_opt,
	.nr = ARRAY_SIZE(share_opt),
	.word = "dir",
	.word2 = "tag",
	.title = "tag",
	.size = sizeof(struct cfg_share),
	.free = free_share,
	.hint = "DIR,TAG[,ro]; a comma cannot be in a name",
};

static int take_share(enum share_kind kind, size_t tag_max, const char *value, struct vm_config *c,
		      struct err *e)
{
	struct cfg_share s = { .kind = kind };
	int ret;

	if (c->nr_shares == CFG_MAX_SHARES)
		return one_too_many(value, CFG_MAX_SHARES, e);
	ret = opt_words(&share_options, &s, value, e);
	if (!ret && s.socket && kind == SHARE_9P)
		ret = err_set(e, -EINVAL, "socket is for --fs: leave it out");
	if (!ret && !s.dir == !s.socket)
		ret = err_set(e, -EINVAL, "\"%.80s\": give DIR,TAG%s", value,
			      kind == SHARE_FS ? ", or socket=PATH,tag=TAG" : "");
	if (!ret && !s.tag)
		ret = err_set(e, -EINVAL, "\"%.80s\" has no tag: give DIR,TAG", value);
	if (!ret && strlen(s.tag) > tag_max)
		ret = err_set(e, -EINVAL, "the tag \"%.80s\" is longer than %zu bytes", s.tag,
			      tag_max);
	for (unsigned int i = 0; i < c->nr_shares && !ret; i++)
		if (!strcmp(c->share[i].tag, s.tag))
			ret = err_set(e, -EINVAL, "two folders have the tag \"%.80s\": the guest "
				      "could mount only one", s.tag);
	if (ret) {
		free_share(&s);
		return ret;
	}
	c->share[c->nr_shares++] = s;
	return 0;
}

int take_9p(const struct opt *o, const char *value, void *dest, struct err *e)
{
	return take_share(SHARE_9P, 255, value, dest, e);
}

int take_fs(const struct opt *o, const char *value, void *dest, struct err *e)
{
	/* struct virtio_fs_config has room for 36 */
	return take_share(SHARE_FS, 36, value, dest, e);
}

/* ---- --vsock --------------------------------------------------------------------------------- */

#define TO(field) .offset = offsetof(struct cfg_vsock, field)
/* clang-format off */
static const struct opt vsock_opt[] = {
	{ .name = "cid", .arg = "CID", .help = "context ID of the guest, 3 or more",
	  .parse = opt_u64, TO(cid), .min = CID_MIN, .max = CID_MAX },
	{ .name = "path", .arg = "PATH", .help = "unix socket, in place of the host's vhost-vsock",
	  .flags = OPT_LATER, .parse = opt_string, TO(path), .path = "" },
};
/* clang-format on */
#undef TO

static void free_vsock(void *base)
{
	free(((struct cfg_vsock *)base)->path);
}

const struct opt_table vsock_options = {
	.opt = vsock_opt,
	.nr = ARRAY_SIZE(vsock_opt),
	.word = "cid",
	.size = sizeof(struct cfg_vsock),
	.free = free_vsock,
	.hint = "CID[,path=SOCKET]",
};

int take_vsock(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct vm_config *c = dest;
	int ret = opt_words(&vsock_options, &c->vsock, value, e);

	if (!ret && !c->vsock.cid)
		ret = err_set(e, -EINVAL, "\"%.80s\" has no CID: give CID[,path=SOCKET]", value);
	return ret;
}

/* ---- --balloon ------------------------------------------------------------------------------- */

static int take_balloon_size(const struct opt *o, const char *value, void *dest, struct err *e)
{
	uint64_t size;

	if (parse_size(value, SZ_1M, &size) < 0)
		return err_set(e, -EINVAL, "\"%.80s\" is no size: give a number and a unit of K, M or G "
			       "(MiB without a unit)", value);
	*(uint64_t *)dest = size;
	return 0;
}

#define TO(field) .offset = offsetof(struct vm_config, field)
/* clang-format off */
static const struct opt balloon_opt[] = {
	{ .name = "size", .arg = "SIZE", .help = "what it takes from the guest at the start",
	  .parse = take_balloon_size, TO(balloon_size) },
	{ .name = "stats", .arg = "SECONDS", .help = "ask the guest for statistics as often",
	  .parse = opt_uint, TO(balloon_stats), .min = 1, .max = 86400 },
};
/* clang-format on */
#undef TO

const struct opt_table balloon_options = {
	.opt = balloon_opt,
	.nr = ARRAY_SIZE(balloon_opt),
	.word = "size",
	.size = sizeof(struct vm_config),
	.hint = "--balloon[=SIZE][,stats=SECONDS]",
};

int take_balloon(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct vm_config *c = dest;

	c->balloon = true;
	return value ? opt_words(&balloon_options, c, value, e) : 0;
}

/* ---- --pmem ---------------------------------------------------------------------------------- */

#define TO(field) .offset = offsetof(struct cfg_pmem, field)
/* clang-format off */
static const struct opt pmem_opt[] = {
	{ .name = "path", .arg = "FILE", .help = "image file",
	  .parse = opt_string, TO(path), .path = "" },
	{ .name = "ro", .flags = OPT_FLAG, .help = "what the guest writes is not kept",
	  .parse = opt_flag, TO(readonly) },
};
/* clang-format on */
#undef TO

static void free_pmem(void *base)
{
	free(((struct cfg_pmem *)base)->path);
}

const struct opt_table pmem_options = {
	.opt = pmem_opt,
	.nr = ARRAY_SIZE(pmem_opt),
	.word = "path",
	.size = sizeof(struct cfg_pmem),
	.free = free_pmem,
	.hint = "FILE[,ro]; a comma cannot be in a file's name",
};

int take_pmem(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct vm_config *c = dest;
	struct cfg_pmem p = {0};
	int ret;

	if (c->nr_pmems == CFG_MAX_PMEMS)
		return one_too_many(value, CFG_MAX_PMEMS, e);
	ret = opt_words(&pmem_options, &p, value, e);
	if (!ret && !p.path)
		ret = err_set(e, -EINVAL, "\"%.80s\" names no file", value);
	if (ret) {
		free_pmem(&p);
		return ret;
	}
	c->pmem[c->nr_pmems++] = p;
	return 0;
}

/* ---- --vfio-pci ------------------------------------------------------------------------------ */

/* clang-format off */
static const struct opt_choice alias_choices[] = {
	{ "shared", false },
	{ "both", true },
	{ NULL }
};
/* clang-format on */

static const struct opt_choice no_rom[] = {	/* which is no path */
	{ "off" },
	{ NULL }
};

static int take_rom(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct cfg_vfio *v = dest;

	v->no_rom = !strcmp(value, "off");
	return v->no_rom ? 0 : opt_string(o, value, &v->rom, e);
}

static int take_alias(const struct opt *o, const char *value, void *dest, struct err *e)
{
	int both = 0;
	int ret = opt_choice(o, value, &both, e);

	if (!ret)
		*(bool *)dest = both;
	return ret;
}

#define TO(field) .offset = offsetof(struct cfg_vfio, field)
/* clang-format off */
static const struct opt vfio_opt[] = {
	{ .name = "device", .arg = "DEVICE", .help = "[DOMAIN:]BB:DD.F, or its folder in /sys",
	  .parse = opt_string, TO(device) },
	{ .name = "rom", .arg = "FILE|off", .help = "expansion ROM instead of the device's own",
	  .parse = take_rom, .path = "", .choice = no_rom },
	{ .name = "dma-alias", .arg = "shared|both",
	  .help = "both: also at addresses without the shared bit, for guests before Linux 6.15",
	  .parse = take_alias, TO(both), .choice = alias_choices },
	{ .name = "trusted", .flags = OPT_FLAG,
	  .help = "a device that the realm can attest (RMM 2.0); no host can do that today",
	  .parse = opt_flag, TO(trusted) },
};
/* clang-format on */
#undef TO

static void free_vfio(void *base)
{
	struct cfg_vfio *v = base;

	free(v->device);
	free(v->rom);
}

const struct opt_table vfio_options = {
	.opt = vfio_opt,
	.nr = ARRAY_SIZE(vfio_opt),
	.word = "device",
	.size = sizeof(struct cfg_vfio),
	.free = free_vfio,
	.hint = "[DOMAIN:]BB:DD.F[,rom=FILE|off][,dma-alias=shared|both][,trusted]",
};

int take_vfio(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct vm_config *c = dest;
	struct cfg_vfio v = {0};
	int ret;

	if (c->nr_vfios == CFG_MAX_VFIOS)
		return one_too_many(value, CFG_MAX_VFIOS, e);
	ret = opt_words(&vfio_options, &v, value, e);
	if (!ret && !v.device)
		ret = err_set(e, -EINVAL, "\"%.80s\" names no device: give its address, as lspci -D "
			      "prints it", value);
	if (ret) {
		free_vfio(&v);
		return ret;
	}
	c->vfio[c->nr_vfios++] = v;
	return 0;
}

/* ---- --console-port -------------------------------------------------------------------------- */

#define TO(field) .offset = offsetof(struct cfg_port, field)
/* clang-format off */
static const struct opt port_opt[] = {
	{ .name = "name", .arg = "NAME", .help = "/dev/virtio-ports/NAME in the guest",
	  .parse = opt_string, TO(name) },
	{ .name = "path", .arg = "PATH", .help = "unix socket of the host's end; else a pty",
	  .flags = OPT_LATER, .parse = opt_string, TO(path), .path = "" },
};
/* clang-format on */
#undef TO

static void free_port(void *base)
{
	struct cfg_port *p = base;

	free(p->name);
	free(p->path);
}

const struct opt_table port_options = {
	.opt = port_opt,
	.nr = ARRAY_SIZE(port_opt),
	.word = "name",
	.title = "name",
	.size = sizeof(struct cfg_port),
	.free = free_port,
	.hint = "NAME[,path=SOCKET]",
};

int take_port(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct vm_config *c = dest;
	struct cfg_port p = {0};
	int ret;

	if (c->nr_ports == CFG_MAX_PORTS)
		return one_too_many(value, CFG_MAX_PORTS, e);
	ret = opt_words(&port_options, &p, value, e);
	if (!ret && !p.name)
		ret = err_set(e, -EINVAL, "\"%.80s\" has no name: give NAME[,path=SOCKET]", value);
	if (!ret && strlen(p.name) > VIRTIO_CONSOLE_NAME_MAX)
		ret = err_set(e, -EINVAL, "the name \"%.80s\" is longer than %d bytes", p.name,
			      VIRTIO_CONSOLE_NAME_MAX);
	for (unsigned int i = 0; i < c->nr_ports && !ret; i++)
		if (!strcmp(c->port[i].name, p.name))
			ret = err_set(e, -EINVAL, "two ports have the name \"%.80s\"", p.name);
	if (ret) {
		free_port(&p);
		return ret;
	}
	c->port[c->nr_ports++] = p;
	return 0;
}

void config_free_devices(struct vm_config *c)
{
	for (unsigned int i = 0; i < c->nr_disks; i++)
		free_disk(&c->disk[i]);
	for (unsigned int i = 0; i < c->nr_nets; i++)
		free_net(&c->net[i]);
	for (unsigned int i = 0; i < c->nr_shares; i++)
		free_share(&c->share[i]);
	for (unsigned int i = 0; i < c->nr_pmems; i++)
		free_pmem(&c->pmem[i]);
	for (unsigned int i = 0; i < c->nr_ports; i++)
		free_port(&c->port[i]);
	for (unsigned int i = 0; i < c->nr_vfios; i++)
		free_vfio(&c->vfio[i]);
	free_vsock(&c->vsock);
}
