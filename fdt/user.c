// SPDX-License-Identifier: BSD-3-Clause
/*
 * A devicetree that the user brought (--dtb): untrusted bytes. fdt_check_full() proves that the
 * structure can be walked; what the properties say is checked here.
 */
#include <errno.h>
#include <string.h>

#include <libfdt.h>

#include "fdt/dt.h"
#include "vmm/core/err.h"

static int bad(struct err *e, const char *what)
{
	return err_set(e, -EINVAL, "devicetree: %s", what);
}

/* A property that is one string, with its NUL at the end of its bytes; else NULL. */
static const char *get_string(const void *fdt, int node, const char *name)
{
	int len;
	const char *val = fdt_getprop(fdt, node, name, &len);

	if (!val || len < 1 || strnlen(val, len) != (size_t)len - 1)
		return NULL;
	return val;
}

static uint64_t read_cells(const void *p, unsigned int cells)
{
	const uint8_t *b = p;
	uint64_t val = 0;

	for (unsigned int i = 0; i < cells * 4; i++)
		val = val << 8 | b[i];
	return val;
}

/* Linux takes both widths (drivers/of/fdt.c, early_init_dt_check_for_initrd()). */
static int get_initrd(const void *fdt, int chosen, struct dt_user *out, struct err *e)
{
	int start_len, end_len;
	const void *start = fdt_getprop(fdt, chosen, "linux,initrd-start", &start_len);
	const void *end = fdt_getprop(fdt, chosen, "linux,initrd-end", &end_len);

	if (!start && !end)
		return 0;
	if (!start || !end)
		return bad(e, "/chosen needs both of linux,initrd-start and linux,initrd-end, or "
			      "none");
	if ((start_len != 4 && start_len != 8) || (end_len != 4 && end_len != 8))
		return bad(e, "linux,initrd-start and linux,initrd-end are 4 or 8 bytes long");
	out->initrd_start = read_cells(start, start_len / 4);
	out->initrd_end = read_cells(end, end_len / 4);
	if (out->initrd_end < out->initrd_start)
		return bad(e, "linux,initrd-end is before linux,initrd-start");
	return 0;
}

static int get_chosen(const void *fdt, struct dt_user *out, struct err *e)
{
	int chosen = fdt_path_offset(fdt, "/chosen");

	if (chosen < 0)
		return 0;
	if (fdt_getprop(fdt, chosen, "bootargs", NULL)) {
		out->bootargs = get_string(fdt, chosen, "bootargs");
		if (!out->bootargs)
			return bad(e, "bootargs in /chosen is not a string");
	}
	return get_initrd(fdt, chosen, out, e);
}

static int get_psci(const void *fdt, struct dt_user *out, struct err *e)
{
	static const char *const compatible[] = { "arm,psci-1.0", "arm,psci-0.2", "arm,psci" };

	for (unsigned int i = 0; i < ARRAY_SIZE(compatible); i++) {
		int node = fdt_node_offset_by_compatible(fdt, -1, compatible[i]);

		if (node < 0)
			continue;
		out->psci_method = get_string(fdt, node, "method");
		if (!out->psci_method || (strcmp(out->psci_method, "smc") &&
					  strcmp(out->psci_method, "hvc")))
			return bad(e, "the method of the psci node is neither \"smc\" nor \"hvc\"");
		return 0;
	}
	return 0;
}

static bool is_type(const void *fdt, int node, const char *type)
{
	const char *val = get_string(fdt, node, "device_type");

	return val && !strcmp(val, type);
}

static void count_cpus(const void *fdt, struct dt_user *out)
{
	int cpus = fdt_path_offset(fdt, "/cpus"), node;

	if (cpus < 0)
		return;
	fdt_for_each_subnode(node, fdt, cpus)
		out->nr_cpus += is_type(fdt, node, "cpu");
}

static int get_memory(const void *fdt, struct dt_user *out, struct err *e)
{
	int ac = fdt_address_cells(fdt, 0), sc = fdt_size_cells(fdt, 0), node, len;

	fdt_for_each_subnode(node, fdt, 0) {
		const uint8_t *reg;

		if (!is_type(fdt, node, "memory"))
			continue;
		if (ac < 1 || ac > 2 || sc < 1 || sc > 2)
			return bad(e, "#address-cells and #size-cells of the root are 1 or 2");
		reg = fdt_getprop(fdt, node, "reg", &len);
		if (!reg || len < (ac + sc) * 4)
			return bad(e, "the memory node has no reg, or a short one");
		out->mem_base = read_cells(reg, ac);
		out->mem_size = read_cells(reg + ac * 4, sc);
		if (out->mem_size && out->mem_base + out->mem_size - 1 < out->mem_base)
			return bad(e, "the memory range wraps around");
		return 0;
	}
	return 0;
}

int dt_parse_user(const void *blob, size_t size, struct dt_user *out, struct err *e)
{
	struct dt_user found = { 0 };
	int rc;

	memset(out, 0, sizeof(*out));
	if (size < sizeof(struct fdt_header))
		return err_set(e, -EINVAL, "devicetree: %zu bytes are too few for one", size);
	/* Older ones have no size of the structure block to check against; dtc makes 17. */
	if (fdt_magic(blob) == FDT_MAGIC && fdt_version(blob) < 17)
		return err_set(e, -EINVAL, "devicetree: format version %u, but it must be 17",
			       fdt_version(blob));
	rc = fdt_check_full(blob, size);
	if (rc)
		return err_set(e, -EINVAL, "devicetree: not a valid blob (%s): compile it with dtc",
			       fdt_strerror(rc));

	found.size = fdt_totalsize(blob);
	rc = get_chosen(blob, &found, e);
	if (!rc)
		rc = get_psci(blob, &found, e);
	if (!rc)
		rc = get_memory(blob, &found, e);
	if (rc)
		return rc;
	count_cpus(blob, &found);
	*out = found;
	return 0;
}
