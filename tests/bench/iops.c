// SPDX-License-Identifier: BSD-3-Clause
/*
 * iops DISK SECONDS DEPTH read|write: requests of 4 KiB at random places of a block device, past
 * the page cache, by DEPTH threads. Prints how many there were in a second. Zeros are written.
 */
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SIZE 4096

static int fd;
static bool writes;
static uint64_t blocks;
static atomic_bool stop;

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* done - where this thread counts; its old contents are the seed */
static void *work(void *done)
{
	uint64_t *n = done, x = *n;
	void *buf = aligned_alloc(SIZE, SIZE);

	if (!buf)
		err(1, "memory");
	memset(buf, 0, SIZE);
	for (*n = 0; !atomic_load_explicit(&stop, memory_order_relaxed); (*n)++) {
		off_t at;

		/* xorshift64 */
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		at = (off_t)(x % blocks * SIZE);
		if ((writes ? pwrite(fd, buf, SIZE, at) : pread(fd, buf, SIZE, at)) != SIZE)
			err(1, "at %lld", (long long)at);
	}
	free(buf);
	return NULL;
}

int main(int argc, char **argv)
{
	static struct {
		pthread_t t;
		_Alignas(64) uint64_t n;
	} worker[64];
	unsigned int depth = argc == 5 ? (unsigned int)atoi(argv[3]) : 0;
	uint64_t sum = 0;
	double t;
	off_t end;

	if (depth < 1 || depth > 64)
		errx(2, "iops DISK SECONDS DEPTH read|write");
	writes = !strcmp(argv[4], "write");
	fd = open(argv[1], O_RDWR | O_DIRECT);
	if (fd < 0)
		err(1, "%s", argv[1]);
	end = lseek(fd, 0, SEEK_END);
	if (end < SIZE)
		errx(1, "%s is no disk", argv[1]);
	blocks = (uint64_t)end / SIZE;
	t = seconds();
	for (unsigned int i = 0; i < depth; i++) {
		worker[i].n = 0x9e3779b97f4a7c15 * (i + 1);
		if (pthread_create(&worker[i].t, NULL, work, &worker[i].n))
			errx(1, "no thread");
	}
	sleep((unsigned int)atoi(argv[2]));
	atomic_store(&stop, true);
	for (unsigned int i = 0; i < depth; i++)
		pthread_join(worker[i].t, NULL);
	t = seconds() - t;
	for (unsigned int i = 0; i < depth; i++)
		sum += worker[i].n;
	printf("%.0f\n", (double)sum / t);
	return 0;
}
