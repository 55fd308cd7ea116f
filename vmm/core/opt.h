/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The option engine: a table says what options there are, and everything that has to do with them
 * (parsing, help, manual, and whatever comes to need it) walks this table. It knows no option.
 *
 * Syntax, as lkvm's: --name VALUE, --name=VALUE, -x VALUE, -xVALUE; "--" ends the options; names
 * are never abbreviated. The first word that is no option is the value of one named option.
 */
#ifndef CORE_OPT_H
#define CORE_OPT_H

#include <stdio.h>

#include "vmm/core/types.h"

struct err;
struct opt;
struct opt_table;

#define OPT_MAX 160 /* options of one table */

enum opt_flag {
	OPT_FLAG = 1 << 0,     /* takes no value */
	OPT_OPTIONAL = 1 << 1, /* the value may be left out, and is given with "=" only */
	OPT_REPEAT = 1 << 2,   /* may be given more than once */
	OPT_EMPTY = 1 << 3,    /* an empty value is fine */
	OPT_NEGATE = 1 << 4,   /* --no-NAME undoes it */
	OPT_HIDDEN = 1 << 5,   /* in no help and in no manual */
	OPT_NOOP = 1 << 6,     /* accepted, has no effect, @why says the reason */
	OPT_REFUSED = 1 << 7,  /* known and refused, @why says the reason and the remedy */
	OPT_ENDS = 1 << 8,    /* its parser ends the command line, and needs no object */
	OPT_LATER = 1 << 9,    /* its path is of something that is made, or that may come later */
};

/**
 * opt_parse_fn - takes the value of an option
 * @o:     the option
 * @value: text; NULL for OPT_FLAG (set it) and for OPT_OPTIONAL without a value
 * @dest:  base + o->offset
 * @e:     says what is wrong with the value and what is accepted; the engine names the option
 *
 * Return: 0, a negative errno, or a positive number which ends opt_parse() with it.
 */
typedef int opt_parse_fn(const struct opt *o, const char *value, void *dest, struct err *e);

/**
 * struct opt_choice - a word that an option takes
 * @name:    the word; NULL ends a list of choices
 * @value:   what is stored
 * @refused: NULL, or why this word is known and refused, and the remedy
 */
struct opt_choice {
	const char *name;
	int value;
	const char *refused;
};

/**
 * struct opt - an option
 * @name:   long name without the dashes
 * @letter: short name or 0
 * @group:  index into the table's groups
 * @flags:  enum opt_flag
 * @arg:    what the value is called in help, NULL for OPT_FLAG
 * @help:   one line, no full stop
 * @text:   more for the manual, whole sentences; may be NULL
 * @why:    for OPT_NOOP and OPT_REFUSED
 * @key:    name in a config file, "section.key"; one whose value is words has a section of its own,
 *          "section", which has a title if it is OPT_REPEAT; NULL: not for config files
 * @no_key: why not; needs no reason with @same_as, OPT_NOOP and OPT_REFUSED
 * @same_as: name of the option that this one is another way to write
 * @same_value: what it gives that option; text here stands before its own value if it has one
 * @path:   NULL: the value is no path; else what stands in front of the path, "" or "@". A value
 *          without it is no path, nor is one of the words in @choice
 * @def:    the default, where there is one to show
 * @parse:  takes the value; may be NULL for OPT_NOOP and OPT_REFUSED
 * @offset: where in the base object the result goes
 * @min, @max: for the numeric parsers, inclusive
 * @choice: for opt_choice()
 * @words: what can stand in the value, separated by commas (opt_words()); for help and manual
 */
struct opt {
	const char *name;
	char letter;
	uint8_t group;
	uint16_t flags;
	const char *arg;
	const char *help;
	const char *text;
	const char *why;
	const char *key;
	const char *no_key;
	const char *same_as, *same_value;
	const char *path;
	const char *def;
	opt_parse_fn *parse;
	size_t offset;
	uint64_t min, max;
	const struct opt_choice *choice;
	const struct opt_table *words;
};

/**
 * struct opt_table - all options of a command
 * @opt, @nr: the options, at most OPT_MAX
 * @group, @nr_groups: headings, in the order of help and manual
 * @word: name of the option that takes the first word that is no option; NULL: none does
 * @word2: in opt_words(), name of the option that takes the second word; NULL: none does
 * @title: name of the option for which the title of a section stands; NULL: for none
 * @size, @free: of the object of opt_words(): its bytes, and what frees its contents (may be NULL)
 * @hint: where all options are listed, for errors: "see realmtool run --help"
 */
struct opt_table {
	const struct opt *opt;
	unsigned int nr;
	const char *const *group;
	unsigned int nr_groups;
	const char *word;
	const char *word2;
	const char *title;
	size_t size;
	void (*free)(void *base);
	const char *hint;
};

/**
 * struct opt_hook - who wants options as they were written, instead of their values
 * @set:  instead of the option's parser; the arguments of opt_set()
 * @word: is shown a word that is no option: 1, it was taken; 0, it is the table's. May be NULL
 */
struct opt_hook {
	int (*set)(void *ctx, const struct opt *o, const char *shown, const char *value,
		   struct err *e);
	int (*word)(void *ctx, const char *word, struct err *e);
	void *ctx;
};

/**
 * struct opt_state - what an opt_parse() is at; starts as zeros
 * @count: how often each option was given
 * @hook:  NULL: values go to the base object
 */
struct opt_state {
	unsigned int count[OPT_MAX];
	const struct opt_hook *hook;
};

/**
 * opt_parse() - parse a command line
 * @t:    table
 * @st:   counts of the options are added here
 * @base: object that receives the values; on errors it may be filled in part
 * @argc, @argv: words behind the command
 *
 * Return: 0, a positive number from a parser (--help), or -EINVAL and what the parsers return.
 */
int opt_parse(const struct opt_table *t, struct opt_state *st, void *base, int argc, char **argv,
	      struct err *e);

/**
 * opt_split() - set the options of one table, and leave the words that another table knows
 * @own, @st, @base: as for opt_parse(); the options of this table are taken out
 * @other: tells which words are values of its options
 * @left: room for @argc words: what remains, in its order
 * @nr_left: how many
 *
 * Return: as opt_parse().
 */
int opt_split(const struct opt_table *own, struct opt_state *st, void *base,
	      const struct opt_table *other, int argc, char **argv, char **left, int *nr_left,
	      struct err *e);

/**
 * opt_set() - give one option a value, as opt_parse() does; for config files
 * @shown: how the option is called in errors
 * @value: NULL: none was given
 */
int opt_set(const struct opt_table *t, struct opt_state *st, void *base, const struct opt *o,
	    const char *shown, const char *value, struct err *e);

/**
 * opt_words() - set options from words between commas, as the values of --disk or --network
 * @t:    table of what can stand there: NAME=VALUE, or NAME for OPT_FLAG; @t->word is the option
 *        that takes the first word if that has no NAME=, @t->hint how the whole is written
 * @base: object that receives the values
 *
 * A comma cannot be in a value, unless the text begins with OPT_SEP: then this separates the words.
 * Return: as opt_parse().
 */
int opt_words(const struct opt_table *t, void *base, const char *text, struct err *e);
#define OPT_SEP '\x1f'

/** opt_words_hook() - the same, for who wants to know what the words are */
int opt_words_hook(const struct opt_table *t, const struct opt_hook *hook, const char *text,
		   struct err *e);

/** opt_takes_next() - does the word behind this one, which begins with a dash, belong to it? */
bool opt_takes_next(const struct opt_table *t, const char *arg);

/** opt_is_choice() - is it one of the words in @o->choice? */
bool opt_is_choice(const struct opt *o, const char *word);

/** opt_find() - option by its long name, or NULL */
const struct opt *opt_find(const struct opt_table *t, const char *name);
/** opt_find_key() - option by its config key, or NULL */
const struct opt *opt_find_key(const struct opt_table *t, const char *key);
/** opt_given() - how often the option of this name was given */
unsigned int opt_given(const struct opt_table *t, const struct opt_state *st, const char *name);

/** opt_log_noops() - tell, at info level, which of the given options have no effect, and why */
void opt_log_noops(const struct opt_table *t, const struct opt_state *st);

/* Parsers for the table; the type of the destination stands behind each. */
opt_parse_fn opt_flag;	 /* bool */
opt_parse_fn opt_string; /* char *, allocated; an old value is freed */
opt_parse_fn opt_uint;	 /* unsigned int, min..max */
opt_parse_fn opt_u64;	 /* uint64_t, min..max */
opt_parse_fn opt_choice; /* an enum or int; the choices. Without a value: the first choice */

/** opt_number() - a number from @o->min to @o->max, with the errors of opt_uint() */
int opt_number(const struct opt *o, const char *value, uint64_t *out, struct err *e);

/**
 * opt_help() - print the options, wrapped to 80 columns
 * @full: with the text of each option; else one line for each, and only the names of those that
 *        have no effect or are refused
 */
void opt_help(FILE *f, const struct opt_table *t, bool full);

/** opt_man() - print the options as a part of an mdoc(7) manual page */
void opt_man(FILE *f, const struct opt_table *t);

/** opt_man_keys() - the same for the keys of config files, section by section */
void opt_man_keys(FILE *f, const struct opt_table *t);

#endif
