// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "realm/host.h"
#include "realm/report.h"
#include "virtio/virtio.h"
#include "vmm/assigned.h"
#include "vmm/board/flash.h"
#include "vmm/cmdline.h"
#include "vmm/core/log.h"
#include "vmm/core/trace.h"
#include "vmm/devices.h"
#include "vmm/helper.h"
#include "vmm/predict.h"

/* #syscalls main: read signalfd4 close */

#define HINT_SECONDS	10
#define PROGRESS_NSEC	NSEC_PER_SEC	/* a population that takes longer is shown */
#define SILENT_RESETS	3
#define NSEC_PER_SEC	UINT64_C(1000000000)

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* ---- files ----------------------------------------------------------------------------------- */

static void close_files(struct session *s)
{
	loader_close(&s->files);
	devices_close(s->host, s->nr_hosts);
	if (s->flash_fd >= 0)
		close(s->flash_fd);
}

static int open_files(struct session *s, struct err *e)
{
	const struct vm_config *c = s->cfg;
	struct stat st;
	int ret;

	s->flash_fd = -1;
	s->files = (struct loader_files){
		.kernel = -1, .initrd = -1, .firmware = -1, .dtb = -1,
		.kernel_path = c->kernel,
		.initrd_path = c->initrd,
		.firmware_path = c->firmware,
		.dtb_path = c->dtb,
	};
	ret = loader_open(&s->files, e);
	if (!ret)
		ret = devices_open(c, &s->host, &s->nr_hosts, e);
	for (unsigned int i = 0; !ret && i < s->nr_hosts; i++)
		if (s->host[i].kind == &device_pmem)
			s->files.pmem_size[s->host[i].index] = pmem_size(&s->host[i]);
	if (!ret && c->flash) {
		s->flash_fd = flash_open(c->flash, false, e);
		ret = MIN(s->flash_fd, 0);
		if (!ret && fstat(s->flash_fd, &st) == 0)
			s->flash_bytes = st.st_size;
	}
	if (ret < 0)
		close_files(s);
	return ret;
}

/* ---- terminals ------------------------------------------------------------------------------- */

static bool is_virtio(const struct session *s, unsigned int n)
{
	return n == 0 && s->cfg->console == CONSOLE_VIRTIO;
}

size_t session_input(struct session *s, unsigned int n, const void *buf, size_t len)
{
	struct machine *m = s->m;

	if (!m)
		return 0;	/* between two boots: kept */
	if (is_virtio(s, n))
		return virtio_console_input(m->console, buf, len);
	return uart_input(m->uart[n].uart, buf, len);
}

static size_t term_input(void *ctx, const void *buf, size_t len)
{
	struct session_term *t = ctx;

	return session_input(t->s, t->n, buf, len);
}

static void term_resize(void *ctx, uint16_t cols, uint16_t rows)
{
	struct session_term *t = ctx;

	if (t->s->m && is_virtio(t->s, t->n))
		virtio_console_resize(t->s->m->console, cols, rows);
}

static void term_leave(void *ctx)
{
	struct session_term *t = ctx;

	if (t->s->m)
		machine_end(t->s->m, END_LEAVE);
	else
		t->s->left = true;
}

static void term_writable(void *ctx)
{
	struct session_term *t = ctx;
	struct machine *m = t->s->m;

	if (!m)
		return;
	if (is_virtio(t->s, t->n))
		virtio_console_writable(m->console);
	uart_writable(m->uart[t->n].uart);
}

static size_t console_out(void *ctx, unsigned int n, const void *buf, size_t len)
{
	struct session *s = ctx;

	if (s->term[n].term)
		len = term_write(s->term[n].term, buf, len);
	if (n == 0) {
		control_output(s->ctl.control, buf, len);
		ready_output(s->ready, buf, len);
	}
	return len;
}

static void input_room(void *ctx, unsigned int n)
{
	struct session *s = ctx;

	if (s->term[n].term)
		term_input_ready(s->term[n].term);
	if (n == 0)
		control_input_ready(s->ctl.control);
}

static int open_terms(struct session *s, struct err *e)
{
	int ret = 0;

	for (unsigned int n = 0; n < TERM_MAX && !ret; n++) {
		struct session_term *t = &s->term[n];
		struct term_client c = {
			.input = term_input,
			.resize = term_resize,
			.leave = term_leave,
			.writable = term_writable,
			.ctx = t,
		};

		t->s = s;
		t->n = n;
		if (s->cfg->tty_mask & 1U << n)
			ret = term_open_pty(&s->loop, &c, NULL, &t->term, e);
		else if (n == 0)
			ret = term_open_stdio(&s->loop, &c, &t->term, e);
	}
	return ret;
}

static void close_terms(struct session *s)
{
	for (unsigned int n = 0; n < TERM_MAX; n++) {
		if (!s->term[n].term)
			continue;
		term_flush(s->term[n].term, 1000);
		term_close(s->term[n].term);
		s->term[n].term = NULL;
	}
}

/* ---- events ---------------------------------------------------------------------------------- */

static void on_signal(struct loop_src *src, uint32_t events)
{
	struct session *s = container_of(src, struct session, sig);
	struct signalfd_siginfo si;

	(void)events;
	while (read(src->fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGUSR1) {
			if (s->m)
				disks_resize(s->m);
			continue;
		}
		session_stop(s, si.ssi_signo, si.ssi_signo != SIGTERM || s->stop.signal);
	}
}

static int open_signals(struct session *s, sigset_t *old, struct err *e)
{
	sigset_t set;
	int ret;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);	/* a write beyond RLIMIT_FSIZE is an error of the disk */
	s->sig.fn = on_signal;
	s->sig.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->sig.fd < 0)
		return err_set(e, -errno, "signalfd: %s", strerror(errno));
	ret = loop_add(&s->loop, &s->sig, EPOLLIN);
	if (ret < 0)
		return err_set(e, ret, "signals: %s", strerror(-ret));
	sigprocmask(SIG_BLOCK, &set, old);
	return 0;
}

static void on_hint(struct loop_timer *t)
{
	struct session *s = container_of(t, struct session, hint);
	struct ipa_split split;
	char earlycon[64];

	if (!s->m || !s->term[0].term || term_bytes_out(s->term[0].term))
		return;
	split = s->m->realm.split;
	if (s->cfg->firmware) {
		log_warning("no byte on the guest's console for %d s. Does this firmware fit the machine%s "
			    "and the RAM (-m; %" PRIu64 " MiB here)?", HINT_SECONDS,
			    split.shared ? ", does it know realms," : "", s->cfg->mem / SZ_1M);
		return;
	}
	cmdline_earlycon(&split, earlycon);
	log_warning("no byte on the guest's console for %d s. Try -p \"%s\", look at console= (%s here) "
		    "and at the RAM (-m; %" PRIu64 " MiB here%s)", HINT_SECONDS, earlycon,
		    s->cfg->console == CONSOLE_VIRTIO ? "hvc0" : "ttyS0", s->cfg->mem / SZ_1M,
		    split.shared ? ", 64 of them for swiotlb" : "");
}

/* ---- boots ----------------------------------------------------------------------------------- */

/*
 * The measurement of what is about to be launched, for whoever wants to know: it is said, and
 * compared with what was expected. @m: a KVM realm's machine, because it depends on the host
 */
static int check_rim(struct session *s, const struct layout *l, struct machine *m,
		     struct err *e)
{
	char text[REPORT_HEX_MAX], base64[REPORT_B64_MAX];
	struct measurement x;
	int ret;

	if (!s->cfg->expect_rim && !log_enabled(LOG_INFO))
		return 0;
	ret = m ? predict_launch(s->cfg, l, m, &x, e) : predict(s->cfg, l, NULL, &x, e);
	if (ret < 0) {
		if (s->cfg->expect_rim)
			return err_prefix(e, "option --expect-rim");
		log_info("%s", e->msg);
		return 0;
	}
	ctl_vm_rim(s, &x);
	report_hex(&x.rim, text);
	report_base64(&x.rim, base64);
	log_info("predicted RIM (dialect %s, %s): %s, base64 %s", rim_dialect_name(x.params.dialect),
		 realm_hash_name(x.params.algo), text, base64);
	return predict_expect(s->cfg, &x, e);
}

/* The vCPUs of a KVM realm exist, the RMM knows nothing of it yet. */
static int launch(void *ctx, struct machine *m, struct err *e)
{
	struct session *s = ctx;
	int ret;

	if (s->cfg->mode != MODE_KVM || (!s->first && !s->cfg->expect_rim))
		return 0;
	ret = predict_check_host(s->cfg, m, e);
	if (!ret)
		ret = check_rim(s, m->layout, m, e);
	if (ret == -EKEYREJECTED && m->realm.breakpoints != s->cfg->breakpoints)
		err_prefix(e, "a guest of this host has %u breakpoints (was that measured?)",
			   m->realm.breakpoints);
	return ret;
}

static const struct trace_kind life_kind = { .cat = "vm" };
static const struct trace_kind end_kind = { .cat = "vm", .text = "reason" };

static int make_layout(struct session *s, struct layout *l, bool first, struct err *e)
{
	uint64_t began = trace_begin();
	int ret = layout_make(s->cfg, &s->files, s->flash_bytes, l, e);

	trace_span(&life_kind, "layout", began, NULL, 0, 0, 0);
	if (ret < 0)
		return ret;
	if (first)
		log_info("%s, %u-bit IPA space, kernel command line: \"%s\"", l->load.kind,
			 l->split.bits, l->cmdline);
	if (first && s->cfg->dump_dtb)
		ret = layout_dump_dtb(s->cfg, l, e);
	/* before anything is made of it; files may have been rewritten since the boot before */
	if (!ret && s->cfg->mode == MODE_EMULATED && (first || s->cfg->expect_rim))
		ret = check_rim(s, l, NULL, e);
	if (ret < 0)
		layout_free(l);
	return ret;
}

/*
 * The measurement of this launch, from the files that are still open. Done when the guest asks,
 * on its vCPU's thread: a guest that never asks pays nothing. A file that was rewritten in place
 * since the launch gives another value; that it was rewritten cannot be seen from here.
 */
int session_measure(struct session *s, struct measurement *m, struct err *e)
{
	struct layout l;
	int ret;

	ret = layout_make(s->cfg, &s->files, s->flash_bytes, &l, e);
	if (ret < 0)
		return ret;
	if (s->cfg->mode == MODE_KVM)
		ret = predict_launch(s->cfg, &l, &s->machine, m, e);
	else
		ret = predict(s->cfg, &l, NULL, m, e);
	layout_free(&l);
	if (!ret)
		ctl_vm_rim(s, m);
	return ret;
}

static int measure(void *ctx, uint8_t rim[REALM_HASH_MAX])
{
	struct measurement m;
	struct err e;
	int ret = session_measure(ctx, &m, &e);

	if (ret < 0) {
		log_error("the guest's measurement cannot be computed: %s", e.msg);
		return ret;
	}
	memcpy(rim, m.rim.value, REALM_HASH_MAX);
	return 0;
}

/*
 * A realm is populated granule by granule through the RMM, which can take a while. Nothing else
 * serves the terminal and signals meanwhile.
 */
static bool progress(void *ctx, uint64_t done, uint64_t total)
{
	struct session *s = ctx;

	loop_once(&s->loop, 0);
	if (s->signal || s->left)
		return true;
	if (done < total && now_ns() - s->populate_ns > PROGRESS_NSEC)
		log_status("realm: %" PRIu64 " of %" PRIu64 " MiB populated", done / SZ_1M,
			   (total + SZ_1M - 1) / SZ_1M);
	return false;
}

static int make_machine(struct session *s, bool first, struct err *e)
{
	struct layout l;
	int ret;

	s->first = first;
	ret = make_layout(s, &l, first, e);
	if (ret < 0)
		return ret;
	s->populate_ns = now_ns();
	ret = machine_create(&s->machine, s->cfg, &l, &s->env, e);
	trace_span(&life_kind, "create machine", trace_on() ? s->populate_ns : 0, NULL, 0, 0, 0);
	log_status(NULL);
	/* The image is in the guest's memory: its copies here are not needed any more. */
	layout_free(&l);
	s->machine.layout = NULL;
	return ret;
}

static const char *end_name(int why)
{
	switch (why) {
	case END_POWEROFF: return "power-off";
	case END_RESET: return "reset";
	case END_FAILED: return "failure";
	default: return "asked for";
	}
}

/* Return: the end's reason (enum machine_end), or a negative errno. */
static int boot(struct session *s, bool first, struct err *e)
{
	uint64_t begin = now_ns(), ran, ended;
	int ret;

	loop_rearm(&s->loop);
	ret = make_machine(s, first, e);
	if (ret < 0)
		return ret;
	s->m = &s->machine;
	ran = now_ns();
	if (first && s->cfg->gdb)
		ret = session_gdb_start(s, e);
	else if (s->gdb)
		gdb_on_reset(s->gdb);
	if (!ret)
		ret = machine_start(s->m, e);
	if (!ret) {
		/* input and window size may have waited for a machine */
		for (unsigned int n = 0; n < TERM_MAX; n++) {
			uint16_t cols, rows;

			if (!s->term[n].term)
				continue;
			if (term_size(s->term[n].term, &cols, &rows))
				term_resize(&s->term[n], cols, rows);
			term_input_ready(s->term[n].term);
		}
		ctl_vm_boot(s);
		ready_boot(s->ready);
		loop_timer_set(&s->hint, HINT_SECONDS * NSEC_PER_SEC);
		ret = loop_run(&s->loop);
		if (ret < 0)
			err_set(e, ret, "event loop: %s", strerror(-ret));
	}
	trace_span(&life_kind, "run", trace_on() ? ran : 0, NULL, 0, 0, 0);
	machine_end(s->m, END_LEAVE);
	ended = trace_begin();
	loop_timer_set(&s->hint, 0);
	machine_stop(s->m);
	if (!ret) {
		ret = atomic_load(&s->m->end);
		if (ret == END_FAILED) {
			*e = s->m->failure;
			ret = e->code ? e->code : -EIO;
		}
	}
	log_debug("first KVM_RUN %" PRIu64 " us after the machine's construction began",
		  s->m->first_run_ns > begin ? (s->m->first_run_ns - begin) / 1000 : 0);
	machine_log_stats(s->m);
	s->end = atomic_load(&s->m->end);
	ctl_vm_stop(s);
	s->m = NULL;
	machine_destroy(&s->machine);
	trace_span(&life_kind, "tear down", ended, NULL, 0, 0, 0);
	trace_mark(&end_kind, "end", end_name(s->end), 0, 0, 0);
	return ret;
}

static int boots(struct session *s, struct err *e)
{
	bool first = true;
	int ret;

	for (;;) {
		uint64_t before = s->term[0].term ? term_bytes_out(s->term[0].term) : 0;

		ret = boot(s, first, e);
		if (ret != END_RESET || s->cfg->no_reboot || s->cfg->lkvm || s->signal ||
		    s->stop.asked || s->left)
			break;
		first = false;
		if (!s->term[0].term || term_bytes_out(s->term[0].term) == before)
			s->silent_resets++;
		else
			s->silent_resets = 0;
		if (s->silent_resets == SILENT_RESETS)
			return err_set(e, -ELOOP, "the guest reset itself %d times without a byte on its "
				       "console; look at kernel, -p and -m, or use --no-reboot", SILENT_RESETS);
		log_info("the guest resets; starting it again");
		trace_mark(&life_kind, "reset", NULL, 0, 0, 0);
	}
	if (ret < 0 && !(ret == -EINTR && (s->signal || s->left)))
		return ret;
	if (s->signal)
		return 128 + s->signal;
	if (s->cfg->lkvm)
		log_info("KVM session ended normally.");
	return 0;
}

#ifndef __aarch64__
/* Everywhere but on arm64: the devicetree can be made, a guest cannot run. */
static int without_kvm(struct session *s, struct err *e)
{
	struct layout l;
	int ret;

	if (!s->cfg->dump_dtb)
		return err_set(e, -ENOSYS, "this machine is not arm64 and cannot run the guest; `make run` "
			       "boots it in the test bed (QEMU), `make ARCH=arm64` builds for a host that can");
	ret = make_layout(s, &l, true, e);
	if (ret < 0)
		return ret;
	layout_free(&l);
	log_warning("%s is written; nothing was run, because this machine is not arm64",
		    s->cfg->dump_dtb);
	return 0;
}
#endif

/*
 * Each queue of a device needs a few descriptors, a 9p server one per file that the guest has open,
 * and the usual soft limit is 1024 for the sake of select(), which nobody here uses.
 */
static void raise_file_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

int session_run(const struct vm_config *c, const struct kvm_sys *sys, struct err *e)
{
	struct session s = {
		.cfg = c,
		.sig.fd = -1,
		.hint.src.fd = -1,
		.notify.fd = -1,
		.stop = { .release.src.fd = -1, .force.src.fd = -1, .watchdog.src.fd = -1 },
	};
	sigset_t old;
	int ret;

	raise_file_limit();
	helpers_defer();
	ret = net_fds_given(c, e);
	if (!ret && c->trace)
		ret = trace_prepare(c->trace, c->name, e);
	if (ret < 0)
		return ret;
	ret = open_files(&s, e);
	if (ret < 0)
		goto out_trace;
#ifndef __aarch64__
	if (!sys) {
		ret = without_kvm(&s, e);
		goto out_files;
	}
#endif
	s.env = (struct machine_env){
		.loop = &s.loop,
		.sys = sys,
		.host = s.host,
		.nr_hosts = s.nr_hosts,
		.assigned = &s.assigned,
		.flash_fd = s.flash_fd,
		.out = console_out,
		.input_room = input_room,
		.measure = measure,
		.launch = launch,
		.progress = progress,
		.on_debug = c->gdb ? session_on_debug : NULL,
		.ctx = &s,
	};
	sigprocmask(SIG_SETMASK, NULL, &old);
	ret = loop_init(&s.loop, e);
	if (ret < 0)
		goto out_files;
	ret = loop_timer_add(&s.loop, &s.hint, on_hint);
	if (ret < 0)
		err_set(e, ret, "timer: %s", strerror(-ret));
	if (!ret)
		ret = open_signals(&s, &old, e);
	if (!ret)
		ret = session_notify_open(&s, e);
	if (!ret)
		ret = ctl_vm_open(&s, e);
	if (!ret)
		ret = assigned_open(c, NULL, &s.assigned, e);
	if (!ret)
		ret = open_terms(&s, e);
	if (!ret)
		ret = devices_start(c, s.host, s.nr_hosts, e);
	if (!ret && c->gdb)
		ret = gdb_listen(&s.loop, c->gdb, &s.gdb, e);
	if (!ret)
		ret = session_lock_in(&s, e);
	if (!ret)
		ret = boots(&s, e);
	ctl_vm_close(&s, ret);
	gdb_close(s.gdb, ret < 0 ? 1 : ret);
	assigned_close(&s.assigned);
	session_notify_close(&s, ret, e);
	close_terms(&s);
	if (s.sig.fd >= 0) {
		loop_del(&s.loop, &s.sig);
		close(s.sig.fd);
	}
	loop_timer_del(&s.loop, &s.hint);
	loop_destroy(&s.loop);
	sigprocmask(SIG_SETMASK, &old, NULL);
out_files:
	close_files(&s);
	session_let_out();
out_trace:
	trace_close();
	return ret;
}
