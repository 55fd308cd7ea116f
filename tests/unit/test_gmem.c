// SPDX-License-Identifier: BSD-3-Clause
/* The door to guest memory: what it lets through, what it refuses, who waits for whom. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "realm/ipa.h"
#include "realm/ripas.h"
#include "vmm/core/err.h"
#include "vmm/core/gmem.h"

#define BASE	UINT64_C(0x80000000)
#define SIZE	(64 * GRANULE_SIZE)

struct fixture {
	struct gmem gm;
	struct ripas ripas;
	struct ipa_split split;
	uint8_t *mem;
};

static ipa_t canonical(const void *ctx, ipa_t ipa)
{
	return ipa_canonical(&((const struct fixture *)ctx)->split, ipa);
}

static bool shared(const void *ctx, ipa_t ipa, uint64_t len)
{
	return ripas_is_shared(&((const struct fixture *)ctx)->ripas, ipa, len);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->mem = malloc(SIZE);		/* exactly, so that ASan sees a byte too many */
	f->split = ipa_split(33, true);
	assert_int_equal(gmem_init(&f->gm, NULL), 0);
	assert_int_equal(gmem_add(&f->gm, BASE, SIZE, f->mem, -1, NULL), 0);
	assert_int_equal(ripas_init(&f->ripas, BASE, SIZE, RIPAS_EMPTY, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	gmem_destroy(&f->gm);
	ripas_destroy(&f->ripas);
	free(f->mem);
	free(f);
	return 0;
}

static void guard(struct fixture *f)
{
	const struct gmem_guard g = { canonical, shared, f };

	gmem_set_guard(&f->gm, &g);
}

static int map(struct fixture *f, ipa_t ipa, uint64_t len, void **out)
{
	int ret;

	gmem_enter(&f->gm);
	ret = gmem_map(&f->gm, ipa, len, out);
	gmem_leave(&f->gm);
	return ret;
}

static void range(void **state)
{
	struct fixture *f = *state;
	void *p = f;

	assert_int_equal(map(f, BASE, SIZE, &p), 0);
	assert_ptr_equal(p, f->mem);
	assert_int_equal(map(f, BASE + SIZE - 1, 1, &p), 0);
	assert_ptr_equal(p, f->mem + SIZE - 1);
	/* a pointer or an error, never both */
	assert_int_equal(map(f, BASE + SIZE - 1, 2, &p), -EFAULT);
	assert_null(p);
	assert_int_equal(map(f, BASE - 1, 2, &p), -EFAULT);
	assert_int_equal(map(f, BASE - 1, 1, &p), -EFAULT);
	assert_int_equal(map(f, BASE + SIZE, 1, &p), -EFAULT);
	assert_int_equal(map(f, BASE, 0, &p), -EINVAL);
	assert_int_equal(map(f, BASE, SIZE + 1, &p), -EFAULT);
	assert_int_equal(map(f, 0, 1, &p), -EFAULT);
}

static void wrap_around(void **state)
{
	struct fixture *f = *state;
	void *p;

	assert_int_equal(map(f, BASE, UINT64_MAX, &p), -EINVAL);
	assert_int_equal(map(f, BASE, UINT64_MAX - BASE, &p), -EFAULT);
	assert_int_equal(map(f, BASE, UINT64_MAX - BASE + 1, &p), -EINVAL);
	assert_int_equal(map(f, UINT64_MAX, 1, &p), -EINVAL);
	assert_int_equal(map(f, UINT64_MAX - 1, 1, &p), -EFAULT);
	assert_int_equal(map(f, UINT64_MAX, UINT64_MAX, &p), -EINVAL);
}

static void two_regions(void **state)
{
	struct fixture *f = *state;
	uint8_t more[16];
	struct err e;
	void *p;

	/* adjacent in the guest, not here: a range must not straddle them */
	assert_int_equal(gmem_add(&f->gm, BASE + SIZE, sizeof(more), more, -1, &e), 0);
	assert_int_equal(map(f, BASE + SIZE - 1, 2, &p), -EFAULT);
	assert_int_equal(map(f, BASE + SIZE, 16, &p), 0);
	assert_ptr_equal(p, more);
	assert_int_equal(gmem_add(&f->gm, BASE + SIZE - 1, 1, more, -1, &e), -EINVAL);
	assert_int_equal(gmem_add(&f->gm, UINT64_MAX - 4, 16, more, -1, &e), -EINVAL);
	assert_int_equal(gmem_add(&f->gm, 0, 0, more, -1, &e), -EINVAL);
}

static void private_pages(void **state)
{
	struct fixture *f = *state;
	ipa_t bit = f->split.shared;
	uint8_t buf[16] = "0123456789abcde";
	void *p = f;

	guard(f);
	memset(f->mem, 0x55, SIZE);
	ripas_set(&f->ripas, BASE + 2 * GRANULE_SIZE, GRANULE_SIZE, RIPAS_RAM);
	assert_int_equal(map(f, BASE + 2 * GRANULE_SIZE, 1, &p), -EACCES);
	assert_null(p);
	assert_int_equal(map(f, bit | (BASE + 2 * GRANULE_SIZE), 1, &p), -EACCES);
	/* up to the page, not into it, not out of it, not over it */
	assert_int_equal(map(f, BASE, 2 * GRANULE_SIZE, &p), 0);
	assert_int_equal(map(f, BASE, 2 * GRANULE_SIZE + 1, &p), -EACCES);
	assert_int_equal(map(f, BASE + 3 * GRANULE_SIZE - 1, 2, &p), -EACCES);
	assert_int_equal(map(f, BASE, SIZE, &p), -EACCES);
	assert_int_equal(gmem_read(&f->gm, BASE + 2 * GRANULE_SIZE, buf, 16), -EACCES);
	assert_memory_equal(buf, "0123456789abcde", 16);
	assert_int_equal(gmem_write(&f->gm, BASE + 2 * GRANULE_SIZE - 8, buf, 16), -EACCES);
	assert_int_equal(f->mem[2 * GRANULE_SIZE - 8], 0x55);
}

static void the_bit_is_cleared(void **state)
{
	struct fixture *f = *state;
	ipa_t bit = f->split.shared;
	uint8_t b = 0x17;
	void *p;

	guard(f);
	assert_int_equal(map(f, bit | BASE, SIZE, &p), 0);
	assert_ptr_equal(p, f->mem);
	assert_int_equal(gmem_write(&f->gm, bit | (BASE + 5), &b, 1), 0);
	assert_int_equal(f->mem[5], 0x17);
	b = 0;
	assert_int_equal(gmem_read(&f->gm, BASE + 5, &b, 1), 0);
	assert_int_equal(b, 0x17);
	/* only this bit */
	assert_int_equal(map(f, bit << 1 | BASE, 1, &p), -EFAULT);
}

struct waiter {
	struct fixture *f;
	struct gmem_pin *pin;
	_Atomic bool cancelled, unpinned;
};
static struct waiter waiter;

static void cancel(struct gmem_pin *pin)
{
	assert_ptr_equal(pin, waiter.pin);
	atomic_store(&waiter.cancelled, true);
}

static void *unpin_later(void *arg)
{
	(void)arg;
	while (!atomic_load(&waiter.cancelled))
		usleep(1000);
	usleep(20000);
	atomic_store(&waiter.unpinned, true);
	gmem_unpin(&waiter.f->gm, waiter.pin);
	return NULL;
}

static void drain_waits_for_pins(void **state)
{
	struct fixture *f = *state;
	struct gmem_pin pin = { .cancel = cancel }, other = { 0 };
	pthread_t t;
	void *p;

	waiter = (struct waiter){ .f = f, .pin = &pin };
	gmem_enter(&f->gm);
	assert_int_equal(gmem_pin(&f->gm, &pin, BASE + 100, 8, &p), 0);
	assert_int_equal(gmem_pin(&f->gm, &other, BASE + GRANULE_SIZE, 8, &p), 0);
	gmem_leave(&f->gm);
	/* other pages: nothing to wait for, nobody is cancelled */
	assert_int_equal(gmem_drain(&f->gm, BASE + 2 * GRANULE_SIZE, GRANULE_SIZE, 1000), 0);
	assert_false(waiter.cancelled);
	assert_int_equal(pthread_create(&t, NULL, unpin_later, NULL), 0);
	assert_int_equal(gmem_drain(&f->gm, BASE, GRANULE_SIZE, 10000), 0);
	assert_true(waiter.unpinned);
	pthread_join(t, NULL);
	/* one that never ends */
	assert_int_equal(gmem_drain(&f->gm, BASE, SIZE, 20), -ETIMEDOUT);
	gmem_unpin(&f->gm, &other);
	assert_int_equal(gmem_drain(&f->gm, BASE, SIZE, 0), 0);
	assert_null(f->gm.pins);
}

static void no_pin_on_private_memory(void **state)
{
	struct fixture *f = *state;
	struct gmem_pin pin = { 0 };
	void *p = f;

	guard(f);
	ripas_set(&f->ripas, BASE, GRANULE_SIZE, RIPAS_RAM);
	gmem_enter(&f->gm);
	assert_int_equal(gmem_pin(&f->gm, &pin, BASE, 8, &p), -EACCES);
	gmem_leave(&f->gm);
	assert_null(p);
	assert_null(f->gm.pins);
}

static _Atomic bool excluded_ran;

static void *device(void *arg)
{
	struct fixture *f = arg;

	gmem_enter(&f->gm);
	atomic_store(&excluded_ran, true);
	gmem_leave(&f->gm);
	return NULL;
}

static void exclude_keeps_devices_out(void **state)
{
	struct fixture *f = *state;
	pthread_t t;

	gmem_exclude(&f->gm);
	assert_int_equal(pthread_create(&t, NULL, device, f), 0);
	usleep(20000);
	assert_false(excluded_ran);
	gmem_admit(&f->gm);
	pthread_join(t, NULL);
	assert_true(excluded_ran);
}

/* Memory given up: whole pages of it, shared ones, nobody's; of a file by a hole in it. */
static void discard(void **state)
{
	struct fixture *f = *state;
	uint64_t page = sysconf(_SC_PAGESIZE), done = 0;
	struct gmem_pin pin = { .cancel = NULL };
	int fd = memfd_create("ram", 0);
	ipa_t at = BASE + SZ_1G;
	struct stat st;
	uint8_t *mem;
	void *p;

	assert_int_equal(ftruncate(fd, 16 * page), 0);
	mem = mmap(NULL, 16 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(mem, MAP_FAILED);
	memset(mem, 0x55, 16 * page);
	assert_int_equal(gmem_add(&f->gm, at, 16 * page, mem, fd, NULL), 0);

	gmem_enter(&f->gm);
	assert_int_equal(gmem_discard(&f->gm, at + 1, 3 * page, &done), 0);
	assert_int_equal(done, 2 * page);
	assert_true(mem[page - 1] == 0x55 && !mem[page] && !mem[3 * page - 1] &&
		    mem[3 * page] == 0x55);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 16 * page);
	assert_int_equal(gmem_discard(&f->gm, at, page - 1, &done), 0);	/* no page of it */
	assert_int_equal(done, 2 * page);

	assert_int_equal(gmem_discard(&f->gm, at + 15 * page, 2 * page, &done), -EFAULT);
	assert_int_equal(gmem_discard(&f->gm, at - page, 2 * page, &done), -EFAULT);
	assert_int_equal(gmem_discard(&f->gm, at, 0, &done), -EINVAL);
	assert_int_equal(gmem_discard(&f->gm, at, UINT64_MAX, &done), -EINVAL);
	assert_int_equal(gmem_pin(&f->gm, &pin, at + 5 * page, 1, &p), 0);
	assert_int_equal(gmem_discard(&f->gm, at + 4 * page, 4 * page, &done), -EBUSY);
	assert_true(mem[5 * page] == 0x55);
	gmem_unpin(&f->gm, &pin);
	gmem_keep(&f->gm, at);
	assert_int_equal(gmem_discard(&f->gm, at, 16 * page, &done), -EOPNOTSUPP);
	assert_int_equal(done, 2 * page);
	gmem_leave(&f->gm);
	munmap(mem, 16 * page);
	close(fd);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(range), T(wrap_around), T(two_regions), T(private_pages), T(the_bit_is_cleared),
		T(drain_waits_for_pins), T(no_pin_on_private_memory), T(exclude_keeps_devices_out),
		T(discard),
	};

	return cmocka_run_group_tests_name("gmem", tests, NULL, NULL);
}
