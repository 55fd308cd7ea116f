// SPDX-License-Identifier: BSD-3-Clause
/* The host's side of device assignment, on a model of VFIO and iommufd. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/fakevfio/fake_vfio.h"
#include "vfio/vfio_abi.h"
#include "vmm/core/err.h"
#include "vmm/core/kvm.h"
#include "vmm/core/log.h"

#define A "0000:01:00.0"
#define B "0000:01:00.1"
#define C "0000:02:00.0"
#define D "0001:03:1f.7"

static enum vfio_backend backend;	/* most tests run with both */
static struct fake_vfio host;
static struct fake_dev dev[4];
static struct fake_fn *a, *b, *c, *d;
static struct vfio *v;
static struct err e;
static int fds_before;
static char *page;			/* 16 pages that can be mapped */

static int open_fds(void)
{
	DIR *list = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(list);
	while (readdir(list))
		n++;
	closedir(list);
	return n;
}

static int setup(void **state)
{
	static const char *const names[] = { A, B, C, D };

	fake_vfio_init(&host);
	for (int i = 0; i < 4; i++) {
		fake_nvme(&dev[i]);
		dev[i].name = names[i];
	}
	a = fake_vfio_add(&host, A, 7, &dev[0]);
	b = fake_vfio_add(&host, B, 7, &dev[1]);
	c = fake_vfio_add(&host, C, 12, &dev[2]);
	d = fake_vfio_add(&host, D, 13, &dev[3]);
	page = mmap(NULL, 16 * SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(page, MAP_FAILED);
	memset(&e, 0, sizeof(e));
	fds_before = open_fds();
	assert_int_equal(vfio_new(&host.sys, backend, &v, &e), 0);
	return 0;
}

static int teardown(void **state)
{
	const char *wrong;

	vfio_free(v);
	v = NULL;
	assert_int_equal(open_fds(), fds_before);
	wrong = fake_vfio_destroy(&host);
	if (wrong)
		fail_msg("%s", wrong);
	for (int i = 0; i < 4; i++) {
		wrong = fake_dev_destroy(&dev[i]);
		if (wrong)
			fail_msg("%s", wrong);
	}
	munmap(page, 16 * SZ_4K);
	return 0;
}

/* One line, with these words in this order */
#define assert_says(...) says(__func__, __LINE__, (const char *[]){ __VA_ARGS__, NULL })
static void says(const char *func, int line, const char *const *words)
{
	const char *at = e.msg;

	for (; *words; words++) {
		const char *hit = strstr(at, *words);

		if (!hit)
			fail_msg("%s:%d: no \"%s\" in \"%s\"", func, line, *words, e.msg);
		else
			at = hit + strlen(*words);
	}
	assert_null(strchr(e.msg, '\n'));
	assert_true(strlen(e.msg) < sizeof(e.msg) - 1);
}

static struct vfio_device *add(const char *where)
{
	struct vfio_device *out = NULL;

	if (vfio_add(v, where, &out, &e) < 0)
		fail_msg("%s: %s", where, e.msg);
	assert_non_null(out);
	return out;
}

static int refused(const char *where)
{
	struct vfio_device *out = NULL;
	unsigned int before = fake_vfio_open(&host);
	int ret;

	memset(&e, 0, sizeof(e));
	ret = vfio_add(v, where, &out, &e);
	assert_true(ret < 0);
	assert_null(out);
	assert_int_equal(e.code, ret);
	assert_int_equal(fake_vfio_open(&host), before);
	return ret;
}

/* ---- names ----------------------------------------------------------------------------------- */

static void addresses(void **state)
{
	static const struct {
		const char *text, *name;
	} t[] = {
		{ "0000:01:00.0", "0000:01:00.0" }, { "01:00.0", "0000:01:00.0" },
		{ "1:0.0", "0000:01:00.0" }, { "1:AB:1f.7", "0001:ab:1f.7" },
		{ "ffffffff:ff:1f.7", "ffffffff:ff:1f.7" }, { "10000:01:00.0", "10000:01:00.0" },
		{ "", NULL }, { ":", NULL }, { "01:00", NULL }, { "01:00.", NULL }, { "01:20.0", NULL },
		{ "01:00.8", NULL }, { "100:00.0", NULL }, { "01:00.0 ", NULL }, { " 01:00.0", NULL },
		{ "01:00.0:", NULL }, { "::01:00.0", NULL }, { "0:0:01:00.0", NULL },
		{ "100000000:01:00.0", NULL }, { "-1:00.0", NULL }, { "0x1:00.0", NULL },
		{ "01:00.00", NULL }, { "g1:00.0", NULL }, { "nvme0", NULL },
	};
	char name[PCI_NAME_SIZE];

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		assert_int_equal(sysfs_pci_parse(t[i].text, name), t[i].name != NULL);
		if (t[i].name)
			assert_string_equal(name, t[i].name);
	}
}

static void naming(void **state)
{
	char path[PATH_MAX];

	assert_string_equal(add("1:0.0")->name, A);
	snprintf(path, sizeof(path), "%s/bus/pci/devices/" C, host.sysfs);
	assert_string_equal(add(path)->name, C);
	snprintf(path, sizeof(path), "%s/devices/pci0/" D "/", host.sysfs);
	assert_string_equal(add(path)->name, D);

	assert_int_equal(refused("01:00.0"), -EEXIST);
	assert_says(A, "twice");
	assert_int_equal(refused("nvme0"), -EINVAL);
	assert_says("'nvme0'", "[DOMAIN:]BB:DD.F", "lspci -D");
	assert_int_equal(refused("05:00.0"), -ENODEV);
	assert_says("0000:05:00.0", "no such PCI function", "lspci -D");

	fake_vfio_file(&host, "sys/bus/platform/devices/1c00000.dma/uevent", "");
	snprintf(path, sizeof(path), "%s/bus/platform/devices/1c00000.dma", host.sysfs);
	assert_int_equal(refused(path), -ENOTSUP);
	assert_says("platform device", "only PCI");
	snprintf(path, sizeof(path), "%s/bus/pci/devices", host.sysfs);
	assert_int_equal(refused(path), -ENOTSUP);
	assert_says("no PCI function");
	assert_int_equal(refused("/nonexistent/0000:01:00.0"), -ENODEV);
	assert_says("/nonexistent", "[DOMAIN:]BB:DD.F");
	assert_int_equal(refused("/"), -ENOTSUP);
	/* the right name in the wrong place */
	fake_vfio_file(&host, "elsewhere/0000:01:00.1/uevent", "");
	snprintf(path, sizeof(path), "%s/elsewhere/0000:01:00.1", host.root);
	assert_int_equal(refused(path), -ENOTSUP);
	assert_says("not the folder of a PCI function");

	fake_vfio_remove(&host, "sys/bus/pci");
	assert_int_equal(refused(B), -ENODEV);
	assert_says("no PCI bus");
}

/* ---- opening --------------------------------------------------------------------------------- */

static void devices(void **state)
{
	struct vfio_device *x = add(A), *y = add(C), *z = add(B);
	struct iommu *io = vfio_iommu(v);

	assert_non_null(io);
	assert_string_equal(vfio_backend_name(v), backend == VFIO_GROUP ? "group (type1v2)" : "iommufd");
	assert_int_equal(x->group, 7);
	assert_int_equal(z->group, 7);
	assert_int_equal(y->group, 12);
	assert_true(x->can_reset);
	assert_int_equal(x->nr_regions, VFIO_PCI_NUM_REGIONS);
	assert_int_equal(x->nr_irqs, VFIO_PCI_NUM_IRQS);
	assert_int_not_equal(x->fd, y->fd);
	/* one address space: a container with two groups, or one iommufd */
	assert_int_equal(fake_vfio_open(&host), backend == VFIO_GROUP ? 3 + 1 + 2 : 3 + 1);
	if (backend == VFIO_GROUP) {
		assert_ptr_equal(x->container_group, z->container_group);
		assert_ptr_not_equal(x->container_group, y->container_group);
	} else {
		assert_null(x->container_group);
		assert_int_not_equal(x->devid, y->devid);
	}
}

static void nothing_is_opened_early(void **state)
{
	struct vfio *none;

	assert_int_equal(host.calls, 0);
	assert_null(vfio_iommu(v));
	assert_int_equal(vfio_new(NULL, VFIO_AUTO, &none, &e), 0);
	vfio_free(none);
	vfio_free(NULL);
}

static void not_bound(void **state)
{
	fake_vfio_bind(&host, a, "nvme");
	assert_int_equal(refused(A), -EBUSY);
	assert_says(A, "driver nvme", "for d in " A "; do", "echo vfio-pci > ", "driver_override",
		    "driver/unbind", "drivers_probe");
	assert_null(strstr(e.msg, "modprobe"));
	fake_vfio_bind(&host, a, "");
	fake_vfio_remove(&host, "sys/bus/pci/drivers/vfio-pci");
	assert_int_equal(refused(A), -ENODEV);
	assert_says(A, "no driver", "modprobe vfio-pci; for d in " A, "drivers_probe; done");
	assert_null(strstr(e.msg, "unbind"));
	/* made from vfio-pci */
	fake_vfio_bind(&host, a, "nvgrace-gpu-vfio-pci");
	add(A);
}

static void no_iommu(void **state)
{
	fake_vfio_file(&host, "sys/kernel/iommu_groups/7/name", "vfio-noiommu\n");
	assert_int_equal(refused(A), -EPERM);
	assert_says(A, "no-IOMMU", "an IOMMU is needed");
	fake_vfio_remove(&host, "sys/devices/pci0/" A "/iommu_group");
	assert_int_equal(refused(A), -ENODEV);
	assert_says(A, "not behind");
	fake_vfio_remove(&host, "sys/kernel/iommu_groups");
	assert_int_equal(refused(A), -ENODEV);
	assert_says(A, "no IOMMU", "SMMUv3");
}

static void group_not_viable(void **state)
{
	struct fake_fn *x = fake_vfio_add(&host, "0000:01:00.2", 7, NULL);

	fake_vfio_bind(&host, b, "snd_hda_intel");
	assert_int_equal(refused(A), -EBUSY);
	assert_says(A, "ACS", "group 7", B " (driver snd_hda_intel), 0000:01:00.2 (driver host)",
		    "for d in " B " 0000:01:00.2; do");
	/* bridges and what has no driver are in nobody's way */
	fake_vfio_bind(&host, b, "pcieport");
	fake_vfio_bind(&host, x, "");
	add(A);
}

/* sysfs knows of nobody: races, drivers that claim DMA in other ways */
static void group_not_viable_unknown(void **state)
{
	fake_vfio_bind(&host, b, "host");
	fake_vfio_remove(&host, "sys/kernel/iommu_groups/7/devices/" B);
	assert_int_equal(refused(A), -EBUSY);
	assert_says(A, "group 7");
}

/* What is no PCI function can share a group, too. */
static void group_with_others(void **state)
{
	fake_vfio_file(&host, "sys/kernel/iommu_groups/7/devices/2c0f0000.dma", "");
	fake_vfio_bind(&host, b, "host");
	assert_int_equal(refused(A), -EBUSY);
	assert_says(B " (driver host)", "2c0f0000.dma (no PCI function)", "for d in " B "; do");
	fake_vfio_bind(&host, b, "vfio-pci");
	fake_vfio_add(&host, "0000:09:00.0", 12, NULL);
	fake_vfio_remove(&host, "sys/bus/pci/devices/0000:09:00.0");
	assert_int_equal(refused(C), -EBUSY);
	assert_says(C, "group 12", "0000:09:00.0 (no PCI function)");
	assert_null(strstr(e.msg, "for d in"));
}

static void in_use(void **state)
{
	a->taken = true;
	assert_int_equal(refused(A), -EBUSY);
	assert_says(A, "another program", "fuser -v ", backend == VFIO_GROUP ? "/vfio/7" :
		    "/vfio/devices/vfio0");
	/* another function of the group */
	assert_int_equal(refused(B), -EBUSY);
	assert_says(B, "group 7", "one owner");
	add(C);
}

static void tokens(void **state)
{
	fake_vfio_virtual(&host, c, d);
	c->token = d->token = true;
	assert_int_equal(refused(C), -EACCES);
	assert_says(C, "virtual function", D, "VF token");
	assert_int_equal(refused(D), -EACCES);
	assert_says(D, "physical function", "echo 0 > ", D "/sriov_numvfs");
}

static void denied(void **state)
{
	bool group = backend == VFIO_GROUP;

	fake_vfio_deny(&host, group ? "vfio/7" : "vfio/devices/vfio0", EACCES);
	assert_int_equal(refused(A), -EACCES);
	assert_says(A, group ? "/vfio/7" : "/vfio/devices/vfio0", "permission denied", "chown", "udev");
	host.nr_deny = 0;
	fake_vfio_deny(&host, group ? "vfio/vfio" : "iommu", EACCES);
	assert_int_equal(refused(A), -EACCES);
	assert_says(group ? "/vfio/vfio" : "/iommu", "permission denied");
	host.nr_deny = 0;
	fake_vfio_deny(&host, group ? "vfio/vfio" : "iommu", EMFILE);
	assert_int_equal(refused(A), -EMFILE);
	assert_says(strerror(EMFILE));
	host.nr_deny = 0;
	fake_vfio_deny(&host, group ? "vfio/7" : "vfio/devices/vfio0", EIO);
	assert_int_equal(refused(A), -EIO);
	assert_says(strerror(EIO));
	host.nr_deny = 0;
	fake_vfio_deny(&host, group ? "vfio/7" : "vfio/devices/vfio0", ENOENT);
	assert_int_equal(refused(A), -ENOENT);
	assert_says("missing", "/dev");
	host.nr_deny = 0;
	add(A);
}

static void missing_parts(void **state)
{
	if (backend == VFIO_GROUP) {
		host.containers = false;
		assert_int_equal(refused(A), -ENOENT);
		assert_says("/vfio/vfio", "modprobe vfio_iommu_type1", "CONFIG_VFIO_CONTAINER");
		host.containers = true;
		host.type1 = false;
		assert_int_equal(refused(A), -ENOTSUP);
		assert_says("type1v2", "modprobe vfio_iommu_type1");
		host.type1 = true;
		host.groups = false;
		assert_int_equal(refused(A), -ENOENT);
		assert_says("/vfio/7", "CONFIG_VFIO_GROUP", "--vfio-backend iommufd");
	} else {
		host.iommufd = false;
		assert_int_equal(refused(A), -ENOENT);
		assert_says("/iommu", "modprobe iommufd", "6.6", "--vfio-backend group");
		host.iommufd = true;
		host.cdevs = false;
		fake_vfio_bind(&host, a, "vfio-pci");
		assert_int_equal(refused(A), -ENOTSUP);
		assert_says(A, "CONFIG_VFIO_DEVICE_CDEV", "--vfio-backend group");
	}
}

static void unsafe_platform(void **state)
{
	a->no_msi_isolation = true;
	assert_int_equal(refused(A), -EPERM);
	assert_says(A, "MSI", "allow_unsafe_interrupts");
	add(C);
	assert_int_equal(refused(A), -EPERM);
	assert_says(A, "MSI", "allow_unsafe_interrupts");
	a->no_msi_isolation = false;
	d->alien = true;
	assert_int_equal(refused(D), -EINVAL);
	assert_says(D, "cannot share an address space");
	add(A);
}

static void no_pci_device(void **state)
{
	a->no_pci = true;
	assert_int_equal(refused(A), -ENOTSUP);
	assert_says(A, "not show it as a PCI function", "vfio-pci");
}

/* Every system call fails once: an error with words, nothing left open, and the next try works. */
static void each_call_fails(void **state)
{
	unsigned int calls;

	add(C);
	add(A);
	calls = host.calls;
	vfio_free(v);
	for (unsigned int n = 1; n <= calls; n++) {
		struct vfio_device *out;
		int ret;

		assert_int_equal(vfio_new(&host.sys, backend, &v, &e), 0);
		host.fail_at = n;
		memset(&e, 0, sizeof(e));
		ret = vfio_add(v, C, &out, &e);
		if (ret == 0)
			ret = vfio_add(v, A, &out, &e);
		assert_true(ret < 0);
		assert_true(e.msg[0] && e.code == ret);
		assert_int_equal(host.fail_at, 0);
		/* the same set takes it at the second try */
		if (!vfio_iommu(v))
			add(C);
		add(A);
		assert_true(iommu_allows(vfio_iommu(v), SZ_1G, SZ_4K));
		vfio_free(v);
		assert_int_equal(fake_vfio_open(&host), 0);
	}
	assert_int_equal(vfio_new(&host.sys, backend, &v, &e), 0);
}

/* ---- which back end -------------------------------------------------------------------------- */

static void automatic(void **state)
{
	add(A);
	assert_string_equal(vfio_backend_name(v), "iommufd");
}

static void automatic_group(void **state)
{
	host.iommufd = host.cdevs = false;
	for (unsigned int i = 0; i < host.nr_fns; i++)
		fake_vfio_bind(&host, &host.fn[i], "vfio-pci");
	add(A);
	add(C);
	assert_string_equal(vfio_backend_name(v), "group (type1v2)");
}

/* The newer one is there, but this user may not have it. */
static void automatic_denied(void **state)
{
	fake_vfio_deny(&host, "iommu", EACCES);
	add(A);
	assert_string_equal(vfio_backend_name(v), "group (type1v2)");
	vfio_free(v);
	assert_int_equal(vfio_new(&host.sys, backend, &v, &e), 0);
	host.nr_deny = 0;
	fake_vfio_deny(&host, "vfio/devices/vfio0", EACCES);
	add(A);
	/* and it stays with what it has */
	add(C);
	assert_string_equal(vfio_backend_name(v), "group (type1v2)");
}

static void automatic_neither(void **state)
{
	fake_vfio_deny(&host, "vfio/devices/vfio0", EACCES);
	fake_vfio_deny(&host, "vfio/7", ENOENT);
	assert_int_equal(refused(A), -EACCES);
	assert_says("/vfio/devices/vfio0", "permission denied");
	host.nr_deny = 0;
	host.iommufd = false;
	fake_vfio_deny(&host, "vfio/7", EACCES);
	assert_int_equal(refused(A), -EACCES);
	assert_says("/vfio/7", "permission denied");
}

/* ---- addresses of the IOMMU ------------------------------------------------------------------ */

static void ranges(void **state)
{
	struct iommu *io;

	a->hole = (struct iova_range){ 0x80000000, 0x8fffffff };
	c->hole = (struct iova_range){ 0x90000000, 0x9000ffff };
	host.last = (UINT64_C(1) << 40) - 1;
	add(A);
	io = vfio_iommu(v);
	assert_true(iommu_allows(io, 0x90000000, SZ_4K));
	add(C);
	assert_int_equal(io->nr, 3);
	assert_int_equal(io->range[0].first, 0);
	assert_int_equal(io->range[0].last, 0x7ffffff);
	assert_int_equal(io->range[1].first, 0x8100000);
	assert_int_equal(io->range[1].last, 0x7fffffff);
	assert_int_equal(io->range[2].first, 0x90010000);
	assert_int_equal(io->range[2].last, (UINT64_C(1) << 40) - 1);

	assert_true(iommu_allows(io, 0, 0x8000000));
	assert_false(iommu_allows(io, 0, 0x8000001));
	assert_false(iommu_allows(io, 0x8000000, 1));		/* the window of messages */
	assert_true(iommu_allows(io, 0x7fffffff, 1));
	assert_false(iommu_allows(io, 0x7ffff000, 2 * SZ_4K));
	assert_false(iommu_allows(io, 0x90000000, SZ_4K));
	assert_true(iommu_allows(io, (UINT64_C(1) << 40) - SZ_4K, SZ_4K));
	assert_false(iommu_allows(io, (UINT64_C(1) << 40) - SZ_4K, 2 * SZ_4K));
	assert_false(iommu_allows(io, UINT64_C(1) << 40, SZ_4K));
	assert_false(iommu_allows(io, SZ_4K, 0));
	assert_false(iommu_allows(io, SZ_4K, UINT64_MAX));
	assert_false(iommu_allows(io, UINT64_MAX, 2));

	assert_int_equal(iommu_page(io), SZ_4K);
	assert_int_equal(io->limit, backend == VFIO_GROUP ? UINT16_MAX : 0);
}

/* A device that could not be added in the end takes nothing away from the others. */
static void ranges_come_back(void **state)
{
	c->hole = (struct iova_range){ 0x90000000, 0x9000ffff };
	add(A);
	c->token = true;
	assert_int_equal(refused(C), -EACCES);
	assert_true(iommu_allows(vfio_iommu(v), 0x90000000, SZ_4K));
	c->token = false;
	c->no_pci = true;
	assert_int_equal(refused(C), -ENOTSUP);
	assert_true(iommu_allows(vfio_iommu(v), 0x90000000, SZ_4K));
	c->no_pci = false;
	add(C);
	assert_false(iommu_allows(vfio_iommu(v), 0x90000000, SZ_4K));
}

static void range_sets(void **state)
{
	static const struct iova_range odd[] = {
		{ 0x3000, UINT64_MAX }, { 0x2000, 0x2fff }, { 0, 0xfff }, { 0x100, 0x200 },
		{ UINT64_MAX, UINT64_MAX },
	}, bad[] = { { 0, 1 }, { 7, 6 } };
	struct iommu *io;

	add(A);
	io = vfio_iommu(v);
	assert_int_equal(iommu_set_ranges(io, odd, ARRAY_SIZE(odd), &e), 0);
	assert_int_equal(io->nr, 2);
	assert_int_equal(io->range[0].last, 0xfff);
	assert_int_equal(io->range[1].first, 0x2000);
	assert_int_equal(io->range[1].last, UINT64_MAX);
	assert_true(iommu_allows(io, UINT64_MAX - 0xfff, 0x1000));
	assert_int_equal(iommu_set_ranges(io, bad, 2, &e), -EPROTO);
	assert_says("end before they begin");
	assert_int_equal(io->nr, 2);
	assert_int_equal(iommu_set_ranges(io, NULL, 0, &e), 0);
	assert_false(iommu_allows(io, 0, 1));
}

static struct vfio_info_cap_header *cap_at(struct vfio_iommu_type1_info *info, uint32_t off)
{
	return (void *)((char *)info + off);
}

static void far_first(struct vfio_iommu_type1_info *info, uint32_t argsz)
{
	info->cap_offset = UINT32_MAX - 3;
}

static void last_byte(struct vfio_iommu_type1_info *info, uint32_t argsz)
{
	info->cap_offset = argsz - 1;
}

static void odd_place(struct vfio_iommu_type1_info *info, uint32_t argsz)
{
	memmove((char *)info + 28, (char *)info + info->cap_offset, 8);
	info->cap_offset = 28;
}

static void circle(struct vfio_iommu_type1_info *info, uint32_t argsz)
{
	cap_at(info, info->cap_offset)->id = 99;
	cap_at(info, info->cap_offset)->next = info->cap_offset;
}

static void too_short(struct vfio_iommu_type1_info *info, uint32_t argsz)
{
	cap_at(info, argsz - 8)->id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE;
	info->cap_offset = argsz - 8;
}

static void many(struct vfio_iommu_type1_info *info, uint32_t argsz)
{
	((struct vfio_iommu_type1_info_cap_iova_range *)cap_at(info, info->cap_offset))->nr_iovas =
		UINT32_MAX;
}

static void backwards(struct vfio_iommu_type1_info *info, uint32_t argsz)
{
	struct vfio_iommu_type1_info_cap_iova_range *r = (void *)cap_at(info, info->cap_offset);

	r->iova_ranges[0].start = r->iova_ranges[0].end + 1;
}

static void grows(struct vfio_iommu_type1_info *info, uint32_t argsz)
{
	static uint32_t more;

	more += 100;
	info->argsz = argsz + more;
}

static void huge(struct vfio_iommu_type1_info *info, uint32_t argsz)
{
	info->argsz = UINT32_MAX;
}

static void no_sizes(struct vfio_iommu_type1_info *info, uint32_t argsz)
{
	info->flags &= ~VFIO_IOMMU_INFO_PGSIZES;
	info->iova_pgsizes = 1;
}

/* What the kernel says is checked, whatever it says. */
static void hostile_info(void **state)
{
	static const struct {
		void (*change)(struct vfio_iommu_type1_info *info, uint32_t argsz);
		int ret;
		const char *word;
	} t[] = {
		{ far_first }, { last_byte }, { odd_place }, { circle }, { too_short },
		{ no_sizes },
		{ many, -EPROTO, "4294967295 ranges" }, { backwards, -EPROTO, "end before" },
		{ grows, -EPROTO, "no sensible size" }, { huge, -EPROTO, "no sensible size" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		host.rewrite_info = t[i].change;
		if (t[i].ret) {
			assert_int_equal(refused(A), t[i].ret);
			assert_says(t[i].word);
			continue;
		}
		add(A);
		assert_true(vfio_iommu(v)->nr >= 1);
		assert_int_equal(iommu_page(vfio_iommu(v)), SZ_4K);
		vfio_free(v);
		assert_int_equal(vfio_new(&host.sys, backend, &v, &e), 0);
	}
	host.rewrite_info = NULL;
}

/* Linux before 5.4 says nothing of addresses and entries. */
static void old_info(void **state)
{
	struct iommu *io;

	host.caps = false;
	add(A);
	io = vfio_iommu(v);
	assert_int_equal(io->nr, 1);
	assert_true(iommu_allows(io, 0, UINT64_MAX));
	assert_int_equal(io->limit, UINT16_MAX);
	/* then the map is refused */
	assert_int_equal(io->ops->map(io, 0x8000000, SZ_4K, page, &e), -EINVAL);
	assert_says("0x8000000");
}

static unsigned int asked;

static void more_each_time(uint32_t *nr, struct iova_range *r, uint32_t room)
{
	*nr = room + 1;
	asked++;
}

static void too_many(uint32_t *nr, struct iova_range *r, uint32_t room)
{
	*nr = UINT32_MAX;
}

static void bad_range(uint32_t *nr, struct iova_range *r, uint32_t room)
{
	r[0] = (struct iova_range){ 2, 1 };
}

static void hostile_ranges(void **state)
{
	host.rewrite_ranges = more_each_time;
	asked = 0;
	assert_int_equal(refused(A), -EPROTO);
	assert_says("no sensible size");
	assert_in_range(asked, 2, 10);
	host.rewrite_ranges = too_many;
	assert_int_equal(refused(A), -EPROTO);
	host.rewrite_ranges = bad_range;
	assert_int_equal(refused(A), -EPROTO);
	assert_says("end before");
	/* more than the first guess, and all of them arrive */
	host.rewrite_ranges = NULL;
	for (unsigned int i = 0; i < host.nr_fns; i++)
		host.fn[i].hole = (struct iova_range){ (i + 1) * SZ_1M, (i + 1) * SZ_1M + 0xfff };
	for (unsigned int i = 0; i < 12; i++) {
		char name[PCI_NAME_SIZE];
		struct fake_fn *fn;

		/* they share a device, which nobody looks at */
		snprintf(name, sizeof(name), "0000:20:%02x.0", i);
		fn = fake_vfio_add(&host, name, 40 + i, &dev[0]);
		fn->hole = (struct iova_range){ (i + 20) * SZ_1M, (i + 20) * SZ_1M + 0xfff };
		add(name);
	}
	add(A);
	add(B);
	add(C);
	add(D);
	assert_int_equal(vfio_iommu(v)->nr, 18);
}

static void large_pages(void **state)
{
	struct iommu *io;

	host.page_sizes = -SZ_64K;
	host.alignment = SZ_64K;
	add(A);
	io = vfio_iommu(v);
	assert_int_equal(iommu_page(io), SZ_64K);
	assert_int_equal(io->ops->map(io, SZ_1G, SZ_4K, page, &e), -EINVAL);
	assert_says("64 KiB");
	assert_int_equal(host.maps, 0);
	vfio_free(v);
	/* an IOMMU that needs no alignment still pins pages */
	assert_int_equal(vfio_new(&host.sys, VFIO_IOMMUFD, &v, &e), 0);
	host.alignment = 1;
	add(A);
	assert_int_equal(iommu_page(vfio_iommu(v)), sysconf(_SC_PAGESIZE));
}

/* ---- mappings -------------------------------------------------------------------------------- */

static void mappings(void **state)
{
	struct iommu *io;

	add(A);
	io = vfio_iommu(v);
	assert_int_equal(io->ops->map(io, SZ_1G, 2 * SZ_4K, page, &e), 0);
	assert_int_equal(io->ops->map(io, SZ_1G + 2 * SZ_4K, SZ_4K, page + 2 * SZ_4K, &e), 0);
	assert_int_equal(fake_vfio_maps(&host), 2);
	assert_int_equal(io->pinned, 3 * SZ_4K);
	assert_ptr_equal(fake_vfio_at(&host, SZ_1G + SZ_4K + 5), page + SZ_4K + 5);
	assert_ptr_equal(fake_vfio_at(&host, SZ_1G + 2 * SZ_4K), page + 2 * SZ_4K);
	assert_null(fake_vfio_at(&host, SZ_1G - 1));
	assert_null(fake_vfio_at(&host, SZ_1G + 3 * SZ_4K));

	assert_int_equal(io->ops->map(io, SZ_1G + SZ_4K, SZ_4K, page, &e), -EEXIST);
	assert_says("0x40001000", strerror(EEXIST));
	assert_int_equal(io->ops->map(io, SZ_1G + 1, SZ_4K, page, &e), -EINVAL);
	assert_says("4 KiB");
	assert_int_equal(io->ops->map(io, 2 * SZ_1G, SZ_4K, page + 1, &e), -EINVAL);
	assert_int_equal(io->ops->map(io, 2 * SZ_1G, 0, page, &e), -EINVAL);
	assert_int_equal(io->ops->map(io, 0x8000000, SZ_4K, page, &e), -EINVAL);
	assert_says("reserved");
	assert_int_equal(io->ops->map(io, host.last + 1, SZ_4K, page, &e), -EINVAL);
	assert_int_equal(io->ops->map(io, -SZ_4K, 2 * SZ_4K, page, &e), -EINVAL);
	assert_int_equal(host.maps, 2);

	/* nothing there, and more than there is: no quiet success */
	assert_int_equal(io->ops->unmap(io, 3 * SZ_1G, SZ_4K, &e), -ENOENT);
	assert_says("0xc0000000");
	assert_int_equal(io->pinned, 3 * SZ_4K);
	assert_int_equal(io->ops->unmap(io, SZ_1G, 2 * SZ_4K, &e), 0);
	assert_null(fake_vfio_at(&host, SZ_1G));
	assert_int_equal(io->ops->unmap(io, SZ_1G + 2 * SZ_4K, 2 * SZ_4K, &e), -EIO);
	assert_int_equal(fake_vfio_maps(&host), 0);
	/* more came out than went in: the sum is not below nothing */
	assert_int_equal(io->ops->map(io, SZ_1G, SZ_4K, page, &e), 0);
	host.fail_at = 1;
	assert_int_equal(io->ops->unmap(io, SZ_1G, SZ_4K, &e), -EIO);
	assert_non_null(fake_vfio_at(&host, SZ_1G));
	host.fail_at = 1;
	host.fail_errno = EFAULT;
	assert_int_equal(io->ops->map(io, 2 * SZ_1G, SZ_4K, page, &e), -EFAULT);
	assert_says("cannot pin this memory");
	/* a mapping that is left goes with the address space */
}

static void entries(void **state)
{
	struct iommu *io;

	host.entries = 3;
	add(A);
	io = vfio_iommu(v);
	assert_int_equal(io->limit, 3);
	for (uint64_t at = 0; at < 3 * SZ_4K; at += SZ_4K)
		assert_int_equal(io->ops->map(io, SZ_1G + at, SZ_4K, page + at, &e), 0);
	assert_int_equal(io->ops->map(io, 2 * SZ_1G, SZ_4K, page, &e), -ENOSPC);
	assert_says("all 3 mappings", "--vfio-backend iommufd", "dma_entry_limit");
	/* a device that comes later does not make it look smaller */
	add(C);
	assert_int_equal(io->limit, 3);
}

/* The effective set only: what is permitted comes back. */
static void ipc_lock(bool on)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct x[_LINUX_CAPABILITY_U32S_3];

	assert_int_equal(syscall(SYS_capget, &h, x), 0);
	x[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= ~CAP_TO_MASK(CAP_IPC_LOCK);
	if (on)
		x[CAP_TO_INDEX(CAP_IPC_LOCK)].effective |=
			x[CAP_TO_INDEX(CAP_IPC_LOCK)].permitted & CAP_TO_MASK(CAP_IPC_LOCK);
	assert_int_equal(syscall(SYS_capset, &h, x), 0);
}

static void memlock(void **state)
{
	struct rlimit old, low = { 10 * SZ_4K, 0 };
	struct iommu *io;

	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &old), 0);
	low.rlim_max = old.rlim_max;
	add(A);
	io = vfio_iommu(v);
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &low), 0);
	ipc_lock(false);
	host.memlock = low.rlim_cur;
	assert_int_equal(iommu_memlock(10 * SZ_4K, &e), 0);
	assert_int_equal(iommu_memlock(10 * SZ_4K + 1, &e), -ENOMEM);
	assert_says("41 KiB", "the limit is 40 KiB", "ulimit -l 41", "LimitMEMLOCK");
	assert_int_equal(io->ops->map(io, SZ_1G, 8 * SZ_4K, page, &e), 0);
	assert_int_equal(io->ops->map(io, 2 * SZ_1G, 4 * SZ_4K, page + 8 * SZ_4K, &e), -ENOMEM);
	/* what is pinned already is part of the figure */
	assert_says("need 48 KiB", "40 KiB", "ulimit -l 48", "CAP_IPC_LOCK");
	assert_int_equal(fake_vfio_maps(&host), 1);
	/* below the limit it is something else */
	host.memlock = 9 * SZ_4K;
	assert_int_equal(io->ops->map(io, 2 * SZ_1G, 2 * SZ_4K, page + 8 * SZ_4K, &e), -ENOMEM);
	assert_says("cannot pin 8 KiB", "32 KiB that are pinned", "out of memory");
	ipc_lock(true);
	if (geteuid() == 0)
		assert_int_equal(iommu_memlock(SZ_1G, &e), 0);
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &old), 0);
	assert_int_equal(io->ops->unmap(io, SZ_1G, 8 * SZ_4K, &e), 0);
	assert_int_equal(io->pinned, 0);
}

/* ---- what a device answers ------------------------------------------------------------------- */

static void regions(void **state)
{
	struct vfio_device *x = add(A);
	const struct vfio_region_info_cap_sparse_mmap *sparse;
	struct vfio_region_info *r;

	dev[0].region[0].nr_areas = 2;
	dev[0].region[0].area[1].offset = 0x3000;
	assert_int_equal(vfio_region(x, 0, &r, &e), 0);
	assert_int_equal(r->size, dev[0].region[0].size);
	sparse = vfio_find_cap(r, r->argsz, r->cap_offset, VFIO_REGION_INFO_CAP_SPARSE_MMAP,
			       sizeof(*sparse) + 2 * sizeof(sparse->areas[0]));
	assert_non_null(sparse);
	assert_int_equal(sparse->nr_areas, 2);
	assert_int_equal(sparse->areas[1].offset, 0x3000);
	assert_null(vfio_find_cap(r, r->argsz, r->cap_offset, VFIO_REGION_INFO_CAP_SPARSE_MMAP,
				  4096));
	assert_null(vfio_find_cap(r, r->argsz, 0, VFIO_REGION_INFO_CAP_SPARSE_MMAP, 8));
	free(r);
	assert_int_equal(vfio_region(x, VFIO_PCI_CONFIG_REGION_INDEX, &r, &e), 0);
	assert_int_equal(r->cap_offset, 0);
	free(r);
	assert_true(vfio_region(x, 77, &r, &e) < 0);
	assert_says(A, "region 77");
	host.fail_at = 1;
	assert_int_equal(vfio_region(x, 0, &r, &e), -EIO);
}

static void capabilities(void **state)
{
	_Alignas(8) unsigned char buf[64] = { 0 };
	struct vfio_info_cap_header h = { .id = 5, .version = 1 };

	memcpy(buf + 8, &h, sizeof(h));
	assert_ptr_equal(vfio_find_cap(buf, 64, 8, 5, 8), buf + 8);
	assert_ptr_equal(vfio_find_cap(buf, 64, 8, 5, 56), buf + 8);
	assert_null(vfio_find_cap(buf, 64, 8, 5, 57));
	assert_null(vfio_find_cap(buf, 15, 8, 5, 8));
	assert_null(vfio_find_cap(buf, 64, 64, 5, 8));
	assert_null(vfio_find_cap(buf, 64, 57, 5, 8));
	assert_null(vfio_find_cap(buf, 0, 8, 5, 8));
	/* behind another one, and back again */
	h = (struct vfio_info_cap_header){ .id = 6, .next = 8 };
	memcpy(buf + 32, &h, sizeof(h));
	assert_null(vfio_find_cap(buf, 64, 32, 5, 8));
	h.next = 40;
	memcpy(buf + 32, &h, sizeof(h));
	memcpy(buf + 40, &(struct vfio_info_cap_header){ .id = 5 }, sizeof(h));
	assert_ptr_equal(vfio_find_cap(buf, 64, 32, 5, 8), buf + 40);
}

static void interrupts(void **state)
{
	struct vfio_device *x = add(A);
	struct vfio_irq_info info;
	int fd[2] = { eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), -1 };

	assert_int_equal(vfio_irq(x, VFIO_PCI_MSIX_IRQ_INDEX, &info), 0);
	assert_true(info.count > 2);
	assert_true(vfio_irq(x, 99, &info) < 0);
	assert_int_equal(vfio_set_irqs(x, VFIO_PCI_MSIX_IRQ_INDEX, 0, 2, fd,
				       VFIO_IRQ_SET_ACTION_TRIGGER, &e), 0);
	assert_true(fake_dev_fire(&dev[0], VFIO_PCI_MSIX_IRQ_INDEX, 0));
	assert_false(fake_dev_fire(&dev[0], VFIO_PCI_MSIX_IRQ_INDEX, 1));
	assert_int_equal(poll(&(struct pollfd){ .fd = fd[0], .events = POLLIN }, 1, 0), 1);
	assert_int_equal(vfio_set_irqs(x, VFIO_PCI_MSIX_IRQ_INDEX, 0, 0, NULL,
				       VFIO_IRQ_SET_ACTION_TRIGGER, &e), 0);
	assert_false(fake_dev_fire(&dev[0], VFIO_PCI_MSIX_IRQ_INDEX, 0));
	assert_int_equal(vfio_set_irqs(x, VFIO_PCI_MSIX_IRQ_INDEX, 0, 2049, fd,
				       VFIO_IRQ_SET_ACTION_TRIGGER, &e), -EINVAL);
	host.fail_at = 1;
	assert_int_equal(vfio_set_irqs(x, VFIO_PCI_MSIX_IRQ_INDEX, 3, 1, fd,
				       VFIO_IRQ_SET_ACTION_TRIGGER, &e), -EIO);
	assert_says(A, "MSI-X, 1 from 3");
	close(fd[0]);
}

/* ---- reset ----------------------------------------------------------------------------------- */

static void own_reset(void **state)
{
	struct vfio_device *x = add(A);

	assert_int_equal(vfio_reset(x, &e), 0);
	assert_int_equal(vfio_reset_own(x, &e), 0);
	assert_int_equal(dev[0].resets, 2);
	assert_int_equal(a->hot_resets, 0);
	/* its own fails: the slot's */
	host.fail_at = 1;
	assert_int_equal(vfio_reset(x, &e), 0);
	assert_int_equal(a->hot_resets, 1);
	/* both fail */
	host.fail_at = 1;
	a->slot = -1;
	assert_int_equal(vfio_reset(x, &e), -EIO);
	assert_says(A, "VFIO_DEVICE_RESET");
}

static void no_reset(void **state)
{
	struct vfio_device *x;

	dev[0].can_reset = false;
	a->slot = -1;
	x = add(A);
	assert_false(x->can_reset);
	assert_int_equal(vfio_reset(x, &e), -EOPNOTSUPP);
	assert_says(A, "no way to reset");
	assert_int_equal(vfio_reset_own(x, &e), -EOPNOTSUPP);
	assert_says(A, "alone");
}

/* Three functions of two groups in one slot: reset once for all of them, in every round. */
static void hot_reset(void **state)
{
	struct vfio_device *x, *y, *z;

	for (unsigned int i = 0; i < 4; i++)
		dev[i].can_reset = false;
	a->slot = b->slot = c->slot = 50;
	x = add(A);
	y = add(B);
	z = add(C);
	add(D);
	for (unsigned int round = 1; round <= 3; round++) {
		assert_int_equal(vfio_reset(x, &e), 0);
		assert_int_equal(vfio_reset(y, &e), 0);
		assert_int_equal(vfio_reset(z, &e), 0);
		assert_int_equal(a->hot_resets, round);
		assert_int_equal(c->hot_resets, round);
	}
	/* in the other order */
	assert_int_equal(vfio_reset(z, &e), 0);
	assert_int_equal(vfio_reset(y, &e), 0);
	assert_int_equal(vfio_reset(x, &e), 0);
	assert_int_equal(a->hot_resets, 4);
	assert_int_equal(d->hot_resets, 0);
	/* never under the others' feet */
	assert_int_equal(vfio_reset_own(x, &e), -EOPNOTSUPP);
	assert_int_equal(a->hot_resets, 4);
	/* a second one of the same function is a reset, too */
	assert_int_equal(vfio_reset(x, &e), 0);
	assert_int_equal(vfio_reset(x, &e), 0);
	assert_int_equal(a->hot_resets, 6);
}

/* B is not given to the guest, but as good as: it is in the same group. */
static void hot_reset_same_group(void **state)
{
	struct vfio_device *x;

	dev[0].can_reset = false;
	a->slot = b->slot = 50;
	x = add(A);
	assert_int_equal(vfio_reset(x, &e), 0);
	assert_int_equal(b->hot_resets, 1);
	/* but not while nobody holds it */
	fake_vfio_bind(&host, b, "");
	assert_int_equal(vfio_reset(x, &e), -EOPNOTSUPP);
	assert_says(A, "only together with " B, "for d in " B "; do");
}

static void hot_reset_in_the_way(void **state)
{
	struct vfio_device *x;

	dev[0].can_reset = false;
	a->slot = c->slot = d->slot = 50;
	x = add(A);
	/* bound, but another guest's or nobody's */
	assert_int_equal(vfio_reset(x, &e), -EOPNOTSUPP);
	assert_says(A, "only together with " C ", " D, "give them to this guest, too");
	assert_null(strstr(e.msg, "for d in"));
	/* the host's */
	fake_vfio_bind(&host, d, "ahci");
	assert_int_equal(vfio_reset(x, &e), -EOPNOTSUPP);
	assert_says(C ", " D " (driver ahci)", "for d in " D "; do");
	fake_vfio_bind(&host, d, "");
	assert_int_equal(vfio_reset(x, &e), -EOPNOTSUPP);
	assert_says(C ", " D ": give", "for d in " D "; do");
	assert_null(strstr(e.msg, "unbind"));
	assert_int_equal(a->hot_resets, 0);
	fake_vfio_bind(&host, d, "vfio-pci");
	add(C);
	add(D);
	assert_int_equal(vfio_reset(x, &e), 0);
	assert_int_equal(a->hot_resets, 1);
}

/* More functions than there was room for at first; each call fails once. */
static void hot_reset_many(void **state)
{
	struct vfio_device *x, *out;

	dev[0].can_reset = false;
	a->slot = 50;
	for (unsigned int i = 0; i < 11; i++) {
		char name[PCI_NAME_SIZE];

		snprintf(name, sizeof(name), "0000:20:%02x.0", i);
		fake_vfio_add(&host, name, 40 + i, &dev[1])->slot = 50;
		assert_int_equal(vfio_add(v, name, &out, &e), 0);
	}
	x = add(A);
	for (unsigned int n = 1; n <= 3; n++) {
		host.fail_at = n;
		assert_int_equal(vfio_reset(x, &e), -EIO);
		assert_says(A, "HOT_RESET");
		assert_int_equal(a->hot_resets, 0);
	}
	assert_int_equal(vfio_reset(x, &e), 0);
	assert_int_equal(a->hot_resets, 1);
	assert_int_equal(host.fn[14].hot_resets, 1);
}

/* ---- KVM ------------------------------------------------------------------------------------- */

static bool kvm_knows, kvm_takes;
static int told[8];
static unsigned int nr_told;

static int kvm_ioctl(int fd, unsigned long req, unsigned long arg)
{
	if (req == KVM_CREATE_DEVICE) {
		struct kvm_create_device *cd = (void *)arg;

		assert_int_equal(cd->type, KVM_DEV_TYPE_VFIO);
		cd->fd = 77;
		return kvm_knows ? 0 : -ENODEV;
	}
	if (req == KVM_SET_DEVICE_ATTR) {
		struct kvm_device_attr *at = (void *)arg;

		assert_int_equal(fd, 77);
		assert_int_equal(at->group, KVM_DEV_VFIO_GROUP);
		assert_int_equal(at->attr, KVM_DEV_VFIO_GROUP_ADD);
		assert_true(nr_told < ARRAY_SIZE(told));
		told[nr_told++] = *(int *)(uintptr_t)at->addr;
		return kvm_takes ? 0 : -EINVAL;
	}
	fail_msg("ioctl %#lx", req);
	return -ENOTTY;
}

static void tell_kvm(void **state)
{
	static const struct kvm_sys sys = { .ioctl = kvm_ioctl };
	struct kvm k = { .sys = &sys, .dev = 5, .vm = 6 };
	struct vfio_device *x = add(A), *y = add(B), *z = add(C);

	nr_told = 0;
	kvm_knows = kvm_takes = false;
	assert_int_equal(vfio_tell_kvm(v, &k), -1);
	assert_int_equal(nr_told, 0);
	kvm_knows = true;
	assert_int_equal(vfio_tell_kvm(v, &k), 77);
	nr_told = 0;
	kvm_takes = true;
	assert_int_equal(vfio_tell_kvm(v, &k), 77);
	if (backend == VFIO_GROUP) {
		assert_int_equal(nr_told, 2);
	} else {
		assert_int_equal(nr_told, 3);
		assert_int_equal(told[0], x->fd);
		assert_int_equal(told[1], y->fd);
		assert_int_equal(told[2], z->fd);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest both[] = {
		TEST(naming), TEST(devices), TEST(nothing_is_opened_early), TEST(not_bound),
		TEST(no_iommu), TEST(group_not_viable), TEST(group_not_viable_unknown),
		TEST(group_with_others), TEST(in_use), TEST(tokens), TEST(denied),
		TEST(missing_parts),
		TEST(unsafe_platform), TEST(no_pci_device), TEST(each_call_fails), TEST(ranges),
		TEST(ranges_come_back), TEST(range_sets), TEST(large_pages), TEST(mappings),
		TEST(memlock), TEST(regions),
		TEST(interrupts), TEST(own_reset), TEST(no_reset), TEST(hot_reset),
		TEST(hot_reset_same_group), TEST(hot_reset_in_the_way), TEST(hot_reset_many),
		TEST(tell_kvm),
	};
	const struct CMUnitTest group[] = {
		TEST(hostile_info), TEST(old_info), TEST(entries),
	};
	const struct CMUnitTest iommufd[] = {
		TEST(hostile_ranges),
	};
	const struct CMUnitTest any[] = {
		cmocka_unit_test(addresses), cmocka_unit_test(capabilities), TEST(automatic),
		TEST(automatic_group), TEST(automatic_denied), TEST(automatic_neither),
	};
	int failed;

	log_set_level(LOG_ERROR);
	backend = VFIO_GROUP;
	failed = cmocka_run_group_tests_name("both back ends, group", both, NULL, NULL);
	failed += cmocka_run_group_tests_name("group", group, NULL, NULL);
	backend = VFIO_IOMMUFD;
	failed += cmocka_run_group_tests_name("both back ends, iommufd", both, NULL, NULL);
	failed += cmocka_run_group_tests_name("iommufd", iommufd, NULL, NULL);
	backend = VFIO_AUTO;
	failed += cmocka_run_group_tests_name("choice", any, NULL, NULL);
	return failed;
}
