// SPDX-License-Identifier: BSD-3-Clause
/* How the commands that speak to guests print what those say. */
#include "vmm/ctl_client.h"

#ifdef HAVE_JANSSON

#include <jansson.h>

void ctl_print(FILE *f, int width, const char *text)
{
	int n = 0;

	for (; *text; text++, n++)
		putc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, f);
	fprintf(f, "%*s", MAX(width - n, 0), "");
}

void ctl_dump(json_t *o)
{
	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(o);
}

#endif
