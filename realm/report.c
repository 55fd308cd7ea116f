// SPDX-License-Identifier: BSD-3-Clause
#include "realm/report.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/parse.h"
#include "vmm/core/path.h"

/* ---- a step as fields ---------------------------------------------------------------------- */

#define MAX_FIELDS	16
#define KEY_MAX		24
#define VALUE_MAX	(2 * REALM_HASH_MAX + 4)

enum form { TEXT, NUMBER, YES_NO };	/* in JSON: string, number, true or false */

struct field {
	char key[KEY_MAX];
	char value[VALUE_MAX];
	enum form form;
};

struct report_step {
	char kind[KEY_MAX];
	unsigned int nr;
	struct field field[MAX_FIELDS];
};

static const char *const kinds[] = {
	[MEASURE_CREATE] = "create",
	[MEASURE_RIPAS] = "ripas",
	[MEASURE_DATA] = "data",
	[MEASURE_REC] = "rec",
};

static bool is_kind(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i], word))
			return true;
	return false;
}

static void PRINTF_LIKE(4, 5) add(struct report_step *s, enum form form, const char *key,
				  const char *fmt, ...)
{
	struct field *f = &s->field[s->nr++];
	va_list ap;

	f->form = form;
	snprintf(f->key, sizeof(f->key), "%s", key);
	va_start(ap, fmt);
	vsnprintf(f->value, sizeof(f->value), fmt, ap);
	va_end(ap);
}

static void add_yes(struct report_step *s, const char *key, bool yes)
{
	add(s, YES_NO, key, "%s", yes ? "yes" : "no");
}

static void hex(enum realm_hash algo, const uint8_t *digest, char out[REPORT_HEX_MAX])
{
	for (unsigned int i = 0; i < realm_hash_len(algo); i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static void create_fields(const struct measurement *m, struct report_step *s)
{
	const struct rim_params *p = &m->params;

	add(s, TEXT, "dialect", "%s", rim_dialect_name(p->dialect));
	add(s, TEXT, "algorithm", "%s", realm_hash_name(p->algo));
	if (p->dialect == RIM_A)
		add(s, TEXT, "order", "%s", p->order == RIM_RIPAS_FIRST ? "ripas-first" :
									   "ripas-last");
	if (p->dialect == RIM_C)
		return;		/* the parameters do not count */
	add(s, NUMBER, "ipa_bits", "%u", p->s2sz);
	add_yes(s, "lpa2", p->lpa2);
	add(s, NUMBER, "sve_vl", "%u", p->sve ? (p->sve_vl + 1) * 128 : 0);
	add(s, NUMBER, "breakpoints", "%u", p->num_bps + 1);
	add(s, NUMBER, "watchpoints", "%u", p->num_wps + 1);
	add_yes(s, "pmu", p->pmu);
	add(s, NUMBER, "pmu_counters", "%u", p->pmu_ctrs);
}

static void step_fields(const struct measurement *m, const struct measure_step *in,
			struct report_step *s)
{
	char text[REPORT_HEX_MAX], key[8];

	*s = (struct report_step){ .nr = 0 };
	strcpy(s->kind, kinds[in->kind]);
	switch (in->kind) {
	case MEASURE_CREATE:
		create_fields(m, s);
		break;
	case MEASURE_RIPAS:
		add(s, TEXT, "base", "%#" PRIx64, in->base);
		add(s, TEXT, "size", "%#" PRIx64, in->size);
		add(s, NUMBER, "entries", "%" PRIu64, in->entries);
		break;
	case MEASURE_DATA:
		add(s, TEXT, "name", "%s", in->name);
		add(s, TEXT, "base", "%#" PRIx64, in->base);
		add(s, TEXT, "size", "%#" PRIx64, in->size);
		add(s, NUMBER, "entries", "%" PRIu64, in->entries);
		add_yes(s, "measured", in->measured);
		if (in->measured) {
			hex(m->params.algo, in->content, text);
			add(s, TEXT, "content", "%s", text);
		}
		break;
	case MEASURE_REC:
		add(s, TEXT, "pc", "%#" PRIx64, m->pc);
		for (unsigned int i = 0; i < 8; i++) {
			snprintf(key, sizeof(key), "x%u", i);
			if (m->x[i] || !i)
				add(s, TEXT, key, "%#" PRIx64, m->x[i]);
		}
		break;
	}
	hex(m->params.algo, in->rim, text);
	add(s, TEXT, "rim", "%s", text);
}

/* ---- writing ------------------------------------------------------------------------------- */

void report_hex(const struct rim *r, char out[REPORT_HEX_MAX])
{
	hex(r->algo, r->value, out);
}

void report_base64(const struct rim *r, char out[REPORT_B64_MAX])
{
	format_base64(r->value, realm_hash_len(r->algo), false, out);
}

struct text {
	char *at;
	size_t room;
};

static void PRINTF_LIKE(2, 3) put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	n = vsnprintf(t->at, t->room, fmt, ap);
	va_end(ap);
	n = MIN(n, t->room - 1);
	t->at += n;
	t->room -= n;
}

void report_text(const struct measurement *m, bool steps, char out[REPORT_TEXT_MAX])
{
	struct text t = { out, REPORT_TEXT_MAX };
	char text[REPORT_HEX_MAX];
	struct report_step s;

	for (unsigned int i = 0; steps && i < m->nr; i++) {
		step_fields(m, &m->step[i], &s);
		put(&t, "%s", s.kind);
		for (unsigned int k = 0; k < s.nr; k++)
			put(&t, " %s=%s", s.field[k].key, s.field[k].value);
		put(&t, "\n");
	}
	report_hex(&m->rim, text);
	put(&t, "predicted RIM (dialect %s): %s\n", rim_dialect_name(m->params.dialect), text);
	report_base64(&m->rim, text);
	put(&t, "base64: %s\nalgorithm: %s\n", text, realm_hash_name(m->params.algo));
}

void report_json(const struct measurement *m, struct json *j)
{
	char text[REPORT_HEX_MAX];
	struct report_step s;

	json_str(j, "dialect", rim_dialect_name(m->params.dialect));
	json_str(j, "algorithm", realm_hash_name(m->params.algo));
	report_hex(&m->rim, text);
	json_str(j, "rim", text);
	report_base64(&m->rim, text);
	json_str(j, "rim_base64", text);
	json_array_begin(j, "steps");
	for (unsigned int i = 0; i < m->nr; i++) {
		step_fields(m, &m->step[i], &s);
		json_object_begin(j, NULL);
		json_str(j, "step", s.kind);
		for (unsigned int k = 0; k < s.nr; k++) {
			const struct field *d = &s.field[k];

			if (d->form == TEXT)
				json_str(j, d->key, d->value);
			else if (d->form == NUMBER)
				json_u64(j, d->key, strtoull(d->value, NULL, 10));
			else
				json_bool(j, d->key, d->value[0] == 'y');
		}
		json_object_end(j);
	}
	json_array_end(j);
}

/* ---- reading ------------------------------------------------------------------------------- */

#define FILE_MAX (256 * 1024)

/* One word: hexadecimal if it is as long as a digest in it, else base64. */
static int parse_rim(const char *word, struct report_expected *x, struct err *e)
{
	size_t n = strlen(word);
	int ret;

	if ((n == 64 || n == 96 || n == 128) && strspn(word, "0123456789abcdefABCDEF") == n)
		ret = parse_hex(word, x->rim, sizeof(x->rim), &x->len);
	else
		ret = parse_base64(word, x->rim, sizeof(x->rim), &x->len);
	if (ret < 0 || (x->len != 32 && x->len != 48 && x->len != 64))
		return err_set(e, -EINVAL, "\"%.20s%s\" is no measurement: give its 32, 48 or 64 bytes in "
			       "hexadecimal or base64, or @FILE", word, n > 20 ? "..." : "");
	return 0;
}

static struct report_step *new_step(struct report_expected *x)
{
	return x->nr < REPORT_MAX_STEPS ? &x->step[x->nr++] : NULL;
}

static int take_field(struct report_step *s, const char *key, size_t nk, const char *value,
		      size_t nv)
{
	struct field *f = &s->field[s->nr];

	if (s->nr == MAX_FIELDS || !nk || nk >= KEY_MAX || nv >= VALUE_MAX)
		return -EINVAL;
	/* values end in error messages */
	for (size_t i = 0; i < nv; i++)
		if (!isprint((unsigned char)value[i]))
			return -EINVAL;
	memcpy(f->key, key, nk);
	f->key[nk] = '\0';
	memcpy(f->value, value, nv);
	f->value[nv] = '\0';
	s->nr++;
	return 0;
}

static int parse_step_line(char *line, struct report_expected *x)
{
	struct report_step *s = new_step(x);
	char *word = strsep(&line, " ");

	if (!s)
		return -EINVAL;
	strcpy(s->kind, word);		/* is_kind() */
	while ((word = strsep(&line, " "))) {
		size_t n = strcspn(word, "=");
		const char *value = word + n + 1;

		if (word[n] != '=' || take_field(s, word, n, value, strlen(value)) < 0)
			return -EINVAL;
	}
	return 0;
}

/* The lines of report_text(), or one word. @text is taken apart. */
static int parse_lines(const char *name, char *text, struct report_expected *x, struct err *e)
{
	static const char head[] = "predicted RIM (";
	bool found = false;
	char *line;

	for (unsigned int nr = 1; (line = strsep(&text, "\n")); nr++) {
		char *rim = NULL;
		size_t n = strlen(line);

		while (n && isspace((unsigned char)line[n - 1]))
			line[--n] = '\0';
		if (!n || !strncmp(line, "base64: ", 8) || !strncmp(line, "algorithm: ", 11))
			continue;
		n = strcspn(line, " ");
		if (!strncmp(line, head, strlen(head))) {
			rim = strstr(line, "): ");
			if (rim)
				rim += 3;
		} else if (!line[n]) {
			rim = line;
		} else {
			char first[KEY_MAX] = "";

			if (n < sizeof(first))
				/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): zeroed */
				memcpy(first, line, n);
			if (!is_kind(first) || parse_step_line(line, x) < 0)
				return err_set(e, -EINVAL, "%s:%u: this is no output of \"realmtool "
					       "measure\"", name, nr);
			continue;
		}
		if (!rim || found)
			return err_set(e, -EINVAL, "%s:%u: %s", name, nr,
				       rim ? "a second measurement" : "no measurement");
		if (parse_rim(rim, x, e) < 0)
			return err_prefix(e, "%s:%u", name, nr);
		found = true;
	}
	return found ? 0 : err_set(e, -EINVAL, "%s: there is no measurement in it", name);
}

/*
 * JSON as report_json() writes it, in any layout; other members may stand beside. What counts:
 * "rim" of the outermost object, and the scalars of the objects in its array "steps".
 */
#define JSON_DEPTH 8

struct reader {
	const char *p, *end;
	struct report_expected *x;
	struct report_step *step;
	bool in_steps, found;
};

static void skip_space(struct reader *r)
{
	while (r->p < r->end && strchr(" \t\r\n", *r->p))
		r->p++;
}

static bool next_is(struct reader *r, char c)
{
	skip_space(r);
	if (r->p == r->end || *r->p != c)
		return false;
	r->p++;
	return true;
}

/* What is compared has no escapes; what has is skipped and compares as it is written. */
static int read_string(struct reader *r, const char **s, size_t *n)
{
	if (!next_is(r, '"'))
		return -EINVAL;
	*s = r->p;
	for (; r->p < r->end && *r->p != '"'; r->p++)
		if (*r->p == '\\' && ++r->p == r->end)
			return -EINVAL;
	*n = r->p - *s;
	return next_is(r, '"') ? 0 : -EINVAL;
}

static bool is_word(const char *s, size_t n, const char *word)
{
	return n == strlen(word) && !memcmp(s, word, n);
}

static int take_scalar(struct reader *r, unsigned int depth, const char *key, size_t nk,
		       const char *s, size_t n)
{
	char word[VALUE_MAX];

	if (depth == 1 && is_word(key, nk, "rim")) {
		if (r->found || n >= sizeof(word))
			return -EINVAL;
		memcpy(word, s, n);
		word[n] = '\0';
		r->found = true;
		return parse_rim(word, r->x, NULL);
	}
	if (!r->step || depth != 3)
		return 0;
	if (is_word(key, nk, "step")) {
		if (n >= sizeof(r->step->kind))
			return -EINVAL;
		memcpy(r->step->kind, s, n);
		r->step->kind[n] = '\0';
		return is_kind(r->step->kind) ? 0 : -EINVAL;
	}
	if (is_word(s, n, "true"))
		return take_field(r->step, key, nk, "yes", 3);
	if (is_word(s, n, "false"))
		return take_field(r->step, key, nk, "no", 2);
	return take_field(r->step, key, nk, s, n);
}

static int read_value(struct reader *r, unsigned int depth, const char *key, size_t nk);

static int read_members(struct reader *r, unsigned int depth, char close)
{
	const char *key = NULL;
	size_t nk = 0;
	int ret = 0;

	if (next_is(r, close))
		return 0;
	do {
		if (close == '}' && (read_string(r, &key, &nk) < 0 || !next_is(r, ':')))
			return -EINVAL;
		ret = read_value(r, depth, key, nk);
	} while (!ret && next_is(r, ','));
	return !ret && next_is(r, close) ? 0 : -EINVAL;
}

/* @depth: objects and arrays around the value */
static int read_value(struct reader *r, unsigned int depth, const char *key, size_t nk)
{
	const char *s;
	size_t n;
	int ret;

	if (depth == JSON_DEPTH)
		return -EINVAL;
	if (next_is(r, '{')) {
		bool step = r->in_steps && depth == 2;

		if (step && !(r->step = new_step(r->x)))
			return -EINVAL;
		ret = read_members(r, depth + 1, '}');
		if (step && !r->step->kind[0])
			return -EINVAL;
		if (step)
			r->step = NULL;
		return ret;
	}
	if (next_is(r, '[')) {
		bool steps = depth == 1 && key && is_word(key, nk, "steps");

		r->in_steps |= steps;
		ret = read_members(r, depth + 1, ']');
		r->in_steps &= !steps;
		return ret;
	}
	if (r->p < r->end && *r->p == '"') {
		if (read_string(r, &s, &n) < 0)
			return -EINVAL;
	} else {
		s = r->p;
		while (r->p < r->end && (isalnum((unsigned char)*r->p) || strchr("+-.", *r->p)))
			r->p++;
		n = r->p - s;
		if (!n)
			return -EINVAL;
	}
	return key ? take_scalar(r, depth, key, nk, s, n) : 0;
}

static int parse_json(const char *name, const char *text, size_t len, struct report_expected *x,
		      struct err *e)
{
	struct reader r = { .p = text, .end = text + len, .x = x };
	int ret = read_value(&r, 0, NULL, 0);

	skip_space(&r);
	if (ret < 0 || r.p != r.end || !r.found)
		return err_set(e, -EINVAL, "%s: this is no output of \"realmtool measure --json\"", name);
	return 0;
}

int report_expect_text(const char *name, const char *text, size_t len, struct report_expected *x,
		       struct err *e)
{
	char *copy;
	int ret;

	memset(x, 0, sizeof(*x));
	if (len > FILE_MAX || memchr(text, '\0', len))
		return err_set(e, len > FILE_MAX ? -EFBIG : -EINVAL, "%s: this is no output of "
			       "\"realmtool measure\"", name);
	copy = strndup(text, len);
	x->step = calloc(REPORT_MAX_STEPS, sizeof(*x->step));
	if (!copy || !x->step)
		ret = err_set(e, -ENOMEM, "out of memory");
	else if (copy[strspn(copy, " \t\r\n")] == '{')
		ret = parse_json(name, copy, len, x, e);
	else
		ret = parse_lines(name, copy, x, e);
	free(copy);
	if (ret < 0)
		report_expect_free(x);
	return ret;
}

int report_expect(const char *spec, struct report_expected *x, struct err *e)
{
	const char *path = spec + 1;
	size_t len = 0;
	ssize_t n;
	char *text;
	int fd, ret;

	memset(x, 0, sizeof(*x));
	if (spec[0] != '@')
		return parse_rim(spec, x, e);
	/* it is read several times, and a descriptor that was passed on can be taken only once */
	if (path_is_fd(path))
		path_keep(path, O_RDONLY | O_NONBLOCK, 0);
	fd = path_open(path, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, -errno, "%.200s: %s", path, strerror(errno));
	text = malloc(FILE_MAX + 1);
	if (!text) {
		close(fd);
		return err_set(e, -ENOMEM, "out of memory");
	}
	while (len <= FILE_MAX && (n = path_read(fd, text + len, FILE_MAX + 1 - len, len)) > 0)
		len += n;
	ret = n < 0 ? err_set(e, -errno, "%.200s: %s", path, strerror(errno)) :
		      report_expect_text(path, text, len, x, e);
	free(text);
	close(fd);
	return ret;
}

void report_expect_free(struct report_expected *x)
{
	free(x->step);
	memset(x, 0, sizeof(*x));
}

/* ---- comparing ----------------------------------------------------------------------------- */

static const char *value_of(const struct report_step *s, const char *key)
{
	for (unsigned int i = 0; i < s->nr; i++)
		if (!strcmp(s->field[i].key, key))
			return s->field[i].value;
	return NULL;
}

/* The step that corresponds: a piece has a name, of the others the n-th corresponds to the n-th. */
static const struct report_step *partner(const struct report_step *list, unsigned int nr,
					 const struct report_step *s, unsigned int nth)
{
	const char *name = value_of(s, "name"), *other;

	for (unsigned int i = 0; i < nr; i++) {
		if (strcmp(list[i].kind, s->kind))
			continue;
		other = value_of(&list[i], "name");
		if (name ? other && !strcmp(name, other) : !nth--)
			return &list[i];
	}
	return NULL;
}

struct list {
	char text[640];
	size_t len;
};

static void PRINTF_LIKE(2, 3) differs(struct list *l, const char *fmt, ...)
{
	va_list ap;

	if (l->len >= sizeof(l->text))
		return;
	if (l->len)
		l->len += snprintf(l->text + l->len, sizeof(l->text) - l->len, "; ");
	if (l->len >= sizeof(l->text))
		return;
	va_start(ap, fmt);
	l->len += vsnprintf(l->text + l->len, sizeof(l->text) - l->len, fmt, ap);
	va_end(ap);
}

static void compare_step(struct list *l, const struct report_step *here,
			 const struct report_step *there)
{
	const char *name = value_of(here, "name");

	if (!name)
		name = here->kind;
	if (!there) {
		differs(l, "%s is not expected", name);
		return;
	}
	for (unsigned int i = 0; i < here->nr; i++) {
		const struct field *f = &here->field[i];
		const char *other = value_of(there, f->key);

		if (!strcmp(f->key, "rim") || (other && !strcmp(f->value, other)))
			continue;
		if (!strcmp(f->key, "content"))
			differs(l, "%s: its content", name);
		else
			differs(l, "%s: %s is %s, not %s", name, f->key, f->value,
				other ? other : "there");
	}
}

static void compare_steps(struct list *l, const struct measurement *m,
			  const struct report_expected *x)
{
	struct report_step *here = calloc(m->nr, sizeof(*here));
	unsigned int nth[ARRAY_SIZE(kinds)] = { 0 };

	if (!here)
		return;
	for (unsigned int i = 0; i < m->nr; i++) {
		step_fields(m, &m->step[i], &here[i]);
		compare_step(l, &here[i], partner(x->step, x->nr, &here[i],
						  nth[m->step[i].kind]++));
	}
	memset(nth, 0, sizeof(nth));
	for (unsigned int i = 0; i < x->nr; i++) {
		const struct report_step *s = &x->step[i];
		const char *name = value_of(s, "name");
		size_t k = 0;

		while (strcmp(kinds[k], s->kind))
			k++;
		if (!partner(here, m->nr, s, nth[k]++))
			differs(l, "%s is missing", name ? name : s->kind);
	}
	free(here);
}

int report_compare(const struct measurement *m, const struct report_expected *x, struct err *e)
{
	unsigned int len = realm_hash_len(m->params.algo);
	struct list l = { .len = 0 };
	char text[REPORT_HEX_MAX];
	bool padded = x->len == REALM_HASH_MAX;

	/* what the guest reads (RSI_MEASUREMENT_READ) has 64 bytes, whatever the algorithm */
	for (size_t i = len; i < x->len; i++)
		padded &= !x->rim[i];
	if (x->len != len && !padded)
		return err_set(e, -EINVAL, "the expected measurement has %zu bytes, one of %s has %u: "
			       "give the --measurement-algo it was made with", x->len,
			       realm_hash_name(m->params.algo), len);
	if (!memcmp(m->rim.value, x->rim, len))
		return 0;
	report_hex(&m->rim, text);
	if (x->nr)
		compare_steps(&l, m, x);
	if (l.len)
		return err_set(e, -EKEYREJECTED, "the predicted measurement is not the expected one. What "
			       "differs: %s. (Here: %s)", l.text, text);
	return err_set(e, -EKEYREJECTED, "the predicted measurement (dialect %s) is not the expected "
		       "one: it is %s%s", rim_dialect_name(m->params.dialect), text,
		       x->nr ? "" : "; with the output of \"realmtool measure -v\" in a file, @FILE "
		       "tells what differs");
}
