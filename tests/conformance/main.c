// SPDX-License-Identifier: BSD-3-Clause
/* Makes the tests: each device, each transport, each ring, plain VM and realm, each property. */
#include <fnmatch.h>
#include <stdio.h>

#include "tests/conformance/conf.h"

static const struct transport *const transports[] = { &transport_mmio, &transport_pci };
static const struct property *const props[] = {
	props_init, props_queue, props_ring, props_config, props_pci, props_race,
};

struct one {
	char name[96];
	const struct kind *kind;
	const struct transport *t;
	bool packed, realm;
	const struct property *p;
	struct vm *vm;
};

static int setup(void **state)
{
	struct one *o = *state;

	o->vm = vm_new(o->kind, o->t, o->packed, o->realm);
	return 0;
}

static void run(void **state)
{
	struct one *o = *state;

	o->p->fn(o->vm);
}

static int teardown(void **state)
{
	struct one *o = *state;

	vm_free(o->vm);
	return 0;
}

static bool wanted(const struct one *o)
{
	unsigned int where = (o->t == &transport_pci ? ON_PCI : ON_MMIO) |
			     (o->packed ? ON_PACKED : ON_SPLIT) | (o->realm ? IN_REALM : IN_VM);

	if (o->kind->no_realm && o->realm)
		return false;
	return (o->p->where & where) == where;
}

/* The tests whose name matches, or the number of all if @test is NULL. */
static size_t list(const char *pattern, struct CMUnitTest *test, struct one *one)
{
	size_t n = 0;

	for (const struct kind *const *k = kinds; *k; k++)
	for (unsigned int c = 0; c < 8; c++)
	for (size_t t = 0; t < ARRAY_SIZE(props); t++)
	for (const struct property *p = props[t]; p->name; p++) {
		struct one o = {
			.kind = *k,
			.t = transports[c & 1],
			.packed = c & 2,
			.realm = c & 4,
			.p = p,
		};

		if (!wanted(&o))
			continue;
		if (test) {
			snprintf(o.name, sizeof(o.name), "%s.%s.%s.%s.%s", (*k)->name, o.t->name,
				 o.packed ? "packed" : "split", o.realm ? "realm" : "vm", p->name);
			if (fnmatch(pattern, o.name, 0))
				continue;
			one[n] = o;
			test[n] = (struct CMUnitTest){ one[n].name, run, setup, teardown, &one[n] };
		}
		n++;
	}
	return n;
}

int main(int argc, char **argv)
{
	size_t n = list("*", NULL, NULL);
	struct CMUnitTest *test = calloc(n, sizeof(*test));
	struct one *one = calloc(n, sizeof(*one));
	int ret;

	if (!test || !one)
		return 1;
	n = list(argc > 1 ? argv[1] : "*", test, one);
	/* What the guest does wrong is warned of, and that is what all of this is about. */
	log_set_level(LOG_ERROR);
	ret = _cmocka_run_group_tests("conformance", test, n, NULL, NULL);
	free(test);
	free(one);
	return ret;
}
