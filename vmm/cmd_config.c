// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/board/flash.h"
#include "vmm/cmd.h"
#include "vmm/conf_map.h"
#include "vmm/conffile.h"
#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/core/parse.h"
#include "vmm/core/path.h"
#include "vmm/layout.h"
#include "vmm/options.h"
#include "vmm/rootfs.h"

#define NO_CONFIG "%.200s: there is no such config file: give FILE.conf, or the name of one in " \
	"~/.config/realmtool or /etc/realmtool"

#define EXIT_WRONG 1 /* "check" found errors */

struct config_options {
	bool map, help;
	char *output;
};

enum { G_CONFIG };

static const char *const groups[] = { [G_CONFIG] = "Options" };

#define TO(field)	.offset = offsetof(struct config_options, field)

/* clang-format off */
static const struct opt options[] = {
	{ .name = "map", .flags = OPT_FLAG,
	  .help = "show: print the planned address space instead",
	  .text = "What lies where, how wide it is, and where the shared half of a realm begins. The "
		  "files of the image and those of persistent memory must be there.",
	  .parse = opt_flag, TO(map) },
	{ .name = "output", .letter = 'o', .arg = "FILE",
	  .help = "from-args: write to a new FILE",
	  .text = "It must not exist yet. Without the option the output is the standard output.",
	  .parse = opt_string, TO(output), .path = "" },
	{ .name = "help", .letter = 'h', .flags = OPT_FLAG,
	  .help = "print this list",
	  .parse = opt_flag, TO(help) },
};
/* clang-format on */

const struct opt_table config_table = {
	.opt = options,
	.nr = ARRAY_SIZE(options),
	.group = groups,
	.nr_groups = ARRAY_SIZE(groups),
	.hint = "\"config --help\" lists them all",
};

int cmd_help_config(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s config check FILE|NAME...\n"
	       "       %s config show [--map] [FILE|NAME] [-- OPTIONS]\n"
	       "       %s config from-args [-o FILE] -- [run] OPTIONS\n", cx->prog, cx->prog, cx->prog);
	if (full)
		fputs("\n"
		      "check tells all errors of config files and their drop-ins, each as FILE:LINE: TEXT, and\n"
		      "warns of files that they name and that are not there.\n"
		      "show prints what is in force and where each value came from, as a config file;\n"
		      "with --map what lies where in the guest's address space. from-args writes the\n"
		      "config file for a command line. OPTIONS are those of \"run\". No guest is started,\n"
		      "and no KVM is needed.\n"
		      "\n"
		      "Exit code: 0, also with warnings, 1 if check found errors, 128 if something could not\n"
		      "be done.\n",
		      stdout);
	opt_help(stdout, &config_table, full);
	return cmd_flush(e);
}

/* ---- check ----------------------------------------------------------------------------------- */

/* What a config names and is not there: it may come later, so that is a warning. How many. */
static unsigned int check_files(const struct conf *f)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < f->nr_sets; i++) {
		const struct conf_set *s = &f->set[i];

		for (unsigned int k = 0; k < s->nr && !s->dropped; k++) {
			const struct conf_val *v = &s->val[k];
			const char *path = conf_path(v->opt, v->text), *key = s->opt->key;

			if (!path || v->file < 0 || access(path, F_OK) == 0)
				continue;
			nr++;
			fprintf(stderr, "%s:%u: warning: %s%s%s: %s: %s\n", f->file[v->file], v->line,
				key ? key : s->opt->name, s->words ? "." : "",
				s->words ? v->opt->name : "", path, strerror(errno));
		}
	}
	return nr;
}

/* Prints what is wrong with one file; sets *bad if something is. */
static int check_one(const struct cmd_ctx *cx, char *word, bool *bad, struct err *e)
{
	unsigned int missing;
	struct vm_config c;
	struct err why = {0};
	struct conf f;
	int ret;

	conf_init(&f, &run_options);
	config_defaults(&c);
	ret = conf_args(&f, 1, &word, e);
	if (!ret && !f.path)
		ret = err_set(e, -ENOENT, NO_CONFIG, word);
	if (ret)
		goto out;
	ret = options_apply(&f, &c, cx->lkvm, &why);
	if (f.nr_errs) {
		conf_print_errors(&f, stderr);
	} else if (ret < 0) {
		fprintf(stderr, "%s\n", why.msg);
	} else {
		printf("%s: no errors", f.path);
		if (f.nr_files > 1)
			printf(" (nor in its %u drop-in%s)", f.nr_files - 1, f.nr_files > 2 ? "s" : "");
		missing = check_files(&f);
		if (missing)
			printf(", %u file%s missing", missing, missing > 1 ? "s are" : " is");
		putchar('\n');
	}
	*bad |= ret < 0;
	ret = 0;
out:
	config_free(&c);
	conf_free(&f);
	return ret;
}

static int config_check_files(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	bool bad = false;
	int ret = 0;

	if (!argc)
		return err_set(e, -EINVAL, "config check needs a file: config check FILE.conf");
	for (int i = 0; i < argc && !ret; i++) {
		if (*argv[i] == '-')
			return err_set(e, -EINVAL, "unexpected option %.80s: config check takes config "
				       "files only", argv[i]);
		ret = check_one(cx, argv[i], &bad, e);
	}
	if (!ret)
		ret = cmd_flush(e);
	return ret < 0 ? ret : bad ? EXIT_WRONG : 0;
}

/* ---- show ------------------------------------------------------------------------------------ */

static int sizes(const struct vm_config *c, struct loader_files *files, uint64_t *flash,
		 struct err *e)
{
	struct stat st;

	*flash = 0;
	if (c->flash && path_stat(c->flash, &st) < 0)
		return err_set(e, -errno, "--flash %.200s: %s", c->flash, strerror(errno));
	if (c->flash)
		*flash = st.st_size;
	if (*flash > MAP_FLASH_MAX)
		return err_set(e, -EFBIG, "--flash %.200s: larger than %u MiB", c->flash,
			       (unsigned int)(MAP_FLASH_MAX / SZ_1M));
	for (unsigned int i = 0; i < c->nr_pmems; i++) {
		if (path_stat(c->pmem[i].path, &st) < 0)
			return err_set(e, -errno, "--pmem %.200s: %s", c->pmem[i].path, strerror(errno));
		files->pmem_size[i] = st.st_size;
	}
	return 0;
}

static int show_map(const struct vm_config *c, struct err *e)
{
	struct loader_files files = {
		.kernel = -1, .initrd = -1, .firmware = -1, .dtb = -1,
		.kernel_path = c->kernel,
		.initrd_path = c->initrd,
		.firmware_path = c->firmware,
		.dtb_path = c->dtb,
	};
	struct layout l;
	uint64_t flash;
	int ret;

	ret = sizes(c, &files, &flash, e);
	if (!ret)
		ret = loader_open(&files, e);
	if (ret < 0)
		return ret;
	ret = layout_make(c, &files, flash, &l, e);
	if (!ret) {
		conf_map(c, &l, stdout);
		layout_free(&l);
	}
	loader_close(&files);
	return ret;
}

static int config_show(const struct cmd_ctx *cx, const struct config_options *o, int argc,
		       char **argv, struct err *e)
{
	struct vm_config c;
	struct conf f;
	int ret;

	conf_init(&f, &run_options);
	config_defaults(&c);
	ret = conf_args(&f, argc, argv, e);
	/* "run" would take it for a kernel */
	if (!ret && argc && *argv[0] != '-' && !f.path)
		ret = err_set(e, -ENOENT, NO_CONFIG, argv[0]);
	if (!ret)
		ret = options_apply(&f, &c, cx->lkvm, e);
	if (!ret)
		ret = rootfs_config(&c, e);
	if (ret == OPTIONS_HELP)
		ret = cmd_help_config(cx, false, e);
	else if (!ret && o->map)
		ret = show_map(&c, e);
	else if (!ret)
		ret = conf_write(&f, stdout, CONF_SOURCES | CONF_DEFAULTS, e);
	if (!ret)
		ret = cmd_flush(e);
	config_free(&c);
	conf_free(&f);
	return ret;
}

/* ---- from-args ------------------------------------------------------------------------------- */

/* The file must not be there yet: who wrote one by hand wants to keep it. */
static int write_new(const struct conf *f, const char *path, struct err *e)
{
	char *text = NULL;
	size_t len;
	FILE *to = open_memstream(&text, &len);
	int ret;

	if (!to)
		return err_set(e, -ENOMEM, "out of memory");
	fputs("# Written by \"realmtool config from-args\".\n", to);
	ret = conf_write(f, to, 0, e);
	if (fclose(to) && !ret)
		ret = err_set(e, -ENOMEM, "out of memory");
	if (ret < 0)
		goto out;
	to = path ? fopen(path, "wxe") : stdout;
	if (!to) {
		ret = err_set(e, -errno, "%.200s: %s%s", path, strerror(errno), errno == EEXIST ?
			      ": give another name, or remove it" : "");
		goto out;
	}
	if (fwrite(text, 1, len, to) != len)
		ret = err_set(e, -EIO, "%.200s cannot be written", path ? path : "the standard output");
	if (path && fclose(to) && !ret)
		ret = err_set(e, -errno, "%.200s: %s", path, strerror(errno));
	if (!path && !ret)
		ret = cmd_flush(e);
out:
	free(text);
	return ret;
}

static const char *const lkvm_names[] = { "lkvm", "lkvm-static", "vm" };

/* [PROGRAM] [run] in front of the options, as they stand in a script. True: the program is lkvm. */
static bool skip_program(int *argc, char ***argv)
{
	const char *base = *argc ? strrchr((*argv)[0], '/') : NULL, *word;
	bool lkvm = false, program;

	word = !*argc ? "" : base ? base + 1 : (*argv)[0];
	for (size_t i = 0; i < ARRAY_SIZE(lkvm_names); i++)
		lkvm |= !strcmp(word, lkvm_names[i]);
	program = lkvm || !strcmp(word, "realmtool");
	if (program) {
		++*argv;
		--*argc;
	}
	if (*argc && !strcmp((*argv)[0], "run")) {
		++*argv;
		--*argc;
	}
	return lkvm;
}

static int config_from_args(const struct cmd_ctx *cx, const struct config_options *o, int argc,
			    char **argv, struct err *e)
{
	char compat[] = "--compat=lkvm";
	bool lkvm = skip_program(&argc, &argv) || cx->lkvm;
	struct vm_config c;
	struct conf f;
	char **args;
	int ret, n = argc;

	args = calloc(argc + 2, sizeof(*args));
	if (!args)
		return err_set(e, -ENOMEM, "out of memory");
	memcpy(args, argv, argc * sizeof(*args));
	conf_init(&f, &run_options);
	config_defaults(&c);
	ret = conf_args(&f, n, args, e);
	if (!ret)
		ret = options_apply(&f, &c, lkvm, e);
	/* what lkvm does by itself has to be said in a file */
	if (!ret && lkvm && c.lkvm && !conf_has(&f, "compat")) {
		memmove(args + 1, args, argc * sizeof(*args));
		args[0] = compat;
		conf_free(&f);
		ret = conf_args(&f, n + 1, args, e);
	}
	if (ret == OPTIONS_HELP)
		ret = cmd_help_config(cx, false, e);
	else if (!ret)
		ret = write_new(&f, o->output, e);
	config_free(&c);
	conf_free(&f);
	free(args);
	return ret;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int no_command(const char *word, struct err *e)
{
	struct nearest n = { .word = word };

	nearest_offer(&n, "check");
	nearest_offer(&n, "show");
	nearest_offer(&n, "from-args");
	if (n.best)
		return err_set(e, -EINVAL, "config %.80s is unknown: did you mean %s?", word, n.best);
	return err_set(e, -EINVAL, "config %.80s is unknown: give check, show or from-args", word);
}

int cmd_config(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	struct config_options o = { .map = false };
	struct opt_state st = { .hook = NULL };
	int ret, nr = 0, more, end = 0;
	const char *word;
	char **left;

	left = calloc(argc + 1, sizeof(*left));
	if (!left)
		return err_set(e, -ENOMEM, "out of memory");
	/* behind -- there are options of "run" only, whatever they are called */
	while (end < argc && strcmp(argv[end], "--"))
		end++;
	ret = opt_split(&config_table, &st, &o, &run_options, end, argv, left, &nr, e);
	more = argc - end - (end < argc);
	memcpy(left + nr, argv + argc - more, more * sizeof(*left));
	word = nr ? left[0] : NULL;
	if (ret < 0)
		goto out;
	if (o.help)
		ret = cmd_help_config(cx, false, e);
	else if (!word)
		ret = err_set(e, -EINVAL, "config needs a word: give config check, show or from-args");
	else if (o.map && strcmp(word, "show"))
		ret = err_set(e, -EINVAL, "option --map is for config show");
	else if (o.output && strcmp(word, "from-args"))
		ret = err_set(e, -EINVAL, "option --output is for config from-args");
	else if (!strcmp(word, "check"))
		ret = config_check_files(cx, nr - 1 + more, left + 1, e);
	else if (!strcmp(word, "show"))
		ret = config_show(cx, &o, nr - 1 + more, left + 1, e);
	else if (!strcmp(word, "from-args"))
		ret = config_from_args(cx, &o, nr - 1 + more, left + 1, e);
	else
		ret = no_command(word, e);
out:
	free(o.output);
	free(left);
	return ret;
}
