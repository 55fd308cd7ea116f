// SPDX-License-Identifier: BSD-3-Clause
/*
 * A main() for fuzz targets where there is no libFuzzer: runs each file that is named, and each
 * file of each directory, or stdin. So any compiler replays inputs, and AFL++ fuzzes them
 * ("target @@", or through shared memory when it was built with afl-clang-fast).
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/fuzz/input.h"

#define INPUT_MAX (1 << 20)

#ifdef __AFL_FUZZ_TESTCASE_LEN
__AFL_FUZZ_INIT();
#endif

#pragma weak LLVMFuzzerInitialize

static unsigned int count;

static void run(FILE *f)
{
	uint8_t *buf = malloc(INPUT_MAX), *exact;
	size_t len;

	if (!buf)
		exit(1);
	len = fread(buf, 1, INPUT_MAX, f);
	/* no longer than it is, so that ASan sees who reads behind it */
	exact = malloc(len ? len : 1);
	if (!exact)
		exit(1);
	memcpy(exact, buf, len);
	free(buf);
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
	count++;
}

static void run_path(const char *path)
{
	char name[4096];
	struct dirent *d;
	FILE *f;
	DIR *dir = opendir(path);

	if (!dir) {
		f = fopen(path, "rb");
		if (!f) {
			perror(path);
			exit(1);
		}
		run(f);
		fclose(f);
		return;
	}
	while ((d = readdir(dir)))
		if (d->d_name[0] != '.' &&
		    snprintf(name, sizeof(name), "%s/%s", path, d->d_name) < (int)sizeof(name))
			run_path(name);
	closedir(dir);
}

int main(int argc, char **argv)
{
	if (LLVMFuzzerInitialize)
		LLVMFuzzerInitialize(&argc, &argv);
#ifdef __AFL_FUZZ_TESTCASE_LEN
	if (argc == 1) {
		const uint8_t *buf = __AFL_FUZZ_TESTCASE_BUF;

		while (__AFL_LOOP(10000))
			LLVMFuzzerTestOneInput(buf, __AFL_FUZZ_TESTCASE_LEN);
		return 0;
	}
#endif
	if (argc == 1)
		run(stdin);
	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	printf("%u inputs\n", count);
	return 0;
}
