// SPDX-License-Identifier: BSD-3-Clause
/*
 * The block device, with io_uring and without. Input: what vrig_run() takes; in the beginning how
 * the disk is. Whatever the guest does, the disk keeps its size, and one that is read-only its
 * contents.
 */
#include <linux/virtio_blk.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/vrig.h"

#define SECTORS 64

struct disk {
	int fd;
	bool readonly;
	uint64_t size;
};

static struct disk disk = { .fd = -1 };

static void make(struct vrig *r, struct input *in)
{
	static const char pattern[512 * SECTORS] = { 1, 2, 3 };
	uint8_t how = in_u8(in), more = in_u8(in);
	struct virtio_blk_cfg cfg = {
		.path = "disk", .serial = "fuzz",
		.no_uring = how & 1, .readonly = how & 2, .no_discard = how & 4,
		.cache = (how >> 3 & 3) % 3, .queues = how >> 5 & 3,
		.queue_size = more & 3 ? 1 << (more & 3) * 2 : 0,
		.direct = more & 4,
	};
	struct err e;

	if (disk.fd < 0)
		disk.fd = memfd_create("disk", MFD_CLOEXEC);
	PROPERTY(disk.fd >= 0 && !ftruncate(disk.fd, 0));
	PROPERTY(pwrite(disk.fd, pattern, sizeof(pattern), 0) == sizeof(pattern));
	disk.readonly = cfg.readonly;
	disk.size = sizeof(pattern);
	cfg.fd = disk.fd;
	PROPERTY(!virtio_blk_new(&r->env, &cfg, &r->dev, &e));
}

static void gone(struct vrig *r)
{
	static uint8_t now[512 * SECTORS];
	struct stat st;

	PROPERTY(!fstat(disk.fd, &st) && (!disk.size || (uint64_t)st.st_size == disk.size));
	if (!disk.readonly || disk.size < sizeof(now))
		return;
	PROPERTY(pread(disk.fd, now, sizeof(now), 0) == sizeof(now));
	PROPERTY(now[0] == 1 && now[1] == 2 && now[2] == 3 && !now[3] &&
		 !memcmp(now + 3, now + 4, sizeof(now) - 4));
}

static size_t fill(struct vrig *r, struct input *in, unsigned int q, uint8_t *buf, size_t room)
{
	static const uint32_t types[] = {
		VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID,
		VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES, 99, VIRTIO_BLK_T_SECURE_ERASE,
	};
	uint8_t how = in_u8(in);
	struct virtio_blk_outhdr hdr = {
		.type = types[how & 7],
		.sector = how & 8 ? in_u64(in) : in_u8(in),
	};
	size_t len = sizeof(hdr), more;

	memcpy(buf, &hdr, len);
	if (how & 0x10) {		/* ranges, or data */
		struct virtio_blk_discard_write_zeroes z = {
			.sector = how & 0x20 ? in_u64(in) : in_u8(in),
			.num_sectors = how & 0x20 ? in_u32(in) : in_u8(in),
			.flags = in_u8(in) & 3,
		};

		memcpy(buf + len, &z, sizeof(z));
		len += sizeof(z);
	}
	if (how & 0x40) {
		more = in_u8(in) % (room - len);
		in_bytes(in, buf + len, more);
		len += more;
	}
	return how & 0x80 ? len - 1 : len;
}

/* The disk has another size now. */
static void host(struct vrig *r, struct input *in)
{
	uint8_t how = in_u8(in);
	uint64_t size = how % (2 * SECTORS) * UINT64_C(512);

	/* a request on its way would make the file longer again */
	if (r->dev->ops->inflight(r->dev))
		return;
	/* none is refused; it could not have been opened either */
	if (!size)
		size = 512;
	PROPERTY(!ftruncate(disk.fd, size));
	disk.size = size;
	if (how & 0x80)
		disk.size = 0;		/* nobody is told: what is written may make it longer */
	else
		PROPERTY(virtio_blk_resize(r->dev) >= 0);
	if (size < 512 * SECTORS)
		disk.readonly = false;		/* its contents are no more the pattern */
}

static const struct vrig_kind kind = { .make = make, .fill = fill, .host = host, .gone = gone };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	vrig_run(&kind, data, size);
	return 0;
}

void fuzz_seeds(void)
{
	static const uint16_t sector[] = { 512, 0 }, status[] = { 1, 0 }, none[] = { 0 };
	static const uint16_t read[] = { 512, 4096, 1, 0 }, bytes[] = { 20, 1, 0 };
	static const uint8_t hows[] = { 0x00, 0x01, 0x02, 0x04, 0x08, 0x51, 0x11, 0x40 };
	struct vrig_seed s;
	char name[] = "a";

	for (unsigned int i = 0; i < ARRAY_SIZE(hows); i++, name[0]++) {
		vrig_seed_start(&s, i & 1, i & 2, (uint8_t[]){ hows[i], i & 7 }, 2);
		for (uint8_t t = 0; t < 8; t++) {
			const uint8_t head[] = { t, 2 };

			vrig_seed_chain(&s, 0, head, 2, t == 1 ? sector : none,
				       t == 0 ? read : t == 3 ? bytes : status);
			if (t == 3 || t == 7)
				vrig_seed_kick(&s, 0);
		}
		vrig_seed_wait(&s);
		/* discard and zeroes: one range each, the second with "unmap" */
		vrig_seed_chain(&s, 0, (uint8_t[]){ 0x14, 0, 4, 8, 0 }, 5, none, status);
		vrig_seed_chain(&s, 0, (uint8_t[]){ 0x15, 0, 8, 8, 1 }, 5, none, status);
		vrig_seed_chain(&s, 0, (uint8_t[]){ 0x15, 0, 16, 8, 0 }, 5, none, status);
		vrig_seed_kick(&s, 0);
		vrig_seed_wait(&s);
		vrig_seed_config(&s, offsetof(struct virtio_blk_config, wce), i & 1);
		vrig_seed_private(&s, 40 + i, true);
		vrig_seed_chain(&s, 0, (uint8_t[]){ 0, 1 }, 2, none, read);
		vrig_seed_chain(&s, 0, (uint8_t[]){ 1, 1 }, 2, sector, status);
		vrig_seed_kick(&s, 0);
		vrig_seed_host(&s, (uint8_t[]){ i & 1 ? 100 : 0x81 }, 1);
		vrig_seed_chain(&s, 0, (uint8_t[]){ 0, 1 }, 2, none, read);
		vrig_seed_kick(&s, 0);
		vrig_seed_wait(&s);
		vrig_seed_restart(&s, RIG_F(VIRTIO_BLK_F_FLUSH) | RIG_F(VIRTIO_BLK_F_CONFIG_WCE));
		vrig_seed_chain(&s, 0, (uint8_t[]){ 1, 1 }, 2, sector, status);
		vrig_seed_kick(&s, 0);
		vrig_seed_wait(&s);
		vrig_seed_rest(&s);
		vrig_seed_end(&s, name);
	}
}
