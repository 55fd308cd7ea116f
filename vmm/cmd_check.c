// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/check.h"
#include "vmm/cmd.h"
#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/core/json.h"
#include "vmm/core/log.h"
#include "vmm/options.h"

#define COLUMNS		100
#define TEXT_COLUMN	26	/* mark and name stand before it */

/* ---- the report ------------------------------------------------------------------------------ */

static const char *title(const char *section)
{
	static const struct {
		const char *section, *title;
	} titles[] = {
		{ "machine", "Machine" }, { "kvm", "KVM" }, { "cpu", "CPUs of ordinary guests" },
		{ "realm", "Realms" }, { "device", "I/O" },
		{ "sandbox", "Sandbox" }, { "program", "Programs" }, { "build", "This program" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(titles); i++)
		if (!strcmp(titles[i].section, section))
			return titles[i].title;
	return section;
}

/* What came from files and device names is printed as text, whatever it holds. */
static void put_clean(FILE *f, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		putc((unsigned char)s[i] < 0x20 || s[i] == 0x7f ? '?' : s[i], f);
}

/* Text from a column on, broken at blanks. */
static void wrapped(FILE *f, int column, const char *text)
{
	size_t room = COLUMNS - column;

	while (strlen(text) > room) {
		size_t n = room;

		while (n && text[n] != ' ')
			n--;
		if (!n)
			n = room;	/* one long word */
		put_clean(f, text, n);
		text += n + (text[n] == ' ');
		fprintf(f, "\n%*s", column, "");
	}
	put_clean(f, text, strlen(text));
	putc('\n', f);
}

/* What is missing catches the eye on a terminal. */
static void line(FILE *f, const char *mark, const char *name, const char *text)
{
	bool red = !strcmp(mark, check_mark_name(CHECK_MISSING)) && log_color(fileno(f));

	fprintf(f, "  %s%-5s%s %-17s ", red ? LOG_RED : "", mark, red ? LOG_PLAIN : "", name);
	wrapped(f, TEXT_COLUMN, text);
}

void check_print(const struct check *c, FILE *f)
{
	const char *section = "";

	for (unsigned int i = 0; i < c->nr; i++) {
		const struct check_finding *x = &c->f[i];

		if (x->mark == CHECK_UNKNOWN)
			continue;
		if (strcmp(section, x->section)) {
			fprintf(f, "%s%s\n", *section ? "\n" : "", title(x->section));
			section = x->section;
		}
		line(f, check_mark_name(x->mark), x->label, x->text);
		if (x->mark != CHECK_MISSING)
			continue;
		line(f, "", "  prevents", x->stops ? check_stops(x->stops) : x->prevents);
		line(f, "", "  what helps", x->helps);
	}
	putc('\n', f);
	wrapped(f, 0, c->summary);
}

static void json_value(struct json *j, const struct check_finding *x)
{
	char words[sizeof(x->str)], *rest = words, *w;

	if (x->mark == CHECK_UNKNOWN) {
		json_str(j, "value", NULL);
		return;
	}
	switch (x->kind) {
	case CHECK_BOOL:
		json_bool(j, "value", x->num);
		break;
	case CHECK_NUM:
		json_u64(j, "value", x->num);
		break;
	case CHECK_STR:
		json_str(j, "value", x->str[0] ? x->str : NULL);
		break;
	case CHECK_LIST:
		json_array_begin(j, "value");
		memcpy(words, x->str, sizeof(words));
		while ((w = strsep(&rest, " ")))
			if (*w)
				json_str(j, NULL, w);
		json_array_end(j);
		break;
	}
}

void check_json(const struct check *c, FILE *f)
{
	struct json j = { .f = f };
	const char *section = "";

	json_object_begin(&j, NULL);
	json_bool(&j, "realms", c->can & CHECK_REALM);
	json_bool(&j, "emulated_realms", c->can & CHECK_EMULATED);
	json_bool(&j, "plain_vms", c->can & CHECK_PLAIN);
	json_u64(&j, "exit_code", check_exit_code(c));
	json_str(&j, "summary", c->summary);
	for (unsigned int i = 0; i < c->nr; i++) {
		const struct check_finding *x = &c->f[i];

		if (strcmp(section, x->section)) {
			if (*section)
				json_object_end(&j);
			json_object_begin(&j, x->section);
			section = x->section;
		}
		json_object_begin(&j, x->key);
		json_str(&j, "state", check_mark_name(x->mark));
		json_value(&j, x);
		json_str(&j, "text", x->mark == CHECK_UNKNOWN ? NULL : x->text);
		if (x->mark == CHECK_MISSING) {
			json_str(&j, "prevents", x->stops ? check_stops(x->stops) : x->prevents);
			json_str(&j, "what_helps", x->helps);
		}
		json_object_end(&j);
	}
	json_object_end(&j);
	json_object_end(&j);
}

/* ---- the command ----------------------------------------------------------------------------- */

struct check_options {
	struct vm_config cfg;		/* first: options of run write to it */
	bool json, help;
};

static const char *const groups[] = { "Options" };
static const char *const of_run[] = { "dev", "rmi-generation", "rmi-cap" };

static struct opt options[ARRAY_SIZE(of_run) + 2] = {
	{ .name = "json", .flags = OPT_FLAG, .help = "print JSON", .text = "One object, see JSON below.",
	  .parse = opt_flag, .offset = offsetof(struct check_options, json) },
	{ .name = "help", .letter = 'h', .flags = OPT_FLAG, .help = "list the options",
	  .parse = opt_flag, .offset = offsetof(struct check_options, help) },
};

const struct opt_table check_table = {
	.opt = options,
	.nr = ARRAY_SIZE(options),
	.group = groups,
	.nr_groups = ARRAY_SIZE(groups),
	.hint = "see realmtool check --help",
};

/* What "run" knows is asked in the same words. */
void check_borrow_options(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(of_run); i++) {
		options[i + 2] = *opt_find(&run_options, of_run[i]);
		options[i + 2].group = 0;
	}
}

int cmd_help_check(const struct cmd_ctx *cx, bool full, struct err *e)
{
	check_borrow_options();
	printf("usage: %s check [OPTIONS]\n\n"
	       "Tells what this host can do for guests, what it cannot do and why. Nothing on the host\n"
	       "is changed.\n\n"
	       "Exit code: 0 if realms can be launched, 1 if only emulated realms or plain VMs can,\n"
	       "2 if no guest can.\n", cx->prog);
	opt_help(stdout, &check_table, full);
	return cmd_flush(e);
}

int cmd_check(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	struct check_options o = { .json = false };
	struct opt_state st = { { 0 } };
	struct check_want want;
	struct check c = { 0 };
	int ret;

	check_borrow_options();
	config_defaults(&o.cfg);
	ret = opt_parse(&check_table, &st, &o, argc, argv, e);
	if (!ret && o.help) {
		ret = cmd_help_check(cx, false, e);
		goto out;
	}
	want = (struct check_want){
		.kvm_dev = o.cfg.kvm_dev,
		.host = { o.cfg.rmi_generation, o.cfg.rmi_cap },
	};
	if (!ret)
		ret = check_collect(&c, NULL, NULL, &want, e);
	if (ret < 0)
		goto out;
	if (o.json)
		check_json(&c, stdout);
	else
		check_print(&c, stdout);
	ret = cmd_flush(e);
	if (!ret)
		ret = check_exit_code(&c);
out:
	config_free(&o.cfg);
	return ret;
}
