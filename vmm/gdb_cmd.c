// SPDX-License-Identifier: BSD-3-Clause
/*
 * The commands of gdb's remote protocol (gdb manual, appendix E): registers, memory, breakpoints,
 * resuming, queries.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/arm64_walk.h"
#include "vmm/core/log.h"
#include "vmm/gdb_int.h"

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

void gdb_reply_stop(struct gdb *g)
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
	gdb_send_frame(g);
}

static void cmd_read_regs(struct gdb *g)
{
	gdb_tx_begin(&g->tx);
	for (unsigned int i = 0; i < NUM_REGS; i++)
		put_reg(g, (unsigned int)g->g_cpu, i);
	gdb_send_frame(g);
}

static void cmd_write_regs(struct gdb *g, const char *p)
{
	unsigned int cpu = (unsigned int)g->g_cpu;
	int ret = 0;

	/* All digits first: a packet that is cut off changes nothing. */
	if (strspn(p, "0123456789abcdefABCDEF") != strlen(p) || strlen(p) != 788 * 2) {
		gdb_reply_result(g, -EINVAL);
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
	gdb_reply_result(g, ret);
}

static void cmd_read_reg(struct gdb *g, const char *p)
{
	uint64_t num;
	int ret;

	if (!gdb_get_hex(&p, &num) || *p || num >= NUM_REGS) {
		gdb_reply_result(g, -EINVAL);
		return;
	}
	gdb_tx_begin(&g->tx);
	ret = put_reg(g, (unsigned int)g->g_cpu, (unsigned int)num);
	if (ret < 0)
		gdb_reply_result(g, ret);
	else
		gdb_send_frame(g);
}

static void cmd_write_reg(struct gdb *g, const char *p)
{
	uint64_t num;
	int ret = -EINVAL;

	if (gdb_get_hex(&p, &num) && gdb_get_char(&p, '='))
		ret = set_reg(g, (unsigned int)g->g_cpu, num, &p);
	if (!ret && *p)
		ret = -EINVAL;
	gdb_reply_result(g, ret);
}

/*
 * The description of the registers in the numbering above. Element names: gdb manual, appendix
 * "Target Descriptions"; features that gdb asks of AArch64: section "AArch64 Features".
 */
int gdb_make_xml(struct gdb *g)
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
		gdb_reply_result(g, -EINVAL);
		return;
	}
	/* A reply may be shorter than what was asked for. */
	n = gdb_target_read(&g->t, (unsigned int)g->g_cpu, addr, buf, MIN(len, sizeof(buf)));
	if (n < 0) {
		gdb_reply_result(g, (int)n);
		return;
	}
	gdb_tx_begin(&g->tx);
	gdb_tx_hex(&g->tx, buf, (size_t)n);
	gdb_send_frame(g);
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
	gdb_reply_result(g, ok ? gdb_target_write(&g->t, (unsigned int)g->g_cpu, addr, data, len) :
			     -EINVAL);
}

static void cmd_breakpoint(struct gdb *g, const char *p, bool insert)
{
	unsigned int cpu = (unsigned int)g->g_cpu;
	uint64_t type, addr, len;

	/* What follows (conditions, commands) was not offered in qSupported. */
	if (!gdb_get_hex(&p, &type) || !gdb_get_char(&p, ',') || !get_range(&p, &addr, &len) || *p)
		gdb_reply_result(g, -EINVAL);
	else if (type > GDB_Z_ACCESS)
		gdb_reply_text(g, "");
	else if (insert)
		gdb_reply_result(g, gdb_target_insert(&g->t, cpu, (enum gdb_z)type, addr, len));
	else
		gdb_reply_result(g, gdb_target_remove(&g->t, (enum gdb_z)type, addr, len));
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

	gdb_set_actions(g, GDB_STAY);
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
		ret = gdb_resume_machine(g);
	if (ret < 0)
		gdb_reply_result(g, ret);
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
		gdb_set_actions(g, step ? GDB_STAY : GDB_RUN);
		if (step)
			g->t.cpu[cpu].action = GDB_STEP;
		ret = gdb_resume_machine(g);
	}
	if (ret < 0)
		gdb_reply_result(g, ret);
}

/* ---- queries --------------------------------------------------------------------------------- */

static void cmd_set_thread(struct gdb *g, const char *p)
{
	char op = *p;
	int cpu, ret;

	if (op != 'g' && op != 'c') {
		gdb_reply_text(g, "");
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
	gdb_reply_result(g, ret);
}

static void cmd_thread_alive(struct gdb *g, const char *p)
{
	uint64_t id;
	bool ok = gdb_get_hex(&p, &id) && !*p && id >= 1 && id <= g->t.nr_cpus;

	gdb_reply_result(g, ok ? 0 : -ENOENT);
}

static void query_threads(struct gdb *g)
{
	gdb_tx_begin(&g->tx);
	for (unsigned int i = 0; i < g->t.nr_cpus; i++)
		gdb_tx_printf(&g->tx, "%c%x", i ? ',' : 'm', i + 1);
	gdb_send_frame(g);
}

static void query_thread_info(struct gdb *g, const char *p)
{
	char text[64];
	uint64_t id, pstate;
	int n;

	if (!gdb_get_hex(&p, &id) || *p || id < 1 || id > g->t.nr_cpus) {
		gdb_reply_result(g, -ENOENT);
		return;
	}
	n = snprintf(text, sizeof(text), "vCPU %u", (unsigned int)id - 1);
	if (!gdb_target_reg(&g->t, (unsigned int)id - 1, GDB_REG_PSTATE, &pstate))
		n += snprintf(text + n, sizeof(text) - (size_t)n, " at EL%u",
			      (unsigned int)(pstate >> 2 & 3));
	gdb_tx_begin(&g->tx);
	gdb_tx_hex(&g->tx, text, (size_t)n);
	gdb_send_frame(g);
}

static void query_features(struct gdb *g, const char *p)
{
	uint64_t off, len;

	if (strncmp(p, "target.xml:", 11)) {
		gdb_reply_text(g, "E00");		/* no such annex */
		return;
	}
	p += 11;
	if (!get_range(&p, &off, &len) || *p || off > g->xml_len) {
		gdb_reply_result(g, -EINVAL);
		return;
	}
	len = MIN(len, g->xml_len - off);
	len = MIN(len, GDB_PACKET_MAX / 2 - 1ull);	/* room for an escape at each byte */
	gdb_tx_begin(&g->tx);
	gdb_tx_printf(&g->tx, "%c", off + len < g->xml_len ? 'm' : 'l');
	gdb_tx_binary(&g->tx, g->xml + off, len);
	gdb_send_frame(g);
}

static void query_supported(struct gdb *g, const char *p)
{
	g->told_swbreak = strstr(p, "swbreak+") != NULL;
	g->told_hwbreak = strstr(p, "hwbreak+") != NULL;
	gdb_tx_begin(&g->tx);
	gdb_tx_printf(&g->tx, "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;"
		      "vContSupported+;swbreak+;hwbreak+", GDB_PACKET_MAX);
	gdb_send_frame(g);
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
		gdb_reply_result(g, -EINVAL);
		return;
	}
	f = open_memstream(&text, &len);
	if (!f) {
		gdb_reply_result(g, -ENOMEM);
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
		gdb_reply_result(g, -ENOMEM);
	} else {
		gdb_tx_begin(&g->tx);
		gdb_tx_hex(&g->tx, text, MIN(len, (size_t)GDB_PACKET_MAX / 2));
		gdb_send_frame(g);
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
		gdb_reply_text(g, "l");
	else if (word(&p, "qAttached"))
		gdb_reply_text(g, "1");	/* gdb detaches when it quits, and does not kill */
	else if (!strcmp(p, "qC")) {
		gdb_tx_begin(&g->tx);
		gdb_tx_printf(&g->tx, "QC%x", (unsigned int)g->g_cpu + 1);
		gdb_send_frame(g);
	} else {
		gdb_reply_text(g, "");
	}
}

static void cmd_verbose(struct gdb *g, const char *p)
{
	if (!strcmp(p, "vCont?"))
		gdb_reply_text(g, "vCont;c;C;s;S");
	else if (word(&p, "vCont"))
		cmd_vcont(g, p);
	else
		gdb_reply_text(g, "");	/* vMustReplyEmpty among them */
}

/* ---- packets --------------------------------------------------------------------------------- */

static void detach(struct gdb *g)
{
	gdb_reply_result(g, 0);
	g->attached = false;
	if (g->running)
		gdb_stop_machine(g);
	gdb_free_run(g);
	log_info("gdb: detached, the guest runs");
}

void gdb_handle_packet(struct gdb *g, const char *p, size_t len)
{
	if (!g->attached) {
		g->attached = true;
		if (g->running)
			gdb_stop_machine(g);
		g->stop = (struct gdb_stop){ .cpu = 0, .sig = GDB_SIGTRAP };
		g->g_cpu = 0;
		log_info("gdb: attached, the guest is stopped");
	}
	/* A client that waits for a stop has nothing to say but these two. */
	if (g->running && *p != 'k' && *p != 'D') {
		gdb_reply_result(g, -EBUSY);
		return;
	}
	/* Everything below but X works on text; a NUL ends it for good. */
	if (*p != 'X' && strlen(p) != len) {
		gdb_reply_result(g, -EINVAL);
		return;
	}

	switch (*p) {
	case '?':
		gdb_reply_stop(g);
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
			gdb_reply_result(g, 0);
			g->no_ack = true;
		} else {
			gdb_reply_text(g, "");
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
		gdb_reply_text(g, "");
		break;
	}
}
