// SPDX-License-Identifier: BSD-3-Clause
/*
 * A devicetree of the user's: the input as it is, or a tree made of it, so that what lies behind
 * the checks of the format is reached. What is found lies in the blob and makes sense.
 */
#include "tests/fuzz/fuzz.h"

#include <libfdt.h>

#include "fdt/dt.h"
#include "vmm/core/err.h"

#define BLOB_MAX	65536
#define NODES_MAX	40

static const char *const node_name[] = {
	"", "chosen", "cpus", "cpu@0", "memory@80000000", "memory", "psci", "x",
};
static const char *const prop_name[] = {
	"bootargs", "linux,initrd-start", "linux,initrd-end", "device_type", "compatible", "method",
	"reg", "#address-cells", "#size-cells", "status",
};
static const char *const word[] = {
	"cpu", "memory", "smc", "hvc", "arm,psci-1.0", "arm,psci-0.2", "arm,psci", "console=ttyS0",
};

static int property(void *fdt, struct input *in)
{
	uint8_t how = in_u8(in);
	const char *name = prop_name[(how & 0x3f) % ARRAY_SIZE(prop_name)];
	const char *w;	/* the macro looks at it twice */
	const uint8_t *p;
	size_t n;

	switch (how >> 6) {
	case 0:
		w = word[in_u8(in) % ARRAY_SIZE(word)];
		return fdt_property_string(fdt, name, w);
	case 1:
		return fdt_property_u32(fdt, name, in_u8(in) % 4);
	case 2:
		return fdt_property_u64(fdt, name, in_u64(in));
	default:
		n = in_take(in, in_u8(in) % 40, &p);
		return fdt_property(fdt, name, p, (int)n);
	}
}

/* Return: bytes, 0: libfdt did not want it. */
static size_t build(struct input *in, uint8_t *fdt)
{
	unsigned int depth = 1, nodes = 1;

	PROPERTY(!fdt_create(fdt, BLOB_MAX) && !fdt_finish_reservemap(fdt));
	PROPERTY(!fdt_begin_node(fdt, ""));
	while (in->left && depth) {
		uint8_t op = in_u8(in);
		const char *name = node_name[(op >> 2) % ARRAY_SIZE(node_name)];

		if (op % 4 == 0 && nodes++ < NODES_MAX && *name) {
			if (fdt_begin_node(fdt, name))
				return 0;
			depth++;
		} else if (op % 4 == 1) {
			if (fdt_end_node(fdt))
				return 0;
			depth--;
		} else if (property(fdt, in)) {
			/* behind a node there are no more properties of the one around it */
			return 0;
		}
	}
	while (depth--)
		if (fdt_end_node(fdt))
			return 0;
	return fdt_finish(fdt) ? 0 : fdt_totalsize(fdt);
}

static void text_inside(const char *s, const uint8_t *blob, size_t size)
{
	const uint8_t *p = (const uint8_t *)s;

	PROPERTY(!s || (p >= blob && p < blob + size && memchr(s, '\0', blob + size - p)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct dt_user none;
	static uint8_t tree[BLOB_MAX];
	struct input in = { data, size };
	struct dt_user u;
	struct err e = { 0 };
	uint8_t *blob;

	if (in_u8(&in) & 1) {
		size = build(&in, tree);
		data = tree;
	} else {
		size = in.left;
		data = in.p;
	}
	/* of its own, so that a byte too many is noticed */
	blob = malloc(size ? size : 1);
	if (!blob)
		abort();
	if (size)
		memcpy(blob, data, size);
	if (dt_parse_user(blob, size, &u, &e) < 0) {
		ERROR_IS_A_LINE(e);
		PROPERTY(!memcmp(&u, &none, sizeof(u)));
	} else {
		text_inside(u.psci_method, blob, size);
		text_inside(u.bootargs, blob, size);
		PROPERTY(u.size <= size && u.initrd_start <= u.initrd_end);
		PROPERTY(!u.mem_size || u.mem_base + (u.mem_size - 1) >= u.mem_base);
		PROPERTY(!u.psci_method || !strcmp(u.psci_method, "smc") ||
			 !strcmp(u.psci_method, "hvc"));
		PROPERTY(u.nr_cpus < size);
	}
	free(blob);
	return 0;
}
