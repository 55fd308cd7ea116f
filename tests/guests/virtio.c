// SPDX-License-Identifier: BSD-3-Clause
/*
 * A block device through virtio-mmio: good requests first, then everything a hostile driver can put
 * into a queue; after each the device must still work, if need be after a reset. In a realm the
 * queue stands in shared memory, and what points at private memory must fail and touch nothing.
 *
 * The disk: sector N holds "sector NNNNNNNN" (decimal), then blanks, then a line feed.
 * bootargs: sectors=N (its size), ro (opened read-only). Sector 5 is written unless it is.
 */
#include "guest.h"

enum { MAGIC = 0, VERSION = 4, DEVICE = 8, DEV_FEAT = 0x10, DEV_SEL = 0x14, DRV_FEAT = 0x20,
       DRV_SEL = 0x24, Q_SEL = 0x30, Q_MAX = 0x34, Q_NUM = 0x38, Q_READY = 0x44, NOTIFY = 0x50,
       INT_STATUS = 0x60, INT_ACK = 0x64, STATUS = 0x70, Q_DESC = 0x80, Q_AVAIL = 0x90,
       Q_USED = 0xa0, CONFIG = 0x100 };
enum { S_ACK = 1, S_DRIVER = 2, S_DRIVER_OK = 4, S_FEATURES_OK = 8, S_NEEDS_RESET = 64 };
enum { D_NEXT = 1, D_WRITE = 2, D_INDIRECT = 4 };
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8 };
enum { BLK_OK = 0, BLK_IOERR = 1, BLK_UNSUPP = 2 };

#define F_RO		(1UL << 5)
#define F_FLUSH		(1UL << 9)
#define F_VERSION_1	(1UL << 32)
#define F_ACCESS	(1UL << 33)
#define QSIZE		8U

/* offsets in the shared area: 0 queue, 1 headers and status, 2 and 3 data */
#define O_AVAIL		0x400UL
#define O_USED		0x800UL
#define O_HDR		0x1000UL
#define O_STATUS	0x1100UL
#define O_DATA		0x2000UL

static u8 area[4 * PAGE] page_aligned, priv[2 * PAGE] page_aligned;
static u64 dev, sh;			/* device registers, shared area: as we reach them */
static u64 dma;				/* the shared area as the device is told of it */
static u32 intid;
static u64 features, capacity;
static u16 avail_idx, used_seen;
static u32 used_len;

static void set64(u64 reg, u64 v)
{
	wr32(dev + reg, (u32)v);
	wr32(dev + reg + 4, (u32)(v >> 32));
}

static void desc(unsigned int i, u64 addr, u32 len, u16 flags, u16 next)
{
	wr64(sh + i * 16, addr);
	wr32(sh + i * 16 + 8, len);
	wr16(sh + i * 16 + 12, flags);
	wr16(sh + i * 16 + 14, next);
}

/* Reset, negotiate, make queue 0. @queue: where the device shall find the queue */
static bool setup(u64 queue)
{
	u64 want = F_VERSION_1 | F_FLUSH;

	wr32(dev + STATUS, 0);
	if (!wait_until(rd32(dev + STATUS) == 0, 1000))
		return false;
	for (u64 i = 0; i < O_HDR; i += 8)
		wr64(sh + i, 0);
	avail_idx = used_seen = 0;
	wr32(dev + STATUS, S_ACK);
	wr32(dev + STATUS, S_ACK | S_DRIVER);
	wr32(dev + DEV_SEL, 0);
	features = rd32(dev + DEV_FEAT);
	wr32(dev + DEV_SEL, 1);
	features |= (u64)rd32(dev + DEV_FEAT) << 32;
	if (guest.realm)
		want |= F_ACCESS;
	want &= features;
	wr32(dev + DRV_SEL, 0);
	wr32(dev + DRV_FEAT, (u32)want);
	wr32(dev + DRV_SEL, 1);
	wr32(dev + DRV_FEAT, (u32)(want >> 32));
	wr32(dev + STATUS, S_ACK | S_DRIVER | S_FEATURES_OK);
	if (!(rd32(dev + STATUS) & S_FEATURES_OK))
		return false;
	wr32(dev + Q_SEL, 0);
	if (rd32(dev + Q_MAX) < QSIZE || rd32(dev + Q_READY))
		return false;
	wr32(dev + Q_NUM, QSIZE);
	set64(Q_DESC, queue);
	set64(Q_AVAIL, queue + O_AVAIL);
	set64(Q_USED, queue + O_USED);
	wr32(dev + Q_READY, 1);
	wr32(dev + STATUS, S_ACK | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK);
	return true;
}

/* Offers descriptor chain @head. True: it came back in time; used_len is what the device wrote */
static bool submit_for(u16 head, u64 ms)
{
	wr16(sh + O_AVAIL + 4 + (avail_idx % QSIZE) * 2UL, head);
	barrier();
	wr16(sh + O_AVAIL + 2, ++avail_idx);
	barrier();
	wr32(dev + NOTIFY, 0);
	if (!wait_until(rd16(sh + O_USED + 2) != used_seen, ms))
		return false;
	used_len = rd32(sh + O_USED + 4 + (used_seen % QSIZE) * 8UL + 4);
	used_seen++;
	return true;
}

static void header(u32 type, u64 sector)
{
	wr32(sh + O_HDR, type);
	wr32(sh + O_HDR + 4, 0);
	wr64(sh + O_HDR + 8, sector);
	wr8(sh + O_STATUS, 0xee);
}

/* One request with one data buffer at @data; the status, 0xee: none written, 0x100: no answer */
static unsigned int request(u32 type, u64 sector, u64 data, u32 len)
{
	header(type, sector);
	desc(0, dma + O_HDR, 16, D_NEXT, 1);
	desc(1, data, len, D_NEXT | (type == T_OUT ? 0 : D_WRITE), 2);
	desc(2, dma + O_STATUS, 1, D_WRITE, 0);
	if (!submit_for(0, 5000))
		return 0x100;
	return rd8(sh + O_STATUS);
}

static bool sector_is(u64 at, u64 sector)
{
	char text[16] = "sector 00000000";

	for (unsigned int i = 14; i > 6; i--, sector /= 10)
		text[i] = (char)('0' + sector % 10);
	for (unsigned int i = 0; i < 15; i++)
		if (rd8(at + i) != (u8)text[i])
			return false;
	return rd8(at + 511) == '\n';
}

static bool good_read(u64 sector)
{
	wr64(sh + O_DATA, 0);
	return request(T_IN, sector, dma + O_DATA, 512) == BLK_OK && sector_is(sh + O_DATA, sector);
}

/* After what must not kill the device: it works again, after a reset */
static void alive(const char *after)
{
	check(setup(dma) && good_read(3), "after %s: reset, and it reads", after);
}

static void test_good(void)
{
	check(good_read(0), "read the first sector");
	check(good_read(capacity - 1), "read the last sector");
	check_eq(used_len, 513, "used length: data and status");
	check(request(T_IN, 2, dma + O_DATA, 4096) == BLK_OK && sector_is(sh + O_DATA, 2) &&
	      sector_is(sh + O_DATA + 7 * 512, 9), "read eight sectors");

	/* scattered: 512 bytes in three pieces */
	header(T_IN, 7);
	desc(0, dma + O_HDR, 16, D_NEXT, 5);
	desc(5, dma + O_DATA, 100, D_NEXT | D_WRITE, 1);
	desc(1, dma + O_DATA + 100, 412 - 8, D_NEXT | D_WRITE, 6);
	desc(6, dma + O_DATA + 504, 8, D_NEXT | D_WRITE, 2);
	desc(2, dma + O_STATUS, 1, D_WRITE, 0);
	check(submit_for(0, 5000) && rd8(sh + O_STATUS) == BLK_OK && sector_is(sh + O_DATA, 7),
	      "read one sector into three pieces");

	for (unsigned int i = 0; i < 512; i++)
		wr8(sh + O_DATA + i, "written by the guest\n"[i % 21]);
	if (arg_has("ro")) {
		check((features & F_RO) != 0, "the device says it is read-only");
		check_eq(request(T_OUT, 5, dma + O_DATA, 512), BLK_IOERR, "a write fails");
		check(good_read(5), "and changed nothing");
	} else {
		check((features & F_RO) == 0, "the device is writable");
		check_eq(request(T_OUT, 5, dma + O_DATA, 512), BLK_OK, "a write succeeds");
		for (unsigned int i = 0; i < 512; i++)
			wr8(sh + O_DATA + i, 0);
		check(request(T_IN, 5, dma + O_DATA, 512) == BLK_OK && rd8(sh + O_DATA) == 'w' &&
		      rd8(sh + O_DATA + 511) == ' ', "and reads back");
	}
	if (features & F_FLUSH) {
		header(T_FLUSH, 0);
		desc(0, dma + O_HDR, 16, D_NEXT, 2);
		desc(2, dma + O_STATUS, 1, D_WRITE, 0);
		check(submit_for(0, 5000) && rd8(sh + O_STATUS) == BLK_OK, "flush");
	} else {
		check(false, "flush is offered");
	}
	check_eq(request(T_GET_ID, 0, dma + O_DATA, 20), BLK_OK, "identification");
	check_eq(request(77, 0, dma + O_DATA, 512), BLK_UNSUPP, "an unknown request: unsupported");

	wr32(dev + INT_ACK, rd32(dev + INT_STATUS));
	check_eq(rd32(dev + INT_STATUS), 0, "interrupt status clears");
	check(good_read(1) && wait_until(rd32(dev + INT_STATUS) & 1, 1000), "and is set by a request");
	if (check(gic_init(), "GICv3 answers")) {
		gic_enable(intid);
		wr32(dev + INT_ACK, rd32(dev + INT_STATUS));
		irqs_on();
		check(good_read(1) && wait_until(irq_seen(intid), 1000), "the interrupt arrives");
		irqs_off();
	}
}

static void test_ranges(void)
{
	check_eq(request(T_IN, capacity, dma + O_DATA, 512), BLK_IOERR, "read behind the end: error");
	check_eq(request(T_IN, capacity - 1, dma + O_DATA, 1024), BLK_IOERR,
		 "read across the end: error");
	check_eq(request(T_IN, ~0UL, dma + O_DATA, 512), BLK_IOERR, "read at sector 2^64-1: error");
	check_eq(request(T_IN, 1UL << 55, dma + O_DATA, 512), BLK_IOERR, "read at sector 2^55: error");
	check_eq(request(T_IN, 0, dma + O_DATA, 511), BLK_IOERR, "read of 511 bytes: error");
	check(good_read(4), "the device lives on");
}

/* Buffers where there is no memory: an error for the request, nothing worse. */
static void test_addresses(void)
{
	unsigned int st;
	u64 end = io(guest.ram_base + guest.ram_size);
	static const struct {
		const char *what;
		u64 addr;
		u32 len;
	} bad[] = {
		{ "at 0", 0, 512 },
		{ "at the UART", UART0, 512 },
		{ "at 2^64 - 512", -512UL, 512 },
		{ "at 2^63", 1UL << 63, 512 },
		{ "below RAM", RAM_BASE - 512, 512 },
		{ "across the begin of RAM", RAM_BASE - 256, 512 },
	};

	for (unsigned int i = 0; i < ARRAY_LEN(bad); i++)
		check_eq(request(T_IN, 0, bad[i].addr, bad[i].len), BLK_IOERR, "buffer %s: error",
			 bad[i].what);
	/* what wraps is no buffer at all: an error, or the chain back as it was */
	st = request(T_IN, 0, -256UL, 512);
	check(st == BLK_IOERR || (st == 0xee && used_len == 0), "buffer that wraps: error");
	check_eq(request(T_IN, 0, end, 512), BLK_IOERR, "buffer behind RAM: error");
	check_eq(request(T_IN, 0, end - 256, 512), BLK_IOERR, "buffer across the end of RAM: error");
	check_eq(request(T_IN, 0, dma + O_DATA, 0xfffffe00), BLK_IOERR, "buffer of 4 GiB: error");
	check(good_read(4), "the device lives on");
}

/* Chains that are not chains. Either they are answered, or the device wants a reset. */
static void broken(const char *what)
{
	bool back = submit_for(0, 500);
	u32 st = rd32(dev + STATUS);

	if (!back && !(st & S_NEEDS_RESET))
		print("# %s: no answer, no request for a reset (status 0x%x)\n", what, st);
	check(back || (st & S_NEEDS_RESET), "%s: answered or refused", what);
	alive(what);
}

static void test_chains(void)
{
	header(T_IN, 0);
	desc(0, dma + O_HDR, 16, D_NEXT, 1);
	desc(1, dma + O_DATA, 512, D_NEXT | D_WRITE, 1);
	broken("a descriptor that follows itself");

	header(T_IN, 0);
	desc(0, dma + O_HDR, 16, D_NEXT, 1);
	desc(1, dma + O_DATA, 512, D_NEXT | D_WRITE, 200);
	broken("a next beyond the table");

	header(T_IN, 0);
	desc(0, dma + O_HDR, 16, 0, 0);
	broken("a header alone");

	header(T_IN, 0);
	desc(0, dma + O_HDR, 7, D_NEXT, 1);
	desc(1, dma + O_STATUS, 1, D_WRITE, 0);
	broken("half a header");

	header(T_IN, 0);
	desc(0, dma + O_HDR, 16, D_NEXT | D_WRITE, 1);
	desc(1, dma + O_STATUS, 1, D_WRITE, 0);
	broken("a header the device may write");

	header(T_IN, 0);
	desc(0, dma + O_HDR, 16, D_NEXT, 1);
	desc(1, dma + O_DATA, 512, D_NEXT, 2);
	desc(2, dma + O_STATUS, 1, 0, 0);
	broken("no place for the status");

	desc(0, dma + O_DATA, 64, D_INDIRECT, 0);
	wr64(sh + O_DATA, dma + O_DATA);
	wr64(sh + O_DATA + 8, 64UL | (u64)D_INDIRECT << 32);
	broken("an indirect table in itself");

	/* a head that is no descriptor */
	check(setup(dma), "set up again");
	header(T_IN, 0);
	check(submit_for(1000, 500) || (rd32(dev + STATUS) & S_NEEDS_RESET),
	      "a head beyond the table: answered or refused");
	alive("a head beyond the table");

	/* the available index jumps further than the queue is long */
	check(setup(dma), "set up again");
	wr16(sh + O_AVAIL + 2, 1000);
	barrier();
	wr32(dev + NOTIFY, 0);
	wait_until(rd32(dev + STATUS) & S_NEEDS_RESET, 500);
	alive("an available index that jumps");

	/* queues where there is no memory */
	check(setup(0x1000), "a queue where there is no memory is taken");
	submit_for(0, 300);
	alive("a queue where there is no memory");
	check(setup(-PAGE), "a queue at the end of all addresses is taken");
	submit_for(0, 300);
	alive("a queue at the end of all addresses");
	wr32(dev + NOTIFY, 0xffff);
	wr32(dev + Q_SEL, 0xffff);
	check_eq(rd32(dev + Q_MAX), 0, "queue 65535 does not exist");
	wr32(dev + Q_READY, 1);
	alive("a queue that does not exist");
}

static bool priv_is(u64 from, u64 len, u64 v)
{
	for (u64 i = 0; i < len; i += 8)
		if (rd64((u64)priv + from + i) != v)
			return false;
	return true;
}

static void test_private(void)
{
	u64 p = (u64)priv;
	const u64 v = 0x5ec2e75ec2e75ec2;

	for (u64 i = 0; i < sizeof(priv); i += 8)
		wr64(p + i, v);
	check_eq(request(T_IN, 0, p, 512), BLK_IOERR, "a private buffer: error");
	check(used_len <= 1 && priv_is(0, PAGE, v), "not a byte of it was written");
	check(good_read(6), "the device lives on");
	check_eq(request(T_IN, 0, p | guest.shared, 512), BLK_IOERR,
		 "a private buffer, given with the shared bit: error");
	check(priv_is(0, PAGE, v), "not a byte of it was written");
	check(good_read(6), "the device lives on");

	if (!arg_has("ro")) {
		check_eq(request(T_OUT, 9, p, 512), BLK_IOERR,
			 "a private buffer to write from: error");
		check(good_read(9), "not a byte of it reached the disk");
		check_eq(request(T_OUT, 9, p | guest.shared, 512), BLK_IOERR,
			 "the same, given with the shared bit: error");
		check(good_read(9), "not a byte of it reached the disk");
	}

	/* one piece is good, the next is not */
	header(T_IN, 0);
	desc(0, dma + O_HDR, 16, D_NEXT, 1);
	desc(1, dma + O_DATA, 256, D_NEXT | D_WRITE, 2);
	desc(2, p, 256, D_NEXT | D_WRITE, 3);
	desc(3, dma + O_STATUS, 1, D_WRITE, 0);
	check(submit_for(0, 5000) && rd8(sh + O_STATUS) == BLK_IOERR && priv_is(0, PAGE, v),
	      "half the buffer private: error, nothing written there");

	/* a buffer over the border between shared and private */
	share(priv, PAGE);
	check_eq(request(T_IN, 0, p + PAGE - 256, 512), BLK_IOERR,
		 "a buffer from shared into private memory: error");
	check(priv_is(PAGE, PAGE, v), "nothing written into the private page");
	wr64(io(p), 0);
	check(request(T_IN, 8, p | guest.shared, 512) == BLK_OK && sector_is(io(p), 8),
	      "the page given back is a good buffer");
	wr64(io(p), 0);
	check(request(T_IN, 8, p, 512) == BLK_OK && sector_is(io(p), 8),
	      "and named without the shared bit, too");
	ripas_set(p, p + PAGE, RIPAS_RAM);
	check_eq(request(T_IN, 0, p, 512), BLK_IOERR, "taken again it is private again: error");
	check(priv_is(0, PAGE, 0), "not a byte of it was written");

	/* header and status in private memory */
	for (u64 i = 0; i < PAGE; i += 8)
		wr64(p + i, v);
	header(T_IN, 0);
	desc(0, p, 16, D_NEXT, 1);
	desc(1, dma + O_DATA, 512, D_NEXT | D_WRITE, 2);
	desc(2, dma + O_STATUS, 1, D_WRITE, 0);
	broken("a private header");
	header(T_IN, 0);
	desc(0, dma + O_HDR, 16, D_NEXT, 1);
	desc(1, dma + O_DATA, 512, D_NEXT | D_WRITE, 2);
	desc(2, p, 1, D_WRITE, 0);
	broken("a private status byte");
	check(priv_is(0, PAGE, v), "private memory is untouched");

	/* the queue itself */
	check(setup(p), "a private queue is taken");
	wr32(dev + NOTIFY, 0);
	wait_until(rd32(dev + STATUS) & S_NEEDS_RESET, 300);
	check(priv_is(0, PAGE, v), "a private queue is not written");
	alive("a private queue");

	/* the queue's page turns private under the device */
	check(setup(dma), "set up again");
	ripas_set((u64)area, (u64)area + PAGE, RIPAS_RAM);
	wr32(dev + NOTIFY, 0);
	wait_until(rd32(dev + STATUS) & S_NEEDS_RESET, 300);
	share(area, PAGE);
	alive("a queue that turned private");
}

/*
 * DMA into and out of a page that the guest has not touched since it gave it back, and its old
 * contents must not be what goes out.
 */
static void test_untouched(void)
{
	u64 fresh = (guest.ram_base + guest.ram_size / 2) & ~0x1fffffUL;
	bool old = false;

	share((void *)fresh, PAGE);
	check(request(T_IN, 3, io(fresh), 512) == BLK_OK && sector_is(io(fresh), 3),
	      "the device writes to a shared page that nobody has touched");
	if (arg_has("ro"))
		return;
	ripas_set(fresh, fresh + PAGE, RIPAS_RAM);
	for (u64 i = 0; i < 512; i += 8)
		wr64(fresh + i, 0x5ec2e75ec2e75ec2);
	share((void *)fresh, PAGE);
	check_eq(request(T_OUT, 11, io(fresh), 512), BLK_OK,
		 "the device reads one that was private");
	check_eq(request(T_IN, 11, dma + O_DATA, 512), BLK_OK, "what it read is on the disk");
	for (u64 i = 0; i < 512; i += 8)
		old |= rd64(sh + O_DATA + i) == 0x5ec2e75ec2e75ec2;
	check(!old, "and is not what was private");
	/* sector 11 differs from sector 10 in the last digit */
	good_read(10);
	wr8(sh + O_DATA + 14, '1');
	check(request(T_OUT, 11, dma + O_DATA, 512) == BLK_OK && good_read(11),
	      "the sector is put back");
	ripas_set(fresh, fresh + PAGE, RIPAS_RAM);
}

void guest_main(void)
{
	for (unsigned int i = 0; i < guest.nr_virtio; i++) {
		dev = io(guest.virtio[i]);
		intid = guest.virtio_intid[i];
		if (rd32(dev + MAGIC) == 0x74726976 && rd32(dev + DEVICE) == 2)
			break;
		dev = 0;
	}
	if (!check(dev != 0, "there is a block device"))
		return;
	check_eq(rd32(dev + VERSION), 2, "it is a modern one");
	sh = share(area, sizeof(area));
	dma = sh;
	if (!check(setup(dma), "feature negotiation and queue"))
		return;
	check((features & F_VERSION_1) != 0, "VERSION_1 is offered");
	if (guest.realm)
		check((features & F_ACCESS) != 0, "ACCESS_PLATFORM is offered");
	capacity = rd32(dev + CONFIG) | (u64)rd32(dev + CONFIG + 4) << 32;
	check_eq(capacity, arg_num("sectors", capacity), "capacity");
	test_good();
	test_ranges();
	test_addresses();
	test_chains();
	if (guest.realm) {
		test_private();
		test_untouched();
	}
	/* addresses without the shared bit are as good: the top bit is cleared before use */
	dma = (u64)area;
	check(setup(dma) && good_read(2), "addresses without the shared bit");
}
