// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/ctl_vm.h"

#include <errno.h>
#include <string.h>

#include "vmm/session.h"

static pthread_mutex_t rim_lock = PTHREAD_MUTEX_INITIALIZER;

#ifdef HAVE_JANSSON

#include <ctype.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/virtio_balloon.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vfio/dma.h"
#include "vfio/pci.h"
#include "virtio/virtio.h"
#include "vmm/board/flash.h"
#include "vmm/core/path.h"
#include "vmm/core/thread.h"
#include "vmm/core/trace.h"
#include "vmm/devices.h"

#define BALLOON_PAGE	UINT64_C(4096)
#define PAGES_PER_MIB	(SZ_1M / BALLOON_PAGE)
#define MIB_MAX		(UINT64_C(1) << 32)	/* of a number in a request: no sum overflows */
#define HVC_SYSRQ	0x0f			/* ctrl-o: hvc_console's "the next key is a SysRq" */

static int set_u64(json_t *o, const char *key, uint64_t val)
{
	return json_object_set_new(o, key, json_integer(val));
}

static int set_str(json_t *o, const char *key, const char *val)
{
	json_t *s = val && *val ? json_string(val) : NULL;

	return json_object_set_new(o, key, s ? s : json_null());
}

/* The machine that runs, or the reason why there is none. */
static struct machine *running(struct session *s, struct err *e)
{
	if (!s->m) {
		err_set(e, -EAGAIN, "the guest is just being started; try again");
		return NULL;
	}
	if (atomic_load(&s->m->end)) {
		err_set(e, -EAGAIN, "the guest is about to end");
		return NULL;
	}
	return s->m;
}

/* Return: 1: it is there; 0: it is not; -EINVAL: it is no such number. */
static int number(const json_t *req, const char *key, uint64_t max, uint64_t *out, struct err *e)
{
	const json_t *v = json_object_get(req, key);
	json_int_t n;

	if (!v)
		return 0;
	n = json_integer_value(v);
	if (!json_is_integer(v) || n < 0 || (uint64_t)n > max)
		return err_set(e, -EINVAL, "\"%s\" is a number from 0 to %" PRIu64, key, max);
	*out = n;
	return 1;
}

/* ---- state ----------------------------------------------------------------------------------- */

static const char *mode_name(enum realm_mode mode)
{
	static const char *const name[] = {
		[MODE_PLAIN] = "vm", [MODE_EMULATED] = "emulated", [MODE_KVM] = "realm",
	};

	return name[mode];
}

static const char *state_name(const struct session *s)
{
	if (!s->m)
		return "starting";
	if (atomic_load(&s->m->end))
		return "ending";
	return s->ctl.paused ? "paused" : "running";
}

static void *measurer(void *ctx)
{
	struct measurement m;
	struct err e;

	if (session_measure(ctx, &m, &e) < 0)
		log_info("measurement: %s", e.msg);
	return NULL;
}

/* The measurement if it is known; @wanted: find it out, in a thread, because that can take long. */
static void set_rim(struct session *s, json_t *r, bool wanted)
{
	struct ctl_vm *v = &s->ctl;
	char rim[REPORT_HEX_MAX];

	pthread_mutex_lock(&rim_lock);
	memcpy(rim, v->rim, sizeof(rim));
	pthread_mutex_unlock(&rim_lock);
	set_str(r, "rim", rim);
	if (wanted && !rim[0] && s->m && realm_is_realm(&s->m->realm) && !v->measuring)
		v->measuring = !thread_start(&v->measurer, THREAD_AUX, "rim", measurer, s);
	json_object_set_new(r, "measuring", json_boolean(!rim[0] && v->measuring));
}

static int do_status(struct session *s, const json_t *req, json_t **out, struct err *e)
{
	json_t *r = json_object();

	set_rim(s, r, json_is_true(json_object_get(req, "rim")));
	set_str(r, "name", s->cfg->name);
	set_u64(r, "pid", getpid());
	set_str(r, "state", state_name(s));
	set_str(r, "mode", mode_name(s->cfg->mode));
	set_str(r, "generation", s->m ? s->m->realm.generation : NULL);
	set_u64(r, "cpus", s->cfg->cpus);
	set_u64(r, "memory", s->cfg->mem);
	set_u64(r, "boots", s->ctl.boots);
	set_u64(r, "uptime_ms", (loop_now() - s->ctl.began_ns) / 1000000);
	set_str(r, "console", s->cfg->console == CONSOLE_VIRTIO ? "virtio" : "serial");
	set_str(r, "kernel", s->cfg->kernel ? s->cfg->kernel : s->cfg->firmware);
	*out = r;
	return 0;
}

static int do_stop(struct session *s, const json_t *req, json_t **out, struct err *e)
{
	bool now = json_is_true(json_object_get(req, "force"));

	s->ctl.stopped = true;
	*out = json_pack("{si}", "force_after", (int)session_stop(s, 0, now));
	return 0;
}

/*
 * The guest's counter goes on while its vCPUs do not run, and a guest that was paused for long
 * would find its watchdogs expired. So it is set back, as far as this is possible: KVM has no
 * registers of a KVM realm.
 */
static void counter_stop(struct session *s)
{
	s->ctl.stands = !s->m->realm.ops->no_debug &&
			kvm_get_reg(&s->m->vcpu[0].k, A64_TIMER_CNT, &s->ctl.counter) == 0;
}

static void counter_go(struct session *s)
{
	if (s->ctl.stands && kvm_set_reg(&s->m->vcpu[0].k, A64_TIMER_CNT, s->ctl.counter) < 0)
		log_info("the guest's clock went on while it was paused");
	s->ctl.stands = false;
}

static int changed(json_t **out, bool how)
{
	*out = json_pack("{sb}", "changed", how);
	return 0;
}

static const struct trace_kind life_kind = { .cat = "vm" };

static int do_pause(struct session *s, const json_t *req, json_t **out, struct err *e)
{
	struct machine *m = running(s, e);

	if (!m)
		return -EAGAIN;
	if (s->ctl.paused)
		return changed(out, false);
	vcpus_stop(m, NULL);
	counter_stop(s);
	s->ctl.paused = true;
	log_info("paused");
	trace_mark(&life_kind, "pause", NULL, 0, 0, 0);
	return changed(out, true);
}

void ctl_vm_resume(struct session *s)
{
	if (!s->ctl.paused)
		return;
	counter_go(s);
	s->ctl.paused = false;
	vcpus_go(s->m);
	log_info("resumed");
	trace_mark(&life_kind, "resume", NULL, 0, 0, 0);
}

static int do_resume(struct session *s, const json_t *req, json_t **out, struct err *e)
{
	if (!running(s, e))
		return -EAGAIN;
	if (!s->ctl.paused)
		return changed(out, false);
	ctl_vm_resume(s);
	return changed(out, true);
}

/* ---- balloon --------------------------------------------------------------------------------- */

static struct virtio_dev *balloon(struct session *s, struct err *e)
{
	struct machine *m = running(s, e);

	if (!m)
		return NULL;
	for (unsigned int i = 0; i < m->nr_virtio; i++)
		if (m->env->host[i].kind == &device_balloon)
			return m->virtio[i].dev;
	err_set(e, -ENODEV, "the guest has no balloon: %s", s->cfg->mode == MODE_PLAIN ?
		"start it with --balloon" : "the pages of a realm are its own");
	return NULL;
}

static json_t *balloon_stats(struct virtio_dev *dev)
{
	static const struct {
		unsigned int tag;
		const char *key;
	} values[] = {
		{ VIRTIO_BALLOON_S_SWAP_IN, "swapped_in" }, { VIRTIO_BALLOON_S_SWAP_OUT, "swapped_out" },
		{ VIRTIO_BALLOON_S_MAJFLT, "major_faults" }, { VIRTIO_BALLOON_S_MINFLT, "minor_faults" },
		{ VIRTIO_BALLOON_S_MEMFREE, "free" }, { VIRTIO_BALLOON_S_MEMTOT, "total" },
		{ VIRTIO_BALLOON_S_AVAIL, "available" }, { VIRTIO_BALLOON_S_CACHES, "caches" },
	};
	struct virtio_balloon_stats st;
	json_t *r = json_object();

	virtio_balloon_stats(dev, &st);
	set_u64(r, "target", st.target * BALLOON_PAGE);
	set_u64(r, "actual", st.actual * BALLOON_PAGE);
	set_u64(r, "discarded", st.discarded);
	set_u64(r, "seen", st.seen);
	set_u64(r, "age_ms", st.age_ms);
	for (unsigned int i = 0; i < ARRAY_SIZE(values); i++)
		/* the guest's words: what is no number of JSON's is left out */
		if (st.have >> values[i].tag & 1 && st.value[values[i].tag] <= INT64_MAX)
			set_u64(r, values[i].key, st.value[values[i].tag]);
	return r;
}

static int do_memory(struct session *s, const json_t *req, json_t **out, struct err *e)
{
	struct virtio_dev *dev = balloon(s, e);

	if (!dev)
		return e->code;
	*out = balloon_stats(dev);
	if (json_is_true(json_object_get(req, "ask")))
		json_object_set_new(*out, "asked", json_boolean(virtio_balloon_ask(dev) == 0));
	return 0;
}

static int do_balloon(struct session *s, const json_t *req, json_t **out, struct err *e)
{
	struct virtio_dev *dev = balloon(s, e);
	uint64_t up = 0, down = 0, size = 0, target;
	struct virtio_balloon_stats st;
	int a, b, c;

	if (!dev)
		return e->code;
	a = number(req, "inflate", MIB_MAX, &up, e);
	b = a < 0 ? a : number(req, "deflate", MIB_MAX, &down, e);
	c = b < 0 ? b : number(req, "size", MIB_MAX, &size, e);
	if (c < 0)
		return c;
	if (a + b + c != 1)
		return err_set(e, -EINVAL, "one of \"inflate\", \"deflate\" and \"size\" is needed");
	virtio_balloon_stats(dev, &st);
	if (c)
		target = size * PAGES_PER_MIB;
	else if (down * PAGES_PER_MIB > st.target)
		return err_set(e, -ERANGE, "the balloon is to hold %" PRIu64 " MiB; it cannot become "
			       "smaller by %" PRIu64, st.target / PAGES_PER_MIB, down);
	else
		target = st.target + up * PAGES_PER_MIB - down * PAGES_PER_MIB;
	if (virtio_balloon_set(dev, target) < 0)
		return err_set(e, -ERANGE, "the balloon cannot hold %" PRIu64 " MiB: the guest has "
			       "%" PRIu64, target / PAGES_PER_MIB, s->cfg->mem / SZ_1M);
	*out = balloon_stats(dev);
	return 0;
}

static int do_resize(struct session *s, const json_t *req, json_t **out, struct err *e)
{
	struct machine *m = running(s, e);

	if (!m)
		return -EAGAIN;
	disks_resize(m);
	return 0;
}

/* ---- counters -------------------------------------------------------------------------------- */

static void exit_key(unsigned int reason, char key[32])
{
	const char *name = vcpu_exit_name(reason);

	if (strcmp(name, "other"))
		snprintf(key, 32, "%s", name);
	else
		snprintf(key, 32, "exit-%u", reason);
}

static json_t *vcpu_metrics(struct machine *m)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < m->nr_vcpus; i++) {
		json_t *exits = json_object();

		for (unsigned int r = 0; r < VCPU_EXIT_REASONS; r++) {
			uint64_t n = atomic_load_explicit(&m->vcpu[i].exits[r],
							  memory_order_relaxed);
			char key[32];

			if (!n)
				continue;
			exit_key(r, key);
			set_u64(exits, key, n);
		}
		json_array_append_new(list, json_pack("{siso}", "id", i, "exits", exits));
	}
	return list;
}

static json_t *queue_metrics(const struct virtio_dev *dev, unsigned int q)
{
	struct virtio_queue_stat st;
	json_t *r = json_object();

	virtio_dev_queue_stat(dev, q, &st);
	json_object_set_new(r, "external", json_boolean(st.external));
	set_u64(r, "requests", st.requests);
	set_u64(r, "bytes_from_guest", st.from_guest);
	set_u64(r, "bytes_to_guest", st.to_guest);
	set_u64(r, "kicks", st.kicks);
	set_u64(r, "interrupts", st.interrupts);
	return r;
}

static json_t *device_metrics(struct machine *m)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < m->nr_virtio; i++) {
		const struct device_host *h = &m->env->host[i];
		const struct virtio_dev *dev = m->virtio[i].dev;
		json_t *queues = json_array();
		char name[48];

		snprintf(name, sizeof(name), "%s%u", h->kind->name, h->index);
		for (unsigned int q = 0; q < virtio_dev_queues(dev); q++)
			json_array_append_new(queues, queue_metrics(dev, q));
		json_array_append_new(list, json_pack("{ssssssso}", "name", name, "kind",
						      h->kind->name, "state", virtio_dev_state(dev),
						      "queues", queues));
	}
	return list;
}

static json_t *uart_metrics(struct machine *m)
{
	json_t *list = json_array();

	for (unsigned int n = 0; n < MAP_UART_COUNT; n++) {
		struct uart_stats st;
		json_t *r = json_object();

		uart_stats(m->uart[n].uart, &st);
		set_u64(r, "bytes_from_guest", st.tx_bytes);
		set_u64(r, "bytes_to_guest", st.rx_bytes);
		set_u64(r, "dropped", st.tx_dropped);
		json_array_append_new(list, r);
	}
	return list;
}

/* Pages of this process that are in memory, field 2 of proc(5)'s statm; 0: not known. */
static uint64_t resident(void)
{
	unsigned long long size, pages = 0;
	int fd = path_open("/proc/self/statm", O_RDONLY, 0);
	char text[128];
	ssize_t n;

	if (fd < 0)
		return 0;
	n = pread(fd, text, sizeof(text) - 1, 0);
	close(fd);
	text[MAX(n, 0)] = '\0';
	if (sscanf(text, "%llu %llu", &size, &pages) != 2)
		pages = 0;
	return pages * sysconf(_SC_PAGESIZE);
}

static json_t *memory_metrics(struct machine *m)
{
	struct realm *r = &m->realm;
	uint64_t private = 0;
	json_t *o = json_object();

	if (realm_is_realm(r))
		private = atomic_load(&r->ripas.ram) * GRANULE_SIZE;
	set_u64(o, "ram", r->ram_size);
	set_u64(o, "private", private);
	set_u64(o, "shared", r->ram_size - private);
	set_u64(o, "process_resident", resident());
	return o;
}

static json_t *realm_metrics(struct machine *m)
{
	struct realm_stat *st = &m->realm.stat;
	json_t *o = json_object();

	set_u64(o, "rsi_calls", st->rsi_calls);
	set_u64(o, "conversions_to_shared", st->to_shared);
	set_u64(o, "conversions_to_private", st->to_private);
	set_u64(o, "bytes_to_shared", st->bytes_shared);
	set_u64(o, "bytes_to_private", st->bytes_private);
	return o;
}

static json_t *dma_metrics(struct machine *m)
{
	const struct dma_stat *st = dma_stat(m->dma);
	json_t *o = json_object();

	set_u64(o, "maps", st->maps);
	set_u64(o, "unmaps", st->unmaps);
	set_u64(o, "mappings", st->mappings);
	set_u64(o, "splits", st->splits);
	set_u64(o, "pinned", st->pinned);
	set_u64(o, "pinned_peak", st->peak);
	return o;
}

static json_t *assigned_metrics(struct machine *m)
{
	static const char *const irq[] = {
		[VFIO_PCI_NO_IRQ] = "none", [VFIO_PCI_INTX] = "INTx", [VFIO_PCI_MSI] = "MSI",
		[VFIO_PCI_MSIX] = "MSI-X",
	};
	json_t *list = json_array();

	for (unsigned int i = 0; i < m->nr_assigned; i++) {
		const struct vfio_pci_stat *st = vfio_pci_stat(m->assigned[i]);
		uint32_t how = st->irq;
		json_t *o = json_object();

		set_str(o, "name", vfio_pci_name(m->assigned[i]));
		set_str(o, "irq", how < ARRAY_SIZE(irq) ? irq[how] : NULL);
		set_u64(o, "vectors", st->vectors);
		set_u64(o, "bar_exits", st->bar_exits);
		set_u64(o, "config_exits", st->cfg_exits);
		json_array_append_new(list, o);
	}
	return list;
}

static int do_metrics(struct session *s, const json_t *req, json_t **out, struct err *e)
{
	struct machine *m = running(s, e);
	struct virtio_dev *b;
	struct err none;
	json_t *r;

	if (!m)
		return -EAGAIN;
	do_status(s, req, &r, e);
	json_object_set_new(r, "vcpus", vcpu_metrics(m));
	json_object_set_new(r, "ram", memory_metrics(m));
	if (realm_is_realm(&m->realm))
		json_object_set_new(r, "realm", realm_metrics(m));
	json_object_set_new(r, "devices", device_metrics(m));
	json_object_set_new(r, "uarts", uart_metrics(m));
	if (m->dma) {
		json_object_set_new(r, "dma", dma_metrics(m));
		json_object_set_new(r, "assigned", assigned_metrics(m));
	}
	b = balloon(s, &none);
	if (b)
		json_object_set_new(r, "balloon", balloon_stats(b));
	*out = r;
	return 0;
}

/* ---- the IPA space --------------------------------------------------------------------------- */

static void region(json_t *list, const char *name, ipa_t base, uint64_t size)
{
	json_t *r;

	if (!size)
		return;
	r = json_object();
	set_str(r, "name", name);
	set_u64(r, "base", base);
	set_u64(r, "size", size);
	json_array_append_new(list, r);
}

static int do_regions(struct session *s, const json_t *req, json_t **out, struct err *e)
{
	struct machine *m = running(s, e);
	const struct gmem_region *mem;
	unsigned int nr;
	json_t *list, *r;

	if (!m)
		return -EAGAIN;
	list = json_array();
	region(list, "UARTs", MAP_UART_BASE, MAP_UART_COUNT * MAP_UART_STRIDE);
	region(list, "RTC", MAP_RTC_BASE, MAP_RTC_SIZE);
	region(list, "power button", MAP_GPIO_BASE, m->gpio ? MAP_GPIO_SIZE : 0);
	region(list, "flash", MAP_FLASH_BASE, m->flash ? flash_size(m->flash) : 0);
	if (m->nr_virtio && m->virtio[0].mmio)
		region(list, "virtio-mmio", MAP_VIRTIO_BASE, m->nr_virtio * MAP_VIRTIO_STRIDE);
	if (m->gic.its)
		region(list, "GIC ITS", m->gic.its_base, MAP_GITS_SIZE);
	region(list, "GIC redistributors", m->gic.redist, m->gic.redist_size);
	region(list, "GIC distributor", MAP_GICD_BASE, MAP_GICD_SIZE);
	if (m->pci.mem.size) {
		region(list, "PCI configuration", MAP_ECAM_BASE, MAP_ECAM_SIZE);
		region(list, "PCI memory", m->pci.mem.base, m->pci.mem.size);
	}
	region(list, "RAM", s->cfg->mem_base, s->cfg->mem);
	mem = gmem_regions(&m->gm, &nr);
	for (unsigned int i = 0; i < nr; i++)
		if (mem[i].base != s->cfg->mem_base)
			region(list, "persistent memory", mem[i].base, mem[i].size);
	region(list, "PCI memory, 64-bit", m->pci.mem64.base, m->pci.mem64.size);
	r = json_pack("{siso}", "ipa_bits", m->realm.split.bits, "regions", list);
	set_u64(r, "shared_bit", m->realm.split.shared);
	set_u64(r, "ram_base", s->cfg->mem_base);
	set_u64(r, "ram_size", s->cfg->mem);
	*out = r;
	return 0;
}

/* What is known of a granule: private, and whether the host has memory for its other side. */
static void look_at(struct machine *m, ipa_t ipa, bool there, json_int_t count[3])
{
	struct realm *r = &m->realm;
	bool private = realm_is_realm(r) && ripas_get(&r->ripas, ipa) == RIPAS_RAM;

	count[0] += private;
	if (r->shared_is_gmem && private)
		there = false;		/* its one page is the private one */
	count[1] += there;
	/* private pages live elsewhere, so what is still here is held twice */
	count[2] += there && private && r->gmem_fd >= 0;
}

static int do_map(struct session *s, const json_t *req, json_t **out, struct err *e)
{
	struct machine *m = running(s, e);
	const uint64_t page = sysconf(_SC_PAGESIZE);
	uint64_t base = s->cfg->mem_base, len, cell = SZ_2M, end;
	json_t *private, *there, *twice;
	unsigned char *core;
	bool known;

	if (!m)
		return -EAGAIN;
	len = MIN(s->cfg->mem, CTL_MAP_MAX);
	if (number(req, "base", INT64_MAX, &base, e) < 0 || number(req, "len", CTL_MAP_MAX, &len, e) < 0 ||
	    number(req, "cell", CTL_MAP_MAX, &cell, e) < 0)
		return e->code;
	if (cell < page || (cell & (cell - 1)) || !len || len / cell > CTL_MAP_CELLS ||
	    base < s->cfg->mem_base || !IS_ALIGNED(base - s->cfg->mem_base, page) ||
	    base - s->cfg->mem_base >= s->cfg->mem)
		return err_set(e, -EINVAL, "\"base\" and \"len\" lie in RAM, \"cell\" is a power of two "
			       "from %" PRIu64 ", and len / cell at most %u", page, CTL_MAP_CELLS);
	len = MIN(len, s->cfg->mem - (base - s->cfg->mem_base));
	core = malloc(ALIGN_UP(len, page) / page);
	if (!core)
		return err_set(e, -ENOMEM, "out of memory");
	known = realm_resident(&m->realm, base, len, core) == 0;
	private = json_array();
	there = json_array();
	twice = json_array();
	end = base + len;
	for (ipa_t at = base; at < end; at += cell) {
		json_int_t count[3] = { 0 };

		for (ipa_t ipa = at; ipa < at + cell && ipa < end; ipa += GRANULE_SIZE)
			look_at(m, ipa, known && core[(ipa - base) / page] & 1, count);
		json_array_append_new(private, json_integer(count[0]));
		json_array_append_new(there, json_integer(count[1]));
		json_array_append_new(twice, json_integer(count[2]));
	}
	free(core);
	*out = json_pack("{sIsIsIsbsososo}", "base", (json_int_t)base, "len", (json_int_t)len,
			 "cell", (json_int_t)cell, "known", known, "private", private, "backed", there,
			 "twice", twice);
	return 0;
}

/* ---- debugging ------------------------------------------------------------------------------- */

static void set_reg(json_t *o, const char *name, struct kvm_vcpu *k, uint64_t id)
{
	char text[20];
	uint64_t val;

	if (kvm_get_reg(k, id, &val) < 0)
		return;
	snprintf(text, sizeof(text), "%#018" PRIx64, val);
	set_str(o, name, text);
}

static int dump(struct machine *m, json_t **out, struct err *e)
{
	static const struct {
		const char *name;
		uint64_t id;
	} special[] = {
		{ "pc", A64_PC }, { "pstate", A64_PSTATE }, { "sp_el0", A64_SP_EL0 },
		{ "sp_el1", A64_SP_EL1 }, { "elr_el1", A64_ELR_EL1 }, { "spsr_el1", A64_SPSR_EL1 },
		{ "esr_el1", A64_ESR_EL1 }, { "far_el1", A64_FAR_EL1 }, { "vbar_el1", A64_VBAR_EL1 },
		{ "sctlr_el1", A64_SCTLR_EL1 }, { "tcr_el1", A64_TCR_EL1 },
		{ "ttbr0_el1", A64_TTBR0_EL1 }, { "ttbr1_el1", A64_TTBR1_EL1 },
	};
	json_t *list;

	if (m->realm.ops->no_debug)
		return err_set(e, -EPERM, "the registers of a realm are its monitor's; nobody outside can "
			       "read them (an emulated realm, --realm=emulated, shows them)");
	list = json_array();
	vcpus_stop(m, NULL);
	for (unsigned int i = 0; i < m->nr_vcpus; i++) {
		json_t *regs = json_object();

		for (unsigned int n = 0; n < ARRAY_SIZE(special); n++)
			set_reg(regs, special[n].name, &m->vcpu[i].k, special[n].id);
		for (unsigned int n = 0; n < 31; n++) {
			char name[8];

			snprintf(name, sizeof(name), "x%u", n);
			set_reg(regs, name, &m->vcpu[i].k, A64_X(n));
		}
		json_array_append_new(list, json_pack("{siso}", "id", i, "registers", regs));
	}
	vcpus_go(m);
	*out = json_pack("{so}", "vcpus", list);
	return 0;
}

static int sysrq(struct session *s, struct machine *m, const char *key, struct err *e)
{
	const char hvc[2] = { HVC_SYSRQ, key[0] };
	bool taken;

	if (!isalnum((unsigned char)key[0]) || key[1])
		return err_set(e, -EINVAL, "a SysRq key is one letter or digit; h makes a Linux list them");
	if (s->cfg->console == CONSOLE_VIRTIO)
		taken = virtio_console_input(m->console, hvc, 2) == 2;
	else
		taken = uart_break(m->uart[0].uart) && uart_input(m->uart[0].uart, key, 1) == 1;
	return taken ? 0 : err_set(e, -EAGAIN, "the console takes no input now: does the guest read it?");
}

static int do_debug(struct session *s, const json_t *req, json_t **out, struct err *e)
{
	struct machine *m = running(s, e);
	const char *key = json_string_value(json_object_get(req, "sysrq"));
	int ret = 0;

	if (!m)
		return -EAGAIN;
	if (json_object_get(req, "nmi"))
		return err_set(e, -EOPNOTSUPP, "there is no NMI to inject: KVM has none for arm64; sysrq "
			       "reaches a guest that still takes interrupts, run --gdb any other");
	if (key)
		ret = sysrq(s, m, key, e);
	if (!ret && json_is_true(json_object_get(req, "dump")))
		ret = dump(m, out, e);
	return ret;
}

/* ---- the socket ------------------------------------------------------------------------------ */

static const struct {
	const char *name;
	int (*fn)(struct session *s, const json_t *req, json_t **out, struct err *e);
} commands_of_vm[] = {
	{ "status", do_status },   { "stop", do_stop },	      { "pause", do_pause },
	{ "resume", do_resume },   { "memory", do_memory },   { "balloon", do_balloon },
	{ "metrics", do_metrics }, { "regions", do_regions }, { "map", do_map },
	{ "debug", do_debug },	   { "resize", do_resize },
};

static int on_request(void *ctx, const char *cmd, const struct json_t *req, struct json_t **out,
		      struct err *e)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(commands_of_vm); i++)
		if (!strcmp(cmd, commands_of_vm[i].name))
			return commands_of_vm[i].fn(ctx, req, out, e);
	return -ENOENT;
}

#else

void ctl_vm_resume(struct session *s)
{
}

static int on_request(void *ctx, const char *cmd, const struct json_t *req, struct json_t **out,
		      struct err *e)
{
	return -ENOENT;
}

#endif

static size_t on_input(void *ctx, const void *buf, size_t len)
{
	struct session *s = ctx;

	return session_input(s, 0, buf, len);
}

int ctl_vm_open(struct session *s, struct err *e)
{
	int ret;

	s->ctl.began_ns = loop_now();
	s->ctl.ops = (struct control_ops){ on_request, on_input, s };
	if (!s->cfg->name)
		return 0;
	ret = control_open(&s->loop, s->cfg->name, s->cfg->lkvm, &s->ctl.ops, NULL,
			   &s->ctl.control, e);
	if (ret == -EBUSY || ret == -EINVAL)
		return ret;
	if (ret < 0)
		log_info("%s; list, stop and the like cannot reach this guest", e->msg);
	return 0;
}

void ctl_vm_boot(struct session *s)
{
	s->ctl.boots++;
	s->ctl.paused = s->ctl.stands = false;
	control_input_ready(s->ctl.control);
}

void ctl_vm_rim(struct session *s, const struct measurement *m)
{
	pthread_mutex_lock(&rim_lock);
	report_hex(&m->rim, s->ctl.rim);
	pthread_mutex_unlock(&rim_lock);
}

void ctl_vm_stop(struct session *s)
{
	if (s->ctl.measuring)
		pthread_join(s->ctl.measurer, NULL);
	s->ctl.measuring = false;
}

void ctl_vm_close(struct session *s, int ret)
{
	const char *reason = "left";

	if (ret < 0)
		reason = "failed";
	else if (s->end == END_POWEROFF)
		reason = "poweroff";
	else if (s->end == END_RESET)
		reason = "reset";
	else if (s->signal)
		reason = "signal";
	else if (s->ctl.stopped)
		reason = "stop";
	/* main() makes 128 of an error, as lkvm does */
	control_end(s->ctl.control, reason, ret < 0 ? 128 : ret);
	s->ctl.control = NULL;
}
