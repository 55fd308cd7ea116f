// SPDX-License-Identifier: BSD-3-Clause
/*
 * Granules can be hashed in any order, but each extends the measurement that the one before left.
 * So the image is cut into chunks; the threads take them in turn, hash their granules, and whoever
 * finds the next chunk of the chain hashed extends the measurement by it. No thread is there for
 * the chain alone, and the ring of chunks bounds the memory however large the image is.
 */
#include "realm/measure.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/core/err.h"
#include "vmm/core/thread.h"
#include "vmm/core/trace.h"

/*
 * #syscalls main,vcpu?realm: clone&CLONE_THREAD clone3#ENOSYS
 * #syscalls main,vcpu,aux?realm: sched_getaffinity pread64 read lseek
 */

/* Fits the second-level cache: what was read is still there when it is hashed. */
#define CHUNK_GRANULES	64
#define CHUNK		(CHUNK_GRANULES * GRANULE_SIZE)
/* A granule costs 65 blocks of SHA-256, its place in the chain 5: more threads would wait. */
#define MAX_THREADS	14
#define THREAD_CHUNKS	4	/* fewer chunks than that are not worth a thread */
#define RING_PER_THREAD	4

struct chunk {
	bool hashed;
	uint8_t digest[CHUNK_GRANULES][REALM_HASH_MAX];
};

struct engine {
	const struct plan *plan;
	struct measurement *m;
	uint64_t total;		/* chunks of all pieces */

	/* of whoever has set @chaining */
	unsigned int piece;	/* that the chain is in */
	uint64_t piece_chunk;
	struct realm_hash_ctx content;

	pthread_mutex_t lock;	/* guards what follows, and hashed of each chunk */
	pthread_cond_t moved;
	uint64_t taken, chained;
	unsigned int waiting;
	bool chaining;
	int ret;
	struct err err;

	unsigned int ring_size;
	struct chunk *ring;
};

static uint64_t whole(const struct plan_piece *c)
{
	return ALIGN_UP(c->len, GRANULE_SIZE);
}

static uint64_t chunks_of(const struct plan_piece *c)
{
	return (whole(c) + CHUNK - 1) / CHUNK;
}

static unsigned int granules_in(const struct plan_piece *c, uint64_t chunk)
{
	return MIN(whole(c) - chunk * CHUNK, CHUNK) / GRANULE_SIZE;
}

static struct measure_step *add_step(struct measurement *m, enum measure_kind kind)
{
	struct measure_step *s = &m->step[m->nr++];

	*s = (struct measure_step){ .kind = kind };
	return s;
}

static int hash_chunk(const struct engine *g, uint64_t nr, struct chunk *out, uint8_t *buf,
		      struct err *e)
{
	const struct plan_piece *c = g->plan->piece;
	static const struct trace_kind kind = {
		.cat = "measure", .text = "piece", .arg = { "#offset", "bytes" },
	};
	uint64_t began = trace_begin();
	const uint8_t *data = buf;
	int ret = 0;

	for (; nr >= chunks_of(c); c++)
		nr -= chunks_of(c);
	if (!c->measured)
		return 0;

	unsigned int n = granules_in(c, nr);
	uint64_t len = n * GRANULE_SIZE;

	if (c->buf && nr * CHUNK + len <= c->len)
		data = (const uint8_t *)c->buf + nr * CHUNK;
	else
		ret = plan_read(c, nr * CHUNK, buf, len, e);
	for (unsigned int i = 0; i < n && !ret; i++)
		ret = realm_hash2(g->m->params.algo, data + i * GRANULE_SIZE, GRANULE_SIZE, NULL, 0,
				  out->digest[i]);
	trace_span(&kind, "hash", began, c->name, nr * CHUNK, len, 0);
	return ret;
}

static void chain_chunk(struct engine *g, const struct chunk *chunk)
{
	const struct plan_piece *c = &g->plan->piece[g->piece];
	unsigned int n = granules_in(c, g->piece_chunk);
	unsigned int len = realm_hash_len(g->m->params.algo);
	ipa_t ipa = c->ipa + g->piece_chunk * CHUNK;
	struct measure_step *s;

	if (!g->piece_chunk)
		realm_hash_init(&g->content, g->m->params.algo);
	for (unsigned int i = 0; i < n; i++, ipa += GRANULE_SIZE) {
		/* rim_create() has shown that there is a library */
		rim_data(&g->m->rim, ipa, c->measured ? chunk->digest[i] : NULL);
		if (c->measured)
			realm_hash_update(&g->content, chunk->digest[i], len);
	}
	if (++g->piece_chunk < chunks_of(c))
		return;

	s = add_step(g->m, MEASURE_DATA);
	memcpy(s->name, c->name, sizeof(s->name));
	s->base = c->ipa;
	s->size = whole(c);
	s->entries = whole(c) / GRANULE_SIZE;
	s->measured = c->measured;
	if (c->measured)
		realm_hash_final(&g->content, s->content);
	memcpy(s->rim, g->m->rim.value, sizeof(s->rim));
	g->piece++;
	g->piece_chunk = 0;
}

static void wake(struct engine *g)
{
	if (g->waiting)
		pthread_cond_broadcast(&g->moved);
}

static struct chunk *slot(struct engine *g, uint64_t nr)
{
	return &g->ring[nr % g->ring_size];
}

/* Extend by all that is ready. The lock is held, but not while the hashing goes on. */
static void chain(struct engine *g)
{
	struct chunk *next;

	g->chaining = true;
	while (g->chained < g->total && (next = slot(g, g->chained))->hashed) {
		pthread_mutex_unlock(&g->lock);
		chain_chunk(g, next);
		pthread_mutex_lock(&g->lock);
		next->hashed = false;
		g->chained++;
		wake(g);
	}
	g->chaining = false;
}

static void *work(void *arg)
{
	struct engine *g = arg;
	uint8_t *buf = malloc(CHUNK);
	struct err e;
	int ret = buf ? 0 : err_set(&e, -ENOMEM, "measurement: no memory");

	pthread_mutex_lock(&g->lock);
	for (;;) {
		if (ret < 0 && !g->ret) {
			g->ret = ret;
			g->err = e;
			wake(g);
		}
		if (g->ret || g->chained == g->total)
			break;
		if (!g->chaining && slot(g, g->chained)->hashed) {
			chain(g);
		} else if (g->taken < g->total && g->taken - g->chained < g->ring_size) {
			uint64_t nr = g->taken++;

			pthread_mutex_unlock(&g->lock);
			ret = hash_chunk(g, nr, slot(g, nr), buf, &e);
			pthread_mutex_lock(&g->lock);
			slot(g, nr)->hashed = !ret;
		} else {
			g->waiting++;
			pthread_cond_wait(&g->moved, &g->lock);
			g->waiting--;
		}
	}
	pthread_mutex_unlock(&g->lock);
	free(buf);
	return NULL;
}

static unsigned int threads_for(uint64_t chunks)
{
	cpu_set_t set;
	uint64_t n = 1;

	/* fails on machines with more CPUs than fit the set: those have enough */
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		n = MAX_THREADS;
	else
		n = CPU_COUNT(&set);
	n = MIN(n, MIN(chunks / THREAD_CHUNKS, MAX_THREADS));
	return MAX(n, 1);
}

static int measure_pieces(const struct plan *p, struct measurement *m, struct err *e)
{
	struct engine g = { .plan = p, .m = m };
	pthread_t thread[MAX_THREADS];
	unsigned int want, started = 0;

	for (unsigned int i = 0; i < p->nr; i++)
		g.total += chunks_of(&p->piece[i]);
	if (!g.total)
		return 0;
	want = threads_for(g.total);
	g.ring_size = want * RING_PER_THREAD;
	g.ring = calloc(g.ring_size, sizeof(*g.ring));
	if (!g.ring)
		return err_set(e, -ENOMEM, "measurement: no memory");
	pthread_mutex_init(&g.lock, NULL);
	pthread_cond_init(&g.moved, NULL);

	/* without another thread this one does it alone */
	while (started < want - 1 &&
	       !thread_start(&thread[started], THREAD_AUX, "measure", work, &g))
		started++;
	work(&g);
	for (unsigned int i = 0; i < started; i++)
		pthread_join(thread[i], NULL);

	pthread_cond_destroy(&g.moved);
	pthread_mutex_destroy(&g.lock);
	free(g.ring);
	if (g.ret < 0 && e)
		*e = g.err;
	return g.ret;
}

/* Does a page of [base, base + size) get data? Then tables reach down to it. */
static bool has_data(const struct plan *p, ipa_t base, uint64_t size)
{
	for (unsigned int i = 0; i < p->nr; i++)
		if (p->piece[i].ipa < base + size && base < p->piece[i].ipa + whole(&p->piece[i]))
			return true;
	return false;
}

static void measure_ripas(const struct plan *p, struct measurement *m)
{
	bool last = m->params.order == RIM_RIPAS_LAST;

	for (unsigned int i = 0; i < p->nr_ram; i++) {
		struct measure_step *s = add_step(m, MEASURE_RIPAS);
		ipa_t base = p->ram[i].base, top = base + p->ram[i].size;

		s->base = base;
		s->size = top - base;
		while (base < top) {
			uint64_t size = rim_block(m->params.s2sz, base, top);

			while (last && size > GRANULE_SIZE && has_data(p, base, size))
				size >>= 9;
			/* A page that has data is RAM already: the RMM passes it over. */
			if (!last || !has_data(p, base, size)) {
				rim_ripas(&m->rim, base, base + size);
				s->entries++;
			}
			base += size;
		}
		memcpy(s->rim, m->rim.value, sizeof(s->rim));
	}
}

static int check(const struct plan *p, const struct rim_params *params, struct err *e)
{
	bool ripas = params->dialect == RIM_A;

	if (ripas && params->algo == REALM_SHA384)
		return err_set(e, -EINVAL, "measurement: an RMM of the specification 1.0 has no "
			       "SHA-384: give --measurement-algo sha256 or sha512, or --rmm tf-rmm");
	if (ripas && params->order == RIM_RIPAS_LAST && p->nr_ram > 1)
		return err_set(e, -EINVAL, "measurement: with %u ranges of RIPAS RAM that of a v12 "
			       "kernel cannot be predicted, because nothing tells in which order it "
			       "takes them: leave --ripas-ram out", p->nr_ram);
	for (unsigned int i = 0; ripas && i < p->nr_ram; i++)
		if ((p->ram[i].base + p->ram[i].size - 1) >> (params->s2sz - 1))
			return err_set(e, -EINVAL, "measurement: RAM up to %" PRIipa " is not in the "
				       "protected half of %u address bits", p->ram[i].base +
				       p->ram[i].size, params->s2sz);
	return 0;
}

int measure_plan(const struct plan *p, const struct rim_params *params, struct measurement *m,
		 struct err *e)
{
	static const struct trace_kind kind = { .cat = "measure", .arg = { "pieces" } };
	bool ripas = params->dialect == RIM_A;
	uint64_t began = trace_begin();
	struct measure_step *s;
	int ret = check(p, params, e);

	if (ret < 0)
		return ret;
	*m = (struct measurement){ .params = *params, .pc = p->pc };
	memcpy(m->x, p->x, sizeof(m->x));
	ret = rim_create(&m->rim, params);
	if (ret < 0)
		return err_set(e, ret, "measurement: this realmtool was built without libcrypto");
	s = add_step(m, MEASURE_CREATE);
	memcpy(s->rim, m->rim.value, sizeof(s->rim));

	if (ripas && params->order == RIM_RIPAS_FIRST)
		measure_ripas(p, m);
	ret = measure_pieces(p, m, e);
	if (ret < 0)
		return ret;
	rim_rec(&m->rim, p->pc, p->x);
	s = add_step(m, MEASURE_REC);
	memcpy(s->rim, m->rim.value, sizeof(s->rim));
	if (ripas && params->order == RIM_RIPAS_LAST)
		measure_ripas(p, m);
	trace_span(&kind, "measure", began, NULL, p->nr, 0, 0);
	return 0;
}
