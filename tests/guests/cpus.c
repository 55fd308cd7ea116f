// SPDX-License-Identifier: BSD-3-Clause
/*
 * CPUs that go on and off while others look and race for them (PSCI, Arm DEN0022, sections 5.1.3,
 * 5.1.4 and 5.1.5). Needs four CPUs or more; a plain VM and a realm say the same.
 */
#include "guest.h"

#define ALREADY_ON	((u64)-4)
#define ON_PENDING	((u64)-5)
enum { ON, OFF, PENDING };

/* data[] of a CPU */
enum { STARTS, ROUND, RESULT, ODD, STOP };

#define ROUNDS	16U

extern char _secondary[];

static volatile u64 go, release, hops;

/* cpu_on() without clearing what the CPU stands on: it may not be off yet */
static u64 start(unsigned int n)
{
	return psci(PSCI_CPU_ON, guest.mpidr[n], (u64)_secondary, (u64)cpu_nr(n));
}

static u64 state(unsigned int n)
{
	return psci(PSCI_AFFINITY_INFO, guest.mpidr[n], 0, 0);
}

static void prepare(unsigned int n, void (*fn)(struct cpu *))
{
	struct cpu *c = cpu_nr(n);

	memset(c, 0, sizeof(*c));
	c->nr = n;
	c->fn = fn;
	barrier();
}

static bool all_off(void)
{
	bool ok = true;

	for (unsigned int i = 1; i < guest.nr_cpus; i++)
		ok &= wait_until(state(i) == OFF, 20000);
	return ok;
}

/* Comes, is counted, and goes. */
static void visitor(struct cpu *c)
{
	c->data[STARTS]++;
}

/* The same CPU over and over, as soon as it can be had: it is still going when it is called. */
static void test_restart(void)
{
	unsigned int odd = 0, wrong = 0, states = 0;
	u64 ret, s;

	for (unsigned int i = 1; i < guest.nr_cpus; i++)
		prepare(i, visitor);
	for (unsigned int r = 0; r < ROUNDS; r++)
		for (unsigned int i = 1; i < guest.nr_cpus; i++) {
			u64 end = now() + ticks_ms(20000);

			while ((ret = start(i)) != 0 && now() < end)
				odd += ret != ALREADY_ON && ret != ON_PENDING;
			wrong += ret != 0;
			s = state(i);
			states += s != ON && s != OFF && s != PENDING;
		}
	check_eq(wrong, 0, "a CPU that goes off can be had again");
	check_eq(odd, 0, "until then it is on or about to be");
	check_eq(states, 0, "its state is on, off or pending");
	check(all_off(), "in the end all are off");
	wrong = 0;
	for (unsigned int i = 1; i < guest.nr_cpus; i++)
		wrong += cpu_nr(i)->data[STARTS] != ROUNDS;
	check_eq(wrong, 0, "each came as often as it was called");
}

/* Stays until it is let go. */
static void guest_of_all(struct cpu *c)
{
	c->data[STARTS]++;
	while (release < c->data[STARTS])
		;
}

static void caller(struct cpu *c)
{
	while (c->data[ROUND] < ROUNDS) {
		if (go == c->data[ROUND])
			continue;
		c->data[RESULT] = start(guest.nr_cpus - 1);
		barrier();
		c->data[ROUND]++;
	}
}

/* All call the last one at the same time: one of them starts it. */
static void test_same(void)
{
	unsigned int last = guest.nr_cpus - 1, one = 0, others = 0, late = 0;

	prepare(last, guest_of_all);
	go = release = 0;
	for (unsigned int i = 1; i < last; i++) {
		prepare(i, caller);
		late += start(i) != 0 || !wait_until(cpu_nr(i)->up, 20000);
	}
	for (unsigned int r = 1; r <= ROUNDS && !late; r++) {
		unsigned int started = 0, refused = 0;

		go = r;
		barrier();
		for (unsigned int i = 1; i < last; i++) {
			struct cpu *c = cpu_nr(i);

			late += !wait_until(c->data[ROUND] == r, 20000);
			started += c->data[RESULT] == 0;
			refused += c->data[RESULT] == ALREADY_ON || c->data[RESULT] == ON_PENDING;
		}
		one += started == 1;
		others += refused == last - 2;
		late += !wait_until(cpu_nr(last)->data[STARTS] == r, 20000);
		release = r;
		barrier();
		late += !wait_until(state(last) == OFF, 20000);
	}
	check_eq(late, 0, "all call one CPU at once, sixteen times");
	check_eq(one, ROUNDS, "one call succeeds");
	check_eq(others, ROUNDS, "the others hear that it is on, or about to be");
	check_eq(cpu_nr(last)->data[STARTS], ROUNDS, "it starts once for each");
	check(all_off(), "in the end all are off");
}

/* Calls its neighbour, who may not have gone yet, and goes. */
static void relay(struct cpu *c)
{
	unsigned int next = c->nr + 1 < guest.nr_cpus ? c->nr + 1 : 1;
	u64 end = now() + ticks_ms(20000);

	if (++hops >= ROUNDS * 5)
		return;
	barrier();
	while (start(next) && now() < end)
		;
}

static void test_relay(void)
{
	hops = 0;
	for (unsigned int i = 1; i < guest.nr_cpus; i++)
		prepare(i, relay);
	check(start(1) == 0 && wait_until(hops == ROUNDS * 5, 60000),
	      "each starts the next and goes off, eighty times");
	check(all_off(), "in the end all are off");
}

/* Looks at everybody until it is told to stop. */
static void onlooker(struct cpu *c)
{
	do {
		for (unsigned int i = 0; i < guest.nr_cpus; i++) {
			u64 s = state(i);

			c->data[ODD] += s != ON && s != PENDING &&
					(s != OFF || i == c->nr || i == 0);
		}
		c->data[STARTS]++;
	} while (!c->data[STOP]);
}

static void test_onlookers(void)
{
	unsigned int half = guest.nr_cpus / 2, wrong = 0, odd = 0, blind = 0;

	for (unsigned int i = 1; i < guest.nr_cpus; i++)
		prepare(i, i < half ? onlooker : visitor);
	for (unsigned int i = 1; i < half; i++)
		wrong += start(i) != 0;
	for (unsigned int r = 0; r < ROUNDS / 2; r++)
		for (unsigned int i = half; i < guest.nr_cpus; i++) {
			wrong += start(i) != 0;
			wrong += !wait_until(state(i) == OFF, 20000);
		}
	for (unsigned int i = 1; i < half; i++) {
		blind += !wait_until(cpu_nr(i)->data[STARTS] != 0, 20000);
		cpu_nr(i)->data[STOP] = 1;
	}
	barrier();
	check(all_off() && !wrong, "CPUs go on and off while others look");
	for (unsigned int i = 1; i < half; i++)
		odd += cpu_nr(i)->data[ODD] != 0;
	check_eq(odd + blind, 0, "those see each as on, off or pending, and themselves as on");
}

void guest_main(void)
{
	if (!check(guest.nr_cpus >= 4, "four CPUs or more"))
		return;
	test_restart();
	test_same();
	test_relay();
	test_onlookers();
}
