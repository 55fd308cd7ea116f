/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the roof sees of virtio: make a device, give it to a transport, tell the machine where the
 * kick and interrupt lines are. Rings, feature bits and register layouts stay inside this room.
 *
 * Every device offers VIRTIO_F_VERSION_1 and VIRTIO_F_ACCESS_PLATFORM; in a realm both are
 * required (FEATURES_OK is refused without them). All guest addresses pass gmem_map().
 *
 * Device work runs on the threads of the loops, never on a vCPU thread.
 */
#ifndef VIRTIO_VIRTIO_H
#define VIRTIO_VIRTIO_H

#include "vmm/core/gmem.h"
#include "vmm/core/irq.h"
#include "vmm/core/loop.h"
#include "vmm/core/mmio.h"

struct virtio_dev;
struct virtio_mmio;

/**
 * struct virtio_env - what a device may know of the machine
 * @gm:    guest memory
 * @loop:  its thread does the work of the device
 * @loops: queue q is served by loops[(first_loop + q) % nr_loops]; NULL: all of them by @loop
 * @realm: refuse a driver that declines ACCESS_PLATFORM
 * @alias: the bit that tells the address of shared memory in a realm from its other one; 0: none
 * @packed: offer packed rings
 * @max_request: bytes that one request may carry, because the guest bounces it through a pool of
 *         shared pages that may be small; 0: no limit
 */
struct virtio_env {
	struct gmem *gm;
	struct loop *loop;
	struct loop *const *loops;
	unsigned int nr_loops, first_loop;
	bool realm;
	ipa_t alias;
	bool packed;
	uint32_t max_request;
};

/** virtio_env_loop() - the loop that serves a queue */
static inline struct loop *virtio_env_loop(const struct virtio_env *env, unsigned int queue)
{
	return env->nr_loops ? env->loops[(env->first_loop + queue) % env->nr_loops] : env->loop;
}

/** enum virtio_blk_cache - when a write is safe from a crash of the host */
enum virtio_blk_cache {
	VIRTIO_BLK_CACHE_WRITEBACK,	/* after the guest's flush; or the driver takes the next */
	VIRTIO_BLK_CACHE_WRITETHROUGH,	/* when it ends; the driver can choose the other */
	VIRTIO_BLK_CACHE_UNSAFE,	/* whenever the host likes: flushes do nothing */
};

/**
 * struct virtio_blk_cfg - a disk
 * @fd:       open file or block device; the device does not close it
 * @path:     for messages
 * @serial:   20 bytes at most (VIRTIO_BLK_T_GET_ID), "" for none
 * @readonly: VIRTIO_BLK_F_RO, writes fail
 * @direct:   @fd was opened with O_DIRECT
 * @no_uring: use a worker thread even where io_uring is there
 * @cache:    see there
 * @no_discard: the guest cannot give blocks back
 * @queues:   0: 1
 * @queue_size: entries of each, a power of 2; 0: VQ_SIZE_DEFAULT
 */
struct virtio_blk_cfg {
	int fd;
	const char *path;
	const char *serial;
	bool readonly;
	bool direct;
	bool no_uring;
	enum virtio_blk_cache cache;
	bool no_discard;
	unsigned int queues, queue_size;
};

/** virtio_blk_new() - block device on io_uring, or on a worker thread where that is forbidden */
int virtio_blk_new(const struct virtio_env *env, const struct virtio_blk_cfg *cfg,
		   struct virtio_dev **out, struct err *e);

/**
 * virtio_blk_resize() - the file or block device behind a disk may have another size now
 *
 * Any thread. The driver is told if the size differs. Requests beyond a new end fail.
 *
 * Return: 1: it differs; 0: it does not; -ENOTTY: @dev is no disk of this kind; another negative
 * errno: the size cannot be found out.
 */
int virtio_blk_resize(struct virtio_dev *dev);

/** virtio_rng_new() - entropy device, fed by getrandom(2) */
int virtio_rng_new(const struct virtio_env *env, struct virtio_dev **out, struct err *e);

/**
 * struct virtio_balloon_cfg - a memory balloon
 * @pages: of 4 KiB, that the guest shall give up at the start
 * @max_pages: that it can be asked for, 2^32 - 1 at most
 * @stats_period: seconds after which the guest is asked for statistics again and again; 0: only by
 *         virtio_balloon_ask()
 */
struct virtio_balloon_cfg {
	uint64_t pages, max_pages;
	unsigned int stats_period;
};

#define VIRTIO_BALLOON_STATS 32		/* values that are kept; the specification has 16 */

/**
 * struct virtio_balloon_stats - what is known of a guest's memory
 * @target, @actual: pages of 4 KiB: asked for, and in the balloon as the guest says
 * @discarded: bytes given back to the host so far
 * @seen:  how often the guest sent statistics; 0: never, the rest is 0 then
 * @age_ms: how old they are
 * @have:  a bit per value that the guest sent
 * @value: by VIRTIO_BALLOON_S_* (section 5.5.6.3.2); the guest's words, unchecked
 */
struct virtio_balloon_stats {
	uint64_t target, actual;
	uint64_t discarded;
	uint64_t seen, age_ms;
	uint32_t have;
	uint64_t value[VIRTIO_BALLOON_STATS];
};

/** virtio_balloon_new() - memory balloon with statistics and free page reporting; no realm's */
int virtio_balloon_new(const struct virtio_env *env, const struct virtio_balloon_cfg *cfg,
		       struct virtio_dev **out, struct err *e);
/**
 * virtio_balloon_set() - how many pages of 4 KiB the guest shall give up; any thread
 *
 * It is a wish: the guest gives them as it can. Return: 0; -ERANGE: more than there can be.
 */
int virtio_balloon_set(struct virtio_dev *dev, uint64_t pages);
/** virtio_balloon_ask() - ask for statistics; 0, or -EAGAIN: the guest cannot be asked now */
int virtio_balloon_ask(struct virtio_dev *dev);
/** virtio_balloon_stats() - what is known now; any thread */
void virtio_balloon_stats(struct virtio_dev *dev, struct virtio_balloon_stats *out);

struct netif;

/**
 * struct virtio_net_backend - who serves the queues of packets in place of the device: the kernel's
 * vhost-net, a process behind a vhost-user socket. Control queue, configuration space and link stay
 * with the device. All but @allowed may be NULL; they run with the device locked
 * @allowed:  features it can be used with: those of rings, MRG_RXBUF, ...; never ACCESS_PLATFORM
 * @features: of the network that it brings, beside those of the netif
 * @start:    DRIVER_OK
 * @queue:    queue @q (of 2 per pair) begins or ends to be in use
 * @queue_fd: see struct virtio_dev_ops
 * @reset:    the driver is gone
 * @pairs:    the guest uses so many pairs now
 * @free:     with the device
 */
struct virtio_net_backend {
	uint64_t allowed, features;
	int (*start)(void *ctx, struct virtio_dev *dev);
	int (*queue)(void *ctx, struct virtio_dev *dev, unsigned int q, bool on);
	void (*queue_fd)(void *ctx, struct virtio_dev *dev, unsigned int q);
	void (*reset)(void *ctx, struct virtio_dev *dev);
	void (*pairs)(void *ctx, struct virtio_dev *dev, unsigned int n);
	void (*free)(void *ctx);
};

#define VIRTIO_NET_BACKEND_PAIRS 31	/* most pairs with a back end: a bit per queue */

/**
 * struct virtio_net_cfg - a network device
 * @name:      for messages
 * @nif:       host's end (virtio/netif.h), not closed by the device; NULL: none, or @backend's
 * @mac:       of the guest
 * @mtu:       told to the guest; 0: not told
 * @pairs:     of queues, at least 1; as many as @nif has, if there is one
 * @queue_size: entries of each, a power of 2; 0: VQ_SIZE_DEFAULT
 * @link_down: there is nothing behind it
 * @backend:   NULL: packets pass through this process
 * @backend_ctx: its first argument
 */
struct virtio_net_cfg {
	const char *name;
	struct netif *nif;
	uint8_t mac[6];
	uint16_t mtu;
	unsigned int pairs, queue_size;
	bool link_down;
	const struct virtio_net_backend *backend;
	void *backend_ctx;
};

/** virtio_net_new() - network device. On an error @backend is still the caller's */
int virtio_net_new(const struct virtio_env *env, const struct virtio_net_cfg *cfg,
		   struct virtio_dev **out, struct err *e);
/** virtio_net_set_link() - the link is up or down; any thread, no lock held */
void virtio_net_set_link(struct virtio_dev *dev, bool up);

/**
 * struct virtio_9p_cfg - a directory shared by 9P2000.L
 * @root_fd:  of the directory, O_PATH will do; the device does not close it
 * @tag:      mount tag, 1 to 65535 bytes
 * @readonly: the guest changes nothing
 * @max_fds:  descriptors that the share may hold open
 */
struct virtio_9p_cfg {
	int root_fd;
	const char *tag;
	bool readonly;
	unsigned int max_fds;
};

/** virtio_9p_new() - 9P transport with a server behind it (virtio/p9srv.h) */
int virtio_9p_new(const struct virtio_env *env, const struct virtio_9p_cfg *cfg,
		  struct virtio_dev **out, struct err *e);

/**
 * struct virtio_console_io - the host's end of a console
 * @write: guest output; returns how many bytes were taken (0: full, try again after
 *         virtio_console_writable()); called with the device locked, on the loop thread: it must
 *         not call back into the device
 * @ctx:   argument of both
 * @readable: may be NULL. virtio_console_input() had taken less than it was given, now there is
 *         room again; must not call back into the device either: resume polling, say
 * @gone:  may be NULL. The device is being freed, nothing may be called any more
 */
struct virtio_console_io {
	size_t (*write)(void *ctx, const void *buf, size_t len);
	void *ctx;
	void (*readable)(void *ctx);
	void (*gone)(void *ctx);
};

/** virtio_console_new() - one port, a terminal; VIRTIO_CONSOLE_F_SIZE, _F_EMERG_WRITE */
int virtio_console_new(const struct virtio_env *env, const struct virtio_console_io *io,
		       struct virtio_dev **out, struct err *e);
/** virtio_console_input() - bytes for the guest; returns how many fit (loop thread only) */
size_t virtio_console_input(struct virtio_dev *dev, const void *buf, size_t len);
/** virtio_console_resize() - the terminal has this size now (loop thread only) */
void virtio_console_resize(struct virtio_dev *dev, uint16_t cols, uint16_t rows);
/** virtio_console_writable() - the host's end takes output again (loop thread only) */
void virtio_console_writable(struct virtio_dev *dev);

/**
 * struct virtio_pmem_cfg - a file in the guest's address space
 * @fd:    of the file, stays the caller's; -1: nothing is kept, so there is nothing to flush
 * @start, @size: where the guest finds it; the caller has put it there
 */
struct virtio_pmem_cfg {
	int fd;
	ipa_t start;
	uint64_t size;
};

/** virtio_pmem_new() - persistent memory (section 5.19) */
int virtio_pmem_new(const struct virtio_env *env, const struct virtio_pmem_cfg *cfg,
		    struct virtio_dev **out, struct err *e);

/**
 * struct virtio_vsock_cfg - sockets between the guest and unix sockets of the host
 * @cid:   of the guest
 * @fd:    listening socket for programs of the host; non-blocking, belongs to the caller
 * @path:  of that socket; the guest's connections to port P go to @path_P; outlives the device
 * @again: a device with this CID was there before: the guest is told that its connections are gone
 * @reach: the same as @path, for connections of the guest, where @path leads nowhere any more;
 *         NULL: @path
 */
struct virtio_vsock_cfg {
	uint64_t cid;
	int fd;
	const char *path;
	bool again;
	const char *reach;
};

/* The longest @path of it: with "_4294967295" it still is the name of a unix socket. */
#define VIRTIO_VSOCK_PATH_MAX (107 - 11)

/** virtio_vsock_new() - socket device (section 5.10), streams */
int virtio_vsock_new(const struct virtio_env *env, const struct virtio_vsock_cfg *cfg,
		     struct virtio_dev **out, struct err *e);

/* The longest name of a port. */
#define VIRTIO_CONSOLE_NAME_MAX 100

/** struct virtio_console_port - a port beside the first: a stream with a name */
struct virtio_console_port {
	const char *name;
	struct virtio_console_io io;
};

/**
 * virtio_console_new_ports() - a console with more ports, VIRTIO_CONSOLE_F_MULTIPORT
 * @io:   of port 0, the terminal; NULL: it has no host's end, and a driver that knows of ports does
 *        not see it
 * @port: ports 1 to @nr; copied
 *
 * The functions below are those of port 0 above for any port. A driver that takes one port only
 * leaves the others alone.
 */
int virtio_console_new_ports(const struct virtio_env *env, const struct virtio_console_io *io,
			     const struct virtio_console_port *port, unsigned int nr,
			     struct virtio_dev **out, struct err *e);
size_t virtio_console_port_input(struct virtio_dev *dev, unsigned int port, const void *buf,
				 size_t len);
void virtio_console_port_resize(struct virtio_dev *dev, unsigned int port, uint16_t cols,
				uint16_t rows);
void virtio_console_port_writable(struct virtio_dev *dev, unsigned int port);
/** virtio_console_port_open() - somebody on the host listens at a port now, or no more */
void virtio_console_port_open(struct virtio_dev *dev, unsigned int port, bool open);

struct netif;
struct vhost_net;
struct vhost_sys;
struct vhost_user;
struct vhost_vsock;

/**
 * struct virtio_vu_blk_cfg - a disk that a vhost-user back end serves
 * @path:     for messages
 * @readonly: the back end must not let the guest write
 * @no_discard: the guest must not give blocks back
 * @queues:   number of queues, 1 at least
 * @queue_size: 0: the default
 */
struct virtio_vu_blk_cfg {
	const char *path;
	bool readonly;
	bool no_discard;
	unsigned int queues;
	unsigned int queue_size;
};

/** virtio_vu_blk_new() - block device of a back end (virtio/vhost_user.h), which outlives it */
int virtio_vu_blk_new(const struct virtio_env *env, struct vhost_user *u,
		      const struct virtio_vu_blk_cfg *cfg, struct virtio_dev **out, struct err *e);
/** virtio_vu_fs_new() - file system of a back end; @tag: 36 bytes at most */
int virtio_vu_fs_new(const struct virtio_env *env, struct vhost_user *u, const char *tag,
		     struct virtio_dev **out, struct err *e);

/**
 * vhost_net_new() - let the kernel carry packets between a tap and rings
 * @sys: NULL, or who plays the kernel
 * @fd:  descriptors of /dev/vhost-net, one for each pair of @nif; belong to the caller
 */
int vhost_net_new(const struct vhost_sys *sys, const int *fd, const struct netif *nif,
		  struct vhost_net **out, struct err *e);
/** vhost_net_free() - after the device that used it; NULL is fine */
void vhost_net_free(struct vhost_net *n);
/** virtio_vhost_net_new() - network device of it; @n outlives it, and @cfg's backend is set here */
int virtio_vhost_net_new(const struct virtio_env *env, struct vhost_net *n,
			 const struct virtio_net_cfg *cfg, struct virtio_dev **out, struct err *e);
/** virtio_vu_net_new() - network device of a vhost-user back end, which outlives it; likewise */
int virtio_vu_net_new(const struct virtio_env *env, struct vhost_user *u,
		      const struct virtio_net_cfg *cfg, struct virtio_dev **out, struct err *e);

/**
 * vhost_vsock_new() - take the CID of a guest in the host's vhost-vsock
 * @sys: NULL, or who plays the kernel
 * @fd:  of /dev/vhost-vsock; belongs to the caller
 *
 * Return: 0; -EADDRINUSE: another VM has it.
 */
int vhost_vsock_new(const struct vhost_sys *sys, int fd, uint64_t cid, struct vhost_vsock **out,
		    struct err *e);
/** vhost_vsock_free() - after the device that used it; NULL is fine */
void vhost_vsock_free(struct vhost_vsock *s);
/** virtio_vhost_vsock_new() - sockets between guest and host, in the kernel; @s outlives it */
int virtio_vhost_vsock_new(const struct virtio_env *env, struct vhost_vsock *s,
			   struct virtio_dev **out, struct err *e);

/** virtio_dev_queues() - number of queues of a device */
unsigned int virtio_dev_queues(const struct virtio_dev *dev);
/**
 * struct virtio_queue_stat - a queue in numbers; see struct vq_count
 * @external: a back end outside of realmtool serves it: there is nothing to count here
 */
struct virtio_queue_stat {
	bool external;
	uint64_t requests, from_guest, to_guest, kicks, interrupts;
};
/** virtio_dev_queue_stat() - of queue @q; any thread */
void virtio_dev_queue_stat(const struct virtio_dev *dev, unsigned int q,
			   struct virtio_queue_stat *out);
/** virtio_dev_state() - the driver's state as a word: idle, running or failed; any thread */
const char *virtio_dev_state(const struct virtio_dev *dev);
/**
 * virtio_dev_stop() - stop all I/O of a device and wait for what is in flight
 *
 * The loop is not running any more. Flushed data are on the disk afterwards.
 */
void virtio_dev_stop(struct virtio_dev *dev);
/** virtio_dev_free() - free a stopped device (and its rings) */
void virtio_dev_free(struct virtio_dev *dev);

/**
 * virtio_mmio_new() - put a device behind a virtio-mmio (modern, version 2) window
 * @dev:  the device
 * @bus:  bus to register the 0x200 bytes window on
 * @base: canonical address of the window
 * @irq:  edge line; copied
 *
 * Kicks arrive through virtio_mmio_kick_fd() if the machine made an ioeventfd of it, else by the
 * QueueNotify register; both end on the loop's thread.
 */
int virtio_mmio_new(struct virtio_dev *dev, struct mmio_bus *bus, ipa_t base,
		    const struct irq_line *irq, struct virtio_mmio **out, struct err *e);
/** virtio_mmio_free() - after virtio_dev_stop() */
void virtio_mmio_free(struct virtio_mmio *t);
/** virtio_mmio_kick_fd() - eventfd of a queue: write by KVM, 4 bytes at base + 0x50, datamatch q */
int virtio_mmio_kick_fd(const struct virtio_mmio *t, unsigned int queue);

/* As in linux/virtio_mmio.h, letter for letter: both may be included. */
#define VIRTIO_MMIO_QUEUE_NOTIFY	0x050

#endif
