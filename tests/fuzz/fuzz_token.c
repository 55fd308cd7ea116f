// SPDX-License-Identifier: BSD-3-Clause
/*
 * The reader of attestation tokens, for libFuzzer: clang -fsanitize=fuzzer,address,undefined with
 * the sources of realm/token.c, keys.c, hash.c and vmm/core/err.c. Seeds: tokens in files.
 */
#include <stdlib.h>

#include "realm/token.h"
#include "vmm/core/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read lies in the input, and an error is one line. */
static void inside(const struct token_blob *b, const uint8_t *data, size_t size)
{
	if (b->p && (b->p < data || b->len > size || b->p > data + size - b->len))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct token t;
	struct err e = { 0 };
	unsigned int i;

	if (token_read(&t, data, size, &e) < 0) {
		if (!e.code || !e.msg[0])
			abort();
		for (i = 0; e.msg[i]; i++)
			if (e.msg[i] == '\n')
				abort();
		return 0;
	}
	inside(&t.platform.profile, data, size);
	inside(&t.platform.part.payload, data, size);
	inside(&t.realm.part.sig, data, size);
	inside(&t.realm.rim, data, size);
	for (i = 0; i < TOKEN_NR_REMS; i++)
		inside(&t.realm.rem[i], data, size);
	for (i = 0; i < t.platform.nr_components; i++)
		inside(&t.platform.component[i].type, data, size);
	token_check_realm(&t, &e);
	token_check_binding(&t, &e);
	token_check_platform(&t, &t.rak, &e);
	token_is_rehearsal(&t);
	token_lifecycle(t.platform.lifecycle);
	return 0;
}
