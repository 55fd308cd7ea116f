// SPDX-License-Identifier: BSD-3-Clause
/*
 * What belongs to a CPU and what to the realm: a token in the making is its CPU's (RSI.md), the
 * measurement registers are everybody's. Two CPUs.
 */
#include "guest.h"

static u8 page[2][PAGE] page_aligned, token[2][4 * PAGE];
static volatile unsigned int asked, answered;
static u64 (*volatile job)(unsigned int cpu);
static volatile u64 answer;

static u64 init(unsigned int cpu)
{
	u64 r[18] = { RSI_TOKEN_INIT };

	for (unsigned int i = 1; i <= 8; i++)
		r[i] = 0x1111111111111111 * (cpu + 1);
	call_smc(r);
	return r[0];
}

/* Up to 200 bytes more of this CPU's token; the status */
static u64 more(unsigned int cpu)
{
	static u64 len[2];
	u64 r[18];

	rsi(r, RSI_TOKEN_CONTINUE, (u64)page[cpu], 0, 200, 0);
	if ((r[0] != RSI_SUCCESS && r[0] != RSI_INCOMPLETE) || r[1] > 200 ||
	    len[cpu] + r[1] > sizeof(token[cpu]))
		return r[0] == RSI_ERROR_STATE ? r[0] : RSI_ERROR_UNKNOWN;
	memcpy(token[cpu] + len[cpu], page[cpu], r[1]);
	len[cpu] += r[1];
	return r[0];
}

static bool has_challenge(unsigned int cpu)
{
	unsigned int n = 0;

	for (u64 i = 0; i < sizeof(token[cpu]) && n < 64; i++)
		n = token[cpu][i] == 0x11 * (cpu + 1) ? n + 1 : 0;
	return n == 64;
}

static u64 extend(unsigned int cpu)
{
	u64 r[18] = { RSI_MEASUREMENT_EXTEND, 2, 32, cpu + 1 };

	call_smc(r);
	return r[0];
}

/* The first words of register 2, together */
static u64 read_rem(unsigned int cpu)
{
	u64 r[18];

	(void)cpu;
	rsi(r, RSI_MEASUREMENT_READ, 2, 0, 0, 0);
	return r[0] ? 0 : r[1] ^ r[2];
}

static void worker(struct cpu *c)
{
	while (1) {
		while (asked == answered)
			;
		if (!job)
			return;
		answer = job(c->nr);
		barrier();
		answered++;
	}
}

/* CPU 1 does it */
static u64 other(u64 (*what)(unsigned int cpu))
{
	job = what;
	barrier();
	asked++;
	return wait_until(asked == answered, 60000) ? answer : ~0UL;
}

void guest_main(void)
{
	u64 a = RSI_INCOMPLETE, b = RSI_INCOMPLETE, old, neu;

	if (!guest.realm) {
		skip("not a realm");
		return;
	}
	if (!check(guest.nr_cpus >= 2 && cpu_on(1, worker) == 0, "there is another CPU"))
		return;
	check_eq(init(0), RSI_SUCCESS, "this CPU begins a token");
	check_eq(other(more), RSI_ERROR_STATE, "the other one has none: state error");
	check_eq(other(init), RSI_SUCCESS, "it begins its own");
	for (unsigned int i = 0; i < 1000 && (a == RSI_INCOMPLETE || b == RSI_INCOMPLETE); i++) {
		if (a == RSI_INCOMPLETE)
			a = more(0);
		if (b == RSI_INCOMPLETE)
			b = other(more);
	}
	check(a == RSI_SUCCESS && b == RSI_SUCCESS, "each fetches its own, in turns");
	check(has_challenge(0) && !memcmp(token[0], token[1], 3), "one has this CPU's challenge");
	check(has_challenge(1), "the other one the other's");
	check_eq(more(0), RSI_ERROR_STATE, "this CPU has no token any more: state error");

	old = read_rem(0);
	check_eq(other(extend), RSI_SUCCESS, "the other CPU extends a measurement");
	neu = read_rem(0);
	check(neu != old, "this CPU reads another value");
	check_eq(other(read_rem), neu, "and so does the other");
	job = NULL;
	barrier();
	asked++;
	check(wait_until(psci(PSCI_AFFINITY_INFO, guest.mpidr[1], 0, 0) == 1, 5000),
	      "the other CPU is off");
}
