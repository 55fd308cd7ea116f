// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/json.h"
#include "vmm/core/log.h"
#include "vmm/core/path.h"
#include "vmm/core/thread.h"

/*
 * #syscalls aux: poll ppoll read
 * #syscalls main,vcpu,io,aux: prctl=PR_GET_NAME gettid
 * #syscalls main,aux: write lseek fstat newfstatat close
 */

#define WRITE_EVERY_MS	100
#define FILE_BUFFER	(64 * 1024)
#define NSEC_PER_SEC	UINT64_C(1000000000)
#define USEC		1000		/* nanoseconds; the format counts in microseconds */

_Static_assert((TRACE_RING & (TRACE_RING - 1)) == 0, "positions in a ring wrap");

struct event {
	const struct trace_kind *kind;
	const char *name;
	uint64_t began, end;		/* nanoseconds */
	uint64_t arg[TRACE_ARGS];
	char text[TRACE_TEXT];
	uint8_t phase;
};

/**
 * struct ring - the events of one thread
 * @head:  events that the thread has put in, written by it
 * @tail:  events that were taken out, written by the writer
 * @lost:  events that found no room, counted by the thread
 * @ended: the thread is gone
 * @free:  nobody's: set by the writer, cleared by the thread that takes it
 * @told, @said: the writer has named the thread; how many lost ones it has reported
 */
struct ring {
	struct ring *next;
	_Atomic uint64_t head;
	_Atomic uint64_t tail __attribute__((aligned(64)));	/* a cache line of its own */
	_Atomic uint64_t lost;
	_Atomic bool ended, free;
	bool told;
	pid_t tid;
	char thread[16];
	uint64_t said;
	struct event event[TRACE_RING];
};

/*
 * Rings are never given back: a thread that traces while the trace ends still has its own. What
 * it puts in then is thrown away by the next trace_open().
 */
static struct {
	pthread_mutex_t lock;		/* who takes a ring */
	struct ring *list;
	unsigned int nr;
	bool have_key;
	pthread_key_t key;		/* its destructor tells when a thread ends */
	_Atomic uint64_t homeless;	/* events of threads that got no ring */
} rings = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct {
	FILE *file;
	char *path;
	pthread_t thread;
	_Atomic bool stop;
	bool begun;			/* an event stands in the file */
	bool failed;			/* it takes no more: a full disk */
	bool writing;			/* @thread runs */
	bool full;			/* TRACE_FILE_MAX */
	uint64_t over;			/* events that were too many for the file */
	uint64_t missing;		/* all that the trace lacks */
	uint64_t serial;
} out;

/* An eventfd: look at the rings now. It stays open, as rings stay. */
static _Atomic int wake_fd = -1;

_Atomic bool trace_is_on;
static __thread struct ring *mine;

uint64_t trace_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* ---- the threads that are traced ------------------------------------------------------------- */

static void thread_ends(void *p)
{
	struct ring *r = p;

	atomic_store_explicit(&r->ended, true, memory_order_release);
}

static struct ring *free_ring(void)
{
	struct ring *r;

	for (r = rings.list; r; r = r->next)
		if (atomic_load_explicit(&r->free, memory_order_acquire))
			return r;
	if (rings.nr == TRACE_THREADS || posix_memalign((void **)&r, 64, sizeof(*r)))
		return NULL;
	/* not the events: their pages are the kernel's until they are used */
	memset(r, 0, offsetof(struct ring, event));
	r->next = rings.list;
	rings.list = r;
	rings.nr++;
	return r;
}

static struct ring *take_ring(void)
{
	struct ring *r = NULL;

	pthread_mutex_lock(&rings.lock);
	if (rings.have_key)
		r = free_ring();
	if (r) {
		r->told = false;
		r->tid = syscall(SYS_gettid);
		if (pthread_getname_np(pthread_self(), r->thread, sizeof(r->thread)))
			r->thread[0] = '\0';
		atomic_store(&r->ended, false);
		atomic_store_explicit(&r->free, false, memory_order_release);
		/* without it the ring is not given to another thread later, that is all */
		pthread_setspecific(rings.key, r);
	}
	pthread_mutex_unlock(&rings.lock);
	return r;
}

static void wake_writer(void)
{
	uint64_t one = 1;

	if (write(wake_fd, &one, sizeof(one)) < 0)
		return;		/* it looks at the rings all the same, a little later */
}

void trace_put(enum trace_phase phase, const struct trace_kind *k, const char *name, uint64_t began,
	       const char *text, uint64_t a, uint64_t b, uint64_t c)
{
	struct ring *r = mine;
	uint64_t head, used;
	struct event *v;

	if (!r)
		r = mine = take_ring();
	if (!r) {
		atomic_fetch_add_explicit(&rings.homeless, 1, memory_order_relaxed);
		return;
	}
	head = atomic_load_explicit(&r->head, memory_order_relaxed);
	used = head - atomic_load_explicit(&r->tail, memory_order_acquire);
	if (used >= TRACE_RING) {
		atomic_fetch_add_explicit(&r->lost, 1, memory_order_relaxed);
		return;
	}
	v = &r->event[head & (TRACE_RING - 1)];
	v->kind = k;
	v->name = name;
	v->end = trace_now();
	v->began = began ? began : v->end;
	v->arg[0] = a;
	v->arg[1] = b;
	v->arg[2] = c;
	v->text[0] = '\0';
	if (text) {
		strncpy(v->text, text, sizeof(v->text) - 1);
		v->text[sizeof(v->text) - 1] = '\0';
	}
	v->phase = phase;
	atomic_store_explicit(&r->head, head + 1, memory_order_release);
	if (used + 1 == TRACE_RING / 2)
		wake_writer();
}

/* ---- the writer ------------------------------------------------------------------------------ */

static void string(const char *text)
{
	struct json j = { .f = out.file };

	json_str(&j, NULL, text);	/* escapes it */
}

static void microseconds(const char *key, uint64_t ns)
{
	fprintf(out.file, ",\"%s\":%" PRIu64 ".%03u", key, ns / USEC,
			     (unsigned int)(ns % USEC));
}

/* What all events have; the caller adds more and ends the object. @cat: NULL for metadata */
static void begin_event(const char *phase, const char *name, const char *cat, pid_t tid)
{
	fprintf(out.file, "%s\n{\"ph\":\"%s\",\"name\":", out.begun ? "," : "", phase);
	string(name);
	if (cat) {
		fputs(",\"cat\":", out.file);
		string(cat);
	}
	fprintf(out.file, ",\"pid\":%d,\"tid\":%d", (int)getpid(), (int)tid);
	out.begun = true;
}

static void metadata(const char *what, pid_t tid, const char *name)
{
	begin_event("M", what, NULL, tid);
	fputs(",\"args\":{\"name\":", out.file);
	string(name);
	fputs("}}", out.file);
}

static void arguments(const struct event *v)
{
	const struct trace_kind *k = v->kind;
	const char *comma = "";

	fputs(",\"args\":{", out.file);
	if (k->text && v->text[0]) {
		string(k->text);
		putc(':', out.file);
		string(v->text);
		comma = ",";
	}
	for (unsigned int i = 0; i < TRACE_ARGS && k->arg[i]; i++, comma = ",") {
		bool hex = k->arg[i][0] == '#';

		fputs(comma, out.file);
		string(k->arg[i] + hex);
		fprintf(out.file, hex ? ":\"%#" PRIx64 "\"" : ":%" PRIu64, v->arg[i]);
	}
	putc('}', out.file);
}

static void write_async(const struct ring *r, const struct event *v)
{
	uint64_t id = ++out.serial;

	begin_event("b", v->name, v->kind->cat, r->tid);
	fprintf(out.file, ",\"id\":\"%#" PRIx64 "\"", id);
	microseconds("ts", v->began);
	arguments(v);
	putc('}', out.file);
	begin_event("e", v->name, v->kind->cat, r->tid);
	fprintf(out.file, ",\"id\":\"%#" PRIx64 "\"", id);
	microseconds("ts", v->end);
	putc('}', out.file);
}

static void write_event(const struct ring *r, const struct event *v)
{
	if (v->phase == TRACE_ASYNC) {
		write_async(r, v);
		return;
	}
	begin_event(v->phase == TRACE_SPAN ? "X" : "i", v->name, v->kind->cat, r->tid);
	microseconds("ts", v->began);
	if (v->phase == TRACE_SPAN)
		microseconds("dur", v->end - v->began);
	else
		fputs(",\"s\":\"t\"", out.file);	/* of its thread */
	arguments(v);
	putc('}', out.file);
}

static void say_lost(pid_t tid, uint64_t count)
{
	static const struct trace_kind kind = { .cat = "trace", .arg = { "count" } };
	const struct ring r = { .tid = tid };
	struct event v = { .kind = &kind, .name = "events lost", .arg = { count },
			   .phase = TRACE_MARK };

	out.missing += count;
	v.began = v.end = trace_now();
	write_event(&r, &v);
}

static void drain(struct ring *r)
{
	/* asked first: nothing comes in after the look at head then */
	bool ended = atomic_load_explicit(&r->ended, memory_order_acquire);
	uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	uint64_t lost = atomic_load_explicit(&r->lost, memory_order_relaxed);

	if (tail != head && !r->told) {
		metadata("thread_name", r->tid, r->tid == getpid() ? "main" : r->thread);
		r->told = true;
	}
	for (; tail != head; tail++) {
		if (!out.full && !out.failed)
			write_event(r, &r->event[tail & (TRACE_RING - 1)]);
		else
			out.over++;
		atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
	}
	if (lost != r->said) {
		say_lost(r->tid, lost - r->said);
		r->said = lost;
	}
	if (ended)
		atomic_store_explicit(&r->free, true, memory_order_release);
}

static void flush(void)
{
	struct stat st;

	if ((fflush(out.file) || ferror(out.file)) && !out.failed) {
		log_warning("--trace %s: %s; what follows is not recorded", out.path,
			    strerror(errno));
		out.failed = true;
	}
	if (!fstat(fileno(out.file), &st) && (uint64_t)st.st_size >= TRACE_FILE_MAX)
		out.full = true;
}

static void drain_all(void)
{
	struct ring *r;

	/* new ones are put in front: the list from here on does not change */
	pthread_mutex_lock(&rings.lock);
	r = rings.list;
	pthread_mutex_unlock(&rings.lock);
	for (; r; r = r->next)
		if (!atomic_load_explicit(&r->free, memory_order_acquire))
			drain(r);
	flush();
}

static void *writer(void *arg)
{
	struct pollfd p = { .fd = wake_fd, .events = POLLIN };
	uint64_t count;

	(void)arg;
	while (!atomic_load(&out.stop)) {
		poll(&p, 1, WRITE_EVERY_MS);
		if (read(wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
			break;
		drain_all();
	}
	return NULL;
}

/* ---- begin and end --------------------------------------------------------------------------- */

/* What all traces of this process share, and nothing of the one before. */
static int prepare(struct err *e)
{
	if (wake_fd < 0)
		wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake_fd < 0)
		return err_set(e, -errno, "--trace: eventfd: %s", strerror(errno));
	pthread_mutex_lock(&rings.lock);
	if (!rings.have_key)
		rings.have_key = !pthread_key_create(&rings.key, thread_ends);
	for (struct ring *r = rings.list; r; r = r->next) {
		atomic_store(&r->tail, atomic_load(&r->head));
		r->said = atomic_load(&r->lost);
		r->told = false;
		if (atomic_load(&r->ended))
			atomic_store(&r->free, true);
	}
	atomic_store(&rings.homeless, 0);
	pthread_mutex_unlock(&rings.lock);
	return 0;
}

static int start_writer(struct err *e)
{
	int ret = thread_start(&out.thread, THREAD_AUX, "trace", writer, NULL);

	return ret < 0 ? err_set(e, ret, "--trace: thread: %s", strerror(-ret)) : 0;
}

static void release(void)
{
	fclose(out.file);
	free(out.path);
	memset(&out, 0, sizeof(out));
}

int trace_prepare(const char *path, const char *title, struct err *e)
{
	int fd, ret;

	if (out.file)
		return err_set(e, -EBUSY, "--trace %s: a trace is being written already", path);
	ret = prepare(e);
	if (ret < 0)
		return ret;
	fd = path_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return err_set(e, -errno, "--trace %s: %s", path, strerror(errno));
	out.path = strdup(path);
	out.file = out.path ? fdopen(fd, "w") : NULL;
	if (!out.file) {
		close(fd);
		free(out.path);
		return err_set(e, -ENOMEM, "--trace: no memory");
	}
	setvbuf(out.file, NULL, _IOFBF, FILE_BUFFER);
	putc('[', out.file);
	metadata("process_name", getpid(), title ? title : "realmtool");
	atomic_store(&trace_is_on, true);
	return 0;
}

int trace_start(struct err *e)
{
	int ret = out.file && !out.writing ? start_writer(e) : 0;

	out.writing |= out.file && !ret;
	return ret;
}

int trace_open(const char *path, const char *title, struct err *e)
{
	int ret = trace_prepare(path, title, e);

	if (ret < 0)
		return ret;
	ret = trace_start(e);
	if (ret < 0)
		trace_close();
	return ret;
}

void trace_close(void)
{
	if (!out.file)
		return;
	atomic_store(&trace_is_on, false);
	if (out.writing) {
		atomic_store(&out.stop, true);
		wake_writer();
		pthread_join(out.thread, NULL);
	}
	drain_all();
	out.over += atomic_load(&rings.homeless);
	if (out.over)
		say_lost(getpid(), out.over);
	fputs("\n]\n", out.file);
	flush();
	if (out.missing)
		log_warning("--trace: %s lacks %" PRIu64 " events: they came faster than they "
			    "could be written, or it would have become too large",
			    out.path, out.missing);
	release();
}
