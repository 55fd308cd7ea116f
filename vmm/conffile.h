/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the options of a guest are and where each came from: config file, drop-ins, command line.
 * Nothing here knows an option; the tables say which are paths, lists or sections.
 */
#ifndef VMM_CONFFILE_H
#define VMM_CONFFILE_H

#include <stdio.h>

#include "vmm/core/opt.h"

struct err;
struct vm_config;

#define CONF_SUFFIX	".conf"
#define CONF_FILE_MAX	(256 * 1024)	/* bytes of a file */
#define CONF_MAX_FILES	64		/* a config file and its drop-ins */
#define CONF_MAX_ERRORS	100
#define CONF_COMMAND_LINE (-1)		/* in place of the index of a file */

/**
 * struct conf_val - a value
 * @opt:  the option it is of: of the table, or of @words of the setting's
 * @text: as the option takes it; NULL: given without a value
 * @file: index into the files, or CONF_COMMAND_LINE
 */
struct conf_val {
	const struct opt *opt;
	char *text;
	int file;
	unsigned int line;
};

/**
 * struct conf_set - a setting
 * @opt:     option of the table
 * @title:   of a section of its own; NULL: none
 * @shown:   how the command line calls it; NULL: it is a file's
 * @words:   @val has keys of a section, all of them together one value of @opt; else each of them
 *           is a value of @opt
 * @dropped: the command line says something else
 */
struct conf_set {
	const struct opt *opt;
	char *title, *shown;
	bool words, dropped;
	struct conf_val *val;
	unsigned int nr;
	int file;
	unsigned int line;
};

struct conf_err {
	int file;
	unsigned int line;	/* 0: the file as a whole */
	char *msg;
};

/**
 * struct conf - settings, starts as conf_init() makes it
 * @name:     of the config file without folder and suffix; NULL: there is none
 * @instance: what stands behind the @ in it, or ""
 * @set:      those of files, in the order of their first value, then those of the command line
 * @file:     paths; the first is the config file, the others drop-ins
 */
struct conf {
	const struct opt_table *t;
	char *path, *name, *instance;
	struct conf_set *set;
	unsigned int nr_sets;
	char *file[CONF_MAX_FILES];
	unsigned int nr_files;
	struct conf_err err[CONF_MAX_ERRORS];
	unsigned int nr_errs;
	int reading;		/* the file that is read now */
	unsigned int own_set;	/* 1 + index of the section that is read now */
};

void conf_init(struct conf *f, const struct opt_table *t);
void conf_free(struct conf *f);

/**
 * conf_find() - does a word name a config file?
 * @word: FILE.conf, or a NAME that is looked for in $XDG_CONFIG_HOME/realmtool and /etc/realmtool;
 *        NAME@INSTANCE may be the file NAME@.conf
 * @path: allocated, or NULL if it names none: then it is something else, as a kernel
 *
 * Return: 0; -ENOENT if it can only be one and is not there.
 */
int conf_find(const char *word, char **path, struct err *e);

/**
 * conf_load() - read a config file and its drop-ins, FILE.d/ *.conf in the order of their names
 *
 * What is wrong in them is collected in @f->err.
 *
 * Return: 0; a negative errno if @path itself cannot be read.
 */
int conf_load(struct conf *f, const char *path, struct err *e);

/** conf_read() - read a text as if it were a file; @path: what it is called, which is kept */
int conf_read(struct conf *f, const char *path, const char *text, size_t len, struct err *e);

/**
 * conf_args() - take a command line, and the config file that its first word may name
 *
 * Return: as opt_parse(). Values are not looked at yet, but by parsers that end it (--help).
 */
int conf_args(struct conf *f, int argc, char **argv, struct err *e);

/**
 * conf_apply() - give the settings to the parsers of the table
 * @st:   how often each option was given
 * @base: object that receives the values
 *
 * What is wrong with values of files is collected in @f->err.
 *
 * Return: 0, or what a parser returned for a value of the command line.
 */
int conf_apply(struct conf *f, struct opt_state *st, void *base, struct err *e);

/** conf_has() - is there a setting of this option (by its long name)? */
bool conf_has(const struct conf *f, const char *name);

/**
 * conf_path() - the file that a value names, which ought to be there
 *
 * Return: within @text; NULL: it is no path, is one of something that is made or that may come
 * later, or is a descriptor (fd:N).
 */
const char *conf_path(const struct opt *o, const char *text);

/** conf_error() - add an error; @line may be 0 */
void conf_error(struct conf *f, int file, unsigned int line, const char *msg);

/**
 * conf_failed() - if there were errors in files: the first of them, and how many more
 *
 * Return: 0 or -EINVAL.
 */
int conf_failed(struct conf *f, struct err *e);

/** conf_print_errors() - all of them, each a line FILE:LINE: TEXT, in order */
void conf_print_errors(struct conf *f, FILE *to);

/* What conf_write() adds to the settings. */
enum conf_write {
	CONF_SOURCES = 1 << 0,	/* a comment behind each value: where it came from */
	CONF_DEFAULTS = 1 << 1,	/* a comment for each option with a default that was not given */
};

/**
 * conf_write() - the settings as a config file
 * @how: enum conf_write
 *
 * Relative paths of the command line become absolute. Options without a key are told in comments.
 *
 * Return: 0 or a negative errno.
 */
int conf_write(const struct conf *f, FILE *to, unsigned int how, struct err *e);

#endif
