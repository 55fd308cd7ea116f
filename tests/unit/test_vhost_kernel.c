// SPDX-License-Identifier: BSD-3-Clause
/*
 * Devices on the kernel's vhost, which is played here: what it is told, in which order, and what
 * becomes of a device whose kernel says no.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/vhost.h>
#include <linux/virtio_net.h>

#include "tests/unit/vdriver.h"
#include "virtio/netif.h"
#include "virtio/vhost_kernel.h"

#define FDS	8		/* descriptors 100 to 107 are /dev/vhost-* */
#define FIRST	100
#define FEATURES (VD_F_ALL | VD_F(VHOST_F_LOG_ALL) | VD_F(VHOST_NET_F_VIRTIO_NET_HDR) | \
		  VD_F(VIRTIO_NET_F_MRG_RXBUF))

/* One open file of the kernel's. */
struct file {
	bool owned;
	uint64_t features, offered, cid;
	int running;
	unsigned int nr_regions;
	struct vhost_memory_region region[32];
	struct {
		unsigned int num, base;
		struct vhost_vring_addr addr;
		int kick, call, err, backend;
	} ring[2];
};

static struct file files[FDS];
static unsigned long refuse;
static int refuse_with;

static int kernel(int fd, unsigned long request, void *arg)
{
	struct file *f = &files[fd - FIRST];
	struct vhost_vring_file *vf = arg;
	struct vhost_vring_state *vs = arg;
	struct vhost_vring_addr *va = arg;
	struct vhost_memory *m = arg;

	assert_in_range(fd, FIRST, FIRST + FDS - 1);
	if (request == refuse)
		return refuse_with;
	if (request != VHOST_SET_OWNER && request != VHOST_GET_FEATURES && !f->owned)
		return -EPERM;
	switch (request) {
	case VHOST_SET_OWNER:
		if (f->owned)
			return -EBUSY;
		f->owned = true;
		return 0;
	case VHOST_GET_FEATURES:
		*(uint64_t *)arg = f->offered;
		return 0;
	case VHOST_SET_FEATURES:
		f->features = *(uint64_t *)arg;
		return f->features & ~f->offered ? -EOPNOTSUPP : 0;
	case VHOST_SET_MEM_TABLE:
		assert_in_range(m->nregions, 1, 32);
		f->nr_regions = m->nregions;
		memcpy(f->region, m->regions, m->nregions * sizeof(m->regions[0]));
		return 0;
	case VHOST_SET_VRING_NUM:
		f->ring[vs->index].num = vs->num;
		return 0;
	case VHOST_SET_VRING_BASE:
		f->ring[vs->index].base = vs->num;
		return 0;
	case VHOST_SET_VRING_ADDR:
		f->ring[va->index].addr = *va;
		return 0;
	case VHOST_SET_VRING_KICK:
		f->ring[vf->index].kick = vf->fd;
		return 0;
	case VHOST_SET_VRING_CALL:
		f->ring[vf->index].call = vf->fd;
		return 0;
	case VHOST_SET_VRING_ERR:
		f->ring[vf->index].err = vf->fd;
		return 0;
	case VHOST_NET_SET_BACKEND:
		/* with all of the ring set, or to let go of it */
		assert_true(vf->fd == -1 || (f->ring[vf->index].addr.desc_user_addr &&
					     f->ring[vf->index].kick >= 0));
		f->ring[vf->index].backend = vf->fd;
		return 0;
	case VHOST_VSOCK_SET_GUEST_CID:
		f->cid = *(uint64_t *)arg;
		return 0;
	case VHOST_VSOCK_SET_RUNNING:
		f->running = *(int *)arg;
		for (int i = 0; i < 2 && f->running; i++)
			assert_true(f->ring[i].addr.desc_user_addr && f->ring[i].kick >= 0);
		return 0;
	}
	fail_msg("request %#lx", request);
	return 0;
}

static const struct vhost_sys sys = { kernel };

static int setup_common(void **state, bool realm)
{
	struct vdriver *vd = malloc(sizeof(*vd));

	vd_init(vd, realm);
	vd->env.alias = realm ? VD_SHARED : 0;
	vd->env.packed = true;		/* of which the kernel knows nothing */
	memset(files, 0, sizeof(files));
	for (int i = 0; i < FDS; i++) {
		files[i].offered = FEATURES;
		for (int r = 0; r < 2; r++)
			files[i].ring[r].backend = files[i].ring[r].kick = -1;
	}
	refuse = 0;
	*state = vd;
	return 0;
}

static int setup(void **state)
{
	return setup_common(state, false);
}

static int setup_realm(void **state)
{
	return setup_common(state, true);
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static struct vhost_vsock *vsock(struct vdriver *vd)
{
	struct vhost_vsock *s;
	struct virtio_dev *dev;
	struct err e;

	assert_int_equal(vhost_vsock_new(&sys, FIRST, 77, &s, &e), 0);
	assert_int_equal(virtio_vhost_vsock_new(&vd->env, s, &dev, &e), 0);
	vd_attach(vd, dev);
	return s;
}

static void poke(int fd)
{
	uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static void sockets(void **state)
{
	struct vdriver *vd = *state;
	struct vhost_vsock *s = vsock(vd);
	struct file *f = &files[0];
	uint64_t offers = vd_features(vd);

	assert_int_equal(f->cid, 77);
	assert_int_equal(vd_get(vd, VIRTIO_MMIO_DEVICE_ID), 19);
	assert_int_equal(vd_access(vd, VIRTIO_MMIO_CONFIG, 0, 4, false), 77);
	assert_true(offers & VD_F(VIRTIO_F_ACCESS_PLATFORM));
	assert_false(offers & (VD_F(VHOST_F_LOG_ALL) | VD_F(VHOST_NET_F_VIRTIO_NET_HDR) |
			       VD_F(VIRTIO_F_RING_PACKED)));
	for (int boot = 0; boot < 2; boot++) {
		vd_start(vd, VD_F_ALL, 3, 64);
		assert_false(vd_get(vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
		assert_int_equal(f->features, VD_F_ALL & ~VD_F(VIRTIO_F_ACCESS_PLATFORM));
		assert_int_equal(f->running, 1);
		assert_int_equal(f->nr_regions, 2);
		assert_int_equal(f->region[0].guest_phys_addr, VD_RAM);
		assert_int_equal(f->region[0].userspace_addr, (uintptr_t)vd->ram);
		assert_int_equal(f->ring[1].num, 64);
		assert_int_equal(f->ring[1].addr.desc_user_addr, (uintptr_t)vd->ring[1].desc);
		assert_int_equal(f->ring[1].addr.avail_user_addr, (uintptr_t)vd->ring[1].avail);
		assert_int_equal(f->ring[1].addr.used_user_addr, (uintptr_t)vd->ring[1].used);
		/* kicks go there, what it calls comes out as an interrupt */
		assert_int_equal(f->ring[0].kick, virtio_mmio_kick_fd(vd->mmio, 0));
		vd->irqs = 0;
		poke(f->ring[1].call);
		vd_pump(vd, 20);
		assert_int_equal(vd->irqs, 1);
		vd_set(vd, VIRTIO_MMIO_STATUS, 0);
		assert_int_equal(f->running, 0);
		assert_int_equal(f->ring[0].kick, -1);
		assert_int_equal(f->ring[0].call, -1);
	}
	vd_destroy(vd);
	vhost_vsock_free(s);
}

static void sockets_in_a_realm(void **state)
{
	struct vdriver *vd = *state;
	struct vhost_vsock *s = vsock(vd);
	struct file *f = &files[0];

	vd_start(vd, VD_F_ALL, 3, 64);
	assert_int_equal(f->nr_regions, 4);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(f->region[i].guest_phys_addr,
				 (i & 1 ? VD_RAM2 : VD_RAM) | (i & 2 ? VD_SHARED : 0));
		assert_int_equal(f->region[i].userspace_addr,
				 (uintptr_t)vd->ram + (i & 1 ? VD_RAM_SIZE : 0));
	}
	assert_int_equal(f->ring[1].addr.desc_user_addr, (uintptr_t)vd->ring[1].desc);
	vd_set(vd, VIRTIO_MMIO_STATUS, 0);

	/* a ring that is private is given to nobody */
	vd->private_base = vd->ring[1].avail_ipa;
	vd->private_len = 0x1000;
	f->ring[1].addr.desc_user_addr = 0;
	vd_start(vd, VD_F_ALL, 3, 64);
	assert_true(vd_get(vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(f->running, 0);
	assert_int_equal(f->ring[1].addr.desc_user_addr, 0);
	vd_destroy(vd);
	vhost_vsock_free(s);
}

static void it_complains(void **state)
{
	struct vdriver *vd = *state;
	struct vhost_vsock *s = vsock(vd);

	vd_start(vd, VD_F_ALL, 3, 64);
	poke(files[0].ring[0].err);
	vd_pump(vd, 20);
	assert_true(vd_get(vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	vd_set(vd, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(files[0].running, 0);
	vd_destroy(vd);
	vhost_vsock_free(s);
}

static void refusals(void **state)
{
	static const unsigned long at[] = {
		VHOST_SET_FEATURES, VHOST_SET_MEM_TABLE, VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE,
		VHOST_SET_VRING_ADDR, VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR,
		VHOST_SET_VRING_KICK, VHOST_VSOCK_SET_RUNNING,
	};
	struct vdriver *vd = *state;
	struct vhost_vsock *s;
	struct err e;

	refuse = VHOST_SET_OWNER;
	refuse_with = -EBUSY;
	assert_int_equal(vhost_vsock_new(&sys, FIRST, 77, &s, &e), -EBUSY);
	refuse = VHOST_VSOCK_SET_GUEST_CID;
	refuse_with = -EADDRINUSE;
	assert_int_equal(vhost_vsock_new(&sys, FIRST, 77, &s, &e), -EADDRINUSE);
	assert_non_null(strstr(e.msg, "give another"));
	memset(&files[0].owned, 0, sizeof(files[0].owned));
	refuse = 0;
	s = vsock(vd);
	refuse_with = -EFAULT;
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		refuse = at[i];
		vd_start(vd, VD_F_ALL, 3, 64);
		assert_true(vd_get(vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
		refuse = 0;
		vd_set(vd, VIRTIO_MMIO_STATUS, 0);
		vd_start(vd, VD_F_ALL, 3, 64);
		assert_false(vd_get(vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
		assert_int_equal(files[0].running, 1);
		vd_set(vd, VIRTIO_MMIO_STATUS, 0);
	}
	vd_destroy(vd);
	vhost_vsock_free(s);
}

static int no_ctl(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	(void)arg;
	return 0;
}

static void network(void **state)
{
	static const int fds[] = { FIRST, FIRST + 1 };
	struct netif nif = {
		.kind = NETIF_TAP,
		.name = "tap",
		.pairs = 2,
		.fd = { 900, 901 },
		.features = VD_F(VIRTIO_NET_F_CSUM),
		.ctl = no_ctl,
	};
	struct vdriver *vd = *state;
	struct virtio_net_cfg cfg = { .name = "net", .nif = &nif, .mac = { 2 }, .pairs = 2 };
	uint64_t want = VD_F_ALL | VD_F(VIRTIO_NET_F_MQ) | VD_F(VIRTIO_NET_F_CTRL_VQ) |
			VD_F(VIRTIO_NET_F_MRG_RXBUF) | VD_F(VIRTIO_NET_F_CSUM);
	struct virtio_dev *dev;
	struct vhost_net *n;
	struct err e;

	assert_int_equal(vhost_net_new(&sys, fds, &nif, &n, &e), 0);
	assert_int_equal(virtio_vhost_net_new(&vd->env, n, &cfg, &dev, &e), 0);
	vd_attach(vd, dev);
	assert_int_equal(vd_features(vd) & want, want);
	vd_start(vd, want, 5, 64);
	assert_false(vd_get(vd, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(files[i].features, (VD_F_ALL & ~VD_F(VIRTIO_F_ACCESS_PLATFORM)) |
				 VD_F(VIRTIO_NET_F_MRG_RXBUF));
		for (int r = 0; r < 2; r++) {
			assert_int_equal(files[i].ring[r].backend, nif.fd[i]);
			assert_int_equal(files[i].ring[r].kick,
					 virtio_mmio_kick_fd(vd->mmio, 2 * i + r));
			assert_int_equal(files[i].ring[r].addr.desc_user_addr,
					 (uintptr_t)vd->ring[2 * i + r].desc);
		}
	}
	vd_set(vd, VIRTIO_MMIO_STATUS, 0);
	for (int i = 0; i < 2; i++)
		for (int r = 0; r < 2; r++)
			assert_int_equal(files[i].ring[r].backend, -1);
	vd_destroy(vd);
	vhost_net_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sockets, setup, teardown),
		cmocka_unit_test_setup_teardown(sockets_in_a_realm, setup_realm, teardown),
		cmocka_unit_test_setup_teardown(it_complains, setup, teardown),
		cmocka_unit_test_setup_teardown(refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(network, setup, teardown),
	};

	log_set_level(getenv("V") ? LOG_DEBUG : -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
