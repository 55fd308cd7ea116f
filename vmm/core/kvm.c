// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/parse.h"
#include "vmm/core/path.h"

/*
 * #syscalls main: ioctl=KVM_GET_API_VERSION|KVM_CREATE_VM
 * #syscalls main: ioctl=KVM_CHECK_EXTENSION|KVM_GET_VCPU_MMAP_SIZE
 * #syscalls main: ioctl=KVM_ENABLE_CAP|KVM_CREATE_VCPU|KVM_CREATE_DEVICE uname dup close
 * #syscalls main,vcpu: ioctl=KVM_SET_USER_MEMORY_REGION
 * #syscalls main,vcpu: ioctl=KVM_SET_USER_MEMORY_REGION2|KVM_CREATE_GUEST_MEMFD
 * #syscalls main,vcpu: ioctl=KVM_GET_ONE_REG|KVM_SET_ONE_REG
 * #syscalls main,vcpu: ioctl=A64_SET_VCPU_EVENTS|KVM_CHECK_EXTENSION
 * #syscalls main,vcpu: ioctl=KVM_SET_DEVICE_ATTR|KVM_HAS_DEVICE_ATTR
 * #syscalls main,vcpu: ioctl=KVM_IOEVENTFD|KVM_SET_GSI_ROUTING
 * #syscalls main,vcpu,io: ioctl=KVM_IRQ_LINE|KVM_IRQFD
 */

static int host_open(const char *path)
{
	int fd = path_open(path, O_RDWR, 0);

	return fd < 0 ? -errno : fd;
}

static int host_ioctl(int fd, unsigned long req, unsigned long arg)
{
	int ret = ioctl(fd, req, arg);

	return ret < 0 ? -errno : ret;
}

static void *host_mmap(size_t len, int prot, int flags, int fd, off_t off)
{
	return mmap(NULL, len, prot, flags, fd, off);
}

static int host_munmap(void *addr, size_t len)
{
	return munmap(addr, len) < 0 ? -errno : 0;
}

static int host_fallocate(int fd, int mode, off_t off, off_t len)
{
	return fallocate(fd, mode, off, len) < 0 ? -errno : 0;
}

static int host_close(int fd)
{
	return close(fd) < 0 ? -errno : 0;
}

static long host_param(const char *name)
{
	char path[96], text[32];
	uint64_t v;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), KVM_PARAM_DIR "%s", name);
	fd = path_open(path, O_RDONLY, 0);
	if (fd < 0)
		return -errno;
	n = pread(fd, text, sizeof(text) - 1, 0);
	close(fd);
	if (n <= 0)
		return -EIO;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return parse_u64(text, &v) < 0 || v > INT32_MAX ? -EINVAL : (long)v;
}

const struct kvm_sys kvm_host = {
	.open = host_open,
	.ioctl = host_ioctl,
	.mmap = host_mmap,
	.munmap = host_munmap,
	.fallocate = host_fallocate,
	.close = host_close,
	.param = host_param,
};

int kvm_open(struct kvm *k, const struct kvm_sys *sys, const char *path, struct err *e)
{
	int ret;

	if (!path)
		path = "/dev/kvm";
	memset(k, 0, sizeof(*k));
	k->sys = sys ? sys : &kvm_host;
	k->vm = -1;
	k->dev = k->sys->open(path);
	switch (k->dev) {
	case -ENOENT:
	case -ENODEV:
	case -ENXIO:
		return err_set(e, k->dev, "%s is missing: this machine offers no KVM; load the kvm "
			       "module, boot the kernel at EL2, or rehearse in the test bed (make run)",
			       path);
	case -EACCES:
	case -EPERM:
		return err_set(e, k->dev, "%s: permission denied; add the user to group kvm "
			       "(usermod -aG kvm USER, then log in again)", path);
	default:
		if (k->dev < 0)
			return err_set(e, k->dev, "%s: %s", path, strerror(-k->dev));
	}
	ret = k->sys->ioctl(k->dev, KVM_GET_API_VERSION, 0);
	if (ret != KVM_API_VERSION) {
		ret = err_set(e, -ENOSYS, "%s does not speak KVM's API version %d; is it KVM at all?",
			      path, KVM_API_VERSION);
		goto fail;
	}
	ret = k->sys->ioctl(k->dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (ret < (int)sizeof(struct kvm_run)) {
		ret = err_set(e, -EINVAL, "%s: run area of %d bytes is too small", path, ret);
		goto fail;
	}
	k->run_size = ret;
	return 0;

fail:
	kvm_close(k);
	return ret;
}

void kvm_close(struct kvm *k)
{
	if (k->vm >= 0)
		k->sys->close(k->vm);
	if (k->dev >= 0)
		k->sys->close(k->dev);
	k->vm = k->dev = -1;
}

int kvm_vm_create(struct kvm *k, unsigned long type, struct err *e)
{
	int ret = k->sys->ioctl(k->dev, KVM_CREATE_VM, type);

	if (ret < 0)
		return err_set(e, ret, "KVM_CREATE_VM (type %#lx): %s", type, strerror(-ret));
	k->vm = ret;
	return 0;
}

int kvm_ioctl_vm(struct kvm *k, unsigned long req, void *arg)
{
	return k->sys->ioctl(k->vm, req, (unsigned long)arg);
}

int kvm_cap_sys(struct kvm *k, int cap)
{
	return MAX(k->sys->ioctl(k->dev, KVM_CHECK_EXTENSION, cap), 0);
}

int kvm_cap(struct kvm *k, int cap)
{
	if (k->vm < 0)
		return kvm_cap_sys(k, cap);
	return MAX(k->sys->ioctl(k->vm, KVM_CHECK_EXTENSION, cap), 0);
}

int kvm_enable_cap(struct kvm *k, unsigned int cap)
{
	struct kvm_enable_cap ec = { .cap = cap };

	return kvm_ioctl_vm(k, KVM_ENABLE_CAP, &ec);
}

int kvm_set_slot(struct kvm *k, const struct kvm_slot *s, struct err *e)
{
	int ret;

	if (s->gmem >= 0) {
		struct kvm_userspace_memory_region2 r = {
			.slot = s->slot,
			.flags = s->flags | KVM_MEM_GUEST_MEMFD,
			.guest_phys_addr = s->ipa,
			.memory_size = s->size,
			.userspace_addr = (uintptr_t)s->host,
			.guest_memfd = s->gmem,
			.guest_memfd_offset = s->gmem_off,
		};
		ret = kvm_ioctl_vm(k, KVM_SET_USER_MEMORY_REGION2, &r);
	} else {
		struct kvm_userspace_memory_region r = {
			.slot = s->slot,
			.flags = s->flags,
			.guest_phys_addr = s->ipa,
			.memory_size = s->size,
			.userspace_addr = (uintptr_t)s->host,
		};
		ret = kvm_ioctl_vm(k, KVM_SET_USER_MEMORY_REGION, &r);
	}
	if (ret < 0)
		return err_set(e, ret, "memory slot %u at %" PRIipa " (%" PRIu64 " MiB): %s", s->slot,
			       s->ipa, s->size / SZ_1M, strerror(-ret));
	return 0;
}

int kvm_gmem_create(struct kvm *k, uint64_t size, uint64_t flags, struct err *e)
{
	struct kvm_create_guest_memfd g = { .size = size, .flags = flags };
	int ret = kvm_ioctl_vm(k, KVM_CREATE_GUEST_MEMFD, &g);

	if (ret < 0)
		return err_set(e, ret, "guest_memfd of %" PRIu64 " MiB (flags %#" PRIx64 "): %s",
			       size / SZ_1M, flags, strerror(-ret));
	return ret;
}

int kvm_vcpu_create(struct kvm *k, unsigned int id, struct kvm_vcpu *v, struct err *e)
{
	int ret;

	*v = (struct kvm_vcpu){ .kvm = k, .id = id, .fd = -1 };
	ret = k->sys->ioctl(k->vm, KVM_CREATE_VCPU, id);
	if (ret < 0)
		return err_set(e, ret, "cannot create vCPU %u: %s", id, strerror(-ret));
	v->fd = ret;
	v->run = k->sys->mmap(k->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		ret = -errno;
		v->run = NULL;
		kvm_vcpu_close(v);
		return err_set(e, ret, "vCPU %u: run area: %s", id, strerror(-ret));
	}
	return 0;
}

void kvm_vcpu_close(struct kvm_vcpu *v)
{
	if (v->run)
		v->kvm->sys->munmap(v->run, v->kvm->run_size);
	if (v->fd >= 0)
		v->kvm->sys->close(v->fd);
	v->run = NULL;
	v->fd = -1;
}

int kvm_vcpu_ioctl(struct kvm_vcpu *v, unsigned long req, void *arg)
{
	return v->kvm->sys->ioctl(v->fd, req, (unsigned long)arg);
}

int kvm_reg_io(struct kvm_vcpu *v, uint64_t id, void *val, bool set)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)val };

	return kvm_vcpu_ioctl(v, set ? KVM_SET_ONE_REG : KVM_GET_ONE_REG, &reg);
}

int kvm_get_reg(struct kvm_vcpu *v, uint64_t id, uint64_t *val)
{
	return kvm_reg_io(v, id, val, false);
}

int kvm_set_reg(struct kvm_vcpu *v, uint64_t id, uint64_t val)
{
	return kvm_reg_io(v, id, &val, true);
}

int kvm_vcpu_abort(struct kvm_vcpu *v)
{
	struct a64_vcpu_events ev = { .exception.ext_dabt_pending = 1 };

	return kvm_vcpu_ioctl(v, A64_SET_VCPU_EVENTS, &ev);
}

int kvm_device_create(struct kvm *k, unsigned int type, struct err *e)
{
	struct kvm_create_device cd = { .type = type };
	int ret = kvm_ioctl_vm(k, KVM_CREATE_DEVICE, &cd);

	if (ret < 0)
		return err_set(e, ret, "KVM_CREATE_DEVICE (type %u): %s", type, strerror(-ret));
	return cd.fd;
}

int kvm_set_attr(struct kvm *k, int fd, uint32_t group, uint64_t attr, const void *val)
{
	struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)val };

	return k->sys->ioctl(fd, KVM_SET_DEVICE_ATTR, (unsigned long)&a);
}

bool kvm_has_attr(struct kvm *k, int fd, uint32_t group, uint64_t attr)
{
	struct kvm_device_attr a = { .group = group, .attr = attr };

	return k->sys->ioctl(fd, KVM_HAS_DEVICE_ATTR, (unsigned long)&a) == 0;
}

int kvm_irq_line(struct kvm *k, uint32_t spi, int level)
{
	struct kvm_irq_level il = { .irq = A64_IRQ_TYPE_SPI | (spi + 32), .level = level };

	return kvm_ioctl_vm(k, KVM_IRQ_LINE, &il);
}

int kvm_irqfd(struct kvm *k, int evfd, uint32_t spi, struct err *e)
{
	/* arm64's default routing: GSI n is SPI n. */
	struct kvm_irqfd ifd = { .fd = evfd, .gsi = spi };
	int ret = kvm_ioctl_vm(k, KVM_IRQFD, &ifd);

	if (ret < 0)
		return err_set(e, ret, "irqfd for SPI %u: %s", spi, strerror(-ret));
	return 0;
}

int kvm_ioeventfd(struct kvm *k, int evfd, ipa_t addr, uint32_t match, struct err *e)
{
	struct kvm_ioeventfd ioev = {
		.addr = addr,
		.len = 4,
		.fd = evfd,
		.datamatch = match,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};
	int ret = kvm_ioctl_vm(k, KVM_IOEVENTFD, &ioev);

	if (ret < 0)
		return err_set(e, ret, "ioeventfd at %" PRIipa ": %s", addr, strerror(-ret));
	return 0;
}

int kvm_irqfd_gsi(struct kvm *k, int evfd, uint32_t gsi, bool assign, struct err *e)
{
	struct kvm_irqfd ifd = {
		.fd = evfd,
		.gsi = gsi,
		.flags = assign ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};
	int ret = kvm_ioctl_vm(k, KVM_IRQFD, &ifd);

	if (ret < 0)
		return err_set(e, ret, "irqfd for GSI %u: %s", gsi, strerror(-ret));
	return 0;
}

int kvm_irqfd_resample(struct kvm *k, int evfd, int resample, uint32_t spi, struct err *e)
{
	struct kvm_irqfd ifd = {
		.fd = evfd,
		.gsi = spi,
		.flags = KVM_IRQFD_FLAG_RESAMPLE,
		.resamplefd = resample,
	};
	int ret = kvm_ioctl_vm(k, KVM_IRQFD, &ifd);

	if (ret < 0)
		return err_set(e, ret, "resampling irqfd for SPI %u: %s", spi, strerror(-ret));
	return 0;
}

bool kvm_forgets_eoi(const struct kvm *k)
{
	unsigned int major, minor;
	struct utsname u;

	return k->sys == &kvm_host && !uname(&u) &&
	       sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 19));
}

int kvm_ioeventfd_any(struct kvm *k, int evfd, ipa_t addr, unsigned int len, bool assign,
		      struct err *e)
{
	struct kvm_ioeventfd ioev = {
		.addr = addr,
		.len = len,
		.fd = evfd,
		.flags = assign ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
	};
	int ret = kvm_ioctl_vm(k, KVM_IOEVENTFD, &ioev);

	if (ret < 0)
		return err_set(e, ret, "ioeventfd of %u bytes at %" PRIipa ": %s", len, addr,
			       strerror(-ret));
	return 0;
}

int kvm_set_routing(struct kvm *k, const struct kvm_irq_routing *table, struct err *e)
{
	int ret = k->sys->ioctl(k->vm, KVM_SET_GSI_ROUTING, (unsigned long)table);

	if (ret < 0)
		return err_set(e, ret, "KVM_SET_GSI_ROUTING (%u routes): %s", table->nr,
			       strerror(-ret));
	return 0;
}
