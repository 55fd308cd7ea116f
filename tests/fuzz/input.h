/* SPDX-License-Identifier: BSD-3-Clause */
/* The input of a fuzz target as a sequence of choices; behind its end there are zeros. */
#ifndef TESTS_FUZZ_INPUT_H
#define TESTS_FUZZ_INPUT_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/core/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
/* of the sanitizers, where the target has one */
void __sanitizer_set_report_fd(void *fd) __attribute__((weak));

struct input {
	const uint8_t *p;
	size_t left;
};

/** PROPERTY() - what must hold, whatever the input is */
#define PROPERTY(cond) do { \
	if (!(cond)) { \
		fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond); \
		abort(); \
	} \
} while (0)

static inline void in_bytes(struct input *in, void *buf, size_t len)
{
	size_t n = MIN(len, in->left);

	if (n)
		memcpy(buf, in->p, n);
	memset((uint8_t *)buf + n, 0, len - n);
	in->p += n;
	in->left -= n;
}

static inline uint8_t in_u8(struct input *in)
{
	uint8_t v;

	in_bytes(in, &v, sizeof(v));
	return v;
}

static inline uint16_t in_u16(struct input *in)
{
	uint16_t v;

	in_bytes(in, &v, sizeof(v));
	return v;
}

static inline uint32_t in_u32(struct input *in)
{
	uint32_t v;

	in_bytes(in, &v, sizeof(v));
	return v;
}

static inline uint64_t in_u64(struct input *in)
{
	uint64_t v;

	in_bytes(in, &v, sizeof(v));
	return v;
}

/** in_take() - the next bytes where they are, up to @want. Return: how many are left of these */
static inline size_t in_take(struct input *in, size_t want, const uint8_t **p)
{
	size_t n = MIN(want, in->left);

	*p = in->p;
	in->p += n;
	in->left -= n;
	return n;
}

/** in_text() - a string of up to @want bytes in memory of its own, ended by a NUL */
static inline char *in_text(struct input *in, size_t want)
{
	const uint8_t *p;
	size_t n = in_take(in, want, &p);
	char *s = malloc(n + 1);

	if (!s)
		abort();
	if (n)
		memcpy(s, p, n);
	s[n] = '\0';
	return s;
}

/** ERROR_IS_A_LINE() - an error has a code and one line of text */
#define ERROR_IS_A_LINE(e) \
	PROPERTY((e).code < 0 && (e).msg[0] && !strchr((e).msg, '\n'))

/**
 * quiet() - what the code under test says does not go to stderr, until quiet(false)
 *
 * What a sanitizer has to say does.
 */
static inline void quiet(bool on)
{
	static int was = -1, null = -1;

	if (was < 0) {
		was = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 100);
		null = open("/dev/null", O_WRONLY | O_CLOEXEC);
		PROPERTY(was >= 0 && null >= 0);
	}
	if (__sanitizer_set_report_fd)
		__sanitizer_set_report_fd((void *)(intptr_t)(on ? was : STDERR_FILENO));
	dup2(on ? null : was, STDERR_FILENO);
}

#endif
