/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runtime of the test payloads: no MMU, no libc, no device but the UART. It runs as a plain VM and
 * as a realm; which of the two it is, it finds out itself (devicetree, then RSI).
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define ARRAY_LEN(a)	(sizeof(a) / sizeof((a)[0]))
#define PAGE		4096UL
#define page_aligned	__attribute__((aligned(4096)))

/* ---- memory map (kvmtool's; canonical addresses) --------------------------------------------- */
#define UART0		0x01000000UL
#define RTC		0x01010000UL
#define FLASH		0x02000000UL
#define VIRTIO0		0x03000000UL
#define GICD		0x3fff0000UL
#define RAM_BASE	0x80000000UL
#define HOLE		0x00500000UL	/* nothing stands here */

/* ---- what the guest learned about itself ----------------------------------------------------- */
#define MAX_CPUS	64
#define MAX_VIRTIO	64

struct guest {
	u64 dtb;
	bool smc;			/* PSCI conduit */
	bool realm;			/* RSI answered */
	unsigned int ipa_width;		/* realm only */
	u64 shared;			/* the shared bit, 0 in a plain VM */
	u64 ram_base, ram_size;
	u64 pl011;			/* a UART of this kind instead of a 16550, or 0 */
	u64 gicd, gicr;			/* distributor, first redistributor */
	unsigned int nr_cpus;
	u64 mpidr[MAX_CPUS];
	unsigned int nr_virtio;
	u64 virtio[MAX_VIRTIO];		/* canonical, in the order of the devicetree */
	u32 virtio_intid[MAX_VIRTIO];
	const char *args;		/* bootargs, "" without */
};
extern struct guest guest;

/** io() - where the guest reaches a device or a shared page */
static inline u64 io(u64 addr)
{
	return addr | guest.shared;
}

/** arg_has() - bootargs contain this word */
bool arg_has(const char *word);
/** arg_num() - value of "name=NUMBER" in bootargs (decimal), @dflt without it */
u64 arg_num(const char *name, u64 dflt);

/** main() - the payload; when it returns, the plan is printed and the machine powered off */
void guest_main(void);

/* ---- output ---------------------------------------------------------------------------------- */
void put_char(char c);
void put_str(const char *s);
/** print() - %s %d %u %x %lx %lu %c, and %0Nx */
__attribute__((format(printf, 1, 2))) void print(const char *fmt, ...);
/** check() - one TAP line; returns @ok */
__attribute__((format(printf, 2, 3))) bool check(bool ok, const char *fmt, ...);
/** check_eq() - check() that says both values in a comment line if they differ */
__attribute__((format(printf, 3, 4))) bool check_eq(u64 got, u64 want, const char *fmt, ...);
/** skip() - a TAP line that says why a check does not apply */
__attribute__((format(printf, 1, 2))) void skip(const char *fmt, ...);
/** done() - prints the plan, powers off */
__attribute__((noreturn)) void done(void);

void *memset(void *d, int c, size_t n);
void *memcpy(void *d, const void *s, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);

/* ---- calls ----------------------------------------------------------------------------------- */
void call_smc(u64 r[18]);
void call_hvc(u64 r[18]);
/** psci() - through the conduit of the devicetree; returns x0 */
u64 psci(u64 fn, u64 a1, u64 a2, u64 a3);
/** rsi() - SMC with up to four arguments, x5.. zero; results in @r (x0..x17) */
void rsi(u64 r[18], u64 fn, u64 a1, u64 a2, u64 a3, u64 a4);

#define PSCI_VERSION		0x84000000UL
#define PSCI_CPU_OFF		0x84000002UL
#define PSCI_CPU_ON		0xc4000003UL
#define PSCI_AFFINITY_INFO	0xc4000004UL
#define PSCI_SYSTEM_OFF		0x84000008UL
#define PSCI_SYSTEM_RESET	0x84000009UL
#define PSCI_FEATURES		0x8400000aUL
#define SMCCC_VERSION		0x80000000UL

#define RSI_VERSION		0xc4000190UL
#define RSI_FEATURES		0xc4000191UL
#define RSI_MEASUREMENT_READ	0xc4000192UL
#define RSI_MEASUREMENT_EXTEND	0xc4000193UL
#define RSI_TOKEN_INIT		0xc4000194UL
#define RSI_TOKEN_CONTINUE	0xc4000195UL
#define RSI_REALM_CONFIG	0xc4000196UL
#define RSI_IPA_STATE_SET	0xc4000197UL
#define RSI_IPA_STATE_GET	0xc4000198UL
#define RSI_HOST_CALL		0xc4000199UL

#define RSI_SUCCESS	0
#define RSI_ERROR_INPUT	1
#define RSI_ERROR_STATE	2
#define RSI_INCOMPLETE	3
#define RSI_ERROR_UNKNOWN 4
#define NOT_SUPPORTED	(~0UL)
#define RIPAS_EMPTY	0
#define RIPAS_RAM	1

/** ripas_set() - the whole range, in as many calls as the monitor wants; 0 or the first error */
u64 ripas_set(u64 base, u64 top, u64 ripas);
/** share() - give a private page range back and return its alias */
u64 share(void *page, u64 size);

/* ---- CPUs ------------------------------------------------------------------------------------ */
struct trap_frame {
	u64 x[31];
	u64 elr, spsr, esr, far;
	u64 pad;
};
_Static_assert(sizeof(struct trap_frame) == FRAME_SIZE, "start.S");

struct cpu {
	unsigned int nr;
	void (*fn)(struct cpu *c);
	volatile bool up;		/* fn was entered */
	volatile bool expect;		/* a synchronous exception is awaited */
	volatile unsigned int traps;
	volatile u64 esr, far, elr;
	volatile u64 irqs[1024 / 64];	/* INTIDs seen */
	volatile unsigned int nr_irqs;
	volatile u64 data[8];		/* for the payload */
	u8 stack[] __attribute__((aligned(16)));
};
extern struct cpu_slot { u8 bytes[CPU_SIZE]; } cpus[MAX_CPUS];

static inline struct cpu *cpu_nr(unsigned int n)
{
	return (struct cpu *)cpus[n].bytes;
}

static inline struct cpu *this_cpu(void)
{
	struct cpu *c;

	__asm__ volatile("mrs %0, tpidr_el1" : "=r"(c));
	return c;
}

/** cpu_on() - start CPU @n in @fn; it powers itself off when @fn returns. Returns PSCI's x0 */
u64 cpu_on(unsigned int n, void (*fn)(struct cpu *));

/* ---- exceptions ------------------------------------------------------------------------------ */
#define EC_UNKNOWN	0x00
#define EC_IABT		0x21
#define EC_DABT		0x25
#define FSC_EXTERNAL	0x10

static inline unsigned int esr_ec(u64 esr)
{
	return (esr >> 26) & 0x3f;
}

/** trap_arm() - from here on a synchronous exception is recorded and its instruction skipped */
static inline void trap_arm(void)
{
	struct cpu *c = this_cpu();

	c->traps = 0;
	c->esr = c->far = c->elr = 0;
	c->expect = true;
	__asm__ volatile("dsb sy; isb" ::: "memory");
}

/** trap_end() - number of exceptions since trap_arm() */
static inline unsigned int trap_end(void)
{
	struct cpu *c = this_cpu();

	__asm__ volatile("dsb sy; isb" ::: "memory");
	c->expect = false;
	return c->traps;
}

/** trap_is_sea() - the last one was a synchronous external abort on data at @addr */
bool trap_is_sea(u64 addr);

/* One instruction each, so that skipping one continues behind it. */
#define ACCESSOR(bits, type, suffix, reg)							\
static inline type rd##bits(u64 a)								\
{												\
	u64 v = 0;										\
	__asm__ volatile("ldr" suffix " %" reg "0, [%1]" : "+r"(v) : "r"(a) : "memory");		\
	return (type)v;										\
}												\
static inline void wr##bits(u64 a, type v)							\
{												\
	__asm__ volatile("str" suffix " %" reg "0, [%1]" : : "r"((u64)v), "r"(a) : "memory");	\
}
ACCESSOR(8, u8, "b", "w")
ACCESSOR(16, u16, "h", "w")
ACCESSOR(32, u32, "", "w")
ACCESSOR(64, u64, "", "x")

#define read_sysreg(r)	({ u64 v_; __asm__ volatile("mrs %0, " #r : "=r"(v_)); v_; })
#define write_sysreg(r, v) __asm__ volatile("msr " #r ", %0; isb" : : "r"((u64)(v)) : "memory")

static inline void barrier(void)
{
	__asm__ volatile("dsb sy" ::: "memory");
}

/* ---- time and interrupts --------------------------------------------------------------------- */
static inline u64 now(void)
{
	__asm__ volatile("isb" ::: "memory");
	return read_sysreg(cntvct_el0);
}

/** ticks_ms() - milliseconds in ticks of now() */
static inline u64 ticks_ms(u64 ms)
{
	return read_sysreg(cntfrq_el0) * ms / 1000;
}

/** wait_until() - polls @cond until it is true or @ms have passed */
#define wait_until(cond, ms) ({							\
	u64 end_ = now() + ticks_ms(ms);					\
	bool ok_;								\
	while (!(ok_ = (cond)) && now() < end_)					\
		;								\
	ok_; })

#define INTID_VTIMER	27
#define INTID_PTIMER	30
#define INTID_SPI0	32

/** gic_init() - distributor and this CPU's redistributor and interface, all of group 1 */
bool gic_init(void);
/** gic_enable() - this CPU takes @intid */
void gic_enable(unsigned int intid);
/** irq_seen() - @intid arrived on this CPU since irq_clear() */
bool irq_seen(unsigned int intid);
void irq_clear(void);
static inline void irqs_on(void)
{
	__asm__ volatile("msr daifclr, #2" ::: "memory");
}
static inline void irqs_off(void)
{
	__asm__ volatile("msr daifset, #2" ::: "memory");
}

/* the first LPI */
#define FIRST_LPI	8192UL

/** its_init() - events 0 to @nr - 1 (at most 16) of a device are LPIs from FIRST_LPI on, CPU 0 */
bool its_init(u64 devid, unsigned int nr);
/** its_doorbell() - where messages are written to, canonical */
u64 its_doorbell(void);

/** irq_hook - called by the IRQ handler with the INTID before it is finished; may be NULL */
extern void (*irq_hook)(unsigned int intid);

/* ---- PCI: functions 0 of bus 0, where they were put ------------------------------------------ */
#define PCI_MEM		2
#define PCI_MASTER	4
#define PCI_NO_INTX	0x400
/* interrupt of slot 0, without the 32 of the GIC (vmm/board/memmap.h) */
#define SPI_INTX	64U

/** pci_find() - configuration space of the @nth function (0: the first) with this ID, or 0 */
u64 pci_find(u32 id, unsigned int nth, unsigned int *slot);
/** pci_bar() - where BAR 0 is reached, or 0 */
u64 pci_bar(u64 fn);
/** pci_command() - write the command register */
void pci_command(u64 fn, u16 bits);

/* ---- SHA-256 (FIPS 180-4) -------------------------------------------------------------------- */
void sha256(const void *data, size_t len, u8 out[32]);

#endif
