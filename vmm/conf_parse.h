/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The text of a config file to keys and values. libConfuse reads it; what it may find is made from
 * a table of options. Here is no file system, and no meaning of a value.
 *
 * The text is not trusted: libConfuse expands environment variables and its line numbers count
 * comments, so it gets the text without either.
 */
#ifndef VMM_CONF_PARSE_H
#define VMM_CONF_PARSE_H

#include "vmm/core/opt.h"

#define CONF_TITLE_MAX 64

/**
 * struct conf_item - a key with its value, or the end of a section of its own
 * @opt:   option of the table
 * @sub:   option of @opt->words for a key in a section of its own, else NULL
 * @title: of that section; NULL if it has none
 * @value: text; NULL: the section ended
 * @first: the value replaces what the key had; else it is one more of a list
 */
struct conf_item {
	const struct opt *opt, *sub;
	const char *title;
	const char *value;
	bool first;
};

/**
 * struct conf_sink - who wants to know
 * @item:  in the order of the text; texts are valid until it returns
 * @error: one line, without the place
 */
struct conf_sink {
	void (*item)(void *ctx, unsigned int line, const struct conf_item *i);
	void (*error)(void *ctx, unsigned int line, const char *msg);
	void *ctx;
};

/** conf_can_parse - was realmtool built with libConfuse? */
extern const bool conf_can_parse;

/**
 * conf_parse() - read a text
 * @t:    what may stand in it
 * @len:  bytes of @text, which needs no NUL at its end
 *
 * All unknown keys are told; an error of the syntax ends it. Not for two threads at once, as
 * libConfuse is not.
 */
void conf_parse(const struct opt_table *t, const char *text, size_t len,
		const struct conf_sink *sink);

/**
 * conf_section() - the name of the section that the key of an option is in
 * @room: bytes of @name
 *
 * Return: the key in it; NULL if the section is the option's own, or the option has no key.
 */
const char *conf_section(const struct opt *o, char *name, size_t room);

#endif
