// SPDX-License-Identifier: BSD-3-Clause
/* Settings as a config file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/conf_parse.h"
#include "vmm/conffile.h"
#include "vmm/core/err.h"

#define COMMENT_COLUMN 40
#define SECTION_MAX 32

struct writer {
	const struct conf *f;
	FILE *to;
	unsigned int how;
	char *cwd;
	const char *section;	/* whose head is not written yet, or NULL */
	bool any;		/* something stands above */
	unsigned int nr_titles;
	int ret;
	struct err *e;
};

/* What stands in a file for an option of the command line. */
struct value {
	const struct opt *opt;
	char *text;
	int file;
	unsigned int line;
};

static int fail(struct writer *w, int code, const char *what)
{
	if (!w->ret)
		w->ret = err_set(w->e, code, "%s", what);
	return w->ret;
}

static bool plain(const char *text)
{
	static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:@-";

	return *text && strspn(text, ok) == strlen(text) && strncmp(text, "//", 2);
}

/* With all that a file would take for something else. */
static int put_text(struct writer *w, const char *text)
{
	bool quotes = !plain(text);
	int n = 0;

	if (quotes)
		n += fprintf(w->to, "\"");
	for (; *text; text++) {
		if (*text == '\t')
			n += fprintf(w->to, "\\t");
		else if ((unsigned char)*text < ' ')
			fail(w, -EINVAL, "a value has a control character, which cannot be in a config "
			     "file");
		else if (*text == '%')
			n += fprintf(w->to, "%%%%");
		else
			n += fprintf(w->to, "%s%c", strchr("\"\\", *text) ? "\\" : "", *text);
	}
	if (quotes)
		n += fprintf(w->to, "\"");
	return n;
}

static void put_source(struct writer *w, int col, int file, unsigned int line)
{
	if (w->how & CONF_SOURCES) {
		fprintf(w->to, "%*s", col < COMMENT_COLUMN ? COMMENT_COLUMN - col : 1, "");
		if (file == CONF_COMMAND_LINE)
			fprintf(w->to, "# command line");
		else
			fprintf(w->to, "# %s:%u", w->f->file[file], line);
	}
	fputc('\n', w->to);
}

/* The head of a section, once there is something in it. */
static void put_head(struct writer *w)
{
	if (w->section)
		fprintf(w->to, "%s%s {\n", w->any ? "\n" : "", w->section);
	w->section = NULL;
	w->any = true;
}

/* ---- values of the command line -------------------------------------------------------------- */

static const char *own_text(const struct opt *o, const char *text)
{
	if (text)
		return text;
	return o->flags & OPT_OPTIONAL && o->choice ? o->choice[0].name : "yes";
}

/* As a file has it: of the option that it is another way to write, with an absolute path. */
static bool translate(struct writer *w, const struct opt *o, const char *text, int file,
		      unsigned int line, struct value *v)
{
	const char *before = o->same_as && o->same_value ? o->same_value : "";
	size_t n = o->path ? strlen(o->path) : 0;
	int ret;

	*v = (struct value){ .opt = o, .file = file, .line = line };
	if (o->same_as)
		v->opt = opt_find(w->f->t, o->same_as);
	if (*before && !text)
		text = "";
	text = own_text(o, text);
	if (file == CONF_COMMAND_LINE && o->path && !strncmp(text, o->path, n) && text[n] &&
	    text[n] != '/' && !opt_is_choice(o, text))
		ret = asprintf(&v->text, "%s%s/%s", o->path, w->cwd, text + n);
	else
		ret = asprintf(&v->text, "%s%s", before, text);
	if (ret >= 0)
		return true;
	v->text = NULL;
	fail(w, -ENOMEM, "out of memory");
	return false;
}

/* ---- sections -------------------------------------------------------------------------------- */

static const struct opt *canonical(const struct opt_table *t, const struct opt *o)
{
	return o->same_as ? opt_find(t, o->same_as) : o;
}

static void put_key(struct writer *w, const char *key, const struct value *v)
{
	int n;

	put_head(w);
	n = 8 + fprintf(w->to, "\t%s = ", key) - 1;
	n += put_text(w, v->text);
	put_source(w, n, v->file, v->line);
}

/* The nth value of an option, of all that was said about it. */
static const struct conf_val *nth_value(const struct conf *f, const struct opt *o, unsigned int n)
{
	for (unsigned int i = 0; i < f->nr_sets; i++) {
		const struct conf_set *s = &f->set[i];

		if (s->dropped || s->words || canonical(f->t, s->opt) != o)
			continue;
		if (n < s->nr)
			return &s->val[n];
		n -= s->nr;
	}
	return NULL;
}

static void put_list(struct writer *w, const struct opt *o, const char *key)
{
	const struct conf_val *v;
	struct value x;
	int n;

	put_head(w);
	fprintf(w->to, "\t%s = {\n", key);
	for (unsigned int i = 0; (v = nth_value(w->f, o, i)); i++) {
		if (!translate(w, v->opt, v->text, v->file, v->line, &x))
			return;
		n = 15 + fprintf(w->to, "\t\t") - 1;
		n += put_text(w, x.text);
		if (nth_value(w->f, o, i + 1))
			n += fprintf(w->to, ",");
		put_source(w, n, x.file, x.line);
		free(x.text);
	}
	fprintf(w->to, "\t}\n");
}

static void put_option(struct writer *w, const struct opt *o, const char *key)
{
	const struct conf_val *v = nth_value(w->f, o, 0), *last;
	struct value x;
	int n;

	if (!v) {
		if (!(w->how & CONF_DEFAULTS) || !o->def)
			return;
		put_head(w);
		n = 8 + fprintf(w->to, "\t# %s = %s", key, o->def) - 1;
		fprintf(w->to, "%*s# default\n", n < COMMENT_COLUMN ? COMMENT_COLUMN - n : 1, "");
		return;
	}
	if (o->flags & OPT_REPEAT && nth_value(w->f, o, 1)) {
		put_list(w, o, key);
		return;
	}
	/* a switch may be given twice */
	for (unsigned int i = 1; (last = nth_value(w->f, o, i)); i++)
		v = last;
	if (!translate(w, v->opt, v->text, v->file, v->line, &x))
		return;
	put_key(w, key, &x);
	free(x.text);
}

static int collect(void *ctx, const struct opt *o, const char *shown, const char *value,
		   struct err *e)
{
	struct conf_set *s = ctx;
	struct conf_val *val = reallocarray(s->val, s->nr + 1, sizeof(*val));
	char *text = value ? strdup(value) : NULL;

	if (val)
		s->val = val;
	if (!val || (value && !text)) {
		free(text);
		return err_set(e, -ENOMEM, "out of memory");
	}
	val[s->nr++] = (struct conf_val){ o, text, CONF_COMMAND_LINE, 0 };
	return 0;
}

static bool title_taken(const struct writer *w, const struct opt *o, const char *title)
{
	for (unsigned int i = 0; i < w->f->nr_sets; i++)
		if (w->f->set[i].opt == o && w->f->set[i].title &&
		    !strcmp(w->f->set[i].title, title))
			return true;
	return false;
}

/* A switch may be given twice, the last one counts; a file has room for one. */
static bool given_again(const struct conf_set *s, unsigned int i)
{
	for (unsigned int k = i + 1; k < s->nr; k++)
		if (s->val[k].opt == s->val[i].opt && !(s->val[i].opt->flags & OPT_REPEAT))
			return true;
	return false;
}

/* A name for a section that had none; the value that the title stands for, if it has one. */
static const char *find_title(struct writer *w, const struct conf_set *s, char *room, size_t size)
{
	const char *key = s->opt->words->title;

	for (unsigned int i = 0; i < s->nr && key; i++)
		if (!strcmp(s->val[i].opt->name, key) && plain(s->val[i].text) &&
		    strlen(s->val[i].text) <= CONF_TITLE_MAX &&
		    !title_taken(w, s->opt, s->val[i].text))
			return s->val[i].text;
	do
		snprintf(room, size, "%s%u", s->opt->key, w->nr_titles++);
	while (title_taken(w, s->opt, room));
	return room;
}

static void put_section(struct writer *w, const struct conf_set *s)
{
	char room[SECTION_MAX + 16], head[SECTION_MAX + CONF_TITLE_MAX + 16];
	const char *title = s->title, *key = s->opt->words->title;
	struct value x;

	if (!title && s->opt->flags & OPT_REPEAT)
		title = find_title(w, s, room, sizeof(room));
	if (title)
		snprintf(head, sizeof(head), "%s \"%s\"", s->opt->key, title);
	else
		snprintf(head, sizeof(head), "%s", s->opt->key);
	w->section = head;
	put_head(w);
	for (unsigned int i = 0; i < s->nr; i++) {
		const struct conf_val *v = &s->val[i];

		if (v->opt->flags & OPT_NOOP || given_again(s, i))
			continue;
		/* the title says it */
		if (title && key && !strcmp(v->opt->name, key) && v->text &&
		    !strcmp(v->text, title))
			continue;
		if (!translate(w, v->opt, v->text, v->file, v->line, &x))
			return;
		put_key(w, v->opt->name, &x);
		free(x.text);
	}
	fprintf(w->to, "}\n");
}

/* All sections of one kind of device. */
static void put_sections(struct writer *w, const struct opt *o)
{
	w->nr_titles = 0;
	for (unsigned int i = 0; i < w->f->nr_sets && !w->ret; i++) {
		const struct conf_set *s = &w->f->set[i];
		struct conf_set own = { .opt = s->opt };
		const struct opt_hook hook = { .set = collect, .ctx = &own };

		if (s->opt != o || s->dropped)
			continue;
		if (s->words) {
			put_section(w, s);
			continue;
		}
		if (s->nr && s->val[0].text)
			w->ret = opt_words_hook(o->words, &hook, s->val[0].text, w->e);
		if (!w->ret)
			put_section(w, &own);
		for (unsigned int k = 0; k < own.nr; k++)
			free(own.val[k].text);
		free(own.val);
	}
}

static void put_plain_section(struct writer *w, const char *section)
{
	char name[SECTION_MAX];

	w->section = section;
	for (unsigned int i = 0; i < w->f->t->nr && !w->ret; i++) {
		const struct opt *o = &w->f->t->opt[i];
		const char *key = conf_section(o, name, sizeof(name));

		if (key && !strcmp(name, section))
			put_option(w, o, key);
	}
	if (!w->section)
		fprintf(w->to, "}\n");
	w->section = NULL;
}

static bool first_of_section(const struct opt_table *t, const struct opt *o, const char *section)
{
	char name[SECTION_MAX];

	for (const struct opt *p = t->opt; p < o; p++)
		if (p->key && conf_section(p, name, sizeof(name)) && !strcmp(name, section))
			return false;
	return true;
}

/* What has no place in a file. */
static void put_rest(struct writer *w)
{
	for (unsigned int i = 0; i < w->f->nr_sets; i++) {
		const struct conf_set *s = &w->f->set[i];
		const struct opt *o = canonical(w->f->t, s->opt);

		if (o->key || !s->shown)
			continue;
		fprintf(w->to, "%s# option --%s is not for config files: %s\n", w->any ? "\n" : "",
			o->name, o->no_key ? o->no_key : o->why ? o->why : "it has no key");
		w->any = false;
	}
}

int conf_write(const struct conf *f, FILE *to, unsigned int how, struct err *e)
{
	struct writer w = { .f = f, .to = to, .how = how, .e = e };
	char name[SECTION_MAX];

	w.cwd = getcwd(NULL, 0);
	if (!w.cwd)
		return err_set(e, -errno, "the working folder has no name: %s", strerror(errno));
	for (unsigned int i = 0; i < f->t->nr && !w.ret; i++) {
		const struct opt *o = &f->t->opt[i];

		if (!o->key)
			continue;
		if (!conf_section(o, name, sizeof(name)))
			put_sections(&w, o);
		else if (first_of_section(f->t, o, name))
			put_plain_section(&w, name);
	}
	if (!w.ret)
		put_rest(&w);
	free(w.cwd);
	return w.ret;
}
