// SPDX-License-Identifier: BSD-3-Clause
/*
 * RIPAS conversions of the emulated realm, between device accesses, requests in flight, assigned
 * devices and the debugger, all as the input says. Beside it stands a model of what each page holds
 * on its two sides: a device never sees a private page, a page that changed sides is empty, what
 * did not change keeps its contents, and no assigned device reaches a private page.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <pthread.h>

#include "realm/realm.h"
#include "tests/fakekvm/fakekvm.h"
#include "vmm/core/err.h"

#define BITS	33
#define RAM	UINT64_C(0x80000000)
#define PAGE	GRANULE_SIZE
#define PAGES	32
#define END	(RAM + PAGES * PAGE)
#define PINS	4

/* What a page holds: bytes of one value, or it is not known. */
struct content {
	uint8_t byte;
	bool unknown;
};

static struct realm r;
static struct gmem gm;
static struct kvm kvm;
static struct plan plan;

static struct {
	bool private[PAGES];
	struct content shared[PAGES], hidden[PAGES];
	bool dma[PAGES];
	bool apart, has_dma;
	uint8_t fail;
	unsigned int stopped;
	const char *fatal;
} m;

enum { FAIL_SHARE = 1, FAIL_UNSHARE = 2 };

/* ---- hooks ----------------------------------------------------------------------------------- */

static bool fails(uint8_t what)
{
	bool now = m.fail & what;

	m.fail &= ~what;
	return now;
}

static void stop_vcpus(void *ctx)
{
	PROPERTY(!m.stopped++);
}

static void start_vcpus(void *ctx)
{
	PROPERTY(m.stopped-- == 1);
}

static void fatal(void *ctx, const char *why)
{
	PROPERTY(*why && !strchr(why, '\n'));
	m.fatal = why;
}

static int dma_share(void *ctx, ipa_t ipa, uint64_t len, struct err *e)
{
	PROPERTY(ipa >= RAM && len && len <= END - ipa);
	if (fails(FAIL_SHARE))
		return err_set(e, -ENOSPC, "no room");
	for (ipa_t at = ipa; at < ipa + len; at += PAGE)
		m.dma[(at - RAM) / PAGE] = true;
	return 0;
}

static int dma_unshare(void *ctx, ipa_t ipa, uint64_t len, struct err *e)
{
	PROPERTY(ipa >= RAM && len && len <= END - ipa);
	if (fails(FAIL_UNSHARE))
		return err_set(e, -EBUSY, "in use");
	for (ipa_t at = ipa; at < ipa + len; at += PAGE)
		m.dma[(at - RAM) / PAGE] = false;
	return 0;
}

static bool dma_keeps(void *ctx, ipa_t ipa, uint64_t len)
{
	return false;
}

/* ---- requests in flight ---------------------------------------------------------------------- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct request {
		struct gmem_pin pin;
		uint8_t *p;
		bool used, asked;
	} req[PINS];
} io = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

static void cancel(struct gmem_pin *pin)
{
	struct request *q = container_of(pin, struct request, pin);

	pthread_mutex_lock(&io.lock);
	q->asked = true;
	pthread_cond_broadcast(&io.cond);
	pthread_mutex_unlock(&io.lock);
}

/* The disk: a request that is asked to end writes once more before it does. */
static void *disk(void *arg)
{
	pthread_mutex_lock(&io.lock);
	for (;;) {
		struct request *q = NULL;

		for (unsigned int i = 0; i < PINS; i++)
			if (io.req[i].used && io.req[i].asked)
				q = &io.req[i];
		if (!q) {
			pthread_cond_wait(&io.cond, &io.lock);
			continue;
		}
		q->asked = false;
		pthread_mutex_unlock(&io.lock);
		memset(q->p, 0xdd, q->pin.len);
		gmem_unpin(&gm, &q->pin);
		pthread_mutex_lock(&io.lock);
		q->used = false;
		pthread_cond_broadcast(&io.cond);
	}
	return NULL;
}

static void finish_request(struct request *q)
{
	pthread_mutex_lock(&io.lock);
	q->asked |= q->used;
	pthread_cond_broadcast(&io.cond);
	while (q->used)
		pthread_cond_wait(&io.cond, &io.lock);
	pthread_mutex_unlock(&io.lock);
}

/* ---- the model ------------------------------------------------------------------------------- */

static unsigned int first_page(ipa_t ipa)
{
	return (ipa - RAM) / PAGE;
}

static unsigned int end_page(ipa_t ipa, uint64_t len)
{
	return (ipa + len - RAM + PAGE - 1) / PAGE;
}

/* What the door has to say to a device. */
static int expected(ipa_t ipa, uint64_t len)
{
	ipa &= ~(UINT64_C(1) << (BITS - 1));
	if (!len || ipa + len < ipa)
		return -EINVAL;
	if (ipa < RAM || ipa >= END || len > END - ipa)
		return -EFAULT;
	for (unsigned int i = first_page(ipa); i < end_page(ipa, len); i++)
		if (m.private[i])
			return -EACCES;
	return 0;
}

static bool all(const uint8_t *p, uint64_t len, uint8_t byte)
{
	return !len || (*p == byte && !memcmp(p, p + 1, len - 1));
}

static void holds(const struct content *c, const uint8_t *p, uint64_t len)
{
	PROPERTY(c->unknown || all(p, len, c->byte));
}

static struct content *side(unsigned int page, bool private)
{
	/* without guest_memfd there is one memory */
	return private && m.apart ? &m.hidden[page] : &m.shared[page];
}

/* Does a request in flight write there, some time? */
static bool in_flight(ipa_t ipa, uint64_t len)
{
	bool hit = false;

	pthread_mutex_lock(&io.lock);
	for (unsigned int i = 0; i < PINS; i++) {
		const struct gmem_pin *p = &io.req[i].pin;

		hit |= io.req[i].used && p->base < ipa + len && ipa < p->base + p->len;
	}
	pthread_mutex_unlock(&io.lock);
	return hit;
}

static void device(ipa_t ipa, uint64_t len, bool write, uint8_t byte)
{
	uint8_t buf[2 * PAGE];
	int ret, want;

	len = MIN(len, sizeof(buf));
	memset(buf, write ? byte : 0xa5, sizeof(buf));
	want = expected(ipa, len);
	ret = write ? gmem_write(&gm, ipa, buf, len) : gmem_read(&gm, ipa, buf, len);
	PROPERTY(ret == want);
	if (ret < 0) {
		PROPERTY(write || all(buf, len, 0xa5));
		return;
	}
	ipa &= ~(UINT64_C(1) << (BITS - 1));
	for (uint64_t at = 0, n; at < len; at += n) {
		struct content *c = &m.shared[first_page(ipa + at)];

		n = MIN(len - at, PAGE - (ipa + at) % PAGE);
		if (!write)
			holds(c, buf + at, n);
		else if (n == PAGE && !in_flight(ipa + at, n))
			*c = (struct content){ byte, false };
		else
			c->unknown |= c->byte != byte;
	}
}

static void look_inside(unsigned int page)
{
	uint8_t *p = rsi_granule(&r, RAM + page * PAGE);

	PROPERTY(p);
	holds(side(page, true), p, PAGE);
	rsi_granule_put(&r, p);
}

static void monitor(unsigned int page, uint8_t byte)
{
	uint8_t *p;

	if (!m.private[page])
		return;
	look_inside(page);
	p = rsi_granule(&r, RAM + page * PAGE);
	memset(p, byte, PAGE);
	rsi_granule_put(&r, p);
	*side(page, true) = (struct content){ byte, false };
}

static void debugger(ipa_t ipa, uint64_t len, bool write, uint8_t byte)
{
	bool alias = ipa & UINT64_C(1) << (BITS - 1);
	ipa_t at = ipa & ~(UINT64_C(1) << (BITS - 1));
	uint8_t buf[PAGE];

	len = MIN(len, PAGE - at % PAGE);
	memset(buf, byte, sizeof(buf));
	if (realm_debug_mem(&r, ipa, buf, len, write) < 0) {
		PROPERTY(at < RAM || at >= END || len > END - at);
	} else if (len) {
		struct content *c = side(first_page(at), !alias);

		if (!write)
			holds(c, buf, len);
		else
			c->unknown |= c->byte != byte;
	}
}

static void pin(unsigned int n, ipa_t ipa, uint64_t len)
{
	struct request *q = &io.req[n % PINS];
	ipa_t at = ipa & ~(UINT64_C(1) << (BITS - 1));
	void *p;
	int ret;

	finish_request(q);
	q->pin.cancel = cancel;
	gmem_enter(&gm);
	ret = gmem_pin(&gm, &q->pin, ipa, len, &p);
	gmem_leave(&gm);
	PROPERTY(ret == expected(ipa, len));
	if (ret < 0)
		return;
	q->p = p;
	for (unsigned int i = first_page(at); i < end_page(at, len); i++)
		m.shared[i].unknown = true;
	pthread_mutex_lock(&io.lock);
	q->used = true;
	pthread_mutex_unlock(&io.lock);
}

static void discard(ipa_t ipa, uint64_t len)
{
	uint64_t done = 0;
	int ret;

	gmem_enter(&gm);
	ret = gmem_discard(&gm, ipa, len, &done);
	gmem_leave(&gm);
	PROPERTY(done <= len && (expected(ipa, len) == 0 || (ret == expected(ipa, len) && !done)));
	ipa &= ~(UINT64_C(1) << (BITS - 1));
	if (expected(ipa, len))
		return;
	for (unsigned int i = first_page(ipa); i < end_page(ipa, len); i++)
		m.shared[i].unknown = true;
	if (!ret && done == len)
		for (unsigned int i = first_page(ipa); i < end_page(ipa, len); i++)
			m.shared[i] = (struct content){ 0, false };
}

static void convert(unsigned int from, unsigned int to, bool private)
{
	ipa_t base = RAM + from * PAGE, top = RAM + to * PAGE, done;
	int ret;

	pthread_mutex_lock(&r.lock);
	ret = r.ops->convert(&r, base, top, private ? RIPAS_RAM : RIPAS_EMPTY, &done);
	pthread_mutex_unlock(&r.lock);
	PROPERTY(done >= base && done <= top && done % PAGE == 0 && (ret == 0) == (done == top));
	PROPERTY(!m.stopped);
	for (unsigned int i = from; i < to; i++) {
		if (i < first_page(done)) {
			/* what lay on the other side is gone */
			if (m.private[i] != private)
				*side(i, !private) = (struct content){ 0, false };
			m.private[i] = private;
			if (m.has_dma && !private)
				PROPERTY(m.dma[i]);
		} else if (m.private[i] != private) {
			/* what was begun and did not come to its end may have lost them */
			m.shared[i].unknown = m.hidden[i].unknown = true;
		}
	}
	for (unsigned int i = 0; i < PAGES; i++) {
		PROPERTY((ripas_get(&r.ripas, RAM + i * PAGE) == RIPAS_RAM) == m.private[i]);
		PROPERTY(!(m.private[i] && m.dma[i]));
	}
}

/* All of it, at the end. */
static void check_all(void)
{
	enum ripas_state state;
	uint64_t private = 0;

	for (unsigned int i = 0; i < PINS; i++)
		finish_request(&io.req[i]);
	for (unsigned int i = 0; i < PAGES; i++) {
		device(RAM + i * PAGE, PAGE, false, 0);
		if (m.private[i])
			look_inside(i);
		private += m.private[i];
	}
	PROPERTY(atomic_load(&r.ripas.ram) == private);
	for (ipa_t at = RAM - PAGE, end; at < END + PAGE; at = end) {
		end = ripas_run(&r.ripas, at, END + PAGE, &state);
		PROPERTY(end > at);
		for (ipa_t p = MAX(at, RAM); p < MIN(end, END); p += PAGE)
			PROPERTY(m.private[first_page(p)] == (state == RIPAS_RAM));
	}
}

static void step(struct input *in)
{
	uint8_t op = in_u8(in), a = in_u8(in), b = in_u8(in);
	unsigned int page = a % PAGES, n = 1 + b % (PAGES - page);
	ipa_t ipa = RAM + page * PAGE;
	uint64_t len = n * PAGE;

	/* not on the page, or somewhere else */
	if (op & 0x10) {
		ipa += in_u16(in) - 0x4000;
		len = in_u16(in);
	}
	if (op & 0x20)
		ipa |= UINT64_C(1) << (BITS - 1);
	if ((op & 0xc0) == 0xc0)
		ipa ^= in_u64(in);
	switch (op & 0xf) {
	case 0 ... 3:
		convert(page, page + n, op & 1);
		break;
	case 4:
		/* a call of the host that fails: giving memory back, or a slot */
		if (b & 4)
			fake_fail_nth(1 + (b >> 3 & 3), b & 0x20 ? EINTR : ENOMEM);
		m.fail = m.has_dma ? b & 3 : 0;
		convert(page, page + n, op & 0x10);
		m.fail = 0;
		fake_fail_nth(0, 0);
		break;
	case 5 ... 6:
		device(ipa, len, true, b);
		break;
	case 7 ... 8:
		device(ipa, len, false, 0);
		break;
	case 9:
		pin(b, ipa, op & 0x40 ? len : PAGE);
		break;
	case 10:
		finish_request(&io.req[a % PINS]);
		break;
	case 11 ... 12:
		monitor(page, b);
		break;
	case 13:
		debugger(ipa, b * 16, op & 0x40, a);
		break;
	case 14:
		discard(ipa, len);
		break;
	case 15:
		look_inside(page);
		break;
	}
}

static void begin(uint8_t how)
{
	struct err e;

	fake_reset(how & 1 ? &fake_linux_6_12 : &fake_linux_7_3);
	memset(&m, 0, sizeof(m));
	memset(&plan, 0, sizeof(plan));
	m.has_dma = how & 4;
	PROPERTY(!kvm_open(&kvm, &fake_sys, NULL, &e) && !gmem_init(&gm, &e));
	memset(&r, 0, sizeof(r));
	r.ops = &realm_emulated;
	r.kvm = &kvm;
	r.gm = &gm;
	r.split = ipa_split(BITS, true);
	r.ram_base = RAM;
	r.ram_size = PAGES * PAGE;
	r.strict = how & 2;
	r.plan = &plan;
	r.hooks = (struct realm_hooks){
		.stop_vcpus = stop_vcpus, .start_vcpus = start_vcpus, .fatal = fatal,
	};
	if (m.has_dma) {
		r.hooks.dma_share = dma_share;
		r.hooks.dma_unshare = dma_unshare;
		r.hooks.dma_keeps = dma_keeps;
	}
	PROPERTY(!plan_ram(&plan, RAM, (1 + (how >> 4)) * PAGE, &e));
	PROPERTY(!plan_check(&plan, RAM, PAGES * PAGE, &e));
	PROPERTY(!realm_init(&r, &e) && !r.ops->create(&r, &e) && !r.ops->add_ram(&r, &e));
	PROPERTY(!r.ops->configure(&r, &e));
	m.apart = realm_shared_apart(&r);
	PROPERTY(m.apart == !(how & 1));
	for (unsigned int i = 0; i < PAGES; i++)
		m.private[i] = i <= how >> 4;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool has_disk;
	struct input in = { data, size };
	pthread_t thread;

	if (!has_disk)
		PROPERTY(!pthread_create(&thread, NULL, disk, NULL) && !pthread_detach(thread));
	has_disk = true;
	begin(in_u8(&in));
	while (in.left && !m.fatal)
		step(&in);
	check_all();
	realm_destroy(&r);
	gmem_destroy(&gm);
	kvm_close(&kvm);
	PROPERTY(!fake_verdict());
	return 0;
}
