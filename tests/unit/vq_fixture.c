// SPDX-License-Identifier: BSD-3-Clause
#include "tests/unit/vq_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void notify(struct vq *vq)
{
	container_of(vq, struct vqf, vq)->notified++;
}

static void broken(struct vq *vq, const char *why)
{
	container_of(vq, struct vqf, vq)->broken++;
}

const struct vq_ops vqf_ops = { notify, broken };

void vqf_ready(struct vqf *f, uint16_t num, uint64_t features)
{
	f->vd.features = features;
	vd_ring_init(&f->vd, 0, num);
	vq_disable(&f->vq);
	f->notified = f->broken = 0;
	f->vq.num = num;
	f->vq.desc_addr = f->vd.ring[0].desc_ipa;
	f->vq.driver_addr = f->vd.ring[0].avail_ipa;
	f->vq.device_addr = f->vd.ring[0].used_ipa;
	assert_int_equal(vq_enable(&f->vq, features), 0);
}

unsigned int vqf_serve(struct vqf *f)
{
	struct vq_chain c;
	unsigned int n = 0;

	assert_int_equal(vq_begin(&f->vq), 0);
	for (; vq_pop(&f->vq, &c) > 0; n++)
		vq_push(&f->vq, &c.head, 0);
	vq_end(&f->vq);
	return n;
}

static int setup(void **state, bool realm, uint64_t features)
{
	struct vqf *f = calloc(1, sizeof(*f));

	vd_init(&f->vd, realm);
	vq_init(&f->vq, &vqf_ops, &f->vd.gm, "test", 0, VD_RING_MAX);
	vqf_ready(f, VQF_NUM, features | VD_F(VIRTIO_RING_F_INDIRECT_DESC));
	*state = f;
	return 0;
}

int vqf_setup(void **state)
{
	return setup(state, false, 0);
}

int vqf_setup_packed(void **state)
{
	return setup(state, false, VD_F_PACKED);
}

int vqf_setup_realm(void **state)
{
	return setup(state, true, 0);
}

int vqf_setup_realm_packed(void **state)
{
	return setup(state, true, VD_F_PACKED);
}

int vqf_teardown(void **state)
{
	struct vqf *f = *state;

	vq_destroy(&f->vq);
	vd_destroy(&f->vd);
	free(f);
	return 0;
}
