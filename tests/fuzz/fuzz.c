// SPDX-License-Identifier: BSD-3-Clause
/* Linked to each target: what happens before its first input. */
#include <fcntl.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "vmm/core/log.h"

#pragma weak fuzz_seeds

static const char *seed_dir;

void fuzz_seed(const char *name, const void *data, size_t len)
{
	char path[4096];
	int fd, n;

	n = snprintf(path, sizeof(path), "%s/%s", seed_dir, name);
	fd = n < (int)sizeof(path) ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644) : -1;
	if (fd < 0 || write(fd, data, len) != (ssize_t)len) {
		perror(path);
		exit(1);
	}
	close(fd);
}

/* A constructor: LLVMFuzzerInitialize() is the target's, if it wants one. */
__attribute__((constructor)) static void before(void)
{
	/* what the guest provokes is no news here */
	log_set_level(LOG_ERROR - 1);
	/* an assertion of the models that the unit tests share shall crash, not exit */
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	seed_dir = getenv("FUZZ_SEEDS");
	if (seed_dir) {
		if (fuzz_seeds)
			fuzz_seeds();
		exit(0);
	}
}
