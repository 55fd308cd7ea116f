// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/cmdline.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/board/memmap.h"
#include "vmm/core/err.h"

#define SWIOTLB_SLAB 2048	/* IO_TLB_SIZE of Linux: what swiotlb=N counts */
#define SWIOTLB_SEGMENT 128	/* IO_TLB_SEGSIZE: it is rounded up to this many */
#define SWIOTLB_DEFAULT 32768	/* 64 MiB */

struct line {
	char *buf;
	size_t len;
	bool full;
};

static void add(struct line *l, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void add(struct line *l, const char *fmt, ...)
{
	size_t room = CFG_CMDLINE_MAX - l->len;
	va_list ap;
	int n;

	if (l->full)
		return;
	va_start(ap, fmt);
	n = vsnprintf(l->buf + l->len, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room)
		l->full = true;
	else
		l->len += n;
}

void cmdline_earlycon(const struct ipa_split *split, char *out)
{
	snprintf(out, 64, "earlycon=uart,mmio,%#" PRIx64, ipa_to_alias(split, MAP_UART_BASE));
}

/* Length of the word at p, which ends at a blank; quotes keep blanks inside (as Linux has it). */
static size_t word_len(const char *p)
{
	bool quoted = false;
	size_t n;

	for (n = 0; p[n] && (quoted || p[n] != ' '); n++)
		if (p[n] == '"')
			quoted = !quoted;
	return n;
}

static bool bare_earlycon(const char *w, size_t n)
{
	return n == 8 && !strncmp(w, "earlycon", 8);
}

/* "earlycon=uart[8250],mmio[32],0xADDR..." with an address in the lower half */
static bool lower_earlycon(const struct ipa_split *split, const char *w, size_t n)
{
	char copy[128], *comma, *end;
	uint64_t addr;

	if (n < 9 || n >= sizeof(copy) || strncmp(w, "earlycon=", 9))
		return false;
	memcpy(copy, w, n);
	copy[n] = '\0';
	comma = strrchr(copy, ',');
	while (comma) {
		addr = strtoull(comma + 1, &end, 0);
		if (end != comma + 1 && addr > 0xffffff)
			return !ipa_is_alias(split, addr);
		*comma = '\0';
		comma = strrchr(copy, ',');
	}
	return false;
}

static void add_params(const struct vm_config *c, const struct ipa_split *split, struct line *l)
{
	const char *p = c->params;
	char right[64];

	cmdline_earlycon(split, right);
	while (*p) {
		size_t n = word_len(p);

		if (split->shared && c->lkvm && bare_earlycon(p, n)) {
			add(l, "%s", right);
		} else {
			add(l, "%.*s", (int)n, p);
			if (split->shared &&
			    (bare_earlycon(p, n) || lower_earlycon(split, p, n)))
				log_warning("\"%.*s\" cannot work in a realm: the early console is "
					    "at the shared alias; use %s", (int)n, p, right);
		}
		p += n;
		while (*p == ' ') {
			add(l, " ");
			p++;
		}
	}
}

/* lkvm's parameters for a root file system by 9p, and for its own kind of them */
static void add_rootfs(const struct vm_config *c, struct line *l)
{
	add(l, " rw rootflags=trans=virtio,version=9p2000.L,cache=loose rootfstype=9p");
	if (c->rootfs == ROOTFS_DIR)
		return;
	add(l, " init=%s", c->rootfs_init ? c->rootfs_init : "/virt/init");
	if (c->no_dhcp || c->no_net)
		return;
	add(l, " ip=dhcp");
	/* Linux waits two minutes for a link: the NIC that nobody asked for can be without one */
	if (c->nr_nets == 1 && c->net[0].implicit)
		add(l, " carrier_timeout=5");
}

int cmdline_make(const struct vm_config *c, const struct ipa_split *split, char *out,
		 struct err *e)
{
	struct line l = { out, 0, false };

	*out = '\0';
	if (c->lkvm && !c->nodefaults) {
		add(&l, " console=%s", c->console == CONSOLE_VIRTIO ? "hvc0" : "ttyS0");
		if (c->rootfs)
			add_rootfs(c, &l);
		else if (!c->params || !strstr(c->params, "root="))
			add(&l, " root=/dev/vda rw ");
		if (c->params)
			add(&l, " ");
	}
	if (c->params)
		add_params(c, split, &l);
	if (c->swiotlb_mib) {
		uint64_t slabs = c->swiotlb_mib * SZ_1M / SWIOTLB_SLAB;

		/*
		 * Linux takes its own default for "not asked for" and may shrink it. What is no power
		 * of two it rounds up to one.
		 */
		if (slabs == SWIOTLB_DEFAULT)
			slabs -= SWIOTLB_SEGMENT;
		add(&l, "%sswiotlb=%" PRIu64, l.len ? " " : "", slabs);
	}
	if (l.full)
		return err_set(e, -E2BIG, "the kernel command line is longer than the %d bytes arm64 "
			       "Linux reads; shorten -p", CFG_CMDLINE_MAX - 1);
	return 0;
}
