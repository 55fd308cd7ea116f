// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/opt.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/parse.h"

static const struct opt *find_name(const struct opt_table *t, const char *name, size_t len)
{
	for (unsigned int i = 0; i < t->nr; i++)
		if (strlen(t->opt[i].name) == len && !memcmp(t->opt[i].name, name, len))
			return &t->opt[i];
	return NULL;
}

const struct opt *opt_find(const struct opt_table *t, const char *name)
{
	return find_name(t, name, strlen(name));
}

const struct opt *opt_find_key(const struct opt_table *t, const char *key)
{
	for (unsigned int i = 0; i < t->nr; i++)
		if (t->opt[i].key && !strcmp(t->opt[i].key, key))
			return &t->opt[i];
	return NULL;
}

unsigned int opt_given(const struct opt_table *t, const struct opt_state *st, const char *name)
{
	const struct opt *o = opt_find(t, name);

	assert(o);
	return st->count[o - t->opt];
}

static const struct opt *find_letter(const struct opt_table *t, char letter)
{
	for (unsigned int i = 0; i < t->nr; i++)
		if (t->opt[i].letter && t->opt[i].letter == letter)
			return &t->opt[i];
	return NULL;
}

bool opt_is_choice(const struct opt *o, const char *word)
{
	for (const struct opt_choice *c = o->choice; c && c->name; c++)
		if (!strcmp(c->name, word))
			return true;
	return false;
}

int opt_set(const struct opt_table *t, struct opt_state *st, void *base, const struct opt *o,
	    const char *shown, const char *value, struct err *e)
{
	unsigned int *count = &st->count[o - t->opt];
	int ret;

	if (o->flags & OPT_REFUSED)
		return err_set(e, -EINVAL, "option %s: %s", shown, o->why);
	if (value && !*value && !(o->flags & OPT_EMPTY))
		return err_set(e, -EINVAL, "option %s: the value is empty", shown);
	/* A switch that is set twice is set; of two values one would be lost without a word. */
	if (*count && !(o->flags & (OPT_REPEAT | OPT_FLAG | OPT_NOOP)))
		return err_set(e, -EINVAL, "option %s is given twice: give it once", shown);
	if (st->hook)
		ret = st->hook->set(st->hook->ctx, o, shown, value, e);
	else
		ret = o->parse ? o->parse(o, value, (char *)base + o->offset, e) : 0;
	if (ret < 0 && st->hook)
		return ret;
	if (ret < 0) {
		err_prefix(e, "option %s", shown);
		return ret;
	}
	++*count;
	return ret;
}

/* -n or --name, as the user typed it, and the long name behind the short one */
struct shown {
	char text[80];
};

static const char *show_long(struct shown *s, const char *name, size_t len)
{
	snprintf(s->text, sizeof(s->text), "--%.*s", (int)MIN(len, 60), name);
	return s->text;
}

static const char *show_short(struct shown *s, const struct opt *o)
{
	snprintf(s->text, sizeof(s->text), "-%c (--%s)", o->letter, o->name);
	return s->text;
}

static int unknown(const struct opt_table *t, const char *name, size_t len, struct err *e)
{
	struct nearest n = {0};
	struct shown typed, word;

	snprintf(word.text, sizeof(word.text), "%.*s", (int)MIN(len, 60), name);
	n.word = word.text;
	for (unsigned int i = 0; i < t->nr; i++)
		if (!(t->opt[i].flags & OPT_HIDDEN))
			nearest_offer(&n, t->opt[i].name);
	show_long(&typed, name, len);
	if (n.best)
		return err_set(e, -EINVAL, "unknown option %s: did you mean --%s? (%s)", typed.text,
			       n.best, t->hint);
	return err_set(e, -EINVAL, "unknown option %s: %s", typed.text, t->hint);
}

struct words {
	int argc;
	char **argv;
	int next;
};

/* The value of an option that stands in the next word. */
static int next_value(const struct opt_table *t, const struct opt *o, const char *shown,
		      struct words *w, const char **value, struct err *e)
{
	const char *arg, *name;

	if (w->next == w->argc)
		return err_set(e, -EINVAL, "option %s needs a value: --%s %s", shown, o->name,
			       o->arg);
	arg = w->argv[w->next];
	if (!strncmp(arg, "--", 2)) {
		name = arg + 2;
		if (find_name(t, name, strcspn(name, "=")))
			return err_set(e, -EINVAL,
				       "option %s needs a value, and option %s follows: "
				       "write --%s=%s if that is the value",
				       shown, arg, o->name, arg);
	}
	*value = arg;
	w->next++;
	return 0;
}

static int parse_long(const struct opt_table *t, struct opt_state *st, void *base, struct words *w,
		      const char *name, struct err *e)
{
	size_t len = strcspn(name, "=");
	const char *value = name[len] ? name + len + 1 : NULL;
	const struct opt *o = find_name(t, name, len);
	struct shown s;
	int ret;

	show_long(&s, name, len);
	if (!o && len > 3 && !strncmp(name, "no-", 3)) {
		o = find_name(t, name + 3, len - 3);
		if (!o || !(o->flags & OPT_NEGATE))
			return unknown(t, name, len, e);
		if (value)
			return err_set(e, -EINVAL, "option %s takes no value", s.text);
		return opt_set(t, st, base, o, s.text, "no", e);
	}
	if (!o)
		return unknown(t, name, len, e);
	if (o->flags & OPT_REFUSED) /* whatever its value looks like */
		return opt_set(t, st, base, o, s.text, NULL, e);
	if (o->flags & OPT_FLAG) {
		if (value)
			return err_set(e, -EINVAL, "option %s takes no value", s.text);
	} else if (!value && !(o->flags & OPT_OPTIONAL)) {
		ret = next_value(t, o, s.text, w, &value, e);
		if (ret < 0)
			return ret;
	} else if (!value && w->next < w->argc && opt_is_choice(o, w->argv[w->next])) {
		return err_set(e, -EINVAL, "option %s takes its value with \"=\": write --%s=%s",
			       s.text, o->name, w->argv[w->next]);
	}
	return opt_set(t, st, base, o, s.text, value, e);
}

static int parse_short(const struct opt_table *t, struct opt_state *st, void *base, struct words *w,
		       const char *letters, struct err *e)
{
	const struct opt *o;
	const char *value;
	struct shown s;
	int ret;

	/* "-kernel x" is not the option -k with the value "ernel". */
	o = find_name(t, letters, strcspn(letters, "="));
	if (o && o->name[1])
		return err_set(e, -EINVAL,
			       "unknown option -%s: did you mean --%s, with two dashes?", letters,
			       o->name);
	for (; *letters; letters++) {
		o = find_letter(t, *letters);
		if (!o)
			return err_set(e, -EINVAL, "unknown option -%c: %s", *letters, t->hint);
		show_short(&s, o);
		if (o->flags & (OPT_FLAG | OPT_REFUSED)) {
			ret = opt_set(t, st, base, o, s.text, NULL, e);
			if (ret)
				return ret;
			continue;
		}
		value = letters[1] ? letters + 1 : NULL;
		if (!value && !(o->flags & OPT_OPTIONAL)) {
			ret = next_value(t, o, s.text, w, &value, e);
			if (ret < 0)
				return ret;
		}
		return opt_set(t, st, base, o, s.text, value, e);
	}
	return 0;
}

static int parse_word(const struct opt_table *t, struct opt_state *st, void *base, const char *word,
		      struct err *e)
{
	const struct opt *o = t->word ? opt_find(t, t->word) : NULL;
	int ret;

	if (st->hook && st->hook->word) {
		ret = st->hook->word(st->hook->ctx, word, e);
		if (ret)
			return MIN(ret, 0);
	}
	if (!o)
		return err_set(e, -EINVAL, "unexpected word \"%.80s\": %s", word, t->hint);
	if (st->count[o - t->opt])
		return err_set(e, -EINVAL,
			       "unexpected word \"%.80s\": --%s is given already, and only "
			       "one word can stand without an option (is a quote missing?)",
			       word, o->name);
	return opt_set(t, st, base, o, o->name, word, e);
}

int opt_parse(const struct opt_table *t, struct opt_state *st, void *base, int argc, char **argv,
	      struct err *e)
{
	struct words w = {argc, argv, 0};
	bool options = true;
	int ret = 0;

	while (w.next < argc && !ret) {
		const char *arg = argv[w.next++];

		if (!options || arg[0] != '-' || !arg[1])
			ret = parse_word(t, st, base, arg, e);
		else if (arg[1] != '-')
			ret = parse_short(t, st, base, &w, arg + 1, e);
		else if (arg[2])
			ret = parse_long(t, st, base, &w, arg + 2, e);
		else
			options = false;
	}
	return ret;
}

bool opt_takes_next(const struct opt_table *t, const char *arg)
{
	const struct opt *o;

	if (arg[1] == '-') {
		o = find_name(t, arg + 2, strcspn(arg + 2, "="));
		return o && !strchr(arg, '=') &&
		       !(o->flags & (OPT_FLAG | OPT_OPTIONAL | OPT_REFUSED));
	}
	for (const char *letter = arg + 1; *letter; letter++) {
		o = find_letter(t, *letter);
		if (!o)
			return false;
		if (!(o->flags & (OPT_FLAG | OPT_REFUSED)))
			return !letter[1] && !(o->flags & OPT_OPTIONAL);
	}
	return false;
}

int opt_split(const struct opt_table *own, struct opt_state *st, void *base,
	      const struct opt_table *other, int argc, char **argv, char **left, int *nr_left,
	      struct err *e)
{
	struct words w = {argc, argv, 0};
	bool options = true;
	int ret = 0, n = 0;

	while (w.next < argc && !ret) {
		char *arg = argv[w.next++];
		bool is_long = !strncmp(arg, "--", 2), value;

		options = options && strcmp(arg, "--");
		if (options && is_long && find_name(own, arg + 2, strcspn(arg + 2, "="))) {
			ret = parse_long(own, st, base, &w, arg + 2, e);
			continue;
		}
		if (options && !is_long && arg[0] == '-' && arg[1] && find_letter(own, arg[1])) {
			ret = parse_short(own, st, base, &w, arg + 1, e);
			continue;
		}
		left[n++] = arg;
		value = options && arg[0] == '-' && arg[1] && w.next < argc &&
			opt_takes_next(other, arg);
		/* an option of ours is no value: the other parser will miss one */
		if (value && (strncmp(argv[w.next], "--", 2) ||
			      !find_name(own, argv[w.next] + 2, strcspn(argv[w.next] + 2, "="))))
			left[n++] = argv[w.next++];
	}
	*nr_left = n;
	return ret;
}

/* One word of opt_words(), which may be cut in place. @bare: how many so far had no name, of those
 * that need none. */
static int set_word(const struct opt_table *t, struct opt_state *st, void *base, char *word,
		    bool first, unsigned int *bare, struct err *e)
{
	size_t len = strcspn(word, "=");
	const struct opt *o = find_name(t, word, len);
	char *value = word[len] ? word + len + 1 : NULL;
	struct nearest n = { .word = word };
	struct shown s;

	if (first && t->word && !(o && (value || o->flags & OPT_FLAG))) {
		*bare = 1;
		o = opt_find(t, t->word);
		return opt_set(t, st, base, o, o->name, word, e);
	}
	if (*bare == 1 && t->word2 && *word && !value) {
		*bare = 2;
		o = opt_find(t, t->word2);
		return opt_set(t, st, base, o, o->name, word, e);
	}
	*bare = 0;
	if (!o) {
		word[len] = '\0';
		for (unsigned int i = 0; i < t->nr; i++)
			if (!(t->opt[i].flags & OPT_HIDDEN))
				nearest_offer(&n, t->opt[i].name);
		if (n.best)
			return err_set(e, -EINVAL, "\"%.60s\" is unknown: did you mean %s? (%s)",
				       word, n.best, t->hint);
		return err_set(e, -EINVAL, "\"%.60s\" is unknown: give %s", word, t->hint);
	}
	snprintf(s.text, sizeof(s.text), "%s", o->name);
	if (!value && !(o->flags & (OPT_FLAG | OPT_OPTIONAL | OPT_REFUSED)))
		return err_set(e, -EINVAL, "%s needs a value: %s=%s", o->name, o->name, o->arg);
	return opt_set(t, st, base, o, s.text, value, e);
}

static int each_word(const struct opt_table *t, struct opt_state *st, void *base, const char *text,
		     struct err *e)
{
	bool any = *text == OPT_SEP, first = !any;
	const char sep[] = { any ? OPT_SEP : ',', '\0' };
	char *copy, *next, *word;
	unsigned int bare = 0;
	int ret = 0;

	copy = strdup(text + any);
	if (!copy)
		return err_set(e, -ENOMEM, "out of memory");
	/* from a config file there may be none at all */
	next = any && !*copy ? NULL : copy;
	while (!ret && (word = strsep(&next, sep))) {
		ret = set_word(t, st, base, word, first, &bare, e);
		first = false;
	}
	free(copy);
	return ret;
}

int opt_words(const struct opt_table *t, void *base, const char *text, struct err *e)
{
	struct opt_state st = {0};

	return each_word(t, &st, base, text, e);
}

int opt_words_hook(const struct opt_table *t, const struct opt_hook *hook, const char *text,
		   struct err *e)
{
	struct opt_state st = { .hook = hook };

	return each_word(t, &st, NULL, text, e);
}

void opt_log_noops(const struct opt_table *t, const struct opt_state *st)
{
	for (unsigned int i = 0; i < t->nr; i++)
		if (st->count[i] && t->opt[i].flags & OPT_NOOP)
			log_info("option --%s has no effect: %s", t->opt[i].name, t->opt[i].why);
}

/* ---- parsers ----------------------------------------------------------------------------- */

int opt_flag(const struct opt *o, const char *value, void *dest, struct err *e)
{
	if (!value)
		*(bool *)dest = true;
	else if (parse_bool(value, dest) < 0)
		return err_set(e, -EINVAL, "\"%.80s\" is neither yes nor no", value);
	return 0;
}

int opt_string(const struct opt *o, const char *value, void *dest, struct err *e)
{
	char *copy = strdup(value);

	if (!copy)
		return err_set(e, -ENOMEM, "out of memory");
	free(*(char **)dest);
	*(char **)dest = copy;
	return 0;
}

int opt_number(const struct opt *o, const char *value, uint64_t *out, struct err *e)
{
	uint64_t v;
	int ret = parse_u64(value, &v);

	if (ret == -EINVAL && value[0] == '0' && value[1] >= '0' && value[1] <= '9')
		return err_set(e, ret, "\"%.80s\" is not a number: a leading 0 means octal", value);
	if (ret == -EINVAL)
		return err_set(e, ret,
			       "\"%.80s\" is not a number: give %" PRIu64 " to %" PRIu64
			       " (decimal, 0x hexadecimal or 0 octal)",
			       value, o->min, o->max);
	if (ret < 0 || v < o->min || v > o->max)
		return err_set(e, -ERANGE, "%.80s is out of range: give %" PRIu64 " to %" PRIu64,
			       value, o->min, o->max);
	*out = v;
	return 0;
}

int opt_uint(const struct opt *o, const char *value, void *dest, struct err *e)
{
	uint64_t v = 0;
	int ret = opt_number(o, value, &v, e);

	if (!ret)
		*(unsigned int *)dest = v;
	return ret;
}

int opt_u64(const struct opt *o, const char *value, void *dest, struct err *e)
{
	return opt_number(o, value, dest, e);
}

int opt_choice(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct nearest n = {.word = value};
	const struct opt_choice *c;
	char list[200] = "";
	size_t len = 0;

	if (!value) {
		*(int *)dest = o->choice[0].value;
		return 0;
	}
	for (c = o->choice; c->name; c++) {
		if (!strcmp(c->name, value)) {
			if (c->refused)
				return err_set(e, -EINVAL, "%s: %s", value, c->refused);
			*(int *)dest = c->value;
			return 0;
		}
		if (c->refused)
			continue;
		nearest_offer(&n, c->name);
		len += snprintf(list + len, sizeof(list) - len, "%s%s", len ? ", " : "", c->name);
		assert(len < sizeof(list));
	}
	if (n.best)
		return err_set(e, -EINVAL, "\"%.80s\" is unknown: did you mean %s? (one of %s)",
			       value, n.best, list);
	return err_set(e, -EINVAL, "\"%.80s\" is unknown: give one of %s", value, list);
}

/* ---- help and manual --------------------------------------------------------------------- */

#define HELP_WIDTH 80
#define HELP_COLUMN 30 /* where the one-line help begins */
#define HELP_INDENT 10 /* of the text of the long help */

/* Prints words from column @col on, further lines indented to @indent. */
static void wrap(FILE *f, const char *text, size_t indent, size_t col)
{
	size_t n;

	for (;;) {
		text += strspn(text, " ");
		n = strcspn(text, " ");
		if (!n)
			break;
		if (col > indent && col + 1 + n > HELP_WIDTH) {
			fputc('\n', f);
			col = 0;
		}
		if (col < indent)
			col += fprintf(f, "%*s", (int)(indent - col), "");
		else if (col > indent)
			col += fprintf(f, " ");
		col += fprintf(f, "%.*s", (int)n, text);
		text += n;
	}
	fputc('\n', f);
}

static size_t print_usage(FILE *f, const struct opt *o)
{
	size_t n;

	n = o->letter ? fprintf(f, "  -%c, ", o->letter) : fprintf(f, "      ");
	n += fprintf(f, "--%s", o->name);
	if (o->arg)
		n += fprintf(f, o->flags & OPT_OPTIONAL ? "[=%s]" : " %s", o->arg);
	return n;
}

static void help_line(FILE *f, const struct opt *o)
{
	size_t col = print_usage(f, o);

	if (col + 2 > HELP_COLUMN) {
		fputc('\n', f);
		col = 0;
	}
	fprintf(f, "%*s", (int)(HELP_COLUMN - col), "");
	wrap(f, o->help, HELP_COLUMN, HELP_COLUMN);
}

static void help_why(FILE *f, const char *title, const char *why)
{
	wrap(f, why, HELP_INDENT, fprintf(f, "%*s%s", HELP_INDENT, "", title));
}

/* What can stand between the commas of the value. */
static void help_words(FILE *f, const struct opt_table *t)
{
	for (unsigned int i = 0; i < t->nr; i++) {
		const struct opt *o = &t->opt[i];
		size_t col;

		if (o->flags & (OPT_HIDDEN | OPT_NOOP))
			continue;
		col = fprintf(f, "%*s%s", HELP_INDENT + 2, "", o->name);
		if (o->arg)
			col += fprintf(f, "=%s", o->arg);
		fputs("  ", f);
		wrap(f, o->help, HELP_INDENT + 4, col + 2);
	}
}

static void help_full(FILE *f, const struct opt *o)
{
	char title[64];

	print_usage(f, o);
	fputc('\n', f);
	wrap(f, o->help, HELP_INDENT, 0);
	if (o->text)
		wrap(f, o->text, HELP_INDENT, 0);
	if (o->words)
		help_words(f, o->words);
	if (o->why)
		help_why(f,
			 o->flags & OPT_REFUSED ? "Refused:" : "Accepted, without effect:", o->why);
	for (const struct opt_choice *c = o->choice; c && c->name; c++) {
		if (c->refused) {
			snprintf(title, sizeof(title), "%s is refused:", c->name);
			help_why(f, title, c->refused);
		}
	}
}

/* The names of all options with one flag, as a paragraph. */
static void help_names(FILE *f, const struct opt_table *t, unsigned int flag, const char *title)
{
	char line[OPT_MAX * 32];
	size_t len = 0;

	for (unsigned int i = 0; i < t->nr; i++)
		if (t->opt[i].flags & flag && !(t->opt[i].flags & OPT_HIDDEN) && len < sizeof(line))
			len += snprintf(line + len, sizeof(line) - len, "%s--%s", len ? " " : "",
					t->opt[i].name);
	if (!len)
		return;
	fprintf(f, "\n%s\n", title);
	wrap(f, line, 2, 0);
}

void opt_help(FILE *f, const struct opt_table *t, bool full)
{
	for (unsigned int g = 0; g < t->nr_groups; g++) {
		bool titled = false;

		for (unsigned int i = 0; i < t->nr; i++) {
			const struct opt *o = &t->opt[i];

			if (o->group != g || o->flags & OPT_HIDDEN)
				continue;
			if (!full && o->flags & (OPT_NOOP | OPT_REFUSED))
				continue;
			if (!titled)
				fprintf(f, "\n%s\n", t->group[g]);
			titled = true;
			if (full)
				help_full(f, o);
			else
				help_line(f, o);
		}
	}
	if (full)
		return;
	help_names(f, t, OPT_NOOP, "Accepted without effect");
	help_names(f, t, OPT_REFUSED, "Known, but refused with the reason");
}

/*
 * Text of a manual page: a dash must stay a dash when it is copied, a backslash is an escape, a dot
 * or an apostrophe at the beginning of a line would start a macro, and a sentence begins a line.
 */
static void man_text(FILE *f, const char *s)
{
	char last = '\n';

	for (; *s; s++) {
		if (*s == ' ' && last == '.') {
			last = '\n';
			fputc(last, f);
			continue;
		}
		if (last == '\n' && (*s == '.' || *s == '\''))
			fputs("\\&", f);
		if (*s == '-')
			fputs("\\-", f);
		else if (*s == '\\')
			fputs("\\e", f);
		else
			fputc(*s, f);
		last = *s;
	}
}

static void man_words(FILE *f, const struct opt_table *t)
{
	fputs(".Bl -tag -width Ds -compact\n", f);
	for (unsigned int i = 0; i < t->nr; i++) {
		const struct opt *o = &t->opt[i];

		if (o->flags & OPT_HIDDEN)
			continue;
		fprintf(f, ".It Cm %s", o->name);
		if (o->arg)
			fprintf(f, " Ns = Ns Ar %s", o->arg);
		fputc('\n', f);
		man_text(f, o->help);
		fputs(".\n", f);
	}
	fputs(".El\n", f);
}

static void man_opt(FILE *f, const struct opt *o)
{
	fputs(".It", f);
	if (o->letter)
		fprintf(f, o->arg ? " Fl %c Ar %s ," : " Fl %c ,", o->letter, o->arg);
	fprintf(f, " Fl \\-%s", o->name);
	if (o->arg)
		fprintf(f, o->flags & OPT_OPTIONAL ? " Ns Op = Ns Ar %s" : " Ar %s", o->arg);
	fputc('\n', f);
	man_text(f, o->help);
	fputs(".\n", f);
	if (o->text) {
		man_text(f, o->text);
		fputc('\n', f);
	}
	if (o->words)
		man_words(f, o->words);
	if (o->why) {
		fputs(o->flags & OPT_REFUSED ? "Refused: " : "Accepted, without effect: ", f);
		man_text(f, o->why);
		fputs(".\n", f);
	}
	for (const struct opt_choice *c = o->choice; c && c->name; c++) {
		if (!c->refused)
			continue;
		fprintf(f, ".Ql %s\nis refused: ", c->name);
		man_text(f, c->refused);
		fputs(".\n", f);
	}
}

void opt_man(FILE *f, const struct opt_table *t)
{
	for (unsigned int g = 0; g < t->nr_groups; g++) {
		fprintf(f, ".Ss %s\n.Bl -tag -width Ds\n", t->group[g]);
		for (unsigned int i = 0; i < t->nr; i++)
			if (t->opt[i].group == g && !(t->opt[i].flags & OPT_HIDDEN))
				man_opt(f, &t->opt[i]);
		fputs(".El\n", f);
	}
}

static void man_key(FILE *f, const struct opt *o, const char *key)
{
	fprintf(f, ".It Cm %s No = ", key);
	if (o->flags & OPT_FLAG)
		fputs("Cm yes | no\n", f);
	else
		fprintf(f, "Ar %s\n", o->arg);
	man_text(f, o->help);
	fputs(".\n", f);
	if (o->text && !o->words) {
		man_text(f, o->text);
		fputc('\n', f);
	}
	if (o->path)
		fputs("A path.\n", f);
	if (o->flags & OPT_REPEAT)
		fputs("A list.\n", f);
	fprintf(f, ".Pq Fl \\-%s\n", o->name);
}

/* A section of its own: its keys are the words of the option's value. */
static void man_section(FILE *f, const struct opt *o)
{
	const struct opt_table *t = o->words;

	fprintf(f, ".Ss %s%s\n", o->key, o->flags & OPT_REPEAT ? " Qq Ar name" : "");
	man_text(f, o->help);
	fprintf(f, ".\nIt is the option\n.Fl \\-%s\nof\n.Xr realmtool-run 1 .\n", o->name);
	if (t->title && o->flags & OPT_REPEAT)
		fprintf(f, "Without a key\n.Cm %s ,\nthe name of the section is its value.\n", t->title);
	fputs(".Bl -tag -width Ds -compact\n", f);
	for (unsigned int i = 0; i < t->nr; i++) {
		const struct opt *w = &t->opt[i];

		if (w->flags & (OPT_HIDDEN | OPT_NOOP | OPT_REFUSED))
			continue;
		fprintf(f, ".It Cm %s No = ", w->name);
		if (w->flags & OPT_FLAG)
			fputs("Cm yes | no\n", f);
		else
			fprintf(f, "Ar %s\n", w->arg);
		man_text(f, w->help);
		fputs(w->path ? "; a path.\n" : ".\n", f);
	}
	fputs(".El\n", f);
}

/* The keys of the section of @first, unless one before has it too. */
static void man_plain_section(FILE *f, const struct opt_table *t, const struct opt *first)
{
	size_t n = strcspn(first->key, ".") + 1;

	for (const struct opt *o = t->opt; o < first; o++)
		if (o->key && !strncmp(o->key, first->key, n))
			return;
	fprintf(f, ".Ss %.*s\n.Bl -tag -width Ds\n", (int)n - 1, first->key);
	for (const struct opt *o = first; o < t->opt + t->nr; o++)
		if (o->key && !strncmp(o->key, first->key, n))
			man_key(f, o, o->key + n);
	fputs(".El\n", f);
}

void opt_man_keys(FILE *f, const struct opt_table *t)
{
	for (unsigned int i = 0; i < t->nr; i++) {
		const struct opt *o = &t->opt[i];

		if (o->key && strchr(o->key, '.'))
			man_plain_section(f, t, o);
		else if (o->key)
			man_section(f, o);
	}
}
