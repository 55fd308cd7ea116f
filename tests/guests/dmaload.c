// SPDX-License-Identifier: BSD-3-Clause
/*
 * Pages are shared and taken back for bootargs seconds=N (5) while two devices of the host do DMA:
 *
 *   an nvme reads without a pause into pages that stay shared: each sector must arrive, whatever
 *   happens to the ranges beside; sector N holds "sector NNNNNNNN" and blanks
 *   an edu writes to pages on the move: what is private at the moment must not change
 *
 * CPU 0 feeds the devices, CPU 1 converts. Ranges are random: parts of what was shared in one
 * request, several of them at once, pages that are in the wanted state already.
 */
#include "guest.h"

#define NVME		0x00101b36U
#define EDU		0x11e81234U
#define LEN		4096U
#define NR_PAGES	64U
#define SECTORS		8192U

/* NVM Express base specification 1.4: 3.1 (registers), 4.6 (commands), 5 (admin commands) */
enum { N_CAP = 0, N_CC = 0x14, N_CSTS = 0x1c, N_AQA = 0x24, N_ASQ = 0x28, N_ACQ = 0x30,
       N_BELLS = 0x1000 };
enum { ADMIN_NEW_SQ = 1, ADMIN_NEW_CQ = 5, NVM_READ = 2 };
#define CC_ON		(6U << 16 | 4U << 20 | 1)	/* entries of 64 and 16 bytes, enabled */
#define QSIZE		16U
#define READ_SECTORS	8U				/* a page */

/* docs/specs/edu.rst of QEMU */
enum { E_SRC = 0x80, E_DST = 0x88, E_COUNT = 0x90, E_CMD = 0x98 };
#define E_BUFFER	0x40000UL

struct queue {
	u64 sq, cq;			/* at the alias */
	unsigned int id, tail, head;
	u32 phase;
};

static u8 rings[4 * PAGE] page_aligned;
static u8 data[4 * PAGE] page_aligned;
static u8 region[NR_PAGES * PAGE] page_aligned;
static u64 nvme, edu;
static unsigned int stride;
static struct queue admin, io_queue;

static volatile bool stop;
static volatile u64 conversions, pages_shared, bad_pages, bad_zero, refused;

static u32 random(u32 *seed)
{
	/* xorshift32 */
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

/* ---- nvme, polled ---------------------------------------------------------------------------- */

static void bell(const struct queue *q, unsigned int which, u32 v)
{
	wr32(nvme + N_BELLS + (2 * q->id + which) * (u64)stride, v);
}

/* The status of the command, without the phase; 0x10000: it never ended */
static u32 command(struct queue *q, u32 op, u32 nsid, u64 prp, u32 d10, u32 d11, u32 d12)
{
	u64 at = q->sq + q->tail * 64UL, end = q->cq + q->head * 16UL;
	u32 st;

	for (u64 i = 0; i < 64; i += 8)
		wr64(at + i, 0);
	wr32(at, op | q->tail << 16);
	wr32(at + 4, nsid);
	wr64(at + 24, prp);
	wr32(at + 40, d10);
	wr32(at + 44, d11);
	wr32(at + 48, d12);
	barrier();
	q->tail = (q->tail + 1) % QSIZE;
	bell(q, 0, q->tail);
	if (!wait_until((rd32(end + 12) >> 16 & 1) == q->phase, 10000))
		return 0x10000;
	st = rd32(end + 12) >> 17;
	if (++q->head == QSIZE) {
		q->head = 0;
		q->phase ^= 1;
	}
	bell(q, 1, q->head);
	return st;
}

static bool nvme_start(void)
{
	u64 at = share(rings, sizeof(rings));

	for (u64 i = 0; i < sizeof(rings); i += 8)
		wr64(at + i, 0);
	admin = (struct queue){ at, at + PAGE, 0, 0, 0, 1 };
	io_queue = (struct queue){ at + 2 * PAGE, at + 3 * PAGE, 1, 0, 0, 1 };
	stride = 4U << (rd32(nvme + N_CAP + 4) & 0xf);
	wr32(nvme + N_CC, 0);
	if (!wait_until(!(rd32(nvme + N_CSTS) & 1), 10000))
		return false;
	wr32(nvme + N_AQA, (QSIZE - 1) << 16 | (QSIZE - 1));
	wr32(nvme + N_ASQ, (u32)admin.sq);
	wr32(nvme + N_ASQ + 4, (u32)(admin.sq >> 32));
	wr32(nvme + N_ACQ, (u32)admin.cq);
	wr32(nvme + N_ACQ + 4, (u32)(admin.cq >> 32));
	wr32(nvme + N_CC, CC_ON);
	if (!wait_until(rd32(nvme + N_CSTS) & 1, 10000))
		return false;
	return !command(&admin, ADMIN_NEW_CQ, 0, io_queue.cq, (QSIZE - 1) << 16 | 1, 1, 0) &&
	       !command(&admin, ADMIN_NEW_SQ, 0, io_queue.sq, (QSIZE - 1) << 16 | 1,
			1 << 16 | 1, 0);
}

static bool sector_is(u64 at, u32 n)
{
	char text[16] = "sector 00000000";

	for (unsigned int i = 14; i > 6; i--, n /= 10)
		text[i] = (char)('0' + n % 10);
	for (unsigned int i = 0; i < 15; i++)
		if (rd8(at + i) != (u8)text[i])
			return false;
	return true;
}

static bool read_page(u64 at, u32 sector)
{
	for (u64 i = 0; i < LEN; i += 512)
		wr64(at + i, 0);
	if (command(&io_queue, NVM_READ, 1, at, sector, 0, READ_SECTORS - 1))
		return false;
	for (unsigned int i = 0; i < READ_SECTORS; i++)
		if (!sector_is(at + i * 512, sector + i))
			return false;
	return true;
}

/* ---- edu ------------------------------------------------------------------------------------- */

static bool edu_idle(void)
{
	return !(rd64(edu + E_CMD) & 1);
}

static void edu_store(u64 addr)
{
	wr64(edu + E_SRC, E_BUFFER);
	wr64(edu + E_DST, addr);
	wr64(edu + E_COUNT, LEN);
	wr64(edu + E_CMD, 3);
}

/* ---- conversions ----------------------------------------------------------------------------- */

static const u64 probe[] = { 0, 8, LEN / 2, LEN - 16, LEN - 8 };

static u64 mark(unsigned int n, u32 gen)
{
	return (u64)gen << 32 | 0x50000000 | n;
}

static void convert(struct cpu *c)
{
	bool shared[NR_PAGES] = { false };
	u32 gen[NR_PAGES] = { 0 }, seed = 12345;

	(void)c;
	for (unsigned int n = 0; n < NR_PAGES; n++)
		for (unsigned int i = 0; i < ARRAY_LEN(probe); i++)
			wr64((u64)region + n * PAGE + probe[i], mark(n, 0));
	while (!stop) {
		unsigned int first = random(&seed) % NR_PAGES;
		unsigned int n = 1 + random(&seed) % (random(&seed) % 4 ? 8 : NR_PAGES);
		bool to_shared = random(&seed) % 2;

		if (n > NR_PAGES - first)
			n = NR_PAGES - first;
		for (unsigned int p = first; p < first + n; p++)
			for (unsigned int i = 0; !shared[p] && i < ARRAY_LEN(probe); i++)
				if (rd64((u64)region + p * PAGE + probe[i]) != mark(p, gen[p]))
					bad_pages++;
		if (ripas_set((u64)region + first * PAGE, (u64)region + (first + n) * PAGE,
			      to_shared ? RIPAS_EMPTY : RIPAS_RAM) != 0) {
			refused++;
			return;
		}
		conversions++;
		for (unsigned int p = first; p < first + n; p++) {
			u64 at = (u64)region + p * PAGE;

			if (to_shared)
				pages_shared++;
			for (unsigned int i = 0; !to_shared && shared[p] && i < ARRAY_LEN(probe);
			     i++) {
				if (rd64(at + probe[i]) != 0)
					bad_zero++;
				wr64(at + probe[i], mark(p, gen[p] + 1));
			}
			if (!to_shared && shared[p])
				gen[p]++;
			shared[p] = to_shared;
		}
	}
}

void guest_main(void)
{
	u64 fn, end, at, reads = 0, stores = 0;
	u32 seed = 99, sector = 0;
	unsigned int slot;
	bool good = true;

	fn = pci_find(EDU, 0, &slot);
	if (!check(fn != 0, "edu is on the bus"))
		return;
	pci_command(fn, PCI_MEM | PCI_MASTER);
	edu = pci_bar(fn);
	fn = pci_find(NVME, 0, &slot);
	if (!check(fn != 0, "nvme is on the bus"))
		return;
	pci_command(fn, PCI_MEM | PCI_MASTER);
	nvme = pci_bar(fn);
	at = share(data, sizeof(data));
	if (!check(nvme_start(), "nvme takes commands") ||
	    !check(read_page(at, 0), "and reads") ||
	    !check_eq(cpu_on(1, convert), 0, "CPU 1"))
		return;
	end = now() + ticks_ms(arg_num("seconds", 5) * 1000);
	while (good && now() < end && !refused) {
		good = read_page(at + reads % 4 * PAGE, sector);
		sector = (sector + READ_SECTORS) % SECTORS;
		reads++;
		if (edu_idle()) {
			u64 to = (u64)region + random(&seed) % NR_PAGES * PAGE;

			edu_store(random(&seed) % 4 ? io(to) : to);
			stores++;
		}
	}
	stop = true;
	check(wait_until(psci(PSCI_AFFINITY_INFO, guest.mpidr[1], 0, 0) == 1, 20000),
	      "CPU 1 comes to its end");
	print("# %lu reads, %lu stores, %lu conversions, %lu pages shared\n", reads, stores,
	      conversions, pages_shared);
	check(good, "each read brought what is on the disk");
	check_eq(refused, 0, "no conversion failed");
	check_eq(bad_pages, 0, "no private page changed");
	check_eq(bad_zero, 0, "each page came back as zeros");
	check(reads > 10 && stores > 5 && conversions > 50, "there was something of each");
}
