// SPDX-License-Identifier: BSD-3-Clause
/*
 * Which memory a device of the host can reach: QEMU's edu (1234:11e8), a DMA engine that copies up
 * to 4 KiB between memory and a buffer of its own. What a device must not reach is left as it was,
 * and the host's log has the fault: lines "# fault ADDRESS" are what to look for there, "# reached
 * ADDRESS" what must not be there.
 *
 * Words in bootargs: intx (its wire as well), msi (its message as well), both (--vfio-pci with
 * dma-alias=both), static (--vfio-dma static: the shared side of all memory is always in reach).
 */
#include "guest.h"

#define EDU		0x11e81234U
#define BUFFER		0x40000UL
#define LEN		4096U

/* docs/specs/edu.rst of QEMU */
enum { E_ID = 0, E_LIVE = 4, E_IRQ_STATUS = 0x24, E_IRQ_RAISE = 0x60, E_IRQ_ACK = 0x64,
       E_SRC = 0x80, E_DST = 0x88, E_COUNT = 0x90, E_CMD = 0x98 };
enum { CMD_START = 1, CMD_TO_RAM = 2 };
enum { SRC, DST, PRIVATE, BACK, RANGE, NR_RANGE = 16 };

static u8 area[(RANGE + NR_RANGE) * PAGE] page_aligned;
static u64 bar, fn;
static unsigned int slot;
static volatile u32 wires, idle, status, messages[2];

static u64 page(unsigned int n)
{
	return (u64)area + n * PAGE;
}

static bool transfer(u64 src, u64 dst, u32 len, u64 cmd)
{
	wr64(bar + E_SRC, src);
	wr64(bar + E_DST, dst);
	wr64(bar + E_COUNT, len);
	wr64(bar + E_CMD, CMD_START | cmd);
	return wait_until(!(rd64(bar + E_CMD) & CMD_START), 10000);
}

/* Both end when the engine is done, whether it reached the memory or not. */
static bool fetch(u64 addr)
{
	return transfer(addr, BUFFER, LEN, 0);
}

static bool store(u64 addr)
{
	return transfer(BUFFER, addr, LEN, CMD_TO_RAM);
}

/*
 * Where a fault is expected one word is moved: it is one fault in the host's log, which shows no
 * more than ten in five seconds.
 */
static bool fetch_word(u64 addr)
{
	return transfer(addr, BUFFER, 4, 0);
}

static bool store_word(u64 addr)
{
	return transfer(BUFFER, addr, 4, CMD_TO_RAM);
}

static void fill(u64 at, u64 seed)
{
	for (u64 i = 0; i < LEN; i += 8)
		wr64(at + i, seed + i);
}

static bool holds(u64 at, u64 seed)
{
	for (u64 i = 0; i < LEN; i += 8)
		if (rd64(at + i) != seed + i)
			return false;
	return true;
}

static bool zero(u64 at)
{
	for (u64 i = 0; i < LEN; i += 8)
		if (rd64(at + i))
			return false;
	return true;
}

static u64 fault(u64 addr)
{
	print("# fault 0x%lx\n", addr);
	return addr;
}

static u64 reached(u64 addr)
{
	print("# reached 0x%lx\n", addr);
	return addr;
}

/* what every guest can do */
static void test_shared(void)
{
	u64 src = io(page(SRC)), dst = io(page(DST));

	fill(src, 0x1000);
	fill(dst, 0x2000);
	pci_command(fn, PCI_MEM);
	check(fetch(src) && store(dst) && holds(dst, 0x2000), "no bus master: no DMA");
	pci_command(fn, PCI_MEM | PCI_MASTER);
	check(fetch(reached(src)) && store(reached(dst)) && holds(dst, 0x1000),
	      "DMA from memory and back");
	check(holds(src, 0x1000), "the source is as it was");
	/* the device has our data now; where nothing is it must not go */
	check(store_word(fault(io(guest.ram_base + guest.ram_size + (64UL << 20)))),
	      "DMA to behind the memory ends");
	check(store(dst) && holds(dst, 0x1000), "and the next one works");
}

static void test_private(void)
{
	u64 src = io(page(SRC)), dst = io(page(DST)), pattern = 0x5ec2e70000;
	bool fixed = arg_has("static");

	fill(src, 0x3000);
	fill(dst, 0x4000);
	fetch(src);
	if (arg_has("both")) {
		check(store(reached(page(DST))) && holds(dst, 0x3000),
		      "a shared page is reached without the shared bit");
	} else {
		check(store_word(fault(page(DST))) && holds(dst, 0x4000),
		      "a shared page is not reached without the shared bit");
	}
	fill(page(PRIVATE), pattern);
	store_word(fault(page(PRIVATE)));
	check(holds(page(PRIVATE), pattern), "a private page is not written, lower half");
	store_word(fixed ? io(page(PRIVATE)) : fault(io(page(PRIVATE))));
	check(holds(page(PRIVATE), pattern), "a private page is not written, upper half");
	fill(dst, 0);
	fetch_word(fixed ? io(page(PRIVATE)) : fault(io(page(PRIVATE))));
	store(dst);
	check(rd32(dst) != (u32)pattern, "a private page is not read, upper half");
	fetch_word(fault(page(PRIVATE)));
	store(dst);
	check(rd32(dst) != (u32)pattern, "a private page is not read, lower half");
}

static void test_back(void)
{
	u64 src = io(page(SRC)), back = io(page(BACK));
	bool fixed = arg_has("static");

	fill(src, 0x6000);
	check(fetch(src) && store(back) && holds(back, 0x6000), "a page that will be taken back");
	if (!check_eq(ripas_set(page(BACK), page(BACK) + PAGE, RIPAS_RAM), 0, "taken back"))
		return;
	check(zero(page(BACK)), "it is zero");
	store_word(fixed ? back : fault(back));
	check(zero(page(BACK)), "DMA does not come into it any more");
	share((void *)page(BACK), PAGE);
	fill(back, 0x7000);
	check(fetch(src) && store(back) && holds(back, 0x6000), "shared again it does");
}

/* A part of a range that was shared in one request; the rest must stay in reach. */
static void test_part(void)
{
	u64 src = io(page(SRC)), first = io(page(RANGE)), last = io(page(RANGE + NR_RANGE - 1));
	u64 mid = page(RANGE + 5);

	share((void *)page(RANGE), NR_RANGE * PAGE);
	fill(src, 0x8000);
	fill(first, 0);
	fill(last, 0);
	fetch(src);
	check(store(reached(first)) && store(reached(last)) && holds(first, 0x8000) &&
	      holds(last, 0x8000), "a range of 16 pages");
	if (!check_eq(ripas_set(page(RANGE + 4), page(RANGE + 8), RIPAS_RAM), 0,
		      "4 of its pages taken back"))
		return;
	fill(mid, 0x9000);
	store_word(arg_has("static") ? io(mid) : fault(io(mid)));
	check(holds(mid, 0x9000), "they are out of reach");
	fill(first, 0);
	fill(last, 0);
	store(first);
	store(last);
	check(holds(first, 0x8000) && holds(last, 0x8000), "the rest is not");
	check_eq(ripas_set(page(RANGE + 10), page(RANGE + 11), RIPAS_RAM), 0, "one more");
	fill(last, 0);
	store(last);
	check(holds(last, 0x8000), "the rest still is");
	check_eq(ripas_set(page(RANGE), page(RANGE + NR_RANGE), RIPAS_RAM), 0,
		 "all of it taken back");
	store_word(arg_has("static") ? first : fault(first));
	check(zero(page(RANGE)), "nothing of it is in reach");
	check(holds(mid, 0x9000), "what was private already is as it was");
}

/* ---- the wire -------------------------------------------------------------------------------- */

static void hook(unsigned int intid)
{
	if (intid >= FIRST_LPI && intid < FIRST_LPI + ARRAY_LEN(messages)) {
		messages[intid - FIRST_LPI]++;
		wr32(bar + E_IRQ_ACK, ~0U);
	}
	if (intid != INTID_SPI0 + SPI_INTX + slot)
		return;
	status = rd32(bar + E_IRQ_STATUS);
	if (!status) {
		idle++;
		return;
	}
	wires++;
	/* one reason at a time: the level stays until the last is acknowledged */
	wr32(bar + E_IRQ_ACK, status & -status);
}

static bool raise(u32 bits, u32 want)
{
	u32 before = wires;

	wr32(bar + E_IRQ_RAISE, bits);
	return wait_until(wires - before >= want, 5000) && !wait_until(wires - before > want, 5);
}

/* In KVM an SPI is triggered by edges until the guest says otherwise. VFIO needs a level's end. */
static void gic_level(unsigned int intid)
{
	u64 reg = io(GICD) + 0xc00 + intid / 16 * 4UL;			/* GICD_ICFGR */

	wr32(reg, rd32(reg) & ~(2U << intid % 16 * 2));
}

static void test_wire(void)
{
	u32 before, n;

	if (!check(gic_init(), "GICv3 answers"))
		return;
	irq_hook = hook;
	gic_level(INTID_SPI0 + SPI_INTX + slot);
	gic_enable(INTID_SPI0 + SPI_INTX + slot);
	irqs_on();
	check(raise(1, 1), "the wire interrupts, once");
	check(raise(0xf, 4), "as long as there is a reason");
	pci_command(fn, PCI_MEM | PCI_MASTER | PCI_NO_INTX);
	check(raise(1, 0), "disabled it is silent");
	before = wires;
	pci_command(fn, PCI_MEM | PCI_MASTER);
	check(wait_until(wires == before + 1, 5000), "enabled again it interrupts");
	before = wires;
	for (n = 0; n < 500; n++) {
		wr32(bar + E_IRQ_RAISE, 1U << n % 32);
		if (!wait_until(wires - before > n, 5000))
			break;
	}
	check_eq(n, 500, "500 times");
	wait_until(false, 20);
	check_eq(wires - before, n, "and no time more");
	print("# %u interrupts without a reason\n", idle);
	irqs_off();
}

/* ---- the message ----------------------------------------------------------------------------- */

/* PCI Local Bus Specification 3.0, section 6.8.1: one message, an address of 64 bits */
enum { CAPS = 0x34, CAP_MSI = 5, MSI_CONTROL = 2, MSI_ADDR = 4, MSI_DATA = 12, MSI_ON = 1 };

static u64 find_msi(void)
{
	unsigned int at = rd8(fn + CAPS);

	for (unsigned int n = 0; at && n < 48; n++, at = rd8(fn + at + 1))
		if (rd8(fn + at) == CAP_MSI)
			return fn + at;
	return 0;
}

static bool message(unsigned int which)
{
	u32 before = messages[which];

	wr32(bar + E_IRQ_RAISE, 1);
	return wait_until(messages[which] == before + 1, 2000) && messages[which] == before + 1;
}

static bool silent(void)
{
	u32 before = messages[0] + messages[1];

	wr32(bar + E_IRQ_RAISE, 1);
	wait_until(false, 50);
	wr32(bar + E_IRQ_ACK, ~0U);
	return messages[0] + messages[1] == before;
}

static void test_message(void)
{
	u64 msi = find_msi();
	unsigned int n = 0;

	if (!check(gic_init() && its_init(slot << 3, ARRAY_LEN(messages)),
		   "GICv3 and ITS answer") || !check(msi != 0, "it has MSI"))
		return;
	irq_hook = hook;
	irqs_on();
	pci_command(fn, PCI_MEM | PCI_MASTER | PCI_NO_INTX);
	wr32(msi + MSI_ADDR, (u32)its_doorbell());
	wr32(msi + MSI_ADDR + 4, (u32)(its_doorbell() >> 32));
	wr16(msi + MSI_DATA, 1);
	check(silent(), "switched off it sends no message");
	wr16(msi + MSI_CONTROL, rd16(msi + MSI_CONTROL) | MSI_ON);
	check(message(1), "switched on it does");
	while (n < 500 && message(1))
		n++;
	check_eq(n, 500, "500 times");
	wr16(msi + MSI_CONTROL, rd16(msi + MSI_CONTROL) & ~MSI_ON);
	check(silent(), "switched off again it does not");
	wr16(msi + MSI_DATA, 0);
	wr16(msi + MSI_CONTROL, rd16(msi + MSI_CONTROL) | MSI_ON);
	check(message(0), "another message, once switched on");
	check_eq(messages[1], 501, "and the one before comes no more");
	irqs_off();
	wr16(msi + MSI_CONTROL, rd16(msi + MSI_CONTROL) & ~MSI_ON);
}

void guest_main(void)
{
	fn = pci_find(EDU, 0, &slot);
	if (!check(fn != 0, "edu is on the bus"))
		return;
	pci_command(fn, PCI_MEM);
	bar = pci_bar(fn);
	if (!check_eq(rd32(bar + E_ID), 0x010000ed, "it has its registers"))
		return;
	wr32(bar + E_LIVE, 0x12345678);
	check_eq(rd32(bar + E_LIVE), ~0x12345678U, "it is alive");
	share((void *)page(SRC), 2 * PAGE);
	share((void *)page(BACK), PAGE);
	test_shared();
	if (guest.realm) {
		test_private();
		test_back();
		test_part();
	}
	if (arg_has("intx"))
		test_wire();
	if (arg_has("msi"))
		test_message();
}
