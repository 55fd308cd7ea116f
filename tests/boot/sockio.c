// SPDX-License-Identifier: BSD-3-Clause
/*
 * Moves a pattern through a stream, in the guest and in its host, and checks what comes back.
 *
 *   sockio [-l] [-h TEXT] [-s BYTES] [-r BYTES] [-e] [-n] ADDR
 *
 *   ADDR   unix:PATH, vsock:CID:PORT, or file:PATH (a character device)
 *   -l     listen there and take one connection
 *   -h     send this line first and print the line that comes back
 *   -s     send so many bytes of the pattern, then say that there are no more (not with -n)
 *   -r     expect so many, of the pattern
 *   -e     send back all that comes, until its end
 *   -d     receive datagrams at unix:PATH and print them, until one has a line STOPPING=1
 *
 * Prints what came; exit code 0 if it was what was expected.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>	/* needs the one before */
#include <sys/un.h>
#include <unistd.h>

#define CHUNK 16384

static void die(const char *what)
{
	fprintf(stderr, "sockio: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Byte n of the pattern: no two blocks are alike. */
static uint8_t pattern(uint64_t n)
{
	return n * 7 + n / 253 + n / 65537;
}

static int open_socket(struct sockaddr *a, socklen_t len, int listening)
{
	int fd = socket(a->sa_family, SOCK_STREAM, 0), client;

	if (fd < 0)
		die("socket");
	if (!listening) {
		if (connect(fd, a, len) < 0)
			die("connect");
		return fd;
	}
	if (bind(fd, a, len) < 0 || listen(fd, 1) < 0)
		die("listen");
	puts("listening");
	fflush(stdout);
	client = accept(fd, NULL, NULL);
	if (client < 0)
		die("accept");
	close(fd);
	return client;
}

static int open_addr(const char *text, int listening)
{
	if (!strncmp(text, "unix:", 5)) {
		struct sockaddr_un a = { .sun_family = AF_UNIX };

		snprintf(a.sun_path, sizeof(a.sun_path), "%s", text + 5);
		return open_socket((struct sockaddr *)&a, sizeof(a), listening);
	}
	if (!strncmp(text, "vsock:", 6)) {
		struct sockaddr_vm a = { .svm_family = AF_VSOCK };

		if (sscanf(text, "vsock:%u:%u", &a.svm_cid, &a.svm_port) != 2)
			die(text);
		return open_socket((struct sockaddr *)&a, sizeof(a), listening);
	}
	if (!strncmp(text, "file:", 5)) {
		int fd = open(text + 5, O_RDWR);

		if (fd < 0)
			die(text);
		return fd;
	}
	die(text);
	return -1;
}

static void say_hello(int fd, const char *text)
{
	char c;

	dprintf(fd, "%s\n", text);
	while (read(fd, &c, 1) == 1) {
		putchar(c);
		if (c == '\n')
			return;
	}
	die("no answer");
}

static void echo(int fd)
{
	uint64_t total = 0;
	uint8_t buf[CHUNK];

	for (;;) {
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n == 0 && !total) {		/* a port that nobody is connected to yet */
			usleep(50000);
			continue;
		}
		if (n <= 0)
			break;
		for (ssize_t off = 0, w; off < n; off += w) {
			w = write(fd, buf + off, n - off);
			if (w <= 0)
				die("write");
		}
		total += n;
	}
	printf("echoed %llu\n", (unsigned long long)total);
}

static int exchange(int fd, uint64_t send_bytes, uint64_t expect, int no_shut)
{
	uint64_t sent = 0, got = 0;
	uint8_t buf[CHUNK];
	int open_end = 1, shut = 0;

	while (open_end && !(no_shut && sent == send_bytes && got == expect)) {
		short out = sent < send_bytes ? POLLOUT : 0;
		struct pollfd p = { .fd = fd, .events = POLLIN | out };
		ssize_t n;

		if (sent == send_bytes && !shut && !no_shut) {
			shutdown(fd, SHUT_WR);
			shut = 1;
		}
		if (poll(&p, 1, 60000) <= 0)
			die("poll");
		if (p.revents & POLLOUT) {
			size_t len = send_bytes - sent < CHUNK ? send_bytes - sent : CHUNK;

			for (size_t i = 0; i < len; i++)
				buf[i] = pattern(sent + i);
			n = send(fd, buf, len, MSG_DONTWAIT);
			if (n < 0 && errno != EAGAIN)
				die("send");
			sent += n > 0 ? n : 0;
		}
		if (!(p.revents & (POLLIN | POLLHUP | POLLERR)))
			continue;
		n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			continue;
		if (n < 0)
			die("recv");
		open_end = n > 0;
		for (ssize_t i = 0; i < n; i++) {
			if (buf[i] == pattern(got + i))
				continue;
			printf("byte %llu is wrong\n", (unsigned long long)got + i);
			return 1;
		}
		got += n;
	}
	printf("sent %llu received %llu\n", (unsigned long long)sent, (unsigned long long)got);
	return sent != send_bytes || got != expect;
}

static int datagrams(const char *text)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	char buf[4096];
	ssize_t n;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", text + strlen("unix:"));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die(text);
	while ((n = recv(fd, buf, sizeof(buf) - 1, 0)) >= 0) {
		buf[n] = '\0';
		puts(buf);
		fflush(stdout);
		if (!strncmp(buf, "STOPPING=1", 10) || strstr(buf, "\nSTOPPING=1"))
			return 0;
	}
	return 1;
}

int main(int argc, char **argv)
{
	int c, fd, listening = 0, echoes = 0, no_shut = 0, dgram = 0;
	uint64_t send_bytes = 0, expect = 0;
	const char *hello = NULL;

	signal(SIGPIPE, SIG_IGN);
	while ((c = getopt(argc, argv, "lh:s:r:end")) > 0) {
		switch (c) {
		case 'l': listening = 1; break;
		case 'h': hello = optarg; break;
		case 's': send_bytes = strtoull(optarg, NULL, 0); break;
		case 'r': expect = strtoull(optarg, NULL, 0); break;
		case 'e': echoes = 1; break;
		case 'n': no_shut = 1; break;
		case 'd': dgram = 1; break;
		default: return 2;
		}
	}
	if (optind + 1 != argc)
		return 2;
	if (dgram)
		return strncmp(argv[optind], "unix:", 5) ? 2 : datagrams(argv[optind]);
	fd = open_addr(argv[optind], listening);
	if (hello)
		say_hello(fd, hello);
	if (echoes) {
		echo(fd);
		return 0;
	}
	return exchange(fd, send_bytes, expect, no_shut);
}
