// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/conf_parse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_CONFUSE
#include <confuse.h>
#endif

#include "vmm/core/parse.h"
#include "vmm/core/types.h"

#define SECTION_MAX 32

const char *conf_section(const struct opt *o, char *name, size_t room)
{
	const char *dot = o->key ? strchr(o->key, '.') : NULL;

	snprintf(name, room, "%.*s", dot ? (int)(dot - o->key) : 80, o->key ? o->key : "");
	return dot ? dot + 1 : NULL;
}

#ifndef HAVE_CONFUSE

const bool conf_can_parse = false;

void conf_parse(const struct opt_table *t, const char *text, size_t len,
		const struct conf_sink *sink)
{
	sink->error(sink->ctx, 0, "this realmtool was built without libConfuse, which reads config "
		    "files: build it with libconfuse-dev, or give options");
}

#else

const bool conf_can_parse = true;

/* ---- the text as libConfuse shall see it ----------------------------------------------------- */

#define GUARD '\001'	/* stands between $ and {, so that they are no variable */

/* What ends a word: see the rule for unquoted strings in libConfuse's lexer.l. */
static bool is_word(char c)
{
	return c && !strchr(" #\"'\t\n\r={}()+,*", c);
}

struct scan {
	const char *p, *end;
	char *out;		/* room for twice the text and a NUL */
	unsigned int line;
	const struct conf_sink *sink;
};

static bool complain(struct scan *s, const char *msg)
{
	s->sink->error(s->sink->ctx, s->line, msg);
	return false;
}

static char at(const struct scan *s, size_t n)
{
	return (size_t)(s->end - s->p) > n ? s->p[n] : '\0';
}

static void copy(struct scan *s)
{
	bool variable = at(s, 0) == '$' && at(s, 1) == '{';

	s->line += *s->p == '\n';
	*s->out++ = *s->p++;
	if (variable)
		*s->out++ = GUARD;
}

/* The lines stay, so that they count. */
static void skip(struct scan *s)
{
	s->line += *s->p == '\n';
	*s->out++ = *s->p++ == '\n' ? '\n' : ' ';
}

static bool scan_comment(struct scan *s)
{
	unsigned int line = s->line;

	if (at(s, 1) != '*' || at(s, 0) != '/') {
		while (s->p < s->end && *s->p != '\n')
			skip(s);
		return true;
	}
	skip(s);
	for (skip(s); s->p < s->end; skip(s)) {
		if (at(s, 0) == '*' && at(s, 1) == '/') {
			skip(s);
			skip(s);
			return true;
		}
	}
	s->line = line;
	return complain(s, "the comment has no end: close it with */");
}

static bool scan_string(struct scan *s)
{
	char quote = *s->p;

	for (copy(s); s->p < s->end; copy(s)) {
		char c = *s->p, next = at(s, 1);

		if (c == quote) {
			copy(s);
			return true;
		}
		if (c == '\n')
			break;
		if (c != '\\' || s->end - s->p < 2)
			continue;
		if (quote == '"' && next >= '0' && next <= '9')
			return complain(s, "a backslash and a digit: write \\x and two hexadecimal "
					   "digits, or \\\\ for a backslash");
		if (quote == '"' && next == 'x' && at(s, 2) == '0' &&
		    (at(s, 3) == '0' || parse_hex_digit(at(s, 3)) == 16))
			return complain(s, "\\x0 cannot be in a value");
		copy(s);	/* what follows it ends nothing */
	}
	return complain(s, "the string does not end in its line: close it with its quote (a \\ at "
			   "the end of the line goes on in the next)");
}

/* A NUL would end the text for libConfuse, in the middle of whatever it is at. */
static bool is_text(const struct scan *s)
{
	struct scan to = *s;

	for (; to.p < to.end; to.p++) {
		if ((unsigned char)*to.p < ' ' && (!*to.p || !strchr("\t\r\n", *to.p)))
			return complain(&to, "a control character: a config file is text");
		to.line += *to.p == '\n';
	}
	return true;
}

/*
 * Makes the text that libConfuse sees: without comments, with its variables disarmed, with all
 * strings and sections closed, and without characters that it would drop in silence.
 */
static bool scan(struct scan *s)
{
	unsigned int depth = 0, open_line = 1;
	bool good = true;

	while (good && s->p < s->end) {
		char c = *s->p;

		if (c == '#' || (c == '/' && (at(s, 1) == '/' || at(s, 1) == '*'))) {
			good = scan_comment(s);
		} else if (c == '"' || c == '\'') {
			good = scan_string(s);
		} else if (c == '*' || (c == '+' && at(s, 1) != '=')) {
			good = complain(s, c == '*' ? "* must stand in quotes" :
					"+ must stand in quotes, or before = to add to a list");
		} else if (is_word(c)) {
			for (; s->p < s->end && is_word(*s->p); copy(s))
				if (*s->p == '|')
					return complain(s, "| must stand in quotes");
		} else {
			if (c == '{' && !depth++)
				open_line = s->line;
			depth -= c == '}' && depth;
			copy(s);
			if (c == '+')
				copy(s);
		}
	}
	*s->out = '\0';
	if (good && depth) {
		s->line = open_line;
		return complain(s, "what begins with the { in this line has no end: a } is missing");
	}
	return good;
}

/* ---- tokens of that text, to take out what libConfuse does not know ------------------------- */

struct token {
	char *start, *end;	/* of what counts: without quotes */
	char *after;
	char kind;		/* 'w': word or string, '\0': none left, else the character */
	unsigned int line;
};

static struct token next_token(char *p, unsigned int line)
{
	struct token t;

	for (; *p && strchr(" \t\r\n", *p); p++)
		line += *p == '\n';
	t = (struct token){ p, p, p, '\0', line };
	if (!*p)
		return t;
	if (*p == '"' || *p == '\'') {
		for (t.end = ++t.start; *t.end && *t.end != *p; t.end++)
			if (*t.end == '\\' && t.end[1])
				t.end++;
		t.after = t.end + (*t.end != '\0');
		t.kind = 'w';
	} else if (is_word(*p)) {
		while (is_word(*t.end))
			t.end++;
		t.after = t.end;
		t.kind = 'w';
	} else {
		t.kind = *p;
		t.after = p + 1 + (*p == '+' && p[1] == '=');
	}
	return t;
}

static unsigned int lines(const char *from, const char *to)
{
	unsigned int n = 0;

	for (; from < to; from++)
		n += *from == '\n';
	return n;
}

static struct token after(const struct token *t)
{
	return next_token(t->after, t->line + lines(t->start, t->after));
}

/* Behind the brace that closes the one of @t. */
static char *braces(struct token t)
{
	unsigned int depth = 0;

	do {
		depth += t.kind == '{';
		depth -= t.kind == '}';
		if (!depth || !t.kind)
			break;
		t = after(&t);
	} while (true);
	return t.after;
}

/* Takes the assignment or section of this name in this line out of the text. */
static bool take_out(char *text, unsigned int line, const char *name)
{
	struct token t = next_token(text, 1), next;
	char before = '\0', *end;

	for (; t.kind; before = t.kind, t = after(&t)) {
		next = after(&t);
		if (t.line != line || t.kind != 'w' || before == '=' || before == '+' ||
		    strlen(name) != (size_t)(t.end - t.start) ||
		    strncmp(name, t.start, t.end - t.start) || !strchr("=+{w", next.kind))
			continue;
		if (next.kind != '{') {		/* = VALUE, = { LIST, "TITLE" { */
			next = after(&next);
			end = next.kind == '{' ? braces(next) : next.after;
		} else {
			end = braces(next);
		}
		/* its quote, too */
		if (t.start > text && (t.start[-1] == '"' || t.start[-1] == '\''))
			t.start--;
		for (char *p = t.start; p < end; p++)
			if (*p != '\n')
				*p = ' ';
		return true;
	}
	return false;
}

/* ---- libConfuse ------------------------------------------------------------------------------ */

#define UNKNOWN_MAX 50	/* more of these are no config file */

static struct reader {
	const struct opt_table *t;
	const struct conf_sink *sink;	/* NULL: only unknown keys are looked for */
	bool ready;			/* libConfuse is through with its defaults */
	bool failed, unknown;
	unsigned int line;
	char section[SECTION_MAX];
	char msg[256];
} rd;	/* libConfuse has no place for it, and one parser per process */

static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	char *p;

	if (rd.failed)
		return;
	rd.failed = true;
	rd.line = cfg->line;
	snprintf(rd.section, sizeof(rd.section), "%s", cfg->name);
	vsnprintf(rd.msg, sizeof(rd.msg), fmt, ap);
	for (p = rd.msg; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = '?';
	/* no such option 'NAME' */
	if (strncmp(rd.msg, "no such option '", 16) || rd.msg[strlen(rd.msg) - 1] != '\'')
		return;
	rd.unknown = true;
	memmove(rd.msg, rd.msg + 16, strlen(rd.msg + 16) + 1);
	rd.msg[strlen(rd.msg) - 1] = '\0';
}

/* Without what scan() put in. */
static char *unguard(const char *text)
{
	char *s = strdup(text), *to = s;

	for (; s && *text; text++)
		if (*text != GUARD)
			*to++ = *text;
	if (s)
		*to = '\0';
	return s;
}

static const struct opt *own_section(const char *name)
{
	const struct opt *o = opt_find_key(rd.t, name);

	return o && o->words ? o : NULL;
}

/* Is this key one of this section, and not of another that was named with a path? */
static bool belongs(cfg_t *cfg, const cfg_opt_t *opt)
{
	for (unsigned int i = 0; i < cfg_num(cfg); i++)
		if (cfg_getnopt(cfg, i) == opt)
			return true;
	return false;
}

static bool title_ok(const char *title)
{
	size_t len = strlen(title);

	for (const char *p = title; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f || *p == '"' || *p == '\\')
			return false;
	return len && len <= CONF_TITLE_MAX;
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	struct conf_item i = { .first = opt->nvalues <= 1 };
	char key[SECTION_MAX * 2];
	char *text;

	*(const char **)result = value;
	if (!rd.ready || !rd.sink)
		return 0;
	if (!belongs(cfg, opt)) {
		cfg_error(cfg, "a key is no path: write it into its section");
		return -1;
	}
	i.opt = own_section(cfg->name);
	if (i.opt) {
		i.sub = opt_find(i.opt->words, opt->name);
		i.title = cfg->title;
	} else {
		snprintf(key, sizeof(key), "%s.%s", cfg->name, opt->name);
		i.opt = opt_find_key(rd.t, key);
	}
	text = unguard(value);
	if (!text || !i.opt) {
		free(text);
		cfg_error(cfg, "out of memory");
		return -1;
	}
	i.value = text;
	rd.sink->item(rd.sink->ctx, cfg->line, &i);
	free(text);
	return 0;
}

static int on_section(cfg_t *cfg, cfg_opt_t *opt)
{
	struct conf_item i = { .opt = own_section(opt->name) };
	cfg_t *sec = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);

	if (!sec || !i.opt)
		return 0;
	i.title = sec->title;
	if (i.title && !title_ok(i.title)) {
		cfg_error(cfg, "the name of section %s must have 1 to %d characters, without quotes and "
			  "backslashes", opt->name, CONF_TITLE_MAX);
		return -1;
	}
	if (rd.sink)
		rd.sink->item(rd.sink->ctx, cfg->line, &i);
	return 0;
}

static bool usable(const struct opt *o)
{
	return !(o->flags & (OPT_HIDDEN | OPT_NOOP | OPT_REFUSED));
}

static cfg_opt_t value_schema(const char *name, bool list)
{
	/*
	 * A list begins with one value, so that a second one tells adding from replacing: then
	 * libConfuse has thrown away the first.
	 */
	return (cfg_opt_t){
		.name = name,
		.type = CFGT_STR,
		.flags = list ? CFGF_LIST : CFGF_NODEFAULT,
		.def = { .parsed = list ? (char *)"{\"\"}" : NULL },
		.parsecb = on_value,
	};
}

/* The keys of one section, ended by one without a name. */
static cfg_opt_t *section_schema(const struct opt_table *t, const char *section,
				 const struct opt *own)
{
	const struct opt_table *keys = own ? own->words : t;
	cfg_opt_t *opts = calloc(keys->nr + 1, sizeof(*opts));
	char name[SECTION_MAX];
	unsigned int n = 0;

	for (unsigned int i = 0; opts && i < keys->nr; i++) {
		const struct opt *o = &keys->opt[i];
		const char *key = o->name;

		if (!own) {
			key = conf_section(o, name, sizeof(name));
			if (!key || strcmp(name, section))
				continue;
		}
		if (usable(o))
			opts[n++] = value_schema(key, !own && o->flags & OPT_REPEAT);
	}
	return opts;
}

struct schema {
	cfg_opt_t section[OPT_MAX + 1];	/* the last has no name */
	char name[OPT_MAX][SECTION_MAX];
	unsigned int nr;
};

static void schema_free(struct schema *s)
{
	for (unsigned int i = 0; i < s->nr; i++)
		free(s->section[i].subopts);
	free(s);
}

static struct schema *schema_make(const struct opt_table *t)
{
	struct schema *s = calloc(1, sizeof(*s));
	unsigned int n;

	for (unsigned int i = 0; s && i < t->nr; i++) {
		const struct opt *o = &t->opt[i], *own;

		if (!o->key || !usable(o))
			continue;
		own = conf_section(o, s->name[s->nr], SECTION_MAX) ? NULL : o;
		for (n = 0; n < s->nr && strcmp(s->name[n], s->name[s->nr]);)
			n++;
		if (n < s->nr)
			continue;
		s->section[n] = (cfg_opt_t){
			.name = s->name[n],
			.type = CFGT_SEC,
			.flags = own && own->flags & OPT_REPEAT ?
				 CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES : CFGF_NONE,
			.subopts = section_schema(t, s->name[n], own),
			.validcb = on_section,
		};
		s->nr++;
		if (!s->section[n].subopts) {
			schema_free(s);
			return NULL;
		}
	}
	return s;
}

/* ---- what to say ----------------------------------------------------------------------------- */

static void tell(const struct conf_sink *sink, unsigned int line, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

static void tell(const struct conf_sink *sink, unsigned int line, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	sink->error(sink->ctx, line, text);
}

/* The section that has this key. */
static const char *home_of(const struct schema *s, const char *key)
{
	for (unsigned int i = 0; i < s->nr; i++)
		for (const cfg_opt_t *o = s->section[i].subopts; o->name; o++)
			if (!strcmp(o->name, key))
				return s->section[i].name;
	return NULL;
}

static void tell_unknown(const struct schema *s, const struct conf_sink *sink)
{
	bool root = !strcmp(rd.section, "root");
	struct nearest n = { .word = rd.msg };
	const cfg_opt_t *keys = s->section;
	const char *home = home_of(s, rd.msg);

	for (unsigned int i = 0; i < s->nr && !root; i++)
		if (!strcmp(s->section[i].name, rd.section))
			keys = s->section[i].subopts;
	for (; keys->name; keys++)
		nearest_offer(&n, keys->name);
	if (root && home)
		tell(sink, rd.line, "%.80s must stand in a section: write %s { %s = ... }", rd.msg, home,
		     rd.msg);
	else if (n.best)
		tell(sink, rd.line, "unknown %s %.80s: did you mean %s?", root ? "section" : "key",
		     rd.msg, n.best);
	else if (home)
		tell(sink, rd.line, "unknown key %.80s: it stands in section %s", rd.msg, home);
	else
		tell(sink, rd.line, "unknown %s %.80s (realmtool.conf(5) lists them all)",
		     root ? "section" : "key", rd.msg);
}

static void tell_syntax(const struct conf_sink *sink)
{
	static const struct {
		const char *begin, *say;
	} advice[] = {
		{ "missing title", "write for example disk \"root\" { ... }" },
		{ "missing opening brace", "write SECTION { KEY = VALUE }" },
		{ "missing equal sign", "write KEY = VALUE" },
		{ "unexpected closing brace", "one } too many" },
		{ "premature end", "something is missing" },
		{ "unexpected token", "a value with blanks or one of \" ' = { } ( ) + , * # needs "
				      "quotes" },
		{ "attempt to append", "it takes one value: write =" },
		{ "found duplicate title", "each section of a kind needs a name of its own" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(advice); i++)
		if (!strncmp(rd.msg, advice[i].begin, strlen(advice[i].begin))) {
			tell(sink, rd.line, "%s: %s", rd.msg, advice[i].say);
			return;
		}
	tell(sink, rd.line, "%s", rd.msg);
}

/* One run of libConfuse over the text; @sink: NULL only looks for what is unknown. */
static bool run(struct schema *s, const struct opt_table *t, const char *text,
		const struct conf_sink *sink)
{
	cfg_t *cfg;

	rd = (struct reader){ .t = t, .sink = sink };
	cfg = cfg_init(s->section, CFGF_NONE);
	if (!cfg) {
		snprintf(rd.msg, sizeof(rd.msg), "out of memory");
		return false;
	}
	cfg_set_error_function(cfg, on_error);
	rd.ready = true;
	if (cfg_parse_buf(cfg, text) != CFG_SUCCESS && !rd.failed) {
		rd.failed = true;
		snprintf(rd.msg, sizeof(rd.msg), "it cannot be read");
	}
	cfg_free(cfg);
	return !rd.failed;
}

void conf_parse(const struct opt_table *t, const char *text, size_t len,
		const struct conf_sink *sink)
{
	struct scan sc = { .p = text, .end = text + len, .line = 1, .sink = sink };
	struct schema *s = schema_make(t);
	char *clean = malloc(2 * len + 1);
	unsigned int n = 0;

	sc.out = clean;
	if (!clean || !s) {
		sink->error(sink->ctx, 0, "out of memory");
		goto out;
	}
	if (!is_text(&sc) || !scan(&sc))
		goto out;
	while (!run(s, t, clean, NULL) && rd.unknown) {
		tell_unknown(s, sink);
		if (++n == UNKNOWN_MAX || !take_out(clean, rd.line, rd.msg))
			goto out;
	}
	if (!run(s, t, clean, sink))
		tell_syntax(sink);
out:
	free(clean);
	if (s)
		schema_free(s);
}

#endif
