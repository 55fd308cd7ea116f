// SPDX-License-Identifier: BSD-3-Clause
#include "realm/realm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"

int realm_init(struct realm *r, struct err *e)
{
	ipa_t end = r->ram_base + r->ram_size;

	r->shared = NULL;
	r->shared_fd = r->gmem_fd = -1;
	r->slots = NULL;
	r->next_slot = 0;
	r->told_no_bit = false;
	memset(&r->ripas, 0, sizeof(r->ripas));
	memset(&r->stat, 0, sizeof(r->stat));
	pthread_mutex_init(&r->lock, NULL);
	if (end < r->ram_base || end > ipa_limit(&r->split))
		return err_set(e, -EINVAL, "RAM up to %" PRIipa " does not fit %s of a %u-bit IPA "
			       "space; use --ipa-bits %u or less memory (-m)", end,
			       realm_is_realm(r) ? "the protected half" : "into", r->split.bits,
			       ipa_bits_needed(end, realm_is_realm(r)));
	return 0;
}

void realm_destroy(struct realm *r)
{
	if (r->ops->destroy)
		r->ops->destroy(r);
	ripas_destroy(&r->ripas);
	if (r->shared)
		munmap(r->shared, r->ram_size);
	if (r->shared_fd >= 0)
		close(r->shared_fd);
	if (r->gmem_fd >= 0)
		r->kvm->sys->close(r->gmem_fd);
	r->shared = NULL;
	r->shared_fd = r->gmem_fd = -1;
	pthread_mutex_destroy(&r->lock);
}

ipa_t realm_kernel_io(const struct realm *r, ipa_t ipa)
{
	return r->ops->io_at_alias ? ipa_to_alias(&r->split, ipa) : ipa;
}

int realm_check_window(const struct realm *r, const char *what, ipa_t base, uint64_t size,
		       struct err *e)
{
	if (base + size < base || base + size > ipa_limit(&r->split))
		return err_set(e, -EINVAL, "%s at %" PRIipa " reaches %s of a %u-bit IPA space; use "
			       "--ipa-bits %u", what, base,
			       realm_is_realm(r) ? "the shared half" : "beyond the end",
			       r->split.bits, ipa_bits_needed(base + size, realm_is_realm(r)));
	return 0;
}

int realm_set_rom(struct realm *r, unsigned int slot, ipa_t ipa, uint64_t size, void *host)
{
	struct kvm_slot s = {
		.slot = slot,
		.flags = size ? KVM_MEM_READONLY : 0,
		/* Memory that is not RAM is EMPTY: a realm reads it through the alias. */
		.ipa = ipa_to_alias(&r->split, ipa),
		.size = size,
		.host = host,
		.gmem = -1,
	};

	return kvm_set_slot(r->kvm, &s, NULL);
}

int realm_add_rom(struct realm *r, ipa_t ipa, uint64_t size, void *host, unsigned int *slot,
		  struct err *e)
{
	int ret = realm_check_window(r, "flash", ipa, size, e);

	if (ret < 0)
		return ret;
	*slot = r->next_slot++;
	ret = realm_set_rom(r, *slot, ipa, size, host);
	if (ret < 0)
		return err_set(e, ret, "cannot map the flash into the guest: %s", strerror(-ret));
	return 0;
}

/*
 * A realm's shared memory is a MAP_SHARED memfd without huge pages: KVM's realm code faults it in
 * 4 KiB pages, VFIO pins it, vhost-user passes it on. A plain VM gets anonymous memory and huge
 * pages, which is faster.
 */
int realm_alloc_shared(struct realm *r, bool memfd, struct err *e)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, fd = -1;
	void *p;

	if (r->hugetlbfs) {
		fd = open(r->hugetlbfs, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (fd < 0)
			return err_set(e, -errno, "--hugetlbfs %s: %s; name the mount point of a "
				       "hugetlbfs", r->hugetlbfs, strerror(errno));
		flags = MAP_SHARED;
	} else if (memfd) {
		fd = memfd_create("realmtool-ram", MFD_CLOEXEC);
		if (fd < 0)
			return err_set(e, -errno, "guest memory: memfd_create: %s", strerror(errno));
		flags = MAP_SHARED;
	}
	if (fd >= 0 && ftruncate(fd, r->ram_size) < 0) {
		err_set(e, -errno, "guest memory of %" PRIu64 " MiB: %s", r->ram_size / SZ_1M,
			strerror(errno));
		goto fail;
	}
	p = mmap(NULL, r->ram_size, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED) {
		err_set(e, -errno, "guest memory of %" PRIu64 " MiB: %s; use less (-m)%s",
			r->ram_size / SZ_1M, strerror(errno),
			r->hugetlbfs ? " or reserve more huge pages (vm.nr_hugepages)" : "");
		goto fail;
	}
	if (memfd)
		madvise(p, r->ram_size, MADV_NOHUGEPAGE);
	madvise(p, r->ram_size, MADV_DONTDUMP);
	r->shared = p;
	r->shared_fd = fd;
	return 0;

fail:
	if (fd >= 0)
		close(fd);
	return e ? e->code : -EIO;
}

int realm_fill(struct realm *r, const struct plan_piece *piece, void *dst, struct err *e)
{
	uint64_t whole = ALIGN_UP(piece->len, GRANULE_SIZE);

	(void)r;
	log_debug("%s: %" PRIu64 " bytes at %" PRIipa, piece->name, piece->len, piece->ipa);
	return plan_read(piece, 0, dst, whole, e);
}

void *rsi_granule(struct realm *r, ipa_t ipa)
{
	void *p;

	if (!ripas_inside(&r->ripas, ipa, ipa + GRANULE_SIZE))
		return NULL;
	if (r->gmem_fd < 0)
		return r->shared + (ipa - r->ram_base);
	p = r->kvm->sys->mmap(GRANULE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r->gmem_fd,
			      ipa - r->ram_base);
	return p == MAP_FAILED ? NULL : p;
}

void rsi_granule_put(struct realm *r, void *p)
{
	if (r->gmem_fd >= 0)
		r->kvm->sys->munmap(p, GRANULE_SIZE);
}

int realm_debug_mem(struct realm *r, ipa_t ipa, void *buf, uint64_t len, bool write)
{
	bool alias = ipa_is_alias(&r->split, ipa);
	uint8_t *b = buf;

	ipa = ipa_canonical(&r->split, ipa);
	if (ipa < r->ram_base || len > r->ram_size || ipa - r->ram_base > r->ram_size - len)
		return -EFAULT;
	while (len) {
		uint64_t off = ipa & (GRANULE_SIZE - 1), n = MIN(len, GRANULE_SIZE - off);
		bool private = r->gmem_fd >= 0 && !alias;
		uint8_t *page = private ? rsi_granule(r, ipa - off) :
					  r->shared + (ipa - off - r->ram_base);

		if (!page)
			return -EFAULT;
		if (write) {
			memcpy(page + off, b, n);
			__builtin___clear_cache((char *)page + off, (char *)page + off + n);
		} else {
			memcpy(b, page + off, n);
		}
		if (private)
			rsi_granule_put(r, page);
		ipa += n;
		b += n;
		len -= n;
	}
	return 0;
}
