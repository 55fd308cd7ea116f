// SPDX-License-Identifier: BSD-3-Clause
/*
 * KVM_RUN, and the guest's threads. A guest asks for one thing at a time (struct fake_op) and waits
 * for the answer; KVM_RUN carries it out, or exits with it and completes it when it is called the
 * next time, as KVM does.
 */
#include "tests/fakekvm/fake_int.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STUCK_SECONDS	60	/* nobody kicks a vCPU that has nothing to do: the test hangs */

void fake_wake(struct fake_cpu *c)
{
	uint64_t one = 1;

	if (write(c->wake_fd, &one, sizeof(one)) < 0)
		return;		/* full: it is awake */
}

void fake_answer(struct fake_cpu *c)
{
	c->last_aborted = c->op->aborted;
	c->op = NULL;
	c->exited = c->abort = false;
	pthread_cond_broadcast(&c->answered);
}

/* ---- a guest's thread ------------------------------------------------------------------------ */

void fake_set_guest(unsigned int id, fake_guest *fn, void *ctx)
{
	pthread_mutex_lock(&fake.lock);
	fake.guest[id] = fn;
	fake.guest_ctx[id] = ctx;
	pthread_mutex_unlock(&fake.lock);
}

static void *guest_thread(void *arg)
{
	struct fake_cpu *c = arg;

	if (!setjmp(c->out))
		fake.guest[c->id](c, fake.guest_ctx[c->id]);
	return NULL;
}

static void start_guest(struct fake_cpu *c)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	c->started = pthread_create(&c->thread, NULL, guest_thread, c) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!c->started)
		fake_complain("no thread for the guest");
}

void fake_stop_guest(struct fake_cpu *c)
{
	if (!c->started)
		return;
	c->dying = true;
	pthread_cond_broadcast(&c->answered);
	pthread_mutex_unlock(&fake.lock);
	pthread_join(c->thread, NULL);
	pthread_mutex_lock(&fake.lock);
	c->started = c->dying = c->exited = c->abort = false;
	c->op = NULL;
}

/* Ask KVM_RUN, wait for the answer. Does not return when the VM is taken down. */
static void ask(struct fake_cpu *c, struct fake_op *op)
{
	bool dying;

	pthread_mutex_lock(&fake.lock);
	c->op = op;
	fake_wake(c);
	while (c->op == op && !c->dying)
		pthread_cond_wait(&c->answered, &fake.lock);
	dying = c->dying;
	pthread_mutex_unlock(&fake.lock);
	if (dying)
		longjmp(c->out, 1);
}

unsigned int fake_boot(const struct fake_cpu *c)
{
	return c->vm->boot;
}

unsigned int fake_id(const struct fake_cpu *c)
{
	return c->id;
}

bool fake_aborted(const struct fake_cpu *c)
{
	return c->last_aborted;
}

uint64_t fake_read(struct fake_cpu *c, ipa_t ipa, unsigned int len)
{
	struct fake_op op = { .what = OP_ACCESS, .ipa = ipa, .len = len, .isv = true };

	ask(c, &op);
	return op.val;
}

void fake_write(struct fake_cpu *c, ipa_t ipa, uint64_t val, unsigned int len)
{
	struct fake_op op = {
		.what = OP_ACCESS, .ipa = ipa, .len = len, .val = val, .write = true, .isv = true,
	};

	ask(c, &op);
}

void fake_ldp(struct fake_cpu *c, ipa_t ipa)
{
	struct fake_op op = { .what = OP_ACCESS, .ipa = ipa, .len = 8 };

	ask(c, &op);
}

static void smccc(struct fake_cpu *c, uint64_t x[18], bool hvc)
{
	struct fake_op op = { .what = OP_SMC, .hvc = hvc };

	memcpy(op.x, x, sizeof(op.x));
	ask(c, &op);
	memcpy(x, op.x, sizeof(op.x));
}

void fake_smc(struct fake_cpu *c, uint64_t x[18])
{
	smccc(c, x, false);
}

void fake_hvc(struct fake_cpu *c, uint64_t x[18])
{
	smccc(c, x, true);
}

uint64_t fake_call(struct fake_cpu *c, uint64_t fn, uint64_t a, uint64_t b, uint64_t d)
{
	uint64_t x[18] = { fn, a, b, d };

	fake_smc(c, x);
	return x[0];
}

static void __attribute__((noreturn)) last_call(struct fake_cpu *c, uint64_t fn)
{
	_Atomic bool never = false;

	fake_call(c, fn, 0, 0, 0);
	for (;;)
		fake_run_until(c, &never);	/* the machine ends around us */
}

void fake_poweroff(struct fake_cpu *c)
{
	last_call(c, FAKE_PSCI_SYSTEM_OFF);
}

void fake_system_reset(struct fake_cpu *c)
{
	last_call(c, FAKE_PSCI_SYSTEM_RESET);
}

void fake_exit(struct fake_cpu *c, unsigned int reason, const uint64_t *data, unsigned int nr)
{
	struct fake_op op = { .what = OP_EXIT, .reason = reason, .nr = nr };

	if (data)
		memcpy(op.data, data, MIN(nr, ARRAY_SIZE(op.data)) * sizeof(*data));
	ask(c, &op);
}

void fake_error(struct fake_cpu *c, int err)
{
	struct fake_op op = { .what = OP_ERROR, .err = err };

	ask(c, &op);
}

void fake_fault(struct fake_cpu *c, uint64_t flags, ipa_t gpa, uint64_t size, int err)
{
	struct fake_op op = { .what = OP_FAULT, .err = err, .data = { flags, gpa, size } };

	ask(c, &op);
}

void fake_run_until(struct fake_cpu *c, const _Atomic bool *flag)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	bool dying = false;

	while (!*flag && !dying) {
		nanosleep(&ms, NULL);
		pthread_mutex_lock(&fake.lock);
		dying = c->dying;
		pthread_mutex_unlock(&fake.lock);
	}
	if (dying)
		longjmp(c->out, 1);
}

/* ---- what a guest asked for ------------------------------------------------------------------ */

/* As a CPU does it: aligned ones are single-copy atomic; in program order, as with dmb. */
#define COPY_AS(type) do { \
	if (op->write) \
		__atomic_store_n((type *)p, (type)op->val, __ATOMIC_SEQ_CST); \
	else \
		op->val = __atomic_load_n((type *)p, __ATOMIC_SEQ_CST); \
	return; \
} while (0)

void fake_copy(struct fake_op *op, uint8_t *p)
{
	if (!((uintptr_t)p & (op->len - 1))) {
		switch (op->len) {
		case 1: COPY_AS(uint8_t);
		case 2: COPY_AS(uint16_t);
		case 4: COPY_AS(uint32_t);
		case 8: COPY_AS(uint64_t);
		}
	}
	if (op->write) {
		memcpy(p, &op->val, op->len);
	} else {
		op->val = 0;
		memcpy(&op->val, p, op->len);
	}
}

static bool signalled(struct fake_vm *vm, const struct fake_op *op)
{
	uint64_t one = 1;

	for (unsigned int i = 0; op->write && i < vm->nr_ioev; i++) {
		const struct fake_ioev *io = &vm->ioev[i];

		if (io->addr == op->ipa && (!io->len || io->len == op->len) &&
		    (!(io->flags & KVM_IOEVENTFD_FLAG_DATAMATCH) || io->match == op->val))
			return write(io->fd, &one, sizeof(one)) == sizeof(one);
	}
	return false;
}

enum fake_after fake_leave(struct fake_cpu *c, unsigned int reason)
{
	c->run->exit_reason = reason;
	c->exited = true;
	return LEAVE;
}

enum fake_after fake_io(struct fake_cpu *c, struct fake_op *op)
{
	if (signalled(c->vm, op) || fake_gic_owns(c->vm, op->ipa)) {
		op->val = 0;
		fake_answer(c);
		return AGAIN;
	}
	c->run->mmio.phys_addr = op->ipa;
	c->run->mmio.len = op->len;
	c->run->mmio.is_write = op->write;
	/* whatever was there before: realmtool must fill it */
	memset(c->run->mmio.data, 0xa5, sizeof(c->run->mmio.data));
	if (op->write)
		memcpy(c->run->mmio.data, &op->val, op->len);
	return fake_leave(c, KVM_EXIT_MMIO);
}

static enum fake_after access_op(struct fake_cpu *c, struct fake_op *op, int *ret)
{
	struct fake_vm *vm = c->vm;
	struct fake_slot *s;

	if (op->ipa + op->len > (ipa_t)1 << vm->bits) {
		op->aborted = true;	/* address size fault: the guest's own */
		fake_answer(c);
		return AGAIN;
	}
	s = fake_find_slot(vm, op->ipa, op->len);
	if (s && !(op->write && s->flags & KVM_MEM_READONLY)) {
		fake_copy(op, fake_slot_mem(s, op->ipa));
		fake_answer(c);
		return AGAIN;
	}
	if (!op->isv) {
		if (!vm->nisv) {
			*ret = -ENOSYS;
			fake_answer(c);
			return LEAVE;
		}
		a64_exit(c->run)->nisv.fault_ipa = op->ipa;
		a64_exit(c->run)->nisv.esr_iss = 0x10;
		return fake_leave(c, KVM_EXIT_ARM_NISV);
	}
	return fake_io(c, op);
}

static void event(struct fake_cpu *c, uint32_t type)
{
	a64_exit(c->run)->system_event.type = type;
	a64_exit(c->run)->system_event.ndata = 0;
	c->run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
}

enum fake_after fake_system_end(struct fake_cpu *c, uint32_t type)
{
	for (unsigned int i = 0; i < FAKE_MAX_CPUS; i++)
		if (c->vm->cpu[i])
			c->vm->cpu[i]->powered = false;
	event(c, type);
	c->exited = true;
	return LEAVE;
}

static int64_t cpu_on(struct fake_cpu *c, const uint64_t *x)
{
	for (unsigned int i = 0; i < FAKE_MAX_CPUS; i++) {
		struct fake_cpu *t = c->vm->cpu[i];

		if (!t || ((fake_get(t, A64_MPIDR_EL1) ^ x[1]) & MPIDR_AFFINITY_MASK))
			continue;
		if (t->powered)
			return -4;	/* ALREADY_ON */
		fake_stop_guest(t);	/* it begins anew */
		fake_put(t, A64_PC, x[2]);
		fake_put(t, A64_X(0), x[3]);
		t->powered = true;
		fake_wake(t);
		return 0;
	}
	return -2;			/* INVALID_PARAMETERS */
}

/* What KVM answers itself: PSCI and the architecture calls. */
static enum fake_after kernel_call(struct fake_cpu *c, struct fake_op *op)
{
	switch ((uint32_t)op->x[0]) {
	case FAKE_PSCI_SYSTEM_OFF:
		return fake_system_end(c, KVM_SYSTEM_EVENT_SHUTDOWN);
	case FAKE_PSCI_SYSTEM_RESET:
		return fake_system_end(c, KVM_SYSTEM_EVENT_RESET);
	case FAKE_PSCI_CPU_OFF:
		c->powered = false;
		return AGAIN;		/* never answered */
	case FAKE_PSCI_CPU_ON:
		op->x[0] = cpu_on(c, op->x);
		break;
	case 0x84000000:		/* PSCI_VERSION */
		op->x[0] = 0x10003;
		break;
	case 0x80000000:		/* SMCCC_VERSION */
		op->x[0] = 0x10001;
		break;
	default:
		op->x[0] = ~UINT64_C(0);
	}
	fake_answer(c);
	return AGAIN;
}

static enum fake_after smc_op(struct fake_cpu *c, struct fake_op *op)
{
	uint32_t fn = op->x[0];

	switch (fake_filter(c->vm, fn)) {
	case A64_SMCCC_HANDLE:
		return kernel_call(c, op);
	case A64_SMCCC_DENY:
		op->x[0] = ~UINT64_C(0);
		fake_answer(c);
		return AGAIN;
	default:
		break;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(op->x); i++)
		fake_put(c, A64_X(i), op->x[i]);
	fake_put(c, A64_PC, fake_get(c, A64_PC) + 4);	/* both instructions are stepped over */
	a64_exit(c->run)->hypercall.nr = fn;
	a64_exit(c->run)->hypercall.flags = op->hvc ? 0 : A64_HYPERCALL_SMC;
	return fake_leave(c, KVM_EXIT_HYPERCALL);
}

static enum fake_after carry_out(struct fake_cpu *c, int *ret)
{
	struct fake_op *op = c->op;

	if (c->vm->realm && (op->what == OP_ACCESS || op->what == OP_SMC))
		return fake_rec_op(c, op, ret);
	switch (op->what) {
	case OP_ACCESS:
		return access_op(c, op, ret);
	case OP_SMC:
		return smc_op(c, op);
	case OP_EXIT:
		memcpy(a64_exit(c->run), op->data, sizeof(op->data));
		return fake_leave(c, op->reason);
	case OP_FAULT:
		memcpy(a64_exit(c->run), op->data, sizeof(op->data));
		*ret = -op->err;
		return fake_leave(c, KVM_EXIT_MEMORY_FAULT);
	default:
		*ret = -op->err;
		if (op->err == EINTR)
			c->run->exit_reason = KVM_EXIT_INTR;
		fake_answer(c);
		return LEAVE;
	}
}

/* The exit is answered: give the guest what user space left in the run area and the registers. */
static void complete(struct fake_cpu *c)
{
	struct fake_op *op = c->op;

	if (!c->exited || !op || !c->powered)
		return;		/* what is off stays where it is */
	if (c->vm->realm && !c->runnable)
		return;		/* for the RMM it is off still */
	if (op->what == OP_ACCESS) {
		op->aborted = c->abort;
		if (!op->isv && !op->aborted)
			fake_complain("vCPU %u: an access without a syndrome was not answered",
				      c->id);
		if (!op->write) {
			op->val = 0;
			memcpy(&op->val, c->run->mmio.data, op->len);
		}
	} else if (op->what == OP_SMC && c->vm->realm) {
		fake_rec_complete(c, op);
	} else if (op->what == OP_SMC) {
		for (unsigned int i = 0; i < ARRAY_SIZE(op->x); i++)
			op->x[i] = fake_get(c, A64_X(i));
	}
	fake_answer(c);
}

/* ---- KVM_RUN --------------------------------------------------------------------------------- */

static bool immediate_exit(const struct fake_cpu *c)
{
	return __atomic_load_n(&c->run->immediate_exit, __ATOMIC_SEQ_CST);
}

/* Wait for the guest to ask, or for a signal. Return: 0 or -EINTR. */
static int wait_for_guest(struct fake_cpu *c)
{
	const struct timespec limit = { .tv_sec = STUCK_SECONDS };
	struct pollfd pfd = { .fd = c->wake_fd, .events = POLLIN };
	sigset_t all, old;
	uint64_t n;
	int ret = 0, got = 1;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	/* Who kicks sets this first: either it is seen here, or the signal is still pending. */
	if (immediate_exit(c)) {
		ret = -EINTR;
	} else {
		pthread_mutex_unlock(&fake.lock);
		got = ppoll(&pfd, 1, &limit, &old);
		if (got < 0)
			ret = -errno;
		pthread_mutex_lock(&fake.lock);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!got) {
		fake_complain("vCPU %u has been idle for %d s", c->id, STUCK_SECONDS);
		return -EDEADLK;
	}
	if (read(c->wake_fd, &n, sizeof(n)) < 0)
		return ret;	/* nobody had called */
	return ret;
}

static int may_run(struct fake_cpu *c)
{
	int ret = 0;

	if (!c->inited)
		return -ENOEXEC;
	if (!c->finalized)
		return -EPERM;
	if (!c->run) {
		fake_complain("KVM_RUN of vCPU %u without its run area", c->id);
		return -EFAULT;
	}
	if (c->vm->realm)
		return fake_rmi_first_run(c);
	if (!c->vm->ran) {
		ret = fake_first_run(c->vm);
		if (!ret && c->features >> A64_VCPU_PMU_V3 & 1 && !c->pmu_ready)
			ret = -EINVAL;
	}
	return ret;
}

static int enter(struct fake_cpu *c)
{
	int ret = 0;

	for (;;) {
		if (c->suspended) {
			event(c, KVM_SYSTEM_EVENT_WAKEUP);
			return 0;
		}
		if (c->vm->realm && c->powered && !c->runnable) {
			c->run->exit_reason = KVM_EXIT_UNKNOWN;
			return -EAGAIN;		/* RMI_ERROR_REC */
		}
		if (c->vm->realm && c->powered && c->vm->realm->state == FAKE_REALM_OFF) {
			c->run->exit_reason = KVM_EXIT_SHUTDOWN;
			return 0;		/* RMI_ERROR_REALM */
		}
		if (c->powered && !c->started && fake.guest[c->id])
			start_guest(c);
		if (c->powered && c->op) {
			if (carry_out(c, &ret) == LEAVE)
				return ret;
			continue;
		}
		ret = wait_for_guest(c);
		if (ret) {
			c->run->exit_reason = KVM_EXIT_INTR;
			return ret;
		}
	}
}

int fake_run(struct fake_cpu *c)
{
	int ret = may_run(c);

	if (ret)
		return ret;
	complete(c);
	if (immediate_exit(c))
		return -EINTR;	/* the exit reason stays what it was */
	c->vm->ran = true;
	c->run->exit_reason = KVM_EXIT_UNKNOWN;
	c->in_run = true;
	c->runner = pthread_self();
	ret = enter(c);
	c->in_run = false;
	return ret;
}
