// SPDX-License-Identifier: BSD-3-Clause
/*
 * The gdb server: sockets, the commands of the protocol, and who runs when.
 *
 * A client may connect at any time, one at a time. It is "attached" from its first packet on, which
 * stops the machine, so a mere connection (a port scan) changes nothing. When it detaches, its
 * breakpoints go and the machine runs. When it vanishes, its breakpoints go and the machine stays
 * as it is, stopped or running.
 *
 * Output that the peer does not take is kept, and no more input is looked at until it is gone: what
 * one client can make us store is bounded by the buffers in struct gdb.
 */
#include "vmm/gdb.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/arm64_walk.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/loop.h"
#include "vmm/gdb_packet.h"
#include "vmm/gdb_target.h"

/* How often a client may ask for the same reply again before it is taken for broken. */
#define MAX_RESENDS 8

/* Register numbers of the protocol: the order of target.xml. */
enum {
	NUM_X0 = 0,
	NUM_SP = 31,
	NUM_PC = 32,
	NUM_CPSR = 33,
	NUM_V0 = 34,
	NUM_FPSR = 66,
	NUM_FPCR = 67,
	NUM_REGS = 68,
};

struct gdb {
	struct loop *loop;
	struct gdb_target t;
	char *xml;			/* target.xml */
	size_t xml_len;

	/* the socket that listens */
	struct loop_src listener;
	char where[128];		/* for "target remote" */
	char *path;			/* socket file, NULL: TCP */
	dev_t dev;			/* of the file, so that only our own is removed */
	ino_t ino;

	/* the client */
	struct loop_src client;		/* fd -1: none */
	uint32_t client_events;
	bool attached;
	bool drop;			/* to be disconnected at the end of this callback */
	bool no_ack;			/* QStartNoAckMode */
	bool told_swbreak, told_hwbreak;	/* features of qSupported */
	int g_cpu;			/* Hg: registers and memory */
	int c_cpu;			/* Hc: for c and s; -1: all */
	unsigned int resends;
	struct gdb_rx rx;
	struct gdb_tx tx;		/* the last frame, for a resend */
	uint8_t in[4096];
	size_t in_pos, in_len;
	uint8_t out[2 * GDB_FRAME_MAX + 64];
	size_t out_pos, out_len;

	/* the machine */
	bool running;
	struct gdb_stop stop;		/* why not */

	/* the note of a vCPU thread */
	struct loop_src wake;		/* eventfd */
	pthread_mutex_t lock;		/* the three below */
	bool note_valid;
	unsigned int note_cpu;
	struct gdb_debug_exit note;
};

/* ---- output ---------------------------------------------------------------------------------- */

static void flush_out(struct gdb *g)
{
	while (g->out_pos < g->out_len && !g->drop) {
		ssize_t n = send(g->client.fd, g->out + g->out_pos, g->out_len - g->out_pos,
				 MSG_NOSIGNAL);

		if (n >= 0)
			g->out_pos += (size_t)n;
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			return;
		else if (errno != EINTR)
			g->drop = true;
	}
	g->out_pos = g->out_len = 0;
}

static void queue_out(struct gdb *g, const void *buf, size_t len)
{
	if (len > sizeof(g->out) - g->out_len) {
		memmove(g->out, g->out + g->out_pos, g->out_len - g->out_pos);
		g->out_len -= g->out_pos;
		g->out_pos = 0;
	}
	if (len > sizeof(g->out) - g->out_len) {
		g->drop = true;
		return;
	}
	memcpy(g->out + g->out_len, buf, len);
	g->out_len += len;
	flush_out(g);
}

static void send_frame(struct gdb *g)
{
	gdb_tx_end(&g->tx);
	g->resends = 0;
	queue_out(g, g->tx.buf, g->tx.len);
}

/* Replies are short texts mostly; an error is a negative errno. */
static void reply_text(struct gdb *g, const char *text)
{
	gdb_tx_begin(&g->tx);
	gdb_tx_printf(&g->tx, "%s", text);
	send_frame(g);
}

static void reply_result(struct gdb *g, int ret)
{
	char text[8];

	if (!ret) {
		reply_text(g, "OK");
		return;
	}
	snprintf(text, sizeof(text), "E%02x", (unsigned int)-ret & 0xff);
	reply_text(g, text);
}

/* ---- registers ------------------------------------------------------------------------------- */

/* Which register a number is on this vCPU at this moment, and its size in bytes. */
static int reg_lookup(struct gdb *g, unsigned int cpu, uint64_t num, enum gdb_reg *reg,
		      unsigned int *size)
{
	uint64_t pstate;
	int ret = 0;

	*size = 8;
	if (num < NUM_SP) {
		*reg = GDB_REG_X0 + (unsigned int)num;
	} else if (num == NUM_SP) {
		/* PSTATE.SPSel chooses between the two that EL1 has; EL0 has it clear. */
		ret = gdb_target_reg(&g->t, cpu, GDB_REG_PSTATE, &pstate);
		*reg = !ret && (pstate & 1) ? GDB_REG_SP_EL1 : GDB_REG_SP_EL0;
	} else if (num == NUM_PC) {
		*reg = GDB_REG_PC;
	} else if (num == NUM_CPSR) {
		*reg = GDB_REG_PSTATE;
		*size = 4;
	} else if (num < NUM_FPSR) {
		*reg = GDB_REG_V0 + (unsigned int)(num - NUM_V0);
		*size = 16;
	} else if (num < NUM_REGS) {
		*reg = num == NUM_FPSR ? GDB_REG_FPSR : GDB_REG_FPCR;
		*size = 4;
	} else {
		ret = -ENOENT;
	}
	return ret;
}

/* Append a register to the frame; one that cannot be read is a row of x, as the protocol has it. */
static int put_reg(struct gdb *g, unsigned int cpu, unsigned int num)
{
	struct gdb_regval v = { 0 };
	enum gdb_reg reg;
	unsigned int size;
	int ret;

	ret = reg_lookup(g, cpu, num, &reg, &size);
	if (!ret)
		ret = g->t.ops->get_reg(g->t.ctx, cpu, reg, &v);
	if (ret < 0) {
		for (unsigned int i = 0; i < size; i++)
			gdb_tx_printf(&g->tx, "xx");
		return ret;
	}
	gdb_tx_le(&g->tx, v.lo, MIN(size, 8u));
	if (size == 16)
		gdb_tx_le(&g->tx, v.hi, 8);
	return 0;
}

static int set_reg(struct gdb *g, unsigned int cpu, uint64_t num, const char **p)
{
	struct gdb_regval v = { 0 };
	enum gdb_reg reg;
	unsigned int size;
	int ret;

	ret = reg_lookup(g, cpu, num, &reg, &size);
	if (ret < 0)
		return ret;
	if (!gdb_get_le(p, &v.lo, MIN(size, 8u)) || (size == 16 && !gdb_get_le(p, &v.hi, 8)))
		return -EINVAL;
	return g->t.ops->set_reg(g->t.ctx, cpu, reg, &v);
}

static void cmd_read_regs(struct gdb *g)
{
	gdb_tx_begin(&g->tx);
	for (unsigned int i = 0; i < NUM_REGS; i++)
		put_reg(g, (unsigned int)g->g_cpu, i);
	send_frame(g);
}

static void cmd_write_regs(struct gdb *g, const char *p)
{
	unsigned int cpu = (unsigned int)g->g_cpu;
	int ret = 0;

	/* All digits first: a packet that is cut off changes nothing. */
	if (strspn(p, "0123456789abcdefABCDEF") != strlen(p) || strlen(p) != 788 * 2) {
		reply_result(g, -EINVAL);
		return;
	}
	/* PSTATE before SP, because it chooses which SP is meant. */
	for (unsigned int i = 0; !ret && i < NUM_SP; i++)
		ret = set_reg(g, cpu, i, &p);
	if (!ret) {
		const char *sp = p, *cpsr = p + 2 * (8 + 8);

		ret = set_reg(g, cpu, NUM_CPSR, &cpsr);
		if (!ret)
			ret = set_reg(g, cpu, NUM_SP, &sp);
		if (!ret)
			ret = set_reg(g, cpu, NUM_PC, &sp);
		p = cpsr;
	}
	for (unsigned int i = NUM_V0; !ret && i < NUM_REGS; i++)
		ret = set_reg(g, cpu, i, &p);
	reply_result(g, ret);
}

static void cmd_read_reg(struct gdb *g, const char *p)
{
	uint64_t num;
	int ret;

	if (!gdb_get_hex(&p, &num) || *p || num >= NUM_REGS) {
		reply_result(g, -EINVAL);
		return;
	}
	gdb_tx_begin(&g->tx);
	ret = put_reg(g, (unsigned int)g->g_cpu, (unsigned int)num);
	if (ret < 0)
		reply_result(g, ret);
	else
		send_frame(g);
}

static void cmd_write_reg(struct gdb *g, const char *p)
{
	uint64_t num;
	int ret = -EINVAL;

	if (gdb_get_hex(&p, &num) && gdb_get_char(&p, '='))
		ret = set_reg(g, (unsigned int)g->g_cpu, num, &p);
	if (!ret && *p)
		ret = -EINVAL;
	reply_result(g, ret);
}

/*
 * The description of the registers in the numbering above. Element names: gdb manual, appendix
 * "Target Descriptions"; features that gdb asks of AArch64: section "AArch64 Features".
 */
static int make_xml(struct gdb *g)
{
	static const struct {
		const char *name;
		unsigned int first, last;
	} flags[] = {
		{ "SP", 0, 0 }, { "EL", 2, 3 }, { "nRW", 4, 4 }, { "F", 6, 6 }, { "I", 7, 7 },
		{ "A", 8, 8 }, { "D", 9, 9 }, { "BTYPE", 10, 11 }, { "SSBS", 12, 12 },
		{ "IL", 20, 20 }, { "SS", 21, 21 }, { "PAN", 22, 22 }, { "UAO", 23, 23 },
		{ "DIT", 24, 24 }, { "TCO", 25, 25 }, { "V", 28, 28 }, { "C", 29, 29 },
		{ "Z", 30, 30 }, { "N", 31, 31 },
	};
	static const struct {
		const char *field, *type;
		unsigned int count;
	} lanes[] = {
		{ "d", "ieee_double", 2 }, { "s", "ieee_single", 4 }, { "u64", "uint64", 2 },
		{ "u32", "uint32", 4 }, { "u16", "uint16", 8 }, { "u8", "uint8", 16 },
		{ "q", "uint128", 1 },
	};
	FILE *f = open_memstream(&g->xml, &g->xml_len);

	if (!f)
		return -errno;
	fputs("<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
	      "<target version=\"1.0\">\n<architecture>aarch64</architecture>\n"
	      "<feature name=\"org.gnu.gdb.aarch64.core\">\n"
	      "<flags id=\"pstate\" size=\"4\">\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		fprintf(f, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>\n", flags[i].name,
			flags[i].first, flags[i].last);
	fputs("</flags>\n", f);
	for (unsigned int i = 0; i < NUM_SP; i++)
		fprintf(f, "<reg name=\"x%u\" bitsize=\"64\"/>\n", i);
	fputs("<reg name=\"sp\" bitsize=\"64\" type=\"data_ptr\"/>\n"
	      "<reg name=\"pc\" bitsize=\"64\" type=\"code_ptr\"/>\n"
	      "<reg name=\"cpsr\" bitsize=\"32\" type=\"pstate\"/>\n</feature>\n"
	      "<feature name=\"org.gnu.gdb.aarch64.fpu\">\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(lanes); i++)
		fprintf(f, "<vector id=\"lanes_%s\" type=\"%s\" count=\"%u\"/>\n", lanes[i].field,
			lanes[i].type, lanes[i].count);
	fputs("<union id=\"vreg\">\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(lanes); i++)
		fprintf(f, "<field name=\"%s\" type=\"lanes_%s\"/>\n", lanes[i].field,
			lanes[i].field);
	fputs("</union>\n", f);
	for (unsigned int i = 0; i < NUM_FPSR - NUM_V0; i++)
		fprintf(f, "<reg name=\"v%u\" bitsize=\"128\" type=\"vreg\"/>\n", i);
	fputs("<reg name=\"fpsr\" bitsize=\"32\"/>\n<reg name=\"fpcr\" bitsize=\"32\"/>\n"
	      "</feature>\n</target>\n", f);
	return fclose(f) ? -ENOMEM : 0;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static bool get_range(const char **p, uint64_t *addr, uint64_t *len)
{
	return gdb_get_hex(p, addr) && gdb_get_char(p, ',') && gdb_get_hex(p, len);
}

static void cmd_read_mem(struct gdb *g, const char *p)
{
	uint8_t buf[GDB_PACKET_MAX / 2];
	uint64_t addr, len;
	ssize_t n;

	if (!get_range(&p, &addr, &len) || *p || !len) {
		reply_result(g, -EINVAL);
		return;
	}
	/* A reply may be shorter than what was asked for. */
	n = gdb_target_read(&g->t, (unsigned int)g->g_cpu, addr, buf, MIN(len, sizeof(buf)));
	if (n < 0) {
		reply_result(g, (int)n);
		return;
	}
	gdb_tx_begin(&g->tx);
	gdb_tx_hex(&g->tx, buf, (size_t)n);
	send_frame(g);
}

static void cmd_write_mem(struct gdb *g, const char *p, size_t left, bool binary)
{
	const char *start = p;
	uint8_t buf[GDB_PACKET_MAX / 2];
	const void *data = buf;
	uint64_t addr, len;
	bool ok;

	ok = get_range(&p, &addr, &len) && gdb_get_char(&p, ':');
	if (ok) {
		left -= (size_t)(p - start);
		if (binary) {
			ok = len == left;
			data = p;
		} else {
			ok = left % 2 == 0 && len == left / 2 && len <= sizeof(buf) &&
			     gdb_get_bytes(&p, buf, len);
		}
	}
	reply_result(g, ok ? gdb_target_write(&g->t, (unsigned int)g->g_cpu, addr, data, len) :
			     -EINVAL);
}

static void cmd_breakpoint(struct gdb *g, const char *p, bool insert)
{
	unsigned int cpu = (unsigned int)g->g_cpu;
	uint64_t type, addr, len;

	/* What follows (conditions, commands) was not offered in qSupported. */
	if (!gdb_get_hex(&p, &type) || !gdb_get_char(&p, ',') || !get_range(&p, &addr, &len) || *p)
		reply_result(g, -EINVAL);
	else if (type > GDB_Z_ACCESS)
		reply_text(g, "");
	else if (insert)
		reply_result(g, gdb_target_insert(&g->t, cpu, (enum gdb_z)type, addr, len));
	else
		reply_result(g, gdb_target_remove(&g->t, (enum gdb_z)type, addr, len));
}

/* ---- stop and go ----------------------------------------------------------------------------- */

static void reply_stop(struct gdb *g)
{
	static const char *const watch[] = {
		[GDB_Z_WRITE] = "watch", [GDB_Z_READ] = "rwatch", [GDB_Z_ACCESS] = "awatch",
	};
	static const unsigned int expedited[] = { 29, NUM_SP, NUM_PC };
	const struct gdb_stop *s = &g->stop;

	gdb_tx_begin(&g->tx);
	gdb_tx_printf(&g->tx, "T%02xthread:%x;", s->sig, s->cpu + 1);
	if (s->why == GDB_STOP_SWBREAK && g->told_swbreak)
		gdb_tx_printf(&g->tx, "swbreak:;");
	else if (s->why == GDB_STOP_HWBREAK && g->told_hwbreak)
		gdb_tx_printf(&g->tx, "hwbreak:;");
	else if (s->why == GDB_STOP_WATCH)
		gdb_tx_printf(&g->tx, "%s:%" PRIx64 ";", watch[s->watch], s->addr);
	for (size_t i = 0; i < ARRAY_SIZE(expedited); i++) {
		gdb_tx_printf(&g->tx, "%x:", expedited[i]);
		put_reg(g, s->cpu, expedited[i]);
		gdb_tx_printf(&g->tx, ";");
	}
	send_frame(g);
}

static void stop_machine(struct gdb *g)
{
	g->t.ops->stop_all(g->t.ctx);
	g->running = false;
	gdb_target_settle(&g->t);
}

/* Carry out the actions in t.cpu[]. */
static int resume_machine(struct gdb *g)
{
	bool all = true;
	int ret;

	ret = gdb_target_prepare(&g->t);
	if (ret < 0)
		return ret;
	/* The notes of this stop are void: whoever wrote one will meet its cause again. */
	pthread_mutex_lock(&g->lock);
	g->note_valid = false;
	pthread_mutex_unlock(&g->lock);

	g->running = true;
	for (unsigned int i = 0; i < g->t.nr_cpus; i++)
		all &= g->t.cpu[i].action != GDB_STAY;
	if (all)
		g->t.ops->resume(g->t.ctx, -1);
	for (unsigned int i = 0; !all && i < g->t.nr_cpus; i++)
		if (g->t.cpu[i].action != GDB_STAY)
			g->t.ops->resume(g->t.ctx, (int)i);
	return 0;
}

static void set_actions(struct gdb *g, enum gdb_action a)
{
	for (unsigned int i = 0; i < g->t.nr_cpus; i++)
		g->t.cpu[i].action = a;
}

static void report_stop(struct gdb *g, const struct gdb_stop *s)
{
	g->stop = *s;
	g->g_cpu = (int)s->cpu;
	if (g->attached)
		reply_stop(g);
}

static void free_run(struct gdb *g)
{
	int ret;

	gdb_target_clear(&g->t);
	set_actions(g, GDB_RUN);
	ret = resume_machine(g);
	if (ret < 0)
		log_error("gdb: cannot resume the machine: %s", strerror(-ret));
}

static void update_client(struct gdb *g);

static void wake_event(struct loop_src *src, uint32_t events)
{
	struct gdb *g = container_of(src, struct gdb, wake);
	struct gdb_debug_exit info;
	struct gdb_stop stop;
	unsigned int cpu;
	uint64_t n;
	bool valid;
	int ret;

	if (read(src->fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		log_error("gdb: eventfd: %s", strerror(errno));
	pthread_mutex_lock(&g->lock);
	valid = g->note_valid;
	cpu = g->note_cpu;
	info = g->note;
	pthread_mutex_unlock(&g->lock);
	if (!valid || !g->running)
		return;

	stop_machine(g);
	if (gdb_target_explain(&g->t, cpu, &info, &stop)) {
		report_stop(g, &stop);
		/* Nobody is there: a note from before the last detach. */
		if (!g->attached)
			free_run(g);
	} else {
		ret = resume_machine(g);
		if (ret < 0) {
			log_error("gdb: cannot resume the machine: %s", strerror(-ret));
			report_stop(g, &stop);
		}
	}
	update_client(g);
}

void gdb_on_debug(struct gdb *g, unsigned int cpu, const struct gdb_debug_exit *info)
{
	uint64_t one = 1;

	if (cpu >= g->t.nr_cpus)
		return;
	pthread_mutex_lock(&g->lock);
	if (!g->note_valid) {
		g->note_valid = true;
		g->note_cpu = cpu;
		g->note = *info;
	}
	pthread_mutex_unlock(&g->lock);
	if (write(g->wake.fd, &one, sizeof(one)) < 0)
		log_error("gdb: eventfd: %s", strerror(errno));
}

static void interrupt(struct gdb *g)
{
	struct gdb_stop stop = { .cpu = (unsigned int)g->g_cpu, .sig = GDB_SIGINT };

	if (!g->running || !g->attached)
		return;
	stop_machine(g);
	report_stop(g, &stop);
}

/* A thread id: -1 all, 0 any, else vCPU + 1. Result: -1 all, else a vCPU. */
static int get_thread(struct gdb *g, const char **p, int *cpu)
{
	uint64_t id;

	if (!strncmp(*p, "-1", 2)) {
		*p += 2;
		*cpu = -1;
		return 0;
	}
	if (!gdb_get_hex(p, &id))
		return -EINVAL;
	if (id > g->t.nr_cpus)
		return -ENOENT;
	*cpu = id ? (int)id - 1 : g->g_cpu;
	return 0;
}

static int parse_vcont(struct gdb *g, const char *p)
{
	enum gdb_action action;
	unsigned int chosen = 0;
	uint64_t sig;
	int cpu, ret;

	set_actions(g, GDB_STAY);
	while (gdb_get_char(&p, ';')) {
		char a = *p;

		if (a != 'c' && a != 'C' && a != 's' && a != 'S')
			return -EINVAL;
		p++;
		/* A signal means nothing to a machine. */
		if ((a == 'C' || a == 'S') && !gdb_get_hex(&p, &sig))
			return -EINVAL;
		action = a == 'c' || a == 'C' ? GDB_RUN : GDB_STEP;
		cpu = -1;
		if (gdb_get_char(&p, ':')) {
			ret = get_thread(g, &p, &cpu);
			if (ret < 0)
				return ret;
		}
		/* For each thread the leftmost action that names it holds. */
		for (unsigned int i = 0; i < g->t.nr_cpus; i++) {
			if ((cpu == -1 || (unsigned int)cpu == i) &&
			    g->t.cpu[i].action == GDB_STAY) {
				g->t.cpu[i].action = action;
				chosen++;
			}
		}
	}
	return *p || !chosen ? -EINVAL : 0;
}

static void cmd_vcont(struct gdb *g, const char *p)
{
	int ret = parse_vcont(g, p);

	if (!ret)
		ret = resume_machine(g);
	if (ret < 0)
		reply_result(g, ret);
	/* else the reply is the next stop */
}

/* c [addr], s [addr], C sig[;addr], S sig[;addr] */
static void cmd_go(struct gdb *g, char cmd, const char *p)
{
	bool step = cmd == 's' || cmd == 'S';
	unsigned int cpu = (unsigned int)(g->c_cpu >= 0 ? g->c_cpu : g->g_cpu);
	bool has_addr = *p;
	uint64_t sig, addr;
	int ret = 0;

	if (cmd == 'C' || cmd == 'S') {
		if (!gdb_get_hex(&p, &sig))
			ret = -EINVAL;
		has_addr = !ret && gdb_get_char(&p, ';');
	}
	if (!ret && has_addr && !gdb_get_hex(&p, &addr))
		ret = -EINVAL;
	if (!ret && *p)
		ret = -EINVAL;
	if (!ret && has_addr)
		ret = gdb_target_set_reg(&g->t, cpu, GDB_REG_PC, addr);
	if (!ret) {
		set_actions(g, step ? GDB_STAY : GDB_RUN);
		if (step)
			g->t.cpu[cpu].action = GDB_STEP;
		ret = resume_machine(g);
	}
	if (ret < 0)
		reply_result(g, ret);
}

/* ---- queries --------------------------------------------------------------------------------- */

static void cmd_set_thread(struct gdb *g, const char *p)
{
	char op = *p;
	int cpu, ret;

	if (op != 'g' && op != 'c') {
		reply_text(g, "");
		return;
	}
	p++;
	ret = get_thread(g, &p, &cpu);
	if (!ret && *p)
		ret = -EINVAL;
	if (!ret && op == 'g')
		g->g_cpu = cpu >= 0 ? cpu : g->g_cpu;
	else if (!ret)
		g->c_cpu = cpu;
	reply_result(g, ret);
}

static void cmd_thread_alive(struct gdb *g, const char *p)
{
	uint64_t id;
	bool ok = gdb_get_hex(&p, &id) && !*p && id >= 1 && id <= g->t.nr_cpus;

	reply_result(g, ok ? 0 : -ENOENT);
}

static void query_threads(struct gdb *g)
{
	gdb_tx_begin(&g->tx);
	for (unsigned int i = 0; i < g->t.nr_cpus; i++)
		gdb_tx_printf(&g->tx, "%c%x", i ? ',' : 'm', i + 1);
	send_frame(g);
}

static void query_thread_info(struct gdb *g, const char *p)
{
	char text[64];
	uint64_t id, pstate;
	int n;

	if (!gdb_get_hex(&p, &id) || *p || id < 1 || id > g->t.nr_cpus) {
		reply_result(g, -ENOENT);
		return;
	}
	n = snprintf(text, sizeof(text), "vCPU %u", (unsigned int)id - 1);
	if (!gdb_target_reg(&g->t, (unsigned int)id - 1, GDB_REG_PSTATE, &pstate))
		n += snprintf(text + n, sizeof(text) - (size_t)n, " at EL%u",
			      (unsigned int)(pstate >> 2 & 3));
	gdb_tx_begin(&g->tx);
	gdb_tx_hex(&g->tx, text, (size_t)n);
	send_frame(g);
}

static void query_features(struct gdb *g, const char *p)
{
	uint64_t off, len;

	if (strncmp(p, "target.xml:", 11)) {
		reply_text(g, "E00");		/* no such annex */
		return;
	}
	p += 11;
	if (!get_range(&p, &off, &len) || *p || off > g->xml_len) {
		reply_result(g, -EINVAL);
		return;
	}
	len = MIN(len, g->xml_len - off);
	len = MIN(len, GDB_PACKET_MAX / 2 - 1ull);	/* room for an escape at each byte */
	gdb_tx_begin(&g->tx);
	gdb_tx_printf(&g->tx, "%c", off + len < g->xml_len ? 'm' : 'l');
	gdb_tx_binary(&g->tx, g->xml + off, len);
	send_frame(g);
}

static void query_supported(struct gdb *g, const char *p)
{
	g->told_swbreak = strstr(p, "swbreak+") != NULL;
	g->told_hwbreak = strstr(p, "hwbreak+") != NULL;
	gdb_tx_begin(&g->tx);
	gdb_tx_printf(&g->tx, "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;"
		      "vContSupported+;swbreak+;hwbreak+", GDB_PACKET_MAX);
	send_frame(g);
}

static void monitor_info(struct gdb *g, FILE *f)
{
	unsigned int patches = 0, regs = 0, wps = 0;

	for (unsigned int i = 0; i < g->t.nr_cpus && i < 64; i++) {
		uint64_t pc, pstate, sctlr, tcr;
		struct arm64_mmu m;

		if (gdb_target_reg(&g->t, i, GDB_REG_PC, &pc) ||
		    gdb_target_reg(&g->t, i, GDB_REG_PSTATE, &pstate) ||
		    gdb_target_reg(&g->t, i, GDB_REG_SCTLR_EL1, &sctlr) ||
		    gdb_target_reg(&g->t, i, GDB_REG_TCR_EL1, &tcr)) {
			fprintf(f, "vCPU %u: registers cannot be read\n", i);
			continue;
		}
		m = (struct arm64_mmu){ .sctlr = sctlr, .tcr = tcr };
		fprintf(f, "vCPU %u: pc %#" PRIx64 ", EL%u, MMU %s", i, pc,
			(unsigned int)(pstate >> 2 & 3), arm64_mmu_on(&m) ? "on" : "off");
		if (arm64_mmu_on(&m))
			fprintf(f, ", granules of %u and %u KiB",
				(unsigned int)(arm64_granule(&m, 0) / 1024),
				(unsigned int)(arm64_granule(&m, 1) / 1024));
		fputc('\n', f);
	}
	for (size_t i = 0; i < ARRAY_SIZE(g->t.bp); i++) {
		patches += g->t.bp[i].used && !g->t.bp[i].in_hw;
		regs += g->t.bp[i].used && g->t.bp[i].in_hw;
	}
	for (size_t i = 0; i < ARRAY_SIZE(g->t.wp); i++)
		wps += g->t.wp[i].used;
	fprintf(f, "%u of %u breakpoint registers in use, %u of %u watchpoint registers, "
		"%u breakpoints patched into memory\n", regs, g->t.nr_bps, wps, g->t.nr_wps,
		patches);
	fprintf(f, "single steps %s interrupts\n", g->t.step_irqs ? "take" : "hold back");
}

static void query_monitor(struct gdb *g, const char *p, size_t left)
{
	char cmd[64] = "", *text = NULL;
	size_t len;
	FILE *f;

	if (left % 2 || left / 2 >= sizeof(cmd) || !gdb_get_bytes(&p, cmd, left / 2)) {
		reply_result(g, -EINVAL);
		return;
	}
	f = open_memstream(&text, &len);
	if (!f) {
		reply_result(g, -ENOMEM);
		return;
	}
	if (!strcmp(cmd, "info")) {
		monitor_info(g, f);
	} else if (!strcmp(cmd, "step-irqs on") || !strcmp(cmd, "step-irqs off")) {
		g->t.step_irqs = !strcmp(cmd, "step-irqs on");
		fprintf(f, "single steps %s interrupts\n",
			g->t.step_irqs ? "take" : "hold back");
	} else {
		if (strcmp(cmd, "help"))
			fputs("unknown command\n", f);
		fputs("help              this text\n"
		      "info              vCPUs, MMU, breakpoints in use\n"
		      "step-irqs on|off  may a single step enter an interrupt handler (off)\n", f);
	}
	if (fclose(f)) {
		reply_result(g, -ENOMEM);
	} else {
		gdb_tx_begin(&g->tx);
		gdb_tx_hex(&g->tx, text, MIN(len, (size_t)GDB_PACKET_MAX / 2));
		send_frame(g);
	}
	free(text);
}

/* Does the packet begin with this word? Advances behind it. */
static bool word(const char **p, const char *w)
{
	size_t n = strlen(w);

	if (strncmp(*p, w, n))
		return false;
	*p += n;
	return true;
}

static void cmd_query(struct gdb *g, const char *p, size_t len)
{
	const char *start = p;

	if (word(&p, "qSupported"))
		query_supported(g, p);
	else if (word(&p, "qXfer:features:read:"))
		query_features(g, p);
	else if (word(&p, "qRcmd,"))
		query_monitor(g, p, len - (size_t)(p - start));
	else if (word(&p, "qThreadExtraInfo,"))
		query_thread_info(g, p);
	else if (!strcmp(p, "qfThreadInfo"))
		query_threads(g);
	else if (!strcmp(p, "qsThreadInfo"))
		reply_text(g, "l");
	else if (word(&p, "qAttached"))
		reply_text(g, "1");	/* gdb detaches when it quits, and does not kill */
	else if (!strcmp(p, "qC")) {
		gdb_tx_begin(&g->tx);
		gdb_tx_printf(&g->tx, "QC%x", (unsigned int)g->g_cpu + 1);
		send_frame(g);
	} else {
		reply_text(g, "");
	}
}

static void cmd_verbose(struct gdb *g, const char *p)
{
	if (!strcmp(p, "vCont?"))
		reply_text(g, "vCont;c;C;s;S");
	else if (word(&p, "vCont"))
		cmd_vcont(g, p);
	else
		reply_text(g, "");	/* vMustReplyEmpty among them */
}

/* ---- packets --------------------------------------------------------------------------------- */

static void detach(struct gdb *g)
{
	reply_result(g, 0);
	g->attached = false;
	if (g->running)
		stop_machine(g);
	free_run(g);
	log_info("gdb: detached, the guest runs");
}

static void handle_packet(struct gdb *g, const char *p, size_t len)
{
	if (!g->attached) {
		g->attached = true;
		if (g->running)
			stop_machine(g);
		g->stop = (struct gdb_stop){ .cpu = 0, .sig = GDB_SIGTRAP };
		g->g_cpu = 0;
		log_info("gdb: attached, the guest is stopped");
	}
	/* A client that waits for a stop has nothing to say but these two. */
	if (g->running && *p != 'k' && *p != 'D') {
		reply_result(g, -EBUSY);
		return;
	}
	/* Everything below but X works on text; a NUL ends it for good. */
	if (*p != 'X' && strlen(p) != len) {
		reply_result(g, -EINVAL);
		return;
	}

	switch (*p) {
	case '?':
		reply_stop(g);
		break;
	case 'g':
		cmd_read_regs(g);
		break;
	case 'G':
		cmd_write_regs(g, p + 1);
		break;
	case 'p':
		cmd_read_reg(g, p + 1);
		break;
	case 'P':
		cmd_write_reg(g, p + 1);
		break;
	case 'm':
		cmd_read_mem(g, p + 1);
		break;
	case 'M':
	case 'X':
		cmd_write_mem(g, p + 1, len - 1, *p == 'X');
		break;
	case 'Z':
	case 'z':
		cmd_breakpoint(g, p + 1, *p == 'Z');
		break;
	case 'c':
	case 'C':
	case 's':
	case 'S':
		cmd_go(g, *p, p + 1);
		break;
	case 'v':
		cmd_verbose(g, p);
		break;
	case 'H':
		cmd_set_thread(g, p + 1);
		break;
	case 'T':
		cmd_thread_alive(g, p + 1);
		break;
	case 'q':
		cmd_query(g, p, len);
		break;
	case 'Q':
		if (!strcmp(p, "QStartNoAckMode")) {
			reply_result(g, 0);
			g->no_ack = true;
		} else {
			reply_text(g, "");
		}
		break;
	case 'D':
		detach(g);
		break;
	case 'k':
		log_info("gdb: the guest is killed");
		g->drop = true;
		g->attached = false;	/* nothing is to be put right any more */
		g->t.ops->kill(g->t.ctx);
		break;
	default:
		reply_text(g, "");
		break;
	}
}

static void ack(struct gdb *g, char c)
{
	if (!g->no_ack)
		queue_out(g, &c, 1);
}

static void handle_byte(struct gdb *g, uint8_t c)
{
	switch (gdb_rx_byte(&g->rx, c)) {
	case GDB_RX_PACKET:
		ack(g, '+');
		handle_packet(g, g->rx.buf, g->rx.len);
		break;
	case GDB_RX_TOO_LONG:
		ack(g, '+');
		reply_result(g, -E2BIG);
		break;
	case GDB_RX_BAD_SUM:
		/* Without acknowledgments a packet is not sent again, so it needs an answer. */
		if (g->no_ack)
			reply_result(g, -EBADMSG);
		else
			ack(g, '-');
		break;
	case GDB_RX_INTERRUPT:
		interrupt(g);
		break;
	case GDB_RX_NAK:
		if (g->no_ack || !g->tx.len)
			break;
		if (++g->resends > MAX_RESENDS)
			g->drop = true;
		else
			queue_out(g, g->tx.buf, g->tx.len);
		break;
	case GDB_RX_GARBAGE:
		/*
		 * No gdb: a browser that was talked into posting to this port, for example,
		 * whose text could hold a well-formed packet further on.
		 */
		log_info("gdb: the client does not speak gdb's protocol, disconnected");
		g->drop = true;
		break;
	case GDB_RX_ACK:
	case GDB_RX_NONE:
		break;
	}
}

/* ---- the client ------------------------------------------------------------------------------ */

static void client_gone(struct gdb *g)
{
	bool attached = g->attached;

	loop_del(g->loop, &g->client);
	close(g->client.fd);
	g->client.fd = -1;
	g->attached = false;
	g->drop = false;
	if (!attached)
		return;
	if (g->running) {
		stop_machine(g);
		free_run(g);
	} else {
		gdb_target_clear(&g->t);
		log_info("gdb: the client left without detaching, the guest stays stopped; "
			 "connect again to go on");
	}
}

/* The end of each callback: disconnect, or wait for the right thing. */
static void update_client(struct gdb *g)
{
	uint32_t want = g->out_pos < g->out_len ? EPOLLOUT : EPOLLIN;

	if (g->client.fd < 0)
		return;
	if (!g->drop && want != g->client_events) {
		g->client_events = want;
		if (loop_mod(g->loop, &g->client, want) < 0)
			g->drop = true;
	}
	if (g->drop)
		client_gone(g);
}

static void client_event(struct loop_src *src, uint32_t events)
{
	struct gdb *g = container_of(src, struct gdb, client);
	ssize_t n;

	flush_out(g);
	if (!g->drop && !g->out_len && g->in_pos == g->in_len) {
		n = recv(src->fd, g->in, sizeof(g->in), 0);
		g->in_pos = g->in_len = 0;
		if (n > 0)
			g->in_len = (size_t)n;
		else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
			g->drop = true;
	}
	while (!g->drop && !g->out_len && g->in_pos < g->in_len)
		handle_byte(g, g->in[g->in_pos++]);
	update_client(g);
}

static void accept_event(struct loop_src *src, uint32_t events)
{
	struct gdb *g = container_of(src, struct gdb, listener);
	int one = 1, fd;

	fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;			/* gone again, or no descriptor left: the next round */
	if (g->client.fd >= 0) {
		log_info("gdb: a second client was refused");
		close(fd);
		return;
	}
	if (!g->path)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	g->client.fd = fd;
	g->client.fn = client_event;
	g->client_events = EPOLLIN;
	g->attached = g->drop = g->no_ack = false;
	g->told_swbreak = g->told_hwbreak = false;
	g->g_cpu = 0;
	g->c_cpu = -1;
	g->resends = 0;
	g->in_pos = g->in_len = g->out_pos = g->out_len = 0;
	g->tx.len = 0;
	memset(&g->rx, 0, sizeof(g->rx));
	if (loop_add(g->loop, &g->client, g->client_events) < 0) {
		close(fd);
		g->client.fd = -1;
	}
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static int listen_tcp(struct gdb *g, const char *spec, struct err *e)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof(sa);
	unsigned long port = 0;
	int one = 1, ret;

	for (const char *s = spec; *s; s++) {
		if (*s < '0' || *s > '9' || s - spec >= 5)
			port = 65536;
		else
			port = port * 10 + (unsigned long)(*s - '0');
		if (port > 65535)
			break;
	}
	if (!*spec || port > 65535)
		return err_set(e, -EINVAL, "--gdb %s: not a port (0 to 65535) and not unix:PATH",
			       spec);
	sa.sin_port = htons((uint16_t)port);
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);	/* never from outside: no authentication */
	g->listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (g->listener.fd < 0 ||
	    setsockopt(g->listener.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(g->listener.fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(g->listener.fd, 1) < 0 ||
	    getsockname(g->listener.fd, (struct sockaddr *)&sa, &len) < 0) {
		ret = -errno;
		if (ret == -EADDRINUSE)
			return err_set(e, ret, "--gdb %s: the port is in use by another program; "
				       "choose another one, or 0 for any free port", spec);
		return err_set(e, ret, "--gdb %s: %s", spec, strerror(-ret));
	}
	snprintf(g->where, sizeof(g->where), "127.0.0.1:%u", ntohs(sa.sin_port));
	return 0;
}

/* A socket file that nobody listens on is left over from a run that was killed. */
static bool is_stale_socket(const struct sockaddr_un *sa)
{
	struct stat st;
	bool stale;
	int fd;

	if (lstat(sa->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	stale = connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0 && errno == ECONNREFUSED;
	close(fd);
	return stale;
}

static int listen_unix(struct gdb *g, const char *path, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stat st;
	int ret;

	if (!*path || strlen(path) >= sizeof(sa.sun_path))
		return err_set(e, -EINVAL, "--gdb unix:%s: the path of a socket has 1 to %zu bytes",
			       path, sizeof(sa.sun_path) - 1);
	strcpy(sa.sun_path, path);
	g->listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The file takes its mode from the socket: nobody else can connect, from the beginning. */
	if (g->listener.fd < 0 || fchmod(g->listener.fd, 0600) < 0)
		goto fail;
	ret = bind(g->listener.fd, (struct sockaddr *)&sa, sizeof(sa));
	if (ret < 0 && errno == EADDRINUSE && is_stale_socket(&sa)) {
		unlink(path);
		ret = bind(g->listener.fd, (struct sockaddr *)&sa, sizeof(sa));
	}
	if (ret < 0)
		goto fail;
	g->path = strdup(path);
	if (!g->path || lstat(path, &st) < 0) {
		ret = g->path ? -errno : -ENOMEM;
		unlink(path);
		free(g->path);
		g->path = NULL;
		return err_set(e, ret, "--gdb unix:%s: %s", path, strerror(-ret));
	}
	g->dev = st.st_dev;
	g->ino = st.st_ino;
	if (listen(g->listener.fd, 1) < 0)
		goto fail;
	snprintf(g->where, sizeof(g->where), "%s", path);
	return 0;

fail:
	ret = -errno;
	if (ret == -EADDRINUSE)
		return err_set(e, ret, "--gdb unix:%s: the file exists and is in use; remove it or "
			       "choose another path", path);
	return err_set(e, ret, "--gdb unix:%s: %s", path, strerror(-ret));
}

static void unlisten(struct gdb *g)
{
	struct stat st;

	if (g->path && lstat(g->path, &st) == 0 && st.st_dev == g->dev && st.st_ino == g->ino)
		unlink(g->path);
	free(g->path);
	if (g->listener.fd >= 0) {
		loop_del(g->loop, &g->listener);
		close(g->listener.fd);
	}
}

static void destroy(struct gdb *g)
{
	unlisten(g);
	if (g->wake.fd >= 0) {
		loop_del(g->loop, &g->wake);
		close(g->wake.fd);
	}
	gdb_target_free(&g->t);
	free(g->xml);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

int gdb_start(struct loop *l, const char *spec, const struct gdb_target_ops *ops, void *ctx,
	      struct gdb **out, struct err *e)
{
	struct gdb *g;
	int ret;

	*out = NULL;
	g = calloc(1, sizeof(*g));
	if (!g)
		return err_set(e, -ENOMEM, "--gdb %s: out of memory", spec);
	g->loop = l;
	g->c_cpu = -1;
	g->client.fd = -1;
	g->listener = (struct loop_src){ -1, accept_event };
	pthread_mutex_init(&g->lock, NULL);
	g->wake = (struct loop_src){ eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), wake_event };
	if (g->wake.fd < 0)
		ret = -errno;
	else
		ret = loop_add(l, &g->wake, EPOLLIN);
	if (!ret)
		ret = gdb_target_init(&g->t, ops, ctx);
	if (!ret)
		ret = make_xml(g);
	if (ret < 0) {
		err_set(e, ret, "--gdb %s: %s", spec, strerror(-ret));
		goto fail;
	}
	ret = strncmp(spec, "unix:", 5) ? listen_tcp(g, spec, e) : listen_unix(g, spec + 5, e);
	if (ret < 0)
		goto fail;
	ret = loop_add(l, &g->listener, EPOLLIN);
	if (ret < 0) {
		err_set(e, ret, "--gdb %s: %s", spec, strerror(-ret));
		goto fail;
	}
	ops->stop_all(ctx);
	*out = g;
	return 0;

fail:
	destroy(g);
	return ret;
}

const char *gdb_where(const struct gdb *g)
{
	return g->where;
}

void gdb_on_reset(struct gdb *g)
{
	bool was_running = g->running;
	int ret;

	g->t.ops->stop_all(g->t.ctx);
	g->running = false;
	gdb_target_reset(&g->t);
	/* A step over the instruction that reset the machine has no end: let all vCPUs run. */
	set_actions(g, was_running ? GDB_RUN : GDB_STAY);
	ret = was_running ? resume_machine(g) : gdb_target_prepare(&g->t);
	if (ret < 0) {
		log_warning("gdb: breakpoints are lost in the reset: %s", strerror(-ret));
		if (was_running)
			report_stop(g, &(struct gdb_stop){ .sig = GDB_SIGTRAP });
	}
	update_client(g);
}

void gdb_close(struct gdb *g, int exit_code)
{
	if (!g)
		return;
	if (g->client.fd >= 0) {
		/* Only a client that waits for the machine may be told of its end. */
		if (g->attached && g->running) {
			gdb_tx_begin(&g->tx);
			gdb_tx_printf(&g->tx, "W%02x", (unsigned int)exit_code & 0xff);
			send_frame(g);
		}
		loop_del(g->loop, &g->client);
		shutdown(g->client.fd, SHUT_WR);
		close(g->client.fd);
	}
	destroy(g);
}
