// SPDX-License-Identifier: BSD-3-Clause
/*
 * What one core hashes in a second, with the same library and in the same pieces as a measurement:
 *   sha ALGORITHM FILE SECONDS
 * Prints bytes per second of the best round: of bytes in memory that a cache holds, as
 * "openssl speed" measures, and of the file, read anew each time.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define BUF (64 * PAGE)

static unsigned char buf[BUF];

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void hash(const char *algo, long len)
{
	unsigned char digest[64];

	for (long i = 0; i < len; i += PAGE) {
		if (!strcmp(algo, "sha256"))
			SHA256(buf + i, PAGE, digest);
		else if (!strcmp(algo, "sha384"))
			SHA384(buf + i, PAGE, digest);
		else
			SHA512(buf + i, PAGE, digest);
	}
}

/* Bytes of a round: all of the file, or as many of the buffer. */
static long one_round(const char *algo, int fd, long size, int from_file)
{
	long done = 0, n = BUF;

	while (done + BUF <= size && n == BUF) {
		if (from_file)
			n = pread(fd, buf, BUF, done);
		hash(algo, BUF);
		done += n;
	}
	return done;
}

int main(int argc, char **argv)
{
	int fd = argc == 4 ? open(argv[2], O_RDONLY) : -1;
	long size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);

	if (size < BUF) {
		fprintf(stderr, "usage: sha sha256|sha384|sha512 FILE SECONDS\n");
		return 2;
	}
	for (int from_file = 0; from_file < 2; from_file++) {
		double best = 0, end = now() + atof(argv[3]);

		do {
			double t = now();
			long len = one_round(argv[1], fd, size, from_file);

			t = now() - t;
			best = len / t > best ? len / t : best;
		} while (now() < end);
		printf("%.0f%c", best, from_file ? '\n' : ' ');
	}
	return 0;
}
