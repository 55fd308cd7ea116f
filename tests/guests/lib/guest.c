// SPDX-License-Identifier: BSD-3-Clause
#include "guest.h"

struct guest guest;
/* Not cleared: 64 untouched stacks cost nothing that way. */
struct cpu_slot cpus[MAX_CPUS] page_aligned __attribute__((section(".noinit")));
void (*irq_hook)(unsigned int intid);

extern char _start[], _secondary[];

static unsigned int nr_checks, nr_failed;

/* ---- memory and strings; the compiler may call these itself ---------------------------------- */
void *memset(void *d, int c, size_t n)
{
	for (volatile u8 *p = d; n; n--)
		*p++ = (u8)c;
	return d;
}

void *memcpy(void *d, const void *s, size_t n)
{
	volatile u8 *p = d;

	for (const volatile u8 *q = s; n; n--)
		*p++ = *q++;
	return d;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const volatile u8 *p = a, *q = b;

	for (; n; n--, p++, q++)
		if (*p != *q)
			return *p < *q ? -1 : 1;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (((const volatile char *)s)[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return (u8)*a - (u8)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n && *a && *a == *b; n--)
		a++, b++;
	return n ? (u8)*a - (u8)*b : 0;
}

/* ---- output ---------------------------------------------------------------------------------- */
void put_char(char c)
{
	if (guest.pl011) {
		for (int i = 0; i < 100000 && (rd32(io(guest.pl011) + 0x18) & 0x20); i++)
			;				/* FR.TXFF */
		wr32(io(guest.pl011), (u8)c);
		return;
	}
	/* LSR.THRE; a UART that never gets ready must not hang the payload */
	for (int i = 0; i < 100000 && !(rd8(io(UART0) + 5) & 0x20); i++)
		;
	wr8(io(UART0), (u8)c);
}

void put_str(const char *s)
{
	for (; *s; s++)
		put_char(*s);
}

static void put_num(u64 v, unsigned int base, unsigned int width)
{
	char buf[24];
	unsigned int n = 0;

	do {
		buf[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	while (width > n) {
		put_char('0');
		width--;
	}
	while (n)
		put_char(buf[--n]);
}

static void vprint(const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		unsigned int width = 0;
		bool wide = false;
		u64 v;

		if (*fmt != '%') {
			put_char(*fmt);
			continue;
		}
		fmt++;
		for (; *fmt >= '0' && *fmt <= '9'; fmt++)
			width = width * 10 + (unsigned int)(*fmt - '0');
		for (; *fmt == 'l'; fmt++)
			wide = true;
		switch (*fmt) {
		case 's':
			put_str(va_arg(ap, const char *));
			break;
		case 'c':
			put_char((char)va_arg(ap, int));
			break;
		case 'd':
			v = wide ? va_arg(ap, u64) : (u64)(int64_t)va_arg(ap, int);
			if ((int64_t)v < 0) {
				put_char('-');
				v = -v;
			}
			put_num(v, 10, width);
			break;
		case 'u':
		case 'x':
			v = wide ? va_arg(ap, u64) : va_arg(ap, unsigned int);
			put_num(v, *fmt == 'u' ? 10 : 16, width);
			break;
		case '\0':
			return;
		default:
			put_char(*fmt);
		}
	}
}

void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
}

static void tap(bool ok, const char *fmt, va_list ap)
{
	nr_checks++;
	if (!ok)
		nr_failed++;
	print("%sok %u - ", ok ? "" : "not ", nr_checks);
	vprint(fmt, ap);
	put_char('\n');
}

bool check(bool ok, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tap(ok, fmt, ap);
	va_end(ap);
	return ok;
}

bool check_eq(u64 got, u64 want, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tap(got == want, fmt, ap);
	va_end(ap);
	if (got != want)
		print("# got 0x%lx, want 0x%lx\n", got, want);
	return got == want;
}

void skip(const char *fmt, ...)
{
	va_list ap;

	nr_checks++;
	print("ok %u # SKIP ", nr_checks);
	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
	put_char('\n');
}

void done(void)
{
	print("1..%u\n", nr_checks);
	if (nr_failed)
		print("# %u failed\n", nr_failed);
	psci(PSCI_SYSTEM_OFF, 0, 0, 0);
	for (;;)
		__asm__ volatile("wfi");
}

/* ---- calls ----------------------------------------------------------------------------------- */
u64 psci(u64 fn, u64 a1, u64 a2, u64 a3)
{
	u64 r[18] = { fn, a1, a2, a3 };

	if (guest.smc)
		call_smc(r);
	else
		call_hvc(r);
	return r[0];
}

void rsi(u64 r[18], u64 fn, u64 a1, u64 a2, u64 a3, u64 a4)
{
	memset(r, 0, 18 * sizeof(r[0]));
	r[0] = fn;
	r[1] = a1;
	r[2] = a2;
	r[3] = a3;
	r[4] = a4;
	call_smc(r);
}

u64 ripas_set(u64 base, u64 top, u64 ripas)
{
	u64 r[18];

	while (base < top) {
		rsi(r, RSI_IPA_STATE_SET, base, top, ripas, 0);
		if (r[0] != RSI_SUCCESS)
			return r[0];
		if (r[2] != 0 || r[1] <= base || r[1] > top)
			return RSI_ERROR_UNKNOWN;
		base = r[1];
	}
	return RSI_SUCCESS;
}

u64 share(void *page, u64 size)
{
	if (guest.realm &&
	    ripas_set((u64)page, (u64)page + size, RIPAS_EMPTY) != RSI_SUCCESS) {
		print("Bail out! IPA_STATE_SET to EMPTY failed\n");
		done();
	}
	return io((u64)page);
}

/* ---- devicetree: only what the payloads need, in one pass ------------------------------------ */
static u32 be32(const void *p)
{
	const u8 *b = p;

	return (u32)b[0] << 24 | (u32)b[1] << 16 | (u32)b[2] << 8 | b[3];
}

static u64 be64(const void *p)
{
	return (u64)be32(p) << 32 | be32((const u8 *)p + 4);
}

/* A node name without its unit address. */
static bool node_is(const char *name, const char *want)
{
	size_t n = strlen(want);

	return !strncmp(name, want, n) && (name[n] == '\0' || name[n] == '@');
}

struct fdt_node {
	const char *kind;		/* its first "compatible" */
	u64 reg, reg2;
	u32 irq;
};

/* All properties of a node come before its children. */
static void node_end(struct fdt_node *n)
{
	if (n->kind && n->reg) {
		if (!strcmp(n->kind, "virtio,mmio") && guest.nr_virtio < MAX_VIRTIO) {
			guest.virtio_intid[guest.nr_virtio] = INTID_SPI0 + n->irq;
			guest.virtio[guest.nr_virtio++] = n->reg;
		} else if (!strcmp(n->kind, "arm,gic-v3")) {
			guest.gicd = n->reg;
			guest.gicr = n->reg2;
		} else if (!strcmp(n->kind, "arm,pl011") && !guest.pl011) {
			guest.pl011 = n->reg;
		}
	}
	*n = (struct fdt_node){ 0 };
}

static void fdt_read(u64 dtb)
{
	const u8 *base = (const u8 *)dtb, *p, *end;
	const char *strs, *node[8] = { "" };
	int depth = -1;
	struct fdt_node n = { 0 };

	guest.args = "";
	if (be32(base) != 0xd00dfeed)
		return;
	p = base + be32(base + 8);
	strs = (const char *)base + be32(base + 12);
	end = base + be32(base + 4);
	while (p < end) {
		u32 tok = be32(p), len;
		const char *name, *parent;

		p += 4;
		switch (tok) {
		case 1:					/* begin node */
			depth++;
			if (depth < (int)ARRAY_LEN(node))
				node[depth] = (const char *)p;
			p += (strlen((const char *)p) + 4) & ~3UL;
			node_end(&n);
			continue;
		case 2:					/* end node */
			node_end(&n);
			depth--;
			continue;
		case 3:					/* property */
			break;
		case 4:					/* nop */
			continue;
		default:
			return;
		}
		len = be32(p);
		name = strs + be32(p + 4);
		p += 8;
		if (depth >= 0 && depth < (int)ARRAY_LEN(node)) {
			parent = depth > 0 ? node[depth - 1] : "";
			if (node_is(node[depth], "psci") && !strcmp(name, "method"))
				guest.smc = !strcmp((const char *)p, "smc");
			if (node_is(node[depth], "chosen") && !strcmp(name, "bootargs"))
				guest.args = (const char *)p;
			if (node_is(node[depth], "memory") && !strcmp(name, "reg") && len >= 16) {
				guest.ram_base = be64(p);
				guest.ram_size = be64(p + 8);
			}
			if (node_is(node[depth], "cpu") && node_is(parent, "cpus") &&
			    !strcmp(name, "reg") && guest.nr_cpus < MAX_CPUS)
				guest.mpidr[guest.nr_cpus++] = len >= 8 ? be64(p) : be32(p);
			if (!strcmp(name, "compatible"))
				n.kind = (const char *)p;
			if (!strcmp(name, "reg") && len >= 8)
				n.reg = be64(p);
			if (!strcmp(name, "reg") && len >= 32)
				n.reg2 = be64(p + 16);
			if (!strcmp(name, "interrupts") && len >= 12)
				n.irq = be32(p + 4);
		}
		p += (len + 3) & ~3UL;
	}
}

/* Start of the word in bootargs, or NULL. */
static const char *arg_find(const char *word)
{
	size_t n = strlen(word);

	for (const char *p = guest.args; *p; p++) {
		if (p != guest.args && p[-1] != ' ')
			continue;
		if (!strncmp(p, word, n) && (p[n] == '\0' || p[n] == ' ' || p[n] == '='))
			return p;
	}
	return NULL;
}

bool arg_has(const char *word)
{
	return arg_find(word) != NULL;
}

u64 arg_num(const char *name, u64 dflt)
{
	const char *p = arg_find(name);
	u64 v = 0;

	if (!p || p[strlen(name)] != '=')
		return dflt;
	for (p += strlen(name) + 1; *p >= '0' && *p <= '9'; p++)
		v = v * 10 + (u64)(*p - '0');
	return v;
}

/* ---- exceptions ------------------------------------------------------------------------------ */
void trap_handle(u64 kind, struct trap_frame *f);
void trap_handle(u64 kind, struct trap_frame *f)
{
	struct cpu *c = this_cpu();

	if (kind == 5) {
		unsigned int intid = (unsigned int)read_sysreg(S3_0_C12_C12_0);	/* ICC_IAR1_EL1 */

		if (intid < 1020 || intid >= 8192) {
			if (intid < 1020)
				c->irqs[intid / 64] |= 1UL << (intid % 64);
			c->nr_irqs++;
			if (irq_hook)
				irq_hook(intid);
			write_sysreg(S3_0_C12_C12_1, intid);		/* ICC_EOIR1_EL1 */
		}
		return;
	}
	f->esr = read_sysreg(esr_el1);
	f->far = read_sysreg(far_el1);
	if (kind == 4 && c->expect) {
		c->traps++;
		c->esr = f->esr;
		c->far = f->far;
		c->elr = f->elr;
		/* A jump into nowhere continues behind the call. */
		f->elr = esr_ec(f->esr) == EC_IABT ? f->x[30] : f->elr + 4;
		return;
	}
	print("\nnot ok %u - unexpected exception, vector %lu, CPU %u\n", ++nr_checks, kind, c->nr);
	print("# ESR 0x%lx ELR 0x%lx (start + 0x%lx) FAR 0x%lx x30 0x%lx\n", f->esr, f->elr,
	      f->elr - (u64)_start, f->far, f->x[30]);
	nr_failed++;
	done();
}

bool trap_is_sea(u64 addr)
{
	struct cpu *c = this_cpu();

	if (c->traps == 1 && esr_ec(c->esr) == EC_DABT && (c->esr & 0x3f) == FSC_EXTERNAL &&
	    c->far == addr)
		return true;
	print("# traps %u, ESR 0x%lx (EC 0x%x, FSC 0x%x), FAR 0x%lx, address 0x%lx\n", c->traps,
	      c->esr, esr_ec(c->esr), (unsigned int)(c->esr & 0x3f), c->far, addr);
	return false;
}

/* ---- CPUs ------------------------------------------------------------------------------------ */
u64 cpu_on(unsigned int n, void (*fn)(struct cpu *))
{
	struct cpu *c = cpu_nr(n);

	memset(c, 0, sizeof(*c));
	c->nr = n;
	c->fn = fn;
	c->up = false;
	barrier();
	return psci(PSCI_CPU_ON, guest.mpidr[n], (u64)_secondary, (u64)c);
}

void guest_secondary(struct cpu *c);
void guest_secondary(struct cpu *c)
{
	c->up = true;
	barrier();
	c->fn(c);
	psci(PSCI_CPU_OFF, 0, 0, 0);
	for (;;)
		__asm__ volatile("wfi");
}

/* ---- GICv3 ----------------------------------------------------------------------------------- */
/* This CPU's redistributor: each frame says whose it is. */
static u64 gicr(void)
{
	u64 mpidr = read_sysreg(mpidr_el1);
	u64 aff = (mpidr >> 32 & 0xff) << 24 | (mpidr & 0xffffff);

	for (unsigned int i = 0; guest.gicr && i < guest.nr_cpus; i++) {
		u64 base = io(guest.gicr + i * 0x20000UL);

		if (rd64(base + 8) >> 32 == aff)		/* GICR_TYPER.Affinity_Value */
			return base;
	}
	return 0;
}

bool gic_init(void)
{
	u64 d = io(guest.gicd), r = gicr();

	if (!r)
		return false;
	wr32(d, 1 << 4 | 1 << 1);				/* GICD_CTLR: ARE, group 1 */
	wr32(r + 0x14, rd32(r + 0x14) & ~2U);			/* GICR_WAKER.ProcessorSleep */
	if (!wait_until(!(rd32(r + 0x14) & 4), 1000))
		return false;
	wr32(r + 0x10080, ~0U);					/* GICR_IGROUPR0 */
	write_sysreg(S3_0_C12_C12_5, 7);			/* ICC_SRE_EL1 */
	write_sysreg(S3_0_C4_C6_0, 0xff);			/* ICC_PMR_EL1 */
	write_sysreg(S3_0_C12_C12_7, 1);			/* ICC_IGRPEN1_EL1 */
	return true;
}

void gic_enable(unsigned int intid)
{
	u64 d = io(guest.gicd), r = gicr();

	if (intid < 32) {
		wr32(r + 0x10100, 1U << intid);			/* GICR_ISENABLER0 */
		return;
	}
	wr32(d + 0x80 + intid / 32 * 4, rd32(d + 0x80 + intid / 32 * 4) | 1U << (intid % 32));
	wr64(d + 0x6000 + intid * 8UL, read_sysreg(mpidr_el1) & 0xff00ffffffUL); /* GICD_IROUTER */
	wr32(d + 0x100 + intid / 32 * 4, 1U << (intid % 32));	/* GICD_ISENABLER */
}

bool irq_seen(unsigned int intid)
{
	return this_cpu()->irqs[intid / 64] >> (intid % 64) & 1;
}

void irq_clear(void)
{
	struct cpu *c = this_cpu();

	for (unsigned int i = 0; i < ARRAY_LEN(c->irqs); i++)
		c->irqs[i] = 0;
	c->nr_irqs = 0;
}

/* ---- entry ----------------------------------------------------------------------------------- */
static u8 config_page[PAGE] page_aligned;

void guest_start(u64 dtb);
void guest_start(u64 dtb)
{
	u64 r[18];

	memset(this_cpu(), 0, sizeof(struct cpu));
	guest.dtb = dtb;
	fdt_read(dtb);
	if (guest.smc) {
		rsi(r, RSI_VERSION, 0x10000, 0, 0, 0);
		if (r[0] == RSI_SUCCESS) {
			rsi(r, RSI_REALM_CONFIG, (u64)config_page, 0, 0, 0);
			/* Without the width there is no way to any device, so nothing is said. */
			if (r[0] != RSI_SUCCESS)
				psci(PSCI_SYSTEM_RESET, 0, 0, 0);
			guest.ipa_width = (unsigned int)*(volatile u64 *)config_page;
			guest.shared = 1UL << (guest.ipa_width - 1);
			guest.realm = true;
		}
	}
	guest_main();
	done();
}
