// SPDX-License-Identifier: BSD-3-Clause
/*
 * Runs a command N times and prints what a run took.
 * Usage: spawn N COMMAND [ARG...]
 * Output: "wall_us median min max" and "cpu_us median"; stdin, stdout and stderr of the command
 * are /dev/null. Exit code 1 if a run fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * UINT64_C(1000000) + ts.tv_nsec / 1000;
}

static int cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	int n = argc > 2 ? atoi(argv[1]) : 0;
	uint64_t *wall, *cpu;

	if (n < 1 || n > 100000) {
		fprintf(stderr, "usage: spawn N COMMAND [ARG...]\n");
		return 2;
	}
	wall = calloc(n, sizeof(*wall));
	cpu = calloc(n, sizeof(*cpu));
	if (!wall || !cpu)
		return 1;
	for (int i = 0; i < n; i++) {
		uint64_t begin = now_us();
		struct rusage ru;
		int status;
		pid_t pid = vfork();

		if (pid == 0) {
			int fd = open("/dev/null", O_RDWR);

			dup2(fd, 0);
			dup2(fd, 1);
			dup2(fd, 2);
			execvp(argv[2], argv + 2);
			_exit(127);
		}
		if (pid < 0 || wait4(pid, &status, 0, &ru) < 0) {
			perror("spawn");
			return 1;
		}
		wall[i] = now_us() - begin;
		cpu[i] = (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * UINT64_C(1000000) +
			 ru.ru_utime.tv_usec + ru.ru_stime.tv_usec;
		if (!WIFEXITED(status) || WEXITSTATUS(status)) {
			fprintf(stderr, "spawn: run %d of %s failed (status %#x)\n", i, argv[2],
				status);
			return 1;
		}
	}
	qsort(wall, n, sizeof(*wall), cmp);
	qsort(cpu, n, sizeof(*cpu), cmp);
	printf("wall_us %llu %llu %llu\n", (unsigned long long)wall[n / 2],
	       (unsigned long long)wall[0], (unsigned long long)wall[n - 1]);
	printf("cpu_us %llu\n", (unsigned long long)cpu[n / 2]);
	free(wall);
	free(cpu);
	return 0;
}
