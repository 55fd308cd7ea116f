// SPDX-License-Identifier: BSD-3-Clause
/*
 * Completion for shells. The scripts are small and the same for every version: they ask
 * "completion words" what can stand in the word that is being written, and this walks the tables of
 * options.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cmd.h"
#include "vmm/core/err.h"
#include "vmm/ctl_options.h"
#include "vmm/ctl_path.h"
#include "vmm/options.h"

/* ---- the scripts ----------------------------------------------------------------------------- */

/* The compiler runs in the top folder of the tree. */
#define SCRIPT(shell) \
	extern const char completion_##shell[]; \
	__asm__(".pushsection .rodata\n" \
		"completion_" #shell ":\n" \
		".incbin \"completions/realmtool." #shell "\"\n" \
		".byte 0\n" \
		".popsection\n")

SCRIPT(bash);
SCRIPT(zsh);
SCRIPT(fish);

static const struct {
	const char *name, *text;
} shells[] = {
	{ "bash", completion_bash },
	{ "zsh", completion_zsh },
	{ "fish", completion_fish },
};

/* ---- answers --------------------------------------------------------------------------------- */

/*
 * A line for each word that can stand there: the word, a tab, what it is. "\tfiles PREFIX" and
 * "\tfolders PREFIX" stand for the names of files that can follow PREFIX, which the word begins
 * with. A word that ends in "=", ":" or "@" goes on.
 */

/**
 * struct ask - the word to complete
 * @prefix, @len: what of it is settled
 * @part: the rest
 */
struct ask {
	const char *prefix;
	int len;
	const char *part;
};

/* What came from a directory must not look like two answers. */
static bool is_plain(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f)
			return false;
	return true;
}

static void offer2(const struct ask *a, const char *word, const char *end, const char *help)
{
	size_t n = strlen(a->part), len = strlen(word);

	if (strncmp(word, a->part, n) && (n <= len || strncmp(word, a->part, len)))
		return;
	if (n > len && (strlen(end) < n - len || strncmp(end, a->part + len, n - len)))
		return;
	printf("%.*s%s%s", a->len, a->prefix, word, end);
	if (help)
		printf("\t%s", help);
	putchar('\n');
}

static void offer(const struct ask *a, const char *word, const char *help)
{
	offer2(a, word, "", help);
}

static void offer_paths(const struct ask *a, const struct opt *o)
{
	size_t n = strlen(o->path);

	if (strncmp(a->part, o->path, n)) {
		offer(a, o->path, "and a path");
		return;
	}
	printf("\t%s %.*s%s\n", o->arg && !strncmp(o->arg, "DIR", 3) ? "folders" : "files", a->len,
	       a->prefix, o->path);
}

static void offer_guests(const struct ask *a)
{
#ifdef HAVE_JANSSON
	struct ctl_name *names;
	struct err e = {0};
	unsigned int nr;

	if (ctl_names(&names, &nr, &e) < 0)
		return;
	for (unsigned int i = 0; i < nr; i++)
		if (is_plain(names[i].name))
			offer(a, names[i].name, "guest");
	ctl_names_free(names, nr);
#endif
}

static void configs_of(const struct ask *a, const char *dir, const char *sub)
{
	struct dirent **d;
	char *path;
	int nr;

	if (!dir || *dir != '/' || asprintf(&path, "%s%s", dir, sub) < 0)
		return;
	nr = scandir(path, &d, NULL, alphasort);
	free(path);
	for (int i = 0; i < nr; i++) {
		char *dot = strrchr(d[i]->d_name, '.');

		if (dot > d[i]->d_name && !strcmp(dot, ".conf")) {
			*dot = '\0';
			if (is_plain(d[i]->d_name))
				offer(a, d[i]->d_name, "config file");
		}
		free(d[i]);
	}
	if (nr >= 0)
		free(d);
}

/* As conf_find() looks for them. */
static void offer_configs(const struct ask *a)
{
	const char *xdg = getenv("XDG_CONFIG_HOME");

	if (strchr(a->part, '/'))
		return;
	if (xdg && *xdg == '/')
		configs_of(a, xdg, "/realmtool");
	else
		configs_of(a, getenv("HOME"), "/.config/realmtool");
	configs_of(a, "/etc/realmtool", "");
}

static void offer_value(const struct opt *o, struct ask a);

/* Was NAME or NAME= already written between the commas? */
static bool has_word(const char *list, size_t len, const char *name)
{
	size_t n = strlen(name);

	for (const char *w = list; w < list + len; w += strcspn(w, ",") + 1)
		if (!strncmp(w, name, n) && (w[n] == '=' || w[n] == ',' || !w[n]))
			return true;
	return false;
}

/* The words of --disk and its like. */
static void offer_words(const struct opt_table *t, struct ask a)
{
	const char *list = a.part, *last = strrchr(list, ',');
	size_t before = last ? last + 1 - list : 0, name;
	const struct opt *bare = t->word ? opt_find(t, t->word) : NULL;

	a.len += before;
	a.part += before;
	name = strcspn(a.part, "=");
	if (a.part[name]) {
		for (unsigned int i = 0; i < t->nr; i++) {
			const struct opt *o = &t->opt[i];

			if (strlen(o->name) != name || strncmp(o->name, a.part, name))
				continue;
			a.len += name + 1;
			a.part += name + 1;
			offer_value(o, a);
			return;
		}
		return;
	}
	if (!before && bare)
		offer_value(bare, a);
	for (unsigned int i = 0; i < t->nr; i++) {
		const struct opt *o = &t->opt[i];

		if (o->flags & (OPT_HIDDEN | OPT_NOOP | OPT_REFUSED) ||
		    has_word(list, before, o->name))
			continue;
		offer2(&a, o->name, o->flags & OPT_FLAG ? "" : "=", o->help);
	}
}

static void offer_value(const struct opt *o, struct ask a)
{
	if (o->words) {
		offer_words(o->words, a);
		return;
	}
	for (const struct opt_choice *c = o->choice; c && c->name; c++)
		if (!c->refused)
			offer(&a, c->name, NULL);
	if (o->path)
		offer_paths(&a, o);
}

/* ---- a command line -------------------------------------------------------------------------- */

#define TABLES 2	/* "measure" has its own and that of "run" */

/**
 * struct line - what stands before the word to complete
 * @t:       the tables of options
 * @guests:  a word that is no option is the name of a guest
 * @given:   words before, behind the command
 * @value:   option that takes the word to complete as its value
 * @ended:   "--" stands before
 * @nr_words: words that are no options
 */
struct line {
	const struct opt_table *t[TABLES];
	bool guests;
	char **given;
	int nr_given;
	const struct opt *value;
	bool ended;
	int nr_words;
};

static const struct opt *find(const struct line *l, const char *name, size_t len)
{
	for (unsigned int k = 0; k < TABLES && l->t[k]; k++)
		for (unsigned int i = 0; i < l->t[k]->nr; i++) {
			const struct opt *o = &l->t[k]->opt[i];

			if (strlen(o->name) == len && !strncmp(o->name, name, len))
				return o;
		}
	return NULL;
}

static const struct opt *find_letter(const struct line *l, char letter)
{
	for (unsigned int k = 0; k < TABLES && l->t[k]; k++)
		for (unsigned int i = 0; i < l->t[k]->nr; i++)
			if (l->t[k]->opt[i].letter == letter)
				return &l->t[k]->opt[i];
	return NULL;
}

/* As opt_parse() goes through them; what is wrong is left for it to say. */
static void walk(struct line *l)
{
	for (int i = 0; i < l->nr_given; i++) {
		const char *w = l->given[i];
		const struct opt *o = NULL;
		bool whole = true;	/* the value would be the next word */

		if (!l->ended && !strcmp(w, "--")) {
			l->ended = true;
			continue;
		}
		if (l->ended || *w != '-' || !w[1]) {
			l->nr_words++;
			continue;
		}
		if (w[1] == '-') {
			o = find(l, w + 2, strcspn(w + 2, "="));
			whole = !strchr(w, '=');
		} else {
			o = find_letter(l, w[1]);
			whole = !w[2];
		}
		if (!o || !whole || o->flags & (OPT_FLAG | OPT_OPTIONAL | OPT_REFUSED))
			continue;
		if (i + 1 == l->nr_given)
			l->value = o;
		i++;
	}
}

static bool was_given(const struct line *l, const struct opt *o)
{
	size_t n = strlen(o->name);

	for (int i = 0; i < l->nr_given; i++) {
		const char *w = l->given[i];

		if (!strncmp(w, "--", 2) && !strncmp(w + 2, o->name, n) &&
		    (!w[2 + n] || w[2 + n] == '='))
			return true;
		if (o->letter && w[0] == '-' && w[1] == o->letter)
			return true;
	}
	return false;
}

static void offer_options(const struct line *l, const char *cur)
{
	struct ask a = { "", 0, cur };
	char name[128];

	for (unsigned int k = 0; k < TABLES && l->t[k]; k++)
		for (unsigned int i = 0; i < l->t[k]->nr; i++) {
			const struct opt *o = &l->t[k]->opt[i];

			if (o->flags & (OPT_HIDDEN | OPT_NOOP | OPT_REFUSED) ||
			    (was_given(l, o) && !(o->flags & OPT_REPEAT)))
				continue;
			snprintf(name, sizeof(name), "--%s", o->name);
			offer(&a, name, o->help);
			if (o->flags & OPT_OPTIONAL)
				offer2(&a, name, "=", o->help);
			snprintf(name, sizeof(name), "--no-%s", o->name);
			if (o->flags & OPT_NEGATE)
				offer(&a, name, NULL);
		}
}

static void complete(struct line *l, const char *cur)
{
	struct ask a = { cur, 0, cur };
	const struct opt *o;

	walk(l);
	o = l->value;
	if (!o && !l->ended && !strncmp(cur, "--", 2) && strchr(cur, '=')) {
		a.len = strcspn(cur, "=") + 1;
		o = find(l, cur + 2, a.len - 3);
		if (!o || o->flags & OPT_FLAG)
			return;
	} else if (!o && !l->ended && cur[0] == '-' && cur[1] && cur[1] != '-') {
		a.len = 2;
		o = find_letter(l, cur[1]);
		if (!o || o->flags & OPT_FLAG)
			return;
	} else if (!o && !l->ended && cur[0] == '-') {
		offer_options(l, cur);
		return;
	}
	a.part = cur + a.len;
	if (!o && !l->nr_words && !l->guests) {
		for (unsigned int k = 0; k < TABLES && l->t[k]; k++)
			if (l->t[k] == &run_options)
				offer_configs(&a);
		for (unsigned int k = 0; k < TABLES && l->t[k]; k++)
			if (l->t[k]->word)
				o = opt_find(l->t[k], l->t[k]->word);
	}
	if (o && !(l->guests && !strcmp(o->name, "name")))
		offer_value(o, a);
	else if (l->guests && (o || !l->nr_words))
		offer_guests(&a);
}

/* "config check FILE...", "config show [--map] [FILE] [-- OPTIONS]", "config from-args -- OPTIONS" */
static void complete_config(struct line *l, const char *cur)
{
	static const struct opt file = { .path = "" };
	struct ask a = { cur, 0, cur };
	int i = 1;

	if (!l->nr_given && *cur != '-') {
		offer(&a, "check", "tell all errors of config files");
		offer(&a, "show", "print what is in force");
		offer(&a, "from-args", "write the config file for a command line");
		return;
	}
	while (i < l->nr_given && strcmp(l->given[i], "--"))
		i++;
	if (i < l->nr_given && strcmp(l->given[0], "check")) {
		l->given += i + 1;
		l->nr_given -= i + 1;
		l->t[0] = &run_options;
		complete(l, cur);
	} else if (*cur == '-' || !strcmp(l->given[0], "from-args")) {
		l->t[0] = &config_table;
		complete(l, cur);
	} else {
		offer_configs(&a);
		offer_value(&file, a);
	}
}

/* "sandbox [OPTIONS] [--] COMMAND [ARG...]" */
static void complete_sandbox(struct line *l, const char *cur)
{
	static const struct opt file = { .path = "" };
	struct ask a = { cur, 0, cur };
	int i = 0;

	while (i < l->nr_given && l->given[i][0] == '-' && strcmp(l->given[i], "--"))
		i += 1 + opt_takes_next(&run_options, l->given[i]);
	if (i < l->nr_given || (i == l->nr_given && *cur != '-')) {
		offer_value(&file, a);
		return;
	}
	l->t[0] = &run_options;
	complete(l, cur);
}

static void complete_word(struct line *l, const char *command, const char *cur)
{
	struct ask a = { cur, 0, cur };

	if (!strcmp(command, "help") && !l->nr_given) {
		for (const struct cmd *c = commands; c->name; c++)
			if (c->fn)
				offer(&a, c->name, c->help);
	} else if (!strcmp(command, "completion") && !l->nr_given) {
		for (size_t i = 0; i < ARRAY_SIZE(shells); i++)
			offer(&a, shells[i].name, NULL);
	} else if (!strcmp(command, "config")) {
		complete_config(l, cur);
	} else if (!strcmp(command, "sandbox")) {
		complete_sandbox(l, cur);
	} else {
		if (!strcmp(command, "run")) {
			l->t[0] = &run_options;
		} else if (!strcmp(command, "measure")) {
			l->t[0] = &measure_table;
			l->t[1] = &run_options;
		} else if (!strcmp(command, "check")) {
			check_borrow_options();
			l->t[0] = &check_table;
		} else if (!strcmp(command, "token")) {
			l->t[0] = &token_table;
		}
		for (const struct ctl_table *t = ctl_tables; t->name; t++)
			if (!strcmp(t->name, command)) {
				l->t[0] = t->options;
				l->guests = true;
			}
		if (l->t[0])
			complete(l, cur);
	}
}

/* @argv: the words behind the name of the program, the last of which is being written */
static void words(int argc, char **argv)
{
	struct line l = { .given = argv + 1, .nr_given = argc - 2 };
	struct ask a = { argv[0], 0, argv[0] };

	if (argc > 1) {
		complete_word(&l, argv[0], argv[argc - 1]);
		return;
	}
	for (const struct cmd *c = commands; c->name; c++)
		if (c->fn)
			offer(&a, c->name, c->help);
	if (*a.part == '-') {
		offer(&a, "--help", NULL);
		offer(&a, "--version", NULL);
	}
}

/* ---- the command ----------------------------------------------------------------------------- */

int cmd_help_completion(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s completion bash|zsh|fish\n", cx->prog);
	if (full)
		fputs("\n"
		      "Prints the script that completes commands, options, their values and the names of\n"
		      "guests in this shell. \"make install\" and the packages put it where the shell finds\n"
		      "it. Without them:\n"
		      "\n"
		      "  bash: eval \"$(realmtool completion bash)\", in ~/.bashrc\n"
		      "  zsh:  eval \"$(realmtool completion zsh)\", in ~/.zshrc behind compinit\n"
		      "  fish: realmtool completion fish | source, in ~/.config/fish/config.fish\n", stdout);
	return cmd_flush(e);
}

int cmd_completion(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	if (argc == 1 && (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h")))
		return cmd_help_completion(cx, false, e);
	if (argc > 2 && !strcmp(argv[0], "words") && !strcmp(argv[1], "--")) {
		words(argc - 2, argv + 2);
		return cmd_flush(e);
	}
	for (size_t i = 0; argc == 1 && i < ARRAY_SIZE(shells); i++)
		if (!strcmp(argv[0], shells[i].name)) {
			fputs(shells[i].text, stdout);
			return cmd_flush(e);
		}
	return err_set(e, -EINVAL, "completion takes the name of a shell: bash, zsh or fish");
}
