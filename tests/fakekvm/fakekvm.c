// SPDX-License-Identifier: BSD-3-Clause
/* The seam's side of the model: descriptors, mappings, faults, complaints, the kernels. */
#include "tests/fakekvm/fake_int.h"

#include "realm/rmi_abi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FD_BASE		0x100000	/* no real descriptor has such a number */
#define FD_MAX		2048
#define MAPS_MAX	64

struct fake_host fake_host;
struct fake_state fake = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct fake_fd fds[FD_MAX];
static int nothing = -1;	/* an empty file */
static struct {
	void *addr;
	size_t len;
	int prot;
	struct fake_cpu *cpu;
	struct fake_gmem *gmem;
	uint64_t off;
} maps[FAKE_MAX_CPUS + MAPS_MAX];

static struct {
	unsigned int calls, complaints;
	unsigned int nth, nth_req;
	int err, err_req;
	unsigned long req;
	const char *failed;
	char first[512];
	unsigned int count[256];	/* by the number of the ioctl */
} book;

/* ---- names ----------------------------------------------------------------------------------- */

static const struct {
	unsigned long req;
	const char *name;
} names[] = {
	{ KVM_GET_API_VERSION, "KVM_GET_API_VERSION" },
	{ KVM_GET_VCPU_MMAP_SIZE, "KVM_GET_VCPU_MMAP_SIZE" },
	{ KVM_CHECK_EXTENSION, "KVM_CHECK_EXTENSION" },
	{ KVM_CREATE_VM, "KVM_CREATE_VM" },
	{ KVM_CREATE_VCPU, "KVM_CREATE_VCPU" },
	{ KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION" },
	{ KVM_SET_USER_MEMORY_REGION2, "KVM_SET_USER_MEMORY_REGION2" },
	{ KVM_CREATE_GUEST_MEMFD, "KVM_CREATE_GUEST_MEMFD" },
	{ KVM_CREATE_DEVICE, "KVM_CREATE_DEVICE" },
	{ KVM_SET_DEVICE_ATTR, "KVM_SET_DEVICE_ATTR" },
	{ KVM_HAS_DEVICE_ATTR, "KVM_HAS_DEVICE_ATTR" },
	{ KVM_ENABLE_CAP, "KVM_ENABLE_CAP" },
	{ KVM_IRQ_LINE, "KVM_IRQ_LINE" },
	{ KVM_IRQFD, "KVM_IRQFD" },
	{ KVM_IOEVENTFD, "KVM_IOEVENTFD" },
	{ KVM_SET_GSI_ROUTING, "KVM_SET_GSI_ROUTING" },
	{ KVM_RUN, "KVM_RUN" },
	{ KVM_GET_ONE_REG, "KVM_GET_ONE_REG" },
	{ KVM_SET_ONE_REG, "KVM_SET_ONE_REG" },
	{ A64_PREFERRED_TARGET, "KVM_ARM_PREFERRED_TARGET" },
	{ A64_VCPU_INIT, "KVM_ARM_VCPU_INIT" },
	{ A64_VCPU_FINALIZE, "KVM_ARM_VCPU_FINALIZE" },
	{ A64_GET_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS" },
	{ A64_SET_VCPU_EVENTS, "KVM_SET_VCPU_EVENTS" },
	{ A64_SET_GUEST_DEBUG, "KVM_SET_GUEST_DEBUG" },
	{ KVM_SET_MP_STATE, "KVM_SET_MP_STATE" },
	{ A64_RMI_POPULATE, "KVM_ARM_RMI_POPULATE" },
	{ A64_RMI_POPULATE_V12, "KVM_ARM_RMI_POPULATE" },
	{ A64_RMI_PSCI_COMPLETE, "KVM_ARM_VCPU_RMI_PSCI_COMPLETE" },
	{ A64_RMI_INIT_RIPAS(FAKE_RIPAS_NR), "KVM_ARM_RMI_INIT_RIPAS" },
	{ A64_SET_MEM_ATTR, "KVM_SET_MEMORY_ATTRIBUTES" },
	{ A64_SET_MEM_ATTR2, "KVM_SET_MEMORY_ATTRIBUTES2" },
};

static const char *ioctl_name(unsigned long req)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].req == req)
			return names[i].name;
	return "ioctl";
}

/* ---- complaints and faults ------------------------------------------------------------------- */

void fake_complain(const char *fmt, ...)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&lock);
	if (!book.complaints++)
		memcpy(book.first, line, sizeof(line));
	fprintf(stderr, "fakekvm: %s\n", line);
	pthread_mutex_unlock(&lock);
}

void fake_fail_nth(unsigned int n, int err)
{
	pthread_mutex_lock(&fake.lock);
	book.nth = n;
	book.err = err;
	book.failed = NULL;
	pthread_mutex_unlock(&fake.lock);
}

void fake_fail_ioctl(unsigned long req, unsigned int n, int err)
{
	pthread_mutex_lock(&fake.lock);
	book.req = req;
	book.nth_req = n;
	book.err_req = err;
	book.failed = NULL;
	pthread_mutex_unlock(&fake.lock);
}

const char *fake_failed(void)
{
	return book.failed;
}

unsigned int fake_calls(void)
{
	unsigned int n;

	pthread_mutex_lock(&fake.lock);
	n = book.calls;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

unsigned int fake_count(unsigned long req)
{
	unsigned int n;

	pthread_mutex_lock(&fake.lock);
	n = book.count[_IOC_NR(req)];
	pthread_mutex_unlock(&fake.lock);
	return n;
}

/* Each seam call passes here first. Return: 0, or the errno (positive) it shall fail with. */
static int fault(const char *name, unsigned long req)
{
	book.calls++;
	if (req)
		book.count[_IOC_NR(req)]++;
	if (book.nth && !--book.nth) {
		book.failed = req ? ioctl_name(req) : name;
		return book.err;
	}
	if (req && req == book.req && book.nth_req && !--book.nth_req) {
		book.failed = ioctl_name(req);
		return book.err_req;
	}
	return 0;
}

/* ---- descriptors ----------------------------------------------------------------------------- */

int fake_fd_new(enum fake_kind kind, struct fake_vm *vm, struct fake_cpu *cpu,
		struct fake_gmem *gmem)
{
	for (int i = 0; i < FD_MAX; i++) {
		if (fds[i].kind)
			continue;
		fds[i] = (struct fake_fd){ kind, vm, cpu, gmem };
		if (vm)
			vm->refs++;
		return FD_BASE + i;
	}
	return -EMFILE;
}

struct fake_fd *fake_fd_get(int fd, enum fake_kind kind)
{
	struct fake_fd *f;

	if (fd < FD_BASE || fd >= FD_BASE + FD_MAX)
		return NULL;
	f = &fds[fd - FD_BASE];
	return f->kind && (!kind || f->kind == kind) ? f : NULL;
}

void fake_gmem_put(struct fake_gmem *g)
{
	if (--g->refs)
		return;
	munmap(g->map, g->size);
	close(g->fd);
	free(g->page);
	free(g);
}

static int sys_open(const char *path)
{
	int ret;

	pthread_mutex_lock(&fake.lock);
	ret = -fault("open", 0);
	if (!ret && strcmp(path, fake_host.path))
		ret = -ENOENT;
	if (!ret)
		ret = -fake_host.open_error;
	if (!ret)
		ret = fake_fd_new(FD_DEV, NULL, NULL, NULL);
	pthread_mutex_unlock(&fake.lock);
	return ret;
}

static int sys_close(int fd)
{
	struct fake_fd *f, old;
	int ret = 0;

	pthread_mutex_lock(&fake.lock);
	f = fake_fd_get(fd, FD_FREE);
	if (!f) {
		fake_complain("close(%d): not a descriptor of KVM", fd);
		ret = -EBADF;
		goto out;
	}
	/* As with Linux, the descriptor is gone even if close() fails. */
	ret = -fault("close", 0);
	old = *f;
	if (old.kind == FD_VCPU)
		fake_vcpu_free(old.cpu);
	if (old.kind == FD_VM)
		old.vm->fd_open = false;
	*f = (struct fake_fd){ FD_FREE };
	if (old.kind == FD_GMEM)
		fake_rmi_gmem_close(old.gmem);
	if (old.kind == FD_GMEM)
		fake_gmem_put(old.gmem);
	if (old.vm)
		fake_vm_put(old.vm);
out:
	pthread_mutex_unlock(&fake.lock);
	return ret;
}

static int create_vm(unsigned long type)
{
	struct fake_vm *vm;
	int fd, ret;

	vm = fake_vm_new(type, &ret);
	if (!vm)
		return ret;
	fd = fake_fd_new(FD_VM, vm, NULL, NULL);
	if (fd < 0)
		free(vm);
	return fd;
}

static int dev_ioctl(unsigned long req, unsigned long arg)
{
	switch (req) {
	case KVM_GET_API_VERSION:
		return arg ? -EINVAL : fake_host.api_version;
	case KVM_GET_VCPU_MMAP_SIZE:
		return arg ? -EINVAL : fake_host.run_size;
	case KVM_CHECK_EXTENSION:
		return arg < FAKE_NR_CAPS ? fake_host.cap[arg] : 0;
	case KVM_CREATE_VM:
		return create_vm(arg);
	default:
		return -ENOTTY;
	}
}

static int device_ioctl(struct fake_fd *f, unsigned long req, unsigned long arg)
{
	const struct kvm_device_attr *a = (void *)arg;

	if (req != KVM_SET_DEVICE_ATTR && req != KVM_HAS_DEVICE_ATTR)
		return -ENOTTY;
	if (a->flags)
		return -EINVAL;
	return fake_gic_attr(f->vm, f->kind == FD_ITS, a, req == KVM_HAS_DEVICE_ATTR);
}

static int sys_ioctl(int fd, unsigned long req, unsigned long arg)
{
	struct fake_call *call;
	struct fake_fd *f;
	int ret;

	pthread_mutex_lock(&fake.lock);
	ret = -fault(NULL, req);
	if (ret)
		goto out;
	f = fake_fd_get(fd, FD_FREE);
	if (!f) {
		fake_complain("%s on descriptor %d, which is not KVM's", ioctl_name(req), fd);
		ret = -EBADF;
		goto out;
	}
	call = fake_note_ioctl(f, req, arg);
	if (call)
		call->nr = book.calls;
	switch (f->kind) {
	case FD_DEV:
		ret = dev_ioctl(req, arg);
		break;
	case FD_VM:
		ret = fake_vm_ioctl(f->vm, req, arg);
		break;
	case FD_VCPU:
		ret = fake_vcpu_ioctl(f->cpu, req, arg);
		break;
	case FD_GIC:
	case FD_ITS:
		ret = device_ioctl(f, req, arg);
		break;
	case FD_GMEM:
		ret = fake_rmi_gmem_ioctl(f->gmem, req, arg);
		break;
	default:
		ret = -ENOTTY;
	}
	if (ret == -ENOTTY && !fake_rmi_is_ioctl(req))
		fake_complain("unknown ioctl %#lx (%s)", req, ioctl_name(req));
	/* kvm_arch_vm_ioctl() and its like on arm64; other files have no such default */
	if (ret == -ENOTTY && (f->kind == FD_DEV || f->kind == FD_VM || f->kind == FD_VCPU))
		ret = -EINVAL;
	if (call)
		call->ret = ret;
out:
	pthread_mutex_unlock(&fake.lock);
	return ret;
}

/* ---- mappings -------------------------------------------------------------------------------- */

/*
 * Private pages are not there for user space: whoever touches them gets SIGBUS. That is what a
 * mapping beyond the end of a file does.
 */
void fake_gmem_hide(struct fake_gmem *g, uint64_t off, uint64_t len, bool hide)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(maps); i++) {
		uint64_t first = MAX(off, maps[i].off);
		uint64_t last = MIN(off + len, maps[i].off + maps[i].len);

		if (!maps[i].addr || maps[i].gmem != g || first >= last)
			continue;
		if (mmap((uint8_t *)maps[i].addr + (first - maps[i].off), last - first,
			 maps[i].prot, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
			 hide ? nothing : g->fd, first) == MAP_FAILED)
			abort();
	}
}

bool fake_gmem_maps(const void *addr)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(maps); i++)
		if (maps[i].gmem && (const uint8_t *)addr >= (uint8_t *)maps[i].addr &&
		    (const uint8_t *)addr < (uint8_t *)maps[i].addr + maps[i].len)
			return true;
	return false;
}

static void hide_private(struct fake_gmem *g)
{
	uint64_t end, pages = g->size / SZ_4K;

	for (uint64_t p = 0; g->page && p < pages; p = end) {
		bool shared = g->page[p] & G_SHARED;

		for (end = p; end < pages && !!(g->page[end] & G_SHARED) == shared;)
			end++;
		if (!shared)
			fake_gmem_hide(g, p * SZ_4K, (end - p) * SZ_4K, true);
	}
}

static void *sys_mmap(size_t len, int prot, int flags, int fd, off_t off)
{
	struct fake_fd *f;
	void *p = MAP_FAILED;
	unsigned int at = 0;
	int err;

	pthread_mutex_lock(&fake.lock);
	err = fault("mmap", 0);
	if (err)
		goto out;
	while (at < ARRAY_SIZE(maps) && maps[at].addr)
		at++;
	f = fake_fd_get(fd, FD_FREE);
	if (!f || at == ARRAY_SIZE(maps)) {
		err = f ? ENOMEM : EBADF;
	} else if (f->kind == FD_VCPU) {
		if (off || len > (size_t)fake_host.run_size || f->cpu->run || !(flags & MAP_SHARED))
			err = EINVAL;
		else
			p = mmap(NULL, len, prot, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	} else if (f->kind == FD_GMEM) {
		if (!(f->gmem->flags & GUEST_MEMFD_FLAG_MMAP))
			err = ENODEV;
		else if (!(flags & MAP_SHARED))
			err = EINVAL;
		else
			p = mmap(NULL, len, prot, flags, f->gmem->fd, off);
		if (p != MAP_FAILED && (off < 0 || (uint64_t)off > f->gmem->size ||
					len > f->gmem->size - off))
			fake_complain("a mapping of %#zx bytes at %#lx is longer than the "
				      "guest_memfd", len, (long)off);
	} else {
		err = ENODEV;
	}
	if (!err && p == MAP_FAILED)
		err = errno;
	if (err)
		goto out;
	maps[at].addr = p;
	maps[at].len = len;
	maps[at].prot = prot;
	maps[at].cpu = f->kind == FD_VCPU ? f->cpu : NULL;
	maps[at].gmem = f->kind == FD_GMEM ? f->gmem : NULL;
	maps[at].off = off;
	if (f->kind == FD_VCPU)
		f->cpu->run = p;
	else
		hide_private(f->gmem);
out:
	pthread_mutex_unlock(&fake.lock);
	errno = err;
	return p;
}

static int sys_munmap(void *addr, size_t len)
{
	int ret;

	pthread_mutex_lock(&fake.lock);
	ret = -fault("munmap", 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(maps); i++) {
		if (maps[i].addr != addr || maps[i].len != len)
			continue;
		munmap(addr, len);
		if (maps[i].cpu)
			maps[i].cpu->run = NULL;
		memset(&maps[i], 0, sizeof(maps[i]));
		goto out;
	}
	fake_complain("munmap of %zu bytes that were not mapped like this", len);
	ret = -EINVAL;
out:
	pthread_mutex_unlock(&fake.lock);
	return ret;
}

static int gmem_fallocate(struct fake_gmem *g, int mode, off_t off, off_t len)
{
	if (!(mode & FALLOC_FL_KEEP_SIZE) ||
	    mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
		return -EOPNOTSUPP;
	if (off < 0 || len <= 0 || !IS_ALIGNED((uint64_t)off, SZ_4K) ||
	    !IS_ALIGNED((uint64_t)len, SZ_4K))
		return -EINVAL;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		fake_rmi_punch(g, off, len);
	return fallocate(g->fd, mode, off, len) < 0 ? -errno : 0;
}

static int sys_fallocate(int fd, int mode, off_t off, off_t len)
{
	struct fake_fd *f;
	int ret;

	pthread_mutex_lock(&fake.lock);
	ret = -fault("fallocate", 0);
	f = fake_fd_get(fd, FD_FREE);
	if (!ret && f)
		fake_note("punch", off, len, mode);
	if (!ret && f && f->kind == FD_GMEM)
		ret = gmem_fallocate(f->gmem, mode, off, len);
	else if (!ret && f)
		ret = -ENODEV;
	else if (!ret && fallocate(fd, mode, off, len) < 0)	/* a memfd of realmtool's */
		ret = -errno;
	pthread_mutex_unlock(&fake.lock);
	return ret;
}

static long sys_param(const char *name)
{
	long val = 0;

	if (!strcmp(name, "kvm_cap_arm_rmi"))
		val = fake_host.kvm_cap_arm_rmi;
	else if (!strcmp(name, "kvm_cap_arm_rme"))
		val = fake_host.kvm_cap_arm_rme;
	else if (!strcmp(name, "gmem_in_place_conversion") && fake_rmi.api >= FAKE_API_D)
		return -EINVAL;		/* "Y" or "N" */
	return val ? val : -ENOENT;
}

const struct kvm_sys fake_sys = {
	.open = sys_open,
	.ioctl = sys_ioctl,
	.mmap = sys_mmap,
	.munmap = sys_munmap,
	.fallocate = sys_fallocate,
	.close = sys_close,
	.param = sys_param,
};

/* ---- kernels --------------------------------------------------------------------------------- */

static void setup_6_1(struct fake_host *h)
{
	h->smccc_filter = false;
}

static void setup_6_12(struct fake_host *h)
{
	h->cap[KVM_CAP_USER_MEMORY2] = 1;
}

static void setup_7_3(struct fake_host *h)
{
	setup_6_12(h);
	h->gmem_flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED;
	h->cap[KVM_CAP_GUEST_MEMFD] = 1;
	h->cap[KVM_CAP_GUEST_MEMFD_FLAGS] = h->gmem_flags;
}

const struct fake_gen fake_linux_6_1 = { .name = "Linux 6.1", .setup = setup_6_1 };
const struct fake_gen fake_linux_6_12 = { .name = "Linux 6.12", .setup = setup_6_12 };
const struct fake_gen fake_linux_7_3 = { .name = "Linux 7.3", .setup = setup_7_3 };

void fake_reset(const struct fake_gen *gen)
{
	static const int there[] = {
		KVM_CAP_IOEVENTFD, KVM_CAP_IRQFD, KVM_CAP_IRQFD_RESAMPLE, KVM_CAP_ONE_REG,
		KVM_CAP_VCPU_EVENTS, KVM_CAP_USER_MEMORY, KVM_CAP_IRQCHIP,
		KVM_CAP_READONLY_MEM, KVM_CAP_DEVICE_CTRL, KVM_CAP_ARM_PSCI_0_2,
		KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_SET_GUEST_DEBUG,
		A64_CAP_NISV_TO_USER, A64_CAP_PTRAUTH_ADDRESS, A64_CAP_PTRAUTH_GENERIC,
		A64_CAP_PMU_V3, A64_CAP_SVE, KVM_CAP_IRQ_ROUTING, KVM_CAP_SIGNAL_MSI,
		KVM_CAP_MSI_DEVID,
	};

	/* made once, so that a test can count descriptors */
	if (nothing < 0)
		nothing = memfd_create("fake-nothing", MFD_CLOEXEC);
	memset(&book, 0, sizeof(book));
	fake_host = (struct fake_host){
		.path = "/dev/kvm",
		.api_version = KVM_API_VERSION,
		.run_size = 2 * SZ_4K,		/* struct kvm_run and the ring of coalesced MMIO */
		.ipa_bits = 44,
		.max_vcpus = FAKE_MAX_CPUS,
		.features = 0x7f,
		.gicv3 = true,
		.its = true,
		.smccc_filter = true,
		.sve_vq = 0xb,			/* 128, 256, 512 bits */
		.pmu_counters = 6,
	};
	for (unsigned int i = 0; i < ARRAY_SIZE(there); i++)
		fake_host.cap[there[i]] = 1;
	fake_host.cap[A64_CAP_VM_IPA_SIZE] = fake_host.ipa_bits;
	fake_host.cap[KVM_CAP_MAX_VCPUS] = fake_host.max_vcpus;
	fake_host.cap[KVM_CAP_NR_MEMSLOTS] = FAKE_MAX_SLOTS;
	fake_rmi_reset();
	gen->setup(&fake_host);
	fake.vm = NULL;
	fake.boots = fake.slot_races = 0;
	memset(fake.guest, 0, sizeof(fake.guest));
}

const char *fake_verdict(void)
{
	unsigned int open = 0, mapped = 0;

	pthread_mutex_lock(&fake.lock);
	for (int i = 0; i < FD_MAX; i++)
		if (fds[i].kind) {
			open++;
			fake_complain("descriptor of kind %d is still open", fds[i].kind);
		}
	for (unsigned int i = 0; i < ARRAY_SIZE(maps); i++)
		mapped += maps[i].addr != NULL;
	pthread_mutex_unlock(&fake.lock);
	if (mapped)
		fake_complain("%u mappings of %u descriptors are left", mapped, open);
	return book.complaints ? book.first : NULL;
}
