// SPDX-License-Identifier: BSD-3-Clause
/*
 * What does this host speak? Found by behaviour, on VMs that are thrown away. A capability number
 * alone proves nothing: it has moved with each rebase, and what it was means something else now.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "realm/ipa.h"
#include "realm/rmi.h"
#include "vmm/core/err.h"
#include "vmm/core/parse.h"

#define PROBE_IPA_BITS	33	/* what the smallest realm has; every RMM can do it */

const struct rmi_gen *const rmi_gens[] = {
	&rmi_gen_e, &rmi_gen_d, &rmi_gen_d2, &rmi_gen_c, &rmi_gen_v13, &rmi_gen_v12, &rmi_gen_a,
	NULL,
};

static int new_vm(struct kvm *k, unsigned long type, unsigned int bits)
{
	return kvm_vm_create(k, type | A64_VM_TYPE_IPA_SIZE(bits), NULL);
}

/* A VM of the wanted width; if there is none, one of the least width, which is not for keeping. */
static int probe_vm(struct kvm *k, unsigned long type, unsigned int *bits)
{
	int ret = new_vm(k, type, *bits ? *bits : PROBE_IPA_BITS);

	if (ret != -EINVAL || !*bits)
		return ret;
	ret = new_vm(k, type, PROBE_IPA_BITS);
	if (!ret)
		*bits = 0;
	return ret;
}

static void drop_vm(struct kvm *k)
{
	if (k->vm >= 0)
		k->sys->close(k->vm);
	k->vm = -1;
}

/*
 * A kernel that knows the request reads its argument first, and this one cannot be read. To one
 * that it does not know KVM of arm64 answers EINVAL, not ENOTTY.
 */
/* Return: 1, 0 or a negative errno. */
static int has_populate(struct kvm *k, unsigned long req)
{
	int ret = kvm_ioctl_vm(k, req, NULL);

	if (ret == -EINVAL || ret == -ENOTTY)
		return 0;
	return ret == -EFAULT ? 1 : ret < 0 ? ret : -EIO;
}

/*
 * Do pages of a guest_memfd change sides in place? An unknown flag is refused if they can.
 * Return: 1, 0 or a negative errno.
 */
static int has_gmem_attr(struct kvm *k)
{
	struct a64_mem_attr2 a = { .size = GRANULE_SIZE, .flags = ~UINT64_C(0) };
	int fd = kvm_gmem_create(k, GRANULE_SIZE, GUEST_MEMFD_FLAG_MMAP |
				 GUEST_MEMFD_FLAG_INIT_SHARED, NULL);
	int ret;

	if (fd < 0)
		return fd == -EINVAL ? 0 : fd;
	ret = k->sys->ioctl(fd, A64_SET_MEM_ATTR2, (uintptr_t)&a);
	k->sys->close(fd);
	if (ret == -ENOTTY)
		return 0;
	return ret == -EINVAL ? 1 : ret < 0 ? ret : -EIO;
}

/* Generation A answers CONFIG; another capability with this number takes anything or nothing. */
static bool is_rme(struct kvm *k, int cap)
{
	struct a64_rme_config good = { .cfg = A64_RME_CFG_HASH }, bad = { .cfg = UINT32_MAX };

	return kvm_cap(k, cap) && !rmi_enable_cap(k, cap, A64_RME_CONFIG, &good) &&
	       rmi_enable_cap(k, cap, A64_RME_CONFIG, &bad) < 0;
}

static int param_cap(struct kvm *k, const char **from)
{
	long v = k->sys->param("kvm_cap_arm_rmi");

	*from = "module parameter kvm_cap_arm_rmi";
	if (v <= 0) {
		v = k->sys->param("kvm_cap_arm_rme");
		*from = "module parameter kvm_cap_arm_rme";
	}
	return v > 0 && v <= 4095 ? v : 0;
}

/* The number, for generation A because it is needed, for the others to show it. */
static void find_cap(struct kvm *k, const struct realm_host_want *want, struct rmi_found *f)
{
	f->cap = want->cap;
	f->cap_from = "--rmi-cap";
	if (f->cap)
		return;
	f->cap = param_cap(k, &f->cap_from);
	if (f->cap)
		return;
	f->cap_from = "found by trying";
	for (const int *c = f->gen->caps; *c; c++) {
		if (f->gen == &rmi_gen_a ? is_rme(k, *c) : kvm_cap(k, *c) == 1) {
			f->cap = *c;
			return;
		}
	}
	f->cap_from = "not found";
}

/* Generation A: which vCPU feature means REC? Nested virtualisation has pushed it up. */
static unsigned int find_rec_bit(struct kvm *k)
{
	struct a64_vcpu_init init;
	struct kvm_vcpu v;
	unsigned int bit;

	if (kvm_vcpu_create(k, 0, &v, NULL) < 0)
		return 0;
	for (bit = A64_VCPU_REC_NEWEST; bit >= A64_VCPU_REC_OLDEST; bit--) {
		memset(&init, 0, sizeof(init));
		if (kvm_ioctl_vm(k, A64_PREFERRED_TARGET, &init) < 0)
			break;
		init.features[0] = 1U << A64_VCPU_PSCI_0_2 | 1U << bit;
		if (!kvm_vcpu_ioctl(&v, A64_VCPU_INIT, &init))
			break;
	}
	kvm_vcpu_close(&v);
	return bit < A64_VCPU_REC_OLDEST ? 0 : bit;
}

/* kvm_cap() reads an error as "no", and the wrong generation would be taken for it. */
static int ask_cap(struct kvm *k, int cap)
{
	return k->sys->ioctl(k->vm, KVM_CHECK_EXTENSION, cap);
}

/* @type's VM is there: which of those with this type is it? */
static const struct rmi_gen *recognise(struct kvm *k, unsigned long type, struct rmi_found *f)
{
	int populate = has_populate(k, A64_RMI_POPULATE), in_place = 0;

	if (type == A64_VM_TYPE_REALM) {
		int vm_attr = ask_cap(k, KVM_CAP_MEMORY_ATTRIBUTES);
		int v15 = ask_cap(k, A64_CAP_GMEM_ATTR_V15);

		if (vm_attr < 0 || v15 < 0 || populate < 0) {
			snprintf(f->why, sizeof(f->why), "asking KVM: %s",
				 strerror(-MIN(MIN(vm_attr, v15), populate)));
			return NULL;
		}
		if (!populate) {
			snprintf(f->why, sizeof(f->why), "it creates realm VMs and cannot populate them: the "
				 "plumbing of the series v17 to v21 without the rest");
			return NULL;
		}
		if (vm_attr & A64_MEM_ATTR_PRIVATE) {
			snprintf(f->how, sizeof(f->how), "VM type bit 30, memory attributes of the VM");
			return &rmi_gen_c;
		}
		/* v15 takes its shared side from the slot; trees after it from the guest_memfd. */
		if (v15 != A64_MEM_ATTR_PRIVATE)
			in_place = has_gmem_attr(k);
		if (in_place < 0) {
			snprintf(f->why, sizeof(f->why), "asking KVM: %s", strerror(-in_place));
			return NULL;
		}
		if (!in_place) {
			snprintf(f->how, sizeof(f->how), "VM type bit 30, guest_memfd that is private for "
				 "good");
			return &rmi_gen_d2;
		}
		snprintf(f->how, sizeof(f->how), "VM type bit 30, memory attributes of the guest_memfd");
		return &rmi_gen_d;
	}
	if (populate > 0) {
		snprintf(f->how, sizeof(f->how), "VM type 1, populate that advances its argument");
		return &rmi_gen_v13;
	}
	if (!populate)
		populate = has_populate(k, A64_RMI_POPULATE_V12);
	if (populate < 0) {
		snprintf(f->why, sizeof(f->why), "asking KVM: %s", strerror(-populate));
		return NULL;
	}
	if (populate) {
		snprintf(f->how, sizeof(f->how), "VM type 1, populate that returns bytes");
		return &rmi_gen_v12;
	}
	snprintf(f->how, sizeof(f->how), "VM type 1, no populate ioctl");
	return &rmi_gen_a;
}

static void why_not(struct kvm *k, int ret, struct rmi_found *f)
{
	const char *from;

	if (param_cap(k, &from))
		snprintf(f->why, sizeof(f->why), "it has KVM's RMI code (%s), and no RMM answers: the "
			 "firmware must start an RMM, on a machine with RME", from);
	else if (ret == -EINVAL || ret == -EPERM)
		snprintf(f->why, sizeof(f->why), "KVM knows no realm VMs: it takes a kernel with the KVM "
			 "host series for CCA, RME and an RMM; some trees want kvm-arm.mode=rmm");
	else
		snprintf(f->why, sizeof(f->why), "KVM_CREATE_VM for a realm: %s", strerror(-ret));
}

static const struct rmi_gen *gen_of_want(const struct realm_host_want *want, unsigned int *nr)
{
	const char *name = want->generation;
	const char *colon = strchr(name, ':');
	size_t len = colon ? (size_t)(colon - name) : strlen(name);
	uint64_t v = 0;

	for (unsigned int i = 0; rmi_gens[i]; i++) {
		const struct rmi_gen *g = rmi_gens[i];

		if (strlen(g->name) != len || strncmp(g->name, name, len))
			continue;
		/* only the explicit step has a number, and it cannot do without */
		if ((g == &rmi_gen_e) != (colon != NULL))
			return NULL;
		if (colon && (parse_u64(colon + 1, &v) < 0 || v > 0xff))
			return NULL;
		*nr = v;
		return g;
	}
	return NULL;
}

int realm_host_check_want(const struct realm_host_want *want, struct err *e)
{
	unsigned int nr;

	if (want->generation && !gen_of_want(want, &nr))
		return err_set(e, -EINVAL, "option --rmi-generation: \"%.40s\" is none: give a, v12, v13, "
			       "c, d, d2 or e:NR (NR: the number of KVM_ARM_RMI_INIT_RIPAS), or leave it "
			       "out", want->generation);
	return 0;
}

int rmi_probe(struct kvm *k, const struct realm_host_want *want, unsigned int bits,
	      struct rmi_found *f, struct err *e)
{
	static const struct realm_host_want nothing;
	static const unsigned long types[] = { A64_VM_TYPE_REALM, A64_VM_TYPE_REALM_OLD };
	int ret = -EINVAL;

	if (!want)
		want = &nothing;
	memset(f, 0, sizeof(*f));
	f->cap_from = "not found";
	if (want->generation) {
		f->gen = gen_of_want(want, &f->ripas_nr);
		if (!f->gen)
			return realm_host_check_want(want, e);
		ret = probe_vm(k, f->gen->vm_type, &bits);
		if (ret < 0) {
			snprintf(f->why, sizeof(f->why), "it creates no realm of the generation that "
				 "--rmi-generation %.16s names: %s; leave the option out", want->generation,
				 strerror(-ret));
			f->gen = NULL;
		} else {
			snprintf(f->how, sizeof(f->how), "--rmi-generation");
		}
	} else {
		for (unsigned int i = 0; i < ARRAY_SIZE(types); i++) {
			ret = probe_vm(k, types[i], &bits);
			if (ret == 0) {
				f->gen = recognise(k, types[i], f);
				break;
			}
			if (ret != -EINVAL && ret != -EPERM)
				break;
		}
	}
	if (f->gen)
		find_cap(k, want, f);
	if (f->gen == &rmi_gen_a) {
		f->rec_bit = find_rec_bit(k);
		if (!f->cap || !f->rec_bit) {
			snprintf(f->why, sizeof(f->why), f->cap ?
				 "it creates realm VMs, and no vCPU feature for RECs was found" :
				 "it creates realm VMs, and the number of KVM_CAP_ARM_RME was not found; "
				 "give it with --rmi-cap");
			f->gen = NULL;
		}
	}
	/* in generation A this VM has a vCPU now, and a configuration */
	if (!bits || !f->gen || f->gen == &rmi_gen_a)
		drop_vm(k);
	if (!f->gen && !f->why[0])
		why_not(k, ret, f);
	return 0;
}

/* ---- for `realmtool check` ------------------------------------------------------------------- */

static unsigned int widest(struct kvm *k, const struct rmi_gen *g)
{
	int limit = kvm_cap_sys(k, A64_CAP_VM_IPA_SIZE);

	for (int bits = limit ? limit : IPA_MAX_BITS; bits >= IPA_MIN_BITS; bits--) {
		int ret = new_vm(k, g->vm_type, bits);

		drop_vm(k);
		if (!ret)
			return bits;
	}
	return 0;
}

static unsigned int sve_length(struct kvm_vcpu *v)
{
	uint64_t vls[8];

	if (kvm_reg_io(v, A64_SVE_VLS, vls, false) < 0)
		return 0;
	for (unsigned int vq = 512; vq-- > 0;)
		if (vls[vq / 64] >> (vq % 64) & 1)
			return (vq + 1) * 128;
	return 0;
}

static void vcpu_limits(struct kvm *k, const struct rmi_found *f, struct realm_host *h)
{
	bool sve = kvm_cap(k, A64_CAP_SVE);
	struct a64_vcpu_init init = { 0 };
	struct kvm_vcpu v;
	uint64_t dfr0;

	if (kvm_vcpu_create(k, 0, &v, NULL) < 0)
		return;
	if (!kvm_ioctl_vm(k, A64_PREFERRED_TARGET, &init)) {
		init.features[0] = 1U << A64_VCPU_PSCI_0_2 | (f->rec_bit ? 1U << f->rec_bit : 0) |
				   (sve ? 1U << A64_VCPU_SVE : 0);
		if (!kvm_vcpu_ioctl(&v, A64_VCPU_INIT, &init)) {
			if (sve)
				h->sve_vl = sve_length(&v);
			if (!kvm_get_reg(&v, A64_ID_AA64DFR0_EL1, &dfr0)) {
				h->breakpoints = (dfr0 >> 12 & 0xf) + 1;
				h->watchpoints = (dfr0 >> 20 & 0xf) + 1;
			}
		}
	}
	kvm_vcpu_close(&v);
}

int realm_host_probe(struct kvm *k, const struct realm_host_want *want, struct realm_host *h,
		     struct err *e)
{
	static const char *const privacy[] = {
		[RMI_VM_ATTR] = "memory attributes of the VM, two backings",
		[RMI_BORN_PRIVATE] = "guest_memfd that is private for good, two backings",
		[RMI_IN_PLACE] = "memory attributes of the guest_memfd, in place",
	};
	struct rmi_found f;
	int ret;

	memset(h, 0, sizeof(*h));
	ret = rmi_probe(k, want, 0, &f, e);
	if (ret < 0)
		return ret;
	memcpy(h->why, f.why, sizeof(h->why));
	if (!f.gen)
		return 0;
	h->realms = true;
	snprintf(h->generation, sizeof(h->generation), "%s", f.gen->name);
	snprintf(h->series, sizeof(h->series), "%s", f.gen->series);
	memcpy(h->how, f.how, sizeof(h->how));
	h->cap = f.cap;
	snprintf(h->cap_from, sizeof(h->cap_from), "%s", f.cap_from);
	h->privacy = privacy[f.gen->privacy];
	h->algos = f.gen->algos;
	h->rpv = f.gen->rpv;
	h->ipa_bits = widest(k, f.gen);
	ret = new_vm(k, f.gen->vm_type, PROBE_IPA_BITS);
	if (!ret) {
		h->pmu_possible = f.gen->pmu;
		h->pmu = f.gen->pmu && kvm_cap(k, A64_CAP_PMU_V3);
		vcpu_limits(k, &f, h);
	}
	drop_vm(k);
	return 0;
}

void realm_measures(const char *generation, struct realm_measures *m)
{
	struct realm_host_want want = { .generation = generation };
	const struct rmi_gen *g = NULL;
	unsigned int nr;

	if (generation)
		g = gen_of_want(&want, &nr);
	*m = (g ? g : &rmi_gen_d)->measures;
}
