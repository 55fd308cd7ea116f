// SPDX-License-Identifier: BSD-3-Clause
/*
 * Requests and answers over TCP, one byte each way.
 *
 *   pingpong PORT             answers, one client after the other
 *   pingpong HOST PORT COUNT  asks COUNT times and prints the median in nanoseconds
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec;
}

static int make_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		die("socket");
	return fd;
}

static void no_delay(int fd)
{
	int one = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		die("TCP_NODELAY");
}

static void serve(struct sockaddr_in *a)
{
	int fd = make_socket(), c;
	char byte;

	if (bind(fd, (void *)a, sizeof(*a)) < 0 || listen(fd, 8) < 0)
		die("listen");
	for (;;) {
		c = accept(fd, NULL, NULL);
		if (c < 0)
			die("accept");
		no_delay(c);
		while (read(c, &byte, 1) == 1 && write(c, &byte, 1) == 1)
			;
		close(c);
	}
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	unsigned int count;
	uint64_t *ns;
	int fd;
	char byte = 'x';

	if (argc == 2) {
		a.sin_port = htons(atoi(argv[1]));
		serve(&a);
	}
	if (argc != 4 || !inet_aton(argv[1], &a.sin_addr) || !(count = atoi(argv[3])))
		return 2;
	a.sin_port = htons(atoi(argv[2]));
	ns = calloc(count, sizeof(*ns));
	fd = make_socket();
	if (!ns || connect(fd, (void *)&a, sizeof(a)) < 0)
		die("connect");
	no_delay(fd);
	for (unsigned int i = 0; i < count; i++) {
		uint64_t t = now_ns();

		if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
			die("peer");
		ns[i] = now_ns() - t;
	}
	qsort(ns, count, sizeof(*ns), compare);
	printf("%" PRIu64 "\n", ns[count / 2]);
	return 0;
}
