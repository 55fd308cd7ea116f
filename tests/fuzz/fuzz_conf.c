// SPDX-License-Identifier: BSD-3-Clause
/*
 * Config files, for libFuzzer: clang -fsanitize=fuzzer,address,undefined with the sources of
 * vmm/conf_parse.c, conffile.c, conf_write.c, options.c, options_dev.c, config.c and those of
 * vmm/core, -lconfuse. Seeds: configs/ *.conf.
 */
#include <stdlib.h>
#include <string.h>

#include "vmm/conffile.h"
#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct conf f;
static struct vm_config c;

/* Reads a text and applies it; errors are lines. */
static int take(const char *text, size_t size, struct err *e)
{
	struct opt_state st = { .hook = NULL };

	conf_init(&f, &run_options);
	config_defaults(&c);
	f.name = strdup("name");
	f.instance = strdup("");
	if (conf_read(&f, "file", text, size, e) < 0 || conf_apply(&f, &st, &c, e) < 0)
		abort();
	for (unsigned int i = 0; i < f.nr_errs; i++)
		if (!f.err[i].msg || strchr(f.err[i].msg, '\n'))
			abort();
	return conf_failed(&f, e);
}

/* What is accepted can be written, and what is written is accepted. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = { 0 };
	char *text = NULL;
	size_t len;
	FILE *to;
	int ret;

	if (size > CONF_FILE_MAX)
		return 0;
	ret = take((const char *)data, size, &e);
	if (!ret) {
		to = open_memstream(&text, &len);
		if (conf_write(&f, to, CONF_SOURCES | CONF_DEFAULTS, &e) < 0)
			abort();
		fclose(to);
		config_free(&c);
		conf_free(&f);
		if (take(text, len, &e) < 0)
			abort();
		free(text);
	}
	config_free(&c);
	conf_free(&f);
	return 0;
}
