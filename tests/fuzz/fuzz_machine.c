// SPDX-License-Identifier: BSD-3-Clause
/*
 * Whole machines on the model of KVM and of the RMM: kernels of all kinds, guests that do what the
 * input says (memory, devices, calls to the monitor, conversions), exits in any order, interrupted
 * and failing KVM_RUNs, one call of the launch or the run that fails. The machine ends or goes on,
 * with a reason; the model has no complaint; nothing is left open. A page that a guest took back or
 * gave away is empty, and what it did not touch is as it was.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <time.h>

#include "realm/psci.h"
#include "realm/rsi.h"
#include "tests/fakekvm/fake_rmi.h"
#include "tests/fakekvm/harness.h"
#include "vmm/board/memmap.h"

#define SHARED	(UINT64_C(1) << 32)	/* 33-bit IPA space */
#define RAM	MAP_RAM_BASE
#define MAX_CPUS 3
#define OWN	6			/* pages of a vCPU's own */
#define PAGE(cpu, n) (RAM + 32 * SZ_1M + ((cpu) * OWN + (n)) * SZ_4K)
#define QUIET_MS 20			/* nothing happens any more */
#define LONG_MS	4000

static const struct host {
	const struct fake_gen *gen;
	enum realm_mode mode;
	const char *want;
	bool strict;
} hosts[] = {
	{ &fake_linux_6_1, MODE_PLAIN },
	{ &fake_linux_7_3, MODE_PLAIN },
	{ &fake_linux_7_3, MODE_EMULATED },
	{ &fake_linux_6_12, MODE_EMULATED },
	{ &fake_linux_7_3, MODE_EMULATED, .strict = true },
	{ &fake_rmi_v8, MODE_KVM },
	{ &fake_rmi_v11, MODE_KVM },
	{ &fake_rmi_v12, MODE_KVM },
	{ &fake_rmi_v13, MODE_KVM },
	{ &fake_rmi_v14, MODE_KVM },
	{ &fake_rmi_v15, MODE_KVM },
	{ &fake_rmi_v15, MODE_KVM, "d" },
	{ &fake_rmi_kamalca, MODE_KVM },
	{ &fake_rmi_e, MODE_KVM, "e:0xd8" },
};

static struct rig rig;
static struct input program;
static const struct host *host;
static _Atomic unsigned int steps;	/* of all guests */

/* ---- the guest ------------------------------------------------------------------------------- */

/* What a vCPU knows of its own pages. */
struct guest {
	struct fake_cpu *c;
	struct input in;
	unsigned int id;
	bool shared[OWN], torn[OWN];
	uint8_t val[OWN];
};

static uint64_t smc(struct guest *g, uint64_t x[18], uint64_t fn, uint64_t a, uint64_t b,
		    uint64_t d)
{
	memset(x, 0, 18 * sizeof(*x));
	x[0] = fn;
	x[1] = a;
	x[2] = b;
	x[3] = d;
	if (host->mode == MODE_PLAIN)
		fake_hvc(g->c, x);
	else
		fake_smc(g->c, x);
	return x[0];
}

static ipa_t own(const struct guest *g, unsigned int n)
{
	return PAGE(g->id, n) | (g->shared[n] ? SHARED : 0);
}

static void own_page(struct guest *g, unsigned int n, bool write, uint8_t val)
{
	uint64_t is;

	if (g->torn[n])
		return;
	if (write) {
		fake_write(g->c, own(g, n) + 8, val, 1);
		g->val[n] = val;
		return;
	}
	is = fake_read(g->c, own(g, n) + 8, 1);
	if (!fake_aborted(g->c))
		fake_expect_eq(is, g->val[n]);
}

static void convert(struct guest *g, unsigned int n, unsigned int to, bool private)
{
	uint64_t x[18], got;

	if (host->mode == MODE_PLAIN)
		return;
	got = smc(g, x, RSI_IPA_STATE_SET, PAGE(g->id, n), PAGE(g->id, to), private);
	for (; n < to; n++) {
		bool done = got == RSI_SUCCESS && PAGE(g->id, n) < x[1];

		if (done && g->shared[n] == private)
			g->val[n] = 0;
		if (done)
			g->shared[n] = !private;
		else if (g->shared[n] == private)
			g->torn[n] = true;	/* half done: nobody says what is in it */
	}
}

static ipa_t somewhere(struct input *in)
{
	static const ipa_t place[] = {
		MAP_UART_BASE, MAP_RTC_BASE, MAP_GPIO_BASE, MAP_VIRTIO_BASE,
		MAP_VIRTIO_BASE + 0x200, MAP_FLASH_BASE, MAP_GICD_BASE, MAP_ECAM_BASE,
		MAP_PCI_MEM_BASE, MAP_PCI_IO_BASE, RAM, RAM + RIG_MEM - 16, RAM + 16 * SZ_1M,
		SHARED - 8, 2 * SHARED - 8, UINT32_MAX - 7,
	};
	uint8_t how = in_u8(in);
	ipa_t at = place[how % ARRAY_SIZE(place)] + (how & 0x20 ? in_u16(in) : in_u8(in) & 0xfc);

	if (how & 0x40)
		at |= SHARED;
	/* the pages of the others are theirs */
	if ((at & ~SHARED) >= PAGE(0, 0) && (at & ~SHARED) < PAGE(MAX_CPUS, 0))
		at = RAM;
	return at;
}

static void monitor(struct guest *g)
{
	uint8_t what = in_u8(&g->in);
	uint64_t x[18];

	in_bytes(&g->in, x, 5 * sizeof(*x));
	memset(x + 5, what, sizeof(x) - 5 * sizeof(*x));
	if (what & 0x80)
		x[0] = RSI_VERSION + (what & 0xf);
	else if (what & 0x40)
		x[0] = 0x84000000 | (what & 0x1f) | (what & 0x20 ? 0x40000000 : 0);
	/* no system call that ends it, and no page of others */
	if ((x[0] & 0xbfffffff) == FAKE_PSCI_SYSTEM_RESET || (uint32_t)x[0] == RSI_IPA_STATE_SET)
		return;
	if (what & 0x10)
		x[1] = PAGE(g->id, 0);
	else if ((uint32_t)x[0] == RSI_REALM_CONFIG || (uint32_t)x[0] == RSI_HOST_CALL ||
		 (uint32_t)x[0] == RSI_ATTESTATION_TOKEN_CONTINUE)
		x[1] = RAM + 20 * SZ_1M;
	g->torn[0] |= x[1] == PAGE(g->id, 0);
	if (what % 3)
		fake_smc(g->c, x);
	else
		fake_hvc(g->c, x);
}

/* Any but those of accesses, which fake_read() and its like make. */
static void strange_exit(struct guest *g)
{
	static const unsigned int reason[] = {
		KVM_EXIT_UNKNOWN, KVM_EXIT_HYPERCALL, KVM_EXIT_DEBUG, KVM_EXIT_SHUTDOWN,
		KVM_EXIT_FAIL_ENTRY, KVM_EXIT_INTR, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_SYSTEM_EVENT,
		KVM_EXIT_MEMORY_FAULT, 12345,
	};
	uint8_t what = in_u8(&g->in);
	uint64_t data[4];

	in_bytes(&g->in, data, sizeof(data));
	what %= ARRAY_SIZE(reason);
	if (reason[what] == KVM_EXIT_MEMORY_FAULT) {
		fake_fault(g->c, data[0] & 8, RAM + 48 * SZ_1M + (data[1] & 0xff000),
			   (data[2] & 0xff000) + SZ_4K, what & 1 ? EFAULT : 0);
		return;
	}
	fake_exit(g->c, reason[what], data, ARRAY_SIZE(data));
}

static void step(struct guest *g)
{
	static const int err[] = { EINTR, EINTR, EAGAIN, EFAULT, ENOMEM, EIO, EINVAL };
	uint8_t op = in_u8(&g->in), a = in_u8(&g->in);
	unsigned int n = a % OWN, len = 1u << (op >> 6);
	ipa_t at;

	steps++;
	switch (op % 16) {
	case 0 ... 1:
		own_page(g, n, op & 16, a);
		break;
	case 2 ... 3:
		convert(g, n, n + 1 + (a >> 4) % (OWN - n), op & 16);
		break;
	case 4 ... 6:
		at = somewhere(&g->in);
		if (op & 16)
			fake_write(g->c, at, in_u32(&g->in), len);
		else
			fake_read(g->c, at, len);
		break;
	case 7:
		fake_ldp(g->c, somewhere(&g->in));
		break;
	case 8 ... 10:
		monitor(g);
		break;
	case 11:
		strange_exit(g);
		break;
	case 12:
		fake_error(g->c, err[a % ARRAY_SIZE(err)]);
		break;
	case 13:
		/* another vCPU comes or goes */
		fake_call(g->c, FAKE_PSCI_CPU_ON, a % (MAX_CPUS + 1), RAM + 0x80000, 0);
		break;
	case 14:
		if (a == 0x77)
			fake_call(g->c, FAKE_PSCI_CPU_OFF, 0, 0, 0);
		if (a == 0x78)
			fake_system_reset(g->c);
		break;
	case 15:
		fake_set_reg(g->c, op & 16 ? A64_VBAR_EL1 : A64_X(a % 31), in_u32(&g->in));
		break;
	}
}

static void guest(struct fake_cpu *c, void *ctx)
{
	struct guest g = { .c = c, .in = program, .id = fake_id(c) };
	const uint8_t *skipped;

	/* each begins at another place, and an input of another vCPU is over sooner */
	in_take(&g.in, g.id * 7, &skipped);
	while (g.in.left)
		step(&g);
	for (unsigned int i = 0; i < OWN; i++)
		own_page(&g, i, false, 0);
	if (!g.id)
		fake_poweroff(c);
}

/* ---- the machine ----------------------------------------------------------------------------- */

/* Until it ends, or nobody does anything any more: vCPUs that are off, and one that waits. */
static void run(void)
{
	unsigned int last = 0, same = 0;

	if (machine_start(&rig.m, &rig.e)) {
		ERROR_IS_A_LINE(rig.e);
	} else {
		for (unsigned int ms = 0; ms < LONG_MS && same < QUIET_MS; ms++) {
			if (atomic_load(&rig.m.end) != END_RUNNING)
				break;
			loop_once(&rig.loop, 1);
			same = steps == last ? same + 1 : 0;
			last = steps;
		}
	}
	machine_end(&rig.m, END_LEAVE);
	machine_stop(&rig.m);
}

static void options(struct input *in)
{
	uint8_t how = in_u8(in), more = in_u8(in);

	rig.cfg.cpus = 1 + how % MAX_CPUS;
	rig.cfg.rng = how & 0x08;
	rig.cfg.balloon = how & 0x10;
	rig.cfg.power_button = how & 0x20;
	rig.cfg.transport = how & 0x40 ? TRANSPORT_PCI : TRANSPORT_MMIO;
	rig.cfg.pmu = more & 1;
	rig.cfg.pmu_counters = more & 2 ? 4 : 0;
	rig.cfg.sve_max_vl = more & 4 ? 128 << (more >> 6) : 0;
	rig.cfg.emulated_strict = host->strict;
	if (host->want)
		rig.cfg.rmi_generation = strdup(host->want);
	rig.cfg.rmi_psci_user = how & 0x80 && host->mode == MODE_KVM;
}

/* One call that fails: of the launch, or later. */
static void faults(struct input *in)
{
	static const int err[] = { EINTR, EAGAIN, ENOMEM, EINVAL, EIO, EBUSY, ENXIO };
	static const unsigned long req[] = {
		KVM_RUN, KVM_SET_ONE_REG, KVM_GET_ONE_REG, KVM_SET_USER_MEMORY_REGION2,
		KVM_SET_USER_MEMORY_REGION, KVM_IRQFD, KVM_IOEVENTFD, KVM_CHECK_EXTENSION,
	};
	uint8_t how = in_u8(in), which = in_u8(in);

	if (how & 0x80)
		fake_fail_nth(1 + which + (how & 0x40 ? 256 : 0), err[how % ARRAY_SIZE(err)]);
	else if (how & 0x40)
		fake_fail_ioctl(req[which % ARRAY_SIZE(req)], 1 + (which >> 3),
				err[how % ARRAY_SIZE(err)]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool first = true;
	struct input in = { data, size };
	const char *wrong;
	unsigned int fds;

	quiet(false);
	fds = open_fds();
	host = &hosts[in_u8(&in) % ARRAY_SIZE(hosts)];
	fake_reset(host->gen);
	rig_init(&rig, host->mode);
	options(&in);
	for (unsigned int i = 0; i < MAX_CPUS; i++)
		fake_set_guest(i, guest, NULL);
	faults(&in);
	program = in;
	steps = 0;
	quiet(true);
	if (rig_create(&rig) < 0)
		ERROR_IS_A_LINE(rig.e);
	else
		run();
	quiet(false);
	if (rig.made && rig.m.end == END_FAILED)
		ERROR_IS_A_LINE(rig.m.failure);
	rig_fini(&rig);
	wrong = fake_verdict();
	if (wrong)
		fprintf(stderr, "%s: %s\n", host->gen->name, wrong);
	PROPERTY(!wrong);
	/* the model keeps one, once it needs it */
	PROPERTY(open_fds() <= fds + first);
	first = false;
	return 0;
}

/* A life of each kind of machine: every action once and more, calls that fail in some. */
void fuzz_seeds(void)
{
	static const uint8_t life[] = {
		0x10, 0x21, 0x12, 0x22,				/* own pages: written */
		0x00, 0x21, 0x02, 0x20, 0x10, 0x55, 0x00, 0x55,	/* shared, written, read */
		0x13, 0x50, 0x00, 0x01, 0x00, 0x02, 0x12, 0x11,	/* taken back */
		0x0d, 0x01, 0x0d, 0x02,				/* other vCPUs */
		0x04, 0, 0x40, 0x05, 0x14, 0, 0x40, 0, 'x', 0, 0, 0,	/* UART */
		0x84, 0, 0x43, 0x70, 0x84, 0, 0x03, 0x70,	/* virtio */
		0x04, 0, 0x4a, 0, 0x44, 0, 0x0e, 0, 0x07, 0, 0x40, 0, 0x07, 0, 0x0b, 0,
		0x0c, 0, 0x0c, 2, 0x0e, 0, 0x0f, 3,
	};
	static const uint8_t call[] = {
		0x81, 0x90, 0x82, 0x93, 0x84, 0x85, 0x86, 0x88, 0x89, 0xad, 0x41, 0x64, 0x4a, 0x03,
		0x61,
	};
	uint8_t buf[1024];
	char name[32];

	for (unsigned int i = 0; i < 3 * ARRAY_SIZE(hosts); i++) {
		unsigned int h = i % ARRAY_SIZE(hosts), turn = i / ARRAY_SIZE(hosts);
		size_t n = 0;

		buf[n++] = h;
		buf[n++] = turn == 1 ? 0xf9 : turn == 2 ? 0x12 : 0x01;
		buf[n++] = turn == 1 ? 0x43 + (h & 4) : turn == 2 ? h : 0;
		buf[n++] = turn == 2 ? 0x82 : 0;
		buf[n++] = turn == 2 ? 40 + 11 * h : 0;
		memcpy(buf + n, life, sizeof(life));
		n += sizeof(life);
		for (unsigned int k = 0; k < sizeof(call); k++) {
			buf[n++] = 8;
			buf[n++] = 0;
			buf[n++] = call[k];
			memset(buf + n, 0, 40);
			buf[n + 8] = k & 3;
			n += 40;
		}
		/* exits of the host's own, one that ends it last */
		for (unsigned int k = 0; k < 1 + turn; k++) {
			buf[n++] = 11;
			buf[n++] = 0;
			buf[n++] = turn == 0 ? 8 : (h + k * 3) % 10;
			memset(buf + n, 0, 32);
			buf[n] = turn == 0 ? 8 : 1 + k;
			n += 32;
		}
		snprintf(name, sizeof(name), "host%u-%u", h, turn);
		fuzz_seed(name, buf, n);
	}
}
