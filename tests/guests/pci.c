// SPDX-License-Identifier: BSD-3-Clause
/*
 * The PCI bus, driven by hand: enumeration through ECAM, BARs sized and moved, a disk behind
 * virtio-pci with the wire (INTx) and, where there is an ITS, with messages (MSI-X) that are
 * masked, pending and unmasked.
 *
 * The disk: sector N holds "sector NNNNNNNN", blanks, a line feed. Sector 40 is overwritten.
 */
#include "guest.h"

#define ECAM		0x40000000UL
#define WINDOW		0x50000000UL
#define NEW_PLACE	0x58000000UL

enum { ID = 0, COMMAND = 4, CLASS = 8, HEADER = 0xe, BAR0 = 0x10, CAPS = 0x34, PIN = 0x3d };
enum { C_MEM = 2, C_MASTER = 4, C_NO_INTX = 0x400 };
enum { CAP_VENDOR = 9, CAP_MSIX = 0x11 };
enum { P_COMMON = 1, P_NOTIFY, P_ISR, P_DEVICE, P_CFG };
enum { DFSEL = 0, DF = 4, GFSEL = 8, GF = 12, CFG_VECTOR = 16, NUMQ = 18, STATUS = 20, Q_SEL = 22,
       Q_SIZE = 24, Q_VECTOR = 26, Q_ENABLE = 28, Q_NOFF = 30, Q_DESC = 32, Q_AVAIL = 40,
       Q_USED = 48 };
enum { S_ACK = 1, S_DRIVER = 2, S_DRIVER_OK = 4, S_FEATURES_OK = 8 };
enum { D_NEXT = 1, D_WRITE = 2, T_IN = 0, T_OUT = 1 };

#define F_VERSION_1	(1UL << 32)
#define F_ACCESS	(1UL << 33)
#define NO_VECTOR	0xffff
#define QSIZE		8U

#define O_AVAIL		0x400UL
#define O_USED		0x800UL
#define O_HDR		0x1000UL
#define O_STATUS	0x1100UL
#define O_DATA		0x2000UL

static u8 area[4 * PAGE] page_aligned, priv[PAGE] page_aligned;
static u64 sh;				/* the shared area */
static u64 fn;				/* configuration space of the disk */
static unsigned int slot;
static u64 bar;
static u32 off_common, off_notify, off_isr, off_device, notify_step;
static unsigned int cap_cfg, cap_msix;
static u16 avail_idx, used_seen;

static volatile u32 wires, isr_bits, messages[4];

static u64 config(unsigned int dev, unsigned int func)
{
	return io(ECAM + (dev << 15 | func << 12));
}

static u64 common(u64 reg)
{
	return bar + off_common + reg;
}

static void set64(u64 reg, u64 v)
{
	wr32(common(reg), (u32)v);
	wr32(common(reg) + 4, (u32)(v >> 32));
}

/* ---- the bus --------------------------------------------------------------------------------- */

static bool find_disk(void)
{
	unsigned int found = 0;

	check_eq(rd32(config(0, 0) + CLASS) >> 8, 0x060000, "a host bridge is function 0");
	check_eq(rd32(config(31, 7)), 0xffffffff, "where no function is, reads give ones");
	check_eq(rd16(config(31, 7) + 2), 0xffff, "in other widths, too");
	check_eq(rd32(io(ECAM + 0x0ffff000)), 0xffffffff, "there is no other bus");
	for (unsigned int d = 1; d < 32; d++)
		if (rd32(config(d, 0)) == 0x10421af4) {
			slot = d;
			fn = config(d, 0);
			found++;
		}
	return check_eq(found, 1, "there is one disk");
}

static bool find_caps(void)
{
	unsigned int at = rd8(fn + CAPS), seen = 0;

	for (unsigned int n = 0; at && n < 48; n++, at = rd8(fn + at + 1)) {
		unsigned int kind = rd8(fn + at + 3);

		if (rd8(fn + at) == CAP_MSIX)
			cap_msix = at;
		if (rd8(fn + at) != CAP_VENDOR)
			continue;
		seen |= 1U << kind;
		if (kind != P_CFG && rd8(fn + at + 4) != 0)
			return false;
		if (kind == P_COMMON)
			off_common = rd32(fn + at + 8);
		else if (kind == P_ISR)
			off_isr = rd32(fn + at + 8);
		else if (kind == P_DEVICE)
			off_device = rd32(fn + at + 8);
		else if (kind == P_CFG)
			cap_cfg = at;
		else if (kind == P_NOTIFY) {
			off_notify = rd32(fn + at + 8);
			notify_step = rd32(fn + at + 16);
		}
	}
	return at == 0 && seen == (1U << P_COMMON | 1U << P_NOTIFY | 1U << P_ISR | 1U << P_DEVICE |
				   1U << P_CFG);
}

static void test_bars(void)
{
	u32 first = rd32(fn + BAR0), size;

	check(first >= WINDOW && first < 0x80000000 && !(first & 0xf),
	      "BAR 0 has an address at once");
	wr32(fn + BAR0, ~0U);
	size = ~(rd32(fn + BAR0) & ~0xfU) + 1;
	check(size >= PAGE && !(size & (size - 1)), "and a size that is a power of 2");
	wr32(fn + BAR0, first);
	check_eq(rd32(fn + BAR0), first, "and takes its address back");
	bar = io(first);
	check_eq(rd32(common(NUMQ) & ~3UL), 0xffffffff, "switched off it does not answer");
	wr16(fn + COMMAND, C_MEM | C_MASTER);
	check_eq(rd16(common(NUMQ)), 1, "switched on it does: one queue");
	wr32(fn + BAR0, NEW_PLACE);
	check_eq(rd16(common(NUMQ)), 0xffff, "moved, it is gone where it was");
	bar = io(NEW_PLACE);
	check_eq(rd16(common(NUMQ)), 1, "and answers where it is");
	wr32(fn + BAR0, 0x80000000);
	check_eq(rd16(common(NUMQ)), 0xffff, "placed over RAM it answers nowhere");
	wr32(fn + BAR0, NEW_PLACE);
	wr16(fn + COMMAND, C_MEM | C_MASTER);

	/* the window in configuration space */
	wr8(fn + cap_cfg + 4, 0);
	wr32(fn + cap_cfg + 8, off_common + NUMQ);
	wr32(fn + cap_cfg + 12, 2);
	check_eq(rd16(fn + cap_cfg + 16), 1, "the window in configuration space shows it");
}

/* ---- the disk -------------------------------------------------------------------------------- */

static bool setup(u16 vector)
{
	u64 features, want = F_VERSION_1 | (guest.realm ? F_ACCESS : 0);

	wr8(common(STATUS), 0);
	if (!wait_until(rd8(common(STATUS)) == 0, 1000))
		return false;
	for (u64 i = 0; i < O_HDR; i += 8)
		wr64(sh + i, 0);
	avail_idx = used_seen = 0;
	wr8(common(STATUS), S_ACK);
	wr8(common(STATUS), S_ACK | S_DRIVER);
	wr32(common(DFSEL), 0);
	features = rd32(common(DF));
	wr32(common(DFSEL), 1);
	features |= (u64)rd32(common(DF)) << 32;
	if ((features & want) != want)
		return false;
	wr32(common(GFSEL), 0);
	wr32(common(GF), (u32)want);
	wr32(common(GFSEL), 1);
	wr32(common(GF), (u32)(want >> 32));
	wr8(common(STATUS), S_ACK | S_DRIVER | S_FEATURES_OK);
	if (!(rd8(common(STATUS)) & S_FEATURES_OK))
		return false;
	wr16(common(CFG_VECTOR), NO_VECTOR);
	wr16(common(Q_SEL), 0);
	if (rd16(common(Q_SIZE)) < QSIZE || rd16(common(Q_ENABLE)))
		return false;
	wr16(common(Q_SIZE), QSIZE);
	wr16(common(Q_VECTOR), vector);
	if (rd16(common(Q_VECTOR)) != vector)
		return false;
	set64(Q_DESC, sh);
	set64(Q_AVAIL, sh + O_AVAIL);
	set64(Q_USED, sh + O_USED);
	wr16(common(Q_ENABLE), 1);
	wr8(common(STATUS), S_ACK | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK);
	return rd16(common(Q_ENABLE)) == 1;
}

static void desc(unsigned int i, u64 addr, u32 len, u16 flags)
{
	wr64(sh + i * 16, addr);
	wr32(sh + i * 16 + 8, len);
	wr16(sh + i * 16 + 12, flags);
	wr16(sh + i * 16 + 14, (u16)(i + 1));
}

/* The status of one request for one sector, by the buffer at @data; 0x100: it never came back */
static unsigned int request_at(u32 type, u64 sector, u64 data)
{
	wr32(sh + O_HDR, type);
	wr32(sh + O_HDR + 4, 0);
	wr64(sh + O_HDR + 8, sector);
	wr8(sh + O_STATUS, 0xee);
	desc(0, sh + O_HDR, 16, D_NEXT);
	desc(1, data, 512, D_NEXT | (type == T_IN ? D_WRITE : 0));
	desc(2, sh + O_STATUS, 1, D_WRITE);
	wr16(sh + O_AVAIL + 4 + (avail_idx % QSIZE) * 2UL, 0);
	barrier();
	wr16(sh + O_AVAIL + 2, ++avail_idx);
	barrier();
	wr16(bar + off_notify + rd16(common(Q_NOFF)) * (u64)notify_step, 0);
	if (!wait_until(rd16(sh + O_USED + 2) != used_seen, 5000))
		return 0x100;
	used_seen++;
	return rd8(sh + O_STATUS);
}

static unsigned int request(u32 type, u64 sector)
{
	return request_at(type, sector, sh + O_DATA);
}

static bool sector_is(u64 at, u64 sector)
{
	char text[16] = "sector 00000000";

	for (unsigned int i = 14; i > 6; i--, sector /= 10)
		text[i] = (char)('0' + sector % 10);
	for (unsigned int i = 0; i < 15; i++)
		if (rd8(at + i) != (u8)text[i])
			return false;
	return true;
}

static bool good_read(u64 sector)
{
	return request(T_IN, sector) == 0 && sector_is(sh + O_DATA, sector);
}

/* ---- interrupts ------------------------------------------------------------------------------ */

static void hook(unsigned int intid)
{
	if (intid == INTID_SPI0 + SPI_INTX + slot) {
		wires++;
		isr_bits |= rd8(bar + off_isr);		/* takes the level away */
	} else if (intid >= FIRST_LPI && intid < FIRST_LPI + ARRAY_LEN(messages)) {
		messages[intid - FIRST_LPI]++;
	}
}

static void test_wire(void)
{
	irq_hook = hook;
	gic_enable(INTID_SPI0 + SPI_INTX + slot);
	check_eq(rd8(fn + PIN), 1, "it has pin A");
	irqs_on();
	check(good_read(1), "read a sector");
	check(wait_until(wires == 1, 1000), "the wire interrupts");
	check_eq(isr_bits, 1, "for the queue");
	wait_until(false, 20);
	check_eq(wires, 1, "once: reading the ISR took it back");
	wr16(fn + COMMAND, C_MEM | C_MASTER | C_NO_INTX);
	check(good_read(2), "read a sector with INTx disabled");
	wait_until(false, 20);
	check_eq(wires, 1, "the wire is silent");
	check_eq(rd16(fn + 6) & 8, 8, "but the status has it");
	wr16(fn + COMMAND, C_MEM | C_MASTER);
	check(wait_until(wires == 2, 1000), "enabled again it interrupts");
	irqs_off();
}

static void entry(unsigned int vector, u32 data, u32 masked)
{
	u64 at = bar + (rd32(fn + cap_msix + 4) & ~7U) + vector * 16UL;

	wr32(at, (u32)its_doorbell());
	wr32(at + 4, (u32)(its_doorbell() >> 32));
	wr32(at + 8, data);
	wr32(at + 12, masked);
}

static void test_messages(void)
{
	u64 pba;

	if (!check(its_init(slot << 3, ARRAY_LEN(messages)), "the ITS takes its commands"))
		return;
	check_eq(rd16(fn + cap_msix + 2), 1, "two vectors");
	pba = bar + (rd32(fn + cap_msix + 8) & ~7U);
	entry(0, 2, 0);
	entry(1, 1, 0);
	wr16(fn + cap_msix + 2, 0x8000);
	check(setup(1), "the queue takes vector 1");
	wr16(common(Q_VECTOR), 7);
	check_eq(rd16(common(Q_VECTOR)), NO_VECTOR, "and none that does not exist");
	wr16(common(Q_VECTOR), 1);
	wires = 0;
	irqs_on();
	check(good_read(3), "read a sector");
	check(wait_until(messages[1] == 1, 1000), "its message arrives");
	check_eq(rd8(bar + off_isr), 0, "the ISR has no part in it");
	check_eq(rd64(pba), 0, "nothing is pending");
	entry(1, 1, 1);
	check(good_read(4) && good_read(5), "two reads with the vector masked");
	wait_until(false, 20);
	check_eq(messages[1], 1, "no message");
	check_eq(rd64(pba), 2, "it is pending");
	entry(1, 1, 0);
	check(wait_until(messages[1] == 2, 1000), "unmasked it arrives");
	check_eq(rd64(pba), 0, "and is pending no more");
	wr16(fn + cap_msix + 2, 0xc000);
	check(good_read(6), "a read with all vectors masked");
	wait_until(false, 20);
	check_eq(messages[1], 2, "no message");
	entry(1, 3, 0);
	wr16(fn + cap_msix + 2, 0x8000);
	check(wait_until(messages[3] == 1, 1000), "unmasked it arrives, as its entry is now");
	check_eq(messages[0] + messages[2], 0, "nobody else's message came");
	check_eq(wires, 0, "the wire was silent");
	for (unsigned int i = 0; i < 100; i++)
		if (!good_read(i % 32) || !wait_until(messages[3] == i + 2, 2000)) {
			check(false, "a hundred reads, a message each (stuck at %u)", i);
			return;
		}
	check(true, "a hundred reads, a message each");
	irqs_off();
	wr16(fn + cap_msix + 2, 0);
}

/* Nothing of this may do more than nothing. */
static void test_odd(void)
{
	for (u64 a = 0; a < 0x100; a++)
		if (a % 4) {
			rd8(fn + a);
			wr8(fn + 0x40 + a % 0x80, (u8)a);
		}
	wr64(fn + BAR0, ~0UL);
	rd64(fn);
	for (u64 a = 0; a < 0x8000; a += 0x40)
		rd64(bar + a);
	wr64(io(0x7ffffff8), ~0UL);
	check_eq(rd64(io(0x7ffffff8)), ~0UL, "the end of the window");
	wr32(fn + BAR0, NEW_PLACE);
	wr16(fn + COMMAND, C_MEM | C_MASTER);
	check(setup(NO_VECTOR) && good_read(7), "after odd accesses it works");
}

/* What is private is not the device's, whichever address it is given. */
static void test_private(void)
{
	const u64 v = 0x5ec2e75ec2e75ec2;
	u64 p = (u64)priv, fresh = (guest.ram_base + guest.ram_size / 2) & ~0x1fffffUL;
	bool kept = true;

	for (u64 i = 0; i < PAGE; i += 8)
		wr64(p + i, v);
	check_eq(request_at(T_IN, 8, p), 1, "read into a private page: error");
	check_eq(request_at(T_IN, 8, io(p)), 1, "the same, given with the shared bit: error");
	for (u64 i = 0; i < PAGE; i += 8)
		kept &= rd64(p + i) == v;
	check(kept, "not a byte of it was written");
	check_eq(request_at(T_OUT, 9, p), 1, "write from a private page: error");
	check_eq(request_at(T_OUT, 9, io(p)), 1, "the same, given with the shared bit: error");
	check(good_read(9), "not a byte of it reached the disk");
	share(priv, PAGE);
	check(request_at(T_IN, 10, io(p)) == 0 && sector_is(io(p), 10),
	      "given back it is a good buffer");
	ripas_set(p, p + PAGE, RIPAS_RAM);
	check_eq(request_at(T_IN, 10, p), 1, "taken again it is private again: error");
	share((void *)fresh, PAGE);
	check(request_at(T_IN, 11, io(fresh)) == 0 && sector_is(io(fresh), 11),
	      "the device writes to a shared page that nobody has touched");
	ripas_set(fresh, fresh + PAGE, RIPAS_RAM);
}

void guest_main(void)
{
	u64 capacity;

	if (!find_disk())
		return;
	check_eq(rd32(fn + CLASS) >> 8, 0x018000, "of class mass storage");
	check_eq(rd8(fn + HEADER), 0, "with a header of type 0");
	if (!check(find_caps(), "the capabilities are as they should be"))
		return;
	test_bars();
	sh = share(area, sizeof(area));
	capacity = rd32(bar + off_device) | (u64)rd32(bar + off_device + 4) << 32;
	check_eq(capacity, 64, "the disk's size");
	if (!check(setup(NO_VECTOR), "feature negotiation and queue"))
		return;
	if (!check(gic_init(), "GICv3 answers"))
		return;
	test_wire();
	if (cap_msix)
		test_messages();
	else
		print("# no MSI-X: no ITS\n");
	test_odd();
	if (guest.realm)
		test_private();
	for (unsigned int i = 0; i < 512; i++)
		wr8(sh + O_DATA + i, 0xa5);
	check_eq(request(T_OUT, 40), 0, "a write");
}
