// SPDX-License-Identifier: BSD-3-Clause
/*
 * The filters are programs of classic BPF: a binary search for the number of the call, then a look
 * at one of its arguments. That is looked at as 32 bits, because the kernel takes no more of it
 * (ioctl, fcntl, prctl, madvise, socket, seccomp, tgkill: int) or nothing above is defined (mmap
 * and mprotect: PROT_*; clone: flags). Libraries that write filters order the values of an argument
 * by themselves; KVM_RUN, which a vCPU's thread asks for on each entry to the guest, comes first
 * here.
 *
 * A forbidden call is a SIGSYS of the thread that made it (SECCOMP_RET_TRAP), so that we can say
 * which it was. To audit, the handler makes the call in the thread's place, from the one address
 * from which the filters let all pass.
 *
 * What the handler and thread_start() need themselves:
 * #syscalls all: write exit_group getpid getpgid getpgrp ioctl=TIOCGPGRP|TCSETS tgkill@pid
 * #syscalls all: seccomp=SECCOMP_SET_MODE_FILTER
 */
#include "vmm/core/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"

#if defined(__x86_64__)
#define ARCH		AUDIT_ARCH_X86_64
#define FIRST_X32	0x40000000u	/* __X32_SYSCALL_BIT: another table of numbers */
#elif defined(__aarch64__)
#define ARCH		AUDIT_ARCH_AARCH64
#endif

#ifndef SYS_SECCOMP
#define SYS_SECCOMP	1		/* si_code, <asm-generic/siginfo.h> */
#endif

static struct {
	struct seccomp_table table;
	struct seccomp_cfg cfg;
	struct sock_fprog prog[THREAD_KINDS];
	bool active;
} self;

/* ---- the programs ---------------------------------------------------------------------------- */

struct code {
	struct sock_filter insn[BPF_MAXINSNS];
	size_t n;
};

static void emit(struct code *c, uint16_t op, uint32_t k, uint8_t jt, uint8_t jf)
{
	if (c->n < BPF_MAXINSNS)
		c->insn[c->n] = (struct sock_filter){ op, jt, jf, k };
	c->n++;
}

static void load(struct code *c, size_t off)
{
	emit(c, BPF_LD | BPF_W | BPF_ABS, off, 0, 0);
}

static void load_arg(struct code *c, unsigned int arg)
{
	/* the lower half; both machines are little endian */
	load(c, offsetof(struct seccomp_data, args) + 8 * arg);
}

static void ret(struct code *c, uint32_t what)
{
	emit(c, BPF_RET | BPF_K, what, 0, 0);
}

/* Return @what if the accumulator is @k. */
static void ret_if(struct code *c, uint32_t k, uint32_t what)
{
	emit(c, BPF_JMP | BPF_JEQ | BPF_K, k, 0, 1);
	ret(c, what);
}

/* What happens to a call that no rule names. */
static uint32_t refusal(unsigned int nr)
{
	/* These give the caller a stack or a process: nobody can make them in its place. */
	if (self.cfg.mode == SECCOMP_AUDIT &&
	    (nr == SYS_clone || nr == SYS_clone3 || nr == SYS_execve || nr == SYS_execveat
#ifdef SYS_vfork
	     || nr == SYS_vfork
#endif
	    ))
		return SECCOMP_RET_LOG;
	return SECCOMP_RET_TRAP;
}

/* The rules @r[0] to @r[@n - 1] are of one call. */
static void emit_call(struct code *c, const struct seccomp_rule **r, size_t n, bool extra)
{
	uint32_t otherwise = refusal(r[0]->nr);

	for (size_t i = 0; i < n; i++)
		if (r[i]->op == SECCOMP_ANY)
			return ret(c, SECCOMP_RET_ALLOW);
	if (extra && r[0]->nr == SYS_ioctl) {
		load_arg(c, 1);
		ret_if(c, self.cfg.extra, SECCOMP_RET_ALLOW);
	}
	for (size_t i = 0; i < n; i++) {
		switch (r[i]->op) {
		case SECCOMP_EQUAL:
			if (!i || r[i - 1]->op != SECCOMP_EQUAL || r[i - 1]->arg != r[i]->arg)
				load_arg(c, r[i]->arg);
			ret_if(c, r[i]->value, SECCOMP_RET_ALLOW);
			break;
		case SECCOMP_NONE_OF:
			load_arg(c, r[i]->arg);
			emit(c, BPF_JMP | BPF_JSET | BPF_K, r[i]->value, 1, 0);
			ret(c, SECCOMP_RET_ALLOW);
			break;
		case SECCOMP_ALL_OF:
			load_arg(c, r[i]->arg);
			emit(c, BPF_ALU | BPF_AND | BPF_K, r[i]->value, 0, 0);
			ret_if(c, r[i]->value, SECCOMP_RET_ALLOW);
			break;
		case SECCOMP_PID:
			load_arg(c, r[i]->arg);
			ret_if(c, getpid(), SECCOMP_RET_ALLOW);
			break;
		case SECCOMP_ERRNO:
			otherwise = SECCOMP_RET_ERRNO | (r[i]->value & SECCOMP_RET_DATA);
			break;
		case SECCOMP_ANY:
			break;
		}
	}
	ret(c, otherwise);
}

/* The accumulator has the number. @first: index of each call's first rule, and of the end */
static void emit_search(struct code *c, const struct seccomp_rule **r, const size_t *first,
			size_t lo, size_t hi, bool extra)
{
	size_t mid = (lo + hi) / 2, jump;

	if (hi - lo == 1) {
		unsigned int nr = r[first[lo]]->nr;

		emit(c, BPF_JMP | BPF_JEQ | BPF_K, nr, 1, 0);
		ret(c, SECCOMP_RET_TRAP);
		emit_call(c, r + first[lo], first[hi] - first[lo], extra);
		return;
	}
	/* conditional jumps reach 255 instructions, this one any distance */
	emit(c, BPF_JMP | BPF_JGE | BPF_K, r[first[mid]]->nr, 0, 1);
	jump = c->n;
	emit(c, BPF_JMP | BPF_JA, 0, 0, 0);
	emit_search(c, r, first, lo, mid, extra);
	if (jump < BPF_MAXINSNS)
		c->insn[jump].k = c->n - jump - 1;
	emit_search(c, r, first, mid, hi, extra);
}

extern const char seccomp_raw_return[];

static void emit_prologue(struct code *c, enum thread_kind kind)
{
	uintptr_t here = (uintptr_t)seccomp_raw_return;

	load(c, offsetof(struct seccomp_data, arch));
	emit(c, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	ret(c, SECCOMP_RET_KILL_PROCESS);
	if (self.cfg.mode == SECCOMP_AUDIT) {
		load(c, offsetof(struct seccomp_data, instruction_pointer));
		emit(c, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)here, 0, 3);
		load(c, offsetof(struct seccomp_data, instruction_pointer) + 4);
		ret_if(c, here >> 32, SECCOMP_RET_ALLOW);
	}
	load(c, offsetof(struct seccomp_data, nr));
#ifdef FIRST_X32
	emit(c, BPF_JMP | BPF_JGE | BPF_K, FIRST_X32, 0, 1);
	ret(c, SECCOMP_RET_KILL_PROCESS);
#endif
	if (self.cfg.often && (kind == THREAD_MAIN || kind == THREAD_VCPU)) {
		emit(c, BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 4);
		load_arg(c, 1);
		ret_if(c, self.cfg.often, SECCOMP_RET_ALLOW);
		load(c, offsetof(struct seccomp_data, nr));
	}
}

/* By number; what looks at one argument together, as they were written. */
static int by_number(const void *a, const void *b)
{
	const struct seccomp_rule *x = *(const struct seccomp_rule *const *)a;
	const struct seccomp_rule *y = *(const struct seccomp_rule *const *)b;

	if (x->nr != y->nr)
		return x->nr < y->nr ? -1 : 1;
	if (x->op != y->op)
		return x->op < y->op ? -1 : 1;
	if (x->arg != y->arg)
		return x->arg < y->arg ? -1 : 1;
	return x->value < y->value ? -1 : x->value > y->value;
}

static int build(enum thread_kind kind, struct err *e)
{
	const struct seccomp_table *t = &self.table;
	const struct seccomp_rule **r = calloc(t->nr_rules + 1, sizeof(*r));
	size_t *first = calloc(t->nr_rules + 1, sizeof(*first));
	struct code *c = calloc(1, sizeof(*c));
	struct sock_filter *insn;
	size_t n = 0, kept = 0, calls = 0;
	int result = -ENOMEM;

	if (!r || !first || !c)
		goto out;
	for (size_t i = 0; i < t->nr_rules; i++)
		if ((t->rule[i].kinds >> kind & 1) &&
		    (!t->rule[i].groups || (t->rule[i].groups & self.cfg.groups)))
			r[n++] = &t->rule[i];
	qsort(r, n, sizeof(*r), by_number);
	for (size_t i = 0; i < n; i++) {
		if (kept && !by_number(&r[kept - 1], &r[i]))
			continue;		/* two files say it */
		if (!kept || r[kept - 1]->nr != r[i]->nr)
			first[calls++] = kept;
		r[kept++] = r[i];
	}
	first[calls] = kept;
	emit_prologue(c, kind);
	if (calls)
		emit_search(c, r, first, 0, calls, self.cfg.extra && kind == THREAD_MAIN);
	else
		ret(c, SECCOMP_RET_TRAP);
	result = -E2BIG;
	if (c->n > BPF_MAXINSNS)
		goto out;
	result = -ENOMEM;
	insn = malloc(c->n * sizeof(*insn));
	if (!insn)
		goto out;
	memcpy(insn, c->insn, c->n * sizeof(*insn));
	free(self.prog[kind].filter);
	self.prog[kind] = (struct sock_fprog){ c->n, insn };
	result = 0;
out:
	free(c);
	free(first);
	free(r);
	if (result < 0)
		err_set(e, result, "sandbox: filter of system calls: %s", strerror(-result));
	return result;
}

/* ---- a forbidden call ------------------------------------------------------------------------ */

/*
 * long seccomp_raw(long nr, const long arg[6]): the kernel's answer, errors negative. The address
 * behind the instruction is what the kernel shows a filter.
 */
long seccomp_raw(long nr, const long *arg);
#if defined(__x86_64__)
__asm__(".pushsection .text.seccomp_raw, \"ax\", @progbits\n"
	".globl seccomp_raw, seccomp_raw_return\n"
	".hidden seccomp_raw, seccomp_raw_return\n"
	".type seccomp_raw, @function\n"
	"seccomp_raw:\n"
	"	endbr64\n"
	"	movq	%rdi, %rax\n"
	"	movq	%rsi, %rcx\n"
	"	movq	(%rcx), %rdi\n"
	"	movq	8(%rcx), %rsi\n"
	"	movq	16(%rcx), %rdx\n"
	"	movq	24(%rcx), %r10\n"
	"	movq	32(%rcx), %r8\n"
	"	movq	40(%rcx), %r9\n"
	"	syscall\n"
	"seccomp_raw_return:\n"
	"	ret\n"
	".size seccomp_raw, .-seccomp_raw\n"
	".popsection\n");
#elif defined(__aarch64__)
__asm__(".pushsection .text.seccomp_raw, \"ax\", %progbits\n"
	".globl seccomp_raw, seccomp_raw_return\n"
	".hidden seccomp_raw, seccomp_raw_return\n"
	".type seccomp_raw, %function\n"
	"seccomp_raw:\n"
	"	hint	#34\n"		/* bti c */
	"	mov	x8, x0\n"
	"	mov	x9, x1\n"
	"	ldp	x0, x1, [x9]\n"
	"	ldp	x2, x3, [x9, #16]\n"
	"	ldp	x4, x5, [x9, #32]\n"
	"	svc	#0\n"
	"seccomp_raw_return:\n"
	"	ret\n"
	".size seccomp_raw, .-seccomp_raw\n"
	".popsection\n");
#endif

static void get_args(const ucontext_t *uc, long arg[6])
{
#if defined(__x86_64__)
	static const int reg[6] = { REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9 };

	for (int i = 0; i < 6; i++)
		arg[i] = uc->uc_mcontext.gregs[reg[i]];
#elif defined(__aarch64__)
	for (int i = 0; i < 6; i++)
		arg[i] = uc->uc_mcontext.regs[i];
#endif
}

static void set_result(ucontext_t *uc, long value)
{
#if defined(__x86_64__)
	uc->uc_mcontext.gregs[REG_RAX] = value;
#elif defined(__aarch64__)
	uc->uc_mcontext.regs[0] = value;
#endif
}

/* A line that is put together with nothing but memory: it is for a signal handler. */
struct line {
	char text[320];
	size_t len;
};

static void put(struct line *l, const char *text)
{
	while (*text && l->len < sizeof(l->text) - 1)
		l->text[l->len++] = *text++;
	l->text[l->len] = '\0';
}

static void put_number(struct line *l, uint64_t n, unsigned int base)
{
	char buf[24], *p = buf + sizeof(buf) - 1;

	*p = '\0';
	do
		*--p = "0123456789abcdef"[n % base];
	while (n /= base);
	if (base == 16) {
		*--p = 'x';
		*--p = '0';
	}
	put(l, p);
}

static void describe(struct line *l, unsigned int nr, const long arg[6])
{
	const struct seccomp_rule *shown = NULL;
	const char *text = NULL;

	for (size_t i = 0; i < self.table.nr_names; i++)
		if (self.table.name[i].nr == nr)
			text = self.table.name[i].name;
	put(l, text ? text : "unknown");
	put(l, " (number ");
	put_number(l, nr, 10);
	put(l, ")");
	/* the argument by which this call is judged, with its name if some thread may give it */
	text = NULL;
	for (size_t i = 0; i < self.table.nr_rules; i++) {
		const struct seccomp_rule *r = &self.table.rule[i];

		if (r->nr != nr || r->op == SECCOMP_ANY || r->op == SECCOMP_ERRNO)
			continue;
		shown = r;
		if (r->op == SECCOMP_EQUAL && r->value == (uint32_t)arg[r->arg])
			text = r->text;
	}
	if (shown) {
		put(l, ", argument ");
		put_number(l, shown->arg + 1, 10);
		put(l, ": ");
		put_number(l, (uint32_t)arg[shown->arg], 16);
		if (text) {
			put(l, " ");
			put(l, text);
		}
	}
	put(l, ", by a thread of kind ");
	put(l, thread_kind_name(thread_kind()));
}

/* To audit: each call is named once. */
static bool seen_before(unsigned int nr, const long arg[6])
{
	static _Atomic uint64_t seen[256];
	uint64_t what = 1, none;

	for (size_t i = 0; i < self.table.nr_rules && what == 1; i++)
		if (self.table.rule[i].nr == nr && self.table.rule[i].op == SECCOMP_EQUAL)
			what = (uint32_t)arg[self.table.rule[i].arg];
	what = what << 16 | (uint64_t)nr << 4 | thread_kind() << 1 | 1;
	for (size_t i = 0; i < ARRAY_SIZE(seen); i++) {
		none = 0;
		if (atomic_compare_exchange_strong(&seen[i], &none, what))
			return false;
		if (none == what)
			return true;
	}
	return true;		/* enough has been said */
}

static void on_forbidden(int sig, siginfo_t *info, void *context)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	struct line l = { .len = 0 };
	int saved_errno = errno;
	long arg[6];

	if (info->si_code != SYS_SECCOMP) {	/* somebody sent it */
		if (self.cfg.last_wish)
			self.cfg.last_wish();
		sigaction(sig, &dfl, NULL);
		raise(sig);
		return;
	}
	get_args(context, arg);
	if (self.cfg.mode == SECCOMP_AUDIT) {
		if (!seen_before(info->si_syscall, arg)) {
			put(&l, "sandbox: forbidden system call ");
			describe(&l, info->si_syscall, arg);
			log_signal(false, l.text);
		}
		set_result(context, seccomp_raw(info->si_syscall, arg));
		errno = saved_errno;
		return;
	}
	if (self.cfg.last_wish)
		self.cfg.last_wish();
	put(&l, "sandbox: forbidden system call ");
	describe(&l, info->si_syscall, arg);
	put(&l, ". realmtool ends, and the guest with it: either the guest broke out, or this is a "
	    "bug to be reported; --sandbox=audit lets such calls pass");
	log_signal(true, l.text);
	syscall(SYS_exit_group, SECCOMP_EXIT);	/* no wrapper that does more */
}

/* ---- the interface --------------------------------------------------------------------------- */

static int add_filter(enum thread_kind kind)
{
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &self.prog[kind]) < 0 ? -errno : 0;
}

int seccomp_install(const struct seccomp_table *t, const struct seccomp_cfg *cfg, struct err *e)
{
	/* not deferred: the call of an audit may be one that waits */
	struct sigaction sa = { .sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO | SA_NODEFER };
	int result = 0;

	self.table = *t;
	self.cfg = *cfg;
	for (int kind = THREAD_MAIN; kind < THREAD_KINDS && !result; kind++)
		result = build(kind, e);
	if (result < 0)
		return result;
	sigemptyset(&sa.sa_mask);
	if (sigaction(SIGSYS, &sa, NULL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(e, -errno, "sandbox: no_new_privs: %s", strerror(errno));
	result = add_filter(THREAD_MAIN);
	if (result == -ENOSYS || result == -EINVAL)
		return err_set(e, -EOPNOTSUPP, "this kernel has no filters of system calls "
			       "(CONFIG_SECCOMP_FILTER)");
	if (result < 0)
		return err_set(e, result, "sandbox: filter of system calls: %s", strerror(-result));
	self.active = true;
	return 0;
}

int seccomp_thread(enum thread_kind kind)
{
	return self.active ? add_filter(kind) : 0;
}

int seccomp_probe(void)
{
	uint32_t action = SECCOMP_RET_TRAP;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0 ? -errno : 0;
}

size_t seccomp_insns(enum thread_kind kind)
{
	return self.prog[kind].len;
}
