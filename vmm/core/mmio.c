// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/mmio.h"

#include <errno.h>
#include <string.h>

#include "vmm/core/err.h"

int mmio_add(struct mmio_bus *bus, ipa_t base, uint64_t size, const struct mmio_ops *ops,
	     void *dev, const char *name, struct err *e)
{
	unsigned int at = 0;

	if (!size || base + size - 1 < base)
		return err_set(e, -EINVAL, "device %s: bad register window at %" PRIipa, name, base);
	if (bus->nr == MMIO_MAX_RANGES)
		return err_set(e, -ENOSPC, "device %s: no more than %d register windows", name,
			       MMIO_MAX_RANGES);
	while (at < bus->nr && bus->range[at].base < base)
		at++;
	if ((at > 0 && base - bus->range[at - 1].base < bus->range[at - 1].size) ||
	    (at < bus->nr && bus->range[at].base - base < size))
		return err_set(e, -EINVAL, "device %s at %" PRIipa " overlaps another device", name,
			       base);
	memmove(&bus->range[at + 1], &bus->range[at], (bus->nr - at) * sizeof(bus->range[0]));
	bus->range[at] = (struct mmio_range){ base, size, ops, dev, name };
	bus->nr++;
	return 0;
}

static const struct mmio_range *find(const struct mmio_bus *bus, ipa_t ipa, unsigned int len)
{
	unsigned int lo = 0, hi = bus->nr;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;
		const struct mmio_range *r = &bus->range[mid];

		if (ipa < r->base)
			hi = mid;
		else if (ipa - r->base >= r->size)
			lo = mid + 1;
		else
			return r->size - (ipa - r->base) >= len ? r : NULL;
	}
	return NULL;
}

bool mmio_access(const struct mmio_bus *bus, ipa_t ipa, uint8_t *data, unsigned int len, bool write)
{
	const struct mmio_range *r;
	uint64_t val = 0;

	if (len < 1 || len > 8)
		return false;
	r = find(bus, ipa, len);
	if (!r)
		return false;
	/* arm64 hosts and guests of ours are little-endian, as is the x86 the tests run on. */
	if (write) {
		memcpy(&val, data, len);
		r->ops->write(r->dev, ipa - r->base, val, len);
	} else {
		val = r->ops->read(r->dev, ipa - r->base, len);
		memcpy(data, &val, len);
	}
	return true;
}

const char *mmio_name(const struct mmio_bus *bus, ipa_t ipa)
{
	const struct mmio_range *r = find(bus, ipa, 1);

	return r ? r->name : NULL;
}
