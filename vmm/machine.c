// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/machine.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "virtio/pci.h"
#include "virtio/virtio.h"
#include "vmm/assigned.h"
#include "vmm/board/flash.h"
#include "vmm/board/pl061.h"
#include "vmm/board/rtc.h"
#include "vmm/core/log.h"
#include "vmm/core/trace.h"
#include "vmm/devices.h"
#include "vmm/vu_host.h"

#define IO_THREADS_MAX 16	/* unless --io-threads wants more */

/* ---- devices --------------------------------------------------------------------------------- */

static size_t uart_out(void *ctx, const void *buf, size_t len)
{
	struct machine_uart *u = ctx;
	const struct machine_env *env = u->m->env;

	return env->out(env->ctx, u->n, buf, len);
}

static void uart_room(void *ctx)
{
	struct machine_uart *u = ctx;

	u->m->env->input_room(u->m->env->ctx, u->n);
}

static int make_uarts(struct machine *m, struct err *e)
{
	int ret = 0;

	for (unsigned int n = 0; n < MAP_UART_COUNT && !ret; n++) {
		static const char *const name[MAP_UART_COUNT] = { "uart0", "uart1", "uart2", "uart3" };
		struct machine_uart *u = &m->uart[n];
		struct uart_config cfg = {
			.name = name[n],
			.base = MAP_UART_BASE + n * MAP_UART_STRIDE,
			.irq = &u->irq,
			.write = uart_out,
			.input_room = uart_room,
			.ctx = u,
		};

		u->m = m;
		u->n = n;
		gic_level_line(&m->gic, MAP_UART_SPI + n, &u->irq);
		ret = uart_new(&m->bus, &cfg, &u->uart, e);
	}
	return ret;
}

/* The guest reads a flash in array mode without exits; any other mode needs them. */
static void flash_mapped(void *ctx, bool mapped)
{
	struct machine *m = ctx;
	int ret;

	ret = realm_set_rom(&m->realm, m->flash_slot, MAP_FLASH_BASE,
			    mapped ? flash_size(m->flash) : 0, flash_map(m->flash));
	if (ret < 0)
		machine_fail(m, "flash: memory slot: %s", strerror(-ret));
}

static int make_flash(struct machine *m, struct err *e)
{
	struct flash_config cfg = {
		.name = m->cfg->flash,
		.fd = m->env->flash_fd,
		.base = MAP_FLASH_BASE,
		.set_mapped = flash_mapped,
		.ctx = m,
	};
	int ret;

	if (cfg.fd < 0)
		return 0;
	ret = flash_new(&m->bus, &cfg, &m->flash, e);
	if (ret < 0)
		return ret;
	return realm_add_rom(&m->realm, MAP_FLASH_BASE, flash_size(m->flash), flash_map(m->flash),
			     &m->flash_slot, e);
}

static int make_power_button(struct machine *m, struct err *e)
{
	if (!m->cfg->power_button)
		return 0;
	gic_level_line(&m->gic, MAP_GPIO_SPI, &m->gpio_irq);
	return pl061_new(&m->bus, MAP_GPIO_BASE, &m->gpio_irq, &m->gpio, e);
}

static ipa_t kernel_io(const void *ctx, ipa_t ipa)
{
	return realm_kernel_io(ctx, ipa);
}

/* The guest wrote the address of the ITS as the devicetree has it, or with the shared bit. */
static ipa_t msi_doorbell(const void *ctx, ipa_t ipa)
{
	const struct realm *r = ctx;

	return realm_kernel_io(r, ipa_canonical(&r->split, ipa));
}

/*
 * KVM's ITS reads its tables and commands at the addresses that the guest has written: in the lower
 * half, where a strict realm has no shared memory. Such a realm finds no ITS where the devicetree
 * says that there is one, and its drivers do without messages.
 */
static uint64_t no_its_read(void *opaque, uint64_t off, unsigned int len)
{
	return 0;
}

static void no_its_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
}

static int leave_out_its(struct machine *m, struct err *e)
{
	static const struct mmio_ops ops = { .read = no_its_read, .write = no_its_write };

	if (!m->gic.its || !m->realm.strict)
		return 0;
	m->gic.its = false;
	log_info("--emulated-strict: there is no ITS, devices on PCI interrupt by INTx");
	return mmio_add(&m->bus, m->gic.its_base, MAP_GITS_SIZE, &ops, m, "no ITS", e);
}

static int make_pci(struct machine *m, struct err *e)
{
	struct irq_line line[PCI_NR_DEVICES];
	int ret = 0;

	if (!m->layout->pci)
		return 0;
	for (unsigned int i = 0; i < PCI_NR_DEVICES; i++)
		gic_level_line(&m->gic, MAP_PCI_SPI + i, &line[i]);
	if (m->gic.its)
		ret = msi_init(&m->msi, &m->kvm, msi_doorbell, &m->realm, e);
	return ret ? ret : pci_host_init(&m->pci, &m->bus, line,
					  m->layout->virtio_pci ? m->env->nr_hosts : 0,
					  assigned_places(m->env->assigned),
					  m->layout->mem64.base, m->layout->mem64.size, e);
}

static int add_virtio_pci(struct machine *m, struct machine_virtio *v, struct err *e)
{
	const struct virtio_pci_env env = {
		.host = &m->pci,
		.msi = m->gic.its ? &m->msi : NULL,
		.kvm = &m->kvm,
		.kernel_io = kernel_io,
		.ctx = &m->realm,
	};

	return virtio_pci_new(v->dev, &env, &v->pci, e);
}

/* One virtio device on the bus, or behind the next window: the order is the devicetree's. */
static int add_virtio(struct machine *m, struct virtio_dev *dev, struct err *e)
{
	struct machine_virtio *v = &m->virtio[m->nr_virtio];
	const struct dt_virtio *where = &m->layout->virtio[m->nr_virtio];
	ipa_t notify;
	int ret;

	v->dev = dev;
	v->irq.fd = -1;
	m->nr_virtio++;
	if (m->layout->virtio_pci)
		return add_virtio_pci(m, v, e);
	notify = realm_kernel_io(&m->realm, where->base + VIRTIO_MMIO_QUEUE_NOTIFY);
	ret = gic_edge_line(&m->gic, where->spi, &v->irq, e);
	if (!ret)
		ret = virtio_mmio_new(dev, &m->bus, where->base, &v->irq.line, &v->mmio, e);
	for (unsigned int q = 0; !ret && q < virtio_dev_queues(dev); q++)
		ret = kvm_ioeventfd(&m->kvm, virtio_mmio_kick_fd(v->mmio, q), notify, q, e);
	return ret;
}

/* No request may be larger than half of the bounce pool. */
static uint32_t max_request(const struct vm_config *c)
{
	return MIN(config_bounce_pool(c) / 2, 16 * SZ_1M);
}

/*
 * Which loop serves a device: the main thread's, or one of the I/O threads. Each device with I/O
 * has a thread of its own unless --io-threads says how many there are; then queues are dealt out
 * over them in turn.
 */
static void choose_loop(struct machine *m, const struct device_host *h, struct virtio_env *env)
{
	if (!h->kind->io || !m->io.nr)
		return;
	env->loop = m->io.loop[m->next_loop % m->io.nr];
	if (m->cfg->io_threads > 0) {
		env->loops = m->io.loop;
		env->nr_loops = m->io.nr;
		env->first_loop = m->next_loop % m->io.nr;
	}
}

static unsigned int nr_io_threads(const struct machine *m)
{
	unsigned int nr = 0;

	if (m->cfg->io_threads >= 0)
		return m->cfg->io_threads;
	for (unsigned int i = 0; i < m->env->nr_hosts; i++)
		nr += m->env->host[i].kind->io;
	return MIN(nr, (unsigned int)IO_THREADS_MAX);
}

static int make_virtio(struct machine *m, struct err *e)
{
	bool realm = realm_is_realm(&m->realm);
	int ret;

	m->virtio = calloc(m->env->nr_hosts + 1, sizeof(*m->virtio));
	if (!m->virtio)
		return err_set(e, -ENOMEM, "no memory for devices");
	ret = iothreads_init(&m->io, nr_io_threads(m), e);
	for (unsigned int i = 0; i < m->env->nr_hosts && !ret; i++) {
		struct device_host *h = &m->env->host[i];
		struct virtio_env env = {
			.gm = &m->gm,
			.loop = m->env->loop,
			.realm = realm,
			.alias = m->realm.split.shared,
			.packed = m->cfg->packed,
			.max_request = realm ? max_request(m->cfg) : 0,
		};
		struct virtio_dev *dev;

		choose_loop(m, h, &env);
		ret = h->kind->make(m, h, &env, &dev, e);
		if (!ret)
			ret = add_virtio(m, dev, e);
		if (!ret && h->kind->io)
			m->next_loop += m->cfg->io_threads > 0 ?
					virtio_dev_queues(dev) : 1;
	}
	return ret;
}

/* ---- realm ----------------------------------------------------------------------------------- */

static void hook_stop(void *ctx)
{
	vcpus_stop(ctx, vcpu_self());
}

static void hook_start(void *ctx)
{
	vcpus_go(ctx);
}

static int hook_measure(void *ctx, uint8_t rim[REALM_HASH_MAX])
{
	struct machine *m = ctx;

	return m->env->measure(m->env->ctx, rim);
}

static int psci_find(void *ctx, uint64_t mpidr)
{
	struct machine *m = ctx;

	for (unsigned int i = 0; i < m->nr_vcpus; i++)
		if (layout_mpidr(i) == mpidr)
			return i;
	return -1;
}

static bool psci_is_on(void *ctx, unsigned int cpu)
{
	return atomic_load(&((struct machine *)ctx)->vcpu[cpu].on);
}

static int psci_on(void *ctx, unsigned int cpu, ipa_t entry, uint64_t arg)
{
	return vcpu_power_on(&((struct machine *)ctx)->vcpu[cpu], entry, arg);
}

static struct kvm_vcpu *hook_vcpu(void *ctx, unsigned int id)
{
	struct machine *m = ctx;

	return id < m->nr_created ? &m->vcpu[id].k : NULL;
}

static bool hook_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct machine *m = ctx;

	return m->env->progress && m->env->progress(m->env->ctx, done, total);
}

static const struct psci_ops psci = { psci_find, psci_is_on, psci_on };

static void hook_cpu_off(void *ctx, unsigned int cpu)
{
	vcpu_power_off(&((struct machine *)ctx)->vcpu[cpu]);
}

static void hook_cpu_wait(void *ctx, unsigned int cpu)
{
	vcpu_suspend(&((struct machine *)ctx)->vcpu[cpu]);
}

static void hook_system_end(void *ctx, bool reset)
{
	machine_end(ctx, reset ? END_RESET : END_POWEROFF);
}

static void hook_fatal(void *ctx, const char *why)
{
	machine_fail(ctx, "%s", why);
}

static int make_vm(struct machine *m, struct err *e)
{
	const struct vm_config *c = m->cfg;
	static const struct realm_ops *const ops[] = {
		[MODE_PLAIN] = &realm_plain,
		[MODE_EMULATED] = &realm_emulated,
		[MODE_KVM] = &realm_kvm,
	};
	int limit, ret;

	m->realm = (struct realm){
		.ops = ops[c->mode],
		.kvm = &m->kvm,
		.gm = &m->gm,
		.hooks = {
			.stop_vcpus = hook_stop,
			.start_vcpus = hook_start,
			.psci = &psci,
			.cpu_off = hook_cpu_off,
			.cpu_wait = hook_cpu_wait,
			.system_end = hook_system_end,
			.fatal = hook_fatal,
			.measure = hook_measure,
			.vcpu = hook_vcpu,
			.progress = hook_progress,
			.ctx = m,
		},
		.split = m->layout->split,
		.ram_base = c->mem_base,
		.ram_size = c->mem,
		.hugetlbfs = c->hugetlbfs,
		.share_ram = vu_host_wanted(c),
		.algo = (enum realm_hash)c->hash,
		.rpv_set = c->rpv_set,
		.strict = c->emulated_strict,
		.keys_dir = c->emulated_keys,
		.token_form = c->rmm == RIM_A + 1 ? TOKEN_RMM_1_0 : TOKEN_RMM_2_0,
		.plan = &m->layout->load.plan,
		.breakpoints = c->breakpoints,
		.watchpoints = c->watchpoints,
		.debug_exact = c->breakpoints_set || c->host_profile,
		.pmu = c->pmu,
		.best_effort = c->best_effort,
		.psci_user = c->rmi_psci_user,
		.host_want = { c->rmi_generation, c->rmi_cap },
	};
	memcpy(m->realm.rpv, c->rpv, sizeof(m->realm.rpv));
	if (m->env->assigned && m->env->assigned->nr)
		assigned_hooks(&m->realm.hooks);
	ret = realm_init(&m->realm, e);
	if (ret < 0)
		return ret;
	limit = kvm_cap_sys(&m->kvm, A64_CAP_VM_IPA_SIZE);
	if (limit && m->realm.split.bits > (unsigned int)limit)
		return err_set(e, -E2BIG, "this host's KVM has IPA spaces of at most %d bits, %u are "
			       "needed; use less memory (-m) or a smaller --ipa-bits", limit,
			       m->realm.split.bits);
	ret = m->realm.ops->create(&m->realm, e);
	if (!ret)
		ret = m->realm.ops->add_ram(&m->realm, e);
	if (!ret && m->realm.ops->configure)
		ret = m->realm.ops->configure(&m->realm, e);
	return ret;
}

static int boot_registers(struct machine *m, struct err *e)
{
	const struct plan *p = &m->layout->load.plan;
	int ret = kvm_set_reg(&m->vcpu[0].k, A64_PC, p->pc);

	for (unsigned int i = 0; i < ARRAY_SIZE(p->x) && !ret; i++)
		ret = kvm_set_reg(&m->vcpu[0].k, A64_X(i), p->x[i]);
	if (ret < 0)
		return err_set(e, ret, "vCPU 0: boot registers: %s", strerror(-ret));
	return 0;
}

static int check_windows(struct machine *m, struct err *e)
{
	/* everything with a fixed place ends where RAM begins; RAM itself: realm_init() */
	int ret = realm_check_window(&m->realm, "PCI window", MAP_PCI_MEM_BASE,
				     MAP_PCI_MEM_END - MAP_PCI_MEM_BASE, e);

	if (!ret && m->gic.its_base < MAP_VIRTIO_BASE + MAP_VIRTIO_COUNT * MAP_VIRTIO_STRIDE)
		return err_set(e, -EINVAL, "-c %u: the GIC's redistributors do not fit below %#" PRIx64,
			       m->cfg->cpus, MAP_GICD_BASE);
	return ret;
}

static const struct trace_kind launch_kind = { .cat = "launch" };

/* --trace: a step of the launch has ended. Return: when the next one begins */
static uint64_t step(const char *name, uint64_t began)
{
	trace_span(&launch_kind, name, began, NULL, 0, 0, 0);
	return trace_begin();
}

int machine_create(struct machine *m, const struct vm_config *cfg, const struct layout *l,
		   const struct machine_env *env, struct err *e)
{
	uint64_t began = trace_begin();
	pthread_condattr_t attr;
	int ret;

	memset(m, 0, sizeof(*m));
	m->cfg = cfg;
	m->layout = l;
	m->env = env;
	m->gic = l->gic;
	pthread_mutex_init(&m->park_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m->park, &attr);
	pthread_condattr_destroy(&attr);
	ret = gmem_init(&m->gm, e);
	if (ret < 0)
		return ret;
	ret = kvm_open(&m->kvm, env->sys, cfg->kvm_dev, e);
	if (ret < 0) {
		gmem_destroy(&m->gm);
		return ret;
	}
	ret = make_vm(m, e);
	if (!ret)
		ret = check_windows(m, e);
	began = step("create VM", began);
	if (!ret)
		ret = vcpus_create(m, e);
	began = step("create vCPUs", began);
	if (!ret)
		ret = leave_out_its(m, e);
	if (!ret)
		ret = gic_create(&m->gic, &m->kvm, cfg->cpus, kernel_io, &m->realm, e);
	if (!ret)
		ret = vcpus_pmu(m, e);
	if (!ret)
		ret = make_uarts(m, e);
	if (!ret)
		ret = rtc_new(&m->bus, MAP_RTC_BASE, NULL, &m->rtc, e);
	if (!ret)
		ret = make_power_button(m, e);
	if (!ret)
		ret = make_flash(m, e);
	if (!ret)
		ret = make_pci(m, e);
	if (!ret)
		ret = make_virtio(m, e);
	if (!ret)
		ret = assigned_make(m, e);
	began = step("create devices", began);
	if (!ret)
		ret = boot_registers(m, e);
	if (!ret && realm_is_realm(&m->realm) && env->launch)
		ret = env->launch(env->ctx, m, e);
	began = step("check measurement", began);
	if (!ret)
		ret = m->realm.ops->populate(&m->realm, &l->load.plan, e);
	began = step("populate", began);
	if (!ret && m->realm.ops->finalise)
		ret = m->realm.ops->finalise(&m->realm, e);
	began = step("activate", began);
	if (!ret)
		ret = assigned_start(m, e);
	step("start assigned devices", began);
	m->realm.plan = NULL;	/* the layout's, which is not needed any more */
	if (ret < 0)
		machine_destroy(m);
	return ret;
}

int machine_start(struct machine *m, struct err *e)
{
	int ret = iothreads_start(&m->io, e);

	if (!ret)
		ret = vcpus_start(m, e);
	if (ret < 0)
		machine_end(m, END_FAILED);
	return ret;
}

void machine_end(struct machine *m, enum machine_end why)
{
	int running = END_RUNNING;

	if (!atomic_compare_exchange_strong(&m->end, &running, why))
		return;
	vcpus_kick(m);
	loop_stop(m->env->loop);
}

void machine_fail(struct machine *m, const char *fmt, ...)
{
	struct err why = { .code = -EIO };
	int running = END_RUNNING;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why.msg, sizeof(why.msg), fmt, ap);
	va_end(ap);
	if (!atomic_compare_exchange_strong(&m->end, &running, END_FAILED)) {
		log_debug("%s", why.msg);
		return;
	}
	/* read by the main thread after this one was joined or has left the lock below */
	pthread_mutex_lock(&m->park_lock);
	m->failure = why;
	pthread_mutex_unlock(&m->park_lock);
	vcpus_kick(m);
	loop_stop(m->env->loop);
}

void machine_stop(struct machine *m)
{
	/*
	 * A vCPU may be in a register access that waits for the loop's thread, which is this one:
	 * serve the loop until all of them are out. The kick is repeated for the one that was
	 * between its last look and KVM_RUN.
	 */
	loop_rearm(m->env->loop);
	while (vcpus_running(m)) {
		vcpus_kick(m);
		loop_once(m->env->loop, 1);
	}
	vcpus_join(m);
	assigned_stop(m);
	iothreads_stop(&m->io);
	for (unsigned int i = 0; i < m->nr_virtio; i++)
		virtio_dev_stop(m->virtio[i].dev);
}

void machine_destroy(struct machine *m)
{
	assigned_free(m);
	for (unsigned int i = m->nr_virtio; i-- > 0;) {
		if (m->virtio[i].mmio)
			virtio_mmio_free(m->virtio[i].mmio);
		if (m->virtio[i].pci)
			virtio_pci_free(m->virtio[i].pci);
		virtio_dev_free(m->virtio[i].dev);
		gic_edge_free(&m->virtio[i].irq);
	}
	free(m->virtio);
	m->virtio = NULL;
	m->nr_virtio = 0;
	m->console = NULL;
	pci_host_destroy(&m->pci);
	msi_destroy(&m->msi);
	iothreads_destroy(&m->io);
	if (m->flash)
		flash_free(m->flash);
	if (m->gpio)
		pl061_free(m->gpio);
	if (m->rtc)
		rtc_free(m->rtc);
	for (unsigned int n = 0; n < MAP_UART_COUNT; n++)
		if (m->uart[n].uart)
			uart_free(m->uart[n].uart);
	vcpus_destroy(m);
	if (m->gic.kvm)
		gic_destroy(&m->gic);
	if (m->realm.ops)
		realm_destroy(&m->realm);
	kvm_close(&m->kvm);
	gmem_destroy(&m->gm);
	pthread_cond_destroy(&m->park);
	pthread_mutex_destroy(&m->park_lock);
}

void machine_log_stats(struct machine *m)
{
	static const struct {
		unsigned int reason;
		const char *name;
	} shown[] = {
		{ KVM_EXIT_MMIO, "mmio" }, { KVM_EXIT_HYPERCALL, "hypercall" },
		{ KVM_EXIT_ARM_NISV, "nisv" }, { KVM_EXIT_INTR, "signal" },
		{ KVM_EXIT_DEBUG, "debug" }, { KVM_EXIT_SYSTEM_EVENT, "system-event" },
		{ KVM_EXIT_MEMORY_FAULT, "memory-fault" },
	};
	char line[256];
	int n = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(shown); i++) {
		uint64_t sum = 0;

		for (unsigned int v = 0; v < m->nr_vcpus; v++)
			sum += m->vcpu[v].exits[shown[i].reason];
		n += snprintf(line + n, sizeof(line) - n, " %s=%" PRIu64, shown[i].name, sum);
	}
	log_debug("exits to user space:%s", line);
	if (realm_is_realm(&m->realm))
		log_debug("realm: rsi-calls=%" PRIu64 " to-shared=%" PRIu64 " (%" PRIu64 " KiB) "
			  "to-private=%" PRIu64 " (%" PRIu64 " KiB)", m->realm.stat.rsi_calls,
			  m->realm.stat.to_shared, m->realm.stat.bytes_shared / 1024,
			  m->realm.stat.to_private, m->realm.stat.bytes_private / 1024);
	assigned_log_stats(m);
}
