// SPDX-License-Identifier: BSD-3-Clause
/*
 * Config files: the input is a file; behind a line "%%" there may be a drop-in, behind another one
 * the words of a command line that names the file. What is accepted can be written, and what is
 * written is accepted.
 */
#include "tests/fuzz/fuzz.h"

#include <sys/stat.h>

#include "vmm/conf_parse.h"
#include "vmm/conffile.h"
#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/options.h"

#define WORDS_MAX 16

static struct conf f;
static struct vm_config c;
static char dir[256];

static void lines(void)
{
	for (unsigned int i = 0; i < f.nr_errs; i++)
		PROPERTY(f.err[i].msg && !strchr(f.err[i].msg, '\n'));
}

/* Reads a text and applies it; errors are lines. */
static int take(const char *text, size_t size, struct err *e)
{
	struct opt_state st = { .hook = NULL };

	conf_init(&f, &run_options);
	config_defaults(&c);
	f.name = strdup("name");
	f.instance = strdup("");
	PROPERTY(!conf_read(&f, "file", text, size, e) && !conf_apply(&f, &st, &c, e));
	lines();
	return conf_failed(&f, e);
}

/* Return: what conf_write() makes of the settings; NULL: they cannot be written. */
static char *write_it(unsigned int how, size_t *len)
{
	struct err e = { 0 };
	char *text = NULL;
	FILE *to = open_memstream(&text, len);
	int ret;

	PROPERTY(to);
	ret = conf_write(&f, to, how, &e);
	fclose(to);
	if (!ret)
		return text;
	ERROR_IS_A_LINE(e);
	free(text);
	return NULL;
}

static void drop(void)
{
	config_free(&c);
	conf_free(&f);
}

static void alone(const char *text, size_t size)
{
	struct err e = { 0 };
	char *again;
	size_t len;
	int ret = take(text, size, &e);

	if (ret < 0)
		ERROR_IS_A_LINE(e);
	again = ret < 0 ? NULL : write_it(CONF_SOURCES | CONF_DEFAULTS, &len);
	PROPERTY(ret < 0 || again);
	drop();
	if (!again)
		return;
	PROPERTY(!take(again, len, &e));
	drop();
	free(again);
}

static void clean(void)
{
	char path[sizeof(dir) + 32];

	snprintf(path, sizeof(path), "%s/f.conf.d/a.conf", dir);
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
	snprintf(path, sizeof(path), "%s/f.conf", dir);
	unlink(path);
	rmdir(dir);
}

static void before(void)
{
	const char *tmp = getenv("TMPDIR");
	char path[sizeof(dir) + 32];

	snprintf(dir, sizeof(dir), "%.200s/fuzz-conf.XXXXXX", tmp ? tmp : "/tmp");
	PROPERTY(mkdtemp(dir));
	atexit(clean);
	/* names without a slash are looked for here */
	setenv("XDG_CONFIG_HOME", dir, 1);
	snprintf(path, sizeof(path), "%s/f.conf.d", dir);
	PROPERTY(!mkdir(path, 0700));
}

static void store(const char *name, const char *text, size_t size)
{
	char path[sizeof(dir) + 32];
	FILE *to;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	to = fopen(path, "w");
	PROPERTY(to && fwrite(text, 1, size, to) == size && !fclose(to));
}

/* The file, its drop-in, and the words: one on each line. */
static void with_files(const char *text, size_t size, const char *more, size_t len, char *words)
{
	char path[sizeof(dir) + 8], *argv[WORDS_MAX + 1] = { path };
	struct opt_state st = { .hook = NULL };
	struct err e = { 0 };
	int argc = 1, ret;
	char *out;

	store("f.conf", text, size);
	store("f.conf.d/a.conf", more, len);
	snprintf(path, sizeof(path), "%s/f.conf", dir);
	for (char *w; argc < WORDS_MAX && (w = strsep(&words, "\n"));)
		argv[argc++] = w;
	/* or the first of the words is the name */
	if (argc > 1 && *argv[1] == '@') {
		argv[0] = argv[1] + 1;
		argv[1] = (char *)"--realm";
	}
	conf_init(&f, &run_options);
	config_defaults(&c);
	ret = conf_args(&f, argc, argv, &e);
	if (!ret)
		ret = conf_apply(&f, &st, &c, &e);
	if (ret < 0)
		ERROR_IS_A_LINE(e);
	lines();
	if (!ret && !conf_failed(&f, &e)) {
		out = write_it(CONF_SOURCES, &size);
		free(out);
	} else {
		quiet(true);
		conf_print_errors(&f, stderr);
		quiet(false);
	}
	drop();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *more = NULL, *args = NULL, *end = text + size;
	char *words;

	if (!*dir)
		before();
	if (!conf_can_parse || size > CONF_FILE_MAX)
		return 0;
	if (size)
		more = memmem(text, size, "\n%%\n", 4);
	if (more)
		args = memmem(more + 4, end - more - 4, "\n%%\n", 4);
	alone(text, (more ? more : end) - text);
	if (!more)
		return 0;
	words = strndup(args ? args + 4 : "", args ? end - args - 4 : 0);
	PROPERTY(words);
	with_files(text, more - text, more + 4, (args ? args : end) - more - 4, words);
	free(words);
	return 0;
}

void fuzz_seeds(void)
{
	static const char *const text[] = {
		"machine { cpus = 7; memory = 1G }\ndisk a { path = x }\n\n%%\n"
		"boot { params += {a, b} }\ndisk a { ro = yes }\nnetwork { mode = user }\n\n%%\n"
		"-m\n2G\n--disk=y,ro\n--realm\n-c\n3\n--no-pmu\n-pz\n--pmem=p,ro\n--console-port=x,path=y",
		"realm { type = emulated }\nboot { kernel = '%i' }\n\n%%\n\n%%\n@f",
		"x { y = 1 }\nmachine { cpus = many }\n%%\ndisk {\n%%\n@f@1\n--help",
		"boot { kernel = k; params = {a} }\n%%\nboot { params = {} }\n%%\n@none.conf",
	};
	char name[16];

	for (unsigned int i = 0; i < ARRAY_SIZE(text); i++) {
		snprintf(name, sizeof(name), "files%u", i);
		fuzz_seed(name, text[i], strlen(text[i]));
	}
}
