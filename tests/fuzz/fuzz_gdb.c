// SPDX-License-Identifier: BSD-3-Clause
/*
 * The gdb server between a client that sends what the input says, framed well or badly, and a model
 * of the machine. Every frame that comes back is well formed; registers and memory are touched only
 * while the machine is stopped; when the client is gone no breakpoint is left, neither in memory
 * nor in a register.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "vmm/core/err.h"
#include "vmm/core/loop.h"
#include "vmm/gdb.h"
#include "vmm/gdb_packet.h"

#define RAM	0x80000000ull
#define RAM_SIZE 0x8000
#define NR_CPUS	3

static struct {
	bool running[NR_CPUS];
	bool written;		/* the client wrote to memory */
	bool killed;
	unsigned int fails;	/* calls that fail from now on */
	struct gdb_regval reg[NR_CPUS][GDB_NR_REGS];
	struct gdb_debug debug[NR_CPUS];
	uint8_t ram[RAM_SIZE], first[RAM_SIZE];
} m;

static struct loop loop;
static struct sockaddr_un addr = { .sun_family = AF_UNIX };
static int client = -1;

/* ---- the machine ----------------------------------------------------------------------------- */

static void stopped(void)
{
	for (unsigned int i = 0; i < NR_CPUS; i++)
		PROPERTY(!m.running[i]);
}

static bool fails(void)
{
	return m.fails && m.fails--;
}

static unsigned int nr_cpus(void *ctx)
{
	return NR_CPUS;
}

static void nr_hw(void *ctx, unsigned int *bps, unsigned int *wps)
{
	*bps = 2;
	*wps = 2;
}

static void stop_all(void *ctx)
{
	memset(m.running, 0, sizeof(m.running));
}

static void resume(void *ctx, int cpu)
{
	PROPERTY(cpu >= -1 && cpu < NR_CPUS);
	for (int i = 0; i < NR_CPUS; i++)
		m.running[i] |= cpu == -1 || cpu == i;
}

static int get_reg(void *ctx, unsigned int cpu, enum gdb_reg reg, struct gdb_regval *val)
{
	stopped();
	PROPERTY(cpu < NR_CPUS && reg < GDB_NR_REGS);
	*val = m.reg[cpu][reg];
	return fails() ? -EIO : 0;
}

static int set_reg(void *ctx, unsigned int cpu, enum gdb_reg reg, const struct gdb_regval *val)
{
	stopped();
	PROPERTY(cpu < NR_CPUS && reg < GDB_NR_REGS);
	if (fails())
		return -EIO;
	m.reg[cpu][reg] = *val;
	return 0;
}

static uint8_t *memory(ipa_t ipa, size_t len)
{
	stopped();
	PROPERTY(len <= 4096);
	return ipa < RAM || ipa - RAM > RAM_SIZE || len > RAM_SIZE - (ipa - RAM) ? NULL :
		m.ram + (ipa - RAM);
}

static int read_ipa(void *ctx, ipa_t ipa, void *buf, size_t len)
{
	uint8_t *p = memory(ipa, len);

	if (!p || fails())
		return -EFAULT;
	memcpy(buf, p, len);
	return 0;
}

static int write_ipa(void *ctx, ipa_t ipa, const void *buf, size_t len)
{
	uint8_t *p = memory(ipa, len);

	if (!p)
		return -EFAULT;
	memcpy(p, buf, len);
	return 0;
}

static int set_debug(void *ctx, unsigned int cpu, const struct gdb_debug *d)
{
	PROPERTY(cpu < NR_CPUS && d->nr_bps <= 2 && d->nr_wps <= 2);
	if (fails())
		return -EINVAL;
	m.debug[cpu] = *d;
	return 0;
}

static void kill_machine(void *ctx)
{
	m.killed = true;
}

static const struct gdb_target_ops ops = {
	.nr_cpus = nr_cpus, .nr_hw = nr_hw, .stop_all = stop_all, .resume = resume,
	.get_reg = get_reg, .set_reg = set_reg, .read_ipa = read_ipa, .write_ipa = write_ipa,
	.set_debug = set_debug, .kill = kill_machine,
};

/* ---- the client ------------------------------------------------------------------------------ */

static void serve(void)
{
	for (unsigned int i = 0; i < 100 && loop_once(&loop, 0) > 0; i++)
		;
}

/* All that has come: acknowledgments and frames, which the server's own receiver understands. */
static void listen_to_it(void)
{
	static struct gdb_rx rx;
	uint8_t buf[4096];
	ssize_t n;

	memset(&rx, 0, offsetof(struct gdb_rx, buf));
	for (;;) {
		serve();
		n = recv(client, buf, sizeof(buf), MSG_DONTWAIT);
		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++) {
			enum gdb_rx_event ev = gdb_rx_byte(&rx, buf[i]);

			PROPERTY(ev == GDB_RX_NONE || ev == GDB_RX_PACKET || ev == GDB_RX_ACK ||
				 ev == GDB_RX_NAK);
			if (ev == GDB_RX_PACKET && *rx.buf == 'E')
				PROPERTY(rx.len == 3);
		}
	}
	/* frames are sent as a whole */
	PROPERTY(rx.state == GDB_RX_IDLE);
}

static void say(const void *buf, size_t len)
{
	if (len && send(client, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		PROPERTY(errno == EPIPE || errno == ECONNRESET || errno == EAGAIN);
	listen_to_it();
}

static void hang_up(void)
{
	close(client);
	client = -1;
	serve();
}

static void call(void)
{
	client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	PROPERTY(client >= 0 && !connect(client, (struct sockaddr *)&addr, sizeof(addr)));
	serve();
}

static void frame(const void *text, size_t len)
{
	static struct gdb_tx tx;
	const char *p = text;

	m.written |= len && memchr("MXGP", *p, 4);
	gdb_tx_begin(&tx);
	gdb_tx_binary(&tx, text, len);
	gdb_tx_end(&tx);
	say(tx.buf, tx.len);
}

/* Packets that gdb sends, with addresses that are something. */
static void packet(struct input *in)
{
	static const char *const text[] = {
		"?", "g", "qSupported:swbreak+;hwbreak+", "qfThreadInfo", "qsThreadInfo", "qAttached",
		"qC", "vCont?", "vCont;c", "vCont;s:1;c", "c", "s", "D", "QStartNoAckMode", "Hg0",
		"Hc-1", "qRcmd,696e666f", "qRcmd,737465702d69727173206f6e",
		"qXfer:features:read:target.xml:0,ffb", "qThreadExtraInfo,1", "k", "T2",
	};
	uint8_t how = in_u8(in), what = in_u8(in);
	uint64_t at = RAM + (how & 0x40 ? in_u16(in) : what * 4u);
	char buf[256];
	int n;

	if (how & 0x80)
		at = in_u64(in);
	switch (how % 8) {
	case 0 ... 1:
		n = snprintf(buf, sizeof(buf), "%s", text[what % ARRAY_SIZE(text)]);
		break;
	case 2:
		n = snprintf(buf, sizeof(buf), "m%" PRIx64 ",%x", at, in_u16(in));
		break;
	case 3:
		n = snprintf(buf, sizeof(buf), "%c%u,%" PRIx64 ",%x", how & 8 ? 'Z' : 'z',
			     (how >> 4 & 3) + (what & 1), at, how & 0x20 ? what % 9 : 4);
		break;
	case 4:
		n = snprintf(buf, sizeof(buf), "p%x", what);
		break;
	case 5:
		n = snprintf(buf, sizeof(buf), "P%x=%016" PRIx64, what % 70, how & 8 ? at : in_u64(in));
		break;
	case 6:
		n = snprintf(buf, sizeof(buf), "M%" PRIx64 ",4:%08x", at, in_u32(in));
		break;
	default:
		n = snprintf(buf, sizeof(buf), "%c%" PRIx64, "csCSHT"[what % 6], at);
		break;
	}
	frame(buf, (size_t)n);
}

/* A register that the protocol has none of: the MMU is on, and maps something. */
static void machine_state(struct input *in)
{
	static const enum gdb_reg reg[] = {
		GDB_REG_SCTLR_EL1, GDB_REG_TCR_EL1, GDB_REG_TTBR0_EL1, GDB_REG_TTBR1_EL1,
		GDB_REG_PSTATE, GDB_REG_PC, GDB_REG_ESR_EL1, GDB_REG_VBAR_EL1,
	};
	uint8_t which = in_u8(in);
	struct gdb_regval *r = &m.reg[(which >> 3) % NR_CPUS][reg[which & 7]];

	r->lo = in_u64(in);
	if (which & 0x80) {
		/* one level of blocks of 1 GiB */
		m.reg[0][GDB_REG_SCTLR_EL1].lo = 1;
		m.reg[0][GDB_REG_TCR_EL1].lo = 25 | 25 << 16 | UINT64_C(2) << 30 |
						UINT64_C(2) << 32;
		m.reg[0][GDB_REG_TTBR0_EL1].lo = m.reg[0][GDB_REG_TTBR1_EL1].lo = RAM;
	}
}

static void step(struct gdb *g, struct input *in)
{
	uint8_t op = in_u8(in);
	struct gdb_debug_exit note;
	const uint8_t *p;
	size_t n;

	switch (op % 16) {
	case 0 ... 6:
		packet(in);
		break;
	case 7:
		n = in_take(in, in_u8(in), &p);
		frame(p, n);
		break;
	case 8:
		n = in_take(in, in_u8(in), &p);
		m.written |= n > 0;
		say(p, n);
		break;
	case 9:
		say(&"+-\003$"[op >> 6], 1);
		break;
	case 10 ... 11:
		note.hsr = ((op & 0x20 ? 0x30u : 0x32u) + in_u8(in) % 16) << 26;
		if (op & 0x10)
			note.hsr = in_u32(in);
		note.far = op & 0x40 ? in_u64(in) : RAM + in_u16(in);
		gdb_on_debug(g, op >> 4, &note);
		serve();
		break;
	case 12:
		memset(m.running, 0, sizeof(m.running));
		memset(m.debug, 0, sizeof(m.debug));
		m.written = true;	/* vCPUs and memory are new ones */
		gdb_on_reset(g);
		break;
	case 13:
		hang_up();
		call();
		break;
	case 14:
		m.fails = op >> 4;
		break;
	case 15:
		machine_state(in);
		break;
	}
	listen_to_it();
}

static void before(void)
{
	const char *tmp = getenv("TMPDIR");
	struct err e;

	/* a socket has a short name */
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/fuzz-gdb.%d",
		 tmp && strlen(tmp) < 80 ? tmp : "/tmp", (int)getpid());
	PROPERTY(!loop_init(&loop, &e));
}

/* Where --gdb may want to listen; a socket file has its place already. */
static void elsewhere(struct input *in)
{
	char *text = in_text(in, 8);
	struct gdb *g;
	struct err e = { 0 };

	if (strncmp(text, "unix:", 5)) {
		if (gdb_start(&loop, text, &ops, NULL, &g, &e) < 0)
			ERROR_IS_A_LINE(e);
		else
			PROPERTY(*gdb_where(g));
		gdb_close(g, 0);
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct gdb_debug none;
	struct input in = { data, size };
	char spec[128];
	struct gdb *g;
	struct err e;

	if (!*addr.sun_path)
		before();
	if (in_u8(&in) == 0xff)
		elsewhere(&in);
	memset(&m, 0, sizeof(m));
	for (size_t i = 0; i < RAM_SIZE; i++)
		m.ram[i] = i * 7;
	/* a table of blocks: the lowest 4 GiB at their place */
	for (uint64_t i = 0; i < 4; i++) {
		uint64_t block = i << 30 | 0x701;

		memcpy(m.ram + i * 8, &block, sizeof(block));
	}
	memcpy(m.first, m.ram, RAM_SIZE);
	for (unsigned int i = 0; i < NR_CPUS; i++) {
		m.running[i] = true;
		m.reg[i][GDB_REG_PC].lo = RAM + 0x1000;
		m.reg[i][GDB_REG_PSTATE].lo = 5;
	}
	snprintf(spec, sizeof(spec), "unix:%s", addr.sun_path);
	PROPERTY(!gdb_start(&loop, spec, &ops, NULL, &g, &e));
	call();
	while (in.left && !m.killed)
		step(g, &in);
	m.fails = 0;
	if (!m.killed) {
		/* attached or not, this ends it */
		hang_up();
		call();
		frame("?", 1);
		hang_up();
		for (unsigned int i = 0; i < NR_CPUS; i++)
			PROPERTY(!memcmp(&m.debug[i], &none, sizeof(none)));
		PROPERTY(m.written || !memcmp(m.ram, m.first, RAM_SIZE));
	} else {
		hang_up();
	}
	gdb_close(g, 0);
	return 0;
}

/* What gdb says from "target remote" on, and a few things that it does not. */
void fuzz_seeds(void)
{
	static const char *const talk[] = {
		"qSupported:swbreak+;hwbreak+", "vMustReplyEmpty", "QStartNoAckMode", "?", "Hg1", "g",
		"qXfer:features:read:target.xml:0,ffb", "qXfer:features:read:target.xml:3000,ffb",
		"qXfer:features:read:x:0,1", "p20", "P20=0010008000000000", "p42", "p99", "m80001000,40",
		"m80007ff0,40", "M80002000,4:01020304", "X80002000,2:ab", "Z0,80001000,4", "Z0,80001000,4",
		"Z1,80001004,4", "Z2,80002000,8", "Z3,80002010,3", "Z4,80002020,40", "Z9,1,1", "m80001000,8",
		"z0,80001000,4", "z2,80002000,8", "vCont?", "vCont;s:1;c", "qC", "T1", "T9", "Hc0", "Hc-1",
		"qRcmd,68656c70", "qRcmd,696e666f", "qRcmd,6", "qThreadExtraInfo,2", "qsThreadInfo", "D",
	};
	/* "c", a note of a vCPU, a step, one more note, a reset, a failing call, ctrl-C, an ack, a nak */
	static const uint8_t run[] = {
		0x00, 0x01, 0x00, 0x0a, 0x0b, 0x2a, 0x00, 0x10, 0x00, 0x01, 0x0b, 0x0a, 0x02, 0, 0,
		0x0c, 0x01, 0x08, 0x89, 0x01, 0x0a, 0x3a, 0x0c, 0, 0, 0x1e, 0x01, 0x01, 0x09, 0x49,
		0x0d, 0x0f, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x00, 0x10, 0x00, 0x02, 0x40, 0x20,
		0x10, 0x40, 0x07, 0x0d, 0x0f, 0x03, 0, 0x30, 0, 0x80, 0, 0, 0, 0, 0x01, 0x0f, 0x02,
		0x00, 0xff, 0x00,
	};
	uint8_t buf[2048];
	size_t n = 1;

	buf[0] = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(talk); i++) {
		buf[n++] = 7;
		buf[n++] = strlen(talk[i]);
		memcpy(buf + n, talk[i], strlen(talk[i]));
		n += strlen(talk[i]);
	}
	fuzz_seed("talk", buf, n);
	memcpy(buf + 1, run, sizeof(run));
	fuzz_seed("run", buf, 1 + sizeof(run));
	fuzz_seed("port", "\xff" "0\0\0\0\0\0\0\0\0\1", 11);
	fuzz_seed("noport", "\xff" "70000\0\0\0\0\1", 11);
	/* the MMU on, then memory by each half */
	memcpy(buf + 1, "\x0f\x80\0\0\0\0\0\0\0\0\x02\0\x10\0\x82\0\0\0\0\x80\0\0\0\0\x08\0"
	       "\x82\0\0\0\0\x80\xff\xff\xff\xff\x08\0", 38);
	fuzz_seed("mmu", buf, 39);
}
