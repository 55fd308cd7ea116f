// SPDX-License-Identifier: BSD-3-Clause
#include "tests/unit/unit.h"

#include <linux/pci_regs.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/vrig.h"
#include "tests/unit/pbus.h"
#include "virtio/pci.h"

#define FENCE		UINT64_C(0x10000)	/* around RAM */
#define MAX_ACTIONS	128
#define QUEUE_RESET	0x0c0			/* virtio-mmio, virtio 1.2 */
#define PCI_QUEUE_RESET	0x3a			/* virtio-pci, likewise */
#define BAR_AT		(MAP_PCI_MEM_BASE)

enum action {
	CHAIN, KICK, PUMP, HOST, WAIT, REGISTER, POKE, CONVERT, CONFIG, RESTART, QUEUE,
	NOTHING_MORE, ACTIONS
};

/* ---- memory ---- */

static uint8_t *ram;
static int ram_fd[2];

/* Of files, as a vhost-user back end wants it, side by side, so that buffers can straddle them. */
static void make_memory(void)
{
	const uint64_t size[] = { RIG_RAM_SIZE, RIG_RAM2_SIZE };
	uint8_t *map, *at;

	map = mmap(NULL, RIG_SIZE + 2 * FENCE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	PROPERTY(map != MAP_FAILED);
	ram = at = map + FENCE;
	for (unsigned int i = 0; i < 2; i++) {
		ram_fd[i] = memfd_create("ram", MFD_CLOEXEC);
		PROPERTY(ram_fd[i] >= 0 && !ftruncate(ram_fd[i], size[i]));
		PROPERTY(mmap(at, size[i], PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			      ram_fd[i], 0) == at);
		at += size[i];
	}
}

static ipa_t canonical(const void *ctx, ipa_t ipa)
{
	return ipa & ~RIG_SHARED;
}

static bool shared(const void *ctx, ipa_t ipa, uint64_t len)
{
	const struct vrig *r = ctx;

	PROPERTY(ipa >= RIG_RAM && len && len <= RIG_SIZE && ipa - RIG_RAM <= RIG_SIZE - len);
	ipa -= RIG_RAM;
	for (uint64_t p = ipa / RIG_PAGE; p <= (ipa + len - 1) / RIG_PAGE; p++)
		if (r->is_private[p])
			return false;
	return true;
}

void vrig_memory(struct vrig *r, bool realm)
{
	struct err e;

	r->realm = realm;
	if (!ram)
		make_memory();
	r->ram = ram;
	memset(r->ram, 0, RIG_SIZE);
	PROPERTY(!gmem_init(&r->gm, &e) && !loop_init(&r->loop, &e));
	PROPERTY(!gmem_add(&r->gm, RIG_RAM, RIG_RAM_SIZE, ram, ram_fd[0], &e));
	PROPERTY(!gmem_add(&r->gm, RIG_RAM2, RIG_RAM2_SIZE, ram + RIG_RAM_SIZE, ram_fd[1], &e));
	if (realm)
		gmem_set_guard(&r->gm, &(struct gmem_guard){ canonical, shared, r });
}

void vrig_memory_end(struct vrig *r)
{
	bool any = false;

	PROPERTY(!r->gm.pins);		/* each request gave its memory back */
	loop_destroy(&r->loop);
	gmem_destroy(&r->gm);
	for (unsigned int i = 0; i < RIG_PAGES; i++)
		any |= r->is_private[i];
	if (any)
		PROPERTY(!mprotect(r->ram, RIG_SIZE, PROT_READ | PROT_WRITE));
}

void vrig_put(struct vrig *r, ipa_t ipa, const void *buf, size_t len)
{
	uint64_t off = (ipa & ~RIG_SHARED) - RIG_RAM;

	if (!len || off >= RIG_SIZE || len > RIG_SIZE - off)
		return;
	for (uint64_t p = off / RIG_PAGE; p <= (off + len - 1) / RIG_PAGE; p++)
		if (r->is_private[p])
			return;
	memcpy(r->ram + off, buf, len);
}

/* As a conversion does it (ARCHITECTURE.md); what cannot be drained stays as it was. */
void vrig_convert(struct vrig *r, unsigned int page, bool private)
{
	uint8_t *host;
	int ret;

	page %= RIG_PAGES;
	host = r->ram + page * RIG_PAGE;
	if (!r->realm || r->is_private[page] == private)
		return;
	if (!private) {
		PROPERTY(!mprotect(host, RIG_PAGE, PROT_READ | PROT_WRITE));
		memset(host, 0, RIG_PAGE);
	}
	gmem_exclude(&r->gm);
	r->is_private[page] = private;
	gmem_admit(&r->gm);
	if (!private)
		return;
	ret = gmem_drain(&r->gm, RIG_RAM + page * RIG_PAGE, RIG_PAGE, 0);
	if (ret < 0) {
		gmem_exclude(&r->gm);
		r->is_private[page] = false;
		gmem_admit(&r->gm);
		return;
	}
	PROPERTY(!mprotect(host, RIG_PAGE, PROT_NONE));
}

uint64_t vrig_access(struct vrig *r, ipa_t ipa, uint64_t val, unsigned int len, bool write)
{
	uint8_t data[8];
	uint64_t out = 0;

	memcpy(data, &val, sizeof(data));
	if (!mmio_access(r->bus, ipa, data, len, write))
		return 0;
	memcpy(&out, data, len);
	return out;
}

/* A guest whose rings overlap can keep its device busy for ever; its loop does not mind. */
void vrig_pump(struct vrig *r)
{
	for (int i = 0; i < 16 && loop_once(&r->loop, 0) > 0; i++)
		;
}

/* ---- rings ---- */

static ipa_t to_device(const struct vrig *r, ipa_t ipa)
{
	return r->realm ? ipa | RIG_SHARED : ipa;
}

void vrig_lay(struct vrig *r, unsigned int q, uint16_t num)
{
	static const uint8_t none[RIG_RING];
	ipa_t base = RIG_RAM + q * RIG_RING;

	r->ring[q] = (struct vrig_ring){
		.desc = base, .driver = base + 0x1000, .device = base + 0x1800, .num = num,
	};
	for (unsigned int i = 0; i < RIG_RING; i += RIG_PAGE)
		vrig_put(r, base + i, none, RIG_PAGE);
}

struct seg {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
};

static void put_split(struct vrig *r, struct vrig_ring *g, const struct seg *s, unsigned int nr)
{
	uint16_t head = g->free % g->num;

	for (unsigned int i = 0; i < nr; i++) {
		struct vring_desc d = { s[i].addr, s[i].len, s[i].flags, (g->free + 1) % g->num };

		vrig_put(r, g->desc + 16 * (g->free++ % g->num), &d, sizeof(d));
	}
	vrig_put(r, g->driver + 4 + 2 * (g->avail++ % g->num), &head, 2);
	vrig_put(r, g->driver + 2, &g->avail, 2);
}

static void put_packed(struct vrig *r, struct vrig_ring *g, const struct seg *s, unsigned int nr)
{
	uint16_t id = g->free++ % g->num;

	for (unsigned int i = nr; i-- > 0;) {
		uint32_t pos = (g->next + i) % (2 * g->num);
		struct vring_packed_desc d = { s[i].addr, s[i].len, id, s[i].flags };

		d.flags |= pos < g->num ? 1 << VRING_PACKED_DESC_F_AVAIL :
					  1 << VRING_PACKED_DESC_F_USED;
		vrig_put(r, g->desc + 16 * (pos % g->num), &d, sizeof(d));
	}
	g->next = (g->next + nr) % (2 * g->num);
}

/* Mostly where memory is, sometimes at its edges, sometimes anywhere. */
static struct seg segment(struct vrig *r, struct input *in)
{
	static const ipa_t edges[] = {
		RIG_RAM, RIG_RAM2, RIG_RAM + RIG_SIZE, 0, UINT64_MAX, RIG_SHARED, RIG_RAM + 0x4000,
		UINT64_C(1) << 63,
	};
	uint8_t how = in_u8(in);
	struct seg s = { .flags = how & 1 ? VRING_DESC_F_WRITE : 0 };

	s.len = in_u16(in);
	switch (how >> 1 & 7) {
	case 5:
		s.addr = in_u64(in);
		s.len = in_u32(in);
		break;
	case 6:
		s.addr = edges[in_u8(in) % ARRAY_SIZE(edges)] + (int8_t)in_u8(in);
		break;
	default:
		s.addr = to_device(r, RIG_DATA + in_u16(in) % (RIG_DATA_SIZE / 16) * 16);
		break;
	}
	if (how & 0x10)
		s.addr += how >> 5;
	return s;
}

void vrig_chain(struct vrig *r, struct input *in, unsigned int q, const uint8_t *head, size_t len)
{
	struct vrig_ring *g = &r->ring[q];
	uint8_t shape = in_u8(in);
	unsigned int nr = shape & 7, n = 0;
	struct seg s[9];
	ipa_t head_at = RIG_DATA + in_u8(in) * UINT64_C(64);

	if (!g->num)
		return;
	if (len) {
		vrig_put(r, head_at, head, len);
		s[n++] = (struct seg){ to_device(r, head_at), len, 0 };
		/* the head in two pieces */
		if (shape & 0x08 && len > 1) {
			s[0].len = len / 2;
			s[n++] = (struct seg){ to_device(r, head_at + len / 2), len - len / 2, 0 };
		}
	}
	for (unsigned int i = 0; i < nr && n < ARRAY_SIZE(s); i++)
		s[n++] = segment(r, in);
	if (!n)
		return;
	for (unsigned int i = 0; i + 1 < n; i++)
		s[i].flags |= VRING_DESC_F_NEXT;
	if (shape & 0x10)		/* a bit that does not belong there */
		s[in_u8(in) % n].flags ^= in_u8(in);
	if (shape & 0x20) {
		ipa_t table = RIG_DATA + in_u16(in) % (RIG_DATA_SIZE / 16 - 16) * 16;

		for (unsigned int i = 0; i < n; i++) {
			struct vring_desc d = { s[i].addr, s[i].len, s[i].flags, i + 1 };
			struct vring_packed_desc p = {
				s[i].addr, s[i].len, 0, s[i].flags & ~VRING_DESC_F_NEXT,
			};

			vrig_put(r, table + 16 * i, r->packed ? (void *)&p : (void *)&d, 16);
		}
		s[0] = (struct seg){ to_device(r, table), 16 * n, VRING_DESC_F_INDIRECT };
		n = 1;
	}
	if (r->packed)
		put_packed(r, g, s, n);
	else
		put_split(r, g, s, n);
}

void vrig_poke(struct vrig *r, struct input *in)
{
	uint16_t where = in_u16(in);
	uint8_t buf[16];
	size_t len = in_u8(in) % 16 + 1;
	unsigned int q = where >> 12 & 3;

	in_bytes(in, buf, len);
	/* three times out of four a ring; its first entries and its indices for preference */
	switch (where >> 14) {
	case 0:
		vrig_put(r, RIG_RAM + q * RIG_RING + where % 256, buf, len);
		break;
	case 1:
		vrig_put(r, RIG_RAM + q * RIG_RING + 0x1000 + where % 64, buf, len);
		break;
	case 2:
		vrig_put(r, RIG_RAM + q * RIG_RING + 0x1800 + where % 64, buf, len);
		break;
	default:
		vrig_put(r, RIG_RAM + (where & 0x3fff) * UINT64_C(16), buf, len);
		break;
	}
}

/* ---- registers ---- */

static ipa_t common(unsigned int off)
{
	return BAR_AT + VIRTIO_PCI_COMMON_OFF + off;
}

static uint32_t mmio_get(struct vrig *r, unsigned int off)
{
	return vrig_access(r, RIG_WINDOW + off, 0, 4, false);
}

static void mmio_set(struct vrig *r, unsigned int off, uint32_t val)
{
	vrig_access(r, RIG_WINDOW + off, val, 4, true);
}

static void set_status(struct vrig *r, uint8_t status)
{
	if (r->kind->pci)
		vrig_access(r, common(VIRTIO_PCI_COMMON_STATUS), status, 1, true);
	else
		mmio_set(r, VIRTIO_MMIO_STATUS, status);
}

static uint8_t get_status(struct vrig *r)
{
	if (r->kind->pci)
		return vrig_access(r, common(VIRTIO_PCI_COMMON_STATUS), 0, 1, false);
	return mmio_get(r, VIRTIO_MMIO_STATUS);
}

static uint64_t offered(struct vrig *r)
{
	uint64_t f = 0;

	for (unsigned int i = 0; i < 2; i++) {
		if (r->kind->pci) {
			vrig_access(r, common(VIRTIO_PCI_COMMON_DFSELECT), i, 4, true);
			f |= vrig_access(r, common(VIRTIO_PCI_COMMON_DF), 0, 4, false) << 32 * i;
		} else {
			mmio_set(r, VIRTIO_MMIO_DEVICE_FEATURES_SEL, i);
			f |= (uint64_t)mmio_get(r, VIRTIO_MMIO_DEVICE_FEATURES) << 32 * i;
		}
	}
	return f;
}

static void accept_features(struct vrig *r, uint64_t f)
{
	for (unsigned int i = 0; i < 2; i++) {
		if (r->kind->pci) {
			vrig_access(r, common(VIRTIO_PCI_COMMON_GFSELECT), i, 4, true);
			vrig_access(r, common(VIRTIO_PCI_COMMON_GF), f >> 32 * i, 4, true);
		} else {
			mmio_set(r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
			mmio_set(r, VIRTIO_MMIO_DRIVER_FEATURES, f >> 32 * i);
		}
	}
}

static void place(struct vrig *r, unsigned int q, unsigned int off, uint64_t addr)
{
	unsigned int reg = r->kind->pci ? VIRTIO_PCI_COMMON_Q_DESCLO + 8 * off :
					  VIRTIO_MMIO_QUEUE_DESC_LOW + 16 * off;

	vrig_access(r, r->kind->pci ? common(reg) : RIG_WINDOW + reg, addr, 4, true);
	vrig_access(r, (r->kind->pci ? common(reg) : RIG_WINDOW + reg) + 4, addr >> 32, 4, true);
}

static void set_queue(struct vrig *r, unsigned int q, bool on)
{
	const struct vrig_ring *g = &r->ring[q];

	if (r->kind->pci) {
		vrig_access(r, common(VIRTIO_PCI_COMMON_Q_SELECT), q, 2, true);
		vrig_access(r, common(VIRTIO_PCI_COMMON_Q_MSIX), q, 2, true);
		vrig_access(r, common(VIRTIO_PCI_COMMON_Q_SIZE), g->num, 2, true);
	} else {
		mmio_set(r, VIRTIO_MMIO_QUEUE_SEL, q);
		mmio_set(r, VIRTIO_MMIO_QUEUE_NUM, g->num);
	}
	place(r, q, 0, to_device(r, g->desc));
	place(r, q, 1, to_device(r, g->driver));
	place(r, q, 2, to_device(r, g->device));
	if (r->kind->pci)
		vrig_access(r, common(VIRTIO_PCI_COMMON_Q_ENABLE), on, 2, true);
	else
		mmio_set(r, VIRTIO_MMIO_QUEUE_READY, on);
}

static void reset_queue(struct vrig *r, unsigned int q)
{
	if (r->kind->pci) {
		vrig_access(r, common(VIRTIO_PCI_COMMON_Q_SELECT), q, 2, true);
		vrig_access(r, common(PCI_QUEUE_RESET), 1, 2, true);
	} else {
		mmio_set(r, VIRTIO_MMIO_QUEUE_SEL, q);
		mmio_set(r, QUEUE_RESET, 1);
	}
}

static void kick(struct vrig *r, unsigned int q)
{
	if (r->kind->pci)
		vrig_access(r, BAR_AT + VIRTIO_PCI_NOTIFY_OFF + q * VIRTIO_PCI_NOTIFY_STEP, q, 2,
			    true);
	else
		mmio_set(r, VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

static void map_registers(struct vrig *r)
{
	pb_set_cfg(r->pb, 8, PCI_BASE_ADDRESS_0, BAR_AT, 4);
	pb_set_cfg(r->pb, 8, PCI_BASE_ADDRESS_1, 0, 4);
	pb_set_cfg(r->pb, 8, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
}

static void start(struct vrig *r, uint64_t decline, unsigned int q_bits, uint16_t num)
{
	uint8_t s = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	/* wherever the driver had moved its registers */
	if (r->pb)
		map_registers(r);
	set_status(r, 0);
	PROPERTY(!get_status(r));
	set_status(r, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	set_status(r, s);
	r->accepted = offered(r) & ~decline;
	accept_features(r, r->accepted);
	set_status(r, s | VIRTIO_CONFIG_S_FEATURES_OK);
	r->packed = r->accepted & RIG_F(VIRTIO_F_RING_PACKED);
	for (unsigned int q = 0; q < r->nr_queues; q++) {
		vrig_lay(r, q, num);
		if (!(q_bits >> q & 1))
			set_queue(r, q, true);
	}
	set_status(r, s | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
	/* A realm's driver that declines the IOMMU's bit is refused. */
	PROPERTY(!r->realm || (r->accepted & RIG_F(VIRTIO_F_ACCESS_PLATFORM)) ||
		 !(get_status(r) & VIRTIO_CONFIG_S_FEATURES_OK));
}

static void restart(struct vrig *r, struct input *in)
{
	static const uint16_t sizes[] = { 16, 4, 64, 1, 128, 3, 0, 16 };
	uint8_t how = in_u8(in);
	uint64_t decline = RIG_F(VIRTIO_F_RING_PACKED), must;
	unsigned int bits = how & 0x10 ? in_u16(in) : 0;

	/* Features that nothing works without are declined with a bit of their own. */
	must = RIG_F(VIRTIO_F_VERSION_1) | RIG_F(VIRTIO_F_ACCESS_PLATFORM);
	if (how & 0x08)
		decline = 0;
	if (how & 0x20)
		decline |= in_u64(in) & (how & 0x40 ? UINT64_MAX : ~must);
	start(r, decline, bits, sizes[how & 7]);
}

/* ---- a device, and the actions ---- */

static void count_irq(struct irq_line *line, int level)
{
	struct vrig *r = line->ctx;

	r->irqs += level;
}

static void attach_pci(struct vrig *r)
{
	static struct pbus pb;
	struct virtio_pci_env env;
	struct err e;

	pb_init(&pb, r->realm, 1);
	r->pb = &pb;
	r->bus = &pb.bus;
	env = (struct virtio_pci_env){ &pb.host, &pb.msi, &pb.kvm, pb_kernel_io, &pb };
	PROPERTY(!virtio_pci_new(r->dev, &env, &r->pci, &e));
}

static bool begin(struct vrig *r, const struct vrig_kind *kind, struct input *in)
{
	uint8_t how = in_u8(in);
	struct err e;

	memset(r, 0, sizeof(*r));
	r->kind = kind;
	vrig_memory(r, how & 1 && !kind->no_realm);
	r->env = (struct virtio_env){
		.gm = &r->gm,
		.loop = &r->loop,
		.realm = r->realm,
		.alias = r->realm ? RIG_SHARED : 0,
		.packed = how & 2,
		.max_request = how & 4 ? SZ_64K * 2 : 0,
	};
	r->bus = &r->own_bus;
	kind->make(r, in);
	if (!r->dev) {
		vrig_memory_end(r);
		return false;
	}
	r->nr_queues = MIN(virtio_dev_queues(r->dev), (unsigned int)RIG_QUEUES);
	if (kind->pci) {
		attach_pci(r);
	} else {
		r->irq = (struct irq_line){ .set = count_irq, .ctx = r };
		PROPERTY(!virtio_mmio_new(r->dev, r->bus, RIG_WINDOW, &r->irq, &r->mmio, &e));
	}
	restart(r, in);
	return true;
}

static void end(struct vrig *r)
{
	virtio_dev_stop(r->dev);
	if (r->kind->pci)
		virtio_pci_free(r->pci);
	else
		virtio_mmio_free(r->mmio);
	virtio_dev_free(r->dev);
	if (r->kind->gone)
		r->kind->gone(r);
	if (r->kind->pci)
		pb_destroy(r->pb);
	vrig_memory_end(r);
}

static void chain(struct vrig *r, struct input *in)
{
	unsigned int q = in_u8(in) % r->nr_queues;
	uint8_t head[256];
	size_t len;

	if (r->kind->fill) {
		len = r->kind->fill(r, in, q, head, sizeof(head));
	} else {
		len = in_u8(in) % 64;
		in_bytes(in, head, len);
	}
	vrig_chain(r, in, q, head, len);
}

static void registers(struct vrig *r, struct input *in)
{
	static const uint8_t width[] = { 4, 4, 4, 1, 2, 8, 4, 2 };
	uint8_t how = in_u8(in);
	unsigned int off = in_u16(in);
	uint64_t val = how & 0x10 ? in_u64(in) : in_u8(in);

	if (!(how & 0x20))
		off &= ~3u;
	if (r->kind->pci)
		vrig_access(r, BAR_AT + off % VIRTIO_PCI_BAR_SIZE, val, width[how & 7], how & 8);
	else
		vrig_access(r, RIG_WINDOW + off % 0x200, val, width[how & 7], how & 8);
}

static void config(struct vrig *r, struct input *in)
{
	static const uint8_t width[] = { 1, 2, 4, 4 };
	uint8_t how = in_u8(in);
	unsigned int off = in_u16(in);
	uint32_t val = in_u32(in);

	vrig_access(r, r->kind->pci ? BAR_AT + VIRTIO_PCI_DEVICE_OFF + off % 0x1000 :
				     RIG_WINDOW + VIRTIO_MMIO_CONFIG + off % 0x100,
		   val, width[how & 3], how & 4);
}

static void queue(struct vrig *r, struct input *in)
{
	uint8_t how = in_u8(in);
	unsigned int q = (how & 0x0f) % r->nr_queues;

	switch (how >> 4 & 3) {
	case 0:
		reset_queue(r, q);
		break;
	case 1:
		set_queue(r, q, false);
		break;
	case 2:		/* with addresses of the input's */
		r->ring[q].desc = RIG_RAM + in_u16(in) * UINT64_C(16);
		r->ring[q].driver = RIG_RAM + in_u16(in) * UINT64_C(4);
		r->ring[q].device = RIG_RAM + in_u16(in) * UINT64_C(4);
		set_queue(r, q, true);
		break;
	default:
		vrig_lay(r, q, in_u8(in) % 129);
		set_queue(r, q, true);
		break;
	}
}

static bool act(struct vrig *r, struct input *in)
{
	uint8_t what = in_u8(in);

	switch (what % ACTIONS) {
	case CHAIN:
		chain(r, in);
		return true;
	case KICK:
		kick(r, in_u8(in) % r->nr_queues);
		return true;
	case PUMP:
		vrig_pump(r);
		return true;
	case HOST:
		if (r->kind->host)
			r->kind->host(r, in);
		return true;
	case WAIT:
		loop_once(&r->loop, 1);
		vrig_pump(r);
		return true;
	case REGISTER:
		registers(r, in);
		return true;
	case POKE:
		vrig_poke(r, in);
		return true;
	case CONVERT:
		what = in_u8(in);
		vrig_convert(r, what & 0x7f, what & 0x80);
		return true;
	case CONFIG:
		config(r, in);
		return true;
	case RESTART:
		restart(r, in);
		return true;
	case QUEUE:
		queue(r, in);
		return true;
	}
	return false;
}

void vrig_run(const struct vrig_kind *kind, const uint8_t *data, size_t size)
{
	static struct vrig r;
	struct input in = { data, size };

	if (!begin(&r, kind, &in))
		return;
	for (unsigned int i = 0; i < MAX_ACTIONS && in.left && act(&r, &in); i++)
		;
	vrig_pump(&r);
	end(&r);
}

/* ---- seeds ---- */

void vrig_seed_bytes(struct vrig_seed *s, const void *p, size_t len)
{
	PROPERTY(len <= sizeof(s->buf) - s->len);
	if (len)
		memcpy(s->buf + s->len, p, len);
	s->len += len;
}

static void byte(struct vrig_seed *s, uint8_t v)
{
	vrig_seed_bytes(s, &v, 1);
}

static void half(struct vrig_seed *s, uint16_t v)
{
	vrig_seed_bytes(s, &v, 2);
}

void vrig_seed_start(struct vrig_seed *s, bool realm, bool packed, const void *how, size_t len)
{
	s->len = 0;
	byte(s, realm | packed << 1);
	vrig_seed_bytes(s, how, len);
	byte(s, packed << 3);
}

void vrig_seed_chain(struct vrig_seed *s, unsigned int q, const void *fill, size_t len,
		    const uint16_t *out, const uint16_t *in)
{
	unsigned int nr = 0, i;

	byte(s, CHAIN);
	byte(s, q);
	vrig_seed_bytes(s, fill, len);
	for (i = 0; out && out[i]; i++)
		nr++;
	for (i = 0; in && in[i]; i++)
		nr++;
	byte(s, nr);
	byte(s, s->len);		/* where the head goes: not twice the same place */
	for (i = 0; i < nr; i++) {
		unsigned int n = 0;

		while (out && out[n])
			n++;
		byte(s, i >= n);
		half(s, i < n ? out[i] : in[i - n]);
		half(s, 0x800 + 0x100 * i + s->len);
	}
}

void vrig_seed_kick(struct vrig_seed *s, unsigned int q)
{
	byte(s, KICK);
	byte(s, q);
	byte(s, PUMP);
}

void vrig_seed_wait(struct vrig_seed *s)
{
	byte(s, WAIT);
}

void vrig_seed_host(struct vrig_seed *s, const void *p, size_t len)
{
	byte(s, HOST);
	vrig_seed_bytes(s, p, len);
	byte(s, PUMP);
}

void vrig_seed_private(struct vrig_seed *s, unsigned int page, bool private)
{
	byte(s, CONVERT);
	byte(s, page | private << 7);
}

void vrig_seed_restart(struct vrig_seed *s, uint64_t decline)
{
	byte(s, RESTART);
	byte(s, 0x28);
	vrig_seed_bytes(s, &decline, 8);
}

void vrig_seed_config(struct vrig_seed *s, uint16_t off, uint32_t val)
{
	for (unsigned int how = 0; how < 8; how += 6) {
		byte(s, CONFIG);
		byte(s, how);
		half(s, off);
		vrig_seed_bytes(s, &val, 4);
	}
}

void vrig_seed_rest(struct vrig_seed *s)
{
	static const uint8_t rest[] = {
		REGISTER, 0x00, 0x34, 0x00, 0x00, REGISTER, 0x08, 0x60, 0x00, 0x00,
		POKE, 0x02, 0x40, 0x01, 0x05, 0x00, QUEUE, 0x00, QUEUE, 0x30, 0x10, QUEUE, 0x10,
		RESTART, 0x00, QUEUE, 0x21, 0x00, 0x10, 0x00, 0x44, 0x00, 0x46, PUMP,
	};

	vrig_seed_bytes(s, rest, sizeof(rest));
}

void vrig_seed_end(struct vrig_seed *s, const char *name)
{
	byte(s, PUMP);
	fuzz_seed(name, s->buf, s->len);
}
