// SPDX-License-Identifier: BSD-3-Clause
/*
 * What a PCI device and its driver in the kernel say of themselves, for libFuzzer: clang
 * -fsanitize=fuzzer,address,undefined with librealmtool.a, tests/fakevfio/fake_dev.c,
 * tests/fakekvm/ and tests/unit/pbus.c. Input: 64 bytes of regions and interrupts, then
 * configuration space from its beginning, then bytes behind a region's description.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fakevfio/fake_dev.h"
#include "tests/unit/pbus.h"
#include "vfio/pci.h"
#include "vmm/core/log.h"

#define HEAD	64
#define CAPS	128

static unsigned int slots;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int map_bar(void *ctx, ipa_t ipa, uint64_t size, void *host, unsigned int *slot)
{
	/* all of it is there, and it is pages */
	if ((ipa | size | (uintptr_t)host) % 4096 || !size)
		abort();
	*slot = slots++;
	return 0;
}

static void unmap_bar(void *ctx, unsigned int slot)
{
}

static void failed(void *ctx, const char *why)
{
}

/* The list ends, and lies where it may. */
static void walk(struct pbus *pb)
{
	unsigned int at = pb_cfg(pb, 8, PCI_CAPABILITY_LIST, 1), n = 0;

	for (; at; at = pb_cfg(pb, 8, at + 1, 1))
		if (at < PCI_STD_HEADER_SIZEOF || ++n > 48)
			abort();
	for (at = 0x100, n = 0; at; at = pb_cfg(pb, 8, at, 4) >> 20)
		if (at < 0x100 || at % 4 || ++n > 961)
			abort();
}

static void describe(struct fake_dev *f, const uint8_t *head)
{
	for (unsigned int bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		const uint8_t *h = head + 4 * bar;

		if (h[0] & 1)
			fake_dev_bar(f, bar, (UINT64_C(1) << h[1] % 24) + (h[0] & 2 ? h[2] : 0),
				     0, h[3] & 7);
	}
	if (head[24] & 1)
		fake_dev_rom(f, 1 << (11 + head[25] % 4), head[24] & 2);
	for (unsigned int i = 0; i <= VFIO_PCI_MSIX_IRQ_INDEX; i++)
		fake_dev_irqs(f, i, head[32 + i], head[36 + i] & 0xf);
	f->can_reset = !(head[40] & 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vfio_pci_cfg cfg;
	static struct fake_dev f;
	static struct pbus pb;
	uint8_t head[HEAD] = { 0 }, caps[CAPS];
	struct vfio_pci_env env = {
		.host = &pb.host,
		.msi = &pb.msi,
		.kvm = &pb.kvm,
		.map_bar = map_bar,
		.unmap_bar = unmap_bar,
		.failed = failed,
	};
	struct vfio_device dev;
	struct vfio_pci *p;
	struct loop loop;
	struct err e;
	size_t n = MIN(size, (size_t)HEAD);

	log_set_level(LOG_ERROR - 1);
	memcpy(head, data, n);
	data += n;
	size -= n;
	pb_init(&pb, false, 1);
	if (loop_init(&loop, &e) < 0)
		abort();
	env.loop = &loop;
	fake_dev_init(&f, "0000:00:04.0", 0x1234, 1, 0xff0000);
	describe(&f, head);
	n = MIN(size, sizeof(f.cfg));
	f.cfg_size = n > 256 ? 4096 : 256;
	f.region[VFIO_PCI_CONFIG_REGION_INDEX].size = f.cfg_size;
	memcpy(f.cfg, data, n);
	if (head[40] & 2)
		f.cfg[PCI_HEADER_TYPE] = 0;
	memset(f.wmask, head[41], sizeof(f.wmask));
	fake_dev_sealed(&f);
	data += n;
	size = MIN(size - n, sizeof(caps));
	memcpy(caps, data, size);
	if (size && head[40] & 4) {
		f.region[head[42] % 6].caps = caps;
		f.region[head[42] % 6].caps_len = size;
	}
	fake_dev_open(&f, &dev);
	if (!vfio_pci_new(&dev, &cfg, &env, &p, &e)) {
		walk(&pb);
		pb_set_cfg(&pb, 8, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
		for (unsigned int off = 0; off < 4096; off += 4)
			pb_set_cfg(&pb, 8, off, pb_cfg(&pb, 8, off, 4) ^ head[off / 4 % HEAD], 4);
		walk(&pb);
	} else if (!e.code || !e.msg[0] || strchr(e.msg, '\n')) {
		abort();
	}
	vfio_pci_free(p);
	fake_dev_destroy(&f);
	loop_destroy(&loop);
	pb_destroy(&pb);
	return 0;
}
