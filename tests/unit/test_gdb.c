// SPDX-License-Identifier: BSD-3-Clause
/*
 * The gdb server against a fake machine: vCPU threads that interpret a handful of arm64
 * instructions and take debug exceptions, interrupts and aborts as the architecture has it. Where
 * gdb-multiarch is installed the last test runs it against the same machine.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmm/arm64_walk.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/loop.h"
#include "vmm/gdb.h"
#include "vmm/gdb_packet.h"

/* ---- the fake machine ------------------------------------------------------------------------ */

#define RAM		0x80000000ull
#define RAM_SIZE	0x100000ull
#define VBAR		(RAM + 0x8000)
#define CODE		(RAM + 0x1000)
#define MAX_CPUS	4

#define NOP		0xd503201fu
#define ERET		0xd69f03e0u
#define BRK(n)		(0xd4200000u | (n) << 5)
#define ADD(d, n, imm)	(0x91000000u | (imm) << 10 | (n) << 5 | (d))
#define STR(t, n)	(0xf9000000u | (n) << 5 | (t))
#define LDR(t, n)	(0xf9400000u | (n) << 5 | (t))
#define B(words)	(0x14000000u | ((uint32_t)(words) & 0x3ffffff))
#define MSR_DAIFSET(n)	(0xd50340dfu | (n) << 8)

#define EL1H		0x5
#define DAIF		0x3c0
#define PSTATE_I	0x80

struct fake_cpu {
	pthread_t thread;
	unsigned int id;
	bool run;
	struct gdb_regval reg[GDB_NR_REGS];
	struct gdb_debug debug;
	unsigned long executed;
};

struct fake {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool quit;
	bool irq;			/* an interrupt is pending for all vCPUs */
	bool killed;
	int bad_reg;			/* a register that cannot be read, -1: none */
	unsigned int nr_cpus, nr_bps, nr_wps;
	unsigned int debug_calls;
	struct fake_cpu cpu[MAX_CPUS];
	uint8_t *ram;
	struct gdb *gdb;
	struct loop loop;
	char dir[64], path[96];
	int fd;				/* the client's end */
};

static struct fake *m;

static uint64_t *reg(struct fake_cpu *c, enum gdb_reg r)
{
	return &c->reg[r].lo;
}

static int ipa_access(ipa_t ipa, void *buf, size_t len, bool write)
{
	if (ipa < RAM || ipa - RAM > RAM_SIZE || len > RAM_SIZE - (ipa - RAM))
		return -EFAULT;
	if (write)
		memcpy(m->ram + (ipa - RAM), buf, len);
	else
		memcpy(buf, m->ram + (ipa - RAM), len);
	return 0;
}

static int walk_read(void *ctx, ipa_t ipa, void *buf, size_t len)
{
	(void)ctx;
	return ipa_access(ipa, buf, len, false);
}

static int cpu_access(struct fake_cpu *c, uint64_t va, void *buf, size_t len, bool write)
{
	struct arm64_mmu mmu = {
		.sctlr = *reg(c, GDB_REG_SCTLR_EL1), .tcr = *reg(c, GDB_REG_TCR_EL1),
		.ttbr = { *reg(c, GDB_REG_TTBR0_EL1), *reg(c, GDB_REG_TTBR1_EL1) },
	};
	uint64_t left;
	ipa_t ipa;
	int ret = arm64_walk(&mmu, va, walk_read, NULL, &ipa, &left);

	return ret ? ret : ipa_access(ipa, buf, len, write);
}

static void take_exception(struct fake_cpu *c, unsigned int offset, uint32_t esr)
{
	*reg(c, GDB_REG_ELR_EL1) = *reg(c, GDB_REG_PC);
	*reg(c, GDB_REG_SPSR_EL1) = *reg(c, GDB_REG_PSTATE);
	*reg(c, GDB_REG_ESR_EL1) = esr;
	*reg(c, GDB_REG_PSTATE) = EL1H | DAIF;
	*reg(c, GDB_REG_PC) = *reg(c, GDB_REG_VBAR_EL1) + offset;
}

/* Stop with a debug exception; called with the lock held, as the contract allows. */
static void debug_exit(struct fake_cpu *c, uint32_t ec, uint32_t iss, uint64_t far)
{
	struct gdb_debug_exit info = { .hsr = ec << 26 | 1 << 25 | iss, .far = far };

	c->run = false;
	gdb_on_debug(m->gdb, c->id, &info);
}

static bool watched(struct fake_cpu *c, uint64_t va, bool write)
{
	for (unsigned int i = 0; i < c->debug.nr_wps; i++) {
		uint64_t wcr = c->debug.wcr[i], wvr = c->debug.wvr[i];
		unsigned int bas = wcr >> 5 & 0xff, log2 = wcr >> 24 & 0x1f;

		if (!(wcr & 1) || !(wcr >> 3 & (write ? 2 : 1)))
			continue;
		if (log2 ? (va ^ wvr) >> log2 == 0 : (va & ~7ull) == wvr && bas)
			return true;
	}
	return false;
}

/* Execute one instruction, with the lock held. */
static void execute(struct fake_cpu *c)
{
	struct gdb_debug *d = &c->debug;
	uint64_t *pc = reg(c, GDB_REG_PC), next, addr;
	uint32_t insn;
	int ret = 0;

	if (m->irq && !(*reg(c, GDB_REG_PSTATE) & PSTATE_I)) {
		m->irq = false;
		take_exception(c, 0x280, 0);
		goto done;
	}
	for (unsigned int i = 0; i < d->nr_bps; i++) {
		if ((d->bcr[i] & 1) && d->bvr[i] == *pc) {
			debug_exit(c, 0x30, 0, 0);
			return;
		}
	}
	if (cpu_access(c, *pc, &insn, sizeof(insn), false)) {
		take_exception(c, 0x200, 0x86000004);
		goto done;
	}
	next = *pc + 4;
	if (insn == NOP) {
		;
	} else if (insn == ERET) {
		next = *reg(c, GDB_REG_ELR_EL1);
		*reg(c, GDB_REG_PSTATE) = *reg(c, GDB_REG_SPSR_EL1);
	} else if ((insn & 0xfffff0ff) == MSR_DAIFSET(0)) {
		*reg(c, GDB_REG_PSTATE) |= (insn >> 8 & 0xf) << 6;
	} else if ((insn & 0xffe0001f) == BRK(0)) {
		/* With any debugging on, KVM sends them all to userspace. */
		if (d->brk || d->step || d->nr_bps || d->nr_wps) {
			debug_exit(c, 0x3c, insn >> 5 & 0xffff, 0);
			return;
		}
		take_exception(c, 0x200, 0xf2000000 | (insn >> 5 & 0xffff));
		goto done;
	} else if ((insn & 0xff800000) == ADD(0, 0, 0)) {
		*reg(c, insn & 31) = *reg(c, insn >> 5 & 31) + (insn >> 10 & 0xfff);
	} else if ((insn & 0xfc000000) == B(0)) {
		next = *pc + ((uint64_t)((int64_t)((uint64_t)insn << 38) >> 38) << 2);
	} else if ((insn & 0xfffffc00) == STR(0, 0) || (insn & 0xfffffc00) == LDR(0, 0)) {
		bool write = (insn & 0xfffffc00) == STR(0, 0);

		addr = *reg(c, insn >> 5 & 31);
		if (watched(c, addr, write)) {
			debug_exit(c, 0x34, 0, addr);
			return;
		}
		ret = cpu_access(c, addr, reg(c, insn & 31), 8, write);
	} else {
		ret = -EINVAL;
	}
	if (ret)
		take_exception(c, 0x200, 0x96000000);
	else
		*pc = next;
done:
	c->executed++;
	if (d->step)
		debug_exit(c, 0x32, 0, 0);
}

static void *cpu_thread(void *arg)
{
	struct fake_cpu *c = arg;

	pthread_mutex_lock(&m->lock);
	while (!m->quit) {
		if (!c->run) {
			pthread_cond_wait(&m->cond, &m->lock);
			continue;
		}
		execute(c);
		if (c->executed % 64 == 0) {	/* let the others in */
			pthread_mutex_unlock(&m->lock);
			usleep(100);
			pthread_mutex_lock(&m->lock);
		}
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

static unsigned int op_nr_cpus(void *ctx)
{
	return ((struct fake *)ctx)->nr_cpus;
}

static void op_nr_hw(void *ctx, unsigned int *bps, unsigned int *wps)
{
	*bps = ((struct fake *)ctx)->nr_bps;
	*wps = ((struct fake *)ctx)->nr_wps;
}

static void op_stop_all(void *ctx)
{
	pthread_mutex_lock(&m->lock);
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		m->cpu[i].run = false;
	pthread_mutex_unlock(&m->lock);
}

static void op_resume(void *ctx, int cpu)
{
	pthread_mutex_lock(&m->lock);
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		if (cpu < 0 || (unsigned int)cpu == i)
			m->cpu[i].run = true;
	pthread_cond_broadcast(&m->cond);
	pthread_mutex_unlock(&m->lock);
}

static void assert_stopped(unsigned int cpu)
{
	pthread_mutex_lock(&m->lock);
	assert_true(cpu < m->nr_cpus);
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		assert_false(m->cpu[i].run);
	pthread_mutex_unlock(&m->lock);
}

static int op_get_reg(void *ctx, unsigned int cpu, enum gdb_reg r, struct gdb_regval *val)
{
	assert_stopped(cpu);
	assert_true(r < GDB_NR_REGS);
	if ((int)r == m->bad_reg)
		return -EIO;
	*val = m->cpu[cpu].reg[r];
	return 0;
}

static int op_set_reg(void *ctx, unsigned int cpu, enum gdb_reg r, const struct gdb_regval *val)
{
	assert_stopped(cpu);
	assert_true(r < GDB_NR_REGS);
	m->cpu[cpu].reg[r] = *val;
	return 0;
}

static int op_read_ipa(void *ctx, ipa_t ipa, void *buf, size_t len)
{
	assert_stopped(0);
	assert_true(len >= 1 && len <= 4096);
	return ipa_access(ipa, buf, len, false);
}

static int op_write_ipa(void *ctx, ipa_t ipa, const void *buf, size_t len)
{
	assert_stopped(0);
	assert_true(len >= 1 && len <= 4096);
	return ipa_access(ipa, (void *)(uintptr_t)buf, len, true);
}

static int op_set_debug(void *ctx, unsigned int cpu, const struct gdb_debug *d)
{
	assert_stopped(cpu);
	assert_true(d->nr_bps <= m->nr_bps && d->nr_wps <= m->nr_wps);
	m->cpu[cpu].debug = *d;
	m->debug_calls++;
	return 0;
}

static void op_kill(void *ctx)
{
	m->killed = true;
}

static const struct gdb_target_ops ops = {
	op_nr_cpus, op_nr_hw, op_stop_all, op_resume, op_get_reg, op_set_reg,
	op_read_ipa, op_write_ipa, op_set_debug, op_kill,
};

static void poke(uint64_t addr, const uint32_t *insn, size_t n)
{
	assert_int_equal(ipa_access(addr, (void *)(uintptr_t)insn, n * 4, true), 0);
}

static uint32_t peek(uint64_t addr)
{
	uint32_t v;

	assert_int_equal(ipa_access(addr, &v, 4, false), 0);
	return v;
}

/* All vCPUs count in x1, for ever: CODE: add; nop; nop; b CODE. */
static const uint32_t count_code[] = { ADD(1, 1, 1), NOP, NOP, B(-3) };

static void machine_new(unsigned int nr_cpus)
{
	const uint32_t eret = ERET;
	char spec[128];
	struct err e;

	m = calloc(1, sizeof(*m));
	assert_non_null(m);
	m->fd = -1;
	m->bad_reg = -1;
	m->nr_cpus = nr_cpus;
	m->nr_bps = 2;
	m->nr_wps = 2;
	m->ram = calloc(1, RAM_SIZE);
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->cond, NULL);
	poke(CODE, count_code, ARRAY_SIZE(count_code));
	poke(VBAR + 0x280, &eret, 1);
	assert_int_equal(loop_init(&m->loop, &e), 0);
	strcpy(m->dir, "/tmp/test_gdb.XXXXXX");
	assert_non_null(mkdtemp(m->dir));
	snprintf(m->path, sizeof(m->path), "%s/s", m->dir);
	snprintf(spec, sizeof(spec), "unix:%s", m->path);
	for (unsigned int i = 0; i < nr_cpus; i++) {
		struct fake_cpu *c = &m->cpu[i];

		c->id = i;
		c->run = true;		/* gdb_start() has to stop it */
		*reg(c, GDB_REG_PC) = CODE;
		*reg(c, GDB_REG_PSTATE) = EL1H;
		*reg(c, GDB_REG_VBAR_EL1) = VBAR;
		*reg(c, GDB_REG_SCTLR_EL1) = 1 << 23;	/* SPAN */
	}
	assert_int_equal(gdb_start(&m->loop, spec, &ops, m, &m->gdb, &e), 0);
	for (unsigned int i = 0; i < nr_cpus; i++)
		pthread_create(&m->cpu[i].thread, NULL, cpu_thread, &m->cpu[i]);
}

static void machine_end(void)
{
	pthread_mutex_lock(&m->lock);
	m->quit = true;
	pthread_cond_broadcast(&m->cond);
	pthread_mutex_unlock(&m->lock);
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		pthread_join(m->cpu[i].thread, NULL);
	gdb_close(m->gdb, 0);
	assert_int_equal(access(m->path, F_OK), -1);
	if (m->fd >= 0)
		close(m->fd);
	loop_destroy(&m->loop);
	assert_int_equal(rmdir(m->dir), 0);
	free(m->ram);
	free(m);
	m = NULL;
}

static int setup(void **state)
{
	machine_new(1);
	return 0;
}

static int setup2(void **state)
{
	machine_new(2);
	return 0;
}

static int teardown(void **state)
{
	machine_end();
	return 0;
}

static unsigned long executed(unsigned int cpu)
{
	unsigned long n;

	pthread_mutex_lock(&m->lock);
	n = m->cpu[cpu].executed;
	pthread_mutex_unlock(&m->lock);
	return n;
}

/* ---- the client ------------------------------------------------------------------------------ */

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int connect_to(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(strlen(path) < sizeof(sa.sun_path));
	strcpy(sa.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void pump(int rounds)
{
	while (rounds--)
		assert_true(loop_once(&m->loop, 1) >= 0);
}

static void connect_client(void)
{
	m->fd = connect_to(m->path);
	pump(3);
}

static void send_raw(const void *buf, size_t len)
{
	assert_int_equal(send(m->fd, buf, len, MSG_NOSIGNAL), len);
}

static void send_packet(const void *payload, size_t len)
{
	static char frame[2 * GDB_FRAME_MAX];
	const uint8_t *p = payload;
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += p[i];
	frame[0] = '$';
	memcpy(frame + 1, payload, len);
	snprintf(frame + 1 + len, 4, "#%02x", sum);
	send_raw(frame, len + 4);
}

/* One byte from the server, or -1 if it closed the connection. Runs the loop meanwhile. */
static int get_byte(void)
{
	double end = now() + 10;
	uint8_t c;

	for (;;) {
		ssize_t n = recv(m->fd, &c, 1, 0);

		if (n == 1)
			return c;
		if (n == 0 || errno != EAGAIN)
			return -1;
		if (now() > end)
			fail_msg("no answer from the server");
		loop_once(&m->loop, 5);
	}
}

/* The payload of the next packet; acknowledgments are skipped. Checks the checksum. */
static const char *get_packet(void)
{
	static char buf[GDB_FRAME_MAX];
	uint8_t sum = 0;
	size_t len = 0;
	char told[3] = "";
	int c;

	do {
		c = get_byte();
		assert_true(c == '+' || c == '$');
	} while (c != '$');
	while ((c = get_byte()) != '#') {
		assert_true(c >= 0 && len < sizeof(buf) - 1);
		buf[len++] = (char)c;
		sum += (uint8_t)c;
	}
	told[0] = (char)get_byte();
	told[1] = (char)get_byte();
	assert_int_equal(strtoul(told, NULL, 16), sum);
	buf[len] = '\0';
	return buf;
}

static const char *ask(const char *payload)
{
	send_packet(payload, strlen(payload));
	return get_packet();
}

static const char *askf(const char *fmt, ...) PRINTF_LIKE(1, 2);
static const char *askf(const char *fmt, ...)
{
	char buf[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	return ask(buf);
}

static void assert_prefix(const char *s, const char *prefix)
{
	if (strncmp(s, prefix, strlen(prefix)))
		fail_msg("\"%.60s\" does not begin with \"%s\"", s, prefix);
}

static void assert_has(const char *s, const char *part)
{
	if (!strstr(s, part))
		fail_msg("\"%s\" is not in \"%.2000s\"", part, s);
}

/* Register of a vCPU, through the protocol (little-endian hex). */
static uint64_t ask_reg(unsigned int num)
{
	const char *p = askf("p%x", num);
	uint64_t v;

	assert_true(gdb_get_le(&p, &v, 8));
	return v;
}

/* Nothing may come from the server for a while. */
static void assert_silent(void)
{
	uint8_t c;

	pump(20);
	assert_int_equal(recv(m->fd, &c, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static void attach(void)
{
	connect_client();
	assert_prefix(ask("qSupported:multiprocess+;swbreak+;hwbreak+;vContSupported+"),
		      "PacketSize=4000;");
	assert_string_equal(ask("QStartNoAckMode"), "OK");
	send_raw("+", 1);
	assert_prefix(ask("?"), "T05thread:1;");
}

static void go(const char *payload)
{
	send_packet(payload, strlen(payload));
}

static void assert_closed(void)
{
	while (get_byte() >= 0)
		;
	close(m->fd);
	m->fd = -1;
}

/* ---- packet layer ---------------------------------------------------------------------------- */

static enum gdb_rx_event feed(struct gdb_rx *rx, const char *s, size_t len)
{
	enum gdb_rx_event ev = GDB_RX_NONE;

	for (size_t i = 0; i < len; i++) {
		assert_int_equal(ev, GDB_RX_NONE);
		ev = gdb_rx_byte(rx, (uint8_t)s[i]);
	}
	return ev;
}

#define FEED(rx, s) feed(rx, s, sizeof(s) - 1)

static void receiver(void **state)
{
	struct gdb_rx *rx = calloc(1, sizeof(*rx));
	enum gdb_rx_event ev = GDB_RX_NONE;
	uint8_t sum = 0;

	assert_int_equal(FEED(rx, "+"), GDB_RX_ACK);
	assert_int_equal(FEED(rx, "-"), GDB_RX_NAK);
	assert_int_equal(FEED(rx, "\x03"), GDB_RX_INTERRUPT);
	assert_int_equal(FEED(rx, "G"), GDB_RX_GARBAGE);
	assert_int_equal(FEED(rx, "$OK#9a"), GDB_RX_PACKET);
	assert_string_equal(rx->buf, "OK");
	assert_int_equal(FEED(rx, "$#00"), GDB_RX_PACKET);
	assert_int_equal(rx->len, 0);
	assert_int_equal(FEED(rx, "$OK#9A"), GDB_RX_PACKET);
	assert_int_equal(FEED(rx, "$OK#9b"), GDB_RX_BAD_SUM);
	assert_int_equal(FEED(rx, "$OK#zz"), GDB_RX_BAD_SUM);
	assert_int_equal(FEED(rx, "$lost$OK#9a"), GDB_RX_PACKET);
	assert_string_equal(rx->buf, "OK");
	/* }\x03 is '#', }\x04 is '$', }] is '}'; 0x03 inside is data */
	assert_int_equal(FEED(rx, "$}\x03}\x04}]\x03#de"), GDB_RX_PACKET);
	assert_int_equal(rx->len, 4);
	assert_memory_equal(rx->buf, "#$}\x03", 4);

	/* the longest one, and one byte more */
	for (size_t extra = 0; extra < 2; extra++) {
		char end[4];

		gdb_rx_byte(rx, '$');
		sum = 0;
		for (size_t i = 0; i < GDB_PACKET_MAX + extra; i++, sum += 'x')
			assert_int_equal(gdb_rx_byte(rx, 'x'), GDB_RX_NONE);
		snprintf(end, sizeof(end), "#%02x", sum);
		ev = feed(rx, end, 3);
		assert_int_equal(ev, extra ? GDB_RX_TOO_LONG : GDB_RX_PACKET);
		assert_int_equal(rx->len, GDB_PACKET_MAX);
	}
	free(rx);
}

static void transmitter(void **state)
{
	struct gdb_tx *tx = calloc(1, sizeof(*tx));
	struct gdb_rx *rx = calloc(1, sizeof(*rx));
	enum gdb_rx_event ev = GDB_RX_NONE;
	uint8_t all[256], *big = calloc(1, GDB_PACKET_MAX);

	gdb_tx_begin(tx);
	gdb_tx_printf(tx, "T%02x", 5);
	gdb_tx_le(tx, 0x0123456789abcdef, 8);
	gdb_tx_le(tx, 0x89abcdef, 4);
	gdb_tx_end(tx);
	assert_int_equal(tx->len, 1 + 3 + 16 + 8 + 3);
	assert_memory_equal(tx->buf, "$T05efcdab8967452301efcdab89#", 29);

	/* what the transmitter escapes the receiver unescapes */
	for (unsigned int i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	gdb_tx_begin(tx);
	assert_int_equal(gdb_tx_binary(tx, all, 256), 256);
	gdb_tx_end(tx);
	assert_int_equal(tx->len, 256 + 4 + 4);
	for (size_t i = 0; i < tx->len; i++)
		ev = gdb_rx_byte(rx, tx->buf[i]);
	assert_int_equal(ev, GDB_RX_PACKET);
	assert_int_equal(rx->len, 256);
	assert_memory_equal(rx->buf, all, 256);

	/* full to the last byte, and beyond */
	gdb_tx_begin(tx);
	gdb_tx_hex(tx, big, GDB_PACKET_MAX / 2);
	assert_int_equal(gdb_tx_room(tx), 0);
	gdb_tx_end(tx);
	assert_int_equal(tx->len, GDB_FRAME_MAX);
	gdb_tx_begin(tx);
	gdb_tx_hex(tx, big, GDB_PACKET_MAX / 2 + 1);
	gdb_tx_end(tx);
	assert_memory_equal(tx->buf, "$E07#", 5);
	memset(big, '#', GDB_PACKET_MAX);
	gdb_tx_begin(tx);
	gdb_tx_printf(tx, "m");
	assert_int_equal(gdb_tx_binary(tx, big, GDB_PACKET_MAX), (GDB_PACKET_MAX - 1) / 2);
	free(tx);
	free(rx);
	free(big);
}

static void numbers(void **state)
{
	const char *p;
	uint8_t b[4];
	uint64_t v;

	p = "1fF,";
	assert_true(gdb_get_hex(&p, &v));
	assert_int_equal(v, 0x1ff);
	assert_true(gdb_get_char(&p, ','));
	assert_false(gdb_get_hex(&p, &v));
	p = "ffffffffffffffff";
	assert_true(gdb_get_hex(&p, &v));
	assert_int_equal(v, UINT64_MAX);
	p = "10000000000000000";
	assert_false(gdb_get_hex(&p, &v));
	p = "-1";
	assert_false(gdb_get_hex(&p, &v));
	p = "0a1b2";
	assert_true(gdb_get_bytes(&p, b, 2));
	assert_memory_equal(b, "\x0a\x1b", 2);
	assert_false(gdb_get_bytes(&p, b, 1));
	p = "0x";
	assert_false(gdb_get_bytes(&p, b, 1));
}

/* Ids that KVM's selftests and other VMMs print. */
static void kvm_ids(void **state)
{
	assert_int_equal(gdb_reg_kvm_id(GDB_REG_X0), 0x6030000000100000);
	assert_int_equal(gdb_reg_kvm_id(GDB_REG_X30), 0x603000000010003c);
	assert_int_equal(gdb_reg_kvm_id(GDB_REG_PC), 0x6030000000100040);
	assert_int_equal(gdb_reg_kvm_id(GDB_REG_PSTATE), 0x6030000000100042);
	assert_int_equal(gdb_reg_kvm_id(GDB_REG_V0), 0x6040000000100054);
	assert_int_equal(gdb_reg_kvm_id(GDB_REG_V31), 0x60400000001000d0);
	assert_int_equal(gdb_reg_kvm_id(GDB_REG_FPSR), 0x60200000001000d4);
	assert_int_equal(gdb_reg_kvm_id(GDB_REG_FPCR), 0x60200000001000d5);
	assert_int_equal(gdb_reg_kvm_id(GDB_REG_SCTLR_EL1), 0x603000000013c080);
	assert_int_equal(gdb_reg_kvm_id(GDB_REG_TCR_EL1), 0x603000000013c102);
	assert_int_equal(gdb_reg_kvm_id(GDB_REG_VBAR_EL1), 0x603000000013c600);
}

/* ---- queries and registers ------------------------------------------------------------------- */

static void starts_stopped(void **state)
{
	struct stat st;

	assert_int_equal(stat(m->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_string_equal(gdb_where(m->gdb), m->path);
	pump(10);
	connect_client();
	pump(10);
	assert_int_equal(executed(0), 0);
	close(m->fd);
	pump(3);
	attach();
	assert_int_equal(ask_reg(32), CODE);
	assert_int_equal(executed(0), 0);
	go("vCont;c");
	while (executed(0) < 100)
		pump(1);
}

static void queries(void **state)
{
	attach();
	assert_string_equal(ask("vMustReplyEmpty"), "");
	assert_string_equal(ask("vCont?"), "vCont;c;C;s;S");
	assert_string_equal(ask("qAttached"), "1");
	assert_string_equal(ask("qC"), "QC1");
	assert_string_equal(ask("qfThreadInfo"), "m1,2");
	assert_string_equal(ask("qsThreadInfo"), "l");
	assert_string_equal(ask("T1"), "OK");
	assert_string_equal(ask("T2"), "OK");
	assert_prefix(ask("T0"), "E");
	assert_prefix(ask("T3"), "E");
	assert_prefix(ask("Tffffffffffffffff"), "E");
	assert_string_equal(ask("Hg2"), "OK");
	assert_string_equal(ask("qC"), "QC2");
	assert_string_equal(ask("Hg0"), "OK");
	assert_string_equal(ask("qC"), "QC2");
	assert_string_equal(ask("Hc-1"), "OK");
	assert_prefix(ask("Hg3"), "E");
	assert_prefix(ask("Hg1x"), "E");
	assert_prefix(ask("Hg"), "E");
	/* "vCPU 1 at EL1" */
	assert_string_equal(ask("qThreadExtraInfo,2"), "76435055203120617420454c31");
	assert_prefix(ask("qThreadExtraInfo,9"), "E");
	assert_string_equal(ask("qTStatus"), "");
	assert_string_equal(ask("Qunknown"), "");
	assert_string_equal(ask("!"), "");
	assert_string_equal(ask(""), "");
}

static void monitor(void **state)
{
	char text[4096];
	const char *p;

	attach();
	p = ask("qRcmd,696e666f");		/* info */
	memset(text, 0, sizeof(text));
	assert_true(gdb_get_bytes(&p, text, strlen(p) / 2));
	assert_has(text, "vCPU 0: pc 0x80001000, EL1, MMU off");
	assert_has(text, "0 of 2 breakpoint registers");
	p = ask("qRcmd,68656c70");		/* help */
	memset(text, 0, sizeof(text));
	assert_true(gdb_get_bytes(&p, text, strlen(p) / 2));
	assert_prefix(text, "help ");
	p = ask("qRcmd,7878");
	memset(text, 0, sizeof(text));
	assert_true(gdb_get_bytes(&p, text, strlen(p) / 2));
	assert_prefix(text, "unknown command");
	assert_prefix(ask("qRcmd,7"), "E");
	assert_prefix(ask("qRcmd,zz"), "E");
}

/* target.xml says what the g packet holds: 31 * 8 + 8 + 8 + 4 + 32 * 16 + 4 + 4 = 788 bytes. */
static void target_xml(void **state)
{
	char xml[16384] = "";
	unsigned long bits = 0;
	unsigned int regs = 0;
	const char *p;

	attach();
	for (size_t off = 0;; off += 0x123) {
		p = askf("qXfer:features:read:target.xml:%zx,123", off);
		assert_true(*p == 'm' || *p == 'l');
		/* the text has no character that needs an escape */
		assert_null(strchr(p, '}'));
		assert_true(strlen(xml) + strlen(p) < sizeof(xml));
		strcat(xml, p + 1);
		if (*p == 'l')
			break;
		assert_int_equal(strlen(p), 0x124);
	}
	assert_has(xml, "<architecture>aarch64</architecture>");
	assert_has(xml, "org.gnu.gdb.aarch64.core");
	assert_has(xml, "org.gnu.gdb.aarch64.fpu");
	assert_prefix(xml + strlen(xml) - 10, "</target>");
	for (p = xml; (p = strstr(p, "<reg name=")) != NULL; p++, regs++) {
		const char *size = strstr(p, "bitsize=\"");

		assert_non_null(size);
		bits += strtoul(size + 9, NULL, 10);
		if (regs == 31)
			assert_prefix(p, "<reg name=\"sp\"");
		if (regs == 33)
			assert_prefix(p, "<reg name=\"cpsr\" bitsize=\"32\"");
		if (regs == 66)
			assert_prefix(p, "<reg name=\"fpsr\"");
	}
	assert_int_equal(regs, 68);
	assert_int_equal(bits, 788 * 8);
	assert_int_equal(strlen(ask("g")), 788 * 2);

	assert_string_equal(ask("qXfer:features:read:other.xml:0,10"), "E00");
	assert_string_equal(askf("qXfer:features:read:target.xml:%zx,10", strlen(xml)), "l");
	assert_prefix(askf("qXfer:features:read:target.xml:%zx,10", strlen(xml) + 1), "E");
	assert_prefix(ask("qXfer:features:read:target.xml:ffffffffffffffff,1"), "E");
	assert_prefix(ask("qXfer:features:read:target.xml:0,ffffffffffffffff"), "l");
	assert_prefix(ask("qXfer:features:read:target.xml:"), "E");
	assert_prefix(ask("qXfer:features:read:target.xml:0,1,2"), "E");
}

static void registers(void **state)
{
	struct fake_cpu *c = &m->cpu[0];
	char g[2000], want[64];

	attach();
	for (unsigned int i = 0; i < 31; i++)
		*reg(c, GDB_REG_X0 + i) = 0x1100 + i;
	*reg(c, GDB_REG_SP_EL0) = 0xe10;
	*reg(c, GDB_REG_SP_EL1) = 0xe11;
	*reg(c, GDB_REG_PSTATE) = 0x600003c5;
	c->reg[GDB_REG_V0 + 31] = (struct gdb_regval){ 0x8877665544332211, 0x00ffeeddccbbaa99 };
	*reg(c, GDB_REG_FPSR) = 0x12345678;
	*reg(c, GDB_REG_FPCR) = 0x03000000;
	snprintf(g, sizeof(g), "%s", ask("g"));
	assert_int_equal(strlen(g), 1576);
	assert_prefix(g, "0011000000000000" "0111000000000000");
	assert_prefix(g + 30 * 16, "1e11000000000000");
	assert_prefix(g + 31 * 16, "110e000000000000");		/* EL1h: SP_EL1 */
	assert_prefix(g + 32 * 16, "0010008000000000" "c5030060");
	assert_prefix(g + 2 * (268 + 31 * 16), "112233445566778899aabbccddeeff00"
		      "78563412" "00000003");

	*reg(c, GDB_REG_PSTATE) = 0x3c4;			/* EL1t */
	assert_int_equal(ask_reg(31), 0xe10);
	*reg(c, GDB_REG_PSTATE) = 0;				/* EL0 */
	assert_int_equal(ask_reg(31), 0xe10);
	assert_string_equal(ask("p41"), "112233445566778899aabbccddeeff00");
	assert_string_equal(ask("p42"), "78563412");
	assert_prefix(ask("p44"), "E");
	assert_prefix(ask("pffffffffffffffff"), "E");
	assert_prefix(ask("p"), "E");
	assert_prefix(ask("p1,"), "E");

	/* G writes what g read; SP goes where the new PSTATE says */
	memset(c->reg, 0, sizeof(c->reg));
	memmove(g + 1, g, strlen(g) + 1);
	g[0] = 'G';
	assert_string_equal(ask(g), "OK");
	assert_int_equal(*reg(c, GDB_REG_X30), 0x111e);
	assert_int_equal(*reg(c, GDB_REG_SP_EL1), 0xe11);
	assert_int_equal(*reg(c, GDB_REG_SP_EL0), 0);
	assert_int_equal(*reg(c, GDB_REG_PC), CODE);
	assert_int_equal(*reg(c, GDB_REG_PSTATE), 0x600003c5);
	assert_int_equal(c->reg[GDB_REG_V31].hi, 0x00ffeeddccbbaa99);
	assert_int_equal(*reg(c, GDB_REG_FPCR), 0x03000000);
	assert_string_equal(ask("g"), g + 1);
	/* a short or a bad one changes nothing */
	g[9] = 'f';
	g[1576] = '\0';
	assert_prefix(ask(g), "E");
	strcpy(g + 1576, "x");
	assert_prefix(ask(g), "E");
	assert_int_equal(*reg(c, GDB_REG_X0), 0x1100);

	assert_string_equal(ask("P1=efcdab8967452301"), "OK");
	assert_int_equal(*reg(c, GDB_REG_X0 + 1), 0x0123456789abcdef);
	assert_string_equal(ask("P22=000102030405060708090a0b0c0d0e0f"), "OK");
	assert_int_equal(c->reg[GDB_REG_V0].lo, 0x0706050403020100);
	assert_int_equal(c->reg[GDB_REG_V0].hi, 0x0f0e0d0c0b0a0908);
	assert_string_equal(ask("P43=11000000"), "OK");
	assert_int_equal(*reg(c, GDB_REG_FPCR), 0x11);
	assert_prefix(ask("P1=efcdab89674523"), "E");
	assert_prefix(ask("P1=efcdab896745230100"), "E");
	assert_prefix(ask("P44=00"), "E");
	assert_prefix(ask("P1"), "E");

	/* a register that KVM does not give is unavailable, and the rest is there */
	m->bad_reg = GDB_REG_FPSR;
	snprintf(want, sizeof(want), "xxxxxxxx11000000");
	assert_string_equal(ask("g") + 780 * 2, want);
	assert_string_equal(ask("p42"), "E05");
	m->bad_reg = -1;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/*
 * Both halves on, 4 KiB pages, 39 bits. Lower half: pages 0x1000, 0x2000, 0x3000 in reversed order
 * at RAM + 0x53000, 0x52000, 0x51000; 0x4000 is not mapped; 0x5000 is mapped to nothing.
 * Upper half: 0xffffff8000000000 + 1 GiB block at RAM; the last page at RAM + 0x54000. Page 0 is
 * mapped too, so that an access that wraps around would find something.
 */
static void mmu_on(unsigned int cpu)
{
	uint64_t l1 = RAM + 0x10000, l2 = l1 + 0x1000, l3 = l2 + 0x1000;
	uint64_t u1 = l3 + 0x1000, u2 = u1 + 0x1000, u3 = u2 + 0x1000;
	struct fake_cpu *c = &m->cpu[cpu];
	uint64_t d;

#define PUT(table, i, val) \
	(d = (val), assert_int_equal(ipa_access((table) + 8 * (i), &d, 8, true), 0))
	PUT(l1, 0, l2 | 3);
	PUT(l2, 0, l3 | 3);
	PUT(l3, 0, (RAM + 0x55000) | 3);
	PUT(l3, 1, (RAM + 0x53000) | 3);
	PUT(l3, 2, (RAM + 0x52000) | 3);
	PUT(l3, 3, (RAM + 0x51000) | 3);
	PUT(l3, 5, 0x10000000 | 3);
	PUT(u1, 0, RAM | 1);
	PUT(u1, 511, u2 | 3);
	PUT(u2, 511, u3 | 3);
	PUT(u3, 511, (RAM + 0x54000) | 3);
	*reg(c, GDB_REG_TTBR0_EL1) = l1;
	*reg(c, GDB_REG_TTBR1_EL1) = u1;
	*reg(c, GDB_REG_TCR_EL1) = 25 | 25 << 16 | 2ull << 30 | 5ull << 32;
	*reg(c, GDB_REG_SCTLR_EL1) |= 1;
}

static void memory(void **state)
{
	uint8_t x[] = "X80000ffe,4:\x01}\x03}]\x02";	/* 01 '#' '}' 02 */
	size_t zeros;

	attach();
	memcpy(m->ram + 0xffc, "\x10\x11\x12\x13\x14\x15\x16\x17", 8);
	assert_string_equal(ask("m80000ffc,8"), "1011121314151617");
	assert_string_equal(ask("M80000ffe,4:a0a1a2a3"), "OK");
	assert_string_equal(ask("m80000ffc,8"), "1011a0a1a2a31617");
	send_packet(x, sizeof(x) - 1);
	assert_string_equal(get_packet(), "OK");
	assert_string_equal(ask("m80000ffc,8"), "101101237d021617");
	assert_string_equal(ask("X80000ffe,0:"), "OK");

	/* more than a packet holds: as much as fits */
	assert_int_equal(strlen(ask("m80000000,ffffffffffffffff")), GDB_PACKET_MAX);
	assert_int_equal(strlen(ask("m80000000,2001")), GDB_PACKET_MAX);
	/* the end of RAM: short, then an error */
	assert_int_equal(strlen(ask("m800ff000,2000")), 0x2000);
	assert_string_equal(ask("m80100000,1"), "E0e");
	assert_string_equal(ask("m7fffffff,1"), "E0e");
	assert_string_equal(ask("mffffffffffffffff,2"), "E0e");
	assert_string_equal(ask("M800ffffe,4:01020304"), "E0e");
	assert_string_equal(ask("m80000000"), "E16");
	assert_string_equal(ask("m80000000,"), "E16");
	assert_string_equal(ask("m80000000,0"), "E16");
	assert_string_equal(ask("m80000000,4x"), "E16");
	assert_string_equal(ask("m10000000080000000,4"), "E16");
	assert_string_equal(ask("M80000000,4:010203"), "E16");
	assert_string_equal(ask("M80000000,2:010203"), "E16");
	assert_string_equal(ask("M80000000,3:01020"), "E16");
	assert_string_equal(ask("M80000000,3:01020g"), "E16");
	assert_string_equal(ask("M80000000,ffffffffffffffff:0102"), "E16");
	assert_string_equal(ask("X80000000,3:ab"), "E16");
	assert_string_equal(ask("X80000000,ffffffffffffffff:ab"), "E16");

	/* virtual memory: pages in another order, a hole behind them */
	mmu_on(0);
	memset(m->ram + 0x51000, 0x51, 0x1000);
	memset(m->ram + 0x52000, 0x52, 0x1000);
	memset(m->ram + 0x53000, 0x53, 0x1000);
	assert_string_equal(ask("m1ffe,4"), "53535252");
	assert_string_equal(ask("m2ffe,4"), "52525151");
	assert_int_equal(strlen(ask("m2001,8000")), 2 * 0x1fff);
	assert_string_equal(ask("m3fff,2"), "51");
	assert_string_equal(ask("m4000,1"), "E0e");
	assert_string_equal(ask("m5000,1"), "E0e");
	assert_string_equal(ask("m80000000,1"), "E0e");
	assert_string_equal(ask("mffffff8000052fff,2"), "5253");
	assert_string_equal(ask("mffffff7fffffffff,1"), "E0e");
	memset(m->ram + 0x54000, 0x54, 0x2000);
	assert_string_equal(ask("mfffffffffffffffe,4"), "5454");
	assert_string_equal(ask("Mfffffffffffffffe,4:01020304"), "E0e");
	assert_int_equal(m->ram[0x55000], 0x54);
	assert_string_equal(ask("M1fff,2:aabb"), "OK");
	assert_int_equal(m->ram[0x53fff], 0xaa);
	assert_int_equal(m->ram[0x52000], 0xbb);
	assert_string_equal(ask("M3fff,2:ccdd"), "E0e");

	/* the chosen vCPU's tables count */
	assert_string_equal(ask("Hg2"), "OK");
	assert_string_equal(ask("m1ffe,1"), "E0e");
	assert_string_equal(ask("m80052000,1"), "bb");
	/* registers that cannot be read: an error, no access */
	m->bad_reg = GDB_REG_TCR_EL1;
	assert_string_equal(ask("m80052000,1"), "E05");
	assert_string_equal(ask("M80052000,1:00"), "E05");
	m->bad_reg = -1;
	zeros = strspn(ask("m80060000,10"), "0");
	assert_int_equal(zeros, 32);
}

/* ---- breakpoints and running ----------------------------------------------------------------- */

static void hw_breakpoint(void **state)
{
	const struct gdb_debug *d = &m->cpu[0].debug;

	attach();
	assert_string_equal(ask("Z1,80001008,4"), "OK");
	assert_string_equal(ask("Z1,80001008,4"), "OK");	/* idempotent */
	assert_string_equal(ask("Z1,80001004,4"), "OK");
	assert_string_equal(ask("Z1,80001000,4"), "E1c");	/* ENOSPC: two registers */
	assert_string_equal(ask("z1,80001004,4"), "OK");
	assert_string_equal(ask("z1,80001004,4"), "OK");
	assert_prefix(ask("c"), "T05thread:1;hwbreak:;1d:0000000000000000;1f:0000000000000000;"
		      "20:0810008000000000;");
	assert_int_equal(d->nr_bps, 1);
	assert_int_equal(d->bvr[0], 0x80001008);
	assert_int_equal(d->bcr[0], 0x1e7);
	assert_false(d->brk);
	assert_int_equal(executed(0), 2);
	/* off it as gdb does it: away, step, back, on */
	assert_string_equal(ask("z1,80001008,4"), "OK");
	assert_prefix(ask("vCont;s:1"), "T05thread:1;1d:");
	assert_int_equal(ask_reg(32), 0x8000100c);
	assert_string_equal(ask("Z1,80001008,4"), "OK");
	assert_prefix(ask("vCont;c"), "T05thread:1;hwbreak:;");
	assert_int_equal(ask_reg(1), 2);
	assert_int_equal(peek(CODE + 8), NOP);

	assert_prefix(ask("Z1,80001002,4"), "E");
	assert_prefix(ask("Z1,80001000,2"), "E");
	assert_prefix(ask("Z1,80001000"), "E");
	assert_prefix(ask("Z1,80001000,4;X1,00"), "E");
	assert_prefix(ask("Z"), "E");
	assert_string_equal(ask("Z5,80001000,4"), "");
	assert_string_equal(ask("Zffffffffffffffff,80001000,4"), "");
}

/* Software breakpoints take registers first, then memory; gdb never sees the patch. */
static void sw_breakpoint(void **state)
{
	attach();
	assert_string_equal(ask("Z0,80001000,4"), "OK");
	assert_string_equal(ask("Z0,80001004,4"), "OK");
	assert_int_equal(peek(CODE), ADD(1, 1, 1));
	assert_string_equal(ask("Z0,80001008,4"), "OK");
	assert_int_equal(peek(CODE + 8), BRK(0));
	assert_string_equal(ask("m80001008,4"), "1f2003d5");
	assert_string_equal(ask("m80001009,2"), "2003");
	assert_string_equal(ask("m80001006,8"), "03d51f2003d5fdff");
	/* a write goes below the patch: ADD x2, x2, #1 in two halves */
	assert_string_equal(ask("M80001006,4:03d54204"), "OK");
	assert_string_equal(ask("M8000100a,2:0091"), "OK");
	assert_int_equal(peek(CODE + 8), BRK(0));
	assert_string_equal(ask("m80001008,4"), "42040091");

	/* a hardware breakpoint makes a software one move to memory */
	assert_string_equal(ask("Z1,8000100c,4"), "OK");
	assert_int_equal(peek(CODE), BRK(0));
	assert_string_equal(ask("m80001000,4"), "21040091");
	assert_prefix(ask("c"), "T05thread:1;swbreak:;");
	assert_int_equal(ask_reg(32), CODE);
	assert_true(m->cpu[0].debug.brk);
	assert_string_equal(ask("z0,80001000,4"), "OK");
	assert_int_equal(peek(CODE), ADD(1, 1, 1));
	assert_prefix(ask("c"), "T05thread:1;swbreak:;");	/* a register */
	assert_int_equal(ask_reg(32), CODE + 4);
	assert_string_equal(ask("z0,80001004,4"), "OK");
	assert_prefix(ask("c"), "T05thread:1;swbreak:;");	/* a patch */
	assert_int_equal(ask_reg(32), CODE + 8);
	assert_string_equal(ask("z0,80001008,4"), "OK");
	assert_int_equal(peek(CODE + 8), ADD(2, 2, 1));
	assert_prefix(ask("c"), "T05thread:1;hwbreak:;");
	assert_int_equal(ask_reg(2), 1);

	/* no memory there: a register takes it, a patch cannot */
	assert_string_equal(ask("Z0,1000,4"), "OK");
	assert_string_equal(ask("Z0,2000,4"), "E0e");

	/* what the guest has overwritten meanwhile is not restored */
	assert_string_equal(ask("Z0,80001000,4"), "OK");
	poke(CODE, &(uint32_t){ NOP }, 1);
	assert_string_equal(ask("z0,80001000,4"), "OK");
	assert_int_equal(peek(CODE), NOP);
}

static void many_breakpoints(void **state)
{
	unsigned int n;

	attach();
	for (n = 0; n < 1000; n++) {
		if (strcmp(askf("Z0,%x,4", 0x80020000 + 4 * n), "OK"))
			break;
	}
	assert_int_equal(n, 256);
	assert_string_equal(ask("D"), "OK");
	for (n = 0; n < 256; n++)
		assert_int_equal(peek(RAM + 0x20000 + 4 * n), 0);
}

/* One page under two addresses: a breakpoint at each, and they do not eat each other. */
static void aliased_breakpoints(void **state)
{
	m->nr_bps = 0;
	attach();
	machine_end();
	machine_new(1);
	attach();
	mmu_on(0);
	poke(RAM + 0x53000, count_code, ARRAY_SIZE(count_code));
	/* fill the registers */
	assert_string_equal(ask("Z1,9000,4"), "OK");
	assert_string_equal(ask("Z1,9004,4"), "OK");
	assert_string_equal(ask("Z0,1004,4"), "OK");
	assert_string_equal(ask("Z0,ffffff8000053004,4"), "OK");
	assert_int_equal(peek(RAM + 0x53004), BRK(0));
	assert_string_equal(ask("m1004,4"), "1f2003d5");
	assert_string_equal(ask("P20=0010000000000000"), "OK");
	assert_prefix(ask("c"), "T05thread:1;swbreak:;");
	assert_string_equal(ask("z0,1004,4"), "OK");
	assert_int_equal(peek(RAM + 0x53004), BRK(0));
	/* the page is met under an address that has no breakpoint itself: ours all the same */
	assert_prefix(ask("c"), "T05thread:1;swbreak:;");
	assert_string_equal(ask("z0,ffffff8000053004,4"), "OK");
	assert_int_equal(peek(RAM + 0x53004), NOP);
}

static void watchpoints(void **state)
{
	const uint32_t code[] = { ADD(1, 1, 1), STR(1, 2), LDR(3, 2), B(-3) };
	const struct gdb_debug *d = &m->cpu[0].debug;

	poke(CODE, code, ARRAY_SIZE(code));
	*reg(&m->cpu[0], GDB_REG_X0 + 2) = RAM + 0x5000;
	attach();
	assert_string_equal(ask("Z2,80005004,4"), "OK");
	assert_prefix(ask("c"), "T05thread:1;watch:80005004;");	/* the access begins below it */
	assert_int_equal(ask_reg(32), CODE + 4);
	assert_int_equal(d->nr_wps, 1);
	assert_int_equal(d->wvr[0], 0x80005000);
	assert_int_equal(d->wcr[0], 0xf0 << 5 | 2 << 3 | 7);
	assert_string_equal(ask("z2,80005004,4"), "OK");
	assert_string_equal(ask("Z3,80005000,8"), "OK");
	assert_prefix(ask("c"), "T05thread:1;rwatch:80005000;");
	assert_int_equal(ask_reg(32), CODE + 8);
	assert_int_equal(d->wcr[0], 0xff << 5 | 1 << 3 | 7);
	assert_string_equal(ask("z3,80005000,8"), "OK");
	assert_string_equal(ask("Z4,80005000,1"), "OK");
	assert_prefix(ask("c"), "T05thread:1;awatch:80005000;");
	assert_int_equal(ask_reg(32), CODE + 8);
	assert_int_equal(d->wcr[0], 1 << 5 | 3 << 3 | 7);
	/* a range: aligned power of two */
	assert_string_equal(ask("Z2,80005000,2000"), "E16");
	assert_string_equal(ask("Z2,80006000,2000"), "OK");
	assert_string_equal(ask("Z2,80007000,8"), "E1c");
	assert_string_equal(ask("z4,80005000,1"), "OK");
	assert_string_equal(ask("P2=0868008000000000"), "OK");
	assert_prefix(ask("c"), "T05thread:1;watch:80006000;");
	assert_int_equal(d->wvr[0], 0x80006000);
	assert_int_equal(d->wcr[0], 13ull << 24 | 0xff << 5 | 2 << 3 | 7);
	assert_string_equal(ask("Z2,80005006,4"), "E16");
	assert_string_equal(ask("Z2,80005000,0"), "E16");
	assert_string_equal(ask("Z2,0,ffffffffffffffff"), "E16");
	assert_string_equal(ask("Z2,0,100000000"), "E16");
	assert_string_equal(ask("Z2,0,80000000"), "OK");
}

static void stepping(void **state)
{
	struct fake_cpu *c = &m->cpu[0];
	const uint32_t bad = STR(1, 4);			/* x4 is 0: no memory there */

	attach();
	assert_prefix(ask("s"), "T05thread:1;1d:");
	assert_int_equal(ask_reg(32), CODE + 4);
	assert_prefix(ask("vCont;s:1"), "T05");
	assert_prefix(ask("vCont;S05:1;c"), "T05");
	assert_prefix(ask("S05"), "T05");
	assert_int_equal(ask_reg(32), CODE);
	assert_prefix(ask("s80001008"), "T05");
	assert_int_equal(ask_reg(32), CODE + 12);
	assert_int_equal(executed(0), 5);

	/* an interrupt is pending: a step does not fall into its handler */
	assert_string_equal(ask("P20=0010008000000000"), "OK");
	m->irq = true;
	assert_prefix(ask("s"), "T05");
	assert_int_equal(ask_reg(32), CODE + 4);
	assert_int_equal(*reg(c, GDB_REG_PSTATE), EL1H);
	assert_true(m->irq);
	/* it does if told so: "step-irqs on" */
	ask("qRcmd,737465702d69727173206f6e");
	assert_prefix(ask("s"), "T05");
	assert_int_equal(ask_reg(32), VBAR + 0x280);
	assert_int_equal(*reg(c, GDB_REG_SPSR_EL1), EL1H);
	ask("qRcmd,737465702d69727173206f6666");
	assert_prefix(ask("s"), "T05");				/* the ERET */
	assert_int_equal(ask_reg(32), CODE + 4);
	assert_int_equal(*reg(c, GDB_REG_PSTATE), EL1H);

	/* an instruction that aborts: the guest's own mask is what it saved */
	poke(CODE + 8, &bad, 1);
	assert_string_equal(ask("P20=0810008000000000"), "OK");
	assert_prefix(ask("s"), "T05");
	assert_int_equal(ask_reg(32), VBAR + 0x200);
	assert_int_equal(*reg(c, GDB_REG_SPSR_EL1), EL1H);
	assert_int_equal(*reg(c, GDB_REG_PSTATE), EL1H | DAIF);

	/* an instruction that writes the mask keeps its effect */
	poke(CODE + 8, &(uint32_t){ MSR_DAIFSET(2) }, 1);
	assert_string_equal(ask("P20=0810008000000000"), "OK");
	*reg(c, GDB_REG_PSTATE) = EL1H;
	assert_prefix(ask("s"), "T05");
	assert_int_equal(*reg(c, GDB_REG_PSTATE), EL1H | PSTATE_I);
}

static void two_cpus(void **state)
{
	unsigned long n;

	attach();
	/* one steps, the other stays */
	assert_prefix(ask("vCont;s:2"), "T05thread:2;");
	assert_int_equal(executed(0), 0);
	assert_int_equal(executed(1), 1);
	assert_string_equal(ask("qC"), "QC2");
	/* one steps, the other runs meanwhile; the leftmost action wins */
	for (n = 0; n < 100 && executed(0) == 0; n++)
		assert_prefix(ask("vCont;s:2;c;s:1"), "T05thread:2;");
	assert_true(executed(0) > 0);
	assert_int_equal(executed(1), 1 + n);
	/* a breakpoint holds for all; thread 1 meets it alone */
	assert_string_equal(ask("Z0,80001008,4"), "OK");
	assert_string_equal(ask("Hg2"), "OK");
	assert_string_equal(ask("P20=0010008000000000"), "OK");
	assert_string_equal(ask("Hg1"), "OK");
	assert_string_equal(ask("P20=0010008000000000"), "OK");
	assert_prefix(ask("vCont;c:1"), "T05thread:1;swbreak:;");
	n = executed(1);
	assert_prefix(ask("vCont;c:2"), "T05thread:2;swbreak:;");
	assert_int_equal(executed(1), n + 2);
	assert_int_equal(m->cpu[0].debug.bvr[0], CODE + 8);
	assert_int_equal(m->cpu[1].debug.bvr[0], CODE + 8);
	/* both at it: one is reported, the other meets it again or is reported next */
	assert_prefix(ask("vCont;c"), "T05thread:");
	assert_string_equal(ask("z0,80001008,4"), "OK");
	/* Hc: legacy step of thread 2 alone */
	n = executed(0);
	assert_string_equal(ask("Hc2"), "OK");
	assert_prefix(ask("s"), "T05thread:2;");
	assert_int_equal(executed(0), n);

	assert_prefix(ask("vCont;x"), "E");
	assert_prefix(ask("vCont"), "E");
	assert_prefix(ask("vCont;c:3"), "E");
	assert_prefix(ask("vCont;c:"), "E");
	assert_prefix(ask("vCont;C"), "E");
	assert_prefix(ask("vCont;c:1x"), "E");
	assert_prefix(ask("c80001000x"), "E");
	assert_prefix(ask("C"), "E");
	n = executed(0);
	pump(5);
	assert_int_equal(executed(0), n);	/* none of these made it run */
}

static void interrupt(void **state)
{
	unsigned long n;

	attach();
	send_raw("\x03", 1);			/* stopped: nothing to interrupt */
	assert_silent();
	go("vCont;c");
	while (executed(0) < 100 || executed(1) < 100)
		pump(1);
	assert_silent();
	/* while it runs a packet gets an error and disturbs nothing */
	assert_string_equal(ask("g"), "E10");
	send_raw("\x03", 1);
	assert_prefix(get_packet(), "T02thread:1;");
	n = executed(0) + executed(1);
	pump(5);
	assert_int_equal(executed(0) + executed(1), n);
	assert_prefix(ask("?"), "T02thread:1;");
}

/* A BRK of the guest's own is the guest's business, although KVM sends it to us. */
static void foreign_brk(void **state)
{
	const uint32_t code[] = { ADD(1, 1, 1), BRK(0x800), NOP, B(-3) };
	/* the handler counts in x5 and steps over it, as Linux does for WARN(): ELR is not in
	 * this machine's instruction set, so it branches */
	const uint32_t handler[] = { ADD(5, 5, 1), B(-(int)(0x8204 - 0x1008) / 4) };
	struct fake_cpu *c = &m->cpu[0];

	poke(CODE, code, ARRAY_SIZE(code));
	poke(VBAR + 0x200, handler, ARRAY_SIZE(handler));
	attach();
	assert_string_equal(ask("Z1,8000100c,4"), "OK");
	*reg(c, GDB_REG_PSTATE) = EL1H | 1u << 31;
	assert_prefix(ask("c"), "T05thread:1;hwbreak:;");
	assert_int_equal(ask_reg(5), 1);
	assert_int_equal(*reg(c, GDB_REG_ELR_EL1), CODE + 4);
	assert_int_equal(*reg(c, GDB_REG_SPSR_EL1), EL1H | 1u << 31);
	assert_int_equal(*reg(c, GDB_REG_ESR_EL1), 0xf2000800);
	assert_int_equal(*reg(c, GDB_REG_PSTATE), EL1H | DAIF | 1u << 31);

	/* stepping onto it ends at its vector; from EL0 that is another one */
	assert_string_equal(ask("P20=0410008000000000"), "OK");
	*reg(c, GDB_REG_SCTLR_EL1) = 0;			/* SPAN clear: PAN gets set */
	*reg(c, GDB_REG_PSTATE) = 0;
	assert_prefix(ask("s"), "T05thread:1;1d:");
	assert_int_equal(ask_reg(32), VBAR + 0x400);
	assert_int_equal(*reg(c, GDB_REG_SPSR_EL1), 0);
	assert_int_equal(*reg(c, GDB_REG_PSTATE), EL1H | DAIF | 1 << 22);
	/* a note that comes too late, from a BRK that is not there any more, changes nothing */
	assert_string_equal(ask("P20=0810008000000000"), "OK");
	*reg(c, GDB_REG_PSTATE) = EL1H | DAIF;
	*reg(c, GDB_REG_ELR_EL1) = 0x1234;
	poke(CODE, &(uint32_t){ ADD(6, 6, 1) }, 1);
	poke(CODE + 4, &(uint32_t){ NOP }, 1);
	assert_string_equal(ask("z1,8000100c,4"), "OK");
	go("c");
	pump(2);
	gdb_on_debug(m->gdb, 0, &(struct gdb_debug_exit){ .hsr = 0xf2000000 });
	pump(5);
	send_raw("\x03", 1);
	assert_prefix(get_packet(), "T02");
	assert_int_equal(*reg(c, GDB_REG_ELR_EL1), 0x1234);
	assert_true(ask_reg(6) > 0);
}

/* ---- coming and going
 ------------------------------------------------------------------------ */

static void detach_and_reconnect(void **state)
{
	unsigned long n;

	attach();
	assert_string_equal(ask("Z0,80001000,4"), "OK");
	assert_string_equal(ask("Z0,80001004,4"), "OK");
	assert_string_equal(ask("Z0,80001008,4"), "OK");
	assert_string_equal(ask("Z2,80001008,4"), "OK");
	assert_prefix(ask("c"), "T05");
	assert_string_equal(ask("D"), "OK");
	assert_int_equal(peek(CODE + 8), NOP);
	close(m->fd);
	n = executed(0);
	while (executed(0) < n + 100)
		pump(1);
	assert_int_equal(m->cpu[0].debug.nr_bps + m->cpu[0].debug.nr_wps, 0);
	assert_false(m->cpu[0].debug.brk);

	/* a connection alone does not stop it, the first packet does */
	connect_client();
	n = executed(0);
	while (executed(0) < n + 100)
		pump(1);
	assert_prefix(ask("?"), "T05thread:1;");
	n = executed(0);
	pump(5);
	assert_int_equal(executed(0), n);

	/* a second client is sent away and does not disturb the first */
	int first = m->fd;

	m->fd = connect_to(m->path);
	pump(3);
	assert_closed();
	m->fd = first;
	assert_string_equal(ask("qC"), "QC1");
	send_raw("+", 1);

	/* gone without a word while stopped: stays stopped */
	assert_string_equal(ask("Z1,80001000,4"), "OK");
	close(m->fd);
	pump(5);
	n = executed(0);
	pump(5);
	assert_int_equal(executed(0), n);
	assert_int_equal(m->cpu[0].debug.nr_bps, 0);

	/* gone while running: the breakpoints go, it runs on */
	connect_client();
	assert_prefix(ask("?"), "T05thread:1;");
	for (unsigned int i = 0; i < 4; i++)
		assert_string_equal(askf("Z0,8000200%x,4", 4 * i), "OK");
	assert_int_equal(peek(RAM + 0x2008), BRK(0));
	go("c");
	pump(3);
	close(m->fd);
	m->fd = -1;
	pump(5);
	assert_int_equal(peek(RAM + 0x2008), 0);
	n = executed(0);
	while (executed(0) < n + 100)
		pump(1);
}

static void acknowledgments(void **state)
{
	connect_client();
	send_raw("$qC#b4", 6);
	assert_int_equal(get_byte(), '+');
	assert_string_equal(get_packet(), "QC1");
	send_raw("-", 1);
	assert_string_equal(get_packet(), "QC1");
	send_raw("+", 1);
	send_raw("$qC#b5", 6);
	assert_int_equal(get_byte(), '-');
	send_raw("$qC#b4", 6);
	assert_int_equal(get_byte(), '+');
	assert_string_equal(get_packet(), "QC1");
}

static void acknowledgments_off(void **state)
{
	attach();
	send_raw("$qC#b4", 6);
	assert_int_equal(get_byte(), '$');
	for (int i = 0; i < 6; i++)
		get_byte();
	assert_silent();
	send_raw("$qC#b5", 6);
	assert_prefix(get_packet(), "E");
	send_raw("-", 1);
	assert_silent();
}

static void kill_machine(void **state)
{
	attach();
	go("k");
	assert_closed();
	assert_true(m->killed);
}

static void reset_machine(void **state)
{
	const uint32_t code[] = { ADD(1, 1, 1), NOP, NOP, B(-3) };

	attach();
	for (unsigned int i = 0; i < 4; i++)
		assert_string_equal(askf("Z0,8000100%x,4", 4 * i), "OK");
	assert_string_equal(ask("z0,80001000,4"), "OK");
	assert_string_equal(ask("z0,80001004,4"), "OK");
	assert_int_equal(peek(CODE + 8), BRK(0));
	assert_string_equal(ask("Z2,80005000,8"), "OK");
	/* new memory, new vCPUs: another instruction at CODE + 12 */
	poke(CODE, code, ARRAY_SIZE(code));
	poke(CODE + 12, &(uint32_t){ B(-2) }, 1);
	memset(&m->cpu[0].debug, 0, sizeof(m->cpu[0].debug));
	memset(&m->cpu[1].debug, 0, sizeof(m->cpu[1].debug));
	gdb_on_reset(m->gdb);
	assert_int_equal(peek(CODE + 8), BRK(0));
	assert_int_equal(peek(CODE + 12), B(-2));
	assert_int_equal(m->cpu[0].debug.nr_wps, 1);
	assert_int_equal(m->cpu[1].debug.nr_wps, 1);
	assert_true(m->cpu[1].debug.brk);
	assert_prefix(ask("c"), "T05thread:");
	assert_int_equal(ask_reg(32), CODE + 8);
	/* while it runs: goes on running, with its breakpoints */
	assert_string_equal(ask("z0,80001008,4"), "OK");
	go("vCont;c");
	pump(3);
	memset(&m->cpu[1].debug, 0, sizeof(m->cpu[1].debug));
	gdb_on_reset(m->gdb);
	unsigned long n = executed(1);

	while (executed(1) < n + 100)
		pump(1);
	assert_int_equal(m->cpu[1].debug.nr_wps, 1);
}

static void end_of_machine(void **state)
{
	attach();
	go("c");
	pump(3);
	/* as machine_end(), but with a client that waits */
	op_stop_all(m);
	gdb_close(m->gdb, 3);
	m->gdb = NULL;
	assert_string_equal(get_packet(), "W03");
	assert_closed();
}

static void tcp_and_specs(void **state)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	struct gdb *g, *g2;
	char spec[128];
	struct err e;
	struct stat st;
	int fd;
	static const char *const bad[] = {
		"", "x", "70000", "65536", "-1", "12 ", "0x10", "1234567890123", "unix:",
		"unix:/nonexistent-dir/socket", "127.0.0.1:1234",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_true(gdb_start(&m->loop, bad[i], &ops, m, &g, &e) < 0);
		assert_null(g);
		assert_prefix(e.msg, "--gdb ");
	}
	snprintf(spec, sizeof(spec), "unix:/%0100d", 1);
	snprintf(spec + 100, sizeof(spec) - 100, "xxxxxxxxxxxxxxx");
	assert_int_equal(gdb_start(&m->loop, spec, &ops, m, &g, &e), -EINVAL);

	assert_int_equal(gdb_start(&m->loop, "0", &ops, m, &g, &e), 0);
	assert_prefix(gdb_where(g), "127.0.0.1:");
	assert_int_equal(gdb_start(&m->loop, strchr(gdb_where(g), ':') + 1, &ops, m, &g2, &e),
			 -EADDRINUSE);
	assert_has(e.msg, "in use");
	sa.sin_port = htons((uint16_t)atoi(strchr(gdb_where(g), ':') + 1));
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	m->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_true(connect(m->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 ||
		    errno == EINPROGRESS);
	pump(5);
	assert_string_equal(ask("qC"), "QC1");
	close(m->fd);
	m->fd = -1;
	pump(3);
	gdb_close(g, 0);

	/* the socket file: in use, left over, or not ours to remove */
	snprintf(spec, sizeof(spec), "unix:%s", m->path);
	assert_int_equal(gdb_start(&m->loop, spec, &ops, m, &g, &e), -EADDRINUSE);
	assert_int_equal(access(m->path, F_OK), 0);
	snprintf(spec, sizeof(spec), "unix:%s2", m->path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	{
		struct sockaddr_un un = { .sun_family = AF_UNIX };

		snprintf(un.sun_path, sizeof(un.sun_path), "%s2", m->path);
		assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
		close(fd);
	}
	assert_int_equal(gdb_start(&m->loop, spec, &ops, m, &g, &e), 0);
	assert_int_equal(unlink(spec + 5), 0);
	fd = open(spec + 5, O_CREAT | O_EXCL | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	gdb_close(g, 0);
	assert_int_equal(stat(spec + 5, &st), 0);
	assert_int_equal(gdb_start(&m->loop, spec, &ops, m, &g, &e), -EADDRINUSE);
	assert_int_equal(unlink(spec + 5), 0);
}

/* ---- hostile clients ------------------------------------------------------------------------- */

static void not_gdb(void **state)
{
	static const char http[] = "POST / HTTP/1.1\r\n\r\n$M80001000,4:00000000#00$c#63";

	connect_client();
	send_raw(http, sizeof(http) - 1);
	assert_closed();
	assert_int_equal(peek(CODE), ADD(1, 1, 1));
	assert_int_equal(executed(0), 0);
	/* a NUL in a command; a packet without an end; silence */
	connect_client();
	send_packet("qC\0junk", 7);
	assert_prefix(get_packet(), "E");
	send_raw("$mmmmmmmm", 9);
	close(m->fd);
	connect_client();
	pump(3);
	close(m->fd);
	attach();
}

static void too_long(void **state)
{
	char *big = malloc(3 * GDB_PACKET_MAX);
	uint8_t sum = 0;
	size_t sent = 0, len = 3 * GDB_PACKET_MAX;

	attach();
	memset(big, 'm', len);
	big[0] = '$';
	for (size_t i = 1; i < len - 3; i++)
		sum += 'm';
	snprintf(big + len - 3, 3, "#%x", sum >> 4);
	big[len - 1] = "0123456789abcdef"[sum & 15];
	while (sent < len) {
		ssize_t n = send(m->fd, big + sent, len - sent, MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		pump(1);
	}
	assert_string_equal(get_packet(), "E07");
	assert_string_equal(ask("qC"), "QC1");
	free(big);
}

static void nak_flood(void **state)
{
	connect_client();
	assert_string_equal(ask("qC"), "QC1");
	for (int i = 0; i < 100; i++)
		if (send(m->fd, "-", 1, MSG_NOSIGNAL) < 0)
			break;
	assert_closed();
	attach();
}

/* A client that asks and never reads: bounded memory, and the loop goes on. */
static void never_reads(void **state)
{
	static const char req[] = "$m80000000,2000#e3";
	unsigned int asked = 0;
	double end = now() + 20;
	char chunk[4096];
	size_t got = 0;

	attach();
	for (int i = 0; i < 300; i++) {
		ssize_t n = send(m->fd, req, sizeof(req) - 1, MSG_NOSIGNAL);

		if (n < 0)
			break;
		assert_int_equal(n, sizeof(req) - 1);
		asked++;
		loop_once(&m->loop, 0);
	}
	assert_true(asked > 50);
	/* all it asked for comes when it reads, in order and complete */
	for (size_t i = 0; i < asked * (size_t)GDB_FRAME_MAX; i += got) {
		ssize_t n = recv(m->fd, chunk,
				 MIN(sizeof(chunk), GDB_FRAME_MAX - i % GDB_FRAME_MAX), 0);

		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			assert_true(now() < end);
			loop_once(&m->loop, 5);
		}
		got = n > 0 ? (size_t)n : 0;
		assert_true(n != 0);
		if (got && i % GDB_FRAME_MAX == 0)
			assert_int_equal(chunk[0], '$');
		if (got && (i + got) % GDB_FRAME_MAX == 0 && got >= 3)
			assert_int_equal(chunk[got - 3], '#');
	}
	assert_silent();
	close(m->fd);
	attach();
}

static uint64_t rnd(void)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/* Well-framed nonsense and plain noise. What must hold is checked by the fake machine's asserts. */
static void noise(void **state)
{
	static const char *const start[] = {
		"g", "G", "p", "P", "m", "M", "X", "Z0,", "z0,", "Z1,", "Z2,", "Z4,", "c", "s",
		"C", "S", "vCont;", "vCont;s:", "H", "Hg", "Hc", "T", "q", "qRcmd,",
		"qXfer:features:read:target.xml:", "qThreadExtraInfo,", "qSupported:", "?", "D",
		"v", "M80001000,4:", "m80001000,",
	};
	static const char alphabet[] = "0123456789abcdef,:;=#$}-+xsc\x03";
	char buf[256], drain[4096];

	mmu_on(1);
	connect_client();
	for (int i = 0; i < 3000; i++) {
		size_t len = 0, n = rnd() % 40;
		uint8_t sum = 0;

		if (m->fd < 0)
			connect_client();
		if (rnd() % 50 == 0) {
			for (len = 0; len < n; len++)
				buf[len] = (char)rnd();
		} else {
			len = (size_t)snprintf(buf, sizeof(buf), "$%s",
					       start[rnd() % ARRAY_SIZE(start)]);
			while (n--)
				buf[len++] = alphabet[rnd() % (sizeof(alphabet) - 1)];
			for (size_t j = 1; j < len; j++)
				sum += (uint8_t)buf[j];
			len += (size_t)snprintf(buf + len, sizeof(buf) - len, "#%02x+", sum);
		}
		if (rnd() % 20 == 0)
			buf[len++] = 0x03;
		if (send(m->fd, buf, len, MSG_NOSIGNAL) < 0 && errno != EAGAIN) {
			close(m->fd);
			m->fd = -1;
		}
		loop_once(&m->loop, 0);
		if (m->fd >= 0) {
			ssize_t got = recv(m->fd, drain, sizeof(drain), 0);

			if (got == 0 || (got < 0 && errno != EAGAIN)) {
				close(m->fd);
				m->fd = -1;
			}
		}
	}
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
	pump(5);
	connect_client();
	assert_prefix(ask("?"), "T05thread:1;");
}

/* ---- the real gdb ---------------------------------------------------------------------------- */

static void real_gdb(void **state)
{
	const uint32_t code[] = { ADD(1, 1, 1), NOP, STR(1, 2), B(-3) };
	static const char script[] =
		"set confirm off\n"
		"set pagination off\n"
		"target remote %s\n"
		"info threads\n"
		"info registers pc sp cpsr\n"
		"p/x $v0.u64[1]\n"
		"p $v1.s[0]\n"
		"x/2xw 0x80001000\n"
		"x/4i 0x80001000\n"
		"set {int}0x80006000 = 0x12345678\n"
		"p/x *(int *)0x80006000\n"
		"stepi\n"
		"break *0x80001004\n"
		"break *0x80001008\n"
		"break *0x8000100c\n"
		"continue\n"
		"continue\n"
		"continue\n"
		"continue\n"
		"p $x1\n"
		"set $x7 = 0x77\n"
		"p/x $x7\n"
		"delete\n"
		"watch *(long *)0x80005000\n"
		"continue\n"
		"delete\n"
		"hbreak *0x80001000 if $x1 == 20\n"
		"continue\n"
		"p $x1\n"
		"thread 2\n"
		"monitor info\n"
		"x/1xw 0x1000\n"
		"detach\n";
	char cmds[128], out_path[128], *out = NULL;
	size_t len = 0;
	struct stat st;
	int status;
	FILE *f;
	pid_t pid;

	if (access("/usr/bin/gdb-multiarch", X_OK)) {
		print_message("gdb-multiarch is not installed\n");
		skip();
	}
	poke(CODE, code, ARRAY_SIZE(code));
	for (unsigned int i = 0; i < 2; i++) {
		struct fake_cpu *c = &m->cpu[i];

		*reg(c, GDB_REG_X0 + 2) = RAM + 0x5000 + 0x100 * i;
		*reg(c, GDB_REG_SP_EL1) = RAM + 0x7000;
	}
	/* vCPU 1 idles elsewhere */
	poke(RAM + 0x3000, &(uint32_t){ B(0) }, 1);
	*reg(&m->cpu[1], GDB_REG_PC) = RAM + 0x3000;
	m->cpu[0].reg[GDB_REG_V0].hi = 0xfeedfacecafebeef;
	m->cpu[0].reg[GDB_REG_V0 + 1].lo = 0x3fc00000;		/* 1.5f */
	m->irq = true;		/* always something pending: gdb must not trip over it */

	snprintf(cmds, sizeof(cmds), "%s/cmds", m->dir);
	snprintf(out_path, sizeof(out_path), "%s/out", m->dir);
	f = fopen(cmds, "w");
	fprintf(f, script, m->path);
	fclose(f);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		int fd = open(out_path, O_CREAT | O_WRONLY | O_TRUNC, 0600);

		dup2(fd, 1);
		dup2(fd, 2);
		setenv("HOME", m->dir, 1);
		execl("/usr/bin/gdb-multiarch", "gdb-multiarch", "-nx", "-batch", "-x", cmds,
		      (char *)NULL);
		_exit(127);
	}
	for (double end = now() + 60; waitpid(pid, &status, WNOHANG) == 0;) {
		if (now() > end) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			break;
		}
		loop_once(&m->loop, 10);
	}
	pump(3);
	f = fopen(out_path, "r");
	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	out = calloc(1, (size_t)st.st_size + 1);
	len = fread(out, 1, (size_t)st.st_size, f);
	fclose(f);
	out[len] = '\0';
	unlink(cmds);
	unlink(out_path);
	if (getenv("TEST_GDB_VERBOSE"))
		print_message("%s", out);

	assert_true(WIFEXITED(status));
	assert_has(out, "Thread 1 (vCPU 0 at EL1)");
	assert_has(out, "Thread 2 (vCPU 1 at EL1)");
	assert_has(out, "$1 = 0xfeedfacecafebeef");
	assert_has(out, "$2 = 1.5");
	assert_has(out, "0x91000421\t0xd503201f");
	assert_has(out, "str\tx1, [x2]");
	assert_has(out, "$3 = 0x12345678");
	assert_has(out, "Breakpoint 2, 0x0000000080001008");
	assert_has(out, "Breakpoint 3, 0x000000008000100c");
	assert_has(out, "Breakpoint 1, 0x0000000080001004");
	assert_has(out, "$4 = 2");
	assert_has(out, "$5 = 0x77");
	assert_has(out, "Hardware watchpoint 4: *(long *)0x80005000");
	assert_has(out, "Old value = ");
	assert_has(out, "$6 = 20");
	assert_has(out, "vCPU 1: pc 0x80003000");
	assert_has(out, "Cannot access memory at address 0x1000");
	free(out);
	/* detached, not killed: nothing left behind in the guest, and it runs */
	assert_false(m->killed);
	assert_int_equal(peek(CODE + 12), B(-3));
	unsigned long n = executed(0);

	while (executed(0) < n + 100)
		pump(1);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define T2(test) cmocka_unit_test_setup_teardown(test, setup2, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(receiver),
		cmocka_unit_test(transmitter),
		cmocka_unit_test(numbers),
		cmocka_unit_test(kvm_ids),
		T(starts_stopped),
		T2(queries),
		T(monitor),
		T(target_xml),
		T(registers),
		T2(memory),
		T(hw_breakpoint),
		T(sw_breakpoint),
		T(many_breakpoints),
		T(aliased_breakpoints),
		T(watchpoints),
		T(stepping),
		T2(two_cpus),
		T2(interrupt),
		T(foreign_brk),
		T(detach_and_reconnect),
		T(acknowledgments),
		T(acknowledgments_off),
		T(kill_machine),
		T2(reset_machine),
		T(end_of_machine),
		T(tcp_and_specs),
		T(not_gdb),
		T(too_long),
		T(nak_flood),
		T(never_reads),
		T2(noise),
		T2(real_gdb),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
